"""Flows that start one another by ways that no row shows, and rows that never wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from flowcontrol.base import BaseAction, Directive, FlowDirective, RunHandle
from flowcontrol.depths import below, depth_here
from flowcontrol.engine import continue_flowruns, create_flowrun, retry_flowrun, start_flowrun
from flowcontrol.exceptions import StartRefused
from flowcontrol.models import Firing, FlowRun, Outcome, RunWait, Status, Trigger
from flowcontrol.operating import pause, resume
from flowcontrol.registry import actions
from flowcontrol.starting import promote_queued
from flowcontrol.testing import Log, While, make_flow, row, run_until_idle, travel_to
from tests.testapp.flows import parcel_weighed
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def action(does: Callable[[RunHandle], Directive | None], of: str = "database") -> Any:
    """An action ``test.act`` for the length of a block."""

    class Act(BaseAction):
        name = "test.act"
        effects = of  # type: ignore[assignment]

        def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
            return does(run)

    return actions.temporarily(Act)


# --- depth --------------------------------------------------------------------------------------


def fire_again(immediate: bool) -> Callable[[RunHandle], None]:
    def fire(run: RunHandle) -> None:
        parcel = Parcel.objects.create(label=run.step_key)
        parcel_weighed(parcel, payload={"kilos": 1}, immediate=immediate)

    return fire


@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.django_db(transaction=True)
def test_a_circle_of_triggers_ends_at_the_depth_limit_by_name(settings, immediate):
    settings.FLOWCONTROL_MAX_START_DEPTH = 3
    with action(fire_again(immediate)):
        flow = make_flow(row("test.act"), name="Round")
        Trigger.objects.create(name=parcel_weighed.name, flow=flow, active_at=LONG_AGO)
        start_flowrun(flow)
        run_until_idle()
    runs = FlowRun.objects.order_by("pk")
    assert [run.depth for run in runs] == [0, 1, 2, 3]
    assert {run.outcome for run in runs} == {Outcome.COMPLETE}
    last = Firing.objects.latest("pk")
    assert last.depth == 4
    assert last.results[0]["did"] == "refused"
    reason = last.results[0]["reason"]
    assert reason == (
        "Flows start one another 3 deep; “Round” is not started again by testapp.parcel_weighed."
    )


def test_a_run_that_code_starts_inside_an_action_is_one_deeper(settings):
    settings.FLOWCONTROL_MAX_START_DEPTH = 2
    refusals: list[str] = []

    def start(run: RunHandle) -> None:
        try:
            start_flowrun(run.flow)
        except StartRefused as refused:
            refusals.append(refused.reason)

    with action(start):
        start_flowrun(make_flow(row("test.act"), name="Round"))
        run_until_idle()
    assert sorted(FlowRun.objects.values_list("depth", flat=True)) == [0, 1, 2]
    assert refusals == ["Flows start one another 2 deep; “Round” is not started again by code."]


def test_the_depth_belongs_to_the_run_that_executes_and_ends_with_it():
    assert depth_here() == 0
    with below(0), below(4):
        assert depth_here() == 5
    with pytest.raises(KeyboardInterrupt), below(2):
        raise KeyboardInterrupt
    assert depth_here() == 0


# --- parks that are over at once ----------------------------------------------------------------


def test_asking_again_at_a_moment_that_has_come_counts_as_a_turn(settings):
    settings.FLOWCONTROL_MAX_HOT_LOOPS = 5
    with action(lambda run: FlowDirective.SUSPEND_AND_REPEAT(until=run.now), of="none"):
        run = create_flowrun(make_flow(row("test.act"), Log("never")))
        tally = continue_flowruns()
    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert "It went round 5 times without waiting." in run.reason
    assert tally.parked == 5


def test_a_loop_whose_waits_are_over_at_once_is_a_loop_that_never_waits(settings):
    settings.FLOWCONTROL_MAX_HOT_LOOPS = 5
    with action(lambda run: FlowDirective.SUSPEND(until=run.now), of="none"):
        run = create_flowrun(make_flow(While("true", [row("test.act")])))
        continue_flowruns()
    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert "It went round 5 times without waiting." in run.reason


def test_a_row_that_does_wait_may_ask_as_often_as_it_likes(settings):
    settings.FLOWCONTROL_MAX_HOT_LOOPS = 2
    rounds: list[int] = []

    def wait(run: RunHandle) -> Directive | None:
        rounds.append(1)
        if len(rounds) > 9:
            return None
        return FlowDirective.SUSPEND_AND_REPEAT(until=run.now.replace(year=2013 + len(rounds)))

    with action(wait, of="none"), travel_to(NOON) as clock:
        run = create_flowrun(make_flow(row("test.act")))
        for year in range(10):
            clock.move_to(NOON.replace(year=2013 + year))
            continue_flowruns()
    run.refresh_from_db()
    assert run.outcome == Outcome.COMPLETE


# --- memo ---------------------------------------------------------------------------------------


def test_what_an_action_changes_in_its_memo_counts_only_if_it_returns_it():
    seen: list[Any] = []

    def spoil(run: RunHandle) -> Directive | None:
        seen.append(run.memo and {"deep": list(run.memo["deep"])})
        if run.memo is None:
            return FlowDirective.SUSPEND_AND_REPEAT(memo={"deep": [1]}, until=run.now)
        run.memo["deep"].append(2)
        if len(seen) < 3:
            raise ValueError("half-way")
        return None

    with action(spoil):
        flow = make_flow(row("test.act"))
        run = start_flowrun(flow)
        run_until_idle()
        run.refresh_from_db()
        assert run.status == Status.FAILED
        assert run.cursor["frames"][0]["memo"] == {"deep": [1]}
        retry_flowrun(run)
        run_until_idle()
    run.refresh_from_db()
    assert (seen, run.outcome) == ([None, {"deep": [1]}, {"deep": [1]}], Outcome.COMPLETE)
    assert not RunWait.objects.exists()


# --- slots --------------------------------------------------------------------------------------


def test_a_run_that_is_paused_in_the_queue_takes_nobodys_slot():
    flow = make_flow(row("delay", duration="PT1H"), max_concurrent=1, when_full="queue")
    with travel_to(NOON) as clock:
        first, second, third = (create_flowrun(flow) for _number in range(3))
        pause(second)
        clock.advance(minutes=1)
        continue_flowruns()
        clock.advance(hours=2)
        run_until_idle()
        first.refresh_from_db()
        third.refresh_from_db()
        assert (first.status, third.status) == (Status.DONE, Status.WAITING)
        resume(second)
        assert promote_queued(clock()) == 0, "The third holds the only slot."
        pause(third)
        assert promote_queued(clock()) == 0, "It keeps its slot while it is paused."
