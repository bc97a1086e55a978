"""Undo and redo: the last changes of a draft, taken back one after the other and done again.

They are the flow's, not a person's: two people at one draft share them, as they share the rows.
Taking back is a change too, with a revision of its own, so nobody overwrites what they have not
seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from flowcontrol.draft_changes import Change
from flowcontrol.drafts import Draft, as_document, editing, write_settings
from flowcontrol.exceptions import DraftRefused
from flowcontrol.models import ChangeState, DraftChange, Flow
from flowcontrol.patches import PatchMismatch, apply, reverse


@dataclass(frozen=True, slots=True)
class Undoable:
    """What would be taken back next, and done again next; ``None``: there is nothing."""

    undo: Change | None
    redo: Change | None


def undoable(flow: Flow) -> Undoable:
    """What :func:`undo` and :func:`redo` would do now: two queries."""
    last, following = _last_done(flow), _first_undone(flow)
    return Undoable(
        Change.of(last) if last is not None else None,
        Change.of(following) if following is not None else None,
    )


def undo(flow: Flow, revision: int | None = None, user: Any = None) -> Change:
    """Take back the last change that is not taken back yet; which one that was.

    Raises:
        DraftRefused: there is none, or something else has changed the rows since.
        StaleDraft: ``revision`` is not the draft's any more.
    """
    with editing(flow, revision, verb="undo", user=user) as draft:
        change = _last_done(flow)
        if change is None:
            raise DraftRefused(_("There is nothing to undo."))
        _replay(draft, change, reverse(change.patch or {}))
        DraftChange.objects.filter(pk=change.pk).update(state=ChangeState.UNDONE)
    return Change.of(change)


def redo(flow: Flow, revision: int | None = None, user: Any = None) -> Change:
    """Do again what was undone last; which change that was.

    Raises:
        DraftRefused: nothing was undone, or the draft was changed since.
        StaleDraft: ``revision`` is not the draft's any more.
    """
    with editing(flow, revision, verb="redo", user=user) as draft:
        change = _first_undone(flow)
        if change is None:
            raise DraftRefused(_("There is nothing to do again."))
        _replay(draft, change, change.patch or {})
        DraftChange.objects.filter(pk=change.pk).update(state=ChangeState.DONE)
    return Change.of(change)


def _last_done(flow: Flow) -> DraftChange | None:
    done = DraftChange.objects.filter(flow=flow, state=ChangeState.DONE)
    return done.select_related("user").order_by("-revision").first()


def _first_undone(flow: Flow) -> DraftChange | None:
    undone = DraftChange.objects.filter(flow=flow, state=ChangeState.UNDONE)
    return undone.select_related("user").order_by("revision").first()


def _replay(draft: Draft, change: DraftChange, patch: dict[str, Any]) -> None:
    document = as_document(draft.flow, draft.tree)
    settings = {name: document[name] for name in patch.get("flow", ())}
    try:
        draft.tree, settings = apply(patch, draft.tree, settings)
    except PatchMismatch as mismatch:
        # Rows that were written past this package: the steps before that moment are lost.
        raise DraftRefused(
            _("This change cannot be taken back: the draft was changed in another way since.")
        ) from mismatch
    if settings:
        write_settings(draft.flow, {**document, **settings})
    draft.about = [uid for uid, _title in change.rows]
    draft.count = change.count
    draft.is_step = False
