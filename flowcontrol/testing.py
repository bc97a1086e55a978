"""For tests of flows and actions: write a flow as it looks, run it, compare its trace.

Without a database::

    def test_while_asks_again_after_each_round():
        rounds = While("n < 2", [UpdateState(n="n|add:1")])
        assert trace(rounds, state={"n": 0}) == ["while", "update", "while", "update", "while"]

With one, and with time under control::

    def test_the_reminder_comes_after_an_hour():
        flow = make_flow(row("delay", duration="PT1H"), row("log", message="due"))
        with travel_to(datetime(2013, 2, 8, 12, tzinfo=UTC)) as clock:
            run = start_flowrun(flow)
            clock.advance(hours=1)
            run_until_idle()
        assert trace_of(run) == ["delay", "delay", "log"]

A row is called by its label, or by the name of its action without ``_state``. It appears once for
each time it was asked, and once more when a wait of its own ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import models
from django.test import override_settings
from django.utils import timezone

from flowcontrol.claiming import Claim
from flowcontrol.compiling import compile_document
from flowcontrol.cursor import Cursor
from flowcontrol.directives import Directive, Suspend, SuspendAndRepeat
from flowcontrol.documents import JSONObject, make_document, row, walk
from flowcontrol.drafting import create_flow, replace_draft
from flowcontrol.engine import continue_flowruns
from flowcontrol.handling import handled
from flowcontrol.models import Flow, FlowRun
from flowcontrol.needs import Limits, Needs
from flowcontrol.programs import Loaded
from flowcontrol.publishing import publish
from flowcontrol.slices import Slice

__all__ = [
    "NOON",
    "Always",
    "Branch",
    "Break",
    "Clock",
    "Delay",
    "Else",
    "ElseIf",
    "Fail",
    "For",
    "ForEach",
    "Group",
    "If",
    "Leave",
    "Log",
    "OnError",
    "Parallel",
    "Rehearsal",
    "SetState",
    "StartFlow",
    "Stop",
    "Try",
    "UpdateState",
    "WaitForTrigger",
    "While",
    "make_flow",
    "rehearse",
    "row",
    "run_until_idle",
    "trace",
    "trace_of",
    "travel_to",
]

Rows = Sequence[JSONObject]

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)
"""When a rehearsal begins unless it is told otherwise."""


# --- notation -----------------------------------------------------------------------------------


def If(condition: str, rows: Rows = (), **fields: Any) -> JSONObject:  # noqa: N802
    return row("if", *rows, condition=condition, **fields)


def ElseIf(condition: str, rows: Rows = (), **fields: Any) -> JSONObject:  # noqa: N802
    return row("else_if", *rows, condition=condition, **fields)


def Else(rows: Rows = (), **fields: Any) -> JSONObject:  # noqa: N802
    return row("else", *rows, **fields)


def While(condition: str, rows: Rows = (), **fields: Any) -> JSONObject:  # noqa: N802
    return row("while", *rows, condition=condition, **fields)


def For(end: Any, rows: Rows = (), **config: Any) -> JSONObject:  # noqa: N802
    """Counts up to ``end``; a text is an expression."""
    end = {"$expr": end} if isinstance(end, str) else end
    return row("for", *rows, end=end, **config)


def ForEach(items: str, rows: Rows = (), **config: Any) -> JSONObject:  # noqa: N802
    return row("for_each", *rows, items=items, **config)


def Try(*rows: JSONObject, **fields: Any) -> JSONObject:  # noqa: N802
    return row("try", *rows, **fields)


def OnError(*rows: JSONObject, **config: Any) -> JSONObject:  # noqa: N802
    return row("on_error", *rows, **config)


def Always(*rows: JSONObject, **fields: Any) -> JSONObject:  # noqa: N802
    return row("always", *rows, **fields)


def Fail(message: str = "failed", **fields: Any) -> JSONObject:  # noqa: N802
    return row("fail", message=message, **fields)


def Parallel(*branches: JSONObject, **config: Any) -> JSONObject:  # noqa: N802
    return row("parallel", *branches, **config)


def Branch(*rows: JSONObject, **config: Any) -> JSONObject:  # noqa: N802
    return row("branch", *rows, **config)


def WaitForTrigger(trigger: str, **config: Any) -> JSONObject:  # noqa: N802
    return row("wait_for_trigger", trigger=trigger, **config)


def Group(rows: Rows = (), **fields: Any) -> JSONObject:  # noqa: N802
    return row("group", *rows, **fields)


def UpdateState(**expressions: Any) -> JSONObject:  # noqa: N802
    """Keyword arguments are state keys; texts are expressions."""
    return row("update_state", state=expressions, evaluate=True)


def SetState(**expressions: Any) -> JSONObject:  # noqa: N802
    """As :func:`UpdateState`, but nothing else stays."""
    return row("set_state", state=expressions, evaluate=True)


def Leave(condition: str = "", target: str = "parent") -> JSONObject:  # noqa: N802
    return (
        row("leave", condition=condition, target=target)
        if condition
        else row("leave", target=target)
    )


def Break(condition: str = "", target: str = "parent") -> JSONObject:  # noqa: N802
    return (
        row("break", condition=condition, target=target)
        if condition
        else row("break", target=target)
    )


def Stop(reason: str = "") -> JSONObject:  # noqa: N802
    return row("stop", reason=reason)


def Delay(duration: str = "PT1H", **config: Any) -> JSONObject:  # noqa: N802
    return row("delay", duration=duration, **config)


def Log(message: str, **fields: Any) -> JSONObject:  # noqa: N802
    return row("log", message=message, **fields)


def StartFlow(flow: str, **config: Any) -> JSONObject:  # noqa: N802
    return row("start_flow", flow=flow, **config)


# --- without a database -------------------------------------------------------------------------


@dataclass
class Rehearsal:
    """What a flow did in memory.

    ``outcome`` is ``complete``, ``aborted`` or, if it was stopped by ``max_steps``, ``unfinished``;
    ``waited`` are the moments (or ``None``) it waited for.
    """

    trace: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    outcome: str = "unfinished"
    waited: list[datetime | None] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)


def rehearse(
    *rows: JSONObject,
    state: Mapping[str, Any] | None = None,
    obj: models.Model | None = None,
    payload: Mapping[str, Any] | None = None,
    now: datetime = NOON,
    state_schema: Mapping[str, Any] | None = None,
    max_steps: int = 100_000,
    restarting: bool = False,
) -> Rehearsal:
    """Run rows in memory to their end: no database, every wait over at once.

    Actions with effects are called like the others, so hand in only what may be called.
    ``restarting`` writes position and state as JSON and reads them back after every step, as if
    each step had a worker of its own: it has to come to the same.

    Raises:
        Exception: whatever a row raises that the flow does not handle.
    """
    document = make_document(*rows, state_schema=dict(state_schema) if state_schema else None)
    program = compile_document(document)
    names = _names(document)
    claim = Claim(
        id=0,
        flow_id=0,
        version_id=0,
        content_type_id=None,
        object_id=None,
        state=dict(state or {}),
        cursor={},
        wakeup=None,
        firing_id=None,
        started_by_id=None,
        visit=0,
        seq=0,
        attempts=0,
        rescues=0,
        depth=0,
        awaited_as="",
        items={},
        token=UUID(int=0),
        is_new=True,
    )
    needs = Needs(
        programs={0: Loaded("rehearsal", program)},
        objects={(None, None): obj} if obj is not None else {},
        payloads={None: payload},
        now=now,
        today=timezone.localtime(now).date(),
        limits=Limits.from_settings(),
    )
    piece = Slice(claim, needs, program, program.start())
    result = Rehearsal()
    while not piece.cursor.ended and piece.steps < max_steps:
        frame, notes = piece.cursor.frames[-1], piece.handle.notes
        result.trace.append(names[frame.uid])
        try:
            directive: Directive | None = piece.step(program[frame.uid], frame)
        except Exception as error:
            if handled(piece, error) is None:
                raise
            directive = None
        result.logs += notes
        if isinstance(directive, Suspend | SuspendAndRepeat):
            result.waited.append(directive.until)
            piece.cursor = piece.cursor.parked()
            now = max(piece.handle.now, directive.until or piece.handle.now)
            piece.handle.now = piece.scope.fixed["now"] = now
            piece.scope.fixed["today"] = timezone.localtime(now).date()
        if restarting:
            piece.cursor = Cursor.from_json(json.loads(json.dumps(piece.cursor.to_json())))
            piece.state = json.loads(json.dumps(piece.state))
            piece.handle.state = piece.scope.state = piece.state
    result.state = piece.state
    result.outcome = piece.cursor.ended or "unfinished"
    return result


def trace(*rows: JSONObject, **given: Any) -> list[str]:
    """The rows that :func:`rehearse` asked, by name, in order."""
    return rehearse(*rows, **given).trace


# --- with a database ----------------------------------------------------------------------------


def make_flow(
    *rows: JSONObject,
    name: str = "Test flow",
    slug: str = "",
    active: bool = True,
    content_type: str | None = None,
    condition: str = "",
    state_schema: Mapping[str, Any] | None = None,
    identity: Any = None,
    **settings: Any,
) -> Flow:
    """A flow of these rows, published and switched on; ``settings`` are fields of ``Flow``.

    ``identity`` is the user whose rights its actions on objects need.
    """
    if active:
        settings.setdefault("active_at", datetime(2000, 1, 1, tzinfo=UTC))
    flow = create_flow(name, slug, **settings)
    document = make_document(
        *rows,
        content_type=content_type,
        condition=condition,
        state_schema=dict(state_schema) if state_schema else None,
        identity=identity.get_username() if identity else None,
    )
    replace_draft(flow, document)
    publish(flow)
    return flow


def run_until_idle(*, max_sweeps: int = 1000, max_runs: int = 10_000) -> int:
    """Sweep until nothing is due any more; how many times a run was executed.

    Raises:
        AssertionError: runs are still due after ``max_sweeps``, or after executing ``max_runs``;
            a flow may be going in circles.
    """
    executed = 0
    for _number in range(max_sweeps):
        tally = continue_flowruns(max_runs=max_runs - executed)
        executed += tally.executed
        if not tally.executed and not tally.matched:
            return executed
        if executed >= max_runs:
            break
    raise AssertionError(f"Runs are still due after {executed} executions.")


class Clock:
    """A clock that stands still until it is told to move."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **lengths: float) -> datetime:
        """Move by a ``timedelta(**lengths)``."""
        self.moment += timedelta(**lengths)
        return self.moment

    def move_to(self, moment: datetime) -> datetime:
        self.moment = moment
        return self.moment


@contextmanager
def travel_to(moment: datetime) -> Iterator[Clock]:
    """Let the engine live at ``moment`` (aware); the clock given moves on only when told to."""
    clock = Clock(moment)
    with override_settings(FLOWCONTROL_CLOCK=clock):
        yield clock


def trace_of(run: FlowRun) -> list[str]:
    """The rows that a run has asked so far, by name, in order, as its history tells."""
    names = _names(run.version.document)
    return [
        names.get(step[0], "…")
        for event in run.events.order_by("seq")
        for step in event.steps or ()
    ]


def _names(document: Mapping[str, Any]) -> dict[str, str]:
    return {
        placed.row["uid"]: placed.row["label"] or placed.row["action"].removesuffix("_state")
        for placed in walk(document)
    }
