"""Wait for this machine's turn, and say so on the flow run: two fine-tunes never fight for one GPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from configs.errors import LeaseHeld
from configs.settings import Settings
from tasks.storage.interrupts import raise_if_interrupted
from tasks.storage.lease import recipe_lease, training_slot

log = logging.getLogger("burnish")

WAITING = "Waiting"
"""Name of the state that a waiting run shows; its message says for whom."""
_POLL_SECONDS = 1.0


def came_through_prefect() -> bool:
    """Whether a deployment started this run (a form, a schedule, an event), not the command line."""
    from prefect.runtime import deployment

    return deployment.id is not None


@contextmanager
def machine_turn(settings: Settings, recipe_name: str, *, patient: bool) -> Iterator[None]:
    """Hold one of the machine's slots for fine-tunes for the block, after waiting for it as long as it takes.

    Args:
        settings: the places of the installation.
        recipe_name: whose turn it is.
        patient: wait for another run of the same recipe, too.

    Raises:
        LeaseHeld: the recipe is worked on already, and the caller is not patient.
    """
    if not patient:
        _require_free(settings, recipe_name)
    with ExitStack() as held:
        reason = None
        while True:
            try:
                if patient:
                    _require_free(settings, recipe_name)
                held.enter_context(training_slot(settings.home, recipe_name, slots=settings.training_slots))
                break
            except LeaseHeld as taken:
                if str(taken) != reason:
                    reason = str(taken)
                    log.info("%s", reason)
                    _show(WAITING, reason)
            time.sleep(_POLL_SECONDS)
            raise_if_interrupted()
        if reason is not None:
            _show("Running", "")
        yield


def _require_free(settings: Settings, recipe_name: str) -> None:
    with recipe_lease(settings.home, recipe_name):
        pass


def _show(name: str, message: str) -> None:
    """Give the flow run another name and message of Running; one that is being cancelled stays so."""
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run
    from prefect.states import Running

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.get_root_flow_run_id(), Running(name=name, message=message))
