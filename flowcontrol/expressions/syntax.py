"""From the text of an expression to its tree: which operator holds what.

Operators bind as in Django's ``{% if %}`` and in Python: comparisons before ``not`` before ``and``
before ``or``. Comparisons cannot be chained. What the values mean is `flowcontrol.expressions.
grammar`'s business; what of a tree can be drawn, `flowcontrol.expressions.conditions`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext

from flowcontrol.expressions.operators import COMPARISONS
from flowcontrol.expressions.tokens import END, VALUE, Token, refuse, tokenize

DEEPEST_NESTING: Final = 50

#: How tightly an operator holds its two sides.
_BINDING: Final = {"or": 1, "and": 2, **dict.fromkeys(COMPARISONS, 4)}
_NOT: Final = 3


@dataclass(frozen=True, slots=True)
class Value:
    """A text, a number, a word or a name, with its filters."""

    token: Token


@dataclass(frozen=True, slots=True)
class Not:
    """``not operand``."""

    operand: Tree


@dataclass(frozen=True, slots=True)
class Compared:
    """``left operator right``; ``span`` is where it stands in the text."""

    left: Tree
    operator: str
    right: Tree
    span: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Joined:
    """``a and b and c``, or the same with ``or``."""

    operator: str
    operands: tuple[Tree, ...]


Tree = Value | Not | Compared | Joined


def parse(source: str) -> Tree:
    """The tree of an expression, or ExpressionSyntaxError, which says what is wrong where."""
    return _Parser(source).parse()


class _Parser:
    """Top-down operator precedence, as `django.template.smartif`, with places for messages."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = tokenize(source)
        self.depth = 0
        self.token = self.previous = next(self.tokens)

    def parse(self) -> Tree:
        if self.token.kind == END:
            self.refuse(self.token, gettext("The expression is empty."))
        tree = self.expression(0)
        if self.token.kind == ")":
            self.refuse(self.token, gettext('This ")" closes nothing.'))
        if self.token.kind != END:
            self.refuse_value(self.token)
        return tree

    def refuse(self, token: Token, message: str) -> Any:
        refuse(self.source, token.position, message)

    def advance(self) -> Token:
        token = self.token
        self.previous = token
        if token.kind != END:
            self.token = next(self.tokens)
        return token

    def expression(self, binding: int) -> Tree:
        self.depth += 1
        if self.depth > DEEPEST_NESTING:
            self.refuse(self.token, gettext("Parentheses and not are nested too deeply here."))
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

    def operand(self) -> Tree:
        token = self.advance()
        if token.kind == VALUE:
            return Value(token)
        if token.kind == "not":
            return Not(self.expression(_NOT))
        if token.kind == "(":
            if self.token.kind == ")":
                self.refuse(token, gettext("There is nothing between these parentheses."))
            tree = self.expression(0)
            closing = self.advance()
            if closing.kind == END:
                self.refuse(token, gettext('The ")" for this "(" is missing.'))
            if closing.kind != ")":
                self.refuse_value(closing)
            if self.token.kind == VALUE:
                self.refuse_value(self.token)
            return tree
        if token.kind == END:
            self.refuse(token, gettext("The expression ends too early: a value is missing."))
        self.refuse(
            token, gettext('A value is missing before "%(token)s".') % {"token": token.text}
        )
        raise AssertionError  # pragma: no cover (refuse raises)

    def comparison(self, left: Tree, operator: Token, begin: int) -> Tree:
        if self.token.kind == "not":
            self.refuse(self.token, gettext('Put "not" and what belongs to it in parentheses.'))
        middle = self.token.position
        right = self.expression(_BINDING[operator.kind])
        end = self.previous.position + len(self.previous.text)
        if self.token.kind in COMPARISONS:
            self.refuse_chain(begin, middle)
        return Compared(left, operator.kind, right, (begin, end))

    def junction(self, left: Tree, operator: Token) -> Tree:
        operands = [left, self.expression(_BINDING[operator.kind])]
        while self.token.kind == operator.kind:
            self.advance()
            operands.append(self.expression(_BINDING[operator.kind]))
        return Joined(operator.kind, tuple(operands))

    def refuse_chain(self, begin: int, middle: int) -> None:
        """``3 < a < 5``: say how to write it."""
        second = self.token
        self.advance()
        self.expression(_BINDING[second.kind])
        first = self.source[begin : second.position].strip()
        rest = self.source[second.position : self.token.position].strip()
        shared = self.source[middle : second.position].strip()
        self.refuse(
            second,
            gettext('Comparisons cannot be chained; write "%(first)s and %(shared)s %(rest)s".')
            % {"first": first, "shared": shared, "rest": rest},
        )

    def refuse_value(self, token: Token) -> None:
        """A value stands where an operator was expected."""
        for shouted in (self.previous, token):
            if shouted.kind == VALUE and shouted.text.lower() in {"and", "or", "not", "in", "is"}:
                self.refuse(
                    shouted,
                    gettext('Write "%(word)s" in small letters.') % {"word": shouted.text.lower()},
                )
        if token.kind == VALUE and token.text[0] in "+-":
            name = "add" if token.text[0] == "+" else "subtract"
            sign = token.text[0]
            self.refuse(
                token,
                gettext("Write n|%(name)s:1 instead of n %(sign)s 1.")
                % {"name": name, "sign": sign},
            )
        self.refuse(
            token,
            gettext('Before "%(token)s" an operator is missing, such as "and" or "==".')
            % {"token": token.text},
        )
