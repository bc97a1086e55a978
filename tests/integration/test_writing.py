"""The proof that each row of a batched write brings along."""

from __future__ import annotations

import uuid

import pytest
from django.db import models
from django.test import override_settings
from django.utils import timezone

from flowcontrol.claiming import claim_due
from flowcontrol.engine import create_flowrun
from flowcontrol.executing import execute_claims
from flowcontrol.models import FlowRun, RunEvent, Status
from flowcontrol.sweeping import sweep
from flowcontrol.testing import Log, UpdateState, make_flow, row
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db


@override_settings(FLOWCONTROL_HISTORY="none")
@pytest.mark.parametrize(
    "meanwhile",
    [
        {"claim_token": uuid.uuid4()},
        {"seq": models.F("seq") + 1},
        {"visit": models.F("visit") + 1},
    ],
    ids=["taken over", "touched", "stepped"],
)
def test_a_row_of_a_batch_that_lost_its_claim_is_left_alone(meanwhile):
    """Without history no unique number of an event can stand in for the proof."""
    flow = make_flow(UpdateState(n="1"))
    lost, kept = create_flowrun(flow), create_flowrun(flow)
    claims = claim_due(timezone.now(), 10)
    FlowRun.objects.filter(pk=lost.pk).update(**meanwhile)
    tally = execute_claims(claims, timezone.now)
    assert (tally.done, tally.lost) == (1, 1)
    lost.refresh_from_db()
    kept.refresh_from_db()
    assert (lost.status, lost.state) == (Status.RUNNING, {})
    assert (kept.status, kept.state) == (Status.DONE, {"n": 1})
    assert not RunEvent.objects.exists()


def test_a_worker_that_is_asked_to_stop_gives_back_what_it_has_not_begun():
    flow = make_flow(row("testapp.accept_parcel"), Log("accepted"))
    for _number in range(5):
        create_flowrun(flow)
    asked = iter([False, False, False, True])
    sweep(timezone.now, lambda now, limit: 0, stop=lambda: next(asked, True))
    given_back = FlowRun.objects.filter(status=Status.PENDING, claim_token=None, rescues=0)
    assert Parcel.objects.count() + given_back.count() == 5
    assert given_back.count() >= 1
