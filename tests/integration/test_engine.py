"""Runs from start to end, through the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flowcontrol.engine import (
    cancel_flowrun,
    continue_flowruns,
    create_flowrun,
    execute_flowrun,
    retry_flowrun,
    start_flowrun,
    wake_flowrun,
)
from flowcontrol.exceptions import StartRefused
from flowcontrol.models import FlowRun, Outcome, RunWait, Status
from flowcontrol.operating import explain
from flowcontrol.testing import (
    Delay,
    For,
    If,
    Log,
    StartFlow,
    Stop,
    UpdateState,
    make_flow,
    row,
    run_until_idle,
    trace_of,
    travel_to,
)

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


def test_a_run_goes_from_start_to_end():
    flow = make_flow(For(3, [UpdateState(n="n|add:1")]), Log("n is {{ n }}"))
    run = start_flowrun(flow, state={"n": 0})
    assert (run.status, run.outcome, run.state) == (Status.DONE, Outcome.COMPLETE, {"n": 3})
    assert trace_of(run) == ["for", "update", "for", "update", "for", "update", "for", "log"]


def test_a_delay_parks_the_run_until_its_time_has_come():
    flow = make_flow(Delay("PT1H"), UpdateState(late="true"))
    with travel_to(NOON) as clock:
        run = start_flowrun(flow)
        assert (run.status, run.due) == (Status.WAITING, NOON + timedelta(hours=1))
        assert [wait.kind for wait in run.waits.all()] == ["time"]
        clock.advance(minutes=59)
        assert run_until_idle() == 0
        clock.advance(minutes=1)
        assert run_until_idle() == 1
    run.refresh_from_db()
    assert (run.status, run.state) == (Status.DONE, {"late": True})
    assert not RunWait.objects.exists()


def test_the_history_leads_back_to_every_earlier_state():
    flow = make_flow(
        UpdateState(a="1"), Delay("PT1H"), UpdateState(a="2", b="3"), Delay("PT1H"), Log("end")
    )
    with travel_to(NOON) as clock:
        run = start_flowrun(flow)
        for _hour in range(2):
            clock.advance(hours=1)
            run_until_idle()
    run.refresh_from_db()
    state, states = run.state, []
    for event in run.events.order_by("-seq"):
        state = event.state_before(state)
        states.append(state)
    assert states == [{"a": 2, "b": 3}, {"a": 1}, {}]


def test_a_failing_row_stops_its_run_with_a_reason_and_can_be_retried():
    flow = make_flow(UpdateState(n="1"), If("n < missing", [Log("never")]))
    run = start_flowrun(flow)
    assert run.status == Status.FAILED
    assert run.state == {"n": 1}
    assert "missing" in run.reason
    event = run.events.latest("seq")
    assert event.detail is not None
    assert "Traceback" in event.detail["traceback"]
    assert ["n", "1"] in event.detail["values"]
    assert "failed" in explain(run)
    FlowRun.objects.filter(pk=run.pk).update(state={"n": 1, "missing": 2})
    retry_flowrun(run)
    execute_flowrun(run)
    assert (run.status, run.outcome) == (Status.DONE, Outcome.COMPLETE)


def test_stop_flow_ends_the_run_as_aborted_with_its_reason():
    run = start_flowrun(make_flow(Stop("because of {{ why }}"), Log("never")), state={"why": "ice"})
    assert (run.outcome, run.reason) == (Outcome.ABORTED, "because of ice")


def test_the_same_key_gives_the_same_run():
    flow = make_flow(Log("x"))
    assert create_flowrun(flow, key="a") == create_flowrun(flow, key="a")
    assert create_flowrun(flow, key="b") != create_flowrun(flow, key="a")


def test_a_flow_that_is_off_refuses_to_start():
    with pytest.raises(StartRefused, match="is off"):
        create_flowrun(make_flow(Log("x"), active=False))


def test_a_cancelled_run_does_not_go_on():
    flow = make_flow(Delay("PT1H"), Log("never"))
    with travel_to(NOON) as clock:
        run = start_flowrun(flow)
        cancel_flowrun(run, reason="not needed")
        clock.advance(hours=2)
        assert run_until_idle() == 0
    run.refresh_from_db()
    assert (run.status, run.outcome, run.reason) == (Status.DONE, Outcome.CANCELED, "not needed")


def test_start_flow_starts_a_run_that_is_due_at_once():
    make_flow(UpdateState(n="n|add:1"), name="Sub", slug="sub")
    flow = make_flow(
        row("start_flow", flow="sub", pass_state="chosen", state_keys=["n"], result_key="started")
    )
    run = start_flowrun(flow, state={"n": 41, "m": 1})
    sub = FlowRun.objects.get(flow__slug="sub")
    assert run.state["started"] == sub.pk
    assert sub.parent_run == run
    run_until_idle()
    sub.refresh_from_db()
    assert sub.state == {"n": 42}


def test_a_flow_that_starts_itself_ends_in_an_error_that_names_the_circle():
    make_flow(Log("x"), name="Loop", slug="loop")
    from flowcontrol.documents import make_document
    from flowcontrol.drafting import replace_draft
    from flowcontrol.models import Flow
    from flowcontrol.publishing import publish

    flow = Flow.objects.get(slug="loop")
    replace_draft(flow, make_document(StartFlow("loop")))
    publish(flow)
    flow.refresh_from_db()
    start_flowrun(flow)
    run_until_idle()
    last = FlowRun.objects.latest("pk")
    assert last.depth == 20
    assert FlowRun.objects.count() == 21
    assert "loop → loop" in str(last.events.latest("seq").steps)


def test_a_run_woken_from_code_goes_on_with_the_data():
    from flowcontrol.base import BaseAction, FlowDirective
    from flowcontrol.registry import actions

    class Hold(BaseAction):
        name = "test.hold"
        effects = "none"

        def run(self, *, run, obj, config):
            return FlowDirective.SUSPEND()

    with actions.temporarily(Hold):
        run = start_flowrun(make_flow(row("test.hold", result_key="answer")))
        assert run.status == Status.WAITING
        assert run.due is None
        assert wake_flowrun(run, {"seats": 3})
        assert not wake_flowrun(run, {"seats": 4})
        execute_flowrun(run)
    assert (run.status, run.state) == (Status.DONE, {"answer": {"seats": 3}})


def test_sweeps_need_no_query_per_step_or_run(django_assert_max_num_queries):
    flow = make_flow(*[UpdateState(n="n|add:1") for _row in range(10)])
    for _number in range(100):
        create_flowrun(flow, state={"n": 0})
    # Savepoints of the test's transaction, one per run, are not there in production.
    with django_assert_max_num_queries(40 + 200):
        continue_flowruns()
    assert FlowRun.objects.filter(state={"n": 10}, status=Status.DONE).count() == 100
