"""``manage.py flowcontrol VERB``: run, worker, start, publish, check, test, status, files …"""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from json import dumps as dump_json
from json import loads as load_json
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from flowcontrol.compiling import compile_document
from flowcontrol.conf import settings
from flowcontrol.documents import JSONObject, read_document
from flowcontrol.drafting import draft_document
from flowcontrol.engine import continue_flowruns, create_flowrun, execute_flowrun
from flowcontrol.exceptions import AuthorError, FlowcontrolError, PublishRefused
from flowcontrol.findings import Finding, find_all, find_trigger_problems
from flowcontrol.flowtests import coverage_of, row_names, run_tests
from flowcontrol.management.files import FileVerbs, add_file_verbs
from flowcontrol.models import Flow, Status
from flowcontrol.monitoring import report
from flowcontrol.operating import explain
from flowcontrol.pruning import prune
from flowcontrol.publishing import publish
from flowcontrol.working import stopped_by_signals, work


class Command(FileVerbs, BaseCommand):
    help = "Executes, starts, publishes, checks, moves and draws flows."
    requires_migrations_checks = True

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

        run = verbs.add_parser("run", help="One sweep, for cron: execute what is due, then end.")
        run.add_argument("--max-runs", type=int, help="Claim no more batches after so many runs.")
        run.add_argument("--max-seconds", type=float, help="Nor after so many seconds.")
        run.set_defaults(call=self.run)

        worker = verbs.add_parser("worker", help="Sweep again and again until stopped.")
        worker.set_defaults(call=self.worker)

        start = verbs.add_parser("start", help="Start a run and execute it as far as it goes.")
        start.add_argument("flow", help="Short name of the flow.")
        start.add_argument("--object", help="Key of the object that the run is about.")
        start.add_argument("--state", help="Start state, a JSON object.")
        start.add_argument("--key", help="Name of this start; given twice, there is one run.")
        start.add_argument("--user", help="Name of the user who starts it.")
        start.set_defaults(call=self.start)

        publish_ = verbs.add_parser("publish", help="Publish the drafts of flows.")
        self._add_flows(publish_)
        publish_.add_argument("--note", default="", help="What changed.")
        publish_.set_defaults(call=self.publish)

        prune_ = verbs.add_parser("prune", help="Delete what is over for longer than it is kept.")
        prune_.add_argument(
            "--touched-too",
            action="store_true",
            help="Also runs that failed on the way or that a person touched.",
        )
        prune_.set_defaults(call=self.prune)

        status = verbs.add_parser(
            "status", help="How the engine is doing; the exit status is 1 if somebody should look."
        )
        status.add_argument("--json", action="store_true", help="For machines.")
        status.add_argument(
            "--max-lag", type=float, default=300, help="Seconds that a due run may wait (300)."
        )
        status.set_defaults(call=self.status)

        check = verbs.add_parser(
            "check", help="Check drafts and live versions; fails if one has errors."
        )
        self._add_flows(check)
        check.set_defaults(call=self.check_flows)

        test = verbs.add_parser("test", help="Run the tests of drafts; fails if one does not pass.")
        self._add_flows(test)
        test.set_defaults(call=self.test_flows)

        add_file_verbs(verbs, self)

    def _add_flows(self, parser: ArgumentParser) -> None:
        parser.add_argument("flows", nargs="*", metavar="FLOW", help="Short names; none: all.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            options["call"](**options)
        except FlowcontrolError as error:
            raise CommandError(str(error)) from error

    def run(self, *, max_runs: int | None, max_seconds: float | None, **options: Any) -> None:
        tally = continue_flowruns(max_runs=max_runs, max_seconds=max_seconds)
        counts = {name: count for name, count in asdict(tally).items() if count}
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        self.stdout.write(told or "Nothing was due.")

    def worker(self, **options: Any) -> None:
        with stopped_by_signals() as stopping:
            self.stdout.write("Working. Stop with Ctrl-C.")
            work(stopping)
        self.stdout.write("Stopped.")

    def prune(self, *, touched_too: bool, **options: Any) -> None:
        pruned = prune(settings.CLOCK(), touched_too=touched_too)
        self.stdout.write(f"Deleted {pruned.runs} run(s) and {pruned.firings} firing(s).")

    def status(self, *, json: bool, max_lag: float, **options: Any) -> None:
        now = settings.CLOCK()
        found = report(now)
        problems = found.problems(now, max_lag=max_lag)
        if json:
            self.stdout.write(dump_json({**found.to_json(), "problems": problems}))
        else:
            for status in Status:
                self.stdout.write(f"{status.label}: {found.counts.get(status, 0)}")
            self.stdout.write(f"Oldest due run waits: {found.lag_seconds:.0f} s")
            self.stdout.write(f"Left by their workers: {found.abandoned}")
            self.stdout.write(f"Firings to match: {found.unmatched_firings}")
            self.stdout.write(f"Last sweep: {found.last_sweep or 'never'}")
            for problem in problems:
                self.stderr.write(problem)
        if problems:
            raise SystemExit(1)

    def start(
        self,
        *,
        flow: str,
        object: str | None,  # noqa: A002 (the option's name)
        state: str | None,
        key: str | None,
        user: str | None,
        **options: Any,
    ) -> None:
        [found] = self._flows([flow])
        run = create_flowrun(
            found,
            self._object(found, object),
            state=self._state(state),
            key=key,
            user=self._user(user),
        )
        run = execute_flowrun(run)
        self.stdout.write(f"Run #{run.pk}: {run.get_status_display()}. {explain(run)}")

    def publish(self, *, flows: list[str], note: str, **options: Any) -> None:
        refused = False
        for flow in self._flows(flows):
            before = flow.live_version
            try:
                version = publish(flow, note=note)
            except PublishRefused as refusal:
                refused = True
                self.stderr.write(f"{flow.slug}: refused.")
                self._tell(refusal.findings, draft_document(flow))
            else:
                word = "unchanged, version" if version == before else "published as version"
                self.stdout.write(f"{flow.slug}: {word} {version.number}.")
        if refused:
            raise CommandError("Not every flow could be published.")

    def check_flows(self, *, flows: list[str], **options: Any) -> None:
        errors = 0
        for flow in self._flows(flows):
            draft = read_document(draft_document(flow))
            findings = find_all(draft, flow=flow)
            problems = self._live_problems(flow)
            errors += len(problems) + sum(finding.severity == "error" for finding in findings)
            self.stdout.write(f"{flow.slug}: {len(findings)} finding(s) in the draft.")
            self._tell(findings, draft)
            for message in (of_triggers := find_trigger_problems(flow)):
                self.stderr.write(f"  error: trigger: {message}")
            errors += len(of_triggers)
            for uid, message in problems:
                self.stderr.write(f"  error: live version, row {uid}: {message}")
        if errors:
            raise CommandError(f"{errors} error(s).")

    def test_flows(self, *, flows: list[str], **options: Any) -> None:
        ran = failed = 0
        for flow in self._flows(flows):
            found = run_tests(flow)
            passed = sum(tested.status == "passed" for tested in found)
            ran, failed = ran + len(found), failed + len(found) - passed
            if not found:
                self.stdout.write(f"{flow.slug}: no tests.")
                continue
            percent = coverage_of(flow).percent
            told = f"{passed} of {len(found)} test(s) passed, {percent} % of the rows reached."
            self.stdout.write(f"{flow.slug}: {told}")
            for tested in found:
                self.stdout.write(f"  {tested.status}: {tested.test.name}")
                for problem in tested.problems:
                    self.stdout.write(f"    {problem}")
        if failed:
            raise CommandError(f"{failed} of {ran} test(s) did not pass.")

    def _live_problems(self, flow: Flow) -> list[tuple[str, str]]:
        """Rows of the live version that cannot execute in this process."""
        if flow.live_version is None:
            return []
        try:
            program = compile_document(read_document(flow.live_version.document))
        except AuthorError as error:
            return [("", str(error))]
        problems: list[tuple[str, str]] = list(program.payload.problems)
        return problems

    def _tell(self, findings: list[Finding], draft: JSONObject) -> None:
        names = row_names(draft)
        for finding in findings:
            where = f"{names[finding.uid]} [{finding.uid}]" if finding.uid else "flow"
            field = f", {finding.field}" if finding.field else ""
            told = f"{finding.sentence} {finding.fix}"
            self.stdout.write(f"  {finding.severity}: {where}{field}: {told}")

    def _flows(self, slugs: list[str]) -> list[Flow]:
        flows = Flow.objects.select_related("live_version").order_by("slug")
        if not slugs:
            return list(flows)
        found = {flow.slug: flow for flow in flows.filter(slug__in=slugs)}
        if missing := [slug for slug in slugs if slug not in found]:
            known = ", ".join(Flow.objects.order_by("slug").values_list("slug", flat=True))
            raise CommandError(f"There is no flow {missing[0]!r}. Flows: {known or 'none yet'}.")
        return [found[slug] for slug in slugs]

    def _object(self, flow: Flow, key: str | None) -> Any:
        if key is None:
            return None
        model = flow.content_type.model_class() if flow.content_type else None
        if model is None:
            raise CommandError(f'"{flow}" is not about objects; leave --object out.')
        try:
            found = model._default_manager.filter(pk=key).first()
        except (ValueError, TypeError, ValidationError) as error:
            raise CommandError(f"{key!r} is no key of {model._meta.label}: {error}") from error
        if found is None:
            raise CommandError(f"There is no {model._meta.label} with the key {key!r}.")
        return found

    def _state(self, text: str | None) -> dict[str, Any] | None:
        if text is None:
            return None
        try:
            state = load_json(text)
        except ValueError as error:
            raise CommandError(f"--state is not JSON: {error}") from error
        if not isinstance(state, dict):
            raise CommandError("--state has to be a JSON object.")
        return state

    def _user(self, name: str | None) -> Any:
        if name is None:
            return None
        users = get_user_model()
        try:
            return users._default_manager.get_by_natural_key(name)
        except users.DoesNotExist:
            raise CommandError(f"There is no user {name!r}.") from None
