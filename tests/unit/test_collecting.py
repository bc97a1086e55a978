"""The garbage collector is asked to look less often, and is left as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from flowcontrol.collecting import NEW_OBJECTS, seldom


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_the_collector_looks_seldom_inside_and_as_before_afterwards():
    with seldom():
        assert gc.get_threshold() == (NEW_OBJECTS, 10, 10)
    assert gc.get_threshold() == (700, 10, 10)


def test_an_error_inside_leaves_the_collector_as_it_was():
    with pytest.raises(KeyboardInterrupt), seldom():
        raise KeyboardInterrupt
    assert gc.get_threshold() == (700, 10, 10)


def test_it_lasts_until_the_last_of_several_is_through():
    one, other = seldom(), seldom()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert gc.get_threshold()[0] == NEW_OBJECTS
    other.__exit__(None, None, None)
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("given", [0, NEW_OBJECTS * 2])
def test_who_has_switched_it_off_or_made_it_rarer_is_not_overruled(given: int):
    gc.set_threshold(given, 10, 10)
    with seldom():
        assert gc.get_threshold()[0] == given
        gc.set_threshold(900, 10, 10)
    assert gc.get_threshold()[0] == 900
