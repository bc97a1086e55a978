"""Signals for the host site, sent after the commit that they tell of.

All four are sent with ``sender=FlowRun`` and ``run_id`` (int). They are announcements: what must
not be missed belongs into a flow, because a process can die before it sends them.
"""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

flowrun_started: Final = Signal()
"""A run was created and may execute."""
flowrun_parked: Final = Signal()
"""A run waits."""
flowrun_failed: Final = Signal()
"""A run stands at a failed step and needs a person. Also sent with ``reason`` (str)."""
flowrun_done: Final = Signal()
"""A run is over. Also sent with ``outcome`` (str)."""
