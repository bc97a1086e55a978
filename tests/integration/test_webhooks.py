"""Call webhook as part of a run: tried again with the same key, and silent about its secrets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import serializers

from flowcontrol.documents import make_document
from flowcontrol.engine import start_flowrun
from flowcontrol.findings import find_all
from flowcontrol.models import FlowRun, RunEvent, Status
from flowcontrol.testing import NOON, make_flow, row, run_until_idle, travel_to
from tests.http_server import Reply, http_server

pytestmark = pytest.mark.django_db

TOKEN = "b4-7Q-secret"


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.FLOWCONTROL_WEBHOOK_NETWORKS = ["127.0.0.0/8"]
    settings.FLOWCONTROL_SECRETS = {"TOKEN": TOKEN}


def everything_stored() -> str:
    rows = [*FlowRun.objects.all(), *RunEvent.objects.all()]
    return str(serializers.serialize("json", rows, ensure_ascii=False))


def test_a_busy_server_is_asked_again_with_the_same_key_and_not_too_early():
    busy = Reply(503, f"no {TOKEN}", {"Retry-After": "600"})
    with http_server(busy, Reply(500), Reply(200, '{"id": 7}', {"Content-Type": "a/json"})) as site:
        flow = make_flow(
            row(
                "call_webhook",
                url=site.url("/{{ secret.TOKEN }}"),
                headers={"Authorization": "{{ secret.TOKEN }}"},
                result_key="answer",
            )
        )
        with travel_to(NOON) as clock:
            run = start_flowrun(flow)
            assert (run.status, run.due) == (Status.WAITING, NOON + timedelta(seconds=600))
            clock.advance(seconds=600)
            run_until_idle()
            run.refresh_from_db()
            assert run.due is not None
            wait = (run.due - clock.moment).total_seconds()
            assert 27 <= wait <= 33  # the second of 10, 30, 90 …
            clock.advance(seconds=33)
            run_until_idle()
        run.refresh_from_db()
        assert run.state["answer"] == {"status": 200, "content_type": "a/json", "body": {"id": 7}}
        assert {asked.headers["Idempotency-Key"] for asked in site.asked} == {f"{run.pk}-0"}
        assert {asked.path for asked in site.asked} == {f"/{TOKEN}"}
        assert len(site.asked) == 3
    assert TOKEN not in everything_stored()
    assert "••••••" in everything_stored()


def test_after_five_tries_the_run_fails_and_says_why():
    with http_server(Reply(500, "out of order")) as site:
        flow = make_flow(row("call_webhook", url=site.url()))
        with travel_to(NOON) as clock:
            run = start_flowrun(flow)
            while run.status == Status.WAITING:
                clock.advance(hours=2)
                run_until_idle()
                run.refresh_from_db()
        assert len(site.asked) == 5
    assert run.status == Status.FAILED
    assert "→ 500: out of order" in run.reason


def test_a_refusal_is_not_repeated():
    with http_server(Reply(403)) as site:
        run = start_flowrun(make_flow(row("call_webhook", url=site.url())))
        assert (run.status, len(site.asked)) == (Status.FAILED, 1)


def test_the_checker_knows_the_name_of_secrets_in_webhooks_only():
    fine = row("call_webhook", url="https://example.com/{{ secret.TOKEN }}")
    other = row("log", message="{{ secret.TOKEN }}")
    assert find_all(make_document(fine)) == []
    [finding] = find_all(make_document(other))
    assert finding.code == "unset-name"
