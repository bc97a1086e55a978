"""The same flows in memory and in the database: rehearsals tell what runs will do."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import override_settings

from flowcontrol.base import BaseAction, Directive, RunHandle, SuspendAndRepeat
from flowcontrol.documents import JSONObject, make_document
from flowcontrol.engine import start_flowrun
from flowcontrol.exceptions import EndlessLoop
from flowcontrol.findings import find_all
from flowcontrol.models import FlowRun, Status
from flowcontrol.registry import actions
from flowcontrol.testing import (
    Clock,
    Delay,
    Rehearsal,
    UpdateState,
    make_flow,
    rehearse,
    row,
    run_until_idle,
    trace_of,
    travel_to,
)
from tests.unit.reading import some_rows

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


def sound_flow(luck: random.Random) -> tuple[list[JSONObject], Rehearsal]:
    """A flow at random that can be published and ends, and what it does in memory."""
    while True:
        rows = some_rows(luck)
        if any(finding.severity == "error" for finding in find_all(make_document(*rows))):
            continue
        try:
            told = rehearse(*rows, state={"n": 0}, now=NOON, max_steps=300)
        except EndlessLoop:
            continue
        if told.outcome != "unfinished" and len(told.trace) > 10:
            return rows, told


def run_to_the_end(rows: list[JSONObject], clock: Clock) -> FlowRun:
    run = start_flowrun(make_flow(*rows), state={"n": 0})
    while run.status != Status.DONE:
        assert run.due is not None
        clock.move_to(max(clock.moment, run.due))
        run_until_idle()
        run.refresh_from_db()
    return run


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("budget", [10_000, 3])
def test_a_run_in_the_database_does_what_its_rehearsal_did(seed: int, budget: int):
    """Also when workers take turns after every few steps."""
    with (
        override_settings(FLOWCONTROL_MAX_HOT_LOOPS=20, FLOWCONTROL_HISTORY_STEPS=1000),
        travel_to(NOON) as clock,
    ):
        rows, told = sound_flow(random.Random(seed))
        with override_settings(FLOWCONTROL_STEP_BUDGET=budget):
            run = run_to_the_end(rows, clock)
    assert (trace_of(run), run.state, run.outcome) == (told.trace, told.state, told.outcome)


def test_runs_that_stay_due_for_ever_are_told_of():
    class Restless(BaseAction):
        name = "test.restless"
        effects = "none"

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> Directive:
            return SuspendAndRepeat(until=run.now)

    with actions.temporarily(Restless), travel_to(NOON):
        start_flowrun(make_flow(row("test.restless")))
        with pytest.raises(AssertionError, match="still due after 50 executions"):
            run_until_idle(max_runs=50)


def test_idle_means_that_nothing_is_due_now():
    flow = make_flow(Delay("PT1H"), UpdateState(done="true"))
    with travel_to(NOON) as clock:
        runs = [start_flowrun(flow) for _run in range(3)]
        assert run_until_idle() == 0
        clock.advance(hours=1)
        assert run_until_idle() == 3
        assert run_until_idle() == 0
    assert {run.status for run in FlowRun.objects.filter(pk__in=[run.pk for run in runs])} == {
        Status.DONE
    }


def test_a_flow_for_a_test_is_on_and_published_and_keeps_its_settings(
    django_user_model: Any,
):
    dispatcher = django_user_model.objects.create(username="dispatcher")
    flow = make_flow(
        UpdateState(n="1"),
        name="Late flight",
        identity=dispatcher,
        max_concurrent=3,
        content_type="testapp.parcel",
        condition="true",
        state_schema={"type": "object"},
    )
    flow.refresh_from_db()
    assert flow.is_active(NOON)
    assert (flow.slug, flow.identity, flow.max_concurrent) == ("late-flight", dispatcher, 3)
    assert flow.live_version is not None
    document = flow.live_version.document
    assert (document["identity"], document["content_type"]) == ("dispatcher", "testapp.parcel")
    assert not make_flow(name="Off", active=False).is_active(NOON)
