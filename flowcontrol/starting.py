"""Starting runs: may it start, is there room, and the row that makes it real.

A limit is derived from the rows of runs and held by a lock on the flow's row, so it can neither
leak nor be passed by two at the same moment. Flows without limits take no lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, models, transaction

from flowcontrol import signals
from flowcontrol.announcing import tell
from flowcontrol.conf import settings
from flowcontrol.dialect import insert_rows, run_connection
from flowcontrol.dispatching import announce_due
from flowcontrol.exceptions import NotJSON, StartRefused
from flowcontrol.expressions import to_json
from flowcontrol.models import (
    Firing,
    Flow,
    FlowRun,
    Outcome,
    Status,
    WhenFull,
    object_reference,
)
from flowcontrol.models.locks import lock_rows
from flowcontrol.recording import end_runs
from flowcontrol.schemas import find_value_problems, place, with_defaults


class _KeyIsTaken(Exception):
    """There is a run with this key by now."""


@dataclass(frozen=True, slots=True)
class NoRoom:
    """A limit of the flow that is reached; ``for_good`` when waiting cannot help."""

    reason: str
    for_good: bool = False


def create_flowrun(
    flow: Flow | str,
    obj: models.Model | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    key: str | None = None,
    user: Any = None,
    continue_after: datetime | None = None,
    firing: Firing | None = None,
    parent_run: FlowRun | None = None,
    now: datetime | None = None,
) -> FlowRun:
    """Write down a run of the live version, to be executed by whoever sweeps next.

    Args:
        flow: the flow, or its slug.
        obj: what the run is about; of the flow's object type.
        state: its start state, checked against the flow's state schema.
        key: a name for this start, unique in the flow: asked twice, the same run is returned.
        user: who starts it.
        continue_after: do not execute it before this moment (aware).
        firing: what set it off.
        parent_run: the run whose row starts it.
        now: the moment, by default the engine's clock.

    Returns:
        The run: ``pending``, or ``queued`` if the flow is full and queues.

    Raises:
        StartRefused: with the reason. Where a limit refused it, the refusal is on record as
            ``error.run``.
    """
    now = now or settings.CLOCK()
    flow = _flow(flow)
    if key is not None and (known := FlowRun.objects.filter(flow=flow, key=key).first()):
        return known
    run = plan_flowrun(
        flow,
        obj,
        state=state,
        key=key,
        user=user,
        continue_after=continue_after,
        firing=firing,
        parent_run=parent_run,
        now=now,
    )
    try:
        with transaction.atomic():
            _insert(run, flow, now)
    except (IntegrityError, _KeyIsTaken):
        # Somebody else has just started it under this key: theirs is the run.
        known = FlowRun.objects.filter(flow=flow, key=key).first() if key is not None else None
        if known is None:
            raise
        return known
    if run.outcome == Outcome.REFUSED:
        raise StartRefused(run.reason, run)
    tell(signals.flowrun_started, run.pk)
    if run.status == Status.PENDING and run.due is not None and run.due <= now:
        announce_due()
    return run


def plan_flowrun(
    flow: Flow,
    obj: models.Model | None = None,
    *,
    now: datetime,
    state: Mapping[str, Any] | None = None,
    key: str | None = None,
    user: Any = None,
    continue_after: datetime | None = None,
    firing: Firing | None = None,
    parent_run: FlowRun | None = None,
) -> FlowRun:
    """The run that :func:`create_flowrun` would write, checked but for the limits, not saved.

    Raises:
        StartRefused: with the reason.
    """
    _check_startable(flow, obj, now)
    return FlowRun(
        flow=flow,
        version=flow.live_version,
        key=key,
        state=_start_state(flow, state),
        due=max(now, continue_after) if continue_after else now,
        started_by=user if user is not None and user.pk is not None else None,
        firing=firing,
        parent_run=parent_run,
        depth=_depth(flow, parent_run),
        created_at=now,
        **object_reference(obj),
    )


def insert_flowruns(planned: Iterable[FlowRun]) -> list[int]:
    """Write runs of flows without limits, each set off by a firing, with one statement.

    Returns:
        Their ids, in the order of ``planned``.
    """
    runs = list(planned)
    if not runs:
        return []
    inserted = insert_rows(
        run_connection(),
        FlowRun,
        _INSERT_COLUMNS,
        [_insert_values(run) for run in runs],
        returning=("id", "firing_id", "flow_id"),
    )
    # Two runs of one flow for one firing start alike, so it does not matter which is which.
    pks: dict[tuple[int | None, int], list[int]] = {}
    for pk, firing_id, flow_id in inserted:
        pks.setdefault((firing_id, flow_id), []).append(pk)
    found = [pks[run.firing_id, run.flow_id].pop() for run in runs]
    for pk in found:
        tell(signals.flowrun_started, pk)
    announce_due()
    return found


_INSERT_COLUMNS: Final = {
    "flow_id": "bigint",
    "version_id": "bigint",
    "depth": "smallint",
    "status": "text",
    "outcome": "text",
    "reason": "text",
    "content_type_id": "integer",
    "object_id": "text",
    "state": "jsonb",
    "cursor": "jsonb",
    "action_uid": "text",
    "due": "timestamptz",
    "queue": "text",
    "rescues": "integer",
    "attempts": "integer",
    "visit": "bigint",
    "seq": "integer",
    "firing_id": "bigint",
    "created_at": "timestamptz",
}


def _insert_values(run: FlowRun) -> dict[str, Any]:
    return {name: getattr(run, name) for name in _INSERT_COLUMNS}


def promote_queued(now: datetime, limit: int = 1000) -> int:
    """Let queued runs go where their flows have room again, oldest first; how many.

    Room is looked at for each run in turn under the flow's lock, because limits per object can
    hold back one and let the next go.
    """
    promoted = 0
    waiting = FlowRun.objects.filter(status=Status.QUEUED).order_by()
    for flow_id in list(waiting.values_list("flow_id", flat=True).distinct()):
        with transaction.atomic():
            flow = Flow.objects.locked(flow_id)
            queued = waiting.filter(flow=flow).order_by("pk")[:limit]
            for run in queued.iterator():
                no_room = find_no_room(flow, run, counting_itself=True)
                if no_room is None:
                    promoted += FlowRun.objects.filter(pk=run.pk, status=Status.QUEUED).move(
                        Status.PENDING, due=max(now, run.due or now)
                    )
                elif not flow.max_concurrent_per_object:
                    break  # full for one is full for all
    return promoted


def find_no_room(flow: Flow, run: FlowRun, *, counting_itself: bool = False) -> NoRoom | None:
    """The limit that keeps ``run`` from going on now, or ``None``. Call it under the flow's lock.

    ``counting_itself``: the run has a row already, which counts among those ever started.
    """
    runs = FlowRun.objects.for_flow(flow).exclude(pk=run.pk).order_by()
    of_object = runs.filter(content_type=run.content_type, object_id=run.object_id)
    if flow.max_per_object and run.object_id is not None and not counting_itself:
        ever = of_object.exclude(outcome=Outcome.REFUSED)[: flow.max_per_object].count()
        if ever >= flow.max_per_object:
            return NoRoom(
                f'"{flow}" runs at most {_times(flow.max_per_object)} for each object.', True
            )
    if (
        flow.max_concurrent_per_object
        and run.object_id is not None
        and of_object.holding_a_slot().count() >= flow.max_concurrent_per_object
    ):
        return NoRoom(
            f'"{flow}" has {flow.max_concurrent_per_object} open run(s) for this object; '
            f"more are not allowed at the same time."
        )
    if flow.max_concurrent and runs.holding_a_slot().count() >= flow.max_concurrent:
        return NoRoom(
            f'"{flow}" has {flow.max_concurrent} open run(s); more are not allowed at the same '
            f"time."
        )
    return None


def _insert(run: FlowRun, flow: Flow, now: datetime) -> None:
    """Insert the run in the status that the flow's limits leave it."""
    if flow.has_limits:
        # Two starts at once would both count the runs there are and both see room.
        flow = Flow.objects.locked(flow.pk)
        if run.key is not None and FlowRun.objects.filter(flow=flow, key=run.key).exists():
            raise _KeyIsTaken  # while this start waited for the lock: it is the same start
        if no_room := find_no_room(flow, run):
            if flow.when_full == WhenFull.RESTART and not no_room.for_good:
                _make_room(flow, run, now)
            elif flow.when_full == WhenFull.QUEUE and not no_room.for_good:
                run.status = Status.QUEUED
                run.reason = no_room.reason
            else:
                run.status = Status.DONE
                run.outcome = Outcome.REFUSED
                run.reason = no_room.reason
                run.done_at, run.due, run.key = now, None, None
    run.save(force_insert=True)


def _make_room(flow: Flow, run: FlowRun, now: datetime) -> None:
    """Cancel the oldest runs that are in the way until ``run`` fits."""
    while (no_room := find_no_room(flow, run)) is not None and not no_room.for_good:
        runs = FlowRun.objects.for_flow(flow).holding_a_slot().order_by("pk")
        if flow.max_concurrent_per_object and run.object_id is not None:
            of_object = runs.filter(content_type=run.content_type, object_id=run.object_id)
            runs = of_object if of_object.exists() else runs
        oldest = lock_rows(runs).first()
        if oldest is None:
            return
        end_runs(
            FlowRun.objects.filter(pk=oldest.pk),
            Outcome.CANCELED,
            "A newer run took its place.",
            now,
        )


def _flow(flow: Flow | str) -> Flow:
    if isinstance(flow, str):
        found = Flow.objects.select_related("live_version").filter(slug=flow).first()
        if found is None:
            raise StartRefused(f"There is no flow {flow!r}.")
        return found
    return flow


def _check_startable(flow: Flow, obj: models.Model | None, now: datetime) -> None:
    if not flow.is_active(now):
        raise StartRefused(f'"{flow}" is off.')
    if flow.live_version is None:
        raise StartRefused(f'"{flow}" has not been published yet.')
    wanted = flow.live_version.document.get("content_type")
    if wanted is None:
        return
    if obj is None:
        raise StartRefused(f'"{flow}" needs an object of type {wanted}.')
    kinds = {base._meta.label_lower for base in type(obj).__mro__ if hasattr(base, "_meta")}
    if wanted not in kinds:
        raise StartRefused(f'"{flow}" is about {wanted}, not {obj._meta.label_lower}.')


def _start_state(flow: Flow, state: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        values: Any = to_json(dict(state or {}), where="the start state")
    except NotJSON as error:
        raise StartRefused(str(error)) from error
    schema = flow.live_version.document.get("state_schema") if flow.live_version else None
    if schema:
        values = with_defaults(schema, values)
        if problems := find_value_problems(schema, values):
            told = "; ".join(f"{place(problem.path)}: {problem.message}" for problem in problems)
            raise StartRefused(f'The start state does not fit "{flow}": {told}')
    return dict(values)


def _depth(flow: Flow, parent_run: FlowRun | None) -> int:
    """How many runs started one another above this one; a circle ends in an error that names it."""
    if parent_run is None:
        return 0
    if parent_run.depth >= settings.MAX_START_DEPTH:
        names = [flow.slug]
        run: FlowRun | None = parent_run
        while run is not None:
            names.append(run.flow.slug)
            run = None if run.flow_id == flow.pk else run.parent_run
        raise StartRefused(
            f"Flows start one another {settings.MAX_START_DEPTH} deep: "
            f"{' → '.join(reversed(names))}."
        )
    return parent_run.depth + 1


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
