"""From the text of an expression to a function that evaluates it.

Values with their filters are read by Django's own `FilterExpression`. Operators bind as in
Django's ``{% if %}`` and in Python: comparisons before ``not`` before ``and`` before ``or``. Three
things differ, all so that a mistake is never silently "false": comparisons cannot be chained, what
Python refuses is an `ExpressionError`, and filters fail aloud.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from django.template.base import FilterExpression, Parser, Variable
from django.utils.functional import Promise
from django.utils.safestring import SafeData, mark_safe

from flowcontrol.exceptions import ExpressionError
from flowcontrol.expressions.libraries import on_filters_changed
from flowcontrol.expressions.lookups import Evaluate, Scope, compile_lookup
from flowcontrol.expressions.moments import local
from flowcontrol.expressions.operators import COMPARISONS, ON_NUMBERS, Comparison
from flowcontrol.expressions.tokens import (
    END,
    LITERALS,
    VALUE,
    FilterCall,
    Token,
    refuse,
    tokenize,
)
from flowcontrol.expressions.wording import PASSING, Refusal, describe, reason, summary

DEEPEST_NESTING: Final = 50
LONGEST_SHOWN: Final = 200


class Expression:
    """A compiled expression; ``names`` are the dotted names it may read."""

    __slots__ = ("_evaluate", "names", "source")

    def __init__(self, source: str, names: frozenset[str], evaluate: Evaluate) -> None:
        self.source = source
        self.names = names
        self._evaluate = evaluate

    def evaluate(self, scope: Scope) -> Any:
        """The value in this scope, or ExpressionError; trouble with the database passes through."""
        mark = len(scope.reads)
        try:
            return self._evaluate(scope)
        except PASSING:
            raise
        except Exception as error:
            raise _failed(self.source, error, scope, scope.reads[mark:]) from error

    def __repr__(self) -> str:
        return f"<Expression {self.source!r}>"


def compile_expression(source: str) -> Expression:
    """The expression of this text, from a cache; ExpressionSyntaxError says what is wrong where."""
    if not isinstance(source, str):
        refuse("", 0, f"An expression is a text, not {describe(source)}.")
    return compiled(str.__str__(source), False)


@lru_cache(maxsize=4096)
def compiled(source: str, autoescape: bool) -> Expression:
    """As `compile_expression`; ``autoescape`` is told to filters that make HTML."""
    node, names = _Parser(source, autoescape).parse()
    return Expression(source, names, node.evaluate)


on_filters_changed(compiled.cache_clear)


def _failed(
    source: str, error: Exception, scope: Scope, reads: list[tuple[str, Any]]
) -> ExpressionError:
    said = reason(error)
    shown = source if len(source) <= LONGEST_SHOWN else f"{source[:LONGEST_SHOWN]}…"
    message = f"“{shown}” cannot be evaluated: {said}{'' if said.endswith(('.', '?')) else '.'}"
    missing = [name for name, value in dict(reads).items() if value is None]
    unset = [name for name in missing if not scope.knows(name.split(".")[0])]
    if reads:
        values = (f"{name} = {_shown(summary(value))}" for name, value in dict(reads).items())
        message += f" Values read: {', '.join(values)}."
    if unset:
        message += f" Nothing has set {', '.join(unset)}."
    if missing:
        message += f" If it may be missing, write {missing[0]}|default:0 or the like."
    values_read = {name: summary(value) for name, value in reads}
    return ExpressionError(message, expression=source, values=values_read)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


# Parsing


@dataclass(slots=True)
class _Node:
    """A part of an expression: how to evaluate it, and its value if that never changes."""

    evaluate: Evaluate
    constant: Any = None
    is_constant: bool = False


#: How tightly an operator holds its two sides.
_BINDING: Final = {"or": 1, "and": 2, **dict.fromkeys(COMPARISONS, 4)}
_NOT: Final = 3


class _Parser:
    """Top-down operator precedence, as `django.template.smartif`, with places for messages."""

    def __init__(self, source: str, autoescape: bool) -> None:
        self.source = source
        self.autoescape = autoescape
        self.tokens = tokenize(source)
        self.names: set[str] = set()
        self.depth = 0
        self.token = self.previous = next(self.tokens)

    def parse(self) -> tuple[_Node, frozenset[str]]:
        if self.token.kind == END:
            self.refuse(self.token, "The expression is empty.")
        node = self.expression(0)
        if self.token.kind == ")":
            self.refuse(self.token, 'This ")" closes nothing.')
        if self.token.kind != END:
            self.refuse_value(self.token)
        return node, frozenset(self.names)

    def refuse(self, token: Token, message: str) -> Any:
        refuse(self.source, token.position, message)

    def advance(self) -> Token:
        token = self.token
        self.previous = token
        if token.kind != END:
            self.token = next(self.tokens)
        return token

    def expression(self, binding: int) -> _Node:
        self.depth += 1
        if self.depth > DEEPEST_NESTING:
            self.refuse(self.token, "Parentheses and not are nested too deeply here.")
        begin = self.token.position
        left = self.operand()
        while _BINDING.get(self.token.kind, 0) > binding:
            operator = self.advance()
            if operator.kind in COMPARISONS:
                left = self.comparison(left, operator, begin)
            else:
                left = self.junction(left, operator)
        self.depth -= 1
        return left

    def operand(self) -> _Node:
        token = self.advance()
        if token.kind == VALUE:
            return self.value(token)
        if token.kind == "not":
            return _negation(self.expression(_NOT))
        if token.kind == "(":
            if self.token.kind == ")":
                self.refuse(token, "There is nothing between these parentheses.")
            node = self.expression(0)
            closing = self.advance()
            if closing.kind == END:
                self.refuse(token, 'The ")" for this "(" is missing.')
            if closing.kind != ")":
                self.refuse_value(closing)
            if self.token.kind == VALUE:
                self.refuse_value(self.token)
            return node
        if token.kind == END:
            self.refuse(token, "The expression ends too early: a value is missing.")
        self.refuse(token, f'A value is missing before "{token.text}".')
        raise AssertionError  # pragma: no cover (refuse raises)

    def comparison(self, left: _Node, operator: Token, begin: int) -> _Node:
        if self.token.kind == "not":
            self.refuse(self.token, 'Put "not" and what belongs to it in parentheses.')
        middle = self.token.position
        right = self.expression(_BINDING[operator.kind])
        if self.token.kind in COMPARISONS:
            self.refuse_chain(begin, middle)
        return _comparison(operator.kind, left, right)

    def junction(self, left: _Node, operator: Token) -> _Node:
        operands = [left.evaluate, self.expression(_BINDING[operator.kind]).evaluate]
        while self.token.kind == operator.kind:
            self.advance()
            operands.append(self.expression(_BINDING[operator.kind]).evaluate)
        return _Node(_all(operands) if operator.kind == "and" else _any(operands))

    def value(self, token: Token) -> _Node:
        chain = FilterExpression(token.text, _filters_of(token))
        node = self.variable(chain.var)
        for call, (_, arguments) in zip(token.filters, chain.filters, strict=True):
            argument = None
            for _, given in arguments:
                argument = self.variable(given)
            node = _filtered(call, node.evaluate, argument, self.autoescape)
        return node

    def variable(self, variable: Any) -> _Node:
        """A name, or a constant: a number, a text, a text to be translated, true, false, null."""
        if isinstance(variable, Promise):
            return _Node(lambda scope: str(variable))
        if not isinstance(variable, Variable):
            return _constant(str.__str__(variable))
        if variable.literal is not None:
            return _constant(variable.literal)
        name = str(variable.var)
        if name in LITERALS:
            return _constant(LITERALS[name])
        self.names.add(name)
        return _Node(compile_lookup(name))

    def refuse_chain(self, begin: int, middle: int) -> None:
        """``3 < a < 5``: say how to write it."""
        second = self.token
        self.advance()
        self.expression(_BINDING[second.kind])
        first = self.source[begin : second.position].strip()
        rest = self.source[second.position : self.token.position].strip()
        shared = self.source[middle : second.position].strip()
        self.refuse(second, f'Comparisons cannot be chained; write "{first} and {shared} {rest}".')

    def refuse_value(self, token: Token) -> None:
        """A value stands where an operator was expected."""
        for shouted in (self.previous, token):
            if shouted.kind == VALUE and shouted.text.lower() in {"and", "or", "not", "in", "is"}:
                self.refuse(shouted, f'Write "{shouted.text.lower()}" in small letters.')
        if token.kind == VALUE and token.text[0] in "+-":
            name = "add" if token.text[0] == "+" else "subtract"
            sign = token.text[0]
            self.refuse(token, f"Write n|{name}:1 instead of n {sign} 1.")
        self.refuse(token, f'Before "{token.text}" an operator is missing, such as "and" or "==".')


class _KnownFilters(Parser):
    """The parser that `FilterExpression` asks for filters: those of one token, already checked."""

    def __init__(self, calls: tuple[FilterCall, ...]) -> None:
        super().__init__([])
        self.filters = {call.name: call.function for call in calls}


def _filters_of(token: Token) -> Parser:
    return _KnownFilters(token.filters)


# Evaluating: each function returns the closure that does the work


def _constant(value: Any) -> _Node:
    return _Node(lambda scope: value, value, True)


def _negation(operand: _Node) -> _Node:
    evaluate = operand.evaluate
    return _Node(lambda scope: not evaluate(scope))


def _all(operands: list[Evaluate]) -> Evaluate:
    *first, last = operands

    def evaluate(scope: Scope) -> Any:
        for operand in first:
            value = operand(scope)
            if not value:
                return value
        return last(scope)

    return evaluate


def _any(operands: list[Evaluate]) -> Evaluate:
    *first, last = operands

    def evaluate(scope: Scope) -> Any:
        for operand in first:
            value = operand(scope)
            if value:
                return value
        return last(scope)

    return evaluate


def _comparison(symbol: str, left_node: _Node, right_node: _Node) -> _Node:
    left, right, compare = left_node.evaluate, right_node.evaluate, COMPARISONS[symbol]
    on_numbers = ON_NUMBERS.get(symbol)
    if on_numbers is None:
        return _Node(lambda scope: compare(left(scope), right(scope)))
    if right_node.is_constant and type(right_node.constant) in {int, float}:
        return _Node(_compare_with_number(left, right_node.constant, compare, on_numbers))

    def evaluate(scope: Scope) -> Any:
        a, b = left(scope), right(scope)
        kind, other = type(a), type(b)
        if (kind is int or kind is float) and (other is int or other is float):
            return on_numbers(a, b)
        return compare(a, b)

    return _Node(evaluate)


def _compare_with_number(
    left: Evaluate, number: float, compare: Comparison, on_numbers: Comparison
) -> Evaluate:
    def evaluate(scope: Scope) -> Any:
        value = left(scope)
        kind = type(value)
        if kind is int or kind is float:
            return on_numbers(value, number)
        return compare(value, number)

    return evaluate


def _filtered(call: FilterCall, inner: Evaluate, argument: _Node | None, autoescape: bool) -> _Node:
    function = _as_declared(call.function, autoescape)
    name = call.name

    if argument is None:

        def evaluate(scope: Scope) -> Any:
            value = inner(scope)
            try:
                return function(value)
            except PASSING:
                raise
            except Exception as error:
                raise _filter_failed(name, error) from error

    else:
        given = argument.evaluate

        def evaluate(scope: Scope) -> Any:
            value, other = inner(scope), given(scope)
            try:
                return function(value, other)
            except PASSING:
                raise
            except Exception as error:
                raise _filter_failed(name, error) from error

    return _Node(evaluate)


def _filter_failed(name: str, error: Exception) -> Refusal:
    return Refusal(f'the filter "{name}" refused: {reason(error)}')


def _as_declared(function: Callable[..., Any], autoescape: bool) -> Callable[..., Any]:
    """The filter with what its flags ask for, as Django's `FilterExpression.resolve` does it."""
    expects_localtime = getattr(function, "expects_localtime", False)
    needs_autoescape = getattr(function, "needs_autoescape", False)
    is_safe = getattr(function, "is_safe", False)
    if not (expects_localtime or needs_autoescape or is_safe):
        return function

    def declared(value: Any, *arguments: Any) -> Any:
        if expects_localtime and isinstance(value, datetime):
            value = local(value)
        options = {"autoescape": autoescape} if needs_autoescape else {}
        result = function(value, *arguments, **options)
        return mark_safe(result) if is_safe and isinstance(value, SafeData) else result

    return declared
