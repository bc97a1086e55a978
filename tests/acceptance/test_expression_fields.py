"""Expression fields in a real browser: completing by keyboard, values at once, conditions."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest

from demo.models import Airline, Airport, Flight
from flowcontrol import drafting
from flowcontrol.expressions.conditions import drawing_to_json, read_condition, write_condition
from flowcontrol.models import Flow, FlowAction
from flowcontrol.testing import make_flow, row
from tests.admin_pages import uid_of, url

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)

CONDITION = "#id_config-condition"


@pytest.fixture
def flow() -> Flow:
    airports = [Airport.objects.create(code=code, name=code) for code in ("EWR", "ORD")]
    airline = Airline.objects.create(code="UA", name="United")
    for number in (60, 120):
        Flight.objects.create(
            airline=airline,
            number=number,
            day=date(2013, 2, 4),
            origin=airports[0],
            destination=airports[1],
            distance=719,
            scheduled_departure=datetime(2013, 2, 4, 10, tzinfo=UTC),
            scheduled_arrival=datetime(2013, 2, 4, 12, tzinfo=UTC),
            delay=number,
            status="delayed",
        )
    return make_flow(
        row("update_state", state={"reminders": 2}),
        row("if", row("log", message="x"), condition="object.delay > 100"),
        content_type="demo.flight",
        name="Long delay",
    )


def open_row(desk: Page, live_server: LiveServer, flow: Flow, action: str) -> None:
    desk.goto(f"{live_server.url}{url('flow_row', flow.pk, uid_of(flow, action))}")


def status_of(desk: Page, selector: str) -> Locator:
    return desk.locator(f"{selector} ~ .fc-x .fc-x-status")


def save(desk: Page) -> None:
    with desk.expect_response(lambda answer: "/actions/row/" in answer.url):
        desk.get_by_role("button", name="Save", exact=True).click()
    # The form comes back, and its fields help again.
    status_of(desk, CONDITION).get_by_text("yes", exact=True).wait_for(state="attached")


def stored_condition(flow: Flow) -> str:
    condition: str = FlowAction.objects.get(flow=flow, action="if").config["condition"]
    return condition


def test_names_and_filters_are_completed_by_keyboard(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    open_row(desk, live_server, flow, "if")
    field = desk.locator(CONDITION)
    field.fill("")
    field.press_sequentially("scheduled_dep")
    options = desk.get_by_role("option")
    options.first.wait_for()
    assert "object.scheduled_departure" in options.first.inner_text()
    assert "moment" in options.first.inner_text()
    # Enter belongs to the form until a suggestion has been chosen.
    assert field.get_attribute("aria-activedescendant") is None
    field.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") == options.first.get_attribute("id")
    field.press("Enter")
    assert field.input_value() == "object.scheduled_departure"
    assert field.get_attribute("aria-expanded") == "false"
    field.press_sequentially("|ho")
    options.first.wait_for()
    assert "Gives the hour of a moment" in options.first.inner_text()
    field.press("ArrowDown")
    field.press("Tab")
    assert field.input_value() == "object.scheduled_departure|hour"
    field.press_sequentially(" == 5 and object.status == ")
    field.press("Control+Space")
    desk.get_by_role("option", name="Cancelled").wait_for()
    field.press("Escape")
    assert desk.get_by_role("option").count() == 0
    field.press_sequentially('"delayed"')
    status_of(desk, CONDITION).get_by_text("yes", exact=True).wait_for()
    save(desk)
    assert stored_condition(flow) == (
        'object.scheduled_departure|hour == 5 and object.status == "delayed"'
    )


def test_a_field_shows_at_once_what_it_gives_and_what_is_wrong(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    open_row(desk, live_server, flow, "if")
    status = status_of(desk, CONDITION)
    status.get_by_text("object.delay = 120").wait_for()
    assert "yes" in status.inner_text()
    desk.locator(CONDITION).fill("object.delay >")
    status.get_by_text("a value is missing").wait_for()
    desk.locator(CONDITION).fill("object.status > 5")
    status.get_by_text("cannot compare").wait_for()
    # Another object, chosen by what it is called by.
    desk.locator(CONDITION).fill("object.delay > 100")
    desk.get_by_role("button", name="Tried with").click()
    desk.get_by_role("button", name="UA 60", exact=False).click()
    status.get_by_text("object.delay = 60").wait_for()
    assert "no" in status.inner_text()
    desk.reload()
    status.get_by_text("object.delay = 60").wait_for()


def test_a_template_completes_inside_braces_only(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    open_row(desk, live_server, flow, "log")
    field = desk.locator("#id_config-message")
    field.fill("")
    field.press_sequentially("object.del")
    desk.wait_for_timeout(500)
    assert desk.locator(".fc-x-list:not([hidden])").count() == 0
    field.fill("{{ remin }}")
    field.evaluate("input => input.setSelectionRange(8, 8)")
    field.press("Control+Space")
    field.press("Enter")
    assert field.input_value() == "{{ reminders }}"
    status_of(desk, "#id_config-message").get_by_text("2", exact=True).wait_for()


@pytest.fixture
def values(desk: Page, live_server: LiveServer, flow: Flow) -> Locator:
    """The JSON field of a row that updates the state, whose texts are expressions."""
    update = {"reminders": "reminders|add:1"}
    drafting.add_action(flow, "update_state", {"state": update, "evaluate": True}, uid="later")
    desk.goto(f"{live_server.url}{url('flow_row', flow.pk, 'later')}")
    return desk.locator("#id_config-state")


def put_caret(field: Locator, behind: str) -> None:
    """Put the caret behind the first place where this stands."""
    field.evaluate(
        """(input, behind) => {
            const at = input.value.indexOf(behind) + behind.length;
            input.focus();
            input.setSelectionRange(at, at);
            input.dispatchEvent(new Event("click", { bubbles: true }));
        }""",
        behind,
    )


def test_the_texts_in_json_are_completed_and_tried_one_by_one(
    desk: Page, values: Locator, flow: Flow
) -> None:
    values.fill('{"n": "reminders|add:1",\n "late": "",\n "deep": [{"why": "object.stat"}]}')
    status = status_of(desk, "#id_config-state")
    put_caret(values, "|add")
    status.get_by_text("3", exact=True).wait_for()
    assert status.locator("code").inner_text() == "reminders|add:1"
    # A name is completed where the caret stands, also deep inside.
    put_caret(values, "object.stat")
    values.press("Control+Space")
    desk.get_by_role("option", name="object.status").wait_for()
    values.press("Enter")
    assert '"why": "object.status"}' in values.input_value()
    status.get_by_text('"delayed"').wait_for()
    # What stands in quotes in an expression is written as JSON wants it.
    values.press_sequentially(" == ")
    values.press("Control+Space")
    delayed = desk.get_by_role("option", name='"delayed" Delayed')
    delayed.wait_for()
    while delayed.get_attribute("aria-selected") != "true":
        values.press("ArrowDown")
    values.press("Enter")
    assert r'"why": "object.status == \"delayed\""}' in values.input_value()
    status.get_by_text("true", exact=True).wait_for()
    assert status.locator("code").inner_text() == 'object.status == "delayed"'
    # A mistake is told while the JSON around it is being written.
    put_caret(values, '"late": "')
    values.press_sequentially("object.delay >")
    status.get_by_text("a value is missing").wait_for()
    # Names of values and what stands between the texts are no expressions.
    put_caret(values, '"la')
    desk.locator("#id_config-state ~ .fc-x .fc-x-status:empty").wait_for(state="attached")
    values.press("Control+Space")
    desk.wait_for_timeout(200)
    assert desk.locator(".fc-x-list:not([hidden])").count() == 0


def test_texts_in_json_are_texts_until_they_are_said_to_be_expressions(
    desk: Page, values: Locator
) -> None:
    expressions = desk.get_by_role("checkbox", name="Texts are expressions")
    expressions.uncheck()
    values.fill('{"a": "remin"}')
    put_caret(values, "remin")
    values.press("Control+Space")
    desk.wait_for_timeout(500)
    status = status_of(desk, "#id_config-state")
    assert desk.locator(".fc-x-list:not([hidden])").count() == 0
    assert status.inner_text() == ""
    expressions.check()
    status.get_by_text("Nothing in this flow sets").or_(
        status.get_by_text("remin")
    ).first.wait_for()
    put_caret(values, "remin")
    values.press("Control+Space")
    values.press("Enter")
    assert values.input_value() == '{"a": "reminders"}'


def test_the_body_of_a_webhook_completes_inside_braces_inside_json(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    config = {"url": "https://example.com", "json": {"delay": "{{ object.del }}", "plain": "x"}}
    drafting.add_action(flow, "call_webhook", config, uid="call")
    desk.goto(f"{live_server.url}{url('flow_row', flow.pk, 'call')}")
    field = desk.locator("#id_config-json")
    put_caret(field, "object.del")
    field.press("Control+Space")
    desk.get_by_role("option", name="object.delay", exact=False).first.wait_for()
    field.press("Enter")
    assert '"delay": "{{ object.delay }}"' in field.input_value()
    status_of(desk, "#id_config-json").get_by_text("120", exact=True).wait_for()
    put_caret(field, '"plain": "x')
    field.press("Control+Space")
    desk.wait_for_timeout(300)
    assert desk.locator(".fc-x-list:not([hidden])").count() == 0
    headers = desk.locator("#id_config-headers")
    headers.fill('{"Authorization": "Bearer {{ sec }}"}')
    put_caret(headers, "{{ sec")
    headers.press("Control+Space")
    headers.press("Enter")
    assert headers.input_value() == '{"Authorization": "Bearer {{ secret }}"}'


def test_a_condition_is_built_by_choosing(desk: Page, live_server: LiveServer, flow: Flow) -> None:
    open_row(desk, live_server, flow, "if")
    desk.get_by_role("button", name="As conditions").click()
    desk.locator(CONDITION).wait_for(state="hidden")
    desk.get_by_label("Comparison").select_option(label="≥")
    desk.get_by_label("Value", exact=True).fill("90")
    desk.get_by_role("button", name="+ Add a condition").click()
    desk.get_by_label("Field").nth(1).select_option("object.status")
    desk.get_by_label("Comparison").nth(1).select_option(label="is one of")
    desk.get_by_label("Delayed").check()
    desk.get_by_label("Cancelled").check()
    desk.get_by_role("button", name="+ Add a group").click()
    inner = desk.locator(".fc-c-group .fc-c-group")
    inner.get_by_label("It holds if").select_option("none")
    inner.get_by_label("Field").select_option("object.code")
    inner.get_by_label("Comparison").select_option(label="starts with")
    inner.get_by_label("Value", exact=True).fill('A"\\')
    expected = (
        'object.delay >= 90 and object.status in "delayed,cancelled"|split:"," '
        'and not (object.code|startswith:"A\\"\\\\")'
    )
    assert desk.locator(CONDITION).input_value() == expected
    status_of(desk, CONDITION).get_by_text("yes", exact=True).wait_for()
    # As text it is the same, and back again.
    desk.get_by_role("button", name="As text").click()
    assert desk.locator(CONDITION).input_value() == expected
    desk.get_by_role("button", name="As conditions").click()
    # A group of one is drawn as that one.
    desk.get_by_label("Comparison").nth(2).locator(":checked").get_by_text(
        "does not start"
    ).wait_for(state="attached")
    desk.get_by_role("button", name="Remove").last.click()
    save(desk)
    assert stored_condition(flow) == (
        'object.delay >= 90 and object.status in "delayed,cancelled"|split:","'
    )


def test_what_cannot_be_drawn_is_shown_as_text_and_left_alone(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    open_row(desk, live_server, flow, "if")
    field = desk.locator(CONDITION)
    status_of(desk, CONDITION).get_by_text("yes", exact=True).wait_for()
    field.fill("(object.delay > 5) == true")
    desk.locator("button:disabled", has_text="As conditions").wait_for()
    field.fill("5 < object.delay  and reminders == 2")
    status_of(desk, CONDITION).get_by_text("yes", exact=True).wait_for()
    desk.get_by_role("button", name="As conditions").click()
    assert desk.get_by_label("Condition as text").input_value() == "5 < object.delay"
    assert field.input_value() == "5 < object.delay  and reminders == 2"
    desk.get_by_label("Value", exact=True).fill("3")
    assert field.input_value() == "5 < object.delay and reminders == 3"


WRITTEN = [
    "a",
    "not a",
    "not not a",
    "a and (b or not c) and not (d or e == 'x')",
    "not (a and b) or 5 < c",
    'a in "x,y"|split:"," and "z" in b and b not in c',
    'not a|startswith:"x" or a|lower|endswith:b or a is not null',
    "n|add:1 <= -2.5 and m != limit|default:'a|b'",
    "not (n > 5)",
    "a or (b and (c or (d and e)))",
]


def test_the_page_writes_a_drawing_as_the_server_does(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    open_row(desk, live_server, flow, "if")
    names = desk.evaluate(
        "base => fetch(`${base}names/`).then((answer) => answer.json())",
        desk.locator(CONDITION).get_attribute("data-fc-base"),
    )
    for source in WRITTEN:
        drawing = read_condition(source)
        assert drawing is not None
        written = desk.evaluate(
            "([drawing, patterns]) => flowcontrolExpressions.writeCondition(drawing, patterns)",
            [json.loads(json.dumps(drawing_to_json(drawing))), names["patterns"]],
        )
        assert written == write_condition(drawing)


def test_the_condition_of_a_trigger_completes_the_payload_of_the_trigger_that_is_chosen(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    desk.goto(f"{live_server.url}{url('flow_add_trigger', flow.pk)}")
    desk.locator("#id_name").select_option("demo.flight_changed")
    field = desk.locator("#id_condition")
    field.press_sequentially("trigger.delay_b")
    desk.get_by_role("option", name="trigger.delay_before").wait_for()


def test_the_fields_work_on_a_narrow_screen_and_from_right_to_left(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    desk.set_viewport_size({"width": 400, "height": 800})
    open_row(desk, live_server, flow, "if")
    desk.evaluate("document.documentElement.dir = 'rtl'")
    desk.get_by_role("button", name="As conditions").click()
    desk.get_by_role("button", name="+ Add a group").click()
    # What compares is not mirrored: > stays >.
    for control in (desk.get_by_label("Comparison").first, desk.locator(CONDITION)):
        assert control.evaluate("(it) => getComputedStyle(it).direction") == "ltr"
    wide = desk.evaluate(
        "document.querySelector('.fc-c').scrollWidth - document.querySelector('.fc-c').clientWidth"
    )
    assert wide <= 0
    desk.get_by_role("button", name="As text").click()
    field = desk.locator(CONDITION)
    field.fill("")
    field.press("Control+Space")
    box = desk.locator(".fc-x-list").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 400
