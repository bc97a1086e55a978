"""Who else is at a draft: those whose page said so a moment ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User

from flowcontrol.models import DraftEditor
from flowcontrol.presence import GONE_AFTER, come, editors_of, in_words, leave
from tests.outlines import draft

pytestmark = pytest.mark.django_db

NOW = datetime(2013, 2, 8, 12, tzinfo=UTC)


def test_the_second_sees_the_first_and_not_themselves():
    flow, other = draft(), draft(name="Other")
    kim = User.objects.create_user("kim", first_name="Kim", last_name="Li")
    sam = User.objects.create_user("sam")
    assert come(flow, kim, NOW) == []
    assert [str(each) for each in come(flow, sam, NOW)] == ["Kim Li"]
    assert [str(each) for each in come(flow, kim, NOW)] == ["sam"]
    assert come(other, kim, NOW) == []


def test_who_says_nothing_for_a_while_is_gone():
    flow = draft()
    kim, sam = User.objects.create_user("kim"), User.objects.create_user("sam")
    come(flow, kim, NOW)
    assert come(flow, sam, NOW + GONE_AFTER) != []
    later = NOW + GONE_AFTER + timedelta(seconds=1)
    assert editors_of(flow, but=sam, now=later) == []
    come(flow, User.objects.create_user("lee"), later)
    assert {each.user for each in DraftEditor.objects.all()} == {
        sam,
        User.objects.get(username="lee"),
    }


def test_who_closes_the_page_is_gone_at_once():
    flow, kim = draft(), User.objects.create_user("kim")
    come(flow, kim, NOW)
    leave(flow, kim)
    assert editors_of(flow, now=NOW) == []


def test_a_poll_costs_two_statements(django_assert_num_queries: object):
    flow, kim = draft(), User.objects.create_user("kim")
    come(flow, kim, NOW)
    with django_assert_num_queries(2):  # type: ignore[operator]
        come(flow, kim, NOW)
    assert DraftEditor.objects.count() == 1


def test_they_are_told_in_a_sentence():
    flow = draft()
    users = [User.objects.create_user(name) for name in ("kim", "sam")]
    for second, user in enumerate(users):
        come(flow, user, NOW - timedelta(seconds=second))
    assert in_words([]) == ""
    assert in_words(editors_of(flow, but=users[1], now=NOW)) == "kim has this draft open, too."
    assert in_words(editors_of(flow, now=NOW)) == "kim, sam have this draft open, too."
