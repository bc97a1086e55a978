"""The stream of news that reaches the desk while the week goes by.

The data tells what happened, not when anybody knew of it. These are the assumptions that turn one
into the other; :func:`news_of` is where they are applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from demo.clock import clock
from demo.models import LATE, Flight, FlightStatus
from demo.records import FlightRecord

CANCELLED_BEFORE: Final = timedelta(hours=2)
"""How long before the departure planned a cancellation is known."""

ANNOUNCED_BEFORE: Final = timedelta(minutes=30)
"""How long before the flight would otherwise have left a delay is announced."""

ANNOUNCED_AT_ONCE: Final = 45
"""By how many minutes at most one announcement makes the delay grow."""


@dataclass(frozen=True, slots=True)
class News:
    """At this moment the desk learns this about the flight with this primary key."""

    at: datetime
    flight: int
    changes: Mapping[str, Any]


def news_of_week(records: Sequence[FlightRecord], flights: Sequence[Flight]) -> list[News]:
    """All the news of the flights, in the order of time. Both sequences in the same order."""
    news = [
        item
        for record, flight in zip(records, flights, strict=True)
        for item in news_of(record, flight.pk)
    ]
    return sorted(news, key=lambda item: (item.at, item.flight))


def news_of(record: FlightRecord, flight: int) -> Iterator[News]:
    """What the desk hears about one flight, from the first word to the last."""
    planned = record.scheduled_departure
    if record.departed_at is None or record.departure_delay is None:
        yield News(planned - CANCELLED_BEFORE, flight, {"status": FlightStatus.CANCELLED})
        return
    if record.departure_delay >= LATE:
        for at, delay in announcements(planned, record.departure_delay):
            yield News(at, flight, {"status": FlightStatus.DELAYED, "delay": delay})
    yield News(
        record.departed_at,
        flight,
        {
            "status": FlightStatus.DEPARTED,
            "delay": record.departure_delay,
            "departed_at": record.departed_at,
        },
    )
    expected = record.scheduled_arrival + timedelta(minutes=record.departure_delay)
    if record.arrival_delay is None and (record.arrived_at is None or expected < record.arrived_at):
        yield News(expected, flight, {"status": FlightStatus.DIVERTED})
    if record.arrived_at is not None:
        yield News(
            record.arrived_at,
            flight,
            {"status": FlightStatus.ARRIVED, "arrived_at": record.arrived_at},
        )


def announcements(planned: datetime, delay: int) -> Iterator[tuple[datetime, int]]:
    """When the desk hears of which delay (minutes), until it has heard of the whole ``delay``."""
    announced = 0
    while announced < delay:
        at = planned + timedelta(minutes=announced) - ANNOUNCED_BEFORE
        announced = min(delay, announced + ANNOUNCED_AT_ONCE)
        yield at, announced


def publish(news: Iterable[News]) -> None:
    """Write the news to the flights, each at its own moment of the desk's clock.

    What somebody may have to react to is saved flight by flight, so that signals are sent. What is
    routine comes by the thousand and is written in bulk: arrivals, and departures in time.
    """
    news = list(news)
    flights = Flight.objects.select_related("airline", "origin", "destination").in_bulk(
        {item.flight for item in news}
    )
    routine: dict[int, Flight] = {}
    with transaction.atomic():
        for item in news:
            clock.set(item.at)
            flight = flights[item.flight]
            for field, value in item.changes.items():
                setattr(flight, field, value)
            if is_routine(flight):
                routine[flight.pk] = flight
            else:
                flight.save(update_fields=item.changes)
        # An "insert or update" of known keys: many times as fast as bulk_update().
        Flight.objects.bulk_create(
            routine.values(),
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["status", "delay", "departed_at", "arrived_at"],
        )


def is_routine(flight: Flight) -> bool:
    """Whether the change that is about to be written interests nobody."""
    if flight.status == FlightStatus.DEPARTED:
        return flight.status_before == FlightStatus.SCHEDULED
    return flight.status == FlightStatus.ARRIVED
