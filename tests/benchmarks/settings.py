"""The suite's project with the benchmarks' own building blocks."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.benchmarks"]

FLOWCONTROL_DISPATCHER = os.environ.get("FLOWCONTROL_BENCHMARK_DISPATCHER")
