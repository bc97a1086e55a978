"""System checks: what is wrong with a site's set-up is told before it hurts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db import DatabaseError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from flowcontrol.base import BaseAction, RunHandle
from flowcontrol.checks import (
    FIRST_MIGRATION,
    check_database,
    check_live_versions,
    check_settings,
)
from flowcontrol.models import Flow, FlowVersion
from flowcontrol.registry import actions
from flowcontrol.testing import Group, Log, make_flow, row

DEFAULT = ["default"]


def ids(found: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in found]


# --- settings -----------------------------------------------------------------------------------


def test_the_set_up_of_the_suite_is_sound():
    assert ids(check_settings()) == []


@pytest.mark.parametrize("clock", ["flowcontrol.nowhere.now", "flowcontrol.conf.DEFAULTS", 5])
def test_a_clock_that_is_none(clock: Any):
    with override_settings(FLOWCONTROL_CLOCK=clock):
        [message] = check_settings()
    assert (message.id, message.is_serious()) == ("flowcontrol.E001", True)


def test_a_network_that_is_none():
    with override_settings(FLOWCONTROL_WEBHOOK_NETWORKS=["10.0.0.0/8", "10.0.0.1/8", 5]):
        assert ids(check_settings()) == ["flowcontrol.E006"]
    with override_settings(FLOWCONTROL_WEBHOOK_NETWORKS=["10.0.0.0/8", "fd00::/8"]):
        assert ids(check_settings()) == []


def test_a_clock_may_be_a_callable_itself():
    with override_settings(FLOWCONTROL_CLOCK=lambda: datetime(2013, 2, 8, tzinfo=UTC)):
        assert ids(check_settings()) == []


def test_a_level_of_history_that_does_not_exist():
    with override_settings(FLOWCONTROL_HISTORY="everything"):
        [message] = check_settings()
    assert message.id == "flowcontrol.E002"
    assert "everything" in message.msg


# --- database -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_database_of_the_suite_is_sound():
    assert ids(check_database(databases=DEFAULT)) == []
    assert ids(check_live_versions(databases=DEFAULT)) == []


@pytest.mark.django_db
def test_django_runs_the_checks():
    MigrationRecorder(connection).record_applied("flowcontrol", "0001_initial")
    found = run_checks(databases=DEFAULT, include_deployment_checks=False)
    assert "flowcontrol.E004" in ids(found)


def test_without_a_database_named_nothing_is_asked(django_assert_num_queries: Any):
    # The test has no database: a query would raise.
    assert check_database(databases=None) == check_database(databases=["other"]) == []
    assert check_live_versions(databases=None) == check_live_versions(databases=["other"]) == []


@pytest.mark.django_db
def test_tables_of_another_package_with_the_same_app_label():
    MigrationRecorder(connection).record_applied("flowcontrol", "0001_initial")
    [message] = check_database(databases=DEFAULT)
    assert (message.id, message.is_serious()) == ("flowcontrol.E004", True)
    assert "0001_initial" in message.msg
    assert message.hint


@pytest.mark.django_db
def test_our_own_migrations_and_those_of_others_are_fine():
    recorder = MigrationRecorder(connection)
    recorder.record_applied("flowcontrol", "0002_something_later")
    recorder.record_applied("somebody", "0001_initial")
    assert FIRST_MIGRATION in {name for app, name in recorder.applied_migrations()}
    assert ids(check_database(databases=DEFAULT)) == []


@pytest.mark.django_db
def test_a_database_that_is_neither_postgresql_nor_sqlite(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections["default"], "vendor", "oracle")
    assert ids(check_database(databases=DEFAULT)) == ["flowcontrol.E003"]


sqlite_only = pytest.mark.skipif(
    "sqlite" not in connection.settings_dict["ENGINE"], reason="is about SQLite"
)


@sqlite_only
@pytest.mark.django_db
@pytest.mark.parametrize("mode", [None, "DEFERRED", "deferred"])
def test_sqlite_whose_transactions_begin_without_the_write_lock(
    monkeypatch: pytest.MonkeyPatch, mode: str | None
):
    monkeypatch.setattr(connections["default"], "transaction_mode", mode)
    [message] = check_database(databases=DEFAULT)
    assert (message.id, message.is_serious()) == ("flowcontrol.W001", False)
    assert message.hint is not None
    assert '"transaction_mode": "IMMEDIATE"' in message.hint


@sqlite_only
@pytest.mark.django_db
def test_sqlite_that_is_too_old(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sqlite3.dbapi2.sqlite_version_info", (3, 34, 0))
    assert ids(check_database(databases=DEFAULT)) == ["flowcontrol.E005"]


# --- live versions ------------------------------------------------------------------------------


class Passing(BaseAction):
    name = "test.passing"
    effects = "none"

    def run(self, *, run: RunHandle, obj: Any, config: Any) -> None:
        return None


@pytest.mark.django_db
def test_live_versions_that_this_process_cannot_execute():
    with actions.temporarily(Passing):
        make_flow(Log("x"), Group([row("test.passing", uid="odd")]), name="Broken")
        make_flow(Log("x"), row("test.passing", enabled=False), name="Sound")
    [message] = check_live_versions(databases=DEFAULT)
    assert (message.id, message.is_serious()) == ("flowcontrol.W002", False)
    assert "'broken'" in message.msg
    assert "row 'odd'" in message.msg
    assert "Unknown action 'test.passing'" in message.msg


@pytest.mark.django_db
def test_only_live_versions_are_looked_at():
    with actions.temporarily(Passing):
        flow = make_flow(row("test.passing"), name="Broken")
        FlowVersion.objects.create(flow=flow, number=2, document=flow.live_version.document)  # type: ignore[union-attr]
    flow.live_version = None
    flow.save(update_fields=["live_version"])
    assert check_live_versions(databases=DEFAULT) == []


@pytest.mark.django_db
def test_before_the_first_migration_there_is_nothing_to_look_at(monkeypatch: pytest.MonkeyPatch):
    def no_table(*args: Any, **kwargs: Any) -> Any:
        raise DatabaseError("no such table: flowcontrol_flow")

    monkeypatch.setattr(Flow.objects, "using", no_table)
    assert check_live_versions(databases=DEFAULT) == []
