"""Lists: rows that do something for each of many things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.control import VARIABLE, ControlAction
from flowcontrol.base import Directive, Enter, FlowDirective, RunHandle
from flowcontrol.pages import Page, as_list, as_rows, key_of, label_of, page_after
from flowcontrol.registry import register_action

Config = Mapping[str, Any]

ROUND_NAMES: Final = ("index", "first", "last")
"""What the rows inside can read beside the item: its number from 0, and whether it is an end."""


ITEM_PROPERTIES: Final[Mapping[str, Any]] = {
    "items": {"type": "string", "format": "expression", "minLength": 1},
    "var_name": {**VARIABLE, "default": "item"},
}
"""What every row asks that does something for each of many things."""


@register_action
class ForEach(ControlAction):
    """Runs the rows inside once for each item of a list, or for each row of a relation.

    A list is taken as it is when the loop begins, and kept beside the run's position; rows of the
    database are read in pages, by key.
    """

    name = "for_each"
    verbose_name = _("For each")
    description = _("Repeats the rows inside it for each item of a list, or each related object.")
    icon = "loop"
    has_children = True
    is_loop = True
    has_budget = False
    config_schema = {
        "type": "object",
        "properties": ITEM_PROPERTIES,
        "required": ["items"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "items": _("Of"),
        "var_name": _("Name of the item"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "items": _("A list, or related objects: for example object.tickets, or addresses."),
        "var_name": _(
            "The rows inside can read the item under this name, and also index (from 0), first "
            "and last."
        ),
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        source = run.evaluate(config["items"])
        rows = as_rows(source)
        run.pages.pop(self, None)
        if rows is not None:
            found = self._next_rows(run, rows, None)
            return self._visit(found, 0, config) if found else FlowDirective.CONTINUE
        items = as_list(source, config["items"])
        if not items:
            return FlowDirective.CONTINUE
        return Enter({"index": 0}, self._names(config, 0, len(items) == 1, items[0]), items)

    def return_from_children(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        memo = run.memo
        if memo is None:
            # The run was sent into the block from outside: the loop begins now.
            return self.run(run=run, obj=obj, config=config)
        index = memo["index"] + 1
        if "key" not in memo:
            items = run.items or []
            if index >= len(items):
                return FlowDirective.CONTINUE
            names = self._names(config, index, index + 1 == len(items), items[index])
            return Enter({"index": index}, names)
        if memo["last"]:
            return FlowDirective.CONTINUE
        found = self._next_rows(run, None, memo["key"], config["items"])
        return self._visit(found, index, config) if found else FlowDirective.CONTINUE

    def _next_rows(
        self, run: RunHandle, rows: QuerySet[Model] | None, key: Any, source: str = ""
    ) -> list[Model]:
        """The next row and the one after it, as far as there are some."""
        found = run.pages[self].after(key) if self in run.pages else []
        if len(found) < 2:
            # Of the last one on a page nobody knows whether it is the last of all.
            if rows is None:
                rows = as_rows(run.evaluate(source))
            run.pages[self] = Page(page_after(rows, key) if rows is not None else [])
            found = run.pages[self].rows[:2]
        return found

    def _visit(self, found: list[Model], index: int, config: Config) -> Enter:
        row, is_last = found[0], len(found) == 1
        names = self._names(config, index, is_last, None)
        names["$objects"] = {config["var_name"]: [label_of(row), key_of(row)]}
        return Enter({"index": index, "key": key_of(row), "last": is_last}, names)

    def _names(self, config: Config, index: int, is_last: bool, item: Any) -> dict[str, Any]:
        rounds = zip(ROUND_NAMES, (index, index == 0, is_last), strict=True)
        return {config["var_name"]: item, **dict(rounds)}

    def sentence(self, config: Config) -> str:
        return _now("For each %(name)s of %(items)s") % {
            "name": config.get("var_name") or "item",
            "items": config.get("items", "…"),
        }

    @classmethod
    def sets_names(cls, config: Config) -> set[str]:
        return {*super().sets_names(config), *ROUND_NAMES}
