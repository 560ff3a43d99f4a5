"""Start what is not running, and leave alone what is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil

from configs.errors import ServerError
from configs.servers import ServerSettings
from configs.settings import Settings
from tasks.servers.checks import ServiceState, look
from tasks.servers.down import servers_lock, take_down
from tasks.servers.patience import Patience, hangs
from tasks.servers.process_table import family, require_free_ports, worked_seconds
from tasks.servers.services import MLFLOW, POOL, PREFECT, PROJECT, WORKER, Service, planned_services
from tasks.servers.started_with import changed_settings, digests_of_settings
from tasks.servers.supervisor_config import configuration, log_of
from tasks.servers.supervisord import Supervisor
from tasks.tracking.running_servers import RunningServers, answers, note_servers, noted_servers

_SLOW_ANSWER_SECONDS = 10.0
"""How long a living server may take to answer beside a training before it counts as silent."""
_LOG_LINES = 5


def bring_up(
    settings: Settings,
    servers: ServerSettings,
    *,
    environment: Mapping[str, str],
    tell: Callable[[str], object],
) -> list[str]:
    """Bring every server and the worker to work; return what was started or changed: nothing, the second time.

    Args:
        settings: the places of the installation.
        servers: where to listen.
        environment: of every service: see `shared_environment`.
        tell: hears what is going on.

    Raises:
        ServerError: a port is in use, a server does not start, or they run already with other settings. What was
            started is stopped again.
    """
    services = planned_services(settings, servers, project=PROJECT)
    supervisor = Supervisor(settings.home)
    with servers_lock(settings.home):
        noted = noted_servers(settings.home) if supervisor.is_up() else None
        if noted is not None:
            _require_same_settings(noted, services, environment)
        changed = []
        try:
            if noted is None:
                take_down(settings.home, supervisor)  # what an interrupted `up`, or a supervisord that died, left
                _start_supervisor(settings, servers, services, environment, supervisor)
                changed.append("supervisord")
                prefect = [service for service in services if service.name == PREFECT]
                changed += _start(prefect, supervisor, api_url=environment["PREFECT_API_URL"], tell=tell)
                _make_mlflow_tables(settings, services, environment)  # while Prefect makes its own
            changed += _start_services(services, supervisor, environment, tell=tell)
        except BaseException:
            if noted is None:
                take_down(settings.home, supervisor)
            raise
        note_servers(settings.home, _noted(supervisor, services, environment))
    return changed


def _start_supervisor(
    settings: Settings,
    servers: ServerSettings,
    services: Sequence[Service],
    environment: Mapping[str, str],
    supervisor: Supervisor,
) -> None:
    from tasks.storage.postgres_databases import prepare_databases

    require_free_ports(services, servers.host)
    prepare_databases(settings)
    supervisor.start(configuration(services, folder=supervisor.folder, socket=supervisor.socket), environment)


def _make_mlflow_tables(settings: Settings, services: Sequence[Service], environment: Mapping[str, str]) -> None:
    if any(service.name == MLFLOW for service in services):
        from tasks.storage.locks import locks_of
        from tasks.tracking.mlflow_database import prepare_store

        prepare_store(environment["MLFLOW_BACKEND_STORE_URI"], settings.home, locks=locks_of(settings))


def _require_same_settings(noted: RunningServers, services: Sequence[Service], environment: Mapping[str, str]) -> None:
    changed = changed_settings(noted.settings, services, environment)
    if changed:
        raise ServerError(
            f"the servers of this home run with other settings ({', '.join(changed)}); run `burnish down` first, "
            "or ask from a shell with the same settings"
        )


def _start_services(
    services: Sequence[Service],
    supervisor: Supervisor,
    environment: Mapping[str, str],
    *,
    tell: Callable[[str], object],
) -> list[str]:
    """Start the servers, then what needs Prefect; return what was started or changed."""
    api_url = environment["PREFECT_API_URL"]
    first = [service for service in services if service.name != WORKER]
    worker = [service for service in services if service.name == WORKER]
    changed = _start(first, supervisor, api_url=api_url, tell=tell)
    from tasks.servers.prefect_deployments import ensure_pool, install  # loads Prefect while its server starts

    _wait_until_healthy(first, supervisor, api_url=api_url, names={PREFECT})
    if not answers(f"{api_url}/health"):
        raise ServerError(f"no Prefect server answers at {api_url}; start it, or unset PREFECT_API_URL to have one")
    ensure_pool(api_url, POOL)
    changed += _start(worker, supervisor, api_url=api_url, tell=tell)
    changed += install(api_url, PROJECT / "prefect.yaml")
    _wait_until_healthy(services, supervisor, api_url=api_url)
    return changed


def _start(
    services: Sequence[Service], supervisor: Supervisor, *, api_url: str, tell: Callable[[str], object]
) -> list[str]:
    """Start what is down and start again what hangs; return the names."""
    started = []
    states = supervisor.states()
    for service in services:
        state = states[service.name]
        if not state.is_down and not hangs(partial(_look_patiently, service, supervisor, api_url=api_url)):
            continue
        tell(f"starting {service.name}")
        if not state.is_down:
            supervisor.stop_service(service.name)
        supervisor.start_service(service.name)
        started.append(service.name)
    return started


def _look_patiently(service: Service, supervisor: Supervisor, *, api_url: str) -> ServiceState:
    [state] = look([service], supervisor, prefect_api_url=api_url, answer_seconds=_SLOW_ANSWER_SECONDS)
    return state


def _wait_until_healthy(
    services: Sequence[Service], supervisor: Supervisor, *, api_url: str, names: set[str] | None = None
) -> None:
    """Wait while the services make progress, however slow the machine is."""
    awaited = [service for service in services if names is None or service.name in names]
    patience = {service.name: Patience() for service in awaited}
    while True:
        sick = [state for state in look(awaited, supervisor, prefect_api_url=api_url) if not state.healthy]
        if not sick:
            return
        given_up = []
        for state in sick:
            worked = worked_seconds(family(state.pid)) if state.pid else 0.0
            reason = patience[state.service.name].gives_up(state, worked_seconds=worked, now=time.monotonic())
            given_up += [_failure(state, reason, supervisor.folder)] if reason else []
        if given_up:
            raise ServerError("; ".join(given_up))
        time.sleep(0.2)


def _failure(state: ServiceState, reason: str, folder: Path) -> str:
    log = log_of(state.service.name, folder)
    try:
        last = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        last = []
    said = " | ".join(last[-_LOG_LINES:])
    return f"{state.service.name} is not ready ({state.found}; {reason}); its log {log} ends: {said or 'empty'}"


def _noted(supervisor: Supervisor, services: Sequence[Service], environment: Mapping[str, str]) -> RunningServers:
    pid = supervisor.pid()
    return RunningServers(
        mlflow_url=environment["MLFLOW_TRACKING_URI"],
        prefect_api_url=environment["PREFECT_API_URL"],
        supervisor_pid=pid,
        supervisor_started=psutil.Process(pid).create_time(),
        settings=digests_of_settings(services, environment),
    )
