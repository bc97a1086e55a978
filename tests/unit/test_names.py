"""Which names can be read where in a flow."""

from __future__ import annotations

from typing import Any

import pytest

from demo.models import Flight
from flowcontrol.documents import JSONObject, make_document
from flowcontrol.names import Place, loops_around, names_at
from flowcontrol.testing import Else, ElseIf, If, Log, SetState, UpdateState, While, row
from flowcontrol.typed_names import Name, names_in_value, type_of_value
from tests.unit.language import NOON


def state_names(document: JSONObject, place: Place) -> dict[str, str]:
    """The names of state and loops at a place, with their types."""
    return {
        each.name: each.type
        for each in names_at(document, place)
        if each.source in ("state", "loop", "row")
    }


def named(names: list[Name], name: str) -> Name:
    return next(each for each in names if each.name == name)


def test_a_row_reads_what_rows_before_it_set_and_not_what_rows_behind_it_set() -> None:
    document = make_document(
        UpdateState(a=1), Log("x", uid="here"), row("update_state", state={"b": "late"})
    )
    assert state_names(document, Place("here")) == {"a": "integer"}
    assert state_names(document, Place()) == {"a": "integer", "b": "text"}


def test_names_of_the_state_schema_come_with_their_types() -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": ["integer", "null"]},
            "day": {"type": "string", "format": "date"},
            "rest": {"type": "object", "properties": {"left": {"type": "number", "title": "Left"}}},
            "kind": {"enum": ["hot", "cold"]},
            "not a name": {"type": "string"},
        },
    }
    document = make_document(Log("x", uid="here"), state_schema=schema)
    assert state_names(document, Place("here")) == {
        "day": "date",
        "kind": "choice",
        "n": "integer",
        "rest": "record",
        "rest.left": "number",
    }
    names = names_at(document, Place("here"))
    assert named(names, "kind").choices == (("hot", "hot"), ("cold", "cold"))
    assert named(names, "rest.left").label == "Left"


def test_set_state_forgets_what_was_known_before_it() -> None:
    document = make_document(
        UpdateState(a=1),
        SetState(b=True),
        Log("x", uid="here"),
        If("b", [SetState(c=1)]),
        Log("x", uid="there"),
        state_schema={"type": "object", "properties": {"z": {"type": "string"}}},
    )
    assert state_names(document, Place("here")) == {"b": "boolean"}
    # What may have been passed over forgets nothing.
    assert state_names(document, Place("there")) == {"b": "boolean", "c": "integer"}


def test_else_does_not_read_what_its_if_has_set() -> None:
    document = make_document(
        UpdateState(a=1),
        If("a", [UpdateState(b=1)]),
        ElseIf("a", [UpdateState(c=1)], uid="second"),
        Else([UpdateState(d=1), Log("x", uid="inside")]),
        Log("x", uid="after"),
    )
    assert set(state_names(document, Place("second"))) == {"a"}
    assert set(state_names(document, Place("inside"))) == {"a", "d"}
    assert set(state_names(document, Place("after"))) == {"a", "b", "c", "d"}


def test_inside_a_loop_also_what_rows_behind_set_in_the_round_before_is_known() -> None:
    document = make_document(
        While("n", [Log("x", uid="here"), UpdateState(n=1)]), Log("x", uid="after")
    )
    assert state_names(document, Place("here")) == {"n": "integer"}


def test_the_variable_of_a_loop_is_known_inside_it_only() -> None:
    document = make_document(
        row("for", Log("x", uid="here"), end=3, var_name="i", uid="loop"),
        Log("x", uid="after"),
    )
    names = names_at(document, Place("here"))
    assert (named(names, "i").type, named(names, "i").source) == ("integer", "loop")
    assert "i" not in state_names(document, Place("after"))
    assert "i" not in state_names(document, Place("loop"))
    assert [each["uid"] for each in loops_around(document, Place("here"))] == ["loop"]
    assert loops_around(document, Place("after")) == []


def test_the_error_is_known_inside_its_handler_only() -> None:
    document = make_document(
        row("try", Log("x")),
        row("on_error", Log("x", uid="inside")),
        Log("x", uid="after"),
    )
    assert state_names(document, Place("inside")) == {
        "error": "any",
        "error.message": "text",
        "error.type": "text",
    }
    assert state_names(document, Place("after")) == {}


def test_a_result_is_known_under_its_key_and_says_whose_it_is() -> None:
    document = make_document(
        row("demo.rebook_passengers", result_key="rebooking", label="Seats"),
        Log("x", uid="here"),
    )
    assert named(names_at(document, Place("here")), "rebooking").label == "Result of “Seats”"


def test_what_is_switched_off_sets_nothing() -> None:
    document = make_document(row("update_state", enabled=False, state={"a": 1}), Log("x", uid="h"))
    assert state_names(document, Place("h")) == {}


def test_an_expression_among_the_values_keeps_the_type_that_is_known() -> None:
    document = make_document(
        UpdateState(n=0),
        row("update_state", evaluate=True, state={"n": "n|add:1", "m": "n"}),
        Log("x", uid="here"),
    )
    assert state_names(document, Place("here")) == {"m": "any", "n": "integer"}


@pytest.mark.parametrize(
    ("place", "known"),
    [
        (Place("second", "before"), {"a"}),
        (Place("second", "after"), {"a", "b"}),
        (Place("second", "first"), {"a", "b", "i"}),
        (Place("second", "last"), {"a", "b", "i"}),
        (Place("", "first"), set()),
        (Place("", "last"), {"a", "b"}),
        (Place("second", "after", action="else"), {"a", "b"}),
        (Place("gone", "after"), set()),
        (Place("gone"), set()),
    ],
)
def test_a_new_row_reads_what_is_known_where_it_goes(place: Place, known: set[str]) -> None:
    document = make_document(
        UpdateState(a=1),
        row("for", UpdateState(b=1), end=3, var_name="i", uid="second"),
    )
    assert set(state_names(document, place)) == known


def test_the_fields_of_the_object_come_with_types_choices_and_what_they_lead_to() -> None:
    names = names_at(make_document(), Place(), model=Flight)
    types = {each.name: each.type for each in names}
    assert types["object"] == "object"
    assert types["object.delay"] == "integer"
    assert types["object.day"] == "date"
    assert types["object.scheduled_departure"] == "datetime"
    assert types["object.origin"] == "object"
    assert types["object.origin_id"] == "text"
    assert types["object.origin.name"] == "text"
    assert types["object.origin.email"] == "text"  # a property, of a relation
    assert types["object.is_waiting"] == "boolean"
    assert types["object.vouchers"] == "rows"
    assert types["object.vouchers.count"] == "integer"
    assert named(names, "object.status").choices[0] == ("scheduled", "Scheduled")
    assert types["object.get_status_display"] == "text"
    # One level deep, and nothing private.
    assert not [name for name in types if name.startswith("object.origin.departures")]
    assert not [name for name in types if "._" in name]


def test_only_exposed_fields_are_offered(settings: Any) -> None:
    settings.FLOWCONTROL_EXPOSED_FIELDS = {
        "demo.flight": ["delay", "origin", "get_status_display"],
        "demo.airport": ["name"],
    }
    names = {each.name for each in names_at(make_document(), Place(), model=Flight)}
    assert {name for name in names if name.startswith("object")} == {
        "object",
        "object.delay",
        "object.origin",
        "object.origin.name",
    }
    assert "run.user.username" not in names


def test_nobody_is_offered_a_password() -> None:
    names = {each.name for each in names_at(make_document(), Place())}
    assert "run.user.email" in names
    assert not [name for name in names if "password" in name]


def test_the_payload_of_the_triggers_is_known_by_their_schemas() -> None:
    names = names_at(make_document(), Place(), triggers=["demo.flight_changed"])
    assert named(names, "trigger.delay").type == "integer"
    assert named(names, "trigger.status").type == "choice"
    assert "trigger" in {each.name for each in names_at(make_document(), Place(), triggers=["no"])}


def test_the_condition_of_a_trigger_row_reads_object_trigger_and_time() -> None:
    document = make_document(UpdateState(a=1))
    names = names_at(document, Place(triggers=("demo.flight_changed",)), model=Flight)
    roots = {each.name.split(".")[0] for each in names}
    assert roots == {"object", "trigger", "now", "today"}


def test_a_row_that_waits_for_a_trigger_reads_what_that_one_brings() -> None:
    document = make_document(
        row("wait_for_trigger", trigger="demo.flight_changed", uid="wait"), Log("x", uid="log")
    )
    assert named(names_at(document, Place("wait")), "trigger.delay").type == "integer"
    assert "trigger.delay" not in {each.name for each in names_at(document, Place("log"))}


def test_a_branch_reads_nothing_of_its_neighbours_and_hands_back_what_it_names() -> None:
    document = make_document(
        row(
            "parallel",
            row("branch", row("update_state", state={"a": 1, "b": 2}), keys=["a"]),
            row("branch", Log("x", uid="inside")),
        ),
        Log("x", uid="after"),
    )
    assert state_names(document, Place("inside")) == {}
    assert state_names(document, Place("after")) == {"a": "integer"}


def test_what_is_inside_a_record_is_found_in_its_value() -> None:
    found = names_in_value("rebooking", {"left": 3, "by": {"UA": {"x": 1}}, "not so": 1}, "state")
    assert {each.name: each.type for each in found} == {
        "rebooking": "record",
        "rebooking.left": "integer",
        "rebooking.by": "record",
        "rebooking.by.UA": "record",
    }


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (None, "any"),
        (True, "boolean"),
        (5, "integer"),
        (1.5, "number"),
        ("late", "text"),
        ("2013-02-04", "date"),
        ("2013-02-04T10:00:00Z", "datetime"),
        ("PT2H", "duration"),
        ([1], "list"),
        ({}, "record"),
        (NOON, "datetime"),
        (NOON.date(), "date"),
        (NOON.time(), "time"),
        (Flight(), "object"),
        (object(), "any"),
    ],
)
def test_the_type_of_a_value(value: Any, type_: str) -> None:
    assert type_of_value(value) == type_
