"""What becomes of a step that raised: sorted in one place, told in full.

A retry policy is a JSON object, all keys optional::

    {"attempts": 5, "wait": 10, "factor": 2, "max_wait": 3600, "jitter": 0.1,
     "errors": ["ConnectionError", "requests.exceptions.Timeout"]}

``attempts`` counts the first try too. ``wait`` and ``max_wait`` are seconds; the wait before try
*n* + 1 is ``wait * factor ** (n - 1)``, at most ``max_wait``, varied by ± ``jitter`` of itself.
``errors`` names the exception classes that are worth another try, by short or full name, base
classes included; without it every one is, except author's mistakes.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.db import OperationalError

from flowcontrol.exceptions import (
    ActionFailed,
    AuthorError,
    ExpressionError,
    PoisonousRun,
    RetryLater,
)

LONGEST_TRACEBACK: Final = 20_000
LONGEST_WAIT: Final = 366 * 24 * 3600
"""Seconds between two tries; a moment further off may lie beyond what a date can hold."""

DATABASE_BUSY: Final[Mapping[str, Any]] = {
    "attempts": 10,
    "wait": 0.2,
    "factor": 2,
    "max_wait": 30,
    "jitter": 0.5,
}
"""For deadlocks and locks that were not had in time: nobody's mistake, and soon over."""

RETRY_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "attempts": {"type": "integer", "minimum": 1, "maximum": 1000},
        "wait": {"type": "number", "minimum": 0},
        "factor": {"type": "number", "minimum": 1},
        "max_wait": {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT},
        "jitter": {"type": "number", "minimum": 0, "maximum": 1},
        "errors": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}

ON_ERROR_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "then": {"type": "string", "enum": ["fail", "continue", "leave", "break"]},
        "errors": {"type": "array", "items": {"type": "string"}},
        "save_as": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*$", "maxLength": 100},
    },
    "required": ["then"],
    "additionalProperties": False,
}
"""What a row does when it has failed for good; see :mod:`flowcontrol.handling`."""


def wait_before_retry(
    error: BaseException, policy: Mapping[str, Any] | None, attempt: int
) -> timedelta | None:
    """How long to wait before the step is tried again; ``None``: it is not, the run fails.

    Args:
        error: what the step raised.
        policy: the row's or the type's retry policy.
        attempt: which try has just failed, from 1.
    """
    if isinstance(error, RetryLater):
        return min(error.after, timedelta(seconds=LONGEST_WAIT))
    if isinstance(error, OperationalError) and not policy:
        policy = DATABASE_BUSY
    if isinstance(error, AuthorError | PoisonousRun) or not isinstance(error, Exception):
        return None
    if not policy:
        return None
    if attempt >= policy.get("attempts", 3):
        return None
    if (names := policy.get("errors")) and not names_of(error).intersection(names):
        return None
    longest = min(policy.get("max_wait", 3600), LONGEST_WAIT)
    try:
        seconds = min(policy.get("wait", 10) * policy.get("factor", 2) ** (attempt - 1), longest)
    except OverflowError:
        seconds = longest
    jitter = policy.get("jitter", 0.1)
    wait = timedelta(seconds=seconds * (1 + random.uniform(-jitter, jitter)))
    # Whoever was called may have said when to come back.
    asked = getattr(error, "retry_after", None)
    if isinstance(asked, timedelta):
        return min(max(wait, asked), timedelta(seconds=LONGEST_WAIT))
    return wait


def names_of(error: BaseException) -> set[str]:
    """The names by which a policy may speak of an error: of its class and all base classes."""
    names = set()
    for base in type(error).__mro__:
        names.update({base.__name__, f"{base.__module__}.{base.__qualname__}"})
    return names


def describe(error: BaseException, **place: Any) -> dict[str, Any]:
    """An error as JSON for the history: class, message, traceback, values, and ``place``."""
    detail: dict[str, Any] = {
        "error": f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
        "message": clean(message_of(error)),
        "traceback": clean("".join(traceback.format_exception(error)))[-LONGEST_TRACEBACK:],
        **place,
    }
    if isinstance(error, ExpressionError) and error.expression:
        detail["expression"] = clean(error.expression)
    return detail


def message_of(error: BaseException) -> str:
    """What a person reads; an error without words is told by its name."""
    name = type(error).__name__
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001 (an error that cannot even be told must not stop others)
        text = "its message cannot be shown."
    if isinstance(error, AuthorError | ActionFailed) and text:
        return text
    return f"{name}: {text}" if text else name


def clean(text: str) -> str:
    """Text that every database stores: no NUL, no half of a surrogate pair."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()
