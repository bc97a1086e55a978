"""The demo from the empty directory to the served admin, one step after the other."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from demo import report, serving, week
from demo.clock import clock
from demo.feed import news_of_week
from demo.loading import load
from demo.records import HOME_ZONE, read_flights
from demo.settings import DIRECTORY, MAIL_DIRECTORY

USER_NAME = "desk"


def show(*, serve: bool, port: int | None) -> None:
    """Make the database, live through the week, print the report, and serve the admin."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    console = Console(highlight=False)
    started = time.monotonic()
    # First of all: nobody wants to hear after a minute that the port is taken.
    server = open_server(port) if serve else None

    with step(console, "Made a fresh database"):
        start_afresh(DIRECTORY, MAIL_DIRECTORY)
        call_command("migrate", verbosity=0, interactive=False)
    with step(console, "Loaded the flights of the week"):
        records = read_flights()
        flights = load(records)
        news = news_of_week(records, flights)
    clock.set(week.MONDAY)
    with step(console, "Published the desk's flows"):
        password = secrets.token_urlsafe(9)
        user = User.objects.create_superuser(USER_NAME, "desk@airline.example", password)
        week.publish_flows(user)
        week.start_the_week()

    week_started = time.monotonic()
    with progress_bar(console) as progress:
        task = progress.add_task("", total=len(news))

        def on_progress(moment: datetime, told: int) -> None:
            day = f"{moment.astimezone(HOME_ZONE):%a %d %b %H:%M}"
            progress.update(task, completed=told, description=day)

        week.play(news, on_progress=on_progress)
    seconds = time.monotonic() - week_started

    figures = report.gather(MAIL_DIRECTORY)
    report.render(figures, console, seconds=seconds)
    console.print(f"Database and mails are in {DIRECTORY}", soft_wrap=True)
    console.print(f"All of it took {time.monotonic() - started:.0f} s.")
    if server is not None:
        invite(console, server, password)
        serving.serve(server)


@contextmanager
def step(console: Console, done: str) -> Iterator[None]:
    """Say what has been done and how long it took, when it is done."""
    started = time.monotonic()
    yield
    console.print(f"{done:<36}[dim]{time.monotonic() - started:5.1f} s[/]")


def start_afresh(directory: Path, mail_directory: Path) -> None:
    """Remove what an earlier demo left in ``directory``, and nothing else."""
    mail_directory.mkdir(parents=True, exist_ok=True)
    (directory / ".gitignore").write_text("*\n", encoding="utf-8")
    connection.close()
    database = Path(connection.settings_dict["NAME"])
    for path in (
        database,
        *database.parent.glob(f"{database.name}-*"),
        *mail_directory.glob("*.log"),
    ):
        path.unlink(missing_ok=True)


def progress_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description:<16}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} news"),
        TimeElapsedColumn(),
        console=console,
    )


def open_server(port: int | None) -> WSGIServer:
    """A server on ``port``; without one, on 8000 or whatever is free.

    Raises:
        SystemExit: the port that was asked for is taken.
    """
    try:
        return serving.make_admin_server(8000 if port is None else port)
    except OSError as error:
        if port is None:
            return serving.make_admin_server(0)
        raise SystemExit(f"Port {port} cannot be used: {error.strerror}.") from error


def invite(console: Console, server: WSGIServer, password: str) -> None:
    console.print()
    console.print(f"The admin is at [bold]http://{serving.HOST}:{server.server_port}/admin/[/]")
    console.print(f"User [bold]{USER_NAME}[/], password [bold]{password}[/]")
    console.print(
        "Time goes on, a minute each second. Change a flow and publish it, then delay or cancel a "
        "flight: the next run follows. Ctrl+C ends it."
    )
