"""What one edit changed, row by row: small, plain JSON, and it can be taken back.

A patch holds only what differs, each time with what was there and what is there now, so the same
value undoes an edit and does it again, and tells whether it still fits::

    {"rows": {"<uid>": {"label": ["old", "new"]},          a row that changed
              "<uid>": [null, {…}], "<uid>": [{…}, null]},  a row that came, one that went
     "blocks": {"<uid>": [2, ["gone"], ["came"]]},          at index 2 of a block these became those
     "flow": {"condition": ["", "object.delayed"]}}

A row that moves appears in ``blocks`` alone, so moving a block of 500 rows is a few words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcontrol.documents import JSONObject
from flowcontrol.history import same
from flowcontrol.trees import RowTree

Settings = Mapping[str, Any]
"""What of a document is not rows: its object type, condition, state schema and identity."""


class PatchMismatch(ValueError):
    """The patch was made for another state than the one it is applied to."""


def patch_between(
    before: RowTree, after: RowTree, settings: tuple[Settings, Settings] = ({}, {})
) -> JSONObject | None:
    """What turns ``before`` into ``after``; ``None`` if they are equal.

    ``settings`` are those before and those after, with the same keys.
    """
    rows: dict[str, Any] = {}
    for uid in [*before.rows, *(uid for uid in after.rows if uid not in before.rows)]:
        old, new = before.rows.get(uid), after.rows.get(uid)
        if old is None or new is None:
            rows[uid] = [old, new]
        elif old is not new and (changed := _changed(old, new)):
            rows[uid] = changed
    blocks = {}
    for block in {**before.blocks, **after.blocks}:
        was, now = before.blocks.get(block, []), after.blocks.get(block, [])
        if was != now:
            blocks[block] = _splice(was, now)
    patch = {"rows": rows, "blocks": blocks, "flow": _changed(*settings)}
    return {name: part for name, part in patch.items() if part} or None


def _changed(old: Settings, new: Settings) -> dict[str, list[Any]]:
    return {name: [old[name], value] for name, value in new.items() if not same(old[name], value)}


def _splice(was: list[str], now: list[str]) -> list[Any]:
    """The part in the middle that differs: where it begins, what it was, what it is."""
    start, shorter = 0, min(len(was), len(now))
    while start < shorter and was[start] == now[start]:
        start += 1
    end = 0
    while end < shorter - start and was[-1 - end] == now[-1 - end]:
        end += 1
    return [start, was[start : len(was) - end], now[start : len(now) - end]]


def reverse(patch: Mapping[str, Any]) -> JSONObject:
    """The patch that takes this one back."""
    turned: JSONObject = {}
    if "rows" in patch:
        turned["rows"] = {uid: _turned(change) for uid, change in patch["rows"].items()}
    if "blocks" in patch:
        turned["blocks"] = {
            uid: [start, now, was] for uid, (start, was, now) in patch["blocks"].items()
        }
    if "flow" in patch:
        turned["flow"] = _turned(patch["flow"])
    return turned


def _turned(change: Any) -> Any:
    if isinstance(change, list):
        return change[::-1]
    return {name: [new, old] for name, (old, new) in change.items()}


def apply(
    patch: Mapping[str, Any], tree: RowTree, settings: Settings
) -> tuple[RowTree, JSONObject]:
    """The rows and settings that the patch makes of these; they themselves stay as they are.

    Raises:
        PatchMismatch: something that the patch changes is not as the patch found it.
    """
    after = tree.copy()
    for uid, change in patch.get("rows", {}).items():
        if isinstance(change, list):
            _come_or_go(after, uid, *change)
        else:
            if uid not in after:
                raise PatchMismatch(f"The row {uid!r} is gone.")
            after.change(uid, **_new_values(after.rows[uid], change, f"row {uid!r}"))
    for block, (start, was, now) in patch.get("blocks", {}).items():
        if block not in tree.blocks and block not in after.blocks:
            raise PatchMismatch(f"The row {block!r} is gone.")
        uids = tree.blocks.get(block, [])
        if uids[start : start + len(was)] != was:
            raise PatchMismatch(f"The rows in {block!r} are others.")
        if block in after.blocks:
            after.blocks[block] = [*uids[:start], *now, *uids[start + len(was) :]]
    after.parents = {uid: block for block, uids in after.blocks.items() for uid in uids}
    if sorted(after.walk()) != sorted(after.rows):
        raise PatchMismatch("Some rows would stand nowhere, or twice.")
    changes = _new_values(settings, patch.get("flow", {}), "the flow")
    return after, {**settings, **changes}


def _come_or_go(tree: RowTree, uid: str, old: JSONObject | None, new: JSONObject | None) -> None:
    found = tree.rows.get(uid)
    if (found is None) != (old is None) or not same(found, old):
        raise PatchMismatch(f"The row {uid!r} is not as it was.")
    if new is None:
        del tree.rows[uid], tree.blocks[uid]
    else:
        tree.rows[uid] = new
        tree.blocks[uid] = []


def _new_values(found: Settings, changes: Mapping[str, Any], what: str) -> JSONObject:
    for name, (old, _new) in changes.items():
        if name not in found or not same(found[name], old):
            raise PatchMismatch(f"{name!r} of {what} is not as it was.")
    return {name: new for name, (_old, new) in changes.items()}
