"""Flows in files: a button that gives the file, and pages that read one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.config_widgets import CodeInput, LineInput
from flowcontrol.admin.differences import difference_of
from flowcontrol.admin.flow_pages import FlowVisit
from flowcontrol.admin.pages import (
    BREADCRUMBS_ARE_A_LIST,
    STYLES,
    Crumb,
    Page,
    site_crumbs,
)
from flowcontrol.admin.rights import rights_of
from flowcontrol.documents import walk
from flowcontrol.exceptions import AuthorError, DocumentError, DraftRefused, StaleDraft
from flowcontrol.transfer import FlowFile, Imported, export_text, import_flow, preview, read_file

if TYPE_CHECKING:
    from flowcontrol.admin.flows import FlowAdmin

LARGEST: Final = 2_000_000
"""Bytes of a file that a page takes; the command takes any."""


class FileForm(forms.Form):
    """A file, or what was read from one on the page before."""

    file = forms.FileField(label=gettext_lazy("File"), required=False)
    text = forms.CharField(required=False, strip=False, widget=forms.HiddenInput())

    read: FlowFile

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        upload = cleaned.get("file")
        if "file" in self.errors:
            return cleaned  # an empty file, say: that is told at its field
        if upload is None and not cleaned.get("text"):
            raise ValidationError(_("Choose a file."))
        if upload is not None:
            if upload.size > LARGEST:
                raise ValidationError(
                    _("The file is larger than %(size)d kB. Import it by the command line.")
                    % {"size": LARGEST // 1000}
                )
            try:
                cleaned["text"] = upload.read().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise ValidationError(_("The file is not UTF-8 text.")) from error
        try:
            self.read = read_file(cleaned["text"])
        except (DocumentError, DraftRefused) as error:
            raise ValidationError(str(error)) from error
        return cleaned


class NewFlowForm(FileForm):
    """The same, for a new flow."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        required=False,
        max_length=200,
        widget=LineInput(),
        help_text=gettext_lazy("Empty: as in the file."),
    )
    slug = forms.SlugField(
        label=gettext_lazy("Short name"),
        required=False,
        max_length=100,
        widget=CodeInput(),
        help_text=gettext_lazy("Empty: as in the file. One that is taken gets a number."),
    )


# --- out ----------------------------------------------------------------------------------------


def export(visit: FlowVisit) -> HttpResponse:
    """The file of the draft, or of a version; with secrets for those who may see them, if asked."""
    number = visit.request.GET.get("version", "")
    version = None
    if number:
        version = visit.flow.versions.filter(number=number).first() if number.isdecimal() else None
        if version is None:
            raise Http404(f"This flow has no version {number}.")
    reveal = visit.request.GET.get("secrets") == "1"
    if reveal and not visit.rights.reveal_secrets:
        raise PermissionDenied
    try:
        text = export_text(visit.flow, version, reveal_secrets=reveal)
    except DocumentError as error:
        raise Http404(str(error)) from error
    answer = HttpResponse(text, content_type="application/json")
    name = visit.flow.slug if version is None else f"{visit.flow.slug}-v{version.number}"
    answer["Content-Disposition"] = f'attachment; filename="{name}.json"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


# --- in -----------------------------------------------------------------------------------------


def import_into(visit: FlowVisit) -> HttpResponse:
    """Read a file, show what it changes and what is missing, then write it into the draft."""
    form = FileForm(
        visit.request.POST if visit.is_post else None,
        visit.request.FILES if visit.is_post else None,
    )
    warning = ""
    if visit.is_post and form.is_valid() and "confirmed" in visit.request.POST:
        try:
            imported = import_flow(
                form.read, into=visit.flow, revision=visit.posted_revision(), user=visit.user
            )
        except StaleDraft as stale:
            visit.flow.refresh_from_db(fields=["draft_revision"])
            warning = visit.stale_message(stale)
        except (DraftRefused, AuthorError) as refused:
            warning = str(refused)
        else:
            visit.note_change(_("Imported a file into the draft"))
            visit.tell(_("The draft now says what the file says."))
            _tell_missing(visit.request, imported)
            return visit.redirect("actions")
    shown = form.read if visit.is_post and form.is_valid() else None
    context: dict[str, Any] = {}
    if shown is not None:
        context = {
            "difference": difference_of(
                visit.draft, shown.document, reveal_secrets=visit.rights.reveal_secrets
            ),
            "missing": preview(shown, into=visit.flow, user=visit.user),
            "text": form.cleaned_data["text"],
            "has_tests": shown.tests is not None,
        }
    return visit.render_flow(
        "import_into.html",
        subtitle=_("Import into the draft"),
        crumbs=[Crumb(_("Versions"), visit.url("versions")), Crumb(_("Import"))],
        form=form,
        file=shown,
        warning=warning,
        **context,
    )


def import_new(admin: FlowAdmin, request: HttpRequest) -> HttpResponse:
    """Read a file, show what is missing, then make a flow of it."""
    if not admin.has_view_permission(request) or not admin.has_add_permission(request):
        raise PermissionDenied
    if request.method not in ("GET", "HEAD", "POST"):
        return HttpResponseNotAllowed(["GET", "POST"])
    is_post = request.method == "POST"
    form = NewFlowForm(request.POST if is_post else None, request.FILES if is_post else None)
    is_valid = is_post and form.is_valid()
    if is_valid and "confirmed" in request.POST:
        try:
            imported = import_flow(
                form.read,
                name=form.cleaned_data["name"],
                slug=form.cleaned_data["slug"],
                with_triggers=request.user.has_perm("flowcontrol.add_trigger"),
                user=request.user,
            )
        except (DraftRefused, AuthorError) as refused:
            form.add_error(None, str(refused))
        else:
            return _imported(admin, request, form.read, imported)
    site = admin.admin_site
    request.current_app = site.name
    file = form.read if is_valid else None
    return TemplateResponse(
        request,
        "flowcontrol/admin/import_new.html",
        {
            **site.each_context(request),
            "title": _("Import a flow"),
            "opts": admin.opts,
            "form": form,
            "file": file,
            "missing": preview(file, user=request.user) if file is not None else (),
            "row_count": sum(1 for _row in walk(file.document)) if file is not None else 0,
            "text": form.cleaned_data.get("text", "") if file is not None else "",
            "crumbs": [*site_crumbs(admin, site.name), Crumb(_("Import"))],
            "crumbs_are_a_list": BREADCRUMBS_ARE_A_LIST,
            "styles": STYLES,
        },
    )


def _imported(
    admin: FlowAdmin, request: HttpRequest, file: FlowFile, imported: Imported
) -> HttpResponse:
    flow = imported.flow
    admin.log_addition(request, flow, _("Imported from a file"))
    visit = FlowVisit(admin, request, flow, rights_of(admin, request, flow))
    visit.tell(_("The flow was imported. It is off and has not been published."))
    if file.triggers and not request.user.has_perm("flowcontrol.add_trigger"):
        told = _("The triggers in the file were left out, for you may not add triggers.")
        visit.tell(told, messages.WARNING)
    _tell_missing(request, imported)
    return visit.redirect("actions")


def _tell_missing(request: HttpRequest, imported: Imported) -> None:
    for each in imported.missing[:10]:
        messages.warning(request, str(each))
    if len(imported.missing) > 10:
        messages.warning(request, _("And %(count)d more.") % {"count": len(imported.missing) - 10})


TRANSFER_PAGES: Final = (
    Page("export/", "export", export),
    Page("import/", "import_into", import_into, get="change", post="change"),
)
