"""Every page of the admin, and every panel on one: what tests of looks and of barriers visit.

:data:`LOOKS` says for each address how it is looked at, :data:`NOT_LOOKED_AT` why one is not.
``tests/guards/test_every_page.py`` compares both with the addresses that there are, so that a new
page has to be given a place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from demo.models import Airline, Airport, Flight
from flowcontrol import drafting
from flowcontrol.engine import start_flowrun
from flowcontrol.flowtests import save_test
from flowcontrol.models import Firing, Flow, FlowRun, FlowTest, HumanTask, Trigger
from flowcontrol.presence import come
from flowcontrol.publishing import publish
from flowcontrol.registry import actions
from flowcontrol.testing import Delay, Else, For, If, Log, Stop, make_flow, row, run_until_idle
from flowcontrol.transfer import export_text
from tests.admin_pages import url

if TYPE_CHECKING:
    from playwright.sync_api import Page

    Act = Callable[[Page], None]

LONG: Final = "Unbreakable" * 6
"""A word that no line can be broken in."""

STATE_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "default": 1, "description": "How often it was late."},
        "bay": {"type": "string", "enum": ["A", "B"]},
        "since": {"type": "string", "format": "date"},
        "urgent": {"type": "boolean", "default": False},
        "more": {"type": "array", "items": {"type": "object"}},
        LONG: {"type": "string"},
    },
    "required": ["n"],
}


# --- one of everything ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """One of everything that a page can be about, with long words in all of it."""

    flow: Flow
    every_type: Flow
    empty: Flow
    waiting: FlowRun
    failed: FlowRun
    done: FlowRun
    trigger: Trigger
    firing: Firing
    task: HumanTask
    test: FlowTest
    flight: Flight
    file: str


def make_site() -> Site:
    flight = make_flight()
    flow = make_flow(
        Log("Flight {{ object }} is late", label="Tell the desk", note=LONG, uid="tell"),
        If("n > 1", [For(3, [Delay("PT1H"), Log(LONG, uid="log")], var_name="i")], uid="if"),
        Else([If("n == 1", [row("fail", message="No seats left")])], uid="else"),
        row("log", message=LONG, result_key=LONG, uid="note"),
        Stop(),
        name="Late flight, and what the desk does about it on the day and the day after",
        description="What the desk does about a late flight.",
        content_type="demo.flight",
        state_schema=STATE_SCHEMA,
    )
    runs = [start_flowrun(flow, flight, state={"n": n, "x": LONG * 3}) for n in (2, 1, 0)]
    _make_task(flight)
    run_until_idle()
    drafting.edit_action(flow, "log", config={"message": "Once more"}, note=LONG)
    publish(flow, note=f"Louder: {LONG}")
    _edit(flow)
    trigger = Trigger.objects.create(
        name="demo.flight_cancelled", flow=flow, condition="object.delay > 60"
    )
    firing = Firing.objects.create(
        name="demo.flight_changed", at=timezone.now(), payload={"delay": 70, "why": LONG * 2}
    )
    test = save_test(flow, f"A test {LONG}", expectations={"outcome": "complete"})
    come(flow, User.objects.create_user("kim"))
    waiting, failed, done = (FlowRun.objects.get(pk=run.pk) for run in runs)
    assert [waiting.status, failed.status, done.status] == ["waiting", "failed", "done"]
    return Site(
        flow=flow,
        every_type=_make_every_type(),
        empty=drafting.create_flow("Nothing yet"),
        waiting=waiting,
        failed=failed,
        done=done,
        trigger=trigger,
        firing=firing,
        task=HumanTask.objects.get(),
        test=test,
        flight=flight,
        file=export_text(flow),
    )


def make_flight() -> Flight:
    Airline.objects.create(code="UA", name="United")
    for code in ("EWR", "ORD"):
        Airport.objects.create(code=code, name=f"{code} {LONG}"[:40], time_zone="America/New_York")
    noon = datetime(2013, 2, 4, 12, tzinfo=UTC)
    return Flight.objects.create(
        airline_id="UA",
        number=1117,
        day=noon.date(),
        origin_id="EWR",
        destination_id="ORD",
        distance=719,
        scheduled_departure=noon,
        scheduled_arrival=noon,
        delay=90,
    )


def _make_task(flight: Flight) -> None:
    form = {
        "type": "object",
        "properties": {"seats": {"type": "integer"}, "where": {"enum": ["aisle", "window"]}},
        "required": ["seats"],
    }
    question = row(
        "ask_person",
        title="Which seats?",
        text=f"Three people missed their connection. {LONG}",
        form=form,
        buttons=["book = Book them", "wait = Let them wait"],
        permission="flowcontrol.answer_any_humantask",
    )
    flow = make_flow(question, name="Stranded", content_type="demo.flight")
    start_flowrun(flow, flight)


def _edit(flow: Flow) -> None:
    """Change the draft in every way, and leave it with errors and warnings."""
    drafting.move_action(flow, "tell", target="else", position="after")
    drafting.set_enabled(flow, "note", False)
    drafting.add_action(flow, "group", {"title": "Afterwards"}, uid="group")
    drafting.add_action(flow, "else", uid="lost")
    drafting.add_action(flow, "if", {"condition": f"{LONG} >"}, uid="wrong", target="group")


def _make_every_type() -> Flow:
    """A row of each type, as it is when it has just been added."""
    flow = drafting.create_flow("Everything")
    for action_type in actions:
        drafting.add_action(flow, action_type.name, uid=action_type.name)
    return flow


# --- what is done on a page, to see more of it ----------------------------------------------------


def _rows_are_there(page: Page) -> None:
    page.wait_for_selector(".fc-scripted #fc-list .fc-title")


def _first_row(page: Page) -> None:
    _rows_are_there(page)
    page.locator("#fc-list .fc-title").first.focus()


def _menu(page: Page) -> None:
    _first_row(page)
    page.keyboard.press("m")
    page.wait_for_selector("#fc-menu:not([hidden])")


def _picker(page: Page) -> None:
    _first_row(page)
    page.keyboard.press("a")
    page.wait_for_selector(".fc-choice.fc-active")


def _help(page: Page) -> None:
    _first_row(page)
    page.keyboard.press("Shift+?")
    page.wait_for_selector("#fc-help-dialog[open]")


def _extract(page: Page) -> None:
    _menu(page)
    page.locator("#fc-menu [data-fc-verb=extract]").click()
    page.wait_for_selector("#fc-ask[open]")


def _selected(page: Page) -> None:
    _first_row(page)
    page.keyboard.press("Control+a")
    page.wait_for_selector("#fc-selected:not([hidden])")


def _settings(page: Page) -> None:
    _rows_are_there(page)
    page.locator("#fc-toolbar .fc-tools a").last.click()
    page.wait_for_selector("#fc-panel [data-fc-settings]")


def _trigger(page: Page) -> None:
    _rows_are_there(page)
    page.locator("#fc-starts a.fc-start").first.click()
    page.wait_for_selector("#fc-panel [data-fc-settings]")


def _refused(page: Page) -> None:
    """What is said when the draft is another by now."""
    _first_row(page)
    page.evaluate("flowcontrol.builder.revision -= 1")
    page.keyboard.press("d")
    page.wait_for_selector("#fc-notice:not(:empty)")


def _open(name: str) -> Act:
    """Open a row beside the list."""

    def act(page: Page) -> None:
        _rows_are_there(page)
        page.locator(f"#row-{quote(name)} > .fc-line .fc-title").click()
        page.wait_for_selector(f"[data-fc-of='{quote(name)}']")

    return act


def _computed(page: Page) -> None:
    """Show all that the form of a row has, with every value computed."""
    _rows_are_there(page)
    _open_all(page)
    for switch in page.locator("#fc-panel .fc-switch input[value=computed]").all():
        switch.check()


def _conditions(page: Page) -> None:
    """Show the condition of the row that is open as groups and rows."""
    page.locator("#fc-panel .fc-x-tool").first.wait_for()
    page.locator("#id_config-condition").fill("n > 1 and not (object.delay > 5 or urgent)")
    page.locator("#fc-panel .fc-x-status.is-fine").first.wait_for()
    page.locator("#fc-panel .fc-x-tool").first.click()
    page.wait_for_selector("#fc-panel .fc-c-group .fc-c-group")


def _open_all(page: Page) -> None:
    page.eval_on_selector_all("details", "(all) => all.forEach((each) => { each.open = true; })")


def _send(page: Page) -> None:
    """Send the form of the page as it is."""
    page.locator("#content-main form .fc-main").last.click()
    page.wait_for_load_state()


def _send_nonsense(page: Page) -> None:
    """Fill in what cannot be right, and send it."""
    for name in ("max_concurrent", "state-n", "retention"):
        field = page.locator(f"[name={name}]")
        if field.count():
            field.evaluate("(input) => { input.type = 'text'; input.value = 'many'; }")
    _send(page)


def _read_file(text: str) -> Act:
    def act(page: Page) -> None:
        file: Any = {"name": "flow.json", "mimeType": "application/json", "buffer": text.encode()}
        page.locator("input[type=file]").set_input_files([file])
        _send(page)

    return act


def _do_with_all(action: str) -> Act:
    """Choose an action for all rows of Django's list."""

    def act(page: Page) -> None:
        page.locator("#action-toggle").check()
        page.locator("select[name=action]").select_option(action)
        page.locator("button[name=index]").click()
        page.wait_for_load_state()

    return act


def _choose_flow(page: Page) -> None:
    page.locator(".fc-flows button").first.click()
    page.wait_for_load_state()


# --- the pages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """An address, and what is done there: it is looked at at first and after each act."""

    path: str
    acts: tuple[Act, ...] = ()


def _builder(site: Site) -> Iterator[Look]:
    path = url("flow_actions", site.flow.pk)
    yield Look(path)
    for act in (_menu, _picker, _help, _extract, _selected, _settings, _trigger, _refused):
        yield Look(path, (act,))
    yield Look(path, (_open("if"), _conditions))
    yield Look(url("flow_actions", site.empty.pk))


def _operations(site: Site) -> Iterator[Look]:
    for verb in ("run_now", "pause", "go_to", "edit_state", "cancel"):
        yield Look(url("flowrun_operate", site.waiting.pk, verb))
    for verb in ("retry", "close"):
        yield Look(url("flowrun_operate", site.failed.pk, verb))
    # Without the reason that it asks for.
    yield Look(url("flowrun_operate", site.waiting.pk, "edit_state"), (_send,))


LOOKS: Final[Mapping[str, Callable[[Site], list[Look]]]] = {
    "flow_changelist": lambda site: [
        Look(url("flow_changelist")),
        Look(f"{url('flow_changelist')}?q=nothing"),
    ],
    "flow_add": lambda _site: [Look(url("flow_add"))],
    "flow_history": lambda site: [Look(url("flow_history", site.flow.pk))],
    "flow_change": lambda site: [
        Look(url("flow_change", site.flow.pk), (_open_all, _send_nonsense)),
    ],
    "flow_delete": lambda site: [Look(url("flow_delete", site.flow.pk))],
    "flow_actions": lambda site: list(_builder(site)),
    "flow_add_row": lambda site: [Look(url("flow_add_row", site.flow.pk))],
    "flow_row": lambda site: [
        Look(url("flow_row", site.flow.pk, uid)) for uid in ("if", "log", "wrong")
    ],
    "flow_extract_rows": lambda site: [
        Look(f"{url('flow_extract_rows', site.flow.pk)}?row=if&row=group"),
    ],
    "flow_import": lambda site: [Look(url("flow_import"), (_read_file(site.file),))],
    "flow_import_into": lambda site: [
        Look(url("flow_import_into", site.flow.pk), (_read_file(site.file), _open_all)),
    ],
    "flow_drawing": lambda site: [Look(url("flow_drawing", site.flow.pk))],
    "flow_compare": lambda site: [
        Look(f"{url('flow_compare', site.flow.pk)}?before=1&after=draft"),
    ],
    "flow_move_runs": lambda site: [Look(url("flow_move_runs", site.flow.pk, 2))],
    "flow_publish": lambda site: [
        Look(url("flow_publish", site.flow.pk)),
        Look(url("flow_publish", site.empty.pk)),
    ],
    "flow_versions": lambda site: [
        Look(url("flow_versions", site.flow.pk)),
        Look(url("flow_versions", site.empty.pk)),
    ],
    "flow_version": lambda site: [Look(url("flow_version", site.flow.pk, 1), (_open_all,))],
    "flow_roll_back": lambda site: [Look(url("flow_roll_back", site.flow.pk, 1))],
    "flow_load_version": lambda site: [Look(url("flow_load_version", site.flow.pk, 1))],
    "flow_start": lambda site: [Look(url("flow_start", site.flow.pk), (_send_nonsense,))],
    "flow_duplicate": lambda site: [Look(url("flow_duplicate", site.flow.pk))],
    "flow_add_trigger": lambda site: [Look(url("flow_add_trigger", site.flow.pk), (_send,))],
    "flow_trigger": lambda site: [Look(url("flow_trigger", site.flow.pk, site.trigger.pk))],
    "flowrun_changelist": lambda site: [
        Look(url("flowrun_changelist"), (_do_with_all("cancel"),)),
        Look(f"{url('flowrun_changelist')}?q=nothing"),
    ],
    "flowrun_history": lambda site: [Look(url("flowrun_history", site.failed.pk))],
    "flowrun_change": lambda site: [
        Look(url("flowrun_change", run.pk), (_open_all,))
        for run in (site.waiting, site.failed, site.done)
    ],
    "flowrun_drawing": lambda site: [Look(url("flowrun_drawing", site.failed.pk))],
    "flowrun_operate": lambda site: list(_operations(site)),
    "trigger_changelist": lambda _site: [Look(url("trigger_changelist"))],
    "trigger_add": lambda _site: [Look(url("trigger_add"))],
    "trigger_history": lambda site: [Look(url("trigger_history", site.trigger.pk))],
    "trigger_delete": lambda site: [Look(url("trigger_delete", site.trigger.pk))],
    "trigger_change": lambda site: [Look(url("trigger_change", site.trigger.pk))],
    "firing_changelist": lambda _site: [Look(url("firing_changelist"))],
    "firing_history": lambda site: [Look(url("firing_history", site.firing.pk))],
    "firing_change": lambda site: [Look(url("firing_change", site.firing.pk))],
    "humantask_changelist": lambda _site: [Look(url("humantask_changelist"))],
    "humantask_history": lambda site: [Look(url("humantask_history", site.task.pk))],
    "humantask_change": lambda site: [Look(url("humantask_change", site.task.pk), (_send,))],
}

ONLY_POSTED: Final = frozenset(
    f"flow_{name}"
    for name in (
        *("move_rows", "duplicate_rows", "switch_rows", "delete_rows", "wrap_rows", "unwrap_row"),
        *("copy_rows", "cut_rows", "paste_rows", "undo", "redo", "presence"),
        *("check_expression", "convert_schema", "switch_trigger", "remove_trigger", "delete_test"),
        *("switch", "pause"),
    )
)
NOBODY_MAY: Final = frozenset(
    f"{model}_{verb}" for model in ("flowrun", "firing", "humantask") for verb in ("add", "delete")
)

NOT_LOOKED_AT: Final[Mapping[str, str]] = {
    **dict.fromkeys(ONLY_POSTED, "It takes a POST and answers with a part of a page, or leads on."),
    **dict.fromkeys(NOBODY_MAY, "Nobody has the right."),
    "flow_expression_names": "It answers with JSON.",
    "flow_expression_sample": "It answers with JSON.",
    "flow_export": "It answers with a file.",
    "flow_try": "tests/acceptance/test_trying.py looks at it.",
    "flow_tests": "tests/acceptance/test_trying.py looks at it.",
}


def looks_at_the_host(site: Site) -> list[Look]:
    """The pages of the host site that have something of ours on them."""
    flights = reverse("admin:demo_flight_changelist")
    return [
        Look(reverse("admin:demo_flight_change", args=(site.flight.pk,))),
        Look(flights, (_do_with_all("start_flow"), _choose_flow, _send_nonsense)),
        Look(reverse("admin:app_list", args=("flowcontrol",))),
    ]


def looks_at_every_type(site: Site) -> list[Look]:
    """The form of each type of action, with its values fixed, then computed."""
    return [
        Look(url("flow_row", site.every_type.pk, quote(each.name)), (_computed,))
        for each in actions
    ]


def all_looks(site: Site, *, every_type: bool = True) -> list[Look]:
    """Everything that can be looked at; the forms of all types of action only if asked for."""
    ours = [look for looks in LOOKS.values() for look in looks(site)]
    types = looks_at_every_type(site) if every_type else []
    return [*ours, *looks_at_the_host(site), *types]
