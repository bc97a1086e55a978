"""The Django project of the suite.

``FLOWCONTROL_TEST_DATABASE`` chooses the database: ``sqlite`` (default) or ``postgres``, which
``FLOWCONTROL_TEST_PREPARED`` gives prepared statements. Two other variables say where it is.
``tests/conftest.py`` sets them for the suite; processes that a test starts inherit them and so work
on the same database.
"""

from __future__ import annotations

import os
from typing import Any

import django

DATABASE = os.environ.get("FLOWCONTROL_TEST_DATABASE", "sqlite")
DATABASE_NAME = os.environ.get("FLOWCONTROL_TEST_DATABASE_NAME", "")
POSTGRES_HOST = os.environ.get("FLOWCONTROL_TEST_POSTGRES_HOST", "")
PREPARED = bool(os.environ.get("FLOWCONTROL_TEST_PREPARED"))

DATABASES: dict[str, dict[str, Any]]
if DATABASE == "sqlite":
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATABASE_NAME or ":memory:",
            # As the documentation tells users to set it up; the claims rely on it.
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }
elif DATABASE == "postgres":
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": DATABASE_NAME or "postgres",
            "USER": "flowcontrol",
            "HOST": POSTGRES_HOST,
            # Some people let the server prepare what is sent again and again.
            "OPTIONS": {"server_side_binding": True, "prepare_threshold": 3} if PREPARED else {},
            "TEST": {"NAME": "test_flowcontrol"},
        }
    }
else:
    raise ValueError(f"FLOWCONTROL_TEST_DATABASE is {DATABASE!r}, not 'sqlite' or 'postgres'.")

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
    "tests.testapp",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
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

SECRET_KEY = "only for tests"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# A zone with daylight saving: a test that mixes up local time and UTC fails. A naive datetime that
# reaches the database is a warning of Django's and so an error here.
USE_TZ = True
TIME_ZONE = "America/New_York"
LANGUAGE_CODE = "en"

if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
else:
    EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
