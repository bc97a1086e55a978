"""Named tests of a flow: trials with expectations, kept with the flow and run when it is published.

A test fails when the flow does not do what is expected of it. It is broken when it cannot be tried
at all, because its object is gone or its input does not fit: that says nothing about the flow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import models, transaction
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware
from django.utils.translation import gettext as _

from flowcontrol.conf import settings
from flowcontrol.documents import JSONObject, checksum, plain_json, walk
from flowcontrol.drafting import content_type_named, draft_document, frozen
from flowcontrol.exceptions import (
    AuthorError,
    DocumentError,
    DraftRefused,
    FlowTestRefused,
    TrialRefused,
)
from flowcontrol.findings import Finding, Severity, fix_of
from flowcontrol.history import same, shown
from flowcontrol.models import Flow, FlowTest, load_objects, object_reference
from flowcontrol.schemas import MASK, find_value_problems, mask_secrets
from flowcontrol.trying import MISSING, Trial, check_answers, try_flow

OUTCOMES: Final = ("complete", "aborted", "obsolete", "errored", "failed", "waiting", "stopped")
"""What can be expected of a trial; a test never stops at a row by itself."""

EXPECTATIONS_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "outcome": {"type": "string", "enum": list(OUTCOMES)},
        "state": {"type": "object"},
        "reached": {"type": "array", "items": {"type": "string"}},
        "not_reached": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}
"""What the expectations of a test may say; all of it optional."""

TEST_FAILED: Final = "test-failed"
"""The code of the finding that says that a test fails."""

TestStatus = Literal["passed", "failed", "broken"]


@dataclass(frozen=True, slots=True)
class Tested:
    """What came of one test."""

    test: FlowTest
    status: TestStatus
    problems: Sequence[str] = ()
    trial: Trial | None = None

    @property
    def reached(self) -> set[str]:
        return self.trial.reached if self.trial is not None else set()


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which rows of a document its tests reach; rows that are switched off do not count."""

    rows: Sequence[str]
    tests: Mapping[str, Sequence[str]]
    """The names of the tests that reach a row, by its uid."""
    run: int = 0
    """How many tests were run on the document."""

    @property
    def was_run(self) -> bool:
        return self.run > 0

    @property
    def missed(self) -> list[str]:
        """The rows that no test reaches, in order."""
        return [uid for uid in self.rows if uid not in self.tests]

    @property
    def percent(self) -> int:
        """Rounded down: 100 says that nothing is missed."""
        return 100 * (len(self.rows) - len(self.missed)) // len(self.rows) if self.rows else 100


# --- running --------------------------------------------------------------------------------------


def run_test(test: FlowTest, document: Mapping[str, Any] | None = None) -> Tested:
    """Try the flow of ``test`` as the test says; ``document`` in place of its draft.

    Whatever is wrong is the result; nothing is raised and nothing is written.
    """
    if document is None:
        document = frozen(draft_document(test.flow))
    try:
        trial = try_flow(
            document,
            _object_of(test),
            flow=test.flow,
            state=test.state,
            trigger_payload=test.payload,
            answers=test.answers,
            now=test.starts_at,
        )
    except TrialRefused as refused:
        return Tested(test, "broken", [str(refused)])
    problems = find_differences(test.expectations, trial, document)
    return Tested(test, "failed" if problems else "passed", problems, trial)


def run_tests(
    flow: Flow, document: Mapping[str, Any] | None = None, *, only: int | None = None
) -> list[Tested]:
    """Run the tests of a flow, by name, and write down what came of each.

    Args:
        flow: whose tests.
        document: what is tested; by default the draft.
        only: the key of one test, to run no other.
    """
    tests = FlowTest.objects.filter(flow=flow).order_by("name")
    wanted = [test for test in tests if only is None or test.pk == only]
    if not wanted:
        return []
    if document is None:
        document = frozen(draft_document(flow))
    for test in wanted:
        test.flow = flow
    found = [run_test(test, document) for test in wanted]
    keep_results(found, document)
    return found


def keep_results(found: Iterable[Tested], document: Mapping[str, Any]) -> None:
    """Write down what came of tests that were run on ``document``."""
    digest, now = checksum(document), settings.CLOCK()
    for tested in found:
        result = {
            "status": tested.status,
            "problems": list(tested.problems),
            "reached": sorted(tested.reached),
            "checksum": digest,
        }
        tested.test.result, tested.test.tried_at = result, now
        # An UPDATE and no save(): somebody may have changed or deleted the test meanwhile.
        FlowTest.objects.filter(pk=tested.test.pk).update(result=result, tried_at=now)


def find_differences(
    expectations: Mapping[str, Any], trial: Trial, document: Mapping[str, Any]
) -> list[str]:
    """What a trial did not do as expected, a sentence each."""
    problems = []
    wanted = expectations.get("outcome")
    if wanted is not None and trial.outcome != wanted:
        told = _("It should end as “%(wanted)s” and ended as “%(found)s”.")
        problems.append(told % {"wanted": wanted, "found": trial.outcome} + _because(trial))
    problems += _state_differences(expectations.get("state", {}), trial.state, document)
    names = row_names(document)
    reached = trial.reached
    for uid in expectations.get("reached", ()):
        if uid not in names:
            problems.append(_("The row %(uid)s, which it should reach, is gone.") % {"uid": uid})
        elif uid not in reached:
            problems.append(_("It should reach %(row)s and did not.") % {"row": names[uid]})
    problems += [
        _("It should not reach %(row)s and did.") % {"row": names.get(uid, uid)}
        for uid in expectations.get("not_reached", ())
        if uid in reached
    ]
    return problems


def _because(trial: Trial) -> str:
    return f" {trial.reason}" if trial.reason else ""


def _state_differences(
    wanted: Mapping[str, Any], found: Mapping[str, Any], document: Mapping[str, Any]
) -> list[str]:
    problems = []
    for key, value in wanted.items():
        is_there = found.get(key, MISSING)
        if is_there is MISSING:
            told = _("“%(key)s” should be %(wanted)s in the end and is missing.")
        elif not _equal(value, is_there):
            told = _("“%(key)s” should be %(wanted)s in the end and is %(found)s.")
        else:
            continue
        values = {"wanted": value, "found": None if is_there is MISSING else is_there}
        words = {name: _told(document, key, each) for name, each in values.items()}
        problems.append(told % {"key": key, **words})
    return problems


def _equal(wanted: Any, found: Any) -> bool:
    """As JSON, but a person who writes 5 means 5.0 as well."""
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        return wanted == found and isinstance(wanted, bool) == isinstance(found, bool)
    return same(wanted, found)


def _told(document: Mapping[str, Any], key: str, value: Any) -> str:
    schema = document.get("state_schema")
    try:
        hidden = schema and not same(mask_secrets(schema, {key: value})[key], value)
    except ValueError:
        hidden = True  # a schema that is none: nobody knows what is secret
    return MASK if hidden else json.dumps(shown(value), ensure_ascii=False)


def row_names(document: Mapping[str, Any]) -> dict[str, str]:
    """How people call each row, by uid: its label, or place and action."""
    names: dict[str, str] = {}
    places: dict[str, str] = {}
    for placed in walk(document):
        item = placed.row
        before = f"{places[placed.parent['uid']]}." if placed.parent is not None else ""
        places[item["uid"]] = f"{before}{placed.place + 1}"
        names[item["uid"]] = (
            _("row %(place)s, “%(label)s”") % {"place": places[item["uid"]], "label": item["label"]}
            if item["label"]
            else _("row %(place)s (%(action)s)")
            % {"place": places[item["uid"]], "action": item["action"]}
        )
    return names


def _object_of(test: FlowTest) -> models.Model | None:
    if test.content_type_id is None or test.object_id is None:
        return None
    reference = (test.content_type_id, test.object_id)
    found = load_objects([reference]).get(reference)
    if found is None:
        raise TrialRefused(_("Its object (%(key)s) is gone.") % {"key": test.object_id})
    return found


# --- what comes of it -----------------------------------------------------------------------------


def findings_of(found: Iterable[Tested], *, overruled: bool = False) -> list[Finding]:
    """What tests have to say about publishing.

    A failing test is an error: somebody wrote down that this must not happen. Objects change
    without the flow being wrong, so whoever publishes may overrule it, which makes it a warning. A
    broken test is always a warning.
    """
    findings = []
    for tested in found:
        if tested.status == "passed":
            continue
        code = TEST_FAILED if tested.status == "failed" else "test-broken"
        severity: Severity = "warning" if overruled or tested.status == "broken" else "error"
        told = (
            _("The test “%(name)s” fails: %(problems)s")
            if tested.status == "failed"
            else _("The test “%(name)s” cannot be run: %(problems)s")
        ) % {"name": tested.test.name, "problems": " ".join(tested.problems)}
        findings.append(Finding(severity, code, "", "", told, fix_of(code)))
    return findings


def coverage_of(flow: Flow, document: Mapping[str, Any] | None = None) -> Coverage:
    """The rows that the tests of a flow reached when they were last run on ``document``."""
    if document is None:
        document = frozen(draft_document(flow))
    digest = checksum(document)
    results = FlowTest.objects.filter(flow=flow).order_by("name").values_list("name", "result")
    tests: dict[str, list[str]] = {}
    run = 0
    for name, result in results:
        if result is None or result["checksum"] != digest:
            continue
        run += 1
        for uid in result["reached"]:
            tests.setdefault(uid, []).append(name)
    rows = [placed.row["uid"] for placed in walk(document, only_enabled=True)]
    return Coverage(rows, tests, run)


# --- saving ---------------------------------------------------------------------------------------


def save_test(
    flow: Flow,
    name: str,
    obj: models.Model | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    trigger_payload: Mapping[str, Any] | None = None,
    answers: Mapping[str, Any] | None = None,
    starts_at: datetime | None = None,
    expectations: Mapping[str, Any] | None = None,
    test: FlowTest | None = None,
) -> FlowTest:
    """Keep a test with its flow: a new one, or ``test`` as it is now to be.

    Raises:
        FlowTestRefused: the name is taken, or answers or expectations are none.
    """
    values = {
        "name": name.strip(),
        "state": dict(state or {}),
        "payload": dict(trigger_payload or {}),
        "answers": dict(answers or {}),
        "starts_at": starts_at,
        "expectations": dict(expectations or {}),
        "result": None,
        "tried_at": None,
        **object_reference(obj),
    }
    _check(values)
    with transaction.atomic():
        # Two that save a test of this name at once: the second finds the first.
        locked = Flow.objects.locked(flow.pk)
        same_name = FlowTest.objects.filter(flow=locked, name=values["name"])
        if any(each.pk != (test.pk if test is not None else None) for each in same_name):
            raise FlowTestRefused(
                _("There is a test called “%(name)s” already.") % {"name": values["name"]}
            )
        if test is None:
            return FlowTest.objects.create(flow=locked, **values)
        if not FlowTest.objects.filter(pk=test.pk).update(**values):
            raise FlowTestRefused(_("Somebody has deleted this test meanwhile."))
    test.refresh_from_db()
    return test


def _check(values: Mapping[str, Any]) -> None:
    if not values["name"]:
        raise FlowTestRefused(_("A test needs a name."))
    if len(values["name"]) > 200:
        raise FlowTestRefused(_("The name of a test has at most 200 characters."))
    try:
        for part in ("state", "payload", "answers", "expectations"):
            plain_json(values[part])
        check_answers(values["answers"])
    except (DocumentError, TrialRefused) as error:
        raise FlowTestRefused(str(error)) from error
    problems = find_value_problems(EXPECTATIONS_SCHEMA, values["expectations"])
    if problems:
        told = "; ".join(map(str, problems))
        raise FlowTestRefused(_("The expectations: %(problems)s") % {"problems": told})


def expectations_from(trial: Trial) -> JSONObject:
    """What a trial did, as what is expected from now on: its outcome, and the state it changed."""
    changed = {
        key: value
        for key, value in trial.state.items()
        if key not in trial.start_state or not same(value, trial.start_state[key])
    }
    wanted: JSONObject = {"state": changed, "reached": sorted(trial.reached)}
    if trial.outcome in OUTCOMES:
        wanted["outcome"] = trial.outcome
    return wanted


# --- as JSON --------------------------------------------------------------------------------------

_KEYS: Final = ("state", "payload", "answers", "expectations")


def tests_as_json(flow: Flow) -> list[JSONObject]:
    """The tests of a flow for a file: ``[{"name": …, "object": {"model", "key"}, "state": …}]``.

    Objects are named by their natural key (a list) where their model has one, else by their
    primary key (a text).
    """
    tests = list(FlowTest.objects.filter(flow=flow).order_by("name"))
    references = [(test.content_type_id, test.object_id) for test in tests]
    objects = load_objects(references)
    return [
        {
            "name": test.name,
            "object": _object_as_json(test, objects.get(reference)),
            "starts_at": test.starts_at.isoformat() if test.starts_at is not None else None,
            **{key: getattr(test, key) for key in _KEYS},
        }
        for test, reference in zip(tests, references, strict=True)
    ]


def _object_as_json(test: FlowTest, obj: models.Model | None) -> JSONObject | None:
    if test.content_type_id is None or test.object_id is None:
        return None
    content_type = ContentType.objects.get_for_id(test.content_type_id)
    key: Any = test.object_id
    if obj is not None and hasattr(obj, "natural_key"):
        try:
            key = plain_json(list(obj.natural_key()))
        except AuthorError:
            key = test.object_id
    return {"model": f"{content_type.app_label}.{content_type.model}", "key": key}


def check_tests(data: Any) -> None:
    """Look at tests as :func:`tests_as_json` has them; nothing in them is looked up.

    Raises:
        FlowTestRefused: it is no list of tests.
    """
    if not isinstance(data, list):
        raise FlowTestRefused(_("Tests are a JSON list."))
    names = [_values_of(each)["name"] for each in data]
    if len(set(names)) < len(names):
        raise FlowTestRefused(_("Two tests have the same name."))


def _values_of(data: Any) -> JSONObject:
    """What a test says, but for its object. Raises FlowTestRefused: ``data`` is no test."""
    if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
        raise FlowTestRefused(_("A test is a JSON object with a name."))
    values: dict[str, Any] = {key: data.get(key) or {} for key in _KEYS}
    if not all(isinstance(value, Mapping) for value in values.values()):
        raise FlowTestRefused(_("Test “%(name)s” cannot be read.") % {"name": data["name"]})
    values = {key: dict(value) for key, value in values.items()}
    values |= {"name": data["name"].strip(), "starts_at": _moment(data.get("starts_at"))}
    _check(values)
    return values


def objects_not_here(data: Sequence[Any]) -> list[str]:
    """The objects of tests that are not in this project, a sentence each."""
    reading = _Reading(Flow(), {})
    for each in data:
        reading.object(each["name"], each.get("object"))
    return reading.missing


@dataclass
class _Reading:
    """Tests on their way in, and what could not be found for them."""

    flow: Flow
    uids: Mapping[str, str]
    missing: list[str] = field(default_factory=list)

    def test(self, data: Any) -> FlowTest:
        """Raises FlowTestRefused: ``data`` is no test."""
        values = _values_of(data)
        values["answers"] = {self._uid(uid): each for uid, each in values["answers"].items()}
        for key in ("reached", "not_reached"):
            if key in values["expectations"]:
                values["expectations"][key] = list(map(self._uid, values["expectations"][key]))
        content_type, object_id = self.object(values["name"], data.get("object"))
        return FlowTest(flow=self.flow, content_type=content_type, object_id=object_id, **values)

    def _uid(self, uid: str) -> str:
        return self.uids.get(uid, uid)

    def object(self, name: str, data: Any) -> tuple[ContentType | None, str | None]:
        if data is None:
            return None, None
        try:
            content_type = content_type_named(data["model"])
            if content_type is None:
                return None, None
            return content_type, _key_of(content_type.model_class(), data["key"])
        except (DraftRefused, ObjectDoesNotExist, ValidationError, *_NO_KEY) as error:
            told = _("The object of the test “%(name)s” is not here: %(error)s")
            self.missing.append(told % {"name": name, "error": str(error) or data})
            return None, None


_NO_KEY: Final = (AttributeError, KeyError, TypeError, ValueError)
"""What a key raises that is none."""


def _key_of(model: Any, key: Any) -> str:
    """The key of an object that is there, as text."""
    if isinstance(key, list):
        return str(model._default_manager.get_by_natural_key(*key).pk)
    return str(model._base_manager.get(pk=key).pk)


def _moment(text: Any) -> datetime | None:
    if text is None:
        return None
    moment = parse_datetime(text) if isinstance(text, str) else None
    if moment is None or not is_aware(moment):
        raise FlowTestRefused(
            _("%(text)s is no moment with a time zone.") % {"text": repr(text)[:100]}
        )
    return moment


def tests_from_json(
    flow: Flow,
    data: Any,
    *,
    uids: Mapping[str, str] | None = None,  # noqa: PT028 (no test function)
) -> list[str]:
    """Replace the tests of a flow by those of :func:`tests_as_json`.

    Args:
        flow: whose tests they shall be.
        data: the list.
        uids: the ids that rows have here by those they had there, if they were given new ones.

    Returns:
        What could not be found here, a sentence each; such tests are kept without their object.

    Raises:
        FlowTestRefused: it is no such list; nothing was changed.
    """
    check_tests(data)
    reading = _Reading(flow, uids or {})
    tests = [reading.test(each) for each in data]
    with transaction.atomic():
        locked = Flow.objects.locked(flow.pk)
        FlowTest.objects.filter(flow=locked).delete()
        FlowTest.objects.bulk_create(tests)
    return reading.missing
