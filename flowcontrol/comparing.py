"""Two documents side by side, row by row: what came, what went, what moved, what reads otherwise.

For people, who want to know what publishing changes. :mod:`flowcontrol.patches` says the same for
machines, exactly and to be taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flowcontrol.documents import JSONObject
from flowcontrol.history import same
from flowcontrol.trees import TOP, RowTree, longest_rising

SETTINGS: Final = ("content_type", "condition", "state_schema", "identity")
"""What of a document is not rows."""

NOTHING: Final[Any] = object()
"""Stands for the value of a property that is not there."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of a row or of the flow; ``config`` is taken apart into its properties.

    ``before`` or ``after`` is :data:`NOTHING` where a property of the config is not there.
    """

    name: str
    before: Any
    after: Any
    is_config: bool = False


@dataclass(frozen=True, slots=True)
class RowChange:
    """What became of one row; ``before`` and ``after`` are the row without what is inside it.

    ``place`` is where it stands, as people count (``2.1``); where it stood, if it is gone.
    ``goes_along`` is whether the block it stands in came or went with it.
    """

    uid: str
    before: JSONObject | None
    after: JSONObject | None
    place: str
    place_before: str = ""
    is_moved: bool = False
    fields: tuple[FieldChange, ...] = ()
    goes_along: bool = False

    @property
    def kind(self) -> str:
        """``added``, ``removed``, ``moved`` or ``changed``; one that did both is ``changed``."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "changed" if self.fields else "moved"

    @property
    def row(self) -> JSONObject:
        """The row as it is, or as it was."""
        return self.after or self.before or {}


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that differs: rows that are there in their order, then those that are gone in theirs."""

    rows: tuple[RowChange, ...]
    settings: tuple[FieldChange, ...]

    def __bool__(self) -> bool:
        return bool(self.rows or self.settings)

    def of_kind(self, kind: str) -> list[RowChange]:
        return [change for change in self.rows if change.kind == kind]


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """What differs between two documents that :func:`flowcontrol.documents.read_document` read.

    A row is known by its id. It has moved if it is in another block, or had to leave the order of
    its neighbours: of ten rows of which the last was put first, one has moved.
    """
    old, new = RowTree.of(before["actions"]), RowTree.of(after["actions"])
    return Comparison(
        rows=(*_that_are_there(old, new), *_that_are_gone(old, new)),
        settings=tuple(_fields({name: before[name] for name in SETTINGS}, after)),
    )


def _that_are_there(old: RowTree, new: RowTree) -> Iterator[RowChange]:
    places_before, moved = dict(_places(old)), _moved(old, new)
    for uid, place in _places(new):
        row = {"uid": uid, **new.rows[uid]}
        if uid not in old:
            along = new.parents[uid] not in old and new.parents[uid] != TOP
            yield RowChange(uid, None, row, place, goes_along=along)
            continue
        was = {"uid": uid, **old.rows[uid]}
        fields = tuple(_row_fields(was, row))
        if fields or uid in moved:
            yield RowChange(uid, was, row, place, places_before[uid], uid in moved, fields)


def _that_are_gone(old: RowTree, new: RowTree) -> Iterator[RowChange]:
    for uid, place in _places(old):
        if uid not in new:
            along = old.parents[uid] not in new and old.parents[uid] != TOP
            row = {"uid": uid, **old.rows[uid]}
            yield RowChange(uid, row, None, place, place, goes_along=along)


def _places(tree: RowTree, block: str = TOP, prefix: str = "") -> Iterator[tuple[str, str]]:
    for number, uid in enumerate(tree.blocks[block], 1):
        yield uid, f"{prefix}{number}"
        yield from _places(tree, uid, f"{prefix}{number}.")


def _moved(old: RowTree, new: RowTree) -> set[str]:
    moved = {uid for uid in new.parents if uid in old and old.parents[uid] != new.parents[uid]}
    for block, uids in new.blocks.items():
        if block in old.blocks:
            stayed = [uid for uid in uids if uid in old and old.parents[uid] == block]
            numbers = {uid: number for number, uid in enumerate(old.blocks[block])}
            kept = longest_rising([numbers[uid] for uid in stayed])
            moved.update(uid for uid in stayed if numbers[uid] not in kept)
    return moved


def _row_fields(before: JSONObject, after: JSONObject) -> Iterator[FieldChange]:
    for field in _fields(before, after):
        if field.name == "config":
            names = dict.fromkeys([*field.before, *field.after])
            for name in names:
                was, now = field.before.get(name, NOTHING), field.after.get(name, NOTHING)
                if not same(was, now):
                    yield FieldChange(name, was, now, is_config=True)
        else:
            yield field


def _fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[FieldChange]:
    for name, was in before.items():
        if not same(was, after[name]):
            yield FieldChange(name, was, after[name])
