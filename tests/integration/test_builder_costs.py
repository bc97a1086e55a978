"""What the pages of a long flow ask the database: the same for 500 rows as for 50.

How long they take is measured by the workloads ``builder`` and ``builder-page`` of
``tests.benchmarks``; a query for each row is what would make them slow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flowcontrol.drafts import draft_document
from flowcontrol.flowtests import save_test
from flowcontrol.models import Flow, FlowRun, FlowVersion
from flowcontrol.trees import RowTree
from tests.admin_pages import BuilderPage, client_of, url
from tests.long_flows import BLOCK, long_flow
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db

OPENING = 20
EDIT = 40
"""A page has its session, its user, the lock, the rows before and after, the record of the change
and Django's log to see to; none of it for each row."""


@pytest.fixture
def client() -> Client:
    """The browser of the desk, whom the rows name too, in a process that has looked up what it
    looks up once."""
    client = client_of(name="desk", is_superuser=True)
    BuilderPage(client, long_flow(BLOCK)).post("flow_delete_rows", row="if-0")
    forget_flows()
    return client


def forget_flows() -> None:
    FlowRun.objects.all().delete()
    Flow.objects.update(live_version=None)
    FlowVersion.objects.all().delete()
    Flow.objects.all().delete()


Doing = Callable[[BuilderPage], object]


def copied(page: BuilderPage, *uids: str) -> str:
    answer = page.client.post(url("flow_copy_rows", page.flow.pk), {"row": uids})
    return answer.content.decode()


EDITS: dict[str, tuple[Doing | None, Doing]] = {
    "add a row": (
        None,
        lambda page: page.post("flow_add_row", action="log", target="if-0", position="last"),
    ),
    "add a row, filled in": (
        None,
        lambda page: page.post(
            "flow_add_row", action="log", target="set-1", position="after",
            typed="1", **{"config-message": "Hello"},
        ),
    ),
    "open a row": (None, lambda page: page.get("flow_row", "log-0")),
    "save a row": (None, lambda page: page.save("log-0", **{"config-message": "Anew"})),
    "save a row that is wrong": (None, lambda page: page.save("if-0", **{"config-condition": ""})),
    "move a row down": (
        None,
        lambda page: page.post("flow_move_rows", row="set-1", step="down"),
    ),
    "move a block to another level": (
        None,
        lambda page: page.post("flow_move_rows", row="if-1", target="each-0", position="first"),
    ),
    "move it out again": (
        lambda page: page.post("flow_move_rows", row="if-1", target="each-0", position="first"),
        lambda page: page.post("flow_move_rows", row="if-1", target="set-1", position="before"),
    ),
    "duplicate a block": (None, lambda page: page.post("flow_duplicate_rows", row="if-0")),
    "copy rows": (None, lambda page: copied(page, "if-0", "each-0")),
    "paste rows": (
        lambda page: page.__setattr__("text", copied(page, "if-0", "each-0")),
        lambda page: page.post(
            "flow_paste_rows", text=page.text, target="set-1", position="after"  # type: ignore[attr-defined]
        ),
    ),
    "cut rows": (None, lambda page: page.post("flow_cut_rows", row=["if-1", "each-0"])),
    "delete rows": (None, lambda page: page.post("flow_delete_rows", row=["if-1", "each-0"])),
    "switch a block off": (
        None,
        lambda page: page.post("flow_switch_rows", row="if-0", enabled="0"),
    ),
    "wrap rows": (
        None,
        lambda page: page.post("flow_wrap_rows", row=["set-1", "if-1"], action="try"),
    ),
    "unwrap a block": (None, lambda page: page.post("flow_unwrap_row", row="each-0")),
    "undo": (
        lambda page: page.post("flow_duplicate_rows", row="if-0"),
        lambda page: page.post("flow_undo"),
    ),
    "redo": (
        lambda page: (page.post("flow_duplicate_rows", row="if-0"), page.post("flow_undo")),
        lambda page: page.post("flow_redo"),
    ),
    "be told that the draft is another": (
        lambda page: page.__setattr__("revision", "1"),
        lambda page: page.client.post(
            url("flow_delete_rows", page.flow.pk),
            {"row": "if-0", "revision": "1", "marks": json.dumps(page.marks)},
            headers={"HX-Request": "true"},
        ),
    ),
    "look again": (None, lambda page: page.get("flow_actions")),
    "find a row to add": (
        None,
        lambda page: page.get("flow_add_row", target="if-0", position="last"),
    ),
    "complete a name": (
        None,
        lambda page: page.client.get(url("flow_expression_names", page.flow.pk), {"uid": "log-1"}),
    ),
}  # fmt: skip
"""What is done on the page, and what has to be done first."""


def cost(page: BuilderPage, before: Doing | None, doing: Doing) -> int:
    if before is not None:
        before(page)
    with CaptureQueriesContext(connection) as asked:
        doing(page)
    return len(asked)


def test_opening_a_flow_of_500_rows_takes_no_more_queries_than_one_of_50(client: Client):
    parcel = Parcel.objects.create(label="x", weight=4)
    asked = []
    for number in (50, 500):
        flow = long_flow(number)
        now = datetime(2013, 2, 8, tzinfo=UTC)
        rows = [*draft_document_rows(flow)[:40], ""]
        FlowRun.objects.bulk_create(
            FlowRun(flow=flow, version=flow.live_version, action_uid=uid, created_at=now)
            for uid in rows
            for _number in range(3)
        )
        page = BuilderPage(client, flow)
        assert len(page.marks) == number
        asked.append(cost(page, None, lambda page: page.open()))
        forget_flows()
    assert asked[0] == asked[1] <= OPENING, asked
    assert parcel.pk


def draft_document_rows(flow: Flow) -> list[str]:
    return [*RowTree.of(draft_document(flow)["actions"]).rows]


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_of_500_rows_takes_no_more_queries_than_one_of_50(client: Client, name: str):
    before, doing = EDITS[name]
    asked = []
    for number in (50, 500):
        page = BuilderPage(client, long_flow(number))
        asked.append(cost(page, before, doing))
        forget_flows()
    assert asked[0] == asked[1] <= EDIT, asked


def test_every_edit_did_something(client: Client):
    """Else a refusal, which is cheap, would pass for an edit."""
    for name, (before, doing) in EDITS.items():
        page = BuilderPage(client, long_flow(50))
        if before is not None:
            before(page)
        revision = page.revision
        doing(page)
        reads = ("open", "copy", "be told", "look", "find", "complete", "save a row that")
        assert (page.revision != revision) is not name.startswith(reads), name
        forget_flows()


PAGES = {
    "publish": "flow_publish",
    "try": "flow_try",
    "tests": "flow_tests",
    "versions": "flow_versions",
    "settings": "flow_change",
    "export": "flow_export",
}


@pytest.mark.parametrize("name", PAGES)
def test_the_other_pages_of_500_rows_take_no_more_queries_than_those_of_50(
    client: Client, name: str
):
    asked = []
    for number in (50, 500):
        flow = long_flow(number)
        save_test(flow, "One", Parcel.objects.create(label="x", weight=4))
        address = url(PAGES[name], flow.pk)
        assert client.get(address).status_code == 200
        with CaptureQueriesContext(connection) as said:
            client.get(address)
        asked.append(len(said))
        forget_flows()
    assert asked[0] == asked[1] <= EDIT, asked


def test_trying_500_rows_takes_no_more_queries_but_for_those_of_the_rows(client: Client):
    """Rows that start nothing and ask nobody cost none; the report of the trial costs none."""
    asked = []
    for number in (50, 500):
        flow = long_flow(number)
        parcel = Parcel.objects.create(label="", weight=4)
        page = BuilderPage(client, flow)
        given = {"object": str(parcel.pk), "until": "set-1", "state": "{}", "payload": "{}"}
        page.post("flow_try", **given)
        asked.append(cost(page, None, lambda page: page.post("flow_try", **given)))  # noqa: B023
        forget_flows()
    assert asked[0] == asked[1], asked


def test_publishing_500_rows_takes_no_more_queries_than_50(client: Client):
    asked = []
    for number in (50, 500):
        flow = long_flow(number)
        revision = Flow.objects.values_list("draft_revision", flat=True).get(pk=flow.pk)
        with CaptureQueriesContext(connection) as said:
            answer = client.post(url("flow_publish", flow.pk), {"revision": revision, "note": "x"})
        assert answer.status_code == 302, answer.content.decode()[:3000]
        flow.refresh_from_db()
        assert flow.live_version is not None
        assert len(RowTree.of(flow.live_version.document["actions"]).rows) == number
        asked.append(len(said))
        forget_flows()
    assert asked[0] == asked[1] <= EDIT, asked


def test_the_people_whom_rows_name_are_looked_up_together(client: Client):
    assert User.objects.filter(username="desk").exists()
    flow = long_flow(500)
    with CaptureQueriesContext(connection) as said:
        client.get(url("flow_actions", flow.pk))
    about_users = [each["sql"] for each in said if "auth_user" in each["sql"]]
    assert sum("username" in text and " IN (" in text for text in about_users) == 1, about_users
