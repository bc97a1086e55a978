"""Steps with effects: a database step inside its own commit, an external one between two.

Whatever a row raises stops its own run only; losing the claim drops what was done since the last
write.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final

from django.db import InterfaceError, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flowcontrol.announcing import announce
from flowcontrol.children import cancel_children
from flowcontrol.claiming import Claim
from flowcontrol.conf import Clock
from flowcontrol.cursor import Frame
from flowcontrol.depths import below
from flowcontrol.dialect import is_lost, run_connection
from flowcontrol.directives import Directive
from flowcontrol.exceptions import AuthorError, ClaimLost, ConnectionLost
from flowcontrol.failures import message_of
from flowcontrol.handling import handled
from flowcontrol.models import FlowRun
from flowcontrol.program import Node
from flowcontrol.slices import (
    PARKING,
    ObjectGone,
    Obsolete,
    Saved,
    Slice,
    Stop,
    with_progress,
)
from flowcontrol.stopping import ended, failed, held, parked, row_of, yielded
from flowcontrol.transactions import in_foreign_transaction
from flowcontrol.writing import WriteBack, write_one

MOST_IN_A_GROUP: Final = 100
"""Steps in one shared transaction: what a crash repeats, and how long rows stay locked."""

Work = Callable[[], WriteBack | None]
"""Steps of a run. What they return is how it stopped: a row to be written, or, if it had to be
written in their own transaction, written already. ``None``: the run goes on."""


def step_through_effects(piece: Slice, clock: Clock, next_step: Callable[[], None]) -> WriteBack:
    """Go on from a row with effects to the end of the slice, writing as it goes.

    ``next_step`` is told of each step with effects that begins.

    Returns:
        How the run stopped, written.

    Raises:
        ClaimLost: the run is not ours any more; what was not written is dropped.
        ConnectionLost: nobody knows what of the last step was written.
    """
    with below(piece.claim.depth):
        row = _step_to_a_stop(run_connection(), piece, clock, next_step)
        return row if row.is_written else write_stopped(piece, row)


def _step_to_a_stop(
    connection: BaseDatabaseWrapper, piece: Slice, clock: Clock, next_step: Callable[[], None]
) -> WriteBack:
    row: WriteBack | None = None
    while row is None:
        next_step()
        piece.look_at(clock())
        frame = piece.cursor.frames[-1]
        node = piece.program[frame.uid]
        if node.payload.effects == "database":
            row = database_step(connection, piece, node, frame)
            go_on: Callable[[], Stop] = piece.step_through
        else:
            row = external_step(connection, piece, node, frame, clock)
            go_on = piece.step_through_afresh
        if row is None:
            row = guarded(connection, piece, partial(_go_on, piece, go_on))
    return row


def _go_on(piece: Slice, step_through: Callable[[], Stop]) -> WriteBack | None:
    return row_of(piece, step_through())


def database_step(
    connection: BaseDatabaseWrapper, piece: Slice, node: Node, frame: Frame
) -> WriteBack | None:
    """The step, its effects, and what it makes of the run: one commit, or nothing of it.

    Steps of groupable types share the commit. When it fails, nobody knows which of them was to
    blame: all are undone and done again one by one, and the one that fails then tells.
    """
    saved = piece.save()

    def one() -> WriteBack | None:
        with transaction.atomic(using=connection.alias):
            piece.reload_object()
            return _settle(connection, piece, piece.step(node, frame))

    def group() -> WriteBack | None:
        with transaction.atomic(using=connection.alias):
            return _settle(connection, piece, _step_through_group(piece))

    if node.payload.groupable and not piece.one_by_one:
        try:
            return group()
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 (told below, by the step that is to blame)
            piece.restore(saved)
            piece.scope.reads = []
            piece.one_by_one = True
    return guarded(connection, piece, one, saved)


def _step_through_group(piece: Slice) -> Directive:
    """Steps that may share a transaction, from a database step on; the last one's answer."""
    for _number in range(MOST_IN_A_GROUP):
        frame = piece.cursor.frames[-1]
        node = piece.program[frame.uid]
        if node.payload.effects == "database":
            piece.reload_object()
        directive = piece.step(node, frame)
        if piece.cursor.ended or isinstance(directive, PARKING):
            break
        following = piece.program[piece.cursor.uid].payload
        if following.effects == "external" or not (
            following.groupable or following.effects == "none"
        ):
            break
        if piece.budget <= 0:
            break
    return directive


def _nothing_to_show() -> None:
    """Between steps there is no progress to be shown."""


class ProgressShown:
    """Shows how far a call to the outside is while it goes on, at most once a second.

    It writes the position the run has anyway, with the progress in it: whoever takes the run over
    finds nothing else there than before.
    """

    def __init__(self, connection: BaseDatabaseWrapper, piece: Slice) -> None:
        self._connection, self._piece = connection, piece
        self._last = 0.0

    def __call__(self) -> None:
        told = self._piece.handle.progress
        if told is None or monotonic() - self._last < 1 or self._connection.in_atomic_block:
            return
        self._last = monotonic()
        cursor = with_progress(self._piece.cursor, self._piece.cursor, told)
        claim = self._piece.claim
        held = FlowRun.objects.filter(pk=claim.id, claim_token=claim.token, seq=claim.seq)
        held.filter(visit=claim.visit).update(cursor=cursor.to_json())


def external_step(
    connection: BaseDatabaseWrapper, piece: Slice, node: Node, frame: Frame, clock: Clock
) -> WriteBack | None:
    """Write that the step is next, call with no transaction open, write what came of it.

    A crash in between repeats the call, with the same ``step_key``.
    """
    if in_foreign_transaction():
        return guarded(connection, piece, lambda: yielded(piece))
    if row := guarded(connection, piece, lambda: _come_to(connection, piece)):
        return row
    saved = piece.save()

    def work() -> WriteBack | None:
        piece.handle.show_progress = ProgressShown(connection, piece)
        try:
            directive = piece.step(node, frame)
        finally:
            piece.handle.show_progress = _nothing_to_show
        piece.look_at(clock())
        with transaction.atomic(using=connection.alias):
            piece.record(node, directive, saved.visit)
            return _settle(connection, piece, directive)

    return guarded(connection, piece, work, saved)


def _come_to(connection: BaseDatabaseWrapper, piece: Slice) -> None:
    """Let the database hold that the run stands here, and nobody have taken it meanwhile.

    Raises:
        ClaimLost: somebody has.
    """
    claim = piece.claim
    if piece.visit > claim.visit or not (claim.visit or claim.cursor):
        checkpoint(connection, piece)
    elif not _is_still_held(claim):
        raise _claim_lost(piece)


def guarded(
    connection: BaseDatabaseWrapper, piece: Slice, work: Work, saved: Saved | None = None
) -> WriteBack | None:
    """Do ``work``; whatever it raises becomes what is written about this run.

    Inside somebody's transaction the work gets a savepoint, so that a failing query in it
    leaves the transaction usable. ``saved`` is what to go back to when it fails.

    Raises:
        ClaimLost: the run is not ours any more.
        ConnectionLost: nobody knows what of it was written.
    """
    session = connection.connection
    while True:
        try:
            if connection.in_atomic_block:
                with transaction.atomic(using=connection.alias):
                    return work()
            return work()
        except KeyboardInterrupt:
            raise
        except ClaimLost:
            # If the claim stands after the rollback, the step itself had taken it away.
            if saved is None or not _is_still_held(saved.claim):
                raise
            piece.restore(saved)
            return failed(
                piece,
                AuthorError(
                    "It took the run away from itself, by cancelling, pausing or moving it. An "
                    "action says what should happen by what it returns, for example "
                    "FlowDirective.ABORT."
                ),
            )
        except ObjectGone:
            gone = Obsolete(f"Its object ({piece.claim.object_id}) is gone.")
            work, saved = partial(row_of, piece, gone), None
        except BaseException as error:  # an action's SystemExit is its run's failure, not ours
            if is_lost(connection, session, error):
                raise ConnectionLost(f"{message_of(error)} (run #{piece.claim.id})") from error
            if saved is not None:
                piece.restore(saved)
            try:
                node = handled(piece, error)
            except Exception as worse:  # noqa: BLE001 (what the flow says of it is wrong itself)
                return failed(piece, worse)
            if node is None:
                return failed(piece, error)
            work, saved = (
                partial(_go_on_after, connection, piece, node, had_effects=saved is not None),
                None,
            )


def _go_on_after(
    connection: BaseDatabaseWrapper, piece: Slice, node: Node, *, had_effects: bool
) -> WriteBack | None:
    """Go on where the flow wants to after an error of ``node``."""
    if had_effects and not piece.cursor.ended:
        # Written at once: what was called outside is not to be called again for it.
        with transaction.atomic(using=connection.alias):
            if node.action.starts_children:
                reason = "The flow went on without it, after an error."
                cancel_children(piece.claim.id, piece.handle.now, reason)
            checkpoint(connection, piece)
    return row_of(piece, piece.step_through())


def _is_still_held(claim: Claim) -> bool:
    """Whether the claim stands, and the run where it stood by it."""
    held = FlowRun.objects.filter(pk=claim.id, claim_token=claim.token)
    return held.filter(seq=claim.seq, visit=claim.visit).exists()


# --- writing ------------------------------------------------------------------------------------


def _settle(
    connection: BaseDatabaseWrapper, piece: Slice, directive: Directive
) -> WriteBack | None:
    """Write the run as the step left it, inside the step's transaction."""
    if isinstance(directive, PARKING):
        return write(connection, piece, parked(piece, directive))
    if piece.cursor.ended:
        return write(connection, piece, ended(piece))
    checkpoint(connection, piece)
    return None


def checkpoint(connection: BaseDatabaseWrapper, piece: Slice) -> None:
    """Write the progress so far and keep the claim.

    Raises:
        ClaimLost: the run is not ours any more.
    """
    write(connection, piece, held(piece))


def write_stopped(piece: Slice, row: WriteBack) -> WriteBack:
    """Write how the slice stopped; where that cannot be stored, that it cannot.

    Raises:
        ClaimLost: the run is not ours any more.
    """
    connection = run_connection()
    try:
        return write(connection, piece, row)
    except (ClaimLost, OperationalError, InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001 (told in the run's history)
        piece.forget_progress()
        return write(connection, piece, failed(piece, error))


def _claim_lost(piece: Slice) -> ClaimLost:
    return ClaimLost(f"Run #{piece.claim.id} was taken over or changed by somebody else.")


def write(connection: BaseDatabaseWrapper, piece: Slice, row: WriteBack) -> WriteBack:
    """Write one row and take what was written as the new starting point.

    Raises:
        ClaimLost: the run is not ours any more.
    """
    if not write_one(row, connection):
        raise _claim_lost(piece)
    claim = piece.claim
    claim.seq += row.event is not None
    claim.attempts = row.attempts
    claim.rescues = row.rescues
    claim.wakeup = row.wakeup
    piece.note_stored()
    if not row.keep_claim:
        announce([row])
    return row
