"""What a team's Prefect server needs before the first flow run: work pool, deployments, automations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from configs.errors import ServerError
from tasks.servers.prefect_deployments import ensure_pool, install
from tasks.servers.services import POOL, POOL_TYPE, PROJECT
from tasks.servers.team_worker import KUBERNETES_POOL_TYPE, read_job_template
from tasks.tracking.running_servers import answers


def provision_prefect(api_url: str, *, job_template: Path | None) -> Iterator[str]:
    """Bring it what is missing or changed, and yield a line for each.

    Args:
        api_url: of the Prefect server.
        job_template: flow runs are Kubernetes Jobs of this shape; None: processes of a worker.

    Raises:
        ServerError: the server does not answer or refuses, or has the pool for other workers.
    """
    if not answers(f"{api_url.rstrip('/')}/health"):
        raise ServerError(
            f"no Prefect server answers at {api_url}; start it and run the same command again, or unset PREFECT_API_URL"
        )
    template = None if job_template is None else read_job_template(job_template)
    kind = POOL_TYPE if template is None else KUBERNETES_POOL_TYPE
    if ensure_pool(api_url, POOL, pool_type=kind, job_template=template):
        yield f"installed the work pool {POOL}"
    for what in install(api_url, PROJECT / "prefect.yaml"):
        yield f"installed the {what}"
