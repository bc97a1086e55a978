"""What the demo's desk does, and how its data gets into the database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Count
from django.db.models.signals import post_save

from demo import desk, feed
from demo.clock import clock
from demo.feed import News
from demo.loading import load
from demo.models import (
    Airline,
    Airport,
    Flight,
    FlightStatus,
    Rebooking,
    Voucher,
    VoucherKind,
)
from demo.records import read_flights

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 17, tzinfo=UTC)
HOURS = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _desk_clock():
    clock.reset()
    clock.set(NOON - 12 * HOURS)
    yield
    clock.reset()


@pytest.fixture
def airports() -> None:
    Airline.objects.bulk_create([Airline(code="UA", name="United"), Airline(code="B6", name="JB")])
    Airport.objects.bulk_create(
        [
            Airport(code="EWR", name="Newark", time_zone="America/New_York"),
            Airport(code="ORD", name="Chicago", time_zone="America/Chicago"),
            Airport(code="BOS", name="Boston", time_zone="America/New_York"),
        ]
    )


def flight(number: int, at: datetime = NOON, **fields: Any) -> Flight:
    defaults: dict[str, Any] = {
        "airline_id": "UA",
        "day": at.date(),
        "origin_id": "EWR",
        "destination_id": "ORD",
        "distance": 719,
        "scheduled_departure": at,
        "scheduled_arrival": at + 2 * HOURS,
    }
    return Flight.objects.create(number=number, **{**defaults, **fields})


def test_the_whole_week_is_loaded_with_every_flight_still_to_leave():
    flights = load(read_flights())

    assert Flight.objects.filter(status=FlightStatus.SCHEDULED, delay=0).count() == 6104
    assert Flight.objects.get(pk=flights[17].pk).code == flights[17].code
    days = dict(Flight.objects.order_by("day").values_list("day").annotate(Count("pk")))
    assert days[date(2013, 2, 8)] == 930
    assert days[date(2013, 2, 9)] == 684
    night = Flight.objects.select_related("origin", "destination").get(
        airline="B6", number=727, day=date(2013, 2, 7)
    )
    assert night.departs == "23:59 on Thu 07 Feb"
    assert f"{night.local_arrival:%H:%M}" == "04:36"


@pytest.mark.usefixtures("airports")
class TestRebooking:
    def test_passengers_take_the_seats_of_the_next_flights(self):
        cancelled = flight(1, status=FlightStatus.CANCELLED, passengers=30)
        second = flight(3, NOON + 5 * HOURS)
        first = flight(2, NOON + 2 * HOURS)

        outcome = desk.rebook(cancelled, now=NOON, within=24 * HOURS)

        assert outcome == {"moved": 30, "flights": 2, "left": 0}
        assert list(Rebooking.objects.order_by("pk").values_list("onto", "passengers")) == [
            (first.pk, 20),
            (second.pk, 10),
        ]
        booked = dict(Flight.objects.values_list("number", "passengers"))
        assert booked == {1: 0, 2: 100, 3: 90}

    def test_whoever_finds_no_seat_stays_booked_on_the_cancelled_flight(self):
        cancelled = flight(1, status=FlightStatus.CANCELLED)
        flight(2, NOON + 2 * HOURS)

        assert desk.rebook(cancelled, now=NOON, within=24 * HOURS)["left"] == 60
        assert Flight.objects.get(number=1).passengers == 60

    @pytest.mark.parametrize(
        "unfit",
        [
            {"status": FlightStatus.CANCELLED},
            {"status": FlightStatus.DEPARTED},
            {"destination_id": "BOS"},
            {"airline_id": "B6"},
            {"passengers": 100},
            {"scheduled_departure": NOON - HOURS},
            {"scheduled_departure": NOON + 25 * HOURS},
        ],
    )
    def test_no_seat_on_a_flight_that_does_not_fit(self, unfit: dict[str, Any]):
        cancelled = flight(1, status=FlightStatus.CANCELLED)
        flight(2, **{"scheduled_departure": NOON + HOURS, **unfit})

        outcome = desk.rebook(cancelled, now=NOON - HOURS, within=24 * HOURS)

        assert outcome == {"moved": 0, "flights": 0, "left": 80}
        assert not Rebooking.objects.exists()

    def test_other_airlines_only_if_asked_for(self):
        cancelled = flight(1, status=FlightStatus.CANCELLED)
        flight(2, NOON + HOURS, airline_id="B6")

        outcome = desk.rebook(cancelled, now=NOON, within=24 * HOURS, other_airlines=True)

        assert outcome["moved"] == 20


@pytest.mark.usefixtures("airports")
def test_vouchers_are_for_those_who_are_left():
    stranded, empty = flight(1, passengers=7), flight(2, passengers=0)

    assert desk.issue_vouchers(stranded, kind=VoucherKind.MEAL, now=NOON) == 7
    assert desk.issue_vouchers(empty, kind=VoucherKind.MEAL, now=NOON) == 0
    assert [voucher.people for voucher in Voucher.objects.all()] == [7]


@pytest.mark.usefixtures("airports")
def test_the_figures_of_a_day():
    flight(1, status=FlightStatus.DEPARTED, delay=14)
    flight(2, status=FlightStatus.ARRIVED, delay=15)
    flight(3, status=FlightStatus.DELAYED, delay=90)
    flight(4, status=FlightStatus.CANCELLED)
    flight(5, NOON + 24 * HOURS)

    assert desk.day_figures(NOON.date()) == {
        "day": "Friday, 08 February 2013",
        "flights": 4,
        "left": 2,
        "waiting": 1,
        "late": 2,
        "cancelled": 1,
        "late_percent": 50,
        "cancelled_percent": 25,
        "worst": "UA 3 to ORD, 90 minutes",
    }


def test_the_figures_of_a_day_without_flights():
    figures = desk.day_figures(date(2013, 3, 1))

    assert (figures["flights"], figures["cancelled_percent"], figures["worst"]) == (0, 0, "")


@pytest.mark.usefixtures("airports")
class TestNews:
    def test_is_written_at_its_own_moment(self):
        late = flight(1)
        heard = []

        def hear(instance: Flight, **kwargs: Any) -> None:
            heard.append((clock.now(), instance.delay_before, instance.delay, instance.has_changed))

        post_save.connect(hear, sender=Flight)
        try:
            feed.publish(
                News(at, late.pk, {"status": FlightStatus.DELAYED, "delay": delay})
                for at, delay in feed.announcements(NOON, 60)
            )
        finally:
            post_save.disconnect(hear, sender=Flight)

        assert heard == [
            (NOON - timedelta(minutes=30), 0, 45, True),
            (NOON + timedelta(minutes=15), 45, 60, True),
        ]

    def test_leaves_what_flows_have_written_alone(self):
        full = flight(1)
        Flight.objects.update(passengers=97)

        feed.publish([News(NOON, full.pk, {"status": FlightStatus.CANCELLED})])

        full.refresh_from_db()
        assert (full.status, full.passengers) == (FlightStatus.CANCELLED, 97)
