"""Drafts as outlines, to write and to compare: ``"a b(c d()) e"``.

That is the row a, the block b with the row c and the empty block d in it, and the row e. Every row
has its name as id and as label.
"""

from __future__ import annotations

import re
from typing import Any

from flowcontrol.documents import JSONObject, make_document, row
from flowcontrol.drafting import create_flow, replace_draft
from flowcontrol.drafts import draft_document
from flowcontrol.models import Flow, FlowAction


def rows_of(outline: str) -> list[JSONObject]:
    blocks: list[Any] = [[]]
    for name, sign in re.findall(r"(\w+)|([()])", outline):
        if sign == "(":
            block = blocks[-1][-1]
            block.update(action="group", config={}, children=[])
            blocks.append(block["children"])
        elif sign == ")":
            blocks.pop()
        else:
            blocks[-1].append(row("log", uid=name, label=name, message=name))
    rows: list[JSONObject] = make_document(*blocks[0])["actions"]
    return rows


def outline_of(rows: list[JSONObject]) -> str:
    told = []
    for item in rows:
        inside = f"({outline_of(item['children'])})" if item["action"] == "group" else ""
        told.append((item["label"] or item["uid"]) + inside)
    return " ".join(told)


def outline(flow: Flow) -> str:
    return outline_of(draft_document(flow)["actions"])


def draft(text: str = "", name: str = "Late flight") -> Flow:
    flow = create_flow(name)
    replace_draft(flow, make_document(*rows_of(text)))
    return flow


def assert_healthy() -> None:
    """The trees of all flows are as they have to be."""
    assert [found for found in FlowAction.objects.find_problems() if found] == []
    for flow in Flow.objects.all():
        [root] = FlowAction.objects.filter(flow=flow, depth=1)
        below = FlowAction.objects.get_descendants(root)
        assert set(below) == set(flow.actions.filter(depth__gt=1))
