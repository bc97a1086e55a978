"""What people do to runs: when they may, what comes of it, and what stays on record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from flowcontrol.base import BaseAction, FlowDirective
from flowcontrol.claiming import claim_run
from flowcontrol.engine import (
    cancel_flowrun,
    cancel_flowruns_for_object,
    create_flowrun,
    execute_flowrun,
    start_flowrun,
    wake_flowrun,
)
from flowcontrol.exceptions import AuthorError, NotJSON, TransitionRefused
from flowcontrol.models import FlowRun, Outcome, RunWait, Status
from flowcontrol.operating import (
    allowed_transitions,
    cancel,
    close,
    edit_state,
    explain,
    go_to,
    pause,
    resume,
    retry,
    run_now,
)
from flowcontrol.registry import actions
from flowcontrol.testing import (
    Delay,
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
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)

VERBS: dict[str, Callable[..., Any]] = {
    "cancel": cancel,
    "close": close,
    "retry": retry,
    "pause": pause,
    "resume": resume,
    "run_now": run_now,
    "edit_state": lambda run, **options: edit_state(run, {"n": 2}, **options),
    "go_to": lambda run, **options: go_to(run, "2", **options),
}


class Hold(BaseAction):
    name = "test.hold"
    effects = "none"

    def run(self, *, run, obj, config):
        return FlowDirective.SUSPEND()


class Act(BaseAction):
    """Does what a test wants in the middle of a run."""

    name = "test.act"
    effects = "external"
    do: Callable[[FlowRun], Any]

    def run(self, *, run, obj, config):
        type(self).do(FlowRun.objects.get(pk=run.pk))


@pytest.fixture(autouse=True)
def _own_actions() -> Iterator[None]:
    with actions.temporarily(Hold, Act):
        yield


def a_run(status: Status) -> FlowRun:
    """A run of two rows in this status, come to it as runs do."""
    flow = make_flow(Log("{{ n|length }}"), Delay("PT1H"), max_concurrent=1, when_full="queue")
    match status:
        case Status.PENDING:
            run = create_flowrun(flow, state={"n": "x"})
        case Status.QUEUED:
            create_flowrun(flow, state={"n": "x"})
            run = create_flowrun(flow, state={"n": "x"})
        case Status.RUNNING:
            run = create_flowrun(flow, state={"n": "x"})
            assert claim_run(run.pk, datetime.now(UTC)) is not None
        case Status.WAITING:
            run = start_flowrun(flow, state={"n": "x"})
        case Status.PAUSED:
            run = start_flowrun(flow, state={"n": "x"})
            pause(run)
        case Status.FAILED:
            run = start_flowrun(flow)
        case Status.DONE:
            run = start_flowrun(flow, state={"n": "x"})
            cancel(run)
    run.refresh_from_db()
    assert run.status == status
    return run


# --- who may what when ----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", list(Status))
def test_a_verb_works_exactly_when_it_is_among_the_allowed_transitions(verb, status):
    run = a_run(status)
    before = run.events.count()
    ada = get_user_model().objects.create_user("ada")
    if verb in allowed_transitions(run):
        VERBS[verb](run, user=ada, reason="because")
        event = run.events.latest("seq")
        assert (event.user, event.reason, event.kind) == (ada, "because", "operated")
        assert event.detail is not None
        assert event.detail["did"]
    else:
        with pytest.raises(TransitionRefused, match=rf"Run #{run.pk} is (?i:{run.status}|cancel)"):
            VERBS[verb](run, user=ada, reason="because")
        run.refresh_from_db()
        assert (run.status, run.events.count()) == (status, before)


def test_the_table_of_verbs_is_complete():
    assert {verb for status in Status for verb in allowed_transitions(FlowRun(status=status))} == (
        set(VERBS)
    )


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_explained_in_one_sentence(status):
    run = a_run(status)
    sentence = explain(run)
    assert sentence
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert "None" not in sentence


def test_the_explanation_says_what_a_run_waits_for(settings):
    settings.TIME_ZONE = "UTC"
    with travel_to(NOON) as clock:
        later = create_flowrun(make_flow(Log("x")), continue_after=NOON + timedelta(hours=1))
        assert explain(later) == "It will start at Feb. 8, 2013, 13:00."
        waiting = start_flowrun(make_flow(Delay("PT1H")))
        assert explain(waiting) == "It waits until Feb. 8, 2013, 13:00."
        assert explain(start_flowrun(make_flow(row("test.hold")))) == (
            "It waits to be woken from code."
        )
        clock.advance(hours=2)
        run_until_idle()
        waiting.refresh_from_db()
        assert explain(waiting) == "It ended as “Complete” at Feb. 8, 2013, 14:00."


# --- cancel ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_cancel_during_execution_wins():
    Act.do = lambda run: cancel_flowrun(run, reason="not needed any more")
    flow = make_flow(UpdateState(a="1"), row("test.act"), UpdateState(a="2"), Log("never"))
    run = start_flowrun(flow)
    assert (run.status, run.outcome) == (Status.DONE, Outcome.CANCELED)
    assert run.reason == "not needed any more"
    # What was written before the call stays; what came after it was dropped.
    assert (run.state, trace_of(run)) == ({"a": 1}, ["update"])
    assert (run.claim_token, run.lease_until, run.due) == (None, None, None)


def test_what_a_cancelled_run_waited_for_does_not_wake_it():
    run = start_flowrun(make_flow(row("test.hold"), Log("never")))
    cancel_flowrun(run)
    assert not RunWait.objects.exists()
    assert not wake_flowrun(run)
    assert run_until_idle() == 0


def test_all_runs_of_an_object_can_be_cancelled_at_once():
    one, other = Parcel.objects.create(label="one"), Parcel.objects.create(label="other")
    flow, second = make_flow(Delay("PT1H"), name="First"), make_flow(Delay("PT1H"), name="Second")
    for wanted in (flow, second):
        start_flowrun(wanted, one)
        start_flowrun(wanted, other)
    done = start_flowrun(make_flow(Log("x")), one)
    assert cancel_flowruns_for_object(one, flow) == 1
    assert cancel_flowruns_for_object(one, reason="lost") == 1
    assert cancel_flowruns_for_object(one) == 0
    assert FlowRun.objects.for_object(other).filter(status=Status.WAITING).count() == 2
    done.refresh_from_db()
    assert done.outcome == Outcome.COMPLETE


# --- pause and resume -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_pause_during_execution_stops_the_run_before_its_next_row():
    Act.do = pause
    run = start_flowrun(make_flow(UpdateState(a="1"), row("test.act"), UpdateState(a="2")))
    assert (run.status, run.state, run.action_uid) == (Status.PAUSED, {"a": 1}, "2")
    assert run_until_idle() == 0
    Act.do = lambda run: None
    resume(run)
    execute_flowrun(run)
    assert (run.outcome, run.state) == (Outcome.COMPLETE, {"a": 2})


def test_time_that_comes_while_a_run_is_paused_counts_when_it_is_resumed():
    with travel_to(NOON) as clock:
        run = start_flowrun(make_flow(Delay("PT1H"), UpdateState(after="1")))
        pause(run)
        clock.advance(hours=2)
        assert run_until_idle() == 0
        resume(run)
        assert run.status == Status.WAITING
        assert run_until_idle() == 1
    run.refresh_from_db()
    assert run.state == {"after": 1}


def test_a_run_resumed_in_time_goes_on_waiting():
    with travel_to(NOON) as clock:
        run = start_flowrun(make_flow(Delay("PT2H"), Log("x")))
        pause(run)
        clock.advance(hours=1)
        resume(run)
        assert run_until_idle() == 0
        clock.advance(hours=1)
        assert run_until_idle() == 1


def test_what_wakes_a_paused_run_is_not_lost():
    run = start_flowrun(make_flow(row("test.hold", result_key="answer")))
    pause(run)
    assert wake_flowrun(run, {"seats": 3})
    assert not wake_flowrun(run, {"seats": 4})
    assert (run_until_idle(), FlowRun.objects.get().status) == (0, Status.PAUSED)
    resume(run)
    assert run.status == Status.PENDING
    execute_flowrun(run)
    assert run.state == {"answer": {"seats": 3}}


def test_a_paused_flow_is_not_executed_but_can_be_started():
    flow = make_flow(UpdateState(a="1"), name="Held")
    other = make_flow(UpdateState(a="1"), name="Free")
    flow.paused_at = NOON
    flow.save()
    held, free = start_flowrun(flow), start_flowrun(other)
    run_until_idle()
    held.refresh_from_db()
    assert (held.status, free.outcome) == (Status.PENDING, Outcome.COMPLETE)
    flow.paused_at = None
    flow.save()
    run_until_idle()
    held.refresh_from_db()
    assert held.outcome == Outcome.COMPLETE


# --- retry, go to, run now ------------------------------------------------------------------------


def test_a_run_can_skip_the_row_that_failed():
    flow = make_flow(UpdateState(a="1"), Log("{{ n|length }}"), UpdateState(b="2"))
    run = start_flowrun(flow)
    visit = run.visit
    go_to(run, "3", reason="the log does not matter")
    assert (run.status, run.action_uid, run.attempts, run.reason) == (Status.PENDING, "3", 0, "")
    assert run.visit == visit + 1
    execute_flowrun(run)
    assert (run.outcome, run.state) == (Outcome.COMPLETE, {"a": 1, "b": 2})
    event = run.events.get(kind="operated")
    assert event.detail == {"did": "go to", "from": "2", "to": "3"}


def test_a_run_can_be_sent_into_a_loop_which_then_begins():
    flow = make_flow(
        row("delay", duration="PT1H", uid="wait"),
        For(2, [row("update_state", state={"n": "n|add:1"}, evaluate=True, uid="count")]),
    )
    run = start_flowrun(flow, state={"n": 0})
    go_to(run, "count")
    assert not run.waits.exists()
    execute_flowrun(run)
    assert run.state == {"n": 3}
    assert trace_of(run)[-1] == "for"


def test_a_waiting_run_can_be_sent_back_and_does_not_wake_from_its_old_wait():
    with travel_to(NOON) as clock:
        run = start_flowrun(make_flow(UpdateState(a="1"), Delay("PT1H"), Delay("PT9H")))
        clock.advance(minutes=30)
        go_to(run, "3")
        execute_flowrun(run)
        assert run.due == NOON + timedelta(hours=9, minutes=30)
        clock.advance(hours=1)
        assert run_until_idle() == 0


def test_a_row_that_the_version_does_not_have_is_nowhere_to_go():
    run = start_flowrun(make_flow(Delay("PT1H"), row("log", message="x", uid="off", enabled=False)))
    for uid in ("no-such-row", "off"):
        with pytest.raises(AuthorError, match=uid):
            go_to(run, uid)
    run.refresh_from_db()
    assert (run.status, run.waits.count(), run.events.count()) == (Status.WAITING, 1, 1)


def test_nobody_has_to_wait_for_a_delay_to_end():
    run = start_flowrun(make_flow(Delay("P1D"), UpdateState(after="1")))
    run_now(run, reason="in a hurry")
    assert run_until_idle() == 1
    run.refresh_from_db()
    assert run.state == {"after": 1}


# --- state ----------------------------------------------------------------------------------------


def test_an_edited_state_is_on_record_and_can_be_undone_from_it():
    ada = get_user_model().objects.create_user("ada")
    run = start_flowrun(make_flow(Delay("PT1H")), state={"n": 1, "old": True})
    edit_state(run, {"n": 2, "new": [NOON]}, user=ada, reason="it was wrong")
    assert run.state == {"n": 2, "new": ["2013-02-08T12:00:00Z"]}
    event = run.events.latest("seq")
    assert (event.user, event.reason, event.detail) == (ada, "it was wrong", {"did": "edit state"})
    assert event.state_before(run.state) == {"n": 1, "old": True}


def test_the_record_undoes_what_was_replaced_not_what_somebody_read_earlier():
    run = start_flowrun(make_flow(Delay("PT1H")), state={"n": 1})
    stale = FlowRun.objects.get(pk=run.pk)
    edit_state(run, {"n": 2})
    edit_state(stale, {"n": 3})
    event = run.events.latest("seq")
    assert event.state_before({"n": 3}) == {"n": 2}


def test_a_state_that_cannot_be_stored_or_does_not_fit_is_refused():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    run = start_flowrun(make_flow(Delay("PT1H"), state_schema=schema), state={"n": 1})
    with pytest.raises(NotJSON, match="the state at n"):
        edit_state(run, {"n": object()})
    with pytest.raises(ValueError, match="n: "):
        edit_state(run, {"n": "one"})
    run.refresh_from_db()
    assert (run.state, run.events.count()) == ({"n": 1}, 1)


def test_a_repaired_state_lets_the_step_go_on():
    run = start_flowrun(make_flow(If("n > 1", [UpdateState(big="true")])), state={"n": "two"})
    assert run.status == Status.FAILED
    edit_state(run, {"n": 2})
    retry(run)
    execute_flowrun(run)
    assert run.state == {"n": 2, "big": True}


# --- ending ---------------------------------------------------------------------------------------


def test_a_failed_run_can_be_closed_as_it_is():
    run = a_run(Status.FAILED)
    close(run, reason="nobody needs it")
    assert (run.status, run.outcome, run.reason) == (
        Status.DONE,
        Outcome.ERRORED,
        "nobody needs it",
    )
    assert allowed_transitions(run) == set()


def test_history_is_numbered_without_gaps_whoever_writes_it():
    Act.do = lambda run: None
    run = start_flowrun(make_flow(UpdateState(a="1"), row("test.act"), Delay("PT1H"), Log("x")))
    pause(run)
    edit_state(run, {"a": 2})
    resume(run)
    run_now(run)
    execute_flowrun(run)
    numbers = list(run.events.order_by("seq").values_list("seq", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    assert run.seq == len(numbers)
