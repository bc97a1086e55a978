"""Trying a flow: the engine runs the draft, time is skipped, nothing is left of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.db import OperationalError, connection, transaction
from django.db.models import Model
from django.db.models.signals import ModelSignal, post_save

from flowcontrol import registry, trying
from flowcontrol.base import BaseAction, Continue, Directive, FlowDirective, RunHandle
from flowcontrol.documents import make_document, row
from flowcontrol.drafting import create_flow, replace_draft
from flowcontrol.engine import start_flowrun, trigger_flows
from flowcontrol.exceptions import TrialRefused
from flowcontrol.models import (
    EngineState,
    Firing,
    Flow,
    FlowRun,
    FlowVersion,
    HumanTask,
    RunEvent,
    RunWait,
    Trigger,
)
from flowcontrol.schemas import MASK
from flowcontrol.signals import flowrun_done, flowrun_started
from flowcontrol.testing import (
    NOON,
    Delay,
    Else,
    For,
    If,
    Log,
    SetState,
    StartFlow,
    UpdateState,
    While,
    make_flow,
)
from flowcontrol.trying import MISSING, Trial, try_flow
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db


class Weigh(BaseAction):
    """Writes to the database, and says that this can be undone."""

    name = "test.weigh"
    effects = "database"
    can_try = True

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        obj.weight += 5
        obj.save()
        return Continue(obj.weight)


class Ring(BaseAction):
    """Calls the outside."""

    name = "test.ring"
    effects = "external"
    rung: list[str] = []
    config_schema = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "format": "template", "default": ""},
            "number": {"type": "string"},
            "pin": {"type": "string", "format": "secret"},
        },
    }
    retry = {"attempts": 3, "wait": 60, "factor": 1, "jitter": 0}

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        self.rung.append(run.render(config["text"]))
        return Continue("rung")


class Shout(BaseAction):
    """Says that it only writes to the database, and is heard outside."""

    name = "test.shout"
    effects = "database"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        Ring.rung.append("shouted")
        return None


class AskStation(BaseAction):
    """External, but made to be tried; records what came of it."""

    name = "test.ask_station"
    effects = "external"
    can_try = True

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        return Continue("heavy")

    def record(self, result: Any, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> None:
        Parcel.objects.create(label=result)


class AwaitPickup(BaseAction):
    """Waits for a trigger, at most a day."""

    name = "test.await_pickup"
    effects = "none"
    config_schema = {"type": "object", "properties": {"for_ever": {"type": "boolean"}}}

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        until = None if config.get("for_ever") else run.now + timedelta(days=1)
        return FlowDirective.SUSPEND(until=until, for_event="testapp.parcel_weighed")


TYPES = (Weigh, Ring, Shout, AskStation, AwaitPickup)


@pytest.fixture(autouse=True)
def types() -> Iterator[None]:
    Ring.rung = []
    with registry.actions.temporarily(*TYPES):
        yield


@pytest.fixture
def parcel() -> Parcel:
    return Parcel.objects.create(label="A box", weight=10)


def draft(*rows: Any, name: str = "Draft", **settings: Any) -> Flow:
    """A flow that has never been published and is off."""
    flow = create_flow(name)
    replace_draft(flow, make_document(*rows, **settings))
    return flow


def tried(*rows: Any, **given: Any) -> Trial:
    return try_flow(draft(*rows), now=NOON, **given)


def rows_of(trial: Trial) -> list[str]:
    return [step.uid for step in trial.steps]


def everything() -> list[Any]:
    """All rows that a trial could leave behind."""
    models: tuple[type[Model], ...] = (
        *(FlowRun, FlowVersion, RunEvent, RunWait, Firing, Parcel),
        *(EngineState, Flow),
    )
    return [list(model._base_manager.order_by("pk").values()) for model in models]


@contextmanager
def handler(signal: ModelSignal, sender: type[Model], receive: Any) -> Iterator[None]:
    signal.connect(receive, sender=sender, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receive, sender=sender)


# --- what a trial tells ---------------------------------------------------------------------------


def test_a_draft_runs_to_its_end_and_tells_each_step(parcel: Parcel) -> None:
    trial = tried(
        SetState(kilos="object.weight"),
        If("kilos > 5", [Log("Heavy: {{ kilos }}")]),
        Else([Log("Light")]),
        obj=parcel,
    )
    assert (trial.outcome, trial.state) == ("complete", {"kilos": 10})
    assert [(step.uid, step.phase, step.directive) for step in trial.steps] == [
        ("1", "run", "continue"),
        ("2", "run", "enter"),
        ("2.1", "run", "continue"),
        ("2", "return", "continue"),
    ]
    first, condition, log = trial.steps[:3]
    assert first.changes == {"kilos": (MISSING, 10)}
    assert condition.reads == [("kilos", 10)]
    assert log.notes == ["Heavy: 10"]
    assert trial.reached == {"1", "2", "2.1"}


def test_a_document_can_be_tried_without_a_flow() -> None:
    before = everything()
    trial = try_flow(make_document(UpdateState(n="trigger.n|add:1")), trigger_payload={"n": 4})
    assert trial.state == {"n": 5}
    assert everything() == before


def test_the_start_state_gets_the_defaults_of_its_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "default": 3}}}
    flow = draft(UpdateState(n="n|add:1"), state_schema=schema)
    trial = try_flow(flow)
    assert (trial.start_state, trial.state) == ({"n": 3}, {"n": 4})
    with pytest.raises(TrialRefused, match="n: "):
        try_flow(flow, state={"n": "three"})


def test_an_object_that_does_not_fit_is_refused(parcel: Parcel) -> None:
    flow = draft(Log("x"), content_type="testapp.parcel")
    with pytest.raises(TrialRefused, match=r"needs an object of type testapp\.parcel"):
        try_flow(flow)
    with pytest.raises(TrialRefused, match="has to be saved"):
        try_flow(flow, Parcel(label="unsaved"))
    assert try_flow(flow, parcel).outcome == "complete"


def test_a_flow_that_is_paused_with_everything_else_can_be_tried() -> None:
    flow = draft(Log("x"))
    Flow.objects.filter(pk=flow.pk).update(paused_at=NOON)
    EngineState.objects.update_or_create(defaults={"paused_at": NOON})
    assert try_flow(flow).outcome == "complete"


def test_run_to_here_stops_before_the_row() -> None:
    rows = (UpdateState(n="1"), Delay(), UpdateState(n="2"), UpdateState(n="3"))
    trial = tried(*rows, until="3")
    assert (trial.outcome, trial.uid, trial.state) == ("reached", "3", {"n": 1})
    assert rows_of(trial) == ["1", "2", "2"]
    assert tried(*rows, until="1").steps == []
    assert tried(*rows, until="elsewhere").outcome == "complete"


def test_run_to_here_stops_after_a_row_with_effects(parcel: Parcel) -> None:
    rows = (row("test.weigh"), row("test.ring"), Log("x"))
    trial = tried(*rows, obj=parcel, until="2")
    assert (trial.outcome, trial.uid, rows_of(trial)) == ("reached", "2", ["1"])


# --- nothing is left ------------------------------------------------------------------------------


def test_nothing_that_a_trial_writes_is_left(parcel: Parcel) -> None:
    make_flow(Log("child"), name="Child")
    flow = draft(row("test.weigh"), StartFlow("child"), Delay(), row("test.ask_station"))
    before = everything()
    trial = try_flow(flow, parcel)
    assert trial.outcome == "complete"
    assert everything() == before
    parcel.refresh_from_db()
    assert parcel.weight == 10


def test_nothing_is_left_when_somebody_elses_transaction_goes_on(parcel: Parcel) -> None:
    flow = draft(row("test.weigh"))
    with transaction.atomic():
        Parcel.objects.create(label="Another")
        try_flow(flow, parcel)
    parcel.refresh_from_db()
    assert parcel.weight == 10
    assert Parcel.objects.filter(label="Another").exists()
    assert FlowRun.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_what_the_host_sites_handlers_write_or_plan_is_undone(parcel: Parcel) -> None:
    happened: list[str] = []

    def saved(instance: Parcel, **kwargs: Any) -> None:
        Parcel.objects.bulk_create([Parcel(label="made by a handler")])
        transaction.on_commit(lambda: happened.append("committed"))
        happened.append("saved")

    flow = draft(row("test.weigh"))
    before = everything()
    with handler(post_save, Parcel, saved):
        try_flow(flow, parcel)
        assert happened == ["saved"]
        assert everything() == before
        with transaction.atomic():
            try_flow(flow, parcel)
    assert happened == ["saved", "saved"]
    assert everything() == before
    assert connection.run_on_commit == []


@pytest.mark.django_db(transaction=True)
def test_no_signal_tells_of_a_trial() -> None:
    told: list[str] = []

    def started(**kwargs: Any) -> None:
        told.append("started")

    def done(**kwargs: Any) -> None:
        told.append("done")

    make_flow(Log("child"), name="Child")
    flow = draft(StartFlow("child"))
    flowrun_started.connect(started)
    flowrun_done.connect(done)
    try:
        try_flow(flow)
        assert told == []
        start_flowrun(make_flow(Log("real"), name="Real"))
        assert told == ["started", "done"]
    finally:
        flowrun_started.disconnect(started)
        flowrun_done.disconnect(done)


def test_saving_a_run_of_a_trial_sends_no_signal_of_the_model() -> None:
    saved: list[Any] = []

    def receive(instance: Any, **kwargs: Any) -> None:
        saved.append(instance)

    make_flow(Log("child"), name="Child")
    flow = draft(StartFlow("child"), Delay())
    with handler(post_save, FlowRun, receive), handler(post_save, FlowVersion, receive):
        try_flow(flow)
    assert saved == []


@pytest.mark.django_db(transaction=True)
def test_a_firing_in_a_trial_starts_and_wakes_nothing(parcel: Parcel) -> None:
    other = make_flow(row("test.shout"), name="Other")
    Trigger.objects.create(name="testapp.parcel_weighed", flow=other, active_at=NOON)

    results: list[Any] = []

    def saved(instance: Parcel, **kwargs: Any) -> None:
        payload = {"kilos": instance.weight}
        results.extend(trigger_flows("testapp.parcel_weighed", instance, payload=payload))
        trigger_flows("testapp.parcel_weighed", instance, payload=payload, immediate=False)
        start_flowrun(other)

    flow = draft(row("test.weigh"))
    with handler(post_save, Parcel, saved):
        assert try_flow(flow, parcel).outcome == "complete"
    assert (results, Ring.rung) == ([], [])
    assert (Firing.objects.count(), FlowRun.objects.count()) == (0, 0)


# --- effects --------------------------------------------------------------------------------------


def test_a_row_with_effects_is_simulated_and_listed_with_its_config(parcel: Parcel) -> None:
    trial = tried(
        row("test.ring", text="{{ object.label }}!", number={"$expr": "phone"}, pin="1234"),
        obj=parcel,
        state={"phone": "112"},
    )
    assert (trial.outcome, Ring.rung) == ("complete", [])
    (call,) = trial.calls
    assert (call.uid, call.action, call.effects) == ("1", "test.ring", "external")
    assert call.config == {"text": "A box!", "number": "112", "pin": MASK}
    assert call.is_simulated
    assert trial.steps[0].call is call


def test_mail_is_not_sent() -> None:
    config: dict[str, Any] = {"to": ["desk@example.org"], "subject": "Hello {{ n }}", "text": "x"}
    trial = tried(row("send_email", **config), state={"n": 4})
    assert (trial.outcome, mail.outbox) == ("complete", [])
    assert trial.calls[0].config["subject"] == "Hello 4"


def test_a_row_gives_the_result_that_was_given_for_it() -> None:
    trial = tried(
        row("test.ring", result_key="answer"),
        If("answer.ok", [Log("yes")]),
        answers={"1": {"result": {"ok": True}}},
    )
    assert trial.state == {"answer": {"ok": True}}
    assert "2.1" in trial.reached


def test_results_can_differ_from_call_to_call_and_the_last_one_stays() -> None:
    trial = tried(
        For(4, [row("test.ring", result_key="got"), Log("{{ got }}")]),
        answers={"1.1": [{"result": 1}, {"result": 2}]},
    )
    assert [step.notes for step in trial.steps if step.notes] == [["1"], ["2"], ["2"], ["2"]]


def test_a_row_that_is_told_to_fail_is_retried_by_its_policy_and_fails_then() -> None:
    rows = (row("test.ring"), Log("after"))
    trial = tried(*rows, answers={"1": {"error": "ConnectionError: no route"}})
    assert trial.outcome == "failed"
    assert "ConnectionError: no route" in trial.reason
    assert trial.uid == "1"
    assert [step.error for step in trial.steps] == ["ConnectionError: no route"] * 3
    assert [skip.kind for skip in trial.skips] == ["retry", "retry"]
    assert trial.ended - trial.began == timedelta(minutes=2)
    again = tried(*rows, answers={"1": [{"error": "ConnectionError: x"}, {"result": 1}]})
    assert again.outcome == "complete"
    assert again.ended - again.began == timedelta(minutes=1)


def test_a_type_that_can_be_tried_runs_and_is_undone(parcel: Parcel) -> None:
    trial = tried(
        row("test.weigh", result_key="kilos"),
        row("test.weigh", result_key="kilos"),
        row("test.ask_station", result_key="told"),
        Log("{{ object.weight }}"),
        obj=parcel,
    )
    assert trial.state == {"kilos": 20, "told": "heavy"}
    assert trial.steps[-1].notes == ["20"]
    assert [call.is_simulated for call in trial.calls] == [False, False, False]
    assert not Parcel.objects.filter(label="heavy").exists()


def test_a_type_can_say_what_a_simulation_leaves_in_the_state() -> None:
    class Pretend(Ring):
        name = "test.ring"

        def simulate(
            self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]
        ) -> Directive | None:
            run.state["rings"] = run.state.get("rings", 0) + 1
            return Continue("as if")

    with registry.actions.temporarily(Pretend):
        trial = tried(For(2, [row("test.ring", result_key="said")]))
        assert trial.state == {"rings": 2, "said": "as if"}
        told = tried(row("test.ring", result_key="said"), answers={"1": {"result": "other"}})
    assert told.state == {"said": "other"}


def test_a_template_that_breaks_fails_at_its_row_though_the_row_is_simulated() -> None:
    trial = tried(row("test.ring", text="{{ n|add:'x' }}"), state={"n": 1})
    assert (trial.outcome, trial.uid) == ("failed", "1")


@pytest.fixture
def clerk(settings: Any) -> User:
    settings.FLOWCONTROL_CONTENT_TYPES = ["testapp.parcel"]
    user = User.objects.create_user("clerk")
    rights = Permission.objects.filter(content_type__app_label="testapp")
    user.user_permissions.set(rights)
    return user


def test_objects_are_changed_for_the_rows_that_follow_without_telling_anybody(
    clerk: User, parcel: Parcel
) -> None:
    told: list[Any] = []

    def saved(instance: Parcel, **kwargs: Any) -> None:
        told.append(instance)

    flow = draft(
        row("set_fields", fields={"weight": 77}),
        row("create_object", model="testapp.parcel", fields={"label": "new"}, result_key="made"),
        row(
            "update_matching", model="testapp.parcel", where={"label": "new"}, fields={"weight": 9}
        ),
        Log("{{ object.weight }}"),
        content_type="testapp.parcel",
        identity="clerk",
    )
    before = everything()
    with handler(post_save, Parcel, saved):
        trial = try_flow(flow, parcel)
    assert (trial.outcome, trial.reason) == ("complete", "")
    assert trial.steps[-1].notes == ["77"]
    assert [call.is_simulated for call in trial.calls] == [False] * 3
    assert trial.steps[2].notes == ["Changed 1 of testapp.Parcel"]
    assert told == []
    assert everything() == before


def test_what_a_model_does_not_allow_fails_in_a_trial_too(clerk: User, parcel: Parcel) -> None:
    fields = {"weight": -1}
    flow = draft(row("set_fields", fields=fields), content_type="testapp.parcel", identity="clerk")
    trial = try_flow(flow, parcel)
    assert (trial.outcome, trial.uid) == ("failed", "1")
    clerk.user_permissions.clear()
    assert "lacks the right" in try_flow(flow, parcel).reason


def test_an_action_knows_that_it_is_tried() -> None:
    class Tell(BaseAction):
        name = "test.tell"
        effects = "none"

        def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
            run.state["tried"] = run.is_trial
            return None

    with registry.actions.temporarily(Tell):
        assert tried(row("test.tell")).state == {"tried": True}
        assert start_flowrun(make_flow(row("test.tell"))).state == {"tried": False}


# --- time -----------------------------------------------------------------------------------------


def test_time_is_skipped_and_told() -> None:
    trial = tried(
        Delay("P2D"), UpdateState(day="now"), row("delay", weekday="monday", time="09:00")
    )
    assert trial.outcome == "complete"
    first, second = trial.skips
    assert (first.uid, first.until - first.since) == ("1", timedelta(days=2))
    assert trial.state["day"].startswith("2013-02-10T12:00")
    assert second.until == datetime(2013, 2, 11, 14, tzinfo=UTC) == trial.ended


def test_a_wait_for_an_event_is_over_by_its_timeout() -> None:
    trial = tried(row("test.await_pickup", result_key="got"), Log("after"))
    assert (trial.outcome, trial.state) == ("complete", {})
    assert [(skip.kind, skip.was_answered) for skip in trial.skips] == [("event", False)]
    assert trial.ended == NOON + timedelta(days=1)


def test_a_wait_for_an_event_is_over_at_once_by_the_answer() -> None:
    trial = tried(
        row("test.await_pickup", result_key="got"),
        answers={"1": {"result": {"kilos": 7}}},
    )
    assert (trial.outcome, trial.state, trial.ended) == ("complete", {"got": {"kilos": 7}}, NOON)
    assert [skip.was_answered for skip in trial.skips] == [True]


def test_a_wait_that_nothing_ends_stops_the_trial_and_says_for_what() -> None:
    trial = tried(row("test.await_pickup", for_ever=True), Log("after"))
    assert (trial.outcome, trial.uid) == ("waiting", "1")
    assert "testapp.parcel_weighed" in trial.reason


def test_waiting_for_a_trigger_ends_by_the_answer_or_by_its_timeout() -> None:
    waits = row(
        "wait_for_trigger",
        trigger="testapp.parcel_weighed",
        any_object=True,
        timeout="P1D",
        result_key="got",
        uid="w",
    )
    trial = tried(waits, answers={"w": {"result": {"kilos": 7}}})
    assert (trial.outcome, trial.state, trial.ended) == ("complete", {"got": {"kilos": 7}}, NOON)
    trial = tried(waits)
    assert (trial.outcome, trial.ended) == ("complete", NOON + timedelta(days=1))
    assert tried(waits, answers={"w": {"timeout": True}}).ended == trial.ended
    endless = row("wait_for_trigger", trigger="testapp.parcel_weighed", any_object=True)
    assert tried(endless).outcome == "waiting"


def test_a_row_that_looks_again_and_again_is_given_time() -> None:
    until = row("wait_until", condition="now > later", interval="PT1H", uid="w")
    trial = tried(until, state={"later": (NOON + timedelta(hours=5)).isoformat()})
    assert (trial.outcome, len(trial.skips)) == ("complete", 6)
    long = tried(until, state={"later": (NOON + timedelta(days=30)).isoformat()})
    assert long.outcome == "complete"
    assert len(long.skips) < 40
    never = tried(row("wait_until", condition="false", uid="w"))
    assert (never.outcome, never.uid) == ("waiting", "w")
    assert "look again and again" in never.reason
    timeout = tried(row("wait_until", condition="false", timeout="P7D", uid="w"))
    assert timeout.outcome == "complete"


def test_a_row_that_looks_again_and_again_can_be_answered(parcel: Parcel) -> None:
    until = row("wait_until", condition="false", uid="w", result_key="found")
    trial = tried(until, obj=parcel, answers={"w": {"result": True}})
    assert (trial.outcome, trial.state) == ("complete", {"found": True})
    failing = tried(until, obj=parcel, answers={"w": {"error": "Lost: never came"}})
    assert (failing.outcome, failing.uid) == ("failed", "w")


def test_a_question_is_answered_or_times_out_and_nobody_is_asked() -> None:
    User.objects.create_user("kim")
    ask = row(
        "ask_person",
        title="Which way for {{ kilos }} kg?",
        users=["kim"],
        timeout="P3D",
        result_key="answer",
        uid="ask",
    )
    state = {"kilos": 30}
    trial = tried(ask, state=state, answers={"ask": {"result": {"button": "truck"}}})
    assert (trial.outcome, trial.reason) == ("complete", "")
    assert trial.state == {"kilos": 30, "answer": {"button": "truck"}}
    assert [skip.kind for skip in trial.skips] == ["task"]
    late = tried(ask, state=state)
    assert (late.outcome, late.ended) == ("complete", NOON + timedelta(days=3))
    assert late.state == {"kilos": 30, "answer": None}
    del ask["config"]["timeout"]
    endless = tried(ask, state=state)
    assert (endless.outcome, endless.uid) == ("waiting", "ask")
    assert "a person" in endless.reason
    assert HumanTask.objects.count() == 0
    assert mail.outbox == []


def child_flow() -> Flow:
    return make_flow(
        Delay("PT3H"),
        row("test.ring", text="from the child", result_key="rang"),
        UpdateState(weighed="7"),
        name="Child",
    )


def test_a_flow_that_is_waited_for_is_run_in_the_trial_and_its_effects_are_simulated() -> None:
    child_flow()
    trial = tried(
        StartFlow("child", wait=True, take_keys=["weighed"], uid="s"), Log("{{ weighed }}")
    )
    assert (trial.outcome, trial.state) == ("complete", {"weighed": 7})
    assert Ring.rung == []
    assert trial.ended == NOON + timedelta(hours=3)
    calls = [(call.flow, call.action, call.is_simulated) for call in trial.calls]
    assert ("child", "test.ring", True) in calls
    assert trial.reached == {"s", "2"}


def test_a_flow_that_is_not_waited_for_is_not_run() -> None:
    child_flow()
    trial = tried(StartFlow("child", uid="s"))
    assert {step.flow for step in trial.steps} == {trial.slug}


def test_a_flow_that_is_waited_for_can_be_answered_instead() -> None:
    child_flow()
    start = StartFlow("child", wait=True, uid="s", result_key="child")
    trial = tried(start, answers={"s": {"result": {"outcome": "complete"}}})
    assert (trial.outcome, trial.state) == ("complete", {"child": {"outcome": "complete"}})
    assert {step.flow for step in trial.steps} == {trial.slug}


def test_a_child_that_waits_for_ever_is_what_the_trial_waits_for() -> None:
    make_flow(row("test.await_pickup", for_ever=True), name="Child")
    trial = tried(StartFlow("child", wait=True, uid="s"))
    assert (trial.outcome, trial.uid) == ("waiting", "s")
    assert "the runs that it started" in trial.reason


def test_a_flow_for_each_item_is_run_for_each() -> None:
    make_flow(UpdateState(seen="1"), name="Child")
    each = row("start_flow_for_each", flow="child", items="boxes", result_key="done")
    trial = tried(each, state={"boxes": ["a", "b", "c"]})
    assert trial.outcome == "complete", trial.reason
    assert trial.state["done"]["complete"] == 3
    assert sum(step.flow == "child" for step in trial.steps) == 3


def test_branches_run_in_the_trial_and_their_rows_count() -> None:
    trial = tried(
        row(
            "parallel",
            row("branch", UpdateState(a="1"), keys=["a"], uid="left"),
            row("branch", Delay("P1D"), row("test.ring", uid="ring"), uid="right"),
            uid="both",
        ),
        Log("{{ a }}", uid="after"),
    )
    assert (trial.outcome, trial.state) == ("complete", {"a": 1})
    assert trial.reached >= {"both", "left", "right", "ring", "after"}
    assert [call.uid for call in trial.calls if call.is_simulated] == ["ring"]
    assert Ring.rung == []
    assert trial.ended == NOON + timedelta(days=1)


def test_a_branch_that_fails_is_what_the_trial_tells_of() -> None:
    broken = row("branch", UpdateState(n="n|add:1", a="b"), uid="left")
    trial = tried(row("parallel", broken, uid="both"), Log("after"), state={"n": "x"})
    assert (trial.outcome, trial.uid) == ("waiting", "both")
    assert "add" in trial.reason
    assert [step.uid for step in trial.steps if step.error] == ["1.1.1"]


def test_a_trial_can_stop_inside_a_branch() -> None:
    branch = row("branch", Log("a"), Log("b", uid="here"), uid="left")
    trial = tried(row("parallel", branch, uid="both"), Log("after"), until="here")
    assert trial.outcome == "reached"
    assert "here" not in trial.reached


def test_on_error_takes_what_a_row_was_told_to_fail_with() -> None:
    trial = tried(
        row("try", row("test.ring", uid="ring"), Log("not reached", uid="skipped")),
        row("on_error", Log("{{ error.type }}: {{ error.message }}"), errors=["Unreachable"]),
        answers={"ring": {"error": "Unreachable: no line"}},
    )
    assert trial.outcome == "complete"
    assert "skipped" not in trial.reached
    (told,) = [note for step in trial.steps for note in step.notes if "no line" in note]
    assert told.startswith("Unreachable")


def test_for_each_takes_each_item() -> None:
    each = row("for_each", Log("{{ item }}"), items="boxes", var_name="item")
    trial = tried(each, state={"boxes": ["x", "y"]})
    assert trial.outcome == "complete", trial.reason
    assert [note for step in trial.steps for note in step.notes] == ["x", "y"]


# --- mistakes and bounds --------------------------------------------------------------------------


def test_an_error_is_shown_at_the_row_as_it_would_fail(caplog: pytest.LogCaptureFixture) -> None:
    trial = tried(Log("before"), UpdateState(n="n|add:'x'"), Log("after"), state={"n": 1})
    assert (trial.outcome, trial.uid) == ("failed", "2")
    assert trial.steps[-1].error
    assert trial.detail["uid"] == "2"
    assert caplog.records == []  # nobody has to be called for a run that is not there
    assert trial.state == {"n": 1}


def test_an_unknown_action_and_a_broken_condition_are_outcomes() -> None:
    assert "no.such" in tried(row("no.such")).reason
    trial = tried(If("n >", [Log("x")]))
    assert (trial.outcome, trial.uid) == ("failed", "1")


def test_a_keep_condition_that_is_false_ends_the_trial_as_obsolete() -> None:
    trial = try_flow(draft(Log("x"), condition="go"), state={"go": False})
    assert (trial.outcome, trial.steps) == ("obsolete", [])


def test_an_endless_loop_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "MOST_STEPS", 2_000)
    trial = tried(While("true", [UpdateState(n="n|add:1")]), state={"n": 0})
    assert trial.outcome == "stopped"
    assert "2000" in trial.reason or "2,000" in trial.reason
    assert len(trial.steps) <= 2_000


def test_a_loop_that_waits_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "MOST_JUMPS", 20)
    trial = tried(While("true", [Delay("P1D")]))
    assert (trial.outcome, len(trial.skips)) == ("stopped", 20)


def test_a_trial_ends_after_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "MOST_SECONDS", 0.05)
    trial = tried(For(1_000_000, [UpdateState(n="n|add:1")]), state={"n": 0})
    assert trial.outcome == "stopped"
    assert "0.05" in trial.reason


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_texts_that_no_database_stores_are_refused(text: str) -> None:
    with pytest.raises(TrialRefused):
        tried(Log("x"), state={"n": text})
    with pytest.raises(TrialRefused):
        tried(Log("x"), trigger_payload={"n": text})
    with pytest.raises(TrialRefused):
        tried(row("test.ring", result_key="n"), answers={"1": {"result": text}})
    with pytest.raises(TrialRefused):
        tried(row("test.ring"), answers={"1": {"error": f"Broken: {text}"}})


def test_a_busy_database_is_told_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*args: Any) -> Any:
        raise OperationalError("database is locked")

    flow = draft(Log("x"))
    before = everything()
    monkeypatch.setattr("flowcontrol.trying.claim_for_trial", busy)
    with pytest.raises(TrialRefused, match="database is locked"):
        try_flow(flow)
    assert everything() == before


@pytest.mark.parametrize("answers", [{"1": 5}, {"1": {"result": 1, "error": "x"}}, {"1": {}}, [1]])
def test_answers_that_are_none_are_refused(answers: Any) -> None:
    with pytest.raises(TrialRefused, match=r"answer|Answers"):
        tried(Log("x"), answers=answers)
