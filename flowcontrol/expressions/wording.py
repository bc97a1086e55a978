"""How values are spoken of in messages to people who do not program."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import Error as DatabaseTrouble
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext

from flowcontrol.exceptions import ClaimLost, RetryLater
from flowcontrol.expressions.moments import duration_text

LONGEST_TEXT = 60
MOST_KEYS = 5


#: Raised while evaluating, these are nobody's mistake in the expression: they pass through as they
#: are, so that the step is tried again, or dropped.
PASSING: Final = (DatabaseTrouble, ClaimLost, RetryLater)


class Refusal(Exception):
    """Why an expression has no value, in words.

    Inside the language only: `Expression.evaluate` turns it into an `ExpressionError` that also
    names the expression and the values it read.
    """


def describe(value: Any) -> str:
    """The value as part of a sentence: ``the number 5``, ``the text "late"``, ``a list of 3``."""
    match value:
        case None:
            return gettext("nothing (null)")
        case bool():
            return "true" if value else "false"  # as they are written
        case int() | float() | Decimal():
            return gettext("the number %(number)s") % {"number": _number(value)}
        case str() | Promise():
            return gettext("the text %(text)s") % {"text": _quoted(str(value))}
        case datetime() | date():
            return gettext("the date %(date)s") % {"date": value.isoformat()}
        case time():
            return gettext("the time %(time)s") % {"time": value.isoformat()}
        case timedelta():
            return gettext("the duration %(length)s") % {"length": duration_text(value)}
        case list() | tuple() | set() | frozenset():
            count = len(value)
            return ngettext("a list of %(count)d", "a list of %(count)d", count) % {"count": count}
        case dict():
            keys = ", ".join(str(key) for key in list(value)[:MOST_KEYS])
            more = ", …" if len(value) > MOST_KEYS else ""
            told = gettext("a record with the keys %(keys)s") % {"keys": f"{keys}{more}"}
            return told if keys else gettext("an empty record")
        case Model():
            return f"{value._meta.object_name} {value.pk}"
        case QuerySet() | BaseManager():
            return gettext("rows of %(model)s") % {"model": value.model._meta.object_name}
        case UUID():
            return gettext("the id %(id)s") % {"id": value}
        case _:
            return gettext("a Python %(type)s") % {"type": type(value).__name__}


def summary(value: Any) -> Any:
    """The value as JSON, for the record of an error: short, and never asks the database."""
    match value:
        case None | bool():
            return value
        case int() | float():
            return value if abs(value) < 1e16 else _number(value)
        case str() | Promise():
            text = str(value)
            return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return duration_text(value)
        case _:
            return describe(value)


def reason(error: Exception) -> str:
    """What went wrong, from any exception: the bare text where it was written to be read."""
    if isinstance(error, (Refusal, TypeError, ValueError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _quoted(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + "…"
    return json.dumps(text, ensure_ascii=False)


def _number(value: float | Decimal) -> str:
    # An integer of thousands of digits refuses to become text at all.
    if isinstance(value, int) and value.bit_length() > 200:
        digits = value.bit_length() * 30103 // 100000
        return gettext("of about %(count)d digits") % {"count": digits}
    return str(value)
