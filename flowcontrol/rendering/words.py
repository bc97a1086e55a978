"""What drawings say: of each row its words, cut to a length that can be drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from unicodedata import east_asian_width

from flowcontrol.registry import actions
from flowcontrol.sentences import title_of

_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that an XML document must not contain, not even escaped."""


@dataclass(frozen=True, slots=True)
class Path:
    """What a run did: how often it came to each row, by id, and where it stands or failed."""

    counts: Mapping[str, int] = field(default_factory=dict)
    here: str = ""
    has_failed: bool = False


def words_of(item: Mapping[str, Any], *, reveal_secrets: bool = False) -> str:
    """A row in one line."""
    return one_line(title_of(item, reveal_secrets=reveal_secrets))


def one_line(text: str) -> str:
    """``text`` without line breaks, runs of blanks and characters that cannot be drawn."""
    return " ".join(_NOT_XML.sub("\ufffd", text).split())


def lines_of(text: str, width: int, most: int) -> list[str]:
    """``text`` in at most ``most`` lines of ``width`` columns; what is left over ends in “…”."""
    lines, line = [], ""
    for word in _pieces(text, width):
        candidate = f"{line} {word}".strip()
        if line and columns(candidate) > width:
            lines.append(line)
            line = word
        else:
            line = candidate
    lines.append(line)
    kept = [cut(each, width) for each in lines[:most]]
    if len(lines) > most:
        kept[-1] = cut(f"{kept[-1]} …", width)
    return kept


def _pieces(text: str, width: int) -> Iterator[str]:
    """The words of a text; one that fills more than a line, as in languages without blanks, in
    parts."""
    for word in text.split(" "):
        rest = word
        while columns(rest) > width:
            part = rest[:width]
            while columns(part) > width:
                part = part[:-1]
            yield part
            rest = rest[len(part) :]
        yield rest


def cut(text: str, width: int) -> str:
    """``text``, or its beginning and “…”, in ``width`` columns."""
    if columns(text) <= width:
        return text
    text = text[:width]
    while text and columns(text) > width - 1:
        text = text[:-1]
    return text.rstrip(" …") + "…"


def columns(text: str) -> int:
    """How wide a text is, counted in Latin letters; those of East Asia take two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def is_loop(item: Mapping[str, Any]) -> bool:
    action_type = actions.find(item["action"])
    return action_type is not None and action_type.is_loop


def is_block(item: Mapping[str, Any]) -> bool:
    action_type = actions.find(item["action"])
    return action_type.has_children if action_type is not None else bool(item["children"])


def continues(item: Mapping[str, Any]) -> bool:
    """Whether the row belongs to the one before it, as Else does."""
    action_type = actions.find(item["action"])
    return action_type is not None and bool(action_type.follows)


def is_known(item: Mapping[str, Any]) -> bool:
    return actions.find(item["action"]) is not None
