"""Objects: rows that change the host site's own data.

Only models named in ``FLOWCONTROL_CONTENT_TYPES`` can be touched, only by their fields, only after
``full_clean``, and only as far as the user whom the flow acts as may do it in the admin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Final, Literal

from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.core.exceptions import FieldDoesNotExist, FieldError, ValidationError
from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.state import check_expressions, evaluated
from flowcontrol.actions.wording import shown
from flowcontrol.base import BaseAction, Continue, Directive, Effects, RunHandle, Surroundings
from flowcontrol.conf import settings
from flowcontrol.exceptions import AuthorError, ObjectInvalid
from flowcontrol.expressions import is_exposed
from flowcontrol.models.locks import lock_rows
from flowcontrol.registry import register_action
from flowcontrol.schemas import is_computed
from flowcontrol.trials import in_trial

Config = Mapping[str, Any]
Verb = Literal["add", "change"]

MOST_MATCHING: Final = 1000
"""Objects that one row changes; more are a mistake more often than a wish."""

LOOKUPS: Final = frozenset(
    {"exact", "iexact", "in", "isnull", "lt", "lte", "gt", "gte", "range"}
    | {"contains", "icontains", "startswith", "istartswith", "endswith", "iendswith"}
)
"""How a field may be compared: ``{"delay__gte": 15}``. Never across relations."""

_MODEL: Final = {"type": "string", "pattern": r"^[a-z_][a-z0-9_]*\.[a-z][a-z0-9_]*$"}
_FIELDS: Final = {"type": "object", "minProperties": 1}
_EVALUATE: Final = {"type": "boolean", "default": False}


_LABELS: Final[Mapping[str, Any]] = {
    "model": _("Type of object"),
    "fields": _("Fields"),
    "where": _("Where"),
    "evaluate": _("Texts are expressions"),
    "becomes_object": _("The run goes on about it"),
}
_HELP: Final[Mapping[str, Any]] = {
    "model": _("As app_label.model; allowed are those of FLOWCONTROL_CONTENT_TYPES."),
    "fields": _(
        'A JSON object of names and values: {"status": "closed"}. A relation is set by the '
        "key of what it points at."
    ),
    "where": _(
        'Names and values that have to match: {"status": "open"}. A comparison is written '
        'behind the name: {"delay__gte": 15}.'
    ),
}


def _chosen(told: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: told[name] for name in names if name in told}


class ObjectAction(BaseAction):
    """What the rows of this group share."""

    group = _("Objects")
    icon = "object"
    effects: ClassVar[Effects] = "database"
    can_try = True  # see _write_in_trial
    verb: ClassVar[Verb] = "change"

    @classmethod
    def check_config(cls, config: Config) -> list[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = []
        for field in ("fields", "where"):
            values = config.get(field, {})
            if not config.get("evaluate"):
                continue
            if is_computed(values):
                # Texts in what was computed come from outside; nobody wrote them as expressions.
                message = _now("Computed values are not evaluated a second time.")
                found.append(("error", "evaluate", message))
            else:
                found.extend(check_expressions(values, field))
        return found

    @classmethod
    def check_in_flow(cls, config: Config, flow: Surroundings) -> list[tuple[str, str, str]]:
        try:
            model = cls.model_of(config, flow.content_type)
        except AuthorError as error:
            return [("config", "model" if "model" in config else "", str(error))]
        if model is None:
            return []
        found = [
            ("config", field, told) for field, told in _unknown_fields(model, cls.verb, config)
        ]
        if problem := _missing_right(model, cls.verb, flow.acts_as, flow.identity):
            found.append((problem[0], "", problem[1]))
        return found

    @classmethod
    def model_of(cls, config: Config, content_type: str | None) -> type[models.Model] | None:
        """The model that a row is about; ``None`` if that is computed.

        Raises:
            AuthorError: flows may not change it, or it is not there.
        """
        name = config.get("model")
        return allowed_model(name) if isinstance(name, str) else None

    def values(self, run: RunHandle, config: Config, name: str) -> dict[str, Any]:
        values = config.get(name, {})
        return evaluated(values, run) if config.get("evaluate") else dict(values)


@register_action
class SetFields(ObjectAction):
    """Changes fields of the object that the run is about."""

    name = "set_fields"
    verbose_name = _("Set fields of the object")
    description = _("Changes fields of the object that the run is about.")
    labels = _chosen(_LABELS, "fields", "evaluate")
    help_texts = _chosen(_HELP, "fields", "evaluate")
    config_schema = {
        "type": "object",
        "properties": {"fields": _FIELDS, "evaluate": _EVALUATE},
        "required": ["fields"],
        "additionalProperties": False,
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        if obj is None:
            raise AuthorError(_now("This run is about no object, so there are no fields to set."))
        model = allowed_model(obj._meta.label_lower)
        require_right(run, model, self.verb)
        # Whoever changes the object at this moment is waited for, and not overwritten.
        current = lock_rows(model._base_manager.filter(pk=obj.pk)).get()
        change(current, self.values(run, config, "fields"), self.verb)
        # The rows after this one see it as it is now.
        run.set_object(current)
        return None

    @classmethod
    def model_of(cls, config: Config, content_type: str | None) -> type[models.Model] | None:
        if content_type is None:
            raise AuthorError(
                _now("The runs of this flow are about no object, so there are no fields to set.")
            )
        return allowed_model(content_type)

    def sentence(self, config: Config) -> str:
        return _now("Set %(fields)s of the object") % {"fields": _in_words(config.get("fields"))}


@register_action
class CreateObject(ObjectAction):
    """Creates an object; the result is its key."""

    name = "create_object"
    verbose_name = _("Create object")
    description = _("Creates an object of any type that flows may change.")
    verb = "add"
    labels = _chosen(_LABELS, "model", "fields", "evaluate", "becomes_object")
    help_texts = _chosen(_HELP, "model", "fields", "evaluate", "becomes_object")
    config_schema = {
        "type": "object",
        "properties": {
            "model": _MODEL,
            "fields": _FIELDS,
            "evaluate": _EVALUATE,
            "becomes_object": {"type": "boolean", "default": False},
        },
        "required": ["model", "fields"],
        "additionalProperties": False,
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        model = allowed_model(config["model"])
        require_right(run, model, self.verb)
        created = model()
        change(created, self.values(run, config, "fields"), self.verb)
        run.log(_now("Created %(object)s") % {"object": created})
        if config.get("becomes_object"):
            run.set_object(created)
        return Continue(created.pk if isinstance(created.pk, int) else str(created.pk))

    def sentence(self, config: Config) -> str:
        return _now("Create %(model)s") % {"model": shown(config.get("model", "…"))}


@register_action
class UpdateMatching(ObjectAction):
    """Changes fields of all objects that match; the result is how many there were."""

    name = "update_matching"
    verbose_name = _("Update matching objects")
    description = _("Changes fields of all objects of a type that match.")
    labels = _chosen(_LABELS, "model", "where", "fields", "evaluate")
    help_texts = _chosen(_HELP, "model", "where", "fields", "evaluate")
    config_schema = {
        "type": "object",
        "properties": {
            "model": _MODEL,
            "where": {"type": "object", "minProperties": 1},
            "fields": _FIELDS,
            "evaluate": _EVALUATE,
        },
        "required": ["model", "where", "fields"],
        "additionalProperties": False,
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        model = allowed_model(config["model"])
        require_right(run, model, self.verb)
        where = self.values(run, config, "where")
        values = self.values(run, config, "fields")
        for name in where:
            if told := _where_problem(model, name):
                raise AuthorError(told)
        try:
            # In the order of their keys, so that two rows that change the same ones take turns.
            matching = model._default_manager.filter(**where).order_by("pk")
            found = list(lock_rows(matching)[: MOST_MATCHING + 1])
        except (FieldError, TypeError, ValueError, ValidationError) as error:
            told = _now("Cannot look for %(model)s: %(reason)s")
            facts = {"model": model._meta.label_lower, "reason": error}
            raise AuthorError(told % facts) from error
        if len(found) > MOST_MATCHING:
            told = _now("More than %(number)s objects match %(where)s; narrow the condition.")
            raise AuthorError(told % {"number": f"{MOST_MATCHING:,}", "where": where})
        for item in found:
            change(item, values, self.verb)
            if obj is not None and item == obj:
                run.set_object(item)
        run.log(
            _now("Changed %(number)s of %(model)s")
            % {"number": len(found), "model": model._meta.label}
        )
        return Continue(len(found))

    def sentence(self, config: Config) -> str:
        where = config.get("where")
        told = _pairs(where) if isinstance(where, dict) and not is_computed(where) else shown(where)
        return _now("Set %(fields)s of every %(model)s where %(where)s") % {
            "fields": _in_words(config.get("fields")),
            "model": shown(config.get("model", "…")),
            "where": told or "…",
        }


# --- what may be changed --------------------------------------------------------------------------


def allowed_model(name: str) -> type[models.Model]:
    """The model called ``app_label.model``, if flows may change it.

    Raises:
        AuthorError: there is no such model, or ``FLOWCONTROL_CONTENT_TYPES`` does not name it.
    """
    allowed = {label.lower() for label in settings.CONTENT_TYPES or ()}
    if name.lower() not in allowed:
        known = ", ".join(sorted(allowed)) or "none"
        told = _now("Flows may not change “%(name)s”. FLOWCONTROL_CONTENT_TYPES allows: %(known)s.")
        raise AuthorError(told % {"name": name, "known": known})
    try:
        return apps.get_model(name)
    except LookupError as error:
        told = _now("There is no model “%(name)s”: %(reason)s")
        raise AuthorError(told % {"name": name, "reason": error}) from error


def require_right(run: RunHandle, model: type[models.Model], verb: Verb) -> None:
    """Let the flow do only what the user may do whom it acts as.

    Raises:
        AuthorError: the flow acts as nobody, or this user lacks the right.
    """
    if problem := _missing_right(model, verb, run.acts_as, run.identity):
        raise AuthorError(problem[1])


def _missing_right(
    model: type[models.Model], verb: Verb, acts_as: str | None, user: Any
) -> tuple[str, str] | None:
    """Why a flow may not do this to a model, after the code of the finding; ``None`` if it may."""
    if not acts_as:
        return "missing-identity", _now(
            "This flow acts as nobody, so it may change nothing. Choose a user under “acts as”."
        )
    if user is None:
        return "missing-identity", _now(
            "This flow acts as the user “%(name)s”, who is not there any more."
        ) % {"name": acts_as}
    options = model._meta
    right = f"{options.app_label}.{get_permission_codename(verb, options)}"
    if user.is_active and user.has_perm(right):
        return None
    return "missing-right", _now(
        "This flow acts as the user “%(name)s”, who lacks the right “%(right)s”."
    ) % {"name": acts_as, "right": right}


def _unknown_fields(
    model: type[models.Model], verb: Verb, config: Config
) -> Iterator[tuple[str, str]]:
    problems: dict[str, Callable[[str], str]] = {
        "fields": partial(_field_problem, model, verb=verb),
        "where": partial(_where_problem, model),
    }
    for field, problem in problems.items():
        values = config.get(field)
        if isinstance(values, dict) and not is_computed(values):
            yield from ((field, told) for name in values if (told := problem(name)))


def _field_problem(model: type[models.Model], name: str, verb: Verb) -> str:
    """Why a field cannot be set; empty if it can."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        fields = model._meta.concrete_fields
        known = ", ".join(sorted(each.name for each in fields if each.editable))
        told = _now("%(model)s has no field “%(name)s”. Fields: %(known)s.")
        return told % {"model": model._meta.label, "name": name, "known": known}
    facts = {"model": model._meta.label, "name": name}
    if not isinstance(field, models.Field) or not field.concrete or not field.editable:
        return _now("The field “%(name)s” of %(model)s cannot be set.") % facts
    if field.primary_key and verb == "change":
        told = _now("The field “%(name)s” of %(model)s is its key, which stays what it is.")
        return told % facts
    return ""


def _where_problem(model: type[models.Model], name: str) -> str:
    """Why objects cannot be looked for by this; empty if they can."""
    name, _underscores, lookup = name.partition("__")
    facts = {"model": model._meta.label, "name": name}
    try:
        field = model._meta.get_field(model._meta.pk.name if name == "pk" else name)
    except FieldDoesNotExist:
        return _now("%(model)s has no field “%(name)s”.") % facts
    if not isinstance(field, models.Field) or not field.concrete:
        return _now("%(model)s cannot be looked for by “%(name)s”.") % facts
    if lookup and lookup not in LOOKUPS:
        told = _now("“%(name)s” is no comparison. There are: %(known)s.")
        return told % {"name": lookup, "known": ", ".join(sorted(LOOKUPS))}
    if not is_exposed(model, field.name):
        # How many match would tell what may not be read.
        told = _now("The field “%(name)s” of %(model)s is not in FLOWCONTROL_EXPOSED_FIELDS.")
        return told % facts
    return ""


def change(obj: models.Model, values: Mapping[str, Any], verb: Verb = "change") -> None:
    """Set fields of ``obj``, validate all of it, and save it.

    Raises:
        AuthorError: a name that is no editable field.
        ObjectInvalid: the model does not allow what comes of it.
    """
    for name, value in values.items():
        if told := _field_problem(type(obj), name, verb):
            raise AuthorError(told)
        field = obj._meta.get_field(name)
        # A relation is set by the key of what it points at.
        setattr(obj, field.attname if isinstance(field, models.Field) else name, value)
    try:
        obj.full_clean()
    except ValidationError as error:
        problems = error.message_dict
        told = "; ".join(
            f"{'' if name == '__all__' else f'{name}: '}{' '.join(messages)}"
            for name, messages in problems.items()
        )
        kind = capfirst(str(obj._meta.verbose_name))
        which = f"{kind} {obj.pk}" if verb == "change" else kind
        message = _now("%(object)s cannot be saved. %(problems)s")
        raise ObjectInvalid(message % {"object": which, "problems": told}, problems) from error
    if in_trial():
        _write_in_trial(obj, values, verb)
    else:
        obj.save()


def _write_in_trial(obj: models.Model, values: Mapping[str, Any], verb: Verb) -> None:
    """Write ``obj`` without its ``save()`` and without signals.

    What the host site does in those may be a mail, which no rollback takes back.

    Raises:
        AuthorError: objects of this type cannot be created like that.
    """
    manager = type(obj)._base_manager
    if verb == "add":
        try:
            manager.bulk_create([obj])
        except ValueError as error:  # of several tables
            told = _now("In a trial no %(model)s can be created.")
            raise AuthorError(told % {"model": obj._meta.label}) from error
        return
    names = [*values, *(each.name for each in obj._meta.concrete_fields if _is_clock(each))]
    fields = [obj._meta.get_field(name) for name in dict.fromkeys(names)]
    written = {
        field.name: field.pre_save(obj, False)
        for field in fields
        if isinstance(field, models.Field)
    }
    manager.filter(pk=obj.pk).update(**written)


def _is_clock(field: models.Field[Any, Any]) -> bool:
    """Whether the field says when the object was saved last."""
    return bool(getattr(field, "auto_now", False))


def _in_words(values: Any) -> str:
    if is_computed(values):
        return str(shown(values))
    return ", ".join(values) if isinstance(values, dict) and values else "…"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())
