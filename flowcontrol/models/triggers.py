"""What starts runs: trigger rows made in admin, and each occurrence of a trigger."""

from __future__ import annotations

from datetime import datetime

from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils.translation import gettext_lazy as _

from flowcontrol.models.flows import Flow


class TriggerMode(models.TextChoices):
    """What a trigger row does with a firing."""

    START = "start", _("Start a run")
    RESTART = "restart", _("Send the object's run to a row, or start one")
    WAKE = "wake", _("Only wake runs that wait for it")


class TriggerQuerySet(models.QuerySet["Trigger"]):
    def active(self, now: datetime) -> TriggerQuerySet:
        """Rows that act on what fires at ``now``."""
        return self.filter(active_at__lte=now)


class Trigger(models.Model):
    """This trigger starts this flow, on this condition."""

    name = models.CharField(_("trigger"), max_length=200, db_index=True)
    flow = models.ForeignKey(
        Flow, verbose_name=_("flow"), on_delete=models.CASCADE, related_name="triggers"
    )
    condition = models.TextField(
        _("condition"), blank=True, help_text=_("Empty: always. Can read object and trigger.")
    )
    active_at = models.DateTimeField(
        _("active since"), null=True, blank=True, help_text=_("Empty: the row is off.")
    )
    mode = models.CharField(
        _("what it does"), max_length=10, choices=TriggerMode.choices, default=TriggerMode.START
    )
    action_uid = models.CharField(
        _("at row"),
        max_length=36,
        blank=True,
        help_text=_("The row to go to; empty: the first."),
    )

    objects = TriggerQuerySet.as_manager()

    class Meta:
        ordering = ("name", "pk")
        verbose_name = _("trigger")
        verbose_name_plural = _("triggers")

    def __str__(self) -> str:
        return f"{self.name} → {self.flow}"


class Firing(models.Model):
    """One occurrence of a trigger, written in the transaction of the code that fired it.

    ``results`` tells what came of it, one entry per trigger row or woken run:
    ``{"trigger": pk, "did": "started" | "restarted" | "woke" | "refused" | "false" | "error",
    "run": pk, "reason": text}``.
    """

    name = models.CharField(_("trigger"), max_length=200)
    content_type = models.ForeignKey(
        ContentType,
        verbose_name=_("object type"),
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
    )
    object_id = models.CharField(_("object"), max_length=255, null=True, blank=True)  # noqa: DJ001
    payload = models.JSONField(_("payload"), default=dict, blank=True)
    state = models.JSONField(_("start state"), null=True, blank=True)
    at = models.DateTimeField(_("at"))
    depth = models.PositiveSmallIntegerField(
        _("depth"),
        default=0,
        editable=False,
        help_text=_("How many runs started one another before one of them fired this."),
    )
    results = models.JSONField(_("results"), default=list, blank=True)
    rows_matched = models.BooleanField(
        default=False,
        editable=False,
        help_text=_("The trigger rows are done; runs that wait are still to be looked for."),
    )
    matched_at = models.DateTimeField(_("matched"), null=True, blank=True)

    class Meta:
        ordering = ("-pk",)
        verbose_name = _("firing")
        verbose_name_plural = _("firings")
        default_permissions = ("view", "delete")
        indexes = (
            models.Index(
                fields=("id",),
                condition=models.Q(matched_at__isnull=True),
                name="flowcontrol_firing_unmatched",
            ),
            # The buffer for waits that begin after their event came.
            models.Index(
                fields=("name", "content_type", "object_id", "at"), name="flowcontrol_firing_recent"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.at:%Y-%m-%d %H:%M:%S})"
