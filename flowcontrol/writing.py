"""Writing back what came of claimed runs: state, position, history and waits, with proof.

Each row of a batch proves its token in the join, so a run that was cancelled, rescued or paused
in the meantime is left alone, and nothing of it enters the history. It also proves where the run
stood: a worker whose COMMIT went through but whose connection broke before the reply does not
know, and must not write the step a second time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from flowcontrol.claiming import Claim
from flowcontrol.dialect import (
    JSON_TEXT,
    adapted,
    database_type,
    execute,
    execute_with_rows,
    insert_rows,
    returned,
    run_connection,
    token_text,
)
from flowcontrol.models import (
    FlowRun,
    HumanTask,
    RunEvent,
    RunWait,
    Status,
    WaitKind,
)
from flowcontrol.parents import tell_parents
from flowcontrol.transactions import last_statement, one_transaction


@dataclass(slots=True)
class NewWait:
    """A row of ``RunWait`` to be written with a park."""

    kind: str
    trigger: str = ""
    content_type_id: int | None = None
    object_id: str | None = None
    until: datetime | None = None
    condition: str = ""
    look_since: datetime | None = None


@dataclass(slots=True)
class NewEvent:
    """A row of ``RunEvent`` to be written with the run; ``steps`` and ``undo`` are JSON text."""

    kind: str
    steps: str | None = None
    undo: str | None = None
    detail: Any = None
    reason: str = ""


@dataclass(slots=True)
class WriteBack:
    """What a worker writes about a run that it holds.

    ``keep_claim`` is for a checkpoint in the middle: the run stays claimed. JSON comes as text;
    ``state`` and ``items`` are ``None`` when they did not change, which spares the database the
    column.
    """

    claim: Claim
    status: str
    cursor: str
    action_uid: str
    visit: int
    at: datetime
    state: str | None = None
    items: str | None = None
    due: datetime | None = None
    outcome: str = ""
    reason: str = ""
    queue: str = ""
    attempts: int = 0
    rescues: int = 0
    wakeup: Any = None
    done_at: datetime | None = None
    keep_claim: bool = False
    event: NewEvent | None = None
    waits: Sequence[NewWait] = field(default_factory=tuple)
    is_written: bool = False
    """It was still ours; the transaction may yet be rolled back."""

    @property
    def may_have_waited(self) -> bool:
        """Whether it may have waits that are to be forgotten now."""
        return not (self.claim.is_new or self.keep_claim)

    @property
    def is_one_statement(self) -> bool:
        """Nothing is to be written beside the run and its history."""
        is_told = bool(self.claim.awaited_as) and self.status in _TOLD
        return self.keep_claim or not (self.waits or self.may_have_waited or is_told)


_PROOF_COLUMNS: Final = {
    "id": "bigint",
    "token": "uuid",
    "was_seq": "integer",
    "was_visit": "bigint",
}
_RUN_COLUMNS: Final = {
    "status": "text",
    "outcome": "text",
    "reason": "text",
    "due": "timestamptz",
    "state": JSON_TEXT,
    "items": JSON_TEXT,
    "cursor": JSON_TEXT,
    "action_uid": "text",
    "queue": "text",
    "attempts": "integer",
    "rescues": "integer",
    "visit": "bigint",
    "seq": "integer",
    "done_at": "timestamptz",
    "content_type_id": "integer",
    "object_id": "text",
    "wakeup": "jsonb",
}
"""What a write sets in the run's row when it lets go of it."""

_PLACE_COLUMNS: Final = (
    *("state", "items", "cursor", "action_uid", "visit", "seq"),
    *("content_type_id", "object_id"),
)
"""What of it also changes while the claim is kept."""

_KEPT: Final = ("state", "items")
"""Columns that stay as they are where no value is given."""

_TOLD: Final = (Status.DONE, Status.FAILED)
"""What a run that waits for others is told of."""

_EVENT_COLUMNS: Final = {
    "run_id": "bigint",
    "seq": "integer",
    "at": "timestamptz",
    "kind": "text",
    "steps": JSON_TEXT,
    "undo": JSON_TEXT,
    "detail": "jsonb",
    "reason": "text",
}
_WAIT_COLUMNS: Final = {
    "run_id": "bigint",
    "kind": "text",
    "trigger": "text",
    "content_type_id": "integer",
    "object_id": "text",
    "until": "timestamptz",
    "condition": "text",
    "look_since": "timestamptz",
}


def write_back(rows: Sequence[WriteBack]) -> list[WriteBack]:
    """Write runs that have come to a stop, with history and waits, in one transaction.

    Each row proves its token in the join, so a run that was cancelled, rescued or paused in the
    meantime is left alone and nothing of it enters the history.

    Returns:
        Those that were still ours and are written.
    """
    if not rows:
        return []
    connection = run_connection()
    with one_transaction(connection):
        written = _update_runs(connection, rows)
        kept = [row for row in rows if row.claim.id in written]
        _write_events(connection, kept)
        _write_waits(connection, kept)
        _tell_parents(kept)
    for row in kept:
        row.is_written = True
    return kept


def write_one(row: WriteBack, connection: BaseDatabaseWrapper) -> bool:
    """Write one run, to stop or to go on, with history and waits: whether it was still ours.

    ``connection`` is that of :func:`flowcontrol.dialect.run_connection`.
    """
    with one_transaction(connection):
        if row.is_one_statement:
            with last_statement(connection):
                written = _update_run(connection, row)
        elif written := _update_run(connection, row):
            _write_waits(connection, [row])
            _tell_parents([row])
    if not written:
        return False
    row.is_written = True
    return True


def _update_runs(connection: BaseDatabaseWrapper, rows: Sequence[WriteBack]) -> set[int]:
    values = [{**_proof(row), **_run_values(row)} for row in rows]
    assignments = ", ".join(f"{name} = v.{name}" for name in _RUN_COLUMNS if name not in _KEPT)
    sql = (
        f"UPDATE {FlowRun._meta.db_table} AS r SET {assignments}, "
        f"{', '.join(f'{name} = COALESCE(v.{name}, r.{name})' for name in _KEPT)}, "
        "claim_token = NULL, lease_until = NULL FROM {rows} AS v "
        "WHERE r.id = v.id AND r.claim_token = v.token "
        "AND r.seq = v.was_seq AND r.visit = v.was_visit "
        f"RETURNING {returned(connection, 'id')}"
    )
    returned_rows = execute_with_rows(
        connection, sql, [], {**_PROOF_COLUMNS, **_RUN_COLUMNS}, values, keys=_PROOF_COLUMNS
    )
    return {row[0] for row in returned_rows}


def _update_run(connection: BaseDatabaseWrapper, row: WriteBack) -> bool:
    """Write the run and what came of it into its history: whether it was still ours."""
    claim, event = row.claim, row.event
    columns, update = _run_sql(
        row.keep_claim,
        row.visit != claim.visit,
        tuple(name for name in _KEPT if getattr(row, name) is None),
    )
    values = adapted(connection, columns, [_run_values(row)])
    values += (claim.id, token_text(connection, claim.token), claim.seq, claim.visit)
    if event is None:
        return bool(execute(connection, update, values))
    told = _event_values(row, event)
    columns, insert, select = _event_sql(tuple(name for name in told if told[name] is not None))
    told_values = adapted(connection, columns, [told])
    if connection.vendor == "postgresql":
        # In one statement, because each costs the way to the server and back.
        both = f"WITH written AS ({update} RETURNING id) {select}"
        return bool(execute(connection, both, values + told_values))
    return bool(execute(connection, update, values) and execute(connection, insert, told_values))


@cache
def _run_sql(keep_claim: bool, moved: bool, kept: Collection[str]) -> tuple[Mapping[str, str], str]:
    """The columns that a write of one run sets, and the UPDATE."""
    names = [name for name in _PLACE_COLUMNS if name not in kept]
    cleared = ""
    if not keep_claim:
        names = [name for name in _RUN_COLUMNS if name not in kept]
        cleared = ", claim_token = NULL, lease_until = NULL"
    elif moved:
        # Due as it was when it was claimed: whoever takes it over finds it due at once.
        cleared = ", attempts = 0, rescues = 0, wakeup = NULL, reason = '', queue = ''"
    update = (
        f"UPDATE {FlowRun._meta.db_table} SET {', '.join(f'{name} = %s' for name in names)}"
        f"{cleared} WHERE id = %s AND claim_token = %s AND seq = %s AND visit = %s"
    )
    return {name: _RUN_COLUMNS[name] for name in names}, update


@cache
def _event_sql(names: Collection[str]) -> tuple[Mapping[str, str], str, str]:
    """The columns of a row of history that has these values, the INSERT, and the same for a run
    that has just been ``written``."""
    columns = {name: _EVENT_COLUMNS[name] for name in names}
    into = f"INSERT INTO {RunEvent._meta.db_table} ({', '.join(columns)})"
    casts = [f"%s::{database_type(kind)}" for kind in columns.values()]
    return (
        columns,
        f"{into} VALUES ({', '.join(['%s'] * len(columns))})",
        f"{into} SELECT {', '.join(casts)} FROM written",
    )


def _proof(row: WriteBack) -> dict[str, Any]:
    """What has to be true of the run's row for the write to be ours, and not yet done."""
    claim = row.claim
    return {
        "id": claim.id,
        "token": claim.token,
        "was_seq": claim.seq,
        "was_visit": claim.visit,
    }


def _run_values(row: WriteBack) -> dict[str, Any]:
    claim = row.claim
    return {
        "status": row.status,
        "outcome": row.outcome,
        "reason": row.reason,
        "due": row.due,
        "state": row.state,
        "items": row.items,
        "cursor": row.cursor,
        "action_uid": row.action_uid,
        "queue": row.queue,
        "attempts": row.attempts,
        "rescues": row.rescues,
        "visit": row.visit,
        "seq": claim.seq + (row.event is not None),
        "done_at": row.done_at,
        "content_type_id": claim.content_type_id,
        "object_id": claim.object_id,
        "wakeup": row.wakeup,
    }


def _write_events(connection: BaseDatabaseWrapper, rows: Sequence[WriteBack]) -> None:
    """The history of runs that have just been written."""
    events = [_event_values(row, row.event) for row in rows if row.event]
    if events:
        insert_rows(connection, RunEvent, _EVENT_COLUMNS, events)


def _write_waits(connection: BaseDatabaseWrapper, rows: Sequence[WriteBack]) -> None:
    """What runs that have just been written wait for now, and no more what they waited for."""
    resumed = [{"id": row.claim.id} for row in rows if row.may_have_waited]
    if resumed:
        sql = (
            f"DELETE FROM {RunWait._meta.db_table} WHERE run_id IN (SELECT id FROM {{rows}} AS v) "
            "RETURNING run_id, kind"
        )
        gone = execute_with_rows(connection, sql, [], {"id": "bigint"}, resumed, keys=["id"])
        asked = {run_id for run_id, kind in gone if kind == WaitKind.TASK}
        if asked:
            _close_tasks(rows, asked)
    waits = [_wait_values(row, wait) for row in rows for wait in row.waits]
    if waits:
        insert_rows(connection, RunWait, _WAIT_COLUMNS, waits)


def _tell_parents(rows: Sequence[WriteBack]) -> None:
    """Tell whoever waits for one of these runs that it has come to its end, or stands."""
    stopped = [row for row in rows if row.claim.awaited_as and row.status in _TOLD]
    if stopped:
        tell_parents([row.claim.id for row in stopped], stopped[0].at)


def _close_tasks(rows: Sequence[WriteBack], asked: set[int]) -> None:
    """Close the tasks of runs that waited for an answer and go on without one.

    The row that asked closes its task itself, but it need not come to that: the run may end or
    fail before. One that asks (again) has just written the task, or keeps it.
    """
    for row in rows:
        if row.claim.id in asked and not any(wait.kind == WaitKind.TASK for wait in row.waits):
            HumanTask.objects.filter(run_id=row.claim.id).give_up(row.at)


def _event_values(row: WriteBack, event: NewEvent) -> dict[str, Any]:
    return {
        "run_id": row.claim.id,
        "seq": row.claim.seq + 1,
        "at": row.at,
        "kind": event.kind,
        "steps": event.steps,
        "undo": event.undo,
        "detail": event.detail,
        "reason": event.reason,
    }


def _wait_values(row: WriteBack, wait: NewWait) -> dict[str, Any]:
    return {
        "run_id": row.claim.id,
        "kind": wait.kind,
        "trigger": wait.trigger,
        "content_type_id": wait.content_type_id,
        "object_id": wait.object_id,
        "until": wait.until,
        "condition": wait.condition,
        "look_since": wait.look_since,
    }
