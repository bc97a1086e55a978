"""The interpreter: a position and a directive give the next position. Nothing else happens here."""

from __future__ import annotations

from typing import Any, assert_never

from flowcontrol.cursor import ABORTED, COMPLETE, RESUME, RETURN, RUN, Cursor, Frame
from flowcontrol.directives import (
    UNCHANGED,
    Abort,
    Break,
    Continue,
    Directive,
    Enter,
    Leave,
    Suspend,
    SuspendAndRepeat,
    Target,
)
from flowcontrol.program import Node, Program


def advance(program: Program, cursor: Cursor, directive: Directive) -> Cursor:
    """The position after the row on top of ``cursor`` has answered ``directive``."""
    top = cursor.frames[-1]
    around = cursor.frames[:-1]
    node = program[top.uid]
    match directive:
        case Continue():
            return _next(node, around, node.following if top.phase == RUN else node.following_block)
        case Enter(memo, names):
            turns = top.turns + 1 if top.phase == RETURN and node.has_budget else top.turns
            block = Frame(top.uid, RETURN, memo, names, turns)
            if node.first_child is None:
                return Cursor((*around, block))
            return Cursor((*around, block, node.first_child.entry))
        case Leave(target):
            outer = _out_to(program, around, target)
            if held := through_always(program, cursor, len(outer), ["leave", target]):
                return held
            return Cursor(outer) if outer else COMPLETE
        case Break(target):
            outer = _out_to(program, around, target)
            if held := through_always(program, cursor, len(outer), ["break", target]):
                return held
            if not outer:
                return COMPLETE
            block_node = program[outer[-1].uid]
            return _next(block_node, outer[:-1], block_node.following_block)
        case Abort(reason):
            return through_always(program, cursor, 0, ["abort", reason]) or ABORTED
        case Suspend():
            return Cursor((*around, top._replace(phase=RESUME, turns=0)))
        case SuspendAndRepeat(memo=memo):
            return Cursor((*around, top if memo is UNCHANGED else top._replace(memo=memo)))
        case _:
            assert_never(directive)


def through_always(program: Program, cursor: Cursor, depth: int, then: Any) -> Cursor | None:
    """The innermost Always on the way out to the first ``depth`` frames, if there is one.

    It finds ``then`` as its memo, and goes on with it when its own block is through.
    """
    for index in range(len(cursor.frames) - 2, depth - 1, -1):
        always = program[cursor.frames[index].uid].always
        if always is not None:
            return Cursor((*cursor.frames[:index], Frame(always.uid, RUN, then)))
    return None


def _next(node: Node, around: tuple[Frame, ...], following: Node | None) -> Cursor:
    """Go to ``following``; at the end of a block the frame around it is asked again."""
    if following is not None:
        return Cursor((*around, following.entry))
    return Cursor(around) if around else COMPLETE


def _out_to(program: Program, around: tuple[Frame, ...], target: Target) -> tuple[Frame, ...]:
    """The open blocks up to and with the target; empty when there is none to go to."""
    if target == "loop":
        while around and not program[around[-1].uid].is_loop:
            around = around[:-1]
    return around
