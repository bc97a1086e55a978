"""The project's own files, for the guards that read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "flowcontrol"

# What tools and the demo leave behind is not the project's.
LEFT_BEHIND = {
    *(
        ".DS_Store",
        ".demo",
        ".git",
        ".hypothesis",
        ".idea",
        ".mypy_cache",
        ".nox",
        ".pytest_cache",
        ".ruff_cache",
        ".venv",
        ".vscode",
    ),
    *("__pycache__", "_build", "build", "dist", "htmlcov", "node_modules"),
}
LEFT_BEHIND_LIKE = re.compile(r"\.coverage.*|.*\.(egg-info|sqlite3(-\w+)?|py[cod])")
TEXT = {
    *("", ".cfg", ".css", ".csv", ".html", ".ini", ".js", ".json", ".md", ".po", ".py", ".rst"),
    *(".sh", ".svg", ".toml", ".txt", ".yaml", ".yml"),
}


def files(folder: Path = ROOT) -> Iterator[Path]:
    """Every file under ``folder`` that somebody wrote, in order."""
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_BEHIND or LEFT_BEHIND_LIKE.fullmatch(path.name):
            continue
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def text_files(folder: Path = ROOT) -> Iterator[Path]:
    return (path for path in files(folder) if path.suffix in TEXT)


def python_files(folder: Path = ROOT) -> Iterator[Path]:
    return (path for path in files(folder) if path.suffix == ".py")
