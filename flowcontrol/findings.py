"""Checking a draft: what keeps it from being published, and what is worth a second look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.utils.translation import gettext as _

from flowcontrol import registry
from flowcontrol.base import BaseAction
from flowcontrol.compiling import current_config
from flowcontrol.documents import JSONObject, walk
from flowcontrol.drafting import MAX_DEPTH
from flowcontrol.exceptions import AuthorError, ExpressionSyntaxError
from flowcontrol.expressions import RESERVED_NAMES, compile_expression, compile_template
from flowcontrol.failures import RETRY_SCHEMA
from flowcontrol.models import Flow
from flowcontrol.schemas import (
    check_schema,
    computed_properties,
    find_problems,
    find_value_problems,
    place,
)

Severity = Literal["error", "warning"]

ENDS_THE_RUN: Final = frozenset({"stop"})
LEAVES_THE_BLOCK: Final = frozenset({"leave", "break"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to tell the author: at which row (``uid``, empty: the flow), in which field."""

    severity: Severity
    code: str
    uid: str
    field: str
    message: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}


def find_all(document: Mapping[str, Any], *, flow: Flow | None = None) -> list[Finding]:
    """Everything there is to say about a document, errors first, each in the order of the rows."""
    found = [
        *_flow_findings(document),
        *_row_findings(document),
        *_block_findings(document["actions"], in_loop=False),
        *_name_findings(document),
        *_start_circles(document, flow),
    ]
    return sorted(found, key=lambda finding: finding.severity != "error")


# --- the flow itself ------------------------------------------------------------------------------


def _flow_findings(document: Mapping[str, Any]) -> Iterator[Finding]:
    if document["condition"].strip():
        try:
            compile_expression(document["condition"].strip())
        except ExpressionSyntaxError as error:
            yield Finding("error", "expression", "", "condition", str(error))
    if document["state_schema"] is not None:
        try:
            check_schema(document["state_schema"])
        except ValueError as error:
            yield Finding("error", "state-schema", "", "state_schema", str(error))
    if not any(item.row["enabled"] for item in walk(document)):
        yield Finding("warning", "empty-flow", "", "", _("The flow has no rows that do anything."))


# --- rows -----------------------------------------------------------------------------------------


def _row_findings(document: Mapping[str, Any]) -> Iterator[Finding]:
    there = _flows_that_exist(document)
    for placed in walk(document):
        item = placed.row
        if not item["enabled"]:
            continue
        if placed.depth + 2 > MAX_DEPTH:
            yield _error("depth", item, _("Blocks are nested too deep here."))
        yield from _config_findings(item, there)
        if item["retry"] is not None:
            for problem in find_value_problems(RETRY_SCHEMA, item["retry"]):
                yield _error("retry", item, f"{place(problem.path)}: {problem.message}", "retry")
        if item["result_key"] and item["result_key"] in RESERVED_NAMES:
            yield _error(
                "reserved-name",
                item,
                _("“%(name)s” has a meaning of its own; choose another name.")
                % {"name": item["result_key"]},
                "result_key",
            )


def _config_findings(item: JSONObject, flows: set[str]) -> Iterator[Finding]:
    action_type = registry.actions.find(item["action"])
    if action_type is None:
        yield _error("unknown-action", item, registry.actions.unknown(item["action"]))
        return
    try:
        config = current_config(item)
    except AuthorError as error:
        yield _error("config", item, str(error))
        return
    problems = find_problems(action_type.config_schema, config)
    for problem in problems:
        field = str(problem.path[0]) if problem.path else ""
        label = action_type.labels.get(field, field)
        yield _error(
            "config", item, f"{label}: {problem.message}" if field else problem.message, field
        )
    if problems:
        return
    for severity, field, message in action_type.check_config(config):
        yield Finding(
            "error" if severity == "error" else "warning", "config", item["uid"], field, message
        )
    yield from _reference_findings(item, action_type, config, flows)
    name = config.get("var_name")
    if item["action"] == "for" and name in RESERVED_NAMES:
        message = _("“%(name)s” has a meaning of its own; choose another name.") % {"name": name}
        yield _error("reserved-name", item, message, "var_name")


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
    named = {placed.row["action"] for placed in walk(document)}
    schemas = (found.config_schema for name in named if (found := registry.actions.find(name)))
    if not any(_fields(schema, "flow") for schema in schemas):
        return set()
    return set(Flow.objects.values_list("slug", flat=True))


def _references(
    action_type: type[BaseAction], kind: str, config: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """The fixed values of a config that name something of this kind, by field."""
    for field in _fields(action_type.config_schema, kind):
        value = config.get(field)
        if isinstance(value, str) and value:
            yield field, value


def _fields(schema: Mapping[str, Any], kind: str) -> list[str]:
    """The properties that name something of this kind."""
    properties = schema.get("properties", {}).items()
    return [
        name for name, sub in properties if isinstance(sub, Mapping) and sub.get("format") == kind
    ]


# --- blocks ---------------------------------------------------------------------------------------


def _block_findings(rows: list[JSONObject], *, in_loop: bool) -> Iterator[Finding]:
    previous = ""
    ended_by: JSONObject | None = None
    for item in rows:
        action_type = registry.actions.find(item["action"])
        follows = action_type.follows if action_type else ()
        if follows and previous not in follows and item["enabled"]:
            names = _(" or ").join(str(registry.actions[name].verbose_name) for name in follows)
            yield _error(
                "out-of-place",
                item,
                _("“%(row)s” has to come right after %(names)s.")
                % {"row": action_type.verbose_name if action_type else "", "names": names},
            )
        previous = action_type.name if action_type else item["action"]
        if not item["enabled"]:
            continue
        if ended_by is not None:
            yield Finding(
                "warning",
                "unreachable",
                item["uid"],
                "",
                _("This row is never reached: the row before it always ends the block."),
            )
            ended_by = None
        if action_type is None:
            continue
        loops = in_loop or action_type.is_loop
        if action_type.has_children:
            if not any(child["enabled"] for child in item["children"]):
                yield Finding(
                    "warning", "empty-block", item["uid"], "", _("There are no rows inside.")
                )
        elif item["children"]:
            yield _error("no-rows-inside", item, _("Rows inside this row are never run."))
        if item["action"] == "while":
            yield from _while_findings(item)
        if item["config"].get("target") == "loop" and not in_loop:
            yield _error("no-loop", item, _("There is no loop around this row."), "target")
        if item["action"] in ENDS_THE_RUN or (
            item["action"] in LEAVES_THE_BLOCK and not item["config"].get("condition")
        ):
            ended_by = item
        yield from _block_findings(item["children"], in_loop=loops)


def _while_findings(item: JSONObject) -> Iterator[Finding]:
    """A loop whose condition nothing inside can change goes round until it is stopped."""
    try:
        names = {
            name.split(".")[0] for name in compile_expression(item["config"]["condition"]).names
        }
    except (AuthorError, KeyError):
        return
    inside = list(walk({"actions": item["children"]}))
    changes = names & {"object", "now", "today", "run"} or any(
        placed.row["action"] in LEAVES_THE_BLOCK | ENDS_THE_RUN
        or names & sets_names(placed.row)
        or not _sets_are_known(placed.row)
        for placed in inside
    )
    if not changes:
        yield Finding(
            "warning",
            "endless-loop",
            item["uid"],
            "condition",
            _("Nothing inside this loop changes its condition."),
        )


# --- names ----------------------------------------------------------------------------------------


def sets_names(item: JSONObject) -> set[str]:
    """The state keys and loop variables that a row gives a value."""
    names = {item["result_key"]} if item["result_key"] else set()
    if item["action"] in ("set_state", "update_state") and isinstance(
        item["config"].get("state"), dict
    ):
        names.update(item["config"]["state"])
    if isinstance(item["config"].get("var_name"), str):
        names.add(item["config"]["var_name"])
    return names


def _sets_are_known(item: JSONObject) -> bool:
    """Whether a row can only set what :func:`sets_names` says: the built-ins, which promise it."""
    action_type = registry.actions.find(item["action"])
    return action_type is None or action_type.__module__.startswith("flowcontrol.")


def reads_names(item: JSONObject) -> dict[str, set[str]]:
    """The dotted names that a row reads, by field of its config."""
    action_type = registry.actions.find(item["action"])
    if action_type is None:
        return {}
    reads: dict[str, set[str]] = {}
    for field, schema in action_type.config_schema.get("properties", {}).items():
        value = item["config"].get(field)
        if not isinstance(value, str) or not value or not isinstance(schema, Mapping):
            continue
        try:
            if schema.get("format") == "expression":
                reads[field] = set(compile_expression(value).names)
            elif schema.get("format") == "template":
                reads[field] = set(compile_template(value).names)
        except ExpressionSyntaxError:
            continue
    for field, source in computed_properties(action_type.config_schema, item["config"]).items():
        try:
            reads[field] = set(compile_expression(source).names)
        except ExpressionSyntaxError:
            continue
    return reads


def _name_findings(document: Mapping[str, Any]) -> Iterator[Finding]:
    rows = [placed.row for placed in walk(document) if placed.row["enabled"]]
    if not all(map(_sets_are_known, rows)):
        return  # an action of the project may set anything
    known = set(RESERVED_NAMES).union(*map(sets_names, rows))
    known.update((document["state_schema"] or {}).get("properties", {}))
    for item in rows:
        for field, names in reads_names(item).items():
            for name in sorted({name.split(".")[0] for name in names} - known):
                yield Finding(
                    "warning",
                    "unset-name",
                    item["uid"],
                    field,
                    _(
                        "Nothing in this flow sets “%(name)s”. If runs start with it, say so in "
                        "the state schema."
                    )
                    % {"name": name},
                )


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
            yield Finding(
                "warning",
                "start-circle",
                uid,
                "flow",
                _("Flows start one another in a circle: %(path)s.")
                % {"path": " → ".join([flow.slug, *path])},
            )


def _starts(document: Mapping[str, Any]) -> dict[str, str]:
    """The flows that a document starts, each with the row that does."""
    return {
        placed.row["config"]["flow"]: placed.row["uid"]
        for placed in walk(document)
        if placed.row["enabled"]
        and placed.row["action"] == "start_flow"
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


def _error(code: str, item: JSONObject, message: str, field: str = "") -> Finding:
    return Finding("error", code, item["uid"], field, message)
