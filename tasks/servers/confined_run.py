"""One flow run of ours (`python -m tasks.servers.confined_run`): what a Kubernetes Job executes.

`prefect flow-run execute` would run what the deployment says: pull steps, another path, any import.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from configs.environment import set_private_switches, set_worker_defaults
from configs.errors import ServerError

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.flows import Flow

_RELINQUISHED = 143
"""Told to stop: not 0, so that Kubernetes starts the Job again, and it goes on from its last checkpoint."""


def main() -> int:
    """Execute the flow run that PREFECT__FLOW_RUN_ID names; return 0 if its process ended well."""
    os.umask(0o077)
    set_worker_defaults(os.environ)  # before Prefect is imported
    set_private_switches()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(_RELINQUISHED))
    try:
        return asyncio.run(execute(UUID(os.environ["PREFECT__FLOW_RUN_ID"])))
    except ServerError as error:
        sys.stderr.write(f"burnish: {error}\n")
        return 2


async def execute(flow_run_id: UUID) -> int:
    """Run the flow in a process of its own and return its exit status.

    Raises:
        ServerError: it is no flow of ours, or its process did not start.
    """
    from prefect.client.orchestration import get_client
    from prefect.flows import load_flow_from_entrypoint
    from prefect.runner._flow_run_executor import FlowRunExecutorContext
    from prefect.runner._starter_engine import EngineCommandStarter

    async with get_client() as client:
        flow_run = await client.read_flow_run(flow_run_id)
        entrypoint = await entrypoint_of(flow_run, client)

    async def resolve_flow(*_: Any, **__: Any) -> Flow[..., Any]:
        return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)

    with tempfile.TemporaryDirectory(prefix="burnish-run-") as folder:
        async with FlowRunExecutorContext() as context:
            starter = EngineCommandStarter(
                entrypoint=entrypoint,  # so the engine asks the server for no code
                cwd=Path(folder),
                env=dict(os.environ),
                control_channel=context.control_channel,
            )
            executor = context.create_executor(flow_run, starter, resolve_flow=resolve_flow, propose_submitting=False)
            result = await executor.submit()
    if result is None or result.status_code is None:
        raise ServerError(f"the process of flow run {flow_run_id} did not start")
    return int(result.status_code)


async def entrypoint_of(flow_run: FlowRun, client: PrefectClient) -> str:
    """Return the flow that the run's deployment names, by module path.

    Raises:
        ServerError: it is none of those in `prefect.yaml`.
    """
    from tasks.servers.prefect_worker import allowed_entrypoints, checked_entrypoint
    from tasks.servers.services import PROJECT

    named = None
    if flow_run.deployment_id is not None:
        named = (await client.read_deployment(flow_run.deployment_id)).entrypoint
    return checked_entrypoint(named, allowed=allowed_entrypoints(PROJECT / "prefect.yaml"))


if __name__ == "__main__":
    sys.exit(main())
