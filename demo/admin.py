"""The desk's own pages: flights, and what was done about them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from demo.models import Airline, Airport, Flight, FlightStatus, Notice, Rebooking, Voucher
from flowcontrol.admin import FlowcontrolModelAdminMixin


class Record(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that flows write and people read."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RecordInline(admin.TabularInline):  # type: ignore[type-arg]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RebookingInline(RecordInline):
    model = Rebooking
    fk_name = "flight"
    fields = ("onto", "passengers", "made_at")


class VoucherInline(RecordInline):
    model = Voucher
    fields = ("kind", "people", "issued_at")


class NoticeInline(RecordInline):
    model = Notice
    fields = ("station", "subject", "sent_at")


class DayFilter(admin.SimpleListFilter):
    """Each day that has flights, by its name."""

    title = _("day")
    parameter_name = "day"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        days = Flight.objects.order_by("day").values_list("day", flat=True).distinct()
        return [(day.isoformat(), f"{day:%a %d %b}") for day in days]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Flight]) -> QuerySet[Flight]:
        day = self.value()
        return queryset.filter(day=day) if day else queryset


@admin.register(Flight)
class FlightAdmin(FlowcontrolModelAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("flight", "route", "departure", "state", "minutes", "passengers")
    list_filter = (
        DayFilter,
        "status",
        ("origin", admin.RelatedOnlyFieldListFilter),
        ("airline", admin.RelatedOnlyFieldListFilter),
    )
    list_select_related = ("airline", "origin", "destination")
    list_per_page = 50
    search_fields = ("number", "airline__name", "destination__code", "destination__name")
    search_help_text = _("Flight number, airline or destination")
    ordering = ("scheduled_departure", "airline_id", "number")
    show_facets = admin.ShowFacets.NEVER
    actions = ("announce_delay", "cancel")
    inlines = (RebookingInline, VoucherInline, NoticeInline)
    fieldsets = (
        (None, {"fields": ("route", "departure", "arrival", "distance", "tail_number")}),
        (_("Now"), {"fields": (("status", "delay"), ("departed_at", "arrived_at"))}),
        (_("On board"), {"fields": (("passengers", "seats"),)}),
    )
    readonly_fields = ("route", "departure", "arrival", "distance", "tail_number", "seats")

    class Media:
        css = {"all": ("demo/desk.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description=_("flight"), ordering="number")
    def flight(self, flight: Flight) -> str:
        return flight.code

    @admin.display(description=_("route"), ordering="destination")
    def route(self, flight: Flight) -> str:
        return f"{flight.origin_id} → {flight.destination_id}"

    @admin.display(description=_("departure"), ordering="scheduled_departure")
    def departure(self, flight: Flight) -> str:
        return f"{flight.local_departure:%a %d %b, %H:%M}"

    @admin.display(description=_("arrival"))
    def arrival(self, flight: Flight) -> str:
        return f"{flight.local_arrival:%a %d %b, %H:%M} ({flight.destination.time_zone})"

    @admin.display(description=_("status"), ordering="status")
    def state(self, flight: Flight) -> str:
        return format_html(
            '<span class="flight-status {}">{}</span>', flight.status, flight.get_status_display()
        )

    @admin.display(description=_("delay"), ordering="delay")
    def minutes(self, flight: Flight) -> str:
        return f"{flight.delay:+d} min" if flight.delay else "–"

    # One by one in both actions, not with update(): the signals are what the flows hear.

    @admin.action(description=_("Announce 90 minutes more delay"), permissions=["change"])
    def announce_delay(self, request: HttpRequest, flights: QuerySet[Flight]) -> None:
        for flight in flights:
            flight.delay += 90
            flight.status = FlightStatus.DELAYED
            flight.save(update_fields=["delay", "status"])
        self._tell(request, len(flights))

    @admin.action(description=_("Cancel the selected flights"), permissions=["change"])
    def cancel(self, request: HttpRequest, flights: QuerySet[Flight]) -> None:
        for flight in flights:
            flight.status = FlightStatus.CANCELLED
            flight.save(update_fields=["status"])
        self._tell(request, len(flights))

    def _tell(self, request: HttpRequest, count: int) -> None:
        self.message_user(
            request,
            ngettext(
                "%(count)d flight changed. Its flows start within a second.",
                "%(count)d flights changed. Their flows start within a second.",
                count,
            )
            % {"count": count},
            messages.SUCCESS,
        )


@admin.register(Rebooking)
class RebookingAdmin(Record):
    list_display = ("flight", "onto", "passengers", "made_at")
    list_filter = ("flight__day",)
    list_select_related = ("flight", "onto")
    date_hierarchy = "made_at"


@admin.register(Voucher)
class VoucherAdmin(Record):
    list_display = ("flight", "kind", "people", "issued_at")
    list_filter = ("kind", "flight__day")
    list_select_related = ("flight",)
    date_hierarchy = "issued_at"


@admin.register(Notice)
class NoticeAdmin(Record):
    list_display = ("subject", "station", "sent_at")
    list_select_related = ("station",)
    search_fields = ("subject", "text")
    date_hierarchy = "sent_at"


@admin.register(Airline)
class AirlineAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("code", "name")
    search_fields = ("code", "name")


@admin.register(Airport)
class AirportAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("code", "name", "time_zone")
    list_filter = ("time_zone",)
    search_fields = ("code", "name")
