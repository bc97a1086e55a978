"""For the tests of the admin: people with rights, addresses, and flows to look at."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from flowcontrol.models import Flow, FlowAction

VIEW = ("view_flow", "view_flowrun", "view_trigger", "view_firing", "view_humantask")


def person(*rights: str, name: str = "sam", **fields: Any) -> User:
    """Somebody of the staff who has exactly these rights (code names of flowcontrol's)."""
    user = User.objects.create_user(name, password="secret", is_staff=True, **fields)
    found = Permission.objects.filter(content_type__app_label="flowcontrol", codename__in=rights)
    assert {each.codename for each in found} == set(rights)
    user.user_permissions.set(found)
    return user


def client_of(*rights: str, name: str = "sam", **fields: Any) -> Client:
    """The browser of such a person, logged in."""
    client = Client()
    client.force_login(person(*rights, name=name, **fields))
    return client


def url(name: str, *args: Any) -> str:
    """The address of a page of ours: ``url("flow_actions", flow.pk)``."""
    return reverse(f"admin:flowcontrol_{name}", args=args)


def draft_rows(flow: Flow) -> list[str]:
    """The rows of a draft in order, each with a dot for each block around it."""
    rows = FlowAction.objects.filter(flow=flow, depth__gt=1).order_by("path")
    return ["." * (row.depth - 2) + (row.label or row.action) for row in rows]


def uid_of(flow: Flow, action: str) -> str:
    """The uid of the only row of this action, or of this label."""
    rows = FlowAction.objects.filter(flow=flow, depth__gt=1)
    found = rows.filter(label=action) or rows.filter(action=action)
    uid: str = found.get().uid
    return uid


def revision_of(flow: Flow) -> int:
    return Flow.objects.values_list("draft_revision", flat=True).get(pk=flow.pk)


class BuilderPage:
    """The builder in a browser without a screen: what its scripts ask, and what they are told.

    Keeps, as the page does, the revision of the draft and the marks of the rows that it shows.
    """

    def __init__(self, client: Client, flow: Flow) -> None:
        self.client, self.flow = client, flow
        self.revision, self.marks = "", dict[str, str]()
        self.open()

    def open(self) -> str:
        """The whole page."""
        return self._read(self.client.get(url("flow_actions", self.flow.pk)))

    def get(self, name: str, *args: Any, **query: str) -> str:
        """What is shown beside the list."""
        return self._read(self.client.get(url(name, self.flow.pk, *args), query, headers=PARTIAL))

    def post(self, name: str, *args: Any, **fields: Any) -> str:
        """A change, made from what the page shows."""
        sent = {"revision": self.revision, "marks": json.dumps(self.marks), **fields}
        return self._read(self.client.post(url(name, self.flow.pk, *args), sent, headers=PARTIAL))

    def save(self, uid: str, **changes: str) -> str:
        """The form of a row, opened, changed and saved."""
        fields = form_fields(self.get("flow_row", uid))
        return self.post("flow_row", uid, **{**fields, **changes, "revision": self.revision})

    def _read(self, answer: Any) -> str:
        text: str = answer.content.decode()
        assert answer.status_code == 200, f"{answer.status_code}: {text[:2000]}"
        if told := re.search(r'data-fc-revision="(\d+)" data-fc-outline="([^"]*)"', text):
            self.revision = told[1]
            rows = (line.split(" ", 2) for line in unescape(told[2]).splitlines())
            self.marks = {quoted: mark for _depth, mark, quoted in rows}
        return text


PARTIAL = {"HX-Request": "true"}


def form_fields(html: str) -> dict[str, Any]:
    """The names and values of the form of a row, as a browser would post them."""
    fields: dict[str, Any] = {}
    form = html.partition("data-fc-form")[2].partition("</form>")[0]
    for tag in re.findall(r"<input [^>]*>", form):
        given = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        is_on = given.get("type") not in ("checkbox", "radio") or re.search(r"\bchecked\b", tag)
        if "name" in given and is_on:
            fields[given["name"]] = unescape(given.get("value", "on"))
    for name, value in re.findall(r'<textarea [^>]*name="([^"]+)"[^>]*>([^<]*)</textarea>', form):
        fields[name] = unescape(value).removeprefix("\n")
    selects = re.findall(r'<select [^>]*name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL)
    for name, options in selects:
        chosen = re.search(r'value="([^"]*)" selected', options)
        fields[name] = unescape(chosen[1]) if chosen else ""
    return fields
