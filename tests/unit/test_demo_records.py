"""The demo's data: times in the right zone, on the right day."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from demo.records import (
    HOME_ZONE,
    WEEK,
    FlightRecord,
    at_clock_reading,
    next_clock_reading,
    read_airlines,
    read_airports,
    read_flights,
)

CHICAGO = ZoneInfo("America/Chicago")
HONOLULU = ZoneInfo("Pacific/Honolulu")


@pytest.fixture(scope="module")
def week() -> list[FlightRecord]:
    return read_flights()


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    """The file as it is, read without any of the demo's code."""
    with gzip.open(WEEK, "rt", newline="") as file:
        return list(csv.DictReader(file))


def utc(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)  # type: ignore[arg-type,misc]


def only(records: list[FlightRecord], airline: str, number: int, day: int) -> FlightRecord:
    (record,) = (
        r
        for r in records
        if (r.airline, r.number) == (airline, number)
        and r.scheduled_departure.astimezone(HOME_ZONE).day == day
    )
    return record


def test_a_clock_reading_is_local_time():
    assert at_clock_reading(date(2013, 2, 4), 517, HOME_ZONE) == utc(2013, 2, 4, 10, 17)
    assert at_clock_reading(date(2013, 7, 4), 517, HOME_ZONE) == utc(2013, 7, 4, 9, 17)


def test_2400_is_the_midnight_that_ends_the_day():
    assert at_clock_reading(date(2013, 2, 4), 2400, HOME_ZONE) == utc(2013, 2, 5, 5)


@pytest.mark.parametrize(
    ("reading", "zone", "moment"),
    [
        (2359, HOME_ZONE, utc(2013, 2, 5, 4, 59)),
        (2200, HOME_ZONE, utc(2013, 2, 6, 3)),  # 22:00 has just struck: tomorrow's
        (2130, CHICAGO, utc(2013, 2, 5, 3, 30)),
        (436, HOME_ZONE, utc(2013, 2, 5, 9, 36)),
        (2400, HOME_ZONE, utc(2013, 2, 5, 5)),
        (1935, HONOLULU, utc(2013, 2, 5, 5, 35)),
    ],
)
def test_the_next_clock_reading_may_be_on_another_day(
    reading: int, zone: ZoneInfo, moment: datetime
):
    ten_in_the_evening = utc(2013, 2, 5, 3)

    assert next_clock_reading(ten_in_the_evening, reading, zone) == moment


def test_the_week_has_every_flight_of_the_file(week: list[FlightRecord]):
    days = Counter(r.scheduled_departure.astimezone(HOME_ZONE).day for r in week)
    cancelled = Counter(
        r.scheduled_departure.astimezone(HOME_ZONE).day for r in week if r.is_cancelled
    )

    assert len(week) == 6104
    assert days == {4: 932, 5: 896, 6: 901, 7: 932, 8: 930, 9: 684, 10: 829}
    assert cancelled == {4: 10, 5: 16, 6: 8, 7: 4, 8: 472, 9: 393, 10: 26}


def test_every_departure_reads_as_the_file_says(
    week: list[FlightRecord], rows: list[dict[str, str]]
):
    told: Counter[tuple[object, ...]] = Counter(
        (row["carrier"], int(row["flight"]), row["origin"], int(row["day"]), int(row["dep_time"]))
        for row in rows
        if row["dep_time"]
    )
    found: Counter[tuple[object, ...]] = Counter()
    for record in week:
        if record.departed_at is None:
            continue
        local = record.departed_at.astimezone(HOME_ZONE)
        planned_day = record.scheduled_departure.astimezone(HOME_ZONE).day
        reading = local.hour * 100 + local.minute or 2400
        found[record.airline, record.number, record.origin, planned_day, reading] += 1

    assert found == told


def test_every_arrival_reads_as_the_file_says_on_the_clocks_of_the_destination(
    week: list[FlightRecord], rows: list[dict[str, str]]
):
    told: Counter[tuple[object, ...]] = Counter(
        (row["carrier"], int(row["flight"]), row["dest"], int(row["arr_time"]))
        for row in rows
        if row["arr_time"]
    )
    airports = read_airports()
    found: Counter[tuple[object, ...]] = Counter()
    for record in week:
        if record.arrived_at is None:
            continue
        local = record.arrived_at.astimezone(ZoneInfo(airports[record.destination].time_zone))
        reading = local.hour * 100 + local.minute or 2400
        found[record.airline, record.number, record.destination, reading] += 1

    assert found == told


def test_every_flight_takes_a_time_that_fits_its_distance(week: list[FlightRecord]):
    for record in week:
        hours = (record.scheduled_arrival - record.scheduled_departure).total_seconds() / 3600
        assert 60 < record.distance / hours < 500, record


def test_a_flight_that_is_a_day_late_leaves_on_the_day_after(week: list[FlightRecord]):
    longest = max(week, key=lambda record: record.departure_delay or 0)

    assert longest.departure_delay == 853
    assert longest.departed_at is not None
    assert (longest.departed_at - longest.scheduled_departure).total_seconds() == 853 * 60


def test_a_night_flight_arrives_on_the_next_day(week: list[FlightRecord]):
    night = only(week, "B6", 727, 7)  # JFK 23:59 to Aguadilla 04:36, an hour ahead of New York

    assert night.scheduled_departure == utc(2013, 2, 8, 4, 59)
    assert night.departed_at == utc(2013, 2, 8, 5, 0)
    assert night.scheduled_arrival == utc(2013, 2, 8, 8, 36)
    assert night.arrived_at == utc(2013, 2, 8, 8, 32)


def test_airports_that_the_file_leaves_out_are_known():
    airports = read_airports()

    assert len(airports) == 1458 + 4
    for code in ("BQN", "PSE", "SJU", "STT"):
        january = datetime(2013, 1, 1, tzinfo=ZoneInfo(airports[code].time_zone))
        assert january.utcoffset() == utc(2013, 1, 1).replace(hour=0) - utc(2013, 1, 1, 4)


def test_every_airline_of_the_week_has_a_name(week: list[FlightRecord]):
    assert {record.airline for record in week} <= set(read_airlines())
