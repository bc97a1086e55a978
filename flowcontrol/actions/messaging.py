"""Messages: to people and to the log."""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.mail import EmailMultiAlternatives
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.wording import shown
from flowcontrol.base import BaseAction, Directive, Effects, FlowDirective, RunHandle
from flowcontrol.exceptions import MailRefused
from flowcontrol.registry import register_action

Config = Mapping[str, Any]

logger = logging.getLogger("flowcontrol.actions.log")

_ADDRESSES = {"type": "array", "items": {"type": "string", "format": "email"}}


@register_action
class SendEmail(BaseAction):
    """Sends one mail to all recipients."""

    name = "send_email"
    verbose_name = _("Send email")
    description = _("Sends an email, as plain text and, if you like, as HTML.")
    group = _("Messages")
    icon = "mail"
    effects: ClassVar[Effects] = "external"
    retry: ClassVar[Mapping[str, Any]] = {
        "attempts": 5,
        "wait": 60,
        "factor": 3,
        "max_wait": 3600,
        # Of connections, time-outs and servers that are busy; a refusal for good is none of it.
        "errors": ["OSError"],
    }
    config_schema = {
        "type": "object",
        "properties": {
            "to": {**_ADDRESSES, "minItems": 1},
            "cc": _ADDRESSES,
            "bcc": _ADDRESSES,
            "subject": {"type": "string", "format": "template", "minLength": 1, "maxLength": 200},
            "text": {"type": "string", "format": "template", "minLength": 1},
            "html": {"type": "string", "format": "template"},
            "from": {"type": "string", "format": "email"},
            "reply_to": _ADDRESSES,
        },
        "required": ["to", "subject", "text"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "to": _("To"),
        "cc": _("Copy to"),
        "bcc": _("Hidden copy to"),
        "subject": _("Subject"),
        "text": _("Text"),
        "html": _("HTML"),
        "from": _("From"),
        "reply_to": _("Replies to"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "bcc": _("The other recipients do not see these."),
        "text": _("Values go between double braces: {{ object }}."),
        "html": _("Optional. Values are escaped."),
        "from": _("Empty: the default sender of this site."),
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        message = EmailMultiAlternatives(
            # A header cannot hold line breaks, and a template may well give some.
            subject=" ".join(run.render(config["subject"]).split()),
            body=run.render(config["text"]),
            from_email=config.get("from"),
            to=config["to"],
            cc=config.get("cc"),
            bcc=config.get("bcc"),
            reply_to=config.get("reply_to"),
            # Lets the receiving side recognise a mail that a crash made us send again.
            headers={"X-Flowcontrol-Step": run.step_key},
        )
        if config.get("html"):
            message.attach_alternative(run.render(config["html"], html=True), "text/html")
        try:
            message.send()
        except smtplib.SMTPException as error:
            if _is_final(error):
                told = _now("The mail server refuses this mail: %(reason)s") % {"reason": error}
                raise MailRefused(told) from error
            raise
        return FlowDirective.CONTINUE

    def sentence(self, config: Config) -> str:
        return _now("Send “%(subject)s” to %(to)s") % {
            "subject": config.get("subject", "…"),
            "to": shown(config.get("to", "…")),
        }


def _is_final(error: smtplib.SMTPException) -> bool:
    """Whether a mail server would say the same again: it answers 5xx, or lacks what is needed."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _why in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code >= 500
    return isinstance(error, smtplib.SMTPNotSupportedError)


@register_action
class Log(BaseAction):
    """Writes a line into the run's history and the site's log."""

    name = "log"
    verbose_name = _("Log")
    description = _("Writes a line into the history of the run.")
    group = _("Messages")
    icon = "note"
    effects: ClassVar[Effects] = "none"
    writes_json = True
    config_schema = {
        "type": "object",
        "properties": {
            "message": {"type": "string", "format": "template", "minLength": 1},
            "level": {
                "type": "string",
                "enum": ["debug", "info", "warning", "error"],
                "default": "info",
            },
        },
        "required": ["message"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {"message": _("Message"), "level": _("Level")}

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        message = run.render(config["message"])
        run.log(message)
        level = logging.getLevelNamesMapping()[config.get("level", "info").upper()]
        if not run.is_trial:
            logger.log(level, "%s of %s: %s", run, run.flow, message)
        return FlowDirective.CONTINUE

    def sentence(self, config: Config) -> str:
        return _now("Log “%(message)s”") % {"message": config.get("message", "…")}
