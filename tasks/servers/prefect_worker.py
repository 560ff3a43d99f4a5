"""The worker (`python -m tasks.servers.prefect_worker`): it runs the flows of `prefect.yaml`, and nothing else.

Prefect's own process worker runs whatever a deployment on the server says: pull steps, commands, environments. Whoever
may talk to a server without a password would have a shell as the user of this machine. This one takes from the server
which of our flows to run and with which parameters, and nothing else.

A flow run's process dies with its worker. Prefect's observer of cancelled runs gives up for good when the server is
away for seconds, so this worker looks itself, and goes on looking. What a longer outage made look dead lives again.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import httpx
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._starter_engine import EngineCommandStarter
from prefect.settings import PREFECT_WORKER_HEARTBEAT_SECONDS
from prefect.states import Running
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from configs.environment import HEARTBEAT_SECONDS
from configs.errors import ServerError
from tasks.servers.services import POOL, POOL_TYPE, PROJECT
from tasks.storage.processes import bound_to_this_process
from tasks.tracking.prefect_heartbeats import fell_silent

_CANCELLATION_POLL_SECONDS = 2.0
_ALIVE = "its process was alive all the time, but the server was not there to hear of it"


def allowed_entrypoints(prefect_yaml: Path) -> frozenset[str]:
    """Return the flows that deployments may name."""
    entries = yaml.safe_load(prefect_yaml.read_text(encoding="utf-8"))["deployments"]
    return frozenset(entry["entrypoint"] for entry in entries)


def checked_entrypoint(entrypoint: str | None, *, allowed: Collection[str]) -> str:
    """Return the entrypoint.

    Raises:
        ServerError: it is none of those in `prefect.yaml`.
    """
    if entrypoint is None or entrypoint not in allowed:
        raise ServerError(f"this worker runs the flows of prefect.yaml only, not {entrypoint!r}")
    return entrypoint


async def cancelled(client: PrefectClient, flow_run: UUID, *, poll_seconds: float = _CANCELLATION_POLL_SECONDS) -> None:
    """Return once somebody asks to cancel a living flow run, whatever outages there are; never if it is deleted.

    After an outage of the server the run may count as crashed, for no heartbeat of it arrived. It is set to Running
    again: a run in a final state can't be cancelled.
    """
    while True:
        await anyio.sleep(poll_seconds)
        try:
            state = (await client.read_flow_run(flow_run)).state
            if fell_silent(state):
                await client.set_flow_run_state(flow_run, Running(message=_ALIVE), force=True)
        except ObjectNotFound:
            await anyio.sleep_forever()
        except httpx.HTTPError:  # the server is away: it will be asked again
            continue
        if state is not None and state.is_cancelling():
            return


class _NoHooks:
    """Prefect would load a flow, and all that it imports, to ask it for hooks at its end; none of ours has any."""

    async def run_cancellation_hooks(self, flow_run: FlowRun, state: State) -> None:
        """Run none."""

    async def run_crashed_hooks(self, flow_run: FlowRun, state: State) -> None:
        """Run none."""


class ConfinedWorker(ProcessWorker):  # type: ignore[misc]  # Prefect is not followed
    """A process worker that lets the server choose among our flows, and nothing else."""

    type = POOL_TYPE

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run one flow run in a process of its own; its command and environment are this worker's."""
        deployment = await self.client.read_deployment(flow_run.deployment_id)
        entrypoint = checked_entrypoint(deployment.entrypoint, allowed=allowed_entrypoints(PROJECT / "prefect.yaml"))

        with tempfile.TemporaryDirectory(prefix="burnish-run-") as folder:
            async with FlowRunExecutorContext() as context:
                starter = EngineCommandStarter(
                    entrypoint=entrypoint,  # so the engine asks the server for no code
                    command=shlex.join(bound_to_this_process([sys.executable, "-m", "prefect.engine"])),
                    heartbeat_seconds=HEARTBEAT_SECONDS,
                    cwd=Path(folder),
                    env=dict(os.environ),
                    deployment_name=deployment.name,
                    control_channel=context.control_channel,
                )
                executor = context.create_executor(flow_run, starter, hook_runner=_NoHooks(), propose_submitting=False)
                context._observer.on_cancelling = lambda _: None  # two that stop one process would disturb each other
                results: list[Any] = []

                async def execute(*, task_status: anyio.abc.TaskStatus[Any] = anyio.TASK_STATUS_IGNORED) -> None:
                    results.append(await executor.submit(task_status=task_status))
                    group.cancel_scope.cancel()

                async def stop_when_cancelled() -> None:
                    await cancelled(self.client, flow_run.id)
                    # in the context's own group, which is left only when the run has been told that it is cancelled
                    context._cancellation_task_group.start_soon(context._cancellation_manager.cancel_by_id, flow_run.id)

                async with anyio.create_task_group() as group:
                    handle = await group.start(execute)
                    if task_status is not None:
                        task_status.started(handle.pid)
                    group.start_soon(stop_when_cancelled)
        [result] = results
        if result is None or result.status_code is None:
            raise ServerError(f"the process of flow run {flow_run.id} did not start")
        return ProcessWorkerResult(status_code=result.status_code, identifier=str(result.handle.pid))


async def main() -> None:
    """Work until told to stop."""
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    worker = ConfinedWorker(
        work_pool_name=POOL, name=POOL, heartbeat_interval_seconds=int(PREFECT_WORKER_HEARTBEAT_SECONDS.value())
    )
    await worker.start()


if __name__ == "__main__":
    asyncio.run(main())
