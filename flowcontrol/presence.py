"""Who else has a draft open now. A hint for people, nothing more: revisions guard the draft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import ngettext

from flowcontrol.conf import settings
from flowcontrol.models import DraftEditor, Flow

POLL_SECONDS: Final = 10
"""How often a page that shows a draft says that it is there."""

GONE_AFTER: Final = timedelta(seconds=3 * POLL_SECONDS)
"""Who has not said so for that long is there no more."""


@dataclass(frozen=True, slots=True)
class Editor:
    """Somebody at a draft."""

    user: AbstractBaseUser
    seen_at: datetime

    def __str__(self) -> str:
        return self.user.get_full_name() or self.user.get_username()  # type: ignore[attr-defined]


def come(flow: Flow, user: Any, now: datetime | None = None) -> list[Editor]:
    """Note that ``user`` has the draft open at this moment; who else has."""
    now = now or settings.CLOCK()
    editors = DraftEditor.objects.filter(flow=flow)
    if not editors.filter(user=user).update(seen_at=now):
        # Those who are gone are swept out when somebody comes, not at each poll.
        editors.filter(seen_at__lt=now - GONE_AFTER).delete()
        editors.bulk_create([DraftEditor(flow=flow, user=user, seen_at=now)], ignore_conflicts=True)
    return editors_of(flow, but=user, now=now)


def leave(flow: Flow, user: Any) -> None:
    """Note that ``user`` has closed the draft. Without it, they are gone soon all the same."""
    DraftEditor.objects.filter(flow=flow, user=user).delete()


def editors_of(flow: Flow, *, but: Any = None, now: datetime | None = None) -> list[Editor]:
    """Who has the draft open, without ``but``; the one who was seen last comes first."""
    now = now or settings.CLOCK()
    found = DraftEditor.objects.filter(flow=flow, seen_at__gte=now - GONE_AFTER)
    if but is not None:
        found = found.exclude(user=but)
    return [
        Editor(row.user, row.seen_at) for row in found.select_related("user").order_by("-seen_at")
    ]


def in_words(editors: Sequence[Editor]) -> str:
    """A sentence about them; nothing if there is nobody."""
    if not editors:
        return ""
    names = ", ".join(str(editor) for editor in editors)
    told = ngettext(
        "%(names)s has this draft open, too.", "%(names)s have this draft open, too.", len(editors)
    )
    return told % {"names": names}
