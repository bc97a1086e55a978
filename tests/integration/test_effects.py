"""What an action's declared effects promise, and when the run is written for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection, transaction

from flowcontrol.base import BaseAction, Continue, Directive, Effects, FlowDirective, RunHandle
from flowcontrol.engine import (
    cancel_flowrun,
    cancel_flowruns_for_object,
    create_flowrun,
    execute_flowrun,
    retry_flowrun,
    start_flowrun,
    wake_flowrun,
)
from flowcontrol.models import FlowRun, Outcome, RunEvent, Status
from flowcontrol.registry import actions
from flowcontrol.testing import (
    Delay,
    For,
    Log,
    UpdateState,
    make_flow,
    row,
    run_until_idle,
    trace_of,
    travel_to,
)
from tests.statements import statements
from tests.testapp.models import Parcel, Station, Ticket

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)

Do = Callable[..., Any]


@pytest.fixture
def action() -> Iterator[Callable[..., type[BaseAction]]]:
    """``action("test.load", "database", do)`` registers an action that does ``do(run, obj)``."""
    with ExitStack() as stack:

        def register(
            name: str, effects: Effects, do: Do, record: Do | None = None, **attributes: Any
        ) -> type[BaseAction]:
            def run(
                self: BaseAction, *, run: RunHandle, obj: Any, config: Mapping[str, Any]
            ) -> Directive | None:
                answer: Directive | None = do(run, obj)
                return answer

            def record_it(
                self: BaseAction, result: Any, *, run: RunHandle, obj: Any, config: Any
            ) -> None:
                if record is not None:
                    record(result, run, obj)

            members = {"name": name, "effects": effects, "run": run, "record": record_it}
            made = type("Made", (BaseAction,), {**members, **attributes})
            stack.enter_context(actions.temporarily(made))
            return made

        yield register


def load(run: RunHandle, obj: Any) -> None:
    """A row for each time it took effect, named after its step."""
    Parcel.objects.create(label=run.step_key)


def history(run: FlowRun) -> list[tuple[str, int]]:
    """Kind and number of steps of each row of a run's history."""
    events = run.events.order_by("seq")
    return [(event.kind, len(event.steps or ())) for event in events]


# --- commits --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_pure_steps_are_one_write_at_the_end(action):
    with statements() as said:
        action("test.think", "none", lambda run, obj: said.note("think"))
        flow = make_flow(*[row("test.think") for _number in range(3)])
        run = create_flowrun(flow)
        said.note("start")
        execute_flowrun(run)
    story = said.story[said.story.index("start") + 1 :]
    assert [word for word in story if word not in ("savepoint", "release")] == [
        *("claim", "think", "think", "think"),
        *("begin", "write", "history", "commit"),
    ]
    assert history(run) == [("done", 3)]


@pytest.mark.django_db(transaction=True)
def test_a_database_step_commits_with_its_effect_and_its_position(action):
    action("test.load", "database", load)
    with statements() as said:
        flow = make_flow(UpdateState(a="1"), row("test.load"), row("test.load"), Log("end"))
        run = create_flowrun(flow)
        said.note("start")
        execute_flowrun(run)
    story = said.story[said.story.index("start") + 1 :]
    one_step = ["begin", "insert testapp_parcel", "write", "history", "commit"]
    assert [word for word in story if word not in ("savepoint", "release")] == [
        "claim",
        *one_step,
        *one_step,
        *("begin", "write", "history", "commit"),
    ]
    assert history(run) == [("steps", 2), ("steps", 1), ("done", 1)]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's BEGIN costs no way.")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("effects", "do", "expected"),
    [
        # Coming to the first row; the rows; the end, which is written with the last of them.
        ("external", lambda run, obj: None, [True, True, True]),
        ("database", lambda run, obj: None, [True, True]),
        ("database", load, [False, False]),
    ],
    ids=["outside", "nothing", "something"],
)
def test_a_write_that_is_all_there_is_commits_by_itself(action, effects, do, expected):
    """On PostgreSQL, where a transaction around it would cost two more ways there and back."""
    alone: list[bool] = []

    def watch(execute: Callable[..., Any], sql: str, *others: Any) -> Any:
        if "WITH written" in sql or "SET items" in sql or "SET cursor" in sql:
            alone.append(bool(connection.connection.autocommit))
        answer = execute(sql, *others)
        if connection.in_atomic_block and connection.connection.autocommit:
            assert not connection.connection.info.transaction_status, "It is committed."
        return answer

    action("test.do", effects, do)
    flow = make_flow(row("test.do"), row("test.do"))
    with connection.execute_wrapper(watch):
        run = start_flowrun(flow)
        assert not connection.connection.info.transaction_status
    assert run.outcome == Outcome.COMPLETE
    assert alone == expected
    Parcel.objects.create(label="Later transactions are as they were.")
    with transaction.atomic():
        Parcel.objects.update(label="gone")
        transaction.set_rollback(True)
    assert not Parcel.objects.filter(label="gone").exists()


@pytest.mark.django_db(transaction=True)
def test_the_last_database_step_ends_the_run_in_its_own_commit(action):
    action("test.load", "database", load)
    run = start_flowrun(make_flow(row("test.load")))
    assert history(run) == [("done", 1)]


@pytest.mark.django_db(transaction=True)
def test_a_run_tells_where_it_stands_during_its_very_first_call(action):
    stood: list[str] = []

    def call(run: RunHandle, obj: Any) -> None:
        stood.append(FlowRun.objects.get(pk=run.pk).action_uid)

    action("test.call", "external", call)
    run = start_flowrun(make_flow(row("test.call", uid="r1")))
    assert stood == ["r1"]
    assert history(run) == [("done", 1)]


@pytest.mark.django_db(transaction=True)
def test_coming_to_a_call_is_no_reason_to_forget_how_often_it_was_rescued(action):
    counted: list[int] = []

    def call(run: RunHandle, obj: Any) -> None:
        counted.append(FlowRun.objects.get(pk=run.pk).rescues)

    action("test.call", "external", call)
    run = create_flowrun(make_flow(row("test.call")))
    FlowRun.objects.filter(pk=run.pk).update(rescues=2)
    execute_flowrun(run)
    run.refresh_from_db()
    assert (counted, run.rescues) == ([2], 0)


@pytest.mark.django_db(transaction=True)
def test_a_call_that_is_made_again_is_not_announced_again(action):
    with statements() as said:

        def call(run: RunHandle, obj: Any) -> Directive | None:
            said.note("call")
            return None if run.wakeup else FlowDirective.SUSPEND_AND_REPEAT()

        action("test.call", "external", call)
        run = start_flowrun(make_flow(row("test.call")))
        wake_flowrun(run, {"seats": 3})
        said.note("again")
        execute_flowrun(run)
    story = said.story[said.story.index("again") + 1 :]
    # Nothing is new but the claim, and that is only looked at.
    assert story == ["claim", "call", "begin", "write", "history", "commit"]
    assert run.status == Status.DONE


@pytest.mark.django_db(transaction=True)
def test_an_outside_call_stands_between_two_commits_with_no_transaction_open(action):
    with statements() as said:

        def call(run: RunHandle, obj: Any) -> Continue:
            said.note("call" if not connection.in_atomic_block else "call inside a transaction")
            return Continue("hello")

        def record(result: Any, run: RunHandle, obj: Any) -> None:
            Parcel.objects.create(label=result)

        action("test.call", "external", call, record)
        run = create_flowrun(make_flow(UpdateState(a="1"), row("test.call"), Log("end")))
        said.note("start")
        execute_flowrun(run)
    story = said.story[said.story.index("start") + 1 :]
    assert [word for word in story if word not in ("savepoint", "release")] == [
        "claim",
        *("begin", "write", "history", "commit"),
        "call",
        *("begin", "insert testapp_parcel", "write", "history", "commit"),
        *("begin", "write", "history", "commit"),
    ]
    assert Parcel.objects.get().label == "hello"
    assert history(run) == [("steps", 1), ("steps", 1), ("done", 1)]


@pytest.mark.django_db(transaction=True)
def test_groupable_steps_share_a_commit(action):
    action("test.load", "database", load, groupable=True)
    with statements() as said:
        run = start_flowrun(make_flow(For(5, [row("test.load"), UpdateState(n="1")])))
    assert run.outcome == Outcome.COMPLETE
    assert Parcel.objects.values("label").distinct().count() == 5
    assert said.story.count("insert testapp_parcel") == 5
    assert said.story.count("write") == 1


# --- exactly once, at least once ------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_what_a_failing_database_step_wrote_is_rolled_back(action):
    def half(run: RunHandle, obj: Any) -> None:
        load(run, obj)
        run.state["loaded"] = True
        raise LookupError("no place left")

    action("test.load", "database", half)
    run = start_flowrun(make_flow(UpdateState(before="1"), row("test.load")))
    assert (run.status, run.state) == (Status.FAILED, {"before": 1})
    assert not Parcel.objects.exists()
    assert run.reason == "Row 'test.load' (2): LookupError: no place left"
    assert history(run) == [("failed", 1)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("groupable", [False, True])
def test_a_failing_step_of_a_group_fails_alone(action, groupable):
    def two_at_most(run: RunHandle, obj: Any) -> None:
        load(run, obj)
        run.log("loaded")
        if run.state["n"] == 2:
            raise LookupError("no place left")

    action("test.load", "database", two_at_most, groupable=groupable)
    flow = make_flow(For(5, [UpdateState(n="i"), row("test.load")], var_name="i"))
    run = start_flowrun(flow)
    assert (run.status, run.state) == (Status.FAILED, {"n": 2})
    assert Parcel.objects.count() == 2
    steps = [step for event in run.events.order_by("seq") for step in event.steps or ()]
    assert trace_of(run) == [*(["for", "update", "test.load"] * 2), "for", "update"]
    assert [step[5] for step in steps if len(step) > 5] == [["loaded"], ["loaded"]]


@pytest.mark.django_db(transaction=True)
def test_the_step_key_stays_over_retries_and_is_new_in_each_round(action):
    keys: list[str] = []

    def call(run: RunHandle, obj: Any) -> None:
        keys.append(run.step_key)
        if len(keys) in (1, 3):
            raise ConnectionError

    action("test.call", "external", call)
    run = start_flowrun(make_flow(For(2, [row("test.call")])))
    for _retry in range(2):
        assert run.status == Status.FAILED
        retry_flowrun(run)
        execute_flowrun(run)
    assert run.outcome == Outcome.COMPLETE
    first, first_again, second, second_again = keys
    assert first == first_again != second == second_again
    assert all(key.startswith(f"{run.pk}-") for key in keys)


@pytest.mark.django_db(transaction=True)
def test_record_belongs_to_the_call_it_records(action):
    seen: dict[str, Any] = {}

    def call(run: RunHandle, obj: Any) -> Continue:
        seen["called with"] = run.step_key
        run.log("calling")
        return Continue({"seats": 3})

    def record(result: Any, run: RunHandle, obj: Any) -> None:
        seen["recorded with"] = run.step_key
        seen["result"] = result
        run.state["recorded"] = True
        run.log("recorded")

    action("test.call", "external", call, record)
    run = start_flowrun(make_flow(row("test.call", result_key="answer"), Log("end")))
    assert seen["result"] == {"seats": 3}
    assert seen["recorded with"] == seen["called with"]
    assert run.state == {"answer": {"seats": 3}, "recorded": True}
    step = next(event.steps[0] for event in run.events.all() if event.steps)
    assert step[5] == ["calling", "recorded"]


@pytest.mark.django_db(transaction=True)
def test_an_action_without_a_result_records_none(action):
    results: list[Any] = []
    action(
        "test.call", "external", lambda run, obj: None, lambda result, *_: results.append(result)
    )
    start_flowrun(make_flow(row("test.call")))
    assert results == [None]


@pytest.mark.django_db(transaction=True)
def test_a_failing_record_fails_the_step_and_leaves_nothing_of_it(action):
    def record(result: Any, run: RunHandle, obj: Any) -> None:
        Parcel.objects.create(label="half")
        run.state["half"] = True
        raise LookupError("cannot record")

    action("test.call", "external", lambda run, obj: Continue("x"), record)
    run = start_flowrun(make_flow(row("test.call", result_key="answer")))
    assert (run.status, run.state) == (Status.FAILED, {})
    assert not Parcel.objects.exists()
    assert trace_of(run) == []


@pytest.mark.django_db
def test_what_record_leaves_in_the_state_has_to_be_json_as_well(action):
    def record(result: Any, run: RunHandle, obj: Any) -> None:
        run.state["at"] = NOON
        run.state["box"] = {1}

    action("test.call", "external", lambda run, obj: None, record)
    run = start_flowrun(make_flow(row("test.call")))
    assert run.status == Status.FAILED
    assert "the state at box: a set has no order" in run.reason


@pytest.mark.django_db(transaction=True)
def test_a_cancel_during_a_database_step_wins_and_its_effect_rolls_back(action):
    """On the same connection a cancel would roll back too, so the outside call does it."""

    def call(run: RunHandle, obj: Any) -> None:
        cancel_flowrun(FlowRun.objects.get(pk=run.pk), reason="not needed")

    action("test.call", "external", call, lambda result, run, obj: load(run, obj))
    action("test.load", "database", load)
    run = start_flowrun(make_flow(row("test.call"), row("test.load")))
    assert (run.outcome, run.reason) == (Outcome.CANCELED, "not needed")
    assert not Parcel.objects.exists()
    assert trace_of(run) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("groupable", [False, True])
def test_a_database_step_that_cancels_its_own_run_is_told_how_to_end_it(action, groupable):
    """Its cancel rolls back with it; without a word it would be repeated until its last rescue."""

    def cancel_all(run: RunHandle, obj: Any) -> None:
        load(run, obj)
        cancel_flowruns_for_object(obj)

    action("test.cancel_all", "database", cancel_all, groupable=groupable)
    box = Parcel.objects.create(label="a")
    run = start_flowrun(make_flow(row("test.cancel_all")), box)
    assert run.status == Status.FAILED
    assert "FlowDirective.ABORT" in run.reason
    assert list(Parcel.objects.all()) == [box]


# --- somebody else's transaction ------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_inside_a_callers_transaction_a_run_parks_before_its_first_outside_call(action):
    calls: list[str] = []
    action("test.call", "external", lambda run, obj: calls.append(run.step_key))
    action("test.load", "database", load)
    flow = make_flow(row("test.load"), row("test.call"), UpdateState(after="1"))
    with transaction.atomic():
        run = start_flowrun(flow)
        assert (run.status, run.action_uid, calls) == (Status.PENDING, "2", [])
        assert execute_flowrun(run).status == Status.PENDING
    assert Parcel.objects.count() == 1
    run_until_idle()
    run.refresh_from_db()
    assert (run.outcome, run.state, len(calls)) == (Outcome.COMPLETE, {"after": 1}, 1)


@pytest.mark.django_db(transaction=True)
def test_a_caller_that_rolls_back_takes_run_and_effects_with_it(action):
    action("test.load", "database", load)
    flow = make_flow(row("test.load"))

    def request() -> None:
        with transaction.atomic():
            assert start_flowrun(flow).outcome == Outcome.COMPLETE
            raise InterruptedError

    with pytest.raises(InterruptedError):
        request()
    assert (FlowRun.objects.count(), RunEvent.objects.count(), Parcel.objects.count()) == (0, 0, 0)


@pytest.mark.django_db
def test_under_testcase_outside_calls_happen(action):
    calls: list[str] = []
    action("test.call", "external", lambda run, obj: calls.append(run.step_key))
    run = start_flowrun(make_flow(row("test.call")))
    assert (run.outcome, len(calls)) == (Outcome.COMPLETE, 1)


@pytest.mark.django_db
def test_a_failing_statement_leaves_the_surrounding_transaction_usable(action):
    def twice(run: RunHandle, obj: Any) -> None:
        Station.objects.bulk_create([Station(code="JFK", name="x"), Station(code="JFK", name="y")])

    every: tuple[Effects, ...] = ("none", "database", "external")
    for effects in every:
        action(f"test.{effects}", effects, twice)
        run = start_flowrun(make_flow(row(f"test.{effects}"), name=effects))
        assert run.status == Status.FAILED
        assert "IntegrityError" in run.reason
        assert not Station.objects.exists()


# --- the object -----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_database_step_reads_the_object_again_and_an_outside_call_is_followed_by_it(action):
    seen: list[str] = []

    def look(run: RunHandle, obj: Parcel) -> None:
        seen.append(obj.label)

    def look_and_rename(run: RunHandle, obj: Parcel) -> None:
        seen.append(obj.label)
        # Somebody else changes the row meanwhile; the instance at hand does not know.
        Parcel.objects.filter(pk=obj.pk).update(label=f"{obj.label}!")

    action("test.look", "none", look)
    action("test.load", "database", look_and_rename)
    action("test.call", "external", look_and_rename)
    box = Parcel.objects.create(label="a")
    flow = make_flow(
        *(row("test.look"), row("test.call"), row("test.look")),
        *(row("test.load"), row("test.load"), row("test.look")),
    )
    run = start_flowrun(flow, box)
    assert run.outcome == Outcome.COMPLETE
    assert seen == ["a", "a", "a!", "a!", "a!!", "a!!"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("effects", ["none", "database", "external"])
def test_a_run_whose_object_is_gone_ends_as_obsolete(action, effects):
    calls: list[str] = []
    action("test.touch", effects, lambda run, obj: calls.append(obj.label))
    box = Parcel.objects.create(label="a")
    key = box.pk
    with travel_to(NOON) as clock:
        run = start_flowrun(make_flow(Delay("PT1H"), row("test.touch")), box)
        box.delete()
        clock.advance(hours=1)
        run_until_idle()
    run.refresh_from_db()
    assert (run.status, run.outcome, run.reason) == (
        Status.DONE,
        Outcome.OBSOLETE,
        f"Its object ({key}) is gone.",
    )
    assert calls == []
    assert not run.waits.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("effects", ["database", "external"])
def test_an_object_that_goes_during_the_slice_ends_the_run_before_the_next_row(action, effects):
    calls: list[str] = []

    def delete(run: RunHandle, obj: Parcel) -> None:
        obj.delete()

    action("test.delete", effects, delete)
    action("test.load", "database", lambda run, obj: calls.append(obj.label))
    flow = make_flow(UpdateState(a="1"), row("test.delete"), row("test.load"))
    run = start_flowrun(flow, Parcel.objects.create(label="a"))
    assert (run.outcome, run.state, calls) == (Outcome.OBSOLETE, {"a": 1}, [])
    assert "is gone" in run.reason


@pytest.mark.django_db
def test_once_the_keep_condition_is_false_the_run_is_obsolete():
    flow = make_flow(
        Delay("PT1H"), Log("x"), content_type="testapp.parcel", condition="not object.is_loaded"
    )
    box = Parcel.objects.create(label="a")
    with travel_to(NOON) as clock:
        run, other = start_flowrun(flow, box), start_flowrun(flow, Parcel.objects.create())
        Parcel.objects.filter(pk=box.pk).update(is_loaded=True)
        clock.advance(hours=1)
        run_until_idle()
    run.refresh_from_db()
    other.refresh_from_db()
    assert (run.outcome, run.reason) == (
        Outcome.OBSOLETE,
        "No longer true: not object.is_loaded",
    )
    assert other.outcome == Outcome.COMPLETE


@pytest.mark.django_db
def test_an_error_in_the_keep_condition_is_an_error_not_false():
    flow = make_flow(Log("x"), condition="weight > 3")
    run = start_flowrun(flow)
    assert run.status == Status.FAILED
    assert "weight" in run.reason


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("effects", ["none", "database", "external"])
def test_a_run_can_be_given_another_object(action, effects):
    ticket = Ticket.objects.create(passenger="Ada")
    seen: list[Any] = []
    action("test.pick", effects, lambda run, obj: run.set_object(ticket))
    action("test.look", "none", lambda run, obj: seen.append(obj))
    flow = make_flow(row("test.pick"), row("test.look"), Delay("PT1H"), row("test.look"))
    with travel_to(NOON) as clock:
        run = start_flowrun(flow, Parcel.objects.create(label="a"))
        assert run.content_object == ticket
        clock.advance(hours=1)
        run_until_idle()
    run.refresh_from_db()
    assert (run.content_object, seen) == (ticket, [ticket, ticket])


@pytest.mark.django_db
def test_an_object_that_was_never_saved_cannot_be_set(action):
    action("test.pick", "none", lambda run, obj: run.set_object(Parcel(label="only in memory")))
    run = start_flowrun(make_flow(row("test.pick")))
    assert run.status == Status.FAILED
    assert "has to be saved" in run.reason
    assert trace_of(run) == []


@pytest.mark.django_db(transaction=True)
def test_a_failing_step_does_not_change_the_object(action):
    def pick_and_fail(run: RunHandle, obj: Any) -> None:
        run.set_object(Ticket.objects.create(passenger="Ada"))
        raise LookupError

    every: tuple[Effects, ...] = ("none", "database", "external")
    for effects in every:
        action(f"test.{effects}", effects, pick_and_fail)
        box = Parcel.objects.create(label=effects)
        run = start_flowrun(make_flow(row(f"test.{effects}"), name=effects), box)
        assert (run.status, run.content_object) == (Status.FAILED, box)


# --- the handle -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_action_learns_who_started_the_run_and_when_it_is(action):
    seen: list[Any] = []
    action("test.look", "none", lambda run, obj: seen.extend([run.user, run.now, run.flow, run.pk]))
    ada = get_user_model().objects.create_user("ada")
    flow = make_flow(row("test.look"), slug="looking")
    with travel_to(NOON):
        run = start_flowrun(flow, user=ada)
    assert seen == [ada, NOON, "looking", run.pk]


@pytest.mark.django_db
def test_a_user_who_is_gone_by_then_is_nobody(action):
    seen: list[Any] = []
    action("test.look", "none", lambda run, obj: seen.append(run.user))
    ada = get_user_model().objects.create_user("ada")
    run = create_flowrun(make_flow(row("test.look")), user=ada)
    ada.delete()
    execute_flowrun(run)
    assert seen == [None]


@pytest.mark.django_db
def test_what_an_action_logs_stands_beside_its_step_in_the_history(action):
    def say(run: RunHandle, obj: Any) -> None:
        run.log("line 1")
        run.log("line 2")

    action("test.say", "none", say)
    run = start_flowrun(make_flow(row("test.say"), Log("{{ n }} is n")), state={"n": 3})
    steps = run.events.get().steps or []
    assert [step[5] for step in steps] == [["line 1", "line 2"], ["3 is n"]]
    assert steps[1][4] == [["n", 3]]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("effects", ["none", "database", "external"])
def test_a_result_is_stored_under_the_rows_key(action, effects):
    action("test.ask", effects, lambda run, obj: Continue({"at": NOON, "n": (1, 2)}))
    run = start_flowrun(
        make_flow(row("test.ask", result_key="answer"), UpdateState(first="answer.n.0"))
    )
    assert run.state == {"answer": {"at": "2013-02-08T12:00:00Z", "n": [1, 2]}, "first": 1}


@pytest.mark.django_db
def test_without_a_key_or_without_a_result_nothing_is_stored(action):
    action("test.ask", "none", lambda run, obj: Continue(7))
    action("test.none", "none", lambda run, obj: None)
    action("test.null", "none", lambda run, obj: Continue(None))
    flow = make_flow(
        row("test.ask"), row("test.none", result_key="a"), row("test.null", result_key="b")
    )
    assert start_flowrun(flow).state == {"b": None}


@pytest.mark.django_db
def test_a_result_that_cannot_be_stored_fails_the_step_and_leaves_nothing_of_it(action):
    def ask(run: RunHandle, obj: Any) -> Continue:
        run.state["half"] = True
        return Continue(object())

    action("test.ask", "none", ask)
    run = start_flowrun(make_flow(row("test.ask", result_key="answer")))
    assert (run.status, run.state) == (Status.FAILED, {})
    assert "result 'answer'" in run.reason


@pytest.mark.django_db
def test_rows_see_what_json_made_of_the_state_at_once_and_after_a_restart(action):
    seen: list[Any] = []

    def put(run: RunHandle, obj: Any) -> None:
        run.state["at"] = NOON
        run.state["pair"] = (1, 2)
        run.state["lengths"] = {"long": timedelta(hours=2)}

    action("test.put", "none", put)
    action("test.look", "none", lambda run, obj: seen.append(dict(run.state)))
    with travel_to(NOON) as clock:
        start_flowrun(make_flow(row("test.put"), row("test.look"), Delay("PT1H"), row("test.look")))
        clock.advance(hours=1)
        run_until_idle()
    expected = {"at": "2013-02-08T12:00:00Z", "pair": [1, 2], "lengths": {"long": "PT2H"}}
    assert seen == [expected, expected]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("effects", ["none", "database", "external"])
def test_what_woke_a_run_is_still_there_when_the_row_has_to_be_tried_again(action, effects):
    """Also when the row's first checkpoint stood between being woken and reading it."""
    seen: list[Any] = []

    def wait(run: RunHandle, obj: Any) -> Directive | None:
        if not seen:
            seen.append("waits")
            return FlowDirective.SUSPEND_AND_REPEAT()
        seen.append(run.wakeup["data"] if run.wakeup else None)
        if len(seen) == 2:
            raise ConnectionError
        return None

    action("test.wait", effects, wait)
    run = start_flowrun(make_flow(row("test.wait")))
    assert wake_flowrun(run, {"seats": 3})
    execute_flowrun(run)
    assert run.status == Status.FAILED
    retry_flowrun(run)
    execute_flowrun(run)
    assert (run.outcome, seen) == (Outcome.COMPLETE, ["waits", {"seats": 3}, {"seats": 3}])


@pytest.mark.django_db(transaction=True)
def test_what_woke_a_run_survives_parking_before_an_outside_call(action):
    seen: list[Any] = []

    def wait(run: RunHandle, obj: Any) -> Directive | None:
        seen.append(run.wakeup and run.wakeup["data"])
        return None if run.wakeup else FlowDirective.SUSPEND_AND_REPEAT()

    action("test.wait", "external", wait)
    run = start_flowrun(make_flow(row("test.wait")))
    with transaction.atomic():
        wake_flowrun(run, "come")
        execute_flowrun(run)
    run_until_idle()
    assert seen == [None, "come"]


@pytest.mark.django_db
def test_an_answer_that_is_no_directive_is_the_actions_mistake(action):
    action("test.odd", "none", lambda run, obj: "continue")
    run = start_flowrun(make_flow(row("test.odd")))
    assert run.status == Status.FAILED
    assert "returned 'continue'; an action returns a FlowDirective or None" in run.reason


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (FlowDirective.SUSPEND(until=datetime(2013, 2, 8)), "aware"),  # noqa: DTZ001
        (FlowDirective.SUSPEND(until="tomorrow"), "aware"),  # type: ignore[arg-type]
        (FlowDirective.SUSPEND_AND_REPEAT(until=datetime(2013, 2, 8)), "aware"),  # noqa: DTZ001
        (FlowDirective.SUSPEND_AND_REPEAT(memo={1, 2}), "a set has no order"),
        (FlowDirective.SUSPEND(for_event=object()), "trigger"),  # type: ignore[arg-type]
    ],
)
def test_a_wait_that_cannot_be_written_down_fails_the_step_which_still_stands_there(
    action, answer, told
):
    action("test.wait", "none", lambda run, obj: answer)
    run = start_flowrun(make_flow(row("test.wait"), UpdateState(after="1")))
    assert run.status == Status.FAILED
    assert told in run.reason
    retry_flowrun(run)
    execute_flowrun(run)
    assert (run.status, run.state, run.action_uid) == (Status.FAILED, {}, "1")


@pytest.mark.django_db
def test_steps_with_effects_see_the_clock_move_on(action):
    seen: list[datetime] = []
    with travel_to(NOON) as clock:

        def call(run: RunHandle, obj: Any) -> None:
            seen.append(run.now)
            clock.advance(minutes=10)

        action("test.call", "external", call)
        action("test.look", "none", lambda run, obj: seen.append(run.now))
        run = start_flowrun(make_flow(row("test.call"), row("test.look"), row("test.call")))
    minutes = [(moment - NOON) // timedelta(minutes=1) for moment in seen]
    assert minutes == [0, 10, 10]
    assert run.done_at == NOON + timedelta(minutes=20)


@pytest.mark.django_db
def test_an_action_that_looks_for_what_is_not_there_fails_like_any_other(action):
    def look(run: RunHandle, obj: Any) -> None:
        Parcel.objects.get(pk=-1)

    action("test.look", "database", look)
    run = start_flowrun(make_flow(row("test.look")))
    assert run.status == Status.FAILED
    assert "DoesNotExist" in run.reason
    assert issubclass(Parcel.DoesNotExist, ObjectDoesNotExist)
