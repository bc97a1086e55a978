"""A version compiled for execution: nodes with links, so that stepping needs no search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowcontrol.cursor import RETURN, Cursor, Frame
from flowcontrol.directives import Directive
from flowcontrol.exceptions import AuthorError


class Ask(Protocol):
    """What the interpreter's caller does with a node: ask it what should happen."""

    def __call__(self, *, run: Any, obj: Any, config: Mapping[str, Any]) -> Directive | None: ...


@dataclass(slots=True, eq=False)
class Node:
    """One row of a program. ``None`` as a link means "the end of the block".

    ``following`` is next after the row was asked and did not enter its block ("when not taken");
    ``following_block`` is next after its block ("when taken"). They differ only for rows of a
    chain: a taken If goes past its Else. An error in the block of a row with ``handlers`` may go to
    one of them, and whatever leaves a block with ``always`` goes through that row first. ``inside``
    are the rows of the block; where each is a run of its own they are not linked to one another.
    ``action`` and ``payload`` are opaque to the interpreter.
    """

    uid: str
    name: str
    action: Any
    run: Ask
    return_from_children: Ask
    is_loop: bool = False
    has_budget: bool = True
    parent: Node | None = None
    inside: tuple[Node, ...] = ()
    first_child: Node | None = None
    following: Node | None = None
    following_block: Node | None = None
    handlers: tuple[Node, ...] = ()
    always: Node | None = None
    depth: int = 0
    payload: Any = None
    entry: Frame = field(init=False)
    """The frame of a run that comes to this row."""

    def __post_init__(self) -> None:
        self.entry = Frame(self.uid)

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.uid}>"


@dataclass(slots=True, eq=False)
class Program:
    """All nodes of a version by uid, and where a run begins (``None``: an empty flow)."""

    nodes: dict[str, Node]
    first: Node | None
    payload: Any = field(default=None)

    def __getitem__(self, uid: str) -> Node:
        try:
            return self.nodes[uid]
        except KeyError:
            raise AuthorError(
                f"The run stands at row {uid!r}, which this version of the flow does not have "
                f"or has switched off."
            ) from None

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def start(self) -> Cursor:
        """Where a new run stands."""
        return Cursor((), "complete") if self.first is None else Cursor((self.first.entry,))

    def cursor_at(self, uid: str) -> Cursor:
        """A position at the row ``uid`` with the blocks around it open and without memory.

        A loop around it begins its count afresh when the row's block is through.
        """
        node = self[uid]
        frames = [Frame(node.uid)]
        while node.parent is not None:
            node = node.parent
            frames.append(Frame(node.uid, RETURN))
        return Cursor(tuple(reversed(frames)))
