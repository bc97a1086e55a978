"""Undo and redo: every change of a draft is taken back and done again, by whoever is at it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcontrol import drafting, extracting, shaping
from flowcontrol.clipboard import copy_rows, cut_rows, paste_rows
from flowcontrol.documents import make_document
from flowcontrol.draft_changes import MOST_STEPS, WORDS, changes_since
from flowcontrol.drafts import draft_document, editing
from flowcontrol.exceptions import DraftRefused, StaleDraft
from flowcontrol.models import DraftChange, Flow, FlowAction
from flowcontrol.publishing import load_version_into_draft, publish
from flowcontrol.testing import Log
from flowcontrol.undoing import redo, undo, undoable
from tests.outlines import assert_healthy, draft, outline, rows_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def healthy_tree(db: None) -> Iterator[None]:
    before = draft("x y(z)", "Before")
    yield
    assert_healthy()
    assert outline(before) == "x y(z)"


def change_settings(flow: Flow) -> None:
    with editing(flow, verb="settings"):
        Flow.objects.filter(pk=flow.pk).update(condition="object.late", state_schema={})


def paste_somewhere(flow: Flow) -> None:
    paste_rows(flow, copy_rows(flow, ["b"]), target="a", position="before")


def load_a_version(flow: Flow) -> None:
    load_version_into_draft(publish(draft("m n(o)", "Other")))


EDITS: dict[str, Callable[[Flow], Any]] = {
    "add": lambda flow: drafting.add_action(flow, "log", {"message": "x"}, target="d"),
    "edit": lambda flow: drafting.edit_action(flow, "c", label="new", config={"message": "y"}),
    "enable": lambda flow: drafting.set_enabled(flow, "b", False),
    "move": lambda flow: drafting.move_action(flow, "b", target="a", position="before"),
    "step": lambda flow: drafting.step_action(flow, "c", "out"),
    "duplicate": lambda flow: drafting.duplicate_action(flow, "b"),
    "delete": lambda flow: drafting.delete_action(flow, "b"),
    "replace": lambda flow: drafting.replace_draft(flow, make_document(Log("x"))),
    "settings": change_settings,
    "delete several": lambda flow: shaping.delete_rows(flow, ["a", "d"]),
    "move several": lambda flow: shaping.move_rows(flow, ["a", "e"], target="d", position="last"),
    "duplicate several": lambda flow: shaping.duplicate_rows(flow, ["a", "b"]),
    "switch several": lambda flow: shaping.enable_rows(flow, ["a", "b", "d"], False),
    "wrap": lambda flow: shaping.wrap(flow, ["a", "b"], "group"),
    "unwrap": lambda flow: shaping.unwrap(flow, "b"),
    "extract": lambda flow: extracting.extract_to_flow(flow, ["a", "b"], "Of its own"),
    "cut": lambda flow: cut_rows(flow, ["a", "d"]),
    "paste": paste_somewhere,
}


@pytest.mark.parametrize("edit", EDITS)
def test_whatever_was_done_to_a_draft_is_one_step_to_undo_and_to_do_again(edit: str):
    flow = draft("a b(c d()) e")
    before = draft_document(flow)
    EDITS[edit](flow)
    flow.refresh_from_db()
    after = draft_document(flow)
    assert after != before
    undo(flow)
    flow.refresh_from_db()
    assert draft_document(flow) == before
    redo(flow)
    flow.refresh_from_db()
    assert draft_document(flow) == after


def test_every_verb_of_a_change_has_its_words():
    flow = draft("a b(c d()) e")
    for edit in EDITS.values():
        edit(flow)
        undo(flow)
    redo(flow)
    assert set(DraftChange.objects.values_list("verb", flat=True)) <= WORDS.keys()


def test_what_was_undone_stays_undone_in_another_request():
    flow = draft("a b")
    drafting.delete_action(flow, "a")
    drafting.delete_action(flow, "b")
    undo(Flow.objects.get(pk=flow.pk))
    undo(Flow.objects.get(pk=flow.pk))
    assert outline(flow) == "a b"
    redo(Flow.objects.get(pk=flow.pk))
    assert outline(flow) == "b"


def test_a_new_edit_clears_what_could_be_done_again():
    flow = draft("a b c")
    drafting.delete_action(flow, "a")
    undo(flow)
    drafting.delete_action(flow, "b")
    assert undoable(flow).redo is None
    with pytest.raises(DraftRefused, match="nothing to do again"):
        redo(flow)
    undo(flow)
    assert outline(flow) == "a b c"


def test_steps_are_undone_back_to_the_first_and_then_it_says_so():
    flow = drafting.create_flow("New")
    with pytest.raises(DraftRefused, match="nothing to undo"):
        undo(flow)
    drafting.add_action(flow, "log", label="a")
    assert undo(flow).what == "added “a”"
    with pytest.raises(DraftRefused, match="nothing to undo"):
        undo(flow)
    assert undoable(flow).undo is None
    told = undoable(flow).redo
    assert told is not None
    assert told.verb == "add"


def test_an_undo_from_a_stale_page_is_refused():
    flow = draft("a b")
    drafting.delete_action(flow, "a")
    seen = flow.draft_revision
    drafting.delete_action(flow, "b")
    with pytest.raises(StaleDraft):
        undo(flow, seen)
    assert outline(flow) == ""
    undo(flow, flow.draft_revision)
    with pytest.raises(StaleDraft):
        redo(flow, seen)
    assert outline(flow) == "b"


def test_undoing_makes_the_pages_of_others_stale():
    flow = draft("a b")
    drafting.delete_action(flow, "a")
    seen = flow.draft_revision
    undo(flow)
    assert flow.draft_revision == seen + 1
    with pytest.raises(StaleDraft):
        drafting.delete_action(flow, "b", revision=seen)


def test_undo_is_each_flows_own():
    one, other = draft("a", "One"), draft("a", "Other")
    drafting.edit_action(one, "a", label="of one")
    drafting.edit_action(other, "a", label="of other")
    undo(one)
    assert (outline(one), outline(other)) == ("a", "of other")


def test_an_edit_that_changes_nothing_is_no_step_and_makes_no_page_stale():
    flow = draft("a b")
    seen = flow.draft_revision
    drafting.edit_action(flow, "a", label="a")
    drafting.move_action(flow, "a", target="b", position="before")
    assert flow.draft_revision == Flow.objects.get(pk=flow.pk).draft_revision == seen
    assert not changes_since(flow, seen)


def test_a_hundred_steps_are_kept_and_the_older_ones_go():
    flow = draft("a")
    for number in range(MOST_STEPS + 20):
        drafting.edit_action(flow, "a", label=f"l{number}")
    for _step in range(MOST_STEPS):
        undo(flow)
    assert outline(flow) == "l19"
    with pytest.raises(DraftRefused, match="nothing to undo"):
        undo(flow)
    for _step in range(MOST_STEPS):
        redo(flow)
    assert outline(flow) == f"l{MOST_STEPS + 19}"
    assert DraftChange.objects.filter(flow=flow).count() <= 2 * MOST_STEPS


def test_rows_that_were_changed_past_the_draft_are_not_overwritten():
    flow = draft("a b")
    drafting.edit_action(flow, "a", label="mine")
    FlowAction.objects.filter(flow=flow, uid="a").update(label="from a script")
    with pytest.raises(DraftRefused, match="changed in another way"):
        undo(flow)
    assert outline(flow) == "from a script b"


def test_undo_lets_nobody_choose_whom_a_flow_acts_as():
    boss = User.objects.create_superuser("boss")
    author = User.objects.create_user("author")
    flow = draft("a")
    drafting.replace_draft(flow, {**draft_document(flow), "identity": "boss"}, user=boss)
    drafting.replace_draft(flow, {**draft_document(flow), "identity": None}, user=author)
    with pytest.raises(DraftRefused, match="only superusers"):
        undo(flow, user=author)
    with pytest.raises(DraftRefused, match="only superusers"):
        drafting.replace_draft(flow, {**draft_document(flow), "identity": "boss"}, user=author)
    assert Flow.objects.get(pk=flow.pk).identity is None
    undo(flow, user=boss)
    assert Flow.objects.get(pk=flow.pk).identity == boss


# --- what others did ----------------------------------------------------------------------------


def test_a_stale_page_is_told_who_did_what_to_which_rows():
    kim, sam = User.objects.create_user("kim"), User.objects.create_user("sam")
    flow = draft("a b(c) d e f g")
    seen = flow.draft_revision
    drafting.edit_action(flow, "c", label="C", user=kim)
    shaping.delete_rows(flow, ["a", "b", "d", "e", "f"], user=sam)
    undo(flow, user=kim)
    with pytest.raises(StaleDraft) as caught:
        drafting.delete_action(flow, "g", revision=seen)
    told = [str(change) for change in caught.value.changes]
    assert told == [
        "kim changed “C”",
        "sam deleted “a”, “b”, “d” and 2 more rows",
        "kim undid a change: “a”, “b”, “d” and 2 more rows",
    ]
    assert [change.rows[0][0] for change in caught.value.changes] == ["c", "a", "a"]
    assert [str(change) for change in changes_since(flow, seen + 1)] == told[1:]


def test_a_change_by_code_is_told_as_somebodys():
    flow = draft("a")
    seen = flow.draft_revision
    drafting.replace_draft(flow, make_document(*rows_of("x")))
    [change] = changes_since(flow, seen)
    assert str(change) == "somebody replaced the whole draft"


def test_what_is_told_holds_no_secret_and_no_long_text():
    flow = draft("a")
    seen = flow.draft_revision
    drafting.add_action(flow, "log", {"message": "m" * 1000})
    [change] = changes_since(flow, seen)
    [(_uid, title)] = change.rows
    assert len(title) == 80


# --- any edits ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_after_any_edits_undo_leads_back_and_redo_forth_through_every_state(seed: int):
    luck = random.Random(seed)
    with transaction.atomic():
        flow = draft("a b(c d()) e")
        states = [draft_document(flow)]
        for _edit in range(6):
            edit = EDITS[luck.choice([name for name in EDITS if name != "extract"])]
            try:
                edit(flow)
            except DraftRefused:
                continue
            flow.refresh_from_db()
            if (now := draft_document(flow)) != states[-1]:
                states.append(now)
        for expected in reversed(states[:-1]):
            undo(flow)
            flow.refresh_from_db()
            assert draft_document(flow) == expected
        for expected in states[1:]:
            redo(flow)
            flow.refresh_from_db()
            assert draft_document(flow) == expected
        assert_healthy()
        transaction.set_rollback(True)
