"""Cutting the text of an expression into words, with words for what does not belong there.

A *value* token is what Django's template language calls a variable with its filters
(``"text"|upper``, ``object.email``, ``n|add:1``); everything else is an operator or a parenthesis,
which need no spaces around them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from django.template import TemplateSyntaxError
from django.template.base import FilterExpression
from django.utils.translation import gettext, gettext_lazy

from flowcontrol.exceptions import ExpressionSyntaxError
from flowcontrol.expressions.libraries import Filter, active_filters

LITERALS: Final = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
}
#: Words that mean something of their own: no state key or loop variable can be read by them.
RESERVED_NAMES: Final = frozenset(
    {"object", "run", "trigger", "now", "today", "and", "or", "not", "in", "is", *LITERALS}
)
LONGEST_SOURCE: Final = 10_000

VALUE: Final = "value"
END: Final = "end"

_QUOTED: Final = r'"[^"\\]*(?:\\.[^"\\]*)*"' + r"|'[^'\\]*(?:\\.[^'\\]*)*'"
_CONSTANT: Final = re.compile(rf"_\((?:{_QUOTED})\)|{_QUOTED}")
_NUMBER: Final = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e\d+)?(?![\w.])", re.ASCII)
_NAME: Final = re.compile(r"[^\W\d]\w*(?:\.\w+)*(?!\.)")
_FILTER: Final = re.compile(r"\s*\|\s*(?P<name>\w+)(?P<colon>:)?")
_OPERATOR: Final = re.compile(
    r"(?:is\s+not|not\s+in|and|or|not|in|is)\b|[=!]=(?!=)|[<>]=?(?![=<>])"
)
_SPACE: Final = re.compile(r"\s*")

#: What people write who know other languages, and what they mean here.
_ELSEWHERE: Final = (
    ("===", gettext_lazy('Write "==" to compare two values.')),
    ("!==", gettext_lazy('Write "!=" for "is not equal to".')),
    ("=>", gettext_lazy('Write ">=" for "at least".')),
    ("=<", gettext_lazy('Write "<=" for "at most".')),
    ("<>", gettext_lazy('Write "!=" for "is not equal to".')),
    ("=", gettext_lazy('A single "=" means nothing here; write "==" to compare two values.')),
    ("&", gettext_lazy('Write "and" instead of "&".')),
    ("||", gettext_lazy('Write "or" instead of "||".')),
    ("|", gettext_lazy('A filter ("|") has to stand right after the value it works on.')),
    ("!", gettext_lazy('Write "not" instead of "!".')),
    ("+", gettext_lazy("Write n|add:1 instead of n + 1.")),
    ("-", gettext_lazy("Write n|subtract:1 instead of n - 1.")),
    ("*", gettext_lazy("Write n|multiply:2 instead of n * 2.")),
    ("/", gettext_lazy("Write n|divide:2 instead of n / 2.")),
    ("%", gettext_lazy("Write n|modulo:2 instead of n % 2.")),
    ("{", gettext_lazy("Write the expression by itself, without braces.")),
    ("}", gettext_lazy("Write the expression by itself, without braces.")),
    ("[", gettext_lazy("Write items.0 or data.key instead of square brackets.")),
    ("]", gettext_lazy("Write items.0 or data.key instead of square brackets.")),
    (",", gettext_lazy('Lists cannot be written here; a "," belongs inside quotes.')),
    (":", gettext_lazy('A ":" may only follow the name of a filter, as in n|add:1.')),
    (".", gettext_lazy("A number begins with a digit, as in 0.5, and a name with a letter.")),
    ("`", gettext_lazy('Texts stand in straight quotes, as in "late".')),
    *((mark, gettext_lazy('Texts stand in straight quotes, as in "late".')) for mark in "“”„‟‘’«»"),
)


class Misread(ExpressionSyntaxError):
    """The syntax error of one expression; ``advice`` is its message without the place."""

    def __init__(self, advice: str, source: str, position: int) -> None:
        if position < len(source):
            told = gettext("Character %(number)d: %(advice)s")
        else:
            told = gettext("At the end: %(advice)s")
        message = told % {"number": position + 1, "advice": advice} if source.strip() else advice
        super().__init__(message, expression=source, position=position)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class FilterCall:
    """One ``|name:argument`` of a value; in its text it begins, and its argument begins, where."""

    name: str
    function: Filter
    takes: bool
    begin: int = 0
    argument: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression; ``kind`` is VALUE, END or the operator itself."""

    kind: str
    text: str
    position: int
    filters: tuple[FilterCall, ...] = ()


def tokenize(source: str) -> Iterator[Token]:
    """The tokens of an expression with an END, or ExpressionSyntaxError."""
    if len(source) > LONGEST_SOURCE:
        refuse(
            source,
            LONGEST_SOURCE,
            gettext("An expression has at most %(count)s characters.")
            % {"count": f"{LONGEST_SOURCE:,}"},
        )
    position = _skip_space(source, 0)
    while position < len(source):
        if source[position] in "()":
            yield Token(source[position], source[position], position)
            position += 1
        elif match := _OPERATOR.match(source, position):
            yield Token(" ".join(match[0].split()), match[0], position)
            position = match.end()
        else:
            end, filters = _value_end(source, position)
            yield Token(VALUE, source[position:end], position, filters)
            position = end
        position = _skip_space(source, position)
    yield Token(END, "", position)


def did_you_mean(close: list[str]) -> str:
    """A sentence with what somebody may have meant."""
    return gettext("Did you mean %(these)s?") % {"these": gettext(" or ").join(close)}


def refuse(source: str, position: int, message: str) -> NoReturn:
    """Raise the syntax error that says where, in numbers that people count by, and what."""
    raise Misread(message, source, position)


def _skip_space(source: str, position: int) -> int:
    match = _SPACE.match(source, position)
    assert match is not None  # it also matches nothing
    return match.end()


def _value_end(source: str, position: int) -> tuple[int, tuple[FilterCall, ...]]:
    end = _operand_end(source, position)
    calls = []
    while match := _FILTER.match(source, end):
        name, start = match["name"], match.start("name")
        begin, end = match.span()
        function = active_filters().get(name)
        if function is None:
            _refuse_unknown_filter(source, start, name)
        argument = end - position
        if match["colon"]:
            if end == len(source) or source[end].isspace():
                refuse(
                    source,
                    end,
                    gettext('The value of "%(name)s" has to follow the ":" without a space.')
                    % {"name": name},
                )
            if source[end] == "(":
                refuse(
                    source,
                    end,
                    gettext("After the colon of a filter stands one text, number or name."),
                )
            end = _operand_end(source, end)
        _check_argument(source, start, name, function, bool(match["colon"]))
        takes = bool(match["colon"])
        calls.append(FilterCall(name, function, takes, begin - position, argument))
    rest = _skip_space(source, end)
    if source.startswith("|", rest) and not source.startswith("||", rest):
        refuse(source, rest, gettext('After "|" the name of a filter is missing, as in n|add:1.'))
    if calls and source.startswith(",", rest):
        refuse(source, rest, gettext("A filter takes one value only."))
    return end, tuple(calls)


def _operand_end(source: str, position: int) -> int:
    """Where the text, number or name ends that begins here."""
    if match := _CONSTANT.match(source, position):
        return match.end()
    if match := _NUMBER.match(source, position):
        _check_number(source, position, match[0])
        return match.end()
    if match := _NAME.match(source, position):
        _check_name(source, position, match)
        return match.end()
    return _refuse_character(source, position)


def _check_number(source: str, position: int, text: str) -> None:
    if len(text) > 300 or abs(float(text)) == float("inf"):
        refuse(source, position, gettext("This number is too large."))


def _check_name(source: str, position: int, match: re.Match[str]) -> None:
    first, *parts = match[0].split(".")
    if any(part.startswith("_") for part in (first, *parts)):
        refuse(
            source,
            position,
            gettext('"%(match)s": names that begin with an underscore are private.')
            % {"match": match[0]},
        )
    if parts and first in LITERALS:
        refuse(source, position, gettext('"%(first)s" has no parts to read.') % {"first": first})
    rest = _skip_space(source, match.end())
    if source.startswith("(", rest):
        if first in active_filters() and not parts:
            refuse(
                source,
                position,
                gettext("Write x|%(first)s instead of %(first)s(x).") % {"first": first},
            )
        refuse(
            source,
            rest,
            gettext('"%(match)s" cannot be called; filters do that, as in x|length.')
            % {"match": match[0]},
        )


def _refuse_unknown_filter(source: str, position: int, name: str) -> NoReturn:
    close = difflib.get_close_matches(name, active_filters(), n=3)
    advice = " " + did_you_mean(close) if close else ""
    refuse(
        source,
        position,
        gettext('There is no filter "%(name)s".%(advice)s') % {"name": name, "advice": advice},
    )


def _check_argument(source: str, position: int, name: str, function: Filter, given: bool) -> None:
    try:
        FilterExpression.args_check(name, function, [(False, None)] * given)
    except TemplateSyntaxError:
        if given:
            refuse(
                source,
                position,
                gettext('The filter "%(name)s" takes no value after a colon.') % {"name": name},
            )
        refuse(
            source,
            position,
            gettext('The filter "%(name)s" needs a value after a colon (%(name)s:…).')
            % {"name": name},
        )


def _refuse_character(source: str, position: int) -> NoReturn:
    rest = source[position:]
    if rest[0] in "\"'":
        refuse(
            source,
            position,
            gettext("The text that begins here has no closing %(rest)s.") % {"rest": rest[0]},
        )
    if re.match(r"[-+]?\d", rest):
        word = re.match(r"[-+]?[\w.]+", rest)
        refuse(
            source,
            position,
            gettext('"%(word)s" is neither a number nor a name.')
            % {"word": word[0] if word else rest[0]},
        )
    if re.match(r"[^\W\d][\w.]*\.", rest):
        refuse(source, position, gettext("A name may not end in a dot or have two dots in a row."))
    for wrong, advice in _ELSEWHERE:
        if rest.startswith(wrong):
            refuse(source, position, str(advice))
    refuse(source, position, gettext('"%(rest)s" has no meaning here.') % {"rest": rest[0]})
