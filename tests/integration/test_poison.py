"""One run that nobody can execute: it fails with a reason to read, and the others go on.

Each test puts a poisonous run among healthy ones, in one batch of one sweep.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from flowcontrol.base import (
    Abort,
    BaseAction,
    Directive,
    Effects,
    Enter,
    FlowDirective,
    RetryLater,
    RunHandle,
)
from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.models import Flow, FlowRun, FlowVersion, Outcome, Status
from flowcontrol.registry import actions
from flowcontrol.testing import Log, StartFlow, UpdateState, While, make_flow, row, run_until_idle
from tests.testapp.models import Parcel, Ticket

pytestmark = pytest.mark.django_db

EVERY_EFFECT: list[Effects] = ["none", "database", "external"]


@pytest.fixture
def bad() -> Iterator[Callable[..., Flow]]:
    """A flow with one row, which does something bad."""
    with ExitStack() as stack:

        def make(do: Callable[[RunHandle], Any], effects: Effects = "none", **more: Any) -> Flow:
            def run(self: BaseAction, *, run: RunHandle, obj: Any, config: Any) -> Directive | None:
                answer: Directive | None = do(run)
                return answer

            members = {"name": "test.bad", "effects": effects, "run": run, "has_children": True}
            stack.enter_context(actions.temporarily(type("Bad", (BaseAction,), members)))
            return make_flow(
                UpdateState(before="1"), row("test.bad", **more), Log("after"), name="Bad"
            )

        yield make


@pytest.fixture
def healthy() -> Flow:
    """A flow of which some runs are due, and whose rows are of all kinds."""
    make_flow(Log("x"), name="Sub", slug="sub")
    return make_flow(
        UpdateState(n="n|add:1"),
        StartFlow("sub"),
        row("send_email", to=["a@b.example"], subject="s", text="t"),
        name="Healthy",
    )


def sweep_among_healthy_ones(poisonous: FlowRun, healthy: Flow) -> str:
    """Sweep once; the reason why the poisonous run failed."""
    runs = [create_flowrun(healthy, state={"n": 0}) for _number in range(2)]
    due = FlowRun.objects.filter(status=Status.PENDING).count()
    tally = continue_flowruns()
    assert tally.executed >= due
    for run in runs:
        run.refresh_from_db()
        assert (run.outcome, run.state) == (Outcome.COMPLETE, {"n": 1})
    poisonous.refresh_from_db()
    assert (poisonous.status, poisonous.outcome) == (Status.FAILED, "")
    assert (poisonous.claim_token, poisonous.due) == (None, None)
    event = poisonous.events.latest("seq")
    assert event.kind == "failed"
    assert event.reason == poisonous.reason
    return poisonous.reason


# --- rows that are wrong in the database ----------------------------------------------------------


def test_an_action_that_is_not_there_any_more(bad, healthy):
    run = create_flowrun(bad(lambda run: None))
    with actions.temporarily():
        actions._items.pop("test.bad")
        actions.generation += 1
        reason = sweep_among_healthy_ones(run, healthy)
    assert "Unknown action 'test.bad'" in reason
    assert (run.state, run.action_uid) == ({"before": 1}, "2")


def broken_row(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    def change(document: dict[str, Any]) -> Any:
        document["actions"][0].update(changes)
        return document

    return change


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "config of another type": (broken_row(config={"condition": 3}), "condition"),
    "config without what is required": (broken_row(config={}), "condition"),
    "computed by a number": (broken_row(config={"condition": {"$expr": 5}}), "condition"),
    "bad expression": (broken_row(config={"condition": "n >"}), "ends too early"),
    "config no object": (broken_row(config=[]), "config"),
    "config from the future": (broken_row(schema_version=99), "version 99"),
    "retry no object": (broken_row(retry="often"), "retry"),
    "no children": (broken_row(children=None), "children"),
    "no action": (broken_row(action=None), "action"),
    "no uid": (broken_row(uid=""), "uid"),
    "bad keep condition": (lambda document: {**document, "condition": "n >"}, "ends too early"),
    "keep condition of another type": (lambda document: {**document, "condition": 5}, "condition"),
    "format from the future": (lambda document: {**document, "format": 99}, "format 99"),
    "actions no list": (lambda document: {**document, "actions": "none"}, "actions"),
    "a list": (lambda document: [], "JSON object"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_version_that_somebody_has_damaged(damage, healthy):
    change, told = DAMAGES[damage]
    flow = make_flow(row("if", row("log", message="x"), condition="n > 1"), name="Damaged")
    run = create_flowrun(flow, state={"n": 2})
    version = FlowVersion.objects.get(flow=flow)
    FlowVersion.objects.filter(pk=version.pk).update(
        document=change(version.document), checksum=f"damaged: {damage}"
    )
    reason = sweep_among_healthy_ones(run, healthy)
    assert told in reason
    assert (run.state, run.visit) == ({"n": 2}, 0)


@pytest.mark.parametrize(
    "cursor",
    [
        {"format": 99, "frames": [{"at": "1"}]},
        {"format": 1, "frames": [{}]},
        {"format": 1, "frames": ["1"]},
        {"format": 1, "frames": 7},
        {"format": 1, "frames": [{"at": "no such row"}]},
        {"format": 1, "frames": []},
        {"format": 1},
        [1, 2],
        "somewhere",
    ],
    ids=str,
)
def test_a_position_that_somebody_has_damaged(cursor, healthy):
    run = create_flowrun(make_flow(Log("x"), name="Damaged"))
    FlowRun.objects.filter(pk=run.pk).update(cursor=cursor)
    assert sweep_among_healthy_ones(run, healthy)
    # Whoever repairs it finds what was there.
    assert run.cursor == cursor


@pytest.mark.parametrize("state", [[1], "text", 7], ids=str)
def test_a_state_that_somebody_has_damaged(state, healthy):
    run = create_flowrun(make_flow(Log("x"), name="Damaged"))
    FlowRun.objects.filter(pk=run.pk).update(state=state)
    assert "no JSON object" in sweep_among_healthy_ones(run, healthy)
    assert run.state == state


def test_an_object_key_that_its_model_cannot_have_any_more(healthy):
    flow = make_flow(Log("x"), name="Moved")
    runs = [
        create_flowrun(flow, Ticket.objects.create(passenger="Ada")),
        create_flowrun(flow, Parcel.objects.create(label="a")),
    ]
    FlowRun.objects.filter(flow=flow).update(object_id="not a key")
    good = create_flowrun(flow, Parcel.objects.create(label="b"))
    continue_flowruns()
    for run in runs:
        run.refresh_from_db()
        assert (run.outcome, run.reason) == (
            Outcome.OBSOLETE,
            "Its object (not a key) is gone.",
        )
    good.refresh_from_db()
    assert good.outcome == Outcome.COMPLETE


# --- code that raises what it likes ---------------------------------------------------------------


class Abrupt(BaseException):
    """Not even an Exception."""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def recurse(run: RunHandle) -> None:
    recurse(run)


@pytest.mark.parametrize("effects", EVERY_EFFECT)
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Abrupt("gone"), "Abrupt: gone"),
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit(), "GeneratorExit"),
        (MemoryError("all of it"), "MemoryError: all of it"),
        (StopIteration(), "StopIteration"),
        (Unspeakable(), "Unspeakable"),
        (ValueError("a\x00b \ud800"), "ValueError: a�b"),
        (ExceptionGroup("two", [ValueError("1"), TypeError("2")]), "two (2 sub-exceptions)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_action_that_raises_anything_at_all(bad, healthy, effects, error, told):
    def explode(run: RunHandle) -> None:
        raise error

    run = create_flowrun(bad(explode, effects))
    assert told in sweep_among_healthy_ones(run, healthy)
    assert (run.state, run.action_uid) == ({"before": 1}, "2")


@pytest.mark.parametrize("effects", EVERY_EFFECT)
def test_an_action_that_calls_itself_for_ever(bad, healthy, effects):
    run = create_flowrun(bad(recurse, effects))
    assert "RecursionError" in sweep_among_healthy_ones(run, healthy)
    detail = run.events.latest("seq").detail
    assert detail is not None
    assert "recurse(run)" in detail["traceback"]


@pytest.mark.parametrize(
    "later", [RetryLater(timedelta.max), RetryLater(timedelta(days=400_000))], ids=str
)
def test_later_can_be_very_late_and_stops_nobody(bad, healthy, later):
    def ask(run: RunHandle) -> None:
        raise later

    run = create_flowrun(bad(ask))
    create_flowrun(healthy, state={"n": 0})
    continue_flowruns()
    run.refresh_from_db()
    assert (run.status, run.is_open) == (Status.WAITING, True)
    assert FlowRun.objects.get(flow=healthy).outcome == Outcome.COMPLETE


# --- state that cannot be stored ------------------------------------------------------------------


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _level in range(depth):
        value = [value]
    return value


UNSTORABLE = {
    "not a number": (lambda: float("nan"), "nan is no number that JSON knows"),
    "infinite": (lambda: [float("-inf")], "-inf is no number"),
    "nul": (lambda: "a\x00b", "the character NUL"),
    "half a character": (lambda: "\ud800", "half of a character"),
    "set": (lambda: {"deep": [{1, 2}]}, "the state at bad.deep[0]: a set has no order"),
    "model instance": (lambda: Parcel(label="x"), "a Parcel is a row of the database"),
    "query": (Parcel.objects.all, "keep their keys"),
    "bytes": (lambda: b"x", "a bytes is none of"),
    "decimal": (lambda: Decimal("NaN"), "NaN is no number"),
    "huge number": (lambda: 10**5000, "too large"),
    "keys": (lambda: {(1, 2): 3}, "its keys have to be text"),
    "ten megabytes": (lambda: "x" * 10_000_000, "FLOWCONTROL_MAX_STATE_BYTES"),
    "deep": (lambda: nested(5_000), "nested more than 500 levels deep"),
}


def itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("effects", EVERY_EFFECT)
@pytest.mark.parametrize("kind", UNSTORABLE)
def test_state_that_no_database_stores(bad, healthy, effects, kind):
    make, told = UNSTORABLE[kind]

    def leave(run: RunHandle) -> None:
        run.state["bad"] = make()

    run = create_flowrun(bad(leave, effects))
    assert told in sweep_among_healthy_ones(run, healthy)
    assert (run.state, run.action_uid) == ({"before": 1}, "2")


def test_state_that_contains_itself(bad, healthy):
    run = create_flowrun(bad(lambda run: run.state.update(bad=itself())))
    assert "contains itself" in sweep_among_healthy_ones(run, healthy)


def test_state_that_is_no_object_any_more(bad, healthy):
    def replace(run: RunHandle) -> None:
        run.state = [1]  # type: ignore[assignment]

    run = create_flowrun(bad(replace))
    assert "has to stay an object, it became list" in sweep_among_healthy_ones(run, healthy)


@pytest.mark.parametrize("effects", EVERY_EFFECT)
def test_what_an_action_logs_is_made_storable(bad, healthy, effects):
    run = create_flowrun(bad(lambda run: run.log("a\x00b\ud800"), effects))
    create_flowrun(healthy, state={"n": 0})
    continue_flowruns()
    run.refresh_from_db()
    assert run.outcome == Outcome.COMPLETE
    notes = [step[5] for event in run.events.all() for step in event.steps or () if len(step) > 5]
    assert notes[0] == ["a�b?"]


DOUBLE = UpdateState(text="text|add:text")


@pytest.mark.parametrize(
    "then",
    [
        pytest.param([], id="ends"),
        pytest.param([row("delay", duration="PT1H")], id="waits"),
        pytest.param([row("if", condition="missing|length")], id="fails"),
        pytest.param([row("start_flow", flow="sub")], id="database step"),
        pytest.param(
            [row("send_email", to=["a@b.example"], subject="s", text="t")], id="outside call"
        ),
    ],
)
def test_state_that_grows_beyond_all_bounds(healthy, settings, then):
    settings.FLOWCONTROL_MAX_STATE_BYTES = 50_000
    flow = make_flow(*[DOUBLE] * 12, *then, name="Grows")
    run = create_flowrun(flow, state={"text": "0123456789abcdef"})
    reason = sweep_among_healthy_ones(run, healthy)
    assert "FLOWCONTROL_MAX_STATE_BYTES" in reason
    assert (run.state, run.visit) == ({"text": "0123456789abcdef"}, 0)


def test_a_state_that_grows_too_big_after_a_step_with_effects_goes_back_to_that_step(
    healthy, settings
):
    settings.FLOWCONTROL_MAX_STATE_BYTES = 50_000
    flow = make_flow(StartFlow("sub"), *[DOUBLE] * 12, name="Grows")
    run = create_flowrun(flow, state={"text": "0123456789abcdef"})
    assert "FLOWCONTROL_MAX_STATE_BYTES" in sweep_among_healthy_ones(run, healthy)
    # Not to its beginning: the sub flow was started, and is not started again by a retry.
    assert run.visit == 1
    assert run.cursor == {"format": 1, "frames": [{"at": "2"}]}


# --- answers that cannot be stored ----------------------------------------------------------------


@pytest.mark.parametrize("effects", EVERY_EFFECT)
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Enter(memo={1, 2}), "a set has no order"),
        (Enter(memo=float("nan")), "nan is no number"),
        (Enter(names={"box": object()}), "the loop variables at box"),
        (FlowDirective.SUSPEND_AND_REPEAT(memo=object()), "the memo"),
        (FlowDirective.SUSPEND(for_event=b"x"), "a trigger by its name"),  # type: ignore[arg-type]
        (FlowDirective.SUSPEND(until="soon"), "aware datetime"),  # type: ignore[arg-type]
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_no_database_stores(bad, healthy, effects, answer, told):
    run = create_flowrun(bad(lambda run: answer, effects))
    assert told in sweep_among_healthy_ones(run, healthy)
    assert (run.state, run.action_uid) == ({"before": 1}, "2")


@pytest.mark.parametrize("effects", EVERY_EFFECT)
def test_a_reason_is_made_storable(bad, healthy, effects):
    run = create_flowrun(bad(lambda run: Abort("a\x00b\ud800"), effects))
    create_flowrun(healthy, state={"n": 0})
    continue_flowruns()
    run.refresh_from_db()
    assert (run.outcome, run.reason) == (Outcome.ABORTED, "a�b?")


def test_a_wait_until_the_end_of_time_stops_nobody(bad, healthy):
    run = create_flowrun(
        bad(lambda run: FlowDirective.SUSPEND(until=datetime.max.replace(tzinfo=UTC)))
    )
    create_flowrun(healthy, state={"n": 0})
    continue_flowruns()
    run.refresh_from_db()
    assert (run.status, FlowRun.objects.get(flow=healthy).outcome) == (
        Status.WAITING,
        Outcome.COMPLETE,
    )


# --- loops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [10_000, 100])
def test_a_loop_that_never_ends_fails_by_name_though_its_run_yields_on_the_way(
    healthy, settings, budget
):
    settings.FLOWCONTROL_STEP_BUDGET = budget
    settings.FLOWCONTROL_MAX_HOT_LOOPS = 1_000
    flow = make_flow(While("true", [UpdateState(n="n|add:1")], label="Again"), name="Endless")
    run = create_flowrun(flow, state={"n": 0})
    create_flowrun(healthy, state={"n": 0})
    run_until_idle()
    run.refresh_from_db()
    assert (run.status, run.state["n"]) == (Status.FAILED, 1_001)
    assert 'Row "Again": It went round 1,000 times without waiting' in run.reason
    assert FlowRun.objects.get(flow=healthy).outcome == Outcome.COMPLETE


def test_with_the_default_settings_an_endless_loop_ends_too():
    run = create_flowrun(make_flow(While("true", [UpdateState(n="n|add:1")])), state={"n": 0})
    assert run_until_idle(max_sweeps=5) <= 4
    run.refresh_from_db()
    assert run.status == Status.FAILED


def test_a_long_run_lets_the_others_go_on_in_between(healthy, settings):
    settings.FLOWCONTROL_STEP_BUDGET = 10
    settings.FLOWCONTROL_BATCH_SIZE = 1
    long = create_flowrun(
        make_flow(row("for", UpdateState(n="n|add:1"), end=200), name="Long"), state={"n": 0}
    )
    create_flowrun(healthy, state={"n": 0})
    tally = continue_flowruns()
    assert tally.yielded >= 40
    long.refresh_from_db()
    assert (long.outcome, long.state) == (Outcome.COMPLETE, {"n": 200})
    others = FlowRun.objects.get(flow=healthy)
    assert others.done_at is not None
    assert long.done_at is not None
    assert others.done_at < long.done_at


def test_the_recursion_limit_is_not_touched():
    assert sys.getrecursionlimit() == 1000
