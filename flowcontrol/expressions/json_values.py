"""What may enter a run's state: JSON, in the one form in which it comes back from any database."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager
from django.utils.functional import Promise
from django.utils.translation import gettext

from flowcontrol.exceptions import NotJSON
from flowcontrol.expressions.moments import duration_text, moment_text

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

DEEPEST_NESTING: Final = 100
#: As many binary digits as the largest float; far below what JSON parsers and databases refuse.
LARGEST_INTEGER_BITS: Final = 1024
#: From here on a float is written with an exponent, and PostgreSQL hands it back as an integer.
_WHOLE_FLOATS_FROM: Final = 1e16
_PLAIN_INTEGER: Final = 2**63

_Path: TypeAlias = tuple[str | int, ...]


def to_json(value: Any, *, where: str | Promise) -> JSON:
    """A copy of the value that may enter state, or NotJSON, which says at which place of ``where``.

    Dates become UTC ISO 8601 text, durations ISO 8601 text (``PT2H``), ids and translated texts
    text, tuples lists; a Decimal becomes an integer if it is whole, else a float.
    """
    return _plain(value, where, ())


def texts_in(value: Any) -> Iterator[str]:
    """The texts inside a JSON value, from the first to the last; not the keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_in(inner)


def _plain(value: Any, where: str | Promise, path: _Path) -> JSON:
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str:
        if value.isascii() and "\x00" not in value:
            return value  # type: ignore[no-any-return]
    elif kind is int:
        if -_PLAIN_INTEGER < value < _PLAIN_INTEGER:
            return value  # type: ignore[no-any-return]
    elif len(path) > DEEPEST_NESTING:
        raise _refused(value, where, path, gettext("it is nested too deeply, or contains itself."))
    elif kind is dict or isinstance(value, dict):
        return {
            _key(key, value, where, path): _plain(item, where, (*path, key))
            for key, item in value.items()
        }
    elif isinstance(value, (list, tuple)):
        return [_plain(item, where, (*path, index)) for index, item in enumerate(value)]
    return _scalar(value, where, path)


def _scalar(value: Any, where: str | Promise, path: _Path) -> JSON:
    match value:
        case str() | Promise():
            return _text(str.__str__(value) if isinstance(value, str) else str(value), where, path)
        case int():
            if value.bit_length() > LARGEST_INTEGER_BITS:
                raise _refused(value, where, path, gettext("the number is too large."))
            return int(value)
        case float():
            return _float(float(value), where, path)
        case Decimal():
            return _decimal(value, where, path)
        case datetime():
            try:
                return moment_text(value)
            except OverflowError:
                raise _refused(value, where, path, gettext("the date is out of range.")) from None
        case date() | time():
            return value.isoformat()
        case timedelta():
            return duration_text(value)
        case UUID():
            return str(value)
        case _:
            raise _refused(value, where, path, _advice(value))


def _key(key: Any, owner: Any, where: str | Promise, path: _Path) -> str:
    if type(key) is str and key.isascii() and "\x00" not in key:
        return key
    if not isinstance(key, str):
        raise _refused(
            owner,
            where,
            path,
            gettext("its keys have to be text, and %(key)s is %(article)s.")
            % {"key": repr(key), "article": _article(key)},
        )
    return _text(str.__str__(key), where, path)


def _text(text: str, where: str | Promise, path: _Path) -> str:
    if "\x00" in text:
        raise _refused(text, where, path, gettext("the text contains the character NUL (\\u0000)."))
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused(
            text, where, path, gettext("the text contains half of a character.")
        ) from None
    return text


def _float(number: float, where: str | Promise, path: _Path) -> JSON:
    if not math.isfinite(number):
        raise _refused(
            number,
            where,
            path,
            gettext("%(number)s is no number that JSON knows.") % {"number": number},
        )
    if abs(number) >= _WHOLE_FLOATS_FROM:
        return int(number)
    return number + 0.0  # JSON has no negative zero that would come back


def _decimal(number: Decimal, where: str | Promise, path: _Path) -> JSON:
    if not number.is_finite() or abs(number.adjusted()) > 300:
        raise _refused(
            number,
            where,
            path,
            gettext("%(number)s is no number that JSON can keep.") % {"number": number},
        )
    if number == number.to_integral_value():
        return int(number)
    return _float(float(number), where, path)


def _advice(value: Any) -> str:
    if isinstance(value, Model):
        told = gettext("%(value)s is a row of the database; keep its pk instead.")
        return told % {"value": _article(value)}
    if isinstance(value, (QuerySet, BaseManager)):
        return gettext("rows of the database cannot be kept; keep their keys, or their count.")
    if isinstance(value, (set, frozenset)):
        return gettext("a set has no order; make it a list.")
    told = gettext("%(value)s is none of text, number, true, false, null, list and record.")
    return told % {"value": _article(value)}


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _refused(value: Any, where: str | Promise, path: _Path, why: str) -> NotJSON:
    inside = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    inside = inside.lstrip(".")
    if inside:
        where = gettext("%(value)s at %(place)s") % {"value": where, "place": inside}
    return NotJSON(f"{where}: {why}", path=inside, value_type=type(value).__name__)
