"""The long-running worker: sweep, rest, sweep again, and stop when asked to."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from django.db import InterfaceError, OperationalError, close_old_connections

from flowcontrol.conf import settings
from flowcontrol.matching import match_firings
from flowcontrol.sweeping import sweep

logger = logging.getLogger("flowcontrol")


def work(stopping: threading.Event) -> None:
    """Sweep until ``stopping`` is set; rest ``FLOWCONTROL_WORKER_POLL_SECONDS`` when idle.

    A database that is away for a while is waited for, not died of.
    """
    while not stopping.is_set():
        close_old_connections()
        try:
            tally = sweep(settings.CLOCK, match_firings, stop=stopping.is_set)
        except (OperationalError, InterfaceError) as error:
            logger.warning("The database is not there: %s", error)
            tally = None
        if tally is None or not (tally.executed or tally.matched):
            stopping.wait(settings.WORKER_POLL_SECONDS)
    close_old_connections()


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set: what is held is finished, nothing more is claimed."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
