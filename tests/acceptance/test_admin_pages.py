"""The admin in a real browser, under a strict content security policy: by mouse, by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.middleware.security import SecurityMiddleware

from flowcontrol import drafting
from flowcontrol.documents import make_document
from flowcontrol.engine import start_flowrun
from flowcontrol.models import Flow, FlowRun, Trigger
from flowcontrol.testing import Delay, Else, If, Log, make_flow, run_until_idle
from tests.admin_pages import draft_rows, uid_of, url

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)

POLICY = "default-src 'self'"


@pytest.fixture(scope="session")
def live_server(django_db_setup: None, live_server: LiveServer) -> LiveServer:
    """The server, started after the database is known.

    Started before, it would take the database for one in memory and share one connection among
    its threads, which SQLite answers with a crash.
    """
    return live_server


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every answer forbid scripts and styles in the page, and anything from elsewhere."""
    process_response = SecurityMiddleware.process_response

    def with_policy(self: Any, request: Any, response: Any) -> Any:
        response = process_response(self, request, response)
        response["Content-Security-Policy"] = POLICY
        return response

    monkeypatch.setattr(SecurityMiddleware, "process_response", with_policy)


@pytest.fixture
def desk(page: Page, live_server: LiveServer) -> Iterator[Page]:
    """The browser of a superuser who is logged in."""
    refused: list[str] = []
    page.on(
        "console",
        lambda message: (
            refused.append(message.text) if "Content Security Policy" in message.text else None
        ),
    )
    log_in(page, live_server)
    yield page
    assert refused == []


def log_in(page: Page, live_server: LiveServer) -> None:
    User.objects.create_superuser("desk", password="secret")
    page.goto(f"{live_server.url}/admin/login/")
    page.fill("#id_username", "desk")
    page.fill("#id_password", "secret")
    page.click("input[type=submit]")


def focused(page: Page) -> str:
    """The text of what has the focus, without more than one space at a time."""
    text: str = page.evaluate("document.activeElement.textContent || document.activeElement.id")
    return " ".join(text.split())


def tab_to(page: Page, text: str, *, backwards: bool = False) -> None:
    """Press Tab until what has the focus reads ``text``."""
    for _press in range(80):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        if text in focused(page) and page.evaluate("document.activeElement.tagName") != "LI":
            return
    pytest.fail(f"Tab never comes to {text!r}.")


def add(page: Page, where: str, action: str, **fields: str) -> None:
    """Add a row by clicking: the link ``where``, the action, its form."""
    page.get_by_role("link", name=re.compile(where)).first.click()
    choice = page.locator("[data-fc-choice]").filter(
        has=page.locator(".fc-title", has_text=re.compile(f"^{action}$"))
    )
    choice.locator("a, button").click()
    if fields:
        for label, value in fields.items():
            page.get_by_label(label, exact=False).first.fill(value)
        page.get_by_role("button", name="Add the row").click()


def test_a_person_builds_corrects_publishes_and_starts_a_flow_by_clicking(
    desk: Page, live_server: LiveServer
) -> None:
    desk.goto(f"{live_server.url}{url('flow_add')}")
    desk.get_by_label("Name:", exact=True).fill("Gate change")
    desk.get_by_role("button", name="Save", exact=True).click()
    flow = Flow.objects.get()
    assert desk.url.endswith(url("flow_actions", flow.pk))

    add(desk, "Add a row at the end", "If", Condition="n > 2")
    add(desk, "inside row 1", "Log", Message="many: {{ n }}")
    desk.locator("summary", has_text="Change row 1,").click()
    desk.get_by_role("link", name="Add a row after").locator("visible=true").click()
    desk.locator("[data-fc-choice] button", has_text="Runs the rows inside it when no").click()
    add(desk, "inside row 2", "Log", Message="few")
    assert draft_rows(flow) == ["if", ".log", "else", ".log"]

    # A mistake: nothing can leave a loop where there is none.
    add(desk, "Add a row at the end", "Leave branch")
    desk.get_by_label("loop").check()
    desk.get_by_role("button", name="Add the row").click()
    desk.get_by_role("link", name="Publish…").click()
    assert desk.get_by_text("cannot be published like this").is_visible()
    desk.get_by_role("link", name=re.compile("Row 3: Leave branch")).click()
    desk.locator(".fc-row", has_text="There is no loop").get_by_role(
        "link", name="Leave branch"
    ).click()
    desk.get_by_label("parent").check()
    desk.get_by_role("button", name="Save").click()
    assert desk.get_by_text("There is no loop").count() == 0

    desk.get_by_role("link", name="Publish…").click()
    desk.get_by_label("Note").fill("The first version.")
    desk.get_by_role("button", name="Publish").click()
    assert desk.get_by_text("Version 1 is live.").is_visible()
    desk.get_by_role("button", name="Switch on").click()
    desk.get_by_role("link", name="Start a run…").click()
    desk.get_by_label("Start state").fill('{"n": 5}')
    desk.get_by_role("button", name="Start the run").click()
    assert desk.get_by_text("goes on as soon as a worker is free").is_visible()

    run_until_idle()
    desk.reload()
    run = FlowRun.objects.get()
    assert (run.status, run.outcome) == ("done", "complete")
    assert desk.locator(".fc-explanation").get_by_text("Complete", exact=True).is_visible()
    assert desk.locator(".fc-log", has_text="many: 5").is_visible()
    ran = desk.locator(".fc-has-run > .fc-line > .fc-words > .fc-title").all_inner_texts()
    assert ran == ["If n > 2", "Log “many: {{ n }}”", "Leave branch"]


def test_a_row_is_added_and_moved_by_keyboard_alone(desk: Page, live_server: LiveServer) -> None:
    flow = drafting.create_flow("Long delay")
    document = make_document(If("true", [Log("first")]), Log("second"))
    drafting.replace_draft(flow, document)
    desk.goto(f"{live_server.url}{url('flow_actions', flow.pk)}")

    tab_to(desk, "Add a row at the end")
    desk.keyboard.press("Enter")
    desk.wait_for_url("**/actions/add/**")
    assert desk.evaluate("document.activeElement.id") == "fc-query"
    desk.keyboard.type("writes a line history")
    desk.keyboard.press("Enter")
    desk.wait_for_url("**/actions/add/log/**")
    tab_to(desk, "id_config-message")
    desk.keyboard.type("third")
    tab_to(desk, "Add the row")
    desk.keyboard.press("Enter")
    desk.wait_for_url("**/actions/#row-*")
    assert "Log “third”" in focused(desk)

    def choose(text: str) -> None:
        tab_to(desk, "Change row")
        desk.keyboard.press("Enter")
        tab_to(desk, text)
        with desk.expect_navigation():
            desk.keyboard.press("Enter")
        assert "Log “third”" in focused(desk)

    choose("Move up")
    assert labels(flow) == ["if", ".first", "third", "second"]
    choose("Move in")
    assert labels(flow) == ["if", ".first", ".third", "second"]
    choose("Move out")
    choose("Move down")
    assert labels(flow) == ["if", ".first", "second", "third"]
    choose("Switch off")
    assert desk.locator(".fc-is-off", has_text="third").is_visible()

    tab_to(desk, "Change row")
    desk.keyboard.press("Enter")
    tab_to(desk, "Edit")
    desk.keyboard.press("Escape")
    assert desk.locator("[data-fc-menu][open]").count() == 0
    assert "Change row" in focused(desk)


def labels(flow: Flow) -> list[str]:
    rows = flow.actions.filter(depth__gt=1).order_by("path")
    return ["." * (row.depth - 2) + row.config.get("message", row.action) for row in rows]


def test_a_row_is_added_without_any_script(browser: Browser, live_server: LiveServer) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(15_000)
    page = context.new_page()
    log_in(page, live_server)
    flow = drafting.create_flow("Long delay")
    drafting.replace_draft(flow, make_document(Log("first", label="first")))
    page.goto(f"{live_server.url}{url('flow_actions', flow.pk)}")
    page.locator("summary", has_text="Change row 1,").click()
    page.get_by_role("link", name="Add a row before").click()
    page.get_by_label("What should happen?").fill("stop")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name=re.compile("Stop flow")).click()
    page.get_by_role("button", name="Add the row").click()
    assert draft_rows(flow) == ["stop", "first"]
    page.locator("summary", has_text="Change row 1,").click()
    page.get_by_role("button", name="Move down").locator("visible=true").click()
    assert draft_rows(flow) == ["first", "stop"]
    context.close()


def test_a_stale_page_changes_nothing_and_keeps_what_was_typed(
    desk: Page, live_server: LiveServer
) -> None:
    flow = drafting.create_flow("Long delay")
    drafting.replace_draft(flow, make_document(Log("first", label="first"), Log("second")))
    desk.goto(f"{live_server.url}{url('flow_row', flow.pk, uid_of(flow, 'first'))}")
    drafting.delete_action(flow, flow.actions.get(config__message="second").uid)
    desk.get_by_label("Message").fill("typed meanwhile")
    desk.get_by_role("button", name="Save").click()
    assert desk.get_by_role("alert").get_by_text("Nothing was saved").is_visible()
    assert desk.get_by_label("Message").input_value() == "typed meanwhile"
    desk.get_by_role("button", name="Save").click()
    assert flow.actions.get(label="first").config["message"] == "typed meanwhile"


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
        *(url("flow_delete_row", flow.pk, row), url("flow_publish", flow.pk)),
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
