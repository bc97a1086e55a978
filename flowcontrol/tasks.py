"""Celery: the sweep as a periodic task. The only module that knows Celery.

A message is a hint; what has to be done stands in the rows. A lost, late or doubled message costs
time, nothing else. Give the beat entry ``expires`` of one interval, so that sweeps do not pile up
while no worker is there.
"""

from __future__ import annotations

from dataclasses import asdict

from celery import shared_task

from flowcontrol.engine import continue_flowruns


@shared_task(name="flowcontrol.continue_flowruns", ignore_result=True)  # type: ignore[untyped-decorator]
def continue_flowruns_task(
    max_runs: int | None = None, max_seconds: float | None = None
) -> dict[str, int]:
    """One sweep in a Celery worker; the counts that it came to."""
    return asdict(continue_flowruns(max_runs=max_runs, max_seconds=max_seconds))
