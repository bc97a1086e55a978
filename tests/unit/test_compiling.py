"""From document to program: links, plans, and rows that cannot execute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from flowcontrol.base import BaseAction, Directive, FlowDirective, RunHandle
from flowcontrol.compiling import RowPlan, compile_document, current_config, problems_of
from flowcontrol.cursor import RETURN, Cursor, Frame
from flowcontrol.documents import JSONObject, make_document
from flowcontrol.exceptions import (
    AuthorError,
    ConfigError,
    ExpressionError,
    NotJSON,
    UnknownAction,
)
from flowcontrol.expressions import Scope
from flowcontrol.failures import describe
from flowcontrol.interpreter import advance
from flowcontrol.program import Program
from flowcontrol.registry import actions
from flowcontrol.testing import Break, Else, ElseIf, For, Group, If, Log, rehearse, row, trace
from tests.testapp.models import Parcel

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


class Page(BaseAction):
    """Announces something at gates; every kind of value that can be computed."""

    name = "test.page"
    verbose_name = "Page passengers"
    effects = "none"
    schema_version = 3
    aliases: ClassVar[tuple[str, ...]] = ("test.announce",)
    config_schema = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "gates": {"type": "array", "items": {"type": "string"}},
            "loud": {"type": "boolean", "default": False},
            "times": {"type": "integer", "default": 2, "minimum": 1},
            "day": {"type": "string", "format": "date"},
            "moment": {"type": "string", "format": "date-time"},
            "weight": {"type": "number"},
            "password": {"type": "string", "format": "secret", "maxLength": 8},
            "condition": {"type": "string", "format": "expression"},
            "anything": {},
        },
        "required": ["text"],
        "additionalProperties": False,
    }

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive:
        run.state["paged"] = dict(config)
        return FlowDirective.CONTINUE

    @classmethod
    def upgrade_config(cls, config: dict[str, Any], from_version: int) -> dict[str, Any]:
        if from_version == 1:
            config["text"] = config.pop("message")
        return {**config, "upgraded": from_version} if config.get("odd") else config


@pytest.fixture(autouse=True)
def _page() -> Iterator[None]:
    with actions.temporarily(Page):
        yield


def program_of(*rows: JSONObject) -> Program:
    return compile_document(make_document(*rows))


def links(*rows: JSONObject) -> dict[str, tuple[str | None, str | None]]:
    """Where each row leads: when it was not taken, and when it was."""
    return {
        node.uid: (
            node.following.uid if node.following else None,
            node.following_block.uid if node.following_block else None,
        )
        for node in program_of(*rows)
    }


# --- links --------------------------------------------------------------------------------------


def test_a_chain_is_resolved_so_that_taken_and_not_taken_are_two_links():
    rows = [If("a", uid="if"), ElseIf("b", uid="else if"), Else(uid="else"), Log("x", uid="log")]
    assert links(*rows) == {
        "if": ("else if", "log"),
        "else if": ("else", "log"),
        "else": ("log", "log"),
        "log": (None, None),
    }


def test_a_second_if_begins_a_chain_of_its_own():
    rows = [If("a", uid="1st"), If("b", uid="2nd"), Else(uid="else")]
    assert links(*rows) == {"1st": ("2nd", "2nd"), "2nd": ("else", None), "else": (None, None)}


def test_disabled_rows_are_not_in_the_program():
    program = program_of(Log("x", uid="off", enabled=False), Group([Log("y")], uid="g"))
    assert [node.uid for node in program] == ["g", "2.1"]
    assert program.first is program["g"]


def test_what_is_inside_a_disabled_row_is_not_in_the_program_either():
    assert list(program_of(Group([Log("x")], enabled=False))) == []


def test_rows_know_their_parent_and_depth():
    program = program_of(Group([Group([Log("x", uid="deep")], uid="inner")], uid="outer"))
    parent = program["deep"].parent
    assert parent is not None
    assert (program["deep"].depth, parent.uid, program["outer"].parent) == (2, "inner", None)


def test_a_chain_through_an_alias_is_still_a_chain():
    class Perhaps(BaseAction):
        name = "test.perhaps"
        effects = "none"
        aliases: ClassVar[tuple[str, ...]] = ("test.maybe",)
        has_children = True

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> Directive | None:
            return None

    class Otherwise(Perhaps):
        name = "test.otherwise"
        aliases = ()
        follows = ("test.perhaps",)

    with actions.temporarily(Perhaps, Otherwise):
        document = make_document(row("test.maybe", uid="a"), row("test.otherwise", uid="b"))
        assert problems_of(document) == []
        assert trace(row("test.maybe", label="a"), row("test.otherwise", label="b")) == ["a", "b"]


# --- rows that cannot execute -------------------------------------------------------------------


def broken(*rows: JSONObject) -> list[tuple[str, str]]:
    return problems_of(make_document(*rows))


def test_a_row_of_an_unknown_type_fails_only_the_run_that_reaches_it():
    rows = [Log("fine"), If("late", [row("shop.gone")]), Log("fine too")]
    assert broken(*rows)[0][0] == "2.1"
    assert trace(*rows, state={"late": False}) == ["log", "if", "log"]
    with pytest.raises(UnknownAction, match=r"shop\.gone"):
        trace(*rows, state={"late": True})


def test_a_block_of_an_unknown_type_fails_the_run_that_comes_back_to_it():
    """Otherwise a loop whose type is gone would quietly end after the round it is in."""
    program = program_of(row("shop.each_item", Log("x", uid="inside"), uid="gone"), Log("after"))
    cursor = Cursor((Frame("gone", RETURN), Frame("inside")))
    back = advance(program, cursor, FlowDirective.CONTINUE)
    assert back.frames == (Frame("gone", RETURN),)
    with pytest.raises(UnknownAction):
        program["gone"].return_from_children(run=None, obj=None, config={})


def test_a_loop_whose_config_is_broken_is_still_the_loop_of_the_rows_inside():
    program = program_of(For({}, [Break(target="loop")], uid="for"), Log("after", uid="after"))
    assert program.payload.problems
    inside = Cursor((Frame("for", RETURN), Frame("1.1")))
    assert advance(program, inside, FlowDirective.BREAK).uid == "after"
    assert program["for"].is_loop


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"text": 5}, "text: must be text"),
        ({}, "text: Required"),
        ({"text": "a", "colour": "red"}, "colour: is not known here"),
        ({"text": {"$expr": "1 +"}}, "text: Character"),
        ({"text": {"$expr": "a"}, "times": 0}, "times: must be at least 1"),
        ({"text": "a", "condition": {"$expr": "a"}}, "condition: is an expression"),
        ({"text": "a", "condition": "1 <"}, "condition: At the end"),
    ],
)
def test_a_config_that_does_not_fit_is_told_when_compiling_not_at_night(
    config: dict[str, Any], message: str
):
    [(uid, told)] = broken(row("test.page", uid="odd", **config))
    assert uid == "odd"
    assert message in told


def test_an_else_without_an_if_is_told_unless_it_is_switched_off():
    assert [uid for uid, _told in broken(Log("x"), Else(uid="else"))] == ["else"]
    assert broken(Log("x"), Else(uid="else", enabled=False)) == []


def test_a_document_that_is_none_is_a_problem_of_the_whole_version():
    [(uid, told)] = problems_of({"format": 7})
    assert (uid, "format 7" in told) == ("", True)
    assert problems_of(make_document(condition="1 +"))[0][0] == ""


# --- configs of older versions ------------------------------------------------------------------


def test_an_older_config_is_upgraded_and_gets_the_defaults_of_today():
    old = {**row("test.page", message="hello"), "schema_version": 1}
    assert current_config(old) == {"text": "hello", "loud": False, "times": 2}
    assert old["config"] == {"message": "hello"}


def test_a_config_by_an_old_name_of_the_type_is_upgraded_too():
    old = {**row("test.announce", message="hello"), "schema_version": 1}
    assert rehearse(old).state["paged"]["text"] == "hello"


def test_todays_config_is_not_upgraded():
    [item] = make_document(row("test.page", text="a", odd=True))["actions"]
    assert current_config(item)["odd"] is True


def test_an_upgrade_that_fails_names_the_type_and_both_versions():
    old = {**row("test.page", text="no message"), "schema_version": 1}
    with pytest.raises(ConfigError, match=r"'test.page'.*version 1 to 3.*KeyError"):
        current_config(old)


def test_a_config_from_the_future_is_refused_by_an_older_process():
    new = {**row("test.page", text="a"), "schema_version": 4}
    with pytest.raises(ConfigError, match=r"written by version 4.*has version 3"):
        current_config(new)


# --- computed values ----------------------------------------------------------------------------


def plan_of(**config: Any) -> RowPlan:
    [node] = program_of(row("test.page", **config))
    plan: RowPlan = node.payload
    return plan


def config_for(plan: RowPlan, **state: Any) -> Mapping[str, Any]:
    return plan.config_for(handle(state))


def handle(state: dict[str, Any]) -> RunHandle:
    return RunHandle(pk=1, flow="flow", state=state, scope=Scope(state), now=NOON)


def test_a_config_without_computed_values_is_made_once_for_all_runs():
    plan = plan_of(text="a")
    assert config_for(plan) is config_for(plan)


@pytest.mark.parametrize(
    ("name", "value", "given"),
    [
        ("text", "late", "late"),
        ("times", 3, 3),
        ("weight", Decimal("1.5"), 1.5),
        ("day", date(2013, 2, 8), "2013-02-08"),
        ("moment", NOON, "2013-02-08T12:00:00Z"),
        ("gates", ["A1", "B2"], ["A1", "B2"]),
        ("gates", ("A1", "B2"), ["A1", "B2"]),
        ("gates", "A1", ["A1"]),
        ("anything", {"when": NOON}, {"when": "2013-02-08T12:00:00Z"}),
    ],
)
def test_a_computed_value_reaches_the_action_as_the_json_its_schema_speaks_of(
    name: str, value: Any, given: Any
):
    plan = plan_of(**{"text": "a", name: {"$expr": "value"}})
    assert config_for(plan, value=value)[name] == given


def test_each_run_gets_values_of_its_own():
    plan = plan_of(text={"$expr": "word"})
    assert [config_for(plan, word=word)["text"] for word in "ab"] == ["a", "b"]


def test_nothing_computed_for_an_optional_value_means_its_default_or_no_value():
    plan = plan_of(text="a", times={"$expr": "unset"}, day={"$expr": "unset"})
    assert config_for(plan) == {"text": "a", "loud": False, "times": 2}


def test_nothing_computed_for_a_required_value_is_an_error():
    with pytest.raises(ConfigError, match=r"text: .* \(computed by 'unset': None\)"):
        config_for(plan_of(text={"$expr": "unset"}))


def test_a_computed_value_that_does_not_fit_names_field_expression_and_value():
    with pytest.raises(
        ConfigError, match=r"times: .*at least 1.* \(computed by 'n': 0\)"
    ) as caught:
        config_for(plan_of(text="a", times={"$expr": "n"}), n=0)
    assert caught.value.problems[0].path == ("times",)


def test_one_wrong_entry_of_a_computed_list_is_named_by_its_place():
    with pytest.raises(ConfigError, match=r"gates → entry 2: must be text"):
        config_for(plan_of(text="a", gates={"$expr": "gates"}), gates=["A1", 2])


def test_a_model_instance_cannot_be_a_value():
    with pytest.raises(NotJSON, match=r"anything: .*keep its pk instead"):
        config_for(plan_of(text="a", anything={"$expr": "x"}), x=Parcel(pk=1, label="crate"))


def test_an_expression_that_fails_is_an_error_of_the_author():
    with pytest.raises(ExpressionError):
        config_for(plan_of(text={"$expr": "1|upper"}))


def test_a_computed_secret_is_told_neither_in_the_error_nor_in_the_history():
    plan = plan_of(text={"$expr": "name"}, password={"$expr": "code"})
    run = handle({"name": "x", "code": "s3cret-and-too-long"})
    with pytest.raises(ConfigError) as caught:
        plan.config_for(run)
    assert "s3cret" not in str(caught.value)
    assert "computed by 'code'" in str(caught.value)
    assert run.scope.reads == [("name", "x"), ("code", "••••••")]


def test_a_secret_that_cannot_be_computed_is_not_told_either():
    plan = plan_of(text="a", password={"$expr": "code|add:1"})
    run = handle({"code": "s3cret"})
    with pytest.raises(ExpressionError) as caught:
        plan.config_for(run)
    told = describe(caught.value, values=run.scope.reads)
    assert "s3cret" not in str(told)
    assert "code|add:1" in told["message"]


def test_a_type_may_keep_what_was_computed_when_its_block_was_entered():
    class Once(Page):
        name = "test.once"
        aliases: ClassVar[tuple[str, ...]] = ()
        computes_once = True

    run = handle({"word": "a"})
    with actions.temporarily(Once):
        [once] = program_of(row("test.once", text={"$expr": "word"}, times=3))
        [again] = program_of(row("test.page", text={"$expr": "word"}, times=3))
    assert once.payload.config_for(run)["text"] == "a"
    run.memo = ["a"]
    assert once.payload.config_for(run) == {"loud": False, "times": 3}
    assert again.payload.config_for(run)["text"] == "a"


def test_the_keep_condition_is_compiled_with_the_program():
    plan = compile_document(make_document(condition=" n > 3 ")).payload
    assert plan.condition.evaluate(Scope({"n": 4})) is True
    assert compile_document(make_document(condition="  ")).payload.condition is None


def test_a_row_may_override_the_retry_policy_of_its_type():
    class Calls(Page):
        name = "test.calls"
        aliases = ()
        retry = {"attempts": 9}

    with actions.temporarily(Calls):
        own = {"attempts": 1}
        rows = [row("test.calls", text="a"), row("test.calls", text="a", retry=own)]
        assert [node.payload.retry for node in program_of(*rows)] == [{"attempts": 9}, own]


def test_only_errors_of_the_author_are_raised_by_broken_rows():
    program = program_of(row("shop.gone", uid="gone"))
    with pytest.raises(AuthorError):
        program["gone"].run(run=None, obj=None, config={})
