"""Drawings of a document: everything is in them, nothing breaks out of them."""

from __future__ import annotations

import itertools
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol.base import BaseAction
from flowcontrol.documents import JSONObject, make_document, row
from flowcontrol.registry import actions
from flowcontrol.rendering import Path, to_dot, to_mermaid, to_svg
from flowcontrol.rendering.words import columns, lines_of
from flowcontrol.testing import (
    Break,
    Delay,
    Else,
    ElseIf,
    For,
    Group,
    If,
    Leave,
    Log,
    Stop,
    While,
)

SVG = "{http://www.w3.org/2000/svg}"


def svg(document: JSONObject, **options: Any) -> ElementTree.Element:
    return ElementTree.fromstring(to_svg(document, title="Late flight", **options))


def texts(root: ElementTree.Element) -> str:
    return " ".join("".join(each.itertext()) for each in root.iter(f"{SVG}text"))


def boxes(root: ElementTree.Element) -> list[dict[str, float]]:
    return [
        {name: float(each.attrib[name]) for name in ("x", "y", "width", "height")}
        for each in root.iter(f"{SVG}rect")
        if each.attrib["class"] == "fc-d-box"
    ]


WHOLE = make_document(
    Log("begin", uid="a"),
    If("n > 1", [For(3, [Delay(uid="d"), Break("n > 5", "loop")], uid="f")], uid="i", label="Late"),
    ElseIf("n > 0", [], uid="ei"),
    Else([Group([Log("deep")])], uid="e"),
    row("shop.gone", a=1),
    Log("off", enabled=False),
    Stop("enough"),
)


# --- SVG ----------------------------------------------------------------------------------------


def test_every_row_is_drawn_with_its_words_and_its_place():
    told = texts(svg(WHOLE))
    for words in (
        *(
            "Log “begin”",
            "Late",
            "For",
            "Wait 1 hour",
            "Leave branch if n > 5",
            "Else",
            "Log “deep”",
        ),
        *(
            "Unknown action “shop.gone”",
            "Log “off”",
            "Stop flow",
            "2.1.2",
            "4.1.1",
            "No rows inside",
        ),
    ):
        assert words in told


def test_no_box_lies_over_another_and_all_are_in_the_picture():
    root = svg(WHOLE)
    _x, _y, width, height = map(float, root.attrib["viewBox"].split())
    drawn = sorted(boxes(root), key=lambda box: box["y"])
    assert len(drawn) == 12
    for above, below in itertools.pairwise(drawn):
        assert above["y"] + above["height"] < below["y"]
    for box in drawn:
        assert 0 < box["x"] < box["x"] + box["width"] < width
        assert 0 < box["y"] < box["y"] + box["height"] < height


def test_what_is_inside_a_block_is_drawn_inside_its_frame():
    root = svg(make_document(Group([Log("x"), Group([Log("y")])])))
    frames = [each for each in root.iter(f"{SVG}rect") if each.attrib["class"] == "fc-d-frame"]
    outer, inner = sorted(frames, key=lambda each: float(each.attrib["y"]))
    for side, length in (("x", "width"), ("y", "height")):
        assert float(outer.attrib[side]) < float(inner.attrib[side])
        assert float(inner.attrib[side]) + float(inner.attrib[length]) < float(
            outer.attrib[side]
        ) + float(outer.attrib[length])


def test_the_path_of_a_run_stands_out_with_how_often():
    path = Path({"a": 1, "i": 1, "f": 1, "d": 3}, here="d")
    root = svg(WHOLE, path=path)
    classes = {
        group.find(f"{SVG}title").text: group.attrib["class"]  # type: ignore[union-attr]
        for group in root.iter(f"{SVG}g")
    }
    ran = {title.split()[0] for title, each in classes.items() if title and "fc-d-ran" in each}
    here = {title.split()[0] for title, each in classes.items() if title and "fc-d-here" in each}
    assert (ran, here) == ({"1", "2", "2.1"}, {"2.1.1"})
    assert "×3" in texts(root)
    failed = to_svg(WHOLE, title="", path=Path({}, here="d", has_failed=True))
    assert "fc-d-failed" in failed.partition("</style>")[2]
    assert "fc-d-ran" not in to_svg(WHOLE, title="").partition("</style>")[2]


EVIL = '"/><script>alert(1)</script>&amp;\'\\"; end\n%%{init}%% [x] {y} |z| #quot; `'


@pytest.mark.parametrize("text", [EVIL, "\x00\x0b\ufffe\ud83d", "]]>", "a" * 10_000, " "])
def test_no_text_breaks_out_of_a_drawing(text: str):
    document = {**WHOLE, "actions": [dict(WHOLE["actions"][0], label=text, uid=text)]}
    root = ElementTree.fromstring(to_svg(document, title=text))
    assert [each.tag for each in root.iter() if "script" in each.tag] == []
    assert len(boxes(root)) == 1
    mermaid = to_mermaid(document, title=text).splitlines()
    assert len([line for line in mermaid if not line.startswith("%%")]) == 6
    assert [line for line in mermaid if line.count('"') not in (0, 2)] == []
    dot = to_dot(document, title=text)
    assert len(dot.splitlines()) == 9
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', "", dot)
    assert "script" not in unquoted
    assert '"' not in unquoted


@given(st.text(), st.integers(2, 60), st.integers(1, 4))
def test_a_text_is_cut_into_lines_that_fit(text: str, width: int, most: int):
    lines = lines_of(" ".join(text.split()), width, most)
    assert 1 <= len(lines) <= most
    assert all(columns(line) <= width for line in lines)


def test_languages_without_blanks_are_cut_into_lines_too():
    assert lines_of("深い遅延" * 3, 8, 2) == ["深い遅延", "深い遅…"]


def test_secrets_are_masked_in_every_drawing():
    class Call(BaseAction):
        name = "test.call"
        effects = "external"
        config_schema = {
            "type": "object",
            "properties": {"token": {"type": "string", "format": "secret"}},
        }

        def run(self, *, run: Any, obj: Any, config: Any) -> None:
            return None

        def sentence(self, config: Any) -> str:
            return f"Call with {config['token']}"

    with actions.temporarily(Call):
        document = make_document(row("test.call", token="s3cret"))
        for draw in (to_svg, to_mermaid, to_dot):
            assert "s3cret" not in draw(document, title="x")
            assert "s3cret" in draw(document, title="x", reveal_secrets=True)


def test_a_page_gets_a_drawing_without_a_style_of_its_own():
    inline = to_svg(WHOLE, title="x", standalone=False)
    assert "<style" not in inline
    assert "style=" not in inline
    assert "prefers-color-scheme: dark" in to_svg(WHOLE, title="x")


def test_a_flow_without_rows_says_so():
    assert "There are no rows" in texts(svg(make_document()))
    assert to_mermaid(make_document()).count("-->") == 1


def test_a_big_flow_is_drawn():
    document = make_document(*[Group([Log(f"{n}") for n in range(10)]) for _block in range(50)])
    assert len(boxes(svg(document))) == 550


# --- graphs -------------------------------------------------------------------------------------


def edges(*rows: JSONObject) -> set[str]:
    """The edges of the graph in DOT, by the labels of the rows."""
    dot = to_dot(make_document(*rows))
    names = dict(re.findall(r'^    (\w+) \[label="([^"]*)"', dot, re.MULTILINE))
    return {
        f"{names[start]}>{names[end]}{f' {label}' if label else ''}"
        for start, end, label in re.findall(
            r'^    (\w+) -> (\w+)(?: \[label="(\w+)"\])?;', dot, re.MULTILINE
        )
    }


def step(name: str, **fields: Any) -> JSONObject:
    return Log("x", label=name, **fields)


def test_rows_follow_one_another():
    assert edges(step("a"), step("b")) == {"Start>a", "a>b", "b>End"}


def test_an_if_has_two_ways_that_meet_again():
    found = edges(
        If("x", [step("a")], label="if"),
        ElseIf("y", [step("b")], label="elif"),
        Else([step("c")], label="else"),
        step("d"),
    )
    assert found == {
        *("Start>if", "if>a yes", "if>elif no", "elif>b yes", "elif>else no", "else>c"),
        *("a>d", "b>d", "c>d", "d>End"),
    }


def test_an_if_without_an_else_is_passed_by():
    assert edges(If("x", [step("a")], label="if"), step("b")) == {
        *("Start>if", "if>a yes", "if>b no", "a>b", "b>End"),
    }


def test_a_loop_goes_back_and_out():
    assert edges(While("x", [step("a")], label="while"), step("b")) == {
        *("Start>while", "while>a yes", "a>while", "while>b no", "b>End"),
    }


def test_leaving_a_loop_leads_behind_it_and_returning_leads_back_to_it():
    found = edges(
        For(
            3,
            [
                {**Break("x", "loop"), "label": "break"},
                {**Leave("y", "loop"), "label": "leave"},
                step("a"),
            ],
            label="for",
        ),
        step("b"),
    )
    assert found == {
        *("Start>for", "for>break", "break>b yes", "break>leave no", "leave>for yes"),
        *("leave>a no", "a>for", "for>b done", "b>End"),
    }


def test_stop_leads_to_the_end_and_nothing_comes_after_it():
    assert edges({**Stop(), "label": "stop"}, step("a")) == {"Start>stop", "stop>End", "a>End"}


def test_what_is_switched_off_is_not_in_the_graph():
    assert edges(step("a"), step("off", enabled=False), step("b")) == {"Start>a", "a>b", "b>End"}


def test_the_graphs_show_the_path_too():
    path = Path({"a": 1, "i": 2}, here="d")
    mermaid = to_mermaid(WHOLE, path=path)
    assert "class r1,r2 ran" in mermaid
    assert "class r4 here" in mermaid
    dot = to_dot(WHOLE, path=path)
    assert dot.count("penwidth") == 3
