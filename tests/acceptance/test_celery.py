"""Runs in a real Celery worker, on a real Redis, by messages that come as they like."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from flowcontrol.engine import create_flowrun
from flowcontrol.models import FlowRun, Outcome, Status
from flowcontrol.testing import Delay, UpdateState, make_flow, row
from tests.acceptance.conftest import CeleryWorker
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db(transaction=True)

SWEEP = "flowcontrol.continue_flowruns"


def wait_until(is_so: Callable[[], Any], worker: CeleryWorker, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, worker.log.read_text(errors="replace")
        time.sleep(0.05)


def all_done() -> bool:
    return not FlowRun.objects.exclude(status=Status.DONE).exists()


def test_a_sweep_in_a_celery_worker_does_what_is_due(celery_worker):
    flow = make_flow(
        UpdateState(n="n|add:1"),
        row("testapp.accept_parcel", result_key="parcel"),
        row("testapp.call_station"),
    )
    runs = [create_flowrun(flow, state={"n": 1}) for _number in range(5)]
    later = create_flowrun(flow, continue_after=datetime(2999, 1, 1, tzinfo=UTC))
    celery_worker.app.send_task(SWEEP)
    wait_until(lambda: FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == 5, celery_worker)
    for run in runs:
        run.refresh_from_db()
        assert (run.outcome, run.state["n"]) == (Outcome.COMPLETE, 2)
        assert Parcel.objects.filter(pk=run.state["parcel"]).exists()
    later.refresh_from_db()
    assert later.status == Status.PENDING


def test_doubled_messages_cost_time_and_nothing_else(celery_worker):
    """Two processes of the worker sweep at once, again and again."""
    flow = make_flow(*[row("testapp.accept_parcel")] * 3, Delay("PT0.001S"), UpdateState(n="1"))
    for _number in range(40):
        create_flowrun(flow)
    for _message in range(8):
        celery_worker.app.send_task(SWEEP, kwargs={"max_runs": 25})
        celery_worker.app.send_task(SWEEP)
    wait_until(all_done, celery_worker)
    assert FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == 40
    labels = list(Parcel.objects.values_list("label", flat=True))
    assert (len(labels), len(set(labels))) == (120, 120)


def test_what_is_taken_from_a_celery_process_is_done_by_another_and_takes_effect_once(
    celery_worker,
):
    flow = make_flow(row("testapp.accept_parcel"), row("testapp.call_station", seconds=0.2))
    for _number in range(4):
        create_flowrun(flow)
    celery_worker.app.send_task(SWEEP)
    wait_until(lambda: Parcel.objects.filter(label__startswith="called").exists(), celery_worker)
    # What a sweep would do once the leases had run out: the process that holds them loses all.
    FlowRun.objects.filter(claim_token__isnull=False).update(
        claim_token=None, status=Status.PENDING, due=datetime(2013, 1, 1, tzinfo=UTC)
    )
    celery_worker.app.send_task(SWEEP)
    wait_until(all_done, celery_worker)
    assert FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == 4
    accepted = Parcel.objects.exclude(label__startswith="called")
    labels = list(accepted.values_list("label", flat=True))
    assert (len(labels), len(set(labels))) == (4, 4)
