"""Runs that live through the days on which calendars go wrong: both changes of the clocks, the leap
day, the end of the year.

Each wait is looked at a second before it is over, when nothing may happen, and at the very moment.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flowcontrol.documents import JSONObject
from flowcontrol.engine import continue_flowruns, start_flowrun
from flowcontrol.models import FlowRun, Status
from flowcontrol.testing import Delay, For, If, UpdateState, make_flow, row, travel_to
from tests.concurrency.variants import Variant

pytestmark = pytest.mark.django_db

NEW_YORK = "America/New_York"
LONDON = "Europe/London"
SECOND = timedelta(seconds=1)


def local(text: str, zone: str = NEW_YORK) -> datetime:
    """A moment by the clock on the wall; ``fold`` 1 is written as a trailing "'"."""
    fold = int(text.endswith("'"))
    return datetime.fromisoformat(text.rstrip("'")).replace(tzinfo=ZoneInfo(zone), fold=fold)


def told(moment: datetime, zone: str = NEW_YORK) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%m-%d %H:%M %Z}"


def live(
    begin: datetime, *rows: JSONObject, state: dict[str, Any] | None = None
) -> tuple[FlowRun, list[datetime]]:
    """A run from its start to its end, and the moments at which it went on."""
    with travel_to(begin) as clock:
        run = start_flowrun(make_flow(*rows), state=state)
        moments = []
        while run.status == Status.WAITING:
            assert run.due is not None
            clock.move_to(run.due - SECOND)
            assert continue_flowruns().executed == 0, f"It did not wait until {told(run.due)}."
            clock.move_to(run.due)
            assert continue_flowruns().executed == 1
            moments.append(run.due)
            run.refresh_from_db()
    assert run.status == Status.DONE, run.reason
    return run, moments


def rounds(begin: str, times: int, zone: str = NEW_YORK, **delay: Any) -> list[str]:
    """When a flow that waits again and again goes on, by the clock there."""
    wait = row("delay", time_zone=zone, **delay)
    _run, moments = live(local(begin, zone), For(times, [wait, UpdateState(n="n|default:0|add:1")]))
    return [told(moment, zone) for moment in moments]


# --- the clocks change ----------------------------------------------------------------------------


def check_nine_in_the_morning_in_spring() -> None:
    assert rounds("2013-03-08 10:00", 3, time="09:00") == [
        "03-09 09:00 EST",
        "03-10 09:00 EDT",
        "03-11 09:00 EDT",
    ]


def test_nine_in_the_morning_stays_nine_in_the_morning_in_spring():
    check_nine_in_the_morning_in_spring()


def test_nine_in_the_morning_stays_nine_in_the_morning_in_autumn():
    assert rounds("2013-11-01 10:00", 3, time="09:00") == [
        "11-02 09:00 EDT",
        "11-03 09:00 EST",
        "11-04 09:00 EST",
    ]


def test_a_time_that_is_skipped_is_waited_for_behind_the_gap_and_comes_back_the_next_day():
    assert rounds("2013-03-08 10:00", 3, time="02:30") == [
        "03-09 02:30 EST",
        "03-10 03:30 EDT",
        "03-11 02:30 EDT",
    ]


def test_a_time_that_comes_twice_is_waited_for_once():
    assert rounds("2013-11-01 10:00", 3, time="01:30") == [
        "11-02 01:30 EDT",
        "11-03 01:30 EDT",
        "11-04 01:30 EST",
    ]


def test_who_asks_between_two_equal_times_waits_until_the_next_day():
    assert rounds("2013-11-03 01:45", 1, time="01:30") == ["11-04 01:30 EST"]
    assert rounds("2013-11-03 01:15'", 1, time="01:30") == ["11-04 01:30 EST"]


@pytest.mark.parametrize(
    ("begin", "day", "hours"),
    [
        ("2013-03-09 12:00", "03-10 12:00 EDT", "03-10 13:00 EDT"),
        ("2013-11-02 12:00", "11-03 12:00 EST", "11-03 11:00 EST"),
    ],
    ids=["spring", "autumn"],
)
def test_a_day_is_not_always_24_hours(begin: str, day: str, hours: str):
    assert rounds(begin, 1, duration="P1D") == [day]
    assert rounds(begin, 1, duration="PT24H") == [hours]


def test_half_hours_go_on_through_both_changes():
    assert rounds("2013-03-10 01:00", 4, duration="PT30M") == [
        "03-10 01:30 EST",
        "03-10 03:00 EDT",
        "03-10 03:30 EDT",
        "03-10 04:00 EDT",
    ]
    assert rounds("2013-11-03 00:30", 5, duration="PT30M") == [
        "11-03 01:00 EDT",
        "11-03 01:30 EDT",
        "11-03 01:00 EST",
        "11-03 01:30 EST",
        "11-03 02:00 EST",
    ]


def test_each_row_goes_by_the_clocks_of_its_own_zone():
    """London changes three weeks after New York: for that long the difference is another one."""
    _run, moments = live(
        local("2013-03-09 12:00"),
        *[
            row("delay", time=time, time_zone=zone)
            for _day in range(2)
            for time, zone in (("09:00", LONDON), ("09:00", NEW_YORK))
        ],
    )
    assert [told(moment) for moment in moments] == [
        "03-10 05:00 EDT",
        "03-10 09:00 EDT",
        "03-11 05:00 EDT",
        "03-11 09:00 EDT",
    ]
    assert rounds("2013-03-30 10:00", 2, zone=LONDON, time="09:00") == [
        "03-31 09:00 BST",
        "04-01 09:00 BST",
    ]


def test_a_sweep_that_comes_late_on_the_day_of_a_change_shifts_nothing():
    """The run is late once; its next morning is nine o'clock again."""
    nine = For(2, [row("delay", time="09:00"), UpdateState(n="1")])
    with travel_to(local("2013-03-09 10:00")) as clock:
        run = start_flowrun(make_flow(nine))
        clock.move_to(local("2013-03-10 11:30"))
        assert continue_flowruns().executed == 1
        run.refresh_from_db()
    assert run.due == local("2013-03-11 09:00")


# --- the leap day ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "delay", "expected"),
    [
        ("2012-02-28 12:00", {"duration": "P1D"}, "02-29 12:00 EST"),
        ("2013-02-28 12:00", {"duration": "P1D"}, "03-01 12:00 EST"),
        ("2012-01-31 12:00", {"months": 1}, "02-29 12:00 EST"),
        ("2013-01-31 12:00", {"months": 1}, "02-28 12:00 EST"),
        ("2012-02-29 12:00", {"months": 12}, "02-28 12:00 EST"),
        ("2012-02-29 12:00", {"duration": "P4Y"}, "02-29 12:00 EST"),
        ("2012-02-29 12:00", {"weekday": "wednesday", "time": "09:00"}, "03-07 09:00 EST"),
    ],
)
def test_the_leap_day_is_a_day_where_there_is_one(begin: str, delay: dict[str, Any], expected: str):
    assert rounds(begin, 1, **delay) == [expected]


def test_every_evening_passes_through_the_leap_day():
    assert rounds("2012-02-27 12:00", 4, time="23:59") == [
        "02-27 23:59 EST",
        "02-28 23:59 EST",
        "02-29 23:59 EST",
        "03-01 23:59 EST",
    ]


# --- the end of the year --------------------------------------------------------------------------


def test_midnight_of_the_new_year_is_the_end_of_the_last_evening():
    assert rounds("2012-12-31 23:59", 2, time="00:00") == ["01-01 00:00 EST", "01-02 00:00 EST"]


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        ({"duration": "P1D"}, "01-01 12:00 EST"),
        ({"months": 2}, "02-28 12:00 EST"),
        ({"weekday": "monday"}, "01-07 00:00 EST"),
        ({"weekday": "tuesday", "time": "06:00"}, "01-01 06:00 EST"),
    ],
)
def test_waits_lead_over_the_end_of_the_year(delay: dict[str, Any], expected: str):
    assert rounds("2012-12-31 12:00", 1, **delay) == [expected]


def test_a_run_that_wakes_in_the_new_year_lives_in_the_new_year():
    """By the wall clock of the site: in Greenwich it has long been 2013 when the run starts."""
    run, _moments = live(
        local("2012-12-31 22:00"),
        UpdateState(before="today"),
        Delay("PT1H59M59S"),
        UpdateState(eve="today"),
        Delay("PT1S"),
        UpdateState(after="today", year='now|date:"Y"'),
        If("today > eve", [UpdateState(is_new="true")]),
    )
    assert run.state == {
        "before": "2012-12-31",
        "eve": "2012-12-31",
        "after": "2013-01-01",
        "year": "2013",
        "is_new": True,
    }


# --- the proofs notice ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variant",
    [
        Variant(
            "times of day are those of Greenwich",
            "flowcontrol.actions.waiting._next",
            "datetime.combine(day, at, tzinfo=base.tzinfo)",
            "datetime.combine(day, at, tzinfo=UTC)",
        ),
        Variant(
            "tomorrow is in 24 hours",
            "flowcontrol.actions.waiting._next",
            "        day += timedelta(days=1)",
            "        return candidate + timedelta(days=1)",
        ),
    ],
    ids=str,
)
def test_the_proof_notices(variant: Variant):
    with variant.applied(), pytest.raises(AssertionError):
        check_nine_in_the_morning_in_spring()
