"""What the desk knows: flights as planned and as they stand, and what the desk did about them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from django.db import models
from django.utils.translation import gettext_lazy as _

SEATS: Final = 100
PASSENGERS: Final = 80
LATE: Final = 15
"""Minutes of departure delay from which a flight counts as late (as the statistics count)."""


class Airline(models.Model):
    code = models.CharField(_("code"), max_length=2, primary_key=True)
    name = models.CharField(_("name"), max_length=100)

    class Meta:
        ordering = ("name",)
        verbose_name = _("airline")
        verbose_name_plural = _("airlines")

    def __str__(self) -> str:
        return self.name


class Airport(models.Model):
    code = models.CharField(_("code"), max_length=3, primary_key=True)
    name = models.CharField(_("name"), max_length=100)
    latitude = models.FloatField(_("latitude"), null=True, blank=True)
    longitude = models.FloatField(_("longitude"), null=True, blank=True)
    time_zone = models.CharField(_("time zone"), max_length=50, blank=True)

    class Meta:
        ordering = ("code",)
        verbose_name = _("airport")
        verbose_name_plural = _("airports")

    def __str__(self) -> str:
        return f"{self.code} {self.name}"

    @property
    def email(self) -> str:
        """Where the airline's people at this airport read their mail."""
        return f"{self.code.lower()}@stations.example"


class FlightStatus(models.TextChoices):
    SCHEDULED = "scheduled", _("Scheduled")
    DELAYED = "delayed", _("Delayed")
    DEPARTED = "departed", _("Departed")
    ARRIVED = "arrived", _("Arrived")
    DIVERTED = "diverted", _("Diverted")
    CANCELLED = "cancelled", _("Cancelled")


ON_THE_GROUND: Final = (FlightStatus.SCHEDULED, FlightStatus.DELAYED)


class Flight(models.Model):
    """A flight as it stands now. The desk never knows what will come of it."""

    airline = models.ForeignKey(Airline, on_delete=models.PROTECT, verbose_name=_("airline"))
    number = models.PositiveIntegerField(_("number"))
    day = models.DateField(_("day"), help_text=_("The local date of the departure planned."))
    tail_number = models.CharField(_("tail number"), max_length=10, blank=True)
    origin = models.ForeignKey(
        Airport, on_delete=models.PROTECT, related_name="departures", verbose_name=_("from")
    )
    destination = models.ForeignKey(
        Airport, on_delete=models.PROTECT, related_name="arrivals", verbose_name=_("to")
    )
    distance = models.PositiveIntegerField(_("distance"), help_text=_("Miles."))
    scheduled_departure = models.DateTimeField(_("departure planned"))
    scheduled_arrival = models.DateTimeField(_("arrival planned"))
    status = models.CharField(
        _("status"), max_length=10, choices=FlightStatus.choices, default=FlightStatus.SCHEDULED
    )
    delay = models.IntegerField(
        _("delay"),
        default=0,
        help_text=_("Minutes by which it leaves late: announced, or real once it has left."),
    )
    departed_at = models.DateTimeField(_("departed"), null=True, blank=True)
    arrived_at = models.DateTimeField(_("arrived"), null=True, blank=True)
    seats = models.PositiveSmallIntegerField(_("seats"), default=SEATS)
    passengers = models.PositiveSmallIntegerField(_("passengers"), default=PASSENGERS)

    class Meta:
        ordering = ("scheduled_departure", "pk")
        verbose_name = _("flight")
        verbose_name_plural = _("flights")
        constraints = (
            models.UniqueConstraint(
                fields=("airline", "number", "origin", "scheduled_departure"),
                name="demo_flight_once",
            ),
            models.CheckConstraint(
                condition=models.Q(passengers__lte=models.F("seats")), name="demo_flight_seats"
            ),
        )
        indexes = (
            models.Index(fields=("destination", "scheduled_departure"), name="demo_flight_to"),
            models.Index(fields=("day", "status"), name="demo_flight_day"),
        )

    def __str__(self) -> str:
        return f"{self.code} {self.origin_id}–{self.destination_id} {self.day:%a %d %b}"

    # As the database has them, so that a signal handler can tell what a save has changed.
    status_before: str = FlightStatus.SCHEDULED
    delay_before: int = 0

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        self.note_what_is_stored()

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        flight = super().from_db(*args, **kwargs)
        flight.note_what_is_stored()
        return flight

    def note_what_is_stored(self) -> None:
        """Remember status and delay as the database has them."""
        read = self.__dict__  # asking for a deferred field would load it
        self.status_before = read.get("status", self.status_before)
        self.delay_before = read.get("delay", self.delay_before)

    @property
    def code(self) -> str:
        """How people name it: ``UA 1117``."""
        return f"{self.airline_id} {self.number}"

    @property
    def local_departure(self) -> datetime:
        """The departure planned, on the clocks of the origin."""
        return self.scheduled_departure.astimezone(ZoneInfo(self.origin.time_zone))

    @property
    def departs(self) -> str:
        """The departure planned as people of the origin say it: ``17:55 on Fri 08 Feb``."""
        return f"{self.local_departure:%H:%M on %a %d %b}"

    @property
    def departure_hour(self) -> int:
        """The hour of the departure planned, on the clocks of the origin."""
        return self.local_departure.hour

    @property
    def local_arrival(self) -> datetime:
        """The arrival planned, on the clocks of the destination."""
        return self.scheduled_arrival.astimezone(ZoneInfo(self.destination.time_zone))

    @property
    def has_changed(self) -> bool:
        """Whether the last save changed what people need to know. For handlers of ``post_save``."""
        return (self.status, self.delay) != (self.status_before, self.delay_before)

    @property
    def is_waiting(self) -> bool:
        """Whether it still stands on the ground and is meant to leave."""
        return self.status in ON_THE_GROUND


class Rebooking(models.Model):
    """Passengers of a cancelled flight who got seats on another one."""

    flight = models.ForeignKey(
        Flight, on_delete=models.CASCADE, related_name="rebookings", verbose_name=_("flight")
    )
    onto = models.ForeignKey(
        Flight, on_delete=models.CASCADE, related_name="taken_over", verbose_name=_("now on")
    )
    passengers = models.PositiveSmallIntegerField(_("passengers"))
    made_at = models.DateTimeField(_("made"))

    class Meta:
        ordering = ("-made_at", "-pk")
        verbose_name = _("rebooking")
        verbose_name_plural = _("rebookings")

    def __str__(self) -> str:
        return f"{self.passengers} × {self.flight} → {self.onto}"


class VoucherKind(models.TextChoices):
    MEAL = "meal", _("Meal")
    COACH = "coach", _("Coach ticket")
    HOTEL = "hotel", _("Hotel night")


class Voucher(models.Model):
    """What the desk hands out to people who have to wait: so many meals, coach seats, nights."""

    flight = models.ForeignKey(
        Flight, on_delete=models.CASCADE, related_name="vouchers", verbose_name=_("flight")
    )
    kind = models.CharField(_("kind"), max_length=10, choices=VoucherKind.choices)
    people = models.PositiveSmallIntegerField(_("people"))
    issued_at = models.DateTimeField(_("issued"))

    class Meta:
        ordering = ("-issued_at", "-pk")
        verbose_name = _("voucher")
        verbose_name_plural = _("vouchers")

    def __str__(self) -> str:
        return f"{self.people} × {self.get_kind_display()}, {self.flight}"


class Notice(models.Model):
    """A message that a station got about a flight."""

    flight = models.ForeignKey(
        Flight, on_delete=models.CASCADE, related_name="notices", verbose_name=_("flight")
    )
    station = models.ForeignKey(
        Airport, on_delete=models.PROTECT, related_name="notices", verbose_name=_("station")
    )
    subject = models.CharField(_("subject"), max_length=200)
    text = models.TextField(_("text"))
    sent_at = models.DateTimeField(_("sent"))
    step_key = models.CharField(_("step"), max_length=100, unique=True)

    class Meta:
        ordering = ("-sent_at", "-pk")
        verbose_name = _("notice")
        verbose_name_plural = _("notices")

    def __str__(self) -> str:
        return self.subject
