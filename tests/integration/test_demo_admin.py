"""The demo's own admin pages, and the small server that shows them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any
from urllib.request import urlopen

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from demo import serving
from demo.models import Airline, Airport, Flight, FlightStatus, Notice, Rebooking, Voucher
from demo.show import open_server
from flowcontrol.models import Firing

NOON = datetime(2013, 2, 8, 17, tzinfo=UTC)
PAGES = ("airline", "airport", "flight", "notice", "rebooking", "voucher")


@pytest.fixture
def flights(db: None) -> list[Flight]:
    """Three flights; something was done about the first."""
    united = Airline.objects.create(code="UA", name="United")
    newark = Airport.objects.create(code="EWR", name="Newark", time_zone="America/New_York")
    chicago = Airport.objects.create(code="ORD", name="Chicago", time_zone="America/Chicago")
    flights = [
        Flight.objects.create(
            airline=united,
            number=number,
            day=NOON.date(),
            origin=newark,
            destination=chicago,
            distance=719,
            scheduled_departure=NOON,
            scheduled_arrival=NOON + timedelta(hours=3),
        )
        for number in (1, 2, 3)
    ]
    first, second, _third = flights
    Rebooking.objects.create(flight=first, onto=second, passengers=20, made_at=NOON)
    Voucher.objects.create(flight=first, kind="meal", people=60, issued_at=NOON)
    Notice.objects.create(
        flight=first, station=newark, subject="Cancelled", text="", sent_at=NOON, step_key="1-1"
    )
    return flights


@pytest.mark.parametrize("page", PAGES)
def test_every_list_opens(page: str, flights: list[Flight], admin_client: Client):
    response = admin_client.get(f"/admin/demo/{page}/", {"q": ""})

    assert response.status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_every_list_opens_for_people_who_may_only_look(
    page: str, flights: list[Flight], client: Client
):
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(
        Permission.objects.filter(content_type__app_label="demo", codename__startswith="view_")
    )
    client.force_login(viewer)

    assert client.get(f"/admin/demo/{page}/").status_code == 200
    assert b"announce_delay" not in client.get("/admin/demo/flight/").content


def test_a_flight_shows_its_times_on_local_clocks_and_what_was_done(
    flights: list[Flight], admin_client: Client
):
    text = admin_client.get(f"/admin/demo/flight/{flights[0].pk}/change/").content.decode()

    assert "Fri 08 Feb, 12:00" in text
    assert "Fri 08 Feb, 14:00 (America/Chicago)" in text
    assert "UA 2 EWR–ORD Fri 08 Feb" in text


def test_flights_can_be_filtered_by_day(flights: list[Flight], admin_client: Client):
    def shown(day: str) -> int:
        response = admin_client.get("/admin/demo/flight/", {"day": day})
        count: int = response.context["cl"].result_count
        return count

    assert shown("2013-02-08") == 3
    assert shown("2013-02-09") == 0


def test_the_list_of_flights_asks_no_query_per_row(
    flights: list[Flight],
    admin_client: Client,
    django_assert_max_num_queries: DjangoAssertNumQueries,
):
    with django_assert_max_num_queries(12):
        admin_client.get("/admin/demo/flight/")


@pytest.mark.parametrize(
    ("action", "status", "delay", "fired"),
    [
        ("announce_delay", FlightStatus.DELAYED, 90, {"demo.flight_changed"}),
        (
            "cancel",
            FlightStatus.CANCELLED,
            0,
            {"demo.flight_changed", "demo.flight_cancelled"},
        ),
    ],
)
def test_flows_hear_of_what_is_done_in_the_admin(
    action: str,
    status: str,
    delay: int,
    fired: set[str],
    flights: list[Flight],
    admin_client: Client,
):
    admin_client.post(
        "/admin/demo/flight/", {"action": action, "_selected_action": [flights[0].pk]}
    )

    first, second = Flight.objects.order_by("pk")[:2]
    assert (first.status, first.delay) == (status, delay)
    assert second.status == FlightStatus.SCHEDULED
    assert set(Firing.objects.values_list("name", "object_id")) == {
        (name, str(first.pk)) for name in fired
    }


def test_saving_a_flight_without_a_change_tells_nobody(flights: list[Flight]):
    Flight.objects.get(pk=flights[0].pk).save()

    assert not Firing.objects.exists()


@pytest.fixture
def port() -> Iterator[int]:
    """A port that is taken."""
    with socket.create_server((serving.HOST, 0)) as taken:
        yield taken.getsockname()[1]


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(port: int):
    with pytest.raises(SystemExit, match=f"Port {port} cannot be used"):
        open_server(port)


def test_the_server_delivers_pages_and_static_files(settings: Any):
    settings.ALLOWED_HOSTS = [serving.HOST]
    server = open_server(0)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        for path, kind in (
            ("/admin/login/", "text/html"),
            ("/static/demo/desk.css", "text/css"),
        ):
            with urlopen(f"http://{serving.HOST}:{server.server_port}{path}") as answer:
                assert answer.status == 200
                assert answer.headers.get_content_type() == kind
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.django_db
def test_a_sweep_that_goes_wrong_is_followed_by_the_next(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    stop = Event()
    sweeps = iter([RuntimeError("no disk"), None])

    def sweep() -> None:
        if (error := next(sweeps)) is not None:
            raise error
        stop.set()

    monkeypatch.setattr(serving, "continue_flowruns", sweep)
    serving.keep_running(stop, pause=0)

    assert next(sweeps, "both were tried") == "both were tried"
    assert "no disk" in caplog.text
