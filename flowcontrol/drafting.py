"""Editing a draft: flows, and one row at a time.

Each verb takes the ``revision`` that the caller has seen (``None``: whatever it is, for code) and
the ``user`` who asks, for the record. It returns the row that it made or changed;
``flow.draft_revision`` is the new revision afterwards. :mod:`flowcontrol.shaping` has the verbs for
several rows, :mod:`flowcontrol.clipboard` copies and pastes, :mod:`flowcontrol.undoing` takes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from django.db import IntegrityError, transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.documents import ROW_DEFAULTS, JSONObject, plain_json, read_document
from flowcontrol.drafts import (
    ATTEMPTS,
    MAX_DEPTH,
    Draft,
    content_type_named,
    draft_document,
    draft_documents,
    editing,
    frozen,
    root_of,
    write_first_rows,
    write_settings,
)
from flowcontrol.exceptions import DraftRefused
from flowcontrol.models import Flow, FlowAction, FlowTest, new_uid
from flowcontrol.registry import actions
from flowcontrol.sentences import title_of
from flowcontrol.trees import TOP, RowTree

__all__ = [
    "ATTEMPTS",
    "MAX_DEPTH",
    "Draft",
    "Position",
    "Step",
    "add_action",
    "content_type_named",
    "create_flow",
    "delete_action",
    "draft_document",
    "draft_documents",
    "duplicate_action",
    "duplicate_flow",
    "edit_action",
    "editing",
    "free_slug",
    "frozen",
    "move_action",
    "place_for",
    "replace_draft",
    "root_of",
    "set_enabled",
    "step_action",
    "with_new_uids",
]

Position = Literal["first", "last", "before", "after"]
"""Where a row goes: into the block of its target, or beside it."""

_EDITABLE: Final[Mapping[str, str]] = {
    "config": "config",
    "label": "label",
    "note": "note",
    "is_enabled": "enabled",
    "retry": "retry",
    "on_error": "on_error",
    "result_key": "result_key",
}
"""What may be changed of a row, and what a document calls it."""


# --- flows --------------------------------------------------------------------------------------


def create_flow(name: str, slug: str = "", **settings: Any) -> Flow:
    """A new flow with an empty draft; ``settings`` are fields of :class:`Flow`.

    Raises:
        IntegrityError: another flow has this ``slug``; without one, a free one is found.
    """
    return _insert_flow(Flow(**settings), name, slug)


def _insert_flow(flow: Flow, name: str, slug: str, rows: Sequence[JSONObject] = ()) -> Flow:
    flow.name = name
    with transaction.atomic():
        for attempt in range(ATTEMPTS):
            flow.pk, flow.slug = None, slug or free_slug(name)
            try:
                with transaction.atomic():
                    flow.save(force_insert=True)
                break
            except IntegrityError:
                # Free a moment ago: somebody else has just given it to a flow of this name.
                if slug or attempt == ATTEMPTS - 1:
                    raise
        write_first_rows(flow, rows)
    return flow


def free_slug(name: str) -> str:
    """A short name for a flow called ``name`` that no other flow has."""
    base = slugify(name)[:90] or "flow"
    taken = set(Flow.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    slug, number = base, 2
    while slug in taken:
        slug, number = f"{base}-{number}", number + 1
    return slug


def duplicate_flow(flow: Flow, name: str, slug: str = "") -> Flow:
    """A copy of draft, tests and settings under a new name: switched off, without versions."""
    copy = Flow.objects.get(pk=flow.pk)
    copy._state.adding = True
    copy.live_version, copy.active_at, copy.paused_at, copy.draft_revision = None, None, None, 1
    with transaction.atomic():
        copy = _insert_flow(copy, name, slug, draft_document(flow)["actions"])
        copy.starters.set(flow.starters.all())
        tests = list(FlowTest.objects.filter(flow=flow))
        for test in tests:
            test.pk, test.flow, test.result, test.tried_at = None, copy, None, None
        FlowTest.objects.bulk_create(tests)
    return copy


def replace_draft(
    flow: Flow,
    document: Mapping[str, Any],
    *,
    revision: int | None = None,
    user: Any = None,
) -> None:
    """Make the draft equal to ``document``: its rows, object type, conditions, schema, identity.

    Raises:
        DocumentError: it is not a document.
        DraftRefused: its object type or identity does not exist here, it is too deep, or ``user``
            may not let the flow act as its identity.
        StaleDraft: see :func:`editing`.
    """
    document = read_document(document)
    with editing(flow, revision, verb="replace", user=user) as draft:
        draft.tree = RowTree.of(document["actions"])
        write_settings(draft.flow, document)
    for name in ("content_type", "condition", "state_schema", "identity"):
        setattr(flow, name, getattr(draft.flow, name))


# --- rows ---------------------------------------------------------------------------------------


def add_action(
    flow: Flow,
    action: str,
    config: Mapping[str, Any] | None = None,
    *,
    target: str = "",
    position: Position = "last",
    revision: int | None = None,
    user: Any = None,
    uid: str = "",
    **fields: Any,
) -> FlowAction:
    """A new row, placed by ``position`` in or beside the row ``target`` (none: the flow itself).

    Raises:
        StaleDraft, DraftRefused, UnknownAction
        DocumentError: the config is not JSON.
    """
    action_type = actions[action]
    row = {
        **ROW_DEFAULTS,
        **_fields(fields),
        "uid": uid or new_uid(),
        "action": action_type.name,
        "config": plain_json(dict(config or {})),
        "schema_version": action_type.schema_version,
    }
    with editing(flow, revision, verb="add", user=user) as draft:
        draft.tree.insert(*place_for(draft, target, position), [row])
        draft.about = [row["uid"]]
    return _row(flow, row["uid"])


def edit_action(
    flow: Flow, uid: str, *, revision: int | None = None, user: Any = None, **changes: Any
) -> FlowAction:
    """Change fields of a row: config, label, note, is_enabled, retry, on_error, result_key.

    Raises:
        StaleDraft, DraftRefused
        DocumentError: the config is not JSON.
        TypeError: a field that is not among these; where a row is, is not for editing.
    """
    fields = _fields(changes)
    if "config" in fields:
        fields["config"] = plain_json(fields["config"])
    with editing(flow, revision, verb="edit", user=user) as draft:
        draft.require(uid)
        action_type = actions.find(draft.tree.rows[uid]["action"])
        if "config" in fields and action_type is not None:
            fields["schema_version"] = action_type.schema_version
        draft.tree.change(uid, **fields)
        draft.about = [uid]
    return _row(flow, uid)


def _fields(changes: Mapping[str, Any]) -> JSONObject:
    if unknown := changes.keys() - _EDITABLE.keys():
        raise TypeError(f"A row has no field {min(unknown)!r} that could be edited.")
    return {_EDITABLE[name]: value for name, value in changes.items()}


def set_enabled(
    flow: Flow, uid: str, enabled: bool, *, revision: int | None = None, user: Any = None
) -> FlowAction:
    """Switch a row, with everything inside it, on or off."""
    with editing(flow, revision, verb="enable" if enabled else "disable", user=user) as draft:
        draft.require(uid)
        draft.tree.change(uid, enabled=enabled)
        draft.about = [uid]
    return _row(flow, uid)


def move_action(
    flow: Flow,
    uid: str,
    *,
    target: str = "",
    position: Position,
    revision: int | None = None,
    user: Any = None,
) -> FlowAction:
    """Move a row with everything inside it.

    Raises:
        StaleDraft: see :func:`editing`.
        DraftRefused: the target is the row itself or inside it, takes no rows, or is too deep.
    """
    with editing(flow, revision, verb="move", user=user) as draft:
        draft.require(uid)
        move_rows_to(draft, [uid], target, position)
    return _row(flow, uid)


def move_rows_to(draft: Draft, uids: Sequence[str], target: str, position: Position) -> None:
    """Put rows of a draft, one after the other, in or beside ``target``.

    Raises:
        DraftRefused: see :func:`move_action`.
    """
    block, index = place_for(draft, target, position)
    if any(draft.tree.is_inside(target or TOP, uid) for uid in uids):
        raise DraftRefused(_("A row cannot be moved into itself."))
    draft.tree.move(uids, block, index)
    draft.about = list(uids)


def duplicate_action(
    flow: Flow, uid: str, *, revision: int | None = None, user: Any = None
) -> FlowAction:
    """A copy of a row, with everything inside it, right after it; all ids are new."""
    with editing(flow, revision, verb="duplicate", user=user) as draft:
        draft.require(uid)
        copy = with_new_uids(draft.tree.subtree(uid))
        draft.tree.insert(*place_for(draft, uid, "after"), [copy])
        draft.about = [uid]
    return _row(flow, copy["uid"])


def delete_action(flow: Flow, uid: str, *, revision: int | None = None, user: Any = None) -> None:
    """Take a row, and everything inside it, out of the draft."""
    with editing(flow, revision, verb="delete", user=user) as draft:
        draft.require(uid)
        draft.tree.remove(uid)
        draft.about = [uid]


Step = Literal["up", "down", "in", "out"]


def step_action(
    flow: Flow, uid: str, step: Step, *, revision: int | None = None, user: Any = None
) -> FlowAction:
    """Move a row by one: among its siblings, into the block before it, or out behind its own.

    Raises:
        DraftRefused: there is nothing in that direction.
    """
    with editing(flow, revision, verb="move", user=user) as draft:
        draft.require(uid)
        move_rows_to(draft, [uid], *_one_step(draft.tree, uid, step))
    return _row(flow, uid)


def _one_step(tree: RowTree, uid: str, step: Step) -> tuple[str, Position]:
    siblings, index, parent = tree.siblings(uid), tree.index(uid), tree.parents[uid]
    before = siblings[index - 1] if index else None
    after = siblings[index + 1] if index + 1 < len(siblings) else None
    if step == "up" and before is not None:
        return before, "before"
    if step == "down" and after is not None:
        return after, "after"
    if step == "in" and before is not None and takes_rows(tree, before):
        return before, "last"
    if step == "out" and parent != TOP:
        return parent, "after"
    raise DraftRefused(str(_NO_WAY[step]))


_NO_WAY: Final[Mapping[str, Any]] = {
    "up": gettext_lazy("The row is the first of its block."),
    "down": gettext_lazy("The row is the last of its block."),
    "in": gettext_lazy("There is no block right before this row that it could move into."),
    "out": gettext_lazy("The row is not inside a block."),
}


def _row(flow: Flow, uid: str) -> FlowAction:
    row: FlowAction = FlowAction.objects.get(flow=flow, uid=uid)
    row.flow = flow
    return row


# --- places -------------------------------------------------------------------------------------


def place_for(draft: Draft, target: str, position: Position) -> tuple[str, int]:
    """The block and the index in it that are meant by a place in or beside ``target``.

    Raises:
        DraftRefused: there is no such place.
    """
    tree = draft.tree
    if target:
        draft.require(target)
    if position in ("first", "last"):
        if not takes_rows(tree, target or TOP):
            title = title_of({"uid": target, **tree.rows[target]})
            raise DraftRefused(_("“%(row)s” takes no rows inside it.") % {"row": title})
        return target or TOP, 0 if position == "first" else len(tree.blocks[target or TOP])
    if not target:
        raise DraftRefused(_("There is no place beside the flow itself."))
    return tree.parents[target], tree.index(target) + (position == "after")


def takes_rows(tree: RowTree, uid: str) -> bool:
    """Whether rows can be put inside a row, or inside the flow itself."""
    if uid == TOP:
        return True
    action_type = actions.find(tree.rows[uid]["action"])
    # A type that is gone may have taken rows: leave what is inside it where it is.
    return action_type.has_children if action_type else bool(tree.blocks[uid])


def with_new_uids(row: Mapping[str, Any]) -> JSONObject:
    """A copy of a row, and of everything inside it, under ids of its own."""
    return {
        **row,
        "uid": new_uid(),
        "children": [with_new_uids(child) for child in row["children"]],
    }
