"""How the database finds what it looks for among a hundred thousand runs that sleep.

With ``--soak`` it is a million of them.

Plans, not clocks: a plan that reads every sleeping run is wrong on any machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from flowcontrol.claiming import claim_due, claim_suspect, free_paused_suspects
from flowcontrol.engine import create_flowrun
from flowcontrol.looking import look
from flowcontrol.models import Firing, Flow, FlowRun, RunWait
from flowcontrol.pruning import prune
from flowcontrol.starting import find_no_room, promote_queued
from flowcontrol.testing import Delay, make_flow

pytestmark = pytest.mark.django_db(transaction=True)

SLEEPING = 100_000
SLEEPING_IN_FULL = 1_000_000
FLOWS = 1_000
TABLE = FlowRun._meta.db_table
PLANNED = ("SELECT", "UPDATE", "DELETE", "WITH")


@pytest.fixture
def flow(request: pytest.FixtureRequest) -> Flow:
    """One of a thousand flows that share very many runs, all of which sleep."""
    sleeping = SLEEPING_IN_FULL if request.config.getoption("--soak", default=False) else SLEEPING
    flow = make_flow(Delay("P1D"))
    others = [
        Flow(name=f"Flow {number}", slug=f"flow-{number}", live_version=flow.live_version)
        for number in range(FLOWS)
    ]
    first = Flow.objects.bulk_create(others)[0].pk
    run = create_flowrun(flow)
    FlowRun.objects.filter(pk=run.pk).update(status="waiting", due=datetime(2999, 1, 1, tzinfo=UTC))
    names = [str(field.column) for field in FlowRun._meta.concrete_fields if not field.primary_key]
    values = [f"{first} + n %% {FLOWS}" if name == "flow_id" else f'"{name}"' for name in names]
    numbers = (
        f"generate_series(1, {sleeping}) AS numbers(n)"
        if connection.vendor == "postgresql"
        else f"(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
        f"WHERE n < {sleeping}) SELECT n FROM numbers)"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} ({', '.join(names)}) SELECT {', '.join(values)} "
            f"FROM {TABLE} CROSS JOIN {numbers} WHERE id = %s",
            [run.pk],
        )
        cursor.execute("ANALYZE")
    return flow


def plans_of(work: Callable[[], Any]) -> str:
    """How the database executes each statement of ``work`` that speaks of runs."""
    with CaptureQueriesContext(connection) as captured:
        work()
    assert any(TABLE in query["sql"] for query in captured.captured_queries)
    told = []
    with connection.cursor() as cursor:
        for query in captured.captured_queries:
            if TABLE not in query["sql"] or not query["sql"].startswith(PLANNED):
                continue
            if connection.vendor == "postgresql":
                cursor.execute(f"EXPLAIN (FORMAT JSON, COSTS OFF) {query['sql']}")
                [[plan]] = cursor.fetchall()
                told += _lines(plan[0]["Plan"] if isinstance(plan, list) else json.loads(plan))
            else:
                cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
                told += [line[3] for line in cursor.fetchall()]
    return "\n".join(told)


def _lines(node: dict[str, Any]) -> list[str]:
    words = [node["Node Type"], node.get("Relation Name", ""), node.get("Index Name", "")]
    line = " ".join(word for word in words if word)
    return [line, *(line for inner in node.get("Plans", ()) for line in _lines(inner))]


def full_scans(plan: str) -> list[str]:
    """The lines of a plan that read the whole table of runs, or a whole index of sleepers."""
    short_indexes = "flowcontrol_run_(?:lease|queued)"
    return [
        line
        for line in plan.splitlines()
        if re.search(rf"Seq Scan {TABLE}\b", line)
        or re.match(rf"SCAN (?:{TABLE}|r|due_run)\b(?!.*{short_indexes})", line)
    ]


def make_due(flows: int, runs: int) -> None:
    """Runs that are due, in some of the flows."""
    now = timezone.now() - timedelta(seconds=1)
    version = FlowRun.objects.latest("pk").version
    some = Flow.objects.exclude(live_version=None).order_by("pk")[:flows]
    FlowRun.objects.bulk_create(
        FlowRun(flow=flow, version=version, due=now, created_at=now)
        for flow in some
        for _number in range(runs)
    )


def lose_a_worker() -> None:
    FlowRun.objects.filter(status="running").update(lease_until=timezone.now() - timedelta(days=1))


def claim() -> None:
    claim_due(timezone.now(), 500)


def test_nothing_is_found_by_reading_the_runs_that_sleep(flow):
    # Room is counted among the open runs, or among those of the object: whichever the database
    # takes for the shorter way, "flowcontrol_run_open" or "flowcontrol_run_object".
    limited = make_flow(Delay("P1D"), name="Limited", max_concurrent=3, max_concurrent_per_object=1)
    about = FlowRun(flow=limited, object_id="1")
    story: list[tuple[str, Callable[[], Any], str]] = [
        ("nothing is due", claim, "flowcontrol_run_due"),
        ("something is due in one flow", lambda: make_due(1, 100), ""),
        ("claim it", claim, "flowcontrol_run_due"),
        ("something is due in every flow", lambda: make_due(FLOWS, 3), ""),
        ("claim some of it", claim, "flowcontrol_run_due"),
        ("a worker is lost", lose_a_worker, ""),
        ("rescue", lambda: [claim_suspect(), claim_suspect()], "flowcontrol_run_lease"),
        ("free what is paused", free_paused_suspects, "flowcontrol_run_lease"),
        ("is there anything to do", look, "flowcontrol_run_lease"),
        ("is anybody queued", look, "flowcontrol_run_queued"),
        ("is there room", lambda: find_no_room(limited, about), "flowcontrol_run_o"),
        ("look into the queues", lambda: promote_queued(timezone.now()), "flowcontrol_run_queued"),
    ]
    for name, work, index in story:
        if not index:
            work()
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
            continue
        plan = plans_of(work)
        assert index in plan, f"{name}:\n{plan}"
        assert full_scans(plan) == [], f"{name}:\n{plan}"
    assert FlowRun.objects.filter(status="running").count() == 600


def test_what_there_is_to_do_is_found_before_the_first_analyze():
    """Without statistics PostgreSQL takes a third of the runs to be lost and all waits for new."""
    flow, now = make_flow(Delay("P1D")), timezone.now()
    runs = FlowRun.objects.bulk_create(
        FlowRun(flow=flow, version=flow.live_version, status="waiting", created_at=now)
        for _number in range(3000)
    )
    RunWait.objects.bulk_create(RunWait(run=run, kind="event", trigger="x.y") for run in runs)
    Firing.objects.bulk_create(Firing(name="x.y", at=now, matched_at=now) for _run in runs)
    plan = plans_of(look)
    for index in ("run_lease", "wait_look", "firing_unmatched", "run_queued"):
        assert f"flowcontrol_{index}" in plan, plan
    assert full_scans(plan) == [], plan


def test_what_is_old_is_found_without_reading_what_is_not(flow):
    """Half of what is done is old, and done is a small part of all."""
    make_due(3, 60)
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET status = 'done', outcome = 'complete', due = NULL, "
            "done_at = %s WHERE status = 'pending'",
            [now],
        )
    done = FlowRun.objects.filter(status="done").order_by("pk")
    old = list(done.values_list("pk", flat=True)[:90])
    FlowRun.objects.filter(pk__in=old).update(done_at=now - timedelta(days=9))
    Flow.objects.filter(runs__status="done").update(retention=timedelta(days=1))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    plan = plans_of(lambda: prune(now))
    assert "flowcontrol_run_done" in plan, plan
    assert "flowcontrol_run_parent" in plan, plan
    assert full_scans(plan) == [], plan
    assert FlowRun.objects.filter(status="done").count() == 90


LISTS = {
    "all runs": "",
    "a later page": "?p=40",
    "what waits": "?status__exact=waiting",
    "what failed": "?status__exact=failed",
    "of one flow": "?flow__id__exact={flow}",
    "what waits of one flow": "?flow__id__exact={flow}&status__exact=waiting",
    "a key": "?q=LH400",
    "a number": "?q=%23{run}",
}


def test_the_lists_of_the_admin_read_no_more_than_they_show(flow, admin_client):
    url = reverse("admin:flowcontrol_flowrun_changelist")
    other = FlowRun.objects.exclude(flow=flow).latest("pk")
    for name, query in LISTS.items():
        address = url + query.format(flow=other.flow_id, run=other.pk)
        plan = plans_of(partial(admin_client.get, address))
        # SQLite says "scan" also of an order that it follows until it has a page full.
        assert connection.vendor == "sqlite" or full_scans(plan) == [], f"{name}:\n{plan}"
    response = admin_client.get(url)
    assert "These are the latest 10000 that fit." in response.content.decode()
    response = admin_client.get(url + LISTS["of one flow"].format(flow=other.flow_id))
    assert "These are the latest" not in response.content.decode()
