"""Celery: three ways to run flows. The only module that knows Celery.

A message is a hint; what has to be done stands in the rows. A lost, late or doubled message costs
time, nothing else. Give beat entries ``expires`` of one interval, so that messages do not pile up
while no worker is there.

* in-line: beat sends :func:`continue_flowruns_task`, and the worker that gets it does everything.
* fan-out: beat sends :func:`fan_out_flowruns_task`; it looks after everything and sends one
  :func:`execute_due_task` for each batch that is due, to the queue that the runs' next steps want.
* at once: ``FLOWCONTROL_DISPATCHER = "flowcontrol.tasks.CeleryDispatcher"`` sends
  :func:`execute_due_task` after each commit that made something due.
"""

from __future__ import annotations

from dataclasses import asdict
from math import ceil
from typing import Any

from celery import shared_task

from flowcontrol.conf import settings
from flowcontrol.engine import continue_flowruns
from flowcontrol.matching import match_firings
from flowcontrol.sweeping import execute_due, prepare


@shared_task(name="flowcontrol.continue_flowruns", ignore_result=True)  # type: ignore[untyped-decorator]
def continue_flowruns_task(
    max_runs: int | None = None, max_seconds: float | None = None
) -> dict[str, int]:
    """One sweep; the counts that it came to."""
    return asdict(continue_flowruns(max_runs=max_runs, max_seconds=max_seconds))


@shared_task(name="flowcontrol.fan_out_flowruns", ignore_result=True)  # type: ignore[untyped-decorator]
def fan_out_flowruns_task() -> dict[str, int]:
    """Rescue, match, promote, and send a message for each batch that is due; runs by queue."""
    due = prepare(settings.CLOCK, match_firings)
    for queue, runs in due.items():
        for _batch in range(ceil(runs / settings.BATCH_SIZE)):
            send(queue)
    return due


@shared_task(name="flowcontrol.execute_due", ignore_result=True)  # type: ignore[untyped-decorator]
def execute_due_task(queue: str = "", limit: int | None = None) -> dict[str, int]:
    """Claim one batch of what is due for ``queue``, at most ``limit`` runs, and execute it.

    The worker claims, not the sender: a message that comes twice or late finds nothing to do.
    What was more than can be done in a fair time is sent on, in portions that can.
    """
    tally = execute_due(settings.CLOCK, queue, limit)
    if tally.handed_back:
        portion = max(tally.executed, 1)
        for _message in range(ceil(tally.handed_back / portion)):
            send(queue, portion)
    return asdict(tally)


def send(queue: str, limit: int | None = None) -> None:
    """Ask the Celery workers of ``queue`` (empty: the default one) to execute a batch."""
    wanted = {"queue": queue} if limit is None else {"queue": queue, "limit": limit}
    options: dict[str, Any] = {"queue": queue} if queue else {}
    execute_due_task.apply_async(kwargs=wanted, expires=settings.LEASE_SECONDS, **options)


class CeleryDispatcher:
    """Sends a message as soon as something is due. See :mod:`flowcontrol.dispatching`."""

    def runs_are_due(self, queue: str) -> None:
        send(queue)
