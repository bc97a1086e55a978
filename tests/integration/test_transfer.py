"""Flows in files: what goes out comes in again, and what is not here is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group as UserGroup
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from demo import week
from flowcontrol import drafting
from flowcontrol.base import BaseAction
from flowcontrol.documents import JSONObject, make_document, row
from flowcontrol.drafts import draft_document
from flowcontrol.exceptions import DocumentError, DraftRefused, StaleDraft
from flowcontrol.flowtests import EXPECTATIONS_SCHEMA, OUTCOMES, save_test
from flowcontrol.models import Flow, FlowTest, Trigger
from flowcontrol.publishing import publish
from flowcontrol.registry import actions
from flowcontrol.testing import Else, If, Log, make_flow
from flowcontrol.transfer import (
    export_flow,
    export_text,
    file_schema,
    import_flow,
    preview,
    read_file,
)
from flowcontrol.undoing import undo
from tests.outlines import draft, rows_of
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db

RICH = make_document(
    If("object.weight > 3", [Log("heavy", note="why", label="Heavy")], uid="if"),
    Else([row("delay", duration={"$expr": "length"}, enabled=False, retry={"attempts": 2})]),
    row("start_flow", flow="other", uid="start"),
    content_type="testapp.parcel",
    condition="object.weight",
    state_schema={"type": "object", "properties": {"n": {"type": "integer"}}},
    identity="dispatcher",
)


@pytest.fixture
def rich() -> Flow:
    User.objects.create_user("dispatcher")
    drafting.create_flow("Other")
    flow = drafting.create_flow(
        "Heavy parcels",
        description="Weighs parcels.",
        max_concurrent=3,
        when_full="queue",
        retention=timedelta(days=30),
    )
    drafting.replace_draft(flow, RICH)
    flow.starters.set([UserGroup.objects.create(name="Desk")])
    Trigger.objects.create(
        flow=flow, name="testapp.parcel_weighed", condition="object.weight", mode="wake"
    )
    parcel = Parcel.objects.create(weight=4)
    save_test(flow, "Heavy one", obj=parcel, state={"n": 1}, expectations={"reached": ["if"]})
    return flow


def text_of(**changes: Any) -> str:
    file = {
        "format": "flowcontrol.flow",
        "version": 1,
        "flow": {"name": "New"},
        "document": {"format": 1, "actions": rows_of("a(b)")},
    }
    return json.dumps({**file, **changes})


# --- round trips --------------------------------------------------------------------------------


def test_a_flow_that_was_deleted_comes_back_from_its_file(rich: Flow):
    text = export_text(rich)
    Flow.objects.filter(pk=rich.pk).delete()
    imported = import_flow(read_file(text))
    assert imported.missing == []
    assert export_text(imported.flow) == text
    flow = Flow.objects.get(pk=imported.flow.pk)
    assert (flow.active_at, flow.live_version) == (None, None)
    assert draft_document(flow) == RICH


def test_the_file_fits_the_schema_that_is_published(rich: Flow):
    Draft202012Validator.check_schema(file_schema())
    Draft202012Validator(file_schema()).validate(json.loads(export_text(rich)))


def test_the_files_of_the_demos_flows_fit_the_schema_and_come_back_equal():
    week.publish_flows()
    flows = list(Flow.objects.order_by("slug"))
    assert len(flows) >= 7
    for flow in flows:
        text = export_text(flow)
        Draft202012Validator(file_schema()).validate(json.loads(text))
        imported = import_flow(read_file(text), name=flow.name, slug=f"{flow.slug}-again")
        assert imported.missing == []
        expected = {**json.loads(text), "flow": {"name": flow.name, "slug": imported.flow.slug}}
        expected["flow"]["description"] = flow.description
        assert export_flow(imported.flow) == expected


def test_the_schema_names_every_key_that_a_file_has(rich: Flow):
    """A key that is only let through would be one that nobody can look up."""

    def unnamed(schema: Any, data: Any, where: str) -> Iterator[str]:
        if "$ref" in schema:
            schema = defs[schema["$ref"].rpartition("/")[2]]
        if isinstance(data, dict):
            named = schema.get("properties")
            for key, value in data.items() if named is not None else ():
                if key not in named:
                    yield f"{where}.{key}"
                else:
                    yield from unnamed(named[key], value, f"{where}.{key}")
        for each in data if isinstance(data, list) else ():
            yield from unnamed(schema.get("items", {}), each, where)

    defs = file_schema()["$defs"]
    assert list(unnamed(file_schema(), export_flow(rich), "file")) == []
    expectations = file_schema()["properties"]["tests"]["items"]["properties"]["expectations"]
    assert expectations["properties"]["outcome"]["enum"] == list(OUTCOMES)
    assert set(expectations["properties"]) == set(EXPECTATIONS_SCHEMA["properties"])


def test_who_may_start_a_flow_by_hand_comes_back_by_name(rich: Flow):
    rich.starters.add(UserGroup.objects.create(name="Duty managers"))
    file = read_file(export_text(rich))
    assert (file.settings or {})["starters"] == ["Desk", "Duty managers"]
    UserGroup.objects.get(name="Desk").delete()
    # The same name is the same group, whatever its key is here.
    UserGroup.objects.create(name="Desk")
    imported = import_flow(file, slug="again")
    names = set(imported.flow.starters.values_list("name", flat=True))
    assert names == {"Desk", "Duty managers"}
    assert imported.missing == []


def test_a_group_that_is_not_here_is_told_and_the_others_stay(rich: Flow):
    rich.starters.add(UserGroup.objects.create(name="Duty managers"))
    file = read_file(export_text(rich))
    UserGroup.objects.get(name="Desk").delete()
    imported = import_flow(file, slug="again")
    assert list(imported.flow.starters.values_list("name", flat=True)) == ["Duty managers"]
    [missing] = imported.missing
    assert (missing.kind, "“Desk”" in missing.message) == ("group", True)
    assert preview(file) == imported.missing


def test_the_named_tests_of_a_flow_come_back_with_all_they_say(rich: Flow):
    parcel = Parcel.objects.create(weight=9)
    save_test(
        rich,
        "All of it",
        obj=parcel,
        state={"n": 2},
        trigger_payload={"kilos": 9},
        answers={"if": [{"result": 1}, {"error": "no"}], "delay": {"timeout": True}},
        starts_at=datetime(2013, 2, 8, 12, tzinfo=UTC),
        expectations={
            "outcome": "complete",
            "state": {"n": 3},
            "reached": ["if"],
            "not_reached": ["start"],
        },
    )
    text = export_text(rich)
    imported = import_flow(read_file(text), slug="again")
    assert imported.missing == []
    assert export_flow(imported.flow)["tests"] == json.loads(text)["tests"]
    copy = FlowTest.objects.get(flow=imported.flow, name="All of it")
    assert (copy.object_id, copy.starts_at) == (
        str(parcel.pk),
        datetime(2013, 2, 8, 12, tzinfo=UTC),
    )
    assert copy.expectations["not_reached"] == ["start"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=9)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
ROWS = st.lists(
    st.builds(
        lambda config, inner, **fields: {
            **row("group", *[row("log", message=each) for each in inner], **fields),
            "config": config,
        },
        st.dictionaries(TEXTS, VALUES, max_size=3),
        st.lists(TEXTS, max_size=2),
        label=TEXTS,
        note=TEXTS,
        enabled=st.booleans(),
        result_key=TEXTS,
    ),
    max_size=4,
)


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(ROWS)
def test_any_document_comes_back_equal(rows: list[JSONObject]):
    flow = drafting.create_flow("Round trip")
    drafting.replace_draft(flow, make_document(*rows))
    text = export_text(flow, reveal_secrets=True)
    made = import_flow(read_file(text)).flow
    assert draft_document(made) == draft_document(flow)
    assert {**export_flow(made, reveal_secrets=True), "flow": 0} == {**json.loads(text), "flow": 0}


def test_a_version_can_be_exported_too(rich: Flow):
    drafting.replace_draft(rich, make_document(Log("one")))
    version = publish(rich, overrule_tests=True)
    drafting.replace_draft(rich, make_document(Log("two")))
    assert export_flow(rich, version)["document"] == version.document
    assert export_flow(rich)["document"] != version.document


# --- where to -----------------------------------------------------------------------------------


def test_names_that_are_taken_get_a_number_and_others_can_be_chosen():
    drafting.create_flow("New")
    file = read_file(text_of(flow={"name": "New", "slug": "new"}))
    assert import_flow(file).flow.slug == "new-2"
    chosen = import_flow(file, name="Mine", slug="mine").flow
    assert (chosen.name, chosen.slug) == ("Mine", "mine")
    assert import_flow(read_file(text_of(flow={"name": "✈"}))).flow.slug == "flow"
    with pytest.raises(DocumentError, match="slug"):
        import_flow(file, slug="no slug!")


def test_into_an_existing_flow_go_the_draft_and_the_tests_and_nothing_that_acts_at_once(
    rich: Flow,
):
    flow = make_flow(Log("x"), name="Mine")
    version = flow.live_version
    file = read_file(export_text(rich))
    import_flow(file, into=flow)
    flow = Flow.objects.get(pk=flow.pk)
    assert draft_document(flow) == RICH
    assert (flow.name, flow.slug, flow.max_concurrent) == ("Mine", "mine", 0)
    assert (flow.triggers.count(), flow.starters.count()) == (0, 0)
    assert (flow.live_version, flow.active_at is None) == (version, False)
    assert FlowTest.objects.filter(flow=flow).count() == 1
    undo(flow)
    assert draft_document(Flow.objects.get(pk=flow.pk)) != RICH


def test_a_file_without_tests_leaves_those_that_are_there(rich: Flow):
    import_flow(read_file(text_of()), into=rich)
    assert FlowTest.objects.filter(flow=rich).count() == 1


def test_an_import_from_a_stale_page_is_refused():
    flow = draft("a")
    with pytest.raises(StaleDraft):
        import_flow(read_file(text_of()), into=flow, revision=1)


def test_triggers_can_be_left_out_by_whoever_may_not_make_them(rich: Flow):
    file = read_file(export_text(rich))
    assert import_flow(file, with_triggers=False).flow.triggers.count() == 0
    [trigger] = import_flow(file).flow.triggers.all()
    assert (trigger.name, trigger.mode, trigger.active_at) == (
        "testapp.parcel_weighed",
        "wake",
        None,
    )


# --- what is not here ---------------------------------------------------------------------------


def test_all_that_is_not_here_is_told_and_the_rest_is_imported(rich: Flow):
    class Tow(BaseAction):
        name = "test.tow"
        effects = "none"

        def run(self, *, run: Any, obj: Any, config: Any) -> None:
            return None

    with actions.temporarily(Tow):
        drafting.add_action(rich, "test.tow", {"gate": "A1"}, uid="tow")
        text = export_text(rich)
    text = text.replace("testapp.parcel_weighed", "shop.weighed")
    text = text.replace("testapp.parcel", "shop.order")
    Flow.objects.all().delete()
    User.objects.all().delete()
    UserGroup.objects.all().delete()
    file = read_file(text)
    told = preview(file)
    assert Flow.objects.count() == 0
    imported = import_flow(file)
    assert imported.missing == told
    kinds = ["object_type", "user", "flow", "action", "group", "group", "trigger", "test"]
    assert [each.kind for each in told] == kinds
    assert all(str(each) for each in imported.missing)
    found = draft_document(imported.flow)
    assert (found["content_type"], found["identity"]) == (None, None)
    assert [item["action"] for item in found["actions"]] == [
        item["action"] for item in file.document["actions"]
    ]
    assert {each.uid for each in imported.missing if each.uid} == {"start", "tow"}


def test_into_a_flow_that_is_there_nobody_misses_what_is_not_read(rich: Flow):
    file = read_file(export_text(rich))
    UserGroup.objects.all().delete()
    assert preview(file, into=rich) == import_flow(file, into=rich).missing == []
    assert [each.kind for each in preview(file)] == ["group", "group"]


def test_a_flow_that_starts_itself_is_not_missing():
    flow = make_flow(row("start_flow", flow="test-flow"), name="Test flow")
    text = export_text(flow)
    Flow.objects.all().delete()
    assert import_flow(read_file(text)).missing == []


def test_nobody_lets_a_flow_act_as_somebody_else_by_a_file(rich: Flow):
    author, boss = User.objects.create_user("author"), User.objects.create_superuser("boss")
    file = read_file(export_text(rich))
    imported = import_flow(file, user=author)
    assert Flow.objects.get(pk=imported.flow.pk).identity is None
    assert [each.kind for each in imported.missing] == ["user"]
    assert import_flow(file, user=boss).flow.identity == User.objects.get(username="dispatcher")
    dispatcher = User.objects.get(username="dispatcher")
    assert import_flow(file, user=dispatcher).flow.identity == dispatcher
    assert import_flow(file, into=rich, user=author).missing == []
    assert Flow.objects.get(pk=rich.pk).identity == dispatcher


# --- secrets ------------------------------------------------------------------------------------


class Call(BaseAction):
    name = "test.call"
    effects = "external"
    config_schema = {
        "type": "object",
        "properties": {"url": {"type": "string"}, "token": {"type": "string", "format": "secret"}},
        "required": ["token"],
    }

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        return None


@pytest.fixture
def caller() -> Iterator[Flow]:
    with actions.temporarily(Call):
        flow = drafting.create_flow("Caller")
        drafting.replace_draft(
            flow, make_document(row("test.call", uid="call", url="u", token="s3cret", label="Call"))
        )
        yield flow


def test_secrets_are_not_in_the_file_unless_they_may_be(caller: Flow):
    assert "s3cret" not in export_text(caller)
    assert "s3cret" in export_text(caller, reveal_secrets=True)


def test_a_secret_that_is_not_in_the_file_is_asked_for(caller: Flow):
    imported = import_flow(read_file(export_text(caller)))
    [missing] = imported.missing
    assert (missing.kind, missing.uid) == ("secret", "call")
    assert "token" in str(missing)
    assert "“Call”" in str(missing)


def test_where_the_rows_still_are_their_secrets_stay(caller: Flow):
    text = export_text(caller).replace('"u"', '"new"')
    imported = import_flow(read_file(text), into=caller)
    assert imported.missing == []
    [item] = draft_document(caller)["actions"]
    assert item["config"] == {"url": "new", "token": "s3cret"}


def test_secret_values_of_a_tests_state_stay_at_home(caller: Flow):
    schema = {"type": "object", "properties": {"pin": {"type": "string", "format": "secret"}}}
    drafting.replace_draft(caller, {**draft_document(caller), "state_schema": schema})
    state = {"pin": "1234", "n": 1}
    FlowTest.objects.create(flow=caller, name="t", state=state, expectations={"state": state})
    [test] = export_flow(caller)["tests"]
    assert test["state"] == test["expectations"]["state"] == {"n": 1}
    assert "1234" not in export_text(caller)
    [test] = export_flow(caller, reveal_secrets=True)["tests"]
    assert test["state"] == test["expectations"]["state"] == state


# --- files that are none ------------------------------------------------------------------------

BAD = {
    "": "not JSON",
    "{": "not JSON",
    "[]": "not that of a flow",
    '{"format": "flowcontrol.rows"}': "not that of a flow",
    "[" * 100_000: "nested too deep",
    text_of(version=2): "version 2",
    text_of(document=None): "JSON object",
    text_of(document={"format": 9}): "format 9",
    text_of(document={"format": 1, "actions": [{"uid": "a"}]}): "'action' is missing in row 1",
    text_of(document={"format": 1, "actions": [*rows_of("a"), *rows_of("a")]}): "twice",
    text_of(flow={}): "'name' is a required property",
    text_of(flow={"name": ""}): "flow → name",
    text_of(flow={"name": "x", "slug": "a b"}): "flow → slug",
    text_of(flow={"name": "x" * 300}): "flow → name",
    text_of(settings={"max_concurrent": -1}): "settings → max_concurrent",
    text_of(settings={"when_full": "explode"}): "settings → when_full",
    text_of(settings={"retention": "soon"}): "no duration",
    text_of(settings={"is_superuser": True}): "settings",
    text_of(triggers=[{"name": "x", "mode": "evil"}]): "triggers → entry 1 → mode",
    text_of(tests={}): "Tests are a JSON list",
    text_of(tests=[{}]): "with a name",
    text_of(tests=[{"name": " "}]): "needs a name",
    text_of(tests=[{"name": "t"}, {"name": "t "}]): "same name",
    text_of(tests=[{"name": "t", "state": 5}]): "“t” cannot be read",
    text_of(tests=[{"name": "t", "answers": {"a": {"say": 1}}}]): "answer for row a",
    text_of(tests=[{"name": "t", "starts_at": "noon"}]): "no moment",
    text_of(tests=[{"name": "t", "expectations": {"outcome": "great"}}]): "expectations: outcome",
    text_of(tests=[{"name": "t", "sate": {}}]): "tests → entry 1",
    text_of(left_out=[]): "left_out",
    text_of(evil=1): "evil",
    text_of(flow={"name": "a\x00b"}): "NUL",
}


@pytest.mark.parametrize("text", BAD, ids=[str(number) for number in range(len(BAD))])
def test_a_file_that_is_none_is_a_clear_error(text: str):
    with pytest.raises(DocumentError, match=BAD[text]):
        read_file(text)
    assert Flow.objects.count() == 0


def test_an_import_that_fails_leaves_nothing_behind():
    with pytest.raises(DocumentError, match="slug"):
        import_flow(read_file(text_of()), slug="no slug!")
    deep = rows_of("(".join(f"g{level}" for level in range(70)) + "()" + ")" * 69)
    with pytest.raises(DraftRefused, match="levels deep"):
        import_flow(read_file(text_of(document={"format": 1, "actions": deep})))
    assert Flow.objects.count() == 0
