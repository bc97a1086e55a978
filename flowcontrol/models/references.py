"""Pointing at objects of any model, with keys of any type, and reading many of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import models

Reference = tuple[int | None, str | None]
"""Content type id and key as text; both ``None`` for no object."""


def object_reference(obj: models.Model | None) -> dict[str, Any]:
    """The two columns that point at ``obj``; its key as text, whatever its type.

    Raises:
        ValueError: ``obj`` has not been saved, so there is nothing to point at.
    """
    if obj is None:
        return {"content_type": None, "object_id": None}
    if obj.pk is None:
        raise ValueError(f"{obj!r} has to be saved before a run can be about it.")
    return {
        "content_type": ContentType.objects.get_for_model(obj, for_concrete_model=False),
        "object_id": str(obj.pk),
    }


def load_objects(references: Iterable[Reference]) -> dict[Reference, models.Model]:
    """The objects that references point at, without those that are gone: one query per model."""
    wanted: dict[int, set[str]] = {}
    for content_type_id, key in references:
        if content_type_id is not None and key is not None:
            wanted.setdefault(content_type_id, set()).add(key)
    found: dict[Reference, models.Model] = {}
    for content_type_id, keys in wanted.items():
        model = ContentType.objects.get_for_id(content_type_id).model_class()
        if model is None:
            continue
        for obj in model._base_manager.filter(pk__in=_possible(model, keys)).order_by():
            found[content_type_id, str(obj.pk)] = obj
    return found


def user_named(name: str | None) -> Any:
    """The user of this natural key, or ``None``."""
    if not name:
        return None
    users = get_user_model()
    try:
        return users._default_manager.get_by_natural_key(name)
    except users.DoesNotExist:
        return None


def _possible(model: type[models.Model], keys: Iterable[str]) -> list[Any]:
    """Those of ``keys`` that the model's keys can be: one that cannot must not stop the others.

    A model's key can change its type while runs are about its objects.
    """
    possible = []
    for key in keys:
        try:
            possible.append(model._meta.pk.to_python(key))
        except (ValidationError, ValueError, TypeError):
            continue
    return possible
