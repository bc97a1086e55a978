"""Runs that a row starts and waits for: flows of their own, and branches.

The row gives them a group (``FlowRun.awaited_as``) and parks for it; when one of them ends or fails
it is asked again (:mod:`flowcontrol.parents`) and looks at them here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models
from django.utils.translation import gettext as _

from flowcontrol import signals
from flowcontrol.announcing import tell
from flowcontrol.base import RunHandle
from flowcontrol.cursor import Cursor, Frame
from flowcontrol.dispatching import announce_due
from flowcontrol.models import Flow, FlowRun, Outcome, Status
from flowcontrol.models.locks import lock_rows
from flowcontrol.models.runs import FlowRunQuerySet
from flowcontrol.recording import end_runs
from flowcontrol.starting import create_flowrun


@dataclass(frozen=True, slots=True)
class Children:
    """How many runs of a group there are in each condition.

    ``failed`` wait for a person to repair them, ``broken`` ended in another way than complete.
    """

    open: int
    failed: int
    complete: int
    broken: int

    @property
    def ended(self) -> int:
        return self.complete + self.broken

    @property
    def running(self) -> int:
        """Those that will go on by themselves."""
        return self.open - self.failed


def start_child(
    run: RunHandle,
    flow: Flow | str,
    obj: models.Model | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    group: str = "",
    continue_after: datetime | None = None,
) -> FlowRun:
    """Start a run of another flow from inside an action.

    With ``group`` the action can wait for it: it answers
    ``SuspendAndRepeat(for_children=group)`` and is asked again when one of the group ends or
    fails. ``run.step_key`` makes a good group. ``continue_after`` (aware) is when it begins, by
    default now. Only for actions with ``database`` effects.

    Raises:
        StartRefused: with the reason.
    """
    return create_flowrun(
        flow,
        obj,
        state=state,
        user=run.user,
        parent_run=FlowRun.objects.only("pk", "depth", "flow_id").get(pk=run.pk),
        awaited_as=group,
        continue_after=continue_after,
        now=run.now,
    )


def start_branch(run: RunHandle, uid: str, *, group: str, names: Mapping[str, Any]) -> int:
    """Start a run of this very version that executes the row ``uid`` and what is inside it.

    It begins with a copy of the state and can read the loop variables ``names``.
    """
    parent = FlowRun.objects.get(pk=run.pk)
    cursor = Cursor((Frame(uid, memo={"names": dict(names)}),))
    branch = FlowRun(
        flow_id=parent.flow_id,
        version_id=parent.version_id,
        parent_run=parent,
        depth=parent.depth,
        awaited_as=group,
        root_uid=uid,
        state=dict(run.state),
        cursor=cursor.to_json(),
        action_uid=uid,
        due=run.now,
        content_type_id=parent.content_type_id,
        object_id=parent.object_id,
        started_by_id=parent.started_by_id,
        firing_id=parent.firing_id,
        created_at=run.now,
    )
    FlowRun.objects.bulk_create([branch])  # without Django's signals, like any start
    tell(signals.flowrun_started, branch.pk)
    announce_due()
    return branch.pk


def look_at_children(run: RunHandle, group: str) -> Children:
    """How the runs of a group stand. What changes from now on, the run will be told of.

    Call it in the transaction that parks the run: from an action with ``database`` effects.
    """
    # First those that may end at this moment: whoever ends one locks it, and then its parent.
    list(lock_rows(children_of(run, group).open()).values_list("pk"))
    list(lock_rows(FlowRun.objects.filter(pk=run.pk)).values_list("pk"))
    counts = children_of(run, group).aggregate(
        open=models.Count("pk", filter=~models.Q(status=Status.DONE)),
        failed=models.Count("pk", filter=models.Q(status=Status.FAILED)),
        complete=models.Count("pk", filter=models.Q(outcome=Outcome.COMPLETE)),
        broken=models.Count(
            "pk", filter=models.Q(status=Status.DONE) & ~models.Q(outcome=Outcome.COMPLETE)
        ),
    )
    return Children(**counts)


def children_of(run: RunHandle, group: str) -> FlowRunQuerySet:
    """The runs of a group, in the order they were started."""
    return FlowRun.objects.filter(parent_run=run.pk, awaited_as=group).order_by("pk")


def cancel_children(run_pk: int, now: datetime, reason: str, *, groups: Sequence[str] = ()) -> int:
    """Cancel what a run has started to wait for it and is still open; how many runs."""
    children = FlowRun.objects.filter(parent_run=run_pk).exclude(awaited_as="").open()
    if groups:
        children = children.filter(awaited_as__in=groups)
    return end_runs(children.order_by("pk"), Outcome.CANCELED, reason, now)


def told_failure(run: RunHandle, group: str) -> str:
    """One sentence on the first run of a group that went wrong."""
    wrong = children_of(run, group).filter(
        models.Q(status=Status.FAILED) | models.Q(status=Status.DONE)
    )
    child = wrong.exclude(outcome=Outcome.COMPLETE).first()
    if child is None:
        return _("A run that this one waited for is gone.")
    how = child.get_outcome_display() or child.get_status_display()
    told = _("Run #%(pk)s of “%(flow)s” is: %(how)s.") % {
        "pk": child.pk,
        "flow": child.flow,
        "how": how,
    }
    return f"{told} {child.reason}".strip()
