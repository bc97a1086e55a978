"""What the pages say about the code is what the code says."""

from __future__ import annotations

import ast
import json
import re
from argparse import _SubParsersAction
from typing import Any

import pytest
from django.apps import apps

from flowcontrol import conf, exceptions, signals, testing
from flowcontrol.actions.control import ControlAction
from flowcontrol.base import BaseAction
from flowcontrol.documents import make_document, row
from flowcontrol.failures import ON_ERROR_SCHEMA, RETRY_SCHEMA
from flowcontrol.formats import FORMATS
from flowcontrol.management.commands.flowcontrol import Command
from flowcontrol.models import ALLOWED_FROM, CLAIMABLE, HOLDS_A_SLOT, Outcome, Status, WaitKind
from flowcontrol.registry import actions
from tests.guards.documentation import blocks, pages, read, section, tables
from tests.guards.repository import PACKAGE

LIFE = "explanation/life-of-a-run.md"
BUILT_IN = [item for item in actions if item.__module__.startswith("flowcontrol.")]


def code(cell: str) -> str:
    """The text between the backticks of a table's cell."""
    found = re.fullmatch(r"`(.*)`", cell)
    assert found, f"{cell!r} is not code."
    return found[1]


# --- the life of a run --------------------------------------------------------------------------


def test_the_life_of_a_run_tells_every_status():
    (table,) = tables(section(read(LIFE), "Statuses"))
    assert [code(cells[0]) for cells in table] == list(Status.values)
    yes = {"yes": True, "no": False}
    for name, _meaning, slot, claimable in table:
        assert yes[slot] == (Status(code(name)) in HOLDS_A_SLOT)
        assert yes[claimable] == (Status(code(name)) in CLAIMABLE)


def test_the_life_of_a_run_tells_every_outcome():
    (table,) = tables(section(read(LIFE), "Outcomes"))
    assert [code(cells[0]) for cells in table] == list(Outcome.values)


def test_the_life_of_a_run_tells_every_arrow_and_no_other():
    (table,) = tables(section(read(LIFE), "Every arrow"))
    told = [(code(cells[0]), code(cells[1])) for cells in table]
    assert sorted(told) == sorted(
        (before.value, after.value) for after, befores in ALLOWED_FROM.items() for before in befores
    )


def test_the_life_of_a_run_tells_what_runs_wait_for():
    (table,) = tables(section(read(LIFE), "What a waiting run waits for"))
    assert [code(cells[0]) for cells in table] == list(WaitKind.values)


# --- built-in actions ---------------------------------------------------------------------------


def heading(item: type[BaseAction]) -> str:
    return f"{item.verbose_name} (`{item.name}`)"


def test_the_page_of_actions_tells_every_built_in_action_under_its_group():
    text = read("reference/built-in-actions.md")
    told = [
        (group, action)
        for group in re.findall(r"^## (.*)$", text, re.MULTILINE)
        for action in re.findall(r"^### (.*)$", section(text, group), re.MULTILINE)
    ]
    assert sorted(told) == sorted((str(item.group), heading(item)) for item in BUILT_IN)


@pytest.mark.parametrize("item", BUILT_IN, ids=lambda item: item.name)
def test_the_page_of_actions_tells_each_value(item: type[BaseAction]):
    text = section(read("reference/built-in-actions.md"), heading(item))
    rows = tables(text)[0] if "| key |" in text else []
    schema = item.config_schema
    told = {code(key): (label, default) for key, label, _type, default, _meaning in rows}
    assert list(told) == list(schema.get("properties", {}))
    for name, (label, default) in told.items():
        assert label == str(item.labels[name])
        assert default == default_of(schema, name)


def default_of(schema: Any, name: str) -> str:
    if name in schema.get("required", ()):
        return "*required*"
    if "default" not in schema["properties"][name]:
        return ""
    return f"`{json.dumps(schema['properties'][name]['default'])}`"


@pytest.mark.parametrize("item", BUILT_IN, ids=lambda item: item.name)
def test_the_page_of_actions_tells_what_each_touches(item: type[BaseAction]):
    text = " ".join(section(read("reference/built-in-actions.md"), heading(item)).split())
    promise = {
        "none": "Touches only the state." if item.group == "State" else "Touches nothing.",
        "database": "Writes to the database.",
        "external": "Talks to the outside",
    }
    assert promise[item.effects] in text
    assert issubclass(item, ControlAction) == (item.group == "Control")


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(conf.DEFAULTS))
def test_the_page_of_settings_tells_the_default(name: str):
    ((row,),) = tables(section(read("reference/settings.md"), f"`FLOWCONTROL_{name}`"))
    _type, default, unit = row
    assert ast.literal_eval(code(default)) == conf.DEFAULTS[name]
    assert unit


# --- documents ----------------------------------------------------------------------------------


def test_the_page_of_documents_tells_every_key():
    text = read("reference/documents.md")
    document = make_document(row("log", message="x"))
    (of_flow,) = tables(section(text, "The flow"))
    assert [code(cells[0]) for cells in of_flow] == list(document)
    (of_row,) = tables(section(text, "A row"))
    assert {code(cells[0]) for cells in of_row} == set(document["actions"][0])


def test_the_page_of_documents_tells_every_key_of_an_error_policy():
    (table,) = tables(section(read("reference/documents.md"), "The error policy"))
    assert [code(cells[0]) for cells in table] == list(ON_ERROR_SCHEMA["properties"])


def test_the_page_of_documents_tells_every_key_of_a_retry_policy():
    (table,) = tables(section(read("reference/documents.md"), "The retry policy"))
    assert [code(cells[0]) for cells in table] == list(RETRY_SCHEMA["properties"])


@pytest.mark.parametrize("page", pages())
def test_json_on_a_page_can_be_read(page: str):
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.text)


# --- the rest -----------------------------------------------------------------------------------


def test_the_page_of_commands_tells_every_verb_and_option():
    text = read("reference/commands.md")
    parser = Command().create_parser("manage.py", "flowcontrol")
    (subparsers,) = [a for a in parser._actions if isinstance(a, _SubParsersAction)]
    verbs = subparsers.choices
    assert re.findall(r"^## `(\w+)`$", text, re.MULTILINE) == list(verbs)
    for verb, options in verbs.items():
        names = {name for action in options._actions for name in action.option_strings}
        names -= {"-h", "--help"}
        told = set(re.findall(r"(?<![-\w])--[a-z-]+", section(text, f"`{verb}`")))
        assert told == names - _OF_EVERY_COMMAND


_OF_EVERY_COMMAND = {
    *("--version", "-v", "--verbosity", "--settings", "--pythonpath", "--traceback"),
    *("--no-color", "--force-color", "--skip-checks"),
}


def test_the_page_of_commands_tells_every_system_check():
    told = re.findall(r"^\| `(flowcontrol\.\w+)`", read("reference/commands.md"), re.MULTILINE)
    source = (PACKAGE / "checks.py").read_text("utf-8")
    assert told == sorted(set(re.findall(r'id="(flowcontrol\.\w+)"', source)))


def test_the_page_of_signals_tells_every_signal():
    told = re.findall(r"^\| `(\w+)`", read("reference/signals.md"), re.MULTILINE)
    assert sorted(told) == sorted(name for name in vars(signals) if name.startswith("flowrun_"))


def test_the_page_about_actions_tells_every_format():
    (_kinds, formats) = tables(section(read("how-to/write-an-action.md"), "Kinds of values"))
    told = {name for cells in formats for name in re.findall(r"`([\w-]+)`", cells[0])}
    assert told == set(FORMATS)


def test_the_page_of_models_tells_every_right():
    told = set(re.findall(r"^\| `(\w+)`", read("reference/models.md"), re.MULTILINE))
    own = {
        codename
        for model in apps.get_app_config("flowcontrol").get_models()
        for codename, _name in model._meta.permissions
    }
    assert told == own


def test_the_page_of_models_tells_every_model():
    told = re.findall(r"autoclass:: (\w+)$", read("reference/models.md"), re.MULTILINE)
    models = {model.__name__ for model in apps.get_app_config("flowcontrol").get_models()}
    assert set(told) - {"Status", "Outcome"} == models


def test_the_tasks_for_celery_are_there_under_the_names_that_the_page_tells():
    text = read("how-to/resume-runs.md")
    told = set(re.findall(r"flowcontrol\.[a-z]+_[a-z_]+", text)) | set(
        re.findall(r"flowcontrol\.tasks\.(\w+)", text)
    )
    source = (PACKAGE / "tasks.py").read_text("utf-8")
    there = set(re.findall(r'name="([\w.]+)"', source)) | set(re.findall(r"class (\w+)", source))
    assert told
    assert told <= there


def test_the_page_of_exceptions_tells_every_exception():
    told = re.findall(r"autoexception:: (\w+)$", read("reference/exceptions.md"), re.MULTILINE)
    there = [
        name
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, exceptions.FlowcontrolError)
    ]
    assert sorted(told) == sorted(there)


# --- the semantics ------------------------------------------------------------------------------


def semantics() -> list[tuple[str, str]]:
    (table,) = tables(
        section(read("explanation/how-a-run-executes.md"), "What each construct means")
    )
    return [(code(rows).replace(r"\|", "|"), code(order)) for rows, order, _why in table]


@pytest.mark.parametrize(("rows", "order"), semantics(), ids=lambda text: text[:40])
def test_the_table_of_semantics_tells_what_happens(rows: str, order: str):
    names = {name: getattr(testing, name) for name in testing.__all__}
    names.update({name: testing.Log(name, label=name) for name in "abc"})
    assert testing.trace(*eval(f"[{rows}]", {}, names)) == order.split()
