"""People: rows that wait for somebody's answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from flowcontrol.actions.expiry import (
    EXPIRY_HELP,
    EXPIRY_LABELS,
    EXPIRY_PROPERTIES,
    after_expiry,
    expiry,
    warn_of_no_expiry,
)
from flowcontrol.actions.wording import shown, shown_duration
from flowcontrol.answering import ask, close_task, reopen_task
from flowcontrol.base import (
    BaseAction,
    Continue,
    Directive,
    Effects,
    RunHandle,
    Surroundings,
    SuspendAndRepeat,
)
from flowcontrol.registry import register_action
from flowcontrol.schemas import check_schema, is_computed

Config = Mapping[str, Any]

_NAMES: Final = {
    "type": "array",
    "items": {"type": "string", "minLength": 1},
    "default": [],
}


@register_action
class AskPerson(BaseAction):
    """Asks people and waits; the result is the answer, or null if the time ran out."""

    name = "ask_person"
    verbose_name = _("Ask a person")
    description = _("Asks somebody to fill in a form or to press a button, and waits for it.")
    group = _("People")
    icon = "person"
    effects: ClassVar[Effects] = "database"
    computes_once = True
    can_try = True
    config_schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string", "format": "template", "minLength": 1, "maxLength": 200},
            "text": {"type": "string", "format": "template"},
            "form": {"type": "object", "default": {}},
            "buttons": {
                "type": "array",
                "items": {
                    "type": "string",
                    "pattern": r"^[A-Za-z][A-Za-z0-9_-]*[ ]*(=.*)?$",
                    "maxLength": 100,
                },
                "default": [],
            },
            "users": _NAMES,
            "groups": _NAMES,
            "permission": {
                "type": "string",
                "pattern": r"^([a-z_][a-z0-9_]*\.[a-z0-9_]+)?$",
                "default": "",
            },
            **EXPIRY_PROPERTIES,
        },
        "required": ["title"],
        "additionalProperties": False,
    }
    labels: ClassVar[Mapping[str, Any]] = {
        "title": _("Title"),
        "text": _("Text"),
        "form": _("Form"),
        "buttons": _("Buttons"),
        "users": _("Users who may answer"),
        "groups": _("Groups that may answer"),
        "permission": _("Who has this permission"),
        **EXPIRY_LABELS,
        "on_timeout": _("If nobody answers"),
    }
    help_texts: ClassVar[Mapping[str, Any]] = {
        "title": _("One line, as it stands in the list of tasks."),
        "text": _("What has to be decided. Values go between double braces: {{ object }}."),
        "form": _(
            'The JSON Schema of the answer: {"type": "object", "properties": {"seats": {"type": '
            '"integer"}}, "required": ["seats"]}. Empty: only buttons.'
        ),
        "buttons": _("Name and label of each: approve = Approve it. Empty: “Done”."),
        "users": _("User names."),
        "groups": _("Names of groups."),
        "permission": _("As app_label.codename; whoever has it may answer."),
        **EXPIRY_HELP,
    }

    def run(self, *, run: RunHandle, obj: Any, config: Config) -> Directive | None:
        memo = run.memo
        if memo is None:
            return self._ask(run, config)
        woken_by = run.wakeup["by"] if run.wakeup else ""
        if woken_by in ("task", "code"):
            close_task(memo["task"])
            return Continue(run.wakeup.get("data"))
        until = datetime.fromisoformat(memo["until"]) if memo["until"] else None
        if woken_by != "operator" and (until is None or run.now < until):
            # It was only tried again, or resumed: the question stands.
            reopen_task(memo["task"])
            return SuspendAndRepeat(for_task=True, until=until)
        close_task(memo["task"], expired=True)
        return after_expiry(memo, _now("Nobody answered “%(title)s” in time.") % memo)

    def _ask(self, run: RunHandle, config: Config) -> Directive:
        until = expiry(run, config)
        task = ask(
            run,
            title=" ".join(run.render(config["title"]).split()),
            text=run.render(config.get("text", "")),
            schema=config.get("form"),
            buttons=[_button(line) for line in config.get("buttons", [])],
            users=config.get("users", []),
            groups=config.get("groups", []),
            permission=config.get("permission", ""),
            due=until,
        )
        run.log(_now("Asked: %(title)s") % {"title": task.title})
        memo = {
            "task": task.pk,
            "title": task.title,
            "until": until.isoformat() if until else None,
            "on_timeout": config.get("on_timeout", "continue"),
        }
        return SuspendAndRepeat(for_task=True, until=until, memo=memo)

    def sentence(self, config: Config) -> str:
        whom = [
            str(shown(config[name]))
            for name in ("users", "groups", "permission")
            if config.get(name)
        ]
        told = _now("Ask %(whom)s: %(title)s") % {
            "whom": ", ".join(whom) or _now("somebody"),
            "title": config.get("title", "…"),
        }
        if config.get("timeout"):
            told = _now("%(question)s, within %(length)s") % {
                "question": told,
                "length": shown_duration(config["timeout"]),
            }
        return told

    @classmethod
    def check_config(cls, config: Config) -> list[tuple[str, str, str]]:
        message = _now("If nobody answers, the run waits for ever.")
        found = warn_of_no_expiry(config, message)
        if not any(config.get(name) for name in ("users", "groups", "permission")):
            message = _now("Only those who may answer every task can answer this one.")
            found.append(("warning", "users", message))
        form = config.get("form")
        if form and not is_computed(form):
            try:
                check_schema(form)
            except ValueError as error:
                found.append(("error", "form", str(error)))
        buttons = config.get("buttons")
        if isinstance(buttons, list):
            names = [_button(line)["name"] for line in buttons]
            if len(set(names)) < len(names):
                found.append(("error", "buttons", _now("Two buttons have the same name.")))
        return found

    @classmethod
    def check_in_flow(cls, config: Config, flow: Surroundings) -> list[tuple[str, str, str]]:
        known = flow.once(cls.name, lambda: _people_there(flow.configs_of(cls.name)))
        told = {
            "users": _now("“%(name)s” is not there to be asked."),
            "groups": _now("“%(name)s” is not there to be asked."),
            "permission": _now("There is no permission “%(name)s”."),
        }
        return [
            ("missing-person", field, message % {"name": name})
            for field, message in told.items()
            for name in sorted(_named(config, field) - known[field])
        ]


def _named(config: Config, field: str) -> set[str]:
    """The names in a field, unless they are computed."""
    value = config.get(field)
    names = value if isinstance(value, list) else [value]
    return {name for name in names if isinstance(name, str) and name}


def _people_there(configs: Iterable[Config]) -> dict[str, set[str]]:
    """The users, groups and permissions that rows name and that are there: a query for each."""
    configs = list(configs)
    named = {
        field: set().union(*(_named(config, field) for config in configs))
        for field in ("users", "groups", "permission")
    }
    users = get_user_model()
    name_field = users.USERNAME_FIELD
    there: dict[str, set[str]] = {field: set() for field in named}
    if named["users"]:
        found = users._default_manager.filter(**{f"{name_field}__in": named["users"]})
        there["users"].update(found.values_list(name_field, flat=True))
    if named["groups"]:
        groups = Group.objects.filter(name__in=named["groups"])
        there["groups"].update(groups.values_list("name", flat=True))
    if named["permission"]:
        codenames = {name.partition(".")[2] for name in named["permission"]}
        rights = Permission.objects.filter(codename__in=codenames).order_by()
        pairs = rights.values_list("content_type__app_label", "codename")
        there["permission"].update(f"{app_label}.{codename}" for app_label, codename in pairs)
    return there


def _button(line: str) -> dict[str, str]:
    """``approve = Approve it`` as name and label; without a label the name is one."""
    name, _sign, label = line.partition("=")
    return {"name": name.strip(), "label": label.strip() or name.strip()}
