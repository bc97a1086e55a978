"""From document to program: rows become linked nodes, configs become plans.

A row whose type is gone, or whose config cannot be brought up to date, still becomes a node: one
that fails when a run reaches it, so that runs which never get there go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowcontrol.base import BaseAction, Directive, Effects, RunHandle
from flowcontrol.documents import JSONObject
from flowcontrol.exceptions import AuthorError, ConfigError, ExpressionError
from flowcontrol.expressions import Expression, compile_expression
from flowcontrol.program import Node, Program
from flowcontrol.registry import actions
from flowcontrol.schemas import COMPUTED, find_value_problems, is_computed, with_defaults


@dataclass(frozen=True, slots=True)
class RowPlan:
    """What the executor knows of a row beside its links; ``node.payload``."""

    label: str
    config: Mapping[str, Any]
    computed: tuple[tuple[str, Expression], ...]
    schema: Mapping[str, Any]
    effects: Effects
    groupable: bool
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
        if not self.computed:
            return self.config
        config = dict(self.config)
        for key, expression in self.computed:
            value = expression.evaluate(run.scope)
            if value is None and key not in self.schema.get("required", ()):
                config.pop(key, None)
            else:
                config[key] = value
        if problems := find_value_problems(self.schema, config):
            key = str(problems[0].path[0]) if problems[0].path else ""
            source = dict(self.computed).get(key)
            raise ConfigError(
                f"{key}: {problems[0].message}"
                + (f" (computed by {source.source!r}: {config.get(key)!r})" if source else ""),
                problems,
            )
        return config


@dataclass(frozen=True, slots=True)
class ProgramPlan:
    """What the executor knows of a whole version; ``program.payload``."""

    condition: Expression | None
    state_schema: Mapping[str, Any] | None
    content_type: str | None
    problems: tuple[tuple[str, str], ...]
    """``(uid, message)`` of each row that cannot execute."""


class _Broken(BaseAction):
    """Stands for a row that cannot execute; says why when a run reaches it."""

    effects = "none"

    def __init__(self, error: AuthorError) -> None:
        self.error = error

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        raise self.error


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
    )
    return Program(nodes, first, plan)


def _compile_block(
    rows: Sequence[JSONObject],
    parent: Node | None,
    nodes: dict[str, Node],
    problems: list[tuple[str, str]],
) -> Node | None:
    """Compile sibling rows and link them; the first of them, or ``None`` for an empty block."""
    block: list[tuple[Node, bool]] = []
    previous: str | None = None
    starts_chain = True
    for item in rows:
        action_type = actions.find(item["action"])
        follows = action_type.follows if action_type else ()
        continues = bool(follows)
        if continues and previous not in follows:
            problems.append(
                (item["uid"], f"{item['action']!r} does not follow {' or '.join(follows)}.")
            )
        # A disabled row keeps its chain together but is never taken: it just is not there.
        starts_chain = starts_chain or not continues
        previous = action_type.name if action_type else item["action"]
        if not item["enabled"]:
            continue
        node = _compile_row(item, parent, problems)
        nodes[node.uid] = node
        block.append((node, starts_chain))
        starts_chain = False
        node.first_child = _compile_block(item["children"], node, nodes, problems)
    after_chain: Node | None = None
    following: Node | None = None
    for node, starts in reversed(block):
        node.following = following
        node.following_block = after_chain
        following = node
        if starts:
            after_chain = node
    return following


def _compile_row(item: JSONObject, parent: Node | None, problems: list[tuple[str, str]]) -> Node:
    try:
        action_type = actions[item["action"]]
        config = current_config(item)
        computed = tuple(
            (key, compile_expression(value[COMPUTED]))
            for key, value in config.items()
            if is_computed(value)
        )
        action: BaseAction = action_type()
        schema = action_type.config_schema
        if not computed and (found := find_value_problems(schema, config)):
            where = ".".join(map(str, found[0].path))
            raise ConfigError(f"{where}: {found[0].message}", found)
    except AuthorError as error:
        problems.append((item["uid"], str(error)))
        action, config, computed = _Broken(error), {}, ()
        action_type, schema = _Broken, {}
    retry = item["retry"] if item["retry"] is not None else action_type.retry
    plan = RowPlan(
        label=item["label"],
        config={key: value for key, value in config.items() if not is_computed(value)},
        computed=computed,
        schema=schema,
        effects=action_type.effects,
        groupable=action_type.groupable,
        writes_json=action_type.writes_json,
        queue=action_type.queue,
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
        is_loop=action_type.is_loop,
        has_budget=action_type.has_budget,
        parent=parent,
        depth=parent.depth + 1 if parent else 0,
        payload=plan,
    )


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
