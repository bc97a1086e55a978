"""The libraries that we ship are what their authors released."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.guards.repository import ROOT

RECORDS = sorted(ROOT.glob("flowcontrol/static/**/vendored.json")) + sorted(
    ROOT.glob("tests/**/vendored.json")
)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_vendored_file_is_unmodified_and_has_its_licence(path: Path) -> None:
    record = json.loads(path.read_text("utf-8"))
    there = {each.name for each in path.parent.iterdir()} - {"vendored.json"}
    assert there == record["sha256"].keys()
    assert "LICENSE" in there
    assert record["version"]
    for name, checksum in record["sha256"].items():
        assert hashlib.sha256((path.parent / name).read_bytes()).hexdigest() == checksum


def test_every_library_is_recorded() -> None:
    assert {path.parent.name for path in RECORDS} == {"axe-core", "htmx", "sortablejs"}
