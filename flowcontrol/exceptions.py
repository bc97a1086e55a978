"""The words flowcontrol uses when something cannot be done.

Three families decide what happens to a run (see :func:`flowcontrol.failures.wait_before_retry`):

* :class:`AuthorError`: the flow is wrong. Never retried, never ignored, always names its place.
* any other exception raised by an action: a failure at run time, which follows the row's policy.
* :class:`ClaimLost`: nobody's fault. Another worker, or a person, owns the run by now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowcontrol.draft_changes import Change
    from flowcontrol.findings import Finding
    from flowcontrol.models import FlowRun
    from flowcontrol.schemas import Problem


class FlowcontrolError(Exception):
    """Base of everything that flowcontrol raises on purpose."""


class AuthorError(FlowcontrolError):
    """The flow itself is wrong: a person has to change it, trying again cannot help."""


class ExpressionError(AuthorError):
    """An expression could not be evaluated with the values it met."""

    def __init__(
        self, message: str, *, expression: str = "", values: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.expression = expression
        self.values = dict(values or {})


class ExpressionSyntaxError(ExpressionError):
    """An expression or a template that cannot be read; ``position`` counts characters from 0."""

    def __init__(self, message: str, *, expression: str = "", position: int | None = None) -> None:
        super().__init__(message, expression=expression)
        self.position = position


class ConfigError(AuthorError):
    """What the author filled in does not fit the action's schema."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems)


class DocumentError(AuthorError):
    """A flow document that is not one: wrong shape, unknown format, repeated ids."""


class UnknownAction(AuthorError):
    """No action type of this name is registered in this process."""


class NotJSON(AuthorError):
    """A value that may not enter a run's state.

    ``path`` leads to it inside the value, ``value_type`` is the name of its Python type.
    """

    def __init__(self, message: str, *, path: str = "", value_type: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.value_type = value_type


class StateTooBig(NotJSON):
    """A state that has grown beyond ``FLOWCONTROL_MAX_STATE_BYTES``."""


class StateMismatch(AuthorError):
    """A row would have left the state in a form that the flow's state schema does not allow."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems)


class EndlessLoop(AuthorError):
    """A loop that turned too often without ever waiting."""


class PoisonousRun(FlowcontrolError):
    """A run whose workers were lost again and again at the same step."""


class RegistrationError(FlowcontrolError):
    """An action type or a trigger that cannot be registered as it is written."""


class StartRefused(FlowcontrolError):
    """A run was not started; ``reason`` says why, ``run`` is the record of it, if one was kept."""

    def __init__(self, reason: str, run: FlowRun | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.run = run


class TrialRefused(FlowcontrolError):
    """A flow cannot be tried like this: object, state, payload or answers do not fit."""


class FlowTestRefused(FlowcontrolError):
    """A test of a flow that cannot be kept: its name is taken, or it is none."""


class ClaimLost(FlowcontrolError):
    """The run is no longer this worker's to write: its lease ran out, or a person stepped in."""


class ConnectionLost(FlowcontrolError):
    """The database connection broke during a step: what of it was committed is not known."""


class TransitionRefused(FlowcontrolError):
    """A run is in a status from which what was asked is not possible."""


class StaleDraft(FlowcontrolError):
    """The draft changed since it was read; nothing was written.

    ``changes`` are those made since, oldest first; ``str()`` of each is a sentence.
    """

    def __init__(self, message: str, changes: Sequence[Change] = ()) -> None:
        super().__init__(message)
        self.changes = list(changes)


class DraftRefused(FlowcontrolError):
    """An edit that would break the tree: a foreign row, a block that takes no rows, too deep."""


class PublishRefused(FlowcontrolError):
    """The draft has errors; ``findings`` are all of them."""

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        super().__init__(message)
        self.findings = list(findings)


class DeleteRefused(FlowcontrolError):
    """A flow that still has a history cannot be deleted without purging it."""


class ObjectInvalid(FlowcontrolError):
    """An object that a row would have left in a way its model does not allow.

    ``problems`` are the messages by name of the field; those of the whole are under ``__all__``.
    """

    def __init__(self, message: str, problems: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(message)
        self.problems = {name: list(told) for name, told in (problems or {}).items()}


class MailRefused(FlowcontrolError):
    """A mail server will never take this mail: an address that is none there, say."""


class WebhookFailed(FlowcontrolError):
    """A call to the outside did not do what the row needs; ``status`` is the answer's, if any."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class WebhookUnavailable(WebhookFailed):
    """Nobody answered, or the answer was "later": after ``retry_after`` at the earliest."""

    def __init__(
        self, message: str, status: int | None = None, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message, status)
        self.retry_after = retry_after


class ActionFailed(FlowcontrolError):
    """A row failed on purpose: a Fail, a wait that ran out, a run it waited for that went wrong.

    It follows the row's policies like any other failure at run time, and On error can handle it.
    Where it stands for an earlier error, ``kind`` is the class of that one, and ``names`` are all
    by which On error knows it.
    """

    def __init__(self, message: str, names: Sequence[str] = (), *, kind: str = "") -> None:
        super().__init__(message)
        self.names = tuple(names)
        self.kind = kind or type(self).__name__


class RetryLater(FlowcontrolError):
    """Raised by an action: try this step again after ``after``, whatever its retry policy says."""

    def __init__(self, after: timedelta, message: str = "") -> None:
        super().__init__(message or f"Asked to be tried again after {after}.")
        self.after = after


class TaskRefused(FlowcontrolError):
    """A task cannot be answered: it is closed, or not for this person."""


class AnswerInvalid(FlowcontrolError):
    """An answer that does not fit the form of its task; nothing was written."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = list(problems)
