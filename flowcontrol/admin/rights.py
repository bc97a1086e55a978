"""What the person behind a request may do with flows and runs: asked in one place.

A right to act is worth nothing without the right to see what is acted upon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from django.db.models import Model

from flowcontrol.answering import may_answer
from flowcontrol.models import Flow, HumanTask

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest

Right = Literal[
    "view",
    "add",
    "change",
    "delete",
    "publish",
    "trial",
    "start",
    "purge",
    "operate",
    "edit_state",
    "reveal_secrets",
    "view_runs",
    "view_triggers",
    "add_triggers",
    "change_triggers",
    "delete_triggers",
    "answer",
]


@dataclass(frozen=True, slots=True)
class Rights:
    """What one person may do on the pages of one model; templates ask it by name."""

    view: bool
    add: bool
    change: bool
    delete: bool
    publish: bool
    trial: bool
    start: bool
    purge: bool
    operate: bool
    edit_state: bool
    reveal_secrets: bool
    view_runs: bool
    view_triggers: bool
    add_triggers: bool
    change_triggers: bool
    delete_triggers: bool
    answer: bool

    def __getitem__(self, right: Right) -> bool:
        granted: bool = getattr(self, right)
        return granted


def rights_of(admin: ModelAdmin[Any], request: HttpRequest, obj: Model | None = None) -> Rights:
    """The rights of the person behind ``request``, on pages about ``obj`` or on lists."""
    may = request.user.has_perm
    view = bool(admin.has_view_permission(request, obj))
    change = view and bool(admin.has_change_permission(request, obj))
    publish = view and may("flowcontrol.publish_flow")
    return Rights(
        view=view,
        add=view and bool(admin.has_add_permission(request)),
        change=change,
        delete=view and bool(admin.has_delete_permission(request, obj)),
        publish=publish,
        trial=change or publish,
        start=view and _may_start(request.user, obj),
        purge=view and may("flowcontrol.purge_flowrun"),
        operate=view and may("flowcontrol.operate_flowrun"),
        edit_state=view and may("flowcontrol.edit_state_flowrun"),
        reveal_secrets=view and may("flowcontrol.reveal_secrets"),
        view_runs=may("flowcontrol.view_flowrun") or may("flowcontrol.change_flowrun"),
        view_triggers=may("flowcontrol.view_trigger") or may("flowcontrol.change_trigger"),
        add_triggers=view and may("flowcontrol.add_trigger"),
        change_triggers=view and may("flowcontrol.change_trigger"),
        delete_triggers=view and may("flowcontrol.delete_trigger"),
        answer=view and isinstance(obj, HumanTask) and may_answer(obj, request.user),
    )


def _may_start(user: Any, obj: Model | None) -> bool:
    """Whether somebody may start runs by hand: of this flow, or of flows at all."""
    if isinstance(obj, Flow):
        return obj.may_be_started_by(user)
    return bool(user.has_perm("flowcontrol.start_flow"))


def may_see(request: HttpRequest, model: type[Model]) -> bool:
    """Whether the person may see objects of ``model``, by name and not only by key."""
    label, name = model._meta.app_label, model._meta.model_name
    may = request.user.has_perm
    return may(f"{label}.view_{name}") or may(f"{label}.change_{name}")
