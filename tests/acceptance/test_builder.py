"""The builder in a real browser, under a strict content security policy: by mouse, by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core import mail

from flowcontrol import drafting
from flowcontrol.documents import make_document
from flowcontrol.testing import Else, If, Log, While, run_until_idle
from tests.acceptance.builder import Builder
from tests.acceptance.conftest import log_in
from tests.admin_pages import draft_rows, url
from tests.every_page import make_flight

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_flow_is_built_and_rearranged_by_keyboard_alone(
    desk: Page, live_server: LiveServer
) -> None:
    flow = drafting.create_flow("Long delay")
    builder = Builder(desk, live_server, flow)
    desk.locator("#add a").focus()
    builder.keys.press("Enter")
    builder.pick("if")
    assert builder.focused == "config-condition"
    builder.keys.type("n > 2")
    builder.press("Control+Enter")
    assert builder.focused == "If n > 2"
    builder.keys.press("i")
    builder.pick("log")
    builder.keys.type("many")
    builder.press("Control+Enter")
    builder.press("ArrowLeft", "a")
    builder.pick("else")
    builder.press("Escape", "i")
    builder.pick("log")
    builder.keys.type("few")
    builder.press("Control+Enter")
    assert builder.shown == ["If n > 2", ".Log “many”", "Else", ".Log “few”"]
    assert draft_rows(flow) == ["if", ".log", "else", ".log"]

    builder.press("Alt+ArrowLeft")
    assert builder.shown[-1] == "Log “few”"
    assert builder.focused == "Log “few”"
    assert "Row 3" in desk.locator("#fc-live").inner_text()
    builder.press("Alt+ArrowRight")
    builder.press("d")
    assert builder.shown[-2:] == [".Log “few”", ".Log “few”"]
    builder.press("o")
    assert desk.locator(".fc-is-off").count() == 1
    builder.press("Delete")
    assert draft_rows(flow) == ["if", ".log", "else", ".log"]
    assert builder.focused == "Log “few”"
    assert builder.places == ["1", "1.1", "2", "2.1"]

    builder.press("Shift+ArrowUp", "Shift+ArrowUp")
    assert desk.locator(".fc-selected-row").count() == 3
    builder.press("Escape", "m")
    assert builder.focused.startswith("Edit")
    builder.press("Escape", "Shift+?")
    assert desk.get_by_text("Keys of the list").is_visible()


class Counting(Builder):
    """Somebody whose clicks, and keys beside typing, are counted."""

    count = 0

    def click(self, what: Locator) -> None:
        self.count += 1
        what.click()
        self.settled()

    def key(self, key: str) -> None:
        self.count += 1
        self.keys.press(key)
        self.settled()

    def add(self, where: Locator, kind: str, *typed: str) -> None:
        """Add a row by a click, a few letters and Enter, and fill in its first fields."""
        self.click(where)
        self.page.wait_for_selector("#fc-picker[open]")
        self.count += 1
        self.pick(kind)
        for number, text in enumerate(typed):
            if number:
                self.key("Tab")
            self.keys.type(text)


def test_a_person_builds_corrects_tries_publishes_and_sees_a_run_in_25_clicks(
    desk: Page, live_server: LiveServer
) -> None:
    flight = make_flight()
    addresses = {"type": "array", "items": {"type": "string"}, "default": ["Gate 7"]}
    flow = drafting.create_flow(
        "Cancelled",
        content_type=ContentType.objects.get_for_model(flight),
        state_schema={"type": "object", "properties": {"addresses": addresses}},
    )
    builder = Counting(desk, live_server, flow)
    inside = desk.get_by_role("link", name="Add a row here")

    builder.click(desk.locator("#fc-starts").get_by_role("link", name="Trigger"))
    desk.get_by_label("Trigger").select_option(label="A flight has been cancelled")
    builder.count += 1
    builder.click(desk.get_by_role("button", name="Add the trigger"))
    desk.locator("#fc-starts").get_by_text("A flight has been cancelled").wait_for()

    # A name that nothing sets: the checker will say so.
    builder.add(desk.locator("#add a"), "if", "late > 60")
    builder.add(inside.first, "for each", "addresses")
    builder.add(inside.first, "email", "desk@example.com")
    builder.click(desk.get_by_label("Subject"))
    builder.keys.type("{{ object }} is late")
    builder.click(desk.get_by_label("Text", exact=False).first)
    builder.keys.type("{{ item }}: {{ object.delay }} minutes.")
    builder.add(desk.locator("#add a"), "else")
    builder.add(inside.last, "delay")
    builder.click(desk.get_by_label("minutes"))
    builder.keys.type("5")

    builder.click(desk.locator("#fc-problems").get_by_role("link", name="If late > 60"))
    assert builder.focused == "config-condition"
    builder.key("Control+A")
    builder.keys.type("object.delay > 60")
    builder.click(desk.get_by_role("link", name="Try it"))
    desk.get_by_text("No problems found.").wait_for()
    desk.wait_for_selector("#fc-try")
    builder.keys.type(str(flight.pk))
    builder.click(desk.get_by_role("button", name="Try it"))
    desk.wait_for_selector("#fc-report")
    assert desk.locator("#fc-report").get_by_text(f"{flight} is late").first.is_visible()
    assert mail.outbox == []

    builder.click(desk.get_by_role("link", name="Publish…"))
    builder.click(desk.get_by_role("button", name="Publish"))
    builder.click(desk.get_by_role("button", name="Switch on"))
    flight.status = "cancelled"
    flight.save()
    run_until_idle()
    assert [each.subject for each in mail.outbox] == [f"{flight} is late"]
    builder.click(desk.get_by_role("link", name="Runs", exact=True).last)
    builder.click(desk.locator("#result_list tbody a").first)
    assert desk.locator(".fc-explanation").get_by_text("Complete").is_visible()
    assert draft_rows(flow) == ["if", ".for_each", "..send_email", "else", ".delay"]
    assert builder.count <= 25


def test_the_picker_waits_for_what_the_page_asks_already(
    desk: Page, live_server: LiveServer
) -> None:
    builder = Builder(desk, live_server, drafting.create_flow("Long delay"))

    def later(route: Route) -> None:
        desk.wait_for_timeout(300)
        route.continue_()

    desk.route(re.compile(r"/actions/$"), later)
    desk.evaluate("document.dispatchEvent(new CustomEvent('flowcontrol:reload'))")
    desk.locator("#add a").click()
    builder.pick("log")
    assert builder.focused == "config-message"


def test_a_picker_that_is_closed_at_once_leaves_nothing_behind(
    desk: Page, live_server: LiveServer
) -> None:
    flow = drafting.create_flow("Long delay")
    builder = Builder(desk, live_server, flow)

    def later(route: Route) -> None:
        desk.wait_for_timeout(300)
        route.continue_()

    desk.route(re.compile(r"/actions/add/"), later)
    desk.locator("#add a").click()
    builder.press("Escape")
    assert desk.locator("#fc-picker-body").inner_text() == ""
    desk.unroute(re.compile(r"/actions/add/"))
    desk.locator("#add a").click()
    builder.pick("log")
    assert draft_rows(flow) == ["log"]


def test_all_blocks_are_folded_and_unfolded_at_once(desk: Page, live_server: LiveServer) -> None:
    flow = drafting.create_flow("Long delay")
    rows = [If("n > 1", [While("n < 3", [Log("a")]), Log("b")]), Log("c"), If("n > 2", [Log("d")])]
    drafting.replace_draft(flow, make_document(*rows))
    builder = Builder(desk, live_server, flow)
    seen = desk.locator("#fc-list .fc-title:visible")
    builder.row("Log “a”").locator(".fc-title").focus()
    builder.press("Control+ArrowLeft")
    assert seen.all_inner_texts() == ["If n > 1", "Log “c”", "If n > 2"]
    assert builder.focused == "If n > 1"
    inside = desk.locator("#fc-list .fc-title", has_text="Log “a”")
    inside.evaluate("(title) => title.focus()")
    assert builder.focused == "If n > 1", "What is folded takes the focus."
    assert "Log “a”" not in read_out(desk)
    button = desk.get_by_role("button", name="Unfold all")
    builder.press("ArrowDown", "ArrowDown", "ArrowUp")
    assert builder.focused == "Log “c”"
    builder.press("Home", "ArrowRight")
    assert seen.count() == 5
    button = desk.get_by_role("button", name="Fold all", exact=True)
    button.click()
    assert seen.count() == 3
    desk.reload()
    assert seen.count() == 3
    desk.get_by_role("button", name="Unfold all").click()
    assert seen.count() == 7
    assert "Log “a”" in read_out(desk)
    drafting.replace_draft(flow, make_document(Log("a")))
    desk.reload()
    assert button.count() == 0


def read_out(page: Page) -> list[str]:
    """The links that the browser tells a screen reader of."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [
        each["name"]["value"]
        for each in nodes
        if not each["ignored"] and each["role"]["value"] == "link"
    ]


def test_rows_that_come_and_go_leave_the_others_where_they_are(
    desk: Page, live_server: LiveServer
) -> None:
    """In a long list, moving all the rows behind one in the page takes a while."""
    flow = drafting.create_flow("Long delay")
    rows = [If("n > 1", [Log("a"), Log("b")]), *(Log(f"{number}") for number in range(20))]
    drafting.replace_draft(flow, make_document(*rows))
    builder = Builder(desk, live_server, flow)
    desk.evaluate(
        """() => {
            window.moved = new Set();
            new MutationObserver((seen) => {
                for (const each of seen) {
                    for (const node of each.addedNodes) {
                        if (node.dataset?.fcRow) {
                            moved.add(node);
                        }
                    }
                }
            }).observe(document.getElementById("fc-list"), { childList: true, subtree: true });
        }"""
    )

    def moved() -> int:
        number: int = desk.evaluate("() => { const n = moved.size; moved.clear(); return n; }")
        return number

    builder.row("If").locator(".fc-title").focus()
    builder.press("d")
    assert (len(builder.shown), moved()) == (26, 3)
    builder.press("Control+z")
    assert (len(builder.shown), moved()) == (23, 0)
    builder.row("If").locator(".fc-title").focus()
    builder.press("Shift+W")
    assert builder.shown[:3] == ["Log “a”", "Log “b”", "Log “0”"]
    assert moved() == 2
    builder.press("Control+z")
    assert builder.shown[:4] == ["If n > 1", ".Log “a”", ".Log “b”", "Log “0”"]
    assert moved() <= 3
    builder.row("Log “0”").locator(".fc-title").focus()
    builder.press("Alt+ArrowDown")
    assert builder.shown[3:5] == ["Log “1”", "Log “0”"]
    assert moved() == 1
    assert draft_rows(flow)[3:5] == ["log", "log"]
    assert builder.places == ["1", "1.1", "1.2", *(str(number) for number in range(2, 22))]


def test_what_is_dragged_is_saved_as_it_is_shown(desk: Page, live_server: LiveServer) -> None:
    flow = drafting.create_flow("Long delay")
    rows = [If("n > 1", [Log("a"), Log("b")]), Else([]), While("n < 3", [Log("c")]), Log("d")]
    drafting.replace_draft(flow, make_document(*rows))
    builder = Builder(desk, live_server, flow)

    def drag(what: str, onto: str, *, below: bool = True) -> None:
        grip = builder.row(what).locator(".fc-grip")
        grip.hover()
        desk.mouse.down()
        box = builder.row(onto).bounding_box()
        assert box is not None
        middle = box["x"] + 60
        at = box["y"] + (box["height"] - 3 if below else 3)
        desk.mouse.move(middle, at - 6 if below else at + 6, steps=4)
        desk.mouse.move(middle, at, steps=6)
        desk.wait_for_timeout(150)
        desk.mouse.up()
        desk.wait_for_timeout(100)
        builder.settled()

    def saved() -> list[str]:
        document = drafting.draft_document(flow)

        def names(rows: list[Any], dots: str) -> Iterator[str]:
            for row in rows:
                config = row["config"]
                text = config.get("message") or config.get("condition") or row["action"]
                yield f"{dots}{text}"
                yield from names(row["children"], dots + ".")

        return list(names(document["actions"], ""))

    def seen() -> list[str]:
        return [re.sub(r"Log “(.)”|If |While |Else", r"\1", row) or "else" for row in builder.shown]

    drag("Log “d”", "Log “c”")
    assert ".d" in saved()
    assert seen() == [each.replace("else", "") or "else" for each in saved()]
    drag("Log “a”", "Log “c”", below=False)
    assert seen() == [each.replace("else", "") or "else" for each in saved()]
    before = saved()
    drag("While", "Log “b”")  # a whole block
    assert saved() != before
    assert seen() == [each.replace("else", "") or "else" for each in saved()]
    desk.reload()
    assert seen() == [each.replace("else", "") or "else" for each in saved()]


def test_rows_are_copied_into_another_flow_and_each_change_is_undone(
    desk: Page, live_server: LiveServer
) -> None:
    desk.context.grant_permissions(["clipboard-read", "clipboard-write"])
    flow, other = drafting.create_flow("Long delay"), drafting.create_flow("Other")
    drafting.replace_draft(flow, make_document(If("n > 1", [Log("a")]), Log("b")))
    builder = Builder(desk, live_server, flow)
    builder.row("If n > 1").focus()
    builder.page.locator("#fc-list .fc-title").first.focus()
    builder.press("Shift+ArrowDown", "Shift+ArrowDown", "Control+c")
    desk.locator("#fc-live", has_text="Copied.").wait_for()
    builder.press("Escape", "Home", "w")
    desk.wait_for_selector("[data-fc-form]")
    assert builder.shown == ["If …", ".If n > 1", "..Log “a”", "Log “b”"]
    desk.locator("#fc-list .fc-title").last.focus()
    builder.press("Control+x")
    # The clipboard takes its time; what is cut goes only when it has it.
    desk.locator("#fc-list").get_by_text("Log “b”").wait_for(state="detached")
    builder.press("Home", "Delete")
    assert builder.shown == []
    for expected in (
        ["If …", ".If n > 1", "..Log “a”"],
        ["If …", ".If n > 1", "..Log “a”", "Log “b”"],
        ["If n > 1", ".Log “a”", "Log “b”"],
    ):
        builder.press("Control+z") if builder.shown else desk.locator(
            "#fc-undo button"
        ).first.click()
        builder.settled()
        assert builder.shown == expected
    desk.reload()  # the steps are kept by the server
    desk.locator("#fc-list .fc-title").first.focus()
    builder.press("Control+Shift+z")
    assert builder.shown[0] == "If …"

    desk.locator("#fc-list .fc-title").last.focus()
    builder.press("Control+c")
    desk.locator("#fc-live", has_text="Copied.").wait_for()
    there = Builder(desk, live_server, other)
    desk.locator("#fc-undo").wait_for()
    there.press("Control+v")
    desk.locator("#fc-list .fc-title").wait_for()
    assert there.shown == ["Log “b”"]
    assert other.actions.get(action="log").uid != flow.actions.get(config__message="b").uid


def test_the_second_of_two_people_is_refused_and_keeps_what_was_typed(
    desk: Page, live_server: LiveServer
) -> None:
    flow = drafting.create_flow("Long delay")
    drafting.replace_draft(flow, make_document(Log("first", label="first"), Log("second")))
    builder = Builder(desk, live_server, flow)
    builder.row("first").click()
    desk.get_by_label("Message").fill("typed meanwhile")
    drafting.delete_action(flow, flow.actions.get(config__message="second").uid)

    desk.get_by_role("button", name="Save").click()
    builder.settled()
    assert desk.get_by_role("alert").get_by_text("Nothing was saved").is_visible()
    assert desk.get_by_role("alert").get_by_text("1 row is gone").is_visible()
    assert desk.get_by_label("Message").input_value() == "typed meanwhile"
    assert builder.shown == ["first", "Log “second”"]
    desk.get_by_role("button", name="Show the draft as it is now").click()
    builder.settled()
    assert builder.shown == ["first"]
    assert desk.get_by_label("Message").input_value() == "typed meanwhile"
    desk.get_by_role("button", name="Save").click()
    builder.settled()
    assert flow.actions.get(label="first").config["message"] == "typed meanwhile"


def test_what_is_typed_is_saved_by_going_elsewhere_or_asked_about(
    desk: Page, live_server: LiveServer
) -> None:
    flow = drafting.create_flow("Long delay")
    drafting.replace_draft(flow, make_document(Log("first"), Log("second")))
    builder = Builder(desk, live_server, flow)
    builder.row("Log “first”").click()
    desk.get_by_label("Message").fill("changed")
    builder.row("Log “second”").click()
    desk.wait_for_selector(f"[data-fc-of='{flow.actions.get(config__message='second').uid}']")
    assert builder.shown == ["Log “changed”", "Log “second”"]
    desk.get_by_label("Message").fill("")
    builder.row("Log “changed”").click()
    desk.get_by_role("button", name="Go on editing").click()
    assert builder.focused == "config-message"
    builder.row("Log “changed”").click()
    desk.locator("#fc-unsaved").get_by_role("button", name="Save anyway").click()
    desk.wait_for_selector(f"[data-fc-of='{flow.actions.get(config__message='changed').uid}']")
    assert flow.actions.get(config={}, depth__gt=1).action == "log"
    assert desk.locator("#fc-problems").get_by_text("Message: Required").is_visible()
    desk.get_by_label("Message").fill("and away")
    desk.get_by_role("link", name="Versions").click()
    desk.wait_for_url("**/versions/")
    assert flow.actions.filter(config__message="and away").exists()


def test_a_row_is_added_without_any_script(browser: Browser, live_server: LiveServer) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(15_000)
    page = context.new_page()
    log_in(page, live_server)
    flow = drafting.create_flow("Long delay")
    drafting.replace_draft(flow, make_document(Log("first", label="first")))
    page.goto(f"{live_server.url}{url('flow_actions', flow.pk)}")
    page.get_by_role("link", name="Add a row").last.click()
    page.get_by_role("searchbox").fill("stop")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("button", name=re.compile("Stop flow")).click()
    page.get_by_label("Reason").fill("Enough")
    page.get_by_role("button", name="Save").click()
    assert draft_rows(flow) == ["first", "stop"]
    page.get_by_role("link", name=re.compile("^Stop")).click()
    page.get_by_role("button", name="Move up").click()
    assert draft_rows(flow) == ["stop", "first"]
    context.close()
