"""The real week, put into the database as it was planned: nothing has happened yet."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from demo.models import Airline, Airport, Flight
from demo.records import HOME_ZONE, FlightRecord, read_airlines, read_airports


@transaction.atomic
def load(records: Sequence[FlightRecord]) -> list[Flight]:
    """Store airlines, airports and the flights of ``records``; the flights, in the same order."""
    Airline.objects.bulk_create(
        Airline(code=code, name=name) for code, name in read_airlines().items()
    )
    Airport.objects.bulk_create(
        Airport(
            code=airport.code,
            name=airport.name,
            latitude=airport.latitude,
            longitude=airport.longitude,
            time_zone=airport.time_zone,
        )
        for airport in read_airports().values()
    )
    return Flight.objects.bulk_create(
        [
            Flight(
                airline_id=record.airline,
                number=record.number,
                day=record.scheduled_departure.astimezone(HOME_ZONE).date(),
                tail_number=record.tail_number,
                origin_id=record.origin,
                destination_id=record.destination,
                distance=record.distance,
                scheduled_departure=record.scheduled_departure,
                scheduled_arrival=record.scheduled_arrival,
            )
            for record in records
        ],
        batch_size=1000,
    )
