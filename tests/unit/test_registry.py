"""Registering action types and triggers: strict, with readable refusals, restorable in tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.dispatch import Signal
from django.utils.translation import gettext_lazy

from flowcontrol import registry
from flowcontrol.base import BaseAction
from flowcontrol.exceptions import AuthorError, ConfigError, RegistrationError, UnknownAction
from flowcontrol.registry import (
    Registry,
    TriggerType,
    actions,
    register_action,
    register_trigger,
    register_trigger_as_signal_handler,
    triggers,
)
from tests.testapp.models import Parcel, Station


class Load(BaseAction):
    name = "test.load"
    verbose_name = "Load a parcel"
    effects = "none"

    def run(self, *, run: Any, obj: Any, config: Any) -> None:
        return None


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with actions.temporarily(), triggers.temporarily():
        yield


@pytest.fixture
def fired(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was fired, instead of firing it: trigger name, object, payload."""
    calls: list[tuple[Any, ...]] = []

    def fire(trigger: TriggerType, obj: Any, *, payload: Any, **_options: Any) -> None:
        calls.append((trigger.name, obj, payload))

    monkeypatch.setattr(registry, "_fire", fire)
    return calls


def refusal(**fields: Any) -> str:
    with pytest.raises(RegistrationError) as caught:
        register_action(type("Odd", (Load,), {"name": "test.odd", **fields}))
    return str(caught.value)


# --- actions ------------------------------------------------------------------------------------


def test_a_registered_action_is_found_by_its_name_and_by_its_old_names():
    @register_action
    class Stow(Load):
        name = "test.stow"
        aliases = ("test.put_away",)

    assert actions["test.stow"] is actions["test.put_away"] is Stow
    assert "test.put_away" in actions
    assert list(actions).count(Stow) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "has no name"),
        ({"name": "x" * 101}, "more than 100 characters"),
        ({"effects": None}, "does not declare what it touches"),
        ({"effects": "network"}, "does not declare what it touches"),
        ({"run": BaseAction.run}, "define run()"),
        ({"config_schema": {"type": "string"}}, "has to describe an object"),
        ({"config_schema": []}, "config_schema"),
        ({"retry": {"attempts": "3"}}, "retry: attempts: must be a whole number"),
    ],
)
def test_an_action_that_does_not_say_all_it_has_to_is_refused_when_registering(
    fields: dict[str, Any], message: str
):
    assert message in refusal(**fields)


def test_the_refusal_names_the_class_that_has_to_be_changed():
    assert f"{__name__}.Odd" in refusal(effects=None)


def test_an_action_without_declared_effects_is_refused():
    class Careless(BaseAction):
        name = "test.careless"

        def run(self, *, run: Any, obj: Any, config: Any) -> None:
            return None

    with pytest.raises(RegistrationError, match="set effects to"):
        register_action(Careless)


def test_a_translation_inside_a_schema_is_refused_with_where_it_belongs():
    schema = {"type": "object", "properties": {"to": {"title": gettext_lazy("To")}}}
    assert "labels" in refusal(config_schema=schema)


def test_a_name_is_given_once():
    register_action(Load)
    with pytest.raises(RegistrationError, match=r"named 'test\.load' already"):
        register_action(type("Other", (Load,), {}))


@pytest.mark.parametrize("aliases", [("test.load",), ("test.heave",)])
def test_an_old_name_may_not_be_another_types_name(aliases: tuple[str, ...]):
    register_action(type("First", (Load,), {"aliases": ("test.heave",)}))
    with pytest.raises(RegistrationError, match="already"):
        register_action(type("Second", (Load,), {"name": "test.second", "aliases": aliases}))
    assert "test.second" not in actions


def test_an_unknown_action_is_an_authors_mistake_that_names_what_was_meant():
    register_action(Load)
    with pytest.raises(UnknownAction, match=r"Unknown action 'test.laod'. Did you mean test.load"):
        actions["test.laod"]
    assert issubclass(UnknownAction, AuthorError)
    assert actions.find("test.laod") is None


def test_when_nothing_is_close_all_names_are_told():
    some: Registry[int] = Registry("thing")
    assert some.unknown("x") == "Unknown thing 'x'. Registered: none."
    some.add("shovel", 1)
    some.add("bucket", 2)
    assert some.unknown("x") == "Unknown thing 'x'. Registered: bucket, shovel."
    assert some.unknown("x", listed=False) == "Unknown thing 'x'."


def test_what_is_registered_temporarily_is_gone_afterwards_even_after_an_error():
    register_action(type("Before", (Load,), {"aliases": ("test.heave",)}))
    before, generation = actions["test.load"], actions.generation
    with suppress(ZeroDivisionError), actions.temporarily(Load):
        assert actions["test.load"] is Load
        assert "test.heave" not in actions
        raise ZeroDivisionError
    assert actions["test.load"] is actions["test.heave"] is before
    assert actions.generation > generation


def test_a_newer_edition_of_a_type_can_stand_in_for_it_with_its_old_names():
    register_action(type("Before", (Load,), {"aliases": ("test.heave",)}))
    newer = type("Newer", (Load,), {"aliases": ("test.heave", "test.hoist")})
    with actions.temporarily(newer):
        assert actions["test.heave"] is actions["test.hoist"] is newer


def test_the_sentence_of_a_type_is_its_name_until_it_says_more():
    assert Load().sentence({}) == "Load a parcel"
    assert type("Bare", (Load,), {"verbose_name": ""})().sentence({}) == "test.load"


def test_every_built_in_action_says_what_people_need_to_choose_it():
    built_in = [each for each in actions if each.__module__.startswith("flowcontrol.")]
    assert len(built_in) >= 15
    for action_type in built_in:
        assert str(action_type.verbose_name), action_type
        assert str(action_type.description), action_type
        assert str(action_type.group), action_type
        properties: Any = action_type.config_schema["properties"]
        # One of the choices of a property may have a label too: "if_past=continue".
        assert {label for label in action_type.labels if "=" not in label} == set(properties)
        assert {label.partition("=")[0] for label in action_type.labels} == set(properties)
        assert set(action_type.help_texts) <= set(properties), action_type


@pytest.mark.parametrize("action_type", list(actions), ids=lambda each: each.name)
def test_every_row_can_be_read_as_a_sentence_however_it_is_filled_in(action_type: type[BaseAction]):
    for value in ({"$expr": "n"}, None, 5, True, "x", "", [], [1], {}, {"a": {"b": 1}}):
        config = dict.fromkeys(action_type.config_schema["properties"], value)
        sentence = action_type().sentence(config)
        assert isinstance(sentence, str)
        assert sentence
    assert action_type().sentence({})


# --- triggers -----------------------------------------------------------------------------------


def test_firing_hands_over_the_object_and_the_payload(fired: list[Any]):
    loaded = register_trigger("test.loaded", model=Parcel, label="Loaded")
    crate = Parcel(pk=1)
    loaded(crate, payload={"hold": 2})
    assert fired == [("test.loaded", crate, {"hold": 2})]
    assert triggers["test.loaded"] is loaded


def test_an_instance_of_another_model_is_refused(fired: list[Any]):
    loaded = register_trigger("test.loaded", model="testapp.Parcel")
    with pytest.raises(TypeError, match=r"about testapp\.Parcel, not Station"):
        loaded(Station(pk="EWR"))
    assert fired == []


def test_a_payload_that_does_not_fit_is_refused_with_the_place(fired: list[Any]):
    schema = {
        "type": "object",
        "properties": {"hold": {"type": "integer"}},
        "required": ["hold"],
    }
    loaded = register_trigger("test.loaded", payload_schema=schema)
    for payload, message in (({"hold": "2"}, "hold: must be a whole"), (None, "hold: Required")):
        with pytest.raises(ConfigError, match=message):
            loaded(payload=payload)
    loaded(payload={"hold": 2})
    assert len(fired) == 1


@pytest.mark.parametrize(
    ("name", "schema", "message"),
    [
        ("", None, "1 to 200 characters"),
        ("x" * 201, None, "1 to 200 characters"),
        ("test.loaded", {"type": "integer"}, "Payload schema of trigger 'test.loaded'"),
    ],
)
def test_a_trigger_that_cannot_work_is_refused_when_registering(
    name: str, schema: Any, message: str
):
    with pytest.raises(RegistrationError, match=message):
        register_trigger(name, payload_schema=schema)


def test_a_trigger_is_declared_once():
    register_trigger("test.loaded")
    with pytest.raises(RegistrationError, match=r"a trigger named 'test\.loaded' already"):
        register_trigger("test.loaded")


@pytest.fixture
def weighed() -> Signal:
    """A signal of the test's own, so that no handler outlives it."""
    return Signal()


@pytest.mark.parametrize("sender", [Parcel, "testapp.Parcel", "testapp.parcel"])
def test_a_signal_fires_with_the_instance_not_with_its_class(
    weighed: Signal, sender: Any, fired: list[Any]
):
    register_trigger_as_signal_handler(weighed, "test.weighed", sender=sender)
    crate = Parcel(pk=1)
    weighed.send(sender=Parcel, instance=crate)
    weighed.send(sender=Station, instance=Station(pk="EWR"))
    assert fired == [("test.weighed", crate, None)]


def test_the_handler_of_a_signal_is_not_garbage_collected(weighed: Signal, fired: list[Any]):
    register_trigger_as_signal_handler(weighed, "test.weighed", sender=Parcel)
    gc.collect()
    weighed.send(sender=Parcel, instance=Parcel(pk=1))
    assert len(fired) == 1


def test_a_signal_counts_only_when_it_is_said_to(weighed: Signal, fired: list[Any]):
    register_trigger_as_signal_handler(
        weighed,
        "test.heavy",
        sender=Parcel,
        when=lambda instance, created, **kwargs: created and instance.weight > 30,
    )
    for weight, created in ((20, True), (40, True), (50, False)):
        weighed.send(sender=Parcel, instance=Parcel(weight=weight), created=created)
    assert [obj.weight for _name, obj, _payload in fired] == [40]
