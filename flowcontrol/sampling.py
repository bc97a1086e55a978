"""What an expression gives for a sample: evaluated with real values, without leaving a trace.

Nothing is written and nothing runs for long: statements that change data are refused while an
expression is evaluated, statements and steps are counted, and what it gives is cut short.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

from django.db import Error as DatabaseTrouble
from django.db import connections, models, transaction
from django.db.models.manager import BaseManager
from django.utils import timezone
from django.utils.translation import gettext as _

from flowcontrol.base import RunHandle
from flowcontrol.exceptions import (
    ConfigError,
    ExpressionError,
    ExpressionSyntaxError,
    FlowcontrolError,
    NotJSON,
)
from flowcontrol.expressions import (
    Scope,
    compile_expression,
    compile_template,
    describe,
    to_json,
)
from flowcontrol.typed_names import Name, type_of_value

Kind = Literal["condition", "value", "template"]

LONGEST_TEXT: Final = 20_000
LONGEST_SHOWN: Final = 500
MOST_STATEMENTS: Final = 50
MOST_STEPS: Final = 20_000
MOST_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What the names of an expression stand for while it is tried.

    ``loop`` are the variables of the loops around its row; ``payload`` is read as ``trigger``.
    """

    flow: str = ""
    obj: models.Model | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] | None = None
    loop: Mapping[str, Any] = field(default_factory=dict)
    now: datetime | None = None
    user: Any = None
    has_run: bool = True
    """Whether there is a run yet: the condition of a trigger row is asked before there is one."""

    def scope(self) -> Scope:
        now = self.now or timezone.now()
        scope = Scope(
            dict(self.state),
            loop=dict(self.loop),
            fixed={
                "object": self.obj,
                "trigger": self.payload,
                "now": now,
                "today": timezone.localtime(now).date(),
            },
        )
        if self.has_run:
            scope.fixed["run"] = RunHandle(
                pk=0,
                flow=self.flow,
                state=scope.state,
                scope=scope,
                now=now,
                load_user=lambda: self.user,
            )
        return scope


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an expression: a mistake with its place, or trouble with the values, or a value.

    ``reads`` are the names that were read, each with its value in words.
    """

    mistake: str = ""
    position: int | None = None
    trouble: str = ""
    shown: str = ""
    type: str = ""
    holds: bool | None = None
    """Of a condition: whether it is true."""
    reads: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    """The dotted names that it may read."""


def evaluate(text: str, kind: Kind, sample: Sample) -> Outcome:
    """Read an expression or a template, and say what it gives for a sample."""
    if len(text) > LONGEST_TEXT:
        told = _("Texts of more than %(count)d characters are not tried here.")
        return Outcome(trouble=told % {"count": LONGEST_TEXT})
    try:
        if kind == "template":
            template = compile_template(text)
            outcome = _tried(
                lambda scope: template.render(scope, most_steps=MOST_STEPS), kind, sample
            )
            return replace(outcome, names=tuple(template.names))
        expression = compile_expression(text)
    except ExpressionSyntaxError as error:
        return Outcome(mistake=str(error), position=error.position)
    return replace(_tried(expression.evaluate, kind, sample), names=tuple(expression.names))


def _tried(evaluate_in: Callable[[Scope], Any], kind: Kind, sample: Sample) -> Outcome:
    scope = sample.scope()
    try:
        with only_reading():
            value = evaluate_in(scope)
            shown = value if kind == "template" else shown_value(value)
            holds = bool(value) if kind == "condition" else None
    except (ExpressionError, ConfigError, NotJSON) as error:
        return Outcome(trouble=str(error), reads=_reads(scope))
    except (DatabaseTrouble, FlowcontrolError, RecursionError) as error:
        return Outcome(trouble=_("It cannot be tried: %(error)s") % {"error": error})
    type_ = "text" if kind == "template" else type_of_value(value)
    return Outcome(shown=_cut(shown), type=type_, holds=holds, reads=_reads(scope))


def _reads(scope: Scope) -> tuple[tuple[str, str], ...]:
    read = dict(scope.reads)
    return tuple((name, _cut(shown_value(value), 60)) for name, value in list(read.items())[:8])


def sample_values(names: Iterable[Name], sample: Sample) -> dict[str, tuple[str, str]]:
    """What names stand for in a sample, as (words, type); what cannot be read is left out."""
    found: dict[str, tuple[str, str]] = {}
    scope = sample.scope()
    with only_reading():
        for name in names:
            root = name.name.split(".")[0]
            if not scope.knows(root) or scope.fixed.get(root, root) is None:
                continue  # that everything of nothing is null helps nobody
            try:
                value = compile_expression(name.name).evaluate(scope)
                found[name.name] = (_cut(shown_value(value), 60), type_of_value(value))
            except (ExpressionError, DatabaseTrouble):
                continue
    return found


def shown_value(value: Any) -> str:
    """A value in few words: as JSON if it is some, else what it is."""
    if isinstance(value, models.Model | models.QuerySet | BaseManager):
        return describe(value)
    if isinstance(value, datetime):
        return timezone.localtime(value).isoformat(" ", "minutes") if value.tzinfo else str(value)
    try:
        return json.dumps(to_json(value, where="value"), ensure_ascii=False)
    except NotJSON:
        return describe(value)


def _cut(text: str, longest: int = LONGEST_SHOWN) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def with_loop_values(sample: Sample, loops: Iterable[Mapping[str, Any]]) -> Sample:
    """The sample in the first round of the loops around a row."""
    values: dict[str, Any] = {}
    for item in loops:
        name, config = item["config"].get("var_name"), item["config"]
        if not isinstance(name, str):
            continue
        start, items = config.get("start", 0), config.get("items")
        if item["action"] == "for" and isinstance(start, int):
            values[name] = start
        elif isinstance(items, str):
            first = _first(items, replace(sample, loop=values))
            values |= {name: first, "index": 0, "first": True}
    return replace(sample, loop=values)


def _first(items: str, sample: Sample) -> Any:
    try:
        with only_reading():
            return compile_expression(items).evaluate(sample.scope())[0]
    except (FlowcontrolError, DatabaseTrouble, LookupError, TypeError):
        return None


# --- safety ---------------------------------------------------------------------------------------

#: What statements that only read begin with, and what transactions are made of.
_READING: Final = ("SELECT", "(", "EXPLAIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN")


class _NotForTrials(FlowcontrolError):
    """A statement that a trial does not make."""


@contextmanager
def only_reading(
    most_statements: int = MOST_STATEMENTS, most_seconds: float = MOST_SECONDS
) -> Iterator[None]:
    """Refuse what changes data, and more than so many statements, on every database."""
    left, until = most_statements, time.monotonic() + most_seconds

    def guarded(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        nonlocal left
        left -= 1
        if not str(sql).lstrip().upper().startswith(_READING):
            raise _NotForTrials(_("This would change the database, which a trial does not do."))
        if left < 0 or time.monotonic() > until:
            raise _NotForTrials(_("This asks the database too much to be tried here."))
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for connection in connections.all():
            if connection.in_atomic_block:
                # A refused write breaks the transaction that it is part of: let that be this one.
                stack.enter_context(transaction.atomic(using=connection.alias))
            stack.enter_context(connection.execute_wrapper(guarded))
        yield
