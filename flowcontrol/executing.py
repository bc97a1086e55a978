"""Executing claimed runs in batches.

The story of a batch (:func:`execute_claims`):

1. read what the runs need: programs, objects, payloads; a query each for the whole batch
2. step every run in memory for as long as its rows touch only its state
3. write those that came to a stop, in one statement
4. take the others through their effects, one by one
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any, Final

from django.db import DataError, IntegrityError, router, transaction
from django.utils import timezone

from flowcontrol import programs
from flowcontrol.announcing import announce
from flowcontrol.claiming import Claim, release, renew
from flowcontrol.compiling import ProgramPlan
from flowcontrol.conf import settings
from flowcontrol.cursor import Cursor
from flowcontrol.exceptions import AuthorError, ClaimLost, PoisonousRun
from flowcontrol.models import Firing, FlowRun, Status, load_objects
from flowcontrol.program import Program
from flowcontrol.slices import Clock, Limits, Needs, Slice
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
    """The claims of a batch that are still to be written; keeps their leases alive."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self._claims = {claim.id: claim for claim in claims}
        self._renewed_at = monotonic()

    def let_go(self, claim: Claim) -> None:
        self._claims.pop(claim.id, None)

    def keep(self) -> None:
        """Renew all leases when a third of their time has passed since they were renewed."""
        if monotonic() - self._renewed_at > settings.LEASE_SECONDS / 3:
            renew(list(self._claims.values()))
            self._renewed_at = monotonic()

    def give_back(self, now: datetime) -> None:
        """Release what was not written, for any other worker."""
        release(list(self._claims.values()), now)
        self._claims.clear()


def read_needs(claims: Sequence[Claim], now: datetime) -> Needs:
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
    )


def execute_claims(claims: Sequence[Claim], clock: Clock) -> Tally:
    """Execute claimed runs until each of them has been written, lost or given back."""
    holding = Holding(claims)
    tally = Tally(executed=len(claims))
    try:
        in_memory, with_effects = _step_in_memory(claims, clock)
        _write_batch(in_memory, tally, holding)
        for piece in with_effects:
            _step_with_effects(piece, clock, tally, holding)
    finally:
        # Only when something beyond a single run went wrong: a dead connection, a keyboard.
        holding.give_back(clock())
    return tally


def _step_in_memory(claims: Sequence[Claim], clock: Clock) -> tuple[list[Slice], list[Slice]]:
    """Step each run as far as it goes without effects: those to write, and those to go on."""
    needs = read_needs(claims, clock())
    to_write: list[Slice] = []
    with_effects: list[Slice] = []
    for claim in claims:
        piece = _prepare(claim, needs)
        if piece.to_write is None and piece.guarded(piece.start) == "effect":
            with_effects.append(piece)
        else:
            to_write.append(piece)
    return to_write, with_effects


def _prepare(claim: Claim, needs: Needs) -> Slice:
    """A slice; its failure is ready to be written where the run cannot even begin, and where it
    has cost too many workers already."""
    try:
        program = needs.program_for(claim)
        cursor = Cursor.from_json(claim.cursor) if claim.cursor else program.start()
    except AuthorError as error:
        piece = Slice(claim, needs, NO_PROGRAM, Cursor(()))
        piece.fail(error)
        assert piece.to_write is not None
        piece.to_write.cursor = claim.cursor
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


def _write_batch(pieces: Sequence[Slice], tally: Tally, holding: Holding) -> None:
    """Write many stopped runs with one statement; where the database refuses it, one by one."""
    rows = [piece.to_write for piece in pieces if piece.to_write is not None]
    try:
        with transaction.atomic(using=router.db_for_write(FlowRun)):
            written = write_back(rows)
    except (DataError, IntegrityError):
        # One of them holds what this database cannot store; the others must not suffer for it.
        written = set()
        for piece in pieces:
            written |= _write_alone(piece)
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


def _write_alone(piece: Slice) -> set[int]:
    row = piece.to_write
    assert row is not None
    try:
        return write_back([row])
    except (DataError, IntegrityError) as error:
        piece.forget_progress()
        piece.fail(error)
        assert piece.to_write is not None
        return write_back([piece.to_write])


def _step_with_effects(piece: Slice, clock: Clock, tally: Tally, holding: Holding) -> None:
    try:
        piece.step_through_effects(clock, holding)
    except ClaimLost as error:
        logger.info("%s", error)
        tally.lost += 1
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
