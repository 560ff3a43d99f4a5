"""Start what is not running, and leave alone what is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from configs.errors import ServerError
from configs.servers import ServerSettings
from configs.settings import Settings
from tasks.servers.checks import ServiceState, look
from tasks.servers.down import servers_lock, take_down
from tasks.servers.process_table import require_free_ports
from tasks.servers.services import MLFLOW, POOL, PREFECT, PROJECT, WORKER, Service, planned_services
from tasks.servers.supervisor_config import configuration, log_of
from tasks.servers.supervisord import Supervisor
from tasks.storage.durable import digest_of
from tasks.tracking.running_servers import RunningServers, answers, note_servers, noted_servers

_READY_SECONDS = 120.0
_HANG_SECONDS = 45.0
"""A service that runs for so long and isn't ready is started again."""
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
    wanted = settings_digest(services, environment)
    supervisor = Supervisor(settings.home)
    with servers_lock(settings.home):
        noted = noted_servers(settings.home) if supervisor.is_up() else None
        if noted is not None:
            _require_same_settings(noted, wanted)
        changed = []
        try:
            if noted is None:
                take_down(settings.home, supervisor)  # what an interrupted `up`, or a supervisord that died, left
                _start_supervisor(settings, servers, services, environment, supervisor)
                changed.append("supervisord")
            changed += _start_services(services, supervisor, environment, tell=tell)
        except BaseException:
            if noted is None:
                take_down(settings.home, supervisor)
            raise
        note_servers(settings.home, _noted(supervisor, environment, wanted))
    return changed


def settings_digest(services: Sequence[Service], environment: Mapping[str, str]) -> str:
    """Identity of what servers were started with: commands, and Burnish's, MLflow's and Prefect's settings."""
    own = ("BURNISH_HOST", "BURNISH_ALLOWED_HOSTS", "BURNISH_ROOTS")
    ours = {key: value for key, value in environment.items() if key in own or key.startswith(("MLFLOW_", "PREFECT_"))}
    return digest_of([[service.command for service in services], ours])


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
    if any(service.name == MLFLOW for service in services):
        from tasks.storage.locks import locks_of
        from tasks.tracking.mlflow_database import prepare_store

        prepare_store(environment["MLFLOW_BACKEND_STORE_URI"], settings.home, locks=locks_of(settings))
    supervisor.start(configuration(services, folder=supervisor.folder, socket=supervisor.socket), environment)


def _require_same_settings(noted: RunningServers, wanted: str) -> None:
    if noted.settings_digest != wanted:
        raise ServerError(
            "the servers of this home run with other settings (ports, roots, or MLFLOW_, PREFECT_ and BURNISH_ "
            "variables); run `burnish down` first, or ask from a shell with the same settings"
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
    _wait_until_healthy(first, supervisor, api_url=api_url, names={PREFECT})
    if not answers(f"{api_url}/health"):
        raise ServerError(f"no Prefect server answers at {api_url}; start it, or unset PREFECT_API_URL to have one")
    from tasks.servers.prefect_deployments import ensure_pool, install

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
        if not state.is_down and not _hangs(service, supervisor, api_url=api_url):
            continue
        tell(f"starting {service.name}")
        if not state.is_down:
            supervisor.stop_service(service.name)
        supervisor.start_service(service.name)
        started.append(service.name)
    return started


def _hangs(service: Service, supervisor: Supervisor, *, api_url: str) -> bool:
    [state] = look([service], supervisor, prefect_api_url=api_url)
    old = state.started is not None and time.time() - state.started > _HANG_SECONDS
    return not state.healthy and old


def _wait_until_healthy(
    services: Sequence[Service], supervisor: Supervisor, *, api_url: str, names: set[str] | None = None
) -> None:
    awaited = [service for service in services if names is None or service.name in names]
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        states = look(awaited, supervisor, prefect_api_url=api_url)
        sick = [state for state in states if not state.healthy]
        if not sick:
            return
        given_up = [state for state in sick if state.found.startswith(("fatal", "exited", "stopped"))]
        if given_up or time.monotonic() > deadline:
            raise ServerError("; ".join(_failure(state, supervisor.folder) for state in given_up or sick))
        time.sleep(0.2)


def _failure(state: ServiceState, folder: Path) -> str:
    log = log_of(state.service.name, folder)
    try:
        last = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        last = []
    said = " | ".join(last[-_LOG_LINES:])
    return f"{state.service.name} is not ready ({state.found}); its log {log} ends: {said or 'empty'}"


def _noted(supervisor: Supervisor, environment: Mapping[str, str], digest: str) -> RunningServers:
    pid = supervisor.pid()
    return RunningServers(
        mlflow_url=environment["MLFLOW_TRACKING_URI"],
        prefect_api_url=environment["PREFECT_API_URL"],
        supervisor_pid=pid,
        supervisor_started=psutil.Process(pid).create_time(),
        settings_digest=digest,
    )
