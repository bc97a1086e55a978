"""The page on expressions: every example is true, every filter is on it with its help text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from flowcontrol.expressions import (
    Scope,
    available_filters,
    compile_expression,
    compile_template,
    to_json,
)
from flowcontrol.expressions.conditions import OPERATORS
from tests.guards.repository import ROOT

PAGE = (ROOT / "docs" / "reference" / "expressions.md").read_text("utf-8")


def tables() -> Iterator[list[list[str]]]:
    """The cells of every list-table, row by row."""
    for block in re.findall(r"^```\{list-table\}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        rows = re.split(r"^\* - ", block, flags=re.MULTILINE)[1:]
        yield [[cell.strip() for cell in re.split(r"\n  - ", row)] for row in rows]


def code_block(name: str) -> str:
    match = re.search(rf":class: {name}\n\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None
    return match[1]


def scope() -> Scope:
    """The values that the page says its examples know."""
    state = json.loads(code_block("values"))
    fixed = {
        "object": state.pop("object"),
        "now": datetime(2013, 2, 4, 17, tzinfo=UTC),
        "today": date(2013, 2, 4),
    }
    return Scope(state, fixed=fixed)


def plain(cell: str) -> str:
    assert cell.startswith("`")
    assert cell.endswith("`")
    return cell[1:-1]


EXAMPLES = [
    (plain(row[-2]), plain(row[-1]))
    for table in tables()
    if table[0][-1] == "Gives"
    for row in table[1:]
]
FILTERS = {
    plain(row[0]): (row[1], plain(row[2]))
    for table in tables()
    if table[0][0] == "Filter"
    for row in table[1:]
}


@pytest.mark.parametrize(("source", "gives"), EXAMPLES)
def test_an_example_gives_what_the_page_says(source: str, gives: str) -> None:
    value: Any = to_json(compile_expression(source).evaluate(scope()), where=source)
    assert json.dumps(value, ensure_ascii=False) == gives


def test_the_page_lists_every_filter_with_its_help_text() -> None:
    assert {name: text for name, (text, _) in FILTERS.items()} == available_filters()


def test_the_page_tells_every_comparison_that_is_drawn() -> None:
    (table,) = [table for table in tables() if table[0][0] == "Comparison"]
    told = [pattern for row in table[1:] for pattern in re.findall(r"`([^`]*)`", row[1])]
    assert sorted(told) == sorted(each.pattern for each in OPERATORS.values())


def test_the_example_of_a_filter_uses_it() -> None:
    assert [name for name, (_, example) in FILTERS.items() if f"|{name}" not in example] == []


def test_the_text_on_the_page_is_written_as_shown() -> None:
    assert compile_template(code_block("template")).render(scope()) == code_block("written")
