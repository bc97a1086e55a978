"""Rows that wait for others, under crashes and under two workers: as if nothing had happened.

The same proof as in ``test_fault_at_every_statement``, told of a flow with parallel branches, For
each, sub-flows that are waited for, a firing that came before its wait, and a handled error.
How often a row looks at its children depends on who was in time, so the story leaves that out.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, Final

import pytest

from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.models import Firing, FlowRun, RunWait
from flowcontrol.testing import (
    Always,
    Branch,
    Delay,
    Fail,
    ForEach,
    OnError,
    Parallel,
    StartFlow,
    Try,
    UpdateState,
    WaitForTrigger,
    make_flow,
    row,
    travel_to,
)
from tests.concurrency.blocks import Outside
from tests.concurrency.forking import forked
from tests.concurrency.test_fault_at_every_statement import MOMENTS, STATION, Fault, Proof
from tests.concurrency.variants import Variant
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db(transaction=True)


def set_the_scene() -> None:
    STATION.save(force_insert=True)
    make_flow(Delay("PT1H"), row("proof.insert"), UpdateState(z="3"), name="Sub", slug="sub")
    make_flow(row("proof.insert"), name="Leaf", slug="leaf")
    make_flow(
        UpdateState(n="0", letters="'a b c'|split"),
        Parallel(
            Branch(Delay("PT1H"), row("proof.insert"), UpdateState(x="1"), keys=["x"]),
            Branch(row("proof.insert"), UpdateState(y="2"), keys=["y"]),
        ),
        ForEach("letters", [row("proof.insert_in_group"), UpdateState(n="n|add:1")]),
        StartFlow("sub", wait=True, take_keys=["z"]),
        row("wait_until", condition="now > '2013-02-08T14:30:00+00:00'", interval="PT10M"),
        row("start_flow_for_each", items="letters", flow="leaf", at_once=2, result_key="counts"),
        row("proof.fire", trigger="proof.answered"),
        WaitForTrigger("proof.answered", look_back="PT1H", result_key="by"),
        Try(row("proof.insert"), Fail("on purpose")),
        OnError(row("proof.insert"), UpdateState(said="error.message")),
        Always(row("proof.insert")),
        name="Main",
        slug="main",
    )


def tell_the_story(outside: Outside) -> dict[str, Any]:
    runs = list(FlowRun.objects.select_related("flow").order_by("flow__slug", "pk"))
    names: dict[int, str] = {}
    for run in runs:
        names[run.pk] = f"{run.flow.slug} {sum(run.flow.slug in name for name in names.values())}"
    makers = [names[int(label.split("-")[0])] for label in _labels()]
    return {
        "runs": {
            names[run.pk]: {
                "outcome": run.outcome,
                "state": run.state,
                "started by": names.get(run.parent_run_id or 0),
                "held": run.claim_token is not None,
                "lists": run.items,
            }
            for run in runs
        },
        "effects": Counter(makers),
        "each effect has a key of its own": len(set(_labels())) == len(_labels()),
        "woken once": [
            (firing.matched_at is not None, [result["did"] for result in firing.results])
            for firing in Firing.objects.order_by("pk")
        ],
        "waits": RunWait.objects.count(),
    }


def _labels() -> list[str]:
    return list(Parcel.objects.values_list("label", flat=True))


def check_the_story_itself(story: dict[str, Any]) -> None:
    main = story["runs"]["main 0"]
    assert main["state"] == {
        "n": 3,
        "letters": ["a", "b", "c"],
        "x": 1,
        "y": 2,
        "z": 3,
        "counts": {"started": 3, "refused": 0, "complete": 3, "other": 0},
        "by": {"by": "main"},
        "said": "on purpose",
    }
    assert story["effects"] == {
        "main 0": 6,
        "main 1": 1,
        "main 2": 1,
        "sub 0": 1,
        "leaf 0": 1,
        "leaf 1": 1,
        "leaf 2": 1,
    }
    assert story["each effect has a key of its own"]
    assert story["woken once"] == [(True, ["woke"])]
    assert story["waits"] == 0


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_a_fault_at_any_statement_leaves_no_trace(
    fault: Fault, outside: Outside, soak: bool, chance: random.Random
):
    proof = Proof(outside, set_the_scene, tell_the_story)
    check_the_story_itself(proof.story)
    places = proof.places(fault)
    for at in places if soak else sorted(chance.sample(places, 6)):
        proof.check(fault, at)


def test_two_workers_come_to_the_same(outside: Outside):
    proof = Proof(outside, set_the_scene, tell_the_story)
    for table in (RunWait, FlowRun, Firing, Parcel):
        table._base_manager.all().delete()

    def sweep() -> None:
        for _sweep in range(30):
            continue_flowruns()

    with travel_to(MOMENTS[0]) as clock:
        create_flowrun("main", STATION)
        for moment in MOMENTS:
            clock.move_to(moment)
            with forked(sweep) as one, forked(sweep) as other:
                one.result()
                other.result()
    assert tell_the_story(outside) == proof.story


CHILDREN_UNTOLD: Final = Variant(
    "the end of a run is told to nobody",
    "flowcontrol.parents.tell_parents",
    "if waiting.update(",
    "if False and waiting.update(",
)


def test_the_proof_notices_that_nobody_tells_the_parent(outside: Outside):
    with CHILDREN_UNTOLD.applied(), pytest.raises(AssertionError):
        Proof(outside, set_the_scene, tell_the_story)
