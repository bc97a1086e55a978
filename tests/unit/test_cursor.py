"""The position of a run, as a value and as versioned JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol.cursor import ABORTED, COMPLETE, RESUME, RETURN, RUN, Cursor, Frame
from flowcontrol.exceptions import AuthorError, DocumentError

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FRAMES = st.builds(
    Frame,
    uid=st.text(min_size=1, max_size=36),
    phase=st.sampled_from([RUN, RETURN, RESUME]),
    memo=JSON_VALUES,
    names=st.none() | st.dictionaries(st.text(), JSON_VALUES, max_size=2),
    turns=st.integers(0, 10_001),
)
CURSORS = st.one_of(
    st.builds(Cursor, st.lists(FRAMES, min_size=1, max_size=6).map(tuple), st.none()),
    st.sampled_from([COMPLETE, ABORTED]),
)


def through_json(cursor: Cursor) -> Cursor:
    return Cursor.from_json(json.loads(json.dumps(cursor.to_json())))


@given(CURSORS)
def test_a_position_comes_back_from_json_as_it_was(cursor: Cursor) -> None:
    assert through_json(cursor) == cursor


def test_format_1_is_what_the_documentation_shows() -> None:
    cursor = Cursor(
        (
            Frame("outer", RETURN, memo={"index": 2}, names={"i": 2}, turns=2),
            Frame("waiting", RESUME),
        )
    )
    assert cursor.to_json() == {
        "format": 1,
        "frames": [
            {"at": "outer", "phase": "return", "memo": {"index": 2}, "names": {"i": 2}, "turns": 2},
            {"at": "waiting", "phase": "resume"},
        ],
    }
    assert COMPLETE.to_json() == {"format": 1, "frames": [], "ended": "complete"}


def test_what_is_left_out_is_where_a_row_begins() -> None:
    cursor = Cursor.from_json({"format": 1, "frames": [{"at": "first"}]})
    assert cursor == Cursor((Frame("first", RUN, None, None, 0),))


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"format": 2, "frames": [{"at": "a"}]},
        {"format": 1},
        {"format": 1, "frames": []},
        {"format": 1, "frames": [{}]},
        {"format": 1, "frames": ["a"]},
        {"format": 1, "frames": None},
        {"format": 1, "frames": [{"at": "a"}], "ended": "complete"},
    ],
)
def test_what_is_no_position_is_refused_as_the_runs_own_failure(data: dict[str, Any]) -> None:
    with pytest.raises(DocumentError) as caught:
        Cursor.from_json(data)
    assert isinstance(caught.value, AuthorError)


def test_a_position_names_the_innermost_row() -> None:
    assert Cursor((Frame("outer", RETURN), Frame("inner"))).uid == "inner"
    assert COMPLETE.uid == ""


def test_parking_lets_all_loops_turn_again_and_changes_nothing_else() -> None:
    frames = (Frame("a", RETURN, [1], {"i": 1}, turns=9), Frame("b", RETURN, turns=3), Frame("c"))
    parked = Cursor(frames).parked()
    assert parked.frames == (Frame("a", RETURN, [1], {"i": 1}), Frame("b", RETURN), Frame("c"))
    assert parked.parked() is parked
