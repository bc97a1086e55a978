"""The document of a flow: everything a run depends on, as plain JSON.

A version is such a document; drafts are read from and written to it; files hold it::

    {"format": 1,
     "content_type": "demo.flight", "condition": "", "state_schema": null, "identity": null,
     "actions": [{"uid": "…", "action": "if", "schema_version": 1,
                  "config": {"condition": "object.dep_delay > 180"},
                  "label": "", "note": "", "enabled": true, "retry": null, "on_error": null,
                  "result_key": "", "children": [ … ]}]}

``identity`` is the natural key (user name) of the user whose rights object actions need.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from flowcontrol.exceptions import DocumentError
from flowcontrol.registry import LONGEST_ACTION, actions

FORMAT: Final = 1

JSONObject = dict[str, Any]

ROW_DEFAULTS: Final[Mapping[str, Any]] = {
    "schema_version": 1,
    "config": {},
    "label": "",
    "note": "",
    "enabled": True,
    "retry": None,
    "on_error": None,
    "result_key": "",
    "children": [],
}
_ROW_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "uid": (str,),
    "action": (str,),
    "schema_version": (int,),
    "config": (dict,),
    "label": (str,),
    "note": (str,),
    "enabled": (bool,),
    "retry": (dict, type(None)),
    "on_error": (dict, type(None)),
    "result_key": (str,),
    "children": (list,),
}
LONGEST: Final[Mapping[str, int]] = {
    "uid": 36,
    "action": LONGEST_ACTION,
    "label": 200,
    "result_key": 100,
}
"""Characters that a row's text may have, as many as the columns of a draft hold."""
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_DOCUMENT_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "content_type": (str, type(None)),
    "condition": (str,),
    "state_schema": (dict, type(None)),
    "identity": (str, type(None)),
    "actions": (list,),
}


class Placed(NamedTuple):
    """A row of a document and where it is: its parent (or none), place and depth from 0."""

    row: JSONObject
    parent: JSONObject | None
    place: int
    depth: int


def row(
    action: str,
    *children: JSONObject,
    uid: str = "",
    label: str = "",
    note: str = "",
    enabled: bool = True,
    result_key: str = "",
    retry: JSONObject | None = None,
    on_error: JSONObject | None = None,
    **config: Any,
) -> JSONObject:
    """One row; keyword arguments without a meaning of their own are its config.

    The config is in the form that the action type has when :func:`make_document` is called.

    >>> row("if", row("log", message="late"), condition="n > 3")["children"][0]["config"]
    {'message': 'late'}
    """
    return {
        **ROW_DEFAULTS,
        "uid": uid,
        "action": action,
        "schema_version": None,
        "config": config,
        "label": label,
        "note": note,
        "enabled": enabled,
        "retry": retry,
        "on_error": on_error,
        "result_key": result_key,
        "children": list(children),
    }


def make_document(
    *rows: JSONObject,
    content_type: str | None = None,
    condition: str = "",
    state_schema: JSONObject | None = None,
    identity: str | None = None,
) -> JSONObject:
    """A complete document of ``rows``; rows without a uid are named after their place."""
    document = {
        "format": FORMAT,
        "content_type": content_type,
        "condition": condition,
        "state_schema": state_schema,
        "identity": identity,
        "actions": [_named(item, str(number)) for number, item in enumerate(rows, 1)],
    }
    return read_document(document)


def _named(item: JSONObject, place: str) -> JSONObject:
    children = [
        _named(child, f"{place}.{number}") for number, child in enumerate(item["children"], 1)
    ]
    # Places deep down are longer than a uid may be.
    short = place if len(place) <= LONGEST["uid"] else hashlib.sha256(place.encode()).hexdigest()
    action_type = actions.find(item["action"])
    return {
        **item,
        "uid": item["uid"] or short[: LONGEST["uid"]],
        "schema_version": item["schema_version"]
        or (action_type.schema_version if action_type else 1),
        "children": children,
    }


def read_document(data: Any) -> JSONObject:
    """A copy of ``data`` as a document of today's format, what may be left out filled in.

    Raises:
        DocumentError: it is not a document; the message says where it goes wrong.
    """
    if not isinstance(data, Mapping):
        raise DocumentError("A flow document is a JSON object.")
    data = plain_json(data)
    if data.get("format") != FORMAT:
        raise DocumentError(
            f"This document has format {data.get('format')!r}; this release reads format {FORMAT}."
        )
    document = {
        "format": FORMAT,
        "content_type": data.get("content_type"),
        "condition": data.get("condition", ""),
        "state_schema": data.get("state_schema"),
        "identity": data.get("identity"),
        "actions": data.get("actions", []),
    }
    _check_types(document, _DOCUMENT_TYPES, "the document")
    if unknown := set(data) - set(document):
        raise DocumentError(f"Unknown key {min(unknown)!r} in the document.")
    seen: set[str] = set()
    document["actions"] = [
        _read_row(item, f"row {number}", seen) for number, item in enumerate(document["actions"], 1)
    ]
    return document


def plain_json(data: Any) -> Any:
    """A copy made by way of JSON text: nothing shared, nothing that a database would refuse.

    Raises:
        DocumentError: it is no JSON, or has a text that cannot be stored.
    """
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
        text.encode()
        copy = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError(f"This is not plain JSON: {error}") from error
    if _NUL.search(text):
        raise DocumentError("A text has the character NUL (\\u0000) in it.")
    return copy


def _read_row(data: Any, where: str, seen: set[str]) -> JSONObject:
    if not isinstance(data, dict):
        raise DocumentError(f"{where} is not a JSON object.")
    item = {**ROW_DEFAULTS, **data}
    if unknown := set(item) - set(_ROW_TYPES):
        raise DocumentError(f"Unknown key {min(unknown)!r} in {where}.")
    if missing := set(_ROW_TYPES) - set(item):
        raise DocumentError(f"Key {min(missing)!r} is missing in {where}.")
    _check_types(item, _ROW_TYPES, where)
    for key, most in LONGEST.items():
        if len(item[key]) > most:
            raise DocumentError(f"Key {key!r} of {where} has more than {most} characters.")
    if not item["uid"] or not item["action"]:
        raise DocumentError(f"Key {'action' if item['uid'] else 'uid'!r} of {where} is empty.")
    if item["schema_version"] < 1:
        raise DocumentError(f"Key 'schema_version' of {where} is less than 1.")
    if item["uid"] in seen:
        raise DocumentError(f"The uid {item['uid']!r} of {where} is there twice.")
    seen.add(item["uid"])
    item["config"] = dict(item["config"])
    item["children"] = [
        _read_row(child, f"{where}.{number}", seen)
        for number, child in enumerate(item["children"], 1)
    ]
    return item


def _check_types(
    data: Mapping[str, Any], types: Mapping[str, tuple[type, ...]], where: str
) -> None:
    for key, allowed in types.items():
        value = data[key]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise DocumentError(f"Key {key!r} of {where} has a value of the wrong type.")


def walk(document: Mapping[str, Any], *, only_enabled: bool = False) -> Iterator[Placed]:
    """All rows in the order in which they are read, parents first.

    ``only_enabled`` leaves out what is switched off, with everything inside it.
    """
    return _walk(document["actions"], None, 0, only_enabled)


def _walk(
    rows: Sequence[JSONObject], parent: JSONObject | None, depth: int, only_enabled: bool
) -> Iterator[Placed]:
    for index, item in enumerate(rows):
        if item["enabled"] or not only_enabled:
            yield Placed(item, parent, index, depth)
            yield from _walk(item["children"], item, depth + 1, only_enabled)


def canonical(document: Mapping[str, Any]) -> str:
    """The one text that equal documents share."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def checksum(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical text, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()
