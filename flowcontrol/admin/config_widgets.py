"""What the fields of a config form look like in the page. No inline script, no inline style.

Every widget shows text and posts text; what the text means is the business of its field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

TEMPLATES: Final = "flowcontrol/admin/widgets"

# Not for prose: nothing that a phone or a browser may want to improve.
CODE: Final[dict[str, Any]] = {
    "class": "fc-code",
    "spellcheck": "false",
    "autocomplete": "off",
    "autocapitalize": "off",
}


class LineInput(forms.TextInput):
    """A text on one line, as wide as there is room.

    Not an ``email``, ``url`` or ``date-time`` input where those would change what they are given:
    the browser checks nothing that the schema checks better, and in the reader's language.
    """

    def __init__(self, **attrs: Any) -> None:
        super().__init__({"class": "fc-wide", **attrs})


class ShortInput(forms.TextInput):
    """A text on one line that holds a few characters: a date, a number."""

    def __init__(self, input_type: str = "text", /, **attrs: Any) -> None:
        self.input_type = input_type
        super().__init__({"class": "fc-short", **attrs})


class CodeInput(forms.TextInput):
    """An expression."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__({**CODE, **attrs})


class TextArea(forms.Textarea):
    """A text of several lines; grows with it up to a point."""

    def __init__(self, rows: int = 4, **attrs: Any) -> None:
        super().__init__({"class": "fc-wide", "rows": rows, "cols": 60, **attrs})


class CodeArea(forms.Textarea):
    """JSON, a template, or values one per line."""

    def __init__(self, rows: int = 4, **attrs: Any) -> None:
        super().__init__({**CODE, "rows": rows, "cols": 60, **attrs})


class SuggestionInput(forms.TextInput):
    """A text with suggestions to pick from, found by typing any part of them."""

    template_name = f"{TEMPLATES}/suggestions.html"

    def __init__(self, suggestions: Sequence[str], **attrs: Any) -> None:
        super().__init__({"class": "fc-wide", "autocomplete": "off", **attrs})
        self.suggestions = suggestions

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        list_id = f"{context['widget']['attrs'].get('id', name)}_list"
        context["widget"]["attrs"]["list"] = list_id
        context["widget"]["list_id"] = list_id
        context["widget"]["suggestions"] = self.suggestions
        return context


class SecretInput(forms.PasswordInput):
    """Takes a secret and never gives one back."""

    def __init__(self, *, is_stored: bool) -> None:
        super().__init__(
            {
                "class": "fc-wide",
                "autocomplete": "new-password",
                "placeholder": _("stored; leave empty to keep it") if is_stored else "",
            },
            render_value=False,
        )


class PartsWidget(forms.MultiWidget):
    """Several inputs, ``<name>__<part>``, for one value. The raw value lists their texts."""

    def __init__(self, parts: Mapping[str, forms.Widget]) -> None:
        super().__init__({f"_{name}": widget for name, widget in parts.items()})

    def decompress(self, value: Any) -> list[Any]:
        return list(value) if value else ["" for _widget in self.widgets]


class DurationInput(PartsWidget):
    """A number for each unit of time, with the name of the unit behind it."""

    template_name = f"{TEMPLATES}/duration.html"
    units: Final = (
        ("months", _("months")),
        ("days", _("days")),
        ("hours", _("hours")),
        ("minutes", _("minutes")),
        ("seconds", _("seconds")),
    )

    def __init__(self) -> None:
        super().__init__(
            {
                name: ShortInput(
                    inputmode="decimal" if name == "seconds" else "numeric", autocomplete="off"
                )
                for name, _label in self.units
            }
        )

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        for part, (_name, label) in zip(context["widget"]["subwidgets"], self.units, strict=True):
            part["label"] = label
        return context


class ReferenceInput(PartsWidget):
    """An object: which model, and the key of the object."""

    template_name = f"{TEMPLATES}/reference.html"

    def __init__(self, models: Sequence[tuple[str, _StrOrPromise]]) -> None:
        super().__init__(
            {
                "model": forms.Select({"aria-label": _("Kind of object")}, choices=models),
                "key": ShortInput(
                    "text",
                    **{
                        "aria-label": _("Key of the object"),
                        "placeholder": _("key"),
                        "autocomplete": "off",
                    },
                ),
            }
        )


class ModeSwitch(forms.RadioSelect):
    """Fixed or computed: two joined buttons that are radio buttons underneath."""

    template_name = f"{TEMPLATES}/switch.html"


class Choices(forms.RadioSelect):
    """A few choices, all in sight."""

    template_name = f"{TEMPLATES}/choices.html"


class ManyChoices(forms.CheckboxSelectMultiple):
    """Any number of choices, all in sight."""

    template_name = f"{TEMPLATES}/choices.html"
