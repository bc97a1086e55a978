"""What all pages of one flow share: its name, where it stands, the way from one to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.http import urlencode
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flowcontrol.admin.pages import Crumb, Visit
from flowcontrol.admin.rows import RowList, rows_of
from flowcontrol.conf import settings
from flowcontrol.documents import JSONObject
from flowcontrol.drafts import draft_document
from flowcontrol.exceptions import StaleDraft
from flowcontrol.models import Flow
from flowcontrol.publishing import has_unpublished_changes

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.template.response import TemplateResponse
    from django.utils.functional import _StrOrPromise

    from flowcontrol.draft_changes import Change


CHANGES_TOLD: Final = 3
"""So many of the changes of others are told one by one."""


class Tab(NamedTuple):
    """One of the pages of a flow."""

    name: str
    title: str
    url: str
    is_current: bool


class Tool(NamedTuple):
    """A button on the page of the actions; ``is_panel``: what it leads to stands beside them."""

    title: str
    url: str
    is_panel: bool = False


@dataclass
class FlowVisit(Visit[Flow]):
    """One request to a page of a flow."""

    @property
    def flow(self) -> Flow:
        return self.obj

    @cached_property
    def draft(self) -> JSONObject:
        """The draft as it is now; read once."""
        return draft_document(self.flow)

    @cached_property
    def rows(self) -> RowList:
        """The rows of the draft as pages show them to this person."""
        return rows_of(self.draft, reveal_secrets=self.rights.reveal_secrets)

    def forget_draft(self) -> None:
        """Read the draft and its revision again when they are next asked for: they have changed."""
        self.__dict__.pop("draft", None)
        self.__dict__.pop("rows", None)
        self.flow.refresh_from_db(fields=["draft_revision"])

    def crumbs_to(self, *crumbs: Crumb) -> list[Crumb]:
        return super().crumbs_to(Crumb(str(self.flow), self.url("actions")), *crumbs)

    def render_flow(
        self,
        template: str,
        *,
        tab: str = "",
        subtitle: _StrOrPromise,
        crumbs: list[Crumb] | None = None,
        **context: Any,
    ) -> TemplateResponse:
        """A page of the flow; ``tab`` is the one it belongs to, if it shows the flow's header."""
        if crumbs is None:
            crumbs = [Crumb(subtitle)]
        return self.render(
            template,
            title=str(self.flow),
            subtitle=subtitle,
            crumbs=crumbs,
            header=self.header(tab) if tab else None,
            **context,
        )

    def header(self, tab: str) -> dict[str, Any]:
        """What ``flow_header.html`` shows."""
        flow, now = self.flow, settings.CLOCK()
        return {
            "flow": flow,
            "live": flow.live_version,
            "has_changes": has_unpublished_changes(flow, self.draft),
            "is_active": flow.is_active(now),
            "will_be_active": flow.active_at is not None and flow.active_at > now,
            "tab": tab,
            "tabs": self.tabs(tab),
            **{
                f"{name}_url": self.url(name)
                for name in ("publish", "start", "try", "switch", "pause", "duplicate", "delete")
            },
        }

    def tabs(self, current: str) -> list[Tab]:
        tabs = [
            ("actions", _("Actions"), self.url("actions")),
            ("settings", _("Settings"), self.url("change")),
            ("tests", _("Tests"), self.url("tests")),
            ("versions", _("Versions"), self.url("versions")),
        ]
        if self.rights.view_runs:
            tabs.append(("runs", _("Runs"), runs_url(self.site, flow__id__exact=self.flow.pk)))
        tabs.append(("history", _("Log of changes"), self.url("history")))
        return [Tab(name, title, url, name == current) for name, title, url in tabs]

    def posted_revision(self) -> int:
        """The revision of the draft that the page was made from; if it does not say, none at all.

        Never "whatever it is now": a page cannot overwrite what it has not shown.
        """
        try:
            return int(self.request.POST.get("revision", ""))
        except ValueError:
            return -1

    @property
    def is_current(self) -> bool:
        """Whether the page was made from the draft as it is now."""
        return self.posted_revision() == self.flow.draft_revision

    def stale_message(self, stale: StaleDraft) -> str:
        """That nothing was saved, and what the others did."""
        told = _(
            "The draft was changed by somebody else since you opened this page. Nothing was saved."
        )
        return f"{told} {what_changed(stale.changes)}".strip()


def what_changed(changes: Sequence[Change]) -> str:
    """The changes that a page has not seen, the latest last; nothing if they are not on record."""
    shown = changes[-CHANGES_TOLD:]
    told = "; ".join(
        _("%(who)s %(what)s (%(time)s)")
        % {
            "who": change.who,
            "what": change.what,
            "time": date_format(localtime(change.at), "TIME_FORMAT"),
        }
        for change in shown
    )
    if more := len(changes) - len(shown):
        before = ngettext("%(count)d change before", "%(count)d changes before", more)
        told = f"{before % {'count': more}}; {told}"
    return f"{told[:1].upper()}{told[1:]}." if told else ""


def runs_url(site: AdminSite, **filters: Any) -> str:
    """The address of the list of runs, filtered."""
    url = reverse("admin:flowcontrol_flowrun_changelist", current_app=site.name)
    return f"{url}?{urlencode(filters)}" if filters else url


def run_url(site: AdminSite, pk: int) -> str:
    """The address of a run's page."""
    return reverse("admin:flowcontrol_flowrun_change", args=(pk,), current_app=site.name)
