"""Any expression agrees with Python, and any text is an expression or a mistake with a place."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol.expressions import (
    Expression,
    ExpressionError,
    ExpressionSyntaxError,
    Scope,
    compile_expression,
    compile_template,
)


@dataclass(frozen=True)
class Branch:
    """An expression as text, how tightly it binds, and what Python makes of it."""

    text: str
    binding: int
    oracle: Callable[[dict[str, Any]], Any]

    def within(self, binding: int) -> str:
        return self.text if self.binding >= binding else f"({self.text})"


ATOM, COMPARISON, NOT, AND, OR = 5, 4, 3, 2, 1
STATE = {"n": 5, "m": 2, "x": 1.5, "t": "late", "u": "", "l": [1, 5, "late"], "b": True, "z": None}


def _same(a: Any, b: Any) -> bool:
    kinds = {bool: "bool", type(None): "none", int: "number", float: "number"}
    return kinds.get(type(a)) == kinds.get(type(b)) and a == b


def _ordered(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def strict(a: Any, b: Any) -> Any:
        if isinstance(a, bool) or isinstance(b, bool):
            raise TypeError
        return compare(a, b)

    return strict


ORACLES: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "in": lambda a, b: a in b,
    "not in": lambda a, b: a not in b,
    "is": lambda a, b: (
        _same(a, b) if not isinstance(a, (str, list)) else type(a) is type(b) and a == b
    ),
    "is not": lambda a, b: not ORACLES["is"](a, b),
}
NUMBERS = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul}


def _calculated(name: str, other: int) -> Callable[[Any], Any]:
    def calculate(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError
        return NUMBERS[name](value, other)

    return calculate


@st.composite
def atoms(draw: st.DrawFn) -> Branch:
    name = draw(st.sampled_from([*STATE, "missing"]))
    literal = draw(st.sampled_from(["name", "number", "text", "word", "filter"]))
    if literal == "number":
        number = draw(st.integers(-20, 20) | st.sampled_from([0.5, -1.25]))
        return Branch(str(number), ATOM, lambda env: number)
    if literal == "text":
        text = draw(st.text("ab \"'()|\\", max_size=4))
        quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return Branch(quoted, ATOM, lambda env: text)
    if literal == "word":
        word, value = draw(
            st.sampled_from([("true", True), ("False", False), ("null", None), ("None", None)])
        )
        return Branch(word, ATOM, lambda env: value)
    if literal == "filter":
        filter_name, other = draw(st.sampled_from(sorted(NUMBERS))), draw(st.integers(-3, 3))
        calculate = _calculated(filter_name, other)
        return Branch(f"{name}|{filter_name}:{other}", ATOM, lambda env: calculate(env.get(name)))
    return Branch(name, ATOM, lambda env: env.get(name))


def _comparison(left: Branch, symbol: str, right: Branch, space: str) -> Branch:
    if symbol[0].isalpha():
        space = " "
    text = f"{left.within(ATOM)}{space}{symbol}{space}{right.within(ATOM)}"
    return Branch(
        text, COMPARISON, lambda env: ORACLES[symbol](left.oracle(env), right.oracle(env))
    )


def _not(operand: Branch) -> Branch:
    return Branch(f"not {operand.within(NOT)}", NOT, lambda env: not operand.oracle(env))


def _and(left: Branch, right: Branch) -> Branch:
    return Branch(
        f"{left.within(AND)} and {right.within(AND)}",
        AND,
        lambda env: left.oracle(env) and right.oracle(env),
    )


def _or(left: Branch, right: Branch) -> Branch:
    return Branch(
        f"{left.within(OR)} or {right.within(OR)}",
        OR,
        lambda env: left.oracle(env) or right.oracle(env),
    )


def _grouped(inner: Branch) -> Branch:
    return Branch(f"( {inner.text} )", ATOM, inner.oracle)


expressions = st.recursive(
    atoms(),
    lambda inner: (
        st.builds(
            _comparison, inner, st.sampled_from(list(ORACLES)), inner, st.sampled_from(["", " "])
        )
        | st.builds(_not, inner)
        | st.builds(_and, inner, inner)
        | st.builds(_or, inner, inner)
        | st.builds(_grouped, inner)
    ),
    max_leaves=8,
)


@given(expressions)
def test_any_expression_agrees_with_python(expression: Branch) -> None:
    compiled: Expression = compile_expression(expression.text)
    try:
        expected = expression.oracle(STATE)
    except TypeError:
        with pytest.raises(ExpressionError):
            compiled.evaluate(Scope(STATE))
    else:
        result = compiled.evaluate(Scope(STATE))
        assert result == expected
        assert type(result) is type(expected)


@given(st.text(max_size=30) | st.text("n1 <>=!()|:.\"'andortis_{%", max_size=20))
def test_any_text_is_an_expression_or_a_syntax_error_with_a_place(source: str) -> None:
    position: int | None = 0
    try:
        compile_expression(source)
    except ExpressionSyntaxError as error:
        position = error.position
    assert position is not None
    assert 0 <= position <= len(source)


@given(st.text("n1 {}%#'\"|if endforxal\n", max_size=40))
def test_any_text_is_a_template_or_a_syntax_error(source: str) -> None:
    try:
        template = compile_template(source)
    except ExpressionSyntaxError:
        return
    with contextlib.suppress(ExpressionError):
        template.render(Scope({"n": 1, "l": [1]}))
