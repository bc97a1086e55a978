"""A flow in a file: out of one site, into another, or kept beside the code.

The file holds the document, the settings beside it, the rows of triggers and the tests. Whatever it
names, it names as people do: models, users, groups, other flows, triggers. What of that is not here
when the file is read does not stop it; it is reported, and left for somebody to choose.

``flowcontrol/static/flowcontrol/flow.schema.json`` is the JSON Schema of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db import transaction
from django.utils.dateparse import parse_duration
from django.utils.duration import duration_iso_string
from django.utils.translation import gettext as _
from jsonschema import Draft202012Validator

from flowcontrol.clipboard import read_left_out
from flowcontrol.conf import settings
from flowcontrol.documents import JSONObject, plain_json, read_document, walk
from flowcontrol.drafting import create_flow, free_slug, replace_draft
from flowcontrol.drafts import content_type_named, draft_document
from flowcontrol.exceptions import DocumentError, DraftRefused, FlowTestRefused
from flowcontrol.findings import find_all
from flowcontrol.flowtests import (
    check_tests,
    objects_not_here,
    tests_as_json,
    tests_from_json,
)
from flowcontrol.models import Flow, FlowVersion, Trigger
from flowcontrol.registry import triggers
from flowcontrol.schemas import MASK, mask_secrets, place
from flowcontrol.withholding import LeftOut, with_secrets, without_secrets

FILE_FORMAT: Final = "flowcontrol.flow"
FILE_VERSION: Final = 1

SCHEMA_FILE: Final = Path(__file__).parent / "static" / "flowcontrol" / "flow.schema.json"

LIMITS: Final = (
    "max_concurrent",
    "max_per_object",
    "max_concurrent_per_object",
    "when_full",
)

MISSING_CODES: Final = frozenset({"unknown-action", "missing-flow", "missing-trigger"})
"""Findings that say that something is not here, rather than that something is wrong."""


@dataclass(frozen=True, slots=True)
class FlowFile:
    """A file that was read and is one; nothing in it has been looked up yet."""

    name: str
    slug: str
    description: str
    document: JSONObject
    settings: JSONObject | None
    triggers: Sequence[JSONObject] | None
    tests: Sequence[JSONObject] | None
    left_out: LeftOut


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that the file names and that is not here.

    ``kind`` is ``action``, ``object_type``, ``user``, ``group``, ``flow``, ``trigger``, ``secret``
    or ``test``; ``uid`` the row that needs it, empty for the flow.
    """

    kind: str
    message: str
    uid: str = ""

    def __str__(self) -> str:
        return self.message


@dataclass(slots=True)
class Imported:
    """What came of an import: the flow, and what was not found for it."""

    flow: Flow
    missing: list[Missing] = field(default_factory=list)


# --- out ----------------------------------------------------------------------------------------


def export_flow(
    flow: Flow, version: FlowVersion | None = None, *, reveal_secrets: bool = False
) -> JSONObject:
    """The file of a flow: its draft, or one of its versions, with settings, triggers and tests.

    Without ``reveal_secrets`` what is secret is left out, and named under ``left_out``.
    """
    document = draft_document(flow) if version is None else read_document(version.document)
    left_out: LeftOut = {}
    tests = tests_as_json(flow)
    if not reveal_secrets:
        rows, left_out = without_secrets(document["actions"])
        document = {**document, "actions": rows}
        tests = [_without_secret_state(test, document["state_schema"]) for test in tests]
    return {
        "format": FILE_FORMAT,
        "version": FILE_VERSION,
        "flow": {"name": flow.name, "slug": flow.slug, "description": flow.description},
        "document": document,
        "settings": {
            **{name: getattr(flow, name) for name in LIMITS},
            "retention": duration_iso_string(flow.retention) if flow.retention else None,
            "starters": sorted(flow.starters.values_list("name", flat=True)),
        },
        "triggers": [_trigger_as_json(row) for row in flow.triggers.order_by("pk")],
        "tests": tests,
        "left_out": left_out,
    }


def export_text(
    flow: Flow, version: FlowVersion | None = None, *, reveal_secrets: bool = False
) -> str:
    """The same as text, for a file."""
    data = export_flow(flow, version, reveal_secrets=reveal_secrets)
    return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def _trigger_as_json(row: Trigger) -> JSONObject:
    return {
        "name": row.name,
        "condition": row.condition,
        "mode": row.mode,
        "action_uid": row.action_uid,
        "active": row.active_at is not None,
    }


def _without_secret_state(test: JSONObject, schema: Mapping[str, Any] | None) -> JSONObject:
    """A test without the secret values of the state that it starts with, and that it expects."""
    if not schema:
        return test
    expectations = dict(test["expectations"])
    if "state" in expectations:
        expectations["state"] = _without_secret_values(expectations["state"], schema)
    state = _without_secret_values(test["state"], schema)
    return {**test, "state": state, "expectations": expectations}


def _without_secret_values(state: JSONObject, schema: Mapping[str, Any]) -> JSONObject:
    try:
        masked = mask_secrets(schema, state)
    except ValueError:
        # A schema that is none by today's rules: nobody knows what is secret.
        return {}
    return {
        key: value
        for key, value in masked.items()
        if MASK not in json.dumps(value, ensure_ascii=False)
    }


# --- in -----------------------------------------------------------------------------------------


def file_schema() -> JSONObject:
    """The JSON Schema of the file."""
    schema: JSONObject = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


def read_file(text: str) -> FlowFile:
    """What the text of a file says.

    Raises:
        DocumentError: it is not the file of a flow; the message says where it goes wrong.
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise DocumentError(_("The file is nested too deep.")) from None
    except ValueError as error:
        raise DocumentError(_("The file is not JSON: %(error)s") % {"error": error}) from error
    if not isinstance(data, dict) or data.get("format") != FILE_FORMAT:
        raise DocumentError(
            _("The file is not that of a flow: “format” has to be “%(format)s”.")
            % {"format": FILE_FORMAT}
        )
    if data.get("version") != FILE_VERSION:
        raise DocumentError(
            _("The file has version %(found)s; this release reads version %(known)d.")
            % {"found": repr(data.get("version")), "known": FILE_VERSION}
        )
    data = plain_json(data)
    # First, for its messages name rows as people count them.
    document = read_document(data.get("document"))
    _check_shape(data)
    flow = data["flow"]
    return FlowFile(
        name=flow["name"],
        slug=flow.get("slug", ""),
        description=flow.get("description", ""),
        document=document,
        settings=data.get("settings"),
        triggers=data.get("triggers"),
        tests=data.get("tests"),
        left_out=read_left_out(data.get("left_out", {})),
    )


def _check_shape(data: JSONObject) -> None:
    try:
        # First, for what it says is easier to read.
        check_tests(data.get("tests", []))
        errors = list(Draft202012Validator(file_schema()).iter_errors(data))
    except FlowTestRefused as refused:
        raise DocumentError(str(refused)) from refused
    except RecursionError:
        raise DocumentError(_("The file is nested too deep.")) from None
    if errors:
        error = min(errors, key=lambda each: list(map(str, each.absolute_path)))
        where = place(tuple(error.absolute_path)) or _("the file")
        raise DocumentError(f"{where}: {error.message:.200}")
    retention = data.get("settings", {}).get("retention")
    if retention is not None and parse_duration(retention) is None:
        raise DocumentError(
            _("settings → retention: %(text)s is no duration.") % {"text": repr(retention)[:100]}
        )


def import_flow(
    file: FlowFile,
    *,
    into: Flow | None = None,
    name: str = "",
    slug: str = "",
    with_triggers: bool = True,
    revision: int | None = None,
    user: Any = None,
) -> Imported:
    """Make a flow of a file, or write the file's document and tests into a draft.

    A new flow is off and not published. Into an existing one go only what is tried before it is
    live, the draft and the tests: its settings and triggers, which act at once, stay.

    Args:
        file: what :func:`read_file` gave.
        into: the flow whose draft is replaced; none: a new flow.
        name, slug: of the new flow, instead of those in the file. A short name that is taken gets
            a number.
        with_triggers: whether the rows of triggers are made as well, for a new flow.
        revision: of the draft of ``into`` that the caller has seen.
        user: who imports; nobody can let a flow act as somebody else this way.

    Raises:
        DocumentError: the short name that was asked for is none.
        DraftRefused: it is nested too deep.
        StaleDraft: see :func:`flowcontrol.drafts.editing`.
    """
    missing: list[Missing] = []
    with transaction.atomic():
        document, left = _document_here(file, into, user)
        if into is not None:
            flow = into
            replace_draft(flow, document, revision=revision, user=user)
        else:
            flow = _create(file, name or file.name, slug or file.slug)
            replace_draft(flow, document)
            groups, missing = _starters(file)
            flow.starters.set(groups)
            if with_triggers:
                _write_triggers(flow, file.triggers or ())
                missing += _missing_triggers(file)
        if file.tests is not None:
            gone = tests_from_json(flow, list(file.tests))
            missing += [Missing("test", message) for message in gone]
        # Now that the flow is there, for its rows may start it.
        named = [*_missing(file, user, into), *(_missing_secret(file, uid) for uid in left)]
    return Imported(flow, [*named, *missing])


def preview(file: FlowFile, *, into: Flow | None = None, user: Any = None) -> list[Missing]:
    """What an import would report as missing; nothing is written."""
    _document, left = _document_here(file, into, user)
    of_new_flow = [*_starters(file)[1], *_missing_triggers(file)] if into is None else []
    return [
        *_missing(file, user, into),
        *(_missing_secret(file, uid) for uid in left),
        *of_new_flow,
        *(Missing("test", message) for message in objects_not_here(file.tests or ())),
    ]


def _create(file: FlowFile, name: str, slug: str) -> Flow:
    given = file.settings or {}
    retention = given.get("retention")
    fields: JSONObject = {key: given[key] for key in LIMITS if key in given}
    if slug:
        try:
            validate_slug(slug)
        except ValidationError as error:
            raise DocumentError(str(error.messages[0])) from error
        if Flow.objects.filter(slug=slug).exists():
            slug = free_slug(slug)
    parsed: timedelta | None = parse_duration(retention) if retention else None
    return create_flow(name[:200], slug, description=file.description, retention=parsed, **fields)


def _document_here(file: FlowFile, into: Flow | None, user: Any) -> tuple[JSONObject, LeftOut]:
    """The document without what is not here, and which secrets are still missing."""
    document = dict(file.document)
    if not _has_object_type(document["content_type"]):
        document["content_type"] = None
    if _why_not_identity(document["identity"], user, into):
        document["identity"] = None
    sources: dict[str, JSONObject] = {}
    if into is not None and file.left_out:
        sources = {placed.row["uid"]: placed.row for placed in walk(draft_document(into))}
    document["actions"], left = with_secrets(document["actions"], file.left_out, sources)
    return document, left


def _missing(file: FlowFile, user: Any, into: Flow | None) -> Iterator[Missing]:
    document = file.document
    if not _has_object_type(name := document["content_type"]):
        told = _("The object type “%(name)s” is not in this project. Choose another one.")
        yield Missing("object_type", told % {"name": name})
    if why := _why_not_identity(document["identity"], user, into):
        yield Missing("user", why)
    for finding in find_all(document):
        if finding.code in MISSING_CODES:
            kind = finding.code.removeprefix("missing-").removeprefix("unknown-")
            yield Missing(kind, finding.message, finding.uid)


def _has_object_type(name: str | None) -> bool:
    try:
        content_type_named(name)
    except DraftRefused:
        return False
    return True


def _why_not_identity(name: str | None, user: Any, into: Flow | None) -> str:
    """Why the flow does not act as the user whom the file names; nothing if it does."""
    if not name:
        return ""
    users = get_user_model()._default_manager
    found = users.filter(**{get_user_model().USERNAME_FIELD: name}).first()
    if found is None:
        told = _("There is no user “%(name)s” here, as whom the flow acts. Choose somebody.")
        return told % {"name": name}
    if user is None or user.is_superuser or user == found:
        return ""
    if into is not None and into.identity == found:
        return ""
    told = _("The flow acts as “%(name)s” in the file. Only superusers can choose somebody else.")
    return told % {"name": name}


def _missing_secret(file: FlowFile, uid: str) -> Missing:
    rows = {placed.row["uid"]: placed.row for placed in walk(file.document)}
    ways = [place(tuple(path)) for path in file.left_out.get(uid, ())]
    told = ", ".join(way for way in ways if way) or _("its settings")
    row = rows.get(uid)
    name = (row["label"] or row["action"]) if row is not None else uid
    message = _("A secret is not in the file and has to be filled in: row “%(row)s”, %(field)s.")
    return Missing("secret", message % {"row": name, "field": told}, uid)


def _starters(file: FlowFile) -> tuple[list[Group], list[Missing]]:
    """The groups who may start the flow by hand, and those that are not here."""
    names: Sequence[str] = (file.settings or {}).get("starters", ())
    groups = list(Group.objects.filter(name__in=names))
    told = _("There is no group “%(name)s” here, who may start the flow by hand.")
    here = {group.name for group in groups}
    missing = [Missing("group", told % {"name": name}) for name in names if name not in here]
    if missing and not groups:
        # No group at all would mean: everybody who may start flows.
        missing.append(
            Missing("group", _("Until you choose a group, everybody who may start flows can."))
        )
    return groups, missing


def _missing_triggers(file: FlowFile) -> list[Missing]:
    """The triggers that start the flow and that are not declared here; their rows are kept."""
    names = dict.fromkeys(row["name"] for row in file.triggers or ())
    return [
        Missing("trigger", triggers.unknown(name, listed=False))
        for name in names
        if name not in triggers
    ]


def _write_triggers(flow: Flow, rows: Sequence[JSONObject]) -> None:
    now = settings.CLOCK()
    Trigger.objects.bulk_create(
        [
            Trigger(
                flow=flow,
                name=row["name"],
                condition=row.get("condition", ""),
                mode=row.get("mode", "start"),
                action_uid=row.get("action_uid", ""),
                active_at=now if row.get("active") else None,
            )
            for row in rows
        ]
    )
