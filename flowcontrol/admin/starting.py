"""Starting a run by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from flowcontrol.admin.flow_pages import FlowVisit, run_url
from flowcontrol.admin.pages import Page
from flowcontrol.admin.rights import may_see
from flowcontrol.admin.start_forms import StartForm, find_object
from flowcontrol.conf import settings
from flowcontrol.drafting import content_type_named
from flowcontrol.exceptions import DraftRefused, StartRefused
from flowcontrol.starting import create_flowrun

if TYPE_CHECKING:
    from django.db.models import Model

    from flowcontrol.admin.trial_forms import TrialForm


def start(visit: FlowVisit) -> HttpResponse:
    """Ask for object and state, then start a run of the live version."""
    flow, live = visit.flow, visit.flow.live_version
    if live is None:
        visit.tell_error(_("There is nothing to start yet: publish the flow first."))
        return visit.redirect("actions")
    model, model_error = model_named(live.document.get("content_type"))
    form = StartForm(
        visit.request.POST if visit.is_post else None,
        model=model,
        schema=live.document.get("state_schema"),
        initial={"key": visit.request.GET.get("key", "")},
    )
    refused = None
    if visit.is_post and form.is_valid():
        try:
            run = create_flowrun(
                flow,
                form.object,
                state=form.state,
                continue_after=form.cleaned_data["not_before"],
                user=visit.user,
            )
        except StartRefused as error:
            form.add_error(None, error.reason)
            refused = error.run
        else:
            visit.tell(_("Run #%(pk)d was started.") % {"pk": run.pk})
            if visit.rights.view_runs:
                return HttpResponseRedirect(run_url(visit.site, run.pk))
            return visit.redirect("actions")
    return visit.render_flow(
        "start.html",
        subtitle=_("Start a run"),
        form=form,
        live=live,
        model_error=model_error,
        lookup_url=lookup_url(visit, model) if model is not None else "",
        chosen=object_name(visit, form),
        is_off=not flow.is_active(settings.CLOCK()),
        refused_url=run_url(visit.site, refused.pk) if refused is not None else "",
    )


def model_named(name: str | None) -> tuple[type[Model] | None, str]:
    """The model of this name, or why it is not to be had."""
    try:
        content_type = content_type_named(name)
    except DraftRefused as error:
        return None, str(error)
    return (content_type.model_class() if content_type is not None else None), ""


def object_name(visit: FlowVisit, form: StartForm | TrialForm) -> str:
    """What the object is called whose key stands in the form, for those who may see it."""
    key = str(form["key"].value() or "") if form.model is not None else ""
    if not key or form.model is None or not may_see(visit.request, form.model):
        return ""
    found = find_object(form.model, key)
    return str(found) if found is not None else ""


def lookup_url(visit: FlowVisit, model: type[Model]) -> str:
    """Where the object can be picked from a list, if there is one that the person may see."""
    site, opts = visit.site, model._meta
    if not site.is_registered(model) or not may_see(visit.request, model):
        return ""
    assert opts.pk is not None
    try:
        url = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist", current_app=site.name)
    except NoReverseMatch:
        return ""
    return f"{url}?_to_field={opts.pk.attname}"


START_PAGES: Final = (Page("start/", "start", start, get="start", post="start"),)
