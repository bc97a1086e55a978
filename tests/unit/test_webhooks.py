"""Call webhook: what is sent, what comes of the answer, and where it never goes."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from flowcontrol import outbound
from flowcontrol.actions import webhooks
from flowcontrol.compiling import problems_of
from flowcontrol.documents import make_document
from flowcontrol.exceptions import AuthorError, ExpressionError, WebhookFailed, WebhookUnavailable
from flowcontrol.failures import describe
from flowcontrol.named_secrets import Secrets
from flowcontrol.registry import actions
from flowcontrol.testing import Log, Rehearsal, UpdateState, rehearse, row
from tests.http_server import Asked, Reply, Server, http_server
from tests.testapp.models import Station

TOKEN = 'b4-"7Q/x+&é'
HERE = ["127.0.0.0/8"]
JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.FLOWCONTROL_WEBHOOK_NETWORKS = HERE
    settings.FLOWCONTROL_SECRETS = {"TOKEN": TOKEN, "PATH": "s3cr3t-path", "SHORT": "ab"}


@pytest.fixture
def server() -> Iterator[Server]:
    with http_server() as server:
        yield server


def call(url: str, *, state: Any = None, obj: Any = None, **config: Any) -> Rehearsal:
    item = row("call_webhook", url=url, result_key="answer", **config)
    return rehearse(item, state=state, obj=obj)


def sent(server: Server, path: str = "/", **given: Any) -> Asked:
    """The one request that a row makes."""
    call(server.url(path), **given)
    [asked] = server.asked
    return asked


def check(**config: Any) -> list[tuple[str, str, str]]:
    return actions["call_webhook"].check_config({"url": "https://example.com/", **config})


# --- what is sent -------------------------------------------------------------------------------


def test_a_request_has_method_address_headers_and_json(server: Server):
    asked = sent(
        server,
        "/flights/{{ object.code }}?q={{ text|urlencode }}",
        method="PUT",
        headers={"X-Desk": "{{ object.name }}"},
        json={"to": "{{ object.name }}!", "n": "{{ n }}", "list": ["{{ list }}", 1, None, True]},
        obj=Station(code="EWR", name="O'Brien & Co"),
        state={"n": 7, "list": [1, {"a": 2}], "text": "a b&c"},
    )
    assert (asked.method, asked.path) == ("PUT", "/flights/EWR?q=a%20b%26c")
    assert asked.headers["X-Desk"] == "O'Brien & Co"
    assert asked.headers["Content-Type"] == "application/json"
    told = '{"to": "O\'Brien & Co!", "n": 7, "list": [[1, {"a": 2}], 1, null, true]}'
    assert asked.body == told


def test_the_whole_body_can_be_one_value(server: Server):
    assert sent(server, json="{{ flight }}", state={"flight": {"n": 1}}).body == '{"n": 1}'


def test_a_text_is_sent_as_typed(server: Server):
    asked = sent(server, text="<a>{{ n }}</a> Ü", state={"n": "O'Brien & Co"})
    assert asked.body == "<a>O'Brien & Co</a> Ü"
    assert asked.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_the_type_of_the_content_is_the_authors_to_say(server: Server):
    asked = sent(server, text="a=1", headers={"content-type": "application/x-www-form-urlencoded"})
    assert asked.headers.get_all("Content-Type") == ["application/x-www-form-urlencoded"]


def test_each_step_has_a_key_of_its_own_that_the_author_may_replace(server: Server):
    rehearse(Log("x"), row("call_webhook", url=server.url()), row("call_webhook", url=server.url()))
    call(server.url(), headers={"idempotency-key": "mine"})
    assert [asked.headers.get_all("Idempotency-Key") for asked in server.asked] == [
        ["0-1"],
        ["0-2"],
        ["mine"],
    ]


def test_nothing_is_sent_when_a_text_cannot_be_written(server: Server):
    with pytest.raises(ExpressionError):
        call(server.url(), json={"a": "{{ 1|upper }}"})
    assert server.asked == []


@pytest.mark.parametrize(
    ("config", "state"),
    [
        ({"headers": {"X-A": "{{ n }}"}}, {"n": "a\r\nX-B: c"}),
        ({"headers": {"X-A": "{{ n }}"}}, {"n": "日本"}),
        ({"headers": {"Host": "other"}}, {}),
        ({"headers": {"X A": "b"}}, {}),
    ],
)
def test_a_header_that_is_none_is_refused(config: Any, state: Any, server: Server):
    with pytest.raises(AuthorError, match="header"):
        call(server.url(), state=state, **config)
    assert server.asked == []


@pytest.mark.parametrize(
    "value", ["x y", "x\r\nGET /other", "ftp://example.com/", "//example.com", "", "http://"]
)
def test_an_address_that_is_none_is_refused(value: str):
    with pytest.raises(AuthorError, match="address"):
        call("{{ url }}", state={"url": value})


# --- what comes of the answer -------------------------------------------------------------------


def test_json_is_kept_as_json_and_the_rest_as_text():
    replies = [
        Reply(201, '{"a": [1, "x\\u0000"]}', {"Content-Type": "application/hal+json"}),
        Reply(200, "caf\xe9".encode("latin-1"), {"Content-Type": "text/plain; charset=latin-1"}),
        Reply(200, '{"a": NaN}', JSON),
        Reply(204, "", {}),
    ]
    with http_server(*replies) as server:
        answers = [call(server.url()).state["answer"] for _reply in replies]
    assert answers == [
        {"status": 201, "content_type": "application/hal+json", "body": {"a": [1, "x�"]}},
        {"status": 200, "content_type": "text/plain", "body": "café"},
        {"status": 200, "content_type": "application/json", "body": '{"a": NaN}'},
        {"status": 204, "content_type": "", "body": ""},
    ]


def test_the_history_says_what_was_called_and_what_came_back(server: Server):
    assert call(server.url("/a"), method="GET").logs == [f"GET {server.url('/a')} → 200"]


def test_a_status_that_is_not_fine_fails_the_row_with_what_the_server_says():
    with http_server(Reply(422, '{"error": "no such\\n seat"}', JSON)) as server:
        with pytest.raises(WebhookFailed, match=r"→ 422: .*no such") as raised:
            call(server.url())
        assert (raised.value.status, raised.type) == (422, WebhookFailed)
        told = call(server.url(), accepts=[422]).state["answer"]
    assert (told["status"], told["body"]) == (422, {"error": "no such\n seat"})


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_server_that_is_busy_is_asked_again_later(status: int):
    with (
        http_server(Reply(status, headers={"Retry-After": "120"})) as server,
        pytest.raises(WebhookUnavailable) as raised,
    ):
        call(server.url())
    assert raised.value.retry_after == timedelta(seconds=120)


def test_retry_after_may_be_a_date_and_is_never_longer_than_a_day():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60))
    assert timedelta(50) > (outbound._retry_after(soon) or timedelta(99)) > timedelta(seconds=50)
    assert outbound._retry_after("Mon, 01 Jan 2001 00:00:00 GMT") == timedelta(0)
    assert outbound._retry_after("9" * 400) == outbound.LONGEST_RETRY_AFTER
    assert outbound._retry_after("soon") is None


def test_nobody_there_is_a_reason_to_try_again():
    with http_server() as server:
        pass
    with pytest.raises(WebhookUnavailable, match="takes no connection"):
        call(server.url())
    with pytest.raises(WebhookUnavailable, match="cannot be found"):
        call("http://desk.invalid/")


def test_the_timeout_counts_for_all_of_the_answer():
    begin = time.monotonic()
    with (
        http_server(Reply(body="x" * 100, drip=0.05)) as server,
        pytest.raises(WebhookUnavailable, match=r"within 0\.3 seconds"),
    ):
        call(server.url(), timeout=0.3)
    assert time.monotonic() - begin < 2


def test_an_answer_that_is_too_large_is_not_read_to_its_end(settings: Any):
    settings.FLOWCONTROL_WEBHOOK_MAX_BYTES = 1000
    with http_server(Reply(body="x" * 1000), Reply(body="x" * 1001)) as server:
        assert len(call(server.url()).state["answer"]["body"]) == 1000
        with pytest.raises(WebhookFailed, match="more than 1,000 bytes") as raised:
            call(server.url())
    assert not isinstance(raised.value, WebhookUnavailable)


def test_an_answer_that_would_unpack_to_more_is_refused():
    with (
        http_server(Reply(body="x", headers={"Content-Encoding": "gzip"})) as server,
        pytest.raises(WebhookFailed, match="compressed"),
    ):
        call(server.url())


# --- where it goes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0", "[::1]", "[::]"),
        *("[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "192.168.1.1", "100.64.0.1"),
        *("[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1"),
    ],
)
def test_private_networks_are_out_of_reach(host: str, settings: Any):
    settings.FLOWCONTROL_WEBHOOK_NETWORKS = []
    with pytest.raises(AuthorError, match="not on the public internet"):
        call(f"http://{host}:9/", timeout=1)


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_public(text: str):
    assert outbound.is_public(ip_address(text))


def test_only_listed_hosts_are_called(settings: Any, server: Server):
    settings.FLOWCONTROL_WEBHOOK_HOSTS = ["127.0.0.1", "*.Example.com"]
    assert call(server.url()).outcome == "complete"
    for host in ("localhost", "example.com", "notexample.com", "example.com.evil.test"):
        with pytest.raises(AuthorError, match="does not list it"):
            call(server.url(host=host))
    for host in ("api.example.com", "API.EXAMPLE.COM."):
        assert outbound.checked_url(f"https://{host}/", "").path == "/"


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, settings: Any, server: Server
):
    """A name that means something else a moment later changes nothing."""
    answers = ["93.184.216.34", "127.0.0.1"]
    connected = []

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        text = host.decode() if isinstance(host, bytes) else host
        address = text if text[0].isdigit() else answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(address: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
        connected.append(address[0])
        raise ConnectionRefusedError

    settings.FLOWCONTROL_WEBHOOK_NETWORKS = []
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(WebhookUnavailable):
        call(server.url(host="rebinding.example.com"))
    assert connected == ["93.184.216.34"]
    with pytest.raises(AuthorError, match=r"leads to 127\.0\.0\.1"):
        call(server.url(host="rebinding.example.com"))
    assert connected == ["93.184.216.34"]


def test_a_host_with_several_addresses_is_tried_at_each(
    monkeypatch: pytest.MonkeyPatch, server: Server
):
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "desk.example.com":
            return real(host, port, *args, **kwargs)
        return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.9", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    call(server.url(host="desk.example.com"))
    assert server.asked[0].headers["Host"] == f"desk.example.com:{server.port}"


def test_a_redirect_is_followed_as_browsers_do(server: Server):
    for status, method, becomes in [
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "PATCH", "PATCH"),
    ]:
        server.asked.clear()
        server.replies[:] = [Reply(status, headers={"Location": "/there?a=1"}), Reply()]
        call(server.url(), method=method, text="x", headers={"X-Desk": "7"})
        _first, second = server.asked
        assert (second.method, second.path) == (becomes, "/there?a=1")
        assert (second.body, second.headers["X-Desk"]) == ("x" if becomes != "GET" else "", "7")


def test_a_redirect_is_an_answer_when_it_is_not_to_be_followed(server: Server):
    server.replies = [Reply(302, headers={"Location": "/there"})]
    assert call(server.url(), follow_redirects=False, accepts=[302]).outcome == "complete"
    with pytest.raises(WebhookFailed, match="→ 302"):
        call(server.url(), follow_redirects=False)


def test_redirects_without_end_are_ended(server: Server):
    server.replies = [Reply(302, headers={"Location": "/again"})]
    with pytest.raises(WebhookFailed, match="more than 5 times"):
        call(server.url())
    assert len(server.asked) == 6


def test_a_redirect_into_a_private_network_is_refused(server: Server):
    server.replies = [Reply(302, headers={"Location": "http://10.0.0.1/admin"})]
    with pytest.raises(AuthorError, match="not on the public internet"):
        call(server.url())


def test_a_redirect_to_a_host_that_is_not_listed_is_refused(settings: Any, server: Server):
    settings.FLOWCONTROL_WEBHOOK_HOSTS = ["127.0.0.1"]
    server.replies = [Reply(302, headers={"Location": server.url("/", host="localhost")})]
    with pytest.raises(AuthorError, match="does not list it"):
        call(server.url())


def test_another_host_gets_no_headers_of_the_row_and_no_secrets(server: Server):
    elsewhere = Reply(307, headers={"Location": server.url("/there", host="localhost")})
    server.replies[:] = [elsewhere, Reply()]
    call(server.url(), headers={"Authorization": "Basic x", "X-Key": "y"}, text="z")
    first, second = server.asked
    assert (first.headers["X-Key"], second.headers["X-Key"]) == ("y", None)
    assert second.headers["Authorization"] is None
    for config in ({"text": "{{ secret.TOKEN }}"}, {"headers": {"X-Key": "{{ secret.PATH }}"}}):
        server.asked.clear()
        server.replies[:] = [elsewhere, Reply()]
        with pytest.raises(WebhookFailed, match="not sent to another host"):
            call(server.url(), **config)
        assert len(server.asked) == 1


# --- encryption ---------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for desk.example.com that nobody but us trusts, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("There is no program 'openssl'.")
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=desk.example.com"),
            *("-addext", "subjectAltName=DNS:desk.example.com"),
            *("-out", str(paths[0]), "-keyout", str(paths[1])),
        ],
        check=True,
        capture_output=True,
    )
    return paths


def test_encryption_is_checked_against_the_name_of_the_host(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = "127.0.0.1" if str(host).endswith(".example.com") else host
        return real(name, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    with http_server(tls=tls) as server:
        url = server.url(host="desk.example.com", scheme="https")
        with pytest.raises(WebhookFailed, match="no trusted encryption") as raised:
            call(url)
        assert not isinstance(raised.value, WebhookUnavailable)
        monkeypatch.setattr(outbound, "_tls", lambda: trusting)
        assert call(url).state["answer"]["status"] == 200
        with pytest.raises(WebhookFailed, match="no trusted encryption"):
            call(server.url(host="other.example.com", scheme="https"))
        server.replies = [Reply(302, headers={"Location": "http://desk.example.com/"})]
        with pytest.raises(WebhookFailed, match="without encryption"):
            call(url)


# --- secrets ------------------------------------------------------------------------------------


def test_secrets_are_sent_in_address_headers_and_body(server: Server):
    asked = sent(
        server,
        "/{{ secret.PATH }}",
        headers={"Authorization": "Bearer {{ secret.TOKEN }}"},
        json={"key": "{{ secret.TOKEN }}", "text": "<{{ secret.TOKEN }}>"},
    )
    assert asked.path == "/s3cr3t-path"
    assert asked.headers["Authorization"].encode("latin-1").decode("latin-1") == f"Bearer {TOKEN}"
    assert asked.body == '{"key": "b4-\\"7Q/x+&é", "text": "<b4-\\"7Q/x+&é>"}'


def test_a_secret_is_in_no_log_no_error_and_no_result(
    server: Server, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    echo = {"said": TOKEN, "list": [f"<{TOKEN}>"], TOKEN: 1}
    config: dict[str, Any] = {"json": {"a": "{{ secret.TOKEN }}"}}
    server.replies[:] = [Reply(200, json.dumps(echo), JSON)]
    told = call(server.url("/{{ secret.PATH }}/"), **config)
    assert told.state["answer"]["body"] == {"said": "••••••", "list": ["<••••••>"], "••••••": 1}
    assert told.logs == [f"POST {server.url('/••••••/')} → 200"]
    texts = [repr(told), caplog.text]
    for reply in (
        Reply(400, f"bad {TOKEN} at s3cr3t-path"),
        Reply(503, f"{TOKEN}"),
        Reply(302, headers={"Location": "/there/s3cr3t-path"}),
        Reply(302, headers={"Location": "http://10.0.0.1/s3cr3t-path"}),
    ):
        server.replies[:] = [reply]
        with pytest.raises((WebhookFailed, AuthorError)) as raised:
            call(server.url("/{{ secret.PATH }}/"), **config)
        texts.append(json.dumps(describe(raised.value)))
    for text in texts:
        assert TOKEN not in text
        assert "s3cr3t-path" not in text


def test_what_the_expressions_read_holds_no_secret(server: Server):
    item = row(
        "call_webhook",
        url=server.url(),
        json={"a": "{{ secret.TOKEN }}", "b": "{{ n }}"},
        headers={"X-A": "{{ secret.PATH }}"},
    )
    seen: list[Any] = []
    action = actions["call_webhook"]
    run = action.run

    def spy(self: Any, **given: Any) -> Any:
        try:
            return run(self, **given)
        finally:
            seen.extend(given["run"].scope.reads)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(action, "run", spy)
        rehearse(item, state={"n": 5})
    assert ("n", 5) in seen
    assert ("secret.TOKEN", "••••••") in seen
    assert TOKEN not in repr(seen)


def test_a_filter_cannot_take_a_secret_apart(server: Server):
    for source in ("{{ secret.TOKEN|truncatechars:40 }}", "{{ secret.TOKEN|slice:':20' }}"):
        with pytest.raises(AuthorError):
            call(server.url(), text=source)
    assert server.asked == []


def test_a_text_from_outside_gets_no_secret(server: Server):
    told = "{{ secret.TOKEN }}"
    asked = sent(server, json={"a": "{{ n }}", "b": "{{ all }}"}, state={"n": told, "all": [told]})
    assert asked.body == '{"a": "{{ secret.TOKEN }}", "b": ["{{ secret.TOKEN }}"]}'
    markers = Secrets()
    guess = Secrets()["TOKEN"]
    assert markers["TOKEN"] != guess
    assert markers.fill(guess) == guess


def test_only_webhooks_can_read_secrets():
    assert rehearse(UpdateState(a="secret.TOKEN")).state == {"a": None}


def test_an_unknown_secret_is_told_when_publishing_and_when_running(settings: Any, server: Server):
    [(severity, field, message)] = check(json={"a": ["{{ secret.MISSING }}"]})
    assert (severity, field) == ("error", "json")
    assert "It has: PATH, SHORT, TOKEN." in message
    with pytest.raises(AuthorError, match="no secret “MISSING”"):
        call(server.url(), text="{{ secret.MISSING }}")
    settings.FLOWCONTROL_SECRETS = {"TOKEN": TOKEN}.get
    assert check(text="{{ secret.MISSING }}") == []
    assert sent(server, text="{{ secret.TOKEN }}").body == TOKEN
    with pytest.raises(AuthorError, match="no secret “MISSING”"):
        call(server.url(), text="{{ secret.MISSING }}")
    settings.FLOWCONTROL_SECRETS = 5
    with pytest.raises(ImproperlyConfigured):
        check(text="{{ secret.TOKEN }}")


def test_the_secrets_as_a_whole_are_nobodys(server: Server):
    text = "{{ secret }}{% for name in secret %}{{ name }}{% endfor %}"
    assert sent(server, text=text).body == "••••••"


# --- publishing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"json": {"a": "{{ n"}}, "json"),
        ({"headers": {"X-A": "{% if %}"}}, "headers"),
        ({"headers": {"Content-Length": "5"}}, "headers"),
        ({"headers": {"X:A": "5"}}, "headers"),
        ({"json": {}, "text": "x"}, "text"),
    ],
)
def test_what_cannot_work_is_told_when_publishing(config: Any, told: str):
    [(severity, field, _message)] = check(**config)
    assert (severity, field) == ("error", told)


@pytest.mark.parametrize("field", ["url", "headers", "json", "text"])
def test_what_is_a_template_cannot_be_computed(field: str):
    """A computed value comes from outside and must not be read as a template."""
    config: dict[str, Any] = {"url": "https://example.com/", field: {"$expr": "trigger"}}
    assert problems_of(make_document(row("call_webhook", **config)))


def test_without_the_library_publishing_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(webhooks, "can_call", False)
    assert check() == [("error", "", "Webhooks need httpx: install flowcontrol[webhooks].")]
    with pytest.raises(AuthorError, match=r"install flowcontrol\[webhooks\]"):
        call("https://example.com/")


def test_rows_read_as_sentences():
    action = actions["call_webhook"]()
    assert action.sentence({"url": "https://a.example/{{ n }}", "method": "GET"}) == (
        "GET https://a.example/{{ n }}"
    )
    assert action.sentence({}) == "POST …"
