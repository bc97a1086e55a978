"""What operators may do to runs: a page that asks why, and one verb of ``operating``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flowcontrol import operating
from flowcontrol.admin.config_widgets import LineInput
from flowcontrol.admin.json_fields import JSONObjectField
from flowcontrol.admin.pages import BREADCRUMBS_ARE_A_LIST, STYLES, Crumb, site_crumbs
from flowcontrol.admin.rights import Right, Rights
from flowcontrol.exceptions import AuthorError, FlowcontrolError, TransitionRefused
from flowcontrol.models import FlowRun

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    from flowcontrol.admin.masks import Masks
    from flowcontrol.admin.rows import RowList


BulkAction = Callable[
    ["admin.ModelAdmin[FlowRun]", HttpRequest, "QuerySet[FlowRun]"], HttpResponse | None
]


@dataclass(frozen=True)
class Operation:
    """A verb: what its button says, what the page explains, and which right it needs."""

    name: str
    label: _StrOrPromise
    explanation: _StrOrPromise
    done: _StrOrPromise
    right: Right = "operate"
    is_grave: bool = False
    needs_reason: bool = False


OPERATIONS: Final[Mapping[str, Operation]] = {
    each.name: each
    for each in (
        Operation(
            "retry",
            gettext_lazy("Try again"),
            gettext_lazy(
                "The step that failed is tried again. If the flow is full, the run queues first."
            ),
            gettext_lazy("The run tries its step again."),
        ),
        Operation(
            "run_now",
            gettext_lazy("Run now"),
            gettext_lazy("The run does not wait any longer: what it waits for is over."),
            gettext_lazy("The run is due now."),
        ),
        Operation(
            "resume",
            gettext_lazy("Resume"),
            gettext_lazy("The run goes on where it was paused."),
            gettext_lazy("The run goes on."),
        ),
        Operation(
            "pause",
            gettext_lazy("Pause"),
            gettext_lazy("The run stays where it is until somebody resumes it."),
            gettext_lazy("The run is paused."),
        ),
        Operation(
            "go_to",
            gettext_lazy("Go to a row"),
            gettext_lazy(
                "The run goes on at the row that you choose. Nothing of what it did is undone; a "
                "loop around the row begins its count afresh."
            ),
            gettext_lazy("The run goes on at that row."),
            needs_reason=True,
        ),
        Operation(
            "edit_state",
            gettext_lazy("Edit state"),
            gettext_lazy("The state takes the place of the present one, which stays on record."),
            gettext_lazy("The state was changed."),
            right="edit_state",
            needs_reason=True,
        ),
        Operation(
            "close",
            gettext_lazy("Close"),
            gettext_lazy("The failed run ends as it is. It cannot be tried again afterwards."),
            gettext_lazy("The run was closed."),
            is_grave=True,
            needs_reason=True,
        ),
        Operation(
            "cancel",
            gettext_lazy("Cancel"),
            gettext_lazy(
                "The run ends here. What it did is not undone, and it cannot be continued."
            ),
            gettext_lazy("The run was canceled."),
            is_grave=True,
            needs_reason=True,
        ),
    )
}
"""In the order of the buttons."""

_VERBS: Final[Mapping[str, Callable[..., None]]] = {
    "retry": operating.retry,
    "run_now": operating.run_now,
    "resume": operating.resume,
    "pause": operating.pause,
    "close": operating.close,
    "cancel": operating.cancel,
}


def operation(name: str) -> Operation:
    """Raises ``Http404`` for a word that is no operation."""
    try:
        return OPERATIONS[name]
    except KeyError:
        raise Http404(f"There is no operation {name!r}.") from None


def operations_for(run: FlowRun, rights: Rights) -> list[Operation]:
    """What this person may do to this run now."""
    allowed = operating.allowed_transitions(run)
    return [each for each in OPERATIONS.values() if each.name in allowed and rights[each.right]]


class OperationForm(forms.Form):
    """Why, and what the operation needs to know beside.

    Args:
        operation: which one.
        run: to which run; ``None`` for many.
        rows: the rows that the run can be sent to.
        masks: hides what is secret in the state.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None,
        *,
        operation: Operation,
        run: FlowRun | None = None,
        rows: RowList | None = None,
        masks: Masks | None = None,
    ) -> None:
        super().__init__(data)
        if operation.name == "edit_state" and run is not None and masks is not None:
            self._add_state(run, masks)
        if operation.name == "go_to":
            self.fields["row"] = forms.ChoiceField(label=_("Row"), choices=_choices(rows))
        self.fields["reason"] = forms.CharField(
            label=_("Reason"),
            required=operation.needs_reason,
            max_length=500,
            widget=LineInput(),
            help_text=_("Kept in the history of the run, with your name."),
        )

    def _add_state(self, run: FlowRun, masks: Masks) -> None:
        shown = masks.state(run.state)
        field = JSONObjectField(
            label=_("State"),
            initial=shown,
            schema=run.version.document.get("state_schema"),
            rows=10,
            help_text=_("A JSON object. All of it is replaced."),
        )
        field.keep_secrets(run.state, shown)
        self.fields["state"] = field


def _choices(rows: RowList | None) -> list[tuple[str, str]]:
    if rows is None:
        return []
    return [(uid, f"{row.place} {row.title}") for uid, row in rows.by_uid.items() if not row.is_off]


def perform(operation: Operation, run: FlowRun, form: OperationForm, user: Any) -> str:
    """Do it; what was wrong, or nothing."""
    reason = form.cleaned_data["reason"]
    try:
        match operation.name:
            case "edit_state":
                state = form.cleaned_data["state"] or {}
                operating.edit_state(run, state, user=user, reason=reason)
            case "go_to":
                operating.go_to(run, form.cleaned_data["row"], user=user, reason=reason)
            case _:
                _VERBS[operation.name](run, user=user, reason=reason)
    except (TransitionRefused, AuthorError, ValueError) as error:
        return str(error)
    return ""


# --- many runs ----------------------------------------------------------------------------------


def operate_on_many(
    model_admin: admin.ModelAdmin[FlowRun],
    request: HttpRequest,
    runs: QuerySet[FlowRun],
    operation: Operation,
) -> HttpResponse | None:
    """Ask why; then one run after the other, each by itself, and tell how many could not."""
    if not request.user.has_perm("flowcontrol.operate_flowrun"):
        raise PermissionDenied
    confirmed = "confirmed" in request.POST
    form = OperationForm(request.POST if confirmed else None, operation=operation)
    if not confirmed or not form.is_valid():
        return _bulk_page(model_admin, request, runs, operation, form)
    done, refusals = 0, []
    for run in runs.order_by("pk").iterator(chunk_size=500):
        try:
            _VERBS[operation.name](run, user=request.user, reason=form.cleaned_data["reason"])
            done += 1
        except FlowcontrolError as error:
            refusals.append(str(error))
    if done:
        told = ngettext("%(verb)s: %(count)d run.", "%(verb)s: %(count)d runs.", done)
        message = told % {"verb": operation.label, "count": done}
        messages.success(request, message)
    if refusals:
        told = ngettext(
            "Not possible for %(count)d run: %(first)s",
            "Not possible for %(count)d runs. The first: %(first)s",
            len(refusals),
        )
        messages.warning(request, told % {"count": len(refusals), "first": refusals[0]})
    return None


def _bulk_page(
    model_admin: admin.ModelAdmin[FlowRun],
    request: HttpRequest,
    runs: QuerySet[FlowRun],
    operation: Operation,
    form: OperationForm,
) -> HttpResponse:
    site = model_admin.admin_site
    count = runs.count()
    title = ngettext("%(verb)s: %(count)d run", "%(verb)s: %(count)d runs", count) % {
        "verb": operation.label,
        "count": count,
    }
    request.current_app = site.name
    return TemplateResponse(
        request,
        "flowcontrol/admin/operate_many.html",
        {
            **site.each_context(request),
            "title": title,
            "opts": model_admin.opts,
            "operation": operation,
            "form": form,
            "count": count,
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "select_across": request.POST.get("select_across", "0"),
            "action_index": request.POST.get("index", "0"),
            "crumbs": [*site_crumbs(model_admin, site.name), Crumb(operation.label)],
            "crumbs_are_a_list": BREADCRUMBS_ARE_A_LIST,
            "styles": STYLES,
        },
    )


def _bulk_action(operation: Operation) -> BulkAction:
    def act(
        model_admin: admin.ModelAdmin[FlowRun], request: HttpRequest, runs: QuerySet[FlowRun]
    ) -> HttpResponse | None:
        return operate_on_many(model_admin, request, runs, operation)

    act.__name__ = operation.name
    return admin.action(permissions=["operate"], description=operation.label)(act)


BULK_ACTIONS: Final = tuple(
    _bulk_action(OPERATIONS[name]) for name in ("retry", "run_now", "pause", "resume", "cancel")
)
"""What the list of runs offers for what is selected in it."""
