"""Building blocks of the test app, for tests whose flows run in other processes.

Tests that stay in one process make their own action types and register them for a while.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flowcontrol.base import BaseAction, Continue, Directive, RunHandle
from flowcontrol.registry import register_action, register_trigger
from tests.testapp.models import Parcel

parcel_weighed = register_trigger(
    "testapp.parcel_weighed",
    model=Parcel,
    label="A parcel was weighed",
    payload_schema={
        "type": "object",
        "properties": {"kilos": {"type": "integer", "minimum": 0}},
        "required": ["kilos"],
    },
)


@register_action
class AcceptParcel(BaseAction):
    """Leaves one row behind for each time it took effect, named after its step."""

    name = "testapp.accept_parcel"
    verbose_name = "Accept a parcel"
    effects = "database"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        return Continue(Parcel.objects.create(label=run.step_key).pk)


@register_action
class CallStation(BaseAction):
    """An outside call that takes a while and leaves a trace even if nobody records it."""

    name = "testapp.call_station"
    verbose_name = "Call the station"
    effects = "external"
    config_schema = {
        "type": "object",
        "properties": {"seconds": {"type": "number", "minimum": 0, "default": 0}},
        "additionalProperties": False,
    }

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        Parcel.objects.create(label=f"called {run.step_key}")
        time.sleep(config["seconds"])
        return None
