"""Firings as a buffer: what happened before a run began to wait, or in that very moment, counts.

A firing is matched with the runs that wait when it is matched. A run that parks at that moment may
be seen by neither side: its wait is not committed yet, and the firing is matched already. So each
wait for a trigger is written with the moment from which firings have still to be looked at
(``RunWait.look_since``), and after its commit somebody looks: the worker that parked it at once,
and every sweep. A firing names in its ``results`` the runs it woke, so each wakes a run once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import models, transaction
from django.utils import timezone

from flowcontrol.cursor import Cursor
from flowcontrol.exceptions import AuthorError
from flowcontrol.expressions import Scope, compile_expression
from flowcontrol.failures import clean
from flowcontrol.models import Firing, RunWait, WaitKind, load_objects
from flowcontrol.models.locks import lock_rows
from flowcontrol.recording import wake

MOST: Final = 1000
"""Waits that are looked after at once."""


class Waiting(NamedTuple):
    """A run that waits for a trigger, as far as a firing has to know it."""

    run_id: int
    condition: str
    state: dict[str, Any]
    cursor: dict[str, Any]


def take_missed(now: datetime) -> int:
    """Wake runs whose firing came before their wait was there to be seen; how many."""
    fresh = RunWait.objects.filter(kind=WaitKind.EVENT, look_since__isnull=False)
    waits = list(fresh.order_by("pk").only("pk", "content_type_id")[:MOST])
    if not waits:
        return 0
    candidates = _with_candidates(waits)
    # Whatever fires from here on is matched after this wait was committed, and finds it.
    RunWait.objects.filter(pk__in={wait.pk for wait in waits} - candidates).update(look_since=None)
    return sum(_take(pk, now) for pk in sorted(candidates))


def _with_candidates(waits: Sequence[RunWait]) -> set[int]:
    """Those waits for which there is any firing to be looked at, whatever it says."""
    firings = Firing.objects.order_by().filter(
        name=models.OuterRef("trigger"), at__gte=models.OuterRef("look_since")
    )
    of_object = firings.filter(
        content_type=models.OuterRef("content_type"), object_id=models.OuterRef("object_id")
    )
    found: set[int] = set()
    for takes_any, matching in ((False, of_object), (True, firings)):
        pks = [wait.pk for wait in waits if (wait.content_type_id is None) is takes_any]
        if pks:
            having = RunWait.objects.filter(models.Exists(matching), pk__in=pks)
            found.update(having.values_list("pk", flat=True))
    return found


@transaction.atomic
def _take(wait_pk: int, now: datetime) -> int:
    """Wake the run of one wait by the first firing that fits; 1 if there was one."""
    wait = RunWait.objects.select_related("run").filter(pk=wait_pk).first()
    if wait is None or wait.look_since is None:
        return 0
    firings = Firing.objects.filter(name=wait.trigger, at__gte=wait.look_since)
    if wait.content_type_id is not None:
        firings = firings.filter(content_type=wait.content_type_id, object_id=wait.object_id)
    waiting = Waiting(wait.run_id, wait.condition, wait.run.state, wait.run.cursor)
    # Locked, as by whoever matches them: two that find the same run for it see each other.
    for firing in lock_rows(firings.order_by("at", "pk")):
        if wake_by(firing, waiting, now):
            Firing.objects.filter(pk=firing.pk).update(results=firing.results)
            return 1
    RunWait.objects.filter(pk=wait_pk).update(look_since=None)
    return 0


def wake_by(
    firing: Firing, waiting: Waiting, now: datetime, objects: Mapping[Any, Any] | None = None
) -> bool:
    """Wake a run by a firing whose row is locked, once, if the condition of its wait holds.

    The firing's ``results`` get an entry, to be written by the caller. An error in the condition
    wakes the run too, and fails it there: an error is never "false".
    """
    run_id = waiting.run_id
    if any(result.get("run") == run_id and result["did"] == "woke" for result in firing.results):
        return False
    wakeup = {"by": "event", "trigger": firing.name, "firing": firing.pk, "data": firing.payload}
    if waiting.condition:
        try:
            if not _holds(firing, waiting, now, objects):
                return False
        except AuthorError as error:
            wakeup["error"] = clean(str(error))
    if not wake(run_id, wakeup, now, reason=firing.name):
        return False
    firing.results = [*firing.results, {"did": "woke", "run": run_id}]
    return True


def _holds(
    firing: Firing, waiting: Waiting, now: datetime, objects: Mapping[Any, Any] | None
) -> bool:
    reference = (firing.content_type_id, firing.object_id)
    if objects is None:
        objects = load_objects([reference])
    names: dict[str, Any] = {}
    for frame in Cursor.from_json(waiting.cursor).frames:
        names.update(frame.names or {})
    names.pop("$objects", None)
    scope = Scope(
        state=waiting.state,
        loop=names,
        fixed={
            "object": objects.get(reference),
            "trigger": firing.payload,
            "now": now,
            "today": timezone.localtime(now).date(),
        },
    )
    return bool(compile_expression(waiting.condition).evaluate(scope))
