"""What is done with rows of a draft: moved, copied, switched, wrapped, deleted, and undone.

Each is a POST that names rows (``row``, several times perhaps) and the revision that was seen. It
calls one use-case, so it is one step to undo, and answers with what has become of the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from django import forms
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol import clipboard, drafting, shaping, undoing
from flowcontrol.admin.builder import refuse_stale, refused, show, show_changes
from flowcontrol.admin.config_widgets import LineInput
from flowcontrol.admin.flow_pages import FlowVisit
from flowcontrol.admin.pages import Page
from flowcontrol.admin.rows import PageRow, RowList
from flowcontrol.draft_changes import changes_since
from flowcontrol.drafting import Position, Step
from flowcontrol.exceptions import DocumentError, DraftRefused, StaleDraft, UnknownAction
from flowcontrol.extracting import LONGEST_NAME, extract_to_flow, plan_extraction

if TYPE_CHECKING:
    from flowcontrol.draft_changes import Change
    from flowcontrol.models import Flow


AT_THE_END: Final[tuple[str, Position]] = ("", "last")


# --- which rows, and where to ---------------------------------------------------------------------


class NameForm(forms.Form):
    """What a new flow is called."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=LONGEST_NAME, widget=LineInput())

    def __init__(self, data: Any = None, **options: Any) -> None:
        # Beside a form of the settings, which has a field of this name as well.
        super().__init__(data, auto_id="id_new_%s", **options)


def _named_rows(visit: FlowVisit) -> list[str]:
    """The uids of the rows to do something with; raises ``Http404`` if none is named."""
    given = visit.request.POST if visit.is_post else visit.request.GET
    uids = [unquote(quoted) for quoted in given.getlist("row")]
    if not uids:
        raise Http404("No row is named.")
    return list(dict.fromkeys(uids))


def _posted_place(visit: FlowVisit) -> tuple[str, Position]:
    """Target and position; raises ``Http404`` if that is no place."""
    posted = visit.request.POST
    position = next((each for each in get_args(Position) if each == posted.get("position")), None)
    if position is None:
        raise Http404("There is no such place.")
    return unquote(posted.get("target", "")), position


# --- answering ------------------------------------------------------------------------------------


def _changed(
    visit: FlowVisit,
    change: Callable[[dict[str, Any]], Sequence[str]],
    *,
    new_flows: Sequence[Flow] = (),
) -> HttpResponse:
    """Let ``change`` change the draft, and show what came of it at the first row that it gives.

    ``change`` gets what every use-case takes: the revision that was seen, and who asks. What is
    told of it is what the draft's own record tells, with a way to each of the ``new_flows``.
    """
    try:
        uids = change({"revision": visit.posted_revision(), "user": visit.user})
    except StaleDraft as stale:
        return refuse_stale(visit, stale)
    except (DraftRefused, DocumentError, UnknownAction) as error:
        return refused(visit, str(error))
    made = changes_since(visit.flow, visit.posted_revision())
    told = capfirst("; ".join(each.what for each in made)) + "." if made else _("Nothing changed.")
    if made:
        visit.note_change(told)
    return show_changes(visit, told, uid=uids[0] if uids else "", new_flows=new_flows)


# --- moving ---------------------------------------------------------------------------------------


def move_rows(visit: FlowVisit) -> HttpResponse:
    """One step up, down, into the block before or out of the own one; or to a place."""
    uids = _named_rows(visit)
    if "step" not in visit.request.POST:
        target, position = _posted_place(visit)
        return _changed(
            visit,
            lambda seen: shaping.move_rows(
                visit.flow, uids, target=target, position=position, **seen
            ),
        )
    step = next((each for each in get_args(Step) if each == visit.request.POST["step"]), None)
    if step is None:
        raise Http404("There is no such step.")
    place = _place_of_step(visit.rows, uids, step) if len(uids) > 1 else None

    def change(seen: dict[str, Any]) -> Sequence[str]:
        if place is None:
            drafting.step_action(visit.flow, uids[0], step, **seen)
            return uids
        target, position = place
        return shaping.move_rows(visit.flow, uids, target=target, position=position, **seen)

    return _changed(visit, change)


def _place_of_step(rows: RowList, uids: Sequence[str], step: Step) -> tuple[str, Position] | None:
    """Where several rows go by one step; ``None`` if there is nothing in that direction."""
    chosen = [row for uid, row in rows.by_uid.items() if uid in uids]
    if not chosen:
        return None
    first = chosen[0]
    last = [row for row in chosen if row.parent is first.parent][-1]
    match step:
        case "up":
            return (first.previous.uid, "before") if first.previous else None
        case "down":
            siblings = first.parent.children if first.parent is not None else rows.top
            following = siblings[siblings.index(last) + 1 :]
            return (following[0].uid, "after") if following else None
        case "in":
            can_go_in = first.previous is not None and first.can_go_in
            return (first.previous.uid, "last") if first.previous and can_go_in else None
    return (first.parent.uid, "after") if first.parent is not None else None


# --- copies ---------------------------------------------------------------------------------------


def duplicate_rows(visit: FlowVisit) -> HttpResponse:
    """Copies of rows right behind them, with everything inside."""
    uids = _named_rows(visit)
    return _changed(visit, lambda seen: shaping.duplicate_rows(visit.flow, uids, **seen))


def copy_rows(visit: FlowVisit) -> HttpResponse:
    """The text of rows, for the clipboard."""
    try:
        text = clipboard.copy_rows(
            visit.flow, _named_rows(visit), reveal_secrets=visit.rights.reveal_secrets
        )
    except DraftRefused as error:
        return refused(visit, str(error))
    return HttpResponse(text, content_type="application/json")


def cut_rows(visit: FlowVisit) -> HttpResponse:
    """Delete rows whose text the clipboard has already."""
    uids = _named_rows(visit)
    at = _neighbour(visit, uids)

    def change(seen: dict[str, Any]) -> Sequence[str]:
        clipboard.cut_rows(visit.flow, uids, **seen)
        return at

    return _changed(visit, change)


def paste_rows(visit: FlowVisit) -> HttpResponse:
    """Put rows from the clipboard (``text``) to a place, under new ids."""
    text = visit.request.POST.get("text", "")
    target, position = AT_THE_END
    if "position" in visit.request.POST:
        target, position = _posted_place(visit)

    def change(seen: dict[str, Any]) -> Sequence[str]:
        pasted = clipboard.paste_rows(visit.flow, text, target=target, position=position, **seen)
        return pasted.uids

    return _changed(visit, change)


# --- on and off, blocks ---------------------------------------------------------------------------


def switch_rows(visit: FlowVisit) -> HttpResponse:
    """Switch rows on (``enabled`` is 1) or off."""
    uids, enabled = _named_rows(visit), visit.request.POST.get("enabled") == "1"

    def change(seen: dict[str, Any]) -> Sequence[str]:
        shaping.enable_rows(visit.flow, uids, enabled, **seen)
        return uids

    return _changed(visit, change)


def wrap_rows(visit: FlowVisit) -> HttpResponse:
    """Put a block of a type (``action``) around rows."""
    uids, action = _named_rows(visit), visit.request.POST.get("action", "")
    return _changed(visit, lambda seen: [shaping.wrap(visit.flow, uids, action, **seen).uid])


def unwrap_row(visit: FlowVisit) -> HttpResponse:
    """Take away a block and leave what was inside it."""
    uid = _named_rows(visit)[0]
    return _changed(visit, lambda seen: shaping.unwrap(visit.flow, uid, **seen))


def extract_rows(visit: FlowVisit) -> HttpResponse:
    """Ask for a name, then make rows a flow of their own, which a row in their place starts."""
    if not visit.rights.add:
        raise PermissionDenied
    uids = _named_rows(visit)
    form = NameForm(visit.request.POST) if "name" in visit.request.POST else None
    if form is None or not form.is_valid():
        return _ask_for_name(visit, uids, form)
    made: list[Flow] = []

    def change(seen: dict[str, Any]) -> Sequence[str]:
        made.append(extract_to_flow(visit.flow, uids, form.cleaned_data["name"], **seen))
        visit.admin.log_addition(
            visit.request, made[0], _("Made of rows of “%(flow)s”") % {"flow": visit.flow}
        )
        start = visit.flow.actions.get(action="start_flow", config__flow=made[0].slug)
        return [start.uid]

    return _changed(visit, change, new_flows=made)


def _ask_for_name(visit: FlowVisit, uids: Sequence[str], form: NameForm | None) -> HttpResponse:
    """What the new flow is to be called, and what it will get and give."""
    try:
        plan = plan_extraction(visit.flow, uids)
    except DraftRefused as error:
        return refused(visit, str(error))
    return show(
        visit,
        "extract.html",
        subtitle=_("Make a flow of its own"),
        form=form or NameForm(initial={"name": plan.name}),
        plan=plan,
        quoted_rows=[PageRow.quoted_of(uid) for uid in uids],
    )


# --- away -----------------------------------------------------------------------------------------


def delete_rows(visit: FlowVisit) -> HttpResponse:
    """Take rows, with everything inside, out of the draft."""
    uids = _named_rows(visit)
    at = _neighbour(visit, uids)

    def change(seen: dict[str, Any]) -> Sequence[str]:
        shaping.delete_rows(visit.flow, uids, **seen)
        return at

    return _changed(visit, change)


def _neighbour(visit: FlowVisit, uids: Sequence[str]) -> list[str]:
    """The row that is next to these when they are gone: the one before, else the one around."""
    rows = visit.rows
    row: PageRow | None = next((each for uid, each in rows.by_uid.items() if uid in uids), None)
    if row is None:
        return []
    siblings = row.parent.children if row.parent is not None else rows.top
    later = [each for each in siblings[siblings.index(row) :] if each.uid not in uids]
    found = row.previous or (later[0] if later else row.parent)
    return [found.uid] if found is not None else []


def undo(visit: FlowVisit) -> HttpResponse:
    """Take back the last change of the draft, whoever made it."""
    return _replayed(visit, undoing.undo, _("Undone: %(what)s."))


def redo(visit: FlowVisit) -> HttpResponse:
    """Do again what was undone last."""
    return _replayed(visit, undoing.redo, _("Done again: %(what)s."))


def _replayed(visit: FlowVisit, replay: Callable[..., Change], words: str) -> HttpResponse:
    try:
        change = replay(visit.flow, revision=visit.posted_revision(), user=visit.user)
    except StaleDraft as stale:
        return refuse_stale(visit, stale)
    except DraftRefused as error:
        return refused(visit, str(error))
    told = words % {"what": change.what}
    visit.note_change(told)
    uids = [uid for uid, _title in change.rows]
    return show_changes(visit, told, uid=uids[0] if uids else "")


def _page(verb: str, name: str, view: Callable[..., HttpResponse]) -> Page:
    return Page(f"actions/{verb}/", name, view, get=None, post="change")


ROW_PAGES: Final = (
    _page("move", "move_rows", move_rows),
    _page("duplicate", "duplicate_rows", duplicate_rows),
    Page("actions/copy/", "copy_rows", copy_rows, get=None, post="view"),
    _page("cut", "cut_rows", cut_rows),
    _page("paste", "paste_rows", paste_rows),
    _page("switch", "switch_rows", switch_rows),
    _page("wrap", "wrap_rows", wrap_rows),
    _page("unwrap", "unwrap_row", unwrap_row),
    Page("actions/extract/", "extract_rows", extract_rows, get="change", post="change"),
    _page("delete", "delete_rows", delete_rows),
    _page("undo", "undo", undo),
    _page("redo", "redo", redo),
)
