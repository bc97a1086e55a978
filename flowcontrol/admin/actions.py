"""The rows of a flow's draft: to look at them, to add one, to change what one says.

What is done with rows that are there stands in :mod:`flowcontrol.admin.row_pages`. Each change is a
POST with the revision that the page was made from; the builder shows what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin.utils import unquote
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _

from flowcontrol import drafting
from flowcontrol.admin.builder import refuse_stale, refused, show
from flowcontrol.admin.flow_pages import FlowVisit
from flowcontrol.admin.pages import Crumb, Page
from flowcontrol.admin.picker import Spot, choices_for, may_stand, spot
from flowcontrol.admin.row_forms import RowEditor
from flowcontrol.admin.row_pages import ROW_PAGES
from flowcontrol.admin.rows import PageRow, pretty
from flowcontrol.admin.verbs import menu_for
from flowcontrol.documents import checksum
from flowcontrol.exceptions import DraftRefused, StaleDraft
from flowcontrol.registry import actions
from flowcontrol.sentences import shown_config

if TYPE_CHECKING:
    from flowcontrol.base import BaseAction
    from flowcontrol.documents import JSONObject


def show_actions(visit: FlowVisit) -> HttpResponse:
    """The rows of the draft with what the checker says of them; for a page that is there, anew."""
    return show(visit, changed=visit.is_partial)


# --- adding -------------------------------------------------------------------------------------


def add_row(visit: FlowVisit) -> HttpResponse:
    """What may be added at a place; posted, the choice is added and its form is shown."""
    given = visit.request.POST if visit.is_post else visit.request.GET
    where = spot(visit.rows, unquote(given.get("target", "")), given.get("position", "last"))
    if visit.is_post:
        return _add(visit, where)
    if where is None:
        return _place_is_gone(visit)
    query = given.get("q", "")
    return show(
        visit,
        "picker.html",
        subtitle=_("Add a row"),
        where=where,
        query=query,
        groups=choices_for(where, query),
    )


def _add(visit: FlowVisit, where: Spot | None) -> HttpResponse:
    """Add a row of the posted type; with what was typed, if a form was posted along."""
    action_type = actions.find(visit.request.POST.get("action", ""))
    if action_type is None:
        raise Http404(actions.unknown(visit.request.POST.get("action", "")))
    if where is None or not may_stand(action_type, where):
        return _place_is_gone(visit)
    fields: dict[str, Any] = {}
    if "typed" in visit.request.POST:
        data = visit.request.POST
        editor = _editor(visit, action_type, None, data)
        if not editor.is_valid() and not editor.can_be_kept:
            return _row_panel(visit, None, editor, action_type)
        fields = editor.changes
    try:
        row = drafting.add_action(
            visit.flow,
            action_type.name,
            fields.pop("config", {}),
            target=where.target,
            position=where.position,
            revision=visit.posted_revision(),
            user=visit.user,
            **fields,
        )
    except StaleDraft as stale:
        return refuse_stale(visit, stale, where.anchor)
    except DraftRefused as error:
        return refused(visit, str(error), where.anchor)
    visit.note_change(_("Added a row: %(row)s") % {"row": action_type.verbose_name})
    if not visit.is_partial:
        return visit.redirect("row", PageRow.quoted_of(row.uid))
    visit.forget_draft()
    added = visit.rows.by_uid[row.uid]
    editor = _editor(visit, action_type, added, is_new=True)
    told = _("Added row %(place)s: %(row)s.") % added.told
    return _row_panel(visit, added, editor, action_type, changed=True, told=told)


def _place_is_gone(visit: FlowVisit) -> HttpResponse:
    return refused(visit, _("This row does not fit there any more. Please choose again."))


def _editor(
    visit: FlowVisit,
    action_type: type[BaseAction] | None,
    row: PageRow | None,
    data: Mapping[str, Any] | None = None,
    *,
    is_new: bool = False,
) -> RowEditor:
    return RowEditor(
        visit.flow,
        action_type,
        item=row.document if row is not None else None,
        rows=visit.rows,
        data=data,
        is_new=is_new,
        site_name=visit.site.name,
    )


# --- one row ------------------------------------------------------------------------------------


def edit_row(visit: FlowVisit, quoted: str) -> HttpResponse:
    """The form of a row; for those who may only view, what it says.

    What is wrong is told at its field. It can be saved all the same (``anyway``), as long as it is
    JSON: a draft may have errors, publishing may not.
    """
    uid = unquote(quoted)
    row = visit.rows.by_uid.get(uid)
    if row is None:
        return _row_is_gone(visit)
    action_type = actions.find(row.document["action"])
    if not visit.rights.change:
        return _read_only_panel(visit, row, action_type)
    data = visit.request.POST if visit.is_post else None
    editor = _editor(visit, action_type, row, data)
    if not visit.is_post:
        return _row_panel(visit, row, editor, action_type)
    may_be_saved = editor.is_valid() or ("anyway" in visit.request.POST and editor.can_be_kept)
    if not may_be_saved:
        return _row_panel(visit, row, editor, action_type)
    seen = visit.request.POST.get("seen")
    if seen and seen != _seen(row.document) and visit.is_current:
        warning = _(
            "Somebody else changed this very row since you opened it. Nothing was saved. It now "
            "reads “%(row)s”; if you save again, what you see below takes its place."
        ) % {"row": row.title}
        return _row_panel(visit, row, editor, action_type, warning=warning)
    try:
        drafting.edit_action(
            visit.flow, uid, revision=visit.posted_revision(), user=visit.user, **editor.changes
        )
    except StaleDraft as stale:
        if visit.is_partial:
            return refuse_stale(visit, stale)
        visit.forget_draft()
        warning = f"{visit.stale_message(stale)} {_('If you save again, yours takes its place.')}"
        return _row_panel(visit, row, editor, action_type, warning=warning)
    except DraftRefused as error:
        return _row_panel(visit, row, editor, action_type, warning=str(error))
    visit.note_change(_("Changed row %(place)s: %(row)s") % row.told)
    if not visit.is_partial:
        return visit.redirect("actions", anchor=row.anchor)
    visit.forget_draft()
    row = visit.rows.by_uid[uid]
    editor = _editor(visit, action_type, row)
    told = _("Saved row %(place)s: %(row)s.") % row.told
    return _row_panel(visit, row, editor, action_type, changed=True, told=told, is_saved=True)


def _row_panel(
    visit: FlowVisit,
    row: PageRow | None,
    editor: RowEditor,
    action_type: type[BaseAction] | None,
    **context: Any,
) -> HttpResponse:
    """The form of a row; without ``row``, of one that is to be added (again)."""
    title = _("Row %(place)s: %(row)s") % row.told if row is not None else _("Add a row")
    return show(
        visit,
        "row_panel.html",
        subtitle=title,
        crumbs=[Crumb(title)],
        editor=editor,
        action_type=action_type,
        row=row,
        seen=_seen(row.document) if row is not None else "",
        shown_config=_config_text(visit, row) if row and editor.config_form is None else "",
        verbs=[
            verb
            for part in menu_for(visit.rights)
            for verb in part
            if row is not None and verb.page and verb.suits(row)
        ],
        field=editor.id_of(visit.request.GET.get("field", "")),
        **context,
    )


def _read_only_panel(
    visit: FlowVisit, row: PageRow, action_type: type[BaseAction] | None
) -> HttpResponse:
    return show(
        visit,
        "row_view.html",
        subtitle=_("Row %(place)s: %(row)s") % row.told,
        crumbs=[Crumb(_("Row %(place)s") % {"place": row.place})],
        row=row,
        action_type=action_type,
        shown_config=_config_text(visit, row),
    )


def _row_is_gone(visit: FlowVisit) -> HttpResponse:
    """A row that was deleted while somebody edited it comes back as a new one, if they like."""
    if not visit.is_post or "action" not in visit.request.POST:
        raise Http404("There is no such row in this draft.")
    action_type = actions.find(visit.request.POST["action"])
    data = visit.request.POST
    editor = _editor(visit, action_type, None, data)
    warning = _(
        "Somebody else deleted this row since you opened it. Nothing was saved; if you save now, "
        "it is added again, at the end."
    )
    return _row_panel(visit, None, editor, action_type, warning=warning)


def _config_text(visit: FlowVisit, row: PageRow) -> str:
    config = shown_config(row.document, reveal_secrets=visit.rights.reveal_secrets)
    if config is None:
        return _("Hidden, for it may hold secrets.")
    return pretty(config)


def _seen(item: JSONObject) -> str:
    """What tells whether a row is still as it was shown."""
    return checksum({**item, "children": []})[:16]


ACTION_PAGES: Final = (
    Page("actions/", "actions", show_actions),
    Page("actions/add/", "add_row", add_row, get="change", post="change"),
    Page("actions/row/<str:quoted>/", "row", edit_row, get="view", post="change"),
    *ROW_PAGES,
)
