"""What a trial or the tests leave on the rows: what happened there, which way it went, who came by.

A trace stands below the line of its row, in the builder's own list as on the page of a trial. The
server makes it and the page puts it where it belongs; it is no part of the draft.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

from flowcontrol.registry import actions

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    from flowcontrol.admin.rows import PageRow, RowList
    from flowcontrol.admin.run_history import Change, Read
    from flowcontrol.flowtests import Coverage

EARLIER_SHOWN: Final = 5
"""Visits before the last that are shown at a row; all of them stand in the list step by step."""

LAST_SHOWN: Final = 4
"""So many things are told of one visit: a row that looks for something is asked again and again."""

TESTS_NAMED: Final = 3

PLAIN_WAYS: Final = ("continue", "enter", "suspend")
"""Answers that need no words: the next row, the rows inside or the time that passed tell them."""


@dataclass(frozen=True)
class ShownCall:
    """A row with effects that was asked."""

    row: PageRow | None
    title: str
    facts: Sequence[Read]
    """What it was configured to do, by the labels of its form."""
    is_simulated: bool


@dataclass(frozen=True)
class Entry:
    """A step, or time that was skipped (then ``length`` says how much)."""

    row: PageRow | None
    title: str
    at: datetime
    phase: _StrOrPromise = ""
    directive: _StrOrPromise = ""
    way: str = ""
    """The directive by its name."""
    is_visit: bool = False
    """Whether a visit of the row begins with it: it was not only asked again."""
    reads: Sequence[Read] = ()
    changes: Sequence[Change] = ()
    notes: Sequence[str] = ()
    call: ShownCall | None = None
    error: str = ""
    is_skip: bool = False
    length: str = ""
    was_answered: bool = False
    wait: str = ""

    @property
    def way_told(self) -> _StrOrPromise:
        """The way it took, if only words tell it."""
        return "" if self.way in PLAIN_WAYS else self.directive

    @property
    def has_news(self) -> bool:
        """Whether it says more than that the row was there."""
        return bool(
            (self.reads or self.changes or self.notes)
            or (self.call or self.error or self.is_skip or self.way_told)
        )


@dataclass(frozen=True)
class RowTrace:
    """What a trial did at one row."""

    row: PageRow
    entries: Sequence[Entry]
    ended: str = ""
    """How the trial ended, if it ended here."""
    was_passed: bool = False
    """Whether it came by and took another branch."""

    @cached_property
    def visits(self) -> int:
        return sum(entry.is_visit for entry in self.entries)

    @cached_property
    def entered(self) -> int:
        """How often it went inside: of a loop the rounds."""
        return sum(entry.way == "enter" for entry in self.entries)

    @property
    def is_repeated(self) -> bool:
        """Whether what is told is only the last of several times."""
        return self.visits > 1 or (self.is_loop and self.entered > 1)

    @property
    def is_loop(self) -> bool:
        action_type = actions.find(self.row.document["action"])
        return action_type is not None and action_type.is_loop

    @property
    def is_choice(self) -> bool:
        """Whether it is a branch that may be taken or not."""
        has_condition = "condition" in self.row.document["config"] or self.row.continues
        return self.row.takes_rows and has_condition and not self.is_loop

    @property
    def was_not_taken(self) -> bool:
        return self.was_passed or (self.is_choice and self.visits > 0 and not self.entered)

    @property
    def look(self) -> Literal["ended", "ran", "passed", "missed"]:
        if self.ended:
            return "ended"
        if self.was_not_taken and not self.has_failed:
            return "passed"
        return "ran" if self.entries else "missed"

    @property
    def has_failed(self) -> bool:
        return any(entry.error for entry in self._last_visit)

    @property
    def last(self) -> list[Entry]:
        """What the last visit has to tell, shortened in the middle."""
        told = [entry for entry in self._last_visit if entry.has_news]
        if self.is_loop:
            return told[-1:]  # it is asked again after each round
        return told if len(told) <= LAST_SHOWN else [told[0], *told[1 - LAST_SHOWN :]]

    @property
    def earlier(self) -> list[Entry]:
        """What the first visits have to tell that were not the last."""
        return self._earlier[:EARLIER_SHOWN]

    @property
    def more(self) -> int:
        return max(len(self._earlier) - EARLIER_SHOWN, 0)

    @cached_property
    def _begin_of_last(self) -> int:
        begins = [number for number, entry in enumerate(self.entries) if entry.is_visit]
        return begins[-1] if begins else 0

    @property
    def _last_visit(self) -> Sequence[Entry]:
        return self.entries[self._begin_of_last :]

    @cached_property
    def _earlier(self) -> list[Entry]:
        return [entry for entry in self.entries[: self._begin_of_last] if entry.has_news]


def traces_of_trial(
    entries: Sequence[Entry], rows: RowList, uid: str = "", ended: str = ""
) -> Iterator[RowTrace]:
    """The traces of a trial, in the order of the rows; none at rows that are switched off.

    Args:
        entries: what happened, in order.
        rows: those of the draft.
        uid: where the trial ended, if that is a row.
        ended: how it did.
    """
    at_row: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.row is not None:
            at_row.setdefault(entry.row.uid, []).append(entry)
    passed: set[str] = set()
    for row in rows.by_uid.values():
        if row.is_off:
            continue
        found = at_row.get(row.uid, [])
        # Of a chain only the branches are asked that come before the one that is taken.
        before = row.previous.uid if row.continues and row.previous is not None else ""
        if not found and row.uid != uid and (before in at_row or before in passed):
            passed.add(row.uid)
        yield RowTrace(row, found, ended if row.uid == uid else "", row.uid in passed)


@dataclass(frozen=True)
class RowTests:
    """The tests that come by one row."""

    row: PageRow
    names: Sequence[str]

    @property
    def look(self) -> Literal["ran", "missed"]:
        return "ran" if self.names else "missed"

    @property
    def named(self) -> Sequence[str]:
        return self.names[:TESTS_NAMED]

    @property
    def more(self) -> int:
        return max(len(self.names) - TESTS_NAMED, 0)


def traces_of_tests(coverage: Coverage, rows: RowList) -> list[RowTests]:
    """The traces of the tests that were run on this draft; none at all if none was."""
    if not coverage.was_run:
        return []
    by_uid: Mapping[str, PageRow] = rows.by_uid
    return [
        RowTests(by_uid[uid], coverage.tests.get(uid, ())) for uid in coverage.rows if uid in by_uid
    ]


@dataclass(frozen=True)
class Traces:
    """What the builder's list shows beside its rows: of a trial, or of the tests."""

    about: Literal["trial", "tests"]
    rows: Sequence[RowTrace | RowTests]
