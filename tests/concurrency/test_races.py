"""Several processes at the same rows at the same moment.

Each proof is a ``check_…`` that also has to fail on an engine with one thing wrong.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

import pytest
from django.conf import settings as project
from django.db import connection, connections
from django.test import override_settings
from django.utils import timezone

from flowcontrol import claiming
from flowcontrol.base import BaseAction, Directive, Effects, FlowDirective, RunHandle
from flowcontrol.engine import (
    cancel_flowrun,
    continue_flowruns,
    create_flowrun,
    retry_flowrun,
    start_flowrun,
    wake_flowrun,
)
from flowcontrol.exceptions import StartRefused, TransitionRefused
from flowcontrol.models import Firing, FlowRun, Outcome, Status, Trigger, object_reference
from flowcontrol.operating import pause, resume
from flowcontrol.registry import actions
from flowcontrol.testing import Delay, Log, UpdateState, make_flow, row, run_until_idle
from tests.concurrency.blocks import Outside, weighed, world
from tests.concurrency.forking import Child, forked
from tests.concurrency.test_zombie import NOTHING_PROVED
from tests.concurrency.variants import Variant
from tests.testapp.models import Parcel, Station

pytestmark = pytest.mark.django_db(transaction=True)

on_postgres = pytest.mark.skipif(
    project.DATABASE != "postgres", reason="On SQLite one writer keeps all others waiting."
)


class EndTheProcess(BaseAction):
    """Ends its process without a word, if the run's state says so."""

    name = "proof.end_the_process"
    effects: ClassVar[Effects] = "none"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        if run.state.get("poisonous"):
            world().call(run.step_key, "died")
            os._exit(7)
        return None


class Hold(BaseAction):
    """Waits to be woken from code."""

    name = "proof.hold"
    effects: ClassVar[Effects] = "none"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        return FlowDirective.SUSPEND()


@pytest.fixture(autouse=True)
def _own_actions(outside: Outside) -> Iterator[None]:
    with actions.temporarily(EndTheProcess, Hold):
        yield


@contextmanager
def at_once(number: int, work: Callable[[int], Any], outside: Outside) -> Iterator[list[Child]]:
    """``number`` processes that begin ``work`` at the same moment, when all are there."""

    def begin(place: int) -> Any:
        connection.ensure_connection()
        outside.mark(f"ready {place}")
        outside.wait_for("start")
        return work(place)

    with ExitStack() as stack:
        children = [stack.enter_context(forked(partial(begin, place))) for place in range(number)]
        for place in range(number):
            outside.wait_for(f"ready {place}")
        outside.mark("start")
        yield children


def results(number: int, work: Callable[[int], Any], outside: Outside) -> list[Any]:
    with at_once(number, work, outside) as children:
        return [child.result() for child in children]


def labels() -> list[str]:
    return list(Parcel.objects.values_list("label", flat=True))


# --- sweeps -------------------------------------------------------------------------------------


NOT_LOCKED = Variant(
    "what is picked is not locked before it is claimed",
    "flowcontrol.claiming.claim_due",
    'lock = "FOR UPDATE OF r SKIP LOCKED"',
    'lock = ""',
)
CLAIM_UNPROVED = Variant(
    "a claim does not ask whether it is somebody else's by now",
    "flowcontrol.claiming.claim_due",
    "r.status IN ('pending', 'waiting') AND r.due IS NOT NULL",
    "r.due IS NOT NULL",
)
SELECT_THEN_UPDATE = Variant(
    "what is due is selected first and claimed by its keys afterwards",
    "flowcontrol.claiming.claim_due",
    """    return _take(
        connection,
        f"WITH active AS MATERIALIZED ({active}), picked AS MATERIALIZED ({picked})",
        [*is_due, limit, *is_due, limit, limit],
        "id IN (SELECT id FROM picked)",
    )
""",
    """    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH active AS MATERIALIZED ({active}), picked AS MATERIALIZED ({picked}) "
            "SELECT id FROM picked",
            [*is_due, limit, *is_due, limit, limit],
        )
        keys = [str(row[0]) for row in cursor.fetchall()]
    return _take(connection, "", [], f"id IN ({', '.join(keys) or 'NULL'})")
""",
)


def check_overlapping_sweeps(outside: Outside, processes: int = 4) -> None:
    flow = make_flow(
        UpdateState(n="1"), row("proof.insert"), Log("x"), row("proof.insert"), row("proof.call")
    )
    for _number in range(60):
        create_flowrun(flow)

    def work(place: int) -> list[int]:
        told = [0, 0]
        while FlowRun.objects.exclude(status=Status.DONE).exists():
            tally = continue_flowruns(batch_size=7)
            told = [told[0] + tally.done, told[1] + tally.lost]
        return told

    told = results(processes, work, outside)
    assert FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == 60
    assert (len(labels()), len(set(labels()))) == (180, 180), "A database effect happened twice."
    calls = [call.step_key for call in outside.calls()]
    assert (len(calls), len(set(calls))) == (60, 60), "An outside call happened twice."
    # Nobody claimed what somebody else had claimed.
    assert (sum(done for done, _lost in told), sum(lost for _done, lost in told)) == (60, 0)


def test_overlapping_sweeps_do_everything_once(outside):
    check_overlapping_sweeps(outside)


def check_the_same_rows_are_claimed_once(outside: Outside) -> None:
    """Many claims at the very same moment: where two statements make one, rows go to two."""
    flow = make_flow(Log("x"))
    for _number in range(200):
        create_flowrun(flow)

    def work(place: int) -> list[int]:
        now = timezone.now()
        return [claim.id for _number in range(12) for claim in claiming.claim_due(now, 5)]

    claimed = [pk for pks in results(4, work, outside) for pk in pks]
    assert len(claimed) == len(set(claimed)), "A run was claimed twice."
    assert len(claimed) == 200


def test_the_same_rows_are_claimed_once(outside):
    check_the_same_rows_are_claimed_once(outside)


@pytest.mark.parametrize(
    "variant",
    [pytest.param(NOT_LOCKED, marks=on_postgres), CLAIM_UNPROVED, SELECT_THEN_UPDATE],
    ids=str,
)
def test_the_proof_of_claims_notices(outside, variant):
    with variant.applied(), pytest.raises(AssertionError, match="claimed twice"):
        check_the_same_rows_are_claimed_once(outside)


# --- starting -----------------------------------------------------------------------------------


NO_LOCK = Variant(
    "limits are looked at without the lock",
    "flowcontrol.starting._insert",
    "flow = Flow.objects.locked(flow.pk)",
    "flow = Flow.objects.get(pk=flow.pk)",
)


def check_a_limit(outside: Outside, limit: int) -> None:
    """Eight processes start runs and end them again; nobody ever sees more than the limit."""
    flow = make_flow(Delay("P1D"), max_concurrent=limit, slug="limited")

    def work(place: int) -> int:
        started = 0
        for _number in range(12):
            try:
                run = create_flowrun("limited")
            except StartRefused:
                continue
            started += 1
            time.sleep(0.003)
            cancel_flowrun(run)
        return started

    most = 0
    with at_once(8, work, outside) as children:
        while any(child.is_alive() for child in children):
            most = max(most, FlowRun.objects.holding_a_slot().count())
        started = [child.result() for child in children]
    assert 1 <= most <= limit, f"{most} runs at the same time."
    assert sum(started) >= limit
    refused = FlowRun.objects.filter(flow=flow, outcome=Outcome.REFUSED).count()
    assert sum(started) + refused == 8 * 12


@pytest.mark.parametrize("limit", [1, 3])
def test_a_limit_holds_however_many_start_at_once(outside, limit):
    check_a_limit(outside, limit)


@on_postgres
def test_the_proof_of_limits_notices(outside):
    with NO_LOCK.applied(), pytest.raises(AssertionError, match="runs at the same time"):
        check_a_limit(outside, 1)


# What is to be replaced has to be there still when the third run starts.
@pytest.mark.parametrize(("when_full", "wait"), [("queue", 0.002), ("restart", 0.1)])
def test_a_limit_holds_while_runs_are_queued_or_replaced(outside, when_full, wait):
    delay = Delay(f"PT{wait}S")
    make_flow(row("proof.insert"), delay, slug="busy", max_concurrent=2, when_full=when_full)

    def work(place: int) -> int:
        for _number in range(5):
            start_flowrun("busy")
            continue_flowruns(max_runs=3)
        return 0

    most = 0
    with at_once(6, work, outside) as children:
        while any(child.is_alive() for child in children):
            most = max(most, FlowRun.objects.holding_a_slot().count())
        for child in children:
            child.result()
    assert 1 <= most <= 2
    time.sleep(5 * wait)
    run_until_idle()
    runs = FlowRun.objects.all()
    assert set(runs.values_list("status", flat=True)) == {Status.DONE}
    outcomes = set(runs.values_list("outcome", flat=True))
    assert outcomes <= {Outcome.COMPLETE, Outcome.CANCELED}
    assert (Outcome.CANCELED in outcomes) == (when_full == "restart")
    assert len(labels()) == len(set(labels()))


@pytest.mark.parametrize("limits", [{}, {"max_concurrent": 1}], ids=["free", "limited"])
def test_one_key_is_one_run_however_many_start_it_at_once(outside, limits):
    make_flow(Delay("P1D"), slug="once", **limits)
    told = results(16, lambda place: create_flowrun("once", key="LH400").pk, outside)
    assert len(set(told)) == 1
    assert FlowRun.objects.count() == 1


def test_retries_that_meet_take_no_more_slots_than_there_are(outside):
    flow = make_flow(Log("{{ n|length }}"), Delay("P1D"), slug="retried", max_concurrent=2)
    failed = [start_flowrun(flow).pk for _number in range(6)]

    def work(place: int) -> str:
        run = FlowRun.objects.get(pk=failed[place])
        retry_flowrun(run)
        return run.status

    told = results(6, work, outside)
    assert sorted(told) == ["pending"] * 2 + ["queued"] * 4


# --- firings ------------------------------------------------------------------------------------


def test_firings_are_matched_once_however_many_look_for_them(outside):
    flow = make_flow(UpdateState(by="trigger.by"))
    Trigger.objects.create(name=weighed.name, flow=flow, active_at=timezone.now())
    station = Station.objects.create(code="JFK", name="x")
    at = timezone.now() + timedelta(seconds=1)
    Firing.objects.bulk_create(
        Firing(
            name=weighed.name,
            at=at,
            payload={"by": number},
            **object_reference(station),
        )
        for number in range(100)
    )

    def work(place: int) -> int:
        return sum(continue_flowruns(batch_size=9).matched for _sweep in range(4))

    told = results(4, work, outside)
    run_until_idle()
    assert sum(told) == 100
    assert sorted(run.state["by"] for run in FlowRun.objects.all()) == list(range(100))


def test_of_many_that_wake_a_run_at_once_one_does(outside):
    run = start_flowrun(make_flow(row("proof.hold", result_key="by")))
    told = results(8, lambda place: wake_flowrun(run, {"place": place}), outside)
    run_until_idle()
    run.refresh_from_db()
    assert told.count(True) == 1
    assert run.state == {"by": {"place": told.index(True)}}


# --- kills --------------------------------------------------------------------------------------


NO_RESCUE = Variant(
    "nobody rescues",
    "flowcontrol.sweeping._recover",
    "while may_go_on() and (suspect := claim_suspect()) is not None:",
    "while (suspect := None) is not None:",
)
ONCE_AT_START_UP = Variant(
    "what is in doubt is claimed like everything else, in batches that do not count",
    "flowcontrol.claiming.claim_suspect",
    "rescue=True",
    "rescue=False",
)


def check_a_kill_in_the_middle(outside: Outside, patience: float = 15) -> None:
    """Kill -9 among 12 runs; after the lease the next sweeps finish them all."""
    flow = make_flow(
        UpdateState(n="1"), row("proof.insert"), row("proof.call", seconds=0.02), Log("x")
    )
    for _number in range(12):
        create_flowrun(flow)
    with override_settings(FLOWCONTROL_LEASE_SECONDS=0.5):
        with forked(lambda: continue_flowruns().done) as worker:
            outside.wait_for_calls(4)
            worker.kill()
        held = FlowRun.objects.filter(claim_token__isnull=False).count()
        assert held >= 6
        deadline = time.monotonic() + patience
        while FlowRun.objects.exclude(status=Status.DONE).exists():
            assert time.monotonic() < deadline, "Runs of a killed worker are stuck."
            continue_flowruns()
            time.sleep(0.05)
    assert FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == 12
    inserted = [label for label in labels() if not label.startswith("said")]
    assert (len(inserted), len(set(inserted))) == (12, 12)
    said = [label for label in labels() if label.startswith("said")]
    assert (len(said), len(set(said))) == (12, 12)
    calls = [call.step_key for call in outside.calls()]
    # The one call that the kill interrupted was made again, under the same key.
    assert len(set(calls)) == 12
    assert len(calls) - 12 <= 1


def test_what_a_killed_worker_held_is_finished_after_its_lease(outside):
    check_a_kill_in_the_middle(outside)


def test_the_proof_of_kills_notices_that_nobody_rescues(outside):
    with NO_RESCUE.applied(), pytest.raises(AssertionError, match="stuck"):
        check_a_kill_in_the_middle(outside, patience=2)


def check_a_run_that_ends_its_process(outside: Outside, patience: float = 20) -> None:
    flow = make_flow(row("proof.insert"), row("proof.end_the_process"), row("proof.insert"))
    runs = [create_flowrun(flow, state={"poisonous": number == 3}) for number in range(8)]
    with override_settings(FLOWCONTROL_LEASE_SECONDS=0.2, FLOWCONTROL_MAX_RESCUES=2):
        deadline = time.monotonic() + patience
        while FlowRun.objects.exclude(status__in=(Status.DONE, Status.FAILED)).exists():
            assert time.monotonic() < deadline, "The run ends its workers for ever."
            with forked(lambda: continue_flowruns().done) as worker:
                while worker.is_alive():
                    time.sleep(0.01)
            time.sleep(0.1)
    poisonous = runs.pop(3)
    poisonous.refresh_from_db()
    assert poisonous.status == Status.FAILED
    assert "Its worker was lost 3 times at this step" in poisonous.reason
    assert [call.said for call in outside.calls()] == ["died"] * 3
    for run in runs:
        run.refresh_from_db()
        assert (run.outcome, run.rescues) == (Outcome.COMPLETE, 0)
    assert (len(labels()), len(set(labels()))) == (15, 15)


def test_a_run_that_ends_its_process_fails_alone(outside):
    check_a_run_that_ends_its_process(outside)


def test_the_proof_of_poison_notices_that_rescues_are_not_counted(outside):
    with ONCE_AT_START_UP.applied(), pytest.raises(AssertionError, match="for ever"):
        check_a_run_that_ends_its_process(outside, patience=4)


# --- people against workers ---------------------------------------------------------------------


FULL_SAVE = Variant(
    "a worker saves the whole run",
    "flowcontrol.writing._update_run",
    "    if event is None:",
    """    run = FlowRun.objects.get(pk=claim.id)
    for name, value in _run_values(row).items():
        if name in ("state", "items", "cursor"):
            if value is None:
                continue
            value = __import__("json").loads(value)
        setattr(run, name, value)
    run.save()
    return True
    if event is None:""",
)


@on_postgres
@pytest.mark.parametrize("decide", [cancel_flowrun, pause], ids=["cancel", "pause"])
def test_what_a_person_decides_during_a_database_step_wins(outside, decide):
    flow = make_flow(row("proof.insert"), row("proof.insert_and_stop"), row("proof.insert"))
    run = create_flowrun(flow)
    with forked(lambda: continue_flowruns().lost) as worker:
        outside.wait_for("inside")
        run.refresh_from_db()
        decide(run)
        outside.mark("go on")
        assert worker.result() == 1
    run.refresh_from_db()
    assert run.status == (Status.PAUSED if decide is pause else Status.DONE)
    assert len(labels()) == 1, "The step's effect did not roll back."
    if decide is pause:
        resume(run)
        run_until_idle()
        assert (len(labels()), len(set(labels()))) == (3, 3)


def check_a_cancel_during_an_outside_call(outside: Outside) -> None:
    run = create_flowrun(make_flow(row("proof.call_and_stop"), row("proof.insert")))
    with forked(lambda: continue_flowruns().lost) as worker:
        outside.wait_for("inside")
        run.refresh_from_db()
        cancel_flowrun(run, reason="not needed")
        outside.mark("go on")
        lost = worker.result()
    run.refresh_from_db()
    assert (run.outcome, run.reason, labels()) == (Outcome.CANCELED, "not needed", [])
    assert lost == 1


@pytest.mark.parametrize("history", ["steps", "none"])
def test_a_cancel_during_an_outside_call_wins(outside, settings, history):
    settings.FLOWCONTROL_HISTORY = history
    check_a_cancel_during_an_outside_call(outside)


@pytest.mark.parametrize("variant", [NOTHING_PROVED, FULL_SAVE], ids=str)
def test_the_proof_of_cancelling_notices(outside, settings, variant):
    # With history the events would collide, which is a second fence.
    settings.FLOWCONTROL_HISTORY = "none"
    with variant.applied(), pytest.raises(AssertionError, match="complete"):
        check_a_cancel_during_an_outside_call(outside)


# --- SQLite -------------------------------------------------------------------------------------


@pytest.mark.skipif(project.DATABASE != "sqlite", reason="It is about one file of SQLite.")
def test_four_processes_on_one_sqlite_file_never_find_it_locked(outside):
    """Starting, sweeping, firing, cancelling: whatever raised would end its process."""
    flow = make_flow(row("proof.insert"), Delay("PT0.001S"), row("proof.insert"), slug="shared")
    Trigger.objects.create(name=weighed.name, flow=flow, active_at=timezone.now())
    station = Station.objects.create(code="JFK", name="x")

    def work(place: int) -> int:
        done = 0
        for number in range(15):
            run = create_flowrun("shared", key=f"{place}-{number}")
            weighed(station)
            done += continue_flowruns(batch_size=4).done
            if number % 5 == 0:
                # Another process may just have finished it, or be about to.
                with suppress(TransitionRefused):
                    pause(run)
                    resume(run)
        return done

    results(4, work, outside)
    time.sleep(0.01)
    run_until_idle()
    runs = FlowRun.objects.all()
    assert runs.count() == 4 * 15 * 2
    assert set(runs.values_list("outcome", flat=True)) == {Outcome.COMPLETE}
    assert (len(labels()), len(set(labels()))) == (240, 240)


def test_threads_of_one_process_sweep_side_by_side(outside):
    """As under ``runserver``, or in a Celery pool of threads."""
    flow = make_flow(row("proof.insert"), row("proof.insert"))
    for _number in range(30):
        create_flowrun(flow)
    errors: list[BaseException] = []
    handler = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        try:
            while FlowRun.objects.exclude(status=Status.DONE).exists():
                continue_flowruns(batch_size=4)
        except BaseException as error:  # noqa: BLE001 (told below)
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert (len(labels()), len(set(labels()))) == (60, 60)
    assert signal.getsignal(signal.SIGTERM) == handler
