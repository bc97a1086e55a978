"""The rows of the group "Control": what can be filled in, how they read, and how a run stops."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flowcontrol.actions.control import For
from flowcontrol.base import RunHandle
from flowcontrol.compiling import problems_of
from flowcontrol.cursor import Cursor, Frame
from flowcontrol.directives import Abort, Break, Continue, Enter, Leave
from flowcontrol.documents import make_document
from flowcontrol.exceptions import ConfigError
from flowcontrol.expressions import Scope
from flowcontrol.registry import actions
from flowcontrol.testing import Log, rehearse, row

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


def handle(**state: Any) -> RunHandle:
    return RunHandle(pk=1, flow="flow", state=state, scope=Scope(state), now=NOON)


def answer(name: str, run: RunHandle | None = None, /, **config: Any) -> Any:
    """What a row of this kind answers when it is asked for the first time."""
    return actions[name]().run(run=run or handle(), obj=None, config=config)


@pytest.mark.parametrize(
    ("name", "config", "directive"),
    [
        ("if", {"condition": "true"}, Enter()),
        ("if", {"condition": "false"}, Continue()),
        ("else_if", {"condition": "1"}, Enter()),
        ("else", {}, Enter()),
        ("group", {"title": "a"}, Enter()),
        ("while", {"condition": "''"}, Continue()),
        ("leave", {}, Leave("parent")),
        ("leave", {"target": "loop"}, Leave("loop")),
        ("leave", {"condition": "false"}, None),
        ("break", {"target": "loop", "condition": "true"}, Break("loop")),
        ("break", {"condition": "0"}, None),
        ("stop", {"reason": "n is {{ n|default:'none' }}"}, Abort("n is none")),
        ("stop", {}, Abort("")),
        ("for", {"start": 0, "end": 2, "step": 1}, Enter(memo=[0, 2, 1, None])),
        (
            "for",
            {"start": 2, "end": 0, "step": -1, "var_name": "i"},
            Enter([2, 0, -1, "i"], {"i": 2}),
        ),
        ("for", {"start": 2, "end": 0, "step": 1}, Continue()),
    ],
)
def test_every_row_answers_with_a_directive(name: str, config: dict[str, Any], directive: Any):
    assert answer(name, **config) == directive


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("if", {}, "condition: Required"),
        ("if", {"condition": ""}, "condition: "),
        ("while", {"condition": "n <"}, "condition: "),
        ("leave", {"target": "top"}, "target: must be one of parent, loop"),
        ("for", {}, "end: Required"),
        ("for", {"end": 3, "step": 0}, "step: "),
        ("for", {"end": "3"}, "end: must be a whole number"),
        ("for", {"end": 3, "var_name": "my i"}, "var_name: "),
        ("for", {"end": 3, "var_name": "_i"}, "var_name: "),
        ("for", {"end": 3, "until": 4}, "until: is not known here"),
        ("stop", {"reason": "{{ n"}, "reason: "),
        ("group", {"title": "x" * 201}, "title: must have at most 200 characters"),
    ],
)
def test_what_cannot_work_is_told_when_publishing(name: str, config: dict[str, Any], message: str):
    [(_uid, told)] = problems_of(make_document(row(name, **config)))
    assert message in told


def test_steps_of_zero_that_were_computed_are_an_error_of_the_author():
    with pytest.raises(ConfigError, match="step"):
        rehearse(row("for", Log("x"), end=3, step={"$expr": "n"}), state={"n": 0})
    with pytest.raises(ConfigError, match="steps of 0"):
        answer("for", start=0, end=3, step=0)


def test_huge_counts_are_counted_not_listed():
    assert answer("for", start=0, end=10**30, step=1) == Enter(memo=[0, 10**30, 1, None])


def test_a_run_that_was_sent_into_a_loop_from_outside_begins_its_count_there():
    """A jump opens the loop without a count; after the block it counts from the start."""
    run, config = handle(), {"start": 5, "end": 7, "step": 1, "var_name": "i"}
    asked = For().return_from_children(run=run, obj=None, config=config)
    assert asked == Enter(memo=[5, 7, 1, "i"], names={"i": 5})


def test_what_a_loop_noted_is_read_back_from_json():
    frame = Frame("for", "return", [5, 7, 1, "i"], {"i": 5})
    assert Cursor.from_json(Cursor((frame,)).to_json()).frames == (frame,)
    run = handle()
    run.memo = [5, 7, 1, "i"]
    again = For().return_from_children(run=run, obj=None, config={})
    assert again == Enter(memo=[6, 7, 1, "i"], names={"i": 6})
    run.memo = [6, 7, 1, "i"]
    assert For().return_from_children(run=run, obj=None, config={}) == Continue()


@pytest.mark.parametrize(
    ("name", "config", "sentence"),
    [
        ("if", {"condition": "object.dep_delay > 180"}, "If object.dep_delay > 180"),
        ("else_if", {"condition": "n == 2"}, "Else, if n == 2"),
        ("else", {}, "Else"),
        ("group", {}, "Group"),
        ("group", {"title": "Remind the station"}, "Remind the station"),
        ("while", {"condition": "n < 3"}, "While n < 3"),
        ("for", {"end": 3}, "For n from 0 up to 3"),
        (
            "for",
            {"end": {"$expr": "n|add:1"}, "start": 1, "var_name": "i"},
            "For i from 1 up to n|add:1",
        ),
        ("leave", {}, "Return to parent action"),
        ("break", {"condition": "n > 3"}, "Leave branch if n > 3"),
        ("stop", {"reason": "x"}, "Stop flow"),
    ],
)
def test_rows_read_as_sentences(name: str, config: dict[str, Any], sentence: str):
    assert actions[name]().sentence(config) == sentence


def test_only_blocks_take_rows_and_only_loops_are_loops():
    control = [each for each in actions if str(each.group) == "Control"]
    assert {each.name for each in control if each.has_children} == {
        *("if", "else_if", "else", "group", "while", "for", "for_each"),
    }
    assert {each.name for each in control if each.is_loop} == {"while", "for", "for_each"}
    assert {each.name for each in control if not each.has_budget} == {"for", "for_each"}
    assert {each.effects for each in control} == {"none"}
