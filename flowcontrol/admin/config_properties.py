"""From a JSON Schema and a stored config to the fields that show it.

:func:`draw` decides which kind of field a property gets. A kind that cannot show the stored value
without loss gives way to plain text or JSON, so nothing that is stored is out of an author's reach.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, Final

from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from flowcontrol.admin.config_fields import (
    EMPTY,
    CheckboxField,
    ChoiceField,
    ConfigField,
    DateField,
    DateTimeField,
    DurationField,
    ExpressionField,
    JSONField,
    LinesField,
    LoadChoices,
    LongTextField,
    ManyChoicesField,
    ModelReferenceField,
    NumberField,
    ReferenceChoiceField,
    Schema,
    SecretField,
    TemplateField,
    TextField,
    TimeField,
    TimeZoneField,
    choice_key,
    enum_of,
)
from flowcontrol.admin.config_widgets import LineInput
from flowcontrol.admin.expression_widgets import TemplateArea
from flowcontrol.formats import NEVER_COMPUTED
from flowcontrol.schemas import (
    COMPUTED,
    is_computed,
    mask_secrets,
    subschemas,
    with_defaults,
)

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    Labels = Mapping[str, _StrOrPromise]

Path = tuple[str, ...]


@dataclass
class Property:
    """One value of the config: its place, its schema, what is stored and the field that shows it.

    ``stored`` and ``shown`` are fixed values or ``EMPTY``; they differ where a default is shown.
    ``stored_source`` and ``shown_source`` are the expressions of a computed one, or empty.
    A group of values has ``children`` and, if it may be left out, a field that says whether it is.
    """

    path: Path
    schema: Schema
    required: bool
    field_name: str
    label: _StrOrPromise
    help_text: _StrOrPromise
    field: ConfigField | None = None
    stored: Any = EMPTY
    shown: Any = EMPTY
    stored_source: str = ""
    shown_source: str = ""
    is_switchable: bool = False
    is_group: bool = False
    children: list[Property] = dataclass_field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def mode_name(self) -> str:
        return f"{self.field_name}__mode"

    @property
    def expression_name(self) -> str:
        return f"{self.field_name}__expr"

    @property
    def clear_name(self) -> str:
        return f"{self.field_name}__clear"

    @property
    def is_clearable(self) -> bool:
        """Whether there is a stored secret that may be forgotten."""
        has_secret = isinstance(self.stored, str) and self.stored != ""
        return isinstance(self.field, SecretField) and not self.required and has_secret

    @property
    def full_help_text(self) -> str:
        hint = self.field.hint if self.field is not None else ""
        return " ".join(str(text) for text in (self.help_text, hint) if text)

    @property
    def fixed_names(self) -> list[str]:
        """The names of the fields of the fixed value."""
        return [self.field_name, *(name for child in self.children for name in child.fixed_names)]


def draw(
    schema: Schema,
    config: dict[str, Any],
    *,
    labels: Labels,
    help_texts: Labels,
    choices: Mapping[str, LoadChoices],
) -> list[Property]:
    """The properties of ``schema`` with the fields that show ``config``, in the schema's order."""
    return _Drawing(schema, config, labels, help_texts, choices).properties()


def undrawn(schema: Schema, config: Mapping[str, Any], drawn: Iterable[Property]) -> Any:
    """What a config has beside its drawn properties, or ``EMPTY`` if there can be nothing."""
    known = {property_.name for property_ in drawn}
    rest = {name: value for name, value in config.items() if name not in known}
    is_open = (
        isinstance(schema.get("additionalProperties"), dict)
        or not _OPENING.isdisjoint(schema)
        or ("properties" not in schema and schema.get("additionalProperties") is not False)
    )
    return rest if rest or is_open else EMPTY


# With one of these the properties of an object are not all that there is to fill in.
_OPENING: Final = frozenset(
    {
        "$ref",
        "allOf",
        "anyOf",
        "dependentSchemas",
        "if",
        "oneOf",
        "patternProperties",
        "unevaluatedProperties",
    }
)
# And with one of these a type says only half of what a value looks like.
_UNDRAWABLE: Final = _OPENING | {
    "contains",
    "prefixItems",
    "propertyNames",
    "unevaluatedItems",
}
_MOST_CHOICES_IN_SIGHT: Final = 3
_LONGEST_LINE: Final = 200
_YES_NO: Final = {"true": _("Yes"), "false": _("No")}
# Two underscores stand between a property and its parts.
_USABLE_NAME: Final = re.compile(r"(?!.*__)[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")


class _Drawing:
    """Draws one config. Everything that its properties have in common is here."""

    def __init__(
        self,
        schema: Schema,
        config: dict[str, Any],
        labels: Labels,
        help_texts: Labels,
        choices: Mapping[str, LoadChoices],
    ) -> None:
        self.schema = schema
        self.config = config
        self.labels = labels
        self.help_texts = help_texts
        self.choices = choices
        self.masked = mask_secrets(schema, config)
        self.with_defaults = with_defaults(schema, config)
        # What to show as fixed value of a computed property, should it be switched.
        fixed = {name: value for name, value in config.items() if not is_computed(value)}
        self.fixed_defaults = with_defaults(schema, fixed)

    def properties(self) -> list[Property]:
        declared = self.schema.get("properties", {})
        names = _field_names(declared)
        return [
            self._property((name,), schema, self.schema.get("required", ()), names[name])
            for name, schema in declared.items()
            if isinstance(schema, dict) or schema is True
        ]

    def _property(
        self, path: Path, schema: Any, required: Iterable[str], field_name: str
    ) -> Property:
        schema = schema if isinstance(schema, dict) else {}
        dotted = ".".join(path)
        property_ = Property(
            path=path,
            schema=schema,
            required=path[-1] in required,
            field_name=field_name,
            label=self.labels.get(dotted) or schema.get("title") or _humanised(path[-1]),
            help_text=self.help_texts.get(dotted) or schema.get("description", ""),
        )
        if len(path) == 1:
            self._find_values(property_)
        else:
            self._find_inner_values(property_)
        if len(path) == 1 and self._is_group(property_):
            self._draw_group(property_)
        else:
            property_.field = self._field(property_)
        return property_

    # --- what to show ---

    def _find_values(self, property_: Property) -> None:
        name = property_.name
        property_.is_switchable = not any(
            each.get("format") in NEVER_COMPUTED
            for each in subschemas(self.schema, property_.schema)
        )
        property_.stored = self.config.get(name, EMPTY)
        property_.shown = self.with_defaults.get(name, EMPTY)
        if property_.is_switchable and is_computed(property_.stored):
            property_.stored_source = property_.stored[COMPUTED]
            property_.stored = EMPTY
        if property_.is_switchable and is_computed(property_.shown):
            property_.shown_source = property_.shown[COMPUTED]
            fixed = self.fixed_defaults.get(name, EMPTY)
            property_.shown = EMPTY if is_computed(fixed) else fixed

    def _find_inner_values(self, property_: Property) -> None:
        group, name = property_.path
        stored = self.config.get(group)
        if isinstance(stored, dict) and not is_computed(stored):
            property_.stored = stored.get(name, EMPTY)
        shown = self.fixed_defaults.get(group)
        if isinstance(shown, dict):
            property_.shown = shown.get(name, EMPTY)
        elif "default" in property_.schema:
            property_.shown = copy.deepcopy(property_.schema["default"])

    # --- groups ---

    def _is_group(self, property_: Property) -> bool:
        schema = property_.schema
        inner: dict[str, Any] = schema.get("properties", {})
        return (
            schema.get("type") == "object"
            and bool(inner)
            and all(isinstance(each, dict) for each in inner.values())
            and "enum" not in schema
            and "const" not in schema
            and not isinstance(schema.get("additionalProperties"), dict)
            and _UNDRAWABLE.isdisjoint(schema)
            and all(
                value is EMPTY or (isinstance(value, dict) and value.keys() <= inner.keys())
                for value in (property_.stored, property_.shown)
            )
        )

    def _draw_group(self, property_: Property) -> None:
        schema = property_.schema
        property_.is_group = True
        if not property_.required and "default" not in schema:
            property_.field = CheckboxField(schema)
            property_.field.initial = property_.stored is not EMPTY
        names = _field_names(
            schema["properties"],
            parent=property_.field_name,
            taken={property_.mode_name, property_.expression_name},
        )
        property_.children = [
            self._property((*property_.path, name), child, schema.get("required", ()), names[name])
            for name, child in schema["properties"].items()
        ]

    # --- fields ---

    def _field(self, property_: Property) -> ConfigField:
        """The field for a value, with the stored value or the default in it."""
        shown = property_.shown
        drawn = self._kind(property_)
        if shown is EMPTY or (shown is None and _is_nullable(property_.schema)):
            return drawn
        candidates = [drawn, JSONField(property_.schema)]
        if isinstance(shown, str) and not isinstance(drawn, JSONField | SecretField):
            # Text of the wrong form, a misspelt date say, is best put right as text.
            candidates.insert(1, TextField(property_.schema))
        chosen = next(each for each in candidates if each.can_show(shown))
        if isinstance(chosen, JSONField):
            masked = self._masked(property_)
            chosen.keep_secrets(shown, masked)
            shown = masked
        chosen.initial = chosen.show(shown)
        return chosen

    def _masked(self, property_: Property) -> Any:
        name, *inner = property_.path
        value = property_.shown
        for step in reversed(inner):
            value = {step: value}
        masked = mask_secrets(self.schema, {name: value})[name]
        for step in inner:
            masked = masked[step]
        return masked

    def _kind(self, property_: Property) -> ConfigField:
        schema = property_.schema
        if not _UNDRAWABLE.isdisjoint(schema):
            return JSONField(schema)
        if enum_of(schema):
            return self._choice(property_)
        match _types(schema):
            case ["string"]:
                return self._text(property_)
            case ["integer"]:
                return NumberField(schema, whole=True)
            case ["number"]:
                return NumberField(schema, whole=False)
            case ["boolean"]:
                return self._yes_no(property_)
            case ["array"]:
                return self._list(property_)
            case _:
                return JSONField(schema)

    def _choice(self, property_: Property) -> ConfigField:
        schema = property_.schema
        has_default = property_.required or "default" in schema
        is_short = len(enum_of(schema)) <= _MOST_CHOICES_IN_SIGHT
        in_sight = has_default and is_short and not _is_nullable(schema)
        return ChoiceField(
            schema,
            self._choice_labels(property_, schema),
            may_be_empty=not (in_sight or ("default" in schema and not _is_nullable(schema))),
            in_sight=in_sight,
        )

    def _choice_labels(self, property_: Property, schema: Schema) -> dict[str, _StrOrPromise]:
        dotted = ".".join(property_.path)
        labels: dict[str, _StrOrPromise] = {}
        for value in enum_of(schema):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            labels[choice_key(schema, value)] = (
                self.labels.get(f"{dotted}={text}")
                or (isinstance(value, bool) and _YES_NO[text])
                or (isinstance(value, str) and _humanised(text))
                or text
            )
        return labels

    def _yes_no(self, property_: Property) -> ConfigField:
        schema = property_.schema
        if _is_nullable(schema) or not (property_.required or "default" in schema):
            return ChoiceField({"enum": [True, False]}, _YES_NO, may_be_empty=True, in_sight=False)
        return CheckboxField(schema)

    def _text(self, property_: Property) -> ConfigField:
        schema = property_.schema
        name: str = schema.get("format", "")
        if name == "model-reference" and ("model" in schema or name in self.choices):
            return ModelReferenceField(schema, self.choices.get(name, tuple))
        if name in self.choices:
            return ReferenceChoiceField(schema, self.choices[name])
        match name:
            case "date":
                return DateField(schema)
            case "date-time":
                return DateTimeField(schema)
            case "duration":
                return DurationField(schema)
            case "expression":
                return ExpressionField(schema, is_condition=property_.name.endswith("condition"))
            case "secret":
                return SecretField(schema)
            case "time":
                return TimeField(schema)
            case "time-zone":
                return TimeZoneField(schema)
            case "email":
                return TextField(schema, LineInput(inputmode="email"))
            case "uri":
                return TextField(schema, LineInput(inputmode="url"))
            case "model-reference":
                return TextField(schema, LineInput(placeholder="demo.flight:12"))
        media_type = schema.get("contentMediaType", "")
        # A template without a limit is a letter; a short one, a subject say, is one line.
        most = schema.get("maxLength", math.inf if name == "template" else 0)
        if name == "template":
            is_long = media_type or most > _LONGEST_LINE
            return (
                LongTextField(schema, widget=TemplateArea()) if is_long else TemplateField(schema)
            )
        if media_type or most > _LONGEST_LINE:
            return LongTextField(schema, code=media_type not in ("", "text/plain"))
        return TextField(schema)

    def _list(self, property_: Property) -> ConfigField:
        schema = property_.schema
        items = schema.get("items")
        if not isinstance(items, dict) or not _UNDRAWABLE.isdisjoint(items):
            return JSONField(schema)
        if None not in items.get("enum", ()) and enum_of(items):
            return ManyChoicesField(schema, self._choice_labels(property_, items))
        types = items.get("type")
        if types not in ("string", "integer", "number") or items.get("format") == "secret":
            return JSONField(schema)
        return LinesField(schema)


def _types(schema: Schema) -> list[str]:
    """The types a value may have beside ``null``; a format speaks of texts."""
    types = schema.get("type", "string" if "format" in schema else [])
    types = [types] if isinstance(types, str) else types
    return [each for each in types if each != "null"]


def _is_nullable(schema: Schema) -> bool:
    types = schema.get("type", [])
    listed = schema.get("enum")
    if listed is not None:
        return None in listed
    return types == "null" or (isinstance(types, list) and "null" in types)


def _field_names(
    properties: Iterable[str], *, parent: str = "", taken: Iterable[str] = ()
) -> dict[str, str]:
    """A name in the posted data for each property: the same one as long as the schema is."""
    names: dict[str, str] = {}
    used = set(taken)
    for number, name in enumerate(properties, start=1):
        wanted = name if _USABLE_NAME.fullmatch(name) else f"field{number}"
        wanted = f"{parent}__{wanted}" if parent else wanted
        while wanted in used or (wanted != name and wanted in properties):
            wanted += "-"
        used.add(wanted)
        names[name] = wanted
    return names


def _humanised(name: str) -> str:
    """``var_name`` and ``varName`` as ``Var name``; what is not a name in code stays as it is."""
    if not re.fullmatch(r"[a-z][A-Za-z0-9]*(?:[_-][A-Za-z0-9]+)*", name):
        return name
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
    return capfirst(re.sub(r"[_-]+", " ", words))
