"""The Django app: registers the built-in actions and finds those of the project."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _

REGISTERING: Final = (
    "flowcontrol.checks",
    "flowcontrol.firing",
    "flowcontrol.actions.control",
    "flowcontrol.actions.lists",
    "flowcontrol.actions.errors",
    "flowcontrol.actions.state",
    "flowcontrol.actions.waiting",
    "flowcontrol.actions.messaging",
    "flowcontrol.actions.webhooks",
    "flowcontrol.actions.objects",
    "flowcontrol.actions.events",
    "flowcontrol.actions.flows",
    "flowcontrol.actions.parallel",
    "flowcontrol.actions.people",
)
"""Modules that are imported for what importing them does: each registers something."""


class FlowcontrolConfig(AppConfig):
    name = "flowcontrol"
    verbose_name = _("Automations")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        for module in REGISTERING:
            import_module(module)
        autodiscover_modules("flows")
