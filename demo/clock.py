"""The desk's clock. It stands where the demo puts it, so that a week passes in a minute.

``FLOWCONTROL_CLOCK = "demo.clock.now"`` makes flowcontrol live by it: runs are due, and delays are
counted, in the desk's time.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.utils import timezone


class Clock:
    """Real time until it is set; then it stands still, or goes on at a chosen pace."""

    def __init__(self) -> None:
        self._moment: datetime | None = None
        self._pace = 0.0
        self._since = 0.0

    def now(self) -> datetime:
        """The desk's time, an aware datetime."""
        if self._moment is None:
            return timezone.now()
        if not self._pace:
            return self._moment
        return self._moment + timedelta(seconds=(time.monotonic() - self._since) * self._pace)

    def set(self, moment: datetime) -> None:
        """Put the clock to ``moment``, where it stands still.

        Raises:
            ValueError: ``moment`` is naive, or lies before the time that the clock shows.
        """
        if timezone.is_naive(moment):
            raise ValueError(f"The desk's clock needs a time zone with {moment}.")
        if self._moment is not None and moment < self.now():
            raise ValueError(f"The desk's clock shows {self.now()}; it cannot go back to {moment}.")
        self._moment, self._pace = moment, 0.0

    def go_on(self, pace: float) -> None:
        """From now on let ``pace`` seconds pass in each real second."""
        self._moment, self._since, self._pace = self.now(), time.monotonic(), pace

    def reset(self) -> None:
        """Show real time again."""
        self._moment, self._pace = None, 0.0


clock = Clock()


def now() -> datetime:
    """The desk's time, for ``FLOWCONTROL_CLOCK``."""
    return clock.now()
