"""Forgetting what is over: by retention, in batches, and not what is interesting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command

from flowcontrol.engine import cancel_flowrun, create_flowrun, start_flowrun
from flowcontrol.models import Firing, FlowRun, RunEvent
from flowcontrol.pruning import prune
from flowcontrol.testing import Delay, If, Log, make_flow, travel_to

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


def done_runs(number: int, **settings: object) -> list[FlowRun]:
    flow = make_flow(Log("x"), **settings)  # type: ignore[arg-type]
    return [start_flowrun(flow) for _number in range(number)]


def test_runs_are_forgotten_when_their_time_has_come():
    with travel_to(NOON):
        done_runs(5, retention=WEEK)
        assert prune(NOON + WEEK - timedelta(seconds=1)).runs == 0
        assert prune(NOON + WEEK + timedelta(seconds=1), batch=2).runs == 5
    assert not FlowRun.objects.exists()
    assert not RunEvent.objects.exists()


def test_a_flow_without_retention_keeps_its_runs():
    with travel_to(NOON):
        done_runs(2)
    assert prune(NOON + 100 * WEEK).runs == 0


def test_runs_that_wait_or_failed_or_were_touched_stay():
    with travel_to(NOON):
        waiting = start_flowrun(make_flow(Delay("P900D"), slug="waits", retention=WEEK))
        failed = start_flowrun(make_flow(If("1 < missing"), slug="fails", retention=WEEK))
        flow = make_flow(Delay("P1D"), slug="touched", retention=WEEK)
        touched = start_flowrun(flow)
        cancel_flowrun(touched, reason="no longer needed")
        late = NOON + 2 * WEEK
        assert prune(late, batch=1).runs == 0
        assert set(FlowRun.objects.all()) == {waiting, failed, touched}
        assert prune(late, touched_too=True).runs == 1
    assert set(FlowRun.objects.all()) == {waiting, failed}


def test_old_firings_go_but_not_those_that_wait_to_be_matched(settings):
    settings.FLOWCONTROL_FIRING_RETENTION_DAYS = 30
    matched = [
        Firing.objects.create(name="x", at=NOON, matched_at=NOON + timedelta(days=days))
        for days in (0, 20)
    ]
    unmatched = Firing.objects.create(name="x", at=NOON)
    assert prune(NOON + timedelta(days=31)).firings == 1
    assert set(Firing.objects.all()) == {matched[1], unmatched}


def test_the_command_tells_how_much_it_deleted(capsys):
    with travel_to(NOON) as clock:
        done_runs(3, retention=WEEK)
        clock.advance(days=8)
        call_command("flowcontrol", "prune")
    assert capsys.readouterr().out.strip() == "Deleted 3 run(s) and 0 firing(s)."
    assert create_flowrun(make_flow(Log("x"), slug="other")).pk
