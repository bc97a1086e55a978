"""System checks: what is wrong with the site's set-up, told before it hurts."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, router, transaction
from django.db.migrations.recorder import MigrationRecorder

from flowcontrol.compiling import problems_of
from flowcontrol.conf import settings
from flowcontrol.models import Flow, FlowRun

FIRST_MIGRATION = "0001_flowcontrol_foundation"


@register(Tags.compatibility)
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Settings that name something which is not there."""
    found: list[CheckMessage] = []
    try:
        settings.CLOCK  # noqa: B018 (reading it resolves it)
    except (ImportError, ImproperlyConfigured) as error:
        found.append(Error(f"FLOWCONTROL_CLOCK: {error}", id="flowcontrol.E001"))
    if settings.HISTORY not in ("steps", "commits", "none"):
        found.append(
            Error(
                f"FLOWCONTROL_HISTORY is {settings.HISTORY!r}.",
                hint='Choose "steps", "commits" or "none".',
                id="flowcontrol.E002",
            )
        )
    for text in settings.WEBHOOK_NETWORKS:
        try:
            ip_network(text)
        except (TypeError, ValueError) as error:
            found.append(
                Error(
                    f"FLOWCONTROL_WEBHOOK_NETWORKS: {error}",
                    hint='Write networks like "10.20.0.0/16".',
                    id="flowcontrol.E006",
                )
            )
    return found


@register(Tags.database)
def check_database(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """The database that runs live in: can it do what the engine needs, are the tables ours?"""
    alias = router.db_for_write(FlowRun)
    if not databases or alias not in databases:
        return []
    connection = connections[alias]
    found: list[CheckMessage] = []
    if connection.vendor not in ("postgresql", "sqlite"):
        found.append(
            Error(
                f"flowcontrol runs on PostgreSQL and SQLite, not on {connection.display_name}.",
                id="flowcontrol.E003",
            )
        )
    if connection.vendor == "sqlite":
        found.extend(_check_sqlite(connection))
    applied = MigrationRecorder(connection).applied_migrations()
    foreign = sorted(
        name
        for app, name in applied
        if app == "flowcontrol" and name.startswith("0001_") and name != FIRST_MIGRATION
    )
    if foreign:
        found.append(
            Error(
                f"The tables of the app label 'flowcontrol' come from another package "
                f"(migration {foreign[0]}).",
                hint="Remove that package's tables and its rows in django_migrations, or use "
                "another database.",
                id="flowcontrol.E004",
            )
        )
    return found


@register(Tags.database)
def check_live_versions(
    databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Live versions that this process cannot execute: an action is gone, or its schema changed."""
    alias = router.db_for_read(Flow)
    if not databases or alias not in databases:
        return []
    try:
        with transaction.atomic(using=alias):
            live = list(
                Flow.objects.using(alias)
                .filter(live_version__isnull=False)
                .values_list("slug", "live_version__document")
            )
    except DatabaseError:
        return []  # not migrated yet
    return [
        checks.Warning(
            f"The live version of flow '{slug}' cannot execute its row {uid!r}: {message}",
            hint="Publish the flow again without it, or bring back what it needs.",
            id="flowcontrol.W002",
        )
        for slug, document in live
        for uid, message in problems_of(document)
    ]


def _check_sqlite(connection: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if connection.Database.sqlite_version_info < (3, 35):
        found.append(
            Error(
                f"SQLite {connection.Database.sqlite_version} is too old.",
                hint="flowcontrol needs RETURNING, which SQLite has since 3.35.",
                id="flowcontrol.E005",
            )
        )
    if str(getattr(connection, "transaction_mode", None)).upper() != "IMMEDIATE":
        found.append(
            checks.Warning(
                "SQLite transactions of this site begin without the write lock, so that two "
                'processes can meet with "database is locked".',
                hint='Set OPTIONS = {"transaction_mode": "IMMEDIATE"} for this database.',
                id="flowcontrol.W001",
            )
        )
    return found
