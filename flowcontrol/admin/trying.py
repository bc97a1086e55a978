"""Trying the draft of a flow, and its named tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flowcontrol.admin import builder
from flowcontrol.admin.flow_pages import FlowVisit, run_url
from flowcontrol.admin.masks import Masks
from flowcontrol.admin.pages import Crumb, Page
from flowcontrol.admin.rights import may_see
from flowcontrol.admin.rows import PageRow, RowList, pretty, rows_of
from flowcontrol.admin.starting import lookup_url, model_named, object_name
from flowcontrol.admin.traces import Traces, traces_of_tests
from flowcontrol.admin.trial_forms import (
    ANSWER_HELP,
    Given,
    SaveTestForm,
    TrialForm,
    expectations_shown,
)
from flowcontrol.admin.trial_report import TrialReport
from flowcontrol.documents import checksum, read_document
from flowcontrol.drafting import frozen
from flowcontrol.exceptions import DocumentError, FlowTestRefused, TrialRefused
from flowcontrol.flowtests import (
    coverage_of,
    expectations_from,
    find_differences,
    run_tests,
    save_test,
)
from flowcontrol.models import FlowRun, FlowTest, Status, WaitKind
from flowcontrol.registry import actions
from flowcontrol.trying import RunInput, Trial, input_of, try_flow

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import QueryDict

    from flowcontrol.documents import JSONObject

OBJECTS_OFFERED: Final = 30

RUNS_OFFERED: Final = 10
"""The latest runs whose input can be loaded by choosing them."""

ANSWERABLE_WAITS: Final = (WaitKind.EVENT, WaitKind.WAKE, WaitKind.CHILDREN, WaitKind.TASK)


# --- trying ---------------------------------------------------------------------------------------


@dataclass
class _Bench:
    """The page of a trial: the draft, what the trial starts with, and what came of it."""

    visit: FlowVisit
    test: FlowTest | None
    given: Given
    run: FlowRun | None = None

    def __post_init__(self) -> None:
        visit = self.visit
        self.document: JSONObject = visit.draft
        self.rows: RowList = rows_of(self.document, reveal_secrets=visit.rights.reveal_secrets)
        schema = self.document.get("state_schema")
        self.masks = Masks(schema, reveal_secrets=visit.rights.reveal_secrets)
        model, self.model_error = model_named(self.document.get("content_type"))
        if model is not None and not may_see(visit.request, model):
            # A trial tells what it reads of its object.
            self.model_error = _(
                "You may not see objects of this type, so you cannot try with one."
            )
            model = None
        self.model = model
        self.form = TrialForm(
            _posted(visit),
            rows=self.rows,
            answerable=self._answerable(),
            model=model,
            schema=schema,
            masks=self.masks,
            given=self.given,
        )

    def _answerable(self) -> list[PageRow]:
        """The rows that can be told what they give: simulated ones, and those that have waited."""
        posted = self.visit.request.POST.getlist("waits") if self.visit.is_post else ()
        named = {*(self.given.answers or {}), *posted}
        return [
            row
            for row in self.rows.by_uid.values()
            if row.uid in named or (not row.is_off and _is_simulated(row))
        ]

    def try_it(self) -> Trial | None:
        """Raises no refusal: it is told in the form."""
        cleaned = self.form.cleaned_data
        try:
            return try_flow(
                self.visit.flow,
                self.form.object,
                state=cleaned["state"],
                trigger_payload=cleaned["payload"],
                answers=cleaned["answers"],
                until=cleaned["until"],
                now=cleaned["starts_at"],
                user=self.visit.user,
            )
        except (TrialRefused, DocumentError) as refused:
            self.form.add_error(None, str(refused))
            return None

    def save(self, form: SaveTestForm) -> FlowTest | None:
        """Raises no refusal: it is told in the form."""
        cleaned = self.form.cleaned_data
        try:
            return save_test(
                self.visit.flow,
                form.cleaned_data["name"],
                self.form.object,
                state=cleaned["state"],
                trigger_payload=cleaned["payload"],
                answers=cleaned["answers"],
                starts_at=cleaned["starts_at"],
                expectations=form.expectations,
                test=self.test,
            )
        except FlowTestRefused as refused:
            form.add_error(None, str(refused))
            return None

    def show(self, trial: Trial | None, save_form: SaveTestForm, done: str = "") -> HttpResponse:
        """Beside the builder's list the rows of that list tell what they did."""
        visit, test = self.visit, self.test
        differences: Sequence[str] | None = None
        report = None
        if trial is not None:
            until = self.form.cleaned_data["until"]
            report = TrialReport(trial, self.rows, self.masks, until)
            waited = _waited(trial)
            self.form.offer_answers([row for row in self.rows.by_uid.values() if row.uid in waited])
            if not save_form.is_bound and test is None:
                typed = visit.request.POST.get("test-name", "")
                given = Given(expectations=expectations_from(trial), name=typed)
                save_form = SaveTestForm(None, given, self.rows, self.masks)
            if test is not None and trial.outcome != "reached":
                differences = find_differences(test.expectations, trial, self.document)
        title = _("Try it") if test is None else _("Try the test “%(test)s”") % {"test": test}
        crumbs = [Crumb(title)]
        if test is not None:
            crumbs.insert(0, Crumb(_("Tests"), visit.url("tests")))
        context: dict[str, Any] = {
            "form": self.form,
            "answer_help": ANSWER_HELP,
            "save_form": save_form if trial is not None or save_form.is_bound or test else None,
            "report": report,
            "test": test,
            "done": done,
            "objects": self._objects(),
            "differences": differences,
            "model_error": self.model_error,
            "lookup_url": lookup_url(visit, self.model) if self.model is not None else "",
            "chosen": object_name(visit, self.form),
            "runs": _latest_runs(visit),
            "loaded_run": self.run,
            "loaded_run_url": run_url(visit.site, self.run.pk) if self.run is not None else "",
            "try_url": visit.url("try"),
        }
        if visit.is_partial:
            traces = Traces("trial", report.traces) if report is not None else None
            return _beside(visit, "try_panel.html", panel_title=title, traces=traces, **context)
        return visit.render_flow("try.html", tab="try", subtitle=title, crumbs=crumbs, **context)

    def _objects(self) -> list[Model]:
        """The latest objects, to choose from while typing a key."""
        if self.model is None:
            return []
        return list(self.model._default_manager.order_by("-pk")[:OBJECTS_OFFERED])


def try_page(visit: FlowVisit) -> HttpResponse:
    """Ask what to start with, try the draft, show what it did; or save that as a test."""
    test = _named_test(visit)
    run = None if test is not None else _named_run(visit)
    bench = _Bench(visit, test, _given_by(test, run, visit), run)
    saves = visit.is_post and "save" in visit.request.POST
    if saves and not visit.rights.change:
        raise PermissionDenied
    save_form = SaveTestForm(
        visit.request.POST if saves else None, bench.given, bench.rows, bench.masks
    )
    if not visit.is_post or not bench.form.is_valid() or "fill" in visit.request.POST:
        return bench.show(None, save_form)
    if saves:
        saved = bench.save(save_form) if save_form.is_valid() else None
        if saved is None:
            return bench.show(None, save_form)
        visit.note_change(_("Saved the test “%(test)s”") % {"test": saved})
        done = _("The test “%(test)s” is saved.") % {"test": saved}
        if visit.is_partial:
            return bench.show(None, SaveTestForm(None, bench.given, bench.rows, bench.masks), done)
        visit.tell(done)
        return visit.redirect("tests")
    return bench.show(bench.try_it(), save_form)


def _posted(visit: FlowVisit) -> QueryDict | None:
    """What was posted; a row to run to (``here``), or the end, is put where the form has it."""
    if not visit.is_post:
        return None
    data = visit.request.POST.copy()
    if "here" in data:
        data["until"] = unquote(visit.request.POST["here"])
    elif "to_end" in data:
        data["until"] = ""
    return data


def _beside(visit: FlowVisit, template: str, **context: Any) -> HttpResponse:
    """A panel beside the list of a page that is there, which gets what others have changed."""
    is_stale = "revision" in visit.request.POST and not visit.is_current
    return builder.show(visit, template, is_panel=True, changed=is_stale, **context)


def _is_simulated(row: PageRow) -> bool:
    action_type = actions.find(row.document["action"])
    return action_type is not None and action_type.effects != "none" and not action_type.can_try


def _waited(trial: Trial) -> set[str]:
    """The rows at which the run has waited for what can be answered from now on."""
    waited = {skip.uid for skip in trial.skips if skip.kind in ANSWERABLE_WAITS}
    return waited | ({trial.uid} if trial.outcome == "waiting" else set())


def _number(visit: FlowVisit, name: str) -> int | None:
    try:
        number = int(visit.request.POST.get(name) or visit.request.GET.get(name) or "")
    except ValueError:
        return None
    return number if 0 < number < 2**63 else None


def _named_test(visit: FlowVisit) -> FlowTest | None:
    pk = _number(visit, "test")
    if pk is None:
        return None
    found = FlowTest.objects.filter(flow=visit.flow, pk=pk).first()
    if found is None:
        raise Http404(f"This flow has no test {pk}.")
    return found


def _named_run(visit: FlowVisit) -> FlowRun | None:
    """The run of this flow whose input is asked for."""
    pk = _number(visit, "run")
    if pk is None or not visit.rights.view_runs:
        return None
    found = FlowRun.objects.filter(flow=visit.flow, pk=pk).select_related("firing", "flow").first()
    if found is None:
        visit.tell_error(_("This flow has no run #%(pk)d.") % {"pk": pk})
    return found


def _given_by(test: FlowTest | None, run: FlowRun | None, visit: FlowVisit) -> Given:
    if test is not None:
        return Given(
            key=test.object_id or "",
            state=test.state,
            payload=test.payload,
            starts_at=test.starts_at,
            answers=test.answers,
            expectations=test.expectations,
            name=test.name,
        )
    if run is not None:
        found: RunInput = input_of(run)
        return Given(
            key=run.object_id or "",
            state=found.state,
            payload=found.payload,
            starts_at=found.started,
        )
    asked = visit.request.GET
    return Given(key=asked.get("object", ""), until=unquote(asked.get("here", "")))


def _latest_runs(visit: FlowVisit) -> list[FlowRun]:
    if not visit.rights.view_runs:
        return []
    runs = FlowRun.objects.for_flow(visit.flow).filter(status__in=(Status.DONE, Status.FAILED))
    return list(
        runs.order_by("-pk").only("pk", "flow", "created_at", "outcome", "status")[:RUNS_OFFERED]
    )


# --- tests ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShownTest:
    """A test in the list."""

    test: FlowTest
    status: str
    problems: Sequence[str]
    is_current: bool
    """Whether its result is about the draft as it is now."""
    input: str
    expectations: str


def show_tests(visit: FlowVisit) -> HttpResponse:
    """The tests of the flow with what came of them, and the rows that none of them reaches."""
    if not visit.is_post:
        return _tests_page(visit)
    found = run_tests(visit.flow, only=_number(visit, "test"))
    failed = sum(tested.status != "passed" for tested in found)
    told = ngettext("The test passes.", "All tests pass.", len(found)) if found else ""
    if failed:
        told = ngettext(
            "%(failed)d of %(all)d test did not pass.",
            "%(failed)d of %(all)d tests did not pass.",
            len(found),
        ) % {"failed": failed, "all": len(found)}
    return _tests_done(visit, told, is_fine=not failed)


def _tests_done(visit: FlowVisit, told: str, *, is_fine: bool = True) -> HttpResponse:
    """Say what came of it above the tests."""
    if visit.is_partial:
        return _tests_page(visit, done=told, is_fine=is_fine)
    if told:
        visit.tell(told, messages.SUCCESS if is_fine else messages.ERROR)
    return visit.redirect("tests")


def _tests_page(visit: FlowVisit, **context: Any) -> HttpResponse:
    document = read_document(frozen(visit.draft))
    coverage = coverage_of(visit.flow, document)
    rows = visit.rows
    tests = FlowTest.objects.filter(flow=visit.flow).select_related("content_type").order_by("name")
    masks = Masks(document.get("state_schema"), reveal_secrets=visit.rights.reveal_secrets)
    digest = checksum(document)
    context |= {
        "tests": [_shown_test(test, masks, digest) for test in tests],
        "coverage": coverage,
        "missed": [rows.by_uid[uid] for uid in coverage.missed if uid in rows.by_uid],
    }
    if visit.is_partial:
        traces = Traces("tests", traces_of_tests(coverage, rows)) if context["tests"] else None
        return _beside(visit, "tests_panel.html", panel_title=_("Tests"), traces=traces, **context)
    return visit.render_flow("tests.html", tab="tests", subtitle=_("Tests"), **context)


def _shown_test(test: FlowTest, masks: Masks, digest: str) -> ShownTest:
    result: Mapping[str, Any] = test.result or {}
    given: dict[str, Any] = {"state": masks.state(test.state)}
    if test.object_id is not None:
        given = {"object": f"{test.content_type} {test.object_id}", **given}
    for name in ("payload", "answers"):
        if getattr(test, name):
            given[name] = getattr(test, name)
    return ShownTest(
        test=test,
        status=result.get("status", ""),
        problems=result.get("problems", ()),
        is_current=result.get("checksum") == digest,
        input=pretty(given),
        expectations=pretty(expectations_shown(test.expectations, masks)),
    )


def delete_test(visit: FlowVisit, test: int) -> HttpResponse:
    """Delete one test."""
    found = FlowTest.objects.filter(flow=visit.flow, pk=test).first()
    if found is None:
        raise Http404(f"This flow has no test {test}.")
    name = found.name
    found.delete()
    visit.note_change(_("Deleted the test “%(test)s”") % {"test": name})
    return _tests_done(visit, _("The test “%(test)s” was deleted.") % {"test": name})


TRIAL_PAGES: Final = (
    Page("try/", "try", try_page, get="trial", post="trial"),
    Page("tests/", "tests", show_tests, get="view", post="trial"),
    Page("tests/<int:test>/delete/", "delete_test", delete_test, get=None, post="change"),
)
