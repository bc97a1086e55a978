"""What the desk learns of a flight, and when."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.feed import announcements, news_of, news_of_week
from demo.models import Flight, FlightStatus
from demo.records import WEEK, FlightRecord, read_flights

NOON = datetime(2013, 2, 4, 17, tzinfo=UTC)
ARRIVAL = NOON + timedelta(hours=3)


def flight(**known: Any) -> FlightRecord:
    defaults: dict[str, Any] = {
        "airline": "UA",
        "number": 1117,
        "tail_number": "N557UW",
        "origin": "EWR",
        "destination": "CLT",
        "distance": 529,
        "scheduled_departure": NOON,
        "scheduled_arrival": ARRIVAL,
        "departed_at": None,
        "departure_delay": None,
        "arrived_at": None,
        "arrival_delay": None,
    }
    return FlightRecord(**{**defaults, **known})


def departed(delay: int, **known: Any) -> FlightRecord:
    return flight(departed_at=NOON + timedelta(minutes=delay), departure_delay=delay, **known)


def story(record: FlightRecord) -> list[tuple[int, str, int | None]]:
    """Minutes after the departure planned, the new status, and the delay if one is told."""
    return [
        (int((n.at - NOON).total_seconds() // 60), n.changes["status"], n.changes.get("delay"))
        for n in news_of(record, 1)
    ]


def test_a_cancellation_is_known_two_hours_before():
    assert story(flight()) == [(-120, "cancelled", None)]


def test_a_flight_that_leaves_early_is_heard_of_when_it_leaves_and_lands():
    early = departed(-7, arrived_at=ARRIVAL - timedelta(minutes=9), arrival_delay=-9)

    assert story(early) == [(-7, "departed", -7), (171, "arrived", None)]


def test_a_small_delay_is_not_announced():
    assert story(departed(14, arrived_at=ARRIVAL, arrival_delay=0))[0] == (14, "departed", 14)


def test_a_delay_is_announced_in_growing_pieces():
    late = departed(100, arrived_at=ARRIVAL + timedelta(minutes=100), arrival_delay=100)

    assert story(late) == [
        (-30, "delayed", 45),
        (15, "delayed", 90),
        (60, "delayed", 100),
        (100, "departed", 100),
        (280, "arrived", None),
    ]


def test_an_announcement_never_tells_more_than_the_whole_delay():
    assert [delay for _, delay in announcements(NOON, 45)] == [45]
    assert [delay for _, delay in announcements(NOON, 46)] == [45, 46]


def test_a_diverted_flight_is_missed_when_it_should_have_landed():
    assert story(departed(0))[1:] == [(180, "diverted", None)]


def test_a_diverted_flight_that_gets_there_after_all_arrives():
    diverted = departed(75, arrived_at=ARRIVAL + timedelta(hours=4))

    assert story(diverted)[-2:] == [(255, "diverted", None), (420, "arrived", None)]


def test_the_news_of_each_flight_of_the_week_is_in_the_order_of_time():
    for record in read_flights():
        news = list(news_of(record, 1))
        assert [n.at for n in news] == sorted(n.at for n in news)
        assert news[0].at >= record.scheduled_departure - timedelta(hours=2)


def test_the_last_word_on_each_flight_is_what_the_file_says():
    with gzip.open(WEEK, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    records = read_flights()
    flights = [Flight(pk=number) for number in range(len(records))]

    known: dict[int, dict[str, Any]] = {flight.pk: {"delay": 0} for flight in flights}
    for item in news_of_week(records, flights):
        known[item.flight].update(item.changes)

    delays = [fields["delay"] for fields in known.values() if fields["status"] != "cancelled"]
    assert Counter(delays) == Counter(int(row["dep_delay"]) for row in rows if row["dep_time"])
    assert Counter(fields["status"] for fields in known.values()) == {
        FlightStatus.CANCELLED: 929,
        FlightStatus.ARRIVED: sum(bool(row["arr_time"]) for row in rows),
        FlightStatus.DIVERTED: sum(bool(row["dep_time"]) and not row["arr_time"] for row in rows),
    }
