"""Moving runs while workers are at them: each follows one version, and nothing is done twice."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from flowcontrol import drafting
from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.models import Flow, FlowRun
from flowcontrol.moving import move_runs_to_version
from flowcontrol.publishing import publish
from flowcontrol.testing import Log, make_flow, trace_of
from tests.concurrency.test_drafting_races import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked"),
]

RUNS = 40


def test_runs_that_are_moved_while_they_are_executed_do_each_row_once():
    flow = make_flow(Log("a", uid="a", label="a"), Log("b", uid="b", label="b"))
    for _run in range(RUNS):
        create_flowrun(flow)
    drafting.edit_action(flow, "b", note="x")
    drafting.add_action(flow, "log", {"message": "c"}, uid="c", label="c")
    version = publish(flow)
    pks = list(FlowRun.objects.values_list("pk", flat=True))

    def move() -> list[int]:
        return move_runs_to_version(version, pks).runs

    def work() -> int:
        return continue_flowruns().steps

    _steps, *moved = at_once([work, move, move])
    each = Counter(pk for runs in moved for pk in runs)
    assert max(each.values(), default=1) == 1
    continue_flowruns()
    for run in FlowRun.objects.select_related("version", "flow"):
        expected = ["a", "b", "c"] if run.version == version else ["a", "b"]
        assert (run.outcome, trace_of(run)) == ("complete", expected)
        assert (run.pk in each) == (run.version == version)
    assert Flow.objects.count() == 1
