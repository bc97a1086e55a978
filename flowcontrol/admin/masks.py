"""Keeping the secrets of a state from people who may not see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcontrol.history import same
from flowcontrol.schemas import MASK, mask_secrets


class Masks:
    """Hides the values of a state whose schema calls them secret."""

    def __init__(self, schema: Any, *, reveal_secrets: bool) -> None:
        self._schema = schema if isinstance(schema, Mapping) and not reveal_secrets else None

    def state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        if self._schema is None:
            return dict(state)
        try:
            masked: dict[str, Any] = mask_secrets(self._schema, dict(state))
        except ValueError:
            # A schema that is none by today's rules: nobody knows what is secret.
            return dict.fromkeys(state, MASK)
        return masked

    def value(self, name: str, value: Any) -> Any:
        """The value of a variable that was read, by its dotted name."""
        root = name.split(".")[0]
        if self._schema is None:
            return value
        return value if same(self.state({root: value}).get(root), value) else MASK
