from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import httpx
import pytest
import yaml
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelling, Crashed, Running

from configs.errors import ServerError
from tasks.servers.services import PROJECT
from tasks.tracking.prefect_heartbeats import SILENT_MESSAGE

DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]


def test_the_worker_runs_what_prefect_yaml_names() -> None:
    from tasks.servers.prefect_worker import allowed_entrypoints, checked_entrypoint

    allowed = allowed_entrypoints(PROJECT / "prefect.yaml")

    assert checked_entrypoint("flows.finetune.finetune", allowed=allowed) == "flows.finetune.finetune"


@pytest.mark.parametrize("entrypoint", [None, "", "os.system", "/tmp/evil.py:flow", "flows.finetune.main"])
def test_the_worker_runs_nothing_else(entrypoint: str | None) -> None:
    from tasks.servers.prefect_worker import allowed_entrypoints, checked_entrypoint

    with pytest.raises(ServerError, match="only"):
        checked_entrypoint(entrypoint, allowed=allowed_entrypoints(PROJECT / "prefect.yaml"))


def test_every_deployment_names_a_flow_by_module_path_and_says_what_it_does() -> None:
    from prefect import Flow

    for entry in DEPLOYMENTS:
        module, _, name = entry["entrypoint"].rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), Flow)
        assert len(entry["description"]) > 20
        assert Path(module.replace(".", "/") + ".py").exists()


def test_no_flow_has_hooks_since_the_worker_runs_none() -> None:
    for entry in DEPLOYMENTS:
        module, _, name = entry["entrypoint"].rpartition(".")
        flow = getattr(importlib.import_module(module), name)
        assert not (flow.on_cancellation_hooks or flow.on_crashed_hooks)


def test_the_deployments_are_those_that_people_were_promised() -> None:
    promised = {"finetune", "retrain", "promote", "rollback", "baseline", "search", "evaluate"}

    assert promised <= {entry["name"] for entry in DEPLOYMENTS}


def test_a_schedule_has_a_slug_and_a_time_zone_and_trains_only_when_switched_on() -> None:
    schedules = {entry["name"]: each for entry in DEPLOYMENTS for each in entry.get("schedules", [])}

    assert all(each["slug"] and each["timezone"] for each in schedules.values())
    assert not schedules["retrain"]["active"]
    assert schedules["notice"]["active"]
    retrain = next(entry for entry in DEPLOYMENTS if entry["name"] == "retrain")
    assert retrain["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


class Server:
    """A Prefect server that answers as listed, and notes which states it is told to set."""

    def __init__(self, *answers: State | Exception) -> None:
        self.answers = list(answers)
        self.forced: list[str] = []

    async def read_flow_run(self, flow_run: UUID) -> FlowRun:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return FlowRun(id=flow_run, flow_id=uuid4(), state=answer)

    async def set_flow_run_state(self, flow_run: UUID, state: State, force: bool = False) -> None:
        assert force
        self.forced.append(state.name)


def wait_until_cancelled(server: Any) -> None:
    from tasks.servers.prefect_worker import cancelled

    anyio.run(lambda: cancelled(server, uuid4(), poll_seconds=0))


def test_a_wish_to_cancel_is_heard_after_any_outage_of_the_server() -> None:
    server = Server(*[httpx.ConnectError("away")] * 50, Running(), Running(), Cancelling())

    wait_until_cancelled(server)

    assert server.answers == []
    assert server.forced == []


def test_what_an_outage_made_look_dead_lives_again_and_can_be_cancelled() -> None:
    server = Server(Running(), httpx.ConnectError("away"), Crashed(message=SILENT_MESSAGE), Running(), Cancelling())

    wait_until_cancelled(server)

    assert server.forced == ["Running"]


def test_what_crashed_by_itself_stays_crashed() -> None:
    server = Server(Crashed(message="out of memory"), Cancelling())

    wait_until_cancelled(server)

    assert server.forced == []
