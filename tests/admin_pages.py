"""For the tests of the admin: people with rights, addresses, and flows to look at."""

from __future__ import annotations

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
