"""Matching: what trigger rows and waiting runs make of firings, once for each.

Firings are matched in batches, which may have only one. Where nothing has to be counted, the runs
of a batch are started with one statement; a flow with limits gets its runs one by one under its
lock. When something in a batch breaks its transaction, which is then undone, the firings are
matched once more, each alone and each row in a savepoint, so that an error is the result of the row
that made it, and of no other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DatabaseError, OperationalError, models, transaction
from django.utils import timezone

from flowcontrol.buffering import Waiting, wake_by
from flowcontrol.dialect import run_connection, update_rows
from flowcontrol.exceptions import FlowcontrolError, StartRefused
from flowcontrol.expressions import Scope, compile_expression
from flowcontrol.failures import clean, message_of
from flowcontrol.models import (
    EventKind,
    Firing,
    Flow,
    FlowRun,
    RunWait,
    Trigger,
    TriggerMode,
    WaitKind,
    load_objects,
    object_reference,
)
from flowcontrol.models.locks import lock_rows
from flowcontrol.models.references import Reference
from flowcontrol.operating import move_to_row
from flowcontrol.recording import record
from flowcontrol.starting import PlannedRun, create_flowrun, insert_flowruns, plan_flowrun

logger = logging.getLogger("flowcontrol")

Result = dict[str, Any]


def match_firings(now: datetime, limit: int = 1000) -> int:
    """Match firings that nobody has matched yet, oldest first; how many there were."""
    unmatched = Firing.objects.filter(matched_at__isnull=True)
    return _match_locked(unmatched.order_by("pk")[:limit], now)


def match_these(pks: Sequence[int], now: datetime) -> int:
    """Match these firings, as far as nobody has; how many there were."""
    return _match_locked(Firing.objects.filter(pk__in=pks, matched_at__isnull=True), now)


def match_new(firing: Firing, now: datetime) -> None:
    """Match a firing that the open transaction has just written.

    What waits for it is looked for once more after the commit, because a run that parks meanwhile
    does not see the firing and is not found here either.
    """
    try:
        with transaction.atomic():
            _Matching([firing], now, False, to_be_continued=True).run()
    except OperationalError:
        raise
    except DatabaseError:
        firing.results, firing.rows_matched = [], False
        _match_alone(firing, now, to_be_continued=True)


def _match_locked(unmatched: models.QuerySet[Firing], now: datetime) -> int:
    try:
        return _match_batch(unmatched, now)
    except OperationalError:
        raise  # a deadlock, a lost connection: nothing that a firing is to blame for
    except DatabaseError:
        return _match_batch(unmatched, now, isolated=True)


@transaction.atomic
def _match_batch(
    unmatched: models.QuerySet[Firing], now: datetime, *, isolated: bool = False
) -> int:
    """Match as many as are not locked, which somebody else is matching at this moment."""
    # Read anew: what an attempt noted before it was undone does not count.
    locked = lock_rows(unmatched.all(), skip_locked=True)
    firings = sorted(locked, key=lambda firing: firing.pk)
    if isolated:
        for firing in firings:
            _match_alone(firing, now)
    elif firings:
        _Matching(firings, now, False).run()
    return len(firings)


def _match_alone(firing: Firing, now: datetime, *, to_be_continued: bool = False) -> None:
    try:
        with transaction.atomic():
            _Matching([firing], now, True, to_be_continued).run()
    except OperationalError:
        raise
    except DatabaseError as error:
        # Left as it is, it would hold up every firing behind it, sweep after sweep.
        logger.exception("Firing #%s cannot be matched.", firing.pk)
        firing.results = [{"did": "error", "reason": clean(message_of(error))}]
        firing.matched_at = now
        _write_results([firing])


def _write_results(firings: Sequence[Firing]) -> None:
    columns = {
        "id": "bigint",
        "results": "jsonb",
        "rows_matched": "boolean",
        "matched_at": "timestamptz",
    }
    rows = [
        {"id": firing.pk, **{name: getattr(firing, name) for name in columns if name != "id"}}
        for firing in firings
    ]
    update_rows(run_connection(), Firing, columns, rows)


@dataclass
class _Matching:
    """One batch of firings on its way to its results; ``isolated``: each row in a savepoint."""

    firings: Sequence[Firing]
    now: datetime
    isolated: bool
    to_be_continued: bool = False
    starting: list[tuple[PlannedRun, Result]] = field(default_factory=list)

    def run(self) -> None:
        rows = self._trigger_rows()
        objects = load_objects((f.content_type_id, f.object_id) for f in self.firings)
        waiting = self._waiting_runs()
        for firing in self.firings:
            obj = objects.get((firing.content_type_id, firing.object_id))
            self._wake(firing, waiting, objects)
            for row in rows.get(firing.name, ()) if not firing.rows_matched else ():
                # A row acts on what fires while it is on; what came before is not its business.
                if row.active_at is not None and row.active_at <= firing.at:
                    firing.results.append(self._act(row, firing, obj))
            firing.rows_matched = True
            firing.matched_at = None if self.to_be_continued else self.now
        self._start_together()
        _write_results(self.firings)

    def _trigger_rows(self) -> dict[str, list[Trigger]]:
        """The trigger rows by name of their trigger, with flows and versions."""
        found = Trigger.objects.filter(name__in={firing.name for firing in self.firings})
        rows: dict[str, list[Trigger]] = {}
        limited = set()
        for row in found.select_related("flow__live_version").order_by("pk"):
            rows.setdefault(row.name, []).append(row)
            if row.flow.has_limits:
                limited.add(row.flow_id)
        if limited:
            # Starting takes these locks anyway, in the order of the firings; two batches that
            # took them in different orders would wait for each other.
            list(lock_rows(Flow.objects.filter(pk__in=limited).order_by("pk")))
        return rows

    # --- waiting runs -------------------------------------------------------------------------

    def _waiting_runs(self) -> dict[tuple[str, int | None, str | None], list[Waiting]]:
        """Runs that wait for one of these firings, by trigger and object, in the order they began;
        under no object those that take any."""
        wanted = models.Q(content_type__isnull=True)
        by_type: dict[int | None, set[str | None]] = {}
        for firing in self.firings:
            by_type.setdefault(firing.content_type_id, set()).add(firing.object_id)
        for content_type_id, keys in by_type.items():
            if content_type_id is not None:
                wanted |= models.Q(content_type=content_type_id, object_id__in=keys)
        waits = RunWait.objects.filter(
            wanted, kind=WaitKind.EVENT, trigger__in={firing.name for firing in self.firings}
        )
        found: dict[tuple[str, int | None, str | None], list[Waiting]] = {}
        # Values, because putting the columns of two models together takes longer than the query.
        for trigger, content_type_id, object_id, *waiting in waits.order_by("pk").values_list(
            *("trigger", "content_type_id", "object_id"),
            *("run_id", "condition", "run__state", "run__cursor"),
        ):
            found.setdefault((trigger, content_type_id, object_id), []).append(Waiting(*waiting))
        return found

    def _wake(
        self,
        firing: Firing,
        waiting: dict[tuple[str, int | None, str | None], list[Waiting]],
        objects: Mapping[Reference, models.Model],
    ) -> None:
        of_object = (firing.name, firing.content_type_id, firing.object_id)
        of_any = (firing.name, None, None)
        for key in dict.fromkeys((of_object, of_any)):
            for run in waiting.get(key, ()):
                wake_by(firing, run, self.now, objects)

    # --- trigger rows -------------------------------------------------------------------------

    def _act(self, row: Trigger, firing: Firing, obj: models.Model | None) -> Result:
        """What one trigger row makes of a firing. An error in it is its result, and only its."""
        result: Result = {"trigger": row.pk}
        try:
            if self.isolated:
                with transaction.atomic():
                    self._decide(row, firing, obj, result)
            else:
                self._decide(row, firing, obj, result)
        except OperationalError:
            raise
        except DatabaseError as error:
            if not self.isolated:
                raise
            logger.exception("Trigger row #%s failed on firing #%s.", row.pk, firing.pk)
            result.update(did="error", reason=clean(message_of(error)))
        except Exception as error:
            if not isinstance(error, FlowcontrolError):
                logger.exception("Trigger row #%s failed on firing #%s.", row.pk, firing.pk)
            result.update(did="error", reason=clean(message_of(error)))
        return result

    def _decide(
        self, row: Trigger, firing: Firing, obj: models.Model | None, result: Result
    ) -> None:
        if firing.object_id is not None and obj is None:
            result.update(did="refused", reason=f"Its object ({firing.object_id}) is gone.")
        elif not self._holds(row.condition.strip(), firing, obj):
            result.update(did="false")
        elif row.mode == TriggerMode.WAKE:
            result.update(did="nothing")
        elif row.mode == TriggerMode.RESTART and (run := self._restarted(row, firing, obj)):
            result.update(did="restarted", run=run.pk)
        else:
            self._start(row, firing, obj, result)

    def _holds(self, condition: str, firing: Firing, obj: models.Model | None) -> bool:
        if not condition:
            return True
        today = timezone.localtime(self.now).date()
        names = {"object": obj, "trigger": firing.payload, "now": self.now, "today": today}
        return bool(compile_expression(condition).evaluate(Scope(fixed=names)))

    def _restarted(self, row: Trigger, firing: Firing, obj: models.Model | None) -> FlowRun | None:
        """The newest open run of the row's flow for this object, sent to the row's place."""
        runs = (
            FlowRun.objects.for_flow(row.flow).open().filter(root_uid="", **object_reference(obj))
        )
        run = lock_rows(runs.order_by("-pk")).first()
        if run is None or not move_to_row(run, row.action_uid, self.now, firing=firing):
            return None
        detail = {"by": "event", "trigger": firing.name, "to": row.action_uid}
        record(run.pk, EventKind.WOKEN, self.now, reason=firing.name, detail=detail)
        return run

    def _start(
        self, row: Trigger, firing: Firing, obj: models.Model | None, result: Result
    ) -> None:
        try:
            if self.isolated or row.flow.has_limits:
                run = create_flowrun(row.flow, obj, state=firing.state, firing=firing, now=self.now)
                result.update(did="started", run=run.pk)
            else:
                planned = plan_flowrun(
                    row.flow, obj, state=firing.state, firing=firing, now=self.now
                )
                result.update(did="started")
                self.starting.append((planned, result))
        except StartRefused as refused:
            # Caught inside the savepoint, so that the record of the refusal stays.
            result.update(did="refused", reason=refused.reason)
            if refused.run is not None:
                result.update(run=refused.run.pk)

    def _start_together(self) -> None:
        pks = insert_flowruns(run for run, _result in self.starting)
        for (_run, result), pk in zip(self.starting, pks, strict=True):
            result.update(run=pk)
