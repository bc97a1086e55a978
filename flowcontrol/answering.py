"""Questions to people and their answers: each is written with what follows from it.

A row asks by :func:`ask`, in the transaction that parks its run; a person answers by
:func:`complete_task`, in the transaction that wakes it. In between the task is closed by whoever
ends the wait in another way.

Locks are taken from the run to its task: who answers holds the run's row before looking at the
task, and so does whoever cancels, moves or wakes the run. Of two who answer at once one waits for
the other, and then finds the task answered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import models, transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from flowcontrol.base import RunHandle
from flowcontrol.conf import settings
from flowcontrol.exceptions import AnswerInvalid, AuthorError, NotJSON, TaskRefused
from flowcontrol.expressions import to_json
from flowcontrol.models import FlowRun, HumanTask, RunWait, Status, TaskStatus, WaitKind
from flowcontrol.models.locks import lock_rows
from flowcontrol.recording import wake
from flowcontrol.schemas import Problem, check_schema, find_value_problems, place, with_defaults

Button = Mapping[str, str]

LONGEST_TITLE: Final = 200


# --- asking -------------------------------------------------------------------------------------


def ask(
    run: RunHandle,
    *,
    title: str,
    text: str = "",
    schema: Mapping[str, Any] | None = None,
    buttons: Sequence[Button] = (),
    users: Collection[str] = (),
    groups: Collection[str] = (),
    permission: str = "",
    due: datetime | None = None,
) -> HumanTask:
    """Write a task for the run of a row with effects ``"database"``.

    The row has to return ``SuspendAndRepeat(for_task=True, …)``, so that task and wait are written
    together.

    Args:
        run: the handle that the row was given.
        title: of the task.
        text: what it is about, plain.
        schema: the JSON Schema of the answer; without one there is no form.
        buttons: ``{"name": …, "label": …}`` each; without any there is one, "done".
        users: the names of those who may answer.
        groups: the names of groups who may.
        permission: who has it may, ``app_label.codename``.
        due: until when; the row has to wait until the same moment.

    Raises:
        AuthorError: a name leads nowhere, or the schema is none.
    """
    # A wait of this run that was broken off left one behind, perhaps.
    HumanTask.objects.filter(run_id=run.pk).give_up(run.now)
    task = HumanTask(
        run_id=run.pk,
        action_uid=run.node.uid,
        title=title[:LONGEST_TITLE],
        text=text,
        schema=_checked_schema(schema),
        buttons=[dict(button) for button in buttons],
        permission=permission,
        due=due,
        created_at=run.now,
    )
    askable_users = _named(get_user_model().USERNAME_FIELD, get_user_model(), users, _("user"))
    askable_groups = _named("name", Group, groups, _("group"))
    task.save()
    task.users.set(askable_users)
    task.groups.set(askable_groups)
    return task


def _checked_schema(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if not schema:
        return {}
    try:
        check_schema(schema)
    except ValueError as error:
        told = _("The form of this task is no JSON Schema: %(reason)s") % {"reason": error}
        raise AuthorError(told) from error
    return dict(schema)


def _named(
    field: str, model: type[models.Model], names: Collection[str], what: str
) -> list[models.Model]:
    """The objects of these names.

    Raises:
        AuthorError: there is none of one of them; a question that reaches nobody helps nobody.
    """
    found = {
        getattr(each, field): each
        for each in model._default_manager.filter(**{f"{field}__in": names})
    }
    for name in names:
        if name not in found:
            raise AuthorError(
                _("There is no %(what)s “%(name)s” to ask.") % {"what": what, "name": name}
            )
    return list(found.values())


def close_task(pk: int, *, expired: bool = False) -> None:
    """The wait for this task has ended: close it, if it is open still."""
    status = TaskStatus.EXPIRED if expired else TaskStatus.WITHDRAWN
    HumanTask.objects.filter(pk=pk).close(status)


def reopen_task(pk: int) -> None:
    """The run waits for this task again: open it, unless it was answered."""
    tasks = HumanTask.objects.filter(pk=pk).exclude(status=TaskStatus.ANSWERED)
    tasks.update(status=TaskStatus.OPEN)


# --- answering ----------------------------------------------------------------------------------


def buttons_of(task: HumanTask) -> list[Button]:
    """The buttons of a task: those it was given, or one that says that it is done."""
    return task.buttons or [{"name": "done", "label": _("Done")}]


def may_answer(task: HumanTask, user: Any) -> bool:
    """Whether ``user`` is among those who may answer the task."""
    return HumanTask.objects.filter(pk=task.pk).for_user(user).exists()


def complete_task(
    task: HumanTask,
    user: Any,
    data: Mapping[str, Any] | None = None,
    button: str = "",
    *,
    now: datetime | None = None,
) -> HumanTask:
    """Answer a task; its run goes on with the answer, in the same commit.

    Args:
        task: the one to answer.
        user: who answers; ``None`` for code, which may answer for anybody.
        data: what was filled in; defaults of the form need not be.
        button: the name of the button; may be left out if there is only one.
        now: by default the engine's clock.

    Returns:
        The task, answered.

    Raises:
        TaskRefused: it is closed, its run does not wait for it any more, or ``user`` may not.
        AnswerInvalid: the answer does not fit the form, or there is no such button.
    """
    now = now or settings.CLOCK()
    answer = _answer(task, user, data, button, now)
    with transaction.atomic():
        # Whoever else answers, cancels or moves the run is waited for; then the task is looked at.
        run = lock_rows(FlowRun.objects.filter(pk=task.run_id)).only("pk", "status").get()
        task.refresh_from_db()
        if user is not None and not may_answer(task, user):
            raise TaskRefused(_("This task is not for you to answer."))
        _require_open(task, run)
        answered = (
            HumanTask.objects.filter(pk=task.pk)
            .open()
            .update(
                status=TaskStatus.ANSWERED,
                answers=[*task.answers, answer],
                answered_at=now,
                answered_by=user,
            )
        )
        wakeup = {"by": "task", "task": task.pk, "data": answer}
        reason = _("“%(title)s” was answered: %(button)s") % {
            "title": task.title,
            "button": _label_of(task, answer["button"]),
        }
        if not answered or not wake(run.pk, wakeup, now, reason=reason, user=user):
            raise TaskRefused(_("The run does not wait for this answer any more."))
    task.refresh_from_db()
    return task


def _answer(
    task: HumanTask, user: Any, data: Mapping[str, Any] | None, button: str, now: datetime
) -> dict[str, Any]:
    """What is written down of an answer.

    Raises:
        AnswerInvalid: it does not fit the task.
    """
    names = [each["name"] for each in buttons_of(task)]
    if not button and len(names) == 1:
        button = names[0]
    if button not in names:
        known = ", ".join(names)
        raise AnswerInvalid(
            _("There is no button “%(name)s” at this task. There are: %(known)s.")
            % {"name": button, "known": known}
        )
    try:
        values: Any = to_json(dict(data or {}), where=_("the answer"))
    except NotJSON as error:
        raise AnswerInvalid(str(error)) from error
    values = _checked_values(task, values)
    moment = to_json(now, where="now")
    return {
        "button": button,
        "data": values,
        "by": user.get_username() if user is not None else None,
        "at": moment,
    }


def _checked_values(task: HumanTask, values: dict[str, Any]) -> dict[str, Any]:
    if not task.schema:
        if values:
            problem = Problem((next(iter(values)),), _("is not asked for"))
            raise AnswerInvalid(_("This task has no form."), [problem])
        return {}
    values = with_defaults(task.schema, values)
    if problems := find_value_problems(task.schema, values):
        told = "; ".join(f"{place(problem.path)}: {problem.message}" for problem in problems)
        raise AnswerInvalid(
            _("The answer does not fit the form. %(problems)s") % {"problems": told}, problems
        )
    return values


def _require_open(task: HumanTask, run: FlowRun) -> None:
    """Raise the error that says why there is nothing to answer any more.

    Raises:
        TaskRefused: the task is closed, or its run waits for something else.
    """
    told = why_closed(task)
    if not told:
        waits = RunWait.objects.filter(run=run, kind=WaitKind.TASK).exists()
        if waits and run.status in (Status.WAITING, Status.PAUSED):
            return
        told = _("The time for this answer is over: the run goes on without it.")
    raise TaskRefused(told)


def why_closed(task: HumanTask) -> str:
    """Why a task cannot be answered any more, in a sentence; empty if it is open."""
    match task.status:
        case TaskStatus.ANSWERED:
            return _("%(who)s has answered this at %(at)s.") % {
                "who": task.answered_by or _("Somebody"),
                "at": _told(task.answered_at),
            }
        case TaskStatus.EXPIRED:
            return _("The time for this answer was over at %(at)s.") % {"at": _told(task.due)}
        case TaskStatus.WITHDRAWN:
            return _("This answer is not needed any more: the run goes on without it, or ended.")
    return ""


def _label_of(task: HumanTask, name: str) -> str:
    return next((each["label"] for each in buttons_of(task) if each["name"] == name), name)


def _told(moment: datetime | None) -> str:
    if moment is None:
        return "?"
    local = timezone.localtime(moment)
    return f"{date_format(local, 'DATE_FORMAT')}, {date_format(local, 'H:i')}"
