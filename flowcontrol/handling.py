"""Errors that the flow itself takes care of: a row's policy, or an On error around it.

A policy (``on_error`` of a row) is a JSON object::

    {"then": "continue", "errors": ["SMTPException"], "save_as": "mail_error"}

``then`` is ``fail`` (stop here for a person, even inside a Try), ``continue`` (with the row after
it), ``leave`` or ``break`` (as those rows do). ``errors`` names the classes it is for, by default
all; ``save_as`` is the state key that gets type, message and row of the error.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from flowcontrol.catching import catch
from flowcontrol.cursor import RETURN, Cursor
from flowcontrol.directives import Directive, FlowDirective
from flowcontrol.exceptions import ActionFailed, AuthorError, PoisonousRun
from flowcontrol.failures import clean, message_of, names_of, wait_before_retry
from flowcontrol.interpreter import advance
from flowcontrol.program import Node
from flowcontrol.slices import Slice

logger = logging.getLogger("flowcontrol")

_ANSWERS: Final[dict[str, Directive]] = {
    "continue": FlowDirective.CONTINUE,
    "leave": FlowDirective.LEAVE,
    "break": FlowDirective.BREAK,
}


def handled(piece: Slice, error: BaseException) -> Node | None:
    """Let the flow take an error: the row that failed, with the slice where the flow goes on.

    ``None``: nobody takes it, or it is tried again first. Author's mistakes are nobody's.
    """
    node = piece.program.nodes.get(piece.cursor.uid)
    if node is None or not is_for_the_flow(piece, node, error):
        return None
    names = _names(error)
    told: dict[str, Any] = {
        "type": error.kind if isinstance(error, ActionFailed) else type(error).__name__,
        "message": clean(message_of(error)),
        "row": node.uid,
        "names": sorted(names),
    }
    cursor = _place_after(piece, node, names, told)
    if cursor is None:
        return None
    logger.info("Run #%s goes on after an error. %s", piece.claim.id, told["message"])
    piece.cursor = cursor
    piece.note_error(node, told["message"])
    return node


def is_for_the_flow(piece: Slice, node: Node, error: BaseException) -> bool:
    if isinstance(error, AuthorError | PoisonousRun) or not isinstance(error, Exception):
        return False
    attempt = (piece.claim.attempts if piece.visit == piece.claim.visit else 0) + 1
    return wait_before_retry(error, node.payload.retry, attempt) is None


def _place_after(piece: Slice, node: Node, names: set[str], told: dict[str, Any]) -> Cursor | None:
    policy = node.payload.on_error
    if policy and (not policy.get("errors") or not names.isdisjoint(policy["errors"])):
        answer = _ANSWERS.get(policy.get("then", "fail"))
        if answer is None:
            return None
        if policy.get("save_as"):
            piece.state[policy["save_as"]] = {key: told[key] for key in ("type", "message", "row")}
        # As if its block was through: past the Else of an If whose condition failed.
        *around, top = piece.cursor.frames
        cursor = Cursor((*around, top._replace(phase=RETURN)))
        return advance(piece.program, cursor, answer)

    def handles(handler: Node) -> bool:
        config = handler.payload.config_for(piece.handle)
        return bool(handler.action.handles(names, told["message"], config))

    return catch(piece.program, piece.cursor, told, handles)


def _names(error: BaseException) -> set[str]:
    """The names by which the flow may speak of an error; of an earlier one if it stands for it."""
    names = names_of(error)
    return names.union(error.names) if isinstance(error, ActionFailed) else names
