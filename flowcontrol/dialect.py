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


def _json_encoder() -> Callable[[Any], str]:
    """``json.JSONEncoder(allow_nan=False).encode``; where Python has the part of it that is written
    in C, that is made once instead of once for each value, which takes longer than the value.

    What is encoded comes from :func:`flowcontrol.expressions.to_json`, so it contains no circle.
    """
    plain = json.JSONEncoder(allow_nan=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    chunks = make(
        None,  # no memory of what it is inside of, which an error would leave behind
        plain.default,
        json.encoder.encode_basestring_ascii,
        plain.indent,
        plain.key_separator,
        plain.item_separator,
        plain.sort_keys,
        plain.skipkeys,
        plain.allow_nan,
    )

    def encode(value: Any) -> str:
        return "".join(chunks(value, 0))

    return encode


json_text: Final = _json_encoder()
"""JSON as Django writes it. SQLite keeps the text as it is, and a lookup for an equal value finds
only this one."""


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
    values = {name: [row.get(name) for row in rows] for name in columns}
    same = [name for name in columns if name not in keys and _are_same(values[name], columns[name])]
    if len(same) == len(columns):
        same.pop()
    others = {name: kind for name, kind in columns.items() if name not in same}
    once = {name: columns[name] for name in same}
    sql = sql.replace("{rows}", _table(connection.vendor, once, others))
    parameters = [*parameters, *adapted(connection, once, rows[:1])]
    returned: list[tuple[Any, ...]] = []
    for texts in _texts(connection.vendor, others, values, len(rows)):
        returned += _send(connection, sql, [*parameters, *texts])[1]
    return returned


def _are_same(values: Sequence[Any], kind: str) -> bool:
    """Whether a column has one value. Of JSON only none: Python takes 1 and True for equal."""
    first = values[0]
    return (first is None or kind != "jsonb") and values.count(first) == len(values)


def _table(vendor: str, same: Mapping[str, str], others: Mapping[str, str]) -> str:
    """SQL for the rows as a table. Its parameters: what is the same in all, and arrays of arrays.

    PostgreSQL unfolds these three times as fast as named records; what is JSON already stands in
    an array of its own, as it is. SQLite would take VALUES, but keeps each prepared statement, and
    one with thousands of parameters is a big thing to keep.
    """
    named = [f'{_constant(vendor, kind)} AS "{name}"' for name, kind in same.items()]
    if vendor == "postgresql":
        plain, ready = _apart(others)
        named += [f'{_element(n, others[name])} AS "{name}"' for n, name in enumerate(plain)]
        # Null in JSON, which is a value, would become one in the column.
        named += [f"NULLIF(j -> {n}, 'null') AS \"{name}\"" for n, name in enumerate(ready)]
        unfolded = "jsonb_array_elements(%s::jsonb)"
        source = f"ROWS FROM ({unfolded}, {unfolded}) AS given (r, j)"
    else:
        named += [f"json_extract(value, '$[{n}]') AS \"{name}\"" for n, name in enumerate(others)]
        source = "json_each(%s)"
    return f"(SELECT {', '.join(named)} FROM {source})"


def _apart(columns: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The columns whose values have to be made JSON, and those that are."""
    ready = [name for name, kind in columns.items() if kind == JSON_TEXT]
    return [name for name in columns if name not in ready], ready


def _texts(
    vendor: str, columns: Mapping[str, str], values: Mapping[str, Sequence[Any]], number: int
) -> Iterator[list[str]]:
    """The rows as arrays in JSON, in as many parts as the database needs.

    ``values`` are those of each column, ``number`` how many rows there are.
    """
    if vendor == "postgresql":
        plain, ready = ([values[name] for name in names] for names in _apart(columns))
        texts = [_compact(_in_rows(plain, number)), _joined(_in_rows(ready, number))]
    else:
        stored = [_on_sqlite(kind, values[name]) for name, kind in columns.items()]
        texts = [_compact(_in_rows(stored, number))]
    if max(map(len, texts)) > MOST_TEXT and number > 1:
        half = number // 2
        for part in (slice(half), slice(half, number)):
            some = {name: values[name][part] for name in columns}
            yield from _texts(vendor, columns, some, len(range(number)[part]))
    else:
        yield texts


def _in_rows(values: Sequence[Sequence[Any]], number: int) -> list[tuple[Any, ...]]:
    """The values of columns, row by row."""
    return list(zip(*values, strict=True)) if values else [()] * number


def _on_sqlite(kind: str, values: Sequence[Any]) -> Sequence[Any]:
    """The values of a column as SQLite stores them."""
    adapt = _ADAPTERS["sqlite"].get(kind)
    return values if adapt is None else [None if v is None else adapt(v) for v in values]


def _joined(rows: Iterable[Sequence[str | None]]) -> str:
    """Rows of values that are JSON already, as arrays in an array."""
    return f"[{','.join([f'[{_listed(row)}]' for row in rows])}]"


def _listed(values: Sequence[str | None]) -> str:
    return ",".join(["null" if value is None else value for value in values])


_compact: Final = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=str
).encode


def _constant(vendor: str, kind: str) -> str:
    """SQL for a parameter."""
    return f"%s::{database_type(kind)}" if vendor == "postgresql" else "%s"


def _element(position: int, kind: str) -> str:
    """SQL for one value of the array that is a row, on PostgreSQL."""
    if kind == "jsonb":
        return f"NULLIF(r -> {position}, 'null')"
    return f"(r ->> {position})::{kind}"


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
