"""Low latency: telling workers, after a commit, that something is due.

The rows are the truth and every sweep asks them, so a dispatcher is never needed for anything to
happen; it makes it happen sooner. ``FLOWCONTROL_DISPATCHER`` names a class by its dotted path.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Protocol

from django.db import transaction
from django.utils.module_loading import import_string

from flowcontrol.conf import settings
from flowcontrol.dialect import run_connection

logger = logging.getLogger("flowcontrol")


class Dispatcher(Protocol):
    """What ``FLOWCONTROL_DISPATCHER`` names: a class that is called without arguments."""

    def runs_are_due(self, queue: str) -> None:
        """Something of ``queue`` is due, and committed. Called once per transaction and queue."""


def announce_due(queue: str = "") -> None:
    """Tell the dispatcher, when the open transaction has committed, that something is due."""
    path = settings.DISPATCHER
    if path is None:
        return
    connection = run_connection()
    told = {getattr(entry[1], "args", None) for entry in connection.run_on_commit}
    if (path, queue) not in told:
        transaction.on_commit(partial(_tell, path, queue), using=connection.alias, robust=True)


def _tell(path: str, queue: str) -> None:
    try:
        dispatcher: Dispatcher = import_string(path)()
        dispatcher.runs_are_due(queue)
    except Exception:
        logger.exception("The dispatcher failed; the next sweep finds what is due.")
