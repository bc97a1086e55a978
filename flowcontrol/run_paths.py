"""The way a run took through its rows, from its history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from flowcontrol.models import FlowRun, Status
from flowcontrol.rendering import Path

EVENTS_COUNTED: Final = 2000
"""So many events, the latest, are read to count how often each row ran."""


def count_rows(run: FlowRun) -> tuple[Counter[str], bool]:
    """How often each row was asked, by uid, and whether the history has kept every step."""
    counts: Counter[str] = Counter()
    read = kept = 0
    events = run.events.filter(steps__isnull=False).order_by("-seq")
    for steps in events.values_list("steps", flat=True)[:EVENTS_COUNTED]:
        counts.update(_uids(steps))
        read += 1
        kept += not any(isinstance(step, list) and step[:1] == [None] for step in steps or ())
    return counts, read == kept < EVENTS_COUNTED


def _uids(steps: Any) -> Iterator[str]:
    for step in steps or ():
        # Coming back from its rows or from a wait is not another visit.
        if isinstance(step, list) and step[1:2] == ["run"] and isinstance(step[0], str):
            yield step[0]


def path_of(run: FlowRun) -> Path:
    """What a drawing shows of a run: the rows it came to, and where it stands."""
    counts, _all_kept = count_rows(run)
    is_open = run.status != Status.DONE
    return Path(
        counts=counts,
        here=run.action_uid if is_open else "",
        has_failed=run.status == Status.FAILED,
    )
