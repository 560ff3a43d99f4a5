"""A team's worker (`burnish worker`), on a machine or making Kubernetes Jobs: it runs the flows of `prefect.yaml`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_WORKER_HEARTBEAT_SECONDS
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.base import BaseWorker

from configs.errors import RecipeError, ServerError
from tasks.servers.prefect_deployments import prefect_client, require_pool_type
from tasks.servers.services import POOL, POOL_TYPE

KUBERNETES_POOL_TYPE = "burnish-kubernetes"
"""Kind of the pool: `ConfinedKubernetesWorker` serves it, Prefect's own workers don't."""


def read_job_template(path: Path) -> dict[str, Any]:
    """Return the template of Kubernetes Jobs.

    Raises:
        RecipeError: it can't be read.
    """
    try:
        template: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"the job template {path} can't be read: {error}") from error
    return template


async def work(
    api_url: str, *, name: str, limit: int | None, job_template: dict[str, Any] | None, with_healthcheck: bool
) -> None:
    """Run flows until told to stop.

    Args:
        api_url: of the Prefect server.
        name: of this worker, as the server shows it.
        limit: how many flow runs at once; None: any number.
        job_template: each flow run becomes a Kubernetes Job of this shape; None: a process on this machine.
        with_healthcheck: answer `/health` on port 8080, for Kubernetes.

    Raises:
        ServerError: the work pool is missing, or is for other workers.
    """
    kind = POOL_TYPE if job_template is None else KUBERNETES_POOL_TYPE
    _require_pool(api_url, kind)
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    worker = _worker(
        job_template,
        work_pool_name=POOL,
        name=name,
        limit=limit,
        create_pool_if_not_found=False,
        heartbeat_interval_seconds=int(PREFECT_WORKER_HEARTBEAT_SECONDS.value()),
    )
    await worker.start(with_healthcheck=with_healthcheck)


def _worker(job_template: dict[str, Any] | None, **options: Any) -> BaseWorker[Any, Any, Any]:
    if job_template is None:
        from tasks.servers.prefect_worker import ConfinedWorker

        return ConfinedWorker(**options)
    from tasks.servers.kubernetes_worker import ConfinedKubernetesWorker

    return ConfinedKubernetesWorker(job_template, **options)


def _require_pool(api_url: str, kind: str) -> None:
    with prefect_client(api_url) as client:
        try:
            found = client.read_work_pool(POOL)
        except ObjectNotFound as error:
            raise ServerError(
                f"the Prefect server at {api_url} has no work pool {POOL!r}; run `burnish provision` first"
            ) from error
    require_pool_type(found.type, api_url=api_url, pool=POOL, pool_type=kind)
