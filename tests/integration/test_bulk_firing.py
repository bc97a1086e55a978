"""Many objects at once: one event each, matched together."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from flowcontrol.models import Firing, FlowRun, Status, Trigger
from flowcontrol.registry import register_trigger, triggers
from flowcontrol.testing import If, Log, UpdateState, make_flow, run_until_idle
from tests.testapp.models import Parcel

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def parcel_arrived():
    with triggers.temporarily():
        yield register_trigger("test.parcel_arrived", model=Parcel)


def parcels(number: int) -> list[Parcel]:
    return Parcel.objects.bulk_create(Parcel(label=str(n), weight=n) for n in range(number))


def test_each_object_gets_its_run_and_each_firing_its_result(parcel_arrived):
    flow = make_flow(UpdateState(weight="object.weight"), content_type="testapp.parcel")
    row = Trigger.objects.create(
        name="test.parcel_arrived", flow=flow, active_at=LONG_AGO, condition="object.weight >= 3"
    )
    assert parcel_arrived.many(parcels(10)) == 10
    run_until_idle()
    assert sorted(run.state["weight"] for run in FlowRun.objects.all()) == [3, 4, 5, 6, 7, 8, 9]
    for firing in Firing.objects.all():
        [result] = firing.results
        if result["did"] == "started":
            assert FlowRun.objects.get(pk=result["run"]).firing == firing
        else:
            assert result == {"trigger": row.pk, "did": "false"}


def test_two_rows_of_one_flow_start_two_runs(parcel_arrived):
    flow = make_flow(Log("here"))
    for _number in range(2):
        Trigger.objects.create(name="test.parcel_arrived", flow=flow, active_at=LONG_AGO)
    parcel_arrived.many(parcels(3))
    assert FlowRun.objects.count() == 6
    assert len({result["run"] for f in Firing.objects.all() for result in f.results}) == 6


def test_an_error_in_one_condition_is_the_result_of_that_firing_only(parcel_arrived):
    flow = make_flow(Log("here"))
    Trigger.objects.create(
        name="test.parcel_arrived",
        flow=flow,
        active_at=LONG_AGO,
        condition="10|divide:object.weight > 1",
    )
    parcel_arrived.many(parcels(3))
    results = [firing.results[0]["did"] for firing in Firing.objects.order_by("pk")]
    assert results == ["error", "started", "started"]


def test_a_flow_with_limits_keeps_them(parcel_arrived):
    flow = make_flow(If("true", [Log("here")]), max_concurrent=2)
    Trigger.objects.create(name="test.parcel_arrived", flow=flow, active_at=LONG_AGO)
    parcel_arrived.many(parcels(5))
    assert FlowRun.objects.filter(status=Status.PENDING).count() == 2
    refused = [f.results[0] for f in Firing.objects.order_by("pk")][2:]
    assert [result["did"] for result in refused] == ["refused"] * 3


def test_ten_thousand_objects_cost_tens_of_statements(parcel_arrived):
    flow = make_flow(Log("here"), content_type="testapp.parcel")
    Trigger.objects.create(name="test.parcel_arrived", flow=flow, active_at=LONG_AGO)
    objects = parcels(10_000)
    with CaptureQueriesContext(connection) as queries:
        parcel_arrived.many(objects)
    assert FlowRun.objects.count() == 10_000
    assert len(queries) < 250


def test_objects_saved_one_by_one_in_a_transaction_are_matched_together(parcel_arrived):
    flow = make_flow(Log("here"), content_type="testapp.parcel")
    Trigger.objects.create(name="test.parcel_arrived", flow=flow, active_at=LONG_AGO)
    objects = parcels(50)
    with transaction.atomic():
        for parcel in objects:
            parcel_arrived(parcel)
        hooks = len(connection.run_on_commit)
    assert hooks == 1
    assert FlowRun.objects.count() == 50


def test_firings_of_a_savepoint_that_was_rolled_back_leave_nothing(parcel_arrived):
    flow = make_flow(Log("here"), content_type="testapp.parcel")
    Trigger.objects.create(name="test.parcel_arrived", flow=flow, active_at=LONG_AGO)
    first, second, third = parcels(3)
    with transaction.atomic():
        parcel_arrived(first)
        with suppress(ZeroDivisionError), transaction.atomic():
            parcel_arrived(second)
            raise ZeroDivisionError
        parcel_arrived(third)
    assert {run.object_id for run in FlowRun.objects.all()} == {str(first.pk), str(third.pk)}
