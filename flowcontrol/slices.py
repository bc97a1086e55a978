"""A slice: one claimed run in memory, from the claim to where it stops stepping.

Nothing here writes. A slice steps for as long as the rows touch only the state, and tells why it
stopped (:data:`Stop`). From there the data flows on: ``stopping`` makes the row to be written of
it, ``effects`` makes the steps that reach beyond the state, ``executing`` does it for a batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import is_
from time import perf_counter_ns
from typing import Any, Final, TypeVar

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils.translation import gettext as _

from flowcontrol.base import BaseAction, RunHandle
from flowcontrol.claiming import Claim
from flowcontrol.compiling import ProgramPlan
from flowcontrol.cursor import RESUME, RETURN, RUN, Cursor, Frame
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
from flowcontrol.exceptions import EndlessLoop, ExpressionError, StateMismatch
from flowcontrol.expressions import Scope
from flowcontrol.history import StepLog, reverse_patch
from flowcontrol.interpreter import advance
from flowcontrol.models import load_objects, user_named
from flowcontrol.needs import Needs
from flowcontrol.pages import Page
from flowcontrol.problems import Problem
from flowcontrol.program import Node, Program
from flowcontrol.schemas import MASK, mask_secrets
from flowcontrol.storable import state_text, storable, store_result, text_of

T = TypeVar("T")

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

WITH_ITEMS: Final = (Enter, SuspendAndRepeat)
"""Those that may bring the list that a block walks over."""

NO_STEPS: Final = StepLog(0)
"""The log of a slice that is over."""

NOWHERE: Final = Cursor(())
"""The position of a run whose position cannot be told."""


# --- why a slice stops --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BeforeEffects:
    """A row with effects is next; the only stop after which the slice goes on."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A row lets go of the run."""

    directive: Suspend | SuspendAndRepeat


@dataclass(frozen=True, slots=True)
class Yielded:
    """The budget of steps is used up, or the next row is for the workers of another queue."""

    queue: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """There is no row left, or one said Stop."""


@dataclass(frozen=True, slots=True)
class Obsolete:
    """There is no reason any more to go on."""

    reason: str


Stop = BeforeEffects | Parked | Yielded | Ended | Obsolete

BEFORE_EFFECTS: Final = BeforeEffects()
ENDED: Final = Ended()


class ObjectGone(Exception):
    """The object of the run was deleted."""


# --- the slice ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Saved:
    """What a step changes, to go back to when its transaction does not commit."""

    cursor: Cursor
    state: dict[str, Any]
    stored: tuple[Cursor, dict[str, Any]]
    visit: int
    log: StepLog
    claim: Claim
    items: dict[str, list[Any]]


class Slice:
    """One claimed run in memory, between two writes.

    ``stored_cursor``, ``stored_state`` and ``stored_items`` are what the database holds: the other
    end of the next write. ``items`` are the lists that open blocks walk over, by their row.
    """

    __slots__ = (
        "_config",
        "abort_reason",
        "budget",
        "claim",
        "cursor",
        "handle",
        "items",
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
        "stored_cursor",
        "stored_items",
        "stored_state",
        "visit",
        "zone",
    )

    def __init__(self, claim: Claim, needs: Needs, program: Program, cursor: Cursor) -> None:
        self.claim = claim
        self.program = program
        self.plan: ProgramPlan = program.payload
        self.cursor = cursor
        self.state = dict(claim.state)
        self.stored_cursor, self.stored_state = cursor, claim.state
        self.items = self.stored_items = claim.items
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
            acts_as=self.plan.identity,
            load_identity=partial(user_named, self.plan.identity),
            load_names=self.names,
        )
        self.scope.fixed["run"] = self.handle

    # --- stepping -----------------------------------------------------------------------------

    def start(self) -> Stop:
        """The part of a slice that needs no write: is it obsolete? Then step in memory.

        Raises:
            ObjectGone: it was deleted.
        """
        if self.claim.object_id is not None and self.obj is None:
            raise ObjectGone
        condition = self.plan.condition
        if condition is not None and not condition.evaluate(self.scope):
            return Obsolete(f"No longer true: {condition.source}")
        self.scope.reads.clear()
        return self.step_through()

    def step_through(self) -> Stop:
        """Step until a row with effects is next, or until there is something to write."""
        while not self.cursor.ended:
            frame = self.cursor.frames[-1]
            node = self.program[frame.uid]
            if self.budget <= 0:
                return Yielded()
            if node.payload.effects != "none" and frame.phase != RESUME:
                if self.queue is not None and node.payload.queue != self.queue:
                    return Yielded(node.payload.queue)
                return BEFORE_EFFECTS
            directive = self.step(node, frame)
            if isinstance(directive, PARKING):
                return Parked(directive)
        return ENDED

    def step_through_afresh(self) -> Stop:
        """The outside world took its time: whatever is next sees the object as it is now.

        Raises:
            ObjectGone: it was deleted.
        """
        self.reload_object()
        return self.step_through()

    def step(self, node: Node, frame: Frame) -> Directive:
        """One step: ask the row, move the cursor, note what happened."""
        started = perf_counter_ns()
        handle, scope = self.handle, self.scope
        if len(self.cursor.frames) > 1:
            self._set_loop_variables()
        elif scope.loop:
            scope.loop = {}
        if self.plan.state_problems is None:
            directive = self._answer(node, frame)
        else:
            directive = self._fitting(partial(self._answer, node, frame))
        cursor = advance(self.program, self.cursor, directive)
        if frame.phase == RETURN and node.has_budget and isinstance(directive, Enter):
            self._check_turns(cursor, node)
        if isinstance(directive, Abort):
            self.abort_reason = directive.reason
        if handle.progress is not None:
            cursor = with_progress(cursor, self.cursor, handle.progress)
            handle.progress = None
        if isinstance(directive, WITH_ITEMS) and directive.items is not None:
            self.items = {**self.items, frame.uid: directive.items}
        self.cursor = cursor
        self.count_step()
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

    def note_error(self, node: Node, message: str) -> None:
        """The step that failed is over: the flow goes on from where the cursor stands now."""
        self.count_step()
        self.log.add(node.uid, RUN, "caught", 0, self.scope.reads or None, [message])
        self.scope.reads = []
        handle = self.handle
        handle.notes, handle.new_object, handle.progress = [], None, None
        handle.attempt, handle.wakeup = 1, None

    def count_step(self) -> None:
        """One step more is done: the next one has a key of its own."""
        self.steps += 1
        self.budget -= 1
        self.visit += 1
        self.handle.visit = self.visit

    def _answer(self, node: Node, frame: Frame) -> Directive:
        handle, plan = self.handle, node.payload
        wakeup = handle.wakeup
        if wakeup is not None and "error" in wakeup:
            raise ExpressionError(wakeup["error"])
        if frame.phase == RESUME:
            # What woke it is the row's result; a wait that simply ran out has none.
            woken = FlowDirective.CONTINUE
            if wakeup is not None and "data" in wakeup:
                woken = Continue(wakeup["data"])
            store_result(self.state, plan.result_key, woken)
            return woken
        handle.memo, handle.node = frame.memo, node
        if frame.memo is not None and not plan.writes_json:
            # What it changes in there counts only if it returns it.
            handle.memo = deepcopy(frame.memo)
        handle.items = self.items.get(frame.uid) if self.items else None
        config = plan.config_for(handle) if plan.computed else plan.config
        ask = node.run if frame.phase == RUN else node.return_from_children
        if plan.writes_json:
            answer = ask(run=handle, obj=self.obj, config=config)
            store_result(self.state, plan.result_key, answer)
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
        before = text_of(self.state)
        handle.state = scope.state = json.loads(before)
        try:
            answer = storable(ask(run=handle, obj=self.obj, config=config))
            store_result(handle.state, result_key, answer)
            after = state_text(handle.state, self.limits.state_size)
            if after != before:
                self.state = json.loads(after)
        finally:
            handle.state = scope.state = self.state
        return answer

    def _fitting(self, ask: Callable[[], T]) -> T:
        """Ask a row of a flow with a state schema: what it leaves in the state has to fit.

        Raises:
            StateMismatch: it does not; the state is then what it was before the row.
        """
        state, before = self.state, dict(self.state)
        answer = ask()
        # Only what changed is checked: a step that leaves the state alone costs a comparison.
        if not _is_untouched(before, self.state) and reverse_patch(before, self.state) is not None:
            problems = self.plan.state_problems(self.state) if self.plan.state_problems else []
            if problems:
                message = self._mismatch(problems[0])
                state.clear()
                state.update(before)
                self.state = self.handle.state = self.scope.state = state
                raise StateMismatch(message, problems)
        return answer

    def _mismatch(self, problem: Problem) -> str:
        schema, key = self.plan.state_schema or {}, problem.path[0] if problem.path else ""
        told = str(problem)
        shown = {key: self.state.get(str(key))}
        if mask_secrets(schema, shown) != shown:
            told = f"{key}: {MASK}"  # what is wrong with a secret may repeat it
        message = _("The state does not fit the state schema of the flow. %(problem)s")
        return message % {"problem": told}

    def record(self, node: Node, directive: Directive, visit: int) -> None:
        """Let the action write down what came of its call, as part of the step that called."""
        if type(node.action).record is BaseAction.record:
            return
        handle = self.handle
        result = directive.result if isinstance(directive, Continue) else None
        if result is NO_RESULT:
            result = None
        handle.visit = visit
        try:
            ask = partial(
                self._ask_with_own_state, partial(node.action.record, result), self._config
            )
            ask() if self.plan.state_problems is None else self._fitting(ask)
        finally:
            handle.visit = self.visit
        self.log.add_notes(handle.notes)
        handle.notes = []
        if handle.new_object is not None:
            self._adopt_object(handle.new_object)

    def _set_loop_variables(self) -> None:
        names = self.names()
        if "$objects" in names:
            for name, (label, key) in names.pop("$objects").items():
                names[name] = partial(self._object_named, label, key)
        self.scope.loop = names

    def names(self) -> dict[str, Any]:
        """The loop variables of all open blocks; those inside hide those outside."""
        names: dict[str, Any] = {}
        for frame in self.cursor.frames:
            if not frame.names:
                continue
            outer, inner = names.get("$objects"), frame.names.get("$objects", {})
            names.update(frame.names)
            if outer:
                plain = frame.names.keys() - inner.keys()
                names["$objects"] = {
                    name: row for name, row in {**outer, **inner}.items() if name not in plain
                }
        return names

    def _object_named(self, label: str, key: Any) -> models.Model | None:
        """The model instance that a loop variable stands for, read when it is first asked for."""
        pages = self.handle.pages
        for page in pages.values():
            if found := page.find(label, key):
                return found
        row: models.Model | None = apps.get_model(label)._base_manager.filter(pk=key).first()
        if row is not None:
            pages[label] = Page([row])
        return row

    def check_idle_turn(self, directive: Suspend | SuspendAndRepeat) -> None:
        """Count a park that is over at once: that is no wait, and turns without one are limited.

        Raises:
            EndlessLoop: it was one too many.
        """
        if isinstance(directive, SuspendAndRepeat):
            *around, top = self.cursor.frames
            top = top._replace(turns=top.turns + 1)
            self.cursor = Cursor((*around, top))
            self._check_turns(self.cursor, self.program[top.uid])

    def _check_turns(self, cursor: Cursor, node: Node) -> None:
        for frame in reversed(cursor.frames):
            if frame.uid == node.uid:
                if frame.turns > self.limits.hot_loops:
                    raise EndlessLoop(
                        f"It went round {self.limits.hot_loops:,} times without waiting. "
                        f"Add a Delay inside the loop, or a condition that ends it."
                    )
                return

    # --- what the rows see --------------------------------------------------------------------

    def look_at(self, now: datetime) -> None:
        """It is ``now`` for the steps to come."""
        self.handle.now = self.scope.fixed["now"] = now
        self.scope.fixed["today"] = now.astimezone(self.zone).date()

    def _adopt_object(self, obj: models.Model) -> None:
        self.handle.new_object = None
        self.obj = self.scope.fixed["object"] = obj
        content_type = ContentType.objects.get_for_model(obj, for_concrete_model=False)
        self.claim.content_type_id = content_type.pk
        self.claim.object_id = str(obj.pk)

    def reload_object(self) -> None:
        """Read the object again, so that the next step sees it as it is now.

        Raises:
            ObjectGone: it was deleted.
        """
        if self.claim.object_id is None:
            return
        reference = (self.claim.content_type_id, self.claim.object_id)
        self.obj = load_objects([reference]).get(reference)
        self.scope.fixed["object"] = self.obj
        if self.obj is None:
            raise ObjectGone

    # --- what the database holds --------------------------------------------------------------

    def note_stored(self) -> None:
        """The database holds the run as it is now: the new starting point."""
        self.claim.visit = self.visit
        self.stored_cursor, self.stored_state = self.cursor, dict(self.state)
        self.stored_items = self.items
        self.log = StepLog(self.limits.kept_steps)

    def forget_progress(self) -> None:
        """Go back to what the database holds: for a run whose progress it refuses to store."""
        self.cursor, self.items = self.stored_cursor, self.stored_items
        self.state = self.handle.state = self.scope.state = dict(self.stored_state)
        self.visit = self.handle.visit = self.claim.visit
        self.log = StepLog(self.limits.kept_steps)

    def let_go(self) -> None:
        """Nothing is stepped any more: let go of the steps, which are text by now, and of what the
        rows saw.

        A batch keeps its slices until they are written. Slice, scope and handle know one another,
        so without this only the garbage collector would find them.
        """
        self.log = NO_STEPS
        self.handle.close()
        self.scope.fixed.clear()

    def save(self) -> Saved:
        """What :meth:`restore` goes back to."""
        return Saved(
            self.cursor,
            dict(self.state),
            (self.stored_cursor, self.stored_state),
            self.visit,
            self.log.copy(),
            self.claim.copy(),
            self.items,
        )

    def restore(self, saved: Saved) -> None:
        """Undo the steps since ``saved``."""
        self.cursor, self.visit, self.log = saved.cursor, saved.visit, saved.log
        self.stored_cursor, self.stored_state = saved.stored
        self.claim, self.items = saved.claim, saved.items
        self.state = self.handle.state = self.scope.state = saved.state
        self.handle.visit = self.visit
        self.handle.wakeup = self.claim.wakeup
        self.handle.attempt = self.claim.attempts + 1
        self.handle.notes, self.handle.new_object, self.handle.progress = [], None, None


def with_progress(cursor: Cursor, before: Cursor, told: tuple[int, int | None]) -> Cursor:
    """``cursor`` with what the row on top of ``before`` told, if it is still open."""
    place = len(before.frames) - 1
    if len(cursor.frames) <= place or cursor.frames[place].uid != before.uid:
        return cursor
    frames = list(cursor.frames)
    frames[place] = frames[place]._replace(progress=told)
    return Cursor(tuple(frames))


def _is_untouched(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether all values are the very same objects: what most steps leave behind, told fast."""
    return list(before) == list(after) and all(map(is_, before.values(), after.values()))


def _user_loader(pk: int | None) -> Callable[[], Any] | None:
    if pk is None:
        return None
    return lambda: get_user_model()._default_manager.filter(pk=pk).first()
