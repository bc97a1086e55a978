"""What the week was like, and what the flows made of it: figures first, then their looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Final

from django.db.models import Count, Q, Sum
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.flow_documents import LONG_DELAY
from demo.models import LATE, Flight, FlightStatus, Notice, Rebooking, Voucher
from flowcontrol.models import Firing, Flow, FlowRun, Outcome, Status

END_OF_MAIL: Final = "\n" + "-" * 79 + "\n"
"""What the file backend writes after each mail."""


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One day's flights, and what the desk did for those that were cancelled."""

    day: date
    flights: int
    late: int
    cancelled: int
    rebooked: int
    vouchers: int
    notices: int


@dataclass(frozen=True, slots=True)
class FlowFigures:
    """What became of the runs of one flow, and how many steps they took."""

    name: str
    runs: int
    complete: int
    aborted: int
    obsolete: int
    failed: int
    open: int
    other: int
    steps: int


@dataclass(frozen=True, slots=True)
class Report:
    days: list[DayFigures]
    flows: list[FlowFigures]
    firings: int
    reminders: int
    failures: list[str]
    mails: Counter[str]
    """Number of mails by the name of the mailbox, ``"stations"`` for all of theirs together."""
    summary: str
    """The daily summary of the worst day, as it was mailed."""


def gather(mail_directory: Path) -> Report:
    """Read all figures from the database and the mails written."""
    days = day_figures()
    mails = read_mails(mail_directory)
    return Report(
        days=days,
        flows=[flow_figures(flow) for flow in Flow.objects.order_by("pk")],
        firings=Firing.objects.count(),
        reminders=sum(
            state.get("reminders", 0)
            for state in FlowRun.objects.filter(flow__slug=LONG_DELAY.slug).values_list(
                "state", flat=True
            )
        ),
        failures=[
            f"Run #{run.pk} of {run.flow}: {run.reason}"
            for run in FlowRun.objects.filter(status=Status.FAILED).select_related("flow")[:5]
        ],
        mails=count_mails(mails),
        summary=summary_of_worst_day(days, mails),
    )


def day_figures() -> list[DayFigures]:
    flights = (
        Flight.objects.order_by("day")
        .values("day")
        .annotate(
            flights=Count("pk"),
            late=Count("pk", filter=Q(delay__gte=LATE) & ~Q(status=FlightStatus.CANCELLED)),
            cancelled=Count("pk", filter=Q(status=FlightStatus.CANCELLED)),
        )
    )
    rebooked = _by_day(Rebooking.objects.values_list("flight__day").annotate(Sum("passengers")))
    vouchers = _by_day(Voucher.objects.values_list("flight__day").annotate(Sum("people")))
    notices = _by_day(Notice.objects.values_list("flight__day").annotate(Count("pk")))
    return [
        DayFigures(**row, rebooked=rebooked[day], vouchers=vouchers[day], notices=notices[day])
        for row in flights
        for day in [row["day"]]
    ]


def _by_day(pairs: Iterable[tuple[date, int]]) -> Counter[date]:
    return Counter(dict(pairs))


def flow_figures(flow: Flow) -> FlowFigures:
    runs = FlowRun.objects.filter(flow=flow)
    outcomes = Counter(dict(runs.values_list("outcome").annotate(Count("pk")).order_by()))
    failed = runs.filter(status=Status.FAILED).count()
    still_open = runs.exclude(status__in=(Status.DONE, Status.FAILED)).count()
    total = runs.count()
    known = (Outcome.COMPLETE, Outcome.ABORTED, Outcome.OBSOLETE)
    return FlowFigures(
        name=flow.name,
        runs=total,
        complete=outcomes[Outcome.COMPLETE],
        aborted=outcomes[Outcome.ABORTED],
        obsolete=outcomes[Outcome.OBSOLETE],
        failed=failed,
        open=still_open,
        other=total - failed - still_open - sum(outcomes[outcome] for outcome in known),
        steps=runs.aggregate(steps=Sum("visit"))["steps"] or 0,
    )


def read_mails(directory: Path) -> list[Message]:
    """The mails that Django's file backend has written, each into a file of its own."""
    return [
        message_from_string(text)
        for file in sorted(directory.glob("*.log"))
        for text in file.read_text(encoding="utf-8").split(END_OF_MAIL)
        if text.strip()
    ]


def count_mails(mails: Iterable[Message]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for mail in mails:
        mailbox, _, domain = str(mail["To"]).partition("@")
        counts["stations" if domain == "stations.example" else mailbox] += 1
    return counts


def summary_of_worst_day(days: Sequence[DayFigures], mails: Iterable[Message]) -> str:
    worst = max(days, key=lambda day: day.cancelled, default=None)
    if worst is not None:
        for mail in mails:
            if f"{worst.day:%d %B %Y}" in str(mail["Subject"]):
                return f"{mail['Subject']}\n\n{mail.get_payload()}".strip()
    return ""


def render(report: Report, console: Console, *, seconds: float) -> None:
    """Print the report; ``seconds`` is how long the week took."""
    console.print()
    console.rule("[bold]Out of New York, 4 to 10 February 2013")
    console.print(_day_table(report.days))
    console.print(
        "[dim]Late: by 15 minutes or more. Rebooked, vouchers: people. The flights are real, but "
        "the data has no passengers: the demo assumes 80 on each flight, and 100 seats.[/]"
    )
    console.print(_flow_table(report.flows))
    runs = sum(flow.runs for flow in report.flows)
    steps = sum(flow.steps for flow in report.flows)
    mails = report.mails
    console.print(
        f"[bold]{report.firings:,}[/] firings of triggers led to [bold]{runs:,}[/] runs, which "
        f"executed [bold]{steps:,}[/] steps. The week took [bold]{seconds:.0f} s[/]."
    )
    console.print(
        f"[bold]{mails.total():,}[/] mails: {mails['stations']:,} to stations, "
        f"{report.reminders:,} of them reminders; {mails['duty.manager']:,} to the duty manager; "
        f"{mails['operations']:,} daily summaries."
    )
    if report.summary:
        console.print(Panel(Text(report.summary), title="One of them", expand=False))
    for failure in report.failures:
        console.print(Text(failure, style="red"))


def _day_table(days: Sequence[DayFigures]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    table.add_column("Day", "Week")
    columns = {
        "Flights": [day.flights for day in days],
        "Late": [day.late for day in days],
        "Cancelled": [day.cancelled for day in days],
        "Rebooked": [day.rebooked for day in days],
        "Vouchers": [day.vouchers for day in days],
        "Notices": [day.notices for day in days],
    }
    for name, values in columns.items():
        table.add_column(name, f"{sum(values):,}", justify="right")
    for number, day in enumerate(days):
        table.add_row(
            f"{day.day:%a %d %b}",
            *(f"{values[number]:,}" for values in columns.values()),
            style="red" if day.cancelled * 10 > day.flights else "",
        )
    return table


def _flow_table(flows: Sequence[FlowFigures]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    table.add_column("Flow", "All flows")
    columns = {
        "Runs": [flow.runs for flow in flows],
        "Complete": [flow.complete for flow in flows],
        "Aborted": [flow.aborted for flow in flows],
        "Obsolete": [flow.obsolete for flow in flows],
        "Failed": [flow.failed for flow in flows],
        "Open": [flow.open for flow in flows],
        "Other": [flow.other for flow in flows],
        "Steps": [flow.steps for flow in flows],
    }
    # A column without a figure only takes room, but that nothing failed is worth a column.
    shown = {name: values for name, values in columns.items() if any(values) or name == "Failed"}
    for name, values in shown.items():
        table.add_column(name, f"{sum(values):,}", justify="right")
    for number, flow in enumerate(flows):
        table.add_row(flow.name, *(f"{values[number]:,}" for values in shown.values()))
    return table
