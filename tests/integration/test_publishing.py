"""From draft to version and back; and nothing of it touches a run that is on its way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from flowcontrol.base import BaseAction, RunHandle
from flowcontrol.documents import JSONObject, checksum, make_document
from flowcontrol.drafting import (
    add_action,
    create_flow,
    delete_action,
    draft_document,
    duplicate_flow,
    edit_action,
    move_action,
    replace_draft,
    set_enabled,
)
from flowcontrol.engine import start_flowrun
from flowcontrol.exceptions import AuthorError, PublishRefused, StaleDraft
from flowcontrol.models import Flow, FlowAction, FlowVersion, Outcome, Status
from flowcontrol.programs import load_one
from flowcontrol.publishing import (
    has_unpublished_changes,
    load_version_into_draft,
    publish,
    roll_back,
)
from flowcontrol.registry import actions
from flowcontrol.testing import (
    Delay,
    For,
    Group,
    Log,
    UpdateState,
    make_flow,
    row,
    run_until_idle,
    trace_of,
    travel_to,
)

pytestmark = pytest.mark.django_db

NOON = datetime(2013, 2, 8, 12, tzinfo=UTC)


def flow_of(*rows: JSONObject) -> Flow:
    flow = create_flow("Late flight")
    replace_draft(flow, make_document(*rows))
    return flow


def numbers(flow: Flow) -> list[int]:
    return list(flow.versions.order_by("number").values_list("number", flat=True))


def live(flow: Flow) -> FlowVersion:
    version = Flow.objects.get(pk=flow.pk).live_version
    assert version is not None
    return version


# --- publishing ---------------------------------------------------------------------------------


def test_publishing_writes_a_version_and_makes_it_live():
    dispatcher = get_user_model().objects.create(username="dispatcher")
    flow = flow_of(Log("x"))
    version = publish(flow, user=dispatcher, note="first try")
    assert flow.live_version == live(flow) == version
    assert (version.number, version.note, version.created_by) == (1, "first try", dispatcher)
    assert version.checksum == checksum(version.document)
    assert str(version) == "Late flight v1"


def test_the_version_holds_what_a_run_depends_on_with_defaults_written_in():
    class Page(BaseAction):
        name = "test.page"
        aliases = ("test.announce",)
        effects = "none"
        schema_version = 2
        config_schema = {
            "type": "object",
            "properties": {"loud": {"type": "boolean", "default": True}},
        }

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> None:
            return None

    with actions.temporarily(Page):
        flow = flow_of({**row("test.announce"), "schema_version": 1})
        [item] = publish(flow).document["actions"]
        assert draft_document(flow)["actions"][0]["action"] == "test.announce"
    assert (item["action"], item["schema_version"]) == ("test.page", 2)
    assert item["config"] == {"loud": True}


def test_an_unchanged_draft_makes_no_new_version():
    flow = flow_of(Log("x"))
    first = publish(flow)
    assert publish(flow, note="again") == first
    edit_action(flow, "1", config={"message": "x", "level": "info"})
    assert publish(flow) == first  # the default, written out
    assert numbers(flow) == [1]


def test_each_change_makes_the_next_version():
    flow = flow_of(Log("x"))
    assert publish(flow).number == 1
    edit_action(flow, "1", note="why")
    assert publish(flow).number == 2
    edit_action(flow, "1", note="")
    assert publish(flow).number == 3  # equal to the first, which is not live
    assert live(flow).number == 3


def test_settings_that_runs_depend_on_make_a_new_version_too():
    flow = flow_of(Log("x"))
    publish(flow)
    Flow.objects.filter(pk=flow.pk).update(condition="true", max_concurrent=3)
    flow.refresh_from_db()
    assert publish(flow).document["condition"] == "true"
    Flow.objects.filter(pk=flow.pk).update(max_concurrent=4, active_at=NOON)
    assert publish(flow).number == 2


def test_two_flows_count_their_versions_each_for_itself():
    one, other = flow_of(Log("x")), flow_of(Log("x"))
    publish(one)
    edit_action(one, "1", note="y")
    assert (publish(one).number, publish(other).number) == (2, 1)


def test_whether_there_is_something_to_publish_can_be_told():
    flow = flow_of(Log("x"))
    assert has_unpublished_changes(flow)
    publish(flow)
    assert not has_unpublished_changes(flow)
    edit_action(flow, "1", note="why")
    assert has_unpublished_changes(flow)


# --- refusing -----------------------------------------------------------------------------------


def test_a_draft_with_errors_is_refused_with_all_findings_and_changes_nothing():
    flow = flow_of(Log("x"))
    first = publish(flow)
    add_action(flow, "if", {"condition": "n <"})
    add_action(flow, "else")
    add_action(flow, "log")
    add_action(flow, "stop", {"reason": "{{"})
    add_action(flow, "log", {"message": "never"})
    with pytest.raises(PublishRefused) as caught:
        publish(flow)
    codes = [finding.code for finding in caught.value.findings]
    assert codes.count("config") == 3
    assert "unreachable" in codes
    assert "empty-block" in codes
    assert str(caught.value).startswith(
        '"Late flight" cannot be published: row 2 (if): Condition: '
    )
    assert ".." not in str(caught.value)
    assert live(flow) == first
    assert numbers(flow) == [1]


def test_the_refusal_names_three_errors_and_counts_the_others():
    flow = flow_of(*[row("log") for _number in range(5)])
    with pytest.raises(PublishRefused, match=r"Required; .*Required; .*Required and 2 more\.$"):
        publish(flow)


def test_warnings_do_not_keep_a_draft_from_being_published():
    flow = flow_of(Group([]), UpdateState(n="unset"), row("stop"), Log("never"))
    assert publish(flow).number == 1


def test_a_row_that_is_switched_off_may_be_wrong():
    flow = flow_of(Log("x"), Group([row("shop.gone"), row("log")], enabled=False))
    assert publish(flow).number == 1
    assert [node.uid for node in load_one(live(flow))] == ["1"]


def test_whoever_publishes_from_a_stale_page_is_told():
    flow = flow_of(Log("x"))
    seen = flow.draft_revision
    edit_action(flow, "1", note="by somebody else")
    with pytest.raises(StaleDraft, match="Nothing was published"):
        publish(flow, revision=seen)
    assert publish(flow, revision=flow.draft_revision).number == 1


# --- versions -----------------------------------------------------------------------------------


def test_a_version_never_changes():
    version = publish(flow_of(Log("x")))
    version.note = "nicer"
    with pytest.raises(TypeError, match="never changes"):
        version.save()
    with pytest.raises(TypeError, match="never changes"):
        FlowVersion.objects.get(pk=version.pk).save(update_fields=["note"])
    assert FlowVersion.objects.get(pk=version.pk).note == ""


def test_no_number_is_given_twice():
    version = publish(flow_of(Log("x")))
    twin = FlowVersion(flow=version.flow, number=1, document={}, checksum="")
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()


def two_versions() -> tuple[Flow, FlowVersion, FlowVersion]:
    flow = make_flow(UpdateState(version="1"))
    first = live(flow)
    replace_draft(flow, make_document(UpdateState(version="2")))
    return flow, first, publish(flow)


def test_rolling_back_publishes_the_old_document_as_a_new_version_and_leaves_the_draft():
    flow, first, _second = two_versions()
    before = draft_document(flow)
    third = roll_back(first)
    assert (third.number, third.document, third.checksum) == (3, first.document, first.checksum)
    assert third.note == "Rolled back to version 1."
    assert live(flow) == third
    assert draft_document(flow) == before
    assert start_flowrun(Flow.objects.get(pk=flow.pk)).state == {"version": 1}


def test_rolling_back_to_what_is_live_makes_no_new_version():
    flow, _first, second = two_versions()
    assert roll_back(second) == second
    assert numbers(flow) == [1, 2]


def test_rolling_back_to_what_does_not_work_any_more_is_refused():
    class Passing(BaseAction):
        name = "test.passing"
        effects = "none"

        def run(self, *, run: RunHandle, obj: Any, config: Any) -> None:
            return None

    with actions.temporarily(Passing):
        flow = flow_of(row("test.passing"))
        first = publish(flow)
        replace_draft(flow, make_document(Log("x")))
        second = publish(flow)
    with pytest.raises(PublishRefused, match=r"test\.passing"):
        roll_back(first)
    assert live(flow) == second


def test_any_version_can_be_loaded_into_the_draft_without_becoming_live():
    flow, first, second = two_versions()
    revision = flow.draft_revision
    load_version_into_draft(first, revision=revision)
    assert draft_document(flow) == first.document
    assert live(flow) == second
    with pytest.raises(StaleDraft):
        load_version_into_draft(first, revision=revision)
    flow.refresh_from_db()
    assert publish(flow).document == first.document


def test_a_version_of_one_flow_is_a_document_for_another():
    flow, first, _second = two_versions()
    other = duplicate_flow(flow, "Other")
    replace_draft(other, first.document)
    assert publish(other).checksum == first.checksum


# --- runs on their way --------------------------------------------------------------------------


def test_nothing_that_is_done_to_the_draft_touches_a_waiting_run():
    flow = make_flow(
        For(2, [Delay("PT1H", label="wait"), UpdateState(n="n|add:1")], uid="for"),
        Log("end", uid="end"),
    )
    with travel_to(NOON) as clock:
        run = start_flowrun(flow, state={"n": 0})
        edit_action(flow, "end", config={"message": "changed"}, label="changed")
        move_action(flow, "end", target="", position="first")
        set_enabled(flow, "for", False)
        delete_action(flow, "1.1")
        publish(flow)
        clock.advance(hours=1)
        run_until_idle()
        delete_action(flow, "for")
        FlowAction.objects.filter(flow=flow).delete()
        publish(flow)
        clock.advance(hours=1)
        run_until_idle()
    run.refresh_from_db()
    assert (run.status, run.outcome, run.state) == (Status.DONE, Outcome.COMPLETE, {"n": 2})
    assert trace_of(run) == ["for", *("wait", "wait", "update", "for") * 2, "log"]
    assert run.version.number == 1


def test_a_run_goes_on_with_its_version_after_a_roll_back_too():
    flow = make_flow(Delay("PT1H"), UpdateState(version="1"))
    first = live(flow)
    replace_draft(flow, make_document(Delay("PT1H"), UpdateState(version="2")))
    publish(flow)
    with travel_to(NOON) as clock:
        run = start_flowrun(flow)
        roll_back(first)
        clock.advance(hours=1)
        run_until_idle()
    run.refresh_from_db()
    assert run.state == {"version": 2}


def test_a_version_that_cannot_be_read_at_all_says_so():
    version = publish(flow_of(Log("x")))
    FlowVersion.objects.filter(pk=version.pk).update(document={"format": 9}, checksum="9")
    with pytest.raises(AuthorError, match="format 9"):
        load_one(version)
