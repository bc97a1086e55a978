"""The engine's verbs, for code: start runs, let them go on, fire triggers, cancel, retry.

Everything here is also what the admin, the commands and Celery call.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import models

from flowcontrol.answering import complete_task
from flowcontrol.children import Children, children_of, look_at_children, start_child
from flowcontrol.conf import Clock, settings
from flowcontrol.executing import Tally
from flowcontrol.firing import trigger_flows
from flowcontrol.matching import match_firings
from flowcontrol.models import Flow, FlowRun, Outcome
from flowcontrol.models.runs import FlowRunQuerySet
from flowcontrol.operating import cancel as cancel_flowrun
from flowcontrol.operating import retry as retry_flowrun
from flowcontrol.operating import wake_flowrun
from flowcontrol.recording import end_runs
from flowcontrol.starting import create_flowrun
from flowcontrol.sweeping import execute_runs, sweep

__all__ = [
    "Children",
    "cancel_flowrun",
    "cancel_flowruns_for_object",
    "children_of",
    "complete_task",
    "continue_flowruns",
    "create_flowrun",
    "execute_flowrun",
    "get_flowruns_for_object",
    "look_at_children",
    "retry_flowrun",
    "start_child",
    "start_flowrun",
    "trigger_flows",
    "wake_flowrun",
]


def start_flowrun(
    flow: Flow | str,
    obj: models.Model | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    key: str | None = None,
    user: Any = None,
    continue_after: datetime | None = None,
) -> FlowRun:
    """:func:`create_flowrun`, then execute it here and now until it waits or ends.

    Inside a transaction of the caller it stops before its first external step, because that needs
    a commit; the next sweep goes on from there.

    Raises:
        StartRefused: with the reason. What the run does raises nothing: look at its status.
    """
    run = create_flowrun(flow, obj, state=state, key=key, user=user, continue_after=continue_after)
    return execute_flowrun(run)


def execute_flowrun(run: FlowRun, *, now: datetime | None = None) -> FlowRun:
    """Execute one run here and now, if it is due and nobody else holds it; what became of it."""
    execute_runs([run.pk], _clock(now))
    run.refresh_from_db()
    return run


def continue_flowruns(
    *,
    now: datetime | None = None,
    max_runs: int | None = None,
    max_seconds: float | None = None,
    batch_size: int | None = None,
) -> Tally:
    """One sweep: rescue, match firings, execute what is due. May overlap with other sweeps.

    Args:
        now: a fixed moment instead of the engine's clock.
        max_runs: by default ``FLOWCONTROL_SWEEP_RUNS``.
        max_seconds: by default ``FLOWCONTROL_SWEEP_SECONDS``.
        batch_size: by default ``FLOWCONTROL_BATCH_SIZE``.

    Returns:
        What it came to, in numbers.
    """
    return sweep(
        _clock(now),
        match_firings,
        max_runs=max_runs,
        max_seconds=max_seconds,
        batch_size=batch_size,
    )


def get_flowruns_for_object(obj: models.Model, flow: Flow | str | None = None) -> FlowRunQuerySet:
    """The runs about ``obj``, of one flow or of all."""
    runs = FlowRun.objects.for_object(obj)
    if isinstance(flow, str):
        return runs.filter(flow__slug=flow)
    return runs.for_flow(flow) if flow is not None else runs


def cancel_flowruns_for_object(
    obj: models.Model, flow: Flow | str | None = None, *, user: Any = None, reason: str = ""
) -> int:
    """Cancel every open run about ``obj``; how many there were."""
    runs = get_flowruns_for_object(obj, flow).open()
    return end_runs(runs, Outcome.CANCELED, reason, settings.CLOCK(), user=user)


def _clock(now: datetime | None) -> Clock:
    if now is None:
        return settings.CLOCK
    return lambda: now
