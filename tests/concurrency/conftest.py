"""What the proofs share: how thorough to be, and the blocks that their flows are made of."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcontrol.registry import actions, triggers
from tests.concurrency import blocks

SEED = int(os.environ.get("FLOWCONTROL_TEST_SEED", "2013"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", action="store_true", help="take the proofs of durability in full, for an hour"
    )
    parser.addoption(
        "--patience",
        type=float,
        default=1.0,
        help="with --soak: seconds that a rescue may take beyond lease and sweep; more than one on "
        "a machine that does something else meanwhile",
    )


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether to take everything instead of a sample."""
    # Without the option where pytest was started above this folder.
    return bool(request.config.getoption("--soak", default=False))


@pytest.fixture
def patience(request: pytest.FixtureRequest, soak: bool) -> float:
    """Seconds that a rescue may take beyond lease and sweep; the suite is never alone."""
    return float(request.config.getoption("--patience")) if soak else 5.0


@pytest.fixture
def chance() -> random.Random:
    """The same every time; FLOWCONTROL_TEST_SEED is another one."""
    return random.Random(SEED)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[blocks.Outside]:
    """The outside world, with the action types and triggers that touch it."""
    world = blocks.Outside(tmp_path)
    with (
        actions.temporarily(*blocks.ACTIONS),
        triggers.temporarily(*blocks.TRIGGERS),
        blocks.in_world(world),
    ):
        yield world
