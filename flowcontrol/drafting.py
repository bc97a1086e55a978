"""Editing a draft: every change of the tree goes through here.

A materialised-path tree guards nothing by itself: concurrent moves corrupt it, and a row can be
put under another flow's root. So each edit takes the lock on its ``Flow`` row first, checks that
the page it comes from is not stale, and refuses what would break the tree.

Each verb takes the ``revision`` that the caller has seen (``None``: whatever it is, for code) and
returns the row it made or changed; ``flow.draft_revision`` is the new revision afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Literal

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.compiling import current_config
from flowcontrol.documents import FORMAT, JSONObject, plain_json, read_document
from flowcontrol.exceptions import AuthorError, DraftRefused, StaleDraft
from flowcontrol.models import Flow, FlowAction, FlowTest, new_uid
from flowcontrol.registry import actions

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

Position = Literal["first", "last", "before", "after"]
"""Where a row goes: into the block of its target, or beside it."""

MAX_DEPTH: Final = 60
"""Levels of blocks. A path of 255 characters holds 63, less the root's and some to spare."""

ATTEMPTS: Final = 30
"""How often to try again when others make flows at the same moment; one of them always gets in."""

_ROW_FIELDS: Final = ("action", "config", "schema_version", "label", "note", "result_key")
_EDITABLE: Final = frozenset(
    {"config", "label", "note", "is_enabled", "retry", "on_error", "result_key"}
)


@dataclass(slots=True)
class Draft:
    """A draft under its lock."""

    flow: Flow
    root: FlowAction

    def row(self, uid: str) -> FlowAction:
        """The row of this id.

        Raises:
            DraftRefused: this flow's draft has no such row.
        """
        found: FlowAction | None
        found = FlowAction.objects.filter(flow=self.flow, uid=uid, depth__gt=1).first()
        if found is None:
            raise DraftRefused(
                _('The draft of "%(flow)s" has no row %(uid)r (any more).')
                % {"flow": self.flow, "uid": uid}
            )
        return found


@contextmanager
def editing(flow: Flow, revision: int | None = None) -> Iterator[Draft]:
    """Lock the draft of ``flow``, and count a new revision when the block ends well.

    Raises:
        StaleDraft: ``revision`` is not the draft's any more; nothing is written.
    """
    with transaction.atomic():
        # Two edits at once would each compute paths from the same tree and overwrite each other.
        locked = Flow.objects.locked(flow.pk)
        if revision is not None and revision != locked.draft_revision:
            raise StaleDraft(
                _(
                    'The draft of "%(flow)s" was changed by somebody else since you opened it. '
                    "Nothing was saved; reload the page to see the change."
                )
                % {"flow": locked}
            )
        yield Draft(locked, root_of(locked))
        new_revision = locked.draft_revision + 1
        Flow.objects.filter(pk=flow.pk).update(draft_revision=new_revision)
    flow.draft_revision = new_revision


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
        _write_rows(root_of(flow), rows, flow)
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


def root_of(flow: Flow) -> FlowAction:
    """The hidden root row of a flow, made when it is missing.

    Two flows made at the same moment compute the same next path for their roots; the database
    lets one of them in, and the other tries again.
    """
    for _attempt in range(ATTEMPTS):
        root: FlowAction | None = FlowAction.objects.filter(flow=flow, depth=1).first()
        if root is not None:
            return root
        with suppress(IntegrityError), transaction.atomic():
            root = FlowAction(flow=flow)
            FlowAction.objects.add_root(instance=root)
            return root
    raise DraftRefused(
        _('The draft of "%(flow)s" could not be set up; please try again.') % {"flow": flow}
    )


# --- rows ---------------------------------------------------------------------------------------


def add_action(
    flow: Flow,
    action: str,
    config: Mapping[str, Any] | None = None,
    *,
    target: str = "",
    position: Position = "last",
    revision: int | None = None,
    **fields: Any,
) -> FlowAction:
    """A new row, placed by ``position`` in or beside the row ``target`` (none: the flow itself).

    Raises:
        StaleDraft, DraftRefused, UnknownAction
        DocumentError: the config is not JSON.
    """
    action_type = actions[action]
    with editing(flow, revision) as draft:
        row = FlowAction(
            flow=draft.flow,
            action=action_type.name,
            config=plain_json(dict(config or {})),
            schema_version=action_type.schema_version,
            **fields,
        )
        return _place(draft, row, target, position)


def edit_action(flow: Flow, uid: str, *, revision: int | None = None, **changes: Any) -> FlowAction:
    """Change fields of a row: config, label, note, is_enabled, retry, on_error, result_key.

    Raises:
        StaleDraft, DraftRefused
        DocumentError: the config is not JSON.
        TypeError: a field that is not among these; where a row is, is not for editing.
    """
    if unknown := changes.keys() - _EDITABLE:
        raise TypeError(f"edit_action() does not change {min(unknown)!r}.")
    with editing(flow, revision) as draft:
        row = draft.row(uid)
        if "config" in changes:
            changes["config"] = plain_json(changes["config"])
            action_type = actions.find(row.action)
            changes["schema_version"] = (
                action_type.schema_version if action_type else row.schema_version
            )
        for name, value in changes.items():
            setattr(row, name, value)
        row.save(update_fields=list(changes))
        return row


def set_enabled(flow: Flow, uid: str, enabled: bool, *, revision: int | None = None) -> FlowAction:
    """Switch a row, with everything inside it, on or off."""
    return edit_action(flow, uid, revision=revision, is_enabled=enabled)


def move_action(
    flow: Flow, uid: str, *, target: str = "", position: Position, revision: int | None = None
) -> FlowAction:
    """Move a row with everything inside it.

    Raises:
        StaleDraft: see :func:`editing`.
        DraftRefused: the target is the row itself or inside it, takes no rows, or is too deep.
    """
    with editing(flow, revision) as draft:
        aim = draft.row(target) if target else draft.root
        return _move(draft.row(uid), aim, position)


def duplicate_action(flow: Flow, uid: str, *, revision: int | None = None) -> FlowAction:
    """A copy of a row, with everything inside it, right after it; all ids are new."""
    with editing(flow, revision) as draft:
        row = draft.row(uid)
        document = _with_new_uids(_read_rows(FlowAction.objects.get_tree(row))[0])
        copy = _unsaved(document, draft.flow)
        FlowAction.objects.add_sibling(row, "right", instance=copy)
        _write_rows(copy, document["children"], draft.flow)
        copy.refresh_from_db()
        return copy


def delete_action(flow: Flow, uid: str, *, revision: int | None = None) -> None:
    """Take a row, and everything inside it, out of the draft."""
    with editing(flow, revision) as draft:
        FlowAction.objects.filter(pk=draft.row(uid).pk).delete()


Step = Literal["up", "down", "in", "out"]


def step_action(flow: Flow, uid: str, step: Step, *, revision: int | None = None) -> FlowAction:
    """Move a row by one: among its siblings, into the block before it, or out behind its own.

    Raises:
        DraftRefused: there is nothing in that direction.
    """
    with editing(flow, revision) as draft:
        row = draft.row(uid)
        before = FlowAction.objects.get_prev_sibling(row)
        after = FlowAction.objects.get_next_sibling(row)
        parent = FlowAction.objects.get_parent(row)
        if step == "up" and before is not None:
            return _move(row, before, "before")
        if step == "down" and after is not None:
            return _move(row, after, "after")
        if step == "in" and before is not None and _takes_rows(before):
            return _move(row, before, "last")
        if step == "out" and parent is not None and parent.depth > 1:
            return _move(row, parent, "after")
        raise DraftRefused(str(_NO_WAY[step]))


_NO_WAY: Final[Mapping[str, _StrOrPromise]] = {
    "up": gettext_lazy("The row is the first of its block."),
    "down": gettext_lazy("The row is the last of its block."),
    "in": gettext_lazy("There is no block right before this row that it could move into."),
    "out": gettext_lazy("The row is not inside a block."),
}
_TREEBEARD: Final[Mapping[str, str]] = {
    "first": "first-child",
    "last": "last-child",
    "before": "left",
    "after": "right",
}


def _place(draft: Draft, row: FlowAction, target: str, position: Position) -> FlowAction:
    aim = draft.row(target) if target else draft.root
    _check_place(aim, position, 0)
    placed: FlowAction
    if position in ("before", "after"):
        placed = FlowAction.objects.add_sibling(aim, _TREEBEARD[position], instance=row)
    else:
        first = FlowAction.objects.get_first_child(aim) if position == "first" else None
        if first is not None:
            placed = FlowAction.objects.add_sibling(first, "left", instance=row)
        else:
            placed = FlowAction.objects.add_child(aim, instance=row)
    placed.refresh_from_db()
    return placed


def _move(row: FlowAction, aim: FlowAction, position: Position) -> FlowAction:
    if aim.pk == row.pk or aim.path.startswith(row.path):
        raise DraftRefused(_("A row cannot be moved into itself."))
    deepest = max(FlowAction.objects.get_tree(row).values_list("depth", flat=True))
    _check_place(aim, position, deepest - row.depth)
    FlowAction.objects.move(row, aim, _TREEBEARD[position])
    row.refresh_from_db()
    return row


def _check_place(aim: FlowAction, position: Position, below: int) -> None:
    inside = position in ("first", "last")
    if inside and not _takes_rows(aim):
        raise DraftRefused(_('"%(row)s" takes no rows inside it.') % {"row": aim})
    if not inside and aim.depth == 1:
        raise DraftRefused(_("There is no place beside the flow itself."))
    if aim.depth + inside + below > MAX_DEPTH:
        raise DraftRefused(
            _("Blocks can be nested %(depth)d levels deep, not deeper.") % {"depth": MAX_DEPTH}
        )


def _takes_rows(row: FlowAction) -> bool:
    if row.depth == 1:
        return True
    action_type = actions.find(row.action)
    # A type that is gone may have taken rows: leave what is inside it where it is.
    return action_type.has_children if action_type else row.numchild > 0


# --- documents ----------------------------------------------------------------------------------


def draft_document(flow: Flow) -> JSONObject:
    """The draft as a document, exactly as it stands: two queries whatever its size."""
    return draft_documents([flow])[flow.pk]


def draft_documents(flows: Sequence[Flow]) -> dict[int, JSONObject]:
    """The drafts of several flows as documents, by the flow's id: one query for all their rows."""
    rows = FlowAction.objects.filter(flow__in=flows).order_by("path")
    drafts = {pk: _read_rows(own) for pk, own in groupby(rows, lambda row: row.flow_id)}
    return {flow.pk: _draft(flow, drafts.get(flow.pk, [])) for flow in flows}


def _draft(flow: Flow, rows: Sequence[JSONObject]) -> JSONObject:
    return {
        "format": FORMAT,
        "content_type": _model_name(flow),
        "condition": flow.condition,
        "state_schema": flow.state_schema,
        "identity": flow.identity.get_username() if flow.identity else None,
        "actions": rows[0]["children"] if rows else [],
    }


def replace_draft(flow: Flow, document: Mapping[str, Any], *, revision: int | None = None) -> None:
    """Make the draft equal to ``document``: its rows, object type, conditions, schema, identity.

    Raises:
        DocumentError: it is not a document.
        DraftRefused: its object type or identity does not exist here, or it is too deep.
        StaleDraft: see :func:`editing`.
    """
    document = read_document(document)
    with editing(flow, revision) as draft:
        FlowAction.objects.filter(flow=draft.flow, depth=2).delete()
        draft.root.refresh_from_db()
        _write_rows(draft.root, document["actions"], draft.flow)
        changes = {
            "content_type": content_type_named(document["content_type"]),
            "condition": document["condition"],
            "state_schema": document["state_schema"],
            "identity": _user_named(document["identity"]),
        }
        Flow.objects.filter(pk=flow.pk).update(**changes)
    for name, value in changes.items():
        setattr(flow, name, value)


def content_type_named(name: str | None) -> ContentType | None:
    """The content type of ``app_label.model``.

    Raises:
        DraftRefused: there is none here.
    """
    if not name:
        return None
    app_label, _dot, model = name.partition(".")
    found = ContentType.objects.filter(app_label=app_label, model=model.lower()).first()
    if found is None or found.model_class() is None:
        raise DraftRefused(_("There is no object type %(name)r in this project.") % {"name": name})
    return found


def _model_name(flow: Flow) -> str | None:
    if flow.content_type_id is None:
        return None
    content_type = ContentType.objects.get_for_id(flow.content_type_id)
    return f"{content_type.app_label}.{content_type.model}"


def _user_named(username: str | None) -> Any:
    if not username:
        return None
    try:
        return get_user_model()._default_manager.get_by_natural_key(username)
    except get_user_model().DoesNotExist:
        raise DraftRefused(
            _("There is no user %(name)r in this project.") % {"name": username}
        ) from None


def _read_rows(rows: Sequence[FlowAction] | Any) -> list[JSONObject]:
    """Rows in path order as nested documents."""
    top: list[JSONObject] = []
    open_blocks: list[tuple[int, JSONObject]] = []
    for row in rows:
        document = {
            "uid": row.uid,
            "action": row.action,
            "schema_version": row.schema_version,
            "config": row.config,
            "label": row.label,
            "note": row.note,
            "enabled": row.is_enabled,
            "retry": row.retry,
            "on_error": row.on_error,
            "result_key": row.result_key,
            "children": [],
        }
        while open_blocks and open_blocks[-1][0] >= row.depth:
            open_blocks.pop()
        (open_blocks[-1][1]["children"] if open_blocks else top).append(document)
        open_blocks.append((row.depth, document))
    return top


def _unsaved(document: JSONObject, flow: Flow) -> FlowAction:
    return FlowAction(
        flow=flow,
        uid=document["uid"],
        is_enabled=document["enabled"],
        retry=document["retry"],
        on_error=document["on_error"],
        **{name: document[name] for name in _ROW_FIELDS},
    )


def _write_rows(parent: FlowAction, rows: Sequence[JSONObject], flow: Flow) -> None:
    """Insert nested rows under ``parent``, which has none yet: one INSERT for all of them."""
    unsaved: list[FlowAction] = []

    def lay_out(parent_path: str, depth: int, documents: Sequence[JSONObject]) -> None:
        if documents and depth > MAX_DEPTH:
            raise DraftRefused(
                _("Blocks can be nested %(depth)d levels deep, not deeper.") % {"depth": MAX_DEPTH}
            )
        for number, document in enumerate(documents, 1):
            row = _unsaved(document, flow)
            row.depth = depth
            # treebeard has no public name for this, and its bulk loader makes its own keys.
            row.path = FlowAction._get_path(parent_path, depth, number)  # noqa: SLF001
            row.numchild = len(document["children"])
            unsaved.append(row)
            lay_out(row.path, depth + 1, document["children"])

    lay_out(parent.path, parent.depth + 1, rows)
    FlowAction.objects.bulk_create(unsaved)
    FlowAction.objects.filter(pk=parent.pk).update(numchild=len(rows))


def _with_new_uids(document: JSONObject) -> JSONObject:
    return {
        **document,
        "uid": new_uid(),
        "children": [_with_new_uids(child) for child in document["children"]],
    }


def frozen(document: JSONObject) -> JSONObject:
    """A document with every config in its type's present form, defaults written in.

    Rows that cannot be brought there stay as they are; the checker tells of them.
    """
    return {**document, "actions": [_frozen_row(item) for item in document["actions"]]}


def _frozen_row(item: JSONObject) -> JSONObject:
    children = [_frozen_row(child) for child in item["children"]]
    try:
        config = current_config(item)
    except AuthorError:
        return {**item, "children": children}
    action_type = actions[item["action"]]
    return {
        **item,
        "action": action_type.name,
        "schema_version": action_type.schema_version,
        "config": config,
        "children": children,
    }
