"""A condition as a drawing: groups of and, or, not, and rows of "field, operator, value".

:func:`read_condition` draws what it can of an expression's text; :func:`write_condition` gives the
text of a drawing. The text stays the truth: a part that cannot be drawn is a piece of text in the
drawing, copied letter by letter, and nothing is drawn at all unless writing it gives back the very
same conditions in the same order. Only spaces and needless parentheses may get lost.

Operators are patterns (``{left}|startswith:{value}``), so that whoever draws needs to know no more
than how to fill them in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, assert_never

from django.template.base import Variable
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flowcontrol.exceptions import ExpressionSyntaxError
from flowcontrol.expressions.libraries import DEFAULT_LIBRARY, active_filters
from flowcontrol.expressions.syntax import Compared, Joined, Not, Tree, Value, parse
from flowcontrol.expressions.tokens import LITERALS, FilterCall, Token

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

Join = Literal["all", "any", "none", "not_all"]
Kind = Literal["number", "text", "word", "list", "code"]


@dataclass(frozen=True, slots=True)
class Operand:
    """What a field is compared with: its text in the expression, and what a person would type.

    ``plain`` is the text without its quotes, the items of a list; ``kind`` tells which input shows
    it. What is ``code`` is a name, or anything else that only its text shows.
    """

    kind: Kind
    source: str
    plain: str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """``left operator value``; the operator is a key of :data:`OPERATORS`."""

    left: str
    operator: str
    value: Operand | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A condition that only its text can show."""

    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions of which all, any or none must hold, or not all."""

    join: Join
    items: tuple[Drawing, ...]


Drawing = Row | Piece | Group


@dataclass(frozen=True, slots=True)
class Operator:
    """How an operator is written; ``needs`` is the filter without which it does not exist."""

    pattern: str
    needs: str = ""
    takes_list: bool = False

    @property
    def takes_value(self) -> bool:
        return "{value}" in self.pattern


#: By name. Where two mean the same, people are offered the first.
OPERATORS: Final[Mapping[str, Operator]] = {
    "==": Operator("{left} == {value}"),
    "!=": Operator("{left} != {value}"),
    "<": Operator("{left} < {value}"),
    "<=": Operator("{left} <= {value}"),
    ">": Operator("{left} > {value}"),
    ">=": Operator("{left} >= {value}"),
    "true": Operator("{left}"),
    "false": Operator("not {left}"),
    "set": Operator("{left} is not null"),
    "unset": Operator("{left} is null"),
    "one_of": Operator("{left} in {value}", "split", takes_list=True),
    "not_one_of": Operator("{left} not in {value}", "split", takes_list=True),
    "contains": Operator("{value} in {left}"),
    "not_contains": Operator("{value} not in {left}"),
    "starts": Operator("{left}|startswith:{value}", "startswith"),
    "not_starts": Operator("not {left}|startswith:{value}", "startswith"),
    "ends": Operator("{left}|endswith:{value}", "endswith"),
    "not_ends": Operator("not {left}|endswith:{value}", "endswith"),
    "has": Operator("{left}|contains:{value}", "contains"),
    "not_has": Operator("not {left}|contains:{value}", "contains"),
}

_EQUALITY: Final = ("==", "!=")
_ORDER: Final = ("<", "<=", ">", ">=")
_PRESENCE: Final = ("set", "unset")
_TEXT: Final = ("contains", "not_contains", "starts", "not_starts", "ends", "not_ends")

#: The operators that people are offered, by the type of the field. An unknown type has them all.
OPERATORS_OF_TYPE: Final[Mapping[str, tuple[str, ...]]] = {
    "text": (*_EQUALITY, "one_of", "not_one_of", *_TEXT, "false", "true"),
    "choice": (*_EQUALITY, "one_of", "not_one_of", "false", "true"),
    **dict.fromkeys(
        ("number", "integer", "date", "datetime", "time", "duration"),
        (*_EQUALITY, *_ORDER, *_PRESENCE),
    ),
    "boolean": ("true", "false"),
    "list": ("contains", "not_contains", "true", "false"),
    "record": _PRESENCE,
    "object": (*_PRESENCE, *_EQUALITY),
    "rows": ("contains", "not_contains"),
    "any": (*_EQUALITY, *_ORDER, "true", "false", *_PRESENCE, "one_of", "not_one_of", *_TEXT),
}

_LABELS: Final[Mapping[str, _StrOrPromise]] = {
    "==": _("is"),
    "!=": _("is not"),
    "<": _("is less than"),
    "<=": _("is at most"),
    ">": _("is more than"),
    ">=": _("is at least"),
    "true": _("is true, or not empty"),
    "false": _("is false, or empty"),
    "set": _("has a value"),
    "unset": _("has no value"),
    "one_of": _("is one of"),
    "not_one_of": _("is none of"),
    "contains": _("contains"),
    "not_contains": _("does not contain"),
    "starts": _("starts with"),
    "not_starts": _("does not start with"),
    "ends": _("ends with"),
    "not_ends": _("does not end with"),
    "has": _("contains"),
    "not_has": _("does not contain"),
}
_NUMBER_LABELS: Final[Mapping[str, _StrOrPromise]] = {
    "==": "=",
    "!=": "≠",
    "<": "<",
    "<=": "≤",
    ">": ">",
    ">=": "≥",
}
_TIME_LABELS: Final[Mapping[str, _StrOrPromise]] = {
    "<": _("is before"),
    "<=": _("is at the latest"),
    ">": _("is after"),
    ">=": _("is at the earliest"),
}
_EMPTY_LABELS: Final[Mapping[str, _StrOrPromise]] = {
    "true": _("is not empty"),
    "false": _("is empty"),
}
_LABELS_OF_TYPE: Final[Mapping[str, Mapping[str, _StrOrPromise]]] = {
    **dict.fromkeys(("number", "integer"), _NUMBER_LABELS),
    **dict.fromkeys(("date", "datetime", "time"), _TIME_LABELS),
    **dict.fromkeys(("text", "choice", "list"), _EMPTY_LABELS),
    "boolean": {"true": _("is true"), "false": _("is not true")},
}


def operators_of(type_: str) -> list[tuple[str, str]]:
    """The operators that a field of this type is offered, as (name, words)."""
    own = _LABELS_OF_TYPE.get(type_, {})
    return [
        (name, str(own.get(name, _LABELS[name])))
        for name in OPERATORS_OF_TYPE.get(type_, OPERATORS_OF_TYPE["any"])
        if _is_there(OPERATORS[name])
    ]


def operator_words(name: str) -> str:
    """What an operator is called where no type says it better."""
    return str(_LABELS[name])


def _is_there(operator: Operator) -> bool:
    found = active_filters().get(operator.needs)
    return not operator.needs or (found is not None and found.__module__ == DEFAULT_LIBRARY)


# --- reading --------------------------------------------------------------------------------------


def read_condition(source: str) -> Drawing | None:
    """The drawing of a condition, or ``None`` if only its text can show it.

    Raises:
        ExpressionSyntaxError: it is no expression.
    """
    tree = parse(source)
    drawn = _drawn(tree, source)
    if isinstance(drawn, Piece):
        return None
    try:
        again = parse(write_condition(drawn))
    except ExpressionSyntaxError:  # with all its parentheses it would be nested too deeply
        return None
    return drawn if _outline(again) == _outline(tree) else None


def _outline(tree: Tree) -> Any:
    """What a tree says, wherever it stands in its text."""
    match tree:
        case Value(token):
            return token.text
        case Not(operand):
            return ("not", _outline(operand))
        case Compared(left, operator, right):
            return (operator, _outline(left), _outline(right))
        case Joined(operator, operands):
            return (operator, *map(_outline, operands))
    assert_never(tree)


def _drawn(tree: Tree, source: str) -> Drawing:
    match tree:
        case Value(token):
            return _test(token, negated=False) or Piece(token.text)
        case Not(Value(token)):
            return _test(token, negated=True) or Group("none", (Piece(token.text),))
        case Not(Joined(operator, operands)):
            items = tuple(_drawn(each, source) for each in operands)
            return Group("none" if operator == "or" else "not_all", items)
        case Not(operand):
            return Group("none", (_drawn(operand, source),))
        case Compared(Value(left), operator, Value(right)):
            return _comparison(left, operator, right) or Piece(source[slice(*tree.span)])
        case Compared(span=span):
            return Piece(source[slice(*span)])
        case Joined(operator, operands):
            items = tuple(_drawn(each, source) for each in operands)
            return Group("any" if operator == "or" else "all", items)
    assert_never(tree)


_TESTING_FILTERS: Final = {"startswith": "starts", "endswith": "ends", "contains": "has"}


def _test(token: Token, *, negated: bool) -> Row | None:
    """A value by itself: true or false, or one of the filters that ask something."""
    if not _has_name(token):
        return None
    last = token.filters[-1] if token.filters else None
    if last is not None and last.name in _TESTING_FILTERS and _is_ours(last) and last.takes:
        operator = _TESTING_FILTERS[last.name]
        argument = _operand(token.text[last.argument :])
        name = f"not_{operator}" if negated else operator
        return Row(token.text[: last.begin], name, argument)
    return Row(token.text, "false" if negated else "true")


def _comparison(left: Token, symbol: str, right: Token) -> Row | None:
    if symbol in ("in", "not in"):
        return _membership(left, right, negated=symbol == "not in")
    if not _has_name(left):
        return None
    if symbol in ("is", "is not"):
        if right.text != "null":
            return None
        return Row(left.text, "unset" if symbol == "is" else "set")
    return Row(left.text, symbol, _operand_of(right))


def _membership(left: Token, right: Token, *, negated: bool) -> Row | None:
    if _has_name(left):
        value = _operand_of(right)
        if value.kind not in ("list", "code"):
            return None  # a part of a text, which "is one of" would not say
        return Row(left.text, "not_one_of" if negated else "one_of", value)
    if _has_name(right):
        value = _operand_of(left)
        return Row(right.text, "not_contains" if negated else "contains", value)
    return None


_NAME: Final = re.compile(r"[^\W\d]")


def _has_name(token: Token) -> bool:
    """Whether a value begins with a name, and not with a text, a number, true, false or null."""
    base = _base(token)
    return _NAME.match(base) is not None and not base.startswith("_(") and base not in LITERALS


def _base(token: Token) -> str:
    return token.text[: token.filters[0].begin] if token.filters else token.text


def _is_ours(call: FilterCall) -> bool:
    return call.function.__module__ == DEFAULT_LIBRARY


def _operand_of(token: Token) -> Operand:
    if not token.filters:
        return _operand(token.text)
    base, call = _operand(_base(token)), token.filters[0]
    if len(token.filters) == 1 and call.name == "split" and call.takes and _is_ours(call):
        separator = _operand(token.text[call.argument :])
        if base.kind == separator.kind == "text" and separator.plain:
            items = str(base.plain).split(str(separator.plain))
            return Operand("list", token.text, tuple(items))
    return Operand("code", token.text, token.text)


def _operand(text: str) -> Operand:
    if text[0] in "\"'":
        literal = Variable(text).literal
        return Operand("text", text, str.__str__(literal))
    if text in LITERALS:
        return Operand("word", text, text)
    if text[0].isdecimal() or text[0] in "+-":
        return Operand("number", text, text)
    return Operand("code", text, text)


# --- writing --------------------------------------------------------------------------------------

SEPARATORS: Final = (",", ";", "|", "/", "#", "~", "\t")
"""What may stand between the items of a list that is written as one text."""


def quoted(text: str) -> str:
    """A text as it is written in an expression."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def listed(items: Sequence[str]) -> str:
    """A list of texts as it is written in an expression.

    Raises:
        ValueError: the items leave no character to separate them by.
    """
    for separator in SEPARATORS:
        if not any(separator in item for item in items):
            return f"{quoted(separator.join(items))}|split:{quoted(separator)}"
    raise ValueError(gettext("The items use up everything that could separate them."))


def write_condition(drawing: Drawing) -> str:
    """The text of a drawing; groups inside groups stand in parentheses."""
    match drawing:
        case Piece(text):
            return text
        case Row():
            return _row_text(drawing)
        case Group(join, items):
            word = " and " if join in ("all", "not_all") else " or "
            if len(items) == 1:
                inner = write_condition(items[0])
            else:
                inner = word.join(_inside(item) for item in items)
            return inner if join in ("all", "any") else f"not ({inner})"
    assert_never(drawing)


def _inside(item: Drawing) -> str:
    text = write_condition(item)
    is_joined = isinstance(item, Group) and item.join in ("all", "any") and len(item.items) > 1
    return f"({text})" if is_joined else text


def _row_text(row: Row) -> str:
    parts = {"{left}": row.left, "{value}": row.value.source if row.value else ""}
    pattern = OPERATORS[row.operator].pattern
    return "".join(parts.get(part, part) for part in re.split(r"(\{left\}|\{value\})", pattern))


def drawing_to_json(drawing: Drawing) -> dict[str, Any]:
    """The drawing for a page."""
    match drawing:
        case Piece(text):
            return {"text": text}
        case Row(left, operator, value):
            told = (
                {"kind": value.kind, "source": value.source, "plain": value.plain}
                if value
                else None
            )
            return {"left": left, "operator": operator, "value": told}
        case Group(join, items):
            return {"join": join, "items": [drawing_to_json(item) for item in items]}
    assert_never(drawing)
