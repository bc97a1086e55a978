from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from demo.clock import Clock

MONDAY = datetime(2013, 2, 4, 5, tzinfo=UTC)


def test_shows_real_time_until_it_is_set():
    assert abs(Clock().now() - timezone.now()) < timedelta(seconds=5)


def test_stands_where_it_was_set():
    clock = Clock()
    clock.set(MONDAY)

    assert clock.now() == MONDAY
    assert clock.now() == MONDAY


def test_never_goes_back():
    clock = Clock()
    clock.set(MONDAY)

    with pytest.raises(ValueError, match="cannot go back"):
        clock.set(MONDAY - timedelta(seconds=1))


def test_needs_a_time_zone():
    with pytest.raises(ValueError, match="time zone"):
        Clock().set(MONDAY.replace(tzinfo=None))


def test_goes_on_at_the_chosen_pace(monkeypatch: pytest.MonkeyPatch):
    seconds = iter([100.0, 101.0, 103.5])
    monkeypatch.setattr("demo.clock.time.monotonic", lambda: next(seconds))
    clock = Clock()
    clock.set(MONDAY)

    clock.go_on(pace=60)

    assert clock.now() == MONDAY + timedelta(minutes=1)
    assert clock.now() == MONDAY + timedelta(minutes=3, seconds=30)


def test_a_clock_that_was_reset_shows_real_time():
    clock = Clock()
    clock.set(MONDAY)
    clock.reset()

    assert clock.now().year > 2013
