"""Changes of runs that do not come from the worker that executes them, each on record.

A person's or another run's decision is one guarded UPDATE, which takes the claim away from a
worker that may be at it, and one row of history, in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import models, transaction

from flowcontrol import signals
from flowcontrol.announcing import tell
from flowcontrol.dispatching import announce_due
from flowcontrol.models import (
    EventKind,
    FlowRun,
    HumanTask,
    Outcome,
    RunEvent,
    RunWait,
    Status,
    TaskStatus,
)
from flowcontrol.models.locks import lock_rows
from flowcontrol.models.runs import FlowRunQuerySet
from flowcontrol.parents import tell_parents


def record(
    run_pk: int,
    kind: EventKind,
    at: datetime,
    *,
    user: Any = None,
    reason: str = "",
    detail: Mapping[str, Any] | None = None,
    undo: Mapping[str, Any] | None = None,
) -> RunEvent:
    """Add a row to a run's history. Call it in the transaction that changes the run.

    The number is taken by an UPDATE of the run's row, which also holds off a worker's write until
    this transaction has ended.
    """
    FlowRun.objects.filter(pk=run_pk).update(seq=models.F("seq") + 1)
    seq = FlowRun.objects.filter(pk=run_pk).values_list("seq", flat=True).get()
    return RunEvent.objects.create(
        run_id=run_pk,
        seq=seq,
        at=at,
        kind=kind,
        user=user,
        reason=reason,
        detail=dict(detail) if detail else None,
        undo=dict(undo) if undo else None,
    )


def end_runs(
    runs: FlowRunQuerySet,
    outcome: Outcome,
    reason: str,
    now: datetime,
    *,
    user: Any = None,
    kind: EventKind = EventKind.OPERATED,
) -> int:
    """End each of ``runs`` that is not over, from outside; how many there were."""
    ended = 0
    for pk in list(runs.values_list("pk", flat=True)):
        with transaction.atomic():
            _end_children(pk, now)
            moved = FlowRun.objects.filter(pk=pk).move(
                Status.DONE, outcome=outcome, reason=reason, done_at=now, due=None
            )
            if not moved:
                continue
            RunWait.objects.filter(run_id=pk).delete()
            withdraw_tasks(pk)
            record(pk, kind, now, user=user, reason=reason, detail={"did": str(outcome)})
            _end_children(pk, now)
            tell_parents([pk], now)
            ended += 1
        tell(signals.flowrun_done, pk, outcome=str(outcome))
    return ended


def _end_children(pk: int, now: datetime) -> None:
    """Cancel the runs that this one waits for. Before it and, for what it starts meanwhile, after
    it: whoever ends a run locks its row first and then its parent's."""
    children = FlowRun.objects.filter(parent_run=pk).exclude(awaited_as="").open().order_by("pk")
    if list(lock_rows(children).values_list("pk")):
        end_runs(children, Outcome.CANCELED, "The run that waited for it has ended.", now)


def withdraw_tasks(run_pk: int) -> None:
    """Nobody need answer what a run has asked: it goes on without, from another place or not at
    all. Call it in the transaction that decides so, after the run's row was changed or locked."""
    HumanTask.objects.filter(run_id=run_pk).close(TaskStatus.WITHDRAWN)


def wake(
    run_pk: int, wakeup: Mapping[str, Any], now: datetime, *, reason: str, user: Any = None
) -> bool:
    """Let a waiting run go on with what woke it; a paused one when it is resumed.

    Returns:
        Whether it was waiting. A lock decides, so of two that wake it at once one does.
    """
    with transaction.atomic():
        # Whoever pauses or resumes it at this moment is waited for; otherwise it might be neither
        # waiting nor paused whenever this looks, and what woke it would be lost.
        runs = FlowRun.objects.filter(pk=run_pk, status__in=(Status.WAITING, Status.PAUSED))
        status = lock_rows(runs).values_list("status", flat=True).first()
        woken = 0
        if status == Status.WAITING:
            woken = FlowRun.objects.filter(pk=run_pk, status=status).move(
                Status.PENDING, due=now, wakeup=dict(wakeup)
            )
        elif status == Status.PAUSED and RunWait.objects.filter(run_id=run_pk).exists():
            woken = FlowRun.objects.filter(pk=run_pk).update(due=now, wakeup=dict(wakeup))
        if woken:
            RunWait.objects.filter(run_id=run_pk).delete()
            record(run_pk, EventKind.WOKEN, now, user=user, reason=reason, detail=wakeup)
            announce_due()
    return bool(woken)
