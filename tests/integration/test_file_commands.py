"""``manage.py flowcontrol export | import | render | schema``."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from flowcontrol.documents import make_document, row
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
        (
            ("export", "late-flight", "--output", "/no/such/folder/x"),
            "x cannot be written: No such",
        ),
        (("export", "late-flight", "--output", "/"), "/ cannot be written: Is a directory"),
        (("import", "/no/such/file"), "cannot be read: No such file"),
        (("import", "/"), "/ cannot be read: Is a directory"),
        (("import", "/dev/null", "--into", "nothing"), "no flow 'nothing'. Flows: late-flight"),
        (("check", "nothing"), "no flow 'nothing'. Flows: late-flight"),
        (("render", "nothing"), "no flow 'nothing'. Flows: late-flight"),
        (("render", "late-flight", "--version-number", "9"), "no version 9"),
        (
            ("render", "late-flight", "--output", "/no/such/folder/x"),
            "x cannot be written: No such",
        ),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ('{"format": "flowcontrol.flow", "version": 2}', "version 2; this release reads version 1"),
        ('{"format": "flowcontrol.rows", "version": 1}', "“format” has to be “flowcontrol.flow”"),
        ('{"format": "flowcontrol.flow", "version": 1}', "JSON object"),
    ],
)
@pytest.mark.parametrize("args", [(), ("--dry-run",), ("--into", "late-flight")], ids=str)
def test_a_file_that_cannot_be_read_changes_nothing(
    flow: Flow, tmp_path: Path, text: str, message: str, args: tuple[str, ...]
):
    file, before = tmp_path / "flow.json", draft_document(flow)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CommandError, match=message):
        command("import", file, *args)
    assert (Flow.objects.count(), draft_document(flow)) == (1, before)


def test_an_import_that_is_refused_half_way_leaves_nothing(flow: Flow, tmp_path: Path):
    deep = Log("x")
    for _level in range(70):
        deep = row("group", deep)
    [deep] = make_document(deep)["actions"]
    file = tmp_path / "flow.json"
    command("export", "late-flight", "--output", file)
    data = json.loads(file.read_text(encoding="utf-8"))
    data["document"]["actions"] = [deep]
    file.write_text(json.dumps(data), encoding="utf-8")
    before = draft_document(flow)
    for args in ((), ("--into", "late-flight")):
        with pytest.raises(CommandError, match="levels deep"):
            command("import", file, *args)
    assert (Flow.objects.count(), draft_document(flow)) == (1, before)


def test_a_file_that_cannot_be_written_to_its_end_stays_as_it_was(
    flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "flow.json"
    file.write_text("older", encoding="utf-8")

    def full_disk(self: Path, text: str, **options: Any) -> int:
        with self.open("w") as half:
            half.write(text[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(CommandError, match="cannot be written: No space left"):
        command("export", "late-flight", "--output", file)
    assert file.read_text(encoding="utf-8") == "older"
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_written_goes_where_a_link_leads_and_keeps_the_mode(flow: Flow, tmp_path: Path):
    file, link = tmp_path / "flow.json", tmp_path / "link.json"
    file.write_text("older", encoding="utf-8")
    file.chmod(0o600)
    link.symlink_to(file)
    command("export", "late-flight", "--output", link)
    assert link.is_symlink()
    assert json.loads(file.read_text(encoding="utf-8"))["flow"]["slug"] == "late-flight"
    assert file.stat().st_mode & 0o777 == 0o600
    command("export", "late-flight", "--output", "/dev/null")


def test_a_flow_is_read_from_standard_input(flow: Flow, monkeypatch: pytest.MonkeyPatch):
    text, _err = command("export", "late-flight")
    for data in (text.encode(), text.encode("utf-8-sig")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))
        command("import", "-")
    assert Flow.objects.count() == 3


def test_the_exit_status_says_whether_it_went_well(flow: Flow, process_environment: Any):
    def manage(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "django", "flowcontrol", *args],
            env=process_environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = manage("export", "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "CommandError: There is no flow 'nothing'. Flows: late-flight.\n"
    done = manage("export", "late-flight")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["flow"]["name"] == "Late flight"
    done = manage("render", "late-flight", "--format", "png")
    assert done.returncode == 2
    assert "invalid choice: 'png'" in done.stderr


def test_a_file_that_is_no_text_is_refused(flow: Flow, tmp_path: Path):
    file = tmp_path / "flow.json"
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(CommandError, match="not UTF-8"):
        command("import", file)
