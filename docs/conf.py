"""How Sphinx makes the documentation: MyST pages, Furo, and the docstrings of the package.

Warnings are errors (``-W -n``), so a page that nobody links to or a name that does not exist
stops the build. ``tests/guards/test_docs_pages.py`` compares the pages with the code.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import models
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import flowcontrol  # noqa: E402 (after the path is set)

# Models can be read only in a Django that is set up; nothing here opens a database.
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "flowcontrol",
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

project = "flowcontrol"
author = "flowcontrol contributors"
copyright = author  # noqa: A001 (the name that Sphinx reads)
version = release = flowcontrol.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
]
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "separated"
autodoc_default_options = {"exclude-members": "__new__, __init__"}

# What docstrings and signatures name of Python, Django and others. Nothing is looked up on the
# network while building, so these stay plain text; names of our own have to exist.
# The modules in the list are there, but are nothing to call from outside.
nitpick_ignore_regex = [
    ("py:.*", r"(?!flowcontrol\b).*"),
    ("py:class", r"flowcontrol\.(base|registry)\.T"),
    ("py:mod", r"flowcontrol\.(claiming|failures|firing|history|matching)"),
]

# The examples in docstrings are executed by the builder ``doctest``.
doctest_global_setup = """
from flowcontrol.directives import *
from flowcontrol.documents import *
"""

html_theme = "furo"
html_title = "flowcontrol"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_show_sphinx = False
html_copy_source = False


def read_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Read the sections Args, Returns and Raises, as the extension napoleon does.

    The extension itself would take "Stable name: …" below an attribute for its type.
    """
    kind = "class" if what == "attribute" else what
    config = Config(napoleon_use_rtype=False)
    lines[:] = GoogleDocstring(list(lines), config, app, kind, name, obj, options).lines()
    if what == "class" and issubclass(obj, models.Model):
        lines += ["", *map(described, obj._meta.concrete_fields), ""]


def described(field: models.Field[Any, Any]) -> str:
    """A column as an entry of a list; words that only repeat its name are left out."""
    label = str(field.verbose_name)
    words = [label] if label.lower() != field.name.replace("_", " ") else []
    words += [str(field.help_text)] if field.help_text else []
    return f"* ``{field.name}``" + (f": {'. '.join(words)}" if words else "")


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", read_docstring)
