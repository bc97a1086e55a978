"""The draft of a flow in the database: read as a document, changed under a lock, written back.

A materialised-path tree guards nothing by itself: concurrent moves corrupt it, and a row can be
put under another flow's root. So each edit takes the lock on its ``Flow`` row first, checks that
the page it comes from is not stale, changes the rows as a value (:mod:`flowcontrol.trees`), and
writes what differs. What was changed is kept, so that it can be told and undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext as _

from flowcontrol.compiling import current_config
from flowcontrol.documents import FORMAT, JSONObject
from flowcontrol.draft_changes import changes_since, record_change
from flowcontrol.exceptions import AuthorError, DraftRefused, StaleDraft
from flowcontrol.history import same
from flowcontrol.models import Flow, FlowAction
from flowcontrol.patches import patch_between
from flowcontrol.registry import actions
from flowcontrol.sentences import title_of
from flowcontrol.trees import TOP, RowTree, longest_rising

MAX_DEPTH: Final = 60
"""Levels of blocks. A path of 255 characters holds 63, less the root's and some to spare."""

ATTEMPTS: Final = 30
"""How often to try again when others make flows at the same moment; one of them always gets in."""

_COLUMNS: Final[Mapping[str, str]] = {
    "action": "action",
    "schema_version": "schema_version",
    "config": "config",
    "label": "label",
    "note": "note",
    "enabled": "is_enabled",
    "retry": "retry",
    "on_error": "on_error",
    "result_key": "result_key",
}
"""What a document calls a field of a row, and the column that holds it."""

_FEW: Final = 10
"""So many rows are updated one by one; more are written anew, in one statement."""

_STRIDE: Final = 64
_MOST_STEPS: Final = len(FlowAction.alphabet) ** FlowAction.steplen - 1


class _Stored(NamedTuple):
    """Where a row is in the table."""

    pk: int
    path: str
    numchild: int


@dataclass(slots=True)
class Draft:
    """A draft under its lock: change ``tree``, and it is written when the block ends well.

    ``about`` are the ids of the rows that the change is told of, and ``count`` how many there are
    if not all are named; ``is_step`` is whether it can be undone.
    """

    flow: Flow
    tree: RowTree
    about: Sequence[str] = ()
    count: int = 0
    is_step: bool = True
    before: RowTree = field(init=False)

    def __post_init__(self) -> None:
        self.before = self.tree.copy()

    @classmethod
    def of(cls, flow: Flow, document: Mapping[str, Any]) -> Draft:
        """A draft that is only looked at."""
        return cls(flow, RowTree.of(document["actions"]))

    def require(self, *uids: str) -> None:
        """Refuse ids that are not of this draft.

        Raises:
            DraftRefused: this flow's draft has no such row.
        """
        for uid in uids:
            if uid not in self.tree:
                raise DraftRefused(
                    _("The draft of “%(flow)s” has no row %(uid)s (any more).")
                    % {"flow": self.flow, "uid": repr(uid)}
                )


@contextmanager
def editing(
    flow: Flow, revision: int | None = None, *, verb: str = "edit", user: Any = None
) -> Iterator[Draft]:
    """Lock the draft of ``flow``, and count a new revision when the block ends well.

    What the block does to the rows or to the flow's own part of the document becomes one step that
    can be undone; a block that changes nothing makes no revision. ``verb`` is one of
    :data:`flowcontrol.draft_changes.WORDS`.

    Raises:
        StaleDraft: ``revision`` is not the draft's any more; nothing is written.
        DraftRefused: what would be written is too deep, or the flow would act as somebody whom
            ``user`` may not choose.
    """
    with transaction.atomic():
        # Two edits at once would each compute paths from the same tree and overwrite each other.
        locked = Flow.objects.locked(flow.pk)
        refuse_stale(locked, revision, _("Nothing was saved; reload the page to see the change."))
        root = root_of(locked)
        tree, stored = _read(locked)
        settings = _settings_of(locked)
        draft = Draft(locked, tree)
        yield draft
        new_revision = locked.draft_revision
        now = _settings_of(Flow.objects.select_related("identity").get(pk=flow.pk))
        _check_identity(settings["identity"], now["identity"], user)
        patch = patch_between(draft.before, draft.tree, (settings, now))
        if patch is not None:
            _write(locked, root, draft.tree, stored, draft.before)
            new_revision += 1
            Flow.objects.filter(pk=flow.pk).update(draft_revision=new_revision)
            record_change(
                locked,
                new_revision,
                verb,
                list(_told(draft, patch)),
                patch if draft.is_step else None,
                count=draft.count,
                user=user,
                title_of=title_of,
            )
    flow.draft_revision = new_revision


def refuse_stale(flow: Flow, revision: int | None, remedy: str) -> None:
    """Refuse a page that was made from another revision than the draft has by now.

    Raises:
        StaleDraft: with what was changed since.
    """
    if revision is not None and revision != flow.draft_revision:
        told = _("The draft of “%(flow)s” was changed by somebody else since you opened it.")
        raise StaleDraft(
            f"{told % {'flow': flow}} {remedy}",
            changes_since(flow, revision),
        )


def _told(draft: Draft, patch: JSONObject) -> Iterator[JSONObject]:
    for uid in draft.about or patch.get("rows", ()):
        tree = draft.tree if uid in draft.tree else draft.before
        if uid in tree:
            yield {"uid": uid, **tree.rows[uid]}


def _check_identity(before: str | None, after: str | None, user: Any) -> None:
    """Otherwise whoever may edit flows could do what anybody else may do."""
    if user is None or after is None or after in (before, user.get_username()):
        return
    if not user.is_superuser:
        raise DraftRefused(
            _(
                "The flow would act as “%(name)s”. You can choose yourself; only superusers can "
                "choose somebody else."
            )
            % {"name": after}
        )


# --- reading ------------------------------------------------------------------------------------


def draft_document(flow: Flow) -> JSONObject:
    """The draft as a document, exactly as it stands: two queries whatever its size."""
    return draft_documents([flow])[flow.pk]


def draft_documents(flows: Sequence[Flow]) -> dict[int, JSONObject]:
    """The drafts of several flows as documents, by the flow's id: one query for all their rows."""
    rows = _records(FlowAction.objects.filter(flow__in=flows).order_by("flow", "path"))
    trees = {pk: _tree(own)[0] for pk, own in groupby(rows, lambda record: record[0])}
    return {flow.pk: as_document(flow, trees.get(flow.pk, RowTree())) for flow in flows}


def as_document(flow: Flow, tree: RowTree) -> JSONObject:
    """Rows, with what of the document is the flow's own."""
    return {"format": FORMAT, **_settings_of(flow), "actions": tree.nested()}


def _settings_of(flow: Flow) -> JSONObject:
    return {
        "content_type": _model_name(flow),
        "condition": flow.condition,
        "state_schema": flow.state_schema,
        "identity": flow.identity.get_username() if flow.identity else None,
    }


def _model_name(flow: Flow) -> str | None:
    if flow.content_type_id is None:
        return None
    content_type = ContentType.objects.get_for_id(flow.content_type_id)
    return f"{content_type.app_label}.{content_type.model}"


def _read(flow: Flow) -> tuple[RowTree, dict[str, _Stored]]:
    return _tree(_records(FlowAction.objects.filter(flow=flow).order_by("path")))


def _records(rows: models.QuerySet[FlowAction]) -> Iterable[tuple[Any, ...]]:
    return rows.values_list("flow_id", "pk", "path", "depth", "numchild", "uid", *_COLUMNS.values())


def _tree(records: Iterable[tuple[Any, ...]]) -> tuple[RowTree, dict[str, _Stored]]:
    """Records in the order of their paths, as a value; the hidden root is left out."""
    tree = RowTree()
    stored: dict[str, _Stored] = {}
    open_blocks: list[tuple[int, str]] = []
    for _flow, pk, path, depth, numchild, uid, *values in records:
        if depth == 1:
            continue
        while open_blocks and open_blocks[-1][0] >= depth:
            open_blocks.pop()
        parent = open_blocks[-1][1] if open_blocks else TOP
        open_blocks.append((depth, uid))
        tree.rows[uid] = dict(zip(_COLUMNS, values, strict=True))
        tree.parents[uid] = parent
        tree.blocks[parent].append(uid)
        tree.blocks[uid] = []
        stored[uid] = _Stored(pk, path, numchild)
    return tree, stored


# --- writing ------------------------------------------------------------------------------------


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
        _("The draft of “%(flow)s” could not be set up; please try again.") % {"flow": flow}
    )


def write_first_rows(flow: Flow, rows: Sequence[JSONObject]) -> None:
    """Write the rows of a flow that has none yet."""
    _write(flow, root_of(flow), RowTree.of(rows), {}, RowTree())


def write_settings(flow: Flow, document: Mapping[str, Any]) -> None:
    """Write what of a document is the flow's own. Call it inside :func:`editing`.

    Raises:
        DraftRefused: its object type or identity does not exist here.
    """
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
        raise DraftRefused(
            _("There is no object type %(name)s in this project.") % {"name": repr(name)}
        )
    return found


def _user_named(username: str | None) -> Any:
    if not username:
        return None
    try:
        return get_user_model()._default_manager.get_by_natural_key(username)
    except get_user_model().DoesNotExist:
        raise DraftRefused(
            _("There is no user %(name)s in this project.") % {"name": repr(username)}
        ) from None


def _write(
    flow: Flow,
    root: FlowAction,
    tree: RowTree,
    stored: Mapping[str, _Stored],
    before: RowTree,
) -> None:
    """Make the table say what ``tree`` says: only rows that differ are touched.

    Rows whose path changes are deleted and inserted again, under the keys they had: paths are
    unique, so updating them one after the other would meet those that have not moved away yet.
    """
    if tree.levels() + 1 > MAX_DEPTH:
        raise DraftRefused(
            _("Blocks can be nested %(number)d levels deep, not deeper.") % {"number": MAX_DEPTH}
        )
    anew: list[FlowAction] = []
    updates: list[FlowAction] = []
    for uid, path in _laid_out(tree, TOP, root.path, stored, before):
        old = stored.get(uid)
        if old is None or old.path != path:
            anew.append(_unsaved(flow, uid, tree, path, old))
        elif old.numchild != len(tree.blocks[uid]) or not same(tree.rows[uid], before.rows[uid]):
            updates.append(_unsaved(flow, uid, tree, path, old))
    if len(updates) > _FEW:
        anew, updates = anew + updates, []
    gone = [old.pk for uid, old in stored.items() if uid not in tree]
    _delete([*gone, *(row.pk for row in anew if row.pk is not None)])
    FlowAction.objects.bulk_create(anew)
    for row in updates:
        row.save(update_fields=["numchild", *_COLUMNS.values()])
    FlowAction.objects.filter(pk=root.pk).update(numchild=len(tree.blocks[TOP]))


def _laid_out(
    tree: RowTree, block: str, path: str, stored: Mapping[str, _Stored], before: RowTree
) -> Iterator[tuple[str, str]]:
    """Each row with the path it gets, which is the one it has wherever that is possible."""
    uids = tree.blocks[block]
    depth = len(path) // FlowAction.steplen + 1
    for uid, step in zip(uids, _steps(uids, block, stored, before), strict=True):
        # treebeard has no public name for this, and its own ways write every row of a block.
        own: str = FlowAction._get_path(path, depth, step)  # noqa: SLF001
        yield uid, own
        yield from _laid_out(tree, uid, own, stored, before)


def _steps(
    uids: Sequence[str], block: str, stored: Mapping[str, _Stored], before: RowTree
) -> list[int]:
    """The last part of the path of each row of a block, as rising numbers.

    As many rows as possible keep theirs, and those that come get one from the gap that they come
    into. Gaps are left between rows, so that rows after a new one need not move up: they would
    have to be written, with all that is inside them.
    """
    old = {
        uid: int(stored[uid].path[-FlowAction.steplen :], len(FlowAction.alphabet))
        for uid in uids
        if uid in stored and before.parents[uid] == block
    }
    kept = longest_rising([old[uid] for uid in uids if uid in old])
    steps: list[int] = []
    waiting = 0
    for uid in [*uids, ""]:
        if uid and old.get(uid) not in kept:
            waiting += 1
            continue
        low = steps[-1] if steps else 0
        high = old[uid] if uid else low + _STRIDE * (waiting + 1)
        if high - low <= waiting:
            return _evenly(len(uids))
        steps += [low + (high - low) * number // (waiting + 1) for number in range(1, waiting + 1)]
        steps += [high] if uid else []
        waiting = 0
    return steps if not steps or steps[-1] <= _MOST_STEPS else _evenly(len(uids))


def _evenly(number: int) -> list[int]:
    stride = min(_STRIDE, _MOST_STEPS // (number + 1))
    return [stride * place for place in range(1, number + 1)]


def _unsaved(flow: Flow, uid: str, tree: RowTree, path: str, old: _Stored | None) -> FlowAction:
    return FlowAction(
        pk=old.pk if old is not None else None,
        flow=flow,
        uid=uid,
        path=path,
        depth=len(path) // FlowAction.steplen,
        numchild=len(tree.blocks[uid]),
        **{_COLUMNS[name]: value for name, value in tree.rows[uid].items()},
    )


def _delete(keys: Sequence[int]) -> None:
    # Plain, not treebeard's: that would look for what is inside each, and count its parents anew.
    for start in range(0, len(keys), 500):
        models.QuerySet(FlowAction).filter(pk__in=keys[start : start + 500]).delete()


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
