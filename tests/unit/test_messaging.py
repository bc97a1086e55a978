"""Send email and Log: what arrives is what was typed, and nothing else."""

from __future__ import annotations

import logging
import smtplib
from typing import Any

import pytest
from django.core import mail

from flowcontrol.compiling import problems_of
from flowcontrol.documents import make_document
from flowcontrol.exceptions import ConfigError, ExpressionError, MailRefused
from flowcontrol.failures import wait_before_retry
from flowcontrol.registry import actions
from flowcontrol.testing import Log, rehearse, row
from tests.testapp.models import Station

NEWARK = Station(code="EWR", name="Newark", email="ops@ewr.example.com")


@pytest.fixture(autouse=True)
def _empty_outbox() -> None:
    mail.outbox = []


def sent(*, state: Any = None, obj: Any = None, **config: Any) -> Any:
    """The one mail that a row sends."""
    item = row(
        "send_email",
        **{"to": ["crew@example.com"], "subject": "Late", "text": "Sorry.", **config},
    )
    rehearse(item, state=state, obj=obj)
    [message] = mail.outbox
    # Whatever a header cannot hold would raise here.
    message.message().as_bytes()
    return message


def test_plain_text_arrives_as_typed():
    text = 'Dear {{ name }},\n\n  5 < 6 & "7" > 6, isn\'t it?\n'
    message = sent(text=text, subject="For {{ name }}", state={"name": "O'Brien & Co"})
    assert message.body == "Dear O'Brien & Co,\n\n  5 < 6 & \"7\" > 6, isn't it?\n"
    assert message.subject == "For O'Brien & Co"
    assert message.alternatives == []


def test_html_escapes_the_values_and_leaves_the_markup():
    message = sent(html="<p>Dear {{ name }}</p>", state={"name": "O'Brien & <Co>"})
    [(html, kind)] = message.alternatives
    assert (html, kind) == ("<p>Dear O&#x27;Brien &amp; &lt;Co&gt;</p>", "text/html")
    assert message.body == "Sorry."


def test_an_empty_html_part_is_left_out():
    assert sent(html="").alternatives == []


def test_a_value_cannot_add_a_header():
    message = sent(
        subject="Late: {{ name }}", state={"name": "x\r\nBcc: everybody@example.com\n\nText"}
    )
    assert message.subject == "Late: x Bcc: everybody@example.com Text"
    assert message.recipients() == ["crew@example.com"]


@pytest.mark.parametrize("field", ["to", "cc", "bcc", "from", "reply_to"])
@pytest.mark.parametrize(
    "address",
    ["crew@example.com\nBcc: x@example.com", "a@example.com, b@example.com", "crew@", "nobody", ""],
)
def test_an_address_that_is_none_sends_nothing_and_names_the_field(field: str, address: str):
    with pytest.raises(ConfigError, match=rf"(?s)^{field}.*computed by 'address'"):
        sent(**{field: {"$expr": "address"}}, state={"address": address})
    assert mail.outbox == []


def test_one_mail_goes_to_all_recipients():
    addresses = ["crew@example.com", "gate@example.com"]
    assert sent(to=addresses).to == addresses
    mail.outbox = []
    assert sent(to={"$expr": "both"}, state={"both": addresses}).to == addresses


def test_copies_go_to_everybody_and_hidden_ones_are_in_no_header():
    message = sent(
        to=["crew@example.com"],
        cc=["gate@example.com", "desk@example.com"],
        bcc={"$expr": "boss"},
        state={"boss": "boss@example.com"},
    )
    assert message.recipients() == [
        *("crew@example.com", "gate@example.com", "desk@example.com", "boss@example.com"),
    ]
    text = message.message().as_string()
    assert "Cc: gate@example.com, desk@example.com" in text
    assert "boss@example.com" not in text


def test_a_single_computed_address_is_a_list_of_one():
    message = sent(to={"$expr": "object.email"}, reply_to={"$expr": "object.email"}, obj=NEWARK)
    assert (message.to, message.reply_to) == (["ops@ewr.example.com"], ["ops@ewr.example.com"])


def test_one_wrong_address_among_several_sends_nothing():
    with pytest.raises(ConfigError, match="to → entry 2"):
        sent(to={"$expr": "list"}, state={"list": ["crew@example.com", "gate"]})
    assert mail.outbox == []


@pytest.mark.parametrize("nobody", ["unset", "empty"])
def test_without_a_recipient_nothing_is_sent_and_it_is_an_error(nobody: str):
    with pytest.raises(ConfigError, match=r"^to: "):
        sent(to={"$expr": nobody}, state={"empty": []})
    assert mail.outbox == []


def test_the_sender_is_the_sites_unless_the_row_says_otherwise(settings: Any):
    settings.DEFAULT_FROM_EMAIL = "desk@example.com"
    assert sent().from_email == "desk@example.com"
    mail.outbox = []
    assert sent(**{"from": "tower@example.com"}).from_email == "tower@example.com"
    mail.outbox = []
    assert sent(**{"from": {"$expr": "unset"}}).from_email == "desk@example.com"


def test_a_mail_that_is_sent_again_can_be_recognised():
    rehearse(Log("x"), row("send_email", to=["crew@example.com"], subject="s", text="t"))
    assert mail.outbox[0].extra_headers == {"X-Flowcontrol-Step": "0-1"}


def test_a_text_that_cannot_be_rendered_sends_nothing():
    with pytest.raises(ExpressionError):
        sent(text="{{ 1|upper }}")
    assert mail.outbox == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"to": []}, "to: must have at least 1 entry"),
        ({"to": ["a@"]}, "to → entry 1: 'a@' is not an email address"),
        ({"to": "crew@example.com"}, "to: must be a list"),
        ({"subject": "{{ n"}, "subject: "),
        ({"subject": ""}, "subject: "),
        ({"text": "{% if %}"}, "text: "),
        ({"text": {"$expr": "n"}}, "text: "),
        ({"from": "nobody"}, "from: "),
        ({"cc": ["a@"]}, "cc → entry 1: 'a@' is not an email address"),
        ({"copy": ["a@example.com"]}, "copy: is not known here"),
    ],
)
def test_what_cannot_work_is_told_when_publishing(config: dict[str, Any], message: str):
    complete = {"to": ["crew@example.com"], "subject": "s", "text": "t", **config}
    [(_uid, told)] = problems_of(make_document(row("send_email", **complete)))
    assert message in told


@pytest.mark.parametrize(
    ("error", "is_final"),
    [
        (smtplib.SMTPDataError(550, b"no"), True),
        (smtplib.SMTPDataError(451, b"later"), False),
        (smtplib.SMTPAuthenticationError(535, b"who?"), True),
        (smtplib.SMTPRecipientsRefused({"a@b.example": (550, b"none here")}), True),
        (smtplib.SMTPRecipientsRefused({"a@b.example": (450, b"greylisted")}), False),
        (smtplib.SMTPServerDisconnected("gone"), False),
        (ConnectionRefusedError("nobody there"), False),
        (TimeoutError("too slow"), False),
    ],
)
def test_a_mail_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    error: Exception, is_final: bool, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr("django.core.mail.EmailMessage.send", refuse)
    with pytest.raises(MailRefused if is_final else type(error)) as raised:
        sent()
    wait = wait_before_retry(raised.value, actions["send_email"].retry, 1)
    assert (wait is None) == is_final


# --- Log ----------------------------------------------------------------------------------------


def test_a_line_is_written_into_the_history_and_the_log_of_the_site(
    caplog: pytest.LogCaptureFixture,
):
    with caplog.at_level(logging.DEBUG, "flowcontrol.actions.log"):
        told = rehearse(Log("n is {{ n }}"), Log("careful", level="warning"), state={"n": 3})
    assert told.logs == ["n is 3", "careful"]
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("INFO", "run #0 of rehearsal: n is 3"),
        ("WARNING", "run #0 of rehearsal: careful"),
    ]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_every_level_that_can_be_chosen_exists(level: str):
    assert rehearse(Log("x", level=level)).logs == ["x"]


def test_rows_read_as_sentences():
    config = {"to": ["a@example.com", "b@example.com"], "subject": "Late"}
    mail_row = actions["send_email"]()
    assert mail_row.sentence(config) == "Send “Late” to a@example.com, b@example.com"
    assert mail_row.sentence({"to": {"$expr": "object.email"}}) == "Send “…” to object.email"
    assert actions["log"]().sentence({"message": "late"}) == "Log “late”"


def test_mails_and_logs_declare_what_they_touch():
    assert (actions["send_email"].effects, actions["log"].effects) == ("external", "none")
