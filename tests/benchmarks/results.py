"""A figure, what it should be, and the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Limit:
    """What the machine does without flowcontrol, measured in the same run."""

    what: str
    value: float


@dataclass(frozen=True)
class Result:
    """One figure. Of the three goals one is set.

    Attributes:
        workload: what was done, in words.
        database: on which one; empty for what needs none.
        reached: the figure.
        unit: of ``reached`` and of the limit.
        at_least: the goal, for figures that should be high.
        at_most: the goal, for figures that should be low.
        share: the goal as a part of the limit.
        note: what a reader has to know beside it; for a workload left out, why.
    """

    workload: str
    database: str
    reached: float | None
    unit: str
    limit: Limit | None = None
    at_least: float | None = None
    at_most: float | None = None
    share: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        if self.limit is None or self.reached is None:
            return None
        return self.reached / self.limit.value

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; ``None`` if there is none, or nothing was measured."""
        if self.reached is None:
            return None
        if self.share is not None:
            return self.ratio is not None and self.ratio >= self.share
        if self.at_least is not None:
            return self.reached >= self.at_least
        return None if self.at_most is None else self.reached <= self.at_most

    @property
    def goal(self) -> str:
        if self.share is not None:
            return f"{self.share:.2f} of the limit"
        if self.at_least is not None:
            return f"≥ {number(self.at_least)}"
        return "" if self.at_most is None else f"≤ {number(self.at_most)}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Result:
        limit = data.pop("limit")
        return cls(**data, limit=Limit(**limit) if limit else None)


def left_out(workload: str, database: str, reason: str) -> Result:
    """A workload that was not measured, and why."""
    return Result(workload, database, None, "", note=f"left out: {reason}")


def number(value: float) -> str:
    """Three digits or so, whatever the size."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


HEADINGS = ("workload", "database", "reached", "limit of the machine", "ratio", "goal", "met")


def table(results: Sequence[Result]) -> str:
    """The results as aligned text, the notes below their rows."""
    rows = [HEADINGS, *(_cells(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        for row in rows
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    for position in range(len(results), 0, -1):
        if note := results[position - 1].note:
            lines.insert(position + 2, f"    {note}")
    return "\n".join(line.rstrip() for line in lines)


def _cells(result: Result) -> tuple[str, ...]:
    limit, ratio = result.limit, result.ratio
    met = {True: "yes", False: "NO", None: "–"}[result.is_met]
    return (
        result.workload,
        result.database,
        f"{number(result.reached)} {result.unit}" if result.reached is not None else "–",
        f"{number(limit.value)} {limit.what}" if limit else "",
        f"{ratio:.2f}" if ratio is not None else "",
        result.goal,
        met,
    )
