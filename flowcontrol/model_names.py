"""The names that lead from an object to what it has, and those that lead nowhere."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.manager import BaseManager
from django.utils.functional import cached_property as django_cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flowcontrol.expressions.lookups import is_exposed
from flowcontrol.expressions.tokens import did_you_mean
from flowcontrol.typed_names import Name

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
            return [with_advice(message, part, offered)]
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


def with_advice(message: str, name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=2)
    return f"{message} {did_you_mean(close)}" if close else message
