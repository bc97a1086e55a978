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
    questions = (
        f"SELECT 1 FROM {run} WHERE {is_abandoned(connection, run)}",
        f"SELECT 1 FROM {wait} WHERE kind = 'event' AND look_since IS NOT NULL",
        f"SELECT 1 FROM {firing} WHERE matched_at IS NULL",
        f"SELECT 1 FROM {run} WHERE status = 'queued'",
    )
    with connection.cursor() as cursor:
        # With parameters, if none, both databases read "%%" alike.
        cursor.execute(f"SELECT {', '.join(f'EXISTS ({each})' for each in questions)}", [])
        return Chores(*map(bool, cursor.fetchone()))
