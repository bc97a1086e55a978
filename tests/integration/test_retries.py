"""What becomes of a step that raised: tried again by policy, or failed with everything told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings

from flowcontrol.base import BaseAction, Continue, RetryLater
from flowcontrol.engine import execute_flowrun, retry_flowrun, start_flowrun
from flowcontrol.exceptions import AuthorError
from flowcontrol.failures import wait_before_retry
from flowcontrol.models import FlowRun, Outcome, RunEvent, Status
from flowcontrol.operating import explain, run_now
from flowcontrol.registry import actions
from flowcontrol.testing import (
    Clock,
    For,
    If,
    Log,
    UpdateState,
    make_flow,
    row,
    run_until_idle,
    trace_of,
    travel_to,
)

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)
STEADY = {"jitter": 0}


class TowerBusy(ConnectionError):
    """What the outside answers in these tests."""


class CallTower(BaseAction):
    """Fails with what is next in ``troubles``, until none is left."""

    name = "test.call_tower"
    effects = "external"
    troubles: list[BaseException] = []
    attempts: list[int] = []

    def run(self, *, run, obj, config):
        self.attempts.append(run.attempt)
        if self.troubles:
            raise self.troubles.pop(0)
        return Continue("cleared")


@pytest.fixture(autouse=True)
def tower() -> Iterator[type[CallTower]]:
    CallTower.troubles, CallTower.attempts = [], []
    with actions.temporarily(CallTower):
        yield CallTower


@pytest.fixture
def clock() -> Iterator[Clock]:
    with travel_to(NOON) as clock:
        yield clock


def call(retry: dict[str, Any] | None, **fields: Any) -> Any:
    return make_flow(row("test.call_tower", retry=retry, result_key="answer", **fields))


def waits_of(run: FlowRun, clock: Clock) -> list[float]:
    """The seconds before each further try, living through them."""
    waits: list[float] = []
    while run.status == Status.WAITING:
        assert run.due is not None
        assert [wait.kind for wait in run.waits.all()] == ["retry"]
        waits.append((run.due - clock.moment).total_seconds())
        clock.move_to(run.due - timedelta(milliseconds=1))
        assert run_until_idle() == 0
        clock.move_to(run.due)
        assert run_until_idle() == 1
        run.refresh_from_db()
    return waits


def failures(run: FlowRun) -> list[tuple[str, int]]:
    """Kind and attempt of each row of history that tells of an error."""
    events = RunEvent.objects.filter(run=run, detail__has_key="attempt").order_by("seq")
    return [(event.kind, event.detail["attempt"]) for event in events if event.detail]


# --- policies -------------------------------------------------------------------------------------


def test_waits_grow_by_the_factor_up_to_the_longest(tower, clock):
    tower.troubles[:] = [TowerBusy() for _try in range(5)]
    run = start_flowrun(
        call({"attempts": 6, "wait": 10, "factor": 3, "max_wait": 100, **STEADY}),
    )
    assert waits_of(run, clock) == [10, 30, 90, 100, 100]
    assert (run.outcome, run.state) == (Outcome.COMPLETE, {"answer": "cleared"})
    assert tower.attempts == [1, 2, 3, 4, 5, 6]
    assert failures(run) == [("retry", 1), ("retry", 2), ("retry", 3), ("retry", 4), ("retry", 5)]
    assert trace_of(run) == ["test.call_tower"]


def test_after_the_last_attempt_the_run_is_failed(tower, clock):
    tower.troubles[:] = [TowerBusy(f"try {number}") for number in (1, 2, 3)]
    run = start_flowrun(call({"attempts": 3, "wait": 1, **STEADY}))
    assert waits_of(run, clock) == [1, 2]
    assert (run.status, run.attempts) == (Status.FAILED, 3)
    assert run.reason == "Row 'test.call_tower' (1): TowerBusy: try 3"
    assert failures(run) == [("retry", 1), ("retry", 2), ("failed", 3)]


def test_without_a_policy_the_first_error_is_the_last(tower, clock):
    tower.troubles[:] = [TowerBusy()]
    run = start_flowrun(call(None))
    assert (run.status, tower.attempts) == (Status.FAILED, [1])


def test_the_policy_of_a_type_holds_for_its_rows_unless_they_have_their_own(clock, monkeypatch):
    monkeypatch.setattr(CallTower, "retry", {"attempts": 2, "wait": 5, **STEADY})
    with actions.temporarily(CallTower):
        CallTower.troubles[:] = [TowerBusy()]
        assert waits_of(start_flowrun(call(None)), clock) == [5]
        CallTower.troubles[:] = [TowerBusy()]
        assert waits_of(start_flowrun(call({"attempts": 2, "wait": 7, **STEADY})), clock) == [7]
        CallTower.troubles[:] = [TowerBusy()]
        assert start_flowrun(call({"attempts": 1})).status == Status.FAILED


@pytest.mark.parametrize(
    ("errors", "again"),
    [
        (["TowerBusy"], True),
        (["ConnectionError"], True),
        (["OSError"], True),
        ([f"{__name__}.TowerBusy"], True),
        (["TimeoutError", "TowerBusy"], True),
        (["TimeoutError"], False),
        ([], True),
    ],
)
def test_only_the_errors_that_the_policy_names_are_worth_another_try(tower, errors, again):
    tower.troubles[:] = [TowerBusy()]
    run = start_flowrun(call({"attempts": 2, "errors": errors}))
    assert (run.status == Status.WAITING) is again


def test_jitter_keeps_many_runs_from_coming_back_at_the_same_moment():
    policy = {"attempts": 5, "wait": 100, "factor": 1, "jitter": 0.25}
    waits = {wait_before_retry(TowerBusy(), policy, 1) for _run in range(200)}
    seconds = sorted(wait.total_seconds() for wait in waits if wait is not None)
    assert len(seconds) > 190
    assert 75 <= seconds[0] < 85 < 115 < seconds[-1] <= 125


def test_a_huge_factor_is_a_long_wait_and_no_overflow():
    policy = {"attempts": 1000, "wait": 1, "factor": 1e10, "max_wait": 60, **STEADY}
    assert wait_before_retry(TowerBusy(), policy, 900) == timedelta(seconds=60)


def test_a_step_that_got_through_begins_to_count_afresh(tower, clock):
    tower.troubles[:] = [TowerBusy(), TowerBusy()]
    flow = make_flow(
        For(3, [row("test.call_tower", retry={"attempts": 3, "wait": 1, **STEADY})]), Log("end")
    )
    run = start_flowrun(flow)
    assert waits_of(run, clock) == [1, 2]
    assert (run.outcome, run.attempts) == (Outcome.COMPLETE, 0)
    assert tower.attempts == [1, 2, 3, 1, 1]


def test_a_failed_run_that_is_retried_has_all_its_attempts_again(tower, clock):
    tower.troubles[:] = [TowerBusy() for _try in range(3)]
    run = start_flowrun(call({"attempts": 2, "wait": 1, **STEADY}))
    assert waits_of(run, clock) == [1]
    retry_flowrun(run)
    assert run.attempts == 0
    execute_flowrun(run)
    assert waits_of(run, clock) == [1]
    assert (run.outcome, tower.attempts) == (Outcome.COMPLETE, [1, 2, 1, 2])


def test_somebody_may_not_want_to_wait_for_the_next_try(tower, clock):
    tower.troubles[:] = [TowerBusy("later")]
    run = start_flowrun(call({"attempts": 2, "wait": 3600, **STEADY}))
    assert "tried again at" in explain(run)
    assert "TowerBusy: later" in explain(run)
    run_now(run)
    execute_flowrun(run)
    assert (run.outcome, tower.attempts) == (Outcome.COMPLETE, [1, 2])


# --- RetryLater -----------------------------------------------------------------------------------


def test_an_action_can_ask_to_be_tried_later_as_often_as_it_likes(tower, clock):
    tower.troubles[:] = [
        RetryLater(timedelta(minutes=minutes), "The tower is closed.") for minutes in range(1, 8)
    ]
    run = start_flowrun(call(None))
    assert run.reason == "RetryLater: The tower is closed."
    assert waits_of(run, clock) == [minutes * 60 for minutes in range(1, 8)]
    assert (run.outcome, run.reason) == (Outcome.COMPLETE, "")


@pytest.mark.parametrize("after", [30, "soon", None])
def test_later_has_to_be_a_length_of_time(tower, after):
    class Sloppy(BaseAction):
        name = "test.sloppy"
        effects = "none"

        def run(self, *, run, obj, config):
            raise RetryLater(after)

    with actions.temporarily(Sloppy):
        run = start_flowrun(make_flow(row("test.sloppy")))
    assert run.status == Status.FAILED
    assert "timedelta" in run.reason


# --- author's mistakes ----------------------------------------------------------------------------


def test_an_authors_mistake_is_never_tried_again(tower):
    tower.troubles[:] = [AuthorError("The template has no subject.")]
    run = start_flowrun(call({"attempts": 5, "wait": 1}))
    assert (run.status, run.attempts) == (Status.FAILED, 1)
    assert run.reason == "Row 'test.call_tower' (1): The template has no subject."


def test_a_wrong_condition_is_never_tried_again():
    condition = If("weight > 3", [Log("x")])
    condition["retry"] = {"attempts": 5, "wait": 1}
    run = start_flowrun(make_flow(condition), state={"weight": "heavy"})
    assert run.status == Status.FAILED
    assert "weight" in run.reason
    assert "heavy" in run.reason


def test_a_computed_value_that_does_not_fit_is_an_authors_mistake():
    delay = row("delay", duration={"$expr": "length"}, retry={"attempts": 5})
    run = start_flowrun(make_flow(delay), state={"length": "a while"})
    assert run.status == Status.FAILED
    assert "computed by 'length': 'a while'" in run.reason


# --- what is told ---------------------------------------------------------------------------------


def test_a_failure_tells_error_traceback_row_attempt_and_values(tower):
    flow = make_flow(
        UpdateState(seats="3"),
        row("test.call_tower", uid="tower", label="Ask the tower"),
    )
    tower.troubles[:] = [TowerBusy("no answer")]
    run = start_flowrun(flow)
    event = run.events.get(kind="failed")
    assert event.detail is not None
    assert event.detail["error"] == f"{__name__}.TowerBusy"
    assert event.detail["message"] == "TowerBusy: no answer"
    assert (event.detail["uid"], event.detail["attempt"]) == ("tower", 1)
    assert "Traceback (most recent call last)" in event.detail["traceback"]
    assert "raise self.troubles.pop(0)" in event.detail["traceback"]
    assert run.reason == event.reason == 'Row "Ask the tower": TowerBusy: no answer'
    assert (run.action_uid, run.state) == ("tower", {"seats": 3})
    assert "no answer" in explain(run)


def test_a_failed_expression_tells_its_text_and_what_it_read():
    flow = make_flow(If("seats > 2 and weight > 3", [Log("x")]))
    run = start_flowrun(flow, state={"seats": 3, "weight": None})
    detail = run.events.get(kind="failed").detail
    assert detail is not None
    assert detail["expression"] == "seats > 2 and weight > 3"
    assert dict(detail["values"]) == {"seats": "3", "weight": "None"}


def test_a_chain_of_causes_is_in_the_traceback(tower):
    error = RuntimeError("the call failed")
    error.__cause__ = TowerBusy("the reason below")
    tower.troubles[:] = [error]
    detail = start_flowrun(call(None)).events.get(kind="failed").detail
    assert detail is not None
    assert "the reason below" in detail["traceback"]


@override_settings(FLOWCONTROL_HISTORY="none")
def test_failures_are_told_even_where_history_is_turned_off(tower, clock):
    tower.troubles[:] = [TowerBusy(), TowerBusy()]
    run = start_flowrun(call({"attempts": 2, "wait": 1, **STEADY}))
    waits_of(run, clock)
    assert failures(run) == [("retry", 1), ("failed", 2)]
