"""HTTP calls to the outside, kept away from what is not outside.

An author, or the answer of a foreign server, names an address; it must not lead into the private
network that the worker stands in. So each connection, also after each redirect, resolves the name
itself, checks what it leads to, and connects to exactly the address it has checked: a name that
means something else a moment later changes nothing.

Built on httpx' own transport, httpcore, and not on its client: the client writes each address into
the log, and addresses may hold secrets.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

import httpcore
import httpx
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from flowcontrol import __version__
from flowcontrol.conf import settings
from flowcontrol.exceptions import AuthorError, WebhookFailed, WebhookUnavailable

Address = IPv4Address | IPv6Address

MOST_REDIRECTS: Final = 5
LONGEST_RETRY_AFTER: Final = timedelta(days=1)
"""What a server may ask us to wait; it is a stranger."""

_PASSING: Final = frozenset({408, 425, 429})
"""Statuses, beside those from 500 on, that say "later"."""
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_AS_GET: Final = frozenset({301, 302, 303})
_REDIRECTS: Final = _AS_GET | {307, 308}
_OF_THE_BODY: Final = frozenset({"content-type", "content-length", "content-encoding"})
_OURS: Final = frozenset({"accept-encoding", "user-agent", "idempotency-key", "accept"})


@dataclass(frozen=True, slots=True)
class Call:
    """What to ask of whom. ``shown_url`` is the address as people may see it.

    ``timeout`` are seconds for all of it, redirects included. ``stays`` keeps it on the host that
    was named: it holds secrets, and those are for nobody else.
    """

    method: str
    url: str
    shown_url: str
    headers: Mapping[str, str]
    content: bytes = b""
    timeout: float = 10
    follow_redirects: bool = True
    stays: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.shown_url}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, what kind of content, and the content as text."""

    status: int
    content_type: str
    text: str
    retry_after: timedelta | None = None

    @property
    def is_fine(self) -> bool:
        return 200 <= self.status < 300

    @property
    def asks_to_come_back(self) -> bool:
        """Whether the same call may well succeed later."""
        return self.status >= 500 or self.status in _PASSING


def send(call: Call) -> Answer:
    """Make the call and read the answer, whatever its status.

    Raises:
        AuthorError: the address is none, or leads where webhooks may not go.
        WebhookUnavailable: nobody answered, or not in time.
        WebhookFailed: the answer is too large, or of no use.
    """
    deadline = time.monotonic() + call.timeout
    for _hop in range(MOST_REDIRECTS + 1):
        url = checked_url(call.url, call.shown_url)
        answer, location = _send_once(call, url, deadline)
        if answer.status not in _REDIRECTS or not location or not call.follow_redirects:
            return answer
        call = _redirected(call, url, location, answer.status)
    told = {"call": call, "number": MOST_REDIRECTS}
    raise WebhookFailed(_("%(call)s was redirected more than %(number)s times.") % told)


# --- where it goes --------------------------------------------------------------------------------


def checked_url(text: str, shown: str) -> httpx.URL:
    """An address that webhooks may call, as far as its text can tell.

    Raises:
        AuthorError: it is none, or ``FLOWCONTROL_WEBHOOK_HOSTS`` does not list its host.
    """
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii").rstrip(".").lower()
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise AuthorError(_("“%(url)s” is not a web address.") % {"url": shown}) from None
    if url.scheme not in ("http", "https") or not host:
        raise AuthorError(
            _("“%(url)s” is not a web address: it begins with http:// or https://.")
            % {"url": shown}
        )
    if url.userinfo:
        raise AuthorError(_("A name and password in front of the host are not sent: use a header."))
    listed = settings.WEBHOOK_HOSTS
    if listed is not None and not any(_fits(host, pattern.lower()) for pattern in listed):
        raise AuthorError(
            _("Webhooks may not call %(host)s: FLOWCONTROL_WEBHOOK_HOSTS does not list it.")
            % {"host": host}
        )
    return url


def _fits(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def allowed_networks() -> list[IPv4Network | IPv6Network]:
    """The private networks that webhooks may reach.

    Raises:
        ImproperlyConfigured: ``FLOWCONTROL_WEBHOOK_NETWORKS`` has something else in it.
    """
    try:
        return [ip_network(text) for text in settings.WEBHOOK_NETWORKS]
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"FLOWCONTROL_WEBHOOK_NETWORKS: {error}") from error


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, also if it is one wrapped in another."""
    if isinstance(address, IPv6Address):
        if (inner := _wrapped(address)) is not None:
            return is_public(inner)
        return address in _GLOBAL_UNICAST and address.is_global
    return address.is_global and not address.is_multicast


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a gateway, or the kernel, takes an IPv6 address for."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def addresses_of(host: str, port: int) -> list[str]:
    """Where a host is, as far as webhooks may go there.

    Raises:
        AuthorError: it is in a private network only.
        OSError: it cannot be found.
    """
    found = dict.fromkeys(
        str(place[4][0]) for place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    )
    networks = allowed_networks()
    allowed = [text for text in found if _may_connect(text, networks)]
    if not allowed:
        raise AuthorError(
            _(
                "Webhooks may not call %(host)s: it leads to %(addresses)s, which is not on the "
                "public internet. FLOWCONTROL_WEBHOOK_NETWORKS can allow it."
            )
            % {"host": host, "addresses": ", ".join(found)}
        )
    return allowed


def _may_connect(text: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    address = ip_address(text.partition("%")[0])
    inner = _wrapped(address) if isinstance(address, IPv6Address) else None
    return is_public(address) or any((inner or address) in network for network in networks)


def _redirected(call: Call, url: httpx.URL, location: str, status: int) -> Call:
    """The call that a redirect asks for.

    Raises:
        WebhookFailed: it would take secrets to another host, or give up encryption.
    """
    try:
        target = url.join(location)
    except (httpx.InvalidURL, ValueError):
        told = _("%(call)s was redirected to what is no address.") % {"call": call}
        raise WebhookFailed(told, status) from None
    is_same_host = target.host == url.host
    if url.scheme == "https" and target.scheme != "https":
        told = _("%(call)s was redirected to an address without encryption.") % {"call": call}
        raise WebhookFailed(told, status)
    if not is_same_host and call.stays:
        told = _(
            "%(call)s was redirected to %(host)s. It holds a secret, which is not sent to another "
            "host."
        )
        raise WebhookFailed(told % {"call": call, "host": target.host}, status)
    headers = dict(call.headers)
    if not is_same_host:
        # Whatever else they are, headers were written for the host that was named.
        kept = _OURS | _OF_THE_BODY
        headers = {name: value for name, value in headers.items() if name.lower() in kept}
    method, content = call.method, call.content
    if status == 303 or (status in _AS_GET and method == "POST"):
        method, content = ("HEAD" if method == "HEAD" else "GET"), b""
        headers = {k: v for k, v in headers.items() if k.lower() not in _OF_THE_BODY}
    # What stays on the host may have taken a secret of the first address along.
    shown = f"{target.scheme}://{target.host}/…" if call.stays else str(target)
    return replace(
        call, method=method, url=str(target), shown_url=shown, headers=headers, content=content
    )


# --- one connection -------------------------------------------------------------------------------


class _Untrusted(Exception):
    """The other side has no certificate that we trust for its name."""

    def __init__(self, error: ssl.SSLError) -> None:
        super().__init__(getattr(error, "verify_message", "") or error.reason)


class _Stream(httpcore.NetworkStream):
    """A stream that has until the deadline, however slowly the other side drips."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout=_left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout=_left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline)
        try:
            secured = self._stream.start_tls(ssl_context, server_hostname, timeout=left)
        except httpcore.ConnectError as error:
            if isinstance(error.__cause__, ssl.SSLError):
                raise _Untrusted(error.__cause__) from None
            raise
        return _Stream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Network(httpcore.NetworkBackend):
    """Connects to the address that was checked, not to what the name means a moment later."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        error: Exception | None = None
        for address in addresses_of(host, port):
            try:
                stream = httpcore.SyncBackend().connect_tcp(
                    address, port, timeout=_left(self._deadline), socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
            else:
                return _Stream(stream, self._deadline)
        assert error is not None
        raise error


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("The time is over.")
    return left


@cache
def _tls() -> ssl.SSLContext:
    # Reading the certificates of all authorities takes longer than most calls.
    return httpx.create_ssl_context()


def _send_once(call: Call, url: httpx.URL, deadline: float) -> tuple[Answer, str]:
    """One request and its answer, and where that sends us.

    Every error is told in words of our own and without its cause: a library's message may repeat
    the header or the address that it did not like, and those may hold secrets.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": f"flowcontrol/{__version__}"}
    sent = [
        (k.encode("ascii"), v.encode("latin-1")) for k, v in {**headers, **call.headers}.items()
    ]
    target = httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )
    try:
        with (
            httpcore.ConnectionPool(
                ssl_context=_tls(), network_backend=_Network(deadline)
            ) as connections,
            connections.stream(call.method, target, headers=sent, content=call.content) as response,
        ):
            received = Message()
            for name, value in response.headers:
                received[name.decode("latin-1")] = value.decode("latin-1")
            return _answer(call, response, received), received.get("Location", "")
    except httpcore.TimeoutException:
        told = _("%(call)s: no complete answer within %(number)s seconds.")
        lack = WebhookUnavailable(told % {"call": call, "number": f"{call.timeout:g}"})
    except socket.gaierror:
        told = _("%(call)s: the host %(host)s cannot be found.")
        lack = WebhookUnavailable(told % {"call": call, "host": url.host})
    except _Untrusted as error:
        told = _("%(call)s: there is no trusted encryption with %(host)s (%(reason)s).")
        facts = {"call": call, "host": url.host, "reason": error}
        raise WebhookFailed(told % facts) from None
    except httpcore.ConnectError:
        told = _("%(call)s: %(host)s takes no connection.")
        lack = WebhookUnavailable(told % {"call": call, "host": url.host})
    except (httpcore.NetworkError, httpcore.RemoteProtocolError, OSError) as error:
        told = _("%(call)s: the connection broke (%(reason)s).")
        lack = WebhookUnavailable(told % {"call": call, "reason": type(error).__name__})
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol, UnicodeError):
        told = _("%(call)s: this cannot be sent as an HTTP request.")
        raise AuthorError(told % {"call": call}) from None
    raise lack from None


def _answer(call: Call, response: httpcore.Response, headers: Message) -> Answer:
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        told = _("%(call)s was answered in a compressed form that nobody asked for.")
        raise WebhookFailed(told % {"call": call}, response.status)
    content = bytearray()
    for part in response.iter_stream():
        content += part
        if len(content) > settings.WEBHOOK_MAX_BYTES:
            told = _(
                "%(call)s: the answer has more than %(number)s bytes "
                "(FLOWCONTROL_WEBHOOK_MAX_BYTES)."
            )
            most = f"{settings.WEBHOOK_MAX_BYTES:,}"
            raise WebhookFailed(told % {"call": call, "number": most}, response.status)
    return Answer(
        status=response.status,
        content_type=headers.get_content_type() if "Content-Type" in headers else "",
        text=_decoded(bytes(content), headers.get_content_charset() or "utf-8"),
        retry_after=_retry_after(headers.get("Retry-After", "")),
    )


def _decoded(content: bytes, charset: str) -> str:
    try:
        return content.decode(charset, "replace")
    except LookupError:
        return content.decode("utf-8", "replace")


def _retry_after(text: str) -> timedelta | None:
    """What the header asks for: seconds, or a date."""
    if text.strip().isdecimal():
        seconds = min(int(text.strip()[:9]), int(LONGEST_RETRY_AFTER.total_seconds()))
        return timedelta(seconds=seconds)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(moment - datetime.now(UTC), timedelta(0)), LONGEST_RETRY_AFTER)
