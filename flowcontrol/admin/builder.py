"""The builder: the page on which a flow is put together, and the answers that keep it true.

The page is made once. Afterwards each change is answered by what has changed: the page tells which
rows it shows, and how (:attr:`PageRow.mark`), and gets the order of all rows and those that look
different by now. Without a script the same addresses answer with the whole page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Count
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flowcontrol.admin.flow_pages import FlowVisit, Tool, runs_url
from flowcontrol.admin.flow_settings import shown_triggers
from flowcontrol.admin.row_forms import media_of_all_forms
from flowcontrol.admin.rows import FlowFinding, PageRow, RowList, RunCount
from flowcontrol.admin.verbs import FIXES, VERBS, Verb, menu_for, other_keys_for
from flowcontrol.findings import find_all
from flowcontrol.models import OPEN, FlowRun, Status
from flowcontrol.presence import POLL_SECONDS
from flowcontrol.undoing import undoable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpResponse
    from django.utils.functional import _StrOrPromise

    from flowcontrol.admin.pages import Crumb
    from flowcontrol.admin.trigger_forms import ShownTrigger
    from flowcontrol.exceptions import StaleDraft
    from flowcontrol.models import Flow

REFUSED: Final = 409
"""The status of an answer that tells why nothing was changed."""

ROWS_TOLD: Final = 8
"""So many rows that others have changed are named."""

CHANGED: Final = "flowcontrol:changed"
"""The event on the page after each change of the draft, for panels that show something of it."""

_ON_THE_WAY: Final = tuple(status for status in OPEN if status is not Status.FAILED)


@dataclass(frozen=True)
class Problem(FlowFinding):
    """A finding, and what can be done about it right away."""

    @property
    def fixes(self) -> list[Verb]:
        if self.row is None:
            return []
        return [VERBS[name] for name in FIXES.get(self.finding.code, ())]


@dataclass
class Builder:
    """The draft as the page shows it, now."""

    visit: FlowVisit
    rows: RowList
    problems: Sequence[Problem]
    ended: Sequence[RunCount]
    """How many runs came to the end, or to a Stop."""
    triggers: Sequence[ShownTrigger] | None
    """What starts it; ``None`` for who may not see that."""

    @property
    def error_count(self) -> int:
        return sum(problem.finding.severity == "error" for problem in self.problems)

    @property
    def warning_count(self) -> int:
        return len(self.problems) - self.error_count

    @property
    def outline(self) -> str:
        """The order of all rows, a line each: depth, mark, name in addresses. A page goes by it."""
        return "\n".join(
            f"{row.depth} {row.mark} {row.quoted}" for row in self.rows.by_uid.values()
        )

    def rows_to_send(self, marks: Mapping[str, str]) -> list[PageRow]:
        """The rows that a page which shows ``marks`` does not have as they are now."""
        return [row for row in self.rows.by_uid.values() if marks.get(row.quoted) != row.mark]


def builder_of(visit: FlowVisit) -> Builder:
    """Read the draft, what the checker says of it, and where its runs stand."""
    rows = visit.rows
    told = rows.add_findings(find_all(visit.draft, flow=visit.flow))
    problems = [Problem(each.finding, each.row) for each in told]
    ended = _count_runs(visit, rows)
    for row in rows.by_uid.values():
        row.make_mark()
    triggers = shown_triggers(visit.flow) if visit.rights.view_triggers else None
    return Builder(visit, rows, problems, ended, triggers)


def _count_runs(visit: FlowVisit, rows: RowList) -> list[RunCount]:
    """Write at each row how many runs stand there or have ended there; give the others that ended.

    One query. Runs that came to the end stand at no row; those at a row that the draft does not
    have (any more) are not counted.
    """
    if not visit.rights.view_runs:
        return []
    numbers: dict[str, dict[str, int]] = {}
    grouped = FlowRun.objects.for_flow(visit.flow).order_by().values("action_uid", "status")
    for group in grouped.annotate(number=Count("pk")):
        kind = _kind(group["status"])
        of_row = numbers.setdefault(group["action_uid"], {})
        of_row[kind] = of_row.get(kind, 0) + group["number"]
    for uid, row in rows.by_uid.items():
        if uid in numbers:
            row.run_counts = _links(visit, uid, numbers[uid])
    return [count for count in _links(visit, "", numbers.get("", {})) if count.kind == "done"]


def _kind(status: str) -> str:
    return status if status in (Status.FAILED, Status.DONE) else "waiting"


def _links(visit: FlowVisit, uid: str, numbers: Mapping[str, int]) -> tuple[RunCount, ...]:
    statuses = {"failed": "failed", "waiting": ",".join(_ON_THE_WAY), "done": "done"}
    return tuple(
        RunCount(
            kind,
            numbers[kind],
            runs_url(
                visit.site,
                flow__id__exact=visit.flow.pk,
                action_uid__exact=uid,
                status__in=statuses[kind],
            ),
        )
        for kind in ("failed", "waiting", "done")
        if kind in numbers
    )


# --- answers --------------------------------------------------------------------------------------


def show(
    visit: FlowVisit,
    panel: str = "",
    *,
    subtitle: _StrOrPromise = "",
    crumbs: list[Crumb] | None = None,
    changed: bool = False,
    told: str = "",
    **context: Any,
) -> HttpResponse:
    """Show a panel beside the list: itself for a page that is there, else with the page around it.

    Args:
        panel: the template of what stands beside the list; none: what stands there at first.
        changed: whether the draft is not what the page shows any more; the answer brings the
            changes along.
        told: what to say about the change.
    """
    common = {
        "panel": f"flowcontrol/admin/{panel}" if panel else "flowcontrol/admin/panel_empty.html",
        "url": visit.url("actions"),
        **context,
    }
    if visit.is_partial:
        return _part(visit, common, changed=changed, told=told)
    if visit.rights.change:
        common |= _undo_buttons(visit)
    return visit.render_flow(
        "builder.html",
        tab="actions",
        subtitle=subtitle or _("Actions"),
        crumbs=crumbs,
        menu=menu_for(visit.rights),
        poll_seconds=POLL_SECONDS,
        presence_url=visit.url("presence"),
        other_keys=other_keys_for(visit.rights),
        tools=_tools(visit),
        forms_media=media_of_all_forms(),
        builder=builder_of(visit),
        **_row_buttons(visit),
        **common,
    )


def _tools(visit: FlowVisit) -> list[Tool]:
    """What can be opened beside the list."""
    tools = [Tool(_("Try it"), visit.url("try"), is_panel=True)] if visit.rights.trial else []
    return [
        *tools,
        Tool(_("Tests"), visit.url("tests"), is_panel=True),
        Tool(_("Settings"), visit.url("change"), is_panel=True),
    ]


def show_changes(
    visit: FlowVisit, told: str, *, uid: str = "", new_flows: Sequence[Flow] = ()
) -> HttpResponse:
    """What a change has made of the list; the panel stays as it is.

    ``uid`` is the row to go to, ``new_flows`` are flows that the change has made beside.
    """
    if not visit.is_partial:
        visit.tell(told)
        return visit.redirect("actions", anchor=PageRow.anchor_of(uid) if uid else "add")
    visit.forget_draft()
    row = visit.rows.by_uid.get(uid)
    if row is not None:
        told = _("%(done)s Row %(place)s: %(row)s.") % {"done": told, **row.told}
    focus = row.quoted if row is not None else ""
    context = {"panel": "", "url": visit.url("actions"), "new_flows": new_flows}
    return _part(visit, context, changed=True, told=told, focus=focus)


def refused(visit: FlowVisit, message: str, anchor: str = "") -> HttpResponse:
    """Say why nothing was changed. A page that is there keeps everything as it is."""
    if visit.is_partial:
        return visit.render("builder_refused.html", title="", status=REFUSED, refused=message)
    visit.tell_error(message)
    return visit.redirect("actions", anchor=anchor)


def refuse_stale(visit: FlowVisit, stale: StaleDraft, anchor: str = "") -> HttpResponse:
    """Say that the draft is another by now: who changed what, and which rows look different."""
    if not visit.is_partial:
        visit.tell_error(f"{visit.stale_message(stale)} {_('Look at it below, then try again.')}")
        return visit.redirect("actions", anchor=anchor)
    visit.forget_draft()
    builder = builder_of(visit)
    marks = shown_marks(visit)
    gone = marks.keys() - {row.quoted for row in builder.rows.by_uid.values()}
    return visit.render(
        "builder_refused.html",
        title="",
        status=REFUSED,
        stale=stale,
        changed_rows=builder.rows_to_send(marks)[:ROWS_TOLD] if marks else [],
        gone_count=len(gone),
    )


def _part(
    visit: FlowVisit,
    context: Mapping[str, Any],
    *,
    changed: bool,
    told: str = "",
    focus: str = "",
) -> HttpResponse:
    """The panel, and with it what a change has made of the rest; that is read only if need be."""
    if not changed:
        return visit.render("builder_part.html", title="", **context)
    builder = builder_of(visit)
    if visit.rights.change:
        context = {**_undo_buttons(visit), **context}
    answer = visit.render(
        "builder_part.html",
        title="",
        builder=builder,
        header=visit.header("actions"),
        changed=True,
        changed_rows=builder.rows_to_send(shown_marks(visit)),
        # A row that is not filled in yet ends with dots of its own.
        told=told.replace("….", "…"),
        focus=focus,
        **_row_buttons(visit),
        **context,
    )
    answer["HX-Trigger-After-Settle"] = json.dumps(
        {CHANGED: {"revision": visit.flow.draft_revision}}
    )
    return answer


def _row_buttons(visit: FlowVisit) -> dict[str, Any]:
    """What stands at the end of every row, made once."""
    fold = render_to_string("flowcontrol/admin/builder_fold.html")
    may_do = menu_for(visit.rights)
    more = render_to_string("flowcontrol/admin/builder_more.html") if may_do else ""
    return {"fold_button": fold, "menu_button": SafeString(more)}


def _undo_buttons(visit: FlowVisit) -> dict[str, Any]:
    can = undoable(visit.flow)
    buttons = (("undo", can.undo, _("Undo"), "↶"), ("redo", can.redo, _("Redo"), "↷"))
    return {"undoable": can, "undo_buttons": buttons}


def shown_marks(visit: FlowVisit) -> dict[str, str]:
    """The rows that the page has, as it tells them: the mark of each by its name in addresses."""
    try:
        marks = json.loads(visit.request.POST.get("marks") or "{}")
    except ValueError:
        return {}
    return marks if isinstance(marks, dict) else {}
