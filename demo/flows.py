"""The building blocks that the desk's flows are made of. flowcontrol imports every app's ``flows``.

An action says what it touches (``effects``), what can be filled in (``config_schema``), and does
its work by calling the functions of :mod:`demo.desk`, which know nothing of flows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from django.core.mail import EmailMessage
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from demo import desk
from demo.models import Flight, FlightStatus, Notice, VoucherKind
from flowcontrol.base import BaseAction, Continue, Directive, RunHandle
from flowcontrol.registry import (
    register_action,
    register_trigger,
    register_trigger_as_signal_handler,
)

# Triggers: what flows can react to.

flight_changed = register_trigger(
    "demo.flight_changed",
    model=Flight,
    label=_("A flight's status or delay has changed"),
    payload_schema={
        "type": "object",
        "properties": {
            "status": {"enum": FlightStatus.values},
            "status_before": {"enum": FlightStatus.values},
            "delay": {"type": "integer", "description": "minutes"},
            "delay_before": {"type": "integer", "description": "minutes"},
        },
        "required": ["status", "status_before", "delay", "delay_before"],
    },
)


@receiver(post_save, sender=Flight)
def say_what_changed(instance: Flight, created: bool, raw: bool, **kwargs: Any) -> None:
    """Fire with a payload: a flow wants to know what the delay was before."""
    if not created and not raw and instance.has_changed:
        flight_changed(
            instance,
            payload={
                "status": instance.status,
                "status_before": instance.status_before,
                "delay": instance.delay,
                "delay_before": instance.delay_before,
            },
        )


# Where the object says everything, a line is enough.
flight_cancelled = register_trigger_as_signal_handler(
    post_save,
    "demo.flight_cancelled",
    sender=Flight,
    label=_("A flight has been cancelled"),
    when=lambda instance, **kwargs: (
        instance.has_changed and instance.status == FlightStatus.CANCELLED
    ),
)

flight_rebooked = register_trigger(
    "demo.flight_rebooked",
    model=Flight,
    label=_("Everybody of a cancelled flight has a seat"),
    payload_schema={
        "type": "object",
        "properties": {"moved": {"type": "integer"}},
        "required": ["moved"],
    },
)

# Actions: what flows can do.


@register_action
class RebookPassengers(BaseAction):
    name = "demo.rebook_passengers"
    verbose_name = _("Rebook passengers")
    description = _("Moves the passengers of the flight onto later ones to the same place.")
    group = _("Operations desk")
    effects = "database"
    config_schema = {
        "type": "object",
        "properties": {
            "hours": {"type": "integer", "minimum": 1, "maximum": 168, "default": 48},
            "other_airlines": {"type": "boolean", "default": False},
        },
        "additionalProperties": False,
    }
    labels = {"hours": _("Within how many hours"), "other_airlines": _("Other airlines too")}
    help_texts = {"hours": _("Counted from the departure that was planned.")}

    def run(self, *, run: RunHandle, obj: Flight, config: Mapping[str, Any]) -> Directive:
        outcome = desk.rebook(
            obj,
            now=run.now,
            within=timedelta(hours=config["hours"]),
            other_airlines=config["other_airlines"],
        )
        run.log(f"{outcome['moved']} moved, {outcome['left']} left")
        if outcome["moved"] and not outcome["left"]:
            # In the same transaction: whoever waits for it hears of it exactly once.
            flight_rebooked(obj, payload={"moved": outcome["moved"]})
        return Continue(result=outcome)


@register_action
class FindFlights(BaseAction):
    name = "demo.find_flights"
    verbose_name = _("Find the next flights")
    description = _("Lists the next flights to the same place that have free seats.")
    group = _("Operations desk")
    effects = "database"
    config_schema = {
        "type": "object",
        "properties": {"count": {"type": "integer", "minimum": 1, "maximum": 50, "default": 3}},
        "additionalProperties": False,
    }
    labels = {"count": _("How many")}

    def run(self, *, run: RunHandle, obj: Flight, config: Mapping[str, Any]) -> Directive:
        return Continue(result=desk.next_flights(obj, now=run.now, count=config["count"]))


@register_action
class MoveOnto(BaseAction):
    name = "demo.move_onto"
    verbose_name = _("Move passengers onto a flight")
    description = _("Moves as many passengers as there is room for onto one other flight.")
    group = _("Operations desk")
    effects = "database"
    config_schema = {
        "type": "object",
        "properties": {"flight": {"type": "integer"}},
        "required": ["flight"],
        "additionalProperties": False,
    }
    labels = {"flight": _("Number of the flight in the database")}

    def run(self, *, run: RunHandle, obj: Flight, config: Mapping[str, Any]) -> Directive:
        outcome = desk.move_onto(obj, config["flight"], now=run.now)
        run.log(f"{outcome['moved']} moved, {outcome['left']} left")
        return Continue(result=outcome)


@register_action
class IssueVouchers(BaseAction):
    name = "demo.issue_vouchers"
    verbose_name = _("Issue vouchers")
    description = _("Hands out a voucher to everybody who is still booked on the flight.")
    group = _("Operations desk")
    effects = "database"
    config_schema = {
        "type": "object",
        "properties": {"kind": {"enum": VoucherKind.values}},
        "required": ["kind"],
        "additionalProperties": False,
    }
    labels = {"kind": _("What for")}

    def run(self, *, run: RunHandle, obj: Flight, config: Mapping[str, Any]) -> Directive:
        people = desk.issue_vouchers(obj, kind=VoucherKind(config["kind"]), now=run.now)
        return Continue(result=people)


@register_action
class NotifyStation(BaseAction):
    name = "demo.notify_station"
    verbose_name = _("Notify station")
    description = _("Writes to the airline's people at the airport the flight leaves or goes to.")
    group = _("Operations desk")
    effects = "external"
    config_schema = {
        "type": "object",
        "properties": {
            "station": {"enum": ["origin", "destination"], "default": "origin"},
            "subject": {"type": "string", "format": "template"},
            "text": {"type": "string", "format": "template"},
        },
        "required": ["subject", "text"],
        "additionalProperties": False,
    }
    labels = {"station": _("Station"), "subject": _("Subject"), "text": _("Text")}

    def run(self, *, run: RunHandle, obj: Flight, config: Mapping[str, Any]) -> Directive:
        station = obj.origin if config["station"] == "origin" else obj.destination
        mail = EmailMessage(
            subject=run.render(config["subject"]),
            body=run.render(config["text"]),
            to=[station.email],
            # A crash at the wrong moment repeats the call: the receiver can tell by this.
            headers={"X-Step-Key": run.step_key},
        )
        mail.send()
        return Continue(result={"station": station.pk, "subject": mail.subject, "text": mail.body})

    def record(
        self, result: Any, *, run: RunHandle, obj: Flight, config: Mapping[str, Any]
    ) -> None:
        Notice.objects.create(
            flight=obj,
            station_id=result["station"],
            subject=result["subject"],
            text=result["text"],
            sent_at=run.now,
            step_key=run.step_key,
        )


@register_action
class CountTheDay(BaseAction):
    name = "demo.count_the_day"
    verbose_name = _("Count the day's flights")
    description = _("Reads how a day went: flights, late, cancelled, the longest delay.")
    group = _("Operations desk")
    # It only reads, but what it reads is the database: the figures have to fit its commit.
    effects = "database"
    config_schema = {
        "type": "object",
        "properties": {"day": {"type": "string", "format": "date"}},
        "required": ["day"],
        "additionalProperties": False,
    }
    labels = {"day": _("Day")}

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive:
        return Continue(result=desk.day_figures(date.fromisoformat(config["day"])))
