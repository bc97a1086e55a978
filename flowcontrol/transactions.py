"""Transactions around a write: one of its own, or part of the one that is open, and whose?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from django.db import router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flowcontrol.models import FlowRun


def run_alias() -> str:
    """The alias of the database that runs live in."""
    return router.db_for_write(FlowRun)


def in_foreign_transaction() -> bool:
    """Whether somebody else's transaction is open: not a test's, and not our own.

    ``durable=True`` refuses to nest, but looks away from the transaction a ``TestCase`` holds.
    """
    connection = transaction.get_connection(run_alias())
    if not connection.in_atomic_block:
        return False
    try:
        with transaction.atomic(using=connection.alias, durable=True):
            return False
    except RuntimeError:
        return True


@contextmanager
def last_statement(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Around the last statement of the open transaction, where only a commit may follow.

    PostgreSQL's drivers send BEGIN with the first statement. Where nothing has been sent yet, this
    one is all there is: it commits by itself, and two ways to the server and back are spared.
    """
    session = connection.connection
    if connection.vendor != "postgresql" or session is None or session.info.transaction_status:
        yield
        return
    was, session.autocommit = session.autocommit, True
    try:
        yield
    finally:
        if not session.closed:
            session.autocommit = was


class one_transaction:  # noqa: N801 (reads as the verb it stands for)
    """Write together, or not at all: in the open transaction, or in one of its own.

    What ``atomic(savepoint=False)`` does, at a fraction of its cost inside a transaction: what
    fails here takes the open transaction with it.
    """

    __slots__ = ("_atomic", "_connection")

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._atomic: transaction.Atomic | None = None

    def __enter__(self) -> None:
        if not self._connection.in_atomic_block:
            self._atomic = transaction.atomic(using=self._connection.alias)
            self._atomic.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._atomic is not None:
            self._atomic.__exit__(kind, error, traceback)
        elif kind is not None:
            self._connection.needs_rollback = True
