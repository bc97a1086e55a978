"""Questions to people under crashes and under several workers: asked once, answered once, or over.

The story of one run, which asks twice (one answer comes, one never does), is told with a fault at
any of its statements, the person's among them; afterwards it has to be the story that nothing
disturbed. Then several processes sweep, answer and cancel at the same moment.
"""

from __future__ import annotations

import random
import re
from datetime import timedelta
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from flowcontrol import engine
from flowcontrol.engine import (
    cancel_flowrun,
    continue_flowruns,
    create_flowrun,
    start_flowrun,
)
from flowcontrol.exceptions import TaskRefused, TransitionRefused
from flowcontrol.models import (
    EventKind,
    FlowRun,
    HumanTask,
    Outcome,
    RunEvent,
    RunWait,
    Status,
    TaskStatus,
)
from flowcontrol.testing import UpdateState, make_flow, row, travel_to
from tests.concurrency.blocks import Outside
from tests.concurrency.forking import forked, in_child
from tests.concurrency.test_fault_at_every_statement import (
    NOON,
    Fault,
    Statements,
    keep_trying,
    sweep_until_idle,
)
from tests.concurrency.test_races import results
from tests.concurrency.variants import Variant
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db(transaction=True)

LATER: Final = NOON + timedelta(minutes=61)
ASKED: Final[dict[str, Any]] = {"users": ["sam"], "buttons": ["yes", "no"]}


def set_the_scene() -> None:
    User.objects.create_user("sam")
    make_flow(
        UpdateState(n="1"),
        row("proof.insert"),
        row("ask_person", title="First?", result_key="first", timeout="P1D", **ASKED),
        row("proof.insert"),
        row("ask_person", title="Second?", result_key="second", timeout="PT1H", **ASKED),
        row("proof.insert"),
        name="Asks",
        slug="asks",
    )


def clear_the_stage() -> None:
    HumanTask.objects.all().delete()
    for model in (RunEvent, RunWait, FlowRun, Parcel):
        model._base_manager.all()._raw_delete("default")


def play(statements: Statements) -> None:
    """The whole story, or what is left of it."""
    with travel_to(NOON if statements.moment == 0 else LATER) as clock:
        if statements.moment == 0:
            keep_trying(lambda: create_flowrun("asks", key="the only one"))
            sweep_until_idle(clock, statements)
            keep_trying(answer_the_first)
            sweep_until_idle(clock, statements)
            statements.moment = 1
        clock.move_to(LATER)
        sweep_until_idle(clock, statements)


def answer_the_first() -> None:
    """What a person does who is not sure whether it worked: look again, and answer if need be."""
    for task in HumanTask.objects.open().filter(title="First?"):
        engine.complete_task(task, User.objects.get(username="sam"), button="no", now=NOON)


def tell_the_story() -> dict[str, Any]:
    run = FlowRun.objects.get()
    events = list(run.events.order_by("seq"))
    assert [event.seq for event in events] == list(range(1, run.seq + 1))
    told_apart = (EventKind.STEPS, EventKind.RETRY)
    return {
        "run": (run.status, run.outcome, run.reason, run.cursor, run.visit, run.claim_token),
        "state": run.state,
        "tasks": list(HumanTask.objects.order_by("pk").values_list("title", "status", "answers")),
        "waits": list(run.waits.values_list("kind")),
        "kinds": [event.kind for event in events if event.kind not in told_apart],
        "steps": [step[:3] for event in events for step in event.steps or ()],
        "effects": sorted(re.sub(r"^\d+", "run", parcel.label) for parcel in Parcel.objects.all()),
    }


class Proof:
    """The undisturbed story, and what is told when it is disturbed."""

    def __init__(self) -> None:
        set_the_scene()
        play(Statements())  # so that whatever is cached is, in every process that is forked
        clear_the_stage()

        def undisturbed() -> list[tuple[str, bool]]:
            statements = Statements()
            statements.watch()
            play(statements)
            return statements.said

        self.said = [(sql, commits) for sql, commits in in_child(undisturbed)]
        self.story = tell_the_story()
        assert self.story["run"][:2] == (Status.DONE, Outcome.COMPLETE)
        assert [task[1] for task in self.story["tasks"]] == ["answered", "expired"]
        assert self.story["state"]["first"]["by"] == "sam"
        assert self.story["state"]["second"] is None
        assert len(self.story["effects"]) == 3

    def places(self, fault: Fault) -> list[int]:
        numbers = range(1, len(self.said) + 1)
        if fault is Fault.UNHEARD:
            return [number for number in numbers if self.said[number - 1][1]]
        return list(numbers)

    def check(self, fault: Fault, at: int) -> None:
        clear_the_stage()
        statements = Statements(fault, at)

        def work() -> None:
            statements.watch()
            play(statements)

        in_child(work)
        assert statements.count >= at, "The fault did not happen."
        play(Statements(_shared=statements._shared))
        assert tell_the_story() == self.story, f"{fault} at {at}: {self.said[at - 1][0]}"


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_a_fault_at_any_statement_leaves_no_trace(
    fault: Fault, outside: Outside, soak: bool, chance: random.Random
):
    proof = Proof()
    places = proof.places(fault)
    writes = [at for at in places if "flowcontrol_humantask" in proof.said[at - 1][0]]
    assert writes or fault is Fault.UNHEARD
    for at in places if soak else sorted({*writes[:6], *chance.sample(places, 8)}):
        proof.check(fault, at)


WOKEN_AFTERWARDS = Variant(
    "the run is woken by a hook after the commit",
    "flowcontrol.answering.complete_task",
    "if not answered or not wake(run.pk, wakeup, now, reason=reason, user=user):",
    "transaction.on_commit(lambda: wake(run.pk, wakeup, now, reason=reason, user=user))\n"
    "        if not answered:",
)


def test_the_proof_notices_a_run_that_is_woken_by_a_hook(outside: Outside):
    with WOKEN_AFTERWARDS.applied():
        proof = Proof()
        answered = [
            number
            for number, (sql, _commits) in enumerate(proof.said, 1)
            if sql.startswith('UPDATE "flowcontrol_humantask"') and "answered_at" in sql
        ]
        assert answered
        with pytest.raises(AssertionError):  # noqa: PT012
            for at in range(answered[0] + 1, answered[0] + 5):
                proof.check(Fault.KILLED, at)


# --- several at the same moment -----------------------------------------------------------------


def some_tasks(number: int, **config: Any) -> list[int]:
    User.objects.create_user("sam")
    flow = make_flow(
        row("ask_person", title="Seats?", result_key="answer", **{**ASKED, **config}),
        row("proof.insert"),
    )
    for _number in range(number):
        start_flowrun(flow)
    return list(HumanTask.objects.values_list("pk", flat=True))


def answer(pk: int, button: str) -> bool:
    """Whether this answer was taken."""
    try:
        sam = User.objects.get(username="sam")
        engine.complete_task(HumanTask.objects.get(pk=pk), sam, button=button)
    except TaskRefused:
        return False
    return True


def test_of_those_who_answer_at_once_one_wins_and_the_others_are_told(outside: Outside):
    pks = some_tasks(12)

    def work(place: int) -> list[int]:
        taken = [pk for pk in pks if answer(pk, "yes" if place % 2 else "no")]
        continue_flowruns()
        return taken

    taken = [pk for told in results(4, work, outside) for pk in told]
    continue_flowruns()
    assert sorted(taken) == sorted(pks)
    for task in HumanTask.objects.select_related("run"):
        assert (task.status, len(task.answers)) == (TaskStatus.ANSWERED, 1)
        assert task.run.state["answer"] == task.answers[0]
        assert task.run.events.filter(kind="woken").count() == 1
    assert Parcel.objects.count() == len(pks)


def test_an_answer_and_the_end_of_the_time_meet_and_one_of_them_counts(outside: Outside):
    with travel_to(NOON) as clock:
        pks = some_tasks(20, timeout="PT1H")
        clock.advance(hours=1)

        def work(place: int) -> list[int]:
            if place < 2:
                for _sweep in range(5):
                    continue_flowruns(batch_size=3)
                return []
            order = pks if place == 2 else pks[::-1]
            return [pk for pk in order if answer(pk, "yes")]

        taken = {pk for told in results(4, work, outside) for pk in told}
        continue_flowruns()
        for task in HumanTask.objects.select_related("run"):
            was_taken = task.pk in taken
            assert task.status == (TaskStatus.ANSWERED if was_taken else TaskStatus.EXPIRED)
            assert (task.run.state["answer"] is not None) == was_taken
            assert task.run.outcome == Outcome.COMPLETE
    assert Parcel.objects.count() == len(pks)


def test_an_answer_and_a_cancel_meet_and_no_question_stays_open(outside: Outside):
    pks = some_tasks(12)

    def work(place: int) -> list[int]:
        if place == 0:
            return [pk for pk in pks if answer(pk, "yes")]
        for run in FlowRun.objects.order_by("pk"):
            try:
                cancel_flowrun(run)
            except TransitionRefused:
                continue
        return []

    taken, _nothing = results(2, work, outside)
    continue_flowruns()
    for task in HumanTask.objects.select_related("run"):
        assert task.status == (TaskStatus.ANSWERED if task.pk in taken else TaskStatus.WITHDRAWN)
        assert task.run.status == Status.DONE


def test_who_answers_while_the_run_is_being_cancelled_is_told_so(outside: Outside):
    [pk] = some_tasks(1)

    def work() -> None:
        with transaction.atomic():
            cancel_flowrun(FlowRun.objects.get())
            outside.mark("cancelled")
            outside.wait_for("asked", seconds=1)

    with forked(work) as person:
        outside.wait_for("cancelled")
        with forked(lambda: answer(pk, "yes")) as other:
            outside.mark("asked")
            person.result()
            assert other.result() is False
    assert HumanTask.objects.get().status == TaskStatus.WITHDRAWN
    assert FlowRun.objects.get().outcome == Outcome.CANCELED
