"""Publishing, and what was published: the versions of a flow, to look at, roll back to and load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django import forms
from django.contrib import messages
from django.db.models import Count, Q
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol import publishing
from flowcontrol.admin.config_widgets import TextArea
from flowcontrol.admin.differences import Difference, difference_of
from flowcontrol.admin.drawings import picture
from flowcontrol.admin.flow_pages import FlowVisit, what_changed
from flowcontrol.admin.pages import Crumb, Page
from flowcontrol.admin.rows import RowList, pretty, rows_of
from flowcontrol.documents import read_document
from flowcontrol.drafts import frozen
from flowcontrol.exceptions import (
    AuthorError,
    DocumentError,
    DraftRefused,
    PublishRefused,
    StaleDraft,
)
from flowcontrol.findings import find_all
from flowcontrol.flowtests import TEST_FAILED, coverage_of
from flowcontrol.models import OPEN, FlowVersion
from flowcontrol.moving import movable_runs
from flowcontrol.sentences import shown_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowcontrol.findings import Finding


class NoteForm(forms.Form):
    """Why this was published."""

    note = forms.CharField(
        label=gettext_lazy("Note"),
        required=False,
        widget=TextArea(rows=2),
        help_text=gettext_lazy("What has changed, and why. Shown with the version."),
    )


# --- publishing ---------------------------------------------------------------------------------


def publish(visit: FlowVisit) -> HttpResponse:
    """What the checker says of the draft; then make it the live version."""
    form = NoteForm(visit.request.POST if visit.is_post else None)
    if not visit.is_post or not form.is_valid():
        return _publish_page(visit, form, find_all(visit.draft, flow=visit.flow))
    before = visit.flow.live_version
    try:
        version = publishing.publish(
            visit.flow,
            user=visit.user,
            note=form.cleaned_data["note"],
            revision=visit.posted_revision(),
            overrule_tests=visit.request.POST.get("overrule") == "1",
        )
    except StaleDraft as stale:
        visit.flow.refresh_from_db(fields=["draft_revision"])
        warning = _(
            "The draft was changed by somebody else since you opened this page. Nothing was "
            "published. Look at it again before you publish."
        )
        warning = f"{warning} {what_changed(stale.changes)}".strip()
        return _publish_page(visit, form, find_all(visit.draft, flow=visit.flow), warning)
    except PublishRefused as refused:
        return _publish_page(visit, form, refused.findings)
    except DocumentError as error:
        return _publish_page(visit, form, find_all(visit.draft, flow=visit.flow), str(error))
    if before is not None and before.pk == version.pk:
        visit.tell(
            _("The draft says what version %(number)d says; there was nothing to publish.")
            % {"number": version.number},
            messages.INFO,
        )
        return visit.redirect("actions")
    visit.note_change(_("Published version %(number)d") % {"number": version.number})
    told = _("Version %(number)d is live. Runs that start from now on follow it.")
    visit.tell(told % {"number": version.number})
    if visit.rights.operate and movable_runs(version).exists():
        # Open runs go on by their versions unless somebody moves them; this is the moment to ask.
        return visit.redirect("move_runs", version.number)
    return visit.redirect("actions")


def _publish_page(
    visit: FlowVisit, form: NoteForm, findings: Sequence[Finding], warning: str = ""
) -> HttpResponse:
    rows = rows_of(visit.draft, reveal_secrets=visit.rights.reveal_secrets)
    told = rows.add_findings(findings)
    error_codes = [each.code for each in findings if each.severity == "error"]
    errors = len(error_codes)
    live = visit.flow.live_version
    return visit.render_flow(
        "publish.html",
        subtitle=_("Publish"),
        form=form,
        findings=told,
        error_count=errors,
        only_tests_fail=bool(errors) and set(error_codes) == {TEST_FAILED},
        test_count=visit.flow.tests.count(),
        coverage=coverage_of(visit.flow, frozen(visit.draft)),
        warning_count=len(told) - errors,
        warning=warning,
        has_changes=publishing.has_unpublished_changes(visit.flow, visit.draft),
        next_number=_next_number(visit),
        live=live,
        open_runs=_open_runs(visit) if live is not None else 0,
        difference=_difference(visit),
        runs_by_version=_runs_by_version(visit),
    )


def _difference(visit: FlowVisit) -> Difference | None:
    """What publishing changes against the live version, if both can be read."""
    live = visit.flow.live_version
    if live is None:
        return None
    try:
        before, after = read_document(live.document), read_document(frozen(visit.draft))
    except DocumentError:
        return None
    return difference_of(before, after, reveal_secrets=visit.rights.reveal_secrets)


def _runs_by_version(visit: FlowVisit) -> list[tuple[int, int]]:
    """How many open runs follow which version, for those who may see runs."""
    if not visit.rights.view_runs:
        return []
    counted = visit.flow.runs.filter(status__in=OPEN).order_by()
    rows = counted.values_list("version__number").annotate(count=Count("pk"))
    return sorted(rows, reverse=True)


def _next_number(visit: FlowVisit) -> int:
    newest = visit.flow.versions.order_by("-number").values_list("number", flat=True).first()
    return (newest or 0) + 1


def _open_runs(visit: FlowVisit) -> int:
    return visit.flow.runs.filter(status__in=OPEN).count()


# --- versions -----------------------------------------------------------------------------------


def show_versions(visit: FlowVisit) -> HttpResponse:
    """All versions of the flow, newest first."""
    versions = visit.flow.versions.defer("document").select_related("created_by")
    if visit.rights.view_runs:
        versions = versions.annotate(
            open_runs=Count("runs", filter=Q(runs__status__in=OPEN)), all_runs=Count("runs")
        )
    return visit.render_flow(
        "versions.html",
        tab="versions",
        subtitle=_("Versions"),
        versions=_with_previous(list(versions.order_by("-number"))),
        can_move=visit.rights.operate,
    )


def _with_previous(versions: list[FlowVersion]) -> list[tuple[FlowVersion, int | None]]:
    """Each version with the number of the one before it."""
    numbers: list[int | None] = [version.number for version in versions[1:]]
    return list(zip(versions, [*numbers, None], strict=False))  # none for no version


def show_version(visit: FlowVisit, number: int) -> HttpResponse:
    """What a version says: its rows, and the whole document."""
    version = _version(visit, number)
    document, rows, unreadable = _read(version, visit.rights.reveal_secrets)
    return visit.render_flow(
        "version.html",
        subtitle=_("Version %(number)d") % {"number": number},
        crumbs=_crumbs(visit, number),
        version=version,
        rows=rows,
        document=document,
        unreadable=unreadable,
        is_live=visit.flow.live_version_id == version.pk,
        picture=_picture(version, visit.rights.reveal_secrets),
        previous=_previous(visit, number),
        movable=movable_runs(version).count() if visit.rights.operate else 0,
    )


def _picture(version: FlowVersion, reveal_secrets: bool) -> str:
    try:
        document = read_document(version.document)
    except DocumentError:
        return ""
    return picture(document, str(version), reveal_secrets=reveal_secrets)


def _previous(visit: FlowVisit, number: int) -> int | None:
    """The number of the version before, to compare with."""
    older = visit.flow.versions.filter(number__lt=number).order_by("-number")
    return older.values_list("number", flat=True).first()


def roll_back(visit: FlowVisit, number: int) -> HttpResponse:
    """Publish what an older version says as a new version."""
    version = _version(visit, number)
    form = NoteForm(visit.request.POST if visit.is_post else None)
    findings: Sequence[Finding] = ()
    if visit.is_post and form.is_valid():
        try:
            made = publishing.roll_back(version, user=visit.user, note=form.cleaned_data["note"])
        except PublishRefused as refused:
            findings = refused.findings
        except DocumentError as error:
            form.add_error(None, str(error))
        else:
            visit.note_change(
                _("Rolled back to version %(old)d, as version %(number)d")
                % {"old": number, "number": made.number}
            )
            visit.tell(_rolled_back(number, made))
            return visit.redirect("versions")
    rows = _read(version, visit.rights.reveal_secrets)[1]
    return visit.render_flow(
        "roll_back.html",
        subtitle=_("Roll back to version %(number)d") % {"number": number},
        crumbs=_crumbs(visit, number, _("Roll back")),
        version=version,
        form=form,
        findings=rows.add_findings(findings) if rows is not None else (),
        next_number=_next_number(visit),
        live=visit.flow.live_version,
    )


def _rolled_back(number: int, made: FlowVersion) -> str:
    told = {"old": number, "number": made.number}
    if made.number == number:
        return _("Version %(number)d is live already; nothing was changed.") % told
    return _("Version %(number)d is live. It says what version %(old)d says.") % told


def load_version(visit: FlowVisit, number: int) -> HttpResponse:
    """Replace the draft by what a version says, to go on working from there."""
    version = _version(visit, number)
    warning = ""
    if visit.is_post:
        try:
            publishing.load_version_into_draft(
                version, revision=visit.posted_revision(), user=visit.user
            )
        except StaleDraft as stale:
            visit.flow.refresh_from_db(fields=["draft_revision"])
            warning = visit.stale_message(stale)
        except (DraftRefused, AuthorError) as error:
            warning = str(error)
        else:
            visit.note_change(_("Loaded version %(number)d into the draft") % {"number": number})
            visit.tell(_("The draft now says what version %(number)d says.") % {"number": number})
            return visit.redirect("actions")
    return visit.render_flow(
        "load_version.html",
        subtitle=_("Load version %(number)d into the draft") % {"number": number},
        crumbs=_crumbs(visit, number, _("Load into the draft")),
        version=version,
        warning=warning,
        has_changes=publishing.has_unpublished_changes(visit.flow, visit.draft),
        row_count=len(rows_of(visit.draft)),
    )


def _version(visit: FlowVisit, number: int) -> FlowVersion:
    version = visit.flow.versions.select_related("flow", "created_by").filter(number=number).first()
    if version is None:
        raise Http404(f"This flow has no version {number}.")
    return version


def _read(version: FlowVersion, reveal_secrets: bool) -> tuple[str, RowList | None, str]:
    """A version's document as text, its rows, and why there are none."""
    try:
        document = read_document(version.document)
    except DocumentError as error:
        return "", None, str(error)
    text = pretty(shown_document(document, reveal_secrets=reveal_secrets))
    return text, rows_of(document, reveal_secrets=reveal_secrets), ""


def _crumbs(visit: FlowVisit, number: int, last: str = "") -> list[Crumb]:
    crumbs = [Crumb(_("Versions"), visit.url("versions"))]
    title = _("Version %(number)d") % {"number": number}
    if not last:
        return [*crumbs, Crumb(title)]
    return [*crumbs, Crumb(title, visit.url("version", number)), Crumb(last)]


VERSION_PAGES: Final = (
    Page("publish/", "publish", publish, get="publish", post="publish"),
    Page("versions/", "versions", show_versions),
    Page("versions/<int:number>/", "version", show_version),
    Page("versions/<int:number>/roll-back/", "roll_back", roll_back, get="publish", post="publish"),
    Page("versions/<int:number>/load/", "load_version", load_version, get="change", post="change"),
)
