"""The expression language: what it reads, what it answers, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import timeit
from datetime import datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, models
from django.db.models import QuerySet
from django.template import Library
from django.test.utils import isolate_apps
from django.utils import timezone, translation
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from demo.models import Airline, Airport, Flight
from flowcontrol.exceptions import ClaimLost
from flowcontrol.expressions import (
    RESERVED_NAMES,
    ExpressionError,
    ExpressionSyntaxError,
    Scope,
    available_filters,
    compile_expression,
    compile_template,
    describe,
    summary,
)
from tests.unit.language import NOON, a_flight, about, misread, refusal, value_of

# Reading names


def test_a_name_is_looked_for_in_loop_variables_then_fixed_names_then_state() -> None:
    scope = Scope({"a": "state", "b": "state", "c": "state"}, fixed={"a": "fixed", "b": "fixed"})
    scope.loop["a"] = "loop"
    assert [value_of(name, scope) for name in "abc"] == ["loop", "fixed", "state"]


def test_a_loop_variable_that_is_null_still_shadows_the_state() -> None:
    assert value_of("n", Scope({"n": 5}, loop={"n": None})) is None


def test_what_is_not_there_is_null() -> None:
    state: dict[str, Any] = {"d": {"k": 1}, "l": [1], "t": "late", "n": 5, "flag": True, "x": None}
    paths = ("other", "d.other", "d.other.more", "l.9", "l.k", "t.k", "n.k", "flag.k", "x.k.l")
    assert [value_of(path, **state) for path in paths] == [None] * len(paths)


def test_dots_lead_into_records_lists_and_tuples() -> None:
    state: dict[str, Any] = {"d": {"k": {"x": 1}, "0": "zero"}, "l": [[1, 2], (3, 4)]}
    assert value_of("d.k.x", **state) == 1
    assert value_of("d.0", **state) == "zero"
    assert value_of("l.0.1", **state) == 2
    assert value_of("l.1.0", **state) == 3


def test_methods_of_records_lists_and_texts_are_not_read() -> None:
    state: dict[str, Any] = {"d": {"k": 1}, "l": [1], "t": "late"}
    for path in ("d.clear", "d.popitem", "d.items", "l.pop", "l.clear", "t.upper", "t.format"):
        assert value_of(path, **state) is None
    assert state == {"d": {"k": 1}, "l": [1], "t": "late"}


def test_sets_cannot_be_emptied_by_reading() -> None:
    tags = {"late"}
    assert value_of("object.clear", about(object=tags)) is None
    assert tags == {"late"}


def test_dots_lead_into_attributes_properties_and_methods_of_objects() -> None:
    scope = about(object=a_flight())
    assert value_of("object.number", scope) == 1117
    assert value_of("object.code", scope) == "UA 1117"
    assert value_of("object.airline.name", scope) == "United"
    assert value_of("object.get_status_display", scope) == "Delayed"
    assert value_of("object.departure_hour", scope) == 5
    assert value_of("object.nothing.more", scope) is None


def test_a_function_without_arguments_is_called() -> None:
    assert value_of("object", about(object=lambda: 5)) == 5
    assert value_of("object.age", about(object=SimpleNamespace(age=lambda: 5))) == 5
    assert value_of("i", Scope(loop={"i": lambda: 5})) == 5


def test_enumerations_are_read_without_calling_them() -> None:
    assert value_of("object.Kind.LATE", about(object=SimpleNamespace(Kind=_Kind))) == "late"


class _Kind(models.TextChoices):
    LATE = "late"


def test_a_named_tuple_is_read_by_name_and_by_place() -> None:
    version = value_of("object.version", about(object=SimpleNamespace(version=_Version(5, 2))))
    scope = about(object=version)
    assert (value_of("object.major", scope), value_of("object.1", scope)) == (5, 2)


class _Version(tuple[int, int]):
    def __new__(cls, *parts: int) -> Self:
        return super().__new__(cls, parts)

    @property
    def major(self) -> int:
        return self[0]


def test_an_object_that_is_read_by_keys_is_read_by_keys() -> None:
    class Headers:
        host = "attribute"
        port = 80

        def __getitem__(self, key: str) -> str:
            if key == "host":
                return "key"
            raise KeyError(key)

    scope = about(object=Headers())
    assert value_of("object.host", scope) == "key"
    assert value_of("object.port", scope) == 80


def test_every_variable_read_is_recorded_with_its_value() -> None:
    scope = Scope({"n": 5, "d": {"k": "late"}}, loop={"i": 1})
    value_of("n|add:i > 3 and d.k == missing", scope)
    assert scope.reads == [("n", 5), ("i", 1), ("d.k", "late"), ("missing", None)]


def test_an_expression_lists_the_names_it_may_read() -> None:
    expression = compile_expression('a.b|add:c == "d" or not (e in f.0.g) and true')
    assert expression.names == {"a.b", "c", "e", "f.0.g"}
    assert expression.source == 'a.b|add:c == "d" or not (e in f.0.g) and true'


def test_names_may_be_in_any_language() -> None:
    assert value_of("größe > 3 and имя", größe=5, имя="x") == "x"


def test_words_that_only_begin_like_operators_are_names() -> None:
    state: dict[str, Any] = {
        "order": 1,
        "andy": 2,
        "note": 3,
        "inside": 4,
        "island": 5,
        "nothing": 6,
    }
    for name, value in state.items():
        assert value_of(name, **state) == value


def test_reserved_names_are_those_that_no_state_key_can_have() -> None:
    assert {"object", "run", "trigger", "now", "today", "and", "in"} <= RESERVED_NAMES
    for name in RESERVED_NAMES - {"object", "run", "trigger", "now", "today"}:
        state: dict[str, Any] = {name: "mine"}
        with contextlib.suppress(ExpressionSyntaxError):
            assert value_of(name, **state) != "mine"


# What may not be read


@pytest.mark.parametrize("source", ["_x", "a._b", "a.__class__", "a|add:_b", "object._meta", "_"])
def test_underscore_names_are_refused_when_compiling(source: str) -> None:
    _, message = misread(source)
    assert "underscore" in message


def test_underscore_names_are_not_reached_by_filters_either() -> None:
    scope = about(object=[a_flight()])
    assert "underscore and is private" in refusal('object|each:"_state"', scope)
    assert "underscore and is private" in refusal('object|sort:"airline._state"', scope)


@pytest.mark.parametrize("method", ["save", "delete", "save_base", "asave", "adelete"])
def test_methods_that_alter_data_are_errors(method: str) -> None:
    message = refusal(f"object.{method}", about(object=a_flight()))
    assert f'"{method}" changes data' in message


@pytest.mark.parametrize("method", ["create", "get_or_create", "clear", "delete", "update"])
def test_methods_of_related_rows_that_alter_data_are_errors(method: str) -> None:
    scope = about(object=a_flight())
    related = "object.airline.flight_set" + (".all" if method in {"delete", "update"} else "")
    if method == "clear":  # only there where the foreign key may be null
        assert value_of(f"{related}.{method}", scope) is None
    else:
        assert "changes data" in refusal(f"{related}.{method}", scope)


def test_managers_and_rows_are_reached_but_not_their_sql_nor_their_model() -> None:
    scope = about(object=a_flight())
    assert value_of("object.airline.flight_set", scope).model is Flight
    assert isinstance(value_of("object.airline.flight_set.all", scope), QuerySet)
    assert "is not for expressions" in refusal("object.airline.flight_set.all.query", scope)
    assert "is not for expressions" in refusal(
        "object.airline.flight_set.all.select_for_update", scope
    )
    assert '"model" is a Python class' in refusal("object.airline.flight_set.model", scope)


def test_refreshing_an_object_is_not_for_expressions() -> None:
    assert "is not for expressions" in refusal("object.refresh_from_db", about(object=a_flight()))


def test_a_method_that_needs_arguments_is_an_error() -> None:
    message = refusal("object.log", about(object=SimpleNamespace(log=lambda text: text)))
    assert '"log" needs arguments' in message


def test_an_asynchronous_method_is_an_error_and_never_started() -> None:
    async def fetch() -> None:
        raise AssertionError

    assert "asynchronous" in refusal("object.fetch", about(object=SimpleNamespace(fetch=fetch)))
    assert asyncio.iscoroutinefunction(fetch)


def test_a_class_is_an_error() -> None:
    assert "Python class" in refusal("object.kind", about(object=SimpleNamespace(kind=Flight)))
    assert "Python class" in refusal("object", about(object=Flight))


def test_a_property_that_raises_is_an_error_that_names_it() -> None:
    flight = a_flight(origin=Airport(code="ZZZ", time_zone="No/Where"))
    message = refusal("object.departure_hour == 5", about(object=flight))
    assert 'reading "departure_hour" of Flight 12 failed (ZoneInfoNotFoundError' in message


def test_a_property_that_misses_an_attribute_is_an_error_not_a_missing_name() -> None:
    class Thing:
        @property
        def price(self) -> Any:
            return self.nothing  # type: ignore[attr-defined]

    assert 'reading "price"' in refusal("object.price", about(object=Thing()))


def test_a_method_that_raises_is_an_error_that_names_it() -> None:
    def fail() -> None:
        raise RuntimeError("no paper")

    message = refusal("object.print", about(object=SimpleNamespace(print=fail)))
    assert '"print" failed (RuntimeError: no paper)' in message

    def type_error() -> None:
        raise TypeError("inside")

    message = refusal("object.print", about(object=SimpleNamespace(print=type_error)))
    assert '"print" failed (inside)' in message


def test_a_builtin_without_a_signature_that_fails_is_an_error() -> None:
    assert "failed" in refusal("object.make", about(object=SimpleNamespace(make=iter)))


def test_a_relation_without_a_row_is_null() -> None:
    assert value_of("object.origin", about(object=Flight())) is None
    assert value_of("object.origin.name|default:1", about(object=Flight())) == 1


@isolate_apps("tests.testapp")
def test_a_one_to_one_relation_without_a_row_is_null() -> None:
    class Seat(models.Model):
        class Meta:
            app_label = "testapp"

    class Passenger(models.Model):
        seat = models.OneToOneField(Seat, models.CASCADE)

        class Meta:
            app_label = "testapp"

    assert value_of("object.passenger", about(object=Seat())) is None
    assert value_of("object.seat", about(object=Passenger())) is None


def test_a_row_that_a_property_misses_is_an_error() -> None:
    class Thing:
        @property
        def flight(self) -> Any:
            raise Flight.DoesNotExist("no such flight")

    assert "no such flight" in refusal("object.flight", about(object=Thing()))


@pytest.mark.parametrize("trouble", [OperationalError("gone"), ClaimLost("late")])
def test_trouble_that_is_not_the_authors_passes_through(trouble: Exception) -> None:
    class Thing:
        @property
        def read(self) -> Any:
            raise trouble

        def call(self) -> Any:
            raise trouble

        def __len__(self) -> int:
            raise trouble

    for source in ("object.read", "object.call", "object.call|add:1", "not object"):
        with pytest.raises(type(trouble)):
            value_of(source, about(object=Thing()))


# FLOWCONTROL_EXPOSED_FIELDS


def test_exposed_fields_limit_what_is_read_of_models(settings: Any) -> None:
    settings.FLOWCONTROL_EXPOSED_FIELDS = {"demo.Flight": ["number", "airline"]}
    scope = about(object=a_flight())
    assert value_of("object.number", scope) == 1117
    message = refusal("object.status", scope)
    assert '"status" of Flight is not among the fields' in message
    assert "FLOWCONTROL_EXPOSED_FIELDS" in message


def test_exposed_fields_hold_for_related_models_too(settings: Any) -> None:
    settings.FLOWCONTROL_EXPOSED_FIELDS = {
        "demo.flight": ["airline", "origin"],
        "demo.airline": ["name"],
    }
    scope = about(object=a_flight())
    assert value_of("object.airline.name", scope) == "United"
    assert "of Airline is not" in refusal("object.airline.code", scope)
    # A model that is not listed shows nothing.
    assert "of Airport is not" in refusal("object.origin.name", scope)


def test_a_star_exposes_all_of_a_model(settings: Any) -> None:
    settings.FLOWCONTROL_EXPOSED_FIELDS = {"demo.flight": ["*"]}
    assert value_of("object.status", about(object=a_flight())) == "delayed"


def test_exposed_fields_hold_in_filters_and_templates(settings: Any) -> None:
    settings.FLOWCONTROL_EXPOSED_FIELDS = {"demo.flight": ["number"]}
    scope = about(object=a_flight(), trigger={"flights": [a_flight()]})
    assert "not among" in refusal('trigger.flights|each:"status"', scope)
    assert "not among" in refusal('trigger.flights|sort:"status"', scope)
    for source in (
        "{{ object.status }}",
        "{% for f in trigger.flights %}{{ f.status }}{% endfor %}",
        "{% with f=object %}{{ f.status }}{% endwith %}",
        "{% if object.status == 'late' %}x{% endif %}",
    ):
        with pytest.raises(ExpressionError, match="not among"):
            compile_template(source).render(scope)


def test_exposed_fields_are_not_passed_by_through_related_rows(settings: Any) -> None:
    settings.FLOWCONTROL_EXPOSED_FIELDS = {"demo.airline": ["flight_set"]}
    scope = about(object=Airline(code="UA"))
    assert isinstance(value_of("object.flight_set.all", scope), QuerySet)
    for name in ("values", "values_list", "explain", "in_bulk"):
        assert "not among" in refusal(f"object.flight_set.all.{name}", scope)


@isolate_apps("tests.testapp")
def test_a_proxy_shows_what_its_model_shows(settings: Any) -> None:
    class Gate(models.Model):
        name = models.CharField(max_length=10)

        class Meta:
            app_label = "testapp"

    class OpenGate(Gate):
        class Meta:
            app_label = "testapp"
            proxy = True

    settings.FLOWCONTROL_EXPOSED_FIELDS = {"testapp.gate": ["name"]}
    assert value_of("object.name", about(object=OpenGate(name="A1"))) == "A1"
    settings.FLOWCONTROL_EXPOSED_FIELDS = {"testapp.gate": ["name"], "testapp.opengate": []}
    assert "not among" in refusal("object.name", about(object=OpenGate(name="A1")))


# Literals


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("true", True),
        ("True", True),
        ("false", False),
        ("False", False),
        ("null", None),
        ("None", None),
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        ("0.5", 0.5),
        ("-1.50", -1.5),
        ("2e3", 2000.0),
        ('"late"', "late"),
        ("'late'", "late"),
        (r'"a \"b\" c"', 'a "b" c'),
        (r"'O\'Brien'", "O'Brien"),
        ('"(a == 1) and | <b>"', "(a == 1) and | <b>"),
        ('""', ""),
        ('"a"|default:"(x y) | z"', "a"),
        ('""|default:"(x y) | z"', "(x y) | z"),
        ("5|add:-1", 4),
        ("null|default:true", True),
    ],
)
def test_literals(source: str, value: Any) -> None:
    result = value_of(source)
    assert result == value
    assert type(result) is type(value)  # also: no SafeString, which would pass as HTML


def test_a_text_is_translated_when_it_is_evaluated() -> None:
    source = '_("Monday")|lower'
    expression = compile_expression(source)
    with translation.override("de"):
        assert expression.evaluate(Scope()) == "montag"
        assert value_of('""|default:_("Monday")') == "Montag"
    with translation.override("en"):
        assert expression.evaluate(Scope()) == "monday"


# Operators


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("n == 5", True),
        ("n==5", True),
        ("n!=5", False),
        ("n<6", True),
        ("n<=5", True),
        ("n>5", False),
        ("n>=5", True),
        ("n<-1", False),
        ("(n==5)", True),
        ("(n==5)and(t)", "late"),
        ("not(n)", False),
        ("not n == 4", True),
        ("not not n", True),
        ("n in l", True),
        ("n not in l", False),
        ("n not  in l", False),
        ("not n in l", False),
        ("5 in l", True),
        ('"at" in t', True),
        ('"k" in d', True),
        ('"x" in d', False),
        ("missing is null", True),
        ("missing is not null", False),
        ("missing is\tnot null", False),
        ("missing or n", 5),
        ("missing and n", None),
        ("n and t", "late"),
        ("n or t", 5),
        ("0 or '' or missing", None),
        ("n == 5 or n == 6 and false", True),
        ("(n == 5 or n == 6) and false", False),
        ("n == 5 and not t == 'x' or false", True),
        ("n|add:1 == 6", True),
        ("n | add:1 == 6", True),
        ("n|add:n|multiply:2 > 19", True),
        ("(n) == ((5))", True),
        ("1 == 1.0", True),
        ("1 == '1'", False),
        ("missing == 5", False),
        ("missing != null", False),
        ("true == flag", True),
        ("l == l", True),
        ("t < 'm'", True),
    ],
)
def test_operators_answer_as_in_python(source: str, value: Any) -> None:
    state: dict[str, Any] = {"n": 5, "t": "late", "l": [1, 5], "d": {"k": 1}, "flag": True}
    result = value_of(source, **state)
    assert result == value
    assert type(result) is type(value)


def test_and_and_or_look_no_further_than_they_must() -> None:
    assert value_of("n or missing < 3", n=1) == 1
    assert value_of("missing and missing < 3") is None
    assert value_of("missing is null or missing < 3 or n|lower") is True


def test_is_asks_for_equal_values_of_one_kind() -> None:
    long_text = "a text that Python keeps twice"
    assert value_of("t is u", t=long_text, u="".join(list(long_text))) is True
    assert value_of("n is 1000000", n=10**6) is True
    assert value_of("n is 1.0", n=1) is True
    assert value_of("n is true", n=1) is False
    assert value_of("flag is true", flag=True) is True
    assert value_of("flag is not false", flag=True) is True
    assert value_of("n is null", n=0) is False
    assert value_of("n is '1'", n=1) is False
    assert value_of("l is m", l=[1], m=[1]) is True
    assert value_of("object is object", about(object=a_flight())) is True


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing < 3", '"<" cannot compare nothing (null) with the number 3.'),
        ("3 >= missing", '">=" cannot compare the number 3 with nothing (null).'),
        ("t < 3", '"<" cannot compare the text "late" with the number 3.'),
        ("t > n", '">" cannot compare the text "late" with the number 5.'),
        ("flag < 3", '"<" cannot compare true with the number 3.'),
        ("n < true", '"<" cannot compare the number 5 with true.'),
        ("(3 < n) < 5", '"<" cannot compare true with the number 5.'),
        ("d <= d", '"<=" cannot compare a record with the keys k with a record with the keys k.'),
        ("l < 3", '"<" cannot compare a list of 2 with the number 3.'),
        ("n in 5", "it cannot look for the number 5 in the number 5."),
        ("n in missing", "it cannot look for the number 5 in nothing (null)."),
        ("n not in t", 'it cannot look for the number 5 in the text "late".'),
        ("l in d", '"in" needs keys to look in; it cannot look for a list of 2'),
    ],
)
def test_what_has_no_answer_is_an_error(source: str, message: str) -> None:
    assert message in refusal(source, n=5, t="late", l=[1, 5], d={"k": 1}, flag=True)


def test_an_error_names_expression_values_and_what_is_missing() -> None:
    state: dict[str, Any] = {"n": 1, "zero": 0, "flag": True, "t": "x" * 100, "gone": None}
    with pytest.raises(ExpressionError) as caught:
        value_of("n and not zero and flag and t and gone|default:other < limit.max", **state)
    assert str(caught.value) == (
        "“n and not zero and flag and t and gone|default:other < limit.max” cannot be evaluated: "
        '"<" cannot compare nothing (null) with nothing (null). '
        f'Values read: n = 1, zero = 0, flag = true, t = "{"x" * 60}…", gone = null, '
        "other = null, limit.max = null. Nothing has set other, limit.max. "
        "If it may be missing, write gone|default:0 or the like."
    )
    assert caught.value.values == {
        "n": 1,
        "zero": 0,
        "flag": True,
        "t": "x" * 60 + "…",
        "gone": None,
        "other": None,
        "limit.max": None,
    }
    assert caught.value.expression.startswith("n and not zero")
    json.dumps(caught.value.values)


def test_an_error_names_only_what_this_expression_read() -> None:
    scope = Scope({"a": 1, "b": 2})
    value_of("a", scope)
    assert "a = 1" not in refusal("b < 'x'", scope)
    assert [name for name, _ in scope.reads] == ["a", "b"]


def test_an_error_shortens_a_long_expression() -> None:
    message = refusal(" or ".join(["missing"] * 100) + " or t < 3", t="late")
    assert len(message) < 500


def test_the_cause_of_an_error_is_kept() -> None:
    with pytest.raises(ExpressionError) as caught:
        value_of("n|divide:0", n=5)
    assert caught.value.__cause__ is not None
    assert isinstance(caught.value.__cause__.__cause__, ValueError)


# Dates, durations, ids, decimals


@pytest.mark.parametrize(
    "source",
    [
        'object.scheduled_departure < "2013-02-04T10:00:01Z"',
        'object.scheduled_departure == "2013-02-04T10:00:00Z"',
        'object.scheduled_departure == "2013-02-04T05:00:00-05:00"',
        # Without a zone, text is in the current one: New York.
        'object.scheduled_departure == "2013-02-04T05:00"',
        'object.scheduled_departure == "2013-02-04 05:00:00"',
        'object.scheduled_departure != "2013-02-04T10:00:00.5Z"',
        "scheduled < now",
        "now > scheduled",
        "scheduled in moments",
        "not now in moments",
        "object.scheduled_departure in moments",
        # One without a time of day: compared as days, in the current zone.
        "today == now",
        "now <= today",
        'now == "2013-02-04"',
        'today == "2013-02-04T23:30"',
        'today == "2013-02-05T04:30:00Z"',
        'today < "2013-02-05"',
        'today in "2013-02-04"|split',
        # Two texts that are dates compare as dates, two others as texts.
        'scheduled < "2013-02-04T10:00:00.5Z"',
        'scheduled >= "2013-02-04T05:00:00-05:00"',
        '"2013-02-04" <= "2013-02-04T10:00:00Z"',
        '"2013-2-4" > "2013-02-04"',
        '"2013-02-30" > "2013-02-04T10:00:00Z"',
        'scheduled == "2013-02-04T05:00"',
        'scheduled == "2013-02-04"',
        '"2013-02-04T05:00" in moments',
        '"2013-02-04T05:01" not in moments',
        '"2013-02-30" != scheduled',
        'late == "PT90M"',
        'late > "PT9M"',
        '"PT10H" > "PT2H"',
        '"P1M" < "P2M"',
        # An empty text is a date that nobody has filled in.
        'now != ""',
        'not now == ""',
        "now != null",
        "now is scheduled_noon",
    ],
)
def test_dates_compare_with_dates_and_with_their_text(source: str) -> None:
    scope = about(object=a_flight())
    scope.state = {
        "scheduled": "2013-02-04T10:00:00Z",
        "scheduled_noon": "2013-02-04T17:00:00Z",
        "moments": ["2013-02-04T10:00:00Z"],
        "late": "PT1H30M",
    }
    assert value_of(source, scope) is True


def test_a_naive_moment_is_in_the_current_time_zone() -> None:
    naive = NOON.replace(tzinfo=None, hour=12)
    assert value_of("object == now", about(object=naive)) is True
    with timezone.override("Europe/Paris"):
        assert value_of("object == now", about(object=naive)) is False


def test_moments_compare_exactly_in_the_doubled_hour() -> None:
    zone = ZoneInfo("America/New_York")
    first = datetime(2013, 11, 3, 1, 30, tzinfo=zone)
    second = first.replace(fold=1)
    assert first == second  # Python looks at the clock only
    assert value_of("object < now", Scope(fixed={"object": first, "now": second})) is True
    assert value_of("object == now", Scope(fixed={"object": first, "now": second})) is False


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('now < "tomorrow"', '"tomorrow" is not a date; write it as 2013-02-04 or'),
        ('now == "04.02.2013"', '"04.02.2013" is not a date'),
        ('now > "2013-02-30T10:00Z"', '"2013-02-30T10:00Z" is not a date of the calendar: day'),
        ("now > 5", "with the number 5"),
        ("now < missing", "with nothing (null)"),
        ('object < "2 hours"', "'2 hours' is not a duration"),
        ('trigger < "ten"', '"ten" is not a time of day; write it as 09:30'),
        ('trigger < "10"', '"10" is not a time of day'),
        ('trigger < "25:00"', '"25:00" is not a time of day'),
    ],
)
def test_what_is_no_date_cannot_be_compared_with_one(source: str, message: str) -> None:
    assert message in refusal(source, about(object=timedelta(hours=1), trigger=time(9)))


def test_durations_times_and_ids_compare_with_their_text() -> None:
    key = UUID("12345678-1234-5678-1234-567812345678")
    scope = Scope(
        {"key": str(key).upper(), "late": "PT1H30M"},
        fixed={"length": timedelta(minutes=90), "gate_closes": time(9, 30), "id": key},
    )
    assert value_of("length == late", scope) is True
    assert value_of('length < "PT2H"', scope) is True
    assert value_of('"-PT5M" < length', scope) is True
    assert value_of('gate_closes == "09:30"', scope) is True
    assert value_of('gate_closes < "09:30:01"', scope) is True
    assert value_of("id == key", scope) is True
    assert value_of('id == "12"', scope) is False


def test_decimals_compare_with_floats_as_people_read_them() -> None:
    scope = Scope(fixed={"price": Decimal("0.1")})
    assert Decimal("0.1") != 0.1
    assert value_of("price == 0.1", scope) is True
    assert value_of("0.1 >= price", scope) is True
    assert value_of("price < 1", scope) is True
    assert value_of("price in prices", Scope({"prices": [0.1]}, fixed=scope.fixed)) is True


def test_translated_texts_compare_as_texts() -> None:
    scope = about(object=gettext_lazy("Monday"))
    assert value_of('object == "Monday"', scope) is True
    assert value_of('"Friday" < object', scope) is True
    assert value_of('object in "Monday Friday"|split', scope) is True
    assert value_of("object == object", scope) is True


# Mistakes in writing


@pytest.mark.parametrize(
    ("source", "position", "message"),
    [
        ("", 0, "The expression is empty."),
        ("   ", 3, "The expression is empty."),
        ("n <", 3, "At the end: The expression ends too early: a value is missing."),
        ("not", 3, "At the end: The expression ends too early: a value is missing."),
        ("n and", 5, "At the end: The expression ends too early: a value is missing."),
        ("< n", 0, 'Character 1: A value is missing before "<".'),
        ("n == == 3", 5, 'Character 6: A value is missing before "==".'),
        ("n and or m", 6, 'Character 7: A value is missing before "or".'),
        ("(n", 0, 'Character 1: The ")" for this "(" is missing.'),
        ("(n m)", 3, 'Character 4: Before "m" an operator is missing, such as "and" or "==".'),
        ("n)", 1, 'Character 2: This ")" closes nothing.'),
        ("()", 0, "Character 1: There is nothing between these parentheses."),
        ("n m", 2, 'Character 3: Before "m" an operator is missing, such as "and" or "==".'),
        ("(n) m", 4, 'Character 5: Before "m" an operator is missing, such as "and" or "==".'),
        ("(n) (m)", 4, 'Character 5: Before "(" an operator is missing, such as "and" or "==".'),
        ("n not", 2, 'Character 3: Before "not" an operator is missing, such as "and" or "==".'),
        ("n AND m", 2, 'Character 3: Write "and" in small letters.'),
        ("NOT n", 0, 'Character 1: Write "not" in small letters.'),
        ("n Is m", 2, 'Character 3: Write "is" in small letters.'),
        ("n && m", 2, 'Character 3: Write "and" instead of "&".'),
        ("n || m", 2, 'Character 3: Write "or" instead of "||".'),
        ("n = 5", 2, 'Character 3: A single "=" means nothing here; write "==" to compare two v'),
        ("n === 5", 2, 'Character 3: Write "==" to compare two values.'),
        ("n !== 5", 2, 'Character 3: Write "!=" for "is not equal to".'),
        ("n => 5", 2, 'Character 3: Write ">=" for "at least".'),
        ("n =< 5", 2, 'Character 3: Write "<=" for "at most".'),
        ("n <> 5", 2, 'Character 3: Write "!=" for "is not equal to".'),
        ("!n", 0, 'Character 1: Write "not" instead of "!".'),
        ("n + 1", 2, "Character 3: Write n|add:1 instead of n + 1."),
        ("n +1", 2, "Character 3: Write n|add:1 instead of n + 1."),
        ("n-1", 1, "Character 2: Write n|subtract:1 instead of n - 1."),
        ("n - 1", 2, "Character 3: Write n|subtract:1 instead of n - 1."),
        ("n * 2", 2, "Character 3: Write n|multiply:2 instead of n * 2."),
        ("n/2", 1, "Character 2: Write n|divide:2 instead of n / 2."),
        ("n % 2", 2, "Character 3: Write n|modulo:2 instead of n % 2."),
        ("3 < n < 5", 6, 'Character 7: Comparisons cannot be chained; write "3 < n and n < 5".'),
        (
            "x or 3 < a|add:1 <= 5 and y",
            17,
            'Character 18: Comparisons cannot be chained; write "3 < a|add:1 and a|add:1 <= 5".',
        ),
        ("n in l == m", 7, 'Character 8: Comparisons cannot be chained; write "n in l and l == m"'),
        ("n == not m", 5, 'Character 6: Put "not" and what belongs to it in parentheses.'),
        ("n is not in l", 9, 'Character 10: A value is missing before "in".'),
        ("{{ n }}", 0, "Character 1: Write the expression by itself, without braces."),
        ("l[0]", 1, "Character 2: Write items.0 or data.key instead of square brackets."),
        ("length(l)", 0, "Character 1: Write x|length instead of length(x)."),
        ("t.upper()", 7, 'Character 8: "t.upper" cannot be called; filters do that, as in x|leng'),
        ("foo (1)", 4, 'Character 5: "foo" cannot be called; filters do that, as in x|length.'),
        ("t == “late”", 5, 'Character 6: Texts stand in straight quotes, as in "late".'),
        ("`late`", 0, 'Character 1: Texts stand in straight quotes, as in "late".'),
        ("'late", 0, "Character 1: The text that begins here has no closing '."),
        ('t == "late', 5, 'Character 6: The text that begins here has no closing ".'),
        ("n|", 1, 'Character 2: After "|" the name of a filter is missing, as in n|add:1.'),
        ("n == |add:1", 5, 'Character 6: A filter ("|") has to stand right after the value it wo'),
        ("(n)|add:1", 3, 'Character 4: A filter ("|") has to stand right after the value it work'),
        ("n|add", 2, 'Character 3: The filter "add" needs a value after a colon (add:…).'),
        ("n|add:", 6, 'At the end: The value of "add" has to follow the ":" without a space.'),
        ("n|add: 1", 6, 'Character 7: The value of "add" has to follow the ":" without a space.'),
        ("n|add:(1)", 6, "Character 7: After the colon of a filter stands one text, number or n"),
        ("n|add:1,2", 7, "Character 8: A filter takes one value only."),
        ("n|lower:1", 2, 'Character 3: The filter "lower" takes no value after a colon.'),
        ("n|ad:1", 2, 'Character 3: There is no filter "ad". Did you mean add?'),
        ("n|add:1|lenght", 8, 'Character 9: There is no filter "lenght". Did you mean length?'),
        ("n|zzz", 2, 'Character 3: There is no filter "zzz".'),
        ("n|floatformat:2", 2, 'Character 3: There is no filter "floatformat".'),
        ("n.", 0, "Character 1: A name may not end in a dot or have two dots in a row."),
        ("n..x", 0, "Character 1: A name may not end in a dot or have two dots in a row."),
        (".5", 0, "Character 1: A number begins with a digit, as in 0.5, and a name with a lett"),
        ("5.", 0, 'Character 1: "5." is neither a number nor a name.'),
        ("1_000", 0, 'Character 1: "1_000" is neither a number nor a name.'),
        ("12abc", 0, 'Character 1: "12abc" is neither a number nor a name.'),
        ("1e999", 0, "Character 1: This number is too large."),
        ("9" * 400, 0, "Character 1: This number is too large."),
        ("true.x", 0, 'Character 1: "true" has no parts to read.'),
        ("n, m", 1, 'Character 2: Lists cannot be written here; a "," belongs inside quotes.'),
        ("n:1", 1, 'Character 2: A ":" may only follow the name of a filter, as in n|add:1.'),
        ("n ? m", 2, 'Character 3: "?" has no meaning here.'),
        ('"a" "b"', 4, 'Character 5: Before ""b"" an operator is missing, such as "and" or "==".'),
        ("(" * 60 + "n" + ")" * 60, 50, "Parentheses and not are nested too deeply here."),
        ("not " * 60 + "n", 200, "Parentheses and not are nested too deeply here."),
        ("n" * 10_001, 10_000, "An expression has at most 10,000 characters."),
    ],
)
def test_a_mistake_in_writing_is_shown_at_its_place(
    source: str, position: int, message: str
) -> None:
    where, said = misread(source)
    assert where == position
    assert message in said


@pytest.mark.parametrize("source", [None, 5, ["n"], b"n"])
def test_an_expression_has_to_be_a_text(source: Any) -> None:
    with pytest.raises(ExpressionSyntaxError, match="An expression is a text, not "):
        compile_expression(source)
    with pytest.raises(ExpressionSyntaxError, match="A template is a text, not "):
        compile_template(source)


def test_a_long_row_of_conditions_is_no_problem() -> None:
    assert value_of(" or ".join(f"n == {i}" for i in range(600)), n=599) is True
    assert value_of(" and ".join(f"n != {i}" for i in range(600)), n=600) is True


# Speed and caching


def test_an_expression_is_compiled_once() -> None:
    assert compile_expression("n == 12345") is compile_expression("n == 12345")
    assert compile_template("{{ n }}") is compile_template("{{ n }}")
    assert compile_template("{{ n }}") is not compile_template("{{ n }}", html=True)
    assert compile_expression(mark_safe("n == 12345")).source.__class__ is str
    assert repr(compile_expression("n == 1")) == "<Expression 'n == 1'>"
    assert repr(compile_template("{{ n }}")) == "<TextTemplate '{{ n }}'>"


def test_a_condition_is_evaluated_quickly() -> None:
    """A fraction of what was measured (3 million a second): other work and coverage slow it."""
    expression, scope = compile_expression("n < 120"), Scope({"n": 5})

    def evaluate_many() -> None:
        for _ in range(10_000):
            expression.evaluate(scope)
            scope.reads.clear()

    assert min(timeit.repeat(evaluate_many, number=1, repeat=5)) < 10_000 / 100_000


# Filter libraries


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    """A module with filters of a project's own."""
    library = Library()
    module = SimpleNamespace(register=library)
    monkeypatch.setitem(sys.modules, "tests.airline_filters", module)
    return library


def test_a_project_adds_filters_of_its_own(library: Library, settings: Any) -> None:
    @library.filter
    def miles(value: int) -> int:
        """Kilometres from miles."""
        return round(value * 1.609)

    @library.filter
    def per_hour(value: int, rate: int, *, slower: int) -> int:
        raise AssertionError

    @library.filter
    def add(value: int, other: int) -> str:
        """Replaces the one of the same name."""
        return f"{value}+{other}"

    assert "miles" not in available_filters()
    assert value_of("n|add:1", n=1) == 2
    settings.FLOWCONTROL_TEMPLATE_FILTERS = ["tests.airline_filters"]
    assert value_of("n|miles|add:1", n=100) == "161+1"
    assert compile_template("{{ n|miles }}").render(Scope({"n": 100})) == "161"
    assert available_filters()["miles"] == "Kilometres from miles."
    assert available_filters()["per_hour"] == ""
    settings.FLOWCONTROL_TEMPLATE_FILTERS = ["tests.unit.no_such_module"]
    with pytest.raises(ImproperlyConfigured, match="FLOWCONTROL_TEMPLATE_FILTERS"):
        available_filters()


def test_a_library_may_be_named_as_in_load(settings: Any) -> None:
    settings.FLOWCONTROL_TEMPLATE_FILTERS = ["l10n"]
    assert value_of("n|unlocalize", n=5) == "5"
    assert available_filters()["unlocalize"].startswith("Force a value to be rendered")
    settings.FLOWCONTROL_TEMPLATE_FILTERS = ["no_such_library"]
    with pytest.raises(ImproperlyConfigured, match='names "no_such_library"'):
        compile_expression("n|unlocalize")


def test_default_filters_can_be_left_out(settings: Any) -> None:
    assert value_of("n|add:1", n=1) == 2
    settings.FLOWCONTROL_DISABLE_DEFAULT_FILTERS = True
    assert misread("n|add:1") == (2, 'Character 3: There is no filter "add".')
    assert available_filters() == {}
    settings.FLOWCONTROL_TEMPLATE_FILTERS = ["django.template.defaultfilters"]
    assert value_of("n|add:'x'", n=1) == ""  # Django's own: it answers everything


def test_what_a_projects_filter_raises_is_an_error_that_names_it(
    library: Library, settings: Any
) -> None:
    @library.filter
    def fare(value: dict[str, int]) -> int:
        return value["fare"]

    @library.filter
    def seat(value: int, row: int = 0) -> int:
        raise OperationalError

    settings.FLOWCONTROL_TEMPLATE_FILTERS = ["tests.airline_filters"]
    assert "the filter \"fare\" refused: KeyError: 'fare'." in refusal("d|fare", d={})
    for source in ("n|seat", "n|seat:5"):
        with pytest.raises(OperationalError):
            value_of(source, n=1)


def test_filters_get_what_their_flags_ask_for(settings: Any) -> None:
    settings.FLOWCONTROL_TEMPLATE_FILTERS = ["django.template.defaultfilters"]
    scope = about(text="a\n<b>")
    assert value_of('now|date:"H:i"', scope) == "12:00"  # expects_localtime
    assert value_of("text|linebreaksbr", scope) == "a<br><b>"  # needs_autoescape
    assert compile_template("{{ text|linebreaksbr }}", html=True).render(scope) == "a<br>&lt;b&gt;"
    safe = about(text=mark_safe("<i>"))
    assert compile_template("{{ text|lower }}", html=True).render(safe) == "<i>"  # is_safe


def test_every_filter_has_a_help_text_of_one_sentence() -> None:
    for name, text in available_filters().items():
        assert 10 < len(text) < 100, name
        assert text.endswith("."), name
        assert text[0].isupper(), name
    assert list(available_filters()) == sorted(available_filters())


# Words for values


@pytest.mark.parametrize(
    ("value", "words", "short"),
    [
        (None, "nothing (null)", None),
        (False, "false", False),
        (5, "the number 5", 5),
        (2**5000, "the number of about 1505 digits", "of about 1505 digits"),
        (Decimal("1.50"), "the number 1.50", "the number 1.50"),
        ("late", 'the text "late"', "late"),
        ("x" * 61, f'the text "{"x" * 60}…"', "x" * 60 + "…"),
        (NOON, "the date 2013-02-04T17:00:00+00:00", "2013-02-04T17:00:00+00:00"),
        (time(9), "the time 09:00:00", "09:00:00"),
        (timedelta(hours=1), "the duration PT1H", "PT1H"),
        ([1, 2], "a list of 2", "a list of 2"),
        ({}, "an empty record", "an empty record"),
        (
            dict.fromkeys("abcdef"),
            "a record with the keys a, b, c, d, e, …",
            "a record with the keys a, b, c, d, e, …",
        ),
        (Flight(pk=12), "Flight 12", "Flight 12"),
        (Flight.objects.all(), "rows of Flight", "rows of Flight"),
        (UUID(int=1), f"the id {UUID(int=1)}", f"the id {UUID(int=1)}"),
        (b"x", "a Python bytes", "a Python bytes"),
    ],
)
def test_values_are_spoken_of_in_plain_words(value: Any, words: str, short: Any) -> None:
    assert describe(value) == words
    assert summary(value) == short
