"""Things an airline handles, with every kind of primary key that a run's object may have."""

from __future__ import annotations

import uuid

from django.db import models


class Parcel(models.Model):
    """Freight with an integer key."""

    label = models.CharField(max_length=100)
    weight = models.PositiveIntegerField(default=0)
    is_loaded = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.label


class Ticket(models.Model):
    """A passenger's ticket with a UUID as its key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    passenger = models.CharField(max_length=100)
    email = models.EmailField(blank=True)

    def __str__(self) -> str:
        return self.passenger


class Station(models.Model):
    """An airline's office at an airport; its key is a code, which may hold any character."""

    code = models.CharField(max_length=20, primary_key=True)
    name = models.CharField(max_length=100)
    email = models.EmailField(blank=True)

    def __str__(self) -> str:
        return self.name
