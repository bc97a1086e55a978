"""Errors: rows that expect that something goes wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.control import VARIABLE
from flowcontrol.actions.wording import shown
from flowcontrol.base import (
    Abort,
    ActionFailed,
    BaseAction,
    Break,
    Directive,
    Effects,
    Enter,
    FlowDirective,
    Leave,
    RunHandle,
)
from flowcontrol.registry import register_action

Config = Mapping[str, Any]


class _ErrorAction(BaseAction):
    group = _("Errors")
    effects: ClassVar[Effects] = "none"
    writes_json = True


@register_action
class Try(_ErrorAction):
    """Runs the rows inside; the On error rows after it handle what fails there."""

    name = "try"
    verbose_name = _("Try")
    description = _("Runs the rows inside it. If one fails, an “On error” after it takes over.")
    icon = "shield"
    has_children = True

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        return FlowDirective.ENTER


@register_action
class OnError(_ErrorAction):
    """Runs the rows inside when a row of the Try before it has failed."""

    name = "on_error"
    verbose_name = _("On error")
    description = _("Runs the rows inside it when a row of the “Try” before it has failed.")
    icon = "alert"
    has_children = True
    handles_errors = True
    follows = ("try", "on_error")
    config_schema = {
        "type": "object",
        "properties": {
            "errors": {"type": "array", "items": {"type": "string", "minLength": 1}, "default": []},
            "message": {"type": "string", "default": ""},
            "var_name": {**VARIABLE, "default": "error"},
        },
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "errors": _("Only these errors"),
        "message": _("Only if the message contains"),
        "var_name": _("Name of the error"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "errors": _("Names of error classes, for example SMTPException. Empty: all."),
        "message": _("Empty: whatever it says."),
        "var_name": _(
            "The rows inside can read it: its type, its message, and the row that failed."
        ),
    }

    def handles(self, names: Collection[str], message: str, config: Config) -> bool:
        wanted = config.get("errors") or ()
        part = config.get("message") or ""
        return (not wanted or not set(wanted).isdisjoint(names)) and part.lower() in message.lower()

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        if run.memo is None:
            # Reached without an error: the Try before it is switched off.
            return FlowDirective.CONTINUE
        told = {name: run.memo[name] for name in ("type", "message", "row")}
        return Enter(names={config.get("var_name") or "error": told})

    def sentence(self, config: Config) -> str:
        wanted = shown(config.get("errors")) or _now("any error")
        if config.get("message"):
            return _now("On %(errors)s with “%(message)s”") % {
                "errors": wanted,
                "message": shown(config["message"]),
            }
        return _now("On %(errors)s") % {"errors": wanted}


@register_action
class Always(_ErrorAction):
    """Runs the rows inside whichever way the Try before it is left."""

    name = "always"
    verbose_name = _("Always")
    description = _(
        "Runs the rows inside it after the “Try” before it, whether that failed or not, and also "
        "when the run leaves it early or stops."
    )
    icon = "anchor"
    has_children = True
    runs_always = True
    follows = ("try", "on_error")

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        return Enter(memo=run.memo)

    def return_from_children(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        match run.memo:
            case ["leave", target]:
                return Leave(target)
            case ["break", target]:
                return Break(target)
            case ["abort", reason]:
                return Abort(reason)
            case ["error", error]:
                raise ActionFailed(error["message"], error["names"], kind=error["type"])
        return FlowDirective.CONTINUE


@register_action
class Fail(_ErrorAction):
    """Fails here, with a message; a Try around it can handle that."""

    name = "fail"
    verbose_name = _("Fail")
    description = _("Fails here with a message, as if an action had gone wrong.")
    icon = "alert"
    config_schema = {
        "type": "object",
        "properties": {
            "message": {"type": "string", "format": "template", "minLength": 1, "maxLength": 1000}
        },
        "required": ["message"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {"message": _("Message")}

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        raise ActionFailed(run.render(config["message"]))

    def sentence(self, config: Config) -> str:
        return _now("Fail: %(message)s") % {"message": config.get("message", "…")}
