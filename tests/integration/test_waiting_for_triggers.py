"""Wait for trigger and Wait until: what wakes a run, once, and what it does when nothing comes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings

from flowcontrol.base import BaseAction, FlowDirective
from flowcontrol.buffering import take_missed
from flowcontrol.engine import start_flowrun
from flowcontrol.firing import watch_models
from flowcontrol.matching import match_firings
from flowcontrol.models import Firing, FlowRun, Outcome, RunWait, Status
from flowcontrol.operating import retry, run_now
from flowcontrol.registry import actions, register_trigger, triggers
from flowcontrol.testing import (
    NOON,
    ForEach,
    Log,
    UpdateState,
    WaitForTrigger,
    While,
    make_flow,
    row,
    run_until_idle,
    travel_to,
)
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db


@pytest.fixture
def weighed():
    with triggers.temporarily():
        yield register_trigger("test.weighed", Parcel, "Weighed")


@pytest.fixture
def clock():
    with travel_to(NOON) as clock:
        yield clock


def box(label: str = "box") -> Parcel:
    return Parcel.objects.create(label=label, weight=1)


def waiting(*rows: Any, obj: Parcel | None = None, state: Any = None, **config: Any) -> FlowRun:
    flow = make_flow(WaitForTrigger("test.weighed", result_key="got", **config), *rows)
    return start_flowrun(flow, obj, state=state)


def fresh(run: FlowRun) -> FlowRun:
    return FlowRun.objects.get(pk=run.pk)


# --- what wakes it ------------------------------------------------------------------------------


def test_the_payload_is_the_result_of_the_row(weighed):
    run = waiting(obj=(obj := box()))
    assert fresh(run).status == Status.WAITING
    weighed(obj, payload={"kilos": 30})
    run_until_idle()
    assert fresh(run).state == {"got": {"kilos": 30}}


def test_only_what_happens_to_its_own_object_wakes_it(weighed):
    run = waiting(obj=box("mine"))
    weighed(box("another"), payload={"kilos": 1})
    run_until_idle()
    assert fresh(run).status == Status.WAITING


def test_what_happens_to_any_object_wakes_it_if_it_says_so(weighed):
    run = waiting(obj=box("mine"), any_object=True)
    weighed(box("another"), payload={"kilos": 1})
    run_until_idle()
    assert fresh(run).state == {"got": {"kilos": 1}}


def test_a_condition_chooses_among_firings_by_payload_object_and_state(weighed):
    condition = "trigger.kilos > most and object.label == 'box'"
    run = waiting(obj=(obj := box()), state={"most": 10}, condition=condition)
    weighed(obj, payload={"kilos": 5})
    run_until_idle()
    assert fresh(run).status == Status.WAITING
    weighed(obj, payload={"kilos": 11})
    run_until_idle()
    assert fresh(run).state["got"] == {"kilos": 11}


def test_a_condition_can_read_loop_variables(weighed):
    wait = WaitForTrigger("test.weighed", condition="trigger.kilos == item", result_key="got")
    run = start_flowrun(make_flow(ForEach("steps", [wait])), obj := box(), state={"steps": [1, 2]})
    for kilos in (2, 1, 2):
        weighed(obj, payload={"kilos": kilos})
        run_until_idle()
    assert fresh(run).outcome == Outcome.COMPLETE


def test_an_error_in_the_condition_fails_the_run_and_a_retry_waits_again(weighed):
    run = waiting(obj=(obj := box()), condition="trigger.kilos > 10")
    weighed(obj, payload={"kilos": "heavy"})
    run_until_idle()
    assert fresh(run).status == Status.FAILED
    assert "trigger.kilos" in fresh(run).reason
    retry(fresh(run))
    run_until_idle()
    assert fresh(run).status == Status.WAITING
    weighed(obj, payload={"kilos": 11})
    run_until_idle()
    assert fresh(run).state["got"] == {"kilos": 11}


def test_one_firing_wakes_all_runs_that_wait_for_it(weighed):
    obj = box()
    runs = [waiting(obj=obj), waiting(obj=obj)]
    firing = weighed(obj, payload={})
    run_until_idle()
    assert {fresh(run).outcome for run in runs} == {Outcome.COMPLETE}
    firing.refresh_from_db()
    assert sorted(result["run"] for result in firing.results) == [run.pk for run in runs]


# --- when nothing comes -------------------------------------------------------------------------


def test_after_the_timeout_it_goes_on_and_knows_it(weighed, clock):
    run = waiting(Log("late"), obj=box(), timeout="PT2H")
    assert fresh(run).due == NOON + timedelta(hours=2)
    clock.advance(hours=2)
    run_until_idle()
    assert (fresh(run).outcome, fresh(run).state) == (Outcome.COMPLETE, {"got": None})


def test_the_earlier_of_timeout_and_until_counts(weighed, clock):
    run = waiting(obj=box(), timeout="PT2H", until="now|add:'PT1H'")
    assert fresh(run).due == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("then", "outcome", "n"),
    [
        ("leave", Outcome.COMPLETE, 2),
        ("break", Outcome.COMPLETE, 1),
        ("abort", Outcome.ABORTED, 1),
    ],
)
def test_after_the_timeout_it_does_what_its_author_wants(weighed, clock, then, outcome, n):
    wait = WaitForTrigger("test.weighed", timeout="PT1H", on_timeout=then)
    flow = make_flow(While("n < 2", [UpdateState(n="n|add:1"), wait, UpdateState(n="99")]))
    run = start_flowrun(flow, box(), state={"n": 0})
    for _hour in range(3):
        clock.advance(hours=1)
        run_until_idle()
    assert (fresh(run).outcome, fresh(run).state["n"]) == (outcome, n)


def test_after_the_timeout_it_fails_where_its_author_wants_that(weighed, clock):
    run = waiting(obj=box(), timeout="PT1H", on_timeout="fail")
    clock.advance(hours=1)
    run_until_idle()
    assert fresh(run).status == Status.FAILED
    assert "did not come in time" in fresh(run).reason


def test_an_operator_can_end_the_wait_which_is_as_if_the_time_was_over(weighed, clock):
    run = waiting(obj=box(), timeout="PT1H", on_timeout="abort")
    run_now(fresh(run))
    run_until_idle()
    assert fresh(run).outcome == Outcome.ABORTED


# --- what came before ---------------------------------------------------------------------------


def test_a_firing_of_the_last_minutes_counts_once(weighed, clock):
    obj = box()
    weighed(obj, payload={"kilos": 1})
    run_until_idle()
    clock.advance(minutes=10)
    again = WaitForTrigger("test.weighed", look_back="PT30M")
    flow = make_flow(WaitForTrigger("test.weighed", look_back="PT30M", result_key="got"), again)
    run = start_flowrun(flow, obj)
    run_until_idle()
    # The first wait took it; the second may not take it again.
    assert (fresh(run).state, fresh(run).status) == ({"got": {"kilos": 1}}, Status.WAITING)


def test_a_firing_from_before_that_does_not_count(weighed, clock):
    obj = box()
    weighed(obj, payload={"kilos": 1})
    run_until_idle()
    clock.advance(minutes=31)
    run = waiting(obj=obj, look_back="PT30M")
    run_until_idle()
    assert fresh(run).status == Status.WAITING
    assert RunWait.objects.get().look_since is None


def test_the_oldest_firing_that_fits_is_taken(weighed, clock):
    obj = box()
    for kilos in (1, 20, 30):
        weighed(obj, payload={"kilos": kilos})
        run_until_idle()
        clock.advance(minutes=1)
    run = waiting(obj=obj, look_back="PT30M", condition="trigger.kilos > 10")
    run_until_idle()
    assert fresh(run).state == {"got": {"kilos": 20}}


def test_a_firing_that_was_matched_before_the_park_was_there_is_not_lost(weighed, clock):
    """The run has read its row, somebody fires and matches, and only then it parks."""

    class Slow(BaseAction):
        name = "test.slow"
        effects = "none"

        def run(self, *, run, obj, config):
            weighed(obj, payload={"kilos": 7})
            assert match_firings(NOON) == 1

    with actions.temporarily(Slow):
        obj = box()
        flow = make_flow(row("test.slow"), WaitForTrigger("test.weighed", result_key="got"))
        run = start_flowrun(flow, obj)
        assert Firing.objects.get().matched_at is not None
        run_until_idle()
        assert fresh(run).state == {"got": {"kilos": 7}}


def test_what_the_worker_did_not_look_at_any_more_the_sweep_does(weighed, clock, monkeypatch):
    import flowcontrol.executing as executing_module

    obj = box()
    weighed(obj, payload={"kilos": 1})
    run_until_idle()
    monkeypatch.setattr(executing_module, "take_missed", lambda now: 0)  # it died
    run = waiting(obj=obj, look_back="PT5M")
    monkeypatch.undo()
    assert fresh(run).status == Status.WAITING
    run_until_idle()
    assert fresh(run).state == {"got": {"kilos": 1}}


def test_a_custom_action_can_wait_for_an_event_in_the_same_way(weighed, clock):
    class AwaitWeight(BaseAction):
        name = "test.await_weight"
        effects = "none"

        def run(self, *, run, obj, config):
            if run.wakeup is None:
                return FlowDirective.SUSPEND_AND_REPEAT(
                    for_event="test.weighed", look_back=timedelta(minutes=5)
                )
            run.state["kilos"] = run.wakeup["data"]["kilos"]
            return None

    with actions.temporarily(AwaitWeight):
        obj = box()
        weighed(obj, payload={"kilos": 3})
        run_until_idle()
        run = start_flowrun(make_flow(row("test.await_weight")), obj)
        run_until_idle()
        assert fresh(run).state == {"kilos": 3}


def test_looking_back_costs_the_same_however_many_runs_begin_to_wait(
    weighed, clock, django_assert_max_num_queries
):
    flow = make_flow(WaitForTrigger("test.weighed"))
    for number in range(20):
        start_flowrun(flow, box(str(number)))
    RunWait.objects.update(look_since=NOON)
    with django_assert_max_num_queries(3):
        assert take_missed(NOON) == 0
    assert not RunWait.objects.filter(look_since__isnull=False).exists()


# --- Wait until ---------------------------------------------------------------------------------


def until(condition: str, **config: Any) -> Any:
    return row("wait_until", condition=condition, result_key="got", **config)


def test_a_condition_that_holds_already_is_not_waited_for(clock):
    run = start_flowrun(make_flow(until("object.weight == 1")), box())
    assert (fresh(run).outcome, fresh(run).state) == (Outcome.COMPLETE, {"got": True})


def test_the_condition_is_looked_at_again_at_the_interval(clock):
    obj = box()
    run = start_flowrun(make_flow(until("object.is_loaded", interval="PT10M")), obj)
    assert fresh(run).due == NOON + timedelta(minutes=10)
    Parcel.objects.update(is_loaded=True)
    clock.advance(minutes=10)
    run_until_idle()
    assert fresh(run).state == {"got": True}


def test_the_interval_is_never_so_short_that_the_worker_spins(clock):
    run = start_flowrun(make_flow(until("object.is_loaded", interval="PT0S")), box())
    assert fresh(run).due == NOON + timedelta(seconds=1)


def test_the_timeout_ends_it_also_between_two_looks(clock):
    run = start_flowrun(
        make_flow(until("object.is_loaded", interval="PT10M", timeout="PT25M")), box()
    )
    for minutes, status in ((10, "waiting"), (10, "waiting"), (5, "done")):
        clock.advance(minutes=minutes)
        run_until_idle()
        assert fresh(run).status == status
    assert fresh(run).state == {"got": None}


def test_saving_a_watched_object_wakes_it_at_once(clock):
    with override_settings(FLOWCONTROL_WATCHED_MODELS=["testapp.Parcel"]):
        watch_models()
        try:
            obj = box()
            run = start_flowrun(make_flow(until("object.is_loaded", interval="P1D")), obj)
            obj.weight = 2
            obj.save()
            run_until_idle()
            assert fresh(run).status == Status.WAITING
            obj.is_loaded = True
            obj.save()
            run_until_idle()
            assert fresh(run).state == {"got": True}
        finally:
            from django.db.models.signals import post_save

            post_save.disconnect(sender=Parcel, dispatch_uid="flowcontrol:saved:testapp.Parcel")
