"""When a wait runs out, and what the run does then: shared by all rows that wait for others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.waiting import as_moment, moment_after
from flowcontrol.base import (
    Abort,
    ActionFailed,
    Continue,
    Directive,
    FlowDirective,
    RunHandle,
)
from flowcontrol.durations import parse_duration

Config = Mapping[str, Any]

EXPIRY_PROPERTIES: Final[Mapping[str, Any]] = {
    "timeout": {"type": "string", "format": "duration"},
    "until": {"type": "string", "format": "expression"},
    "on_timeout": {
        "type": "string",
        "enum": ["continue", "leave", "break", "abort", "fail"],
        "default": "continue",
    },
}
EXPIRY_LABELS: Final[Mapping[str, Any]] = {
    "timeout": _("At most for"),
    "until": _("At most until"),
    "on_timeout": _("If nothing comes"),
    "on_timeout=continue": _("go on (the result is empty)"),
    "on_timeout=leave": _("return to the parent action"),
    "on_timeout=break": _("leave the branch"),
    "on_timeout=abort": _("stop the flow"),
    "on_timeout=fail": _("fail"),
}
EXPIRY_HELP: Final[Mapping[str, Any]] = {
    "timeout": _("Empty: without limit."),
    "until": _("An expression that gives a moment, for example object.departure."),
}


def expiry(run: RunHandle, config: Config) -> datetime | None:
    """The moment at which the wait that begins now runs out; ``None``: never.

    Raises:
        ConfigError: the moment is none, or beyond the calendar.
    """
    zone = timezone.get_default_timezone()
    ends = []
    if config.get("timeout"):
        here = as_moment(run.now, zone)
        ends.append(moment_after(here, duration=parse_duration(config["timeout"])))
    if config.get("until"):
        ends.append(as_moment(run.evaluate(config["until"]), zone))
    return min(ends, default=None)


def after_expiry(config: Config, message: str) -> Directive:
    """What the row answers when nothing has come in time.

    Raises:
        ActionFailed: its author wants that.
    """
    match config.get("on_timeout", "continue"):
        case "leave":
            return FlowDirective.LEAVE
        case "break":
            return FlowDirective.BREAK
        case "abort":
            return Abort(message)
        case "fail":
            raise ActionFailed(message, ["Timeout", "TimeoutError"])
    return Continue(None)


def warn_of_no_expiry(config: Config, message: str) -> list[tuple[str, str, str]]:
    """The warning for a wait that may last for ever."""
    if config.get("timeout") or config.get("until"):
        return []
    return [("warning", "timeout", message)]
