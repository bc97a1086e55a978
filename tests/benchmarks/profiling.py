"""Where the processor's time goes while flowcontrol sweeps: what ``--profile`` prints.

A sample every few milliseconds of processor time, by the innermost line of Python; what C code
takes, a database's driver above all, counts for the line that called it. What a sweep waits for a
server is no processor time and not in it.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from flowcontrol.dialect import json_text
from flowcontrol.engine import continue_flowruns

INTERVAL: Final = 0.001
"""Seconds of processor time between two samples, as far as the system counts so finely."""

LEAST: Final = 0.01
"""Areas with less than this share are told together."""

AREAS: Final = (
    ("/psycopg/", "PostgreSQL's driver"),
    ("/django/db/backends/", "Django's cursor and connection, and SQLite"),
    ("/django/", "Django's ORM and transactions"),
    ("/json/", "JSON"),
)
"""What a path has in it, and what is there."""


class Profile:
    """Samples of the sweeps of this process."""

    def __init__(self) -> None:
        self.samples: Counter[str] = Counter()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take samples while the block lasts."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _sample(self, number: int, frame: FrameType | None) -> None:
        innermost = frame
        while frame is not None and frame.f_code is not continue_flowruns.__code__:
            frame = frame.f_back
        if frame is not None and innermost is not None:
            self.samples[area_of(innermost)] += 1

    def report(self) -> str:
        """A line for each area, the largest first."""
        total = self.samples.total()
        lines = [f"    processor time of the sweeps, {total:,} samples:"]
        if total:
            shown = [(area, n) for area, n in self.samples.most_common() if n / total >= LEAST]
            lines += [f"    {n / total:6.1%}  {area}" for area, n in shown]
            lines.append(f"    {1 - sum(n for _area, n in shown) / total:6.1%}  all else")
        return "\n".join(lines)


def area_of(frame: FrameType) -> str:
    """What the line that a frame stands at belongs to."""
    if frame.f_code is json_text.__code__:
        return "JSON"
    path = frame.f_code.co_filename.replace("\\", "/")
    for part, area in AREAS:
        if part in path:
            return area
    if frame.f_code.co_name == "_send" and path.endswith("flowcontrol/dialect.py"):
        return "statements past Django's cursor, and SQLite"
    if path == "<string>":
        return "making dataclasses"
    _before, found, module = path.rpartition("flowcontrol/")
    return f"flowcontrol/{module}" if found else "Python's library"
