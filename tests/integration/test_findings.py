"""What the checker says of a draft: one flow for each thing that it finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from django.utils import timezone, translation

from flowcontrol.base import BaseAction, RunHandle
from flowcontrol.dataflow import reads_names, sets_names
from flowcontrol.documents import JSONObject, make_document
from flowcontrol.drafting import MAX_DEPTH, create_flow, draft_document, replace_draft
from flowcontrol.findings import FIXES, Finding, find_all
from flowcontrol.models import Flow
from flowcontrol.names import Place, known_at_rows, names_at
from flowcontrol.publishing import publish
from flowcontrol.registry import actions, register_trigger, triggers
from flowcontrol.testing import (
    Branch,
    Break,
    Delay,
    Else,
    ElseIf,
    Fail,
    For,
    Group,
    If,
    Leave,
    Log,
    Parallel,
    SetState,
    StartFlow,
    Stop,
    UpdateState,
    While,
    make_flow,
    row,
)

pytestmark = pytest.mark.django_db


class Page(BaseAction):
    """A type with what the built-in ones do not have yet."""

    name = "test.page"
    verbose_name = "Page passengers"
    state_keys = ("gate",)
    effects = "none"
    config_schema = {
        "type": "object",
        "properties": {
            "on": {"type": "string", "format": "trigger"},
            "flow": {"type": "string", "format": "flow"},
            "text": {"type": "string", "format": "template"},
        },
    }
    labels = {"text": "Announcement"}
    schema_version = 2

    def run(self, *, run: RunHandle, obj: Any, config: Any) -> None:
        return None

    @classmethod
    def upgrade_config(cls, config: dict[str, Any], from_version: int) -> dict[str, Any]:
        return {"text": config["message"]}

    @classmethod
    def check_config(cls, config: Any) -> list[tuple[str, str, str]]:
        if config.get("text") == "loud":
            return [("error", "text", "Too loud."), ("warning", "", "Be quiet.")]
        return []


@pytest.fixture(autouse=True)
def _page() -> Iterator[None]:
    with actions.temporarily(Page), triggers.temporarily():
        yield


def findings(*rows: JSONObject, flow: Flow | None = None, **fields: Any) -> list[Finding]:
    return find_all(make_document(*rows, **fields), flow=flow)


def told(*rows: JSONObject, flow: Flow | None = None, **fields: Any) -> list[tuple[str, str, str]]:
    """Code, row and field of all findings."""
    return [(each.code, each.uid, each.field) for each in findings(*rows, flow=flow, **fields)]


def only(*rows: JSONObject, flow: Flow | None = None, **fields: Any) -> Finding:
    """The one finding that there is to be."""
    [finding] = findings(*rows, flow=flow, **fields)
    return finding


def test_a_sound_flow_has_no_findings():
    rows = [
        UpdateState(n="0"),
        While("n < 3", [UpdateState(n="n|add:1"), Delay("PT1H")]),
        If("n == 3", [Log("{{ n }}")]),
        ElseIf("object.pk", [Stop("{{ run.pk }}")]),
        Else([For(2, [Log("{{ i }}"), Break("i == 1", "loop")], var_name="i")]),
    ]
    assert findings(*rows) == []


def test_every_finding_says_what_to_do():
    for finding in everything_wrong():
        assert finding.fix == str(FIXES[finding.code])
        assert finding.fix.endswith(".")
        assert finding.message
        assert finding.to_json() == {
            "severity": finding.severity,
            "code": finding.code,
            "uid": finding.uid,
            "field": finding.field,
            "message": finding.message,
            "fix": finding.fix,
        }


def everything_wrong() -> list[Finding]:
    """All codes at once."""
    deep = Group([Log("x")])
    for _level in range(MAX_DEPTH):
        deep = Group([deep])
    flow = create_flow("Late flight")
    return (
        findings(
            deep,
            row("shop.gone"),
            row("log", retry={"attempts": 0}, result_key="now"),
            Else([]),
            row("log", Log("x"), message="x"),
            Leave(target="loop"),
            StartFlow("nowhere"),
            StartFlow(flow.slug),
            StartFlow(create_flow("A plan").slug),
            StartFlow(switched_off("Winter").slug),
            row("fail", message="x", on_error={"then": "dance"}),
            row("parallel", *[row("branch", Log("x"), keys=["n"]) for _number in range(2)]),
            row("test.page", on="nothing"),
            row("ask_person", title="Who?", users=["nobody"]),
            While("stays", []),
            flow=flow,
            condition="1 +",
            state_schema={"type": "text"},
        )
        + findings(Log("{{ unset }}", enabled=False))
        + findings(
            Log("{{ unset }} {{ later }} {{ object.wieght }}"),
            UpdateState(later="1"),
            content_type="testapp.parcel",
        )
        + wrong_identities()
    )


def switched_off(name: str) -> Flow:
    """A flow with a live version that is off."""
    flow = make_flow(Log("x"), name=name)
    Flow.objects.filter(pk=flow.pk).update(active_at=None)
    return flow


def wrong_identities() -> list[Finding]:
    """Flows that change objects: one acts as nobody, one as a user without rights."""
    User.objects.create_user("newcomer")
    item = row("create_object", model="testapp.parcel", fields={"label": "x"})
    with override_settings(FLOWCONTROL_CONTENT_TYPES=["testapp.parcel"]):
        return [found for name in (None, "newcomer") for found in findings(item, identity=name)]


def test_the_list_of_fixes_is_complete():
    of_tests = {"test-broken", "test-failed"}  # found where the tests of a flow are run
    assert {finding.code for finding in everything_wrong()} == set(FIXES) - of_tests


# --- the flow -----------------------------------------------------------------------------------


def test_a_keep_condition_that_cannot_be_read():
    finding = only(Log("x"), condition="object.weight >")
    assert (finding.severity, finding.code, finding.field) == ("error", "expression", "condition")
    assert finding.uid == ""


@pytest.mark.parametrize("schema", [{"type": "array"}, {"properties": 5, "type": "object"}])
def test_a_state_schema_that_is_none(schema: JSONObject):
    finding = only(Log("x"), state_schema=schema)
    assert (finding.severity, finding.code, finding.uid) == ("error", "state-schema", "")


def test_a_flow_that_does_nothing():
    assert told() == told(Log("x", enabled=False)) == [("empty-flow", "", "")]
    assert told(Group([Log("x")], enabled=False)) == [("empty-flow", "", "")]


# --- rows ---------------------------------------------------------------------------------------


def test_an_unknown_action_names_what_may_have_been_meant():
    finding = only(row("send_emial", uid="a"))
    assert (finding.severity, finding.code, finding.uid) == ("error", "unknown-action", "a")
    assert "Did you mean send_email?" in finding.message
    # A list of all that there are helps nobody who cannot install the right one.
    assert only(row("shop.teleport")).message == "Unknown action 'shop.teleport'."


def test_a_config_that_does_not_fit_its_schema_names_the_field_as_people_read_it():
    finding = only(row("log", uid="a"))
    assert (finding.severity, finding.code, finding.field) == ("error", "config", "message")
    assert finding.message == "Message: Required"
    assert f"{finding.sentence} {finding.fix}" == "Message: Required. Open the row and correct it."
    assert only(Group([])).sentence == "There are no rows inside."


def test_every_wrong_field_is_told():
    item = row("send_email", to=["a@"], subject="{{", text="fine", colour="red")
    assert told(item) == [
        ("config", "1", "to"),
        ("config", "1", "subject"),
        ("config", "1", "colour"),
    ]


def test_a_bad_expression_or_template_stands_at_its_field():
    assert told(If("n <", [Log("x")])) == [("config", "1", "condition")]
    assert told(Log("{{ n")) == [("config", "1", "message")]
    assert told(row("log", message={"$expr": "n"})) == [("config", "1", "message")]
    assert told(For("n <", [Log("x")])) == [("config", "1", "end")]
    assert told(UpdateState(n="n <")) == [("config", "1", "state")]


def test_what_a_type_says_of_its_own_config():
    error, warning = findings(row("test.page", text="loud"))
    assert (error.severity, error.code, error.field) == ("error", "config", "text")
    assert (warning.severity, warning.message) == ("warning", "Be quiet.")


def test_a_config_that_cannot_be_upgraded():
    old = {**row("test.page"), "schema_version": 1}
    assert told(old) == [("config", "1", "")]
    assert told({**row("test.page", message="fine"), "schema_version": 1}) == []


def test_blocks_that_are_nested_too_deep():
    def nested(levels: int) -> JSONObject:
        rows = Log("x")
        for _level in range(levels):
            rows = Group([rows])
        return rows

    assert told(nested(MAX_DEPTH - 2)) == []
    finding = only(nested(MAX_DEPTH - 1))
    assert (finding.severity, finding.code) == ("error", "depth")
    replace_draft(create_flow("Deep"), make_document(nested(MAX_DEPTH - 2)))


def test_a_retry_policy_that_is_none():
    finding = only(row("log", message="x", retry={"attempts": "3"}))
    assert (finding.severity, finding.code, finding.field) == ("error", "retry", "retry")
    assert finding.message == "attempts: must be a whole number"
    assert told(row("log", message="x", retry={"attempts": 3})) == []


@pytest.mark.parametrize("name", ["object", "now", "true", "and"])
def test_names_that_have_a_meaning_of_their_own(name: str):
    assert told(row("log", message="x", result_key=name)) == [("reserved-name", "1", "result_key")]
    assert told(For(2, [Log("x")], var_name=name)) == [("reserved-name", "1", "var_name")]


def test_a_state_key_that_expressions_cannot_read_is_only_warned_of():
    finding = only(row("update_state", state={"now": 1, "n": 2}))
    assert (finding.severity, finding.code, finding.field) == ("warning", "reserved-name", "state")
    assert "“now”" in finding.message


def test_a_reference_to_a_flow_that_is_not_there():
    finding = only(StartFlow("rebooking"))
    assert (finding.severity, finding.code, finding.field) == ("error", "missing-flow", "flow")
    make_flow(Log("x"), name="Rebooking")
    assert told(StartFlow("rebooking")) == []
    assert told(row("start_flow", flow={"$expr": "n"}), state_schema=knows("n")) == []


@pytest.mark.parametrize("action", ["start_flow", "start_flow_for_each"])
def test_a_flow_that_cannot_be_started_is_told_at_the_row_that_starts_it(action: str):
    item = row(action, uid="go", flow="rebooking")
    if action == "start_flow_for_each":
        item["config"]["items"] = "n"
    rebooking = create_flow("Rebooking")
    finding = only(item, state_schema=knows("n"))
    assert (finding.severity, finding.code) == ("warning", "unpublished-flow")
    assert (finding.uid, finding.field) == ("go", "flow")
    assert finding.message == "“Rebooking” has not been published: nothing would be started."
    replace_draft(rebooking, make_document(Log("x")))
    publish(rebooking)
    finding = only(item, state_schema=knows("n"))
    assert (finding.severity, finding.code) == ("warning", "flow-off")
    assert (finding.uid, finding.field) == ("go", "flow")
    Flow.objects.filter(pk=rebooking.pk).update(active_at=timezone.now())
    assert findings(item, state_schema=knows("n")) == []


def test_a_flow_that_starts_itself_need_not_be_live_before_it_is_published():
    flow = create_flow("Rebooking")
    assert told(StartFlow("rebooking"), flow=flow) == [("start-circle", "1", "flow")]


def test_an_action_that_only_names_a_flow_does_not_need_it_to_run():
    create_flow("Rebooking")
    assert told(row("test.page", flow="rebooking")) == []


def test_references_to_flows_cost_one_query(django_assert_num_queries: Any):
    rows = [StartFlow(f"flow-{number}") for number in range(20)]
    with django_assert_num_queries(1):
        assert len(findings(*rows)) == 20
    with django_assert_num_queries(0):
        findings(Log("x"))


def test_a_reference_to_a_trigger_that_is_not_declared():
    finding = only(row("test.page", on="test.flight_late"))
    assert (finding.severity, finding.code, finding.field) == ("error", "missing-trigger", "on")
    register_trigger("test.flight_late")
    assert told(row("test.page", on="test.flight_late")) == []


# --- blocks -------------------------------------------------------------------------------------


def test_an_else_without_an_if():
    finding = only(Log("x"), Else([Log("x")], uid="else"))
    assert (finding.severity, finding.code, finding.uid) == ("error", "out-of-place", "else")
    assert finding.message == "“Else” has to come right after “If” or “Else if”."


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (lambda: [If("true"), Else(), Else(uid="x")], ["x"]),
        (lambda: [If("true"), Else(), ElseIf("true", uid="x")], ["x"]),
        (lambda: [If("true"), Log("x"), Else(uid="x")], ["x"]),
        (lambda: [Group([If("true")]), Else(uid="x")], ["x"]),
        (lambda: [If("true"), Group([Else(uid="x")])], ["x"]),
        (lambda: [If("true"), ElseIf("true"), ElseIf("true"), Else()], []),
        (lambda: [If("true", enabled=False), Else()], []),
        (lambda: [Log("x"), Else(enabled=False)], []),
    ],
)
def test_chains_are_read_row_by_row(rows: Any, wrong: list[str]):
    found = findings(*rows())
    assert [each.uid for each in found if each.code == "out-of-place"] == wrong


def test_rows_inside_a_row_that_takes_none():
    finding = only(row("log", Log("x"), message="x"))
    assert (finding.severity, finding.code) == ("error", "no-rows-inside")


def test_an_empty_block():
    finding = only(Group([]))
    assert (finding.severity, finding.code) == ("warning", "empty-block")
    assert told(Group([Log("x", enabled=False)])) == [("empty-block", "1", "")]


@pytest.mark.parametrize("last", [Stop, Leave, Break])
def test_rows_that_are_never_reached(last: Any):
    finding = only(Group([last(), Log("x", uid="never"), Log("y")]))
    assert (finding.severity, finding.code, finding.uid) == ("warning", "unreachable", "never")
    assert told(Group([Log("x"), last()]), Log("y")) == []


def test_rows_after_a_way_out_with_a_condition_may_be_reached():
    rows = [Group([Leave("n"), Break("n"), Log("x")]), Stop(), Log("off", enabled=False)]
    assert told(*rows, state_schema=knows("n")) == []


def test_a_way_out_of_a_loop_where_there_is_none():
    finding = only(If("true", [Break(target="loop")]))
    assert (finding.severity, finding.code, finding.field) == ("error", "no-loop", "target")
    assert told(For(2, [If("true", [Leave(target="loop")])])) == []


# --- loops that nothing ends --------------------------------------------------------------------


def knows(*names: str) -> JSONObject:
    return {"type": "object", "properties": {name: {} for name in names}}


def is_endless(condition: str, *rows: JSONObject) -> bool:
    found = told(While(condition, rows, uid="loop"), state_schema=knows("n", "m"))
    assert found in ([], [("endless-loop", "loop", "condition")])
    return bool(found)


def test_a_while_whose_condition_nothing_inside_can_change():
    assert is_endless("n < 3", Log("x"), UpdateState(m="n"))
    assert is_endless("true", Delay())
    assert is_endless("n < 3", For(2, [Leave(target="loop")]))
    assert is_endless("n < 3", UpdateState(n="1") | {"enabled": False}, Log("x"))


@pytest.mark.parametrize(
    "item",
    [
        UpdateState(n="n|add:1"),
        SetState(m="1"),
        row("remove_keys", keys=["n"]),
        If("m", [UpdateState(n="1")]),
        row("log", message="x", result_key="n"),
        row("update_state", state={"$expr": "m"}),
        Break("m"),
        Stop(),
        row("delay", base="'2013-02-08'", if_past="break"),
        row("test.page"),
    ],
)
def test_a_while_that_something_inside_may_end(item: JSONObject):
    assert not is_endless("n < 3", item)


@pytest.mark.parametrize("condition", ["object.weight < 3", "now < '2013-02-08'", "n <"])
def test_a_while_that_the_world_may_end_is_left_alone(condition: str):
    assert "endless-loop" not in [code for code, _uid, _field in told(While(condition, [Log("x")]))]


# --- names --------------------------------------------------------------------------------------

SETS = UpdateState(gate="1")
READS = Log("{{ gate }}", uid="reads")


def test_a_name_that_nothing_sets():
    finding = only(Log("{{ gate.number }}", uid="a"))
    assert (finding.severity, finding.code, finding.field) == ("warning", "unset-name", "message")
    assert finding.message == "Nothing in this flow sets “gate”."


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([If("gate == 1", [Log("x")])], "condition"),
        ([For("gate", [Log("x")])], "end"),
        ([UpdateState(n=[{"deep": "gate"}])], "state"),
        ([Delay(base="gate")], "base"),
        ([row("send_email", to={"$expr": "gate"}, subject="s", text="t")], "to"),
        ([row("call_webhook", url="https://a.example/", json={"a": ["{{ gate }}"]})], "json"),
        ([row("call_webhook", url="https://a.example/", headers={"a": "{{ gate }}"})], "headers"),
    ],
)
def test_names_are_read_in_every_kind_of_field(rows: list[JSONObject], field: str):
    assert told(*rows) == [("unset-name", "1", field)]


@override_settings(FLOWCONTROL_CONTENT_TYPES=["testapp.parcel"])
def test_names_in_the_values_of_objects_count_too():
    User.objects.create_superuser("boss")
    config: JSONObject = {"model": "testapp.parcel", "evaluate": True}
    where = row("update_matching", where={"weight": "gate"}, fields={"weight": "1"}, **config)
    fields = row("create_object", fields={"label": "gate"}, **config)
    assert told(where, fields, identity="boss") == [
        ("unset-name", "1", "where"),
        ("unset-name", "2", "fields"),
    ]


def test_names_in_the_keep_condition_count_too():
    assert told(Log("x"), condition="gate > 3") == [("unset-name", "", "condition")]


@pytest.mark.parametrize(
    "item",
    [
        SETS,
        row("set_state", state={"gate": 1}),
        row("log", message="x", result_key="gate"),
        row("update_state", state={"$expr": "trigger"}),
        row("test.page"),
    ],
)
def test_names_that_something_sets_or_may_set_are_fine(item: JSONObject):
    assert told(item, Log("{{ gate }}")) == []


def test_an_action_of_the_project_does_not_hide_a_mistyped_name():
    assert told(row("test.page"), Log("{{ gaet }}")) == [("unset-name", "2", "message")]


@pytest.mark.parametrize(
    "rows",
    [
        [READS, SETS],
        [If("gate", [SETS], uid="reads")],
        [If("now", [SETS]), Else([READS])],
        [
            If("now", [SETS]),
            ElseIf("true", [Log("x")]),
            Else([READS]),
        ],
        [For(2, [Log("x")], var_name="gate"), READS],
        [Parallel(Branch(SETS, keys=["gate"]), Branch(READS))],
        [Parallel(Branch(SETS, Log("x", result_key="o"), keys=["o"])), READS],
        [Log("x", result_key="gate", enabled=False), READS, SETS],
    ],
)  # fmt: skip
def test_a_name_that_is_set_but_not_on_the_way_to_the_row(rows: list[JSONObject]):
    finding = only(*rows)
    assert (finding.severity, finding.code, finding.uid) == ("warning", "unset-here", "reads")
    assert "“gate” has no value here" in finding.message


@pytest.mark.parametrize(
    "rows",
    [
        [If("now", [SETS]), Log("{{ gate }}")],
        [If("now", [SETS]), If("now", [Log("{{ gate }}")])],
        [For(2, [Log("{{ gate }}"), SETS])],
        [For(2, [If("i", [Log("{{ gate }}")]), SETS], var_name="i")],
        [For(2, [Group([Log("{{ gate }}")])], var_name="gate")],
        [Parallel(Branch(SETS, keys=["gate"])), READS],
        [row("try", Fail("x", result_key="gate")), row("on_error", Log("{{ gate }} {{ error }}"))],
        [Log("x", on_error={"then": "continue", "save_as": "gate"}), READS],
    ],
)  # fmt: skip
def test_a_name_that_may_have_been_set_on_the_way_is_fine(rows: list[JSONObject]):
    assert told(*rows) == []


def test_what_the_checker_and_the_fields_know_of_names_is_the_same():
    rows = [
        UpdateState(a="1"),
        If("a", [UpdateState(b="1")]),
        Else([For(2, [Log("x"), UpdateState(c="1")], var_name="i")]),
        Parallel(Branch(UpdateState(d="1"), keys=["d"]), Branch(Log("x"))),
        Log("x"),
    ]
    document = make_document(*rows, state_schema=knows("s"))
    for item, known in known_at_rows(document):
        offered = {
            each.name
            for each in names_at(document, Place(item["uid"]))
            if each.source in ("state", "loop")
        }
        assert offered == known, item["uid"]


def test_a_field_that_the_object_does_not_have():
    finding = only(Log("{{ object.wieght }}", uid="a"), content_type="testapp.parcel")
    assert (finding.severity, finding.code) == ("warning", "unknown-field")
    assert (finding.uid, finding.field) == ("a", "message")
    assert finding.message == "Parcel has no “wieght”. Did you mean weight?"
    condition = only(Log("x"), condition="object.wieght > 3", content_type="testapp.parcel")
    assert (condition.code, condition.uid, condition.field) == ("unknown-field", "", "condition")
    fine = Log("{{ object.weight }} {{ object.pk }} {{ object }}")
    assert told(fine, content_type="testapp.parcel") == []
    assert told(Log("{{ object.wieght }}"), content_type="gone.model") == []


def test_names_that_runs_start_with_are_named_in_the_state_schema():
    assert told(Log("{{ gate }}"), state_schema=knows("gate")) == []


def test_names_that_are_always_there_are_fine():
    assert told(Log("{{ object }} {{ run.pk }} {{ trigger.x }} {{ now }} {{ today }}")) == []


def test_what_a_row_reads_and_sets_can_be_told():
    item = row("for", end={"$expr": "object.seats|add:extra"}, var_name="seat", result_key="told")
    assert reads_names(item) == {"end": {"object.seats", "extra"}}
    assert sets_names(item) == {"seat", "told"}
    assert reads_names(row("shop.gone")) == {}
    assert reads_names(If("n <")) == {"condition": set()}


# --- circles ------------------------------------------------------------------------------------


def test_flows_that_start_one_another_in_a_circle():
    first = make_flow(Log("x"), name="First")
    second = make_flow(StartFlow("first"), name="Second")
    make_flow(StartFlow("second"), name="Third")
    finding = only(Log("x"), StartFlow("third", uid="start"), flow=first)
    assert (finding.severity, finding.code, finding.uid) == ("warning", "start-circle", "start")
    assert finding.message.endswith("first → third → second → first.")
    assert told(StartFlow("first"), flow=second) == []


def test_a_flow_that_starts_itself():
    flow = make_flow(Log("x"), name="First")
    assert only(StartFlow("first"), flow=flow).message.endswith("first → first.")
    assert told(StartFlow("first", enabled=False), Log("x"), flow=flow) == []
    for_each = row("start_flow_for_each", flow="first", items="n", uid="each")
    assert told(for_each, flow=flow, state_schema=knows("n")) == [("start-circle", "each", "flow")]


# --- all together -------------------------------------------------------------------------------


def test_what_is_switched_off_is_not_looked_at():
    wrong = [row("shop.gone"), row("log"), Else(), StartFlow("nowhere"), Log("{{ unset }}")]
    wrong += [row("log", message="x", retry={"attempts": 0}, result_key="now"), While("true", [])]
    off = [item | {"enabled": False} for item in wrong]
    assert told(Log("x"), *off, Group(wrong, enabled=False)) == []


def test_errors_come_first_and_all_in_the_order_of_the_rows():
    rows = [Log("{{ a }}"), row("log"), Group([]), row("shop.gone"), Stop(), Log("x")]
    assert [(each.severity, each.uid) for each in findings(*rows, condition="b")] == [
        ("error", "2"),
        ("error", "4"),
        ("warning", ""),
        ("warning", "1"),
        ("warning", "3"),
        ("warning", "6"),
    ]


def test_warnings_never_block_publishing():
    flow = create_flow("Late flight")
    replace_draft(
        flow,
        make_document(
            Group([]), While("n", [Log("x")]), StartFlow("late-flight"), Stop(), Log("x")
        ),
    )
    severities = {finding.severity for finding in find_all(draft_document(flow), flow=flow)}
    assert severities == {"warning"}
    assert publish(flow).number == 1


def test_the_findings_of_a_new_draft_of_any_shape_never_fail():
    """Nothing that can be saved may break the page that shows what is wrong with it."""
    odd: list[Any] = [None, 5, "x", "{{", [], [1], {}, {"$expr": "1 +"}, {"$expr": "n"}, True]
    for action_type in actions:
        for value in odd:
            config = dict.fromkeys(action_type.config_schema.get("properties", {}), value)
            odd_row = {**row(action_type.name, Log("x")), "config": config}
            findings(odd_row)
            names_at(make_document(odd_row, Log("x")), Place("2"))


def test_findings_are_told_in_the_language_of_the_reader():
    with translation.override("de"):
        assert only(Group([])).code == "empty-block"


def test_the_item_of_a_for_each_has_its_name_by_default_too():
    assert told(row("for_each", Log("{{ item }}"), items="addresses"))[1:] == []
