"""The rows of a document as one flat value that is easy to change: fields by id, order by block.

A document nests its rows, which reads well and edits badly. A :class:`RowTree` holds the same as
two tables, so that taking rows out, putting them elsewhere and comparing two states are short.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from flowcontrol.documents import JSONObject

TOP: Final = ""
"""The id of the block that every flow is: what stands in no other row."""


class RowTree:
    """Rows by id, and which rows stand in which block in which order.

    Attributes:
        rows: the fields of each row, without ``uid`` and ``children``. Never changed in place.
        blocks: the ids inside each row, in order; :data:`TOP` has those inside none.
        parents: the row around each row, or :data:`TOP`.
    """

    __slots__ = ("blocks", "parents", "rows")

    def __init__(self) -> None:
        self.rows: dict[str, JSONObject] = {}
        self.blocks: dict[str, list[str]] = {TOP: []}
        self.parents: dict[str, str] = {}

    @classmethod
    def of(cls, rows: Sequence[JSONObject]) -> RowTree:
        """The tree of nested rows, as documents have them."""
        tree = cls()
        tree.insert(TOP, 0, rows)
        return tree

    def copy(self) -> RowTree:
        """A copy that can be changed while this one stays."""
        twin = RowTree()
        twin.rows = dict(self.rows)
        twin.blocks = {block: list(uids) for block, uids in self.blocks.items()}
        twin.parents = dict(self.parents)
        return twin

    def __contains__(self, uid: object) -> bool:
        return uid in self.rows

    def __len__(self) -> int:
        return len(self.rows)

    # --- looking --------------------------------------------------------------------------------

    def nested(self, block: str = TOP) -> list[JSONObject]:
        """What stands in a block, as a document has it."""
        return [self.subtree(uid) for uid in self.blocks[block]]

    def subtree(self, uid: str) -> JSONObject:
        """A row with everything inside it, as a document has it."""
        return {"uid": uid, **self.rows[uid], "children": self.nested(uid)}

    def walk(self, block: str = TOP) -> Iterator[str]:
        """The ids of all rows in the order in which they are read, parents first."""
        for uid in self.blocks[block]:
            yield uid
            yield from self.walk(uid)

    def index(self, uid: str) -> int:
        """The place of a row in its block, from 0."""
        return self.blocks[self.parents[uid]].index(uid)

    def siblings(self, uid: str) -> list[str]:
        """The rows of the block that a row stands in, itself too."""
        return self.blocks[self.parents[uid]]

    def is_inside(self, uid: str, other: str) -> bool:
        """Whether a row is ``other`` or stands in it, however deep."""
        while uid != other and uid != TOP:
            uid = self.parents[uid]
        return uid == other

    def levels(self, block: str = TOP) -> int:
        """How deep the rows of a block are nested; 0 for an empty one."""
        return max((1 + self.levels(uid) for uid in self.blocks[block]), default=0)

    def topmost(self, uids: Iterable[str]) -> list[str]:
        """Those of ``uids`` that stand in none of the others, in the order of the document."""
        chosen = set(uids)

        def search(block: str) -> Iterator[str]:
            for uid in self.blocks[block]:
                if uid in chosen:
                    yield uid
                else:
                    yield from search(uid)

        return list(search(TOP))

    # --- changing -------------------------------------------------------------------------------

    def insert(self, block: str, index: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put nested rows into a block, the first of them at ``index``."""
        self.blocks[block][index:index] = [self._add(row, block) for row in rows]

    def _add(self, row: Mapping[str, Any], parent: str) -> str:
        uid: str = row["uid"]
        if uid in self.rows:
            raise ValueError(f"The row {uid!r} is there already.")
        fields = {name: value for name, value in row.items() if name not in ("uid", "children")}
        self.rows[uid] = fields
        self.parents[uid] = parent
        self.blocks[uid] = []
        self.blocks[uid] = [self._add(child, uid) for child in row["children"]]
        return uid

    def remove(self, uid: str) -> None:
        """Take out a row with everything inside it."""
        self.siblings(uid).remove(uid)
        for each in [uid, *self.walk(uid)]:
            del self.rows[each], self.parents[each], self.blocks[each]

    def move(self, uids: Sequence[str], block: str, index: int) -> None:
        """Put rows of this tree, one after the other, at a place in a block.

        ``index`` counts the rows that stand there before anything is moved.
        """
        here = self.blocks[block]
        # What stands before the place and moves away makes room in front of it.
        index -= sum(1 for uid in here[:index] if uid in set(uids))
        for uid in uids:
            self.siblings(uid).remove(uid)
            self.parents[uid] = block
        self.blocks[block][index:index] = uids

    def change(self, uid: str, **fields: Any) -> None:
        """Give fields of a row new values."""
        self.rows[uid] = {**self.rows[uid], **fields}


def longest_rising(numbers: Sequence[int]) -> set[int]:
    """The most of ``numbers`` that can be kept so that they rise (patience sorting)."""
    tops: list[int] = []
    under: dict[int, int | None] = {}
    for number in numbers:
        pile = bisect_left(tops, number)
        under[number] = tops[pile - 1] if pile else None
        tops[pile : pile + 1] = [number]
    kept: set[int] = set()
    top = tops[-1] if tops else None
    while top is not None:
        kept.add(top)
        top = under[top]
    return kept
