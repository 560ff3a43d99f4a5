from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.servers.checks import ServiceState, worker_problem
from tasks.servers.services import POOL, Service
from tasks.servers.status import Status, Weighed, status_lines

NOW = 1_800_000_000.0


def heard(seconds_ago: float, name: str = POOL) -> list[dict[str, Any]]:
    return [{"name": name, "last_heartbeat_time": datetime.fromtimestamp(NOW - seconds_ago, UTC).isoformat()}]


def test_a_worker_that_reported_since_it_began_is_well() -> None:
    assert worker_problem(heard(5), started=NOW - 10, now=NOW) is None


@pytest.mark.parametrize(
    ("workers", "started", "said"),
    [
        (None, NOW - 10, "does not say"),
        ([], NOW - 10, "not heard from it yet"),
        (heard(20), NOW - 10, "not heard from it yet"),  # what the killed one before it reported
        (heard(5, name="other"), NOW - 10, "not heard from it yet"),
        (heard(100), NOW - 500, "for 100 s"),
    ],
)
def test_a_worker_that_does_not_report_is_not_well(
    workers: list[dict[str, Any]] | None, started: float, said: str
) -> None:
    assert said in str(worker_problem(workers, started=started, now=NOW))


def status(*, healthy: bool) -> Status:
    service = Service("mlflow", ("true",), url="http://127.0.0.1:5000")
    state = ServiceState(service, healthy, "running" if healthy else "exited: killed", pid=7 if healthy else None)
    return Status((Weighed(state, 229.4),), 541.6, ("smoke 1234: Waiting",), ("smoke/1 is champion",), Path("/logs"))


def test_the_lines_tell_service_memory_work_and_reviews() -> None:
    lines = status_lines(status(healthy=True))

    assert lines[0] == "ok   mlflow   running, pid 7, 229 MB, http://127.0.0.1:5000, log /logs/mlflow.log"
    assert lines[1:] == ["memory   542 MB in all", "at work  smoke 1234: Waiting", "UNREVIEWED  smoke/1 is champion"]


def test_a_dead_service_says_so_and_what_to_do() -> None:
    lines = status_lines(status(healthy=False))

    assert lines[0].startswith("FAIL mlflow   exited: killed, no process")
    assert "burnish up" in lines[0]
    assert not status(healthy=False).healthy
