"""Checking a draft: what keeps it from being published, and what is worth a second look."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from flowcontrol import registry
from flowcontrol.base import BaseAction
from flowcontrol.compiling import current_config
from flowcontrol.documents import JSONObject, read_document, walk
from flowcontrol.drafting import MAX_DEPTH
from flowcontrol.exceptions import AuthorError, ExpressionSyntaxError
from flowcontrol.expressions import RESERVED_NAMES, compile_expression, compile_template
from flowcontrol.expressions.libraries import on_filters_changed
from flowcontrol.failures import ON_ERROR_SCHEMA, RETRY_SCHEMA
from flowcontrol.models import Flow, user_named
from flowcontrol.problems import Problem
from flowcontrol.schemas import (
    check_schema,
    computed_properties,
    find_problems,
    find_value_problems,
    is_computed,
)

Severity = Literal["error", "warning"]

ENDS_THE_RUN: Final = frozenset({"stop"})
LEAVES_THE_BLOCK: Final = frozenset({"leave", "break"})
ENDS_A_LOOP: Final = frozenset({"break", "stop"})
SETS_VALUES: Final = frozenset({"set_state", "update_state"})
CHANGES_OBJECTS: Final = frozenset({"set_fields", "create_object", "update_matching"})
EVALUATES_TEXTS: Final = frozenset(
    {*SETS_VALUES, *CHANGES_OBJECTS, "start_flow", "start_flow_for_each"}
)
EVALUATED: Final = ("state", "fields", "where")
"""The values whose texts are expressions if the row says so, see ``evaluate``."""

FIXES: Final[Mapping[str, Any]] = {
    "config": gettext_lazy("Open the row and correct it."),
    "depth": gettext_lazy("Put the inner rows into a flow of their own and start that one here."),
    "empty-block": gettext_lazy("Put rows inside it, or delete it."),
    "empty-flow": gettext_lazy("Add a row, or switch one on."),
    "endless-loop": gettext_lazy(
        "Change a value that the condition reads, or end the loop by “Leave branch”."
    ),
    "expression": gettext_lazy("Correct the expression, or leave it empty."),
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
    "unreachable": gettext_lazy("Delete the row, or put a condition on the one before it."),
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

    def to_json(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}


def find_all(document: Mapping[str, Any], *, flow: Flow | None = None) -> list[Finding]:
    """Everything there is to say about a document, errors first, then in the order of the rows.

    What is switched off is not looked at. ``flow`` is the one that the document belongs to; with
    it, circles of flows that start one another are found too.
    """
    found = [
        *_flow_findings(document),
        *_row_findings(document),
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


def _row_findings(document: Mapping[str, Any]) -> Iterator[Finding]:
    flows = _flows_that_exist(document)
    surroundings = _Surroundings(document)
    for placed in walk(document, only_enabled=True):
        item = placed.row
        if placed.depth + 2 > MAX_DEPTH:
            yield _error("depth", item, _("Blocks are nested too deep here."))
        yield from _config_findings(item, flows, surroundings)
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


class _Surroundings:
    """What rows may know of the flow of a document; the user is read once, if any row asks."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.content_type: str | None = document["content_type"]
        self.acts_as: str | None = document["identity"]

    @cached_property
    def identity(self) -> Any:
        return user_named(self.acts_as)


def _config_findings(
    item: JSONObject, flows: set[str], surroundings: _Surroundings
) -> Iterator[Finding]:
    action_type = registry.actions.find(item["action"])
    if action_type is None:
        yield _error("unknown-action", item, registry.actions.unknown(item["action"]))
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
    yield from _reference_findings(item, action_type, config, flows)
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
    item: JSONObject, action_type: type[BaseAction], config: Mapping[str, Any], flows: set[str]
) -> Iterator[Finding]:
    for field, value in _references(action_type, "flow", config):
        if value not in flows:
            message = _("There is no flow “%(slug)s”.") % {"slug": value}
            yield _error("missing-flow", item, message, field)
    for field, value in _references(action_type, "trigger", config):
        if value not in registry.triggers:
            yield _error("missing-trigger", item, registry.triggers.unknown(value), field)


def _flows_that_exist(document: Mapping[str, Any]) -> set[str]:
    """The slugs of all flows, if any row names one: one query whatever the number of rows."""
    named = {placed.row["action"] for placed in walk(document, only_enabled=True)}
    schemas = (found.config_schema for name in named if (found := registry.actions.find(name)))
    if not any(_fields(schema, "flow") for schema in schemas):
        return set()
    return set(Flow.objects.values_list("slug", flat=True))


def _references(
    action_type: type[BaseAction], kind: str, config: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """The fixed texts of a config whose format is ``kind``, by field."""
    for field in _fields(action_type.config_schema, kind):
        value = config.get(field)
        if isinstance(value, str) and value:
            yield field, value


def _fields(schema: Mapping[str, Any], kind: str) -> list[str]:
    """The properties whose format is ``kind``."""
    properties = schema.get("properties", {}).items()
    return [
        name for name, sub in properties if isinstance(sub, Mapping) and sub.get("format") == kind
    ]


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
        or not _sets_are_known(row)
        for row in inside
    ):
        return
    message = _("Nothing inside this loop changes its condition.")
    yield _warning("endless-loop", item, message, "condition")


# --- names ----------------------------------------------------------------------------------------


def sets_names(item: JSONObject) -> set[str]:
    """The state keys and loop variables that a row gives a value."""
    names = {item["result_key"]} if item["result_key"] else set()
    if item["action"] in SETS_VALUES and isinstance(item["config"].get("state"), dict):
        names.update(item["config"]["state"])
    if isinstance(item["on_error"], dict) and isinstance(item["on_error"].get("save_as"), str):
        names.add(item["on_error"]["save_as"])
    action_type = registry.actions.find(item["action"])
    if action_type is None:
        return names
    return names.union(action_type.sets_names({**_defaults(action_type), **item["config"]}))


def _defaults(action_type: type[BaseAction]) -> dict[str, Any]:
    """The values of properties that a config does not name. Quicker than a whole copy of it."""
    properties = action_type.config_schema.get("properties", {})
    return {name: each["default"] for name, each in properties.items() if "default" in each}


def _sets_are_known(item: JSONObject) -> bool:
    """Whether a row can only set what :func:`sets_names` says: the built-ins, which promise it."""
    if _sets_computed_names(item):
        return False
    action_type = registry.actions.find(item["action"])
    return action_type is None or action_type.__module__.startswith("flowcontrol.")


def _sets_computed_names(item: JSONObject) -> bool:
    """Whether the names that a row sets are known only when it is run."""
    return item["action"] in SETS_VALUES and is_computed(item["config"].get("state"))


def reads_names(item: JSONObject) -> dict[str, set[str]]:
    """The dotted names that a row reads, by field of its config."""
    action_type = registry.actions.find(item["action"])
    if action_type is None:
        return {}
    config = item["config"]
    reads: dict[str, set[str]] = {}
    for field, text in _references(action_type, "expression", config):
        reads[field] = _names_in(text)
    for field in _fields(action_type.config_schema, "template"):
        if texts := list(_texts_in(config.get(field))):
            reads[field] = set().union(*(_names_in(text, is_template=True) for text in texts))
    for field, text in computed_properties(action_type.config_schema, config).items():
        reads[field] = _names_in(text)
    if item["action"] in EVALUATES_TEXTS and config.get("evaluate") is True:
        for field in EVALUATED:
            if config.get(field) and not is_computed(config[field]):
                reads[field] = set().union(*map(_names_in, _texts_in(config[field])))
    return reads


def _names_in(text: str, *, is_template: bool = False) -> set[str]:
    try:
        return set(compile_template(text).names if is_template else compile_expression(text).names)
    except ExpressionSyntaxError:
        return set()


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(inner)


def _name_findings(document: Mapping[str, Any]) -> Iterator[Finding]:
    rows = [placed.row for placed in walk(document, only_enabled=True)]
    if any(_sets_computed_names(item) for item in rows):
        return
    known = set(RESERVED_NAMES).union(*map(sets_names, rows))
    properties = (document["state_schema"] or {}).get("properties")
    known.update(properties if isinstance(properties, Mapping) else ())
    reads: list[tuple[JSONObject | None, str, set[str]]]
    reads = [(None, "condition", _names_in(document["condition"].strip()))]
    reads += [(item, *read) for item in rows for read in reads_names(item).items()]
    for item, field, names in reads:
        for name in sorted({name.split(".")[0] for name in names} - known - _extra_names(item)):
            message = _("Nothing in this flow sets “%(name)s”.") % {"name": name}
            yield _warning("unset-name", item, message, field)


def _extra_names(item: JSONObject | None) -> set[str]:
    action_type = registry.actions.find(item["action"]) if item else None
    return set(action_type.extra_names) if action_type else set()


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
        if placed.row["action"] == "start_flow"
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
