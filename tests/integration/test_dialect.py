"""Statements that go past Django's cursor behave as if they did not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import (
    DatabaseError,
    IntegrityError,
    connection,
    transaction,
)
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from flowcontrol.dialect import JSON_TEXT, execute, insert_rows
from flowcontrol.engine import create_flowrun
from flowcontrol.models import EventKind, RunEvent
from flowcontrol.testing import Log, make_flow
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db

RENAME = "UPDATE testapp_parcel SET label = %s || '100%%' WHERE label = %s"


def test_the_number_of_rows_that_were_met_is_told():
    Parcel.objects.create(label="a")
    Parcel.objects.create(label="a")
    assert execute(connection, RENAME, ["b ", "a"]) == 2
    assert execute(connection, RENAME, ["b ", "a"]) == 0


def test_percent_signs_read_alike_with_and_without_somebody_who_listens():
    for _number in range(2):
        Parcel.objects.create(label="a")
        execute(connection, RENAME, ["b ", "a"])
    Parcel.objects.create(label="a")
    with CaptureQueriesContext(connection):
        execute(connection, RENAME, ["b ", "a"])
    assert set(Parcel.objects.values_list("label", flat=True)) == {"b 100%"}


NASTY = 'O\'Brien & Co "100 %" %s ? \\ {rows}\n東京 🛫'
EVENTS = {
    "one": [{"seq": 1, "reason": NASTY, "detail": {"told": NASTY}}],
    "alike": [{"seq": seq, "reason": NASTY, "detail": None} for seq in (1, 2, 3)],
    "nothing but their number": [{"seq": seq} for seq in (1, 2)],
    "1 is not true": [{"seq": 1, "detail": {"n": 1}}, {"seq": 2, "detail": {"n": True}}],
    "one without": [{"seq": 1, "detail": [1.5]}, {"seq": 2}, {"seq": 3, "detail": [1.5]}],
}


@pytest.mark.parametrize("events", EVENTS.values(), ids=EVENTS)
@pytest.mark.parametrize("is_heard", [True, False])
@pytest.mark.parametrize("most_text", [30, 50_000_000])
def test_rows_of_one_statement_arrive_as_they_were_sent(
    monkeypatch: pytest.MonkeyPatch, events: list[dict[str, Any]], is_heard: bool, most_text: int
):
    monkeypatch.setattr("flowcontrol.dialect.MOST_TEXT", most_text)
    run = create_flowrun(make_flow(Log("a")))
    columns = {
        "run_id": "bigint",
        "seq": "integer",
        "at": "timestamptz",
        "kind": "text",
        "reason": "text",
        "steps": JSON_TEXT,
        "detail": "jsonb",
    }
    at = datetime(2013, 2, 8, 12, 0, 0, 123456, tzinfo=UTC)
    common = {"run_id": run.pk, "kind": EventKind.STEPS, "at": at, "steps": "[1, null]"}
    rows = [{"reason": "", **common, **event} for event in events]
    if is_heard:
        connection.force_debug_cursor = True
    try:
        insert_rows(connection, RunEvent, columns, rows)
    finally:
        connection.force_debug_cursor = False
    written = list(run.events.order_by("seq"))
    assert [event.at for event in written] == [at] * len(rows)
    assert [event.steps for event in written] == [[1, None]] * len(rows)
    assert [event.reason for event in written] == [row["reason"] for row in rows]
    told = [json.dumps(event.detail) for event in written]
    assert told == [json.dumps(row.get("detail")) for row in rows]


def test_whoever_listens_hears_the_statement():
    heard: list[str] = []

    def listen(go_on: Any, sql: str, *rest: Any) -> Any:
        heard.append(sql)
        return go_on(sql, *rest)

    with connection.execute_wrapper(listen):
        execute(connection, RENAME, ["b", "a"])
    with CaptureQueriesContext(connection) as captured:
        execute(connection, RENAME, ["b", "a"])
    assert heard == [RENAME]
    assert len(captured) == 1


@pytest.mark.parametrize("is_heard", [True, False])
def test_errors_are_those_of_django(is_heard: bool):
    parcel = Parcel.objects.create(label="a")
    taken = "INSERT INTO testapp_parcel (id, label) VALUES (%s, %s)"
    if is_heard:
        connection.force_debug_cursor = True
    try:
        with pytest.raises(IntegrityError), transaction.atomic():
            execute(connection, taken, [parcel.pk, "b"])
        with pytest.raises(DatabaseError), transaction.atomic():
            execute(connection, "UPDATE nowhere SET x = %s", [1])
    finally:
        connection.force_debug_cursor = False


def test_a_broken_transaction_takes_no_more_statements():
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(TransactionManagementError):
            execute(connection, RENAME, ["b", "a"])
        transaction.set_rollback(False)


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_is_not_open_yet_is_opened():
    connection.close()
    assert execute(connection, RENAME, ["b", "a"]) == 0
