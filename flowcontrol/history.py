"""A run's history in compact form: the steps of a commit, and how to undo what they changed.

A step is the list ``[uid, phase, directive, microseconds, reads, notes]``, without its empty tail:
``reads`` are the ``[name, value]`` pairs of the variables that its expressions read, ``notes`` the
lines that the action logged. Where a commit has more steps than are kept, ``null`` and the number
left out stand between the first and the last: ``[…, [null, 812], …]``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from flowcontrol.expressions import summary
from flowcontrol.failures import clean

JSONList = list[Any]

LONGEST_READ = 200
"""Characters of a text that was read; longer ones are cut in the history only."""


class StepLog:
    """Keeps the first and the last ``keep`` / 2 steps of a commit and counts the others."""

    __slots__ = ("_first", "_half", "_last", "count")

    def __init__(self, keep: int) -> None:
        self._half = max(keep // 2, 0)
        self._first: list[tuple[Any, ...]] = []
        self._last: deque[tuple[Any, ...]] = deque(maxlen=self._half)
        self.count = 0

    def add(
        self,
        uid: str,
        phase: str,
        directive: str,
        microseconds: int,
        reads: list[tuple[str, Any]] | None,
        notes: list[str] | None,
    ) -> None:
        step = (uid, phase, directive, microseconds, reads, notes)
        self.count += 1
        if len(self._first) < self._half:
            self._first.append(step)
        else:
            self._last.append(step)

    def add_notes(self, notes: list[str]) -> None:
        """Add lines to those of the last step."""
        kept = self._last or self._first
        if kept and notes:
            *step, before = kept[-1]
            kept[-1] = (*step, [*(before or ()), *notes])

    def copy(self) -> StepLog:
        twin = StepLog(self._half * 2)
        twin._first, twin._last, twin.count = self._first[:], self._last.copy(), self.count
        return twin

    def to_json(self) -> JSONList:
        """The steps as they are stored."""
        kept = [_compact(step) for step in self._first]
        left_out = self.count - len(self._first) - len(self._last)
        if left_out:
            kept.append([None, left_out])
        kept.extend(_compact(step) for step in self._last)
        return kept


def _compact(step: tuple[Any, ...]) -> JSONList:
    uid, phase, directive, microseconds, reads, notes = step
    compact = [uid, phase, directive, microseconds]
    if reads or notes:
        compact.append([[name, shown(value)] for name, value in reads or ()])
    if notes:
        compact.append([clean(note) for note in notes])
    return compact


def shown(value: Any) -> Any:
    """A value that was read, as it appears in the history: short, as JSON, without a query."""
    told = str.__str__(value) if isinstance(value, str) else summary(value)
    if not isinstance(told, str):
        return told
    text = clean(told)
    return text if len(text) <= LONGEST_READ else text[:LONGEST_READ] + "…"


def reverse_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any] | None:
    """What turns ``after`` into ``before`` again; ``None`` when they are equal.

    Values are compared as JSON: ``1``, ``1.0`` and ``true`` differ.
    """
    changed = {
        key: value
        for key, value in before.items()
        if key not in after or not same(value, after[key])
    }
    added = [key for key in after if key not in before]
    if not changed and not added:
        return None
    patch: dict[str, Any] = {}
    if changed:
        patch["set"] = changed
    if added:
        patch["remove"] = added
    return patch


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values would be stored alike."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
