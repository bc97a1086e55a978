"""Several rows at once: delete, move, switch, put a block around them, take one away.

A selection is any ids of one draft. Rows inside a selected row go with it, so only the topmost
count, in the order of the draft. Each verb is one change under the lock, and one step to undo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.utils.translation import gettext as _

from flowcontrol.documents import ROW_DEFAULTS, JSONObject, plain_json
from flowcontrol.drafting import (
    Position,
    move_rows_to,
    with_new_uids,
)
from flowcontrol.drafts import Draft, editing
from flowcontrol.exceptions import DraftRefused
from flowcontrol.models import Flow, FlowAction, new_uid
from flowcontrol.registry import actions
from flowcontrol.sentences import title_of
from flowcontrol.trees import RowTree

COMPANIONS: Final[Mapping[str, str]] = {"try": "on_error"}
"""Blocks that say nothing alone, and the row that is put behind them."""


def select(draft: Draft, uids: Sequence[str]) -> list[str]:
    """The topmost of the rows of these ids, in the order of the draft.

    Raises:
        DraftRefused: there are none, or one of them is not of this draft.
    """
    if not uids:
        raise DraftRefused(_("Select at least one row."))
    draft.require(*uids)
    return draft.tree.topmost(uids)


def delete_rows(
    flow: Flow, uids: Sequence[str], *, revision: int | None = None, user: Any = None
) -> None:
    """Take rows, and everything inside them, out of the draft."""
    with editing(flow, revision, verb="delete", user=user) as draft:
        take_out(draft, uids)


def take_out(draft: Draft, uids: Sequence[str]) -> None:
    """Remove a selection from a draft that is being edited."""
    draft.about = select(draft, uids)
    for uid in draft.about:
        draft.tree.remove(uid)


def move_rows(
    flow: Flow,
    uids: Sequence[str],
    *,
    target: str = "",
    position: Position,
    revision: int | None = None,
    user: Any = None,
) -> list[str]:
    """Move rows, each with everything inside it, one after the other to a place; which ones.

    Raises:
        StaleDraft: see :func:`flowcontrol.drafts.editing`.
        DraftRefused: the target is one of them or inside one, takes no rows, or is too deep.
    """
    with editing(flow, revision, verb="move", user=user) as draft:
        chosen = select(draft, uids)
        move_rows_to(draft, chosen, target, position)
    return chosen


def duplicate_rows(
    flow: Flow, uids: Sequence[str], *, revision: int | None = None, user: Any = None
) -> list[str]:
    """Copies of rows, together behind the last of them; the ids of the copies."""
    with editing(flow, revision, verb="duplicate", user=user) as draft:
        chosen = select(draft, uids)
        copies = [with_new_uids(draft.tree.subtree(uid)) for uid in chosen]
        last = chosen[-1]
        draft.tree.insert(draft.tree.parents[last], draft.tree.index(last) + 1, copies)
        draft.about = chosen
    return [copy["uid"] for copy in copies]


def enable_rows(
    flow: Flow,
    uids: Sequence[str],
    enabled: bool,
    *,
    revision: int | None = None,
    user: Any = None,
) -> None:
    """Switch rows on or off, all of those named, also one inside another."""
    with editing(flow, revision, verb="enable" if enabled else "disable", user=user) as draft:
        select(draft, uids)
        for uid in uids:
            draft.tree.change(uid, enabled=enabled)
        draft.about = list(dict.fromkeys(uids))


def wrap(
    flow: Flow,
    uids: Sequence[str],
    action: str,
    config: Mapping[str, Any] | None = None,
    *,
    revision: int | None = None,
    user: Any = None,
) -> FlowAction:
    """Put a new block of the type ``action`` around rows that stand together; the new row.

    Rows of a chain stay together: with an If goes its Else. What the block needs to be told (a
    condition, a list) may be left out; the checker asks for it.

    Raises:
        StaleDraft: see :func:`flowcontrol.drafts.editing`.
        DraftRefused: the rows do not stand together, the type holds no rows, or it is too deep.
        UnknownAction: there is no such type.
        DocumentError: the config is not JSON.
    """
    action_type = actions[action]
    if not action_type.has_children or action_type.follows:
        raise DraftRefused(
            _("“%(type)s” cannot be put around rows.") % {"type": action_type.verbose_name}
        )
    with editing(flow, revision, verb="wrap", user=user) as draft:
        chosen = together(draft, uids)
        around = new_row(action, config)
        block, index = draft.tree.parents[chosen[0]], draft.tree.index(chosen[0])
        rows = [around]
        if (companion := COMPANIONS.get(action)) and companion in actions:
            rows.append(new_row(companion))
        draft.tree.insert(block, index, rows)
        if action_type.holds:
            _put_into_parts(draft.tree, chosen, around["uid"], action_type.holds[0])
        else:
            draft.tree.move(chosen, around["uid"], 0)
        draft.about = chosen
    return _row(flow, around["uid"])


def _put_into_parts(tree: RowTree, uids: Sequence[str], around: str, part: str) -> None:
    """A block that holds parts of one kind, as Parallel its branches, gets one for each row."""
    for uid in uids:
        parts = tree.blocks[around]
        if not parts or not _continues(tree, uid):
            tree.insert(around, len(parts), [new_row(part)])
        into = tree.blocks[around][-1]
        tree.move([uid], into, len(tree.blocks[into]))


def unwrap(flow: Flow, uid: str, *, revision: int | None = None, user: Any = None) -> list[str]:
    """Take away a block and leave what was inside it in its place; the ids of those rows.

    Raises:
        StaleDraft: see :func:`flowcontrol.drafts.editing`.
        DraftRefused: there is nothing inside it, or rows of its chain would be left alone.
    """
    with editing(flow, revision, verb="unwrap", user=user) as draft:
        draft.require(uid)
        tree = draft.tree
        inside = list(tree.blocks[uid])
        if not inside:
            raise DraftRefused(_("There are no rows inside this row."))
        if followers := _followers(tree, uid):
            title = title_of({"uid": followers[0], **tree.rows[followers[0]]})
            raise DraftRefused(
                _("“%(row)s” belongs to this row. Move or delete it first.") % {"row": title}
            )
        tree.move(inside, tree.parents[uid], tree.index(uid))
        tree.remove(uid)
        draft.about = inside
    return inside


def together(draft: Draft, uids: Sequence[str]) -> list[str]:
    """A selection as one piece of a block, chains whole.

    Raises:
        DraftRefused: there are other rows between them, or they are in several blocks.
    """
    tree, chosen = draft.tree, select(draft, uids)
    siblings = tree.siblings(chosen[0])
    if any(tree.parents[uid] != tree.parents[chosen[0]] for uid in chosen):
        raise DraftRefused(_("These rows are not in the same block. Select rows side by side."))
    first, last = siblings.index(chosen[0]), siblings.index(chosen[-1])
    while first and _continues(tree, siblings[first]):
        first -= 1
    last += len(_followers(tree, siblings[last]))
    piece = siblings[first : last + 1]
    if missing := [
        uid
        for uid in piece
        if uid not in chosen and not _continues(tree, uid) and uid != siblings[first]
    ]:
        title = title_of({"uid": missing[0], **tree.rows[missing[0]]})
        raise DraftRefused(
            _("“%(row)s” stands between these rows. Select rows side by side.") % {"row": title}
        )
    return piece


def _continues(tree: RowTree, uid: str) -> bool:
    """Whether a row belongs to the one before it, as Else does."""
    action_type = actions.find(tree.rows[uid]["action"])
    return action_type is not None and bool(action_type.follows)


def _followers(tree: RowTree, uid: str) -> list[str]:
    """The rows of its chain that come after a row."""
    followers = []
    for other in tree.siblings(uid)[tree.index(uid) + 1 :]:
        if not _continues(tree, other):
            break
        followers.append(other)
    return followers


def new_row(action: str, config: Mapping[str, Any] | None = None) -> JSONObject:
    """A row that is in no draft yet, as a document has it."""
    return {
        **ROW_DEFAULTS,
        "uid": new_uid(),
        "action": action,
        "schema_version": actions[action].schema_version,
        "config": plain_json(dict(config or {})),
    }


def _row(flow: Flow, uid: str) -> FlowAction:
    row: FlowAction = FlowAction.objects.get(flow=flow, uid=uid)
    return row
