"""Where a run stands: a stack of frames, as a value and as versioned JSON.

The format, one frame a row from the outermost open block to the row that is next::

    {"format": 1, "frames": [{"at": "<uid>", "phase": "return", "memo": {"index": 2},
                              "names": {"i": 2}, "turns": 2}, {"at": "<uid>"}]}

``phase`` is left out for ``run``, the others where they are empty. A run that has come to its end
has no frames and tells how: ``{"format": 1, "frames": [], "ended": "complete"}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from flowcontrol.exceptions import DocumentError

FORMAT: Final = 1

Phase = Literal["run", "return", "resume"]
"""``run``: the row is next. ``return``: its block is open, and it is asked when the rows inside
are through. ``resume``: it suspended the run; the next row follows when the run is woken."""

RUN: Final = "run"
RETURN: Final = "return"
RESUME: Final = "resume"

Ended = Literal["complete", "aborted"]


class Frame(NamedTuple):
    """One row on the way from the outside to where the run stands.

    ``memo`` and ``names`` belong to the open block (see :class:`flowcontrol.directives.Enter`);
    ``turns`` counts how often it asked for a further round since the run last parked. ``progress``
    is how far the row says it is: ``[done, of how many]``, or ``[done, null]``.
    """

    uid: str
    phase: Phase = RUN
    memo: Any = None
    names: Mapping[str, Any] | None = None
    turns: int = 0
    progress: tuple[int, int | None] | None = None

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"at": self.uid}
        if self.phase != RUN:
            data["phase"] = self.phase
        if self.memo is not None:
            data["memo"] = self.memo
        if self.names is not None:
            data["names"] = dict(self.names)
        if self.turns:
            data["turns"] = self.turns
        if self.progress:
            data["progress"] = list(self.progress)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Frame:
        return cls(
            data["at"],
            data.get("phase", RUN),
            data.get("memo"),
            data.get("names"),
            data.get("turns", 0),
            (progress[0], progress[1]) if (progress := data.get("progress")) else None,
        )


class Cursor(NamedTuple):
    """The whole position: open blocks from the outside in, then the row that is next.

    ``ended`` is set exactly when there are no frames.
    """

    frames: tuple[Frame, ...]
    ended: Ended | None = None

    @property
    def uid(self) -> str:
        """The row where the run stands; empty when it has ended."""
        return self.frames[-1].uid if self.frames else ""

    def parked(self) -> Cursor:
        """The same position after the run let go of its worker: loops may turn again."""
        if any(frame.turns for frame in self.frames):
            return Cursor(tuple(frame._replace(turns=0) for frame in self.frames), self.ended)
        return self

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "format": FORMAT,
            "frames": [frame.to_json() for frame in self.frames],
        }
        if self.ended:
            data["ended"] = self.ended
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cursor:
        """Read what :meth:`to_json` wrote.

        Raises:
            DocumentError: a format that this release does not know, or no cursor at all.
        """
        if data.get("format") != FORMAT:
            raise DocumentError(
                f"The position of this run has format {data.get('format')!r}; this release of "
                f"flowcontrol reads format {FORMAT}."
            )
        try:
            frames = tuple([Frame.from_json(frame) for frame in data["frames"]])
        except (KeyError, TypeError, AttributeError) as error:
            raise DocumentError(
                f"The position of this run cannot be read: {data!r:.200}"
            ) from error
        ended = data.get("ended")
        if bool(frames) == bool(ended):
            raise DocumentError(
                f"This position neither stands at a row nor has ended: {data!r:.200}"
            )
        return cls(frames, ended)


COMPLETE: Final = Cursor((), "complete")
ABORTED: Final = Cursor((), "aborted")
