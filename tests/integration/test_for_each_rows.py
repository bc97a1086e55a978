"""For each over rows of the database: by key, in pages, whatever happens to the rows meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from flowcontrol.engine import start_flowrun
from flowcontrol.exceptions import AuthorError
from flowcontrol.models import FlowRun, Outcome, Status
from flowcontrol.pages import page_after
from flowcontrol.testing import (
    NOON,
    Delay,
    ForEach,
    Log,
    UpdateState,
    make_flow,
    run_until_idle,
    travel_to,
)

pytestmark = pytest.mark.django_db

User = get_user_model()


@pytest.fixture
def crew():
    return Group.objects.create(name="crew")


def people(crew: Group, number: int, start: int = 0) -> list[Any]:
    made = User.objects.bulk_create(
        User(username=f"p{each:05}") for each in range(start, start + number)
    )
    crew.user_set.add(*made)
    return made


def go(crew: Group, *rows: Any, items: str = "object.user_set", state: Any = None) -> FlowRun:
    loop = ForEach(items, rows, var_name="member")
    return start_flowrun(make_flow(loop), crew, state={"n": 0, "seen": [], **(state or {})})


SEEN = UpdateState(seen="seen|append:member.username")


def test_the_rows_inside_can_read_the_object_and_the_round(crew):
    people(crew, 3)
    told = UpdateState(seen="seen|append:member.username", ends="last", at="index")
    run = go(crew, told)
    assert run.state["seen"] == ["p00000", "p00001", "p00002"]
    assert (run.state["ends"], run.state["at"]) == (True, 2)


def test_there_may_be_none(crew):
    assert go(crew, SEEN).outcome == Outcome.COMPLETE


def test_rows_are_read_a_page_at_a_time(crew, django_assert_max_num_queries):
    people(crew, 1000)
    flow = make_flow(ForEach("object.user_set.all", [UpdateState(n="n|add:1")]))
    with django_assert_max_num_queries(45):  # a page for each 100 rows, and what a run costs
        run = start_flowrun(flow, crew, state={"n": 0})
    assert run.state["n"] == 1000


def test_the_position_does_not_grow(crew):
    people(crew, 500)
    with travel_to(NOON) as clock:
        run = go(crew, Delay("PT1M"), SEEN)
        sizes = set()
        for _round in range(4):
            run.refresh_from_db()
            sizes.add(len(str(run.cursor["frames"][0]["memo"])))
            clock.advance(minutes=1)
            run_until_idle()
    assert max(sizes) - min(sizes) <= 6
    assert run.items == {}


def test_what_is_added_or_deleted_meanwhile_makes_no_row_come_twice_or_be_left_out(crew):
    """The one that is at hand is deleted, one behind it too, and one is added at the end."""
    made = people(crew, 5)
    with travel_to(NOON) as clock:
        run = go(crew, SEEN, Delay("PT1M"))
        made[0].delete()
        made[2].delete()
        people(crew, 1, start=100)
        for _round in range(8):
            clock.advance(minutes=1)
            run_until_idle()
    run.refresh_from_db()
    assert run.outcome == Outcome.COMPLETE
    assert run.state["seen"] == ["p00000", "p00001", "p00003", "p00004", "p00100"]


def test_a_row_is_read_again_after_a_wait(crew):
    [member] = people(crew, 1)
    with travel_to(NOON) as clock:
        run = go(crew, Delay("PT1M"), SEEN)
        User.objects.filter(pk=member.pk).update(username="renamed")
        clock.advance(minutes=1)
        run_until_idle()
    run.refresh_from_db()
    assert run.state["seen"] == ["renamed"]


def test_the_items_of_a_list_are_kept_beside_the_position_and_dropped_after_the_loop(crew):
    with travel_to(NOON) as clock:
        run = go(crew, Delay("PT1M"), items="seats", state={"seats": [1, 2]})
        assert list(FlowRun.objects.get(pk=run.pk).items.values()) == [[1, 2]]
        for _round in range(2):
            clock.advance(minutes=1)
            run_until_idle()
    run.refresh_from_db()
    assert (run.outcome, run.items) == (Outcome.COMPLETE, {})


def test_loops_over_rows_can_nest(crew):
    people(crew, 2)
    inner = ForEach("member.groups", [UpdateState(seen="seen|append:group.name")], var_name="group")
    assert go(crew, inner).state["seen"] == ["crew", "crew"]


def test_rows_that_cannot_be_walked_by_key_are_an_error():
    with pytest.raises(AuthorError, match="sliced"):
        page_after(User.objects.all()[:3], None)


def test_the_object_of_a_round_is_no_way_to_read_other_models(crew):
    """What a list holds is data, even if it looks like the engine's own notes."""
    secret = {"$objects": {"member": ["auth.user", 1]}}
    run = go(crew, Log("{{ member.password }}"), items="seats", state={"seats": [secret]})
    assert run.status == Status.DONE
    [event] = run.events.all()
    assert "auth" not in str(event.steps)
