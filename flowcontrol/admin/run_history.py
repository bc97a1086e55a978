"""The history of a run, as people read it: what happened, which rows ran, what changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.masks import Masks
from flowcontrol.admin.trigger_forms import name_in_words
from flowcontrol.history import same
from flowcontrol.models import EventKind, FlowRun, RunEvent
from flowcontrol.run_paths import EVENTS_COUNTED

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    from flowcontrol.admin.rows import PageRow, RowList

EVENTS_ON_A_PAGE: Final = 50

LONGEST_VALUE: Final = 300

DIRECTIVES: Final[Mapping[str, _StrOrPromise]] = {
    "continue": gettext_lazy("went on"),
    "enter": gettext_lazy("went inside"),
    "leave": gettext_lazy("back to the parent"),
    "break": gettext_lazy("left the block"),
    "abort": gettext_lazy("stopped the flow"),
    "suspend": gettext_lazy("began to wait"),
    "repeat": gettext_lazy("waits, then asks again"),
    "caught": gettext_lazy("failed, and the flow took care of it"),
}

PHASES: Final[Mapping[str, _StrOrPromise]] = {
    "run": "",
    "return": gettext_lazy("after its rows"),
    "resume": gettext_lazy("after waiting"),
}

DID: Final[Mapping[str, _StrOrPromise]] = {
    "canceled": gettext_lazy("Canceled"),
    "errored": gettext_lazy("Closed after an error"),
    "retry": gettext_lazy("Told to try again"),
    "pause": gettext_lazy("Paused"),
    "resume": gettext_lazy("Resumed"),
    "run now": gettext_lazy("Told to run now"),
    "edit state": gettext_lazy("State changed"),
    "go to": gettext_lazy("Sent to another row"),
    "change version": gettext_lazy("Moved to another version"),
}


@dataclass(frozen=True)
class Read:
    name: str
    value: str


@dataclass(frozen=True)
class Step:
    """One step, or ``left_out`` steps that the history does not keep one by one."""

    row: PageRow | None = None
    uid: str = ""
    phase: _StrOrPromise = ""
    directive: _StrOrPromise = ""
    duration: str = ""
    reads: Sequence[Read] = ()
    notes: Sequence[str] = ()
    left_out: int = 0


@dataclass(frozen=True)
class Change:
    """A key of the state before and after; ``None`` where it was not there."""

    key: str
    before: str | None
    after: str | None


@dataclass
class Event:
    """A row of the history."""

    seq: int
    at: datetime
    kind: str
    title: _StrOrPromise
    user: str
    reason: str
    steps: list[Step] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    error: Mapping[str, Any] | None = None
    values: Sequence[Read] = ()
    row: PageRow | None = None
    to_row: PageRow | None = None

    @property
    def step_count(self) -> int:
        return sum(step.left_out or 1 for step in self.steps)


@dataclass(frozen=True)
class HistoryPage:
    """A part of the history, oldest first; the newest part is the last page."""

    events: list[Event]
    number: int
    pages: int

    @property
    def older(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def newer(self) -> int | None:
        return self.number + 1 if self.number < self.pages else None


def history_of(
    run: FlowRun, rows: RowList | None, masks: Masks, page: int | None = None
) -> HistoryPage:
    """One page of a run's history; the newest without ``page``."""
    total = run.events.count()
    pages = max(1, -(-total // EVENTS_ON_A_PAGE))
    number = min(max(page or pages, 1), pages)
    start = (number - 1) * EVENTS_ON_A_PAGE
    events = list(
        run.events.select_related("user").order_by("seq")[start : start + EVENTS_ON_A_PAGE]
    )
    shown = [_event(event, rows, masks) for event in events]
    _add_changes(run, events, shown, masks)
    return HistoryPage(shown, number, pages)


def _event(event: RunEvent, rows: RowList | None, masks: Masks) -> Event:
    detail: Mapping[str, Any] = event.detail if isinstance(event.detail, dict) else {}
    by_uid = rows.by_uid if rows is not None else {}
    return Event(
        seq=event.seq,
        at=event.at,
        kind=event.kind,
        title=_title(event, detail),
        user=event.user.get_username() if event.user is not None else "",
        # Of a trigger the title speaks already, of an error its message.
        reason="" if event.kind in (EventKind.WOKEN, EventKind.FAILED) else event.reason,
        steps=[_step(step, by_uid, masks) for step in event.steps or ()],
        error=detail if event.kind in (EventKind.FAILED, EventKind.RETRY) and detail else None,
        values=_values(detail, masks),
        row=by_uid.get(str(detail.get("uid") or detail.get("from") or "")),
        to_row=by_uid.get(str(detail.get("to") or "")),
    )


def _values(detail: Mapping[str, Any], masks: Masks) -> list[Read]:
    """The values that a failed step had read; an expression's error tells them in its message."""
    if "expression" in detail:
        return []
    return [Read(name, short(masks.value(name, value))) for name, value in _pairs(detail, "values")]


def _title(event: RunEvent, detail: Mapping[str, Any]) -> _StrOrPromise:
    if event.kind == EventKind.OPERATED:
        return DID.get(str(detail.get("did")), event.get_kind_display())
    if event.kind == EventKind.WOKEN:
        if detail.get("by") == "event":
            return _("Woken by “%(trigger)s”") % {
                "trigger": name_in_words(str(detail.get("trigger")))
            }
        return _("Woken from code")
    return event.get_kind_display()


def _pairs(detail: Mapping[str, Any], key: str) -> Iterable[tuple[str, Any]]:
    for pair in detail.get(key) or ():
        if isinstance(pair, list) and len(pair) == 2:
            yield str(pair[0]), pair[1]


def _step(step: Any, by_uid: Mapping[str, PageRow], masks: Masks) -> Step:
    if not isinstance(step, list) or not step:
        return Step(uid=short(step))
    if step[0] is None:
        return Step(left_out=step[1] if len(step) > 1 else 1)
    uid, phase, directive, microseconds, reads, notes = [*step, *[None] * 6][:6]
    return Step(
        row=by_uid.get(uid),
        uid=str(uid),
        phase=PHASES.get(str(phase), str(phase)),
        directive=DIRECTIVES.get(str(directive), str(directive)),
        duration=_duration(microseconds),
        reads=[
            Read(str(name), short(masks.value(str(name), value))) for name, value in reads or ()
        ],
        notes=[str(note) for note in notes or ()],
    )


def _duration(microseconds: Any) -> str:
    if not isinstance(microseconds, int):
        return ""
    if microseconds < 1000:
        return _("%(number)d µs") % {"number": microseconds}
    if microseconds < 1_000_000:
        return _("%(number).1f ms") % {"number": microseconds / 1000}
    return _("%(number).1f s") % {"number": microseconds / 1_000_000}


def _add_changes(
    run: FlowRun, events: Sequence[RunEvent], shown: Sequence[Event], masks: Masks
) -> None:
    """Tell what each event changed in the state, walking back from the state of today."""
    if not events:
        return
    later = run.events.filter(seq__gt=events[-1].seq, undo__isnull=False)
    if later.count() > EVENTS_COUNTED:
        return
    state = dict(run.state) if isinstance(run.state, dict) else {}
    for event in later.only("undo", "run", "seq").order_by("-seq"):
        state = event.state_before(state)
    for event, told in zip(reversed(events), reversed(shown), strict=True):
        before = event.state_before(state)
        if event.undo:
            told.changes = _changes(masks.state(before), masks.state(state))
        state = before


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    keys = dict.fromkeys([*before, *after])
    return [
        Change(
            key,
            short(before[key]) if key in before else None,
            short(after[key]) if key in after else None,
        )
        for key in keys
        if key not in before or key not in after or not same(before[key], after[key])
    ]


def short(value: Any) -> str:
    """A value as people read it, at most :data:`LONGEST_VALUE` characters of it."""
    text = value if isinstance(value, str) else _json(value)
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def _json(value: Any) -> str:
    match value:
        case None:
            return _("nothing")
        case True:
            return _("true")
        case False:
            return _("false")
    return json.dumps(value, ensure_ascii=False)
