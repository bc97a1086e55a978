"""What came of a trial, on the rows of the draft and step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flowcontrol.admin.masks import Masks
from flowcontrol.admin.rows import PageRow, RowItem, RowList, pretty
from flowcontrol.admin.run_history import DIRECTIVES, PHASES, Change, Read, short
from flowcontrol.admin.traces import Entry, RowTrace, ShownCall, traces_of_trial
from flowcontrol.admin.trigger_forms import name_in_words
from flowcontrol.cursor import RUN
from flowcontrol.models import WaitKind
from flowcontrol.registry import OBJECT_SAVED, actions
from flowcontrol.trying import MISSING, Call, Skip, Trial, TrialStep

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

    from flowcontrol.base import BaseAction

STEPS_SHOWN: Final = 200

STANDS: Final = ("failed", "waiting", "reached", "stopped")
"""Outcomes that leave the trial at a row."""

OUTCOMES: Final[Mapping[str, _StrOrPromise]] = {
    "complete": gettext_lazy("It runs to its end."),
    "aborted": gettext_lazy("It stops itself."),
    "obsolete": gettext_lazy("It ends because there is no reason to go on."),
    "errored": gettext_lazy("It ends with an error."),
    "failed": gettext_lazy("It fails."),
    "waiting": gettext_lazy("It waits."),
    "reached": gettext_lazy("It comes to the row."),
    "stopped": gettext_lazy("The trial was stopped."),
}

BADGES: Final[Mapping[str, _StrOrPromise]] = {
    "complete": gettext_lazy("complete"),
    "aborted": gettext_lazy("aborted"),
    "obsolete": gettext_lazy("obsolete"),
    "errored": gettext_lazy("ended with an error"),
    "failed": gettext_lazy("failed"),
    "waiting": gettext_lazy("waiting"),
    "reached": gettext_lazy("stopped here"),
    "stopped": gettext_lazy("stopped"),
}


@dataclass(frozen=True)
class Line:
    """A row, or the end of its block, and what happened at it."""

    item: RowItem
    trace: RowTrace | None = None

    @property
    def row(self) -> PageRow:
        return self.item.row

    @property
    def is_end(self) -> bool:
        return self.item.is_end


@dataclass
class TrialReport:
    """A trial as a page shows it."""

    trial: Trial
    rows: RowList
    masks: Masks
    until: str = ""
    """The row that it should stop before, if any."""
    entries: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        shown = {id(call): self._call(call) for call in self.trial.calls}
        for entry in self.trial.trace:
            if isinstance(entry, Skip):
                self.entries.append(self._skip(entry))
            else:
                self.entries.append(self._step(entry, shown))
        if self.stands_as and self.row:
            self.row.is_current = True

    @property
    def headline(self) -> _StrOrPromise:
        return OUTCOMES[self.trial.outcome]

    @property
    def badge(self) -> _StrOrPromise:
        return BADGES[self.trial.outcome]

    @property
    def row(self) -> PageRow | None:
        """Where it stopped."""
        return self.rows.by_uid.get(self.trial.uid)

    @property
    def missed_row(self) -> PageRow | None:
        """The row that it should stop before, if it did not come to it."""
        return None if self.was_stopped_at_row else self.rows.by_uid.get(self.until)

    @property
    def reason(self) -> str:
        # Of the failure its own message tells, without the row, which stands beside it.
        return str(self.trial.detail.get("message") or self.trial.reason)

    @property
    def traceback(self) -> str:
        return str(self.trial.detail.get("traceback", ""))

    @property
    def length(self) -> str:
        """How much time was skipped, in words; empty: none."""
        return _length(self.trial.began, self.trial.ended)

    @property
    def skips(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.is_skip]

    @property
    def calls(self) -> list[ShownCall]:
        return [entry.call for entry in self.entries if entry.call is not None]

    @property
    def state(self) -> str:
        return pretty(self.masks.state(self.trial.state))

    @property
    def step_count(self) -> int:
        return len(self.entries) - len(self.skips)

    @property
    def shown_entries(self) -> list[Entry]:
        return self.entries[:STEPS_SHOWN]

    @property
    def left_out(self) -> int:
        return max(len(self.entries) - STEPS_SHOWN, 0)

    @cached_property
    def traces(self) -> list[RowTrace]:
        """What happened at each row, in the order of the rows."""
        return list(traces_of_trial(self.entries, self.rows, self.trial.uid, self.stands_as))

    @property
    def lines(self) -> Iterator[Line]:
        """The rows of the draft with what happened at each."""
        at_row = {trace.row.uid: trace for trace in self.traces}
        for item in self.rows.items:
            yield Line(item, None if item.is_end else at_row.get(item.row.uid))

    @property
    def stands_as(self) -> str:
        """How it ended, if it has not come to its end."""
        return self.trial.outcome if self.trial.outcome in STANDS else ""

    @property
    def reached(self) -> int:
        return sum(trace.visits > 0 for trace in self.traces)

    @property
    def was_stopped_at_row(self) -> bool:
        return self.trial.outcome == "reached"

    def _row_of(self, entry: TrialStep | Skip | Call) -> PageRow | None:
        return self.rows.by_uid.get(entry.uid) if entry.flow == self.trial.slug else None

    def _title(self, entry: TrialStep | Skip | Call) -> str:
        row = self._row_of(entry)
        if row is not None:
            return row.title
        return _("a row of the flow “%(flow)s”") % {"flow": entry.flow}

    def _call(self, call: Call) -> ShownCall:
        action_type = actions.find(call.action)
        name = str(action_type.verbose_name) if action_type is not None else call.action
        return ShownCall(
            row=self._row_of(call),
            title=name or call.action,
            facts=list(_facts(call, action_type)),
            is_simulated=call.is_simulated,
        )

    def _step(self, step: TrialStep, calls: Mapping[int, ShownCall]) -> Entry:
        return Entry(
            row=self._row_of(step),
            title=self._title(step),
            at=step.at,
            phase=PHASES.get(step.phase, step.phase),
            directive=DIRECTIVES.get(step.directive, step.directive),
            way=step.directive,
            is_visit=step.phase == RUN,
            reads=list(dict.fromkeys(self._reads(step))),
            changes=list(self._changes(step.changes)),
            notes=step.notes,
            call=calls[id(step.call)] if step.call is not None else None,
            error=step.error,
        )

    def _reads(self, step: TrialStep) -> Iterator[Read]:
        for name, value in step.reads:
            yield Read(name, short(self.masks.value(name, value)))

    def _changes(self, changes: Mapping[str, tuple[Any, Any]]) -> Iterator[Change]:
        for key, (before, after) in changes.items():
            words = [
                None if value is MISSING else short(self.masks.value(key, value))
                for value in (before, after)
            ]
            yield Change(key, *words)

    def _skip(self, skip: Skip) -> Entry:
        return Entry(
            row=self._row_of(skip),
            title=self._title(skip),
            at=skip.until,
            is_skip=True,
            length=_length(skip.since, skip.until),
            was_answered=skip.was_answered,
            wait=_wait_in_words(skip),
        )


def _facts(call: Call, action_type: type[BaseAction] | None) -> Iterator[Read]:
    """What the call was to do, in the order of its form: databases keep an order of their own."""
    labels = action_type.labels if action_type is not None else {}
    properties = action_type.config_schema.get("properties", {}) if action_type else {}
    for name in dict.fromkeys([*properties, *call.config]):
        value = call.config.get(name)
        if value in (None, "", [], {}):
            continue
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            value = ", ".join(value)
        yield Read(str(labels.get(name, name)), short(value))


def _length(since: datetime, until: datetime) -> str:
    seconds = (until - since).total_seconds()
    if seconds < 60:
        number = round(seconds, 1)
        told = ngettext("%(number)g second", "%(number)g seconds", int(-(-number // 1)))
        return told % {"number": number} if number else ""
    return timesince(since, until)


def _wait_in_words(skip: Skip) -> str:
    match skip.kind:
        case WaitKind.EVENT if skip.trigger == OBJECT_SAVED:
            return _("for its condition")
        case WaitKind.EVENT:
            return _("for the trigger “%(trigger)s”") % {"trigger": name_in_words(skip.trigger)}
        case WaitKind.RETRY:
            return _("to be tried again")
        case WaitKind.TASK:
            return _("for a person")
        case WaitKind.CHILDREN:
            return _("for other runs")
    return ""
