"""Runs whose worker is gone, or whose row is changed under the worker's hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from flowcontrol.base import BaseAction, Directive, Effects, RunHandle
from flowcontrol.claiming import claim_due, free_paused_suspects
from flowcontrol.engine import create_flowrun
from flowcontrol.executing import execute_claims
from flowcontrol.models import Flow, FlowRun, RunWait, Status
from flowcontrol.operating import pause, resume
from flowcontrol.registry import actions
from flowcontrol.testing import Delay, Log, make_flow, row, run_until_idle, travel_to

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


class Interrupted(BaseAction):
    """A call to the outside during which the test does something."""

    name = "test.interrupted"
    effects: ClassVar[Effects] = "external"
    meanwhile: ClassVar[Callable[[int], None] | None] = None

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        if Interrupted.meanwhile is not None:
            meanwhile, Interrupted.meanwhile = Interrupted.meanwhile, None
            meanwhile(run.pk)
        return None


class Step(BaseAction):
    """A database step during which nothing happens."""

    name = "test.step"
    effects: ClassVar[Effects] = "database"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        return None


@pytest.fixture(autouse=True)
def _actions():
    with actions.temporarily(Interrupted, Step):
        yield
    Interrupted.meanwhile = None


def _die(pk: int) -> None:
    raise KeyboardInterrupt


def test_a_run_that_lost_its_worker_in_a_paused_flow_goes_on_when_the_flow_does():
    flow = make_flow(row("test.step"), row("test.interrupted"), Log("end"))
    run = create_flowrun(flow)
    with travel_to(NOON + timedelta(days=10_000)) as clock:
        # It has written its first step when its worker stops for ever at the second one.
        Interrupted.meanwhile = _die
        claims = claim_due(clock(), 1)
        with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:  # noqa: PT012
            patch.setattr("flowcontrol.holding.give_back", lambda claims: set())
            execute_claims(claims, clock)
        Flow.objects.filter(pk=flow.pk).update(paused_at=NOON)
        FlowRun.objects.filter(pk=run.pk).update(lease_until=NOON)
        assert free_paused_suspects() == 1
        Flow.objects.filter(pk=flow.pk).update(paused_at=None)
        run_until_idle()
    run.refresh_from_db()
    assert run.status == Status.DONE


def test_a_run_paused_after_its_wait_does_not_wait_again():
    """The wait's row stays until the run is written the next time; it is over all the same."""
    flow = make_flow(Delay("PT1H"), row("test.step"), row("test.interrupted"), Log("end"))
    with travel_to(NOON) as clock:
        run = create_flowrun(flow)
        run_until_idle()
        clock.advance(hours=1)
        Interrupted.meanwhile = lambda pk: pause(FlowRun.objects.get(pk=pk))
        run_until_idle()
        run.refresh_from_db()
        assert run.status == Status.PAUSED
        assert not RunWait.objects.exists()
        resume(run)
        run_until_idle()
    run.refresh_from_db()
    assert run.status == Status.DONE
