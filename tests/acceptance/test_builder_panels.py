"""Whatever stands beside the builder's list: no id is in the document twice, nobody is kept out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowcontrol.documents import make_document, row
from flowcontrol.drafting import create_flow, replace_draft
from flowcontrol.flowtests import run_tests, save_test
from flowcontrol.models import Flow, Trigger
from flowcontrol.registry import actions
from tests.acceptance.test_trying import Bench, ids_used_twice
from tests.admin_pages import url
from tests.testapp.models import Parcel

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def flow(transactional_db: None) -> Flow:
    """A flow with a row of every type that is registered, finished or not."""
    flow = create_flow("All of them")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    types = [each.name for each in actions]
    rows = [row(name, uid=f"u{number}") for number, name in enumerate(sorted(types))]
    replace_draft(flow, make_document(*rows, content_type="testapp.parcel", state_schema=schema))
    box = Parcel.objects.create(label="box")
    save_test(flow, "Nothing", box, state={"n": 1})
    run_tests(flow)
    return flow


def test_the_form_of_no_row_has_an_id_that_is_there_already(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    bench = Bench(desk, live_server, flow)
    assert ids_used_twice(desk) == []
    titles = desk.locator("#fc-list .fc-title")
    twice = {}
    for number in range(titles.count()):
        titles.nth(number).click()
        desk.wait_for_selector(f'[data-fc-of="u{number}"]')
        bench.settled()
        for summary in desk.locator("#fc-panel summary").all():
            summary.click()
        if found := ids_used_twice(desk):
            twice[titles.nth(number).inner_text()] = found
    assert titles.count() == len(list(actions))
    assert twice == {}


def test_no_other_panel_has_an_id_that_is_there_already(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    Trigger.objects.create(name="demo.flight_cancelled", flow=flow)
    bench = Bench(desk, live_server, flow)
    twice = {}

    def look(where: str) -> None:
        bench.settled()
        if found := ids_used_twice(desk):
            twice[where] = found

    desk.locator("#fc-list .fc-title").first.focus()
    bench.press("m")
    look("menu")
    bench.press("Escape", "a")
    desk.wait_for_selector("#fc-picker[open] .fc-choice")
    look("picker")
    bench.press("Escape", "?")
    desk.wait_for_selector("#fc-help-dialog[open]")
    look("keys")
    bench.press("Escape")
    bench.open("Tests")
    look("tests")
    bench.open("Try it")
    bench.panel.get_by_label("Key of the parcel").fill(str(Parcel.objects.get().pk))
    look("trial")
    bench.try_it('{"n": 1}')
    look("report")
    bench.open("Settings")
    look("settings")
    desk.locator("#fc-starts a.fc-start").click()
    bench.panel.get_by_label("Condition").first.wait_for()
    look("trigger")
    desk.locator("#fc-starts a.fc-start-add").click()
    bench.panel.get_by_role("button", name="Add the trigger").wait_for()
    look("another trigger")
    for page in ("flow_try", "flow_tests", "flow_add_row", "flow_change"):
        desk.goto(live_server.url + url(page, flow.pk))
        if found := ids_used_twice(desk):
            twice[page] = found
    assert twice == {}
