"""Whether this thread is in the middle of a trial: a run whose effects will all be undone.

What cannot be undone by the rollback (mails, calls, messages to other processes) must not happen
in one. The engine asks here before it executes or announces anything; a project's signal handlers
can ask as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_in_trial: Final = ContextVar("flowcontrol_in_trial", default=False)


def in_trial() -> bool:
    """Whether what happens now is part of a trial and will be rolled back."""
    return _in_trial.get()


@contextmanager
def trial() -> Iterator[None]:
    """What happens inside the block is part of a trial."""
    token = _in_trial.set(True)
    try:
        yield
    finally:
        _in_trial.reset(token)
