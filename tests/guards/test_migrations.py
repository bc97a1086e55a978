"""The migrations say what the models say, and cannot be taken for another package's."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command

from tests.guards.repository import PACKAGE


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    output = StringIO()
    try:
        call_command(
            "makemigrations", "flowcontrol", "demo", check=True, dry_run=True, stdout=output
        )
    except SystemExit:
        pytest.fail(f"Run makemigrations:\n{output.getvalue()}")


def test_the_first_migration_has_a_name_of_its_own() -> None:
    # Another package has the same app label. Were its "0001_initial" recorded in a database, Django
    # would take ours for applied and never create our tables.
    names = sorted(path.stem for path in (PACKAGE / "migrations").glob("[0-9]*.py"))
    assert names
    assert names[0].startswith("0001_")
    assert names[0] != "0001_initial"
