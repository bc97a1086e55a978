"""Trying a flow in a real browser: beside the list, on its own page, and as a test."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.contenttypes.models import ContentType

from flowcontrol.admin import trying
from flowcontrol.documents import make_document, row
from flowcontrol.drafting import add_action, create_flow, replace_draft
from flowcontrol.flowtests import run_tests, save_test
from flowcontrol.models import Flow, FlowRun, FlowTest
from flowcontrol.testing import Delay, Else, For, If, UpdateState
from flowcontrol.trying import Trial, try_flow
from tests.acceptance.conftest import log_in
from tests.admin_pages import VIEW, person, url
from tests.testapp.models import Parcel

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = pytest.mark.django_db(transaction=True)

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"


@pytest.fixture
def flow(transactional_db: None) -> Flow:
    flow = create_flow("Parcels")
    mail = row(
        "send_email", to=["desk@example.org"], subject="{{ kilos }} kg", text="x", uid="mail"
    )
    replace_draft(
        flow,
        make_document(
            If("kilos > 20", [UpdateState(way="'truck'"), mail], uid="heavy"),
            Else([UpdateState(way="'bike'")], uid="light"),
            Delay("P2D", uid="wait"),
        ),
    )
    return flow


class Bench:
    """Somebody at the builder, who tries the flow beside its list."""

    def __init__(self, page: Page, live_server: LiveServer, flow: Flow) -> None:
        self.page, self.keys = page, page.keyboard
        page.goto(live_server.url + url("flow_actions", flow.pk))
        self.panel = page.locator("#fc-panel")

    def settled(self) -> None:
        self.page.wait_for_selector("#fc-builder:not([aria-busy])")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.keys.press(key)
        self.settled()

    def open(self, tool: str) -> None:
        self.page.locator("#fc-toolbar").get_by_role("link", name=tool).click()
        self.panel.get_by_role("heading", name=tool, exact=True).wait_for()

    def try_it(self, state: str) -> None:
        self.panel.get_by_label("Start state").fill(state)
        self.panel.get_by_role("button", name="Try it").click()
        self.panel.locator(".fc-outcome").wait_for()

    def trace(self, uid: str) -> str:
        """What is told at a row, as it is read out with the row's name."""
        text: str = self.page.evaluate(
            """(uid) => {
                const title = document.getElementById(`row-${uid}`).querySelector(".fc-title");
                const told = document.getElementById(title.getAttribute("aria-describedby"));
                return told === null ? "" : told.textContent;
            }""",
            uid,
        )
        return " ".join(text.split())

    @property
    def focused(self) -> str:
        text: str = self.page.evaluate(
            """() => document.activeElement.getAttribute("name")
                || document.activeElement.textContent"""
        )
        return " ".join(text.split())

    def tab_to(self, what: str, *, key: str = "Tab", most: int = 60) -> None:
        """Go on with Tab until what is wanted has the focus."""
        passed = []
        for _ in range(most):
            self.keys.press(key)
            passed.append(self.focused)
            if passed[-1].startswith(what):
                return
        raise AssertionError(f"Tab does not come to {what!r}, but to {passed}.")


def test_a_flow_is_tried_beside_its_list_and_what_it_did_is_kept_as_a_test(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    bench = Bench(desk, live_server, flow)
    bench.open("Try it")
    bench.try_it('{"kilos": 30}')
    panel = bench.panel
    assert "It runs to its end." in panel.locator(".fc-outcome").inner_text()
    assert "30 kg" in panel.locator(".fc-calls").inner_text()
    assert FlowRun.objects.count() == 0
    panel.get_by_label("Name of the test").fill("Heavy")
    panel.get_by_role("button", name="Save as a test").click()
    panel.get_by_text("The test “Heavy” is saved.").wait_for()
    assert FlowTest.objects.get().expectations["state"] == {"way": "truck"}


def test_what_a_trial_did_is_shown_on_the_rows_of_the_list(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    bench = Bench(desk, live_server, flow)
    bench.open("Try it")
    bench.try_it('{"kilos": 30}')
    assert bench.trace("heavy").startswith("taken kilos = 30")
    assert "way set to truck" in bench.trace("1.1")
    assert "Subject: 30 kg" in bench.trace("mail")
    assert bench.trace("light") == "not taken"
    assert bench.trace("2.1") == "not reached"
    assert "2 days later" in bench.trace("wait")
    # It stays while another row is looked at, and until another trial takes its place.
    desk.locator("#row-mail .fc-title").click()
    bench.panel.locator("[data-fc-form]").wait_for()
    assert "Subject: 30 kg" in bench.trace("mail")
    desk.locator("#fc-traces").get_by_role("link", name="Try again").click()
    bench.panel.locator("#fc-try").wait_for()
    assert bench.panel.get_by_label("Start state").input_value() == '{"kilos": 30}'
    bench.try_it('{"kilos": 3}')
    assert bench.trace("heavy") == "not taken kilos = 3"
    assert bench.trace("light") == "taken"
    desk.get_by_role("button", name="Hide the trace").click()
    assert desk.locator(".fc-trace").count() == 0
    assert bench.trace("heavy") == ""
    assert desk.locator("#fc-traces").is_hidden()
    assert bench.focused.startswith("Send")  # the row that had it last


def test_a_trace_is_marked_as_old_when_the_draft_changes(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    bench = Bench(desk, live_server, flow)
    bench.open("Try it")
    bench.try_it('{"kilos": 30}')
    old = desk.locator("#fc-traces").get_by_text("before the last change")
    assert old.is_hidden()
    desk.locator("#row-heavy > .fc-line .fc-title").click()
    desk.get_by_label("Condition").first.fill("kilos > 25")
    desk.get_by_role("button", name="Save").click()
    old.wait_for()
    # The line of the row came anew; its trace is still there, and still read out.
    assert desk.locator("#row-heavy > .fc-line .fc-title").inner_text() == "If kilos > 25"
    assert bench.trace("heavy").startswith("taken kilos = 30")
    desk.locator("#row-mail > .fc-line .fc-title").focus()
    bench.press("Delete")
    assert desk.locator("#trace-mail").count() == 0
    bench.press("t")
    bench.panel.locator("#fc-try").wait_for()
    bench.try_it('{"kilos": 30}')
    assert old.is_hidden()
    assert bench.trace("heavy").startswith("taken kilos = 30")


def test_a_trial_brings_the_draft_that_somebody_else_has_changed(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    bench = Bench(desk, live_server, flow)
    bench.open("Try it")
    add_action(flow, "log", {"message": "{{ kilos }} in all"}, uid="new")
    bench.try_it('{"kilos": 30}')
    assert desk.locator("#fc-list [data-fc-row]").count() == 7
    assert "30 in all" in bench.trace("new")
    assert desk.locator("#fc-traces").get_by_text("before the last change").is_hidden()


def test_a_flow_is_tried_to_a_row_of_the_list(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    bench = Bench(desk, live_server, flow)
    title = desk.locator("#row-wait > .fc-line .fc-title")
    title.focus()
    bench.press("r")  # nobody knows yet what to start with
    bench.panel.locator("#fc-try").wait_for()
    assert bench.panel.get_by_label("Run to").input_value() == "wait"
    bench.try_it('{"kilos": 3}')
    assert "It comes to the row." in bench.panel.locator(".fc-outcome").inner_text()
    assert bench.trace("wait") == "stopped here"
    # Now it is known, for all rows, by the menu and by the form of a row as well.
    desk.locator("#row-light > .fc-line .fc-title").focus()
    bench.press("m")
    desk.get_by_role("menuitem", name="Run to here").click()
    desk.locator("#trace-light .fc-reached").wait_for()
    assert bench.trace("light") == "stopped here"
    desk.locator("#row-light > .fc-line .fc-title").focus()
    bench.press("h")
    assert desk.locator(".fc-trace").count() == 0
    desk.locator("#row-mail > .fc-line .fc-title").click()
    bench.panel.get_by_role("link", name="Run to here").click()
    bench.panel.get_by_text("It runs to its end.").wait_for()  # it does not come to this row
    assert bench.trace("mail") == "not reached"


def test_what_the_tests_reach_is_shown_on_the_rows_of_the_list(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    save_test(flow, "Heavy", state={"kilos": 30}, expectations={"state": {"way": "truck"}})
    bench = Bench(desk, live_server, flow)
    bench.open("Tests")
    assert desk.locator(".fc-trace").count() == 0
    bench.panel.get_by_role("button", name="Run all tests").click()
    bench.panel.get_by_text("The test passes.").wait_for()
    told = desk.locator("#fc-traces").inner_text()
    assert "The tests reach 66 % of the rows. No test comes to 2 rows." in told
    assert bench.trace("heavy") == "Tests: Heavy"
    assert bench.trace("light") == "no test comes here"
    bench.panel.locator(".fc-missed a").first.click()
    assert bench.focused == "Else"
    desk.locator("#fc-traces").get_by_role("button", name="Hide").click()
    assert desk.locator(".fc-trace").count() == 0


def test_everything_of_a_trial_is_done_by_keyboard_alone(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    box = Parcel.objects.create(label="box", weight=30)
    flow.content_type = ContentType.objects.get_for_model(Parcel)
    flow.save()
    bench = Bench(desk, live_server, flow)
    bench.tab_to("Try it")
    bench.press("Enter")
    bench.panel.locator("#fc-try").wait_for()
    assert bench.focused == "key"
    bench.keys.type("x")
    bench.press("Control+Enter")
    bench.panel.locator(".fc-invalid").wait_for()
    assert bench.focused == "key"  # there is no such parcel
    bench.keys.press("Backspace")
    bench.keys.type(str(box.pk))
    bench.tab_to("state")
    bench.keys.type('{"kilos": 30}')
    bench.tab_to("until")
    bench.tab_to("try")
    bench.press("Enter")
    bench.panel.locator(".fc-outcome").wait_for()
    assert bench.focused.startswith("complete It runs to its end.")

    # Reading what it did: effects, the state in the end, step by step.
    bench.tab_to("1.2 Send")
    bench.tab_to("{")  # each database has an order of keys of its own
    assert sorted(json.loads(bench.focused).items()) == [("kilos", 30), ("way", "truck")]
    bench.tab_to("Step by step")
    bench.press("Enter")
    assert bench.panel.locator(".fc-steps li").first.is_visible()

    # Back in the list, each row tells what it did; one goes on from there.
    bench.press("Escape", "End")
    assert bench.focused.startswith("Wait 2 days")
    assert "2 days later" in bench.trace("wait")
    bench.press("r")
    bench.panel.locator(".fc-outcome").wait_for()
    assert bench.focused.startswith("stopped here It comes to the row.")
    bench.tab_to("to_end")
    bench.press("Enter")
    bench.panel.get_by_text("It runs to its end.").wait_for()
    assert bench.focused.startswith("complete")

    bench.tab_to("test-name")
    bench.keys.type("Heavy")
    bench.press("Enter")
    bench.panel.get_by_text("is saved.").wait_for()
    assert bench.focused.startswith("The test “Heavy” is saved.")
    assert FlowTest.objects.get().object_id == str(box.pk)
    bench.tab_to("All tests")
    bench.press("Enter")
    bench.panel.get_by_role("heading", name="Tests", exact=True).wait_for()
    assert bench.focused == "Tests"
    bench.tab_to("Run all tests")
    bench.press("Enter")
    bench.panel.get_by_text("The test passes.").wait_for()
    assert bench.focused == "The test passes."
    bench.press("Escape")
    assert bench.focused.startswith("Wait 2 days")
    assert bench.trace("wait") == "Tests: Heavy"
    bench.tab_to("Hide", key="Shift+Tab")
    bench.press("Enter")
    assert desk.evaluate("document.activeElement.matches('#fc-list .fc-title')")
    assert desk.locator(".fc-trace").count() == 0


def test_traces_take_no_tab_stops_but_at_the_row_that_has_the_focus(
    desk: Page, live_server: LiveServer
) -> None:
    flow = create_flow("Rounds")
    rounds = [
        row("update_state", state={name: "n"}, evaluate=True, uid=name) for name in ("a", "b")
    ]
    replace_draft(flow, make_document(For(3, rounds, var_name="n", uid="for")))
    bench = Bench(desk, live_server, flow)
    bench.open("Try it")
    bench.try_it("{}")
    assert desk.locator(".fc-trace summary").count() == 2
    desk.locator("#row-a > .fc-line .fc-title").focus()
    bench.tab_to("Before that", most=3)
    bench.press("Enter")
    assert desk.locator("#trace-a .fc-entries").is_visible()
    bench.keys.press("ArrowDown")  # from there the keys of the list go on
    assert bench.focused == "Set b = n"
    tabbable = "summary:not([tabindex='-1'])"
    assert desk.locator(f"#fc-list {tabbable}").count() == 1


def test_a_trial_that_takes_long_says_so_and_a_second_click_asks_for_no_other(
    desk: Page, live_server: LiveServer, flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def slowly(*args: Any, **options: Any) -> Trial:
        tried.append(args)
        time.sleep(1.5)
        return try_flow(*args, **options)

    monkeypatch.setattr(trying, "try_flow", slowly)
    bench = Bench(desk, live_server, flow)
    bench.open("Try it")
    button = bench.panel.get_by_role("button", name="Try it")
    button.click()
    button.click()
    desk.locator("#fc-live").get_by_text("Working…").wait_for()
    bench.panel.locator(".fc-outcome").wait_for()
    desk.wait_for_function("document.getElementById('fc-live').textContent === ''")
    bench.settled()
    assert len(tried) == 1


def test_without_a_connection_nothing_typed_is_lost(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    bench = Bench(desk, live_server, flow)
    bench.open("Try it")
    state = bench.panel.get_by_label("Start state")
    state.fill('{"kilos": 30}')
    desk.context.set_offline(True)
    bench.panel.get_by_role("button", name="Try it").click()
    desk.get_by_role("alert").get_by_text("could not be reached").wait_for()
    assert state.input_value() == '{"kilos": 30}'
    desk.context.set_offline(False)
    bench.panel.get_by_role("button", name="Try it").click()
    bench.panel.locator(".fc-outcome").wait_for()
    assert desk.get_by_role("alert").inner_text() == ""


def in_both_schemes(desk: Page) -> Iterator[str]:
    for scheme in ("light", "dark"):
        desk.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        yield scheme


def test_the_pages_have_no_barriers_and_fit_on_a_phone(
    desk: Page, live_server: LiveServer, flow: Flow
) -> None:
    with_results(flow)
    found = []
    for _ in in_both_schemes(desk):
        desk.goto(live_server.url + url("flow_tests", flow.pk))
        found += barriers(desk)
        desk.goto(live_server.url + url("flow_try", flow.pk))
        desk.get_by_label("Start state").fill('{"kilos": 30}')
        desk.get_by_role("button", name="Try it").click()
        desk.locator(".fc-outcome").wait_for()
        for summary in desk.locator(".fc-try summary").all():
            summary.click()
        found += barriers(desk)
        desk.set_viewport_size({"width": 400, "height": 800})
        assert desk.evaluate("document.documentElement.scrollWidth") == 400
        desk.set_viewport_size({"width": 1280, "height": 900})
    assert found == []


def with_results(flow: Flow) -> None:
    save_test(flow, "Heavy", state={"kilos": 30}, expectations={"state": {"way": "truck"}})
    save_test(flow, "Light", state={"kilos": 3}, expectations={"state": {"way": "truck"}})
    run_tests(flow)


@pytest.mark.parametrize("locale", ["en", "ar"])
def test_beside_the_list_there_are_no_barriers_either(
    browser: Browser, live_server: LiveServer, policy: None, flow: Flow, locale: str
) -> None:
    """Light and dark, as narrow as a phone, and in both directions of writing."""
    with_results(flow)
    page = browser.new_page(locale=locale, viewport={"width": 1280, "height": 900})
    page.set_default_timeout(15_000)
    log_in(page, live_server)
    found = []

    def look() -> None:
        nonlocal found
        found += barriers(page)
        found += [f"twice: {each}" for each in ids_used_twice(page)]
        page.set_viewport_size({"width": 400, "height": 800})
        if page.evaluate("document.documentElement.scrollWidth") > 400:
            found.append("wider than a phone")
        page.set_viewport_size({"width": 1280, "height": 900})

    for scheme in in_both_schemes(page):
        bench = Bench(page, live_server, flow)
        assert page.evaluate("document.dir") == ("rtl" if locale == "ar" else "ltr"), scheme
        bench.open("Tests")
        look()
        bench.open("Try it")
        look()
        bench.try_it('{"kilos": 30}')
        for summary in bench.panel.locator("summary").all():
            summary.click()
        look()
        bench.try_it('{"kilos": "x"}')
        look()
    assert found == []
    page.close()


def test_who_may_only_look_sees_the_tests_and_what_they_reach_and_is_offered_nothing_more(
    browser: Browser, live_server: LiveServer, policy: None, flow: Flow
) -> None:
    with_results(flow)
    person(*VIEW, name="viewer")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(15_000)
    page.goto(f"{live_server.url}/admin/login/")
    page.fill("#id_username", "viewer")
    page.fill("#id_password", "secret")
    page.click("input[type=submit]")
    bench = Bench(page, live_server, flow)
    assert page.locator("#fc-toolbar").get_by_role("link", name="Try it").count() == 0
    bench.open("Tests")
    assert bench.trace("heavy") == "Tests: Heavy, Light"
    assert bench.panel.get_by_role("button").count() == 0
    assert barriers(page) == []
    page.locator("#row-heavy > .fc-line .fc-title").focus()
    bench.press("r", "t", "m")
    assert bench.panel.get_by_role("heading", name="Tests", exact=True).is_visible()
    assert page.locator("#fc-notice").inner_text() == ""
    page.close()


def ids_used_twice(page: Page) -> list[str]:
    twice: list[str] = page.evaluate(
        """() => {
            const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
            return [...new Set(ids.filter((id, at) => ids.indexOf(id) !== at))];
        }"""
    )
    return twice


def barriers(page: Page) -> list[str]:
    """What axe-core finds serious or critical, with the first place of each."""
    page.evaluate(AXE.read_text("utf-8"))
    page.wait_for_timeout(150)  # colours fade in
    result = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {violation['nodes'][0]['html'][:160]}"
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
