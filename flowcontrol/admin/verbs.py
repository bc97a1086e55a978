"""What can be done with rows: the one list behind the menu, the keys, the help and the buttons.

A verb with a ``page`` is a POST to it; the others (open, copy, …) are for the browser, which knows
them by name. Whoever adds something that can be done with rows adds it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from django.utils.translation import gettext_lazy as _

from flowcontrol.registry import actions

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    from flowcontrol.admin.rights import Right, Rights
    from flowcontrol.admin.rows import PageRow

Needs = Literal[
    "", "previous", "next", "block-before", "parent", "block", "full-block", "on", "off"
]
"""What has to be true of a row for the verb to make sense."""

_SIGNS: Final = {
    "ArrowUp": "↑",
    "ArrowDown": "↓",
    "ArrowLeft": "←",
    "ArrowRight": "→",
    "Delete": _("Delete"),
    "Enter": _("Enter"),
    "Escape": _("Escape"),
    "Space": _("Space"),
    "Home": _("Home"),
    "End": _("End"),
}


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that can be done.

    Attributes:
        keys: as browsers name them: ``Alt+ArrowUp``. The list has to have the focus.
        page: the name of the page that does it.
        data: what is posted to it beside the rows.
        is_for_many: whether it works on several rows at once.
    """

    name: str
    title: _StrOrPromise
    keys: str = ""
    page: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    needs: Needs = ""
    is_for_many: bool = True
    is_grave: bool = False
    right: Right = "change"

    @property
    def shown_keys(self) -> list[str]:
        """The keys one by one, as people read them."""
        return [str(_SIGNS.get(key, key.upper())) for key in self.keys.split("+") if key]

    def suits(self, row: PageRow) -> bool:
        """Whether it makes sense for ``row``."""
        match self.needs:
            case "previous":
                return not row.is_first
            case "next":
                return not row.is_last
            case "block-before":
                return row.can_go_in
            case "parent":
                return row.parent is not None
            case "block":
                return row.takes_rows
            case "full-block":
                return bool(row.children)
            case "on":
                return row.is_enabled
            case "off":
                return not row.is_enabled
        return True


MENU: Final[tuple[tuple[Verb, ...], ...]] = (
    (
        Verb("open", _("Edit"), "Enter", is_for_many=False),
        Verb("add_before", _("Add a row before"), "Shift+A", is_for_many=False),
        Verb("add_inside", _("Add a row inside"), "I", needs="block", is_for_many=False),
        Verb("add_after", _("Add a row after"), "A", is_for_many=False),
        Verb("select", _("Select"), "Space", is_for_many=False),
        Verb("run_here", _("Run to here"), "R", is_for_many=False, right="trial"),
    ),
    (
        Verb("up", _("Move up"), "Alt+ArrowUp", "move_rows", {"step": "up"}, "previous"),
        Verb("down", _("Move down"), "Alt+ArrowDown", "move_rows", {"step": "down"}, "next"),
        Verb(
            *("in", _("Move into the block before it"), "Alt+ArrowRight", "move_rows"),
            {"step": "in"},
            "block-before",
        ),
        Verb(
            *("out", _("Move out of its block"), "Alt+ArrowLeft", "move_rows"),
            {"step": "out"},
            "parent",
        ),
    ),
    (
        Verb("cut", _("Cut"), "Ctrl+X"),
        Verb("copy", _("Copy"), "Ctrl+C"),
        Verb("paste", _("Paste after"), "Ctrl+V", is_for_many=False),
        Verb("paste_inside", _("Paste inside"), needs="block", is_for_many=False),
        Verb("duplicate", _("Duplicate"), "D", "duplicate_rows"),
    ),
    (
        Verb("wrap_if", _("Put into an If"), "W", "wrap_rows", {"action": "if"}),
        Verb("wrap_for_each", _("Put into a For each"), "", "wrap_rows", {"action": "for_each"}),
        Verb("wrap_try", _("Put into a Try"), "", "wrap_rows", {"action": "try"}),
        Verb("wrap_group", _("Put into a Group"), "G", "wrap_rows", {"action": "group"}),
        Verb(
            *("unwrap", _("Take the block away"), "Shift+W", "unwrap_row"),
            needs="full-block",
            is_for_many=False,
        ),
        Verb("extract", _("Make a flow of its own"), "", "extract_rows", right="add"),
    ),
    (
        Verb("switch_off", _("Switch off"), "O", "switch_rows", {"enabled": "0"}, "on"),
        Verb("switch_on", _("Switch on"), "O", "switch_rows", {"enabled": "1"}, "off"),
        Verb("delete", _("Delete"), "Delete", "delete_rows", is_grave=True),
    ),
)
"""The menu of a row, part by part."""

VERBS: Final[Mapping[str, Verb]] = {verb.name: verb for part in MENU for verb in part}


def menu_for(rights: Rights) -> list[list[Verb]]:
    """The menu with what somebody may do, with the types that there are; empty: nothing."""
    parts = [
        [
            verb
            for verb in part
            if rights[verb.right] and ("action" not in verb.data or verb.data["action"] in actions)
        ]
        for part in MENU
    ]
    return [part for part in parts if part]


FIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "empty-block": ("add_inside", "delete"),
    "out-of-place": ("delete",),
    "unknown-action": ("delete",),
    "unreachable": ("delete",),
}
"""The verbs that put a finding right, by its code; for the others the row's form is the place."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of the list that are not verbs of a row."""

    keys: tuple[str, ...]
    title: _StrOrPromise
    right: Right = "view"

    @property
    def shown_keys(self) -> list[list[str]]:
        return [
            [str(_SIGNS.get(key, key)) for key in combination.split("+")]
            for combination in self.keys
        ]


OTHER_KEYS: Final = (
    Keys(("ArrowUp", "ArrowDown", "Home", "End"), _("Go to another row")),
    Keys(("ArrowLeft", "ArrowRight"), _("Fold or unfold a block")),
    Keys(("Ctrl+ArrowLeft", "Ctrl+ArrowRight"), _("Fold or unfold all blocks")),
    Keys(("Shift+ArrowUp", "Shift+ArrowDown"), _("Select several rows"), "change"),
    Keys(("Ctrl+A",), _("Select everything"), "change"),
    Keys(("M",), _("Open the menu of the row"), "trial"),
    Keys(("Ctrl+Z", "Ctrl+Shift+Z"), _("Undo, redo"), "change"),
    Keys(("P",), _("Go to the next problem")),
    Keys(("T",), _("Try it"), "trial"),
    Keys(("H",), _("Hide what a trial or the tests left at the rows")),
    Keys(("Ctrl+Enter",), _("In a form: save it, or try it"), "trial"),
    Keys(("Escape",), _("Back to the list; there: drop the selection")),
    Keys(("?",), _("Show these keys")),
)


def other_keys_for(rights: Rights) -> list[Keys]:
    """Those that do something for somebody."""
    return [keys for keys in OTHER_KEYS if rights[keys.right]]
