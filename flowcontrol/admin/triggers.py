"""Trigger rows, each firing of a trigger, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.moments import MOMENT_FIELDS
from flowcontrol.admin.object_types import objects_of
from flowcontrol.admin.pages import STYLES
from flowcontrol.admin.rights import may_see
from flowcontrol.admin.rows import pretty
from flowcontrol.admin.runs import ObjectLink, object_link
from flowcontrol.admin.selections import SelectionMixin
from flowcontrol.admin.trigger_forms import TriggerForm, name_in_words, trigger_choices
from flowcontrol.conf import settings
from flowcontrol.models import Firing, FlowRun, Trigger

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    _TriggerModelAdmin = admin.ModelAdmin[Trigger]
    _FiringModelAdmin = admin.ModelAdmin[Firing]
else:
    _TriggerModelAdmin = _FiringModelAdmin = admin.ModelAdmin

RESULTS: Final[Mapping[str, _StrOrPromise]] = {
    "started": gettext_lazy("started"),
    "restarted": gettext_lazy("sent to its row"),
    "woke": gettext_lazy("woken"),
    "refused": gettext_lazy("refused"),
    "false": gettext_lazy("condition not true"),
    "error": gettext_lazy("error"),
    "nothing": gettext_lazy("nothing to wake"),
}

EXTRA: Final = "flowcontrol_list_extra"


@dataclass(frozen=True)
class Extra:
    """What the pages show of a firing beside its columns; read for all of a page at once."""

    object: ObjectLink | None
    flows: Mapping[int, str]
    may_see_runs: bool


def add_extras(request: HttpRequest, site: admin.AdminSite, firings: Sequence[Firing]) -> None:
    """Read the objects of firings, and the flows of the trigger rows that took them up."""
    found = objects_of((firing.content_type_id, firing.object_id) for firing in firings)
    results = [result for firing in firings for result in _results(firing)]
    rows = {result["trigger"] for result in results if isinstance(result.get("trigger"), int)}
    flows = dict(Trigger.objects.filter(pk__in=rows).values_list("pk", "flow__name"))
    may_see_runs = may_see(request, FlowRun)
    for firing in firings:
        obj = found.get((firing.content_type_id, firing.object_id))
        link = object_link(request, site, firing.content_type, firing.object_id, obj)
        firing.__dict__[EXTRA] = Extra(link, flows, may_see_runs)


def _results(firing: Firing) -> list[dict[str, Any]]:
    results = firing.results if isinstance(firing.results, list) else []
    return [result for result in results if isinstance(result, dict)]


class TriggerNameFilter(admin.SimpleListFilter):
    """The registered triggers, by their label."""

    title = gettext_lazy("trigger")
    parameter_name = "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return trigger_choices()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(name=self.value()) if self.value() else queryset


@admin.register(Trigger)
class TriggerAdmin(SelectionMixin, _TriggerModelAdmin):
    form = TriggerForm
    formfield_overrides = MOMENT_FIELDS
    list_display = ("trigger", "flow", "mode", "condition", "is_on")
    list_filter = (TriggerNameFilter, "mode", ("flow", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("flow",)
    search_fields = ("name", "flow__name", "flow__slug")
    show_facets = admin.ShowFacets.NEVER
    fields = ("name", "flow", "condition", "active_at", "mode", "action_uid")

    class Media:
        css = {"all": [STYLES]}

    def get_fields(self, request: HttpRequest, obj: Trigger | None = None) -> Any:
        # Which rows there are is known once the flow is.
        return self.fields if obj is not None else self.fields[:-1]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            # A flow has pages of its own, which are no popups.
            field.widget.can_change_related = field.widget.can_view_related = False
        return field

    @admin.display(description=gettext_lazy("trigger"), ordering="name")
    def trigger(self, trigger: Trigger) -> str:
        return name_in_words(trigger.name)

    @admin.display(description=gettext_lazy("on"), boolean=True)
    def is_on(self, trigger: Trigger) -> bool:
        return trigger.active_at is not None and trigger.active_at <= settings.CLOCK()


class FiringList(ChangeList):
    """The list of firings with their objects, read together."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        firings: list[Firing] = list(self.result_list)
        self.result_list = firings
        add_extras(request, self.model_admin.admin_site, firings)


class MatchedFilter(admin.SimpleListFilter):
    """Whether the engine has looked at it."""

    title = gettext_lazy("matched")
    parameter_name = "matched"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", _("Not yet")), ("yes", _("Yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Firing]) -> QuerySet[Firing]:
        if self.value() in ("yes", "no"):
            return queryset.filter(matched_at__isnull=self.value() == "no")
        return queryset


@admin.register(Firing)
class FiringAdmin(_FiringModelAdmin):
    """What happened and what came of it: written by the engine, read by people."""

    list_display = ("at", "trigger", "object", "outcome")
    list_display_links = ("at",)
    list_filter = (TriggerNameFilter, MatchedFilter)
    search_fields = ("object_id",)
    search_help_text = gettext_lazy("Key of the object")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    fields = ("trigger", "object", "at", "outcome", "payload_text", "state_text", "matched_at")
    readonly_fields = fields

    class Media:
        css = {"all": [STYLES]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Firing | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Firing | None = None) -> bool:
        # Open runs read its payload, and one that is not matched has yet to act.
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Firing]:
        return super().get_queryset(request).select_related("content_type")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FiringList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Firing], search_term: str
    ) -> tuple[QuerySet[Firing], bool]:
        term = search_term.strip()
        return (queryset.filter(object_id=term) if term else queryset), False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Firing | None:
        firing = super().get_object(request, object_id, from_field)
        if firing is not None:
            add_extras(request, self.admin_site, [firing])
        return firing

    @admin.display(description=gettext_lazy("trigger"), ordering="name")
    def trigger(self, firing: Firing) -> str:
        return name_in_words(firing.name)

    @admin.display(description=gettext_lazy("object"), empty_value="–")
    def object(self, firing: Firing) -> SafeString | str | None:
        extra: Extra | None = firing.__dict__.get(EXTRA)
        if extra is None or (link := extra.object) is None:
            return None
        return format_html('<a href="{}">{}</a>', link.url, link.text) if link.url else link.text

    @admin.display(description=gettext_lazy("what came of it"))
    def outcome(self, firing: Firing) -> SafeString | str:
        if firing.matched_at is None:
            return _("not matched yet")
        extra: Extra | None = firing.__dict__.get(EXTRA)
        told = [(self._result(result, extra),) for result in _results(firing)]
        if not told:
            return _("nothing: no trigger row and no waiting run took it up")
        return format_html_join(SafeString("<br>"), "{}", told)

    def _result(self, result: Mapping[str, Any], extra: Extra | None) -> SafeString:
        """``Long delay: run #3 started``, as far as it is known."""
        did = str(result.get("did", ""))
        line = format_html("{}", RESULTS.get(did, did))
        if pk := result.get("run"):
            run: SafeString | str = _("run #%(pk)s") % {"pk": pk}
            if extra is not None and extra.may_see_runs:
                name = "admin:flowcontrol_flowrun_change"
                url = reverse(name, args=(pk,), current_app=self.admin_site.name)
                run = format_html('<a href="{}">{}</a>', url, run)
            line = format_html("{} {}", run, line)
        if extra is not None and (flow := extra.flows.get(result.get("trigger", 0))):
            line = format_html("{}: {}", flow, line)
        if reason := result.get("reason"):
            line = format_html('{} <span class="fc-quiet">({})</span>', line, reason)
        return line

    @admin.display(description=gettext_lazy("payload"))
    def payload_text(self, firing: Firing) -> SafeString:
        return format_html('<pre class="fc-json">{}</pre>', pretty(firing.payload))

    @admin.display(description=gettext_lazy("start state"), empty_value="–")
    def state_text(self, firing: Firing) -> SafeString | None:
        if firing.state is None:
            return None
        return format_html('<pre class="fc-json">{}</pre>', pretty(firing.state))
