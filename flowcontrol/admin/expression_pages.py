"""What the script behind expression fields asks: the names there are, what an expression gives.

All answers are JSON, and nothing here changes a flow. The words that the script shows come with
the names, so they are in the language of the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, get_args

from django.http import JsonResponse
from django.utils.translation import gettext as _

from flowcontrol.admin.pages import Page
from flowcontrol.admin.samples import Samples
from flowcontrol.drafting import Position
from flowcontrol.exceptions import ExpressionSyntaxError
from flowcontrol.expressions import filter_help
from flowcontrol.expressions.conditions import (
    OPERATORS,
    OPERATORS_OF_TYPE,
    SEPARATORS,
    drawing_to_json,
    operator_words,
    operators_of,
    quoted,
    read_condition,
)
from flowcontrol.names import Place, strange_names
from flowcontrol.sampling import Kind, Sample, evaluate, sample_values
from flowcontrol.typed_names import SOURCES, TYPES, Name, names_in_value

if TYPE_CHECKING:
    from django.db.models import Model

    from flowcontrol.admin.flow_pages import FlowVisit


def place_in(given: Mapping[str, str]) -> Place:
    """Where an expression stands, by what an address says.

    ``row`` and, for a new row, ``position`` and ``action``; or ``triggers``, names with commas
    between them, for the condition of a trigger row; or nothing, for the keep-condition.
    """
    if "triggers" in given:
        return Place(triggers=tuple(filter(None, given["triggers"].split(","))))
    position = given.get("position", "")
    return Place(
        uid=given.get("row", ""),
        position=position if position in get_args(Position) else "",
        action=given.get("action", ""),
    )


def show_names(visit: FlowVisit) -> JsonResponse:
    """The names that can be read at a place, each with its type and what it is in the sample."""
    place, samples = place_in(visit.request.GET.dict()), Samples(visit)
    sample = samples.sample(place)
    names = _with_values(samples.names(place), sample)
    values = sample_values(_quickly_read(names), sample)
    return JsonResponse(
        {
            "names": [_name(each, values) for each in names],
            "filters": [asdict(each) for each in filter_help()],
            "operators": {type_: operators_of(type_) for type_ in OPERATORS_OF_TYPE},
            "patterns": {
                name: {
                    "pattern": operator.pattern,
                    "list": operator.takes_list,
                    "words": operator_words(name),
                }
                for name, operator in OPERATORS.items()
            },
            "separators": SEPARATORS,
            "sample": _sample(samples),
            "texts": _texts(),
        }
    )


def _with_values(names: list[Name], sample: Sample) -> list[Name]:
    """The names, with what is inside the records of the sample; unknown types are told by it."""
    inside: dict[str, Name] = {}
    for name in names:
        root = name.name
        known = sample.loop if name.source == "loop" else sample.state
        if name.source in ("state", "loop") and root in known:
            inside |= {each.name: each for each in names_in_value(root, known[root], name.source)}
    found: list[Name] = []
    for name in names:
        shown = inside.pop(name.name, None)
        if shown is not None and name.type == "any":
            name = Name(name.name, shown.type, name.source, name.label, name.choices)
        found.append(name)
    known_names = {name.name for name in found}
    return [*found, *(each for each in inside.values() if each.name not in known_names)]


def _quickly_read(names: list[Name]) -> list[Name]:
    """The names without those that count related rows, of which there may be millions."""
    rows = {name.name for name in names if name.type == "rows"}
    return [name for name in names if name.name.rpartition(".")[0] not in rows]


def _name(name: Name, values: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    sample = values.get(name.name)
    type_ = name.type if name.type != "any" or sample is None else sample[1]
    return {
        "name": name.name,
        "type": type_,
        "typeWords": str(TYPES[type_]),
        "source": str(SOURCES[name.source]),
        "label": name.label,
        "sample": sample[0] if sample is not None else None,
        "choices": [
            {"source": _literal(value), "plain": str(value), "label": words}
            for value, words in name.choices
            if value is not None
        ],
    }


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else quoted(str(value))


def check(visit: FlowVisit) -> JsonResponse:
    """What an expression gives for the sample, or where it cannot be read; how it is drawn."""
    given = visit.request.POST.dict()
    text = given.get("text", "")
    kind: Kind = next((each for each in get_args(Kind) if each == given.get("kind")), "value")
    state, state_error = _posted_state(given.get("state", ""))
    if not text.strip():
        return JsonResponse({"empty": True, "stateError": state_error})
    place, samples = place_in(given), Samples(visit)
    sample = samples.sample(place, state=state)
    answer: dict[str, Any] = asdict(
        evaluate(text if kind == "template" else text.strip(), kind, sample)
    )
    names = samples.names(place)
    answer["strange"] = strange_names(answer.pop("names"), names, samples.model)
    answer["typeWords"] = str(TYPES.get(answer["type"], ""))
    answer["stateError"] = state_error
    if kind == "condition" and not answer["mistake"]:
        answer["drawing"] = _drawing(text)
    return JsonResponse(answer)


def _drawing(text: str) -> dict[str, Any] | None:
    try:
        drawing = read_condition(text)
    except ExpressionSyntaxError:
        return None
    return drawing_to_json(drawing) if drawing is not None else None


def _posted_state(text: str) -> tuple[dict[str, Any] | None, str]:
    """The state that was given to try with, and what is wrong with it."""
    if not text.strip():
        return None, ""
    try:
        state = json.loads(text[:100_000])
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        return None, _("The state to try with is not a JSON object.")
    return state, ""


def choose_sample(visit: FlowVisit) -> JsonResponse:
    """Find objects to try with (``q``); remember one (``key``), or with no key the newest again."""
    samples = Samples(visit)
    if not visit.is_post:
        found = samples.search(visit.request.GET.get("q", "").strip())
        return JsonResponse({"found": [_object(each) for each in found], **_sample(samples)})
    is_there = samples.choose(visit.request.POST.get("key", "").strip())
    error = "" if is_there else _("There is no such object, or you may not view it.")
    return JsonResponse({**_sample(samples), "error": error})


def _object(obj: Model) -> dict[str, str]:
    return {"key": str(obj.pk), "label": str(obj)}


def _sample(samples: Samples) -> dict[str, Any]:
    chosen = samples.chosen
    return {"chosen": _object(chosen) if chosen is not None else None, "note": samples.note}


def _texts() -> dict[str, str]:
    """The words that the script shows."""
    return {
        "add": _("Add a condition"),
        "addGroup": _("Add a group"),
        "all": _("all of these"),
        "any": _("any of these"),
        "asConditions": _("As conditions"),
        "asText": _("As text"),
        "cannotDraw": _("This condition can only be shown as text."),
        "change": _("Try with another…"),
        "chooseField": _("— choose —"),
        "close": _("Close"),
        "compareWith": _("Compare with"),
        "connection": _("The server does not answer; what you type is kept."),
        "emptyGroup": _("No condition yet: it always holds."),
        "emptyText": _("an empty text"),
        "field": _("Field"),
        "fixedValue": _("a value"),
        "gives": _("Gives"),
        "group": _("Group"),
        "holds": _("It holds if"),
        "items": _("Values, with commas between them"),
        "newest": _("The newest"),
        "no": _("no"),
        "none": _("none of these"),
        "not_all": _("not all of these"),
        "nothingFound": _("Nothing found."),
        "operator": _("Comparison"),
        "other": _("something else…"),
        "otherField": _("another field"),
        "piece": _("Condition as text"),
        "remove": _("Remove"),
        "search": _("Search"),
        "suggestion": _("%(count)s suggestions"),
        "suggestions": _("Suggestions"),
        "takesArgument": _("takes a value"),
        "tooBig": _("It is larger than what can be shown as conditions."),
        "triedWith": _("Tried with"),
        "value": _("Value"),
        "yes": _("yes"),
    }


EXPRESSION_PAGES: Final = (
    Page("expressions/names/", "expression_names", show_names, get="change"),
    Page("expressions/check/", "check_expression", check, get=None, post="change"),
    Page("expressions/sample/", "expression_sample", choose_sample, get="change", post="change"),
)
