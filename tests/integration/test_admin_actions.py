"""The action list in the admin: each verb, the stale page, findings, secrets, queries."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flowcontrol import drafting
from flowcontrol.base import BaseAction
from flowcontrol.documents import make_document, row
from flowcontrol.models import Flow, FlowAction
from flowcontrol.registry import actions
from flowcontrol.testing import Else, If, Log, StartFlow, make_flow
from tests.admin_pages import VIEW, client_of, draft_rows, person, revision_of, uid_of, url

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


def post(client: Client, flow: Flow, page: str, row_name: str, **data: Any) -> Any:
    data.setdefault("revision", revision_of(flow))
    return client.post(url(f"flow_{page}", flow.pk, uid_of(flow, row_name)), data)


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
    assert page.count("has to come right after") == 2
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
        ("one", "before", ["if", ".tell", "else", "new", "one", "two"]),
        ("one", "after", ["if", ".tell", "else", "one", "new", "two"]),
        ("if", "first", ["if", ".new", ".tell", "else", "one", "two"]),
        ("if", "last", ["if", ".tell", ".new", "else", "one", "two"]),
        ("else", "last", ["if", ".tell", "else", ".new", "one", "two"]),
    ],
)
def test_a_row_goes_where_it_was_asked_for(client, flow, label, position, expected):
    path = url("flow_add_row_of", flow.pk, "log")
    where = {"target": uid_of(flow, label), "position": position}
    form = client.get(path, where)
    assert form.status_code == 200
    data = {**where, "revision": revision_of(flow), "config-message": "hello", "label": "new"}
    answer = client.post(path, {**data, "is_enabled": "on"})
    assert answer.status_code == 302
    assert draft_rows(flow) == expected
    assert answer["Location"].endswith(f"#row-{uid_of(flow, 'new')}")
    assert FlowAction.objects.get(flow=flow, label="new").config["message"] == "hello"


def test_what_needs_no_settings_is_added_by_choosing_it(client, flow):
    drafting.delete_action(flow, uid_of(flow, "else"))
    data = {"target": uid_of(flow, "if"), "position": "after", "revision": revision_of(flow)}
    answer = client.post(url("flow_add_row", flow.pk), {**data, "action": "else"})
    assert answer.status_code == 302
    assert draft_rows(flow) == ["if", ".tell", "else", "one", "two"]


def test_errors_of_a_new_row_stand_at_their_fields(client, flow):
    path = url("flow_add_row_of", flow.pk, "if")
    data = {"target": "", "position": "last", "revision": revision_of(flow)}
    answer = client.post(path, {**data, "config-condition": "3 < a < 5", "label": "mine"})
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "errorlist" in page
    assert "3 &lt; a &lt; 5" in page
    assert "mine" in page
    assert draft_rows(flow) == ["if", ".tell", "else", "one", "two"]


def test_a_place_that_is_gone_loses_nothing(client, flow):
    uid, revision = uid_of(flow, "two"), revision_of(flow)
    drafting.delete_action(flow, uid)
    path = url("flow_add_row_of", flow.pk, "log")
    data = {"target": uid, "position": "after", "revision": revision, "config-message": "kept"}
    answer = client.post(path, {**data, "label": "new", "is_enabled": "on"})
    page = answer.content.decode()
    assert "is gone" in page
    assert "kept" in page
    again = {**data, "target": "", "position": "last", "revision": revision_of(flow)}
    assert client.post(path, {**again, "label": "new", "is_enabled": "on"}).status_code == 302
    assert draft_rows(flow)[-1] == "new"


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
    assert "changed other rows" in page
    assert f'name="revision" value="{revision_of(flow)}"' in page
    assert post(client, flow, "row", "tell", **data).status_code == 302
    assert FlowAction.objects.get(flow=flow, label="tell").config["message"] == "my words"


def test_a_stale_form_says_so_if_this_very_row_was_changed(client, flow):
    stale = revision_of(flow)
    drafting.edit_action(flow, uid_of(flow, "tell"), label="", config={"message": "theirs"})
    uid = FlowAction.objects.get(flow=flow, config={"message": "theirs"}).uid
    data = {"config-message": "mine", "is_enabled": "on", "seen": "old", "revision": stale}
    page = client.post(url("flow_row", flow.pk, uid), data).content.decode()
    assert "changed this very row" in page
    assert "theirs" in page
    assert "mine" in page


def test_a_row_that_was_deleted_meanwhile_can_be_added_again(client, flow):
    uid, stale = uid_of(flow, "tell"), revision_of(flow)
    drafting.delete_action(flow, uid)
    data = {"action": "log", "config-message": "mine", "is_enabled": "on", "label": "back"}
    page = client.post(url("flow_row", flow.pk, uid), {**data, "revision": stale}).content.decode()
    assert "deleted this row" in page
    assert "mine" in page


def test_a_row_is_read_without_the_right_to_change_it(flow):
    reader = client_of(*VIEW)
    page = text(reader, url("flow_row", flow.pk, uid_of(flow, "tell")))
    assert "late" in page
    assert "<button" not in page.split('id="content-main"')[1]


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
    answer = post(client, flow, "move_row", label, step=step)
    assert answer.status_code == 302
    assert draft_rows(flow) == expected
    assert answer["Location"].endswith(f"#row-{uid_of(flow, label)}")


def test_a_step_that_leads_nowhere_is_refused_in_words(client, flow):
    answer = post(client, flow, "move_row", "if", step="up")
    assert messages_of(answer) == ["The row is the first of its block."]
    assert post(client, flow, "move_row", "if", step="sideways").status_code == 404
    assert draft_rows(flow) == ["if", ".tell", "else", "one", "two"]


def test_a_row_is_duplicated_with_everything_inside(client, flow):
    answer = post(client, flow, "duplicate_row", "if")
    assert answer.status_code == 302
    assert draft_rows(flow) == ["if", ".tell", "if", ".tell", "else", "one", "two"]
    configs = FlowAction.objects.filter(flow=flow, label="tell").values_list("config", flat=True)
    assert list(configs) == [{"message": "late"}] * 2


def test_a_row_is_switched_off_and_on(client, flow):
    post(client, flow, "switch_row", "one", enabled="0")
    assert not FlowAction.objects.get(flow=flow, label="one").is_enabled
    post(client, flow, "switch_row", "one", enabled="1")
    assert FlowAction.objects.get(flow=flow, label="one").is_enabled


def test_deleting_says_how_many_rows_go_with_it(client, flow):
    page = text(client, url("flow_delete_row", flow.pk, uid_of(flow, "if")))
    assert "1 row inside it is deleted with it." in page
    assert draft_rows(flow)[0] == "if"
    answer = post(client, flow, "delete_row", "if")
    assert answer.status_code == 302
    assert draft_rows(flow) == ["else", "one", "two"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("move_row", {"step": "up"}),
        ("duplicate_row", {}),
        ("switch_row", {"enabled": "0"}),
        ("delete_row", {}),
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


def test_changes_are_refused_without_a_token_against_forgery(flow):
    client = Client(enforce_csrf_checks=True)
    client.force_login(person(*CHANGE, name="forger"))
    before = revision_of(flow)
    answer = post(client, flow, "move_row", "two", step="up")
    assert answer.status_code == 403
    assert revision_of(flow) == before
