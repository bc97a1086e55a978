"""The process of one workload: sets up an empty database, measures, prints JSON lines."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter

import django
from django.core.management import call_command


@dataclass(frozen=True)
class Options:
    """How thoroughly to measure: ``part`` of everything, and in full three times."""

    part: float

    @property
    def repeats(self) -> int:
        return 3 if self.part == 1 else 1

    def amount(self, full: int, least: int = 1) -> int:
        """``full``, or a part of it."""
        return max(round(full * self.part), least)


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    began = perf_counter()
    work()
    return perf_counter() - began


def in_turns(
    repeats: int, limit: Callable[[], float], reached: Callable[[], float]
) -> tuple[float, float]:
    """The best of ``limit`` and the best of ``reached``, measured in turns."""
    pairs = [(limit(), reached()) for _number in range(repeats)]
    return max(first for first, _second in pairs), max(second for _first, second in pairs)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("workload")
    parser.add_argument("part", type=float)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    django.setup()
    call_command("migrate", verbosity=0, run_syncdb=True)
    module = importlib.import_module(f"tests.benchmarks.{arguments.module}")
    measure = getattr(module, arguments.workload.replace("-", "_"))
    from tests.benchmarks.profiling import Profile  # needs Django to be set up

    profile = Profile()
    with profile.taken() if arguments.profile else nullcontext():
        for result in measure(Options(arguments.part)):
            print(json.dumps(result.to_json()), flush=True)
    if arguments.profile:
        print(profile.report(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
