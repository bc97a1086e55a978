"""Forgetting: what is over and old enough, in batches, so that nothing is locked for long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import models

from flowcontrol.conf import settings
from flowcontrol.models import EventKind, Firing, Flow, FlowRun, RunEvent, Status

BATCH: Final = 1000

WORTH_KEEPING: Final = (EventKind.FAILED, EventKind.OPERATED)
"""Kinds of events that make a run interesting: it is kept although its time has come."""


@dataclass(slots=True)
class Pruned:
    """How much was deleted."""

    runs: int = 0
    firings: int = 0


def prune(now: datetime, *, touched_too: bool = False, batch: int = BATCH) -> Pruned:
    """Delete runs that are done for longer than their flow keeps them, and old firings.

    Runs that failed on the way or that a person touched are kept, unless ``touched_too``. Each
    batch is a transaction of its own.
    """
    pruned = Pruned()
    for flow in Flow.objects.filter(retention__isnull=False).order_by("pk"):
        assert flow.retention is not None
        pruned.runs += _prune_runs(flow, now - flow.retention, touched_too, batch)
    pruned.firings = _prune_firings(now - timedelta(days=settings.FIRING_RETENTION_DAYS), batch)
    return pruned


def _prune_runs(flow: Flow, before: datetime, touched_too: bool, batch: int) -> int:
    touched = RunEvent.objects.filter(run=models.OuterRef("pk"), kind__in=WORTH_KEEPING)
    done = FlowRun.objects.filter(flow=flow, status=Status.DONE, done_at__lt=before)
    deleted = 0
    last = datetime(1, 1, 1, tzinfo=UTC), 0
    while True:
        # Paged by key: runs that are kept are passed over once, not in every batch.
        page = list(
            done.filter(models.Q(done_at__gt=last[0]) | models.Q(done_at=last[0], pk__gt=last[1]))
            .annotate(touched=models.Exists(touched))
            .order_by("done_at", "pk")
            .values_list("done_at", "pk", "touched")[:batch]
        )
        if not page:
            return deleted
        last = page[-1][0] or last[0], page[-1][1]
        pks = [pk for _done_at, pk, is_touched in page if touched_too or not is_touched]
        FlowRun.objects.filter(pk__in=pks).delete()
        deleted += len(pks)


def _prune_firings(before: datetime, batch: int) -> int:
    old = Firing.objects.filter(matched_at__lt=before).order_by("pk")
    deleted = 0
    while pks := list(old.values_list("pk", flat=True)[:batch]):
        Firing.objects.filter(pk__in=pks).delete()
        deleted += len(pks)
    return deleted
