"""The fields of a config form: one kind for each kind of schema that can be drawn.

A field translates between a JSON value and the **raw** value that its widget shows and posts (a
text, mostly). :meth:`ConfigField.show` makes the raw value, :meth:`ConfigField.read` takes it back.
The form keeps a stored value as it is while its raw value comes back unchanged, so a field may show
less than it was given (``10:30`` for ``10:30:00``) and loses nothing by it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.config_widgets import (
    Choices,
    CodeArea,
    DurationInput,
    LineInput,
    ManyChoices,
    ReferenceInput,
    SecretInput,
    ShortInput,
    SuggestionInput,
    TextArea,
)
from flowcontrol.admin.expression_widgets import (
    ExpressionArea,
    ExpressionInput,
    JSONArea,
    TemplateArea,
    TemplateInput,
)
from flowcontrol.durations import Duration, format_duration, parse_duration
from flowcontrol.formats import split_model_reference, time_zones
from flowcontrol.schemas import MASK

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    Choice = tuple[str, _StrOrPromise]

Raw = Any
Schema = Mapping[str, Any]
LoadChoices = Callable[[], Iterable["Choice"]]


class Empty(Enum):
    """The value of a field in which nothing was entered."""

    EMPTY = "empty"


EMPTY: Final = Empty.EMPTY


class ConfigField(forms.Field):
    """One value of a config."""

    hint: ClassVar[_StrOrPromise] = ""
    """How to fill in this kind of field, written behind the help text."""

    def __init__(self, schema: Schema, *, widget: forms.Widget, initial: Raw = "") -> None:
        super().__init__(required=False, widget=widget, initial=initial)
        self.schema = schema

    def can_show(self, value: Any) -> bool:
        """Whether this JSON value can be shown so that it reads back as the same."""
        raise NotImplementedError

    def show(self, value: Any) -> Raw:
        """The raw value for a JSON value. May choose another widget for it."""
        raise NotImplementedError

    def read(self, raw: Raw) -> Any:
        """The JSON value of a raw one, or :data:`EMPTY`; raises ``ValidationError``."""
        raise NotImplementedError

    def is_same(self, raw: Raw, shown: Raw) -> bool:
        """Whether the browser sent back what it was shown."""
        return bool(_posted(raw) == _posted(shown))

    def place(self, path: Sequence[str | int], raw: Raw) -> tuple[str, tuple[str | int, ...]]:
        """A name for the first steps of a path inside the value, and the steps that are left."""
        return "", tuple(path)

    def clean(self, value: Raw) -> Any:
        return self.read(value)


def _posted(raw: Raw) -> Raw:
    """A raw value with the line ends that all browsers send turned back."""
    match raw:
        case None:
            return ""
        case str():
            return raw.replace("\r\n", "\n").replace("\r", "\n")
        case list() | tuple():
            return [_posted(each) for each in raw]
        case _:
            return raw


# --- texts ---------------------------------------------------------------------------------------

# What no form field carries from a page to the server and back.
_UNREADABLE: Final = re.compile("[\x00\ud800-\udfff]")
_UNSENDABLE: Final = re.compile("[\x00\r\ud800-\udfff]")


class TextField(ConfigField):
    """A text on one line; one that has line breaks already gets room for them."""

    def __init__(self, schema: Schema, widget: forms.Widget | None = None) -> None:
        super().__init__(schema, widget=widget or LineInput())

    def can_show(self, value: Any) -> bool:
        return isinstance(value, str) and not _UNSENDABLE.search(value)

    def show(self, value: Any) -> Raw:
        if "\n" in value and not isinstance(self.widget, forms.Textarea):
            self.widget = TextArea(rows=_rows(value))
        return value

    def read(self, raw: Raw) -> Any:
        text = _posted(raw)
        if isinstance(self.widget, forms.Textarea):
            return text if text.strip() else EMPTY
        return text.strip() or EMPTY


class ExpressionField(TextField):
    """An expression; on several lines if it was written so. ``is_condition``: true or false."""

    def __init__(self, schema: Schema, *, is_condition: bool = False) -> None:
        super().__init__(schema, ExpressionInput(is_condition=is_condition))
        self.is_condition = is_condition

    def show(self, value: Any) -> Raw:
        if "\n" in value:
            self.widget = ExpressionArea(_rows(value), is_condition=self.is_condition)
        return _UNREADABLE.sub("\ufffd", value)


class TemplateField(TextField):
    """A text with expressions in it: one line, or more if it was written so."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema, TemplateInput())

    def show(self, value: Any) -> Raw:
        if "\n" in value:
            self.widget = TemplateArea(rows=_rows(value))
        return value


class LongTextField(TextField):
    """A text of several lines: a letter, a template."""

    def __init__(
        self, schema: Schema, *, code: bool = False, widget: forms.Widget | None = None
    ) -> None:
        super().__init__(schema, widget or (CodeArea() if code else TextArea()))

    def show(self, value: Any) -> Raw:
        self.widget.attrs["rows"] = _rows(value)
        return value


class TimeZoneField(TextField):
    def __init__(self, schema: Schema) -> None:
        super().__init__(
            schema, SuggestionInput(sorted(time_zones()), placeholder="America/New_York")
        )


class SecretField(ConfigField):
    """Nothing of a stored secret ever reaches the page; leaving the field empty keeps it."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema, widget=SecretInput(is_stored=False))

    def can_show(self, value: Any) -> bool:
        return isinstance(value, str)

    def show(self, value: Any) -> Raw:
        self.widget = SecretInput(is_stored=bool(value))
        return ""

    def read(self, raw: Raw) -> Any:
        return _posted(raw) or EMPTY


# --- dates and times -----------------------------------------------------------------------------


class _MomentField(ConfigField):
    """A date or time with the browser's picker, or as text where that would lose a part."""

    input_type: ClassVar[str]
    pickable: ClassVar[re.Pattern[str]]
    example: ClassVar[str]

    def parse(self, text: str) -> date | time:
        """What ``text`` means; a :class:`ValueError` if nothing."""
        raise NotImplementedError

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema, widget=ShortInput(self.input_type, step="any"))

    def can_show(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            self.parse(value)
        except ValueError:
            return False
        return not _UNSENDABLE.search(value)

    def show(self, value: Any) -> Raw:
        if not self.pickable.fullmatch(value):
            self.widget = ShortInput(placeholder=self.example)
        return value

    def read(self, raw: Raw) -> Any:
        return _posted(raw).strip() or EMPTY

    def is_same(self, raw: Raw, shown: Raw) -> bool:
        # Browsers shorten a time to the minute where the seconds are 0.
        if super().is_same(raw, shown):
            return True
        try:
            return bool(self.parse(raw).isoformat() == self.parse(shown).isoformat())
        except (TypeError, ValueError):
            return False


class DateField(_MomentField):
    input_type = "date"
    pickable = re.compile(r"\d{4}-\d\d-\d\d")
    example = "2013-02-04"

    def parse(self, text: str) -> date | time:
        return date.fromisoformat(text)


class TimeField(_MomentField):
    input_type = "time"
    pickable = re.compile(r"\d\d:\d\d(:\d\d(\.\d{1,3})?)?")
    example = "09:30"

    def parse(self, text: str) -> date | time:
        return time.fromisoformat(text)


class DateTimeField(_MomentField):
    input_type = "datetime-local"
    pickable = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?")
    example = "2013-02-04T09:30-05:00"

    def parse(self, text: str) -> date | time:
        return datetime.fromisoformat(text)


class DurationField(ConfigField):
    """A number for each unit; read as an ISO 8601 duration."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema, widget=DurationInput(), initial=[""] * 5)

    def can_show(self, value: Any) -> bool:
        try:
            parse_duration(value)
        except (TypeError, ValueError):
            return False
        return True

    def show(self, value: Any) -> Raw:
        duration = parse_duration(value)
        minutes, seconds = divmod(duration.time, timedelta(minutes=1))
        hours, minutes = divmod(minutes, 60)
        clock = f"{seconds / timedelta(seconds=1):.6f}".rstrip("0").rstrip(".")
        parts = [str(duration.months), str(duration.days), str(hours), str(minutes), clock]
        parts = ["" if part == "0" else part for part in parts]
        # A duration of nothing is still one.
        return parts if any(parts) else ["", "", "", "", "0"]

    def read(self, raw: Raw) -> Any:
        parts = [part.strip() for part in _posted(raw or [])]
        if not any(parts):
            return EMPTY
        months, days, hours, minutes, seconds = (_count(part) for part in parts)
        if any(whole.denominator != 1 for whole in (months, days)):
            raise ValidationError(_("Months and days are whole numbers; write the rest in hours"))
        time = hours * 3600 + minutes * 60 + seconds
        try:
            exact = timedelta(microseconds=round(time * 1_000_000))
            text = format_duration(Duration(int(months), int(days), exact))
            parse_duration(text)
        except (OverflowError, ValueError):
            raise ValidationError(_("This duration is too long")) from None
        return text


_COUNT: Final = re.compile(r"[0-9]{1,12}([.,][0-9]{1,6})?")


def _count(text: str) -> Fraction:
    if not text:
        return Fraction(0)
    if not _COUNT.fullmatch(text):
        raise ValidationError(_("'%(text)s' is not a number") % {"text": text})
    return Fraction(text.replace(",", "."))


# --- numbers and yes/no --------------------------------------------------------------------------

_NUMBER: Final = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][-+]?[0-9]{1,4})?")


class NumberField(ConfigField):
    """A number; with ``whole`` one without a fraction."""

    def __init__(self, schema: Schema, *, whole: bool) -> None:
        limits = {
            attribute: json.dumps(schema[keyword])
            for attribute, keyword in (("min", "minimum"), ("max", "maximum"))
            if keyword in schema
        }
        super().__init__(
            schema, widget=ShortInput("number", step="1" if whole else "any", **limits)
        )
        self.whole = whole

    def can_show(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return _NUMBER.fullmatch(json.dumps(value)) is not None

    def show(self, value: Any) -> Raw:
        return json.dumps(value)

    def read(self, raw: Raw) -> Any:
        text = _posted(raw).strip()
        return read_number(text, whole=self.whole) if text else EMPTY


def read_number(text: str, *, whole: bool) -> int | float:
    """The number that ``text`` spells, as JSON writes it; a ``ValidationError`` if none."""
    if not _NUMBER.fullmatch(text):
        message = (
            _("'%(text)s' is not a whole number") if whole else _("'%(text)s' is not a number")
        )
        raise ValidationError(message % {"text": _shortened(text)})
    number: int | float = json.loads(text) if _is_json(text) else float(text)
    if isinstance(number, float) and not math.isfinite(number):
        raise ValidationError(_("'%(text)s' is too large") % {"text": _shortened(text)})
    if whole and isinstance(number, float):
        if not number.is_integer():
            raise ValidationError(
                _("'%(text)s' is not a whole number") % {"text": _shortened(text)}
            )
        return int(number)
    return number


class CheckboxField(ConfigField):
    """Yes or no, where there is no third."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema, widget=forms.CheckboxInput(), initial=False)

    def can_show(self, value: Any) -> bool:
        return isinstance(value, bool)

    def show(self, value: Any) -> Raw:
        return value

    def read(self, raw: Raw) -> Any:
        return bool(raw)

    def is_same(self, raw: Raw, shown: Raw) -> bool:
        return bool(raw) == bool(shown)


# --- choices -------------------------------------------------------------------------------------

NOTHING_CHOSEN: Final = gettext_lazy("— not set —")


class ChoiceField(ConfigField):
    """One of the values that a schema lists. Values that are no texts are posted as JSON."""

    def __init__(
        self,
        schema: Schema,
        labels: Mapping[str, _StrOrPromise],
        *,
        may_be_empty: bool,
        in_sight: bool,
    ) -> None:
        self.values = {choice_key(schema, value): value for value in enum_of(schema)}
        choices: list[Choice] = [(key, labels[key]) for key in self.values]
        if may_be_empty:
            choices.insert(0, ("", NOTHING_CHOSEN))
        widget = Choices if in_sight else forms.Select
        super().__init__(schema, widget=widget(choices=choices))

    def can_show(self, value: Any) -> bool:
        return any(same_json(value, each) for each in self.values.values())

    def show(self, value: Any) -> Raw:
        return next(key for key, each in self.values.items() if same_json(value, each))

    def read(self, raw: Raw) -> Any:
        key = _posted(raw)
        if not key and key not in self.values:
            return EMPTY
        if key not in self.values:
            raise ValidationError(
                _("'%(text)s' is not one of the choices") % {"text": _shortened(key)}
            )
        return self.values[key]


class ManyChoicesField(ConfigField):
    """Several of the values that a schema lists, each at most once, in the schema's order."""

    def __init__(self, schema: Schema, labels: Mapping[str, _StrOrPromise]) -> None:
        items = schema["items"]
        self.values = {choice_key(items, value): value for value in enum_of(items)}
        super().__init__(
            schema,
            widget=ManyChoices(choices=[(key, labels[key]) for key in self.values]),
            initial=[],
        )

    def can_show(self, value: Any) -> bool:
        if not isinstance(value, list):
            return False
        keys = [self._keys(each) for each in value]
        return all(keys) and len({key[0] for key in keys}) == len(keys)

    def show(self, value: Any) -> Raw:
        return [self._keys(each)[0] for each in value]

    def read(self, raw: Raw) -> Any:
        chosen = _posted(raw or [])
        for key in chosen:
            if key not in self.values:
                raise ValidationError(
                    _("'%(text)s' is not one of the choices") % {"text": _shortened(key)}
                )
        return [value for key, value in self.values.items() if key in chosen] or EMPTY

    def is_same(self, raw: Raw, shown: Raw) -> bool:
        # Checkboxes are sent in the order of the page, not in that of the stored list.
        return sorted(raw or []) == sorted(shown or [])

    def _keys(self, value: Any) -> list[str]:
        return [key for key, each in self.values.items() if same_json(value, each)]


class ReferenceChoiceField(ConfigField):
    """One of what the database offers, looked up when the page is made.

    A stored name that is no longer offered stays choosable, marked as not found: to report it is
    the business of whoever checks the flow, not of this form.
    """

    def __init__(self, schema: Schema, load: LoadChoices) -> None:
        super().__init__(schema, widget=forms.Select())
        self.widget.choices = self._choices  # asked when rendered
        self.load = load
        self.stored = ""

    def can_show(self, value: Any) -> bool:
        return isinstance(value, str) and not _UNSENDABLE.search(value)

    def show(self, value: Any) -> Raw:
        self.stored = value
        return value

    def read(self, raw: Raw) -> Any:
        key = _posted(raw)
        if not key:
            return EMPTY
        if key not in {offered for offered, _label in self._choices()}:
            raise ValidationError(
                _("'%(text)s' is not one of the choices") % {"text": _shortened(key)}
            )
        return key

    def _choices(self) -> list[Choice]:
        offered = self._offered
        if self.stored and self.stored not in {key for key, _label in offered}:
            gone = (self.stored, _("%(name)s (not found)") % {"name": self.stored})
            offered = [gone, *offered]
        return [("", NOTHING_CHOSEN), *offered]

    @cached_property
    def _offered(self) -> list[Choice]:
        return [(str(key), label) for key, label in self.load()]


class ModelReferenceField(ConfigField):
    """An object: its model from a list, its key as text. Read as ``demo.flight:12``."""

    def __init__(self, schema: Schema, load: LoadChoices) -> None:
        offered = [(str(key), label) for key, label in load()]
        if wanted := schema.get("model"):
            label = next((label for key, label in offered if key == wanted), wanted)
            offered = [(wanted, label)]
        else:
            offered.insert(0, ("", NOTHING_CHOSEN))
        self.offered = offered
        super().__init__(schema, widget=ReferenceInput(offered), initial=[offered[0][0], ""])

    def can_show(self, value: Any) -> bool:
        try:
            model, _key = split_model_reference(value)
        except (AttributeError, ValueError):
            return False
        return model in {name for name, _label in self.offered} and not _UNSENDABLE.search(value)

    def show(self, value: Any) -> Raw:
        return list(split_model_reference(value))

    def read(self, raw: Raw) -> Any:
        model, key = ([*_posted(raw or []), "", ""])[:2]
        model, key = model.strip(), key.strip()
        if not key and (not model or "model" in self.schema):
            return EMPTY
        if not key or not model:
            raise ValidationError(_("Choose the kind of object and enter its key"))
        return f"{model}:{key}"


# --- lists and anything else ---------------------------------------------------------------------


class LinesField(ConfigField):
    """A list of texts or numbers, one per line."""

    hint = gettext_lazy("One entry per line.")

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema, widget=CodeArea(rows=3))
        self.item_type = schema["items"].get("type", "string")

    def can_show(self, value: Any) -> bool:
        return isinstance(value, list) and all(map(self._fits_a_line, value))

    def show(self, value: Any) -> Raw:
        lines = [each if isinstance(each, str) else json.dumps(each) for each in value]
        self.widget.attrs["rows"] = min(max(len(lines) + 1, 3), 15)
        return "\n".join(lines)

    def read(self, raw: Raw) -> Any:
        entries: list[Any] = []
        errors: list[str] = []
        for number, line in _numbered_lines(raw):
            try:
                entries.append(self._entry(line))
            except ValidationError as error:
                errors.append(_in_line(number, error.messages[0]))
        if errors:
            raise ValidationError(errors)
        return entries or EMPTY

    def place(self, path: Sequence[str | int], raw: Raw) -> tuple[str, tuple[str | int, ...]]:
        index = path[0]
        numbers = [number for number, _line in _numbered_lines(raw)]
        if isinstance(index, int) and index < len(numbers):
            return _("Line %(number)d") % {"number": numbers[index]}, tuple(path[1:])
        return super().place(path, raw)

    def _entry(self, line: str) -> Any:
        if self.item_type == "string":
            return line
        return read_number(line, whole=self.item_type == "integer")

    def _fits_a_line(self, value: Any) -> bool:
        if self.item_type != "string":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return is_number and _NUMBER.fullmatch(json.dumps(value)) is not None
        if not isinstance(value, str) or not value or value != value.strip():
            return False
        return "\n" not in value and not _UNSENDABLE.search(value)


def _numbered_lines(raw: Raw) -> list[tuple[int, str]]:
    lines = enumerate(_posted(raw).split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _in_line(number: int, message: str) -> str:
    return _("Line %(number)d: %(message)s") % {"number": number, "message": message}


class JSONField(ConfigField):
    """Anything, as JSON. What a schema demands of it is checked by the form.

    Secrets in it are shown masked. A mask that comes back stands for the stored secret as long as
    it is at the same place; entries of lists have no place, so there a changed entry needs its
    secret again.
    """

    hint = gettext_lazy("Written as JSON: texts in double quotes, names too.")

    def __init__(self, schema: Schema) -> None:
        is_template = schema.get("format") == "template"
        super().__init__(schema, widget=JSONArea("template") if is_template else CodeArea(rows=4))
        self.stored: Any = None
        self.masked: Any = None

    def can_show(self, value: Any) -> bool:
        return True

    def let_texts_be_expressions(self, switch: str) -> None:
        """Help with the expressions in it while the checkbox called ``switch`` is checked."""
        self.widget = JSONArea("value", self.widget.attrs["rows"], switch=switch)

    def keep_secrets(self, stored: Any, masked: Any) -> None:
        """Put ``stored`` back where ``masked``, which is what was shown, comes back."""
        self.stored = stored
        self.masked = masked

    def show(self, value: Any) -> Raw:
        text = json.dumps(value, indent=2, ensure_ascii=False)
        if _UNSENDABLE.search(text):
            text = json.dumps(value, indent=2)
        self.widget.attrs["rows"] = _rows(text)
        return text

    def read(self, raw: Raw) -> Any:
        text = _posted(raw)
        if not text.strip():
            return EMPTY
        try:
            value = read_json(text)
        except ValueError as error:
            raise ValidationError(str(error)) from None
        if same_json(self.stored, self.masked):
            return value
        value = _with_stored_secrets(value, self.stored, self.masked)
        if _mentions(value, MASK) and not _mentions(self.stored, MASK):
            raise ValidationError(
                _("Write the secret again where it reads %(mask)s: its place has changed")
                % {"mask": MASK}
            )
        return value


def _with_stored_secrets(value: Any, stored: Any, masked: Any) -> Any:
    if same_json(value, masked):
        return stored
    if isinstance(value, dict) and isinstance(masked, dict):
        return {
            name: _with_stored_secrets(each, stored[name], masked[name]) if name in masked else each
            for name, each in value.items()
        }
    if isinstance(value, list) and isinstance(masked, list):
        return [
            stored[index] if index < len(masked) and same_json(each, masked[index]) else each
            for index, each in enumerate(value)
        ]
    return value


def _mentions(value: Any, text: str) -> bool:
    match value:
        case dict():
            return any(_mentions(each, text) for each in value.values())
        case list():
            return any(_mentions(each, text) for each in value)
        case _:
            return bool(value == text)


def read_json(text: str) -> Any:
    """The value of a JSON text; a :class:`ValueError` for authors says what is wrong, and where.

    Stricter than Python's reader: no NaN, no numbers that become infinite, no name twice.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_named_values,
            parse_constant=_no_constant,
            parse_int=_whole_number,
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            _("Line %(line)d, column %(column)d: %(message)s")
            % {
                "line": error.lineno,
                "column": error.colno,
                "message": _JSON_ERRORS.get(error.msg, error.msg),
            }
        ) from None
    except RecursionError:
        raise ValueError(_("This is nested too deeply")) from None
    if not _is_finite(value):
        raise ValueError(_("A number in this is too large"))
    return value


_JSON_ERRORS: Final[Mapping[str, _StrOrPromise]] = {
    "Expecting property name enclosed in double quotes": gettext_lazy(
        "a name in double quotes is expected here (is there a comma too many before it?)"
    ),
    "Illegal trailing comma before end of object": gettext_lazy(
        "there is a comma too many before the closing brace"
    ),
    "Illegal trailing comma before end of array": gettext_lazy(
        "there is a comma too many before the closing bracket"
    ),
    "Expecting ':' delimiter": gettext_lazy("a colon is expected here, between name and value"),
    "Expecting ',' delimiter": gettext_lazy(
        "a comma or a closing bracket is expected here, before the next entry"
    ),
    "Expecting value": gettext_lazy(
        "a value is expected here (a text needs double quotes; write true, false or null in "
        "small letters)"
    ),
    "Extra data": gettext_lazy("this is more than one value; put braces around named values"),
    "Unterminated string starting at": gettext_lazy(
        "the text that starts here has no closing double quote"
    ),
    "Invalid control character at": gettext_lazy(
        "a text may not have a line break or a tab in it; write \\n or \\t instead"
    ),
    "Invalid \\escape": gettext_lazy("write a backslash twice: \\\\"),
    "Invalid \\uXXXX escape": gettext_lazy("four hexadecimal digits are expected behind \\u"),
}


def _named_values(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(_("The name “%(name)s” stands twice in one group") % {"name": name})
        values[name] = value
    return values


def _no_constant(name: str) -> None:
    raise ValueError(_("%(name)s is not a number that can be stored") % {"name": name})


def _whole_number(digits: str) -> int:
    if len(digits) > 400:  # Python refuses to read much longer ones
        raise ValueError(_("A number in this is too large"))
    return int(digits)


def _is_finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_is_finite, value.values()))
        case list():
            return all(map(_is_finite, value))
        case _:
            return True


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


# --- what schemas say about choices ---------------------------------------------------------------


def enum_of(schema: Schema) -> list[Any]:
    """The values that a schema lists, ``null`` left out: choosing nothing stands for it."""
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    return [value for value in values if value is not None]


def choice_key(schema: Schema, value: Any) -> str:
    """How a listed value is posted: a text as itself, unless there are others to tell it from."""
    if all(isinstance(each, str) and each for each in enum_of(schema)):
        return str(value)
    return json.dumps(value, sort_keys=True)


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; ``1`` and ``1.0`` are, ``1`` and ``true`` are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


def _rows(text: str) -> int:
    return min(max(text.count("\n") + 2, 4), 20)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
