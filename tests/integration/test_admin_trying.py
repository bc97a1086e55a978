"""Trying a flow in the admin, its tests, and what they have to say when it is published."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.test import Client

from flowcontrol import registry
from flowcontrol.base import BaseAction, Directive, FlowDirective, RunHandle
from flowcontrol.documents import make_document, row
from flowcontrol.drafting import create_flow, edit_action, replace_draft, set_enabled
from flowcontrol.engine import start_flowrun, trigger_flows
from flowcontrol.flowtests import run_tests, save_test
from flowcontrol.models import Flow, FlowRun, FlowTest, Trigger
from flowcontrol.publishing import publish
from flowcontrol.schemas import MASK
from flowcontrol.testing import Delay, Else, For, If, Log, SetState, UpdateState, make_flow
from tests.admin_pages import VIEW, client_of, url
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db

CHANGE = (*VIEW, "change_flow")


@pytest.fixture
def client() -> Client:
    return client_of(is_superuser=True)


@pytest.fixture
def flow() -> Flow:
    flow = create_flow("Parcels")
    mail_row = row(
        "send_email",
        to=["desk@example.org"],
        subject="{{ kilos }} kg",
        text="x",
        uid="mail",
        result_key="sent",
    )
    replace_draft(
        flow,
        make_document(
            If("kilos > 20", [UpdateState(way="'truck'"), mail_row], uid="heavy"),
            Else([UpdateState(way="'bike'")], uid="light"),
            Delay("P2D", uid="wait"),
        ),
    )
    return flow


def words(answer: Any) -> str:
    """What a person reads on a page, in one line."""
    assert answer.status_code == 200
    html = answer.content.decode()
    text = re.sub(r"<(script|style|svg|select)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())


def attempt(client: Client, flow: Flow, **data: Any) -> Any:
    given = {"state": '{"kilos": 30}', "payload": "", "starts_at": "", "until": "", **data}
    return client.post(url("flow_try", flow.pk), given)


# --- trying ---------------------------------------------------------------------------------------


def test_the_form_is_there_before_anything_is_tried(client: Client, flow: Flow) -> None:
    page = words(client.get(url("flow_try", flow.pk)))
    assert "Start state" in page
    assert "What it does" not in page
    assert "Save as a test" not in page


def test_a_trial_shows_on_the_rows_what_they_did(client: Client, flow: Flow) -> None:
    page = words(attempt(client, flow))
    assert "complete It runs to its end." in page
    assert "taken kilos = 30" in page
    assert "way set to truck" in page
    assert "2 days later" in page
    assert "Subject 30 kg" in page
    assert "simulated" in page
    assert mail.outbox == []
    assert FlowRun.objects.count() == 0


def test_the_branch_that_is_not_taken_is_not_marked(client: Client, flow: Flow) -> None:
    html = attempt(client, flow, state='{"kilos": 3}').content.decode()
    rows = dict(
        re.findall(r'<li class="(fc-row[^"]*)"[^>]*><div class="fc-line" id="([^"]*)"', html)
    )
    marked = {anchor for classes, anchor in rows.items() if "fc-has-run" in classes}
    by_anchor = {
        anchor: classes
        for classes, anchor in re.findall(
            r'<li class="(fc-row[^"]*)"[^>]*><div class="fc-line" id="([^"]*)"', html
        )
    }
    assert "fc-has-run" in by_anchor["row-light"]
    assert "fc-has-run" not in by_anchor["row-mail"]
    assert marked


def test_a_failure_is_shown_at_its_row(client: Client) -> None:
    flow = create_flow("Broken")
    replace_draft(flow, make_document(UpdateState(n="n|add:1"), Log("after")))
    page = words(attempt(client, flow, state='{"n": "x"}'))
    assert "failed It fails. At row 1" in page
    assert "stands here" in page


def test_what_a_row_gives_can_be_said(client: Client, flow: Flow) -> None:
    page = words(attempt(client, flow, **{"how-mail": "result", "what-mail": '{"id": 7}'}))
    assert 'sent set to {"id": 7}' in page
    failing = attempt(
        client, flow, **{"how-mail": "error", "what-mail": "ConnectionError: no route"}
    )
    assert "ConnectionError: no route" in words(failing)
    several = attempt(client, flow, **{"how-mail": "calls", "what-mail": '[{"result": "once"}]'})
    assert "sent set to once" in words(several)


@pytest.mark.parametrize(
    ("how", "what", "told"),
    [
        ("calls", "{", "This is no JSON"),
        ("calls", "{}", "Write a list"),
        ("calls", '[{"reslt": 1}]', "The answer for row mail has to be"),
    ],
)
def test_an_answer_that_is_none_is_told_at_its_field(
    how: str, what: str, told: str, client: Client, flow: Flow
) -> None:
    html = attempt(client, flow, **{"how-mail": how, "what-mail": what}).content.decode()
    assert told in unescape(html)
    assert "What it does" not in html


class AwaitCall(BaseAction):
    name = "test.await_call"
    effects = "none"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        return FlowDirective.SUSPEND(for_event="testapp.parcel_weighed")


def test_a_row_that_waits_can_be_answered_from_the_second_time_on(client: Client) -> None:
    with registry.actions.temporarily(AwaitCall):
        flow = create_flow("Waits")
        replace_draft(flow, make_document(row("test.await_call", uid="w", result_key="got")))
        answer = attempt(client, flow)
        page = words(answer)
        assert "waiting It waits. At row 1" in page
        assert "What rows give" in page
        assert 'name="how-w"' in answer.content.decode()
        assert '<input type="hidden" name="waits" value="w">' in answer.content.decode()
        again = attempt(client, flow, waits="w", **{"how-w": "result", "what-w": "5"})
        page = words(again)
        assert "complete" in page
        assert "and was answered" in page
        assert "got set to 5" in page


def test_it_stops_at_the_row_to_run_to(client: Client, flow: Flow) -> None:
    page = words(attempt(client, flow, until="wait"))
    assert "stopped here It comes to the row. At row 3" in page


def test_a_row_to_run_to_that_it_does_not_come_to_is_named(client: Client, flow: Flow) -> None:
    page = words(attempt(client, flow, until="light"))
    assert "It runs to its end. It does not come to row 2: Else." in page
    assert "does not come to" not in words(attempt(client, flow, until="wait"))


def test_many_rounds_are_shown_shortened(client: Client) -> None:
    flow = create_flow("Rounds")
    replace_draft(flow, make_document(For(200, [Log("round {{ n }}")], var_name="n")))
    page = words(attempt(client, flow))
    assert "200 rounds" in page
    assert "ran 200 times the last time: n = 199 round 199" in page
    assert "Before that n = 0 round 0 n = 1 round 1" in page
    assert "and 194 more" in page
    assert "201 steps left out" in page


def test_input_that_does_not_fit_is_told_and_what_was_typed_stays(client: Client) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    flow = create_flow("Schema")
    replace_draft(flow, make_document(Log("x"), state_schema=schema))
    answer = attempt(client, flow, state='{"n": "three"}')
    assert "The start state does not fit" in words(answer)
    assert "three" in answer.content.decode()
    assert "is no JSON" in words(attempt(client, flow, state="{")) or "JSON" in words(
        attempt(client, flow, state="{")
    )
    assert "Values: n *" in words(client.get(url("flow_try", flow.pk)))


def test_an_object_is_chosen_by_its_key(client: Client) -> None:
    parcel = Parcel.objects.create(label="A <b>box</b>", weight=7)
    flow = create_flow("About parcels")
    document = make_document(SetState(kilos="object.weight"), content_type="testapp.parcel")
    replace_draft(flow, document)
    answer = attempt(client, flow, key=str(parcel.pk), state="")
    assert "kilos set to 7" in words(answer)
    assert "<b>box" not in answer.content.decode()
    assert "There is no parcel with this key" in words(attempt(client, flow, key="99", state=""))
    assert "There is no parcel with this key" in words(attempt(client, flow, key="x", state=""))


def test_who_may_not_see_an_object_cannot_learn_of_it_by_a_trial() -> None:
    parcel = Parcel.objects.create(label="secret box", weight=7)
    flow = create_flow("About parcels")
    replace_draft(flow, make_document(Log("{{ object }}"), content_type="testapp.parcel"))
    page = words(attempt(client_of(*CHANGE), flow, key=str(parcel.pk), state=""))
    assert "You may not see objects of this type" in page
    assert "secret box" not in page
    allowed = client_of(*CHANGE, name="kim")
    right = Permission.objects.get(codename="view_parcel")
    User.objects.get(username="kim").user_permissions.add(right)
    assert "secret box" in words(attempt(allowed, flow, key=str(parcel.pk), state=""))


def test_secrets_are_masked_for_those_who_may_not_see_them() -> None:
    schema = {"type": "object", "properties": {"pin": {"type": "string", "format": "secret"}}}
    flow = create_flow("Secrets")
    replace_draft(flow, make_document(UpdateState(copy="1"), state_schema=schema))
    answer = attempt(client_of(*CHANGE), flow, state='{"pin": "4711"}')
    assert '"pin": "4711"' not in words(answer).split("Step by step")[0].split("Try again")[0]
    seen = attempt(client_of(*CHANGE, "reveal_secrets", name="kim"), flow, state='{"pin": "4711"}')
    assert '"pin": "4711"' in words(seen).split("Step by step")[0]


def test_the_input_of_a_run_can_be_loaded(client: Client, flow: Flow) -> None:
    publish(flow)
    Flow.objects.filter(pk=flow.pk).update(active_at="2000-01-01T00:00Z")
    flow.refresh_from_db()
    run = start_flowrun(flow, state={"kilos": 3})
    assert run.state["way"] == "bike"
    page = client.get(url("flow_try", flow.pk), {"run": run.pk}).content.decode()
    assert f"what run #{run.pk} was started with" in page
    assert "&quot;kilos&quot;: 3" in page
    assert "&quot;way&quot;" not in page


def test_what_is_masked_in_the_input_of_a_run_is_tried_as_it_was(flow: Flow) -> None:
    schema = {"type": "object", "properties": {"pin": {"type": "string", "format": "secret"}}}
    flow = make_flow(UpdateState(length="pin|length"), name="Secrets", state_schema=schema)
    run = start_flowrun(flow, state={"pin": "471147114711"})
    client = client_of(*CHANGE)
    html = client.get(url("flow_try", flow.pk), {"run": run.pk}).content.decode()
    assert "471147114711" not in html
    assert f'<input type="hidden" name="run" value="{run.pk}">' in html
    page = words(attempt(client, flow, run=run.pk, state=json.dumps({"pin": MASK})))
    assert "length set to 12" in page
    assert "471147114711" not in page


def test_a_run_leads_to_a_trial_with_its_input_for_those_who_may_try() -> None:
    run = start_flowrun(make_flow(Log("x")), state={"kilos": 3})
    page = url("flowrun_change", run.pk)
    link = f"{url('flow_try', run.flow_id)}?run={run.pk}"
    assert link not in client_of(*VIEW).get(page).content.decode()
    assert link in client_of(*CHANGE, name="kim").get(page).content.decode()


def test_the_trigger_data_of_a_run_is_loaded_as_well(client: Client) -> None:
    flow = make_flow(UpdateState(n="trigger.kilos"))
    Trigger.objects.create(name="testapp.parcel_weighed", flow=flow, active_at="2000-01-01T00:00Z")
    box = Parcel.objects.create(label="box")
    (result,) = trigger_flows("testapp.parcel_weighed", box, payload={"kilos": 5})
    page = client.get(url("flow_try", flow.pk), {"run": result["run"]}).content.decode()
    assert "&quot;kilos&quot;: 5" in page


def test_runs_of_other_flows_and_no_runs_cannot_be_loaded(client: Client, flow: Flow) -> None:
    other = start_flowrun(make_flow(Log("x"), name="Other"), state={"private": 1})
    for number in (str(other.pk), "99999", "x", "-1", str(10**30)):
        page = client.get(url("flow_try", flow.pk), {"run": number})
        assert page.status_code == 200
        assert "private" not in page.content.decode()
    publish(flow)
    Flow.objects.filter(pk=flow.pk).update(active_at="2000-01-01T00:00Z")
    flow.refresh_from_db()
    run = start_flowrun(flow, state={"kilos": 775577})
    blind = client_of("view_flow", "change_flow", name="kim")
    assert "775577" not in blind.get(url("flow_try", flow.pk), {"run": run.pk}).content.decode()


# --- beside the list ------------------------------------------------------------------------------


def beside(client: Client, flow: Flow, page: str = "flow_try", **data: Any) -> str:
    """What a builder that is there gets, which has the draft as it is now."""
    flow.refresh_from_db()
    given = {"state": '{"kilos": 30}', "revision": flow.draft_revision, "marks": "{}", **data}
    answer = client.post(url(page, flow.pk), given, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def traces(html: str) -> dict[str, str]:
    """What an answer leaves at each row, in words."""
    told = html.split("<template>", 1)[1].split("</template>", 1)[0]
    return {
        piece.split('"', 1)[0]: " ".join(re.sub(r"<[^>]*>", " ", piece.split(">", 1)[1]).split())
        for piece in told.split(' data-fc-at="')[1:]
    }


def test_a_page_that_is_there_gets_the_panel_and_a_trace_for_each_row(
    client: Client, flow: Flow
) -> None:
    html = beside(client, flow)
    assert "<html" not in html
    assert "It runs to its end." in html
    # The rows stand in the list beside it; the panel has none of its own.
    assert 'class="fc-row ' not in html
    found = {uid: words.removesuffix(" <div class=").strip() for uid, words in traces(html).items()}
    assert found["heavy"].startswith("taken kilos = 30")
    assert found["1.1"].startswith("ran once way set to truck")
    assert "simulated To: desk@example.org Subject: 30 kg Text: x kilos = 30" in found["mail"]
    assert found["light"].startswith("not taken")
    assert found["2.1"].startswith("not reached")
    assert "2 days later" in found["wait"]


def test_rows_that_are_switched_off_have_no_trace(client: Client, flow: Flow) -> None:
    set_enabled(flow, "wait", False)
    assert "wait" not in traces(beside(client, flow))


def test_a_trial_that_fails_says_so_at_its_row(client: Client, flow: Flow) -> None:
    edit_action(flow, "heavy", config={"condition": "kilos > 'x'"})
    html = beside(client, flow)
    assert traces(html)["heavy"].startswith("failed")
    assert traces(html)["wait"].startswith("not reached")


def test_a_page_that_is_stale_gets_what_others_have_changed_with_the_trial(
    client: Client, flow: Flow
) -> None:
    assert 'id="fc-changes"' not in beside(client, flow)
    html = beside(client, flow, revision=flow.draft_revision - 1)
    assert 'id="fc-changes"' in html
    assert html.index('id="fc-changes"') < html.index('id="fc-traces"')


def test_it_is_run_to_a_row_and_then_to_the_end(client: Client, flow: Flow) -> None:
    html = beside(client, flow, here="wait")
    assert "It comes to the row." in html
    assert traces(html)["wait"].startswith("stopped here")
    assert '<option value="wait" selected>' in html
    assert 'name="to_end"' in html
    assert "It runs to its end." in beside(client, flow, until="wait", to_end="1")


def test_a_row_to_run_to_that_is_gone_is_told(client: Client, flow: Flow) -> None:
    html = beside(client, flow, here="nowhere")
    assert "Select a valid choice" in html
    assert "What it does" not in html


def test_the_row_to_run_to_can_be_asked_for_by_its_address(client: Client, flow: Flow) -> None:
    replace_draft(flow, make_document(Log("x", uid="a.b_c")))
    page = client.get(url("flow_try", flow.pk), {"here": "a.b_5Fc"}).content.decode()
    assert '<option value="a.b_c" selected>' in page


def test_a_test_that_was_only_run_to_a_row_is_not_judged(client: Client, flow: Flow) -> None:
    test = save_test(flow, "Heavy", expectations={"outcome": "complete"})
    html = beside(client, flow, test=test.pk, here="wait")
    assert "The test fails" not in html
    assert "The test passes" not in html


def test_a_form_is_shown_again_with_what_was_typed_and_nothing_is_tried(
    client: Client, flow: Flow
) -> None:
    html = beside(client, flow, fill="1")
    assert '{"kilos": 30}' in html
    assert "What it does" not in html
    assert 'id="fc-traces"' not in html


def test_the_name_of_a_test_outlives_another_trial(client: Client, flow: Flow) -> None:
    html = beside(client, flow, **{"test-name": "Heavy ones"})
    assert 'value="Heavy ones"' in html


def test_the_tests_stand_beside_the_list_and_tell_at_each_row_who_comes_by(
    client: Client, flow: Flow
) -> None:
    save_test(flow, "Heavy", state={"kilos": 30})
    opened = client.get(url("flow_tests", flow.pk), headers={"HX-Request": "true"})
    assert "Since the last change no test has been run" in opened.content.decode()
    assert traces(opened.content.decode()) == {}
    html = beside(client, flow, "flow_tests")
    assert "The test passes." in html
    assert "The tests reach 66 % of the rows. No test comes to 2 rows." in html
    found = traces(html)
    assert found["heavy"].startswith("Tests: Heavy")
    assert found["light"].startswith("no test comes here")
    save_test(flow, "Light", state={"kilos": 3}, expectations={"state": {"way": "truck"}})
    html = beside(client, flow, "flow_tests")
    assert "1 of 2 tests did not pass." in html
    assert traces(html)["wait"].startswith("Tests: Heavy, Light")


def test_a_test_is_deleted_beside_the_list(client: Client, flow: Flow) -> None:
    test = save_test(flow, "Heavy")
    answer = client.post(url("flow_delete_test", flow.pk, test.pk), headers={"HX-Request": "true"})
    assert "The test “Heavy” was deleted." in answer.content.decode()
    assert "No tests yet." in answer.content.decode()
    assert not FlowTest.objects.exists()


def test_the_menu_of_a_row_has_what_one_may_do(flow: Flow) -> None:
    def offered(*rights: str, name: str) -> list[str]:
        html = client_of(*rights, name=name).get(url("flow_actions", flow.pk)).content.decode()
        return re.findall(r'data-fc-verb="(\w+)"', html)

    assert offered(*VIEW, name="viewer") == []
    assert offered(*VIEW, "publish_flow", name="publisher") == ["run_here"]
    assert {"open", "run_here", "delete"} < set(offered(*CHANGE, name="author"))


def test_keys_are_told_to_those_for_whom_they_do_something(flow: Flow) -> None:
    def told(*rights: str, name: str) -> str:
        return words(client_of(*rights, name=name).get(url("flow_actions", flow.pk)))

    assert "Undo, redo" not in told(*VIEW, name="viewer")
    assert "Go to the next problem" in told(*VIEW, name="other viewer")
    assert "Undo, redo" in told(*CHANGE, name="author")


# --- tests ----------------------------------------------------------------------------------------


def saving(client: Client, flow: Flow, **data: Any) -> Any:
    wanted = {"test-outcome": "complete", "test-state": '{"way": "truck"}'}
    given = {"save": "1", "test-name": "Heavy", **wanted, **data}
    return attempt(client, flow, **given)


def test_what_a_trial_did_is_offered_as_a_test(client: Client, flow: Flow) -> None:
    html = unescape(attempt(client, flow).content.decode())
    assert 'name="test-name"' in html
    assert '<option value="complete" selected>' in html
    assert '"way": "truck"' in html.split("Save as a test")[1]
    checked = re.findall(r'name="test-reached" value="([^"]*)"[^>]* checked', html)
    assert checked == ["heavy", "1.1", "mail", "wait"]


def test_a_trial_is_saved_as_a_test_and_runs(client: Client, flow: Flow) -> None:
    rows = {"test-reached": ["heavy"], "test-not_reached": ["light"]}
    answer = saving(client, flow, **{"how-mail": "result", "what-mail": "7", **rows})
    assert answer["Location"] == url("flow_tests", flow.pk)
    test = FlowTest.objects.get()
    assert (test.name, test.state) == ("Heavy", {"kilos": 30})
    assert test.answers == {"mail": {"result": 7}}
    assert test.expectations == {
        "outcome": "complete",
        "state": {"way": "truck"},
        "reached": ["heavy"],
        "not_reached": ["light"],
    }
    page = words(client.get(url("flow_tests", flow.pk)))
    assert "Heavy not run yet" in page
    assert "no test has been run" in page
    client.post(url("flow_tests", flow.pk))
    page = words(client.get(url("flow_tests", flow.pk)))
    assert "Heavy passed" in page
    assert "The tests reach 66 % of the rows. No test comes to 2 rows. 2" in page


def test_one_test_is_run_alone(client: Client, flow: Flow) -> None:
    first = save_test(flow, "Heavy", state={"kilos": 30})
    save_test(flow, "Light", state={"kilos": 1})
    answer = client.post(url("flow_tests", flow.pk), {"test": first.pk}, follow=True)
    assert "The test passes." in words(answer)
    assert "Heavy passed" in words(answer)
    assert "Light not run yet" in words(answer)


def test_a_test_that_fails_says_why_in_the_list(client: Client, flow: Flow) -> None:
    saving(client, flow, **{"test-state": '{"way": "bike"}'})
    answer = client.post(url("flow_tests", flow.pk), follow=True)
    page = words(answer)
    assert "1 of 1 test did not pass." in page
    assert '“way” should be "bike" in the end and is "truck".' in page
    edit_action(flow, "wait", config={"duration": "P3D"})
    assert "before the last change" in words(client.get(url("flow_tests", flow.pk)))


def test_a_test_is_opened_tried_and_changed(client: Client, flow: Flow) -> None:
    saving(client, flow, **{"how-mail": "error", "what-mail": "Timeout: slow"})
    test = FlowTest.objects.get()
    html = client.get(url("flow_try", flow.pk), {"test": test.pk}).content.decode()
    assert "&quot;kilos&quot;: 30" in html
    assert "Timeout: slow" in html
    page = words(attempt(client, flow, test=str(test.pk)))
    assert "The test passes." in page
    page = words(attempt(client, flow, test=str(test.pk), state='{"kilos": 1}'))
    assert "The test fails:" in page
    assert 'should be "truck"' in page
    saving(client, flow, test=str(test.pk), **{"test-name": "Very heavy"})
    assert FlowTest.objects.get().name == "Very heavy"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"test-name": ""}, "This field is required"),
        ({"test-state": "{"}, "JSON"),
        ({"test-outcome": "fine"}, "Select a valid choice"),
        ({"test-reached": "nowhere"}, "Select a valid choice"),
        ({"test-name": "Taken"}, "There is a test called “Taken” already."),
    ],
)
def test_a_test_that_cannot_be_saved_says_why_and_keeps_what_was_typed(
    data: dict[str, str], told: str, client: Client, flow: Flow
) -> None:
    save_test(flow, "Taken")
    answer = saving(client, flow, **data)
    assert told in words(answer)
    assert "&quot;kilos&quot;: 30" in answer.content.decode()
    assert FlowTest.objects.count() == 1


def test_who_may_only_publish_tries_but_saves_nothing(flow: Flow) -> None:
    client = client_of(*VIEW, "publish_flow")
    page = words(attempt(client, flow))
    assert "It runs to its end." in page
    assert "Save as a test" not in page
    assert saving(client, flow).status_code == 403
    assert not FlowTest.objects.exists()


def test_who_may_only_look_sees_the_tests_but_tries_nothing(flow: Flow) -> None:
    save_test(flow, "Heavy", state={"kilos": 30})
    page = client_of(*VIEW).get(url("flow_tests", flow.pk))
    assert "Heavy" in words(page)
    assert "Run all" not in words(page)
    assert "Delete" not in words(page)


def test_a_test_is_deleted(client: Client, flow: Flow) -> None:
    test = save_test(flow, "Heavy")
    other = save_test(create_flow("Other"), "Theirs")
    assert client.post(url("flow_delete_test", flow.pk, other.pk)).status_code == 404
    client.post(url("flow_delete_test", flow.pk, test.pk))
    assert [each.name for each in FlowTest.objects.all()] == ["Theirs"]
    assert client.get(url("flow_try", flow.pk), {"test": other.pk}).status_code == 404


def test_secrets_in_tests_are_masked_and_kept_when_the_test_is_saved_again() -> None:
    schema = {"type": "object", "properties": {"pin": {"type": "string", "format": "secret"}}}
    flow = create_flow("Secrets")
    replace_draft(flow, make_document(Log("x"), state_schema=schema))
    wanted = {"outcome": "complete", "state": {"pin": "4711"}}
    test = save_test(flow, "Pin", state={"pin": "4711"}, expectations=wanted)
    client = client_of(*CHANGE)
    for page in (url("flow_tests", flow.pk), f"{url('flow_try', flow.pk)}?test={test.pk}"):
        assert "4711" not in client.get(page).content.decode()
    data = {
        "test": str(test.pk),
        "state": json.dumps({"pin": MASK}),
        "test-name": "Pin",
        "test-state": json.dumps({"pin": MASK}),
    }
    assert saving(client, flow, **data).status_code == 302
    test.refresh_from_db()
    assert (test.state, test.expectations) == ({"pin": "4711"}, wanted)


# --- publishing -----------------------------------------------------------------------------------


def publishing(client: Client, flow: Flow, **data: str) -> Any:
    flow.refresh_from_db()
    given = {"revision": flow.draft_revision, "note": "", **data}
    return client.post(url("flow_publish", flow.pk), given)


def test_publishing_says_that_tests_are_run_first(client: Client, flow: Flow) -> None:
    save_test(flow, "Heavy")
    page = words(client.get(url("flow_publish", flow.pk)))
    assert "1 test is run first." in page
    assert "The tests reach" not in page


def test_publishing_tells_which_rows_the_tests_reach(client: Client, flow: Flow) -> None:
    save_test(flow, "Heavy", state={"kilos": 30})
    run_tests(flow)
    page = words(client.get(url("flow_publish", flow.pk)))
    assert "The tests reach 66 % of the rows. No test comes to 2 rows." in page


def test_a_failing_test_blocks_until_it_is_overruled(client: Client, flow: Flow) -> None:
    save_test(flow, "Heavy", state={"kilos": 30}, expectations={"state": {"way": "bike"}})
    page = words(publishing(client, flow))
    assert "Tests of the flow fail." in page
    assert 'The test “Heavy” fails: “way” should be "bike"' in page
    assert "Publish although these tests fail." in page
    assert flow.versions.count() == 0
    assert publishing(client, flow, overrule="1", note="Hurry").status_code == 302
    assert flow.versions.get().note.startswith("Hurry\nPublished although")


def test_other_errors_cannot_be_overruled(client: Client, flow: Flow) -> None:
    save_test(flow, "Heavy", state={"kilos": 30}, expectations={"state": {"way": "bike"}})
    edit_action(flow, "heavy", config={"condition": "kilos >"})
    page = words(publishing(client, flow, overrule="1"))
    assert "Please correct the errors first." in page
    assert "although" not in page
    assert flow.versions.count() == 0


def test_a_result_is_kept_when_publishing_is_refused(client: Client, flow: Flow) -> None:
    save_test(flow, "Heavy", state={"kilos": 30}, expectations={"state": {"way": "bike"}})
    publishing(client, flow)
    assert "failed" in words(client.get(url("flow_tests", flow.pk)))
    assert [tested.status for tested in run_tests(flow)] == ["failed"]
