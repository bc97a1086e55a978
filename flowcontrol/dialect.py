"""Where PostgreSQL and SQLite differ: connection, moments, leases, tokens, batches of rows.

A batch of rows is one statement, in which the rows stand as a table (:func:`execute_with_rows`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from django.db import InterfaceError, OperationalError, connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper

from flowcontrol.models import FlowRun

Row = Mapping[str, Any]

JSON_TEXT: Final = "json text"
"""The type of a column of JSON whose value is given as its text already."""

MOST_TEXT: Final = 50_000_000
"""Characters of JSON in one parameter; PostgreSQL takes some 200 million, SQLite more."""

json_text: Final = json.JSONEncoder(allow_nan=False).encode
"""JSON as Django writes it. SQLite keeps the text as it is, and a lookup for an equal value finds
only this one. Made once: ``json.dumps`` would build an encoder for every call."""


@lru_cache
def _moment_on_sqlite(moment: datetime) -> str:
    return str(moment.astimezone(UTC).replace(tzinfo=None))


_ADAPTERS: Final[Mapping[str, Mapping[str, Callable[[Any], str]]]] = {
    "sqlite": {"jsonb": json_text, "timestamptz": _moment_on_sqlite, "uuid": attrgetter("hex")},
    "postgresql": {"jsonb": json_text, "timestamptz": datetime.isoformat, "uuid": str},
}
"""By vendor and type of column, what makes the text that the database stores of a value."""


def run_connection() -> BaseDatabaseWrapper:
    """The connection to the database that runs live in."""
    return connections[router.db_for_write(FlowRun)]


def lease_end(connection: BaseDatabaseWrapper) -> str:
    """SQL for the moment at which a lease taken now ends; takes the seconds as parameter."""
    if connection.vendor == "postgresql":
        return "clock_timestamp() + make_interval(secs => %s)"
    return "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', %s || ' seconds')"


def database_now(connection: BaseDatabaseWrapper) -> str:
    """SQL for this moment, by the database's clock; the same throughout a statement."""
    if connection.vendor == "postgresql":
        # clock_timestamp() moves on while a statement runs, so no index can be searched for it.
        return "statement_timestamp()"
    return "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"


def moment_text(connection: BaseDatabaseWrapper, moment: datetime) -> str:
    """A datetime in the text form that the database compares by."""
    return str(_ADAPTERS[connection.vendor]["timestamptz"](moment))


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
    return str(_ADAPTERS[connection.vendor]["uuid"](token))


def returned(connection: BaseDatabaseWrapper, column: str) -> str:
    """A column of ``UPDATE … AS r`` for RETURNING, where SQLite knows bare names only."""
    return f"r.{column}" if connection.vendor == "postgresql" else column


def execute(connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> int:
    """Execute a statement that is sent again and again; how many rows it met.

    Goes past Django's cursor, which costs as much as the statement itself, unless somebody
    listens there: a wrapper of statements, ``DEBUG``, a test that counts queries.
    """
    return _send(connection, sql, parameters)[0]


def _send(
    connection: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]
) -> tuple[int, list[tuple[Any, ...]]]:
    """How many rows a statement met, and what it returned."""
    session = connection.connection
    if session is None or connection.execute_wrappers or connection.queries_logged:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.rowcount, cursor.fetchall() if cursor.description else []
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors:
        cursor = session.cursor()
        cursor.execute(_qmarks(sql) if connection.vendor == "sqlite" else sql, parameters)
        return cursor.rowcount, cursor.fetchall() if cursor.description else []


@lru_cache(maxsize=64)
def _qmarks(sql: str) -> str:
    """``sql`` with the placeholders that SQLite knows."""
    return sql.replace("%s", "?").replace("%%", "%")


def execute_with_rows(
    connection: BaseDatabaseWrapper,
    sql: str,
    parameters: Sequence[Any],
    columns: Mapping[str, str],
    rows: Sequence[Row],
    keys: Collection[str] = (),
) -> list[tuple[Any, ...]]:
    """Execute a statement that works on many rows; what it returns.

    What is the same in all rows is sent once, as most of a batch is.

    Args:
        connection: where.
        sql: the statement; ``{rows}`` stands for the rows as a table.
        parameters: of what comes before ``{rows}``.
        columns: the columns of that table, with their PostgreSQL types, or :data:`JSON_TEXT`.
        rows: values as Python has them; what is left out in a row is NULL.
        keys: columns that stand in every row even so. PostgreSQL searches for a constant in ways
            of its own, a hundred times as slow as a join.
    """
    returned: list[tuple[Any, ...]] = []
    same, others = _split(columns, rows, keys)
    sql = sql.replace("{rows}", _table(connection.vendor, same, others))
    once = [*parameters, *adapted(connection, same, rows[:1])]
    for text in _texts(connection, others, rows):
        returned += _send(connection, sql, [*once, text])[1]
    return returned


def _split(
    columns: Mapping[str, str], rows: Sequence[Row], keys: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The columns that have the same value in all rows, and the others."""
    first = rows[0]
    same: dict[str, str] = {}
    others: dict[str, str] = {}
    for name, kind in columns.items():
        is_same = False
        if name not in keys:
            value = first.get(name)
            # Of JSON only its absence: Python takes 1 and True for equal.
            if value is None or kind != "jsonb":
                is_same = all(row.get(name) == value for row in rows)
        (same if is_same else others)[name] = kind
    if not others:
        name = next(iter(same))
        others[name] = same.pop(name)
    return same, others


def _table(vendor: str, same: Mapping[str, str], others: Mapping[str, str]) -> str:
    """SQL for the rows as a table. Its parameters: what is the same in all, and an array of arrays.

    PostgreSQL unfolds that three times as fast as named records. SQLite would take VALUES, but
    keeps each prepared statement, and one with thousands of parameters is a big thing to keep.
    """
    source = "json_each(%s)"
    if vendor == "postgresql":
        source = "jsonb_array_elements(%s::jsonb) AS given (r)"
    named = [f'{_constant(vendor, kind)} AS "{name}"' for name, kind in same.items()]
    named += [
        f'{_element(vendor, position, kind)} AS "{name}"'
        for position, (name, kind) in enumerate(others.items())
    ]
    return f"(SELECT {', '.join(named)} FROM {source})"


def _texts(
    connection: BaseDatabaseWrapper, columns: Mapping[str, str], rows: Sequence[Row]
) -> Iterator[str]:
    """The rows as arrays in JSON, in as many parts as the database needs."""
    if connection.vendor == "postgresql":
        values = [[row.get(name) for name in columns] for row in rows]
    else:
        values = [adapted(connection, columns, [row]) for row in rows]
    text = json.dumps(
        values, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=str
    )
    if len(text) > MOST_TEXT and len(rows) > 1:
        half = len(rows) // 2
        yield from _texts(connection, columns, rows[:half])
        yield from _texts(connection, columns, rows[half:])
    else:
        yield text


def _constant(vendor: str, kind: str) -> str:
    """SQL for a parameter."""
    return f"%s::{database_type(kind)}" if vendor == "postgresql" else "%s"


def _element(vendor: str, position: int, kind: str) -> str:
    """SQL for one value of the array that is a row."""
    if vendor != "postgresql":
        return f"json_extract(value, '$[{position}]')"
    if kind == "jsonb":
        # JSON's null, which is a value, would become one in the column.
        return f"NULLIF(r -> {position}, 'null')"
    return f"(r ->> {position})::{database_type(kind)}"


def database_type(kind: str) -> str:
    """PostgreSQL's name for the type of a column."""
    return "jsonb" if kind == JSON_TEXT else kind


def _placeholders(columns: Mapping[str, str]) -> str:
    return f"({', '.join(['%s'] * len(columns))})"


def adapted(
    connection: BaseDatabaseWrapper, columns: Mapping[str, str], rows: Iterable[Row]
) -> list[Any]:
    """The values of ``rows``, column by column and row by row, as the database stores them."""
    order = _adapters(connection.vendor, tuple(columns.items()))
    return [
        adapt(value) if (value := row.get(name)) is not None and adapt is not None else value
        for row in rows
        for name, adapt in order
    ]


@cache
def _adapters(
    vendor: str, columns: tuple[tuple[str, str], ...]
) -> list[tuple[str, Callable[[Any], str] | None]]:
    return [(name, _ADAPTERS[vendor].get(kind)) for name, kind in columns]


def insert_rows(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    columns: Mapping[str, str],
    rows: Sequence[Row],
    returning: Sequence[str] = (),
) -> list[tuple[Any, ...]]:
    """Insert many rows with one statement; see :func:`execute_with_rows`.

    Returns:
        The ``returning`` columns of the new rows, in no particular order.
    """
    names = ", ".join(f'"{name}"' for name in columns)
    sql = f"INSERT INTO {model._meta.db_table} ({names}) "
    if len(rows) == 1 and not returning:
        values = adapted(connection, columns, rows)
        execute(connection, f"{sql} VALUES {_placeholders(columns)}", values)
        return []
    sql += f"SELECT {names} FROM {{rows}} AS v"
    if returning:
        sql += f" RETURNING {', '.join(returning)}"
    return execute_with_rows(connection, sql, [], columns, rows)


def update_rows(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    columns: Mapping[str, str],
    rows: Sequence[Row],
) -> None:
    """Set the columns beside ``id`` in the rows of these ids, with one statement."""
    assignments = ", ".join(f'"{name}" = v."{name}"' for name in columns if name != "id")
    sql = (
        f"UPDATE {model._meta.db_table} AS r SET {assignments} FROM {{rows}} AS v WHERE r.id = v.id"
    )
    execute_with_rows(connection, sql, [], columns, rows, keys=["id"])
