"""Events: rows that wait for something to happen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from django.utils import timezone
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.expiry import (
    EXPIRY_HELP,
    EXPIRY_LABELS,
    EXPIRY_PROPERTIES,
    after_expiry,
    expiry,
    warn_of_no_expiry,
)
from flowcontrol.actions.waiting import as_moment, moment_after
from flowcontrol.actions.wording import shown, shown_duration
from flowcontrol.base import (
    BaseAction,
    Continue,
    Directive,
    Effects,
    RunHandle,
    SuspendAndRepeat,
)
from flowcontrol.durations import parse_duration
from flowcontrol.registry import OBJECT_SAVED, register_action, triggers

Config = Mapping[str, Any]


def _moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


@register_action
class WaitForTrigger(BaseAction):
    """Waits until a trigger fires; its result is the payload, or null if the time ran out."""

    name = "wait_for_trigger"
    verbose_name = _("Wait for trigger")
    description = _("Waits until something happens, for example until the order is paid.")
    group = _("Events")
    icon = "bell"
    effects: ClassVar[Effects] = "none"
    writes_json = True
    config_schema = {
        "type": "object",
        "properties": {
            "trigger": {"type": "string", "format": "trigger", "minLength": 1},
            "any_object": {"type": "boolean", "default": False},
            "condition": {"type": "string", "format": "expression"},
            "look_back": {"type": "string", "format": "duration"},
            **EXPIRY_PROPERTIES,
        },
        "required": ["trigger"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "trigger": _("Trigger"),
        "any_object": _("Of any object"),
        "condition": _("Only if"),
        "look_back": _("Also if it came within the last"),
        **EXPIRY_LABELS,
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "any_object": _("Otherwise only when it happens to the object of this run."),
        "condition": _("Can read trigger (what came with it), object and the state."),
        "look_back": _("Counts what happened before the run got here, once."),
        **EXPIRY_HELP,
    }
    computes_once = True

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        if run.memo is None:
            until = expiry(run, config)
            memo = {name: config.get(name) for name in ("trigger", "any_object", "condition")}
            memo["until"] = until and until.isoformat()
            look_back = timedelta(0)
            if config.get("look_back"):
                here = as_moment(run.now, timezone.get_default_timezone())
                length = parse_duration(config["look_back"])
                look_back = moment_after(here, duration=length) - here
            return self._wait(memo, look_back)
        if run.wakeup is not None and run.wakeup["by"] != "operator":
            return Continue(run.wakeup["data"])
        until = _moment(run.memo["until"])
        if run.wakeup is None and (until is None or run.now < until):
            return self._wait(run.memo)  # it was only tried again
        message = _now("“%(trigger)s” did not come in time.") % {"trigger": run.memo["trigger"]}
        return after_expiry(config, message)

    def _wait(self, memo: dict[str, Any], look_back: timedelta = timedelta(0)) -> SuspendAndRepeat:
        return SuspendAndRepeat(
            until=_moment(memo["until"]),
            for_event=memo["trigger"],
            any_object=bool(memo["any_object"]),
            condition=memo["condition"] or "",
            look_back=look_back,
            memo=memo,
        )

    def sentence(self, config: Config) -> str:
        told = _now("Wait for “%(trigger)s”") % {"trigger": _label(config.get("trigger", "…"))}
        if config.get("condition"):
            told = _now("%(wait)s if %(condition)s") % {
                "wait": told,
                "condition": config["condition"],
            }
        return _at_most(told, config)

    @classmethod
    def check_config(cls, config: Config) -> list[tuple[str, str, str]]:
        message = _now("If the trigger never fires, the run waits for ever.")
        return warn_of_no_expiry(config, message)


SHORTEST_INTERVAL: Final = timedelta(seconds=1)


@register_action
class WaitUntil(BaseAction):
    """Waits until a condition holds; its result is true, or null if the time ran out."""

    name = "wait_until"
    verbose_name = _("Wait until")
    description = _("Waits until a condition is true, and looks again every now and then.")
    group = _("Time")
    icon = "clock"
    effects: ClassVar[Effects] = "none"
    writes_json = True
    config_schema = {
        "type": "object",
        "properties": {
            "condition": {"type": "string", "format": "expression", "minLength": 1},
            "interval": {"type": "string", "format": "duration", "default": "PT5M"},
            **EXPIRY_PROPERTIES,
        },
        "required": ["condition"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "condition": _("Condition"),
        "interval": _("Look again every"),
        **EXPIRY_LABELS,
        "on_timeout": _("If it does not become true"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "interval": _(
            "If the site watches the object’s type, the run also looks whenever the object is "
            "saved."
        ),
        **EXPIRY_HELP,
    }
    computes_once = True

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        memo = run.memo
        if memo is None:
            until = expiry(run, config)
            memo = {name: config[name] for name in ("condition", "interval")}
            memo["until"] = until and until.isoformat()
        until = _moment(memo["until"])
        if run.evaluate(memo["condition"]):
            return Continue(True)
        by_operator = run.wakeup is not None and run.wakeup["by"] == "operator"
        if by_operator or (until is not None and run.now >= until):
            message = _now("“%(condition)s” did not become true in time.")
            return after_expiry(config, message % {"condition": memo["condition"]})
        here = as_moment(run.now, timezone.get_default_timezone())
        again = moment_after(here, duration=parse_duration(memo["interval"]))
        again = max(again, run.now + SHORTEST_INTERVAL)
        return SuspendAndRepeat(
            until=again if until is None else min(again, until),
            for_event=OBJECT_SAVED if obj is not None else None,
            memo=memo,
        )

    def sentence(self, config: Config) -> str:
        told = _now("Wait until %(condition)s") % {"condition": config.get("condition", "…")}
        return _at_most(told, config)

    @classmethod
    def check_config(cls, config: Config) -> list[tuple[str, str, str]]:
        message = _now("If the condition never becomes true, the run waits for ever.")
        return warn_of_no_expiry(config, message)


def _label(name: Any) -> Any:
    found = triggers.find(name) if isinstance(name, str) else None
    return found.label if found is not None else shown(name)


def _at_most(told: str, config: Config) -> str:
    if config.get("timeout"):
        told = _now("%(wait)s, at most %(length)s") % {
            "wait": told,
            "length": shown_duration(config["timeout"]),
        }
    if config.get("until"):
        told = _now("%(wait)s, at most until %(moment)s") % {
            "wait": told,
            "moment": config["until"],
        }
    return told
