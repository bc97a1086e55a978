"""From draft to version and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flowcontrol.documents import JSONObject, Placed, checksum, read_document, walk
from flowcontrol.drafting import replace_draft
from flowcontrol.drafts import draft_document, draft_documents, frozen, refuse_stale
from flowcontrol.exceptions import PublishRefused
from flowcontrol.findings import Finding, find_all
from flowcontrol.flowtests import Tested, findings_of, run_tests
from flowcontrol.models import Flow, FlowTest, FlowVersion


def publish(
    flow: Flow,
    *,
    user: Any = None,
    note: str = "",
    revision: int | None = None,
    overrule_tests: bool = False,
) -> FlowVersion:
    """Make the draft the live version. A draft that equals it makes no new one.

    The tests of the flow are run on the draft. One that fails keeps it from being published;
    ``overrule_tests`` publishes nevertheless, and the note of the version says so.

    Raises:
        PublishRefused: the draft has errors; the exception carries all findings.
        StaleDraft: ``revision`` is not the draft's any more.
    """
    # Before the lock is taken: they may take seconds, and nobody has to wait for them.
    tested_document, tested = _run_tests(flow)
    with transaction.atomic():
        # Whoever edits or publishes the flow at this moment waits: what was checked is what is
        # published, and no number is given twice.
        locked = Flow.objects.locked(flow.pk)
        refuse_stale(
            locked, revision, _("Nothing was published; reload the page to see the change.")
        )
        document = read_document(frozen(draft_document(locked)))
        if tested_document is not None and document != tested_document:
            # It was changed this very moment; what is published is what was tested.
            tested = run_tests(locked, document)
        findings = find_all(document, flow=locked)
        findings += findings_of(tested, overruled=overrule_tests)
        if errors := [finding for finding in findings if finding.severity == "error"]:
            refusal = _refusal(locked, document, errors)
            raise PublishRefused(refusal, findings)
        version = _make_live(locked, document, user=user, note=note + _overruled(tested))
    flow.live_version = version
    return version


def _run_tests(flow: Flow) -> tuple[JSONObject | None, list[Tested]]:
    """The draft, and what its tests say of it; neither when there is nothing to test."""
    if not FlowTest.objects.filter(flow=flow).exists():
        return None, []
    document = read_document(frozen(draft_document(flow)))
    return document, run_tests(flow, document)


def _overruled(tested: Sequence[Tested]) -> str:
    """What is added to the note of a version whose tests were overruled."""
    names = [f"“{each.test.name}”" for each in tested if each.status == "failed"]
    if not names:
        return ""
    return "\n" + _("Published although these tests failed: %(names)s.") % {
        "names": ", ".join(names)
    }


def roll_back(version: FlowVersion, *, user: Any = None, note: str = "") -> FlowVersion:
    """Publish the document of an older version as a new one; the draft stays as it is.

    The document was checked when it was published, but the world may have changed since.

    Raises:
        PublishRefused: it has errors by now.
    """
    with transaction.atomic():
        locked = Flow.objects.locked(version.flow_id)
        document = read_document(version.document)
        findings = find_all(document, flow=locked)
        if errors := [finding for finding in findings if finding.severity == "error"]:
            raise PublishRefused(_refusal(locked, document, errors), findings)
        return _make_live(
            locked,
            version.document,
            user=user,
            note=note or _("Rolled back to version %(number)d.") % {"number": version.number},
        )


def load_version_into_draft(
    version: FlowVersion, *, revision: int | None = None, user: Any = None
) -> None:
    """Replace the draft by what ``version`` says. Raises what ``replace_draft`` raises."""
    replace_draft(version.flow, version.document, revision=revision, user=user)


def has_unpublished_changes(flow: Flow, draft: dict[str, Any] | None = None) -> bool:
    """Whether publishing the draft now would make a new version; ``draft`` spares reading it."""
    live = flow.live_version
    if live is None:
        return True
    return checksum(frozen(draft_document(flow) if draft is None else draft)) != live.checksum


def flows_with_unpublished_changes(flows: Sequence[Flow]) -> set[int]:
    """Those of ``flows``, by id, whose drafts differ from what is live: one query for all."""
    drafts = draft_documents(flows)
    return {flow.pk for flow in flows if has_unpublished_changes(flow, drafts[flow.pk])}


def _make_live(flow: Flow, document: dict[str, Any], *, user: Any, note: str) -> FlowVersion:
    digest = checksum(document)
    if flow.live_version is not None and flow.live_version.checksum == digest:
        return flow.live_version
    newest = flow.versions.order_by("-number").values_list("number", flat=True).first()
    version = FlowVersion.objects.create(
        flow=flow,
        number=(newest or 0) + 1,
        document=document,
        checksum=digest,
        created_by=user,
        note=note,
    )
    Flow.objects.filter(pk=flow.pk).update(live_version=version)
    return version


def _refusal(flow: Flow, document: Mapping[str, Any], errors: list[Finding]) -> str:
    rows = {placed.row["uid"]: placed for placed in walk(document)}
    told = "; ".join(
        f"{_place(rows.get(finding.uid))}{finding.message.rstrip('.')}" for finding in errors[:3]
    )
    message = _('"%(flow)s" cannot be published: %(problems)s.')
    if (more := len(errors) - 3) > 0:
        message = ngettext(
            '"%(flow)s" cannot be published: %(problems)s and %(more)d more.',
            '"%(flow)s" cannot be published: %(problems)s and %(more)d more.',
            more,
        )
    return message % {"flow": flow, "problems": told, "more": more}


def _place(placed: Placed | None) -> str:
    if placed is None:
        return ""
    if placed.row["label"]:
        return _('row "%(label)s": ') % {"label": placed.row["label"]}
    return _("row %(number)d (%(action)s): ") % {
        "number": placed.place + 1,
        "action": placed.row["action"],
    }
