from __future__ import annotations

import copy
import json
from types import MappingProxyType

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcontrol.schemas import (
    MASK,
    Problem,
    check_schema,
    computed_properties,
    find_problems,
    find_value_problems,
    is_computed,
    mask_secrets,
    place,
    with_defaults,
)


def schema_of(required=(), **properties):
    """A schema for a config that has these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT = {"type": "string"}
EMAIL = {"type": "string", "format": "email"}
SECRET = {"type": "string", "format": "secret"}

NOTIFY = schema_of(
    ["to"],
    to=EMAIL,
    template={"type": "string", "enum": ["short", "long"], "default": "short"},
    copies={"type": "integer", "minimum": 1, "maximum": 9},
    token=SECRET,
    condition={"type": "string", "format": "expression"},
)


def messages(schema, config):
    return [str(problem) for problem in find_problems(schema, config)]


# --- check_schema ---


def test_a_good_schema_passes():
    check_schema(NOTIFY)
    check_schema(MappingProxyType(NOTIFY))
    check_schema({"type": "object", "$schema": "https://json-schema.org/draft/2020-12/schema"})


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (None, "A schema is a mapping, not NoneType"),
        ([], "A schema is a mapping, not list"),
        ({}, '"type": "object"'),
        ({"type": "string"}, '"type": "object"'),
        ({"type": ["object", "null"]}, '"type": "object"'),
        (schema_of(n={"type": "int"}), r"schema\.properties\.n\.type"),
        (schema_of(n={"minimum": "1"}), r"schema\.properties\.n\.minimum"),
        (schema_of(n={"enum": ("a", "b")}), r"schema\.properties\.n\.enum is a tuple"),
        (schema_of(n={"default": {1, 2}}), r"n\.default is a set, which is not plain JSON"),
        (schema_of(n={"maximum": float("nan")}), r"n\.maximum is nan"),
        (schema_of(n={"x": {1: "one"}}), "has the name 1; names in JSON are text"),
        (schema_of(n={"format": "emial"}), r"n\.format 'emial' is not known\. Known: .*email"),
        (schema_of(n={"items": {"format": "ipv4"}}), r"n\.items\.format 'ipv4'"),
        (schema_of(n={"anyOf": [True, {"format": "x"}]}), r"n\.anyOf\[1\]\.format 'x'"),
        (schema_of(n={"pattern": "("}), r"the pattern '\(' cannot be read"),
        ({"type": "object", "patternProperties": {"(": {}}}, "cannot be read"),
        (schema_of(n={"$ref": "https://example.com/x.json"}), "leads out of the schema"),
        (schema_of(n={"$ref": "other.json#/x"}), "leads out of the schema"),
        (schema_of(n={"$ref": "#/$defs/n"}), "there is nothing at '#/\\$defs/n'"),
        (schema_of(n={"$ref": "#/required"}), "is not a schema"),
        (schema_of(n={"$anchor": "here"}), "is not supported"),
        (schema_of(n={"$id": "https://example.com/n"}), "only the whole schema"),
        (schema_of(n={"default": "x", "type": "integer"}), "default does not fit its own schema"),
        (schema_of(n={"format": "model-reference", "model": "flight"}), 'like "demo.flight"'),
        ({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}, "dialect"),
        ({"type": "object", "$ref": "#"}, "lead back"),
        (
            {"type": "object", "allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#"}}},
            "lead back",
        ),
    ],
)
def test_a_schema_that_cannot_work_is_refused_by_name_and_place(schema, message):
    with pytest.raises(ValueError, match=message):
        check_schema(schema)


def test_a_translation_in_a_schema_is_sent_to_labels():
    schema = schema_of(to={"type": "string", "title": gettext_lazy("Recipient")})
    with pytest.raises(ValueError, match=r"properties\.to\.title is a lazy.*`labels`"):
        check_schema(schema)


def test_a_property_may_be_called_like_a_keyword():
    check_schema(schema_of(format=TEXT, pattern=TEXT, **{"$ref": TEXT, "properties": TEXT}))


def test_a_schema_that_contains_itself_in_python_is_refused():
    schema = schema_of(n={})
    schema["properties"]["n"]["not"] = schema["properties"]["n"]
    with pytest.raises(ValueError, match="too deeply"):
        check_schema(schema)


def test_a_tree_may_refer_to_itself():
    schema = schema_of(label=TEXT, parts={"type": "array", "items": {"$ref": "#"}})
    check_schema(schema)
    config = {"label": "a", "parts": [{"label": "b", "parts": [{"label": 3}]}]}
    assert messages(schema, config) == ["parts → entry 1 → parts → entry 1 → label: must be text"]


# --- problems ---


def test_what_is_right_has_no_problems():
    assert find_problems(NOTIFY, {"to": "desk@example.com", "copies": 3}) == []
    assert find_value_problems(NOTIFY, MappingProxyType({"to": "desk@example.com"})) == []


def test_every_problem_is_at_its_field():
    config = {"to": "a@", "template": "loud", "copies": 0, "colour": "red"}
    assert find_problems(NOTIFY, config) == [
        Problem(("to",), "'a@' is not an email address"),
        Problem(("template",), "must be one of short, long"),
        Problem(("copies",), "must be at least 1"),
        Problem(("colour",), "is not known here"),
    ]


def test_what_is_missing_is_a_problem_at_its_own_place():
    nested = schema_of(["delay"], delay=schema_of(["days", "hours"], days=TEXT, hours=TEXT))
    assert find_problems(nested, {}) == [Problem(("delay",), "Required")]
    assert find_problems(nested, {"delay": {}}) == [
        Problem(("delay", "days"), "Required"),
        Problem(("delay", "hours"), "Required"),
    ]


NULLABLE = {"type": ["integer", "null"]}
EITHER = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"kind": {"const": "mail"}, "to": EMAIL},
            "required": ["kind", "to"],
        },
        {
            "type": "object",
            "properties": {"kind": {"const": "log"}, "level": {"enum": ["info", "error"]}},
            "required": ["kind", "level"],
        },
    ]
}


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (TEXT, 5, "x: must be text"),
        (TEXT, None, "x: must be text"),
        (NULLABLE, "a", "x: must be a whole number or empty"),
        ({"type": "integer"}, True, "x: must be a whole number"),
        ({"type": "boolean"}, 1, "x: must be true or false"),
        ({"type": "object"}, [], "x: must be a group of named values"),
        ({"type": ["string", "number", "array"]}, {}, "x: must be text, a number or a list"),
        ({"minimum": 0.5}, 0, "x: must be at least 0.5"),
        ({"exclusiveMaximum": 3}, 3, "x: must be less than 3"),
        ({"exclusiveMinimum": 3}, 3, "x: must be more than 3"),
        ({"maximum": 3}, 4, "x: must be at most 3"),
        ({"multipleOf": 5}, 4, "x: must be a multiple of 5"),
        ({"minLength": 1}, "", "x: must have at least 1 character"),
        ({"maxLength": 2}, "abc", "x: must have at most 2 characters"),
        ({"pattern": "^[A-Z]{3}$"}, "jfk", "x: does not have the form that is expected here"),
        ({"minItems": 2}, [], "x: must have at least 2 entries"),
        ({"maxItems": 1}, [1, 2], "x: must have at most 1 entry"),
        ({"uniqueItems": True}, [1, 1], "x: has the same entry twice"),
        ({"items": EMAIL}, ["a@b.de", "c"], "x → entry 2: 'c' is not an email address"),
        ({"const": "yes"}, "no", "x: must be yes"),
        ({"enum": ["", 1, None]}, "no", 'x: must be one of "", 1, null'),
        ({"contains": {"const": 1}}, [], "x: lacks an entry that is expected here"),
        ({"not": {"const": 1}}, 1, "x: is not allowed here"),
        (False, 1, "x: is not allowed here"),
        ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, "x → ab: has a name that is not allowed"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "x → b: Required together with “a”"),
        ({"anyOf": [TEXT, {"type": "null"}]}, 5, "x: must be text or empty"),
        ({"anyOf": [EMAIL, {"type": "null"}]}, "a@", "x: 'a@' is not an email address"),
        ({"anyOf": [{"minimum": 3}, {"multipleOf": 2}]}, 1, "x: does not fit any of the forms"),
        ({"oneOf": [{"minimum": 3}, {"multipleOf": 2}]}, 4, "x: fits more than one"),
        (EITHER, {"kind": "mail", "to": "a@"}, "x → to: 'a@' is not an email address"),
        (EITHER, {"kind": "log", "level": "x"}, "x → level: must be one of info, error"),
        ({"prefixItems": [TEXT], "items": False}, ["a", 2], "x: has more entries than"),
        ({"if": {"minimum": 9}, "then": False}, 10, "x: is not allowed here"),
        (
            {"format": "model-reference", "model": "demo.flight"},
            "demo.airport:JFK",
            "x: must be an object of demo.flight, not of demo.airport",
        ),
        ({"multipleOf": 1e-300}, 1e300, None),
        ({"multipleOf": 0.5}, 10**400, "is too large"),
    ],
)
def test_problems_are_said_in_plain_words(schema, value, expected):
    found = messages(schema_of(x=schema), {"x": value})
    if expected is None:
        assert len(found) <= 1
    else:
        assert [message.startswith(expected) for message in found] == [True], found


@pytest.mark.parametrize("config", [None, 5, "text", [], True])
def test_a_config_that_is_no_object_is_a_problem_of_the_whole(config):
    assert find_problems(NOTIFY, config) == [Problem((), "must be a group of named values")]


def test_a_secret_is_never_quoted():
    schema = schema_of(token={**SECRET, "minLength": 20, "pattern": "^x", "not": {"const": "a"}})
    assert "hunter2" not in " ".join(messages(schema, {"token": "hunter2"}))


def test_a_config_nested_deeper_than_python_goes_is_a_problem():
    config: dict[str, object] = {}
    for _level in range(20_000):
        config = {"a": config}
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}}
    assert messages(schema, config) == ["is too large or nested too deeply to be checked"]


def test_a_path_reads_aloud():
    assert place(("state", "items", 2)) == "state → items → entry 3"


# --- computed values ---


def test_computed_is_exactly_one_expression():
    assert is_computed({"$expr": "object.email"})
    assert not is_computed({"$expr": 5})
    assert not is_computed({"$expr": "n", "more": 1})
    assert not is_computed("$expr")


def test_a_computed_value_is_not_typed_yet():
    config = {"to": {"$expr": "object.email"}, "copies": {"$expr": "n"}}
    assert find_problems(NOTIFY, config) == []
    assert computed_properties(NOTIFY, config) == {"to": "object.email", "copies": "n"}


def test_an_expression_that_cannot_be_read_is_a_problem_of_its_property():
    [problem] = find_problems(NOTIFY, {"to": {"$expr": "object.email =="}})
    assert problem.path == ("to",)


def test_an_expression_is_not_computed_by_an_expression():
    config = {"to": "a@example.com", "condition": {"$expr": "n"}}
    [problem] = find_problems(NOTIFY, config)
    assert problem.path == ("condition",)
    assert "cannot be computed" in problem.message
    assert computed_properties(NOTIFY, config) == {}


def test_only_whole_properties_are_computed():
    schema = schema_of(delay=schema_of(hours={"type": "number"}))
    assert messages(schema, {"delay": {"hours": {"$expr": "n"}}}) == [
        "delay → hours: must be a number"
    ]


def test_a_rule_about_several_properties_waits_until_all_are_known():
    schema = schema_of(
        kind={"enum": ["once", "often"]}, times={"type": "integer"}, free={"type": "object"}
    )
    schema["if"] = {"properties": {"kind": {"const": "often"}}, "required": ["kind"]}
    schema["then"] = {"required": ["times"]}
    assert messages(schema, {"kind": "often"}) == ["times: Required"]
    assert messages(schema, {"kind": {"$expr": "k"}}) == []
    assert messages(schema, {"kind": {"$expr": "k"}, "times": "x"}) == [
        "times: must be a whole number"
    ]


def test_nothing_is_computed_any_more_once_it_is_a_value():
    assert find_value_problems(NOTIFY, {"to": {"$expr": "object.email"}}) == [
        Problem(("to",), "has not been computed")
    ]
    assert find_value_problems(NOTIFY, {"to": None}) == [Problem(("to",), "must be text")]


# --- defaults ---


def test_defaults_are_written_in_and_nothing_else():
    config = {"to": "a@example.com"}
    assert with_defaults(NOTIFY, config) == {"to": "a@example.com", "template": "short"}
    assert config == {"to": "a@example.com"}
    assert with_defaults(NOTIFY, {}) == {"template": "short"}  # `to` is not invented


def test_defaults_are_written_into_groups_that_are_there():
    retry = schema_of(["to"], to=EMAIL, times={"type": "integer", "default": 3})
    schema = schema_of(retry=retry, steps={"type": "array", "items": retry})
    assert with_defaults(schema, {}) == {}
    assert with_defaults(schema, {"retry": {}, "steps": [{"times": 1}, {}]}) == {
        "retry": {"times": 3},
        "steps": [{"times": 1}, {"times": 3}],
    }


def test_a_group_with_a_default_is_made_and_filled():
    schema = schema_of(retry={**schema_of(times={"default": 3}), "default": {}})
    assert with_defaults(schema, {}) == {"retry": {"times": 3}}


def test_defaults_are_found_behind_references():
    schema = schema_of(retry={"$ref": "#/$defs/retry"}, wait={"$ref": "#/$defs/wait"})
    schema["$defs"] = {"retry": schema_of(times={"default": 3}), "wait": {"default": "PT1H"}}
    assert with_defaults(schema, {"retry": {}}) == {"retry": {"times": 3}, "wait": "PT1H"}


def test_a_default_that_contains_itself_ends():
    schema = schema_of(inner={"$ref": "#", "default": {}})
    assert with_defaults(schema, {}) == {"inner": {}}
    assert with_defaults(schema, {"inner": {"inner": {}}}) == {"inner": {"inner": {"inner": {}}}}


def test_a_default_is_not_shared():
    schema = schema_of(tags={"type": "array", "default": []})
    with_defaults(schema, {})["tags"].append("x")
    assert with_defaults(schema, {}) == {"tags": []}


def test_a_default_may_be_computed():
    schema = schema_of(to={**EMAIL, "default": {"$expr": "object.email"}})
    check_schema(schema)
    assert with_defaults(schema, {}) == {"to": {"$expr": "object.email"}}


def test_nothing_is_written_into_a_computed_group():
    schema = schema_of(retry=schema_of(times={"default": 3}))
    assert with_defaults(schema, {"retry": {"$expr": "r"}}) == {"retry": {"$expr": "r"}}


# --- secrets ---


def test_secrets_are_masked_wherever_they_are():
    schema = schema_of(
        token=SECRET,
        url=TEXT,
        login=schema_of(user=TEXT, password=SECRET),
        keys={"type": "array", "items": SECRET},
        headers={"type": "object", "additionalProperties": SECRET},
        either={"oneOf": [{"type": "integer"}, SECRET]},
        referred={"$ref": "#/$defs/key"},
    )
    schema["$defs"] = {"key": {"allOf": [SECRET]}}
    config = {
        "token": "t",
        "url": "https://example.com",
        "login": {"user": "grace", "password": "p"},
        "keys": ["a", "b"],
        "headers": {"Authorization": "Bearer x"},
        "either": "e",
        "referred": "r",
    }
    before = copy.deepcopy(config)
    assert mask_secrets(schema, config) == {
        "token": MASK,
        "url": "https://example.com",
        "login": {"user": "grace", "password": MASK},
        "keys": [MASK, MASK],
        "headers": {"Authorization": MASK},
        "either": MASK,
        "referred": MASK,
    }
    assert config == before


def test_what_is_no_secret_is_not_masked():
    assert mask_secrets(NOTIFY, {"token": "", "to": "a@example.com"}) == {
        "token": "",
        "to": "a@example.com",
    }
    computed = {"token": {"$expr": "state.token"}}
    assert mask_secrets(NOTIFY, computed) == computed


def test_a_secret_of_the_wrong_type_is_masked_too():
    assert mask_secrets(NOTIFY, {"token": {"$expr": 5}}) == {"token": MASK}
    assert mask_secrets(NOTIFY, {"token": [1]}) == {"token": MASK}


# --- anything at all ---

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "$expr", "default", "x y"]), inner, max_size=3)
    ),
    max_leaves=8,
)

subschemas = st.recursive(
    st.sampled_from(
        [
            True,
            False,
            {},
            TEXT,
            EMAIL,
            SECRET,
            NULLABLE,
            EITHER,
            {"type": "number", "multipleOf": 0.1, "default": 0},
            {"enum": [1, "1", None, {"a": 1}]},
            {"type": "string", "format": "expression"},
            {"type": "string", "pattern": "^a+$", "minLength": 1},
            {"$ref": "#/$defs/tree"},
            {"type": "array", "uniqueItems": True, "contains": {"const": 1}, "default": [1]},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda a: {"items": a, "prefixItems": [a]}, inner),
        st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner),
        st.builds(lambda a, b: {"oneOf": [a, b], "unevaluatedItems": False}, inner, inner),
        st.builds(lambda a, b, c: {"if": a, "then": b, "else": c}, inner, inner, inner),
        st.builds(lambda a: {"type": "object", "properties": {"a": a}, "required": ["b"]}, inner),
        st.builds(lambda a: {"patternProperties": {"^a": a}, "propertyNames": a}, inner),
        st.builds(lambda a: {"not": a, "dependentSchemas": {"a": a}}, inner),
    ),
    max_leaves=5,
)

schemas = st.builds(
    lambda properties, rest, required: {
        "type": "object",
        "properties": properties,
        "additionalProperties": rest,
        "required": required,
        "$defs": {"tree": {"properties": {"a": {"$ref": "#/$defs/tree"}}, "minProperties": 1}},
    },
    st.dictionaries(st.sampled_from(["a", "b", "c", "x y", ""]), subschemas, max_size=4),
    subschemas,
    st.lists(st.sampled_from(["a", "b", "zz"]), unique=True),
)


@settings(deadline=None)
@given(json_values)
def test_any_json_is_a_schema_or_is_refused(schema):
    try:
        check_schema(schema)
    except ValueError:
        return
    find_problems(schema, {})


@settings(deadline=None)
@given(schemas, json_values)
def test_any_config_meets_any_schema_without_a_crash(schema, config):
    check_schema(schema)
    for find in (find_problems, find_value_problems):
        for problem in find(schema, config):
            assert problem.message
            assert all(isinstance(step, str | int) for step in problem.path)
    computed = computed_properties(schema, config)
    assert set(computed) <= set(config if isinstance(config, dict) else ())
    assert mask_secrets(schema, mask_secrets(schema, config)) == mask_secrets(schema, config)


@settings(deadline=None)
@given(schemas, json_values)
def test_defaults_never_change_what_is_there(schema, config):
    before = copy.deepcopy(config)
    filled = with_defaults(schema, config)
    assert json.dumps(config) == json.dumps(before)
    assert json.dumps(with_defaults(schema, filled)) == json.dumps(filled)
    if isinstance(config, dict):
        assert filled.keys() >= config.keys()


@settings(deadline=None)
@given(schemas, st.dictionaries(st.sampled_from(["a", "b", "c"]), json_values, max_size=3))
def test_a_config_without_expressions_has_the_same_problems_before_and_after(schema, config):
    fixed = {name: value for name, value in config.items() if not is_computed(value)}
    assert find_problems(schema, fixed) == find_value_problems(schema, fixed)
