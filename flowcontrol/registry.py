"""What can be placed in a flow and what can set one off: action types and triggers.

Modules named ``flows`` in installed apps are imported when Django starts; that is where projects
register theirs.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from django.apps import apps
from django.db.models import Model

from flowcontrol.base import BaseAction
from flowcontrol.exceptions import ConfigError, RegistrationError, UnknownAction
from flowcontrol.failures import RETRY_SCHEMA
from flowcontrol.schemas import check_schema, find_value_problems, place

if TYPE_CHECKING:
    from django.dispatch import Signal
    from django.utils.functional import _StrOrPromise

T = TypeVar("T")

LONGEST_ACTION: Final = 100
LONGEST_TRIGGER: Final = 200
"""Characters of a name, as many as the columns that hold it."""


class Registry(Generic[T]):
    """Named things. A name is given once; an unknown name is an error that lists the known."""

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self.generation = 0
        """Grows with every change, so that what was made from the registry can be told stale."""
        self._items: dict[str, T] = {}
        self._aliases: dict[str, str] = {}

    def add(self, name: str, item: T, aliases: tuple[str, ...] = ()) -> None:
        """Register ``item``.

        Raises:
            RegistrationError: the name, or one of the aliases, is taken.
        """
        for taken in (name, *aliases):
            if taken in self._items or taken in self._aliases:
                raise RegistrationError(
                    f"There is a {self.noun} named {taken!r} already: {self.find(taken)!r}."
                )
        self.generation += 1
        self._items[name] = item
        self._aliases.update(dict.fromkeys(aliases, name))

    def find(self, name: str) -> T | None:
        """The item of this name or alias, or ``None``."""
        return self._items.get(self._aliases.get(name, name))

    def __getitem__(self, name: str) -> T:
        item = self.find(name)
        if item is None:
            raise UnknownAction(self.unknown(name))
        return item

    def unknown(self, name: str, *, listed: bool = True) -> str:
        """The sentence that says that ``name`` is unknown and what it may have meant.

        ``listed`` names all that there are if it is like none of them; that is for developers.
        """
        told = f"Unknown {self.noun} {name!r}."
        if close := difflib.get_close_matches(name, self._items, n=3):
            return f"{told} Did you mean {' or '.join(close)}?"
        return f"{told} Registered: {self.names()}." if listed else told

    def names(self) -> str:
        return ", ".join(sorted(self._items)) or "none"

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._items.values()))

    @contextmanager
    def temporarily(self, *items: Any) -> Iterator[None]:
        """Register ``items`` (replacing those of the same name) until the block ends, for tests."""
        before = self._items.copy(), self._aliases.copy()
        try:
            for item in items:
                if self._items.pop(item.name, None) is not None:
                    # Its old names go with it; the item that replaces it says its own.
                    self._aliases = {
                        alias: name for alias, name in self._aliases.items() if name != item.name
                    }
                self.add(item.name, item, tuple(getattr(item, "aliases", ())))
            yield
        finally:
            self._items, self._aliases = before
            self.generation += 1


class ActionRegistry(Registry[type[BaseAction]]):
    """Action types by name."""

    def add(self, name: str, item: type[BaseAction], aliases: tuple[str, ...] = ()) -> None:
        """Register an action type after checking that it says all it has to.

        Raises:
            RegistrationError: something is missing or wrong; the message names class and remedy.
        """
        where = f"{item.__module__}.{item.__qualname__}"
        if not name:
            raise RegistrationError(f'{where} has no name: set name = "app.verb".')
        if getattr(item, "effects", None) not in ("none", "database", "external"):
            raise RegistrationError(
                f'{where} does not declare what it touches: set effects to "none" (only '
                f'run.state), "database" (this Django database) or "external" (the outside).'
            )
        if len(name) > LONGEST_ACTION:
            raise RegistrationError(f"{where}.name has more than {LONGEST_ACTION} characters.")
        if item.run is BaseAction.run:
            raise RegistrationError(f"{where} does nothing: define run().")
        try:
            check_schema(item.config_schema)
        except ValueError as error:
            raise RegistrationError(f"{where}.config_schema: {error}") from error
        if item.retry is not None and (wrong := find_value_problems(RETRY_SCHEMA, item.retry)):
            raise RegistrationError(f"{where}.retry: {wrong[0]}")
        super().add(name, item, aliases)


actions = ActionRegistry("action")


def register_action(action: type[BaseAction]) -> type[BaseAction]:
    """Class decorator that makes an action type available to authors.

    Raises:
        RegistrationError: no name, no declared effects, a schema that is none, or a taken name.
    """
    actions.add(action.name, action, action.aliases)
    return action


@dataclass(frozen=True, eq=False)
class TriggerType:
    """A named event. Calling it says that the event happened (see :meth:`__call__`)."""

    name: str
    model: type[Model] | str | None = None
    label: _StrOrPromise = ""
    payload_schema: Mapping[str, Any] | None = field(default=None)

    def __call__(
        self,
        obj: Model | None = None,
        *,
        payload: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
        immediate: bool = False,
    ) -> Any:
        """Fire: write down that it happened, in the caller's transaction.

        Args:
            obj: what it happened to; an instance of the trigger's model.
            payload: JSON object, readable as ``trigger.…``; has to fit ``payload_schema``.
            state: start state of the runs that this starts.
            immediate: match and execute now, in a savepoint, instead of after the commit.

        Returns:
            The :class:`flowcontrol.models.Firing`; with ``immediate`` its ``results`` are there.

        Raises:
            ConfigError: the payload does not fit. Whatever flows do raises nothing.
            TypeError: ``obj`` is not what the trigger is about.
        """
        if obj is not None:
            self._checked(obj)
        self._check_payload(payload)
        return _fire(self, obj, payload=payload, state=state, immediate=immediate)

    def many(
        self,
        objects: Iterable[Model],
        *,
        payload: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> int:
        """Fire for each of ``objects``, in batches; how many there were.

        Raises what firing for one raises; then nothing of its batch is written.
        """
        self._check_payload(payload)
        return _fire_many(self, map(self._checked, objects), payload=payload, state=state)

    def _checked(self, obj: Model) -> Model:
        model = self.get_model()
        if model is not None and not isinstance(obj, model):
            raise TypeError(
                f"Trigger {self.name!r} is about {model._meta.label}, not {type(obj).__name__}."
            )
        return obj

    def _check_payload(self, payload: Mapping[str, Any] | None) -> None:
        if self.payload_schema is None:
            return
        if problems := find_value_problems(self.payload_schema, dict(payload or {})):
            told = "; ".join(f"{place(problem.path)}: {problem.message}" for problem in problems)
            raise ConfigError(f"Payload of trigger {self.name!r}: {told}", problems)

    def get_model(self) -> type[Model] | None:
        return apps.get_model(self.model) if isinstance(self.model, str) else self.model


triggers: Registry[TriggerType] = Registry("trigger")

OBJECT_SAVED: Final = "flowcontrol.object_saved"
"""The trigger that fires when an object of ``FLOWCONTROL_WATCHED_MODELS`` has been saved."""


def _not_ready(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("Triggers cannot fire before Django has loaded flowcontrol.")


_fire: Callable[..., Any] = _not_ready
_fire_many: Callable[..., int] = _not_ready


def fire_with(fire: Callable[..., Any], fire_many: Callable[..., int]) -> None:
    """Say what a trigger does when it is called; :mod:`flowcontrol.firing` does, when loaded."""
    global _fire, _fire_many
    _fire, _fire_many = fire, fire_many


def register_trigger(
    name: str,
    model: type[Model] | str | None = None,
    label: _StrOrPromise = "",
    payload_schema: Mapping[str, Any] | None = None,
) -> TriggerType:
    """Declare an event by name; the return value is called when it happens.

    Args:
        name: stable name such as ``"shop.order_paid"``.
        model: class or ``"app_label.Model"`` of the object it happens to; none: no object.
        label: what people read.
        payload_schema: JSON Schema of the data that comes with it.

    Raises:
        RegistrationError: the name is taken, or the schema is none.
    """
    if not name or len(name) > LONGEST_TRIGGER:
        raise RegistrationError(
            f"The name of a trigger has 1 to {LONGEST_TRIGGER} characters, unlike {name!r}."
        )
    if payload_schema is not None:
        try:
            check_schema(payload_schema)
        except ValueError as error:
            raise RegistrationError(f"Payload schema of trigger {name!r}: {error}") from error
    trigger = TriggerType(name, model, label or name, payload_schema)
    triggers.add(name, trigger)
    return trigger


def register_trigger_as_signal_handler(
    signal: Signal,
    name: str,
    *,
    sender: type[Model] | str,
    label: _StrOrPromise = "",
    when: Callable[..., bool] | None = None,
    payload: Callable[..., Mapping[str, Any]] | None = None,
    payload_schema: Mapping[str, Any] | None = None,
) -> TriggerType:
    """Declare a trigger that fires whenever ``signal`` is sent for an instance of ``sender``.

    Args:
        signal: a signal with an ``instance``, such as ``post_save``.
        name: of the trigger.
        sender: the model, as class or ``"app_label.Model"``.
        when: gets the signal's keyword arguments (``instance`` among them) and says whether this
            one counts; without it every one does.
        payload: gets the same arguments and gives the data that comes with the event.
        payload_schema: JSON Schema of that data.
    """
    trigger = register_trigger(name, sender, label, payload_schema)

    def fire(sender: Any, instance: Model, **kwargs: Any) -> None:
        if kwargs.get("raw"):
            return  # a fixture is being loaded, and what it refers to may not be there yet
        if when is None or when(sender=sender, instance=instance, **kwargs):
            data = payload(sender=sender, instance=instance, **kwargs) if payload else None
            trigger(instance, payload=data)

    def connect(model: type[Model]) -> None:
        # Not weak: nothing else refers to the handler, it would vanish at once.
        signal.connect(fire, sender=model, weak=False, dispatch_uid=f"flowcontrol:{name}")

    if isinstance(sender, str):
        app_label, _, model_name = sender.partition(".")
        apps.lazy_model_operation(connect, (app_label, model_name.lower()))
    else:
        connect(sender)
    return trigger
