"""The dispatcher: told once per transaction, after the commit, and never to blame."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

import pytest
from django.db import transaction
from django.utils import timezone

from flowcontrol.engine import create_flowrun, start_flowrun, wake_flowrun
from flowcontrol.models import FlowRun
from flowcontrol.testing import Delay, Log, make_flow

pytestmark = pytest.mark.django_db(transaction=True)


class Recorder:
    """A dispatcher that remembers."""

    told: ClassVar[list[str]] = []

    def runs_are_due(self, queue: str) -> None:
        self.told.append(queue)


class Broken:
    def runs_are_due(self, queue: str) -> None:
        raise ConnectionError("no broker")


@pytest.fixture
def told(settings):
    Recorder.told.clear()
    settings.FLOWCONTROL_DISPATCHER = f"{__name__}.Recorder"
    return Recorder.told


def test_it_is_told_once_for_a_transaction_and_after_its_commit(told):
    flow = make_flow(Log("x"))
    with transaction.atomic():
        create_flowrun(flow)
        create_flowrun(flow)
        assert told == []
    assert told == [""]


def test_a_run_that_is_due_later_is_no_news(told):
    create_flowrun(make_flow(Log("x")), continue_after=timezone.now() + timedelta(hours=1))
    assert told == []


def test_a_woken_run_is_news(told):
    run = start_flowrun(make_flow(Delay("PT1H")))
    told.clear()
    assert wake_flowrun(run)
    assert told == [""]


def test_a_dispatcher_that_fails_stops_nobody(settings, caplog):
    settings.FLOWCONTROL_DISPATCHER = f"{__name__}.Broken"
    create_flowrun(make_flow(Log("x")))
    assert FlowRun.objects.count() == 1
    assert "the next sweep finds what is due" in caplog.text
