"""What expression fields ask the server: names, what an expression gives, an object to try with."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from demo.models import Airline, Airport, Flight, Notice
from flowcontrol import drafting
from flowcontrol.engine import start_flowrun
from flowcontrol.models import Flow, Trigger
from flowcontrol.publishing import publish
from flowcontrol.testing import make_flow, row
from tests.admin_pages import VIEW, client_of, uid_of, url

pytestmark = pytest.mark.django_db

SCHEMA = {
    "type": "object",
    "properties": {
        "reminders": {"type": "integer", "default": 2},
        "pin": {"type": "string", "format": "secret", "default": "1234"},
    },
}


@pytest.fixture
def flight() -> Flight:
    airports = [Airport.objects.create(code=code, name=code) for code in ("EWR", "ORD")]
    airline = Airline.objects.create(code="UA", name="United")
    return [
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
        for number in (60, 120)
    ][-1]


@pytest.fixture
def flow(flight: Flight) -> Flow:
    return make_flow(
        row("update_state", state={"rebooking": {"left": 0}}),
        row(
            "for",
            row("log", message="x"),
            row("if", row("stop"), condition="true"),
            start=1,
            end=3,
            var_name="day",
        ),
        content_type="demo.flight",
        state_schema=SCHEMA,
        name="Long delay",
    )


@pytest.fixture
def client() -> Client:
    return client_of(is_superuser=True)


def check(
    client: Client, flow: Flow, text: str, kind: str = "value", **more: Any
) -> dict[str, Any]:
    answer = client.post(
        url("flow_check_expression", flow.pk), {"text": text, "kind": kind, **more}
    )
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


def names(client: Client, flow: Flow, **place: str) -> dict[str, dict[str, Any]]:
    answer = client.get(url("flow_expression_names", flow.pk), place)
    assert answer.status_code == 200
    return {each["name"]: each for each in answer.json()["names"]}


def test_names_come_with_types_and_what_they_are_for_the_newest_object(
    client: Client, flow: Flow
) -> None:
    found = names(client, flow, row=uid_of(flow, "log"))
    assert found["object.delay"]["sample"] == "120"
    assert found["object.delay"]["typeWords"] == "whole number"
    assert found["object.origin.name"]["sample"] == '"EWR"'
    assert found["reminders"]["sample"] == "2"
    assert found["day"]["sample"] == "1"
    assert found["day"]["source"] == "Loop"
    choice = {"source": '"delayed"', "plain": "delayed", "label": "Delayed"}
    assert choice in found["object.status"]["choices"]


def test_names_are_those_at_the_row(client: Client, flow: Flow) -> None:
    assert "day" not in names(client, flow, row=uid_of(flow, "update_state"))
    assert "rebooking" not in names(client, flow, row=uid_of(flow, "update_state"))
    assert "rebooking" in names(client, flow)  # anywhere, for the keep-condition
    # What a row before has written out is what it is, as long as no run says otherwise.
    assert names(client, flow, row=uid_of(flow, "log"))["rebooking.left"]["sample"] == "0"
    at_trigger = names(client, flow, triggers="demo.flight_changed")
    assert "trigger.delay" in at_trigger
    assert "rebooking" not in at_trigger
    new = names(client, flow, row=uid_of(flow, "for"), position="last", action="log")
    assert "day" in new


def test_the_state_of_the_newest_run_shows_what_is_in_its_records(
    client: Client, flow: Flow, flight: Flight
) -> None:
    drafting.edit_action(flow, uid_of(flow, "update_state"), config={"state": {"a": {"left": 3}}})
    publish(flow)
    start_flowrun(flow, flight, state={"reminders": 7, "pin": "9876"})
    found = names(client, flow)
    assert found["a.left"]["sample"] == "3"
    assert found["reminders"]["sample"] == "7"
    seer = client_of(*VIEW, "change_flow", name="kim")
    give(seer, "demo", "view_flight")
    assert names(seer, flow)["pin"]["sample"] != '"9876"'


def give(client: Client, app: str, right: str) -> None:
    user = User.objects.get(pk=client.session["_auth_user_id"])
    user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=right))


def test_who_may_not_see_runs_gets_no_state_of_one(flow: Flow, flight: Flight) -> None:
    publish(flow)
    start_flowrun(flow, flight, state={"reminders": 7})
    author = client_of("view_flow", "change_flow")
    assert names(author, flow)["reminders"]["sample"] == "2"


def test_who_may_not_see_the_objects_gets_names_without_values(flow: Flow) -> None:
    author = client_of(*VIEW, "change_flow")
    found = names(author, flow)
    assert "object.delay" in found
    assert found["object.delay"]["sample"] is None
    told = check(author, flow, "object.delay > 5")
    assert "120" not in str(told)
    answer = author.get(url("flow_expression_sample", flow.pk)).json()
    assert (answer["found"], answer["chosen"]) == ([], None)
    assert "may not view" in answer["note"]
    # Nor by its key.
    posted = author.post(
        url("flow_expression_sample", flow.pk),
        {"key": str(Flight.objects.values_list("pk", flat=True)[0])},
    )
    assert posted.json()["error"]


@pytest.mark.parametrize(
    ("text", "kind", "shown", "type_"),
    [
        ("object.delay|divide:60", "value", "2", "integer"),
        ("object.code|lower", "value", '"ua 120"', "text"),
        ("object.day", "value", '"2013-02-04"', "date"),
        ("object.scheduled_departure", "value", "2013-02-04 05:00-05:00", "datetime"),
        ("object.origin", "value", "Airport EWR", "object"),
        ("object.vouchers.count", "value", "0", "integer"),
        ("reminders > 1 and object.is_waiting", "condition", "true", "boolean"),
        ("{{ object.code }} is {{ object.delay }} late", "template", "UA 120 is 120 late", "text"),
        ("no_such_key", "value", "null", "any"),
    ],
)
def test_an_expression_gives_what_it_would_give_in_a_run(
    text: str, kind: str, shown: str, type_: str, client: Client, flow: Flow
) -> None:
    told = check(client, flow, text, kind)
    assert (told["shown"], told["type"]) == (shown, type_)
    assert not told["mistake"]
    assert not told["trouble"]


def test_a_condition_tells_whether_it_holds_and_what_was_read(client: Client, flow: Flow) -> None:
    told = check(client, flow, "object.delay > 100", "condition")
    assert told["holds"] is True
    assert told["reads"] == [["object.delay", "120"]]
    assert told["drawing"]["left"] == "object.delay"
    assert check(client, flow, "5 < object.delay", "condition")["drawing"] is None


def test_a_mistake_is_told_with_its_place(client: Client, flow: Flow) -> None:
    told = check(client, flow, "object.delay >")
    assert told["position"] == 14
    assert "a value is missing" in told["mistake"]
    told = check(client, flow, "Dear {{ object.code|uper }}", "template")
    assert "Did you mean upper" in told["mistake"]
    assert told["position"] == 20


def test_trouble_with_values_names_them_and_is_no_mistake(client: Client, flow: Flow) -> None:
    told = check(client, flow, "object.status > 5")
    assert not told["mistake"]
    assert 'object.status = "delayed"' in told["trouble"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("object.del > 5", ["Flight has no “del”. Did you mean delay?"]),
        ("object.origin.nam", ["Airport has no “nam”. Did you mean name?"]),
        ("object.status_before|default:1", []),
        ("object.vouchers.first.kind", []),
        ("reminder", ["Nothing before this row sets “reminder”. Did you mean reminders?"]),
        ("trigger.whatever and now and reminders", []),
    ],
)
def test_names_that_mean_nothing_are_told(
    text: str, told: list[str], client: Client, flow: Flow
) -> None:
    assert check(client, flow, text)["strange"] == told
    assert check(client, flow, f"{{{{ {text} }}}}", "template")["strange"] == told


def test_loop_variables_have_the_value_of_the_first_round(client: Client, flow: Flow) -> None:
    assert check(client, flow, "day|add:1", row=uid_of(flow, "log"))["shown"] == "2"


def test_a_state_can_be_given_to_try_with(client: Client, flow: Flow) -> None:
    assert check(client, flow, "reminders", state='{"reminders": 40}')["shown"] == "40"
    assert check(client, flow, "reminders", state="[1]")["stateError"]
    assert check(client, flow, "reminders", state="{")["stateError"]


def test_nothing_typed_is_no_mistake(client: Client, flow: Flow) -> None:
    assert check(client, flow, "  ")["empty"] is True


def test_the_fields_that_are_not_exposed_cannot_be_read(
    client: Client, flow: Flow, settings: Any
) -> None:
    settings.FLOWCONTROL_EXPOSED_FIELDS = {"demo.flight": ["delay"]}
    assert check(client, flow, "object.delay")["shown"] == "120"
    assert "FLOWCONTROL_EXPOSED_FIELDS" in check(client, flow, "object.status")["trouble"]
    assert "object.status" not in names(client, flow)


def test_nothing_is_written_by_trying(
    client: Client, flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def writes(flight: Flight) -> int:
        Notice.objects.create(
            flight=flight,
            station=flight.origin,
            subject="x",
            text="x",
            sent_at=datetime(2013, 2, 4, tzinfo=UTC),
            step_key="x",
        )
        return 1

    monkeypatch.setattr(Flight, "writes", property(writes), raising=False)
    told = check(client, flow, "object.writes")
    assert "would change the database" in told["trouble"]
    assert not Notice.objects.exists()
    # And a list of names survives it.
    assert names(client, flow)["object.writes"]["sample"] is None


def test_what_would_take_long_is_refused(client: Client, flow: Flow) -> None:
    items = "a " * 1000
    loops = f'{{% for a in "{items}"|split %}}' * 5 + "x" + "{% endfor %}" * 5
    assert "too many steps" in check(client, flow, loops, "template")["trouble"]
    many = "{% for a in s %}{{ object.vouchers.count }}{% endfor %}"
    told = check(client, flow, many, "template", state='{"s": [' + ",".join("1" * 100) + "]}")
    assert "too much" in told["trouble"]
    assert "20000" in check(client, flow, "x" * 20_001, "template")["trouble"]


def test_what_is_long_is_cut_short(client: Client, flow: Flow) -> None:
    told = check(client, flow, "s", state='{"s": "' + "x" * 9000 + '"}')
    assert len(told["shown"]) == 500


def test_a_sample_is_found_chosen_and_remembered(
    client: Client, flow: Flow, flight: Flight
) -> None:
    page = url("flow_expression_sample", flow.pk)
    other = Flight.objects.get(number=60)
    assert client.get(page).json()["chosen"] == {"key": str(flight.pk), "label": str(flight)}
    found = client.get(page, {"q": str(other.pk)}).json()["found"]
    assert str(other.pk) in [each["key"] for each in found]
    assert client.post(page, {"key": str(other.pk)}).json()["chosen"]["key"] == str(other.pk)
    assert check(client, flow, "object.delay")["shown"] == "60"
    # For this flow only, and until it is forgotten.
    second = make_flow(row("log", message="x"), content_type="demo.flight", name="Other")
    assert check(client, second, "object.delay")["shown"] == "120"
    client.post(page, {"key": ""})
    assert check(client, flow, "object.delay")["shown"] == "120"


@pytest.mark.parametrize("key", ["999999", "abc", "9" * 40, "1e5", "\x00"])
def test_a_sample_that_is_none_is_refused(key: str, client: Client, flow: Flow) -> None:
    answer = client.post(url("flow_expression_sample", flow.pk), {"key": key}).json()
    assert answer["error"]
    assert answer["chosen"] is not None
    assert client.get(url("flow_expression_sample", flow.pk), {"q": key}).status_code == 200


def test_a_chosen_object_that_is_gone_gives_way_to_the_newest(
    client: Client, flow: Flow, flight: Flight
) -> None:
    other = Flight.objects.get(number=60)
    client.post(url("flow_expression_sample", flow.pk), {"key": str(other.pk)})
    other.delete()
    assert check(client, flow, "object.delay")["shown"] == "120"


def test_a_flow_without_an_object_says_so(client: Client) -> None:
    flow = make_flow(row("log", message="x"), name="Plain")
    answer = client.get(url("flow_expression_names", flow.pk)).json()
    assert answer["sample"]["note"] == "The flow is about no object."
    assert check(client, flow, "object")["shown"] == "null"


def test_rows_of_another_flow_tell_nothing(client: Client, flow: Flow) -> None:
    other = make_flow(row("update_state", state={"theirs": 1}), row("log", message="x"), name="B")
    assert "theirs" not in names(client, flow, row=uid_of(other, "log"))


def test_it_takes_the_right_to_change_the_flow_and_a_token(flow: Flow) -> None:
    looker = client_of(*VIEW)
    page = url("flow_check_expression", flow.pk)
    assert looker.post(page, {"text": "1"}).status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_superuser("root"))
    assert strict.post(page, {"text": "1"}).status_code == 403


def test_the_fields_of_a_row_know_where_they_stand(client: Client, flow: Flow) -> None:
    base = url("flow_expression_names", flow.pk).removesuffix("names/")
    page = client.get(url("flow_row", flow.pk, uid_of(flow, "if"))).content.decode()
    assert 'data-fc-expression="condition"' in page
    assert f'data-fc-base="{base}"' in page
    assert f'data-fc-place="row={uid_of(flow, "if")}"' in page
    assert (
        'data-fc-expression="template"'
        in client.get(url("flow_row", flow.pk, uid_of(flow, "log"))).content.decode()
    )
    assert "flowcontrol/expressions/fields.js" in page


@pytest.mark.parametrize(
    ("action", "field", "kind", "switch"),
    [
        ("update_state", "state", "value", "config-evaluate"),
        ("set_state", "state", "value", "config-evaluate"),
        ("set_fields", "fields", "value", "config-evaluate"),
        ("update_matching", "where", "value", "config-evaluate"),
        ("start_flow", "state", "value", "config-evaluate"),
        ("call_webhook", "json", "template", ""),
        ("call_webhook", "headers", "template", ""),
    ],
)
def test_json_with_expressions_in_its_texts_says_so(
    client: Client, flow: Flow, action: str, field: str, kind: str, switch: str
) -> None:
    drafting.add_action(flow, action, uid="here")
    page = client.get(url("flow_row", flow.pk, "here")).content.decode()
    [area] = re.findall(rf'<textarea name="config-{field}"[^>]*>', page)
    assert f'data-fc-expression="{kind}"' in area
    assert 'data-fc-inside="json"' in area
    assert 'data-fc-place="row=here"' in area
    assert (f'data-fc-if="{switch}"' in area) == bool(switch)


def test_json_without_expressions_is_left_alone(client: Client, flow: Flow) -> None:
    drafting.add_action(flow, "ask_person", uid="here")
    page = client.get(url("flow_row", flow.pk, "here")).content.decode()
    [area] = re.findall(r'<textarea name="config-form"[^>]*>', page)
    assert "data-fc-expression" not in area


def test_the_conditions_of_triggers_and_the_keep_condition_are_helped_too(
    client: Client, flow: Flow
) -> None:
    trigger = Trigger.objects.create(name="demo.flight_changed", flow=flow)
    page = client.get(url("flow_change", flow.pk)).content.decode()
    assert 'data-fc-expression="condition"' in page
    assert "flowcontrol/expressions/fields.js" in page
    for address in (url("flow_trigger", flow.pk, trigger.pk), url("trigger_change", trigger.pk)):
        page = client.get(address).content.decode()
        assert 'data-fc-trigger-field="name"' in page
        assert 'data-fc-place="triggers=demo.flight_changed"' in page
        assert page.count("flowcontrol/expressions/fields.js") == 1


def test_asking_for_names_takes_few_queries(
    client: Client, flow: Flow, django_assert_max_num_queries: Any
) -> None:
    names(client, flow)
    with django_assert_max_num_queries(16):
        names(client, flow, row=uid_of(flow, "log"))
