"""The admin after the week: a small server, while time goes on and flows keep running."""

from __future__ import annotations

import logging
from socketserver import ThreadingMixIn
from threading import Event, Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections

from demo.clock import clock
from flowcontrol.engine import continue_flowruns

HOST = "127.0.0.1"
PACE = 60.0
"""Seconds of the desk's time in each real second: an hour's delay takes a minute."""

logger = logging.getLogger(__name__)


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as in the base)
        """Leave the terminal to the report."""


def make_admin_server(port: int) -> WSGIServer:
    """A server of the demo's pages on this machine only; port 0 takes any free one.

    Raises:
        OSError: the port is taken.
    """
    # Unlike runserver, the handler serves static files also without DEBUG.
    application = StaticFilesHandler(get_wsgi_application())
    return make_server(HOST, port, application, Server, QuietHandler)


def serve(server: WSGIServer) -> None:
    """Serve until interrupted; meanwhile the clock goes on, and what is due is executed."""
    stop = Event()
    worker = Thread(target=keep_running, args=(stop,), name="flowcontrol-worker")
    clock.go_on(PACE)
    worker.start()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        stop.set()
        server.server_close()
        worker.join()


def keep_running(stop: Event, pause: float = 1.0) -> None:
    """Sweep every ``pause`` seconds until ``stop`` is set, as a cron job or worker would."""
    while not stop.wait(pause):
        close_old_connections()
        try:
            continue_flowruns()
        except Exception:
            logger.exception("A sweep went wrong; the next one follows.")
    close_old_connections()
