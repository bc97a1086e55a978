"""What the desk does, in plain Django. Nothing here knows of flowcontrol: the actions call it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, F, Q

from demo.models import (
    LATE,
    ON_THE_GROUND,
    Flight,
    FlightStatus,
    Rebooking,
    Voucher,
    VoucherKind,
)


def rebook(
    flight: Flight, *, now: datetime, within: timedelta, other_airlines: bool = False
) -> dict[str, int]:
    """Move the passengers of ``flight`` onto later ones to the same place, the next one first.

    ``within`` is counted from the departure planned, or from ``now`` if that is later.
    Returns how many were ``moved`` onto how many ``flights``, and how many are ``left``.
    """
    start = max(now, flight.scheduled_departure)
    later = (
        Flight.objects.filter(
            destination=flight.destination_id,
            scheduled_departure__gt=start,
            scheduled_departure__lte=start + within,
            status__in=ON_THE_GROUND,
            passengers__lt=F("seats"),
        )
        .exclude(pk=flight.pk)
        .order_by("scheduled_departure", "pk")
    )
    if not other_airlines:
        later = later.filter(airline=flight.airline_id)
    left = flight.passengers
    taken = []
    rows = []
    for other in later:
        if not left:
            break
        seats = min(left, other.seats - other.passengers)
        other.passengers += seats
        left -= seats
        taken.append(other)
        rows.append(Rebooking(flight=flight, onto=other, passengers=seats, made_at=now))
    moved = flight.passengers - left
    if moved:
        flight.passengers = left
        Rebooking.objects.bulk_create(rows)
        # In bulk, so without signals: who is on board is nothing that a flow reacts to.
        Flight.objects.bulk_update([flight, *taken], ["passengers"])
    return {"moved": moved, "flights": len(taken), "left": left}


def next_flights(flight: Flight, *, now: datetime, count: int) -> list[dict[str, Any]]:
    """The next ``count`` flights of any airline to the same place that have free seats."""
    later = Flight.objects.filter(
        destination=flight.destination_id,
        scheduled_departure__gt=max(now, flight.scheduled_departure),
        status__in=ON_THE_GROUND,
        passengers__lt=F("seats"),
    ).exclude(pk=flight.pk)
    return [
        {"id": other.pk, "code": other.code, "free": other.seats - other.passengers}
        for other in later.order_by("scheduled_departure", "pk")[:count]
    ]


def move_onto(flight: Flight, other_id: int, *, now: datetime) -> dict[str, int]:
    """Move as many passengers of ``flight`` as there is room for onto one other flight."""
    other = Flight.objects.get(pk=other_id)
    free = other.seats - other.passengers if other.is_waiting else 0
    moved = min(flight.passengers, max(free, 0))
    if moved:
        flight.passengers -= moved
        other.passengers += moved
        Rebooking.objects.create(flight=flight, onto=other, passengers=moved, made_at=now)
        # In bulk, so without signals: who is on board is nothing that a flow reacts to.
        Flight.objects.bulk_update([flight, other], ["passengers"])
    return {"moved": moved, "left": flight.passengers}


def issue_vouchers(flight: Flight, *, kind: VoucherKind, now: datetime) -> int:
    """Hand out a voucher to everybody who is still booked on ``flight``; to how many."""
    if flight.passengers:
        Voucher.objects.create(flight=flight, kind=kind, people=flight.passengers, issued_at=now)
    return flight.passengers


def day_figures(day: date) -> dict[str, Any]:
    """How ``day`` went, in numbers: plain JSON."""
    flights = Flight.objects.filter(day=day)
    gone = ~Q(status__in=(*ON_THE_GROUND, FlightStatus.CANCELLED))
    figures: dict[str, Any] = flights.aggregate(
        flights=Count("pk"),
        left=Count("pk", filter=gone),
        waiting=Count("pk", filter=Q(status__in=ON_THE_GROUND)),
        late=Count("pk", filter=~Q(status=FlightStatus.CANCELLED) & Q(delay__gte=LATE)),
        cancelled=Count("pk", filter=Q(status=FlightStatus.CANCELLED)),
    )
    planned = max(figures["flights"], 1)
    worst = flights.exclude(status=FlightStatus.CANCELLED).order_by("-delay", "pk").first()
    return {
        "day": f"{day:%A, %d %B %Y}",
        **figures,
        "late_percent": round(100 * figures["late"] / planned),
        "cancelled_percent": round(100 * figures["cancelled"] / planned),
        "worst": f"{worst.code} to {worst.destination_id}, {worst.delay} minutes" if worst else "",
    }
