"""Trying a flow in a real browser: beside the list, on its own page, and as a test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowcontrol.documents import make_document, row
from flowcontrol.drafting import create_flow, replace_draft
from flowcontrol.flowtests import run_tests, save_test
from flowcontrol.models import Flow, FlowRun, FlowTest
from flowcontrol.testing import Delay, Else, If, UpdateState
from tests.admin_pages import url

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"


@pytest.fixture
def flow(transactional_db: None) -> Flow:
    flow = create_flow("Parcels")
    mail = row(
        "send_email", to=["desk@example.org"], subject="{{ kilos }} kg", text="x", uid="mail"
    )
    replace_draft(
        flow,
        make_document(
            If("kilos > 20", [UpdateState(way="'truck'"), mail], uid="heavy"),
            Else([UpdateState(way="'bike'")], uid="light"),
            Delay("P2D", uid="wait"),
        ),
    )
    return flow


def test_a_flow_is_tried_beside_its_list_and_what_it_did_is_kept_as_a_test(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    desk.goto(live_server.url + url("flow_actions", flow.pk))
    desk.locator("#fc-toolbar").get_by_role("link", name="Try it").click()
    panel = desk.locator("#fc-panel")
    panel.get_by_label("Start state").fill('{"kilos": 30}')
    panel.get_by_role("button", name="Try it").click()
    outcome = panel.locator(".fc-outcome")
    outcome.wait_for()
    assert "It runs to its end." in outcome.inner_text()
    assert panel.get_by_text("2 days later").count() >= 1
    assert "30 kg" in panel.locator(".fc-calls").inner_text()
    # The list beside it is still there, and knows nothing of a run.
    assert desk.locator("#fc-list [data-fc-row]").count() == 6
    assert FlowRun.objects.count() == 0
    panel.get_by_label("Name of the test").fill("Heavy")
    panel.get_by_role("button", name="Save as a test").click()
    panel.get_by_text("The test “Heavy” is saved.").wait_for()
    assert FlowTest.objects.get().expectations["state"] == {"way": "truck"}


def test_a_flow_is_tried_to_the_row_that_is_open(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    desk.goto(live_server.url + url("flow_row", flow.pk, "wait"))
    desk.get_by_role("link", name="Try to here").click()
    panel = desk.locator("#fc-panel")
    panel.get_by_label("Start state").fill('{"kilos": 3}')
    panel.get_by_role("button", name="Try it").click()
    panel.get_by_text("It comes to the row.").wait_for()
    assert panel.get_by_text("2 days later").count() == 0


def test_the_pages_have_no_barriers_and_fit_on_a_phone(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    save_test(flow, "Heavy", state={"kilos": 30}, expectations={"state": {"way": "truck"}})
    save_test(flow, "Light", state={"kilos": 3}, expectations={"state": {"way": "truck"}})
    run_tests(flow)
    found = []
    for scheme in ("light", "dark"):
        desk.emulate_media(color_scheme=scheme)
        desk.goto(live_server.url + url("flow_tests", flow.pk))
        found += barriers(desk)
        desk.goto(live_server.url + url("flow_try", flow.pk))
        desk.get_by_label("Start state").fill('{"kilos": 30}')
        desk.get_by_role("button", name="Try it").click()
        desk.locator(".fc-outcome").wait_for()
        for summary in desk.locator(".fc-try summary").all():
            summary.click()
        found += barriers(desk)
        desk.set_viewport_size({"width": 400, "height": 800})
        assert desk.evaluate("document.documentElement.scrollWidth") == 400
        desk.set_viewport_size({"width": 1280, "height": 900})
    assert found == []


def barriers(page: Page) -> list[str]:
    """What axe-core finds serious or critical, with the first place of each."""
    page.evaluate(AXE.read_text("utf-8"))
    page.wait_for_timeout(150)  # colours fade in
    result = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {violation['nodes'][0]['html'][:160]}"
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
