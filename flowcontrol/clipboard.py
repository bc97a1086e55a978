"""Copy, cut and paste: rows as JSON text, from one place of a draft to another, or to another flow.

The text names its format, so that what comes back from a clipboard can be told from anything else::

    {"format": "flowcontrol.rows", "version": 1, "flow": "late-flight",
     "rows": [ … as in a document … ], "left_out": {"<uid>": [["token"]]}}

``left_out`` names the secrets that were kept out of it (:mod:`flowcontrol.withholding`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _

from flowcontrol.documents import FORMAT, JSONObject, read_document, walk
from flowcontrol.drafting import Position, place_for, with_new_uids
from flowcontrol.drafts import Draft, draft_document, editing
from flowcontrol.exceptions import DocumentError, DraftRefused
from flowcontrol.models import DraftChange, Flow
from flowcontrol.registry import actions
from flowcontrol.shaping import select, take_out
from flowcontrol.withholding import LeftOut, with_secrets, without_secrets

CLIPBOARD_FORMAT: Final = "flowcontrol.rows"
CLIPBOARD_VERSION: Final = 1

MOST_ROWS: Final = 5000
"""So many rows can be pasted at once."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """What came of pasting.

    ``uids`` are the new rows that stand beside one another, not those inside them. ``unknown`` are
    the names of action types that are not registered here: those rows keep their config, and the
    checker tells of them. ``missing`` are rows, by their new ids, with secrets to be filled in.
    """

    uids: Sequence[str]
    unknown: Sequence[str]
    missing: Sequence[str]


def copy_rows(flow: Flow, uids: Sequence[str], *, reveal_secrets: bool = False) -> str:
    """The text of rows, each with everything inside it, in the order of the draft.

    Secrets are in it for those who may see them; for others they are left out, and come back when
    the text is pasted while the rows are still there.

    Raises:
        DraftRefused: no rows, or one that is not of this draft.
    """
    document = draft_document(flow)
    return _text(Draft.of(flow, document), uids, reveal_secrets)


def cut_rows(
    flow: Flow,
    uids: Sequence[str],
    *,
    reveal_secrets: bool = False,
    revision: int | None = None,
    user: Any = None,
) -> str:
    """The text of rows, which are deleted."""
    with editing(flow, revision, verb="cut", user=user) as draft:
        text = _text(draft, uids, reveal_secrets)
        take_out(draft, uids)
    return text


def _text(draft: Draft, uids: Sequence[str], reveal_secrets: bool) -> str:
    rows = [draft.tree.subtree(uid) for uid in select(draft, uids)]
    left_out: LeftOut = {}
    if not reveal_secrets:
        rows, left_out = without_secrets(rows)
    copied = {
        "format": CLIPBOARD_FORMAT,
        "version": CLIPBOARD_VERSION,
        "flow": draft.flow.slug,
        "rows": rows,
        **({"left_out": left_out} if left_out else {}),
    }
    return json.dumps(copied, ensure_ascii=False, indent=1)


def paste_rows(
    flow: Flow,
    text: str,
    *,
    target: str = "",
    position: Position = "last",
    revision: int | None = None,
    user: Any = None,
) -> Pasted:
    """Put copied rows, under new ids, in or beside the row ``target`` (none: the flow itself).

    Raises:
        DocumentError: the text is not that of copied rows; the message says what is wrong.
        StaleDraft: see :func:`flowcontrol.drafts.editing`.
        DraftRefused: there is no such place, or it is too deep for these rows.
    """
    rows, left_out, origin = read_rows(text)
    with editing(flow, revision, verb="paste", user=user) as draft:
        place = place_for(draft, target, position)
        rows, missing = with_secrets(rows, left_out, _sources(origin, left_out))
        fresh = [with_new_uids(row) for row in rows]
        draft.tree.insert(*place, fresh)
        draft.about = [row["uid"] for row in fresh]
    pairs = list(zip(_each(rows), _each(fresh), strict=True))
    return Pasted(
        uids=[row["uid"] for row in fresh],
        unknown=list(dict.fromkeys(row["action"] for row in _each(fresh) if not _is_known(row))),
        missing=[new["uid"] for old, new in pairs if old["uid"] in missing],
    )


def _is_known(row: JSONObject) -> bool:
    return actions.find(row["action"]) is not None


def _each(rows: Sequence[JSONObject]) -> list[JSONObject]:
    return [placed.row for placed in walk({"actions": rows})]


def read_rows(text: str) -> tuple[list[JSONObject], LeftOut, str]:
    """The rows that a text from a clipboard holds, what was left out of them, and their flow.

    Raises:
        DocumentError: it holds none.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(_not_rows()) from error
    if not isinstance(data, Mapping) or data.get("format") != CLIPBOARD_FORMAT:
        raise DocumentError(_not_rows())
    if data.get("version") != CLIPBOARD_VERSION:
        raise DocumentError(
            _(
                "These rows were copied by another release: they have version %(found)s, this "
                "release reads version %(known)d."
            )
            % {"found": repr(data.get("version")), "known": CLIPBOARD_VERSION}
        )
    rows = read_document({"format": FORMAT, "actions": data.get("rows")})["actions"]
    if not rows:
        raise DocumentError(_("There are no rows in what you paste."))
    if len(_each(rows)) > MOST_ROWS:
        raise DraftRefused(
            _("More than %(number)d rows cannot be pasted at once.") % {"number": MOST_ROWS}
        )
    origin = data.get("flow")
    return rows, read_left_out(data.get("left_out", {})), origin if isinstance(origin, str) else ""


def _not_rows() -> str:
    return _("What you paste is not a copy of rows. Copy rows in a flow first, then paste them.")


def read_left_out(data: Any) -> LeftOut:
    """What was left out, checked.

    Raises:
        DocumentError: it has another shape.
    """
    if not isinstance(data, Mapping) or not all(
        isinstance(paths, list)
        and all(
            isinstance(path, list) and all(isinstance(step, str | int) for step in path)
            for path in paths
        )
        for paths in data.values()
    ):
        raise DocumentError(_("The list of what was left out (“left_out”) cannot be read."))
    return {str(uid): paths for uid, paths in data.items()}


def _sources(slug: str, left_out: LeftOut) -> dict[str, JSONObject]:
    """The rows, by id, that secrets were left out of, where they still are or were deleted last."""
    flow = Flow.objects.filter(slug=slug).first() if left_out and slug else None
    if flow is None:
        return {}
    found = {placed.row["uid"]: placed.row for placed in walk(draft_document(flow))}
    if not left_out.keys() <= found.keys():
        # After a cut they are where undo would bring them back from.
        changes = DraftChange.objects.filter(flow=flow, verb__in=("cut", "delete"))
        patches = changes.order_by("-revision").values_list("patch", flat=True)
        for patch in patches[:20]:
            for uid, change in (patch or {}).get("rows", {}).items():
                if isinstance(change, list) and change[0] is not None:
                    found.setdefault(uid, {"uid": uid, **change[0]})
    return found
