"""Ask a person: what is asked of whom, what becomes of the answer, and what ends the wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User

from flowcontrol.answering import ask
from flowcontrol.base import BaseAction, Directive, RunHandle, SuspendAndRepeat
from flowcontrol.documents import JSONObject, make_document
from flowcontrol.engine import (
    cancel_flowrun,
    complete_task,
    execute_flowrun,
    retry_flowrun,
    start_flowrun,
    wake_flowrun,
)
from flowcontrol.exceptions import AnswerInvalid, TaskRefused
from flowcontrol.findings import find_all
from flowcontrol.models import FlowRun, HumanTask, Outcome, Status, TaskStatus, WaitKind
from flowcontrol.operating import explain, go_to, pause, resume, run_now
from flowcontrol.registry import actions
from flowcontrol.testing import (
    NOON,
    Clock,
    For,
    Log,
    Stop,
    UpdateState,
    make_flow,
    row,
    run_until_idle,
    trace_of,
    travel_to,
)
from flowcontrol.trying import try_flow
from tests.testapp.models import Station

pytestmark = pytest.mark.django_db

SEATS = {
    "type": "object",
    "properties": {
        "seats": {"type": "integer", "minimum": 1},
        "note": {"type": "string", "default": "none"},
    },
    "required": ["seats"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def clock() -> Any:
    with travel_to(NOON) as clock:
        yield clock


@pytest.fixture
def sam() -> User:
    return User.objects.create_user("sam")


def Ask(**config: Any) -> JSONObject:  # noqa: N802
    return row("ask_person", result_key="answer", **{"title": "Seats?", "users": ["sam"], **config})


def asked(*more: JSONObject, obj: Any = None, state: Any = None, **config: Any) -> HumanTask:
    """The one task of a new run that asks."""
    run = start_flowrun(make_flow(Ask(**config), *more), obj, state=state)
    assert run.status == Status.WAITING, run.reason
    return HumanTask.objects.get(run=run)


def after(task: HumanTask) -> FlowRun:
    """What became of the run of a task, once everything due is done."""
    run_until_idle()
    return FlowRun.objects.get(pk=task.run_id)


# --- asking -------------------------------------------------------------------------------------


def test_a_question_is_a_row_written_with_the_wait(sam: User):
    Group.objects.create(name="Desk")
    task = asked(
        title="Seats on {{ object }}?",
        text="For {{ n }} people & more",
        form=SEATS,
        buttons=["yes = Book them", "no"],
        groups={"$expr": "groups"},
        permission="testapp.view_parcel",
        timeout="PT2H",
        obj=Station.objects.create(code="EWR", name="O'Hare & Co"),
        state={"n": 3, "groups": "Desk"},
    )
    assert (task.title, task.text) == ("Seats on O'Hare & Co?", "For 3 people & more")
    assert task.schema == SEATS
    assert task.buttons == [
        {"name": "yes", "label": "Book them"},
        {"name": "no", "label": "no"},
    ]
    assert (list(task.users.all()), task.groups.get().name) == ([sam], "Desk")
    assert task.permission == "testapp.view_parcel"
    assert (task.due, task.created_at) == (NOON + timedelta(hours=2), NOON)
    assert (task.status, task.action_uid) == (TaskStatus.OPEN, "1")
    assert task.run.due == task.due
    assert [wait.kind for wait in task.run.waits.all()] == [WaitKind.TASK]
    told = "It waits for an answer to “Seats on O'Hare & Co?”, at most until Feb. 8, 2013, "
    assert explain(task.run).startswith(told)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"users": {"$expr": "'kim'"}}, "There is no user “kim” to ask."),
        ({"groups": {"$expr": "'Gate'"}}, "There is no group “Gate” to ask."),
        ({"form": {"$expr": "form"}}, "is no JSON Schema"),
    ],
)
def test_what_leads_nowhere_fails_the_row_and_asks_nobody(config: Any, told: str, sam: User):
    flow = make_flow(Ask(**config))
    run = start_flowrun(flow, state={"form": {"type": "text"}})
    assert run.status == Status.FAILED
    assert told in run.reason
    assert not HumanTask.objects.exists()


@pytest.mark.parametrize(
    ("config", "code", "field"),
    [
        ({"users": ["kim"]}, "missing-person", "users"),
        ({"users": ["sam"], "groups": ["Gate"]}, "missing-person", "groups"),
        ({"permission": "demo.fly"}, "missing-person", "permission"),
        ({"permission": "fly"}, "config", "permission"),
        ({"form": {"type": "text"}}, "config", "form"),
        ({"buttons": ["a", "a = B"]}, "config", "buttons"),
        ({"buttons": ["= B"]}, "config", "buttons"),
    ],
)
def test_what_cannot_work_is_told_when_publishing(config: Any, code: str, field: str, sam: User):
    document = make_document(Ask(timeout="PT1H", **config))
    found = [each for each in find_all(document) if each.severity == "error"]
    assert [(each.code, each.field) for each in found] == [(code, field)]


def test_a_wait_without_end_and_a_question_to_nobody_are_worth_a_warning(sam: User):
    found = find_all(make_document(Ask(users=[])))
    assert {(each.severity, each.field) for each in found} == {
        ("warning", "timeout"),
        ("warning", "users"),
    }
    assert find_all(make_document(Ask(timeout="PT1H"))) == []


# --- answering ----------------------------------------------------------------------------------


def test_who_when_and_what_are_in_the_state_and_in_the_history(sam: User, clock: Clock):
    task = asked(UpdateState(n="answer.data.seats"), form=SEATS, buttons=["yes", "no = No way"])
    clock.advance(minutes=5)
    complete_task(task, sam, {"seats": 4}, "no")
    run = after(task)
    answer = {
        "button": "no",
        "data": {"seats": 4, "note": "none"},
        "by": "sam",
        "at": "2013-02-08T12:05:00Z",
    }
    assert run.state == {"answer": answer, "n": 4}
    assert (task.status, task.answered_by, task.answers) == (TaskStatus.ANSWERED, sam, [answer])
    assert task.answered_at == clock.moment
    woken = run.events.get(kind="woken")
    assert (woken.user, woken.detail) == (sam, {"by": "task", "task": task.pk, "data": answer})
    assert woken.reason == "“Seats?” was answered: No way"
    assert (run.outcome, trace_of(run)) == (
        Outcome.COMPLETE,
        ["ask_person", "ask_person", "update"],
    )


def test_without_buttons_there_is_one_that_says_done(sam: User):
    task = asked()
    complete_task(task, sam)
    assert after(task).state["answer"]["button"] == "done"


@pytest.mark.parametrize(
    ("data", "button", "told"),
    [
        ({}, "yes", "seats: Required"),
        ({"seats": 0}, "yes", "seats: must be at least 1"),
        ({"seats": "4"}, "yes", "seats: must be a whole number"),
        ({"seats": 4, "more": 1}, "yes", "more: is not known here"),
        ({"seats": 4}, "maybe", "There are: yes, no."),
        ({"seats": 4}, "", "There are: yes, no."),
        ({"seats": {1, 2}}, "yes", "the answer"),
    ],
)
def test_an_answer_that_does_not_fit_changes_nothing(data: Any, button: str, told: str, sam: User):
    task = asked(form=SEATS, buttons=["yes", "no"])
    with pytest.raises(AnswerInvalid, match=told):
        complete_task(task, sam, data, button)
    task.refresh_from_db()
    assert (task.status, task.answers, task.run.status) == (TaskStatus.OPEN, [], Status.WAITING)


def test_where_no_form_is_there_is_nothing_to_fill_in(sam: User):
    with pytest.raises(AnswerInvalid, match="no form"):
        complete_task(asked(), sam, {"seats": 4})


def test_of_two_answers_the_second_is_told_who_was_first(sam: User):
    task = asked(users=["sam"])
    again = HumanTask.objects.get(pk=task.pk)
    complete_task(task, sam)
    with pytest.raises(TaskRefused, match=r"sam has answered this at Feb\. 8, 2013"):
        complete_task(again, sam)
    assert after(task).outcome == Outcome.COMPLETE


def test_code_may_answer_for_anybody(sam: User):
    task = asked()
    complete_task(task, None)
    assert after(task).state["answer"]["by"] is None


# --- who may ------------------------------------------------------------------------------------


def may(user: User, task: HumanTask) -> bool:
    """Whether somebody may answer, and sees the task among theirs."""
    user = User.objects.get(pk=user.pk)
    listed = HumanTask.objects.for_user(user).filter(pk=task.pk).exists()
    try:
        complete_task(task, user)
    except TaskRefused:
        assert not listed
        return False
    assert listed
    return True


def test_only_candidates_may_answer(sam: User):
    desk = Group.objects.create(name="Desk")
    right = Permission.objects.get(codename="view_parcel")
    config: dict[str, Any] = {"groups": ["Desk"], "permission": "testapp.view_parcel"}
    for number, (name, allowed) in enumerate(
        {"sam": True, "desk": True, "right": True, "any": True, "boss": True}.items()
    ):
        person = sam if name == "sam" else User.objects.create_user(name)
        if name == "desk":
            person.groups.add(desk)
        elif name == "right":
            person.user_permissions.add(right)
        elif name == "any":
            person.user_permissions.add(Permission.objects.get(codename="answer_any_humantask"))
        elif name == "boss":
            User.objects.filter(pk=person.pk).update(is_superuser=True)
        flow = make_flow(Ask(**config), name=f"Flow {number}")
        task = HumanTask.objects.get(run=start_flowrun(flow))
        stranger = User.objects.create_user(f"stranger of {name}")
        assert not may(stranger, task)
        assert may(person, task) == allowed


def test_who_has_left_may_not_answer(sam: User):
    task = asked()
    User.objects.update(is_active=False)
    assert not may(sam, task)


def test_a_task_is_listed_once_for_who_is_asked_twice(sam: User):
    sam.groups.add(Group.objects.create(name="Desk"), Group.objects.create(name="Gate"))
    asked(users=["sam"], groups=["Desk", "Gate"])
    assert HumanTask.objects.for_user(sam).open().count() == 1


# --- what ends the wait -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "outcome", "trace"),
    [
        ("continue", "complete", ["ask_person", "ask_person", "log"]),
        ("abort", "aborted", ["ask_person", "ask_person"]),
    ],
)
def test_when_nobody_answers_in_time(
    then: str, outcome: str, trace: list[str], sam: User, clock: Clock
):
    task = asked(Log("{{ answer|default:'nobody' }}"), timeout="PT1H", on_timeout=then)
    clock.advance(hours=1)
    run = after(task)
    task.refresh_from_db()
    assert (task.status, run.outcome, trace_of(run)) == (TaskStatus.EXPIRED, outcome, trace)
    if then == "continue":
        assert run.state == {"answer": None}
    with pytest.raises(TaskRefused, match=r"was over at Feb\. 8, 2013"):
        complete_task(task, sam)


def test_a_time_that_ran_out_can_leave_the_block(sam: User, clock: Clock):
    for then, rounds in (("leave", 2), ("break", 1)):
        flow = make_flow(
            For(2, [Ask(timeout="PT1H", on_timeout=then), Log("never")]), Log("after"), name=then
        )
        run = start_flowrun(flow)
        for _round in range(rounds):
            clock.advance(hours=1)
            run_until_idle()
        run.refresh_from_db()
        assert run.outcome == Outcome.COMPLETE
        assert HumanTask.objects.filter(run=run, status=TaskStatus.EXPIRED).count() == rounds
        assert trace_of(run).count("log") == 1


def test_a_time_that_ran_out_can_fail_the_row(sam: User, clock: Clock):
    task = asked(timeout="PT1H", on_timeout="fail")
    clock.advance(hours=1)
    run = after(task)
    task.refresh_from_db()
    assert (run.status, task.status) == (Status.FAILED, TaskStatus.EXPIRED)
    assert "Nobody answered “Seats?” in time." in run.reason
    with pytest.raises(TaskRefused):
        complete_task(task, sam)


def test_a_time_that_ran_out_can_be_handled_as_an_error(sam: User, clock: Clock):
    handler = row("on_error", Ask(title="Then you?"), errors=["Timeout"])
    block = row("try", Ask(timeout="PT1H", on_timeout="fail"))
    run = start_flowrun(make_flow(block, handler, Log("after")))
    clock.advance(hours=1)
    run_until_idle()
    first, second = HumanTask.objects.filter(run=run).order_by("pk")
    assert (first.status, second.status) == (TaskStatus.EXPIRED, TaskStatus.OPEN)
    complete_task(second, sam)
    run_until_idle()
    run.refresh_from_db()
    assert (run.outcome, run.state["answer"]["by"]) == (Outcome.COMPLETE, "sam")
    assert trace_of(run)[-1] == "log"


def test_the_shorter_of_length_and_moment_counts(sam: User):
    moment = NOON + timedelta(minutes=30)
    task = asked(timeout="PT1H", until="at", state={"at": moment.isoformat()})
    assert task.due == moment


def test_a_cancelled_run_withdraws_its_question(sam: User):
    task = asked()
    cancel_flowrun(task.run)
    task.refresh_from_db()
    assert task.status == TaskStatus.WITHDRAWN
    with pytest.raises(TaskRefused, match="not needed any more"):
        complete_task(task, sam)


def test_a_run_that_is_sent_elsewhere_withdraws_its_question(sam: User):
    task = asked(Log("x"))
    go_to(task.run, "2")
    task.refresh_from_db()
    assert task.status == TaskStatus.WITHDRAWN
    assert after(task).outcome == Outcome.COMPLETE


def test_a_run_that_is_sent_back_asks_anew(sam: User):
    task = asked()
    go_to(task.run, "1")
    after(task)
    task.refresh_from_db()
    new = HumanTask.objects.open().get()
    assert (task.status, new.run_id) == (TaskStatus.WITHDRAWN, task.run_id)
    complete_task(new, sam)
    assert after(new).outcome == Outcome.COMPLETE


def test_a_run_that_is_not_wanted_any_more_withdraws_its_question(sam: User, clock: Clock):
    station = Station.objects.create(code="EWR", name="Newark")
    flow = make_flow(
        Ask(timeout="PT1H"), content_type="testapp.station", condition="object.name == 'Newark'"
    )
    task = HumanTask.objects.get(run=start_flowrun(flow, station))
    Station.objects.update(name="Liberty")
    clock.advance(minutes=30)
    execute_flowrun(task.run)  # not due yet
    assert HumanTask.objects.open().exists()
    clock.advance(minutes=30)
    run = after(task)
    task.refresh_from_db()
    assert (run.outcome, task.status) == (Outcome.OBSOLETE, TaskStatus.EXPIRED)


def test_an_answer_while_the_run_is_paused_counts_when_it_is_resumed(sam: User):
    task = asked()
    pause(task.run)
    complete_task(task, sam)
    assert after(task).status == Status.PAUSED
    resume(FlowRun.objects.get(pk=task.run_id))
    assert after(task).state["answer"]["by"] == "sam"


def test_a_run_that_is_paused_and_resumed_waits_on(sam: User):
    task = asked(timeout="PT1H")
    pause(task.run)
    resume(task.run)
    assert after(task).status == Status.WAITING
    complete_task(task, sam)
    assert after(task).outcome == Outcome.COMPLETE


def test_code_can_wake_the_run_in_the_place_of_an_answer(sam: User):
    task = asked()
    wake_flowrun(task.run, {"said": "never mind"})
    with pytest.raises(TaskRefused):
        complete_task(task, sam)
    assert after(task).state == {"answer": {"said": "never mind"}}
    task.refresh_from_db()
    assert task.status == TaskStatus.WITHDRAWN


def test_an_operator_who_does_not_want_to_wait_ends_the_question(sam: User):
    task = asked()
    run_now(task.run)
    assert after(task).state == {"answer": None}
    task.refresh_from_db()
    assert task.status == TaskStatus.EXPIRED


def test_an_answer_that_the_state_schema_refuses_fails_the_row_and_is_not_lost(sam: User):
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    run = start_flowrun(make_flow(Ask(), state_schema=schema))
    task = HumanTask.objects.get(run=run)
    complete_task(task, sam)
    run = after(task)
    task.refresh_from_db()
    assert (run.status, task.status) == (Status.FAILED, TaskStatus.ANSWERED)
    assert task.answers[0]["by"] == "sam"
    retry_flowrun(run)
    assert after(task).status == Status.FAILED


def test_each_round_of_a_loop_asks_for_itself(sam: User):
    run = start_flowrun(make_flow(For(2, [Ask(title="Round {{ i }}")], var_name="i"), Stop()))
    for number in range(2):
        task = HumanTask.objects.open().get(run=run)
        assert task.title == f"Round {number}"
        complete_task(task, sam)
        run_until_idle()
    run.refresh_from_db()
    assert run.outcome == Outcome.ABORTED


# --- in a trial, and from code ------------------------------------------------------------------


def test_a_trial_asks_nobody(sam: User):
    flow = make_flow(Ask(uid="ask"), UpdateState(by="answer.by"), Ask(title="Again", uid="again"))
    answers = {"ask": {"result": {"button": "done", "data": {}, "by": "kim", "at": "x"}}}
    tried = try_flow(flow, answers=answers)
    assert (tried.outcome, tried.state["by"]) == ("waiting", "kim")
    assert not HumanTask.objects.exists()


class Vote(BaseAction):
    """An action of a project that asks by itself, and goes on after the second try."""

    name = "test.vote"
    effects = "database"

    def run(self, *, run: RunHandle, obj: Any, config: Any) -> Directive | None:
        if run.wakeup is None:
            ask(run, title="Vote", permission="testapp.view_parcel")
            return SuspendAndRepeat(for_task=True)
        run.state["vote"] = run.wakeup["data"]["button"]
        return None


def test_an_action_of_a_project_can_ask_too(sam: User):
    sam.user_permissions.add(Permission.objects.get(codename="view_parcel"))
    with actions.temporarily(Vote):
        run = start_flowrun(make_flow(row("test.vote")))
        complete_task(HumanTask.objects.get(run=run), sam)
        run_until_idle()
        run.refresh_from_db()
    assert run.state == {"vote": "done"}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"title": "Seats?", "users": ["sam"]}, "Ask sam: Seats?"),
        (
            {"title": "Seats?", "groups": ["Desk"], "timeout": "PT2H"},
            "Ask Desk: Seats?, within 2 hours",
        ),
        ({"title": "Seats?", "users": {"$expr": "owner"}}, "Ask owner: Seats?"),
        ({}, "Ask somebody: …"),
    ],
)
def test_rows_read_as_sentences(config: dict[str, Any], sentence: str):
    assert actions["ask_person"]().sentence(config) == sentence
