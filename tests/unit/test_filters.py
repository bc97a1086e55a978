"""The default filters: what each gives, and that none of them hides a wrong value."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from demo.models import Airline, Flight, FlightStatus
from flowcontrol import filters
from flowcontrol.expressions import (
    ExpressionError,
    Scope,
    available_filters,
    compile_expression,
    to_json,
)
from tests.unit.language import refusal

NEW_YORK = ZoneInfo("America/New_York")
NOON = datetime(2013, 2, 4, 17, 0, tzinfo=UTC)  # 12:00 in New York, the current time zone
DAY = date(2013, 2, 4)

STATE = {
    "n": 5,
    "x": 2.5,
    "t": "late",
    "empty": "",
    "flag": True,
    "l": [3, 1, 2],
    "d": {"k": 1, "j": 2},
    "rows": [{"n": 2, "a": {"b": 1}}, {"n": 1, "a": None}],
    "when": "2013-02-04T17:00:00Z",
    "day": "2013-02-04",
    "late": "PT1H30M",
    "words": "  one two\nthree ",
}
FIXED = {
    "now": NOON,
    "today": DAY,
    "price": Decimal("12.50"),
    "length": timedelta(minutes=90),
    "clock": time(9, 30),
    "key": UUID(int=1),
    "object": Flight(pk=12, number=1117, airline=Airline(code="UA", name="United")),
    "monday": gettext_lazy("Monday"),
    "status": FlightStatus.DELAYED,
    "pair": (1, 2),
    "naive": datetime(2013, 2, 4, 12, 0),  # noqa: DTZ001 (the case)
    "raw": b"late",
}


def value_of(source: str, **state: Any) -> Any:
    return compile_expression(source).evaluate(Scope({**STATE, **state}, fixed=FIXED))


def ny(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=NEW_YORK)  # type: ignore[arg-type, misc]


GIVES: list[tuple[str, Any]] = [
    # Arithmetic
    ("n|add:1", 6),
    ("n|add:x", 7.5),
    ("x|add:-0.5", 2.0),
    ("price|add:1", Decimal("13.50")),
    ("price|add:0.1", Decimal("12.60")),
    ("x|add:price", Decimal("15.00")),
    ('"a"|add:"b"', "ab"),
    ("t|add:monday", "lateMonday"),
    ("l|add:l", [3, 1, 2, 3, 1, 2]),
    ("now|add:length", NOON + timedelta(minutes=90)),
    ("length|add:now", NOON + timedelta(minutes=90)),
    ("when|add:late", NOON + timedelta(minutes=90)),
    ('when|add:"-PT1H"', NOON - timedelta(hours=1)),
    ("late|add:late", timedelta(hours=3)),
    ("length|add:length", timedelta(hours=3)),
    ('today|add:"P1D"', date(2013, 2, 5)),
    ('day|add:"P1W"', date(2013, 2, 11)),
    ('"PT1H"|add:"x"', "PT1Hx"),
    ('"Paris"|add:"-P"', "Paris-P"),
    ("naive|add:late", NOON + timedelta(minutes=90)),
    ("n|subtract:7", -2),
    ("n|subtract:price", Decimal("-7.50")),
    ("now|subtract:length", NOON - timedelta(minutes=90)),
    ("when|subtract:late", NOON - timedelta(minutes=90)),
    ('now|subtract:"2013-02-04T16:00:00Z"', timedelta(hours=1)),
    ("when|subtract:now", timedelta()),
    ('"2013-02-06"|subtract:today', timedelta(days=2)),
    ('now|subtract:"2013-02-01"', timedelta(days=3)),
    ("length|subtract:late", timedelta()),
    ("late|subtract:length", timedelta()),
    ("n|multiply:3", 15),
    ("x|multiply:2", 5.0),
    ("price|multiply:2", Decimal("25.00")),
    ("price|multiply:0.1", Decimal("1.250")),
    ("length|multiply:2", timedelta(hours=3)),
    ("late|multiply:0.5", timedelta(minutes=45)),
    ("length|multiply:price", timedelta(minutes=1125)),
    ("10|divide:4", 2.5),
    ("10|divide:5", 2),
    ("-7|divide:7", -1),
    ("5.0|divide:2.5", 2),
    ("price|divide:2", Decimal("6.25")),
    ("length|divide:2", timedelta(minutes=45)),
    ('length|divide:"PT30M"', 3),
    ("late|divide:length", 1),
    ("7|modulo:2", 1),
    ("-7|modulo:2", 1),
    ("7|modulo:-2", -1),
    ("7.5|modulo:2", 1.5),
    ("price|modulo:5", Decimal("2.50")),
    ("-12.5|modulo:price", Decimal("0.00")),
    ("-12|modulo:price", Decimal("0.50")),
    ("-5|abs", 5),
    ('"-PT5M"|abs', timedelta(minutes=5)),
    ("length|abs", timedelta(minutes=90)),
    ("2.5|round", 3),
    ("-2.5|round", -3),
    ("3.5|round", 4),
    ("2.675|round:2", 2.68),
    ("5|round:2", 5),
    ("1250|round:-2", 1300),
    ("1250.0|round:-2", 1300),
    ("price|round", 13),
    ("price|round:1", Decimal("12.5")),
    ("1e300|round", int(Decimal("1e300"))),
    ("-2.5|floor", -3),
    ("-2.5|ceil", -2),
    ("price|ceil", 13),
    ("n|min:3", 3),
    ("n|max:3", 5),
    ("n|min:price", 5),
    ('when|max:"2013-02-04T18:00:00Z"', "2013-02-04T18:00:00Z"),
    ("now|min:when", NOON),
    ("l|min", 1),
    ("l|max", 3),
    ("pair|max", 2),
    ("empty|split|max", None),
    ("l|slice:1|min", 3),
    ("l|sum", 6),
    ("empty|split|sum", 0),
    ('"PT1H PT30M"|split|sum', timedelta(minutes=90)),
    ("l|average", 2),
    ("pair|average", 1.5),
    ('"PT1H PT30M"|split|average', timedelta(minutes=45)),
    ("empty|split|average", None),
    # Conversions
    ('" 12 "|int', 12),
    ('"-12"|int', -12),
    ("2.9|int", 2),
    ("-2.9|int", -2),
    ("flag|int", 1),
    ("price|int", 12),
    ('"1.5"|float', 1.5),
    ('"-1e3"|float', -1000.0),
    ("n|float", 5.0),
    ("price|float", 12.5),
    ("n|str", "5"),
    ("x|str", "2.5"),
    ("price|str", "12.50"),
    ("flag|str", "true"),
    ("t|str", "late"),
    ("monday|str", "Monday"),
    ("status|str", "delayed"),
    ("now|str", "2013-02-04T17:00:00Z"),
    ("today|str", "2013-02-04"),
    ("clock|str", "09:30:00"),
    ("length|str", "PT1H30M"),
    ("key|str", str(UUID(int=1))),
    ("object.airline|str", "United"),
    ("d|json", '{"k": 1, "j": 2}'),
    ('"ä"|json', '"ä"'),
    ("now|json", '"2013-02-04T17:00:00Z"'),
    ("x|decimals", "2.50"),
    ("2.345|decimals:2", "2.35"),
    ("n|decimals:0", "5"),
    ("price|decimals:3", "12.500"),
    # Missing values, yes and no
    ("missing|default:1", 1),
    ("0|default:1", 1),
    ("n|default:1", 5),
    ("missing|default_if_none:1", 1),
    ("0|default_if_none:1", 0),
    ("flag|yesno", "yes"),
    ('false|yesno:"on,off"', "off"),
    ("n|pluralize", "s"),
    ("1|pluralize", ""),
    ("0|pluralize", "s"),
    ("l|pluralize", "s"),
    ('1|pluralize:"y,ies"', "y"),
    ('l|pluralize:"y,ies"', "ies"),
    # Text
    ("t|upper|lower", "late"),
    ("\"it's o'brien\"|title", "It's O'Brien"),
    ("t|capfirst", "Late"),
    ("empty|capfirst", ""),
    ("words|trim", "one two\nthree"),
    ('"Newark Liberty"|truncate:7', "Newark…"),
    ("t|truncate:4", "late"),
    ('t|startswith:"la"', True),
    ('t|endswith:"la"', False),
    ('t|contains:"at"', True),
    ("l|contains:4", False),
    ('d|contains:"k"', True),
    ('t|replace:"at=>on"', "lone"),
    ('t|replace:"late=>"', ""),
    ("t|replace:change", "lone"),
    ("words|split", ["one", "two", "three"]),
    ('"a, b"|split:", "', ["a", "b"]),
    ("words|lines", ["  one two", "three "]),
    ('"a b&c/d"|urlencode', "a%20b%26c%2Fd"),
    # Lists and records
    ("t|length", 4),
    ("l|length", 3),
    ("d|length", 2),
    ("pair|length", 2),
    ("l|first", 3),
    ("l|last", 2),
    ("t|first", "l"),
    ("t|last", "e"),
    ("empty|first", None),
    ("empty|last", None),
    ('l|slice:"1:"', [1, 2]),
    ('l|slice:":-1"', [3, 1]),
    ('l|slice:"1:2"', [1]),
    ("l|slice:2", [3, 1]),
    ('t|slice:" 1 : 3 "', "at"),
    ('l|slice:":"', [3, 1, 2]),
    ("l|reverse", [2, 1, 3]),
    ("t|reverse", "etal"),
    ("l|join", "3, 1, 2"),
    ('l|join:"-"', "3-1-2"),
    ("l|append:n", [3, 1, 2, 5]),
    ("l|without:1", [3, 2]),
    ("moments|without:now", []),
    ("mixed|unique", [1, True, "a", [1], {"k": 1}, 2]),
    ('rows|each:"n"', [2, 1]),
    ('rows|each:"a.b"', [1, None]),
    ('objects|each:"airline.name"', ["United"]),
    ("l|sort", [1, 2, 3]),
    ('rows|sort:"n"|each:"n"', [1, 2]),
    ('rows|sort:"-n"|each:"n"', [2, 1]),
    ('ties|sort:"-k"|each:"v"', ["c", "a", "b"]),
    ('"2013-02-04T10:00:00.5Z 2013-02-04T10:00:00Z"|split|sort|first', "2013-02-04T10:00:00Z"),
    ("d|keys", ["k", "j"]),
    ("d|values", [1, 2]),
    ("d|items", [["k", 1], ["j", 2]]),
    ('d|get:"k"', 1),
    ('d|get:"other"', None),
    ("l|get:0", 3),
    ("l|get:1.0", 1),
    ("l|get:-1", 2),
    ("l|get:3", None),
    ("l|get:-4", None),
    # Dates
    ('now|date:"d.m.Y H:i"', "04.02.2013 12:00"),
    ('when|date:"H:i T"', "12:00 EST"),
    ("now|date", "Feb. 4, 2013"),
    ('day|date:"l"', "Monday"),
    ('clock|date:"H:i"', "09:30"),
    ('now|in_zone:"Europe/Paris"|date:"H:i"', "18:00"),
    ("when|time", "noon"),
    ('now|time:"H:i"', "12:00"),
    ('clock|time:"H:i"', "09:30"),
    ('"09:30"|time:"G"', "9"),
    ("day|to_datetime", ny(2013, 2, 4)),
    ("today|to_datetime", ny(2013, 2, 4)),
    ("when|to_datetime", NOON),
    ('"2013-02-04T12:00"|to_datetime', NOON),
    ('"2013-02-04T18:00"|to_datetime:"Europe/Paris"', NOON),
    ('when|to_datetime:"Europe/Paris"', NOON),
    ("naive|to_datetime", NOON),
    ('"2013-02-05T04:00:00Z"|to_date', DAY),
    ("today|to_date", DAY),
    ('"2013-02-05T04:00:00Z"|in_zone:"UTC"|to_date', date(2013, 2, 5)),
    ('today|at:"09:00"', ny(2013, 2, 4, 9)),
    ("today|at:clock", ny(2013, 2, 4, 9, 30)),
    ('when|at:"00:00"', ny(2013, 2, 4)),
    (
        'now|in_zone:"Asia/Tokyo"|at:"09:00"',
        datetime(2013, 2, 5, 9, tzinfo=ZoneInfo("Asia/Tokyo")),
    ),
    ('now|in_zone:"Europe/Paris"', NOON),
    ("today|add_days:1", date(2013, 2, 5)),
    ("now|add_days:-1", NOON - timedelta(days=1)),
    ("today|add_months:1", date(2013, 3, 4)),
    ('"2013-01-31"|add_months:1', date(2013, 2, 28)),
    ('"2012-02-29"|add_months:-12', date(2011, 2, 28)),
    ("now|add_months:11", ny(2014, 1, 4, 12)),
    ("when|year", 2013),
    ("today|month", 2),
    ('"2013-02-05T04:00:00Z"|day', 4),
    ("now|weekday", 1),
    ('"2013-02-10"|weekday', 7),
    ("now|hour", 12),
    ("clock|hour", 9),
    ("when|minute", 0),
    ("clock|minute", 30),
    ("now|isoformat", "2013-02-04T17:00:00Z"),
    ('now|in_zone:"Europe/Paris"|isoformat', "2013-02-04T18:00:00+01:00"),
    ("today|isoformat", "2013-02-04"),
    ("clock|isoformat", "09:30:00"),
    ("length|isoformat", "PT1H30M"),
    # Durations
    ("late|duration", timedelta(minutes=90)),
    ("length|duration", timedelta(minutes=90)),
    ('"P2W"|duration', timedelta(weeks=2)),
    ('"-P1DT12H"|duration', -timedelta(hours=36)),
    ('"+PT1S"|duration', timedelta(seconds=1)),
    ("2|weeks", timedelta(weeks=2)),
    ("2|days", timedelta(days=2)),
    ("1.5|hours", timedelta(minutes=90)),
    ("n|minutes", timedelta(minutes=5)),
    ("price|seconds", timedelta(seconds=12.5)),
    ('"P2D"|in_days', 2),
    ("length|in_hours", 1.5),
    ("late|in_minutes", 90),
    ("late|in_seconds", 5400),
    ("now|subtract:when|in_minutes", 0),
]
MORE_STATE: dict[str, Any] = {
    "change": ["at", "on"],
    "mixed": [1, 1.0, True, "a", "a", [1], [1], {"k": 1}, {"k": 1}, 2],
    "moments": ["2013-02-04T17:00:00Z"],
    "ties": [{"k": 1, "v": "a"}, {"k": 1, "v": "b"}, {"k": 2, "v": "c"}],
    "objects": [FIXED["object"]],
}


@pytest.mark.parametrize(("source", "value"), GIVES, ids=[source for source, _ in GIVES])
def test_what_a_filter_gives(source: str, value: Any) -> None:
    result = value_of(source, **MORE_STATE)
    assert result == value
    if not isinstance(value, str):  # a text may be the exact one, or an enumeration's
        assert type(result) is type(value)


def test_every_filter_is_tested_here() -> None:
    tested = {name for source, _ in GIVES for name in available_filters() if f"|{name}" in source}
    assert tested == set(available_filters())


REFUSES: list[tuple[str, str]] = [
    ("t|add:1", 'the number 1 cannot be added to the text "late"'),
    ("n|add:t", 'the text "late" cannot be added to the number 5'),
    ("n|add:flag", "true cannot be added to the number 5"),
    ("flag|add:1", "the number 1 cannot be added to true"),
    ("missing|add:1", "the number 1 cannot be added to nothing (null)"),
    ("n|add:missing", "nothing (null) cannot be added to the number 5"),
    ("l|add:1", "the number 1 cannot be added to a list of 3"),
    ("now|add:1", "the number 1 cannot be added to the date 2013-02-04T17:00:00+00:00"),
    ("now|add:now", "cannot be added to the date"),
    ("now|add:t", 'the text "late" cannot be added to the date'),
    ("today|add:late", "the date 2013-02-04 has no time of day to move by PT1H30M; give it one"),
    ('now|add:"P1M"', '"P1M" counts in years or months, which differ in length; use add_months'),
    ("huge|add:huge", "the result is too large"),
    ("1e308|add:1e308", "the result is too large"),
    ("t|subtract:1", 'the number 1 cannot be subtracted from the text "late"'),
    ("late|subtract:now", 'cannot be subtracted from the text "PT1H30M"'),
    ("t|subtract:t", 'the text "late" cannot be subtracted from the text "late"'),
    ("t|multiply:2", 'it needs a number, not the text "late"; make it one with int or float'),
    ("l|multiply:2", "it needs a number, not a list of 3"),
    ("flag|multiply:2", "it needs a number, not true"),
    ("huge|multiply:huge", "the result is too large"),
    ("late|multiply:late", "it needs a number, not the text"),
    ("n|divide:0", "nothing can be divided by zero"),
    ("x|divide:0", "nothing can be divided by zero"),
    ("price|divide:0", "nothing can be divided by zero"),
    ("length|divide:0", "nothing can be divided by zero"),
    ('length|divide:"PT0S"', "nothing can be divided by zero"),
    ("n|divide:missing", "it needs a number, not nothing (null)"),
    ("n|modulo:0", "nothing can be divided by zero"),
    ("t|abs", "it needs a number"),
    ("t|round", "it needs a number"),
    ("n|round:x", "it needs a whole number, not the number 2.5"),
    ("n|round:t", 'it needs a whole number, not the text "late"'),
    ("n|round:21", "it rounds to at most 20 decimal places"),
    ("t|floor", "it needs a number"),
    ("t|ceil", "it needs a number"),
    ("n|min:t", '"<" cannot compare the text "late" with the number 5'),
    ("n|max:missing", '">" cannot compare nothing (null) with the number 5'),
    ("n|max", "it needs a list, not the number 5"),
    ("strange|min", '"<" cannot compare nothing (null) with nothing (null)'),
    ("t|sum", "it needs a list"),
    ("mixed|sum", "it needs a number, not true"),
    ('"PT1H x"|split|sum', "is not a duration"),
    ("n|average", "it needs a list"),
    ("t|int", 'the text "late" is not a whole number'),
    ('"1.5"|int', 'the text "1.5" is not a whole number'),
    ('"1_000"|int', "is not a whole number"),
    ("missing|int", "it needs a number, not nothing (null)"),
    ("t|float", 'the text "late" is not a number'),
    ('"nan"|float', 'the text "nan" is not a number'),
    ('"1e999"|float', "the result is too large"),
    ("l|float", "it needs a number"),
    ("missing|str", "nothing (null) is no text; use default, join or json"),
    ("l|str", "a list of 3 is no text; use default, join or json"),
    ("raw|str", "a Python bytes is no text"),
    ("object|json", "json: a Flight is a row of the database; keep its pk instead."),
    ("t|decimals", "it needs a number"),
    ("n|decimals:-1", "it writes 0 to 20 decimal places"),
    ("missing|yesno", "it needs true or false, not nothing (null)"),
    ('flag|yesno:"yes"', "it needs two words with a comma between"),
    ('flag|yesno:"yes,no,maybe"', "it needs two words with a comma between"),
    ("t|pluralize", "it needs a list, not the text"),
    ('n|pluralize:"a,b,c"', "it needs one ending or two"),
    ("n|lower", "it needs a text, not the number 5; make it one with str"),
    ("now|upper", "make it one with str"),
    ("missing|title", "it needs a text, not nothing (null)"),
    ("l|capfirst", "it needs a text, not a list of 3"),
    ("n|trim", "it needs a text"),
    ("t|truncate:0", "it needs a length of 1 or more"),
    ("t|truncate:t", "it needs a whole number"),
    ("n|startswith:t", "it needs a text"),
    ("t|startswith:1", "it needs a text, not the number 1"),
    ("n|endswith:t", "it needs a text"),
    ("n|contains:1", '"in" needs a text, a list or a record to look in'),
    ('t|replace:"x"', 'it needs the old and the new part, as in replace:"old=>new"'),
    ('t|replace:"=>x"', "the part to replace is empty"),
    ("t|replace:l", "it needs a text"),
    ("l|split", "it needs a text"),
    ('t|split:""', "the separator is empty"),
    ("l|lines", "it needs a text"),
    ("n|urlencode", "it needs a text"),
    ("n|length", "it needs a text, a list or a record, not the number 5"),
    ("missing|length", "not nothing (null)"),
    ("d|first", "it needs a list, not a record with the keys k, j"),
    ("n|last", "it needs a list"),
    ("n|slice:1", "it needs a list"),
    ('l|slice:"a:b"', 'it needs a beginning and an end, as in slice:"1:3"'),
    ('l|slice:"::0"', "it needs a beginning and an end"),
    ("n|reverse", "it needs a list"),
    ("t|join", "it needs a list"),
    ("strange|join", "nothing (null) is no text"),
    ("t|append:1", "it needs a list"),
    ("t|without:1", "it needs a list"),
    ("t|unique", "it needs a list"),
    ("l|each:1", "it needs a text"),
    ('d|each:"k"', "it needs a list"),
    ("mixed|sort", '"<" cannot compare'),
    ("l|keys", "it needs a record, not a list of 3"),
    ("l|values", "it needs a record"),
    ("l|items", "it needs a record"),
    ("d|get:1", "it needs a text, not the number 1"),
    ("l|get:t", "it needs a whole number"),
    ("t|get:0", "it needs a list"),
    ("t|date", '"late" is not a date; write it as 2013-02-04 or 2013-02-04T10:00:00Z'),
    ("n|date", "it needs a date, not the number 5"),
    ("missing|date", "it needs a date, not nothing (null)"),
    ('today|date:"H:i"', "time-related format specifiers"),
    ("today|date:1", "it needs a text"),
    ("today|time", 'the date 2013-02-04 has no time of day; give it one with at:"09:00"'),
    ("t|time", '"late" is not a time of day; write it as 09:30'),
    ("n|to_datetime", "it needs a date"),
    ("t|to_datetime", '"late" is not a date'),
    ('day|to_datetime:"Mars"', "there is no time zone 'Mars'; write it as \"Europe/Paris\""),
    ("n|to_date", "it needs a date"),
    ('n|at:"09:00"', "it needs a date"),
    ('today|at:"9"', '"9" is not a time of day'),
    ("today|at:9", "it needs a text"),
    ('today|in_zone:"UTC"', "has no time of day"),
    ('now|in_zone:"../etc"', "there is no time zone"),
    ("now|in_zone:1", "it needs a text"),
    ("n|add_days:1", "it needs a date"),
    ("today|add_days:x", "it needs a whole number"),
    ("today|add_days:100000000", "OverflowError"),
    ("today|add_months:t", "it needs a whole number"),
    ("today|add_months:999999", "the year 85346 is out of range"),
    ("n|year", "it needs a date"),
    ("n|month", "it needs a date"),
    ("n|day", "it needs a date"),
    ("n|weekday", "it needs a date"),
    ("today|hour", "has no time of day"),
    ("today|minute", "has no time of day"),
    ("n|isoformat", "it needs a date"),
    ("t|duration", "'late' is not a duration"),
    ("n|duration", "it needs a duration, not the number 5"),
    ('"P1Y"|duration', "use add_months for those"),
    ('"--PT1H"|duration', "is not a duration"),
    ("t|weeks", "it needs a number"),
    ("t|days", "it needs a number"),
    ("t|hours", "it needs a number"),
    ("length|minutes", "it needs a number, not the duration PT1H30M"),
    ("t|seconds", "it needs a number"),
    ("1e300|days", "OverflowError"),
    ("n|in_days", "it needs a duration"),
    ("n|in_hours", "it needs a duration"),
    ("n|in_minutes", "it needs a duration"),
    ("t|in_seconds", "is not a duration"),
]


@pytest.mark.parametrize(("source", "message"), REFUSES, ids=[source for source, _ in REFUSES])
def test_a_wrong_value_is_an_error_that_says_what_is_needed(source: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        value_of(source, huge=2**1023 * 3 // 2, strange=[None], **MORE_STATE)
    assert message in str(caught.value)
    assert f"“{source}” cannot be evaluated: the filter" in str(caught.value)


def test_every_filter_but_two_refuses_something() -> None:
    refusing = {
        name for source, _ in REFUSES for name in available_filters() if f"|{name}" in source
    }
    assert set(available_filters()) - refusing == {"default", "default_if_none"}


def test_the_filters_are_those_of_the_library() -> None:
    assert set(available_filters()) == set(filters.register.filters)


def test_an_exact_duration_crosses_the_clock_change_and_days_keep_the_time_of_day() -> None:
    state = {"before": "2013-03-09T12:00:00-05:00"}  # the clocks go forward in the night
    assert value_of('before|add:"P1D"|date:"H:i"', **state) == "13:00"
    assert value_of('before|add_days:1|date:"H:i"', **state) == "12:00"
    assert value_of("before|add_days:1|subtract:before|in_hours", **state) == 23
    assert value_of('before|in_zone:"UTC"|add_days:1|subtract:before|in_hours', **state) == 24


def test_a_moment_with_a_zone_of_its_own_moves_by_exact_time() -> None:
    night = ny(2013, 3, 10, 1, 30)
    later = compile_expression('object|add:"PT1H"').evaluate(Scope(fixed={"object": night}))
    assert later.isoformat() == "2013-03-10T03:30:00-04:00"
    back = compile_expression("object|subtract:then").evaluate(
        Scope({"then": to_json(night, where="state")}, fixed={"object": later})
    )
    assert back == timedelta(hours=1)


def test_a_time_of_day_that_does_not_exist_is_the_moment_after_the_gap() -> None:
    moment = value_of('"2013-03-10"|at:"02:30"')
    assert to_json(moment, where="state") == "2013-03-10T07:30:00Z"  # 03:30 after the change


def test_clocks_are_read_in_the_current_time_zone() -> None:
    with timezone.override("Europe/Paris"):
        assert value_of("now|hour") == 18
        assert value_of('today|at:"18:00" == now') is True
        assert value_of('"2013-02-04T18:00" == now') is True


@given(st.timedeltas(-timedelta(days=999_999), timedelta(days=999_999)))
def test_a_duration_comes_back_from_its_text(length: timedelta) -> None:
    text = to_json(length, where="state")
    assert compile_expression("d|duration").evaluate(Scope({"d": text})) == length


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.timezones()),  # noqa: DTZ001
    st.timedeltas(-timedelta(days=9999), timedelta(days=9999)),
)
def test_adding_what_was_subtracted_gives_the_same_moment(
    moment: datetime, length: timedelta
) -> None:
    scope = Scope({"length": to_json(length, where="state")}, fixed={"object": moment})
    assert compile_expression("object|add:length|subtract:length == object").evaluate(scope) is True
    there = compile_expression("object|add:length|subtract:object").evaluate(scope)
    assert there == length


@given(st.floats(-1e15, 1e15) | st.integers(), st.integers(0, 6))
def test_rounding_is_never_further_away_than_half_a_step(number: float, digits: int) -> None:
    rounded = compile_expression("n|round:digits").evaluate(Scope({"n": number, "digits": digits}))
    assert abs(Decimal(rounded) - Decimal(number)) <= Decimal(10) ** -digits / 2 + Decimal("1e-1")
    assert type(rounded) is type(number) or digits == 0


@given(st.integers(), st.integers().filter(bool))
def test_division_and_remainder_belong_together(number: int, divisor: int) -> None:
    scope = Scope({"n": number, "d": divisor})
    rest = compile_expression("n|modulo:d").evaluate(scope)
    assert (number - rest) % divisor == 0
    assert (
        compile_expression("n|subtract:rest|divide:d").evaluate(
            Scope({"n": number, "d": divisor, "rest": rest})
        )
        == (number - rest) // divisor
    )


def test_a_text_that_would_fill_the_memory_is_refused() -> None:
    long = "a" * 3000
    bomb = f'x|replace:"a=>{long}"|replace:"a=>{long}"|replace:"a=>{long}"'
    assert "the result is too large" in refusal(bomb, x=long)
    assert "the result is too large" in refusal("items|join:x", items=[1] * 10_000, x=long)
    assert "the result is too large" in refusal("x|add:x|add:x", x="a" * 4_000_000)
