"""Rows that become a flow of their own: they do what they did, or it is refused with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.test import Client

from demo.models import Airline
from flowcontrol.documents import JSONObject, make_document, row, walk
from flowcontrol.drafting import create_flow, replace_draft
from flowcontrol.drafts import draft_document
from flowcontrol.engine import start_flowrun
from flowcontrol.exceptions import DraftRefused
from flowcontrol.extracting import extract_to_flow, plan_extraction
from flowcontrol.models import Flow, FlowRun
from flowcontrol.publishing import publish
from flowcontrol.shaping import unwrap, wrap
from flowcontrol.testing import (
    Else,
    ElseIf,
    For,
    If,
    Log,
    UpdateState,
    While,
    run_until_idle,
    trace_of,
)
from flowcontrol.undoing import redo, undo
from tests.admin_pages import VIEW, client_of, revision_of, url
from tests.outlines import assert_healthy, draft

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def healthy_tree(db: None) -> Iterator[None]:
    yield
    assert_healthy()


def flow_of(*rows: JSONObject, **settings: Any) -> Flow:
    flow = create_flow("Long delay")
    replace_draft(flow, make_document(*rows, **settings))
    return flow


def sets(uid: str, **expressions: str) -> JSONObject:
    return row("update_state", state=expressions, evaluate=True, uid=uid)


def refusal(flow: Flow, *uids: str) -> str:
    """What is said; both by the plan that a page shows and when it would be done."""
    before = (draft_document(flow), Flow.objects.count())
    with pytest.raises(DraftRefused) as planned:
        plan_extraction(flow, uids)
    with pytest.raises(DraftRefused) as caught, transaction.atomic():
        extract_to_flow(flow, uids, "New")
    assert (draft_document(flow), Flow.objects.count()) == before
    assert str(planned.value) == str(caught.value)
    return str(caught.value)


def start_row(flow: Flow) -> JSONObject:
    """The row that starts the flow which was made."""
    [found] = [p.row for p in walk(draft_document(flow)) if p.row["action"] == "start_flow"]
    return found


def finished(flow: Flow, **state: Any) -> FlowRun:
    """A run of the flow, through, with whatever it starts published and on."""
    for each in Flow.objects.all():
        publish(each)
        Flow.objects.filter(pk=each.pk).update(active_at="2000-01-01T00:00Z")
    run = start_flowrun(Flow.objects.get(pk=flow.pk), state=state)
    run_until_idle()
    run.refresh_from_db()
    return run


def does_the_same(rows: Sequence[JSONObject], uids: Sequence[str], **state: Any) -> JSONObject:
    """Run the rows as they are, and with some extracted: the state comes out alike."""
    before = finished(flow_of(*rows), **state)
    Flow.objects.update(active_at=None)
    flow = flow_of(*rows)
    extract_to_flow(flow, uids, "Of its own")
    after = finished(flow, **state)
    assert (before.outcome, after.outcome) == ("complete", "complete"), trace_of(after)
    assert after.state == before.state
    result: JSONObject = after.state
    return result


# --- what is made -------------------------------------------------------------------------------


def test_a_selection_becomes_a_flow_of_its_own_with_a_row_that_starts_it():
    flow = flow_of(
        Log("a", uid="a"),
        Log("b", uid="b"),
        UpdateState(n="n|add:1"),
        Log("c", uid="c"),
        content_type="testapp.parcel",
        condition="true",
        state_schema={"type": "object", "properties": {"n": {"type": "integer"}}},
    )
    before = draft_document(flow)
    made = extract_to_flow(flow, ["b", "3"], "Count")
    first, start, last = draft_document(flow)["actions"]
    assert (first["uid"], start["action"], last["uid"]) == ("a", "start_flow", "c")
    assert start["config"] == {
        "flow": "count",
        "pass_object": True,
        "pass_state": "all",
        "wait": True,
        "take_keys": ["n"],
    }
    assert draft_document(made) == {**before, "condition": "", "actions": before["actions"][1:3]}
    assert (made.live_version, made.active_at) == (None, None)


def test_extracted_flows_get_short_names_of_their_own():
    flow = draft("a b")
    made = [extract_to_flow(flow, [uid], "Times").slug for uid in "ab"]
    assert made == ["times", "times-2"]


def test_the_name_on_offer_is_the_label_or_tells_of_flow_and_row_and_is_free():
    flow = flow_of(Log("a", uid="a", label="Tell the desk"), Log("b", uid="b"))
    assert plan_extraction(flow, ["a"]).name == "Tell the desk"
    assert plan_extraction(flow, ["b"]).name == "Long delay: Log “b”"
    assert plan_extraction(flow, ["a", "b"]).name == "Long delay: Tell the desk"
    create_flow("Tell the desk")
    create_flow("Tell the desk 2")
    assert plan_extraction(flow, ["a"]).name == "Tell the desk 3"


# --- nested blocks, chains, several levels ------------------------------------------------------

NESTED = [
    sets("first", n="n|add:1"),
    For(
        3,
        [
            sets("times", n="n|multiply:2"),
            If("n > 4", [sets("big", big="n")], uid="if"),
            ElseIf("n > 3", [UpdateState(mid="n")], uid="elif"),
            Else([UpdateState(small="n")], uid="else"),
            sets("sum", total="total|default:0|add:i"),
        ],
        uid="for",
        var_name="i",
    ),
    sets("last", done="true"),
]


@pytest.mark.parametrize(
    "uids",
    [
        ["first"],
        ["for"],
        ["first", "for", "last"],
        ["if"],
        ["else"],
        ["times", "if"],
        ["big"],
        ["sum"],
        ["times", "if", "elif", "else", "sum"],
        ["big", "if"],  # a block and what is in it: the block
        ["for", "sum", "big"],
    ],
)
@pytest.mark.parametrize("start", [0, 1, 5])
def test_what_was_extracted_still_does_the_same(uids: list[str], start: int):
    does_the_same(NESTED, uids, n=start)


def test_an_if_takes_its_else_along_and_an_else_its_if():
    for uid in ("if", "elif", "else"):
        flow = flow_of(*NESTED)
        made = extract_to_flow(flow, [uid], "Sizes")
        assert [item["uid"] for item in draft_document(made)["actions"]] == ["if", "elif", "else"]
        assert start_row(flow)["config"]["take_keys"] == ["big", "mid", "small"]
        Flow.objects.filter(pk=flow.pk).update(slug=f"before-{uid}")


def test_rows_of_several_blocks_are_refused_whole_or_not_at_all():
    flow = flow_of(*NESTED)
    assert "not in the same block" in refusal(flow, "first", "sum")
    assert "not in the same block" in refusal(flow, "big", "sum")
    assert "stands between" in refusal(flow, "first", "last")
    assert "stands between" in refusal(flow, "times", "sum")


def test_a_block_with_everything_in_it_goes_along():
    flow = flow_of(If("n > 1", [While("n < 9", [UpdateState(n="n|add:1")], uid="while")], uid="if"))
    made = extract_to_flow(flow, ["if"], "Count")
    told = [placed.row["action"] for placed in walk(draft_document(made))]
    assert told == ["if", "while", "update_state"]
    assert [item["action"] for item in draft_document(flow)["actions"]] == ["start_flow"]


# --- names --------------------------------------------------------------------------------------


def test_what_the_rows_read_of_a_loop_around_them_is_handed_over():
    flow = flow_of(*NESTED)
    plan = plan_extraction(flow, ["sum"])
    assert (plan.hands_over, plan.takes_over) == (["i"], ["total"])
    extract_to_flow(flow, ["sum"], "Add up")
    config = start_row(flow)["config"]
    assert (config["state"], config["evaluate"]) == ({"i": "i"}, True)
    assert finished(flow, n=0).state["total"] == 0 + 1 + 2


def test_the_variables_of_a_loop_that_goes_along_are_nobodys_state():
    plan = plan_extraction(flow_of(*NESTED), ["for"])
    assert plan.hands_over == []
    assert plan.takes_over == ["big", "mid", "n", "small", "total"]


def test_items_of_a_list_are_handed_over():
    rows = [
        row(
            "for_each",
            sets("sum", total="total|default:0|add:item", at="index"),
            items="weights",
        )
    ]
    assert plan_extraction(flow_of(*rows), ["sum"]).hands_over == ["index", "item"]
    state = does_the_same(rows, ["sum"], weights=[4, 5])
    assert (state["total"], state["at"]) == (9, 1)


def test_the_error_that_is_handled_is_handed_over():
    flow = flow_of(
        row("try", row("fail", message="No seats"), uid="try"),
        row("on_error", sets("note", told="error.message"), uid="handler"),
    )
    extract_to_flow(flow, ["note"], "Note it")
    assert start_row(flow)["config"]["state"] == {"error": "error"}
    assert finished(flow).state["told"] == "No seats"


def test_what_fails_in_the_new_flow_is_handled_where_it_was_handled():
    flow = flow_of(
        row("try", row("fail", message="No seats", uid="fail"), uid="try"),
        row("on_error", UpdateState(handled="true"), uid="handler"),
    )
    extract_to_flow(flow, ["fail"], "Book")
    assert start_row(flow)["config"]["on_failure"] == "fail"
    run = finished(flow)
    assert (run.outcome, run.state["handled"]) == ("complete", True)


def test_results_and_saved_errors_are_taken_over():
    flow = flow_of(
        row("call_webhook", url="https://example.com", result_key="answer", uid="call"),
        row("log", message="x", on_error={"then": "continue", "save_as": "problem"}, uid="log"),
    )
    assert plan_extraction(flow, ["call", "log"]).takes_over == ["answer", "problem"]


def test_an_object_that_a_loop_has_come_to_cannot_be_handed_over_and_the_way_out_is_told():
    flow = flow_of(
        row(
            "for_each",
            row("log", message="{{ item.passengers }} {{ index }}", uid="log"),
            row("log", message="{{ index }}", uid="other"),
            items="object.rebookings",
        ),
        content_type="demo.flight",
    )
    told = refusal(flow, "log")
    assert "“item” is an object of its own" in told
    assert "Start flow for each item" in told
    assert plan_extraction(flow, ["other"]).hands_over == ["index"]


# --- what means something only where it stands --------------------------------------------------


@pytest.mark.parametrize("action", ["leave", "break"])
def test_a_way_out_of_a_block_that_stays_behind_is_refused(action: str):
    flow = flow_of(
        While("n < 9", [row(action, uid="out"), If("n", [row(action, uid="in")], uid="if")]),
        row(action, uid="top"),
    )
    for uid in ("out", "in", "top"):
        assert "leads out of the block" in refusal(flow, uid)
    assert plan_extraction(flow, ["if"]).rows  # out of the If, which goes along


@pytest.mark.parametrize("action", ["leave", "break"])
def test_a_way_out_of_a_loop_needs_its_loop(action: str):
    inner = If("n > 3", [row(action, target="loop", uid="out")], uid="if")
    flow = flow_of(While("n < 9", [inner, UpdateState(n="n|add:1")], uid="while"))
    assert "leads out of the block" in refusal(flow, "if")
    assert plan_extraction(flow, ["while"]).rows


def test_a_row_that_leaves_its_block_when_it_fails_needs_its_block():
    log = row("log", message="x", on_error={"then": "leave"}, uid="log")
    flow = flow_of(row("group", log, uid="group"))
    assert "leads out of the block" in refusal(flow, "log")
    assert plan_extraction(flow, ["group"]).rows


def test_a_stop_would_not_stop_the_flow_any_more():
    flow = flow_of(If("n > 1", [row("stop", uid="stop")], uid="if"))
    assert "would stop the new flow alone" in refusal(flow, "if")


def test_what_the_trigger_brought_is_not_there():
    flow = flow_of(
        row("log", message="{{ trigger.delay_before }}", uid="log"),
        row(
            "wait_for_trigger",
            trigger="demo.flight_changed",
            condition="trigger.delay > 5",
            uid="wait",
        ),
    )
    assert "reads what the trigger brought" in refusal(flow, "log")
    assert plan_extraction(flow, ["wait"]).rows  # it speaks of the trigger that it waits for


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (row("set_state", state={"n": 1}), "stays here"),
        (row("remove_keys", keys=["n"]), "stays here"),
        (row("update_state", state={"$expr": "found"}), "is not taken over"),
        (
            row("create_object", model="demo.notice", fields={}, becomes_object=True),
            "stays about the object",
        ),
    ],
)
def test_what_will_be_different_is_told_beforehand(item: JSONObject, told: str):
    flow = flow_of({**item, "uid": "x"})
    [difference] = plan_extraction(flow, ["x"]).differences
    assert told in difference
    assert plan_extraction(flow_of(sets("x", n="1")), ["x"]).differences == []


# --- afterwards ---------------------------------------------------------------------------------


def test_undoing_brings_the_rows_back_and_leaves_the_new_flow():
    flow = flow_of(*NESTED)
    before = draft_document(flow)
    made = extract_to_flow(flow, ["times", "if"], "Sizes")
    after = draft_document(flow)
    undo(flow)
    assert draft_document(flow) == before
    assert [item["uid"] for item in draft_document(made)["actions"]] == [
        *("times", "if", "elif", "else")
    ]
    redo(flow)
    assert draft_document(flow) == after


@pytest.mark.parametrize("uid", ["for", "while"])
def test_a_block_is_taken_away_from_nested_blocks_and_chains_and_put_back(uid: str):
    rows = [
        For(3, [While("n < 9", [If("n", [Log("x")]), Else([Log("y")])], uid="while")], uid="for")
    ]
    flow = flow_of(*rows)
    before = draft_document(flow)
    inside = unwrap(flow, uid)
    after = draft_document(flow)
    told = [placed.row["action"] for placed in walk(after)]
    expected = {"for": ["while", "if", "log", "else", "log"], "while": ["for", "if", "log"]}
    assert told[: len(expected[uid])] == expected[uid]
    assert len(inside) == {"for": 1, "while": 2}[uid]
    undo(flow)
    assert draft_document(flow) == before
    redo(flow)
    assert draft_document(flow) == after


def test_a_block_inside_a_chain_is_taken_away_and_the_chain_stays_whole():
    flow = flow_of(If("a", [row("group", Log("x", uid="x"), uid="g")], uid="if"), Else([Log("y")]))
    unwrap(flow, "g")
    first, second = draft_document(flow)["actions"]
    assert ([c["uid"] for c in first["children"]], second["action"]) == (["x"], "else")


def test_put_around_and_taken_away_again_is_as_before_and_each_is_undone():
    flow = flow_of(*NESTED)
    before = draft_document(flow)
    around = wrap(flow, ["else", "sum"], "group")
    wrapped = draft_document(flow)
    unwrap(flow, around.uid)
    assert draft_document(flow) == before
    undo(flow)
    assert draft_document(flow) == wrapped
    undo(flow)
    assert draft_document(flow) == before


# --- the page -----------------------------------------------------------------------------------

MAY = (*VIEW, "change_flow", "add_flow")


@pytest.fixture
def client() -> Client:
    return client_of(*MAY)


def post(client: Client, flow: Flow, **data: Any) -> Any:
    return client.post(
        url("flow_extract_rows", flow.pk), {"revision": revision_of(flow), "row": ["sum"], **data}
    )


def test_a_name_is_asked_for_before_anything_is_done(client: Client):
    flow = flow_of(*NESTED)
    for answer in (
        post(client, flow),
        client.get(url("flow_extract_rows", flow.pk), {"row": "sum"}),
    ):
        page = answer.content.decode()
        assert answer.status_code == 200
        assert 'value="Long delay: Set total = total|default:0|add:i"' in page
        assert "a copy of the state, and i." in page
        assert "is taken over: total." in page
    assert Flow.objects.count() == 1
    assert post(client, flow, name="  ").status_code == 200
    assert Flow.objects.count() == 1


def test_with_a_name_it_is_done_and_on_record(client: Client):
    flow = flow_of(*NESTED)
    answer = post(client, flow, name="Add up")
    made = Flow.objects.get(name="Add up")
    assert answer["Location"] == f"{url('flow_actions', flow.pk)}#row-{start_row(flow)['uid']}"
    history = client.get(url("flow_history", made.pk)).content.decode()
    assert "Made of rows of “Long delay”" in history


def test_a_page_that_is_there_gets_a_way_to_the_new_flow(client: Client):
    flow = flow_of(*NESTED)
    data = {"revision": revision_of(flow), "row": ["sum"], "name": "Add <up>"}
    answer = client.post(
        url("flow_extract_rows", flow.pk), data, headers={"HX-Request": "true"}
    ).content.decode()
    made = Flow.objects.get(name="Add <up>")
    assert f'<a href="{url("flow_actions", made.pk)}">Open “Add &lt;up&gt;”</a>' in answer


def test_what_cannot_be_done_is_said_before_a_name_is_asked_for(client: Client):
    flow = flow_of(row("stop", uid="sum"))
    answer = client.get(
        url("flow_extract_rows", flow.pk), {"row": "sum"}, headers={"HX-Request": "true"}
    )
    assert answer.status_code == 409
    assert "would stop the new flow alone" in answer.content.decode()


def test_a_stale_page_makes_no_flow(client: Client):
    flow = flow_of(*NESTED)
    seen = revision_of(flow)
    unwrap(flow, "for")
    answer = post(client, flow, name="Add up", revision=seen)
    assert answer.status_code == 302
    assert not Flow.objects.filter(name="Add up").exists()


def test_it_takes_the_right_to_add_flows_too():
    flow = flow_of(*NESTED)
    client = client_of(*VIEW, "change_flow", name="kim")
    assert client.get(url("flow_extract_rows", flow.pk), {"row": "sum"}).status_code == 403
    assert post(client, flow, name="Add up").status_code == 403
    assert Flow.objects.count() == 1


def test_the_content_type_of_the_new_flow_is_that_of_the_old():
    flow = flow_of(*NESTED, content_type="demo.airline")
    made = extract_to_flow(Flow.objects.get(pk=flow.pk), ["last"], "End")
    assert made.content_type == ContentType.objects.get_for_model(Airline)
