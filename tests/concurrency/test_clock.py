"""Workers whose clocks are wrong: leases go by the database's clock, where all of them meet."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.models import FlowRun, Status
from flowcontrol.testing import Delay, make_flow, row
from tests.concurrency.blocks import Outside
from tests.concurrency.forking import forked
from tests.concurrency.variants import Variant

pytestmark = pytest.mark.django_db(transaction=True)

SLOW, RIGHT, FAST = timedelta(minutes=-10), timedelta(0), timedelta(minutes=10)


def clock_off_by(difference: timedelta) -> AbstractContextManager[Any]:
    """Let this process live that much later than it is."""

    def clock() -> datetime:
        return timezone.now() + difference

    return override_settings(FLOWCONTROL_CLOCK=clock)


def check_two_clocks(outside: Outside, mine: timedelta, theirs: timedelta) -> None:
    """A worker with one clock is inside a call when another with the other clock sweeps."""
    flow = make_flow(row("proof.call_and_stop"), row("proof.insert"))
    run = create_flowrun(flow, now=timezone.now() - timedelta(hours=1))

    def work() -> int:
        with clock_off_by(mine):
            return continue_flowruns().lost

    with forked(work) as worker:
        outside.wait_for("inside")
        with clock_off_by(theirs):
            tally = continue_flowruns()
        outside.mark("go on")
        assert (tally.rescued, tally.executed) == (0, 0)
        assert worker.result() == 0
    run.refresh_from_db()
    assert run.status == Status.DONE
    assert len(outside.calls()) == 1


@pytest.mark.parametrize(
    ("mine", "theirs"), [(SLOW, RIGHT), (RIGHT, FAST), (FAST, SLOW)], ids=["slow", "right", "fast"]
)
def test_a_worker_with_a_wrong_clock_neither_steals_nor_loses_a_claim(
    mine: timedelta, theirs: timedelta, outside: Outside
):
    check_two_clocks(outside, mine, theirs)


def test_a_worker_with_a_wrong_clock_rescues_what_a_lost_one_held(outside: Outside):
    flow = make_flow(row("proof.call_and_stop"), row("proof.insert"))
    run = create_flowrun(flow, now=timezone.now() - timedelta(hours=1))

    def work() -> None:
        with clock_off_by(FAST):
            continue_flowruns()

    with override_settings(FLOWCONTROL_LEASE_SECONDS=1), forked(work) as worker:
        outside.wait_for("inside")
        worker.kill()
        deadline = time.monotonic() + 10
        with clock_off_by(SLOW):
            while not continue_flowruns().rescued:
                assert time.monotonic() < deadline, "It is never rescued."
                time.sleep(0.05)
    run.refresh_from_db()
    assert run.status == Status.DONE


def test_what_is_due_goes_by_the_clock_of_the_worker(outside: Outside):
    """Flows live by the engine's clock, which tests and rehearsals turn; a lease never does."""
    run = create_flowrun(make_flow(Delay("PT5M"), row("proof.insert")))
    continue_flowruns()
    with clock_off_by(SLOW):
        assert continue_flowruns().executed == 0
    with clock_off_by(FAST):
        assert continue_flowruns().executed == 1
    assert FlowRun.objects.get(pk=run.pk).status == Status.DONE


BY_THE_WORKERS_CLOCK = Variant(
    "leases by the worker's clock",
    "flowcontrol.claiming.is_abandoned",
    "database_now(connection)",
    """f"'{moment_text(connection, settings.CLOCK())}'\"""",
)


def test_the_proof_notices(outside: Outside):
    with BY_THE_WORKERS_CLOCK.applied(), pytest.raises(AssertionError):
        check_two_clocks(outside, RIGHT, FAST)
