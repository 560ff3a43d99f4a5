"""What the servers of an installation do now, in lines for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from configs.errors import BurnishError
from configs.servers import ServerSettings
from configs.settings import Settings
from tasks.servers.checks import ServiceState, look
from tasks.servers.process_table import family, memory_mb, supervised
from tasks.servers.services import PROJECT, planned_services
from tasks.servers.supervisor_config import log_of
from tasks.servers.supervisord import Supervisor
from tasks.storage.lease import fine_tunes_at_work
from tasks.tracking.running_servers import answers, noted_servers


@dataclass(frozen=True)
class Weighed:
    """A service with the memory of its processes."""

    state: ServiceState
    memory_mb: float


@dataclass(frozen=True)
class Status:
    """Everything that `burnish status` tells."""

    services: tuple[Weighed, ...]
    total_mb: float
    """Of every process, supervisord and flow runs included; what they share is counted once."""
    at_work: tuple[str, ...]
    """Flow runs that are not done, with what they wait for; where Prefect knows of none, processes that fine-tune."""
    unreviewed: tuple[str, ...]
    """Model versions with an alias that neither cleared their gates nor were given a reason."""
    folder: Path
    """Where the logs are."""

    @property
    def healthy(self) -> bool:
        """Whether every service does its work."""
        return all(each.state.healthy for each in self.services)


def servers_status(settings: Settings, servers: ServerSettings) -> Status:
    """Look at everything once."""
    supervisor = Supervisor(settings.home)
    if noted := noted_servers(settings.home):  # started from a shell that may have named other ports than this one
        servers = servers.at_ports_of(noted.mlflow_url, noted.prefect_api_url)
    api_url = noted.prefect_api_url if noted else servers.prefect_api_url
    planned = planned_services(settings, servers, project=PROJECT)
    states = look(planned, supervisor, prefect_api_url=api_url)
    return Status(
        services=tuple(Weighed(state, memory_mb(family(state.pid)) if state.pid else 0.0) for state in states),
        total_mb=memory_mb(supervised(settings.home)),
        at_work=tuple(_flow_runs_at_work(api_url) or fine_tunes_at_work(settings.home)),
        unreviewed=tuple(_unreviewed(settings)),
        folder=supervisor.folder,
    )


def status_lines(status: Status) -> list[str]:
    """Return the lines, services first."""
    lines = [_service_line(each, status.folder) for each in status.services]
    lines.append(f"memory   {status.total_mb:.0f} MB in all")
    lines += [f"at work  {line}" for line in status.at_work] or ["at work  nothing"]
    lines += [f"UNREVIEWED  {line}" for line in status.unreviewed]
    return lines


def _service_line(weighed: Weighed, folder: Path) -> str:
    state = weighed.state
    verdict = "ok  " if state.healthy else "FAIL"
    who = f"pid {state.pid}, {weighed.memory_mb:.0f} MB" if state.pid else "no process"
    parts = [state.found, who, *([state.service.url] if state.service.url else [])]
    line = f"{verdict} {state.service.name:<8} {', '.join(parts)}, log {log_of(state.service.name, folder)}"
    return line if state.healthy else f"{line}\n     → `burnish up` mends it"


def _flow_runs_at_work(api_url: str) -> Sequence[str]:
    if not answers(f"{api_url}/health"):
        return []
    import httpx
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.exceptions import PrefectHTTPStatusError

    unfinished = {
        "state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}},
        "parent_task_run_id": {"is_null_": True},
    }
    try:
        with SyncPrefectClient(api=api_url) as client:
            runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(unfinished), limit=50)
    except (httpx.HTTPError, PrefectHTTPStatusError):
        return []
    now = datetime.now(UTC)
    return [
        f"{run.name}: {run.state_name}"
        + (f" for {(now - run.start_time).total_seconds():.0f} s" if run.start_time else "")
        + (f" ({run.state.message})" if run.state and run.state.message else "")
        for run in runs
    ]


def _unreviewed(settings: Settings) -> Sequence[str]:
    from configs.settings import check_home
    from tasks.promotion.alias_moves import unreviewed
    from tasks.registry.mlflow_versions import own_models
    from tasks.tracking.recipe_run import tracker_at

    try:
        check_home(settings)  # looking makes no home
        tracker = tracker_at(settings)
        return [
            f"{name}/{version} is {alias} but never cleared its gates, and nobody said why; "
            f"`burnish promote {name}/{version} --reason …` or `burnish rollback {name} --reason …`"
            for name in own_models(tracker)
            for alias, version in unreviewed(tracker, name).items()
        ]
    except BurnishError:
        return []
