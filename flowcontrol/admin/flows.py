"""Flows: their list, their settings, and what is done to a flow as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol import drafting
from flowcontrol.admin.actions import ACTION_PAGES
from flowcontrol.admin.differences import DIFFERENCE_PAGES
from flowcontrol.admin.drawings import DRAWING_PAGES
from flowcontrol.admin.expression_pages import EXPRESSION_PAGES
from flowcontrol.admin.flow_forms import CopyForm, FlowForm, PurgeForm
from flowcontrol.admin.flow_pages import FlowVisit, runs_url
from flowcontrol.admin.flow_settings import SETTINGS_PAGES
from flowcontrol.admin.moving_runs import MOVING_PAGES
from flowcontrol.admin.pages import (
    STYLES,
    Page,
    PagesAdmin,
)
from flowcontrol.admin.presence import PRESENCE_PAGES
from flowcontrol.admin.rights import rights_of
from flowcontrol.admin.starting import START_PAGES
from flowcontrol.admin.transfers import TRANSFER_PAGES, import_new
from flowcontrol.admin.trying import TRIAL_PAGES
from flowcontrol.admin.versions import VERSION_PAGES
from flowcontrol.conf import settings
from flowcontrol.exceptions import DeleteRefused
from flowcontrol.models import OPEN, Flow, FlowRun, Status, Trigger
from flowcontrol.publishing import flows_with_unpublished_changes
from flowcontrol.purging import delete_flow

if TYPE_CHECKING:
    _TriggerInline = admin.StackedInline[Trigger, Flow]
else:
    _TriggerInline = admin.StackedInline

COUNTED: Final = (
    Status.FAILED,
    Status.WAITING,
    Status.PENDING,
    Status.RUNNING,
    Status.QUEUED,
    Status.PAUSED,
    Status.DONE,
)
"""The order in which the list counts runs: what needs somebody first."""

EXTRA: Final = "flowcontrol_list_extra"


# --- a flow as a whole --------------------------------------------------------------------------


def switch(visit: FlowVisit) -> HttpResponse:
    """Switch a flow on (``on`` is 1) or off, from now."""
    on = visit.request.POST.get("on") == "1"
    Flow.objects.filter(pk=visit.flow.pk).update(active_at=settings.CLOCK() if on else None)
    visit.note_change(_("Switched on") if on else _("Switched off"))
    if not on:
        visit.tell(_("The flow is off: no new runs are started. Open runs go on."))
    elif visit.flow.live_version is None:
        visit.tell(
            _("The flow is on. It starts runs once it has been published."), messages.WARNING
        )
    else:
        visit.tell(_("The flow is on: from now on runs can be started."))
    return _back(visit)


def pause(visit: FlowVisit) -> HttpResponse:
    """Hold all runs of a flow (``on`` is 1), or let them go on."""
    on = visit.request.POST.get("on") == "1"
    Flow.objects.filter(pk=visit.flow.pk).update(paused_at=settings.CLOCK() if on else None)
    visit.note_change(_("Paused") if on else _("Resumed"))
    if on:
        visit.tell(_("The flow is paused: its runs stay where they are until you resume it."))
    else:
        visit.tell(_("The flow goes on: what has become due meanwhile is executed now."))
    return _back(visit)


def _back(visit: FlowVisit) -> HttpResponse:
    """To the page of the flow that the button was on."""
    tab = visit.request.POST.get("tab", "")
    return visit.redirect({"settings": "change", "versions": "versions"}.get(tab, "actions"))


def duplicate(visit: FlowVisit) -> HttpResponse:
    """Ask for a name, then copy draft and settings."""
    if visit.is_post:
        form = CopyForm(visit.request.POST)
        if form.is_valid():
            copy = drafting.duplicate_flow(visit.flow, **form.cleaned_data)
            visit.admin.log_addition(
                visit.request, copy, _("A copy of “%(flow)s”") % {"flow": visit.flow}
            )
            visit.obj = copy
            visit.tell(_("This is the copy. It is off and has not been published."))
            return visit.redirect("actions")
    else:
        form = CopyForm(initial={"name": _("Copy of %(flow)s") % {"flow": visit.flow}})
    return visit.render_flow("duplicate.html", subtitle=_("Duplicate"), form=form)


def delete(visit: FlowVisit) -> HttpResponse:
    """Tell what would go, then delete; a history only by those who may, and if they say so."""
    runs = FlowRun.objects.for_flow(visit.flow)
    all_runs, open_runs = runs.count(), runs.filter(status__in=OPEN).count()
    may_delete = not all_runs or visit.rights.purge
    form = PurgeForm(visit.request.POST if visit.is_post else None)
    if visit.is_post:
        if not may_delete:
            raise PermissionDenied
        if not all_runs or form.is_valid():
            name = str(visit.flow)
            try:
                with transaction.atomic():
                    # While there is something to write about; undone if it stays.
                    visit.admin.log_deletions(visit.request, Flow.objects.filter(pk=visit.flow.pk))
                    delete_flow(visit.flow, user=visit.user, purge=bool(all_runs))
            except DeleteRefused as refused:
                visit.tell_error(str(refused))
                return visit.redirect("delete")
            visit.tell(_("“%(flow)s” was deleted.") % {"flow": name})
            return HttpResponseRedirect(
                reverse("admin:flowcontrol_flow_changelist", current_app=visit.site.name)
            )
    return visit.render_flow(
        "delete.html",
        subtitle=_("Delete"),
        form=form,
        all_runs=all_runs,
        open_runs=open_runs,
        may_delete=may_delete,
        row_count=visit.flow.actions.filter(depth__gt=1).count(),
        version_count=visit.flow.versions.count(),
        trigger_count=visit.flow.triggers.count(),
    )


FLOW_PAGES: Final = (
    Page("switch/", "switch", switch, get=None, post="change"),
    Page("pause/", "pause", pause, get=None, post="change"),
    Page("duplicate/", "duplicate", duplicate, get="add", post="add"),
    # In the place of Django's own, which would offer to delete what must not go unasked.
    Page("delete/", "delete", delete, get="delete", post="delete"),
)


# --- the list and the settings ------------------------------------------------------------------


@dataclass(frozen=True)
class Extra:
    """What the list shows of a flow beside its columns; read for the whole page at once."""

    counts: Mapping[str, int]
    has_changes: bool
    runs_url: str


class FlowList(ChangeList):
    """The list of flows: one query for all counts of runs, one for all drafts."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        flows: list[Flow] = list(self.result_list)
        self.result_list = flows
        changed = flows_with_unpublished_changes(flows)
        counts: dict[int, dict[str, int]] = {}
        may_count = rights_of(self.model_admin, request).view_runs
        if may_count and flows:
            grouped = FlowRun.objects.filter(flow__in=flows).order_by().values("flow", "status")
            for row in grouped.annotate(number=Count("pk")):
                counts.setdefault(row["flow"], {})[row["status"]] = row["number"]
        for flow in flows:
            flow.__dict__[EXTRA] = Extra(
                counts.get(flow.pk, {}),
                flow.pk in changed,
                runs_url(self.model_admin.admin_site, flow__id__exact=flow.pk) if may_count else "",
            )


class ActiveFilter(admin.SimpleListFilter):
    """On, off, paused, or never published."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("on", _("On")),
            ("off", _("Off")),
            ("paused", _("Paused")),
            ("draft", _("Never published")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Flow]) -> QuerySet[Flow]:
        now = settings.CLOCK()
        match self.value():
            case "on":
                return queryset.filter(active_at__lte=now)
            case "off":
                return queryset.exclude(active_at__lte=now)
            case "paused":
                return queryset.filter(paused_at__isnull=False)
            case "draft":
                return queryset.filter(live_version__isnull=True)
        return queryset


@admin.register(Flow)
class FlowAdmin(PagesAdmin[Flow]):
    form = FlowForm
    pages = (
        *ACTION_PAGES,
        *PRESENCE_PAGES,
        *VERSION_PAGES,
        *DIFFERENCE_PAGES,
        *DRAWING_PAGES,
        *MOVING_PAGES,
        *TRANSFER_PAGES,
        *START_PAGES,
        *TRIAL_PAGES,
        *SETTINGS_PAGES,
        *EXPRESSION_PAGES,
        *FLOW_PAGES,
    )
    list_display = ("flow", "state", "runs", "version", "object_type")
    list_display_links = None
    list_filter = (ActiveFilter,)
    search_fields = ("name", "slug", "description")
    search_help_text = gettext_lazy("Name, short name or description")
    ordering = ("name", "pk")
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    # Nothing is done to several flows at once: each is deleted on a page that tells what goes.
    actions = None
    fieldsets = ((None, {"fields": ("name", "slug", "description", "content_type")}),)

    class Media:
        css = {"all": [STYLES]}

    # --- Django's hooks ---

    def get_urls(self) -> list[URLPattern]:
        """Beside the pages of a flow, the one that makes a flow of a file."""
        page = self.admin_site.admin_view(partial(import_new, self))
        return [path("import/", page, name="flowcontrol_flow_import"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Flow]:
        flows = super().get_queryset(request)
        return flows.select_related("live_version", "content_type", "identity").defer(
            "live_version__document"
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FlowList

    def save_model(self, request: HttpRequest, obj: Flow, form: Any, change: bool) -> None:
        """Make the flow with its hidden root; changes go through our own page."""
        given = {name: form.cleaned_data[name] for name in ("description", "content_type")}
        made = drafting.create_flow(obj.name, obj.slug, **given)
        obj.__dict__.update(made.__dict__)

    def response_add(
        self, request: HttpRequest, obj: Flow, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Go on with the rows: a flow without any does nothing."""
        if "_popup" in request.POST or "_addanother" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        visit = FlowVisit(self, request, obj, rights_of(self, request, obj))
        if not visit.rights.view:
            return super().response_add(request, obj, post_url_continue)
        visit.tell(_("The flow is made. Now add what it does, row by row."))
        return visit.redirect("actions")

    def visit(self, request: HttpRequest, pk: int) -> FlowVisit:
        flow = get_object_or_404(self.get_queryset(request), pk=pk)
        return FlowVisit(self, request, flow, rights_of(self, request, flow))

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        extra = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**extra, **(extra_context or {})})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Never reached by an address that we write: our own page stands before it."""
        raise Http404

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Never reached by an address that we write: our own page stands before it."""
        raise Http404

    # --- columns ---

    @admin.display(description=gettext_lazy("flow"), ordering="name")
    def flow(self, flow: Flow) -> SafeString:
        url = reverse(
            "admin:flowcontrol_flow_actions", args=(flow.pk,), current_app=self.admin_site.name
        )
        return format_html('<a href="{}">{}</a>', url, flow.name)

    @admin.display(description=gettext_lazy("state"))
    def state(self, flow: Flow) -> SafeString:
        now = settings.CLOCK()
        badges = []
        if flow.is_active(now):
            badges.append(("on", _("On")))
        elif flow.active_at is not None:
            moment = date_format(localtime(flow.active_at), "SHORT_DATETIME_FORMAT")
            badges.append(("off", _("On from %(moment)s") % {"moment": moment}))
        else:
            badges.append(("off", _("Off")))
        if flow.paused_at is not None:
            badges.append(("paused", _("Paused")))
        return format_html_join(" ", '<span class="fc-badge fc-{}">{}</span>', badges)

    @admin.display(description=gettext_lazy("live version"), ordering="live_version__number")
    def version(self, flow: Flow) -> SafeString:
        if flow.live_version is None:
            return format_html('<span class="fc-quiet">{}</span>', _("Not published"))
        text = format_html("v{}", flow.live_version.number)
        extra: Extra | None = flow.__dict__.get(EXTRA)
        if extra is not None and extra.has_changes:
            return format_html(
                '{} <span class="fc-badge fc-changed">{}</span>', text, _("unpublished changes")
            )
        return text

    @admin.display(
        description=gettext_lazy("object type"),
        ordering="content_type",
        empty_value="–",
    )
    def object_type(self, flow: Flow) -> str | None:
        if flow.content_type is None:
            return None
        model = flow.content_type.model_class()
        return capfirst(str(model._meta.verbose_name)) if model is not None else _("gone")

    @admin.display(description=gettext_lazy("runs"))
    def runs(self, flow: Flow) -> SafeString:
        extra: Extra | None = flow.__dict__.get(EXTRA)
        if extra is None or not extra.runs_url:
            return SafeString("")
        links = [
            (
                f"{extra.runs_url}&status__exact={status.value}",
                status.value,
                extra.counts[status],
                status.label,
            )
            for status in COUNTED
            if extra.counts.get(status)
        ]
        if not links:
            return format_html('<span class="fc-quiet">{}</span>', _("No runs yet"))
        return format_html_join(
            " ", '<a class="fc-count fc-{1}" href="{0}"><b>{2}</b> {3}</a>', links
        )
