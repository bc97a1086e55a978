"""What an author of actions works with: the class to derive from and the handle on the run.

Re-exports :class:`FlowDirective` and the directives, so that one import is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from flowcontrol.directives import (
    NO_RESULT,
    Abort,
    Break,
    Continue,
    Directive,
    Enter,
    FlowDirective,
    Leave,
    Suspend,
    SuspendAndRepeat,
)
from flowcontrol.exceptions import ActionFailed, RetryLater
from flowcontrol.expressions import Scope, compile_expression, compile_template
from flowcontrol.trials import in_trial

if TYPE_CHECKING:
    from django.db.models import Model
    from django.utils.functional import _StrOrPromise

    from flowcontrol.pages import Page


__all__ = [
    "NO_RESULT",
    "Abort",
    "ActionFailed",
    "BaseAction",
    "Break",
    "Continue",
    "Directive",
    "Effects",
    "Enter",
    "FlowDirective",
    "Leave",
    "RetryLater",
    "RunHandle",
    "Surroundings",
    "Suspend",
    "SuspendAndRepeat",
]

Effects = Literal["none", "database", "external"]


class RunHandle:
    """What an action may know and do of the run it is part of, and nothing else.

    Attributes:
        pk: the run's id.
        flow: the short name (slug) of its flow.
        state: the author's JSON object. Actions change it in place; whatever they leave in it has
            to be JSON, or the step fails.
        now: the moment of this slice (aware datetime), by the engine's clock.
        memo: what this row noted when it entered its block or repeated itself, else ``None``.
        pages: rows of the database that rows of the flow walk over, for as long as this slice.
        items: the list that this row handed over when it entered its block, else ``None``.
        wakeup: what woke the run, for a row that is asked again after waiting; ``None`` if its
            time simply came. ``by`` in it is ``event``, ``task``, ``children``, ``code`` or
            ``operator``, ``data`` what came with it.
        acts_as: the name of the user whom the flow acts as, or ``None``.
        attempt: 1 for the first try of this step, 2 for its first retry, and so on.
    """

    __slots__ = (
        "_identity",
        "_load_identity",
        "_load_names",
        "_load_user",
        "_user",
        "acts_as",
        "attempt",
        "flow",
        "items",
        "memo",
        "new_object",
        "node",
        "notes",
        "now",
        "pages",
        "pk",
        "progress",
        "scope",
        "show_progress",
        "state",
        "visit",
        "wakeup",
    )

    def __init__(
        self,
        *,
        pk: int,
        flow: str,
        state: dict[str, Any],
        scope: Scope,
        now: datetime,
        visit: int = 0,
        attempt: int = 1,
        wakeup: Any = None,
        load_user: Callable[[], Any] | None = None,
        acts_as: str | None = None,
        load_identity: Callable[[], Any] | None = None,
        load_names: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.pk = pk
        self.flow = flow
        self.state = state
        self.scope = scope
        self.now = now
        self.visit = visit
        self.attempt = attempt
        self.wakeup = wakeup
        self.memo: Any = None
        self.items: list[Any] | None = None
        self.progress: tuple[int, int | None] | None = None
        self.node: Any = None
        self.pages: dict[Any, Page] = {}
        self._load_user = load_user
        self._load_names = load_names
        self.show_progress: Callable[[], None] = _nothing
        self._user: Any = None
        self.acts_as = acts_as
        self._load_identity = load_identity
        self._identity: Any = None
        self.notes: list[str] = []
        self.new_object: Model | None = None

    def close(self) -> None:
        """Nothing is asked of the engine any more; for the engine's own use."""
        self._load_names, self._load_user, self._load_identity = dict, None, None

    def __str__(self) -> str:
        return f"run #{self.pk}"

    @property
    def step_key(self) -> str:
        """A text that names this step: the same over retries and crashes, new in each round.

        Hand it to the outside as the idempotency key of what the step does there.
        """
        return f"{self.pk}-{self.visit}"

    @property
    def user(self) -> Any:
        """The user who started the run, or ``None``; read from the database when first asked."""
        if self._load_user is not None:
            self._user = self._load_user()
            self._load_user = None
        return self._user

    @property
    def identity(self) -> Any:
        """The user whom the flow acts as, whose rights decide what its rows may change; or
        ``None``. Read from the database when first asked."""
        if self._load_identity is not None:
            self._identity = self._load_identity()
            self._load_identity = None
        return self._identity

    @property
    def is_trial(self) -> bool:
        """Whether this run only tries a flow: its transaction will be rolled back."""
        return in_trial()

    def log(self, text: str) -> None:
        """Write a line into the run's history, beside this step."""
        self.notes.append(str(text))

    def set_object(self, obj: Model) -> None:
        """Make ``obj`` what the run is about, from the next step on.

        Raises:
            ValueError: ``obj`` has not been saved, so there is nothing to point at.
        """
        if obj.pk is None:
            raise ValueError(f"{obj!r} has to be saved before a run can be about it.")
        self.new_object = obj

    @property
    def names(self) -> dict[str, Any]:
        """The loop variables of the blocks around this row, in the form that ``Enter`` takes."""
        return self._load_names()

    @property
    def rows_inside(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The rows directly inside this row that are switched on: ``(uid, fixed config)`` each."""
        return [(node.uid, node.payload.config) for node in self.node.inside]

    def report_progress(self, done: int, total: int | None = None) -> None:
        """Tell how far this row is; the page of the run shows "37 of 120" while it stands here."""
        self.progress = (int(done), None if total is None else int(total))
        self.show_progress()

    def evaluate(self, source: str) -> Any:
        """The value of an expression, with the names that it can read at this row.

        Raises:
            ExpressionError: it cannot be read, or not be evaluated with these values.
        """
        return compile_expression(source).evaluate(self.scope)

    def render(self, source: str, *, html: bool = False) -> str:
        """The text that a template gives; values are escaped only for ``html``."""
        return compile_template(source, html=html).render(self.scope)

    # Expressions can see the handle as ``run``; these are not for them.
    log.alters_data = True  # type: ignore[attr-defined]
    set_object.alters_data = True  # type: ignore[attr-defined]
    report_progress.alters_data = True  # type: ignore[attr-defined]
    evaluate.alters_data = True  # type: ignore[attr-defined]
    render.alters_data = True  # type: ignore[attr-defined]


T = TypeVar("T")


class Surroundings(Protocol):
    """What a row may know of its flow while the draft is being checked."""

    @property
    def content_type(self) -> str | None:
        """What the flow is about, as ``app_label.model``."""

    @property
    def acts_as(self) -> str | None:
        """The name of the user whom the flow acts as."""

    @property
    def identity(self) -> Any:
        """This user, or ``None``."""

    def configs_of(self, action: str) -> Sequence[Mapping[str, Any]]:
        """The configs of all rows of this type that are switched on, this one among them."""

    def once(self, key: str, look_up: Callable[[], T]) -> T:
        """What ``look_up`` gives; it is called once for all rows of a flow.

        A flow of 500 rows is checked after each change: what rows name is looked up together.
        """


def _nothing() -> None:
    """In the middle of most steps nobody can see how far they are."""


class BaseAction:
    """A kind of row that authors can place in a flow.

    Subclasses declare what they are and implement :meth:`run`; ``@register_action`` makes them
    known. One instance serves every run of a row, so instances keep nothing.
    """

    name: ClassVar[str] = ""
    """Stable name, written into documents: ``"shop.send_invoice"``."""
    verbose_name: ClassVar[_StrOrPromise] = ""
    """What people read; translatable."""
    description: ClassVar[_StrOrPromise] = ""
    """One or two sentences for the person who looks for the right action."""
    group: ClassVar[_StrOrPromise] = ""
    """Under which heading the type is offered; translatable."""
    icon: ClassVar[str] = ""
    """A word for the picture beside the row."""
    effects: ClassVar[Effects]
    """What :meth:`run` touches. It must be declared, because it decides how the step executes:

    ``"none"`` reads and writes only ``run.state`` and may be repeated. ``"database"`` writes to
    this Django database only; it commits together with the step, exactly once. ``"external"``
    talks to the outside; it happens at least once, always with the same ``run.step_key``.
    """
    config_schema: ClassVar[Mapping[str, Any]] = {"type": "object", "properties": {}}
    """JSON Schema (2020-12) of the config. Plain JSON: translations go to the two below."""
    labels: ClassVar[Mapping[str, _StrOrPromise]] = {}
    """What the form calls a property (``"to"``), one inside a group (``"retry.times"``), or one
    of the choices of a property (``"if_past=continue"``)."""
    help_texts: ClassVar[Mapping[str, _StrOrPromise]] = {}
    """A sentence beside the field of a property."""
    schema_version: ClassVar[int] = 1
    """Raised when ``config_schema`` changes its meaning; see :meth:`upgrade_config`."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """Names this type had before; documents that use them go on working."""
    has_children: ClassVar[bool] = False
    """Whether rows can be placed inside it."""
    is_loop: ClassVar[bool] = False
    """Whether Leave and Break can name it as their loop."""
    has_budget: ClassVar[bool] = True
    """Whether its rounds count against ``FLOWCONTROL_MAX_HOT_LOOPS``; false for loops that end
    by themselves."""
    follows: ClassVar[tuple[str, ...]] = ()
    """Names of the types it has to come right after, as ``else`` comes after ``if``."""
    inside: ClassVar[tuple[str, ...]] = ()
    """Names of the types it has to be directly in, as ``branch`` is in ``parallel``."""
    holds: ClassVar[tuple[str, ...]] = ()
    """Names of the only types that can be directly in it; empty: any."""
    handles_errors: ClassVar[bool] = False
    """It handles errors of the block it follows, see :meth:`handles`."""
    runs_always: ClassVar[bool] = False
    """It follows a block, and whatever leaves that block goes through it first."""
    groupable: ClassVar[bool] = False
    """A ``"database"`` type that may share one transaction with the database steps beside it."""
    can_try: ClassVar[bool] = False
    """For types with effects: :meth:`run` may be called in a trial, which is rolled back.

    Say so only if everything that it does is undone by rolling back the database of the runs, what
    the signal handlers of saved models do included: no mail, no call, no file, no other database.
    Rows of other types are simulated in a trial, see :meth:`simulate`."""
    queue: ClassVar[str] = ""
    """The Celery queue that its steps belong to; empty: the default one."""
    state_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of the state that it sets by itself, so that the checker knows these names."""
    extra_names: ClassVar[tuple[str, ...]] = ()
    """Names that its templates can read beside the usual ones, so that the checker knows them."""
    retry: ClassVar[Mapping[str, Any] | None] = None
    """Default retry policy, see :mod:`flowcontrol.failures`."""
    starts_children: ClassVar[bool] = False
    """It waits for runs that it has started; they are canceled when the flow goes on without them
    after an error."""
    computes_once: ClassVar[bool] = False
    """Its computed values are computed for :meth:`run` and not again: once it has a memo, its
    config holds only what is fixed, and what has to stay is for the row to note."""
    writes_json: ClassVar[bool] = False
    """For the built-ins: it replaces whole keys of the state, by JSON values, after everything
    that can fail. Spares the round trip of the whole state that other actions need."""

    def run(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        """Do what the row says and tell what should happen next; ``None`` means go on."""
        raise NotImplementedError(f"{type(self).__name__} has no run().")

    def return_from_children(
        self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]
    ) -> Directive | None:
        """Tell what should happen after the rows inside are through."""
        return FlowDirective.CONTINUE

    def record(self, result: Any, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> None:
        """For ``"external"`` types: write what came of the call, in the step's own commit."""

    def simulate(self, *, run: RunHandle, obj: Any, config: Mapping[str, Any]) -> Directive | None:
        """In a trial, instead of :meth:`run`, for a type with effects that is not ``can_try``.

        Do to ``run.state`` what :meth:`run` would, without the effect; the default does nothing.
        Not asked where whoever tries the flow has said what the row shall give.
        """
        return FlowDirective.CONTINUE

    def handles(self, names: Collection[str], message: str, config: Mapping[str, Any]) -> bool:
        """For types that handle errors: whether this is one of theirs.

        Args:
            names: the short and full names of the error's class and its base classes.
            message: what it says.
            config: the row's config.
        """
        return False

    def sentence(self, config: Mapping[str, Any]) -> str:
        """The row as a person would say it; the default is the type's name."""
        return str(self.verbose_name or self.name)

    @classmethod
    def upgrade_config(cls, config: dict[str, Any], from_version: int) -> dict[str, Any]:
        """The config of an older ``schema_version`` in today's form."""
        return config

    @classmethod
    def sets_names(cls, config: Mapping[str, Any]) -> set[str]:
        """The state keys and loop variables that a row with this config gives a value."""
        name = config.get("var_name")
        return {*cls.state_keys, *([name] if isinstance(name, str) else ())}

    @classmethod
    def check_config(cls, config: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """What a schema cannot tell of a config: ``(severity, field, message)`` each."""
        return []

    @classmethod
    def check_in_flow(
        cls, config: Mapping[str, Any], flow: Surroundings
    ) -> list[tuple[str, str, str]]:
        """What can be told only in its flow: ``(code, field, message)`` of each error.

        ``code`` is one of ``FIXES`` in ``flowcontrol.findings``. Asked where the database is at
        hand.
        """
        return []
