"""The forms of a flow as a whole: a new one, its settings, a copy, its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from django import forms
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.config_widgets import (
    CodeInput,
    LineInput,
    ManyChoices,
    ShortInput,
    TextArea,
)
from flowcontrol.admin.expression_widgets import Completion, ExpressionInput, complete
from flowcontrol.admin.flow_pages import what_changed
from flowcontrol.admin.moments import MomentInput
from flowcontrol.admin.object_types import object_types, type_label
from flowcontrol.admin.schema_fields import StateSchemaField
from flowcontrol.draft_changes import changes_since
from flowcontrol.exceptions import ExpressionSyntaxError
from flowcontrol.expressions import compile_expression
from flowcontrol.models import Flow

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.forms.boundfield import BoundField
    from django.utils.functional import _StrOrPromise

    _FlowModelForm = forms.ModelForm[Flow]
    _ContentTypeField = forms.ModelChoiceField[ContentType]
    _GroupsField = forms.ModelMultipleChoiceField[Group]
else:
    _FlowModelForm = forms.ModelForm
    _ContentTypeField = forms.ModelChoiceField
    _GroupsField = forms.ModelMultipleChoiceField

DRAFT_FIELDS: Final = ("content_type", "condition", "state_schema", "identity")
"""The settings that belong to the draft: they act once they are published."""


def read_expression(source: str) -> str:
    """An expression as it is stored.

    Raises:
        ValidationError: it cannot be read; the message says where.
    """
    source = source.strip()
    if source:
        try:
            compile_expression(source)
        except ExpressionSyntaxError as error:
            raise ValidationError(str(error)) from error
    return source


class ObjectTypeField(_ContentTypeField):
    """The models that flows can be about; one that is stored already stays a choice."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(queryset=ContentType.objects.none(), **kwargs)

    def offer(self, stored: ContentType | None) -> None:
        """Read what can be chosen."""
        keys = {content_type.pk for content_type in object_types()}
        if stored is not None:
            keys.add(stored.pk)
        found = ContentType.objects.filter(pk__in=keys)
        self.queryset = found
        labelled = sorted(
            ((type_.pk, type_label(type_)) for type_ in found), key=lambda one: one[1]
        )
        self.choices = [("", self.empty_label), *labelled]

    def label_from_instance(self, obj: ContentType) -> str:
        return type_label(obj)


class DaysField(forms.FloatField):
    """A length of time, in days."""

    widget = ShortInput("number", step="any", min="0")

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, timedelta):
            return f"{value / timedelta(days=1):g}"
        return value

    def to_python(self, value: Any) -> Any:
        number = super().to_python(value)
        if number is None:
            return None
        try:
            return timedelta(days=number)
        except (OverflowError, ValueError) as error:
            raise ValidationError(_("That is too long.")) from error

    def validate(self, value: Any) -> None:
        if value is not None and value < timedelta(0):
            raise ValidationError(_("Time cannot be negative."))

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != initial)
        except ValidationError:
            return True


class RevisionField(forms.IntegerField):
    """The revision of the draft that a page was made from: never itself a change."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


class FlowForm(_FlowModelForm):
    """The settings of a flow; ``user`` is whoever fills them in."""

    user: Any = None
    site_name = "admin"

    content_type = ObjectTypeField(
        label=gettext_lazy("Object type"),
        required=False,
        empty_label=gettext_lazy("No object"),
        help_text=gettext_lazy("What a run of this flow is about, for example a flight."),
    )
    condition = forms.CharField(
        label=gettext_lazy("Keep condition"),
        required=False,
        widget=ExpressionInput(is_condition=True),
        help_text=gettext_lazy(
            "Checked whenever a run goes on; once it is false, the run ends as obsolete. For "
            'example: object.status != "cancelled". Empty: runs go on.'
        ),
    )
    state_schema = StateSchemaField(
        label=gettext_lazy("State schema"),
        help_text=gettext_lazy(
            "The values that a run starts with: their names, types and defaults. The form of a "
            "start is drawn from them. Without any, anything goes."
        ),
    )
    retention = DaysField(
        label=gettext_lazy("Keep finished runs for, in days"),
        required=False,
        help_text=gettext_lazy("Empty: they are kept."),
    )
    revision = RevisionField(required=False, widget=forms.HiddenInput())

    class Meta:
        model = Flow
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, ObjectTypeField):
                field.offer(self.instance.content_type)
        if "slug" in self.fields and self.instance._state.adding:
            self.fields["slug"].required = False
            self.fields["slug"].help_text = _(
                "Names the flow in code, files and addresses. Empty: made from the name."
            )
        if "revision" in self.fields:
            self.initial["revision"] = self.instance.draft_revision
        if "state_schema" in self.fields:
            schema_field = self.fields["state_schema"]
            assert isinstance(schema_field, StateSchemaField)
            schema_field.stored = self.instance.state_schema
        if self.instance.pk is not None:
            complete(self, Completion(self.instance, site_name=self.site_name))

    def clean_condition(self) -> str:
        return read_expression(self.cleaned_data["condition"])

    def clean_identity(self) -> Any:
        chosen = self.cleaned_data["identity"]
        if chosen is None or chosen == self.instance.identity or self.user is None:
            return chosen
        if chosen != self.user and not self.user.is_superuser:
            # Otherwise whoever may edit flows could do what anybody else may do.
            raise ValidationError(
                _("You can choose yourself; only superusers can choose somebody else.")
            )
        return chosen

    @property
    def changed_draft_fields(self) -> list[str]:
        return [name for name in DRAFT_FIELDS if name in self.changed_data]

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.changed_draft_fields and not self.instance._state.adding:
            # Locked until the admin's transaction ends, so what is compared is what is changed.
            now = Flow.objects.locked(self.instance.pk).draft_revision
            seen = self.cleaned_data.get("revision")
            if seen != now:
                # A copy with all its lists: several groups come under one name.
                data: Any = self.data
                self.data = data = data.copy()
                data[self.add_prefix("revision")] = str(now)
                told = _(
                    "The draft was changed by somebody else since you opened this page. "
                    "Nothing was saved; what you see below is what you entered. Save again "
                    "if it still fits."
                )
                changes = changes_since(self.instance, seen) if seen is not None else []
                raise ValidationError(f"{told} {what_changed(changes)}".strip())
        return cleaned


class GroupsField(_GroupsField):
    """Any number of the site's groups: a few to be ticked, many in a list."""

    MOST_IN_SIGHT: Final = 12

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(queryset=Group.objects.order_by("name"), required=False, **kwargs)
        self.widget = ManyChoices()
        self.widget.choices = self.choices

    def offer(self) -> None:
        """Decide what the groups are shown in; known once a page is made."""
        count = Group.objects.count()
        if not count:
            self.help_text = _("There are no groups here: everybody who may start flows.")
        elif count > self.MOST_IN_SIGHT:
            self.widget = forms.SelectMultiple({"size": self.MOST_IN_SIGHT})
            self.widget.choices = self.choices


class SettingsForm(FlowForm):
    """All settings of a flow that is there already.

    Args:
        data: what was posted.
        instance: a copy of the flow; the form writes what was entered into it.
        user: whoever fills it in.
        site: where users are picked from.
        may_change: whether it is to be filled in, or only to be read.
    """

    starters = GroupsField(
        label=gettext_lazy("Who may start it by hand"),
        help_text=gettext_lazy(
            "Members of these groups, if they may start flows at all. None: everybody who may "
            "start flows."
        ),
    )

    class Meta:
        model = Flow
        fields = (
            "name",
            "slug",
            "description",
            "active_at",
            "content_type",
            "condition",
            "state_schema",
            "identity",
            "starters",
            "max_concurrent",
            "max_concurrent_per_object",
            "max_per_object",
            "when_full",
            "retention",
        )
        widgets: ClassVar[dict[str, Any]] = {
            "name": LineInput(),
            "slug": CodeInput(),
            "description": TextArea(rows=2),
            "active_at": MomentInput(),
            "max_concurrent": ShortInput("number", min="0"),
            "max_concurrent_per_object": ShortInput("number", min="0"),
            "max_per_object": ShortInput("number", min="0"),
        }

    def __init__(
        self,
        data: Mapping[str, Any] | None,
        *,
        instance: Flow,
        user: Any,
        site: AdminSite,
        may_change: bool = True,
    ) -> None:
        self.site_name = site.name
        super().__init__(data, instance=instance)
        self.user = user
        groups = self.fields["starters"]
        assert isinstance(groups, GroupsField)
        groups.offer()
        relation = Flow._meta.get_field("identity").remote_field
        self.fields["identity"].widget = ForeignKeyRawIdWidget(relation, site)
        if not may_change:
            for field in self.fields.values():
                field.disabled = True
            name = str(instance.identity) if instance.identity is not None else ""
            self.fields["identity"].widget = LineInput(value=name)
            del self.fields["revision"]

    def sections(self) -> list[Section]:
        """The fields as the page shows them."""
        return [
            Section(title, explanation, [self[name] for name in names])
            for title, explanation, names in _SECTIONS
        ]


class Section(NamedTuple):
    """Some fields under a heading."""

    title: _StrOrPromise
    explanation: _StrOrPromise
    fields: list[BoundField]


_SECTIONS: Final = (
    (gettext_lazy("The flow"), "", ("name", "slug", "description", "active_at")),
    (
        gettext_lazy("Published with the actions"),
        gettext_lazy(
            "These are part of the draft: a change acts on new runs once it is published."
        ),
        ("content_type", "condition", "state_schema", "identity"),
    ),
    (
        gettext_lazy("Start by hand"),
        gettext_lazy("This and what is below acts at once."),
        ("starters",),
    ),
    (
        gettext_lazy("Limits"),
        "",
        ("max_concurrent", "max_concurrent_per_object", "max_per_object", "when_full"),
    ),
    (gettext_lazy("History"), "", ("retention",)),
)


class CopyForm(forms.Form):
    """What the copy of a flow is called."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=200, widget=LineInput())
    slug = forms.SlugField(
        label=gettext_lazy("Short name"),
        required=False,
        max_length=100,
        widget=CodeInput(),
        help_text=gettext_lazy("Empty: made from the name."),
    )

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if slug and Flow.objects.filter(slug=slug).exists():
            raise ValidationError(_("There is a flow with this short name already."))
        return slug


class PurgeForm(forms.Form):
    """The confirmation that a history is to be deleted too."""

    purge = forms.BooleanField(
        label=gettext_lazy("Delete all its runs and their history, for good"),
        error_messages={"required": gettext_lazy("Tick this if that is what you want.")},
    )
