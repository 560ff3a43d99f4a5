"""`burnish up`, and what programs do with it: deployments, schedules, cancelling, two at once, a server that dies.

What people do on the pages is in test_prefect_ui.py and test_browser.py.
"""

from __future__ import annotations

import json
import re
import socket
import time
from typing import Any
from uuid import UUID

import psutil
import pytest

from tasks.servers.supervisord import Supervisor
from tests.e2e.installation import Installation
from tests.e2e.servers import Servers, ask, free_ports, wait_for
from tests.e2e.test_kill import assert_no_process_is_left, processes_of

pytestmark = pytest.mark.slow

LONG = [
    "training.epochs=100", "training.batch_size=1", "training.evaluations=100", "training.early_stopping_patience=100",
    "search.trials=1",
]  # fmt: skip
"""Trains for minutes, with checkpoints all along."""


def pid_of(servers: Servers, service: str) -> int:
    pid = Supervisor(servers.home).states()[service].pid
    assert pid is not None
    return pid


def service_processes(servers: Servers) -> dict[str, tuple[int, ...]]:
    """Process ids by what runs in them; the runs that a schedule starts meanwhile are left out."""
    supervisors = tuple(process.pid for process in running(servers, "supervisord"))
    return {"supervisord": supervisors, **{name: (pid_of(servers, name),) for name in ("mlflow", "prefect", "worker")}}


def tracker_of(servers: Servers) -> Any:
    from tasks.tracking.mlflow_runs import Tracker

    return Tracker(servers.mlflow_url, servers.home)


def long_run(servers: Servers) -> Any:
    """The MLflow run of the recipe that trains for minutes."""
    tracker = tracker_of(servers)
    runs = tracker.runs(tracker.experiment("smoke"), tags={"burnish.kind": "recipe"})
    [found] = [run for run in runs if run.data.params["training.epochs"] == "100"]
    return found


def is_training(servers: Servers, flow_run: Any) -> bool:
    state = servers.run(flow_run).state
    assert not state.is_final(), state.message
    return any(servers.home.glob("checkpoints/*/*/step-*"))


@pytest.fixture(scope="module")
def every_minute(servers: Servers) -> UUID:
    """The deployment `notice`, with its schedule set to every minute as in the UI."""
    with servers.client() as client:
        notice = client.read_deployment_by_name("notice/notice")
        [schedule] = notice.schedules
        assert schedule.active
        client.request(
            "PATCH",
            "/deployments/{id}/schedules/{schedule_id}",
            path_params={"id": notice.id, "schedule_id": schedule.id},
            json={"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True},
        )
    return notice.id


@pytest.mark.usefixtures("every_minute")
def test_up_prints_addresses(servers: Servers) -> None:
    assert servers.mlflow_url in servers.up_output
    assert servers.prefect_url in servers.up_output


def test_a_second_up_changes_nothing(servers: Servers) -> None:
    before = service_processes(servers)

    again = servers.installation.burnish("up")

    assert again.returncode == 0, again.stderr
    assert "nothing changed" in again.stdout
    assert service_processes(servers) == before


def test_status_needs_no_ports(servers: Servers) -> None:
    from_another_shell = Installation(servers.home).burnish("status").stdout

    assert [line.split()[:2] for line in from_another_shell.splitlines()[:3]] == [
        ["ok", "mlflow"], ["ok", "prefect"], ["ok", "worker"],
    ]  # fmt: skip


def test_everything_at_rest_is_small(servers: Servers) -> None:
    status = servers.installation.burnish("status")

    assert status.returncode == 0, status.stdout
    memory = next(line for line in status.stdout.splitlines() if line.startswith("memory"))
    assert 100 < float(memory.split()[1]) < 1200


def test_a_port_in_use_is_one_clear_error_and_nothing_is_started(servers: Servers) -> None:
    from tests.e2e.installation import Installation

    [other] = free_ports(1)
    taken = {"BURNISH_MLFLOW_PORT": str(other), "BURNISH_PREFECT_PORT": servers.prefect_url.rpartition(":")[2]}
    second = Installation(servers.home.parent / "second", taken)

    refused = second.burnish("up")

    assert refused.returncode == 2
    assert taken["BURNISH_PREFECT_PORT"] in refused.stderr
    assert f"process {pid_of(servers, 'prefect')}" in refused.stderr
    assert "BURNISH_PREFECT_PORT" in refused.stderr
    assert processes_of(second) == []


@pytest.mark.parametrize("server", ["mlflow", "prefect"])
def test_a_foreign_page_can_drive_no_server(servers: Servers, server: str) -> None:
    url = servers.mlflow_url if server == "mlflow" else servers.prefect_url
    path = "/api/2.0/mlflow/experiments/search" if server == "mlflow" else "/api/flows/filter"
    body = {"max_results": 1} if server == "mlflow" else {"limit": 1}
    own, port = url, url.rpartition(":")[2]

    assert ask(url + path, body, Host="evil.example")[0] == 403
    assert ask(url + path, body, Origin="http://evil.example")[0] == 403
    assert ask(url + path, body, Origin="http://localhost:1")[0] == 403
    assert ask(url + path, body, Origin="null")[0] == 403
    assert "pages of other servers" not in ask(url + path, body, Origin=own)[1]
    assert "pages of other servers" not in ask(url + path, body, Origin=f"http://localhost:{port}")[1]
    assert ask(f"{servers.mlflow_url}/ajax-api/3.0/mlflow/assistant/config")[0] == 403


def test_a_websocket_of_a_foreign_page_is_refused(servers: Servers) -> None:
    host, port = servers.prefect_url.removeprefix("http://").split(":")
    lines = [
        "GET /api/events/in HTTP/1.1", f"Host: {host}:{port}", "Origin: http://evil.example", "Connection: Upgrade",
        "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    ]  # fmt: skip
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        assert b" 403 " in connection.recv(1000).split(b"\r\n")[0]


def test_a_deployment_runs_the_recipe_and_leaves_what_people_look_at(servers: Servers) -> None:
    run = servers.submit("finetune/finetune", request={"recipe": "smoke"})

    ended = servers.wait(run.id)

    assert ended.state.name == "Completed", ended.state.message
    assert ended.name.startswith("smoke ")
    artifacts = artifacts_of(servers)
    assert set(artifacts) >= {"smoke-search", "smoke-options", "smoke-report", "smoke-mlflow-run"}
    assert servers.mlflow_url in artifacts["smoke-mlflow-run"]
    shown = servers.installation.show()
    assert shown["model"]["version"] == "1"


def test_a_wrong_value_is_refused_with_the_recipes_own_message(servers: Servers) -> None:
    run = servers.submit("finetune/finetune", request={"recipe": "smoke", "overrides": ["training.epochs=-1"]})

    ended = servers.wait(run.id)

    assert ended.state.type.value == "FAILED"
    assert "training.epochs" in ended.state.message
    assert "-1" in ended.state.message


def test_what_lies_outside_the_roots_is_refused(servers: Servers) -> None:
    from prefect.exceptions import PrefectHTTPStatusError

    with pytest.raises(PrefectHTTPStatusError, match="not one of"):
        servers.submit("finetune/finetune", request={"recipe": "/etc/passwd"})
    outside = ["base={kind: folder, path: /etc}"]
    ended = servers.wait(servers.submit("finetune/finetune", request={"recipe": "smoke", "overrides": outside}).id)

    assert ended.state.type.value == "FAILED"
    assert "outside the configured roots" in ended.state.message


def test_the_server_is_no_shell(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever somebody writes into a deployment, the worker runs our flow, our way, or nothing."""
    trace = tmp_path_factory.mktemp("trace") / "trace"
    shell = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {trace}"}}
    evil = {"command": f"touch {trace}", "env": {"BURNISH_ROOTS": "/"}}
    with servers.client() as client:
        honest = client.read_deployment_by_name("notice/notice")
        named = {"work_pool_name": "burnish", "pull_steps": [shell], "job_variables": evil}
        ours = client.create_deployment(honest.flow_id, "ours", entrypoint=honest.entrypoint, **named)
        theirs = client.create_deployment(honest.flow_id, "theirs", entrypoint="os.system", **named)
        runs = [client.create_flow_run_from_deployment(each).id for each in (ours, theirs)]

    states = [servers.wait(run).state.type.value for run in runs]

    assert states == ["COMPLETED", "CRASHED"]
    assert not trace.exists()


def test_a_move_in_mlflow_is_unreviewed_until_somebody_says_why(servers: Servers) -> None:
    tracker_of(servers).client.set_registered_model_alias("smoke", "champion", "1")
    behind_our_back = servers.installation.burnish("status").stdout
    request = {"model": "smoke", "version": "1", "reason": "shown to the board"}

    ended = servers.wait(servers.submit("promote-by-hand/promote", request=request).id)

    assert "UNREVIEWED  smoke/1 is champion" in behind_our_back
    assert ended.state.name == "Completed", ended.state.message
    assert "UNREVIEWED" not in servers.installation.burnish("status").stdout
    history = servers.installation.burnish("history", "smoke").stdout
    assert "by hand" in history
    assert "shown to the board" in history
    assert "through Prefect" in history
    told = wait_for(lambda: servers.events("burnish.model.promoted"), what="the move to be told")
    assert {(event.payload["alias"], event.payload["version"]) for event in told} == {("champion", "1")}


def test_a_second_fine_tune_waits_and_says_for_whom_and_a_cancelled_one_stops_and_goes_on(servers: Servers) -> None:
    first = servers.submit("finetune/finetune", request={"recipe": "smoke", "overrides": LONG})
    wait_for(lambda: servers.run(first.id).state_name == "Running", what="the first to run")
    second = servers.submit("finetune/baseline", request={"recipe": "smoke"})
    waiting = wait_for(
        lambda: (run := servers.run(second.id)).state_name == "Waiting" and run, what="the second to wait"
    )
    assert "smoke" in waiting.state.message
    wait_for(lambda: is_training(servers, first.id), what="the training")

    take_away(servers, "prefect")
    trainers = running(servers, "worker_process")
    assert trainers
    declare_silent(servers, first.id)
    wait_for(lambda: servers.run(first.id).state_name == "Running", what="the living run to count as running again")
    cancel(servers, first.id)
    asked = time.monotonic()
    psutil.wait_procs(trainers, timeout=120)
    stopped_after = time.monotonic() - asked
    cancelled = servers.wait(first.id)
    print(f"training stopped {stopped_after:.1f} s after cancelling, the run {time.monotonic() - asked:.1f} s")  # noqa: T201

    assert not any(process.is_running() for process in trainers)
    assert cancelled.state.name == "Cancelled"
    # by its own process, or by the next run of the recipe where the worker had to kill that process
    wait_for(lambda: long_run(servers).info.status == "KILLED", what="the MLflow run to be closed")
    assert all(marker.is_file() for marker in (step / "manifest.json" for step in steps(servers)))
    # the outage may have made it count as crashed for a moment, too
    wait_for(lambda: servers.run(second.id).state_name == "Completed", what="the second to complete")
    assert servers.run(second.id).parameters["until"] == "baseline"

    reached = max(int(step.name.removeprefix("step-")) for step in steps(servers))
    again = servers.submit("finetune/finetune", request={"recipe": "smoke", "overrides": LONG})
    first_step = wait_for(lambda: first_step_of(servers, again.id), what="the trial to be resumed")
    assert first_step > reached > 0
    assert_a_killed_worker_takes_its_run_with_it(servers, again.id)


def test_a_schedule_really_runs_and_up_leaves_it_as_people_set_it(servers: Servers, every_minute: UUID) -> None:
    from prefect.client.schemas.filters import FlowRunFilter

    wanted = {"deployment_id": {"any_": [str(every_minute)]}, "state": {"type": {"any_": ["COMPLETED"]}}}
    with servers.client() as client:

        def on_schedule() -> Any:
            runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))
            return [run for run in runs if run.auto_scheduled]

        assert wait_for(on_schedule, what="a scheduled run")
        [schedule] = client.read_deployment_by_name("notice/notice").schedules
        assert schedule.schedule.cron == "* * * * *"


def test_a_killed_server_is_noticed_and_mended(servers: Servers) -> None:
    killed = pid_of(servers, "mlflow")
    psutil.Process(killed).kill()

    noticed = servers.installation.burnish("status")
    mended = servers.installation.burnish("up")

    assert noticed.returncode == 1
    assert "FAIL mlflow" in noticed.stdout
    assert mended.returncode == 0, mended.stderr
    assert pid_of(servers, "mlflow") != killed
    assert servers.installation.burnish("status").returncode == 0


def test_the_command_line_uses_the_running_servers(servers: Servers) -> None:
    from prefect.client.schemas.filters import FlowRunFilter

    answer = servers.installation.burnish("prepare", "--recipe", "configs/smoke.yaml")

    assert answer.returncode == 0, answer.stderr
    wanted = {"state": {"type": {"any_": ["COMPLETED"]}}, "deployment_id": {"is_null_": True}}
    with servers.client() as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))
    assert any(run.parent_task_run_id is None and "recipe:smoke" in run.tags for run in runs)


def test_down_leaves_no_process_though_supervisord_was_killed(servers: Servers) -> None:
    supervisor = json.loads((servers.home / "servers" / "running.json").read_text())["supervisor_pid"]
    psutil.Process(supervisor).kill()
    assert servers.installation.burnish("status").returncode == 1

    down = servers.installation.burnish("down")

    assert down.returncode == 0, down.stderr
    assert_no_process_is_left(servers.installation)
    assert "nothing was running" in servers.installation.burnish("down").stdout


def assert_a_killed_worker_takes_its_run_with_it(servers: Servers, flow_run: Any) -> None:
    """No process of the run is left; the run, silent from now on, is marked as Crashed."""
    processes = [*running(servers, "prefect.engine"), *running(servers, "worker_process")]
    assert len(processes) >= 2
    psutil.Process(pid_of(servers, "worker")).kill()

    _, alive = psutil.wait_procs(processes, timeout=60)

    assert alive == []
    assert servers.wait(flow_run).state.name == "Crashed"


def running(servers: Servers, command: str) -> list[psutil.Process]:
    return [process for process in processes_of(servers.installation) if command in str(process.cmdline())]


def take_away(servers: Servers, service: str) -> None:
    """Kill a service for longer than Prefect's own observers of cancelled runs bear, and bring it back."""
    supervisor = Supervisor(servers.home)
    psutil.Process(pid_of(servers, service)).kill()
    supervisor.stop_service(service)
    time.sleep(20)
    up = servers.installation.burnish("up")
    assert up.returncode == 0, up.stderr


def artifacts_of(servers: Servers) -> dict[str, str]:
    with servers.client() as client:
        return {artifact.key: str(artifact.data) for artifact in client.read_artifacts(limit=200)}


def declare_silent(servers: Servers, flow_run: Any) -> None:
    """Mark a run as the automation does after an outage in which the server heard no heartbeat."""
    from prefect.states import Crashed

    from tasks.tracking.prefect_heartbeats import SILENT_MESSAGE

    with servers.client() as client:
        client.set_flow_run_state(flow_run, Crashed(message=SILENT_MESSAGE))


def cancel(servers: Servers, flow_run: Any) -> None:
    """Cancel a run as the UI does; once more if a late automation just marked it as crashed."""
    from prefect.states import Cancelling

    def accepted() -> bool:
        with servers.client() as client:
            return bool(client.set_flow_run_state(flow_run, Cancelling()).status.value == "ACCEPT")

    wait_for(accepted, what="the wish to cancel to be accepted")


def steps(servers: Servers) -> list[Any]:
    return list(servers.home.glob("checkpoints/*/*/step-*"))


def first_step_of(servers: Servers, flow_run: Any) -> int | None:
    """The first step that the trial's log tells of."""
    from prefect.client.schemas.filters import LogFilter

    started = servers.run(flow_run).start_time
    with servers.client() as client:
        wanted = LogFilter.model_validate({"timestamp": {"after_": started}})
        logs = client.read_logs(wanted, limit=200) if started else []
    steps = [re.search(r"step (\d+)/\d+: loss", log.message) for log in logs]
    return next((int(step[1]) for step in steps if step), None)
