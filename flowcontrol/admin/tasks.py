"""Questions to people: for now to be seen, not to be answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from flowcontrol.admin.pages import STYLES
from flowcontrol.admin.rows import pretty
from flowcontrol.models import HumanTask

if TYPE_CHECKING:
    _TaskModelAdmin = admin.ModelAdmin[HumanTask]
else:
    _TaskModelAdmin = admin.ModelAdmin


@admin.register(HumanTask)
class HumanTaskAdmin(_TaskModelAdmin):
    """Tasks are made and closed by runs."""

    list_display = ("title", "run_link", "status", "due", "created_at")
    list_filter = ("status",)
    search_fields = ("title",)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fields = (
        "title",
        "text",
        "run_link",
        "status",
        "due",
        "created_at",
        "answered_at",
        "answered_by",
        "answers_text",
    )
    readonly_fields = fields

    class Media:
        css = {"all": [STYLES]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: HumanTask | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: HumanTask | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[HumanTask]:
        tasks = super().get_queryset(request).select_related("run__flow")
        return tasks.defer("run__state", "run__cursor")

    @admin.display(description=gettext_lazy("run"), ordering="run")
    def run_link(self, task: HumanTask) -> SafeString:
        url = reverse(
            "admin:flowcontrol_flowrun_change",
            args=(task.run_id,),
            current_app=self.admin_site.name,
        )
        return format_html('<a href="{}">{}</a>', url, task.run)

    @admin.display(description=gettext_lazy("answers"))
    def answers_text(self, task: HumanTask) -> SafeString:
        return format_html('<pre class="fc-json">{}</pre>', pretty(task.answers))
