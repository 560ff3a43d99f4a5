"""The worker of a Kubernetes work pool: each flow run of ours becomes a Job of our shape, and nothing else does.

Prefect's own Kubernetes worker takes the shape of its Jobs (image, command, account) from the server, where whoever
knows its auth string can change it. This one takes it from its own file; the server fills in what the file asks for.
"""

from __future__ import annotations

import copy
from typing import Any

import anyio.abc
from prefect.client.schemas.objects import FlowRun, WorkPool
from prefect_kubernetes.worker import (
    KubernetesWorker,
    KubernetesWorkerJobConfiguration,
    KubernetesWorkerResult,
)

from tasks.servers.confined_run import entrypoint_of
from tasks.servers.team_worker import KUBERNETES_POOL_TYPE


class ConfinedKubernetesWorker(KubernetesWorker):  # type: ignore[misc]  # Prefect is not followed
    """A Kubernetes worker that lets the server choose among our flows, and fill in our template."""

    type = KUBERNETES_POOL_TYPE

    def __init__(self, job_template: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self._job_template = job_template

    def _record_work_pool_snapshot(self, work_pool: WorkPool) -> None:
        """Take what the server says of the pool, but not what it says of jobs."""
        ours = copy.deepcopy(self._job_template)
        super()._record_work_pool_snapshot(work_pool.model_copy(update={"base_job_template": ours}))

    async def run(
        self,
        flow_run: FlowRun,
        configuration: KubernetesWorkerJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> KubernetesWorkerResult:
        """Refuse what is no flow of ours at once; the Job itself (`confined_run`) would refuse it too."""
        await entrypoint_of(flow_run, self.client)
        return await super().run(flow_run, configuration, task_status)
