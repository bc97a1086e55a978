"""Deleting flows: their history goes only if somebody who may wants it to."""

from __future__ import annotations

import pytest

from flowcontrol import drafting, signals
from flowcontrol.engine import create_flowrun, start_flowrun
from flowcontrol.exceptions import DeleteRefused
from flowcontrol.models import (
    Flow,
    FlowAction,
    FlowRun,
    FlowVersion,
    HumanTask,
    RunEvent,
    RunWait,
    Trigger,
)
from flowcontrol.purging import delete_flow
from flowcontrol.testing import Delay, Log, make_flow
from tests.admin_pages import person

pytestmark = pytest.mark.django_db


def test_a_flow_without_runs_goes_with_all_it_has():
    flow = make_flow(Delay("PT1H"), Log("x"))
    Trigger.objects.create(name="demo.flight_cancelled", flow=flow)
    other = make_flow(Log("stays"), name="Other")
    delete_flow(flow)
    assert list(Flow.objects.all()) == [other]
    assert {action.flow_id for action in FlowAction.objects.all()} == {other.pk}
    assert not Trigger.objects.exists()
    assert FlowVersion.objects.count() == 1
    drafting.add_action(other, "log", {"message": "and can be edited"})


def test_a_flow_with_runs_is_not_deleted_by_mistake():
    flow = make_flow(Log("x"))
    start_flowrun(flow)
    with pytest.raises(DeleteRefused, match="1 run"):
        delete_flow(flow)
    assert Flow.objects.exists()
    assert FlowRun.objects.exists()


def test_purging_needs_the_right_to_purge():
    flow = make_flow(Log("x"))
    start_flowrun(flow)
    with pytest.raises(DeleteRefused, match="may not delete"):
        delete_flow(flow, user=person("delete_flow"), purge=True)
    delete_flow(flow, user=person("purge_flowrun", name="kim"), purge=True)
    assert not Flow.objects.exists()


def test_purging_takes_runs_waits_events_and_tasks_but_not_those_of_other_flows():
    flow, other = make_flow(Delay("PT1H")), make_flow(Delay("PT1H"), name="Other")
    run = start_flowrun(flow)
    HumanTask.objects.create(run=run, title="?", created_at=run.created_at)
    child = create_flowrun(other, parent_run=run)
    delete_flow(flow, purge=True)
    child.refresh_from_db()
    assert child.parent_run is None
    assert list(FlowRun.objects.all()) == [child]
    assert not RunEvent.objects.filter(run_id=run.pk).exists()
    assert not RunWait.objects.filter(run_id=run.pk).exists()
    assert not HumanTask.objects.exists()


def test_open_runs_are_canceled_so_that_others_hear_of_it(django_capture_on_commit_callbacks):
    flow = make_flow(Delay("PT1H"))
    run = start_flowrun(flow)
    heard = []

    def listen(sender, run_id, outcome, **kwargs):
        heard.append((run_id, outcome))

    signals.flowrun_done.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            delete_flow(flow, purge=True)
    finally:
        signals.flowrun_done.disconnect(listen)
    assert heard == [(run.pk, "canceled")]
