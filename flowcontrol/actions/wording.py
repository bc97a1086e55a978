"""How the sentences of the built-in rows show a config value."""

from __future__ import annotations

from typing import Any

from flowcontrol.durations import in_words, parse_duration
from flowcontrol.schemas import COMPUTED, is_computed


def shown_duration(value: Any) -> str:
    """A fixed duration in words, a computed one as its expression."""
    if isinstance(value, str):
        try:
            return in_words(parse_duration(value))
        except ValueError:
            return value
    return str(shown(value))


def shown(value: Any) -> Any:
    """A fixed value as it is, a computed one as its expression, a list with commas."""
    if is_computed(value):
        return value[COMPUTED]
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value
