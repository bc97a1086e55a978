"""What fires, what comes of it, and that it comes of it once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models.signals import post_save
from django.dispatch import Signal

from flowcontrol import firing as firing_module
from flowcontrol import matching as matching_module
from flowcontrol.base import BaseAction, FlowDirective
from flowcontrol.engine import (
    cancel_flowrun,
    continue_flowruns,
    start_flowrun,
    trigger_flows,
)
from flowcontrol.exceptions import ConfigError, NotJSON
from flowcontrol.matching import match_firings
from flowcontrol.models import Firing, Flow, FlowRun, Outcome, Status, Trigger
from flowcontrol.operating import pause, resume
from flowcontrol.registry import (
    TriggerType,
    actions,
    register_trigger,
    register_trigger_as_signal_handler,
    triggers,
)
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
from tests.testapp.models import Parcel, Station

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
WEIGHED = {
    "type": "object",
    "properties": {"kilos": {"type": "integer", "minimum": 0}, "by": {"type": "string"}},
    "required": ["kilos"],
}


class WaitForWeight(BaseAction):
    name = "test.wait_for_weight"
    effects = "none"
    config_schema = {"type": "object", "properties": {"any": {"type": "boolean", "default": False}}}

    def run(self, *, run, obj, config):
        return FlowDirective.SUSPEND(for_event="test.weighed", any_object=config["any"])


class BreakTheDatabase(BaseAction):
    """Its statement fails, which ends a PostgreSQL transaction that nobody shields."""

    name = "test.break_the_database"
    effects = "database"

    def run(self, *, run, obj, config):
        Station.objects.create(code="JFK", name="first")
        Station.objects.bulk_create([Station(code="JFK", name="twice")])


@pytest.fixture(autouse=True)
def _own_actions() -> Iterator[None]:
    with actions.temporarily(WaitForWeight, BreakTheDatabase), triggers.temporarily():
        yield


@pytest.fixture
def weighed() -> TriggerType:
    return register_trigger("test.weighed", model=Parcel, payload_schema=WEIGHED)


def parcel(label: str = "crate", **fields: Any) -> Parcel:
    return Parcel.objects.create(label=label, **fields)


def on(name: str, flow: Flow, **fields: Any) -> Trigger:
    return Trigger.objects.create(**{"name": name, "flow": flow, "active_at": LONG_AGO, **fields})


def results(firing: Firing) -> list[Any]:
    firing.refresh_from_db()
    told: list[Any] = firing.results
    return told


def did(firing: Firing) -> list[str]:
    return [result["did"] for result in results(firing)]


@contextmanager
def a_request(*, failing: bool = False) -> Iterator[None]:
    """A caller's transaction, as a view has it under ``ATOMIC_REQUESTS``."""
    try:
        with transaction.atomic():
            yield
            if failing:
                raise InterruptedError
    except InterruptedError:
        pass


# --- firing -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_payload_that_does_not_fit_is_the_callers_mistake(weighed):
    with pytest.raises(ConfigError, match=r"Payload of trigger 'test.weighed': kilos"):
        weighed(parcel(), payload={"kilos": -1})
    with pytest.raises(ConfigError, match="kilos"):
        weighed(parcel())
    with pytest.raises(NotJSON, match="the payload at by"):
        register_trigger("test.free")(payload={"by": object()})
    assert Firing.objects.count() == 0


@pytest.mark.django_db
def test_a_trigger_about_parcels_takes_no_station(weighed):
    with pytest.raises(TypeError, match=r"about testapp.Parcel, not Station"):
        weighed(Station.objects.create(code="JFK", name="x"), payload={"kilos": 1})


@pytest.mark.django_db
def test_a_name_that_nobody_registered_is_told_with_what_it_may_have_meant(weighed):
    with pytest.raises(KeyError, match=r"Did you mean test.weighed"):
        trigger_flows("test.wieghed")


@pytest.mark.django_db
def test_payload_and_start_state_reach_the_run(weighed):
    flow = make_flow(UpdateState(sum="trigger.kilos|add:tare"))
    on("test.weighed", flow)
    [result] = trigger_flows(
        "test.weighed", box := parcel(), payload={"kilos": 30}, state={"tare": 2}
    )
    run = FlowRun.objects.get(pk=result["run"])
    assert (result["did"], run.outcome) == ("started", Outcome.COMPLETE)
    assert (run.state, run.content_object) == ({"tare": 2, "sum": 32}, box)
    assert run.firing == Firing.objects.get()


@pytest.mark.django_db
def test_the_payload_is_there_after_a_wait_too(weighed):
    on("test.weighed", make_flow(Delay("PT1H"), UpdateState(kilos="trigger.kilos")))
    with travel_to(NOON) as clock:
        weighed(parcel(), payload={"kilos": 30}, immediate=True)
        clock.advance(hours=1)
        run_until_idle()
    assert FlowRun.objects.get().state == {"kilos": 30}


# --- trigger rows -------------------------------------------------------------------------------


@pytest.mark.django_db
def test_every_kind_of_result_is_on_record(weighed):
    started = on("test.weighed", make_flow(Log("x"), name="Starts"))
    off = on("test.weighed", make_flow(Log("x"), name="Off", active=False))
    false = on("test.weighed", make_flow(Log("x"), name="False"), condition="trigger.kilos > 50")
    error = on("test.weighed", make_flow(Log("x"), name="Error"), condition="trigger.by > 50")
    waking = on("test.weighed", make_flow(Log("x"), name="Wakes"), mode="wake")
    waiting = start_flowrun(make_flow(row("test.wait_for_weight"), name="Waits"), box := parcel())
    firing = weighed(box, payload={"kilos": 30, "by": "hand"}, immediate=True)
    told = {result.get("trigger"): result for result in results(firing)}
    assert told[None] == {"did": "woke", "run": waiting.pk}
    run = FlowRun.objects.get(flow__name="Starts")
    assert told[started.pk] == {"trigger": started.pk, "did": "started", "run": run.pk}
    assert told[off.pk] == {"trigger": off.pk, "did": "refused", "reason": '"Off" is off.'}
    assert told[false.pk] == {"trigger": false.pk, "did": "false"}
    assert told[error.pk]["did"] == "error"
    assert "trigger.by" in told[error.pk]["reason"]
    assert told[waking.pk] == {"trigger": waking.pk, "did": "nothing"}
    assert firing.matched_at is not None


@pytest.mark.django_db
def test_a_condition_reads_object_and_payload(weighed):
    on("test.weighed", make_flow(Log("x")), condition="trigger.kilos > object.weight and object.pk")
    box = parcel(weight=30)
    assert did(weighed(box, payload={"kilos": 30}, immediate=True)) == ["false"]
    assert did(weighed(box, payload={"kilos": 31}, immediate=True)) == ["started"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("active_at", "acts"),
    [
        (NOON - timedelta(seconds=1), True),
        (NOON, True),
        (NOON + timedelta(seconds=1), False),
        (None, False),
    ],
)
def test_a_row_acts_on_what_fires_since_it_is_active(weighed, active_at, acts):
    on("test.weighed", make_flow(Log("x")), active_at=active_at)
    with travel_to(NOON):
        firing = weighed(parcel(), payload={"kilos": 1}, immediate=True)
    assert did(firing) == (["started"] if acts else [])


@pytest.mark.django_db
def test_switching_a_row_on_does_not_reach_back(weighed):
    with travel_to(NOON) as clock:
        trigger = on("test.weighed", make_flow(Log("x")), active_at=None)
        firing = weighed(parcel(), payload={"kilos": 1})
        clock.advance(minutes=5)
        trigger.active_at = NOON + timedelta(minutes=1)
        trigger.save()
        run_until_idle()
    assert did(firing) == []


@pytest.mark.django_db
def test_two_rows_start_two_flows(weighed):
    for name in ("One", "Other"):
        on("test.weighed", make_flow(Log("x"), name=name))
    firing = weighed(parcel(), payload={"kilos": 1}, immediate=True)
    assert did(firing) == ["started", "started"]


@pytest.mark.django_db
def test_a_start_that_a_limit_refuses_leaves_its_record_behind(weighed):
    flow = make_flow(Delay("PT1H"), name="Load", max_concurrent_per_object=1)
    on("test.weighed", flow)
    box = parcel()
    weighed(box, payload={"kilos": 1}, immediate=True)
    [result] = results(weighed(box, payload={"kilos": 1}, immediate=True))
    refused = FlowRun.objects.get(outcome=Outcome.REFUSED)
    assert (result["did"], result["run"]) == ("refused", refused.pk)
    assert result["reason"] == refused.reason


@pytest.mark.django_db
def test_an_object_that_is_gone_by_then_is_told_as_such(weighed):
    on("test.weighed", make_flow(Log("x")), condition="object.weight > 3")
    box = parcel()
    firing = weighed(box, payload={"kilos": 1})
    key = box.pk
    box.delete()
    run_until_idle()
    [result] = results(firing)
    assert (result["did"], result["reason"]) == ("refused", f"Its object ({key}) is gone.")


# --- modes --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_restart_sends_the_objects_run_to_a_row(weighed):
    flow = make_flow(
        row("update_state", state={"way": "long"}, uid="a"),
        row("delay", duration="PT9H", uid="b"),
        row("update_state", state={"way": "short"}, uid="c"),
        row("delay", duration="PT1H", uid="d"),
    )
    on("test.weighed", flow, mode="restart", action_uid="c")
    one, other = start_flowrun(flow, parcel()), start_flowrun(flow, parcel())
    assert one.action_uid == other.action_uid == "b"
    [result] = trigger_flows("test.weighed", one.content_object, payload={"kilos": 1})
    one.refresh_from_db()
    other.refresh_from_db()
    assert (result["did"], result["run"]) == ("restarted", one.pk)
    assert (one.action_uid, one.state) == ("d", {"way": "short"})
    assert (other.action_uid, other.state) == ("b", {"way": "long"})
    woken = one.events.get(kind="woken")
    assert woken.detail == {"by": "event", "trigger": "test.weighed", "to": "c"}


@pytest.mark.django_db
def test_restart_starts_a_run_where_the_object_has_none(weighed):
    flow = make_flow(Delay("PT1H"), Log("x"))
    on("test.weighed", flow, mode="restart")
    box = parcel()
    over = start_flowrun(flow, box)
    cancel_flowrun(over)
    [result] = trigger_flows("test.weighed", box, payload={"kilos": 1})
    assert result["did"] == "started"
    [again] = trigger_flows("test.weighed", box, payload={"kilos": 1})
    assert (again["did"], again["run"]) == ("restarted", result["run"])


@pytest.mark.django_db
def test_restarting_at_a_row_that_the_runs_version_does_not_have_is_an_error_on_record(weighed):
    flow = make_flow(Delay("PT1H"))
    run = start_flowrun(flow, parcel())
    on("test.weighed", flow, mode="restart", action_uid="new")
    [result] = trigger_flows("test.weighed", run.content_object, payload={"kilos": 1})
    run.refresh_from_db()
    assert (result["did"], run.status) == ("error", Status.WAITING)
    assert "'new'" in result["reason"]


@pytest.mark.django_db
def test_restarting_a_failed_run_does_not_go_past_the_limit(weighed):
    flow = make_flow(Log("{{ n|length }}"), Delay("PT1H"), max_concurrent=1)
    failed = start_flowrun(flow, box := parcel())
    start_flowrun(flow, parcel(), state={"n": "x"})
    on("test.weighed", flow, mode="restart", action_uid="2")
    weighed(box, payload={"kilos": 1}, immediate=True)
    failed.refresh_from_db()
    assert failed.status == Status.QUEUED


@pytest.mark.django_db
def test_waking_gives_the_payload_to_the_run_of_this_object(weighed):
    flow = make_flow(row("test.wait_for_weight", result_key="answer"))
    one, other = start_flowrun(flow, parcel()), start_flowrun(flow, parcel())
    [result] = trigger_flows("test.weighed", one.content_object, payload={"kilos": 7})
    one.refresh_from_db()
    other.refresh_from_db()
    assert result == {"did": "woke", "run": one.pk}
    assert (one.outcome, one.state) == (Outcome.COMPLETE, {"answer": {"kilos": 7}})
    assert (other.status, other.state) == (Status.WAITING, {})
    assert not one.waits.exists()


@pytest.mark.django_db
def test_a_run_can_wait_for_any_object(weighed):
    flow = make_flow(row("test.wait_for_weight", any=True, result_key="answer"))
    runs = [start_flowrun(flow, parcel()), start_flowrun(flow)]
    weighed(parcel(), payload={"kilos": 7}, immediate=True)
    assert [FlowRun.objects.get(pk=run.pk).state for run in runs] == [{"answer": {"kilos": 7}}] * 2


@pytest.mark.django_db
def test_what_wakes_a_paused_run_counts_when_it_is_resumed(weighed):
    run = start_flowrun(make_flow(row("test.wait_for_weight", result_key="answer")), parcel())
    pause(run)
    assert did(weighed(run.content_object, payload={"kilos": 7}, immediate=True)) == ["woke"]
    run.refresh_from_db()
    assert run.status == Status.PAUSED
    resume(run)
    run_until_idle()
    run.refresh_from_db()
    assert run.state == {"answer": {"kilos": 7}}


@pytest.mark.django_db
def test_a_second_event_does_not_wake_a_run_twice(weighed):
    run = start_flowrun(make_flow(row("test.wait_for_weight"), Delay("PT1H")), parcel())
    one = weighed(run.content_object, payload={"kilos": 1}, immediate=True)
    other = weighed(run.content_object, payload={"kilos": 2}, immediate=True)
    assert (did(one), did(other)) == (["woke"], [])


@pytest.mark.django_db
def test_a_firing_that_cannot_be_written_leaves_the_callers_transaction_usable(weighed):
    box = parcel()

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith('INSERT INTO "flowcontrol_firing"'):
            raise DataError("refused")
        return execute(sql, params, many, context)

    with a_request():
        with connection.execute_wrapper(refuse), pytest.raises(DataError):
            weighed(box, payload={"kilos": 1})
        assert Parcel.objects.filter(pk=box.pk).exists()


# --- immediate ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_failing_flow_leaves_the_callers_transaction_usable(weighed):
    on("test.weighed", make_flow(row("test.break_the_database"), name="Breaks"))
    on("test.weighed", make_flow(UpdateState(fine="1"), name="Works"))
    with a_request():
        box = parcel("before")
        firing = weighed(box, payload={"kilos": 1}, immediate=True)
        Station.objects.create(code="ORD", name="after")
        assert did(firing) == ["started", "started"]
    broken, fine = FlowRun.objects.order_by("pk")
    assert broken.status == Status.FAILED
    assert "IntegrityError" in broken.reason
    assert fine.state == {"fine": 1}
    assert Parcel.objects.filter(label="before").exists()
    assert list(Station.objects.values_list("code", flat=True)) == ["ORD"]


@pytest.mark.django_db
@pytest.mark.parametrize("number", [1, 3])
def test_what_breaks_together_is_matched_again_one_by_one_as_if_for_the_first_time(
    weighed, monkeypatch, number
):
    """What the first attempt did is undone, so what it noted must not count."""
    boxes = [parcel(f"box {place}") for place in range(number)]
    waiting = make_flow(row("test.wait_for_weight"), name="Waiting")
    runs = [start_flowrun(waiting, box) for box in boxes]
    on("test.weighed", make_flow(UpdateState(fine="1"), name="Works"))

    def break_it(planned: Any) -> list[int]:
        if list(planned):
            Station.objects.bulk_create([Station(code="JFK"), Station(code="JFK")])
        return []

    monkeypatch.setattr(matching_module, "insert_flowruns", break_it)
    weighed.many(boxes, payload={"kilos": 1})
    assert match_firings(NOON) == number
    assert [did(firing) for firing in Firing.objects.all()] == [["woke", "started"]] * number
    run_until_idle()
    assert FlowRun.objects.filter(flow__name="Works", state={"fine": 1}).count() == number
    assert {FlowRun.objects.get(pk=run.pk).status for run in runs} == {Status.DONE}


@pytest.mark.django_db
def test_firing_never_raises_for_what_flows_do(weighed, caplog, monkeypatch):
    on("test.weighed", make_flow(row("test.break_the_database"), name="Breaks"))

    def out_of_order(*args: Any, **kwargs: Any) -> None:
        raise IntegrityError("something nobody thought of")

    monkeypatch.setattr(matching_module, "insert_flowruns", out_of_order)
    monkeypatch.setattr(matching_module, "create_flowrun", out_of_order)
    firing = weighed(parcel(), payload={"kilos": 1}, immediate=True)
    assert results(firing)[0]["reason"] == "IntegrityError: something nobody thought of"
    monkeypatch.undo()
    monkeypatch.setattr(matching_module, "load_objects", out_of_order)
    broken = weighed(parcel(), payload={"kilos": 1}, immediate=True)
    assert did(broken) == ["error"]
    assert "cannot be matched" in caplog.text
    monkeypatch.setattr(firing_module, "match_new", out_of_order)
    later = weighed(parcel(), payload={"kilos": 1}, immediate=True)
    assert later.results == []
    assert "left to the next sweep" in caplog.text
    monkeypatch.undo()
    run_until_idle()
    assert did(later) == ["started"]


@pytest.mark.django_db
def test_immediate_goes_on_through_outside_calls_where_nobody_holds_a_transaction(weighed):
    """Under TestCase too, whose transaction is nobody's."""
    on("test.weighed", make_flow(row("send_email", to=["a@b.example"], subject="s", text="t")))
    [result] = trigger_flows("test.weighed", parcel(), payload={"kilos": 1})
    assert FlowRun.objects.get(pk=result["run"]).outcome == Outcome.COMPLETE
    assert len(mail.outbox) == 1


@pytest.mark.django_db
def test_immediate_in_a_callers_transaction_leaves_outside_calls_for_after_the_commit(weighed):
    on(
        "test.weighed",
        make_flow(UpdateState(a="1"), row("send_email", to=["a@b.example"], subject="s", text="t")),
    )
    with a_request():
        [result] = trigger_flows("test.weighed", parcel(), payload={"kilos": 1})
        run = FlowRun.objects.get(pk=result["run"])
        assert (run.status, run.state, mail.outbox) == (Status.PENDING, {"a": 1}, [])
    run_until_idle()
    run.refresh_from_db()
    assert (run.outcome, len(mail.outbox)) == (Outcome.COMPLETE, 1)


# --- signals ------------------------------------------------------------------------------------


@pytest.fixture
def parcel_saved() -> Iterator[TriggerType]:
    trigger = register_trigger_as_signal_handler(
        post_save, "test.parcel_saved", sender=Parcel, when=lambda created, **_kwargs: not created
    )
    yield trigger
    assert post_save.disconnect(sender=Parcel, dispatch_uid="flowcontrol:test.parcel_saved")


@pytest.mark.django_db
@pytest.mark.usefixtures("parcel_saved")
def test_a_signal_fires_with_the_instance_and_is_never_garbage_collected(
    django_capture_on_commit_callbacks,
):
    on("test.parcel_saved", make_flow(UpdateState(label="object.label")))
    gc.collect()
    with django_capture_on_commit_callbacks(execute=True):
        box = parcel()
        assert Firing.objects.count() == 0
        box.label = "renamed"
        box.save()
    run_until_idle()
    firing = Firing.objects.get()
    assert (firing.object_id, did(firing)) == (str(box.pk), ["started"])
    assert FlowRun.objects.get().state == {"label": "renamed"}


@pytest.mark.django_db
def test_a_signal_handler_can_be_declared_before_its_model_is_loaded():
    dispatched = Signal()
    trigger = register_trigger_as_signal_handler(
        dispatched, "test.dispatched", sender="testapp.Parcel"
    )
    assert trigger.get_model() is Parcel
    dispatched.send(Parcel, instance=(box := parcel()))
    dispatched.send(Station, instance=Station(code="JFK"))
    assert Firing.objects.get().object_id == str(box.pk)


# --- commit, sweep, rollback ----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_firing_is_matched_right_after_the_callers_commit_and_only_once(weighed):
    on("test.weighed", make_flow(Log("x")))
    with a_request():
        firing = weighed(parcel(), payload={"kilos": 1})
        assert results(firing) == []
        assert FlowRun.objects.count() == 0
    assert did(firing) == ["started"]
    assert match_firings(NOON) == 0
    assert continue_flowruns().executed == 1
    assert FlowRun.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_the_commit_hook_missed_the_sweep_finds(weighed, monkeypatch):
    on("test.weighed", make_flow(Log("x")))
    monkeypatch.setattr(firing_module, "_match_after_commit", lambda pk: None)
    firing = weighed(parcel(), payload={"kilos": 1})
    assert results(firing) == []
    tally = continue_flowruns()
    assert (tally.matched, tally.executed, did(firing)) == (1, 1, ["started"])
    assert continue_flowruns().matched == 0


@pytest.mark.django_db(transaction=True)
def test_a_caller_that_rolls_back_has_not_fired(weighed):
    on("test.weighed", make_flow(Log("x")))
    for immediate in (False, True):
        with a_request(failing=True):
            weighed(parcel(), payload={"kilos": 1}, immediate=immediate)
    continue_flowruns()
    assert (Firing.objects.count(), FlowRun.objects.count(), Parcel.objects.count()) == (0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_an_immediate_firing_is_never_seen_unmatched_by_anybody_else(weighed, monkeypatch):
    """Without that, a sweep in between would match it a second time."""
    on("test.weighed", make_flow(Log("x")))
    when_committed: list[list[str]] = []
    save = Firing.save

    def save_and_look_at_the_commit(firing: Firing, **options: Any) -> None:
        save(firing, **options)
        transaction.on_commit(lambda: when_committed.append(did(firing)))

    monkeypatch.setattr(Firing, "save", save_and_look_at_the_commit)
    weighed(parcel(), payload={"kilos": 1}, immediate=True)
    assert when_committed == [["started"]]
    assert FlowRun.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("parcel_saved")
def test_a_signal_inside_a_transaction_waits_for_its_commit():
    on("test.parcel_saved", make_flow(UpdateState(label="object.label")))
    with a_request():
        box = parcel("first")
        for label in ("second", "third"):
            box.label = label
            box.save()
        assert FlowRun.objects.count() == 0
    run_until_idle()
    assert [run.state for run in FlowRun.objects.all()] == [{"label": "third"}] * 2
    with a_request(failing=True):
        box.save()
    run_until_idle()
    assert FlowRun.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_failing_flow_does_not_take_the_hooks_of_others_with_it(weighed, monkeypatch, caplog):
    told: list[str] = []
    monkeypatch.setattr(firing_module, "match_these", lambda *args: 1 / 0)
    with a_request():
        firing = weighed(parcel(), payload={"kilos": 1})
        transaction.on_commit(lambda: told.append("the caller's own hook"))
    assert told == ["the caller's own hook"]
    assert "left to the next sweep" in caplog.text
    assert results(firing) == []


@pytest.mark.django_db(transaction=True)
def test_many_firings_are_matched_oldest_first_in_batches(weighed, monkeypatch):
    monkeypatch.setattr(firing_module, "_match_after_commit", lambda pk: None)
    on("test.weighed", make_flow(UpdateState(kilos="trigger.kilos")))
    for kilos in range(7):
        weighed(parcel(), payload={"kilos": kilos})
    assert [match_firings(NOON, 3) for _batch in range(4)] == [3, 3, 1, 0]
    run_until_idle()
    runs = FlowRun.objects.order_by("pk")
    assert [run.state["kilos"] for run in runs] == list(range(7))
    assert {tuple(trace_of(run)) for run in runs} == {("update",)}
