"""What wakes a run while somebody else decides about it: nothing that happened is overlooked."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from django.conf import settings as project
from django.db import transaction

from flowcontrol.engine import continue_flowruns, start_flowrun, wake_flowrun
from flowcontrol.models import FlowRun, RunWait, Status
from flowcontrol.operating import pause, resume
from flowcontrol.testing import make_flow, row
from tests.concurrency.blocks import Outside
from tests.concurrency.forking import forked
from tests.concurrency.variants import Variant

pytestmark = pytest.mark.django_db(transaction=True)

NOT_LOCKED = Variant(
    "what wakes a run does not lock it",
    "flowcontrol.recording.wake",
    "lock_rows(runs)",
    "runs",
)


def check_waking_during(decide: Callable[[FlowRun], None], run: FlowRun, outside: Outside) -> None:
    """Wake the run while somebody who has decided about it has not committed yet."""

    def work() -> None:
        with transaction.atomic():
            decide(FlowRun.objects.get(pk=run.pk))
            outside.mark("decided")
            time.sleep(0.3)

    with forked(work) as person:
        outside.wait_for("decided")
        assert wake_flowrun(run, {"by": "code"})
        person.result()
    run.refresh_from_db()
    if run.status == Status.PAUSED:
        resume(run)
    continue_flowruns()
    run.refresh_from_db()
    assert run.status == Status.DONE
    assert not RunWait.objects.exists()


@pytest.mark.parametrize("was_paused", [True, False], ids=["resumed", "paused"])
def test_a_run_is_woken_while_it_is_paused_or_resumed(was_paused: bool, outside: Outside):
    run = start_flowrun(make_flow(row("proof.await"), row("proof.insert")))
    if was_paused:
        pause(run)
    check_waking_during(resume if was_paused else pause, run, outside)


@pytest.mark.skipif(project.DATABASE != "postgres", reason="SQLite has one lock, always taken.")
def test_the_proof_notices(outside: Outside):
    run = start_flowrun(make_flow(row("proof.await"), row("proof.insert")))
    with NOT_LOCKED.applied(), pytest.raises(AssertionError):
        check_waking_during(pause, run, outside)
