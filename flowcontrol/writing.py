"""Writing back what came of claimed runs: state, position, history and waits, with proof.

Each row of a batch proves its token in the join, so a run that was cancelled, rescued or paused
in the meantime is left alone, and nothing of it enters the history. It also proves where the run
stood: a worker whose COMMIT went through but whose connection broke before the reply does not
know, and must not write the step a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flowcontrol.claiming import Claim
from flowcontrol.conf import settings
from flowcontrol.dialect import (
    fold,
    lease_end,
    moment_text,
    returned,
    run_connection,
    token_text,
    unfold,
)
from flowcontrol.models import FlowRun, RunEvent, RunWait


@dataclass(slots=True)
class NewWait:
    """A row of ``RunWait`` to be written with a park."""

    kind: str
    trigger: str = ""
    content_type_id: int | None = None
    object_id: str | None = None
    until: datetime | None = None


@dataclass(slots=True)
class NewEvent:
    """A row of ``RunEvent`` to be written with the run."""

    kind: str
    steps: list[Any] | None = None
    undo: dict[str, Any] | None = None
    detail: Any = None
    reason: str = ""


@dataclass(slots=True)
class WriteBack:
    """What a worker writes about a run that it holds.

    ``keep_claim`` is for a checkpoint in the middle: the run stays claimed and its lease is
    renewed. ``state`` is ``None`` when it did not change, which spares the database the column.
    """

    claim: Claim
    status: str
    cursor: dict[str, Any]
    action_uid: str
    visit: int
    at: datetime
    state: dict[str, Any] | None = None
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


_RUN_COLUMNS: Final = {
    "id": "bigint",
    "token": "uuid",
    "status": "text",
    "outcome": "text",
    "reason": "text",
    "due": "timestamptz",
    "has_state": "boolean",
    "state": "jsonb",
    "cursor": "jsonb",
    "action_uid": "text",
    "queue": "text",
    "wakeup": "jsonb",
    "attempts": "integer",
    "rescues": "integer",
    "visit": "bigint",
    "seq": "integer",
    "done_at": "timestamptz",
    "keep_claim": "boolean",
    "was_seq": "integer",
    "was_visit": "bigint",
    "content_type_id": "integer",
    "object_id": "text",
}
_EVENT_COLUMNS: Final = {
    "run_id": "bigint",
    "seq": "integer",
    "at": "timestamptz",
    "kind": "text",
    "steps": "jsonb",
    "undo": "jsonb",
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
}


def write_back(rows: Sequence[WriteBack]) -> set[int]:
    """Write what came of claimed runs, with history and waits, in one transaction.

    Each row proves its token in the join, so a run that was cancelled, rescued or paused in the
    meantime is left alone and nothing of it enters the history.

    Returns:
        The ids of the runs that were still ours and are written.
    """
    if not rows:
        return set()
    connection = run_connection()
    with transaction.atomic(using=connection.alias):
        written = _update_runs(connection, rows)
        kept = [row for row in rows if row.claim.id in written]
        _insert(
            connection,
            RunEvent._meta.db_table,
            _EVENT_COLUMNS,
            [_event_values(connection, row, row.event) for row in kept if row.event],
        )
        # A run that has neither stepped nor failed before has never waited: nothing to look for.
        resumed = [
            row.claim.id
            for row in kept
            if (row.claim.visit or row.claim.attempts) and not row.keep_claim
        ]
        if resumed:
            _delete_waits(connection, resumed)
        _insert(
            connection,
            RunWait._meta.db_table,
            _WAIT_COLUMNS,
            [_wait_values(connection, row, wait) for row in kept for wait in row.waits],
        )
    return written


def write_one(row: WriteBack) -> bool:
    """:func:`write_back` for a single run: whether it was still ours."""
    return bool(write_back([row]))


def _update_runs(connection: BaseDatabaseWrapper, rows: Sequence[WriteBack]) -> set[int]:
    source = unfold(connection, _RUN_COLUMNS)
    sql = (
        f"UPDATE {FlowRun._meta.db_table} AS r SET status = v.status, outcome = v.outcome, "
        "reason = v.reason, due = v.due, cursor = v.cursor, action_uid = v.action_uid, "
        "queue = v.queue, "
        "state = CASE WHEN v.has_state THEN v.state ELSE r.state END, wakeup = v.wakeup, "
        "attempts = v.attempts, rescues = v.rescues, visit = v.visit, seq = v.seq, "
        "done_at = v.done_at, content_type_id = v.content_type_id, object_id = v.object_id, "
        "claim_token = CASE WHEN v.keep_claim THEN r.claim_token ELSE NULL END, "
        f"lease_until = CASE WHEN v.keep_claim THEN {lease_end(connection)} ELSE NULL END "
        f"FROM {source} AS v WHERE r.id = v.id AND r.claim_token = v.token "
        "AND r.seq = v.was_seq AND r.visit = v.was_visit "
        f"RETURNING {returned(connection, 'id')}"
    )
    values = [_run_values(connection, row) for row in rows]
    with connection.cursor() as cursor:
        cursor.execute(sql, [settings.LEASE_SECONDS, fold(connection, values, _RUN_COLUMNS)])
        return {row[0] for row in cursor.fetchall()}


def _run_values(connection: BaseDatabaseWrapper, row: WriteBack) -> dict[str, Any]:
    claim = row.claim
    return {
        "id": claim.id,
        "token": token_text(connection, claim.token),
        "status": row.status,
        "outcome": row.outcome,
        "reason": row.reason,
        "due": moment_text(connection, row.due),
        "has_state": row.state is not None,
        "cursor": row.cursor,
        "action_uid": row.action_uid,
        "queue": row.queue,
        "attempts": row.attempts,
        "rescues": row.rescues,
        "visit": row.visit,
        "seq": claim.seq + (row.event is not None),
        "done_at": moment_text(connection, row.done_at),
        "keep_claim": row.keep_claim,
        "was_seq": claim.seq,
        "was_visit": claim.visit,
        "content_type_id": claim.content_type_id,
        "object_id": claim.object_id,
        "state": row.state,
        "wakeup": row.wakeup,
    }


def _event_values(
    connection: BaseDatabaseWrapper, row: WriteBack, event: NewEvent
) -> dict[str, Any]:
    return {
        "run_id": row.claim.id,
        "seq": row.claim.seq + 1,
        "at": moment_text(connection, row.at),
        "kind": event.kind,
        "reason": event.reason,
        "steps": event.steps,
        "undo": event.undo,
        "detail": event.detail,
    }


def _wait_values(connection: BaseDatabaseWrapper, row: WriteBack, wait: NewWait) -> dict[str, Any]:
    return {
        "run_id": row.claim.id,
        "kind": wait.kind,
        "trigger": wait.trigger,
        "content_type_id": wait.content_type_id,
        "object_id": wait.object_id,
        "until": moment_text(connection, wait.until),
    }


def _insert(
    connection: BaseDatabaseWrapper,
    table: str,
    columns: dict[str, str],
    rows: Sequence[dict[str, Any]],
) -> None:
    if not rows:
        return
    names = ", ".join(connection.ops.quote_name(name) for name in columns)
    source = unfold(connection, columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {names} FROM {source} AS v",
            [fold(connection, rows, columns)],
        )


def _delete_waits(connection: BaseDatabaseWrapper, run_ids: Iterable[int]) -> None:
    columns = {"id": "bigint"}
    sql = (
        f"DELETE FROM {RunWait._meta.db_table} "
        f"WHERE run_id IN (SELECT id FROM {unfold(connection, columns)} AS v)"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [fold(connection, [{"id": pk} for pk in run_ids], columns)])
