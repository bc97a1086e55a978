"""Who changes drafts: each change, to be taken back and told of, and who is at it now."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from flowcontrol.models.flows import Flow


class ChangeState(models.TextChoices):
    """What of a change can still be done."""

    DONE = "done", _("Can be undone")
    UNDONE = "undone", _("Can be done again")
    TOLD = "told", _("Only to be read")


class DraftChange(models.Model):
    """One change of a draft: what undoes it, and what is told of it.

    ``patch`` is that of :mod:`flowcontrol.patches`. ``rows`` names the rows it was about, as they
    were called then: ``[["<uid>", "Log late"], …]``, the first few; ``count`` is how many.
    """

    flow = models.ForeignKey(
        Flow, on_delete=models.CASCADE, related_name="draft_changes", db_index=False
    )
    revision = models.PositiveIntegerField(_("makes revision"))
    verb = models.CharField(_("what"), max_length=20)
    rows = models.JSONField(_("rows"), default=list)
    count = models.PositiveIntegerField(_("number of rows"), default=0)
    patch = models.JSONField(_("patch"), null=True)
    state = models.CharField(
        _("state"), max_length=10, choices=ChangeState.choices, default=ChangeState.DONE
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
    )
    at = models.DateTimeField(_("at"))

    class Meta:
        ordering = ("flow", "revision")
        verbose_name = _("change of a draft")
        verbose_name_plural = _("changes of drafts")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("flow", "revision"), name="flowcontrol_change_revision"
            ),
        )

    def __str__(self) -> str:
        return f"{self.flow} r{self.revision} {self.verb}"


class DraftEditor(models.Model):
    """Somebody who has a draft open; the page says so again and again while it is."""

    flow = models.ForeignKey(
        Flow, on_delete=models.CASCADE, related_name="draft_editors", db_index=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    seen_at = models.DateTimeField(_("seen"))

    class Meta:
        verbose_name = _("editor of a draft")
        verbose_name_plural = _("editors of drafts")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("flow", "user"), name="flowcontrol_draft_editor"),
        )

    def __str__(self) -> str:
        return f"{self.user} at {self.flow}"
