"""Several rows at once: selections, blocks around rows, blocks taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction

from flowcontrol.documents import make_document, walk
from flowcontrol.drafting import MAX_DEPTH, create_flow, replace_draft
from flowcontrol.drafts import draft_document
from flowcontrol.exceptions import DraftRefused, StaleDraft, UnknownAction
from flowcontrol.extracting import extract_to_flow
from flowcontrol.models import Flow
from flowcontrol.shaping import (
    delete_rows,
    duplicate_rows,
    enable_rows,
    move_rows,
    unwrap,
    wrap,
)
from flowcontrol.testing import Else, ElseIf, If, Log
from tests.outlines import assert_healthy, draft, outline

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def healthy_tree(db: None) -> Iterator[None]:
    other = draft("x y(z)", "Other")
    yield
    assert_healthy()
    assert outline(other) == "x y(z)"


def refusal(verb: Callable[..., Any], flow: Flow, *args: Any, **options: Any) -> str:
    before = (draft_document(flow), Flow.objects.get(pk=flow.pk).draft_revision)
    with pytest.raises(DraftRefused) as caught, transaction.atomic():
        verb(flow, *args, **options)
    assert (draft_document(flow), Flow.objects.get(pk=flow.pk).draft_revision) == before
    return str(caught.value)


# --- selections ---------------------------------------------------------------------------------


def test_several_rows_are_deleted_with_what_is_inside_them():
    flow = draft("a b(c d(e)) f g")
    delete_rows(flow, ["g", "e", "d", "a"])
    assert outline(flow) == "b(c) f"


def test_several_rows_move_in_the_order_of_the_draft_whatever_the_order_of_the_choice():
    flow = draft("a b(c d(e)) f g")
    assert move_rows(flow, ["g", "e", "d", "a"], target="f", position="before") == ["a", "d", "g"]
    assert outline(flow) == "b(c) a d(e) g f"


@pytest.mark.parametrize(
    ("target", "position", "found"),
    [
        ("b", "first", "b(a e c d()) f"),
        ("b", "last", "b(c d() a e) f"),
        ("d", "last", "b(c d(a e)) f"),
        ("", "first", "a e b(c d()) f"),
        ("", "last", "b(c d()) f a e"),
        ("b", "before", "a e b(c d()) f"),
        ("b", "after", "b(c d()) a e f"),
        ("c", "after", "b(c a e d()) f"),
    ],
)
def test_rows_from_several_places_come_together_where_they_are_put(
    target: str, position: Any, found: str
):
    flow = draft("a b(c d()) e f")
    move_rows(flow, ["a", "e"], target=target, position=position)
    assert outline(flow) == found


def test_rows_cannot_move_into_themselves_or_beside_what_moves_with_them():
    flow = draft("a b(c d(e)) f")
    for target, position in (("b", "last"), ("d", "first"), ("e", "before"), ("a", "after")):
        assert "into itself" in refusal(
            move_rows, flow, ["a", "b"], target=target, position=position
        )


def test_copies_of_several_rows_stand_together_behind_the_last():
    flow = draft("a b(c) d")
    made = duplicate_rows(flow, ["b", "a"])
    assert outline(flow) == "a b(c) a b(c) d"
    assert [item["uid"] for item in draft_document(flow)["actions"]][2:4] == made
    uids = [placed.row["uid"] for placed in walk(draft_document(flow))]
    assert len(set(uids)) == len(uids) == 7


def test_several_rows_are_switched_each_by_itself():
    flow = draft("a b(c) d")
    enable_rows(flow, ["b", "c", "d"], False)
    off = [p.row["uid"] for p in walk(draft_document(flow)) if not p.row["enabled"]]
    assert off == ["b", "c", "d"]
    enable_rows(flow, ["b"], True)
    off = [p.row["uid"] for p in walk(draft_document(flow)) if not p.row["enabled"]]
    assert off == ["c", "d"]


VERBS: dict[str, Callable[..., Any]] = {
    "delete": delete_rows,
    "move": lambda flow, uids, **given: move_rows(flow, uids, position="last", **given),
    "duplicate": duplicate_rows,
    "switch": lambda flow, uids, **given: enable_rows(flow, uids, False, **given),
    "wrap": lambda flow, uids, **given: wrap(flow, uids, "group", **given),
    "unwrap": lambda flow, uids, **given: unwrap(flow, uids[0] if uids else "", **given),
    "extract": lambda flow, uids, **given: extract_to_flow(flow, uids, "New", **given),
}


@pytest.mark.parametrize("verb", VERBS)
def test_rows_of_another_flow_are_refused_and_nothing_is_done(verb: str):
    flow = draft("a b")
    assert "has no row 'y'" in refusal(VERBS[verb], flow, ["y"])
    if verb != "unwrap":
        assert "has no row 'z'" in refusal(VERBS[verb], flow, ["a", "z"])
        assert "Select at least one row" in refusal(VERBS[verb], flow, [])
    assert Flow.objects.count() == 2


@pytest.mark.parametrize("verb", VERBS)
def test_a_stale_selection_is_refused(verb: str):
    flow = draft("a(b) c")
    seen = flow.draft_revision
    delete_rows(flow, ["c"])
    with pytest.raises(StaleDraft):
        VERBS[verb](flow, ["a"], revision=seen)
    assert outline(flow) == "a(b)"


# --- blocks around rows -------------------------------------------------------------------------


def test_a_block_is_put_around_rows_and_taken_away_again():
    flow = draft("a b(c d e) f")
    around = wrap(flow, ["d", "c"], "group")
    assert outline(flow) == f"a b({around.uid}(c d) e) f"
    assert unwrap(flow, around.uid) == ["c", "d"]
    assert outline(flow) == "a b(c d e) f"


@pytest.mark.parametrize("action", ["if", "while", "for", "group"])
def test_any_type_that_holds_rows_can_be_put_around_them(action: str):
    flow = draft("a b")
    made = wrap(flow, ["a"], action, {"condition": "n > 1"} if action == "if" else None)
    [first, second] = draft_document(flow)["actions"]
    assert (first["uid"], first["action"], second["uid"]) == (made.uid, action, "b")
    assert [child["uid"] for child in first["children"]] == ["a"]
    assert first["config"] == ({"condition": "n > 1"} if action == "if" else {})


@pytest.mark.parametrize("action", ["log", "else", "delay"])
def test_what_holds_no_rows_or_follows_others_cannot_be_put_around_any(action: str):
    assert "cannot be put around rows" in refusal(wrap, draft("a"), ["a"], action)


def test_a_try_comes_with_a_row_that_says_what_to_do_on_an_error():
    flow = draft("a b")
    wrap(flow, ["a"], "try")
    told = [item["action"] for item in draft_document(flow)["actions"]]
    assert told == ["try", "on_error", "log"]


def test_in_a_parallel_each_row_gets_a_branch_and_an_if_shares_one_with_its_else():
    flow = create_flow("Chain")
    replace_draft(flow, make_document(*CHAIN))
    wrap(flow, ["first", "if"], "parallel")
    block = draft_document(flow)["actions"][0]
    assert [item["action"] for item in block["children"]] == ["branch", "branch"]
    inside = [[row["uid"] for row in item["children"]] for item in block["children"]]
    assert inside == [["first"], ["if", "elif", "else"]]


def test_an_unknown_block_is_refused():
    with pytest.raises(UnknownAction, match="no_such"):
        wrap(draft("a"), ["a"], "no_such")


def test_only_rows_side_by_side_can_get_a_block():
    flow = draft("a b(c) d")
    assert "“b” stands between" in refusal(wrap, flow, ["a", "d"], "group")
    assert "not in the same block" in refusal(wrap, flow, ["a", "c"], "group")


CHAIN = [
    Log("first", uid="first"),
    If("n > 1", [Log("x")], uid="if"),
    ElseIf("n > 2", [Log("x")], uid="elif"),
    Else([Log("x")], uid="else"),
    Log("last", uid="last"),
]


@pytest.mark.parametrize(
    ("chosen", "inside"),
    [
        (["if"], ["if", "elif", "else"]),
        (["else"], ["if", "elif", "else"]),
        (["elif"], ["if", "elif", "else"]),
        (["first", "if"], ["first", "if", "elif", "else"]),
        (["if", "last"], ["if", "elif", "else", "last"]),
        (["last"], ["last"]),
    ],
)
def test_an_if_takes_its_else_along(chosen: list[str], inside: list[str]):
    flow = create_flow("Chain")
    replace_draft(flow, make_document(*CHAIN))
    around = wrap(flow, chosen, "group")
    [block] = [item for item in draft_document(flow)["actions"] if item["uid"] == around.uid]
    assert [item["uid"] for item in block["children"]] == inside


def test_an_if_is_not_taken_away_while_an_else_belongs_to_it():
    flow = create_flow("Chain")
    replace_draft(flow, make_document(*CHAIN))
    assert "belongs to this row" in refusal(unwrap, flow, "if")
    delete_rows(flow, ["elif", "else"])
    unwrap(flow, "if")
    assert [item["action"] for item in draft_document(flow)["actions"]] == ["log"] * 3


def test_there_is_nothing_to_take_away_around_nothing():
    assert "no rows inside" in refusal(unwrap, draft("a b()"), "a")
    assert "no rows inside" in refusal(unwrap, draft("a b()"), "b")


def test_a_block_that_would_be_too_deep_is_refused():
    levels = "(".join(f"g{level}" for level in range(MAX_DEPTH - 1)) + "()" + ")" * (MAX_DEPTH - 2)
    assert "levels deep" in refusal(wrap, draft(levels, "Deep"), ["g3"], "group")
