"""Webhooks: rows that call other systems over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.base import BaseAction, Continue, Directive, Effects, RunHandle
from flowcontrol.exceptions import (
    AuthorError,
    ExpressionSyntaxError,
    WebhookFailed,
    WebhookUnavailable,
)
from flowcontrol.expressions import (
    Scope,
    compile_expression,
    compile_template,
    texts_in,
    to_json,
)
from flowcontrol.failures import clean
from flowcontrol.named_secrets import Secrets, unknown_secret
from flowcontrol.registry import register_action
from flowcontrol.schemas import MASK

can_call: bool = True
"""Whether the extra ``webhooks`` is installed; the type is there without it too, to say so."""
try:
    from flowcontrol import outbound
except ImportError as error:
    if error.name not in ("httpx", "httpcore"):
        raise
    can_call = False

Config = Mapping[str, Any]

LONGEST_EXCERPT: Final = 300
"""Characters of an answer that an error message repeats."""

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NOT_IN_A_HEADER: Final = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_AN_ADDRESS: Final = re.compile(r"[\x00-\x20\x7f]")
_OF_THE_CONNECTION: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)
_ONE_VALUE: Final = re.compile(r"\s*\{\{((?:(?!\{\{|\}\}).)*)\}\}\s*", re.DOTALL)


@register_action
class CallWebhook(BaseAction):
    """Sends an HTTP request; the result has its ``status``, ``content_type`` and ``body``."""

    name = "call_webhook"
    verbose_name = _("Call webhook")
    description = _("Calls another system over HTTP and keeps what it answers.")
    group = _("Messages")
    icon = "globe"
    effects: ClassVar[Effects] = "external"
    extra_names = ("secret",)
    retry: ClassVar[Mapping[str, Any]] = {
        "attempts": 5,
        "wait": 10,
        "factor": 3,
        "max_wait": 3600,
        "errors": ["WebhookUnavailable"],
    }
    config_schema = {
        "type": "object",
        "properties": {
            "url": {"type": "string", "format": "template", "minLength": 1, "maxLength": 2000},
            "method": {
                "type": "string",
                "enum": ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"],
                "default": "POST",
            },
            "headers": {
                "type": "object",
                "format": "template",
                "additionalProperties": {"type": "string"},
                "default": {},
            },
            "json": {"type": ["object", "array", "string"], "format": "template"},
            "text": {"type": "string", "format": "template"},
            "timeout": {"type": "number", "minimum": 0.1, "maximum": 300, "default": 10},
            "accepts": {
                "type": "array",
                "items": {"type": "integer", "minimum": 300, "maximum": 599},
                "default": [],
            },
            "follow_redirects": {"type": "boolean", "default": True},
        },
        "required": ["url"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "url": _("Address"),
        "method": _("Method"),
        "headers": _("Headers"),
        "json": _("JSON body"),
        "text": _("Text body"),
        "timeout": _("Seconds to wait for the answer"),
        "accepts": _("Statuses that are fine too"),
        "follow_redirects": _("Follow redirects"),
        **{f"method={name}": name for name in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")},
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "url": _(
            "Values go between double braces: https://example.com/flights/{{ object.pk }}. "
            "A value from outside needs |urlencode."
        ),
        "headers": _(
            'Names and texts: {"Authorization": "Bearer {{ secret.DESK_TOKEN }}"}. Secrets are '
            "named in the settings of this site."
        ),
        "json": _(
            'Texts are templates; one that is a single value keeps its type: {"delay": '
            '"{{ object.dep_delay }}"} sends a number.'
        ),
        "text": _("Instead of JSON."),
        "accepts": _("Beside 200 to 299, which always are; all others fail the row."),
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        if not can_call:
            raise AuthorError(str(_NOT_INSTALLED))
        secrets = Secrets()
        call = self._call(run, config, secrets)
        answer = outbound.send(call)
        told = f"{call} → {answer.status}"
        if answer.is_fine or answer.status in config.get("accepts", []):
            run.log(told)
            return Continue(
                {
                    "status": answer.status,
                    "content_type": clean(secrets.hide(answer.content_type)),
                    "body": secrets.hide(_body(answer.content_type, answer.text)),
                }
            )
        excerpt = " ".join(clean(secrets.hide(answer.text)).split())[:LONGEST_EXCERPT]
        told = f"{told}: {excerpt}" if excerpt else told
        if answer.asks_to_come_back:
            raise WebhookUnavailable(told, answer.status, answer.retry_after)
        raise WebhookFailed(told, answer.status)

    def _call(self, run: RunHandle, config: Config, secrets: Secrets) -> outbound.Call:
        """The call as the row writes it; the secrets come in last."""
        texts = _Texts(run, secrets)
        url = texts.render(config["url"]).strip()
        headers = {name: texts.render(text) for name, text in config.get("headers", {}).items()}
        headers = {"Idempotency-Key": run.step_key} | _canonical(headers)
        content = ""
        if config.get("json") is not None:
            content = json.dumps(texts.values(config["json"]), ensure_ascii=False)
            headers = {"Content-Type": "application/json"} | headers
        elif config.get("text"):
            content = secrets.fill(texts.render(config["text"]))
            headers = {"Content-Type": "text/plain; charset=utf-8"} | headers
        shown = secrets.mask(url)
        url = secrets.fill(url)
        if _NOT_IN_AN_ADDRESS.search(url):
            raise AuthorError(
                _now("There is a blank or a line break in the address “%(url)s”.") % {"url": shown}
            )
        return outbound.Call(
            method=config.get("method", "POST"),
            url=url,
            shown_url=shown,
            headers={name: _header(name, secrets.fill(text)) for name, text in headers.items()},
            content=content.encode("utf-8", "replace"),
            timeout=config.get("timeout", 10),
            follow_redirects=config.get("follow_redirects", True),
            stays=secrets.were_read,
        )

    def sentence(self, config: Config) -> str:
        return _now("%(method)s %(url)s") % {
            "method": config.get("method", "POST"),
            "url": config.get("url", "…"),
        }

    @classmethod
    def check_config(cls, config: Config) -> list[tuple[str, str, str]]:
        found = [] if can_call else [("error", "", str(_NOT_INSTALLED))]
        if config.get("json") is not None and config.get("text"):
            found.append(("error", "text", _now("There can be a JSON body or a text, not both.")))
        for field, text in _templates(config):
            try:
                names = compile_template(text).names
            except ExpressionSyntaxError as error:
                found.append(("error", field, f"{text}: {error}"))
                continue
            secrets = (name.partition(".")[2] for name in names if name.startswith("secret."))
            found += [("error", field, told) for name in secrets if (told := unknown_secret(name))]
        for name in config.get("headers", {}):
            if told := _header_problem(name):
                found.append(("error", "headers", told))
        return found


_NOT_INSTALLED: Final = _("Webhooks need httpx: install flowcontrol[webhooks].")


class _Texts:
    """Writes the texts of one call, which can read ``secret`` beside all other names."""

    def __init__(self, run: RunHandle, secrets: Secrets) -> None:
        scope = run.scope
        self._reads = scope.reads
        self._secrets = secrets
        self._scope = Scope(
            scope.state, loop=scope.loop, fixed={**scope.fixed, "secret": secrets}, reads=[]
        )

    def render(self, source: str) -> str:
        try:
            return compile_template(source).render(self._scope)
        finally:
            self._tell_reads()

    def values(self, value: Any) -> Any:
        """A JSON value with its texts written, secrets included."""
        if isinstance(value, str):
            return self._value(value)
        if isinstance(value, dict):
            return {name: self.values(inner) for name, inner in value.items()}
        return [self.values(inner) for inner in value] if isinstance(value, list) else value

    def _value(self, source: str) -> Any:
        single = _ONE_VALUE.fullmatch(source)
        if single is None:
            return self._secrets.fill(self.render(source))
        try:
            value = compile_expression(single[1].strip()).evaluate(self._scope)
        finally:
            self._tell_reads()
        value = to_json(value, where=source)
        return self._secrets.fill(value) if isinstance(value, str) else value

    def _tell_reads(self) -> None:
        for name, value in self._scope.reads:
            self._reads.append((name, MASK if name.split(".")[0] == "secret" else value))
        self._scope.reads = []


def _templates(config: Config) -> Iterator[tuple[str, str]]:
    """The templates of a config, by field."""
    for field in ("url", "text"):
        if isinstance(config.get(field), str):
            yield field, config[field]
    for text in config.get("headers", {}).values():
        yield "headers", text
    for text in texts_in(config.get("json")):
        yield "json", text


def _canonical(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with their names written as everybody writes them: each is there once."""
    return {"-".join(map(str.capitalize, name.split("-"))): text for name, text in headers.items()}


def _header_problem(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        return _now("“%(name)s” is not the name of a header.") % {"name": name}
    if name.lower() in _OF_THE_CONNECTION:
        return _now("The header “%(name)s” is not an author's to set.") % {"name": name}
    return ""


def _header(name: str, text: str) -> str:
    """The value of a header, fit to be sent.

    Raises:
        AuthorError: it is not; the message does not repeat it, because it may be a secret.
    """
    if told := _header_problem(name):
        raise AuthorError(told)
    text = text.strip()
    try:
        text.encode("latin-1")
    except UnicodeError:
        raise AuthorError(
            _now("The header “%(name)s” has characters that no header can hold.") % {"name": name}
        ) from None
    if _NOT_IN_A_HEADER.search(text):
        raise AuthorError(_now("There is a line break in the header “%(name)s”.") % {"name": name})
    return text


def _body(content_type: str, text: str) -> Any:
    """The answer as JSON if it says it is some, else as text."""
    if content_type.endswith(("/json", "+json")) and text.strip():
        try:
            return _without_nul(json.loads(text, parse_constant=_no_constant))
        except (ValueError, RecursionError):
            pass
    return clean(text)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON.")


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name): _without_nul(inner) for name, inner in value.items()}
    return [_without_nul(inner) for inner in value] if isinstance(value, list) else value
