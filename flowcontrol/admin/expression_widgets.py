"""Inputs for expressions and templates: plain inputs that a script makes into helpful ones.

The script completes names, shows what an expression gives, and draws conditions. It finds an input
by ``data-fc-expression``, which :func:`complete` writes into those of a form once it is known where
in which flow the form stands. Without the script, or without a place, the inputs are just inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django import forms
from django.urls import reverse
from django.utils.http import urlencode

from flowcontrol.admin.config_widgets import CodeArea, CodeInput, LineInput
from flowcontrol.models import Flow
from flowcontrol.sampling import Kind

SCRIPTS: Final = (
    "flowcontrol/expressions/completion.js",
    "flowcontrol/expressions/conditions.js",
    "flowcontrol/expressions/fields.js",
)
STYLES: Final = "flowcontrol/expressions.css"


class _Completing(forms.Widget):
    """What these inputs share: files of their own, and a kind."""

    kind: Kind = "value"

    class Media:
        css = {"all": [STYLES]}
        js = [forms.Script(path, defer=True) for path in SCRIPTS]


class ExpressionInput(_Completing, CodeInput):
    """An expression; ``is_condition`` lets it be drawn as one."""

    def __init__(self, *, is_condition: bool = False, **attrs: Any) -> None:
        super().__init__(**attrs)
        if is_condition:
            self.kind = "condition"


class ExpressionArea(_Completing, CodeArea):
    """An expression of several lines."""

    def __init__(self, rows: int = 4, *, is_condition: bool = False, **attrs: Any) -> None:
        super().__init__(rows, **attrs)
        if is_condition:
            self.kind = "condition"


class TemplateInput(_Completing, LineInput):
    """A text on one line with ``{{ expressions }}``."""

    kind = "template"


class TemplateArea(_Completing, CodeArea):
    """A text of several lines with ``{{ expressions }}``."""

    kind = "template"


class JSONArea(_Completing, CodeArea):
    """JSON whose texts are expressions or templates; the one at the caret is helped with.

    ``switch`` names the checkbox of the same form that says whether they are.
    """

    def __init__(self, kind: Kind, rows: int = 4, *, switch: str = "", **attrs: Any) -> None:
        super().__init__(rows, **attrs)
        self.kind = kind
        self.switch = switch


@dataclass(frozen=True)
class Completion:
    """Where the expressions of a form stand: in which flow, at which row.

    Args:
        flow: whose draft says which names there are.
        place: as :func:`flowcontrol.admin.expression_pages.place_in` reads it.
        trigger_field: the name of the field, in the same form, that says the trigger.
        site_name: of the admin site that the form belongs to.
    """

    flow: Flow
    place: Mapping[str, str] = field(default_factory=dict)
    trigger_field: str = ""
    site_name: str = "admin"

    def attrs(self, kind: Kind) -> dict[str, str]:
        name = "admin:flowcontrol_flow_expression_names"
        names_url = reverse(name, args=(self.flow.pk,), current_app=self.site_name)
        attrs = {
            "data-fc-expression": kind,
            "data-fc-base": names_url.removesuffix("names/"),
            "data-fc-place": urlencode(self.place),
        }
        if self.trigger_field:
            attrs["data-fc-trigger-field"] = self.trigger_field
        return attrs


def complete(form: forms.BaseForm, completion: Completion) -> None:
    """Let the script help with each expression and template of a form."""
    for each in form.fields.values():
        if isinstance(each.widget, _Completing):
            each.widget.attrs.update(completion.attrs(each.widget.kind))
        if isinstance(each.widget, JSONArea):
            each.widget.attrs["data-fc-inside"] = "json"
            if each.widget.switch:
                each.widget.attrs["data-fc-if"] = form.add_prefix(each.widget.switch)
