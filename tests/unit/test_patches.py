"""What an edit changed, as a patch: it does and undoes that, or says that it does not fit."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol.documents import JSONObject
from flowcontrol.patches import PatchMismatch, apply, patch_between, reverse
from flowcontrol.trees import TOP, RowTree
from tests.outlines import rows_of
from tests.unit.test_trees import ROWS

BEFORE = {"condition": "", "state_schema": None}
AFTER = {"condition": "object.late", "state_schema": {"type": "object"}}


def edited(tree: RowTree, seed: int, number: int) -> RowTree:
    """The tree after some edits by chance."""
    luck, tree = random.Random(seed), tree.copy()
    for turn in range(number):
        uid = luck.choice([*tree.rows, ""])
        other = luck.choice([*tree.rows, ""])
        match luck.choice(["add", "change", "move", "remove"]):
            case "add":
                place = luck.randint(0, len(tree.blocks[uid]))
                new = rows_of("n(m)")[0]
                new["uid"], new["children"][0]["uid"] = f"n{seed}-{turn}", f"m{seed}-{turn}"
                tree.insert(uid, place, [new])
            case "change" if uid:
                tree.change(uid, label=luck.choice(["", "one", "two"]), config={"n": turn})
            case "move" if uid and not tree.is_inside(other, uid):
                tree.move([uid], other, luck.randint(0, len(tree.blocks[other])))
            case "remove" if uid:
                tree.remove(uid)
    return tree


@given(ROWS, st.integers(0, 2**32), st.integers(1, 8))
def test_a_patch_makes_the_one_state_of_the_other_and_back(
    rows: list[JSONObject], seed: int, number: int
):
    before = RowTree.of(rows)
    after = edited(before, seed, number)
    patch = patch_between(before, after, (BEFORE, AFTER))
    assert patch is not None
    stored: Any = json.loads(json.dumps(patch))
    done, settings = apply(stored, before, BEFORE)
    assert (done.nested(), settings) == (after.nested(), AFTER)
    assert done.parents == after.parents
    undone, settings = apply(reverse(stored), done, settings)
    assert (undone.nested(), settings) == (before.nested(), BEFORE)
    assert undone.parents == before.parents
    assert before.nested() == rows


@given(ROWS)
def test_there_is_no_patch_between_equals(rows: list[JSONObject]):
    assert patch_between(RowTree.of(rows), RowTree.of(rows), (AFTER, AFTER)) is None


def changed(outline: str, **fields: Any) -> tuple[RowTree, RowTree]:
    before = RowTree.of(rows_of(outline))
    after = before.copy()
    after.change("a", **fields)
    return before, after


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0, False), ("", None)])
def test_values_that_python_calls_equal_and_json_does_not_are_a_change(one: Any, other: Any):
    _before, after = changed("a", config={"n": one})
    twin = after.copy()
    twin.change("a", config={"n": other})
    assert patch_between(after, twin) == {"rows": {"a": {"config": [{"n": one}, {"n": other}]}}}


def test_moving_a_large_block_is_a_small_patch():
    many = " ".join(f"r{number}" for number in range(500))
    before = RowTree.of(rows_of(f"a b({many}) c"))
    after = before.copy()
    after.move(["b"], TOP, 3)
    patch = patch_between(before, after)
    assert patch == {"blocks": {"": [1, ["b", "c"], ["c", "b"]]}}


MISFITS = {
    "the row is gone": lambda tree: tree.remove("a"),
    "the field was changed": lambda tree: tree.change("a", label="other"),
    "the row stands elsewhere": lambda tree: tree.move(["c"], TOP, 3),
    "the block is gone": lambda tree: tree.remove("b"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_patch_that_does_not_fit_is_refused(misfit: str):
    before = RowTree.of(rows_of("a b(c) d"))
    after = before.copy()
    after.change("a", label="new")
    after.move(["c"], TOP, 0)
    patch = patch_between(before, after)
    assert patch is not None
    MISFITS[misfit](before)
    with pytest.raises(PatchMismatch):
        apply(patch, before, {})


def test_a_row_that_came_back_under_its_id_is_no_row_to_add():
    before = RowTree.of(rows_of("a"))
    after = RowTree.of(rows_of("a b"))
    patch = patch_between(before, after)
    assert patch is not None
    with pytest.raises(PatchMismatch, match="not as it was"):
        apply(patch, after, {})
    with pytest.raises(PatchMismatch, match="'condition'"):
        apply({"flow": {"condition": ["", "x"]}}, before, {"condition": "y"})
