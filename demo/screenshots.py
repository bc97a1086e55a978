"""``python -m demo.screenshots``: the pictures of the documentation, taken from the demo.

The desk lives through the week until the afternoon of the blizzard, and the clock stops there. A
headless Chromium then visits the pages, light and dark, always in the same size. What is on the
pictures is what the demo made; nothing is drawn afterwards.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final
from unittest import mock

import django
from django.utils import timezone

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER: Final = Path(__file__).parent.parent / "docs" / "_static" / "screenshots"
WIDTH: Final = 1280
USER_NAME: Final = "mira"
PASSWORD: Final = "desk"


@dataclass(frozen=True)
class Picture:
    """A page to visit, what to do there before the picture is taken, and how high it is."""

    name: str
    path: str
    prepare: Callable[[Page], None] = lambda page: None
    height: int = 800


class Enough(Exception):
    """The moment of the pictures has come."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.screenshots", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.environ["FLOWCONTROL_DEMO_DIRECTORY"] = directory
        os.environ["DJANGO_SETTINGS_MODULE"] = "demo.settings"
        django.setup()
        with desk_on_friday() as pictures, served() as address:
            chosen = [each for each in pictures if not options.names or each.name in options.names]
            take(chosen, address)


@contextmanager
def desk_on_friday() -> Iterator[list[Picture]]:
    """The desk at three in the afternoon of the blizzard; all clocks show that."""
    from django.conf import settings  # noqa: PLC0415 (models can be imported only now)
    from django.contrib.auth.models import Group, User  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    from demo import week  # noqa: PLC0415
    from demo.clock import clock  # noqa: PLC0415
    from demo.feed import news_of_week  # noqa: PLC0415
    from demo.loading import load  # noqa: PLC0415
    from demo.records import HOME_ZONE, read_flights  # noqa: PLC0415
    from demo.settings import DIRECTORY, MAIL_DIRECTORY  # noqa: PLC0415
    from demo.show import start_afresh  # noqa: PLC0415

    friday = datetime(2013, 2, 8, 15, tzinfo=HOME_ZONE)

    def until_friday(moment: datetime, _told: int) -> None:
        if moment >= friday:
            raise Enough

    start_afresh(DIRECTORY, MAIL_DIRECTORY)
    call_command("migrate", verbosity=0, interactive=False)
    # A cookie that ends in 2013 would be thrown away at once.
    settings.SESSION_EXPIRE_AT_BROWSER_CLOSE = True
    with mock.patch.object(timezone, "now", clock.now):
        clock.set(week.MONDAY)
        records = read_flights()
        news = news_of_week(records, load(records))
        user = User.objects.create_superuser(USER_NAME, password=PASSWORD)
        for name in ("Desk", "Night desk", "Station"):
            Group.objects.create(name=name)
        week.publish_flows(user)
        week.start_the_week()
        with suppress(Enough):
            week.play(news, on_progress=until_friday)
        yield pictures_of_the_desk()


def pictures_of_the_desk() -> list[Picture]:
    """What the documentation shows."""
    from flowcontrol.models import Flow, FlowRun, Status  # noqa: PLC0415

    delay = Flow.objects.get(slug="long-delay")
    waiting = FlowRun.objects.filter(flow=delay, status=Status.WAITING).order_by("-visit")
    run = waiting.first()
    assert run is not None
    flow = f"/admin/flowcontrol/flow/{delay.pk}"
    return [
        Picture("flows", "/admin/flowcontrol/flow/", height=560),
        Picture("actions", f"{flow}/actions/", open_a_row),
        Picture("settings", f"{flow}/change/", fill_in_the_schema, height=860),
        Picture("try", f"{flow}/actions/", partial(try_it, key=str(run.object_id)), height=900),
        Picture("run", f"/admin/flowcontrol/flowrun/{run.pk}/change/", height=900),
        Picture("object", f"/admin/demo/flight/{run.object_id}/change/", scroll_to_runs, 560),
        Picture("start-many", "/admin/demo/flight/?status__exact=delayed", select_flights, 560),
    ]


def open_a_row(page: Page) -> None:
    page.locator("#fc-list .fc-title").nth(2).click()
    page.locator("#fc-panel [data-fc-form]").wait_for()


def fill_in_the_schema(page: Page) -> None:
    """Two values, typed in and not saved."""
    add = page.get_by_role("button", name="Add a value")
    lines = page.locator("[data-fc-list] [data-fc-line]")
    add.click()
    lines.nth(0).get_by_label("Name").fill("reminders_at_most")
    lines.nth(0).get_by_label("Type").select_option("integer")
    lines.nth(0).get_by_label("Default").locator("visible=true").fill("4")
    add.click()
    lines.nth(1).get_by_label("Name").fill("tone")
    lines.nth(1).get_by_label("Required").check()
    lines.nth(1).locator("summary").click()
    lines.nth(1).get_by_label("Description").fill("How the station is written to.")
    lines.nth(1).get_by_label("Choices").fill("friendly\nplain\nurgent")
    to_top(page, "[data-fc-schema]", 330)


def try_it(page: Page, key: str) -> None:
    """Beside the list, whose rows tell what they did."""
    page.locator("#fc-toolbar").get_by_role("link", name="Try it").click()
    page.locator("#fc-try").wait_for()
    page.fill("#id_key", key)
    page.locator("#fc-try").get_by_role("button", name="Try it").click()
    page.locator("#fc-report").wait_for()
    to_top(page, "#fc-toolbar", 0)


def to_top(page: Page, selector: str, distance: int) -> None:
    """Scroll until what is meant stands so many pixels below the top."""
    place = "document.querySelector(selector).getBoundingClientRect().top + scrollY - distance"
    page.evaluate(f"([selector, distance]) => scrollTo(0, {place})", [selector, distance])


def scroll_to_runs(page: Page) -> None:
    page.locator("#fc-object-runs").scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")


def select_flights(page: Page) -> None:
    for box in page.locator("input.action-select").all()[:3]:
        box.check()
    page.locator("select[name=action]").select_option("start_flow")
    page.get_by_role("button", name="Run", exact=True).or_(
        page.get_by_role("button", name="Go", exact=True)
    ).click()
    page.wait_for_load_state()
    choice = page.get_by_role("button", name="Long delay")
    if choice.count():
        choice.click()
        page.wait_for_load_state()


@contextmanager
def served() -> Iterator[str]:
    """The demo's pages on this machine; nothing moves meanwhile."""
    from demo.serving import HOST, make_admin_server  # noqa: PLC0415

    server = make_admin_server(0)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def take(pictures: list[Picture], address: str) -> None:
    """Take each picture twice, light and dark."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (not needed by the demo)

    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("There is no program 'chromium' (on Debian: apt-get install chromium).")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            context = browser.new_context(
                color_scheme="light" if scheme == "light" else "dark",
                viewport={"width": WIDTH, "height": 800},
                timezone_id="America/New_York",
                locale="en-US",
                reduced_motion="reduce",
            )
            # The list of all models at the left has nothing to do with what is shown.
            context.add_init_script("localStorage['django.admin.navSidebarIsOpen'] = 'false'")
            page = context.new_page()
            log_in(page, address)
            for picture in pictures:
                page.set_viewport_size({"width": WIDTH, "height": picture.height})
                page.goto(address + picture.path)
                picture.prepare(page)
                page.evaluate("document.activeElement.blur()")
                page.wait_for_timeout(1_000)  # until what a page asks the server for is there
                path = FOLDER / f"{picture.name}-{scheme}.png"
                page.screenshot(path=path, animations="disabled", caret="hide")
                print(path.relative_to(FOLDER.parent.parent.parent))
            context.close()
        browser.close()


def log_in(page: Page, address: str) -> None:
    page.goto(f"{address}/admin/login/")
    page.fill("#id_username", USER_NAME)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")


if __name__ == "__main__":
    main()
