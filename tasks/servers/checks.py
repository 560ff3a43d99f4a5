"""Whether each service does its work, as far as it can be told from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.servers.services import POOL, Service
from tasks.servers.supervisord import ProcessState, Supervisor
from tasks.tracking.running_servers import answers

UNHEARD = "runs, but the Prefect server does not say whether it hears from it"
"""What is found of a worker of which nothing is known: no reason to start it again."""
_SILENT_SECONDS = 90.0
"""A worker that did not report for so long hangs: it does so every 30 s."""


@dataclass(frozen=True)
class ServiceState:
    """One service, as it is now."""

    service: Service
    healthy: bool
    found: str
    """In words: `running`, or what is wrong."""
    pid: int | None = None
    started: float | None = None
    """When, in seconds since 1970."""


def look(
    services: Sequence[Service], supervisor: Supervisor, *, prefect_api_url: str, answer_seconds: float = 2.0
) -> list[ServiceState]:
    """Look at each service once; a server that takes longer than `answer_seconds` to say that it is well is not."""
    states = supervisor.states() if supervisor.is_up() else {}
    return [
        _look_at(service, states.get(service.name), prefect_api_url=prefect_api_url, answer_seconds=answer_seconds)
        for service in services
    ]


def _look_at(
    service: Service, state: ProcessState | None, *, prefect_api_url: str, answer_seconds: float
) -> ServiceState:
    if state is None:
        return ServiceState(service, False, "not running")
    if state.state != "RUNNING":
        found = ": ".join(filter(None, (state.state.lower(), state.reason)))
        return ServiceState(service, False, found, state.pid, state.started)
    problem = _problem(service, state, prefect_api_url=prefect_api_url, answer_seconds=answer_seconds)
    found = problem or ("running" if state.died is None else f"running, restarted {_clock(state.started)}")
    return ServiceState(service, problem is None, found, state.pid, state.started)


def _problem(service: Service, state: ProcessState, *, prefect_api_url: str, answer_seconds: float) -> str | None:
    if service.health_url is not None:
        well = answers(service.health_url, within_seconds=answer_seconds)
        return None if well else f"does not answer at {service.health_url}"
    return worker_problem(_workers(prefect_api_url), started=state.started, now=time.time())


def worker_problem(workers: Sequence[Mapping[str, Any]] | None, *, started: float, now: float) -> str | None:
    """Return what is wrong with the worker, from what the Prefect server knows; None if it is well.

    Args:
        workers: those of the pool; None: the server does not say.
        started: when its process began, in seconds since 1970.
        now: in seconds since 1970.
    """
    if workers is None:
        return UNHEARD
    beats = [each["last_heartbeat_time"] for each in workers if each["name"] == POOL and each["last_heartbeat_time"]]
    last = max((datetime.fromisoformat(beat).timestamp() for beat in beats), default=0.0)
    if last < started - 1:  # supervisord tells whole seconds
        return "starting: the Prefect server has not heard from it yet"
    if now - last > _SILENT_SECONDS:
        return f"runs, but the Prefect server has not heard from it for {now - last:.0f} s"
    return None


def _workers(prefect_api_url: str) -> list[dict[str, Any]] | None:
    import httpx
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    try:
        with SyncPrefectClient(api=prefect_api_url) as client:
            workers = client.read_workers_for_work_pool(POOL)
    except ObjectNotFound:
        return []
    except (httpx.HTTPError, PrefectHTTPStatusError):
        return None
    return [json.loads(worker.model_dump_json()) for worker in workers]


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S")
