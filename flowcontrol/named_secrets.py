"""Secrets by name: authors write ``{{ secret.NAME }}``, only the outside gets to see the value.

``FLOWCONTROL_SECRETS`` says what the names stand for. A text is first written with a marker in the
place of each secret, so that nothing that evaluates, logs or fails on the way ever holds the value
itself; :meth:`Secrets.fill` puts the values in at the last moment, and :meth:`Secrets.hide` takes
them out of whatever comes back.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from flowcontrol.conf import settings
from flowcontrol.exceptions import AuthorError, ExpressionError
from flowcontrol.schemas import MASK

SHORTEST_HIDDEN: Final = 4
"""Characters of a secret that is looked for in answers; a shorter one is part of any text."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def read_secret(name: str) -> str:
    """The secret called ``name``.

    Raises:
        AuthorError: ``FLOWCONTROL_SECRETS`` has none of this name.
        ImproperlyConfigured: the setting is neither a mapping nor a callable.
    """
    source = _source()
    try:
        value = source(name) if callable(source) else source[name]
    except LookupError:
        value = None
    if value is None:
        raise AuthorError(_unknown(name, source))
    if not isinstance(value, str):
        raise ImproperlyConfigured(f"The secret {name!r} of FLOWCONTROL_SECRETS is no text.")
    return value


def unknown_secret(name: str) -> str:
    """Why there is no secret of this name; empty if there is one, or if only a call could tell."""
    source = _source()
    return "" if callable(source) or name in source else _unknown(name, source)


def _source() -> Mapping[str, str] | Callable[[str], str | None]:
    source = settings.SECRETS
    if isinstance(source, str):
        source = import_string(source)
    if not isinstance(source, Mapping) and not callable(source):
        raise ImproperlyConfigured("FLOWCONTROL_SECRETS must be a mapping or name a callable.")
    return source


def _unknown(name: str, source: object) -> str:
    told = _("FLOWCONTROL_SECRETS has no secret “%(name)s”.") % {"name": name}
    if not isinstance(source, Mapping):
        return told
    known = _("It has: %(names)s.") % {"names": ", ".join(sorted(source)) or _("none")}
    return f"{told} {known}"


class Secrets(Mapping[str, str]):
    """What ``secret`` means while one call is being written: markers that nobody can foresee.

    Were they known, a text from outside could hold one and be given the secret.
    """

    def __init__(self) -> None:
        self._nonce = "".join(secrets.choice("0123456789") for _digit in range(32))
        self._values: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ExpressionError(_("“%(name)s” is not the name of a secret.") % {"name": name})
        if name not in self._values:
            try:
                self._values[name] = read_secret(name)
            except AuthorError as error:
                raise ExpressionError(str(error)) from None
        return f"{self._nonce}x{name}x{self._nonce}"

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]

    def __iter__(self) -> Iterator[str]:
        # What asks for all of them gets none.
        return iter(())

    def __len__(self) -> int:
        return 0

    def __str__(self) -> str:
        return MASK

    @property
    def were_read(self) -> bool:
        """Whether anything has asked for a secret."""
        return bool(self._values)

    def fill(self, text: str) -> str:
        """The text with the secrets in the places of their markers.

        Raises:
            AuthorError: a filter has changed a marker, so the secret cannot be told.
        """
        filled = self._replace(text, lambda name: self._values[name])
        if self._nonce[:12] in filled or self._nonce[-12:] in filled:
            raise AuthorError(
                _(
                    "A secret is sent as it is: filters cannot change it. Store it in the form in "
                    "which it is needed."
                )
            )
        return filled

    def mask(self, text: str) -> str:
        """The text as people may see it, with dots in the places of the secrets."""
        return self._replace(text, lambda name: MASK)

    def hide(self, value: Any) -> Any:
        """A JSON value from outside with dots for each secret that it repeats."""
        if isinstance(value, str):
            for secret in self._values.values():
                if len(secret) >= SHORTEST_HIDDEN:
                    # As it is, and as JSON and addresses spell it.
                    for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe="")):
                        value = value.replace(form, MASK)
            return value
        if isinstance(value, dict):
            return {self.hide(name): self.hide(inner) for name, inner in value.items()}
        return [self.hide(inner) for inner in value] if isinstance(value, list) else value

    def _replace(self, text: str, told: Callable[[str], str]) -> str:
        pattern = re.compile(rf"{self._nonce}x({'|'.join(self._values) or '(?!)'})x{self._nonce}")
        return pattern.sub(lambda match: told(match[1]), text)
