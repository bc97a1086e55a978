"""docs/reference/findings.md names every finding, as the error or the warning that it is."""

from __future__ import annotations

import re

from flowcontrol.findings import FIXES
from tests.guards.repository import PACKAGE, ROOT, python_files

PAGE = ROOT / "docs" / "reference" / "findings.md"


def described(heading: str) -> set[str]:
    text = PAGE.read_text("utf-8").partition(f"## {heading}")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))


def test_every_finding_is_described_once() -> None:
    assert described("Errors") | described("Warnings") == set(FIXES)
    assert described("Errors") & described("Warnings") == set()


def test_findings_stand_under_what_they_are() -> None:
    source = "".join(path.read_text("utf-8") for path in python_files(PACKAGE))
    warned = set(re.findall(r'_warning\(\s*"([a-z-]+)"', source))
    refused = set(re.findall(r'_error\(\s*"([a-z-]+)"', source))
    assert warned - refused <= described("Warnings")
    assert refused <= described("Errors")
