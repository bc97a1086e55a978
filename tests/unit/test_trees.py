"""Rows as a flat value: the same as nested ones, and what taking out and putting back means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol.documents import JSONObject, make_document, row
from flowcontrol.trees import TOP, RowTree
from tests.outlines import outline_of, rows_of

LEAVES = st.just(row("log", message="x"))
ROWS = st.recursive(
    st.lists(LEAVES, max_size=3),
    lambda inside: st.lists(inside, max_size=3).map(
        lambda blocks: [row("group", *children) for children in blocks]
    ),
    max_leaves=8,
).map(lambda rows: list(make_document(*rows)["actions"]))


def tree(outline: str = "a b(c d(e f)) g") -> RowTree:
    return RowTree.of(rows_of(outline))


@given(ROWS)
def test_nested_rows_come_back_as_they_went_in(rows: list[JSONObject]):
    assert RowTree.of(rows).nested() == rows
    assert RowTree.of(rows).copy().nested() == rows


def test_rows_are_walked_in_the_order_in_which_they_are_read():
    assert " ".join(tree().walk()) == "a b c d e f g"
    assert " ".join(tree().walk("b")) == "c d e f"


def test_of_a_selection_only_the_topmost_rows_count_in_the_order_of_the_draft():
    assert tree().topmost(["g", "e", "d", "a", "a"]) == ["a", "d", "g"]
    assert tree().topmost(["f", "c", "b"]) == ["b"]
    assert tree().topmost([]) == []


@pytest.mark.parametrize(
    ("uids", "block", "index", "found"),
    [
        (["a"], TOP, 3, "b(c d(e f)) g a"),
        (["a"], TOP, 1, "a b(c d(e f)) g"),
        (["g"], TOP, 0, "g a b(c d(e f))"),
        (["a", "g"], TOP, 2, "b(c d(e f)) a g"),
        (["a", "e"], "b", 1, "b(c a e d(f)) g"),
        (["c", "f"], "d", 1, "a b(d(e c f)) g"),
    ],
)
def test_rows_move_together_to_a_place_counted_before_they_move(
    uids: list[str], block: str, index: int, found: str
):
    moved = tree()
    moved.move(uids, block, index)
    assert outline_of(moved.nested()) == found
    assert moved.nested() == RowTree.of(moved.nested()).nested()
    assert moved.parents == RowTree.of(moved.nested()).parents


def test_a_row_is_taken_out_with_all_that_is_inside_it():
    left = tree()
    left.remove("b")
    assert outline_of(left.nested()) == "a g"
    assert (set(left.rows), set(left.parents), set(left.blocks)) == (
        {"a", "g"},
        {"a", "g"},
        {TOP, "a", "g"},
    )


def test_a_row_cannot_be_there_twice():
    with pytest.raises(ValueError, match="there already"):
        tree().insert("b", 0, rows_of("x e"))


def test_a_copy_can_be_changed_while_the_first_one_stays():
    first = tree()
    twin = first.copy()
    twin.remove("b")
    twin.change("a", label="new")
    assert first.nested() == tree().nested()


def test_it_says_what_is_inside_what_and_how_deep():
    it = tree()
    assert it.is_inside("e", "b")
    assert it.is_inside("b", "b")
    assert not it.is_inside("a", "b")
    assert not it.is_inside(TOP, "b")
    assert (it.levels(), it.levels("b"), it.levels("a")) == (3, 2, 0)
    assert len(it) == 7
