"""The blocks that the flows of the proofs are made of, and the world that they leave traces in.

Every effect leaves a trace that names its step, so that what happened twice, or not at all, shows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from flowcontrol.base import (
    BaseAction,
    Continue,
    Directive,
    Effects,
    FlowDirective,
    RunHandle,
    SuspendAndRepeat,
)
from flowcontrol.registry import TriggerType
from tests.testapp.models import Parcel, Station

Config = Mapping[str, Any]


class Call(NamedTuple):
    """One call to the outside."""

    step_key: str
    said: str
    pid: int
    at: float
    """By the machine's monotonic clock, which all processes share."""


class Outside:
    """What lies outside the database: a file of calls, and gates that actions wait at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = folder / "calls"

    def call(self, step_key: str, said: str = "") -> None:
        line = f"{step_key}\t{said}\t{os.getpid()}\t{time.monotonic()}\n"
        # One write at the end of the file: whole, whoever else writes and whoever is killed.
        file = os.open(self._calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def calls(self) -> list[Call]:
        if not self._calls.exists():
            return []
        lines = [line.split("\t") for line in self._calls.read_text().splitlines()]
        return [Call(key, said, int(pid), float(at)) for key, said, pid, at in lines]

    def forget(self) -> None:
        self._calls.unlink(missing_ok=True)

    def mark(self, name: str) -> None:
        (self._folder / name).touch()

    def is_marked(self, name: str) -> bool:
        return (self._folder / name).exists()

    def wait_for(self, name: str, seconds: float = 30) -> None:
        """Wait until some process has marked ``name``."""
        deadline = time.monotonic() + seconds
        while not self.is_marked(name):
            if time.monotonic() > deadline:
                raise AssertionError(f"Nobody has marked {name!r} within {seconds} s.")
            time.sleep(0.005)

    def wait_for_calls(self, number: int, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while len(self.calls()) < number:
            if time.monotonic() > deadline:
                raise AssertionError(f"There are not {number} calls within {seconds} s.")
            time.sleep(0.005)

    def stop_once(self) -> None:
        """The first to come here marks "inside" and waits for the mark "go on"."""
        try:
            os.close(os.open(self._folder / "inside", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        self.wait_for("go on")


_worlds: list[Outside] = []


@contextmanager
def in_world(world: Outside) -> Iterator[None]:
    """Let the blocks leave their traces in ``world``."""
    _worlds.append(world)
    try:
        yield
    finally:
        _worlds.remove(world)


def world() -> Outside:
    return _worlds[-1]


weighed = TriggerType("proof.weighed", Station)
answered = TriggerType("proof.answered", Station)
TRIGGERS = (weighed, answered)


class Insert(BaseAction):
    """A database effect: one row, named after its step."""

    name = "proof.insert"
    effects: ClassVar[Effects] = "database"

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        Parcel.objects.create(label=run.step_key)
        return None


class InsertInGroup(Insert):
    """The same, in a transaction that it may share with its neighbours."""

    name = "proof.insert_in_group"
    groupable = True


class InsertAndStop(Insert):
    """The same, but the first worker stands still after the insert until it is told to go on."""

    name = "proof.insert_and_stop"

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        super().run(run=run, obj=obj, config=config)
        world().stop_once()
        return None


class CallOutside(BaseAction):
    """An outside call, and a row that is written with what came of it."""

    name = "proof.call"
    effects: ClassVar[Effects] = "external"
    config_schema = {
        "type": "object",
        "properties": {"seconds": {"type": "number", "default": 0}},
        "additionalProperties": False,
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        world().call(run.step_key)
        time.sleep(config["seconds"])
        return Continue("said")

    def record(self, result: Any, *, run: RunHandle, obj: Any, config: Config) -> None:
        Parcel.objects.create(label=f"{result} {run.step_key}")


class CallAndStop(CallOutside):
    """An outside call that the first worker stands still in until it is told to go on."""

    name = "proof.call_and_stop"

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        world().call(run.step_key)
        world().stop_once()
        return Continue("said")


class Fire(BaseAction):
    """Fires a trigger, as a database effect."""

    name = "proof.fire"
    effects: ClassVar[Effects] = "database"
    config_schema = {
        "type": "object",
        "properties": {"trigger": {"type": "string"}},
        "required": ["trigger"],
        "additionalProperties": False,
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        trigger = next(trigger for trigger in TRIGGERS if trigger.name == config["trigger"])
        trigger(obj, payload={"by": run.flow})
        return None


class Ask(BaseAction):
    """Asks the outside, waits for the trigger ``proof.answered``, and thanks the outside for it."""

    name = "proof.ask"
    effects: ClassVar[Effects] = "external"

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        if run.wakeup is None:
            world().call(run.step_key, "asked")
            return SuspendAndRepeat(for_event=answered.name)
        # A statement in the middle of the call, for a proof that looks for a place to break it.
        Station.objects.filter(pk=obj.pk).exists()
        world().call(run.step_key, f"thanked {run.wakeup['data']['by']}")
        return Continue(run.wakeup["data"])


class Await(BaseAction):
    """Waits for the trigger ``proof.answered`` of the run's object."""

    name = "proof.await"
    effects: ClassVar[Effects] = "none"

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        return FlowDirective.SUSPEND(for_event=answered.name)


ACTIONS = (
    Insert,
    InsertInGroup,
    InsertAndStop,
    CallOutside,
    CallAndStop,
    Fire,
    Ask,
    Await,
)
