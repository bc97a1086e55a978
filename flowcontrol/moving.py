"""Moving runs to another version of their flow, by the ids of the rows where they stand.

A run goes on where it is if all rows that it is inside are there, one inside the other, in the new
version too; its loops keep count. Where they are not, somebody has to say at which row it goes on.
Nobody is moved while a worker is at it, and each move is on record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import models, transaction
from django.utils.translation import gettext as _

from flowcontrol import programs
from flowcontrol.conf import settings
from flowcontrol.cursor import Cursor, Frame
from flowcontrol.documents import JSONObject, read_document, walk
from flowcontrol.exceptions import AuthorError, DocumentError
from flowcontrol.models import EventKind, FlowRun, FlowVersion, RunWait, Status
from flowcontrol.models.locks import lock_rows
from flowcontrol.models.runs import FlowRunQuerySet
from flowcontrol.operating import move_to_row
from flowcontrol.program import Program
from flowcontrol.recording import record, withdraw_tasks

CHUNK: Final = 500

_STAYS_AS_IT_IS: Final = frozenset({Status.QUEUED, Status.PAUSED, Status.FAILED})
"""Runs that go to another row and still wait for somebody, or for room."""


@dataclass(slots=True)
class Stranded:
    """Runs that stand at one row and cannot go on there in the new version.

    ``row`` is the row in the version they follow, ``None`` if nobody knows any more;
    ``suggestion`` the same row, where the new version has it in another place.
    """

    uid: str
    row: JSONObject | None
    suggestion: str
    runs: list[int] = field(default_factory=list)


@dataclass(slots=True)
class MovePlan:
    """What moving runs to ``version`` would mean, by their ids.

    ``fitting`` go on where they stand, ``stranded`` need a row to go to, ``busy`` are being
    executed at this moment, ``foreign`` are about objects of another type than the version.
    """

    version: FlowVersion
    fitting: list[int] = field(default_factory=list)
    stranded: list[Stranded] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)

    @property
    def stranded_runs(self) -> int:
        return sum(len(each.runs) for each in self.stranded)

    def __len__(self) -> int:
        return len(self.fitting) + self.stranded_runs + len(self.busy) + len(self.foreign)


@dataclass(slots=True)
class Moved:
    """What came of it: the runs that were moved, and why others were not."""

    runs: list[int] = field(default_factory=list)
    stayed: dict[int, str] = field(default_factory=dict)


def movable_runs(version: FlowVersion) -> FlowRunQuerySet:
    """The open runs of the flow that follow another version."""
    runs: FlowRunQuerySet = FlowRun.objects.filter(flow=version.flow_id).exclude(version=version)
    return runs.open()


def plan_move(version: FlowVersion, runs: Iterable[int] | None = None) -> MovePlan:
    """What would become of ``runs`` (their ids; all of :func:`movable_runs`) at ``version``.

    Raises:
        AuthorError: the version cannot be compiled at all.
    """
    way, plan = _Way(version), MovePlan(version)
    found: dict[str, Stranded] = {}
    chosen = movable_runs(version)
    if runs is not None:
        chosen = chosen.filter(pk__in=list(runs))
    for run in _each(chosen):
        if run.status == Status.RUNNING:
            plan.busy.append(run.pk)
        elif not way.is_about(run):
            plan.foreign.append(run.pk)
        elif way.fits(run):
            plan.fitting.append(run.pk)
        else:
            uid = run.action_uid or _uid(run)
            if uid not in found:
                found[uid] = Stranded(uid, way.row_before(run, uid), way.suggestion(uid))
            found[uid].runs.append(run.pk)
    plan.stranded = list(found.values())
    return plan


def move_runs_to_version(
    version: FlowVersion,
    runs: Iterable[int],
    *,
    where: Mapping[str, str] | None = None,
    user: Any = None,
    reason: str = "",
    now: datetime | None = None,
) -> Moved:
    """Let runs follow ``version`` from now on, each in a transaction of its own.

    Args:
        version: of the flow of all these runs; others are left alone.
        runs: their ids.
        where: for runs whose row is gone: by the id of the row where they stand, the id of the
            row of ``version`` where they go on. Runs at a row that is not named stay.
        user, reason: for the record.

    Raises:
        AuthorError: the version cannot be compiled, or has no such row to go to.
    """
    now = now or settings.CLOCK()
    way, moved, where = _Way(version), Moved(), dict(where or {})
    for target in filter(None, where.values()):
        way.program.cursor_at(target)
    for pk in runs:
        with transaction.atomic():
            told = _move(way, pk, where, now, user, reason)
        if told:
            moved.stayed[pk] = told
        else:
            moved.runs.append(pk)
    return moved


def _move(
    way: _Way, pk: int, where: Mapping[str, str], now: datetime, user: Any, reason: str
) -> str:
    """Move one run; why it stays, or nothing."""
    # Locked, so that no worker claims it between the look at where it stands and the write.
    found = movable_runs(way.version).filter(pk=pk)
    run = lock_rows(found).select_related("content_type").first()
    if run is None:
        return _("It is over, or follows this version already.")
    if run.status == Status.RUNNING:
        return _("A worker is executing it. Try again in a moment.")
    if not way.is_about(run):
        return _("It is about another type of object than this version.")
    old, uid = way.version_of(run), run.action_uid or _uid(run)
    detail = {"did": "change version", "version_before": old.number, "version": way.version.number}
    if way.fits(run):
        # Where it stands, what it waits for and when it is due stay as they are.
        FlowRun.objects.filter(pk=pk, status=run.status).update(version=way.version)
    elif target := where.get(uid, ""):
        if (cursor := way.cursor_at(target, run)) is None:
            return _("It is a branch, and can only go to a row inside that branch.")
        _send(way, run, cursor, now)
        detail |= {"from": uid, "to": target}
    else:
        return _("Its row is not in this version, and no other row was named.")
    record(pk, EventKind.OPERATED, now, user=user, reason=reason, detail=detail)
    return ""


def _send(way: _Way, run: FlowRun, cursor: Cursor, now: datetime) -> None:
    runs = FlowRun.objects.filter(pk=run.pk)
    if run.status in _STAYS_AS_IT_IS:
        RunWait.objects.filter(run=run).delete()
        withdraw_tasks(run.pk)
        runs.filter(status=run.status).update(
            version=way.version,
            cursor=cursor.to_json(),
            action_uid=cursor.uid,
            visit=models.F("visit") + 1,
            due=now,
            wakeup=None,
            attempts=0,
            rescues=0,
        )
    else:
        run.version = way.version
        move_to_row(run, cursor.uid, now, version=way.version)
        runs.update(cursor=cursor.to_json())


class _Way:
    """The version to which runs move, and what is asked of it for each."""

    def __init__(self, version: FlowVersion) -> None:
        self.version = version
        self.program: Program = programs.load_one(version)
        self._content_type = version.document.get("content_type")
        self._before: dict[int, dict[str, JSONObject]] = {}
        self._versions: dict[int, FlowVersion] = {}

    def version_of(self, run: FlowRun) -> FlowVersion:
        """The version that the run follows: there are few, with large documents, read once."""
        if run.version_id not in self._versions:
            self._versions[run.version_id] = run.version
        return self._versions[run.version_id]

    def is_about(self, run: FlowRun) -> bool:
        """Whether the run's object is of the type that the version is about."""
        if self._content_type is None or run.content_type is None:
            return True
        return bool(self._content_type == f"{run.content_type.app_label}.{run.content_type.model}")

    def fits(self, run: FlowRun) -> bool:
        """Whether every row that the run is inside is there, in the same order."""
        frames = _frames(run)
        return frames is not None and len(self._kept(run, frames)) == len(frames)

    def _kept(self, run: FlowRun, frames: Sequence[Frame]) -> list[Frame]:
        """The frames, from the outside in, that mean the same in the new version."""
        rows, kept, parent = self._rows_before(run), list[Frame](), None
        for frame in frames:
            node = self.program.nodes.get(frame.uid)
            was = rows.get(frame.uid)
            if node is None or was is None or node.name != was["action"]:
                break
            # A branch that runs by itself begins somewhere inside.
            if node.parent is not parent and (kept or frame.uid != run.root_uid):
                break
            kept.append(frame)
            parent = node
        return kept

    def cursor_at(self, target: str, run: FlowRun) -> Cursor | None:
        """The position at a row; blocks around it that the run is inside already stay open.

        ``None``: the run executes a branch, and the row is outside it.
        """
        fresh: Cursor = self.program.cursor_at(target)
        frames = list(fresh.frames)
        if run.root_uid:
            uids = [frame.uid for frame in frames]
            if run.root_uid not in uids:
                return None
            frames = frames[uids.index(run.root_uid) :]
        for number, frame in enumerate(self._kept(run, _frames(run) or ())):
            if number >= len(frames) - 1 or frames[number].uid != frame.uid:
                break
            frames[number] = frame
        return Cursor(tuple(frames))

    def suggestion(self, uid: str) -> str:
        """The same row, if the version has it at all."""
        return uid if uid in self.program.nodes else ""

    def row_before(self, run: FlowRun, uid: str) -> JSONObject | None:
        """The row in the version that the run follows."""
        return self._rows_before(run).get(uid)

    def _rows_before(self, run: FlowRun) -> dict[str, JSONObject]:
        if run.version_id not in self._before:
            try:
                document = read_document(self.version_of(run).document)
            except DocumentError:
                document = {"actions": []}
            rows = {placed.row["uid"]: placed.row for placed in walk(document)}
            self._before[run.version_id] = rows
        return self._before[run.version_id]


def _each(runs: FlowRunQuerySet) -> Iterator[FlowRun]:
    chosen = runs.select_related("content_type").defer("state", "wakeup").order_by("pk")
    yield from chosen.iterator(chunk_size=CHUNK)


def _frames(run: FlowRun) -> Sequence[Frame] | None:
    """Where a run stands; nothing if it has not begun, ``None`` if nobody can read it."""
    if not run.cursor:
        return ()
    try:
        return Cursor.from_json(run.cursor).frames
    except (AuthorError, KeyError, TypeError):
        return None


def _uid(run: FlowRun) -> str:
    frames = _frames(run)
    return frames[-1].uid if frames else ""
