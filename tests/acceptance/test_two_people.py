"""Two browsers at one draft: what one does after the other's change is refused and told, never lost
on either side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from flowcontrol import drafting
from flowcontrol.documents import make_document
from flowcontrol.drafts import draft_document
from flowcontrol.models import Flow
from flowcontrol.testing import If, Log
from tests.acceptance.builder import Builder
from tests.admin_pages import person

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)

MAY = ("view_flow", "change_flow", "add_flow", "view_trigger")


@pytest.fixture
def flow(transactional_db: None) -> Flow:
    flow = drafting.create_flow("Long delay")
    drafting.replace_draft(
        flow,
        make_document(
            Log("a", uid="a"), If("n > 1", [Log("b", uid="b")], uid="if"), Log("c", uid="c")
        ),
    )
    return flow


@pytest.fixture
def at_the_desk(
    browser: Browser, live_server: LiveServer, policy: None, flow: Flow
) -> Iterator[Callable[[str], Builder]]:
    """Somebody of this name with the builder open, in a browser of their own."""
    contexts: list[BrowserContext] = []

    def come(name: str) -> Builder:
        client = Client()
        client.force_login(person(*MAY, name=name))
        context = browser.new_context()
        context.set_default_timeout(15_000)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        session = client.cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        contexts.append(context)
        return Builder(context.new_page(), live_server, flow)

    yield come
    for context in contexts:
        context.close()


def change_row(builder: Builder) -> None:
    """Kim says something else in the row c."""
    builder.row("Log “c”").click()
    builder.page.get_by_label("Message").fill("changed by kim")
    builder.page.get_by_role("button", name="Save", exact=True).click()
    builder.page.locator(".fc-title", has_text="changed by kim").wait_for()
    builder.settled()


def focus_row(builder: Builder, title: str) -> None:
    builder.page.locator("#fc-list .fc-title", has_text=title).first.focus()


def paste(builder: Builder) -> None:
    focus_row(builder, "Log “a”")
    builder.press("Control+v")


def drag(builder: Builder) -> None:
    page = builder.page
    builder.row("Log “a”").first.locator(".fc-grip").hover()
    page.mouse.down()
    box = builder.row("Log “b”").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 60, box["y"] + box["height"] - 9, steps=4)
    page.mouse.move(box["x"] + 60, box["y"] + box["height"] - 3, steps=6)
    page.wait_for_timeout(150)
    page.mouse.up()
    page.wait_for_timeout(100)
    builder.settled()


def press(*keys: str) -> Callable[[Builder], None]:
    def act(builder: Builder) -> None:
        focus_row(builder, "Log “a”")
        builder.press(*keys)

    return act


def extract(builder: Builder) -> None:
    focus_row(builder, "Log “a”")
    builder.press("m")
    builder.page.get_by_role("menuitem", name="Make a flow of its own").click()
    builder.page.locator("#fc-ask").get_by_label("Name").fill("Mine")
    builder.page.get_by_role("button", name="Make the flow").click()
    builder.settled()


STALE: dict[str, Callable[[Builder], None]] = {
    "paste": paste,
    "drag": drag,
    "undo": press("Control+z"),
    "redo": press("Control+Shift+z"),
    "cut": press("Control+x"),
    "move": press("Alt+ArrowDown"),
    "wrap": press("g"),
    "delete": press("Delete"),
    "extract": extract,
}


@pytest.mark.parametrize("verb", STALE)
def test_what_is_done_to_rows_that_have_changed_is_refused_with_who_did_what(
    verb: str, flow: Flow, at_the_desk: Callable[[str], Builder]
) -> None:
    sam = at_the_desk("sam")
    # Something to paste, to undo and to do again.
    focus_row(sam, "Log “a”")
    sam.press("Control+c")
    sam.page.locator("#fc-live", has_text="Copied.").wait_for()
    sam.press("d", "d", "Control+z")
    seen = sam.shown
    assert seen == ["Log “a”", "Log “a”", "If n > 1", ".Log “b”", "Log “c”"]

    change_row(at_the_desk("kim"))
    theirs = draft_document(flow)
    STALE[verb](sam)
    notice = sam.page.get_by_role("alert")
    notice.get_by_text("Nothing was saved: somebody else has changed the draft").wait_for()
    assert "kim changed “Log “changed by kim””" in notice.inner_text()
    assert draft_document(flow) == theirs
    assert not Flow.objects.filter(name="Mine").exists()
    assert sam.shown == seen  # as it was: also what was dragged has gone back

    sam.page.get_by_role("button", name="Show the draft as it is now").click()
    sam.settled()
    assert sam.shown == [*seen[:-1], "Log “changed by kim”"]
    assert notice.inner_text() == ""
    STALE[verb](sam)
    if verb != "redo":  # what was undone cannot be done again once something else was done
        sam.page.locator("#fc-live").get_by_role("button", name="Undo").wait_for()
        assert draft_document(flow) != theirs


def test_stale_settings_are_refused_beside_the_list_and_what_was_entered_stays(
    flow: Flow, at_the_desk: Callable[[str], Builder]
) -> None:
    sam = at_the_desk("sam")
    sam.page.locator("#fc-toolbar").get_by_role("link", name="Settings").click()
    panel = sam.page.locator("#fc-panel")
    panel.get_by_label("Keep condition").fill("n < 5")
    panel.get_by_label("Description").first.fill("What Sam thinks")
    change_row(at_the_desk("kim"))
    revision = Flow.objects.get().draft_revision

    panel.get_by_role("button", name="Save the settings").click()
    panel.get_by_text("The draft was changed by somebody else").wait_for()
    assert panel.get_by_text("Kim changed “Log “changed by kim””").is_visible()
    flow.refresh_from_db()
    assert (flow.condition, flow.description, flow.draft_revision) == ("", "", revision)
    assert panel.get_by_label("Keep condition").input_value() == "n < 5"
    assert panel.get_by_label("Description").first.input_value() == "What Sam thinks"

    panel.get_by_role("button", name="Save the settings").click()
    sam.page.get_by_text("The settings were saved.").wait_for()
    flow.refresh_from_db()
    assert (flow.condition, flow.description) == ("n < 5", "What Sam thinks")
    assert flow.actions.filter(config__message="changed by kim").exists()


def test_the_page_says_that_it_is_stale_before_anything_is_done(
    flow: Flow, at_the_desk: Callable[[str], Builder]
) -> None:
    sam = at_the_desk("sam")
    kim = at_the_desk("kim")
    change_row(kim)
    sam.page.evaluate("htmx.trigger('#fc-presence', 'load')")
    button = sam.page.locator("#fc-presence").get_by_role("button", name="Show it")
    button.wait_for()
    assert "kim" in sam.page.locator("#fc-presence").inner_text()
    # Asked again it says the same, and leaves alone who is at it.
    button.focus()
    with sam.page.expect_response("**/presence/"):
        sam.page.evaluate("htmx.trigger('#fc-presence', 'load')")
    sam.page.wait_for_timeout(100)
    assert button.evaluate("(button) => button === document.activeElement")
    sam.press("Enter")
    assert sam.shown[-1] == "Log “changed by kim”"
    assert button.count() == 0
    assert sam.focused == "Log “a”"
