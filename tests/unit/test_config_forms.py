from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from html.parser import HTMLParser

import pytest
from django.http import QueryDict
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcontrol.admin.config_forms import ConfigForm, config_form_class
from flowcontrol.durations import Duration, format_duration
from flowcontrol.schemas import MASK, Problem, find_problems


def schema_of(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def form_for(schema, config=None, data=None, **options):
    """A form; ``data`` is what a person changed in the page that shows ``config``."""
    form_class = config_form_class(schema)
    shown = form_class(initial_config=config, **options)
    if data is None:
        return shown
    return form_class(posted(shown, **data), config, **options)


def saved(schema, config=None, **changes):
    form = form_for(schema, config, changes)
    assert form.is_valid(), form.errors.as_json()
    return form.config


def refused(schema, config=None, **changes):
    form = form_for(schema, config, changes)
    assert not form.is_valid()
    return {name: list(errors) for name, errors in form.errors.items()}


def posted(form: ConfigForm, **changes: str | list[str] | None) -> QueryDict:
    """What a browser without JavaScript posts after a person made ``changes`` in the page."""
    data = QueryDict(mutable=True)
    for name, value in controls_in(str(form)):
        data.appendlist(name, value)
    for name, change in changes.items():
        if change is None:
            data.pop(name, None)
        else:
            data.setlist(name, change if isinstance(change, list) else [change])
    for name in data:
        lines = [value.replace("\n", "\r\n") for value in data.getlist(name)]
        data.setlist(name, lines)
    return data


def controls_in(html: str) -> list[tuple[str, str]]:
    page = Page(html)
    return page.controls


class Page(HTMLParser):
    """The successful controls of a page, after what HTML has browsers do to their values."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.controls: list[tuple[str, str]] = []
        self._textarea: tuple[str, list[str]] | None = None
        self._select: str | None = None
        self._options: list[tuple[str, bool]] = []
        self.feed(html.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "�"))
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "input" and "disabled" not in found:
            kind, value = found.get("type", "text"), found.get("value") or ""
            if kind in ("checkbox", "radio"):
                if "checked" in found:
                    self.controls.append((found["name"], found.get("value") or "on"))
            else:
                self.controls.append((found["name"], sanitised(kind, value)))
        elif tag == "textarea":
            self._textarea = (found["name"], [])
        elif tag == "select":
            self._select, self._options = found["name"], []
        elif tag == "option" and self._select:
            self._options.append((found["value"], "selected" in found))

    def handle_data(self, data):
        if self._textarea:
            self._textarea[1].append(data)

    def handle_endtag(self, tag):
        if tag == "textarea" and self._textarea:
            name, pieces = self._textarea
            self.controls.append((name, "".join(pieces).removeprefix("\n")))
            self._textarea = None
        elif tag == "select" and self._select:
            chosen = [value for value, is_chosen in self._options if is_chosen]
            first = [value for value, _is_chosen in self._options[:1]]
            self.controls += [(self._select, value) for value in chosen[-1:] or first]
            self._select = None


def sanitised(kind: str, value: str) -> str:
    value = value.replace("\n", "")
    try:
        match kind:
            case "number":
                float(value)
            case "date":
                date.fromisoformat(value)
            case "time":
                time.fromisoformat(value)
            case "datetime-local":
                assert datetime.fromisoformat(value).tzinfo is None
                return value.removesuffix(":00") if len(value) > 16 else value
    except (ValueError, AssertionError):
        return ""
    return value


TEXT = {"type": "string"}
EMAIL = {"type": "string", "format": "email"}
SECRET = {"type": "string", "format": "secret"}
EXPRESSION = {"type": "string", "format": "expression"}
STATE = {"type": "object"}
LINES = {"type": "array", "items": TEXT}
RETRY = schema_of(["times"], times={"type": "integer", "minimum": 1}, wait=TEXT)


# --- fields ---


@pytest.mark.parametrize(
    ("schema", "typed", "value"),
    [
        (TEXT, {"x": " Gate 7 "}, "Gate 7"),
        ({**TEXT, "maxLength": 500}, {"x": "one\n two\n"}, "one\n two\n"),
        ({**TEXT, "format": "template"}, {"x": "Dear {{ object.carrier }},\n"}, None),
        (EMAIL, {"x": "desk@example.com"}, None),
        ({"type": "integer"}, {"x": "12"}, 12),
        ({"type": "integer"}, {"x": " 12.0 "}, 12),
        ({"type": "integer", "not": {"const": 0}}, {"x": "-1"}, -1),
        ({"type": "number"}, {"x": "1.5"}, 1.5),
        ({"type": "number"}, {"x": "-3"}, -3),
        ({"type": ["number", "null"]}, {"x": "1e3"}, 1000.0),
        ({"type": "boolean", "default": False}, {"x": "on"}, True),
        ({"type": "boolean"}, {"x": "false"}, False),
        ({"enum": ["short", "long", "none", "all"]}, {"x": "long"}, "long"),
        ({"enum": [1, "1", True, ""]}, {"x": '"1"'}, "1"),
        ({"enum": [1, "1", True, ""]}, {"x": "1"}, 1),
        ({"enum": [1, "1", True, ""]}, {"x": '""'}, ""),
        ({**TEXT, "format": "date"}, {"x": "2013-02-04"}, None),
        ({**TEXT, "format": "time"}, {"x": "09:30"}, None),
        ({**TEXT, "format": "date-time"}, {"x": "2013-02-04T09:30"}, None),
        ({**TEXT, "format": "duration"}, {"x__hours": "36", "x__minutes": "1,5"}, "PT36H1M30S"),
        ({**TEXT, "format": "duration"}, {"x__months": "14", "x__days": "3"}, "P1Y2M3D"),
        ({**TEXT, "format": "duration"}, {"x__seconds": "0"}, "PT0S"),
        ({**TEXT, "format": "time-zone"}, {"x": "America/New_York"}, None),
        (EXPRESSION, {"x": "object.dep_delay > 60"}, None),
        (SECRET, {"x": " hunter2 "}, " hunter2 "),
        ({**TEXT, "format": "model-reference"}, {"x": "demo.flight:12"}, None),
        ({**TEXT, "format": "model-reference", "model": "demo.flight"}, {"x__key": "12"}, None),
        (LINES, {"x": "a\n\n  b \n"}, ["a", "b"]),
        ({"type": "array", "items": {"type": "integer"}}, {"x": "1\n2"}, [1, 2]),
        ({"type": "array", "items": {"enum": ["a", "b", "c"]}}, {"x": ["c", "a"]}, ["a", "c"]),
        (RETRY, {"x": "on", "x__times": "3"}, {"times": 3}),
        (RETRY, {"x__times": "3"}, {"times": 3}),
        (STATE, {"x": '{"n": [1, 2]}'}, {"n": [1, 2]}),
        ({"oneOf": [TEXT, {"type": "integer"}]}, {"x": "5"}, 5),
        ({"type": "array", "items": RETRY}, {"x": '[{"times": 1}]'}, [{"times": 1}]),
        ({"$ref": "#/$defs/any"}, {"x": "null"}, "null"),
        ({}, {"x": "[]"}, []),
        (True, {"x": "1"}, 1),
    ],
)
def test_what_is_typed_becomes_json(schema, typed, value):
    whole = {**schema_of(x=schema), "$defs": {"any": {}}}
    if value is None:
        value = "demo.flight:12" if "x__key" in typed else typed["x"]
    elif value == "null":
        value = None
    assert saved(whole, **typed) == {"x": value}
    assert saved(whole, {"x": value}) == {"x": value}  # and back


def test_what_is_left_empty_is_left_out():
    schema = schema_of(
        text=TEXT, number={"type": "integer"}, lines=LINES, state=STATE, yes={"type": "boolean"},
        wait={**TEXT, "format": "duration"}, kind={"enum": list("abcd")}, retry=RETRY, any={},
    )  # fmt: skip
    assert saved(schema) == {}
    full = {"text": "a", "number": 1, "lines": ["a"], "state": {}, "yes": False, "wait": "P1D",
            "kind": "a", "retry": {"times": 1}, "any": 0}  # fmt: skip
    cleared = {"text": "", "number": "", "lines": "", "state": "", "yes": "", "kind": "",
               "wait__days": "", "retry": None, "any": ""}  # fmt: skip
    assert saved(schema, full, **cleared) == {}


def test_what_is_required_is_said_at_the_field():
    schema = schema_of(
        ["to", "copies", "state", "kind"],
        to=EMAIL, copies={"type": "integer"}, state=STATE, kind={"enum": ["a", "b"]},
    )  # fmt: skip
    assert refused(schema) == {name: ["Required"] for name in ("to", "copies", "state", "kind")}


def test_a_required_list_may_be_empty_as_far_as_its_schema_says():
    assert saved(schema_of(["to"], to=LINES)) == {"to": []}
    assert refused(schema_of(["to"], to={**LINES, "minItems": 1})) == {
        "to": ["Must have at least 1 entry"]
    }


def test_a_required_value_that_may_be_null_is_null_when_empty():
    assert saved(schema_of(["n"], n={"type": ["integer", "null"]})) == {"n": None}


@pytest.mark.parametrize(
    ("schema", "typed", "message"),
    [
        (EMAIL, "a@", "'a@' is not an email address"),
        ({"type": "integer"}, "1.5", "'1.5' is not a whole number"),
        ({"type": "integer"}, "1_000", "'1_000' is not a whole number"),
        ({"type": "number"}, "1e999", "'1e999' is too large"),
        ({"type": "number"}, "nan", "'nan' is not a number"),
        ({"type": "number", "maximum": 5}, "6", "Must be at most 5"),
        ({"enum": ["a", "b"]}, "c", "'c' is not one of the choices"),
        ({**TEXT, "format": "time"}, "9", "'9' is not a time of day (write it like 09:30)"),
        (LINES, "a\n" * 3, None),
        ({**LINES, "items": EMAIL}, "a@b.de\n\nc", "Line 3: 'c' is not an email address"),
        ({"type": "array", "items": {"type": "integer"}}, "1\nx", "Line 2: 'x' is not a whole"),
        ({**LINES, "uniqueItems": True}, "a\na", "Has the same entry twice"),
        (STATE, '{"a": 1,}', "Line 1, column "),
        (STATE, '{\n  "a": wrong}', "Line 2, column 8: a value is expected here"),
        (STATE, '{"a": 1, "a": 2}', "The name “a” stands twice in one group"),
        (STATE, '{"a": NaN}', "NaN is not a number that can be stored"),
        (STATE, '{"a": 1e999}', "A number in this is too large"),
        (STATE, '{"a": ' + "1" * 5000 + "}", "A number in this is too large"),
        (STATE, "[" * 100_000, "This is nested too deeply"),
        (STATE, "[]", "Must be a group of named values"),
        ({**STATE, "additionalProperties": {"type": "integer"}}, '{"a": "b"}', "A: must be a wh"),
        ({"type": "array", "items": RETRY}, '[{"times": 0}]', "Entry 1 → times: must be at least"),
    ],
)
def test_errors_are_said_at_the_field_and_in_words(schema, typed, message):
    if message is None:
        assert saved(schema_of(x=schema), x=typed)
    else:
        [[found]] = refused(schema_of(x=schema), x=typed).values()
        assert found.startswith(message)


def test_a_duration_that_makes_no_sense_is_refused():
    schema = schema_of(x={**TEXT, "format": "duration"})
    assert refused(schema, x__hours="two") == {"x": ["'two' is not a number"]}
    assert refused(schema, x__days="1.5") == {
        "x": ["Months and days are whole numbers; write the rest in hours"]
    }
    assert refused(schema, x__days="999999999") == {"x": ["This duration is too long"]}


def test_a_misspelt_value_is_shown_to_be_put_right():
    schema = schema_of(day={**TEXT, "format": "date"}, wait={**TEXT, "format": "duration"})
    stored = {"day": "4 February", "wait": "2 hours"}
    assert refused(schema, stored).keys() == {"day", "wait"}
    assert saved(schema, stored, day="2013-02-04", wait="PT2H") == {
        "day": "2013-02-04",
        "wait": "PT2H",
    }


def test_a_value_of_the_wrong_type_is_shown_as_json():
    schema = schema_of(n={"type": "integer"})
    assert refused(schema, {"n": [1]}) == {"n": ["Must be a whole number"]}
    assert saved(schema, {"n": [1]}, n="1") == {"n": 1}


def test_a_yes_or_no_with_a_default_is_a_checkbox():
    schema = schema_of(evaluate={"type": "boolean", "default": True})
    assert 'type="checkbox" name="evaluate" id="id_evaluate" checked' in str(form_for(schema))
    assert saved(schema) == {}
    assert saved(schema, evaluate=None) == {"evaluate": False}
    assert saved(schema, {"evaluate": False}, evaluate="on") == {"evaluate": True}


def test_who_removes_a_default_does_not_get_it_back():
    schema = schema_of(
        subject={**TEXT, "default": "Delay"}, to={**LINES, "default": ["desk"]},
        n={"type": "integer", "default": 3},
    )  # fmt: skip
    assert saved(schema, subject="", to="", n="") == {"subject": "", "to": []}


# --- fixed or computed ---


def test_a_value_can_be_computed():
    schema = schema_of(["to"], to=EMAIL)
    typed = {"to__mode": "computed", "to__expr": "object.email", "to": "not looked at"}
    assert saved(schema, **typed) == {"to": {"$expr": "object.email"}}


def test_a_computed_value_is_shown_and_can_be_fixed():
    schema = schema_of(["to"], to=EMAIL)
    config = {"to": {"$expr": "object.email"}}
    html = str(form_for(schema, config))
    assert 'data-fc-mode="computed"' in html
    assert 'value="object.email"' in html
    assert saved(schema, config) == config
    assert saved(schema, config, to__mode="fixed", to="a@example.com") == {"to": "a@example.com"}
    assert refused(schema, config, to__mode="fixed") == {"to": ["Required"]}


def test_an_expression_that_cannot_be_read_is_shown_at_its_field():
    schema = schema_of(to=EMAIL, copies={"type": "integer"})
    errors = refused(schema, to__mode="computed", to__expr="object.email ==")
    assert errors.keys() == {"to"}
    assert refused(schema, copies__mode="computed") == {
        "copies": ["Write the expression to compute this by"]
    }


def test_any_kind_of_value_can_be_computed_but_not_expressions_and_templates():
    schema = schema_of(
        state=STATE, retry=RETRY, yes={"type": "boolean"}, condition=EXPRESSION,
        text={**TEXT, "format": "template"},
    )  # fmt: skip
    form = form_for(schema)
    switches = {name for name in form.fields if name.endswith("__mode")}
    assert switches == {"state__mode", "retry__mode", "yes__mode"}
    typed = {f"{name}__mode": "computed" for name in ("state", "retry", "yes")}
    typed |= {f"{name}__expr": name for name in ("state", "retry", "yes")}
    computed = {name: {"$expr": name} for name in ("state", "retry", "yes")}
    assert saved(schema, **typed) == computed
    assert saved(schema, computed) == computed


def test_the_mode_may_be_missing_from_what_is_posted():
    form = config_form_class(schema_of(to=EMAIL))({"to": "a@example.com"})
    assert form.is_valid()
    assert form.config == {"to": "a@example.com"}


def test_a_default_can_be_computed():
    schema = schema_of(["to"], to={**EMAIL, "default": {"$expr": "object.email"}}, n=TEXT)
    assert saved(schema) == {"to": {"$expr": "object.email"}}
    assert saved({**schema, "required": []}) == {}


# --- groups ---


def test_the_fields_of_a_group_have_their_own_errors():
    schema = schema_of(["retry"], retry=RETRY)
    assert refused(schema) == {"retry__times": ["Required"]}
    assert refused(schema, retry__times="0") == {"retry__times": ["Must be at least 1"]}
    assert refused(schema, retry__times="x") == {"retry__times": ["'x' is not a whole number"]}


def test_a_group_that_may_be_left_out_has_a_checkbox():
    schema = schema_of(retry=RETRY)
    assert saved(schema) == {}
    assert refused(schema, retry="on") == {"retry__times": ["Required"]}
    assert saved(schema, {"retry": {"times": 2}}, retry=None, retry__times="x") == {}


def test_hidden_fields_of_an_unused_group_do_not_count_as_filled_in():
    # With JavaScript the page does not post them at all.
    group = schema_of(
        yes={"type": "boolean", "default": True}, kind={"enum": ["a"], "default": "a"}
    )
    form = config_form_class(schema_of(group=group))({})
    assert form.is_valid()
    assert form.config == {}


def test_an_empty_group_is_kept():
    schema = schema_of(retry=schema_of(wait=TEXT))
    assert saved(schema, {"retry": {}}) == {"retry": {}}
    assert saved(schema, retry="on") == {"retry": {}}


def test_a_group_in_a_group_is_json():
    schema = schema_of(["a"], a=schema_of(["b"], b=schema_of(["c"], c={"type": "integer"})))
    assert saved(schema, a__b='{"c": 1}') == {"a": {"b": {"c": 1}}}
    assert refused(schema, a__b='{"c": "x"}') == {"a__b": ["C: must be a whole number"]}


def test_a_group_with_more_than_its_properties_is_json():
    schema = schema_of(retry={**RETRY, "additionalProperties": True})
    config = {"retry": {"times": 1, "more": 2}}
    assert json.loads(dict(controls_in(str(form_for(schema, config))))["retry"]) == config["retry"]
    assert saved(schema, config) == config


# --- what is beside the properties ---


def test_what_has_no_field_is_kept_and_can_be_edited():
    schema = {"type": "object", "properties": {"to": TEXT}}
    config = {"to": "a", "colour": "red"}
    assert saved(schema, config, to="b") == {"to": "b", "colour": "red"}
    assert saved(schema, config, __other="") == {"to": "a"}
    assert refused(schema, config, __other='{"to": "c"}') == {
        "__other": ["“to” has a field of its own above"]
    }
    assert refused(schema, config, __other="5") == {"__other": ["Put braces around named values"]}
    assert "__other" not in form_for(schema).fields


def test_a_setting_that_is_no_longer_known_can_be_removed():
    schema = schema_of(to=TEXT)
    assert refused(schema, {"colour": "red"}) == {"__other": ["Colour: is not known here"]}
    assert saved(schema, {"colour": "red"}, __other="") == {}


def test_an_action_without_properties_has_nothing_to_fill_in():
    form = form_for({"type": "object", "properties": {}})
    assert form.fields == {}
    assert "There is nothing to fill in." in str(form)
    assert saved({"type": "object", "properties": {}}) == {}


def test_a_schema_that_names_no_properties_is_one_field_of_json():
    assert saved({"type": "object"}, {"a": 1}) == {"a": 1}
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    assert refused(schema, __other='{"a": "x"}') == {"__other": ["A: must be a whole number"]}


# --- secrets ---


def test_a_secret_never_reaches_the_page():
    schema = schema_of(
        ["token"],
        token=SECRET,
        login=schema_of(user=TEXT, password=SECRET),
        headers={"type": "object", "additionalProperties": SECRET},
        keys={"type": "array", "items": SECRET},
        either={"anyOf": [SECRET, {"type": "null"}]},
    )
    schema["additionalProperties"] = SECRET
    config = {
        "token": "hunter2-a",
        "login": {"user": "grace", "password": "hunter2-b"},
        "headers": {"Authorization": "hunter2-c"},
        "keys": ["hunter2-d"],
        "either": "hunter2-e",
        "more": "hunter2-f",
    }
    form_class = config_form_class(schema)
    assert "hunter2" not in str(form_class(initial_config=config))
    unchanged = form_class(posted(form_class(initial_config=config)), config)
    assert unchanged.is_valid(), unchanged.errors
    assert unchanged.config == config
    typed = form_class({"token": "hunter3", "login__user": ""}, config)
    assert "hunter" not in str(typed)


def test_a_new_secret_replaces_the_stored_one_and_an_optional_one_can_be_forgotten():
    schema = schema_of(["a"], a=SECRET, b=SECRET)
    config = {"a": "one", "b": "two"}
    assert saved(schema, config) == config
    assert saved(schema, config, a="three") == {"a": "three", "b": "two"}
    assert saved(schema, config, b__clear="on") == {"a": "one"}
    assert "a__clear" not in form_for(schema, config).fields
    assert refused(schema) == {"a": ["Required"]}


def test_a_masked_secret_in_json_stands_for_the_stored_one_at_its_place():
    schema = schema_of(hooks={"type": "array", "items": schema_of(url=TEXT, key=SECRET)})
    one = {"url": "https://a.example", "key": "k1"}
    two = {"url": "https://b.example", "key": "k2"}
    config = {"hooks": [one, two]}

    def masked(hook, **change):
        return {**hook, "key": MASK, **change}

    moved = json.dumps([masked(two), masked(one)])
    assert refused(schema, config, hooks=moved).keys() == {"hooks"}
    redirected = json.dumps([masked(one, url="https://evil.example"), masked(two)])
    assert refused(schema, config, hooks=redirected).keys() == {"hooks"}
    added = json.dumps([masked(one), masked(two), {"url": "https://c.example", "key": "k3"}])
    assert saved(schema, config, hooks=added) == {
        "hooks": [one, two, {"url": "https://c.example", "key": "k3"}]
    }


# --- choices from the database ---


def flows():
    return [("long-delay", "Long delay"), ("summary", gettext_lazy("Summary"))]


START = schema_of(["flow"], flow={**TEXT, "format": "flow"})


def test_choices_are_asked_for_once_and_only_if_needed():
    calls = []

    def load():
        calls.append(1)
        return flows()

    form_class = config_form_class(START, choices={"flow": load})
    form_class(choices={"user": lambda: pytest.fail("nobody asked for users")})
    assert calls == []
    form = form_class({"flow": "summary"}, {"flow": "long-delay"})
    assert form.is_valid()
    str(form)
    assert calls == [1]


def test_only_what_is_offered_can_be_chosen():
    form_class = config_form_class(START, choices={"flow": flows})
    assert form_class({"flow": "summary"}).config == {"flow": "summary"}
    assert list(form_class({"flow": "other"}).errors["flow"]) == [
        "'other' is not one of the choices"
    ]
    assert list(form_class({"flow": ""}).errors["flow"]) == ["Required"]


def test_a_stored_choice_that_is_gone_is_shown_and_kept():
    form_class = config_form_class(START, choices={"flow": flows})
    shown = form_class(initial_config={"flow": "gone"})
    assert "gone (not found)" in str(shown)
    assert form_class(posted(shown), {"flow": "gone"}).config == {"flow": "gone"}


def test_without_choices_the_name_is_typed():
    assert saved(START, flow="long-delay") == {"flow": "long-delay"}
    assert refused(START, flow="long delay").keys() == {"flow"}


def test_an_object_is_chosen_by_model_and_key():
    schema = schema_of(about={**TEXT, "format": "model-reference"})
    models = {"model-reference": lambda: [("demo.flight", "Flight"), ("demo.airport", "Airport")]}
    form_class = config_form_class(schema, choices=models)
    data = {"about__model": "demo.airport", "about__key": " JFK "}
    assert form_class(data).config == {"about": "demo.airport:JFK"}
    assert form_class({"about__model": "demo.airport"}).errors.keys() == {"about"}
    assert form_class({"about__key": "5"}).errors.keys() == {"about"}
    assert form_class({}).config == {}
    for stored in ({"about": "demo.flight:UA:1545"}, {"about": "other.thing:1"}):
        form = form_class(posted(form_class(initial_config=stored)), stored)
        assert form.config == stored


# --- problems found elsewhere ---


def test_problems_are_shown_where_they_belong():
    schema = schema_of(to={**LINES, "items": EMAIL}, state=STATE, retry=RETRY)
    form = form_for(schema, {"to": ["a@example.com", "b@example.com"]})
    form.add_problems(
        [
            Problem(("to", 1), "bounces"),
            Problem(("to", 7), "is odd"),
            Problem(("state", "items", 2), "is too much"),
            Problem(("retry", "times"), "is too often"),
            Problem(("retry",), "is odd"),
            Problem(("gone",), "was there once"),
            Problem((), "is no good"),
        ]
    )
    assert {name: list(found) for name, found in form.errors.items()} == {
        "to": ["Line 2: bounces", "Entry 8: is odd"],
        "state": ["Items → entry 3: is too much"],
        "retry__times": ["Is too often"],
        "retry": ["Is odd"],
        "__all__": ["Gone: was there once", "Is no good"],
    }
    html = str(form)
    for words in ("bounces", "is too much", "Is too often", "Is odd", "was there once", "no good"):
        assert words in html


def test_a_stored_config_is_shown_with_its_problems_before_anything_is_posted():
    schema = schema_of(["to"], to=EMAIL)
    form = form_for(schema, {"to": "a@"})
    form.add_problems(find_problems(schema, {"to": "a@"}))
    assert "&#x27;a@&#x27; is not an email address" in str(form)
    assert 'aria-invalid="true"' in str(form)
    assert not form.is_valid()
    with pytest.raises(ValueError, match="Only a valid form"):
        _ = form.config


def test_a_problem_added_to_a_valid_form_makes_it_invalid():
    form = form_for(schema_of(to=TEXT), {}, {"to": "x"})
    assert form.is_valid()
    form.add_problems([Problem(("to",), "is taken")])
    assert not form.is_valid()


# --- the page ---


def test_labels_and_help_come_from_the_action_type_then_from_the_schema():
    schema = schema_of(
        to=EMAIL,
        var_name={**TEXT, "description": "Shadows <state>"},
        ifPast={"enum": ["leave_it", "go-on"], "default": "leave_it"},
        subject={**TEXT, "title": "Betreff"},
        retry=schema_of(times={"type": "integer"}),
    )
    form_class = config_form_class(
        schema,
        labels={
            "to": gettext_lazy("Recipient"),
            "retry.times": "How often",
            "ifPast=go-on": "Go on now",
        },
        help_texts={"to": "One address"},
        name="Mail",
    )
    assert form_class.__name__ == "MailForm"
    html = str(form_class())
    for words in ("Recipient", "One address", "Var name", "Shadows &lt;state&gt;", "If past",
                  "Leave it", "Go on now", "Betreff", "Retry", "How often"):  # fmt: skip
        assert words in html


def test_a_letter_gets_room_and_a_subject_one_line():
    template = {**TEXT, "format": "template"}
    html = str(form_for(schema_of(text=template, subject={**template, "maxLength": 200})))
    assert '<textarea name="text"' in html
    assert '<input type="text" name="subject"' in html


def test_no_script_and_no_style_is_written_into_the_page():
    schema = schema_of(a=TEXT, b=RETRY, c={**TEXT, "format": "time-zone"}, d=STATE)
    html = str(form_for(schema))
    assert "<script" not in html
    assert "style=" not in html
    assert "onclick" not in html
    assert "config_form.css" in str(form_for(schema).media)
    assert '<script src="/static/flowcontrol/config_form.js" defer></script>' in str(
        form_for(schema).media
    )


def test_every_control_has_a_name_for_screen_readers():
    schema = schema_of(
        text=TEXT, yes={"type": "boolean", "default": True}, kind={"enum": ["a"], "default": "a"},
        wait={**TEXT, "format": "duration"}, retry=RETRY, state=STATE,
        about={**TEXT, "format": "model-reference", "model": "demo.flight"},
    )  # fmt: skip
    labelled, controls = set(), {}
    stack: list[str] = []

    class Labels(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found = dict(attrs)
            if tag == "label":
                stack.append(tag)
                labelled.add(found.get("for"))
            elif tag in ("input", "select", "textarea"):
                controls[found["id"]] = bool(stack) or "aria-label" in found

        def handle_endtag(self, tag):
            if tag == "label":
                stack.pop()

    Labels().feed(str(form_for(schema)))
    assert len(controls) > 20
    assert [id_ for id_, named in controls.items() if not named and id_ not in labelled] == []


def test_forms_can_stand_beside_each_other():
    schema = schema_of(x=TEXT, retry=RETRY)
    form_class = config_form_class(schema)
    data = {"one-x": "1", "two-x": "2", "two-retry__times": "2"}
    assert form_class(data, prefix="one").config == {"x": "1"}
    assert form_class(data, prefix="two").config == {"x": "2", "retry": {"times": 2}}
    assert 'id="id_two-x_label"' in str(form_class(prefix="two"))


def test_any_property_name_gets_a_field():
    names = ["a__mode", "1 st", "", "ünï", "field1", "x-", "class", "media", "a.b", "errors", "a"]
    schema = schema_of(**dict.fromkeys(names, TEXT))
    config = {name: f"value of {name}" for name in names}
    assert saved(schema, config) == config
    form = form_for(schema, config)
    shown = dict(controls_in(str(form)))
    assert shown["a"] == "value of a"
    assert set(config.values()) <= set(shown.values())


def test_a_schema_that_is_none_is_refused():
    with pytest.raises(ValueError, match="has to describe an object"):
        config_form_class({"type": "string"})


# --- round trips ---

texts = st.text(max_size=20) | st.sampled_from(
    ["a\nb", "\n", "a\r\nb", " a ", "\ta", "\0", "\ud800", "<b>&amp;\"'", MASK]
)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, json_values, max_size=3)
moments = st.datetimes() | st.datetimes(timezones=st.just(UTC))
durations = st.builds(
    Duration,
    st.integers(0, 99),
    st.integers(0, 999),
    st.timedeltas(timedelta(0), timedelta(days=99)),
)
CHOICES = ["short", "long", "none", "all"]

KINDS = [
    (TEXT, texts),
    ({**TEXT, "maxLength": 500}, texts),
    ({**TEXT, "contentMediaType": "text/html"}, texts),
    ({"type": ["string", "null"]}, st.none() | texts),
    ({**TEXT, "format": "template"}, st.sampled_from(["", "Dear {{ object }},\n\n", "\n"])),
    (EXPRESSION, st.sampled_from(["n", "n < 3 and not done", " n"])),
    (EMAIL, st.just("desk@example.com")),
    ({**TEXT, "format": "uri"}, st.just("https://example.com/?a=1&b=2")),
    ({**TEXT, "format": "date"}, st.dates().map(date.isoformat)),
    ({**TEXT, "format": "time"}, st.times().map(time.isoformat)),
    ({**TEXT, "format": "date-time"}, moments.map(datetime.isoformat)),
    ({**TEXT, "format": "duration"}, durations.map(format_duration)),
    ({**TEXT, "format": "duration"}, st.sampled_from(["P2W", "PT90M", "PT0H", "PT1,5S"])),
    ({**TEXT, "format": "time-zone"}, st.sampled_from(["UTC", "America/New_York"])),
    ({**TEXT, "format": "flow"}, st.sampled_from(["long-delay", "gone"])),
    ({**TEXT, "format": "user"}, st.sampled_from(["grace", "Ada L."])),
    ({**TEXT, "format": "model-reference"}, st.sampled_from(["demo.flight:1", "x.y: z"])),
    ({**TEXT, "format": "model-reference", "model": "demo.flight"}, st.just("demo.flight:1")),
    (SECRET, texts),
    ({"type": "integer"}, st.integers()),
    ({"type": "integer"}, st.just(3.0)),
    ({"type": "number"}, numbers),
    ({"type": ["number", "null"]}, st.none() | numbers),
    ({"type": "boolean"}, st.booleans()),
    ({"type": ["boolean", "null"]}, st.none() | st.booleans()),
    ({"enum": CHOICES}, st.sampled_from(CHOICES)),
    ({"enum": CHOICES[:2]}, st.sampled_from(CHOICES[:2])),
    ({"enum": [1, "1", True, None, "", [1]]}, st.sampled_from([1, "1", True, None, "", [1]])),
    ({"const": "yes"}, st.just("yes")),
    (LINES, st.lists(texts, max_size=4)),
    ({"type": "array", "items": {"type": "number"}}, st.lists(numbers, max_size=4)),
    ({"type": "array", "items": {"enum": CHOICES}}, st.lists(st.sampled_from(CHOICES))),
    ({"type": "array", "items": SECRET}, st.lists(texts, max_size=3)),
    ({"type": "array", "items": RETRY}, st.just([{"times": 1}])),
    (STATE, objects),
    ({"oneOf": [TEXT, {"type": "integer"}]}, texts | st.integers()),
    ({"$ref": "#/$defs/secret"}, st.none() | texts),
    ({}, json_values),
]


@st.composite
def schemas_and_configs(draw, depth=1):
    """A schema of kinds that forms can draw, and a config that is valid under it."""
    names = ["to", "a b", "n_1", "mode", "expr", "key", "field1", "retry-times"]
    schema = schema_of()
    config = {}
    for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=5)):
        if depth and draw(st.integers(0, 5)) == 0:
            child, value = draw(schemas_and_configs(depth=0))
        else:
            child, values = draw(st.sampled_from(KINDS))
            value = draw(values)
            if draw(st.booleans()):
                child = {**child, "default": draw(values)}
        schema["properties"][name] = child
        is_required = draw(st.booleans())
        if is_required:
            schema["required"].append(name)
        if depth and draw(st.integers(0, 4)) == 0 and "format" not in child:
            value = {"$expr": draw(st.sampled_from(["n", " object.email", "n\n and m"]))}
        if is_required or draw(st.booleans()):
            config[name] = value
    if depth:
        schema["$defs"] = {"secret": {"anyOf": [SECRET, {"type": "null"}]}}
        if draw(st.booleans()):
            schema["additionalProperties"] = {"anyOf": [{"type": "integer"}, SECRET]}
            config |= draw(st.dictionaries(st.sampled_from(["p", "q"]), st.integers() | texts))
    return schema, config


MORE_CHOICES = {
    "flow": lambda: [("long-delay", "Long delay")],
    "model-reference": lambda: [("demo.flight", "Flight")],
}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schemas_and_configs(), st.sampled_from([{}, MORE_CHOICES]))
def test_what_is_posted_back_unchanged_gives_the_same_config(pair, choices):
    schema, config = pair
    form_class = config_form_class(schema, choices=choices)
    shown = form_class(initial_config=config)
    again = form_class(posted(shown), config)
    assert again.is_valid(), again.errors
    assert json.dumps(again.config) == json.dumps(config)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schemas_and_configs(), json_values, st.data())
def test_nothing_that_is_stored_or_posted_crashes_a_form(pair, anything, data):
    schema, _config = pair
    names = list(schema["properties"])
    stored = dict.fromkeys(names, anything)
    form_class = config_form_class(schema)
    shown = form_class(initial_config=stored)
    str(shown)
    fields = [name for name, _value in controls_in(str(shown))]
    typed = data.draw(st.dictionaries(st.sampled_from(fields), texts) if fields else st.just({}))
    form = form_class(posted(shown, **typed), stored)
    if form.is_valid():
        assert find_problems(schema, form.config) == []
    str(form)
