"""The life of a run: its statuses, and the one table that says which follows which.

``docs/explanation/life-of-a-run.md`` draws this table; a test compares the two.
"""

from __future__ import annotations

from typing import Final

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """Where a run is in its life."""

    PENDING = "pending", _("Pending")
    QUEUED = "queued", _("Queued")
    RUNNING = "running", _("Running")
    WAITING = "waiting", _("Waiting")
    PAUSED = "paused", _("Paused")
    FAILED = "failed", _("Failed")
    DONE = "done", _("Done")


class Outcome(models.TextChoices):
    """How a run that is done came to its end."""

    COMPLETE = "complete", _("Complete")
    ABORTED = "aborted", _("Stopped by the flow")
    CANCELED = "canceled", _("Canceled")
    OBSOLETE = "obsolete", _("Obsolete")
    ERRORED = "errored", _("Closed after an error")
    REFUSED = "refused", _("Refused")


ALLOWED_FROM: Final[dict[Status, frozenset[Status]]] = {
    Status.PENDING: frozenset(
        {Status.QUEUED, Status.RUNNING, Status.WAITING, Status.PAUSED, Status.FAILED}
    ),
    Status.QUEUED: frozenset({Status.PAUSED, Status.FAILED}),
    Status.RUNNING: frozenset({Status.PENDING, Status.WAITING}),
    Status.WAITING: frozenset({Status.RUNNING, Status.PAUSED}),
    Status.PAUSED: frozenset({Status.PENDING, Status.QUEUED, Status.RUNNING, Status.WAITING}),
    Status.FAILED: frozenset({Status.RUNNING}),
    Status.DONE: frozenset(
        {
            Status.PENDING,
            Status.QUEUED,
            Status.RUNNING,
            Status.WAITING,
            Status.PAUSED,
            Status.FAILED,
        }
    ),
}
"""Each status and those from which a run may come to it. Nothing leads out of ``done``."""

OPEN: Final = tuple(status for status in Status if status is not Status.DONE)
"""Every status of a run that is not over."""

HOLDS_A_SLOT: Final = (Status.PENDING, Status.RUNNING, Status.WAITING, Status.PAUSED)
"""Statuses that count towards the limits of a flow: neither queued nor failed runs do."""

CLAIMABLE: Final = (Status.PENDING, Status.WAITING)
"""Statuses of runs that a worker may claim as soon as they are due."""
