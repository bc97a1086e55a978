"""Copy, cut and paste: within a draft, into another flow, through any text that a clipboard has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from flowcontrol.base import BaseAction
from flowcontrol.clipboard import MOST_ROWS, copy_rows, cut_rows, paste_rows
from flowcontrol.documents import JSONObject, make_document, row, walk
from flowcontrol.drafting import create_flow, edit_action, replace_draft
from flowcontrol.drafts import draft_document
from flowcontrol.exceptions import DocumentError, DraftRefused, StaleDraft
from flowcontrol.findings import find_all
from flowcontrol.models import Flow
from flowcontrol.publishing import publish
from flowcontrol.registry import actions
from flowcontrol.testing import Else, If, Log
from tests.outlines import assert_healthy, draft, outline, rows_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def healthy_tree(db: None) -> Iterator[None]:
    yield
    assert_healthy()


def does_nothing(self: BaseAction, *, run: Any, obj: Any, config: Any) -> None:
    return None


def without_uids(items: list[JSONObject]) -> list[JSONObject]:
    return [{**item, "uid": "", "children": without_uids(item["children"])} for item in items]


RICH = [
    If("n > 1", [Log("x", note="why", enabled=False)], uid="if", label="Late"),
    Else([row("delay", duration={"$expr": "length"}, retry={"wait": 3})], uid="else"),
]


def test_what_is_pasted_is_all_that_was_copied_under_new_ids():
    flow, other = create_flow("One"), draft("a b(c)", "Other")
    replace_draft(flow, make_document(*RICH))
    text = copy_rows(flow, ["else", "if"])
    pasted = paste_rows(other, text, target="c", position="before")
    block = draft_document(other)["actions"][1]["children"]
    assert without_uids(block[:2]) == without_uids(draft_document(flow)["actions"])
    assert [item["uid"] for item in block] == [*pasted.uids, "c"]
    uids = {placed.row["uid"] for placed in walk(draft_document(flow))}
    assert not uids & {placed.row["uid"] for placed in walk(draft_document(other))}
    assert (pasted.unknown, pasted.missing) == ([], [])


def test_rows_are_pasted_into_their_own_flow_as_often_as_one_likes():
    flow = draft("a b(c)")
    text = copy_rows(flow, ["b", "c"])
    paste_rows(flow, text)
    paste_rows(flow, text, target="b", position="first")
    assert outline(flow) == "a b(b(c) c) b(c)"


def test_cut_rows_are_gone_and_come_back_elsewhere():
    flow = draft("a b(c) d")
    text = cut_rows(flow, ["a", "b"])
    assert outline(flow) == "d"
    paste_rows(flow, text, target="d", position="after")
    assert outline(flow) == "d a b(c)"


def test_copying_changes_nothing():
    flow = draft("a b(c) d")
    seen = flow.draft_revision
    copy_rows(flow, ["a"])
    assert Flow.objects.get(pk=flow.pk).draft_revision == seen


def test_rows_of_an_unknown_type_arrive_marked_and_keep_what_they_say():
    class Tow(BaseAction):
        name = "test.tow"
        effects = "none"
        run = does_nothing

    source, flow = create_flow("Source"), draft("a")
    with actions.temporarily(Tow):
        replace_draft(source, make_document(row("test.tow", gate="A1")))
        text = copy_rows(source, ["1"])
    pasted = paste_rows(flow, text)
    assert pasted.unknown == ["test.tow"]
    assert draft_document(flow)["actions"][1]["config"] == {"gate": "A1"}
    found = find_all(draft_document(flow), flow=flow)
    assert [(each.code, each.uid) for each in found] == [("unknown-action", pasted.uids[0])]


def text_of(**changes: Any) -> str:
    return json.dumps(
        {
            "format": "flowcontrol.rows",
            "version": 1,
            "rows": rows_of("x(y)"),
            **changes,
        }
    )


BAD = {
    "": "not a copy of rows",
    "hello": "not a copy of rows",
    "[]": "not a copy of rows",
    '{"format": "other"}': "not a copy of rows",
    "[" * 100_000: "not a copy of rows",
    text_of(version=2): "version 2",
    text_of(version=None): "version None",
    text_of(rows=[]): "no rows",
    text_of(rows=None): "wrong type",
    text_of(rows={}): "wrong type",
    text_of(rows=[1]): "row 1 is not a JSON object",
    text_of(rows=[{"uid": "a"}]): "'action' is missing",
    text_of(rows=[*rows_of("a"), *rows_of("a")]): "is there twice",
    text_of(rows=[{**rows_of("a")[0], "evil": 1}]): "Unknown key 'evil'",
    text_of(rows=[{**rows_of("a")[0], "label": "x" * 300}]): "more than 200 characters",
    text_of(rows=[{**rows_of("a")[0], "config": {"a": "\x00"}}]): "NUL",
    text_of(left_out=[]): "left_out",
    text_of(left_out={"a": "x"}): "left_out",
    text_of(left_out={"a": [[{}]]}): "left_out",
}


@pytest.mark.parametrize("text", BAD, ids=[str(number) for number in range(len(BAD))])
def test_anything_else_is_a_clear_error_and_changes_nothing(text: str):
    flow = draft("a b")
    seen = flow.draft_revision
    with pytest.raises(DocumentError, match=BAD[text]):
        paste_rows(flow, text)
    assert outline(flow) == "a b"
    assert Flow.objects.get(pk=flow.pk).draft_revision == seen


def test_what_does_not_fit_where_it_is_put_is_refused():
    flow = draft("a b")
    text = copy_rows(flow, ["b"])
    for target, position, told in (
        ("a", "last", "takes no rows"),
        ("gone", "after", "has no row"),
        ("", "before", "beside the flow"),
    ):
        with pytest.raises(DraftRefused, match=told), transaction.atomic():
            paste_rows(flow, text, target=target, position=position)  # type: ignore[arg-type]
    with pytest.raises(DraftRefused, match=str(MOST_ROWS)):
        paste_rows(flow, text_of(rows=rows_of(" ".join(f"r{n}" for n in range(MOST_ROWS + 1)))))
    with pytest.raises(StaleDraft):
        paste_rows(flow, text, revision=1)
    assert outline(flow) == "a b"


# --- secrets ------------------------------------------------------------------------------------


class Call(BaseAction):
    name = "test.call"
    effects = "external"
    run = does_nothing
    config_schema = {
        "type": "object",
        "properties": {
            "url": {"type": "string"},
            "token": {"type": "string", "format": "secret"},
            "more": {
                "type": "object",
                "properties": {"password": {"type": "string", "format": "secret"}},
            },
            "keys": {"type": "array", "items": {"type": "string", "format": "secret"}},
        },
        "required": ["token"],
    }


CONFIG = {
    "url": "https://example.com",
    "token": "s3cret-1",
    "more": {"password": "s3cret-2", "user": "kim"},
    "keys": ["s3cret-3", "s3cret-4"],
}


@pytest.fixture
def caller() -> Iterator[Flow]:
    with actions.temporarily(Call):
        flow = create_flow("Caller")
        replace_draft(
            flow,
            make_document(
                row("group", {**row("test.call", uid="call"), "config": CONFIG}, uid="g")
            ),
        )
        yield flow


def pasted_config(flow: Flow) -> Any:
    configs = [p.row["config"] for p in walk(draft_document(flow)) if p.row["action"] == Call.name]
    return configs[-1]


def test_a_copy_for_somebody_who_may_not_see_secrets_has_none_in_it(caller: Flow):
    text = copy_rows(caller, ["g"])
    assert "s3cret" not in text
    assert "https://example.com" in text
    assert "s3cret-1" in copy_rows(caller, ["g"], reveal_secrets=True)


def test_secrets_come_back_when_the_copy_is_pasted_here(caller: Flow):
    other = draft("a", "Other")
    text = copy_rows(caller, ["g"])
    for flow in (caller, other):
        assert paste_rows(flow, text).missing == []
        assert pasted_config(flow) == CONFIG


def test_secrets_come_back_after_a_cut_too(caller: Flow):
    text = cut_rows(caller, ["g"])
    assert "s3cret" not in text
    assert paste_rows(caller, text).missing == []
    assert pasted_config(caller) == CONFIG


def test_elsewhere_what_was_left_out_is_missing_and_the_checker_says_so(caller: Flow):
    text = copy_rows(caller, ["g"])
    Flow.objects.filter(pk=caller.pk).delete()
    other = draft("a", "Other")
    pasted = paste_rows(other, text)
    assert len(pasted.missing) == 1
    assert pasted_config(other) == {
        "url": "https://example.com",
        "more": {"user": "kim"},
        "keys": ["", ""],
    }
    found = [each for each in find_all(draft_document(other)) if each.severity == "error"]
    assert [(each.uid, each.field) for each in found] == [(pasted.missing[0], "token")]


def test_a_made_up_text_brings_no_secret_into_a_field_that_shows_it(caller: Flow):
    class Shows(BaseAction):
        name = "test.shows"
        effects = "none"
        run = does_nothing
        config_schema = {"type": "object", "properties": {"token": {"type": "string"}}}

    with actions.temporarily(Shows):
        text = text_of(
            flow="caller", rows=[row("test.shows", uid="call")], left_out={"call": [["token"], []]}
        ).replace("null", "1", 1)
        pasted = paste_rows(caller, text)
    assert pasted.missing == pasted.uids
    assert draft_document(caller)["actions"][1]["config"] == {}


def test_secrets_are_never_in_what_is_told_of_a_change(caller: Flow):
    edit_action(caller, "call", config={**CONFIG, "token": "s3cret-9"})
    [change] = list(caller.draft_changes.order_by("-revision")[:1])
    assert "s3cret" not in json.dumps(change.rows)
    assert publish(caller).number == 1
