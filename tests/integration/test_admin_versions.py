"""The pages of versions: what publishing changes, comparing, drawings, moving runs, files."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from flowcontrol import drafting
from flowcontrol.base import BaseAction
from flowcontrol.documents import make_document, row
from flowcontrol.drafts import draft_document
from flowcontrol.engine import start_flowrun
from flowcontrol.models import Flow, FlowRun, Trigger
from flowcontrol.publishing import publish
from flowcontrol.registry import actions
from flowcontrol.testing import Delay, Log, make_flow
from flowcontrol.transfer import export_text
from tests.admin_pages import VIEW, client_of, revision_of, url

pytestmark = pytest.mark.django_db


def text_of(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return words(answer.content.decode())


def words(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))


@pytest.fixture
def flow() -> Flow:
    flow = make_flow(
        Log("begin", uid="a", label="Begin"), Delay(uid="wait", label="Wait"), name="Late flight"
    )
    drafting.edit_action(flow, "a", config={"message": "welcome"})
    drafting.add_action(flow, "log", {"message": "x"}, uid="c", label="Closing")
    return flow


@pytest.fixture
def boss() -> Client:
    return client_of(is_superuser=True, name="boss")


# --- what changes -------------------------------------------------------------------------------


def test_publishing_tells_what_changes_and_how_many_runs_stay_behind(flow: Flow, boss: Client):
    start_flowrun(flow)
    told = text_of(boss, url("flow_publish", flow.pk))
    assert "What changes against version 1" in told
    assert "Added: 1" in told
    assert "Changed: 1" in told
    assert "begin welcome" in told
    assert "Version 1: 1 run" in told


def test_after_publishing_those_who_may_are_asked_about_open_runs(flow: Flow, boss: Client):
    start_flowrun(flow)
    data = {"note": "", "revision": revision_of(flow)}
    answer = boss.post(url("flow_publish", flow.pk), data)
    assert answer["Location"] == url("flow_move_runs", flow.pk, 2)
    drafting.edit_action(flow, "a", note="x")
    FlowRun.objects.all().delete()
    data["revision"] = revision_of(flow)
    answer = boss.post(url("flow_publish", flow.pk), data)
    assert answer["Location"] == url("flow_actions", flow.pk)


def test_any_two_versions_and_the_draft_are_compared(flow: Flow, boss: Client):
    publish(flow)
    drafting.delete_action(flow, "c")
    page = url("flow_compare", flow.pk)
    told = text_of(boss, f"{page}?before=1&after=2")
    assert "From version 1 to version 2" in told
    assert "Added 3 Closing" in told
    assert "Removed 3 Closing" in text_of(boss, f"{page}?before=2&after=draft")
    assert "Nothing differs" in text_of(boss, f"{page}?before=2&after=2")
    # Without a choice: the last two versions.
    assert "From version 1 to version 2" in text_of(boss, f"{page}?before=99&after=x")


def test_a_flow_without_versions_compares_its_draft_with_itself(boss: Client):
    flow = drafting.create_flow("New")
    assert "Nothing differs" in text_of(boss, url("flow_compare", flow.pk))


class Call(BaseAction):
    name = "test.call"
    effects = "external"
    config_schema = {
        "type": "object",
        "properties": {"url": {"type": "string"}, "token": {"type": "string", "format": "secret"}},
    }

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        return None


def test_secrets_are_in_no_difference_no_drawing_and_no_file(boss: Client):
    with actions.temporarily(Call):
        flow = make_flow(row("test.call", uid="call", url="u", token="s3cret-1"))
        drafting.edit_action(flow, "call", config={"url": "v", "token": "s3cret-2"})
        publish(flow)
        client = client_of(*VIEW, "change_flow", "publish_flow", name="sam")
        pages = [
            f"{url('flow_compare', flow.pk)}?before=1&after=2",
            url("flow_version", flow.pk, 1),
            url("flow_drawing", flow.pk),
            url("flow_export", flow.pk),
            f"{url('flow_export', flow.pk)}?version=1",
        ]
        for page in pages:
            answer = client.get(page)
            assert answer.status_code == 200
            assert b"s3cret" not in answer.content
        assert client.get(f"{url('flow_export', flow.pk)}?secrets=1").status_code == 403
        assert b"s3cret-2" in boss.get(f"{url('flow_export', flow.pk)}?secrets=1").content
        assert b"s3cret-1" in boss.get(pages[0]).content


def test_no_text_of_a_flow_is_read_as_html(boss: Client):
    flow = make_flow(Log("x", uid="a", label="<script>alert(1)</script>"))
    drafting.edit_action(flow, "a", note="<img src=x>")
    publish(flow)
    run = start_flowrun(flow)
    for page in (
        f"{url('flow_compare', flow.pk)}?before=1&after=2",
        url("flow_version", flow.pk, 1),
        url("flow_drawing", flow.pk),
        url("flowrun_drawing", run.pk),
        url("flow_publish", flow.pk),
    ):
        html = boss.get(page).content.decode()
        assert "<script>alert" not in html
        assert "<img src=x>" not in html
        assert " style=" not in html.partition('id="content-main"')[2]


# --- drawings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "begin", "name"),
    [
        ("svg", "<svg", "late-flight.svg"),
        ("mermaid", "%% Late flight", "late-flight.mmd"),
        ("dot", "digraph", "late-flight.dot"),
    ],
)
def test_a_drawing_is_looked_at_and_taken_away(
    flow: Flow, boss: Client, kind: str, begin: str, name: str
):
    page = url("flow_drawing", flow.pk)
    assert "Closing" in text_of(boss, page)
    assert "Closing" not in text_of(boss, f"{page}?version=1")
    answer = boss.get(f"{page}?file={kind}")
    assert answer.content.decode().startswith(begin)
    assert name in answer["Content-Disposition"]
    assert boss.get(f"{page}?file=exe").status_code == 404
    assert boss.get(f"{page}?version=9").status_code == 404
    assert boss.get(f"{page}?version=x").status_code == 404


def test_the_drawing_of_a_run_shows_its_path(flow: Flow, boss: Client):
    run = start_flowrun(flow)
    html = boss.get(url("flowrun_drawing", run.pk)).content.decode()
    assert "fc-d-ran" in html
    assert "fc-d-here" in html
    assert (
        url("flowrun_drawing", run.pk) in boss.get(url("flowrun_change", run.pk)).content.decode()
    )
    assert boss.get(f"{url('flowrun_drawing', run.pk)}?file=svg").content.startswith(b"<svg")


# --- moving runs --------------------------------------------------------------------------------


def test_runs_are_moved_one_first_then_the_rest(flow: Flow, boss: Client):
    runs = [start_flowrun(flow) for _run in range(3)]
    version = publish(flow)
    page = url("flow_move_runs", flow.pk, version.number)
    assert "3 runs go on where they stand." in text_of(boss, page)
    data = {"reason": "Better", "how_many": "one"}
    answer = boss.post(page, data, follow=True)
    assert "1 run follows version 2 now." in words(answer.content.decode())
    assert FlowRun.objects.filter(version=version).count() == 1
    boss.post(page, {**data, "how_many": "all"})
    assert FlowRun.objects.filter(version=version).count() == 3
    event = runs[0].events.latest("seq")
    assert (event.reason, event.user) == ("Better", User.objects.get(username="boss"))
    history = text_of(boss, url("flowrun_change", runs[0].pk))
    assert "Moved to another version" in history
    assert "All open runs of this flow follow version 2." in text_of(boss, page)


def test_a_reason_has_to_be_given(flow: Flow, boss: Client):
    start_flowrun(flow)
    version = publish(flow)
    answer = boss.post(url("flow_move_runs", flow.pk, version.number), {"how_many": "all"})
    assert "This field is required" in answer.content.decode()
    assert FlowRun.objects.filter(version=version).count() == 0


def test_runs_whose_row_is_gone_go_where_it_was_said(flow: Flow, boss: Client):
    run = start_flowrun(flow)
    drafting.delete_action(flow, "wait")
    version = publish(flow)
    page = url("flow_move_runs", flow.pk, version.number)
    told = text_of(boss, page)
    assert "1 run stands at a row that this version does not have" in told
    assert "Wait" in told
    data = {"reason": "x", "how_many": "all", "from-0": "wait"}
    boss.post(page, {**data, "to-0": ""})
    boss.post(page, {**data, "to-0": "nowhere"})
    boss.post(page, {**data, "to-0": "c", "from-0": "another"})
    run.refresh_from_db()
    assert run.version.number == 1
    boss.post(page, {**data, "to-0": "c"})
    run.refresh_from_db()
    assert (run.version, run.action_uid) == (version, "c")


def test_the_button_is_there_for_those_who_may(flow: Flow):
    start_flowrun(flow)
    publish(flow)
    link = url("flow_move_runs", flow.pk, 2)
    for page in (url("flow_versions", flow.pk), url("flow_version", flow.pk, 2)):
        assert link not in client_of(*VIEW, name=f"a{page}").get(page).content.decode()
        operator = client_of(*VIEW, "operate_flowrun", name=f"b{page}")
        assert link in operator.get(page).content.decode()


# --- files --------------------------------------------------------------------------------------


def upload(text: str) -> SimpleUploadedFile:
    return SimpleUploadedFile("flow.json", text.encode(), "application/json")


def hidden_text(html: str) -> str:
    found = re.search(r'<textarea name="text" hidden>\n(.*?)</textarea>', html, re.DOTALL)
    assert found is not None
    return unescape(found.group(1))


def test_a_flow_is_exported_by_a_button(flow: Flow, boss: Client):
    answer = boss.get(url("flow_export", flow.pk))
    assert json.loads(answer.content)["document"] == draft_document(flow)
    assert answer["Content-Disposition"] == 'attachment; filename="late-flight.json"'
    answer = boss.get(f"{url('flow_export', flow.pk)}?version=1")
    assert answer["Content-Disposition"] == 'attachment; filename="late-flight-v1.json"'
    assert boss.get(f"{url('flow_export', flow.pk)}?version=7").status_code == 404


def test_a_file_becomes_a_new_flow_after_a_look_at_it(flow: Flow, boss: Client):
    text = export_text(flow)
    page = url("flow_import")
    assert page in boss.get(url("flow_changelist")).content.decode()
    looked = boss.post(page, {"file": upload(text)}).content.decode()
    assert "“Late flight” has 3 rows." in words(looked)
    assert Flow.objects.count() == 1
    data = {"text": hidden_text(looked), "confirmed": "1", "name": "Copy", "slug": ""}
    answer = boss.post(page, data)
    made = Flow.objects.get(name="Copy")
    assert answer["Location"] == url("flow_actions", made.pk)
    assert draft_document(made) == draft_document(flow)
    assert (made.slug, made.active_at, made.live_version) == ("late-flight-2", None, None)


def test_what_is_missing_is_told_before_and_after(boss: Client):
    flow = drafting.create_flow("Starter")
    drafting.replace_draft(flow, make_document(row("start_flow", flow="gone", uid="s")))
    text, page = export_text(flow), url("flow_import")
    looked = boss.post(page, {"file": upload(text)}).content.decode()
    assert "There is no flow “gone”." in words(looked)
    answer = boss.post(page, {"text": text, "confirmed": "1"}, follow=True)
    assert "There is no flow “gone”." in words(answer.content.decode())


def test_a_file_is_imported_into_a_draft_after_a_look_at_what_changes(flow: Flow, boss: Client):
    other = make_flow(Log("x", uid="a", label="Other"), name="Other")
    page = url("flow_import_into", other.pk)
    looked = boss.post(page, {"file": upload(export_text(flow))}).content.decode()
    told = words(looked)
    assert "What changes in the draft" in told
    assert "Added 2 Wait" in told
    assert "Other" in told
    data = {"text": hidden_text(looked), "confirmed": "1", "revision": revision_of(other)}
    drafting.edit_action(other, "a", note="meanwhile")
    answer = boss.post(page, data)
    assert "changed by somebody else" in answer.content.decode()
    data["revision"] = revision_of(other)
    assert boss.post(page, data)["Location"] == url("flow_actions", other.pk)
    assert draft_document(other) == draft_document(flow)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The submitted file is empty."),
        (b"hello", "The file is not JSON"),
        (b"{}", "The file is not that of a flow"),
        (b"\xff\xfe\xfa", "The file is not UTF-8 text."),
        (b" " * 2_000_001, "The file is larger than 2000 kB."),
        (None, "Choose a file."),
    ],
)
def test_what_is_no_file_of_a_flow_is_refused_with_the_reason(
    flow: Flow, boss: Client, content: bytes | None, message: str
):
    for page in (url("flow_import"), url("flow_import_into", flow.pk)):
        data = {} if content is None else {"file": SimpleUploadedFile("x", content)}
        answer = boss.post(page, data)
        assert answer.status_code == 200
        told = words(answer.content.decode())
        assert message in told
        assert told.count("Choose a file.") == (content is None)
    assert Flow.objects.count() == 1


def test_whoever_may_not_add_triggers_imports_without_them(flow: Flow):
    Trigger.objects.create(flow=flow, name="demo.flight_cancelled")
    client = client_of(*VIEW, "add_flow", "change_flow")
    data = {"text": export_text(flow), "confirmed": "1", "name": "Copy"}
    answer = client.post(url("flow_import"), data, follow=True)
    assert "you may not add triggers" in answer.content.decode()
    assert Flow.objects.get(name="Copy").triggers.count() == 0


def test_nobody_imports_a_flow_that_acts_as_somebody_else(flow: Flow):
    User.objects.create_superuser("root")
    text = export_text(flow).replace('"identity": null', '"identity": "root"')
    client = client_of(*VIEW, "add_flow", "change_flow")
    answer = client.post(
        url("flow_import"), {"text": text, "confirmed": "1", "name": "Copy"}, follow=True
    )
    assert "Only superusers" in answer.content.decode()
    assert Flow.objects.get(name="Copy").identity is None
    page = url("flow_import_into", flow.pk)
    client.post(page, {"text": text, "confirmed": "1", "revision": revision_of(flow)})
    assert Flow.objects.get(pk=flow.pk).identity is None


# --- who is here --------------------------------------------------------------------------------


def test_a_page_is_told_who_else_is_here_and_what_they_changed(flow: Flow):
    kim = client_of(*VIEW, "change_flow", name="kim")
    sam = client_of(*VIEW, "change_flow", name="sam")
    page = url("flow_presence", flow.pk)
    seen = revision_of(flow)
    assert words(kim.post(page, {"revision": seen}).content.decode()).strip() == ""
    drafting.edit_action(flow, "a", label="New", user=User.objects.get(username="kim"))
    told = words(sam.post(page, {"revision": seen}).content.decode())
    assert "kim has this draft open, too." in told
    assert "kim changed “New”." in told
    told = words(kim.post(page, {"revision": revision_of(flow)}).content.decode())
    assert told.strip() == "sam has this draft open, too."


def test_who_may_only_look_is_not_told_of_as_an_editor(flow: Flow):
    viewer = client_of(*VIEW, name="viewer")
    viewer.post(url("flow_presence", flow.pk), {"revision": 1})
    editor = client_of(*VIEW, "change_flow", name="kim")
    answer = editor.post(url("flow_presence", flow.pk), {"revision": revision_of(flow)})
    assert words(answer.content.decode()).strip() == ""
