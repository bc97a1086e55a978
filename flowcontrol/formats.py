"""The values of ``format`` that our JSON Schemas know, and what is checked for each.

A check looks at the text alone. Whether the flow, user or object that it names exists is asked
where the database is at hand: when a draft is checked, and when it is used.

``model-reference`` is written ``app_label.model:key`` (``demo.flight:12``); the key may hold any
text, colons too. A schema may add ``"model": "demo.flight"`` to allow objects of one model only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from functools import cache
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _

from flowcontrol.durations import parse_duration
from flowcontrol.exceptions import ExpressionSyntaxError
from flowcontrol.expressions import compile_expression, compile_template

# ASCII digits only, and only the form that every part of the system reads and writes.
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
_IS_DATE = re.compile(_DATE)
_IS_TIME = re.compile(_TIME)
_OFFSET = r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_IS_DATE_TIME = re.compile(rf"{_DATE}T{_TIME}{_OFFSET}?")

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_IS_MODEL = re.compile(rf"{_NAME}\.{_NAME}")
_IS_TRIGGER = re.compile(r"[A-Za-z0-9_]+(?:[.:-][A-Za-z0-9_]+)*")
_IS_SLUG = re.compile(r"[-A-Za-z0-9_]+")
_IS_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x1f\x7f<>\"{}|\\^`]+")
_HAS_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_format(name: str, text: str) -> None:
    """Raise :class:`ValueError`, in words for authors, if ``text`` is not a ``name``."""
    FORMATS[name](text)


def split_model_reference(text: str) -> tuple[str, str]:
    """``demo.flight:12`` as model and key; raises :class:`ValueError` for anything else."""
    model, colon, key = text.partition(":")
    if not colon or not key.strip() or not _IS_MODEL.fullmatch(model) or _HAS_CONTROL.search(key):
        raise _refusal(_("'%(text)s' names no object (write it like demo.flight:12)"), text)
    return model, key


def is_model_name(text: object) -> bool:
    """Whether ``text`` is written like ``demo.flight``."""
    return isinstance(text, str) and _IS_MODEL.fullmatch(text) is not None


@cache
def time_zones() -> frozenset[str]:
    """The names of all time zones; looked up once, since that reads many files."""
    return frozenset(available_timezones())


def _check_email(text: str) -> None:
    try:
        validate_email(text)
    except ValidationError:
        raise _refusal(_("'%(text)s' is not an email address"), text) from None


def _check_date(text: str) -> None:
    try:
        _full_match(_IS_DATE, text)
        date.fromisoformat(text)
    except ValueError:
        raise _refusal(_("'%(text)s' is not a date (write it like 2013-02-04)"), text) from None


def _check_time(text: str) -> None:
    try:
        _full_match(_IS_TIME, text)
        _refuse_hour_24(text)
        time.fromisoformat(text)
    except ValueError:
        raise _refusal(_("'%(text)s' is not a time of day (write it like 09:30)"), text) from None


def _check_date_time(text: str) -> None:
    try:
        _full_match(_IS_DATE_TIME, text)
        _refuse_hour_24(text[11:])
        datetime.fromisoformat(text)
    except ValueError:
        raise _refusal(
            _("'%(text)s' is not a date and time (write it like 2013-02-04T09:30)"), text
        ) from None


def _check_time_zone(text: str) -> None:
    if text not in time_zones():
        raise _refusal(_("'%(text)s' is not a time zone (write it like America/New_York)"), text)


def _check_duration(text: str) -> None:
    parse_duration(text)


def _check_expression(text: str) -> None:
    try:
        compile_expression(text)
    except ExpressionSyntaxError as error:
        raise ValueError(str(error)) from error


def _check_template(text: str) -> None:
    try:
        compile_template(text)
    except ExpressionSyntaxError as error:
        raise ValueError(str(error)) from error


def _check_uri(text: str) -> None:
    try:
        _full_match(_IS_URI, text)
        parts = urlsplit(text)
        if parts.scheme.lower() in ("http", "https", "ftp") and not parts.hostname:
            raise ValueError("no host")
        if parts.port == 0:  # reading it raises when it is no number
            raise ValueError("no port")
    except ValueError:
        raise _refusal(
            _("'%(text)s' is not a web address (write it like https://example.com/)"), text
        ) from None


def _check_model_reference(text: str) -> None:
    split_model_reference(text)


def _check_user(text: str) -> None:
    if not text or text != text.strip() or _HAS_CONTROL.search(text):
        raise _refusal(_("'%(text)s' is not a user name"), text)


def _check_trigger(text: str) -> None:
    if not _IS_TRIGGER.fullmatch(text):
        raise _refusal(
            _("'%(text)s' is not the name of a trigger (write it like shop.order_paid)"), text
        )


def _check_flow(text: str) -> None:
    if not _IS_SLUG.fullmatch(text):
        raise _refusal(
            _(
                "'%(text)s' is not the short name of a flow "
                "(it has only letters, digits, hyphens and underscores)"
            ),
            text,
        )


def _check_action_target(text: str) -> None:
    if not _IS_SLUG.fullmatch(text):
        raise _refusal(_("'%(text)s' names no row"), text)


def _check_nothing(text: str) -> None:
    """Any text will do."""


FORMATS: Final[Mapping[str, Callable[[str], None]]] = {
    "action-target": _check_action_target,
    "date": _check_date,
    "date-time": _check_date_time,
    "duration": _check_duration,
    "email": _check_email,
    "expression": _check_expression,
    "flow": _check_flow,
    "model-reference": _check_model_reference,
    "secret": _check_nothing,
    "template": _check_template,
    "time": _check_time,
    "time-zone": _check_time_zone,
    "trigger": _check_trigger,
    "uri": _check_uri,
    "user": _check_user,
}

NEVER_COMPUTED: Final = frozenset({"expression", "template"})
"""Formats that are evaluated by the action itself, so a value of theirs cannot be computed."""


def _full_match(pattern: re.Pattern[str], text: str) -> None:
    if not pattern.fullmatch(text):
        raise ValueError(text)


def _refuse_hour_24(text: str) -> None:
    # Python 3.13 and later read 24:00 as midnight of the next day, earlier ones refuse it.
    if text.startswith("24"):
        raise ValueError(text)


def _refusal(message: str, text: str) -> ValueError:
    return ValueError(message % {"text": text if len(text) <= 60 else f"{text[:59]}…"})
