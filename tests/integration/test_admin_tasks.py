"""Tasks in the admin: mine to find, a page to answer each, and nobody else's business."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from flowcontrol.engine import complete_task, start_flowrun
from flowcontrol.models import FlowRun, HumanTask, TaskStatus
from flowcontrol.testing import make_flow, row, run_until_idle
from tests.admin_pages import VIEW, client_of, person, url
from tests.testapp.models import Station

pytestmark = pytest.mark.django_db

SEATS = {
    "type": "object",
    "properties": {
        "seats": {"type": "integer", "minimum": 1, "title": "Free seats"},
        "row": {"type": "string", "enum": ["aisle", "window"]},
        "button": {"type": "string"},
    },
    "required": ["seats"],
}
LIST = url("humantask_changelist")


def asked(name: str = "Flow", obj: Any = None, **config: Any) -> HumanTask:
    item = row("ask_person", result_key="answer", **{"title": "Seats?", "users": ["sam"], **config})
    return HumanTask.objects.get(run=start_flowrun(make_flow(item, name=name), obj))


def page_of(task: HumanTask) -> str:
    return url("humantask_change", task.pk)


def state_of(task: HumanTask) -> dict[str, Any]:
    run_until_idle()
    return dict(FlowRun.objects.get(pk=task.run_id).state)


@pytest.fixture
def sam() -> Client:
    """Somebody of the staff without a single right."""
    return client_of()


def test_who_is_asked_finds_the_task_and_answers_it_without_further_rights(sam: Client):
    task = asked(
        title="Seats for O'Brien & Co?",
        text="Two <b>lines</b>\nof text",
        form=SEATS,
        buttons=["yes = Book them", "no"],
    )
    assert "Tasks" in sam.get("/admin/").content.decode()
    listed = sam.get(LIST).content.decode()
    assert "Seats for O&#x27;Brien &amp; Co?" in listed
    page = sam.get(page_of(task)).content.decode()
    assert "Two &lt;b&gt;lines&lt;/b&gt;<br>of text" in page
    assert ">Book them</button>" in page
    assert "Free seats" in page
    assert "fc-mode" not in page  # an answer is not computed
    data = {"answer-seats": "4", "answer-row": "aisle", "answer-button": "x", "button": "yes"}
    answer = sam.post(page_of(task), data, follow=True)
    assert answer.redirect_chain == [(LIST, 302)]
    assert "Thank you." in answer.content.decode()
    assert "Nothing waits for your answer." in answer.content.decode()
    state = state_of(task)["answer"]
    assert (state["button"], state["by"]) == ("yes", "sam")
    assert state["data"] == {"seats": 4, "row": "aisle", "button": "x"}
    closed = sam.get(page_of(task)).content.decode()
    assert "sam has answered this at" in closed
    assert "sam: <strong>Book them</strong>" in closed
    assert "<dt>Free seats</dt><dd" in closed
    assert "<form method" not in closed.partition('id="content-main"')[2]


def test_a_wrong_answer_is_told_at_its_field_and_nothing_is_lost(sam: Client):
    task = asked(form=SEATS)
    data = {"answer-seats": "0", "answer-button": "kept", "button": "done"}
    page = sam.post(page_of(task), data).content.decode()
    assert "Must be at least 1" in page
    assert "kept" in page
    task.refresh_from_db()
    assert task.status == TaskStatus.OPEN


def test_a_button_that_is_none_is_told(sam: Client):
    for form in ({}, SEATS):
        task = asked(name=f"Flow {len(form)}", form=form, buttons=["yes", "no"])
        data = {"answer-seats": "1", "button": "maybe"}
        page = sam.post(page_of(task), data, follow=True).content.decode()
        assert "There is no button “maybe” at this task." in page
        task.refresh_from_db()
        assert task.status == TaskStatus.OPEN


def test_without_a_form_one_click_is_enough(sam: Client):
    task = asked()
    sam.post(page_of(task), {"button": "done"})
    assert state_of(task)["answer"]["button"] == "done"


def test_who_comes_second_is_told_who_was_first(sam: Client):
    desk = Group.objects.create(name="Desk")
    kim = person(name="kim")
    kim.groups.add(desk)
    task = asked(groups=["Desk"])
    complete_task(task, kim)
    page = sam.post(page_of(task), {"button": "done"}, follow=True).content.decode()
    assert "kim has answered this at" in page
    assert state_of(task)["answer"]["by"] == "kim"


def test_strangers_neither_see_nor_answer(sam: Client):
    task = asked()
    stranger = client_of(name="kim")
    assert stranger.get(LIST).status_code == 403
    assert stranger.get(page_of(task)).status_code == 403
    assert stranger.post(page_of(task), {"button": "done"}).status_code == 403
    assert "Tasks" not in stranger.get("/admin/").content.decode()
    other = asked(name="Other", users=["kim"])
    assert stranger.get(page_of(task)).status_code == 404
    assert stranger.get(page_of(other)).status_code == 200
    assert "Seats?" in stranger.get(LIST).content.decode()


def test_who_may_see_tasks_sees_them_all_and_answers_only_their_own(sam: Client):
    task = asked()
    viewer = client_of(*VIEW, name="kim")
    page = viewer.get(page_of(task)).content.decode()
    assert "This task is for others to answer." in page
    assert 'name="button"' not in page
    assert viewer.post(page_of(task), {"button": "done"}).status_code == 403
    assert "Nothing waits for your answer" not in viewer.get(f"{LIST}?whose=open").content.decode()
    assert "No task fits." in viewer.get(LIST, {"q": "x"}).content.decode()
    task.refresh_from_db()
    assert task.status == TaskStatus.OPEN


def test_the_list_begins_with_what_is_open_and_mine(sam: Client):
    mine, other, done = asked("A"), asked("B", users=[], title="Others?"), asked("C")
    complete_task(done, None)
    boss = client_of(*VIEW, name="kim")
    titles = boss.get(LIST, {"whose": "all"}).content.decode()
    assert titles.count("Seats?</a>") == 2
    assert "Others?</a>" in titles
    assert "Seats?</a>" not in boss.get(LIST).content.decode()
    assert sam.get(LIST).content.decode().count("Seats?</a>") == 1
    assert sam.get(LIST, {"whose": "all"}).content.decode().count("Seats?</a>") == 2
    assert {mine.status, other.status} == {TaskStatus.OPEN}


def test_the_object_is_named_only_to_those_who_may_see_it(sam: Client):
    task = asked(obj=Station.objects.create(code="EWR", name="Newark Liberty"))
    page = sam.get(page_of(task)).content.decode()
    assert "Newark Liberty" not in page
    assert "station EWR" in page
    boss = client_of(is_superuser=True, name="boss")
    assert "Newark Liberty" in boss.get(page_of(task)).content.decode()


def test_the_run_shows_the_question_it_waits_for(sam: Client):
    task = asked()
    boss = client_of(is_superuser=True, name="boss")
    page = boss.get(url("flowrun_change", task.run_id)).content.decode()
    assert f'<a href="{page_of(task)}">Seats?</a>' in page
    other = client_of("view_flowrun", name="kim")
    assert page_of(task) not in other.get(url("flowrun_change", task.run_id)).content.decode()


def test_a_form_that_cannot_be_read_any_more_is_no_error(sam: Client):
    task = asked(form=SEATS)
    HumanTask.objects.update(schema={"type": "text"})
    assert sam.get(page_of(task)).status_code == 200


def test_the_page_and_the_list_need_few_queries(sam: Client, django_assert_max_num_queries: Any):
    for number in range(10):
        task = asked(f"Flow {number}")
    with django_assert_max_num_queries(14):
        sam.get(LIST)
    with django_assert_max_num_queries(20):
        sam.get(page_of(task))
    assert User.objects.count() == 1
