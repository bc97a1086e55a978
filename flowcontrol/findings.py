"""Checking a draft: what keeps it from being published, and what is worth a second look."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, Final, Literal, NamedTuple, TypeVar

from django.apps import apps
from django.db.models import Model
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from flowcontrol import registry
from flowcontrol.base import BaseAction
from flowcontrol.compiling import current_config
from flowcontrol.dataflow import (
    SETS_VALUES,
    extra_names,
    names_in,
    reads_names,
    references,
    sets_are_known,
    sets_computed_names,
    sets_names,
)
from flowcontrol.documents import JSONObject, read_document, walk
from flowcontrol.drafting import MAX_DEPTH
from flowcontrol.exceptions import AuthorError, ExpressionSyntaxError
from flowcontrol.expressions import RESERVED_NAMES, compile_expression
from flowcontrol.expressions.libraries import on_filters_changed
from flowcontrol.failures import ON_ERROR_SCHEMA, RETRY_SCHEMA
from flowcontrol.model_names import strange_fields
from flowcontrol.models import Flow, user_named
from flowcontrol.names import known_at_rows, state_schema_keys
from flowcontrol.problems import Problem
from flowcontrol.schemas import check_schema, find_problems, find_value_problems

Severity = Literal["error", "warning"]

T = TypeVar("T")

ENDS_THE_RUN: Final = frozenset({"stop"})
LEAVES_THE_BLOCK: Final = frozenset({"leave", "break"})
ENDS_A_LOOP: Final = frozenset({"break", "stop"})
STARTS_FLOWS: Final = frozenset({"start_flow", "start_flow_for_each"})

FIXES: Final[Mapping[str, Any]] = {
    "config": gettext_lazy("Open the row and correct it."),
    "depth": gettext_lazy("Put the inner rows into a flow of their own and start that one here."),
    "empty-block": gettext_lazy("Put rows inside it, or delete it."),
    "empty-flow": gettext_lazy("Add a row, or switch one on."),
    "endless-loop": gettext_lazy(
        "Change a value that the condition reads, or end the loop by “Leave branch”."
    ),
    "expression": gettext_lazy("Correct the expression, or leave it empty."),
    "flow-off": gettext_lazy("Switch that flow on, or choose another one."),
    "missing-flow": gettext_lazy("Choose a flow that is there."),
    "missing-identity": gettext_lazy("Choose a user under “acts as” in the settings of the flow."),
    "missing-person": gettext_lazy("Correct the name, or choose somebody who is there."),
    "missing-right": gettext_lazy(
        "Give the user this right, or choose another one under “acts as” in the settings of the "
        "flow."
    ),
    "missing-trigger": gettext_lazy("Choose a trigger that is there."),
    "no-loop": gettext_lazy("Move the row into a loop, or let it leave the block around it."),
    "no-rows-inside": gettext_lazy("Move the rows inside it to another place."),
    "on-error": gettext_lazy("Correct what the row does on an error, or leave it empty."),
    "out-of-place": gettext_lazy("Move the row to its place, or delete it."),
    "reserved-name": gettext_lazy("Choose another name."),
    "retry": gettext_lazy("Correct the retry policy of the row, or leave it empty."),
    "same-key": gettext_lazy("Give the value another name in one of the branches."),
    "start-circle": gettext_lazy("Make sure that a condition ends the circle."),
    "state-schema": gettext_lazy("Correct the schema, or leave it empty."),
    "test-broken": gettext_lazy("Open the test and choose an object that is there."),
    "test-failed": gettext_lazy("Try the test to see why; correct the flow, or the test."),
    "unknown-action": gettext_lazy(
        "Choose another action, or install the app that this one belongs to."
    ),
    "unknown-field": gettext_lazy("Correct the name, or choose one from the suggestions."),
    "unpublished-flow": gettext_lazy("Publish that flow first, or choose another one."),
    "unreachable": gettext_lazy("Delete the row, or put a condition on the one before it."),
    "unset-here": gettext_lazy(
        "Set the value before this row. If runs start with it, or an action of your own sets it, "
        "name it in the state schema."
    ),
    "unset-name": gettext_lazy(
        "Correct the name or set the value before. If runs start with it, or an action of your "
        "own sets it, name it in the state schema."
    ),
}
"""Every code that a finding may have, and what can be done about it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to tell the author: at which row (``uid``, empty: the flow), in which field.

    ``code`` is one of :data:`FIXES`; ``fix`` says what to do.
    """

    severity: Severity
    code: str
    uid: str
    field: str
    message: str
    fix: str

    @property
    def sentence(self) -> str:
        """The message with a full stop, for another sentence follows."""
        return self.message if self.message.endswith((".", "?", "!")) else f"{self.message}."

    def to_json(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}


def find_all(document: Mapping[str, Any], *, flow: Flow | None = None) -> list[Finding]:
    """Everything there is to say about a document, errors first, then in the order of the rows.

    What is switched off is not looked at. ``flow`` is the one that the document belongs to; with
    it, circles of flows that start one another are found too.
    """
    found = [
        *_flow_findings(document),
        *_row_findings(document, flow),
        *_block_findings(document["actions"], in_loop=False),
        *_name_findings(document),
        *_start_circles(document, flow),
    ]
    order = {placed.row["uid"]: number for number, placed in enumerate(walk(document), 1)}
    return sorted(
        found, key=lambda finding: (finding.severity != "error", order.get(finding.uid, 0))
    )


# --- the flow itself ------------------------------------------------------------------------------


def _flow_findings(document: Mapping[str, Any]) -> Iterator[Finding]:
    if document["condition"].strip():
        try:
            compile_expression(document["condition"].strip())
        except ExpressionSyntaxError as error:
            yield _error("expression", None, str(error), "condition")
    if document["state_schema"] is not None:
        try:
            check_schema(document["state_schema"])
        except ValueError as error:
            yield _error("state-schema", None, str(error), "state_schema")
    if not any(walk(document, only_enabled=True)):
        yield _warning("empty-flow", None, _("The flow has no rows that do anything."))


# --- rows -----------------------------------------------------------------------------------------


def _row_findings(document: Mapping[str, Any], flow: Flow | None) -> Iterator[Finding]:
    surroundings = _Surroundings(document, flow)
    for placed in walk(document, only_enabled=True):
        item = placed.row
        if placed.depth + 2 > MAX_DEPTH:
            yield _error("depth", item, _("Blocks are nested too deep here."))
        yield from _config_findings(item, surroundings)
        if item["retry"] is not None:
            for problem in find_value_problems(RETRY_SCHEMA, item["retry"]):
                yield _error("retry", item, str(problem), "retry")
        if item["on_error"] is not None:
            for problem in find_value_problems(ON_ERROR_SCHEMA, item["on_error"]):
                yield _error("on-error", item, str(problem), "on_error")
        if item["result_key"] in RESERVED_NAMES:
            yield _error("reserved-name", item, _reserved(item["result_key"]), "result_key")
        if item["action"] in SETS_VALUES:
            # A warning: expressions cannot read it, but the project's own actions can.
            for name in sorted(RESERVED_NAMES & sets_names(item) - {item["result_key"]}):
                yield _warning("reserved-name", item, _reserved(name), "state")


def _reserved(name: str) -> str:
    return _("“%(name)s” has a meaning of its own in expressions.") % {"name": name}


class _Started(NamedTuple):
    """What is to be known of a flow that a row starts."""

    name: str
    is_published: bool
    is_on: bool


class _Surroundings:
    """What rows may know of the flow of a document, and of others; each is read once, if asked."""

    def __init__(self, document: Mapping[str, Any], flow: Flow | None) -> None:
        self.content_type: str | None = document["content_type"]
        self.acts_as: str | None = document["identity"]
        self.slug = flow.slug if flow is not None else ""
        self._document = document
        self._found: dict[str, Any] = {}

    def configs_of(self, action: str) -> list[Mapping[str, Any]]:
        return [
            placed.row["config"]
            for placed in walk(self._document, only_enabled=True)
            if (found := registry.actions.find(placed.row["action"])) is not None
            and found.name == action
        ]

    def once(self, key: str, look_up: Callable[[], T]) -> T:
        if key not in self._found:
            self._found[key] = look_up()
        found: T = self._found[key]
        return found

    @cached_property
    def identity(self) -> Any:
        return user_named(self.acts_as)

    @cached_property
    def flows(self) -> dict[str, _Started]:
        """The flows that the rows name, by short name: one query whatever the number of rows."""
        named = {
            slug
            for placed in walk(self._document, only_enabled=True)
            if (found := registry.actions.find(placed.row["action"])) is not None
            for _field, slug in references(found, "flow", placed.row["config"])
        }
        rows = Flow.objects.filter(slug__in=named).order_by()
        columns = rows.values_list("slug", "name", "live_version", "active_at")
        return {
            slug: _Started(name, live is not None, active_at is not None)
            for slug, name, live, active_at in columns
        }


def _config_findings(item: JSONObject, surroundings: _Surroundings) -> Iterator[Finding]:
    action_type = registry.actions.find(item["action"])
    if action_type is None:
        yield _error("unknown-action", item, registry.actions.unknown(item["action"], listed=False))
        return
    try:
        config = current_config(item)
    except AuthorError as error:
        yield _error("config", item, str(error))
        return
    problems = _problems_of(
        action_type.name, json.dumps(config), get_language(), registry.actions.generation
    )
    for problem in problems:
        field = str(problem.path[0]) if problem.path else ""
        label = action_type.labels.get(field, field)
        yield _error(
            "config", item, f"{label}: {problem.message}" if field else problem.message, field
        )
    if problems:
        return
    for severity, field, message in action_type.check_config(config):
        told = _error if severity == "error" else _warning
        yield told("config", item, message, field)
    for code, field, message in action_type.check_in_flow(config, surroundings):
        yield _error(code, item, message, field)
    yield from _reference_findings(item, action_type, config, surroundings)
    name = config.get("var_name")
    if action_type.is_loop and isinstance(name, str) and name in RESERVED_NAMES:
        yield _error("reserved-name", item, _reserved(name), "var_name")


@lru_cache(maxsize=4096)
def _problems_of(
    name: str, config: str, language: str | None, generation: int
) -> tuple[Problem, ...]:
    """What the schema of a type has against a config, told in a language.

    Remembered: a draft is checked after each change, and hardly any of its rows has changed.
    """
    return tuple(find_problems(registry.actions[name].config_schema, json.loads(config)))


on_filters_changed(_problems_of.cache_clear)


def _reference_findings(
    item: JSONObject,
    action_type: type[BaseAction],
    config: Mapping[str, Any],
    surroundings: _Surroundings,
) -> Iterator[Finding]:
    for field, slug in references(action_type, "flow", config):
        found = surroundings.flows.get(slug)
        if found is None:
            message = _("There is no flow “%(slug)s”.") % {"slug": slug}
            yield _error("missing-flow", item, message, field)
        elif action_type.starts_children and slug != surroundings.slug:
            yield from _start_findings(item, field, found)
    for field, value in references(action_type, "trigger", config):
        if value not in registry.triggers:
            message = registry.triggers.unknown(value, listed=False)
            yield _error("missing-trigger", item, message, field)


def _start_findings(item: JSONObject, field: str, started: _Started) -> Iterator[Finding]:
    """What keeps a flow that is there from being started."""
    if not started.is_published:
        message = _("“%(flow)s” has not been published: nothing would be started.")
        yield _warning("unpublished-flow", item, message % {"flow": started.name}, field)
    elif not started.is_on:
        message = _("“%(flow)s” is switched off: nothing would be started.")
        yield _warning("flow-off", item, message % {"flow": started.name}, field)


# --- blocks ---------------------------------------------------------------------------------------


def _block_findings(
    rows: list[JSONObject], *, in_loop: bool, parent: type[BaseAction] | None = None
) -> Iterator[Finding]:
    previous = ""
    is_ended = False
    for item in rows:
        action_type = registry.actions.find(item["action"])
        is_after, previous = previous, action_type.name if action_type else item["action"]
        if not item["enabled"]:
            continue
        if is_ended:
            message = _("This row is never reached: the row before it always ends the block.")
            yield _warning("unreachable", item, message)
        is_ended = item["action"] in ENDS_THE_RUN or (
            item["action"] in LEAVES_THE_BLOCK and not item["config"].get("condition")
        )
        if action_type is None:
            continue
        if action_type.follows and is_after not in action_type.follows:
            yield _error("out-of-place", item, _has_to_follow(action_type))
        if (told := is_misplaced(action_type, parent)) is not None:
            yield _error("out-of-place", item, told)
        if not action_type.has_children and item["children"]:
            yield _error("no-rows-inside", item, _("Rows inside this row are never run."))
        if action_type.has_children and not any(child["enabled"] for child in item["children"]):
            yield _warning("empty-block", item, _("There are no rows inside."))
        if item["action"] == "while":
            yield from _while_findings(item)
        if item["action"] == "parallel":
            yield from _branch_findings(item)
        is_exit = item["action"] in LEAVES_THE_BLOCK
        if is_exit and item["config"].get("target") == "loop" and not in_loop:
            yield _error("no-loop", item, _("There is no loop around this row."), "target")
        # A branch is a run of its own, from which no loop around it can be left.
        in_inner_loop = (in_loop or action_type.is_loop) and item["action"] != "parallel"
        yield from _block_findings(item["children"], in_loop=in_inner_loop, parent=action_type)


def is_misplaced(action_type: type[BaseAction], parent: type[BaseAction] | None) -> str | None:
    """Why a row of this type may not be directly in a block of type ``parent`` (none: outside all
    blocks); ``None`` if it may."""
    if action_type.inside and (parent is None or parent.name not in action_type.inside):
        types = [registry.actions.find(name) for name in action_type.inside]
        names = _(" or ").join(f"“{each.verbose_name}”" for each in types if each is not None)
        told = {"row": action_type.verbose_name, "names": names}
        return _("“%(row)s” has to be directly inside %(names)s.") % told
    if parent is not None and parent.holds and action_type.name not in parent.holds:
        types = [registry.actions.find(name) for name in parent.holds]
        names = _(" or ").join(f"“{each.verbose_name}”" for each in types if each is not None)
        told = {"row": parent.verbose_name, "names": names}
        return _("Only %(names)s can be directly inside “%(row)s”.") % told
    return None


def _branch_findings(item: JSONObject) -> Iterator[Finding]:
    """Branches that hand back the same key: the later one wins, whichever was first."""
    seen: dict[str, str] = {}
    for branch in item["children"]:
        keys = branch["config"].get("keys")
        for key in keys if branch["enabled"] and isinstance(keys, list) else ():
            if key in seen:
                message = _("Another branch hands back “%(key)s” too.") % {"key": key}
                yield _warning("same-key", branch, message, "keys")
            seen[key] = branch["uid"]


def _has_to_follow(action_type: type[BaseAction]) -> str:
    types = [registry.actions.find(name) for name in action_type.follows]
    names = _(" or ").join(f"“{each.verbose_name}”" for each in types if each is not None)
    told = {"row": action_type.verbose_name, "names": names}
    return _("“%(row)s” has to come right after %(names)s.") % told


def _while_findings(item: JSONObject) -> Iterator[Finding]:
    """A loop whose condition nothing inside can change goes round until it is stopped."""
    try:
        condition = compile_expression(item["config"]["condition"])
    except (AuthorError, KeyError):
        return
    names = {name.split(".")[0] for name in condition.names}
    inside = [placed.row for placed in walk({"actions": item["children"]}, only_enabled=True)]
    if names & {"object", "now", "today", "run"} or any(
        row["action"] in ENDS_A_LOOP
        or row["action"] in ("set_state", "remove_keys")
        or row["config"].get("if_past") in ("break", "abort")
        or names & sets_names(row)
        or not sets_are_known(row)
        for row in inside
    ):
        return
    message = _("Nothing inside this loop changes its condition.")
    yield _warning("endless-loop", item, message, "condition")


# --- names ----------------------------------------------------------------------------------------


def _name_findings(document: Mapping[str, Any]) -> Iterator[Finding]:
    rows = list(known_at_rows(document))
    model = _model_named(document["content_type"])
    has_computed_names = any(sets_computed_names(item) for item, _known in rows)
    anywhere = state_schema_keys(document).union(*(sets_names(item) for item, _known in rows))
    of_flow = names_in(document["condition"].strip())
    if not has_computed_names:
        for name in sorted(_roots(of_flow) - anywhere):
            yield _warning("unset-name", None, _nothing_sets(name), "condition")
    yield from _field_findings(None, "condition", of_flow, model)
    for item, known in rows:
        for field, names in reads_names(item).items():
            yield from _field_findings(item, field, names, model)
            if has_computed_names:
                continue
            for name in sorted(_roots(names) - known - extra_names(item)):
                if name not in anywhere:
                    yield _warning("unset-name", item, _nothing_sets(name), field)
                else:
                    message = _(
                        "“%(name)s” has no value here: nothing on the way to this row sets it."
                    )
                    yield _warning("unset-here", item, message % {"name": name}, field)


def _roots(names: Iterable[str]) -> set[str]:
    """What dotted names begin with, if it is the flow that has to set it."""
    return {name.split(".")[0] for name in names} - RESERVED_NAMES


def _nothing_sets(name: str) -> str:
    return _("Nothing in this flow sets “%(name)s”.") % {"name": name}


def _field_findings(
    item: JSONObject | None, field: str, names: Iterable[str], model: type[Model] | None
) -> Iterator[Finding]:
    """Parts of the object that its model does not have."""
    if model is not None:
        ways = {name.removeprefix("object.") for name in names if name.startswith("object.")}
        told = (strange_fields(model, way.split(".")) for way in sorted(ways))
        for message in dict.fromkeys(chain.from_iterable(told)):
            yield _warning("unknown-field", item, message, field)


def _model_named(name: str | None) -> type[Model] | None:
    try:
        return apps.get_model(name) if name else None
    except (LookupError, ValueError):
        return None


# --- flows that start flows -----------------------------------------------------------------------


def _start_circles(document: Mapping[str, Any], flow: Flow | None) -> Iterator[Finding]:
    """Flows that start one another in a circle, at once and for ever."""
    if flow is None or not _starts(document):
        return
    graph = {
        slug: _starts(live)
        for slug, live in Flow.objects.filter(live_version__isnull=False).values_list(
            "slug", "live_version__document"
        )
    }
    graph[flow.slug] = _starts(document)
    for slug, uid in graph[flow.slug].items():
        if path := _path(graph, slug, flow.slug):
            told = " → ".join([flow.slug, *path])
            message = _("Flows start one another in a circle: %(path)s.") % {"path": told}
            yield Finding("warning", "start-circle", uid, "flow", message, fix_of("start-circle"))


def _starts(document: Mapping[str, Any]) -> dict[str, str]:
    """The flows that a document starts, each with the row that does."""
    return {
        placed.row["config"]["flow"]: placed.row["uid"]
        for placed in walk(document, only_enabled=True)
        if placed.row["action"] in STARTS_FLOWS
        and isinstance(placed.row["config"].get("flow"), str)
    }


def _path(graph: Mapping[str, Mapping[str, str]], start: str, goal: str) -> list[str] | None:
    """A way from one flow to another along starts, or ``None``."""
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop()
        if way[-1] == goal:
            return way
        for following in graph.get(way[-1], {}):
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return None


def _error(code: str, item: JSONObject | None, message: str, field: str = "") -> Finding:
    return Finding("error", code, item["uid"] if item else "", field, message, fix_of(code))


def _warning(code: str, item: JSONObject | None, message: str, field: str = "") -> Finding:
    return Finding("warning", code, item["uid"] if item else "", field, message, fix_of(code))


def fix_of(code: str) -> str:
    """What can be done about a finding of this code."""
    return str(FIXES[code])


# --- trigger rows ---------------------------------------------------------------------------------


def find_trigger_problems(flow: Flow) -> list[str]:
    """What is wrong with the rows that say which triggers start ``flow``; a sentence each."""
    live = read_document(flow.live_version.document) if flow.live_version else None
    uids = {placed.row["uid"] for placed in walk(live) if placed.row["enabled"]} if live else set()
    problems = []
    for row in flow.triggers.order_by("pk"):
        if row.name not in registry.triggers:
            problems.append(registry.triggers.unknown(row.name))
        if row.condition.strip():
            try:
                compile_expression(row.condition.strip())
            except ExpressionSyntaxError as error:
                problems.append(f"{row.name}: {error}")
        if row.action_uid and row.action_uid not in uids:
            problems.append(
                _("%(trigger)s: the live version has no row %(uid)s to go to.")
                % {"trigger": row.name, "uid": row.action_uid}
            )
    return problems
