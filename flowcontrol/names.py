"""The names that an expression can read at a place of a draft: of what type, and from where.

What a row sets is told by :func:`flowcontrol.dataflow.sets_names`, by which the checker finds names
that nothing sets; here the same is asked of the rows that come before a place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flowcontrol import registry
from flowcontrol.dataflow import SETS_VALUES, sets_names
from flowcontrol.documents import JSONObject
from flowcontrol.expressions import RESERVED_NAMES
from flowcontrol.model_names import names_of_model, strange_fields, with_advice
from flowcontrol.schemas import is_computed, with_defaults
from flowcontrol.typed_names import DEEPEST_RECORD, Name, Source, type_of_value


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression stands.

    At the row ``uid``; or, with a ``position`` of :data:`flowcontrol.drafting.Position`, in a new
    row that goes there; in the condition of a trigger row, with the names of its ``triggers``; or,
    with nothing at all, in the keep-condition.
    """

    uid: str = ""
    position: str = ""
    triggers: tuple[str, ...] | None = None
    action: str = ""
    """The type of the row, for a new one."""


def names_at(
    document: Mapping[str, Any],
    place: Place,
    *,
    model: type[models.Model] | None = None,
    triggers: Iterable[str] = (),
) -> list[Name]:
    """What can be read at a place, the nearest first.

    Args:
        document: the draft.
        model: what its runs are about.
        triggers: the names of the triggers that start it.
    """
    if place.triggers is not None:
        found = [*_object_names(model), *_trigger_names(place.triggers), *_time_names()]
    else:
        found = [
            *_names_of_rows(document, place),
            *_object_names(model),
            *_trigger_names(_triggers_of_row(document, place) or triggers),
            *_time_names(),
            *_run_names(),
        ]
    # What stands first hides what has the same name.
    return list({each.name: each for each in reversed(found)}.values())[::-1]


def _triggers_of_row(document: Mapping[str, Any], place: Place) -> list[str]:
    """The triggers that a row itself is about: its condition reads what they bring."""
    way = _find(document["actions"], place.uid, None) if not place.position else []
    if not way:
        return []
    item = way[-1].rows[way[-1].index]
    action_type = registry.actions.find(item["action"])
    schemas = action_type.config_schema.get("properties", {}) if action_type is not None else {}
    named = [item["config"].get(name) for name, sub in schemas.items() if _is_trigger(sub)]
    return [name for name in named if isinstance(name, str)]


def _is_trigger(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("format") == "trigger"


# --- rows before, blocks around -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Level:
    """A block on the way to a place: its rows, how many stand before, and the row it is in."""

    rows: Sequence[JSONObject]
    index: int
    parent: JSONObject | None


def _names_of_rows(document: Mapping[str, Any], place: Place) -> list[Name]:
    state = {name.name: name for name in _state_schema_names(document)}
    loops: list[Name] = []
    if not place.uid and not place.position:
        _note(state, set_inside(document["actions"]))
        return _flat(state.values())
    way = _way_to(document, place)
    for level in way:
        if level.parent is not None:
            loops = [*_names_inside(level.parent), *loops]
            _note(state, _set_by(level.parent))
            if _is_loop(level.parent):
                # In the second round the rows behind have been there as well.
                _note(state, set_inside(level.rows))
        if level.parent is not None and level.parent["action"] == "parallel":
            continue  # the branches before are executed beside this one
        here = _action_at(level, place if level is way[-1] else Place("around"))
        for item in _before(level, here):
            if item["action"] == "set_state":
                state.clear()
            _note(state, set_inside([item]))
    action_type = registry.actions.find(_action_at(way[-1], place)) if way else None
    # What only this row knows, such as the secret of a webhook.
    own = [Name(name, "any", "row") for name in action_type.extra_names] if action_type else []
    return [*own, *_flat(loops), *_flat(state.values())]


def _action_at(level: _Level, place: Place) -> str:
    """The type of the row at a place, or of the one around it."""
    if place.position:
        return place.action
    action: str = level.rows[level.index]["action"]
    return action


def loops_around(document: Mapping[str, Any], place: Place) -> list[JSONObject]:
    """The rows of the loops that a place is in, from the outermost."""
    if not place.uid:
        return []
    around = [level.parent for level in _way_to(document, place) if level.parent is not None]
    return [item for item in around if _is_loop(item)]


def _is_loop(item: JSONObject) -> bool:
    action_type = registry.actions.find(item["action"])
    return action_type is not None and action_type.is_loop


def _way_to(document: Mapping[str, Any], place: Place) -> list[_Level]:
    """The blocks from the outermost to the one in which the place is; none if there is none."""
    if not place.uid:
        rows = document["actions"]
        return [_Level(rows, 0 if place.position == "first" else len(rows), None)]
    way = _find(document["actions"], place.uid, None)
    if not way:
        return []
    *around, last = way
    match place.position:
        case "after":
            return [*around, replace(last, index=last.index + 1)]
        case "first" | "last":
            item = last.rows[last.index]
            inside = item["children"]
            end = 0 if place.position == "first" else len(inside)
            return [*way, _Level(inside, end, item)]
    return way


def _find(rows: Sequence[JSONObject], uid: str, parent: JSONObject | None) -> list[_Level]:
    for index, item in enumerate(rows):
        here = _Level(rows, index, parent)
        if item["uid"] == uid:
            return [here]
        if found := _find(item["children"], uid, item):
            return [here, *found]
    return []


_IF: Final = frozenset({"if", "else_if"})
_ELSE: Final = frozenset({"else_if", "else"})


def _before(level: _Level, action: str) -> list[JSONObject]:
    """The rows of a block that have run when the row of this action is reached."""
    before = [item for item in level.rows[: level.index] if item["enabled"]]
    # Else is there for when its If was not taken.
    while action in _ELSE and before and before[-1]["action"] in _IF:
        action = before.pop()["action"]
    return before


def _names_inside(item: JSONObject) -> list[Name]:
    """What only the rows inside a row can read: the variables of a loop, the error of a handler."""
    types = {"index": "integer", "first": "boolean", "last": "boolean"}
    names = [Name(name, types.get(name, "any"), "loop") for name in sorted(bound_by(item))]
    if item["action"] == "for":
        return [replace(each, type="integer") for each in names]
    if item["action"] == "on_error":
        parts = [(each, f"{each.name}.{part}") for each in names for part in ("message", "type")]
        return [*names, *(replace(each, name=name, type="text") for each, name in parts)]
    return names


def bound_by(item: JSONObject) -> set[str]:
    """The names that a row gives to the rows inside it, and to no others."""
    action_type = registry.actions.find(item["action"])
    if action_type is None or not (action_type.is_loop or action_type.handles_errors):
        return set()
    return action_type.sets_names(with_defaults(action_type.config_schema, item["config"]))


def _set_by(item: JSONObject) -> dict[str, Name]:
    """The state keys that a row gives a value; the variables of a loop are those of its rows."""
    found = {name: _literal(item, name) for name in sets_names(item) - bound_by(item)}
    if key := item["result_key"]:
        label = _("Result of “%(row)s”") % {"row": item["label"] or _type_name(item)}
        found[key] = replace(found[key], label=label)
    return found


def set_inside(rows: Sequence[JSONObject]) -> dict[str, Name]:
    """The state keys that rows and all the rows inside them give a value."""
    found: dict[str, Name] = {}
    for item in rows:
        if not item["enabled"]:
            continue
        _note(found, _set_by(item))
        inside = set_inside(item["children"])
        if item["action"] == "branch":
            # A run of its own, which hands back what it names.
            handed = _handed_back(item)
            inside = {name: each for name, each in inside.items() if name in handed}
        _note(found, inside)
    return found


def _handed_back(branch: JSONObject) -> frozenset[str]:
    """The keys that a branch hands back to the run; a draft may have anything in their place."""
    keys = branch["config"].get("keys")
    return (
        frozenset(key for key in keys if isinstance(key, str))
        if isinstance(keys, list)
        else frozenset()
    )


def _note(known: dict[str, Name], more: Mapping[str, Name]) -> None:
    """Add names; what nobody knows the type of keeps the type it had."""
    for name, each in more.items():
        before = known.get(name)
        keeps = before is not None and each.type == "any"
        known[name] = before if keeps and before is not None else each


def _type_name(item: JSONObject) -> str:
    action_type = registry.actions.find(item["action"])
    return str(action_type.verbose_name) if action_type is not None else item["action"]


def _literal(item: JSONObject, name: str) -> Name:
    """A state key with its type, where the row says its value."""
    values = item["config"].get("state")
    is_said = item["action"] in SETS_VALUES and isinstance(values, dict) and name in values
    if not is_said or is_computed(values):
        return Name(name, "any", "state")
    if item["config"].get("evaluate") and isinstance(values[name], str):
        return Name(name, "any", "state")  # an expression
    return Name(name, type_of_value(values[name]), "state", value=values[name])


def _flat(names: Iterable[Name]) -> list[Name]:
    return sorted(names, key=lambda each: each.name)


def known_at_rows(document: Mapping[str, Any]) -> Iterator[tuple[JSONObject, frozenset[str]]]:
    """Each row that is on, with the state keys and loop variables that may have a value there.

    As :func:`names_at` has them, for all rows in one pass and without what is known of them.
    """
    names = state_schema_keys(document)
    return _known_in(document["actions"], None, names, _SetWithin())


def state_schema_keys(document: Mapping[str, Any]) -> frozenset[str]:
    """The keys that runs may start with, as the state schema names them."""
    properties = (document["state_schema"] or {}).get("properties")
    return frozenset(properties if isinstance(properties, Mapping) else ())


class _SetWithin:
    """The state keys that rows and all the rows inside them set; each row is looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[str]] = {}

    def __call__(self, item: JSONObject) -> frozenset[str]:
        uid = item["uid"]
        if uid not in self._known:
            inside = self.block(item["children"])
            if item["action"] == "branch":
                inside &= _handed_back(item)
            self._known[uid] = inside | (sets_names(item) - bound_by(item))
        return self._known[uid]

    def block(self, rows: Sequence[JSONObject]) -> frozenset[str]:
        return frozenset().union(*(self(item) for item in rows if item["enabled"]))


def _known_in(
    rows: Sequence[JSONObject],
    parent: JSONObject | None,
    known: frozenset[str],
    set_within: _SetWithin,
) -> Iterator[tuple[JSONObject, frozenset[str]]]:
    if parent is not None:
        known |= sets_names(parent)
        if _is_loop(parent):
            # In the second round the rows behind have been there as well.
            known |= set_within.block(rows)
    before: list[tuple[str, frozenset[str]]] = []
    for item in rows:
        if not item["enabled"]:
            continue
        here, action = known, item["action"]
        # Else is there for when its If was not taken.
        for earlier, known_before in reversed(before):
            if action not in _ELSE or earlier not in _IF:
                break
            here, action = known_before, earlier
        yield item, here
        yield from _known_in(item["children"], item, here, set_within)
        before.append((item["action"], known))
        if parent is None or parent["action"] != "parallel":
            # Branches are executed beside one another.
            known |= set_within(item)


# --- what schemas say -----------------------------------------------------------------------------

_FORMATS: Final = {
    "date": "date",
    "date-time": "datetime",
    "time": "time",
    "duration": "duration",
}
_JSON_TYPES: Final = {
    "array": "list",
    "boolean": "boolean",
    "integer": "integer",
    "number": "number",
    "object": "record",
    "string": "text",
}


def _state_schema_names(document: Mapping[str, Any]) -> Iterator[Name]:
    yield from _schema_names(document["state_schema"] or {}, "", "state")


def _trigger_names(triggers: Iterable[str]) -> Iterator[Name]:
    yield Name("trigger", "record", "trigger", _("What the event brought with it"))
    merged: dict[str, Name] = {}
    for name in triggers:
        found = registry.triggers.find(name)
        for each in _schema_names((found and found.payload_schema) or {}, "trigger.", "trigger"):
            known = merged.setdefault(each.name, each)
            if known.type != each.type:
                merged[each.name] = replace(known, type="any", choices=())
    yield from merged.values()


def _schema_names(schema: Any, prefix: str, source: Source, depth: int = 1) -> Iterator[Name]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    for name, sub in properties.items() if isinstance(properties, Mapping) else ():
        if not name.isidentifier() or name.startswith("_"):
            continue  # no expression can say it
        sub = sub if isinstance(sub, Mapping) else {}
        label = sub.get("title") or sub.get("description") or ""
        type_, choices = _schema_type(sub)
        yield Name(f"{prefix}{name}", type_, source, str(label), choices)
        if depth < DEEPEST_RECORD:
            yield from _schema_names(sub, f"{prefix}{name}.", source, depth + 1)


def _schema_type(schema: Mapping[str, Any]) -> tuple[str, tuple[tuple[Any, str], ...]]:
    values = schema.get("enum")
    if isinstance(values, list) and values and all(isinstance(each, str) for each in values):
        return "choice", tuple((each, each) for each in values)
    types = schema.get("type")
    types = [types] if isinstance(types, str) else types or []
    types = [each for each in types if each != "null"]
    if len(types) != 1:
        return "any", ()
    type_ = _JSON_TYPES.get(types[0], "any")
    return (_FORMATS.get(schema.get("format", ""), type_) if type_ == "text" else type_), ()


# --- objects --------------------------------------------------------------------------------------


def _object_names(model: type[models.Model] | None) -> list[Name]:
    if model is None:
        return []
    label = capfirst(str(model._meta.verbose_name))
    return [Name("object", "object", "object", label), *names_of_model(model, "object")]


# --- names that mean nothing ---------------------------------------------------------------------


def strange_names(
    read: Iterable[str], known: Iterable[Name], model: type[models.Model] | None
) -> list[str]:
    """A sentence for each name that an expression reads and that nothing is known to be.

    Args:
        read: the dotted names, as :attr:`flowcontrol.expressions.Expression.names` has them.
        known: what can be read at the place, see :func:`names_at`.
        model: what ``object`` is.
    """
    roots = {each.name.split(".")[0] for each in known}
    told = []
    for name in sorted(read):
        root, *parts = name.split(".")
        if root not in roots and root not in RESERVED_NAMES:
            message = _("Nothing before this row sets “%(name)s”.") % {"name": root}
            told.append(with_advice(message, root, roots))
        elif root == "object" and model is not None:
            told += strange_fields(model, parts)
    return list(dict.fromkeys(told))


# --- what is always there -------------------------------------------------------------------------


def _time_names() -> list[Name]:
    return [
        Name("now", "datetime", "time", _("The moment at which the row is executed")),
        Name("today", "date", "time", _("The day at which the row is executed")),
    ]


def _run_names() -> list[Name]:
    user = get_user_model()
    fields = [user.USERNAME_FIELD, user.get_email_field_name(), "first_name", "last_name"]
    return [
        Name("run.pk", "integer", "run", _("Number of the run")),
        Name("run.flow", "text", "run", _("Short name of the flow")),
        Name("run.user", "object", "run", _("Who started the run")),
        *(
            replace(each, source="run")
            for each in names_of_model(user, "run.user", with_relations=False)
            if each.name.rpartition(".")[2] in fields
        ),
    ]
