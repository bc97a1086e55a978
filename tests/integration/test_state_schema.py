"""The state schema of a version: a row that leaves the state otherwise fails; nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from flowcontrol.base import BaseAction, Continue
from flowcontrol.engine import retry_flowrun, start_flowrun
from flowcontrol.models import FlowRun, Outcome, Status
from flowcontrol.operating import edit_state
from flowcontrol.registry import actions
from flowcontrol.testing import Log, UpdateState, make_flow, row, run_until_idle
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 3}}}


class Weigh(BaseAction):
    """Leaves a parcel and a number that its flow may not allow."""

    name = "test.weigh"
    effects = "database"

    def run(self, *, run: Any, obj: Any, config: Any) -> Continue:
        Parcel.objects.create(label="weighed")
        run.state["n"] = run.state.get("n", 0) + 2
        return Continue()


class Note(BaseAction):
    """Calls the outside and writes into the state when the answer is recorded."""

    name = "test.note"
    effects = "external"

    def run(self, *, run: Any, obj: Any, config: Any) -> Continue:
        return Continue("x")

    def record(self, result: Any, *, run: Any, obj: Any, config: Any) -> None:
        Parcel.objects.create(label="noted")
        run.state["n"] = result


@pytest.fixture(autouse=True)
def _actions() -> Any:
    with actions.temporarily(Weigh, Note):
        yield


def stored(run: FlowRun) -> dict[str, Any]:
    return dict(FlowRun.objects.values_list("state", flat=True).get(pk=run.pk))


def test_the_run_keeps_its_last_good_state_and_names_row_and_key():
    flow = make_flow(
        UpdateState(n="1"), UpdateState(n="n|add:1"), UpdateState(n="n|add:5"), state_schema=SCHEMA
    )
    run = start_flowrun(flow)
    assert run.status == Status.FAILED
    assert stored(run) == {"n": 2}
    assert run.reason == (
        "Row 'update_state' (3): The state does not fit the state schema of the flow. "
        "n: must be at most 3"
    )


def test_the_effects_of_the_row_are_undone_with_it():
    run = start_flowrun(make_flow(row("test.weigh"), row("test.weigh"), state_schema=SCHEMA))
    assert (run.status, stored(run)) == (Status.FAILED, {"n": 2})
    assert Parcel.objects.count() == 1


def test_what_is_recorded_of_a_call_has_to_fit_too():
    run = start_flowrun(make_flow(row("test.note"), state_schema=SCHEMA))
    assert (run.status, stored(run), Parcel.objects.count()) == (Status.FAILED, {}, 0)


def test_the_row_is_not_tried_again_by_itself_but_by_a_person_who_put_the_state_right():
    flow = make_flow(
        row("test.weigh", retry={"attempts": 5, "wait": 0}), Log("{{ n }}"), state_schema=SCHEMA
    )
    run = start_flowrun(flow, state={"n": 2})
    assert run.status == Status.FAILED
    edit_state(run, {"n": 0})
    retry_flowrun(run)
    run_until_idle()
    run.refresh_from_db()
    assert (run.outcome, stored(run)) == (Outcome.COMPLETE, {"n": 2})
