"""Time: rows that wait for a moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.wording import shown, shown_duration
from flowcontrol.base import (
    Abort,
    BaseAction,
    Directive,
    Effects,
    FlowDirective,
    RunHandle,
    Suspend,
)
from flowcontrol.durations import Duration, parse_duration
from flowcontrol.exceptions import ConfigError
from flowcontrol.registry import register_action

Config = Mapping[str, Any]

WEEKDAYS: Final = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)


def moment_after(
    base: datetime,
    *,
    duration: Duration | None = None,
    months: int = 0,
    weekday: int | None = None,
    at: time | None = None,
) -> datetime:
    """The moment that a Delay means, counted from ``base`` by the clock on the wall there.

    Months and days are added on the calendar, so that "in one day" is the same time tomorrow also
    when the clocks change; hours, minutes and seconds are exact. Then ``at`` is the next such time
    of day that is not before, and ``weekday`` (0: Monday) the next such day; without ``at`` a
    weekday begins at midnight and never means today. A time that the clocks skip is taken as far
    behind the gap as it lies in it; of one that comes twice, the first.

    Args:
        base: aware; its ``tzinfo`` is the zone of the wall.

    Returns:
        The moment, in UTC.

    Raises:
        ConfigError: it lies beyond the calendar, which ends with the year 9999.
    """
    try:
        moment = _moved(base, duration or Duration(), months)
        return moment if at is None and weekday is None else _next(moment, base, weekday, at)
    except (OverflowError, ValueError) as error:
        raise ConfigError(f"Counted from {base:%Y-%m-%d} it lies beyond the calendar.") from error


def _moved(base: datetime, duration: Duration, months: int) -> datetime:
    months += duration.months
    if months or duration.days:
        wall = base.replace(tzinfo=None) + relativedelta(months=months, days=duration.days)
        base = wall.replace(tzinfo=base.tzinfo, fold=0)
    return base.astimezone(UTC) + duration.time


def _next(moment: datetime, base: datetime, weekday: int | None, at: time | None) -> datetime:
    day = moment.astimezone(base.tzinfo).date()
    if at is None:
        at, day = time(0), day + timedelta(days=1)
    while True:
        candidate = datetime.combine(day, at, tzinfo=base.tzinfo).astimezone(UTC)
        if candidate >= moment and weekday in (None, day.weekday()):
            return candidate
        day += timedelta(days=1)


def as_moment(value: Any, zone: tzinfo) -> datetime:
    """A base date as an aware moment in ``zone``; what has no zone of its own is in this one.

    Raises:
        ConfigError: it is neither a datetime, a date, nor the ISO 8601 text of one.
    """
    if isinstance(value, str):
        try:
            parsed: Any = parse_datetime(value) or parse_date(value)
        except ValueError:
            parsed = None
        if parsed is None:
            raise ConfigError(f"The base date {value!r} is not a date in ISO 8601 form.")
        value = parsed
    if isinstance(value, datetime):
        if timezone.is_naive(value):
            return value.replace(tzinfo=zone)
        try:
            return value.astimezone(zone)
        except OverflowError:
            raise ConfigError(f"The base date {value.isoformat()} is out of range.") from None
    if isinstance(value, date):
        return datetime.combine(value, time(0), tzinfo=zone)
    raise ConfigError(
        f"The base date is {value!r}; it has to be a date, a datetime, or the ISO text of one."
    )


@register_action
class Delay(BaseAction):
    """Waits for a length of time, for a time of day, for a weekday, or all of them."""

    name = "delay"
    verbose_name = _("Delay")
    description = _("Waits for a while, or until a time of day, a weekday or a date.")
    group = _("Time")
    icon = "clock"
    effects: ClassVar[Effects] = "none"
    writes_json = True
    config_schema = {
        "type": "object",
        "properties": {
            "duration": {"type": "string", "format": "duration"},
            "months": {"type": "integer", "minimum": 0, "maximum": 1200, "default": 0},
            "weekday": {"type": "string", "enum": list(WEEKDAYS)},
            "time": {"type": "string", "format": "time"},
            "time_zone": {"type": "string", "format": "time-zone"},
            "base": {"type": "string", "format": "expression"},
            "if_past": {
                "type": "string",
                "enum": ["continue", "leave", "break", "abort"],
                "default": "continue",
            },
        },
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "duration": _("For"),
        "months": _("And months"),
        "weekday": _("Until the next"),
        "time": _("At"),
        "time_zone": _("In the time zone"),
        "base": _("Counted from"),
        "if_past": _("If that is past already"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "months": _("Added to the above; for a number of months that is computed."),
        "time": _("If it is past today: the next day that fits."),
        "time_zone": _("Empty: the time zone of this site."),
        "base": _("An expression such as object.departure. Empty: now."),
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        zone = self.zone(config)
        base = run.evaluate(config["base"]) if config.get("base") else run.now
        base = as_moment(base, zone)
        if not any(config.get(name) for name in ("base", "duration", "months")):
            # "At 23:55", asked at 23:55: tomorrow. A daily loop would otherwise do all its rounds
            # in the one moment that the first of them waited for. Added in UTC: on the wall it
            # would lead from the second of two equal times back to the first.
            base = (base.astimezone(UTC) + timedelta.resolution).astimezone(zone)
        moment = moment_after(
            base,
            duration=parse_duration(config["duration"]) if config.get("duration") else None,
            months=config.get("months", 0),
            weekday=WEEKDAYS.index(config["weekday"]) if config.get("weekday") else None,
            at=time.fromisoformat(config["time"]) if config.get("time") else None,
        )
        if moment > run.now:
            return Suspend(until=moment)
        match config.get("if_past", "continue"):
            case "leave":
                return FlowDirective.LEAVE
            case "break":
                return FlowDirective.BREAK
            case "abort":
                told = f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"
                return Abort(_now("%(moment)s was past already.") % {"moment": told})
        return FlowDirective.CONTINUE

    @staticmethod
    def zone(config: Config) -> tzinfo:
        if config.get("time_zone"):
            return ZoneInfo(config["time_zone"])
        return timezone.get_default_timezone()

    def sentence(self, config: Config) -> str:
        parts = []
        if config.get("duration") or config.get("months"):
            months = shown(config.get("months"))
            lengths = [_now("%s months") % months] if months else []
            lengths += [shown_duration(config["duration"])] if config.get("duration") else []
            parts.append(_now("wait %(length)s") % {"length": " + ".join(lengths)})
        if config.get("weekday"):
            weekday = str(shown(config["weekday"]))
            weekday = _WEEKDAY_NAMES.get(weekday, weekday)
            parts.append(_now("until the next %(weekday)s") % {"weekday": weekday})
        if config.get("time"):
            told = _now("at %(time)s") if config.get("weekday") else _now("until %(time)s")
            parts.append(told % {"time": shown(config["time"])})
        if config.get("time_zone"):
            parts.append(_now("(time of %(zone)s)") % {"zone": shown(config["time_zone"])})
        if config.get("base"):
            parts.append(_now("from %(base)s") % {"base": config["base"]})
        text = " ".join(parts) or _now("wait")
        return text[0].upper() + text[1:]

    @classmethod
    def check_config(cls, config: Config) -> list[tuple[str, str, str]]:
        if any(config.get(name) for name in ("duration", "months", "weekday", "time", "base")):
            return []
        return [("warning", "duration", _now("This row waits for nothing."))]


_WEEKDAY_NAMES: Final[Mapping[str, Any]] = {
    "monday": _("Monday"),
    "tuesday": _("Tuesday"),
    "wednesday": _("Wednesday"),
    "thursday": _("Thursday"),
    "friday": _("Friday"),
    "saturday": _("Saturday"),
    "sunday": _("Sunday"),
}
