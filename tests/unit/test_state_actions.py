"""Set state and Update state: what ends up in the state, and what never does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flowcontrol.base import BaseAction, RunHandle
from flowcontrol.exceptions import ConfigError, ExpressionError, NotJSON
from flowcontrol.registry import actions
from flowcontrol.testing import For, SetState, UpdateState, rehearse, row
from tests.testapp.models import Parcel

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


def updated(state: Any, values: Any, *, evaluate: bool = True, **given: Any) -> dict[str, Any]:
    item = row("update_state", state=values, evaluate=evaluate)
    return rehearse(item, state=state, now=NOON, **given).state


def test_update_state_keeps_what_it_does_not_name():
    assert updated({"a": 1, "b": 2}, {"b": 3, "c": 4}) == {"a": 1, "b": 3, "c": 4}


def test_set_state_keeps_nothing_else():
    assert rehearse(SetState(c="a"), state={"a": 1, "b": 2}).state == {"c": 1}


def test_texts_are_texts_unless_the_row_evaluates_them():
    values = {"n": "n|add:1", "deep": [{"m": "n"}]}
    assert updated({"n": 1}, values, evaluate=False) == values
    assert updated({"n": 1}, values) == {"n": 2, "deep": [{"m": 1}]}


def test_only_texts_are_evaluated_not_keys_and_not_other_values():
    values = {"n": {"n": ["n", 5, None, True, {"m": "'n'"}]}}
    assert updated({"n": 7}, values) == {"n": {"n": [7, 5, None, True, {"m": "n"}]}}


def test_every_text_sees_the_state_as_it_was_before_the_row():
    swapped = {"a": 2, "b": 1}
    assert updated({"a": 1, "b": 2}, {"a": "b", "b": "a"}) == swapped
    assert rehearse(SetState(a="b", b="a"), state={"a": 1, "b": 2}).state == swapped


def test_a_name_that_nothing_sets_is_null():
    assert updated({}, {"n": "unset"}) == {"n": None}


def test_values_become_the_json_that_a_later_pass_reads_back():
    values = {"at": "now", "day": "today", "key": "object.pk", "sum": "0.5|add:0.5"}
    assert updated({}, values, obj=Parcel(pk=3)) == {
        "at": "2013-02-08T12:00:00Z",
        "day": "2013-02-08",
        "key": 3,
        "sum": 1.0,
    }


@pytest.mark.parametrize("source", ["object", "nan", "run"])
def test_what_is_no_json_never_enters_the_state(source: str):
    state = {"nan": float("nan"), "kept": 1}
    with pytest.raises(NotJSON, match=f"'{source}'"):
        updated(state, {"kept": "2", "bad": source}, obj=Parcel(pk=1))


def test_a_row_that_fails_leaves_the_state_as_it_was():
    for error, source in ((ExpressionError, "missing|add:1"), (NotJSON, "object")):
        for action in ("set_state", "update_state"):
            item = row(action, state={"kept": "2", "z": source}, evaluate=True)
            state = {"kept": 1}
            with pytest.raises(error):
                rehearse(item, state=state, obj=Parcel(pk=1))
            assert state == {"kept": 1}


def test_what_is_copied_in_the_state_is_a_copy():
    rows = [UpdateState(copy="list"), row("update_state", state={"list": [9]})]
    assert rehearse(*rows, state={"list": [1]}).state == {"copy": [1], "list": [9]}


def test_an_action_that_changes_a_value_in_place_does_not_change_the_row_that_set_it():
    class Append(BaseAction):
        name = "test.append"
        effects = "none"

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> None:
            run.state["list"].append(2)

    with actions.temporarily(Append):
        rows = [row("set_state", state={"list": [1]}), row("test.append")]
        assert rehearse(For(3, rows)).state == {"list": [1, 2]}


def test_the_loop_variable_can_be_kept_by_setting_a_state_key():
    rows = [For(3, [UpdateState(last="i")], var_name="i")]
    assert rehearse(*rows).state == {"last": 2}


def test_the_whole_state_may_be_computed():
    item = row("set_state", state={"$expr": "trigger.flight"})
    told = rehearse(item, payload={"flight": {"number": 1117, "at": NOON}})
    assert told.state == {"number": 1117, "at": "2013-02-08T12:00:00Z"}


def test_the_state_may_be_set_to_itself():
    assert rehearse(row("set_state", state={"$expr": "run.state"}), state={"a": 1}).state == {
        "a": 1
    }


@pytest.mark.parametrize("value", [5, "text", [1]])
def test_a_state_that_does_not_compute_to_an_object_is_refused(value: Any):
    with pytest.raises(ConfigError, match="state: must be a group of named values"):
        rehearse(row("set_state", state={"$expr": "value"}), state={"value": value})


@pytest.mark.parametrize("action", ["set_state", "update_state", "start_flow"])
def test_a_wrong_expression_among_the_values_is_told_when_publishing(action: str):
    config = {"state": {"fine": "1", "odd": [{"deep": "1 +"}]}, "evaluate": True}
    [(severity, field, message)] = actions[action].check_config(config)
    assert (severity, field) == ("error", "state")
    assert message.startswith("1 +: ")
    assert actions[action].check_config({**config, "evaluate": False}) == []


@pytest.mark.parametrize("action", ["set_state", "update_state", "start_flow"])
def test_what_was_computed_is_not_evaluated_a_second_time(action: str):
    """A text from outside, in a payload say, must not become an expression."""
    config = {"state": {"$expr": "trigger.values"}, "evaluate": True}
    [(severity, field, _message)] = actions[action].check_config(config)
    assert (severity, field) == ("error", "evaluate")


@pytest.mark.parametrize(
    ("action", "config", "sentence"),
    [
        ("set_state", {"state": {"a": 1, "b": 2}}, "Set state to a, b"),
        ("set_state", {"state": {}}, "Set state to {}"),
        ("set_state", {"state": {"$expr": "trigger"}}, "Set state to trigger"),
        ("update_state", {"state": {"n": "n|add:1"}, "evaluate": True}, "Set n = n|add:1"),
        ("update_state", {"state": {"n": 0}}, "Set n: 0"),
        ("update_state", {"state": dict.fromkeys("abcd", 1)}, "Set a: 1, b: 1, c: 1, …"),
    ],
)
def test_rows_read_as_sentences(action: str, config: dict[str, Any], sentence: str):
    assert actions[action]().sentence(config) == sentence
