"""What every test may use: the chosen database, Redis, other processes, a page in a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from django.conf import settings
from django.db import connection

from tests import servers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).resolve().parent.parent
POSTGRES = pytest.StashKey[ExitStack]()

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def lacking(what: str) -> NoReturn:
    """Skip the test for what this machine lacks, with the reason; in CI that is an error."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must not leave this out: {what}", pytrace=False)
    pytest.skip(what)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the PostgreSQL that all workers of pytest-xdist share, each with its own database."""
    config = session.config
    is_worker = hasattr(config, "workerinput")
    if settings.DATABASE != "postgres" or settings.POSTGRES_HOST or is_worker:
        return
    if config.option.collectonly:
        return
    stack = config.stash[POSTGRES] = ExitStack()
    try:
        host = str(stack.enter_context(servers.postgres()))
    except servers.Unavailable as lack:
        pytest.exit(f"PostgreSQL: {lack}", returncode=1)
    # The workers read the variable, this process has read its settings already.
    os.environ["FLOWCONTROL_TEST_POSTGRES_HOST"] = host
    settings.DATABASES["default"]["HOST"] = host


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    stack = config.stash.get(POSTGRES, None)
    if stack is not None:
        os.environ.pop("FLOWCONTROL_TEST_POSTGRES_HOST", None)
        stack.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that start processes or a browser take turns, so that none starves another."""
    for item in items:
        folder = item.path.parent.name
        if folder in {"acceptance", "concurrency"}:
            item.add_marker(pytest.mark.serial)
        if folder == "benchmarks":
            item.add_marker(pytest.mark.speed)
        if item.get_closest_marker("serial"):
            item.add_marker(pytest.mark.xdist_group("serial"))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Give SQLite a file: unlike a database in memory, other processes and threads can open it."""
    if settings.DATABASE == "sqlite":
        path = tmp_path_factory.mktemp("database") / "flowcontrol.sqlite3"
        connection.settings_dict["TEST"]["NAME"] = str(path)


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[Path]:
    """The socket of a real Redis."""
    with ExitStack() as stack:
        try:
            path = stack.enter_context(servers.redis())
        except servers.Unavailable as lack:
            lacking(f"Redis: {lack}")
        yield path


@pytest.fixture
def process_environment(transactional_db: None) -> Mapping[str, str]:
    """The environment of a process that works on the database of this test.

    Such a process sees only what is committed, therefore the test has a transactional database.
    """
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "tests.settings"),
        "FLOWCONTROL_TEST_DATABASE": settings.DATABASE,
        "FLOWCONTROL_TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "FLOWCONTROL_TEST_POSTGRES_HOST": str(connection.settings_dict["HOST"]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless. The browsers that Playwright would download are not used."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("the browser: the package playwright is not installed.")
    executable = shutil.which("chromium")
    if executable is None:
        lacking(
            "the browser: there is no program 'chromium' (on Debian: apt-get install chromium)."
        )
    # Playwright's own loop runs in this thread, so Django would refuse every query of the test.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=executable, args=CHROMIUM_ARGUMENTS
            )
            yield browser
            browser.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def browser_context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile: no cookies, a window as wide as a laptop's."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def page(browser_context: BrowserContext) -> Iterator[Page]:
    """An empty page. A script error on it or an answer 500 fails the test when it ends."""
    page = browser_context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
    page.on(
        "response",
        lambda response: (
            problems.append(f"{response.url}: {response.status}")
            if response.status >= 500
            else None
        ),
    )
    yield page
    assert problems == []
