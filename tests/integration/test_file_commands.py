"""``manage.py flowcontrol export | import | render | schema``."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from flowcontrol.documents import row
from flowcontrol.drafting import edit_action
from flowcontrol.drafts import draft_document
from flowcontrol.engine import start_flowrun
from flowcontrol.models import Flow
from flowcontrol.testing import Delay, Log, make_flow
from flowcontrol.transfer import file_schema

pytestmark = pytest.mark.django_db


def command(*args: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("flowcontrol", *map(str, args), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def flow() -> Flow:
    return make_flow(Log("begin", uid="a"), Delay(uid="wait"), name="Late flight")


def test_a_flow_goes_into_a_file_and_comes_out_of_it(flow: Flow, tmp_path: Path):
    file = tmp_path / "flow.json"
    assert command("export", "late-flight", "--output", file)[0] == f"Written to {file}.\n"
    out, err = command("import", file)
    assert (out, err) == (
        "late-flight-2: the draft was written. Publish it to let runs follow.\n",
        "",
    )
    assert draft_document(Flow.objects.get(slug="late-flight-2")) == draft_document(flow)
    out, _err = command("export", "late-flight")
    assert out == file.read_text(encoding="utf-8")


def test_a_version_is_exported_by_its_number(flow: Flow):
    edit_action(flow, "a", label="only in the draft")
    assert "only in the draft" in command("export", "late-flight")[0]
    assert "only in the draft" not in command("export", "late-flight", "--version-number", 1)[0]


def test_a_file_is_read_into_a_flow_that_is_there(flow: Flow, tmp_path: Path):
    other = make_flow(Log("x"), name="Other")
    file = tmp_path / "flow.json"
    command("export", "late-flight", "--output", file)
    command("import", file, "--into", "other")
    assert draft_document(other) == draft_document(flow)
    command("import", file, "--name", "Third", "--slug", "third")
    assert Flow.objects.get(slug="third").name == "Third"


def test_what_is_missing_is_printed_and_a_dry_run_writes_nothing(tmp_path: Path):
    make_flow(row("start_flow", flow="late-flight", uid="s"), name="Late flight")
    file = tmp_path / "flow.json"
    command("export", "late-flight", "--output", file)
    Flow.objects.all().delete()
    file.write_text(file.read_text().replace('"flow": "late-flight"', '"flow": "gone"'))
    out, err = command("import", file, "--dry-run")
    assert out == "Nothing was written.\n"
    assert err == "  missing flow: There is no flow “gone”. (row s)\n"
    assert Flow.objects.count() == 0
    assert command("import", file)[1] == err


@pytest.mark.parametrize("kind", ["svg", "mermaid", "dot"])
def test_a_flow_and_the_way_of_a_run_are_drawn(flow: Flow, kind: str, tmp_path: Path):
    begin = {"svg": "<svg", "mermaid": "%% Late flight", "dot": "digraph"}[kind]
    out, _err = command("render", "late-flight", "--format", kind)
    assert out.startswith(begin)
    assert "Wait 1 hour" in out
    run = start_flowrun(flow)
    drawn, _err = command("render", "--run", run.pk, "--format", kind)
    assert drawn != out
    assert command("render", "late-flight", "--version-number", 1, "--format", kind)[0] != ""
    file = tmp_path / "drawing"
    command("render", "late-flight", "--format", kind, "--output", file)
    assert file.read_text(encoding="utf-8") == out


def test_the_schema_of_the_files_is_printed():
    assert json.loads(command("schema")[0]) == file_schema()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("export", "nothing"), "no flow 'nothing'. Flows: late-flight"),
        (("export", "late-flight", "--version-number", "9"), "no version 9"),
        (("export", "late-flight", "--output", "/no/such/folder/x"), "cannot be written"),
        (("import", "/no/such/file"), "cannot be read"),
        (("import", __file__), "not JSON"),
        (("import", "x", "--into", "late-flight", "--name", "y"), "leave --name and --slug out"),
        (("render",), "Name a flow"),
        (("render", "--run", "999"), "no run #999"),
        (("render", "late-flight", "--run", "1"), "leave them out"),
    ],
)
def test_what_cannot_be_done_ends_in_an_error_that_says_why(
    flow: Flow, args: tuple[str, ...], message: str
):
    with pytest.raises(CommandError, match=message):
        command(*args)


def test_a_file_that_is_no_text_is_refused(flow: Flow, tmp_path: Path):
    file = tmp_path / "flow.json"
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(CommandError, match="not UTF-8"):
        command("import", file)
