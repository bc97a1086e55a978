"""Which filters expressions and templates know.

Ours (`flowcontrol.filters`), unless ``FLOWCONTROL_DISABLE_DEFAULT_FILTERS``; then those of the
libraries in ``FLOWCONTROL_TEMPLATE_FILTERS``, where a later one replaces an earlier one of the same
name. Django's built-in filters are not among them: many answer a wrong value with empty text or 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.template import Library
from django.template.backends.django import get_installed_libraries
from django.template.library import InvalidTemplateLibrary, import_library

from flowcontrol.conf import settings

DEFAULT_LIBRARY: Final = "flowcontrol.filters"

Filter = Callable[..., Any]


@cache
def active_filters() -> dict[str, Filter]:
    """Name → function of every filter that may be used now."""
    filters: dict[str, Filter] = {}
    if not settings.DISABLE_DEFAULT_FILTERS:
        filters.update(import_library(DEFAULT_LIBRARY).filters)
    for name in settings.TEMPLATE_FILTERS:
        filters.update(_library(name).filters)
    return filters


def available_filters() -> dict[str, str]:
    """Name → one line of help of every filter that may be used now, by name."""
    return {name: _help(function) for name, function in sorted(active_filters().items())}


@dataclass(frozen=True, slots=True)
class FilterHelp:
    """What a person should know of a filter: ``argument`` is needed, may be given, or is not."""

    name: str
    help: str
    argument: Literal["needed", "possible", "none"]


def filter_help() -> list[FilterHelp]:
    """Every filter that may be used now, by name."""
    return [
        FilterHelp(name, _help(function), _argument(function))
        for name, function in sorted(active_filters().items())
    ]


def _argument(function: Filter) -> Literal["needed", "possible", "none"]:
    _value, *parameters = inspect.signature(inspect.unwrap(function)).parameters.values()
    given = [each for each in parameters if each.name != "autoescape"]
    if not given:
        return "none"
    return "needed" if given[0].default is inspect.Parameter.empty else "possible"


def _help(function: Filter) -> str:
    text = inspect.getdoc(inspect.unwrap(function)) or ""
    return " ".join(text.split("\n\n")[0].split())


def _library(name: str) -> Library:
    path = name if "." in name else get_installed_libraries().get(name, "")
    if not path:
        raise ImproperlyConfigured(
            f'FLOWCONTROL_TEMPLATE_FILTERS names "{name}", which is no template library of an '
            f"installed app. Write its name as in {{% load %}}, or its dotted path."
        )
    try:
        return import_library(path)
    except InvalidTemplateLibrary as error:
        raise ImproperlyConfigured(f"FLOWCONTROL_TEMPLATE_FILTERS: {error}") from error


def on_filters_changed(forget: Callable[[], object]) -> None:
    """Have ``forget`` called when a setting changes on which the filters depend (in tests)."""

    def changed(*, setting: str, **_: Any) -> None:
        if setting in {
            "FLOWCONTROL_TEMPLATE_FILTERS",
            "FLOWCONTROL_DISABLE_DEFAULT_FILTERS",
            "INSTALLED_APPS",
        }:
            forget()

    setting_changed.connect(changed, weak=False)


on_filters_changed(active_filters.cache_clear)
