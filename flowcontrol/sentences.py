"""Rows as people read them, and what of them may be shown: secrets never, to those who may not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from flowcontrol.compiling import current_config
from flowcontrol.documents import JSONObject
from flowcontrol.exceptions import AuthorError
from flowcontrol.registry import actions
from flowcontrol.schemas import mask_secrets


def title_of(item: Mapping[str, Any], *, reveal_secrets: bool = False) -> str:
    """What a row is called: its label, or its sentence."""
    return item["label"] or sentence_of(item, reveal_secrets=reveal_secrets)


def sentence_of(item: Mapping[str, Any], *, reveal_secrets: bool = False) -> str:
    """The sentence that a row's type makes from its config; never empty, never an error."""
    action_type = actions.find(item["action"])
    if action_type is None:
        return _("Unknown action “%(name)s”") % {"name": item["action"]}
    try:
        config = shown_config(item, reveal_secrets=reveal_secrets)
        return str(action_type().sentence(config or {})) or str(action_type.verbose_name)
    except Exception:  # noqa: BLE001 (a sentence is for looks: whatever breaks it, the page stands)
        return str(action_type.verbose_name)


def shown_config(item: Mapping[str, Any], *, reveal_secrets: bool) -> dict[str, Any] | None:
    """The config of a row as it may be shown; ``None`` if nobody knows what in it is secret.

    That is so for a type which is not registered, and for a config that cannot be brought into
    the form that its type has today: the schema that names the secrets does not fit it.
    """
    if reveal_secrets:
        return dict(item["config"])
    action_type = actions.find(item["action"])
    if action_type is None:
        return None
    if item["schema_version"] == action_type.schema_version:
        config = item["config"]
    else:
        try:
            config = current_config(item)
        except AuthorError:
            return None
    masked: dict[str, Any] = mask_secrets(action_type.config_schema, config)
    return masked


def shown_document(document: Mapping[str, Any], *, reveal_secrets: bool) -> JSONObject:
    """A document as it may be shown."""
    return {**document, "actions": [_shown_row(row, reveal_secrets) for row in document["actions"]]}


def _shown_row(item: JSONObject, reveal_secrets: bool) -> JSONObject:
    config = shown_config(item, reveal_secrets=reveal_secrets)
    return {
        **item,
        "config": config if config is not None else _("hidden, for it may hold secrets"),
        "children": [_shown_row(child, reveal_secrets) for child in item["children"]],
    }
