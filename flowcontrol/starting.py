"""Starting runs: may it start, is there room, and the row that makes it real.

A limit is derived from the rows of runs and held by a lock on the flow's row, so it can neither
leak nor be passed by two at the same moment. Flows without limits take no lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flowcontrol import signals
from flowcontrol.announcing import tell
from flowcontrol.conf import settings
from flowcontrol.depths import depth_here
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

BATCH: Final = 200
"""How many runs of a start for many objects are written in one transaction."""

_THE_START_STATE: Final = gettext_lazy("the start state")


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
    awaited_as: str = "",
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
        awaited_as: the group under which that row waits for it; empty: it does not wait.
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
        awaited_as=awaited_as,
        now=now,
    ).row()
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


@dataclass
class ManyStarted:
    """What came of a start for many objects."""

    started: int = 0
    known: int = 0
    """Had been started by the same ``token`` before."""
    refused: list[tuple[models.Model, str]] = field(default_factory=list)
    """With the reason each time."""


def create_flowruns(
    flow: Flow,
    objects: Iterable[models.Model],
    *,
    token: str,
    state: Mapping[str, Any] | None = None,
    user: Any = None,
    continue_after: datetime | None = None,
    now: datetime | None = None,
) -> ManyStarted:
    """:func:`create_flowrun` for each of many objects, in batches that are committed one by one.

    Args:
        flow: the flow.
        objects: read as they are needed.
        token: names the start as a whole. Asked twice with one token, by a second click or
            because the first attempt broke off, it gives each object one run.
        state: the start state of all.
        user: who starts them.
        continue_after: do not execute them before this moment (aware).
        now: the moment, by default the engine's clock.
    """
    now = now or settings.CLOCK()
    outcome = ManyStarted()
    todo = iter(objects)
    while batch := {_key_for(token, obj): obj for obj in islice(todo, BATCH)}:
        with transaction.atomic():
            taken = FlowRun.objects.filter(flow=flow, key__in=batch).values_list("key", flat=True)
            known = set(taken)
            outcome.known += len(known)
            planned = []
            for key, obj in batch.items():
                if key in known:
                    continue
                try:
                    run = plan_flowrun(
                        flow,
                        obj,
                        now=now,
                        state=state,
                        key=key,
                        user=user,
                        continue_after=continue_after,
                    ).row()
                except StartRefused as error:
                    outcome.refused.append((obj, error.reason))
                else:
                    planned.append((obj, run))
            for obj, run in _insert_batch(planned, flow, now, outcome):
                if run.outcome == Outcome.REFUSED:
                    outcome.refused.append((obj, run.reason))
                    continue
                outcome.started += 1
                tell(signals.flowrun_started, run.pk)
                if run.status == Status.PENDING and run.due is not None and run.due <= now:
                    announce_due()
    return outcome


def _key_for(token: str, obj: models.Model) -> str:
    """The key of the run that the start ``token`` makes for ``obj``; it fits its column."""
    key = f"{token}:{obj.pk}"
    return key if len(key) <= 200 else f"{token[:100]}:{hashlib.sha256(key.encode()).hexdigest()}"


def _insert_batch(
    planned: list[tuple[models.Model, FlowRun]], flow: Flow, now: datetime, outcome: ManyStarted
) -> Iterator[tuple[models.Model, FlowRun]]:
    """Write the runs, all at once if nothing has to be counted; gives those that are written."""
    if not flow.has_limits:
        try:
            with transaction.atomic():
                FlowRun.objects.bulk_create([run for _obj, run in planned])
            yield from planned
            return
        except IntegrityError:
            # The same start at the same moment, by a second click: one by one, who is first.
            for _obj, run in planned:
                run.pk, run._state.adding = None, True
    for obj, run in planned:
        try:
            with transaction.atomic():
                _insert(run, flow, now)
        except (IntegrityError, _KeyIsTaken):
            outcome.known += 1
        else:
            yield obj, run


@dataclass(slots=True)
class PlannedRun:
    """A run that has no row yet. Not a model, because one takes longer to make than all the rest
    of a start does."""

    flow: Flow
    state: dict[str, Any]
    due: datetime
    created_at: datetime
    depth: int
    reference: dict[str, Any]
    """What the run is about, as :func:`object_reference` tells it."""
    key: str | None = None
    user: Any = None
    firing: Firing | None = None
    parent_run: FlowRun | None = None
    awaited_as: str = ""

    @property
    def firing_id(self) -> int | None:
        return None if self.firing is None else self.firing.pk

    def row(self) -> FlowRun:
        """Its row, not saved."""
        return FlowRun(
            flow=self.flow,
            version=self.flow.live_version,
            key=self.key,
            state=self.state,
            due=self.due,
            started_by=self.user,
            firing=self.firing,
            parent_run=self.parent_run,
            awaited_as=self.awaited_as,
            depth=self.depth,
            created_at=self.created_at,
            **self.reference,
        )


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
    awaited_as: str = "",
) -> PlannedRun:
    """The run that :func:`create_flowrun` would write, checked but for the limits.

    Raises:
        StartRefused: with the reason.
    """
    _check_startable(flow, obj, now)
    return PlannedRun(
        flow=flow,
        state=start_state(flow, _live_document(flow), state),
        due=max(now, continue_after) if continue_after else now,
        created_at=now,
        depth=_depth(flow, parent_run, firing),
        reference=object_reference(obj),
        key=key,
        user=user if user is not None and user.pk is not None else None,
        firing=firing,
        parent_run=parent_run,
        awaited_as=awaited_as,
    )


def insert_flowruns(planned: Iterable[PlannedRun]) -> list[int]:
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
    found = [pks[run.firing_id, run.flow.pk].pop() for run in runs]
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
    "items": "jsonb",
    "awaited_as": "text",
    "root_uid": "text",
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


_NEW: Final = FlowRun()
_BEGINNING: Final = {name: getattr(_NEW, name) for name in _INSERT_COLUMNS}
"""What a run has of each column where its start says nothing else."""


def _insert_values(run: PlannedRun) -> dict[str, Any]:
    content_type = run.reference["content_type"]
    return {
        **_BEGINNING,
        "flow_id": run.flow.pk,
        "version_id": run.flow.live_version_id,
        "depth": run.depth,
        "content_type_id": content_type and content_type.pk,
        "object_id": run.reference["object_id"],
        "state": run.state,
        "due": run.due,
        "firing_id": run.firing_id,
        "created_at": run.created_at,
    }


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
    holding = runs.holding_a_slot()
    of_object = runs.filter(content_type=run.content_type, object_id=run.object_id)
    if (
        flow.max_per_object
        and run.object_id is not None
        and not counting_itself
        and _are_there(of_object.exclude(outcome=Outcome.REFUSED), flow.max_per_object)
    ):
        told = ngettext(
            '"%(flow)s" runs at most once for each object.',
            '"%(flow)s" runs at most %(count)d times for each object.',
            flow.max_per_object,
        )
        return NoRoom(told % {"flow": flow, "count": flow.max_per_object}, True)
    if (
        flow.max_concurrent_per_object
        and run.object_id is not None
        and _are_there(
            holding.filter(content_type=run.content_type, object_id=run.object_id),
            flow.max_concurrent_per_object,
        )
    ):
        told = ngettext(
            '"%(flow)s" has %(count)d open run for this object; more are not allowed at the same '
            "time.",
            '"%(flow)s" has %(count)d open runs for this object; more are not allowed at the same '
            "time.",
            flow.max_concurrent_per_object,
        )
        return NoRoom(told % {"flow": flow, "count": flow.max_concurrent_per_object})
    if flow.max_concurrent and _are_there(holding, flow.max_concurrent):
        told = ngettext(
            '"%(flow)s" has %(count)d open run; more are not allowed at the same time.',
            '"%(flow)s" has %(count)d open runs; more are not allowed at the same time.',
            flow.max_concurrent,
        )
        return NoRoom(told % {"flow": flow, "count": flow.max_concurrent})
    return None


def _are_there(runs: models.QuerySet[FlowRun], number: int) -> bool:
    """Whether there are so many; it does not count any further."""
    return runs[:number].count() >= number


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
    FlowRun.objects.bulk_create([run])  # like the starts of a batch, without Django's signals


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
            _("A newer run took its place."),
            now,
        )


def _flow(flow: Flow | str) -> Flow:
    if isinstance(flow, str):
        found = Flow.objects.select_related("live_version").filter(slug=flow).first()
        if found is None:
            raise StartRefused(_("There is no flow %(flow)r.") % {"flow": flow})
        return found
    return flow


def _live_document(flow: Flow) -> Mapping[str, Any]:
    document: Mapping[str, Any] = flow.live_version.document if flow.live_version else {}
    return document


def _check_startable(flow: Flow, obj: models.Model | None, now: datetime) -> None:
    if not flow.is_active(now):
        raise StartRefused(_('"%(flow)s" is off.') % {"flow": flow})
    if flow.live_version is None:
        raise StartRefused(_('"%(flow)s" has not been published yet.') % {"flow": flow})
    check_object(flow, flow.live_version.document, obj)


def check_object(flow: Flow, document: Mapping[str, Any], obj: models.Model | None) -> None:
    """Refuse an object that a run of ``document`` cannot be about.

    Raises:
        StartRefused: it is missing, or of another type.
    """
    wanted = document.get("content_type")
    if wanted is None:
        return
    if obj is None:
        raise StartRefused(
            _('"%(flow)s" needs an object of type %(type)s.') % {"flow": flow, "type": wanted}
        )
    kinds = {base._meta.label_lower for base in type(obj).__mro__ if hasattr(base, "_meta")}
    if wanted not in kinds:
        raise StartRefused(
            _('"%(flow)s" is about %(type)s, not %(found)s.')
            % {"flow": flow, "type": wanted, "found": obj._meta.label_lower}
        )


def start_state(
    flow: Flow, document: Mapping[str, Any], state: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The state that a run of ``document`` starts with: what is given, and defaults.

    Raises:
        StartRefused: it is no JSON, or does not fit the state schema.
    """
    try:
        values: Any = to_json(dict(state or {}), where=_THE_START_STATE)
    except NotJSON as error:
        raise StartRefused(str(error)) from error
    schema = document.get("state_schema")
    if schema:
        values = with_defaults(schema, values)
        if problems := find_value_problems(schema, values):
            told = "; ".join(f"{place(problem.path)}: {problem.message}" for problem in problems)
            raise StartRefused(
                _('The start state does not fit "%(flow)s": %(problems)s')
                % {"flow": flow, "problems": told}
            )
    return dict(values)


def _depth(flow: Flow, parent_run: FlowRun | None, firing: Firing | None) -> int:
    """How many runs started one another above this one; a circle ends in an error that names it."""
    # A firing may be matched elsewhere than where it was written.
    depth = depth_here() if firing is None else firing.depth
    if depth > settings.MAX_START_DEPTH and parent_run is None:
        raise StartRefused(
            _("Flows start one another %(depth)d deep; “%(flow)s” is not started again by %(by)s.")
            % {
                "depth": settings.MAX_START_DEPTH,
                "flow": flow,
                "by": firing.name if firing is not None else _("code"),
            }
        )
    if parent_run is None:
        return depth
    if parent_run.depth >= settings.MAX_START_DEPTH:
        names = [flow.slug]
        run: FlowRun | None = parent_run
        while run is not None:
            names.append(run.flow.slug)
            run = None if run.flow_id == flow.pk else run.parent_run
        raise StartRefused(
            _("Flows start one another %(depth)d deep: %(flows)s.")
            % {"depth": settings.MAX_START_DEPTH, "flows": " → ".join(reversed(names))}
        )
    return max(depth, parent_run.depth + 1)
