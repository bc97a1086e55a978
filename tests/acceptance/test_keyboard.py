"""Everything by keyboard alone: no test here clicks, or puts the focus anywhere by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.contenttypes.models import ContentType

from demo.models import Flight
from flowcontrol import drafting
from flowcontrol.documents import make_document
from flowcontrol.drafts import draft_document
from flowcontrol.models import Flow, FlowRun, Trigger
from flowcontrol.publishing import publish
from flowcontrol.testing import Else, If, Log, make_flow
from tests.acceptance.builder import Builder, Hands
from tests.admin_pages import draft_rows, url
from tests.every_page import make_flight

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


def flow_of(*rows: object, name: str = "Long delay") -> Flow:
    flow = drafting.create_flow(name)
    drafting.replace_draft(flow, make_document(*rows))  # type: ignore[arg-type]
    return flow


def test_a_trigger_is_added_changed_and_switched_off(desk: Page, live_server: LiveServer) -> None:
    flow = drafting.create_flow("Cancelled", content_type=ContentType.objects.get_for_model(Flight))
    Builder(desk, live_server, flow)
    hands = Hands(desk)
    hands.use("Trigger: add one")
    desk.wait_for_selector("#fc-panel [data-fc-settings]")
    assert hands.at.startswith("Trigger")  # the first field of the form
    hands.keys.type("A flight has been cancelled")
    hands.fill("Condition", "object.delay > 60")
    hands.use("Add the trigger")
    desk.locator("#fc-panel h2:focus").wait_for()
    desk.locator("#fc-live", has_text="The trigger was added.").wait_for()
    trigger = Trigger.objects.get()
    assert (trigger.name, trigger.condition) == ("demo.flight_cancelled", "object.delay > 60")
    assert trigger.active_at

    hands.use("A flight has been cancelled")
    desk.get_by_role("heading", name="A flight has been cancelled").wait_for()
    hands.fill("Condition", "object.delay > 90")
    hands.use("Save")
    desk.locator("#fc-panel h2:focus").wait_for()
    desk.locator("#fc-live", has_text="The trigger was saved.").wait_for()
    hands.use("Switch off A flight has been cancelled")
    desk.locator("#fc-live", has_text="does not start this flow any more").wait_for()
    trigger.refresh_from_db()
    assert trigger.condition == "object.delay > 90"
    assert Trigger.objects.filter(active_at=None).count() == 1
    # Back to the list, which is where one came from.
    hands.press("Escape")
    assert hands.at.endswith("Add a row at the end")


def test_the_settings_are_filled_in(desk: Page, live_server: LiveServer) -> None:
    flow = flow_of(Log("a"))
    Builder(desk, live_server, flow)
    hands = Hands(desk)
    hands.reach("Try it")
    hands.use("Settings")  # of the tools, which opens beside the list
    desk.wait_for_selector("#fc-panel [data-fc-settings]")
    hands.fill("Object type", "Flight")
    hands.fill("Keep condition", "object.delay > 5")
    hands.use("Add a value")
    assert hands.at == "Name"  # of the new line
    hands.keys.type("weight")
    hands.keys.press("Tab")
    assert hands.at.startswith("Type")
    hands.keys.type("Number")
    hands.keys.press("Tab")
    assert hands.at.startswith("Default")
    hands.keys.type("1.5")
    hands.keys.press("Tab")
    assert hands.at == "Required"
    hands.keys.press("Space")
    hands.use("Add a value")
    hands.keys.type("urgent")
    hands.keys.press("Tab")
    hands.keys.type("Yes")
    hands.use("Add a value")
    hands.keys.type("nonsense")
    hands.use("Remove")
    assert hands.at == "Name"  # of the line before
    hands.fill("Runs at the same time", "3")
    hands.use("Save the settings")
    desk.locator("#fc-panel h2:focus").wait_for()
    desk.locator("#fc-live", has_text="The settings were saved.").wait_for()
    flow.refresh_from_db()
    assert flow.content_type == ContentType.objects.get_for_model(Flight)
    assert (flow.condition, flow.max_concurrent) == ("object.delay > 5", 3)
    assert flow.state_schema == {
        "type": "object",
        "properties": {
            "weight": {"type": "number", "default": 1.5},
            "urgent": {"type": "boolean"},
        },
        "required": ["weight"],
    }


def test_a_flow_is_published_switched_on_and_rolled_back(
    desk: Page, live_server: LiveServer
) -> None:
    flow = flow_of(Log("first"))
    publish(flow)
    drafting.edit_action(flow, "1", config={"message": "second"})
    Builder(desk, live_server, flow)
    hands = Hands(desk)
    hands.use("Publish…")
    desk.wait_for_url("**/publish/")
    assert desk.get_by_role("heading", name="What changes against version 1").is_visible()
    hands.fill("Note", "Louder")
    hands.use("Publish")
    desk.get_by_text("Version 2 is live.").wait_for()
    hands.use("Switch on")
    desk.get_by_text("The flow is on").wait_for()
    flow.refresh_from_db()
    assert flow.live_version is not None
    assert (flow.live_version.number, flow.live_version.note) == (2, "Louder")
    assert flow.active_at is not None

    hands.use("Versions")
    desk.wait_for_url("**/versions/")
    hands.use("Roll back…")
    desk.wait_for_url("**/roll-back/")
    hands.fill("Note", "Too loud")
    hands.use("Roll back")
    desk.get_by_text("It says what version 1 says.").wait_for()
    flow.refresh_from_db()
    assert flow.live_version.number == 3
    assert flow.versions.get(number=3).note == "Too loud"


def test_a_run_is_started_with_a_form_made_from_the_state_schema(
    desk: Page, live_server: LiveServer
) -> None:
    flight = make_flight()
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1},
            "bay": {"type": "string", "enum": ["A", "B", "C", "D", "E", "F"]},
            "urgent": {"type": "boolean", "default": False},
            "wait": {"type": "string", "format": "duration"},
        },
        "required": ["n"],
    }
    flow = make_flow(Log("x"), content_type="demo.flight", state_schema=schema)
    Builder(desk, live_server, flow)
    hands = Hands(desk)
    hands.use("Start a run…")
    desk.wait_for_url("**/start/")
    hands.fill("Key of the flight", str(flight.pk))
    hands.fill("N required", "0")
    hands.use("Start the run")
    # What is wrong is told at its field, and what was typed is still there.
    desk.get_by_text("Must be at least 1").wait_for()
    hands.reach("N required")
    assert desk.evaluate("document.activeElement.value") == "0"
    assert desk.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    hands.keys.press("Control+A")
    hands.keys.type("4")
    hands.fill("Bay", "C")
    hands.reach("Urgent")
    hands.keys.press("Space")
    hands.fill("minutes", "90")
    hands.use("Start the run")
    desk.get_by_text("was started").wait_for()
    run = FlowRun.objects.get()
    assert run.content_object == flight
    assert run.state == {"n": 4, "bay": "C", "urgent": True, "wait": "PT1H30M"}


def reach_the_list(hands: Hands, title: str) -> None:
    hands.reach(title)
    assert hands.page.evaluate("document.activeElement.closest('#fc-list') !== null")


def test_rows_are_cut_copied_and_pasted_between_two_flows(
    desk: Page, live_server: LiveServer
) -> None:
    desk.context.grant_permissions(["clipboard-read", "clipboard-write"])
    flow, other = flow_of(Log("a"), If("n > 1", [Log("b")]), Log("c")), flow_of(name="Other")
    here = Builder(desk, live_server, flow)
    hands = Hands(desk)
    reach_the_list(hands, "Log “a”")
    hands.press("ArrowDown", "Shift+ArrowDown")
    assert hands.told == "2 selected"
    hands.press("Control+x")
    desk.locator("#fc-live", has_text="Cut").wait_for()
    assert here.shown == ["Log “a”", "Log “c”"]
    assert hands.at == "Log “a”"
    hands.press("Control+z")
    assert here.shown == ["Log “a”", "If n > 1", ".Log “b”", "Log “c”"]
    assert "Undone" in hands.told
    assert hands.at == "If n > 1"
    hands.press("Control+Shift+z")
    assert here.shown == ["Log “a”", "Log “c”"]
    hands.press("End", "Control+c")
    desk.locator("#fc-live", has_text="Copied.").wait_for()

    there = Builder(desk, live_server, other)
    hands.reach("Add a row at the end")
    hands.press("Control+v")
    desk.locator("#fc-list .fc-title").wait_for()
    assert there.shown == ["Log “c”"]
    assert hands.at == "Log “c”"
    hands.press("Control+z")
    assert there.shown == []
    assert hands.at != ""
    hands.press("Control+y")
    assert there.shown == ["Log “c”"]
    assert draft_rows(other) == ["log"]
    # Into a block, by the menu.
    hands.press("g")
    desk.wait_for_selector("[data-fc-form]")
    hands.press("Escape", "m")
    for _press in range(40):
        if hands.at.startswith("Paste inside"):
            break
        hands.press("ArrowDown")
    hands.press("Enter")
    desk.locator(".fc-title", has_text="Log").nth(1).wait_for()
    assert there.shown[1:] == [".Log “c”", ".Log “c”"]


def test_blocks_are_put_around_rows_and_taken_away_and_each_is_undone_and_done_again(
    desk: Page, live_server: LiveServer
) -> None:
    flow = flow_of(Log("a"), If("n > 1", [Log("b")]), Else([Log("c")]), Log("d"))
    builder = Builder(desk, live_server, flow)
    hands = Hands(desk)
    reach_the_list(hands, "Log “a”")
    before = builder.shown

    def undone_and_done_again(after: list[str]) -> None:
        assert builder.shown == after
        hands.press("Control+z")
        assert builder.shown == before
        assert "Undone" in hands.told
        assert hands.at != ""
        hands.press("Control+Shift+z")
        assert builder.shown == after
        assert "Done again" in hands.told
        assert hands.at != ""
        hands.press("Control+z")
        assert builder.shown == before

    # Several rows into a block: an If takes its Else along.
    hands.press("Home", "Shift+ArrowDown")
    assert hands.told == "2 selected"
    hands.press("g")
    desk.wait_for_selector("[data-fc-form]")
    assert hands.at.startswith("Title")  # the first field of what it was put into
    hands.press("Escape")
    undone_and_done_again(
        ["Group", ".Log “a”", ".If n > 1", "..Log “b”", ".Else", "..Log “c”", "Log “d”"]
    )
    hands.press("Escape", "End", "w")
    desk.wait_for_selector("[data-fc-form]")
    assert hands.at.startswith("Condition")
    hands.press("Escape")
    undone_and_done_again([*before[:-1], "If …", ".Log “d”"])
    # A block is taken away, if nothing belongs to it.
    hands.press("Home", "ArrowDown", "Shift+w")
    assert "belongs to this row" in desk.get_by_role("alert").inner_text()
    assert hands.at == "If n > 1"
    assert builder.shown == before
    hands.press("ArrowDown", "ArrowDown", "Shift+w")
    undone_and_done_again([*before[:3], "Log “c”", "Log “d”"])


def test_rows_become_a_flow_of_their_own_once_it_has_a_name(
    desk: Page, live_server: LiveServer
) -> None:
    flow = flow_of(Log("a"), If("n > 1", [Log("b")]), Else([Log("c")]), Log("d"))
    builder = Builder(desk, live_server, flow)
    before = draft_document(flow)
    hands = Hands(desk)
    reach_the_list(hands, "Log “a”")
    hands.press("ArrowDown", "m")
    for _press in range(40):
        if hands.at.startswith("Make a flow of its own"):
            break
        hands.press("ArrowDown")
    hands.press("Enter")
    desk.wait_for_selector("#fc-ask[open]")
    assert hands.at.startswith("Name")
    assert desk.evaluate("document.activeElement.value") == "Long delay: If n > 1"
    hands.press("Escape")  # nothing is done
    assert hands.at == "If n > 1"
    assert draft_document(flow) == before
    assert Flow.objects.count() == 1

    hands.press("m")
    for _press in range(40):
        if hands.at.startswith("Make a flow of its own"):
            break
        hands.press("ArrowDown")
    hands.press("Enter")
    desk.wait_for_selector("#fc-ask[open]")
    hands.keys.type("Sizes")  # in the place of what is offered
    hands.press("Enter")
    desk.wait_for_selector("#fc-ask:not([open])", state="attached")
    desk.locator(".fc-title", has_text="Start flow sizes").wait_for()
    assert builder.shown == ["Log “a”", "Start flow sizes and wait for it", "Log “d”"]
    assert hands.at == "Start flow sizes and wait for it"
    assert "moved “If n > 1”" in hands.told.lower() or "Moved “If n > 1”" in hands.told
    made = Flow.objects.get(name="Sizes")
    assert draft_rows(made) == ["if", ".log", "else", ".log"]
    hands.press("Control+z")
    assert draft_document(flow) == before
    assert hands.at != ""
    hands.press("Control+Shift+z")
    assert builder.shown[1] == "Start flow sizes and wait for it"
    # The way to the new flow stands in what is told, as long as one is there.
    assert Flow.objects.filter(name="Sizes").count() == 1


def test_undoing_by_the_button_goes_step_by_step_without_losing_it(
    desk: Page, live_server: LiveServer
) -> None:
    flow = flow_of(Log("a"), Log("b"))
    builder = Builder(desk, live_server, flow)
    hands = Hands(desk)
    reach_the_list(hands, "Log “a”")
    hands.press("d", "d", "d")
    assert len(builder.shown) == 5
    hands.reach("Undo", back=True)
    hands.press("Enter")
    assert hands.at == "Undo"
    hands.press("Enter", "Enter")
    assert builder.shown == ["Log “a”", "Log “b”"]
    hands.press("Enter")  # replacing the whole draft is a step as well
    assert builder.shown == []
    assert hands.at != ""  # the button cannot be pressed any more


def test_a_refusal_is_read_out_and_its_button_is_found(desk: Page, live_server: LiveServer) -> None:
    flow = flow_of(Log("a"), Log("b"))
    builder = Builder(desk, live_server, flow)
    hands = Hands(desk)
    reach_the_list(hands, "Log “a”")
    drafting.delete_action(flow, "2")
    hands.press("d")
    desk.get_by_role("alert").get_by_text("Nothing was saved").wait_for()
    assert hands.at == "Log “a”"
    hands.reach("Show the draft as it is now", back=True)
    hands.press("Enter")
    assert builder.shown == ["Log “a”"]
    assert hands.at == "Log “a”"


def test_a_page_can_be_read_past_its_header_at_once(desk: Page, live_server: LiveServer) -> None:
    flow = flow_of(Log("a"))
    desk.goto(live_server.url + url("flow_actions", flow.pk))
    hands = Hands(desk)
    hands.press("Tab")
    assert "Skip to main content" in hands.at
