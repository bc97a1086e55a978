"""Other processes for the proofs: forked from the warm one, so each costs milliseconds."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from django.db import connections

_PR_SET_PDEATHSIG: Final = 1


class Child:
    """A forked process that does ``work`` and hands back what it returns, as JSON."""

    def __init__(self, work: Callable[[], Any]) -> None:
        # Two processes on one session would mix up their answers.
        connections.close_all()
        self._answer, answer = os.pipe()
        with warnings.catch_warnings():
            # Threads that earlier tests left behind are no concern of a child that never returns.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self._answer)
            _work(work, answer)
        os.close(answer)
        self._status: int | None = None

    def send(self, number: signal.Signals) -> None:
        if self.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self._reap(blocking=True)

    def is_alive(self) -> bool:
        self._reap(blocking=False)
        return self._status is None

    def result(self, seconds: float = 60) -> Any:
        """What it returned; ``None`` if it was killed.

        Raises:
            AssertionError: it raised (with its traceback), or did not end in time.
        """
        text = self._read_all(time.monotonic() + seconds)
        self._reap(blocking=True)
        if self._status is not None and os.WIFSIGNALED(self._status):
            return None
        told = json.loads(text)
        if "error" in told:
            raise AssertionError(f"In the forked process:\n{told['error']}")
        return told["result"]

    def _read_all(self, deadline: float) -> bytes:
        parts: list[bytes] = []
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answer], [], [], left)[0]:
                self.kill()
                raise AssertionError("The forked process did not end in time.")
            if not (part := os.read(self._answer, 65536)):
                return b"".join(parts)
            parts.append(part)

    def _reap(self, *, blocking: bool) -> None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, 0 if blocking else os.WNOHANG)
            if pid:
                self._status = status

    def close(self) -> None:
        self.kill()
        if self._answer >= 0:
            os.close(self._answer)
            self._answer = -1


@contextmanager
def forked(work: Callable[[], Any]) -> Iterator[Child]:
    """A child that is gone when the block ends, whatever happens in it."""
    child = Child(work)
    try:
        yield child
    finally:
        child.close()


def in_child(work: Callable[[], Any], seconds: float = 60) -> Any:
    """What ``work`` returns in a process of its own; ``None`` if it was killed."""
    with forked(work) as child:
        return child.result(seconds)


def _work(work: Callable[[], Any], answer: int) -> NoReturn:
    """The life of the child: it never returns into the test that forked it."""
    code = 1
    try:
        _die_with_parent()
        told = {"result": work()}
        code = 0
    except BaseException:  # noqa: BLE001 (told to the parent, which raises it)
        told = {"error": traceback.format_exc()}
    try:
        data = json.dumps(told).encode()
        while data:
            data = data[os.write(answer, data) :]
    finally:
        os._exit(code)


def _die_with_parent() -> None:
    """A net for suites that are killed; only Linux has it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
