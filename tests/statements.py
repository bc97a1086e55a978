"""What a block of code says to the database, in words that a test can compare."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.test.utils import CaptureQueriesContext

RUN, EVENT, WAIT = "flowcontrol_flowrun", "flowcontrol_runevent", "flowcontrol_runwait"


class Statements:
    """The statements of a block, in order; ``note`` adds something that is not one."""

    def __init__(self, context: CaptureQueriesContext) -> None:
        self._context = context

    def note(self, word: str) -> None:
        connection.queries_log.append({"sql": f"-- {word}", "time": "0"})

    @property
    def texts(self) -> list[str]:
        return [query["sql"] for query in self._context.captured_queries]

    @property
    def story(self) -> list[str]:
        """Commits, writes and notes; statements that only read are left out."""
        return [word for text in self.texts for word in _words(text).split(", ") if word]


def _words(text: str) -> str:
    if text.startswith("-- "):
        return text[3:]
    text = re.sub(r"\s+", " ", text.strip().replace('"', ""))
    first = text.split(" ")[0].rstrip(";").upper()
    match first:
        case "BEGIN" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE":
            return first.lower() if " TO SAVEPOINT" not in text.upper() else "undo"
        case "WITH":
            if text.startswith("WITH written AS"):
                return "write, history"  # PostgreSQL does both in one statement
            return "claim" if "claim_token" in text else ""
        case "UPDATE" if text.startswith(f"UPDATE {RUN}"):
            if "RETURNING" in text and "FROM (" not in text:
                return "claim"
            return "write" if " cursor = " in text else "change"
        case "INSERT":
            table = text.split(" ")[2]
            return {EVENT: "history", WAIT: "wait", RUN: "new run"}.get(table, f"insert {table}")
        case "UPDATE" | "DELETE":
            table = text.split(" ")[1 if first == "UPDATE" else 2]
            return "" if table == WAIT else f"{first.lower()} {table}"
    return ""


@contextmanager
def statements() -> Iterator[Statements]:
    """Watch what the block says to the database."""
    with CaptureQueriesContext(connection) as context:
        yield Statements(context)
