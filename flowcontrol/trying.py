"""Trying a flow: a run of its draft that is executed by the engine and then undone.

The story of a trial (:func:`try_flow`):

1. open a transaction, write the draft down as a version and a run of it
2. execute the run with a clock of its own; rows with effects are simulated, unless their type says
   that it ``can_try``
3. while the run waits, answer what it waits for if an answer was given, else let time pass
4. roll everything back; what happened stays in the :class:`Trial`

Runs, waits, tasks and children are rows like those of real runs, stepped by the same code. Nothing
of them is ever committed: nobody else sees them, nothing is announced, no firing is matched.
"""

from __future__ import annotations

import builtins
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, Final, Literal

from django.db import InterfaceError, OperationalError, models, router, transaction
from django.utils.translation import gettext as _

from flowcontrol.base import BaseAction, Continue, Directive, Effects, RunHandle
from flowcontrol.claiming import Claim, claim_for_trial
from flowcontrol.compiling import compile_document
from flowcontrol.conf import settings
from flowcontrol.cursor import RUN, Cursor, Frame
from flowcontrol.documents import JSONObject, read_document
from flowcontrol.drafting import draft_document, frozen
from flowcontrol.exceptions import (
    AuthorError,
    ClaimLost,
    ConnectionLost,
    StartRefused,
    TrialRefused,
)
from flowcontrol.executing import execute_alone
from flowcontrol.expressions import to_json
from flowcontrol.failures import message_of
from flowcontrol.history import same, shown
from flowcontrol.models import (
    CLAIMABLE,
    EventKind,
    Firing,
    Flow,
    FlowRun,
    FlowVersion,
    Outcome,
    RunEvent,
    RunWait,
    Status,
    WaitKind,
    object_reference,
)
from flowcontrol.needs import Limits, Needs, read_needs
from flowcontrol.program import Node, Program
from flowcontrol.programs import Loaded
from flowcontrol.recording import wake
from flowcontrol.registry import OBJECT_SAVED
from flowcontrol.schemas import mask_secrets, replace_formatted
from flowcontrol.slices import Slice
from flowcontrol.starting import check_object, start_state
from flowcontrol.storable import store_result
from flowcontrol.trials import trial

MOST_STEPS: Final = 10_000
"""Steps of one trial, those of the runs it starts among them."""

MOST_JUMPS: Final = 300
"""How often the clock of one trial is moved."""

MOST_SECONDS: Final = 5.0
"""How long a trial may take: SQLite has one writer, and everybody else waits for it."""

EVEN_POLLS: Final = 20
"""How often a row that looks again and again is asked at its own pace; then the pace doubles."""

LONGEST_POLLING: Final = timedelta(days=366)
"""For how long such a row is given the chance to find what it looks for."""

SLICE: Final = 500
"""Steps between two looks at these bounds."""

ANSWERED_BY_WAKING: Final = (WaitKind.EVENT, WaitKind.TASK, WaitKind.WAKE)
"""Waits whose rows take what woke them for their result."""

Answers = Mapping[str, Any]
"""By uid of a row, what it gives or what it waits for: ``{"result": …}``, ``{"error": "text"}`` or
``{"timeout": true}``; or a list of such for one call after another, the last one repeated."""

TrialOutcome = Literal[
    "complete", "aborted", "obsolete", "errored", "failed", "waiting", "reached", "stopped"
]
"""How a trial ended: as its run did, or ``failed`` at a row, ``waiting`` for what nobody answers,
``reached`` where it should stop, ``stopped`` by the bounds of a trial."""


@dataclass(frozen=True, slots=True)
class Call:
    """A row with effects that was asked: with what config, and whether it was only simulated.

    ``config`` is evaluated, its templates are rendered, its secrets masked.
    """

    uid: str
    flow: str
    action: str
    effects: Effects
    config: JSONObject
    is_simulated: bool
    answer: Any = None


@dataclass(frozen=True, slots=True)
class TrialStep:
    """One step: which row, what it read, what it answered, what it changed.

    ``changes`` are the keys of the state with their values ``(before, after)``; a missing value is
    :data:`MISSING`. ``flow`` is the slug of the flow whose row it is.
    """

    run: int
    flow: str
    uid: str
    phase: str
    directive: str
    at: datetime
    reads: Sequence[tuple[str, Any]] = ()
    notes: Sequence[str] = ()
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    call: Call | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Skip:
    """Time that was skipped, or a wait that was answered: ``kind`` is a ``WaitKind``."""

    run: int
    flow: str
    uid: str
    kind: str
    since: datetime
    until: datetime
    trigger: str = ""
    was_answered: bool = False


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""Tells a key that is not there from one whose value is null."""


@dataclass(slots=True)
class Trial:
    """What came of trying a flow.

    ``trace`` has steps and skips in order; ``uid`` is the row where it stopped (empty: it ended);
    ``detail`` tells of a failure, as the history of a run would.
    """

    outcome: TrialOutcome
    reason: str
    state: JSONObject
    start_state: JSONObject
    trace: list[TrialStep | Skip]
    began: datetime
    ended: datetime
    slug: str
    uid: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> list[TrialStep]:
        return [entry for entry in self.trace if isinstance(entry, TrialStep)]

    @property
    def skips(self) -> list[Skip]:
        return [entry for entry in self.trace if isinstance(entry, Skip)]

    @property
    def calls(self) -> list[Call]:
        """The rows with effects that were asked, in order."""
        return [step.call for step in self.steps if step.call is not None]

    @property
    def reached(self) -> set[str]:
        """The rows of the flow, by uid, that were asked."""
        return {step.uid for step in self.steps if step.flow == self.slug}

    @property
    def counts(self) -> Counter[str]:
        """How often each row of the flow was asked, by uid."""
        return Counter(
            step.uid for step in self.steps if step.flow == self.slug and step.phase == RUN
        )


def try_flow(
    draft: Flow | Mapping[str, Any],
    obj: models.Model | None = None,
    *,
    flow: Flow | None = None,
    state: Mapping[str, Any] | None = None,
    trigger_payload: Mapping[str, Any] | None = None,
    answers: Answers | None = None,
    until: str = "",
    now: datetime | None = None,
    user: Any = None,
) -> Trial:
    """Run a draft to its end, or as far as it gets, and undo everything.

    Args:
        draft: the flow whose draft is tried, or a document.
        obj: what the run is about; it has to be saved.
        flow: the flow that a document belongs to.
        state: the start state.
        trigger_payload: what expressions read as ``trigger``.
        answers: what rows give that are not called, and what answers a wait, see :data:`Answers`.
        until: the uid of a row; the trial stops when the run comes to it.
        now: when the run starts (aware); by default now.
        user: who starts it.

    Raises:
        TrialRefused: object, state, payload or answers do not fit, or the database is busy.
            Whatever goes wrong in a row is the outcome of the trial.
    """
    if isinstance(draft, Flow):
        owner, document = draft, frozen(draft_document(draft))
    else:
        owner, document = flow or Flow(name=_("A flow"), slug="try"), read_document(draft)
    now = now or settings.CLOCK()
    try:
        check_object(owner, document, obj)
        begin_with = start_state(owner, document, state)
        payload = to_json(dict(trigger_payload or {}), where="the payload")
        reference = object_reference(obj)
    except (StartRefused, AuthorError, ValueError) as error:
        raise TrialRefused(str(error)) from error
    bench = _Bench(owner.slug, now, check_answers(answers or {}), until)
    starting = _Start(owner, document, reference, begin_with, payload, user)
    result: Trial | None = None
    try:
        with trial(), transaction.atomic(using=router.db_for_write(FlowRun)):
            result = bench.run(starting)
            raise _RollBack
    except _RollBack:
        assert result is not None
        return result
    except (OperationalError, InterfaceError, ConnectionLost, ClaimLost) as error:
        raise TrialRefused(
            _("The database is busy at this moment: %(error)s. Please try again.")
            % {"error": error}
        ) from error


@dataclass(frozen=True, slots=True)
class RunInput:
    """What a run was started with; ``obj`` is as it is now, or ``None`` if it is gone."""

    obj: models.Model | None
    state: JSONObject
    payload: JSONObject
    started: datetime


def input_of(run: FlowRun) -> RunInput:
    """What ``run`` was started with, so that the draft can be tried with the same.

    Where ``FLOWCONTROL_HISTORY`` keeps no history, the state is what the run has now.
    """
    state = dict(run.state)
    for event in run.events.order_by("-seq").only("undo", "seq", "run").iterator():
        state = event.state_before(state)
    payload = run.firing.payload if run.firing is not None else {}
    return RunInput(run.content_object, state, dict(payload), run.created_at)


def check_answers(answers: Any) -> dict[str, list[JSONObject]]:
    """The answers of a trial, each as a list.

    Raises:
        TrialRefused: one of them is none.
    """
    if not isinstance(answers, Mapping):
        raise TrialRefused(_("Answers are an object with the ids of rows as keys."))
    checked: dict[str, list[JSONObject]] = {}
    for uid, given in answers.items():
        several = given if isinstance(given, list) else [given]
        for answer in several:
            is_one = isinstance(answer, Mapping) and len(answer) == 1
            if not is_one or next(iter(answer)) not in ("result", "error", "timeout"):
                raise TrialRefused(
                    _(
                        "The answer for row %(uid)s has to be {“result”: …}, {“error”: “text”} or "
                        "{“timeout”: true}, or a list of such."
                    )
                    % {"uid": uid}
                )
        checked[str(uid)] = [_plain(each) for each in several]
    return checked


def _plain(answer: Mapping[str, Any]) -> JSONObject:
    try:
        return {key: to_json(value, where=_("the answer")) for key, value in answer.items()}
    except AuthorError as error:
        raise TrialRefused(str(error)) from error


class _RollBack(Exception):
    """Ends the transaction of a trial."""


class SimulatedError(Exception):
    """What a row raises that was told to fail."""


def error_told(text: str) -> Exception:
    """The error that a text such as ``ConnectionError: no route`` speaks of.

    A class that Python does not have itself becomes one of this name, because retry policies and
    error rows go by the name.
    """
    name, colon, message = text.partition(":")
    name = name.strip()
    if not colon or not name.replace(".", "").isidentifier():
        return SimulatedError(text)
    found = getattr(builtins, name, None)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        module, _dot, short = name.rpartition(".")
        found = type(short, (SimulatedError,), {"__module__": module or __name__})
    try:
        error: Exception = found(message.strip())
    except Exception:  # noqa: BLE001 (a class that wants other arguments)
        return SimulatedError(text)
    return error


# --- executing ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Start:
    """What a trial writes down to begin with."""

    flow: Flow
    document: JSONObject
    reference: Mapping[str, Any]
    state: JSONObject
    payload: Any
    user: Any

    def insert(self, now: datetime) -> FlowRun:
        """Flow, version, firing and run. In bulk, because that sends no signals."""
        if self.flow._state.adding:
            # Nobody ever sees it, but two trials at once must not wait for each other.
            self.flow.slug = f"try-{random.getrandbits(64):x}"
            Flow.objects.bulk_create([self.flow])
        version = FlowVersion(
            flow=self.flow,
            number=random.randint(10**9, 2 * 10**9),
            document=self.document,
            checksum="",
        )
        FlowVersion.objects.bulk_create([version])
        firing = Firing(name="", payload=self.payload, at=now, matched_at=now, **self.reference)
        Firing.objects.bulk_create([firing])
        run = FlowRun(
            flow=self.flow,
            version=version,
            state=self.state,
            due=now,
            created_at=now,
            firing=firing,
            started_by=self.user if self.user is not None and self.user.pk else None,
            **self.reference,
        )
        FlowRun.objects.bulk_create([run])
        return run


@dataclass
class _Bench:
    """A world of its own for one trial: its clock, its programs, and what happened."""

    slug: str
    now: datetime
    answers: Mapping[str, list[JSONObject]]
    until: str
    steps_left: int = field(default_factory=lambda: MOST_STEPS)
    jumps_left: int = field(default_factory=lambda: MOST_JUMPS)
    was_reached: bool = False
    trace: dict[Any, TrialStep | Skip] = field(default_factory=dict)
    calls: dict[tuple[int, int], Call] = field(default_factory=dict)
    used: Counter[str] = field(default_factory=Counter)
    programs: dict[int, Loaded] = field(default_factory=dict)
    polls: Counter[tuple[int, str]] = field(default_factory=Counter)
    forced: dict[int, Any] = field(default_factory=dict)
    main: int = 0
    main_version: int = 0
    ends_at: float = 0.0

    def clock(self) -> datetime:
        return self.now

    @property
    def is_over(self) -> bool:
        """Whether the bounds of a trial are reached."""
        return self.steps_left <= 0 or self.jumps_left <= 0 or monotonic() > self.ends_at

    # --- the story ---

    def run(self, start: _Start) -> Trial:
        self.ends_at = monotonic() + MOST_SECONDS
        began = self.now
        inserted = start.insert(self.now)
        self.main, self.main_version = inserted.pk, inserted.version_id
        while not self.was_reached and not self.is_over:
            runs, waits = self._look()
            if not self._execute_next(runs) and not self._wait_over(runs, waits):
                break
        return self._trial(began, start.state)

    def _look(self) -> tuple[list[FlowRun], dict[int, RunWait]]:
        """The run that is tried, those it waits for, at any depth, and what each waits for."""
        runs: list[FlowRun] = []
        waits: dict[int, RunWait] = {}
        level = list(FlowRun.objects.filter(pk=self.main))
        while level:
            runs += level
            waiting = [run.pk for run in level if run.status == Status.WAITING]
            found = RunWait.objects.filter(run__in=waiting) if waiting else ()
            waits.update({wait.run_id: wait for wait in found})
            # A wait for runs that was answered is not theirs to end.
            parents = [
                run.pk
                for run in level
                if run.pk in waits
                and waits[run.pk].kind == WaitKind.CHILDREN
                and not self._has_answer(run)
            ]
            level = self._children_of(parents) if parents else []
        return runs, waits

    def _children_of(self, parents: Sequence[int]) -> list[FlowRun]:
        children = FlowRun.objects.filter(parent_run__in=parents, status__in=CLAIMABLE)
        return list(children.exclude(awaited_as="").order_by("due", "pk"))

    def _execute_next(self, runs: Sequence[FlowRun]) -> bool:
        """Execute what is due now; whether there was anything."""
        for run in runs:
            is_due = run.status in CLAIMABLE and run.due is not None and run.due <= self.now
            claim = claim_for_trial(run.pk, self.now) if is_due else None
            if claim is not None:
                self._execute(claim)
                return True
        return False

    def _execute(self, claim: Claim) -> None:
        """One slice, as it would be for real, with programs and a clock of its own."""
        limits = replace(Limits.from_settings(), history="steps", kept_steps=0, steps=SLICE)
        needs = replace(read_needs([claim], self.now, load=self._load), limits=limits)
        execute_alone(claim, needs, self.clock, partial(_TriedSlice, self))

    def _load(self, version_ids: Iterable[int]) -> dict[int, Loaded]:
        """Programs for this trial alone, compiled once."""
        for version_id in version_ids:
            if version_id not in self.programs:
                self._compile(version_id)
        return self.programs

    def _compile(self, version_id: int) -> None:
        """Compile a version; its rows with effects get stand-ins."""
        version = FlowVersion.objects.select_related("flow").get(pk=version_id)
        slug = self.slug if version_id == self.main_version else version.flow.slug
        program: Program | AuthorError
        try:
            program = compile_document(read_document(version.document))
        except AuthorError as error:
            program = error
        else:
            for node in program:
                if node.payload.effects != "none":
                    _put_stand_in(self, slug, node)
        self.programs[version_id] = Loaded(slug, program)

    # --- waiting ---

    def _wait_over(self, runs: Sequence[FlowRun], waits: Mapping[int, RunWait]) -> bool:
        """End the wait that ends first: by an answer, or by letting time pass. Whether one did."""
        for run in runs:
            wait = waits.get(run.pk)
            if wait is not None and self._answer_wait(run, wait):
                return True
        timed = [run for run in runs if run.status in CLAIMABLE and run.due is not None]
        if not timed:
            return False
        run = min(timed, key=lambda run: (run.due, run.pk))
        moment = self._moment_after(run, waits.get(run.pk))
        if moment is None:
            return False
        self.jumps_left -= 1
        self._note_skip(run, waits.get(run.pk), until=moment)
        self.now = moment
        return True

    def _moment_after(self, run: FlowRun, wait: RunWait | None) -> datetime | None:
        """When a run goes on; ``None``: it would look for something again and again, for ever."""
        assert run.due is not None
        length = max(run.due - self.now, timedelta(0))
        is_asked_again = run.cursor.get("frames", [{}])[-1].get("phase", RUN) == RUN
        if wait is None or wait.kind == WaitKind.RETRY or not is_asked_again:
            return self.now + length
        polls = self.polls[run.pk, run.action_uid]
        self.polls[run.pk, run.action_uid] += 1
        length *= 2 ** max(polls - EVEN_POLLS, 0)
        return self.now + length if length <= LONGEST_POLLING else None

    def _answer_wait(self, run: FlowRun, wait: RunWait) -> bool:
        if wait.kind in (WaitKind.TIME, WaitKind.RETRY) and not self.polls[run.pk, run.action_uid]:
            return False
        answer = None if self._is_foreign(run) else self.answer_for(run.action_uid)
        if answer is None or "timeout" in answer:
            return False
        self.jumps_left -= 1
        self._note_skip(run, wait, until=self.now, was_answered=True)
        wakeup = {"by": str(wait.kind), "trigger": wait.trigger, "data": answer.get("result")}
        if "error" in answer or wait.kind not in ANSWERED_BY_WAKING or wait.trigger == OBJECT_SAVED:
            # These rows look for themselves whether they are to go on: they are not asked.
            self.forced[run.pk] = answer
        wake(run.pk, wakeup, self.now, reason=_("Answered in a trial"))
        return True

    def _has_answer(self, run: FlowRun) -> bool:
        given = self.answers.get(run.action_uid, ())
        return not self._is_foreign(run) and any("timeout" not in answer for answer in given)

    def _is_foreign(self, run: FlowRun) -> bool:
        """Answers name rows of the flow that is tried, not of those it starts."""
        return run.version_id != self.main_version

    def _note_skip(self, run: FlowRun, wait: RunWait | None, **told: Any) -> None:
        self.trace["skip", len(self.trace)] = Skip(
            run=run.pk,
            flow=self._slug_of(run),
            uid=run.action_uid,
            kind=wait.kind if wait is not None else WaitKind.TIME,
            since=self.now,
            trigger=wait.trigger if wait is not None else "",
            **told,
        )

    def _slug_of(self, run: FlowRun) -> str:
        return self.programs[run.version_id].flow

    # --- what rows ask ---

    def answer_for(self, uid: str) -> JSONObject | None:
        """What was given for the next call of this row, if anything."""
        given = self.answers.get(uid)
        if not given:
            return None
        answer = given[min(self.used[uid], len(given) - 1)]
        self.used[uid] += 1
        return answer

    def note_call(self, run: RunHandle, call: Call) -> None:
        self.calls[run.pk, run.visit] = call

    def note_step(self, piece: _TriedSlice, step: TrialStep, visit: int, attempt: int) -> None:
        """Keep a step. One that is done again because its transaction failed takes its place."""
        key = (piece.claim.id, visit, attempt)
        for polled in [each for each in self.polls if each[0] == step.run and each[1] != step.uid]:
            del self.polls[polled]
        self.trace.pop(key, None)
        self.trace[key] = replace(step, call=self.calls.pop((piece.claim.id, visit), None))

    def count_step(self, piece: _TriedSlice) -> None:
        """A step was made: go on, or stop here."""
        self.steps_left -= 1
        if self.is_over or self.has_come(piece):
            # What follows is not begun: the slice gives the run back.
            piece.budget = 0

    def has_come(self, piece: _TriedSlice) -> bool:
        """Whether the run stands where the trial should stop."""
        frames = piece.cursor.frames
        if self.until and piece.claim.version_id == self.main_version and frames:
            self.was_reached = frames[-1].uid == self.until and frames[-1].phase == RUN
        return self.was_reached

    # --- what came of it ---

    def _trial(self, began: datetime, begin_with: JSONObject) -> Trial:
        run = FlowRun.objects.get(pk=self.main)
        outcome, reason, detail = self._outcome(run)
        return Trial(
            outcome=outcome,
            reason=reason,
            state=run.state,
            start_state=begin_with,
            trace=list(self.trace.values()),
            began=began,
            ended=self.now,
            slug=self.slug,
            uid=run.action_uid,
            detail=detail,
        )

    def _outcome(self, run: FlowRun) -> tuple[TrialOutcome, str, Mapping[str, Any]]:
        if run.status == Status.DONE:
            return Outcome(run.outcome).value, run.reason, {}  # type: ignore[return-value]
        if run.status == Status.FAILED:
            event = RunEvent.objects.filter(run=run, kind=EventKind.FAILED).last()
            return "failed", run.reason, (event.detail or {}) if event is not None else {}
        if self.was_reached:
            return "reached", _("It came to the row where it should stop."), {}
        if self.steps_left <= 0:
            told = _("It was stopped after %(number)s steps.") % {"number": MOST_STEPS}
            return "stopped", told, {}
        if self.jumps_left <= 0:
            told = _("It was stopped after it had waited %(number)s times.")
            return "stopped", told % {"number": MOST_JUMPS}, {}
        if monotonic() > self.ends_at:
            told = _("It was stopped after %(seconds)s seconds.") % {"seconds": MOST_SECONDS}
            return "stopped", told, {}
        return "waiting", self._would_wait_for(run), {}

    def _would_wait_for(self, run: FlowRun) -> str:
        wait = RunWait.objects.filter(run=run).first()
        if run.status != Status.WAITING or wait is None:
            return _("It would not go on by itself: it is %(status)s.") % {
                "status": run.get_status_display()
            }
        match wait.kind:
            case WaitKind.EVENT if wait.trigger == OBJECT_SAVED:
                return _("It would look again and again whether it can go on.")
            case WaitKind.EVENT:
                return _("It would wait for the trigger “%(trigger)s”.") % {"trigger": wait.trigger}
            case WaitKind.TASK:
                return _("It would wait for a person's answer.")
            case WaitKind.CHILDREN:
                children = FlowRun.objects.filter(parent_run=run, status=Status.FAILED)
                if failed := children.exclude(awaited_as="").order_by("pk").first():
                    told = _(
                        "It would wait until a failed run that it started is repaired: %(why)s"
                    )
                    return told % {"why": failed.reason}
                return _("It would wait for the runs that it started.")
            case WaitKind.TIME:
                return _("It would look again and again whether it can go on.")
        return _("It would wait until it is woken from code.")


class _TriedSlice(Slice):
    """A slice that tells the bench of each of its steps."""

    __slots__ = ("bench",)

    def __init__(
        self, bench: _Bench, claim: Claim, needs: Needs, program: Program, cursor: Cursor
    ) -> None:
        super().__init__(claim, needs, program, cursor)
        self.bench = bench
        if bench.has_come(self):
            self.budget = 0

    def _answer(self, node: Node, frame: Frame) -> Directive:
        answer = self.bench.forced.pop(self.claim.id, None)
        if answer is None:
            return super()._answer(node, frame)
        if "error" in answer:
            raise error_told(str(answer["error"]))
        given = Continue(answer["result"])
        store_result(self.state, node.payload.result_key, given)
        return given

    def step(self, node: Node, frame: Frame) -> Directive:
        # The lists are filled during the step and replaced after it.
        reads, notes, before = self.scope.reads, self.handle.notes, dict(self.state)
        visit, attempt = self.visit, self.handle.attempt
        told: dict[str, Any] = {}
        try:
            directive = super().step(node, frame)
            told = {"directive": _words_of(directive)}
        except BaseException as error:
            told = {"directive": "", "error": message_of(error)}
            raise
        finally:
            step = TrialStep(
                run=self.claim.id,
                flow=self.handle.flow,
                uid=frame.uid,
                phase=frame.phase,
                at=self.handle.now,
                reads=[(name, shown(value)) for name, value in reads],
                notes=list(notes),
                changes=_changes(before, self.state),
                **told,
            )
            self.bench.note_step(self, step, visit, attempt)
        self.bench.count_step(self)
        return directive


def _words_of(directive: Directive) -> str:
    name = type(directive).__name__
    return "repeat" if name == "SuspendAndRepeat" else name.lower()


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    changes = {}
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key, MISSING), after.get(key, MISSING)
        if old is MISSING or new is MISSING or not same(old, new):
            changes[key] = (old, new)
    return changes


# --- stand-ins ------------------------------------------------------------------------------------


class _StandIn(BaseAction):
    """Stands for a row with effects: simulates it, or calls it if its type can be tried."""

    effects = "none"

    def __init__(self, bench: _Bench, slug: str, node: Node) -> None:
        self.bench = bench
        self.slug = slug
        self.uid = node.uid
        self.name_of_type = node.name
        self.action: BaseAction = node.action
        self.plan = node.payload

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        if self.action.can_try:
            self._note(run, config, is_simulated=False)
            directive = self.action.run(run=run, obj=obj, config=config)
            if self.plan.effects == "external" and _has_record(self.action):
                result = directive.result if isinstance(directive, Continue) else None
                self.action.record(result, run=run, obj=obj, config=config)
            return directive
        is_own = self.slug == self.bench.slug
        answer = self.bench.answer_for(self.uid) if is_own else None
        self._note(run, config, is_simulated=True, answer=answer)
        if answer is None or "timeout" in answer:
            return self.action.simulate(run=run, obj=obj, config=config)
        if "error" in answer:
            raise error_told(str(answer["error"]))
        return Continue(answer["result"])

    def return_from_children(
        self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]
    ) -> Directive | None:
        return self.action.return_from_children(run=run, obj=obj, config=config)

    def _note(
        self, run: RunHandle, config: Mapping[str, Any], *, is_simulated: bool, answer: Any = None
    ) -> None:
        schema = self.plan.schema
        if is_simulated:
            # What is wrong in a template is told here, as it would be by the row itself.
            config = replace_formatted(schema, config, "template", run.render)
        call = Call(
            uid=self.uid,
            flow=self.slug,
            action=self.name_of_type,
            effects=self.plan.effects,
            config=mask_secrets(schema, config),
            is_simulated=is_simulated,
            answer=answer,
        )
        self.bench.note_call(run, call)


def _has_record(action: BaseAction) -> bool:
    return type(action).record is not BaseAction.record


def _put_stand_in(bench: _Bench, slug: str, node: Node) -> None:
    stand_in = _StandIn(bench, slug, node)
    # A type that can be tried gets a commit of its own, like a database step, which is a savepoint
    # here; one that is simulated touches nothing but the state.
    effects: Effects = "database" if stand_in.action.can_try else "none"
    node.payload = replace(node.payload, effects=effects, groupable=False, queue="")
    node.action = stand_in
    node.run, node.return_from_children = stand_in.run, stand_in.return_from_children
