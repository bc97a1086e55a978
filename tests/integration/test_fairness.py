"""A worker keeps no more runs than it can take through their effects in a fair time."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flowcontrol import executing, sweeping
from flowcontrol.claiming import claim_due
from flowcontrol.conf import settings
from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.executing import execute_claims
from flowcontrol.models import FlowRun, RunWait, Status
from flowcontrol.testing import Delay, UpdateState, make_flow, row, travel_to
from tests.integration.test_effects import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step with effects takes all the time that is fair."""
    monkeypatch.setattr(executing, "FAIR_SECONDS", -1.0)


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each claim of a sweep asked for."""
    asked: list[int] = []

    def watched(now: Any, limit: int, queue: str | None = None) -> Any:
        asked.append(limit)
        return claim_due(now, limit, queue)

    monkeypatch.setattr(sweeping, "claim_due", watched)
    return asked


def create(number: int) -> list[int]:
    flow = make_flow(UpdateState(n="1"), row("testapp.call_station"))
    return [create_flowrun(flow).pk for _number in range(number)]


@pytest.mark.usefixtures("slow")
def test_what_was_not_come_to_is_handed_back_as_it_was():
    with travel_to(NOON) as clock:
        create(4)
        before = list(FlowRun.objects.order_by("pk").values())
        clock.advance(minutes=1)
        tally = execute_claims(claim_due(clock(), 10), clock)
    assert (tally.executed, tally.handed_back, tally.done, tally.lost) == (1, 3, 1, 0)
    assert list(FlowRun.objects.order_by("pk").values())[1:] == before[1:]


@pytest.mark.usefixtures("slow")
def test_the_rest_is_handed_back_in_one_statement():
    create(20)
    claims = claim_due(settings.CLOCK(), 20)
    with CaptureQueriesContext(connection) as captured:
        execute_claims(claims, settings.CLOCK)
    freed = [query for query in captured if "SET status = 'pending', claim_token" in query["sql"]]
    assert len(freed) == 1
    assert FlowRun.objects.filter(status=Status.PENDING).count() == 19


@pytest.mark.usefixtures("slow")
def test_a_run_that_is_handed_back_after_its_wait_does_not_wait_again():
    flow = make_flow(Delay("PT1H"), row("testapp.call_station"))
    with travel_to(NOON) as clock:
        for _number in range(3):
            create_flowrun(flow)
        continue_flowruns()
        clock.advance(hours=1)
        tally = continue_flowruns()
    assert (tally.executed, tally.done, tally.handed_back) == (3, 3, 2)
    assert not RunWait.objects.exists()


@pytest.mark.usefixtures("slow")
def test_a_sweep_claims_less_after_a_slow_batch_and_does_all_of_it(claimed):
    create(4)
    tally = continue_flowruns(batch_size=8)
    assert tally.done == 4
    assert claimed[:5] == [8, 1, 2, 1, 2]


def test_a_sweep_claims_full_batches_for_as_long_as_they_are_quick(claimed):
    create(7)
    tally = continue_flowruns(batch_size=3)
    assert (tally.done, tally.handed_back) == (7, 0)
    assert set(claimed) == {3}


@pytest.mark.usefixtures("slow")
def test_runs_without_effects_are_never_handed_back():
    flow = make_flow(UpdateState(n="1"))
    for _number in range(5):
        create_flowrun(flow)
    tally = continue_flowruns()
    assert (tally.done, tally.handed_back) == (5, 0)


@pytest.mark.usefixtures("slow")
def test_the_celery_task_sends_on_what_it_handed_back(monkeypatch: pytest.MonkeyPatch):
    tasks = pytest.importorskip("flowcontrol.tasks")
    create(4)
    sent: list[tuple[str, int | None]] = []
    monkeypatch.setattr(tasks, "send", lambda queue, limit=None: sent.append((queue, limit)))
    tasks.execute_due_task("")
    assert sent == [("", 1)] * 3
    sent.clear()
    tasks.execute_due_task("", 1)
    assert sent == []


@pytest.mark.usefixtures("slow")
def test_what_somebody_else_holds_by_now_is_not_handed_back_but_lost():
    create(3)
    claims = claim_due(settings.CLOCK(), 3)
    FlowRun.objects.filter(pk=claims[2].id).update(claim_token=uuid4())
    tally = execute_claims(claims, settings.CLOCK)
    assert (tally.done, tally.handed_back, tally.lost) == (1, 1, 1)
    assert FlowRun.objects.get(pk=claims[2].id).status == Status.RUNNING
