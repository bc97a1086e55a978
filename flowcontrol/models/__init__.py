"""The tables (DESIGN: storage). Use-cases change them; models only say what they are."""

from __future__ import annotations

from flowcontrol.models.drafts import ChangeState, DraftChange, DraftEditor
from flowcontrol.models.engine import EngineState
from flowcontrol.models.flows import Flow, FlowAction, FlowVersion, WhenFull, new_uid
from flowcontrol.models.flowtests import FlowTest
from flowcontrol.models.lifecycle import (
    ALLOWED_FROM,
    CLAIMABLE,
    HOLDS_A_SLOT,
    OPEN,
    Outcome,
    Status,
)
from flowcontrol.models.people import HumanTask, TaskStatus
from flowcontrol.models.references import load_objects, object_reference, user_named
from flowcontrol.models.runs import (
    EventKind,
    FlowRun,
    RunEvent,
    RunWait,
    WaitKind,
)
from flowcontrol.models.triggers import Firing, Trigger, TriggerMode

__all__ = [
    "ALLOWED_FROM",
    "CLAIMABLE",
    "HOLDS_A_SLOT",
    "OPEN",
    "ChangeState",
    "DraftChange",
    "DraftEditor",
    "EngineState",
    "EventKind",
    "Firing",
    "Flow",
    "FlowAction",
    "FlowRun",
    "FlowTest",
    "FlowVersion",
    "HumanTask",
    "Outcome",
    "RunEvent",
    "RunWait",
    "Status",
    "TaskStatus",
    "Trigger",
    "TriggerMode",
    "WaitKind",
    "WhenFull",
    "load_objects",
    "new_uid",
    "object_reference",
    "user_named",
]
