"""The compact history: steps of a commit, and how to undo what they changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcontrol.history import LONGEST_READ, StepLog, reverse_patch, same, shown
from flowcontrol.models import RunEvent
from tests.testapp.models import Parcel


def log_of(steps: int, keep: int) -> list[Any]:
    log = StepLog(keep)
    for number in range(steps):
        log.add(str(number), "run", "continue", 7, None, None)
    return [step[1] if step[0] is None else step[0] for step in log.to_json()]


def test_a_step_is_stored_without_its_empty_tail():
    log = StepLog(10)
    log.add("a", "run", "enter", 12, None, None)
    log.add("b", "run", "continue", 3, [("n", 1)], None)
    log.add("c", "return", "continue", 4, [], ["said"])
    assert log.to_json() == [
        ["a", "run", "enter", 12],
        ["b", "run", "continue", 3, [["n", 1]]],
        ["c", "return", "continue", 4, [], ["said"]],
    ]


def test_long_histories_keep_the_first_and_the_last_steps_and_count_the_others():
    assert log_of(8, keep=4) == ["0", "1", 4, "6", "7"]


@pytest.mark.parametrize("steps", range(7))
def test_nothing_is_left_out_while_there_is_room(steps: int):
    assert log_of(steps, keep=6) == [str(number) for number in range(steps)]


def test_a_history_that_keeps_no_steps_still_counts_them():
    assert log_of(5, keep=0) == [5]
    assert log_of(0, keep=0) == []


def test_a_copy_goes_its_own_way():
    log = StepLog(4)
    log.add("a", "run", "continue", 1, None, None)
    copy = log.copy()
    for number in range(9):
        log.add(str(number), "run", "continue", 1, None, None)
    assert [step[0] for step in copy.to_json()] == ["a"]
    assert copy.count == 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2.5, 2.5),
        ("late", "late"),
        ("a\x00b", "a\ufffdb"),
        ("half \ud83d", "half ?"),
        (float("nan"), "nan"),
        pytest.param(10**5000, "of about 5000 digits", id="huge"),
        (datetime(2013, 2, 8, tzinfo=UTC), "2013-02-08T00:00:00+00:00"),
        (timedelta(hours=2), "PT2H"),
        (Decimal("1.5"), "the number 1.5"),
        ({"a": 1}, "a record with the keys a"),
        ([1, 2], "a list of 2"),
    ],
)
def test_a_value_that_was_read_is_told_as_short_json(value: Any, told: Any):
    assert shown(value) == told
    json.dumps(shown(value), allow_nan=False).encode()


def test_a_long_text_is_cut_in_the_history_only():
    assert shown("x" * 1000) == "x" * LONGEST_READ + "…"


def test_an_object_is_told_without_asking_it_or_the_database():
    class Grumpy(Parcel):
        class Meta:
            proxy = True
            app_label = "testapp"

        def __str__(self) -> str:
            raise RuntimeError("no name")

    assert shown(Grumpy(pk=12)) == "Grumpy 12"


def test_lines_that_were_logged_are_storable_everywhere():
    log = StepLog(2)
    log.add("a", "run", "continue", 1, None, ["a\x00b \ud83d"])
    assert log.to_json()[0][5] == ["a\ufffdb ?"]


def test_two_equal_states_need_no_patch():
    assert reverse_patch({"n": [1, {"a": None}]}, {"n": [1, {"a": None}]}) is None
    assert reverse_patch({}, {}) is None


def test_a_patch_holds_only_what_changed():
    before = {"kept": 1, "changed": [1], "gone": None}
    after = {"kept": 1, "changed": [2], "new": 0}
    assert reverse_patch(before, after) == {
        "set": {"changed": [1], "gone": None},
        "remove": ["new"],
    }


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, True), (0, False), ("1", 1), ([], {}), (None, 0), ([1], [1.0])]
)
def test_values_that_json_writes_differently_are_different(one: Any, other: Any):
    assert not same(one, other)
    assert not same({"a": one}, {"a": other})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=1), inner),
    max_leaves=6,
)
STATES = st.dictionaries(st.sampled_from("abcde"), JSON_VALUES)


@settings(deadline=None)
@given(STATES, STATES)
def test_the_patch_leads_back_to_the_state_before(before: Any, after: Any):
    event = RunEvent(undo=reverse_patch(before, after))
    assert same(event.state_before(after), before)


@settings(deadline=None)
@given(JSON_VALUES, JSON_VALUES)
def test_same_means_that_the_text_is_the_same(one: Any, other: Any):
    def text(value: Any) -> str:
        return json.dumps(value, sort_keys=True).replace("-0.0", "0.0")

    assert same(one, other) == (text(one) == text(other))
