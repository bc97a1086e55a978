"""What may be placed where: the action types that fit between two rows, by group, by a search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from django.utils.translation import gettext as _

from flowcontrol.admin.rows import ICONS, PageRow, RowList
from flowcontrol.drafting import Position
from flowcontrol.registry import actions

if TYPE_CHECKING:
    from flowcontrol.base import BaseAction


@dataclass(frozen=True)
class Spot:
    """A place in a draft where a row can go."""

    target: str
    position: Position
    row: PageRow | None
    before: PageRow | None
    after: PageRow | None

    @property
    def words(self) -> str:
        """Where it is, for people."""
        if self.row is None:
            return _("at the beginning") if self.position == "first" else _("at the end")
        told = {"place": self.row.place, "row": self.row.title}
        match self.position:
            case "before":
                return _("before row %(place)s, “%(row)s”") % told
            case "after":
                return _("after row %(place)s, “%(row)s”") % told
            case "first":
                return _("inside row %(place)s, “%(row)s”, at its beginning") % told
        return _("inside row %(place)s, “%(row)s”") % told

    @property
    def quoted(self) -> str:
        """The target as it stands in addresses."""
        return PageRow.quoted_of(self.target)

    @property
    def anchor(self) -> str:
        """Where the page goes back to if nothing is added."""
        return self.row.anchor if self.row is not None else "add"


def spot(rows: RowList, target: str, position: str) -> Spot | None:
    """The place named by a target and a position; ``None`` if there is no such place (any more)."""
    if position not in get_args(Position):
        return None
    row = rows.by_uid.get(target) if target else None
    if target and row is None:
        return None
    where: Position = position  # type: ignore[assignment]
    if position in ("first", "last"):
        if row is not None and not row.takes_rows:
            return None
        inside = row.children if row is not None else rows.top
        first, last = (inside[0], inside[-1]) if inside else (None, None)
        before, after = (last, None) if position == "last" else (None, first)
        return Spot(target, where, row, before, after)
    if row is None:
        return None
    siblings = row.parent.children if row.parent is not None else rows.top
    index = siblings.index(row) + (position == "after")
    before = siblings[index - 1] if index else None
    after = siblings[index] if index < len(siblings) else None
    return Spot(target, where, row, before, after)


def may_stand(action_type: type[BaseAction], where: Spot) -> bool:
    """Whether a row of this type makes sense there: an Else only after an If, nothing between."""
    if action_type.follows and _type_name(where.before) not in action_type.follows:
        return False
    after = actions.find(where.after.document["action"]) if where.after is not None else None
    return after is None or not after.follows or action_type.name in after.follows


def _type_name(row: PageRow | None) -> str:
    found = actions.find(row.document["action"]) if row is not None else None
    return found.name if found is not None else ""


@dataclass(frozen=True)
class Choice:
    """An action type that can be picked."""

    name: str
    title: str
    description: str
    icon: str


@dataclass
class ChoiceGroup:
    title: str
    choices: list[Choice] = field(default_factory=list)


def choices_for(where: Spot, query: str = "") -> list[ChoiceGroup]:
    """What may be placed there, in groups, in the order in which it was registered.

    ``query``: words that all have to appear in its title, name, group or description.
    """
    wanted = query.casefold().split()
    groups: dict[str, ChoiceGroup] = {}
    for action_type in actions:
        if not may_stand(action_type, where):
            continue
        title, group = str(action_type.verbose_name), str(action_type.group) or _("Other")
        text = f"{title} {action_type.name} {group} {action_type.description}".casefold()
        if not all(word in text for word in wanted):
            continue
        choice = Choice(
            name=action_type.name,
            title=title or action_type.name,
            description=str(action_type.description),
            icon=action_type.icon if action_type.icon in ICONS else "other",
        )
        groups.setdefault(group, ChoiceGroup(group)).choices.append(choice)
    return list(groups.values())
