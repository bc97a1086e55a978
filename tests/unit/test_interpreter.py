"""What every directive means: flows in one notation, compared by the rows that were asked."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcontrol.base import BaseAction, Enter, RunHandle, Suspend, SuspendAndRepeat
from flowcontrol.compiling import compile_document
from flowcontrol.cursor import RESUME, RETURN, RUN, Cursor, Frame
from flowcontrol.directives import Abort, Break, Continue, Directive, Leave
from flowcontrol.documents import JSONObject, make_document
from flowcontrol.exceptions import AuthorError, ConfigError, EndlessLoop, ExpressionError
from flowcontrol.interpreter import advance
from flowcontrol.program import Program
from flowcontrol.registry import actions
from flowcontrol.testing import Break as BreakRow
from flowcontrol.testing import (
    Delay,
    Else,
    ElseIf,
    For,
    Group,
    If,
    Log,
    Rehearsal,
    SetState,
    Stop,
    UpdateState,
    While,
    rehearse,
    row,
    trace,
)
from flowcontrol.testing import Leave as LeaveRow
from tests.unit.reading import read_aloud, some_rows

A, B, C = Log("a", label="a"), Log("b", label="b"), Log("c", label="c")


def tells(message: str) -> JSONObject:
    """A row that says in the trace what a template gives."""
    return Log(message)


# --- one block after another --------------------------------------------------------------------


def test_rows_run_from_top_to_bottom():
    assert trace(A, B, C) == ["a", "b", "c"]


def test_an_empty_flow_is_complete_at_once():
    told = rehearse()
    assert (told.trace, told.outcome) == ([], "complete")


def test_a_disabled_row_is_passed_over_with_everything_inside():
    assert trace(A, Group([B], enabled=False), C) == ["a", "c"]


def test_a_block_is_asked_again_when_its_rows_are_through():
    assert trace(Group([A, B]), C) == ["group", "a", "b", "group", "c"]


def test_an_empty_block_returns_at_once():
    assert trace(Group([]), A) == ["group", "group", "a"]
    assert trace(If("true", []), A) == ["if", "if", "a"]
    assert trace(For(2, []), A) == ["for", "for", "for", "a"]


def test_a_block_whose_rows_are_all_disabled_is_empty():
    assert trace(Group([Log("x", enabled=False)]), A) == ["group", "group", "a"]


def test_stop_ends_the_run_as_aborted_wherever_it_stands():
    told = rehearse(For(9, [If("true", [Stop("enough")])]), A)
    assert (told.trace, told.outcome) == (["for", "if", "stop"], "aborted")


# --- If, Else if, Else --------------------------------------------------------------------------


def chain(n: int) -> list[str]:
    return trace(
        If("n == 1", [A]), ElseIf("n == 2", [B]), Else([C]), Log("end", label="end"), state={"n": n}
    )


def test_of_a_chain_exactly_the_first_row_that_holds_is_taken():
    assert chain(1) == ["if", "a", "if", "end"]
    assert chain(2) == ["if", "else_if", "b", "else_if", "end"]
    assert chain(3) == ["if", "else_if", "else", "c", "else", "end"]


def test_the_conditions_after_the_taken_row_are_not_even_asked():
    assert trace(If("true", [A]), ElseIf("nothing < 3", [B])) == ["if", "a", "if"]


def test_a_taken_if_whose_rows_change_the_condition_still_passes_its_else():
    assert trace(If("n == 0", [UpdateState(n="1")]), Else([A]), state={"n": 0}) == [
        "if",
        "update",
        "if",
    ]


def test_a_disabled_if_counts_as_not_taken():
    assert trace(If("true", [A], enabled=False), Else([B])) == ["else", "b", "else"]
    assert trace(If("true", [A], enabled=False), ElseIf("false", [B]), Else([C])) == [
        *("else_if", "else", "c", "else"),
    ]


def test_the_else_of_a_disabled_if_has_nothing_to_do_with_what_is_taken_before():
    off = If("true", [A], enabled=False)
    assert trace(If("true", [A]), off, Else([C])) == ["if", "a", "if", "else", "c", "else"]
    assert trace(Group([A]), off, Else([C])) == ["group", "a", "group", "else", "c", "else"]


def test_a_disabled_row_in_the_middle_keeps_the_chain_together():
    disabled = ElseIf("true", [B], enabled=False)
    assert trace(If("true", [A]), disabled, Else([C])) == ["if", "a", "if"]
    assert trace(If("false", [A]), disabled, Else([C])) == ["if", "else", "c", "else"]


def test_a_disabled_else_ends_its_chain_quietly():
    assert trace(If("false", [A]), Else([B], enabled=False), C) == ["if", "c"]


def test_two_chains_in_a_row_know_nothing_of_each_other():
    rows = [If("true", [A]), If("false", [B]), Else([C])]
    assert trace(*rows) == ["if", "a", "if", "if", "else", "c", "else"]


def test_chains_nest():
    inner = [If("false", [A]), Else([If("true", [B]), Else([C])])]
    assert trace(If("true", inner), Else([A])) == [
        *("if", "if", "else", "if", "b", "if", "else", "if"),
    ]


@pytest.mark.parametrize("kind", [If, While])
def test_an_error_in_a_condition_is_an_error_and_never_false(kind: Any):
    with pytest.raises(ExpressionError, match="limit"):
        trace(kind("3 < limit", [A]), Else([B]) if kind is If else B)


# --- Leave and Break ----------------------------------------------------------------------------


def test_leave_asks_the_parent_again():
    assert trace(Group([A, LeaveRow(), B]), C) == ["group", "a", "leave", "group", "c"]


def test_leave_in_a_loop_goes_on_with_the_next_round():
    assert trace(For(2, [A, LeaveRow(), B]), C) == [
        *("for", "a", "leave", "for", "a", "leave", "for", "c"),
    ]


def test_leave_out_of_a_taken_if_passes_its_else():
    assert trace(If("true", [LeaveRow(), A]), Else([B]), C) == ["if", "leave", "if", "c"]


def test_leave_for_the_loop_goes_through_the_blocks_between():
    rows = [For(2, [If("true", [Group([LeaveRow(target="loop")])]), A]), C]
    assert trace(*rows) == ["for", *("if", "group", "leave", "for") * 2, "c"]


def test_break_goes_past_the_parent_without_asking_it():
    assert trace(Group([A, BreakRow(), B]), C) == ["group", "a", "break", "c"]


def test_break_out_of_a_taken_if_passes_its_else_too():
    assert trace(If("true", [BreakRow(), A]), ElseIf("true", [A]), Else([B]), C) == [
        *("if", "break", "c"),
    ]


def test_break_for_the_loop_ends_the_loop():
    rows = [For(9, [If("true", [Group([BreakRow(target="loop")])]), A]), C]
    assert trace(*rows) == ["for", "if", "group", "break", "c"]


def test_leave_and_break_mean_the_nearest_of_nested_loops():
    assert trace(For(2, [For(9, [BreakRow(target="loop")])]), C) == [
        *("for", "for", "break", "for", "for", "break", "for", "c"),
    ]


def test_break_of_a_loop_at_the_end_of_a_block_goes_back_to_the_block_around():
    assert trace(Group([For(9, [BreakRow()])]), C) == ["group", "for", "break", "group", "c"]


@pytest.mark.parametrize("target", ["parent", "loop"])
@pytest.mark.parametrize("way", [LeaveRow, BreakRow])
def test_where_there_is_nothing_to_leave_the_run_is_complete(way: Any, target: Any):
    told = rehearse(A, way(target=target), B)
    assert (told.trace[0], told.trace[-1], told.outcome) == ("a", way()["action"], "complete")


@pytest.mark.parametrize("way", [LeaveRow, BreakRow])
def test_without_a_loop_around_the_run_is_complete_also_from_deep_inside(way: Any):
    told = rehearse(Group([If("true", [way(target="loop")])]), B)
    assert (told.trace[:2], len(told.trace), told.outcome) == (["group", "if"], 3, "complete")


def test_a_way_out_with_a_condition_is_taken_only_when_it_holds():
    rows = [While("true", [UpdateState(n="n|add:1"), BreakRow("n == 3"), A])]
    assert rehearse(*rows, state={"n": 0}).trace.count("a") == 2


# --- While --------------------------------------------------------------------------------------


def test_while_asks_again_after_each_round():
    assert trace(While("n < 2", [UpdateState(n="n|add:1")]), state={"n": 0}) == [
        *("while", "update", "while", "update", "while"),
    ]


def test_while_that_does_not_hold_is_passed():
    assert trace(While("false", [A]), B) == ["while", "b"]


@override_settings(FLOWCONTROL_MAX_HOT_LOOPS=5)
def test_a_while_that_turns_more_often_than_allowed_fails_by_name():
    rounds = While("n < 5", [UpdateState(n="n|add:1")])
    assert rehearse(rounds, state={"n": -1}).state == {"n": 5}
    with pytest.raises(EndlessLoop, match=r"5 times without waiting"):
        rehearse(rounds, state={"n": -2})


@override_settings(FLOWCONTROL_MAX_HOT_LOOPS=5)
def test_an_empty_while_is_stopped_as_well():
    with pytest.raises(EndlessLoop):
        rehearse(While("true", []))


@override_settings(FLOWCONTROL_MAX_HOT_LOOPS=5)
def test_parking_anywhere_inside_lets_a_while_turn_again():
    rounds = While("n < 100", [UpdateState(n="n|add:1"), If("n|modulo:4 == 0", [Group([Delay()])])])
    told = rehearse(rounds, state={"n": 0})
    assert (told.state, len(told.waited)) == ({"n": 100}, 25)


@override_settings(FLOWCONTROL_MAX_HOT_LOOPS=5)
def test_an_inner_loop_counts_its_own_rounds_only():
    inner = While("m < 4", [UpdateState(m="m|add:1")])
    told = rehearse(While("n < 4", [UpdateState(n="n|add:1", m="0"), inner]), state={"n": 0})
    assert told.state == {"n": 4, "m": 4}


@override_settings(FLOWCONTROL_MAX_HOT_LOOPS=5)
def test_for_ends_by_itself_and_is_exempt():
    assert rehearse(For(50, [UpdateState(n="n|add:1")]), state={"n": 0}).state == {"n": 50}


# --- For ----------------------------------------------------------------------------------------


def counted(*rows: JSONObject, **state: Any) -> list[str]:
    return rehearse(*rows, state=state).logs


def rounds(end: Any, start: Any = 0, step: Any = 1, **state: Any) -> list[str]:
    return counted(For(end, [tells("{{ i }}")], start=start, step=step, var_name="i"), **state)


@pytest.mark.parametrize(
    "bounds", [(3,), (3, 1), (10, 0, 3), (0, 3, -1), (-5, 5, -4), (0,), (0, 3), (3, 0, -1), (1, 1)]
)
def test_for_counts_as_range_does(bounds: tuple[int, ...]):
    end, start, step = (*bounds, *(0, 1)[len(bounds) - 1 :])[:3]
    assert rounds(end, start, step) == [str(number) for number in range(start, end, step)]


def test_for_may_compute_all_its_bounds():
    computed = {"$expr": "n|multiply:2"}, {"$expr": "n"}, {"$expr": "n|subtract:1"}
    assert rounds(*computed, n=3) == ["3", "5"]


def test_whole_numbers_that_came_out_as_decimals_are_whole_numbers():
    halves = {"$expr": "six|multiply:0.5"}, {"$expr": "six|multiply:0.5|subtract:2"}
    assert rounds(*halves, six=6) == ["1", "2"]


def test_what_was_computed_when_the_loop_began_stays():
    for change in ("n|add:5", "0", "null", "'gone'"):
        loop = For("n", [UpdateState(n=change), A])
        assert rehearse(loop, state={"n": 3}).trace.count("a") == 3


def test_each_time_a_loop_is_entered_its_bounds_are_computed_anew():
    inner = For("i|add:1", [tells("{{ i }}{{ j }}")], var_name="j")
    assert counted(For(3, [inner], var_name="i")) == ["00", "10", "11", "20", "21", "22"]


def test_the_counter_may_have_a_computed_name():
    assert counted(row("for", tells("{{ k }}"), end=2, var_name={"$expr": "'k'"})) == ["0", "1"]


@pytest.mark.parametrize(
    ("bounds", "named"),
    [
        ({"end": {"$expr": "n"}}, "end"),
        ({"end": 3, "step": {"$expr": "zero"}}, "step"),
        ({"end": 3, "start": {"$expr": "text"}}, "start"),
        ({"end": {"$expr": "half"}}, "end"),
        ({"end": {"$expr": "yes"}}, "end"),
    ],
)
def test_bounds_that_are_no_whole_numbers_are_an_error_that_names_the_field(
    bounds: dict[str, Any], named: str
):
    state = {"zero": 0, "text": "3", "half": 2.5, "yes": True}
    with pytest.raises(ConfigError, match=f"^{named}: .*computed by"):
        rehearse(row("for", A, **bounds), state=state)


def test_a_bound_that_computes_to_nothing_has_its_default():
    assert rounds(2, {"$expr": "unset"}, {"$expr": "unset"}) == ["0", "1"]


def test_the_counter_shadows_the_state_and_is_gone_after_the_loop():
    told = rehearse(
        tells("{{ i }}"), For(2, [tells("{{ i }}")], var_name="i"), tells("{{ i }}"), state={"i": 9}
    )
    assert told.logs == ["9", "0", "1", "9"]
    assert told.state == {"i": 9}


def test_a_row_that_sets_the_counters_name_does_not_change_the_count():
    told = rehearse(For(3, [UpdateState(i="100"), tells("{{ i }}")], var_name="i"))
    assert (told.logs, told.state) == (["0", "1", "2"], {"i": 100})


def test_nested_loops_see_each_others_counters_and_the_inner_one_wins():
    inner = For(2, [tells("{{ i }}{{ j }}")], var_name="j")
    assert counted(For(2, [inner], var_name="i")) == ["00", "01", "10", "11"]
    same = For(2, [tells("{{ i }}")], var_name="i", start=1)
    assert counted(For(2, [same, tells("outer {{ i }}")], var_name="i")) == [
        *("1", "outer 0", "1", "outer 1"),
    ]


@pytest.mark.parametrize("way", [BreakRow("i == 1"), LeaveRow("i == 1"), BreakRow(target="loop")])
def test_a_loop_entered_again_starts_afresh(way: JSONObject):
    once = counted(For(3, [tells("{{ i }}"), way], var_name="i"))
    twice = counted(For(2, [For(3, [tells("{{ i }}"), way], var_name="i")]))
    assert twice == once * 2


def test_a_finished_loop_leaves_nothing_in_the_state():
    assert rehearse(For(3, [A], var_name="i")).state == {}


def test_a_loop_of_no_rounds_is_passed():
    assert trace(For(0, [A]), B) == ["for", "b"]


# --- waiting ------------------------------------------------------------------------------------

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_after_a_wait_the_run_goes_on_with_the_next_row():
    told = rehearse(Group([Delay("PT1H"), A]), B, now=NOON)
    assert told.trace == ["group", "delay", "delay", "a", "group", "b"]
    assert told.waited == [NOON + HOUR]


def test_after_a_wait_at_the_end_of_a_block_the_block_is_asked():
    assert trace(For(2, [Delay("PT1H")]), A) == ["for", *("delay", "delay", "for") * 2, "a"]


def test_the_counter_is_still_there_after_a_wait():
    told = rehearse(For(2, [Delay("PT1H"), tells("{{ i }} {{ now|date:'H:i' }}")], var_name="i"))
    assert told.logs == ["0 08:00", "1 09:00"]


def test_a_row_that_repeats_is_asked_in_the_phase_it_was_in_with_its_memo():
    class Turnstile(BaseAction):
        name = "test.turnstile"
        effects = "none"
        has_children = True

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> Directive:
            asked = (run.memo or 0) + 1
            run.log(f"run {asked}")
            return SuspendAndRepeat(until=NOON, memo=asked) if asked < 3 else Enter(memo="inside")

        def return_from_children(self, *, run: RunHandle, obj: Any, config: Any) -> Directive:
            run.log(f"return {run.memo}")
            return SuspendAndRepeat(until=NOON, memo="seen") if run.memo == "inside" else Continue()

    with actions.temporarily(Turnstile):
        told = rehearse(row("test.turnstile", A), B)
    assert told.logs == ["run 1", "run 2", "run 3", "a", "return inside", "return seen", "b"]


def test_a_row_that_repeats_keeps_its_memo_unless_it_says_otherwise():
    class Keeps(BaseAction):
        name = "test.keeps"
        effects = "none"
        has_children = True

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> Directive:
            return Enter(memo="kept")

        def return_from_children(self, *, run: RunHandle, obj: Any, config: Any) -> Directive:
            run.log(str(run.memo))
            run.state["asked"] = run.state.get("asked", 0) + 1
            if run.state["asked"] < 3:
                return SuspendAndRepeat(until=NOON)
            return SuspendAndRepeat(until=NOON, memo=None) if run.memo else Continue()

    with actions.temporarily(Keeps):
        told = rehearse(row("test.keeps", A))
    assert told.logs == ["a", "kept", "kept", "kept", "None"]


def test_a_block_that_suspends_after_its_rows_goes_on_behind_itself_and_its_else():
    class Rests(BaseAction):
        name = "test.rests"
        effects = "none"
        has_children = True

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> Directive:
            return Enter()

        def return_from_children(self, *, run: RunHandle, obj: Any, config: Any) -> Directive:
            return Suspend(until=NOON)

    with actions.temporarily(Rests):
        assert trace(row("test.rests", A, label="rests"), B) == [
            "rests",
            "a",
            "rests",
            "rests",
            "b",
        ]


# --- any tree, any directive --------------------------------------------------------------------


LUCK = st.randoms(use_true_random=True)
TREES = LUCK.map(some_rows)


def some_directive(luck: random.Random) -> Directive:
    """Any answer; most of them lead on."""
    target: Any = luck.choice(["parent", "loop"])
    on: list[Directive] = [
        Continue(),
        Enter(memo=luck.randint(0, 9), names=luck.choice([None, {}, {"i": 1}])),
    ]
    out: list[Directive] = [Leave(target), Break(target), Suspend(), SuspendAndRepeat()]
    return luck.choice([*on * 4, *out, SuspendAndRepeat(memo=luck.randint(0, 9))])


def program_of(*rows: JSONObject) -> Program:
    return compile_document(make_document(*rows))


def assert_stands_in(program: Program, cursor: Cursor) -> None:
    """The frames lead from the outside to a row, parent by parent, through blocks that are open."""
    around = None
    for frame in cursor.frames:
        node = program[frame.uid]
        assert node.parent is around
        around = node
    assert all(frame.phase == RETURN for frame in cursor.frames[:-1])
    assert bool(cursor.frames) != bool(cursor.ended)


@settings(deadline=None)
@given(TREES, LUCK)
def test_whatever_rows_answer_the_run_never_leaves_the_tree(rows: Any, luck: random.Random):
    program = program_of(*rows)
    cursor = program.start()
    for _step in range(200):
        assert_stands_in(program, cursor)
        if cursor.ended:
            break
        directive = some_directive(luck)
        through_json = Cursor.from_json(json.loads(json.dumps(cursor.to_json())))
        following = advance(program, cursor, directive)
        assert advance(program, through_json, directive) == following
        cursor = following
    if not cursor.ended:
        assert advance(program, cursor, Abort()) == Cursor((), "aborted")


@settings(deadline=None)
@given(TREES, LUCK)
def test_while_no_block_asks_for_another_round_every_row_is_asked_once_and_the_run_ends(
    rows: Any, luck: random.Random
):
    program = program_of(*rows)
    cursor, asked = program.start(), set()
    while not cursor.ended:
        frame = cursor.frames[-1]
        assert (frame.uid, frame.phase) not in asked
        asked.add((frame.uid, frame.phase))
        directive = some_directive(luck)
        if isinstance(directive, SuspendAndRepeat) or frame.phase == RESUME:
            directive = Continue()
        if isinstance(directive, Enter) and frame.phase == RETURN:
            directive = Continue()
        cursor = advance(program, cursor, directive)
    assert cursor.ended == "complete"


@settings(max_examples=400, deadline=None)
@override_settings(FLOWCONTROL_MAX_HOT_LOOPS=20)
@given(TREES)
def test_a_flow_does_what_its_indented_text_says(rows: Any):
    """The interpreter against a second one, which walks the document as a person reads it."""
    limit = 200
    told = outcome_of(rows, limit)
    if isinstance(told, EndlessLoop):
        return
    read = read_aloud(rows, {"n": 0}, limit)
    assert told.trace == read.trace
    if told.outcome != "unfinished":
        assert (told.logs, told.state) == (read.logs, read.scope.state)


@settings(max_examples=50, deadline=None)
@override_settings(FLOWCONTROL_MAX_HOT_LOOPS=20)
@given(TREES)
def test_a_worker_that_takes_over_at_any_step_goes_the_same_way(rows: Any):
    told, again = outcome_of(rows, 200), outcome_of(rows, 200, restarting=True)
    assert told == again or (isinstance(told, EndlessLoop) and isinstance(again, EndlessLoop))


def outcome_of(rows: Any, limit: int, **options: Any) -> Rehearsal | EndlessLoop:
    try:
        return rehearse(*rows, state={"n": 0}, max_steps=limit, **options)
    except EndlessLoop as error:
        return error


# --- positions made from outside ----------------------------------------------------------------


def test_a_position_at_a_row_has_the_blocks_around_it_open():
    program = program_of(Group([If("true", [A])]))
    assert program.cursor_at("1.1.1") == Cursor(
        (Frame("1", RETURN), Frame("1.1", RETURN), Frame("1.1.1", RUN))
    )


def test_a_run_that_stands_at_a_row_which_is_not_there_is_an_authors_mistake():
    with pytest.raises(AuthorError, match="'gone'"):
        advance(program_of(A), Cursor((Frame("gone"),)), Continue())


def test_every_phase_of_a_leaf_leads_to_the_next_row():
    program = program_of(A, B)
    for phase in (RUN, RETURN, RESUME):
        assert advance(program, Cursor((Frame("1", phase),)), Continue()).uid == "2"


@pytest.mark.parametrize(("loop", "turns"), [(While("true", [A]), 8), (For(3, [A]), 7)])
def test_only_further_rounds_of_a_loop_with_a_budget_are_counted(loop: JSONObject, turns: int):
    program = program_of(loop)
    assert advance(program, program.start(), Enter()).frames[0].turns == 0
    again = advance(program, Cursor((Frame("1", RETURN, turns=7),)), Enter())
    assert again.frames[0].turns == turns


def test_a_program_knows_its_rows_in_the_order_of_the_document():
    uids = [node.uid for node in program_of(Group([A, B]), C)]
    assert uids == ["1", "1.1", "1.2", "2"]


def test_set_state_replaces_and_update_state_merges():
    assert rehearse(SetState(b="1"), state={"a": 1}).state == {"b": 1}
    assert rehearse(UpdateState(b="1"), state={"a": 1}).state == {"a": 1, "b": 1}
