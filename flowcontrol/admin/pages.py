"""Our own pages under a model's admin: a table of them, who may see each, what all of them show.

A :class:`Page` says where it is, which function answers, and which right each method needs;
:class:`PagesAdmin` makes the addresses and lets nobody through who may not. The function gets a
:class:`Visit` and calls use-cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NamedTuple, TypeVar

import django
from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flowcontrol.admin.rights import Right, Rights, rights_of

M = TypeVar("M", bound=Model)

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    class _ModelAdmin(admin.ModelAdmin[M]):
        pass
else:

    class _ModelAdmin(admin.ModelAdmin, Generic[M]):
        pass


BREADCRUMBS_ARE_A_LIST: Final = django.VERSION >= (6, 1)
"""Since 6.1 Django's breadcrumbs are a list, before they were lines in a ``div``."""

STYLES: Final = "flowcontrol/admin.css"


class Crumb(NamedTuple):
    """A step of the way to a page; without an address it is the page itself."""

    title: _StrOrPromise
    url: str = ""


@dataclass(frozen=True)
class Page:
    """One address of ours: its path below the object's, its name, what answers, who may ask.

    ``get`` and ``post`` are the rights that the methods need, or ``None`` where there is no such
    method.
    """

    path: str
    name: str
    view: Callable[..., HttpResponse]
    get: Right | None = "view"
    post: Right | None = None

    def right_for(self, method: str | None) -> Right | None:
        if method in ("GET", "HEAD"):
            return self.get
        return self.post if method == "POST" else None

    @property
    def methods(self) -> list[str]:
        return [name for name, right in (("GET", self.get), ("POST", self.post)) if right]


@dataclass
class Visit(Generic[M]):
    """One request to a page of ours: who asks, about what, and how to answer."""

    admin: PagesAdmin[M]
    request: HttpRequest
    obj: M
    rights: Rights

    @property
    def is_post(self) -> bool:
        return self.request.method == "POST"

    @property
    def is_partial(self) -> bool:
        """Whether a page that is already there asks for a part, by htmx, and not a browser."""
        return self.request.headers.get("HX-Request") == "true"

    @property
    def site(self) -> AdminSite:
        return self.admin.admin_site

    @property
    def user(self) -> Any:
        return self.request.user

    def url(self, name: str, *args: Any) -> str:
        """The address of a page of this object; ``change`` and ``delete`` are Django's."""
        opts = self.admin.opts
        return reverse(
            f"admin:{opts.app_label}_{opts.model_name}_{name}",
            args=(self.obj.pk, *args),
            current_app=self.site.name,
        )

    def redirect(self, name: str, *args: Any, anchor: str = "") -> HttpResponseRedirect:
        return HttpResponseRedirect(self.url(name, *args) + (f"#{anchor}" if anchor else ""))

    def tell(self, message: _StrOrPromise, level: int = messages.SUCCESS) -> None:
        """Show a message on the next page."""
        messages.add_message(self.request, level, message)

    def tell_error(self, message: _StrOrPromise) -> None:
        self.tell(message, messages.ERROR)

    def note_change(self, message: str) -> None:
        """Write into Django's log who changed what about the object."""
        self.admin.log_change(self.request, self.obj, message)

    def crumbs_to(self, *crumbs: Crumb) -> list[Crumb]:
        """The whole way to a page."""
        return [*site_crumbs(self.admin, self.site.name), *crumbs]

    def render(
        self,
        template: str,
        *,
        title: _StrOrPromise,
        subtitle: _StrOrPromise | None = None,
        crumbs: Sequence[Crumb] = (),
        status: int = 200,
        **context: Any,
    ) -> TemplateResponse:
        """A page in the look of the admin site."""
        site = self.site
        self.request.current_app = site.name
        return TemplateResponse(
            self.request,
            f"flowcontrol/admin/{template}",
            {
                **site.each_context(self.request),
                "title": title,
                "subtitle": subtitle,
                "opts": self.admin.opts,
                "original": self.obj,
                "visit": self,
                "rights": self.rights,
                "crumbs": self.crumbs_to(*crumbs),
                "crumbs_are_a_list": BREADCRUMBS_ARE_A_LIST,
                "styles": STYLES,
                **context,
            },
            status=status,
        )


def site_crumbs(model_admin: admin.ModelAdmin[Any], site_name: str) -> list[Crumb]:
    """The way from the site to a model's list."""
    opts = model_admin.opts

    def url(name: str, **kwargs: str) -> str:
        return reverse(f"admin:{name}", kwargs=kwargs, current_app=site_name)

    return [
        Crumb(_("Home"), url("index")),
        Crumb(opts.app_config.verbose_name, url("app_list", app_label=opts.app_label)),
        Crumb(
            capfirst(str(opts.verbose_name_plural)),
            url(f"{opts.app_label}_{opts.model_name}_changelist"),
        ),
    ]


class PagesAdmin(_ModelAdmin[M]):
    """The admin of a model that has pages of its own beside Django's."""

    pages: ClassVar[Sequence[Page]] = ()

    def get_urls(self) -> list[URLPattern]:
        opts = self.opts
        ours = [
            path(
                f"<int:pk>/{page.path}",
                self.admin_site.admin_view(partial(self.answer, page)),
                name=f"{opts.app_label}_{opts.model_name}_{page.name}",
            )
            for page in self.pages
        ]
        return [*ours, *super().get_urls()]

    def answer(self, page: Page, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponse:
        """Let ``page`` answer, if the person may ask it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        right = page.right_for(request.method)
        if right is None:
            return HttpResponseNotAllowed(page.methods)
        visit = self.visit(request, pk)
        if not visit.rights[right]:
            raise PermissionDenied
        return page.view(visit, **kwargs)

    def visit(self, request: HttpRequest, pk: int) -> Visit[M]:
        """Raises ``Http404`` if there is no such object."""
        obj = get_object_or_404(self.get_queryset(request), pk=pk)
        return Visit(self, request, obj, rights_of(self, request, obj))
