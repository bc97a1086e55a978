"""The form of a trigger row, in a flow's settings and on a page of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.expression_widgets import Completion, ExpressionInput, complete
from flowcontrol.admin.flow_forms import read_expression
from flowcontrol.admin.moments import MomentInput
from flowcontrol.admin.rows import rows_of
from flowcontrol.conf import settings
from flowcontrol.documents import read_document
from flowcontrol.exceptions import DocumentError
from flowcontrol.models import Flow, Trigger
from flowcontrol.registry import triggers

if TYPE_CHECKING:
    from flowcontrol.registry import TriggerType

    _TriggerModelForm = forms.ModelForm[Trigger]
else:
    _TriggerModelForm = forms.ModelForm

Choices = list[tuple[str, str]]


def trigger_choices(stored: str = "") -> Choices:
    """The registered triggers by label; a stored one that is not registered any more, too."""
    known = sorted(
        ((each.name, trigger_label(each)) for each in triggers), key=lambda one: str(one[1])
    )
    if stored and stored not in triggers:
        known.insert(0, (stored, _("%(name)s (not registered)") % {"name": stored}))
    return known


def trigger_label(trigger: TriggerType) -> str:
    """``A flight has been cancelled``; the name where there are no better words."""
    return str(trigger.label or trigger.name)


def name_in_words(name: str) -> str:
    """What people call the trigger of this name."""
    found = triggers.find(name)
    return trigger_label(found) if found is not None else name


def row_choices(flow: Flow) -> Choices:
    """The rows of the live version, at which a run can go on."""
    if flow.live_version is None:
        return []
    try:
        document = read_document(flow.live_version.document)
    except DocumentError:
        return []
    rows = rows_of(document)
    return [(uid, f"{row.place} {row.title}") for uid, row in rows.by_uid.items() if not row.is_off]


class TriggerForm(_TriggerModelForm):
    """A trigger row. ``flow`` is given where the row stands among the settings of its flow."""

    flow_of_page: Flow | None = None
    site_name = "admin"

    name = forms.ChoiceField(label=gettext_lazy("Trigger"))
    condition = forms.CharField(
        label=gettext_lazy("Condition"),
        required=False,
        widget=ExpressionInput(is_condition=True),
        help_text=gettext_lazy(
            "Can read object and trigger, for example trigger.delay >= 60. Empty: always."
        ),
    )
    action_uid = forms.ChoiceField(
        label=gettext_lazy("At row"),
        required=False,
        help_text=gettext_lazy("Where the object's run goes on. Only for sending it to a row."),
    )

    class Meta:
        model = Trigger
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "active_at" in self.fields and self.instance._state.adding:
            # Who adds a row means it to act; the engine's clock is what it acts by.
            self.fields["active_at"].initial = settings.CLOCK
        if "name" in self.fields:
            self._offer("name", [("", "---------"), *trigger_choices(self.instance.name)])
        flow = self.flow_of_page or (self.instance.flow if self.instance.flow_id else None)
        if flow is not None:
            place = {"triggers": self.instance.name}
            complete(self, Completion(flow, place, trigger_field="name", site_name=self.site_name))
        if "action_uid" in self.fields:
            rows = row_choices(flow) if flow is not None else []
            stored = self.instance.action_uid
            if stored and stored not in {uid for uid, _title in rows}:
                rows.append((stored, _("%(uid)s (not in the live version)") % {"uid": stored}))
            self._offer("action_uid", [("", _("The first row")), *rows])

    def _offer(self, name: str, choices: Choices) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def clean_condition(self) -> str:
        return read_expression(self.cleaned_data["condition"])

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        flow = self.flow_of_page or self.cleaned_data.get("flow")
        trigger = triggers.find(self.cleaned_data.get("name") or "")
        if flow is not None and trigger is not None and "name" in self.changed_data:
            self._check_model(flow, trigger)
        return cleaned

    def _check_model(self, flow: Flow, trigger: TriggerType) -> None:
        """Refuse a trigger whose objects the flow cannot be about."""
        model = trigger.get_model()
        wanted = flow.content_type.model_class() if flow.content_type is not None else None
        if model is None or wanted is None:
            return
        if not issubclass(model, wanted) and not issubclass(wanted, model):
            raise ValidationError(
                {
                    "name": _("This trigger is about %(one)s, but the flow is about %(other)s.")
                    % {
                        "one": model._meta.verbose_name_plural,
                        "other": wanted._meta.verbose_name_plural,
                    }
                }
            )


class FlowTriggerForm(TriggerForm):
    """A trigger row among the settings of its flow.

    Args:
        data: what was posted.
        instance: the row.
        flow: whose row it is, or will be.
        may_change: whether it is to be filled in, or only to be read.
        site_name: of the admin site that the form is on.
    """

    class Meta:
        model = Trigger
        fields = ("name", "condition", "mode", "action_uid", "active_at")
        widgets: ClassVar[dict[str, Any]] = {"active_at": MomentInput()}

    def __init__(
        self,
        data: Mapping[str, Any] | None,
        *,
        instance: Trigger,
        flow: Flow,
        may_change: bool,
        site_name: str = "admin",
    ) -> None:
        self.flow_of_page, self.site_name = flow, site_name
        super().__init__(data, instance=instance)
        if instance._state.adding:
            self.initial["active_at"] = settings.CLOCK()
        for field in self.fields.values():
            field.disabled = not may_change


@dataclass(frozen=True)
class ShownTrigger:
    """A trigger row as a list shows it."""

    trigger: Trigger
    name: str
    is_known: bool
    is_on: bool
    is_planned: bool

    @classmethod
    def of(cls, trigger: Trigger, now: datetime) -> ShownTrigger:
        moment = trigger.active_at
        return cls(
            trigger,
            name_in_words(trigger.name),
            triggers.find(trigger.name) is not None,
            is_on=moment is not None and moment <= now,
            is_planned=moment is not None and moment > now,
        )
