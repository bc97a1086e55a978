"""The verbs of the command that read and write files: export, import, render, schema."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from json import dumps as dump_json
from pathlib import Path as FilePath
from typing import Any, Final

from django.core.management.base import CommandError

from flowcontrol.documents import JSONObject, read_document
from flowcontrol.drafts import draft_document, frozen
from flowcontrol.models import Flow, FlowRun, FlowVersion
from flowcontrol.rendering import Path, to_dot, to_mermaid, to_svg
from flowcontrol.run_paths import path_of
from flowcontrol.transfer import (
    Missing,
    export_text,
    file_schema,
    import_flow,
    preview,
    read_file,
)

FORMATS: Final[dict[str, Callable[..., str]]] = {
    "svg": to_svg,
    "mermaid": to_mermaid,
    "dot": to_dot,
}


def add_file_verbs(verbs: Any, command: FileVerbs) -> None:
    """Add the parsers of these verbs to those of the command."""
    export: ArgumentParser = verbs.add_parser("export", help="Write a flow as a JSON file.")
    export.add_argument("flow", metavar="FLOW", help="Short name of the flow.")
    export.add_argument("--version-number", type=int, help="A version instead of the draft.")
    export.add_argument("--secrets", action="store_true", help="Write secrets, too.")
    export.add_argument("--output", metavar="FILE", help="Where to; else it is printed.")
    export.set_defaults(call=command.export)

    import_: ArgumentParser = verbs.add_parser(
        "import", help="Read a flow from a JSON file, as a draft."
    )
    import_.add_argument("file", metavar="FILE", help="The file; - is standard input.")
    import_.add_argument("--into", metavar="FLOW", help="Replace the draft of this flow.")
    import_.add_argument("--name", default="", help="Name of the new flow.")
    import_.add_argument("--slug", default="", help="Short name of the new flow.")
    import_.add_argument(
        "--dry-run", action="store_true", help="Only tell what is missing here; write nothing."
    )
    import_.set_defaults(call=command.import_)

    render: ArgumentParser = verbs.add_parser("render", help="Draw a flow, or the way of a run.")
    render.add_argument("flow", metavar="FLOW", nargs="?", help="Short name of the flow.")
    render.add_argument("--version-number", type=int, help="A version instead of the draft.")
    render.add_argument("--run", type=int, metavar="NUMBER", help="A run: its version and path.")
    render.add_argument("--format", choices=[*FORMATS], default="svg", help="What to write (svg).")
    render.add_argument("--output", metavar="FILE", help="Where to; else it is printed.")
    render.set_defaults(call=command.render)

    schema: ArgumentParser = verbs.add_parser("schema", help="Print the JSON Schema of the files.")
    schema.set_defaults(call=command.schema)


class FileVerbs:
    """What these verbs do; the command is one."""

    stdout: Any
    stderr: Any

    def export(
        self,
        *,
        flow: str,
        version_number: int | None,
        secrets: bool,
        output: str | None,
        **options: Any,
    ) -> None:
        found = _flow(flow)
        version = _version(found, version_number) if version_number is not None else None
        self._write(export_text(found, version, reveal_secrets=secrets), output)

    def import_(
        self,
        *,
        file: str,
        into: str | None,
        name: str,
        slug: str,
        dry_run: bool,
        **options: Any,
    ) -> None:
        if into and (name or slug):
            raise CommandError("--into keeps the names of the flow: leave --name and --slug out.")
        target = _flow(into) if into else None
        read = read_file(_read(file))
        if dry_run:
            self._tell_missing(preview(read, into=target))
            self.stdout.write("Nothing was written.")
            return
        imported = import_flow(read, into=target, name=name, slug=slug)
        self._tell_missing(imported.missing)
        self.stdout.write(
            f"{imported.flow.slug}: the draft was written. Publish it to let runs follow."
        )

    def render(
        self,
        *,
        flow: str | None,
        version_number: int | None,
        run: int | None,
        format: str,  # noqa: A002 (the option's name)
        output: str | None,
        **options: Any,
    ) -> None:
        document, title, path = _drawn(flow, version_number, run)
        self._write(FORMATS[format](document, title=title, path=path), output)

    def schema(self, **options: Any) -> None:
        self.stdout.write(dump_json(file_schema(), indent=2))

    def _tell_missing(self, missing: list[Missing]) -> None:
        for each in missing:
            row = f" (row {each.uid})" if each.uid else ""
            self.stderr.write(f"  missing {each.kind.replace('_', ' ')}: {each.message}{row}")

    def _write(self, text: str, output: str | None) -> None:
        if output is None:
            self.stdout.write(text, ending="")
            return
        try:
            _write_whole(FilePath(output), text)
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}") from error
        self.stdout.write(f"Written to {output}.")


def _write_whole(file: FilePath, text: str) -> None:
    """Write all of a file, or leave what is there as it is: a full disk costs no older file."""
    if file.exists() and not file.is_file():
        # A pipe or a device takes what comes; a folder says that it is one.
        file.write_text(text, encoding="utf-8")
        return
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        if file.exists():
            unfinished.chmod(file.stat().st_mode)
        unfinished.replace(file.resolve())
    finally:
        unfinished.unlink(missing_ok=True)


def _drawn(
    slug: str | None, version_number: int | None, run: int | None
) -> tuple[JSONObject, str, Path | None]:
    if run is not None:
        if slug or version_number is not None:
            raise CommandError("A run has a flow and a version: leave them out.")
        found = FlowRun.objects.select_related("flow", "version").filter(pk=run).first()
        if found is None:
            raise CommandError(f"There is no run #{run}.")
        return read_document(found.version.document), str(found), path_of(found)
    if not slug:
        raise CommandError("Name a flow, or a run by --run.")
    flow = _flow(slug)
    if version_number is None:
        return read_document(frozen(draft_document(flow))), str(flow), None
    version = _version(flow, version_number)
    return read_document(version.document), str(version), None


def _flow(slug: str) -> Flow:
    flow = Flow.objects.filter(slug=slug).first()
    if flow is None:
        known = ", ".join(Flow.objects.order_by("slug").values_list("slug", flat=True))
        raise CommandError(f"There is no flow {slug!r}. Flows: {known or 'none yet'}.")
    return flow


def _version(flow: Flow, number: int) -> FlowVersion:
    version = flow.versions.filter(number=number).first()
    if version is None:
        raise CommandError(f"{flow.slug} has no version {number}.")
    return version


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else FilePath(file).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8 text.") from error
