"""Where a run goes on after a row has failed: the nearest On error that takes it.

``failed`` is an incident, not an end: a run whose error nobody takes stays at the row that failed,
with its blocks open, so that a person can repair it. Only when there is a handler further out are
the blocks on the way left, each through its Always.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowcontrol.cursor import RUN, Cursor, Frame
from flowcontrol.interpreter import through_always
from flowcontrol.program import Node, Program


def catch(
    program: Program, cursor: Cursor, error: Any, handles: Callable[[Node], bool]
) -> Cursor | None:
    """The position at the row that handles an error of the row on top; ``None``: nobody does.

    Args:
        error: what the handler finds as its memo (JSON).
        handles: whether a handler takes this error; asked from the inside out.
    """
    for index in range(len(cursor.frames) - 2, -1, -1):
        for handler in program[cursor.frames[index].uid].handlers:
            if handles(handler):
                # Not through the Always of this very block: it follows the handler.
                held = through_always(program, cursor, index + 1, ["error", error])
                return held or Cursor((*cursor.frames[:index], Frame(handler.uid, RUN, error)))
    return None
