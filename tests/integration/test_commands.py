"""``manage.py flowcontrol``: what an operator types, and what comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import OperationalError

from flowcontrol import working
from flowcontrol.base import BaseAction
from flowcontrol.documents import make_document
from flowcontrol.drafting import create_flow, replace_draft
from flowcontrol.engine import create_flowrun, start_flowrun
from flowcontrol.flowtests import save_test
from flowcontrol.models import Flow, FlowRun, Outcome, Status
from flowcontrol.registry import actions
from flowcontrol.sweeping import sweep as real_sweep
from flowcontrol.testing import Delay, Log, UpdateState, make_flow, row, travel_to
from flowcontrol.working import stopped_by_signals
from tests.conftest import ROOT
from tests.testapp.models import Parcel, Ticket

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


def told(*arguments: str) -> str:
    """What the command says on its standard output."""
    out = StringIO()
    call_command("flowcontrol", *arguments, stdout=out, stderr=out)
    return out.getvalue().strip()


def refused(*arguments: str) -> str:
    """Everything the command says before it fails, and why it fails."""
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("flowcontrol", *arguments, stdout=out, stderr=out)
    return f"{out.getvalue()}{caught.value}"


# --- run ------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_run_is_one_sweep_and_tells_what_it_came_to():
    with travel_to(NOON) as clock:
        flow = make_flow(Delay("PT1H"), UpdateState(after="1"))
        for _number in range(3):
            create_flowrun(flow)
        assert told("run") == "3 executed, 3 steps, 3 parked"
        assert told("run") == "Nothing was due."
        clock.advance(hours=1)
        assert told("run") == "3 executed, 6 steps, 3 done"


@pytest.mark.django_db
def test_run_can_be_bounded():
    flow = make_flow(Log("x"))
    for _number in range(5):
        create_flowrun(flow)
    assert told("run", "--max-runs", "2") == "2 executed, 2 steps, 2 done"
    assert told("run", "--max-seconds", "0") == "Nothing was due."
    assert told("run") == "3 executed, 3 steps, 3 done"


# --- start ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_start_starts_a_run_and_tells_where_it_stands():
    make_flow(Delay("PT1H"), slug="remind")
    with travel_to(NOON):
        said = told("start", "remind", "--state", '{"n": 1}', "--key", "LH400")
        again = told("start", "remind", "--key", "LH400")
    run = FlowRun.objects.get()
    assert said.startswith(f"Run #{run.pk}: Waiting. It waits until ")
    assert (run.state, run.key) == ({"n": 1}, "LH400")
    assert again == said
    assert FlowRun.objects.count() == 1


@pytest.mark.django_db
def test_start_finds_object_and_user():
    make_flow(UpdateState(who="object.passenger"), slug="greet", content_type="testapp.ticket")
    ticket = Ticket.objects.create(passenger="Ada")
    user = get_user_model().objects.create_user("grace")
    told("start", "greet", "--object", str(ticket.pk), "--user", "grace")
    run = FlowRun.objects.get()
    assert (run.state, run.started_by, run.content_object) == ({"who": "Ada"}, user, ticket)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nope"], "There is no flow 'nope'. Flows: about, off, plain."),
        (["off"], '"Off" is off.'),
        (["about"], '"About" needs an object of type testapp.ticket.'),
        (["about", "--object", "x"], "'x' is no key of testapp.Ticket"),
        (
            ["about", "--object", "8a7c2b1e-0000-4000-8000-000000000000"],
            "There is no testapp.Ticket with the key",
        ),
        (["plain", "--object", "1"], '"Plain" is not about objects; leave --object out.'),
        (["plain", "--state", "{"], "--state is not JSON"),
        (["plain", "--state", "[]"], "--state has to be a JSON object."),
        (["plain", "--user", "nobody"], "There is no user 'nobody'."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_start_says_why_it_does_not(arguments, why):
    make_flow(Log("x"), name="Plain", slug="plain")
    make_flow(Log("x"), name="Off", slug="off", active=False)
    make_flow(Log("x"), name="About", slug="about", content_type="testapp.ticket")
    assert why in refused("start", *arguments)
    assert not FlowRun.objects.exists()


@pytest.mark.django_db
def test_start_tells_of_a_run_that_failed():
    make_flow(Log("{{ n|length }}"), slug="fails")
    assert "Failed. It failed and waits for somebody to repair it." in told("start", "fails")


# --- publish --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_publish_tells_of_each_flow_and_makes_no_version_of_what_did_not_change():
    make_flow(Log("x"), slug="live")
    draft = create_flow("Draft", "draft")
    replace_draft(draft, make_document(Log("x")))
    said = told("publish", "--note", "spring")
    assert said.splitlines() == [
        "draft: published as version 1.",
        "live: unchanged, version 1.",
    ]
    draft.refresh_from_db()
    assert draft.live_version is not None
    assert draft.live_version.note == "spring"
    assert told("publish", "draft") == "draft: unchanged, version 1."


@pytest.mark.django_db
def test_publish_refuses_what_has_errors_and_publishes_the_rest():
    wrong = create_flow("Wrong", "wrong")
    replace_draft(wrong, make_document(row("else", Log("x"), uid="alone")))
    right = create_flow("Right", "right")
    replace_draft(right, make_document(Log("x")))
    said = refused("publish")
    assert "right: published as version 1." in said
    assert "wrong: refused." in said
    assert "error: row 1 (else) [alone]: “Else” has to come right after" in said
    assert "Not every flow could be published." in said
    wrong.refresh_from_db()
    assert wrong.live_version is None


# --- check ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_check_is_silent_about_what_is_fine():
    make_flow(Log("x"), slug="fine")
    assert told("check") == "fine: 0 finding(s) in the draft."
    assert told("check", "fine") == "fine: 0 finding(s) in the draft."
    assert "There is no flow 'other'" in refused("check", "other")


@pytest.mark.django_db
def test_check_tells_what_is_wrong_with_a_draft():
    flow = create_flow("Wrong", "wrong")
    replace_draft(flow, make_document(row("if", Log("x"), uid="question", condition="n >")))
    said = refused("check")
    assert "wrong: 1 finding(s) in the draft." in said
    assert "error: row 1 (if) [question], condition: " in said
    assert "Open the row and correct it." in said
    assert "1 error(s)." in said


@pytest.mark.django_db
def test_a_warning_is_told_and_is_no_error():
    flow = create_flow("Odd", "odd")
    replace_draft(flow, make_document(row("if", uid="empty", condition="n > 1")))
    said = told("check")
    assert "warning: row 1 (if) [empty]: There are no rows inside." in said


@pytest.mark.django_db
def test_check_finds_live_versions_that_this_process_cannot_execute():
    class Gone(BaseAction):
        name = "test.gone"
        effects = "none"

        def run(self, *, run, obj, config):
            return None

    with actions.temporarily(Gone):
        flow = make_flow(row("test.gone", uid="old"), slug="stale")
        replace_draft(flow, make_document(Log("x")))
    said = refused("check")
    assert "error: live version, row old: Unknown action 'test.gone'" in said


# --- worker ---------------------------------------------------------------------------------------


class Worker:
    """``manage.py flowcontrol worker`` in a process of its own."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "django", "flowcontrol", "worker"],
                cwd=ROOT,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until(self, is_so: Callable[[], Any], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)


@pytest.fixture
def worker(process_environment: Mapping[str, str], tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(process_environment, tmp_path / "worker.log")
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()


@pytest.mark.serial
@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_told_to_stop_finishes_what_it_holds(worker):
    worker.wait_until(lambda: "Working." in worker.said)
    quick = create_flowrun(make_flow(row("testapp.accept_parcel"), name="Quick"))
    worker.wait_until(lambda: FlowRun.objects.filter(pk=quick.pk, outcome="complete").exists())
    slow = make_flow(
        row("testapp.call_station", seconds=1), row("testapp.accept_parcel"), name="Slow"
    )
    runs = [create_flowrun(slow) for _number in range(2)]
    worker.wait_until(lambda: Parcel.objects.filter(label__startswith="called ").exists())
    later = create_flowrun(make_flow(Log("x"), name="Later"))
    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.process.wait(30) == 0
    assert worker.said.rstrip().endswith("Stopped.")
    for run in (*runs, later):
        run.refresh_from_db()
        assert (run.claim_token, run.attempts, run.rescues) == (None, 0, 0)
    called = Parcel.objects.filter(label__startswith="called ").count()
    finished = [run for run in runs if run.outcome == Outcome.COMPLETE]
    assert len(finished) == called >= 1
    assert {run.status for run in runs} <= {Status.DONE, Status.PENDING}
    assert later.status == Status.PENDING
    assert "Traceback" not in worker.said


@pytest.mark.django_db
def test_a_worker_waits_for_a_database_that_is_away(monkeypatch, settings, caplog):
    settings.FLOWCONTROL_WORKER_POLL_SECONDS = 0
    tries: list[int] = []

    def sweep(*args: Any, **options: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError("the server closed the connection")
        stopping.set()
        return real_sweep(*args, **options)

    monkeypatch.setattr(working, "sweep", sweep)
    monkeypatch.setattr(working, "close_old_connections", lambda: None)
    with stopped_by_signals() as stopping:
        working.work(stopping)
    assert len(tries) == 3
    assert "The database is not there: the server closed the connection" in caplog.text


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.mark.django_db
def test_an_idle_worker_rests_but_wakes_up_to_stop(monkeypatch, settings):
    settings.FLOWCONTROL_WORKER_POLL_SECONDS = 60
    monkeypatch.setattr(working, "close_old_connections", lambda: None)
    with at_most(10), stopped_by_signals() as stopping:
        monkeypatch.setattr(stopping, "wait", lambda seconds: os.kill(os.getpid(), signal.SIGTERM))
        working.work(stopping)
    assert stopping.is_set()


def test_signal_handlers_are_put_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with stopped_by_signals() as stopping:
        assert not stopping.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping.wait(5)
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.django_db
def test_test_runs_the_tests_of_drafts_and_fails_if_one_does_not_pass(capsys):
    flow = make_flow(UpdateState(late="delay > 15"), Log("x", enabled=False), name="Delays")
    make_flow(Log("x"), name="Untested")
    save_test(flow, "Early", state={"delay": 5}, expectations={"state": {"late": False}})
    assert told("test") == (
        "delays: 1 of 1 test(s) passed, 100 % of the rows reached.\n"
        "  passed: Early\n"
        "untested: no tests."
    )
    save_test(flow, "Late", state={"delay": 20}, expectations={"state": {"late": False}})
    with pytest.raises(CommandError, match=r"1 of 2 test\(s\) did not pass\."):
        call_command("flowcontrol", "test", "delays")
    said = capsys.readouterr().out
    assert "1 of 2 test(s) passed" in said
    assert "  failed: Late\n    “late” should be false in the end and is true." in said
    with pytest.raises(CommandError, match="There is no flow 'fly'"):
        call_command("flowcontrol", "test", "fly")


@pytest.mark.django_db
def test_a_test_that_cannot_be_run_is_no_test_that_passes(capsys):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    flow = make_flow(Log("x"), name="Delays", state_schema=schema)
    save_test(flow, "Text", state={"n": "three"})
    with pytest.raises(CommandError, match="1 of 1"):
        call_command("flowcontrol", "test")
    assert "broken: Text" in capsys.readouterr().out


@pytest.mark.django_db
def test_a_command_without_a_verb_or_with_an_unknown_one_is_refused():
    for arguments in ([], ["fly"]):
        with pytest.raises(CommandError):
            call_command("flowcontrol", *arguments)


@pytest.mark.django_db
def test_what_waits_is_not_due_for_a_worker_either():
    with travel_to(NOON) as clock:
        run = start_flowrun(make_flow(Delay("PT1H")))
        assert told("run") == "Nothing was due."
        clock.move_to(NOON + timedelta(hours=1))
        assert told("run") == "1 executed, 1 steps, 1 done"
    assert Flow.objects.get().runs.get() == run
