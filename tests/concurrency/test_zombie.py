"""Workers that stand still, workers that take long, and workers that take too long.

A worker that was stopped past its lease does not know that somebody else has taken over. Whatever
it does when it goes on, it may change no row.
"""

from __future__ import annotations

import signal
import time
from typing import Any
from unittest import mock

import pytest
from django.conf import settings as project
from django.test import override_settings

from flowcontrol.claiming import Claim, claim_suspect
from flowcontrol.conf import settings
from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.executing import execute_claims
from flowcontrol.models import Firing, FlowRun, RunEvent, RunWait, Status
from flowcontrol.testing import UpdateState, make_flow, row
from tests.concurrency.blocks import Outside
from tests.concurrency.forking import forked
from tests.concurrency.variants import Variant
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db(transaction=True)

ONE_WRITE = "flowcontrol.writing._run_sql"
CONDITION = "id = %s AND claim_token = %s AND seq = %s AND visit = %s"
TOKEN_UNPROVED = Variant(
    "writes do not prove the token",
    ONE_WRITE,
    CONDITION,
    "id = %s AND %s IS NOT NULL AND seq = %s AND visit = %s",
)
NOTHING_PROVED = Variant(
    "writes prove nothing",
    ONE_WRITE,
    CONDITION,
    "id = %s AND %s IS NOT NULL AND 0 <= %s AND 0 <= %s",
)
LEASE_UNPROVED = Variant(
    "leases are renewed without the token",
    "flowcontrol.claiming._touch",
    "AND r.claim_token = v.token ",
    "",
)
CALLED_UNASKED = Variant(
    "calls to the outside without a checkpoint before them",
    "flowcontrol.effects.external_step",
    "if row := guarded(connection, piece, lambda: _come_to(connection, piece)):",
    "if row := None:",
)
NOBODY_RENEWS = Variant(
    "leases are not renewed",
    "flowcontrol.holding.Holding.kept",
    "if not run_connection().in_atomic_block:",
    "if False:",
)
RENEWED_FOR_EVER = Variant(
    "leases are renewed however long a step takes",
    "flowcontrol.holding.Holding._renew",
    "monotonic() - self._step_began > self._longest_step",
    "False",
)


def everything() -> list[Any]:
    """Every row that a worker could change."""
    models = (FlowRun, RunEvent, RunWait, Firing, Parcel)
    return [list(model._base_manager.order_by("pk").values()) for model in models]


# --- stopped ------------------------------------------------------------------------------------


on_postgres = pytest.mark.skipif(
    project.DATABASE != "postgres",
    reason="On SQLite a zombie that has begun to write keeps all others waiting.",
)
BLOCKS = [pytest.param("proof.insert_and_stop", marks=on_postgres), "proof.call_and_stop"]


def check_a_zombie(block: str, outside: Outside, *, is_late: bool) -> None:
    """Stop a worker in the first of three runs that it holds, and let another take over.

    ``is_late``: the other has finished all three when the zombie goes on; otherwise it has only
    claimed them.
    """
    flow = make_flow(UpdateState(n="1"), row(block), row("proof.insert"), row("proof.call"))
    runs = [create_flowrun(flow) for _number in range(3)]

    def work() -> int:
        return continue_flowruns(max_runs=3).lost

    with (
        # Otherwise it would not come to the two others: it hands back what takes too long.
        mock.patch("flowcontrol.executing.FAIR_SECONDS", 60),
        override_settings(FLOWCONTROL_LEASE_SECONDS=0.6),
        forked(work) as zombie,
    ):
        outside.wait_for("inside")
        zombie.send(signal.SIGSTOP)
        claims = [claim_when_expired() for _run in runs]
        if is_late:
            execute_claims(claims, settings.CLOCK)
        before = everything()
        zombie.send(signal.SIGCONT)
        # Long enough for the thread that renews its leases to look at them again.
        time.sleep(0.4)
        outside.mark("go on")
        assert zombie.result() == 3
        assert everything() == before
        if not is_late:
            execute_claims(claims, settings.CLOCK)
    assert set(FlowRun.objects.values_list("status", flat=True)) == {Status.DONE}
    labels = list(Parcel.objects.values_list("label", flat=True))
    assert len(labels) == len(set(labels)), "A database effect happened twice."
    # It was inside a call when it was stopped; it has made no other one.
    calls = [call for call in outside.calls() if call.pid == zombie.pid]
    assert len(calls) == (block == "proof.call_and_stop")


def claim_when_expired() -> Claim:
    """Another worker's claim on what the stopped one holds, as soon as its lease has run out."""
    deadline = time.monotonic() + 10
    while (claim := claim_suspect()) is None:
        assert time.monotonic() < deadline, "The lease of a stopped worker does not run out."
        time.sleep(0.02)
    return claim


@pytest.mark.parametrize("is_late", [True, False], ids=["late", "early"])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_zombie_changes_no_row_and_starts_nothing_more(
    block: str, is_late: bool, outside: Outside
):
    check_a_zombie(block, outside, is_late=is_late)


@pytest.mark.parametrize(
    ("variant", "is_late"),
    [
        (TOKEN_UNPROVED, False),
        (NOTHING_PROVED, True),
        (LEASE_UNPROVED, True),
        (CALLED_UNASKED, True),
    ],
    ids=str,
)
def test_the_proof_of_zombies_notices(variant: Variant, is_late: bool, outside: Outside):
    with variant.applied(), pytest.raises(AssertionError):
        check_a_zombie("proof.call_and_stop", outside, is_late=is_late)


# --- slow ---------------------------------------------------------------------------------------


def check_a_slow_step(outside: Outside, *, longest: float) -> None:
    """A step of 3 s under leases of 1 s, while another worker sweeps all the time.

    It runs once if a step may take that long, and is taken away from its worker if not.
    """
    run = create_flowrun(make_flow(row("proof.call", seconds=3), row("proof.insert")))

    def work() -> int:
        return continue_flowruns().lost

    patient = longest >= 3
    with (
        override_settings(FLOWCONTROL_LEASE_SECONDS=1, FLOWCONTROL_MAX_STEP_SECONDS=longest),
        forked(work) as worker,
    ):
        outside.wait_for_calls(1)
        rescued = 0
        while worker.is_alive():
            rescued += continue_flowruns().rescued
            time.sleep(0.05)
        assert worker.result() == (0 if patient else 1)
    run.refresh_from_db()
    assert run.status == Status.DONE
    assert rescued == (0 if patient else 1)
    calls = outside.calls()
    assert len(calls) == (1 if patient else 2)
    assert len({call.step_key for call in calls}) == 1
    assert Parcel.objects.count() == 2


def test_a_long_step_of_a_worker_that_lives_runs_once(outside: Outside):
    check_a_slow_step(outside, longest=60)


def test_a_step_that_takes_too_long_loses_its_claim(outside: Outside):
    check_a_slow_step(outside, longest=0.5)


@pytest.mark.parametrize(
    ("variant", "longest"), [(NOBODY_RENEWS, 60), (RENEWED_FOR_EVER, 0.5)], ids=str
)
def test_the_proof_of_slow_steps_notices(variant: Variant, longest: float, outside: Outside):
    with variant.applied(), pytest.raises(AssertionError):
        check_a_slow_step(outside, longest=longest)
