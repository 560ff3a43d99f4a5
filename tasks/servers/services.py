"""What `burnish up` starts: three services, their commands and what their environment says. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.environment import HEARTBEAT_SECONDS, SERVER_SWITCHES
from configs.roots import ROOTS
from configs.servers import LOOPBACK_NAMES, ServerSettings
from configs.settings import Settings, databases_on

POOL = "burnish"
"""Name of the work pool, and of its one worker."""
POOL_TYPE = "burnish"
"""Kind of the pool: `ConfinedWorker` serves it, Prefect's own workers don't."""
SUPERVISED = "BURNISH_SUPERVISED"
"""Set, to the home, in the environment of every service and of whatever it starts."""
PROJECT = Path(__file__).resolve().parents[2]
"""Where Burnish's code and its `prefect.yaml` lie."""
MLFLOW, PREFECT, WORKER = "mlflow", "prefect", "worker"


@dataclass(frozen=True)
class Service:
    """One process to keep alive."""

    name: str
    command: tuple[str, ...]
    health_url: str | None = None
    """Answers 200 when it is ready; None: the Prefect server knows."""
    url: str | None = None
    """Where a person looks at it."""
    port: int | None = None
    setting: str = ""
    """The environment variable that changes the port."""


def planned_services(settings: Settings, servers: ServerSettings, *, project: Path) -> list[Service]:
    """Return the services in the order in which they start; a server that lies elsewhere is not among them.

    Args:
        settings: the places of the installation.
        servers: where to listen.
        project: the folder that Burnish's code lies in.
    """
    planned = []
    if not is_elsewhere(settings.tracking_uri, servers.mlflow_url):
        planned.append(
            Service(
                MLFLOW,
                _uvicorn("mlflow", servers.host, servers.mlflow_port, project),
                health_url=f"{servers.mlflow_url}/health",
                url=servers.mlflow_url,
                port=servers.mlflow_port,
                setting="BURNISH_MLFLOW_PORT",
            )
        )
    if not is_elsewhere(settings.prefect_api_url, servers.prefect_api_url):
        planned.append(
            Service(
                PREFECT,
                _uvicorn("prefect", servers.host, servers.prefect_port, project),
                health_url=f"{servers.prefect_api_url}/health",
                url=servers.prefect_url,
                port=servers.prefect_port,
                setting="BURNISH_PREFECT_PORT",
            )
        )
    planned.append(Service(WORKER, (sys.executable, "-m", "tasks.servers.prefect_worker")))
    return planned


def is_elsewhere(given: str | None, own: str) -> bool:
    """Whether the address that is set names a server which somebody else runs."""
    return given is not None and given.startswith(("http://", "https://")) and given.rstrip("/") != own


def shared_environment(
    settings: Settings, servers: ServerSettings, *, roots: str, given: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of every service: what the shell says (switches, secrets), and what Burnish needs.

    Args:
        settings: the places of the installation.
        servers: where to listen.
        roots: folders below which recipes and data may be named, joined by the system's path separator.
        given: the environment of the command, with the air-gap switches set.
    """
    pages = ",".join(f"http://{_in_url(name)}:{servers.prefect_port}" for name in (*LOOPBACK_NAMES, servers.host))
    named = (*LOOPBACK_NAMES, servers.host, *servers.allowed_hosts)
    hosts = [host for name in map(_in_url, named) for host in (name, f"{name.replace('[', '[[]', 1)}:*")]
    tracking = settings.tracking_uri if is_elsewhere(settings.tracking_uri, servers.mlflow_url) else servers.mlflow_url
    api, prefect_database = settings.prefect_api_url, settings.prefect_database_url
    return {
        **given,
        SUPERVISED: str(settings.home),
        ROOTS: roots,
        "BURNISH_HOME": str(settings.home),
        "BURNISH_HOST": servers.host,
        "BURNISH_MLFLOW_PORT": str(servers.mlflow_port),
        "BURNISH_PREFECT_PORT": str(servers.prefect_port),
        "MLFLOW_TRACKING_URI": tracking,
        "MLFLOW_BACKEND_STORE_URI": database_of(settings, servers),
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": _artifacts(settings),
        **({"PREFECT_API_DATABASE_CONNECTION_URL": prefect_database} if prefect_database else {}),
        **SERVER_SWITCHES,
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "PREFECT_API_URL": api if api and is_elsewhere(api, servers.prefect_api_url) else servers.prefect_api_url,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": pages,
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",  # `notice` alone makes 288 runs a day
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(int(settings.keep_days * 86400)),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_UI_API_URL": servers.prefect_api_url if servers.is_loopback else "/api",  # as a browser reaches it
        "PREFECT_UI_ENABLED": "1",
        "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "5",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }


def database_of(settings: Settings, servers: ServerSettings) -> str:
    """Return the database that our MLflow server works on."""
    if settings.tracking_uri.rstrip("/") == servers.mlflow_url:
        if settings.postgres_url is not None:
            return databases_on(settings.postgres_url).mlflow
        return f"sqlite:///{settings.home / 'mlflow.db'}"
    return settings.tracking_uri


def _artifacts(settings: Settings) -> str:
    return f"{settings.artifact_root}/mlflow" if settings.artifact_root else str(settings.home / "artifacts")


def _uvicorn(application: str, host: str, port: int, project: Path) -> tuple[str, ...]:
    return (
        sys.executable, "-m", "uvicorn", "--app-dir", str(project),
        "--factory", f"tasks.servers.guarded_apps:{application}",
        "--host", host, "--port", str(port), "--log-level", "warning", "--lifespan", "on",
        "--timeout-graceful-shutdown", "3",
    )  # fmt: skip


def _in_url(name: str) -> str:
    return f"[{name}]" if ":" in name else name
