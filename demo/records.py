"""The files in ``demo/data``, read into Python values with the times put right.

The files give local clock readings (``517`` is 05:17) without time zones. Departures are in the
zone of the origin, arrivals in that of the destination, possibly on the next day. Everything that
leaves this module is UTC.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

DATA: Final = Path(__file__).parent / "data"
WEEK: Final = DATA / "flights-2013-02-04-to-10.csv.gz"

HOME_ZONE: Final = ZoneInfo("America/New_York")
"""The zone of the three origins, and of the desk."""


@dataclass(frozen=True, slots=True)
class AirportRecord:
    code: str
    name: str
    latitude: float | None
    longitude: float | None
    time_zone: str


MISSING_AIRPORTS: Final = (
    AirportRecord("BQN", "Rafael Hernandez", 18.4949, -67.1294, "America/Puerto_Rico"),
    AirportRecord("PSE", "Mercedita", 18.0083, -66.5630, "America/Puerto_Rico"),
    AirportRecord("SJU", "Luis Munoz Marin Intl", 18.4394, -66.0018, "America/Puerto_Rico"),
    # The Virgin Islands keep Atlantic time all year, as Puerto Rico does.
    AirportRecord("STT", "Cyril E King", 18.3373, -64.9733, "America/Puerto_Rico"),
)
"""Destinations of the week that ``airports.csv`` leaves out."""


@dataclass(frozen=True, slots=True)
class FlightRecord:
    """One flight: what was planned, and what came of it. Times are UTC, delays minutes.

    ``departed_at`` is ``None`` for a cancelled flight. ``arrival_delay`` is ``None`` for a
    cancelled flight and for one that was diverted, or whose arrival was never reported.
    """

    airline: str
    number: int
    tail_number: str
    origin: str
    destination: str
    distance: int
    scheduled_departure: datetime
    scheduled_arrival: datetime
    departed_at: datetime | None
    departure_delay: int | None
    arrived_at: datetime | None
    arrival_delay: int | None

    @property
    def is_cancelled(self) -> bool:
        return self.departed_at is None


def read_airlines() -> dict[str, str]:
    """Names of the airlines by code."""
    with (DATA / "airlines.csv").open(encoding="utf-8", newline="") as file:
        return {row["carrier"]: row["name"] for row in csv.DictReader(file)}


def read_airports() -> dict[str, AirportRecord]:
    """The airports by code, with those that the file leaves out. An unknown zone is ``""``."""
    airports = {airport.code: airport for airport in MISSING_AIRPORTS}
    with (DATA / "airports.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            airports[row["faa"]] = AirportRecord(
                code=row["faa"],
                name=row["name"],
                latitude=float(row["lat"]),
                longitude=float(row["lon"]),
                time_zone="" if row["tzone"] == "NA" else row["tzone"],
            )
    return airports


def read_flights(path: Path = WEEK) -> list[FlightRecord]:
    """Every flight of the file, in the order of departure planned.

    Raises:
        ValueError: a flight goes to an airport whose time zone is unknown.
    """
    airports = read_airports()
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        records = [_read(row, airports) for row in csv.DictReader(file)]
    return sorted(records, key=lambda r: (r.scheduled_departure, r.airline, r.number, r.origin))


def at_clock_reading(day: date, reading: int, zone: ZoneInfo) -> datetime:
    """The moment in UTC when clocks in ``zone`` read ``hmm`` or ``hhmm`` on ``day``.

    ``2400`` is the midnight at the end of the day.
    """
    hours, minutes = divmod(reading, 100)
    if hours == 24:
        day, hours = day + timedelta(days=1), 0
    return datetime.combine(day, time(hours, minutes), zone).astimezone(UTC)


def next_clock_reading(after: datetime, reading: int, zone: ZoneInfo) -> datetime:
    """The first moment after ``after`` when clocks in ``zone`` read ``hmm`` or ``hhmm``."""
    return next(moment for moment in _readings(after, reading, zone) if moment > after)


def _readings(after: datetime, reading: int, zone: ZoneInfo) -> Iterator[datetime]:
    # From the day before: 2400 belongs to the day that it ends.
    day = after.astimezone(zone).date() - timedelta(days=1)
    while True:
        yield at_clock_reading(day, reading, zone)
        day += timedelta(days=1)


def _read(row: dict[str, str], airports: dict[str, AirportRecord]) -> FlightRecord:
    origin, destination = airports[row["origin"]], airports[row["dest"]]
    if not destination.time_zone:
        raise ValueError(
            f"{row['carrier']} {row['flight']} goes to {destination.code}, whose time zone "
            f"airports.csv does not know."
        )
    zone = ZoneInfo(destination.time_zone)
    day = date(int(row["year"]), int(row["month"]), int(row["day"]))
    departure = at_clock_reading(day, int(row["sched_dep_time"]), ZoneInfo(origin.time_zone))
    arrival = next_clock_reading(departure, int(row["sched_arr_time"]), zone)
    departure_delay = int(row["dep_delay"]) if row["dep_delay"] else None
    arrival_delay = int(row["arr_delay"]) if row["arr_delay"] else None
    departed_at = arrived_at = None
    # Counted from the plan by the delay, not from the clock reading: 23:50 with a delay of 853
    # minutes reads 14:03, and only the delay tells of which day.
    if departure_delay is not None:
        departed_at = departure + timedelta(minutes=departure_delay)
    if arrival_delay is not None:
        arrived_at = arrival + timedelta(minutes=arrival_delay)
    elif departed_at is not None and row["arr_time"]:
        arrived_at = next_clock_reading(departed_at, int(row["arr_time"]), zone)
    return FlightRecord(
        airline=row["carrier"],
        number=int(row["flight"]),
        tail_number=row["tailnum"],
        origin=origin.code,
        destination=destination.code,
        distance=int(row["distance"]),
        scheduled_departure=departure,
        scheduled_arrival=arrival,
        departed_at=departed_at,
        departure_delay=departure_delay,
        arrived_at=arrived_at,
        arrival_delay=arrival_delay,
    )
