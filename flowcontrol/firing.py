"""Firings: an event is a row in the caller's transaction, matched once, by hook or by sweep.

Firing never breaks the code that fired: whatever flows do with it afterwards ends up in the
firing's ``results``, not in an exception.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from flowcontrol import registry
from flowcontrol.conf import settings
from flowcontrol.exceptions import FlowcontrolError, StartRefused
from flowcontrol.expressions import Scope, compile_expression, to_json
from flowcontrol.failures import clean, message_of
from flowcontrol.models import (
    EventKind,
    Firing,
    FlowRun,
    RunWait,
    Trigger,
    TriggerMode,
    WaitKind,
    load_objects,
    object_reference,
)
from flowcontrol.models.locks import lock_rows
from flowcontrol.operating import move_to_row
from flowcontrol.recording import record, wake
from flowcontrol.registry import TriggerType
from flowcontrol.starting import create_flowrun
from flowcontrol.sweeping import execute_runs

logger = logging.getLogger("flowcontrol")

Result = dict[str, Any]


def fire(
    trigger: TriggerType,
    obj: models.Model | None = None,
    *,
    payload: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    immediate: bool = False,
) -> Firing:
    """Write down that ``trigger`` happened; see :meth:`TriggerType.__call__`.

    The row is the promise: if the process dies after the caller's COMMIT, the next sweep finds it.
    """
    now = settings.CLOCK()
    firing = Firing.objects.create(
        name=trigger.name,
        payload=to_json(dict(payload or {}), where="the payload"),
        state=to_json(dict(state), where="the start state") if state is not None else None,
        at=now,
        **object_reference(obj),
    )
    if immediate:
        _match_immediately(firing, now)
    else:
        transaction.on_commit(partial(_match_after_commit, firing.pk), robust=True)
    return firing


def trigger_flows(
    name: str,
    obj: models.Model | None = None,
    *,
    payload: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    immediate: bool = True,
) -> list[Result]:
    """Fire the trigger called ``name`` and tell what came of it.

    Returns:
        One entry per trigger row and woken run, see :class:`flowcontrol.models.Firing`; empty
        when ``immediate`` is false, because then it is matched after the commit.

    Raises:
        KeyError: no trigger of this name is registered. What flows do raises nothing.
    """
    found = registry.triggers.find(name)
    if found is None:
        raise KeyError(registry.triggers.unknown(name))
    firing = found(obj, payload=payload, state=state, immediate=immediate)
    results: list[Result] = firing.results
    return results


def match_firings(now: datetime, limit: int = 500) -> int:
    """Match firings that nobody has matched yet, oldest first; how many there were."""
    with transaction.atomic():
        # Locked rows are being matched by somebody else at this moment.
        unmatched = Firing.objects.filter(matched_at__isnull=True).order_by("pk")
        firings = list(lock_rows(unmatched, skip_locked=True)[:limit])
        _match(firings, now)
    return len(firings)


def _match_after_commit(pk: int) -> None:
    try:
        with transaction.atomic():
            unmatched = Firing.objects.filter(pk=pk, matched_at__isnull=True)
            _match(list(lock_rows(unmatched, skip_locked=True)), settings.CLOCK())
    except Exception:
        logger.exception("Firing #%s is left to the next sweep.", pk)


def _match_immediately(firing: Firing, now: datetime) -> None:
    try:
        with transaction.atomic():
            _match([firing], now)
            touched = [result["run"] for result in firing.results if result.get("run")]
            execute_runs(touched, lambda: now)
    except Exception:
        logger.exception("Firing #%s is left to the next sweep.", firing.pk)
        firing.results = []


def _match(firings: Sequence[Firing], now: datetime) -> None:
    """Decide for each firing what each trigger row and each waiting run makes of it."""
    if not firings:
        return
    rows: dict[str, list[Trigger]] = {}
    names = {firing.name for firing in firings}
    found = Trigger.objects.filter(name__in=names).select_related("flow__live_version")
    for row in found.order_by("pk"):
        rows.setdefault(row.name, []).append(row)
    objects = load_objects((firing.content_type_id, firing.object_id) for firing in firings)
    for firing in firings:
        obj = objects.get((firing.content_type_id, firing.object_id))
        results = _wake_waiting(firing, now)
        for row in rows.get(firing.name, ()):
            # A row acts on what fires while it is on; what came before is not its business.
            if row.active_at is not None and row.active_at <= firing.at:
                results.append(_act(row, firing, obj, now))
        firing.results = results
        firing.matched_at = now
    Firing.objects.bulk_update(firings, ["results", "matched_at"], batch_size=200)


def _act(row: Trigger, firing: Firing, obj: models.Model | None, now: datetime) -> Result:
    """What one trigger row makes of a firing. An error in it is its result, and only its."""
    result: Result = {"trigger": row.pk}
    try:
        with transaction.atomic():
            result.update(_decide(row, firing, obj, now))
    except StartRefused as refused:
        result.update(did="refused", reason=refused.reason)
    except Exception as error:
        if not isinstance(error, FlowcontrolError):
            logger.exception("Trigger row #%s failed on firing #%s.", row.pk, firing.pk)
        result.update(did="error", reason=clean(message_of(error)))
    return result


def _decide(row: Trigger, firing: Firing, obj: models.Model | None, now: datetime) -> Result:
    if row.condition.strip():
        scope = Scope(
            fixed={
                "object": obj,
                "trigger": firing.payload,
                "now": now,
                "today": timezone.localtime(now).date(),
            }
        )
        if not compile_expression(row.condition.strip()).evaluate(scope):
            return {"did": "false"}
    if firing.object_id is not None and obj is None:
        return {"did": "refused", "reason": f"Its object ({firing.object_id}) is gone."}
    if row.mode == TriggerMode.WAKE:
        return {"did": "nothing"}
    run = _open_run(row, obj) if row.mode == TriggerMode.RESTART else None
    if run is not None and move_to_row(run, row.action_uid, now, firing=firing):
        detail = {"by": "event", "trigger": firing.name, "to": row.action_uid}
        record(run.pk, EventKind.WOKEN, now, reason=firing.name, detail=detail)
        return {"did": "restarted", "run": run.pk}
    run = create_flowrun(row.flow, obj, state=firing.state, firing=firing, now=now)
    return {"did": "started", "run": run.pk}


def _open_run(row: Trigger, obj: models.Model | None) -> FlowRun | None:
    """The newest open run of the row's flow for this object."""
    runs = FlowRun.objects.for_flow(row.flow).open().filter(**object_reference(obj))
    return lock_rows(runs.order_by("-pk")).first()


def _wake_waiting(firing: Firing, now: datetime) -> list[Result]:
    """Wake the runs that wait for this event, of this object or of any."""
    waits = RunWait.objects.filter(kind=WaitKind.EVENT, trigger=firing.name).filter(
        models.Q(content_type=firing.content_type_id, object_id=firing.object_id)
        | models.Q(content_type__isnull=True)
    )
    wakeup = {
        "by": "event",
        "trigger": firing.name,
        "firing": firing.pk,
        "data": firing.payload,
    }
    return [
        {"did": "woke", "run": run_pk}
        for run_pk in waits.order_by("pk").values_list("run_id", flat=True)
        if wake(run_pk, wakeup, now, reason=firing.name)
    ]


registry.fire_with(fire)
