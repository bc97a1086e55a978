"""The state of the whole engine: one row."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import models
from django.utils.translation import gettext_lazy as _

BEAT: Final = timedelta(seconds=10)
"""How exactly the last sweep is known: noting each one would be a write a second when idle."""


class EngineStateQuerySet(models.QuerySet["EngineState"]):
    def current(self) -> EngineState:
        """The row; as it would be, where nobody has written one yet."""
        return self.filter(pk=1).first() or EngineState(pk=1)

    def note_sweep(self, now: datetime) -> None:
        """Write down that a sweep has ended, at most once in :data:`BEAT`."""
        state = self.current()
        if state.swept_at is None or abs(now - state.swept_at) >= BEAT:
            self.update_or_create(pk=1, defaults={"swept_at": now})


class EngineState(models.Model):
    """Whether everything is paused, and when a sweep was here last."""

    paused_at = models.DateTimeField(_("paused since"), null=True, blank=True)
    swept_at = models.DateTimeField(_("last sweep"), null=True, blank=True)

    objects = EngineStateQuerySet.as_manager()

    class Meta:
        verbose_name = _("engine")
        verbose_name_plural = _("engine")
        default_permissions = ()

    def __str__(self) -> str:
        return "paused" if self.paused_at else "running"
