"""What can be run of this project: ``nox`` alone runs the whole suite, ``nox -s demo`` the demo.

Arguments after ``--`` go to the program: ``nox -s "tests(database='sqlite')" -- -k cursor``.

The sessions make their environments themselves instead of leaving it to nox, because lint, tests
and documentation then share one: a single installation instead of five. An environment is kept in
``.nox/`` and filled again only when what it needs has changed.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Sequence
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests", "corners", "docs", "coverage"]

ROOT = Path(__file__).resolve().parent
PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = "celery,demo,postgres,webhooks"
IN_CI = os.environ.get("CI") == "true"

# Tests that start processes take turns on one of the two workers, the others fill the rest.
PARALLEL = ("-n", "2", "--dist", "loadgroup", "--durations", "15")


def group(name: str) -> list[str]:
    """The requirements of a dependency group, read here because an old pip cannot."""
    return list(nox.project.dependency_groups(PROJECT, name))


def environment(session: nox.Session, name: str, needs: Sequence[str], python: str = "") -> Path:
    """The folder of programs of ``.nox/<name>``, an environment that has ``needs``."""
    python = python or sys.executable
    folder = ROOT / ".nox" / name
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    stamp = folder / "installed"
    text = "\n".join([python, *needs, (ROOT / "pyproject.toml").read_text("utf-8")])
    wanted = hashlib.sha256(text.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        session.log(f"Installing into .nox/{name} …")
        if python == sys.executable:
            venv.create(folder, clear=True, with_pip=True)
        else:
            session.run_install(python, "-m", "venv", "--clear", str(folder), external=True)
        pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check"]
        session.run_install(*pip, "install", "--quiet", *needs, external=True)
        stamp.write_text(wanted, "utf-8")
    return programs


def development(session: nox.Session) -> Path:
    needs = [
        "-e",
        f".[{EXTRAS}]",
        *group("test"),
        *group("lint"),
        *group("docs"),
    ]
    return environment(session, "development", needs)


def run(
    session: nox.Session,
    programs: Path,
    *command: str,
    may_be_empty: bool = False,
    **variables: str,
) -> None:
    """Run Python of the environment; ``may_be_empty`` allows pytest to find no test."""
    session.run(
        str(programs / "python"),
        *command,
        external=True,
        env={"PYTHONUTF8": "1", **variables},
        success_codes=[0, 5] if may_be_empty else [0],
    )


def leave_out(session: nox.Session, reason: str) -> None:
    """Skip the session with the reason printed; in CI nothing may be left out."""
    if IN_CI:
        session.error(reason)
    session.skip(reason)


def folders(*names: str) -> list[str]:
    """Those of the folders of tests that exist and have tests."""
    return [f"tests/{name}" for name in names if list((ROOT / "tests" / name).rglob("test_*.py"))]


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    programs = development(session)
    run(session, programs, "-m", "ruff", "check", ".")
    run(session, programs, "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, checked strictly."""
    run(session, development(session), "-m", "mypy")


@nox.session
@nox.parametrize("database", ["sqlite", "postgres"])
def tests(session: nox.Session, database: str) -> None:
    """The suite on SQLite; what touches a database also on PostgreSQL. Measures the coverage."""
    programs = development(session)
    if any(argument.startswith("tests") for argument in session.posargs):
        chosen = list(session.posargs)
    else:
        chosen = folders("integration", "concurrency", "acceptance", "benchmarks")
        if database == "sqlite":
            chosen += folders("unit", "guards")
        chosen += session.posargs
    if not session.posargs and database == "sqlite":
        for leftover in ROOT.glob(".coverage.*"):
            leftover.unlink()
    coverage = ("-m", "coverage", "run", f"--data-file={ROOT / '.coverage'}")
    run(
        session, programs, *coverage, "-m", "pytest", *PARALLEL, *chosen, "-m", "not speed",
        FLOWCONTROL_TEST_DATABASE=database,
    )  # fmt: skip
    if not session.posargs:
        # One by one and without coverage, which would be what they measure.
        run(
            session, programs, "-m", "pytest", *chosen, "-m", "speed",
            may_be_empty=True, FLOWCONTROL_TEST_DATABASE=database,
        )  # fmt: skip


def interpreter(version: str) -> str | None:
    """A Python of this version, from the PATH or from pyenv; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    installed = glob.glob(str(pyenv / "versions" / f"{version}*" / "bin" / "python"))
    for candidate in (sys.executable, shutil.which(f"python{version}"), *sorted(installed)):
        if candidate is None:
            continue
        # A shim of pyenv stands on the PATH for each version and fails for those not switched on.
        answer = subprocess.run(
            [candidate, "--version"], capture_output=True, text=True, check=False
        )
        if answer.returncode == 0 and answer.stdout.startswith(f"Python {version}."):
            return candidate
    return None


def lowest(requirements: Sequence[str]) -> list[str]:
    """The same requirements, each pinned to the lowest version it allows."""
    return [
        re.sub(r">=([\w.]+).*", r"==\1", requirement)
        for requirement in requirements
        if ">=" in requirement
    ]


@nox.session
@nox.parametrize("corner", ["newest", "lowest"])
def corners(session: nox.Session, corner: str) -> None:
    """The ends of what we allow: the newest Python and Django, the lowest of everything.

    The newest on PostgreSQL with prepared statements, as the documentation advises.
    """
    project = PROJECT["project"]
    versions = [c.rpartition(" ")[2] for c in project["classifiers"] if ":: Python :: 3." in c]
    version = versions[-1] if corner == "newest" else versions[0]
    python = interpreter(version)
    if python is None:
        leave_out(session, f"There is no Python {version} on this machine")
        return
    if corner == "newest":
        # Without Celery: it pins versions of its own, and only one module may need it.
        needs = ["-e", ".[demo,postgres,webhooks]", *group("test")]
    else:
        extras = project["optional-dependencies"]
        tested = [each for name in ("postgres", "celery", "webhooks") for each in extras[name]]
        pinned = lowest([*project["dependencies"], *tested])
        needs = ["-e", f".[{EXTRAS}]", *group("test"), *pinned]
    programs = environment(session, corner, needs, python)
    for database in ("sqlite", "postgres"):
        chosen = session.posargs or folders("integration")
        if database == "sqlite" and not session.posargs:
            chosen += folders("unit")
        run(
            session, programs, "-m", "pytest", *PARALLEL, *chosen, "-m", "not speed",
            FLOWCONTROL_TEST_DATABASE=database,
            FLOWCONTROL_TEST_PREPARED="yes" if corner == "newest" else "",
        )  # fmt: skip


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, and its examples. Warnings are errors, and so is a broken reference."""
    programs = development(session)
    sphinx = ("-m", "sphinx", "--fail-on-warning", "--keep-going", "--nitpicky", "--quiet")
    run(session, programs, *sphinx, "--builder", "html", "docs", "docs/_build/html")
    run(session, programs, *sphinx, "--builder", "doctest", "docs", "docs/_build/doctest")


@nox.session
def coverage(session: nox.Session) -> None:
    """The report over all databases, with the least that is accepted."""
    programs = development(session)
    if not list(ROOT.glob(".coverage.*")):
        leave_out(session, "There is nothing to report: the session tests has not run")
    run(session, programs, "-m", "coverage", "combine", "--quiet")
    run(session, programs, "-m", "coverage", "report")


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """A week of an airline's operations desk, then its admin in the browser."""
    programs = environment(session, "demo", ["-e", ".[demo]"])
    run(session, programs, "-m", "demo", *session.posargs)


@nox.session(default=False)
def screenshots(session: nox.Session) -> None:
    """The pictures of the documentation, taken anew from the demo; names choose some of them."""
    programs = development(session)
    run(session, programs, "-m", "demo.screenshots", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """The proofs in full, for an hour: on PostgreSQL, then on SQLite what it has of them."""
    programs = development(session)
    if not folders("concurrency"):
        leave_out(session, "There is no tests/concurrency yet")
    for database in ("postgres", "sqlite"):
        run(
            session, programs, "-m", "pytest", "tests/concurrency",
            "tests/integration/test_plans.py", "--soak", "-s", "--durations", "15",
            *session.posargs, FLOWCONTROL_TEST_DATABASE=database,
        )  # fmt: skip


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """The figures: steps, runs and sweeps per second, and how the builder feels."""
    programs = development(session)
    if not (ROOT / "tests" / "benchmarks" / "__main__.py").exists():
        leave_out(session, "There is no tests/benchmarks yet")
    run(session, programs, "-m", "tests.benchmarks", *session.posargs)


VENDORED = {
    # What is fetched: the package and its versions; where it goes; which files of it.
    "htmx.org@^2.0.11": ("flowcontrol/static/flowcontrol/vendor/htmx", ["dist/htmx.min.js"]),
    "sortablejs@^1.15.7": ("flowcontrol/static/flowcontrol/vendor/sortablejs", ["Sortable.min.js"]),
    "axe-core@^4.14.1": (
        "tests/acceptance/vendor/axe-core",
        ["axe.min.js", "LICENSE-3RD-PARTY.txt"],
    ),
}


@nox.session(default=False)
def vendor(session: nox.Session) -> None:
    """Fetch the libraries of the pages anew, by npm, and note versions and checksums."""
    for wanted, (place, names) in VENDORED.items():
        work = Path(session.create_tmp())
        output = session.run(
            "npm", "pack", wanted, "--json", "--silent", f"--pack-destination={work}",
            external=True, silent=True,
        )  # fmt: skip
        packed = json.loads(str(output))[-1]
        folder = ROOT / place
        folder.mkdir(parents=True, exist_ok=True)
        checksums = {}
        with tarfile.open(work / packed["filename"].replace("/", "-")) as archive:
            for name in [*names, "LICENSE"]:
                member = archive.extractfile(f"package/{name}")
                assert member is not None, f"{wanted} has no {name}"
                content = member.read()
                (folder / Path(name).name).write_bytes(content)
                checksums[Path(name).name] = hashlib.sha256(content).hexdigest()
        record = {"name": packed["name"], "version": packed["version"], "sha256": checksums}
        (folder / "vendored.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
        session.log(f"{packed['name']} {packed['version']}")
