"""Statements that go past Django's cursor behave as if they did not."""

from __future__ import annotations

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

from flowcontrol.dialect import execute
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
