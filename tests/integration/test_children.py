"""Runs that other runs wait for: Start flow that waits, one for each item, and Parallel."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from flowcontrol.base import BaseAction, FlowDirective
from flowcontrol.children import children_of, look_at_children, start_child
from flowcontrol.engine import cancel_flowrun, start_flowrun
from flowcontrol.exceptions import AuthorError
from flowcontrol.models import FlowRun, Outcome, RunWait, Status, WaitKind
from flowcontrol.operating import close, go_to, pause, resume, retry
from flowcontrol.registry import actions
from flowcontrol.testing import (
    NOON,
    Branch,
    Break,
    Delay,
    Fail,
    ForEach,
    If,
    Leave,
    Log,
    OnError,
    Parallel,
    StartFlow,
    Stop,
    Try,
    UpdateState,
    make_flow,
    row,
    run_until_idle,
    trace_of,
    travel_to,
)
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock():
    with travel_to(NOON) as clock:
        yield clock


def fresh(run: FlowRun) -> FlowRun:
    return FlowRun.objects.get(pk=run.pk)


def go(*rows: Any, obj: Any = None, state: Any = None, **settings: Any) -> FlowRun:
    settings.setdefault("name", "Parent")
    run = start_flowrun(make_flow(*rows, **settings), obj, state=state)
    run_until_idle()
    return fresh(run)


def children(run: FlowRun) -> list[FlowRun]:
    return list(FlowRun.objects.filter(parent_run=run).order_by("pk"))


# --- Start flow that waits ----------------------------------------------------------------------


@pytest.fixture
def sub_flow():
    return make_flow(Delay("PT1H"), UpdateState(price="seats|multiply:10"), name="Sub")


def test_start_flow_waits_and_takes_the_keys_it_names(sub_flow, clock):
    run = go(
        StartFlow(
            sub_flow.slug, state={"seats": 3}, wait=True, take_keys=["price"], result_key="how"
        ),
        Log("after"),
    )
    assert run.status == Status.WAITING
    assert RunWait.objects.get(run=run).kind == WaitKind.CHILDREN
    clock.advance(hours=1)
    run_until_idle()
    [child] = children(run)
    assert fresh(run).state == {"price": 30, "how": {"run": child.pk, "outcome": "complete"}}
    assert trace_of(fresh(run)) == ["start_flow", "start_flow", "log"]


def test_a_failed_sub_flow_keeps_it_waiting_until_somebody_repairs_it():
    sub = make_flow(Fail("no seats"), name="Sub")
    run = go(StartFlow(sub.slug, wait=True, result_key="how"))
    [child] = children(run)
    assert (run.status, child.status) == (Status.WAITING, Status.FAILED)
    close(child)
    run_until_idle()
    assert fresh(run).state["how"]["outcome"] == "errored"


def test_a_repaired_sub_flow_lets_it_go_on():
    sub = make_flow(Try(UpdateState(a="1")), Fail("for now"), UpdateState(b="2"), name="Sub")
    run = go(StartFlow(sub.slug, wait=True, take_keys=["b"]))
    [child] = children(run)
    uid = child.version.document["actions"][2]["uid"]
    go_to(child, uid)
    run_until_idle()
    assert fresh(run).state == {"b": 2}


def test_it_can_fail_with_its_sub_flow_and_a_try_takes_that(clock):
    sub = make_flow(Fail("no seats"), name="Sub")
    run = go(
        Try(StartFlow(sub.slug, wait=True, on_failure="fail")),
        OnError(UpdateState(said="error.message")),
    )
    assert run.outcome == Outcome.COMPLETE
    assert "no seats" in run.state["said"]
    # Nobody waits for the failed one any more.
    assert [child.outcome for child in children(run)] == [Outcome.CANCELED]


def test_it_can_go_on_without_its_sub_flow():
    sub = make_flow(Fail("no seats"), name="Sub")
    run = go(StartFlow(sub.slug, wait=True, on_failure="continue"), Log("after"))
    assert run.outcome == Outcome.COMPLETE


@pytest.mark.parametrize("on_failure", ["wait", "fail"])
def test_a_sub_flow_that_is_refused_fails_the_row_that_would_wait(on_failure):
    sub = make_flow(Log("x"), name="Sub", active=False)
    run = go(StartFlow(sub.slug, wait=True, on_failure=on_failure))
    assert run.status == Status.FAILED
    assert "is off" in run.reason


def test_cancelling_a_run_cancels_what_it_waits_for(sub_flow):
    run = go(StartFlow(sub_flow.slug, wait=True), state={})
    cancel_flowrun(run, reason="enough")
    [child] = children(run)
    assert child.outcome == Outcome.CANCELED
    assert "waited for it" in child.reason


def test_cancelling_a_run_leaves_alone_what_it_does_not_wait_for(sub_flow):
    run = go(StartFlow(sub_flow.slug), Delay("P1D"))
    cancel_flowrun(run)
    assert [child.status for child in children(run)] == [Status.WAITING]


def test_a_paused_parent_goes_on_when_it_is_resumed(sub_flow, clock):
    run = go(StartFlow(sub_flow.slug, state={"seats": 1}, wait=True))
    pause(run)
    clock.advance(hours=1)
    run_until_idle()
    assert fresh(run).status == Status.PAUSED
    resume(fresh(run))
    run_until_idle()
    assert fresh(run).outcome == Outcome.COMPLETE


def test_flows_that_wait_for_one_another_in_a_circle_end_in_an_error_that_names_it(settings):
    settings.FLOWCONTROL_MAX_START_DEPTH = 3
    flow = make_flow(StartFlow("round", wait=True, on_failure="fail"), name="Round", slug="round")
    run = start_flowrun(flow)
    run_until_idle()
    deepest = FlowRun.objects.order_by("-depth")[0]
    assert "3 deep: round → round" in deepest.reason
    assert fresh(run).status == Status.FAILED


# --- Start flow for each item -------------------------------------------------------------------


def for_each_item(items: str, slug: str, **config: Any) -> Any:
    return row("start_flow_for_each", items=items, flow=slug, result_key="counts", **config)


def test_a_run_is_started_for_each_item_so_many_at_a_time(clock):
    sub = make_flow(Delay("PT1H"), Log("{{ seat }}"), name="Sub")
    run = go(
        for_each_item("seats", sub.slug, var_name="seat", at_once=2),
        state={"seats": ["A", "B", "C"]},
    )
    assert [child.state for child in children(run)] == [{"seat": "A"}, {"seat": "B"}]
    assert run.cursor["frames"][-1]["progress"] == [0, 3]
    clock.advance(hours=1)
    run_until_idle()
    assert [child.state["seat"] for child in children(run)] == ["A", "B", "C"]
    assert fresh(run).cursor["frames"][-1]["progress"] == [2, 3]
    clock.advance(hours=1)
    run_until_idle()
    counts = {"started": 3, "refused": 0, "complete": 3, "other": 0}
    assert fresh(run).state["counts"] == counts


def test_the_runs_for_rows_of_the_database_are_about_them():
    crew = Group.objects.create(name="crew")
    people = [get_user_model().objects.create(username=name) for name in "abc"]
    crew.user_set.set(people)
    sub = make_flow(Log("{{ object }}"), name="Sub")
    run = go(for_each_item("object.user_set", sub.slug, at_once=2), obj=crew)
    assert run.outcome == Outcome.COMPLETE
    assert [child.object_id for child in children(run)] == [str(each.pk) for each in people]


def test_the_first_failure_can_stop_the_others():
    sub = make_flow(If("item == 2", [Fail("no")]), Delay("P1D"), name="Sub")
    step = for_each_item("seats", sub.slug, at_once=2, on_failure="fail")
    run = go(Try(step), OnError(Log("{{ error.message }}")), state={"seats": [1, 2, 3]})
    assert run.outcome == Outcome.COMPLETE
    assert [child.outcome for child in children(run)] == [Outcome.CANCELED] * 2


def test_failures_can_be_counted_instead():
    sub = make_flow(Fail("no"), name="Sub")
    run = go(for_each_item("seats", sub.slug, on_failure="continue"), state={"seats": [1, 2]})
    assert run.state["counts"] == {"started": 2, "refused": 0, "complete": 0, "other": 2}


def test_a_failure_keeps_it_waiting_and_the_others_are_started():
    sub = make_flow(Fail("no"), name="Sub")
    run = go(for_each_item("seats", sub.slug, at_once=5), state={"seats": [1, 2, 3]})
    assert (run.status, len(children(run))) == (Status.WAITING, 3)
    for child in children(run):
        close(child)
    run_until_idle()
    assert fresh(run).state["counts"]["other"] == 3


def test_no_items_is_no_run():
    sub = make_flow(Log("x"), name="Sub")
    run = go(for_each_item("seats", sub.slug), state={"seats": []})
    assert run.state["counts"]["started"] == 0


# --- Parallel -----------------------------------------------------------------------------------


def test_branches_run_side_by_side_and_hand_back_the_keys_they_name(clock):
    run = go(
        UpdateState(a="1"),
        Parallel(
            Branch(Delay("PT1H"), UpdateState(x="a|add:1", secret="1"), keys=["x"]),
            Branch(UpdateState(y="a|add:2"), keys=["y", "never"]),
            result_key="joined",
        ),
        Log("after"),
    )
    assert (run.status, run.state) == (Status.WAITING, {"a": 1})
    assert [child.status for child in children(run)] == [Status.WAITING, Status.DONE]
    clock.advance(hours=1)
    run_until_idle()
    assert fresh(run).state == {"a": 1, "x": 2, "y": 3, "joined": {"complete": 2, "other": 0}}
    assert fresh(run).outcome == Outcome.COMPLETE


def test_the_first_branch_that_is_through_cancels_the_others():
    run = go(
        Parallel(
            Branch(Delay("P1D"), UpdateState(who="'slow'"), keys=["who"]),
            Branch(UpdateState(who="'fast'"), keys=["who"]),
            join="first",
        )
    )
    assert (run.outcome, run.state) == (Outcome.COMPLETE, {"who": "fast"})
    assert {child.outcome for child in children(run)} == {Outcome.CANCELED, Outcome.COMPLETE}


def test_a_number_of_branches_can_be_enough():
    branches = [Branch(Log("x")), Branch(Delay("P1D")), Branch(Log("y"))]
    run = go(Parallel(*branches, join="number", number=2))
    assert run.outcome == Outcome.COMPLETE
    assert [child.outcome for child in children(run)].count(Outcome.COMPLETE) == 2


def test_a_failing_branch_leaves_the_others_running_and_keeps_the_parent_waiting():
    run = go(Parallel(Branch(Fail("oh")), Branch(UpdateState(y="1"), keys=["y"])), Log("after"))
    failed, complete = children(run)
    assert (failed.status, complete.outcome) == (Status.FAILED, Outcome.COMPLETE)
    assert run.status == Status.WAITING
    close(failed)
    run_until_idle()
    assert (fresh(run).outcome, fresh(run).state) == (Outcome.COMPLETE, {"y": 1})


def test_a_failing_branch_can_fail_the_row_and_on_error_takes_it():
    run = go(
        Try(Parallel(Branch(Fail("oh")), Branch(Delay("P1D")), on_failure="fail")),
        OnError(Log("{{ error.message }}")),
    )
    assert run.outcome == Outcome.COMPLETE
    assert {child.outcome for child in children(run)} == {Outcome.CANCELED}


def test_a_failing_branch_can_be_done_without():
    run = go(Parallel(Branch(Fail("oh")), Branch(Log("x")), on_failure="continue"), Log("after"))
    assert run.outcome == Outcome.COMPLETE


def test_leaving_or_stopping_at_the_top_of_a_branch_ends_the_branch_only():
    run = go(
        Parallel(
            Branch(Leave(), Fail("never")),
            Branch(Break(), Fail("never")),
            Branch(Stop("enough"), Fail("never")),
            result_key="joined",
        ),
        Log("after"),
    )
    assert run.state["joined"] == {"complete": 2, "other": 1}
    assert trace_of(run)[-1] == "log"


def test_a_branch_reads_the_loop_variables_around_it():
    box = Parcel.objects.create(label="box")
    told = UpdateState(seen="item", at="index")
    run = go(
        ForEach("seats", [Parallel(Branch(told, keys=["seen", "at"]))]),
        obj=box,
        state={"seats": ["A", "B"]},
    )
    assert (run.state["seen"], run.state["at"]) == ("B", 1)
    assert len(children(run)) == 2


def test_branches_take_no_place_among_the_limits_of_the_flow():
    rows = Parallel(Branch(Delay("P1D")), Branch(Delay("P1D")))
    flow = make_flow(rows, max_concurrent=1)
    start_flowrun(flow)
    assert FlowRun.objects.filter(root_uid="").holding_a_slot().count() == 1
    assert FlowRun.objects.for_flow(flow).holding_a_slot().count() == 1


def test_a_branch_can_be_sent_only_to_its_own_rows():
    rows = Parallel(Branch(Delay("P1D"), Log("b", uid="log-b")), Branch(Log("c", uid="log-c")))
    run = go(rows)
    branch = children(run)[0]
    with pytest.raises(AuthorError, match="not in the branch"):
        go_to(branch, "log-c")
    go_to(branch, "log-b")
    run_until_idle()
    assert fresh(run).outcome == Outcome.COMPLETE


def test_sending_the_parent_elsewhere_cancels_its_branches():
    run = go(Parallel(Branch(Delay("P1D"))), Log("x", uid="end"))
    go_to(run, "end")
    assert [child.outcome for child in children(run)] == [Outcome.CANCELED]


def test_a_retried_branch_that_completes_lets_the_parent_go_on():
    class Flaky(BaseAction):
        name = "test.flaky"
        effects = "none"
        fails = True

        def run(self, *, run, obj, config):
            if Flaky.fails:
                raise ConnectionError("down")

    with actions.temporarily(Flaky):
        run = go(Parallel(Branch(row("test.flaky")), Branch(Log("x"))))
        assert run.status == Status.WAITING
        Flaky.fails = False
        retry(children(run)[0])
        run_until_idle()
        assert fresh(run).outcome == Outcome.COMPLETE


# --- custom actions -----------------------------------------------------------------------------


def test_a_custom_action_can_wait_for_runs_that_it_starts():
    class Rebook(BaseAction):
        name = "test.rebook"
        effects = "database"

        def run(self, *, run, obj, config):
            if run.memo is None:
                for seat in ("A", "B"):
                    start_child(run, "sub", state={"seat": seat}, group=run.step_key)
                memo = {"group": run.step_key}
                return FlowDirective.SUSPEND_AND_REPEAT(for_children=run.step_key, memo=memo)
            group = run.memo["group"]
            now = look_at_children(run, group)
            if now.open:
                return FlowDirective.SUSPEND_AND_REPEAT(for_children=group)
            run.state["seats"] = [child.state["seat"] for child in children_of(run, group)]
            return None

    make_flow(Log("{{ seat }}"), name="Sub", slug="sub")
    with actions.temporarily(Rebook):
        run = go(row("test.rebook"))
    assert run.state == {"seats": ["A", "B"]}
