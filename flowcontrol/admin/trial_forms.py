"""What a trial starts with, in a form: object, state, trigger data, when, what rows give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flowcontrol.admin.config_widgets import TEMPLATES, LineInput, ShortInput, TextArea
from flowcontrol.admin.json_fields import JSONObjectField
from flowcontrol.admin.moments import MomentInput
from flowcontrol.admin.start_forms import find_object
from flowcontrol.admin.trial_report import BADGES
from flowcontrol.exceptions import TrialRefused
from flowcontrol.flowtests import OUTCOMES
from flowcontrol.schemas import with_defaults
from flowcontrol.trying import check_answers

if TYPE_CHECKING:
    from django.db.models import Model
    from django.utils.functional import _StrOrPromise

    from flowcontrol.admin.masks import Masks
    from flowcontrol.admin.rows import PageRow, RowList
    from flowcontrol.documents import JSONObject

HOW: Final[Sequence[tuple[str, _StrOrPromise]]] = (
    ("", gettext_lazy("Nothing")),
    ("result", gettext_lazy("This result")),
    ("error", gettext_lazy("Fails with")),
    ("calls", gettext_lazy("One after another")),
)

ANSWER_HELP: Final = gettext_lazy(
    "A result is JSON or a text. An error reads like “ConnectionError: no route”. One after "
    'another is a list such as [{"error": "Timeout: slow"}, {"result": 5}].'
)


class RowSelect(forms.Select):
    """One of the rows. Each option has no template of its own: there may be hundreds."""

    template_name = f"{TEMPLATES}/row_select.html"


class RowBoxes(forms.CheckboxSelectMultiple):
    """Some of the rows."""

    template_name = f"{TEMPLATES}/row_boxes.html"


@dataclass(frozen=True)
class Given:
    """What a trial, a test or a run starts with, as the form shows it."""

    key: str = ""
    until: str = ""
    state: Mapping[str, Any] | None = None
    payload: Mapping[str, Any] | None = None
    starts_at: Any = None
    answers: Mapping[str, Any] | None = None
    expectations: Mapping[str, Any] | None = None
    name: str = ""


@dataclass(frozen=True)
class AnswerFields:
    """The two fields that say what a row gives."""

    row: PageRow
    how: forms.BoundField
    what: forms.BoundField

    @property
    def is_given(self) -> bool:
        return bool(self.how.value())


class TrialForm(forms.Form):
    """The input of a trial.

    Args:
        data: what was posted.
        rows: those of the draft; the trial can stop at each.
        answerable: those that may be told what they give.
        model: what the draft is about, or ``None``.
        schema: its state schema, or ``None``.
        masks: hides what is secret in a state.
        given: what the form shows at first.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None,
        *,
        rows: RowList,
        answerable: Sequence[PageRow],
        model: type[Model] | None,
        schema: Mapping[str, Any] | None,
        masks: Masks,
        given: Given,
    ) -> None:
        super().__init__(data)
        self.model = model
        self.object: Model | None = None
        self.answerable: list[PageRow] = []
        if model is not None:
            self.fields["key"] = forms.CharField(
                label=_("Key of the %(model)s") % {"model": model._meta.verbose_name},
                max_length=255,
                initial=given.key,
                widget=ShortInput(
                    **{"class": "fc-short vForeignKeyRawIdAdminField", "list": "fc-objects"}
                ),
                help_text=_("Its primary key, as it stands in the address of its page."),
            )
        self.fields["state"] = _state_field(schema, masks, given.state)
        self.fields["payload"] = JSONObjectField(
            label=_("Trigger data"),
            initial=given.payload or None,
            rows=2,
            help_text=_("A JSON object; what the rows read as “trigger”."),
        )
        self.fields["starts_at"] = forms.DateTimeField(
            label=_("Starts at"),
            required=False,
            initial=given.starts_at,
            widget=MomentInput(),
            help_text=_("Empty: now."),
        )
        self.fields["until"] = forms.ChoiceField(
            label=_("Run to"),
            required=False,
            choices=[
                ("", _("the end")),
                *((row.uid, f"{row.place} {row.title}") for row in rows.by_uid.values()),
            ],
            initial=given.until,
            widget=RowSelect(),
            help_text=_("It stops before this row."),
        )
        self.offer_answers(answerable, given.answers)

    def offer_answers(
        self, rows: Sequence[PageRow], given: Mapping[str, Any] | None = None
    ) -> None:
        """Ask what these rows give, beside those that are asked about already."""
        for row in rows:
            if row in self.answerable:
                continue
            self.answerable.append(row)
            how, what = _shown_answer((given or {}).get(row.uid))
            told = {"place": row.place, "row": row.title}
            self.fields[f"how-{row.quoted}"] = forms.ChoiceField(
                label=_("What row %(place)s gives: %(row)s") % told,
                required=False,
                choices=HOW,
                initial=how,
            )
            self.fields[f"what-{row.quoted}"] = forms.CharField(
                label=_("Value for row %(place)s") % told,
                required=False,
                initial=what,
                strip=False,
                widget=TextArea(rows=1),
            )

    @property
    def input_fields(self) -> list[forms.BoundField]:
        """The fields that are no answers."""
        names = ("key", "state", "payload", "starts_at", "until")
        return [self[name] for name in names if name in self.fields]

    @property
    def answers(self) -> Iterator[AnswerFields]:
        for row in self.answerable:
            yield AnswerFields(row, self[f"how-{row.quoted}"], self[f"what-{row.quoted}"])

    @property
    def has_answers(self) -> bool:
        return any(answer.is_given or answer.what.errors for answer in self.answers)

    def clean_key(self) -> str:
        """Look the object up as well."""
        key: str = self.cleaned_data["key"]
        assert self.model is not None
        self.object = find_object(self.model, key)
        if self.object is None:
            raise ValidationError(
                _("There is no %(model)s with this key."),
                params={"model": self.model._meta.verbose_name},
            )
        return key

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        answers: dict[str, Any] = {}
        for row in self.answerable:
            how, what = cleaned.get(f"how-{row.quoted}"), cleaned.get(f"what-{row.quoted}", "")
            if not how:
                continue
            try:
                answers[row.uid] = _read_answer(how, what)
                check_answers({row.uid: answers[row.uid]})
            except (ValueError, TrialRefused) as error:
                self.add_error(f"what-{row.quoted}", str(error))
        cleaned["answers"] = answers
        return cleaned


def _state_field(
    schema: Mapping[str, Any] | None, masks: Masks, given: Mapping[str, Any] | None
) -> JSONObjectField:
    state = dict(given or {})
    if schema and given is None:
        try:
            state = with_defaults(schema, {})
        except ValueError:
            state = {}  # the schema is none; the checker tells
    shown = masks.state(state)
    field = JSONObjectField(
        label=_("Start state"),
        initial=shown or None,
        help_text=_state_help(schema),
    )
    field.keep_secrets(state, shown)
    return field


def _state_help(schema: Mapping[str, Any] | None) -> str:
    told = _("A JSON object; the rows can read and change its values.")
    properties = schema.get("properties") if schema else None
    if not isinstance(properties, Mapping) or not properties:
        return told
    required = schema.get("required", ()) if schema else ()
    names = ", ".join(f"{name} *" if name in required else name for name in properties)
    return f"{told} {_('Values: %(names)s') % {'names': names}}"


def _shown_answer(given: Any) -> tuple[str, str]:
    """How the form shows an answer."""
    if not given:
        return "", ""
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if isinstance(given, list):
        return "calls", json.dumps(given, ensure_ascii=False)
    if "error" in given:
        return "error", str(given["error"])
    if "result" in given:
        result = given["result"]
        is_plain = isinstance(result, str) and _read_value(result) == result
        return "result", result if is_plain else json.dumps(result, ensure_ascii=False)
    return "calls", json.dumps([given], ensure_ascii=False)


def _read_answer(how: str, what: str) -> Any:
    """Raises ValueError: it is no list."""
    match how:
        case "result":
            return {"result": _read_value(what)}
        case "error":
            return {"error": what.strip() or _("Failed")}
    try:
        several = json.loads(what)
    except ValueError as error:
        raise ValueError(_("This is no JSON: %(error)s") % {"error": error}) from None
    if not isinstance(several, list) or not several:
        raise ValueError(_("Write a list with an answer for each call."))
    return several


def _read_value(text: str) -> Any:
    """JSON, or the text itself; nothing is null."""
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


class SaveTestForm(forms.Form):
    """The name of a test and what is expected of it.

    Args:
        data: what was posted.
        given: what the form shows at first.
        rows: those of the draft.
        masks: hides what is secret in a state.
    """

    name = forms.CharField(
        label=gettext_lazy("Name of the test"), max_length=200, widget=LineInput()
    )
    outcome = forms.ChoiceField(
        label=gettext_lazy("It ends as"),
        required=False,
        choices=[("", gettext_lazy("whatever")), *((name, BADGES[name]) for name in OUTCOMES)],
    )

    def __init__(
        self, data: Mapping[str, Any] | None, given: Given, rows: RowList, masks: Masks
    ) -> None:
        super().__init__(data, prefix="test")
        wanted = dict(given.expectations or {})
        self.initial = {"name": given.name, "outcome": wanted.get("outcome", "")}
        stored = dict(wanted.get("state", {}))
        shown = masks.state(stored)
        state = JSONObjectField(
            label=_("Values in the state in the end"),
            initial=shown or None,
            help_text=_("A JSON object. Values that it does not name may be as they like."),
        )
        state.keep_secrets(stored, shown)
        self.fields["state"] = state
        for name, label in (
            ("reached", _("Rows that it reaches")),
            ("not_reached", _("Rows that it does not reach")),
        ):
            self.fields[name] = forms.MultipleChoiceField(
                label=label,
                required=False,
                initial=wanted.get(name, []),
                choices=_row_choices(rows, wanted.get(name, [])),
                widget=RowBoxes(),
            )

    @property
    def expectations(self) -> JSONObject:
        """What was filled in; only of a valid form."""
        cleaned = self.cleaned_data
        wanted: JSONObject = {"state": cleaned["state"] or {}}
        if cleaned["outcome"]:
            wanted["outcome"] = cleaned["outcome"]
        for name in ("reached", "not_reached"):
            if cleaned[name]:
                wanted[name] = cleaned[name]
        return wanted

    @property
    def main_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("name", "outcome", "state")]

    @property
    def row_fields(self) -> list[forms.BoundField]:
        return [self["reached"], self["not_reached"]]

    @property
    def row_errors(self) -> bool:
        return any(field.errors for field in self.row_fields)


def _row_choices(rows: RowList, chosen: Sequence[str]) -> list[tuple[str, str]]:
    """The rows of the draft, and those that were expected and are gone."""
    there = [(row.uid, f"{row.place} {row.title}") for row in rows.by_uid.values()]
    gone = [uid for uid in chosen if uid not in rows.by_uid]
    return [*there, *((uid, _("%(uid)s (gone)") % {"uid": uid}) for uid in gone)]


def expectations_shown(expectations: Mapping[str, Any], masks: Masks) -> JSONObject:
    """Expectations in the order in which people read them, secrets masked."""
    order = ("outcome", "state", "reached", "not_reached")
    shown = {key: expectations[key] for key in order if key in expectations}
    if isinstance(shown.get("state"), Mapping):
        shown["state"] = masks.state(shown["state"])
    return shown
