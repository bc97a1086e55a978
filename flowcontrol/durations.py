"""Lengths of time as people plan them, written as ISO 8601 durations (``P1M``, ``PT2H30M``).

Months and days stay apart from hours: "in one day" means the same time tomorrow, which is 23 or 25
hours away when the clocks change, and a month has no fixed length at all. Who adds a duration to a
moment adds ``months`` and ``days`` on the calendar and ``time`` on the clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

# Longer ones lead out of the calendar that Python knows.
MAX_MONTHS: Final = 9_999 * 12
MAX_DAYS: Final = 9_999 * 366

_NUMBER = r"([0-9]{1,12}(?:[.,][0-9]{1,12})?)"
_WEEKS = re.compile(rf"P{_NUMBER}W")
_PARTS = re.compile(
    rf"P(?:{_NUMBER}Y)?(?:{_NUMBER}M)?(?:{_NUMBER}D)?"
    rf"(T(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?"
)
_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Duration:
    """Calendar months, calendar days, and an exact time on the clock; none of them negative."""

    months: int = 0
    days: int = 0
    time: timedelta = timedelta(0)

    @property
    def timedelta(self) -> timedelta:
        """Days and time as one exact length, for those who count a day as 24 hours."""
        return timedelta(days=self.days) + self.time

    def __str__(self) -> str:
        return format_duration(self)


@lru_cache(maxsize=1000)
def parse_duration(text: str) -> Duration:
    """Read an ISO 8601 duration; raises :class:`ValueError` that says how to write one.

    Strict: capital letters, weeks stand alone, only the smallest part may have a fraction (years
    and months none), no sign. A fraction of a week or a day becomes time on the clock.
    """
    if weeks := _WEEKS.fullmatch(text):
        return _duration(text, days=_fraction(weeks[1]) * 7)
    parts = _PARTS.fullmatch(text)
    if parts is None or parts[4] == "T" or not any(parts.groups()):
        raise ValueError(
            _("'%(text)s' is not a duration (write it like PT90M, P1DT12H, P2W or P1M)")
            % {"text": _shortened(text)}
        )
    numbers: list[str] = [parts[group] or "" for group in (1, 2, 3, 5, 6, 7)]
    given = [number for number in numbers if number]
    if any(map(_has_fraction, given[:-1])):
        raise ValueError(
            _("Only the last number of the duration '%(text)s' may have a fraction")
            % {"text": _shortened(text)}
        )
    if any(map(_has_fraction, numbers[:2])):
        raise ValueError(
            _("'%(text)s' needs whole years and months; write the rest in days")
            % {"text": _shortened(text)}
        )
    years, months, days, hours, minutes, seconds = map(_fraction, numbers)
    return _duration(
        text,
        months=int(years * 12 + months),
        days=days,
        seconds=hours * 3600 + minutes * 60 + seconds,
    )


def format_duration(duration: Duration) -> str:
    """The shortest ISO 8601 text that reads back as the same duration: ``P1Y2M3DT4H5M6.5S``."""
    years, months = divmod(duration.months, 12)
    seconds, microseconds = divmod(duration.time // timedelta(microseconds=1), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{microseconds:06}".rstrip("0") if microseconds else ""
    calendar = _joined((years, "Y"), (months, "M"), (duration.days, "D"))
    clock = _joined((hours, "H"), (minutes, "M"))
    if seconds or fraction:
        clock += f"{seconds}{fraction}S"
    if clock:
        return f"P{calendar}T{clock}"
    return f"P{calendar}" if calendar else "PT0S"


def in_words(duration: Duration) -> str:
    """The duration as a person says it: ``1 day, 2 hours``."""
    seconds, microseconds = divmod(duration.time // timedelta(microseconds=1), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    exact = f"{seconds + microseconds / 1_000_000:g}" if microseconds else seconds
    months, days = duration.months, duration.days
    told = [
        months and ngettext("%(n)s month", "%(n)s months", months) % {"n": months},
        days and ngettext("%(n)s day", "%(n)s days", days) % {"n": days},
        hours and ngettext("%(n)s hour", "%(n)s hours", hours) % {"n": hours},
        minutes and ngettext("%(n)s minute", "%(n)s minutes", minutes) % {"n": minutes},
        (seconds or microseconds)
        and ngettext("%(n)s second", "%(n)s seconds", seconds or 2) % {"n": exact},
    ]
    return ", ".join(part for part in told if part) or _("no time")


def _duration(
    text: str, *, months: int = 0, days: Fraction, seconds: Fraction = Fraction(0)
) -> Duration:
    whole_days = int(days)
    seconds += (days - whole_days) * _SECONDS_PER_DAY
    if months > MAX_MONTHS or whole_days + seconds // _SECONDS_PER_DAY > MAX_DAYS:
        raise ValueError(_("The duration '%(text)s' is too long") % {"text": _shortened(text)})
    time = timedelta(microseconds=round(seconds * 1_000_000))
    return Duration(months=months, days=whole_days, time=time)


def _joined(*parts: tuple[int, str]) -> str:
    return "".join(f"{number}{letter}" for number, letter in parts if number)


def _has_fraction(number: str) -> bool:
    return "." in number or "," in number


def _fraction(number: str) -> Fraction:
    return Fraction(number.replace(",", ".")) if number else Fraction(0)


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
