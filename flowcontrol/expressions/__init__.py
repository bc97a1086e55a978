"""The expression language: conditions, computed values and texts that authors write.

``compile_expression("n|add:1 < limit").evaluate(scope)`` gives a value,
``compile_template("Flight {{ object.number }}").render(scope)`` a text. Both are compiled once and
cached by their text, read names from a `Scope`, and raise `ExpressionError` rather than guess.
`to_json` says what may enter a run's state. ``docs/reference/expressions.md`` describes the
language for those who write it.
"""

from __future__ import annotations

from flowcontrol.exceptions import ExpressionError, ExpressionSyntaxError, NotJSON
from flowcontrol.expressions.grammar import Expression, compile_expression
from flowcontrol.expressions.json_values import JSON, texts_in, to_json
from flowcontrol.expressions.libraries import FilterHelp, available_filters, filter_help
from flowcontrol.expressions.lookups import Scope, is_exposed
from flowcontrol.expressions.templates import TextTemplate, compile_template
from flowcontrol.expressions.tokens import RESERVED_NAMES
from flowcontrol.expressions.wording import describe, summary

__all__ = [
    "JSON",
    "RESERVED_NAMES",
    "Expression",
    "ExpressionError",
    "ExpressionSyntaxError",
    "FilterHelp",
    "NotJSON",
    "Scope",
    "TextTemplate",
    "available_filters",
    "compile_expression",
    "compile_template",
    "describe",
    "filter_help",
    "is_exposed",
    "summary",
    "texts_in",
    "to_json",
]
