"""Transactions around a step: whose is the one that is open?"""

from __future__ import annotations

from django.db import router, transaction

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
