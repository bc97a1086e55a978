"""How deep flows start one another: what is started or fired while a run executes is one deeper.

Told by the context and not by an argument, because what an action calls (a ``save()`` whose signal
fires a trigger) does not know the run it is part of.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_here: Final[ContextVar[int]] = ContextVar("flowcontrol_depth", default=0)


def depth_here() -> int:
    """The depth of what starts or fires here: 0, or one more than that of the run around it."""
    return _here.get()


@contextmanager
def below(depth: int) -> Iterator[None]:
    """In this block a run of ``depth`` executes."""
    token = _here.set(depth + 1)
    try:
        yield
    finally:
        _here.reset(token)
