"""What becomes of a step that raised."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcontrol.exceptions import (
    AuthorError,
    ConfigError,
    ExpressionError,
    NotJSON,
    RetryLater,
    UnknownAction,
)
from flowcontrol.failures import (
    LONGEST_TRACEBACK,
    LONGEST_WAIT,
    RETRY_SCHEMA,
    describe,
    message_of,
    wait_before_retry,
)
from flowcontrol.schemas import check_schema, find_value_problems

STEADY = {"attempts": 5, "wait": 10, "jitter": 0}


class RadioSilence(ConnectionError):
    """Somebody does not answer."""


def seconds(policy: dict[str, Any] | None, attempt: int = 1, error: Any = None) -> float | None:
    wait = wait_before_retry(error or RadioSilence("?"), policy, attempt)
    return None if wait is None else wait.total_seconds()


def test_without_a_policy_nothing_is_tried_again():
    assert seconds(None) is None
    assert seconds({}) is None


def test_the_wait_doubles_until_the_attempts_are_used_up():
    assert [seconds(STEADY, attempt) for attempt in range(1, 7)] == [10, 20, 40, 80, None, None]


def test_attempts_counts_the_first_try_too():
    assert seconds({"attempts": 1}) is None


def test_the_wait_grows_by_the_factor_up_to_the_longest():
    policy = {**STEADY, "factor": 10, "max_wait": 500}
    assert [seconds(policy, attempt) for attempt in range(1, 5)] == [10, 100, 500, 500]


def test_a_policy_may_say_little():
    wait = seconds({"attempts": 2})
    assert wait is not None
    assert 9 <= wait <= 11


def test_the_wait_varies_by_the_jitter_so_that_not_all_come_back_at_once():
    random.seed(1)
    waits = {seconds({**STEADY, "jitter": 0.5}) for _try in range(50)}
    assert len(waits) > 40
    assert all(wait is not None and 5 <= wait <= 15 for wait in waits)


@pytest.mark.parametrize(
    ("names", "is_worth_it"),
    [
        (["RadioSilence"], True),
        (["ConnectionError"], True),
        (["builtins.OSError"], True),
        ([f"{__name__}.RadioSilence"], True),
        (["Exception"], True),
        (["TimeoutError", "ValueError"], False),
        ([], True),
    ],
)
def test_a_policy_may_name_the_errors_that_are_worth_another_try(
    names: list[str], is_worth_it: bool
):
    assert (seconds({**STEADY, "errors": names}) is not None) == is_worth_it


@pytest.mark.parametrize(
    "error",
    [
        AuthorError("wrong"),
        ExpressionError("wrong"),
        ConfigError("wrong"),
        NotJSON("wrong"),
        UnknownAction("wrong"),
    ],
)
def test_the_authors_mistakes_are_never_tried_again(error: Exception):
    assert seconds({**STEADY, "errors": [type(error).__name__]}, error=error) is None


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_what_ends_a_process_is_not_tried_again(error: BaseException):
    assert seconds(STEADY, error=error) is None


def test_an_action_may_ask_for_another_try_whatever_the_policy():
    later = RetryLater(timedelta(hours=2))
    assert seconds(None, attempt=99, error=later) == 7200
    assert seconds(STEADY, error=RetryLater(timedelta(days=10**6))) == LONGEST_WAIT


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "attempts": st.integers(1, 1000),
            "wait": st.integers(0) | st.floats(0, allow_infinity=False),
            "factor": st.integers(1) | st.floats(1, allow_infinity=False),
            "max_wait": st.integers(0, LONGEST_WAIT) | st.floats(0, LONGEST_WAIT),
            "jitter": st.floats(0, 1),
        },
    ),
    st.integers(1, 1000),
)
def test_every_policy_that_the_schema_allows_gives_a_wait_that_a_date_can_hold(
    policy: dict[str, Any], attempt: int
):
    assert find_value_problems(RETRY_SCHEMA, policy) == []
    wait = wait_before_retry(RadioSilence("?"), policy, attempt)
    assert wait is None or timedelta(0) <= wait <= timedelta(seconds=2 * LONGEST_WAIT)


def test_the_schema_of_policies_is_a_schema_and_knows_its_keys():
    check_schema(RETRY_SCHEMA)
    problems = find_value_problems(RETRY_SCHEMA, {"attempts": 0, "max_wiat": 3, "factor": 0.5})
    assert {problem.path for problem in problems} == {("attempts",), ("max_wiat",), ("factor",)}


# --- telling ------------------------------------------------------------------------------------


def caught(function: Any) -> BaseException:
    try:
        function()
    except BaseException as error:  # noqa: BLE001 (the test is about any error)
        return error
    raise AssertionError("nothing was raised")


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (AuthorError("Add an end to the loop."), "Add an end to the loop."),
        (AuthorError(""), "AuthorError"),
        (RadioSilence("no answer"), "RadioSilence: no answer"),
        (RadioSilence(), "RadioSilence"),
        (KeyError("to"), "KeyError: 'to'"),
        (Speechless(), "Speechless: its message cannot be shown."),
    ],
)
def test_an_authors_mistake_is_told_in_its_words_and_others_with_their_name(
    error: Exception, message: str
):
    assert message_of(error) == message


def test_the_history_gets_class_message_traceback_and_place():
    def call_the_tower() -> None:
        raise RadioSilence("no answer")

    told = describe(caught(call_the_tower), uid="mail", attempt=2)
    assert told["error"] == f"{__name__}.RadioSilence"
    assert told["message"] == "RadioSilence: no answer"
    assert "in call_the_tower" in told["traceback"]
    assert (told["uid"], told["attempt"]) == ("mail", 2)
    assert describe(ValueError("x"))["error"] == "ValueError"


def test_the_history_gets_the_expression_that_failed():
    assert describe(ExpressionError("no", expression="n <\x00 3"))["expression"] == "n <\ufffd 3"
    assert "expression" not in describe(ValueError("x"))


def test_the_cause_of_an_error_is_told_too():
    def wrapped() -> None:
        try:
            raise RadioSilence("no answer")
        except RadioSilence as error:
            raise ValueError("no gate") from error

    assert "RadioSilence: no answer" in describe(caught(wrapped))["traceback"]


@pytest.mark.parametrize(
    "error",
    [ValueError("a\x00b"), ValueError("half \ud83d"), ValueError("x" * 10**6), Speechless()],
)
def test_every_error_can_be_stored(error: Exception):
    told = describe(error)
    text = json.dumps(told, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text
    assert len(told["traceback"]) <= LONGEST_TRACEBACK
