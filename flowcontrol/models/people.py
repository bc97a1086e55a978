"""Questions to people."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from flowcontrol.models.runs import FlowRun


class TaskStatus(models.TextChoices):
    """Where a task is in its life."""

    OPEN = "open", _("Open")
    ANSWERED = "answered", _("Answered")
    EXPIRED = "expired", _("Expired")
    WITHDRAWN = "withdrawn", _("Withdrawn")


class HumanTask(models.Model):
    """A question that a run waits for.

    ``candidates`` says who may answer:
    ``{"users": [username], "groups": [name], "permission": "app_label.codename"}``.
    ``answers`` lists who answered what and when.
    """

    run = models.ForeignKey(FlowRun, on_delete=models.CASCADE, related_name="tasks")
    action_uid = models.CharField(_("asked at"), max_length=36)
    title = models.CharField(_("title"), max_length=200)
    text = models.TextField(_("text"), blank=True)
    schema = models.JSONField(_("form"), default=dict, blank=True)
    buttons = models.JSONField(_("buttons"), default=list, blank=True)
    candidates = models.JSONField(_("candidates"), default=dict, blank=True)
    due = models.DateTimeField(_("due"), null=True, blank=True)
    status = models.CharField(
        _("status"), max_length=10, choices=TaskStatus.choices, default=TaskStatus.OPEN
    )
    answers = models.JSONField(_("answers"), default=list, blank=True)
    created_at = models.DateTimeField(_("asked"))
    answered_at = models.DateTimeField(_("answered"), null=True, blank=True)
    answered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("answered by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    class Meta:
        ordering = ("-pk",)
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        permissions = (("answer_any_humantask", _("Can answer every task")),)
        indexes = (
            models.Index(
                fields=("due", "id"),
                condition=models.Q(status="open"),
                name="flowcontrol_task_open",
            ),
        )

    def __str__(self) -> str:
        return self.title
