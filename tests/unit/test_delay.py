"""Delay: the moment a person means, by the clock on the wall there, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcontrol.actions.waiting import WEEKDAYS, as_moment, moment_after
from flowcontrol.compiling import problems_of
from flowcontrol.documents import make_document
from flowcontrol.durations import parse_duration
from flowcontrol.exceptions import ConfigError, ExpressionError
from flowcontrol.registry import actions
from flowcontrol.testing import For, Group, If, Log, Rehearsal, rehearse, row

NEW_YORK, LONDON, SYDNEY = "America/New_York", "Europe/London", "Australia/Sydney"
ZONES = [NEW_YORK, LONDON, SYDNEY, "Asia/Kolkata", "America/Havana", "Australia/Lord_Howe", "UTC"]


def moment(text: str, zone: str, *, second: bool = False) -> datetime:
    """A time on the wall; ``second`` is the later of two that read alike."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=int(second))


def after(zone: str, base: str, *, second: bool = False, **how: Any) -> str:
    """What a Delay leads to, as people there read it, with the offset from UTC."""
    if "duration" in how:
        how["duration"] = parse_duration(how["duration"])
    if "at" in how:
        how["at"] = time.fromisoformat(how["at"])
    found = moment_after(moment(base, zone, second=second), **how)
    assert found.tzinfo is UTC
    return found.astimezone(ZoneInfo(zone)).isoformat(sep=" ", timespec="minutes")


# --- both changes of the clocks -----------------------------------------------------------------

# The day before the change, at noon: "in one day" is noon again, 23 or 25 hours later.
CHANGES = [
    pytest.param(NEW_YORK, "2013-03-09", "2013-03-10", "-04:00", 23, id="New York, spring"),
    pytest.param(NEW_YORK, "2013-11-02", "2013-11-03", "-05:00", 25, id="New York, fall"),
    pytest.param(LONDON, "2013-03-30", "2013-03-31", "+01:00", 23, id="London, spring"),
    pytest.param(LONDON, "2013-10-26", "2013-10-27", "+00:00", 25, id="London, fall"),
    pytest.param(SYDNEY, "2013-10-05", "2013-10-06", "+11:00", 23, id="Sydney, spring"),
    pytest.param(SYDNEY, "2013-04-06", "2013-04-07", "+10:00", 25, id="Sydney, fall"),
]


@pytest.mark.parametrize(("zone", "before", "day", "offset", "hours"), CHANGES)
def test_in_one_day_is_the_same_time_tomorrow(
    zone: str, before: str, day: str, offset: str, hours: int
):
    noon = f"{before} 12:00"
    assert after(zone, noon, duration="P1D") == f"{day} 12:00{offset}"
    passed = moment_after(moment(noon, zone), duration=parse_duration("P1D")) - moment(noon, zone)
    assert passed == timedelta(hours=hours)


@pytest.mark.parametrize(("zone", "before", "day", "offset", "hours"), CHANGES)
def test_hours_are_counted_by_the_clock_that_never_changes(
    zone: str, before: str, day: str, offset: str, hours: int
):
    assert after(zone, f"{before} 12:00", duration=f"PT{hours}H") == f"{day} 12:00{offset}"


@pytest.mark.parametrize(("zone", "before", "day", "offset", "hours"), CHANGES)
def test_nine_in_the_morning_is_nine_in_the_morning(
    zone: str, before: str, day: str, offset: str, hours: int
):
    assert after(zone, f"{before} 12:00", at="09:00") == f"{day} 09:00{offset}"


@pytest.mark.parametrize(
    ("zone", "day", "skipped", "instead"),
    [
        (NEW_YORK, "2013-03-10", "02:30", "03:30-04:00"),
        (NEW_YORK, "2013-03-10", "02:00", "03:00-04:00"),
        (LONDON, "2013-03-31", "01:30", "02:30+01:00"),
        (SYDNEY, "2013-10-06", "02:59", "03:59+11:00"),
        ("America/Havana", "2013-03-10", "00:00", "01:00-04:00"),
        ("Australia/Lord_Howe", "2013-10-06", "02:15", "02:45+11:00"),
    ],
)
def test_a_time_that_the_clocks_skip_is_as_far_behind_the_gap_as_it_lies_in_it(
    zone: str, day: str, skipped: str, instead: str
):
    before = (date.fromisoformat(day) - timedelta(days=1)).isoformat()
    assert after(zone, f"{before} 12:00", at=skipped) == f"{day} {instead}"
    assert after(zone, f"{before} {skipped}", duration="P1D") == f"{day} {instead}"


@pytest.mark.parametrize(
    ("zone", "day", "doubled", "first", "second"),
    [
        (NEW_YORK, "2013-11-03", "01:30", "-04:00", "-05:00"),
        (LONDON, "2013-10-27", "01:30", "+01:00", "+00:00"),
        (SYDNEY, "2013-04-07", "02:30", "+11:00", "+10:00"),
    ],
)
def test_of_a_time_that_comes_twice_the_first_is_meant(
    zone: str, day: str, doubled: str, first: str, second: str
):
    before = (date.fromisoformat(day) - timedelta(days=1)).isoformat()
    next_day = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    assert after(zone, f"{before} 12:00", at=doubled) == f"{day} {doubled}{first}"
    assert after(zone, f"{before} {doubled}", duration="P1D") == f"{day} {doubled}{first}"
    # It has come once already when the second of the two begins.
    told = after(zone, f"{day} {doubled}", second=True, at=doubled)
    assert told == f"{next_day} {doubled}{second}"


def test_who_counts_from_the_second_of_two_equal_times_stays_in_it():
    later = {"second": True}
    assert after(NEW_YORK, "2013-11-03 01:30", **later) == "2013-11-03 01:30-05:00"
    in_ten_minutes = after(NEW_YORK, "2013-11-03 01:30", **later, duration="PT10M")
    assert in_ten_minutes == "2013-11-03 01:40-05:00"
    assert after(NEW_YORK, "2013-11-03 01:30", duration="PT1H") == "2013-11-03 01:30-05:00"


def test_counting_from_the_second_of_two_equal_times_into_a_gap_lands_behind_it():
    five_months = after(LONDON, "2013-10-31 01:30", months=5)
    assert five_months == "2014-03-31 01:30+01:00"
    into_the_gap = after(LONDON, "2013-10-27 01:30", second=True, duration="P5M3D")
    assert into_the_gap == "2014-03-30 02:30+01:00"


# --- the calendar -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "how", "found"),
    [
        ("2012-02-28 12:00", {"duration": "P1D"}, "2012-02-29 12:00-05:00"),
        ("2013-02-28 12:00", {"duration": "P1D"}, "2013-03-01 12:00-05:00"),
        ("2012-02-29 12:00", {"duration": "P1Y"}, "2013-02-28 12:00-05:00"),
        ("2012-02-29 12:00", {"months": 48}, "2016-02-29 12:00-05:00"),
        ("2013-01-31 12:00", {"months": 1}, "2013-02-28 12:00-05:00"),
        ("2012-01-31 12:00", {"duration": "P1M"}, "2012-02-29 12:00-05:00"),
        ("2013-01-31 12:00", {"months": 2}, "2013-03-31 12:00-04:00"),
        ("2013-08-31 12:00", {"months": 1}, "2013-09-30 12:00-04:00"),
        ("2013-12-31 23:30", {"duration": "PT1H"}, "2014-01-01 00:30-05:00"),
        ("2013-12-31 12:00", {"months": 2}, "2014-02-28 12:00-05:00"),
        ("2013-12-31 12:00", {"at": "09:00"}, "2014-01-01 09:00-05:00"),
        ("2013-12-31 12:00", {"weekday": 0}, "2014-01-06 00:00-05:00"),
        ("2013-01-31 12:00", {"months": 1, "duration": "P1M1DT1H"}, "2013-04-01 13:00-04:00"),
        ("2013-02-08 12:00", {"duration": "P2W"}, "2013-02-22 12:00-05:00"),
    ],
)
def test_months_and_days_are_added_on_the_calendar(base: str, how: dict[str, Any], found: str):
    assert after(NEW_YORK, base, **how) == found


# 8 February 2013 was a Friday.
@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({"at": "12:00"}, "2013-02-08 12:00"),
        ({"at": "12:01"}, "2013-02-08 12:01"),
        ({"at": "11:59"}, "2013-02-09 11:59"),
        ({"at": "00:00"}, "2013-02-09 00:00"),
        ({"weekday": 4}, "2013-02-15 00:00"),
        ({"weekday": 5}, "2013-02-09 00:00"),
        ({"weekday": 4, "at": "12:00"}, "2013-02-08 12:00"),
        ({"weekday": 4, "at": "11:59"}, "2013-02-15 11:59"),
        ({"weekday": 3, "at": "23:59"}, "2013-02-14 23:59"),
        ({"duration": "PT1H", "at": "12:30"}, "2013-02-09 12:30"),
        ({"duration": "P3D", "weekday": 4, "at": "09:00"}, "2013-02-15 09:00"),
        ({"duration": "P7D", "weekday": 4, "at": "12:00"}, "2013-02-15 12:00"),
        ({"months": 1, "weekday": 0}, "2013-03-11 00:00"),
        ({}, "2013-02-08 12:00"),
    ],
)
def test_a_time_of_day_or_a_weekday_is_the_next_that_fits(how: dict[str, Any], found: str):
    assert after(NEW_YORK, "2013-02-08 12:00", **how)[:16] == found


@pytest.mark.parametrize(
    "how",
    [{"months": 12 * 8000}, {"duration": "P9000Y"}, {"duration": "P3000000D"}, {"weekday": 0}],
)
def test_beyond_the_calendar_is_an_error_of_the_author(how: dict[str, Any]):
    base = "9999-12-31 12:00" if how == {"weekday": 0} else "2013-02-08 12:00"
    with pytest.raises(ConfigError, match="beyond the calendar"):
        after(NEW_YORK, base, **how)


def test_the_day_that_it_is_there_counts_not_that_in_greenwich():
    assert after(NEW_YORK, "2013-02-08 22:00", at="23:00") == "2013-02-08 23:00-05:00"
    assert after(SYDNEY, "2013-02-08 06:00", at="07:00") == "2013-02-08 07:00+11:00"
    assert after(NEW_YORK, "2013-02-08 22:00", weekday=5) == "2013-02-09 00:00-05:00"


BASES = st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1))  # noqa: DTZ001 (on the wall)
TIMES = st.times()
DURATIONS = st.builds(
    "P{}M{}DT{}S".format, st.integers(0, 30), st.integers(0, 400), st.integers(0, 10**6)
).map(parse_duration)


@settings(deadline=None)
@given(
    BASES,
    st.booleans(),
    st.sampled_from(ZONES),
    DURATIONS,
    st.integers(0, 24),
    st.none() | st.integers(0, 6),
    st.none() | TIMES,
)
def test_the_moment_is_never_before_the_base(
    wall: datetime, second: bool, zone: str, duration: Any, months: int, weekday: Any, at: Any
):
    base = wall.replace(tzinfo=ZoneInfo(zone), fold=second)
    found = moment_after(base, duration=duration, months=months, weekday=weekday, at=at)
    assert found >= base.astimezone(UTC) + duration.time


@settings(deadline=None)
@given(BASES, st.sampled_from(ZONES), TIMES, st.none() | st.integers(0, 6))
def test_the_clock_there_shows_the_time_that_was_asked_for_unless_it_is_skipped(
    wall: datetime, zone: str, at: time, weekday: int | None
):
    here = ZoneInfo(zone)
    base = wall.replace(tzinfo=here)
    found = moment_after(base, weekday=weekday, at=at)
    shown = found.astimezone(here)
    if shown.timetz().replace(tzinfo=None, fold=0) != at:
        asked = datetime.combine(shown.date(), at, tzinfo=here)
        assert asked.astimezone(UTC).astimezone(here).replace(tzinfo=None) != asked.replace(
            tzinfo=None
        )
        assert found == asked.astimezone(UTC)
    if weekday is not None:
        assert shown.weekday() == weekday
    # And it is the first such time: a day (or a week) earlier would be before the base.
    earlier = shown.replace(tzinfo=None) - timedelta(days=1 if weekday is None else 7)
    assert earlier.replace(tzinfo=here).astimezone(UTC) < base.astimezone(UTC)


@settings(deadline=None)
@given(BASES, st.sampled_from(ZONES), st.integers(0, 6))
def test_a_weekday_without_a_time_begins_that_day_and_is_never_today(
    wall: datetime, zone: str, weekday: int
):
    here = ZoneInfo(zone)
    shown = moment_after(wall.replace(tzinfo=here), weekday=weekday).astimezone(here)
    assert 1 <= (shown.date() - wall.date()).days <= 7
    assert shown.weekday() == weekday
    midnight = datetime.combine(shown.date(), time(0), tzinfo=here)
    assert shown.astimezone(UTC) == midnight.astimezone(UTC)


# --- base dates ---------------------------------------------------------------------------------

HERE = ZoneInfo(NEW_YORK)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (datetime(2013, 2, 8, 12, tzinfo=UTC), "2013-02-08 07:00-05:00"),
        (datetime(2013, 2, 8, 12), "2013-02-08 12:00-05:00"),  # noqa: DTZ001
        (date(2013, 2, 8), "2013-02-08 00:00-05:00"),
        ("2013-02-08T12:00:00Z", "2013-02-08 07:00-05:00"),
        ("2013-02-08T12:00:00+01:00", "2013-02-08 06:00-05:00"),
        ("2013-02-08T12:00:00", "2013-02-08 12:00-05:00"),
        ("2013-02-08 12:00", "2013-02-08 12:00-05:00"),
        ("2013-02-08", "2013-02-08 00:00-05:00"),
        ("2013-07-08", "2013-07-08 00:00-04:00"),
    ],
)
def test_a_base_without_a_zone_is_in_the_zone_of_the_row(value: Any, found: str):
    assert as_moment(value, HERE).isoformat(sep=" ", timespec="minutes") == found


@pytest.mark.parametrize(
    "value",
    [
        *("tomorrow", "", "2013-02-30", "2013-02-08T25:00", "12:00", "08.02.2013"),
        *(None, 5, True, 1360324800.0, [], {}, time(12), timedelta(hours=1)),
        datetime(1, 1, 1, tzinfo=UTC),
    ],
)
def test_what_is_no_date_is_an_error_that_says_what_it_is(value: Any):
    with pytest.raises(ConfigError, match="base date") as caught:
        as_moment(value, HERE)
    if not isinstance(value, datetime):
        assert repr(value) in str(caught.value)


# --- the row ------------------------------------------------------------------------------------

NOON = datetime(2013, 2, 8, 17, tzinfo=UTC)  # in New York, a Friday


def delayed(*, obj: Any = None, **config: Any) -> Rehearsal:
    return rehearse(row("delay", **config), Log("after"), now=NOON, obj=obj)


def waited(**config: Any) -> str:
    [until] = delayed(**config).waited
    assert until is not None
    return until.astimezone(HERE).isoformat(sep=" ", timespec="minutes")


def test_the_row_waits_by_the_clock_of_the_site():
    assert waited(time="13:00") == "2013-02-08 13:00-05:00"
    assert waited(weekday="monday", time="09:00") == "2013-02-11 09:00-05:00"
    assert waited(duration="PT90M") == "2013-02-08 13:30-05:00"
    assert waited(months=1) == "2013-03-08 12:00-05:00"
    with override_settings(TIME_ZONE=LONDON):
        assert waited(time="13:00") == "2013-02-09 08:00-05:00"


def test_the_zone_may_be_given_or_computed():
    assert waited(time="18:00", time_zone=LONDON) == "2013-02-08 13:00-05:00"
    station = type("Station", (), {"time_zone": LONDON})
    told = delayed(time="18:00", time_zone={"$expr": "object.time_zone"}, obj=station())
    assert told.waited == [datetime(2013, 2, 8, 18, tzinfo=UTC)]
    with pytest.raises(ConfigError, match="is not a time zone"):
        delayed(time="18:00", time_zone={"$expr": "'Newark'"})


def test_it_may_be_counted_from_a_date_of_the_object():
    flight = type("Flight", (), {"departure": datetime(2013, 2, 9, 14, tzinfo=UTC)})
    told = delayed(base="object.departure", duration="PT2H", obj=flight())
    assert told.waited == [datetime(2013, 2, 9, 16, tzinfo=UTC)]
    assert waited(base="'2013-02-10'") == "2013-02-10 00:00-05:00"
    assert waited(base="now", duration="PT1H") == "2013-02-08 13:00-05:00"


def test_a_base_that_is_missing_is_an_error_and_never_now():
    with pytest.raises(ConfigError, match="base date is None"):
        delayed(base="object.departure", duration="PT2H")
    with pytest.raises(ExpressionError):
        delayed(base="1|upper")


@pytest.mark.parametrize(
    ("if_past", "trace"),
    [
        ("continue", ["group", "delay", "log", "group", "log"]),
        ("leave", ["group", "delay", "group", "log"]),
        ("break", ["group", "delay", "log"]),
        ("abort", ["group", "delay"]),
    ],
)
def test_what_to_do_when_the_moment_is_past_already(if_past: str, trace: list[str]):
    late = row("delay", base="'2013-02-08T16:59:00Z'", if_past=if_past)
    told = rehearse(Group([late, Log("inside")]), Log("after"), now=NOON)
    assert (told.trace, told.waited) == (trace, [])
    assert told.outcome == ("aborted" if if_past == "abort" else "complete")


def test_a_run_that_stops_because_the_moment_is_past_says_which():
    action = actions["delay"]()
    run = type("Run", (), {"now": NOON, "evaluate": lambda self, text: NOON - timedelta(hours=1)})
    answer: Any = action.run(run=run(), obj=None, config={"base": "x", "if_past": "abort"})
    assert answer.reason == "2013-02-08 11:00 was past already."


def test_the_very_moment_is_not_waited_for():
    assert delayed(base="now", time="12:00").waited == []
    assert delayed(duration="PT0S").waited == []


def test_a_time_of_day_that_it_is_right_now_means_tomorrow():
    """Or a daily loop would do all its rounds in the moment that the first one waited for."""
    assert delayed(time="12:00").waited == [NOON + timedelta(days=1)]
    daily = rehearse(For(3, [row("delay", time="12:00")]), now=NOON)
    assert daily.waited == [NOON + timedelta(days=days) for days in (1, 2, 3)]


def test_going_on_at_once_in_a_loop_takes_the_next_round():
    late = row("delay", base="'2013-02-01'", if_past="leave")
    assert rehearse(For(2, [late, Log("x")]), now=NOON).trace == ["for", *("delay", "for") * 2]
    inside = [If("true", [row("delay", base="'2013-02-01'", if_past="break")]), Log("x")]
    assert rehearse(For(1, inside), now=NOON).trace == ["for", "if", "delay", "log", "for"]


def test_every_reminder_comes_at_nine_on_the_days_around_the_change():
    rows = [For(4, [row("delay", duration="PT1S", time="09:00")])]
    told = rehearse(*rows, now=datetime(2013, 3, 8, 17, tzinfo=UTC))
    hours = [until.astimezone(UTC).hour for until in told.waited if until]
    assert hours == [14, 13, 13, 13]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"duration": "2 hours"}, "duration: "),
        ({"months": -1}, "months: must be at least 0"),
        ({"weekday": "Monday"}, "weekday: must be one of monday"),
        ({"time": "9"}, "time: "),
        ({"time_zone": "Mars/Base"}, "time_zone: "),
        ({"base": "object."}, "base: "),
        ({"if_past": "panic"}, "if_past: must be one of"),
        ({"hours": 2}, "hours: is not known here"),
    ],
)
def test_what_cannot_work_is_told_when_publishing(config: dict[str, Any], message: str):
    [(_uid, told)] = problems_of(make_document(row("delay", **config)))
    assert message in told


def test_a_row_that_waits_for_nothing_is_warned_of():
    [(severity, field, _message)] = actions["delay"].check_config({"months": 0})
    assert (severity, field) == ("warning", "duration")
    for name in ("duration", "weekday", "time", "base"):
        assert actions["delay"].check_config({name: "x"}) == []


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"duration": "PT2H"}, "Wait 2 hours"),
        ({"months": 2, "duration": "P1D"}, "Wait 2 months + 1 day"),
        ({"weekday": "monday", "time": "09:00"}, "Until the next Monday at 09:00"),
        ({"time": "09:00", "time_zone": LONDON}, "Until 09:00 (time of Europe/London)"),
        ({"duration": "PT2H", "base": "object.departure"}, "Wait 2 hours from object.departure"),
        ({"duration": {"$expr": "length"}}, "Wait length"),
        ({}, "Wait"),
    ],
)
def test_rows_read_as_sentences(config: dict[str, Any], sentence: str):
    assert actions["delay"]().sentence(config) == sentence


def test_the_weekdays_are_in_the_order_of_python():
    assert [date(2013, 2, 4 + number).strftime("%A").lower() for number in range(7)] == [*WEEKDAYS]
