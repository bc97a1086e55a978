"""The desk's flows, as an operations person composes them in the admin.

``row(action, *rows inside, **config)`` reads like the action list of the builder. Everything here
can be changed in the admin afterwards; the next run follows what is published there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flowcontrol.documents import make_document, row


@dataclass(frozen=True)
class DemoFlow:
    """A flow, and the trigger row that starts it (if one does)."""

    slug: str
    name: str
    description: str
    document: dict[str, Any]
    trigger: str = ""
    trigger_condition: str = ""


STATION_INFORMATION: Final = DemoFlow(
    slug="station-information",
    name="Station information",
    description="Tells both ends of a cancelled flight what has become of the passengers.",
    document=make_document(
        row(
            "demo.notify_station",
            label="Tell the origin",
            station="origin",
            subject="{{ object.code }} to {{ object.destination_id }} is cancelled",
            text=(
                "{{ object.code }} to {{ object.destination.name }}, planned for "
                "{{ object.departs }}, does not leave.\n\n"
                "{{ rebooking.moved }} passengers have seats on {{ rebooking.flights }} later "
                "flights, {{ rebooking.left }} have not.\n"
            ),
        ),
        row(
            "if",
            row(
                "demo.notify_station",
                label="Tell the destination",
                station="destination",
                subject="{{ object.code }} from {{ object.origin_id }} will not come",
                text=(
                    "Do not expect {{ object.code }} from {{ object.origin.name }}.\n"
                    "{{ rebooking.left }} of its passengers are still in New York.\n"
                ),
            ),
            label="Somebody is being waited for",
            condition="rebooking.left > 0",
        ),
        content_type="demo.flight",
        state_schema={
            "type": "object",
            "properties": {"rebooking": {"type": "object"}},
            "required": ["rebooking"],
        },
    ),
)

HOTEL_NIGHT: Final = DemoFlow(
    slug="hotel-night",
    name="Hotel night",
    description="Rooms for everybody who has no seat, and another try in the morning.",
    document=make_document(
        row("demo.issue_vouchers", label="A room for everybody who is left", kind="hotel"),
        row("delay", label="Let them sleep", time="07:00", time_zone="America/New_York"),
        row(
            "demo.rebook_passengers",
            label="Try other airlines too",
            hours=72,
            other_airlines=True,
            result_key="rebooking",
        ),
        row(
            "if",
            row("demo.issue_vouchers", label="Breakfast at least", kind="meal"),
            label="Not everybody gets away",
            condition="rebooking.left > 0",
        ),
        content_type="demo.flight",
    ),
)

CANCELLATION: Final = DemoFlow(
    slug="cancellation",
    name="Cancellation",
    description="Looks after the passengers of a cancelled flight.",
    document=make_document(
        row(
            "demo.rebook_passengers",
            label="Seats on the airline's own flights",
            hours=48,
            result_key="rebooking",
        ),
        row(
            "if",
            row("log", message="All {{ rebooking.moved }} passengers have a seat."),
            label="Everybody has a seat",
            condition="rebooking.left == 0",
        ),
        row(
            "else_if",
            row("demo.issue_vouchers", label="By road instead", kind="coach"),
            label="Near enough for a coach",
            condition="object.distance <= 250",
        ),
        row(
            "else_if",
            row(
                "start_flow",
                label="A night in a hotel",
                flow="hotel-night",
                pass_object=True,
                pass_state="all",
            ),
            label="Too late to wait at the airport",
            condition="object.departure_hour >= 17",
        ),
        row(
            "else",
            row("demo.issue_vouchers", label="Lunch", kind="meal"),
            row("delay", label="Seats may turn up", duration="PT3H"),
            row(
                "demo.rebook_passengers",
                label="Try again, other airlines too",
                hours=48,
                other_airlines=True,
                result_key="rebooking",
            ),
        ),
        row(
            "start_flow",
            label="Tell the stations",
            flow="station-information",
            pass_object=True,
            pass_state="chosen",
            state_keys=["rebooking"],
        ),
        content_type="demo.flight",
    ),
    trigger="demo.flight_cancelled",
    trigger_condition="object.distance <= 1500",
)


def _told(station: str, subject: str, text: str, label: str) -> tuple[dict[str, Any], ...]:
    """A mail to a station; if the mail server stays out of order, somebody has to telephone."""
    return (
        row(
            "try",
            row(
                "demo.notify_station",
                label=label,
                station=station,
                subject=subject,
                text=text,
                retry={"attempts": 3, "wait": 60, "errors": ["SMTPException", "OSError"]},
            ),
        ),
        row(
            "on_error",
            row("update_state", state={"by_phone": f"'{station}'"}, evaluate=True),
            row("log", message="Mail is out of order: {{ error.message }} Call the station."),
            errors=["SMTPException", "OSError"],
        ),
    )


KEEP_TRYING: Final = DemoFlow(
    slug="keep-trying",
    name="Keep trying",
    description="Looks for seats every three hours for half a day, whatever the airline.",
    document=make_document(
        row(
            "for",
            row("delay", label="Seats may turn up", duration="PT3H"),
            row(
                "demo.rebook_passengers",
                label="Any airline",
                hours=48,
                other_airlines=True,
                result_key="rebooking",
            ),
            row("break", label="Everybody has a seat", condition="rebooking.left == 0"),
            label="Four times",
            end=4,
        ),
        content_type="demo.flight",
    ),
)

LONG_HAUL: Final = DemoFlow(
    slug="long-haul-cancellation",
    name="Long-haul cancellation",
    description="A cancelled flight of more than 1,500 miles: everything at once, then patience.",
    document=make_document(
        row(
            "parallel",
            row(
                "branch",
                *_told(
                    "origin",
                    "{{ object.code }} to {{ object.destination_id }} is cancelled",
                    "{{ object.code }}, planned for {{ object.departs }}, does not leave.\n",
                    "Tell the origin",
                ),
                *_told(
                    "destination",
                    "{{ object.code }} from {{ object.origin_id }} will not come",
                    "Do not expect {{ object.code }} from {{ object.origin.name }}.\n",
                    "Tell the destination",
                ),
                title="Both stations",
                keys=["by_phone"],
            ),
            row(
                "branch",
                row("demo.find_flights", count=3, result_key="flights"),
                row(
                    "for_each",
                    row(
                        "demo.move_onto",
                        label="As many as there is room for",
                        flight={"$expr": "candidate.id"},
                        result_key="rebooking",
                    ),
                    row(
                        "break",
                        label="Everybody has a seat",
                        condition="rebooking.left == 0",
                        target="loop",
                    ),
                    label="The next three flights",
                    items="flights",
                    var_name="candidate",
                ),
                title="Seats",
                keys=["rebooking"],
            ),
            label="At once",
        ),
        row(
            "if",
            row("start_flow", label="Keep trying meanwhile", flow="keep-trying"),
            row(
                "wait_for_trigger",
                label="Until everybody has a seat, 12 hours at most",
                trigger="demo.flight_rebooked",
                timeout="PT12H",
                look_back="PT5M",
                result_key="rebooked",
            ),
            row(
                "if",
                row("demo.issue_vouchers", label="A night in a hotel", kind="hotel"),
                label="Not in time",
                condition="rebooked is None",
            ),
            label="Somebody has no seat",
            condition="object.passengers > 0",
        ),
        content_type="demo.flight",
        state_schema={
            "type": "object",
            "properties": {
                "by_phone": {"type": "string"},
                "rebooking": {"type": "object"},
            },
        },
    ),
    trigger="demo.flight_cancelled",
    trigger_condition="object.distance > 1500",
)

LONG_DELAY: Final = DemoFlow(
    slug="long-delay",
    name="Long delay",
    description="Reminds the station of a flight that is an hour late, until it has left.",
    document=make_document(
        row(
            "demo.notify_station",
            label="First word to the station",
            station="origin",
            subject="{{ object.code }} will leave {{ object.delay }} minutes late",
            text=(
                "{{ object.code }} to {{ object.destination.name }}, planned for "
                "{{ object.departs }}, is expected to leave {{ object.delay }} minutes late.\n"
            ),
        ),
        row("set_state", state={"reminders": 0}),
        row(
            "while",
            row("delay", label="An hour", duration="PT1H"),
            row("break", label="It has left meanwhile", condition="not object.is_waiting"),
            row("update_state", state={"reminders": "reminders|add:1"}, evaluate=True),
            row(
                "demo.notify_station",
                label="Remind the station",
                station="origin",
                subject="Reminder {{ reminders }}: {{ object.code }} is still here",
                text=(
                    "{{ object.code }} to {{ object.destination.name }} has not left.\n"
                    "The delay announced is {{ object.delay }} minutes by now.\n"
                ),
            ),
            label="Until it has left, four times at most",
            condition="object.is_waiting and reminders < 4",
        ),
        row(
            "if",
            row(
                "send_email",
                to=["duty.manager@airline.example"],
                subject="{{ object.code }}: {{ object.delay }} minutes and no end",
                text=(
                    "The station has been reminded {{ reminders }} times.\n"
                    "{{ object.code }} to {{ object.destination.name }}, planned for "
                    "{{ object.departs }}, is still on the ground.\n"
                ),
            ),
            label="Still here",
            condition="object.is_waiting",
        ),
        content_type="demo.flight",
        condition='object.status != "cancelled"',
    ),
    trigger="demo.flight_changed",
    trigger_condition="trigger.delay >= 60 and trigger.delay_before < 60",
)

DAILY_SUMMARY: Final = DemoFlow(
    slug="daily-summary",
    name="Daily summary",
    description="A mail each evening of the week: how the day went.",
    document=make_document(
        row(
            "for",
            row("delay", label="The end of the day", time="23:55", time_zone="America/New_York"),
            row("demo.count_the_day", day={"$expr": "today"}, result_key="figures"),
            row(
                "if",
                row("update_state", state={"headline": "A hard day"}),
                label="One in ten did not leave",
                condition="figures.cancelled_percent >= 10",
            ),
            row(
                "else_if",
                row("update_state", state={"headline": "A slow day"}),
                label="One in five left late",
                condition="figures.late_percent >= 20",
            ),
            row("else", row("update_state", state={"headline": "A good day"})),
            row(
                "send_email",
                to=["operations@airline.example"],
                subject="{{ headline }}: {{ figures.day }}",
                text=(
                    "{{ figures.day }}, day {{ day }} of the week\n\n"
                    "Flights planned   {{ figures.flights }}\n"
                    "Left              {{ figures.left }}\n"
                    "Late (15 min)     {{ figures.late }} ({{ figures.late_percent }} %)\n"
                    "Cancelled         {{ figures.cancelled }}"
                    " ({{ figures.cancelled_percent }} %)\n"
                    "Still to leave    {{ figures.waiting }}\n"
                    "Longest delay     {{ figures.worst }}\n"
                ),
            ),
            row("delay", label="Midnight", time="00:00", time_zone="America/New_York"),
            label="Each day of the week",
            start=1,
            end=8,
            var_name="day",
        ),
    ),
)

FLOWS: Final = (
    *(STATION_INFORMATION, HOTEL_NIGHT, CANCELLATION),
    *(KEEP_TRYING, LONG_HAUL),
    *(LONG_DELAY, DAILY_SUMMARY),
)
"""In the order in which they can be published: a flow is there before one that starts it."""
