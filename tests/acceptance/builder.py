"""Somebody at the builder: with a mouse, or with a keyboard alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.admin_pages import url

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page
    from pytest_django.live_server_helper import LiveServer

    from flowcontrol.models import Flow

AXE: Final = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"


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
        self.page.wait_for_load_state()
        if self.page.locator("#fc-builder").count():
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


NAME = """() => {
    const element = document.activeElement;
    if (element === null || element === document.body) {
        return "";
    }
    const read = (part) => {
        const copy = part.cloneNode(true);
        copy.querySelectorAll("[aria-hidden=true]").forEach((each) => each.remove());
        return copy.textContent;
    };
    const labels = [...(element.labels ?? [])].map(read).join(" ");
    return element.getAttribute("aria-label") ?? (labels || read(element));
}"""
"""What is read out of the element that has the focus."""


class Hands:
    """Somebody without a mouse: what is not reached by keys is not reached."""

    MOST = 120

    def __init__(self, page: Page) -> None:
        self.page, self.keys = page, page.keyboard

    @property
    def at(self) -> str:
        """The name of what has the focus; nothing if nothing has it."""
        return " ".join(self.page.evaluate(NAME).split())

    @property
    def told(self) -> str:
        """What was announced last."""
        return " ".join(self.page.locator("#fc-live").inner_text().split())

    def reach(self, name: str, *, back: bool = False) -> None:
        """Press Tab until what is called so has the focus."""
        passed = []
        for _press in range(self.MOST):
            self.keys.press("Shift+Tab" if back else "Tab")
            passed.append(self.at)
            if passed[-1] == name:
                return
        raise AssertionError(f"{name!r} cannot be reached by Tab. Passed: {passed}")

    def press(self, *keys: str) -> None:
        """Press keys, wait for the answer, and see that the focus is somewhere."""
        for key in keys:
            self.keys.press(key)
        self.page.wait_for_load_state()
        if self.page.locator("#fc-builder").count():
            self.page.wait_for_selector("#fc-builder:not([aria-busy])")

    def use(self, name: str) -> None:
        """Reach a link or a button and press it."""
        self.reach(name)
        self.press("Enter")

    def fill(self, name: str, text: str) -> None:
        """Reach a field and type into it; in a list of choices this chooses."""
        self.reach(name)
        self.keys.press("Control+A")
        self.keys.type(text)


DJANGOS_OWN: Final = ("#header", ".breadcrumbs", "#changelist-search", "#nav-sidebar", ".datetime")
"""What Django's pages have around what is ours, or draw by themselves."""


def barriers(page: Page, *rules: str) -> list[str]:
    """What axe-core finds serious or critical, with the first place of each; ``rules`` alone."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE.read_text("utf-8"))
    page.wait_for_timeout(120)  # colours fade in
    options: dict[str, object] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    context = {"exclude": [[selector] for selector in DJANGOS_OWN]}
    result = page.evaluate("([context, options]) => axe.run(context, options)", [context, options])
    return [
        f"{violation['id']}: {violation['nodes'][0]['html'][:160]}"
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
