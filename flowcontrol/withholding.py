"""Leaving secrets out of rows that go where others can read them, and putting them back.

Copied text and exported files are read by whoever has them. What a type's schema calls secret is
left out, and named, so that whoever brings the rows back knows what to fill in; where the rows
still are, it comes from there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from flowcontrol.documents import JSONObject
from flowcontrol.registry import actions
from flowcontrol.schemas import MASK
from flowcontrol.sentences import shown_config

Path: TypeAlias = list[str | int]

LeftOut: TypeAlias = dict[str, list[Path]]
"""By the id of a row, the ways to what is missing in its config; an empty way: all of it."""


def without_secrets(rows: Sequence[JSONObject]) -> tuple[list[JSONObject], LeftOut]:
    """Nested rows without their secrets, and what was left out.

    Of a row whose type is not known here, or has changed since, nobody knows what is secret: its
    whole config is left out.
    """
    left_out: LeftOut = {}
    return [_without_secrets(row, left_out) for row in rows], left_out


def _without_secrets(row: JSONObject, left_out: LeftOut) -> JSONObject:
    config: Any = row["config"]
    action_type = actions.find(row["action"])
    is_current = action_type is not None and action_type.schema_version == row["schema_version"]
    shown = shown_config(row, reveal_secrets=False) if is_current else None
    if shown is None:
        if config:
            left_out[row["uid"]] = [[]]
        config = {}
    elif paths := list(_hidden(config, shown)):
        left_out[row["uid"]] = paths
        config = _without(config, shown)
    children = [_without_secrets(child, left_out) for child in row["children"]]
    return {**row, "config": config, "children": children}


def _hidden(value: Any, shown: Any) -> Iterator[Path]:
    if _is_hidden(value, shown):
        yield []
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from ([name, *path] for path in _hidden(inner, shown[name]))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from ([number, *path] for path in _hidden(inner, shown[number]))


def _is_hidden(value: Any, shown: Any) -> bool:
    return bool(shown == MASK and value != MASK)


def _without(value: Any, shown: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without(inner, shown[name])
            for name, inner in value.items()
            if not _is_hidden(inner, shown[name])
        }
    if isinstance(value, list):
        # An entry keeps its place, so that the others keep theirs.
        return [
            "" if _is_hidden(inner, told) else _without(inner, told)
            for inner, told in zip(value, shown, strict=True)
        ]
    return value


def with_secrets(
    rows: Sequence[JSONObject], left_out: LeftOut, sources: Mapping[str, JSONObject]
) -> tuple[list[JSONObject], LeftOut]:
    """Nested rows with what was left out, as far as ``sources`` have it; and what is missing yet.

    ``sources`` are rows by id. One of another type, or of another version of it, is no source:
    what is secret there might be shown here.
    """
    missing: LeftOut = {}
    return [_with_secrets(row, left_out, sources, missing) for row in rows], missing


def _with_secrets(
    row: JSONObject, left_out: LeftOut, sources: Mapping[str, JSONObject], missing: LeftOut
) -> JSONObject:
    config, source = copy.deepcopy(row["config"]), sources.get(row["uid"])
    for path in left_out.get(row["uid"], ()):
        if source is None or not _is_alike(row, source):
            missing.setdefault(row["uid"], []).append(path)
        elif not path:
            config = copy.deepcopy(source["config"])
        elif not _put_back(config, path, source["config"]):
            missing.setdefault(row["uid"], []).append(path)
    children = [_with_secrets(child, left_out, sources, missing) for child in row["children"]]
    return {**row, "config": config, "children": children}


def _is_alike(row: JSONObject, source: JSONObject) -> bool:
    return all(row[name] == source[name] for name in ("action", "schema_version"))


def _put_back(config: Any, path: Path, source: Any) -> bool:
    *way, last = path
    try:
        for step in way:
            config, source = config[step], source[step]
        config[last] = copy.deepcopy(source[last])
    except (KeyError, IndexError, TypeError):
        return False
    return True
