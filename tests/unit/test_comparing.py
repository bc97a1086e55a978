"""Two documents side by side: every difference is told, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol.comparing import NOTHING, Comparison, FieldChange, compare
from flowcontrol.documents import JSONObject, make_document, row
from flowcontrol.trees import RowTree
from tests.outlines import rows_of
from tests.unit.test_patches import edited
from tests.unit.test_trees import ROWS


def document(outline: str) -> JSONObject:
    return make_document(*rows_of(outline))


def told(before: str, after: str) -> list[str]:
    found = compare(document(before), document(after))
    return [f"{change.kind} {change.uid} {change.place}" for change in found.rows]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a b c", "a b c", []),
        ("a c", "a b c", ["added b 2"]),
        ("a b c", "a c", ["removed b 2"]),
        ("a b c d", "d a b c", ["moved d 1"]),
        ("a b c d", "b c d a", ["moved a 4"]),
        ("a b", "b a", ["moved b 1"]),
        ("a b(c) d", "a b(c d)", ["moved d 2.2"]),
        ("a b(c) d", "b(c) a d", ["moved b 1"]),
        ("a b(c(x) d)", "a b(d) c(x)", ["moved c 3"]),
        ("a", "a b(c d)", ["added b 2", "added c 2.1", "added d 2.2"]),
        ("a b(c d)", "a", ["removed b 2", "removed c 2.1", "removed d 2.2"]),
        ("a b(c)", "a c", ["moved c 2", "removed b 2"]),
        ("a b c", "c x a", ["moved c 1", "added x 2", "removed b 2"]),
    ],
)
def test_rows_that_came_went_or_moved_are_told(before: str, after: str, expected: list[str]):
    assert told(before, after) == expected


def test_what_stands_in_a_block_that_came_or_went_goes_along():
    found = compare(document("a"), document("a b(c(d) e)"))
    assert [(each.uid, each.goes_along) for each in found.rows] == [
        ("b", False),
        ("c", True),
        ("d", True),
        ("e", True),
    ]
    back = compare(document("a b(c(d) e)"), document("a"))
    assert [each.goes_along for each in back.rows] == [False, True, True, True]


def test_the_fields_of_a_row_are_told_one_by_one_and_its_config_by_property():
    before = make_document(row("log", uid="a", label="L", message="x", level="info", old=1))
    after = make_document(row("log", uid="a", note="n", message="y", level="info", new=None))
    [change] = compare(before, after).rows
    assert set(change.fields) == {
        FieldChange("label", "L", ""),
        FieldChange("note", "", "n"),
        FieldChange("message", "x", "y", is_config=True),
        FieldChange("old", 1, NOTHING, is_config=True),
        FieldChange("new", NOTHING, None, is_config=True),
    }
    assert change.kind == "changed"


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (None, 0)])
def test_values_that_python_calls_equal_and_json_does_not_differ(one: Any, other: Any):
    before, after = (make_document(row("log", uid="a", n=value)) for value in (one, other))
    assert len(compare(before, after).rows) == 1


def test_the_settings_of_the_flow_are_told():
    before = make_document(condition="object.late")
    after = make_document(content_type="testapp.parcel", state_schema={"type": "object"})
    assert compare(before, after).settings == (
        FieldChange("content_type", None, "testapp.parcel"),
        FieldChange("condition", "object.late", ""),
        FieldChange("state_schema", None, {"type": "object"}),
    )


def test_a_row_that_moved_and_reads_otherwise_is_both():
    before, after = document("a b"), document("b a")
    after["actions"][0]["label"] = "new"
    [change] = compare(before, after).rows
    assert (change.uid, change.kind, change.is_moved) == ("b", "changed", True)
    assert (change.place, change.place_before) == ("1", "2")


@given(ROWS)
def test_nothing_is_told_of_equals(rows: list[JSONObject]):
    assert compare(make_document(*rows), make_document(*rows)) == Comparison((), ())


@given(ROWS, st.integers(0, 2**32), st.integers(1, 8))
def test_what_is_told_is_what_makes_the_one_of_the_other(
    rows: list[JSONObject], seed: int, number: int
):
    before = RowTree.of(rows)
    after = edited(before, seed, number)
    found = compare(make_document(*before.nested()), make_document(*after.nested()))
    changes = {change.uid: change for change in found.rows}
    assert {uid for uid, each in changes.items() if each.kind == "added"} == (
        after.rows.keys() - before.rows.keys()
    )
    assert {uid for uid, each in changes.items() if each.kind == "removed"} == (
        before.rows.keys() - after.rows.keys()
    )
    for uid in before.rows.keys() & after.rows.keys():
        made: JSONObject = {**before.rows[uid], "config": dict(before.rows[uid]["config"])}
        for field in changes[uid].fields if uid in changes else ():
            into = made["config"] if field.is_config else made
            if field.after is NOTHING:
                del into[field.name]
            else:
                into[field.name] = field.after
        assert made == after.rows[uid]
    still = [
        uid
        for uid in before.rows.keys() & after.rows.keys()
        if uid not in changes or not changes[uid].is_moved
    ]
    for block in before.blocks.keys() & after.blocks.keys():
        assert [uid for uid in before.blocks[block] if uid in still] == [
            uid for uid in after.blocks[block] if uid in still
        ]
