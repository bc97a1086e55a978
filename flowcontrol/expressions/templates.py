"""Texts with ``{{ expressions }}`` and Django's ``{% if %}`` and ``{% for %}``.

Django's template language with our expressions in every place where a value stands: names,
filters, operators and errors are the same as in a condition. Only the tags in `TAGS` exist;
nothing loads, includes or calls anything else. What is missing is empty text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NoReturn, cast

from django.db.models.manager import BaseManager
from django.template import Context, Engine, Library, Template, TemplateSyntaxError
from django.template.base import (
    DebugLexer,
    Node,
    NodeList,
    Parser,
    Token,
    TokenType,
    VariableNode,
    render_value_in_context,
)
from django.template.defaulttags import (
    ForNode,
    IfNode,
    WithNode,
    comment,
    do_for,
    do_with,
    verbatim,
)
from django.utils.translation import gettext

from flowcontrol.exceptions import ExpressionError, ExpressionSyntaxError
from flowcontrol.expressions.grammar import Expression, compiled
from flowcontrol.expressions.libraries import on_filters_changed
from flowcontrol.expressions.lookups import Scope
from flowcontrol.expressions.moments import local
from flowcontrol.expressions.syntax import DEEPEST_NESTING
from flowcontrol.expressions.tokens import Misread, did_you_mean
from flowcontrol.expressions.wording import PASSING, Refusal, describe, reason

TAGS: Final = ("if", "for", "with", "comment", "verbatim")
USAGE: Final = {
    "for": "{% for item in items %} … {% endfor %}",
    "with": "{% with name=value %} … {% endwith %}",
}


class TextTemplate:
    """A compiled text; ``names`` are the dotted names that it may read, loop variables left out."""

    __slots__ = ("_html", "_template", "names", "source")

    def __init__(self, source: str, template: _Template, html: bool) -> None:
        self.source = source
        self.names = frozenset(_names(template.nodelist, frozenset()))
        self._template = template
        self._html = html

    def render(self, scope: Scope, *, most_steps: int | None = None) -> str:
        """The text in this scope, or ExpressionError; trouble with the database passes through.

        ``most_steps`` limits the expressions and the rounds of loops, for texts that are tried.
        """
        context = _ScopeContext(scope, self._html, most_steps)
        try:
            return str.__str__(self._template.render(context))
        except (*PASSING, ExpressionError):
            raise
        except Exception as error:
            why = reason(error).rstrip(". ")
            raise ExpressionError(
                gettext("The text cannot be written: %(why)s.") % {"why": why},
                expression=self.source,
            ) from error

    def __repr__(self) -> str:
        return f"<TextTemplate {self.source!r}>"


def compile_template(source: str, *, html: bool = False) -> TextTemplate:
    """The text template, from a cache; ExpressionSyntaxError says what is wrong where.

    Plain text arrives as typed; with ``html`` what expressions give is escaped for HTML.
    """
    if not isinstance(source, str):
        raise ExpressionSyntaxError(
            gettext("A template is a text, not %(source)s.") % {"source": describe(source)}
        )
    return _compiled(str.__str__(source), html)


@lru_cache(maxsize=1024)
def _compiled(source: str, html: bool) -> TextTemplate:
    return TextTemplate(source, _Template(source, html), html)


on_filters_changed(_compiled.cache_clear)


class _ScopeContext(Context):
    """A template context in which tags keep their own variables, over a scope."""

    def __init__(self, scope: Scope, html: bool, most_steps: int | None = None) -> None:
        super().__init__({}, autoescape=html)
        self.scope = scope
        self.steps_left = most_steps

    def count(self, steps: int) -> None:
        """Take steps from what is left of them, if they are limited."""
        if self.steps_left is not None:
            self.steps_left -= steps
            if self.steps_left < 0:
                raise Refusal(gettext("it takes too many steps to be tried"))

    def view(self) -> Scope:
        """The scope with the template's own loop variables innermost."""
        layers = [layer for layer in self.dicts[1:] if layer]  # the first holds True, False, None
        if not layers:
            return self.scope
        loop = dict(self.scope.loop)
        for layer in layers:
            loop.update(layer)
        scope = self.scope
        return Scope(scope.state, loop=loop, fixed=scope.fixed, reads=scope.reads)


class _Value:
    """An expression in a place where Django expects a variable with filters, or a condition."""

    is_var = False  # Django then looks no further

    def __init__(self, expression: Expression) -> None:
        self.expression = expression

    def resolve(self, context: _ScopeContext, ignore_failures: bool = False) -> Any:
        """As `FilterExpression.resolve`."""
        context.count(1)
        return self.expression.evaluate(context.view())

    eval = resolve  # what `IfNode` asks


class _Items(_Value):
    """What ``{% for %}`` goes through: a list, rows, the keys of a record; nothing if missing."""

    def resolve(self, context: _ScopeContext, ignore_failures: bool = False) -> Any:
        """As `FilterExpression.resolve`, refusing what has no items."""
        value = super().resolve(context)
        if isinstance(value, BaseManager):
            value = value.all()
        if value is not None and (isinstance(value, str) or not isinstance(value, Iterable)):
            raise Refusal(
                gettext("{%% for %%} needs a list, and “%(expression)s” is %(value)s")
                % {"expression": self.expression.source, "value": describe(value)}
            )
        if value is not None and context.steps_left is not None:
            # One more than may be, so that a large table is not read to its end.
            value = list(islice(value, context.steps_left + 1))
            context.count(len(value))
        return value


class _Output(Node):
    """``{{ … }}``."""

    child_nodelists = ()

    def __init__(self, value: _Value) -> None:
        self.value = value

    def render(self, context: Any) -> str:
        value = self.value.resolve(context)
        if value is None:
            return ""
        if isinstance(value, datetime):
            # Django would move a value that `in_zone` made back to the current time zone.
            value = local(value).replace(tzinfo=None)
        return str(render_value_in_context(value, context))


class _Template(Template):
    """A template of our own language; needs no configured template engine."""

    def __init__(self, source: str, html: bool) -> None:
        self.html = html
        super().__init__(source, engine=_engine())

    def compile_nodelist(self) -> NodeList:
        tokens = DebugLexer(self.source).tokenize()
        parser = _TemplateParser(self.source, tokens, self.html)
        parser.check_braces(tokens)
        try:
            return parser.parse()
        except TemplateSyntaxError as error:
            # What is left of Django's own messages speaks to programmers.
            token = getattr(error, "token", None) or parser.current
            word = token.contents.partition(" ")[0] if token else ""
            usage = gettext("write it as %(usage)s.") % {"usage": USAGE.get(word)}
            parser.refuse(token, usage if word in USAGE else str(error))


@lru_cache(maxsize=1)
def _engine() -> Engine:
    return Engine(loaders=[("django.template.loaders.locmem.Loader", {})])


class _TemplateParser(Parser):
    """Django's parser with our expressions, few tags, and words that say what to do."""

    def __init__(self, source: str, tokens: list[Token], html: bool) -> None:
        super().__init__(tokens, builtins=[_tags])
        self.source = source
        self.html = html
        self.current = tokens[0] if tokens else None
        self.depth = 0

    def parse(self, parse_until: Iterable[str] | None = None) -> NodeList:
        """As Django's; blocks inside blocks end somewhere."""
        self.depth += 1
        if self.depth > DEEPEST_NESTING:
            self.refuse(self.current, gettext("tags are nested too deeply here."))
        nodelist = super().parse(parse_until)
        self.depth -= 1
        return nodelist

    def next_token(self) -> Token:
        self.current = super().next_token()
        return self.current

    def compile_filter(self, token: str) -> Any:
        """An expression that stands in the current token."""
        try:
            return _Value(compiled(token, self.html))
        except Misread as error:
            begin = self.source.find(token, _begin(self.current)) if token else -1
            begin = _begin(self.current) if begin < 0 else begin
            raise ExpressionSyntaxError(
                gettext("Line %(line)s, %(shown)s: %(error)s")
                % {
                    "line": self.line(begin),
                    "shown": self.shown(self.current),
                    "error": error.advice,
                },
                expression=self.source,
                position=begin + (error.position or 0),
            ) from None

    def extend_nodelist(self, nodelist: NodeList, node: Node, token: Token) -> None:
        if isinstance(node, VariableNode):
            node = _Output(node.filter_expression)  # type: ignore[arg-type]
        super().extend_nodelist(nodelist, node, token)

    def invalid_block_tag(
        self, token: Token, command: str, parse_until: Iterable[str] | None = None
    ) -> NoReturn:
        expected = list(parse_until or [])
        if command.startswith("end") or command in {"else", "elif", "elseif", "empty"}:
            told = gettext("this does not belong here, nothing is open.")
            if expected:
                told = gettext("this does not belong here; expected %(tags)s.")
            self.refuse(token, told % {"tags": _one_of(expected)})
        close = difflib.get_close_matches(command, TAGS, n=1)
        advice = gettext("There are %(tags)s.") % {"tags": ", ".join(TAGS)}
        advice = did_you_mean(close) if close else advice
        self.refuse(
            token,
            gettext('there is no tag "%(command)s". %(advice)s')
            % {"command": command, "advice": advice},
        )

    def unclosed_block_tag(self, parse_until: Iterable[str]) -> NoReturn:
        _, token = self.command_stack.pop()
        closing = list(parse_until)[-1]
        self.refuse(
            token,
            gettext("this is never closed; {%% %(closing)s %%} is missing.") % {"closing": closing},
        )

    def check_braces(self, tokens: list[Token]) -> None:
        """Refuse braces with nothing in them, and tags that no ``%}`` closes on the same line.

        Django takes a tag with a line break in it for plain text, and would send it out.
        """
        until = ""  # the tag that ends a part in which braces mean nothing
        for token in tokens:
            command = token.contents.partition(" ")[0]
            if token.token_type == TokenType.BLOCK and command:
                if until and command == until:
                    until = ""
                elif not until and command in {"comment", "verbatim"}:
                    until = f"end{command}"
            elif token.token_type in {TokenType.BLOCK, TokenType.VAR} and not token.contents:
                self.refuse(token, gettext("there is nothing between the braces."))
            elif token.token_type == TokenType.TEXT and not until:
                self._check_text(token)

    def _check_text(self, token: Token) -> None:
        for opening, closing in (("{{", "}}"), ("{%", "%}")):
            if opening in token.contents:
                begin = _begin(token) + token.contents.index(opening)
                raise ExpressionSyntaxError(
                    gettext(
                        'Line %(line)s: "%(opening)s" is not closed by "%(closing)s" on the '
                        "same line."
                    )
                    % {"line": self.line(begin), "opening": opening, "closing": closing},
                    expression=self.source,
                    position=begin,
                )

    def refuse(self, token: Token | None, message: str) -> NoReturn:
        begin = _begin(token)
        raise ExpressionSyntaxError(
            gettext("Line %(line)s, %(shown)s: %(message)s")
            % {"line": self.line(begin), "shown": self.shown(token), "message": message},
            expression=self.source,
            position=begin,
        )

    def line(self, position: int) -> int:
        return self.source.count("\n", 0, position) + 1

    def shown(self, token: Token | None) -> str:
        if token is None or token.position is None:
            return "the text"
        return self.source[slice(*token.position)]


def _begin(token: Token | None) -> int:
    return token.position[0] if token is not None and token.position else 0


def _one_of(tags: Iterable[str]) -> str:
    return gettext(" or ").join(f"{{% {tag} %}}" for tag in tags)


# Tags

_tags = Library()
_tags.tag("with", do_with)
_tags.tag("comment", comment)
_tags.tag("verbatim", verbatim)


@_tags.tag("for")
def _for(parser: _TemplateParser, token: Token) -> ForNode:
    """``{% for %}`` as Django's, but what has no items is an error."""
    node: Any = do_for(parser, token)
    node.sequence = _Items(node.sequence.expression)
    return cast(ForNode, node)


@_tags.tag("if")
def _if(parser: _TemplateParser, token: Token) -> IfNode:
    """``{% if %}`` as Django's, with conditions in our language."""
    branches: list[tuple[Any, NodeList]] = []
    condition = _condition(parser, token)
    while True:
        branches.append((condition, parser.parse(("elif", "else", "endif"))))
        token = parser.next_token()
        command, _, rest = token.contents.partition(" ")
        if command == "elif":
            condition = _condition(parser, token)
        elif rest:
            tag = "{% elif … %}" if command == "else" else f"{{% {command} %}}"
            parser.refuse(token, gettext("this takes no condition; write %(tag)s.") % {"tag": tag})
        elif command == "else":
            condition = None
            branches.append((None, parser.parse(("endif",))))
            parser.delete_first_token()
            break
        else:
            break
    return IfNode(branches)


def _condition(parser: _TemplateParser, token: Token) -> Any:
    _, _, text = token.contents.partition(" ")
    if not text.strip():
        parser.refuse(token, gettext("a condition is missing."))
    return parser.compile_filter(text.strip())


def _names(nodelist: Iterable[Any], bound: frozenset[str]) -> Iterator[str]:
    """The names that nodes read, without those that a tag around them binds."""
    for node in nodelist:
        match node:
            case _Output():
                yield from _free(node.value, bound)
            case IfNode():
                for condition, branch in node.conditions_nodelists:
                    if condition is not None:
                        yield from _free(condition, bound)
                    yield from _names(branch, bound)
            case ForNode():
                yield from _free(node.sequence, bound)
                inner = bound.union(node.loopvars, ["forloop"])
                yield from _names(node.nodelist_loop, inner)
                yield from _names(node.nodelist_empty, bound)
            case WithNode():
                for value in node.extra_context.values():
                    yield from _free(value, bound)
                yield from _names(node.nodelist, bound.union(node.extra_context))


def _free(value: Any, bound: frozenset[str]) -> Iterator[str]:
    return (name for name in value.expression.names if name.split(".")[0] not in bound)
