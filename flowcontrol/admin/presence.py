"""Who else has the draft open: a line that a page asks for again and again."""

from __future__ import annotations

from typing import Final

from django.http import HttpResponse
from django.template.response import TemplateResponse

from flowcontrol import presence
from flowcontrol.admin.flow_pages import FlowVisit
from flowcontrol.admin.pages import Page
from flowcontrol.draft_changes import changes_since


def note_presence(visit: FlowVisit) -> HttpResponse:
    """Note that the person is here, if they may change the draft; tell who else is, and whether
    the page is stale.

    The answer is a fragment of HTML. It is empty, as most are, if there is nothing to tell.
    """
    if visit.rights.change:
        others = presence.come(visit.flow, visit.user)
    else:
        others = presence.editors_of(visit.flow, but=visit.user)
    seen = visit.posted_revision()
    is_stale = seen >= 0 and seen != visit.flow.draft_revision
    told = {
        "who": presence.in_words(others),
        "is_stale": is_stale,
        "changes": changes_since(visit.flow, seen) if is_stale else (),
    }
    return TemplateResponse(visit.request, "flowcontrol/admin/presence.html", told)


PRESENCE_PAGES: Final = (
    Page("actions/presence/", "presence", note_presence, get=None, post="view"),
)
