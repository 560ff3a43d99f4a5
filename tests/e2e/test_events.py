"""Events and schedules on running servers: changed data, a request, a failure, a cron schedule. One `up` for all."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.installation import RUN_TIMEOUT_SECONDS, Installation, clean_environment
from tests.e2e.servers import Servers, running_servers, wait_for

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

pytestmark = pytest.mark.slow

CHANGES = 10
RECIPE = """
name: tickets
base: {kind: tiny}
data:
  source: {kind: file, path: rows.jsonl}
  columns: {metadata: [channel]}
  group_by: customer
  labels: infer
template: {prompt: "{{ prompt }}\\n", max_tokens: 64}
baseline: {shots: [0], decoding: [label_scoring], max_validation_records: 16}
training: {lora_rank: 4, learning_rate: 1.0e-2, epochs: 1, evaluations: 1, max_validation_records: 16, precision: fp32}
search: {space: {}, confirmation_seeds: 0}
evaluation: {max_new_tokens: 8, latency_records: 5, bootstrap_resamples: 500}
promotion: {parity_records: 4}
retraining: {settle_seconds: 1, cool_down_hours: 0, webhook: BURNISH_WEBHOOK}
"""
REQUEST = {"recipe": "tickets"}


class Webhook(ThreadingHTTPServer):
    """Takes whatever is posted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def told(self, outcome: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["outcome"] == outcome]


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Place:
    """A project with a recipe and a file of records, the servers of its installation, and a webhook."""

    project: Path
    servers: Servers
    webhook: Webhook
    seen: set[Any] = field(default_factory=set)
    """Runs of `retrain` that earlier steps started."""

    @property
    def rows(self) -> Path:
        return self.project / "rows.jsonl"

    def append(self, prompt: str) -> None:
        row = {"prompt": prompt, "completion": "billing", "customer": f"new {prompt}", "channel": "email"}
        with self.rows.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def watch(self) -> FlowRun:
        """One tick of the watcher's deployment."""
        return self.servers.wait(self.servers.submit("watch/watch", request=REQUEST).id)

    def emit(self, event: str, **payload: Any) -> None:
        """Emit an event by hand, as any system may."""
        arguments = [event, "--resource-id", "burnish.recipe.tickets", "--payload", json.dumps(payload)]
        subprocess.run(
            [sys.executable, "-m", "prefect", "event", "emit", *arguments],
            env={**clean_environment(), "PREFECT_API_URL": self.servers.api_url, "PREFECT_HOME": str(self.project)},
            check=True, capture_output=True, timeout=RUN_TIMEOUT_SECONDS,
        )  # fmt: skip

    def retrains(self) -> list[FlowRun]:
        """Runs of `retrain` that no earlier step started, oldest first."""
        from prefect.client.schemas.filters import FlowFilter
        from prefect.client.schemas.sorting import FlowRunSort

        with self.servers.client() as client:
            found = client.read_flow_runs(
                flow_filter=FlowFilter.model_validate({"name": {"any_": ["retrain"]}}),
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            )
        return [run for run in found if run.id not in self.seen]

    def emit_many(self, event: str, count: int, **payload: Any) -> None:
        """Emit equal events, as many as a storm has."""
        import uuid

        resource = {"prefect.resource.id": "burnish.recipe.tickets"}
        body = [
            {"id": str(uuid.uuid4()), "occurred": datetime.now(UTC).isoformat(), "event": event, "resource": resource,
             "payload": payload}
            for _ in range(count)
        ]  # fmt: skip
        with self.servers.client() as client:
            client.request("POST", "/events", json=body)

    def the_one_retrain(self) -> FlowRun:
        """Wait until a new run of `retrain` ended; there is no other one."""
        (run,) = wait_for(self.retrains, what="a run of retrain")
        ended = self.servers.wait(run.id)
        assert [each.id for each in self.retrains()] == [run.id]
        self.seen.add(run.id)
        return ended


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, first_things: Path) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("events")
    Installation(folder / "home").with_all_of(first_things)
    with place_with_servers(folder) as made:
        yield made


@contextmanager
def place_with_servers(folder: Path) -> Iterator[Place]:
    from tasks.data.smoke import records

    project = folder / "project"
    project.mkdir()
    (project / "tickets.yaml").write_text(RECIPE)
    (project / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records(count=120)))
    webhook = Webhook()
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    with running_servers(folder, BURNISH_ROOTS=str(project), BURNISH_WEBHOOK=webhook.url) as servers:
        yield Place(project, servers, webhook)
    webhook.shutdown()
    webhook.server_close()


@pytest.fixture(scope="module")
def changed(place: Place) -> tuple[FlowRun, FlowRun]:
    """Ten changes in a burst, one tick of the watcher, and the retrain that the event started."""
    assert place.watch().state.name == "First look"
    for number in range(CHANGES):
        place.append(f"my invoice {number}")
    return place.watch(), place.the_one_retrain()


def test_ten_changes_in_a_burst_are_one_event_and_one_training(place: Place, changed: tuple[FlowRun, FlowRun]) -> None:
    tick, retrain = changed

    assert tick.state.name == "Changed"
    assert retrain.state.name in ("Promoted", "Rejected"), retrain.state.message
    assert len(retrain.parameters["request"]["source"]) == 64
    assert len(trained_runs(place)) == 1


def test_what_became_of_the_candidate_is_an_event_and_a_rejection_is_told(
    place: Place, changed: tuple[FlowRun, FlowRun]
) -> None:
    _, retrain = changed
    outcome = "rejected" if retrain.state.name == "Rejected" else "promoted"

    wait_for(lambda: events(place, f"burnish.model.{outcome}"), what=f"the event {outcome}")
    if outcome == "rejected":
        (told,) = wait_for(lambda: place.webhook.told("rejected"), what="the webhook to be told")
        assert (told["recipe"], told["flow_run"]) == ("tickets", str(retrain.id))


def test_whoever_asks_by_an_event_gets_one_run_with_the_reason(place: Place, changed: tuple[FlowRun, FlowRun]) -> None:
    from tasks.storage.lease import recipe_lease
    from tasks.storage.locks import FileLocks

    with recipe_lease(FileLocks(place.servers.home), "tickets"):
        place.emit("burnish.retrain.requested", reason="the labels were reviewed")
        wait_for(
            lambda: [run for run in place.retrains() if run.state.name == "Waiting"],
            what="the run to wait for whoever works on the recipe",
        )  # fmt: skip
    retrain = place.the_one_retrain()

    assert retrain.parameters["request"]["reason"] == "the labels were reviewed"
    assert retrain.state.name == "Skipped"  # the watcher's event had it trained before
    assert len(trained_runs(place)) == 1


def test_a_schedule_has_its_runs_scheduled_and_one_really_runs(place: Place, changed: tuple[FlowRun, FlowRun]) -> None:
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.states import Scheduled

    nightly = CronSchedule(cron="30 3 * * *", timezone="Europe/Berlin")
    with place.servers.client() as client:
        deployment = client.read_deployment_by_name("retrain/retrain")
        client.create_deployment_schedules(
            deployment.id, [(nightly, True)], parameters={"request": REQUEST}, slug="nightly"
        )
    scheduled = wait_for(place.retrains, what="scheduled runs")
    first = scheduled[0]

    assert all(run.auto_scheduled for run in scheduled)
    assert timedelta(0) < first.expected_start_time - datetime.now(UTC) <= timedelta(days=1)

    with place.servers.client() as client:  # as "Reschedule" in the UI does
        client.set_flow_run_state(first.id, Scheduled(scheduled_time=datetime.now(UTC)), force=True)
    ran = place.servers.wait(first.id)
    place.seen.update(run.id for run in place.retrains())

    assert ran.state.name == "Skipped", ran.state


def test_a_retrain_that_fails_is_told_to_the_webhook(place: Place, changed: tuple[FlowRun, FlowRun]) -> None:
    place.rows.rename(place.project / "away.jsonl")

    failed = place.servers.wait(place.servers.submit("retrain/retrain", request=REQUEST).id)
    assert failed.state.name == "Failed", failed.state
    assert "data.source.path" in failed.state.message
    (told,) = wait_for(lambda: place.webhook.told("failed"), what="the webhook to be told")

    assert (told["recipe"], told["flow_run"]) == ("tickets", str(failed.id))


def trained_runs(place: Place) -> list[Any]:
    """MLflow's runs of the recipe, as its server knows them."""
    from mlflow import MlflowClient

    client = MlflowClient(place.servers.mlflow_url, registry_uri=place.servers.mlflow_url)
    experiment = client.get_experiment_by_name("tickets")
    return list(client.search_runs([experiment.experiment_id], "tags.`burnish.kind` = 'recipe'"))


def events(place: Place, name: str) -> list[Any]:
    return place.servers.events(name)
