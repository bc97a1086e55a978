"""Many runs in batches: stepping through them, resuming them, and finding nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from statistics import median

from django.db import connection
from django.utils import timezone

from flowcontrol.engine import continue_flowruns
from flowcontrol.models import FlowRun, Status
from flowcontrol.testing import Delay, UpdateState, make_flow
from tests.benchmarks.limits import Finished, claim_and_finish
from tests.benchmarks.measuring import Options, in_turns, seconds
from tests.benchmarks.preparing import create_runs, create_sleepers
from tests.benchmarks.results import Limit, Result

BARE = "bare claim + finish + history, runs/s"


def pure(options: Options) -> Iterator[Result]:
    """One sweep from the start of each run to its end."""
    number = options.amount(5000)
    flow = make_flow(*[UpdateState(n="n|add:1")] * 10)
    create_runs(flow, 500, {"n": 0})
    continue_flowruns()
    finished = Finished.like(FlowRun.objects.latest("pk"))

    def sweep() -> float:
        create_runs(flow, number, {"n": 0})
        took = seconds(continue_flowruns)
        assert not FlowRun.objects.open().exists()
        return number / took

    limit, reached = in_turns(
        options.repeats, lambda: claim_and_finish(flow, number, finished), sweep
    )
    yield _against_bare(f"{number:,} pending runs of 10 pure actions", reached, limit, 5500, 0.5)


def resumed(options: Options) -> Iterator[Result]:
    """Runs that were parked by a Delay; the rows of their waits go as well."""
    number = options.amount(20_000)
    flow = make_flow(UpdateState(n="1"), Delay("PT1H"), *[UpdateState(n="n|add:1")] * 3)
    parked: list[float] = []

    def park(runs: int) -> float:
        create_runs(flow, runs, {"n": 0})
        return runs / seconds(continue_flowruns)

    def resume() -> float:
        later = timezone.now() + timedelta(hours=2)
        runs = FlowRun.objects.filter(status=Status.WAITING).count()
        took = seconds(lambda: continue_flowruns(now=later))
        assert not FlowRun.objects.open().exists()
        return runs / took

    park(500)
    resume()
    finished = Finished.like(FlowRun.objects.latest("pk"))

    def park_and_resume() -> float:
        parked.append(park(number))
        return resume()

    limit, reached = in_turns(
        options.repeats, lambda: claim_and_finish(flow, number, finished), park_and_resume
    )
    yield Result(f"{number:,} runs parked", connection.vendor, max(parked), "runs/s")
    work = f"{number:,} parked runs resumed, 3 pure actions each"
    yield _against_bare(work, reached, limit, 11_000, 0.6)


def sleepers(options: Options) -> Iterator[Result]:
    """What is not due must not cost anything."""
    number = options.amount(1_000_000)
    create_sleepers(make_flow(UpdateState(n="1"), slug="asleep"), number)
    flow = make_flow(*[UpdateState(n="n|add:1")] * 3, slug="awake")
    create_runs(flow, 100, {"n": 0})
    continue_flowruns()

    def sweep(due: int) -> float:
        create_runs(flow, due, {"n": 0})
        took = seconds(continue_flowruns)
        assert FlowRun.objects.filter(flow=flow).open().count() == 0
        return 1000 * took

    for due, goal in ((0, 5.0), (100, 60.0)):
        yield Result(
            f"a sweep among {number:,} sleeping runs, {due or 'none'} due",
            connection.vendor,
            median(sweep(due) for _number in range(11)),
            "ms",
            at_most=goal,
        )


def _against_bare(
    workload: str, reached: float, limit: float, at_least: float, share: float
) -> Result:
    """SQLite has to reach a figure, PostgreSQL a share of what the machine can do."""
    bare = Limit(BARE, limit)
    if connection.vendor == "postgresql":
        return Result(workload, connection.vendor, reached, "runs/s", bare, share=share)
    return Result(workload, connection.vendor, reached, "runs/s", bare, at_least=at_least)
