"""The record of a draft's changes: kept with each, to be read by people and to be taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flowcontrol.conf import settings
from flowcontrol.documents import JSONObject
from flowcontrol.models import ChangeState, DraftChange, Flow

MOST_STEPS: Final = 100
"""So many changes of a flow can be undone."""

ROWS_NAMED: Final = 3
LONGEST_TITLE: Final = 80

WORDS: Final[Mapping[str, Any]] = {
    "add": gettext_lazy("added %(rows)s"),
    "cut": gettext_lazy("cut %(rows)s"),
    "delete": gettext_lazy("deleted %(rows)s"),
    "disable": gettext_lazy("switched off %(rows)s"),
    "duplicate": gettext_lazy("duplicated %(rows)s"),
    "edit": gettext_lazy("changed %(rows)s"),
    "enable": gettext_lazy("switched on %(rows)s"),
    "extract": gettext_lazy("moved %(rows)s into a flow of its own"),
    "move": gettext_lazy("moved %(rows)s"),
    "paste": gettext_lazy("pasted %(rows)s"),
    "redo": gettext_lazy("did again what was undone: %(rows)s"),
    "replace": gettext_lazy("replaced the whole draft"),
    "settings": gettext_lazy("changed the settings of the flow"),
    "undo": gettext_lazy("undid a change: %(rows)s"),
    "unwrap": gettext_lazy("took away the block around %(rows)s"),
    "wrap": gettext_lazy("put a block around %(rows)s"),
}
"""Every verb that a change may have, and how it is told."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a draft, to be told. ``rows`` are ``(uid, title)``, the first of ``count``."""

    revision: int
    verb: str
    rows: Sequence[tuple[str, str]]
    count: int
    user: AbstractBaseUser | None
    at: datetime

    @classmethod
    def of(cls, row: DraftChange) -> Change:
        rows = [(uid, title) for uid, title in row.rows]
        return cls(row.revision, row.verb, rows, row.count, row.user, row.at)

    @property
    def who(self) -> str:
        """The name of the person; of code that named nobody, “somebody”."""
        return self.user.get_username() if self.user is not None else _("somebody")

    @property
    def what(self) -> str:
        """What was done to which rows: ``deleted “Log late” and 2 more rows``."""
        words = str(WORDS.get(self.verb, WORDS["edit"]))
        return words % {"rows": self._rows_in_words()}

    def _rows_in_words(self) -> str:
        if not self.rows:
            return ngettext("%(count)d row", "%(count)d rows", self.count) % {"count": self.count}
        named = ", ".join(f"“{title}”" for _uid, title in self.rows)
        more = self.count - len(self.rows)
        if more <= 0:
            return named
        told = ngettext("%(rows)s and %(count)d more row", "%(rows)s and %(count)d more rows", more)
        return told % {"rows": named, "count": more}

    def __str__(self) -> str:
        return f"{self.who} {self.what}"


def changes_since(flow: Flow, revision: int) -> list[Change]:
    """What was done to the draft of ``flow`` after ``revision``, oldest first.

    As far as it is still on record: :data:`MOST_STEPS` and a little more are kept.
    """
    rows = DraftChange.objects.filter(flow=flow, revision__gt=revision).defer("patch")
    return [Change.of(row) for row in rows.select_related("user").order_by("revision")]


def record_change(
    flow: Flow,
    revision: int,
    verb: str,
    rows: Sequence[Mapping[str, Any]],
    patch: JSONObject | None,
    *,
    count: int,
    user: Any,
    title_of: Callable[[Mapping[str, Any]], str],
) -> None:
    """Write down what made ``revision``. A change with a patch can be undone, and nothing that was
    undone before it can be done again. Call it under the lock on the flow.
    """
    changes = DraftChange.objects.filter(flow=flow)
    if patch is not None:
        changes.filter(state=ChangeState.UNDONE).update(state=ChangeState.TOLD, patch=None)
    named = [[row["uid"], _short(title_of(row))] for row in rows[:ROWS_NAMED]]
    DraftChange.objects.create(
        flow=flow,
        revision=revision,
        verb=verb,
        rows=named,
        count=max(count, len(rows)),
        patch=patch,
        state=ChangeState.DONE if patch is not None else ChangeState.TOLD,
        user=user,
        at=settings.CLOCK(),
    )
    _forget_the_oldest(flow, revision)


def _short(title: str) -> str:
    return title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1] + "…"


def _forget_the_oldest(flow: Flow, revision: int) -> None:
    # What can be undone is counted in steps; undoing and redoing make revisions as well.
    changes = DraftChange.objects.filter(flow=flow)
    steps = changes.exclude(state=ChangeState.TOLD).order_by("-revision")
    too_old = steps.values_list("revision", flat=True)[MOST_STEPS : MOST_STEPS + 1]
    oldest = max([0, *too_old])
    changes.exclude(state=ChangeState.TOLD).filter(revision__lte=oldest).delete()
    changes.filter(state=ChangeState.TOLD, revision__lte=revision - MOST_STEPS).delete()
