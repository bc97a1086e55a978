from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcontrol.durations import Duration, format_duration, parse_duration

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("PT90M", Duration(time=90 * MINUTE)),
        ("PT1.5H", Duration(time=90 * MINUTE)),
        ("PT1,5H", Duration(time=90 * MINUTE)),
        ("PT0.000001S", Duration(time=timedelta(microseconds=1))),
        ("P1DT12H", Duration(days=1, time=timedelta(hours=12))),
        ("P2W", Duration(days=14)),
        ("P1.5W", Duration(days=10, time=timedelta(hours=12))),
        ("P0.5D", Duration(time=timedelta(hours=12))),
        ("P1M", Duration(months=1)),
        ("P1Y2M3DT4H5M6S", Duration(14, 3, timedelta(hours=4, minutes=5, seconds=6))),
        ("PT0S", Duration()),
    ],
)
def test_iso_8601_is_read(text, duration):
    assert parse_duration(text) == duration


def test_a_day_is_not_24_hours():
    assert parse_duration("P1D") != parse_duration("PT24H")
    assert parse_duration("P1D").timedelta == parse_duration("PT24H").timedelta


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1DT",
        "1D",
        "p1d",
        "-P1D",
        "+P1D",
        "P-1D",
        "P1D ",
        "P1D\n",
        "P 1D",
        "P1H",
        "PT1D",
        "P1M1Y",
        "P1W1D",
        "P1D1W",
        "PT1.5H1M",
        "P1.5M",
        "P0.5Y",
        "P.5D",
        "P1.D",
        "P९D",
        "P1e3D",
        "PT1H30",
        "90 minutes",
        "1:30",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"duration|fraction|whole"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["P999999999999D", "P10000Y", "PT999999999999H", "P999999999W"])
def test_what_leads_out_of_the_calendar_is_refused(text):
    with pytest.raises(ValueError, match="too long"):
        parse_duration(text)


def test_the_message_says_how_to_write_one():
    with pytest.raises(ValueError, match=r"'2 hours' is not a duration \(write it like PT90M"):
        parse_duration("2 hours")


durations = st.builds(
    Duration,
    months=st.integers(0, 5_000),
    days=st.integers(0, 100_000),
    time=st.timedeltas(timedelta(0), timedelta(days=1000)),
)


@settings(deadline=None)
@given(durations)
def test_a_duration_reads_back_as_it_was_written(duration):
    assert parse_duration(format_duration(duration)) == duration


@settings(deadline=None)
@given(st.text(alphabet="PTYMWDHS0123456789.,-+ ", max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert parse_duration(str(duration)) == duration
