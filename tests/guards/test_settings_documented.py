"""docs/reference/settings.md describes every setting, and nothing that is none."""

from __future__ import annotations

import re

import pytest

from flowcontrol import conf
from tests.guards.repository import PACKAGE, ROOT, python_files

PAGE = ROOT / "docs" / "reference" / "settings.md"


@pytest.fixture(scope="module")
def described() -> set[str]:
    text = PAGE.read_text("utf-8")
    return set(re.findall(r"^#+ .*`FLOWCONTROL_(\w+)`", text, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(conf.DEFAULTS))
def test_the_setting_has_a_heading_of_its_own(name: str, described: set[str]) -> None:
    assert name in described


def test_the_page_describes_no_setting_that_does_not_exist(described: set[str]) -> None:
    assert described - conf.DEFAULTS.keys() == set()


def test_every_setting_has_a_type() -> None:
    described = vars(conf.Settings).keys() | conf.Settings.__annotations__.keys()
    assert conf.DEFAULTS.keys() - described == set()


@pytest.mark.parametrize("name", sorted(conf.DEFAULTS))
def test_something_reads_the_setting(name: str) -> None:
    readers = [
        path.name
        for path in python_files(PACKAGE)
        if path.name != "conf.py" and re.search(rf"\b{name}\b", path.read_text("utf-8"))
    ]
    assert readers, f"FLOWCONTROL_{name} is declared, but no module reads it."
