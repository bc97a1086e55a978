"""``manage.py flowcontrol status``: numbers for people and machines, and an exit status."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command

from flowcontrol.claiming import claim_due
from flowcontrol.engine import continue_flowruns, create_flowrun, start_flowrun
from flowcontrol.models import Firing, FlowRun, Status
from flowcontrol.monitoring import report
from flowcontrol.operating import pause_everything, resume_everything
from flowcontrol.testing import Delay, If, Log, make_flow, travel_to

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


def test_all_is_well_after_a_sweep():
    with travel_to(NOON):
        start_flowrun(make_flow(Log("x")))
        continue_flowruns()
        found = report(NOON)
    assert found.counts == {Status.DONE: 1}
    assert (found.lag_seconds, found.abandoned, found.last_sweep) == (0.0, 0, NOON)
    assert found.problems(NOON, max_lag=60) == []


def test_what_is_wrong_is_told_in_words():
    with travel_to(NOON):
        start_flowrun(make_flow(If("1 < missing"), slug="fails"))
        flow = make_flow(Delay("PT1H"), slug="late")
        create_flowrun(flow)
        create_flowrun(flow)
        claim_due(NOON, 1)
    FlowRun.objects.filter(claim_token__isnull=False).update(lease_until=NOON)
    Firing.objects.create(name="x", at=NOON)
    later = NOON + timedelta(minutes=10)
    found = report(later)
    assert (found.lag_seconds, found.abandoned, found.unmatched_firings) == (600.0, 1, 1)
    assert found.problems(later, max_lag=60) == [
        "The oldest due run has waited 600 s for a worker.",
        "1 run(s) were left by their workers.",
        "1 run(s) have failed and wait for somebody.",
        "No sweep has been here yet.",
    ]


def test_what_is_paused_is_not_late():
    with travel_to(NOON):
        create_flowrun(make_flow(Log("x")))
        pause_everything()
        found = report(NOON + timedelta(hours=1))
        assert (found.lag_seconds, found.is_paused) == (0.0, True)
        assert continue_flowruns().executed == 0
        assert "Everything is paused." in found.problems(NOON, max_lag=60)
        resume_everything()
        assert continue_flowruns().executed == 1


def test_the_command_ends_with_an_error_when_somebody_should_look(capsys):
    with travel_to(NOON) as clock:
        continue_flowruns()
        call_command("flowcontrol", "status")
        assert "Last sweep: 2013-02-08" in capsys.readouterr().out
        clock.advance(hours=1)
        with pytest.raises(SystemExit) as ended:
            call_command("flowcontrol", "status", "--json")
    assert ended.value.code == 1
    told = json.loads(capsys.readouterr().out)
    assert told["problems"] == ["The last sweep was 3600 s ago."]
    assert told["last_sweep"] == NOON.isoformat()
