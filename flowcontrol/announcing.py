"""Telling the host site, by signals, what became of runs: after the commit, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from django.db import router, transaction
from django.dispatch import Signal

from flowcontrol import signals
from flowcontrol.dispatching import announce_due
from flowcontrol.models import FlowRun, Status
from flowcontrol.writing import WriteBack

_OF_WRITES: Final = (signals.flowrun_done, signals.flowrun_failed, signals.flowrun_parked)


def announce(rows: Iterable[WriteBack]) -> None:
    """Tell of runs that a worker has written."""
    # Asked once for the batch: mostly nobody listens, and the answer takes as long as the telling.
    is_heard = any(signal.has_listeners(FlowRun) for signal in _OF_WRITES)
    for row in rows:
        status = row.status
        if status == Status.PENDING:
            announce_due(row.queue)
        elif not is_heard:
            continue
        elif status == Status.DONE:
            tell(signals.flowrun_done, row.claim.id, outcome=str(row.outcome))
        elif status == Status.FAILED:
            tell(signals.flowrun_failed, row.claim.id, reason=row.reason)
        elif status == Status.WAITING:
            tell(signals.flowrun_parked, row.claim.id)


def tell(signal: Signal, run_id: int, **told: Any) -> None:
    """Send a signal about a run when the open transaction has committed.

    A receiver that raises is logged by Django and stops nobody else.
    """
    if signal.has_listeners(FlowRun):
        send = partial(signal.send_robust, FlowRun, run_id=run_id, **told)
        transaction.on_commit(send, using=router.db_for_write(FlowRun), robust=True)
