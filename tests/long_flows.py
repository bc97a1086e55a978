"""Drafts of many rows of many kinds, as somebody's biggest flow is: for costs and figures."""

from __future__ import annotations

from typing import Any

from flowcontrol.documents import JSONObject, make_document, row
from flowcontrol.drafting import replace_draft
from flowcontrol.models import Flow
from flowcontrol.testing import Break, Delay, Else, ForEach, If, Log, UpdateState, While, make_flow

BLOCK = 25
"""So many rows has each part of a long flow; there is a mistake in each."""


def long_document(number: int, **fields: Any) -> JSONObject:
    """A document of ``number`` rows, a multiple of :data:`BLOCK`."""
    assert number % BLOCK == 0, f"{number} rows are no whole blocks of {BLOCK}"
    rows = [item for place in range(number // BLOCK) for item in _block(place)]
    return make_document(*rows, content_type="testapp.parcel", **fields)


def long_flow(number: int) -> Flow:
    """A draft of ``number`` rows, with a live version that is another, of a flow that is on."""
    make_flow(Log("x"), name="Rebooking", slug="rebooking")
    flow = make_flow(Log("before"), name=f"{number} rows", slug=f"rows-{number}")
    replace_draft(flow, long_document(number))
    return flow


def _block(place: int) -> list[JSONObject]:
    n, told = f"n{place}", f"told{place}"
    mail: JSONObject = {
        "to": ["desk@example.org"],
        "subject": f"Parcel {{{{ {n} }}}}",
        "text": "Late again.",
    }
    return [
        row("update_state", state={n: "object.weight|add:1"}, evaluate=True, uid=f"set-{place}"),
        If(
            f"{n} > 2 and object.is_loaded",
            [
                Log(f"{{{{ {n} }}}} kg in {{{{ object }}}}", note="Somebody looks at these."),
                row("send_email", **mail, label="Tell the desk", result_key=told),
                If(f"{told}", [Log("told")]),
            ],
            uid=f"if-{place}",
        ),
        Else([Log("{{ nothing_sets_this }}")]),
        ForEach(
            "object.label",
            [
                Log("{{ item }}", uid=f"log-{place}"),
                While(f"{n} < 9", [UpdateState(**{n: f"{n}|add:1"}), Break(f"{n} > 5")]),
            ],
            uid=f"each-{place}",
        ),
        row("try", row("call_webhook", url="https://desk.example/late", retry={"attempts": 3})),
        row("on_error", Log("{{ error.message }}")),
        row(
            "parallel",
            row("branch", UpdateState(**{f"left{place}": 1}), keys=[f"left{place}"]),
            row("branch", Delay("PT2H", enabled=False)),
        ),
        row(
            "ask_person", title="Send {{ object }} by road?", users=["desk"], buttons=["yes", "no"]
        ),
        row("wait_for_trigger", trigger="testapp.parcel_weighed", timeout="PT6H"),
        row("start_flow", flow="rebooking", wait=True),
    ]
