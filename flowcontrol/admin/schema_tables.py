"""A state schema as a table, one line for each value, and back: texts in cells, no form, no page.

What a cell can show without loss is in its cell. Everything else of a value stays as JSON in the
cell ``more``, untouched; what stands beside the values of a schema is in the table's own ``more``.
So for every schema with a table ``schema_of(table_of(schema), schema) == schema``, to the order of
its keys, and a schema that cannot be drawn at all has no table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.config_fields import read_json
from flowcontrol.expressions import RESERVED_NAMES

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    Schema = Mapping[str, Any]

KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "date-time": {"type": "string", "format": "date-time"},
    "time": {"type": "string", "format": "time"},
    "duration": {"type": "string", "format": "duration"},
    "email": {"type": "string", "format": "email"},
    "model-reference": {"type": "string", "format": "model-reference"},
    "user": {"type": "string", "format": "user"},
    "secret": {"type": "string", "format": "secret"},
    "list": {"type": "array"},
    "group": {"type": "object"},
    "any": {},
    "json": {},
}
"""What a value can be, by name, and how its schema says so. ``json``: by its JSON alone."""

KIND_LABELS: Final[Mapping[str, _StrOrPromise]] = {
    "text": gettext_lazy("Text"),
    "integer": gettext_lazy("Whole number"),
    "number": gettext_lazy("Number"),
    "boolean": gettext_lazy("Yes or no"),
    "date": gettext_lazy("Date"),
    "date-time": gettext_lazy("Date and time"),
    "time": gettext_lazy("Time of day"),
    "duration": gettext_lazy("Length of time"),
    "email": gettext_lazy("Email address"),
    "model-reference": gettext_lazy("Object"),
    "user": gettext_lazy("User"),
    "secret": gettext_lazy("Secret"),
    "list": gettext_lazy("List"),
    "group": gettext_lazy("Group of values"),
    "any": gettext_lazy("Anything"),
    "json": gettext_lazy("As its JSON says"),
}

_TEXTS: Final = frozenset(name for name, says in KINDS.items() if says.get("type") == "string")
_NUMBERS: Final = frozenset({"integer", "number"})
HAS_CHOICES: Final = (_TEXTS | _NUMBERS) - {"secret"}
"""The kinds whose values can be listed, one on a line."""

_KIND_OF: Final = {
    (says.get("type"), says.get("format")): name for name, says in KINDS.items() if says
}
_NOT_ON_A_LINE: Final = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Line:
    """One value, as its cells say. ``was`` is the name it is stored under; empty if it is new."""

    name: str
    kind: str = "text"
    required: bool = False
    default: str = ""
    choices: str = ""
    description: str = ""
    more: str = ""
    was: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether nobody has filled in anything."""
        cells = (self.name, self.default, self.choices, self.description, self.more)
        return not any(cell.strip() for cell in cells)


@dataclass(frozen=True)
class Table:
    """The values of a schema, and as JSON what it says beside them."""

    lines: Sequence[Line] = ()
    more: str = ""


@dataclass(frozen=True)
class CellProblem:
    """What is wrong with a cell: of which line (``None``: the table's own), which one."""

    line: int | None
    cell: str
    message: str


class TableProblems(ValueError):
    """A table that makes no schema, with what is wrong."""

    def __init__(self, problems: Sequence[CellProblem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = list(problems)


# --- from a schema to its table -----------------------------------------------------------------


def table_of(schema: Schema | None) -> Table | None:
    """The table of a schema that :func:`check_schema` accepts; ``None`` if it has to stay JSON."""
    if schema is None:
        return Table()
    declared = schema.get("properties", {})
    if not all(_is_line(name) for name in declared):
        return None
    required = schema.get("required", [])
    rest = {key: value for key, value in schema.items() if key not in _TABLES_OWN}
    beside = [name for name in required if name not in declared]
    if beside or ("required" in schema and not required):
        rest["required"] = beside
    return Table(
        lines=[_line(name, each, name in required) for name, each in declared.items()],
        more=_pretty(rest) if rest else "",
    )


_TABLES_OWN: Final = frozenset({"type", "properties", "required"})


def _line(name: str, schema: Any, required: bool) -> Line:
    kind, says = _kind(schema)
    if kind == "json":
        return Line(name, kind, required, more=_pretty(schema), was=name)
    rest = {key: value for key, value in schema.items() if key not in says}
    cells = {}
    for cell, key, show, read in _CELLS:
        shown = show(kind, rest[key]) if key in rest else None
        # Only what comes back as it was: anything else would be rewritten by a look at it.
        if shown is not None and _comes_back(read, kind, shown, rest[key]):
            cells[cell] = shown
            del rest[key]
    return Line(name, kind, required, **cells, more=_pretty(rest) if rest else "", was=name)


def _comes_back(read: Callable[[str, str], Any], kind: str, shown: str, value: Any) -> bool:
    try:
        return _text(read(kind, shown)) == _text(value)
    except ValueError:
        return False


def _kind(schema: Any) -> tuple[str, Mapping[str, str]]:
    """The kind of a value, and what of its schema says so."""
    if not isinstance(schema, Mapping):
        return "json", {}
    if "type" not in schema:
        is_open = schema.keys() <= {"default", "description", "title"}
        return ("any" if is_open else "json"), {}
    found = schema["type"], schema.get("format")
    if not isinstance(found[0], str):
        return "json", {}
    kind = _KIND_OF.get(found) or _KIND_OF.get((found[0], None), "json")
    return kind, KINDS[kind]


def _show_default(kind: str, value: Any) -> str | None:
    if kind in _TEXTS:
        return value if isinstance(value, str) and _is_line(value) else None
    return _text(value)


def _show_choices(kind: str, value: Any) -> str | None:
    if kind not in HAS_CHOICES or not value:
        return None
    if kind in _TEXTS:
        return "\n".join(value) if all(map(_is_line, value)) else None
    is_fine = all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
    return "\n".join(map(_text, value)) if is_fine else None


def _show_description(_kind: str, value: Any) -> str | None:
    return value if _is_line(value) else None


def _is_line(value: Any) -> bool:
    """Whether an input of one line gives this text back."""
    if not isinstance(value, str) or not value or value != value.strip():
        return False
    return _NOT_ON_A_LINE.search(value) is None


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if _NOT_ON_A_LINE.search(text) else text


def _pretty(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return json.dumps(value, indent=2) if _NOT_ON_A_LINE.search(text.replace("\n", "")) else text


# --- from a table to its schema -----------------------------------------------------------------


def schema_of(table: Table, stored: Schema | None = None) -> dict[str, Any] | None:
    """The schema that a table stands for; ``None`` for a table without anything in it.

    Args:
        table: the cells.
        stored: the schema as it was, for the order of its keys.

    Raises:
        TableProblems: some cells cannot be read. That the whole is a schema is not checked here.
    """
    stored = stored or {}
    reading = _Reading()
    lines = [(number, line) for number, line in enumerate(table.lines) if not line.is_blank]
    rest = reading.beside(table.more)
    properties = reading.properties(lines, stored.get("properties", {}))
    if reading.problems:
        raise TableProblems(reading.problems)
    if not properties and not rest and stored.keys() != {"type"} and stored.get("properties"):
        return None  # the last value was removed
    if not properties and not rest and not stored:
        return None
    schema: dict[str, Any] = {"type": "object"}
    if properties or "properties" in stored:
        schema["properties"] = properties
    required = [line.name.strip() for _number, line in lines if line.required]
    beside = rest.pop("required", None)
    if required or beside is not None:
        was = stored.get("required", [])
        schema["required"] = _in_order(was, [*required, *(beside or [])])
    return _ordered({**schema, **rest}, stored)


@dataclass
class _Reading:
    """Reads the cells of one table and notes what is wrong."""

    problems: list[CellProblem] = field(default_factory=list)

    def beside(self, text: str) -> dict[str, Any]:
        rest = self._object(None, text)
        for key in ("type", "properties"):
            if key in rest:
                self._note(None, "more", _("“%(key)s” stands in the table.") % {"key": key})
        required = rest.get("required", [])
        if not isinstance(required, list) or not all(isinstance(each, str) for each in required):
            self._note(None, "more", _("“required” is a list of names."))
        return rest

    def properties(
        self, lines: Sequence[tuple[int, Line]], stored: Mapping[str, Any]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, line in lines:
            name = line.name.strip()
            if problem := _name_problem(name, line.was, found):
                self._note(number, "name", problem)
            found[name] = self._value(number, line, stored.get(line.was))
        return found

    def _value(self, number: int, line: Line, stored: Any) -> Any:
        if line.kind not in KINDS:
            self._note(number, "kind", _("Choose what it is."))
            return {}
        if line.kind == "json":
            return self._json_value(number, line)
        value: dict[str, Any] = dict(KINDS[line.kind])
        for cell, key, _show, read in _CELLS:
            text = getattr(line, cell)
            if not text.strip():
                continue
            try:
                value[key] = read(line.kind, text)
            except ValueError as error:
                self._note(number, cell, str(error))
        rest = self._object(number, line.more)
        for key in rest.keys() & value.keys():
            message = _("“%(key)s” has a field of its own above.") % {"key": key}
            self._note(number, "more", message)
        return _ordered({**value, **rest}, stored if isinstance(stored, Mapping) else {})

    def _json_value(self, number: int, line: Line) -> Any:
        for cell, _key, _show, _read in _CELLS:
            if getattr(line, cell).strip():
                self._note(number, cell, _("Write this into the JSON, where everything stands."))
        try:
            value = read_json(line.more)
        except ValueError as error:
            self._note(number, "more", str(error))
            return {}
        if not isinstance(value, dict | bool):
            self._note(number, "more", _("Put braces around named values"))
        return value

    def _object(self, number: int | None, text: str) -> dict[str, Any]:
        if not text.strip():
            return {}
        try:
            value = read_json(text)
        except ValueError as error:
            self._note(number, "more", str(error))
            return {}
        if not isinstance(value, dict):
            self._note(number, "more", _("Put braces around named values"))
            return {}
        return value

    def _note(self, line: int | None, cell: str, message: str) -> None:
        self.problems.append(CellProblem(line, cell, message))


def _name_problem(name: str, was: str, taken: Mapping[str, Any]) -> str:
    if not name:
        return _("Give it a name.")
    if name in taken:
        return _("There is a value of this name already.")
    if name == was:
        return ""
    if name in RESERVED_NAMES:
        return _("“%(name)s” means something of its own in expressions.") % {"name": name}
    if _NAME.fullmatch(name) is None:
        return _("Use letters, digits and underscores, and begin with a letter.")
    return ""


def _read_default(kind: str, text: str) -> Any:
    return text.strip() if kind in _TEXTS else _read_value(kind, text)


def _read_choices(kind: str, text: str) -> list[Any]:
    if kind not in HAS_CHOICES:
        raise ValueError(_("A value of this kind has no list of choices."))
    lines = [line.strip() for line in re.split("\r\n|\r|\n", text) if line.strip()]
    found = [line if kind in _TEXTS else _read_value(kind, line) for line in lines]
    if len({_text(each) for each in found}) < len(found):
        raise ValueError(_("A choice stands there twice."))
    return found


def _read_value(kind: str, text: str) -> Any:
    try:
        value = read_json(text)
    except ValueError:
        if kind not in _NUMBERS:
            raise
        value = None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in _NUMBERS and not is_number:
        raise ValueError(_("“%(text)s” is not a number.") % {"text": text.strip()})
    if kind == "integer" and value != int(value):
        raise ValueError(_("“%(text)s” is not a whole number.") % {"text": text.strip()})
    return value


def _read_description(_kind: str, text: str) -> str:
    return text.strip()


# Cell, keyword, from the value to the text of the cell (None: not without loss), and back.
_CELLS: Final = (
    ("default", "default", _show_default, _read_default),
    ("choices", "enum", _show_choices, _read_choices),
    ("description", "description", _show_description, _read_description),
)


def _ordered(value: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """``value`` in the order in which it is stored, new keys last."""
    return {key: value[key] for key in _in_order(list(stored), list(value))}


def _in_order(stored: Sequence[Any], names: Sequence[str]) -> list[str]:
    kept = [name for name in stored if name in names]
    return [*kept, *(name for name in dict.fromkeys(names) if name not in kept)]


def problems_at(problems: Sequence[CellProblem], line: int | None) -> Iterator[CellProblem]:
    """Those of a line, or with ``None`` of the table."""
    return (problem for problem in problems if problem.line == line)
