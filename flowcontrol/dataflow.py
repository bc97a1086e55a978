"""What the rows of a draft read and set: the names, not the values.

Asked by the checker, by whoever completes an expression, and by what takes rows out of a flow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from flowcontrol import registry
from flowcontrol.base import BaseAction
from flowcontrol.documents import JSONObject
from flowcontrol.exceptions import ExpressionSyntaxError
from flowcontrol.expressions import compile_expression, compile_template, texts_in
from flowcontrol.schemas import computed_properties, is_computed

SETS_VALUES: Final = frozenset({"set_state", "update_state"})
CHANGES_OBJECTS: Final = frozenset({"set_fields", "create_object", "update_matching"})
EVALUATES_TEXTS: Final = frozenset(
    {*SETS_VALUES, *CHANGES_OBJECTS, "start_flow", "start_flow_for_each"}
)
EVALUATED: Final = ("state", "fields", "where")
"""The values whose texts are expressions if the row says so, see ``evaluate``."""


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


def sets_are_known(item: JSONObject) -> bool:
    """Whether a row can only set what :func:`sets_names` says: the built-ins, which promise it."""
    if sets_computed_names(item):
        return False
    action_type = registry.actions.find(item["action"])
    return action_type is None or action_type.__module__.startswith("flowcontrol.")


def sets_computed_names(item: JSONObject) -> bool:
    """Whether the names that a row sets are known only when it is run."""
    return item["action"] in SETS_VALUES and is_computed(item["config"].get("state"))


def reads_names(item: JSONObject) -> dict[str, set[str]]:
    """The dotted names that a row reads, by field of its config."""
    action_type = registry.actions.find(item["action"])
    if action_type is None:
        return {}
    config = item["config"]
    reads: dict[str, set[str]] = {}
    for field, text in references(action_type, "expression", config):
        reads[field] = names_in(text)
    for field in fields_with(action_type.config_schema, "template"):
        if texts := list(texts_in(config.get(field))):
            reads[field] = set().union(*(names_in(text, is_template=True) for text in texts))
    for field, text in computed_properties(action_type.config_schema, config).items():
        reads[field] = names_in(text)
    if item["action"] in EVALUATES_TEXTS and config.get("evaluate") is True:
        for field in EVALUATED:
            if config.get(field) and not is_computed(config[field]):
                reads[field] = set().union(*map(names_in, texts_in(config[field])))
    return reads


def names_in(text: str, *, is_template: bool = False) -> set[str]:
    """The dotted names of an expression or a template; of one that is none, none."""
    try:
        return set(compile_template(text).names if is_template else compile_expression(text).names)
    except ExpressionSyntaxError:
        return set()


def extra_names(item: JSONObject) -> set[str]:
    """The names that only this row can read, such as the secret of a webhook."""
    action_type = registry.actions.find(item["action"])
    return set(action_type.extra_names) if action_type else set()


def references(
    action_type: type[BaseAction], kind: str, config: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """The fixed texts of a config whose format is ``kind``, by field."""
    for field in fields_with(action_type.config_schema, kind):
        value = config.get(field)
        if isinstance(value, str) and value:
            yield field, value


def fields_with(schema: Mapping[str, Any], kind: str) -> list[str]:
    """The properties whose format is ``kind``."""
    properties = schema.get("properties", {}).items()
    return [
        name for name, sub in properties if isinstance(sub, Mapping) and sub.get("format") == kind
    ]
