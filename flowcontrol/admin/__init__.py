"""The pages in Django admin: each calls use-cases and decides nothing.

For the admin of the host site there is :class:`FlowcontrolModelAdminMixin`.
"""

from __future__ import annotations

from flowcontrol.admin import flows, runs, tasks, triggers
from flowcontrol.admin.object_admins import (
    FlowcontrolModelAdminMixin,
    ObjectRunsMixin,
    StartFlowsMixin,
)

__all__ = [
    "FlowcontrolModelAdminMixin",
    "ObjectRunsMixin",
    "StartFlowsMixin",
    "flows",
    "runs",
    "tasks",
    "triggers",
]
