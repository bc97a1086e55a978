"""Many runs at once, by other ways than the engine's: what is measured comes later."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from flowcontrol.models import Flow, FlowRun


def create_runs(flow: Flow, number: int, state: dict[str, Any]) -> list[FlowRun]:
    """Pending runs, due now."""
    now = timezone.now()
    runs = [
        FlowRun(flow=flow, version=flow.live_version, state=state, due=now, created_at=now)
        for _number in range(number)
    ]
    return FlowRun.objects.bulk_create(runs, batch_size=2000)


def create_sleepers(flow: Flow, number: int) -> None:
    """Runs that wait until some day in the next years, made by the database itself."""
    first = until = timezone.now() + timedelta(days=1)
    if connection.vendor == "postgresql":
        numbers = "SELECT n FROM generate_series(1, %s) AS numbers (n)"
        due = "%s::timestamptz + n * interval '1 minute'"
    else:
        numbers = (
            "WITH RECURSIVE numbers (n) AS "
            "(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s) SELECT n FROM numbers"
        )
        due = "datetime(%s, n || ' minutes')"
        first = first.replace(tzinfo=None)
    # A copy of one that is there, whatever columns it has.
    [run] = create_runs(flow, 1, {})
    FlowRun.objects.filter(pk=run.pk).update(status="waiting", visit=1, seq=1, due=until)
    columns = [str(field.column) for field in FlowRun._meta.concrete_fields if field.column != "id"]
    values = [due if column == "due" else column for column in columns]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {FlowRun._meta.db_table} ({', '.join(columns)}) "
            f"SELECT {', '.join(values)} FROM {FlowRun._meta.db_table}, ({numbers}) AS numbers "
            "WHERE id = %s",
            [first, number, run.pk],
        )
        cursor.execute("ANALYZE")
