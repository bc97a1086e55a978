"""Claims on runs: taking them in batches, renewing them, giving them back.

A claim is a token and a lease in the run's own row. Whoever holds the token may write; everybody
else's UPDATE finds no row. Leases are measured by the database's clock, because the clocks of
several machines meet there; due times by the engine's, because flows live by it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from flowcontrol.conf import settings
from flowcontrol.dialect import (
    database_now,
    execute_with_rows,
    lease_end,
    moment_text,
    returned,
    run_connection,
    token_text,
)
from flowcontrol.models import EngineState, Flow, FlowRun

_COLUMNS: Final = (
    "id",
    "flow_id",
    "version_id",
    "content_type_id",
    "object_id",
    "state",
    "cursor",
    "items",
    "wakeup",
    "firing_id",
    "started_by_id",
    "visit",
    "seq",
    "attempts",
    "rescues",
    "depth",
    "awaited_as",
)
"""What a claim knows of the run's row; in the order of its fields."""

_JSON: Final = ("state", "cursor", "items", "wakeup")
"""Those that are JSON, which SQLite returns as text."""


@dataclass(slots=True, eq=False)
class Claim:
    """A run that this process may execute and write, for as long as the token stands."""

    id: int
    flow_id: int
    version_id: int
    content_type_id: int | None
    object_id: str | None
    state: dict[str, Any]
    cursor: dict[str, Any]
    items: dict[str, list[Any]]
    wakeup: Any
    firing_id: int | None
    started_by_id: int | None
    visit: int
    seq: int
    attempts: int
    rescues: int
    depth: int
    awaited_as: str
    token: uuid.UUID
    is_new: bool
    """When it was claimed the run had neither stepped nor failed."""

    def copy(self) -> Claim:
        return Claim(*_fields(self))


_fields: Final = attrgetter(*(each.name for each in fields(Claim)))


# --- taking ---------------------------------------------------------------------------------


def claim_due(now: datetime, limit: int, queue: str | None = None) -> list[Claim]:
    """Claim up to ``limit`` runs that are due at ``now``, in one statement.

    Fair: flows that have something due share the batch, so the backlog of one does not hold up
    the others; where there are more flows than rows in the batch, chance decides which come this
    time. The rows of paused flows are never looked at.

    Args:
        now: the moment by which they are due.
        limit: the most to claim.
        queue: only runs whose next step belongs to this queue; ``None``: whatever it is.
    """
    connection = run_connection()
    run, flow = FlowRun._meta.db_table, Flow._meta.db_table
    due = "r.status IN ('pending', 'waiting') AND r.due IS NOT NULL AND r.due <= %s"
    lock = "FOR UPDATE OF r SKIP LOCKED" if connection.vendor == "postgresql" else ""
    if queue is not None:
        due += " AND r.queue = %s"
    # Not EXISTS: PostgreSQL may turn that into a join that reads the whole table of runs.
    active = f"""
        SELECT f.id FROM {flow} f WHERE {_not_paused("f")} AND (
            SELECT r.id FROM {run} r WHERE r.flow_id = f.id AND {due}
            ORDER BY r.due, r.id LIMIT 1
        ) IS NOT NULL ORDER BY random() LIMIT %s
    """
    share = "(SELECT (%s + count(*) - 1) / max(count(*), 1) FROM active)"
    if connection.vendor == "postgresql":
        share = share.replace("max(", "greatest(")
        # The CTEs are fences: without them PostgreSQL may run a LIMIT subquery again.
        picked = f"""
            SELECT due_run.id FROM active CROSS JOIN LATERAL (
                SELECT r.id FROM {run} r WHERE r.flow_id = active.id AND {due}
                ORDER BY r.due, r.id LIMIT {share} {lock}
            ) due_run LIMIT %s
        """
    else:
        picked = f"""
            SELECT due_run.id FROM active CROSS JOIN {run} due_run WHERE due_run.id IN (
                SELECT r.id FROM {run} r WHERE r.flow_id = active.id AND {due}
                ORDER BY r.due, r.id LIMIT {share}
            ) LIMIT %s
        """
    is_due = [moment_text(connection, now)] + ([] if queue is None else [queue])
    return _take(
        connection,
        f"WITH active AS MATERIALIZED ({active}), picked AS MATERIALIZED ({picked})",
        [*is_due, limit, *is_due, limit, limit],
        "id IN (SELECT id FROM picked)",
    )


def claim_run(pk: int, now: datetime) -> Claim | None:
    """Claim this run if it is due at ``now`` and neither it nor its flow is held back."""
    connection = run_connection()
    flow = Flow._meta.db_table
    claims = _take(
        connection,
        "",
        [],
        f"id = %s AND status IN ('pending', 'waiting') AND due <= %s AND EXISTS "
        f"(SELECT 1 FROM {flow} f WHERE f.id = flow_id AND {_not_paused('f')})",
        [pk, moment_text(connection, now)],
    )
    return claims[0] if claims else None


def claim_for_trial(pk: int, now: datetime) -> Claim | None:
    """Claim this run of a trial if it is due at ``now``, whatever is paused."""
    connection = run_connection()
    due = "id = %s AND status IN ('pending', 'waiting') AND due <= %s"
    claims = _take(connection, "", [], due, [pk, moment_text(connection, now)])
    return claims[0] if claims else None


def claim_suspect() -> Claim | None:
    """Claim one run whose lease ran out, alone: it may be what killed its worker.

    The oldest lease first. Only this claim counts as a rescue; a run that was merely in the same
    batch as a poisonous one is rescued once and then goes on.
    """
    connection = run_connection()
    run, flow = FlowRun._meta.db_table, Flow._meta.db_table
    lock = "FOR UPDATE OF r SKIP LOCKED" if connection.vendor == "postgresql" else ""
    claims = _take(
        connection,
        f"""WITH picked AS MATERIALIZED (
            SELECT r.id FROM {run} r JOIN {flow} f ON f.id = r.flow_id
            WHERE {is_abandoned(connection, "r")}
            AND {_not_paused("f")} ORDER BY r.lease_until LIMIT 1 {lock}
        )""",
        [],
        f"id IN (SELECT id FROM picked) AND {is_abandoned(connection, run)}",
        rescue=True,
    )
    return claims[0] if claims else None


def is_abandoned(connection: BaseDatabaseWrapper, run: str) -> str:
    """SQL for "the lease of this run has run out"; ``run`` is the table, or its alias."""
    now = database_now(connection)
    return f"{run}.claim_token IS NOT NULL AND {run}.lease_until < {now}"


def free_paused_suspects() -> int:
    """Let go of runs whose lease ran out while they are paused with their flow; how many."""
    connection = run_connection()
    run, flow = FlowRun._meta.db_table, Flow._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {run} SET status = 'pending', claim_token = NULL, lease_until = NULL "
            f"WHERE {is_abandoned(connection, run)} "
            f"AND flow_id IN (SELECT f.id FROM {flow} f WHERE NOT ({_not_paused('f')}))",
            [],  # with parameters, if none, both databases read "%%" alike
        )
        return int(cursor.rowcount)


def _not_paused(flow: str) -> str:
    """SQL for "neither this flow nor everything is paused"; ``flow`` is the table's alias."""
    engine = EngineState._meta.db_table
    return (
        f"{flow}.paused_at IS NULL "
        f"AND NOT EXISTS (SELECT 1 FROM {engine} e WHERE e.paused_at IS NOT NULL)"
    )


def _take(
    connection: BaseDatabaseWrapper,
    prologue: str,
    prologue_parameters: Sequence[Any],
    condition: str,
    condition_parameters: Sequence[Any] = (),
    *,
    rescue: bool = False,
) -> list[Claim]:
    token = uuid.uuid4()
    sql = (
        f"{prologue} UPDATE {FlowRun._meta.db_table} SET status = 'running', claim_token = %s, "
        f"lease_until = {lease_end(connection)}{', rescues = rescues + 1' if rescue else ''} "
        f"WHERE {condition} RETURNING {', '.join(_COLUMNS)}"
    )
    parameters = [
        *prologue_parameters,
        token_text(connection, token),
        settings.LEASE_SECONDS,
        *condition_parameters,
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
    # Oldest first within the batch, whatever order the database returned the rows in.
    return sorted((_read(row, token) for row in rows), key=lambda claim: claim.id)


_from_json: Final = json.JSONDecoder().decode


def _read(row: Sequence[Any], token: uuid.UUID) -> Claim:
    claim = Claim(*(*row, token, False))
    claim.is_new = not (claim.visit or claim.attempts)
    for name in _JSON:
        if isinstance(text := getattr(claim, name), str):
            setattr(claim, name, _from_json(text) if text != "{}" else {})
    return claim


# --- keeping and giving back ----------------------------------------------------------------


def renew(claims: Sequence[Claim]) -> set[int]:
    """Extend the leases of ``claims``; the ids of those that are still ours."""
    return _touch(claims, f"lease_until = {lease_end(run_connection())}", [settings.LEASE_SECONDS])


def release(claims: Sequence[Claim], *, suspect: bool = False) -> set[int]:
    """Give claims back as they stand in the database, due as they were, for any worker.

    ``suspect`` counts it as a rescue, for a run that may be what goes wrong.

    Returns:
        The ids of those that were still ours.
    """
    return _touch(
        claims,
        "status = 'pending', claim_token = NULL, lease_until = NULL"
        f"{', rescues = rescues + 1' if suspect else ''}",
        [],
    )


def _touch(claims: Sequence[Claim], assignments: str, parameters: list[Any]) -> set[int]:
    if not claims:
        return set()
    connection = run_connection()
    columns = {"id": "bigint", "token": "uuid"}
    held = [{"id": claim.id, "token": claim.token} for claim in claims]
    sql = (
        f"UPDATE {FlowRun._meta.db_table} AS r SET {assignments} FROM {{rows}} AS v "
        f"WHERE r.id = v.id AND r.claim_token = v.token RETURNING {returned(connection, 'id')}"
    )
    rows = execute_with_rows(connection, sql, parameters, columns, held, keys=columns)
    return {row[0] for row in rows}
