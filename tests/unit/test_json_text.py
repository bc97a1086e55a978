"""The JSON that is stored: Django's text, whichever way it is made."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcontrol import dialect
from flowcontrol.dialect import json_text

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@given(VALUES)
def test_it_is_the_text_that_django_writes(value: Any):
    assert json_text(value) == json.dumps(value)


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": {1, 2}}, Decimal(1)], ids=str)
def test_what_is_no_json_is_refused_and_forgotten(value: Any):
    for _time in range(2):
        with pytest.raises((TypeError, ValueError)):
            json_text({"value": value})
        assert json_text({"value": [1]}) == '{"value": [1]}'


def test_a_python_without_the_part_in_c_writes_the_same(monkeypatch):
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    value = {"ä": [1, 1.5, None, True, {"b": "\n"}]}
    assert dialect._json_encoder()(value) == json_text(value) == json.dumps(value)
