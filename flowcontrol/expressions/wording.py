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
            return "nothing (null)"
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():
            return f"the number {_number(value)}"
        case str() | Promise():
            return f"the text {_quoted(str(value))}"
        case datetime() | date():
            return f"the date {value.isoformat()}"
        case time():
            return f"the time {value.isoformat()}"
        case timedelta():
            return f"the duration {duration_text(value)}"
        case list() | tuple() | set() | frozenset():
            return f"a list of {len(value)}"
        case dict():
            keys = ", ".join(str(key) for key in list(value)[:MOST_KEYS])
            more = ", …" if len(value) > MOST_KEYS else ""
            return f"a record with the keys {keys}{more}" if keys else "an empty record"
        case Model():
            return f"{value._meta.object_name} {value.pk}"
        case QuerySet() | BaseManager():
            return f"rows of {value.model._meta.object_name}"
        case UUID():
            return f"the id {value}"
        case _:
            return f"a Python {type(value).__name__}"


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
        return f"of about {value.bit_length() * 30103 // 100000} digits"
    return str(value)
