"""The action list: the rows of a flow's draft, and every way to change them.

Each change is a POST with the revision that the page was made from, and one verb of
:mod:`flowcontrol.drafting`. Afterwards the list is shown again, at the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, get_args

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flowcontrol import drafting
from flowcontrol.admin.flow_pages import FlowVisit, what_changed
from flowcontrol.admin.pages import Crumb, Page
from flowcontrol.admin.picker import Spot, choices_for, may_stand, spot
from flowcontrol.admin.row_forms import RowEditor
from flowcontrol.admin.rows import PageRow, RowList, pretty, rows_of
from flowcontrol.documents import checksum
from flowcontrol.drafting import Step
from flowcontrol.exceptions import DraftRefused, StaleDraft
from flowcontrol.findings import find_all
from flowcontrol.registry import actions
from flowcontrol.sentences import shown_config

if TYPE_CHECKING:
    from flowcontrol.base import BaseAction
    from flowcontrol.documents import JSONObject


def show_actions(visit: FlowVisit) -> HttpResponse:
    """The rows of the draft with what the checker says of them."""
    rows = _rows(visit)
    findings = rows.add_findings(find_all(visit.draft, flow=visit.flow))
    errors = sum(1 for told in findings if told.finding.severity == "error")
    return visit.render_flow(
        "actions.html",
        tab="actions",
        subtitle=_("Actions"),
        rows=rows,
        findings=findings,
        error_count=errors,
        warning_count=len(findings) - errors,
    )


def _rows(visit: FlowVisit) -> RowList:
    return rows_of(visit.draft, reveal_secrets=visit.rights.reveal_secrets)


# --- adding -------------------------------------------------------------------------------------


def choose_type(visit: FlowVisit) -> HttpResponse:
    """Which kind of row to add. What needs no settings is added by choosing it."""
    given = visit.request.POST if visit.is_post else visit.request.GET
    rows = _rows(visit)
    where = spot(rows, given.get("target", ""), given.get("position", "last"))
    if where is None:
        return _place_is_gone(visit)
    if visit.is_post:
        return _add(visit, _known_type(given.get("action", "")), where, {})
    query = given.get("q", "")
    return visit.render_flow(
        "picker.html",
        subtitle=_("Add a row"),
        where=where,
        query=query,
        groups=choices_for(where, query),
    )


def add_row(visit: FlowVisit, quoted: str) -> HttpResponse:
    """The form of a new row."""
    given = visit.request.POST if visit.is_post else visit.request.GET
    rows = _rows(visit)
    where = spot(rows, given.get("target", ""), given.get("position", "last"))
    if where is None and not visit.is_post:
        return _place_is_gone(visit)
    if where is None:
        where = spot(rows, "", "last")
        assert where is not None
        action_type = _known_type(unquote(quoted))
        editor = RowEditor(visit.flow, action_type, item=None, rows=rows, data=visit.request.POST)
        warning = _(
            "The row beside which you wanted to add this one is gone. Nothing was saved; if you "
            "save now, it is added at the end."
        )
        return _new_row_page(visit, action_type, where, editor, warning)
    action_type = _known_type(unquote(quoted))
    if not visit.is_post and not may_stand(action_type, where):
        return _place_is_gone(visit)
    editor = RowEditor(
        visit.flow,
        action_type,
        item=None,
        rows=rows,
        data=visit.request.POST if visit.is_post else None,
    )
    if visit.is_post and editor.is_valid():
        return _add(visit, action_type, where, editor.changes, editor)
    return _new_row_page(visit, action_type, where, editor)


def _add(
    visit: FlowVisit,
    action_type: type[BaseAction],
    where: Spot,
    changes: Mapping[str, Any],
    editor: RowEditor | None = None,
) -> HttpResponse:
    fields = dict(changes)
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
        visit.flow.refresh_from_db(fields=["draft_revision"])
        warning = _(
            "The draft was changed by somebody else since you opened this page. Nothing was "
            "saved. The place is still there: save again to add the row %(where)s."
        ) % {"where": where.words}
        warning = f"{warning} {what_changed(stale)}".strip()
        if editor is None:
            visit.tell_error(visit.stale_message(stale))
            return visit.redirect("actions", anchor=where.anchor)
        return _new_row_page(visit, action_type, where, editor, warning)
    except DraftRefused as refused:
        if editor is None:
            visit.tell_error(str(refused))
            return visit.redirect("actions", anchor=where.anchor)
        return _new_row_page(visit, action_type, where, editor, str(refused))
    visit.note_change(_("Added a row: %(row)s") % {"row": action_type.verbose_name})
    return _back_to_row(visit, row.uid)


def _new_row_page(
    visit: FlowVisit,
    action_type: type[BaseAction],
    where: Spot,
    editor: RowEditor,
    warning: str = "",
) -> HttpResponse:
    query = urlencode({"target": where.target, "position": where.position})
    return visit.render_flow(
        "row.html",
        subtitle=_("Add: %(action)s") % {"action": action_type.verbose_name},
        crumbs=[
            Crumb(_("Add a row"), f"{visit.url('add_row')}?{query}"),
            Crumb(action_type.verbose_name),
        ],
        editor=editor,
        description=action_type.description,
        where=where,
        row=None,
        warning=warning,
        cancel_url=f"{visit.url('actions')}#{where.anchor}",
    )


def _known_type(name: str) -> type[BaseAction]:
    action_type = actions.find(name)
    if action_type is None:
        raise Http404(actions.unknown(name))
    return action_type


def _place_is_gone(visit: FlowVisit) -> HttpResponse:
    visit.tell_error(_("This row does not fit there any more. Please choose again."))
    return visit.redirect("actions")


# --- one row ------------------------------------------------------------------------------------


def edit_row(visit: FlowVisit, quoted: str) -> HttpResponse:
    """The form of a row; for those who may only view, what it says."""
    uid = unquote(quoted)
    rows = _rows(visit)
    row = rows.by_uid.get(uid)
    if row is None:
        return _row_is_gone(visit, rows)
    if not visit.rights.change:
        return _read_only_page(visit, row)
    editor = RowEditor(
        visit.flow,
        actions.find(row.document["action"]),
        item=row.document,
        rows=rows,
        data=visit.request.POST if visit.is_post else None,
    )
    if not visit.is_post or not editor.is_valid():
        return _row_page(visit, rows, row, editor)
    try:
        drafting.edit_action(
            visit.flow, uid, revision=visit.posted_revision(), user=visit.user, **editor.changes
        )
    except StaleDraft as stale:
        visit.flow.refresh_from_db(fields=["draft_revision"])
        return _row_page(visit, rows, row, editor, _what_changed(visit, row, stale))
    except DraftRefused as refused:
        return _row_page(visit, rows, row, editor, str(refused))
    visit.note_change(_("Changed row %(place)s: %(row)s") % _told(row))
    return _back_to_row(visit, uid)


def _what_changed(visit: FlowVisit, row: PageRow, stale: StaleDraft) -> str:
    if visit.request.POST.get("seen") == _seen(row.document):
        told = _(
            "Somebody else changed other rows since you opened this page. Nothing was saved. This "
            "row is as it was: save again to change it."
        )
        return f"{told} {what_changed(stale)}".strip()
    return _(
        "Somebody else changed this very row since you opened it. Nothing was saved. It now reads "
        "“%(row)s”; if you save again, what you see below takes its place."
    ) % {"row": row.title}


def _row_page(
    visit: FlowVisit, rows: RowList, row: PageRow, editor: RowEditor, warning: str = ""
) -> HttpResponse:
    action_type = actions.find(row.document["action"])
    rows.add_findings(find_all(visit.draft, flow=visit.flow))
    hidden = editor.config_form is None
    return visit.render_flow(
        "row.html",
        subtitle=_("Row %(place)s: %(row)s") % _told(row),
        crumbs=[Crumb(_("Row %(place)s") % {"place": row.place})],
        editor=editor,
        description=action_type.description if action_type is not None else "",
        where=None,
        row=row,
        seen=_seen(row.document),
        warning=warning,
        shown_config=_config_text(visit, row) if hidden else "",
        cancel_url=f"{visit.url('actions')}#{row.anchor}",
    )


def _read_only_page(visit: FlowVisit, row: PageRow) -> HttpResponse:
    action_type = actions.find(row.document["action"])
    return visit.render_flow(
        "row_view.html",
        subtitle=_("Row %(place)s: %(row)s") % _told(row),
        crumbs=[Crumb(_("Row %(place)s") % {"place": row.place})],
        row=row,
        description=action_type.description if action_type is not None else "",
        shown_config=_config_text(visit, row),
        back_url=f"{visit.url('actions')}#{row.anchor}",
    )


def _row_is_gone(visit: FlowVisit, rows: RowList) -> HttpResponse:
    """A row that was deleted while somebody edited it comes back as a new one, if they like."""
    if not visit.is_post or "action" not in visit.request.POST:
        raise Http404("There is no such row in this draft.")
    action_type = _known_type(visit.request.POST["action"])
    where = spot(rows, "", "last")
    assert where is not None
    editor = RowEditor(visit.flow, action_type, item=None, rows=rows, data=visit.request.POST)
    warning = _(
        "Somebody else deleted this row since you opened it. Nothing was saved; if you save now, "
        "it is added again, at the end."
    )
    return _new_row_page(visit, action_type, where, editor, warning)


def _config_text(visit: FlowVisit, row: PageRow) -> str:
    config = shown_config(row.document, reveal_secrets=visit.rights.reveal_secrets)
    if config is None:
        return _("Hidden, for it may hold secrets.")
    return pretty(config)


def _seen(item: JSONObject) -> str:
    """What tells whether a row is still as it was shown."""
    return checksum({**item, "children": []})[:16]


def _told(row: PageRow) -> dict[str, str]:
    return {"place": row.place, "row": row.title}


# --- verbs --------------------------------------------------------------------------------------


def move_row(visit: FlowVisit, quoted: str) -> HttpResponse:
    """One step up or down, into the block before it, or out of its own."""
    uid = unquote(quoted)
    step = next((each for each in get_args(Step) if each == visit.request.POST.get("step")), None)
    if step is None:
        raise Http404("There is no such step.")

    def edit() -> str:
        drafting.step_action(
            visit.flow, uid, step, revision=visit.posted_revision(), user=visit.user
        )
        visit.note_change(_("Moved a row: %(step)s") % {"step": step})
        return uid

    return _edited(visit, uid, edit)


def duplicate_row(visit: FlowVisit, quoted: str) -> HttpResponse:
    """A copy right after it, with everything inside."""
    uid = unquote(quoted)

    def edit() -> str:
        copy = drafting.duplicate_action(
            visit.flow, uid, revision=visit.posted_revision(), user=visit.user
        )
        visit.note_change(_("Duplicated a row"))
        return copy.uid

    return _edited(visit, uid, edit)


def switch_row(visit: FlowVisit, quoted: str) -> HttpResponse:
    """Switch a row on (``enabled`` is 1) or off."""
    uid, enabled = unquote(quoted), visit.request.POST.get("enabled") == "1"

    def edit() -> str:
        drafting.set_enabled(
            visit.flow, uid, enabled, revision=visit.posted_revision(), user=visit.user
        )
        visit.note_change(_("Switched a row on") if enabled else _("Switched a row off"))
        return uid

    return _edited(visit, uid, edit)


def delete_row(visit: FlowVisit, quoted: str) -> HttpResponse:
    """Ask, telling what goes with it, then take a row out of the draft."""
    row = _rows(visit).by_uid.get(unquote(quoted))
    if row is None:
        visit.tell(_("The row is gone already."), messages.WARNING)
        return visit.redirect("actions")
    if not visit.is_post:
        return visit.render_flow(
            "row_delete.html",
            subtitle=_("Delete row %(place)s: %(row)s") % _told(row),
            crumbs=[
                Crumb(_("Row %(place)s") % {"place": row.place}, visit.url("row", quoted)),
                Crumb(_("Delete")),
            ],
            row=row,
            cancel_url=f"{visit.url('actions')}#{row.anchor}",
        )

    def edit() -> str:
        drafting.delete_action(
            visit.flow, row.uid, revision=visit.posted_revision(), user=visit.user
        )
        visit.note_change(_("Deleted row %(place)s: %(row)s") % _told(row))
        visit.tell(_deleted(row))
        neighbour = row.previous or row.parent
        return neighbour.uid if neighbour is not None else ""

    return _edited(visit, row.uid, edit)


def _deleted(row: PageRow) -> str:
    if not row.rows_inside:
        return _("“%(row)s” was deleted.") % _told(row)
    return ngettext(
        "“%(row)s” was deleted, with %(count)d row inside.",
        "“%(row)s” was deleted, with %(count)d rows inside.",
        row.rows_inside,
    ) % {"row": row.title, "count": row.rows_inside}


def _edited(visit: FlowVisit, uid: str, edit: Callable[[], str]) -> HttpResponse:
    """Edit, and show the list again at the row that ``edit`` gives; or tell why it was refused."""
    try:
        uid = edit()
    except StaleDraft as stale:
        visit.tell_error(f"{visit.stale_message(stale)} {_('Look at it below, then try again.')}")
    except DraftRefused as refused:
        visit.tell_error(str(refused))
    return _back_to_row(visit, uid)


def _back_to_row(visit: FlowVisit, uid: str) -> HttpResponseRedirect:
    anchor = PageRow.anchor_of(uid) if uid else "add"
    return visit.redirect("actions", anchor=anchor)


ACTION_PAGES: Final = (
    Page("actions/", "actions", show_actions),
    Page("actions/add/", "add_row", choose_type, get="change", post="change"),
    Page("actions/add/<str:quoted>/", "add_row_of", add_row, get="change", post="change"),
    Page("actions/row/<str:quoted>/", "row", edit_row, get="view", post="change"),
    Page("actions/row/<str:quoted>/move/", "move_row", move_row, get=None, post="change"),
    Page(
        "actions/row/<str:quoted>/duplicate/",
        "duplicate_row",
        duplicate_row,
        get=None,
        post="change",
    ),
    Page("actions/row/<str:quoted>/switch/", "switch_row", switch_row, get=None, post="change"),
    Page("actions/row/<str:quoted>/delete/", "delete_row", delete_row, get="change", post="change"),
)
