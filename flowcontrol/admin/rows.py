"""The rows of a document as every page shows them: as sentences, indented, in one flat list.

The list (:attr:`RowList.items`) has an entry for each row and one for each end of a block, so that
a template can open and close nested lists without calling itself.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.contrib.admin.utils import quote

from flowcontrol.documents import JSONObject, walk
from flowcontrol.registry import actions
from flowcontrol.sentences import sentence_of

if TYPE_CHECKING:
    from flowcontrol.base import BaseAction
    from flowcontrol.findings import Finding

ICONS: Final = frozenset(
    {"branch", "clock", "exit", "flow", "folder", "globe", "loop", "mail", "note", "object"}
    | {"person", "state", "stop", "up"}
)
"""The drawings that ``icons.html`` has; other actions get a neutral one."""


class RunCount(NamedTuple):
    """How many runs stand at a row, or have ended there, and where to see them."""

    kind: str
    number: int
    url: str


@dataclass(slots=True)
class PageRow:
    """One row as a page shows it."""

    document: JSONObject
    place: str
    depth: int
    parent: PageRow | None
    title: str
    subtitle: str
    action_type: type[BaseAction] | None
    icon: str
    takes_rows: bool
    continues: bool
    is_off: bool
    is_first: bool
    is_last: bool
    previous: PageRow | None = None
    children: list[PageRow] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    count: int = 0
    count_is_lower_bound: bool = False
    is_current: bool = False
    is_open: bool = False
    run_counts: Sequence[RunCount] = ()
    mark: str = ""

    @property
    def uid(self) -> str:
        uid: str = self.document["uid"]
        return uid

    @property
    def is_known(self) -> bool:
        return self.action_type is not None

    @property
    def group(self) -> str:
        return str(self.action_type.group) if self.action_type is not None else ""

    @property
    def type_name(self) -> str:
        if self.action_type is None:
            return str(self.document["action"])
        return str(self.action_type.verbose_name)

    @property
    def quoted(self) -> str:
        """The uid as it stands in addresses; Django's ``unquote`` reads it."""
        return self.quoted_of(self.uid)

    @staticmethod
    def quoted_of(uid: str) -> str:
        return str(quote(uid))

    @property
    def anchor(self) -> str:
        return self.anchor_of(self.uid)

    @staticmethod
    def anchor_of(uid: str) -> str:
        """The id that the row of this uid has in a page."""
        return f"row-{quote(uid)}"

    @property
    def told(self) -> dict[str, str]:
        """How messages name it: ``place`` and ``row``."""
        return {"place": self.place, "row": self.title}

    @property
    def note(self) -> str:
        note: str = self.document["note"]
        return note

    @property
    def result_key(self) -> str:
        key: str = self.document["result_key"]
        return key

    @property
    def is_enabled(self) -> bool:
        return bool(self.document["enabled"])

    @property
    def is_block(self) -> bool:
        return self.takes_rows or bool(self.children)

    @property
    def can_go_in(self) -> bool:
        return self.previous is not None and self.previous.takes_rows

    @property
    def rows_inside(self) -> int:
        """How many rows there are inside, at any depth."""
        return sum(1 + child.rows_inside for child in self.children)

    @property
    def error_count(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warning_count(self) -> int:
        return len(self.findings) - self.error_count

    @property
    def findings_text(self) -> str:
        """What the checker says of the row, a line each."""
        return "\n".join(finding.message for finding in self.findings)

    @property
    def classes(self) -> str:
        """How its kind and condition look, as class names."""
        names = (
            (self.is_block, "fc-is-block"),
            (self.is_block and self.icon in ("branch", "loop"), "fc-is-way"),
            (self.continues, "fc-continues"),
            (self.is_off, "fc-is-off"),
            (bool(self.error_count), "fc-has-errors"),
        )
        return " ".join(["fc-row", *(name for applies, name in names if applies)])

    @property
    def has_extras(self) -> bool:
        """Whether there is more to show of it than its title; most rows have nothing."""
        return bool(
            self.subtitle
            or self.note
            or self.result_key
            or self.findings
            or self.run_counts
            or not self.is_enabled
            or not self.is_known
        )

    def make_mark(self) -> None:
        """Set the mark: it changes with what the list shows of the row itself, not with its place.

        A page that tells the marks it has gets only the rows that look different by now.
        """
        shown = (
            *(self.title, self.subtitle, self.icon, self.classes, self.takes_rows),
            *(self.is_known, self.is_enabled, self.note, self.result_key, self.run_counts),
            *((finding.severity, finding.message) for finding in self.findings),
        )
        self.mark = f"{zlib.crc32(repr(shown).encode()):x}"


@dataclass(slots=True)
class RowItem:
    """An entry of the flat list: a row, or the end of its block."""

    row: PageRow
    is_end: bool = False


@dataclass
class RowList:
    """All rows of a document."""

    top: list[PageRow]
    by_uid: dict[str, PageRow]

    @property
    def items(self) -> Iterator[RowItem]:
        return _items(self.top)

    def __len__(self) -> int:
        return len(self.by_uid)

    def add_findings(self, findings: Sequence[Finding]) -> list[FlowFinding]:
        """Put findings at their rows, and give them all with the rows they are about."""
        told = []
        for finding in findings:
            row = self.by_uid.get(finding.uid)
            if row is not None:
                row.findings.append(finding)
            told.append(FlowFinding(finding, row))
        return told


@dataclass(frozen=True)
class FlowFinding:
    """A finding and the row it is about, or ``None`` if it is about the flow itself."""

    finding: Finding
    row: PageRow | None


def rows_of(document: Mapping[str, Any], *, reveal_secrets: bool = False) -> RowList:
    """The rows of ``document``. What cannot be said in a sentence is shown by its type's name."""
    by_uid: dict[str, PageRow] = {}
    top: list[PageRow] = []
    for placed in walk(document):
        parent = by_uid[placed.parent["uid"]] if placed.parent is not None else None
        siblings = parent.children if parent is not None else top
        row = _page_row(placed.row, parent, siblings, reveal_secrets)
        siblings.append(row)
        by_uid[row.uid] = row
    return RowList(top, by_uid)


def _page_row(
    item: JSONObject, parent: PageRow | None, before: Sequence[PageRow], reveal_secrets: bool
) -> PageRow:
    action_type = actions.find(item["action"])
    sentence = sentence_of(item, reveal_secrets=reveal_secrets)
    previous = before[-1] if before else None
    if previous is not None:
        previous.is_last = False
    number = len(before) + 1
    icon = action_type.icon if action_type is not None else "unknown"
    return PageRow(
        document=item,
        place=f"{parent.place}.{number}" if parent is not None else str(number),
        depth=parent.depth + 1 if parent is not None else 0,
        parent=parent,
        title=item["label"] or sentence,
        subtitle=sentence if item["label"] and item["label"] != sentence else "",
        action_type=action_type,
        icon=icon if icon in ICONS or action_type is None else "other",
        takes_rows=action_type.has_children if action_type is not None else bool(item["children"]),
        continues=action_type is not None and bool(action_type.follows),
        is_off=not item["enabled"] or (parent is not None and parent.is_off),
        is_first=not before,
        is_last=True,
        previous=previous,
    )


def pretty(value: Any) -> str:
    """JSON for people."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _items(rows: Sequence[PageRow]) -> Iterator[RowItem]:
    for row in rows:
        yield RowItem(row)
        if row.is_block:
            yield from _items(row.children)
            yield RowItem(row, is_end=True)
