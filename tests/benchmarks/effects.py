"""Steps that commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from django.db import connection

from flowcontrol.engine import continue_flowruns
from flowcontrol.models import Flow, FlowRun
from flowcontrol.testing import make_flow, row
from tests.benchmarks.limits import commits as bare_commits
from tests.benchmarks.limits import inserts as bare_inserts
from tests.benchmarks.limits import steps_by_hand
from tests.benchmarks.measuring import Options, in_turns, seconds
from tests.benchmarks.preparing import create_runs
from tests.benchmarks.results import Limit, Result, number

STEPS = 10


def database(options: Options) -> Iterator[Result]:
    flow = make_flow(*[row("benchmarks.insert")] * STEPS)
    limit, reached = in_turns(
        options.repeats, bare_inserts, lambda: _steps_a_second(flow, options.amount(200))
    )
    yield Result(
        "10 database actions, an ORM insert and a commit each",
        connection.vendor,
        reached,
        "steps/s",
        Limit("bare ORM insert + commit/s", limit),
        share=0.6,
        note=_by_hand(limit, reached, options, partial(steps_by_hand, flow, insert=True)),
    )


def groupable(options: Options) -> Iterator[Result]:
    flow = make_flow(*[row("benchmarks.insert_together")] * STEPS)
    limit, reached = in_turns(
        options.repeats, bare_inserts, lambda: _steps_a_second(flow, options.amount(400))
    )
    yield Result(
        "the same, groupable",
        connection.vendor,
        reached,
        "steps/s",
        Limit("bare ORM insert + commit/s", limit),
        at_least=2000 if connection.vendor == "postgresql" else 3500,
        note=_by_hand(
            limit, reached, options, partial(steps_by_hand, flow, insert=True, together=STEPS)
        ),
    )


def commits(options: Options) -> Iterator[Result]:
    flow = make_flow(*[row("benchmarks.nothing")] * STEPS)
    limit, reached = in_turns(
        options.repeats,
        lambda: bare_commits(flow),
        lambda: _steps_a_second(flow, options.amount(200)),
    )
    yield Result(
        "a commit after every action, no ORM effect",
        connection.vendor,
        reached,
        "steps/s",
        Limit("bare UPDATE + COMMIT/s", limit),
        share=0.45,
        note=_by_hand(limit, reached, options, partial(steps_by_hand, flow, insert=False)),
    )


def _by_hand(limit: float, reached: float, options: Options, measure: Callable[[], float]) -> str:
    """What stands between the figure and the limit: the promise itself."""
    by_hand = max(measure() for _number in range(options.repeats))
    return (
        f"The same transactions by hand (Django's atomic, the run's row, its history): "
        f"{number(by_hand)} steps/s, {by_hand / limit:.2f} of the limit; "
        f"this is {reached / by_hand:.2f} of that."
    )


def _steps_a_second(flow: Flow, runs: int) -> float:
    create_runs(flow, runs, {})
    took = seconds(continue_flowruns)
    assert not FlowRun.objects.open().exists()
    return runs * STEPS / took
