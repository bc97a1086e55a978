"""The README's two commands can be pasted, and call what exists."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.guards.repository import ROOT

README = (ROOT / "README.md").read_text("utf-8")
NOXFILE = (ROOT / "noxfile.py").read_text("utf-8")


def first_code_block(heading: str) -> str:
    section = re.search(rf"^## {re.escape(heading)}$((?:.|\n)*?)(?=^## |\Z)", README, re.MULTILINE)
    assert section, f"README.md has no heading '## {heading}'."
    block = re.search(r"^```\w*\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
    assert block, f"No code block under '## {heading}'."
    return block[1]


@pytest.mark.parametrize("heading", ["Try it", "Run the tests"])
def test_the_command_is_one_line_of_bash_without_a_prompt(heading: str) -> None:
    (line,) = first_code_block(heading).splitlines()
    assert not line.startswith(("$", "#", ">", " "))
    # The appended arguments of the demo must reach nox, so nothing may follow it in the line.
    assert re.search(r"/nox( -s \w+)?$", line)
    subprocess.run(["bash", "-n", "-c", line], check=True)


def test_the_demo_line_names_a_session_of_the_noxfile() -> None:
    (session,) = re.findall(r" -s (\w+)", first_code_block("Try it"))
    assert re.search(rf"^def {session}\(", NOXFILE, re.MULTILINE)


def test_the_test_line_runs_the_default_sessions() -> None:
    assert "-s" not in first_code_block("Run the tests").split()
    assert "nox.options.sessions" in NOXFILE


def test_ci_runs_the_lines_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "README.md" in script
    assert '"Run the tests"' in script
    assert '"Try it"' in script


@pytest.mark.parametrize("page", sorted(set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README))))
def test_the_linked_file_exists(page: str) -> None:
    assert (ROOT / page).exists()
