"""From document to program: rows become linked nodes, configs become plans.

A row whose type is gone, or whose config cannot be brought up to date, still becomes a node: one
that fails when a run reaches it, so that runs which never get there go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowcontrol.base import BaseAction, Directive, Effects, RunHandle
from flowcontrol.documents import JSONObject, read_document
from flowcontrol.exceptions import AuthorError, ConfigError, DocumentError, ExpressionError
from flowcontrol.expressions import Expression, Scope, compile_expression, to_json
from flowcontrol.program import Node, Program
from flowcontrol.registry import actions
from flowcontrol.schemas import (
    MASK,
    Problem,
    computed_properties,
    find_problems,
    find_value_problems,
    mask_secrets,
    subschemas,
    value_checker,
    with_defaults,
)


@dataclass(frozen=True, slots=True)
class Computed:
    """A property whose value is computed each time the row is asked."""

    name: str
    expression: Expression
    is_list: bool
    """It has to be a list, so a single value becomes a list of one."""
    is_secret: bool

    def value(self, scope: Scope) -> Any:
        """What the expression gives now, as JSON.

        Raises:
            AuthorError: it cannot be evaluated, or gives what is no JSON.
        """
        mark = len(scope.reads)
        try:
            value = to_json(self.expression.evaluate(scope), where=self.name)
        except ExpressionError:
            if not self.is_secret:
                raise
            # What went wrong tells the values that were read, and one of them is the secret.
            source = self.expression.source
            raise ExpressionError(
                f"{self.name}: “{source}” cannot be evaluated.", expression=source
            ) from None
        finally:
            if self.is_secret:
                scope.reads[mark:] = [(name, MASK) for name, _value in scope.reads[mark:]]
        if self.is_list and value is not None and not isinstance(value, list):
            return [value]
        return value


@dataclass(frozen=True, slots=True)
class RowPlan:
    """What the executor knows of a row beside its links; ``node.payload``."""

    label: str
    config: Mapping[str, Any]
    computed: tuple[Computed, ...]
    schema: Mapping[str, Any]
    effects: Effects
    groupable: bool
    computes_once: bool
    writes_json: bool
    queue: str
    result_key: str
    retry: Mapping[str, Any] | None
    on_error: Mapping[str, Any] | None

    def config_for(self, run: RunHandle) -> Mapping[str, Any]:
        """The config with its computed values, evaluated now and checked.

        Raises:
            AuthorError: a value cannot be computed, or does not fit the schema.
        """
        if not self.computed or (self.computes_once and run.memo is not None):
            return self.config
        config = dict(self.config)
        for computed in self.computed:
            value = computed.value(run.scope)
            # Nothing is no value: what need not be filled in is empty then, or has its default.
            if value is not None or computed.name in self.schema.get("required", ()):
                config[computed.name] = value
        if len(config) < len(self.config) + len(self.computed):
            config = with_defaults(self.schema, config)
        if problems := find_value_problems(self.schema, config):
            raise ConfigError(self._told(problems[0], config), problems)
        return config

    def _told(self, problem: Problem, config: Mapping[str, Any]) -> str:
        for computed in self.computed:
            if problem.path[:1] == (computed.name,):
                value = mask_secrets(self.schema, config).get(computed.name)
                return f"{problem} (computed by {computed.expression.source!r}: {value!r:.200})"
        return str(problem)


@dataclass(frozen=True, slots=True)
class ProgramPlan:
    """What the executor knows of a whole version; ``program.payload``."""

    condition: Expression | None
    state_schema: Mapping[str, Any] | None
    content_type: str | None
    problems: tuple[tuple[str, str], ...]
    """``(uid, message)`` of each row that cannot execute."""
    identity: str | None = None
    """The name of the user whom the flow acts as."""
    state_problems: Callable[[object], list[Problem]] | None = None
    """What does not fit ``state_schema``; without one ``None``, so that it costs nothing."""


class _Broken(BaseAction):
    """Stands for a row that cannot execute; says why when a run reaches it, or comes back to it."""

    effects = "none"

    def __init__(self, error: AuthorError) -> None:
        self.error = error

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        raise self.error

    return_from_children = run


def compile_document(document: Mapping[str, Any]) -> Program:
    """The program of a document that :func:`flowcontrol.documents.read_document` has read."""
    nodes: dict[str, Node] = {}
    problems: list[tuple[str, str]] = []
    first = _compile_block(document["actions"], None, nodes, problems)
    condition = document["condition"].strip()
    plan = ProgramPlan(
        condition=compile_expression(condition) if condition else None,
        state_schema=document["state_schema"],
        content_type=document["content_type"],
        problems=tuple(problems),
        identity=document["identity"],
        state_problems=_state_checker(document["state_schema"]),
    )
    return Program(nodes, first, plan)


def _state_checker(
    schema: Mapping[str, Any] | None,
) -> Callable[[object], list[Problem]] | None:
    if not schema:
        return None
    try:
        return value_checker(schema)
    except ValueError as error:
        raise DocumentError(f"The state schema cannot be read: {error}") from error


def problems_of(document: Any) -> list[tuple[str, str]]:
    """What of a version cannot execute in this process, as ``(uid, message)``; no uid: all."""
    try:
        plan: ProgramPlan = compile_document(read_document(document)).payload
    except AuthorError as error:
        return [("", str(error))]
    return list(plan.problems)


def _compile_block(
    rows: Sequence[JSONObject],
    parent: Node | None,
    nodes: dict[str, Node],
    problems: list[tuple[str, str]],
) -> Node | None:
    """Compile sibling rows and link them; the first of them, or ``None`` for an empty block."""
    chains: list[list[Node]] = []
    previous: str | None = None
    starts_chain = True
    for item in rows:
        action_type = actions.find(item["action"])
        follows = action_type.follows if action_type else ()
        continues = bool(follows)
        if continues and previous not in follows and item["enabled"]:
            problems.append(
                (item["uid"], f"{item['action']!r} does not follow {' or '.join(follows)}.")
            )
        # A disabled row keeps its chain together but is never taken: it just is not there.
        starts_chain = starts_chain or not continues
        previous = action_type.name if action_type else item["action"]
        if not item["enabled"]:
            continue
        inside = action_type.inside if action_type else ()
        if inside and (parent is None or parent.name not in inside):
            message = f"{item['action']!r} has to be directly in {' or '.join(inside)}."
            problems.append((item["uid"], message))
        node = _compile_row(item, parent, problems)
        nodes[node.uid] = node
        if starts_chain or not chains:
            chains.append([])
        chains[-1].append(node)
        starts_chain = False
        node.first_child = _compile_block(item["children"], node, nodes, problems)
    if parent is not None:
        parent.inside = tuple([node for chain in chains for node in chain])
        if parent.action.holds:
            return None
    after_chain: Node | None = None
    for chain in reversed(chains):
        _link(chain, after_chain)
        after_chain = chain[0]
    return after_chain


def _link(chain: Sequence[Node], after: Node | None) -> None:
    """Link rows that belong together: If with its Else, Try with On error and Always."""
    always = chain[-1] if chain[-1].action.runs_always else None
    handlers = tuple([node for node in chain if node.action.handles_errors])
    for node, following in zip(chain, [*chain[1:], after], strict=True):
        node.following = following
        node.following_block = after
        if always is not None and node is not always:
            node.following_block = node.always = always
        if not node.action.handles_errors and node is not always:
            node.handlers = handlers


def _compile_row(item: JSONObject, parent: Node | None, problems: list[tuple[str, str]]) -> Node:
    action_type = actions.find(item["action"])
    config: dict[str, Any] = {}
    computed: tuple[Computed, ...] = ()
    action: BaseAction
    try:
        action_type = actions[item["action"]]
        config, computed = _read_config(item, action_type)
        action = action_type()
    except AuthorError as error:
        problems.append((item["uid"], str(error)))
        action = _Broken(error)
    # A broken loop is still the loop that the rows inside it speak of.
    shape = action_type or _Broken
    retry = item["retry"] if item["retry"] is not None else shape.retry
    plan = RowPlan(
        label=item["label"],
        config=config,
        computed=computed,
        schema=shape.config_schema,
        effects=action.effects,
        groupable=action.groupable,
        computes_once=action.computes_once,
        writes_json=action.writes_json,
        queue=shape.queue,
        result_key=item["result_key"],
        retry=retry,
        on_error=item["on_error"],
    )
    return Node(
        uid=item["uid"],
        name=item["action"],
        action=action,
        run=action.run,
        return_from_children=action.return_from_children,
        is_loop=shape.is_loop,
        has_budget=shape.has_budget,
        parent=parent,
        depth=parent.depth + 1 if parent else 0,
        payload=plan,
    )


def _read_config(
    item: JSONObject, action_type: type[BaseAction]
) -> tuple[dict[str, Any], tuple[Computed, ...]]:
    """The fixed values of a row's config, and what is to be computed.

    Raises:
        AuthorError: it does not fit the schema, as far as that can be told now.
    """
    schema = action_type.config_schema
    config = current_config(item)
    if found := find_problems(schema, config):
        raise ConfigError(str(found[0]), found)
    sources = computed_properties(schema, config)
    computed = []
    for name, source in sources.items():
        declared = schema.get("properties", {}).get(name, {})
        kinds = [each.get("type") for each in subschemas(schema, declared, alternatives=False)]
        is_secret = mask_secrets(schema, {name: "x"})[name] == MASK
        computed.append(Computed(name, compile_expression(source), "array" in kinds, is_secret))
    fixed = {name: value for name, value in config.items() if name not in sources}
    return fixed, tuple(computed)


def current_config(item: Mapping[str, Any]) -> dict[str, Any]:
    """A row's config in the form that its type has today, defaults written in.

    Raises:
        UnknownAction: the type is not registered.
        ConfigError: the type is older than the config, or its upgrade failed.
    """
    action_type = actions[item["action"]]
    version, today = item["schema_version"], action_type.schema_version
    config = dict(item["config"])
    if version > today:
        raise ConfigError(
            f"The config of {item['action']!r} was written by version {version} of the action; "
            f"this process has version {today}."
        )
    if version < today:
        try:
            config = action_type.upgrade_config(config, version)
        except ExpressionError:
            raise
        except Exception as error:
            raise ConfigError(
                f"The config of {item['action']!r} could not be upgraded from version {version} "
                f"to {today}: {error!r}"
            ) from error
    complete: dict[str, Any] = with_defaults(action_type.config_schema, config)
    return complete
