"""The tools for tests of flows: they are used by our users, so they are tested themselves."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings

from flowcontrol import testing
from flowcontrol.base import BaseAction, Directive, Enter, RunHandle, Suspend
from flowcontrol.conf import settings
from flowcontrol.documents import make_document
from flowcontrol.exceptions import UnknownAction
from flowcontrol.registry import actions
from flowcontrol.testing import (
    Break,
    Delay,
    Else,
    ElseIf,
    For,
    Group,
    If,
    Leave,
    Log,
    SetState,
    StartFlow,
    Stop,
    UpdateState,
    While,
    rehearse,
    row,
    trace,
    travel_to,
)
from tests.testapp.models import Parcel

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


def test_a_flow_is_written_as_it_looks():
    flow = make_document(
        If("a", [Log("x")]),
        ElseIf("b", [Stop("y")]),
        Else([Group([While("c", [Break("d", "loop"), Leave()])], label="Why")]),
        For("n", [Delay("PT1H", time="09:00")], var_name="i"),
        SetState(a="1"),
        UpdateState(a="b"),
        StartFlow("other", pass_object=False),
    )
    assert [(item["action"], item["config"]) for item in flow["actions"]] == [
        ("if", {"condition": "a"}),
        ("else_if", {"condition": "b"}),
        ("else", {}),
        ("for", {"end": {"$expr": "n"}, "var_name": "i"}),
        ("set_state", {"state": {"a": "1"}, "evaluate": True}),
        ("update_state", {"state": {"a": "b"}, "evaluate": True}),
        ("start_flow", {"flow": "other", "pass_object": False}),
    ]
    group = flow["actions"][2]["children"][0]
    assert group["label"] == "Why"
    [loop] = group["children"]
    assert [item["config"] for item in loop["children"]] == [
        {"condition": "d", "target": "loop"},
        {"target": "parent"},
    ]


def test_a_trace_names_rows_by_their_label_or_their_action():
    assert trace(UpdateState(a="1"), SetState(a="1"), Log("x"), Log("y", label="Tell")) == [
        *("update", "set", "log", "Tell"),
    ]


def test_a_rehearsal_tells_all_that_came_of_it():
    told = rehearse(
        Log("at {{ now|date:'H:i' }}"),
        Delay("PT2H"),
        Log("at {{ now|date:'H:i' }} for {{ object.label }} to {{ trigger.gate }}"),
        UpdateState(n="n|add:1"),
        state={"n": 1},
        obj=Parcel(label="crate"),
        payload={"gate": "B7"},
        now=NOON,
    )
    assert told == testing.Rehearsal(
        trace=["log", "delay", "delay", "log", "update"],
        state={"n": 2},
        outcome="complete",
        waited=[NOON + timedelta(hours=2)],
        logs=["at 07:00", "at 09:00 for crate to B7"],
    )


def test_a_rehearsal_leaves_the_start_state_alone():
    state = {"n": 1}
    rehearse(UpdateState(n="2"), state=state)
    assert state == {"n": 1}


def test_today_moves_on_with_the_waits():
    told = rehearse(Delay("P1D"), UpdateState(day="today"), now=NOON)
    assert told.state == {"day": date(2013, 2, 9).isoformat()}


def test_a_wait_for_a_moment_that_is_past_does_not_turn_time_back():
    class Yesterday(BaseAction):
        name = "test.yesterday"
        effects = "none"

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> Directive:
            return Suspend(until=NOON - timedelta(days=1))

    with actions.temporarily(Yesterday):
        told = rehearse(row("test.yesterday"), UpdateState(at="now"), now=NOON)
    assert told.state == {"at": "2013-02-08T12:00:00Z"}


def test_a_rehearsal_that_does_not_end_is_stopped_and_says_so():
    told = rehearse(While("true", [Delay()]), max_steps=7)
    assert (told.outcome, len(told.trace)) == ("unfinished", 7)


def test_what_a_row_raises_comes_out_of_the_rehearsal():
    with pytest.raises(UnknownAction):
        rehearse(row("shop.gone"))


@override_settings(FLOWCONTROL_HISTORY="none", FLOWCONTROL_HISTORY_STEPS=2)
def test_a_rehearsal_tells_every_line_whatever_the_history_keeps():
    assert rehearse(For(500, [Log("x")])).logs == ["x"] * 500


@pytest.mark.parametrize("restarting", [False, True])
def test_what_a_row_notes_is_json_whether_the_run_was_interrupted_or_not(restarting: bool):
    class Notes(BaseAction):
        name = "test.notes"
        effects = "none"
        has_children = True

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> Directive:
            return Enter(memo=("seats", NOON), names={"at": NOON, "seats": (1, 2)})

        def return_from_children(self, *, run: RunHandle, obj: Any, config: Any) -> None:
            run.log(str(run.memo))

    with actions.temporarily(Notes):
        rows = [row("test.notes", UpdateState(at="at", seats="seats"))]
        told = rehearse(*rows, restarting=restarting)
    assert told.logs == ["['seats', '2013-02-08T12:00:00Z']"]
    assert told.state == {"at": "2013-02-08T12:00:00Z", "seats": [1, 2]}


def test_restarting_at_every_step_changes_nothing_for_the_built_in_rows():
    rows = [
        For(
            2, [While("n < 3", [UpdateState(n="n|add:1"), Delay()]), SetState(n="i")], var_name="i"
        ),
        If("n == 1", [Log("{{ n }}")]),
    ]
    told = rehearse(*rows, state={"n": 0})
    assert rehearse(*rows, state={"n": 0}, restarting=True) == told


def test_time_stands_still_until_it_is_told_to_move():
    before = settings.CLOCK
    with travel_to(NOON) as clock:
        assert settings.CLOCK() == NOON
        assert (
            clock.advance(hours=1, minutes=5) == settings.CLOCK() == NOON.replace(hour=13, minute=5)
        )
        assert clock.move_to(NOON) == settings.CLOCK() == NOON
    assert settings.CLOCK is before


def test_everything_that_is_offered_is_there():
    assert [name for name in testing.__all__ if not hasattr(testing, name)] == []
