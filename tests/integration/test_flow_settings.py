"""The settings of a flow: a page and a panel, its triggers, its state schema as a table."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flowcontrol.models import Flow, Trigger
from flowcontrol.testing import Log, make_flow
from tests.admin_pages import VIEW, client_of, person, revision_of, url
from tests.integration.test_admin_flows import settings_of

pytestmark = pytest.mark.django_db

TRIGGERS = ("add_trigger", "change_trigger", "delete_trigger")
SCHEMA = {
    "type": "object",
    "properties": {
        "bay": {"type": "string", "enum": ["A", "B"], "description": "Where it stands."},
        "rounds": {"type": "integer", "default": 3, "minimum": 1},
    },
    "required": ["bay"],
    "additionalProperties": False,
}


@pytest.fixture
def client() -> Client:
    return client_of(is_superuser=True)


@pytest.fixture
def flow() -> Flow:
    return make_flow(Log("x"), name="Load", state_schema=SCHEMA)


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def save(client: Client, flow: Flow, query: str = "", **changes: Any) -> Any:
    data = settings_of(flow, state_schema=json.dumps(flow.state_schema or ""), **changes)
    if not flow.state_schema:
        data["state_schema"] = changes.get("state_schema", "")
    return client.post(url("flow_change", flow.pk) + query, data)


def cells(*lines: dict[str, str], more: str = "") -> dict[str, Any]:
    """What the table of the state schema posts."""
    data: dict[str, Any] = {
        "state_schema-mode": "table",
        "state_schema-lines": len(lines),
        "state_schema-more": more,
    }
    for number, line in enumerate(lines):
        data |= {f"state_schema-{number}-{cell}": value for cell, value in line.items()}
    return data


# --- the page and the panel ---------------------------------------------------------------------


def test_the_page_shows_all_settings_and_their_triggers(client, flow):
    Trigger.objects.create(flow=flow, name="demo.flight_cancelled", condition="object.delay > 3")
    page = text(client, url("flow_change", flow.pk))
    for told in ("Published with the actions", "Limits", "A flight has been cancelled", "Off"):
        assert told in page
    assert "object.delay &gt; 3" in page
    assert "<h1" in page


def test_the_panel_is_the_middle_of_the_page_and_stays_one(client, flow):
    panel = text(client, f"{url('flow_change', flow.pk)}?panel=1")
    assert panel.lstrip().startswith('<div class="fc-settings"')
    assert "<h1" not in panel
    assert f'action="{url("flow_change", flow.pk)}?panel=1"' in panel
    answer = save(client, flow, "?panel=1", max_concurrent=4)
    assert answer["Location"] == f"{url('flow_change', flow.pk)}?panel=1"
    assert "The settings were saved." in text(client, answer["Location"])


def test_a_mistake_is_shown_in_the_panel_too(client, flow):
    answer = save(client, flow, "?panel=1", condition="a ==")
    page = answer.content.decode()
    assert "ends too early" in page
    assert "<h1" not in page


def test_who_may_only_look_gets_no_button_and_no_field_to_fill_in(flow):
    Trigger.objects.create(flow=flow, name="demo.flight_cancelled")
    page = text(client_of(*VIEW), url("flow_change", flow.pk))
    middle = page.split("data-fc-settings>")[1].split('id="footer"')[0]
    assert "<button" not in middle
    controls = [
        part.split(">")[0]
        for name in ("<input", "<select", "<textarea")
        for part in middle.split(name)[1:]
    ]
    assert [c for c in controls if "disabled" not in c and 'type="hidden"' not in c] == []


def test_who_may_only_look_is_told_so(client, flow):
    told = "You may look at these settings, but not change them."
    assert told in text(client_of(*VIEW, name="kim"), url("flow_change", flow.pk))
    assert told not in text(client, url("flow_change", flow.pk))


def test_triggers_are_seen_only_by_those_who_may(flow):
    trigger = Trigger.objects.create(flow=flow, name="demo.flight_cancelled")
    client = client_of("view_flow", "change_flow")
    assert "A flight has been cancelled" not in text(client, url("flow_change", flow.pk))
    assert client.get(url("flow_trigger", flow.pk, trigger.pk)).status_code == 403


def test_a_save_tells_the_log_what_was_changed(client, flow):
    save(client, flow, max_concurrent=4)
    assert "Runs at the same time" in str(LogEntry.objects.latest("pk"))
    entries = LogEntry.objects.count()
    save(client, Flow.objects.get(), max_concurrent=4)
    assert LogEntry.objects.count() == entries


def test_the_page_needs_as_many_queries_for_many_triggers_as_for_one(client, flow):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            text(client, url("flow_change", flow.pk))
        return len(captured)

    Trigger.objects.create(flow=flow, name="demo.flight_cancelled")
    few = queries()
    for number in range(10):
        Trigger.objects.create(flow=flow, name=f"gone.trigger_{number}")
    assert queries() == few
    assert few <= 20


# --- who may start it ---------------------------------------------------------------------------


def test_the_groups_that_may_start_it_are_chosen(client, flow):
    desk, night = (Group.objects.create(name=name) for name in ("Desk", "Night"))
    before = revision_of(flow)
    save(client, flow, starters=[desk.pk, night.pk])
    assert set(flow.starters.all()) == {desk, night}
    assert revision_of(flow) == before  # it acts at once
    save(client, flow, starters=[])
    assert not flow.starters.exists()


def test_a_group_that_is_not_there_is_refused(client, flow):
    answer = save(client, flow, starters=["999"])
    assert "starters" in answer.context["form"].errors


def test_the_groups_survive_a_refused_save(client, flow):
    groups = [Group.objects.create(name=name) for name in ("Desk", "Night")]
    keys = [group.pk for group in groups]
    answer = save(client, flow, starters=keys, condition="n < 5", revision=0)
    page = answer.content.decode()
    assert "changed by somebody else" in page
    assert len(re.findall(r'name="starters"[^>]* checked', page)) == 2


def test_many_groups_stand_in_a_list(client, flow):
    Group.objects.bulk_create([Group(name=f"Group {n:02}") for n in range(13)])
    assert '<select name="starters"' in text(client, url("flow_change", flow.pk))


# --- the state schema as a table ----------------------------------------------------------------


def test_the_cells_of_the_table_make_the_schema(client, flow):
    data = cells(
        {"kind": "text", "name": "bay", "was": "bay", "required": "on", "choices": "A\r\nB\r\nC"},
        {"kind": "boolean", "name": "urgent", "flag": "true", "default": "ignored"},
        {"kind": "text", "name": ""},
        more='{"additionalProperties": false}',
    )
    assert save(client, flow, **data).status_code == 302
    flow.refresh_from_db()
    assert flow.state_schema == {
        "type": "object",
        "properties": {
            "bay": {"type": "string", "enum": ["A", "B", "C"]},
            "urgent": {"type": "boolean", "default": True},
        },
        "required": ["bay"],
        "additionalProperties": False,
    }


def test_a_mistake_in_a_cell_is_told_there_and_keeps_everything_entered(client, flow):
    data = cells(
        {"kind": "integer", "name": "rounds", "default": "many"},
        {"kind": "text", "name": "first name", "description": "Kept."},
    )
    answer = save(client, flow, **data)
    page = answer.content.decode()
    assert "There are 2 mistakes in it." in page
    assert "“many” is not a number." in page
    assert "Use letters, digits and underscores" in page
    assert 'value="first name"' in page
    assert 'value="Kept."' in page
    assert 'name="state_schema-mode" value="table"' in page
    flow.refresh_from_db()
    assert flow.state_schema == SCHEMA


def test_a_default_that_does_not_fit_its_own_type_is_refused(client, flow):
    answer = save(client, flow, **cells({"kind": "date", "name": "day", "default": "tomorrow"}))
    assert "does not fit its own schema" in answer.content.decode()


@pytest.mark.parametrize("count", ["-1", "x", "9" * 30, ""])
def test_a_count_of_lines_that_is_nonsense_does_no_harm(client, flow, count):
    data = {**cells({"kind": "text", "name": "n"}), "state_schema-lines": count}
    assert save(client, flow, **data).status_code in (200, 302)


def test_the_editor_is_turned_round_by_the_server(client, flow):
    table = {**cells({"kind": "number", "name": "weight", "default": "1.5"}), "to": "json"}
    page = client.post(url("flow_convert_schema", flow.pk), table).content.decode()
    assert 'name="state_schema-mode" value="json"' in page
    assert "&quot;weight&quot;" in page
    text_ = {"state_schema": json.dumps(SCHEMA), "to": "table"}
    page = client.post(url("flow_convert_schema", flow.pk), text_).content.decode()
    assert 'name="state_schema-mode" value="table"' in page
    assert 'name="state_schema-1-name" value="rounds"' in page
    flow.refresh_from_db()
    assert flow.state_schema == SCHEMA


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"state_schema": "{", "to": "table"}, "Line 1"),
        ({"state_schema": '{"type": "integer"}', "to": "table"}, "object"),
        ({**cells({"kind": "integer", "name": "n", "default": "x"}), "to": "json"}, "not a number"),
        (
            {"state_schema": '{"type": "object", "properties": {" x": {}}}', "to": "table"},
            "cannot be shown as a table",
        ),
    ],
)
def test_what_cannot_be_turned_round_stays_and_says_why(client, flow, data, told):
    page = client.post(url("flow_convert_schema", flow.pk), data).content.decode()
    assert told in page
    stays = "table" if data["to"] == "json" else "json"
    assert f'name="state_schema-mode" value="{stays}"' in page


def test_there_are_two_ways_round_and_no_third(client, flow):
    assert client.post(url("flow_convert_schema", flow.pk), {"to": "xml"}).status_code == 400


# --- triggers -----------------------------------------------------------------------------------


def new_trigger(**changes: str) -> dict[str, str]:
    data = {"name": "demo.flight_cancelled", "condition": "", "mode": "start", "action_uid": ""}
    return {**data, "active_at": "2013-02-08T00:00", **changes}


def test_a_trigger_is_added_changed_switched_and_deleted_among_the_settings(client, flow):
    back = url("flow_change", flow.pk)
    page = text(client, url("flow_add_trigger", flow.pk))
    assert f'name="active_at" value="{timezone.localtime():%Y-%m-%dT}' in page  # from now on
    answer = client.post(url("flow_add_trigger", flow.pk), new_trigger())
    assert answer["Location"] == back
    trigger = flow.triggers.get()
    page = url("flow_trigger", flow.pk, trigger.pk)
    assert client.post(page, new_trigger(condition="object.delay > 3"))["Location"] == back
    trigger.refresh_from_db()
    assert trigger.condition == "object.delay > 3"
    for on in ("0", "1"):
        client.post(url("flow_switch_trigger", flow.pk, trigger.pk), {"on": on})
        trigger.refresh_from_db()
        assert (trigger.active_at is not None) == (on == "1")
    client.post(url("flow_remove_trigger", flow.pk, trigger.pk))
    assert not flow.triggers.exists()
    assert LogEntry.objects.count() == 5


def test_pages_of_a_trigger_keep_to_the_panel(client, flow):
    trigger = Trigger.objects.create(flow=flow, name="demo.flight_cancelled")
    panel = text(client, f"{url('flow_trigger', flow.pk, trigger.pk)}?panel=1")
    assert "<h1" not in panel
    answer = client.post(f"{url('flow_switch_trigger', flow.pk, trigger.pk)}?panel=1", {"on": "1"})
    assert answer["Location"].endswith("?panel=1")


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "no.such_trigger"), ("condition", "a =="), ("mode", "explode"), ("action_uid", "x")],
)
def test_a_mistake_in_a_trigger_is_told_at_its_field(client, flow, field, value):
    answer = client.post(url("flow_add_trigger", flow.pk), new_trigger(**{field: value}))
    assert answer.status_code == 200
    assert field in answer.context["form"].errors
    assert not flow.triggers.exists()


def test_a_trigger_about_something_else_is_refused(client):
    flow = make_flow(Log("x"), content_type="testapp.parcel")
    answer = client.post(url("flow_add_trigger", flow.pk), new_trigger())
    assert "but the flow is about" in answer.content.decode()


def test_triggers_of_another_flow_cannot_be_reached_through_ones_own(client, flow):
    other = make_flow(Log("x"), name="Other")
    theirs = Trigger.objects.create(flow=other, name="demo.flight_cancelled")
    for page in ("flow_trigger", "flow_switch_trigger", "flow_remove_trigger"):
        answer = client.post(url(page, flow.pk, theirs.pk), {**new_trigger(), "on": "1"})
        assert answer.status_code == 404
    data = new_trigger(flow=str(other.pk), id=str(theirs.pk))  # hand-made fields
    client.post(url("flow_add_trigger", flow.pk), data)
    assert other.triggers.get() == theirs
    theirs.refresh_from_db()
    assert theirs.active_at is None


def test_triggers_need_rights_of_their_own(flow):
    trigger = Trigger.objects.create(flow=flow, name="demo.flight_cancelled")
    editor = client_of(*VIEW, "change_flow", name="editor")
    page = text(editor, url("flow_change", flow.pk))
    assert "A flight has been cancelled" in page
    assert "Add a trigger" not in page
    assert editor.get(url("flow_add_trigger", flow.pk)).status_code == 403
    assert "disabled" in text(editor, url("flow_trigger", flow.pk, trigger.pk))
    dispatcher = client_of(*VIEW, *TRIGGERS, name="dispatcher")
    page = text(dispatcher, url("flow_change", flow.pk))
    assert "Add a trigger" in page
    assert "Save the settings" not in page


def test_a_trigger_that_is_gone_from_the_code_is_marked_and_can_be_switched_off(client, flow):
    trigger = Trigger.objects.create(flow=flow, name="gone.trigger", active_at=flow.active_at)
    page = text(client, url("flow_change", flow.pk))
    assert "(not registered)" in page
    client.post(url("flow_switch_trigger", flow.pk, trigger.pk), {"on": "0"})
    trigger.refresh_from_db()
    assert trigger.active_at is None


def test_settings_are_refused_from_those_who_lost_the_right_meanwhile(flow):
    somebody = person(*VIEW, "change_flow", name="somebody")
    client = Client()
    client.force_login(somebody)
    text(client, url("flow_change", flow.pk))
    somebody.user_permissions.clear()
    assert save(client, flow, name="Taken").status_code == 403
    assert Flow.objects.get().name == "Load"
