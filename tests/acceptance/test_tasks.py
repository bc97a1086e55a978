"""A person answers a question of a run, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowcontrol.engine import start_flowrun
from flowcontrol.models import HumanTask
from flowcontrol.testing import make_flow, row, run_until_idle
from tests.admin_pages import url

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_question_is_found_corrected_and_answered(desk: Page, live_server: LiveServer) -> None:
    form = {
        "type": "object",
        "properties": {
            "seats": {"type": "integer", "minimum": 1, "title": "Free seats"},
            "where": {"type": "string", "enum": ["aisle", "window"], "title": "Where"},
            "note": {"type": "string", "maxLength": 500, "title": "Note for the crew"},
        },
        "required": ["seats"],
    }
    flow = make_flow(
        row(
            "ask_person",
            title="Which seats on flight 1117 to Boston can be given to the stranded passengers?",
            text="Three people missed their connection.\n\nThey travel together.",
            form=form,
            buttons=["book = Book them", "wait = Let them wait"],
            permission="flowcontrol.answer_any_humantask",
            timeout="PT2H",
            result_key="answer",
        ),
        name="Stranded",
    )
    run = start_flowrun(flow)
    desk.goto(live_server.url + url("humantask_changelist"))
    desk.get_by_role("link", name="Which seats on flight 1117").click()
    desk.get_by_label("Free seats").fill("0")
    desk.get_by_label("Note for the crew").fill("Row 12")
    for width in (400, 1280):
        desk.set_viewport_size({"width": width, "height": 900})
        assert desk.evaluate("document.documentElement.scrollWidth") <= width
    desk.get_by_role("button", name="Book them").click()
    assert desk.get_by_text("Must be at least 1").is_visible()
    assert desk.get_by_label("Note for the crew").input_value() == "Row 12"
    desk.get_by_label("Free seats").fill("3")
    desk.get_by_role("button", name="Book them").click()
    assert desk.get_by_text("Thank you.").is_visible()
    assert desk.get_by_text("Nothing waits for your answer.").is_visible()
    run_until_idle()
    run.refresh_from_db()
    assert run.state["answer"]["data"] == {"seats": 3, "note": "Row 12"}
    task = HumanTask.objects.get()
    desk.goto(live_server.url + url("humantask_change", task.pk))
    assert desk.get_by_text("Row 12").is_visible()
    assert not desk.get_by_role("button", name="Book them").is_visible()
