"""Habits that nobody has to remember, because they are looked at here."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import flowcontrol
from tests.guards.repository import PACKAGE, ROOT, TEXT, files, python_files, text_files

THIS = Path(__file__).resolve()

# Put together here, so that this file does not contain what it looks for.
WORKPLACE = re.compile(
    "|".join(["/" + "work/", "/" + "tmp/env", "/" + "home/[a-z]", "/" + "root/"])
)
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME"]) + r")\b")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", list(text_files()), ids=relative)
def test_no_file_speaks_of_one_persons_machine(path: Path) -> None:
    assert WORKPLACE.findall(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", list(text_files()), ids=relative)
def test_nothing_is_marked_as_unfinished(path: Path) -> None:
    assert UNFINISHED.findall(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", list(python_files()), ids=relative)
def test_annotations_are_never_evaluated(path: Path) -> None:
    statements = [
        node for node in ast.parse(path.read_text("utf-8")).body if not isinstance(node, ast.Expr)
    ]
    if statements and "migrations" not in path.parts:  # Django generates those
        first = statements[0]
        assert isinstance(first, ast.ImportFrom)
        assert first.module == "__future__"


def test_no_download_or_build_was_committed() -> None:
    """Beside text there are pictures, the flights of the demo, and the mark of a typed package."""
    others = {path.suffix for path in files() if path.suffix not in TEXT}
    assert others <= {".png", ".gz", ".typed"}
    assert [relative(path) for path in files() if path.stat().st_size > 1_000_000] == []


def test_modules_are_named_for_what_they_hold() -> None:
    vague = {"utils", "util", "helpers", "misc", "common", "tools"}
    assert [relative(path) for path in python_files() if path.stem in vague] == []


@pytest.mark.parametrize("path", list(python_files(PACKAGE)), ids=relative)
def test_the_module_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert not tree.body or "migrations" in path.parts or ast.get_docstring(tree)


def test_the_version_has_an_entry_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## \[?([\w.]+)", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == flowcontrol.__version__


def test_the_package_needs_neither_celery_nor_psycopg() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = {Requirement(text).name.lower() for text in project["dependencies"]}
    assert required == {"django", "django-treebeard", "jsonschema", "python-dateutil", "tzdata"}
