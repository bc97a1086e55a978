"""Try, On error, Always, Fail, and what a row does by itself when it has failed."""

from __future__ import annotations

import pytest

from flowcontrol.base import BaseAction
from flowcontrol.exceptions import ActionFailed, ExpressionError
from flowcontrol.registry import actions
from flowcontrol.testing import (
    Always,
    Break,
    Fail,
    For,
    Group,
    If,
    Leave,
    Log,
    OnError,
    Stop,
    Try,
    UpdateState,
    While,
    rehearse,
    row,
    trace,
)


class LineDown(ConnectionError):
    """An error of a project's own."""


class Fetch(BaseAction):
    name = "test.fetch"
    effects = "none"

    def run(self, *, run, obj, config):
        raise LineDown("The line is down.")


@pytest.fixture(autouse=True)
def _actions():
    with actions.temporarily(Fetch):
        yield


# --- Try and On error ---------------------------------------------------------------------------


def test_what_fails_inside_a_try_goes_on_at_its_on_error():
    assert trace(Try(Log("a"), Fail(), Log("never")), OnError(Log("rescue")), Log("after")) == [
        *("try", "log", "fail", "on_error", "log", "on_error", "log"),
    ]


def test_on_error_is_passed_by_when_nothing_fails():
    assert trace(Try(Log("a")), OnError(Log("never")), Log("after")) == ["try", "log", "try", "log"]


def test_the_rows_inside_can_read_the_error():
    told = UpdateState(kind="error.type", said="error.message", at="error.row")
    state = rehearse(Try(row("test.fetch", uid="fetch")), OnError(told)).state
    assert state == {"kind": "LineDown", "said": "LineDown: The line is down.", "at": "fetch"}


def test_the_error_can_have_a_name_of_its_own():
    told = UpdateState(said="problem.message")
    assert rehearse(Try(Fail("oh")), OnError(told, var_name="problem")).state == {"said": "oh"}


@pytest.mark.parametrize("name", ["LineDown", "ConnectionError", "OSError", "Exception"])
def test_on_error_chooses_by_the_class_and_its_base_classes(name):
    caught = trace(Try(row("test.fetch")), OnError(Log("x"), errors=[name]))
    assert caught == ["try", "test.fetch", "on_error", "log", "on_error"]


def test_the_first_on_error_that_takes_it_is_the_only_one():
    rows = [
        Try(row("test.fetch")),
        OnError(Log("no"), errors=["ValueError"], label="values"),
        OnError(Log("yes"), message="LINE", label="lines"),
        OnError(Log("no"), label="others"),
    ]
    assert trace(*rows) == ["try", "test.fetch", "lines", "log", "lines"]


def test_an_error_that_nobody_takes_is_raised():
    with pytest.raises(LineDown):
        rehearse(Try(row("test.fetch")), OnError(Log("x"), errors=["ValueError"]))


def test_an_error_is_taken_by_the_nearest_try_that_wants_it():
    inner = [Try(row("test.fetch")), OnError(Log("x"), errors=["ValueError"], label="inner")]
    rows = [Try(If("true", inner), Log("never")), OnError(Log("y"), label="outer")]
    assert trace(*rows)[-3:] == ["outer", "log", "outer"]


def test_what_fails_inside_on_error_goes_further_out():
    inner = [Try(Fail("one")), OnError(Fail("two"), label="inner")]
    rehearsal = rehearse(
        Try(Group(inner)), OnError(UpdateState(said="error.message"), label="outer")
    )
    assert rehearsal.state == {"said": "two"}


def test_a_mistake_of_the_author_is_never_swallowed():
    with pytest.raises(ExpressionError):
        rehearse(Try(If("1 < 'a'", [Log("x")])), OnError(Log("never")))


def test_loops_around_the_failed_row_are_left_and_begin_afresh():
    again = For(
        2,
        [Try(For(3, [Fail()], var_name="j")), OnError(UpdateState(n="n|add:1"))],
        var_name="i",
    )
    assert rehearse(again, state={"n": 0}).state == {"n": 2}


def test_a_loop_can_try_again_and_again():
    rounds = While("n < 3", [Try(UpdateState(n="n|add:1"), Fail()), OnError(Log("once more"))])
    assert rehearse(rounds, state={"n": 0}).logs == ["once more"] * 3


def test_a_try_that_is_off_takes_its_on_error_with_it_and_leaves_its_always():
    rows = [Try(Log("a"), enabled=False), OnError(Log("b")), Always(Log("c"))]
    assert rehearse(*rows).logs == ["c"]


# --- Always -------------------------------------------------------------------------------------


def test_always_runs_after_a_try_that_went_well():
    assert rehearse(Try(Log("a")), Always(Log("z")), Log("after")).logs == ["a", "z", "after"]


def test_always_runs_after_the_on_error():
    rows = [Try(Fail()), OnError(Log("rescue")), Always(Log("z")), Log("after")]
    assert rehearse(*rows).logs == ["rescue", "z", "after"]


def test_always_runs_before_an_on_error_further_out():
    inner = [Try(Fail("deep")), Always(Log("z"))]
    rows = [Try(*inner), OnError(Log("{{ error.message }}"))]
    assert rehearse(*rows).logs == ["z", "deep"]


def test_the_class_of_the_error_survives_an_always_on_its_way():
    inner = [Try(row("test.fetch")), Always(Log("z"))]
    rows = [Try(*inner), OnError(Log("{{ error.type }}"), errors=["ConnectionError"])]
    assert rehearse(*rows).logs == ["z", "LineDown"]


def test_nothing_is_left_when_nobody_takes_the_error():
    with pytest.raises(ActionFailed):
        rehearse(Try(Fail()), Always(Log("a person decides first")))


@pytest.mark.parametrize(
    ("way", "logs"),
    [
        (Leave(target="loop"), ["z", "z", "after"]),
        (Break(target="loop"), ["z", "after"]),
        (Break(), ["z", "end", "z", "end", "after"]),
        (Leave(), ["z", "end", "z", "end", "after"]),
        (Stop(), ["z"]),
    ],
)
def test_always_runs_whichever_way_the_block_is_left(way, logs):
    rows = [For(2, [Try(way), Always(Log("z")), Log("end")]), Log("after")]
    assert rehearse(*rows).logs == logs


def test_all_always_on_the_way_out_run_from_the_inside():
    inner = [Try(Stop("enough")), Always(Log("inner"))]
    rehearsal = rehearse(Try(*inner), Always(Log("outer")), Log("never"))
    assert (rehearsal.logs, rehearsal.outcome) == (["inner", "outer"], "aborted")


def test_an_always_may_wait_on_the_way_out():
    inner = [Try(Fail("deep")), Always(row("delay", duration="PT1H"), Log("z"))]
    rows = [Try(*inner), OnError(Log("{{ error.message }}"))]
    assert rehearse(*rows, restarting=True).logs == ["z", "deep"]


# --- a row's own policy -------------------------------------------------------------------------


def test_a_row_can_go_on_after_its_error_and_note_it():
    policy = {"then": "continue", "save_as": "problem"}
    rehearsal = rehearse(row("test.fetch", uid="f", on_error=policy), Log("after"))
    assert rehearsal.logs == ["after"]
    assert rehearsal.state == {
        "problem": {"type": "LineDown", "message": "LineDown: The line is down.", "row": "f"}
    }


@pytest.mark.parametrize(("then", "logs"), [("leave", ["x"] * 2), ("break", ["x"])])
def test_a_row_can_leave_its_block_on_an_error(then, logs):
    rows = For(2, [Log("x"), row("test.fetch", on_error={"then": then}), Log("never")])
    assert rehearse(rows).logs == logs


def test_a_row_that_says_fail_stops_even_inside_a_try():
    with pytest.raises(LineDown):
        rehearse(Try(row("test.fetch", on_error={"then": "fail"})), OnError(Log("never")))


def test_a_policy_is_for_the_errors_that_it_names():
    policy = {"then": "continue", "errors": ["ValueError"]}
    with pytest.raises(LineDown):
        rehearse(row("test.fetch", on_error=policy))


def test_a_policy_does_not_swallow_a_mistake_of_the_author():
    with pytest.raises(ExpressionError):
        rehearse(If("1 < 'a'", on_error={"then": "continue"}))


def test_fail_says_its_message_with_values():
    with pytest.raises(ActionFailed, match="only 3 seats"):
        rehearse(Fail("only {{ seats }} seats"), state={"seats": 3})
