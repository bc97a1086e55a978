"""What an expression can read, in words: a name, its type, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from django.db import models
from django.db.models.manager import BaseManager
from django.utils.translation import gettext_lazy

from flowcontrol.expressions.moments import is_duration, is_moment

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


DEEPEST_RECORD: Final = 3
"""Levels of a record that are told."""


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
