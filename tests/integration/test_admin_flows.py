"""Flows in the admin: the list, the settings, publishing and versions, starting, deleting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flowcontrol import drafting, publishing
from flowcontrol.admin.flow_forms import SettingsForm
from flowcontrol.documents import make_document, row
from flowcontrol.engine import create_flowrun, start_flowrun
from flowcontrol.models import Flow, FlowAction, FlowRun
from flowcontrol.testing import Delay, If, Log, make_flow
from tests.admin_pages import VIEW, client_of, draft_rows, person, revision_of, uid_of, url
from tests.testapp.models import Parcel, Station, Ticket

pytestmark = pytest.mark.django_db

CHANGE = (*VIEW, "change_flow")


@pytest.fixture
def client() -> Client:
    return client_of(is_superuser=True)


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def messages_of(answer: Any) -> list[str]:
    return [str(message) for message in answer.wsgi_request._messages]


def settings_of(flow: Flow, **changes: Any) -> dict[str, Any]:
    """What the settings form posts."""
    data = {
        "name": flow.name,
        "slug": flow.slug,
        "description": flow.description,
        # Midnight in UTC, as make_flow has it, on the clocks of New York.
        "active_at": "1999-12-31T19:00:00",
        "content_type": flow.content_type_id or "",
        "condition": flow.condition,
        "state_schema": "",
        "identity": flow.identity_id or "",
        "revision": revision_of(flow),
        "max_concurrent": 0,
        "max_concurrent_per_object": 0,
        "max_per_object": 0,
        "when_full": "refuse",
        "retention": "",
    }
    return {**data, **changes}


# --- the list -----------------------------------------------------------------------------------


def test_the_list_counts_runs_by_status_and_links_to_them(client):
    flow = make_flow(Delay("PT1H"), name="Waits")
    for _number in range(3):
        start_flowrun(flow)
    page = text(client, url("flow_changelist"))
    link = f"{url('flowrun_changelist')}?flow__id__exact={flow.pk}&amp;status__exact=waiting"
    assert link in page
    assert "<b>3</b> Waiting" in page
    assert text(client, link.replace("&amp;", "&")).count("fc-badge fc-waiting") == 3


def test_the_list_tells_on_from_off_and_what_was_not_published(client):
    make_flow(Log("x"), name="On")
    make_flow(Log("x"), name="Changed")
    drafting.add_action(Flow.objects.get(name="Changed"), "group")
    drafting.create_flow("New")
    Flow.objects.filter(name="On").update(paused_at=datetime(2013, 2, 8, tzinfo=UTC))
    page = text(client, url("flow_changelist"))
    assert page.count("unpublished changes") == 1
    assert "Not published" in page
    assert "Paused" in page
    for state, name in (("paused", "On"), ("off", "New"), ("draft", "New"), ("on", "Changed")):
        assert f">{name}</a>" in text(client, f"{url('flow_changelist')}?state={state}")


def test_the_list_needs_as_many_queries_for_many_flows_as_for_one(client):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            text(client, url("flow_changelist"))
        return len(captured)

    start_flowrun(make_flow(Log("x"), name="One", content_type="testapp.parcel"), parcel())
    few = queries()
    for number in range(12):
        flow = make_flow(Log("x"), name=f"Flow {number}", content_type="testapp.parcel")
        start_flowrun(flow, parcel())
    assert queries() == few


def parcel() -> Parcel:
    return Parcel.objects.create(label="A box")


# --- a new flow and its settings ----------------------------------------------------------------


def test_a_new_flow_is_made_with_its_hidden_root_and_opens_at_its_rows(client):
    data = {"name": "Long delay", "slug": "", "description": "", "content_type": ""}
    answer = client.post(url("flow_add"), data)
    flow = Flow.objects.get()
    assert answer["Location"] == url("flow_actions", flow.pk)
    assert flow.slug == "long-delay"
    assert FlowAction.objects.filter(flow=flow, depth=1).count() == 1
    assert client.post(url("flow_add"), {**data, "slug": "long-delay"}).status_code == 200


def test_settings_that_act_at_once_leave_the_draft_alone(client):
    flow = make_flow(Log("x"), name="Limited")
    before = revision_of(flow)
    data = settings_of(flow, max_concurrent=3, when_full="queue", retention="30")
    assert client.post(url("flow_change", flow.pk), data).status_code == 302
    flow.refresh_from_db()
    assert (flow.max_concurrent, flow.when_full) == (3, "queue")
    assert flow.retention == timedelta(days=30)
    assert revision_of(flow) == before
    assert 'value="30"' in text(client, url("flow_change", flow.pk))


def test_settings_of_the_draft_count_a_revision_and_await_publishing(client):
    flow = make_flow(Log("x"), name="Parcels")
    before = revision_of(flow)
    parcels = ContentType.objects.get_for_model(Parcel)
    data = settings_of(
        flow,
        content_type=parcels.pk,
        condition="object.weight < 100",
        state_schema='{"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}',
    )
    assert client.post(url("flow_change", flow.pk), data).status_code == 302
    flow.refresh_from_db()
    assert (flow.content_type, flow.condition) == (parcels, "object.weight < 100")
    assert flow.draft_revision == before + 1
    assert publishing.has_unpublished_changes(flow)


def test_saving_settings_as_they_are_changes_nothing(client):
    schema = {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}
    flow = make_flow(Log("x"), state_schema=schema, condition="n < 5")
    before = Flow.objects.values().get()
    data = settings_of(flow, condition="n < 5", state_schema=str(schema).replace("'", '"'))
    assert client.post(url("flow_change", flow.pk), data).status_code == 302
    assert Flow.objects.values().get() == before


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("condition", "3 < a < 5", "chain"),
        ("condition", "a ==", "ends too early"),
        ("state_schema", "{", "Line 1"),
        ("state_schema", '{"type": "integer"}', "object"),
        ("state_schema", '{"type": "object", "properties": {"n": {"type": "number!"}}}', "number!"),
        ("slug", "not a slug", "slug"),
        ("retention", "-1", "negative"),
        ("retention", "1e30", "too long"),
        ("max_concurrent", "-1", "0"),
    ],
)
def test_a_mistake_in_the_settings_is_told_at_its_field(client, field, value, message):
    flow = make_flow(Log("x"))
    before = Flow.objects.values().get()
    answer = client.post(url("flow_change", flow.pk), settings_of(flow, **{field: value}))
    assert answer.status_code == 200
    assert message in str(answer.context["form"].errors[field])
    assert Flow.objects.values().get() == before


def test_stale_settings_of_the_draft_are_refused_once_and_keep_what_was_entered(client):
    flow = make_flow(Log("x"))
    data = settings_of(flow, condition="n < 5", name="New name")
    drafting.add_action(flow, "group")
    answer = client.post(url("flow_change", flow.pk), data)
    page = answer.content.decode()
    assert "changed by somebody else" in page
    assert "New name" in page
    assert f'name="revision" value="{revision_of(flow)}"' in page
    again = {**data, "revision": revision_of(flow)}
    assert client.post(url("flow_change", flow.pk), again).status_code == 302
    flow.refresh_from_db()
    assert (flow.name, flow.condition) == ("New name", "n < 5")


def test_saving_settings_does_not_undo_what_others_did_meanwhile(client, monkeypatch):
    flow = make_flow(Log("x"))
    is_valid = SettingsForm.is_valid

    def publish_meanwhile(self: Any) -> bool:
        Flow.objects.filter(pk=flow.pk).update(live_version=None, paused_at=flow.active_at)
        return is_valid(self)

    monkeypatch.setattr(SettingsForm, "is_valid", publish_meanwhile)
    data = settings_of(flow, name="Other")
    assert client.post(url("flow_change", flow.pk), data).status_code == 302
    flow.refresh_from_db()
    assert flow.name == "Other"
    assert flow.live_version is None
    assert flow.paused_at is not None


def test_the_object_types_on_offer_are_those_of_the_setting(client, settings):
    flow = make_flow(Log("x"))
    page = text(client, url("flow_change", flow.pk))
    assert "Parcel (Ground handling)" in page
    assert "Permission" not in page
    settings.FLOWCONTROL_CONTENT_TYPES = ["testapp.Station"]
    page = text(client, url("flow_change", flow.pk))
    assert "Station (Ground handling)" in page
    assert "Parcel (Ground handling)" not in page


def test_nobody_can_let_a_flow_act_as_somebody_with_more_rights():
    boss = person(name="boss", is_superuser=True)
    editor = person(*CHANGE, name="editor")
    client = Client()
    client.force_login(editor)
    flow = make_flow(Log("x"))
    answer = client.post(url("flow_change", flow.pk), settings_of(flow, identity=boss.pk))
    assert "You can choose yourself" in answer.content.decode()
    answer = client.post(url("flow_change", flow.pk), settings_of(flow, identity=editor.pk))
    assert answer.status_code == 302
    flow.refresh_from_db()
    assert flow.identity == editor


# --- on, off, paused ----------------------------------------------------------------------------


def test_a_flow_is_switched_and_paused_by_its_buttons(client):
    flow = make_flow(Log("x"), active=False)
    for page, field in (("flow_switch", "active_at"), ("flow_pause", "paused_at")):
        client.post(url(page, flow.pk), {"on": "1"})
        flow.refresh_from_db()
        assert getattr(flow, field) is not None
        client.post(url(page, flow.pk), {"on": "0"})
        flow.refresh_from_db()
        assert getattr(flow, field) is None
    assert LogEntry.objects.count() == 4


def test_switching_on_what_was_never_published_says_so(client):
    flow = drafting.create_flow("New")
    answer = client.post(url("flow_switch", flow.pk), {"on": "1"})
    assert "once it has been published" in messages_of(answer)[0]


# --- publishing and versions --------------------------------------------------------------------


def test_publishing_makes_a_version_with_a_note(client):
    flow = drafting.create_flow("New")
    drafting.add_action(flow, "log", {"message": "x"})
    assert "becomes version 1" in text(client, url("flow_publish", flow.pk))
    data = {"revision": revision_of(flow), "note": "First."}
    answer = client.post(url("flow_publish", flow.pk), data)
    assert answer.status_code == 302
    version = Flow.objects.get().live_version
    assert version is not None
    assert (version.number, version.note, str(version.created_by)) == (1, "First.", "sam")
    assert "There is nothing to publish" in text(client, url("flow_publish", flow.pk))


def test_a_draft_with_errors_is_refused_and_each_error_leads_to_its_row(client):
    flow = drafting.create_flow("New")
    drafting.add_action(flow, "else")
    page = client.post(url("flow_publish", flow.pk), {"revision": revision_of(flow)})
    text = page.content.decode()
    assert "cannot be published like this" in text
    assert f"{url('flow_actions', flow.pk)}#row-{uid_of(flow, 'else')}" in text
    assert Flow.objects.get().live_version is None


def test_what_was_not_looked_at_is_not_published(client):
    flow = make_flow(Log("x"))
    stale = revision_of(flow)
    drafting.add_action(flow, "log", {"message": "unseen"})
    page = client.post(url("flow_publish", flow.pk), {"revision": stale, "note": "mine"})
    assert "Nothing was published" in page.content.decode()
    assert "mine" in page.content.decode()
    assert flow.versions.count() == 1


@pytest.fixture
def versions() -> Flow:
    """A flow with two versions."""
    flow = make_flow(Log("first", label="first"))
    drafting.replace_draft(flow, make_document(If("true", [Log("second", label="second")])))
    publishing.publish(flow, note="The second.")
    return flow


def test_versions_are_listed_and_shown(client, versions):
    page = text(client, url("flow_versions", versions.pk))
    assert "The second." in page
    page = text(client, url("flow_version", versions.pk, 1))
    assert "first" in page
    assert "second" not in page.split('id="content-main"')[1]


def test_rolling_back_publishes_the_old_rows_as_a_new_version(client, versions):
    text(client, url("flow_roll_back", versions.pk, 1))
    answer = client.post(url("flow_roll_back", versions.pk, 1), {"note": "Too soon."})
    assert answer.status_code == 302
    versions.refresh_from_db()
    newest = versions.versions.latest("number")
    assert versions.live_version == newest
    assert (newest.number, newest.note) == (3, "Too soon.")
    assert draft_rows(versions) == ["if", ".second"]


def test_rolling_back_to_what_is_broken_by_now_is_refused_with_the_reason(client):
    other = make_flow(Log("x"), name="Sub", slug="sub")
    flow = make_flow(row("start_flow", flow="sub"), name="Main")
    drafting.replace_draft(flow, make_document(Log("x")))
    publishing.publish(flow)
    other.delete()
    page = client.post(url("flow_roll_back", flow.pk, 1), {"note": ""})
    assert "cannot go live again" in page.content.decode()
    flow.refresh_from_db()
    assert flow.live_version == flow.versions.get(number=2)


def test_a_version_is_loaded_into_the_draft(client, versions):
    drafting.add_action(versions, "group")
    page = text(client, url("flow_load_version", versions.pk, 1))
    assert "they are lost" in page
    stale = {"revision": revision_of(versions) - 1}
    page = client.post(url("flow_load_version", versions.pk, 1), stale)
    assert "Nothing was saved" in page.content.decode()
    data = {"revision": revision_of(versions)}
    assert client.post(url("flow_load_version", versions.pk, 1), data).status_code == 302
    assert draft_rows(versions) == ["first"]


# --- starting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "make"),
    [
        ("testapp.parcel", lambda: Parcel.objects.create(label="A box")),
        ("testapp.ticket", lambda: Ticket.objects.create(passenger="Ada")),
        ("testapp.station", lambda: Station.objects.create(code="a/b c", name="Gate")),
    ],
)
def test_a_run_is_started_for_an_object_of_any_kind_of_key(client, content_type, make):
    flow = make_flow(Log("x"), content_type=content_type)
    obj = make()
    assert "Key of the" in text(client, url("flow_start", flow.pk))
    answer = client.post(url("flow_start", flow.pk), {"key": str(obj.pk), "state": '{"n": 1}'})
    run = FlowRun.objects.get()
    assert answer["Location"] == url("flowrun_change", run.pk)
    assert (run.content_object, run.state) == (obj, {"n": 1})
    assert str(run.started_by) == "sam"


@pytest.mark.parametrize("key", ["", "999", "no number", "9" * 40, "None"])
def test_an_object_that_is_not_there_is_told_at_its_field(client, key):
    flow = make_flow(Log("x"), content_type="testapp.parcel")
    answer = client.post(url("flow_start", flow.pk), {"key": key})
    assert answer.status_code == 200
    assert "key" in answer.context["form"].errors
    assert not FlowRun.objects.exists()


STATE = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "default": 3, "description": "How often."},
        "letter": {"type": "string", "enum": ["short", "long"]},
        "token": {"type": "string", "format": "secret", "default": "s3cret"},
    },
    "required": ["letter"],
}


def test_each_value_of_the_state_schema_has_a_field(client):
    flow = make_flow(Log("x"), state_schema=STATE)
    page = text(client_of(*VIEW, "start_flow", name="starter"), url("flow_start", flow.pk))
    assert 'name="state-n" value="3"' in page
    assert "How often." in page
    assert "s3cret" not in page
    assert "state-n__mode" not in page  # nothing of a start state is computed later
    starter = client_of(*VIEW, "start_flow", name="other")
    data = {"state-n": "4", "state-letter": "long", "state-token": ""}
    assert starter.post(url("flow_start", flow.pk), data).status_code == 302
    assert FlowRun.objects.get().state == {"n": 4, "letter": "long", "token": "s3cret"}


def test_mistakes_in_the_start_state_are_told_at_their_fields(client):
    flow = make_flow(Log("x"), state_schema=STATE)
    answer = client.post(url("flow_start", flow.pk), {"state-n": "many", "not_before": "never"})
    form = answer.context["form"]
    assert "many" in answer.content.decode()
    assert set(form.values.errors) == {"n", "letter"}
    assert set(form.errors) == {"not_before"}
    assert not FlowRun.objects.exists()


def test_a_computed_value_slipped_into_a_start_stays_what_it_is(client):
    flow = make_flow(Log("x"), state_schema=STATE)
    data = {"state-n__mode": "computed", "state-n__expr": "1 + 1", "state-n": "5"}
    client.post(url("flow_start", flow.pk), {**data, "state-letter": "short"})
    assert FlowRun.objects.get().state["n"] == 5


def test_a_start_may_come_with_its_object(client):
    flow = make_flow(Log("x"), content_type="testapp.parcel")
    box = parcel()
    page = text(client, f"{url('flow_start', flow.pk)}?key={box.pk}")
    assert f'value="{box.pk}"' in page
    assert "A box" in page
    # By its key only for those who may not see it.
    starter = client_of(*VIEW, "start_flow", name="starter")
    assert "A box" not in text(starter, f"{url('flow_start', flow.pk)}?key={box.pk}")
    assert client.get(f"{url('flow_start', flow.pk)}?key=nothing").status_code == 200


def test_who_is_in_none_of_the_groups_cannot_start_by_hand():
    flow = make_flow(Log("x"))
    flow.starters.add(Group.objects.create(name="Desk"))
    outside = client_of(*VIEW, "start_flow", name="outside")
    assert "Start a run…" not in text(outside, url("flow_actions", flow.pk))
    assert outside.get(url("flow_start", flow.pk)).status_code == 403
    assert outside.post(url("flow_start", flow.pk), {}).status_code == 403
    assert not FlowRun.objects.exists()
    inside = person(*VIEW, "start_flow", name="inside")
    inside.groups.set(Group.objects.all())
    client = Client()
    client.force_login(inside)
    assert client.post(url("flow_start", flow.pk), {}).status_code == 302


def test_a_start_that_is_refused_says_why(client):
    flow = make_flow(Delay("PT1H"), max_concurrent=1)
    create_flowrun(flow)
    answer = client.post(url("flow_start", flow.pk), {})
    assert "more are not allowed" in answer.content.decode()
    refused = FlowRun.objects.get(outcome="refused")
    assert url("flowrun_change", refused.pk) in answer.content.decode()


def test_a_start_can_be_put_off(client):
    flow = make_flow(Log("x"))
    client.post(url("flow_start", flow.pk), {"not_before": "2113-02-08T12:00"})
    assert FlowRun.objects.get().due == datetime(2113, 2, 8, 17, tzinfo=UTC)


def test_nothing_can_be_started_before_it_is_published(client):
    flow = drafting.create_flow("New")
    answer = client.get(url("flow_start", flow.pk))
    assert answer.status_code == 302
    assert "publish the flow first" in messages_of(answer)[0]


# --- duplicating and deleting -------------------------------------------------------------------


def test_a_copy_has_all_rows_and_is_off(client, versions):
    page = text(client, url("flow_duplicate", versions.pk))
    assert "Copy of Test flow" in page
    answer = client.post(url("flow_duplicate", versions.pk), {"name": "Second", "slug": ""})
    copy = Flow.objects.get(name="Second")
    assert answer["Location"] == url("flow_actions", copy.pk)
    assert draft_rows(copy) == draft_rows(versions)
    assert (copy.slug, copy.active_at, copy.live_version) == ("second", None, None)
    taken = client.post(url("flow_duplicate", versions.pk), {"name": "Third", "slug": "second"})
    assert "short name already" in taken.content.decode()


def test_a_flow_without_runs_is_deleted_when_it_is_confirmed(client, versions):
    assert "2 versions" in text(client, url("flow_delete", versions.pk))
    answer = client.post(url("flow_delete", versions.pk))
    assert answer["Location"] == url("flow_changelist")
    assert not Flow.objects.exists()
    assert LogEntry.objects.latest("pk").is_deletion()


def test_a_history_is_deleted_only_by_those_who_may_and_say_so(versions):
    run = start_flowrun(versions)
    page = url("flow_delete", versions.pk)
    may_not = client_of(*VIEW, "delete_flow", name="may not")
    assert "you may not delete runs" in text(may_not, page)
    assert may_not.post(page, {"purge": "on"}).status_code == 403
    may = client_of(*VIEW, "delete_flow", "purge_flowrun", name="may")
    assert may.post(page).status_code == 200
    assert FlowRun.objects.filter(pk=run.pk).exists()
    assert may.post(page, {"purge": "on"}).status_code == 302
    assert not Flow.objects.exists()
    assert not FlowRun.objects.exists()
