"""The names that an expression can read at a place of a draft: of what type, and from where.

What a row sets is told by :func:`flowcontrol.dataflow.sets_names`, by which the checker finds names
that nothing sets; here the same is asked of the rows that come before a place.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.manager import BaseManager
from django.utils.functional import cached_property as django_cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol import registry
from flowcontrol.dataflow import SETS_VALUES, sets_names
from flowcontrol.documents import JSONObject
from flowcontrol.expressions import RESERVED_NAMES
from flowcontrol.expressions.lookups import is_exposed
from flowcontrol.expressions.moments import is_duration, is_moment
from flowcontrol.expressions.tokens import did_you_mean
from flowcontrol.schemas import is_computed, with_defaults

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

Source = Literal["loop", "state", "object", "trigger", "time", "run", "row"]

SOURCES: Final[Mapping[Source, _StrOrPromise]] = {
    "loop": gettext_lazy("Loop"),
    "state": gettext_lazy("State"),
    "object": gettext_lazy("Object"),
    "trigger": gettext_lazy("What the trigger brought"),
    "time": gettext_lazy("Time"),
    "run": gettext_lazy("Run"),
    "row": gettext_lazy("This row"),
}

TYPES: Final[Mapping[str, _StrOrPromise]] = {
    "text": gettext_lazy("text"),
    "choice": gettext_lazy("choice"),
    "number": gettext_lazy("number"),
    "integer": gettext_lazy("whole number"),
    "boolean": gettext_lazy("true or false"),
    "date": gettext_lazy("day"),
    "datetime": gettext_lazy("moment"),
    "time": gettext_lazy("time of day"),
    "duration": gettext_lazy("duration"),
    "list": gettext_lazy("list"),
    "record": gettext_lazy("record"),
    "object": gettext_lazy("object"),
    "rows": gettext_lazy("rows"),
    "any": "",
}
"""What people call the types of values; ``any`` is not known."""


@dataclass(frozen=True, slots=True)
class Name:
    """Something that an expression can read: ``object.delay``.

    ``choices`` are the values that it can have, each with its words; ``label`` says what it is;
    ``value`` is the one that a row before has written out, if one has.
    """

    name: str
    type: str
    source: Source
    label: str = ""
    choices: tuple[tuple[Any, str], ...] = ()
    value: Any = None


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
DEEPEST_RECORD: Final = 3


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

#: By field class, the first that fits.
_FIELD_TYPES: Final[Sequence[tuple[type[models.Field[Any, Any]], str]]] = (
    (models.BooleanField, "boolean"),
    (models.IntegerField, "integer"),
    (models.FloatField, "number"),
    (models.DecimalField, "number"),
    (models.DateTimeField, "datetime"),
    (models.DateField, "date"),
    (models.TimeField, "time"),
    (models.DurationField, "duration"),
    (models.CharField, "text"),
    (models.TextField, "text"),
    (models.UUIDField, "text"),
    (models.GenericIPAddressField, "text"),
    (models.JSONField, "record"),
)
_PYTHON_TYPES: Final[Mapping[type, str]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    Decimal: "number",
    str: "text",
    datetime: "datetime",
    date: "date",
    time: "time",
    timedelta: "duration",
    UUID: "text",
    list: "list",
    tuple: "list",
    dict: "record",
}


def _object_names(model: type[models.Model] | None) -> list[Name]:
    if model is None:
        return []
    label = capfirst(str(model._meta.verbose_name))
    return [Name("object", "object", "object", label), *names_of_model(model, "object")]


def names_of_model(
    model: type[models.Model], prefix: str, *, with_relations: bool = True
) -> list[Name]:
    """What may be read of a model's instances, and of those that they point at."""
    found: list[Name] = []
    related: list[Name] = []
    for field in model._meta.get_fields():
        if isinstance(field, models.Field) and not field.is_relation:
            found += _field_names(model, field, prefix)
        elif with_relations and field.is_relation and field.related_model is not None:
            if field.many_to_one or field.one_to_one:
                found += _reference_names(model, field, prefix)
                related += _names_behind(model, field, prefix)
            else:
                related += _rows_names(model, field, prefix)
    return [*found, *_property_names(model, prefix), *related]


def _may_offer(model: type[models.Model], name: str) -> bool:
    if name == "password" and issubclass(model, AbstractBaseUser):
        return False
    return not name.startswith("_") and is_exposed(model, name)


def _field_type(field: models.Field[Any, Any]) -> str:
    return next((name for kind, name in _FIELD_TYPES if isinstance(field, kind)), "any")


def _field_names(
    model: type[models.Model], field: models.Field[Any, Any], prefix: str
) -> Iterator[Name]:
    label = capfirst(str(field.verbose_name))
    if not _may_offer(model, field.name):
        return
    choices = tuple((value, str(words)) for value, words in field.flatchoices or ())
    type_ = _field_type(field)
    if choices and type_ == "text":
        type_ = "choice"
    yield Name(f"{prefix}.{field.name}", type_, "object", label, choices)
    display = f"get_{field.name}_display"
    if choices and _may_offer(model, display):
        yield Name(
            f"{prefix}.{display}", "text", "object", _("%(field)s, in words") % {"field": label}
        )


def _accessor(model: type[models.Model], field: Any) -> str:
    """By what name a relation is read; empty if it may not be."""
    name = field.name if isinstance(field, models.Field) else field.get_accessor_name()
    return name if name and _may_offer(model, name) else ""


def _relation_label(field: Any) -> str:
    return capfirst(
        str(getattr(field, "verbose_name", "") or field.related_model._meta.verbose_name)
    )


def _reference_names(model: type[models.Model], field: Any, prefix: str) -> Iterator[Name]:
    """A relation to one object, and the key that it is by."""
    label = _relation_label(field)
    if name := _accessor(model, field):
        yield Name(f"{prefix}.{name}", "object", "object", label)
    if isinstance(field, models.ForeignKey) and _may_offer(model, field.attname):
        told = _("%(field)s: its key") % {"field": label}
        yield Name(f"{prefix}.{field.attname}", _field_type(field.target_field), "object", told)


def _names_behind(model: type[models.Model], field: Any, prefix: str) -> Iterator[Name]:
    """What the object has to which a relation leads."""
    if name := _accessor(model, field):
        label = _relation_label(field)
        path = f"{prefix}.{name}"
        for each in names_of_model(field.related_model, path, with_relations=False):
            yield replace(each, label=f"{label}: {each.label}" if each.label else "")


def _rows_names(model: type[models.Model], field: Any, prefix: str) -> Iterator[Name]:
    """A relation to many objects: the rows, and the two questions that are asked most."""
    if name := _accessor(model, field):
        path = f"{prefix}.{name}"
        label = capfirst(str(field.related_model._meta.verbose_name_plural))
        yield Name(path, "rows", "object", label)
        count = _("%(rows)s: how many") % {"rows": label}
        yield Name(f"{path}.count", "integer", "object", count)
        there = _("%(rows)s: are there any") % {"rows": label}
        yield Name(f"{path}.exists", "boolean", "object", there)


_PROPERTIES: Final = (property, cached_property, django_cached_property)


def _property_names(model: type[models.Model], prefix: str) -> Iterator[Name]:
    """The properties that a project has written for its model."""
    seen = {"pk"}
    for owner in model.__mro__:
        if owner.__module__.startswith("django.db."):
            continue
        for name, member in vars(owner).items():
            if name in seen or not isinstance(member, _PROPERTIES):
                continue
            seen.add(name)
            if _may_offer(model, name):
                function = member.fget if isinstance(member, property) else member.func
                yield Name(f"{prefix}.{name}", _returned_type(function), "object", _readable(name))


def _returned_type(function: Any) -> str:
    try:
        returned = typing.get_type_hints(function).get("return")
    except Exception:  # noqa: BLE001 (a name that exists only for type checkers, or worse)
        return "any"
    if not isinstance(returned, type):
        returned = typing.get_origin(returned)
    if isinstance(returned, type):
        for kind, name in _PYTHON_TYPES.items():
            if issubclass(returned, kind):
                return name
        if issubclass(returned, models.Model):
            return "object"
        if issubclass(returned, models.QuerySet | BaseManager):
            return "rows"
    return "any"


def _readable(name: str) -> str:
    return capfirst(name.replace("_", " "))


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
            told.append(_with_advice(message, root, roots))
        elif root == "object" and model is not None:
            told += strange_fields(model, parts)
    return list(dict.fromkeys(told))


def strange_fields(model: type[models.Model], parts: Sequence[str]) -> list[str]:
    """What is wrong with the way from an object along its fields, as far as it can be told."""
    for part in parts:
        if not hasattr(model, part) and not _is_field(model, part):
            # What an instance has that its class has not, nobody offers.
            message = _("%(model)s has no “%(name)s”.") % {
                "model": capfirst(str(model._meta.verbose_name)),
                "name": part,
            }
            offered = {each.name.split(".")[1] for each in names_of_model(model, "object")}
            return [_with_advice(message, part, offered)]
        field = model._meta.get_field(part) if _is_field(model, part) else None
        related = field.related_model if field is not None else None
        if (
            field is None
            or not isinstance(related, type)
            or not (field.many_to_one or field.one_to_one)
        ):
            return []
        model = related
    return []


def _is_field(model: type[models.Model], name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _with_advice(message: str, name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=2)
    return f"{message} {did_you_mean(close)}" if close else message


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


# --- types of values ------------------------------------------------------------------------------


def type_of_value(value: Any) -> str:
    """The type of a value, as :data:`TYPES` has it; what state keeps as text is told apart."""
    match value:
        case None:
            return "any"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float() | Decimal():
            return "number"
        case str() if is_moment(value):
            return "datetime" if len(value) > 10 else "date"
        case str() if is_duration(value):
            return "duration"
        case str():
            return "text"
        case datetime():
            return "datetime"
        case date():
            return "date"
        case time():
            return "time"
        case timedelta():
            return "duration"
        case list() | tuple():
            return "list"
        case Mapping():
            return "record"
        case models.Model():
            return "object"
        case models.QuerySet() | BaseManager():
            return "rows"
    return "any"


def names_in_value(name: str, value: Any, source: Source, depth: int = 1) -> Iterator[Name]:
    """A name and what its value shows to be inside: ``rebooking``, ``rebooking.left``, …"""
    yield Name(name, type_of_value(value), source)
    if isinstance(value, Mapping) and depth < DEEPEST_RECORD:
        for key, inner in value.items():
            if isinstance(key, str) and key.isidentifier() and not key.startswith("_"):
                yield from names_in_value(f"{name}.{key}", inner, source, depth + 1)
