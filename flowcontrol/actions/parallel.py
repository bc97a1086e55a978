"""Parallel: branches of one flow that run side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.flows import ON_FAILURE
from flowcontrol.actions.wording import shown
from flowcontrol.base import (
    ActionFailed,
    BaseAction,
    Continue,
    Directive,
    Effects,
    Enter,
    FlowDirective,
    RunHandle,
    SuspendAndRepeat,
)
from flowcontrol.children import (
    Children,
    cancel_children,
    children_of,
    look_at_children,
    start_branch,
    told_failure,
)
from flowcontrol.models import Outcome
from flowcontrol.registry import register_action

Config = Mapping[str, Any]


@register_action
class Parallel(BaseAction):
    """Runs its branches side by side, each as a run of its own, and waits for them.

    Its result says how many branches completed and how many did not.
    """

    name = "parallel"
    verbose_name = _("Parallel")
    description = _("Does several things at the same time: each “Branch” inside it runs by itself.")
    group = _("Flows")
    icon = "parallel"
    effects: ClassVar[Effects] = "database"
    can_try = True
    writes_json = True
    has_children = True
    holds = ("branch",)
    starts_children = True
    config_schema = {
        "type": "object",
        "properties": {
            "join": {"type": "string", "enum": ["all", "first", "number"], "default": "all"},
            "number": {"type": "integer", "minimum": 1, "default": 1},
            "on_failure": ON_FAILURE,
        },
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "join": _("Go on when"),
        "join=all": _("all branches are through"),
        "join=first": _("the first one is (the others are canceled)"),
        "join=number": _("a number of them are (the others are canceled)"),
        "number": _("Number"),
        "on_failure": _("If a branch fails"),
        "on_failure=wait": _("wait until somebody has repaired or closed it"),
        "on_failure=fail": _("fail too"),
        "on_failure=continue": _("go on without it"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "number": _("For “a number of them”."),
    }
    computes_once = True

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        if run.memo is None:
            return self._start(run, config)
        memo = run.memo
        children = look_at_children(run, memo["group"])
        run.report_progress(children.ended, memo["total"])
        if not self._is_over(run, memo, children):
            return SuspendAndRepeat(for_children=memo["group"], memo=memo)
        cancel_children(run.pk, run.now, _now("The others were enough."), groups=[memo["group"]])
        self._merge(run, memo["group"])
        return Continue({"complete": children.complete, "other": children.broken})

    def _start(self, run: RunHandle, config: Config) -> Directive | None:
        branches = run.rows_inside
        if not branches:
            return FlowDirective.CONTINUE
        for uid, _config in branches:
            start_branch(run, uid, group=run.step_key, names=run.names)
        memo = {
            "group": run.step_key,
            "total": len(branches),
            "needed": self._needed(config, len(branches)),
            "join": config["join"],
            "on_failure": config["on_failure"],
        }
        return SuspendAndRepeat(for_children=memo["group"], memo=memo)

    def _needed(self, config: Config, total: int) -> int:
        match config["join"]:
            case "first":
                return 1
            case "number":
                return min(int(config["number"]), total)
        return total

    def _is_over(self, run: RunHandle, memo: Mapping[str, Any], children: Children) -> bool:
        """Whether the row goes on.

        Raises:
            ActionFailed: too many branches went wrong for what its author wants.
        """
        if memo["on_failure"] == "fail" and (children.complete + children.running < memo["needed"]):
            raise ActionFailed(told_failure(run, memo["group"]))
        if memo["join"] != "all" and children.complete >= memo["needed"]:
            return True
        # A failed branch is open until somebody repairs or closes it.
        return not (children.running if memo["on_failure"] == "continue" else children.open)

    def _merge(self, run: RunHandle, group: str) -> None:
        """Take over the keys that each branch names, in the order of the branches."""
        configs = dict(run.rows_inside)
        complete = children_of(run, group).filter(outcome=Outcome.COMPLETE)
        states = dict(complete.values_list("root_uid", "state"))
        for uid, config in configs.items():
            for key in config.get("keys") or ():
                if key in states.get(uid, {}):
                    run.state[key] = states[uid][key]

    def sentence(self, config: Config) -> str:
        match config.get("join", "all"):
            case "first":
                return _now("In parallel, until the first branch is through")
            case "number":
                return _now("In parallel, until %(number)s branches are through") % {
                    "number": shown(config.get("number", 1))
                }
        return _now("In parallel")


@register_action
class Branch(BaseAction):
    """One branch of a Parallel; what it writes to the state stays in it, but for named keys."""

    name = "branch"
    verbose_name = _("Branch")
    description = _("One of the things that a “Parallel” does at the same time.")
    group = _("Flows")
    icon = "branch"
    effects: ClassVar[Effects] = "none"
    writes_json = True
    has_children = True
    inside = ("parallel",)
    config_schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string", "maxLength": 200, "default": ""},
            "keys": {"type": "array", "items": {"type": "string", "minLength": 1}, "default": []},
        },
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "title": _("Title"),
        "keys": _("Values to hand back"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "keys": _("Names in the state. What else the branch writes to the state stays in it."),
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        return Enter(names=run.memo["names"] if run.memo else None)

    def return_from_children(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        # A branch is a run of its own: there is nothing after it.
        return FlowDirective.LEAVE

    def sentence(self, config: Config) -> str:
        return str(shown(config.get("title")) or self.verbose_name)
