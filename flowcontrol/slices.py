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
from dataclasses import dataclass, replace
from datetime import date, datetime
from time import perf_counter_ns
from typing import Any, Final, Literal

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import models, router, transaction
from django.utils import timezone

from flowcontrol.announcing import announce
from flowcontrol.base import RunHandle
from flowcontrol.claiming import Claim
from flowcontrol.compiling import ProgramPlan
from flowcontrol.conf import settings
from flowcontrol.cursor import RESUME, RETURN, RUN, Cursor, Frame
from flowcontrol.dialect import is_lost, run_connection
from flowcontrol.directives import (
    NO_RESULT,
    Abort,
    Continue,
    Directive,
    Enter,
    FlowDirective,
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
from flowcontrol.history import StepLog, reverse_patch
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
    base: dict[str, Any]
    visit: int
    log: StepLog
    claim: Claim


class Slice:
    """One claimed run on its way from the claim to the next write."""

    __slots__ = (
        "_base",
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
    )

    def __init__(self, claim: Claim, needs: Needs, program: Program, cursor: Cursor) -> None:
        self.claim = claim
        self.program = program
        self.plan: ProgramPlan = program.payload
        self.cursor = cursor
        self.state = dict(claim.state)
        self._base = claim.state
        self._config: Mapping[str, Any] = {}
        self.limits = needs.limits
        self.queue = needs.queue
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
            if isinstance(directive, Suspend | SuspendAndRepeat):
                self._park(directive)
                return "to write"
        self._end()
        return "to write"

    def step(self, node: Node, frame: Frame) -> Directive:
        """One step: ask the row, move the cursor, note what happened."""
        started = perf_counter_ns()
        handle, scope, plan = self.handle, self.scope, node.payload
        if len(self.cursor.frames) > 1:
            self._set_loop_variables()
        elif scope.loop:
            scope.loop = {}
        directive = self._answer(node, frame)
        if plan.result_key and isinstance(directive, Continue):
            self._store_result(plan.result_key, directive.result)
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
            return Continue(handle.wakeup["data"]) if handle.wakeup else FlowDirective.CONTINUE
        handle.memo = frame.memo
        config = plan.config_for(handle) if plan.computed else plan.config
        ask = node.run if frame.phase == RUN else node.return_from_children
        if plan.writes_json:
            answer = ask(run=handle, obj=self.obj, config=config)
        else:
            self._config = config
            answer = self._ask_with_own_state(ask, config)
        if answer is None:
            return FlowDirective.CONTINUE
        if type(answer) not in _DIRECTIVE_NAMES:
            raise AuthorError(
                f"Action {node.name!r} returned {answer!r}; an action returns a FlowDirective or "
                f"None."
            )
        return answer

    def _ask_with_own_state(self, ask: Any, config: Mapping[str, Any]) -> Directive | None:
        """Ask an action that may leave anything in the state.

        It gets a copy, which becomes the state only as what JSON makes of it: the rows after it
        see in this pass the same types as they would after a restart, and an action that fails
        half-way leaves nothing behind.
        """
        handle, scope = self.handle, self.scope
        before = _text_of(self.state)
        handle.state = scope.state = json.loads(before)
        try:
            answer: Directive | None = ask(run=handle, obj=self.obj, config=config)
            after = state_text(handle.state, self.limits.state_size)
            if after != before:
                self.state = json.loads(after)
        finally:
            handle.state = scope.state = self.state
        return answer

    def _store_result(self, key: str, result: Any) -> None:
        if result is not NO_RESULT:
            self.state[key] = to_json(result, where=f"result {key!r}")

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
            row, self.to_write = self.to_write, None
            self.write(row)

    def _look_at(self, clock: Clock) -> None:
        now = clock()
        self.handle.now = self.scope.fixed["now"] = now
        self.scope.fixed["today"] = timezone.localtime(now).date()

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
            except (ClaimLost, KeyboardInterrupt):
                raise
            except BaseException:  # noqa: BLE001 (told below, by the step that is to blame)
                self._restore(saved)
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
            if self.cursor.ended or isinstance(directive, Suspend | SuspendAndRepeat):
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
        self.checkpoint()
        saved = self._save()

        def work() -> Stop:
            directive = self.step(node, frame)
            self._look_at(clock)
            with transaction.atomic(using=_alias()):
                result = directive.result if isinstance(directive, Continue) else None
                node.action.record(result, run=self.handle, obj=self.obj, config=self._config)
                return self._settle(directive)

        return self.guarded(work, saved)

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
        except (ClaimLost, KeyboardInterrupt):
            raise
        except _ObjectGone:
            self._finish(Outcome.OBSOLETE, f"Its object ({self.claim.object_id}) is gone.")
        except BaseException as error:  # an action's SystemExit is its run's failure, not ours
            if is_lost(connection, session, error):
                raise ConnectionLost(f"{message_of(error)} (run #{self.claim.id})") from error
            if saved is not None:
                self._restore(saved)
            self.fail(error)
        return "to write"

    def _settle(self, directive: Directive) -> Stop:
        """Write the run as the step left it, inside the step's transaction."""
        if isinstance(directive, Suspend | SuspendAndRepeat):
            self._park(directive)
        elif self.cursor.ended:
            self._end()
        else:
            self.checkpoint()
            return "effect"
        row, self.to_write = self.to_write, None
        assert row is not None
        self.write(row)
        return "to write"

    def checkpoint(self) -> None:
        """Write the progress so far and keep the claim, with a new lease.

        Raises:
            ClaimLost: the run is not ours any more.
        """
        row = self._row(Status.RUNNING, EventKind.STEPS if self.log.count else None)
        row.keep_claim = True
        self.write(row)

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
        self._base = dict(self.state)
        self.log = StepLog(self.limits.kept_steps)
        if not row.keep_claim:
            self.written = row
            announce([row])

    def forget_progress(self) -> None:
        """Go back to what the database holds: for a run whose progress it refuses to store."""
        self.cursor = Cursor.from_json(self.claim.cursor) if self.claim.cursor else self.cursor
        self.state = self.handle.state = self.scope.state = dict(self._base)
        self.visit = self.handle.visit = self.claim.visit
        self.log = StepLog(self.limits.kept_steps)

    def _save(self) -> _Saved:
        return _Saved(
            self.cursor,
            dict(self.state),
            self._base,
            self.visit,
            self.log.copy(),
            replace(self.claim),
        )

    def _restore(self, saved: _Saved) -> None:
        self.cursor, self.visit, self.log = saved.cursor, saved.visit, saved.log
        self.claim, self._base = saved.claim, saved.base
        self.state = self.handle.state = self.scope.state = saved.state
        self.handle.visit = self.visit
        self.to_write = self.written = None

    # --- coming to a stop ---------------------------------------------------------------------

    def _row(self, status: Status, kind: EventKind | None, **event: Any) -> WriteBack:
        """The write that leaves the run in ``status``, with everything since the last one."""
        undo = reverse_patch(self._base, self.state)
        if undo is not None:
            check_size(_text_of(self.state), self.limits.state_size)
        if kind is None and undo is not None:
            kind = EventKind.STEPS
        moved = self.visit != self.claim.visit
        row = WriteBack(
            claim=self.claim,
            status=status,
            cursor=self.cursor.to_json(),
            action_uid=self.cursor.uid,
            visit=self.visit,
            at=self.handle.now,
            state=None if undo is None else self.state,
            # Both count what happened at this very step; a run that got past it starts afresh.
            attempts=0 if moved else self.claim.attempts,
            rescues=0 if moved else self.claim.rescues,
        )
        if kind is not None and self.limits.history != "none":
            row.event = NewEvent(kind, steps=self.log.to_json() or None, undo=undo, **event)
        return row

    def _yield(self, queue: str = "") -> None:
        """Give the run back with its progress, due at once, for a worker of ``queue``."""
        self.cursor = self.cursor.parked()
        self.to_write = self._row(Status.PENDING, EventKind.STEPS if self.log.count else None)
        self.to_write.due = self.handle.now
        self.to_write.queue = queue

    def _park(self, directive: Suspend | SuspendAndRepeat) -> None:
        until, event = directive.until, directive.for_event
        if until is not None and timezone.is_naive(until):
            raise AuthorError(f"A run can wait only until an aware datetime, not {until!r}.")
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

    def _finish(self, outcome: Outcome, reason: str) -> None:
        row = self._row(Status.DONE, EventKind.DONE, reason=clean(reason))
        row.outcome = outcome
        row.reason = clean(reason)
        row.done_at = self.handle.now
        self.to_write = row

    def fail(self, error: BaseException) -> None:
        """Stop at the step that raised: to be tried again, or as failed."""
        uid = self.cursor.uid
        node = self.program.nodes.get(uid)
        attempt = (self.claim.attempts if self.visit == self.claim.visit else 0) + 1
        values = [[name, clean(str(value))[:200]] for name, value in self.scope.reads]
        self.scope.reads = []
        self.handle.notes = []
        if isinstance(error, StateTooBig):
            self.forget_progress()
        detail = describe(error, uid=uid, attempt=attempt, values=values)
        wait = wait_before_retry(error, node.payload.retry if node else None, attempt)
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
    if not storable:
        # to_json converts what it can (dates, say) and names the place of what it cannot.
        text = _text_of(to_json(state, where="the state"))
    check_size(text, most)
    return text


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
