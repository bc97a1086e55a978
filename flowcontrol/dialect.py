"""Where PostgreSQL and SQLite differ: connection, moments, leases, tokens, batches of rows.

Rows travel to the database as one JSON text that both unfold, so a batch is one statement with one
parameter, and both databases run the same story.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper

from flowcontrol.models import FlowRun


def run_connection() -> BaseDatabaseWrapper:
    """The connection to the database that runs live in."""
    return connections[router.db_for_write(FlowRun)]


def lease_end(connection: BaseDatabaseWrapper) -> str:
    """SQL for the moment at which a lease taken now ends; takes the seconds as parameter."""
    if connection.vendor == "postgresql":
        return "clock_timestamp() + make_interval(secs => %s)"
    return "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', %s || ' seconds')"


def database_now(connection: BaseDatabaseWrapper) -> str:
    """SQL for this moment, by the database's clock."""
    if connection.vendor == "postgresql":
        return "clock_timestamp()"
    return "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"


def moment_text(connection: BaseDatabaseWrapper, moment: datetime | None) -> str | None:
    """A datetime in the text form that the database compares by."""
    if moment is None:
        return None
    if connection.vendor == "postgresql":
        return moment.isoformat()
    return str(moment.astimezone(UTC).replace(tzinfo=None))


def is_lost(connection: BaseDatabaseWrapper, session: Any, error: BaseException) -> bool:
    """Whether ``error`` is the end of ``session``, what ``connection.connection`` was before it.

    An error of the statement leaves the session usable; an error of the session may have come
    after a COMMIT and before its reply.
    """
    if session is None or not isinstance(error, OperationalError | InterfaceError):
        return False
    return connection.connection is not session or not connection.is_usable()


def token_text(connection: BaseDatabaseWrapper, token: UUID) -> str:
    """A claim's token as the database writes it."""
    return str(token) if connection.features.has_native_uuid_field else token.hex


def returned(connection: BaseDatabaseWrapper, column: str) -> str:
    """A column of ``UPDATE … AS r`` for RETURNING, where SQLite knows bare names only."""
    return f"r.{column}" if connection.vendor == "postgresql" else column


def unfold(connection: BaseDatabaseWrapper, columns: Mapping[str, str]) -> str:
    """SQL for the rows of a parameter made by :func:`fold`; ``columns`` are PostgreSQL types."""
    if connection.vendor == "postgresql":
        typed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        return f"(SELECT * FROM json_to_recordset(%s::json) AS rows({typed}))"
    extracted = ", ".join(f"value ->> '$.{name}' AS \"{name}\"" for name in columns)
    return f"(SELECT {extracted} FROM json_each(%s))"


def fold(
    connection: BaseDatabaseWrapper, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> str:
    """Rows as one JSON text. What is ``None`` is left out: SQL's NULL, not JSON's.

    SQLite keeps JSON as text, so it gets the very text that Django would have written; otherwise
    a lookup for an equal value would not find it.
    """
    as_text = set()
    if connection.vendor == "sqlite":
        as_text = {name for name, kind in columns.items() if kind == "jsonb"}
    folded = [
        {
            name: json.dumps(value) if name in as_text else value
            for name, value in row.items()
            if value is not None
        }
        for row in rows
    ]
    return json.dumps(folded, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def insert_rows(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    columns: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]],
    returning: Sequence[str] = (),
) -> list[tuple[Any, ...]]:
    """Insert many rows with one statement; datetimes may be datetimes.

    Returns:
        The ``returning`` columns of the new rows, in no particular order.
    """
    if not rows:
        return []
    names = ", ".join(f'"{name}"' for name in columns)
    sql = (
        f"INSERT INTO {model._meta.db_table} ({names}) "
        f"SELECT {names} FROM {unfold(connection, columns)} AS v"
    )
    if returning:
        sql += f" RETURNING {', '.join(returning)}"
    with connection.cursor() as cursor:
        cursor.execute(sql, [fold(connection, _as_texts(connection, rows), columns)])
        return list(cursor.fetchall()) if returning else []


def update_rows(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    columns: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Set the columns beside ``id`` in the rows of these ids, with one statement."""
    assignments = ", ".join(f'"{name}" = v."{name}"' for name in columns if name != "id")
    sql = (
        f"UPDATE {model._meta.db_table} AS r SET {assignments} "
        f"FROM {unfold(connection, columns)} AS v WHERE r.id = v.id"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [fold(connection, _as_texts(connection, rows), columns)])


def _as_texts(
    connection: BaseDatabaseWrapper, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    return [
        {
            name: moment_text(connection, value) if isinstance(value, datetime) else value
            for name, value in row.items()
        }
        for row in rows
    ]
