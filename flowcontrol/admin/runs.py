"""Runs: the list to find them, and a page for each that tells all there is to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import NoReverseMatch, reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol import operating
from flowcontrol.admin.drawings import RUN_DRAWING_PAGES
from flowcontrol.admin.flow_pages import runs_url
from flowcontrol.admin.masks import Masks
from flowcontrol.admin.object_types import objects_of
from flowcontrol.admin.operations import (
    BULK_ACTIONS,
    Operation,
    OperationForm,
    operation,
    operations_for,
    perform,
)
from flowcontrol.admin.pages import STYLES, Crumb, Page, PagesAdmin, Visit
from flowcontrol.admin.rights import may_see, rights_of
from flowcontrol.admin.rows import RowList, pretty, rows_of
from flowcontrol.admin.run_history import history_of
from flowcontrol.admin.selections import SelectionMixin
from flowcontrol.admin.trigger_forms import name_in_words
from flowcontrol.cursor import Cursor
from flowcontrol.documents import read_document
from flowcontrol.exceptions import AuthorError, DocumentError
from flowcontrol.models import Flow, FlowRun, HumanTask, Status, WaitKind
from flowcontrol.run_paths import count_rows

if TYPE_CHECKING:
    from django.contrib.contenttypes.models import ContentType
    from django.db.models import Model

    from flowcontrol.models.references import Reference

CHILDREN_SHOWN: Final = 20

OBJECTS: Final = "flowcontrol_list_objects"


class ObjectLink(NamedTuple):
    """The object of a run: what it is called here, and where its page is."""

    text: str
    url: str


def object_link(
    request: HttpRequest,
    site: admin.AdminSite,
    content_type: ContentType | None,
    key: str | None,
    obj: Model | None,
) -> ObjectLink | None:
    """The object as this person may see it; by its kind and key only, if they may not see it."""
    if content_type is None or key is None:
        return None
    model = content_type.model_class()
    if model is None:
        return ObjectLink(f"{content_type.app_label}.{content_type.model} {key}", "")
    told = {"model": model._meta.verbose_name, "key": key}
    if obj is None:
        return ObjectLink(_("%(model)s %(key)s (gone)") % told, "")
    if not may_see(request, model):
        return ObjectLink(_("%(model)s %(key)s") % told, "")
    url = ""
    if site.is_registered(model):
        try:
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
            url = reverse(name, args=(obj.pk,), current_app=site.name)
        except NoReverseMatch:
            url = ""
    return ObjectLink(str(obj), url)


def badge(run: FlowRun) -> SafeString:
    """The status, or how the run ended, as a word with a colour."""
    label = run.get_outcome_display() if run.outcome else run.get_status_display()
    return format_html('<span class="fc-badge fc-{}">{}</span>', run.outcome or run.status, label)


# --- the page of a run --------------------------------------------------------------------------


@dataclass
class RunVisit(Visit[FlowRun]):
    """One request to a page of a run."""

    @property
    def run(self) -> FlowRun:
        return self.obj

    @cached_property
    def masks(self) -> Masks:
        schema = self.run.version.document.get("state_schema")
        return Masks(schema, reveal_secrets=self.rights.reveal_secrets)

    @cached_property
    def rows(self) -> RowList | None:
        """The rows of the run's version, or ``None`` if this release cannot read it."""
        try:
            document = read_document(self.run.version.document)
        except DocumentError:
            return None
        return rows_of(document, reveal_secrets=self.rights.reveal_secrets)

    @property
    def title(self) -> str:
        return _("Run #%(pk)d of %(flow)s") % {"pk": self.run.pk, "flow": self.run.flow}


def show_run(visit: RunVisit) -> HttpResponse:
    """Everything about a run: where it stands and why, its state, its rows, its history."""
    run, rows = visit.run, visit.rows
    if rows is not None:
        _mark_rows(run, rows)
    reference: Reference = (run.content_type_id, run.object_id)
    found = objects_of([reference]).get(reference)
    site = visit.site
    children = (
        run.child_runs.select_related("flow").defer("state", "cursor", "items").order_by("-pk")
    )
    may_see_flow = may_see(visit.request, Flow)
    return visit.render(
        "run.html",
        title=visit.title,
        crumbs=[Crumb(f"#{run.pk}")],
        run=run,
        badge=badge(run),
        explanation=operating.explain(run),
        operations=operations_for(run, visit.rights),
        object=object_link(visit.request, site, run.content_type, run.object_id, found),
        state=pretty(visit.masks.state(run.state)),
        rows=rows,
        current_row=rows.by_uid.get(run.action_uid) if rows is not None else None,
        history=history_of(run, rows, visit.masks, _page(visit.request)),
        children=[(child, badge(child)) for child in children[:CHILDREN_SHOWN]],
        children_url=runs_url(visit.site, parent_run__id__exact=run.pk),
        more_children=children.count() > CHILDREN_SHOWN,
        waits=[_wait_in_words(wait) for wait in run.waits.all()],
        question=_question_link(visit),
        flow_url=_flow_url(visit) if may_see_flow else "",
        try_url=_try_url(visit) if may_see_flow else "",
        version_url=_version_url(visit) if may_see_flow else "",
        firing_url=_firing_url(visit),
        trigger=name_in_words(run.firing.name) if run.firing is not None else "",
    )


def _page(request: HttpRequest) -> int | None:
    try:
        return int(request.GET["history"])
    except (KeyError, ValueError):
        return None


def _mark_rows(run: FlowRun, rows: RowList) -> None:
    """Say of each row how often it ran, whether the run stands there or inside it."""
    counts, all_kept = count_rows(run)
    for uid, count in counts.items():
        if (row := rows.by_uid.get(uid)) is not None:
            row.count, row.count_is_lower_bound = count, not all_kept
    if run.status == Status.DONE:
        return
    try:
        frames = Cursor.from_json(run.cursor).frames if run.cursor else ()
    except (AuthorError, KeyError, TypeError):
        frames = ()
    for frame in frames[:-1]:
        if (row := rows.by_uid.get(frame.uid)) is not None:
            row.is_open = True
    if (row := rows.by_uid.get(run.action_uid)) is not None:
        row.is_current = True


def _wait_in_words(wait: Any) -> str:
    if wait.kind == WaitKind.EVENT:
        told = _("“%(trigger)s”") % {"trigger": name_in_words(wait.trigger)}
    else:
        told = wait.get_kind_display()
    if wait.until is not None:
        told = _("%(what)s, until %(moment)s") % {"what": told, "moment": _moment(wait.until)}
    return told


def _question_link(visit: RunVisit) -> SafeString | str:
    """The question that the run waits for an answer to."""
    task = visit.run.tasks.open().first()
    if task is None:
        return ""
    if not may_see(visit.request, HumanTask):
        return task.title
    name = "admin:flowcontrol_humantask_change"
    url = reverse(name, args=(task.pk,), current_app=visit.site.name)
    return format_html('<a href="{}">{}</a>', url, task.title)


def _moment(moment: Any) -> str:
    local = localtime(moment)
    return f"{date_format(local, 'DATE_FORMAT')}, {date_format(local, 'H:i')}"


def _try_url(visit: RunVisit) -> str:
    """Where the draft can be tried with what the run was started with, for those who may."""
    may = visit.user.has_perm
    if not (may("flowcontrol.change_flow") or may("flowcontrol.publish_flow")):
        return ""
    name, flow = "admin:flowcontrol_flow_try", visit.run.flow_id
    return f"{reverse(name, args=(flow,), current_app=visit.site.name)}?run={visit.run.pk}"


def _flow_url(visit: RunVisit) -> str:
    return reverse(
        "admin:flowcontrol_flow_actions",
        args=(visit.run.flow_id,),
        current_app=visit.site.name,
    )


def _version_url(visit: RunVisit) -> str:
    return reverse(
        "admin:flowcontrol_flow_version",
        args=(visit.run.flow_id, visit.run.version.number),
        current_app=visit.site.name,
    )


def _firing_url(visit: RunVisit) -> str:
    if visit.run.firing_id is None or not visit.user.has_perm("flowcontrol.view_firing"):
        return ""
    return reverse(
        "admin:flowcontrol_firing_change",
        args=(visit.run.firing_id,),
        current_app=visit.site.name,
    )


def operate(visit: RunVisit, verb: str) -> HttpResponse:
    """Ask why, then do one thing to the run; the run's page tells what came of it."""
    chosen = operation(verb)
    if not visit.rights[chosen.right]:
        raise PermissionDenied
    run = visit.run
    if verb not in operating.allowed_transitions(run):
        visit.tell_error(
            _("Run #%(pk)d is %(status)s; “%(verb)s” is not possible now.")
            % {
                "pk": run.pk,
                "status": run.get_outcome_display() or run.get_status_display(),
                "verb": chosen.label,
            }
        )
        return visit.redirect("change")
    form = OperationForm(
        visit.request.POST if visit.is_post else None,
        operation=chosen,
        run=run,
        rows=visit.rows,
        masks=visit.masks,
    )
    if visit.is_post and form.is_valid():
        problem = perform(chosen, run, form, visit.user)
        if not problem:
            visit.tell(chosen.done)
            return visit.redirect("change")
        form.add_error(None, problem)
    return _operate_page(visit, chosen, form)


def _operate_page(visit: RunVisit, chosen: Operation, form: OperationForm) -> HttpResponse:
    return visit.render(
        "operate.html",
        title=visit.title,
        subtitle=chosen.label,
        crumbs=[Crumb(f"#{visit.run.pk}", visit.url("change")), Crumb(chosen.label)],
        operation=chosen,
        form=form,
        explanation=operating.explain(visit.run),
    )


# --- the list -----------------------------------------------------------------------------------


RUNS_COUNTED: Final = 10_000
"""How far the list leads: to count a million runs, a database reads them all, for every page."""


class LatestRuns(Paginator):  # type: ignore[type-arg]
    """Pages through the latest :data:`RUNS_COUNTED` of the runs that fit."""

    @cached_property
    def count(self) -> int:
        return int(self.object_list[:RUNS_COUNTED].count())  # type: ignore[attr-defined]


class RunList(ChangeList):
    """The list of runs with their objects, read together."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.is_cut = self.result_count >= RUNS_COUNTED
        runs: list[FlowRun] = list(self.result_list)
        self.result_list = runs
        found = objects_of((run.content_type_id, run.object_id) for run in runs)
        site = self.model_admin.admin_site
        for run in runs:
            obj = found.get((run.content_type_id, run.object_id))
            run.__dict__[OBJECTS] = object_link(request, site, run.content_type, run.object_id, obj)


@admin.register(FlowRun)
class FlowRunAdmin(SelectionMixin, PagesAdmin[FlowRun]):
    """Runs are made by the engine: nobody adds, edits or deletes one here."""

    pages = (
        # In the place of Django's form, whose fields are nobody's to fill in.
        Page("change/", "change", show_run),
        *RUN_DRAWING_PAGES,
        Page("operate/<str:verb>/", "operate", operate, get="view", post="view"),
    )
    actions = BULK_ACTIONS
    list_display = ("run", "object", "status_badge", "next_or_end")
    list_display_links = None
    list_filter = ("status", "outcome", "flow")
    paginator = LatestRuns
    search_fields = ("key", "object_id")
    search_help_text = gettext_lazy("Number of the run, its key, or the key of its object")
    ordering = ("-pk",)
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ("run",)

    class Media:
        css = {"all": [STYLES]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: FlowRun | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: FlowRun | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: FlowRun | None = None) -> bool:
        return may_see(request, FlowRun)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return rights_of(self, request).operate

    def get_queryset(self, request: HttpRequest) -> QuerySet[FlowRun]:
        runs = super().get_queryset(request).select_related("flow", "content_type")
        return runs.defer("state", "cursor", "items", "wakeup")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[FlowRun], search_term: str
    ) -> tuple[QuerySet[FlowRun], bool]:
        """Exact matches only: a search through the texts of a million runs would hold up all."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(key=term) | Q(object_id=term)
        number = term.removeprefix("#")
        if number.isascii() and number.isdigit() and len(number) < 19:
            found |= Q(pk=int(number))
        return queryset.filter(found), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        if lookup in ("parent_run__id__exact", "version__id__exact", "action_uid__exact"):
            return True
        if request is None:
            return bool(super().lookup_allowed(lookup, value))  # type: ignore[call-arg]
        return bool(super().lookup_allowed(lookup, value, request))

    def visit(self, request: HttpRequest, pk: int) -> RunVisit:
        runs = FlowRun.objects.select_related(
            "flow", "version", "content_type", "parent_run__flow", "firing", "started_by"
        )
        run = get_object_or_404(runs, pk=pk)
        return RunVisit(self, request, run, rights_of(self, request, run))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Mapping[str, Any] | None = None,
    ) -> HttpResponse:
        """Never reached by an address that we write: our own page stands before it."""
        raise Http404

    # --- columns ---

    @admin.display(description=gettext_lazy("run"), ordering="pk")
    def run(self, run: FlowRun) -> SafeString:
        url = reverse(
            "admin:flowcontrol_flowrun_change", args=(run.pk,), current_app=self.admin_site.name
        )
        return format_html('<a href="{}">#{} {}</a>', url, run.pk, run.flow.name)

    @admin.display(description=gettext_lazy("object"))
    def object(self, run: FlowRun) -> SafeString | str:
        link: ObjectLink | None = run.__dict__.get(OBJECTS)
        if link is None:
            return format_html('<span class="fc-quiet">{}</span>', _("none"))
        if not link.url:
            return link.text
        return format_html('<a href="{}">{}</a>', link.url, link.text)

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def status_badge(self, run: FlowRun) -> SafeString:
        reason = Truncator(run.reason).chars(120)
        return format_html('{} <span class="fc-why">{}</span>', badge(run), reason)

    @admin.display(description=gettext_lazy("goes on, or ended"))
    def next_or_end(self, run: FlowRun) -> str:
        moment = run.done_at or run.due
        return date_format(localtime(moment), "SHORT_DATETIME_FORMAT") if moment else ""
