"""Forms made from a JSON Schema, for the config of an action.

Each property of the schema gets a field; what cannot be drawn gets one for JSON. Beside it stands a
switch between a fixed value and a computed one. In the posted data a property ``to`` is

* ``to``: the fixed value (``to__months`` … ``to__seconds`` of a duration, ``to__model`` and
  ``to__key`` of an object),
* ``to__mode``: ``fixed`` (also if missing) or ``computed``,
* ``to__expr``: the expression of a computed value,
* ``to__clear``: forget the stored secret (optional secrets only),
* ``to__zone``: the property ``zone`` of a group of values; ``to`` then says whether the group is
  used at all.

Names that would be ambiguous (``a__b``, ``"1 st"``) become ``field1``, ``field2``, …; what a schema
allows beside its properties is ``__other``.

What a form gives back is valid under its schema, and **what comes back as it was shown is kept as
it was stored**: no text is trimmed, no date rewritten, nothing added by opening and saving.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.forms.boundfield import BoundField
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.config_fields import (
    EMPTY,
    ConfigField,
    ExpressionField,
    JSONField,
    LoadChoices,
    Schema,
)
from flowcontrol.admin.config_properties import Property, draw, undrawn
from flowcontrol.admin.config_widgets import ModeSwitch
from flowcontrol.schemas import (
    COMPUTED,
    Problem,
    check_schema,
    find_problems,
    find_value_problems,
    mask_secrets,
    place,
)

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    from flowcontrol.admin.config_properties import Labels

FIXED: Final = "fixed"
COMPUTED_MODE: Final = "computed"
OTHER: Final = "__other"

_MODES: Final = ((FIXED, gettext_lazy("Fixed")), (COMPUTED_MODE, gettext_lazy("Computed")))


def config_form_class(
    schema: Schema,
    *,
    labels: Labels | None = None,
    help_texts: Labels | None = None,
    choices: Mapping[str, LoadChoices] | None = None,
    name: str = "Config",
    base: type[ConfigForm] | None = None,
) -> type[ConfigForm]:
    """The form for configs of ``schema``.

    Args:
        schema: the ``config_schema`` of an action type.
        labels: what to call properties. Keys are names (``to``), inner names (``retry.count``) and
            values of choices (``target=parent``). Without one: the schema's ``title``, or the name
            made readable.
        help_texts: explanations by name; without one the schema's ``description``.
        choices: see :class:`ConfigForm`.
        name: of the class.
        base: a subclass of :class:`ConfigForm` to build on.

    Raises:
        ValueError: the schema is not one.
    """
    check_schema(schema)
    return type(
        f"{name}Form",
        (base or ConfigForm,),
        {
            "schema": schema,
            "labels": dict(labels or {}),
            "help_texts": dict(help_texts or {}),
            "choices": dict(choices or {}),
            "__module__": __name__,
        },
    )


class ConfigForm(forms.Form):
    """The config of one action, as a form. Made by :func:`config_form_class`.

    Args:
        data: what was posted.
        initial_config: the stored config, the real one: its secrets do not reach the page.
        prefix: set before the names of all fields, as for any form.
        choices: for a format (``flow``, ``trigger``, ``user``, ``action-target``,
            ``model-reference``) a callable that gives what may be chosen, as (value, label); called
            at most once, and only if such a field is there. For ``model-reference`` it gives models
            (``demo.flight``), the key of the object is typed. A format without choices is typed
            altogether.
    """

    schema: Schema = {"type": "object"}
    labels: Labels = {}
    help_texts: Labels = {}
    choices: Mapping[str, LoadChoices] = {}
    may_compute: ClassVar[bool] = True
    """Whether a value may be computed when an action is about to run; else all are final."""
    other_label: ClassVar[_StrOrPromise] = gettext_lazy("Other settings")

    template_name = "flowcontrol/admin/widgets/config_form.html"
    # What is hidden, or computed, cannot be filled in; the schema says what is required.
    use_required_attribute = False

    class Media:
        css = {"all": ["flowcontrol/config_form.css"]}
        js = [forms.Script("flowcontrol/config_form.js", defer=True)]

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        initial_config: Mapping[str, Any] | None = None,
        prefix: str | None = None,
        *,
        choices: Mapping[str, LoadChoices] | None = None,
        auto_id: str | bool = "id_%s",
        renderer: Any = None,
    ) -> None:
        super().__init__(
            data,
            prefix=prefix,
            auto_id=auto_id,
            renderer=renderer,
        )
        self.initial_config = dict(initial_config or {})
        self.properties = draw(
            self.schema,
            self.initial_config,
            labels=self.labels,
            help_texts=self.help_texts,
            choices={**self.choices, **(choices or {})},
        )
        for property_ in self.properties:
            property_.is_switchable &= self.may_compute
            self._add_fields(property_)
        self.undrawn = undrawn(self.schema, self.initial_config, self.properties)
        if self.undrawn is not EMPTY:
            self.fields[OTHER] = self._other_field()
        self._config: dict[str, Any] = {}
        self._unread: set[tuple[str | int, ...]] = set()

    @property
    def config(self) -> dict[str, Any]:
        """The config as it is to be stored; raises :class:`ValueError` unless the form is valid."""
        if not self.is_valid():
            raise ValueError("Only a valid form has a config.")
        return copy.deepcopy(self._config)

    @property
    def unchecked(self) -> dict[str, Any] | None:
        """The config as it was typed, mistakes and all, for a draft; the form has been validated.

        What cannot be read as the value it should be is kept as the text that was typed. ``None``
        if something cannot be kept like that: JSON that is broken, parts that make no text.
        """
        config = copy.deepcopy(self._config)
        for path in sorted(self._unread, key=len):
            kept = self._as_typed(path)
            if kept is None:
                return None
            inside: Any = config
            for name in path[:-1]:
                inside = inside.setdefault(name, {})
            inside[path[-1]] = kept
        if OTHER in self.errors:
            return None
        return config

    def _as_typed(self, path: tuple[str | int, ...]) -> Any:
        """What was typed for a property that could not be read; ``None`` if it cannot be kept."""
        for property_ in self._all_properties():
            if property_.path != path:
                continue
            if self._is_computed(property_):
                return {COMPUTED: self[property_.expression_name].data or ""}
            raw = self[property_.field_name].data
            is_text = isinstance(raw, str) and not isinstance(property_.field, JSONField)
            return raw if is_text else None
        return None

    def _all_properties(self) -> Iterator[Property]:
        for property_ in self.properties:
            yield property_
            yield from property_.children

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Show each problem at the field it belongs to, or above them all if it belongs to none.

        Works on a form that was not posted as well, to show what is wrong with a stored config.
        """
        for problem in problems:
            field_name, inner = self._field_of(problem.path)
            message = capfirst(problem.message)
            if inner:
                message = _("%(place)s: %(message)s") % {
                    "place": capfirst(inner),
                    "message": problem.message,
                }
            self._add_message(field_name, message)

    def rows(self) -> list[Row]:
        """What the page shows, in order."""
        return [Row(self, property_) for property_ in self.properties]

    @property
    def other(self) -> BoundField | None:
        """The field for what the config has beside its properties, if there may be anything."""
        return self[OTHER] if OTHER in self.fields else None

    # --- fields ---

    def _add_fields(self, property_: Property) -> None:
        if property_.field is not None:
            property_.field.label = property_.label
            property_.field.help_text = property_.full_help_text
            self.fields[property_.field_name] = property_.field
        if property_.is_clearable:
            self.fields[property_.clear_name] = forms.BooleanField(
                required=False, label=gettext_lazy("Forget what is stored")
            )
        if property_.is_switchable:
            is_computed = bool(property_.shown_source)
            self.fields[property_.mode_name] = forms.ChoiceField(
                choices=_MODES,
                required=False,
                initial=COMPUTED_MODE if is_computed else FIXED,
                widget=ModeSwitch,
            )
            is_yes_no = property_.schema.get("type") == "boolean"
            expression = ExpressionField({}, is_condition=is_yes_no)
            expression.initial = expression.show(property_.shown_source)
            self.fields[property_.expression_name] = expression
        for child in property_.children:
            self._add_fields(child)

    def _other_field(self) -> JSONField:
        field = JSONField({})
        field.label = self.other_label
        field.help_text = JSONField.hint
        if self.undrawn:
            masked = mask_secrets(self.schema, self.undrawn)
            field.keep_secrets(self.undrawn, masked)
            field.initial = field.show(masked)
        return field

    # --- reading what was posted ---

    def clean(self) -> dict[str, Any]:
        """Put the config together and let the schema judge it."""
        self._unread.clear()
        values = {
            property_.name: value
            for property_ in self.properties
            if (value := self._value(property_)) is not EMPTY
        }
        values |= self._other_values()
        self._config = _in_order_of(self.initial_config, values)
        self.add_problems(
            problem
            for problem in self._problems()
            # Of what could not be read it is known already.
            if not any(problem.path[: len(path)] == path for path in self._unread)
        )
        return self.cleaned_data

    def _problems(self) -> list[Problem]:
        find = find_problems if self.may_compute else find_value_problems
        return find(self.schema, self._config)

    def _value(self, property_: Property) -> Any:
        """The value of a property, or ``EMPTY`` if it is to be left out of the config."""
        if self._is_computed(property_):
            return self._computed_value(property_)
        if property_.is_group:
            return self._group_value(property_)
        return self._fixed_value(property_)

    def _is_computed(self, property_: Property) -> bool:
        mode = self.cleaned_data.get(property_.mode_name)
        return property_.is_switchable and mode == COMPUTED_MODE

    def _computed_value(self, property_: Property) -> Any:
        for name in property_.fixed_names:  # what is not used need not be right
            self.errors.pop(name, None)
        bound = self[property_.expression_name]
        field = self.fields[property_.expression_name]
        assert isinstance(field, ConfigField)
        source = self.cleaned_data[property_.expression_name]
        if field.is_same(bound.data, bound.initial):
            source = property_.shown_source or EMPTY
        if source is EMPTY:
            self._unread.add(property_.path)
            self._add_message(property_.field_name, _("Write the expression to compute this by"))
            return EMPTY
        is_default = source == property_.shown_source and not property_.stored_source
        if is_default and property_.stored is EMPTY and not property_.required:
            return EMPTY
        return {COMPUTED: source}

    def _fixed_value(self, property_: Property) -> Any:
        if property_.field_name in self.errors:
            self._unread.add(property_.path)
            return EMPTY
        if self.cleaned_data.get(property_.clear_name) and property_.is_clearable:
            stored: Any = EMPTY
        else:
            stored = property_.stored
        value = self.cleaned_data[property_.field_name]
        if not self._is_changed(property_):
            if stored is not EMPTY:
                return copy.deepcopy(stored)
            if not property_.required:
                return EMPTY
        return self._emptied(property_) if value is EMPTY else value

    def _emptied(self, property_: Property) -> Any:
        """The value of a field that was left or made empty."""
        types = property_.schema.get("type", ())
        if property_.required:
            empty: list[Any] = [[]] if types == "array" else [None]
        elif "default" in property_.schema:
            # Leaving it out would bring the default back that the author has just removed.
            empty = ["", []]
        else:
            return EMPTY
        alone = {"type": "object", "properties": {"value": property_.schema}}
        for value in empty:
            if types == "array" and property_.required:
                return value  # how few entries are too few is better said than "Required"
            try:
                if not find_value_problems(alone, {"value": value}):
                    return value
            except ValueError:
                return EMPTY  # refers to other parts of its schema
        return EMPTY

    def _group_value(self, property_: Property) -> Any:
        if not self._is_used(property_):
            for name in property_.fixed_names:
                self.errors.pop(name, None)
            return EMPTY
        values = {
            child.name: value
            for child in property_.children
            if (value := self._fixed_value(child)) is not EMPTY
        }
        return _in_order_of(property_.stored if property_.stored is not EMPTY else {}, values)

    def _is_used(self, property_: Property) -> bool:
        """Whether a group is part of the config, all its values being optional perhaps."""
        if property_.required:
            return True
        if property_.field is None:  # its default stands for it until something is changed
            return property_.stored is not EMPTY or any(map(self._is_changed, property_.children))
        if property_.stored is EMPTY and any(map(self._is_filled_in, property_.children)):
            return True  # who fills in a group means to use it
        return bool(self.cleaned_data.get(property_.field_name))

    def _is_filled_in(self, property_: Property) -> bool:
        value = self.cleaned_data.get(property_.field_name)  # none if it cannot be read
        return value is not EMPTY and value is not False and self._is_changed(property_)

    def _is_changed(self, property_: Property) -> bool:
        field = property_.field
        if field is None or property_.is_group:
            return False
        shown = self[property_.field_name].initial
        return not field.is_same(self[property_.field_name].data, shown)

    def _other_values(self) -> dict[str, Any]:
        if OTHER not in self.fields or OTHER in self.errors:
            return {}
        bound = self[OTHER]
        field = self.fields[OTHER]
        assert isinstance(field, JSONField)
        if field.is_same(bound.data, bound.initial):
            return copy.deepcopy(self.undrawn)
        values = self.cleaned_data[OTHER]
        if values is EMPTY:
            return {}
        if not isinstance(values, dict):
            self._add_message(OTHER, _("Put braces around named values"))
            return {}
        for property_ in self.properties:
            if property_.name in values:
                self._add_message(
                    OTHER,
                    _("“%(name)s” has a field of its own above") % {"name": property_.name},
                )
        return values

    # --- errors ---

    def _field_of(self, path: tuple[str | int, ...]) -> tuple[str | None, str]:
        """The field at which to show a problem, and the name of the place inside its value."""
        for property_ in self.properties:
            if path[:1] == property_.path:
                if property_.is_group and len(path) > 1 and not property_.shown_source:
                    for child in property_.children:
                        if path[:2] == child.path:
                            return child.field_name, self._inner_place(child, path[2:])
                return property_.field_name, self._inner_place(property_, path[1:])
        return (OTHER if OTHER in self.fields and path else None), place(path)

    def _inner_place(self, property_: Property, path: tuple[str | int, ...]) -> str:
        if not path or property_.field is None:
            return place(path)
        bound = self[property_.field_name]
        first, rest = property_.field.place(path, bound.data if self.is_bound else bound.initial)
        return " → ".join(filter(None, (first, place(rest))))

    def _add_message(self, field_name: str | None, message: str) -> None:
        # Not `add_error`: it wants a posted form, and a form field for each name.
        name = field_name or NON_FIELD_ERRORS
        if name not in self.errors:
            self.errors[name] = self.error_class(renderer=self.renderer)
        self.errors[name].append(ValidationError(message))


class Row:
    """One property as the template shows it: label, switch, fixed value, expression, errors."""

    def __init__(self, form: ConfigForm, property_: Property) -> None:
        self.form = form
        self.property = property_
        self.label = property_.label
        self.help_text = property_.full_help_text
        self.is_required = property_.required
        self.is_group = property_.is_group
        self.children = [Row(form, child) for child in property_.children]

    @property
    def value(self) -> BoundField | None:
        return self._bound(self.property.field_name)

    @property
    def mode(self) -> BoundField | None:
        return self._bound(self.property.mode_name)

    @property
    def clear(self) -> BoundField | None:
        return self._bound(self.property.clear_name)

    @property
    def expression(self) -> SafeString:
        """The input for the expression. Its name says what it is for: the label is the other's."""
        attrs: dict[str, str | bool] = {
            "aria-label": _("Expression for “%(label)s”") % {"label": self.label}
        }
        described = [self.help_id] if self.help_text else []
        if self.errors:
            attrs["aria-invalid"] = "true"
            described.append(self.error_id)
        if described:
            attrs["aria-describedby"] = " ".join(described)
        return self.form[self.property.expression_name].as_widget(attrs=attrs)

    @property
    def errors(self) -> list[str]:
        found = self.form.errors.get(self.property.field_name)
        return [str(message) for message in found] if found else []

    @property
    def is_computed(self) -> bool:
        return self.mode is not None and self.mode.value() == COMPUTED_MODE

    @property
    def is_checkbox(self) -> bool:
        """Whether the label stands behind its field."""
        field = self.property.field
        return field is not None and isinstance(field.widget, forms.CheckboxInput)

    @property
    def is_several(self) -> bool:
        """Whether there is more than one control, so that the label names a set of them."""
        field = self.property.field
        return self.is_group or (field is not None and field.widget.use_fieldset)

    @property
    def id(self) -> str:
        name = self.form.add_prefix(self.property.field_name)
        pattern = str(self.form.auto_id)
        return pattern % name if "%s" in pattern else name

    @property
    def label_id(self) -> str:
        return f"{self.id}_label"

    @property
    def help_id(self) -> str:
        return f"{self.id}_helptext"

    @property
    def error_id(self) -> str:
        return f"{self.id}_error"

    def _bound(self, name: str) -> BoundField | None:
        return self.form[name] if name in self.form.fields else None


def _in_order_of(stored: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """``values`` in the order they were stored in, new ones last: a diff shows what changed."""
    kept = {name: values[name] for name in stored if name in values}
    return kept | values
