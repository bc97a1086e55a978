"""Named tests of a flow: kept, run, asked when the flow is published, taken along in a file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User

from flowcontrol import flowtests
from flowcontrol.documents import make_document, row
from flowcontrol.drafting import (
    create_flow,
    draft_document,
    duplicate_flow,
    edit_action,
    frozen,
    replace_draft,
)
from flowcontrol.exceptions import FlowTestRefused, PublishRefused
from flowcontrol.findings import find_all
from flowcontrol.flowtests import (
    coverage_of,
    expectations_from,
    findings_of,
    run_test,
    run_tests,
    save_test,
)
from flowcontrol.models import Flow, FlowTest
from flowcontrol.publishing import publish
from flowcontrol.testing import NOON, Delay, Else, If, Log, SetState, UpdateState
from flowcontrol.trying import try_flow
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db

SCHEMA = {
    "type": "object",
    "properties": {"kilos": {"type": "integer"}, "pin": {"type": "string", "format": "secret"}},
}


@pytest.fixture
def flow() -> Flow:
    """Sends heavy parcels another way than light ones."""
    flow = create_flow("Parcels")
    replace_draft(
        flow,
        make_document(
            If("kilos > 20", [SetState(way="'truck'")], uid="heavy"),
            Else([SetState(way="'bike'")], uid="light"),
            state_schema=SCHEMA,
        ),
    )
    return flow


def heavy(flow: Flow, **given: Any) -> FlowTest:
    values: dict[str, Any] = {
        "state": {"kilos": 30},
        "expectations": {"outcome": "complete", "state": {"way": "truck"}, "reached": ["1.1"]},
    }
    return save_test(flow, given.pop("name", "Heavy"), **{**values, **given})


def spoil(flow: Flow) -> None:
    edit_action(flow, "1.1", config={"state": {"way": "'plane'"}, "evaluate": True})


def result_of(test: FlowTest) -> dict[str, Any]:
    assert test.result is not None
    return dict(test.result)


# --- running --------------------------------------------------------------------------------------


def test_a_test_passes_when_the_flow_does_what_is_expected(flow: Flow) -> None:
    tested = run_test(heavy(flow))
    assert (tested.status, list(tested.problems)) == ("passed", [])
    assert tested.reached == {"heavy", "1.1"}


@pytest.mark.parametrize(
    ("expectations", "problem"),
    [
        ({"outcome": "aborted"}, "It should end as “aborted” and ended as “complete”."),
        ({"state": {"way": "bike"}}, '“way” should be "bike" in the end and is "truck".'),
        ({"state": {"van": 1}}, "“van” should be 1 in the end and is missing."),
        ({"state": {"way": None}}, '“way” should be null in the end and is "truck".'),
        ({"reached": ["2.1"]}, "It should reach row 2.1 (set_state) and did not."),
        ({"reached": ["9"]}, "The row 9, which it should reach, is gone."),
        ({"not_reached": ["1.1"]}, "It should not reach row 1.1 (set_state) and did."),
    ],
)
def test_a_test_tells_what_is_not_as_expected(
    expectations: dict[str, Any], problem: str, flow: Flow
) -> None:
    tested = run_test(heavy(flow, expectations=expectations))
    assert (tested.status, list(tested.problems)) == ("failed", [problem])


def test_a_failure_tells_why_the_run_failed() -> None:
    flow = create_flow("Broken")
    replace_draft(flow, make_document(UpdateState(n="n|add:1")))
    test = save_test(flow, "x", state={"n": "one"}, expectations={"outcome": "complete"})
    (problem,) = run_test(test).problems
    assert "ended as “failed”" in problem
    assert "add" in problem


def test_whole_numbers_and_their_decimals_are_the_same_but_true_is_no_number() -> None:
    flow = create_flow("Numbers")
    replace_draft(flow, make_document(row("set_state", state={"a": 5.0, "b": True})))
    assert run_test(save_test(flow, "x", expectations={"state": {"a": 5}})).status == "passed"
    assert run_test(save_test(flow, "y", expectations={"state": {"b": 1}})).status == "failed"


def test_what_is_secret_in_the_state_is_not_told_by_a_failing_test(flow: Flow) -> None:
    test = save_test(flow, "x", state={"kilos": 1}, expectations={"state": {"pin": "1234"}})
    assert "1234" not in run_test(test).problems[0]


def test_a_test_whose_object_is_gone_is_broken_and_does_not_fail(flow: Flow) -> None:
    parcel = Parcel.objects.create(label="box")
    test = save_test(flow, "x", parcel, state={"kilos": 1})
    key = parcel.pk
    assert run_test(test).status == "passed"
    parcel.delete()
    tested = run_test(test)
    assert (tested.status, list(tested.problems)) == ("broken", [f"Its object ({key}) is gone."])
    assert [finding.severity for finding in findings_of([tested])] == ["warning"]


def test_a_test_whose_state_does_not_fit_any_more_is_broken(flow: Flow) -> None:
    assert run_test(heavy(flow, state={"kilos": "many"})).status == "broken"


def test_a_test_starts_when_it_says() -> None:
    flow = create_flow("Monday")
    replace_draft(flow, make_document(row("delay", weekday="monday"), SetState(day="now")))
    test = save_test(flow, "x", starts_at=NOON, expectations={"state": {}})
    trial = run_test(test).trial
    assert trial is not None
    assert trial.state["day"].startswith("2013-02-11")


def test_results_are_written_down_with_the_draft_they_are_about(flow: Flow) -> None:
    heavy(flow)
    heavy(flow, name="Light?", expectations={"reached": ["2.1"]})
    assert [tested.status for tested in run_tests(flow)] == ["passed", "failed"]
    first, second = FlowTest.objects.order_by("name")
    assert result_of(first)["status"] == "passed"
    assert result_of(second)["problems"] == ["It should reach row 2.1 (set_state) and did not."]
    assert first.tried_at is not None


def test_a_test_that_is_deleted_while_it_runs_does_not_come_back(flow: Flow) -> None:
    test = heavy(flow)
    tested = run_test(test)
    FlowTest.objects.all().delete()
    flowtests.keep_results([tested], draft_document(flow))
    assert not FlowTest.objects.exists()


def test_coverage_names_the_rows_that_no_test_reaches(flow: Flow) -> None:
    heavy(flow)
    assert coverage_of(flow).missed == ["heavy", "1.1", "light", "2.1"]
    run_tests(flow)
    coverage = coverage_of(flow)
    assert (coverage.missed, coverage.percent) == (["light", "2.1"], 50)
    save_test(flow, "Light", state={"kilos": 2})
    run_tests(flow)
    assert (coverage_of(flow).missed, coverage_of(flow).percent) == ([], 100)
    spoil(flow)
    assert coverage_of(flow).percent == 0  # of this draft nothing has been tried yet


# --- publishing -----------------------------------------------------------------------------------


def test_a_failing_test_keeps_the_draft_from_being_published(flow: Flow) -> None:
    heavy(flow)
    publish(flow)
    spoil(flow)
    with pytest.raises(PublishRefused, match="The test “Heavy” fails") as caught:
        publish(flow)
    assert [finding.code for finding in caught.value.findings] == ["test-failed"]
    assert flow.versions.count() == 1
    assert result_of(FlowTest.objects.get())["status"] == "failed"


def test_who_publishes_can_overrule_failing_tests_and_the_version_says_so(flow: Flow) -> None:
    heavy(flow)
    spoil(flow)
    version = publish(flow, note="Trucks are out.", overrule_tests=True)
    assert version.note == "Trucks are out.\nPublished although these tests failed: “Heavy”."


def test_overruling_tests_overrules_no_other_error(flow: Flow) -> None:
    heavy(flow)
    edit_action(flow, "heavy", config={"condition": "kilos >"})
    with pytest.raises(PublishRefused) as caught:
        publish(flow, overrule_tests=True)
    severities = {finding.code: finding.severity for finding in caught.value.findings}
    assert severities == {"config": "error", "test-failed": "warning"}


def test_a_broken_test_keeps_nothing_from_being_published(flow: Flow) -> None:
    heavy(flow, state={"kilos": "many"})
    assert publish(flow).number == 1


def test_the_draft_that_is_published_is_the_one_that_was_tested(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy(flow)
    real = flowtests.run_tests

    def run_and_be_overtaken(flow: Flow, document: Any = None) -> Any:
        found = real(flow, document)
        monkeypatch.setattr("flowcontrol.publishing.run_tests", real)
        spoil(Flow.objects.get(pk=flow.pk))
        return found

    monkeypatch.setattr("flowcontrol.publishing.run_tests", run_and_be_overtaken)
    with pytest.raises(PublishRefused, match="Heavy"):
        publish(flow)


def test_checking_a_draft_runs_no_tests(flow: Flow) -> None:
    heavy(flow)
    spoil(flow)
    assert find_all(frozen(draft_document(flow)), flow=flow) == []


# --- saving ---------------------------------------------------------------------------------------


def test_a_trial_can_be_saved_as_what_is_expected_from_now_on(flow: Flow) -> None:
    trial = try_flow(flow, state={"kilos": 30})
    wanted = expectations_from(trial)
    assert wanted == {"outcome": "complete", "state": {"way": "truck"}, "reached": ["1.1", "heavy"]}
    test = save_test(flow, " Heavy ", state={"kilos": 30}, expectations=wanted)
    assert test.name == "Heavy"
    assert run_test(test).status == "passed"


def test_saving_again_changes_the_test_and_forgets_its_result(flow: Flow) -> None:
    test = heavy(flow)
    run_tests(flow)
    test.refresh_from_db()
    assert test.result is not None
    changed = heavy(flow, name="Very heavy", test=test)
    assert (changed.pk, changed.name, changed.result) == (test.pk, "Very heavy", None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": " "}, "needs a name"),
        ({"name": "x" * 201}, "at most 200"),
        ({"name": "Heavy"}, "called “Heavy” already"),
        ({"expectations": {"outcome": "good"}}, "outcome"),
        ({"expectations": {"reach": []}}, "reach"),
        ({"answers": {"1": 7}}, "answer for row 1"),
        ({"state": {"n": float("nan")}}, "JSON"),
    ],
)
def test_what_is_no_test_is_refused(given: dict[str, Any], told: str, flow: Flow) -> None:
    heavy(flow)
    with pytest.raises(FlowTestRefused, match=told):
        heavy(flow, **{"name": "Other", **given})
    assert FlowTest.objects.count() == 1


def test_a_test_that_was_deleted_meanwhile_is_not_saved(flow: Flow) -> None:
    test = heavy(flow)
    FlowTest.objects.all().delete()
    with pytest.raises(FlowTestRefused, match="deleted"):
        heavy(flow, name="New", test=test)


def test_a_copy_of_a_flow_has_its_tests(flow: Flow) -> None:
    heavy(flow)
    run_tests(flow)
    copy = duplicate_flow(flow, "Copy")
    (test,) = FlowTest.objects.filter(flow=copy)
    assert (test.name, test.result) == ("Heavy", None)
    assert run_test(test).status == "passed"
    assert FlowTest.objects.filter(flow=flow).count() == 1


# --- as JSON --------------------------------------------------------------------------------------


def test_tests_come_back_from_a_file_as_they_were(flow: Flow) -> None:
    parcel = Parcel.objects.create(label="box")
    heavy(flow, obj=parcel, starts_at=NOON, answers={"1": {"result": 1}})
    heavy(flow, name="Other")
    data = json.loads(json.dumps(flowtests.tests_as_json(flow)))
    assert data[0]["object"] == {"model": "testapp.parcel", "key": str(parcel.pk)}
    assert flowtests.tests_from_json(flow, data) == []
    assert flowtests.tests_as_json(flow) == data
    assert FlowTest.objects.count() == 2


def test_an_object_goes_by_its_natural_key_where_there_is_one(flow: Flow) -> None:
    user = User.objects.create_user("kim")
    heavy(flow, obj=user)
    (data,) = flowtests.tests_as_json(flow)
    assert data["object"] == {"model": "auth.user", "key": ["kim"]}
    user.delete()
    again = User.objects.create_user("kim")
    assert flowtests.tests_from_json(flow, [data]) == []
    assert FlowTest.objects.get().object_id == str(again.pk)


@pytest.mark.parametrize(
    "reference",
    [
        {"model": "auth.user", "key": ["nobody"]},
        {"model": "no.such", "key": "1"},
        {"model": "testapp.parcel", "key": "x"},
        {"model": "testapp.parcel"},
        {"model": "testapp.parcel", "key": ["natural"]},
        "box",
    ],
)
def test_an_object_that_is_not_here_is_told_and_the_test_kept(reference: Any, flow: Flow) -> None:
    missing = flowtests.tests_from_json(flow, [{"name": "x", "object": reference}])
    assert len(missing) == 1
    assert "“x”" in missing[0]
    assert FlowTest.objects.get().object_id is None


def test_rows_that_got_new_ids_are_found_again(flow: Flow) -> None:
    heavy(flow, answers={"1.1": {"result": 1}})
    data = flowtests.tests_as_json(flow)
    other = create_flow("Other")
    flowtests.tests_from_json(other, data, uids={"1.1": "new"})
    test = FlowTest.objects.get(flow=other)
    assert test.expectations["reached"] == ["new"]
    assert test.answers == {"new": {"result": 1}}


@pytest.mark.parametrize(
    "data",
    [
        {},
        [1],
        [{}],
        [{"name": "x", "state": 1}],
        [{"name": "x"}, {"name": "x"}],
        [{"name": "x", "starts_at": "noon"}],
        [{"name": "x", "starts_at": "2013-02-08T12:00:00"}],
        [{"name": "x", "expectations": {"reached": 5}}],
    ],
)
def test_a_file_that_holds_no_tests_is_refused_and_changes_nothing(data: Any, flow: Flow) -> None:
    heavy(flow)
    with pytest.raises(FlowTestRefused):
        flowtests.tests_from_json(flow, data)
    assert FlowTest.objects.get().name == "Heavy"


def test_a_test_with_waits_runs_in_no_time(flow: Flow) -> None:
    replace_draft(flow, make_document(Delay("P30D"), Log("later")))
    assert run_test(save_test(flow, "x", expectations={"reached": ["2"]})).status == "passed"
