"""For the admin pages of the host site: start flows from a list, see the runs of an object.

::

    @admin.register(Order)
    class OrderAdmin(FlowcontrolModelAdminMixin, admin.ModelAdmin): ...

:class:`StartFlowsMixin` and :class:`ObjectRunsMixin` are its two halves.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flowcontrol.admin.flow_pages import run_url, runs_url
from flowcontrol.admin.pages import BREADCRUMBS_ARE_A_LIST, STYLES, Crumb, site_crumbs
from flowcontrol.admin.rights import may_see
from flowcontrol.admin.runs import badge
from flowcontrol.admin.start_forms import StateForm
from flowcontrol.conf import settings
from flowcontrol.models import Flow, FlowRun
from flowcontrol.operating import explain
from flowcontrol.starting import ManyStarted, create_flowruns

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.utils.safestring import SafeString

    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object

RUNS_SHOWN: Final = 10
NAMES_SHOWN: Final = 5
BATCH: Final = 500

_TOKEN: Final = re.compile(r"[0-9a-f]{32}")


def startable_flows(request: HttpRequest, model: type[Model]) -> QuerySet[Flow]:
    """The flows about ``model`` that this person may start by hand now, by name."""
    if not may_see(request, Flow):
        return Flow.objects.none()
    kinds = [base._meta.label_lower for base in model.__mro__ if hasattr(base, "_meta")]
    flows = Flow.objects.active(settings.CLOCK()).startable_by(request.user)
    # What is live decides: the draft may be about something else by now.
    return flows.filter(live_version__document__content_type__in=kinds).order_by("name", "pk")


# --- starting from a list -----------------------------------------------------------------------


class StartFlowsMixin(_ModelAdmin):
    """Adds the action "Start a flow…" to the list of a model."""

    def __init__(self, model: type[Model], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        if self.actions is not None:
            self.actions = [*self.actions, "start_flow"]

    @admin.action(permissions=["start_flow"], description=gettext_lazy("Start a flow…"))
    def start_flow(self, request: HttpRequest, objects: QuerySet[Any]) -> HttpResponse | None:
        return start_selected(self, request, objects)

    def has_start_flow_permission(self, request: HttpRequest) -> bool:
        """Whether the action is offered; which flows may be started is asked when it is chosen."""
        return request.user.has_perm("flowcontrol.start_flow") and may_see(request, Flow)


def start_selected(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, objects: QuerySet[Any]
) -> HttpResponse | None:
    """Ask which flow, then with which state; then start it for each object and tell of all."""
    flows = list(
        startable_flows(request, model_admin.model)
        .select_related("live_version")
        .defer("live_version__document")
    )
    if not flows:
        told = _("There is no flow about %(models)s that you may start.")
        models = model_admin.opts.verbose_name_plural
        messages.warning(request, told % {"models": models})
        return None
    posted = request.POST.get("flow", "")
    flow = next((each for each in flows if str(each.pk) == posted), None)
    if flow is None and posted:
        messages.error(request, _("You may not start this flow, or it is off by now."))
    elif flow is None and len(flows) == 1:
        flow = flows[0]
    if flow is None:
        return _page(model_admin, request, "start_many_choose.html", objects, flows=flows)
    assert flow.live_version is not None
    token = request.POST.get("start_token", "")
    is_confirmed = "confirmed" in request.POST and _TOKEN.fullmatch(token) is not None
    form = StateForm(
        request.POST if is_confirmed else None,
        schema=flow.live_version.document.get("state_schema"),
    )
    if is_confirmed and form.is_valid():
        outcome = create_flowruns(
            flow,
            _read(model_admin, request, objects),
            token=token,
            state=form.state,
            continue_after=form.cleaned_data["not_before"],
            user=request.user,
        )
        _tell(request, flow, outcome)
        return None
    return _page(
        model_admin,
        request,
        "start_many.html",
        objects,
        flow=flow,
        form=form,
        start_token=token if is_confirmed else uuid.uuid4().hex,
        may_choose=len(flows) > 1,
    )


def _read(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, objects: QuerySet[Any]
) -> Iterator[Model]:
    """The objects of a selection, by their keys in batches: never all of them in memory."""
    keys = list(objects.order_by("pk").values_list("pk", flat=True))
    found = model_admin.get_queryset(request).order_by("pk")
    for first in range(0, len(keys), BATCH):
        yield from found.filter(pk__in=keys[first : first + BATCH])


def _tell(request: HttpRequest, flow: Flow, outcome: ManyStarted) -> None:
    if outcome.started:
        told = ngettext(
            "“%(flow)s”: %(count)d run was started.",
            "“%(flow)s”: %(count)d runs were started.",
            outcome.started,
        )
        messages.success(request, told % {"flow": flow, "count": outcome.started})
    if outcome.known:
        told = ngettext(
            "%(count)d run had been started already, by the same form.",
            "%(count)d runs had been started already, by the same form.",
            outcome.known,
        )
        messages.info(request, told % {"count": outcome.known})
    if not outcome.started and not outcome.known and not outcome.refused:
        messages.warning(request, _("Nothing was started: the selected objects are gone."))
    for reason, refused in _by_reason(outcome.refused):
        told = ngettext(
            "Refused for %(names)s: %(reason)s",
            "Refused for %(count)d, %(names)s: %(reason)s",
            len(refused),
        )
        names = _names(refused)
        messages.warning(request, told % {"count": len(refused), "names": names, "reason": reason})


def _by_reason(refused: Iterable[tuple[Model, str]]) -> Iterable[tuple[str, list[Model]]]:
    by_reason: dict[str, list[Model]] = {}
    for obj, reason in refused:
        by_reason.setdefault(reason, []).append(obj)
    return by_reason.items()


def _names(objects: list[Model]) -> str:
    names = ", ".join(str(obj) for obj in objects[:NAMES_SHOWN])
    more = len(objects) - NAMES_SHOWN
    return _("%(names)s and %(more)d more") % {"names": names, "more": more} if more > 0 else names


def _page(
    model_admin: admin.ModelAdmin[Any],
    request: HttpRequest,
    template: str,
    objects: QuerySet[Any],
    **context: Any,
) -> HttpResponse:
    site, count = model_admin.admin_site, objects.count()
    opts = model_admin.opts
    request.current_app = site.name
    return TemplateResponse(
        request,
        f"flowcontrol/admin/{template}",
        {
            **site.each_context(request),
            "title": _("Start a flow for %(count)d %(models)s")
            % {
                "count": count,
                "models": opts.verbose_name if count == 1 else opts.verbose_name_plural,
            },
            "opts": opts,
            "count": count,
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "select_across": request.POST.get("select_across", "0"),
            "action_index": request.POST.get("index", "0"),
            "crumbs": [*site_crumbs(model_admin, site.name), Crumb(_("Start a flow"))],
            "crumbs_are_a_list": BREADCRUMBS_ARE_A_LIST,
            "styles": STYLES,
            **context,
        },
    )


# --- the runs of an object ----------------------------------------------------------------------


class ShownRun(NamedTuple):
    """A line of the panel."""

    run: FlowRun
    url: str
    badge: SafeString
    explanation: str


class StartLink(NamedTuple):
    """A flow that may be started for the object."""

    flow: Flow
    url: str


class RunsPanel(NamedTuple):
    """What the page of an object shows of its runs, and of the flows that can be started for it."""

    may_see_runs: bool
    runs: list[ShownRun]
    more_url: str
    start_links: list[StartLink]


class ObjectRunsMixin(_ModelAdmin):
    """Adds a panel with the runs of an object to its change page.

    It stands behind the inlines, in the block ``after_related_objects`` of whichever template the
    page has. A template without that block can include ``flowcontrol/admin/object_runs.html``.
    """

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        response = super().render_change_form(request, context, add, change, form_url, obj)
        if obj is None or obj.pk is None or IS_POPUP_VAR in request.GET:
            return response
        if not isinstance(response, TemplateResponse) or response.context_data is None:
            return response
        panel = runs_panel(request, self.admin_site, obj)
        if panel is not None:
            response.context_data |= {
                "flowcontrol_panel": panel,
                "flowcontrol_page": response.resolve_template(response.template_name),
                "flowcontrol_styles": STYLES,
            }
            response.template_name = "flowcontrol/admin/object_change_form.html"
        return response


def runs_panel(request: HttpRequest, site: admin.AdminSite, obj: Model) -> RunsPanel | None:
    """The runs about ``obj``, newest first: as many queries for ten of them as for one.

    ``None`` for people who may neither see runs nor start any.
    """
    may_see_runs = may_see(request, FlowRun)
    links = []
    if site.is_registered(Flow):
        flows = startable_flows(request, type(obj)).only("name")
        links = [StartLink(flow, _start_url(site, flow, obj)) for flow in flows]
    if not may_see_runs and not links:
        return None
    has_pages = site.is_registered(FlowRun)
    runs = _runs_of(obj) if may_see_runs else []
    return RunsPanel(
        may_see_runs=may_see_runs,
        runs=[
            ShownRun(run, run_url(site, run.pk) if has_pages else "", badge(run), explain(run))
            for run in runs[:RUNS_SHOWN]
        ],
        more_url=_list_url(site, obj) if has_pages and len(runs) > RUNS_SHOWN else "",
        start_links=links,
    )


def _runs_of(obj: Model) -> list[FlowRun]:
    """One more than is shown. A proxy is the same object as what it stands for."""
    runs = FlowRun.objects.filter(content_type__in=_kinds(obj), object_id=str(obj.pk))
    runs = runs.select_related("flow").prefetch_related("waits").order_by("-pk")
    return list(runs.defer("state", "items", "wakeup")[: RUNS_SHOWN + 1])


def _kinds(obj: Model) -> list[ContentType]:
    models = {type(obj), obj._meta.concrete_model}
    found = ContentType.objects.get_for_models(
        *(model for model in models if model is not None), for_concrete_models=False
    )
    return list(found.values())


def _list_url(site: admin.AdminSite, obj: Model) -> str:
    kinds = ",".join(str(kind.pk) for kind in _kinds(obj))
    return runs_url(site, content_type__id__in=kinds, object_id__exact=obj.pk)


def _start_url(site: admin.AdminSite, flow: Flow, obj: Model) -> str:
    url = reverse("admin:flowcontrol_flow_start", args=(flow.pk,), current_app=site.name)
    return f"{url}?{urlencode({'key': obj.pk})}"


class FlowcontrolModelAdminMixin(StartFlowsMixin, ObjectRunsMixin):
    """Both: the action in the list, and the panel on the page of an object."""
