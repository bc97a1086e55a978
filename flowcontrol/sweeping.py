"""The sweep: rescue, match firings, promote what is queued, claim what is due, execute.

A sweep asks the rows what has to be done; it remembers nothing, so sweeps may overlap, and one
that dies on any line has only delayed what the next one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from time import monotonic

from django.db.models import Count

from flowcontrol.buffering import take_missed
from flowcontrol.claiming import claim_due, claim_run, claim_suspect, free_paused_suspects
from flowcontrol.conf import Clock, settings
from flowcontrol.executing import FAIR_SECONDS, Tally, execute_claims
from flowcontrol.looking import Chores, look
from flowcontrol.models import EngineState, FlowRun
from flowcontrol.starting import promote_queued
from flowcontrol.trials import in_trial

MatchFirings = Callable[[datetime, int], int]


def sweep(
    clock: Clock,
    match_firings: MatchFirings,
    *,
    max_runs: int | None = None,
    max_seconds: float | None = None,
    batch_size: int | None = None,
    queue: str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Tally:
    """Do everything that is to be done now, within bounds.

    Args:
        clock: tells the moment by which runs are due.
        match_firings: see :func:`flowcontrol.firing.match_firings`.
        max_runs: claim no more batches after so many runs.
        max_seconds: nor after so many seconds.
        batch_size: runs per claim.
        queue: only runs whose next step belongs to this queue, and hand over those that come to
            a step of another one; ``None``: execute every step, whatever its queue.
        stop: asked between batches and between runs with effects; true ends the sweep, and what
            has been claimed by then and not begun is given back.
    """
    max_runs = settings.SWEEP_RUNS if max_runs is None else max_runs
    max_seconds = settings.SWEEP_SECONDS if max_seconds is None else max_seconds
    batch_size = batch_size or settings.BATCH_SIZE
    ends_at = monotonic() + max_seconds
    size = batch_size
    tally = Tally()

    def may_go_on() -> bool:
        return not stop() and tally.executed < max_runs and monotonic() < ends_at

    chores = look()
    if _recover(chores, clock, tally, may_go_on):
        chores = look()
    while may_go_on():
        matched = match_firings(clock(), batch_size) if chores.fired else 0
        tally.matched += matched
        if chores.queued:
            tally.promoted += promote_queued(clock())
        claims = claim_due(clock(), min(size, max_runs - tally.executed), queue)
        if not claims and not matched:
            break
        began = monotonic()
        batch = execute_claims(claims, clock, queue, lambda: stop() or monotonic() >= ends_at)
        tally.add(batch)
        # No more than could be done in a fair time; more again when that turns out to be quick.
        if batch.handed_back:
            size = max(batch.executed, 1)
        elif monotonic() - began < FAIR_SECONDS / 2:
            size = min(2 * size, batch_size)
        chores = look()
    EngineState.objects.note_sweep(clock())
    return tally


def prepare(clock: Clock, match_firings: MatchFirings) -> dict[str, int]:
    """The part of a sweep that is not execution; how many runs are due then, by queue.

    For set-ups where one process looks after everything and others execute.
    """
    _recover(look(), clock, Tally(), lambda: True)
    while match_firings(clock(), settings.BATCH_SIZE):
        pass
    promote_queued(clock())
    EngineState.objects.note_sweep(clock())
    due = FlowRun.objects.due(clock()).filter(flow__paused_at__isnull=True).order_by()
    return dict(due.values_list("queue").annotate(number=Count("pk")))


def _recover(chores: Chores, clock: Clock, tally: Tally, may_go_on: Callable[[], bool]) -> bool:
    """Take up what fell between two commits or out of a worker's hands; whether runs were lost."""
    if chores.missed:
        take_missed(clock())
    if chores.lost:
        free_paused_suspects()
        while may_go_on() and (suspect := claim_suspect()) is not None:
            tally.rescued += 1
            tally.add(execute_claims([suspect], clock))
    return chores.lost


def execute_due(clock: Clock, queue: str, limit: int | None = None) -> Tally:
    """Claim one batch of what is due for ``queue``, execute it, and nothing else."""
    return execute_claims(claim_due(clock(), limit or settings.BATCH_SIZE, queue), clock, queue)


def execute_runs(run_ids: Iterable[int], clock: Clock) -> Tally:
    """Execute these runs now, one by one, as far as they are due and nobody holds them."""
    tally = Tally()
    if in_trial():
        return tally  # the trial alone decides what is executed in it
    for pk in run_ids:
        claim = claim_run(pk, clock())
        if claim is not None:
            tally.add(execute_claims([claim], clock))
    return tally
