"""The pages of versions, drawings and files in a real browser, under a strict content policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowcontrol import drafting
from flowcontrol.drafts import draft_document
from flowcontrol.engine import start_flowrun
from flowcontrol.models import Flow, FlowRun
from flowcontrol.testing import Delay, Else, For, If, Log, Stop, make_flow
from tests.admin_pages import url

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def flow() -> Flow:
    flow = make_flow(
        Log("{{ object }} is late", uid="a", label="Tell the desk"),
        If(
            "n > 1",
            [For(3, [Delay("PT1H", uid="wait"), Log("again", uid="log")], uid="for", var_name="i")],
            uid="if",
        ),
        Else([Log("never mind")], uid="else"),
        Stop(),
        name="Late flight",
        description="What to do about a late flight.",
    )
    start_flowrun(flow, state={"n": 2})
    drafting.edit_action(flow, "log", config={"message": "once more " + "x" * 80}, note="louder")
    drafting.move_action(flow, "a", target="else", position="after")
    drafting.delete_action(flow, "wait")
    drafting.add_action(flow, "group", {"title": "Afterwards"}, uid="g")
    drafting.add_action(flow, "log", {"message": "done"}, target="g")
    return flow


def test_a_person_publishes_and_moves_a_run_whose_row_is_gone(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    desk.goto(live_server.url + url("flow_publish", flow.pk))
    desk.get_by_label("Note").fill("No waiting any more")
    desk.get_by_role("button", name="Publish").click()
    desk.get_by_role("heading", name="Move runs to version 2").wait_for()
    desk.get_by_label("Where runs at “Wait 1 hour” go on").select_option(value="log")
    desk.get_by_label("Reason").fill("It waited for nothing")
    desk.get_by_role("button", name="Move runs").click()
    desk.get_by_text("1 run follows version 2 now.").wait_for()
    run = FlowRun.objects.get()
    assert (run.version.number, run.action_uid, run.status) == (2, "log", "pending")


def test_a_person_saves_a_flow_as_a_file_and_reads_it_again(
    desk: Page, live_server: LiveServer, flow: Flow, tmp_path: Path
) -> None:
    desk.goto(live_server.url + url("flow_versions", flow.pk))
    with desk.expect_download() as download:
        desk.get_by_role("link", name="Export the draft").click()
    file = tmp_path / "flow.json"
    download.value.save_as(file)
    assert json.loads(file.read_text())["document"] == draft_document(flow)
    desk.goto(live_server.url + url("flow_changelist"))
    desk.get_by_role("link", name="Import a flow…").click()
    desk.get_by_label("File").set_input_files(file)
    desk.get_by_role("button", name="Read the file").click()
    desk.get_by_text("“Late flight” has").wait_for()
    desk.get_by_label("Name", exact=True).fill("Copied")
    desk.get_by_role("button", name="Import", exact=True).click()
    desk.get_by_text("The flow was imported.").wait_for()
    assert draft_document(Flow.objects.get(name="Copied")) == draft_document(flow)
