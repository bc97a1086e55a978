"""Executing claimed runs in batches.

The story of a batch (:func:`execute_claims`):

1. read what the runs need: programs, objects, payloads; a query each for the whole batch
2. step every run in memory for as long as its rows touch only its state
3. write those that came to a stop, in one statement
4. take the others through their effects, one by one, for as long as is fair; hand back the rest
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Final

from django.db import DatabaseError, InterfaceError, OperationalError

from flowcontrol.announcing import announce
from flowcontrol.buffering import take_missed
from flowcontrol.claiming import Claim
from flowcontrol.collecting import seldom
from flowcontrol.compiling import ProgramPlan
from flowcontrol.conf import Clock, settings
from flowcontrol.cursor import Cursor
from flowcontrol.depths import below
from flowcontrol.dialect import run_connection
from flowcontrol.effects import guarded, step_through_effects, write_stopped
from flowcontrol.exceptions import ClaimLost, ConnectionLost, NotJSON, PoisonousRun
from flowcontrol.holding import Holding, give_back
from flowcontrol.models import Status
from flowcontrol.needs import Needs, read_needs
from flowcontrol.program import Program
from flowcontrol.slices import NOWHERE, Slice
from flowcontrol.stopping import failed, row_of
from flowcontrol.writing import WriteBack, write_back

logger = logging.getLogger("flowcontrol")

NO_PROGRAM: Final = Program({}, None, ProgramPlan(None, None, None, ()))
"""Stands in for the program of a run that has none it could execute."""


MakeSlice = Callable[[Claim, Needs, Program, Cursor], Slice]

FAIR_SECONDS: Final = 0.25
"""How long a batch makes effects. While its worker is busy with one run, other workers may be
without any; what it has not come to by then is for whoever claims it first."""

Stopped = tuple[Slice, WriteBack]
"""A slice and the row that is to be written of it."""


@dataclass(slots=True)
class Tally:
    """What a batch, or a whole sweep, came to. Counts of runs, but for ``steps``.

    ``handed_back`` were claimed but not come to; they are due as before and not ``executed``.
    """

    executed: int = 0
    steps: int = 0
    done: int = 0
    parked: int = 0
    failed: int = 0
    yielded: int = 0
    handed_back: int = 0
    lost: int = 0
    rescued: int = 0
    promoted: int = 0
    matched: int = 0
    listening: int = 0
    """Runs that have just begun to wait for a trigger."""

    def add(self, other: Tally) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def execute_claims(
    claims: Sequence[Claim],
    clock: Clock,
    queue: str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Tally:
    """Execute claimed runs until each of them has been written, lost or given back.

    With ``queue`` a run that comes to a step of another queue is handed over to that one. ``stop``
    is asked before each run that has effects to make; once it is true, the rest is handed back.
    """
    tally = Tally(executed=len(claims))
    holding = Holding(claims)
    try:
        with holding.kept(), seldom():
            stopped, with_effects = _step_in_memory(claims, clock, tally, holding, queue)
            _write_batch(stopped, clock, tally, holding)
            left = _step_with_effects(with_effects, clock, tally, holding, stop)
    finally:
        # Where something beyond a single run went wrong (a dead connection, a keyboard), that is
        # all that was not written.
        handed_back = holding.give_back()
    tally.handed_back = len(handed_back)
    tally.lost += len(left) - len(handed_back)
    tally.executed -= len(handed_back)
    if tally.listening:
        _look_back(clock())
    return tally


def _look_back(now: datetime) -> None:
    """What fired while runs were about to wait for it; if this fails, the next sweep looks."""
    try:
        take_missed(now)
    except DatabaseError as error:
        logger.warning("Firings that came before a wait are left to the next sweep: %s", error)


def _step_in_memory(
    claims: Sequence[Claim], clock: Clock, tally: Tally, holding: Holding, queue: str | None
) -> tuple[list[Stopped], list[Slice]]:
    """Step each run as far as it goes without effects: those to write, and those to go on."""
    needs = read_needs(claims, clock(), queue)
    connection = run_connection()
    stopped: list[Stopped] = []
    with_effects: list[Slice] = []
    for claim in claims:
        piece, row = _prepare(claim, needs)
        try:
            row = row or guarded(connection, piece, partial(_start, piece))
        except ConnectionLost as error:
            _lose(piece, error, clock, tally, holding)
        else:
            if row is None:
                with_effects.append(piece)
            else:
                piece.let_go()
                stopped.append((piece, row))
    return stopped, with_effects


def _step_with_effects(
    pieces: Sequence[Slice],
    clock: Clock,
    tally: Tally,
    holding: Holding,
    stop: Callable[[], bool],
) -> Sequence[Slice]:
    """Take runs through their effects, one by one, for as long as is fair; those left over."""
    ends_at = monotonic() + FAIR_SECONDS
    for number, piece in enumerate(pieces):
        if stop() or (number and monotonic() > ends_at):
            for left in pieces[number:]:
                left.let_go()
            return pieces[number:]
        effects = partial(step_through_effects, piece, clock, holding.next_step)
        _alone(piece, effects, clock, tally, holding)
    return ()


def execute_alone(claim: Claim, needs: Needs, clock: Clock, make: MakeSlice = Slice) -> WriteBack:
    """Execute one run without a batch; how it stopped, written.

    Raises:
        ClaimLost: the run is not ours any more.
        ConnectionLost: nobody knows what of it was written.
    """
    piece, row = _prepare(claim, needs, make)
    row = row or guarded(run_connection(), piece, partial(_start, piece))
    if row is None:
        return step_through_effects(piece, clock, lambda: None)
    return write_stopped(piece, row)


def _prepare(claim: Claim, needs: Needs, make: MakeSlice = Slice) -> Stopped | tuple[Slice, None]:
    """A slice; with its failure to be written where the run cannot even begin, and where it has
    cost too many workers already."""
    try:
        program = needs.program_for(claim)
        cursor = Cursor.from_json(claim.cursor) if claim.cursor else program.start()
        if not isinstance(claim.state, dict):
            raise NotJSON(f"The state of this run is no JSON object: {claim.state!r:.200}")
    except Exception as error:  # noqa: BLE001 (whatever is wrong with its rows, it is alone in it)
        piece = make(replace(claim, state={}), needs, NO_PROGRAM, NOWHERE)
        return piece, failed(piece, error)
    piece = make(claim, needs, program, cursor)
    if claim.rescues and claim.rescues > settings.MAX_RESCUES:
        poison = PoisonousRun(
            f"Its worker was lost {claim.rescues} times at this step. It is not tried again "
            f"by itself, because it may be what ends the worker."
        )
        return piece, failed(piece, poison)
    return piece, None


def _start(piece: Slice) -> WriteBack | None:
    with below(piece.claim.depth):
        return row_of(piece, piece.start())


def _lose(piece: Slice, error: Exception, clock: Clock, tally: Tally, holding: Holding) -> None:
    """Give up a run for now: it goes on from what the database holds of it."""
    logger.warning("%s", error)
    holding.let_go(piece.claim)
    give_back([piece.claim], suspect=True)
    tally.lost += 1


def _write_batch(stopped: Sequence[Stopped], clock: Clock, tally: Tally, holding: Holding) -> None:
    """Write many stopped runs with one statement; where the database refuses it, one by one."""

    def write_each() -> None:
        for piece, row in stopped:
            _alone(piece, partial(write_stopped, piece, row), clock, tally, holding)

    if len(stopped) == 1:
        write_each()  # and its history in the same statement
        return
    try:
        written = write_back([row for _piece, row in stopped])
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # noqa: BLE001 (told in the history of the run that is to blame)
        # One of them holds what cannot be stored; the others must not suffer for it.
        write_each()
        return
    for piece, _row in stopped:
        holding.let_go(piece.claim)
        tally.steps += piece.steps
    for row in written:
        _count(row, tally)
    tally.lost += len(stopped) - len(written)
    announce(written)


def _alone(
    piece: Slice, work: Callable[[], WriteBack], clock: Clock, tally: Tally, holding: Holding
) -> None:
    """Do ``work``, which writes one run, and count what came of it."""
    try:
        row = work()
    except ClaimLost as error:
        logger.info("%s", error)
        tally.lost += 1
    except ConnectionLost as error:
        _lose(piece, error, clock, tally, holding)
    else:
        _count(row, tally)
    holding.let_go(piece.claim)
    tally.steps += piece.steps
    piece.let_go()


def _count(row: WriteBack, tally: Tally) -> None:
    if row.waits:
        tally.listening += any(wait.look_since is not None for wait in row.waits)
    match row.status:
        case Status.DONE:
            tally.done += 1
        case Status.FAILED:
            tally.failed += 1
        case Status.PENDING:
            tally.yielded += 1
        case _:
            tally.parked += 1
