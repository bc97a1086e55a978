"""Settings of the demo: one SQLite file, mail into files, a clock that can be moved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django
from django.core.management.utils import get_random_secret_key

DIRECTORY = Path(
    os.environ.get("FLOWCONTROL_DEMO_DIRECTORY") or Path(__file__).parent.parent / ".demo"
).absolute()
MAIL_DIRECTORY = DIRECTORY / "mail"

DEBUG = False
# A new one with each start: it signs nothing that has to outlive the demo.
SECRET_KEY = get_random_secret_key()
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "treebeard",
    "flowcontrol",
    "demo",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "demo.urls"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DIRECTORY / "airline.sqlite3",
        "OPTIONS": {
            # Several threads write: wait for the lock at BEGIN, never fail in the middle.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-us"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "America/New_York"

STATIC_URL = "static/"

DEFAULT_FROM_EMAIL = "operations@airline.example"
_MAIL_INTO_FILES = "django.core.mail.backends.filebased.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _MAIL_INTO_FILES, "OPTIONS": {"file_path": MAIL_DIRECTORY}}}
else:
    EMAIL_BACKEND = _MAIL_INTO_FILES
    EMAIL_FILE_PATH = MAIL_DIRECTORY

FLOWCONTROL_CLOCK = "demo.clock.now"
