"""Config, state and payloads against their JSON Schema (draft 2020-12): check, complete, mask.

A schema is plain JSON that describes an object. A whole value of that object may be **computed**:
``{"$expr": "object.email"}`` stands for what the expression gives when the action is about to run.

:func:`find_problems` checks what an author typed, computed values included; after they have been
evaluated, :func:`find_value_problems` checks what came of it. Both are compiled once per schema, so
a schema must not be changed after its first use.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final, TypeGuard
from urllib.parse import unquote

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema import ValidationError as SchemaMismatch
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend
from referencing import Registry

from flowcontrol.formats import (
    FORMATS,
    NEVER_COMPUTED,
    check_format,
    is_model_name,
    split_model_reference,
)
from flowcontrol.problems import Problem, keywords, place, plain_words

__all__ = [
    "COMPUTED",
    "FORMATS",
    "MASK",
    "Problem",
    "check_schema",
    "computed_properties",
    "find_problems",
    "find_value_problems",
    "is_computed",
    "mask_secrets",
    "place",
    "replace_formatted",
    "subschemas",
    "value_checker",
    "with_defaults",
]

COMPUTED: Final = "$expr"
MASK: Final = "••••••"

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = Mapping[str, Any]


def is_computed(value: object) -> TypeGuard[dict[str, str]]:
    """Whether ``value`` is ``{"$expr": "…"}``: exactly this one key, and text behind it."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(COMPUTED), str)


def computed_properties(schema: Schema, config: object) -> dict[str, str]:
    """The expressions of a config by the name of the property they are computed for.

    A property that is itself an expression or a template is never computed.
    """
    if not isinstance(config, Mapping):
        return {}
    fixed = _compiled(schema).never_computed
    return {
        name: value[COMPUTED]
        for name, value in config.items()
        if is_computed(value) and name not in fixed
    }


def find_problems(schema: Schema, config: object) -> list[Problem]:
    """What is wrong with a config as an author typed it.

    A computed value is not known yet: its expression is read, its result is not checked. Neither
    are those rules of the schema that compare several properties, one of them computed.

    Raises:
        ValueError: the schema is not one, see :func:`check_schema`.
    """
    compiled = _compiled(schema)
    config = _plain_object(config)
    computed = (
        {name: value[COMPUTED] for name, value in config.items() if is_computed(value)}
        if isinstance(config, dict)
        else {}
    )
    problems = [
        problem
        for name, source in computed.items()
        for problem in _expression_problems(compiled, name, source)
    ]
    problems += _mismatches(compiled, config, computed)
    return list(dict.fromkeys(problems))


def find_value_problems(schema: Schema, config: object) -> list[Problem]:
    """What is wrong with values that are final: a computed one left among them is a problem.

    Raises:
        ValueError: the schema is not one, see :func:`check_schema`.
    """
    return _value_problems(_compiled(schema), config)


def value_checker(schema: Schema) -> Callable[[object], list[Problem]]:
    """:func:`find_value_problems` with the schema already compiled, for who asks it often.

    Raises:
        ValueError: the schema is not one, see :func:`check_schema`.
    """
    return partial(_value_problems, _compiled(schema))


def _value_problems(compiled: _Compiled, config: object) -> list[Problem]:
    config = _plain_object(config)
    computed = (
        [name for name, value in config.items() if is_computed(value)]
        if isinstance(config, dict)
        else []
    )
    problems = [Problem((name,), _("has not been computed")) for name in computed]
    problems += _mismatches(compiled, config, computed)
    return list(dict.fromkeys(problems))


def with_defaults(schema: Schema, config: Any) -> Any:
    """A deep copy of a config with the defaults of its schema written in, nested ones too.

    A missing group of values is made only if it has a default of its own (``"default": {}`` will
    do), so nothing is invented that the author did not ask for. What is no object comes back as it
    is, for :func:`find_problems` to complain about.
    """
    config = _copied(_plain_object(config))
    if isinstance(config, dict):
        compiled = _compiled(schema)
        _fill(compiled.always, compiled.schema, config)
    return config


def mask_secrets(schema: Schema, config: Any) -> Any:
    """A deep copy of a config in which the values of format ``secret`` read ``••••••``.

    Values that are missing or empty stay so. The expression of a computed secret stays readable,
    because it is not the secret; what it gives is masked.
    """
    compiled = _compiled(schema)
    config = _copied(_plain_object(config))
    if compiled.has_secrets and isinstance(config, dict):
        root = compiled.schema
        for name, value in config.items():
            if not is_computed(value):
                config[name] = _masked(root, value, list(_children(root, [root], name)))
    return config


def replace_formatted(
    schema: Schema, config: Any, format_name: str, replace: Callable[[str], Any]
) -> Any:
    """A deep copy of a config in which each text of this format is what ``replace`` makes of it."""
    config = _copied(_plain_object(config))
    if not isinstance(config, dict):
        return config
    root = _compiled(schema).schema
    return _replaced(root, config, [root], format_name, replace)


def check_schema(schema: object) -> None:
    """Refuse what does not work as the schema of a config, a state or a payload.

    Raises:
        ValueError: says what is wrong and where, in words for developers.
    """
    if not isinstance(schema, Mapping):
        raise ValueError(f"A schema is a mapping, not {type(schema).__name__}.")
    try:
        _check_schema(dict(schema))
    except (RecursionError, OverflowError):
        raise ValueError("The schema is nested too deeply, or its numbers are too large.") from None


# --- compiling -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Compiled:
    schema: dict[str, Any]
    validator: Draft202012Validator
    has_secrets: bool
    never_computed: frozenset[str]
    _always: dict[int, list[Schema]] = field(default_factory=dict)

    def always(self, part: object) -> list[Schema]:
        """``part`` of this schema, and all in it that always applies to the same value."""
        found = self._always.get(id(part))
        if found is None:
            found = subschemas(self.schema, part, alternatives=False)
            self._always[id(part)] = found
        return found


# By identity, because that is what the engine meets at every step: the schema of a class. The
# schema is kept beside what was made of it, so that its id cannot pass to another one.
_by_identity: dict[int, tuple[Schema, _Compiled]] = {}
_MOST_IDENTITIES: Final = 1_000


def _compiled(schema: Schema) -> _Compiled:
    known = _by_identity.get(id(schema))
    if known is not None and known[0] is schema:
        return known[1]
    # By text, because the schema of a flow's state is a new object each time it is loaded.
    try:
        compiled = _compiled_text(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        check_schema(schema)
        compiled = _compiled_text(json.dumps(dict(schema), allow_nan=False))
    if len(_by_identity) >= _MOST_IDENTITIES:
        _by_identity.clear()
    _by_identity[id(schema)] = (schema, compiled)
    return compiled


@lru_cache(maxsize=1_000)
def _compiled_text(text: str) -> _Compiled:
    schema: dict[str, Any] = json.loads(text)
    check_schema(schema)
    # With it jsonschema would go back to its own class, which lacks our keyword, at "$ref": "#".
    schema.pop("$schema", None)
    _spell_out_refusals(schema)
    return _Compiled(
        schema=schema,
        validator=_validator(schema),
        has_secrets=any(sub.get("format") == "secret" for sub, _place in _walk(schema)),
        never_computed=frozenset(
            name
            for name, child in schema.get("properties", {}).items()
            if any(each.get("format") in NEVER_COMPUTED for each in subschemas(schema, child))
        ),
    )


def _spell_out_refusals(schema: dict[str, Any]) -> None:
    """Write ``{"not": {}}`` for ``false``: of that jsonschema does not say where it refused."""
    for sub, _where in list(_walk(schema)):
        for keyword in _LISTS_OF_SCHEMAS:
            if keyword in sub:
                sub[keyword] = [{"not": {}} if each is False else each for each in sub[keyword]]
        for keyword in _NAMED_SCHEMAS:
            for name, each in sub.get(keyword, {}).items():
                if each is False:
                    sub[keyword][name] = {"not": {}}


def _check_model(
    _validator: Any, model: str, instance: object, schema: Mapping[str, Any]
) -> Iterator[SchemaMismatch]:
    """The keyword ``model``: an object reference has to lead to this model."""
    if schema.get("format") != "model-reference" or not isinstance(instance, str):
        return
    try:
        found, _key = split_model_reference(instance)
    except ValueError:
        return  # the format says so already
    if found.lower() != model.lower():
        message = _("must be an object of %(model)s, not of %(found)s")
        cause = ValueError(message % {"model": model, "found": found})
        yield SchemaMismatch(str(cause), cause=cause)


_Validator: Final[type[Draft202012Validator]] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"model": _check_model}
)


def _format_checker() -> FormatChecker:
    """Our formats and no others; JSON Schema asks for the format of texts only."""
    checker = FormatChecker(formats=())
    for name in FORMATS:

        def is_fine(value: object, name: str = name) -> bool:
            if isinstance(value, str):
                check_format(name, value)
            return True

        checker.checks(name, raises=ValueError)(is_fine)
    return checker


_FORMAT_CHECKER: Final = _format_checker()


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    # An empty registry: nothing is ever fetched from elsewhere.
    return _Validator(schema, format_checker=_FORMAT_CHECKER, registry=Registry())


# --- problems ------------------------------------------------------------------------------------

# Rules that look at several properties at once; they cannot be judged while one is unknown.
_COMPARING: Final = frozenset(
    {"anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "unevaluatedProperties"}
)
_DESCENDING: Final = frozenset({"properties", "patternProperties", "additionalProperties"})


def _mismatches(
    compiled: _Compiled, config: object, computed: Mapping[str, str] | Sequence[str]
) -> list[Problem]:
    problems: list[Problem] = []
    try:
        for error in compiled.validator.iter_errors(config):
            if not (computed and _is_undecided(error, computed)):
                problems += plain_words(error)
    except (RecursionError, OverflowError, ValueError):
        # Numbers beyond what can be compared, or values nested deeper than Python goes.
        problems.append(Problem((), _("is too large or nested too deeply to be checked")))
    return problems


def _is_undecided(error: SchemaMismatch, computed: Mapping[str, str] | Sequence[str]) -> bool:
    path = error.absolute_path
    if path and path[0] in computed:
        return True
    for keyword in keywords(error.absolute_schema_path):
        if keyword in _COMPARING:
            return True
        if keyword in _DESCENDING:
            return False
    return False


def _expression_problems(compiled: _Compiled, name: str, source: str) -> Iterator[Problem]:
    if name in compiled.never_computed:
        yield Problem((name,), _("is an expression or a template itself and cannot be computed"))
        return
    try:
        check_format("expression", source)
    except ValueError as error:
        yield Problem((name,), str(error))


def _plain_object(config: object) -> object:
    return dict(config) if isinstance(config, Mapping) else config


def _copied(value: Any) -> Any:
    """A deep copy of JSON, which has neither shared parts nor circles to look after."""
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return value


# --- walking through a schema --------------------------------------------------------------------

_ONE_SCHEMA: Final = (
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LISTS_OF_SCHEMAS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED_SCHEMAS: Final = (
    "$defs",
    "definitions",
    "dependentSchemas",
    "patternProperties",
    "properties",
)


def _walk(schema: object, where: str = "") -> Iterator[tuple[Any, str]]:
    """Every schema inside a schema that is an object, itself first, with its place."""
    if not isinstance(schema, Mapping):
        return
    yield schema, where
    for keyword in _ONE_SCHEMA:
        if keyword in schema:
            yield from _walk(schema[keyword], f"{where}.{keyword}")
    for keyword in _LISTS_OF_SCHEMAS:
        for index, each in enumerate(schema.get(keyword, ())):
            yield from _walk(each, f"{where}.{keyword}[{index}]")
    for keyword in _NAMED_SCHEMAS:
        for name, each in schema.get(keyword, {}).items():
            yield from _walk(each, f"{where}.{keyword}.{name}")


def subschemas(root: Schema, schema: object, *, alternatives: bool = True) -> list[Schema]:
    """``schema`` and all the schemas in it that apply to the very same value.

    References inside ``root`` are followed. Without ``alternatives`` only those that always apply.
    """
    found: list[Schema] = []
    seen: set[int] = set()
    todo = [schema]
    while todo:
        each = todo.pop(0)
        if isinstance(each, Mapping) and id(each) not in seen:
            seen.add(id(each))
            found.append(each)
            todo += _applying_too(root, each, alternatives=alternatives)
    return found


def _applying_too(root: Schema, schema: Schema, *, alternatives: bool = True) -> Iterator[object]:
    """The schemas that stand in a schema and apply to the same value as it does."""
    if "$ref" in schema:
        yield _resolved(root, schema["$ref"])
    yield from schema.get("allOf", ())
    if alternatives:
        for keyword in ("anyOf", "oneOf"):
            yield from schema.get(keyword, ())
        yield from (
            schema[keyword] for keyword in ("if", "then", "else", "not") if keyword in schema
        )
        yield from schema.get("dependentSchemas", {}).values()


def _resolved(root: Schema, reference: str) -> object:
    """What ``#/$defs/x`` leads to; raises :class:`LookupError` if that is nothing."""
    found: Any = root
    for step in unquote(reference[1:]).split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        found = found[int(step)] if isinstance(found, list) else found[step]
    return found


def _children(root: Schema, parents: Sequence[Schema], name: str) -> Iterator[Schema]:
    """The schemas that may apply to the value ``name`` of an object."""
    for parent in parents:
        for each in subschemas(root, parent):
            declared = each.get("properties", {})
            if name in declared:
                yield declared[name]
            for pattern, child in each.get("patternProperties", {}).items():
                if re.search(pattern, name):
                    yield child
            if name not in declared:
                yield from (
                    each[rest]
                    for rest in ("additionalProperties", "unevaluatedProperties")
                    if rest in each
                )


def _entries(root: Schema, parents: Sequence[Schema], index: int) -> Iterator[Schema]:
    """The schemas that may apply to the entry ``index`` of a list."""
    for parent in parents:
        for each in subschemas(root, parent):
            fixed = each.get("prefixItems", ())
            if index < len(fixed):
                yield fixed[index]
            elif "items" in each:
                yield each["items"]
            yield from (each[rest] for rest in ("contains", "unevaluatedItems") if rest in each)


# --- defaults and secrets ------------------------------------------------------------------------


_Always = Callable[[object], Sequence[Schema]]


def _fill(always: _Always, schema: object, value: Any, made: frozenset[int] = frozenset()) -> Any:
    """Write defaults into ``value``, which is ours to change, and give it back.

    ``always`` gives the schemas that apply to a value that a schema applies to.
    ``made`` are the schemas whose defaults led here: a default that contains itself ends there.
    """
    if not isinstance(value, dict | list) or is_computed(value):
        return value
    for each in always(schema):
        if isinstance(value, dict):
            for name, child in each.get("properties", {}).items():
                if name in value:
                    value[name] = _fill(always, child, value[name], made)
                elif id(child) not in made:
                    for default in _default(always, child):
                        value[name] = _fill(always, child, default, made | {id(child)})
        elif isinstance(value, list):
            fixed = each.get("prefixItems", ())
            for index, entry in enumerate(value):
                child = fixed[index] if index < len(fixed) else each.get("items")
                value[index] = _fill(always, child, entry, made)
    return value


def _default(always: _Always, schema: object) -> Iterator[Any]:
    """A copy of the default of a property, if it has one: beside its ``$ref`` before behind it."""
    for each in always(schema):
        if "default" in each:
            yield _copied(each["default"])
            return


def _masked(root: Schema, value: Any, schemas: Sequence[Schema]) -> Any:
    applying = [each for schema in schemas for each in subschemas(root, schema)]
    if any(each.get("format") == "secret" for each in applying):
        return value if value is None or value == "" else MASK
    if isinstance(value, dict):
        return {
            name: _masked(root, each, list(_children(root, applying, name)))
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [
            _masked(root, each, list(_entries(root, applying, index)))
            for index, each in enumerate(value)
        ]
    return value


def _replaced(
    root: Schema,
    value: Any,
    schemas: Sequence[Schema],
    format_name: str,
    replace: Callable[[str], Any],
) -> Any:
    applying = [each for schema in schemas for each in subschemas(root, schema)]
    if isinstance(value, str):
        is_meant = any(each.get("format") == format_name for each in applying)
        return replace(value) if is_meant else value
    if isinstance(value, dict):
        return {
            name: _replaced(root, each, list(_children(root, applying, name)), format_name, replace)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [
            _replaced(root, each, list(_entries(root, applying, index)), format_name, replace)
            for index, each in enumerate(value)
        ]
    return value


# --- checking a schema ---------------------------------------------------------------------------


def _check_schema(schema: dict[str, Any]) -> None:
    _check_plain(schema, "schema")
    if schema.get("type") != "object":
        raise ValueError(
            'The schema has to describe an object: add "type": "object" at its top level.'
        )
    if schema.get("$schema", DIALECT) not in (DIALECT, f"{DIALECT}#"):
        raise ValueError(f"The schema names another dialect, {schema['$schema']!r}: {DIALECT}.")
    _check_against_metaschema(schema, "schema")
    for sub, where in _walk(schema, "schema"):
        _check_keywords(schema, sub, where)
    for sub, where in _walk(schema, "schema"):
        _check_ends(schema, sub, where, ())
        if "default" in sub:
            _check_default(schema, sub, where)


def _check_plain(value: object, where: str) -> None:
    match value:
        case None | bool() | int():
            pass
        case Promise():
            raise ValueError(
                f"{where} is a lazy translation. A schema is plain JSON: write translated names "
                "into `labels` and `help_texts` of the action type."
            )
        case str():
            pass
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{where} is {value}, which JSON does not have.")
        case dict():
            for name, each in value.items():
                if not isinstance(name, str):
                    raise ValueError(f"{where} has the name {name!r}; names in JSON are text.")
                _check_plain(each, f"{where}.{name}")
        case list():
            for index, each in enumerate(value):
                _check_plain(each, f"{where}[{index}]")
        case tuple():
            raise ValueError(f"{where} is a tuple; JSON has lists.")
        case _:
            raise ValueError(f"{where} is a {type(value).__name__}, which is not plain JSON.")


def _check_against_metaschema(schema: dict[str, Any], where: str) -> None:
    try:
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        steps = "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path
        )
        raise ValueError(f"{where}{steps}: {error.message}") from error


def _check_keywords(root: dict[str, Any], schema: dict[str, Any], where: str) -> None:
    name = schema.get("format")
    if name is not None and name not in FORMATS:
        raise ValueError(
            f"{where}.format {name!r} is not known. Known: {', '.join(sorted(FORMATS))}."
        )
    if name == "model-reference" and not is_model_name(schema.get("model", "app.model")):
        raise ValueError(f'{where}.model has to be written like "demo.flight".')
    for pattern in [schema.get("pattern"), *schema.get("patternProperties", ())]:
        if pattern is not None:
            _check_pattern(pattern, where)
    for keyword in ("$id", "$schema"):
        if keyword in schema and schema is not root:
            raise ValueError(f"{where}.{keyword}: only the whole schema may have it.")
    for keyword in ("$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef"):
        if keyword in schema:
            raise ValueError(f'{where}.{keyword} is not supported: use "$ref": "#/$defs/…".')
    if "$ref" in schema:
        _check_reference(root, schema["$ref"], where)


def _check_pattern(pattern: str, where: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise ValueError(f"{where}: the pattern {pattern!r} cannot be read: {error}.") from error


def _check_reference(root: dict[str, Any], reference: str, where: str) -> None:
    if reference != "#" and not reference.startswith("#/"):
        raise ValueError(
            f"{where}.$ref leads out of the schema ({reference!r}): put the other schema into "
            '"$defs" and refer to it as "#/$defs/…".'
        )
    try:
        target = _resolved(root, reference)
    except (LookupError, ValueError, TypeError):
        raise ValueError(f"{where}.$ref: there is nothing at {reference!r}.") from None
    if not any(target is each for each in _schemas_of(root)):
        raise ValueError(f"{where}.$ref: what stands at {reference!r} is not a schema.")


def _check_ends(
    root: dict[str, Any], schema: object, where: str, open_schemas: tuple[int, ...]
) -> None:
    """A schema that asks for itself, of the same value, would be checked for ever."""
    if not isinstance(schema, dict):
        return
    if id(schema) in open_schemas:
        raise ValueError(f"{where}: the references lead back to where they started.")
    open_schemas += (id(schema),)
    for each in _applying_too(root, schema):
        _check_ends(root, each, where, open_schemas)


def _schemas_of(root: dict[str, Any]) -> Iterator[object]:
    return (schema for schema, _where in _walk(root))


def _check_default(root: dict[str, Any], schema: dict[str, Any], where: str) -> None:
    default = _copied(schema["default"])
    if is_computed(default):
        return
    always = partial(subschemas, root, alternatives=False)
    made = _fill(always, schema, default, frozenset({id(schema)}))
    for error in _validator(root).evolve(schema=schema).iter_errors(made):
        problems = "; ".join(map(str, plain_words(error)))
        raise ValueError(f"{where}.default does not fit its own schema: {problems}.")
