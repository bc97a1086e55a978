"""A trial holds a transaction open: whom it may hold up, and whom not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.db import connection

from flowcontrol.base import BaseAction, Directive, RunHandle
from flowcontrol.documents import make_document, row
from flowcontrol.drafting import create_flow, edit_action, replace_draft
from flowcontrol.engine import continue_flowruns, start_flowrun
from flowcontrol.flowtests import run_tests, save_test
from flowcontrol.models import Flow, FlowRun, FlowVersion
from flowcontrol.publishing import publish
from flowcontrol.registry import actions
from flowcontrol.testing import NOON, Log, UpdateState
from flowcontrol.trying import Trial, try_flow
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db(transaction=True)

inside = threading.Event()
go_on = threading.Event()


class Hold(BaseAction):
    """Stays inside the trial until the test says so."""

    name = "test.hold"
    effects = "database"
    can_try = True

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        Parcel.objects.create(label="seen by nobody")
        inside.set()
        assert go_on.wait(30)
        return None


@pytest.fixture
def flow() -> Iterator[Flow]:
    inside.clear()
    go_on.clear()
    with actions.temporarily(Hold):
        flow = create_flow("Held", active_at=NOON)
        replace_draft(
            flow, make_document(UpdateState(n="1"), row("test.hold", uid="hold"), Log("x"))
        )
        yield flow
        go_on.set()


class Tried(threading.Thread):
    """A trial in a thread of its own, with a connection of its own."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow
        self.trial: Trial | None = None
        self.start()

    def run(self) -> None:
        try:
            self.trial = try_flow(self.flow)
        finally:
            connection.close()

    def end(self) -> Trial:
        go_on.set()
        self.join(30)
        assert self.trial is not None
        return self.trial


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer")
def test_a_trial_holds_up_nobody_who_works_on_the_same_flow(flow: Flow) -> None:
    held = Tried(flow)
    assert inside.wait(30)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
    assert Parcel.objects.count() == 0
    edit_action(flow, "hold", label="Held for a while")
    replace_draft(flow, make_document(Log("other")))
    save_test(flow, "It ends", expectations={"outcome": "complete"})
    assert [tested.status for tested in run_tests(flow)] == ["passed"]
    publish(flow)
    assert start_flowrun(Flow.objects.get()).outcome == "complete"
    assert try_flow(flow).outcome == "complete"
    continue_flowruns()
    trial = held.end()
    # It goes on with the draft that it began with.
    assert (trial.outcome, trial.state) == ("complete", {"n": 1})
    assert FlowRun.objects.count() == 1
    assert FlowVersion.objects.get().number == 1


def test_whoever_writes_while_a_flow_is_tried_comes_next_or_at_once(flow: Flow) -> None:
    held = Tried(flow)
    assert inside.wait(30)
    threading.Timer(0.3, go_on.set).start()
    Parcel.objects.create(label="mine")
    assert held.end().outcome == "complete"
    assert [parcel.label for parcel in Parcel.objects.all()] == ["mine"]
    assert FlowRun.objects.count() == 0
