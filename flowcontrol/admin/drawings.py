"""Drawings: of the draft, of a version, of the way a run took; to look at and to take away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.http import Http404, HttpResponse
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from django.utils.translation import gettext as _

from flowcontrol.admin.flow_pages import FlowVisit
from flowcontrol.admin.pages import Crumb, Page
from flowcontrol.documents import JSONObject, read_document
from flowcontrol.exceptions import DocumentError
from flowcontrol.rendering import Path, to_dot, to_mermaid, to_svg
from flowcontrol.run_paths import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowcontrol.admin.runs import RunVisit

FILES: Final[Mapping[str, tuple[Callable[..., str], str, str]]] = {
    "svg": (to_svg, "image/svg+xml", "svg"),
    "mermaid": (to_mermaid, "text/plain; charset=utf-8", "mmd"),
    "dot": (to_dot, "text/plain; charset=utf-8", "dot"),
}
"""What a drawing can be taken away as: how it is made, its type, the end of its name."""


def picture(
    document: JSONObject, title: str, *, path: Path | None = None, reveal_secrets: bool
) -> SafeString:
    """The drawing as a part of a page."""
    drawn = to_svg(
        document, title=title, path=path, reveal_secrets=reveal_secrets, standalone=False
    )
    # Every text and every attribute in it was escaped where it was drawn.
    return mark_safe(drawn)


def draw_flow(visit: FlowVisit) -> HttpResponse:
    """The draft, or a version by its number, as a picture or as a file (``?file=svg``)."""
    number = visit.request.GET.get("version", "")
    version = None
    if number:
        version = visit.flow.versions.filter(number=number).first() if number.isdecimal() else None
        if version is None:
            raise Http404(f"This flow has no version {number}.")
    title = str(visit.flow if version is None else version)
    try:
        document = visit.draft if version is None else read_document(version.document)
    except DocumentError as error:
        raise Http404(str(error)) from error
    reveal = visit.rights.reveal_secrets
    if answer := _file(visit.request.GET.get("file"), document, title, reveal_secrets=reveal):
        return answer
    crumbs = [Crumb(_("Drawing"))]
    if version is not None:
        told = _("Version %(number)d") % {"number": version.number}
        crumbs = [
            Crumb(_("Versions"), visit.url("versions")),
            Crumb(told, visit.url("version", version.number)),
            *crumbs,
        ]
    return visit.render_flow(
        "drawing.html",
        subtitle=_("Drawing"),
        crumbs=crumbs,
        picture=picture(document, title, reveal_secrets=reveal),
        query=f"version={version.number}&" if version is not None else "",
        files=[*FILES],
    )


def draw_run(visit: RunVisit) -> HttpResponse:
    """The way a run took through its version."""
    try:
        document = read_document(visit.run.version.document)
    except DocumentError as error:
        raise Http404(str(error)) from error
    path, reveal = path_of(visit.run), visit.rights.reveal_secrets
    given = visit.request.GET.get("file")
    if answer := _file(given, document, visit.title, path=path, reveal_secrets=reveal):
        return answer
    return visit.render(
        "drawing.html",
        title=visit.title,
        subtitle=_("Drawing"),
        crumbs=[Crumb(f"#{visit.run.pk}", visit.url("change")), Crumb(_("Drawing"))],
        picture=picture(document, visit.title, path=path, reveal_secrets=reveal),
        query="",
        files=[*FILES],
        is_run=True,
    )


def _file(
    kind: str | None, document: JSONObject, title: str, **options: Any
) -> HttpResponse | None:
    if kind is None:
        return None
    if kind not in FILES:
        raise Http404("There is no such kind of drawing.")
    draw, content_type, end = FILES[kind]
    answer = HttpResponse(draw(document, title=title, **options), content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="{slugify(title) or "flow"}.{end}"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


DRAWING_PAGES: Final = (Page("drawing/", "drawing", draw_flow),)
RUN_DRAWING_PAGES: Final = (Page("drawing/", "drawing", draw_run),)
