"""The builder in a real browser, under a strict content security policy: by mouse, by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flowcontrol import drafting
from flowcontrol.documents import make_document
from flowcontrol.models import Flow
from flowcontrol.testing import Delay, Else, If, Log, While, make_flow
from tests.acceptance.conftest import log_in
from tests.admin_pages import draft_rows, uid_of, url

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"


class Builder:
    """Somebody at the builder of one flow."""

    def __init__(self, page: Page, live_server: LiveServer, flow: Flow) -> None:
        self.page, self.flow = page, flow
        self.keys = page.keyboard
        page.goto(live_server.url + url("flow_actions", flow.pk))

    @property
    def shown(self) -> list[str]:
        """The rows as the page shows them, with a dot for each block around it."""
        rows: list[str] = self.page.eval_on_selector_all(
            "#fc-list [data-fc-row]",
            """(rows) => rows.map((row) => {
                let dots = "";
                for (let block = row.parentElement; block.id !== "fc-list"; ) {
                    block = block.parentElement.parentElement;
                    dots += ".";
                }
                return dots + row.querySelector(".fc-title").textContent;
            })""",
        )
        return rows

    @property
    def places(self) -> list[str]:
        return self.page.locator("#fc-list .fc-place").all_inner_texts()

    def settled(self) -> None:
        """Wait until the server has answered."""
        self.page.wait_for_selector("#fc-builder:not([aria-busy])")

    def row(self, title: str) -> Locator:
        """The row's own line."""
        return self.page.locator(".fc-line").filter(
            has=self.page.locator(".fc-title", has_text=re.compile(f"^{re.escape(title)}"))
        )

    def press(self, *keys: str) -> None:
        for key in keys:
            self.keys.press(key)
        self.settled()

    def pick(self, text: str) -> None:
        """Choose in the picker that is opening, by typing."""
        self.page.wait_for_selector("#fc-picker[open] .fc-choice.fc-active")
        self.keys.type(text)
        self.keys.press("Enter")
        self.page.wait_for_selector("#fc-picker:not([open])", state="attached")
        self.page.wait_for_selector("[data-fc-form]")
        self.settled()

    @property
    def focused(self) -> str:
        text: str = self.page.evaluate(
            "document.activeElement.name || document.activeElement.textContent"
        )
        return " ".join(text.split())


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


def test_what_is_typed_is_not_lost_by_going_elsewhere(desk: Page, live_server: LiveServer) -> None:
    flow = drafting.create_flow("Long delay")
    drafting.replace_draft(flow, make_document(Log("first"), Log("second")))
    builder = Builder(desk, live_server, flow)
    builder.row("Log “first”").click()
    desk.get_by_label("Message").fill("changed")
    builder.row("Log “second”").click()
    desk.get_by_role("button", name="Go on editing").click()
    assert desk.get_by_label("Message").input_value() == "changed"
    builder.row("Log “second”").click()
    desk.locator("#fc-unsaved").get_by_role("button", name="Save").click()
    desk.wait_for_selector(f"[data-fc-of='{flow.actions.get(config__message='second').uid}']")
    assert builder.shown == ["Log “changed”", "Log “second”"]


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_from_using_it(
    browser: Browser, live_server: LiveServer, scheme: Any
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    page = context.new_page()
    log_in(page, live_server)
    flow = make_flow(If("n > 1", [Delay(), Log("a", note="A note")]), Else([Log("b")]), name="F")
    drafting.add_action(flow, "else")
    drafting.set_enabled(flow, uid_of(flow, "delay"), False)
    builder = Builder(page, live_server, flow)
    found = check(page)
    builder.row("If n > 1").click()
    page.wait_for_selector("[data-fc-form]")
    found += check(page)
    builder.press("Escape", "m")
    found += check(page)
    builder.press("Escape", "a")
    page.wait_for_selector(".fc-choice.fc-active")
    found += check(page)
    builder.press("Escape", "Shift+?")
    found += check(page)
    assert found == []
    context.close()


def check(page: Page) -> list[str]:
    """What axe-core finds serious or critical, with the first place of each."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE.read_text("utf-8"))
    page.wait_for_timeout(120)  # colours fade in
    result = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {violation['nodes'][0]['html'][:160]}"
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
