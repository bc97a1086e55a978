"""``python -m tests.benchmarks``: all workloads, or some, and one table of what they reached."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import servers
from tests.benchmarks.results import Result, left_out, table

ROOT = Path(__file__).resolve().parents[2]

WORKLOADS = {
    "one-run": "one run, 1,900 rounds of For { update; If { update } }",
    "long-run": "a step at round 100,000 against one at round 100",
    "long-list": "a round of For each at the end of 100,000 items against one at the start",
    "big-flow": "a step of 500 actions against one of 5",
    "pure": "pending runs of 10 pure actions",
    "resumed": "parked runs resumed, 3 pure actions each",
    "database": "10 database actions, an ORM insert and a commit each",
    "groupable": "the same, sharing commits",
    "commits": "a commit after every action, no ORM effect",
    "sleepers": "a sweep among sleeping runs",
    "workers": "4 workers against 1, actions that wait 20 ms outside",
    "beat": "due runs by beat and 2 Celery processes",
    "dispatcher": "from a trigger to the first action by the Celery dispatcher",
    "builder": "the builder of a flow of 500 rows: opening it, and each kind of change",
    "builder-page": "the same in Chromium: keys, folding, scrolling, dragging, typing, saving",
    "year": "a year of flights, one run each",
}
"""Names of workloads, and what they measure. Each is a function in a module of this package."""

MODULES = {
    "stepping": ("one-run", "long-run", "long-list", "big-flow"),
    "sweeps": ("pure", "resumed", "sleepers"),
    "effects": ("database", "groupable", "commits"),
    "processes": ("workers", "beat", "dispatcher"),
    "builder": ("builder",),
    "builder_page": ("builder-page",),
    "year": ("year",),
}

SIZES = {"full": 1.0, "quick": 0.1, "tiny": 0.002}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "workloads", nargs="*", metavar="workload", help=f"Some of: {', '.join(WORKLOADS)}."
    )
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument(
        "--quick", dest="size", action="store_const", const="quick", default="full",
        help="A tenth of everything, once.",
    )  # fmt: skip
    parser.add_argument(
        "--tiny", dest="size", action="store_const", const="tiny",
        help="As little as there is, to see that it works.",
    )  # fmt: skip
    parser.add_argument(
        "--flights",
        type=Path,
        metavar="PATH",
        default=os.environ.get("FLOWCONTROL_BENCHMARK_FLIGHTS"),
        help="The flights of 2013 for the workload year, see CONTRIBUTING.md.",
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="Tell also what the sweeps of the workload's own process spent their time on.",
    )
    options = parser.parse_args()
    if unknown := set(options.workloads) - set(WORKLOADS):
        parser.error(f"There is no workload {min(unknown)!r}. There are: {', '.join(WORKLOADS)}.")
    if options.flights is not None:
        os.environ["FLOWCONTROL_BENCHMARK_FLIGHTS"] = str(Path(options.flights).resolve())
    databases = ("sqlite", "postgres") if options.database == "both" else (options.database,)
    results: list[Result] = []
    # Stopped half-way, it prints what there is.
    with suppress(KeyboardInterrupt):
        for name in options.workloads or WORKLOADS:
            for database in databases:
                print(f"{WORKLOADS[name]}, {database} …", file=sys.stderr, flush=True)
                results += measure(name, database, options.size, profile=options.profile)
    print(table(results))
    return 0


def measure(name: str, database: str, size: str, *, profile: bool = False) -> list[Result]:
    """Run one workload in a process of its own, on a database of its own."""
    [module] = [module for module, names in MODULES.items() if name in names]
    command = [sys.executable, "-m", "tests.benchmarks.measuring", module, name, str(SIZES[size])]
    if profile:
        command.append("--profile")
    try:
        with environment(database) as variables:
            done = subprocess.run(
                command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True, check=False
            )
    except servers.Unavailable as lack:
        return [left_out(WORKLOADS[name], database, str(lack))]
    if done.returncode:
        return [left_out(WORKLOADS[name], database, "it failed, see above")]
    return [Result.from_json(json.loads(line)) for line in done.stdout.splitlines()]


@contextmanager
def environment(database: str) -> Iterator[Mapping[str, str]]:
    """Variables for a process with an empty database. PostgreSQL is as durable as by default."""
    variables = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
        "FLOWCONTROL_TEST_DATABASE": database,
        "FLOWCONTROL_TEST_DATABASE_NAME": "",
    }
    if database == "postgres":
        with servers.postgres(durable=True) as socket:
            yield variables | {"FLOWCONTROL_TEST_POSTGRES_HOST": str(socket)}
    else:
        with tempfile.TemporaryDirectory(prefix="flowcontrol-bench-") as folder:
            name = str(Path(folder) / "flowcontrol.sqlite3")
            yield variables | {"FLOWCONTROL_TEST_DATABASE_NAME": name}


if __name__ == "__main__":
    sys.exit(main())
