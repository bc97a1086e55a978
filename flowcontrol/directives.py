"""What an action may answer to "what now?": the closed vocabulary between actions and engine.

An action returns one of these; it never edits the run's position or due time itself.
:class:`FlowDirective` offers them by the names the documentation uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

Target = Literal["parent", "loop"]
"""Whom ``Leave`` and ``Break`` speak of: the block around the row, or the nearest loop."""


class _NoResult:
    """Tells "no result" from a result that is null."""

    def __repr__(self) -> str:
        return "NO_RESULT"


NO_RESULT: Final = _NoResult()


class _Unchanged:
    """Tells "keep the memo" from a memo that is null."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = _Unchanged()


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on with the next row; at the end of the block, back to the parent.

    ``result`` is stored in the state under the row's "save result as" key, if it has one.
    """

    result: Any = NO_RESULT


@dataclass(frozen=True, slots=True)
class Enter:
    """Run the rows inside; then the action's ``return_from_children`` is asked.

    ``memo`` (JSON) is the action's own note, readable as ``run.memo`` until the block is left.
    ``names`` (JSON object) are the loop variables that the rows inside can read. Under the key
    ``$objects`` it may have names that stand for model instances: ``{name: [label, pk]}``.
    ``items`` (JSON list), given once, is kept beside the memo for as long as the block is open and
    readable as ``run.items``: however long it is, it costs nothing in the rounds.
    """

    memo: Any = None
    names: Mapping[str, Any] | None = None
    items: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """Back to the parent (or the nearest loop), which is asked again."""

    target: Target = "parent"


@dataclass(frozen=True, slots=True)
class Break:
    """Past the parent (or the nearest loop), to the row after it."""

    target: Target = "parent"


@dataclass(frozen=True, slots=True)
class Abort:
    """End the run here, as aborted."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Park:
    """What a run may wait for; whatever comes first lets it go on.

    ``until`` (aware datetime) is when it goes on by itself; without it the run waits until it is
    woken. ``for_event`` is the name of a trigger whose next firing wakes it, for the run's own
    object only unless ``any_object``, and only if ``condition`` holds: an expression that reads
    the firing's payload as ``trigger``, its object as ``object``, and the run's state. Firings of
    the last ``look_back`` count too, if this run has not been woken by them before.
    """

    until: datetime | None = None
    for_event: str | None = None
    any_object: bool = False
    condition: str = ""
    look_back: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend(_Park):
    """Park the run; afterwards go on with the next row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendAndRepeat(_Park):
    """Park the run; afterwards ask the same action again, in the phase it was in.

    What woke the run is readable then as ``run.wakeup``; ``memo`` as in :class:`Enter`, by
    default what it was. ``for_children`` names runs that this row has started (the group that
    :func:`flowcontrol.engine.start_child` was given): the row is asked again when one of them
    ends or fails. ``for_task``: it is asked again when the task it has written is answered.
    """

    for_children: str | None = None
    for_task: bool = False
    memo: Any = UNCHANGED
    items: list[Any] | None = None


Directive = Continue | Enter | Leave | Break | Abort | Suspend | SuspendAndRepeat


class FlowDirective:
    """The directives by name: instances where there is nothing to say, classes where there is.

    >>> FlowDirective.CONTINUE
    Continue(result=NO_RESULT)
    >>> FlowDirective.LEAVE
    Leave(target='parent')
    """

    CONTINUE: Final = Continue()
    ENTER: Final = Enter()
    LEAVE: Final = Leave()
    BREAK: Final = Break()
    ABORT: Final = Abort()
    SUSPEND: Final = Suspend
    SUSPEND_AND_REPEAT: Final = SuspendAndRepeat
