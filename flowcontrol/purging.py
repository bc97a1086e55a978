"""Deleting what has a history: refused, unless somebody who may purges the history with it."""

from __future__ import annotations

from typing import Any, Final

from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flowcontrol.conf import settings
from flowcontrol.exceptions import DeleteRefused
from flowcontrol.models import Flow, FlowRun, FlowVersion, HumanTask, Outcome, RunEvent, RunWait
from flowcontrol.recording import end_runs

PURGE: Final = "flowcontrol.purge_flowrun"

BATCH: Final = 1000


def delete_flow(flow: Flow, *, user: Any = None, purge: bool = False) -> None:
    """Delete a flow with its draft, its versions and its trigger rows.

    Args:
        flow: nothing of it is left afterwards.
        user: who asks; ``None`` for code, which may do everything.
        purge: its runs and their history go as well. Runs that are open are canceled first, so
            that whoever waits for them hears of it.

    Raises:
        DeleteRefused: it has runs, and ``purge`` is false or the user lacks the right to purge.
    """
    try:
        with transaction.atomic():
            # Starts that are counted against a limit, edits and publishing wait until it is gone.
            locked = Flow.objects.locked(flow.pk)
            count = FlowRun.objects.for_flow(locked).count()
            if count:
                _check_purge(locked, count, user, purge)
                _purge_runs(locked, user)
            FlowVersion.objects.filter(flow=locked).delete()
            locked.delete()
    except (models.ProtectedError, IntegrityError) as error:
        # A start takes no lock where there are no limits; the database notices it for us.
        raise DeleteRefused(
            _("“%(flow)s” was started at this very moment; please try again.") % {"flow": flow}
        ) from error


def _check_purge(flow: Flow, count: int, user: Any, purge: bool) -> None:
    if not purge:
        raise DeleteRefused(
            ngettext(
                "“%(flow)s” has %(count)d run. It can be deleted only together with its history.",
                "“%(flow)s” has %(count)d runs. It can be deleted only together with their "
                "history.",
                count,
            )
            % {"flow": flow, "count": count}
        )
    if user is not None and not user.has_perm(PURGE):
        raise DeleteRefused(
            _("“%(flow)s” has runs, and you may not delete runs and their history.")
            % {"flow": flow}
        )


def _purge_runs(flow: Flow, user: Any) -> None:
    runs = FlowRun.objects.for_flow(flow).order_by()
    end_runs(
        runs.open(), Outcome.CANCELED, _("The flow is being deleted."), settings.CLOCK(), user=user
    )
    # Level by level and in batches: Django would read every row before it deletes the first.
    for dependent in (RunEvent, RunWait, HumanTask):
        dependent._base_manager.filter(run__flow=flow).delete()
    FlowRun.objects.filter(parent_run__flow=flow).update(parent_run=None)
    while keys := list(runs.values_list("pk", flat=True)[:BATCH]):
        FlowRun.objects.filter(pk__in=keys).delete()
