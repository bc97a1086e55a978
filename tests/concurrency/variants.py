"""The engine with one thing wrong: a proof that passes with it proves nothing.

A variant is a change to the source of one function, made in memory for the length of a test. It
names the very text that keeps the promise, so a variant that no longer fits the engine fails
instead of silently changing nothing.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any, ClassVar
from unittest import mock


@dataclass(frozen=True)
class Variant:
    """In the source of ``where`` (dotted path of a function or method) ``right`` is replaced."""

    name: str
    where: str
    right: str
    wrong: str

    known: ClassVar[list[Variant]] = []
    """All that the proofs have, as far as their modules are imported."""

    def __post_init__(self) -> None:
        Variant.known.append(self)

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the engine be wrong, in this process and those it forks, until the block ends."""
        owner, name = _owner(self.where)
        good = inspect.unwrap(getattr(owner, name))
        bad = self._rewritten(good, name)
        with ExitStack() as stack:
            for place in _places(owner, name, getattr(owner, name)):
                stack.enter_context(mock.patch.object(place, name, bad))
            yield

    def check(self) -> None:
        """See whether the variant fits.

        Raises:
            LookupError: the engine has changed; the message names the function and the text.
        """
        owner, name = _owner(self.where)
        self._rewritten(inspect.unwrap(getattr(owner, name)), name)

    def _rewritten(self, good: FunctionType, name: str) -> Any:
        source = inspect.getsource(good)
        if self.right not in source:
            raise LookupError(
                f"The variant {self.name!r} does not fit {self.where}: there is no "
                f"{self.right!r} in it."
            )
        made: dict[str, Any] = {}
        changed = source.replace(self.right, self.wrong)
        # A method is indented as it stands in its class.
        exec(f"if True:\n{changed}" if changed[0] == " " else changed, good.__globals__, made)
        return made[name]


def _owner(path: str) -> tuple[Any, str]:
    """The module or class that a dotted path goes through, and the last name."""
    parts = path.split(".")
    owner: Any = pkgutil.resolve_name(".".join(parts[:-1]))
    return owner, parts[-1]


def _places(owner: Any, name: str, value: Any) -> list[Any]:
    """Where the function is known by its name: its owner, and every module that imported it."""
    if inspect.isclass(owner):
        return [owner]
    modules = [module for key, module in list(sys.modules.items()) if key.startswith("flowcontrol")]
    return [module for module in modules if getattr(module, name, None) is value]
