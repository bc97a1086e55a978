"""Moving runs to another version: what fits goes on, what does not is asked about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from flowcontrol import drafting, moving, shaping
from flowcontrol.conf import settings
from flowcontrol.documents import row
from flowcontrol.drafts import draft_document
from flowcontrol.engine import start_flowrun
from flowcontrol.exceptions import AuthorError
from flowcontrol.models import Flow, FlowRun, FlowVersion, RunWait, Status
from flowcontrol.moving import move_runs_to_version, plan_move
from flowcontrol.operating import pause, resume
from flowcontrol.publishing import publish
from flowcontrol.testing import (
    NOON,
    Delay,
    For,
    Group,
    If,
    Log,
    UpdateState,
    make_flow,
    run_until_idle,
    trace_of,
    travel_to,
)

pytestmark = pytest.mark.django_db


def waiting_flow() -> Flow:
    return make_flow(
        Log("a", uid="a", label="a"),
        Delay(uid="wait", label="wait"),
        Log("b", uid="b", label="b"),
    )


def again(run: FlowRun) -> FlowRun:
    return FlowRun.objects.get(pk=run.pk)


def new_version(flow: Flow, **edit: Any) -> FlowVersion:
    drafting.edit_action(flow, edit.pop("uid", "b"), **edit)
    return publish(flow)


def test_a_waiting_run_goes_on_by_the_new_version_where_it_stands():
    flow = waiting_flow()
    with travel_to(NOON) as clock:
        run = start_flowrun(flow)
        drafting.add_action(flow, "log", {"message": "c"}, uid="c", label="c")
        version = publish(flow)
        before = again(run)
        plan = plan_move(version)
        assert (plan.fitting, plan.stranded, len(plan)) == ([run.pk], [], 1)
        assert move_runs_to_version(version, plan.fitting).runs == [run.pk]
        after = again(run)
        assert after.version == version
        for name in ("status", "cursor", "due", "state", "visit", "action_uid"):
            assert getattr(after, name) == getattr(before, name), name
        assert RunWait.objects.filter(run=run).count() == 1
        assert run_until_idle() == 0
        clock.advance(hours=1)
        run_until_idle()
    assert trace_of(again(run)) == ["a", "wait", "wait", "b", "c"]
    assert again(run).outcome == "complete"


def test_it_is_on_record_who_moved_it_and_why():
    flow = waiting_flow()
    run = start_flowrun(flow)
    kim = User.objects.create_user("kim")
    version = new_version(flow, note="x")
    move_runs_to_version(version, [run.pk], user=kim, reason="Better wording")
    event = run.events.latest("seq")
    assert (event.kind, event.user, event.reason) == ("operated", kim, "Better wording")
    assert event.detail == {"did": "change version", "version_before": 1, "version": 2}


def test_a_loop_keeps_its_count():
    flow = make_flow(
        For(3, [Delay(uid="wait"), Log("x", uid="log")], uid="for", var_name="i"),
        UpdateState(done="true"),
    )
    with travel_to(NOON) as clock:
        run = start_flowrun(flow)
        clock.advance(hours=1)
        run_until_idle()
        version = new_version(flow, uid="log", config={"message": "{{ i }}"})
        assert plan_move(version).fitting == [run.pk]
        move_runs_to_version(version, [run.pk])
        for _round in range(3):
            clock.advance(hours=1)
            run_until_idle()
    assert trace_of(again(run)).count("log") == 3
    assert again(run).outcome == "complete"


def test_runs_whose_row_is_gone_are_listed_beforehand_with_the_row():
    flow = waiting_flow()
    runs = [start_flowrun(flow) for _run in range(3)]
    drafting.delete_action(flow, "wait")
    version = publish(flow)
    plan = plan_move(version)
    [stranded] = plan.stranded
    assert (stranded.uid, stranded.runs, stranded.suggestion) == (
        "wait",
        [run.pk for run in runs],
        "",
    )
    assert stranded.row is not None
    assert stranded.row["label"] == "wait"
    moved = move_runs_to_version(version, [runs[0].pk])
    assert moved.runs == []
    assert "no other row was named" in moved.stayed[runs[0].pk]
    assert again(runs[0]).version.number == 1


def test_they_go_where_they_are_sent_and_the_others_stay():
    flow = waiting_flow()
    first, second = start_flowrun(flow), start_flowrun(flow)
    drafting.delete_action(flow, "wait")
    version = publish(flow)
    assert move_runs_to_version(version, [first.pk], where={"wait": "b"}).runs == [first.pk]
    run_until_idle()
    # The row that it came from is in its history, but no longer in its version.
    assert trace_of(again(first)) == ["a", "…", "b"]
    assert (again(first).outcome, again(first).waits.count()) == ("complete", 0)
    assert (again(second).status, again(second).version.number) == (Status.WAITING, 1)
    detail = first.events.filter(kind="operated").get().detail
    assert detail is not None
    assert (detail["from"], detail["to"]) == ("wait", "b")


def test_a_row_to_go_to_that_is_not_there_is_an_error_and_moves_nobody():
    flow = waiting_flow()
    run = start_flowrun(flow)
    drafting.delete_action(flow, "wait")
    version = publish(flow)
    with pytest.raises(AuthorError, match="nowhere"):
        move_runs_to_version(version, [run.pk], where={"wait": "nowhere"})
    assert again(run).version.number == 1


def test_a_row_in_another_block_is_asked_about_and_suggested():
    flow = make_flow(
        Group([Delay(uid="wait")], uid="g"), For(2, [Log("x")], uid="for", var_name="i")
    )
    run = start_flowrun(flow)
    drafting.move_action(flow, "wait", target="for", position="first")
    version = publish(flow)
    [stranded] = plan_move(version).stranded
    assert (stranded.uid, stranded.suggestion) == ("wait", "wait")
    move_runs_to_version(version, [run.pk], where={"wait": "wait"})
    assert [frame["at"] for frame in again(run).cursor["frames"]] == ["for", "wait"]


def test_a_row_that_became_another_kind_of_row_is_asked_about():
    flow = waiting_flow()
    start_flowrun(flow)
    document = draft_document(flow)
    document["actions"][1] = {**document["actions"][0], "uid": "wait"}
    drafting.replace_draft(flow, document)
    [stranded] = plan_move(publish(flow)).stranded
    assert stranded.uid == "wait"


def test_a_row_that_was_switched_off_is_asked_about():
    flow = waiting_flow()
    start_flowrun(flow)
    drafting.set_enabled(flow, "wait", False)
    assert [each.uid for each in plan_move(publish(flow)).stranded] == ["wait"]


def test_blocks_that_are_still_there_stay_open_for_a_run_that_goes_to_another_row():
    flow = make_flow(
        For(5, [Delay(uid="wait"), If("true", [Log("x", uid="log")], uid="if")], uid="for"),
    )
    with travel_to(NOON) as clock:
        run = start_flowrun(flow)
        clock.advance(hours=1)
        run_until_idle()
        before = again(run).cursor["frames"][0]
        drafting.delete_action(flow, "wait")
        version = publish(flow)
        move_runs_to_version(version, [run.pk], where={"wait": "log"})
        frames = again(run).cursor["frames"]
    assert frames[0] == before
    assert [frame["at"] for frame in frames] == ["for", "if", "log"]
    run_until_idle()
    assert trace_of(again(run)).count("log") == 1 + 4


def test_a_run_that_has_not_begun_just_begins_by_the_new_version():
    flow = waiting_flow()
    later = settings.CLOCK() + timedelta(days=1)
    run = start_flowrun(flow, continue_after=later)
    drafting.delete_action(flow, "a")
    version = publish(flow)
    assert plan_move(version).fitting == [run.pk]
    move_runs_to_version(version, [run.pk])
    assert (again(run).version, again(run).due) == (version, later)


@pytest.mark.parametrize("gone", [False, True])
def test_a_paused_run_is_moved_and_stays_paused(gone: bool):
    flow = waiting_flow()
    run = start_flowrun(flow)
    pause(run)
    if gone:
        drafting.delete_action(flow, "wait")
    version = new_version(flow, note="x")
    assert move_runs_to_version(version, [run.pk], where={"wait": "b"}).runs == [run.pk]
    assert (again(run).status, again(run).version) == (Status.PAUSED, version)
    resume(again(run))
    run_until_idle()
    expected = ["a", "…", "b"] if gone else ["a", "wait"]
    assert trace_of(again(run)) == expected


def test_a_failed_run_is_moved_and_waits_for_somebody_all_the_same():
    flow = make_flow(Log("a"), UpdateState(n="1|divide:zero"), Log("c", uid="c"))
    run = start_flowrun(flow, state={"zero": 0})
    run_until_idle()
    assert again(run).status == Status.FAILED
    version = new_version(flow, uid="c", note="x")
    move_runs_to_version(version, [run.pk])
    assert (again(run).status, again(run).version) == (Status.FAILED, version)


def test_nobody_is_moved_while_a_worker_is_at_it():
    flow = waiting_flow()
    run = start_flowrun(flow)
    FlowRun.objects.filter(pk=run.pk).update(status=Status.RUNNING)
    version = new_version(flow, note="x")
    assert plan_move(version).busy == [run.pk]
    assert "worker" in move_runs_to_version(version, [run.pk]).stayed[run.pk]
    assert again(run).version.number == 1


def test_runs_that_are_over_or_of_other_flows_are_left_alone():
    flow, other = waiting_flow(), make_flow(Delay(uid="wait"), name="Other")
    done = start_flowrun(make_flow(Log("x"), name="Third"))
    theirs = start_flowrun(other)
    version = new_version(flow, note="x")
    moved = move_runs_to_version(version, [done.pk, theirs.pk, 10**9])
    assert (moved.runs, len(moved.stayed)) == ([], 3)
    assert again(theirs).version.flow == other
    assert len(plan_move(version)) == 0


def test_moving_twice_moves_once():
    flow = waiting_flow()
    run = start_flowrun(flow)
    version = new_version(flow, note="x")
    move_runs_to_version(version, [run.pk])
    assert move_runs_to_version(version, [run.pk]).runs == []
    assert run.events.filter(kind="operated").count() == 1


def test_planning_reads_each_version_once(django_assert_max_num_queries: Any):
    flow = waiting_flow()
    for _run in range(10):
        start_flowrun(flow)
    version = new_version(flow, note="x")
    moving.plan_move(version)
    with django_assert_max_num_queries(5):
        assert len(plan_move(version).fitting) == 10


def test_a_run_inside_a_block_that_was_wrapped_is_asked_about():
    flow = waiting_flow()
    start_flowrun(flow)
    shaping.wrap(flow, ["wait"], "group")
    [stranded] = plan_move(publish(flow)).stranded
    assert stranded.suggestion == "wait"


def test_branches_are_moved_by_themselves_and_stay_in_their_branch():
    flow = make_flow(
        Log("before", uid="before"),
        row(
            "parallel",
            row("branch", Delay(uid="wait"), Log("one", uid="one"), uid="b1"),
            row("branch", Log("two", uid="two"), uid="b2"),
            uid="p",
        ),
    )
    start_flowrun(flow)
    run_until_idle()
    parent = FlowRun.objects.get(root_uid="")
    branch = FlowRun.objects.get(root_uid="b1")
    version = new_version(flow, uid="one", note="x")
    assert set(plan_move(version).fitting) == {parent.pk, branch.pk}
    drafting.delete_action(flow, "wait")
    version = publish(flow)
    assert [each.runs for each in plan_move(version).stranded] == [[branch.pk]]
    stayed = move_runs_to_version(version, [branch.pk], where={"wait": "two"}).stayed
    assert "inside that branch" in stayed[branch.pk]
    assert move_runs_to_version(version, [branch.pk], where={"wait": "one"}).runs == [branch.pk]
    assert [frame["at"] for frame in again(branch).cursor["frames"]] == ["b1", "one"]
    run_until_idle()
    assert {each.outcome for each in FlowRun.objects.all()} == {"complete"}
