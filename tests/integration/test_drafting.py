"""Editing drafts: every verb, everything that is refused, and a tree that stays healthy.

Drafts are written as outlines, see :mod:`tests.outlines`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcontrol.base import BaseAction
from flowcontrol.documents import JSONObject, make_document, row
from flowcontrol.drafting import (
    MAX_DEPTH,
    Position,
    add_action,
    create_flow,
    delete_action,
    draft_document,
    duplicate_action,
    duplicate_flow,
    edit_action,
    frozen,
    move_action,
    replace_draft,
    root_of,
    set_enabled,
    step_action,
)
from flowcontrol.exceptions import DocumentError, DraftRefused, StaleDraft, UnknownAction
from flowcontrol.models import Flow, FlowAction
from flowcontrol.publishing import publish
from flowcontrol.registry import actions
from flowcontrol.testing import Else, For, Group, If, Log, UpdateState
from tests.outlines import assert_healthy, draft, outline, outline_of, rows_of
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def healthy_tree(db: None) -> Iterator[None]:
    """Two flows lie around that of the test; afterwards the whole tree is as it has to be."""
    before = draft("x y(z)", "Before")
    yield
    draft("x y(z)", "After")
    assert_healthy()
    assert outline(before) == "x y(z)"


def refusal(verb: Callable[..., Any], *args: Any, **options: Any) -> str:
    """Why an edit is refused; nothing of it is written."""
    flow: Flow = args[0]
    before = (draft_document(flow), Flow.objects.get(pk=flow.pk).draft_revision)
    with pytest.raises(DraftRefused) as caught, transaction.atomic():
        verb(*args, **options)
    assert (draft_document(flow), Flow.objects.get(pk=flow.pk).draft_revision) == before
    return str(caught.value)


# --- flows --------------------------------------------------------------------------------------


def test_a_new_flow_has_an_empty_draft_under_one_hidden_root():
    flow = create_flow("Late flight")
    assert outline(flow) == ""
    assert [(each.depth, each.action) for each in flow.actions.all()] == [(1, "")]
    assert (flow.active_at, flow.live_version, flow.draft_revision) == (None, None, 1)


def test_a_flow_is_named_in_code_after_its_name():
    slugs = [create_flow(name).slug for name in ("Long delay!", "Long delay", "Long-delay", "✈")]
    assert slugs == ["long-delay", "long-delay-2", "long-delay-3", "flow"]
    assert len(create_flow("x" * 200).slug) <= 100
    assert create_flow("Long delay", slug="other").slug == "other"


def test_a_name_in_code_that_was_chosen_is_never_changed_silently():
    create_flow("One", slug="taken")
    with pytest.raises(IntegrityError), transaction.atomic():
        create_flow("Two", slug="taken")
    assert not Flow.objects.filter(name="Two").exists()


def test_a_flow_that_lost_its_root_gets_it_back_with_the_next_edit():
    flow = create_flow("Late flight")
    flow.actions.all().delete()
    add_action(flow, "log", {"message": "x"}, label="a")
    assert outline(flow) == "a"
    assert root_of(flow) == root_of(flow)


def test_deleting_a_flow_takes_its_rows_and_leaves_those_of_others():
    flow, other = draft("a(b)", "One"), draft("c(d)", "Other")
    Flow.objects.get(pk=flow.pk).delete()
    assert outline(other) == "c(d)"
    assert not FlowAction.objects.filter(uid__in=["a", "b"]).exists()
    assert outline(draft("e(f)", "Next")) == "e(f)"


# --- adding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "position", "found"),
    [
        ("", "last", "a b(c d()) e new"),
        ("", "first", "new a b(c d()) e"),
        ("a", "before", "new a b(c d()) e"),
        ("a", "after", "a new b(c d()) e"),
        ("e", "after", "a b(c d()) e new"),
        ("b", "first", "a b(new c d()) e"),
        ("b", "last", "a b(c d() new) e"),
        ("c", "after", "a b(c new d()) e"),
        ("d", "first", "a b(c d(new)) e"),
        ("d", "last", "a b(c d(new)) e"),
    ],
)
def test_a_row_is_added_in_or_beside_another(target: str, position: Position, found: str):
    flow = draft("a b(c d()) e")
    added = add_action(flow, "log", {"message": "x"}, target=target, position=position, label="new")
    assert outline(flow) == found
    assert (added.label, added.config, added.flow) == ("new", {"message": "x"}, flow)
    assert len(added.uid) == 16


def test_an_added_row_is_written_by_the_name_and_version_its_type_has_today():
    class Renamed(BaseAction):
        name = "test.renamed"
        aliases = ("test.old",)
        effects = "none"
        schema_version = 4

        def run(self, *, run: Any, obj: Any, config: Any) -> None:
            return None

    with actions.temporarily(Renamed):
        added = add_action(draft(), "test.old")
        assert (added.action, added.schema_version, added.config) == ("test.renamed", 4, {})


def test_a_row_can_be_added_with_everything_it_has():
    flow = draft()
    fields: dict[str, Any] = {
        "note": "why",
        "is_enabled": False,
        "retry": {"attempts": 2},
        "result_key": "told",
    }
    add_action(flow, "log", {"message": "x"}, **fields)
    [item] = draft_document(flow)["actions"]
    assert (item["note"], item["enabled"]) == ("why", False)
    assert (item["retry"], item["result_key"]) == ({"attempts": 2}, "told")


def test_rows_that_take_no_rows_refuse_them():
    assert refusal(add_action, draft("a"), "log", target="a", position="last") == (
        "“a” takes no rows inside it."
    )


def test_there_is_no_place_beside_the_flow_itself():
    assert "beside the flow" in refusal(add_action, draft("a"), "log", position="before")


def test_a_row_of_another_flow_is_no_target():
    other = draft("theirs(t)", "Other")
    mine = draft("a")
    for position in ("before", "last"):
        assert "has no row 'theirs'" in refusal(
            add_action, mine, "log", target="theirs", position=position
        )
    assert outline(other) == "theirs(t)"


def test_the_hidden_root_is_no_row():
    flow = draft("a")
    root = root_of(flow)
    for verb in (delete_action, duplicate_action):
        assert "has no row" in refusal(verb, flow, root.uid)
    assert "has no row" in refusal(move_action, flow, "a", target=root.uid, position="after")
    assert "has no row" in refusal(move_action, flow, root.uid, target="a", position="after")


def test_an_unknown_action_cannot_be_added():
    with pytest.raises(UnknownAction, match=r"shop\.gone"):
        add_action(draft(), "shop.gone")


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, "a\x00b", "half \ud83d"])
def test_a_config_that_no_database_can_keep_is_refused(value: Any):
    flow = draft("a")
    with pytest.raises(DocumentError):
        add_action(flow, "log", {"message": value})
    with pytest.raises(DocumentError):
        edit_action(flow, "a", config={"message": value})
    assert outline(flow) == "a"


# --- editing ------------------------------------------------------------------------------------


def test_editing_changes_what_was_named_and_nothing_else():
    flow = draft("a b")
    edit_action(flow, "b", config={"message": "new"}, note="why", result_key="told")
    first, second = draft_document(flow)["actions"]
    assert first == rows_of("a")[0]
    expected = {"config": {"message": "new"}, "note": "why", "result_key": "told"}
    assert second == {**rows_of("b")[0], **expected}


def test_a_new_config_is_written_in_the_version_the_type_has_today():
    flow = draft("a")
    FlowAction.objects.filter(uid="a").update(schema_version=7)
    assert edit_action(flow, "a", label="x").schema_version == 7
    assert edit_action(flow, "a", config={"message": "x"}).schema_version == 1


@pytest.mark.parametrize("field", ["path", "depth", "flow", "uid", "action", "numchild", "typo"])
def test_what_is_not_for_editing_cannot_be_edited(field: str):
    flow = draft("a")
    change: dict[str, Any] = {field: "x"}
    with pytest.raises(TypeError, match=field):
        edit_action(flow, "a", **change)
    assert flow.draft_revision == Flow.objects.get(pk=flow.pk).draft_revision == 2


def test_a_row_is_switched_off_and_on():
    flow = draft("a b(c)")
    set_enabled(flow, "b", False)
    assert [item["enabled"] for item in draft_document(flow)["actions"]] == [True, False]
    set_enabled(flow, "b", True)
    assert draft_document(flow)["actions"] == rows_of("a b(c)")


# --- moving -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uid", "target", "position", "found"),
    [
        ("a", "e", "after", "b(c d()) e a"),
        ("e", "a", "before", "e a b(c d())"),
        ("e", "a", "after", "a e b(c d())"),
        ("a", "b", "first", "b(a c d()) e"),
        ("a", "b", "last", "b(c d() a) e"),
        ("a", "d", "last", "b(c d(a)) e"),
        ("c", "a", "after", "a c b(d()) e"),
        ("c", "", "first", "c a b(d()) e"),
        ("c", "", "last", "a b(d()) e c"),
        ("d", "c", "before", "a b(d() c) e"),
        ("b", "e", "after", "a e b(c d())"),
        ("b", "", "first", "b(c d()) a e"),
        ("e", "", "last", "a b(c d()) e"),
        ("a", "", "first", "a b(c d()) e"),
        ("c", "b", "first", "a b(c d()) e"),
        ("c", "d", "first", "a b(d(c)) e"),
        ("a", "b", "before", "a b(c d()) e"),
    ],
)
def test_a_row_moves_with_everything_inside_it(
    uid: str, target: str, position: Position, found: str
):
    flow = draft("a b(c d()) e")
    moved = move_action(flow, uid, target=target, position=position)
    assert (outline(flow), moved.uid) == (found, uid)


def test_a_block_cannot_be_moved_into_itself():
    flow = draft("a b(c d(e))")
    for target, position in (("b", "last"), ("b", "after"), ("d", "first"), ("e", "before")):
        assert "into itself" in refusal(move_action, flow, "b", target=target, position=position)


def test_rows_cannot_be_moved_into_other_flows_or_into_rows_that_take_none():
    draft("theirs(t)", "Other")
    flow = draft("a b")
    assert "has no row" in refusal(move_action, flow, "a", target="theirs", position="last")
    assert "has no row" in refusal(move_action, flow, "theirs", target="a", position="after")
    assert "takes no rows" in refusal(move_action, flow, "a", target="b", position="last")
    assert "beside the flow" in refusal(move_action, flow, "a", position="after")


def test_a_block_whose_type_is_gone_keeps_its_rows_and_takes_more():
    flow = draft("a b(c)")
    FlowAction.objects.filter(uid="b").update(action="shop.each_item")
    move_action(flow, "a", target="b", position="last")
    assert [item["uid"] for item in draft_document(flow)["actions"][0]["children"]] == ["c", "a"]


@pytest.mark.parametrize(
    ("uid", "step", "found"),
    [
        ("e", "up", "a e b(c d())"),
        ("d", "up", "a b(d() c) e"),
        ("a", "down", "b(c d()) a e"),
        ("c", "down", "a b(d() c) e"),
        ("e", "in", "a b(c d() e)"),
        ("c", "out", "a b(d()) c e"),
        ("d", "out", "a b(c) d() e"),
        ("a", "up", "The row is the first of its block."),
        ("c", "up", "The row is the first of its block."),
        ("e", "down", "The row is the last of its block."),
        ("d", "down", "The row is the last of its block."),
        ("a", "in", "There is no block right before this row that it could move into."),
        ("b", "in", "There is no block right before this row that it could move into."),
        ("a", "out", "The row is not inside a block."),
    ],
)
def test_a_row_moves_by_one_step_or_says_why_not(
    uid: str, step: Literal["up", "down", "in", "out"], found: str
):
    flow = draft("a b(c d()) e")
    if found.endswith("."):
        assert refusal(step_action, flow, uid, step) == found
    else:
        assert step_action(flow, uid, step).uid == uid
        assert outline(flow) == found


# --- depth --------------------------------------------------------------------------------------

# The hidden root takes the first level.
DEEPEST = MAX_DEPTH - 1


def nested(levels: int) -> list[JSONObject]:
    return rows_of("(".join(f"g{level}" for level in range(levels)) + "()" + ")" * (levels - 1))


def test_blocks_nest_as_deep_as_the_tree_allows_and_no_deeper():
    flow = create_flow("Deep")
    replace_draft(flow, make_document(*nested(DEEPEST)))
    assert FlowAction.objects.filter(flow=flow).latest("depth").depth == MAX_DEPTH
    deepest = f"g{DEEPEST - 1}"
    assert "levels deep" in refusal(add_action, flow, "log", target=deepest, position="last")
    add_action(flow, "log", target=deepest, position="after")
    assert "levels deep" in refusal(replace_draft, flow, make_document(*nested(DEEPEST + 1)))


def test_a_block_that_holds_blocks_is_refused_where_they_would_not_fit():
    flow = create_flow("Deep")
    replace_draft(flow, make_document(*nested(DEEPEST - 1), *rows_of("a(b(c))")))
    deep = f"g{DEEPEST - 3}"
    assert "levels deep" in refusal(move_action, flow, "a", target=deep, position="last")
    move_action(flow, "b", target=deep, position="last")
    assert FlowAction.objects.get(flow=flow, uid="c").depth == MAX_DEPTH


# --- duplicating and deleting -------------------------------------------------------------------

RICH = [
    If("n > 1", [UpdateState(n={"deep": ["n"]}), For("n", [Log("x")], var_name="i")], uid="if"),
    Else([row("delay", duration={"$expr": "length"}, enabled=False, note="later")], uid="else"),
    row("send_email", uid="mail", to=["a@example.com"], subject="s", text="t", retry={"wait": 3}),
]


def without_uids(item: JSONObject) -> JSONObject:
    return {**item, "uid": "", "children": [without_uids(child) for child in item["children"]]}


def uids(rows: list[JSONObject]) -> list[str]:
    return [uid for item in rows for uid in (item["uid"], *uids(item["children"]))]


@pytest.mark.parametrize("uid", ["if", "else", "mail"])
def test_a_copy_has_all_that_the_row_had_but_the_ids(uid: str):
    flow = create_flow("Rich")
    replace_draft(flow, make_document(*RICH))
    copy = duplicate_action(flow, uid)
    rows = draft_document(flow)["actions"]
    place = [item["uid"] for item in rows].index(uid)
    assert rows[place + 1]["uid"] == copy.uid
    assert without_uids(rows[place + 1]) == without_uids(rows[place])
    assert len(set(uids(rows))) == len(uids(rows))
    del rows[place + 1]
    assert rows == make_document(*RICH)["actions"]


def test_a_copy_stands_right_after_its_row_also_inside_a_block():
    flow = draft("a b(c(d) e) f")
    copy = duplicate_action(flow, "c")
    edit_action(flow, copy.uid, label="copy")
    assert outline(flow) == "a b(c(d) copy(d) e) f"


def test_deleting_a_row_deletes_everything_inside_it_and_nothing_else():
    flow = draft("a b(c d(e)) f")
    delete_action(flow, "d")
    assert outline(flow) == "a b(c) f"
    delete_action(flow, "b")
    assert outline(flow) == "a f"
    assert "(any more)" in refusal(delete_action, flow, "b")


def test_a_place_that_became_free_is_used_again():
    flow = draft("a(b)")
    delete_action(flow, "b")
    add_action(flow, "log", target="a", position="first", label="c")
    assert outline(flow) == "a(c)"


def paths(flow: Flow) -> dict[str, str]:
    rows = FlowAction.objects.filter(flow=flow, depth__gt=1)
    return dict(rows.values_list("uid", "path"))


def test_rows_that_are_not_touched_stay_where_they_are_in_the_table():
    flow = draft("a b(c d) e f(g)")
    before = paths(flow)
    add_action(flow, "log", uid="first", position="first")
    add_action(flow, "log", uid="between", target="c", position="after")
    move_action(flow, "e", target="a", position="before")
    delete_action(flow, "between")
    after = paths(flow)
    assert {uid for uid in before if after[uid] != before[uid]} == {"e"}


def test_a_place_where_many_rows_are_put_never_fills_up():
    flow = draft("a z")
    for number in range(40):
        add_action(flow, "log", uid=f"n{number}", target="a", position="after")
    found = [item["uid"] for item in draft_document(flow)["actions"]]
    assert found == ["a", *(f"n{number}" for number in reversed(range(40))), "z"]


# --- revisions ----------------------------------------------------------------------------------

VERBS: dict[str, Callable[..., Any]] = {
    "add": lambda flow, revision: add_action(flow, "log", revision=revision),
    "edit": lambda flow, revision: edit_action(flow, "a", note="x", revision=revision),
    "enable": lambda flow, revision: set_enabled(flow, "a", False, revision=revision),
    "move": lambda flow, revision: move_action(
        flow, "a", target="b", position="last", revision=revision
    ),
    "step": lambda flow, revision: step_action(flow, "a", "down", revision=revision),
    "duplicate": lambda flow, revision: duplicate_action(flow, "b", revision=revision),
    "delete": lambda flow, revision: delete_action(flow, "b", revision=revision),
    "replace": lambda flow, revision: replace_draft(
        flow, make_document(Log("x")), revision=revision
    ),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_edit_counts_a_revision(verb: str):
    flow = draft("a b(c)")
    revision = flow.draft_revision
    VERBS[verb](flow, revision)
    assert flow.draft_revision == Flow.objects.get(pk=flow.pk).draft_revision == revision + 1


@pytest.mark.parametrize("verb", VERBS)
def test_an_edit_from_a_stale_page_is_refused_and_writes_nothing(verb: str):
    flow = draft("a b(c)")
    seen = flow.draft_revision
    edit_action(flow, "c", note="by somebody else")
    before = draft_document(flow)
    with pytest.raises(StaleDraft, match="changed by somebody else"):
        VERBS[verb](flow, seen)
    assert draft_document(flow) == before
    assert flow.draft_revision == seen + 1


@pytest.mark.parametrize("verb", VERBS)
def test_code_that_names_no_revision_edits_what_is_there(verb: str):
    flow = draft("a b(c)")
    stale = Flow.objects.get(pk=flow.pk)
    edit_action(flow, "c", note="x")
    VERBS[verb](stale, None)
    assert stale.draft_revision == Flow.objects.get(pk=flow.pk).draft_revision


# --- documents ----------------------------------------------------------------------------------


def test_a_draft_is_read_with_the_same_few_queries_whatever_its_size(
    django_assert_num_queries: Any,
):
    user = get_user_model().objects.create(username="dispatcher")
    flow = create_flow("Large", identity=user)
    replace_draft(flow, make_document(*rows_of("a(b(c) d) e"), identity="dispatcher"))
    flow = Flow.objects.get(pk=flow.pk)
    with django_assert_num_queries(2):
        draft_document(flow)


def test_the_document_holds_what_is_the_flows_own():
    get_user_model().objects.create(username="dispatcher")
    flow = create_flow("Late flight")
    document = make_document(
        *RICH,
        content_type="testapp.parcel",
        condition="object.weight > 3",
        state_schema={"type": "object"},
        identity="dispatcher",
    )
    replace_draft(flow, document)
    assert draft_document(flow) == document
    assert draft_document(Flow.objects.get(pk=flow.pk)) == document
    assert flow.content_type == ContentType.objects.get_for_model(Parcel)
    replace_draft(flow, make_document())
    assert draft_document(Flow.objects.get(pk=flow.pk)) == make_document()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"content_type": "shop.gone"}, "no object type 'shop.gone'"),
        ({"content_type": "parcel"}, "no object type 'parcel'"),
        ({"identity": "nobody"}, "no user 'nobody'"),
    ],
)
def test_a_document_from_elsewhere_that_names_what_is_not_here_is_refused(
    fields: dict[str, str], message: str
):
    flow = draft("a b(c)")
    assert message in refusal(replace_draft, flow, make_document(Log("x"), **fields))  # type: ignore[arg-type]


def test_object_types_are_written_as_people_write_them_too():
    flow = create_flow("Late flight")
    replace_draft(flow, make_document(content_type="testapp.Parcel"))
    assert draft_document(flow)["content_type"] == "testapp.parcel"


def test_freezing_writes_defaults_and_todays_version_into_every_config():
    flow = create_flow("Late flight")
    replace_draft(flow, make_document(Group([Log("x")]), row("shop.gone", a=1)))
    group, gone = frozen(draft_document(flow))["actions"]
    assert group["config"] == {"title": ""}
    assert group["children"][0]["config"] == {"message": "x", "level": "info"}
    assert gone["config"] == {"a": 1}


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=9)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
CONFIGS = st.dictionaries(TEXTS, VALUES, max_size=3)
ROWS = st.recursive(
    st.lists(
        st.builds(
            lambda config, **fields: {**row(**fields), "config": config},
            CONFIGS,
            action=st.sampled_from(["log", "if", "shop.gone"]),
            label=TEXTS,
            note=TEXTS,
            enabled=st.booleans(),
            retry=st.none() | CONFIGS,
            on_error=st.none() | CONFIGS,
            result_key=TEXTS,
        ),
        max_size=3,
    ),
    lambda inside: st.lists(inside, max_size=3).map(
        lambda blocks: [row("group", *children) for children in blocks]
    ),
    max_leaves=6,
)
IN_DATABASE = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])


@IN_DATABASE
@given(ROWS)
def test_document_to_draft_to_document_is_equal(rows: list[JSONObject]):
    document = make_document(*rows)
    with transaction.atomic():
        flow = create_flow("Round trip")
        replace_draft(flow, make_document(*rows_of("old(o)")))
        replace_draft(flow, document)
        assert draft_document(flow) == document
        assert_healthy()
        transaction.set_rollback(True)


# --- copies of whole flows ----------------------------------------------------------------------


def test_a_copied_flow_has_draft_and_settings_but_is_off_and_without_history():
    flow = create_flow("Rich", max_concurrent=3, when_full="queue", description="why")
    replace_draft(flow, make_document(*RICH, content_type="testapp.parcel", condition="true"))
    publish(flow)
    copy = duplicate_flow(flow, "Poor")
    assert draft_document(copy) == draft_document(flow)
    assert (copy.slug, copy.max_concurrent, copy.when_full) == ("poor", 3, "queue")
    assert (copy.live_version, copy.active_at, copy.versions.count()) == (None, None, 0)
    assert (copy.draft_revision, copy.description) == (1, "why")
    edit_action(copy, "mail", note="only here")
    assert draft_document(flow)["actions"] == make_document(*RICH)["actions"]


def test_a_copy_of_a_copy_gets_names_of_its_own():
    flow = draft("a")
    names = [duplicate_flow(flow, "Late flight").slug for _number in range(2)]
    assert names == ["late-flight-2", "late-flight-3"]


# --- any edit after any other -------------------------------------------------------------------


class Paper:
    """The same draft on paper: lists in lists, edited as a person would move slips of paper."""

    def __init__(self, text: str) -> None:
        self.rows = rows_of(text)

    def find(self, uid: str) -> tuple[list[JSONObject], int]:
        todo = [self.rows]
        while todo:
            block = todo.pop()
            for place, item in enumerate(block):
                if item["uid"] == uid:
                    return block, place
                todo.append(item["children"])
        raise LookupError(uid)

    def put(self, item: JSONObject, target: str, position: str) -> None:
        if position in ("first", "last"):
            block = self.rows
            if target:
                siblings, place = self.find(target)
                block = siblings[place]["children"]
            block.insert(0 if position == "first" else len(block), item)
        else:
            siblings, place = self.find(target)
            siblings.insert(place + (position == "after"), item)

    def take(self, uid: str) -> JSONObject:
        siblings, place = self.find(uid)
        return siblings.pop(place)


def edit_at_random(flow: Flow, paper: Paper, luck: random.Random, number: int) -> None:
    names = uids(paper.rows)
    uid, target = luck.choice(names), luck.choice([*names, ""])
    position: Position = luck.choice(["first", "last", "before", "after"])
    match luck.choice(["add", "move", "move", "move", "duplicate", "delete"]):
        case "add":
            kind, name = luck.choice(["log", "group"]), f"n{number}"
            add_action(flow, kind, target=target, position=position, uid=name, label=name)
            paper.put(row(kind, uid=name, label=name), target, position)
        case "move":
            move_action(flow, uid, target=target, position=position)
            if uid != target:
                paper.put(paper.take(uid), target, position)
        case "duplicate" if len(names) < 30:
            copy = duplicate_action(flow, uid)
            block, place = paper.find(uid)
            [told] = [
                item
                for item in each_row(draft_document(flow)["actions"])
                if item["uid"] == copy.uid
            ]
            block.insert(place + 1, told)
        case "delete":
            block, place = paper.find(uid)
            if len(names) - len(uids([block[place]])) > 2:
                delete_action(flow, uid)
                paper.take(uid)


def each_row(rows: list[JSONObject]) -> Iterator[JSONObject]:
    for item in rows:
        yield item
        yield from each_row(item["children"])


@IN_DATABASE
@given(st.integers(0, 2**32))
def test_after_any_edits_the_draft_is_what_it_would_be_on_paper(seed: int):
    luck = random.Random(seed)
    with transaction.atomic():
        pairs = []
        for _flow in range(2):
            paper = Paper("a b(c d(e f)) g() h")
            pairs.append((draft("a b(c d(e f)) g() h"), paper))
        for number in range(12):
            flow, paper = luck.choice(pairs)
            try:
                edit_at_random(flow, paper, luck, number)
            except DraftRefused:
                continue
            assert outline(flow) == outline_of(paper.rows)
            assert uids(draft_document(flow)["actions"]) == uids(paper.rows)
        assert_healthy()
        transaction.set_rollback(True)
