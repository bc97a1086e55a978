"""Taking a lock before reading what is about to be changed, on both databases."""

from __future__ import annotations

from typing import TypeVar

from django.db import connections, models

M = TypeVar("M", bound=models.Model)


def begin_writing(queryset: models.QuerySet[M]) -> None:
    """On SQLite, take the database's one write lock now; elsewhere nothing.

    SQLite has no row locks and Django drops ``FOR UPDATE`` there silently. A transaction that
    reads first and writes later fails with "database is locked" when another one wrote in
    between; one that begins with a write waits its turn instead. Changing no row is enough.
    """
    if connections[queryset.db].vendor == "sqlite":
        key = queryset.model._meta.pk.attname
        queryset.model._base_manager.using(queryset.db).filter(pk__isnull=True).order_by().update(
            **{key: models.F(key)}
        )


def lock_rows(queryset: models.QuerySet[M], *, skip_locked: bool = False) -> models.QuerySet[M]:
    """``queryset``, whose rows stay locked until the open transaction ends.

    The locks leave the keys alone, so inserting rows that point to these is not held up.
    """
    begin_writing(queryset)
    if connections[queryset.db].vendor == "sqlite":
        return queryset
    return queryset.select_for_update(no_key=True, skip_locked=skip_locked, of=("self",))
