"""Firing: an event becomes a row in the caller's transaction.

Firing never breaks the code that fired: whatever flows do with it afterwards ends up in the
firing's ``results``, not in an exception.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Final

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import models, transaction
from django.db.models.signals import post_save
from django.utils.translation import gettext_lazy as _

from flowcontrol import registry
from flowcontrol.conf import settings
from flowcontrol.depths import depth_here
from flowcontrol.dialect import run_connection
from flowcontrol.expressions import to_json
from flowcontrol.matching import Result, match_new, match_these
from flowcontrol.models import Firing, object_reference
from flowcontrol.registry import OBJECT_SAVED, TriggerType
from flowcontrol.sweeping import execute_runs
from flowcontrol.transactions import in_foreign_transaction
from flowcontrol.trials import in_trial

logger = logging.getLogger("flowcontrol")

BATCH: Final = 1000
"""Firings that are written, or matched after a commit, together."""


def fire(
    trigger: TriggerType,
    obj: models.Model | None = None,
    *,
    payload: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    immediate: bool = False,
) -> Firing:
    """Write down that ``trigger`` happened; see :meth:`TriggerType.__call__`.

    The row is the promise: if the process dies after the caller's COMMIT, the next sweep finds it.
    """
    now = settings.CLOCK()
    firing = _new_firing(trigger, obj, payload, state, now)
    is_matched_here = immediate and not in_trial()  # in one it will not have happened
    # One transaction: a sweep that saw the row before it is matched would match it as well. And a
    # savepoint in somebody else's, which stays usable if the database refuses the row.
    is_shielded = is_matched_here or run_connection().in_atomic_block
    with transaction.atomic() if is_shielded else nullcontext():
        firing.save(force_insert=True)
        if is_matched_here:
            _match_immediately(firing, now)
    if firing.rows_matched and not in_foreign_transaction():
        _match_again(firing, now)
    else:
        _match_after_commit([firing.pk])
    if immediate:
        _execute_touched(firing, now)
    return firing


def fire_many(
    trigger: TriggerType,
    objects: Iterable[models.Model],
    *,
    payload: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
) -> int:
    """Write down that ``trigger`` happened to each of ``objects``; how many there were."""
    now = settings.CLOCK()
    number, left = 0, iter(objects)
    while batch := list(islice(left, BATCH)):
        firings = [_new_firing(trigger, obj, payload, state, now) for obj in batch]
        with transaction.atomic():
            Firing.objects.bulk_create(firings)
        _match_after_commit([firing.pk for firing in firings])
        number += len(firings)
    return number


def trigger_flows(
    name: str,
    obj: models.Model | None = None,
    *,
    payload: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    immediate: bool = True,
) -> list[Result]:
    """Fire the trigger called ``name`` and tell what came of it.

    Returns:
        One entry per trigger row and woken run, see :class:`flowcontrol.models.Firing`; empty
        when ``immediate`` is false, because then it is matched after the commit.

    Raises:
        KeyError: no trigger of this name is registered. What flows do raises nothing.
    """
    found = registry.triggers.find(name)
    if found is None:
        raise KeyError(registry.triggers.unknown(name))
    firing = found(obj, payload=payload, state=state, immediate=immediate)
    results: list[Result] = firing.results
    return results


def _new_firing(
    trigger: TriggerType,
    obj: models.Model | None,
    payload: Mapping[str, Any] | None,
    state: Mapping[str, Any] | None,
    now: datetime,
) -> Firing:
    return Firing(
        name=trigger.name,
        payload=to_json(dict(payload or {}), where="the payload"),
        state=to_json(dict(state), where="the start state") if state is not None else None,
        at=now,
        depth=depth_here(),
        **object_reference(obj),
    )


def _match_immediately(firing: Firing, now: datetime) -> None:
    try:
        with transaction.atomic():
            match_new(firing, now)
    except Exception:
        logger.exception("Firing #%s is left to the next sweep.", firing.pk)
        firing.results, firing.rows_matched = [], False


def _match_again(firing: Firing, now: datetime) -> None:
    """Look once more for what waits for it, now that it is committed; see :func:`match`."""
    try:
        match_these([firing.pk], now)
        firing.refresh_from_db(fields=["results", "matched_at"])
    except Exception:
        logger.exception("Firing #%s is left to the next sweep.", firing.pk)


def _execute_touched(firing: Firing, now: datetime) -> None:
    """Execute here and now what the firing started or woke.

    In a caller's transaction that happens in a savepoint, so that it stays usable whatever fails.
    """
    touched = [result["run"] for result in firing.results if result.get("run")]
    try:
        with transaction.atomic() if in_foreign_transaction() else nullcontext():
            execute_runs(touched, lambda: now)
    except Exception:
        logger.exception("What firing #%s started is left to the next sweep.", firing.pk)


def _match_after_commit(pks: list[int]) -> None:
    """Match these firings when the open transaction has committed, with all others of it.

    One hook for the whole transaction: ten thousand objects that are saved in it fire ten
    thousand times, and matching them one by one would cost as many transactions.
    """
    connection = run_connection()
    for entry in connection.run_on_commit:
        hook: Any = entry[1]
        if isinstance(hook, partial) and hook.func is _match_committed:
            hook.args[0].extend(pks)
            return
    transaction.on_commit(partial(_match_committed, list(pks)), using=connection.alias, robust=True)


def _match_committed(pks: list[int]) -> None:
    now = settings.CLOCK()
    for start in range(0, len(pks), BATCH):
        try:
            match_these(pks[start : start + BATCH], now)
        except Exception:
            logger.exception("%s firing(s) are left to the next sweep.", len(pks) - start)
            return


registry.fire_with(fire, fire_many)


# --- objects of watched models ---------------------------------------------------------------


object_saved: Final = registry.register_trigger(OBJECT_SAVED, label=_("An object was saved"))


def watch_models() -> None:
    """Fire :data:`object_saved` for the models of ``FLOWCONTROL_WATCHED_MODELS``, from now on.

    Raises:
        ImproperlyConfigured: one of them is not installed.
    """
    for label in settings.WATCHED_MODELS:
        try:
            model = apps.get_model(label)
        except (LookupError, ValueError) as error:
            raise ImproperlyConfigured(f"FLOWCONTROL_WATCHED_MODELS: {error}") from error
        post_save.connect(_tell_saved, sender=model, dispatch_uid=f"flowcontrol:saved:{label}")


def _tell_saved(instance: models.Model, raw: bool = False, **_kwargs: Any) -> None:
    if not raw:  # a fixture is being loaded, and what it refers to may not be there yet
        object_saved(instance)


watch_models()
