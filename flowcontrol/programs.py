"""Compiled programs, one per document and process.

The cache is keyed by the document's checksum, not by the version's id: in a test that is rolled
back, and on a database that was restored, an id can come to mean another document.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.core.signals import setting_changed
from django.dispatch import receiver

from flowcontrol import registry
from flowcontrol.compiling import compile_document
from flowcontrol.documents import read_document
from flowcontrol.exceptions import AuthorError
from flowcontrol.models import FlowVersion
from flowcontrol.program import Program

MOST_PROGRAMS: Final = 1000

_cache: OrderedDict[tuple[str, int], Program | AuthorError] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version ready to execute: its flow's short name and its program, or why there is none."""

    flow: str
    program: Program | AuthorError


def load(version_ids: Iterable[int]) -> dict[int, Loaded]:
    """The programs of versions by id: one query, two when some were not compiled yet."""
    generation = registry.actions.generation
    found: dict[int, Loaded] = {}
    missing: dict[int, tuple[str, str]] = {}
    rows = FlowVersion.objects.filter(pk__in=set(version_ids)).order_by()
    for pk, checksum, slug in rows.values_list("pk", "checksum", "flow__slug"):
        program = _cache.get((checksum, generation))
        if program is None:
            missing[pk] = (checksum, slug)
        else:
            found[pk] = Loaded(slug, program)
    if missing:
        documents = FlowVersion.objects.filter(pk__in=missing).order_by()
        for pk, document in documents.values_list("pk", "document"):
            checksum, slug = missing[pk]
            found[pk] = Loaded(slug, _compiled((checksum, generation), document))
    return found


def load_one(version: FlowVersion) -> Program:
    """The program of one version.

    Raises:
        AuthorError: the document cannot be compiled at all.
    """
    program = load([version.pk])[version.pk].program
    if isinstance(program, AuthorError):
        raise program
    return program


def _compiled(key: tuple[str, int], document: Any) -> Program | AuthorError:
    program: Program | AuthorError
    try:
        program = compile_document(read_document(document))
    except AuthorError as error:
        program = error
    with _lock:
        _cache[key] = program
        while len(_cache) > MOST_PROGRAMS:
            _cache.popitem(last=False)
    return program


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting.startswith("FLOWCONTROL_"):
        with _lock:
            _cache.clear()
