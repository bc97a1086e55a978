"""What happened at a row, in short: visits, rounds, branches taken and not taken."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flowcontrol.admin.rows import PageRow, RowList, rows_of
from flowcontrol.admin.run_history import Read
from flowcontrol.admin.traces import Entry, RowTrace, traces_of_tests, traces_of_trial
from flowcontrol.documents import make_document, row
from flowcontrol.flowtests import Coverage
from flowcontrol.testing import Else, ElseIf, For, Group, If, Log, While

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)

CHAIN = rows_of(
    make_document(
        If("n > 2", [Log("many", uid="many")], uid="if"),
        ElseIf("n > 1", [Log("two", uid="two")], uid="else_if"),
        Else([Log("few", uid="few")], uid="else"),
        Log("off", uid="off", enabled=False),
    )
)


def step(row: PageRow, way: str = "continue", *, again: bool = False, **told: Any) -> Entry:
    return Entry(row, row.title, NOON, way=way, is_visit=not again, **told)


def traces(rows: RowList, *steps: tuple[str, str], **ended: str) -> dict[str, RowTrace]:
    """The traces by uid, of steps such as ``("if", "enter")``; "again": it was asked after rows."""
    entries = []
    for uid, way in steps:
        again, _, name = way.rpartition(" ")
        entries.append(step(rows.by_uid[uid], name, again=bool(again)))
    return {trace.row.uid: trace for trace in traces_of_trial(entries, rows, **ended)}


def looks(found: dict[str, RowTrace]) -> dict[str, str]:
    return {uid: trace.look for uid, trace in found.items()}


def test_the_branches_after_the_one_that_is_taken_are_told_as_not_taken():
    found = traces(CHAIN, ("if", "enter"), ("many", "continue"), ("if", "again continue"))
    assert looks(found) == {
        "if": "ran",
        "many": "ran",
        "else_if": "passed",
        "two": "missed",
        "else": "passed",
        "few": "missed",
    }
    assert (found["if"].visits, found["if"].entered) == (1, 1)


def test_a_branch_whose_condition_does_not_hold_is_not_taken():
    found = traces(CHAIN, ("if", "continue"), ("else_if", "enter"), ("two", "continue"))
    assert looks(found)["if"] == "passed"
    assert looks(found)["else_if"] == "ran"
    assert looks(found)["else"] == "passed"


def test_a_chain_that_nothing_comes_to_is_not_told_as_not_taken():
    assert set(looks(traces(CHAIN)).values()) == {"missed"}


def test_a_branch_in_a_loop_tells_how_often_it_was_taken():
    rows = rows_of(make_document(For(3, [If("n", [Log("x", uid="x")], uid="if")], uid="for")))
    found = traces(
        rows,
        *[("for", "enter"), ("if", "continue"), ("for", "again enter"), ("if", "enter")],
        *[("x", "continue"), ("if", "again continue"), ("for", "again enter"), ("if", "continue")],
        ("for", "again continue"),
    )
    assert (found["for"].visits, found["for"].entered, found["for"].is_loop) == (1, 3, True)
    assert (found["if"].visits, found["if"].entered, found["if"].is_choice) == (3, 1, True)
    assert looks(found) == {"for": "ran", "if": "ran", "x": "ran"}


def test_a_loop_without_a_round_and_a_group_are_no_branches():
    rows = rows_of(make_document(While("n > 1", [Log("x")], uid="while"), Group([], uid="group")))
    found = traces(rows, ("while", "continue"), ("group", "enter"))
    assert not found["while"].is_choice
    assert not found["group"].is_choice
    assert not found["while"].was_not_taken


def test_only_the_last_visit_is_told_and_the_first_of_those_before():
    rows = rows_of(make_document(For(9, [Log("x", uid="x")], uid="for")))
    row = rows.by_uid["x"]
    entries = [step(row, notes=[f"round {number}"]) for number in range(9)]
    (_, trace) = traces_of_trial(entries, rows)
    assert [entry.notes for entry in trace.last] == [["round 8"]]
    assert [entry.notes[0] for entry in trace.earlier] == [f"round {n}" for n in range(5)]
    assert trace.more == 3


def asked_again(row: PageRow) -> list[Entry]:
    """Asked nine times in one visit, and each time it read a number."""
    return [
        step(row, "enter", again=number > 0, reads=[Read("n", str(number))]) for number in range(9)
    ]


def test_of_a_loop_the_last_round_is_told():
    rows = rows_of(make_document(While("n < 9", [Log("x")], uid="while")))
    trace = next(traces_of_trial(asked_again(rows.by_uid["while"]), rows))
    assert [entry.reads[0].value for entry in trace.last] == ["8"]
    assert (trace.entered, trace.is_repeated) == (9, True)


def test_what_a_row_was_asked_again_and_again_is_shortened_in_the_middle():
    rows = rows_of(make_document(row("wait_until", condition="n > 7", uid="until")))
    trace = next(traces_of_trial(asked_again(rows.by_uid["until"]), rows))
    assert [entry.reads[0].value for entry in trace.last] == ["0", "6", "7", "8"]
    assert not trace.is_repeated


def test_a_row_that_only_went_on_has_no_news_and_one_that_left_has():
    row = CHAIN.by_uid["many"]
    assert not step(row).has_news
    assert not step(row, "suspend").has_news
    assert step(row, "break", directive="left the block").has_news


def test_where_a_trial_ends_says_so_even_if_the_row_was_not_begun():
    found = traces(CHAIN, ("if", "enter"), uid="many", ended="reached")
    assert looks(found)["many"] == "ended"
    assert found["many"].visits == 0
    assert found["if"].ended == ""


def test_the_tests_are_named_at_the_rows_that_they_reach():
    reached = {"if": ["A", "B", "C", "D"], "many": ["A"]}
    found = {
        each.row.uid: each
        for each in traces_of_tests(Coverage(["if", "many", "else", "gone"], reached, run=4), CHAIN)
    }
    assert {uid: each.look for uid, each in found.items()} == {
        "if": "ran",
        "many": "ran",
        "else": "missed",
    }
    assert (found["if"].named, found["if"].more) == (["A", "B", "C"], 1)


def test_tests_that_were_not_run_on_this_draft_leave_no_traces():
    assert traces_of_tests(Coverage(["if"], {}), CHAIN) == []
