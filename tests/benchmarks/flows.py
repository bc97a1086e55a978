"""Building blocks that do as little as an action of their kind can do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flowcontrol.base import BaseAction, Directive, RunHandle
from flowcontrol.registry import register_action, register_trigger
from tests.testapp.models import Parcel

pinged = register_trigger("benchmarks.pinged", label="A ping, with the time it was sent")


@register_action
class Insert(BaseAction):
    """One row through the ORM."""

    name = "benchmarks.insert"
    effects = "database"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        Parcel.objects.create(label=run.step_key)
        return None


@register_action
class InsertTogether(Insert):
    """The same, in one transaction with its neighbours."""

    name = "benchmarks.insert_together"
    groupable = True


@register_action
class Nothing(BaseAction):
    """No effect at all, and yet a commit of its own."""

    name = "benchmarks.nothing"
    effects = "database"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        return None


@register_action
class Wait(BaseAction):
    """What a call to the outside costs: 20 ms of waiting."""

    name = "benchmarks.wait"
    effects = "external"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        time.sleep(0.020)
        return None


@register_action
class NoteTime(BaseAction):
    """When it ran, by the clock on the wall."""

    name = "benchmarks.note_time"
    effects = "none"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        run.state["began"] = time.time()
        return None
