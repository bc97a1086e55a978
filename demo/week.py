"""The week goes by: the clock moves, the news comes in, flowcontrol does the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from django.contrib.auth.models import User
from django.db.models import Min

from demo import feed
from demo.clock import clock
from demo.feed import News
from demo.flow_documents import DAILY_SUMMARY, FLOWS, DemoFlow
from demo.records import HOME_ZONE
from flowcontrol.drafting import create_flow, replace_draft
from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.models import Flow, FlowRun, Status, Trigger
from flowcontrol.publishing import publish

MONDAY: Final = datetime(2013, 2, 4, tzinfo=HOME_ZONE)
"""When the week begins at the desk."""

STEP: Final = timedelta(minutes=15)
"""The news of so long a time is written at once."""


def publish_flows(user: User | None = None) -> list[Flow]:
    """Put the desk's flows into the database, publish them and switch them on."""
    return [publish_flow(flow, user) for flow in FLOWS]


def publish_flow(delivered: DemoFlow, user: User | None = None) -> Flow:
    """One flow: its draft, the version published from it, and the trigger that starts it."""
    flow = create_flow(
        delivered.name,
        delivered.slug,
        description=delivered.description,
        active_at=clock.now(),
    )
    replace_draft(flow, delivered.document)
    publish(flow, user=user, note="As delivered with the demo.")
    if delivered.trigger:
        Trigger.objects.create(
            name=delivered.trigger,
            flow=flow,
            condition=delivered.trigger_condition,
            active_at=clock.now(),
        )
    return flow


def start_the_week() -> FlowRun:
    """Start what no trigger starts: the daily summary, for the whole week."""
    return create_flowrun(DAILY_SUMMARY.slug)


def play(
    news: Sequence[News],
    *,
    step: timedelta = STEP,
    on_progress: Callable[[datetime, int], None] = lambda moment, told: None,
) -> int:
    """Let the desk's time pass until the news is told and no run has anything left to do.

    The clock jumps to the moment when the next run is due, or to the end of the next ``step`` in
    which there is news. ``on_progress`` gets the time and the number of news told after each.

    Returns:
        How many sweeps it took.
    """
    told = sweeps = 0
    while (moment := next_moment(news[told : told + 1], step)) is not None:
        until = told
        while until < len(news) and news[until].at <= moment:
            until += 1
        feed.publish(news[told:until])
        clock.set(moment)
        tally = continue_flowruns()
        sweeps += 1
        if until == told and not tally.executed:
            break  # what is due is held back, by a paused flow say: waiting does not help
        told = until
        on_progress(moment, told)
    return sweeps


def next_moment(upcoming: Sequence[News], step: timedelta) -> datetime | None:
    """When the clock should stop next: when a run is due, or at the end of a step with news."""
    moments = [_end_of_step(item.at, step) for item in upcoming[:1]]
    waiting = FlowRun.objects.filter(status__in=(Status.PENDING, Status.WAITING))
    if due := waiting.aggregate(due=Min("due"))["due"]:
        moments.append(due)
    return max(min(moments), clock.now()) if moments else None


def _end_of_step(moment: datetime, step: timedelta) -> datetime:
    seconds = step.total_seconds()
    return datetime.fromtimestamp(math.ceil(moment.timestamp() / seconds) * seconds, UTC)
