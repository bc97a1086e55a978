"""Control: which rows run, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.wording import shown
from flowcontrol.base import (
    Abort,
    BaseAction,
    Break,
    Directive,
    Effects,
    Enter,
    FlowDirective,
    Leave,
    RunHandle,
)
from flowcontrol.exceptions import ConfigError
from flowcontrol.registry import register_action

Config = Mapping[str, Any]

_CONDITION = {"type": "string", "format": "expression", "minLength": 1}
VARIABLE: Final = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*$", "maxLength": 100}
"""The name of a loop variable."""

_TARGET = {"type": "string", "enum": ["parent", "loop"], "default": "parent"}


class ControlAction(BaseAction):
    """What the rows of this group share: they touch nothing."""

    group = _("Control")
    effects: ClassVar[Effects] = "none"
    writes_json = True


@register_action
class If(ControlAction):
    """Runs the rows inside when a condition holds."""

    name = "if"
    verbose_name = _("If")
    description = _("Runs the rows inside it only if a condition is true.")
    icon = "branch"
    has_children = True
    config_schema = {
        "type": "object",
        "properties": {"condition": _CONDITION},
        "required": ["condition"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {"condition": _("Condition")}

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        if run.evaluate(config["condition"]):
            return FlowDirective.ENTER
        return FlowDirective.CONTINUE

    def sentence(self, config: Config) -> str:
        return _now("If %(condition)s") % {"condition": config.get("condition", "…")}


@register_action
class ElseIf(If):
    """Asked when no row of the chain before it was taken."""

    name = "else_if"
    verbose_name = _("Else if")
    description = _("Checked when the If before it was not true.")
    follows = ("if", "else_if")

    def sentence(self, config: Config) -> str:
        return _now("Else, if %(condition)s") % {"condition": config.get("condition", "…")}


@register_action
class Else(ControlAction):
    """Taken when no row of the chain before it was."""

    name = "else"
    verbose_name = _("Else")
    description = _("Runs the rows inside it when no condition before it was true.")
    icon = "branch"
    has_children = True
    follows = ("if", "else_if")

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        return FlowDirective.ENTER


@register_action
class Group(ControlAction):
    """A titled block."""

    name = "group"
    verbose_name = _("Group")
    description = _("Holds rows together under a title.")
    icon = "folder"
    has_children = True
    config_schema = {
        "type": "object",
        "properties": {"title": {"type": "string", "maxLength": 200, "default": ""}},
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {"title": _("Title")}

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        return FlowDirective.ENTER

    def sentence(self, config: Config) -> str:
        return str(shown(config.get("title")) or self.verbose_name)


@register_action
class While(ControlAction):
    """Runs the rows inside again and again for as long as a condition holds."""

    name = "while"
    verbose_name = _("While")
    description = _("Repeats the rows inside it for as long as a condition is true.")
    icon = "loop"
    has_children = True
    is_loop = True
    config_schema = If.config_schema
    labels = If.labels

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        if run.evaluate(config["condition"]):
            return FlowDirective.ENTER
        return FlowDirective.CONTINUE

    def return_from_children(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        return self.run(run=run, obj=obj, config=config)

    def sentence(self, config: Config) -> str:
        return _now("While %(condition)s") % {"condition": config.get("condition", "…")}


@register_action
class For(ControlAction):
    """Counts from ``start`` up to ``end``, without it, as Python's ``range`` does."""

    name = "for"
    verbose_name = _("For")
    description = _("Repeats the rows inside it a number of times and counts along.")
    icon = "loop"
    has_children = True
    is_loop = True
    has_budget = False
    computes_once = True
    config_schema = {
        "type": "object",
        "properties": {
            "start": {"type": "integer", "default": 0},
            "end": {"type": "integer"},
            "step": {"type": "integer", "default": 1, "not": {"const": 0}},
            "var_name": VARIABLE,
        },
        "required": ["end"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "start": _("From"),
        "end": _("Up to, not including"),
        "step": _("In steps of"),
        "var_name": _("Name of the counter"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "end": _("From 0 up to 3 gives three rounds: 0, 1 and 2."),
        "step": _("Negative steps count down."),
        "var_name": _("The rows inside can read the count under this name."),
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        # JSON Schema takes 3.0 for an integer, and computed values often are such.
        start, end, step = int(config["start"]), int(config["end"]), int(config["step"])
        if step == 0:
            raise ConfigError("For cannot count in steps of 0.")
        rounds = range(start, end, step)
        if not rounds:
            return FlowDirective.CONTINUE
        # What was computed when the loop began stays: the rows inside may change its inputs.
        return self._round(start, end, step, config.get("var_name"))

    def return_from_children(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        if run.memo is None:
            # The run was sent into the block from outside: the loop begins now.
            return self.run(run=run, obj=obj, config=config)
        value, end, step, name = run.memo
        value += step
        if value < end if step > 0 else value > end:
            return self._round(value, end, step, name)
        return FlowDirective.CONTINUE

    def _round(self, value: int, end: int, step: int, name: str | None) -> Enter:
        return Enter(memo=[value, end, step, name], names={name: value} if name else None)

    def sentence(self, config: Config) -> str:
        return _now("For %(name)s from %(start)s up to %(end)s") % {
            "name": config.get("var_name") or "n",
            "start": shown(config.get("start", 0)),
            "end": shown(config.get("end", "…")),
        }


class _Exit(ControlAction):
    """Leave and Break: out of a block, on an optional condition."""

    config_schema = {
        "type": "object",
        "properties": {
            "condition": {"type": "string", "format": "expression"},
            "target": _TARGET,
        },
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "condition": _("Only if"),
        "target": _("Out of"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "condition": _("Empty: always."),
        "target": _("parent: the block that this row is in. loop: the nearest loop around it."),
    }

    def applies(self, run: RunHandle, config: Config) -> bool:
        condition = config.get("condition")
        return not condition or bool(run.evaluate(condition))

    def sentence(self, config: Config) -> str:
        if config.get("condition"):
            return _now("%(action)s if %(condition)s") % {
                "action": self.verbose_name,
                "condition": config["condition"],
            }
        return str(self.verbose_name)


@register_action
class ReturnToParent(_Exit):
    """Back to the block around it, which is asked again."""

    name = "leave"
    verbose_name = _("Return to parent action")
    description = _("Skips the rest of the block; a loop goes on with its next round.")
    icon = "up"

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        return Leave(config.get("target", "parent")) if self.applies(run, config) else None


@register_action
class LeaveBranch(_Exit):
    """Out of the block around it, to what follows the block."""

    name = "break"
    verbose_name = _("Leave branch")
    description = _("Ends the block it is in and goes on after it; a loop is ended.")
    icon = "exit"

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        return Break(config.get("target", "parent")) if self.applies(run, config) else None


@register_action
class StopFlow(ControlAction):
    """Ends the run, as aborted."""

    name = "stop"
    verbose_name = _("Stop flow")
    description = _("Ends the run here. It counts as stopped, not as complete.")
    icon = "stop"
    config_schema = {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "format": "template", "maxLength": 500, "default": ""}
        },
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {"reason": _("Reason")}
    help_texts: ClassVar[Mapping[str, Any]] = {"reason": _("Shown with the run.")}

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        return Abort(run.render(config.get("reason", "")))
