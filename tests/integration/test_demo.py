"""The demo's flows at work: each tells its story, and a day of them adds up."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from smtplib import SMTPServerDisconnected
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from rich.console import Console

from demo import feed, report, week
from demo.clock import clock
from demo.feed import News, news_of_week
from demo.flow_documents import FLOWS, DemoFlow
from demo.loading import load
from demo.models import Airline, Airport, Flight, FlightStatus, Notice, Rebooking, Voucher
from demo.records import HOME_ZONE, WEEK, read_flights
from flowcontrol.findings import find_all
from flowcontrol.models import EventKind, Flow, FlowRun, Outcome, Status

pytestmark = pytest.mark.django_db

FRIDAY = datetime(2013, 2, 8, tzinfo=HOME_ZONE)
NOON = FRIDAY.replace(hour=12)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _desk(settings: Any) -> Iterator[None]:
    """The desk opens on Friday at midnight, with its flows published."""
    settings.FLOWCONTROL_CLOCK = "demo.clock.now"
    clock.reset()
    clock.set(FRIDAY)
    yield
    clock.reset()


@pytest.fixture
def _flows(_desk: None) -> None:
    week.publish_flows()


@pytest.fixture
def _places() -> None:
    Airline.objects.create(code="UA", name="United")
    Airline.objects.create(code="B6", name="JetBlue")
    for code, name, zone in (
        ("EWR", "Newark", "America/New_York"),
        ("ORD", "Chicago", "America/Chicago"),
        ("BOS", "Boston", "America/New_York"),
    ):
        Airport.objects.create(code=code, name=name, time_zone=zone)


def flight(at: datetime = NOON, **fields: Any) -> Flight:
    defaults: dict[str, Any] = {
        "airline_id": "UA",
        "number": 100 + Flight.objects.count(),
        "day": at.astimezone(HOME_ZONE).date(),
        "origin_id": "EWR",
        "destination_id": "ORD",
        "distance": 719,
        "scheduled_departure": at,
        "scheduled_arrival": at + 2 * HOUR,
    }
    return Flight.objects.create(**{**defaults, **fields})


def news_of_delay(late: Flight, minutes: int) -> list[News]:
    """As in the feed: the delay grows piece by piece, then the flight leaves."""
    planned = late.scheduled_departure
    news = [
        News(at, late.pk, {"status": FlightStatus.DELAYED, "delay": delay})
        for at, delay in feed.announcements(planned, minutes)
    ]
    left = {"status": FlightStatus.DEPARTED, "departed_at": planned + timedelta(minutes=minutes)}
    return [*news, News(planned + timedelta(minutes=minutes), late.pk, left)]


def cancellation(cancelled: Flight) -> list[News]:
    return [
        News(
            cancelled.scheduled_departure - 2 * HOUR,
            cancelled.pk,
            {"status": FlightStatus.CANCELLED},
        )
    ]


def outcomes(slug: str) -> list[str]:
    return list(FlowRun.objects.filter(flow__slug=slug).values_list("outcome", flat=True))


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.slug)
@pytest.mark.usefixtures("_flows")
def test_the_checker_has_nothing_to_say_about_a_flow_of_the_demo(flow: DemoFlow):
    assert find_all(flow.document) == []


@pytest.mark.usefixtures("_flows", "_places")
class TestLongDelay:
    def test_a_flight_that_is_less_than_an_hour_late_starts_nothing(self):
        week.play(news_of_delay(flight(), 59))

        assert not FlowRun.objects.exists()

    def test_the_station_is_reminded_every_hour_until_the_flight_has_left(self):
        late = flight()

        # An hour late is known at 12:15; it leaves at 15:00, before the third reminder.
        week.play(news_of_delay(late, 180), step=timedelta(minutes=5))

        notices = Notice.objects.order_by("sent_at").values_list("sent_at", "subject")
        assert [(f"{at.astimezone(HOME_ZONE):%H:%M}", subject) for at, subject in notices] == [
            ("12:15", f"{late.code} will leave 90 minutes late"),
            ("13:15", f"Reminder 1: {late.code} is still here"),
            ("14:15", f"Reminder 2: {late.code} is still here"),
        ]
        assert outcomes("long-delay") == [Outcome.COMPLETE]

    def test_after_four_reminders_the_duty_manager_is_told(self):
        week.play(news_of_delay(flight(), 600))

        assert FlowRun.objects.get().state == {"reminders": 4}
        assert [to for message in mail.outbox for to in message.to] == [
            *["ewr@stations.example"] * 5,
            "duty.manager@airline.example",
        ]

    def test_a_flight_that_is_cancelled_after_all_makes_the_run_obsolete(self):
        late = flight()
        news = news_of_delay(late, 180)[:2]
        at = late.scheduled_departure + HOUR
        week.play([*news, News(at, late.pk, {"status": FlightStatus.CANCELLED})])

        assert outcomes("long-delay") == [Outcome.OBSOLETE]


@pytest.mark.usefixtures("_flows", "_places")
class TestCancellation:
    def test_nothing_is_needed_when_everybody_finds_a_seat(self):
        cancelled = flight()
        for hours in range(1, 5):
            flight(NOON + hours * HOUR)

        week.play(cancellation(cancelled))

        assert sum(Rebooking.objects.values_list("passengers", flat=True)) == 80
        assert not Voucher.objects.exists()
        assert [notice.station_id for notice in Notice.objects.all()] == ["EWR"]
        assert outcomes("cancellation") == [Outcome.COMPLETE]

    @pytest.mark.parametrize(
        ("at", "distance", "vouchers"),
        [
            (NOON, 250, ["coach"]),
            (NOON.replace(hour=20), 250, ["coach"]),
            (NOON, 251, ["meal"]),
            (NOON.replace(hour=16, minute=59), 719, ["meal"]),
            (NOON.replace(hour=17), 719, ["hotel", "meal"]),
        ],
    )
    def test_the_distance_and_the_time_of_day_decide_what_people_get(
        self, at: datetime, distance: int, vouchers: list[str]
    ):
        week.play(cancellation(flight(at, distance=distance)))

        given = Voucher.objects.order_by("pk").values_list("kind", "people")
        assert list(given) == [(kind, 80) for kind in vouchers]

    def test_in_the_day_other_airlines_are_tried_three_hours_later(self):
        cancelled = flight()
        other = flight(NOON + 6 * HOUR, airline_id="B6")

        week.play(cancellation(cancelled))

        rebooking = Rebooking.objects.get()
        assert (rebooking.onto, rebooking.passengers) == (other, 20)
        assert rebooking.made_at == NOON + HOUR  # known two hours before noon, then three later

    def test_in_the_evening_a_sub_flow_lets_people_sleep_until_seven(self):
        cancelled = flight(NOON.replace(hour=20))
        flight(NOON + 24 * HOUR, airline_id="B6")

        week.play(cancellation(cancelled))

        assert outcomes("hotel-night") == [Outcome.COMPLETE]
        assert Rebooking.objects.get().made_at == FRIDAY + 31 * HOUR
        assert list(Voucher.objects.order_by("pk").values_list("kind", "people")) == [
            ("hotel", 80),
            ("meal", 60),
        ]

    def test_both_stations_hear_of_those_who_are_left(self):
        week.play(cancellation(flight(distance=200)))

        assert Counter(message.to[0] for message in mail.outbox) == {
            "ewr@stations.example": 1,
            "ord@stations.example": 1,
        }
        assert "80 of its passengers are still in New York." in mail.outbox[1].body

    def test_a_mail_and_its_record_name_the_same_step(self):
        week.play(cancellation(flight()))

        sent = {message.extra_headers["X-Step-Key"] for message in mail.outbox}
        assert sent == set(Notice.objects.values_list("step_key", flat=True))


@pytest.mark.usefixtures("_flows", "_places")
class TestLongHaulCancellation:
    FAR = 2475

    def test_stations_are_told_and_seats_found_at_the_same_time(self):
        cancelled = flight(distance=self.FAR)
        others = [flight(NOON + hours * HOUR, airline_id="B6") for hours in (1, 2, 3, 4)]

        week.play(cancellation(cancelled)[:1])

        assert Counter(message.to[0] for message in mail.outbox) == {
            "ewr@stations.example": 1,
            "ord@stations.example": 1,
        }
        first = Rebooking.objects.filter(made_at=NOON - 2 * HOUR).order_by("onto__pk")
        # Twenty free seats on each of the next three; the fourth is found later.
        assert [(each.onto, each.passengers) for each in first] == [(o, 20) for o in others[:3]]

    def test_who_is_rebooked_within_twelve_hours_needs_no_hotel(self):
        cancelled = flight(distance=self.FAR)
        for hours in (1, 2, 3, 4):
            flight(NOON + hours * HOUR, airline_id="B6")

        week.play(cancellation(cancelled))

        run = FlowRun.objects.get(flow__slug="long-haul-cancellation", root_uid="")
        assert run.state["rebooked"] == {"moved": 20}
        assert run.done_at == NOON + HOUR  # the second try of the sub-flow, three hours later
        assert not Voucher.objects.exists()

    def test_otherwise_there_are_hotel_vouchers(self):
        cancelled = flight(distance=self.FAR)

        week.play(cancellation(cancelled))

        run = FlowRun.objects.get(flow__slug="long-haul-cancellation", root_uid="")
        assert (run.outcome, run.state["rebooked"]) == (Outcome.COMPLETE, None)
        assert run.done_at == NOON + 10 * HOUR
        assert list(Voucher.objects.values_list("kind", "people")) == [("hotel", 80)]

    def test_a_mail_server_that_is_down_is_tried_again_and_then_somebody_telephones(
        self, monkeypatch: Any
    ):
        def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
            raise SMTPServerDisconnected("The mail server is down.")

        monkeypatch.setattr(EmailMessage, "send", refuse)
        cancelled = flight(distance=self.FAR)
        flight(NOON + HOUR, passengers=20)

        week.play(cancellation(cancelled))

        run = FlowRun.objects.get(flow__slug="long-haul-cancellation", root_uid="")
        assert (run.outcome, run.state["by_phone"]) == (Outcome.COMPLETE, "destination")
        branch = FlowRun.objects.filter(parent_run=run).exclude(root_uid="").order_by("pk")[0]
        retries = branch.events.filter(kind=EventKind.RETRY)
        assert retries.count() == 4  # two before the last try, for each of two stations
        assert not FlowRun.objects.filter(status=Status.FAILED).exists()


@pytest.fixture
def _friday(_flows: None) -> None:
    """The day of the blizzard, lived through from midnight until the last run is done."""
    records = [
        record
        for record in read_flights()
        if record.scheduled_departure.astimezone(HOME_ZONE).date() == FRIDAY.date()
    ]
    news = news_of_week(records, load(records))
    week.start_the_week()
    week.play(news, step=HOUR / 2)


@pytest.mark.usefixtures("_friday")
def test_the_day_of_the_blizzard_adds_up(tmp_path: Path):
    with gzip.open(WEEK, "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["day"] == "8"]
    delays = [int(row["dep_delay"]) for row in rows if row["dep_time"]]

    figures = report.gather(tmp_path)

    (friday,) = figures.days
    assert (friday.day, friday.flights) == (date(2013, 2, 8), len(rows)) == (FRIDAY.date(), 930)
    assert friday.late == sum(delay >= 15 for delay in delays) == 125
    assert friday.cancelled == len(rows) - len(delays) == 472
    assert friday.notices == Notice.objects.count()

    flows = {flow.name: flow for flow in figures.flows}
    far = Flight.objects.filter(status=FlightStatus.CANCELLED, distance__gt=1500).count()
    assert flows["Cancellation"].runs == flows["Cancellation"].complete == 472 - far
    assert flows["Station information"].complete == 472 - far
    # Each is a run with two branches.
    long_haul = flows["Long-haul cancellation"]
    assert long_haul.runs == long_haul.complete == 3 * far
    assert flows["Long delay"].runs == sum(delay >= 60 for delay in delays) == 36
    nights = Voucher.objects.filter(kind="hotel", flight__distance__lte=1500)
    assert flows["Hotel night"].complete == nights.values_list("flight").distinct().count()
    assert flows["Daily summary"].complete == 1
    assert not FlowRun.objects.exclude(status=Status.DONE).exists()

    # Nobody is lost: who was rebooked sits on another flight, or was moved once more.
    moved = sum(Rebooking.objects.values_list("passengers", flat=True))
    assert friday.rebooked == moved
    assert sum(Flight.objects.values_list("passengers", flat=True)) == 930 * 80

    # Each mail once: every step that wrote one has its own key.
    to_stations = [message for message in mail.outbox if "@stations" in message.to[0]]
    keys = {message.extra_headers["X-Step-Key"] for message in to_stations}
    assert len(keys) == len(to_stations) == friday.notices
    summaries = [message for message in mail.outbox if message.to == ["operations@airline.example"]]
    assert [message.subject for message in summaries] == [
        "A hard day: Friday, 08 February 2013",
        "A good day: Saturday, 09 February 2013",  # of which nothing was loaded
        "A good day: Sunday, 10 February 2013",
        "A good day: Monday, 11 February 2013",
        "A good day: Tuesday, 12 February 2013",
        "A good day: Wednesday, 13 February 2013",
        "A good day: Thursday, 14 February 2013",
    ]
    assert "Cancelled         472 (51 %)" in summaries[0].body

    text = _printed(figures)
    for figure in ("930", "125", "472"):
        assert figure in text


def _printed(figures: report.Report) -> str:
    console = Console(width=80, file=StringIO())
    report.render(figures, console, seconds=1.0)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_mails_are_counted_by_mailbox(tmp_path: Path):
    end = "\n" + "-" * 79 + "\n"
    (tmp_path / "1.log").write_text(f"To: ewr@stations.example\n\ntext{end}")
    (tmp_path / "2.log").write_text(f"To: ord@stations.example\n\ntext{end}" * 2)
    (tmp_path / "3.log").write_text(f"To: operations@airline.example\n\nTo: nobody{end}")

    counts = report.count_mails(report.read_mails(tmp_path))

    assert counts == {"stations": 3, "operations": 1}


@pytest.mark.usefixtures("_flows")
def test_a_paused_flow_does_not_stop_the_clock_for_ever():
    run = week.start_the_week()
    Flow.objects.filter(pk=run.flow_id).update(paused_at=FRIDAY)

    assert week.play([]) == 1


@pytest.mark.usefixtures("_flows")
def test_the_clock_stops_at_the_end_of_the_step_in_which_something_happens():
    news = [News(datetime(2013, 2, 8, 17, 1, tzinfo=UTC), 1, {})]

    assert week.next_moment(news, timedelta(minutes=15)) == datetime(2013, 2, 8, 17, 15, tzinfo=UTC)
    assert week.next_moment([], timedelta(minutes=15)) is None
