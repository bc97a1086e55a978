"""A slice: one claimed run on its way from the claim to the next write.

A slice steps in memory for as long as the rows touch only the state, and stops with a row to be
written, or before a row with effects. A database step then runs inside its own commit, an
external one between two. Whatever a row raises stops its own run only; losing the claim drops
what was done since the last write.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, tzinfo
from functools import partial
from time import perf_counter_ns
from typing import Any, Final, Literal

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import InterfaceError, OperationalError, models, router, transaction
from django.utils import timezone

from flowcontrol.announcing import announce
from flowcontrol.base import BaseAction, RunHandle
from flowcontrol.claiming import Claim
from flowcontrol.compiling import ProgramPlan
from flowcontrol.conf import settings
from flowcontrol.cursor import RESUME, RETURN, RUN, Cursor, Frame
from flowcontrol.dialect import is_lost, json_text, run_connection
from flowcontrol.directives import (
    NO_RESULT,
    UNCHANGED,
    Abort,
    Break,
    Continue,
    Directive,
    Enter,
    FlowDirective,
    Leave,
    Suspend,
    SuspendAndRepeat,
)
from flowcontrol.exceptions import (
    AuthorError,
    ClaimLost,
    ConnectionLost,
    EndlessLoop,
    NotJSON,
    StateTooBig,
)
from flowcontrol.expressions import Scope, to_json
from flowcontrol.failures import clean, describe, message_of, wait_before_retry
from flowcontrol.history import StepLog, reverse_patch, shown
from flowcontrol.interpreter import advance
from flowcontrol.models import EventKind, FlowRun, Outcome, Status, WaitKind, load_objects
from flowcontrol.models.references import Reference
from flowcontrol.program import Node, Program
from flowcontrol.programs import Loaded
from flowcontrol.writing import NewEvent, NewWait, WriteBack, write_one

logger = logging.getLogger("flowcontrol")

Clock = Callable[[], datetime]

Stop = Literal["effect", "to write"]
"""Why a slice stopped stepping: a row with effects is next, or there is something to write."""

_DIRECTIVE_NAMES: Final[dict[type, str]] = {
    type(FlowDirective.CONTINUE): "continue",
    type(FlowDirective.ENTER): "enter",
    type(FlowDirective.LEAVE): "leave",
    type(FlowDirective.BREAK): "break",
    type(FlowDirective.ABORT): "abort",
    Suspend: "suspend",
    SuspendAndRepeat: "repeat",
}


PARKING: Final = (Suspend, SuspendAndRepeat)
"""The directives that let go of the run."""

DEEPEST_STATE: Final = 500
"""Levels of lists and objects inside one another; SQLite reads JSON up to 1,000."""

_TOO_DEEP: Final = f"The state is nested more than {DEEPEST_STATE} levels deep."

ALWAYS_TOLD: Final = frozenset({EventKind.FAILED, EventKind.RETRY})
"""Kinds of events that enter the history even where ``FLOWCONTROL_HISTORY`` is ``none``."""

MOST_IN_A_GROUP: Final = 100
"""Steps in one shared transaction: what a crash repeats, and how long rows stay locked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that bound a slice, read once for a batch."""

    history: str
    kept_steps: int
    hot_loops: int
    steps: int
    state_size: int

    @classmethod
    def from_settings(cls) -> Limits:
        return cls(
            history=settings.HISTORY,
            kept_steps=settings.HISTORY_STEPS if settings.HISTORY == "steps" else 0,
            hot_loops=settings.MAX_HOT_LOOPS,
            steps=settings.STEP_BUDGET,
            state_size=settings.MAX_STATE_BYTES,
        )


@dataclass(slots=True)
class Needs:
    """What the runs of a batch need, read with a query each."""

    programs: dict[int, Loaded]
    objects: dict[Reference, models.Model]
    payloads: dict[int | None, Any]
    now: datetime
    today: date
    limits: Limits
    queue: str | None = None
    """The queue this worker serves; ``None``: all of them."""
    zone: tzinfo = field(default_factory=timezone.get_current_timezone)
    """Where ``today`` is today."""

    def program_for(self, claim: Claim) -> Program:
        """The program of a claimed run.

        Raises:
            AuthorError: its document cannot be compiled.
        """
        program = self.programs[claim.version_id].program
        if isinstance(program, AuthorError):
            raise program
        return program


def in_foreign_transaction() -> bool:
    """Whether somebody else's transaction is open: not a test's, and not our own.

    ``durable=True`` refuses to nest, but looks away from the transaction a ``TestCase`` holds.
    """
    connection = transaction.get_connection(router.db_for_write(FlowRun))
    if not connection.in_atomic_block:
        return False
    try:
        with transaction.atomic(using=connection.alias, durable=True):
            return False
    except RuntimeError:
        return True


class _ObjectGone(Exception):
    """The object of the run was deleted."""


@dataclass(slots=True)
class _Saved:
    """What a step changes, to go back to when its transaction does not commit."""

    cursor: Cursor
    state: dict[str, Any]
    start: tuple[Cursor, dict[str, Any]]
    visit: int
    log: StepLog
    claim: Claim


class Slice:
    """One claimed run on its way from the claim to the next write."""

    __slots__ = (
        "_base",
        "_began_at",
        "_config",
        "abort_reason",
        "budget",
        "claim",
        "cursor",
        "handle",
        "limits",
        "log",
        "obj",
        "one_by_one",
        "plan",
        "program",
        "queue",
        "scope",
        "state",
        "steps",
        "to_write",
        "visit",
        "written",
        "zone",
    )

    def __init__(self, claim: Claim, needs: Needs, program: Program, cursor: Cursor) -> None:
        self.claim = claim
        self.program = program
        self.plan: ProgramPlan = program.payload
        self.cursor = cursor
        self.state = dict(claim.state)
        # What the database holds; the other ends of the next write.
        self._began_at, self._base = cursor, claim.state
        self._config: Mapping[str, Any] = {}
        self.limits = needs.limits
        self.queue = needs.queue
        self.zone = needs.zone
        self.visit = claim.visit
        self.log = StepLog(self.limits.kept_steps)
        self.steps = 0
        self.budget = needs.limits.steps
        self.abort_reason = ""
        self.one_by_one = False
        self.to_write: WriteBack | None = None
        self.written: WriteBack | None = None
        self.obj = needs.objects.get((claim.content_type_id, claim.object_id))
        self.scope = Scope(
            state=self.state,
            loop={},
            fixed={
                "object": self.obj,
                "trigger": needs.payloads.get(claim.firing_id),
                "now": needs.now,
                "today": needs.today,
            },
        )
        self.handle = RunHandle(
            pk=claim.id,
            flow=needs.programs[claim.version_id].flow,
            state=self.state,
            scope=self.scope,
            now=needs.now,
            visit=claim.visit,
            attempt=claim.attempts + 1,
            wakeup=claim.wakeup,
            load_user=_user_loader(claim.started_by_id),
        )
        self.scope.fixed["run"] = self.handle

    # --- stepping -----------------------------------------------------------------------------

    def start(self) -> Stop:
        """The part of a slice that needs no write: is it obsolete? Then step in memory."""
        if self.claim.object_id is not None and self.obj is None:
            raise _ObjectGone
        condition = self.plan.condition
        if condition is not None and not condition.evaluate(self.scope):
            self._finish(Outcome.OBSOLETE, f"No longer true: {condition.source}")
            return "to write"
        self.scope.reads.clear()
        return self.step_through()

    def step_through(self) -> Stop:
        """Step until a row with effects is next, or until there is something to write."""
        while not self.cursor.ended:
            frame = self.cursor.frames[-1]
            node = self.program[frame.uid]
            if self.budget <= 0:
                self._yield()
                return "to write"
            if node.payload.effects != "none" and frame.phase != RESUME:
                if self.queue is not None and node.payload.queue != self.queue:
                    self._yield(node.payload.queue)
                    return "to write"
                return "effect"
            directive = self.step(node, frame)
            if isinstance(directive, PARKING):
                self._park(directive)
                return "to write"
        self._end()
        return "to write"

    def step(self, node: Node, frame: Frame) -> Directive:
        """One step: ask the row, move the cursor, note what happened."""
        started = perf_counter_ns()
        handle, scope = self.handle, self.scope
        if len(self.cursor.frames) > 1:
            self._set_loop_variables()
        elif scope.loop:
            scope.loop = {}
        directive = self._answer(node, frame)
        cursor = advance(self.program, self.cursor, directive)
        if frame.phase == RETURN and node.has_budget and isinstance(directive, Enter):
            self._check_turns(cursor, node)
        if isinstance(directive, Abort):
            self.abort_reason = directive.reason
        self.cursor = cursor
        self.steps += 1
        self.budget -= 1
        self.visit += 1
        handle.visit = self.visit
        self.log.add(
            frame.uid,
            frame.phase,
            _DIRECTIVE_NAMES[type(directive)],
            (perf_counter_ns() - started) // 1000,
            scope.reads or None,
            handle.notes or None,
        )
        if scope.reads:
            scope.reads = []
        if handle.notes:
            handle.notes = []
        if handle.new_object is not None:
            self._adopt_object(handle.new_object)
        handle.attempt = 1
        handle.wakeup = None
        return directive

    def _answer(self, node: Node, frame: Frame) -> Directive:
        handle, plan = self.handle, node.payload
        if frame.phase == RESUME:
            # What woke it is the row's result; a wait that simply ran out has none.
            woken = Continue(handle.wakeup["data"]) if handle.wakeup else FlowDirective.CONTINUE
            _store_result(self.state, plan.result_key, woken)
            return woken
        handle.memo = frame.memo
        config = plan.config_for(handle) if plan.computed else plan.config
        ask = node.run if frame.phase == RUN else node.return_from_children
        if plan.writes_json:
            answer = ask(run=handle, obj=self.obj, config=config)
            _store_result(self.state, plan.result_key, answer)
        else:
            self._config = config
            answer = self._ask_with_own_state(ask, config, plan.result_key)
        return FlowDirective.CONTINUE if answer is None else answer

    def _ask_with_own_state(
        self, ask: Any, config: Mapping[str, Any], result_key: str = ""
    ) -> Directive | None:
        """Ask an action that may leave anything in the state.

        It gets a copy, which becomes the state only as what JSON makes of it: the rows after it
        see in this pass the same types as they would after a restart, and an action that fails
        half-way leaves nothing behind.
        """
        handle, scope = self.handle, self.scope
        before = _text_of(self.state)
        handle.state = scope.state = json.loads(before)
        try:
            answer = storable(ask(run=handle, obj=self.obj, config=config))
            _store_result(handle.state, result_key, answer)
            after = state_text(handle.state, self.limits.state_size)
            if after != before:
                self.state = json.loads(after)
        finally:
            handle.state = scope.state = self.state
        return answer

    def _set_loop_variables(self) -> None:
        names: dict[str, Any] = {}
        for frame in self.cursor.frames:
            if frame.names:
                names.update(frame.names)
        self.scope.loop = names

    def _check_turns(self, cursor: Cursor, node: Node) -> None:
        for frame in reversed(cursor.frames):
            if frame.uid == node.uid:
                if frame.turns > self.limits.hot_loops:
                    raise EndlessLoop(
                        f"It went round {self.limits.hot_loops:,} times without waiting. "
                        f"Add a Delay inside the loop, or a condition that ends it."
                    )
                return

    def _adopt_object(self, obj: models.Model) -> None:
        self.handle.new_object = None
        self.obj = self.scope.fixed["object"] = obj
        content_type = ContentType.objects.get_for_model(obj, for_concrete_model=False)
        self.claim.content_type_id = content_type.pk
        self.claim.object_id = str(obj.pk)

    def _reload_object(self) -> None:
        """Read the object again, so that the next step sees it as it is now.

        Raises:
            _ObjectGone: it was deleted.
        """
        if self.claim.object_id is None:
            return
        reference = (self.claim.content_type_id, self.claim.object_id)
        self.obj = load_objects([reference]).get(reference)
        self.scope.fixed["object"] = self.obj
        if self.obj is None:
            raise _ObjectGone

    # --- effects ------------------------------------------------------------------------------

    def step_through_effects(self, clock: Clock, next_step: Callable[[], None]) -> None:
        """Go on from a row with effects to the end of the slice, writing as it goes.

        ``next_step`` is told of each step with effects that begins.

        Raises:
            ClaimLost: the run is not ours any more; what was not written is dropped.
            ConnectionLost: nobody knows what of the last step was written.
        """
        stop: Stop = "effect"
        while stop == "effect":
            next_step()
            self._look_at(clock)
            frame = self.cursor.frames[-1]
            node = self.program[frame.uid]
            if node.payload.effects == "database":
                stop = self._database_step(node, frame)
                go_on = self.step_through
            else:
                stop = self._external_step(node, frame, clock)
                go_on = self._step_through_afresh
            if stop == "effect":
                stop = self.guarded(go_on)
        if self.to_write is not None:
            self.write_stopped()

    def _look_at(self, clock: Clock) -> None:
        now = clock()
        self.handle.now = self.scope.fixed["now"] = now
        self.scope.fixed["today"] = now.astimezone(self.zone).date()

    def _database_step(self, node: Node, frame: Frame) -> Stop:
        """The step, its effects, and what it makes of the run: one commit, or nothing of it.

        Steps of groupable types share the commit. When it fails, nobody knows which of them was
        to blame: all are undone and done again one by one, and the one that fails then tells.
        """
        saved = self._save()

        def one() -> Stop:
            with transaction.atomic(using=_alias()):
                self._reload_object()
                return self._settle(self.step(node, frame))

        def group() -> Stop:
            with transaction.atomic(using=_alias()):
                return self._settle(self._step_through_group())

        if node.payload.groupable and not self.one_by_one:
            try:
                return group()
            except KeyboardInterrupt:
                raise
            except BaseException:  # noqa: BLE001 (told below, by the step that is to blame)
                self._restore(saved)
                self.scope.reads = []
                self.one_by_one = True
        return self.guarded(one, saved)

    def _step_through_group(self) -> Directive:
        """Steps that may share a transaction, from a database step on; the last one's answer."""
        for _number in range(MOST_IN_A_GROUP):
            frame = self.cursor.frames[-1]
            node = self.program[frame.uid]
            if node.payload.effects == "database":
                self._reload_object()
            directive = self.step(node, frame)
            if self.cursor.ended or isinstance(directive, PARKING):
                break
            following = self.program[self.cursor.uid].payload
            if following.effects == "external" or not (
                following.groupable or following.effects == "none"
            ):
                break
            if self.budget <= 0:
                break
        return directive

    def _external_step(self, node: Node, frame: Frame, clock: Clock) -> Stop:
        """Write that the step is next, call with no transaction open, write what came of it.

        A crash in between repeats the call, with the same ``step_key``.
        """
        if in_foreign_transaction():
            self._yield()
            return "to write"
        if self.guarded(self.checkpoint) == "to write":
            return "to write"
        saved = self._save()

        def work() -> Stop:
            directive = self.step(node, frame)
            self._look_at(clock)
            with transaction.atomic(using=_alias()):
                self._record(node, directive, saved.visit)
                return self._settle(directive)

        return self.guarded(work, saved)

    def _record(self, node: Node, directive: Directive, visit: int) -> None:
        """Let the action write down what came of its call, as part of the step that called."""
        if type(node.action).record is BaseAction.record:
            return
        handle = self.handle
        result = directive.result if isinstance(directive, Continue) else None
        if result is NO_RESULT:
            result = None
        handle.visit = visit
        try:
            self._ask_with_own_state(partial(node.action.record, result), self._config)
        finally:
            handle.visit = self.visit
        self.log.add_notes(handle.notes)
        handle.notes = []
        if handle.new_object is not None:
            self._adopt_object(handle.new_object)

    def _step_through_afresh(self) -> Stop:
        """The outside world took its time: whatever is next sees the object as it is now."""
        self._reload_object()
        return self.step_through()

    def guarded(self, work: Callable[[], Stop], saved: _Saved | None = None) -> Stop:
        """Do ``work``; whatever it raises becomes what is written about this run.

        Inside somebody's transaction the work gets a savepoint, so that a failing query in it
        leaves the transaction usable. ``saved`` is what to go back to when it fails.

        Raises:
            ClaimLost: the run is not ours any more.
            ConnectionLost: nobody knows what of it was written.
        """
        connection = run_connection()
        session = connection.connection
        try:
            if connection.in_atomic_block:
                with transaction.atomic(using=_alias()):
                    return work()
            return work()
        except KeyboardInterrupt:
            raise
        except ClaimLost:
            if saved is None or not self._is_still_held():
                raise
            self._restore(saved)
            self.fail(
                AuthorError(
                    "It took the run away from itself, by cancelling, pausing or moving it. An "
                    "action says what should happen by what it returns, for example "
                    "FlowDirective.ABORT."
                )
            )
        except _ObjectGone:
            return self.guarded(self._end_without_object)
        except BaseException as error:  # an action's SystemExit is its run's failure, not ours
            if is_lost(connection, session, error):
                raise ConnectionLost(f"{message_of(error)} (run #{self.claim.id})") from error
            if saved is not None:
                self._restore(saved)
            self.fail(error)
        return "to write"

    def _is_still_held(self) -> bool:
        """Whether the claim stands after a rollback, and the run where this step began: then the
        step itself had taken it away."""
        claim = self.claim
        held = FlowRun.objects.filter(pk=claim.id, claim_token=claim.token)
        return held.filter(seq=claim.seq, visit=claim.visit).exists()

    def _settle(self, directive: Directive) -> Stop:
        """Write the run as the step left it, inside the step's transaction."""
        if isinstance(directive, PARKING):
            self._park(directive)
        elif self.cursor.ended:
            self._end()
        else:
            return self.checkpoint()
        row, self.to_write = self.to_write, None
        assert row is not None
        self.write(row)
        return "to write"

    def checkpoint(self) -> Stop:
        """Write the progress so far and keep the claim. The thread of ``Holding`` renews its lease.

        Raises:
            ClaimLost: the run is not ours any more.
        """
        row = self._row(Status.RUNNING, EventKind.STEPS if self.log.count else None)
        row.keep_claim = True
        self.write(row)
        return "effect"

    def write_stopped(self) -> None:
        """Write how the slice stopped; where that cannot be stored, that it cannot.

        Raises:
            ClaimLost: the run is not ours any more.
        """
        row = self.to_write
        assert row is not None
        try:
            self.write(row)
        except (ClaimLost, OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 (told in the run's history)
            self.forget_progress()
            self.fail(error)
            assert self.to_write is not None
            self.write(self.to_write)
        self.to_write = None

    def write(self, row: WriteBack) -> None:
        """Write one row and take what was written as the new starting point.

        Raises:
            ClaimLost: the run is not ours any more.
        """
        if not write_one(row):
            raise ClaimLost(f"Run #{self.claim.id} was taken over or changed by somebody else.")
        claim = self.claim
        claim.seq += row.event is not None
        claim.visit = self.visit
        claim.attempts = row.attempts
        claim.rescues = row.rescues
        claim.wakeup = row.wakeup
        self._began_at, self._base = self.cursor, dict(self.state)
        self.log = StepLog(self.limits.kept_steps)
        if not row.keep_claim:
            self.written = row
            announce([row])

    def forget_progress(self) -> None:
        """Go back to what the database holds: for a run whose progress it refuses to store."""
        self.cursor = self._began_at
        self.state = self.handle.state = self.scope.state = dict(self._base)
        self.visit = self.handle.visit = self.claim.visit
        self.log = StepLog(self.limits.kept_steps)

    def drop_steps(self) -> None:
        """Let go of the steps that are text by now, ready to be written.

        A batch of runs with all their steps is much for the garbage collector to look through.
        """
        self.log = StepLog(self.limits.kept_steps)

    def _save(self) -> _Saved:
        return _Saved(
            self.cursor,
            dict(self.state),
            (self._began_at, self._base),
            self.visit,
            self.log.copy(),
            replace(self.claim),
        )

    def _restore(self, saved: _Saved) -> None:
        self.cursor, self.visit, self.log = saved.cursor, saved.visit, saved.log
        self._began_at, self._base = saved.start
        self.claim = saved.claim
        self.state = self.handle.state = self.scope.state = saved.state
        self.handle.visit = self.visit
        self.handle.wakeup = self.claim.wakeup
        self.handle.attempt = self.claim.attempts + 1
        self.handle.notes, self.handle.new_object = [], None
        self.to_write = self.written = None

    # --- coming to a stop ---------------------------------------------------------------------

    def _row(self, status: Status, kind: EventKind | None, **event: Any) -> WriteBack:
        """The write that leaves the run in ``status``, with everything since the last one."""
        state, undo = None, reverse_patch(self._base, self.state)
        if undo is not None:
            state = json_text(self.state)
            check_size(state, self.limits.state_size)
        if kind is None and undo is not None:
            kind = EventKind.STEPS
        # A run that could not even begin stays where it is, wherever that is.
        cursor = self.cursor.to_json() if self.cursor != NOWHERE else self.claim.cursor
        moved = self.visit != self.claim.visit
        row = WriteBack(
            claim=self.claim,
            status=status,
            cursor=json_text(cursor),
            action_uid=self.cursor.uid,
            visit=self.visit,
            at=self.handle.now,
            state=state,
            # These belong to this very step; a run that got past it starts afresh.
            attempts=0 if moved else self.claim.attempts,
            rescues=0 if moved else self.claim.rescues,
            wakeup=None if moved else self.claim.wakeup,
        )
        if kind is not None and (self.limits.history != "none" or kind in ALWAYS_TOLD):
            row.event = NewEvent(
                kind,
                steps=json_text(self.log.to_json()) if self.log.count else None,
                undo=None if undo is None else json_text(undo),
                **event,
            )
        return row

    def _yield(self, queue: str = "") -> None:
        """Give the run back with its progress, due at once, for a worker of ``queue``.

        That is no wait: loops go on counting their turns.
        """
        self.to_write = self._row(Status.PENDING, EventKind.STEPS if self.log.count else None)
        self.to_write.due = self.handle.now
        self.to_write.queue = queue

    def _park(self, directive: Suspend | SuspendAndRepeat) -> None:
        until, event = directive.until, directive.for_event
        self.cursor = self.cursor.parked()
        wait = NewWait(
            kind=WaitKind.EVENT if event else WaitKind.TIME if until else WaitKind.WAKE,
            trigger=event or "",
            until=until,
        )
        if event and not directive.any_object:
            wait.content_type_id = self.claim.content_type_id
            wait.object_id = self.claim.object_id
        row = self._row(Status.WAITING, EventKind.PARKED)
        row.due = until
        row.waits = [wait]
        self.to_write = row

    def _end(self) -> None:
        if self.cursor.ended == "aborted":
            self._finish(Outcome.ABORTED, self.abort_reason)
        else:
            self._finish(Outcome.COMPLETE, "")

    def _end_without_object(self) -> Stop:
        self._finish(Outcome.OBSOLETE, f"Its object ({self.claim.object_id}) is gone.")
        return "to write"

    def _finish(self, outcome: Outcome, reason: str) -> None:
        row = self._row(Status.DONE, EventKind.DONE, reason=clean(reason))
        row.outcome = outcome
        row.reason = clean(reason)
        row.done_at = self.handle.now
        self.to_write = row

    def fail(self, error: BaseException) -> None:
        """Stop at the step that raised: to be tried again, or as failed."""
        uid = self.cursor.uid
        try:
            self._stop_at(uid, error)
        except Exception as worse:  # noqa: BLE001 (told in the run's history)
            # What was done since the last write, or how to go on, cannot be written down.
            self.forget_progress()
            self._stop_at(uid, worse, may_retry=False)

    def _stop_at(self, uid: str, error: BaseException, *, may_retry: bool = True) -> None:
        node = self.program.nodes.get(uid)
        attempt = (self.claim.attempts if self.visit == self.claim.visit else 0) + 1
        values = [[name, str(shown(value))] for name, value in self.scope.reads]
        self.scope.reads = []
        self.handle.notes = []
        detail = describe(error, uid=uid, attempt=attempt, values=values)
        policy = node.payload.retry if node else None
        wait = wait_before_retry(error, policy, attempt) if may_retry else None
        if wait is not None:
            row = self._row(Status.WAITING, EventKind.RETRY, detail=detail)
            row.due = self.handle.now + wait
            row.reason = clean(message_of(error))
            row.waits = [NewWait(WaitKind.RETRY, until=row.due)]
        else:
            reason = clean(f"{_name(node)}: {message_of(error)}" if node else message_of(error))
            row = self._row(Status.FAILED, EventKind.FAILED, detail=detail, reason=reason)
            row.reason = reason
            logger.warning("Run #%s failed. %s", self.claim.id, reason)
        row.attempts = attempt
        self.to_write = row


# Made once: json.dumps would build an encoder for every call.
_text_of: Final = json.JSONEncoder(ensure_ascii=False).encode
_strict_text_of: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


NOWHERE: Final = Cursor(())
"""The position of a run whose position cannot be told."""


def storable(answer: Any) -> Directive | None:
    """What an action answered, as something that can be written down.

    Raises:
        AuthorError: it is no directive, or one with something in it that has no place there.
    """
    match answer:
        case None | Continue() | Leave() | Break():
            return answer
        case Enter(memo, names):
            if memo is None and names is None:
                return answer
            variables: Any = to_json(dict(names), where="the loop variables") if names else None
            return Enter(to_json(memo, where="the memo"), variables)
        case Abort(reason):
            return Abort(str(reason or ""))
        case Suspend() | SuspendAndRepeat():
            # Annotations bind nobody at run time.
            until: Any = answer.until
            event: Any = answer.for_event
            if until is not None and not (isinstance(until, datetime) and timezone.is_aware(until)):
                raise AuthorError(f"A run can wait only until an aware datetime, not {until!r}.")
            if event is not None and not isinstance(event, str):
                raise AuthorError(f"A run waits for a trigger by its name, not by {event!r}.")
            if isinstance(answer, SuspendAndRepeat) and answer.memo is not UNCHANGED:
                return replace(answer, memo=to_json(answer.memo, where="the memo"))
            return answer
    raise AuthorError(f"It returned {answer!r}; an action returns a FlowDirective or None.")


def _store_result(state: dict[str, Any], key: str, answer: Directive | None) -> None:
    if key and isinstance(answer, Continue) and answer.result is not NO_RESULT:
        state[key] = to_json(answer.result, where=f"result {key!r}")


def _name(node: Node) -> str:
    label = node.payload.label
    return f'Row "{label}"' if label else f"Row {node.name!r} ({node.uid})"


def _alias() -> str:
    return router.db_for_write(FlowRun)


def _user_loader(pk: int | None) -> Callable[[], Any] | None:
    if pk is None:
        return None
    return lambda: get_user_model()._default_manager.filter(pk=pk).first()


def state_text(state: Any, most: int) -> str:
    """The JSON text of a state.

    Raises:
        NotJSON: something in it cannot be stored; the message says what and where.
    """
    if not isinstance(state, dict):
        raise NotJSON(f"The state has to stay an object, it became {type(state).__name__}.")
    try:
        text = _strict_text_of(state)
        text.encode()
        storable = "\\u0000" not in text
    except (TypeError, ValueError):
        storable = False
    except RecursionError:
        raise NotJSON(_TOO_DEEP) from None
    if storable and text.count("[") + text.count("{") > DEEPEST_STATE:
        _check_depth(state)
    if not storable:
        # to_json converts what it can (dates, say) and names the place of what it cannot.
        text = _text_of(to_json(state, where="the state"))
    check_size(text, most)
    return text


def _check_depth(state: Any) -> None:
    """Refuse what is nested so deep that a database, or another Python, does not read it.

    Raises:
        NotJSON: it has more than :data:`DEEPEST_STATE` levels.
    """
    level, depth = [state], 0
    while level:
        depth += 1
        if depth > DEEPEST_STATE:
            raise NotJSON(_TOO_DEEP)
        inside = (item.values() if isinstance(item, dict) else item for item in level)
        level = [value for values in inside for value in values if isinstance(value, dict | list)]


def check_size(text: str, most: int) -> None:
    """Refuse a state that has grown out of bounds.

    Raises:
        StateTooBig: it has more than ``most`` characters.
    """
    if len(text) > most:
        raise StateTooBig(
            f"The state has grown to {len(text):,} characters; the most allowed are "
            f"{most:,} (FLOWCONTROL_MAX_STATE_BYTES)."
        )
