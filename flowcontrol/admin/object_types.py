"""The models that a flow can be about, and the objects of a list, read together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.utils.text import capfirst

from flowcontrol.conf import settings
from flowcontrol.models import load_objects

if TYPE_CHECKING:
    from django.db.models import Model

    from flowcontrol.models.references import Reference

INTERNAL: Final = frozenset({"admin", "contenttypes", "flowcontrol", "sessions"})
"""Apps whose models are about the site itself. ``FLOWCONTROL_CONTENT_TYPES`` may name them."""

INTERNAL_MODELS: Final = frozenset({"auth.permission"})


def models_for_flows() -> list[type[Model]]:
    """The models of ``FLOWCONTROL_CONTENT_TYPES``, or all that are not the site's own."""
    if settings.CONTENT_TYPES is not None:
        wanted = {name.lower() for name in settings.CONTENT_TYPES}
        return [model for model in apps.get_models() if model._meta.label_lower in wanted]
    return [
        model
        for model in apps.get_models()
        if model._meta.app_label not in INTERNAL
        and model._meta.label_lower not in INTERNAL_MODELS
        and not model._meta.swapped
    ]


def object_types() -> list[ContentType]:
    """The content types of :func:`models_for_flows`, by name."""
    found = ContentType.objects.get_for_models(*models_for_flows(), for_concrete_models=False)
    return sorted(found.values(), key=type_label)


def type_label(content_type: ContentType) -> str:
    """``Flight (Demo)``."""
    model = content_type.model_class()
    if model is None:
        return f"{content_type.app_label}.{content_type.model}"
    app = apps.get_app_config(content_type.app_label).verbose_name
    return f"{capfirst(str(model._meta.verbose_name))} ({app})"


def objects_of(references: Iterable[Reference]) -> dict[Reference, Model]:
    """The objects of a list, one query per model; those that cannot be read are left out."""
    found: dict[Reference, Model] = {}
    by_type: dict[int | None, list[Reference]] = {}
    for reference in references:
        by_type.setdefault(reference[0], []).append(reference)
    for group in by_type.values():
        try:
            found.update(load_objects(group))
        except (ValueError, ValidationError):
            # A key that its model cannot have: the model got another kind of key since.
            continue
    return found
