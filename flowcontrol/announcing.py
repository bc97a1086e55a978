"""Telling the host site, by signals, what became of runs: after the commit, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.db import router, transaction
from django.dispatch import Signal

from flowcontrol import signals
from flowcontrol.dispatching import announce_due
from flowcontrol.models import FlowRun, Status
from flowcontrol.writing import WriteBack


def announce(rows: Iterable[WriteBack]) -> None:
    """Tell of runs that a worker has written."""
    for row in rows:
        match row.status:
            case Status.DONE:
                tell(signals.flowrun_done, row.claim.id, outcome=str(row.outcome))
            case Status.FAILED:
                tell(signals.flowrun_failed, row.claim.id, reason=row.reason)
            case Status.WAITING:
                tell(signals.flowrun_parked, row.claim.id)
            case Status.PENDING:
                announce_due(row.queue)


def tell(signal: Signal, run_id: int, **told: Any) -> None:
    """Send a signal about a run when the open transaction has committed.

    A receiver that raises is logged by Django and stops nobody else.
    """
    if signal.has_listeners(FlowRun):
        send = partial(signal.send_robust, FlowRun, run_id=run_id, **told)
        transaction.on_commit(send, using=router.db_for_write(FlowRun), robust=True)
