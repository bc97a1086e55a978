"""Runs in the admin: finding them, reading them, operating them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flowcontrol import operating
from flowcontrol.base import BaseAction
from flowcontrol.documents import row
from flowcontrol.engine import create_flowrun, start_flowrun, trigger_flows
from flowcontrol.models import FlowRun, FlowVersion, HumanTask, RunEvent, Trigger
from flowcontrol.registry import actions
from flowcontrol.testing import (
    Delay,
    For,
    If,
    Log,
    StartFlow,
    UpdateState,
    make_flow,
    run_until_idle,
    travel_to,
)
from tests.admin_pages import VIEW, client_of, url
from tests.testapp.models import Parcel, Station

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 17, tzinfo=UTC)


@pytest.fixture
def client() -> Client:
    return client_of(is_superuser=True)


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def page_of(client: Client, run: FlowRun, query: str = "") -> str:
    return text(client, url("flowrun_change", run.pk) + query)


def messages_of(answer: Any) -> list[str]:
    return [str(message) for message in answer.wsgi_request._messages]


def failed_run() -> FlowRun:
    run = start_flowrun(make_flow(UpdateState(n="1"), If("n < missing", [Log("x")], label="ask")))
    assert run.status == "failed"
    return run


# --- the page, at a glance ----------------------------------------------------------------------


def test_a_moment_is_written_in_one_way_on_the_page_of_a_run(client):
    with travel_to(NOON):
        run = start_flowrun(make_flow(Log("x")))
    page = page_of(client, run)
    assert "It ended as “Complete” at Feb. 8, 2013, 12:00." in page
    assert page.count("<dd>Feb. 8, 2013, 12:00</dd>") == 2  # created, ended


# --- the list -----------------------------------------------------------------------------------


def test_a_run_is_found_by_its_number_its_key_and_its_object(client):
    flow = make_flow(Log("x"), name="Parcels", content_type="testapp.parcel")
    parcels = [Parcel.objects.create(label=f"Box {number}") for number in range(3)]
    runs = [create_flowrun(flow, each, key=f"key-{each.pk}") for each in parcels]
    for term in (f"#{runs[1].pk}", f"key-{parcels[1].pk}"):
        page = text(client, f"{url('flowrun_changelist')}?q={term.replace('#', '%23')}")
        assert "Box 1" in page
        assert "Box 2" not in page
    assert "Box 0" in text(client, f"{url('flowrun_changelist')}?q={parcels[0].pk}")
    for odd in ("9" * 30, "'", "nothing"):
        assert "No run fits." in text(client, f"{url('flowrun_changelist')}?q={odd}")


def test_runs_are_filtered_by_flow_status_outcome_and_parent(client):
    make_flow(Log("x"), name="Sub", slug="sub")
    parent = start_flowrun(make_flow(StartFlow("sub"), Delay("PT1H"), name="Main"))
    run_until_idle()
    everything = text(client, url("flowrun_changelist"))
    assert everything.count("field-status_badge") == 2
    for query in (
        f"flow__id__exact={parent.flow_id}",
        "status__exact=waiting",
        "outcome__exact=complete",
        f"parent_run__id__exact={parent.pk}",
        f"version__id__exact={parent.version_id}",
    ):
        page = text(client, f"{url('flowrun_changelist')}?{query}")
        assert page.count("field-status_badge") == 1, query


def test_the_list_needs_as_many_queries_for_many_runs_as_for_few(client):
    parcels = make_flow(Delay("PT1H"), name="Parcels", content_type="testapp.parcel")
    stations = make_flow(Log("x"), name="Stations", content_type="testapp.station")

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            text(client, url("flowrun_changelist"))
        return len(captured)

    def start(number: int) -> None:
        start_flowrun(parcels, Parcel.objects.create(label=f"Box {number}"))
        start_flowrun(stations, Station.objects.create(code=f"S{number}", name="Gate"))

    start(0)
    few = queries()
    for number in range(1, 20):
        start(number)
    assert queries() == few


def test_an_object_that_is_gone_or_not_ones_to_see_is_told_by_its_key(client):
    flow = make_flow(Log("x"), content_type="testapp.parcel")
    parcel = Parcel.objects.create(label="A box")
    run = create_flowrun(flow, parcel)
    reader = client_of(*VIEW, name="reader")
    assert "A box" in text(client, url("flowrun_changelist"))
    assert "A box" not in text(reader, url("flowrun_changelist"))
    assert f"parcel {parcel.pk}" in page_of(reader, run)
    FlowRun.objects.filter(pk=run.pk).update(object_id="of another kind")
    assert "of another kind (gone)" in text(client, url("flowrun_changelist"))
    assert "of another kind (gone)" in page_of(client, run)


def test_an_empty_list_says_how_runs_come_about(client):
    assert "No runs yet." in text(client, url("flowrun_changelist"))


# --- the page -----------------------------------------------------------------------------------


def test_the_page_tells_where_a_run_stands_and_why(client):
    flow = make_flow(
        UpdateState(n="1"), If("n > 0", [Log("n is {{ n }}"), Delay("PT1H", label="An hour")])
    )
    with travel_to(NOON):
        run = start_flowrun(flow)
        page = page_of(client, run)
    assert "It waits until Feb. 8, 2013, 13:00." in page
    assert "Row 2.2: An hour" in page
    assert "stands here" in page
    assert "&quot;n&quot;: 1" in page
    assert "n is 1" in page  # what the row logged
    assert "<code>n</code> = <code>1</code>" in page  # what the condition read
    assert "set to <code>1</code>" in page  # what changed


def test_the_page_counts_rounds_and_steps_left_out(client, settings):
    settings.FLOWCONTROL_HISTORY_STEPS = 20
    run = start_flowrun(make_flow(For(30, [UpdateState(n="n|add:1")])), state=None)
    assert run.status == "failed"
    run = start_flowrun(make_flow(For(30, [Log("x")]), name="Other"))
    page = page_of(client, run)
    assert "41 steps left out" in page
    assert "ran at least 10 times" in page
    settings.FLOWCONTROL_HISTORY_STEPS = 100
    run = start_flowrun(make_flow(For(30, [Log("x")]), name="Third"))
    assert "ran 30 times" in page_of(client, run)


def test_an_error_is_told_with_its_row_and_its_traceback_on_demand(client):
    page = page_of(client, failed_run())
    assert "It failed and waits for somebody to repair it." in page
    assert "At row 2: ask (attempt 1)" in page
    assert "Traceback (most recent call last)" in page
    assert "<details><summary>Technical details" in page


def test_the_history_goes_on_over_pages_and_tells_each_change(client):
    flow = make_flow(For(60, [UpdateState(n="n|add:1"), Delay("PT1H")]))
    with travel_to(NOON) as clock:
        run = start_flowrun(flow, state={"n": 0})
        for _hour in range(60):
            clock.advance(hours=1)
            run_until_idle()
    newest = page_of(client, run)
    assert "Older events" in newest
    assert "<code>59</code> <span" in newest
    assert "<code>0</code> <span" not in newest
    oldest = page_of(client, run, "?history=1")
    assert "Newer events" in oldest
    assert "<code>0</code> <span" in oldest
    assert "History" in page_of(client, run, "?history=x")
    assert "History" in page_of(client, run, "?history=-5")


def test_runs_and_their_parents_lead_to_one_another(client):
    make_flow(Log("x"), name="Sub", slug="sub")
    parent = start_flowrun(make_flow(StartFlow("sub"), name="Main"))
    child = parent.child_runs.get()
    assert url("flowrun_change", child.pk) in page_of(client, parent)
    assert url("flowrun_change", parent.pk) in page_of(client, child)


def test_a_run_whose_actions_are_gone_is_still_shown(client):
    class Temporary(BaseAction):
        name = "test.temporary"
        verbose_name = "Temporary"
        effects = "none"

        def run(self, **asked: Any) -> None:
            """Does nothing."""

    with actions.temporarily(Temporary):
        run = start_flowrun(make_flow(row("test.temporary", secret="s3cret")))
    page = page_of(client, run)
    assert "Unknown action “test.temporary”" in page
    assert "s3cret" not in text(
        client_of(*VIEW, name="reader"), url("flow_version", run.flow_id, 1)
    )


def test_a_version_that_this_release_cannot_read_does_not_break_the_page(client):
    run = failed_run()
    broken = {**run.version.document, "format": 99}
    FlowVersion.objects.filter(pk=run.version_id).update(document=broken)
    FlowRun.objects.filter(pk=run.pk).update(cursor={"format": 99})
    assert "cannot read the version" in page_of(client, run)
    page = text(client, url("flow_version", run.flow_id, 1))
    assert "reads format 1" in page


@pytest.mark.parametrize(
    ("steps", "detail"),
    [
        ([], None),
        ([[None, 812]], {}),
        (["odd", [], ["?"], ["1", "run"], ["1", "new phase", "new directive", 5_000_000]], None),
        (None, {"values": "odd", "error": "E", "message": "M"}),
        (None, {"did": "something new"}),
        (None, {"by": "event", "trigger": "demo.flight_cancelled", "to": "1"}),
    ],
)
@pytest.mark.parametrize("kind", ["steps", "failed", "operated", "woken", "retry", "done"])
def test_whatever_stands_in_the_history_is_shown(client, kind, steps, detail):
    run = start_flowrun(make_flow(Log("x")))
    RunEvent.objects.create(
        run=run, seq=run.seq + 1, at=NOON, kind=kind, steps=steps, detail=detail, undo={"set": {}}
    )
    page = page_of(client, run)
    assert "812 steps left out" in page or steps != [[None, 812]]


def test_secrets_of_the_state_are_shown_only_to_those_who_may_see_them():
    schema = {
        "type": "object",
        "properties": {"token": {"type": "string", "format": "secret"}},
    }
    flow = make_flow(If('token == "x"', [Log("never")]), Delay("PT1H"), state_schema=schema)
    run = start_flowrun(flow, state={"token": "old-s3cret"})
    operating.edit_state(run, {"token": "new-s3cret"})
    edit = url("flowrun_operate", run.pk, "edit_state")
    reader = client_of(*VIEW, "edit_state_flowrun", name="reader")
    for page in (page_of(reader, run), text(reader, edit)):
        assert "s3cret" not in page
        assert "••••••" in page
    trusted = client_of(*VIEW, "reveal_secrets", name="trusted")
    assert "old-s3cret" in page_of(trusted, run)
    data = {"state": '{"token": "••••••", "n": 1}', "reason": "more"}
    assert reader.post(edit, data).status_code == 302
    run.refresh_from_db()
    assert run.state == {"token": "new-s3cret", "n": 1}


# --- operating ----------------------------------------------------------------------------------


def test_what_can_be_done_depends_on_where_the_run_stands(client):
    waiting = start_flowrun(make_flow(Delay("PT1H")))
    page = page_of(client, waiting)
    for label in ("Run now…", "Pause…", "Cancel…", "Go to a row…", "Edit state…"):
        assert label in page
    for label in ("Try again…", "Resume…", "Close…"):
        assert label not in page
    page = page_of(client, failed_run())
    assert "Try again…" in page
    assert "Close…" in page
    operating.cancel(waiting)
    assert "fc-grave-link" not in page_of(client, waiting)


@pytest.mark.parametrize(
    ("verb", "label"),
    [
        ("pause", "Paused"),
        ("run_now", "Told to run now"),
        ("cancel", "Canceled"),
    ],
)
def test_an_operation_is_on_record_with_who_and_why(client, verb, label):
    run = start_flowrun(make_flow(Delay("PT1H")))
    path = url("flowrun_operate", run.pk, verb)
    assert "Reason" in text(client, path)
    answer = client.post(path, {"reason": "The gate is closed."})
    assert answer["Location"] == url("flowrun_change", run.pk)
    told = run.events.order_by("-seq").values_list("user__username", "reason").first()
    assert told == ("sam", "The gate is closed.")
    page = page_of(client, run)
    assert f"<strong>{label}</strong>" in page
    assert "The gate is closed." in page
    assert "by sam" in page


@pytest.mark.parametrize("verb", ["cancel", "close", "edit_state", "go_to"])
def test_what_cannot_be_taken_back_needs_a_reason(client, verb):
    run = failed_run()
    answer = client.post(url("flowrun_operate", run.pk, verb), {"state": "{}", "row": "1"})
    assert "reason" in answer.context["form"].errors
    assert run.events.count() == 1


def test_a_failed_run_is_repaired(client):
    run = failed_run()
    answer = client.post(
        url("flowrun_operate", run.pk, "edit_state"),
        {"state": '{"n": 1, "missing": 2}', "reason": "The value was not there."},
    )
    assert answer.status_code == 302
    client.post(url("flowrun_operate", run.pk, "retry"), {"reason": ""})
    run_until_idle()
    run.refresh_from_db()
    assert (run.status, run.outcome) == ("done", "complete")
    page = page_of(client, run)
    assert "State changed" in page
    assert "The value was not there." in page


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("[1]", "braces"),
        ("{", "Line 1"),
        ('{"n": NaN}', "NaN"),
        ('{"n": "\\u0000"}', "NUL"),
        ('{"n": "many"}', "n: "),
    ],
)
def test_a_state_that_cannot_be_is_refused_at_its_field(client, state, message):
    schema = {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}
    run = start_flowrun(make_flow(Delay("PT1H"), state_schema=schema))
    path = url("flowrun_operate", run.pk, "edit_state")
    answer = client.post(path, {"state": state, "reason": "x"})
    assert message in str(answer.context["form"].errors["state"])
    run.refresh_from_db()
    assert run.state == {"n": 1}


def test_a_run_is_sent_to_a_row_that_can_run(client):
    flow = make_flow(
        Delay("PT1H"), Log("off", uid="off", enabled=False), Log("end", uid="end"), name="Send"
    )
    run = start_flowrun(flow)
    path = url("flowrun_operate", run.pk, "go_to")
    page = text(client, path)
    assert "3 Log “end”" in page
    assert "2 Log “off”" not in page
    assert "row" in client.post(path, {"row": "off", "reason": "x"}).context["form"].errors
    assert client.post(path, {"row": "end", "reason": "No time."}).status_code == 302
    run_until_idle()
    run.refresh_from_db()
    assert run.outcome == "complete"
    assert "To row 3: Log “end”" in page_of(client, run)


def test_what_is_not_possible_any_more_is_told_and_not_done(client):
    run = failed_run()
    operating.close(run)
    for verb in ("retry", "cancel", "edit_state"):
        answer = client.post(url("flowrun_operate", run.pk, verb), {"reason": "x", "state": "{}"})
        assert answer["Location"] == url("flowrun_change", run.pk)
        assert "not possible now" in messages_of(answer)[0]


def test_many_runs_are_operated_with_one_reason(client):
    runs = [start_flowrun(make_flow(Delay("PT1H"), name=f"F{number}")) for number in range(3)]
    done = start_flowrun(make_flow(Log("x"), name="Done"))
    selected = [run.pk for run in (*runs, done)]
    data = {"action": "cancel", "_selected_action": selected, "index": "0"}
    page = client.post(url("flowrun_changelist"), data).content.decode()
    assert "Cancel: 4 runs" in page
    assert FlowRun.objects.filter(outcome="canceled").count() == 0
    page = client.post(url("flowrun_changelist"), {**data, "confirmed": "1", "reason": ""})
    assert "required" in page.content.decode()
    answer = client.post(
        url("flowrun_changelist"), {**data, "confirmed": "1", "reason": "All gates closed."}
    )
    assert FlowRun.objects.filter(outcome="canceled").count() == 3
    assert {event.reason for event in RunEvent.objects.filter(kind="operated")} == {
        "All gates closed."
    }
    told = messages_of(answer)
    assert told[0] == "Cancel: 3 runs."
    assert told[1].startswith("Not possible for 1 run")


def test_all_runs_that_fit_a_filter_are_operated_at_once(client):
    flow = make_flow(Delay("PT1H"), name="One")
    other = start_flowrun(make_flow(Delay("PT1H"), name="Two"))
    for _number in range(3):
        start_flowrun(flow)
    path = f"{url('flowrun_changelist')}?flow__id__exact={flow.pk}"
    first = flow.runs.first()
    assert first is not None
    data = {"action": "pause", "_selected_action": [first.pk], "select_across": "1"}
    client.post(path, {**data, "confirmed": "1", "reason": ""})
    assert FlowRun.objects.filter(status="paused").count() == 3
    other.refresh_from_db()
    assert other.status == "waiting"


# --- triggers, firings, tasks -------------------------------------------------------------------


def trigger_data(**changes: Any) -> dict[str, Any]:
    data = {"name": "demo.flight_cancelled", "condition": "", "mode": "start"}
    return {**data, "active_at": "", "action_uid": "", **changes}


def test_a_trigger_row_is_made_from_the_registered_triggers(client):
    flow = make_flow(Log("x"))
    assert "A flight has been cancelled" in text(client, url("trigger_add"))
    answer = client.post(url("trigger_add"), trigger_data(flow=flow.pk))
    assert answer.status_code == 302
    trigger = Trigger.objects.get()
    page = text(client, url("trigger_change", trigger.pk))
    assert "1 Log “x”" in page
    data = trigger_data(flow=flow.pk, mode="restart", action_uid="1", condition="trigger.delay > 1")
    assert client.post(url("trigger_change", trigger.pk), data).status_code == 302
    trigger.refresh_from_db()
    assert (trigger.mode, trigger.action_uid) == ("restart", "1")
    assert "A flight has been cancelled" in text(client, url("trigger_changelist"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "no.such_trigger", "valid choice"),
        ("condition", "trigger.delay >", "ends too early"),
        ("name", "demo.flight_cancelled", "about flights"),
    ],
)
def test_a_mistake_in_a_trigger_row_is_told_at_its_field(client, field, value, message):
    flow = make_flow(Log("x"), content_type="testapp.parcel", name="Parcels")
    flow.refresh_from_db()
    data = trigger_data(flow=flow.pk, **{field: value})
    answer = client.post(url("trigger_add"), data)
    assert message in str(answer.context["adminform"].form.errors[field])


def test_a_trigger_row_keeps_what_is_not_there_any_more(client):
    flow = make_flow(Log("x"))
    trigger = Trigger.objects.create(name="shop.gone", flow=flow, mode="restart", action_uid="gone")
    page = text(client, url("trigger_change", trigger.pk))
    assert "shop.gone (not registered)" in page
    assert "gone (not in the live version)" in page
    data = trigger_data(name="shop.gone", flow=flow.pk, mode="restart", action_uid="gone")
    assert client.post(url("trigger_change", trigger.pk), data).status_code == 302


def test_a_firing_tells_in_words_what_came_of_it(client):
    flow = make_flow(Log("x"), name="Cancellation")
    off = make_flow(Log("x"), name="Off", active=False)
    for each, condition in ((flow, ""), (flow, "false"), (off, ""), (flow, "1 > 'a'")):
        Trigger.objects.create(
            name="demo.flight_cancelled", flow=each, condition=condition, active_at=flow.active_at
        )
    trigger_flows("demo.flight_cancelled")
    run = FlowRun.objects.get()
    page = text(client, url("firing_changelist"))
    assert f'<a href="{url("flowrun_change", run.pk)}">run #{run.pk}</a> started' in page
    assert "Cancellation: condition not true" in page
    assert "Off: refused" in page
    assert "is off" in page
    assert "Cancellation: error" in page
    assert run.firing is not None
    page = text(client, url("firing_change", run.firing.pk))
    assert "condition not true" in page
    assert url("firing_change", run.firing.pk) in page_of(client, run)
    reader = client_of("view_firing", name="reader")
    assert "flowrun" not in text(reader, url("firing_changelist"))
    assert "No" in text(client, f"{url('firing_changelist')}?matched=no")


def test_a_task_is_shown(client):
    run = start_flowrun(make_flow(Delay("PT1H")))
    HumanTask.objects.create(run=run, title="Seats?", created_at=run.created_at, answers=[{"a": 1}])
    assert "Seats?" in text(client, url("humantask_changelist"))
    assert "Seats?" in text(client, url("humantask_change", HumanTask.objects.get().pk))


def test_rights_of_other_models_show_their_objects_by_name():
    flow = make_flow(Log("x"), content_type="testapp.parcel")
    create_flowrun(flow, Parcel.objects.create(label="A box"))
    client = client_of(*VIEW)
    user = User.objects.get()
    user.user_permissions.add(Permission.objects.get(codename="view_parcel"))
    assert "A box" in text(client, url("flowrun_changelist"))
