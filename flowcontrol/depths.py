"""How deep flows start one another: what is started or fired while a run executes is one deeper.

Told by the context and not by an argument, because what an action calls (a ``save()`` whose signal
fires a trigger) does not know the run it is part of.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

_here: Final[ContextVar[int]] = ContextVar("flowcontrol_depth", default=0)


def depth_here() -> int:
    """The depth of what starts or fires here: 0, or one more than that of the run around it."""
    return _here.get()


class below:  # noqa: N801 (reads as the preposition it stands for)
    """``with below(depth):`` a run of ``depth`` executes in this block."""

    __slots__ = ("_depth", "_token")

    def __init__(self, depth: int) -> None:
        self._depth = depth + 1

    def __enter__(self) -> None:
        self._token = _here.set(self._depth)

    def __exit__(self, *exception: object) -> None:
        _here.reset(self._token)
