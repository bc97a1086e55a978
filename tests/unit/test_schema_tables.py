"""A state schema as a table and back: nothing is lost, nothing is rewritten."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol.admin.schema_tables import (
    KINDS,
    CellProblem,
    Line,
    Table,
    TableProblems,
    schema_of,
    table_of,
)
from flowcontrol.schemas import check_schema

NAMES = st.sampled_from(["n", "letter", "a b", "ß", "bay_2", " x", "line\nbreak", "", "object"])
TEXTS = st.sampled_from(["", "x", " x ", "two\nlines", "O'Brien & Co", "\ud800", "ß", "5", "true"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
SUBSCHEMAS = st.booleans() | st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(
            ["string", "integer", "number", "boolean", "array", "object", "null", ["string"]]
        ),
        "format": st.sampled_from(["date", "email", "secret", "template", "expression"]),
        "default": VALUES,
        "enum": st.lists(VALUES, max_size=3),
        "description": TEXTS,
        "title": TEXTS,
        "minimum": st.integers(0, 3),
        "items": st.just({"type": "string"}),
        "x-own": VALUES,
    },
).flatmap(lambda found: st.permutations(list(found.items())).map(dict))
SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object")},
    optional={
        "properties": st.dictionaries(NAMES, SUBSCHEMAS, max_size=4),
        "required": st.lists(NAMES, unique=True, max_size=4),
        "additionalProperties": st.booleans(),
        "$defs": st.just({"x": {"type": "string"}}),
        "description": TEXTS,
    },
).flatmap(lambda found: st.permutations(list(found.items())).map(dict))


@given(SCHEMAS)
def test_a_schema_that_is_looked_at_stays_what_it_is_to_the_order_of_its_keys(schema):
    table = table_of(schema)
    if table is None:
        return
    assert json.dumps(schema_of(table, schema)) == json.dumps(schema)


@given(SCHEMAS)
def test_what_was_not_touched_survives_a_change_beside_it(schema):
    table = table_of(schema)
    if table is None:
        return
    added = Table([*table.lines, Line("brand_new", "integer", default="3")], table.more)
    changed = schema_of(added, schema)
    assert changed is not None
    assert changed["properties"].pop("brand_new") == {"type": "integer", "default": 3}
    if "properties" not in schema:
        del changed["properties"]
    assert changed == schema


@given(SCHEMAS)
def test_each_cell_is_one_that_an_input_gives_back(schema):
    table = table_of(schema)
    for line in table.lines if table else ():
        for text in (line.name, line.default, line.description):
            assert text == text.strip()
            assert not set("\n\r\x00\ud800") & set(text)
        assert "\ud800" not in line.choices + line.more
        assert line.kind in KINDS


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "letter": {
            "type": "string",
            "enum": ["short", "long"],
            "default": "short",
            "description": "Which letter.",
        },
        "rounds": {"type": "integer", "default": 3, "minimum": 1},
        "when": {"type": "string", "format": "date"},
        "either": {"type": ["string", "null"]},
    },
    "required": ["letter"],
    "additionalProperties": False,
}


def test_a_schema_is_drawn_as_people_would_say_it():
    assert table_of(SCHEMA) == Table(
        lines=[
            Line("letter", "text", True, "short", "short\nlong", "Which letter.", was="letter"),
            Line("rounds", "integer", default="3", more='{\n  "minimum": 1\n}', was="rounds"),
            Line("when", "date", was="when"),
            Line(
                "either",
                "json",
                more='{\n  "type": [\n    "string",\n    "null"\n  ]\n}',
                was="either",
            ),
        ],
        more='{\n  "additionalProperties": false\n}',
    )


def test_a_new_table_makes_a_schema():
    table = Table(
        [
            Line("bay", "text", True, choices="A\r\nB", description="Where."),
            Line("rounds", "number", default="1.5"),
            Line("hot", "boolean", default="true"),
            Line("boxes", "list", default="[1, 2]"),
            Line(""),
        ]
    )
    schema = schema_of(table)
    assert schema == {
        "type": "object",
        "properties": {
            "bay": {"type": "string", "enum": ["A", "B"], "description": "Where."},
            "rounds": {"type": "number", "default": 1.5},
            "hot": {"type": "boolean", "default": True},
            "boxes": {"type": "array", "default": [1, 2]},
        },
        "required": ["bay"],
    }
    check_schema(schema)


def test_a_renamed_value_keeps_everything_it_has():
    table = table_of(SCHEMA)
    assert table is not None
    lines = [
        Line("turns", line.kind, True, line.default, more=line.more, was="rounds")
        if line.name == "rounds"
        else line
        for line in table.lines
    ]
    changed = schema_of(Table(lines, table.more), SCHEMA)
    assert changed is not None
    assert changed["properties"]["turns"] == SCHEMA["properties"]["rounds"]
    assert "rounds" not in changed["properties"]
    assert changed["required"] == ["letter", "turns"]


def test_removing_the_last_value_removes_the_schema():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert schema_of(Table(), schema) is None
    assert schema_of(Table()) is None
    assert schema_of(Table(more='{"additionalProperties": false}'), schema) == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }


@pytest.mark.parametrize("name", ["", " x", "two\nlines", "\ud800"])
def test_names_that_no_input_gives_back_keep_a_schema_json(name):
    assert table_of({"type": "object", "properties": {name: {}}}) is None


@pytest.mark.parametrize(
    ("line", "cell", "message"),
    [
        (Line("", default="3"), "name", "Give it a name"),
        (Line("first name"), "name", "letters, digits"),
        (Line("object"), "name", "something of its own"),
        (Line("n", "integer", default="many"), "default", "“many” is not a number"),
        (Line("n", "integer", default="1.5"), "default", "not a whole number"),
        (Line("n", "number", default="true"), "default", "“true” is not a number"),
        (Line("n", "number", choices="1\nx"), "choices", "“x” is not a number"),
        (Line("n", choices="a\na"), "choices", "twice"),
        (Line("n", "boolean", choices="true"), "choices", "no list of choices"),
        (Line("n", "list", default="[1,"), "default", "Line 1"),
        (Line("n", more="{"), "more", "Line 1"),
        (Line("n", more="[]"), "more", "braces"),
        (Line("n", default="x", more='{"default": "y"}'), "more", "field of its own"),
        (Line("n", more='{"type": "integer"}'), "more", "field of its own"),
        (Line("n", "json", more="5"), "more", "braces"),
        (Line("n", "json"), "more", "expected"),
        (Line("n", "json", default="5", more="{}"), "default", "into the JSON"),
        (Line("n", "nonsense"), "kind", "Choose what it is"),
    ],
)
def test_a_mistake_is_told_at_its_cell(line, cell, message):
    with pytest.raises(TableProblems) as caught:
        schema_of(Table([Line("fine"), line]))
    (problem,) = caught.value.problems
    assert (problem.line, problem.cell) == (1, cell)
    assert message in problem.message


def test_a_name_that_stands_twice_is_told_at_the_second():
    with pytest.raises(TableProblems) as caught:
        schema_of(Table([Line("n"), Line("n", "integer")]))
    assert caught.value.problems == [
        CellProblem(1, "name", "There is a value of this name already.")
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [("{", "Line 1"), ('{"type": "object"}', "in the table"), ('{"required": 1}', "list of names")],
)
def test_a_mistake_beside_the_values_is_told_there(more, message):
    with pytest.raises(TableProblems) as caught:
        schema_of(Table([Line("n")], more))
    (problem,) = caught.value.problems
    assert (problem.line, problem.cell) == (None, "more")
    assert message in problem.message
