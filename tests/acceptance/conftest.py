"""What these tests need: a Celery worker on a real Redis, and a browser that is logged in."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.middleware.security import SecurityMiddleware

from tests.conftest import ROOT, lacking
from tests.servers import die_with_parent

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

POLICY = "default-src 'self'"
START_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class CeleryWorker:
    """A worker that is ready for tasks, and the application that sends them."""

    app: Any
    process: subprocess.Popen[bytes]
    log: Path

    def call(self, task: str, *args: Any, timeout: float = 60.0, **kwargs: Any) -> Any:
        """Send the task by its name, wait until the worker has done it, and give its result."""
        return self.app.send_task(task, args, kwargs).get(timeout=timeout)


@pytest.fixture(scope="session")
def celery_broker(redis_socket: Path) -> str:
    """The broker's address, as Celery writes it."""
    return f"redis+socket://{redis_socket}"


@pytest.fixture
def celery_worker(
    celery_broker: str,
    process_environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[CeleryWorker]:
    """Start ``celery worker`` with two processes, as in production, and stop it after the test."""
    if importlib.util.find_spec("celery") is None:
        lacking("Celery: the package celery is not installed.")
    monkeypatch.setenv("FLOWCONTROL_TEST_BROKER", celery_broker)
    from tests.celery_app import app

    app.conf.update(broker_url=celery_broker, result_backend=celery_broker)
    app.control.purge()
    log = tmp_path / "celery.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *die_with_parent(signal.SIGTERM),
                *(sys.executable, "-m", "celery", "--app", "tests.celery_app", "worker"),
                *("--concurrency", "2", "--loglevel", "info"),
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            ],
            cwd=ROOT,
            env={**process_environment, "FLOWCONTROL_TEST_BROKER": celery_broker},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, log)
        yield CeleryWorker(app, process, log)
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while " ready." not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"The Celery worker did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # The worker and its pool are one group; nothing of it may outlive the test.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# --- the browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def live_server(django_db_setup: None, live_server: LiveServer) -> LiveServer:
    """The server, started after the database is known.

    Started before, it would take the database for one in memory and share one connection among
    its threads, which SQLite answers with a crash.
    """
    return live_server


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every answer forbid scripts and styles in the page, and anything from elsewhere."""
    process_response = SecurityMiddleware.process_response

    def with_policy(self: Any, request: Any, response: Any) -> Any:
        response = process_response(self, request, response)
        response["Content-Security-Policy"] = POLICY
        return response

    monkeypatch.setattr(SecurityMiddleware, "process_response", with_policy)


@pytest.fixture
def desk(page: Page, live_server: LiveServer, policy: None) -> Iterator[Page]:
    """The browser of a superuser who is logged in."""
    refused: list[str] = []
    page.on(
        "console",
        lambda message: (
            refused.append(message.text) if "Content Security Policy" in message.text else None
        ),
    )
    log_in(page, live_server)
    yield page
    assert refused == []


def log_in(page: Page, live_server: LiveServer) -> None:
    User.objects.create_superuser("desk", password="secret")
    page.goto(f"{live_server.url}/admin/login/")
    page.fill("#id_username", "desk")
    page.fill("#id_password", "secret")
    page.click("input[type=submit]")
