"""The Celery application of the benchmarks: what a project has, and a task that does nothing."""

from __future__ import annotations

import os
import time

from celery import Celery

BEAT_SECONDS = 1.0

app = Celery("benchmarks", broker=os.environ["FLOWCONTROL_TEST_BROKER"])
app.conf.update(
    result_backend=os.environ["FLOWCONTROL_TEST_BROKER"],
    broker_connection_retry_on_startup=True,
    beat_schedule={
        "flows": {
            "task": "flowcontrol.fan_out_flowruns",
            "schedule": BEAT_SECONDS,
            "options": {"expires": BEAT_SECONDS},
        }
    },
)
app.autodiscover_tasks()


@app.task
def latency(sent: float) -> float:
    """How long a bare message took, in seconds."""
    return time.time() - sent
