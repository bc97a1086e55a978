"""One look at the rows: what is there for a sweep to do beside executing what is due?

A sweep comes every few seconds and mostly finds nothing. Each chore could ask for itself, but one
statement with all the questions costs what one of theirs does, the way to the server above all.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowcontrol.claiming import is_abandoned
from flowcontrol.dialect import run_connection
from flowcontrol.models import Firing, FlowRun, RunWait


@dataclass(frozen=True, slots=True)
class Chores:
    """What there is to do. Whoever does it finds out for itself how much."""

    lost: bool
    """Runs whose lease ran out."""

    missed: bool
    """Waits for a trigger that may have fired before the wait was there to be seen."""

    fired: bool
    """Firings that nobody has matched yet."""

    queued: bool
    """Runs for which their flow had no room."""


def look() -> Chores:
    """What there is to do at this moment, in one statement."""
    connection = run_connection()
    run, wait, firing = (model._meta.db_table for model in (FlowRun, RunWait, Firing))
    # Each is the condition of a partial index, so that it costs nothing to find that there is none.
    # In its order: before the first ANALYZE PostgreSQL expects a third of all runs to be lost, and
    # would look for the first one by reading them all.
    questions = (
        f"SELECT 1 FROM {run} WHERE {is_abandoned(connection, run)} ORDER BY lease_until",
        f"SELECT 1 FROM {wait} WHERE look_since IS NOT NULL ORDER BY id",
        f"SELECT 1 FROM {firing} WHERE matched_at IS NULL ORDER BY id",
        f"SELECT 1 FROM {run} WHERE status = 'queued' ORDER BY flow_id, id",
    )
    answers = ", ".join(f"({each} LIMIT 1) IS NOT NULL" for each in questions)
    with connection.cursor() as cursor:
        # With parameters, if none, both databases read "%%" alike.
        cursor.execute(f"SELECT {answers}", [])
        return Chores(*map(bool, cursor.fetchone()))
