"""A year of flights from New York, one run each, day by day."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
from django.db import connection

from demo.records import WEEK
from flowcontrol.engine import continue_flowruns
from flowcontrol.models import FlowRun, Outcome
from flowcontrol.starting import insert_flowruns, plan_flowrun
from flowcontrol.testing import Delay, Else, If, UpdateState, make_flow, row
from tests.benchmarks.limits import Finished, claim_and_finish
from tests.benchmarks.measuring import Options
from tests.benchmarks.results import Limit, Result, left_out
from tests.testapp.models import Parcel

WARM = 10
"""Days after which the memory is looked at for the first time."""


def year(options: Options) -> Iterator[Result]:
    """Starting counts as well. The clock of the engine goes through the year with the flights."""
    given = os.environ.get("FLOWCONTROL_BENCHMARK_FLIGHTS")
    if given is None and options.part == 1:
        yield left_out("a year of flights", connection.vendor, "--flights is missing")
        return
    flow = make_flow(
        If("delay > 15", [UpdateState(standing="'late'")]),
        Else([UpdateState(standing="'on time'")]),
        UpdateState(told='carrier|add:" is "|add:standing'),
        Delay("PT6H"),
        If("is_cancelled", [row("benchmarks.insert")]),
    )
    process = psutil.Process()
    warm = flights = cancelled = 0
    began = perf_counter()
    for day, states in islice(_days(Path(given or WEEK)), options.amount(365)):
        insert_flowruns(plan_flowrun(flow, now=day, state=state) for state in states)
        continue_flowruns(now=day)
        continue_flowruns(now=day + timedelta(hours=6))
        flights += len(states)
        cancelled += sum(state["is_cancelled"] for state in states)
        if day.timetuple().tm_yday <= WARM or not warm:
            warm = process.memory_info().rss
    took = perf_counter() - began
    grown = (process.memory_info().rss - warm) / 1_000_000
    assert FlowRun.objects.filter(outcome=Outcome.COMPLETE).count() == flights
    assert Parcel.objects.count() == cancelled

    finished = Finished.like(FlowRun.objects.latest("pk"))
    rate = claim_and_finish(flow, options.amount(5000, least=100), finished)
    is_postgres = connection.vendor == "postgresql"
    yield Result(
        f"{flights:,} flights, one run each",
        connection.vendor,
        took,
        "s",
        Limit("bare claim + finish + history, twice a run, s", 2 * flights / rate),
        at_most=240 if is_postgres and options.part == 1 else None,
        note=f"{flights / took:,.0f} runs/s, each started, parked and resumed; {cancelled:,} "
        "cancelled flights had a database step",
    )
    yield Result(
        "the memory of that process after the first ten days",
        connection.vendor,
        grown,
        "MB more",
        at_most=50,
    )


def _days(path: Path) -> Iterator[tuple[datetime, list[dict[str, Any]]]]:
    """Each day at midnight, and the start states of its flights."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        for (year, month, day), flights in groupby(
            rows, lambda row: (int(row["year"]), int(row["month"]), int(row["day"]))
        ):
            yield datetime(year, month, day, tzinfo=UTC), [_state(flight) for flight in flights]


def _state(flight: dict[str, str]) -> dict[str, Any]:
    return {
        "carrier": flight["carrier"],
        "flight": int(flight["flight"]),
        "origin": flight["origin"],
        "dest": flight["dest"],
        "delay": int(flight["dep_delay"] or 0),
        "is_cancelled": not flight["dep_time"],
    }
