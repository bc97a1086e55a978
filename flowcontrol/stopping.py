"""Coming to a stop: the row that is to be written of a slice, for each reason to stop."""

from __future__ import annotations

import logging
from typing import Any, Final, assert_never

from flowcontrol.cursor import COMPLETE
from flowcontrol.dialect import json_text
from flowcontrol.directives import Suspend, SuspendAndRepeat
from flowcontrol.failures import clean, describe, message_of, wait_before_retry
from flowcontrol.history import reverse_patch, shown
from flowcontrol.models import EventKind, Outcome, Status, WaitKind
from flowcontrol.program import Node
from flowcontrol.slices import (
    NOWHERE,
    BeforeEffects,
    Ended,
    Obsolete,
    Parked,
    Slice,
    Stop,
    Yielded,
)
from flowcontrol.storable import check_size
from flowcontrol.trials import in_trial
from flowcontrol.writing import NewEvent, NewWait, WriteBack

logger = logging.getLogger("flowcontrol")

ALWAYS_TOLD: Final = frozenset({EventKind.FAILED, EventKind.RETRY})
"""Kinds of events that enter the history even where ``FLOWCONTROL_HISTORY`` is ``none``."""

_COMPLETE_TEXT: Final = json_text(COMPLETE.to_json())
"""Made once: in most batches most runs end like this."""


def row_of(piece: Slice, stop: Stop) -> WriteBack | None:
    """What is to be written of a slice that stopped; ``None``: it goes on with effects.

    Raises:
        FlowcontrolError: its progress cannot be stored.
    """
    match stop:
        case BeforeEffects():
            return None
        case Parked(directive):
            return parked(piece, directive)
        case Yielded(queue):
            return yielded(piece, queue)
        case Ended():
            return ended(piece)
        case Obsolete(reason):
            return done(piece, Outcome.OBSOLETE, reason)
        case _:
            assert_never(stop)


def progress(piece: Slice, status: Status, kind: EventKind | None, **event: Any) -> WriteBack:
    """The write that leaves the run in ``status``, with everything since the last one."""
    claim = piece.claim
    state, undo = None, reverse_patch(piece.stored_state, piece.state)
    if undo is not None:
        state = json_text(piece.state)
        check_size(state, piece.limits.state_size)
    if kind is None and undo is not None:
        kind = EventKind.STEPS
    moved = piece.visit != claim.visit
    items_text = None
    if (items := _items_in_use(piece)) is not piece.stored_items:
        items_text = json_text(items)
        check_size(items_text, piece.limits.state_size, "The list of a loop")
    row = WriteBack(
        claim=claim,
        status=status,
        cursor=_position_text(piece),
        action_uid=piece.cursor.uid,
        visit=piece.visit,
        at=piece.handle.now,
        state=state,
        items=items_text,
        # These belong to this very step; a run that got past it starts afresh.
        attempts=0 if moved else claim.attempts,
        rescues=0 if moved else claim.rescues,
        wakeup=None if moved or _is_told_error(claim.wakeup) else claim.wakeup,
    )
    if kind is not None and (piece.limits.history != "none" or kind in ALWAYS_TOLD):
        row.event = NewEvent(
            kind,
            steps=json_text(piece.log.to_json()) if piece.log.count else None,
            undo=None if undo is None else json_text(undo),
            **event,
        )
    return row


def _position_text(piece: Slice) -> str:
    if piece.cursor is COMPLETE:
        return _COMPLETE_TEXT
    # A run that could not even begin stays where it is, wherever that is.
    return json_text(piece.cursor.to_json() if piece.cursor != NOWHERE else piece.claim.cursor)


def _items_in_use(piece: Slice) -> dict[str, list[Any]]:
    """The lists of the blocks that are still open."""
    if piece.items and (gone := piece.items.keys() - {frame.uid for frame in piece.cursor.frames}):
        piece.items = {uid: kept for uid, kept in piece.items.items() if uid not in gone}
    return piece.items


def _is_told_error(wakeup: Any) -> bool:
    """Whether it was woken by a condition that failed: told once, then the row waits again."""
    return isinstance(wakeup, dict) and "error" in wakeup


def held(piece: Slice) -> WriteBack:
    """The progress so far, with the claim kept. The thread of ``Holding`` renews its lease."""
    row = progress(piece, Status.RUNNING, EventKind.STEPS if piece.log.count else None)
    row.keep_claim = True
    return row


def yielded(piece: Slice, queue: str = "") -> WriteBack:
    """The run given back with its progress, due at once, for a worker of ``queue``.

    That is no wait: loops go on counting their turns.
    """
    row = progress(piece, Status.PENDING, EventKind.STEPS if piece.log.count else None)
    row.due = piece.handle.now
    row.queue = queue
    return row


def parked(piece: Slice, directive: Suspend | SuspendAndRepeat) -> WriteBack:
    """The run waiting for what ``directive`` says."""
    until = directive.until
    if until is None or until > piece.handle.now:
        piece.cursor = piece.cursor.parked()
    else:
        piece.check_idle_turn(directive)
    wait = NewWait(kind=_kind_of(directive), until=until)
    if directive.for_event:
        wait.trigger = directive.for_event
        wait.condition = directive.condition
        wait.look_since = piece.handle.now - directive.look_back
        if not directive.any_object:
            wait.content_type_id = piece.claim.content_type_id
            wait.object_id = piece.claim.object_id
    elif isinstance(directive, SuspendAndRepeat) and directive.for_children:
        wait.trigger = directive.for_children
    row = progress(piece, Status.WAITING, EventKind.PARKED)
    row.due = until
    row.waits = [wait]
    return row


def _kind_of(directive: Suspend | SuspendAndRepeat) -> WaitKind:
    if directive.for_event:
        return WaitKind.EVENT
    if isinstance(directive, SuspendAndRepeat):
        if directive.for_children:
            return WaitKind.CHILDREN
        if directive.for_task:
            return WaitKind.TASK
    return WaitKind.TIME if directive.until else WaitKind.WAKE


def ended(piece: Slice) -> WriteBack:
    """The run that has come to its last row, or was told to stop."""
    if piece.cursor.ended == "aborted":
        return done(piece, Outcome.ABORTED, piece.abort_reason)
    return done(piece, Outcome.COMPLETE)


def done(piece: Slice, outcome: Outcome, reason: str = "") -> WriteBack:
    """The run at its end, for whatever reason."""
    row = progress(piece, Status.DONE, EventKind.DONE, reason=clean(reason))
    row.outcome = outcome
    row.reason = clean(reason)
    row.done_at = piece.handle.now
    return row


def failed(piece: Slice, error: BaseException) -> WriteBack:
    """The run at the step that raised: to be tried again, or as failed."""
    uid = piece.cursor.uid
    try:
        return _failed_at(uid, piece, error)
    except Exception as worse:  # noqa: BLE001 (told in the run's history)
        # What was done since the last write, or how to go on, cannot be written down.
        piece.forget_progress()
        return _failed_at(uid, piece, worse, may_retry=False)


def _failed_at(
    uid: str, piece: Slice, error: BaseException, *, may_retry: bool = True
) -> WriteBack:
    node = piece.program.nodes.get(uid)
    claim = piece.claim
    attempt = (claim.attempts if piece.visit == claim.visit else 0) + 1
    values = [[name, str(shown(value))] for name, value in piece.scope.reads]
    piece.scope.reads = []
    piece.handle.notes = []
    detail = describe(error, uid=uid, attempt=attempt, values=values)
    policy = node.payload.retry if node else None
    wait = wait_before_retry(error, policy, attempt) if may_retry else None
    if wait is not None:
        row = progress(piece, Status.WAITING, EventKind.RETRY, detail=detail)
        row.due = piece.handle.now + wait
        row.reason = clean(message_of(error))
        row.waits = [NewWait(WaitKind.RETRY, until=row.due)]
    else:
        reason = clean(f"{_name(node)}: {message_of(error)}" if node else message_of(error))
        row = progress(piece, Status.FAILED, EventKind.FAILED, detail=detail, reason=reason)
        row.reason = reason
        if not in_trial():
            logger.warning("Run #%s failed. %s", claim.id, reason)
    row.attempts = attempt
    return row


def _name(node: Node) -> str:
    label = node.payload.label
    return f'Row "{label}"' if label else f"Row {node.name!r} ({node.uid})"
