"""The row "Start flow": what the new run gets, when it is due, and what becomes of a refusal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from flowcontrol.documents import JSONObject
from flowcontrol.engine import start_flowrun
from flowcontrol.models import Flow, FlowRun, Outcome, Status
from flowcontrol.registry import actions
from flowcontrol.testing import (
    Log,
    StartFlow,
    UpdateState,
    make_flow,
    row,
    run_until_idle,
    trace_of,
    travel_to,
)
from tests.testapp.models import Parcel, Station

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 17, tzinfo=UTC)  # in New York


@pytest.fixture(autouse=True)
def sub(db: None) -> Flow:
    return make_flow(Log("in {{ gate }}"), name="Rebooking", slug="sub")


def run_of(*rows: JSONObject, obj: Any = None, **options: Any) -> FlowRun:
    with travel_to(NOON):
        return start_flowrun(make_flow(*rows, name="Main"), obj, **options)


def started(**config: Any) -> FlowRun:
    """The run that a row starts, from a run with a state and an object."""
    crate = Parcel.objects.create(label="crate")
    run_of(StartFlow("sub", **config), obj=crate, state={"gate": "B7", "seats": 3})
    return FlowRun.objects.get(flow__slug="sub")


def test_the_new_run_is_due_at_once_and_knows_who_started_it():
    dispatcher = get_user_model().objects.create(username="dispatcher")
    main = run_of(StartFlow("sub", result_key="sub"), user=dispatcher)
    run = FlowRun.objects.get(flow__slug="sub")
    assert (main.status, main.outcome, main.state) == (
        Status.DONE,
        Outcome.COMPLETE,
        {"sub": run.pk},
    )
    assert (run.status, run.due) == (Status.PENDING, NOON)
    assert (run.parent_run, run.depth, run.started_by) == (main, 1, dispatcher)


def test_it_is_about_the_same_object_unless_the_row_says_otherwise():
    assert started().content_object == Parcel.objects.get()
    FlowRun.objects.all().delete()
    assert started(pass_object=False).content_object is None


@pytest.mark.parametrize(
    ("config", "state"),
    [
        ({}, {}),
        ({"pass_state": "all"}, {"gate": "B7", "seats": 3}),
        ({"pass_state": "chosen", "state_keys": ["gate", "unset"]}, {"gate": "B7"}),
        ({"pass_state": "chosen"}, {}),
        ({"state": {"gate": "C1"}}, {"gate": "C1"}),
        (
            {"pass_state": "all", "state": {"gate": "seats"}, "evaluate": True},
            {"gate": 3, "seats": 3},
        ),
        ({"state": {"deep": ["gate"]}, "evaluate": True}, {"deep": ["B7"]}),
        ({"state": {"$expr": "run.state"}}, {"gate": "B7", "seats": 3}),
    ],
)
def test_it_starts_with_the_values_that_the_row_names(
    config: dict[str, Any], state: dict[str, Any]
):
    assert started(**config).state == state


def test_the_copied_state_is_a_copy():
    rows = [StartFlow("sub", pass_state="all"), UpdateState(seats="4")]
    main = run_of(*rows, state={"seats": [1]})
    assert FlowRun.objects.get(flow__slug="sub").state == {"seats": [1]}
    assert main.state == {"seats": 4}


def test_a_delay_is_counted_by_the_calendar_of_the_site():
    assert started(delay="PT2H").due == NOON.replace(hour=19)
    FlowRun.objects.all().delete()
    with travel_to(datetime(2013, 3, 9, 17, tzinfo=UTC)):
        start_flowrun(make_flow(StartFlow("sub", delay="P1D"), name="Over the change"))
    # Noon is noon, though the clocks go forward in that night.
    assert FlowRun.objects.get(flow__slug="sub").due == datetime(2013, 3, 10, 16, tzinfo=UTC)


def test_which_flow_it_is_may_be_computed():
    run_of(row("start_flow", flow={"$expr": "which"}), state={"which": "sub"})
    assert FlowRun.objects.filter(flow__slug="sub").count() == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"active_at": None}, "is off"),
        ({"live_version": None}, "has not been published"),
        ({"slug": "renamed"}, "no flow 'sub'"),
    ],
)
def test_a_refusal_is_told_in_the_history_and_the_run_goes_on(
    sub: Flow, change: dict[str, Any], reason: str
):
    flow = make_flow(StartFlow("sub", result_key="sub"), Log("went on"), name="Main")
    Flow.objects.filter(pk=sub.pk).update(**change)
    with travel_to(NOON):
        run = start_flowrun(flow)
    assert (run.outcome, run.state) == (Outcome.COMPLETE, {"sub": None})
    assert trace_of(run) == ["start_flow", "log"]
    notes = [
        step[5][0] for event in run.events.all() for step in event.steps or [] if len(step) > 5
    ]
    assert reason in notes[0]


def test_an_object_of_the_wrong_type_is_a_refusal_too():
    make_flow(Log("x"), name="Parcels", slug="parcels", content_type="testapp.parcel")
    newark = Station.objects.create(code="EWR", name="Newark")
    run = run_of(StartFlow("parcels", result_key="sub"), obj=newark)
    assert (run.outcome, run.state) == (Outcome.COMPLETE, {"sub": None})


def test_the_new_run_goes_its_own_way():
    main = run_of(StartFlow("sub", state={"gate": "C1"}), Log("x"))
    with travel_to(NOON):
        assert run_until_idle() == 1
    run = FlowRun.objects.get(flow__slug="sub")
    assert (run.status, trace_of(run)) == (Status.DONE, ["log"])
    assert run.version.flow != main.version.flow


def test_the_row_reads_as_a_sentence():
    start = actions["start_flow"]()
    assert start.sentence({"flow": "sub"}) == "Start flow sub"
    assert (
        start.sentence({"flow": {"$expr": "which"}, "delay": "PT2H"})
        == "Start flow which in 2 hours"
    )
