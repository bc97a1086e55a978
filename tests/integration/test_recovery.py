"""What happens to the runs of a worker that is lost, or late, or interrupted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from django.utils import timezone

from flowcontrol import holding
from flowcontrol.base import BaseAction, Effects
from flowcontrol.claiming import claim_due, claim_run, claim_suspect
from flowcontrol.engine import (
    cancel_flowrun,
    continue_flowruns,
    create_flowrun,
    execute_flowrun,
    retry_flowrun,
)
from flowcontrol.executing import execute_claims
from flowcontrol.models import Flow, FlowRun, Outcome, Status
from flowcontrol.registry import actions
from flowcontrol.testing import (
    Delay,
    Log,
    UpdateState,
    make_flow,
    row,
    run_until_idle,
    trace_of,
    travel_to,
)
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


class LoadParcel(BaseAction):
    name = "test.load"
    effects = "database"

    def run(self, *, run, obj, config):
        Parcel.objects.create(label=run.step_key)


class LoseTheWorker(BaseAction):
    """Ends the worker in the middle, if the run's state says so. Counts how often it was asked."""

    name = "test.lose"
    effects: ClassVar[Effects] = "external"
    asked: ClassVar[list[int]] = []

    def run(self, *, run, obj, config):
        self.asked.append(run.pk)
        if run.state.get("poisonous"):
            raise KeyboardInterrupt


class LoseTheWorkerAtOnce(LoseTheWorker):
    """Before anything was written."""

    name = "test.lose_at_once"
    effects = "none"


class TakeLong(BaseAction):
    name = "test.take_long"
    effects = "external"
    suspects: list[Any] = []

    def run(self, *, run, obj, config):
        time.sleep(1.0)
        self.suspects.append(claim_suspect())


@pytest.fixture(autouse=True)
def _own_actions() -> Iterator[None]:
    LoseTheWorker.asked, TakeLong.suspects = [], []
    with actions.temporarily(LoadParcel, LoseTheWorker, LoseTheWorkerAtOnce, TakeLong):
        yield


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is interrupted gives nothing back, as if it had been killed."""
    monkeypatch.setattr(holding, "release", lambda *args, **options: set())


def let_leases_expire() -> None:
    FlowRun.objects.filter(claim_token__isnull=False).update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )


def sweep_and_be_killed() -> None:
    with pytest.raises(KeyboardInterrupt):
        continue_flowruns()


# --- rescue ---------------------------------------------------------------------------------------


def test_a_run_whose_worker_was_lost_is_rescued_by_the_next_sweep_after_its_lease():
    run = create_flowrun(make_flow(UpdateState(a="1")))
    [claim] = claim_due(timezone.now(), 10)  # by a worker that is never heard of again
    assert claim.id == run.pk
    run.refresh_from_db()
    assert (run.status, run.claim_token) == (Status.RUNNING, claim.token)
    assert continue_flowruns().executed == 0
    let_leases_expire()
    tally = continue_flowruns()
    assert (tally.rescued, tally.executed, tally.done) == (1, 1, 1)
    run.refresh_from_db()
    assert (run.outcome, run.state, run.rescues) == (Outcome.COMPLETE, {"a": 1}, 0)
    assert (run.claim_token, run.lease_until) == (None, None)


def test_a_lease_is_as_long_as_the_setting_says(settings):
    settings.FLOWCONTROL_LEASE_SECONDS = 90
    run = create_flowrun(make_flow(Log("x")))
    claim_due(timezone.now(), 10)
    run.refresh_from_db()
    assert run.lease_until is not None
    left = (run.lease_until - timezone.now()).total_seconds()
    assert 80 < left <= 90


def test_due_times_follow_the_engines_clock_and_leases_the_databases():
    with travel_to(NOON):
        run = create_flowrun(make_flow(UpdateState(a="1")))
        assert claim_run(run.pk, NOON) is not None
        run.refresh_from_db()
        assert run.lease_until is not None
        assert abs(run.lease_until - timezone.now()) < timedelta(minutes=10)
        assert continue_flowruns().rescued == 0


def test_a_run_that_waits_is_nobodys_and_never_rescued():
    with travel_to(NOON):
        execute_flowrun(create_flowrun(make_flow(Delay("PT1H"))))
    assert claim_suspect() is None


@pytest.mark.usefixtures("killed")
def test_a_poisonous_run_fails_after_its_last_rescue_and_the_innocent_go_on(settings):
    settings.FLOWCONTROL_MAX_RESCUES = 2
    flow = make_flow(UpdateState(a="1"), row("test.lose"), UpdateState(a="2"))
    runs = [create_flowrun(flow, state={"poisonous": number == 1}) for number in range(4)]
    sweep_and_be_killed()
    for _rescue in range(2):
        let_leases_expire()
        sweep_and_be_killed()
    let_leases_expire()
    tally = continue_flowruns()
    assert tally.rescued >= 1
    run_until_idle()
    for run in runs:
        run.refresh_from_db()
    poisonous = runs.pop(1)
    assert (poisonous.status, poisonous.state) == (
        Status.FAILED,
        {"a": 1, "poisonous": True},
    )
    assert "Its worker was lost 3 times at this step" in poisonous.reason
    # Once by its own worker, and by each of its two rescuers.
    assert LoseTheWorker.asked.count(poisonous.pk) == 3
    assert {(run.outcome, run.state["a"]) for run in runs} == {(Outcome.COMPLETE, 2)}
    assert {LoseTheWorker.asked.count(run.pk) for run in runs} == {1}


@pytest.mark.usefixtures("killed")
def test_being_in_the_batch_of_a_poisonous_run_costs_an_innocent_one_rescue_at_most():
    flow = make_flow(row("test.lose"), Delay("PT1H"))
    create_flowrun(flow, state={"poisonous": True})
    innocents = [create_flowrun(flow) for _number in range(3)]
    sweep_and_be_killed()
    rescued: dict[int, int] = {}
    kills = 0
    for _sweep in range(8):
        let_leases_expire()
        # The suspects are executed alone: only the guilty one goes down with its rescuer.
        try:
            continue_flowruns(max_runs=1)
        except KeyboardInterrupt:
            kills += 1
        for run in innocents:
            run.refresh_from_db()
            rescued[run.pk] = max(rescued.get(run.pk, 0), run.rescues)
    assert kills == 3
    assert {run.status for run in innocents} == {Status.WAITING}
    assert set(rescued.values()) <= {0, 1}
    assert {LoseTheWorker.asked.count(run.pk) for run in innocents} == {1}


@pytest.mark.usefixtures("killed")
def test_rescues_are_counted_apart_from_the_tries_of_a_step():
    policy = {"attempts": 2, "wait": 0, "jitter": 0}
    run = create_flowrun(
        make_flow(UpdateState(a="1"), row("test.lose", retry=policy)), state={"poisonous": True}
    )
    sweep_and_be_killed()
    let_leases_expire()
    sweep_and_be_killed()
    run.refresh_from_db()
    assert (run.rescues, run.attempts) == (1, 0)


@pytest.mark.usefixtures("killed")
def test_poison_is_never_retried_by_policy(settings):
    settings.FLOWCONTROL_MAX_RESCUES = 0
    policy = {"attempts": 9, "wait": 0, "jitter": 0}
    run = create_flowrun(make_flow(row("test.lose", retry=policy)), state={"poisonous": True})
    sweep_and_be_killed()
    let_leases_expire()
    continue_flowruns()
    run.refresh_from_db()
    assert (run.status, LoseTheWorker.asked) == (Status.FAILED, [run.pk])
    retry_flowrun(run)
    assert run.rescues == 0
    sweep_and_be_killed()
    assert len(LoseTheWorker.asked) == 2


def test_a_rescued_run_of_a_paused_flow_waits_until_the_flow_goes_on():
    flow = make_flow(UpdateState(a="1"))
    run = create_flowrun(flow)
    claim_due(timezone.now(), 10)
    Flow.objects.filter(pk=flow.pk).update(paused_at=timezone.now())
    let_leases_expire()
    continue_flowruns()
    run.refresh_from_db()
    assert (run.state, run.is_open) == ({}, True)
    Flow.objects.filter(pk=flow.pk).update(paused_at=None)
    continue_flowruns()
    run.refresh_from_db()
    assert run.outcome == Outcome.COMPLETE


# --- late workers ---------------------------------------------------------------------------------


def test_the_write_of_a_late_worker_changes_nothing():
    run = create_flowrun(make_flow(UpdateState(n="n|add:1"), Log("end")), state={"n": 0})
    [late] = claim_due(timezone.now(), 10)
    let_leases_expire()
    continue_flowruns()
    before = FlowRun.objects.values().get(pk=run.pk)
    tally = execute_claims([late], timezone.now)
    assert (tally.lost, tally.done) == (1, 0)
    assert FlowRun.objects.values().get(pk=run.pk) == before
    assert (run.events.count(), trace_of(run)) == (1, ["update", "log"])


def test_a_late_worker_in_a_batch_loses_only_the_run_that_it_lost():
    flow = make_flow(UpdateState(n="n|add:1"))
    lost, kept = (create_flowrun(flow, state={"n": 0}) for _number in range(2))
    claims = claim_due(timezone.now(), 10)
    cancel_flowrun(lost)
    tally = execute_claims(claims, timezone.now)
    assert (tally.lost, tally.done) == (1, 1)
    for run, state, outcome in ((lost, {"n": 0}, "canceled"), (kept, {"n": 1}, "complete")):
        run.refresh_from_db()
        assert (run.state, run.outcome) == (state, outcome)


def test_the_effect_of_a_late_worker_rolls_back():
    run = create_flowrun(make_flow(row("test.load")))
    [late] = claim_due(timezone.now(), 10)
    let_leases_expire()
    continue_flowruns()
    assert Parcel.objects.count() == 1
    execute_claims([late], timezone.now)
    assert Parcel.objects.count() == 1
    assert trace_of(run) == ["test.load"]


def test_a_late_worker_does_not_give_back_what_is_not_its_any_more():
    run = create_flowrun(make_flow(row("test.lose_at_once")), state={"poisonous": True})
    [late] = claim_due(timezone.now(), 10)
    let_leases_expire()
    rescued = claim_suspect()
    assert rescued is not None
    with pytest.raises(KeyboardInterrupt):
        execute_claims([late], timezone.now)
    run.refresh_from_db()
    assert (run.status, run.claim_token) == (Status.RUNNING, rescued.token)


# --- leases ---------------------------------------------------------------------------------------


def test_a_long_step_of_a_living_worker_keeps_its_lease(settings):
    settings.FLOWCONTROL_LEASE_SECONDS = 0.5
    run = create_flowrun(make_flow(row("test.take_long")))
    execute_flowrun(run)
    assert TakeLong.suspects == [None]
    assert run.outcome == Outcome.COMPLETE


def test_a_step_that_takes_longer_than_any_step_may_loses_its_run(settings):
    settings.FLOWCONTROL_LEASE_SECONDS = 0.3
    settings.FLOWCONTROL_MAX_STEP_SECONDS = 0.2
    run = create_flowrun(make_flow(row("test.take_long")))
    execute_flowrun(run)
    [rescued] = TakeLong.suspects
    assert rescued is not None
    assert (run.status, run.claim_token) == (Status.RUNNING, rescued.token)


def test_the_rest_of_a_batch_is_kept_while_one_of_its_runs_takes_long(settings):
    settings.FLOWCONTROL_LEASE_SECONDS = 0.5
    flow = make_flow(row("test.take_long"))
    for _number in range(2):
        create_flowrun(flow)
    tally = continue_flowruns()
    assert (tally.done, TakeLong.suspects) == (2, [None, None])


# --- interrupts -----------------------------------------------------------------------------------


def test_an_interrupted_worker_gives_back_what_it_has_not_written():
    flow = make_flow(UpdateState(a="1"), row("test.load"), row("test.lose"), UpdateState(a="2"))
    written, interrupted, untouched = (
        create_flowrun(flow, state={"poisonous": number == 1}) for number in range(3)
    )
    sweep_and_be_killed()
    for run in (written, interrupted, untouched):
        run.refresh_from_db()
    assert written.outcome == Outcome.COMPLETE
    assert (interrupted.status, interrupted.action_uid) == (Status.PENDING, "3")
    assert (untouched.status, untouched.visit) == (Status.PENDING, 0)
    for run in (interrupted, untouched):
        assert (run.claim_token, run.lease_until) == (None, None)
        assert (run.attempts, run.rescues) == (0, 0)
    FlowRun.objects.update(state={})
    run_until_idle()
    assert set(FlowRun.objects.values_list("outcome", flat=True)) == {"complete"}
    assert Parcel.objects.count() == 3
    assert LoseTheWorker.asked.count(interrupted.pk) == 2


def test_what_was_given_back_is_due_at_once_by_the_engines_clock():
    with travel_to(NOON) as clock:
        run = create_flowrun(make_flow(Delay("PT1H"), row("test.lose")), state={"poisonous": True})
        run_until_idle()
        clock.advance(hours=1)
        sweep_and_be_killed()
        run.refresh_from_db()
        assert (run.status, run.due) == (Status.PENDING, clock.moment)
