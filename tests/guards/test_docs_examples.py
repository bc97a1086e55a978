"""The tutorial leads from nothing to a run that is done, and the examples of the pages work.

The blocks of the tutorial are pasted in their order into a project of its own, in processes of its
own. The Python of the other pages is executed there: a page that holds tests or only definitions
as a module, any other inside a test of its own. Lines keep their numbers, so a traceback points at
the page.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.guards.documentation import Block, blocks, pages
from tests.guards.repository import ROOT

pytestmark = pytest.mark.serial

TUTORIAL = "tutorial/first-flow.md"
AS_MODULE = {"how-to/test-a-flow.md", "how-to/write-an-action.md", "reference/signals.md"}
SHELL = "python manage.py shell --verbosity 0"
LET_TIME_PASS = """
from django.utils import timezone
from flowcontrol.models import FlowRun

FlowRun.objects.filter(status="waiting").update(due=timezone.now())
"""
READ_THE_BOARD = """
from desk.models import Announcement

print(*Announcement.objects.order_by("pk").values_list("text", flat=True), sep=chr(10))
"""
CHECKS = Path(__file__).parent / "example_checks.py"


def environment(**more: str) -> Mapping[str, str]:
    """As after activating an environment in which flowcontrol is installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **more}


def call(command: str, folder: Path, given: str = "") -> str:
    """What a command of the tutorial prints."""
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def paste(block: Block, folder: Path) -> str:
    """Do with a block what its reader does; what that prints."""
    if block.caption:
        name, _comma, at_the_end = block.caption.partition(", ")
        mode = "a" if at_the_end else "w"
        assert at_the_end in ("", "at the end")
        with (folder / name).open(mode, encoding="utf-8") as file:
            file.write(block.text)
        return ""
    if block.language == "bash":
        return call(block.text, folder)
    if block.language == "python":
        return call(SHELL, folder, block.text)
    if block.remark == "a minute passes":
        return call(SHELL, folder, LET_TIME_PASS)
    return ""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the tutorial, up to the end of its last page."""
    return tmp_path_factory.mktemp("tutorial")


def test_the_tutorial_can_be_pasted_from_top_to_bottom(project: Path):
    told: list[str] = []
    for block in blocks(TUTORIAL):
        if block.language == "text" and block.remark == "printed":
            assert block.text.strip() in told[-1]
        elif block.is_run:
            told.append(paste(block, project))
    assert announced(project) == [
        "UA 1117 to IAH leaves 90 minutes late.",
        "UA 1117 to IAH is still here, and so are you.",
        "UA 1117 to IAH has left.",
    ]


def announced(project: Path) -> list[str]:
    """The texts on the board at the gate."""
    return call(SHELL, project, READ_THE_BOARD).splitlines()


def examples() -> list[str]:
    return [
        page
        for page in pages()
        if page != TUTORIAL
        and any(block.language == "python" and block.is_run for block in blocks(page))
    ]


def as_test(page: str) -> str:
    """The Python of a page as the text of a test module."""
    lines: list[str] = [] if page in AS_MODULE else ["def test_the_examples(prepared):"]
    for block in blocks(page):
        if block.language == "python" and block.is_run:
            lines += [""] * (block.line - 1 - len(lines))
            indent = "" if page in AS_MODULE else "    "
            lines += textwrap.indent(block.text, indent).splitlines()
    return "\n".join(lines) + "\n"


def test_the_examples_of_the_pages_work_in_the_project_of_the_tutorial(project: Path):
    if not (project / "manage.py").exists():
        pytest.fail("The tutorial comes first; run the whole module.")
    for page in examples():
        name = page.removesuffix(".md").replace("/", "_").replace("-", "_")
        (project / f"test_{name}.py").write_text(as_test(page), "utf-8")
    (project / "conftest.py").write_text(PREPARED, "utf-8")
    (project / "test_checks.py").write_text(CHECKS.read_text("utf-8"), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--ds=airline.settings"],
        cwd=project,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


(COMPOSED,) = [block.text for block in blocks(TUTORIAL) if block.remark == "the flow from code"]

PREPARED = f'''
import pytest

from flowcontrol.registry import actions, triggers


@pytest.fixture
def prepared(db):
    """The flow of the tutorial and a flight; what an example registers is forgotten after it."""
    from desk.models import Flight
    from django.utils import timezone

    Flight.objects.create(
        number="UA 1117", destination="IAH", departure=timezone.now(), delay=90
    )
    exec({COMPOSED!r}, {{}})
    with actions.temporarily(), triggers.temporarily():
        yield
'''
