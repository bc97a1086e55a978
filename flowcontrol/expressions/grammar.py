"""From the text of an expression to a function that evaluates it.

The tree comes from `flowcontrol.expressions.syntax`; values with their filters are read by Django's
own `FilterExpression`. Three things differ from Django, all so that a mistake is never silently
"false": comparisons cannot be chained, what Python refuses is an `ExpressionError`, and filters
fail aloud.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, assert_never

from django.template.base import FilterExpression, Parser, Variable
from django.utils.functional import Promise
from django.utils.safestring import SafeData, mark_safe
from django.utils.translation import gettext

from flowcontrol.exceptions import ExpressionError
from flowcontrol.expressions.libraries import on_filters_changed
from flowcontrol.expressions.lookups import Evaluate, Scope, compile_lookup
from flowcontrol.expressions.moments import local
from flowcontrol.expressions.operators import COMPARISONS, ON_NUMBERS, Comparison
from flowcontrol.expressions.syntax import Compared, Joined, Not, Tree, Value, parse
from flowcontrol.expressions.tokens import LITERALS, FilterCall, Token, refuse
from flowcontrol.expressions.wording import PASSING, Refusal, describe, reason, summary

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
        refuse(
            "",
            0,
            gettext("An expression is a text, not %(source)s.") % {"source": describe(source)},
        )
    return compiled(str.__str__(source), False)


@lru_cache(maxsize=4096)
def compiled(source: str, autoescape: bool) -> Expression:
    """As `compile_expression`; ``autoescape`` is told to filters that make HTML."""
    compiler = _Compiler(autoescape)
    node = compiler.node(parse(source))
    return Expression(source, frozenset(compiler.names), node.evaluate)


on_filters_changed(compiled.cache_clear)


def _failed(
    source: str, error: Exception, scope: Scope, reads: list[tuple[str, Any]]
) -> ExpressionError:
    said = reason(error)
    shown = source if len(source) <= LONGEST_SHOWN else f"{source[:LONGEST_SHOWN]}…"
    said = said if said.endswith((".", "?")) else f"{said}."
    told = gettext("“%(expression)s” cannot be evaluated: %(reason)s")
    message = told % {"expression": shown, "reason": said}
    missing = [name for name, value in dict(reads).items() if value is None]
    unset = [name for name in missing if not scope.knows(name.split(".")[0])]
    if reads:
        values = (f"{name} = {_shown(summary(value))}" for name, value in dict(reads).items())
        message += " " + gettext("Values read: %(values)s.") % {"values": ", ".join(values)}
    if unset:
        message += " " + gettext("Nothing has set %(names)s.") % {"names": ", ".join(unset)}
    if missing:
        told = gettext("If it may be missing, write %(name)s|default:0 or the like.")
        message += " " + told % {"name": missing[0]}
    values_read = {name: summary(value) for name, value in reads}
    return ExpressionError(message, expression=source, values=values_read)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


# Compiling


@dataclass(slots=True)
class _Node:
    """A part of an expression: how to evaluate it, and its value if that never changes."""

    evaluate: Evaluate
    constant: Any = None
    is_constant: bool = False


class _Compiler:
    """Makes the closures of a tree's values and operators; collects the names that they read."""

    def __init__(self, autoescape: bool) -> None:
        self.autoescape = autoescape
        self.names: set[str] = set()

    def node(self, tree: Tree) -> _Node:
        match tree:
            case Value(token):
                return self.value(token)
            case Not(operand):
                return _negation(self.node(operand))
            case Compared(left, operator, right):
                return _comparison(operator, self.node(left), self.node(right))
            case Joined(operator, operands):
                parts = [self.node(operand).evaluate for operand in operands]
                return _Node(_all(parts) if operator == "and" else _any(parts))
        assert_never(tree)

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
    return Refusal(
        gettext('the filter "%(name)s" refused: %(reason)s')
        % {"name": name, "reason": reason(error)}
    )


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
