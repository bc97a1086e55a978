"""A newcomer gets through the tutorial: in the admin, clicking what the page says."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guards.documentation import blocks, read
from tests.guards.test_docs_examples import (
    LET_TIME_PASS,
    SHELL,
    TUTORIAL,
    announced,
    call,
    environment,
    paste,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.serial


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the tutorial, up to where the flow is put together."""
    folder = tmp_path_factory.mktemp("tutorial")
    for block in blocks(TUTORIAL):
        if block.remark == "the flow from code":
            break
        if block.is_run:
            paste(block, folder)
    return folder


@pytest.fixture
def site(project: Path) -> Iterator[str]:
    """The address of the site, served as the tutorial serves it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
    with (project / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=project, env=environment(PYTHONWARNINGS="default"), stdout=log, stderr=log
        )
        try:
            _wait_for(port, server)
            yield f"http://127.0.0.1:{port}/admin/"
        finally:
            server.terminate()
            server.wait(timeout=20)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _try in range(200):
        assert server.poll() is None, "The server has ended."
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("The server does not answer.")


class Newcomer:
    """Does in the browser what the tutorial says, in its words."""

    def __init__(self, page: Page, site: str, project: Path) -> None:
        self.page = page
        self.site = site
        self.project = project
        self.content: Locator = page.locator("#content")
        self.tutorial = " ".join(read(TUTORIAL).split())

    def told(self, words: str) -> str:
        assert f"*{words}*" in self.tutorial, f"The tutorial does not speak of {words!r}."
        return words

    def typed(self, text: str) -> str:
        assert text in self.tutorial, f"The tutorial does not tell to type {text!r}."
        return text

    def follow(self, words: str, extra: str = "") -> None:
        pattern = re.compile(rf"^\W*{re.escape(self.told(words))}{extra}")
        self.content.get_by_role("link", name=pattern).last.click()

    def press(self, words: str) -> None:
        name = re.compile(f"^{re.escape(self.told(words))}$", re.IGNORECASE)
        self.content.get_by_role("button", name=name).click()

    def fill(self, label: str, text: str) -> None:
        pattern = re.compile(rf"^{re.escape(self.told(label))}\b")
        textbox = self.content.get_by_role("textbox", name=pattern)
        # A field that completes expressions is a box to choose from as well.
        field = textbox.or_(self.content.get_by_role("combobox", name=pattern)).first
        field.fill(self.typed(text))

    def log_in(self) -> None:
        self.page.goto(self.site)
        self.page.get_by_label("Username").fill(self.typed("mira"))
        self.page.get_by_label("Password").fill(self.typed("late-again"))
        self.page.get_by_role("button", name="Log in").click()

    def add(self, model: str) -> None:
        self.page.goto(self.site)
        self.content.locator("tr", has_text=self.told(model)).get_by_role(
            "link", name=self.told("Add")
        ).click()

    def add_row(self, where: str, kind: str, **texts: str) -> None:
        self.follow(where)
        name = re.compile(rf"^{re.escape(self.told(kind))}\b")
        self.page.get_by_role("option", name=name).first.click()
        self.page.locator("[data-fc-form]:not([data-fc-saved])").wait_for()
        for label, text in texts.items():
            self.fill(label.replace("_", " "), text)
        if kind == "Delay":
            self.content.get_by_label(self.told("minutes")).fill("1")
        self.press("Save")
        self.page.locator("[data-fc-saved]").wait_for()

    def make_the_flow(self) -> None:
        self.add("Flows")
        self.content.get_by_label("Name:", exact=True).fill(self.typed("Late flight"))
        object_type = self.content.get_by_label(self.told("Object type"))
        object_type.select_option(label=self.told("Flight (Desk)"))
        self.press("Save")
        late = "{{ object }} leaves {{ object.delay }} minutes late."
        self.add_row("Add a row", "Announce", Text=late)
        self.add_row("Add a row", "While", Condition="not object.departed")
        self.add_row("Add a row here", "Delay")
        self.add_row("Add a row here", "Return to parent action", Only_if="object.departed")
        still = "{{ object }} is still here, and so are you."
        self.add_row("Add a row here", "Announce", Text=still)
        self.add_row("Add a row", "Announce", Text="{{ object }} has left.")

    def let_it_be_started(self) -> None:
        self.follow("Publish…")
        self.press("Publish")
        self.press("Switch on")
        self.content.locator(".fc-tabs").get_by_role("link", name=self.told("Settings")).click()
        self.told("Limits")
        self.content.get_by_label(self.told("Runs per object at the same time")).fill("1")
        self.press("Save the settings")
        self.page.get_by_text("The settings were saved.").wait_for()
        self.told("Triggers that start it")
        self.told("Trigger")
        self.follow("Add a trigger")
        trigger = self.content.locator("#id_name")
        trigger.select_option(label=self.told("A flight is late"))
        self.fill("Condition", "object.delay >= 30")
        self.press("Add the trigger")
        self.page.get_by_text("The trigger was added.").wait_for()

    def add_a_flight(self, number: str) -> None:
        self.add("Flights")
        self.content.get_by_label("Number").fill(number)
        self.content.get_by_label("Destination").fill(self.typed("IAH"))
        self.content.get_by_role("link", name=self.told("Today")).click()
        self.content.get_by_role("link", name=self.told("Now")).click()
        self.content.get_by_label("Delay").fill(self.typed("90"))
        self.save_the_flight()

    def save_the_flight(self) -> None:
        """Save it and see that it is: a click does not wait for what it sets off."""
        self.press("Save")
        self.page.locator(".messagelist .success").wait_for()

    def sweep(self, *, after_a_minute: bool = False) -> str:
        if after_a_minute:
            call(SHELL, self.project, LET_TIME_PASS)
        return call("python manage.py flowcontrol run", self.project).strip()

    def rows_of_the_flow(self) -> list[str]:
        """The list as the page shows it: place and sentence of each row."""
        places = self.content.locator("#fc-list .fc-place").all_text_contents()
        titles = self.content.locator("#fc-list .fc-title").all_text_contents()
        return [f"{place} {title}" for place, title in zip(places, titles, strict=True)]


def test_a_newcomer_gets_through_the_tutorial_in_the_admin(page: Page, site: str, project: Path):
    mira = Newcomer(page, site, project)
    mira.log_in()

    mira.make_the_flow()
    (list_of_rows,) = [block for block in blocks(TUTORIAL) if block.remark == "the list of rows"]
    rows = [" ".join(line.split()) for line in list_of_rows.text.splitlines()]
    assert mira.rows_of_the_flow() == rows

    mira.let_it_be_started()
    mira.add_a_flight(mira.typed("UA 1117"))
    assert mira.typed(mira.sweep()) == "1 executed, 3 steps, 1 parked"
    page.goto(f"{site}flowcontrol/flowrun/")
    page.get_by_role("link", name="Late flight").click()
    mira.content.get_by_text("It waits until").first.wait_for()
    assert mira.typed(mira.sweep()) == "Nothing was due."
    mira.sweep(after_a_minute=True)

    page.goto(f"{site}desk/flight/")
    mira.content.get_by_role("link", name="UA 1117").click()
    mira.content.get_by_label(mira.told("Departed")).check()
    mira.save_the_flight()
    assert mira.typed(mira.sweep(after_a_minute=True)) == "1 executed, 4 steps, 1 done"
    assert announced(project) == [
        "UA 1117 to IAH leaves 90 minutes late.",
        "UA 1117 to IAH is still here, and so are you.",
        "UA 1117 to IAH has left.",
    ]

    page.goto(f"{site}flowcontrol/flow/")
    mira.follow("Late flight")
    mira.content.locator("#fc-list .fc-title").first.click()
    coffee = "{{ object }} leaves {{ object.delay }} minutes late. There is coffee at the desk."
    mira.fill("Text", coffee)
    mira.press("Save")
    mira.content.get_by_text(mira.told("Unpublished changes")).wait_for()
    mira.follow("Publish…")
    mira.press("Publish")
    mira.add_a_flight("B6 523")
    mira.sweep()
    assert announced(project)[-1].endswith("There is coffee at the desk.")
    for number, version in [(1, 1), (2, 2)]:
        page.goto(f"{site}flowcontrol/flowrun/{number}/change/")
        assert mira.told(f"version {version}") in mira.content.inner_text()
