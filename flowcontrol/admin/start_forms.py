"""The form of a start by hand: which object, with which values, when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.config_forms import ConfigForm, config_form_class
from flowcontrol.admin.config_widgets import ShortInput
from flowcontrol.admin.json_fields import JSONObjectField
from flowcontrol.admin.moments import MomentInput
from flowcontrol.admin.row_forms import CHOICES
from flowcontrol.schemas import with_defaults

if TYPE_CHECKING:
    from django.db.models import Model
    from django.utils.functional import _StrOrPromise

PREFIX: Final = "state"
"""Before the names of the values, which may be called like a field of the form."""


class ValuesForm(ConfigForm):
    """The values of a start state, drawn from its schema; nothing here is computed later."""

    may_compute: ClassVar[bool] = False
    other_label: ClassVar[_StrOrPromise] = gettext_lazy("Other values")


class StateForm(forms.Form):
    """The state that runs start with, and when they do.

    Where the flow has a state schema, each of its values has a field (in ``values``); otherwise
    the state is one JSON object.

    Args:
        data: what was posted.
        schema: the state schema of the live version, or ``None``.
        initial: of the fields.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None,
        *,
        schema: Mapping[str, Any] | None,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=dict(initial or {}))
        self.values = _values_form(schema, data)
        self._add_fields()

    def _add_fields(self) -> None:
        if self.values is None:
            self.fields["state"] = JSONObjectField(
                label=_("Start state"),
                help_text=_("A JSON object; the run and its rows can read and change its values."),
            )
        self.fields["not_before"] = forms.DateTimeField(
            label=_("Not before"),
            required=False,
            widget=MomentInput(),
            help_text=_("Empty: at once."),
        )

    def is_valid(self) -> bool:
        # Both are asked, so that the errors of both are shown.
        values_are_valid = self.values is None or self.values.is_valid()
        return super().is_valid() and values_are_valid

    @property
    def state(self) -> dict[str, Any]:
        """The start state that was filled in; only of a valid form."""
        if self.values is not None:
            return self.values.config
        return self.cleaned_data["state"] or {}


class StartForm(StateForm):
    """A start of one run: of an object of ``model``, or of none if that is ``None``."""

    def __init__(
        self,
        data: Mapping[str, Any] | None,
        *,
        model: type[Model] | None,
        schema: Mapping[str, Any] | None,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.object: Model | None = None
        super().__init__(data, schema=schema, initial=initial)

    def _add_fields(self) -> None:
        if self.model is not None:
            self.fields["key"] = forms.CharField(
                label=_("Key of the %(model)s") % {"model": self.model._meta.verbose_name},
                max_length=255,
                widget=ShortInput(**{"class": "fc-short vForeignKeyRawIdAdminField"}),
                help_text=_("Its primary key, as it stands in the address of its page."),
            )
        super()._add_fields()

    def clean_key(self) -> str:
        """Look the object up as well."""
        key: str = self.cleaned_data["key"]
        assert self.model is not None
        self.object = find_object(self.model, key)
        if self.object is None:
            raise ValidationError(
                _("There is no %(model)s with this key."),
                params={"model": self.model._meta.verbose_name},
            )
        return key


def find_object(model: type[Model], key: str) -> Model | None:
    """The object with this key as people write it, or ``None``."""
    try:
        return model._base_manager.filter(pk=key).first()
    except (ValueError, ValidationError, OverflowError):
        return None


def _values_form(
    schema: Mapping[str, Any] | None, data: Mapping[str, Any] | None
) -> ConfigForm | None:
    if not schema:
        return None
    try:
        form_class = config_form_class(schema, name="Values", base=ValuesForm)
        # As if its defaults were stored: what comes back as it was shown is kept, secrets too.
        return form_class(
            data, initial_config=with_defaults(schema, {}), prefix=PREFIX, choices=CHOICES
        )
    except ValueError:
        # The schema of an older version, by today's rules none: the start itself will judge.
        return None
