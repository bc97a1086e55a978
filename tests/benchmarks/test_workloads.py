"""Each workload does what it says, at a size that says nothing about speed."""

from __future__ import annotations

import pytest
from django.conf import settings as project

from tests.benchmarks.__main__ import MODULES, WORKLOADS, measure
from tests.benchmarks.results import Limit, Result, table


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_runs_at_a_tiny_size(name: str):
    results = measure(name, project.DATABASE, "tiny")
    assert results
    for result in results:
        assert result.reached is not None, result.note
        assert result.limit is None or result.limit.value > 0


def test_a_profile_tells_where_the_time_of_the_sweeps_went(capfd):
    measure("resumed", project.DATABASE, "quick", profile=True)
    report = capfd.readouterr().err
    assert "processor time of the sweeps" in report
    assert "flowcontrol/slices.py" in report
    assert "JSON" in report


def test_every_workload_is_found_in_one_module():
    assert sorted(name for names in MODULES.values() for name in names) == sorted(WORKLOADS)


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        ({"at_least": 90.0}, "yes"),
        ({"at_least": 110.0}, "NO"),
        ({"at_most": 110.0}, "yes"),
        ({"at_most": 90.0}, "NO"),
        ({"share": 0.5}, "yes"),
        ({"share": 0.6}, "NO"),
        ({}, "–"),
    ],
    ids=str,
)
def test_the_table_tells_whether_a_goal_is_met(goal: dict[str, float], met: str):
    result = Result("x", "sqlite", 100.0, "runs/s", Limit("bare", 190.0), note="by hand", **goal)
    line, note = table([result]).splitlines()[-2:]
    assert line.startswith("x")
    assert line.endswith(met)
    assert note.strip() == "by hand"
