"""Holding claims while their runs are executed: renewing their leases, giving back what is left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from django.db import DatabaseError, InterfaceError, OperationalError

from flowcontrol.claiming import Claim, release, renew
from flowcontrol.conf import settings
from flowcontrol.dialect import run_connection

logger = logging.getLogger("flowcontrol")


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

    def give_back(self) -> set[int]:
        """Release what was not written, as far as it is still ours; the ids of that.

        What cannot be released now, a sweep rescues later.
        """
        with self._lock:
            left = list(self._claims.values())
            self._claims.clear()
        return give_back(left)

    def _renew(self) -> None:
        has_renewed = False
        while not self._over.wait(self._lease / 3):
            if monotonic() - self._step_began > self._longest_step:
                continue
            with self._lock:
                claims = list(self._claims.values())
            has_renewed = True
            try:
                renew(claims)
            except DatabaseError as error:
                logger.warning("Leases could not be renewed this time: %s", error)
        if has_renewed:  # a thread that merely asks for its connection makes one
            run_connection().close()


def give_back(claims: Sequence[Claim], *, suspect: bool = False) -> set[int]:
    """Release claims over a connection that may have broken a moment ago; see :func:`release`."""
    if not claims:
        return set()
    connection = run_connection()
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    try:
        return release(claims, suspect=suspect)
    except (OperationalError, InterfaceError) as error:
        logger.warning("%s run(s) are left to be rescued: %s", len(claims), error)
        return set()
