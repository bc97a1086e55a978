"""A real HTTP server in a thread: it answers as it is told and keeps what it was asked."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: Message
    body: str


@dataclass
class Reply:
    """What to answer; ``drip`` are the seconds before each byte of the body."""

    status: int = 200
    body: str | bytes = "fine"
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0


@dataclass
class Server:
    """``replies`` are given one after the other, the last one again and again."""

    port: int
    replies: list[Reply]
    asked: list[Asked] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@contextmanager
def http_server(*replies: Reply, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length).decode()
            site.asked.append(Asked(self.command, self.path, self.headers, body))
            reply = site.replies.pop(0) if len(site.replies) > 1 else site.replies[0]
            content = reply.body.encode() if isinstance(reply.body, str) else reply.body
            self.send_response(reply.status)
            for name, value in ({"Content-Length": str(len(content))} | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if not reply.drip:
                self.wfile.write(content)
                return
            for place in range(len(content)):
                time.sleep(reply.drip)
                try:
                    self.wfile.write(content[place : place + 1])
                except OSError:
                    return

        do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site = Server(server.server_port, list(replies) or [Reply()])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
