"""The process of one workload: sets up an empty database, measures, prints JSON lines."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import django
from django.core.management import call_command


@dataclass(frozen=True)
class Options:
    """How thoroughly to measure."""

    quick: bool

    @property
    def repeats(self) -> int:
        return 1 if self.quick else 3

    def amount(self, full: int) -> int:
        """``full``, or a tenth of it."""
        return max(full // 10, 1) if self.quick else full


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
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    django.setup()
    call_command("migrate", verbosity=0, run_syncdb=True)
    module = importlib.import_module(f"tests.benchmarks.{arguments.module}")
    measure = getattr(module, arguments.workload.replace("-", "_"))
    for result in measure(Options(arguments.quick)):
        print(json.dumps(result.to_json()), flush=True)


if __name__ == "__main__":
    main()
