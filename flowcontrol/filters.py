"""The filters of flowcontrol's expressions and templates: ``n|add:1``, ``object.email|lower``.

A filter that gets a value it is not made for raises, with words that say what it needs; it never
answers with empty text, 0 or the value unchanged. The first line of each docstring is the help
text that authors see. They are used without being asked for; ``{% load %}`` is not needed.

Numbers are integers, floats and decimals, never true and false. Where a date is needed, its ISO
8601 text (as state keeps dates) does as well; where a duration is needed, so does its ISO text.
"""

from __future__ import annotations

import calendar
import json as json_text
import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import Enum
from functools import reduce
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager
from django.template import Library
from django.utils import formats
from django.utils.functional import Promise
from django.utils.text import Truncator
from django.utils.translation import gettext

from flowcontrol.expressions.json_values import LARGEST_INTEGER_BITS, to_json
from flowcontrol.expressions.lookups import read_part
from flowcontrol.expressions.moments import (
    as_moment,
    aware,
    day_of,
    duration_text,
    is_duration,
    is_moment,
    local,
    moment_text,
    parse_duration,
    parse_moment,
    parse_time,
    same_kind,
)
from flowcontrol.expressions.operators import COMPARISONS, contained, equal
from flowcontrol.expressions.wording import describe

register = Library()

Number: TypeAlias = int | float | Decimal

_MOST_DIGITS: Final = 20
LONGEST_TEXT: Final = 10_000_000


def _named(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a filter under a name that Python already uses for something else."""
    return cast("Callable[[Callable[..., Any]], Callable[..., Any]]", register.filter(name))


# What a filter takes


def _is_number(value: Any) -> bool:
    kind = type(value)
    if kind is int or kind is float:  # nearly always, and much faster to see
        return True
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _number(value: Any) -> Number:
    if _is_number(value):
        return cast(Number, value)
    hint = gettext("; make it one with int or float") if isinstance(value, str) else ""
    raise TypeError(
        gettext("it needs a number, not %(value)s%(hint)s")
        % {"value": describe(value), "hint": hint}
    )


def _whole(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, (float, Decimal)) and value == int(value):
        return int(value)
    raise TypeError(gettext("it needs a whole number, not %(value)s") % {"value": describe(value)})


def _text(value: Any) -> str:
    if isinstance(value, (str, Promise)):
        return str(value)
    hint = gettext("; make it one with str") if _is_number(value) or isinstance(value, date) else ""
    raise TypeError(
        gettext("it needs a text, not %(value)s%(hint)s") % {"value": describe(value), "hint": hint}
    )


def _list(value: Any) -> list[Any]:
    if isinstance(value, BaseManager):
        value = value.all()
    if isinstance(value, (list, tuple, QuerySet)):
        return list(value)
    raise TypeError(gettext("it needs a list, not %(value)s") % {"value": describe(value)})


def _record(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise TypeError(gettext("it needs a record, not %(value)s") % {"value": describe(value)})


def _moment(value: Any) -> date:
    """A date, or a moment with its zone, from itself or its text."""
    if isinstance(value, (str, date)):
        return as_moment(value)
    raise TypeError(gettext("it needs a date, not %(value)s") % {"value": describe(value)})


def _moment_with_time(value: Any) -> datetime:
    moment = _moment(value)
    if isinstance(moment, datetime):
        return moment
    raise TypeError(
        gettext('%(value)s has no time of day; give it one with at:"09:00"')
        % {"value": describe(value)}
    )


def _length_of_time(value: Any) -> timedelta:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta):
        return value
    raise TypeError(gettext("it needs a duration, not %(value)s") % {"value": describe(value)})


def _is_duration(value: Any) -> bool:
    return isinstance(value, timedelta) or (isinstance(value, str) and is_duration(value))


def _temporal(value: Any) -> date | timedelta | None:
    """The date or duration that a value or its ISO text stands for, None if it is neither."""
    if isinstance(value, str):
        if is_moment(value):
            return as_moment(value)
        return parse_duration(value) if is_duration(value) else None
    if isinstance(value, timedelta):
        return value
    return as_moment(value) if isinstance(value, date) else None


def _pair(value: Any, other: Any) -> tuple[Any, Any]:
    """Two numbers that can be calculated with: a float that meets a decimal becomes one."""
    value, other = _number(value), _number(other)
    if isinstance(value, Decimal) and isinstance(other, float):
        return value, Decimal(repr(other))
    if isinstance(value, float) and isinstance(other, Decimal):
        return Decimal(repr(value)), other
    return value, other


def _finite(number: Any) -> Any:
    """The number, unless it left the range of what can be kept."""
    if isinstance(number, int):
        too_large = number.bit_length() > LARGEST_INTEGER_BITS
    else:
        too_large = not math.isfinite(number)
    if too_large:
        raise ValueError(gettext("the result is too large"))
    return number


def _bounded(text_length: int) -> None:
    """Refuse a text that would be too long, before a few filters in a row fill the memory."""
    if text_length > LONGEST_TEXT:
        raise ValueError(gettext("the result is too large"))


def _short(number: Any) -> Any:
    """A float without a fraction as an integer: 6 divided by 2 is 3."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 2**53:
        return int(number)
    return number


# Arithmetic


@register.filter
def add(value: Any, other: Any) -> Any:
    """Adds a number to a number, a duration to a date, a text to a text or a list to a list."""
    if type(value) is type(other) is int or (_is_number(value) and _is_number(other)):
        return _finite(operator.add(*_pair(value, other)))
    first, second = _temporal(value), _temporal(other)
    if first is not None and second is not None:
        if isinstance(second, timedelta):
            return first + second if isinstance(first, timedelta) else _moved(first, second)
        if isinstance(first, timedelta):
            return _moved(second, first)
    if isinstance(value, (str, Promise)) and isinstance(other, (str, Promise)):
        text, more = str(value), str(other)
        _bounded(len(text) + len(more))
        return text + more
    if isinstance(value, list) and isinstance(other, list):
        return value + other
    raise TypeError(
        gettext("%(other)s cannot be added to %(value)s")
        % {"other": describe(other), "value": describe(value)}
    )


@register.filter
def subtract(value: Any, other: Any) -> Any:
    """Takes a number from a number or a duration from a date; two dates give the time between."""
    if _is_number(value) and _is_number(other):
        return _finite(operator.sub(*_pair(value, other)))
    first, second = _temporal(value), _temporal(other)
    if first is not None and second is not None:
        if isinstance(second, timedelta):
            return first - second if isinstance(first, timedelta) else _moved(first, -second)
        if not isinstance(first, timedelta):
            later, earlier = same_kind(first, second)
            return later - earlier
    raise TypeError(
        gettext("%(other)s cannot be subtracted from %(value)s")
        % {"other": describe(other), "value": describe(value)}
    )


@register.filter
def multiply(value: Any, factor: Any) -> Any:
    """Multiplies a number, or a duration by a number."""
    if _is_duration(value):
        return _length_of_time(value) * float(_number(factor))
    return _finite(operator.mul(*_pair(value, factor)))


@register.filter
def divide(value: Any, divisor: Any) -> Any:
    """Divides a number or a duration by a number, or a duration by a duration."""
    if _is_duration(value):
        if _is_duration(divisor):
            return _short(_length_of_time(value) / _nonzero(_length_of_time(divisor)))
        return _length_of_time(value) / float(_nonzero(_number(divisor)))
    value, divisor = _pair(value, divisor)
    if isinstance(value, int) and isinstance(divisor, int) and divisor and not value % divisor:
        return value // divisor
    return _short(_finite(value / _nonzero(divisor)))


@register.filter
def modulo(value: Any, divisor: Any) -> Any:
    """Gives what remains after dividing: 7|modulo:2 is 1."""
    value, divisor = _pair(value, divisor)
    rest = value % _nonzero(divisor)
    if isinstance(rest, Decimal) and rest and (rest < 0) != (divisor < 0):
        return rest + divisor  # Python gives decimals another sign than other numbers
    return rest


def _nonzero(divisor: Any) -> Any:
    if not divisor:
        raise ValueError(gettext("nothing can be divided by zero"))
    return divisor


@_named("abs")
def absolute(value: Any) -> Any:
    """Leaves out the minus sign of a number or a duration."""
    return abs(_length_of_time(value) if _is_duration(value) else _number(value))


@_named("round")
def rounded(value: Any, digits: Any = 0) -> Any:
    """Rounds a number, to as many decimal places as given; halves go away from zero."""
    value, digits = _number(value), _whole(digits)
    if abs(digits) > _MOST_DIGITS:
        raise ValueError(
            gettext("it rounds to at most %(count)s decimal places") % {"count": _MOST_DIGITS}
        )
    result = _quantized(value, digits)
    if digits <= 0 or isinstance(value, int):
        return int(result)
    return float(result) if isinstance(value, float) else result


def _quantized(value: Number, digits: int) -> Decimal:
    exact = Decimal(str(_finite(value)))
    return exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, Context(prec=700))


@register.filter
def floor(value: Any) -> int:
    """Rounds a number down to a whole one."""
    return math.floor(cast(float, _finite(_number(value))))


@register.filter
def ceil(value: Any) -> int:
    """Rounds a number up to a whole one."""
    return math.ceil(cast(float, _finite(_number(value))))


@_named("min")
def smallest(value: Any, other: Any = ...) -> Any:
    """Gives the smaller of two values, or the smallest of a list (null if it is empty)."""
    return _extreme("<", value, other)


@_named("max")
def largest(value: Any, other: Any = ...) -> Any:
    """Gives the larger of two values, or the largest of a list (null if it is empty)."""
    return _extreme(">", value, other)


def _extreme(symbol: str, value: Any, other: Any) -> Any:
    values = _list(value) if other is ... else [value, other]
    goes_first = COMPARISONS[symbol]
    if len(values) == 1:
        goes_first(values[0], values[0])  # something without an order is refused here too
    return reduce(lambda a, b: b if goes_first(b, a) else a, values) if values else None


@_named("sum")
def total(value: Any) -> Any:
    """Adds up a list of numbers or durations; an empty list gives 0."""
    items = _list(value)
    if items and _is_duration(items[0]):
        return reduce(operator.add, map(_length_of_time, items))
    return reduce(lambda a, b: add(a, _number(b)), items, 0)


@register.filter
def average(value: Any) -> Any:
    """Gives the mean of a list of numbers or durations (null if it is empty)."""
    items = _list(value)
    return divide(total(items), len(items)) if items else None


# Making one kind of value from another


@_named("int")
def to_int(value: Any) -> int:
    """Makes a whole number from a text, or drops the fraction of a number."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        if re.fullmatch(r"\s*[-+]?[0-9]{1,300}\s*", value) is None:
            raise ValueError(
                gettext("%(value)s is not a whole number") % {"value": describe(value)}
            )
        return int(value)
    return int(_finite(_number(value)))


@_named("float")
def to_float(value: Any) -> float:
    """Makes a number with a fraction from a text such as "1.5" or from a number."""
    if isinstance(value, str):
        if (
            re.fullmatch(r"\s*[-+]?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?\s*", value, re.IGNORECASE)
            is None
        ):
            raise ValueError(gettext("%(value)s is not a number") % {"value": describe(value)})
        return cast(float, _finite(float(value)))
    return cast(float, _finite(float(_number(value))))


@_named("str")
def to_str(value: Any) -> str:
    """Makes a text from a number, a date, a duration, true or false."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal() | str() | Promise():
            return str(value)
        case date() | timedelta() | time():
            return isoformat(value)
        case Model() | UUID() | Enum():
            return str(value)
        case _:
            raise TypeError(
                gettext("%(value)s is no text; use default, join or json")
                % {"value": describe(value)}
            )


@register.filter
def json(value: Any) -> str:
    """Writes any value as JSON text."""
    return json_text.dumps(to_json(value, where="json"), ensure_ascii=False)


@register.filter
def decimals(value: Any, digits: Any = 2) -> str:
    """Writes a number with exactly so many decimal places: 2.5|decimals:2 is "2.50"."""
    places = _whole(digits)
    if not 0 <= places <= _MOST_DIGITS:
        raise ValueError(
            gettext("it writes 0 to %(count)s decimal places") % {"count": _MOST_DIGITS}
        )
    return str(_quantized(_number(value), places))


# Missing values, yes and no


@register.filter
def default(value: Any, instead: Any) -> Any:
    """Gives another value if this one is missing, null, false, 0 or empty."""
    return value or instead


@register.filter
def default_if_none(value: Any, instead: Any) -> Any:
    """Gives another value if this one is missing or null."""
    return instead if value is None else value


@register.filter
def yesno(value: Any, words: Any = "yes,no") -> str:
    """Writes true as "yes" and false as "no", or as two words of your own: "on,off"."""
    if not isinstance(value, bool):
        raise TypeError(
            gettext("it needs true or false, not %(value)s") % {"value": describe(value)}
        )
    yes, comma, no = _text(words).partition(",")
    if not comma or "," in no:
        raise ValueError(gettext('it needs two words with a comma between, as in yesno:"on,off"'))
    return yes if value else no


@register.filter
def pluralize(value: Any, endings: Any = "s") -> str:
    """Gives "s" unless the number or the length of the list is 1; or endings such as "y,ies"."""
    count = _number(value) if _is_number(value) else len(_list(value))
    one, _, many = _text(endings).rpartition(",")
    if "," in one:
        raise ValueError(gettext('it needs one ending or two, as in pluralize:"y,ies"'))
    return one if count == 1 else many


# Text


@register.filter
def lower(value: Any) -> str:
    """Writes a text in small letters."""
    return _text(value).lower()


@register.filter
def upper(value: Any) -> str:
    """Writes a text in capital letters."""
    return _text(value).upper()


@register.filter
def title(value: Any) -> str:
    """Begins each word of a text with a capital letter."""
    # Python takes the s of "it's" for a word.
    return re.sub(r"([a-z])'([A-Z])", lambda match: match[0].lower(), _text(value).title())


@register.filter
def capfirst(value: Any) -> str:
    """Begins a text with a capital letter."""
    text = _text(value)
    return text[:1].upper() + text[1:]


@register.filter
def trim(value: Any) -> str:
    """Removes spaces and line breaks from both ends of a text."""
    return _text(value).strip()


@register.filter
def truncate(value: Any, length: Any) -> str:
    """Cuts a text to so many characters; the last one is then "…"."""
    if _whole(length) < 1:
        raise ValueError(gettext("it needs a length of 1 or more"))
    return str(Truncator(_text(value)).chars(_whole(length)))


@register.filter
def startswith(value: Any, beginning: Any) -> bool:
    """Tells whether a text begins with another."""
    return _text(value).startswith(_text(beginning))


@register.filter
def endswith(value: Any, ending: Any) -> bool:
    """Tells whether a text ends with another."""
    return _text(value).endswith(_text(ending))


@register.filter
def contains(value: Any, part: Any) -> bool:
    """Tells whether a text has a part, a list an item or a record a key: "in" turned round."""
    return contained(part, value)


@register.filter
def replace(value: Any, change: Any) -> str:
    """Replaces a part of a text everywhere: replace:"old=>new"."""
    if isinstance(change, (list, tuple)) and len(change) == 2:
        old, new = change
    else:
        old, arrow, new = _text(change).partition("=>")
        if not arrow:
            raise ValueError(gettext('it needs the old and the new part, as in replace:"old=>new"'))
    if not _text(old):
        raise ValueError(gettext("the part to replace is empty"))
    text = _text(value)
    _bounded(len(text) + text.count(_text(old)) * (len(_text(new)) - len(_text(old))))
    return text.replace(_text(old), _text(new))


@register.filter
def split(value: Any, separator: Any = None) -> list[str]:
    """Makes a list from a text, cut at each separator, or else at spaces and line breaks."""
    if separator is None:
        return _text(value).split()
    if not _text(separator):
        raise ValueError(gettext("the separator is empty"))
    return _text(value).split(_text(separator))


@register.filter
def lines(value: Any) -> list[str]:
    """Makes a list of the lines of a text."""
    return _text(value).splitlines()


@register.filter
def urlencode(value: Any) -> str:
    """Writes a text so that it can be part of a web address."""
    return quote(_text(value), safe="")


# Lists and records


@register.filter
def length(value: Any) -> int:
    """Counts the characters of a text, the items of a list or the keys of a record."""
    if isinstance(value, BaseManager):
        value = value.all()
    if isinstance(value, QuerySet):
        return value.count()
    if isinstance(value, (str, list, tuple, Mapping)):
        return len(value)
    raise TypeError(
        gettext("it needs a text, a list or a record, not %(value)s") % {"value": describe(value)}
    )


@register.filter
def first(value: Any) -> Any:
    """Gives the first item of a list or character of a text (null if there is none)."""
    return next(iter(_sequence(value)[:1]), None)


@register.filter
def last(value: Any) -> Any:
    """Gives the last item of a list or character of a text (null if there is none)."""
    items = _sequence(value)
    if isinstance(items, QuerySet):
        return items.last()
    return items[-1] if items else None


@_named("slice")
def part_of(value: Any, bounds: Any) -> Any:
    """Gives a part of a list or text: slice:"1:3" without the first, up to the third."""
    if _is_number(bounds):
        return _sequence(value)[: _whole(bounds)]
    match = re.fullmatch(r"(-?[0-9]{1,9})?:(-?[0-9]{1,9})?", _text(bounds).replace(" ", ""))
    if match is None:
        raise ValueError(gettext('it needs a beginning and an end, as in slice:"1:3"'))
    begin, end = (int(bound) if bound else None for bound in match.groups())
    return _sequence(value)[begin:end]


@register.filter
def reverse(value: Any) -> Any:
    """Turns the order of a list or text round."""
    return str(value)[::-1] if isinstance(value, (str, Promise)) else _list(value)[::-1]


def _sequence(value: Any) -> Any:
    """A text, a list, or rows that are still in the database: all can be cut."""
    if isinstance(value, BaseManager):
        return value.all()
    if isinstance(value, (str, Promise)):
        return str(value)
    return value if isinstance(value, QuerySet) else _list(value)


@register.filter
def join(value: Any, separator: Any = ", ") -> str:
    """Makes a text from a list, with ", " or another text between the items."""
    items = [to_str(item) for item in _list(value)]
    _bounded(sum(map(len, items)) + len(_text(separator)) * len(items))
    return _text(separator).join(items)


@register.filter
def append(value: Any, item: Any) -> list[Any]:
    """Gives a list with one item more at its end."""
    return [*_list(value), item]


@register.filter
def without(value: Any, item: Any) -> list[Any]:
    """Gives a list without the items that equal this one."""
    return [other for other in _list(value) if not equal(other, item)]


@register.filter
def unique(value: Any) -> list[Any]:
    """Gives a list with each item once, in the order of its first appearance."""
    seen: set[Any] = set()
    result = []
    for item in _list(value):
        key = _identity(item)
        if key not in seen:
            seen.add(key)
            result.append(item)
    return result


def _identity(item: Any) -> Any:
    """What two items have in common exactly if they are equal; true and 1 are not."""
    if isinstance(item, bool):
        return ("bool", item)
    if isinstance(item, (list, tuple, Mapping)):
        return ("json", json_text.dumps(to_json(item, where="unique"), sort_keys=True))
    return item


@register.filter
def each(value: Any, name: Any) -> list[Any]:
    """Gives one field of each item of a list: flights|each:"number"."""
    return [_field(item, _text(name)) for item in _list(value)]


def _field(item: Any, path: str) -> Any:
    for part in path.split("."):
        if item is None:
            return None
        item = read_part(item, part)
    return item


@register.filter
def sort(value: Any, name: Any = None) -> list[Any]:
    """Sorts a list, or a list of records by a field; "-field" sorts downwards."""
    path = "" if name is None else _text(name)
    field = path.removeprefix("-")
    return sorted(
        _list(value),
        key=lambda item: _Ordered(_field(item, field) if field else item),
        reverse=path.startswith("-"),
    )


class _Ordered:
    """A value with the language's own "<", which knows dates and refuses a mixture."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Ordered) -> bool:
        return bool(COMPARISONS["<"](self.value, other.value))


@register.filter
def keys(value: Any) -> list[str]:
    """Lists the keys of a record."""
    return list(_record(value).keys())


@register.filter
def values(value: Any) -> list[Any]:
    """Lists the values of a record."""
    return list(_record(value).values())


@register.filter
def items(value: Any) -> list[list[Any]]:
    """Lists the keys of a record with their values, in pairs."""
    return [[key, item] for key, item in _record(value).items()]


@register.filter
def get(value: Any, key: Any) -> Any:
    """Gives the value under a key of a record or at a place of a list, from 0 (or null)."""
    if isinstance(value, Mapping):
        return value.get(_text(key))
    places, place = _list(value), _whole(key)
    return places[place] if -len(places) <= place < len(places) else None


# Dates


@_named("date")
def date_text(value: Any, pattern: Any = None) -> str:
    """Writes a date as text: date:"d.m.Y H:i" (letters as in Django's date filter)."""
    if isinstance(value, time):
        return str(formats.time_format(value, _pattern(pattern)))
    moment = _moment(value)
    if isinstance(moment, datetime):
        moment = local(moment)
    return str(formats.date_format(moment, _pattern(pattern)))


def _pattern(pattern: Any) -> str | None:
    return None if pattern is None else _text(pattern)


@_named("time")
def time_text(value: Any, pattern: Any = None) -> str:
    """Writes the time of day of a date as text: time:"H:i"."""
    if isinstance(value, str) and not is_moment(value):
        value = parse_time(value)
    if not isinstance(value, time):
        value = local(_moment_with_time(value))
    return str(formats.time_format(value, _pattern(pattern)))


@register.filter
def to_datetime(value: Any, zone: Any = None) -> datetime:
    """Makes a moment from text or a date; without a zone in it, it is taken in this time zone."""
    moment = parse_moment(value) if isinstance(value, str) else value
    if not isinstance(moment, date):
        raise TypeError(gettext("it needs a date, not %(value)s") % {"value": describe(value)})
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if moment.tzinfo is None and zone is not None:
        return moment.replace(tzinfo=_zone(zone))
    return aware(moment)


@register.filter
def to_date(value: Any) -> date:
    """Gives the day of a moment, without the time."""
    return day_of(_moment(value))


@register.filter
def at(value: Any, clock: Any) -> datetime:
    """Gives the moment at a time of day on the day of a date: today|at:"09:00"."""
    moment = _moment(value)
    if not isinstance(clock, time):
        clock = parse_time(_text(clock))
    day = datetime.combine(day_of(moment), clock)
    return day.replace(tzinfo=local(moment).tzinfo) if isinstance(moment, datetime) else aware(day)


@register.filter
def in_zone(value: Any, zone: Any) -> datetime:
    """Reads a moment on the clock of another time zone: now|in_zone:"Europe/Paris"."""
    return _moment_with_time(value).astimezone(_zone(zone))


def _zone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(_text(name))
    except (KeyError, ValueError, OSError):
        raise ValueError(
            gettext('there is no time zone %(name)s; write it as "Europe/Paris" or "UTC"')
            % {"name": repr(name)}
        ) from None


@register.filter
def add_days(value: Any, count: Any) -> date:
    """Moves a date by days, keeping the time of day (a day may have 23 or 25 hours)."""
    moment = _moment(value)
    on_the_clock = local(moment) if isinstance(moment, datetime) else moment
    return on_the_clock + timedelta(days=_whole(count))


@register.filter
def add_months(value: Any, count: Any) -> date:
    """Moves a date by months; where the day does not exist, to the last one of the month."""
    moment = _moment(value)
    on_the_clock = local(moment) if isinstance(moment, datetime) else moment
    year, month = divmod(on_the_clock.year * 12 + on_the_clock.month - 1 + _whole(count), 12)
    if not 1 <= year <= 9999:
        raise ValueError(gettext("the year %(year)s is out of range") % {"year": year})
    day = min(on_the_clock.day, calendar.monthrange(year, month + 1)[1])
    return on_the_clock.replace(year=year, month=month + 1, day=day)


def _moved(moment: date, length: timedelta) -> date:
    """The date so much later; a length is exact, so the clock may change over a clock change."""
    if isinstance(moment, datetime):
        zone = moment.tzinfo
        return (moment.astimezone(UTC) + length).astimezone(zone)
    if length % timedelta(days=1):
        raise TypeError(
            gettext(
                '%(moment)s has no time of day to move by %(length)s; give it one with at:"09:00"'
            )
            % {"moment": describe(moment), "length": duration_text(length)}
        )
    return moment + length


@register.filter
def year(value: Any) -> int:
    """Gives the year of a date."""
    return day_of(_moment(value)).year


@register.filter
def month(value: Any) -> int:
    """Gives the month of a date as a number, 1 to 12."""
    return day_of(_moment(value)).month


@register.filter
def day(value: Any) -> int:
    """Gives the day of the month of a date, 1 to 31."""
    return day_of(_moment(value)).day


@register.filter
def weekday(value: Any) -> int:
    """Gives the day of the week of a date as a number: 1 is Monday, 7 is Sunday."""
    return day_of(_moment(value)).isoweekday()


@register.filter
def hour(value: Any) -> int:
    """Gives the hour of a moment, 0 to 23."""
    return value.hour if isinstance(value, time) else local(_moment_with_time(value)).hour


@register.filter
def minute(value: Any) -> int:
    """Gives the minute of a moment, 0 to 59."""
    return value.minute if isinstance(value, time) else local(_moment_with_time(value)).minute


@register.filter
def isoformat(value: Any) -> str:
    """Writes a date, time or duration as ISO 8601 text, as state keeps it."""
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, time):
        return value.isoformat()
    moment = _moment(value)
    if isinstance(moment, datetime) and not isinstance(moment.tzinfo, ZoneInfo):
        return moment_text(moment)
    return moment.isoformat()


# Durations


@register.filter
def duration(value: Any) -> timedelta:
    """Makes a duration from ISO 8601 text: "PT2H30M" is two and a half hours."""
    return _length_of_time(value)


@register.filter
def weeks(value: Any) -> timedelta:
    """Makes a duration of so many weeks."""
    return timedelta(weeks=float(_number(value)))


@register.filter
def days(value: Any) -> timedelta:
    """Makes a duration of so many days of 24 hours."""
    return timedelta(days=float(_number(value)))


@register.filter
def hours(value: Any) -> timedelta:
    """Makes a duration of so many hours."""
    return timedelta(hours=float(_number(value)))


@register.filter
def minutes(value: Any) -> timedelta:
    """Makes a duration of so many minutes."""
    return timedelta(minutes=float(_number(value)))


@register.filter
def seconds(value: Any) -> timedelta:
    """Makes a duration of so many seconds."""
    return timedelta(seconds=float(_number(value)))


@register.filter
def in_days(value: Any) -> Any:
    """Gives a duration as a number of days of 24 hours."""
    return _short(_length_of_time(value) / timedelta(days=1))


@register.filter
def in_hours(value: Any) -> Any:
    """Gives a duration as a number of hours."""
    return _short(_length_of_time(value) / timedelta(hours=1))


@register.filter
def in_minutes(value: Any) -> Any:
    """Gives a duration as a number of minutes."""
    return _short(_length_of_time(value) / timedelta(minutes=1))


@register.filter
def in_seconds(value: Any) -> Any:
    """Gives a duration as a number of seconds."""
    return _short(_length_of_time(value) / timedelta(seconds=1))
