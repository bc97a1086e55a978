"""What the engine promises, said a second time: a small model without a database.

It knows flat flows only: a program is a list of operations. Everything happens at once and nothing
breaks, so there are neither transactions nor proofs in it; a claim is who may write to a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

HOLDING: Final = ("pending", "running", "waiting", "paused")
MOST_RESCUES: Final = 3
RETRY_AFTER: Final = timedelta(seconds=60)

Wait = Literal["time", "event", "retry"]


class Op(NamedTuple):
    """One row: what it does, and for how many hours if it waits."""

    does: Literal["count", "insert", "call", "wait", "await", "try", "try twice", "start"]
    hours: float | None = None


@dataclass
class Flow:
    """A flow with the program that new runs get."""

    slug: str
    program: Sequence[Op]
    max_concurrent: int = 0
    max_concurrent_per_object: int = 0
    when_full: str = "refuse"
    is_paused: bool = False


@dataclass(eq=False)
class Claim:
    """A claim that somebody holds, until somebody else takes the run away."""

    run: Run
    is_expired: bool = False


@dataclass(eq=False)
class Firing:
    """A firing; it wakes each run once at most."""

    name: str
    obj: str
    at: datetime
    is_matched: bool = False
    woke: set[int] = field(default_factory=set)
    """Numbers of runs."""


@dataclass(eq=False)
class Run:
    """What is known of a run, all of it visible in its row but for its claim."""

    number: int
    flow: Flow
    program: Sequence[Op]
    obj: str | None
    due: datetime | None
    status: str = "pending"
    outcome: str = ""
    at: int = 0
    is_resuming: bool = False
    visit: int = 0
    n: int = 0
    wait: Wait | None = None
    look_since: datetime | None = None
    """Firings from this moment on have still to be looked at for its wait."""
    attempts: int = 0
    rescues: int = 0
    was: str = ""
    """The status from which it was paused."""
    claim: Claim | None = None


@dataclass
class World:
    """All flows and runs, and the effects that there have been."""

    flows: dict[str, Flow]
    now: datetime
    runs: list[Run] = field(default_factory=list)
    keys: dict[tuple[str, str], Run] = field(default_factory=dict)
    firings: list[Firing] = field(default_factory=list)
    effects: list[tuple[int, int, bool]] = field(default_factory=list)
    """Number of the run, visit, and whether it was a call to the outside."""
    weather_is_bad: bool = False
    everything_is_paused: bool = False

    # --- starting -----------------------------------------------------------------------------

    def create(self, slug: str, obj: str | None, key: str | None = None) -> Run:
        flow = self.flows[slug]
        if key is not None and (known := self.keys.get((slug, key))):
            return known
        run = Run(len(self.runs), flow, flow.program, obj, self.now)
        if not self.has_room(run):
            match flow.when_full:
                case "queue":
                    run.status = "queued"
                case "restart":
                    while not self.has_room(run):
                        self.cancel(next(r for r in self.runs if self._is_in_the_way(r, run)))
                case _:
                    run.status, run.outcome, run.due, key = "done", "refused", None, None
        self.runs.append(run)
        if key is not None:
            self.keys[slug, key] = run
        return run

    def has_room(self, run: Run) -> bool:
        flow = run.flow
        others = [r for r in self.runs if r is not run and r.flow is flow and r.status in HOLDING]
        same = [r for r in others if r.obj == run.obj]
        if flow.max_concurrent_per_object and run.obj is not None:
            return len(same) < flow.max_concurrent_per_object
        return not flow.max_concurrent or len(others) < flow.max_concurrent

    def _is_in_the_way(self, other: Run, run: Run) -> bool:
        return other.flow is run.flow and other.status in HOLDING

    def promote(self) -> None:
        for flow in self.flows.values():
            for run in self.runs:
                if run.flow is flow and run.status == "queued" and self.has_room(run):
                    run.status = "pending"
                    run.due = max(self.now, run.due or self.now)

    # --- firing -------------------------------------------------------------------------------

    def fire(self, name: str, obj: str) -> Firing:
        firing = Firing(name, obj, self.now)
        self.firings.append(firing)
        return firing

    def match(self, firings: Iterable[Firing]) -> bool:
        """What waits for "answered" of the object goes on, and of any; "weighed" starts a run."""
        new = [firing for firing in firings if not firing.is_matched]
        for firing in new:
            firing.is_matched = True
            if firing.name == "weighed":
                self.create("refusing", firing.obj)
                continue
            for run in self.runs:
                self._wake_by(firing, run)
        return bool(new)

    def take_missed(self) -> None:
        """What fired at the moment at which a run began to wait, or later, wakes it as well."""
        for run in self.runs:
            since, run.look_since = run.look_since, None
            if since is None:
                continue
            for firing in sorted(self.firings, key=lambda firing: firing.at):
                if firing.name == "answered" and firing.at >= since and self._wake_by(firing, run):
                    break

    def _wake_by(self, firing: Firing, run: Run) -> bool:
        if run.wait != "event" or run.obj not in (firing.obj, None) or run.number in firing.woke:
            return False
        firing.woke.add(run.number)
        return self.wake(run)

    def wake(self, run: Run) -> bool:
        is_woken = run.status == "waiting" or (run.status == "paused" and run.wait is not None)
        if is_woken:
            run.due, run.wait = self.now, None
            run.status = "pending" if run.status == "waiting" else "paused"
        return is_woken

    # --- executing ----------------------------------------------------------------------------

    def due_runs(self) -> list[Run]:
        return [
            run
            for run in self.runs
            if run.status in ("pending", "waiting")
            and run.due is not None
            and run.due <= self.now
            and not self.is_held_back(run)
        ]

    def is_held_back(self, run: Run) -> bool:
        return self.everything_is_paused or run.flow.is_paused

    def claim(self, runs: Iterable[Run]) -> list[Claim]:
        claims = []
        for run in runs:
            run.status = "running"
            run.claim = Claim(run)
            claims.append(run.claim)
        return claims

    def suspects(self) -> list[Run]:
        return [
            run
            for run in self.runs
            if run.claim is not None and run.claim.is_expired and not self.is_held_back(run)
        ]

    def rescue(self, run: Run) -> Claim:
        run.rescues += 1
        return self.claim([run])[0]

    def let_leases_expire(self) -> None:
        for run in self.runs:
            if run.claim is not None:
                run.claim.is_expired = True

    def sweep(self) -> None:
        for run in self.runs:
            if run.claim is not None and run.claim.is_expired and self.is_held_back(run):
                run.status, run.claim = "pending", None
        for run in self.suspects():
            self.execute([self.rescue(run)])
        while True:
            is_matched = self.match(self.firings)
            self.promote()
            claims = self.claim(self.due_runs())
            if not claims and not is_matched:
                return
            self.execute(claims)

    def execute(self, claims: Iterable[Claim]) -> None:
        """Execute what the claims still stand for; a claim that was lost moves nothing."""
        for claim in claims:
            if claim.run.claim is claim:
                self._step_through(claim.run)
        self.take_missed()

    def _step_through(self, run: Run) -> None:
        if run.rescues > MOST_RESCUES:
            run.attempts += 1
            self._stop(run, "failed")
            return
        while run.at < len(run.program):
            op = run.program[run.at]
            if run.is_resuming:
                run.is_resuming = False
            elif op.does in ("wait", "await"):
                self._moved(run)
                run.is_resuming = True
                until = None if op.hours is None else self.now + timedelta(hours=op.hours)
                self._stop(run, "waiting", until, "time" if op.does == "wait" else "event")
                return
            elif op.does in ("try", "try twice") and self.weather_is_bad:
                run.attempts += 1
                if op.does == "try twice" and run.attempts < 2:
                    self._stop(run, "waiting", self.now + RETRY_AFTER, "retry")
                else:
                    self._stop(run, "failed")
                return
            else:
                self._take_effect(run, op)
            self._moved(run)
            run.at += 1
        run.outcome = "complete"
        self._stop(run, "done")

    def _take_effect(self, run: Run, op: Op) -> None:
        match op.does:
            case "count":
                run.n += 1
            case "start":
                self.create("plain", run.obj)
            case _:
                self.effects.append((run.number, run.visit, op.does == "call"))

    def _moved(self, run: Run) -> None:
        run.visit += 1
        run.attempts = run.rescues = 0

    def _stop(
        self, run: Run, status: str, due: datetime | None = None, wait: Wait | None = None
    ) -> None:
        run.status, run.due, run.wait, run.claim = status, due, wait, None
        run.look_since = self.now if wait == "event" else None

    # --- operating ----------------------------------------------------------------------------

    def cancel(self, run: Run) -> None:
        run.outcome = "canceled"
        self._stop(run, "done")

    def pause(self, run: Run) -> None:
        run.was, run.status, run.claim = run.status, "paused", None
        if run.was == "running":
            run.wait = None

    def resume(self, run: Run) -> None:
        if run.wait is not None:
            run.status = "waiting"
        elif run.was == "queued":
            run.status = "queued"
        else:
            run.status = "pending"
            run.due = run.due or self.now

    def retry(self, run: Run) -> None:
        run.attempts = run.rescues = 0
        run.status = "pending" if self.has_room(run) else "queued"
        run.due = self.now

    def go_to(self, run: Run, at: int) -> None:
        holds_no_slot = run.status == "failed" or (run.status == "paused" and run.was == "queued")
        run.status = "queued" if holds_no_slot and not self.has_room(run) else "pending"
        run.at, run.is_resuming, run.wait, run.due = at, False, None, self.now
        run.attempts = run.rescues = 0
        run.visit += 1

    def run_now(self, run: Run) -> None:
        run.due = self.now

    def publish(self, slug: str, program: Sequence[Op]) -> None:
        self.flows[slug].program = program
