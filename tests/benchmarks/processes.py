"""Several processes: workers side by side, and Celery with Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from django.db import connection
from django.db.models import Max, Min
from django.test import override_settings

from flowcontrol.engine import continue_flowruns
from flowcontrol.models import Flow, FlowRun, Trigger
from flowcontrol.testing import UpdateState, make_flow, row
from tests import servers
from tests.benchmarks.flows import pinged
from tests.benchmarks.limits import Finished, claim_and_finish
from tests.benchmarks.measuring import Options
from tests.benchmarks.preparing import create_runs
from tests.benchmarks.results import Limit, Result

CELERY = ("celery", "--app", "tests.benchmarks.celery_app")
PATIENCE = 120.0
"""Seconds after which a process that does not do what it should is given up."""


def workers(options: Options) -> Iterator[Result]:
    """``manage.py flowcontrol worker``, once and four times; each claims one batch of its own."""
    share = options.amount(500, least=10)
    flow = make_flow(row("benchmarks.wait"))
    one = _runs_a_second(flow, 1, share)
    four = _runs_a_second(flow, 4, share)
    yield Result(
        "4 workers against 1, actions that wait 20 ms outside",
        connection.vendor,
        four / one,
        "×",
        Limit("workers", 4),
        at_least=3.8,
        note=f"{one:,.1f} runs/s, then {four:,.1f}; a worker that only waits does 50",
    )


def _runs_a_second(flow: Flow, number: int, share: int) -> float:
    """From the first run that is done to the last one; the start of the workers does not count."""
    variables = {
        "FLOWCONTROL_BENCHMARK_POLL": "0.02",
        "FLOWCONTROL_BENCHMARK_BATCH": str(share),
    }
    with ExitStack() as stack:
        for _number in range(number):
            stack.enter_context(
                running("django", "flowcontrol", "worker", sign="Working.", **variables)
            )
        create_runs(flow, number * share, {})
        # Seldom: whoever asks reads all the runs, and takes the time from the workers.
        wait_until(lambda: not FlowRun.objects.open().exists(), every=0.5)
    done = FlowRun.objects.filter(flow=flow).aggregate(first=Min("done_at"), last=Max("done_at"))
    FlowRun.objects.filter(flow=flow).delete()
    seconds: float = (done["last"] - done["first"]).total_seconds()
    return (number * share - number) / seconds


def beat(options: Options) -> Iterator[Result]:
    """Counted from the moment that the runs are due: beat has yet to come round to them."""
    number = options.amount(10_000, least=50)
    flow = make_flow(*[UpdateState(n="n|add:1")] * 3)
    create_runs(flow, 500, {"n": 0})
    continue_flowruns()
    finished = Finished.like(FlowRun.objects.latest("pk"))

    def reached() -> float:
        create_runs(flow, number, {"n": 0})
        began = time.perf_counter()
        wait_until(lambda: not FlowRun.objects.open().exists())
        return number / (time.perf_counter() - began)

    # Before there is a beat: it would execute what is only to be claimed and finished.
    limit = max(claim_and_finish(flow, number, finished) for _number in range(options.repeats))
    with celery_worker(), tempfile.TemporaryDirectory() as folder:
        schedule = str(Path(folder) / "schedule")
        command = (*CELERY, "beat", "--loglevel", "info", "--schedule", schedule)
        with running(*command, sign="beat: Starting"):
            best = max(reached() for _number in range(options.repeats))
    yield Result(
        f"{number:,} due runs by beat and 2 Celery processes",
        connection.vendor,
        best,
        "runs/s",
        Limit("bare claim + finish + history, runs/s, one process", limit),
        at_least=1500,
    )


def dispatcher(options: Options) -> Iterator[Result]:
    """A hundred firings a second, each of which starts a run that notes the time."""
    number = options.amount(2000, least=20)
    flow = make_flow(row("benchmarks.note_time"))
    Trigger.objects.create(name=pinged.name, flow=flow, active_at=datetime(2000, 1, 1, tzinfo=UTC))
    with (
        celery_worker() as app,
        override_settings(FLOWCONTROL_DISPATCHER="flowcontrol.tasks.CeleryDispatcher"),
    ):
        ping = app.tasks["tests.benchmarks.celery_app.latency"]
        answers: list[Any] = []
        at_a_hundred_a_second(number, lambda: answers.append(ping.delay(time.time())))
        bare = [answer.get(timeout=PATIENCE) for answer in answers]
        took = at_a_hundred_a_second(number, lambda: pinged(payload={"sent": time.time()}))
        wait_until(lambda: not FlowRun.objects.open().exists())
    times = FlowRun.objects.values_list("state__began", "firing__payload__sent")
    found = [float(began) - float(sent) for began, sent in times]
    assert len(found) == number
    yield Result(
        f"trigger to first action by the Celery dispatcher, p99 of {number:,}",
        connection.vendor,
        1000 * _p99(found),
        "ms",
        Limit("a bare Celery message, p99, ms", 1000 * _p99(bare)),
        at_most=250,
        note=f"at {number / took:,.0f}/s; median {1000 * median(found):,.0f} ms, "
        f"that of a bare message {1000 * median(bare):,.0f} ms",
    )


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[-1]


SENDERS = 2
"""Threads that fire, as those of a web server would."""


def at_a_hundred_a_second(number: int, work: Callable[[], object]) -> float:
    """Do ``work`` every 10 ms, from several threads in turn; how long that took."""
    began = time.perf_counter()

    def send(first: int) -> None:
        try:
            for position in range(first, number, SENDERS):
                time.sleep(max(began + position / 100 - time.perf_counter(), 0))
                work()
        finally:
            connection.close()

    with ThreadPoolExecutor(SENDERS) as senders:
        list(senders.map(send, range(SENDERS)))
    return time.perf_counter() - began


# --- processes ------------------------------------------------------------------------------------


@contextmanager
def celery_worker() -> Iterator[Any]:
    """A Celery worker with two processes on a Redis of its own, and the application."""
    with servers.redis() as socket:
        os.environ["FLOWCONTROL_TEST_BROKER"] = f"redis+socket://{socket}"
        from tests.benchmarks.celery_app import app

        app.set_default()
        command = (*CELERY, "worker", "--concurrency", "2", "--loglevel", "info")
        with running(*command, sign=" ready."):
            yield app


@contextmanager
def running(*module: str, sign: str, **variables: str) -> Iterator[None]:
    """``python -m …`` in a process of its own, from the ``sign`` of life that it prints."""
    with tempfile.NamedTemporaryFile(prefix="flowcontrol-bench-") as log:
        process = subprocess.Popen(
            [*servers.die_with_parent(signal.SIGTERM), sys.executable, "-um", *module],
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            path = Path(log.name)
            wait_until(lambda: process.poll() is not None or sign in path.read_text("utf-8"))
            assert process.poll() is None, path.read_text("utf-8")
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until(is_so: Callable[[], bool], every: float = 0.02) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "It takes too long."
        time.sleep(every)
