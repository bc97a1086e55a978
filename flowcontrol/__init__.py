"""flowcontrol: durable automations that operations people compose in Django admin."""

from __future__ import annotations

__version__ = "0.1.0"
