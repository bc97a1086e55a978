"""One run on its way: what a step costs, early and late, in a small flow and in a big one."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth.models import Group, User
from django.db import connection

from flowcontrol.engine import create_flowrun, execute_flowrun
from flowcontrol.models import Flow, FlowRun, Outcome, Status
from flowcontrol.testing import For, ForEach, If, UpdateState, make_flow
from tests.benchmarks.limits import condition_evaluations
from tests.benchmarks.measuring import Options, in_turns, seconds
from tests.benchmarks.results import Limit, Result


def one_run(options: Options) -> Iterator[Result]:
    """From the claim to the write, with everything in between."""
    flow = _counting(rounds=1900)

    def steps() -> float:
        return _steps_a_second(create_flowrun(flow, state={"n": 0}))

    steps()
    limit, reached = in_turns(options.repeats, condition_evaluations, steps)
    yield Result(
        "one run, 1,900 rounds of For { update; If { update } }",
        connection.vendor,
        reached,
        "steps/s",
        Limit("condition evaluations/s", limit),
        at_least=120_000,
    )


def long_run(options: Options) -> Iterator[Result]:
    """The run yields every 10,000 steps: the first time near round 3,000, then again and again."""
    rounds = options.amount(100_000, least=20_000)
    run = create_flowrun(_counting(rounds), state={"n": 0})
    costs = []
    while run.status != Status.DONE:
        before = run.visit
        took = seconds(lambda: execute_flowrun(run))
        costs.append(took / (run.visit - before))
    # The last slice is a short one, which the costs of claim and write weigh down.
    early, late = min(costs[:3]), min(costs[-4:-1])
    yield Result(
        f"a step near round {rounds:,} against one in the first rounds",
        connection.vendor,
        late / early,
        "×",
        at_most=1.2,
        note=f"{1 / early:,.0f} steps/s, then {1 / late:,.0f}",
    )


def long_list(options: Options) -> Iterator[Result]:
    """Over a list, which is kept beside the position, and over rows, which are read in pages."""
    number = options.amount(100_000, least=20_000)
    crew = Group.objects.create(name=f"crew of {number}")
    people = User.objects.bulk_create(
        (User(username=f"{crew.pk}-{each}") for each in range(number)), batch_size=5_000
    )
    membership = User.groups.through
    membership.objects.bulk_create(
        (membership(user_id=each.pk, group_id=crew.pk) for each in people), batch_size=5_000
    )
    round_of = [UpdateState(n="n|add:1", m="index")]
    of_list = make_flow(ForEach("numbers", round_of), slug="of-list")
    of_rows = make_flow(ForEach("object.user_set", round_of), slug="of-rows")
    for name, run in (
        ("items", create_flowrun(of_list, state={"n": 0, "numbers": list(range(number))})),
        ("rows", create_flowrun(of_rows, crew, state={"n": 0})),
    ):
        costs = []
        while run.status != Status.DONE:
            before = run.visit
            took = seconds(lambda: execute_flowrun(run))  # noqa: B023
            costs.append(took / (run.visit - before))
        assert run.outcome == Outcome.COMPLETE, f"{run.status}: {run.reason}"
        assert run.state["n"] == number
        early, late = min(costs[:3]), min(costs[-4:-1])
        yield Result(
            f"a round near the end of {number:,} {name} against one of the first",
            connection.vendor,
            late / early,
            "×",
            at_most=1.2,
            note=f"{1 / early:,.0f} steps/s, then {1 / late:,.0f}",
        )


def big_flow(options: Options) -> Iterator[Result]:
    """The same number of the same steps: a few rounds of many rows, or many rounds of a few.

    Each in one slice, so that the only writes are the claim and the end.
    """
    small = make_flow(For(1900, [UpdateState(n="n|add:1")] * 4), slug="small")
    big = make_flow(For(19, [UpdateState(n="n|add:1")] * 499), slug="big")

    def rate(flow: Flow) -> float:
        return _steps_a_second(create_flowrun(flow, state={"n": 0}))

    rate(small), rate(big)  # compiled once per process
    of_small, of_big = in_turns(options.repeats + 2, lambda: rate(small), lambda: rate(big))
    yield Result(
        "a step of 500 actions against one of 5",
        connection.vendor,
        of_small / of_big,
        "×",
        at_most=1.1,
        note=f"{of_small:,.0f} steps/s in the small flow, {of_big:,.0f} in the big one",
    )


def _counting(rounds: int) -> Flow:
    body = [UpdateState(n="n|add:1"), If("n > 100", [UpdateState(m="n")])]
    return make_flow(For(rounds, body, var_name="i"))


def _steps_a_second(run: FlowRun) -> float:
    took = seconds(lambda: execute_flowrun(run))
    assert run.status == Status.DONE, f"{run.status} after {run.visit:,} steps: {run.reason}"
    return run.visit / took
