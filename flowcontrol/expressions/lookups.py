"""What a name in an expression means, and what may be read of the things it leads to.

The rules, in one place for expressions and templates:

* The first word is looked for in the loop variables, then among the fixed names (``object``,
  ``now``, …), then in the state. Each further word is a key, a place in a list or an attribute.
* What is not there is ``None``.
* Words that begin with an underscore are refused when compiling. Methods are called when they need
  no arguments, never when they are marked ``alters_data``. Python classes are out of reach.
* ``FLOWCONTROL_EXPOSED_FIELDS`` limits what may be read of model instances, however reached.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist
from django.core.signals import setting_changed
from django.db.models import Model, QuerySet
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ReverseOneToOneDescriptor,
)
from django.db.models.manager import BaseManager
from django.utils.translation import gettext

from flowcontrol.conf import settings
from flowcontrol.expressions.wording import PASSING, Refusal, describe, reason

#: Callable without arguments and not marked `alters_data`, yet none of an author's business.
_CLOSED: Final = frozenset({"query", "select_for_update", "refresh_from_db"})
#: What may be asked of related rows while FLOWCONTROL_EXPOSED_FIELDS is set. Others, such as
#: `values`, would hand out fields by a side door; a project may list names of its own managers.
_ROW_QUESTIONS: Final = frozenset({"all", "count", "exists", "first", "last"})


class Scope:
    """What names mean while one run executes. One per slice, reused for all its steps.

    ``state`` is the author's; ``fixed`` (object, run, trigger, now, today) shadows it, and the loop
    variables of the open blocks, ``loop``, shadow both. Each variable that is resolved leaves
    ``(dotted name, value)`` in ``reads``; whoever evaluates clears that list.
    """

    __slots__ = ("fixed", "loop", "reads", "state")

    def __init__(
        self,
        state: dict[str, Any] | None = None,
        *,
        loop: dict[str, Any] | None = None,
        fixed: dict[str, Any] | None = None,
        reads: list[tuple[str, Any]] | None = None,
    ) -> None:
        self.state = {} if state is None else state
        self.loop = {} if loop is None else loop
        self.fixed = {} if fixed is None else fixed
        self.reads = [] if reads is None else reads

    def knows(self, name: str) -> bool:
        """Whether anything has set this name."""
        return name in self.loop or name in self.fixed or name in self.state


Evaluate = Callable[[Scope], Any]

#: These have no parts that an author could mean; a part of them is missing, not an error.
_WITHOUT_PARTS: Final = frozenset(
    {str, int, float, bool, complex, bytes, bytearray, set, frozenset, Scope}
)


def compile_lookup(path: str) -> Evaluate:
    """A function that reads a dotted name from a scope."""
    first, *rest = path.split(".")
    return _read_path(path, first, tuple(rest)) if rest else _read_name(first)


def _read_name(name: str) -> Evaluate:
    def read(scope: Scope) -> Any:
        if name in scope.loop:
            value = _settled(scope.loop[name], name)
        elif name in scope.fixed:
            value = _settled(scope.fixed[name], name)
        else:
            value = scope.state.get(name)
        scope.reads.append((name, value))
        return value

    return read


def _read_path(path: str, first: str, parts: tuple[str, ...]) -> Evaluate:
    def read(scope: Scope) -> Any:
        if first in scope.loop:
            value = _settled(scope.loop[first], first)
        elif first in scope.fixed:
            value = _settled(scope.fixed[first], first)
        else:
            value = scope.state.get(first)
        for part in parts:
            if value is None:
                break
            value = value.get(part) if type(value) is dict else read_part(value, part)
        scope.reads.append((path, value))
        return value

    return read


def read_part(value: Any, part: str) -> Any:
    """One step of a dotted name: the part of a value, None if it has no such part, or Refusal."""
    if part.startswith("_"):
        raise Refusal(
            gettext('"%(part)s" begins with an underscore and is private.') % {"part": part}
        )
    if isinstance(value, Mapping):
        return value.get(part)
    if type(value) in _WITHOUT_PARTS:
        return None
    if part.isdecimal() and isinstance(value, (list, tuple, QuerySet)):
        return _item(value, int(part))
    if isinstance(value, list):
        return None
    _check_exposed(value, part)
    return _attribute(value, part)


def _item(value: Any, index: int) -> Any:
    try:
        return value[index]
    except IndexError:
        return None


def _attribute(value: Any, part: str) -> Any:
    if hasattr(type(value), "__getitem__") and not isinstance(value, (tuple, QuerySet)):
        try:
            return value[part]
        except (TypeError, LookupError, ValueError, AttributeError):
            pass  # not a container that is read by names: it may still have such an attribute
    try:
        found = getattr(value, part)
    except PASSING:
        raise  # not the author's mistake: the step may be tried again
    except Exception as error:
        if isinstance(error, ObjectDoesNotExist) and _is_relation(value, part):
            return None
        if isinstance(error, AttributeError) and part not in dir(value):
            return None
        raise Refusal(
            gettext('reading "%(part)s" of %(value)s failed (%(reason)s).')
            % {"part": part, "value": describe(value), "reason": reason(error)}
        ) from error
    return _settled(found, part)


def _settled(value: Any, name: str) -> Any:
    """The value itself, or what it returns when it is a function that needs no arguments."""
    if not callable(value):
        return value
    if getattr(value, "do_not_call_in_templates", False):  # managers and enumerations
        return value
    if getattr(value, "alters_data", False):
        raise Refusal(
            gettext('"%(name)s" changes data, which an expression may not do.') % {"name": name}
        )
    if isinstance(value, type):
        raise Refusal(
            gettext('"%(name)s" is a Python class, which an expression may not read.')
            % {"name": name}
        )
    if inspect.iscoroutinefunction(value):
        raise Refusal(
            gettext('"%(name)s" is asynchronous, which an expression cannot wait for.')
            % {"name": name}
        )
    try:
        return value()
    except PASSING:
        raise
    except Exception as error:
        if isinstance(error, TypeError) and _needs_arguments(value):
            raise Refusal(
                gettext('"%(name)s" needs arguments, so an expression cannot use it.')
                % {"name": name}
            ) from None
        raise Refusal(
            gettext('"%(name)s" failed (%(reason)s).') % {"name": name, "reason": reason(error)}
        ) from error


def _needs_arguments(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return True
    except ValueError:  # written in C, without a signature
        return False
    return False


def _is_relation(value: Any, part: str) -> bool:
    descriptor = getattr(value.__class__, part, None)
    return isinstance(descriptor, (ForwardManyToOneDescriptor, ReverseOneToOneDescriptor))


def _check_exposed(value: Any, part: str) -> None:
    """Refuse what a model does not show, whichever way the instance or its rows were reached."""
    if isinstance(value, Model):
        model, free = value.__class__, frozenset[str]()
    elif isinstance(value, (QuerySet, BaseManager)):
        model, free = value.model, _ROW_QUESTIONS
    else:
        return
    if part in _CLOSED:
        raise Refusal(
            gettext('"%(part)s" of %(value)s is not for expressions.')
            % {"part": part, "value": describe(value)}
        )
    if part not in free and not is_exposed(model, part):
        raise Refusal(
            gettext(
                '"%(part)s" of %(model)s is not among the fields that expressions may '
                "read (FLOWCONTROL_EXPOSED_FIELDS)."
            )
            % {"part": part, "model": model._meta.object_name}
        )


def is_exposed(model: type[Model], name: str) -> bool:
    """Whether authors may read the part ``name`` of a model's instances."""
    exposed = _exposed_fields()
    if exposed is None:
        return True
    listed = exposed.get(model._meta.label_lower)
    if listed is None and model._meta.concrete_model is not None:  # a proxy shows what its table
        listed = exposed.get(model._meta.concrete_model._meta.label_lower)
    return listed is not None and (name in listed or "*" in listed)


@cache
def _exposed_fields() -> dict[str, frozenset[str]] | None:
    exposed = settings.EXPOSED_FIELDS
    if exposed is None:
        return None
    return {label.lower(): frozenset(names) for label, names in exposed.items()}


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "FLOWCONTROL_EXPOSED_FIELDS":
        _exposed_fields.cache_clear()


setting_changed.connect(_forget, dispatch_uid="flowcontrol.expressions.lookups")
