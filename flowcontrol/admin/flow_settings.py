"""The settings of a flow: what it is about, its limits, its triggers, who may start it.

Each page is a whole page by itself and, asked with ``?panel=1`` or by htmx, only its middle, for a
page that shows it beside something else (``flow_settings.js`` keeps such a panel going).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction
from django.http import Http404, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from flowcontrol import drafting
from flowcontrol.admin.flow_forms import SettingsForm
from flowcontrol.admin.flow_pages import FlowVisit
from flowcontrol.admin.pages import Crumb, Page
from flowcontrol.admin.schema_fields import JSON, TABLE, StateSchemaWidget, read_schema
from flowcontrol.admin.schema_tables import TableProblems
from flowcontrol.admin.trigger_forms import FlowTriggerForm, ShownTrigger, name_in_words
from flowcontrol.conf import settings
from flowcontrol.exceptions import DraftRefused
from flowcontrol.models import Flow, Trigger

if TYPE_CHECKING:
    from django.forms import Form, ModelForm

SCHEMA_FIELD: Final = "state_schema"


def show_settings(visit: FlowVisit) -> HttpResponse:
    """The settings to fill in, or to read; a change is written as a whole or not at all."""
    form = _form(visit)
    if visit.is_post:
        with transaction.atomic():
            is_saved = form.is_valid() and _save(visit, form)
        if is_saved:
            visit.tell(_("The settings were saved.") if form.has_changed() else _("No changes."))
            return _back(visit)
    return _render(
        visit,
        "settings",
        form=form,
        triggers=shown_triggers(visit.flow) if visit.rights.view_triggers else None,
    )


def _form(visit: FlowVisit) -> SettingsForm:
    form = SettingsForm(
        visit.request.POST if visit.is_post else None,
        # A copy: the page's title and header tell what is stored, not what is being entered.
        instance=copy.copy(visit.flow),
        user=visit.user,
        site=visit.site,
        may_change=visit.rights.change,
    )
    widget = form.fields[SCHEMA_FIELD].widget
    assert isinstance(widget, StateSchemaWidget)
    if visit.rights.change:
        widget.convert_url = visit.url("convert_schema")
    return form


def _save(visit: FlowVisit, form: SettingsForm) -> bool:
    """Write what was changed and nothing else: others may be at the same row."""
    flow: Flow = form.instance
    columns = {field.name for field in Flow._meta.concrete_fields}
    changed = [name for name in form.changed_data if name in columns]
    try:
        with transaction.atomic():
            if form.changed_draft_fields:
                # The form has compared the revision, under a lock that is still held.
                with drafting.editing(flow, verb="settings", user=visit.user):
                    flow.save(update_fields=changed)
            elif changed:
                flow.save(update_fields=changed)
            if "starters" in form.changed_data:
                flow.starters.set(form.cleaned_data["starters"])
    except DraftRefused as refused:
        form.add_error(None, str(refused))
        return False
    if form.has_changed():
        filled_in: Any = form
        note: Any = visit.admin.construct_change_message(visit.request, filled_in, [])
        visit.note_change(note)
    return True


def convert_schema(visit: FlowVisit) -> HttpResponse:
    """The editor of the state schema the other way round: what was entered, nothing saved."""
    widget = StateSchemaWidget({"id": f"id_{SCHEMA_FIELD}"})
    widget.convert_url = visit.url("convert_schema")
    mode = visit.request.POST.get("to")
    if mode not in (TABLE, JSON):
        return HttpResponseBadRequest(_("There is a table and there is JSON."))
    entered = widget.value_from_datadict(visit.request.POST, None, SCHEMA_FIELD)
    told = ""
    try:
        converted = entered.in_mode(mode, read_schema(entered, visit.flow.state_schema))
        if converted.mode != mode:
            told = _("This schema cannot be shown as a table.")
        entered = converted
    except TableProblems as error:
        widget.problems = error.problems
    except ValueError as error:
        told = str(error)
    context = widget.get_context(SCHEMA_FIELD, entered, None)
    context["widget"]["told"] = told
    return HttpResponse(render_to_string(widget.template_name, context))


# --- triggers -----------------------------------------------------------------------------------


def shown_triggers(flow: Flow) -> list[ShownTrigger]:
    """The trigger rows of a flow as its settings list them."""
    now = settings.CLOCK()
    return [ShownTrigger.of(trigger, now) for trigger in flow.triggers.order_by("name", "pk")]


def add_trigger(visit: FlowVisit) -> HttpResponse:
    """A new trigger row for the flow."""
    return _trigger_form(visit, Trigger(flow=visit.flow), _("Add a trigger"))


def edit_trigger(visit: FlowVisit, trigger_pk: int) -> HttpResponse:
    """One of the flow's trigger rows, to change or to read."""
    trigger = _trigger(visit, trigger_pk)
    return _trigger_form(visit, trigger, name_in_words(trigger.name))


def _trigger_form(visit: FlowVisit, trigger: Trigger, title: str) -> HttpResponse:
    is_new = trigger.pk is None
    may_change = visit.rights.add_triggers if is_new else visit.rights.change_triggers
    form = FlowTriggerForm(
        visit.request.POST if visit.is_post else None,
        instance=trigger,
        flow=visit.flow,
        may_change=may_change,
        site_name=visit.site.name,
    )
    if visit.is_post and form.is_valid():
        form.save()
        name = name_in_words(trigger.name)
        if is_new:
            visit.note_change(_("Added the trigger “%(name)s”") % {"name": name})
            visit.tell(_("The trigger was added."))
        else:
            _note_trigger(visit, form, name)
            visit.tell(_("The trigger was saved."))
        return _back(visit)
    return _render(
        visit,
        "trigger",
        title=title,
        form=form,
        trigger=None if is_new else trigger,
        may_change=may_change,
    )


def _note_trigger(visit: FlowVisit, form: ModelForm[Trigger], name: str) -> None:
    if form.has_changed():
        visit.note_change(_("Changed the trigger “%(name)s”") % {"name": name})


def switch_trigger(visit: FlowVisit, trigger_pk: int) -> HttpResponse:
    """Switch a trigger row on (``on`` is 1) or off, from now."""
    trigger, on = _trigger(visit, trigger_pk), visit.request.POST.get("on") == "1"
    Trigger.objects.filter(pk=trigger.pk).update(active_at=settings.CLOCK() if on else None)
    name = name_in_words(trigger.name)
    if on:
        visit.note_change(_("Switched on the trigger “%(name)s”") % {"name": name})
        visit.tell(_("“%(name)s” starts this flow from now on.") % {"name": name})
    else:
        visit.note_change(_("Switched off the trigger “%(name)s”") % {"name": name})
        visit.tell(_("“%(name)s” does not start this flow any more.") % {"name": name})
    return _back(visit)


def remove_trigger(visit: FlowVisit, trigger_pk: int) -> HttpResponse:
    """Delete one of the flow's trigger rows."""
    trigger = _trigger(visit, trigger_pk)
    name = name_in_words(trigger.name)
    trigger.delete()
    visit.note_change(_("Deleted the trigger “%(name)s”") % {"name": name})
    visit.tell(_("“%(name)s” does not start this flow any more.") % {"name": name})
    return _back(visit)


def _trigger(visit: FlowVisit, pk: int) -> Trigger:
    """Raises ``Http404`` if the flow has no such row, also if another flow has."""
    if not visit.rights.view_triggers:
        raise Http404
    return get_object_or_404(visit.flow.triggers.all(), pk=pk)


# --- whole pages and panels ---------------------------------------------------------------------


def _is_panel(visit: FlowVisit) -> bool:
    return visit.request.GET.get("panel") == "1" or visit.is_partial


def _back(visit: FlowVisit) -> HttpResponse:
    """To the settings, in the same frame."""
    return HttpResponseRedirect(visit.url("change") + ("?panel=1" if _is_panel(visit) else ""))


def _render(visit: FlowVisit, name: str, *, form: Form | Any, **context: Any) -> HttpResponse:
    is_panel = _is_panel(visit)
    title = context.pop("title", _("Settings"))
    crumbs = [Crumb(_("Settings"), visit.url("change")), Crumb(title)]
    return visit.render_flow(
        f"{name}_panel.html" if is_panel else f"{name}.html",
        tab="" if is_panel else "settings",
        subtitle=title,
        crumbs=crumbs if name != "settings" else None,
        form=form,
        is_panel=is_panel,
        settings_url=visit.url("change"),
        **context,
    )


SETTINGS_PAGES: Final = (
    # In the place of Django's form: it has a panel, and its triggers have pages of their own.
    Page("change/", "change", show_settings, get="view", post="change"),
    Page("schema/", "convert_schema", convert_schema, get=None, post="change"),
    Page("triggers/add/", "add_trigger", add_trigger, get="add_triggers", post="add_triggers"),
    Page(
        "triggers/<int:trigger_pk>/",
        "trigger",
        edit_trigger,
        get="view_triggers",
        post="change_triggers",
    ),
    Page(
        "triggers/<int:trigger_pk>/switch/",
        "switch_trigger",
        switch_trigger,
        get=None,
        post="change_triggers",
    ),
    Page(
        "triggers/<int:trigger_pk>/delete/",
        "remove_trigger",
        remove_trigger,
        get=None,
        post="delete_triggers",
    ),
)
