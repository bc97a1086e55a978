"""The builder at 500 rows, as somebody at the browser feels it: how long anything blocks the page.

Real Chromium, with what it tells of itself: tasks of more than 50 ms, the time from a key or a
click to the next picture, and the longest pause between two pictures. Beside it stands Django's own
list of changes with 500 rows, in the same browser.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connection
from django.test.testcases import LiveServerThread

from tests.admin_pages import url
from tests.benchmarks.builder import ROWS, open_builder
from tests.benchmarks.measuring import Options
from tests.benchmarks.results import Limit, Result, left_out
from tests.conftest import CHROMIUM_ARGUMENTS
from tests.long_flows import BLOCK

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SMOOTH_MS = 100
"""What people do not feel as waiting."""

WATCH = """
    window.seen = { tasks: [], events: [], frames: [] };
    const watch = (type, note, options) =>
        new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({
            type, buffered: true, ...options,
        });
    watch("longtask", (each) => seen.tasks.push(each.duration));
    watch(
        "event",
        (each) => each.interactionId && seen.events.push(each.duration),
        { durationThreshold: 16 }
    );
    let last = null;
    const frame = (now) => {
        if (last !== null) {
            seen.frames.push(now - last);
        }
        last = now;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
"""
FORGET = "() => { seen.tasks = []; seen.events = []; seen.frames = []; }"
QUIET = """() => new Promise((done) =>
    requestIdleCallback(() => requestAnimationFrame(() => setTimeout(done, 150)))
)"""


Doing = Callable[[], object]


@dataclass(frozen=True)
class Felt:
    """What somebody waited for, in milliseconds.

    Attributes:
        task: the longest that the page was busy without a break; 0 if never for 50 ms.
        interaction: from a key or a click to the next picture; of many one in fifty may be longer.
        pause: the longest time between two pictures.
        cpu: of the page's main thread, for all of it together; other programs do not change it.
    """

    task: float
    interaction: float
    pause: float
    cpu: float

    @classmethod
    def of(cls, seen: dict[str, list[float]], cpu: float) -> Felt:
        events = sorted(seen["events"], reverse=True)
        return cls(
            max(seen["tasks"], default=0),
            events[len(events) // 50] if events else 0,
            max(seen["frames"], default=0),
            cpu,
        )


class Watched:
    """A page whose waits are noted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.add_init_script(WATCH)
        self._inner = page.context.new_cdp_session(page)
        self._inner.send("Performance.enable", {"timeDomain": "threadTicks"})

    def felt(self, doing: Doing) -> Felt:
        """What doing something felt like."""
        self.page.evaluate(QUIET)
        self.page.evaluate(FORGET)
        before = self._cpu()
        doing()
        self.page.evaluate(QUIET)
        return Felt.of(self.page.evaluate("seen"), self._cpu() - before)

    def opened(self, address: str) -> tuple[float, Felt]:
        """How long it took until a page was loaded, and what that felt like."""
        self.page.goto("about:blank")
        before = self._cpu()
        self.page.goto(address)
        self.page.evaluate(QUIET)
        felt = Felt.of(self.page.evaluate("seen"), self._cpu() - before)
        took: float = self.page.evaluate("performance.getEntriesByType('navigation')[0].duration")
        return took, felt

    def _cpu(self) -> float:
        metrics = self._inner.send("Performance.getMetrics")["metrics"]
        [seconds] = [each["value"] for each in metrics if each["name"] == "TaskDuration"]
        return 1000 * float(seconds)


def builder_page(options: Options) -> Iterator[Result]:
    """Each figure is the best of some: other programs on the machine only ever make it worse."""
    rows = max(options.amount(ROWS // BLOCK), 4) * BLOCK
    desk = open_builder(rows)
    type(admin.site.get_model_admin(User)).list_per_page = rows
    addresses = {"ours": url("flow_actions", desk.flow.pk), "plain": "/admin/auth/user/"}
    session = desk.client.cookies["sessionid"].value
    connection.close()
    try:
        with served() as server, chromium() as browser:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            context.add_cookies([{"name": "sessionid", "value": session, "url": server}])
            page = context.new_page()
            watched = Watched(page)
            yield _opening(watched, {each: server + addresses[each] for each in addresses}, rows)
            for name, doing, is_seen in _doings(page, rows):
                felt = [watched.felt(doing) for _number in range(options.repeats)]
                yield _result(f"{name}, {rows} rows", felt, is_seen=is_seen)
    except Lacking as lack:
        yield left_out("the builder in a browser", connection.vendor, str(lack))


class Lacking(Exception):
    """There is no browser here."""


def _opening(watched: Watched, addresses: dict[str, str], rows: int) -> Result:
    turns = [
        {each: watched.opened(addresses[each]) for each in ("plain", "ours")} for _turn in range(3)
    ]
    assert watched.page.locator("#fc-list [data-fc-row]").count() == rows
    felt = [turn["ours"][1] for turn in turns]
    of_plain = min(turn["plain"][1].cpu for turn in turns)
    return Result(
        f"opening a flow of {rows} rows in Chromium",
        connection.vendor,
        min(turn["ours"][0] for turn in turns),
        "ms",
        Limit("ms for Django’s change list", min(turn["plain"][0] for turn in turns)),
        at_most=1000,
        note=f"longest task {min(each.task for each in felt):.0f} ms; "
        f"{min(each.cpu for each in felt):.0f} ms of the processor, {of_plain:.0f} for Django’s",
    )


def _doings(page: Page, rows: int) -> Iterator[tuple[str, Doing, bool]]:
    """What is done, in an order in which each finds the page as it needs it.

    The last says whether it is about what is seen to move, which no key or click tells of.
    """
    keys = page.keyboard

    def press(key: str, times: int = 1) -> Doing:
        def do() -> None:
            for _number in range(times):
                keys.press(key)

        return do

    def asked(doing: Doing) -> Doing:
        """And the answer of the server."""

        def do() -> None:
            doing()
            page.wait_for_selector("#fc-builder:not([aria-busy])")

        return do

    def scroll() -> None:
        for way in (1, -1):
            for _number in range(30):
                page.mouse.wheel(0, way * 400)
                page.wait_for_timeout(16)

    page.locator("#fc-list .fc-title").first.focus()
    yield f"{min(rows - 1, 100)} arrow keys", press("ArrowDown", min(rows - 1, 100)), False
    yield "everything folded", _then(press("Control+ArrowRight"), press("Control+ArrowLeft")), False
    yield (
        "everything unfolded",
        _then(press("Control+ArrowLeft"), press("Control+ArrowRight")),
        False,
    )
    yield "everything selected", _then(press("Escape"), press("Control+a")), False
    keys.press("Escape")
    page.mouse.move(400, 500)
    yield "scrolling", scroll, True
    drags = min(rows * 3 // 5, 300)
    yield f"dragging over {drags} rows", asked(lambda: _drag(page, drags)), True
    page.locator("#row-log-0 .fc-title").click()
    page.wait_for_selector("[data-fc-form][data-fc-of=log-0]")
    field = page.locator("[name=config-message]")

    def save() -> None:
        field.press("End")
        keys.type("!")
        keys.press("Control+Enter")
        page.wait_for_selector("[data-fc-form][data-fc-saved]")

    field.press("End")
    yield (
        "typing 60 letters into a field",
        lambda: keys.type(" and nobody knows why it is" * 2),
        False,
    )
    yield "saving a row", asked(save), False
    page.locator("#row-set-1 .fc-title").focus()
    yield "a row duplicated", asked(press("d")), False
    yield "undone", asked(press("Control+z")), False


def _then(before: Doing, doing: Doing) -> Doing:
    """Both, for what can be done again only after something else."""
    return lambda: (before(), doing())


def _drag(page: Page, rows: int) -> None:
    """Take the first row and go down the list with it, which scrolls beneath."""
    grips = page.locator("#fc-list .fc-grip")
    page.evaluate("scrollTo(0, 0)")
    before = page.locator("#fc-list .fc-title").first.inner_text()
    grips.first.hover()
    x = page.evaluate(
        "document.querySelector('#fc-list .fc-title').getBoundingClientRect().left + 20"
    )
    page.mouse.down()
    page.mouse.move(x, 450, steps=8)
    page.wait_for_timeout(150)
    last = grips.nth(min(rows, grips.count() - 1))
    while (box := last.bounding_box()) is not None and box["y"] > 700:
        page.evaluate("scrollBy(0, 200)")
        page.mouse.move(x, 440)
        page.mouse.move(x, 460, steps=3)
        # Rows that make room are animated; until they stand nothing is dropped between them.
        page.wait_for_timeout(60)
    page.mouse.move(x, 450, steps=3)
    page.wait_for_timeout(200)
    page.mouse.up()
    page.wait_for_timeout(100)
    assert page.locator("#fc-list .fc-title").first.inner_text() != before, "Nothing was dragged."


# --- measuring ------------------------------------------------------------------------------------


def _result(name: str, felt: list[Felt], *, is_seen: bool) -> Result:
    task, interaction, pause, cpu = (
        min(getattr(each, part) for each in felt)
        for part in ("task", "interaction", "pause", "cpu")
    )
    return Result(
        name,
        connection.vendor,
        pause if is_seen else max(task, interaction),
        "ms",
        at_most=SMOOTH_MS,
        note=f"longest task {task:.0f} ms, to the next picture {interaction:.0f} ms, "
        f"longest pause between two {pause:.0f} ms; {cpu:.0f} ms of the processor",
    )


@contextmanager
def served() -> Iterator[str]:
    """A server of the project's pages and files, in a thread; gives its address."""
    thread = LiveServerThread("127.0.0.1", static_handler=StaticFilesHandler)
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    if thread.error:
        raise thread.error
    try:
        yield f"http://127.0.0.1:{thread.port}"
    finally:
        thread.terminate()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Raises Lacking: there is none here."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Lacking("the package playwright is not installed") from None
    executable = shutil.which("chromium")
    if executable is None:
        raise Lacking("there is no program 'chromium'")
    # Playwright's loop runs in this thread, where Django would refuse every query.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()
