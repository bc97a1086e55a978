"""Who may import whom: arrows between the modules of flowcontrol point downwards only.

A module may import from its own layer and from those below. A new module has no place yet and fails
here until it gets one. Imports under ``if TYPE_CHECKING:`` name types and are not arrows: they do
not exist when the program runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.guards.repository import PACKAGE, python_files

# From the top to the bottom; the same table stands in the documentation of the architecture. A name
# stands for the module and, if it is a package, for the modules in it that have no place of their
# own.
LAYERS: dict[str, set[str]] = {
    "shells": {
        "admin",
        "apps",
        "checks",
        "management",
        "tasks",
        "testing",
        "views",
    },
    "use-cases": {
        "actions.flows",
        "actions.objects",
        "actions.parallel",
        "actions.people",
        "announcing",
        "answering",
        "buffering",
        "children",
        "claiming",
        "clipboard",
        "collecting",
        "dialect",
        "dispatching",
        "draft_changes",
        "drafting",
        "drafts",
        "effects",
        "engine",
        "executing",
        "extracting",
        "findings",
        "firing",
        "flowtests",
        "handling",
        "holding",
        "looking",
        "matching",
        "model_names",
        "monitoring",
        "moving",
        "needs",
        "names",
        "operating",
        "parents",
        "presence",
        "programs",
        "pruning",
        "publishing",
        "purging",
        "recording",
        "sampling",
        "shaping",
        "slices",
        "starting",
        "stopping",
        "sweeping",
        "transactions",
        "transfer",
        "trying",
        "typed_names",
        *("run_paths", "undoing"),
        "working",
        "writing",
    },
    "storage": {
        "migrations",
        "models",
    },
    "definitions": {
        "actions",
        "actions.control",
        "actions.errors",
        "actions.events",
        "actions.expiry",
        "actions.lists",
        "actions.messaging",
        "actions.state",
        "actions.waiting",
        "base",
        "comparing",
        "compiling",
        "conf",
        "dataflow",
        "depths",
        "documents",
        "durations",
        "expressions",
        "failures",
        "filters",
        "formats",
        "history",
        "named_secrets",
        "outbound",
        "pages",
        "patches",
        "problems",
        "registry",
        "rendering",
        "schemas",
        "sentences",
        "signals",
        "storable",
        "trees",
        "trials",
        "withholding",
    },
    "pure core": {
        "catching",
        "cursor",
        "directives",
        "interpreter",
        "program",
    },
    "words": {
        "exceptions",
    },
}
HEIGHT = {layer: height for height, layer in enumerate(reversed(LAYERS))}

# The pure core is a function from values to values: the same answer at any time, on any machine.
# Of the standard library it may use what has neither a clock nor chance nor the outside world.
PURE_LIBRARY = {
    *("__future__", "bisect", "collections", "copy", "dataclasses", "datetime", "enum"),
    *("functools", "itertools", "json", "math", "operator", "re", "types", "typing"),
}
IMPURE_CALLS = {"now", "today", "utcnow", "open", "print", "input"}


@dataclass(frozen=True)
class Import:
    """One import statement: who imports what, where; ``name`` is dotted."""

    module: str
    name: str
    line: int
    in_function: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}: imports {self.name}"


def module_name(path: Path) -> str:
    """The name below ``flowcontrol.``; the package's own ``__init__`` is the empty name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in python_files(PACKAGE)}


def place(module: str) -> str | None:
    """The name in ``LAYERS`` that ``module`` falls under: the longest one that fits."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if any(name in names for names in LAYERS.values()):
            return name
    return None


def layer(module: str) -> str:
    name = place(module)
    assert name is not None, f"flowcontrol.{module} has no layer yet: give it one in LAYERS."
    return next(layer for layer, names in LAYERS.items() if name in names)


@cache
def imports(module: str) -> tuple[Import, ...]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return tuple(_walk(module, tree, in_function=False, for_types=False))


def _walk(module: str, node: ast.AST, *, in_function: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        names: list[str] = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module}, line {child.lineno}: a relative import"
            # Of "from flowcontrol import conf" the last part is a module, else it is a name in one.
            names = [f"{child.module}.{alias.name}" for alias in child.names]
        for name in names:
            line = getattr(child, "lineno", 0)
            yield Import(module, name, line, in_function, for_types)
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_guard = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from _walk(
            module,
            child,
            in_function=in_function or is_function,
            for_types=for_types or is_guard,
        )


def own_module(name: str) -> str | None:
    """The module of ours that an import's dotted name leads to, or None if it is not ours."""
    if name != "flowcontrol" and not name.startswith("flowcontrol."):
        return None
    parts = name.split(".")[1:]
    for length in range(len(parts), -1, -1):
        if ".".join(parts[:length]) in MODULES:
            return ".".join(parts[:length])
    return ""


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {""}))
def test_every_module_has_a_layer(module: str) -> None:
    layer(module)


def test_every_place_in_the_table_is_one_layer_only() -> None:
    names = [name for names in LAYERS.values() for name in names]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_downwards_only(module: str) -> None:
    def goes_up(found: Import) -> bool:
        target = own_module(found.name)
        if found.for_types or not target:
            return False
        # The package itself is what everybody imports first, so it may import nothing of ours.
        return not module or HEIGHT[layer(target)] > HEIGHT[layer(module)]

    assert [str(found) for found in imports(module) if goes_up(found)] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_import_hides_in_a_function(module: str) -> None:
    hidden = [found for found in imports(module) if found.in_function]
    assert [str(found) for found in hidden if own_module(found.name) is not None] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_tasks_knows_celery(module: str) -> None:
    found = [found for found in imports(module) if found.name.split(".")[0] in {"celery", "kombu"}]
    assert module == "tasks" or [str(each) for each in found] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_outbound_knows_the_http_client(module: str) -> None:
    found = [
        found for found in imports(module) if found.name.split(".")[0] in {"httpx", "httpcore"}
    ]
    assert module == "outbound" or [str(each) for each in found] == []


@pytest.mark.parametrize(
    "module",
    sorted(m for m in MODULES if m and place(m) in LAYERS["pure core"] | LAYERS["words"]),
)
def test_the_pure_core_knows_neither_django_nor_clock_nor_chance(module: str) -> None:
    foreign = [
        str(found)
        for found in imports(module)
        if not found.for_types
        and own_module(found.name) is None
        and found.name.split(".")[0] not in PURE_LIBRARY
    ]
    assert foreign == []
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    calls = [
        f"line {node.lineno}: {ast.unparse(node.func)}()"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in IMPURE_CALLS
    ]
    assert calls == []
