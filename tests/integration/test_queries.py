"""How often a sweep asks the database: by batches, never by steps or runs.

Real transactions: the savepoints of a test's own transaction would count too.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flowcontrol.base import BaseAction
from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.models import Flow, FlowRun, Outcome, Status
from flowcontrol.registry import actions
from flowcontrol.starting import find_no_room
from flowcontrol.testing import Delay, For, If, Log, UpdateState, make_flow, row, travel_to
from tests.statements import Statements, statements
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_second_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine, that a sweep has ended is written down by the first one only."""
    monkeypatch.setattr("flowcontrol.models.engine.BEAT", timedelta(days=9999))


def copies(flow: Flow, number: int, **fields: object) -> None:
    """``number`` due runs of a flow, written in one go."""
    assert flow.live_version is not None
    now = datetime(2013, 1, 1, tzinfo=UTC)
    FlowRun.objects.bulk_create(
        FlowRun(
            **{
                "flow": flow,
                "version": flow.live_version,
                "state": {"n": 0},
                "due": now,
                "created_at": now,
                **fields,
            }
        )
        for _number in range(number)
    )


def sweep() -> Statements:
    with statements() as said:
        continue_flowruns()
    return said


def known(flow: Flow) -> Flow:
    """The flow, after what this process reads of it once, and keeps, is read."""
    copies(flow, 1, state={"n": 0, "label": ""})
    continue_flowruns()
    FlowRun.objects.all().delete()
    return flow


def counting(steps: int) -> Flow:
    return known(make_flow(*[UpdateState(n="n|add:1")] * steps, name=f"{steps} steps"))


def test_a_sweep_of_a_thousand_runs_asks_by_the_batch():
    copies(counting(10), 1000)
    said = sweep()
    done = FlowRun.objects.filter(status=Status.DONE, state={"n": 10})
    assert done.count() == 1000
    # Two batches of 500; nine statements each, begin and commit among them, and an empty round.
    assert len(said.texts) <= 25, said.texts


def test_more_steps_are_not_more_queries():
    counts = []
    for steps in (1, 10, 60):
        copies(counting(steps), 200)
        counts.append(len(sweep().texts))
        assert FlowRun.objects.filter(status=Status.DONE, state={"n": steps}).count() == 200
    assert counts[0] == counts[1] == counts[2]


def test_more_runs_are_not_more_queries_but_for_batches():
    flow = counting(3)
    counts = []
    for runs in (1, 2, 50, 500, 1000, 2000):
        copies(flow, runs)
        counts.append(len(sweep().texts))
    assert counts[0] <= counts[1] == counts[2] == counts[3]
    # The same again for each further batch.
    assert (counts[5] - counts[4]) == 2 * (counts[4] - counts[3])


def test_loops_conditions_and_logs_are_not_more_queries():
    rounds = For(50, [UpdateState(n="n|add:1"), If("n > 25", [Log("{{ n }} of {{ run }}")])])
    flow = known(make_flow(rounds, name="Busy"))
    copies(counting(1), 20)
    expected = len(sweep().texts)
    copies(flow, 20)
    assert len(sweep().texts) == expected


def test_objects_are_read_with_one_query_for_the_batch():
    flow = known(make_flow(UpdateState(label="object.label")))
    copies(counting(1), 10)
    expected = len(sweep().texts)
    for number in range(60):
        create_flowrun(flow, Parcel.objects.create(label=f"{number}", weight=1))
    said = sweep()
    reading = [text for text in said.texts if "testapp_parcel" in text]
    assert (len(reading), len(said.texts)) == (1, expected + 1)
    assert FlowRun.objects.filter(flow=flow, state__label="59").exists()


def test_resuming_waiting_runs_asks_by_the_batch_too():
    flow = make_flow(Delay("PT1H"), UpdateState(n="n|add:1"), Delay("PT1H"), UpdateState(n="9"))
    known(flow)
    with travel_to(NOON) as clock:
        counts = []
        for runs in (10, 300):
            copies(flow, runs)
            sweep()
            clock.advance(hours=1)
            with statements() as said:
                tally = continue_flowruns()
            assert (tally.executed, tally.parked) == (runs, runs)
            counts.append(len(said.texts))
            FlowRun.objects.all().delete()
    assert counts[0] == counts[1]


def test_a_database_step_costs_the_same_however_many_there_are():
    class Insert(BaseAction):
        name = "test.insert"
        effects = "database"

        def run(self, *, run, obj, config):
            Parcel.objects.create(label=run.step_key)

    with actions.temporarily(Insert):
        counts = []
        for steps in (2, 4, 8):
            flow = make_flow(*[row("test.insert")] * steps, name=f"{steps} inserts")
            copies(known(flow), 1)
            counts.append(len(sweep().texts))
    assert (counts[2] - counts[1]) == 2 * (counts[1] - counts[0])
    # Begin, insert, write, history, commit; a transaction of its own for nothing else.
    assert (counts[1] - counts[0]) // 2 <= 6


def test_a_sweep_with_nothing_to_do_is_a_handful_of_queries():
    copies(make_flow(Log("x")), 50, due=datetime(2999, 1, 1, tzinfo=UTC))
    sweep()
    # What is there to do, what is due, and when was the last sweep?
    assert len(sweep().texts) == 3


def test_a_paused_flow_costs_nothing():
    held = make_flow(Log("x"), name="Held")
    free = make_flow(Log("x"), name="Free")
    copies(held, 300)
    Flow.objects.filter(pk=held.pk).update(paused_at=NOON)
    copies(free, 5)
    tally = continue_flowruns()
    assert (tally.executed, tally.done) == (5, 5)
    assert FlowRun.objects.filter(flow=held, status=Status.PENDING).count() == 300


def test_the_backlog_of_one_flow_does_not_hold_up_the_others(settings):
    settings.FLOWCONTROL_BATCH_SIZE = 100
    crowd = make_flow(Log("x"), name="Crowd")
    copies(crowd, 500)
    others = [make_flow(Log("x"), name=f"Few {number}") for number in range(3)]
    for flow in others:
        copies(flow, 2)
    continue_flowruns(max_runs=50)
    done = FlowRun.objects.filter(outcome=Outcome.COMPLETE)
    assert done.exclude(flow=crowd).count() == 6
    assert 0 < done.filter(flow=crowd).count() < 50


def test_a_share_that_one_flow_does_not_need_is_not_taken_from_it_for_ever():
    crowd = make_flow(Log("x"), name="Crowd")
    copies(crowd, 300)
    for number in range(3):
        copies(make_flow(Log("x"), name=f"Few {number}"), 1)
    assert continue_flowruns().done == 303


def test_where_flows_are_more_than_a_batch_has_rows_none_is_left_out_for_ever(settings):
    settings.FLOWCONTROL_BATCH_SIZE = 2
    for number in range(6):
        copies(make_flow(Log("x"), name=f"Flow {number}"), 50)
    for _batch in range(40):
        continue_flowruns(max_runs=2)
    served = FlowRun.objects.filter(outcome=Outcome.COMPLETE).values_list("flow").distinct()
    assert served.count() == 6


def test_a_limit_is_looked_at_without_counting_all_that_ever_ran():
    flow = make_flow(Log("x"), max_concurrent=3, max_per_object=2)
    run = FlowRun(flow=flow, object_id="1")
    with statements() as said:
        assert find_no_room(flow, run) is None
    assert len(said.texts) == 2
    assert all("LIMIT" in text or "status" in text for text in said.texts)
