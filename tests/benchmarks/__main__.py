"""``python -m tests.benchmarks``: all workloads, or some, and one table of what they reached."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import servers
from tests.benchmarks.results import Result, left_out, table

ROOT = Path(__file__).resolve().parents[2]

WORKLOADS = {
    "one-run": "one run, 1,900 rounds of For { update; If { update } }",
    "long-run": "a step at round 100,000 against one at round 100",
    "big-flow": "a step of 500 actions against one of 5",
    "pure": "pending runs of 10 pure actions",
    "resumed": "parked runs resumed, 3 pure actions each",
    "database": "10 database actions, an ORM insert and a commit each",
    "groupable": "the same, sharing commits",
    "commits": "a commit after every action, no ORM effect",
    "sleepers": "a sweep among sleeping runs",
}
"""Names for ``--only``, and what they measure. Each is a function in a module of this package."""

MODULES = {
    "stepping": ("one-run", "long-run", "big-flow"),
    "sweeps": ("pure", "resumed", "sleepers"),
    "effects": ("database", "groupable", "commits"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--only", metavar="NAME", action="append", choices=WORKLOADS)
    parser.add_argument("--quick", action="store_true", help="A tenth of everything, once.")
    options = parser.parse_args()
    databases = ("sqlite", "postgres") if options.database == "both" else (options.database,)
    results: list[Result] = []
    for name in options.only or WORKLOADS:
        for database in databases:
            print(f"{WORKLOADS[name]}, {database} …", file=sys.stderr, flush=True)
            results += measure(name, database, options.quick)
    print(table(results))
    return 0


def measure(name: str, database: str, quick: bool) -> list[Result]:
    """Run one workload in a process of its own, on a database of its own."""
    [module] = [module for module, names in MODULES.items() if name in names]
    command = [sys.executable, "-m", "tests.benchmarks.measuring", module, name]
    command += ["--quick"] if quick else []
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
def environment(database: str) -> Iterator[dict[str, str]]:
    """Variables for a process with an empty database. PostgreSQL is as durable as by default."""
    variables = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
        "FLOWCONTROL_TEST_DATABASE": database,
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
