"""Waiting for a lease on a real Prefect server: what the run's state allows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run
from prefect.states import Crashed, State

from configs.errors import LeaseHeld
from tasks.tracking import prefect_turns
from tasks.tracking.prefect_heartbeats import SILENT_MESSAGE
from tasks.tracking.prefect_server import prefect_server
from tasks.tracking.prefect_turns import in_turn


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PREFECT_HOME", str(home))
        with prefect_server(Path(home), None):
            yield


def set_state(state: State) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(flow_run.get_id()), state, force=True)


def this_run() -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(flow_run.get_id()))


@flow
def waits(meanwhile: str) -> str:
    """Its lease is held by another once; then the run is marked as crashed, and the lease is free."""
    states = iter([LeaseHeld("another recipe holds it"), None])

    @contextmanager
    def take() -> Iterator[None]:
        if held := next(states):
            raise held
        set_state(Crashed(message=meanwhile))
        yield

    try:
        with in_turn(take, patient=True):
            return str(this_run().state_name)
    except KeyboardInterrupt as error:  # it would end pytest
        return f"interrupted: {error}"


def test_a_run_whose_heartbeats_went_unheard_works_when_its_turn_comes(
    server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_turns, "_POLL_SECONDS", 0.0)

    assert waits(SILENT_MESSAGE) == "Running"


def test_a_run_that_counts_as_ended_does_not_begin_to_work(server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_turns, "_POLL_SECONDS", 0.0)

    assert waits("its machine burnt down") == "interrupted: the flow run is Crashed"
