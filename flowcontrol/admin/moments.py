"""Dates with times in forms, by what the browser has for them."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.db import models


class MomentInput(forms.DateTimeInput):
    """One input, with its label; seconds are kept, so that saving changes nothing by itself."""

    input_type = "datetime-local"

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(
            {"class": "fc-short fc-moment", "step": "1", **(attrs or {})},
            format="%Y-%m-%dT%H:%M:%S",
        )


MOMENT_FIELDS: Final[dict[Any, dict[str, Any]]] = {
    models.DateTimeField: {"form_class": forms.DateTimeField, "widget": MomentInput}
}
"""For ``formfield_overrides``."""
