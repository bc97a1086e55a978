"""A document as SVG: boxes below one another, blocks around what is inside them.

A structured list needs no search for a layout: each row has its place, and the drawing is as tall
as its rows. Colours are classes; without a style sheet everything is drawn in the colour of the
text around it, so that a page may put the drawing on any background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from django.utils.translation import gettext as _

from flowcontrol.documents import JSONObject
from flowcontrol.rendering.words import (
    Path,
    columns,
    continues,
    is_block,
    is_known,
    is_loop,
    lines_of,
    one_line,
    words_of,
)

LETTER: Final = 7.2
LINE: Final = 18
MOST_LINES: Final = 3
WIDEST: Final = 56
"""Columns of text in a box; longer texts go on below."""
MARGIN: Final = 16
INDENT: Final = 24
GAP: Final = 14
PADDING: Final = 10
RADIUS: Final = 6

STYLE: Final = """
.fc-drawing { color: #1f2328; background: #ffffff; font: 13px system-ui, sans-serif }
.fc-drawing .fc-d-quiet { fill: #59636e; font-size: 11px }
.fc-drawing .fc-d-frame { stroke: #8c959f }
.fc-drawing .fc-d-box { fill: #f6f8fa; stroke: #59636e }
.fc-drawing .fc-d-ran .fc-d-box { fill: #dafbe1; stroke: #1a7f37; stroke-width: 2 }
.fc-drawing .fc-d-here .fc-d-box { fill: #fff8c5; stroke: #9a6700; stroke-width: 3 }
.fc-drawing .fc-d-failed .fc-d-box { fill: #ffebe9; stroke: #cf222e; stroke-width: 3 }
.fc-drawing .fc-d-taken { stroke: #1a7f37; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
.fc-drawing { color: #e6edf3; background: #0d1117 }
.fc-drawing .fc-d-quiet { fill: #9198a1 }
.fc-drawing .fc-d-box { fill: #161b22; stroke: #9198a1 }
.fc-drawing .fc-d-ran .fc-d-box { fill: #12261e; stroke: #3fb950 }
.fc-drawing .fc-d-here .fc-d-box { fill: #2e2a1f; stroke: #d29922 }
.fc-drawing .fc-d-failed .fc-d-box { fill: #25171c; stroke: #f85149 }
.fc-drawing .fc-d-taken { stroke: #3fb950 }
}
"""
"""What a file brings along. A page has the same in a style sheet, for it may allow no other."""


@dataclass
class _Drawing:
    path: Path | None
    reveal_secrets: bool
    width: float
    parts: list[str] = field(default_factory=list)

    def add(self, name: str, text: str | None = None, **attributes: Any) -> None:
        told = " ".join(
            f"{key.rstrip('_').replace('_', '-')}={quoteattr(_number(value))}"
            for key, value in attributes.items()
            if value != ""
        )
        self.parts.append(
            f"<{name} {told}/>" if text is None else f"<{name} {told}>{escape(text)}</{name}>"
        )

    def open(self, classes: str) -> None:
        self.parts.append(f"<g class={quoteattr(classes)}>")

    def close(self) -> None:
        self.parts.append("</g>")


def to_svg(
    document: Mapping[str, Any],
    *,
    title: str,
    path: Path | None = None,
    reveal_secrets: bool = False,
    standalone: bool = True,
) -> str:
    """The drawing of a document, as the text of an SVG element.

    Args:
        document: what to draw.
        title: what the drawing is called, for those who do not see it too.
        path: what a run did; rows it came to stand out, with how often.
        reveal_secrets: whether secrets may be read in it.
        standalone: with colours of its own, light and dark, for a file; a page brings colours.
    """
    rows: Sequence[JSONObject] = document["actions"]
    width = MARGIN * 2 + max((_wanted(row, 0, reveal_secrets) for row in rows), default=240)
    drawing = _Drawing(path, reveal_secrets, width)
    bottom = _draw_block(drawing, rows, MARGIN, MARGIN, "")
    if not rows:
        _text(drawing, MARGIN, MARGIN + LINE, _("There are no rows."), "fc-d-quiet")
        bottom = MARGIN + 2 * LINE
    size = f"{_number(width)} {_number(bottom + MARGIN - GAP)}"
    name = one_line(title)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fc-drawing" role="img" '
        f'viewBox="0 0 {size}" width="{size.split()[0]}" height="{size.split()[1]}" '
        f'direction="ltr" font-size="13" font-family="system-ui, sans-serif" '
        f'fill="none" stroke="none" aria-label={quoteattr(name)}>'
    )
    style = f"<style>{STYLE}</style>" if standalone else ""
    return "\n".join([head, f"<title>{escape(name)}</title>{style}", *drawing.parts, "</svg>"])


# --- layout -------------------------------------------------------------------------------------


def _wanted(row: JSONObject, depth: int, reveal_secrets: bool) -> float:
    """How wide the drawing has to be for a row and what is inside it."""
    widest = max(columns(line) for line in _lines(row, reveal_secrets))
    own = depth * INDENT * 1.5 + widest * LETTER + 90 + _beside("1" + ".1" * depth) - 42
    return max([own, *(_wanted(child, depth + 1, reveal_secrets) for child in row["children"])])


def _beside(place: str) -> float:
    """Where the words begin, behind the place of the row."""
    return max(42, 18 + len(place) * 6.5)


def _lines(row: JSONObject, reveal_secrets: bool) -> list[str]:
    return lines_of(words_of(row, reveal_secrets=reveal_secrets), WIDEST, MOST_LINES)


def _draw_block(
    drawing: _Drawing, rows: Sequence[JSONObject], left: float, top: float, prefix: str
) -> float:
    """Draw sibling rows from ``top`` on; where the next one would begin."""
    y = top
    for number, row in enumerate(rows, 1):
        if number > 1:
            before = rows[number - 2]
            taken = _ran(drawing, before) and _ran(drawing, row)
            _arrow(drawing, left + INDENT / 2, y - GAP, y, taken, dashed=continues(row))
            if row["action"] in ("else", "else_if"):
                _text(drawing, left + INDENT, y - 3, _("or"), "fc-d-quiet")
        y = _draw_row(drawing, row, left, y, f"{prefix}{number}") + GAP
    return y


def _draw_row(drawing: _Drawing, row: JSONObject, left: float, top: float, place: str) -> float:
    """Draw a row with what is inside it; its lower end."""
    right = drawing.width - MARGIN - (left - MARGIN) / 2
    lines = _lines(row, drawing.reveal_secrets)
    bottom = top + 2 * PADDING + LINE * len(lines) - 4
    frame = len(drawing.parts)
    drawing.open(_classes(drawing, row))
    drawing.add("title", one_line(f"{place} {words_of(row)}"))
    is_usual = row["enabled"] and is_known(row)
    drawing.add(
        "rect",
        x=left,
        y=top,
        width=right - left,
        height=bottom - top,
        rx=RADIUS,
        class_="fc-d-box",
        stroke="currentColor",
        stroke_dasharray="" if is_usual else "4 3",
    )
    start = left + _beside(place)
    for number, line in enumerate(lines):
        _text(drawing, start, top + PADDING + LINE * number + 10, line)
    _text(drawing, left + 8, top + PADDING + 10, place, "fc-d-quiet")
    if told := _told(drawing, row):
        _text(drawing, right - 8, top + PADDING + 10, told, "fc-d-quiet", anchor="end")
    drawing.close()
    if not is_block(row):
        return bottom
    inside = left + INDENT
    if row["children"]:
        first = _ran(drawing, row) and _ran(drawing, row["children"][0])
        _arrow(drawing, inside + INDENT / 2, bottom, bottom + GAP, first)
        end = _draw_block(drawing, row["children"], inside, bottom + GAP, f"{place}.") - GAP
    else:
        end = bottom + GAP + LINE
        _text(drawing, inside, end - 4, _("No rows inside"), "fc-d-quiet")
    end += PADDING
    parts = drawing.parts
    drawing.parts = []
    drawing.add(
        "rect",
        x=left,
        y=top,
        width=right - left,
        height=end - top,
        rx=RADIUS,
        class_="fc-d-frame",
        stroke="currentColor",
        stroke_opacity="0.5",
    )
    if is_loop(row):
        _way_back(drawing, left + INDENT / 2, end - PADDING / 2, bottom)
    # Behind the rows, so that it covers none of them.
    drawing.parts = [*parts[:frame], *drawing.parts, *parts[frame:]]
    return end


def _classes(drawing: _Drawing, row: JSONObject) -> str:
    classes = ["fc-d-row"]
    path = drawing.path
    if not row["enabled"]:
        classes.append("fc-d-off")
    if path is not None and path.here == row["uid"]:
        classes.append("fc-d-failed" if path.has_failed else "fc-d-here")
    elif _ran(drawing, row):
        classes.append("fc-d-ran")
    return " ".join(classes)


def _ran(drawing: _Drawing, row: JSONObject) -> bool:
    path = drawing.path
    return path is not None and bool(path.counts.get(row["uid"]) or path.here == row["uid"])


def _told(drawing: _Drawing, row: JSONObject) -> str:
    if not row["enabled"]:
        return _("off")
    path = drawing.path
    count = path.counts.get(row["uid"], 0) if path is not None else 0
    return f"×{count}" if count > 1 else ""


def _text(
    drawing: _Drawing, x: float, y: float, text: str, classes: str = "", anchor: str = ""
) -> None:
    drawing.add("text", text, x=x, y=y, fill="currentColor", class_=classes, text_anchor=anchor)


def _arrow(
    drawing: _Drawing, x: float, top: float, bottom: float, taken: bool, *, dashed: bool = False
) -> None:
    drawing.add(
        "path",
        d=f"M{_number(x)} {_number(top)}V{_number(bottom)}m-4 -5l4 5l4 -5",
        stroke="currentColor",
        class_="fc-d-line fc-d-taken" if taken else "fc-d-line",
        stroke_dasharray="3 3" if dashed else "",
    )


def _way_back(drawing: _Drawing, x: float, bottom: float, top: float) -> None:
    """From the end of a loop's rows back to the row that asks again."""
    drawing.add(
        "path",
        d=f"M{_number(x + INDENT)} {_number(bottom)}H{_number(x)}V{_number(top)}m-4 5l4 -5l4 5",
        stroke="currentColor",
        stroke_opacity="0.6",
        class_="fc-d-line",
    )


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
