"""The pages of the admin in a real browser: none of them is wider than a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowcontrol import drafting
from flowcontrol.engine import start_flowrun
from flowcontrol.models import Trigger
from flowcontrol.testing import Delay, Else, If, Log, make_flow
from tests.admin_pages import uid_of, url

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


def test_no_page_is_wider_than_a_phone(desk: Page, live_server: LiveServer) -> None:
    flow = make_flow(
        If("object.delay > 60", [If("n > 1", [Delay("PT1H"), Log("a" * 60)]), Else([Log("x")])]),
        Log("{{ a }}", note="n" * 100, result_key="k" * 60),
        name="F" * 60,
    )
    drafting.add_action(flow, "else")
    run = start_flowrun(flow, state={"n": 2, "long": "x" * 200})
    trigger = Trigger.objects.create(name="demo.flight_cancelled", flow=flow)
    row = uid_of(flow, "delay")
    pages = [
        *(url("flow_changelist"), url("flow_add"), url("flow_change", flow.pk)),
        *(
            url("flow_actions", flow.pk),
            url("flow_row", flow.pk, row),
            url("flow_add_row", flow.pk),
        ),
        url("flow_publish", flow.pk),
        *(url("flow_versions", flow.pk), url("flow_version", flow.pk, 1)),
        *(url("flow_roll_back", flow.pk, 1), url("flow_load_version", flow.pk, 1)),
        *(url("flow_start", flow.pk), url("flow_duplicate", flow.pk), url("flow_delete", flow.pk)),
        *(url("flowrun_changelist"), url("flowrun_change", run.pk)),
        *(url("flowrun_operate", run.pk, "edit_state"), url("flowrun_operate", run.pk, "go_to")),
        *(url("trigger_changelist"), url("trigger_change", trigger.pk), url("firing_changelist")),
    ]
    desk.set_viewport_size({"width": 400, "height": 800})
    too_wide = {}
    for path in pages:
        desk.goto(live_server.url + path)
        width = desk.evaluate("document.documentElement.scrollWidth")
        if width > 400:
            too_wide[path] = width
    assert too_wide == {}
