"""The action list in the admin: each verb, the stale page, findings, secrets, queries."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flowcontrol import drafting
from flowcontrol.base import BaseAction
from flowcontrol.documents import make_document, row
from flowcontrol.engine import start_flowrun
from flowcontrol.models import Flow, FlowAction
from flowcontrol.registry import actions
from flowcontrol.testing import (
    Delay,
    Else,
    If,
    Log,
    StartFlow,
    make_flow,
    run_until_idle,
    travel_to,
)
from tests.admin_pages import (
    VIEW,
    BuilderPage,
    client_of,
    draft_rows,
    person,
    revision_of,
    uid_of,
    url,
)

pytestmark = pytest.mark.django_db

CHANGE = (*VIEW, "change_flow")


@pytest.fixture
def client() -> Client:
    return client_of(*CHANGE)


@pytest.fixture
def flow() -> Flow:
    """An If with a row inside, its Else, and two rows after them."""
    flow = drafting.create_flow("Long delay")
    drafting.replace_draft(
        flow,
        make_document(
            If("object.delay > 60", [Log("late", label="tell")]),
            Else([]),
            Log("one", label="one"),
            Log("two", label="two"),
        ),
    )
    return flow


def post(
    client: Client, flow: Flow, page: str, *names: str, headers: Any = None, **data: Any
) -> Any:
    """Post to a page about rows, or to the form of one."""
    data.setdefault("revision", revision_of(flow))
    uids = [uid_of(flow, name) for name in names]
    if page == "row":
        return client.post(url("flow_row", flow.pk, *uids), data, headers=headers)
    return client.post(url(f"flow_{page}", flow.pk), {**data, "row": uids}, headers=headers)


PART = {"HX-Request": "true"}
"""What a page that is there already sends along."""


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def messages_of(answer: Any) -> list[str]:
    return [str(message) for message in answer.wsgi_request._messages]


# --- the list -----------------------------------------------------------------------------------


def test_rows_are_shown_as_sentences_with_their_label_in_front(client, flow):
    page = text(client, url("flow_actions", flow.pk))
    assert "If object.delay &gt; 60" in page
    assert "tell" in page
    assert "Log “late”" in page


def test_a_draft_without_rows_invites_to_add_one(client):
    flow = drafting.create_flow("New")
    page = text(client, url("flow_actions", flow.pk))
    assert "No rows yet." in page
    assert "Add the first one." in page
    reader = client_of(*VIEW, name="kim")
    assert "Add the first one." not in text(reader, url("flow_actions", flow.pk))


def test_findings_stand_at_their_rows_and_above_them(client, flow):
    drafting.add_action(flow, "else")
    page = text(client, url("flow_actions", flow.pk))
    assert page.count("has to come right after") == 2  # at the row, and in the list of problems
    assert "1 error" in page
    assert "There are no rows inside." in page


def test_an_action_that_is_not_installed_is_shown_as_such(client):
    flow = drafting.create_flow("Old")
    drafting.replace_draft(flow, make_document(row("shop.gone", Log("inside"), token="s3cret")))
    page = text(client, url("flow_actions", flow.pk))
    assert "Unknown action “shop.gone”" in page
    assert "Log “inside”" in page
    form = text(client, url("flow_row", flow.pk, uid_of(flow, "shop.gone")))
    assert "is not installed here" in form
    assert "s3cret" not in form
    answer = post(client, flow, "row", "shop.gone", label="old one", is_enabled="on")
    assert answer.status_code == 302
    kept = FlowAction.objects.get(flow=flow, action="shop.gone")
    assert (kept.label, kept.config) == ("old one", {"token": "s3cret"})


def test_a_sentence_that_breaks_does_not_break_the_page(client):
    class Broken(BaseAction):
        name = "test.broken"
        verbose_name = "Broken"
        effects = "none"

        def run(self, **asked: Any) -> None:
            """Never called."""

        def sentence(self, config: Any) -> str:
            raise KeyError("x")

    flow = drafting.create_flow("Broken")
    with actions.temporarily(Broken):
        drafting.add_action(flow, "test.broken")
        assert "Broken" in text(client, url("flow_actions", flow.pk))


def test_the_list_needs_as_many_queries_for_two_hundred_rows_as_for_two(client):
    other = make_flow(Log("x"), name="Other", slug="other")

    def queries(count: int) -> int:
        rows = [If("n > 1", [Log("x"), StartFlow(other.slug)]) for _row in range(count // 3)]
        flow = make_flow(*rows, name=f"Flow of {count}")
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert client.get(url("flow_actions", flow.pk)).status_code == 200
        return len(captured)

    client.get(url("flow_actions", other.pk))
    few, many = queries(3), queries(200)
    assert few == many
    assert many <= 20


# --- adding -------------------------------------------------------------------------------------


def test_the_picker_offers_an_else_only_after_an_if(client, flow):
    def offered(label: str, position: str) -> str:
        path = url("flow_add_row", flow.pk)
        return text(client, f"{path}?target={uid_of(flow, label)}&position={position}")

    after_if = offered("if", "after")
    assert "Else if" in after_if
    assert "Send email" not in after_if  # it would come between the If and its Else
    after_else = offered("else", "after")
    assert "Else if" not in after_else
    assert "Send email" in after_else
    assert "inside row 1" in offered("if", "last")


def test_the_picker_finds_by_words_without_a_script(client, flow):
    page = text(client, f"{url('flow_add_row', flow.pk)}?q=wait+weekday")
    assert "Delay" in page
    assert "Send email" not in page
    assert "Nothing like this" in text(client, f"{url('flow_add_row', flow.pk)}?q=teleport")


@pytest.mark.parametrize(
    ("label", "position", "expected"),
    [
        ("one", "before", ["if", ".tell", "else", "stop", "one", "two"]),
        ("one", "after", ["if", ".tell", "else", "one", "stop", "two"]),
        ("if", "first", ["if", ".stop", ".tell", "else", "one", "two"]),
        ("if", "last", ["if", ".tell", ".stop", "else", "one", "two"]),
        ("else", "last", ["if", ".tell", "else", ".stop", "one", "two"]),
    ],
)
def test_a_row_goes_where_it_was_asked_for(client, flow, label, position, expected):
    where = {"target": uid_of(flow, label), "position": position}
    data = {**where, "revision": revision_of(flow), "action": "stop"}
    answer = client.post(url("flow_add_row", flow.pk), data)
    assert answer["Location"] == url("flow_row", flow.pk, uid_of(flow, "stop"))
    assert draft_rows(flow) == expected


def test_the_form_of_a_new_row_does_not_scold(client, flow):
    data = {"target": "", "position": "last", "revision": revision_of(flow), "action": "while"}
    page = client.post(url("flow_add_row", flow.pk), data, headers=PART).content.decode()
    assert "errorlist" not in page
    assert 'name="config-condition"' in page
    assert "Condition: Required" in page  # the list of problems knows
    assert "errorlist" in text(client, url("flow_row", flow.pk, uid_of(flow, "while")))


def test_what_may_not_stand_there_is_not_added(client, flow):
    data = {"target": uid_of(flow, "if"), "position": "after", "revision": revision_of(flow)}
    for kind, status in (("log", 302), ("no.such_action", 404)):
        answer = client.post(url("flow_add_row", flow.pk), {**data, "action": kind})
        assert answer.status_code == status
    assert draft_rows(flow) == ["if", ".tell", "else", "one", "two"]


# --- editing ------------------------------------------------------------------------------------


def test_a_row_is_changed_by_its_form(client, flow):
    answer = post(
        client,
        flow,
        "row",
        "tell",
        **{
            "config-message": "later",
            "config-level": "warning",
            "label": "tell them",
            "note": "for the night shift",
            "is_enabled": "on",
            "result_key": "said",
            "retry": '{"attempts": 5}',
        },
    )
    assert answer.status_code == 302
    changed = FlowAction.objects.get(flow=flow, label="tell them")
    assert changed.config == {"message": "later", "level": "warning"}
    assert (changed.note, changed.result_key) == ("for the night shift", "said")
    assert (changed.retry, changed.on_error, changed.is_enabled) == ({"attempts": 5}, None, True)
    assert "Changed row 1.1: tell" in LogEntry.objects.latest("pk").get_change_message()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("config-message", "", "Required"),
        ("retry", "{", "Line 1"),
        ("retry", '{"attempts": 0}', "attempts"),
        ("retry", "[1]", "Put braces"),
        ("result_key", "2nd", "begin with a letter"),
        ("result_key", "object", "meaning of its own"),
        ("label", "x" * 201, "200"),
    ],
)
def test_a_mistake_is_told_at_its_field_and_nothing_is_saved(client, flow, field, value, message):
    before = revision_of(flow)
    data = {"config-message": "x", "is_enabled": "on", field: value}
    answer = post(client, flow, "row", "tell", **data)
    assert answer.status_code == 200
    assert message in answer.content.decode()
    assert revision_of(flow) == before


@pytest.mark.parametrize(
    ("kind", "posted", "config"),
    [
        ("log", {"config-message": ""}, {}),
        ("if", {"config-condition": "3 < a < 5"}, {"condition": "3 < a < 5"}),
        ("for", {"config-end": "many", "config-end__mode": "fixed"}, {"end": "many"}),
    ],
)
def test_a_mistake_can_be_kept_and_the_checker_tells_of_it(client, flow, kind, posted, config):
    uid = drafting.add_action(flow, kind).uid
    data = {**posted, "is_enabled": "on", "revision": revision_of(flow)}
    page = client.post(url("flow_row", flow.pk, uid), data).content.decode()
    assert 'name="anyway"' in page
    assert FlowAction.objects.get(uid=uid).config == {}
    answer = client.post(url("flow_row", flow.pk, uid), {**data, "anyway": "1"})
    assert answer.status_code == 302
    kept = FlowAction.objects.get(uid=uid).config
    assert {name: kept.get(name) for name in config} == config
    again = text(client, url("flow_row", flow.pk, uid))
    assert "errorlist" in again
    assert "fc-severity fc-error" in again


@pytest.mark.parametrize(
    "posted", [{"retry": "{", "config-message": "x"}, {"label": "x" * 201, "config-message": "x"}]
)
def test_what_cannot_be_stored_cannot_be_kept_either(client, flow, posted):
    before = revision_of(flow)
    answer = post(client, flow, "row", "tell", is_enabled="on", anyway="1", **posted)
    assert answer.status_code == 200
    assert 'name="anyway"' not in answer.content.decode()
    assert revision_of(flow) == before


def test_json_that_is_broken_cannot_be_kept(client, flow):
    uid = drafting.add_action(flow, "update_state", {"state": {"n": "1"}}).uid
    data = {"config-state": "{", "is_enabled": "on", "revision": revision_of(flow), "anyway": "1"}
    answer = client.post(url("flow_row", flow.pk, uid), data)
    assert 'name="anyway"' not in answer.content.decode()
    assert FlowAction.objects.get(uid=uid).config == {"state": {"n": "1"}}


def test_a_stale_form_keeps_what_was_entered_and_can_be_saved_again(client, flow):
    stale = revision_of(flow)
    page = text(client, url("flow_row", flow.pk, uid_of(flow, "tell")))
    seen = page.split('name="seen" value="')[1].split('"')[0]
    drafting.edit_action(flow, uid_of(flow, "one"), label="uno")
    data = {"config-message": "my words", "is_enabled": "on", "seen": seen, "label": "tell"}
    answer = post(client, flow, "row", "tell", revision=stale, **data)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "my words" in page
    assert "Nothing was saved" in page
    assert f'name="revision" value="{revision_of(flow)}"' in page
    assert post(client, flow, "row", "tell", **data).status_code == 302
    assert FlowAction.objects.get(flow=flow, label="tell").config["message"] == "my words"


def test_a_form_says_so_once_if_this_very_row_was_changed_since_it_was_opened(client, flow):
    uid = uid_of(flow, "tell")
    page = text(client, url("flow_row", flow.pk, uid))
    seen = page.split('name="seen" value="')[1].split('"')[0]
    drafting.edit_action(flow, uid, label="", config={"message": "theirs"})
    data = {"config-message": "mine", "is_enabled": "on", "revision": revision_of(flow)}
    page = client.post(url("flow_row", flow.pk, uid), {**data, "seen": seen}).content.decode()
    assert "changed this very row" in page
    assert "theirs" in page
    assert "mine" in page
    seen = page.split('name="seen" value="')[1].split('"')[0]
    assert client.post(url("flow_row", flow.pk, uid), {**data, "seen": seen}).status_code == 302
    assert FlowAction.objects.get(uid=uid).config["message"] == "mine"


def test_a_row_that_was_deleted_meanwhile_can_be_added_again(client, flow):
    uid, stale = uid_of(flow, "tell"), revision_of(flow)
    drafting.delete_action(flow, uid)
    data = {"action": "log", "config-message": "mine", "is_enabled": "on", "label": "back"}
    page = client.post(url("flow_row", flow.pk, uid), {**data, "revision": stale}).content.decode()
    assert "deleted this row" in page
    assert "mine" in page
    again = {**data, "revision": revision_of(flow), "typed": "1"}
    assert client.post(url("flow_add_row", flow.pk), again).status_code == 302
    assert draft_rows(flow)[-1] == "back"
    assert FlowAction.objects.get(flow=flow, label="back").config["message"] == "mine"


def test_a_row_is_read_without_the_right_to_change_it(flow):
    reader = client_of(*VIEW)
    page = text(reader, url("flow_row", flow.pk, uid_of(flow, "tell")))
    assert "late" in page
    assert "data-fc-form" not in page
    assert 'method="post"' not in page.split('id="content-main"')[1]


class Post(BaseAction):
    name = "test.post"
    verbose_name = "Post"
    effects = "external"
    config_schema = {
        "type": "object",
        "properties": {
            "url": {"type": "string"},
            "token": {"type": "string", "format": "secret"},
        },
    }

    def run(self, **asked: Any) -> None:
        """Never called."""

    def sentence(self, config: Any) -> str:
        return f"Post to {config.get('url')} with {config.get('token')}"


def test_secrets_are_shown_only_to_those_who_may_see_them():
    flow = drafting.create_flow("Secret")
    with actions.temporarily(Post):
        drafting.add_action(flow, "test.post", {"url": "https://x.example", "token": "s3cret"})
        uid = uid_of(flow, "test.post")
        for page in (url("flow_actions", flow.pk), url("flow_row", flow.pk, uid)):
            assert "s3cret" not in text(client_of(*VIEW, name=page), page)
            trusted = client_of(*VIEW, "reveal_secrets", name=f"trusted{page}")
            assert "s3cret" in text(trusted, page)
        editor = client_of(*CHANGE, name="editor")
        assert "s3cret" not in text(editor, url("flow_row", flow.pk, uid))
        data = {"config-url": "https://y.example", "config-token": "", "is_enabled": "on"}
        assert post(editor, flow, "row", "test.post", **data).status_code == 302
    kept = FlowAction.objects.get(flow=flow, action="test.post")
    assert kept.config == {"url": "https://y.example", "token": "s3cret"}


# --- verbs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "step", "expected"),
    [
        ("two", "up", ["if", ".tell", "else", "two", "one"]),
        ("one", "down", ["if", ".tell", "else", "two", "one"]),
        ("one", "in", ["if", ".tell", "else", ".one", "two"]),
        ("tell", "out", ["if", "tell", "else", "one", "two"]),
    ],
)
def test_a_row_moves_by_one_step(client, flow, label, step, expected):
    answer = post(client, flow, "move_rows", label, step=step)
    assert answer.status_code == 302
    assert draft_rows(flow) == expected
    assert answer["Location"].endswith(f"#row-{uid_of(flow, label)}")


def test_a_step_that_leads_nowhere_is_refused_in_words(client, flow):
    answer = post(client, flow, "move_rows", "if", step="up")
    assert messages_of(answer) == ["The row is the first of its block."]
    assert post(client, flow, "move_rows", "if", step="sideways").status_code == 404
    assert draft_rows(flow) == ["if", ".tell", "else", "one", "two"]


def test_a_row_is_duplicated_with_everything_inside(client, flow):
    answer = post(client, flow, "duplicate_rows", "if")
    assert answer.status_code == 302
    assert draft_rows(flow) == ["if", ".tell", "if", ".tell", "else", "one", "two"]
    configs = FlowAction.objects.filter(flow=flow, label="tell").values_list("config", flat=True)
    assert list(configs) == [{"message": "late"}] * 2


def test_a_row_is_switched_off_and_on(client, flow):
    post(client, flow, "switch_rows", "one", enabled="0")
    assert not FlowAction.objects.get(flow=flow, label="one").is_enabled
    post(client, flow, "switch_rows", "one", enabled="1")
    assert FlowAction.objects.get(flow=flow, label="one").is_enabled


def test_deleting_says_what_went(client, flow):
    answer = post(client, flow, "delete_rows", "if")
    assert messages_of(answer) == ["Deleted “If object.delay > 60”."]
    assert draft_rows(flow) == ["else", "one", "two"]


@pytest.mark.parametrize(
    ("page", "data", "expected"),
    [
        ("move_rows", {"step": "up"}, ["if", ".tell", "one", "two", "else"]),
        ("move_rows", {"step": "in"}, ["if", ".tell", "else", ".one", ".two"]),
        (
            "duplicate_rows",
            {},
            ["if", ".tell", "else", "one", "two", "one", "two"],
        ),
        ("delete_rows", {}, ["if", ".tell", "else"]),
    ],
)
def test_several_rows_at_once_stay_in_order(client, flow, page, data, expected):
    assert post(client, flow, page, "two", "one", **data).status_code == 302
    assert draft_rows(flow) == expected


def test_several_rows_go_down_and_out_in_order(client, flow):
    post(client, flow, "move_rows", "one", "two", step="in")
    post(client, flow, "move_rows", "one", "two", step="out")
    assert draft_rows(flow) == ["if", ".tell", "else", "one", "two"]
    post(client, flow, "move_rows", "if", "else", step="down")
    assert draft_rows(flow) == ["one", "if", ".tell", "else", "two"]


def test_rows_are_moved_to_a_place_all_or_none(client, flow):
    data = {"target": uid_of(flow, "else"), "position": "first"}
    assert post(client, flow, "move_rows", "tell", "one", **data).status_code == 302
    assert draft_rows(flow) == ["if", "else", ".tell", ".one", "two"]
    before = draft_rows(flow)
    data = {"target": uid_of(flow, "tell"), "position": "last"}
    refused = post(client, flow, "move_rows", "two", "if", **data)
    assert "takes no rows" in messages_of(refused)[-1]
    assert draft_rows(flow) == before


def test_what_is_inside_a_chosen_row_goes_with_it_once(client, flow):
    post(client, flow, "duplicate_rows", "tell", "if")
    assert draft_rows(flow) == ["if", ".tell", "if", ".tell", "else", "one", "two"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("move_rows", {"step": "up"}),
        ("duplicate_rows", {}),
        ("switch_rows", {"enabled": "0"}),
        ("delete_rows", {}),
    ],
)
@pytest.mark.parametrize("revision", ["stale", "", "no number"])
def test_a_stale_page_changes_nothing_and_says_so(client, flow, name, data, revision):
    posted = str(revision_of(flow)) if revision == "stale" else revision
    drafting.edit_action(flow, uid_of(flow, "one"), note="by somebody else")
    before = list(FlowAction.objects.filter(flow=flow).order_by("path").values())
    answer = post(client, flow, name, "two", revision=posted, **data)
    assert answer.status_code == 302
    assert "Nothing was saved" in messages_of(answer)[0]
    assert list(FlowAction.objects.filter(flow=flow).order_by("path").values()) == before
    answer = post(client, flow, name, "two", revision=posted, headers=PART, **data)
    assert answer.status_code == 409
    assert "Nothing was saved" in answer.content.decode()
    assert list(FlowAction.objects.filter(flow=flow).order_by("path").values()) == before


# --- the page that is there already ---------------------------------------------------------------


def marks_of(client: Client, flow: Flow) -> dict[str, str]:
    """The rows as the page tells them, by uid."""
    page = text(client, url("flow_actions", flow.pk))
    return dict(re.findall(r'data-fc-row="([^"]*)" data-fc-mark="([^"]*)"', page))


def sent_rows(answer: Any) -> list[str]:
    return re.findall(r'data-fc-row="([^"]*)"', answer.content.decode())


def outline_of(answer: Any) -> list[list[str]]:
    """Depth, mark and name of each row, in order."""
    found = re.search(r'data-fc-outline="([^"]*)"', answer.content.decode())
    assert found is not None
    return [line.split(" ", 2) for line in unescape(found[1]).splitlines()]


def test_only_rows_that_look_different_are_sent(client, flow):
    marks = json.dumps(marks_of(client, flow))
    two = uid_of(flow, "two")
    moved = post(client, flow, "move_rows", "two", headers=PART, step="up", marks=marks)
    assert sent_rows(moved) == []
    assert [uid for _depth, _mark, uid in outline_of(moved)].index(two) == 3
    off = post(client, flow, "switch_rows", "one", headers=PART, enabled="0", marks=marks)
    assert sent_rows(off) == [uid_of(flow, "one")]
    data = {"config-message": "x", "is_enabled": "on", "label": "deux", "marks": marks}
    saved = post(client, flow, "row", "two", headers=PART, **data)
    assert set(sent_rows(saved)) == {uid_of(flow, "one"), two}


def test_who_changed_what_is_told_when_a_stale_page_is_refused(client, flow):
    marks, stale = json.dumps(marks_of(client, flow)), revision_of(flow)
    kim = client_of(*CHANGE, name="kim")
    data = {"config-message": "x", "is_enabled": "on", "label": "uno"}
    assert post(kim, flow, "row", "one", **data).status_code == 302
    post(kim, flow, "delete_rows", "two")
    refused = post(
        client, flow, "move_rows", "tell", headers=PART, step="out", revision=stale, marks=marks
    )
    told = refused.content.decode()
    assert refused.status_code == 409
    assert "kim changed “uno”" in told
    assert "kim deleted “two”" in told
    assert "“uno”" in told
    assert "1 row is gone." in told


def test_a_row_that_is_saved_by_its_form_brings_problems_and_state_along(client, flow):
    answer = post(client, flow, "row", "tell", headers=PART, **{"config-message": "later"})
    page = answer.content.decode()
    assert "data-fc-saved" in page
    assert 'id="fc-problems"' in page
    assert 'id="fc-bar"' in page
    changed = json.loads(answer["HX-Trigger-After-Settle"])
    assert changed == {"flowcontrol:changed": {"revision": revision_of(flow)}}


def test_counts_of_runs_stand_at_their_rows(client):
    flow = make_flow(Log("begin"), Delay("PT1H"), name="Waiting")
    for _run in range(2):
        start_flowrun(flow)
    page = text(client, url("flow_actions", flow.pk))
    row_of_delay = page.split(f'id="row-{uid_of(flow, "delay")}"')[1]
    assert "<b>2</b> waiting" in row_of_delay
    link = unescape(re.findall(r'class="fc-count fc-waiting" href="([^"]*)"', row_of_delay)[0])
    listed = client.get(link)
    assert listed.status_code == 200
    assert listed.context["cl"].result_count == 2
    with travel_to(timezone.now() + timedelta(hours=2)):
        run_until_idle()
    page = text(client, url("flow_actions", flow.pk))
    assert "<b>2</b> done" in page.split("End of the flow")[1]


def test_changes_are_refused_without_a_token_against_forgery(flow):
    client = Client(enforce_csrf_checks=True)
    client.force_login(person(*CHANGE, name="forger"))
    before = revision_of(flow)
    answer = post(client, flow, "move_rows", "two", step="up")
    assert answer.status_code == 403
    assert revision_of(flow) == before


def test_what_is_told_of_a_row_that_is_not_filled_in_has_its_dots_once():
    page = BuilderPage(client_of(name="boss", is_superuser=True), drafting.create_flow("Late bag"))
    told = page.post("flow_add_row", action="start_flow", target="", position="last")
    assert "<span>Added row 1: Start flow …</span>" in told
    assert "Flow: Required. <" in told
    told = page.post("flow_add_row", action="try", target="", position="last")
    assert "<span>Added row 2: Try.</span>" in told


def test_a_search_that_finds_no_flow_says_so():
    client = client_of(name="boss", is_superuser=True)
    assert "No flows yet." in client.get(url("flow_changelist")).content.decode()
    drafting.create_flow("Late bag")
    answer = client.get(url("flow_changelist"), {"q": "zzz"})
    assert "No flow fits." in answer.content.decode()
