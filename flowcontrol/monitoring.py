"""How the engine is doing, in numbers that a monitoring system understands."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.db import models

from flowcontrol.dialect import database_now, run_connection
from flowcontrol.models import CLAIMABLE, EngineState, Firing, FlowRun, Status


@dataclass(frozen=True, slots=True)
class EngineReport:
    """``lag_seconds`` is how long the oldest due run has been waiting for a worker;
    ``abandoned`` counts runs whose lease ran out and that no sweep has rescued yet."""

    counts: dict[str, int] = field(default_factory=dict)
    lag_seconds: float = 0.0
    abandoned: int = 0
    unmatched_firings: int = 0
    last_sweep: datetime | None = None
    is_paused: bool = False

    def problems(self, now: datetime, *, max_lag: float) -> list[str]:
        """What somebody should look at; empty when all is well."""
        found = []
        if self.is_paused:
            found.append("Everything is paused.")
        if self.lag_seconds > max_lag:
            found.append(f"The oldest due run has waited {self.lag_seconds:.0f} s for a worker.")
        if self.abandoned:
            found.append(f"{self.abandoned} run(s) were left by their workers.")
        if failed := self.counts.get(Status.FAILED):
            found.append(f"{failed} run(s) have failed and wait for somebody.")
        if self.last_sweep is None:
            found.append("No sweep has been here yet.")
        elif (silence := (now - self.last_sweep).total_seconds()) > max_lag:
            found.append(f"The last sweep was {silence:.0f} s ago.")
        return found

    def to_json(self) -> dict[str, Any]:
        last_sweep = self.last_sweep.isoformat() if self.last_sweep else None
        return {**asdict(self), "last_sweep": last_sweep}


def report(now: datetime) -> EngineReport:
    """Ask the tables. Counting runs by status reads a whole index; it is not for every page."""
    state = EngineState.objects.current()
    runs = FlowRun.objects.order_by()
    due = runs.filter(status__in=CLAIMABLE, due__lte=now, flow__paused_at__isnull=True)
    oldest = None if state.paused_at else due.aggregate(oldest=models.Min("due"))["oldest"]
    return EngineReport(
        counts=dict(runs.values_list("status").annotate(number=models.Count("pk"))),
        lag_seconds=(now - oldest).total_seconds() if oldest else 0.0,
        abandoned=_abandoned(),
        unmatched_firings=Firing.objects.filter(matched_at__isnull=True).count(),
        last_sweep=state.swept_at,
        is_paused=state.paused_at is not None,
    )


def _abandoned() -> int:
    connection = run_connection()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {FlowRun._meta.db_table} "
            f"WHERE claim_token IS NOT NULL AND lease_until < {database_now(connection)}",
            [],
        )
        return int(cursor.fetchone()[0])
