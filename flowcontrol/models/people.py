"""Questions to people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.utils.translation import gettext_lazy as _

from flowcontrol.models.runs import FlowRun

ANSWER_ANY = "flowcontrol.answer_any_humantask"


class TaskStatus(models.TextChoices):
    """Where a task is in its life."""

    OPEN = "open", _("Open")
    ANSWERED = "answered", _("Answered")
    EXPIRED = "expired", _("Expired")
    WITHDRAWN = "withdrawn", _("Withdrawn")


class HumanTaskQuerySet(models.QuerySet["HumanTask"]):
    def open(self) -> HumanTaskQuerySet:
        """Tasks that wait for an answer."""
        return self.filter(status=TaskStatus.OPEN)

    def for_user(self, user: Any) -> HumanTaskQuerySet:
        """Tasks that ``user`` may answer, or might have answered."""
        if not user.is_active:
            return self.none()
        if user.has_perm(ANSWER_ANY):
            return self.all()
        # Each by itself: joined, a task with many candidates would come once for each of them.
        named = HumanTask.objects.filter(users=user)
        in_groups = HumanTask.objects.filter(groups__in=user.groups.all())
        return self.filter(
            models.Q(pk__in=named.order_by().values("pk"))
            | models.Q(pk__in=in_groups.order_by().values("pk"))
            | models.Q(permission__in=user.get_all_permissions())
        )

    def close(self, to: TaskStatus) -> int:
        """Close those of these tasks that are open; how many there were."""
        return self.open().update(status=to)

    def give_up(self, now: datetime) -> None:
        """Close those of these tasks that are open: as expired if their time is over."""
        self.filter(due__lte=now).close(TaskStatus.EXPIRED)
        self.close(TaskStatus.WITHDRAWN)


class HumanTask(models.Model):
    """A question that a run waits for.

    Those in ``users``, those in one of ``groups``, those who have ``permission``
    (``app_label.codename``), and whoever may answer every task, may answer it. ``schema`` is the
    JSON Schema of the form (empty: none), ``buttons`` are ``{"name": …, "label": …}``. ``answers``
    lists who answered what and when: ``{"by", "at", "button", "data"}``.
    """

    run = models.ForeignKey(FlowRun, on_delete=models.CASCADE, related_name="tasks")
    action_uid = models.CharField(_("asked at"), max_length=36)
    title = models.CharField(_("title"), max_length=200)
    text = models.TextField(_("text"), blank=True)
    schema = models.JSONField(_("form"), default=dict, blank=True)
    buttons = models.JSONField(_("buttons"), default=list, blank=True)
    users: models.ManyToManyField[Any, Any] = models.ManyToManyField(
        settings.AUTH_USER_MODEL, verbose_name=_("users"), blank=True, related_name="+"
    )
    groups: models.ManyToManyField[Any, Any] = models.ManyToManyField(
        Group, verbose_name=_("groups"), blank=True, related_name="+"
    )
    permission = models.CharField(_("permission"), max_length=200, blank=True)
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

    objects = HumanTaskQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        permissions = (("answer_any_humantask", _("Can answer every task")),)
        constraints = (
            # A run stands at one place, so it waits for one answer.
            models.UniqueConstraint(
                fields=("run",),
                condition=models.Q(status="open"),
                name="flowcontrol_task_one_open",
            ),
        )
        indexes = (
            models.Index(
                fields=("due", "id"),
                condition=models.Q(status="open"),
                name="flowcontrol_task_open",
            ),
            models.Index(
                fields=("permission",),
                condition=~models.Q(permission=""),
                name="flowcontrol_task_right",
            ),
        )

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.status == TaskStatus.OPEN
