"""The builder at 500 rows, as the server sees it: opening the page, and each kind of change.

Beside it stands what Django's own list of changes takes for 500 rows of three columns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from tests.admin_pages import BuilderPage, form_fields, url
from tests.benchmarks.measuring import Options
from tests.benchmarks.results import Limit, Result
from tests.long_flows import BLOCK, long_flow

ROWS = 500
OPENING_MS, EDIT_MS = 400, 150
TIMES = 5

Doing = Callable[[], object]


@dataclass(frozen=True)
class Change:
    """Something done on the page, and how it is taken back so that it can be done again."""

    name: str
    do: Doing
    back: Doing | None = None


@dataclass(frozen=True)
class Took:
    """How long something took: on the clock on the wall and of the processor, in milliseconds."""

    wall: float
    cpu: float


class PlainList(UserAdmin):  # type: ignore[type-arg]
    """As many rows as Django shows them, on one page."""

    list_per_page = ROWS
    list_display = ("username", "email", "is_staff")


def builder(options: Options) -> Iterator[Result]:
    """Each figure is the best of some, and counts its queries once."""
    rows = max(options.amount(ROWS // BLOCK), 2) * BLOCK
    page = open_builder(rows)
    limits, times = [], []
    show_plain_list(rows)
    for _number in range(TIMES * options.repeats):
        limits.append(_took(lambda: show_plain_list(rows)))
        times.append(_took(page.open))
    limit = Limit("ms for Django’s change list", best(limits).wall)
    opening = Change(f"opening a flow of {rows} rows", page.open)
    yield _result(opening, times, OPENING_MS, limit)
    for change in _changes(page):
        times = []
        for _number in range(TIMES * options.repeats):
            times.append(_took(change.do))
            if change.back is not None:
                change.back()
        yield _result(change, times, EDIT_MS)


def open_builder(rows: int) -> BuilderPage:
    """The builder of a long flow, open in the browser of somebody who may do everything."""
    desk = User.objects.create_superuser("desk", password="secret")
    User.objects.bulk_create(User(username=f"user {number}") for number in range(rows - 1))
    client = Client(SERVER_NAME="localhost")
    client.force_login(desk)
    return BuilderPage(client, long_flow(rows))


def _changes(page: BuilderPage) -> Iterator[Change]:
    def undo() -> None:
        page.post("flow_undo")

    def redo() -> None:
        page.post("flow_redo")

    def post(name: str, **fields: Any) -> Doing:
        return lambda: page.post(f"flow_{name}", **fields)

    numbers = iter(range(1_000_000))

    def save() -> None:
        # Another label each time: what is as it was is not saved.
        page.post("flow_row", "log-0", **form, label=f"Label {next(numbers)}")

    yield Change("opening the form of a row", lambda: page.get("flow_row", "log-0"))
    form = form_fields(page.get("flow_row", "log-0"))
    del form["revision"], form["label"], form["seen"]
    yield Change("saving the form of a row", save, undo)
    into = {"row": "if-1", "target": "each-0", "position": "first"}
    yield Change("moving a block to another level", post("move_rows", **into), undo)
    yield Change("moving a row down", post("move_rows", row="set-1", step="down"), undo)
    adding = {"action": "log", "target": "if-0", "position": "last"}
    yield Change("adding a row", post("add_row", **adding), undo)
    yield Change("duplicating a block", post("duplicate_rows", row="if-0"), undo)
    copied = page.client.post(url("flow_copy_rows", page.flow.pk), {"row": ["if-0", "each-0"]})
    place = {"target": "set-1", "position": "after"}
    yield Change(
        "pasting 2 blocks", post("paste_rows", text=copied.content.decode(), **place), undo
    )
    yield Change("deleting 2 blocks", post("delete_rows", row=["if-1", "each-0"]), undo)
    yield Change("wrapping 2 rows", post("wrap_rows", row=["set-1", "if-1"], action="try"), undo)
    yield Change("switching a block off", post("switch_rows", row="if-0", enabled="0"), undo)
    page.post("flow_delete_rows", row=["if-1", "each-0"])
    yield Change("undoing", undo, redo)
    undo()
    yield Change("redoing", redo, undo)


# --- measuring ------------------------------------------------------------------------------------


def _took(work: Doing) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Took(1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu))


def best(times: Sequence[Took]) -> Took:
    return Took(min(each.wall for each in times), min(each.cpu for each in times))


def _result(
    change: Change, times: Sequence[Took], at_most: float, limit: Limit | None = None
) -> Result:
    with CaptureQueriesContext(connection) as asked:
        change.do()
    note = f"{best(times).cpu:.0f} ms of the processor, {len(asked)} queries"
    if change.back is not None:
        change.back()
    return Result(
        change.name, connection.vendor, best(times).wall, "ms", limit, at_most=at_most, note=note
    )


def show_plain_list(rows: int) -> None:
    """Make the page of Django's change list."""
    request = RequestFactory(SERVER_NAME="localhost").get("/admin/auth/user/")
    request.user = User.objects.get(username="desk")
    answer: Any = PlainList(User, admin.site).changelist_view(request)
    text = answer.render().content.decode()
    assert text.count('class="action-select"') == rows, "The list is not as long as it should be."
