"""Executing claimed runs in batches.

The story of a batch (:func:`execute_claims`):

1. read what the runs need: programs, objects, payloads; a query each for the whole batch
2. step every run in memory for as long as its rows touch only its state
3. write those that came to a stop, in one statement
4. take the others through their effects, one by one
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, OperationalError
from django.utils import timezone

from flowcontrol import programs
from flowcontrol.announcing import announce
from flowcontrol.claiming import Claim, release, renew
from flowcontrol.compiling import ProgramPlan
from flowcontrol.conf import settings
from flowcontrol.cursor import Cursor
from flowcontrol.dialect import run_connection
from flowcontrol.exceptions import ClaimLost, ConnectionLost, NotJSON, PoisonousRun
from flowcontrol.models import Firing, Status, load_objects
from flowcontrol.program import Program
from flowcontrol.slices import NOWHERE, Clock, Limits, Needs, Slice
from flowcontrol.writing import WriteBack, write_back

logger = logging.getLogger("flowcontrol")

NO_PROGRAM: Final = Program({}, None, ProgramPlan(None, None, None, ()))
"""Stands in for the program of a run that has none it could execute."""


@dataclass(slots=True)
class Tally:
    """What a batch, or a whole sweep, came to. Counts of runs, but for ``steps``."""

    executed: int = 0
    steps: int = 0
    done: int = 0
    parked: int = 0
    failed: int = 0
    yielded: int = 0
    lost: int = 0
    rescued: int = 0
    promoted: int = 0
    matched: int = 0

    def add(self, other: Tally) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Holding:
    """The claims of a batch that are still to be written; keeps their leases alive.

    A thread with a connection of its own renews them, because the step that takes long is the one
    that does not come round to it. It stops doing so for a step that takes longer than
    ``FLOWCONTROL_MAX_STEP_SECONDS``: a worker that hangs must lose what it holds.
    """

    def __init__(self, claims: Sequence[Claim]) -> None:
        self._claims = {claim.id: claim for claim in claims}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._step_began = monotonic()
        self._lease = settings.LEASE_SECONDS
        self._longest_step = settings.MAX_STEP_SECONDS
        self._thread: threading.Thread | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the leases alive while the block lasts.

        Inside somebody's transaction there is no thread: it could not see the rows.
        """
        if not run_connection().in_atomic_block:
            self._thread = threading.Thread(target=self._renew, daemon=True, name="leases")
            self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            if self._thread is not None:
                self._thread.join()

    def let_go(self, claim: Claim) -> None:
        with self._lock:
            self._claims.pop(claim.id, None)

    def next_step(self) -> None:
        """A step begins: it has the longest step time before it."""
        self._step_began = monotonic()

    def give_back(self, now: datetime) -> None:
        """Release what was not written; what cannot be released now, a sweep rescues later."""
        with self._lock:
            left = list(self._claims.values())
            self._claims.clear()
        give_back(left, now)

    def _renew(self) -> None:
        while not self._over.wait(self._lease / 3):
            if monotonic() - self._step_began > self._longest_step:
                continue
            with self._lock:
                claims = list(self._claims.values())
            try:
                renew(claims)
            except DatabaseError as error:
                logger.warning("Leases could not be renewed this time: %s", error)
        run_connection().close()


def give_back(claims: Sequence[Claim], now: datetime, *, suspect: bool = False) -> None:
    """Release claims over a connection that may have broken a moment ago."""
    if not claims:
        return
    connection = run_connection()
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    try:
        release(claims, now, suspect=suspect)
    except (OperationalError, InterfaceError) as error:
        logger.warning("%s run(s) are left to be rescued: %s", len(claims), error)


def read_needs(claims: Sequence[Claim], now: datetime, queue: str | None = None) -> Needs:
    """Programs, objects and trigger payloads for ``claims``."""
    firing_ids = {claim.firing_id for claim in claims if claim.firing_id is not None}
    payloads: dict[int | None, Any] = {}
    if firing_ids:
        firings = Firing.objects.filter(pk__in=firing_ids).order_by()
        payloads.update(firings.values_list("pk", "payload"))
    return Needs(
        programs=programs.load(claim.version_id for claim in claims),
        objects=load_objects((claim.content_type_id, claim.object_id) for claim in claims),
        payloads=payloads,
        now=now,
        today=timezone.localtime(now).date(),
        limits=Limits.from_settings(),
        queue=queue,
    )


def execute_claims(
    claims: Sequence[Claim],
    clock: Clock,
    queue: str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Tally:
    """Execute claimed runs until each of them has been written, lost or given back.

    With ``queue`` a run that comes to a step of another queue is handed over to that one. ``stop``
    is asked before each run that has effects to make; once it is true, the rest is given back.
    """
    tally = Tally(executed=len(claims))
    holding = Holding(claims)
    try:
        with holding.kept():
            in_memory, with_effects = _step_in_memory(claims, clock, tally, holding, queue)
            _write_batch(in_memory, clock, tally, holding)
            for piece in with_effects:
                if stop():
                    break
                effects = partial(piece.step_through_effects, clock, holding.next_step)
                _alone(piece, effects, clock, tally, holding)
    finally:
        # Left are runs only where the batch was stopped, or where something beyond a single run
        # went wrong: a dead connection, a keyboard.
        holding.give_back(clock())
    return tally


def _step_in_memory(
    claims: Sequence[Claim], clock: Clock, tally: Tally, holding: Holding, queue: str | None
) -> tuple[list[Slice], list[Slice]]:
    """Step each run as far as it goes without effects: those to write, and those to go on."""
    needs = read_needs(claims, clock(), queue)
    to_write: list[Slice] = []
    with_effects: list[Slice] = []
    for claim in claims:
        piece = _prepare(claim, needs)
        try:
            goes_on = piece.to_write is None and piece.guarded(piece.start) == "effect"
        except ConnectionLost as error:
            _lose(piece, error, clock, tally, holding)
        else:
            if goes_on:
                with_effects.append(piece)
            else:
                piece.drop_steps()
                to_write.append(piece)
    return to_write, with_effects


def _lose(piece: Slice, error: Exception, clock: Clock, tally: Tally, holding: Holding) -> None:
    """Give up a run for now: it goes on from what the database holds of it."""
    logger.warning("%s", error)
    holding.let_go(piece.claim)
    give_back([piece.claim], clock(), suspect=True)
    tally.lost += 1


def _prepare(claim: Claim, needs: Needs) -> Slice:
    """A slice; its failure is ready to be written where the run cannot even begin, and where it
    has cost too many workers already."""
    try:
        program = needs.program_for(claim)
        cursor = Cursor.from_json(claim.cursor) if claim.cursor else program.start()
        if not isinstance(claim.state, dict):
            raise NotJSON(f"The state of this run is no JSON object: {claim.state!r:.200}")
    except Exception as error:  # noqa: BLE001 (whatever is wrong with its rows, it is alone in it)
        piece = Slice(replace(claim, state={}), needs, NO_PROGRAM, NOWHERE)
        piece.fail(error)
        return piece
    piece = Slice(claim, needs, program, cursor)
    if claim.rescues > settings.MAX_RESCUES:
        piece.fail(
            PoisonousRun(
                f"Its worker was lost {claim.rescues} times at this step. It is not tried again "
                f"by itself, because it may be what ends the worker."
            )
        )
    return piece


def _write_batch(pieces: Sequence[Slice], clock: Clock, tally: Tally, holding: Holding) -> None:
    """Write many stopped runs with one statement; where the database refuses it, one by one."""
    rows = [piece.to_write for piece in pieces if piece.to_write is not None]
    try:
        written = write_back(rows)
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # noqa: BLE001 (told in the history of the run that is to blame)
        # One of them holds what cannot be stored; the others must not suffer for it.
        for piece in pieces:
            _alone(piece, piece.write_stopped, clock, tally, holding)
        return
    for piece in pieces:
        row = piece.to_write
        holding.let_go(piece.claim)
        tally.steps += piece.steps
        if row is not None and row.claim.id in written:
            piece.written = row
            _count(row, tally)
        else:
            tally.lost += 1
    announce([piece.written for piece in pieces if piece.written is not None])


def _alone(
    piece: Slice, work: Callable[[], None], clock: Clock, tally: Tally, holding: Holding
) -> None:
    """Do ``work``, which writes one run, and count what came of it."""
    try:
        work()
    except ClaimLost as error:
        logger.info("%s", error)
        tally.lost += 1
    except ConnectionLost as error:
        _lose(piece, error, clock, tally, holding)
    else:
        if piece.written is not None:
            _count(piece.written, tally)
    holding.let_go(piece.claim)
    tally.steps += piece.steps


def _count(row: WriteBack, tally: Tally) -> None:
    match row.status:
        case Status.DONE:
            tally.done += 1
        case Status.FAILED:
            tally.failed += 1
        case Status.PENDING:
            tally.yielded += 1
        case _:
            tally.parked += 1
