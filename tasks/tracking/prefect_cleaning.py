"""Remove old flow runs from a Prefect server, with their logs and artifacts: `notice` alone makes 288 runs a day."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from configs.errors import ServerError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]
_AT_ONCE = 50
_LOGS_SECONDS = 60.0
"""How long a server may take to remove the logs, which it does after it answered."""


def remove_flow_runs(
    api_url: str, *, before: datetime, tags: Sequence[str] | None = None, dry_run: bool = False
) -> int:
    """Remove what ended before a time; return how many runs, the flows that a run called counted.

    Args:
        api_url: of the Prefect server.
        before: when a run must have ended.
        tags: those that a run must carry; None: any, since the whole server is ours.
        dry_run: only count.

    Raises:
        ServerError: the server refuses, or goes away.
    """
    import httpx
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.exceptions import PrefectHTTPStatusError

    wanted: dict[str, Any] = {"state": {"type": {"any_": _ENDED}}, "end_time": {"before_": before.isoformat()}}
    if tags is not None:
        wanted["tags"] = {"all_": list(tags)}
    try:
        with SyncPrefectClient(api=api_url) as client:
            if dry_run:
                return int(client.request("POST", "/flow_runs/count", json={"flow_runs": wanted}).json())
            return _remove(client, wanted)
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise ServerError(f"the Prefect server at {api_url} does not remove old flow runs: {error}") from error


def compact(database: Path) -> None:
    """Give the room of what was removed back to the disk; one that is busy keeps it for what comes."""
    if not database.is_file():
        return
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM")


def _remove(client: SyncPrefectClient, wanted: dict[str, Any]) -> int:
    from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
    from prefect.exceptions import ObjectNotFound

    count = 0
    while runs := client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted), limit=_AT_ONCE):
        ids = [run.id for run in runs]
        named = ArtifactFilter.model_validate({"flow_run_id": {"any_": [str(each) for each in ids]}})
        while artifacts := client.read_artifacts(artifact_filter=named, limit=_AT_ONCE):
            for artifact in artifacts:
                with contextlib.suppress(ObjectNotFound):
                    client.delete_artifact(artifact.id)
        for each in ids:
            with contextlib.suppress(ObjectNotFound):
                client.delete_flow_run(each)
        _wait_for_logs(client, ids)
        count += len(ids)
    return count


def _wait_for_logs(client: SyncPrefectClient, ids: Sequence[UUID]) -> None:
    """Wait until the logs are gone: a temporary server that ends before leaves them behind."""
    from prefect.client.schemas.filters import LogFilter

    wanted = LogFilter.model_validate({"flow_run_id": {"any_": [str(each) for each in ids]}})
    deadline = time.monotonic() + _LOGS_SECONDS
    while client.read_logs(wanted, limit=1) and time.monotonic() < deadline:
        time.sleep(0.2)
