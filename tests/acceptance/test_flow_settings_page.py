"""The state schema in a real browser, under a strict content security policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowcontrol.models import Flow
from flowcontrol.testing import Log, make_flow
from tests.admin_pages import url

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)

SCHEMA = {
    "type": "object",
    "properties": {
        "bay": {"type": "string", "enum": ["A", "B"]},
        "either": {"type": ["string", "null"], "maxLength": 3},
    },
    "required": ["bay"],
    "additionalProperties": False,
}


@pytest.fixture
def settings_page(desk: Page, live_server: LiveServer) -> Page:
    flow = make_flow(Log("x"), name="Load", state_schema=SCHEMA)
    desk.goto(f"{live_server.url}{url('flow_change', flow.pk)}")
    return desk


def stored() -> object:
    return Flow.objects.get().state_schema


def test_a_look_at_the_table_and_back_rewrites_nothing(settings_page: Page) -> None:
    assert settings_page.get_by_label("Name", exact=True).nth(0).input_value() == "bay"
    settings_page.get_by_role("button", name="Edit as JSON").click()
    settings_page.get_by_role("button", name="Edit as a table").click()
    settings_page.get_by_role("button", name="Edit as JSON").wait_for()
    settings_page.get_by_role("button", name="Save the settings").click()
    settings_page.wait_for_load_state()
    assert stored() == SCHEMA


def test_values_are_added_changed_and_removed_in_the_table(settings_page: Page) -> None:
    page = settings_page
    page.get_by_role("button", name="Add a value").click()
    page.keyboard.type("weight")  # the new name has the focus
    line = page.locator("[data-fc-line]").nth(2)
    line.get_by_label("Type").select_option(label="Number")
    line.get_by_label("Default").locator("visible=true").fill("1.5")
    line.get_by_label("Required").check()
    page.get_by_role("button", name="Add a value").click()
    flag = page.locator("[data-fc-line]").nth(3)
    flag.get_by_label("Name").fill("urgent")
    flag.get_by_label("Type").select_option(label="Yes or no")
    flag.get_by_label("Default").locator("visible=true").select_option(label="Yes")
    page.get_by_role("button", name="Remove bay").click()
    page.get_by_role("button", name="Save the settings").click()
    page.get_by_text("The settings were saved.").wait_for()
    assert stored() == {
        "type": "object",
        "properties": {
            "either": SCHEMA["properties"]["either"],  # type: ignore[index]
            "weight": {"type": "number", "default": 1.5},
            "urgent": {"type": "boolean", "default": True},
        },
        "required": ["weight"],
        "additionalProperties": False,
    }


def test_what_is_typed_in_the_table_is_there_as_json_and_mistakes_keep_it(
    settings_page: Page,
) -> None:
    page = settings_page
    page.locator("[data-fc-line]").nth(0).get_by_label("Name").fill("gate")
    page.get_by_role("button", name="Edit as JSON").click()
    area = page.locator("textarea[name=state_schema]")
    area.wait_for()
    assert '"gate"' in area.input_value()
    area.fill("{")
    page.get_by_role("button", name="Edit as a table").click()
    page.get_by_text("Line 1, column 2").wait_for()
    assert area.input_value() == "{"
    page.get_by_role("button", name="Save the settings").click()
    page.get_by_text("Nothing was saved").wait_for()
    assert page.locator("textarea[name=state_schema]").input_value() == "{"
    assert stored() == SCHEMA


def test_the_settings_work_inside_a_panel(desk: Page, live_server: LiveServer) -> None:
    flow = make_flow(Log("x"), name="Load")
    desk.goto(f"{live_server.url}{url('flow_change', flow.pk)}")
    # What a page does that shows the settings beside something else.
    desk.evaluate(
        """async () => {
            const answer = await fetch("?panel=1");
            const root = document.querySelector("[data-fc-settings]");
            root.outerHTML = await answer.text();
            document.dispatchEvent(new CustomEvent("flowcontrol:forms"));
            window.stayed = true;
        }"""
    )
    desk.get_by_role("link", name="Add a trigger").click()
    desk.get_by_label("Trigger").select_option(label="A flight has been cancelled")
    desk.get_by_role("button", name="Add the trigger").click()
    desk.get_by_text("The trigger was added.").wait_for()
    desk.get_by_role("button", name="Switch off A flight").click()
    desk.get_by_text("does not start this flow any more").wait_for()
    desk.locator("#id_max_concurrent").fill("-1")
    desk.get_by_role("button", name="Save the settings").click()
    desk.get_by_text("Nothing was saved").wait_for()
    desk.locator("#id_max_concurrent").fill("3")
    desk.get_by_role("button", name="Save the settings").click()
    desk.get_by_text("The settings were saved.").wait_for()
    assert desk.evaluate("window.stayed") is True
    flow.refresh_from_db()
    assert flow.max_concurrent == 3
    assert flow.triggers.get().active_at is None


def test_without_scripts_the_schema_is_edited_as_text(
    settings_page: Page,
    live_server: LiveServer,
) -> None:
    page = settings_page
    session = page.context.storage_state()
    browser = page.context.browser
    assert browser is not None
    plain = browser.new_context(java_script_enabled=False, storage_state=session).new_page()
    plain.goto(page.url)
    area = plain.locator("textarea[name=state_schema]")
    assert area.is_visible()
    assert not plain.get_by_role("button", name="Add a value").is_visible()
    area.fill('{"type": "object", "properties": {"n": {"type": "integer"}}}')
    plain.get_by_role("button", name="Save the settings").click()
    assert stored() == {"type": "object", "properties": {"n": {"type": "integer"}}}
    plain.context.close()


def test_the_settings_open_beside_the_actions(desk: Page, live_server: LiveServer) -> None:
    flow = make_flow(Log("x"), name="Load")
    desk.goto(f"{live_server.url}{url('flow_actions', flow.pk)}")
    desk.get_by_role("toolbar").get_by_role("link", name="Settings").click()
    panel = desk.locator("#fc-panel")
    panel.locator("#id_condition").fill("a ==")
    panel.get_by_role("button", name="Save the settings").click()
    # The field says at once what is wrong; the answer to the save says so in a note.
    panel.locator(".errornote").first.wait_for()
    panel.get_by_text("ends too early").first.wait_for()
    # What is typed is not lost to a row that is opened meanwhile.
    panel.locator("#id_condition").fill("n <")
    desk.locator("#fc-list .fc-title").first.click()
    desk.get_by_role("button", name="Go on editing").click()
    assert panel.locator("#id_condition").input_value() == "n <"
    panel.locator("#id_condition").fill("n < 5")
    panel.get_by_role("button", name="Save the settings").click()
    desk.get_by_text("The settings were saved.").wait_for()
    panel.locator("#id_condition").wait_for()  # open again, beside the present draft
    desk.get_by_text("Unpublished changes").wait_for()
    flow.refresh_from_db()
    assert flow.condition == "n < 5"
