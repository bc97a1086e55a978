"""A firing against a run that is just about to wait for it: every interleaving, and none is lost.

Three moments matter: the firing is committed, its matching reads who waits, the park is committed.
Whichever order they come in, the run is woken, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from unittest import mock

import pytest
from django.conf import settings as project
from django.db import transaction

from flowcontrol import executing, matching
from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.models import Firing, FlowRun, Outcome
from flowcontrol.testing import Log, WaitForTrigger, make_flow
from tests.concurrency.blocks import Outside, answered
from tests.concurrency.forking import forked
from tests.concurrency.variants import Variant
from tests.testapp.models import Station

pytestmark = pytest.mark.django_db(transaction=True)

NOT_LOOKED_BACK: Final = Variant(
    "nobody looks for firings that came before the wait",
    "flowcontrol.buffering.take_missed",
    "if not waits:",
    "if True:",
)


def begin() -> FlowRun:
    station = Station.objects.create(code="JFK", name="Kennedy")
    flow = make_flow(WaitForTrigger("proof.answered", result_key="got"), Log("on"))
    return create_flowrun(flow, station)


def gate(outside: Outside, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """``work``, which marks that it is about to begin and then waits to be let go."""

    def gated(*args: Any, **kwargs: Any) -> Any:
        outside.mark(f"before {name}")
        outside.wait_for(f"go on with {name}")
        return work(*args, **kwargs)

    return gated


def worker(outside: Outside) -> None:
    """A worker that stands still between stepping the run and writing that it waits."""
    with mock.patch.object(
        executing, "_write_batch", gate(outside, "park", executing._write_batch)
    ):
        continue_flowruns()


def fire() -> None:
    answered(Station.objects.get(), payload={"by": "us"})


def check_woken_once() -> None:
    for _sweep in range(3):
        continue_flowruns()
    run = FlowRun.objects.get()
    assert (run.outcome, run.state) == (Outcome.COMPLETE, {"got": {"by": "us"}})
    firing = Firing.objects.get()
    assert [result["did"] for result in firing.results] == ["woke"]


def fired_and_matched_before_the_park(outside: Outside) -> None:
    begin()
    with forked(lambda: worker(outside)) as parking:
        outside.wait_for("before park")
        fire()
        assert Firing.objects.get().matched_at is not None
        outside.mark("go on with park")
        parking.result()
    check_woken_once()


def parked_while_it_is_matched(outside: Outside) -> None:
    """The matching has read who waits, and nobody did; then the park; then it commits."""
    begin()

    def match_slowly() -> None:
        put_down = matching._write_results
        with mock.patch.object(matching, "_write_results", gate(outside, "match", put_down)):
            fire()

    with forked(lambda: worker(outside)) as parking:
        outside.wait_for("before park")
        with forked(match_slowly) as firing:
            outside.wait_for("before match")
            outside.mark("go on with park")
            # The worker parks and then waits for the firing, which is locked; or sees nothing.
            outside.mark("go on with match")
            firing.result()
        parking.result()
    check_woken_once()


def fired_in_a_transaction_around_the_park(outside: Outside) -> None:
    """Immediately matched before the park, committed after the worker has looked back."""
    begin()

    def request() -> None:
        with transaction.atomic():
            answered(Station.objects.get(), payload={"by": "us"}, immediate=True)
            outside.mark("matched")
            outside.wait_for("parked")

    with forked(request) as caller:
        outside.wait_for("matched")
        continue_flowruns()
        outside.mark("parked")
        caller.result()
    check_woken_once()


INTERLEAVINGS: Final = [
    fired_and_matched_before_the_park,
    pytest.param(
        parked_while_it_is_matched,
        marks=pytest.mark.skipif(project.DATABASE != "postgres", reason="SQLite has one writer."),
    ),
    pytest.param(
        fired_in_a_transaction_around_the_park,
        marks=pytest.mark.skipif(project.DATABASE != "postgres", reason="SQLite has one writer."),
    ),
]


@pytest.mark.parametrize("interleaving", INTERLEAVINGS)
def test_a_firing_and_a_wait_find_each_other(
    interleaving: Callable[[Outside], None], outside: Outside
):
    interleaving(outside)


def test_the_proof_notices_that_nobody_looks_back(outside: Outside):
    with NOT_LOOKED_BACK.applied(), pytest.raises(AssertionError):
        fired_and_matched_before_the_park(outside)


MATCHED_FOR_GOOD: Final = Variant(
    "an immediate firing is matched for good before its commit",
    "flowcontrol.matching._Matching.run",
    "None if self.to_be_continued else self.now",
    "self.now",
)


@pytest.mark.skipif(project.DATABASE != "postgres", reason="SQLite has one writer.")
def test_the_proof_notices_that_a_firing_is_not_looked_at_again(outside: Outside):
    with MATCHED_FOR_GOOD.applied(), pytest.raises(AssertionError):
        fired_in_a_transaction_around_the_park(outside)
