"""Moving the open runs of a flow to one of its versions: what it means, then doing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flowcontrol.admin.config_widgets import LineInput
from flowcontrol.admin.flow_pages import FlowVisit
from flowcontrol.admin.pages import Crumb, Page
from flowcontrol.admin.rows import RowList, rows_of
from flowcontrol.documents import read_document
from flowcontrol.exceptions import AuthorError
from flowcontrol.moving import MovePlan, Stranded, move_runs_to_version, plan_move
from flowcontrol.sentences import title_of

if TYPE_CHECKING:
    from flowcontrol.models import FlowVersion

AT_ONCE: Final = 1000
"""So many runs are moved by one request; what is left is moved by the next."""


class MoveForm(forms.Form):
    """Why, and how many."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=500,
        widget=LineInput(),
        help_text=gettext_lazy("Kept in the history of each run, with your name."),
    )
    how_many = forms.ChoiceField(
        label=gettext_lazy("How many"),
        choices=(
            ("one", gettext_lazy("One first, to see how it goes")),
            ("all", gettext_lazy("All of them")),
        ),
        initial="one",
    )


@dataclass(frozen=True)
class Question:
    """Where runs go whose row is gone: the row, how many there are, what can be chosen."""

    stranded: Stranded
    title: str
    name: str
    chosen: str

    @property
    def count(self) -> int:
        return len(self.stranded.runs)


def move_runs(visit: FlowVisit, number: int) -> HttpResponse:
    """Tell what becomes of the runs on other versions, ask, then move them."""
    version = visit.flow.versions.select_related("flow").filter(number=number).first()
    if version is None:
        raise Http404(f"This flow has no version {number}.")
    try:
        rows = rows_of(read_document(version.document), reveal_secrets=False)
        plan = plan_move(version)
    except AuthorError as error:
        visit.tell_error(str(error))
        return visit.redirect("version", number)
    form = MoveForm(visit.request.POST if visit.is_post else None)
    questions = [_question(visit, rows, number, each) for number, each in enumerate(plan.stranded)]
    if visit.is_post and form.is_valid():
        where = {each.stranded.uid: each.chosen for each in questions if each.chosen}
        _move(visit, version, plan, where, form)
        return visit.redirect("move_runs", number)
    return visit.render_flow(
        "move_runs.html",
        subtitle=_("Move runs to version %(number)d") % {"number": number},
        crumbs=[
            Crumb(_("Versions"), visit.url("versions")),
            Crumb(_("Version %(number)d") % {"number": number}, visit.url("version", number)),
            Crumb(_("Move runs")),
        ],
        version=version,
        plan=plan,
        questions=questions,
        rows=[row for row in rows.by_uid.values() if not row.is_off],
        form=form,
    )


def _question(visit: FlowVisit, rows: RowList, number: int, stranded: Stranded) -> Question:
    name = f"to-{number}"
    given = visit.request.POST.get(name) if visit.is_post else stranded.suggestion
    title = title_of(stranded.row) if stranded.row is not None else stranded.uid
    # The number alone would mean another row, if runs have moved on since the page was made.
    is_same = not visit.is_post or visit.request.POST.get(f"from-{number}") == stranded.uid
    chosen = given if given and given in rows.by_uid and is_same else ""
    return Question(stranded, title, name, chosen)


def _move(
    visit: FlowVisit, version: FlowVersion, plan: MovePlan, where: dict[str, str], form: MoveForm
) -> None:
    runs = [*plan.fitting]
    for stranded in plan.stranded:
        if stranded.uid in where:
            runs += stranded.runs
    chosen = runs[: 1 if form.cleaned_data["how_many"] == "one" else AT_ONCE]
    moved = move_runs_to_version(
        version, chosen, where=where, user=visit.user, reason=form.cleaned_data["reason"]
    )
    if moved.runs:
        told = ngettext(
            "%(count)d run follows version %(number)d now.",
            "%(count)d runs follow version %(number)d now.",
            len(moved.runs),
        ) % {"count": len(moved.runs), "number": version.number}
        visit.tell(told)
        visit.note_change(told)
    if moved.stayed:
        pk, why = next(iter(moved.stayed.items()))
        told = ngettext(
            "%(count)d run stayed as it was. Run #%(pk)d: %(why)s",
            "%(count)d runs stayed as they were. Run #%(pk)d: %(why)s",
            len(moved.stayed),
        )
        visit.tell(told % {"count": len(moved.stayed), "pk": pk, "why": why}, messages.WARNING)
    if not chosen:
        visit.tell(_("There was no run to move."), messages.INFO)


MOVING_PAGES: Final = (
    Page("versions/<int:number>/move-runs/", "move_runs", move_runs, get="operate", post="operate"),
)
