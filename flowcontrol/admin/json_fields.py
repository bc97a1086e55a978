"""A form field for a JSON object: shown indented, refused in words, secrets kept to themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from flowcontrol.admin.config_fields import EMPTY, JSONField
from flowcontrol.exceptions import NotJSON
from flowcontrol.expressions import to_json
from flowcontrol.history import same
from flowcontrol.schemas import find_value_problems

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

Check = Callable[[dict[str, Any]], list[str]]


class JSONObjectField(JSONField):
    """A JSON object, or ``None`` for an empty field.

    Args:
        label: what the field is called.
        help_text: what it is for.
        initial: an object.
        required: whether it has to be filled in.
        schema: a JSON Schema that the object has to fit.
        check: gives what is wrong with an object that could be read.
        placeholder: an example, shown while the field is empty.
    """

    def __init__(
        self,
        *,
        label: _StrOrPromise,
        help_text: _StrOrPromise = "",
        initial: Mapping[str, Any] | None = None,
        required: bool = False,
        schema: Mapping[str, Any] | None = None,
        check: Check | None = None,
        rows: int = 4,
        placeholder: str = "",
    ) -> None:
        super().__init__(schema or {})
        self.label = label
        self.help_text = help_text
        self.initial = initial
        self.required = required
        self.check = check
        self.has_schema = schema is not None
        self.widget.attrs["rows"] = self._rows = rows
        if placeholder:
            self.widget.attrs["placeholder"] = placeholder

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        shown = self.show(value)
        self.widget.attrs["rows"] = max(self._rows, self.widget.attrs["rows"])
        return shown

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            value = self.read(data or "")
        except ValidationError:
            return True
        return not same(None if value is EMPTY else value, initial)

    def clean(self, value: Any) -> dict[str, Any] | None:
        """The object that was posted.

        Raises:
            ValidationError: it is none, or something is wrong with it.
        """
        found = self.read(value or "")
        if found is EMPTY:
            if self.required:
                raise ValidationError(self.error_messages["required"], code="required")
            return None
        if not isinstance(found, dict):
            raise ValidationError(_("Put braces around named values"), code="invalid")
        try:
            to_json(found, where=_("the JSON"))
        except NotJSON as error:
            raise ValidationError(str(error), code="invalid") from error
        problems: list[str] = []
        if self.has_schema:
            problems += map(str, find_value_problems(self.schema, found))
        if self.check is not None:
            problems += self.check(found)
        if problems:
            raise ValidationError([ValidationError(problem) for problem in problems])
        return found
