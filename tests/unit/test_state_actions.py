"""Set state and Update state: what ends up in the state, and what never does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flowcontrol.base import BaseAction, Continue, RunHandle
from flowcontrol.exceptions import ConfigError, ExpressionError, NotJSON, StateMismatch
from flowcontrol.registry import actions
from flowcontrol.testing import For, Log, Rehearsal, SetState, UpdateState, rehearse, row
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
        ("remove_keys", {"keys": ["a", "b"]}, "Remove a, b from the state"),
        (
            "remove_keys",
            {"keys": {"$expr": "trigger.names"}},
            "Remove trigger.names from the state",
        ),
    ],
)
def test_rows_read_as_sentences(action: str, config: dict[str, Any], sentence: str):
    assert actions[action]().sentence(config) == sentence


def test_keys_are_removed_by_name():
    item = row("remove_keys", keys=["a", "missing"])
    assert rehearse(item, state={"a": 1, "b": {"a": 2}}).state == {"b": {"a": 2}}


def test_the_names_to_remove_may_be_computed():
    item = row("remove_keys", keys={"$expr": "names"})
    assert rehearse(item, state={"a": 1, "names": ["a", "names"]}).state == {}
    assert rehearse(item, state={"a": 1, "names": "a"}).state == {"names": "a"}
    with pytest.raises(ConfigError, match="keys → entry 1"):
        rehearse(item, state={"names": [5]})


# --- the state schema ---------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "maximum": 3},
        "pin": {"type": "string", "format": "secret", "maxLength": 4},
    },
    "additionalProperties": {"type": "string"},
    "required": ["n"],
}


def under_schema(*rows: Any, state: Any = None, schema: Any = SCHEMA) -> Rehearsal:
    return rehearse(*rows, state=state or {"n": 0}, state_schema=schema)


def test_a_state_that_fits_its_schema_is_left_alone():
    assert under_schema(UpdateState(n="n|add:1", word="'x'")).state == {"n": 1, "word": "x"}


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (UpdateState(n="5"), "n: must be at most 3"),
        (UpdateState(n="'x'"), "n: must be a whole number"),
        (UpdateState(other="1"), "other: must be text"),
        (SetState(word="'x'"), "n"),
        (row("remove_keys", keys=["n"]), "n"),
        (row("set_state", state={"n": 1, "word": [1]}), "word: must be text"),
    ],
)
def test_a_row_that_leaves_a_state_that_does_not_fit_fails(item: Any, told: str):
    state = {"n": 0}
    with pytest.raises(StateMismatch, match=told) as raised:
        under_schema(item, state=state)
    assert raised.value.problems
    assert state == {"n": 0}


def test_an_action_of_a_project_is_held_to_the_schema_too():
    class Count(BaseAction):
        name = "test.count"
        effects = "none"

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> None:
            run.state["n"] += 1

    with actions.temporarily(Count):
        assert under_schema(*[row("test.count")] * 3).state == {"n": 3}
        with pytest.raises(StateMismatch, match="n: must be at most 3"):
            under_schema(*[row("test.count")] * 4)


def test_a_result_has_to_fit_as_well():
    item = row("for", end=1, result_key="")
    assert under_schema(item).state == {"n": 0}

    class Answer(BaseAction):
        name = "test.answer"
        effects = "none"

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> Continue:
            return Continue(7)

    with actions.temporarily(Answer), pytest.raises(StateMismatch, match="said: must be text"):
        under_schema(row("test.answer", result_key="said"))


def test_what_is_wrong_with_a_secret_does_not_repeat_it():
    with pytest.raises(StateMismatch) as raised:
        under_schema(UpdateState(pin="'hush-hush'"))
    assert "hush" not in str(raised.value)
    assert "pin" in str(raised.value)


def test_only_a_row_that_changes_the_state_is_held_to_the_schema():
    """A run in flight whose state does not fit, because it was begun otherwise, can go on."""
    assert under_schema(Log("x"), UpdateState(n="n"), state={"n": 9}).state == {"n": 9}


def test_without_a_schema_nothing_is_compared(monkeypatch: pytest.MonkeyPatch):
    def never(*args: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("flowcontrol.slices.reverse_patch", never)
    assert rehearse(UpdateState(n="1"), state={}).state == {"n": 1}
