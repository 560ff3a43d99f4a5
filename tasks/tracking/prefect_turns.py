"""Wait for this machine's turn, and say so on the flow run: two fine-tunes never fight for one GPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from configs.errors import LeaseHeld
from configs.settings import Settings
from tasks.storage.interrupts import raise_if_interrupted
from tasks.storage.lease import training_slot
from tasks.tracking.prefect_heartbeats import fell_silent

log = logging.getLogger("burnish")

WAITING = "Waiting"
"""Name of the state that a waiting run shows; its message says for whom."""
_POLL_SECONDS = 1.0


def came_through_prefect() -> bool:
    """Whether a deployment started this run (a form, a schedule, an event), not the command line."""
    from prefect.runtime import deployment

    return deployment.id is not None


def training_turn(settings: Settings, recipe_name: str) -> AbstractContextManager[None]:
    """Hold one of the machine's slots for fine-tunes for the block, after waiting for it as long as it takes."""
    return in_turn(lambda: training_slot(settings.home, recipe_name, slots=settings.training_slots), patient=True)


@contextmanager
def in_turn(take: Callable[[], AbstractContextManager[None]], *, patient: bool) -> Iterator[None]:
    """Hold a lease for the block; if `patient`, after waiting for it as long as it takes.

    Raises:
        LeaseHeld: others hold it, and the caller is not patient.
    """
    with ExitStack() as held:
        reason = None
        while True:
            try:
                held.enter_context(take())
                break
            except LeaseHeld as taken:
                if not patient:
                    raise
                if str(taken) != reason:
                    reason = str(taken)
                    log.info("%s", reason)
                    _show(WAITING, reason)
            time.sleep(_POLL_SECONDS)
            raise_if_interrupted()
        if reason is not None:
            _show("Running", "")
        yield


def _show(name: str, message: str) -> None:
    """Give the flow run another name and message of Running, also where the server only missed its heartbeats.

    Raises:
        KeyboardInterrupt: the run was cancelled, or counts as ended: it must not begin to work.
    """
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run
    from prefect.states import Running

    with get_client(sync_client=True) as client:
        run = flow_run.get_root_flow_run_id()
        state = client.read_flow_run(run).state
        unheard = fell_silent(state)
        if state is not None and not unheard and (state.is_cancelling() or state.is_final()):
            raise KeyboardInterrupt(f"the flow run is {state.name}")
        client.set_flow_run_state(run, Running(name=name, message=message), force=unheard)
