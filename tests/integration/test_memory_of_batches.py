"""What a batch leaves behind in memory."""

from __future__ import annotations

import gc

import pytest

from flowcontrol.engine import continue_flowruns, create_flowrun
from flowcontrol.slices import Slice
from flowcontrol.testing import UpdateState, make_flow, row

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("last", [UpdateState(n="2"), row("testapp.accept_parcel")])
def test_a_batch_leaves_no_slice_to_the_garbage_collector(last):
    flow = make_flow(UpdateState(n="1"), last)
    for _number in range(3):
        create_flowrun(flow)
    gc.collect()
    gc.disable()
    try:
        continue_flowruns()
        left = [item for item in gc.get_objects() if type(item) is Slice]
    finally:
        gc.enable()
    assert left == []
