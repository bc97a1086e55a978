"""Every deliberately broken variant of the engine still fits the engine that it breaks.

The proofs that use them take minutes; whoever rewrites a line that a variant names learns it here.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.concurrency.variants import Variant
from tests.guards.repository import ROOT


def modules() -> list[str]:
    """The tests that have variants, by dotted path."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "import Variant" in path.read_text("utf-8") and path != Path(__file__)
    ]


def test_every_variant_fits_the_engine():
    for name in modules():
        try:
            importlib.import_module(name)
        except pytest.skip.Exception:  # it needs what is not installed here
            continue
    problems = []
    for variant in Variant.known:
        try:
            variant.check()
        except (LookupError, AttributeError, ImportError) as error:
            problems.append(f"{variant}: {error}")
    assert len(Variant.known) > 20
    assert problems == []
