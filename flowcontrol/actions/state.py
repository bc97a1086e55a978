"""State: the author's own JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.wording import shown
from flowcontrol.base import BaseAction, Directive, Effects, FlowDirective, RunHandle
from flowcontrol.exceptions import ExpressionSyntaxError
from flowcontrol.expressions import compile_expression, to_json
from flowcontrol.registry import register_action
from flowcontrol.schemas import is_computed

Config = Mapping[str, Any]


def evaluated(value: Any, run: RunHandle) -> Any:
    """``value`` with every text in it, at any depth, replaced by what it gives as expression.

    All of them see the state as it was before the row.
    """
    if isinstance(value, str):
        return to_json(run.evaluate(value), where=repr(value))
    if isinstance(value, dict):
        return {key: evaluated(inner, run) for key, inner in value.items()}
    if isinstance(value, list):
        return [evaluated(inner, run) for inner in value]
    return value


def check_expressions(value: Any, field: str) -> list[tuple[str, str, str]]:
    """What is wrong with the expressions among the texts of a value."""
    if isinstance(value, str):
        try:
            compile_expression(value)
        except ExpressionSyntaxError as error:
            return [("error", field, f"{value}: {error}")]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [found for inner in value for found in check_expressions(inner, field)]
    return []


def check_values(config: Config) -> list[tuple[str, str, str]]:
    """What is wrong with the values of a row that sets some, beside what its schema says."""
    state = config.get("state")
    if not config.get("evaluate"):
        return []
    if is_computed(state):
        # Texts in what was computed come from outside; nobody wrote them as expressions.
        return [("error", "evaluate", _now("Computed values are not evaluated a second time."))]
    return check_expressions(state, "state")


def _has_keys(state: Any) -> bool:
    """Whether the keys can be told yet: not of a computed value, nor of what is no object."""
    return isinstance(state, dict) and not is_computed(state)


class _StateAction(BaseAction):
    group = _("State")
    effects: ClassVar[Effects] = "none"
    writes_json = True
    icon = "state"
    config_schema = {
        "type": "object",
        "properties": {
            "state": {"type": "object"},
            "evaluate": {"type": "boolean", "default": False},
        },
        "required": ["state"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "state": _("Values"),
        "evaluate": _("Texts are expressions"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "state": _('A JSON object, for example {"reminders": 0}.'),
        "evaluate": _(
            'With this, "reminders|add:1" stands for its value; a fixed text needs '
            "quotes of its own: \"'late'\"."
        ),
    }

    def values(self, run: RunHandle, config: Config) -> dict[str, Any]:
        state = config["state"]
        result: dict[str, Any] = evaluated(state, run) if config.get("evaluate") else state
        return result

    @classmethod
    def check_config(cls, config: Config) -> list[tuple[str, str, str]]:
        return check_values(config)


@register_action
class SetState(_StateAction):
    """Replaces the whole state."""

    name = "set_state"
    verbose_name = _("Set state")
    description = _("Replaces the state of the run: values that are not named are gone.")

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        values = self.values(run, config)
        run.state.clear()
        run.state.update(values)
        return FlowDirective.CONTINUE

    def sentence(self, config: Config) -> str:
        state = config.get("state", {})
        names = ", ".join(state) if _has_keys(state) else shown(state)
        return _now("Set state to %(names)s") % {"names": names or "{}"}


@register_action
class UpdateState(_StateAction):
    """Sets some keys of the state, by name, and leaves the others."""

    name = "update_state"
    verbose_name = _("Update state")
    description = _("Sets some values in the state of the run and keeps the others.")

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        run.state.update(self.values(run, config))
        return FlowDirective.CONTINUE

    def sentence(self, config: Config) -> str:
        state = config.get("state", {})
        if not _has_keys(state):
            return _now("Set %(values)s") % {"values": shown(state)}
        sign = " =" if config.get("evaluate") else ":"
        told = ", ".join(f"{key}{sign} {value}" for key, value in list(state.items())[:3])
        return _now("Set %(values)s") % {"values": told + (", …" if len(state) > 3 else "")}


@register_action
class RemoveKeys(BaseAction):
    """Removes values from the state; what is not there is no error."""

    name = "remove_keys"
    verbose_name = _("Remove keys")
    description = _("Removes values from the state of the run, by name.")
    group = _("State")
    effects: ClassVar[Effects] = "none"
    writes_json = True
    icon = "state"
    config_schema = {
        "type": "object",
        "properties": {
            "keys": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        },
        "required": ["keys"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {"keys": _("Names")}
    help_texts: ClassVar[Mapping[str, Any]] = {
        "keys": _("Names in the state. One that is not there is no error."),
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        for key in config["keys"]:
            run.state.pop(key, None)
        return FlowDirective.CONTINUE

    def sentence(self, config: Config) -> str:
        return _now("Remove %(names)s from the state") % {"names": shown(config.get("keys", "…"))}
