"""Short words for tests of the expression language: evaluate, refuse, render."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from demo.models import Airline, Airport, Flight, FlightStatus
from flowcontrol.expressions import (
    ExpressionError,
    ExpressionSyntaxError,
    Scope,
    compile_expression,
    compile_template,
)

NOON = datetime(2013, 2, 4, 17, 0, tzinfo=UTC)  # 12:00 in New York


def value_of(source: str, /, scope: Scope | None = None, **state: Any) -> Any:
    return compile_expression(source).evaluate(scope or Scope(state))


def refusal(source: str, /, scope: Scope | None = None, **state: Any) -> str:
    with pytest.raises(ExpressionError) as caught:
        value_of(source, scope, **state)
    assert type(caught.value) is ExpressionError
    return str(caught.value)


def misread(source: str) -> tuple[int | None, str]:
    with pytest.raises(ExpressionSyntaxError) as caught:
        compile_expression(source)
    assert caught.value.expression == source
    return caught.value.position, str(caught.value)


def about(**things: Any) -> Scope:
    return Scope(fixed={"now": NOON, "today": date(2013, 2, 4), **things})


def a_flight(**fields: Any) -> Flight:
    newark = Airport(code="EWR", name="Newark", time_zone="America/New_York")
    return Flight(
        **{
            "pk": 12,
            "airline": Airline(code="UA", name="United"),
            "number": 1117,
            "origin": newark,
            "scheduled_departure": datetime(2013, 2, 4, 10, 0, tzinfo=UTC),
            "status": FlightStatus.DELAYED,
            **fields,
        }
    )


def text_of(source: str, /, scope: Scope | None = None, html: bool = False, **state: Any) -> str:
    text = compile_template(source, html=html).render(scope or Scope(state))
    assert type(text) is str
    return text
