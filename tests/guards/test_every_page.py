"""Every address of the admin is looked at in a browser, or there is a reason why not."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib import admin
from django.urls import URLPattern

from flowcontrol.admin.pages import PagesAdmin
from tests.every_page import LOOKS, NOT_LOOKED_AT, ONLY_POSTED


def addresses() -> Iterator[str]:
    """The names of all addresses under flowcontrol's models, as the admin makes them."""
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label == "flowcontrol":
            for pattern in model_admin.get_urls():
                assert isinstance(pattern, URLPattern)
                if pattern.name is not None:  # Django's old addresses, which only redirect
                    yield pattern.name.removeprefix("flowcontrol_")


def test_every_page_is_looked_at_or_there_is_a_reason() -> None:
    found = set(addresses())
    assert found - LOOKS.keys() - NOT_LOOKED_AT.keys() == set()
    assert (LOOKS.keys() | NOT_LOOKED_AT.keys()) - found == set()
    assert LOOKS.keys() & NOT_LOOKED_AT.keys() == set()


def test_what_is_said_to_be_only_posted_has_no_page() -> None:
    can_be_shown = {
        f"{model._meta.model_name}_{page.name}"
        for model, model_admin in admin.site._registry.items()
        if isinstance(model_admin, PagesAdmin)
        for page in model_admin.pages
        if page.get is not None
    }
    assert can_be_shown & ONLY_POSTED == set()
