"""Workers are killed again and again, and the runs do not notice.

Several workers, short leases, ``kill -9`` every second or so at whatever the worker is doing just
then. A killed worker is replaced at once, as a process manager would.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest
from django.conf import settings as project
from django.db import connection
from django.test import override_settings

from flowcontrol.engine import create_flowrun
from flowcontrol.models import Flow, FlowRun, RunWait, Status
from flowcontrol.testing import Delay, For, UpdateState, make_flow, row
from flowcontrol.working import work
from tests.concurrency.blocks import Outside
from tests.concurrency.forking import Child
from tests.concurrency.variants import Variant
from tests.testapp.models import Parcel

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        project.DATABASE != "postgres", reason="Several workers are what PostgreSQL is for."
    ),
]

LEASE: Final = 1.5
SWEEP: Final = 0.5
"""Seconds: how long a lease lasts, and after how many of them a sweep claims nothing more."""


@dataclass
class Crew:
    """Workers that are killed and replaced."""

    size: int
    workers: list[Child] = field(default_factory=list)
    killed: dict[int, float] = field(default_factory=dict)
    """When which process was killed, by the machine's monotonic clock."""

    def hire(self) -> None:
        while len(self.workers) < self.size:
            self.workers.append(Child(lambda: work(threading.Event())))

    def lose(self, chance: random.Random) -> None:
        victim = self.workers.pop(chance.randrange(len(self.workers)))
        victim.kill()
        self.killed[victim.pid] = time.monotonic()
        victim.close()

    def dismiss(self) -> None:
        for worker in self.workers:
            worker.close()
        self.workers.clear()


@contextmanager
def crew_of(size: int) -> Iterator[Crew]:
    crew = Crew(size)
    try:
        crew.hire()
        yield crew
    finally:
        crew.dismiss()


def overdue() -> float:
    """Seconds for which the oldest lease has run out without anybody taking over."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(lease_until)), 0) "
            "FROM flowcontrol_flowrun WHERE claim_token IS NOT NULL"
        )
        return float(cursor.fetchone()[0])


def make_flows(seconds: float) -> Flow:
    """A flow with every kind of effect, a wait and a sub-flow; its calls take ``seconds``."""
    make_flow(row("proof.insert"), name="Sub-flow", slug="sub")
    return make_flow(
        UpdateState(n="0"),
        row("proof.insert"),
        For(2, [row("proof.insert_in_group"), UpdateState(n="n|add:1")]),
        row("proof.call", seconds=seconds),
        Delay("PT1S"),
        row("start_flow", flow="sub"),
        row("proof.call", seconds=seconds),
        row("proof.insert"),
    )


def check_kills(
    outside: Outside,
    chance: random.Random,
    *,
    runs: int,
    kills: int,
    patience: float = 1.0,
    seconds: float = 60,
) -> None:
    """Let a crew of three work off ``runs`` while it is killed, at most ``kills`` times.

    ``patience`` is what a rescue may take beyond lease and sweep.
    """
    flow = make_flows(0.02)
    chosen = {
        "FLOWCONTROL_LEASE_SECONDS": LEASE,
        "FLOWCONTROL_SWEEP_SECONDS": SWEEP,
        "FLOWCONTROL_WORKER_POLL_SECONDS": 0.1,
        "FLOWCONTROL_BATCH_SIZE": 20,
    }
    started = [create_flowrun(flow).pk for _number in range(runs)]
    longest = 0.0
    with override_settings(**chosen), crew_of(3) as crew:
        deadline = time.monotonic() + seconds
        next_kill = time.monotonic() + 0.5
        while FlowRun.objects.exclude(status__in=(Status.DONE, Status.FAILED)).exists():
            assert time.monotonic() < deadline, f"Not done in time: {left()}"
            longest = max(longest, overdue())
            assert longest < SWEEP + patience, f"Nobody rescued a run for {longest:.1f} s."
            if len(crew.killed) < kills and time.monotonic() > next_kill:
                crew.lose(chance)
                crew.hire()
                next_kill = time.monotonic() + chance.uniform(0.3, 1.0)
            time.sleep(0.02)
    check_nothing_is_lost_or_doubled(started)
    repeated = check_calls(started, outside, crew.killed)
    print(  # noqa: T201
        f"{runs} runs, {len(crew.killed)} kills, {repeated} calls repeated; "
        f"the longest that a run was without a worker after its lease: {longest:.2f} s."
    )


def left() -> Counter[str]:
    """How many runs are in which status, but for those that have come to an end."""
    unfinished = FlowRun.objects.exclude(status__in=(Status.DONE, Status.FAILED))
    return Counter(unfinished.values_list("status", flat=True))


def check_nothing_is_lost_or_doubled(started: list[int]) -> None:
    outcomes = Counter(FlowRun.objects.values_list("flow__slug", "outcome"))
    assert outcomes == {("test-flow", "complete"): len(started), ("sub", "complete"): len(started)}
    assert not RunWait.objects.exists()
    children = Counter(FlowRun.objects.filter(flow__slug="sub").values_list("parent_run"))
    assert children == {(pk,): 1 for pk in started}
    subs = FlowRun.objects.filter(flow__slug="sub").values_list("pk", flat=True)
    # By their visits, which are the same in every run of a flow.
    expected = [f"{pk}-{visit}" for pk in started for visit in (1, 3, 6, 14)]
    expected += [f"said {pk}-{visit}" for pk in started for visit in (9, 13)]
    expected += [f"{pk}-0" for pk in subs]
    assert Counter(Parcel.objects.values_list("label", flat=True)) == Counter(expected)


def check_calls(started: list[int], outside: Outside, killed: Mapping[int, float]) -> int:
    """Each call was made; one that was made again had been made by a process that was killed then
    and there. How many were made again."""
    calls = outside.calls()
    assert {call.step_key for call in calls} == {
        f"{pk}-{visit}" for pk in started for visit in (9, 13)
    }
    last: dict[str, tuple[int, float]] = {}
    for call in calls:
        if call.step_key in last:
            pid, at = last[call.step_key]
            assert killed.get(pid, math.inf) <= call.at, (
                f"{call.step_key} was called at {at:.2f} by {pid}, and again at {call.at:.2f}, "
                f"without a reason. Killed: {killed}."
            )
        last[call.step_key] = (call.pid, call.at)
    return len(calls) - len(last)


def test_killed_workers_lose_nothing_and_double_nothing(
    outside: Outside, soak: bool, chance: random.Random, patience: float
):
    if soak:
        check_kills(outside, chance, runs=3000, kills=600, patience=patience, seconds=3600)
    else:
        check_kills(outside, chance, runs=120, kills=20, patience=patience, seconds=180)


@pytest.mark.parametrize(
    "variant",
    [
        Variant(
            "recovery at start-up only",
            "flowcontrol.sweeping._recover",
            "if chores.lost:",
            """if (
        not hasattr(_recover, "has_begun") and chores.lost or setattr(_recover, "has_begun", True)
    ):""",
        ),
        Variant(
            "rescues that do not wait for the lease to run out",
            "flowcontrol.claiming.is_abandoned",
            "{run}.lease_until < {now}",
            "{run}.lease_until IS NOT NULL",
        ),
    ],
    ids=str,
)
def test_the_proof_notices(variant: Variant, outside: Outside, chance: random.Random):
    with variant.applied(), pytest.raises(AssertionError) as caught:
        check_kills(outside, chance, runs=40, kills=2, seconds=20)
    print(caught.value)  # noqa: T201
