"""What an author designs: the flow, the rows of its draft, and its published versions."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _
from treebeard.mp_tree import MP_Node

from flowcontrol.models.locks import lock_rows

if TYPE_CHECKING:
    from django.contrib.auth.models import Group
    from django.contrib.contenttypes.models import ContentType


def new_uid() -> str:
    """A name for a row that is never given again: 16 hexadecimal digits."""
    return secrets.token_hex(8)


class WhenFull(models.TextChoices):
    """What happens to a start when a limit of the flow is reached."""

    REFUSE = "refuse", _("Refuse the new run")
    QUEUE = "queue", _("Queue the new run until there is room")
    RESTART = "restart", _("Cancel the oldest run and start the new one")


class FlowQuerySet(models.QuerySet["Flow"]):
    def active(self, now: datetime) -> FlowQuerySet:
        """Flows that may be started at ``now``."""
        return self.filter(active_at__lte=now, live_version__isnull=False)

    def startable_by(self, user: Any) -> FlowQuerySet:
        """Flows that ``user`` may start by hand: the right to start, and a group if some are named.

        Superusers may start all. Whether a flow is on and published is another question.
        """
        if not user.has_perm("flowcontrol.start_flow"):
            return self.none()
        if user.is_superuser:
            return self
        named = Flow.starters.through._default_manager.filter(flow=models.OuterRef("pk"))
        # A project's own user model may know no groups.
        groups = user.groups.all() if hasattr(user, "groups") else ()
        return self.filter(~models.Exists(named) | models.Exists(named.filter(group__in=groups)))

    def locked(self, pk: int) -> Flow:
        """The flow, locked until the end of the transaction that is open.

        The lock serialises edits of the draft, publishing, and starts that are counted against a
        limit: without it two of them would read the same state and both act on it.
        """
        return lock_rows(self.filter(pk=pk)).get()


class Flow(models.Model):  # type: ignore[django-manager-missing]  # treebeard has no types
    """A flow: its switch, its limits, and which version new runs execute."""

    name = models.CharField(_("name"), max_length=200)
    slug = models.SlugField(
        _("short name"),
        max_length=100,
        unique=True,
        help_text=_("Names the flow in code, files and addresses."),
    )
    description = models.TextField(_("description"), blank=True)
    live_version = models.ForeignKey(
        "flowcontrol.FlowVersion",
        verbose_name=_("live version"),
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    draft_revision = models.PositiveIntegerField(_("draft revision"), default=1, editable=False)
    active_at = models.DateTimeField(
        _("active since"),
        null=True,
        blank=True,
        help_text=_("Runs can be started from this moment on. Empty: the flow is off."),
    )
    paused_at = models.DateTimeField(
        _("paused since"),
        null=True,
        blank=True,
        help_text=_("While paused, runs can be started but none is executed."),
    )
    content_type: models.ForeignKey[ContentType | None, ContentType | None] = models.ForeignKey(
        "contenttypes.ContentType",
        verbose_name=_("object type"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text=_("What a run of this flow is about. Empty: runs need no object."),
    )
    condition = models.TextField(
        _("keep condition"),
        blank=True,
        help_text=_("Checked whenever a run goes on. Once it is false, the run ends as obsolete."),
    )
    state_schema = models.JSONField(
        _("state schema"),
        null=True,
        blank=True,
        help_text=_("A JSON Schema that the state of each run has to follow."),
    )
    identity = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("acts as"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text=_("The user whose rights decide what actions on objects may change."),
    )
    starters: models.ManyToManyField[Group, Any] = models.ManyToManyField(
        "auth.Group",
        verbose_name=_("may be started by hand by"),
        blank=True,
        related_name="+",
        help_text=_("None: everybody who may start flows."),
    )
    max_concurrent = models.PositiveIntegerField(
        _("runs at the same time"), default=0, help_text=_("0: no limit.")
    )
    max_per_object = models.PositiveIntegerField(
        _("runs per object, ever"), default=0, help_text=_("0: no limit.")
    )
    max_concurrent_per_object = models.PositiveIntegerField(
        _("runs per object at the same time"), default=0, help_text=_("0: no limit.")
    )
    when_full = models.CharField(
        _("when a limit is reached"),
        max_length=10,
        choices=WhenFull.choices,
        default=WhenFull.REFUSE,
    )
    retention = models.DurationField(
        _("keep finished runs for"),
        null=True,
        blank=True,
        help_text=_("Empty: finished runs are kept."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = FlowQuerySet.as_manager()

    class Meta:
        ordering = ("name", "pk")
        verbose_name = _("flow")
        verbose_name_plural = _("flows")
        permissions = (
            ("publish_flow", _("Can publish and roll back flows")),
            ("start_flow", _("Can start flows by hand")),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def has_limits(self) -> bool:
        return bool(self.max_concurrent or self.max_per_object or self.max_concurrent_per_object)

    def may_be_started_by(self, user: Any) -> bool:
        """Whether ``user`` may start runs of this flow by hand."""
        return Flow.objects.filter(pk=self.pk).startable_by(user).exists()

    def is_active(self, now: datetime) -> bool:
        """Whether new runs may be started at ``now``."""
        return self.active_at is not None and self.active_at <= now


class FlowAction(MP_Node):  # type: ignore[misc]
    """One row of a draft. The tree of a flow hangs under one hidden root row.

    Never edited here: :mod:`flowcontrol.drafting` holds the lock that the tree needs.
    """

    flow = models.ForeignKey(
        Flow, verbose_name=_("flow"), on_delete=models.CASCADE, related_name="actions"
    )
    uid = models.CharField(_("id"), max_length=36, default=new_uid, editable=False)
    action = models.CharField(
        _("action"),
        max_length=100,
        blank=True,
        help_text=_("Name of the action type; empty for the hidden root."),
    )
    config = models.JSONField(_("configuration"), default=dict, blank=True)
    schema_version = models.PositiveIntegerField(_("schema version"), default=1)
    label = models.CharField(_("label"), max_length=200, blank=True)
    note = models.TextField(_("note"), blank=True)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    retry = models.JSONField(_("retry"), null=True, blank=True)
    on_error = models.JSONField(_("on error"), null=True, blank=True)
    result_key = models.CharField(_("save result as"), max_length=100, blank=True)

    class Meta:
        verbose_name = _("action")
        verbose_name_plural = _("actions")
        constraints = (
            models.UniqueConstraint(fields=("flow", "uid"), name="flowcontrol_action_uid"),
            models.UniqueConstraint(
                fields=("flow",), condition=models.Q(depth=1), name="flowcontrol_one_root"
            ),
        )

    def __str__(self) -> str:
        return self.label or self.action or "root"


class FlowVersion(models.Model):
    """What was published: an immutable document. Runs execute a version, never the draft."""

    flow = models.ForeignKey(
        Flow, verbose_name=_("flow"), on_delete=models.CASCADE, related_name="versions"
    )
    number = models.PositiveIntegerField(_("number"))
    document = models.JSONField(_("document"))
    checksum = models.CharField(_("checksum"), max_length=64)
    note = models.TextField(_("note"), blank=True)
    created_at = models.DateTimeField(_("published"), auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("published by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    class Meta:
        ordering = ("flow", "-number")
        verbose_name = _("version")
        verbose_name_plural = _("versions")
        default_permissions = ("view",)
        constraints = (
            models.UniqueConstraint(fields=("flow", "number"), name="flowcontrol_version_number"),
        )

    def __str__(self) -> str:
        return f"{self.flow} v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write a new version.

        Raises:
            TypeError: the version is there already; a version never changes.
        """
        if not self._state.adding:
            raise TypeError("A published version never changes; publish another one.")
        super().save(*args, **kwargs)
