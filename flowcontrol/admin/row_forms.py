"""The form of one row: its config, drawn from the type's schema, and what every row has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.core.validators import RegexValidator
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.config_fields import JSONField
from flowcontrol.admin.config_forms import ConfigForm, config_form_class
from flowcontrol.admin.config_widgets import CodeInput, LineInput, TextArea
from flowcontrol.admin.expression_widgets import Completion, complete
from flowcontrol.admin.json_fields import JSONObjectField
from flowcontrol.admin.object_types import object_types, type_label
from flowcontrol.compiling import current_config
from flowcontrol.dataflow import EVALUATED, EVALUATES_TEXTS
from flowcontrol.exceptions import AuthorError
from flowcontrol.expressions import RESERVED_NAMES
from flowcontrol.failures import ON_ERROR_SCHEMA, RETRY_SCHEMA
from flowcontrol.models import Flow
from flowcontrol.registry import actions, triggers
from flowcontrol.schemas import find_problems

if TYPE_CHECKING:
    from flowcontrol.admin.config_fields import LoadChoices
    from flowcontrol.admin.rows import RowList
    from flowcontrol.base import BaseAction
    from flowcontrol.documents import JSONObject

PREFIX: Final = "config"
"""Before the names of the config's fields, which may be called like a field of the row."""

SPECIAL: Final = ("note", "result_key", "retry", "on_error")

RETRY_EXAMPLE: Final = '{"attempts": 5, "wait": 10}'
ON_ERROR_EXAMPLE: Final = '{"then": "continue", "save_as": "problem"}'

_name_of_result = RegexValidator(
    r"^[A-Za-z][A-Za-z0-9_]*\Z",
    gettext_lazy("Use letters, digits and underscores, and begin with a letter."),
)


class RowForm(forms.Form):
    """What every row has beside its config. ``fields_of_row`` is what is to be stored."""

    label = forms.CharField(
        label=gettext_lazy("Label"),
        required=False,
        max_length=200,
        widget=LineInput(),
        help_text=gettext_lazy("Shown instead of the sentence that is made from the settings."),
    )
    is_enabled = forms.BooleanField(
        label=gettext_lazy("Enabled"),
        required=False,
        help_text=gettext_lazy("A row that is off is passed over, with everything inside it."),
    )
    note = forms.CharField(
        label=gettext_lazy("Note"),
        required=False,
        widget=TextArea(rows=2),
        help_text=gettext_lazy("For the people who read this flow; it does nothing."),
    )
    result_key = forms.CharField(
        label=gettext_lazy("Save result as"),
        required=False,
        max_length=100,
        validators=[_name_of_result],
        widget=CodeInput(),
        help_text=gettext_lazy("The rows after it can read the result under this name."),
    )
    retry = JSONObjectField(
        label=gettext_lazy("If it fails, try again"),
        schema=RETRY_SCHEMA,
        rows=3,
        help_text=format_lazy(
            gettext_lazy(
                "For example {example}: up to five times, after 10 seconds, then 20, and so on. "
                "Empty: as the action does by itself."
            ),
            example=RETRY_EXAMPLE,
        ),
    )
    on_error = JSONObjectField(
        label=gettext_lazy("If it fails for good"),
        schema=ON_ERROR_SCHEMA,
        rows=3,
        help_text=format_lazy(
            gettext_lazy(
                "For example {example}: go on with the next row, and note the error. “then” can "
                "be continue, leave, break or fail. Empty: a Try around it decides, or a person."
            ),
            example=ON_ERROR_EXAMPLE,
        ),
    )

    def __init__(self, *args: Any, item: Mapping[str, Any] | None, **kwargs: Any) -> None:
        item = item or {"enabled": True}
        kwargs["initial"] = {
            "label": item.get("label", ""),
            "is_enabled": item["enabled"],
            "note": item.get("note", ""),
            "result_key": item.get("result_key", ""),
            "retry": item.get("retry"),
            "on_error": item.get("on_error"),
        }
        super().__init__(*args, **kwargs)

    def clean_result_key(self) -> str:
        name: str = self.cleaned_data["result_key"]
        if name in RESERVED_NAMES:
            raise forms.ValidationError(
                _("“%(name)s” has a meaning of its own; choose another name."),
                params={"name": name},
            )
        return name

    @property
    def is_in_use(self) -> bool:
        """Whether one of the settings that few rows need is set, or any of them is wrong."""
        used = any(self[name].value() for name in SPECIAL if name in self.fields)
        return used or bool(self.errors)


class RowEditor:
    """The two forms of a row as one.

    Args:
        flow: whose row it is.
        action_type: ``None`` for a row whose type is gone: its config stays as it is.
        item: the row as it is stored; ``None`` for a new one.
        rows: the rows of the draft, which a field may point at.
        data: what was posted.
        is_new: whether it has just been added: what it lacks is no mistake yet.
        site_name: of the admin site that the form is on.
    """

    def __init__(
        self,
        flow: Flow,
        action_type: type[BaseAction] | None,
        *,
        item: JSONObject | None,
        rows: RowList,
        data: Mapping[str, Any] | None = None,
        is_new: bool = False,
        site_name: str = "admin",
    ) -> None:
        self.row_form = RowForm(data, item=item)
        self.config_form: ConfigForm | None = None
        self.config_error = ""
        if action_type is None:
            return
        config: dict[str, Any] = dict(item["config"]) if item is not None else {}
        if item is not None and item["schema_version"] != action_type.schema_version:
            try:
                config = current_config(item)
            except AuthorError as error:
                self.config_error = str(error)
                return
        form_class = config_form_class(
            action_type.config_schema,
            labels=action_type.labels,
            help_texts=action_type.help_texts,
        )
        self.config_form = form_class(
            data,
            initial_config=config,
            prefix=PREFIX,
            choices={**CHOICES, "action-target": lambda: _rows(rows)},
        )
        if action_type.name in EVALUATES_TEXTS:
            for property_ in self.config_form.properties:
                if property_.name in EVALUATED and isinstance(property_.field, JSONField):
                    property_.field.let_texts_be_expressions("evaluate")
        place = {"row": item["uid"]} if item is not None else {"position": "last"}
        complete(self.config_form, Completion(flow, place, site_name=site_name))
        if data is None and item is not None and not is_new:
            # What is wrong with a stored config is shown at its fields, not only in the list.
            self.config_form.add_problems(find_problems(action_type.config_schema, config))

    def is_valid(self) -> bool:
        # Both are asked, so that the errors of both are shown.
        config_is_valid = self.config_form is None or self.config_form.is_valid()
        return self.row_form.is_valid() and config_is_valid

    @property
    def can_be_kept(self) -> bool:
        """Whether what was posted can be stored, right or wrong: the fields of the config may have
        mistakes as long as they are JSON. Asked after :meth:`is_valid`."""
        if not self.row_form.is_valid():
            return False
        return self.config_form is None or self.config_form.unchecked is not None

    @property
    def has_errors(self) -> bool:
        config_errors = self.config_form is not None and bool(self.config_form.errors)
        return bool(self.row_form.errors) or config_errors

    @property
    def changes(self) -> dict[str, Any]:
        """What is to be stored, by field of the row: of a valid form, or of one to be kept."""
        changes = dict(self.row_form.cleaned_data)
        if self.config_form is not None:
            changes["config"] = self.config_form.unchecked
        return changes

    def id_of(self, field: str) -> str:
        """The id, or the beginning of it, that the field of a finding has on the page."""
        if self.config_form is not None:
            for property_ in self.config_form.properties:
                if property_.name == field:
                    return f"id_{PREFIX}-{property_.field_name}"
        return f"id_{field}" if field in self.row_form.fields else ""


def media_of_all_forms() -> forms.Media:
    """The scripts and styles that any row's form may need, for a page that loads forms later."""
    return _media_of(tuple(actions))


@lru_cache(maxsize=4)
def _media_of(action_types: tuple[type[BaseAction], ...]) -> forms.Media:
    media = ConfigForm().media
    for action_type in action_types:
        media += config_form_class(action_type.config_schema)().media
    return media


def _flows() -> Iterable[tuple[str, str]]:
    return Flow.objects.order_by("name").values_list("slug", "name")


def _triggers() -> Iterable[tuple[str, str]]:
    return sorted(((each.name, str(each.label)) for each in triggers), key=lambda one: one[1])


def _models() -> Iterable[tuple[str, str]]:
    for content_type in object_types():
        yield f"{content_type.app_label}.{content_type.model}", type_label(content_type)


def _rows(rows: RowList) -> Iterable[tuple[str, str]]:
    return [(uid, f"{row.place} {row.title}") for uid, row in rows.by_uid.items()]


CHOICES: Final[Mapping[str, LoadChoices]] = {
    "flow": _flows,
    "trigger": _triggers,
    "model-reference": _models,
}
"""What the formats of a schema offer to choose from, on any page."""
