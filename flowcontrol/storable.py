"""What can be stored: the answer of an action and the state it leaves, made JSON or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.utils import timezone

from flowcontrol.directives import (
    NO_RESULT,
    UNCHANGED,
    Abort,
    Break,
    Continue,
    Directive,
    Enter,
    Leave,
    Suspend,
    SuspendAndRepeat,
)
from flowcontrol.exceptions import AuthorError, NotJSON, StateTooBig
from flowcontrol.expressions import to_json

DEEPEST_STATE: Final = 500
"""Levels of lists and objects inside one another; SQLite reads JSON up to 1,000."""

_TOO_DEEP: Final = f"The state is nested more than {DEEPEST_STATE} levels deep."

# Made once: json.dumps would build an encoder for every call.
text_of: Final = json.JSONEncoder(ensure_ascii=False).encode
_strict_text_of: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def storable(answer: Any) -> Directive | None:
    """What an action answered, as something that can be written down.

    Raises:
        AuthorError: it is no directive, or one with something in it that has no place there.
    """
    match answer:
        case None | Continue() | Leave() | Break():
            return answer
        case Enter(memo, names, items):
            if memo is None and names is None and items is None:
                return answer
            variables: Any = to_json(dict(names), where="the loop variables") if names else None
            return Enter(to_json(memo, where="the memo"), variables, _list(items))
        case Abort(reason):
            return Abort(str(reason or ""))
        case Suspend() | SuspendAndRepeat():
            # Annotations bind nobody at run time.
            until: Any = answer.until
            event: Any = answer.for_event
            if until is not None and not (isinstance(until, datetime) and timezone.is_aware(until)):
                raise AuthorError(f"A run can wait only until an aware datetime, not {until!r}.")
            if event is not None and not isinstance(event, str):
                raise AuthorError(f"A run waits for a trigger by its name, not by {event!r}.")
            if not isinstance(answer, SuspendAndRepeat):
                return answer
            if answer.items is not None:
                answer = replace(answer, items=_list(answer.items))
            if answer.memo is not UNCHANGED:
                answer = replace(answer, memo=to_json(answer.memo, where="the memo"))
            parking: Directive = answer
            return parking
    raise AuthorError(f"It returned {answer!r}; an action returns a FlowDirective or None.")


def _list(items: Any) -> Any:
    if items is not None and not isinstance(items, list):
        raise AuthorError(f"The items of a block are a list, not {items!r:.100}.")
    return to_json(items, where="the items")


def store_result(state: dict[str, Any], key: str, answer: Directive | None) -> None:
    """Put the result that an answer carries under ``key``, where there is one and a key for it."""
    if key and isinstance(answer, Continue) and answer.result is not NO_RESULT:
        state[key] = to_json(answer.result, where=f"result {key!r}")


def state_text(state: Any, most: int) -> str:
    """The JSON text of a state.

    Raises:
        NotJSON: something in it cannot be stored; the message says what and where.
    """
    if not isinstance(state, dict):
        raise NotJSON(f"The state has to stay an object, it became {type(state).__name__}.")
    try:
        text = _strict_text_of(state)
        text.encode()
        storable = "\\u0000" not in text
    except (TypeError, ValueError):
        storable = False
    except RecursionError:
        raise NotJSON(_TOO_DEEP) from None
    if storable and text.count("[") + text.count("{") > DEEPEST_STATE:
        _check_depth(state)
    if not storable:
        # to_json converts what it can (dates, say) and names the place of what it cannot.
        text = text_of(to_json(state, where="the state"))
    check_size(text, most)
    return text


def _check_depth(state: Any) -> None:
    """Refuse what is nested so deep that a database, or another Python, does not read it.

    Raises:
        NotJSON: it has more than :data:`DEEPEST_STATE` levels.
    """
    level, depth = [state], 0
    while level:
        depth += 1
        if depth > DEEPEST_STATE:
            raise NotJSON(_TOO_DEEP)
        inside = (item.values() if isinstance(item, dict) else item for item in level)
        level = [value for values in inside for value in values if isinstance(value, dict | list)]


def check_size(text: str, most: int, what: str = "The state") -> None:
    """Refuse a state, or a list that a block walks over, that has grown out of bounds.

    Raises:
        StateTooBig: it has more than ``most`` characters.
    """
    if len(text) > most:
        raise StateTooBig(
            f"{what} has grown to {len(text):,} characters; the most allowed are "
            f"{most:,} (FLOWCONTROL_MAX_STATE_BYTES)."
        )
