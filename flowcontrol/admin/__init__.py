"""The pages in Django admin: each calls use-cases and decides nothing."""

from __future__ import annotations

from flowcontrol.admin import flows, runs, tasks, triggers

__all__ = ["flows", "runs", "tasks", "triggers"]
