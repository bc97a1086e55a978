"""The pages of the documentation, and the code blocks in them.

A block is a fence with a language. A comment right before it says what is special about it::

    <!-- not run: why -->

and a caption names the file that the block is the content of, or is added to. A comment that stands
alone is a block without a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.guards.repository import ROOT

DOCS = ROOT / "docs"

_FENCE = re.compile(r"^(?P<fence>`{3,})(?:\{code-block\} *)?(?P<language>\w+) *$")
_OPTION = re.compile(r"^:(?P<name>[\w-]+): *(?P<value>.*)$")
_REMARK = re.compile(r"^<!-- *(?P<remark>.*?) *-->$")


@dataclass(frozen=True)
class Block:
    """A code block: its text, and the number of the line on which the text begins."""

    language: str
    text: str
    line: int
    caption: str = ""
    remark: str = ""

    @property
    def is_run(self) -> bool:
        return not self.remark.startswith("not run")


def pages() -> list[str]:
    """All pages, as paths below ``docs``."""
    return sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def read(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    """The code blocks of a page, in order."""
    return list(_blocks(read(page).splitlines()))


def _blocks(lines: list[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        remark = _REMARK.match(lines[number - 1]) if number else None
        if fence is None:
            if remark and not lines[number].strip():
                yield Block("", "", number, remark=remark["remark"])
            number += 1
            continue
        end = lines.index(fence["fence"], number + 1)
        start = number + 1
        options: dict[str, str] = {}
        while option := _OPTION.match(lines[start]):
            options[option["name"]] = option["value"]
            start += 1
        if options and not lines[start].strip():
            start += 1
        yield Block(
            language=fence["language"],
            text="\n".join(lines[start:end]) + "\n",
            line=start + 1,
            caption=options.get("caption", ""),
            remark=remark["remark"] if remark else "",
        )
        number = end + 1


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a text: rows of cells, without the heading and the line below it."""
    found: list[list[list[str]]] = []
    for paragraph in re.split(r"\n(?!\|)", text):
        rows = [line for line in paragraph.strip().splitlines() if line.startswith("|")]
        if len(rows) > 2:
            found.append([_cells(row) for row in rows[2:]])
    return found


def _cells(row: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found, f"There is no heading {heading!r}."
    rest = text[found.end() :]
    following = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest
