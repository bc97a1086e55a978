"""What is ticked in a list: refused with a message where Django would answer with an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = object


class SelectionMixin(_ModelAdmin):
    """Reads the keys of a selection before Django puts them into a query."""

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if all(can_be_key(self.model, key) for key in keys):
            return super().response_action(request, queryset, *args, **kwargs)
        told = _("The selection cannot be read, so nothing was done. Tick the rows again.")
        self.message_user(request, told, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())


def can_be_key(model: type[Model], key: str) -> bool:
    """Whether an object of ``model`` can have this key."""
    pk = model._meta.pk
    assert pk is not None
    try:
        pk.run_validators(pk.to_python(key))
    except ValidationError:
        return False
    return True
