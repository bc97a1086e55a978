"""A document as a graph, in the languages of Mermaid and of Graphviz (DOT).

A graph shows what comes after what: the two ways out of an If, the way back of a loop, where a row
leaves its block. Rows are named by their number, so that no id can break the language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from django.utils.translation import gettext as _

from flowcontrol.documents import JSONObject
from flowcontrol.rendering.words import (
    Path,
    continues,
    cut,
    is_block,
    is_loop,
    one_line,
    words_of,
)

LONGEST: Final = 80

CONDITIONS: Final = frozenset({"if", "else_if", "while"})
"""Rows that ask a question, drawn as such."""


class Exit(NamedTuple):
    """A way on from a row, and what is written on it."""

    node: str
    label: str = ""


class Edge(NamedTuple):
    start: str
    end: str
    label: str


@dataclass
class _Block:
    """A block that is being walked: what waits for its end, and where its loop begins."""

    node: str = ""
    is_loop: bool = False
    broken: list[Exit] = field(default_factory=list)
    left: list[Exit] = field(default_factory=list)


@dataclass
class _Graph:
    reveal_secrets: bool
    nodes: dict[str, JSONObject] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    blocks: list[_Block] = field(default_factory=lambda: [_Block()])

    def link(self, exits: Sequence[Exit], node: str) -> None:
        for each in dict.fromkeys(exits):
            self.edges.append(Edge(each.node, node, each.label))

    def walk(self, rows: Sequence[JSONObject], exits: list[Exit]) -> list[Exit]:
        """Add sibling rows that are reached from ``exits``; the ways out of the last of them."""
        chain_exits: list[Exit] = []
        head = ""
        for row in rows:
            if not row["enabled"]:
                continue
            if not continues(row):
                exits, chain_exits = [*exits, *chain_exits], []
            node = self._add(row)
            if head and continues(row) and row["action"] not in ("else", "else_if"):
                # On error, Always: from the row that they belong to, whatever it came to.
                self.edges.append(Edge(head, node, ""))
                chain_exits += exits
                exits = []
            else:
                self.link(exits, node)
            head = head if continues(row) else node
            taken, exits = self._ways_out(row, node)
            chain_exits += taken
        return [*exits, *chain_exits]

    def _add(self, row: JSONObject) -> str:
        node = f"r{len(self.nodes) + 1}"
        self.nodes[node] = row
        return node

    def _ways_out(self, row: JSONObject, node: str) -> tuple[list[Exit], list[Exit]]:
        """After what is inside a row is through, and if it is passed by."""
        if is_block(row):
            block = _Block(node, is_loop(row))
            self.blocks.append(block)
            asks = row["action"] in CONDITIONS
            inside = self.walk(row["children"], [Exit(node, _("yes") if asks else "")])
            self.blocks.pop()
            if block.is_loop:
                self.link([*inside, *block.left], node)
                return block.broken, [Exit(node, _("no") if asks else _("done"))]
            taken = [*inside, *block.left, *block.broken]
            if row["action"] in ("if", "else_if"):
                return taken, [Exit(node, _("no"))]
            return taken, []
        match row["action"]:
            case "stop" | "fail":
                self.edges.append(Edge(node, "end", ""))
                return [], []
            case "leave" | "break":
                return [], self._leave(row, node)
        return [], [Exit(node)]

    def _leave(self, row: JSONObject, node: str) -> list[Exit]:
        asks = bool(row["config"].get("condition"))
        way = Exit(node, _("yes") if asks else "")
        block = self.blocks[-1]
        if row["config"].get("target") == "loop":
            block = next((each for each in reversed(self.blocks) if each.is_loop), block)
        if not block.node:
            self.edges.append(Edge(node, "end", way.label))
        elif row["action"] == "leave":
            block.left.append(way)
        else:
            block.broken.append(way)
        return [Exit(node, _("no"))] if asks else []

    def words(self, node: str) -> str:
        return cut(words_of(self.nodes[node], reveal_secrets=self.reveal_secrets), LONGEST)


def _graph(document: Mapping[str, Any], reveal_secrets: bool) -> _Graph:
    graph = _Graph(reveal_secrets)
    graph.link(graph.walk(document["actions"], [Exit("start")]), "end")
    return graph


def _classes(row: JSONObject, path: Path | None) -> str:
    if path is None:
        return ""
    if path.here == row["uid"]:
        return "failed" if path.has_failed else "here"
    return "ran" if path.counts.get(row["uid"]) else ""


def to_mermaid(
    document: Mapping[str, Any],
    *,
    title: str = "",
    path: Path | None = None,
    reveal_secrets: bool = False,
) -> str:
    """A document as a Mermaid flowchart."""
    graph = _graph(document, reveal_secrets)
    lines = ["flowchart TD"]
    if title:
        lines.insert(0, f"%% {one_line(title).replace('%%', '% %')}")
    lines.append(f'    start(["{_mermaid(_("Start"))}"])')
    for node, row in graph.nodes.items():
        left, right = ("{", "}") if row["action"] in CONDITIONS else ("[", "]")
        lines.append(f'    {node}{left}"{_mermaid(graph.words(node))}"{right}')
    lines.append(f'    end_(["{_mermaid(_("End"))}"])')
    for edge in graph.edges:
        label = f'|"{_mermaid(edge.label)}"|' if edge.label else ""
        lines.append(f"    {edge.start} -->{label} {_end(edge.end)}")
    for name, style in _MERMAID_STYLES.items():
        members = [node for node, row in graph.nodes.items() if _classes(row, path) == name]
        if members:
            lines += [f"    classDef {name} {style}", f"    class {','.join(members)} {name}"]
    return "\n".join(lines) + "\n"


def _end(node: str) -> str:
    # "end" is a word of Mermaid's own.
    return "end_" if node == "end" else node


_MERMAID_STYLES: Final[Mapping[str, str]] = {
    "ran": "stroke:#1a7f37,stroke-width:2px",
    "here": "stroke:#9a6700,stroke-width:3px",
    "failed": "stroke:#cf222e,stroke-width:3px",
}
_DOT_COLOURS: Final[Mapping[str, str]] = {"ran": "#1a7f37", "here": "#9a6700", "failed": "#cf222e"}


def _mermaid(text: str) -> str:
    """A text inside quotes, every letter that could mean something there by its number."""
    return "".join(
        letter if letter.isalnum() or letter in " .,:;!?()+-*/=_%“”’…×→–" else f"#{ord(letter)};"
        for letter in text
    )


def to_dot(
    document: Mapping[str, Any],
    *,
    title: str = "",
    path: Path | None = None,
    reveal_secrets: bool = False,
) -> str:
    """A document as a graph for Graphviz."""
    graph = _graph(document, reveal_secrets)
    lines = [
        "digraph flow {",
        f"    label={_dot(one_line(title))};",
        '    node [shape=box, style=rounded, fontname="sans-serif"];',
        f"    start [label={_dot(_('Start'))}, shape=oval];",
    ]
    for node, row in graph.nodes.items():
        attributes = [f"label={_dot(graph.words(node))}"]
        if row["action"] in CONDITIONS:
            attributes.append("shape=diamond, style=solid")
        if colour := _DOT_COLOURS.get(_classes(row, path)):
            attributes.append(f'color="{colour}", penwidth=2')
        lines.append(f"    {node} [{', '.join(attributes)}];")
    lines.append(f"    end [label={_dot(_('End'))}, shape=oval];")
    for edge in graph.edges:
        label = f" [label={_dot(edge.label)}]" if edge.label else ""
        lines.append(f"    {edge.start} -> {edge.end}{label};")
    return "\n".join([*lines, "}"]) + "\n"


def _dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
