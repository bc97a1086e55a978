"""Expressions that read rows of the database through an object."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db import OperationalError, connection

from demo.models import Airline, Airport, Flight
from flowcontrol.expressions import ExpressionError, Scope, compile_expression, compile_template

pytestmark = pytest.mark.django_db


@pytest.fixture
def airline() -> Airline:
    united = Airline.objects.create(code="UA", name="United")
    newark = Airport.objects.create(code="EWR", name="Newark", time_zone="America/New_York")
    for number, delay in ((1117, 25), (1497, 0)):
        Flight.objects.create(
            airline=united,
            number=number,
            day=date(2013, 2, 4),
            origin=newark,
            destination=newark,
            distance=number,
            delay=delay,
            scheduled_departure=datetime(2013, 2, 4, 10, number // 1000, number % 60, tzinfo=UTC),
            scheduled_arrival=datetime(2013, 2, 4, 12, tzinfo=UTC),
        )
    return united


def value_of(source: str, airline: Airline) -> Any:
    return compile_expression(source).evaluate(Scope(fixed={"object": airline}))


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("object.flight_set.count", 2),
        ("object.flight_set.exists", True),
        ("object.flight_set.first.number", 1117),
        ("object.flight_set.all.1.number", 1497),
        ("object.flight_set.all.9", None),
        ("object.flight_set|length", 2),
        ("object.flight_set.all|length", 2),
        ("object.flight_set|first|str", "UA 1117 EWR–EWR Mon 04 Feb"),
        ('object.flight_set|each:"number"', [1117, 1497]),
        ('object.flight_set|each:"distance"|sum', 2614),
        ('object.flight_set.all|sort:"delay"|each:"number"', [1497, 1117]),
        ('object.flight_set|slice:1|each:"number"', [1117]),
        ("object.flight_set.first in object.flight_set", True),
        ("object.flight_set.first in object.flight_set.all", True),
        ("object.flight_set.first == object.flight_set|first", True),
        ("object.flight_set.last == object.flight_set|last", True),
        ("object in object.flight_set|each:'airline'", True),
    ],
)
def test_related_rows_are_counted_listed_and_searched(
    airline: Airline, source: str, value: Any
) -> None:
    assert value_of(source, airline) == value


def test_a_text_goes_through_related_rows(airline: Airline) -> None:
    source = "{% for flight in object.flight_set %}{{ flight.code }} {% endfor %}"
    assert compile_template(source).render(Scope(fixed={"object": airline})) == "UA 1117 UA 1497 "


def test_counting_and_taking_the_first_do_not_load_all_rows(
    airline: Airline, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1) as queries:
        value_of("object.flight_set|length", airline)
    assert "COUNT(" in queries.captured_queries[0]["sql"]
    with django_assert_num_queries(1) as queries:
        value_of("object.flight_set|first", airline)
    assert "LIMIT 1" in queries.captured_queries[0]["sql"]


def test_exposed_fields_hold_for_rows_however_they_are_reached(
    airline: Airline, settings: Any
) -> None:
    settings.FLOWCONTROL_EXPOSED_FIELDS = {
        "demo.airline": ["flight_set"],
        "demo.flight": ["number"],
    }
    assert value_of("object.flight_set.first.number", airline) == 1117
    assert value_of("object.flight_set.all.0.number", airline) == 1117
    for source in (
        "object.flight_set.first.delay",
        "object.flight_set.all.0.delay",
        'object.flight_set|each:"delay"',
        'object.flight_set|sort:"delay"',
        "object.flight_set.values",
        "object.flight_set.all.values.0.delay",
        "object.flight_set.first.airline.name",
    ):
        with pytest.raises(ExpressionError, match="FLOWCONTROL_EXPOSED_FIELDS"):
            value_of(source, airline)


def test_an_error_names_rows_without_asking_for_them(
    airline: Airline, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0), pytest.raises(ExpressionError, match="rows of Flight"):
        value_of("object.flight_set.all|lower", airline)


def test_trouble_with_the_database_is_not_the_authors_mistake(airline: Airline) -> None:
    def broken(execute: Any, *args: Any) -> Any:
        raise OperationalError("the connection was closed")

    with connection.execute_wrapper(broken), pytest.raises(OperationalError):
        value_of("object.flight_set.count > 0", airline)
