"""The Celery application of the suite's project, as a user would write it.

``FLOWCONTROL_TEST_BROKER`` is the broker's address; the fixture ``celery_worker`` sets it.
"""

from __future__ import annotations

import os

from celery import Celery

app = Celery("tests", broker=os.environ.get("FLOWCONTROL_TEST_BROKER", "memory://"))
app.conf.update(
    result_backend=os.environ.get("FLOWCONTROL_TEST_BROKER", "cache+memory://"),
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
)
app.autodiscover_tasks()
