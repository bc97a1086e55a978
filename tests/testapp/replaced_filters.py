"""A project's own filter under a name that flowcontrol uses too."""

from __future__ import annotations

from typing import Any

from django.template import Library

register = Library()


@register.filter
def startswith(value: Any, beginning: Any) -> bool:
    """Tells whether a text begins with another, in small letters or capitals."""
    return str(value).lower().startswith(str(beginning).lower())
