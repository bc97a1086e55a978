"""Dates, times and durations as the language reads and writes them.

Text is ISO 8601: ``2013-02-04``, ``2013-02-04T10:00:00Z``, ``10:30``, ``PT2H30M``. A date and time
without a zone is taken in Django's current time zone. State keeps all of them as such text.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.translation import gettext

from flowcontrol import durations

_MOMENT: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?P<clock>[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?", re.ASCII
)
_TIME: Final = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)


def is_moment(text: str) -> bool:
    """Whether the text is written as an ISO 8601 date, with or without a time of day."""
    # The two cheap tests keep the regular expression away from ordinary texts.
    return len(text) >= 10 and text[4] == "-" and _MOMENT.fullmatch(text) is not None


def is_duration(text: str) -> bool:
    """Whether the text is written as an ISO 8601 duration."""
    _, unsigned = _sign_of(text)
    if not unsigned.startswith("P"):
        return False
    try:
        durations.parse_duration(unsigned)
    except ValueError:
        return False
    return True


def parse_moment(text: str) -> date:
    """A ``datetime`` (as written: with its zone, or without any) or ``date``, or ValueError."""
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            gettext('"%(value)s" is not a date; write it as 2013-02-04 or 2013-02-04T10:00:00Z.')
            % {"value": text}
        )
    try:
        if match["clock"]:
            return datetime.fromisoformat(match[0].replace(",", "."))
        return date.fromisoformat(match[0])
    except ValueError as error:
        raise ValueError(
            gettext('"%(value)s" is not a date of the calendar: %(error)s.')
            % {"value": text, "error": error}
        ) from None


def parse_time(text: str) -> time:
    """A time of day, or ValueError."""
    try:
        if match := _TIME.fullmatch(text.strip()):
            return time.fromisoformat(match[0])
    except ValueError:
        pass
    raise ValueError(
        gettext('"%(value)s" is not a time of day; write it as 09:30.') % {"value": text}
    )


def parse_duration(text: str) -> timedelta:
    """The length of an ISO 8601 duration, or ValueError. A day is 24 hours; months have no length.

    Unlike a duration that is planned, one that is calculated may be negative: ``-PT5M``.
    """
    sign, unsigned = _sign_of(text)
    duration = durations.parse_duration(unsigned)
    if duration.months:
        raise ValueError(
            gettext(
                '"%(value)s" counts in years or months, which differ in length; use '
                "add_months for those"
            )
            % {"value": text}
        )
    return -duration.timedelta if sign == "-" else duration.timedelta


def _sign_of(text: str) -> tuple[str, str]:
    return (text[0], text[1:]) if text.startswith(("-", "+")) else ("", text)


def duration_text(length: timedelta) -> str:
    """The duration in ISO 8601, as short as it goes: ``PT2H``, ``-P1DT0.5S``, ``PT0S``."""
    exact = abs(length)
    time_of_day = timedelta(seconds=exact.seconds, microseconds=exact.microseconds)
    text = durations.format_duration(durations.Duration(days=exact.days, time=time_of_day))
    return f"-{text}" if length < timedelta(0) else text


def moment_text(moment: datetime) -> str:
    """The moment as UTC ISO 8601 text ending in Z; microseconds only when there are any."""
    return aware(moment).astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def aware(moment: datetime) -> datetime:
    """The same moment with a zone; one without is taken in Django's current time zone."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.get_current_timezone())
    return moment


def local(moment: datetime) -> datetime:
    """The moment on the clock that people read it by.

    A moment that carries a named zone (``in_zone`` gives it one) keeps it. Everything else, such
    as what the database and ISO text hold, is read in Django's current time zone.
    """
    moment = aware(moment)
    if isinstance(moment.tzinfo, ZoneInfo):
        return moment
    return moment.astimezone(timezone.get_current_timezone())


def as_moment(value: str | date) -> date:
    """The ``datetime`` (with a zone) or ``date`` that a value or its ISO text stands for."""
    if isinstance(value, str):
        value = parse_moment(value)
    return aware(value) if isinstance(value, datetime) else value


def day_of(moment: date) -> date:
    """The calendar day of a date or of a moment, on the clock of `local`."""
    return local(moment).date() if isinstance(moment, datetime) else moment


def same_kind(left: date, right: date) -> tuple[date, date]:
    """Both as moments, or both as days when one of them has no time of day."""
    if isinstance(left, datetime) and isinstance(right, datetime):
        # In UTC, because Python compares two moments of one zone by their clocks alone.
        return aware(left).astimezone(UTC), aware(right).astimezone(UTC)
    return day_of(left), day_of(right)
