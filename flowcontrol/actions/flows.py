"""Flows: rows that start runs of other flows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from django.utils import timezone
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.state import check_values, evaluated
from flowcontrol.actions.waiting import as_moment, moment_after
from flowcontrol.actions.wording import shown, shown_duration
from flowcontrol.base import BaseAction, Continue, Directive, Effects, RunHandle
from flowcontrol.durations import parse_duration
from flowcontrol.exceptions import StartRefused
from flowcontrol.models import FlowRun
from flowcontrol.registry import register_action
from flowcontrol.starting import create_flowrun

Config = Mapping[str, Any]


@register_action
class StartFlow(BaseAction):
    """Starts a run of another flow; the result is its number, or null if it was refused."""

    name = "start_flow"
    verbose_name = _("Start flow")
    description = _("Starts another flow, now or later, and goes on without waiting for it.")
    group = _("Flows")
    icon = "flow"
    effects: ClassVar[Effects] = "database"
    groupable = True
    can_try = True
    config_schema = {
        "type": "object",
        "properties": {
            "flow": {"type": "string", "format": "flow"},
            "pass_object": {"type": "boolean", "default": True},
            "pass_state": {"type": "string", "enum": ["none", "all", "chosen"], "default": "none"},
            "state_keys": {"type": "array", "items": {"type": "string"}, "default": []},
            "state": {"type": "object", "default": {}},
            "evaluate": {"type": "boolean", "default": False},
            "delay": {"type": "string", "format": "duration"},
        },
        "required": ["flow"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "flow": _("Flow"),
        "pass_object": _("About the same object"),
        "pass_state": _("Copy the state"),
        "state_keys": _("Values to copy"),
        "state": _("More values"),
        "evaluate": _("Texts are expressions"),
        "delay": _("Later, after"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "state_keys": _("One name a line, for “chosen”."),
        "state": _("Start state of the new run, beside what is copied."),
        "delay": _("Empty: now."),
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        try:
            started = create_flowrun(
                config["flow"],
                obj if config.get("pass_object", True) else None,
                state=self._start_state(run, config),
                user=run.user,
                continue_after=self._start_at(run, config),
                parent_run=FlowRun.objects.only("pk", "depth", "flow_id").get(pk=run.pk),
                now=run.now,
            )
        except StartRefused as refused:
            run.log(_now("Not started: %(reason)s") % {"reason": refused.reason})
            return Continue(None)
        run.log(_now("Started %(run)s") % {"run": started})
        return Continue(started.pk)

    def _start_at(self, run: RunHandle, config: Config) -> datetime | None:
        if not config.get("delay"):
            return None
        here = as_moment(run.now, timezone.get_default_timezone())
        return moment_after(here, duration=parse_duration(config["delay"]))

    def _start_state(self, run: RunHandle, config: Config) -> dict[str, Any]:
        match config.get("pass_state", "none"):
            case "all":
                state = dict(run.state)
            case "chosen":
                keys = config.get("state_keys", [])
                state = {key: run.state[key] for key in keys if key in run.state}
            case _:
                state = {}
        more = config.get("state", {})
        state.update(evaluated(more, run) if config.get("evaluate") else more)
        return state

    def sentence(self, config: Config) -> str:
        flow = shown(config.get("flow", "…"))
        if config.get("delay"):
            return _now("Start flow %(flow)s in %(delay)s") % {
                "flow": flow,
                "delay": shown_duration(config["delay"]),
            }
        return _now("Start flow %(flow)s") % {"flow": flow}

    @classmethod
    def check_config(cls, config: Config) -> list[tuple[str, str, str]]:
        return check_values(config)
