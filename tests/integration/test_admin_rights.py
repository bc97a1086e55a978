"""Who may see and do what in the admin: every address, every method, every kind of person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern

from flowcontrol import drafting, publishing
from flowcontrol.documents import make_document, row
from flowcontrol.engine import start_flowrun
from flowcontrol.flowtests import save_test
from flowcontrol.models import (
    Firing,
    Flow,
    FlowAction,
    FlowRun,
    FlowTest,
    FlowVersion,
    HumanTask,
    Trigger,
)
from flowcontrol.testing import make_flow
from tests.admin_pages import VIEW, client_of, url

pytestmark = pytest.mark.django_db

# What each kind of person has been given, beside the right to see everything.
PEOPLE: dict[str, tuple[str, ...] | None] = {
    "nobody": None,
    "view": VIEW,
    "change": (*VIEW, "change_flow"),
    "publish": (*VIEW, "publish_flow"),
    "start": (*VIEW, "start_flow"),
    "add": (*VIEW, "add_flow"),
    "delete": (*VIEW, "delete_flow", "purge_flowrun"),
    "operate": (*VIEW, "operate_flowrun"),
    "edit state": (*VIEW, "edit_state_flowrun"),
    "change triggers": (*VIEW, "add_trigger", "change_trigger", "delete_trigger"),
    # A right to act is worth nothing without the right to see.
    "blind": (
        *("publish_flow", "start_flow", "operate_flowrun", "edit_state_flowrun"),
        *("delete_flow", "purge_flowrun", "reveal_secrets"),
    ),
}
EVERYBODY = {"view", "change", "publish", "start", "add", "delete", "operate", "edit state"} | {
    *("change triggers", "answer")
}
NOT_A_METHOD: set[str] = set()
TRIGGERS = {"change triggers"}


@dataclass(frozen=True)
class Rule:
    """Who may GET and who may POST; an empty set: there is no such method."""

    get: set[str]
    post: set[str]
    data: tuple[tuple[str, Any], ...] = ()


FLOW_RULES = {
    "flow_changelist": Rule(EVERYBODY, EVERYBODY),
    "flow_add": Rule({"add"}, {"add"}),
    "flow_history": Rule(EVERYBODY, EVERYBODY),
    "flow_change": Rule(EVERYBODY, {"change"}),
    "flow_delete": Rule({"delete"}, {"delete"}),
    "flow_actions": Rule(EVERYBODY, NOT_A_METHOD),
    "flow_add_row": Rule({"change"}, {"change"}, (("action", "log"),)),
    "flow_row": Rule(EVERYBODY, {"change"}),
    **{
        f"flow_{verb}": Rule(NOT_A_METHOD, {"change"}, data)
        for verb, data in {
            "move_rows": (("step", "down"),),
            "duplicate_rows": (),
            "switch_rows": (),
            "delete_rows": (),
            "wrap_rows": (("action", "if"),),
            "unwrap_row": (),
            "cut_rows": (),
            "paste_rows": (("text", "{}"),),
            "undo": (),
            "redo": (),
        }.items()
    },
    "flow_copy_rows": Rule(NOT_A_METHOD, EVERYBODY),
    "flow_extract_rows": Rule(set(), set()),  # it takes two rights: tests of extracting
    "flow_import": Rule({"add"}, {"add"}),
    "flow_import_into": Rule({"change"}, {"change"}),
    "flow_export": Rule(EVERYBODY, NOT_A_METHOD),
    "flow_drawing": Rule(EVERYBODY, NOT_A_METHOD),
    "flow_compare": Rule(EVERYBODY, NOT_A_METHOD),
    "flow_move_runs": Rule({"operate"}, {"operate"}),
    "flow_presence": Rule(NOT_A_METHOD, EVERYBODY),
    "flow_expression_names": Rule({"change"}, NOT_A_METHOD),
    "flow_check_expression": Rule(NOT_A_METHOD, {"change"}, (("text", "1"), ("kind", "value"))),
    "flow_expression_sample": Rule({"change"}, {"change"}),
    "flow_publish": Rule({"publish"}, {"publish"}),
    "flow_versions": Rule(EVERYBODY, NOT_A_METHOD),
    "flow_version": Rule(EVERYBODY, NOT_A_METHOD),
    "flow_roll_back": Rule({"publish"}, {"publish"}),
    "flow_load_version": Rule({"change"}, {"change"}),
    "flow_start": Rule({"start"}, {"start"}),
    "flow_try": Rule({"change", "publish"}, {"change", "publish"}, (("try", "1"),)),
    "flow_tests": Rule(EVERYBODY, {"change", "publish"}),
    "flow_delete_test": Rule(NOT_A_METHOD, {"change"}),
    "flow_switch": Rule(NOT_A_METHOD, {"change"}, (("on", "1"),)),
    "flow_pause": Rule(NOT_A_METHOD, {"change"}, (("on", "1"),)),
    "flow_duplicate": Rule({"add"}, {"add"}),
    "flow_convert_schema": Rule(NOT_A_METHOD, {"change"}, (("to", "json"),)),
    "flow_add_trigger": Rule(TRIGGERS, TRIGGERS),
    "flow_trigger": Rule(EVERYBODY, TRIGGERS),
    "flow_switch_trigger": Rule(NOT_A_METHOD, TRIGGERS, (("on", "1"),)),
    "flow_remove_trigger": Rule(NOT_A_METHOD, TRIGGERS),
}
RUN_RULES = {
    "flowrun_changelist": Rule(EVERYBODY, EVERYBODY),
    "flowrun_add": Rule(set(), set()),
    "flowrun_history": Rule(EVERYBODY, EVERYBODY),
    "flowrun_delete": Rule(set(), set()),
    "flowrun_change": Rule(EVERYBODY, NOT_A_METHOD),
    "flowrun_drawing": Rule(EVERYBODY, NOT_A_METHOD),
    "flowrun_operate": Rule({"operate"}, {"operate"}),
}
OTHER_RULES = {
    "trigger_changelist": Rule(EVERYBODY, EVERYBODY),
    "trigger_add": Rule(TRIGGERS, TRIGGERS),
    "trigger_history": Rule(EVERYBODY, EVERYBODY),
    "trigger_delete": Rule(TRIGGERS, TRIGGERS),
    "trigger_change": Rule(EVERYBODY, TRIGGERS),
    "firing_changelist": Rule(EVERYBODY, EVERYBODY),
    "firing_add": Rule(set(), set()),
    "firing_history": Rule(EVERYBODY, EVERYBODY),
    "firing_delete": Rule(set(), set()),
    "firing_change": Rule(EVERYBODY, set()),
    "humantask_changelist": Rule(EVERYBODY, EVERYBODY),
    "humantask_add": Rule(set(), set()),
    "humantask_history": Rule(EVERYBODY, EVERYBODY),
    "humantask_delete": Rule(set(), set()),
    "humantask_change": Rule(EVERYBODY, {"answer"}),
}
RULES = FLOW_RULES | RUN_RULES | OTHER_RULES


@dataclass(frozen=True)
class Site:
    """One of everything that a page can be about."""

    flow: Flow
    run: FlowRun
    trigger: Trigger
    firing: Firing
    task: HumanTask
    uid: str
    test: FlowTest

    def path(self, name: str) -> str:
        if name.endswith(("_changelist", "_add", "flow_import")):
            return url(name)
        model = name.split("_")[0]
        obj = {"flow": self.flow, "flowrun": self.run, "trigger": self.trigger}.get(model)
        obj = obj or {"firing": self.firing, "humantask": self.task}[model]
        page = name.removeprefix(f"{model}_")
        more: list[Any] = []
        if page == "row":
            more = [self.uid]
        elif page in ("version", "roll_back", "load_version", "move_runs"):
            more = [1]
        elif page in ("trigger", "switch_trigger", "remove_trigger"):
            more = [self.trigger.pk]
        elif page == "operate":
            more = ["cancel"]
        elif page == "delete_test":
            more = [self.test.pk]
        asked = f"?row={self.uid}" if page == "extract_rows" else ""
        return url(name, obj.pk, *more) + asked


@pytest.fixture
def site() -> Site:
    flow = make_flow(row("delay", duration="PT1H"), row("log", message="x"), name="Long delay")
    drafting.set_enabled(flow, FlowAction.objects.get(flow=flow, action="log").uid, False)
    publishing.publish(flow)
    run = start_flowrun(flow)
    trigger = Trigger.objects.create(name="demo.flight_cancelled", flow=flow)
    firing = Firing.objects.create(name="demo.flight_cancelled", at=run.created_at)
    task = HumanTask.objects.create(run=run, title="Seats?", created_at=run.created_at)
    uid = FlowAction.objects.get(flow=flow, action="delay").uid
    test = save_test(flow, "It ends", expectations={"outcome": "complete"})
    return Site(flow, run, trigger, firing, task, uid, test)


def ask(client: Client, site: Site, name: str, method: str) -> int:
    path, rule = site.path(name), RULES[name]
    if method == "GET":
        return client.get(path).status_code
    revision = Flow.objects.values_list("draft_revision", flat=True).filter(pk=site.flow.pk).first()
    data = {"revision": revision, "row": site.uid, **dict(rule.data)}
    return client.post(path, data).status_code


def everything() -> list[Any]:
    """What must not change when somebody is turned away."""
    return [
        list(Flow.objects.order_by("pk").values()),
        list(FlowAction.objects.order_by("pk").values()),
        list(FlowRun.objects.order_by("pk").values()),
        list(Trigger.objects.order_by("pk").values()),
        list(Firing.objects.order_by("pk").values()),
        list(HumanTask.objects.order_by("pk").values()),
        list(FlowTest.objects.order_by("pk").values()),
        FlowVersion.objects.count(),
    ]


def test_every_address_has_a_rule() -> None:
    def names() -> Iterator[str]:
        for model, model_admin in admin.site._registry.items():
            if model._meta.app_label != "flowcontrol":
                continue
            for pattern in model_admin.get_urls():
                assert isinstance(pattern, URLPattern)
                if pattern.name is not None:  # Django's old addresses, which only redirect
                    yield pattern.name.removeprefix("flowcontrol_")

    assert set(names()) == RULES.keys()


@pytest.mark.parametrize("kind", PEOPLE)
@pytest.mark.parametrize("name", RULES)
def test_a_page_lets_in_who_may_and_nobody_else(name: str, kind: str, site: Site) -> None:
    rights = PEOPLE[kind]
    client = client_of(*rights) if rights is not None else client_of()
    rule = RULES[name]
    for method, allowed in (("GET", rule.get), ("POST", rule.post)):
        before = everything()
        status = ask(client, site, name, method)
        if kind in allowed:
            assert status in (200, 302), (method, status)
            continue
        # Those who may see the page are told that there is no such method.
        is_visible = kind in (rule.get | rule.post)
        assert status in ((403, 405) if is_visible or kind in EVERYBODY else (403,)), (
            method,
            status,
        )
        assert everything() == before


@pytest.mark.parametrize("name", RULES)
def test_nobody_gets_in_without_logging_in(name: str, site: Site) -> None:
    before = everything()
    for method in ("GET", "POST"):
        answer = (
            Client().get(site.path(name)) if method == "GET" else Client().post(site.path(name))
        )
        assert answer.status_code == 302
        assert "/login/" in answer["Location"]
    customer = Client()
    customer.force_login(User.objects.create_user("customer"))
    assert customer.get(site.path(name)).status_code == 302
    assert everything() == before


@pytest.mark.parametrize("name", RULES)
def test_a_superuser_meets_no_error(name: str, site: Site) -> None:
    client = client_of(is_superuser=True)
    assert ask(client, site, name, "GET") in (200, 302, 403, 405)
    assert ask(client, site, name, "POST") in (200, 302, 403, 405)


def test_the_state_is_changed_only_by_those_who_may(site: Site) -> None:
    path = url("flowrun_operate", site.run.pk, "edit_state")
    data = {"state": '{"a": 1}', "reason": "because"}
    assert client_of(*VIEW, "operate_flowrun").post(path, data).status_code == 403
    assert client_of(*VIEW, "edit_state_flowrun", name="kim").post(path, data).status_code == 302
    site.run.refresh_from_db()
    assert site.run.state == {"a": 1}


def test_many_runs_at_once_are_operated_only_by_those_who_may(site: Site) -> None:
    data = {"action": "cancel", "_selected_action": [site.run.pk], "confirmed": "1", "reason": "x"}
    client_of(*VIEW).post(url("flowrun_changelist"), data)
    site.run.refresh_from_db()
    assert site.run.status == "waiting"
    client_of(*VIEW, "operate_flowrun", name="kim").post(url("flowrun_changelist"), data)
    site.run.refresh_from_db()
    assert site.run.outcome == "canceled"


@pytest.mark.parametrize("key", ["x", "9" * 40, "1 OR 1=1", "", "1.5"])
@pytest.mark.parametrize(
    ("page", "action"),
    [("flowrun_changelist", "cancel"), ("trigger_changelist", "delete_selected")],
)
def test_a_selection_that_cannot_be_read_is_a_message(
    page: str, action: str, key: str, site: Site
) -> None:
    client = client_of(is_superuser=True)
    before = everything()
    data = {"action": action, "_selected_action": [key, site.run.pk], "confirmed": "1"}
    answer = client.post(url(page), data, follow=True)
    assert answer.redirect_chain == [(url(page), 302)]
    assert "The selection cannot be read" in answer.content.decode()
    assert everything() == before


WORKING = {  # the buttons and links that change something, and the right each needs
    "Publish…": "publish_flow",
    "Start a run…": "start_flow",
    ">Try it</a>": "change_flow",
    "Switch off": "change_flow",
    ">Pause<": "change_flow",
    "Duplicate…": "add_flow",
    "Delete…": "delete_flow",
    "Add a row": "change_flow",
    "Move down": "change_flow",
}


@pytest.mark.parametrize("text", WORKING)
def test_a_button_is_shown_to_those_for_whom_it_works(text: str, site: Site) -> None:
    page = url("flow_actions", site.flow.pk)
    assert text not in client_of(*VIEW).get(page).content.decode()
    allowed = client_of(*VIEW, WORKING[text], name="kim")
    assert text in allowed.get(page).content.decode()


@pytest.mark.parametrize(
    ("text", "right"), [("Cancel…", "operate_flowrun"), ("Edit state…", "edit_state_flowrun")]
)
def test_a_run_shows_only_what_its_visitor_may_do(text: str, right: str, site: Site) -> None:
    page = url("flowrun_change", site.run.pk)
    assert text not in client_of(*VIEW).get(page).content.decode()
    assert text in client_of(*VIEW, right, name="kim").get(page).content.decode()


def test_who_may_not_see_runs_gets_no_counts_of_them(site: Site) -> None:
    client = client_of("view_flow")
    for name in ("flow_changelist", "flow_actions", "flow_versions"):
        assert "flowrun" not in client.get(site.path(name)).content.decode()
    assert client.get(url("flowrun_changelist")).status_code == 403


def test_rows_of_another_flow_cannot_be_reached_through_ones_own(site: Site) -> None:
    uid = "of-the-other"
    make_flow(row("log", message="theirs", uid=uid), name="Other")
    client = client_of(*VIEW, "change_flow")
    before = everything()
    data = {"revision": site.flow.draft_revision, "step": "down", "enabled": "0"}
    assert client.post(url("flow_row", site.flow.pk, uid), data).status_code == 404
    for name in ("move_rows", "duplicate_rows", "switch_rows", "delete_rows"):
        for rows in ([uid], [site.uid, uid]):
            answer = client.post(url(f"flow_{name}", site.flow.pk), {**data, "row": rows})
            assert answer.status_code == 302
    add = url("flow_add_row", site.flow.pk)
    data = {"revision": site.flow.draft_revision, "target": uid, "position": "after"}
    assert client.post(add, {**data, "action": "else"}).status_code == 302
    assert everything() == before


def test_an_address_that_leads_nowhere_is_a_404_or_a_way_back(site: Site) -> None:
    client = client_of(is_superuser=True)
    nowhere = [
        url("flow_actions", 999_999),
        url("flow_row", site.flow.pk, "nothing"),
        url("flow_version", site.flow.pk, 99),
        url("flowrun_change", 10**25),
        url("flowrun_operate", site.run.pk, "explode"),
        f"{url('flowrun_changelist')}abc/change/",
        f"{url('flow_changelist')}%20{site.flow.pk}/delete/",
    ]
    assert [client.get(path).status_code for path in nowhere] == [404] * len(nowhere)


def test_a_document_with_odd_ids_can_be_edited() -> None:
    flow = drafting.create_flow("Odd")
    drafting.replace_draft(flow, make_document(row("log", message="x", uid="add/ß?&#\"'<b>")))
    client = client_of(is_superuser=True)
    page = client.get(url("flow_actions", flow.pk)).content.decode()
    assert "<b>" not in page
    links = re.findall(r'href="([^"]*/row/[^"]*)"', page)
    assert [client.get(unescape(each)).status_code for each in links] == [200]
