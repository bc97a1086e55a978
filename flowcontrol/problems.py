"""What is wrong with a value, where, and in words for people who do not program.

JSON Schema finds what is wrong; its own messages quote Python values and schema keywords. This
module says the same in plain words, in the language that is active, and never quotes a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing to put right: the way to it inside the config, ``("to", 2)``, and what is wrong."""

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{place(self.path)}: {self.message}" if self.path else self.message


def place(path: Path) -> str:
    """The way to a value, to be read by people: ``state → items → entry 3``."""
    return " → ".join(
        _("entry %(number)d") % {"number": step + 1} if isinstance(step, int) else step
        for step in path
    )


def plain_words(error: ValidationError) -> list[Problem]:
    """What a schema error means to the person who filled in the value."""
    return list(dict.fromkeys(_problems(error)))


def keywords(schema_path: Sequence[str | int]) -> Iterator[str]:
    """The keywords on a way through a schema, without the names and numbers between them."""
    steps = iter(schema_path)
    for step in steps:
        if isinstance(step, str):
            yield step
            if step in _NAMED_PARTS:
                next(steps, None)


_NAMED_PARTS: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})

_TYPES: Final = {
    "array": gettext_lazy("a list"),
    "boolean": gettext_lazy("true or false"),
    "integer": gettext_lazy("a whole number"),
    "null": gettext_lazy("empty"),
    "number": gettext_lazy("a number"),
    "object": gettext_lazy("a group of named values"),
    "string": gettext_lazy("text"),
}


def _problems(error: ValidationError) -> Iterator[Problem]:
    path: Path = tuple(error.absolute_path)
    instance: Any = error.instance
    expected: Any = error.validator_value
    match error.validator:
        case "required":
            yield from (Problem((*path, name), _("Required")) for name in _missing(error, expected))
        case "dependentRequired":
            for given, needed in expected.items():
                if given in instance:
                    message = _("Required together with “%(name)s”") % {"name": given}
                    yield from (Problem((*path, name), message) for name in _missing(error, needed))
        case "additionalProperties":
            yield from (
                Problem((*path, name), _("is not known here")) for name in _unknown_names(error)
            )
        case "anyOf" | "oneOf" if error.context:
            branches = _branches(error)
            meant = [errors for errors in branches if not any(map(_rules_out, errors))]
            if len(meant) == 1:
                for inner in meant[0]:
                    yield from _problems(inner)
            elif types := _types_wanted(branches):
                yield Problem(path, _must_be(types))
            else:
                yield Problem(path, _("does not fit any of the forms allowed here"))
        case _:
            if "propertyNames" in keywords(error.absolute_schema_path):
                name = str(error.instance)
                yield Problem(
                    (*path, name), _("has a name that is not allowed: it %s") % _message(error)
                )
            else:
                yield Problem(path, _message(error))


def _missing(error: ValidationError, names: Sequence[str]) -> Iterator[str]:
    # There is one error per missing name, and none of them says which except in English.
    given: Any = error.instance
    return (name for name in names if name not in given)


def _unknown_names(error: ValidationError) -> Iterator[str]:
    # The error is found at the group of values, people look for it at the name.
    given: Any = error.instance
    schema: Any = error.schema
    known = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    for name in given:
        if name not in known and not any(re.search(pattern, name) for pattern in patterns):
            yield name


def _branches(error: ValidationError) -> list[list[ValidationError]]:
    """The errors of an ``anyOf`` or ``oneOf``, those of each alternative together."""
    branches: dict[str | int, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    return list(branches.values())


def _types_wanted(branches: Sequence[Sequence[ValidationError]]) -> list[str]:
    """What the value may be, if every alternative refuses just its type."""
    wanted: list[str] = []
    for errors in branches:
        if errors[0].validator != "type" or errors[0].relative_path:
            return []
        expected: Any = errors[0].validator_value
        wanted += [expected] if isinstance(expected, str) else expected
    return list(dict.fromkeys(wanted))


def _rules_out(error: ValidationError) -> bool:
    """Whether the value was plainly not meant for the alternative that this error is about."""
    if error.validator in ("type", "enum"):
        return not error.relative_path
    return error.validator == "const" and len(error.relative_path) <= 1


def _message(error: ValidationError) -> str:
    expected: Any = error.validator_value
    match error.validator:
        case "type":
            return _must_be([expected] if isinstance(expected, str) else expected)
        case "format" | "model" if error.cause is not None:
            return str(error.cause)
        case "enum":
            return _("must be one of %s") % ", ".join(_shown(value) for value in expected)
        case "const":
            return _("must be %s") % _shown(expected)
        case "minimum":
            return _("must be at least %s") % _shown(expected)
        case "maximum":
            return _("must be at most %s") % _shown(expected)
        case "exclusiveMinimum":
            return _("must be more than %s") % _shown(expected)
        case "exclusiveMaximum":
            return _("must be less than %s") % _shown(expected)
        case "multipleOf":
            return _("must be a multiple of %s") % _shown(expected)
        case "minLength":
            return ngettext(
                "must have at least %(count)d character",
                "must have at least %(count)d characters",
                int(expected),
            ) % {"count": expected}
        case "maxLength":
            return ngettext(
                "must have at most %(count)d character",
                "must have at most %(count)d characters",
                int(expected),
            ) % {"count": expected}
        case "pattern":
            return _("does not have the form that is expected here (%s)") % str(expected)
        case "minItems" | "minProperties":
            return ngettext(
                "must have at least %(count)d entry",
                "must have at least %(count)d entries",
                int(expected),
            ) % {"count": expected}
        case "maxItems" | "maxProperties":
            return ngettext(
                "must have at most %(count)d entry",
                "must have at most %(count)d entries",
                int(expected),
            ) % {"count": expected}
        case "uniqueItems":
            return _("has the same entry twice")
        case "items" | "unevaluatedItems":
            return _("has more entries than are allowed here")
        case "contains" | "minContains":
            return _("lacks an entry that is expected here")
        case "maxContains":
            return _("has too many entries of one kind")
        case "oneOf":
            return _("fits more than one of the forms allowed here")
        case "unevaluatedProperties":
            return _("has a name that is not known here")
        case _:
            # Also a schema that is just ``false``, and whatever later versions add.
            return _("is not allowed here")


def _must_be(types: Sequence[str]) -> str:
    *most, last = [str(_TYPES[name]) for name in types]
    if not most:
        return _("must be %s") % last
    return _("must be %(these)s or %(last)s") % {"these": ", ".join(most), "last": last}


def _shown(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    return json.dumps(value, ensure_ascii=False)
