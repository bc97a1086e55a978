"""What operators do to runs: each verb is guarded, and on record with who and why.

``allowed_transitions`` says what may be asked of a run now; ``explain`` says in one sentence where
it stands. Pages, commands and code ask these instead of looking at columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import models, transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from flowcontrol import programs
from flowcontrol.children import cancel_children
from flowcontrol.conf import settings
from flowcontrol.cursor import Cursor
from flowcontrol.exceptions import AuthorError, TransitionRefused
from flowcontrol.expressions import to_json
from flowcontrol.history import reverse_patch
from flowcontrol.models import (
    EngineState,
    EventKind,
    Flow,
    FlowRun,
    HumanTask,
    Outcome,
    RunWait,
    Status,
    WaitKind,
)
from flowcontrol.models.locks import lock_rows
from flowcontrol.program import Program
from flowcontrol.recording import end_runs, record, wake, withdraw_tasks
from flowcontrol.schemas import find_value_problems, place
from flowcontrol.starting import find_no_room

_ALLOWED: Final[Mapping[str, frozenset[Status]]] = {
    "cancel": frozenset(set(Status) - {Status.DONE}),
    "close": frozenset({Status.FAILED}),
    "retry": frozenset({Status.FAILED}),
    "pause": frozenset({Status.PENDING, Status.QUEUED, Status.RUNNING, Status.WAITING}),
    "resume": frozenset({Status.PAUSED}),
    "run_now": frozenset({Status.PENDING, Status.WAITING}),
    "edit_state": frozenset(
        {Status.PENDING, Status.QUEUED, Status.WAITING, Status.PAUSED, Status.FAILED}
    ),
    "go_to": frozenset({Status.PENDING, Status.WAITING, Status.PAUSED, Status.FAILED}),
}


def allowed_transitions(run: FlowRun) -> set[str]:
    """The verbs of this module that may be asked of ``run`` in the status it has."""
    return {verb for verb, statuses in _ALLOWED.items() if run.status in statuses}


def _require(verb: str, run: FlowRun) -> None:
    """Raise the error that names what was found.

    Raises:
        TransitionRefused: the verb is not possible in the run's status.
    """
    run.refresh_from_db(fields=["status", "outcome"])
    if run.status not in _ALLOWED[verb]:
        raise TransitionRefused(
            _("Run #%(pk)s is %(status)s, so this is not possible: %(verb)s.")
            % {
                "pk": run.pk,
                "status": run.get_outcome_display() or run.get_status_display(),
                "verb": verb.replace("_", " "),
            }
        )


def cancel(
    run: FlowRun, *, user: Any = None, reason: str = "", now: datetime | None = None
) -> None:
    """End a run. A worker that is at it notices at its next write, and its effects roll back.

    Raises:
        TransitionRefused: it is over already.
    """
    runs = FlowRun.objects.filter(pk=run.pk)
    if not end_runs(runs, Outcome.CANCELED, reason, now or settings.CLOCK(), user=user):
        _require("cancel", run)
    run.refresh_from_db()


def close(run: FlowRun, *, user: Any = None, reason: str = "", now: datetime | None = None) -> None:
    """End a failed run as it is.

    Raises:
        TransitionRefused: it has not failed.
    """
    _require("close", run)
    end_runs(
        FlowRun.objects.filter(pk=run.pk, status=Status.FAILED),
        Outcome.ERRORED,
        reason,
        now or settings.CLOCK(),
        user=user,
    )
    run.refresh_from_db()


def retry(run: FlowRun, *, user: Any = None, reason: str = "", now: datetime | None = None) -> None:
    """Let a failed run try its step again; it takes a slot again, or queues for one.

    Raises:
        TransitionRefused: it has not failed.
    """
    now = now or settings.CLOCK()
    with transaction.atomic():
        to, why = _with_a_slot(run)
        _move(run, "retry", to, due=now, reason=why, attempts=0, rescues=0)
        record(run.pk, EventKind.OPERATED, now, user=user, reason=reason, detail={"did": "retry"})
    run.refresh_from_db()


def _with_a_slot(run: FlowRun) -> tuple[Status, str]:
    """How a run without a slot goes on: there may be none left, so it queues, and why."""
    # Until the transaction ends nobody else can take the room that is found here.
    flow = Flow.objects.locked(run.flow_id)
    no_room = find_no_room(flow, run, counting_itself=True) if flow.has_limits else None
    return (Status.PENDING, "") if no_room is None else (Status.QUEUED, no_room.reason)


def pause(run: FlowRun, *, user: Any = None, reason: str = "", now: datetime | None = None) -> None:
    """Hold a run where it is; what wakes it meanwhile counts when it is resumed.

    Raises:
        TransitionRefused: it is over, has failed, or is paused already.
    """
    now = now or settings.CLOCK()
    with transaction.atomic():
        was = _move(run, "pause", Status.PAUSED)
        if was == Status.RUNNING:
            # It has gone on from what it waited for, even if its worker has not written so yet.
            RunWait.objects.filter(run_id=run.pk).delete()
        detail = {"did": "pause", "was": was}
        record(run.pk, EventKind.OPERATED, now, user=user, reason=reason, detail=detail)
    run.refresh_from_db()


def resume(
    run: FlowRun, *, user: Any = None, reason: str = "", now: datetime | None = None
) -> None:
    """Let a paused run go on: to wait on, to be executed, or back into its queue.

    Raises:
        TransitionRefused: it is not paused.
    """
    now = now or settings.CLOCK()
    with transaction.atomic():
        # Locked, so that what wakes it at this moment is seen or waits its turn.
        paused = lock_rows(FlowRun.objects.filter(pk=run.pk)).get()
        if paused.waits.exists():
            _move(run, "resume", Status.WAITING)
        elif _was_paused_in_the_queue(paused):
            _move(run, "resume", Status.QUEUED)
        else:
            _move(run, "resume", Status.PENDING, due=paused.due or now)
        record(run.pk, EventKind.OPERATED, now, user=user, reason=reason, detail={"did": "resume"})
    run.refresh_from_db()


def _was_paused_in_the_queue(run: FlowRun) -> bool:
    if run.status != Status.PAUSED:
        return False
    paused = run.events.filter(kind=EventKind.OPERATED, detail__did="pause").last()
    return paused is not None and (paused.detail or {}).get("was") == Status.QUEUED


def run_now(
    run: FlowRun, *, user: Any = None, reason: str = "", now: datetime | None = None
) -> None:
    """Do not wait any longer: make the run due at once.

    Raises:
        TransitionRefused: it neither waits nor is about to run.
    """
    now = now or settings.CLOCK()
    with transaction.atomic():
        # Locked, so that what wakes it at this moment is not overwritten.
        found = lock_rows(FlowRun.objects.filter(pk=run.pk)).get()
        _require("run_now", run)
        changes: dict[str, Any] = {"due": now}
        waits_for = set(found.waits.values_list("kind", flat=True))
        if waits_for - {WaitKind.RETRY} and found.wakeup is None:
            # Its row is told that nothing came, and does what it does when its time runs out.
            changes["wakeup"] = {"by": "operator"}
        FlowRun.objects.filter(pk=run.pk).update(**changes)
        record(run.pk, EventKind.OPERATED, now, user=user, reason=reason, detail={"did": "run now"})
    run.refresh_from_db()


def edit_state(
    run: FlowRun,
    state: Mapping[str, Any],
    *,
    user: Any = None,
    reason: str = "",
    now: datetime | None = None,
) -> None:
    """Replace the state of a run that nobody is executing.

    Raises:
        TransitionRefused: it is running, or over.
        NotJSON: the new state cannot be stored.
        ValueError: it does not fit the flow's state schema.
    """
    now = now or settings.CLOCK()
    values: Any = to_json(dict(state), where="the state")
    schema = run.version.document.get("state_schema")
    if schema and (problems := find_value_problems(schema, values)):
        raise ValueError("; ".join(f"{place(p.path)}: {p.message}" for p in problems))
    with transaction.atomic():
        # Locked, so that the record undoes exactly what this replaces, not what was read earlier.
        before = lock_rows(FlowRun.objects.filter(pk=run.pk)).values_list("state", flat=True).get()
        _require("edit_state", run)
        FlowRun.objects.filter(pk=run.pk).update(state=values)
        record(
            run.pk,
            EventKind.OPERATED,
            now,
            user=user,
            reason=reason,
            detail={"did": "edit state"},
            undo=reverse_patch(before, values),
        )
    run.refresh_from_db()


def go_to(
    run: FlowRun, uid: str, *, user: Any = None, reason: str = "", now: datetime | None = None
) -> None:
    """Send a run to a row of its version; it goes on from there at once.

    A failed run takes a slot again for it, or queues for one.

    Raises:
        TransitionRefused: it is running, queued or over.
        AuthorError: its version has no such row, or has switched it off.
    """
    now = now or settings.CLOCK()
    with transaction.atomic():
        _require("go_to", run)
        if not move_to_row(run, uid, now):
            _require("go_to", run)
            raise _changed_meanwhile(run)
        detail = {"did": "go to", "from": run.action_uid, "to": uid}
        record(run.pk, EventKind.OPERATED, now, user=user, reason=reason, detail=detail)
    run.refresh_from_db()


def move_to_row(run: FlowRun, uid: str, now: datetime, **changes: Any) -> bool:
    """Make a row of its version (none: the first) what an open run does next; whether it was open.

    Its visit number moves on, so that the step gets a key of its own. A worker that is at the run
    loses it. A run that has no slot takes one, or queues for it.

    Raises:
        AuthorError: the version has no such row.
    """
    program = programs.load_one(run.version)
    cursor = _place_in(run, program, uid)
    # What it waits for belongs to the place that it leaves.
    cancel_children(run.pk, now, _("The run that waited for it was sent to another row."))
    has_no_slot = run.status == Status.FAILED or _was_paused_in_the_queue(run)
    to, why = _with_a_slot(run) if has_no_slot else (Status.PENDING, "")
    RunWait.objects.filter(run_id=run.pk).delete()
    runs = FlowRun.objects.filter(pk=run.pk)
    was_moved = bool(
        runs.exclude(status=Status.QUEUED).move(
            to,
            cursor=cursor.to_json(),
            action_uid=cursor.uid,
            visit=models.F("visit") + 1,
            due=now,
            wakeup=None,
            attempts=0,
            rescues=0,
            reason=why,
            **changes,
        )
        or runs.filter(status=Status.PENDING).update(
            cursor=cursor.to_json(),
            action_uid=cursor.uid,
            visit=models.F("visit") + 1,
            due=now,
            wakeup=None,
            **changes,
        )
    )
    if was_moved:
        withdraw_tasks(run.pk)
    return was_moved


def _place_in(run: FlowRun, program: Program, uid: str) -> Cursor:
    """The position at a row; for a branch only at the rows inside it.

    Raises:
        AuthorError: there is no such row.
    """
    if not run.root_uid:
        return program.cursor_at(uid) if uid else program.start()
    frames = program.cursor_at(uid or run.root_uid).frames
    for number, frame in enumerate(frames):
        if frame.uid == run.root_uid:
            return Cursor(frames[number:])
    raise AuthorError(f"Row {uid!r} is not in the branch that this run executes.")


def pause_everything(now: datetime | None = None) -> None:
    """Execute nothing until :func:`resume_everything`; runs can still be started."""
    EngineState.objects.update_or_create(pk=1, defaults={"paused_at": now or settings.CLOCK()})


def resume_everything() -> None:
    """Execute again; flows and runs that are paused for themselves stay so."""
    EngineState.objects.filter(pk=1).update(paused_at=None)


def wake_flowrun(
    run: FlowRun,
    data: Any = None,
    *,
    user: Any = None,
    reason: str = "",
    now: datetime | None = None,
) -> bool:
    """Continue a waiting run from code; ``data`` (JSON) is what its row gets as the answer.

    Returns:
        Whether the run was waiting.
    """
    wakeup = {"by": "code", "data": to_json(data, where="the data")}
    return wake(run.pk, wakeup, now or settings.CLOCK(), reason=reason, user=user)


def _move(run: FlowRun, verb: str, to: Status, **changes: Any) -> str:
    """Change the status, or raise the error that names what was found; the status it had."""
    _require(verb, run)
    was = run.status
    if not FlowRun.objects.filter(pk=run.pk, status=was).move(to, **changes):
        _require(verb, run)
        raise _changed_meanwhile(run)
    return was


def _changed_meanwhile(run: FlowRun) -> TransitionRefused:
    return TransitionRefused(
        _("Run #%(pk)s was changed by somebody else at this moment; please try again.")
        % {"pk": run.pk}
    )


# --- telling ------------------------------------------------------------------------------------


def explain(run: FlowRun, now: datetime | None = None) -> str:
    """One sentence: where the run stands, and why it waits or stopped."""
    now = now or settings.CLOCK()
    match run.status:
        case Status.PENDING:
            if run.due and run.due > now:
                return _("It will start at %(due)s.") % {"due": _told(run.due)}
            return _("It goes on as soon as a worker is free.")
        case Status.QUEUED:
            return _("It is queued until the flow has room for it. %(reason)s") % {
                "reason": run.reason
            }
        case Status.RUNNING:
            return f"{_('A worker is executing it.')} {told_progress(run)}".rstrip()
        case Status.PAUSED:
            return _("It was paused and goes on when it is resumed.")
        case Status.FAILED:
            return _("It failed and waits for somebody to repair it. %(reason)s") % {
                "reason": run.reason
            }
        case Status.DONE:
            ended = _("It ended as “%(outcome)s” at %(at)s.") % {
                "outcome": run.get_outcome_display(),
                "at": _told(run.done_at) if run.done_at else "?",
            }
            return f"{ended} {run.reason}".strip()
    return f"{_explain_waits(run)} {told_progress(run)}".rstrip()


def told_progress(run: FlowRun) -> str:
    """How far the row is at which the run stands, if it says so: "37 of 120"."""
    frames = run.cursor.get("frames") if isinstance(run.cursor, dict) else None
    for frame in reversed(frames or ()):
        if progress := frame.get("progress"):
            done, total = progress
            if total is None:
                return _("%(done)s so far.") % {"done": done}
            return _("%(done)s of %(total)s.") % {"done": done, "total": total}
    return ""


def _explain_waits(run: FlowRun) -> str:
    # Not first(): a list of runs has read the waits of all its runs at once.
    wait = min(run.waits.all(), key=lambda each: each.pk, default=None)
    until = _told(run.due) if run.due else ""
    if wait is None or wait.kind == WaitKind.TIME:
        return _("It waits until %(until)s.") % {"until": until} if until else _("It waits.")
    if wait.kind == WaitKind.RETRY:
        return _("Its step failed and is tried again at %(until)s. %(reason)s") % {
            "until": until,
            "reason": run.reason,
        }
    if wait.kind == WaitKind.EVENT:
        told = _("It waits for “%(trigger)s”") % {"trigger": wait.trigger}
        return f"{told}, {_('at most until %s') % until}." if until else f"{told}."
    if wait.kind == WaitKind.TASK:
        task = HumanTask.objects.filter(run=run).open().first()
        if task is None:
            return _("It waits for a person's answer.")
        told = _("It waits for an answer to “%(title)s”") % {"title": task.title}
        return f"{told}, {_('at most until %s') % until}." if until else f"{told}."
    if wait.kind == WaitKind.CHILDREN:
        return _("It waits for the runs it has started.")
    return _("It waits to be woken from code.")


def _told(moment: datetime) -> str:
    # Not DATETIME_FORMAT: in English it ends in "a.m.", and the sentence then in two stops.
    local = timezone.localtime(moment)
    return f"{date_format(local, 'DATE_FORMAT')}, {date_format(local, 'H:i')}"
