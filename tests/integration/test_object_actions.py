"""Set fields, Create object, Update matching objects: what they change, and for whom they do."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from flowcontrol.documents import JSONObject, make_document
from flowcontrol.engine import start_flowrun
from flowcontrol.exceptions import PublishRefused
from flowcontrol.findings import find_all
from flowcontrol.models import Flow, FlowRun, Outcome, Status
from flowcontrol.registry import actions
from flowcontrol.testing import If, Log, UpdateState, make_flow, row
from tests.testapp.models import Parcel, Station, Ticket

pytestmark = pytest.mark.django_db

PARCEL = "testapp.parcel"


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.FLOWCONTROL_CONTENT_TYPES = ["testapp.Parcel", "testapp.Ticket", "testapp.Station"]


@pytest.fixture
def desk() -> User:
    return user("add_parcel", "change_parcel", "change_station", "add_ticket")


def user(*rights: str, name: str = "desk", **fields: Any) -> User:
    made = User.objects.create_user(name, **fields)
    made.user_permissions.set(Permission.objects.filter(codename__in=rights))
    assert made.user_permissions.count() == len(rights)
    return made


def flow_of(*rows: JSONObject, identity: Any, about: str | None = PARCEL) -> Flow:
    return make_flow(*rows, identity=identity, content_type=about)


def set_fields(parcel: Any, identity: Any, *, state: Any = None, **config: Any) -> FlowRun:
    flow = flow_of(row("set_fields", **config), identity=identity)
    return start_flowrun(flow, parcel, state=state)


def codes(item: JSONObject, **fields: Any) -> list[tuple[str, str, str]]:
    document = make_document(item, **{"content_type": PARCEL, "identity": "desk", **fields})
    return [(found.severity, found.code, found.field) for found in find_all(document)]


# --- set fields ---------------------------------------------------------------------------------


def test_fields_of_the_object_are_set(desk: User):
    parcel = Parcel.objects.create(label="A", weight=3)
    run = set_fields(parcel, desk, fields={"weight": 5, "is_loaded": True})
    parcel.refresh_from_db()
    assert (parcel.label, parcel.weight, parcel.is_loaded) == ("A", 5, True)
    assert run.outcome == Outcome.COMPLETE


def test_texts_are_texts_unless_the_row_evaluates_them(desk: User):
    parcel = Parcel.objects.create(label="A", weight=3)
    set_fields(parcel, desk, fields={"label": "object.weight"})
    parcel.refresh_from_db()
    assert parcel.label == "object.weight"
    values = {"label": "'B'", "weight": "object.weight|add:n"}
    item = row("set_fields", fields=values, evaluate=True)
    flow = make_flow(item, identity=desk, content_type=PARCEL, name="Evaluates")
    start_flowrun(flow, parcel, state={"n": 2})
    parcel.refresh_from_db()
    assert (parcel.label, parcel.weight) == ("B", 5)


def test_the_rows_after_it_see_what_it_set(desk: User):
    parcel = Parcel.objects.create(label="A", weight=3)
    flow = flow_of(
        row("set_fields", fields={"weight": 5}),
        If("object.weight == 5", [UpdateState(seen="object.weight")]),
        identity=desk,
    )
    assert start_flowrun(flow, parcel).state == {"seen": 5}


def test_what_somebody_else_changed_meanwhile_is_kept(desk: User):
    parcel = Parcel.objects.create(label="A", weight=3)
    stale = Parcel.objects.get()
    Parcel.objects.update(label="B")
    set_fields(stale, desk, fields={"weight": 5})
    parcel.refresh_from_db()
    assert (parcel.label, parcel.weight) == ("B", 5)


def test_an_object_that_would_not_be_valid_is_not_saved(desk: User):
    parcel = Parcel.objects.create(label="A", weight=3)
    run = set_fields(parcel, desk, fields={"weight": -1, "label": "x" * 101})
    assert run.status == Status.FAILED
    assert f"Parcel {parcel.pk} cannot be saved." in run.reason
    assert "label: Ensure this value has at most 100 characters" in run.reason
    parcel.refresh_from_db()
    assert (parcel.label, parcel.weight) == ("A", 3)
    detail = run.events.get(kind="failed").detail or {}
    assert detail["error"] == "flowcontrol.exceptions.ObjectInvalid"


@pytest.mark.parametrize("name", ["nothing", "id", "pk", "__class__", "objects", "save"])
def test_what_is_no_field_cannot_be_set(name: str, desk: User):
    parcel = Parcel.objects.create(label="A")
    item = row("set_fields", fields={"$expr": "values"})
    run = start_flowrun(flow_of(item, identity=desk), parcel, state={"values": {name: 5}})
    assert run.status == Status.FAILED
    assert Parcel.objects.get().label == "A"
    assert codes(row("set_fields", fields={name: 5})) == [("error", "config", "fields")]


# --- create -------------------------------------------------------------------------------------


def test_an_object_is_created_and_its_key_is_the_result(desk: User):
    flow = make_flow(
        row("create_object", model=PARCEL, fields={"label": "New"}, result_key="parcel"),
        row("create_object", model="testapp.ticket", fields={"passenger": "Q"}, result_key="t"),
        identity=desk,
    )
    run = start_flowrun(flow)
    assert run.state == {"parcel": Parcel.objects.get().pk, "t": str(Ticket.objects.get().pk)}
    assert run.object_id is None


def test_the_run_can_go_on_about_the_new_object(desk: User):
    flow = make_flow(
        row("create_object", model=PARCEL, fields={"label": "New"}, becomes_object=True),
        Log("{{ object.label }}", result_key=""),
        UpdateState(label="object.label"),
        identity=desk,
    )
    run = start_flowrun(flow)
    assert (run.object_id, run.state) == (str(Parcel.objects.get().pk), {"label": "New"})


def test_an_object_that_is_not_valid_is_not_created(desk: User):
    flow = make_flow(row("create_object", model=PARCEL, fields={"weight": 3}), identity=desk)
    run = start_flowrun(flow)
    assert (run.status, Parcel.objects.count()) == (Status.FAILED, 0)
    assert "label: This field cannot be blank." in run.reason


# --- update matching ----------------------------------------------------------------------------


def test_all_that_match_are_changed_and_counted(desk: User):
    for number in range(5):
        Parcel.objects.create(label=f"P{number}", weight=number)
    flow = make_flow(
        row(
            "update_matching",
            model=PARCEL,
            where={"weight__gte": "limit"},
            fields={"is_loaded": "true"},
            evaluate=True,
            result_key="n",
        ),
        identity=desk,
    )
    run = start_flowrun(flow, state={"limit": 3})
    assert run.state["n"] == 2
    assert set(Parcel.objects.filter(is_loaded=True).values_list("label", flat=True)) == {
        "P3",
        "P4",
    }


def test_one_that_is_not_valid_leaves_all_as_they_were(desk: User):
    Parcel.objects.create(label="A", weight=1)
    Parcel.objects.create(label="", weight=1)  # not valid as it is
    flow = make_flow(
        row("update_matching", model=PARCEL, where={"weight": 1}, fields={"weight": 2}),
        identity=desk,
    )
    assert start_flowrun(flow).status == Status.FAILED
    assert set(Parcel.objects.values_list("weight", flat=True)) == {1}


def test_more_than_a_thousand_are_a_mistake(desk: User):
    Parcel.objects.bulk_create(Parcel(label=str(n)) for n in range(1001))
    flow = make_flow(
        row("update_matching", model=PARCEL, where={"weight": 0}, fields={"weight": 2}),
        identity=desk,
    )
    run = start_flowrun(flow)
    assert "More than 1,000 objects match" in run.reason
    assert not Parcel.objects.filter(weight=2).exists()


def test_the_object_of_the_run_is_seen_as_it_is_now(desk: User):
    parcel = Parcel.objects.create(label="A", weight=1)
    flow = flow_of(
        row("update_matching", model=PARCEL, where={"label": "A"}, fields={"weight": 2}),
        UpdateState(weight="object.weight"),
        identity=desk,
    )
    assert start_flowrun(flow, parcel).state == {"weight": 2}


@pytest.mark.parametrize(
    "name", ["weight__regex", "weight__gte__lt", "airline__name", "nothing", "__", "pk__nothing"]
)
def test_a_comparison_that_is_none_is_refused(name: str, desk: User):
    item = row("update_matching", model=PARCEL, where={name: 1}, fields={"weight": 2})
    assert codes(item) == [("error", "config", "where")]
    late = row("update_matching", model=PARCEL, where={"$expr": "w"}, fields={"weight": 2})
    run = start_flowrun(make_flow(late, identity=desk), state={"w": {name: 1}})
    assert run.status == Status.FAILED


def test_a_value_that_cannot_be_compared_is_told(desk: User):
    item = row("update_matching", model=PARCEL, where={"weight": "heavy"}, fields={"weight": 2})
    run = start_flowrun(make_flow(item, identity=desk))
    assert "Cannot look for testapp.parcel" in run.reason


def test_what_may_not_be_read_cannot_be_looked_for(settings: Any, desk: User):
    settings.FLOWCONTROL_EXPOSED_FIELDS = {PARCEL: ["label"]}
    item = row("update_matching", model=PARCEL, where={"weight__gt": 1}, fields={"label": "x"})
    assert codes(item) == [("error", "config", "where")]


# --- who may ------------------------------------------------------------------------------------


def test_a_flow_that_acts_as_nobody_changes_nothing(desk: User):
    item = row("set_fields", fields={"weight": 5})
    assert codes(item, identity=None) == [("error", "missing-identity", "")]
    assert codes(item, identity="gone") == [("error", "missing-identity", "")]
    assert codes(item) == []


def test_the_user_has_to_have_the_right_when_publishing_and_when_running(desk: User):
    parcel = Parcel.objects.create(label="A", weight=3)
    flow = flow_of(row("set_fields", fields={"weight": 5}), identity=desk)
    desk.user_permissions.clear()
    run = start_flowrun(flow, parcel)
    assert "who lacks the right “testapp.change_parcel”" in run.reason
    assert codes(row("set_fields", fields={"weight": 5})) == [("error", "missing-right", "")]
    user("change_parcel", name="left", is_active=False)
    assert codes(row("set_fields", fields={"weight": 5}), identity="left") == [
        ("error", "missing-right", "")
    ]
    assert Parcel.objects.get().weight == 3


def test_creating_needs_the_right_to_add(desk: User):
    desk.user_permissions.remove(Permission.objects.get(codename="add_parcel"))
    item = row("create_object", model=PARCEL, fields={"label": "x"})
    assert codes(item) == [("error", "missing-right", "")]


def test_who_starts_the_run_does_not_matter(desk: User):
    boss = User.objects.create_superuser("boss")
    parcel = Parcel.objects.create(label="A", weight=3)
    flow = flow_of(row("set_fields", fields={"weight": 5}), identity=desk)
    for starter in (boss, user(name="nobody"), None):
        assert start_flowrun(flow, parcel, user=starter).outcome == Outcome.COMPLETE
    theirs = row("set_fields", fields={"weight": 9})
    assert codes(theirs, identity="nobody") == [("error", "missing-right", "")]


@pytest.mark.parametrize("allowed", [None, [], ["testapp.station"]])
def test_only_models_that_are_listed_can_be_changed(allowed: Any, settings: Any, desk: User):
    parcel = Parcel.objects.create(label="A", weight=3)
    flow = flow_of(row("set_fields", fields={"weight": 5}), identity=desk)
    settings.FLOWCONTROL_CONTENT_TYPES = allowed
    assert "Flows may not change “testapp.parcel”" in start_flowrun(flow, parcel).reason
    assert Parcel.objects.get().weight == 3
    create = row("create_object", model=PARCEL, fields={"label": "x"})
    assert codes(create) == [("error", "config", "model")]
    assert codes(row("set_fields", fields={"weight": 5})) == [("error", "config", "")]
    with pytest.raises(PublishRefused):
        make_flow(create, identity=desk, name="Other")


def test_a_flow_about_nothing_has_no_fields_to_set(desk: User):
    item = row("set_fields", fields={"weight": 5})
    assert codes(item, content_type=None) == [("error", "config", "")]


def test_evaluating_what_was_computed_is_refused():
    config = {"fields": {"$expr": "trigger"}, "evaluate": True}
    [(severity, field, _message)] = actions["set_fields"].check_config(config)
    assert (severity, field) == ("error", "evaluate")
    config = {"fields": {"label": "1 +"}, "evaluate": True}
    [(severity, field, _message)] = actions["set_fields"].check_config(config)
    assert (severity, field) == ("error", "fields")


def test_the_user_is_read_once_for_the_whole_draft(desk: User, django_assert_max_num_queries: Any):
    rows = [row("set_fields", fields={"weight": n}) for n in range(20)]
    document = make_document(*rows, content_type=PARCEL, identity="desk")
    with django_assert_max_num_queries(4):
        assert find_all(document) == []


def test_relations_are_set_by_key_and_checked(settings: Any):
    settings.FLOWCONTROL_CONTENT_TYPES = ["demo.flight"]
    boss = User.objects.create_superuser("boss")
    item = row("create_object", model="demo.flight", fields={"airline": "XX"})
    run = start_flowrun(make_flow(item, identity=boss))
    assert "airline: airline instance with code 'XX' is not a valid" in run.reason


@pytest.mark.parametrize(
    ("action", "config", "sentence"),
    [
        ("set_fields", {"fields": {"a": 1, "b": 2}}, "Set a, b of the object"),
        ("set_fields", {"fields": {"$expr": "trigger"}}, "Set trigger of the object"),
        ("set_fields", {}, "Set … of the object"),
        ("create_object", {"model": PARCEL}, "Create testapp.parcel"),
        (
            "update_matching",
            {"model": PARCEL, "where": {"a": 1}, "fields": {"b": 2}},
            "Set b of every testapp.parcel where a = 1",
        ),
        ("update_matching", {}, "Set … of every … where …"),
    ],
)
def test_rows_read_as_sentences(action: str, config: dict[str, Any], sentence: str):
    assert actions[action]().sentence(config) == sentence


def test_an_object_with_another_kind_of_key_can_be_changed_too(desk: User):
    station = Station.objects.create(code="EWR", name="Newark")
    flow = make_flow(
        row("set_fields", fields={"name": "Liberty"}),
        identity=desk,
        content_type="testapp.station",
    )
    assert start_flowrun(flow, station).outcome == Outcome.COMPLETE
    assert Station.objects.get().name == "Liberty"
