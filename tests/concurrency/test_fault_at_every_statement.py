"""Whatever breaks at whichever statement: afterwards everything is as if nothing had happened.

A flow of twelve actions runs in a process of its own, and at its SQL statement number k

* the process is killed before the statement,
* the session is cut after the statement has committed, before the reply, or
* the connection turns out to be dead before the statement.

Then whoever is still there sweeps on. State, history and effects have to equal those of the run
that nothing disturbed; calls to the outside may be repeated, with the same key.
"""

from __future__ import annotations

import mmap
import os
import random
import re
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

import pytest
from django.conf import settings as project
from django.db import (
    InterfaceError,
    OperationalError,
    close_old_connections,
    connection,
)

from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.models import EventKind, Firing, FlowRun, RunEvent, RunWait, Trigger, WaitKind
from flowcontrol.testing import Clock, Delay, For, Log, UpdateState, make_flow, row, travel_to
from tests.concurrency.blocks import Outside
from tests.concurrency.forking import in_child
from tests.concurrency.variants import Variant
from tests.testapp.models import Parcel, Station

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")

NOON: Final = datetime(2013, 2, 8, 12, tzinfo=UTC)
# A minute more than an hour each, so that seconds lost to retries do not matter.
MOMENTS: Final = [NOON + timedelta(minutes=61 * number) for number in range(4)]
LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
STATION: Final = Station(code="JFK", name="Kennedy")


class Fault(StrEnum):
    """What happens at statement number k."""

    KILLED = "killed before it"
    UNHEARD = "committed, but the reply is lost"
    DEAD = "the connection is dead"


# --- the story that is told ---------------------------------------------------------------------


def set_the_scene() -> None:
    """Twelve actions: a loop, database and outside effects, a delay, a sub-flow, a trigger that is
    matched, and a wait for another one."""
    STATION.save(force_insert=True)
    make_flow(
        Delay("PT1H"),
        row("proof.insert"),
        row("proof.fire", trigger="proof.answered"),
        name="Sub-flow",
        slug="sub",
    )
    triggered = make_flow(
        UpdateState(by="trigger.by"), row("proof.insert"), name="Triggered", slug="triggered"
    )
    Trigger.objects.create(name="proof.weighed", flow=triggered, active_at=LONG_AGO)
    make_flow(
        UpdateState(n="0"),
        row("proof.insert"),
        For(2, [row("proof.insert_in_group"), UpdateState(n="n|add:1")], var_name="i"),
        Delay("PT1H"),
        row("start_flow", flow="sub", result_key="sub"),
        row("proof.insert_in_group"),
        row("proof.fire", trigger="proof.weighed"),
        row("proof.call", result_key="answer"),
        row("proof.ask", result_key="by"),
        Log("n is {{ n }}, by {{ by.by }}"),
        name="Main",
        slug="main",
    )


def clear_the_stage(outside: Outside) -> None:
    for model in (RunEvent, RunWait, FlowRun, Firing, Parcel):
        model._base_manager.all()._raw_delete("default")
    outside.forget()


def play(statements: Statements) -> None:
    """The whole story, or what is left of it: start the run and sweep, at each moment."""
    with travel_to(MOMENTS[statements.moment]) as clock:
        for number in range(statements.moment, len(MOMENTS)):
            statements.moment = number
            clock.move_to(max(MOMENTS[number], clock.moment))
            if number == 0:
                keep_trying(lambda: create_flowrun("main", STATION, key="the only one"))
            sweep_until_idle(clock, statements)


def keep_trying(work: Callable[[], T]) -> T:
    """What a worker does about a connection that is gone: a new one."""
    for _attempt in range(20):
        try:
            return work()
        except (OperationalError, InterfaceError):
            close_old_connections()
    raise AssertionError("The database stays away.")


def sweep_until_idle(clock: Clock, statements: Statements) -> None:
    for _sweep in range(50):
        tally = keep_trying(continue_flowruns)
        if tally.executed or tally.matched:
            continue
        with statements.unwatched():
            # What a lost worker held, and what was put off for some seconds, comes in time.
            held = FlowRun.objects.filter(claim_token__isnull=False)
            if keep_trying(lambda: held.update(lease_until=LONG_AGO)):  # noqa: B023
                continue
            if keep_trying(RunWait.objects.filter(kind=WaitKind.RETRY).exists):
                clock.advance(seconds=5)
                continue
        return
    raise AssertionError("The runs never come to rest.")


def tell_the_story(outside: Outside) -> dict[str, Any]:
    """What came of it, in words that do not depend on numbers that the database gave away."""
    runs = list(FlowRun.objects.select_related("flow").order_by("flow__slug", "pk"))
    names: dict[int, str] = {}
    for run in runs:
        names[run.pk] = f"{run.flow.slug} {sum(run.flow.slug in name for name in names.values())}"

    def named(value: Any) -> Any:
        """``value`` with the names of runs instead of their numbers."""
        if isinstance(value, str):
            pattern = r"(?<=#)\d+|\b\d+(?=-\d+\b)"
            return re.sub(pattern, lambda match: names.get(int(match[0]), match[0]), value)
        if isinstance(value, dict):
            return {
                key: names.get(part) if key in ("sub", "run") else named(part)
                for key, part in value.items()
            }
        return [named(part) for part in value] if isinstance(value, list) else value

    calls = [(named(call.step_key), call.said) for call in outside.calls()]
    return {
        "runs": {
            names[run.pk]: {
                "status": run.status,
                "outcome": run.outcome,
                "reason": run.reason,
                "state": named(run.state),
                "state at first": named(_first_state(run)),
                "cursor": run.cursor,
                "visit": run.visit,
                "held": run.claim_token is not None,
                "attempts": (run.attempts, run.rescues),
                "waits": [wait.kind for wait in run.waits.all()],
                "started by": (names.get(run.parent_run_id or 0), run.firing and run.firing.name),
            }
            for run in runs
        },
        "history": {names[run.pk]: _history(run, named) for run in runs},
        "effects": sorted(named(parcel.label) for parcel in Parcel.objects.all()),
        "firings": [
            (firing.name, firing.payload, firing.matched_at is not None, named(firing.results))
            for firing in Firing.objects.order_by("pk")
        ],
        # At least once: what is repeated is the same call.
        "calls": list(dict.fromkeys(calls)),
    }


def _first_state(run: FlowRun) -> dict[str, Any]:
    """Where the history leads back to."""
    state: dict[str, Any] = run.state
    for event in run.events.order_by("-seq"):
        state = event.state_before(state)
    return state


def _history(run: FlowRun, named: Callable[[Any], Any]) -> dict[str, Any]:
    """Kinds of events, and steps.

    Steps that failed together were done again one by one, and that may be told in between.
    """
    events = list(run.events.order_by("seq"))
    assert [event.seq for event in events] == list(range(1, run.seq + 1))
    told_apart = (EventKind.STEPS, EventKind.RETRY)
    return {
        "kinds": [event.kind for event in events if event.kind not in told_apart],
        # All of a step but how long it took.
        "steps": [named([*step[:3], *step[4:]]) for event in events for step in event.steps or ()],
    }


# --- the statements, and what happens at one of them --------------------------------------------


@dataclass
class Statements:
    """Counts the statements of this process, commits included, and lets a fault happen at one.

    How far it came is in memory that the parent shares, so it outlives a killed process.
    """

    fault: Fault | None = None
    at: int = 0
    said: list[tuple[str, bool]] = field(default_factory=list)
    """Each statement, and whether it committed what it did."""
    _shared: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, 16))
    _is_watched: bool = True

    @property
    def count(self) -> int:
        return int(struct.unpack_from("q", self._shared, 0)[0])

    @property
    def moment(self) -> int:
        return int(struct.unpack_from("q", self._shared, 8)[0])

    @moment.setter
    def moment(self, number: int) -> None:
        struct.pack_into("q", self._shared, 8, number)

    def watch(self) -> None:
        """Stand between Django and the database, for the rest of this process."""
        commit = connection._commit  # type: ignore[attr-defined]

        def watched_commit() -> None:
            self._around(commit, "COMMIT", True)

        connection._commit = watched_commit  # type: ignore[attr-defined]
        connection.execute_wrappers.append(
            lambda execute, sql, parameters, many, context: self._around(
                lambda: execute(sql, parameters, many, context),
                sql,
                commits_by_itself() and not sql.startswith("BEGIN"),
            )
        )

    def unwatched(self) -> Any:
        return _Unwatched(self)

    def _around(self, execute: Callable[[], T], sql: str, commits: bool) -> T:
        if not self._is_watched:
            return execute()
        number = self.count + 1
        struct.pack_into("q", self._shared, 0, number)
        self.said.append((sql, commits))
        if number == self.at and self.fault is Fault.KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self.at and self.fault is Fault.DEAD:
            cut()
        answer = execute()
        if number == self.at and self.fault is Fault.UNHEARD:
            if connection.vendor == "postgresql":
                cut()
                notice()
            fail("the connection was lost")
        return answer


@dataclass
class _Unwatched:
    statements: Statements

    def __enter__(self) -> None:
        self.statements._is_watched = False

    def __exit__(self, *exception: object) -> None:
        self.statements._is_watched = True


def commits_by_itself() -> bool:
    """Whether the next statement does. On PostgreSQL it may although Django has a transaction."""
    if connection.vendor == "postgresql" and connection.connection is not None:
        return bool(connection.connection.autocommit)
    return not connection.in_atomic_block


def cut() -> None:
    """Let the session be dead, unknown to Django; SQLite has none and fails this once."""
    if connection.vendor == "sqlite":
        fail("disk I/O error")
    if connection.connection is not None:
        wire = socket.socket(fileno=os.dup(connection.connection.fileno()))
        wire.shutdown(socket.SHUT_RDWR)
        wire.close()


def notice() -> None:
    """Let the driver find out that the session is dead, as it does when no reply comes."""
    assert connection.connection is not None
    connection.connection.pgconn.exec_(b"SELECT 1")
    assert connection.connection.closed


def fail(reason: str) -> None:
    """Raise what the driver would, on the way that Django expects it to come."""
    with connection.wrap_database_errors:
        raise connection.Database.OperationalError(reason)  # type: ignore[attr-defined]


# --- the proof ----------------------------------------------------------------------------------


class Proof:
    """The undisturbed story, and what is told when it is disturbed."""

    def __init__(
        self,
        outside: Outside,
        set_the_scene: Callable[[], None] = set_the_scene,
        tell_the_story: Callable[[Outside], dict[str, Any]] = tell_the_story,
    ) -> None:
        self.outside = outside
        self.tell_the_story = tell_the_story
        set_the_scene()
        play(Statements())  # so that whatever is cached is, in every process that is forked
        clear_the_stage(outside)
        self.said = [(sql, commits) for sql, commits in in_child(self._undisturbed)]
        self.story = tell_the_story(outside)
        assert {run["outcome"] for run in self.story["runs"].values()} == {"complete"}

    def _undisturbed(self) -> list[tuple[str, bool]]:
        statements = Statements()
        statements.watch()
        play(statements)
        return statements.said

    def places(self, fault: Fault) -> list[int]:
        """The numbers of the statements at which ``fault`` can happen."""
        numbers = range(1, len(self.said) + 1)
        if fault is Fault.UNHEARD:
            return [number for number in numbers if self.said[number - 1][1]]
        return list(numbers)

    def near(self, text: str, reach: int, places: Sequence[int]) -> list[int]:
        """Those of ``places`` at a statement with ``text`` or up to ``reach`` after it, from the
        last to the first."""
        marks = [number for number, (sql, _commits) in enumerate(self.said, 1) if text in sql]
        near = [place for place in places if any(0 <= place - mark <= reach for mark in marks)]
        return near[::-1]

    def check(self, fault: Fault, at: int) -> None:
        """Let ``fault`` happen at statement ``at``, sweep on, and compare.

        Raises:
            AssertionError: the story is another one.
        """
        clear_the_stage(self.outside)
        statements = Statements(fault, at)

        def work() -> None:
            statements.watch()
            play(statements)

        in_child(work)
        assert statements.count >= at, "The fault did not happen."
        play(Statements(_shared=statements._shared))
        story = self.tell_the_story(self.outside)
        assert story == self.story, f"{fault} at {at}: {self.said[at - 1][0]}"


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_a_fault_at_any_statement_leaves_no_trace(
    fault: Fault, outside: Outside, soak: bool, chance: random.Random
):
    proof = Proof(outside)
    assert (len(proof.story["effects"]), len(proof.story["calls"])) == (7, 3)
    places = proof.places(fault)
    for at in places if soak else sorted(chance.sample(places, 8)):
        proof.check(fault, at)


PARCEL: Final = 'INSERT INTO "testapp_parcel"'
VARIANTS: Final = [
    (
        Variant(
            "effects commit before the run does",
            "flowcontrol.effects.database_step",
            """with transaction.atomic(using=connection.alias):
            piece.reload_object()
            return _settle(connection, piece, piece.step(node, frame))""",
            """piece.reload_object()
        directive = piece.step(node, frame)
        with transaction.atomic(using=connection.alias):
            return _settle(connection, piece, directive)""",
        ),
        Fault.KILLED,
        PARCEL,
        6,
    ),
    pytest.param(
        Variant(
            "runs and their history are written one after the other",
            "flowcontrol.writing.write_one",
            "with one_transaction(connection):",
            "if True:",
        ),
        Fault.KILLED,
        "INSERT INTO flowcontrol_runevent",
        0,
        marks=pytest.mark.skipif(
            project.DATABASE == "postgres", reason="On PostgreSQL both are one statement."
        ),
    ),
    (
        Variant(
            "firings are matched by the hook after the commit only",
            "flowcontrol.matching.match_firings",
            'return _match_locked(unmatched.order_by("pk")[:limit], now)',
            "return 0",
        ),
        Fault.KILLED,
        'INSERT INTO "flowcontrol_firing"',
        6,
    ),
    (
        Variant(
            "nobody takes over what a lost worker held",
            "flowcontrol.claiming.claim_suspect",
            "return claims[0] if claims else None",
            "return None",
        ),
        Fault.KILLED,
        PARCEL,
        6,
    ),
    (
        Variant(
            "writes do not prove where the run stood",
            "flowcontrol.writing._run_sql",
            "AND seq = %s AND visit = %s",
            "AND 0 <= %s AND 0 <= %s",
        ),
        Fault.UNHEARD,
        PARCEL,
        6,
    ),
    (
        Variant(
            "a step that is done again has another key",
            "flowcontrol.slices.Slice.restore",
            "self.cursor, self.visit, self.log = saved.cursor, saved.visit, saved.log",
            "self.cursor, self.log = saved.cursor, saved.log",
        ),
        Fault.DEAD,
        'INSERT INTO "flowcontrol_flowrun"',
        6,
    ),
]


@pytest.mark.parametrize(("variant", "fault", "text", "reach"), VARIANTS, ids=str)
def test_the_proof_notices(variant: Variant, fault: Fault, text: str, reach: int, outside: Outside):
    with variant.applied():
        proof = Proof(outside)
        places = proof.near(text, reach, proof.places(fault))
        assert places
        with pytest.raises(AssertionError):  # noqa: PT012
            for at in places:
                proof.check(fault, at)
