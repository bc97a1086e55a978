"""Whether the actions that the documentation shows do what it says of them.

Executed in the project of the tutorial, see ``test_docs_examples.py``.
"""
# mypy: ignore-errors

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from unittest import mock
from urllib.error import URLError

import pytest
import test_how_to_write_an_action as page
from desk.models import Announcement, Flight
from django.utils import timezone

from flowcontrol.engine import continue_flowruns, start_flowrun
from flowcontrol.exceptions import PublishRefused
from flowcontrol.registry import register_trigger, triggers
from flowcontrol.testing import make_flow, row, run_until_idle, trace_of, travel_to

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def flight() -> Flight:
    return Flight.objects.create(
        number="UA 1117", destination="IAH", departure=timezone.now(), delay=90
    )


def announced() -> list[str]:
    return list(Announcement.objects.order_by("pk").values_list("text", flat=True))


def test_add_minutes(flight):
    run = start_flowrun(make_flow(row("desk.add_minutes"), row("desk.add_minutes", minutes=5)))
    assert run.state == {"waited": 15}


def test_close_boarding(flight):
    run = start_flowrun(make_flow(row("desk.close_boarding", result_key="announcement")), flight)
    assert run.state == {"announcement": Announcement.objects.get().pk}
    flight.refresh_from_db()
    assert flight.departed


def test_an_order_is_tried_again_with_the_same_key(flight):
    flow = make_flow(row("desk.order_coach", seats={"$expr": "seats"}, result_key="coach"))
    with travel_to(NOON) as clock, mock.patch.object(page, "urlopen") as urlopen:
        urlopen.side_effect = URLError("down")
        run = start_flowrun(flow, flight, state={"seats": 40})
        assert run.status == "waiting"
        urlopen.side_effect = [io.StringIO('{"number": "C 12"}')]
        clock.advance(minutes=1)
        run_until_idle()
    keys = {sent.args[0].get_header("Idempotency-key") for sent in urlopen.call_args_list}
    run.refresh_from_db()
    assert len(keys) == 1
    assert run.state == {"seats": 40, "coach": "C 12"}
    assert announced() == ["Coach C 12 is on its way."]


def test_too_many_requests_are_asked_again_later(flight):
    answer = mock.MagicMock(status=429)
    answer.__enter__.return_value = answer
    with travel_to(NOON), mock.patch.object(page, "urlopen", return_value=answer):
        run = start_flowrun(make_flow(row("desk.ask_the_weather")), flight)
    assert (run.status, run.due) == ("waiting", NOON + timedelta(minutes=5))


def test_announce_within_bounds(flight):
    flow = make_flow(
        row("desk.announce_delay", text="long", from_minute=60),
        row("desk.announce_delay", text="very long", from_minute=120),
    )
    start_flowrun(flow, flight)
    assert announced() == ["long"]
    with pytest.raises(PublishRefused, match="before"):
        make_flow(row("desk.announce_delay", text="never", from_minute=60, to_minute=30))


def test_wait_for_departure(flight):
    flow = make_flow(row("desk.wait_for_departure"))
    with triggers.temporarily(), travel_to(NOON) as clock:
        departed = register_trigger("desk.flight_departed", model=Flight)
        run = start_flowrun(flow, flight)
        clock.advance(hours=1)
        run_until_idle()
        run.refresh_from_db()
        assert (run.status, run.due) == ("waiting", NOON + timedelta(hours=2))
        flight.departed = True
        flight.save()
        departed(flight)
        continue_flowruns()
    run.refresh_from_db()
    assert run.outcome == "complete"


def test_refund_everybody(flight):
    make_flow(
        row("delay", duration="PT1H"),
        row("update_state", state={"amount": 40}),
        name="Refund",
        slug="refund",
    )
    flow = make_flow(row("desk.refund_everybody", result_key="sum"), name="Refunds")
    with travel_to(NOON) as clock:
        run = start_flowrun(flow, flight, state={"passengers": ["Ada", "Bo"]})
        run_until_idle()
        clock.advance(hours=1)
        run_until_idle()
    run.refresh_from_db()
    assert (run.outcome, run.state["sum"]) == ("complete", 80)


def test_every_hour(flight):
    flow = make_flow(row("desk.every_hour", row("log", message="round {{ round }}"), times=3))
    with travel_to(NOON) as clock:
        run = start_flowrun(flow, flight)
        for _hour in range(5):
            clock.advance(hours=1)
            run_until_idle()
    run.refresh_from_db()
    assert run.outcome == "complete"
    assert run.done_at == NOON + timedelta(hours=2)
    assert trace_of(run).count("log") == 3
    notes = [step[5] for event in run.events.all() for step in event.steps if len(step) > 5]
    assert notes == [["round 1"], ["round 2"], ["round 3"]]


def test_an_older_config_is_upgraded_and_an_old_name_still_works():
    old = {**row("desk.call", language="es"), "schema_version": 1}
    run = start_flowrun(make_flow(old))
    assert run.events.last().steps[0][5] == ["Calling in es."]
