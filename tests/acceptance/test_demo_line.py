"""The demo, run as the README's line runs it, ends with a report of the real week."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(
    settings.DATABASE != "sqlite", reason="the demo has a database of its own: once is enough"
)

LIMIT_SECONDS = 600


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("demo")
    # Nothing of the suite's project may reach the demo: it has settings and a database of its own.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "FLOWCONTROL_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--no-serve"],
        cwd=ROOT,
        env={**environment, "FLOWCONTROL_DEMO_DIRECTORY": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout


def test_the_report_counts_every_flight_of_the_week(report: str) -> None:
    assert "6,104" in report


def test_the_report_shows_the_blizzard(report: str) -> None:
    # 8 and 9 February 2013: 472 of 930 and 393 of 684 flights never left.
    for number in ("930", "472", "684", "393"):
        assert re.search(rf"\b{number}\b", report), number
