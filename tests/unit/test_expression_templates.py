"""Texts with expressions in them."""

from __future__ import annotations

import pytest
from django.db import OperationalError

from flowcontrol.expressions import (
    ExpressionError,
    ExpressionSyntaxError,
    Scope,
    compile_template,
)
from tests.unit.language import a_flight, about, text_of


def test_plain_text_arrives_as_typed() -> None:
    assert text_of("Dear {{ name }} <b>", name="O'Brien & Co") == "Dear O'Brien & Co <b>"


def test_html_escapes_what_expressions_give() -> None:
    assert text_of("<b>{{ name }}</b>", html=True, name="O'Brien & Co") == (
        "<b>O&#x27;Brien &amp; Co</b>"
    )
    assert text_of('{{ name|default:"<i>" }}', html=True) == "&lt;i&gt;"
    assert text_of("{{ name|join:'<br>' }}", html=True, name=["a", "b"]) == "a&lt;br&gt;b"


def test_a_text_knows_the_same_names_filters_and_operators() -> None:
    scope = Scope({"n": 5, "d": {"k": [1, 2]}}, fixed={"object": a_flight()}, loop={"i": 3})
    source = "{{ object.code }} {{ n|add:i }} {{ d.k.1 }} {{ n < 6 and i }} {{ (n == 5) }}"
    assert text_of(source, scope) == "UA 1117 8 2 3 True"
    assert ("object.code", "UA 1117") in scope.reads


def test_what_is_missing_is_empty_text() -> None:
    assert text_of("[{{ missing }}{{ d.k }}{{ null }}]", d={}) == "[]"


def test_conditions_in_a_text_are_strict() -> None:
    source = "{% if n<3 %}few{% elif n < 6 and (t == 'late') %}some{% else %}many{% endif %}"
    assert [text_of(source, n=n, t="late") for n in (2, 5, 7)] == ["few", "some", "many"]
    with pytest.raises(ExpressionError, match="cannot compare nothing"):
        text_of(source)


def test_loops_in_a_text_have_variables_of_their_own() -> None:
    source = (
        "{% for x in l %}{{ forloop.counter }}.{{ x }}"
        "{% for y in m %}{{ forloop.parentloop.counter }}{{ y|add:x }}{% endfor %} {% endfor %}"
        "{{ x }}"
    )
    assert text_of(source, l=[10, 20], m=[1], x="state") == "1.10111 2.20221 state"
    assert text_of("{% for k, v in d|items %}{{ k }}={{ v }}{% endfor %}", d={"a": 1}) == "a=1"
    assert text_of("{% for x in l %}{% empty %}none{% endfor %}", l=[]) == "none"
    assert text_of("{% for x in missing %}{% empty %}none{% endfor %}") == "none"
    assert text_of("{% for x in l reversed %}{{ x }}{% endfor %}", l=[1, 2]) == "21"
    assert text_of("{% for k in d %}{{ k }}{% endfor %}", d={"a": 1}) == "a"


def test_a_loop_in_a_text_shadows_even_a_runs_loop_variable() -> None:
    scope = Scope(loop={"x": "run"})
    assert text_of("{{ x }}{% for x in '1 2'|split %}{{ x }}{% endfor %}{{ x }}", scope) == (
        "run12run"
    )


def test_names_may_be_given_to_values_in_a_text() -> None:
    assert text_of("{% with a=n|add:1 b=t %}{{ a }}{{ b }}{% endwith %}", n=1, t="x") == "2x"


def test_comments_and_verbatim_parts() -> None:
    assert text_of("a{# no #}{% comment %}{{ {% if %}{% endcomment %}b") == "ab"
    assert text_of("{% verbatim %}{{ a }} {% if %} {{{% endverbatim %}") == "{{ a }} {% if %} {{"


def test_dates_in_a_text_are_on_the_clock_that_people_read() -> None:
    scope = about()
    scope.state = {"at": "2013-02-04T17:00:00Z"}
    assert text_of("{{ now }}", scope) == "Feb. 4, 2013, noon"
    assert text_of("{{ now|in_zone:'Europe/Paris' }}", scope) == "Feb. 4, 2013, 6 p.m."
    assert text_of('{{ at|date:"H:i" }}', scope) == "12:00"
    assert text_of("{{ today }}", scope) == "Feb. 4, 2013"


def test_a_text_lists_the_names_it_may_read_without_its_own() -> None:
    template = compile_template(
        "{{ a.b|add:c }}{% if d == e %}{{ f }}{% else %}{{ g }}{% endif %}"
        "{% for x, y in h|sort %}{{ x.k }}{{ y }}{{ forloop.counter }}{{ i }}{% empty %}{{ x }}"
        "{% endfor %}{% with z=j %}{{ z }}{{ k }}{% endwith %}{{ z }}{% verbatim %}{{ v }}"
        "{% endverbatim %}"
    )
    assert template.names == {"a.b", *"cdefghi", "x", *"jkz"}


@pytest.mark.parametrize(
    ("source", "position", "message"),
    [
        ("a\n{% load i18n %}", 2, 'Line 2, {% load i18n %}: there is no tag "load".'),
        ("{% include 'x' %}", 0, 'there is no tag "include". There are if, for, with, comment, v'),
        ("{% extends 'x' %}", 0, 'there is no tag "extends"'),
        ("{% debug %}", 0, 'there is no tag "debug"'),
        ("{% csrf_token %}", 0, 'there is no tag "csrf_token"'),
        ("{% autoescape off %}", 0, 'there is no tag "autoescape"'),
        ("{% now 'Y' %}", 0, 'there is no tag "now"'),
        ("{% iff n %}", 0, 'there is no tag "iff". Did you mean if?'),
        ("x{% if n %}", 1, "Line 1, {% if n %}: this is never closed; {% endif %} is missing."),
        ("{% for x in l %}", 0, "this is never closed; {% endfor %} is missing."),
        ("{% endif %}", 0, "this does not belong here, nothing is open."),
        ("{% else %}", 0, "this does not belong here, nothing is open."),
        ("{% if n %}{% endfor %}", 10, "{% endfor %}: this does not belong here; expected {% el"),
        ("{% if n %}{% else %}{% else %}{% endif %}", 20, "{% else %}: this does not belong here"),
        ("{% if %}{% endif %}", 0, "a condition is missing."),
        ("{% if n %}{% elif %}{% endif %}", 10, "{% elif %}: a condition is missing."),
        ("{% if n %}{% else if m %}{% endif %}", 10, "takes no condition; write {% elif … %}."),
        ("{% if n %}{% endif n %}", 10, "takes no condition; write {% endif %}."),
        ("{% for x l %}{% endfor %}", 0, "write it as {% for item in items %} … {% endfor %}."),
        ("{% with %}{% endwith %}", 0, "write it as {% with name=value %} … {% endwith %}."),
        ("{% with a %}{% endwith %}", 0, "write it as {% with name=value %} … {% endwith %}."),
        ("{% verbatim %}", 0, "this is never closed; {% endverbatim %} is missing."),
        ("a\n{{ n|ad:1 }}", 7, 'Line 2, {{ n|ad:1 }}: There is no filter "ad". Did you mean add?'),
        ("{{ n }}{{ n == }}", 14, "{{ n == }}: The expression ends too early: a value is missing."),
        ("{% if n = 5 %}{% endif %}", 8, 'A single "=" means nothing here'),
        ("{% for x in l|ad %}{% endfor %}", 14, 'There is no filter "ad".'),
        ("{{ object._meta }}", 3, "names that begin with an underscore are private"),
        ("{{ n|safe }}", 5, 'There is no filter "safe".'),
        ("{{ }}", 0, "{{ }}: there is nothing between the braces."),
        ("{% %}", 0, "{% %}: there is nothing between the braces."),
        ("a\n {{ n", 3, 'Line 2: "{{" is not closed by "}}" on the same line.'),
        ("{% if n\n%}", 0, 'Line 1: "{%" is not closed by "%}" on the same line.'),
        ("{% if n %}" * 51 + "{% endif %}" * 51, 490, "tags are nested too deeply here."),
    ],
)
def test_a_mistake_in_a_text_is_shown_at_its_place(
    source: str, position: int, message: str
) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        compile_template(source)
    assert message in str(caught.value)
    assert caught.value.position == position
    assert caught.value.expression == source


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ missing|lower }}", 'the filter "lower" refused: it needs a text, not nothing (null)'),
        ("{{ object.save }}", '"save" changes data'),
        ("{% for x in n %}{% endfor %}", "{% for %} needs a list, and “n” is the number 5."),
        ("{% for x in t %}{% endfor %}", '{% for %} needs a list, and “t” is the text "late".'),
        ("{% for a, b in l %}{% endfor %}", "Need 2 values to unpack in for loop; got 1."),
        ("{{ broken }}", "The text cannot be written: ZeroDivisionError"),
    ],
)
def test_a_text_that_cannot_be_written_is_an_error(source: str, message: str) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ZeroDivisionError

    scope = Scope({"n": 5, "t": "late", "l": [1]}, fixed={"object": a_flight(), "broken": Broken()})
    with pytest.raises(ExpressionError) as caught:
        text_of(source, scope)
    assert message in str(caught.value)


def test_trouble_with_the_database_passes_through_a_text() -> None:
    class Broken:
        def __str__(self) -> str:
            raise OperationalError

    with pytest.raises(OperationalError):
        text_of("{{ object }}", about(object=Broken()))
