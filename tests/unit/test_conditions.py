"""Conditions as drawings: what is drawn is what is written, and the rest stays text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol.expressions import ExpressionSyntaxError, Scope, compile_expression
from flowcontrol.expressions.conditions import (
    OPERATORS,
    OPERATORS_OF_TYPE,
    Group,
    Operand,
    Piece,
    Row,
    drawing_to_json,
    listed,
    operators_of,
    quoted,
    read_condition,
    write_condition,
)
from tests.unit.test_expression_properties import STATE, Branch, expressions


def number(text: str) -> Operand:
    return Operand("number", text, text)


def text(plain: str) -> Operand:
    return Operand("text", f'"{plain}"', plain)


DRAWN: list[tuple[str, Any]] = [
    ("n", Row("n", "true")),
    ("not n", Row("n", "false")),
    ("n > 5", Row("n", ">", number("5"))),
    ("n|add:1 <= -2.5", Row("n|add:1", "<=", number("-2.5"))),
    ("n == limit|add:1", Row("n", "==", Operand("code", "limit|add:1", "limit|add:1"))),
    ("object.urgent == true", Row("object.urgent", "==", Operand("word", "true", "true"))),
    ("name != 'O\"Hare'", Row("name", "!=", Operand("text", "'O\"Hare'", 'O"Hare'))),
    ("name is null", Row("name", "unset")),
    ("name is not null", Row("name", "set")),
    (
        'status in "late,gone"|split:","',
        Row("status", "one_of", Operand("list", '"late,gone"|split:","', ("late", "gone"))),
    ),
    ("gate not in gates", Row("gate", "not_one_of", Operand("code", "gates", "gates"))),
    ('"B7" in gates', Row("gates", "contains", text("B7"))),
    ('name|startswith:"N"', Row("name", "starts", text("N"))),
    ('not name|lower|endswith:"y"', Row("name|lower", "not_ends", text("y"))),
    ('name|contains:"a|b"', Row("name", "has", text("a|b"))),
    ("a and b and not c", Group("all", (Row("a", "true"), Row("b", "true"), Row("c", "false")))),
    ("not (a or b)", Group("none", (Row("a", "true"), Row("b", "true")))),
    ("not (a and b)", Group("not_all", (Row("a", "true"), Row("b", "true")))),
    ("not (n > 5)", Group("none", (Row("n", ">", number("5")),))),
    (
        "a or (b and c)",
        Group("any", (Row("a", "true"), Group("all", (Row("b", "true"), Row("c", "true"))))),
    ),
    ("a or 5 < n", Group("any", (Row("a", "true"), Piece("5 < n")))),
]


@pytest.mark.parametrize(("source", "drawing"), DRAWN)
def test_a_condition_is_drawn_and_written_as_it_was(source: str, drawing: Any) -> None:
    assert read_condition(source) == drawing
    assert write_condition(drawing) == source


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("n>5", "n > 5"),
        ("(a)and((b))", "a and b"),
        ("a and b or c", "(a and b) or c"),
        ("a\n  and b", "a and b"),
        ("not n > 5", "not (n > 5)"),
    ],
)
def test_only_spaces_and_needless_parentheses_change(source: str, written: str) -> None:
    drawing = read_condition(source)
    assert drawing is not None
    assert write_condition(drawing) == written


@pytest.mark.parametrize(
    "source",
    [
        "5",
        '"late"',
        "true",
        "5 < n",
        "(a == 1) == true",
        "a == (b and c)",
        "a is b",
        "a is None",
        'name in "late"',
        '"a" in "abc"',
        "not " * 30 + "(a == 1)",
    ],
)
def test_what_cannot_be_drawn_stays_text(source: str) -> None:
    assert read_condition(source) is None


def test_a_piece_that_cannot_be_drawn_is_kept_letter_by_letter() -> None:
    source = "a and (n|add:1)   ==   (b  or c)"
    drawing = read_condition(source)
    assert drawing == Group("all", (Row("a", "true"), Piece("(n|add:1)   ==   (b  or c)")))
    assert write_condition(drawing) == source


def test_what_is_no_expression_is_refused_with_its_place() -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        read_condition("a and")
    assert caught.value.position == 5


@given(expressions)
def test_any_drawing_means_what_its_expression_means(expression: Branch) -> None:
    drawing = read_condition(expression.text)
    if drawing is None:
        return
    written = write_condition(drawing)
    assert _outcome(written) == _outcome(expression.text)
    # And it is stable: drawn again it is the same, to the letter.
    assert read_condition(written) == drawing
    again = read_condition(written)
    assert again is not None
    assert write_condition(again) == written


def _outcome(source: str) -> Any:
    try:
        value = compile_expression(source).evaluate(Scope(STATE))
    except Exception as error:  # noqa: BLE001 (which error is what is compared)
        return type(error)
    return type(value), value


def test_most_expressions_are_drawn() -> None:
    # Else the test above could pass by declining everything.
    drawn = [read_condition(source) for source, _drawing in DRAWN]
    assert None not in drawn


@given(st.text(max_size=20))
def test_any_text_can_be_quoted(plain: str) -> None:
    assert compile_expression(quoted(plain)).evaluate(Scope()) == plain
    row = read_condition(f"name == {quoted(plain)}")
    assert isinstance(row, Row)
    assert row.value is not None
    assert (row.value.kind, row.value.plain) == ("text", plain)


@given(st.lists(st.text("ab,;|/ \"'\\", max_size=4), min_size=1, max_size=4))
def test_any_list_of_texts_can_be_written(items: list[str]) -> None:
    assert compile_expression(listed(items)).evaluate(Scope()) == items


def test_a_list_that_uses_up_all_separators_is_refused() -> None:
    with pytest.raises(ValueError, match="separate"):
        listed([",;|/#~\t", "x"])


def test_every_operator_that_a_type_is_offered_is_one() -> None:
    offered = {name for names in OPERATORS_OF_TYPE.values() for name in names}
    # Two are drawn but not offered: others say the same.
    assert OPERATORS.keys() - offered == {"has", "not_has"}
    assert offered <= OPERATORS.keys()
    assert ("<", "is before") in operators_of("date")
    assert ("true", "is true") in operators_of("boolean")
    assert operators_of("something new") == operators_of("any")


def test_operators_by_filter_are_not_there_without_the_filter(settings: Any) -> None:
    settings.FLOWCONTROL_DISABLE_DEFAULT_FILTERS = True
    assert {"starts", "one_of"}.isdisjoint(dict(operators_of("text")))


def test_a_filter_that_a_project_replaced_is_not_taken_for_ours(settings: Any) -> None:
    assert read_condition('name|startswith:"N"') == Row("name", "starts", text("N"))
    settings.FLOWCONTROL_TEMPLATE_FILTERS = ["tests.testapp.replaced_filters"]
    assert read_condition('name|startswith:"N"') == Row('name|startswith:"N"', "true")
    assert "starts" not in dict(operators_of("text"))


def test_a_drawing_is_plain_json_for_a_page() -> None:
    drawing = read_condition('a == "x" or 5 < n')
    assert drawing is not None
    assert drawing_to_json(drawing) == {
        "join": "any",
        "items": [
            {
                "left": "a",
                "operator": "==",
                "value": {"kind": "text", "source": '"x"', "plain": "x"},
            },
            {"text": "5 < n"},
        ],
    }
