"""What the machine does without flowcontrol: the figures that ours are held against."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

from django.db import connection, transaction
from django.template.base import Parser
from django.template.context import Context
from django.template.defaulttags import TemplateIfParser
from django.utils import timezone

from flowcontrol.models import Flow, FlowRun, RunEvent
from tests.benchmarks.measuring import seconds
from tests.benchmarks.preparing import create_runs
from tests.testapp.models import Parcel

BATCH = 500

_RUN = FlowRun._meta.db_table
_EVENT = RunEvent._meta.db_table


def condition_evaluations(rounds: int = 100_000) -> float:
    """Evaluations a second of a condition that Django compiled once, in one context."""
    condition = TemplateIfParser(Parser(""), ["n", "<", "100"]).parse()
    context = Context({"n": 1})

    def evaluate() -> None:
        for _number in range(rounds):
            condition.eval(context)  # type: ignore[arg-type]

    return rounds / seconds(evaluate)


def commits(flow: Flow, number: int = 2000) -> float:
    """UPDATE + COMMIT of one column of a run's row, over a bare cursor."""
    [run] = create_runs(flow, 1, {"n": 0})
    sql = f"UPDATE {FlowRun._meta.db_table} SET visit = visit + 1 WHERE id = %s"

    def update() -> None:
        with connection.cursor() as cursor:
            for _number in range(number):
                cursor.execute(sql, [run.pk])

    rate = number / seconds(update)
    run.delete()
    return rate


def inserts(number: int = 2000) -> float:
    """Rows a second through the ORM, each with its own commit."""

    def insert() -> None:
        for position in range(number):
            Parcel.objects.create(label=f"{position}-1")

    return number / seconds(insert)


def steps_by_hand(flow: Flow, number: int = 2000, *, insert: bool, together: int = 1) -> float:
    """Steps a second of the least that keeps the promise of a ``database`` step.

    One transaction for each ``together`` steps, opened by Django: a row for each through the ORM
    (with ``insert``), the run's place with proof of its token, a row of history. No claim, no
    condition, nothing computed.
    """
    [run] = create_runs(flow, 1, {"n": 0})
    run.claim_token = uuid.uuid4()
    run.save(update_fields=["claim_token"])
    now = timezone.now()
    if connection.vendor == "sqlite":
        now, token = str(now.replace(tzinfo=None)), run.claim_token.hex  # type: ignore[assignment]
    else:
        token = str(run.claim_token)
    place = json.dumps(run.cursor or {"frames": [["a", "run", None]]})
    steps = json.dumps([["a", "run", "continue", 10]])
    update = (
        f"UPDATE {_RUN} SET cursor = %s, action_uid = 'a', visit = visit + 1, seq = %s "
        "WHERE id = %s AND claim_token = %s"
    )
    history = (
        f"INSERT INTO {_EVENT} (run_id, seq, at, kind, reason, steps) "
        "VALUES (%s, %s, %s, 'steps', '', %s)"
    )

    def step() -> None:
        for position in range(1, number // together + 1):
            with transaction.atomic():
                for one in range(together if insert else 0):
                    Parcel.objects.create(label=f"{position}-{one}")
                with connection.cursor() as cursor:
                    cursor.execute(update, [place, position, run.pk, token])
                    cursor.execute(history, [run.pk, position, now, steps])

    rate = number / seconds(step)
    run.delete()
    return rate


@dataclass(frozen=True)
class Finished:
    """What flowcontrol wrote about a run, as text: the limit writes the same."""

    state: str
    cursor: str
    steps: str
    undo: str
    visit: int

    @classmethod
    def like(cls, run: FlowRun) -> Finished:
        event = run.events.latest("seq")
        state, cursor, steps, undo = map(
            json.dumps, (run.state, run.cursor, event.steps, event.undo)
        )
        return cls(state, cursor, steps, undo, run.visit)


def claim_and_finish(flow: Flow, runs: int, finished: Finished) -> float:
    """Runs a second: claimed in batches, finished in batches, one row of history each.

    The same tables with the same indexes and the same bytes, two commits a batch, and nothing
    computed in between.
    """
    create_runs(flow, runs, {"n": 0})
    work = _on_postgres if connection.vendor == "postgresql" else _on_sqlite

    def all_of_them() -> None:
        for _batch in range(0, runs, BATCH):
            work(flow.pk, finished)

    return runs / seconds(all_of_them)


_DUE = (
    f"SELECT id FROM {_RUN} WHERE flow_id = %s AND status IN ('pending', 'waiting') "
    "AND due IS NOT NULL AND due <= %s ORDER BY due, id LIMIT %s"
)
_FINISH = (
    "status = 'done', outcome = 'complete', due = NULL, state = v.state, cursor = v.cursor, "
    "visit = v.visit, seq = seq + 1, done_at = %s, claim_token = NULL, lease_until = NULL"
)
_HISTORY = f"INSERT INTO {_EVENT} (run_id, seq, at, kind, reason, steps, undo)"


def _on_postgres(flow: int, finished: Finished) -> None:
    now, token = timezone.now(), uuid.uuid4()
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_RUN} SET status = 'running', claim_token = %s, "
            "lease_until = clock_timestamp() + interval '300 seconds' "
            f"WHERE id = ANY(ARRAY({_DUE} FOR UPDATE SKIP LOCKED)) RETURNING id, state, cursor",
            [token, flow, now, BATCH],
        )
        ids = [row[0] for row in cursor.fetchall()]
        count = len(ids)
        with transaction.atomic():
            cursor.execute(
                f"UPDATE {_RUN} AS r SET {_FINISH} FROM unnest(%s::bigint[], %s::uuid[], "
                "%s::jsonb[], %s::jsonb[], %s::bigint[]) AS v (id, token, state, cursor, visit) "
                "WHERE r.id = v.id AND r.claim_token = v.token RETURNING r.id",
                [
                    now,
                    ids,
                    [token] * count,
                    [finished.state] * count,
                    [finished.cursor] * count,
                    [finished.visit] * count,
                ],
            )
            cursor.execute(
                f"{_HISTORY} SELECT v.id, 1, %s, 'done', '', v.steps, v.undo "
                "FROM unnest(%s::bigint[], %s::jsonb[], %s::jsonb[]) AS v (id, steps, undo)",
                [now, ids, [finished.steps] * count, [finished.undo] * count],
            )


def _on_sqlite(flow: int, finished: Finished) -> None:
    now, token = str(timezone.now().replace(tzinfo=None)), uuid.uuid4().hex
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_RUN} SET status = 'running', claim_token = %s, "
            "lease_until = strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '300 seconds') "
            f"WHERE id IN ({_DUE}) RETURNING id, state, cursor",
            [token, flow, now, BATCH],
        )
        ids = [row[0] for row in cursor.fetchall()]
        finish = [[pk, token, finished.state, finished.cursor, finished.visit] for pk in ids]
        history = [[pk, finished.steps, finished.undo] for pk in ids]
        with transaction.atomic():
            cursor.execute(
                f"UPDATE {_RUN} AS r SET {_FINISH} FROM (SELECT value ->> 0 AS id, "
                "value ->> 1 AS token, value ->> 2 AS state, value ->> 3 AS cursor, "
                "value ->> 4 AS visit FROM json_each(%s)) AS v "
                "WHERE r.id = v.id AND r.claim_token = v.token RETURNING id",
                [now, json.dumps(finish)],
            )
            cursor.execute(
                f"{_HISTORY} SELECT value ->> 0, 1, %s, 'done', '', value ->> 1, value ->> 2 "
                "FROM json_each(%s)",
                [now, json.dumps(history)],
            )
