"""Flows: rows that start runs of other flows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.lists import ITEM_PROPERTIES
from flowcontrol.actions.state import check_values, evaluated
from flowcontrol.actions.waiting import as_moment, moment_after
from flowcontrol.actions.wording import shown, shown_duration
from flowcontrol.base import (
    NO_RESULT,
    ActionFailed,
    BaseAction,
    Continue,
    Directive,
    Effects,
    RunHandle,
    SuspendAndRepeat,
)
from flowcontrol.children import children_of, look_at_children, start_child, told_failure
from flowcontrol.durations import parse_duration
from flowcontrol.exceptions import StartRefused
from flowcontrol.pages import Page, as_list, as_rows, key_of, page_after
from flowcontrol.registry import register_action

Config = Mapping[str, Any]


ON_FAILURE: Final = {"type": "string", "enum": ["wait", "fail", "continue"], "default": "wait"}
"""What a row does when a run that it waits for goes wrong."""

START_PROPERTIES: Final[Mapping[str, Any]] = {
    "flow": {"type": "string", "format": "flow"},
    "pass_state": {"type": "string", "enum": ["none", "all", "chosen"], "default": "none"},
    "state_keys": {"type": "array", "items": {"type": "string"}, "default": []},
    "state": {"type": "object", "default": {}},
    "evaluate": {"type": "boolean", "default": False},
}
START_LABELS: Final[Mapping[str, Any]] = {
    "flow": _("Flow"),
    "pass_state": _("Copy the state"),
    "state_keys": _("Values to copy"),
    "state": _("More values"),
    "evaluate": _("Texts are expressions"),
}
START_HELP: Final[Mapping[str, Any]] = {
    "state_keys": _("Names in the state, for “chosen”."),
    "state": _("Start state of the new run, beside what is copied."),
}


def start_state(run: RunHandle, config: Config) -> dict[str, Any]:
    """The state that a new run starts with, as the row says."""
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


@register_action
class StartFlow(BaseAction):
    """Starts a run of another flow, and waits for it or not.

    The result is the number of the new run, or null if it was refused; of a run that was waited
    for ``{"run": number, "outcome": text}``.
    """

    name = "start_flow"
    verbose_name = _("Start flow")
    description = _("Starts another flow, now or later; waits until it has ended, or goes on.")
    group = _("Flows")
    icon = "flow"
    effects: ClassVar[Effects] = "database"
    groupable = True
    can_try = True
    starts_children = True
    computes_once = True
    config_schema = {
        "type": "object",
        "properties": {
            **START_PROPERTIES,
            "pass_object": {"type": "boolean", "default": True},
            "delay": {"type": "string", "format": "duration"},
            "wait": {"type": "boolean", "default": False},
            "take_keys": {"type": "array", "items": {"type": "string"}, "default": []},
            "on_failure": ON_FAILURE,
        },
        "required": ["flow"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        **START_LABELS,
        "pass_object": _("About the same object"),
        "delay": _("Later, after"),
        "wait": _("Wait until it has ended"),
        "take_keys": _("Values to take over"),
        "on_failure": _("If it fails"),
        "on_failure=wait": _("wait until somebody has repaired or closed it"),
        "on_failure=fail": _("fail too"),
        "on_failure=continue": _("go on without it"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        **START_HELP,
        "delay": _("Empty: now."),
        "take_keys": _("Names in the state of the other run, taken when it has ended."),
        "on_failure": _("For a run that is waited for."),
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        if run.memo is not None:
            return self._look(run, run.memo)
        waits = bool(config.get("wait"))
        try:
            started = start_child(
                run,
                config["flow"],
                obj if config.get("pass_object", True) else None,
                state=start_state(run, config),
                group=run.step_key if waits else "",
                continue_after=self._start_at(run, config),
            )
        except StartRefused as refused:
            told = _now("Not started: %(reason)s") % {"reason": refused.reason}
            if waits and config.get("on_failure") != "continue":
                raise ActionFailed(told) from refused
            run.log(told)
            return Continue(None)
        run.log(_now("Started %(run)s") % {"run": started})
        if not waits:
            return Continue(started.pk)
        memo = {name: config.get(name) for name in ("take_keys", "on_failure")}
        memo["group"] = run.step_key
        return SuspendAndRepeat(for_children=run.step_key, memo=memo)

    def _look(self, run: RunHandle, memo: Mapping[str, Any]) -> Directive | None:
        """What became of the run that this one waits for.

        Raises:
            ActionFailed: it went wrong, and that is what the author wants then.
        """
        group = memo["group"]
        children = look_at_children(run, group)
        if memo["on_failure"] == "fail" and (children.failed or children.broken):
            raise ActionFailed(told_failure(run, group))
        if children.open and not (children.failed and memo["on_failure"] == "continue"):
            return SuspendAndRepeat(for_children=group, memo=memo)
        child = children_of(run, group).first()
        if child is None:
            return Continue(None)
        for key in memo["take_keys"] or ():
            if key in child.state:
                run.state[key] = child.state[key]
        return Continue({"run": child.pk, "outcome": child.outcome or child.status})

    def _start_at(self, run: RunHandle, config: Config) -> datetime | None:
        if not config.get("delay"):
            return None
        here = as_moment(run.now, timezone.get_default_timezone())
        return moment_after(here, duration=parse_duration(config["delay"]))

    def sentence(self, config: Config) -> str:
        told = {"flow": shown(config.get("flow", "…"))}
        if config.get("delay"):
            told["delay"] = shown_duration(config["delay"])
            sentence = _now("Start flow %(flow)s in %(delay)s") % told
        else:
            sentence = _now("Start flow %(flow)s") % told
        if config.get("wait"):
            return _now("%(start)s and wait for it") % {"start": sentence}
        return sentence

    @classmethod
    def check_config(cls, config: Config) -> list[tuple[str, str, str]]:
        return check_values(config)

    @classmethod
    def sets_names(cls, config: Config) -> set[str]:
        keys = config.get("take_keys")
        return {*super().sets_names(config), *(keys if isinstance(keys, list) else ())}


@register_action
class StartFlowForEach(BaseAction):
    """Starts a run of another flow for each item of a list or a relation, and waits for them.

    Only so many are open at a time. The result counts them:
    ``{"started": 120, "complete": 118, "other": 2, "refused": 0}``.
    """

    name = "start_flow_for_each"
    verbose_name = _("Start flow for each item")
    description = _(
        "Starts another flow for each item of a list or each related object, several at a time, "
        "and waits for all of them."
    )
    group = _("Flows")
    icon = "flow"
    effects: ClassVar[Effects] = "database"
    can_try = True
    starts_children = True
    computes_once = True
    config_schema = {
        "type": "object",
        "properties": {
            **ITEM_PROPERTIES,
            **START_PROPERTIES,
            "at_once": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 10},
            "on_failure": ON_FAILURE,
        },
        "required": ["items", "flow"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        **START_LABELS,
        "items": _("Of"),
        "var_name": _("Name of the item"),
        "at_once": _("At most so many at a time"),
        "on_failure": _("If one fails"),
        "on_failure=wait": _("start the others, and wait until somebody has repaired it"),
        "on_failure=fail": _("start no more and fail"),
        "on_failure=continue": _("go on without it"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        **START_HELP,
        "items": _("A list, or related objects: for example object.tickets, or addresses."),
        "var_name": _(
            "The new run finds its item in its state under this name; a related object is what it "
            "is about."
        ),
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        items, memo = run.items, dict(run.memo or ())
        if not memo:
            # What was computed stays: it is not computed again for the runs that start later.
            memo = {"group": run.step_key, "index": 0, "key": None, "started": 0, "refused": 0}
            memo["config"] = dict(config)
            source = run.evaluate(config["items"])
            if as_rows(source) is None:
                items = as_list(source, config["items"])
            memo["walks"] = items is None
        children = look_at_children(run, memo["group"])
        config = memo["config"]
        if config["on_failure"] == "fail" and (children.failed or children.broken):
            raise ActionFailed(told_failure(run, memo["group"]))
        still = children.running if config["on_failure"] == "continue" else children.open
        more = self._start_more(run, memo, items, config["at_once"] - still)
        run.report_progress(children.ended, None if memo["walks"] else len(items or ()))
        if more or still:
            first = items if run.items is None else None
            return SuspendAndRepeat(for_children=memo["group"], memo=memo, items=first)
        counts = {name: memo[name] for name in ("started", "refused")}
        other = memo["started"] - children.complete
        return Continue({**counts, "complete": children.complete, "other": other})

    def _start_more(
        self, run: RunHandle, memo: dict[str, Any], items: list[Any] | None, room: int
    ) -> int:
        """Start runs for the next items, as far as there is room; how many.

        Raises:
            ActionFailed: one was refused.
        """
        config, number = memo["config"], 0
        while number < room:
            obj, value = self._next(run, memo, items)
            if obj is None and value is NO_RESULT:
                break
            state = start_state(run, config)
            if obj is None:
                state[config["var_name"]] = value
            try:
                start_child(run, config["flow"], obj, state=state, group=memo["group"])
            except StartRefused as refused:
                if config["on_failure"] != "continue":
                    raise ActionFailed(refused.reason) from refused
                run.log(_now("Not started: %(reason)s") % {"reason": refused.reason})
                memo["refused"] += 1
            else:
                memo["started"] += 1
                number += 1
        return number

    def _next(
        self, run: RunHandle, memo: dict[str, Any], items: list[Any] | None
    ) -> tuple[Model | None, Any]:
        """The next item as ``(object, value)``; ``(None, NO_RESULT)`` when there is none left."""
        if not memo["walks"]:
            index, values = memo["index"], items or []
            memo["index"] += 1
            return None, values[index] if index < len(values) else NO_RESULT
        found = run.pages[self].after(memo["key"]) if self in run.pages else []
        if not found:
            rows = as_rows(run.evaluate(memo["config"]["items"]))
            run.pages[self] = Page(page_after(rows, memo["key"]) if rows is not None else [])
            found = run.pages[self].rows
        if not found:
            return None, NO_RESULT
        memo["key"] = key_of(found[0])
        return found[0], NO_RESULT

    def sentence(self, config: Config) -> str:
        return _now("Start flow %(flow)s for each of %(items)s") % {
            "flow": shown(config.get("flow", "…")),
            "items": config.get("items", "…"),
        }

    @classmethod
    def check_config(cls, config: Config) -> list[tuple[str, str, str]]:
        return check_values(config)

    @classmethod
    def sets_names(cls, config: Config) -> set[str]:
        return set(cls.state_keys)
