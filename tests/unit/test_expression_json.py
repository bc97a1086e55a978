"""What may enter a run's state, and how."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from demo.models import Flight, FlightStatus
from flowcontrol.expressions import (
    NotJSON,
    to_json,
)
from tests.unit.language import NOON, a_flight


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (1.5, 1.5),
        ("späť", "späť"),
        (2**70, 2**70),
        (1e16, 10**16),
        (1e300, int(1e300)),
        (-0.0, 0.0),
        (NOON, "2013-02-04T17:00:00Z"),
        (NOON.replace(microsecond=1500), "2013-02-04T17:00:00.001500Z"),
        (NOON.astimezone(ZoneInfo("Europe/Paris")), "2013-02-04T17:00:00Z"),
        (datetime(2013, 2, 4, 12, 0), "2013-02-04T17:00:00Z"),  # noqa: DTZ001 (the case)
        (date(2013, 2, 4), "2013-02-04"),
        (time(9, 30), "09:30:00"),
        (timedelta(hours=2), "PT2H"),
        (timedelta(days=1, seconds=1.5), "P1DT1.5S"),
        (-timedelta(minutes=5), "-PT5M"),
        (timedelta(), "PT0S"),
        (Decimal("12.00"), 12),
        (Decimal("12.5"), 12.5),
        (Decimal("1E+3"), 1000),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (gettext_lazy("Monday"), "Monday"),
        (SafeString("<b>"), "<b>"),
        (FlightStatus.DELAYED, "delayed"),
        ((1, (2,)), [1, [2]]),
        ({"a": {"b": [NOON]}}, {"a": {"b": ["2013-02-04T17:00:00Z"]}}),
        ({FlightStatus.DELAYED: 1}, {"delayed": 1}),
    ],
)
def test_values_enter_state_as_json(value: Any, stored: Any) -> None:
    result = to_json(value, where="state")
    assert result == stored
    assert type(result) is type(stored)


def test_the_true_types_of_text_and_numbers_enter_state() -> None:
    class Level(int):
        pass

    class Share(float):
        pass

    for value, kind in ((Level(3), int), (Share(0.5), float), (SafeString("ä"), str)):
        assert type(to_json(value, where="state")) is kind
    keys = list(to_json({SafeString("ä"): 1}, where="state"))  # type: ignore[arg-type]
    assert type(keys[0]) is str


def test_what_enters_state_is_a_copy() -> None:
    inner = [1]
    stored: Any = to_json({"a": inner, "b": inner}, where="state")
    inner.append(2)
    stored["a"].append(3)
    assert stored == {"a": [1, 3], "b": [1]}


_LOOP: list[Any] = []
_LOOP.append(_LOOP)


@pytest.mark.parametrize(
    ("value", "path", "kind", "message"),
    [
        (math.nan, "", "float", "state: nan is no number that JSON knows."),
        ({"a": [1, math.inf]}, "a[1]", "float", "state at a[1]: inf is no number that JSON knows"),
        (Decimal("NaN"), "", "Decimal", "NaN is no number that JSON can keep."),
        (Decimal("1E+1000"), "", "Decimal", "is no number that JSON can keep."),
        (2**1025, "", "int", "the number is too large."),
        ("a\x00b", "", "str", "the text contains the character NUL (\\u0000)."),
        ({"a\x00": 1}, "", "str", "the text contains the character NUL"),
        ("\ud800", "", "str", "the text contains half of a character."),
        ({5: 1}, "", "dict", "its keys have to be text, and 5 is an int."),
        ([{None: 1}], "[0]", "dict", "state at [0]: its keys have to be text, and None is a None"),
        (a_flight(), "", "Flight", "a Flight is a row of the database; keep its pk instead."),
        ({"f": {"x": [a_flight()]}}, "f.x[0]", "Flight", "state at f.x[0]: a Flight is a row"),
        (Flight.objects.all(), "", "QuerySet", "keep their keys, or their count."),
        (Flight.objects, "", "Manager", "keep their keys, or their count."),
        ({1, 2}, "", "set", "a set has no order; make it a list."),
        (b"x", "", "bytes", "a bytes is none of text, number, true, false, null, list and record."),
        (object(), "", "object", "an object is none of text"),
        (Flight, "", "ModelBase", "a ModelBase is none of text"),
        (_LOOP, "[0]" * 101, "list", "it is nested too deeply, or contains itself."),
        (
            datetime.max.replace(tzinfo=ZoneInfo("America/New_York")),
            "",
            "datetime",
            "the date is out of range.",
        ),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(
    value: Any, path: str, kind: str, message: str
) -> None:
    with pytest.raises(NotJSON) as caught:
        to_json(value, where="state")
    assert message in str(caught.value)
    assert (caught.value.path, caught.value.value_type) == (path, kind)


def _types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _types(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_types(item) for item in value]
    return type(value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
    | st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(-(10**20), 10**20, allow_nan=False, places=3),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), inner
        )
    ),
    max_leaves=10,
)


@given(json_values)
def test_whatever_enters_state_comes_back_from_json_with_the_same_types(value: Any) -> None:
    stored = to_json(value, where="state")
    text = json.dumps(stored, allow_nan=False, ensure_ascii=False)
    assert "\x00" not in text
    text.encode()
    assert json.loads(text) == stored
    assert _types(json.loads(text)) == _types(stored)
    assert to_json(stored, where="state") == stored


@given(
    st.text() | st.binary() | st.floats() | st.dictionaries(st.integers() | st.text(), st.text())
)
def test_any_value_enters_state_as_json_or_is_refused_in_words(value: Any) -> None:
    try:
        stored = to_json(value, where="state")
    except NotJSON:
        return
    text = json.dumps(stored, allow_nan=False)
    # What jsonb refuses.
    assert "\\u0000" not in text.replace("\\\\", "")
    assert json.loads(text) == stored
