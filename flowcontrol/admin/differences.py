"""What differs between two documents, as the pages show it; and the page that compares any two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.flow_pages import FlowVisit
from flowcontrol.admin.pages import Crumb, Page
from flowcontrol.admin.rows import pretty
from flowcontrol.comparing import NOTHING, FieldChange, RowChange, compare
from flowcontrol.documents import JSONObject, read_document
from flowcontrol.drafts import frozen
from flowcontrol.exceptions import DocumentError
from flowcontrol.registry import actions
from flowcontrol.sentences import shown_config, title_of

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

KINDS: Final[Mapping[str, _StrOrPromise]] = {
    "added": gettext_lazy("Added"),
    "removed": gettext_lazy("Removed"),
    "moved": gettext_lazy("Moved"),
    "changed": gettext_lazy("Changed"),
}

FIELDS: Final[Mapping[str, _StrOrPromise]] = {
    "action": gettext_lazy("Kind of row"),
    "schema_version": gettext_lazy("Version of the kind of row"),
    "label": gettext_lazy("Label"),
    "note": gettext_lazy("Note"),
    "enabled": gettext_lazy("Switched on"),
    "retry": gettext_lazy("Retry"),
    "on_error": gettext_lazy("On error"),
    "result_key": gettext_lazy("Result saved as"),
    "content_type": gettext_lazy("Object type"),
    "condition": gettext_lazy("Keep condition"),
    "state_schema": gettext_lazy("State schema"),
    "identity": gettext_lazy("Acts as"),
}

DRAFT: Final = "draft"
"""Stands for the draft where a version is asked for."""


@dataclass(frozen=True)
class ShownField:
    """A value that changed, in words."""

    name: _StrOrPromise
    before: str
    after: str


@dataclass(frozen=True)
class ShownChange:
    """What became of a row, in words."""

    kind: str
    label: _StrOrPromise
    title: str
    place: str
    place_before: str
    is_moved: bool
    goes_along: bool
    fields: Sequence[ShownField]


@dataclass(frozen=True)
class Difference:
    """All that differs; ``counts`` is ``[(label, number)]`` of what there is."""

    rows: Sequence[ShownChange]
    settings: Sequence[ShownField]
    counts: Sequence[tuple[_StrOrPromise, int]]

    def __bool__(self) -> bool:
        return bool(self.rows or self.settings)


def difference_of(
    before: Mapping[str, Any], after: Mapping[str, Any], *, reveal_secrets: bool
) -> Difference:
    """What differs between two documents, with secrets masked."""
    found = compare(before, after)
    counts = [(label, len(found.of_kind(kind))) for kind, label in KINDS.items()]
    return Difference(
        rows=[_shown(change, reveal_secrets) for change in found.rows],
        settings=[ShownField(*_in_words(field)) for field in found.settings],
        counts=[(label, number) for label, number in counts if number],
    )


def _shown(change: RowChange, reveal_secrets: bool) -> ShownChange:
    return ShownChange(
        kind=change.kind,
        label=KINDS[change.kind],
        title=title_of(change.row, reveal_secrets=reveal_secrets),
        place=change.place,
        place_before=change.place_before,
        is_moved=change.is_moved,
        goes_along=change.goes_along,
        fields=[_shown_field(field, change, reveal_secrets) for field in change.fields],
    )


def _shown_field(field: FieldChange, change: RowChange, reveal_secrets: bool) -> ShownField:
    if not field.is_config:
        return ShownField(*_in_words(field))
    before, after = (
        _config_value(field.name, row, reveal_secrets) for row in (change.before, change.after)
    )
    action_type = actions.find(change.row["action"])
    labels = action_type.labels if action_type is not None else {}
    return ShownField(labels.get(field.name, field.name), before, after)


def _config_value(name: str, row: JSONObject | None, reveal_secrets: bool) -> str:
    config = shown_config(row, reveal_secrets=reveal_secrets) if row is not None else {}
    if config is None:
        return _("hidden, for it may hold secrets")
    return _value(config.get(name, NOTHING))


def _in_words(field: FieldChange) -> tuple[_StrOrPromise, str, str]:
    return FIELDS.get(field.name, field.name), _value(field.before), _value(field.after)


def _value(value: Any) -> str:
    if value is NOTHING or value is None or value == "":
        return ""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return value if isinstance(value, str) else pretty(value)


# --- any two ------------------------------------------------------------------------------------


def show_difference(visit: FlowVisit) -> HttpResponse:
    """Two versions side by side, or a version and the draft."""
    numbers = list(visit.flow.versions.order_by("-number").values_list("number", flat=True))
    choices = [DRAFT, *map(str, numbers)]
    before = _chosen(visit, "before", choices, choices[min(2, len(choices) - 1)])
    after = _chosen(visit, "after", choices, choices[min(1, len(choices) - 1)])
    difference, problem = None, ""
    try:
        difference = difference_of(
            _document(visit, before),
            _document(visit, after),
            reveal_secrets=visit.rights.reveal_secrets,
        )
    except DocumentError as error:
        problem = str(error)
    return visit.render_flow(
        "compare.html",
        subtitle=_("Compare versions"),
        crumbs=[Crumb(_("Versions"), visit.url("versions")), Crumb(_("Compare"))],
        choices=[(choice, _named(choice)) for choice in choices],
        before=before,
        after=after,
        before_name=_named(before),
        after_name=_named(after),
        difference=difference,
        problem=problem,
    )


def _chosen(visit: FlowVisit, name: str, choices: Sequence[str], default: str) -> str:
    given = visit.request.GET.get(name, "")
    return given if given in choices else default


def _document(visit: FlowVisit, choice: str) -> JSONObject:
    if choice == DRAFT:
        return read_document(frozen(visit.draft))
    return read_document(visit.flow.versions.get(number=int(choice)).document)


def _named(choice: str) -> str:
    return _("the draft") if choice == DRAFT else _("version %(number)s") % {"number": choice}


DIFFERENCE_PAGES: Final = (Page("versions/compare/", "compare", show_difference),)
