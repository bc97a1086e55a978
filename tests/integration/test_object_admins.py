"""What the admin of the host site gets: start flows from its lists, see the runs of its objects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse

from flowcontrol.admin import FlowcontrolModelAdminMixin
from flowcontrol.engine import start_flowrun
from flowcontrol.models import Flow, FlowRun
from flowcontrol.testing import Delay, Log, make_flow
from tests.admin_pages import VIEW, url
from tests.testapp.models import Parcel, Station, Ticket

pytestmark = pytest.mark.django_db

STATE = {
    "type": "object",
    "properties": {"bay": {"type": "string"}, "n": {"type": "integer", "default": 1}},
    "required": ["bay"],
}


class ParcelAdmin(FlowcontrolModelAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_per_page = 3
    list_max_show_all = 3
    list_filter = ("is_loaded",)


class StationAdmin(FlowcontrolModelAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    pass


class TicketAdmin(FlowcontrolModelAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    actions = None


@pytest.fixture(autouse=True)
def host_admins() -> Iterator[None]:
    """The host site registers its models; forgotten after the test."""
    ours = ((Parcel, ParcelAdmin), (Station, StationAdmin), (Ticket, TicketAdmin))
    for model, model_admin in ours:
        admin.site.register(model, model_admin)
    urls = ModuleType("urls")
    urls.urlpatterns = [path("admin/", admin.site.urls)]  # type: ignore[attr-defined]
    with override_settings(ROOT_URLCONF=urls):
        yield
    for model, _model_admin in ours:
        admin.site.unregister(model)


def parcels(number: int) -> list[Parcel]:
    return Parcel.objects.bulk_create([Parcel(label=f"Box {n}") for n in range(number)])


def flow_for_parcels(name: str = "Load", **settings: Any) -> Flow:
    return make_flow(Delay("PT1H"), name=name, content_type="testapp.parcel", **settings)


def client_of(*rights: str, name: str = "sam") -> Client:
    """The browser of somebody with these rights and all rights on the models of the host site."""
    user = User.objects.create_user(name, is_staff=True)
    found = Permission.objects.filter(content_type__app_label="flowcontrol", codename__in=rights)
    assert {each.codename for each in found} == set(rights)
    hosts = Permission.objects.filter(content_type__app_label="testapp")
    user.user_permissions.set([*found, *hosts])
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client() -> Client:
    return client_of(*VIEW, "start_flow")


LIST = "admin:testapp_parcel_changelist"


def select(*objects: Any, **more: Any) -> dict[str, Any]:
    """What the list posts for the objects that are ticked."""
    return {"action": "start_flow", "_selected_action": [obj.pk for obj in objects], **more}


def confirmation(client: Client, data: dict[str, Any], query: str = "") -> dict[str, Any]:
    """What the confirmation page posts."""
    page = client.post(reverse(LIST) + query, data).content.decode()
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    return {**data, **{name: hidden[name] for name in ("flow", "start_token", "confirmed")}}


def messages_of(answer: Any) -> list[str]:
    return [str(message) for message in answer.wsgi_request._messages]


# --- starting from a list -----------------------------------------------------------------------


def test_selected_rows_are_started_after_a_confirmation_that_counts_them(client):
    flow_for_parcels()
    boxes = parcels(3)
    page = client.post(reverse(LIST), select(*boxes[:2])).content.decode()
    assert "Start 2 runs" in page
    assert not FlowRun.objects.exists()
    answer = client.post(reverse(LIST), confirmation(client, select(*boxes[:2])))
    assert answer.status_code == 302
    assert [run.content_object for run in FlowRun.objects.order_by("pk")] == boxes[:2]
    assert {str(run.started_by) for run in FlowRun.objects.all()} == {"sam"}
    assert messages_of(answer) == ["“Load”: 2 runs were started."]


def test_the_second_click_on_the_confirmation_starts_nothing(client):
    flow_for_parcels()
    data = confirmation(client, select(*parcels(2)))
    client.post(reverse(LIST), data)
    answer = client.post(reverse(LIST), data)
    assert FlowRun.objects.count() == 2
    assert "2 runs had been started already, by the same form." in messages_of(answer)


def test_all_rows_of_a_filtered_list_are_started_not_only_those_of_the_page(client):
    flow_for_parcels()
    parcels(8)
    Parcel.objects.filter(label="Box 0").update(is_loaded=True)
    query = "?is_loaded__exact=0"
    data = select(Parcel.objects.get(label="Box 1"), select_across="1")
    client.post(reverse(LIST) + query, confirmation(client, data, query))
    assert FlowRun.objects.count() == 7


def test_among_several_flows_one_is_chosen(client):
    flow_for_parcels("Load")
    weigh = flow_for_parcels("Weigh")
    make_flow(Log("x"), name="About stations", content_type="testapp.station")
    (box,) = parcels(1)
    page = client.post(reverse(LIST), select(box)).content.decode()
    assert "Which flow do you want to start?" in page
    assert "About stations" not in page
    data = confirmation(client, select(box, flow=weigh.pk))
    client.post(reverse(LIST), data)
    assert FlowRun.objects.get().flow == weigh


def test_the_values_of_the_state_schema_are_asked_once_for_all(client):
    flow_for_parcels(state_schema=STATE)
    data = confirmation(client, select(*parcels(2)))
    page = client.post(reverse(LIST), {**data, "state-bay": "", "state-n": "2"})
    assert page.status_code == 200
    assert set(page.context["form"].values.errors) == {"bay"}
    assert page.context["start_token"] == data["start_token"]
    assert not FlowRun.objects.exists()
    client.post(reverse(LIST), {**data, "state-bay": "A7", "state-n": "2"})
    assert [run.state for run in FlowRun.objects.all()] == [{"bay": "A7", "n": 2}] * 2


def test_what_is_refused_is_named_with_the_reason(client):
    flow_for_parcels(max_per_object=1)
    boxes = parcels(3)
    start_flowrun(Flow.objects.get(), boxes[1])
    answer = client.post(reverse(LIST), confirmation(client, select(*boxes)))
    assert messages_of(answer) == [
        "“Load”: 2 runs were started.",
        'Refused for Box 1: "Load" runs at most once for each object.',
    ]


def test_many_refusals_are_summed_up_by_reason(client):
    flow_for_parcels(max_concurrent=1)
    boxes = parcels(9)
    answer = client.post(reverse(LIST), confirmation(client, select(*boxes, select_across="1")))
    (refusal,) = messages_of(answer)[1:]
    assert refusal.startswith("Refused for 8, Box 1, Box 2, Box 3, Box 4, Box 5 and 3 more: ")


@pytest.mark.parametrize("rights", [VIEW, ("start_flow",)])
def test_the_action_is_offered_to_those_who_may_start_and_see_flows(rights):
    flow_for_parcels()
    (box,) = parcels(1)
    client = client_of(*rights)
    assert "start_flow" not in client.get(reverse(LIST)).content.decode()
    client.post(reverse(LIST), select(box, confirmed="1", start_token="0" * 32))
    assert not FlowRun.objects.exists()


def test_a_flow_that_is_kept_for_others_cannot_be_slipped_in(client):
    kept = flow_for_parcels("Kept")
    kept.starters.add(Group.objects.create(name="Night"))
    flow_for_parcels("Open")
    stations = make_flow(Log("x"), name="Stations", content_type="testapp.station")
    off = flow_for_parcels("Off", active=False)
    (box,) = parcels(1)
    for flow in (kept, stations, off):
        data = select(box, flow=flow.pk, confirmed="1", start_token="0" * 32)
        answer = client.post(reverse(LIST), data)
        assert "You may not start this flow" in messages_of(answer)[0]
    for nonsense in ("x", "9" * 40, "-1"):
        data = select(box, flow=nonsense, confirmed="1", start_token="0" * 32)
        assert client.post(reverse(LIST), data).status_code == 200
    assert not FlowRun.objects.exists()


def test_a_confirmation_without_its_token_is_asked_again(client):
    flow_for_parcels()
    (box,) = parcels(1)
    answer = client.post(reverse(LIST), select(box, confirmed="1", start_token="short"))
    assert "Start 1 run" in answer.content.decode()
    assert not FlowRun.objects.exists()


def test_without_any_flow_it_says_so(client):
    (box,) = parcels(1)
    answer = client.post(reverse(LIST), select(box))
    assert messages_of(answer) == ["There is no flow about parcels that you may start."]


def test_what_is_live_decides_what_a_flow_is_about(client):
    flow = flow_for_parcels()
    Flow.objects.filter(pk=flow.pk).update(content_type=None)  # in the draft only
    (box,) = parcels(1)
    assert "Start 1 run" in client.post(reverse(LIST), select(box)).content.decode()


def test_a_list_without_actions_stays_without(client):
    Ticket.objects.create(passenger="Ada")
    page = client.get(reverse("admin:testapp_ticket_changelist")).content.decode()
    assert "start_flow" not in page


# --- the panel ----------------------------------------------------------------------------------


def change(obj: Any) -> str:
    return reverse(f"admin:testapp_{obj._meta.model_name}_change", args=(obj.pk,))


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_page_of_an_object_shows_its_runs_and_says_where_they_stand(client):
    flow = flow_for_parcels()
    box, other = parcels(2)
    run = start_flowrun(flow, box)
    page = text(client, change(box))
    assert f'href="{url("flowrun_change", run.pk)}"' in page
    assert "Waiting" in page
    assert "It waits until" in page
    assert "No flow has run for this one yet." in text(client, change(other))


def test_the_panel_leads_to_a_start_with_this_object(client):
    flow = make_flow(Log("x"), name="Open", content_type="testapp.station")
    station = Station.objects.create(code="a/b&c=d", name="Odd")
    page = text(client, change_of_station(station))
    link = re.search(rf'href="({url("flow_start", flow.pk)}\?[^"]*)"', page)
    assert link is not None
    start = text(client, link[1].replace("&amp;", "&"))
    assert 'value="a/b&amp;c=d"' in start


def change_of_station(station: Station) -> str:
    return reverse("admin:testapp_station_change", args=(station.pk.replace("/", "_2F"),))


def test_the_panel_shows_each_only_what_they_may_see():
    flow = flow_for_parcels()
    (box,) = parcels(1)
    start_flowrun(flow, box)
    assert "fc-object-runs" not in text(client_of(name="neither"), change(box))
    viewer = text(client_of("view_flowrun", name="viewer"), change(box))
    assert "It waits until" in viewer
    assert "Start “Load”" not in viewer
    starter = text(client_of("view_flow", "start_flow", name="starter"), change(box))
    assert "It waits until" not in starter
    assert "No flow has run" not in starter
    assert "Start “Load”" in starter


def test_the_panel_needs_as_many_queries_for_many_runs_as_for_one(client):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            text(client, change(box))
        return len(captured)

    (box,) = parcels(1)
    start_flowrun(flow_for_parcels(), box)
    few = queries()
    for number in range(14):
        start_flowrun(flow_for_parcels(f"Flow {number}"), box)
    assert queries() == few
    page = text(client, change(box))
    assert page.count("It waits until") == 10
    link = re.search(r'href="([^"]*)">All its runs', page)
    assert link is not None
    assert text(client, link[1].replace("&amp;", "&")).count("fc-badge fc-waiting") == 15


def test_the_panel_costs_a_page_few_queries(client):
    (box,) = parcels(1)
    start_flowrun(flow_for_parcels(), box)
    text(client, change(box))
    with CaptureQueriesContext(connection) as captured:
        text(client, change(box))
    ours = [query["sql"] for query in captured if "flowcontrol_" in query["sql"]]
    assert len(ours) <= 3, ours


def test_the_page_for_a_new_object_has_no_panel(client):
    assert "fc-object-runs" not in text(client, reverse("admin:testapp_parcel_add"))


def test_a_template_of_the_host_site_stays_in_use(client, monkeypatch):
    monkeypatch.setattr(ParcelAdmin, "change_form_template", ["admin/change_form.html"])
    (box,) = parcels(1)
    assert "fc-object-runs" in text(client, change(box))
