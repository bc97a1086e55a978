"""Questions to people: the list of those that are mine to answer, and a page to answer each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.config_forms import ConfigForm, config_form_class
from flowcontrol.admin.flow_pages import run_url
from flowcontrol.admin.object_types import objects_of
from flowcontrol.admin.pages import STYLES, Crumb, Page, PagesAdmin, Visit
from flowcontrol.admin.rights import may_see
from flowcontrol.admin.rows import pretty
from flowcontrol.admin.runs import object_link
from flowcontrol.admin.start_forms import ValuesForm
from flowcontrol.answering import buttons_of, complete_task, why_closed
from flowcontrol.conf import settings
from flowcontrol.exceptions import AnswerInvalid, TaskRefused
from flowcontrol.models import FlowRun, HumanTask, TaskStatus

if TYPE_CHECKING:
    from flowcontrol.models.references import Reference

PREFIX: Final = "answer"
"""Before the names of the form's values, which may be called like anything."""

_ASKED: Final = "flowcontrol_is_asked"

TaskVisit = Visit[HumanTask]


def answer_form(task: HumanTask, data: Mapping[str, Any] | None) -> ConfigForm | None:
    """The form of a task; ``None`` if it has none, or one that this release cannot read."""
    if not task.schema:
        return None
    try:
        form_class = config_form_class(task.schema, name="Answer", base=ValuesForm)
    except ValueError:
        return None
    return form_class(data, prefix=PREFIX)


def show_task(visit: TaskVisit) -> HttpResponse:
    """Show a question; take an answer to it."""
    task = visit.obj
    form = answer_form(task, visit.request.POST if visit.is_post else None)
    if visit.is_post:
        done = _answer(visit, form)
        if done is not None:
            return done
    run = task.run
    reference: Reference = (run.content_type_id, run.object_id)
    found = objects_of([reference]).get(reference)
    may_see_runs = may_see(visit.request, FlowRun)
    closed = why_closed(task)
    return visit.render(
        "task.html",
        title=task.title,
        crumbs=[Crumb(task.title)],
        task=task,
        badge=badge(task),
        closed=closed,
        may_answer=visit.rights.answer and not closed,
        is_late=bool(not closed and task.due and task.due <= settings.CLOCK()),
        form=form,
        buttons=buttons_of(task),
        object=object_link(visit.request, visit.site, run.content_type, run.object_id, found),
        run=run,
        run_url=run_url(visit.site, run.pk) if may_see_runs else "",
        whom=_whom(task),
        answers=[_Answer(task, each) for each in task.answers],
    )


def _answer(visit: TaskVisit, form: ConfigForm | None) -> HttpResponse | None:
    """Take the answer that was posted; ``None`` if there is something to be put right."""
    task = visit.obj
    if form is not None and not form.is_valid() and not why_closed(task):
        return None
    data = form.config if form is not None and form.is_valid() else {}
    try:
        complete_task(task, visit.user, data, visit.request.POST.get("button", ""))
    except TaskRefused as refused:
        visit.tell_error(str(refused))
        return visit.redirect("change")
    except AnswerInvalid as error:
        if form is None:
            visit.tell_error(str(error))
            return visit.redirect("change")
        if error.problems:
            form.add_problems(error.problems)
        else:
            form.add_error(None, str(error))
        return None
    visit.tell(_("Thank you. The answer is on its way."))
    url = reverse("admin:flowcontrol_humantask_changelist", current_app=visit.site.name)
    return HttpResponseRedirect(url)


class _Answer:
    """An answer as the page shows it."""

    def __init__(self, task: HumanTask, answer: Mapping[str, Any]) -> None:
        labels = {each["name"]: each["label"] for each in buttons_of(task)}
        self.by = answer.get("by") or _("Code")
        self.button = labels.get(answer.get("button", ""), answer.get("button", ""))
        declared = task.schema.get("properties", {})
        self.values = [
            (_title(declared.get(name), name), value if isinstance(value, str) else pretty(value))
            for name, value in answer.get("data", {}).items()
        ]


def _title(schema: Any, name: str) -> str:
    title = schema.get("title") if isinstance(schema, dict) else None
    return str(title or capfirst(name.replace("_", " ")))


def _whom(task: HumanTask) -> list[str]:
    """Who may answer, in words."""
    whom = [str(user) for user in task.users.all()]
    whom += [_("everybody in %(group)s") % {"group": group} for group in task.groups.all()]
    if task.permission:
        whom.append(_("who has the permission %(name)s") % {"name": task.permission})
    return whom or [_("who may answer every task")]


def badge(task: HumanTask) -> SafeString:
    """The status as a word with a colour."""
    return format_html(
        '<span class="fc-badge fc-task-{}">{}</span>', task.status, task.get_status_display()
    )


class WhoseFilter(admin.SimpleListFilter):
    """Tasks that wait for the person who looks; that is what the list begins with."""

    title = gettext_lazy("person")
    parameter_name = "whose"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("open", gettext_lazy("Open, for anybody")),
            ("all", gettext_lazy("All")),
        ]

    def choices(self, changelist: ChangeList) -> Any:
        first, *others = super().choices(changelist)
        yield {**first, "display": _("Open, for me")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[HumanTask]) -> Any:
        tasks = HumanTask.objects.all()
        match self.value():
            case "all":
                return queryset
            case "open":
                return queryset.filter(status=TaskStatus.OPEN)
        mine = tasks.open().for_user(request.user).order_by()
        return queryset.filter(pk__in=mine.values("pk"))


@admin.register(HumanTask)
class HumanTaskAdmin(PagesAdmin[HumanTask]):
    """Tasks are made and closed by runs. Whoever is asked sees them without further rights."""

    pages = (
        # In the place of Django's form, whose fields are nobody's to fill in.
        Page("change/", "change", show_task, get="view", post="answer"),
    )
    list_display = ("title", "flow", "status_badge", "due", "created_at", "answered_by")
    list_filter = (WhoseFilter, "status")
    search_fields = ("title",)
    ordering = ("-pk",)
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = None

    class Media:
        css = {"all": [STYLES]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: HumanTask | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: HumanTask | None = None) -> bool:
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) or _has_tasks(request)

    def has_view_permission(self, request: HttpRequest, obj: HumanTask | None = None) -> bool:
        return may_see(request, HumanTask) or _has_tasks(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[HumanTask]:
        tasks = super().get_queryset(request).select_related("run__flow", "answered_by")
        if not may_see(request, HumanTask):
            mine = HumanTask.objects.for_user(request.user).order_by()
            tasks = tasks.filter(pk__in=mine.values("pk"))
        return tasks.defer("run__state", "run__cursor")

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied  # Django would say that there is no such task
        return super().history_view(request, object_id, extra_context)

    @admin.display(description=gettext_lazy("flow"), ordering="run__flow__name")
    def flow(self, task: HumanTask) -> str:
        return str(task.run.flow)

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def status_badge(self, task: HumanTask) -> SafeString:
        return badge(task)


def _has_tasks(request: HttpRequest) -> bool:
    """Whether this person is, or was, asked anything: asked once for a request."""
    if not hasattr(request, _ASKED):
        user = request.user
        is_asked = user.is_authenticated and HumanTask.objects.for_user(user).exists()
        setattr(request, _ASKED, is_asked)
    return bool(getattr(request, _ASKED))
