"""Walking over database rows by key, a page at a time, so that any number of them is little work.

Rows come in the order of their primary keys, which is stable: a row that is added or deleted
meanwhile makes no other one come twice or be left out. Only a page is in memory, and a walk goes on
after any row that is named by its key, however long ago that was.
"""

from __future__ import annotations

from typing import Any, Final

from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager
from django.db.models.query import ModelIterable

from flowcontrol.exceptions import AuthorError
from flowcontrol.expressions import to_json

PAGE: Final = 100
"""Rows that are read at once."""


class Page:
    """Rows of the database that lie ready, in the order of their keys."""

    __slots__ = ("_places", "rows")

    def __init__(self, rows: list[Model]) -> None:
        self.rows = rows
        self._places = {key_of(row): place for place, row in enumerate(rows)}

    def after(self, key: Any) -> list[Model]:
        """The rows behind the one with ``key``; none if it is not on this page."""
        place = self._places.get(key)
        return [] if place is None else self.rows[place + 1 : place + 3]

    def find(self, label: str, key: Any) -> Model | None:
        place = self._places.get(key)
        if place is None or label_of(self.rows[place]) != label:
            return None
        return self.rows[place]


def as_rows(source: Any) -> QuerySet[Model] | None:
    """The rows that ``source`` stands for, if it is a queryset or a relation; else ``None``."""
    rows = source.all() if isinstance(source, BaseManager) else source
    # Django has no public word for "gives instances", which values() and values_list() do not.
    if isinstance(rows, QuerySet) and rows._iterable_class is ModelIterable:  # noqa: SLF001
        return rows
    return None


def as_list(source: Any, where: str) -> list[Any]:
    """The values to walk over as a JSON list; nothing is an empty one.

    Raises:
        AuthorError: it is no list, or there is something in it that is no JSON.
    """
    if source is None:
        return []
    if isinstance(source, QuerySet | set | frozenset | tuple | range):
        source = list(source)
    if not isinstance(source, list):
        raise AuthorError(
            f"{where} gives {type(source).__name__} {source!r:.100}; only a list, a relation or a "
            f"queryset can be walked over."
        )
    values: Any = to_json(source, where=where)
    return list(values)


def page_after(rows: QuerySet[Model], key: Any, size: int = PAGE) -> list[Model]:
    """The next rows after the one with primary key ``key``; ``None``: the first.

    Raises:
        AuthorError: the queryset is one that cannot be walked by key: sliced, or combined.
    """
    if rows.query.is_sliced or rows.query.combinator:
        raise AuthorError(
            f"Rows of {rows.model._meta.label} that are sliced or combined cannot be walked over."
        )
    rows = rows.order_by("pk")
    return list((rows if key is None else rows.filter(pk__gt=key))[:size])


def key_of(row: Model) -> Any:
    """The primary key as JSON."""
    return to_json(row.pk, where="the primary key")


def label_of(row: Model) -> str:
    """``app_label.model`` of the row's concrete class."""
    return row._meta.label_lower
