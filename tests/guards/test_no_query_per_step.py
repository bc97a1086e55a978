"""A step of a row that touches only the state asks the database nothing.

Whatever is looked up per step costs a run of a thousand rounds a thousand round trips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from flowcontrol.base import BaseAction, Effects
from flowcontrol.documents import JSONObject
from flowcontrol.engine import start_flowrun
from flowcontrol.models import FlowRun, Outcome
from flowcontrol.registry import actions
from flowcontrol.slices import Slice
from flowcontrol.testing import (
    Always,
    Break,
    Else,
    ElseIf,
    Fail,
    For,
    ForEach,
    Group,
    If,
    Leave,
    Log,
    OnError,
    SetState,
    Stop,
    Try,
    UpdateState,
    While,
    make_flow,
    row,
    run_until_idle,
    travel_to,
)
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that are sent while a step is under way."""
    statements: list[str] = []
    step = Slice.step
    stepping = False

    def watched(self: Slice, *args: Any) -> Any:
        nonlocal stepping
        stepping = True
        try:
            return step(self, *args)
        finally:
            stepping = False

    def watch(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if stepping:
            statements.append(sql)
        return execute(sql, *args)

    monkeypatch.setattr(Slice, "step", watched)
    with connection.execute_wrapper(watch):
        yield statements


def everything_pure() -> list[JSONObject]:
    """A flow with a row of each type that touches nothing but the state."""
    return [
        SetState(n="0", label="object.label", who="run.pk"),
        row("remove_keys", keys=["who"]),
        For(
            3,
            [
                UpdateState(n="n|add:1", seen="object.weight"),
                If("n == 1", [Log("one of {{ object }}, {{ run }}")]),
                ElseIf("n == 2", [Leave()]),
                Else([Group([Break("n == 3", target="loop")])]),
            ],
            var_name="i",
        ),
        While("n < 5", [UpdateState(n="n|add:1")]),
        UpdateState(labels="'a b'|split"),
        ForEach("labels", [Log("{{ item }}")]),
        Try(Fail("on purpose")),
        OnError(Log("{{ error.message }}")),
        Always(Log("in any case")),
        row("delay", duration="PT1H"),
        If("object.is_loaded or trigger.kilos or now < today", [Stop("never")]),
        Stop("n is {{ n }}"),
    ]


def pure_types(rows: list[JSONObject]) -> set[str]:
    return {name for item in rows for name in (item["action"], *pure_types(item["children"]))}


def test_no_built_in_row_asks_the_database_while_it_is_stepped(asked):
    rows = everything_pure()
    built_in = {action.name for action in actions if action.__module__.startswith("flowcontrol.")}
    missing = {name for name in built_in if actions[name].effects == "none"} - pure_types(rows)
    assert missing <= NOT_YET_HERE
    with travel_to(NOON) as clock:
        run = start_flowrun(make_flow(*rows), Parcel.objects.create(label="box"))
        clock.advance(hours=1)
        run_until_idle()
    run.refresh_from_db()
    assert (run.outcome, run.reason) == (Outcome.ABORTED, "n is 5")
    assert asked == []


NOT_YET_HERE = {"branch", "wait_for_trigger", "wait_until"}
"""Pure types that need more than a row to be executed; each with a test of its own elsewhere."""


def test_the_guard_notices_a_row_that_does(asked):
    class Ask(BaseAction):
        name = "test.ask"
        effects: Effects = "none"  # type: ignore[misc]

        def run(self, *, run: Any, obj: Any, config: Any) -> None:
            FlowRun.objects.count()

    with actions.temporarily(Ask):
        start_flowrun(make_flow(row("test.ask")))
    assert len(asked) == 1
