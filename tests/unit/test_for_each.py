"""For each over lists; over rows of the database see tests/integration/test_for_each_rows.py."""

from __future__ import annotations

import pytest

from flowcontrol.exceptions import AuthorError
from flowcontrol.testing import (
    Break,
    Delay,
    ForEach,
    If,
    Leave,
    Log,
    UpdateState,
    rehearse,
    trace,
)


def test_the_rows_inside_run_once_for_each_item():
    assert trace(ForEach("seats", [Log("{{ item }}")]), state={"seats": ["A", "B"]}) == [
        *("for_each", "log", "for_each", "log", "for_each"),
    ]


def test_the_loop_variables_are_item_index_first_and_last():
    told = Log("{{ index }} {{ item }} {{ first }} {{ last }}")
    assert rehearse(ForEach("seats", [told]), state={"seats": ["A", "B", "C"]}).logs == [
        *("0 A True False", "1 B False False", "2 C False True"),
    ]


def test_an_only_item_is_first_and_last():
    rows = ForEach("n", [Log("{{ first }} {{ last }}")])
    assert rehearse(rows, state={"n": [1]}).logs == ["True True"]


def test_the_item_can_have_a_name_of_its_own_and_loops_can_nest():
    rows = ForEach("rows", [ForEach("row", [Log("{{ seat }}")], var_name="seat")], var_name="row")
    assert rehearse(rows, state={"rows": [[1, 2], [3]]}).logs == ["1", "2", "3"]


@pytest.mark.parametrize("nothing", [[], None])
def test_nothing_to_walk_over_is_no_round(nothing):
    assert trace(ForEach("seats", [Log("x")]), state={"seats": nothing}) == ["for_each"]


@pytest.mark.parametrize("wrong", ["text", 7, {"a": 1}, True])
def test_what_is_no_list_is_an_error(wrong):
    with pytest.raises(AuthorError, match="only a list"):
        rehearse(ForEach("seats", [Log("x")]), state={"seats": wrong})


def test_what_the_rows_inside_do_to_the_list_changes_nothing():
    rows = ForEach("seats", [UpdateState(seats="seats|slice:':0'", n="n|add:1")])
    rehearsal = rehearse(rows, state={"seats": [1, 2, 3], "n": 0})
    assert rehearsal.state["n"] == 3


@pytest.mark.parametrize("restarting", [False, True])
def test_a_wait_inside_keeps_the_place(restarting):
    rows = ForEach("seats", [Delay(), Log("{{ item }}")])
    rehearsal = rehearse(rows, state={"seats": [1, 2, 3]}, restarting=restarting)
    assert rehearsal.logs == ["1", "2", "3"]
    assert len(rehearsal.waited) == 3


def test_a_loop_left_early_begins_afresh():
    inner = ForEach("seats", [If("item == 2", [Break(target="loop")]), Log("{{ item }}")])
    outer = ForEach("rounds", [inner], var_name="round")
    rehearsal = rehearse(outer, state={"seats": [1, 2, 3], "rounds": [1, 2]})
    assert rehearsal.logs == ["1", "1"]


def test_return_to_parent_goes_on_with_the_next_item():
    rows = ForEach("seats", [If("item == 2", [Leave(target="loop")]), Log("{{ item }}")])
    assert rehearse(rows, state={"seats": [1, 2, 3]}).logs == ["1", "3"]


def test_many_rounds_are_no_endless_loop():
    rows = ForEach("seats", [UpdateState(n="n|add:1")])
    assert rehearse(rows, state={"seats": list(range(20_000)), "n": 0}).state["n"] == 20_000
