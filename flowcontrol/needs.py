"""What the runs of a batch need, read with a query each: programs, objects, payloads, settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Any

from django.db import models
from django.utils import timezone

from flowcontrol import programs
from flowcontrol.claiming import Claim
from flowcontrol.conf import settings
from flowcontrol.exceptions import AuthorError
from flowcontrol.models import Firing, load_objects
from flowcontrol.models.references import Reference
from flowcontrol.program import Program
from flowcontrol.programs import Loaded


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that bound a slice, read once for a batch."""

    history: str
    kept_steps: int
    hot_loops: int
    steps: int
    state_size: int

    @classmethod
    def from_settings(cls) -> Limits:
        return cls(
            history=settings.HISTORY,
            kept_steps=settings.HISTORY_STEPS if settings.HISTORY == "steps" else 0,
            hot_loops=settings.MAX_HOT_LOOPS,
            steps=settings.STEP_BUDGET,
            state_size=settings.MAX_STATE_BYTES,
        )


@dataclass(slots=True)
class Needs:
    """What the runs of a batch need, read with a query each."""

    programs: dict[int, Loaded]
    objects: dict[Reference, models.Model]
    payloads: dict[int | None, Any]
    now: datetime
    today: date
    limits: Limits
    queue: str | None = None
    """The queue this worker serves; ``None``: all of them."""
    zone: tzinfo = field(default_factory=timezone.get_current_timezone)
    """Where ``today`` is today."""

    def program_for(self, claim: Claim) -> Program:
        """The program of a claimed run.

        Raises:
            AuthorError: its document cannot be compiled.
        """
        program = self.programs[claim.version_id].program
        if isinstance(program, AuthorError):
            raise program
        return program


def read_needs(
    claims: Sequence[Claim],
    now: datetime,
    queue: str | None = None,
    load: Callable[[Iterable[int]], dict[int, Loaded]] = programs.load,
) -> Needs:
    """Programs, as ``load`` gives them by version, objects and trigger payloads for ``claims``."""
    firing_ids = {claim.firing_id for claim in claims if claim.firing_id is not None}
    payloads: dict[int | None, Any] = {}
    if firing_ids:
        firings = Firing.objects.filter(pk__in=firing_ids).order_by()
        payloads.update(firings.values_list("pk", "payload"))
    return Needs(
        programs=load(claim.version_id for claim in claims),
        objects=load_objects((claim.content_type_id, claim.object_id) for claim in claims),
        payloads=payloads,
        now=now,
        today=timezone.localtime(now).date(),
        limits=Limits.from_settings(),
        queue=queue,
    )
