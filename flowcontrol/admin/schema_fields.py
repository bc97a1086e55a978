"""The form field for a state schema: a table to fill in, or the JSON text of the schema.

In the posted data ``state_schema`` is the JSON text. If ``state_schema-mode`` is ``table``, the
cells count instead: ``state_schema-lines`` says how many numbers were given to lines, and a line
is there if its ``state_schema-3-kind`` is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flowcontrol.admin.config_fields import read_json
from flowcontrol.admin.config_widgets import CodeArea
from flowcontrol.admin.schema_tables import (
    HAS_CHOICES,
    KIND_LABELS,
    CellProblem,
    Line,
    Table,
    TableProblems,
    problems_at,
    schema_of,
    table_of,
)
from flowcontrol.history import same
from flowcontrol.schemas import check_schema

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    Schema = dict[str, Any]

TABLE: Final = "table"
JSON: Final = "json"
MOST_LINES: Final = 500

EXAMPLE: Final = """{
  "type": "object",
  "properties": {"reminders": {"type": "integer", "default": 0}}
}"""

_CELLS: Final = ("name", "kind", "default", "choices", "description", "more", "was")


@dataclass(frozen=True)
class Entered:
    """What a page sent: the text and the cells, and which of them counts."""

    mode: str
    text: str
    table: Table

    def in_mode(self, mode: str, schema: Schema | None) -> Entered:
        """The same schema, the other way round; as JSON if it has no table."""
        table = table_of(schema)
        mode = mode if table is not None else JSON
        return Entered(mode, json_text(schema), table or Table())


def json_text(schema: Mapping[str, Any] | None) -> str:
    """A schema as people read it."""
    if schema is None:
        return ""
    text = json.dumps(schema, indent=2, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(schema, indent=2)  # half a character, which no page can carry
    return text


def read_schema(entered: Entered, stored: Schema | None) -> Schema | None:
    """The schema that was entered, checked.

    Raises:
        TableProblems: some cells cannot be read.
        ValueError: it cannot be read, or it is no schema of a state.
    """
    if entered.mode == TABLE:
        schema = schema_of(entered.table, stored)
    elif not entered.text.strip():
        schema = None
    else:
        schema = read_json(entered.text)
        if not isinstance(schema, dict):
            raise ValueError(_("Put braces around named values"))
    if schema is not None:
        check_schema(schema)
    return schema


class StateSchemaWidget(forms.Widget):
    """The table and the text, one of them in sight; without scripts it is the text."""

    template_name = "flowcontrol/admin/widgets/state_schema.html"

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs)
        self.problems: Sequence[CellProblem] = ()
        self.convert_url = ""

    def use_required_attribute(self, initial: Any) -> bool:
        return False

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Entered:
        mode = TABLE if data.get(f"{name}-mode") == TABLE else JSON
        more = data.get(f"{name}-more") or ""
        return Entered(mode, data.get(name) or "", Table(list(_lines(data, name)), more))

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        return name not in data and f"{name}-mode" not in data

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, None, attrs)
        entered = value if isinstance(value, Entered) else shown(value)
        table: Table | None = entered.table
        if entered.mode == JSON:
            table = _table_of_text(entered.text)
        area = CodeArea(rows=min(max(entered.text.count("\n") + 2, 6), 24), placeholder=EXAMPLE)
        context["widget"] |= {
            "mode": entered.mode,
            "text": area.render(name, entered.text, context["widget"]["attrs"]),
            "has_table": table is not None,
            "lines": [
                ShownLine(name, number, line, list(problems_at(self.problems, number)))
                for number, line in enumerate(table.lines if table else ())
            ],
            "blank": ShownLine(name, "__n__", Line(""), []),
            "more": table.more if table else "",
            "more_problems": list(problems_at(self.problems, None)),
            "convert_url": self.convert_url,
        }
        return context


def shown(schema: Schema | None) -> Entered:
    """A stored schema, as a page begins with it."""
    return Entered(JSON, json_text(schema), Table())


def _table_of_text(text: str) -> Table | None:
    try:
        schema = read_schema(Entered(JSON, text, Table()), None)
    except ValueError:
        return None
    return table_of(schema)


def _lines(data: Mapping[str, Any], name: str) -> Iterator[Line]:
    try:
        count = min(int(data.get(f"{name}-lines") or 0), MOST_LINES)
    except ValueError:
        count = 0
    for number in range(count):
        prefix = f"{name}-{number}"
        if f"{prefix}-kind" not in data:
            continue
        cells = {cell: data.get(f"{prefix}-{cell}") or "" for cell in _CELLS}
        line = Line(**cells, required=f"{prefix}-required" in data)
        if line.kind == "boolean":
            line = replace(line, default=data.get(f"{prefix}-flag") or "")
        yield line


@dataclass
class ShownLine:
    """A line of the table as the template shows it."""

    field_name: str
    number: int | str
    line: Line
    problems: list[CellProblem] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        return f"{self.field_name}-{self.number}"

    @property
    def kinds(self) -> list[tuple[str, _StrOrPromise, bool]]:
        return [(kind, label, kind == self.line.kind) for kind, label in KIND_LABELS.items()]

    @property
    def has_choices(self) -> bool:
        return self.line.kind in HAS_CHOICES or bool(self.line.choices)

    @property
    def is_flag(self) -> bool:
        return self.line.kind == "boolean"

    @property
    def is_json(self) -> bool:
        return self.line.kind == "json"

    @property
    def is_open(self) -> bool:
        """Whether what is rarely needed is in sight."""
        line = self.line
        return bool(line.choices or line.description or line.more or self.problems)

    def __getattr__(self, name: str) -> Any:
        # ``wrong_default``: the messages at that cell, for the template.
        if name.startswith("wrong_"):
            cell = name.removeprefix("wrong_")
            return [problem.message for problem in self.problems if problem.cell == cell]
        raise AttributeError(name)


class StateSchemaField(forms.Field):
    """A state schema, or ``None`` for none. ``stored`` is the schema as it was."""

    widget = StateSchemaWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, **kwargs)
        self.stored: Schema | None = None

    def clean(self, value: Any) -> Schema | None:
        """The schema that was entered.

        Raises:
            ValidationError: it cannot be read; what is wrong with cells is told at them.
        """
        if not isinstance(value, Entered):
            return self.stored  # a field that is only read
        try:
            return read_schema(value, self.stored)
        except TableProblems as error:
            widget: Any = self.widget
            widget.problems = error.problems
            count = len(error.problems)
            told = ngettext(
                "There is a mistake in the table.", "There are %(count)d mistakes in it.", count
            )
            raise ValidationError(told % {"count": count}, code="invalid") from error
        except ValueError as error:
            raise ValidationError(str(error), code="invalid") from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return not same(read_schema(data, self.stored), initial)
        except ValueError:
            return True
