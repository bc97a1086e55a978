"""All pages and panels of the admin: for everybody, in every look, on every screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings as project
from django.test import Client

from tests.acceptance.builder import barriers
from tests.admin_pages import VIEW, client_of
from tests.every_page import Site, all_looks, make_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        project.DATABASE == "postgres", reason="A page looks alike, wherever its rows are."
    ),
]

Check = Callable[["Page"], list[str]]

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
POSTING = "form[method=post]:not(#logout-form) :is(button, input[type=submit]):visible:enabled"


@pytest.fixture
def site(transactional_db: None) -> Site:
    return make_site()


@pytest.fixture
def open_browser(
    browser: Browser, live_server: LiveServer, policy: None
) -> Iterator[Callable[..., Page]]:
    contexts: list[BrowserContext] = []

    def open_as(client: Client, **options: Any) -> Page:
        context = browser.new_context(base_url=live_server.url, **options)
        context.set_default_timeout(15_000)
        session = client.cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        contexts.append(context)
        return context.new_page()

    yield open_as
    for context in contexts:
        context.close()


def seen(
    page: Page, site: Site, check: Check, *, acts: bool = True, every_type: bool = False
) -> dict[str, list[str]]:
    """What is wrong with which page, and after which act; errors of scripts too."""
    errors: list[str] = []
    refused: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"error: {error}"))
    page.on(
        "console",
        lambda told: refused.append(told.text) if "Content Security" in told.text else None,
    )
    found: dict[str, list[str]] = {}
    paths = set()
    for look in all_looks(site, every_type=every_type):
        if not acts and look.path in paths:
            continue  # without acts it looks alike
        paths.add(look.path)
        answer = page.goto(look.path)
        assert answer is not None
        if answer.status == 403 and not acts:
            continue
        assert answer.status == 200, look.path
        steps: list[Any] = [None, *look.acts] if acts else [None]
        for act in steps:
            if act is not None:
                act(page)
            # Of the policy only what is on our own pages: Django's forms write styles into theirs.
            is_ours = page.locator("body.fc-page").count() > 0
            if told := check(page) + errors + (refused if is_ours else []):
                found[f"{look.path} {act.__name__ if act is not None else ''}"] = told
            errors.clear()
            refused.clear()
    return found


def too_wide(page: Page) -> list[str]:
    """What makes the page scroll sideways."""
    wide: list[str] = page.evaluate(
        """() => {
            const root = document.documentElement;
            if (root.scrollWidth <= root.clientWidth) {
                return [];
            }
            const isOut = (box) => box.right > root.clientWidth + 1 || box.left < -1;
            const out = [...document.body.querySelectorAll("*")].filter(
                (each) => isOut(each.getBoundingClientRect())
            );
            return [`${root.scrollWidth} wide: ${out.at(-1)?.outerHTML.slice(0, 160)}`];
        }"""
    )
    return wide


def test_nothing_keeps_anybody_from_using_any_page(
    site: Site, open_browser: Callable[..., Page]
) -> None:
    page = open_browser(client_of(is_superuser=True), viewport=WIDE)
    assert seen(page, site, barriers, every_type=True) == {}


def test_everything_can_be_read_in_the_dark(site: Site, open_browser: Callable[..., Page]) -> None:
    page = open_browser(client_of(is_superuser=True), viewport=WIDE, color_scheme="dark")
    assert seen(page, site, lambda page: barriers(page, "color-contrast")) == {}


def test_no_page_is_wider_than_a_phone(site: Site, open_browser: Callable[..., Page]) -> None:
    page = open_browser(client_of(is_superuser=True), viewport=PHONE)
    assert seen(page, site, too_wide, every_type=True) == {}


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_no_page_is_wider_from_right_to_left(
    site: Site, open_browser: Callable[..., Page], size: Any
) -> None:
    page = open_browser(client_of(is_superuser=True), viewport=size, locale="ar")
    page.goto("/admin/")
    assert page.evaluate("document.documentElement.dir") == "rtl"
    assert seen(page, site, too_wide) == {}


def test_who_may_only_look_finds_nothing_to_press(
    site: Site, open_browser: Callable[..., Page]
) -> None:
    page = open_browser(client_of(*VIEW), viewport=WIDE)

    def check(page: Page) -> list[str]:
        pressed = page.locator(POSTING).all()
        return [button.evaluate("(it) => it.outerHTML.slice(0, 160)") for button in pressed]

    found = seen(page, site, lambda page: [*check(page), *barriers(page)], acts=False)
    assert found == {}
