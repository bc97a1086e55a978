"""Whatever people, workers and clocks do, in whatever order: the engine does what the model says.

A hypothesis state machine calls the public API and a small model of it (:mod:`model`) side by
side. After each step the rows have to be what the model knows, and to keep the promises that do
not need a model to be told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Final

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flowcontrol.base import BaseAction, Directive, Effects, FlowDirective, RunHandle
from flowcontrol.claiming import Claim, claim_due, claim_suspect
from flowcontrol.documents import make_document
from flowcontrol.drafting import replace_draft
from flowcontrol.engine import (
    cancel_flowrun,
    continue_flowruns,
    create_flowrun,
    retry_flowrun,
    start_flowrun,
    wake_flowrun,
)
from flowcontrol.exceptions import StartRefused
from flowcontrol.executing import execute_claims
from flowcontrol.models import Firing, FlowRun, RunEvent, RunWait, Status, Trigger, WaitKind
from flowcontrol.models import Flow as FlowRow
from flowcontrol.operating import (
    allowed_transitions,
    go_to,
    pause,
    pause_everything,
    resume,
    resume_everything,
    run_now,
)
from flowcontrol.publishing import publish
from flowcontrol.registry import actions
from flowcontrol.testing import Delay, StartFlow, UpdateState, make_flow, row, travel_to
from tests.concurrency import model
from tests.concurrency.blocks import Outside, answered, weighed
from tests.concurrency.model import Op
from tests.concurrency.variants import Variant
from tests.testapp.models import Parcel, Station

pytestmark = pytest.mark.django_db(transaction=True)

NOON: Final = datetime(2013, 2, 8, 12, tzinfo=UTC)
LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
STATIONS: Final = {code: Station(code=code, name=code) for code in ("JFK", "LGA")}


class Weather:
    is_bad: ClassVar[bool] = False


class Try(BaseAction):
    """A database effect that fails in bad weather."""

    name = "proof.try"
    effects: ClassVar[Effects] = "database"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        Parcel.objects.create(label=run.step_key)
        if Weather.is_bad:
            raise RuntimeError("The weather is bad.")
        return None


class AwaitAnHour(BaseAction):
    """Waits for the trigger ``proof.answered`` of the run's object, for an hour at most."""

    name = "proof.await_an_hour"
    effects: ClassVar[Effects] = "none"

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        return FlowDirective.SUSPEND(until=run.now + timedelta(hours=1), for_event=answered.name)


PLAIN: Final = (
    [Op("count"), Op("insert"), Op("wait", 1), Op("insert"), Op("count"), Op("call")],
    [Op("insert"), Op("call"), Op("count"), Op("wait", 2), Op("insert")],
)


def flows() -> dict[str, model.Flow]:
    """Every limit, every wait, every effect."""
    every = [
        model.Flow("plain", PLAIN[0]),
        model.Flow(
            "queueing",
            [Op("insert"), Op("wait", 1), Op("try"), Op("insert")],
            max_concurrent=2,
            when_full="queue",
        ),
        model.Flow(
            "refusing", [Op("insert"), Op("await"), Op("insert")], max_concurrent_per_object=1
        ),
        model.Flow(
            "replacing", [Op("wait", 1), Op("insert")], max_concurrent=1, when_full="restart"
        ),
        model.Flow("patient", [Op("await", 1), Op("count"), Op("try twice"), Op("insert")]),
        model.Flow("parent", [Op("start"), Op("insert")]),
    ]
    return {flow.slug: flow for flow in every}


def as_row(op: Op) -> Any:
    match op.does:
        case "count":
            return UpdateState(n="n|default:0|add:1")
        case "insert":
            return row("proof.insert")
        case "call":
            return row("proof.call")
        case "wait":
            return Delay(f"PT{op.hours}H")
        case "await":
            return row("proof.await" if op.hours is None else "proof.await_an_hour")
        case "try":
            return row("proof.try")
        case "try twice":
            return row("proof.try", retry={"attempts": 2, "wait": 60, "jitter": 0})
        case "start":
            return StartFlow("plain")


def set_the_scene() -> None:
    for station in STATIONS.values():
        station.save(force_insert=True)
    for flow in flows().values():
        made = make_flow(
            *map(as_row, flow.program),
            name=flow.slug,
            slug=flow.slug,
            max_concurrent=flow.max_concurrent,
            max_concurrent_per_object=flow.max_concurrent_per_object,
            when_full=flow.when_full,
        )
        if flow.slug == "refusing":
            Trigger.objects.create(name=weighed.name, flow=made, active_at=LONG_AGO)


STARTS: Final = st.tuples(
    st.integers(0, 1),
    st.sampled_from([None, *STATIONS]),
    st.sampled_from([None, None, None, "one", "two"]),
    st.sampled_from([False, False, True]),
)
"""Which of the flows, object, key, and whether it is executed at once."""
MINUTES: Final = st.sampled_from([0, 0, 1, 61, 61, 121, -30])


class Machine(RuleBasedStateMachine):
    """The engine and the model, side by side."""

    def __init__(self, outside: Outside) -> None:
        super().__init__()
        for table in (RunEvent, RunWait, FlowRun, Firing, Parcel):
            table._base_manager.all()._raw_delete("default")
        FlowRow.objects.update(paused_at=None)
        resume_everything()
        outside.forget()
        self.outside = outside
        self.time = travel_to(NOON)
        self.clock = self.time.__enter__()
        self.world = model.World(flows(), NOON)
        self.set_weather(False)
        self.publish(0)
        self.pks: list[int] = []
        self.held: list[tuple[Claim, model.Claim]] = []
        """What a worker that was lost still believes to hold."""
        self.done: dict[int, Any] = {}

    # --- starting -----------------------------------------------------------------------------

    @initialize(
        slugs=st.lists(st.sampled_from(sorted(flows())), min_size=1, max_size=2, unique=True),
        starts=st.lists(STARTS, min_size=3, max_size=6),
    )
    def begin(
        self, slugs: list[str], starts: list[tuple[int, str | None, str | None, bool]]
    ) -> None:
        """Few flows at a time, so that their runs get in each other's way."""
        self.slugs = slugs
        for chosen in starts:
            self.start(chosen)

    @rule(chosen=STARTS)
    def start(self, chosen: tuple[int, str | None, str | None, bool]) -> None:
        number, code, key, is_at_once = chosen
        slug = self.slugs[number % len(self.slugs)]
        run = self.world.create(slug, code, key)
        if is_at_once and run in self.world.due_runs():
            self.world.execute(self.world.claim([run]))
        start = start_flowrun if is_at_once else create_flowrun
        try:
            pk = start(slug, STATIONS[code] if code else None, key=key).pk
        except StartRefused as refused:
            assert refused.run is not None  # noqa: PT017
            pk = refused.run.pk
        self.learn()
        assert self.pks[run.number] == pk
        assert len(self.pks) == len(self.world.runs)

    def learn(self) -> None:
        """The numbers of runs that are new."""
        new = FlowRun.objects.exclude(pk__in=self.pks).order_by("pk")
        self.pks.extend(new.values_list("pk", flat=True))

    @rule(number=st.sampled_from([0, 1]))
    def publish(self, number: int) -> None:
        self.world.publish("plain", PLAIN[number])
        flow = FlowRow.objects.get(slug="plain")
        replace_draft(flow, make_document(*map(as_row, PLAIN[number])))
        publish(flow)

    # --- executing ----------------------------------------------------------------------------

    @rule(minutes=MINUTES)
    def sweep(self, minutes: int) -> None:
        self.let_time_pass(minutes)
        self.world.sweep()
        continue_flowruns()
        self.learn()

    @rule(minutes=MINUTES, most=st.integers(1, 4))
    def crash(self, minutes: int, most: int) -> None:
        """A worker claims what is due and is never heard of again, or not for long."""
        self.let_time_pass(minutes)
        due = self.world.due_runs()
        claims = claim_due(self.clock(), most)
        # Fair shares of the flows may leave a place empty.
        assert len(claims) <= most
        assert bool(claims) == bool(due)
        self._hold(claims, due, self.world.claim)

    @rule()
    def crash_at_a_rescue(self) -> None:
        suspects = self.world.suspects()
        claim = claim_suspect()
        assert (claim is not None) == bool(suspects)
        if claim is not None:
            self._hold([claim], suspects, lambda runs: [self.world.rescue(runs[0])])

    def _hold(
        self,
        claims: list[Claim],
        allowed: list[model.Run],
        take: Callable[[list[model.Run]], list[model.Claim]],
    ) -> None:
        runs = [self.world.runs[self.pks.index(claim.id)] for claim in claims]
        assert set(runs) <= set(allowed)
        self.held += zip(claims, take(runs), strict=True)

    @rule()
    def let_leases_expire(self) -> None:
        self.world.let_leases_expire()
        FlowRun.objects.filter(claim_token__isnull=False).update(lease_until=LONG_AGO)

    @precondition(lambda self: self.held)
    @rule()
    def return_from_the_dead(self) -> None:
        """The lost workers go on, with whatever they believe to hold."""
        held, self.held = self.held, []
        self.world.execute(claim for _real, claim in held)
        execute_claims([real for real, _claim in held], self.clock)
        self.learn()

    # --- the world outside --------------------------------------------------------------------

    def let_time_pass(self, minutes: int) -> None:
        self.world.now = self.clock.advance(minutes=minutes)

    @rule(is_bad=st.sampled_from([True, True, False]))
    def set_weather(self, is_bad: bool) -> None:
        self.world.weather_is_bad = Weather.is_bad = is_bad

    @rule(
        trigger=st.sampled_from([answered, weighed]),
        code=st.sampled_from(sorted(STATIONS)),
        is_lost=st.booleans(),
    )
    def fire(self, trigger: Any, code: str, is_lost: bool) -> None:
        """``is_lost``: the process dies after the commit, before anybody is told of it."""
        firing = self.world.fire(trigger.name.removeprefix("proof."), code)
        with transaction.atomic():
            trigger(STATIONS[code])
            if is_lost:
                connection.run_on_commit.clear()
        if not is_lost:
            self.world.match([firing])
        self.learn()

    # --- people -------------------------------------------------------------------------------

    @rule(
        verb=st.sampled_from(
            ["cancel", "pause", "pause", "resume", "resume", "retry", "retry", "run_now", "go_to"]
        ),
        number=st.integers(0, 11),
        at=st.integers(0, 5),
    )
    def operate(self, verb: str, number: int, at: int = 0) -> None:
        """Ask one of the runs that may be asked, counted round."""
        found = [
            (run, self.world.runs[self.pks.index(run.pk)])
            for run in FlowRun.objects.exclude(status=Status.DONE).order_by("pk")
            if verb in allowed_transitions(run)
        ]
        if not found:
            return
        run, known = found[number % len(found)]
        match verb:
            case "cancel":
                self.world.cancel(known)
                cancel_flowrun(run)
            case "pause":
                self.world.pause(known)
                pause(run)
            case "resume":
                self.world.resume(known)
                resume(run)
            case "retry":
                self.world.retry(known)
                retry_flowrun(run)
            case "run_now":
                self.world.run_now(known)
                run_now(run)
            case "go_to":
                at %= len(known.program)
                self.world.go_to(known, at)
                go_to(run, str(at + 1))

    @rule(number=st.integers(0, 11))
    def wake(self, number: int) -> None:
        waiting = [run for run in self.world.runs if run.status in ("waiting", "paused")]
        if waiting:
            run = waiting[number % len(waiting)]
            is_woken = self.world.wake(run)
            assert wake_flowrun(FlowRun.objects.get(pk=self.pks[run.number])) == is_woken

    @rule(slug=st.sampled_from(["plain", "queueing"]), is_paused=st.booleans())
    def pause_flow(self, slug: str, is_paused: bool) -> None:
        self.world.flows[slug].is_paused = is_paused
        FlowRow.objects.filter(slug=slug).update(paused_at=NOON if is_paused else None)

    @rule(is_paused=st.sampled_from([True, False, False]))
    def pause_everything(self, is_paused: bool) -> None:
        self.world.everything_is_paused = is_paused
        if is_paused:
            pause_everything()
        else:
            resume_everything()

    # --- what has to be true at any time ------------------------------------------------------

    @invariant()
    def everything_is_as_it_should_be(self) -> None:
        runs = list(FlowRun.objects.order_by("pk"))
        waits: dict[int, list[str]] = {}
        for pk, kind in RunWait.objects.values_list("run", "kind"):
            waits.setdefault(pk, []).append(kind)
        assert [self._found(run, waits) for run in runs] == [
            self._known(run) for run in self.world.runs
        ]
        self._check_effects()
        for run in runs:
            self._check_promises(run, waits.get(run.pk, []))
        self._check_limits(runs)

    def _found(self, run: FlowRun, waits: Mapping[int, list[str]]) -> dict[str, Any]:
        return {
            "run": run.pk,
            "status": run.status,
            "outcome": run.outcome,
            "due": run.due,
            "visit": run.visit,
            "n": run.state.get("n", 0),
            "waits": waits.get(run.pk, []),
            "attempts": run.attempts,
            "rescues": run.rescues,
            "held": run.claim_token is not None,
        }

    def _known(self, run: model.Run) -> dict[str, Any]:
        return {
            "run": self.pks[run.number],
            "status": run.status,
            "outcome": run.outcome,
            "due": run.due,
            "visit": run.visit,
            "n": run.n,
            "waits": [run.wait] if run.wait else [],
            "attempts": run.attempts,
            "rescues": run.rescues,
            "held": run.claim is not None,
        }

    def _check_effects(self) -> None:
        """Each has happened, and once."""
        keys = [(f"{self.pks[run]}-{visit}", is_call) for run, visit, is_call in self.world.effects]
        labels = Parcel.objects.values_list("label", flat=True)
        assert sorted(labels) == sorted(f"said {key}" if is_call else key for key, is_call in keys)
        calls = [call.step_key for call in self.outside.calls()]
        assert sorted(calls) == sorted(key for key, is_call in keys if is_call)

    def _check_promises(self, run: FlowRun, waits: list[str]) -> None:
        """What has to be true of every run, whatever has happened."""
        assert (run.claim_token is not None) == (run.status == Status.RUNNING)
        assert (run.lease_until is not None) == (run.status == Status.RUNNING)
        match run.status:
            case Status.PENDING | Status.QUEUED | Status.RUNNING:
                assert run.due is not None, "It would never be executed."
            case Status.WAITING:
                assert waits
                assert run.due is not None or waits == [WaitKind.EVENT]
            case Status.FAILED:
                assert not waits
            case Status.DONE:
                assert not waits
                values = {name: value for name, value in vars(run).items() if name[0] != "_"}
                assert self.done.setdefault(run.pk, values) == values

    def _check_limits(self, runs: list[FlowRun]) -> None:
        for slug, flow in self.world.flows.items():
            holding = [
                run.object_id
                for run, known in zip(runs, self.world.runs, strict=True)
                if known.flow.slug == slug
                and run.status in model.HOLDING
                # One that was paused in the queue has no slot.
                and not (run.status == Status.PAUSED and known.was == Status.QUEUED)
            ]
            assert not flow.max_concurrent or len(holding) <= flow.max_concurrent
            for code in STATIONS:
                most = flow.max_concurrent_per_object
                assert not most or holding.count(code) <= most

    # --- the end ------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Nothing is stuck: with good weather, time and answers every run comes to its end."""
        try:
            if sys.exc_info()[0] is None:
                self._let_everything_end()
        finally:
            self.time.__exit__(None, None, None)

    def _let_everything_end(self) -> None:
        self.set_weather(False)
        for slug in self.world.flows:
            self.pause_flow(slug, False)
        self.pause_everything(False)
        for _round in range(20):
            if all(run.status == "done" for run in self.world.runs):
                return
            self.let_time_pass(121)
            self.let_leases_expire()
            for code in STATIONS:
                self.fire(answered, code, is_lost=False)
            for verb in ("resume", "retry"):
                for _run in self.world.runs:
                    self.operate(verb, 0)
            self.sweep(0)
            self.everything_is_as_it_should_be()
        raise AssertionError("Not every run has come to its end.")


def check(outside: Outside, examples: int, *, derandomize: bool, phases: list[Phase]) -> None:
    with actions.temporarily(Try, AwaitAnHour):
        set_the_scene()
        run_state_machine_as_test(
            partial(Machine, outside),  # type: ignore[arg-type]
            settings=settings(
                max_examples=examples,
                stateful_step_count=60,
                deadline=None,
                database=None,
                derandomize=derandomize,
                phases=phases,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_the_engine_does_what_the_model_says(outside: Outside, soak: bool):
    phases = [Phase.generate, Phase.shrink]
    check(outside, 500 if soak else 15, derandomize=not soak, phases=phases)


VARIANTS: Final = [
    Variant(
        "a decision leaves the worker its claim",
        "flowcontrol.models.runs.FlowRunQuerySet.move",
        'changes.setdefault("claim_token", None)',
        "pass",
    ),
    Variant(
        "the queue is let go without a look at the limit",
        "flowcontrol.starting.promote_queued",
        "if no_room is None:",
        "if True:",
    ),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_proof_notices(variant: Variant, outside: Outside):
    with variant.applied(), pytest.raises(AssertionError):
        check(outside, 300, derandomize=True, phases=[Phase.generate])
