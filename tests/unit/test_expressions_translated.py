"""What the language says to authors can be translated: no message is bare English."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcontrol.expressions import ExpressionError, Scope, compile_expression
from flowcontrol.expressions import grammar as grammar_module
from tests.guards.repository import PACKAGE

MODULES = [*sorted((PACKAGE / "expressions").glob("*.py")), PACKAGE / "filters.py"]
#: Whoever is called with a message for authors.
SPEAKERS = {"refuse", "Refusal", "TypeError", "ValueError", "_refused", "ExpressionSyntaxError"}


def bare_messages(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        for given in node.args if name in SPEAKERS else ():
            bare = [given] if isinstance(given, ast.Constant | ast.JoinedStr) else []
            for each in bare:
                if re.search(r"[a-z]{2,} [a-z]{2,}", ast.unparse(each)):
                    yield f"line {node.lineno}: {ast.unparse(each)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_every_message_is_marked_for_translation(path: Path) -> None:
    assert list(bare_messages(path.read_text("utf-8"))) == []


def test_the_search_for_bare_messages_finds_some() -> None:
    assert list(bare_messages('raise ValueError("this is bare English")'))
    assert list(bare_messages('refuse(source, 0, f"this is {bare} English too")'))


def test_a_message_is_in_the_language_of_whoever_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def german(message: str) -> str:
        return {
            "“%(expression)s” cannot be evaluated: %(reason)s": "„%(expression)s“ geht nicht."
        }.get(message, message)

    monkeypatch.setattr(grammar_module, "gettext", german)
    with pytest.raises(ExpressionError, match="„n < 1“ geht nicht"):
        compile_expression("n < 1").evaluate(Scope({"n": "x"}))
