"""Starting runs for many objects at once, and who may start by hand at all."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flowcontrol import drafting, starting
from flowcontrol.models import Flow, FlowRun, Status
from flowcontrol.signals import flowrun_started
from flowcontrol.starting import create_flowruns
from flowcontrol.testing import Delay, Log, make_flow
from tests.admin_pages import person
from tests.testapp.models import Parcel, Station

pytestmark = pytest.mark.django_db

LOAD = {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}


def parcels(number: int) -> list[Parcel]:
    return Parcel.objects.bulk_create([Parcel(label=f"Box {n}") for n in range(number)])


def flow_for_parcels(**settings: Any) -> Flow:
    return make_flow(Delay("PT1H"), name="Load", content_type="testapp.parcel", **settings)


def test_each_object_gets_a_run_with_the_same_start_state():
    flow = flow_for_parcels(state_schema=LOAD)
    boxes = parcels(5)
    user = person()
    told: list[int] = []

    def hear(run_id: int, **_more: object) -> None:
        told.append(run_id)

    flowrun_started.connect(hear)
    outcome = create_flowruns(flow, boxes, token="once", state={"n": 7}, user=user)
    flowrun_started.disconnect(hear)
    runs = FlowRun.objects.order_by("pk")
    assert (outcome.started, outcome.known, outcome.refused) == (5, 0, [])
    assert [run.content_object for run in runs] == boxes
    assert {(run.status, run.state["n"], run.started_by) for run in runs} == {("pending", 7, user)}
    assert told == []  # nothing is told before the commit


def test_a_second_click_starts_nothing_again():
    flow = flow_for_parcels()
    boxes = parcels(3)
    create_flowruns(flow, boxes[:2], token="click")
    outcome = create_flowruns(flow, boxes, token="click")
    assert (outcome.started, outcome.known) == (1, 2)
    assert FlowRun.objects.count() == 3
    assert create_flowruns(flow, boxes, token="another").started == 3


def test_what_was_started_before_a_crash_is_not_started_again(monkeypatch):
    flow = flow_for_parcels()
    boxes = parcels(5)
    monkeypatch.setattr(starting, "BATCH", 2)

    def crash():
        yield from boxes[:3]
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        create_flowruns(flow, crash(), token="broken off")
    assert FlowRun.objects.count() == 2
    outcome = create_flowruns(flow, boxes, token="broken off")
    assert (outcome.started, outcome.known) == (3, 2)


def test_of_two_clicks_at_the_same_moment_one_starts(monkeypatch):
    flow = flow_for_parcels()
    boxes = parcels(3)
    plan = starting.plan_flowrun

    def after_the_other(*args, **kwargs):
        # The other click commits between our look for known keys and our write.
        monkeypatch.undo()
        create_flowruns(flow, boxes[:1], token="click")
        return plan(*args, **kwargs)

    monkeypatch.setattr(starting, "plan_flowrun", after_the_other)
    outcome = create_flowruns(flow, boxes, token="click")
    assert (outcome.started, outcome.known) == (2, 1)
    assert FlowRun.objects.count() == 3


def test_what_a_limit_refuses_is_named_with_the_reason():
    flow = flow_for_parcels(max_concurrent=2)
    boxes = parcels(4)
    outcome = create_flowruns(flow, boxes, token="full")
    assert outcome.started == 2
    assert [obj for obj, _reason in outcome.refused] == boxes[2:]
    assert {reason for _obj, reason in outcome.refused} == {
        '"Load" has 2 open runs; more are not allowed at the same time.'
    }
    assert FlowRun.objects.filter(outcome="refused").count() == 2


def test_a_full_flow_that_queues_queues_the_rest():
    flow = flow_for_parcels(max_concurrent=1, when_full="queue")
    outcome = create_flowruns(flow, parcels(3), token="queue")
    assert (outcome.started, outcome.refused) == (3, [])
    assert FlowRun.objects.filter(status=Status.QUEUED).count() == 2


def test_objects_of_another_kind_are_refused_one_by_one():
    flow = flow_for_parcels()
    station = Station.objects.create(code="JFK", name="Kennedy")
    outcome = create_flowruns(flow, [station, *parcels(1)], token="mixed")
    assert outcome.started == 1
    assert outcome.refused == [
        (station, '"Load" is about testapp.parcel, not testapp.station.'),
    ]


def test_a_long_key_still_names_its_run():
    flow = make_flow(Log("x"), content_type="testapp.station")
    station = Station.objects.create(code="x" * 20, name="Long")
    token = "t" * 190
    assert create_flowruns(flow, [station], token=token).started == 1
    assert create_flowruns(flow, [station], token=token).known == 1


def test_many_objects_take_few_statements():
    flow = flow_for_parcels()
    boxes = parcels(150)
    create_flowruns(flow, boxes[:1], token="warm")
    with CaptureQueriesContext(connection) as captured:
        create_flowruns(flow, boxes, token="many")
    assert len(captured) <= 12, [query["sql"][:80] for query in captured]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="with statistics others choose well")
def test_a_limit_per_object_looks_at_the_runs_of_the_object_only():
    # SQLite went through all runs of the flow for each start: a start for many was quadratic.
    (box,) = parcels(1)
    runs = FlowRun.objects.for_flow(flow_for_parcels()).for_object(box).order_by()
    for query in (runs.exclude(outcome="refused")[:3], runs.holding_a_slot()):
        assert "flowcontrol_run_object (content_type_id=? AND object_id=?" in query.explain()


# --- who may start ------------------------------------------------------------------------------


@pytest.fixture
def desk() -> Group:
    return Group.objects.create(name="Desk")


def test_without_groups_everybody_may_start_who_has_the_right(desk):
    flow = make_flow(Log("x"))
    assert flow.may_be_started_by(person("start_flow", name="starter"))
    assert not flow.may_be_started_by(person("view_flow", name="viewer"))
    assert not flow.may_be_started_by(AnonymousUser())


def test_with_groups_the_right_and_one_of_them_are_needed(desk):
    flow, other = make_flow(Log("x")), make_flow(Log("x"), name="Other")
    flow.starters.add(desk, Group.objects.create(name="Night"))
    outside = person("start_flow", name="outside")
    inside = person("start_flow", name="inside")
    without_right = person(name="without")
    for user in (inside, without_right):
        user.groups.add(desk)
    assert not flow.may_be_started_by(outside)
    assert flow.may_be_started_by(inside)
    assert not flow.may_be_started_by(without_right)
    assert list(Flow.objects.startable_by(outside)) == [other]
    assert set(Flow.objects.startable_by(inside)) == {flow, other}


def test_superusers_may_start_what_is_kept_for_a_group(desk):
    flow = make_flow(Log("x"))
    flow.starters.add(desk)
    assert flow.may_be_started_by(User.objects.create_superuser("root"))


def test_a_copy_may_be_started_by_the_same_people(desk):
    flow = make_flow(Log("x"))
    flow.starters.add(desk)
    assert list(drafting.duplicate_flow(flow, "Copy").starters.all()) == [desk]
