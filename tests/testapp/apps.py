from __future__ import annotations

from django.apps import AppConfig


class TestAppConfig(AppConfig):
    """An app that uses flowcontrol, without migrations: its tables are made from the models."""

    name = "tests.testapp"
    label = "testapp"
    verbose_name = "Ground handling"
