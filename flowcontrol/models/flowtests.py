"""What a flow is expected to do: named tests, which are tried whenever it is published."""

from __future__ import annotations

from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils.translation import gettext_lazy as _

from flowcontrol.models.flows import Flow


class FlowTest(models.Model):
    """A trial with expectations. :mod:`flowcontrol.flowtests` saves and runs it.

    ``expectations`` is ``{"outcome": "complete", "state": {key: value}, "reached": [uid],
    "not_reached": [uid]}``, all of it optional; ``result`` what came of it last,
    ``{"status": "passed" | "failed" | "broken", "problems": [text], "reached": [uid],
    "checksum": text}``.
    """

    flow = models.ForeignKey(
        Flow, verbose_name=_("flow"), on_delete=models.CASCADE, related_name="tests"
    )
    name = models.CharField(_("name"), max_length=200)
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
    state = models.JSONField(_("start state"), default=dict, blank=True)
    payload = models.JSONField(_("trigger data"), default=dict, blank=True)
    answers = models.JSONField(_("answers"), default=dict, blank=True)
    starts_at = models.DateTimeField(
        _("starts at"), null=True, blank=True, help_text=_("Empty: whenever it is run.")
    )
    expectations = models.JSONField(_("expectations"), default=dict, blank=True)
    result = models.JSONField(_("last result"), null=True, blank=True, editable=False)
    tried_at = models.DateTimeField(_("last run"), null=True, blank=True, editable=False)

    class Meta:
        ordering = ("flow", "name")
        verbose_name = _("test of a flow")
        verbose_name_plural = _("tests of flows")
        # Who may see, change or publish a flow may do so with its tests.
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("flow", "name"), name="flowcontrol_test_name"),
        )

    def __str__(self) -> str:
        return self.name
