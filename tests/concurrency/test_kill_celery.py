"""Celery's processes are killed, Redis is killed, each message comes twice: the rows know better.

Two Celery workers with two processes each, on a Redis that forgets everything whenever it dies.
A message that comes twice, late or never may cost time; nothing else.
"""

from __future__ import annotations

import os
import random
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

import psutil
import pytest
from django.conf import settings as project
from django.test import override_settings

from flowcontrol.engine import create_flowrun
from tests import servers
from tests.concurrency.blocks import Outside
from tests.concurrency.forking import Child
from tests.concurrency.test_kill_soak import (
    check_calls,
    check_nothing_is_lost_or_doubled,
    left,
    make_flows,
    overdue,
)
from tests.concurrency.test_races import CLAIM_UNPROVED
from tests.concurrency.variants import Variant
from tests.conftest import lacking

celery = pytest.importorskip("celery")
kombu = pytest.importorskip("kombu")
redis = pytest.importorskip("redis")
tasks = pytest.importorskip("flowcontrol.tasks")

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        project.DATABASE != "postgres", reason="Several workers are what PostgreSQL is for."
    ),
]

LEASE: Final = 3
SWEEP: Final = 0.5
"""Seconds: how long a lease lasts, and after how many of them a sweep claims nothing more."""

BEAT: Final = 0.25
"""Seconds between the messages of the beat."""

AT_ONCE: Final = 80
"""Runs that are started when there are fewer left."""

FAN_OUT: Final = "flowcontrol.fan_out_flowruns"
IN_LINE: Final = "flowcontrol.continue_flowruns"


def application(broker: str) -> Any:
    """A Celery application, as a project would make it."""
    app = celery.Celery("proofs", broker=broker)
    app.conf.update(
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
    )
    # The tasks of Django's apps are shared; a project would find them with autodiscover_tasks().
    app.set_default()
    return app


def work(broker: str, name: str, log: Path) -> None:
    """The life of a Celery worker."""
    # The suite makes errors of warnings, Celery's own ones would end the worker.
    warnings.simplefilter("ignore")
    kombu.pools.reset()
    worker = application(broker).Worker(
        hostname=name,
        concurrency=2,
        loglevel="WARNING",
        logfile=str(log),
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()


class Broker:
    """A Redis that can die."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self.socket = self._start()
        self.url = f"redis+socket://{self.socket}"
        self.app = application(self.url)

    def _start(self) -> Path:
        return self._running.enter_context(servers.redis_in(self._folder))

    def kill(self) -> None:
        """Kill -9, with all messages in it; after a while there is an empty one."""
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            pid = client.info("server")["process_id"]
        os.kill(pid, signal.SIGKILL)
        self.close()
        time.sleep(0.2)
        self._start()

    def send(self, task: str) -> None:
        """Send a message, twice."""
        with self.app.connection_for_write() as connection:
            for _time in range(2):
                self.app.send_task(task, connection=connection, expires=5)

    def close(self) -> None:
        self._running.close()


@dataclass
class Crew:
    """Celery workers that are killed and replaced, whole or in part."""

    broker: str
    folder: Path
    workers: list[Child] = field(default_factory=list)
    killed: dict[int, float] = field(default_factory=dict)
    """When which process was killed, by the machine's monotonic clock."""

    def hire(self) -> None:
        while len(self.workers) < 2:
            name = f"worker-{time.monotonic_ns()}@proofs"
            self.workers.append(Child(partial(work, self.broker, name, self.folder / "celery.log")))

    def lose(self, chance: random.Random) -> None:
        """Kill one process of a worker's pool, which the worker replaces, or a whole worker."""
        worker = chance.choice(self.workers)
        pool = self._pool(worker)
        if pool and chance.random() < 0.5:
            victim = chance.choice(pool)
            self._kill(victim)
        else:
            # The worker first: it would put others in the place of those that die.
            worker.kill()
            self.killed[worker.pid] = time.monotonic()
            worker.close()
            self.workers.remove(worker)
            for process in pool:
                self._kill(process)

    def _pool(self, worker: Child) -> list[psutil.Process]:
        return psutil.Process(worker.pid).children(recursive=True) if worker.is_alive() else []

    def _kill(self, process: psutil.Process) -> None:
        # Linux ends a pool together with its worker, which is a kill as well.
        self.killed[process.pid] = time.monotonic()
        with suppress(psutil.NoSuchProcess):
            process.kill()

    def dismiss(self) -> None:
        for worker in self.workers:
            pool = self._pool(worker)
            worker.close()
            for process in pool:
                self._kill(process)


@contextmanager
def company(folder: Path) -> Iterator[tuple[Broker, Crew]]:
    """Redis, and the workers that wait for its messages."""
    try:
        broker = Broker(folder)
    except servers.Unavailable as lack:
        lacking(f"Redis: {lack}")
    crew = Crew(broker.url, folder)
    try:
        crew.hire()
        yield broker, crew
    finally:
        crew.dismiss()
        broker.close()


@contextmanager
def doubled_messages(sweeps: Outside) -> Iterator[None]:
    """Let every message be sent twice, also those of the workers, and the sweeps be noted."""

    def twice(send: Callable[[str], None], queue: str) -> None:
        send(queue)
        send(queue)

    def noted(sweep: Callable[..., Any], *args: Any, **options: Any) -> Any:
        sweeps.call("sweep")
        return sweep(*args, **options)

    with (
        mock.patch.object(tasks, "send", partial(twice, tasks.send)),
        mock.patch.object(tasks, "prepare", partial(noted, tasks.prepare)),
        mock.patch.object(tasks, "continue_flowruns", partial(noted, tasks.continue_flowruns)),
    ):
        yield


def neglected(sweeps: Outside, crew: Crew) -> float:
    """Seconds for which a lease had run out while a sweep was there that did nothing about it."""
    if (late := overdue()) <= 0:
        return 0.0
    expired = time.monotonic() - late
    # One that was killed has an excuse.
    lived = [
        call.at for call in sweeps.calls() if call.at > expired and call.pid not in crew.killed
    ]
    return time.monotonic() - lived[0] if lived else 0.0


def check_kills(
    outside: Outside,
    chance: random.Random,
    folder: Path,
    *,
    runs: int,
    kills: int,
    crashes: int,
    patience: float = 1.0,
    seconds: float = 60,
    messages: Sequence[str] = (FAN_OUT, IN_LINE),
) -> None:
    """Let Celery work off ``runs`` while its processes are killed, and Redis is, ``crashes`` times.

    ``patience`` is what a rescue may take beyond lease and sweep, ``messages`` is what the beat
    sends, in turns.
    """
    flow = make_flows(0.05)
    started: list[int] = []
    chosen = {
        "FLOWCONTROL_LEASE_SECONDS": LEASE,
        "FLOWCONTROL_SWEEP_SECONDS": SWEEP,
        "FLOWCONTROL_BATCH_SIZE": 5,
        "FLOWCONTROL_DISPATCHER": "flowcontrol.tasks.CeleryDispatcher",
    }
    sweeps_folder = folder / "sweeps"
    sweeps_folder.mkdir()
    sweeps = Outside(sweeps_folder)
    longest, beats = 0.0, 0
    with (
        override_settings(**chosen),
        doubled_messages(sweeps),
        company(folder) as (broker, crew),
    ):
        deadline = time.monotonic() + seconds
        next_beat = next_kill = 0.0
        is_under_way = False
        while (unfinished := left().total()) or len(started) < runs:
            if unfinished < AT_ONCE:
                more = min(AT_ONCE, runs - len(started))
                started += [create_flowrun(flow).pk for _number in range(more)]
            assert time.monotonic() < deadline, f"Not done in time: {left()}"
            longest = max(longest, neglected(sweeps, crew))
            assert longest < SWEEP + patience, f"Nobody rescued a run for {longest:.1f} s."
            if time.monotonic() > next_beat:
                broker.send(messages[beats % len(messages)])
                beats += 1
                next_beat = time.monotonic() + BEAT
            if not is_under_way:
                is_under_way = bool(outside.calls())
            elif len(crew.killed) < kills and time.monotonic() > next_kill:
                crew.lose(chance)
                crew.hire()
                if crashes and chance.random() < 2 * crashes / kills:
                    broker.kill()
                    crashes -= 1
                next_kill = time.monotonic() + chance.uniform(0.3, 1.0)
            time.sleep(0.02)
    check_nothing_is_lost_or_doubled(started)
    repeated = check_calls(started, outside, crew.killed)
    print(  # noqa: T201
        f"{runs} runs, {len(crew.killed)} processes killed, {repeated} calls repeated; the longest "
        f"that a run was without a worker after lease and next sweep: {longest:.2f} s."
    )


def test_killed_celery_processes_and_a_killed_redis_lose_nothing_and_double_nothing(
    outside: Outside, soak: bool, chance: random.Random, patience: float, tmp_path: Path
):
    kills = partial(check_kills, outside, chance, tmp_path, patience=patience)
    if soak:
        kills(runs=1500, kills=400, crashes=40, seconds=3600)
    else:
        kills(runs=80, kills=12, crashes=1, seconds=180)


NO_RESCUE: Final = Variant(
    "the fan-out does not rescue",
    "flowcontrol.sweeping._recover",
    "while may_go_on() and (suspect := claim_suspect()) is not None:",
    "while (suspect := None) is not None:",
)


@pytest.mark.parametrize(
    ("variant", "runs", "kills", "told"),
    [(NO_RESCUE, 40, 10, "Nobody rescued"), (CLAIM_UNPROVED, 20, 0, "without a reason")],
    ids=str,
)
def test_the_proof_notices(
    variant: Variant,
    runs: int,
    kills: int,
    told: str,
    outside: Outside,
    chance: random.Random,
    tmp_path: Path,
):
    few = partial(check_kills, runs=runs, crashes=0, seconds=60, messages=[FAN_OUT])
    with variant.applied(), pytest.raises(AssertionError, match=told):
        few(outside, chance, tmp_path, kills=kills)
