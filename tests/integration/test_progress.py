"""How far a row is: told by the row, shown while the run stands there."""

from __future__ import annotations

import pytest

from flowcontrol.base import BaseAction, FlowDirective
from flowcontrol.engine import create_flowrun, start_flowrun
from flowcontrol.models import FlowRun
from flowcontrol.operating import explain
from flowcontrol.registry import actions
from flowcontrol.testing import NOON, Log, make_flow, row, run_until_idle, travel_to

pytestmark = pytest.mark.django_db(transaction=True)


class Crunch(BaseAction):
    """Works its way through a table, a piece at a time."""

    name = "test.crunch"
    effects = "none"

    def run(self, *, run, obj, config):
        done = (run.memo or 0) + 37
        run.report_progress(done, 120)
        if done >= 120:
            return None
        return FlowDirective.SUSPEND_AND_REPEAT(memo=done, until=run.now.replace(hour=23))


class Upload(BaseAction):
    """Talks to the outside for a while and looks what others see of it."""

    name = "test.upload"
    effects = "external"
    seen: list[str] = []

    def run(self, *, run, obj, config):
        run.report_progress(5)
        Upload.seen.append(explain(FlowRun.objects.get(pk=run.pk)))
        if run.attempt == 1:
            raise ConnectionError("down")


@pytest.fixture(autouse=True)
def _actions():
    with actions.temporarily(Crunch, Upload):
        yield


def test_a_row_that_waits_says_how_far_it_is():
    with travel_to(NOON):
        run = start_flowrun(make_flow(row("test.crunch"), Log("after")))
        assert explain(FlowRun.objects.get(pk=run.pk)).endswith("37 of 120.")


def test_what_a_row_said_is_gone_with_it():
    with travel_to(NOON) as clock:
        run = start_flowrun(make_flow(row("test.crunch"), row("delay", duration="P9D")))
        for hours in (11, 24, 48):
            clock.advance(hours=hours)
            run_until_idle()
        run.refresh_from_db()
        assert "120" not in explain(run)


def test_a_call_to_the_outside_shows_its_progress_while_it_goes_on():
    Upload.seen.clear()
    retry = {"attempts": 2, "wait": 1, "jitter": 0}
    with travel_to(NOON) as clock:
        run = create_flowrun(make_flow(row("test.upload", retry=retry)))
        run_until_idle()
        clock.advance(seconds=2)
        run_until_idle()
    run.refresh_from_db()
    assert Upload.seen == ["A worker is executing it. 5 so far."] * 2
    assert run.outcome == "complete"
