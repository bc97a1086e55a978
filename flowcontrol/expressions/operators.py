"""Comparing two values: as Python does, but dates with their text, and never silently.

``==`` and ``!=`` answer for any two values, except that a text which is no date cannot be compared
with a date. ``<`` and its kin refuse what has no order: nothing, true and false, text with numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db.models.manager import BaseManager
from django.utils.functional import Promise
from django.utils.translation import gettext

from flowcontrol.expressions.moments import (
    is_duration,
    is_moment,
    parse_duration,
    parse_moment,
    parse_time,
    same_kind,
)
from flowcontrol.expressions.wording import Refusal, describe

Comparison = Callable[[Any, Any], Any]

#: Types that state holds as text, and Decimal, which needs help to meet a float.
_TO_BE_ALIGNED: Final = (date, time, timedelta, UUID, Decimal, Promise)


def equal(left: Any, right: Any) -> bool:
    """``left == right``, where dates, durations and ids equal the text that stands for them."""
    if type(left) is str and type(right) is str:
        return left == right or operator.eq(*_read(left, right))
    if isinstance(left, _TO_BE_ALIGNED) or isinstance(right, _TO_BE_ALIGNED):
        # An empty text is a date that nobody has filled in yet: not equal, and no mistake.
        if left == "" or right == "":
            return bool(left == right)
        left, right = _aligned(left, right)
    return bool(left == right)


def unequal(left: Any, right: Any) -> bool:
    """The opposite of `equal`."""
    return not equal(left, right)


def same(left: Any, right: Any) -> bool:
    """``left is right`` for values that have been through JSON: equal and of the same kind.

    Python's own ``is`` would ask whether two texts sit at the same place in memory, which changes
    from one run to the next.
    """
    return _kind(left) == _kind(right) and equal(left, right)


def not_same(left: Any, right: Any) -> bool:
    """The opposite of `same`."""
    return not same(left, right)


def contained(item: Any, container: Any) -> bool:
    """``item in container``: a part of a text, an item of a list, a key of a record, a row."""
    if isinstance(container, BaseManager):
        container = container.all()
    try:
        if isinstance(container, (list, tuple)) and isinstance(item, (str, *_TO_BE_ALIGNED)):
            return item in container or any(equal(item, other) for other in container)
        return item in container
    except TypeError:
        is_record = isinstance(container, Mapping)
        what = gettext("keys") if is_record else gettext("a text, a list or a record")
        raise Refusal(
            gettext('"in" needs %(what)s to look in; it cannot look for %(item)s in %(container)s.')
            % {"what": what, "item": describe(item), "container": describe(container)}
        ) from None


def not_contained(item: Any, container: Any) -> bool:
    """The opposite of `contained`."""
    return not contained(item, container)


def _ordering(symbol: str, compare: Comparison) -> Comparison:
    def ordered(left: Any, right: Any) -> Any:
        a, b = left, right
        if isinstance(a, _TO_BE_ALIGNED) or isinstance(b, _TO_BE_ALIGNED):
            a, b = _aligned(a, b)
        elif isinstance(a, str) and isinstance(b, str):
            a, b = _read(a, b)
        if isinstance(a, bool) or isinstance(b, bool):
            raise _without_order(symbol, left, right)
        try:
            return compare(a, b)
        except TypeError:
            raise _without_order(symbol, left, right) from None

    return ordered


def _without_order(symbol: str, left: Any, right: Any) -> Refusal:
    return Refusal(
        gettext('"%(symbol)s" cannot compare %(left)s with %(right)s.')
        % {"symbol": symbol, "left": describe(left), "right": describe(right)}
    )


def _aligned(left: Any, right: Any) -> tuple[Any, Any]:
    """Both values as types that Python can compare, where there are such types."""
    if isinstance(left, Promise):
        left = str(left)
    if isinstance(right, Promise):
        right = str(right)
    left, right = _converted(left, right), _converted(right, left)
    if isinstance(left, date) and isinstance(right, date):
        return same_kind(left, right)
    return left, right


def _read(left: str, right: str) -> tuple[Any, Any]:
    """Two texts as what they stand for, if both are dates or both durations.

    As text, 10:00:00.5Z would come before 10:00:00Z, and PT10H before PT2H.
    """
    try:
        if is_moment(left) and is_moment(right):
            return same_kind(parse_moment(left), parse_moment(right))
        if is_duration(left) and is_duration(right):
            return parse_duration(left), parse_duration(right)
    except (ValueError, OverflowError):
        pass  # the 30th of February, a month: texts like any other
    return left, right


def _converted(value: Any, other: Any) -> Any:
    """The value as the type of the other one, if it is the text or the float that stands for it."""
    if isinstance(value, float) and isinstance(other, Decimal):
        return Decimal(repr(value))
    if isinstance(value, UUID) and isinstance(other, str):
        return str(value)
    if not isinstance(value, str):
        return value
    if isinstance(other, date):
        return parse_moment(value)
    if isinstance(other, timedelta):
        return parse_duration(value)
    if isinstance(other, time):
        return parse_time(value)
    if isinstance(other, UUID):
        return value.lower()
    return value


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return type(value).__name__
    if isinstance(value, (int, float, Decimal)):
        return "number"
    if isinstance(value, (str, Promise, *_TO_BE_ALIGNED)):
        return "text"
    return "other"


COMPARISONS: Final[dict[str, Comparison]] = {
    "==": equal,
    "!=": unequal,
    "is": same,
    "is not": not_same,
    "in": contained,
    "not in": not_contained,
    "<": _ordering("<", operator.lt),
    "<=": _ordering("<=", operator.le),
    ">": _ordering(">", operator.gt),
    ">=": _ordering(">=", operator.ge),
}

#: What the operator does to two numbers, where Python's own answer is the right one.
ON_NUMBERS: Final[dict[str, Comparison]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
