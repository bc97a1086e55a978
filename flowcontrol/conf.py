"""Every setting of flowcontrol, its type and its default, read late.

``from flowcontrol.conf import settings``; ``settings.LEASE_SECONDS`` reads
``FLOWCONTROL_LEASE_SECONDS`` from the project's settings at that moment, so ``override_settings``
works. ``docs/reference/settings.md`` describes each one; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

Clock = Callable[[], datetime]
"""Tells the time, as an aware datetime."""

DEFAULTS: Final[dict[str, Any]] = {
    "BATCH_SIZE": 500,
    "CLOCK": "django.utils.timezone.now",
    "CONTENT_TYPES": None,
    "DISABLE_DEFAULT_FILTERS": False,
    "DISPATCHER": None,
    "EXPOSED_FIELDS": None,
    "FIRING_RETENTION_DAYS": 30,
    "HISTORY": "steps",
    "HISTORY_STEPS": 100,
    "LEASE_SECONDS": 300,
    "MAX_HOT_LOOPS": 10_000,
    "MAX_RESCUES": 3,
    "MAX_STATE_BYTES": 1_000_000,
    "MAX_START_DEPTH": 20,
    "MAX_STEP_SECONDS": 3600,
    "SECRETS": {},
    "STEP_BUDGET": 10_000,
    "SWEEP_RUNS": 20_000,
    "SWEEP_SECONDS": 50,
    "TEMPLATE_FILTERS": (),
    "WEBHOOK_HOSTS": None,
    "WEBHOOK_MAX_BYTES": 500_000,
    "WEBHOOK_NETWORKS": (),
    "WATCHED_MODELS": (),
    "WORKER_POLL_SECONDS": 1.0,
}


class Settings:
    """The project's ``FLOWCONTROL_…`` settings, or their defaults."""

    BATCH_SIZE: int
    DISABLE_DEFAULT_FILTERS: bool
    DISPATCHER: str | None
    FIRING_RETENTION_DAYS: float
    CONTENT_TYPES: Sequence[str] | None
    EXPOSED_FIELDS: Mapping[str, Sequence[str]] | None
    HISTORY: str
    HISTORY_STEPS: int
    LEASE_SECONDS: float
    MAX_HOT_LOOPS: int
    MAX_RESCUES: int
    MAX_STATE_BYTES: int
    MAX_START_DEPTH: int
    MAX_STEP_SECONDS: float
    SECRETS: Mapping[str, str] | Callable[[str], str | None] | str
    STEP_BUDGET: int
    SWEEP_RUNS: int
    SWEEP_SECONDS: float
    TEMPLATE_FILTERS: Sequence[str]
    WEBHOOK_HOSTS: Sequence[str] | None
    WEBHOOK_MAX_BYTES: int
    WEBHOOK_NETWORKS: Sequence[str]
    WATCHED_MODELS: Sequence[str]
    WORKER_POLL_SECONDS: float

    def __getattr__(self, name: str) -> Any:
        if name not in DEFAULTS:
            raise AttributeError(f"flowcontrol has no setting FLOWCONTROL_{name}.")
        return getattr(django_settings, f"FLOWCONTROL_{name}", DEFAULTS[name])

    @property
    def CLOCK(self) -> Clock:  # noqa: N802 (a setting)
        """The callable that tells the time by which runs are due: an aware datetime."""
        clock = getattr(django_settings, "FLOWCONTROL_CLOCK", DEFAULTS["CLOCK"])
        if isinstance(clock, str):
            clock = import_string(clock)
        if not callable(clock):
            raise ImproperlyConfigured("FLOWCONTROL_CLOCK must name a callable.")
        return clock  # type: ignore[no-any-return]


settings: Final = Settings()
