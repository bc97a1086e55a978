"""Flows at random, and a second interpreter to check the first one by.

It reads a flow as a person reads it. Rows are taken in order, blocks by recursion, ways out of
blocks by exceptions. It has no cursor, no program and no links, so it cannot make the mistakes
that come from those.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from flowcontrol.documents import JSONObject
from flowcontrol.expressions import Scope, compile_expression, compile_template
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
    UpdateState,
    While,
)


def some_rows(luck: random.Random, depth: int = 3) -> list[JSONObject]:
    """Rows with blocks and chains in them, some switched off, with ways out of them."""
    parts = [some_part(luck, depth) for _part in range(luck.randint(1 if depth else 0, 3))]
    return [item for part in parts for item in part]


def some_part(luck: random.Random, depth: int) -> list[JSONObject]:
    """A row, or a whole chain of them."""

    def inside(block: Any, *config: Any, **fields: Any) -> JSONObject:
        item: JSONObject = block(*config, some_rows(luck, depth - 1), **fields)
        return item | {"enabled": luck.random() > 0.15}

    target, condition = (
        luck.choice(["parent", "loop"]),
        luck.choice(["", "n > 2", "n|modulo:2 == 0"]),
    )
    match luck.choice(["leaf", "leaf", "chain", "chain", "loop", "group"] if depth else ["leaf"]):
        case "chain":
            conditions = luck.choices(["true", "false", "n < 3", "n|modulo:2 == 0"], k=3)
            more = [inside(ElseIf, each) for each in conditions[: luck.choice([0, 0, 1, 2])]]
            last = [inside(Else)] if luck.random() < 0.6 else []
            return [inside(If, conditions[-1]), *more, *last]
        case "loop" if luck.random() < 0.5:
            return [inside(For, luck.randint(0, 3), var_name=luck.choice("ij"))]
        case "loop":
            return [inside(While, luck.choice(["n < 3", "n < 6", "true"]))]
        case "group":
            return [inside(Group)]
    leaves = [
        *[UpdateState(n="n|add:1")] * 4,
        *[Log("{{ n }} {{ i|default:'-' }} {{ j|default:'-' }}")] * 3,
        *[Leave(condition, target), Break(condition, target)] * 2,
        Delay("PT1H"),
    ]
    return [luck.choice([*leaves * 2, Stop()])]


class _Out(Exception):
    """On the way out of blocks, to the parent or to the nearest loop; then asked again or not."""

    def __init__(self, target: str, *, asks_again: bool) -> None:
        super().__init__(target)
        self.target = target
        self.asks_again = asks_again


class _Stopped(Exception):
    """The run is over, or has taken as many steps as it may."""


def read_aloud(rows: Sequence[JSONObject], state: dict[str, Any], limit: int) -> Reader:
    """Read a flow to its end, or until ``limit`` rows have been asked."""
    reader = Reader(state, limit)
    with suppress(_Out, _Stopped):
        reader.block(rows)
    return reader


class Reader:
    """What was asked (``trace``) and logged, and what the state is (``scope.state``)."""

    def __init__(self, state: dict[str, Any], limit: int) -> None:
        self.scope = Scope(state)
        self.limit = limit
        self.trace: list[str] = []
        self.logs: list[str] = []

    def ask(self, item: JSONObject) -> None:
        if len(self.trace) == self.limit:
            raise _Stopped
        self.trace.append(item["label"] or item["action"].removesuffix("_state"))

    def value(self, source: str) -> Any:
        return compile_expression(source).evaluate(self.scope)

    def block(self, rows: Sequence[JSONObject]) -> None:
        chain_is_taken = False
        for item in rows:
            if item["action"] not in ("else_if", "else"):
                chain_is_taken = False
            if not item["enabled"] or chain_is_taken:
                continue
            self.ask(item)
            chain_is_taken = self.row(item)

    def row(self, item: JSONObject) -> bool:
        """Do what the row says; whether the rest of its chain is done with."""
        config, rows = item["config"], item["children"]
        match item["action"]:
            case "if" | "else_if":
                if not self.value(config["condition"]):
                    return False
                self.inside(item, lambda: self.block(rows))
                return True
            case "else" | "group":
                self.inside(item, lambda: self.block(rows))
                return True
            case "while":
                if self.value(config["condition"]):
                    self.loop(item, lambda: bool(self.value(config["condition"])))
            case "for":
                self.count(item)
            case "leave" | "break":
                if not config.get("condition") or self.value(config["condition"]):
                    raise _Out(config["target"], asks_again=item["action"] == "leave")
            case "stop":
                raise _Stopped
            case "delay":
                self.ask(item)
            case "log":
                self.logs.append(compile_template(config["message"]).render(self.scope))
            case "update_state":
                new = {key: self.value(text) for key, text in config["state"].items()}
                self.scope.state.update(new)
        return False

    def inside(self, item: JSONObject, rows: Callable[[], None], *, is_loop: bool = False) -> bool:
        """Through a block once, and ask its row again; whether there may be another round."""
        try:
            rows()
        except _Out as way:
            if way.target == "loop" and not is_loop:
                raise
            if not way.asks_again:
                return False
        self.ask(item)
        return True

    def loop(self, item: JSONObject, goes_on: Callable[[], bool]) -> None:
        while self.inside(item, lambda: self.block(item["children"]), is_loop=True):
            if not goes_on():
                return

    def count(self, item: JSONObject) -> None:
        config = item["config"]
        before = self.scope.loop
        numbers = iter(range(config.get("start", 0), config["end"], config.get("step", 1)))
        try:
            for number in numbers:
                if name := config.get("var_name"):
                    self.scope.loop = {**before, name: number}
                if not self.inside(item, lambda: self.block(item["children"]), is_loop=True):
                    return
        finally:
            self.scope.loop = before
