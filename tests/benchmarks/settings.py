"""The suite's project with the benchmarks' own building blocks."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.benchmarks"]

# Pages are asked for by these names.
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]

# Everything is as by default, but for what a workload asks of the workers that it starts.
if poll := os.environ.get("FLOWCONTROL_BENCHMARK_POLL"):
    FLOWCONTROL_WORKER_POLL_SECONDS = float(poll)
if batch := os.environ.get("FLOWCONTROL_BENCHMARK_BATCH"):
    FLOWCONTROL_BATCH_SIZE = int(batch)
