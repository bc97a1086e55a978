"""Several people at one draft, and several flows made at once: nothing is lost, nothing breaks.

Without the lock on the flow, processes that move rows in one tree end in deadlocks and in a tree
whose paths contradict each other; without another try, flows made at the same moment are lost.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from flowcontrol.clipboard import copy_rows, cut_rows, paste_rows
from flowcontrol.documents import make_document, walk
from flowcontrol.drafting import (
    Position,
    add_action,
    create_flow,
    delete_action,
    draft_document,
    duplicate_action,
    duplicate_flow,
    edit_action,
    move_action,
    replace_draft,
)
from flowcontrol.exceptions import DraftRefused, StaleDraft
from flowcontrol.models import Flow, FlowAction
from flowcontrol.presence import come, editors_of
from flowcontrol.publishing import publish
from flowcontrol.shaping import delete_rows, wrap
from flowcontrol.testing import Group, Log
from flowcontrol.undoing import redo, undo
from tests.concurrency.forking import forked

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked"),
]

EDITORS = 4


def at_once(works: list[Callable[[], Any]]) -> list[Any]:
    """What each of the works returns; each has a process, and all begin at the same moment."""
    barrier = multiprocessing.get_context("fork").Barrier(len(works))

    def work_of(work: Callable[[], Any]) -> Callable[[], Any]:
        def wait_and_work() -> Any:
            connection.ensure_connection()
            barrier.wait(30)
            return work()

        return wait_and_work

    with ExitStack() as stack:
        children = [stack.enter_context(forked(work_of(work))) for work in works]
        return [child.result() for child in children]


def a_draft(name: str = "Late flight") -> Flow:
    flow = create_flow(name)
    blocks = [
        Group([Group([Log("x", uid=f"{letter}-leaf")], uid=f"{letter}-inner")], uid=letter)
        for letter in "abc"
    ]
    leaves = [Log("x", uid=f"leaf-{number}") for number in range(4)]
    replace_draft(flow, make_document(*blocks, *leaves))
    return flow


def uids(flow: Flow) -> set[str]:
    return {placed.row["uid"] for placed in walk(draft_document(flow))}


def assert_healthy() -> None:
    assert [found for found in FlowAction.objects.find_problems() if found] == []
    for flow in Flow.objects.all():
        [root] = FlowAction.objects.filter(flow=flow, depth=1)
        assert set(FlowAction.objects.get_descendants(root)) == set(
            flow.actions.filter(depth__gt=1)
        )


def moves(flow: Flow, seed: int, number: int) -> Callable[[], list[int]]:
    """Move rows of a flow at random; the revisions that came of it."""

    def work() -> list[int]:
        luck, made = random.Random(seed), []
        names = sorted(uids(flow))
        for _move in range(number):
            position: Position = luck.choice(["first", "last", "before", "after"])
            try:
                move_action(flow, luck.choice(names), target=luck.choice(names), position=position)
                made.append(flow.draft_revision)
            except DraftRefused:
                continue
        return made

    return work


def test_four_people_who_move_rows_in_one_draft_lose_none_and_leave_a_healthy_tree():
    flow, other = a_draft(), a_draft("Other")
    before, revision = uids(flow), flow.draft_revision
    made = at_once([moves(flow, seed, 30) for seed in range(EDITORS)])
    assert all(made)
    assert_healthy()
    assert uids(flow) == before
    flow.refresh_from_db()
    # A row that is put where it stands makes no revision, but it tells that of the last move.
    revisions = set().union(*made) - {revision}
    assert revisions == set(range(revision + 1, flow.draft_revision + 1))
    assert draft_document(other) == draft_document(a_draft("Third"))


def test_two_drafts_are_edited_at_the_same_time_without_touching_each_other():
    flows = [a_draft("One"), a_draft("Two")]
    before = [uids(flow) for flow in flows]
    at_once([moves(flows[number % 2], number, 20) for number in range(EDITORS)])
    assert_healthy()
    assert [uids(flow) for flow in flows] == before


def test_adding_copying_and_deleting_at_once_ends_in_what_each_did():
    flow = a_draft()

    def work_of(number: int) -> Callable[[], list[str]]:
        def work() -> list[str]:
            mine = []
            for turn in range(8):
                added = add_action(flow, "group", target="a", position="first", label=f"{number}")
                add_action(flow, "log", {"message": "x"}, target=added.uid)
                copy = duplicate_action(flow, added.uid)
                if turn % 2:
                    delete_action(flow, added.uid)
                else:
                    mine.append(added.uid)
                mine.append(copy.uid)
            return mine

        return work

    told = at_once([work_of(number) for number in range(EDITORS)])
    assert_healthy()
    mine = {uid for each in told for uid in each}
    assert mine <= uids(flow)
    labels = [placed.row["uid"] for placed in walk(draft_document(flow)) if placed.row["label"]]
    assert set(labels) == mine
    assert len(labels) == EDITORS * 12


def test_of_several_edits_from_the_same_page_one_is_saved_and_the_others_are_told():
    flow = a_draft()
    seen = flow.draft_revision

    def work_of(number: int) -> Callable[[], str]:
        def work() -> str:
            try:
                edit_action(flow, "leaf-1", note=str(number), revision=seen)
            except StaleDraft:
                return "stale"
            return str(number)

        return work

    told = at_once([work_of(number) for number in range(EDITORS)])
    assert told.count("stale") == EDITORS - 1
    [winner] = [each for each in told if each != "stale"]
    assert FlowAction.objects.get(flow=flow, uid="leaf-1").note == winner


def test_undo_by_several_at_once_takes_back_one_step_each():
    flow = a_draft()
    states = [draft_document(flow)]
    for number in range(2 * EDITORS):
        edit_action(flow, "leaf-1", note=str(number))
        states.append(draft_document(flow))
    told = at_once([lambda: undo(flow).revision] * EDITORS)
    assert len(set(told)) == EDITORS
    assert draft_document(flow) == states[EDITORS]
    told = at_once([lambda: redo(flow).revision] * EDITORS)
    assert len(set(told)) == EDITORS
    assert draft_document(flow) == states[-1]


def test_cutting_pasting_wrapping_and_undoing_at_once_leave_a_whole_draft():
    flow = a_draft()

    def work_of(seed: int) -> Callable[[], None]:
        def work() -> None:
            luck = random.Random(seed)
            for _turn in range(10):
                names = sorted(uids(flow))
                if not names:
                    break
                try:
                    match luck.choice(["copy", "cut", "wrap", "undo", "redo", "delete"]):
                        case "copy" if len(names) < 60:
                            text = copy_rows(flow, luck.sample(names, min(2, len(names))))
                            paste_rows(flow, text, target=luck.choice(names), position="after")
                        case "cut":
                            text = cut_rows(flow, [luck.choice(names)])
                            paste_rows(flow, text)
                        case "wrap":
                            wrap(flow, [luck.choice(names)], "group")
                        case "undo":
                            undo(flow)
                        case "redo":
                            redo(flow)
                        case "delete":
                            delete_rows(flow, luck.sample(names, 1))
                except DraftRefused:
                    continue

        return work

    at_once([work_of(seed) for seed in range(EDITORS)])
    assert_healthy()
    add_action(flow, "log", {"message": "x"})
    state = draft_document(flow)
    undo(flow)
    redo(flow)
    assert draft_document(flow) == state


def test_eight_people_who_open_a_draft_at_once_all_see_one_another():
    flow = a_draft()
    users = [User.objects.create_user(f"user-{number}") for number in range(8)]

    def work_of(user: User) -> Callable[[], int]:
        return lambda: len(come(flow, user))

    at_once([work_of(user) for user in users])
    assert len(editors_of(flow)) == 8


@pytest.mark.parametrize("names", ["the same name", "eight names"])
def test_eight_flows_made_at_once_are_all_made_each_with_its_own_root(names: str):
    def work_of(number: int) -> Callable[[], str]:
        name = "Late flight" if names == "the same name" else f"Flow {number}"
        return lambda: create_flow(name).slug

    slugs = at_once([work_of(number) for number in range(8)])
    assert len(set(slugs)) == Flow.objects.count() == 8
    assert FlowAction.objects.filter(depth=1).count() == 8
    assert_healthy()


def test_copies_of_one_flow_made_at_once_are_all_whole():
    flow = a_draft()

    def work() -> str:
        return duplicate_flow(flow, "Copy").slug

    slugs = at_once([work] * EDITORS)
    assert len(set(slugs)) == EDITORS
    for slug in slugs:
        assert uids(Flow.objects.get(slug=slug)) == uids(flow)
    assert_healthy()


def test_one_draft_published_by_several_at_once_is_one_version():
    flow = a_draft()

    def work() -> int:
        return publish(flow).number

    assert at_once([work] * EDITORS) == [1] * EDITORS
    assert flow.versions.count() == 1


def test_editing_and_publishing_at_once_never_gives_a_number_twice():
    flow = a_draft()

    def work_of(number: int) -> Callable[[], int]:
        def work() -> int:
            for turn in range(5):
                edit_action(flow, "leaf-1", note=f"{number} {turn}")
                publish(flow)
            return publish(flow).number

        return work

    at_once([work_of(number) for number in range(EDITORS)])
    numbers = list(flow.versions.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    flow.refresh_from_db()
    assert flow.live_version is not None
    assert flow.live_version.number == numbers[-1]
