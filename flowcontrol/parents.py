"""Telling a run that one of those it waits for has ended or failed.

Whoever writes that tells the parent in the same transaction, and the parent's row looks at its
children again (see :mod:`flowcontrol.children`). So that none of it is missed, both sides hold the
lock on the parent's row: this one while it looks whether the parent waits, the parent's step from
before it looks at its children until it has parked. Locks are taken from children to parents.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import models

from flowcontrol.dispatching import announce_due
from flowcontrol.models import FlowRun, RunWait, Status, WaitKind
from flowcontrol.models.locks import lock_rows


def tell_parents(child_pks: Collection[int], now: datetime) -> None:
    """Make the parents of these runs due, as far as they wait for them; in the transaction that
    ended the runs."""
    children = FlowRun.objects.filter(pk__in=child_pks).exclude(awaited_as="")
    parent_pks = children.order_by().values("parent_run")
    # Locked whatever they do now: one that is about to park is waited for, and seen parked.
    list(lock_rows(FlowRun.objects.filter(pk__in=parent_pks).order_by("pk")).values_list("pk"))
    waits = RunWait.objects.filter(
        run=models.OuterRef("pk"),
        kind=WaitKind.CHILDREN,
        trigger__in=children.filter(parent_run=models.OuterRef(models.OuterRef("pk"))).values(
            "awaited_as"
        ),
    )
    waiting = FlowRun.objects.filter(
        models.Exists(waits), pk__in=parent_pks, status__in=(Status.WAITING, Status.PAUSED)
    )
    # One that is paused finds itself due when it is resumed.
    if waiting.update(due=now, wakeup={"by": "children"}):
        announce_due()
