"""Who may start a run, with what, and whether there is room for it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import models

from flowcontrol.documents import make_document
from flowcontrol.drafting import create_flow, replace_draft
from flowcontrol.engine import (
    cancel_flowrun,
    create_flowrun,
    execute_flowrun,
    get_flowruns_for_object,
    retry_flowrun,
    start_flowrun,
)
from flowcontrol.exceptions import StartRefused
from flowcontrol.models import Flow, FlowRun, Outcome, Status
from flowcontrol.operating import explain, go_to, pause, resume
from flowcontrol.publishing import publish
from flowcontrol.starting import promote_queued
from flowcontrol.testing import (
    Delay,
    Log,
    StartFlow,
    UpdateState,
    make_flow,
    row,
    run_until_idle,
    trace_of,
    travel_to,
)
from tests.testapp.models import Parcel, Station, Ticket

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def parcel(label: str = "crate") -> Parcel:
    return Parcel.objects.create(label=label)


def statuses(flow: Flow) -> list[str]:
    """Where the runs of a flow are in their lives, oldest first; the outcome of those done."""
    runs = FlowRun.objects.filter(flow=flow).order_by("pk")
    return [outcome or status for status, outcome in runs.values_list("status", "outcome")]


def refusal(flow: Flow | str, *args: Any, **options: Any) -> str:
    with pytest.raises(StartRefused) as caught:
        create_flowrun(flow, *args, **options)
    assert caught.value.reason == str(caught.value)
    return caught.value.reason


# --- objects ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Parcel.objects.create(label="x"), id="integer"),
        pytest.param(lambda: Ticket.objects.create(passenger="Ada"), id="uuid"),
        pytest.param(lambda: Station.objects.create(code="JFK", name="x"), id="text"),
        pytest.param(lambda: Station.objects.create(code="Ö/1 'a\" %s", name="x"), id="odd text"),
    ],
)
def test_a_run_is_about_an_object_whatever_its_key(make):
    obj: models.Model = make()
    other = type(obj)._base_manager.create(pk=uuid.uuid4()) if type(obj) is Ticket else None
    flow = make_flow(
        UpdateState(first="object.pk"),
        Delay("PT1H"),
        UpdateState(second="object.pk"),
        content_type=obj._meta.label_lower,
    )
    with travel_to(NOON) as clock:
        run = start_flowrun(flow, obj)
        clock.advance(hours=1)
        run_until_idle()
    run.refresh_from_db()
    key = obj.pk if isinstance(obj.pk, int) else str(obj.pk)
    assert run.state == {"first": key, "second": key}
    assert run.content_object == obj
    assert list(get_flowruns_for_object(obj)) == [run]
    assert list(get_flowruns_for_object(obj, flow)) == [run]
    assert list(get_flowruns_for_object(obj, "another")) == []
    assert other is None or not get_flowruns_for_object(other).exists()


def test_objects_of_two_models_with_the_same_key_are_not_mixed_up():
    flow = make_flow(Delay("PT1H"))
    box = Parcel.objects.create(pk=7, label="box")
    desk = Station.objects.create(pk="7", name="desk")
    run = start_flowrun(flow, box)
    assert list(get_flowruns_for_object(desk)) == []
    assert list(get_flowruns_for_object(box)) == [run]


def test_an_object_that_was_never_saved_cannot_have_a_run():
    flow = make_flow(Log("x"), content_type="testapp.parcel")
    with pytest.raises(ValueError, match="has to be saved"):
        create_flowrun(flow, Parcel(label="only in memory"))


# --- refusals -----------------------------------------------------------------------------------


def test_a_flow_that_nobody_made_is_named():
    assert refusal("no-such-flow") == "There is no flow 'no-such-flow'."


def test_a_flow_can_be_started_by_its_slug():
    flow = make_flow(Log("x"), slug="named")
    assert create_flowrun("named").flow == flow


def test_a_flow_starts_nothing_before_the_moment_it_is_switched_on_at():
    flow = make_flow(Log("x"), name="Spring", active_at=NOON)
    with travel_to(NOON - HOUR) as clock:
        assert refusal(flow) == '"Spring" is off.'
        clock.advance(hours=1)
        assert create_flowrun(flow).status == Status.PENDING


def test_a_draft_alone_cannot_be_started():
    flow = create_flow("Draft", active_at=NOON - HOUR)
    replace_draft(flow, make_document(Log("x")))
    assert refusal(flow) == '"Draft" has not been published yet.'


def test_a_flow_about_parcels_wants_a_parcel():
    flow = make_flow(Log("x"), name="Load", content_type="testapp.parcel")
    assert refusal(flow) == '"Load" needs an object of type testapp.parcel.'
    station = Station.objects.create(code="JFK", name="New York")
    assert refusal(flow, station) == '"Load" is about testapp.parcel, not testapp.station.'
    assert FlowRun.objects.count() == 0


def test_what_a_run_starts_with_has_to_be_json():
    flow = make_flow(Log("x"))
    assert "a Parcel is a row of the database" in refusal(flow, state={"box": parcel()})
    assert "start state at codes: a set has no order" in refusal(flow, state={"codes": {1, 2}})
    assert "nan" in refusal(flow, state={"weight": float("nan")})


def test_dates_in_a_start_state_become_text():
    run = create_flowrun(make_flow(Log("x")), state={"at": NOON, "for": HOUR})
    assert run.state == {"at": "2013-02-08T12:00:00Z", "for": "PT1H"}
    run.refresh_from_db()
    assert run.state == {"at": "2013-02-08T12:00:00Z", "for": "PT1H"}


# --- state schema -------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {
        "kilos": {"type": "integer", "minimum": 0},
        "fragile": {"type": "boolean", "default": False},
        "labels": {"type": "array", "items": {"type": "string"}, "default": []},
    },
    "required": ["kilos"],
}


def test_the_state_schema_fills_in_defaults():
    flow = make_flow(Log("x"), state_schema=SCHEMA)
    one = create_flowrun(flow, state={"kilos": 3})
    assert one.state == {"kilos": 3, "fragile": False, "labels": []}
    other = create_flowrun(flow, state={"kilos": 1, "fragile": True, "labels": ["up"]})
    assert other.state == {"kilos": 1, "fragile": True, "labels": ["up"]}
    one.state["labels"].append("mine alone")
    assert create_flowrun(flow, state={"kilos": 3}).state["labels"] == []


@pytest.mark.parametrize(
    ("state", "place"),
    [({}, "kilos"), ({"kilos": -1}, "kilos"), ({"kilos": 1, "labels": ["a", 2]}, "labels")],
)
def test_a_state_that_does_not_fit_is_refused_by_name_and_place(state, place):
    flow = make_flow(Log("x"), name="Load", state_schema=SCHEMA)
    reason = refusal(flow, state=state)
    assert reason.startswith('The start state does not fit "Load": ')
    assert place in reason


# --- the run that comes of it -------------------------------------------------------------------


def test_a_run_knows_who_started_it_and_when_it_may_begin():
    user = get_user_model().objects.create_user("ada")
    flow = make_flow(UpdateState(late="true"))
    with travel_to(NOON) as clock:
        run = create_flowrun(flow, user=user, continue_after=NOON + HOUR)
        assert (run.started_by, run.created_at, run.due) == (user, NOON, NOON + HOUR)
        assert "start at" in explain(run)
        assert run_until_idle() == 0
        clock.advance(hours=1)
        assert run_until_idle() == 1
    run.refresh_from_db()
    assert (run.outcome, run.done_at) == (Outcome.COMPLETE, NOON + HOUR)


def test_a_moment_in_the_past_means_now():
    with travel_to(NOON):
        run = create_flowrun(make_flow(Log("x")), continue_after=NOON - HOUR)
    assert run.due == NOON


def test_a_run_stays_with_the_version_it_was_started_in():
    flow = make_flow(Delay("PT1H"), UpdateState(version="1"))
    with travel_to(NOON) as clock:
        old = start_flowrun(flow)
        replace_draft(flow, make_document(UpdateState(version="2")))
        publish(flow)
        new = start_flowrun(flow)
        clock.advance(hours=1)
        run_until_idle()
    old.refresh_from_db()
    assert (old.version.number, old.state) == (1, {"version": 1})
    assert (new.version.number, new.state) == (2, {"version": 2})


def test_an_empty_flow_is_complete_at_once():
    run = start_flowrun(make_flow())
    assert (run.status, run.outcome, trace_of(run)) == (Status.DONE, Outcome.COMPLETE, [])


# --- keys ---------------------------------------------------------------------------------------


def test_a_key_names_one_run_also_when_it_is_over():
    flow = make_flow(Log("x"))
    first = start_flowrun(flow, key="LH400")
    assert first.status == Status.DONE
    assert start_flowrun(flow, key="LH400") == first
    assert FlowRun.objects.count() == 1


def test_another_flow_can_use_the_same_key():
    one = create_flowrun(make_flow(Log("x"), name="One"), key="LH400")
    other = create_flowrun(make_flow(Log("x"), name="Other"), key="LH400")
    assert one != other


def test_the_run_of_a_key_is_given_even_when_the_flow_starts_nothing_any_more():
    flow = make_flow(Log("x"))
    run = create_flowrun(flow, key="LH400")
    flow.active_at = None
    flow.save()
    assert create_flowrun(flow, key="LH400") == run
    assert "is off" in refusal(flow, key="LH401")


def test_a_refused_start_leaves_its_key_free():
    flow = make_flow(Delay("PT1H"), max_concurrent=1)
    in_the_way = create_flowrun(flow)
    refusal(flow, key="LH400")
    cancel_flowrun(in_the_way)
    assert create_flowrun(flow, key="LH400").status == Status.PENDING


# --- limits -------------------------------------------------------------------------------------

CONCURRENT = [
    pytest.param({"max_concurrent": 1}, id="of the flow"),
    pytest.param({"max_concurrent_per_object": 1}, id="per object"),
]


@pytest.mark.parametrize("limit", CONCURRENT)
def test_a_full_flow_refuses_and_keeps_a_record(limit):
    flow, box = make_flow(Delay("PT1H"), name="Load", **limit), parcel()
    first = start_flowrun(flow, box)
    with pytest.raises(StartRefused, match='"Load" has 1 open run') as caught:
        create_flowrun(flow, box)
    record = caught.value.run
    assert record is not None
    record.refresh_from_db()
    assert (record.status, record.outcome) == (Status.DONE, Outcome.REFUSED)
    assert (record.reason, record.content_object) == (caught.value.reason, box)
    cancel_flowrun(first)
    assert create_flowrun(flow, box).status == Status.PENDING
    assert statuses(flow) == ["canceled", "refused", "pending"]


@pytest.mark.parametrize("limit", CONCURRENT)
def test_a_full_flow_queues_and_goes_on_when_there_is_room(limit):
    flow = make_flow(Delay("PT1H"), Log("x"), when_full="queue", **limit)
    box = parcel()
    with travel_to(NOON) as clock:
        first = start_flowrun(flow, box)
        second, third = create_flowrun(flow, box), create_flowrun(flow, box)
        assert (second.status, third.status) == (Status.QUEUED, Status.QUEUED)
        assert "open run" in explain(second)
        run_until_idle()
        assert statuses(flow) == ["waiting", "queued", "queued"]
        for then in (
            ["complete", "waiting", "queued"],
            ["complete", "complete", "waiting"],
            ["complete", "complete", "complete"],
        ):
            clock.advance(hours=1)
            run_until_idle()
            assert statuses(flow) == then
    first.refresh_from_db()
    assert trace_of(first) == ["delay", "delay", "log"]


@pytest.mark.parametrize("limit", CONCURRENT)
def test_a_full_flow_restarts_by_cancelling_the_older_run(limit):
    flow, box = make_flow(Delay("PT1H"), when_full="restart", **limit), parcel()
    first, second, third = (start_flowrun(flow, box) for _number in range(3))
    assert statuses(flow) == ["canceled", "canceled", "waiting"]
    first.refresh_from_db()
    assert first.reason == "A newer run took its place."
    assert first.events.latest("seq").detail == {"did": "canceled"}
    assert (second.status, third.status) == (Status.WAITING, Status.WAITING)


@pytest.mark.parametrize("when_full", ["refuse", "queue", "restart"])
def test_once_per_object_means_ever(when_full):
    flow = make_flow(Log("x"), name="Welcome", max_per_object=1, when_full=when_full)
    box = parcel()
    start_flowrun(flow, box)
    assert refusal(flow, box) == '"Welcome" runs at most once for each object.'
    assert start_flowrun(flow, parcel()).outcome == Outcome.COMPLETE
    assert start_flowrun(flow).outcome == Outcome.COMPLETE
    assert start_flowrun(flow).outcome == Outcome.COMPLETE
    assert statuses(flow) == ["complete", "refused", "complete", "complete", "complete"]


def test_refused_starts_do_not_count_among_those_per_object():
    flow, box = make_flow(Delay("PT1H"), max_concurrent=1, max_per_object=2), parcel()
    for _number in range(3):
        in_the_way = start_flowrun(flow)
        assert "open run" in refusal(flow, box)
        cancel_flowrun(in_the_way)
    assert start_flowrun(flow, box).status == Status.WAITING


def test_a_limit_per_object_leaves_other_objects_alone():
    flow = make_flow(Delay("PT1H"), max_concurrent_per_object=1)
    boxes = [parcel(), parcel()]
    assert [start_flowrun(flow, box).status for box in boxes] == [Status.WAITING] * 2
    for box in boxes:
        refusal(flow, box)


def test_in_a_queue_one_object_does_not_hold_back_the_others():
    flow = make_flow(Delay("PT1H"), max_concurrent_per_object=1, when_full="queue")
    one, other = parcel("one"), parcel("other")
    with travel_to(NOON) as clock:
        start_flowrun(flow, one)
        start_flowrun(flow, other)
        late_one, late_other = create_flowrun(flow, one), create_flowrun(flow, other)
        clock.advance(minutes=30)
        cancel_flowrun(get_flowruns_for_object(other).get(status=Status.WAITING))
        run_until_idle()
        late_one.refresh_from_db()
        late_other.refresh_from_db()
    assert (late_one.status, late_other.status) == (Status.QUEUED, Status.WAITING)


def test_a_queue_is_first_come_first_served():
    flow = make_flow(Delay("PT1H"), max_concurrent=2, when_full="queue")
    for _number in range(5):
        create_flowrun(flow)
    for run in FlowRun.objects.filter(status=Status.PENDING):
        cancel_flowrun(run)
    assert promote_queued(NOON) == 2
    assert statuses(flow) == ["canceled", "canceled", "pending", "pending", "queued"]
    assert promote_queued(NOON) == 0


def test_a_queued_run_does_not_begin_before_its_time():
    flow = make_flow(Log("x"), max_concurrent=1, when_full="queue")
    with travel_to(NOON):
        in_the_way = create_flowrun(flow)
        later = create_flowrun(flow, continue_after=NOON + HOUR)
        cancel_flowrun(in_the_way)
        promote_queued(NOON)
    later.refresh_from_db()
    assert (later.status, later.due) == (Status.PENDING, NOON + HOUR)


def test_a_waiting_or_paused_run_holds_its_slot():
    flow = make_flow(Delay("PT1H"), max_concurrent=1)
    run = start_flowrun(flow)
    assert run.status == Status.WAITING
    refusal(flow)
    pause(run)
    refusal(flow)


def test_a_failed_run_holds_no_slot_and_takes_one_again_when_it_is_retried():
    flow = make_flow(Log("{{ missing|length }}"), Delay("PT1H"), max_concurrent=1)
    failed = start_flowrun(flow)
    assert failed.status == Status.FAILED
    create_flowrun(flow, state={"missing": "no longer"})
    assert refusal(flow)
    FlowRun.objects.filter(pk=failed.pk).update(state={"missing": "x"})
    cancel_flowrun(FlowRun.objects.get(status=Status.PENDING))
    retry_flowrun(failed)
    assert failed.status == Status.PENDING
    refusal(flow)


def test_retrying_into_a_full_flow_queues_and_says_so():
    flow = make_flow(Log("{{ missing|length }}"), Delay("PT1H"), name="Load", max_concurrent=1)
    failed = start_flowrun(flow)
    in_the_way = create_flowrun(flow, state={"missing": "x"})
    FlowRun.objects.filter(pk=failed.pk).update(state={"missing": "x"})
    retry_flowrun(failed)
    assert failed.status == Status.QUEUED
    assert '"Load" has 1 open run' in explain(failed)
    cancel_flowrun(in_the_way)
    run_until_idle()
    failed.refresh_from_db()
    assert failed.status == Status.WAITING


def test_sending_a_failed_run_elsewhere_needs_a_slot_too():
    flow = make_flow(
        row("log", message="{{ missing|length }}"), row("delay", duration="PT1H"), max_concurrent=1
    )
    failed = start_flowrun(flow)
    create_flowrun(flow)
    go_to(failed, "2")
    assert failed.status == Status.QUEUED
    assert FlowRun.objects.holding_a_slot().count() == 1
    cancel_flowrun(FlowRun.objects.get(status=Status.PENDING))
    run_until_idle()
    failed.refresh_from_db()
    assert (failed.status, failed.action_uid) == (Status.WAITING, "2")


def test_a_queued_run_that_is_paused_goes_back_into_its_queue():
    flow = make_flow(Delay("PT1H"), max_concurrent=1, when_full="queue")
    first, second = create_flowrun(flow), create_flowrun(flow)
    pause(second)
    cancel_flowrun(first)
    assert promote_queued(NOON) == 0
    resume(second)
    assert second.status == Status.QUEUED
    assert promote_queued(NOON) == 1


def test_no_limit_means_no_limit():
    flow = make_flow(Delay("PT1H"))
    box = parcel()
    for _number in range(5):
        start_flowrun(flow, box)
    assert statuses(flow) == ["waiting"] * 5


# --- depth --------------------------------------------------------------------------------------


def test_flows_that_start_each_other_in_a_circle_are_stopped_by_name(settings):
    settings.FLOWCONTROL_MAX_START_DEPTH = 3
    make_flow(Log("x"), name="Ping", slug="ping")
    make_flow(StartFlow("ping"), name="Pong", slug="pong")
    ping = Flow.objects.get(slug="ping")
    replace_draft(ping, make_document(StartFlow("pong", result_key="started")))
    publish(ping)
    start_flowrun("ping")
    run_until_idle()
    runs = FlowRun.objects.order_by("pk")
    assert [run.depth for run in runs] == [0, 1, 2, 3]
    last = runs.last()
    assert last is not None
    assert last.state == {}
    steps = last.events.get(steps__isnull=False).steps
    assert steps is not None
    assert "Flows start one another 3 deep: ping → pong → ping." in steps[0][5][0]


def test_a_started_run_knows_its_parent_and_goes_its_own_way():
    make_flow(UpdateState(n="n|add:1"), name="Sub", slug="sub")
    flow = make_flow(
        row("start_flow", flow="sub", state={"n": "10"}, evaluate=True, result_key="sub"),
        UpdateState(n="n|add:100"),
    )
    run = start_flowrun(flow, state={"n": 1})
    run_until_idle()
    sub = FlowRun.objects.get(flow__slug="sub")
    assert (run.state, sub.state) == ({"n": 101, "sub": sub.pk}, {"n": 11})
    assert (sub.parent_run, sub.depth) == (run, 1)


def test_a_sub_flow_can_be_about_the_same_object_and_start_later():
    make_flow(UpdateState(key="object.pk"), name="Sub", slug="sub", content_type="testapp.parcel")
    flow = make_flow(StartFlow("sub", delay="PT2H"))
    box = parcel()
    with travel_to(NOON) as clock:
        start_flowrun(flow, box)
        sub = FlowRun.objects.get(flow__slug="sub")
        assert (sub.content_object, sub.due) == (box, NOON + 2 * HOUR)
        clock.advance(hours=2)
        run_until_idle()
    sub.refresh_from_db()
    assert sub.state == {"key": box.pk}


def test_a_refused_sub_flow_is_told_in_the_history_and_stops_nobody():
    make_flow(Log("x"), name="Sub", slug="sub", active=False)
    run = start_flowrun(make_flow(StartFlow("sub", result_key="started"), UpdateState(after="1")))
    assert (run.outcome, run.state) == (Outcome.COMPLETE, {"started": None, "after": 1})
    assert any('Not started: "Sub" is off.' in str(event.steps) for event in run.events.all())


def test_executing_a_run_that_is_not_due_or_over_does_nothing():
    with travel_to(NOON):
        later = create_flowrun(make_flow(Log("x")), continue_after=NOON + HOUR)
        assert execute_flowrun(later).status == Status.PENDING
        done = start_flowrun(make_flow(Log("x")))
        before = done.events.count()
        assert execute_flowrun(done).events.count() == before
