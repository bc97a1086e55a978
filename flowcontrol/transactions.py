"""Transactions around a write: one of its own, or part of the one that is open, and whose?"""

from __future__ import annotations

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
