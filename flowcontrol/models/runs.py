"""What executes: runs, what they wait for, and what they have done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KT
from django.utils.translation import gettext_lazy as _

from flowcontrol.exceptions import TransitionRefused
from flowcontrol.models.flows import Flow, FlowVersion
from flowcontrol.models.lifecycle import (
    ALLOWED_FROM,
    CLAIMABLE,
    HOLDS_A_SLOT,
    OPEN,
    Outcome,
    Status,
)
from flowcontrol.models.references import object_reference

if TYPE_CHECKING:
    from flowcontrol.models.triggers import Firing


# As the index of open runs has it: SQLite uses a partial index only where its condition stands in
# the query word by word.
_NOT_DONE: Final = ~models.Q(status=RawSQL("'done'", ()))


class FlowRunQuerySet(models.QuerySet["FlowRun"]):
    def due(self, now: datetime) -> FlowRunQuerySet:
        """Runs that a worker may execute at ``now``."""
        return self.filter(status__in=CLAIMABLE, due__lte=now)

    def open(self) -> FlowRunQuerySet:
        """Runs that are not over."""
        return self.filter(status__in=OPEN)

    def holding_a_slot(self) -> FlowRunQuerySet:
        """Runs that count towards the limits of their flow.

        A run that was paused in the queue had no slot and has none now.
        """
        # A branch is part of the run that started it, which holds the slot.
        pauses = RunEvent.objects.filter(
            run=models.OuterRef("pk"), kind=EventKind.OPERATED, detail__did="pause"
        )
        was = pauses.order_by("-seq").values(was=KT("detail__was"))[:1]
        return (
            self.filter(_NOT_DONE, status__in=HOLDS_A_SLOT, root_uid="")
            .alias(paused_as=models.Subquery(was, output_field=models.TextField()))
            .exclude(status=Status.PAUSED, paused_as=Status.QUEUED)
        )

    def for_flow(self, flow: Flow) -> FlowRunQuerySet:
        """Runs of ``flow``, whatever version they execute."""
        return self.filter(flow=flow)

    def for_object(self, obj: models.Model) -> FlowRunQuerySet:
        """Runs about ``obj``."""
        return self.filter(**object_reference(obj))

    def move(self, to: Status, **changes: Any) -> int:
        """Change the status of those runs from which ``to`` may follow; how many there were.

        The condition is part of the UPDATE, so of two that decide at the same moment one loses.
        Leaving ``running`` from outside the worker takes the claim away, which is how a person's
        decision wins over a worker's.
        """
        changes.setdefault("claim_token", None)
        changes.setdefault("lease_until", None)
        return self.filter(status__in=ALLOWED_FROM[to]).update(status=to, **changes)


class FlowRun(models.Model):
    """One execution of one version.

    The columns from ``status`` on belong to :mod:`flowcontrol.claiming` and
    :mod:`flowcontrol.operating`; nobody assigns them and nobody calls a full ``save()``.
    """

    flow = models.ForeignKey(
        Flow, verbose_name=_("flow"), on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    version = models.ForeignKey(
        FlowVersion, verbose_name=_("version"), on_delete=models.PROTECT, related_name="runs"
    )
    parent_run = models.ForeignKey(
        "self",
        verbose_name=_("started by run"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="child_runs",
        db_index=False,
    )
    depth = models.PositiveSmallIntegerField(_("depth"), default=0)
    awaited_as = models.CharField(
        _("awaited as"),
        max_length=60,
        blank=True,
        help_text=_(
            "The group under which the run that started it waits for it; empty: it does not."
        ),
    )
    root_uid = models.CharField(
        _("branch"),
        max_length=36,
        blank=True,
        help_text=_("The row that this run executes, a branch of the run that started it."),
    )
    key = models.CharField(_("key"), max_length=200, null=True, blank=True)  # noqa: DJ001
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.PENDING
    )
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    content_type = models.ForeignKey(
        ContentType,
        verbose_name=_("object type"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    object_id = models.CharField(_("object"), max_length=255, null=True, blank=True)  # noqa: DJ001
    state = models.JSONField(_("state"), default=dict, blank=True)
    cursor = models.JSONField(_("position"), default=dict, blank=True)
    items = models.JSONField(_("lists in use"), default=dict, blank=True, editable=False)
    action_uid = models.CharField(_("stands at"), max_length=36, blank=True)
    due = models.DateTimeField(_("due"), null=True, blank=True)
    queue = models.CharField(_("queue"), max_length=50, blank=True, editable=False)
    wakeup = models.JSONField(_("woken by"), null=True, blank=True)
    claim_token = models.UUIDField(_("claim"), null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(_("claimed until"), null=True, blank=True, editable=False)
    rescues = models.PositiveIntegerField(_("rescues"), default=0, editable=False)
    attempts = models.PositiveIntegerField(_("attempts"), default=0, editable=False)
    visit = models.PositiveBigIntegerField(_("steps"), default=0, editable=False)
    seq = models.PositiveIntegerField(_("events"), default=0, editable=False)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("started by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
    )
    firing: models.ForeignKey[Firing | None, Firing | None] = models.ForeignKey(
        "flowcontrol.Firing",
        verbose_name=_("started by firing"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="runs",
        db_index=False,
    )
    created_at = models.DateTimeField(_("created"))
    done_at = models.DateTimeField(_("done"), null=True, blank=True)

    objects = FlowRunQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        permissions = (
            ("operate_flowrun", _("Can cancel, retry, pause and resume runs")),
            ("edit_state_flowrun", _("Can edit the state of runs")),
            ("reveal_secrets", _("Can see secrets in configurations")),
            ("purge_flowrun", _("Can delete runs and their history")),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("flow", "key"),
                condition=models.Q(key__isnull=False),
                name="flowcontrol_run_key",
            ),
        )
        indexes = (
            # What the claim orders by, and nothing else: 2.3 ms among a million sleepers.
            models.Index(
                fields=("flow", "due", "id"),
                condition=models.Q(status__in=("pending", "waiting"), due__isnull=False),
                name="flowcontrol_run_due",
            ),
            models.Index(
                fields=("lease_until",),
                condition=models.Q(claim_token__isnull=False),
                name="flowcontrol_run_lease",
            ),
            # What limits count: the open runs of a flow, and of one object in it.
            models.Index(
                fields=("flow", "content_type", "object_id"),
                condition=~models.Q(status="done"),
                name="flowcontrol_run_open",
            ),
            models.Index(
                fields=("flow", "id"),
                condition=models.Q(status="queued"),
                name="flowcontrol_run_queued",
            ),
            models.Index(
                fields=("flow", "id"),
                condition=models.Q(status="failed"),
                name="flowcontrol_run_failed",
            ),
            # Runs about nothing would stand in it, too, at each of their writes.
            models.Index(
                fields=("content_type", "object_id", "flow"),
                condition=models.Q(object_id__isnull=False),
                name="flowcontrol_run_object",
            ),
            models.Index(
                fields=("parent_run",),
                condition=models.Q(parent_run__isnull=False),
                name="flowcontrol_run_parent",
            ),
            models.Index(
                fields=("parent_run", "awaited_as"),
                condition=models.Q(parent_run__isnull=False) & ~models.Q(status="done"),
                name="flowcontrol_run_child_open",
            ),
            models.Index(
                fields=("flow", "done_at"),
                condition=models.Q(status="done"),
                name="flowcontrol_run_done",
            ),
            # Lists of one flow's runs, newest first; also serves the foreign key.
            models.Index(fields=("flow", "-id"), name="flowcontrol_run_flow"),
        )

    def __str__(self) -> str:
        return f"#{self.pk} {self.flow}"

    @property
    def content_object(self) -> models.Model | None:
        """The object the run is about, read now; ``None`` if it has none or it is gone."""
        if self.content_type is None or self.object_id is None:
            return None
        model = self.content_type.model_class()
        if model is None:
            return None
        return model._base_manager.filter(pk=self.object_id).first()

    @property
    def is_open(self) -> bool:
        return self.status != Status.DONE

    def require(self, to: Status) -> None:
        """Raise the error that names what was found instead of a status ``to`` may follow.

        Raises:
            TransitionRefused: from this run's status ``to`` is not possible.
        """
        current = Status(self.status)
        if current not in ALLOWED_FROM[to]:
            raise TransitionRefused(
                f"Run #{self.pk} is {current.value}"
                f"{f' ({self.outcome})' if self.outcome else ''}; from there it cannot become "
                f"{to.value}."
            )


class WaitKind(models.TextChoices):
    """What a waiting run waits for."""

    TIME = "time", _("A moment")
    EVENT = "event", _("A trigger")
    WAKE = "wake", _("Being woken from code")
    RETRY = "retry", _("The next attempt")
    CHILDREN = "children", _("Other runs")
    TASK = "task", _("A person")


class RunWait(models.Model):
    """One thing that a run waits for; written with the park, gone when the run goes on.

    ``trigger`` is the name of the trigger of an ``event``, and the group of ``children``.
    """

    run = models.ForeignKey(FlowRun, on_delete=models.CASCADE, related_name="waits")
    kind = models.CharField(_("kind"), max_length=10, choices=WaitKind.choices)
    trigger = models.CharField(_("trigger"), max_length=200, blank=True)
    content_type = models.ForeignKey(
        ContentType,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
    )
    object_id = models.CharField(_("object"), max_length=255, null=True, blank=True)  # noqa: DJ001
    until = models.DateTimeField(_("until"), null=True, blank=True)
    condition = models.TextField(_("condition"), blank=True)
    look_since = models.DateTimeField(
        _("firings since"),
        null=True,
        blank=True,
        help_text=_("Firings from then on have still to be looked at; empty: that is done."),
    )

    class Meta:
        verbose_name = _("wait")
        verbose_name_plural = _("waits")
        default_permissions = ("view",)
        indexes = (
            models.Index(
                fields=("trigger", "content_type", "object_id"),
                condition=models.Q(kind="event"),
                name="flowcontrol_wait_event",
            ),
            # Waits that began a moment ago: what fired meanwhile may have missed them.
            models.Index(
                fields=("id",),
                condition=models.Q(look_since__isnull=False),
                name="flowcontrol_wait_look",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.trigger}".strip()


class EventKind(models.TextChoices):
    """What a row of a run's history tells."""

    STARTED = "started", _("Started")
    STEPS = "steps", _("Steps")
    PARKED = "parked", _("Waiting")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")
    RETRY = "retry", _("Will be tried again")
    RESCUED = "rescued", _("Taken over from a lost worker")
    OPERATED = "operated", _("Changed by a person")
    WOKEN = "woken", _("Woken")


class RunEvent(models.Model):
    """One commit in a run's life: its steps in compact form, and how to undo it.

    ``steps`` is a list of ``[uid, phase, directive, microseconds, reads, note]`` (see
    :mod:`flowcontrol.history`); ``undo`` is the reverse patch of the state:
    ``{"set": {key: value before}, "remove": [key that was not there]}``.
    """

    run = models.ForeignKey(
        FlowRun, on_delete=models.CASCADE, related_name="events", db_index=False
    )
    seq = models.PositiveIntegerField(_("number"))
    at = models.DateTimeField(_("at"))
    kind = models.CharField(_("kind"), max_length=10, choices=EventKind.choices)
    steps = models.JSONField(_("steps"), null=True, blank=True)
    undo = models.JSONField(_("undo"), null=True, blank=True)
    detail = models.JSONField(_("detail"), null=True, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
    )
    reason = models.TextField(_("reason"), blank=True)

    class Meta:
        ordering = ("run", "seq")
        verbose_name = _("event")
        verbose_name_plural = _("events")
        default_permissions = ("view",)
        constraints = (
            models.UniqueConstraint(fields=("run", "seq"), name="flowcontrol_event_seq"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.seq})"

    def state_before(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state before this event, given the one after it."""
        before = dict(state)
        if self.undo:
            before.update(self.undo.get("set", {}))
            for key in self.undo.get("remove", ()):
                before.pop(key, None)
        return before
