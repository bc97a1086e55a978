"""Flow documents: reading, refusing with the place, walking, and the checksum."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcontrol.base import BaseAction
from flowcontrol.documents import (
    FORMAT,
    canonical,
    checksum,
    make_document,
    plain_json,
    read_document,
    row,
    walk,
)
from flowcontrol.exceptions import AuthorError, DocumentError
from flowcontrol.registry import actions
from flowcontrol.testing import Else, Group, If, Log

DOCUMENT = make_document(
    If("object.dep_delay > 180", [Log("late", label="Tell", note="why")], uid="late"),
    Else([Log("on time", enabled=False, result_key="told")]),
    content_type="demo.flight",
    condition="object.is_active",
    state_schema={"type": "object", "properties": {"n": {"type": "integer"}}},
    identity="dispatcher",
)


def refusal(data: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        read_document(data)
    assert isinstance(caught.value, AuthorError)
    return str(caught.value)


def with_row(**fields: Any) -> dict[str, Any]:
    return {"format": 1, "actions": [{"uid": "a", "action": "log", **fields}]}


def test_a_document_is_read_as_it_was_written():
    assert read_document(json.loads(json.dumps(DOCUMENT))) == DOCUMENT


def test_what_may_be_left_out_is_filled_in():
    document = read_document({"format": 1, "actions": [{"uid": "a", "action": "log"}]})
    assert document == {
        "format": FORMAT,
        "content_type": None,
        "condition": "",
        "state_schema": None,
        "identity": None,
        "actions": make_document(row("log", uid="a"))["actions"],
    }
    assert read_document({"format": 1})["actions"] == []


def test_a_document_that_was_read_shares_nothing_with_what_it_was_read_from():
    data = with_row(config={"state": {"n": [1]}})
    document = read_document(data)
    document["actions"][0]["config"]["state"]["n"].append(2)
    document["actions"][0]["children"].append("x")
    assert data == with_row(config={"state": {"n": [1]}})
    assert read_document(with_row())["actions"][0]["config"] == {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "is a JSON object"),
        ({}, "format None"),
        ({"format": 2}, "format 2; this release reads format 1"),
        ({"format": 1, "colour": "red"}, "Unknown key 'colour' in the document"),
        ({"format": 1, "actions": {}}, "Key 'actions' of the document"),
        ({"format": 1, "condition": None}, "Key 'condition' of the document"),
        ({"format": 1, "state_schema": []}, "Key 'state_schema' of the document"),
        ({"format": 1, "actions": ["log"]}, "row 1 is not a JSON object"),
        ({"format": 1, "actions": [{"uid": "a"}]}, "Key 'action' is missing in row 1"),
        (with_row(colour="red"), "Unknown key 'colour' in row 1"),
        (with_row(config=[]), "Key 'config' of row 1"),
        (with_row(enabled=1), "Key 'enabled' of row 1"),
        (with_row(schema_version=True), "Key 'schema_version' of row 1"),
        (with_row(schema_version=0), "Key 'schema_version' of row 1"),
        (with_row(retry=5), "Key 'retry' of row 1"),
        (with_row(uid=""), "'uid' of row 1 is empty"),
        (with_row(action=""), "'action' of row 1 is empty"),
        (with_row(uid="x" * 37), "'uid' of row 1 has more than 36"),
        (with_row(action="x" * 101), "'action' of row 1 has more than 100"),
        (with_row(label="x" * 201), "'label' of row 1 has more than 200"),
        (with_row(result_key="x" * 101), "'result_key' of row 1 has more than 100"),
        (with_row(children=[{"uid": "a", "action": "log"}]), "'a' of row 1.1 is there twice"),
        (with_row(children=[{"uid": "b", "action": "log", "note": 1}]), "'note' of row 1.1"),
        (with_row(config={"n": float("nan")}), "not plain JSON"),
        (with_row(config={"n": float("inf")}), "not plain JSON"),
        (with_row(config={"n": {1, 2}}), "not plain JSON"),
        (with_row(config={"n": "half \ud83d"}), "not plain JSON"),
        (with_row(config={"n": "a\x00b"}), "NUL"),
        (with_row(config={"a\x00b": 1}), "NUL"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(data: Any, message: str):
    assert message in refusal(data)


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "C:\\\\temp", "\u2028 ✈ 🛫"])
def test_texts_that_only_look_like_trouble_are_fine(text: str):
    assert read_document(with_row(config={"n": text}))["actions"][0]["config"] == {"n": text}


def test_rows_without_a_name_are_named_after_their_place():
    uids = [placed.row["uid"] for placed in walk(make_document(Log("a"), Group([Log("b")])))]
    assert uids == ["1", "2", "2.1"]


def test_rows_far_inside_have_names_too():
    rows = Log("deep")
    for _level in range(40):
        rows = Group([Log("x"), rows])
    uids = [placed.row["uid"] for placed in walk(make_document(rows))]
    assert len(set(uids)) == len(uids) == 81


def test_keyword_arguments_without_a_meaning_are_config():
    item = row("send_email", uid="mail", to=["a@example.com"], subject="s", label="Tell them")
    assert (item["uid"], item["label"]) == ("mail", "Tell them")
    assert item["config"] == {"to": ["a@example.com"], "subject": "s"}


def test_a_row_is_written_in_the_form_its_type_has_today():
    class Third(BaseAction):
        name = "test.third"
        effects = "none"
        schema_version = 3

        def run(self, *, run: Any, obj: Any, config: Any) -> None:
            return None

    item = row("test.third")
    with actions.temporarily(Third):
        [item, old] = make_document(item, {**item, "schema_version": 2})["actions"]
    assert (item["schema_version"], old["schema_version"]) == (3, 2)
    assert make_document(item)["actions"][0]["schema_version"] == 3
    assert make_document(row("test.unknown"))["actions"][0]["schema_version"] == 1


def test_walking_meets_parents_before_children_and_tells_where_rows_are():
    walked = [
        (placed.row["action"], placed.parent and placed.parent["action"], placed[2], placed.depth)
        for placed in walk(DOCUMENT)
    ]
    assert walked == [
        ("if", None, 0, 0),
        ("log", "if", 0, 1),
        ("else", None, 1, 0),
        ("log", "else", 0, 1),
    ]


def test_walking_can_leave_out_what_is_switched_off_with_everything_inside():
    document = make_document(
        Group([Log("a", uid="inside")], uid="off", enabled=False),
        Group([Log("b", uid="off too", enabled=False)], uid="on"),
    )
    assert [placed.row["uid"] for placed in walk(document, only_enabled=True)] == ["on"]


def test_equal_documents_have_one_checksum_whatever_the_order_of_their_keys():
    turned = json.loads(json.dumps(DOCUMENT), object_pairs_hook=lambda pairs: dict(pairs[::-1]))
    assert list(turned) != list(DOCUMENT)
    assert checksum(turned) == checksum(DOCUMENT)
    assert len(checksum(DOCUMENT)) == 64


@pytest.mark.parametrize("other", [{"n": 1.0}, {"n": True}, {"n": "1"}, {"m": 1}, {}])
def test_documents_that_differ_have_different_checksums(other: dict[str, Any]):
    one, another = make_document(row("x", n=1)), make_document(row("x", **other))
    assert checksum(one) != checksum(another)


def test_people_can_read_the_canonical_text():
    assert canonical({"b": "Zürich", "a": 1}) == '{"a":1,"b":"Zürich"}'


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        yield from texts_in(list(value.values()))
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


@settings(deadline=None)
@given(JSON_VALUES)
def test_whatever_is_handed_in_is_json_or_refused(value: Any):
    try:
        plain = plain_json(value)
    except DocumentError:
        return
    assert plain == value
    for text in texts_in(plain):
        assert "\x00" not in text
        text.encode()


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["format", "actions", "condition"]), JSON_VALUES))
def test_whatever_is_read_is_a_document_or_refused(data: Any):
    try:
        document = read_document({"format": 1, **data})
    except DocumentError:
        return
    assert read_document(document) == document
