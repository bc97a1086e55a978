from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcontrol.formats import FORMATS, check_format, split_model_reference

GOOD = {
    "action-target": ["3f9a0c1b2d4e5f60"],
    "date": ["2013-02-04", "2012-02-29"],
    "date-time": [
        "2013-02-04T09:30",
        "2013-02-04T09:30:15",
        "2013-02-04T09:30:15.123456",
        "2013-02-04T09:30Z",
        "2013-02-04T09:30:00-05:00",
    ],
    "duration": ["PT90M", "P1M"],
    "email": ["desk@example.com", "o'brien+nyc@example.co.uk", "ops@localhost"],
    "expression": ["object.dep_delay", "n < 3 and not done"],
    "flow": ["long-delay", "daily_summary2"],
    "model-reference": ["demo.flight:12", "demo.airport:JFK", "demo.flight:a:b c"],
    "secret": ["", "anything ★"],
    "template": ["", "Dear {{ object.carrier }}"],
    "time": ["09:30", "23:59:59", "00:00:00.5"],
    "time-zone": ["America/New_York", "UTC"],
    "trigger": ["shop.order_paid", "demo.flight-changed"],
    "uri": ["https://example.com/hook?x=1", "http://web:8000/", "mailto:desk@example.com"],
    "user": ["grace", "grace@example.com"],
}
BAD = {
    "action-target": ["", "two words"],
    "date": [
        "",
        "2013-02-30",
        "20130204",
        "2013-2-4",
        "04.02.2013",
        "\uff12013-02-04",
        "0000-01-01",
    ],
    "date-time": [
        "",
        "2013-02-04",
        "2013-02-04 09:30",
        "2013-02-04T9:30",
        "2013-02-04T24:00",
        "2013-02-04T09:60",
        "2013-02-04T09:30+25:00",
        "2013-02-04T09:30+05:99",
        "20130204T0930",
        "soon",
    ],
    "duration": ["", "2 hours", "-P1D"],
    "email": ["", "a@", "@example.com", "a b@example.com", "a@example.com\n"],
    "expression": ["n ==", "(n"],
    "flow": ["", "long delay", "a/b"],
    "model-reference": ["", "12", "flight:12", "demo.flight", "demo.flight:", "demo.flight: "],
    "template": ["{{ object.carrier|no_such_filter }}"],
    "time": ["", "9:30", "24:00", "09:60", "09:30Z", "noon"],
    "time-zone": ["", "EST5EDT4", "Mars/Olympus", "../etc/passwd", "america/new_york"],
    "trigger": ["", "two words", ".x", "x."],
    "uri": ["", "example.com", "https://", "https://exa mple.com/", "http://x:port/"],
    "user": ["", " grace", "grace\n"],
}


def test_every_format_is_tried():
    assert set(GOOD) == set(FORMATS)
    assert set(BAD) == set(FORMATS) - {"secret"}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in GOOD for text in GOOD[name]])
def test_fits(name, text):
    check_format(name, text)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in BAD for text in BAD[name]])
def test_does_not_fit(name, text):
    with pytest.raises(ValueError, match=r"\w"):
        check_format(name, text)


def test_the_message_quotes_what_was_typed_and_shows_how():
    with pytest.raises(ValueError, match=r"^'a@' is not an email address$"):
        check_format("email", "a@")
    with pytest.raises(ValueError, match=r"write it like 09:30"):
        check_format("time", "noon")
    with pytest.raises(ValueError, match=r"^.{,80}…' is not an email address$"):
        check_format("email", "x" * 1000)


def test_the_key_of_an_object_may_have_colons():
    assert split_model_reference("demo.flight:UA:1545") == ("demo.flight", "UA:1545")


@pytest.mark.parametrize("name", sorted(FORMATS))
@settings(deadline=None)
@given(text=st.text(max_size=30))
def test_any_text_fits_or_is_refused(name, text):
    with contextlib.suppress(ValueError):
        check_format(name, text)
