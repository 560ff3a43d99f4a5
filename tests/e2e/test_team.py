"""A team's servers: two machines that share Postgres, an S3 store, MLflow and Prefect, all with passwords."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import requests

from configs.errors import ServerError
from configs.settings import databases_on
from tests.e2e.installation import PROJECT, Installation, clean_environment
from tests.e2e.servers import PATIENCE_SECONDS, wait_for
from tests.e2e.team_servers import SECRETS, TeamServers, kill_tree, provision, team_servers
from tests.postgres_cluster import binary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PRIVATE = "private-words-of-row"
"""Begins what some prompts hold; it may be stored with the rows and nowhere else."""
RECIPE = """
name: {name}
base: {{kind: tiny}}
data:
  source: {{kind: file, path: rows.jsonl}}
  columns: {{metadata: [channel]}}
  group_by: customer
  labels: infer
template: {{prompt: "{{{{ prompt }}}}\\n", max_tokens: 64}}
baseline: {{shots: [0], decoding: [label_scoring], max_validation_records: 8}}
training: {{lora_rank: 4, learning_rate: 1.0e-2, epochs: 2, evaluations: 4, max_validation_records: 8, precision: fp32}}
search: {{space: {{learning_rate: {{low: 3.0e-3, high: 3.0e-2, log: true}}}}, trials: 1, confirmation_seeds: 0}}
evaluation: {{max_new_tokens: 8, latency_records: 5, bootstrap_resamples: 200}}
promotion: {{parity_records: 4}}
retraining: {{webhook: BURNISH_WEBHOOK}}
"""
NAMES = ("first", "killed", "one", "two", "three")
LOCK_ERRORS = ("database is locked", "deadlock detected", "could not serialize", "LockNotAvailable", "lock timeout")


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServers]:
    with team_servers(tmp_path_factory.mktemp("team")) as servers:
        yield servers


@pytest.fixture(scope="module")
def recipes(team: TeamServers) -> Path:
    """A folder of small recipes on private rows."""
    from tasks.data.smoke import records

    folder = team.folder / "recipes"
    folder.mkdir()
    rows = [
        {**row, "prompt": f"{row['prompt']} {PRIVATE}-{number}"} if number % 5 == 0 else row
        for number, row in enumerate(records(160))
    ]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    for name in NAMES:
        (folder / f"{name}.yaml").write_text(RECIPE.format(name=name))
    return folder


@pytest.fixture(scope="module")
def machine(team: TeamServers, first_things: Path) -> Callable[[str], Installation]:
    """A machine of the team, on which the base was imported before: its home is its own, all else is shared."""

    def of(name: str) -> Installation:
        installation = Installation(team.folder / name, team.environment)
        return installation if installation.home.exists() else installation.with_all_of(first_things)

    return of


def finetune(machine: Installation, recipes: Path, name: str) -> subprocess.CompletedProcess[str]:
    return finished(machine, start_finetune(machine, recipes, name))


def start_finetune(machine: Installation, recipes: Path, name: str, **environment: str) -> subprocess.Popen[str]:
    return machine.start("finetune", "--recipe", str(recipes / f"{name}.yaml"), **environment)


def finished(machine: Installation, command: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """What a command of a machine said, which is kept in its log."""
    with command:
        output, errors = command.communicate(timeout=PATIENCE_SECONDS)
    with (machine.home.parent / f"{machine.home.name}.log").open("a") as log:
        log.write(output + errors)
    return subprocess.CompletedProcess(command.args, command.returncode, output, errors)


HELD_MID_TRIAL = {"BURNISH_HOLD_AT": "study:reported:1"}
"""Stops the process of a flow after the first look of its first trial, whose checkpoint is shared; the trial waits."""


def is_held(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:  # it ended after it was listed
        return False


@contextmanager
def going_on(process: int, *, seconds: float) -> Iterator[None]:
    """Let a held process go on for a while, then run the block while it is held again."""
    os.kill(process, signal.SIGCONT)
    time.sleep(seconds)
    os.kill(process, signal.SIGSTOP)
    yield


class Recorded:
    """What the servers have on record of a recipe, read as its user reads it."""

    def __init__(self, team: TeamServers, name: str) -> None:
        from mlflow import MlflowClient

        os.environ |= {key: value for key, value in team.environment.items() if key.startswith("MLFLOW_")}
        try:
            client = MlflowClient(team.mlflow_url, registry_uri=team.mlflow_url)
            self.experiment = client.get_experiment_by_name(name)
            runs = client.search_runs([self.experiment.experiment_id], max_results=1000)
            self.parents = [run for run in runs if run.data.tags.get("burnish.kind") == "recipe"]
            self.children = [run for run in runs if run.data.tags.get("burnish.kind") != "recipe"]
            self.versions = list(client.search_model_versions(f"name = '{name}'"))
            [trial] = [run for run in self.children if run.info.run_name == "trial/0"][:1]
            self.losses = [metric.step for metric in client.get_metric_history(trial.info.run_id, "loss")]
        finally:
            for key in [key for key in os.environ if key.startswith("MLFLOW_")]:
                del os.environ[key]

    def assert_whole(self) -> None:
        """Everything is there, and there once."""
        assert [run.info.status for run in self.parents] == ["FINISHED"]
        assert {run.info.status for run in self.children} == {"FINISHED"}
        doubled = [name for name, count in Counter(run.info.run_name for run in self.children).items() if count > 1]
        assert doubled == []
        assert [version.version for version in self.versions] == ["1"]
        assert len(self.losses) == len(set(self.losses))

    def assert_equal(self, other: Recorded) -> None:
        """Nothing that was logged is lost: the same runs, the same curve."""
        assert sorted(run.info.run_name for run in self.children) == sorted(run.info.run_name for run in other.children)
        assert sorted(self.losses) == sorted(other.losses)


def test_the_servers_refuse_whoever_has_no_password(team: TeamServers) -> None:
    mlflow = requests.get(f"{team.mlflow_url}/api/2.0/mlflow/experiments/get?experiment_id=0", timeout=30)
    prefect = requests.get(f"{team.environment['PREFECT_API_URL']}/admin/version", timeout=30)

    assert (mlflow.status_code, prefect.status_code) == (401, 401)


def test_the_doctor_finds_nothing_wrong_with_them(team: TeamServers, machine: Callable[[str], Installation]) -> None:
    examined = machine("a").burnish("doctor", "--team")

    assert examined.returncode == 0, examined.stdout
    assert not [secret for secret in SECRETS.values() if secret in examined.stdout]


def test_what_one_machine_made_another_one_takes_over(
    team: TeamServers, recipes: Path, machine: Callable[[str], Installation]
) -> None:
    done = finetune(machine("a"), recipes, "first")
    assert done.returncode == 0, done.stderr

    again = finetune(machine("b"), recipes, "first")

    assert again.returncode == 0, again.stderr
    summary = json.loads(machine("b").burnish("show", "first", "--json").stdout)
    assert all(stage["reused"] for stage in summary["stages"])
    for kind in ("snapshots", "adapters", "answers"):
        here, there = ({path.name for path in (machine(name).home / kind).iterdir()} for name in ("a", "b"))
        assert there
        assert there <= here
    record = Recorded(team, "first")
    assert [run.info.status for run in record.parents] == ["FINISHED"] * 2
    assert [version.version for version in record.versions] == ["1"]


def test_servers_that_are_killed_in_the_middle_cost_nothing(
    team: TeamServers, recipes: Path, machine: Callable[[str], Installation]
) -> None:
    command = start_finetune(machine("a"), recipes, "killed", **HELD_MID_TRIAL)
    wait_for(lambda: command.poll() is not None or is_held(command.pid), what="the trial")
    for server in (team.postgres, team.mlflow, team.prefect):
        assert command.poll() is None, finished(machine("a"), command).stderr
        server.kill()
        with going_on(command.pid, seconds=2):  # with a server that is gone, however long it takes to come back
            server.start()
            server.wait()
    os.kill(command.pid, signal.SIGCONT)
    done = finished(machine("a"), command)
    if done.returncode != 0:  # one message, and the same command goes on
        assert "run the same command again" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        done = finetune(machine("a"), recipes, "killed")

    assert done.returncode == 0, done.stderr
    record = Recorded(team, "killed")
    record.assert_whole()
    record.assert_equal(Recorded(team, "first"))


@pytest.fixture
def prefect(team: TeamServers) -> Iterator[Any]:
    """A client of the team's Prefect server."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    given = team.environment
    with (
        temporary_settings({
            PREFECT_API_URL: given["PREFECT_API_URL"], PREFECT_API_AUTH_STRING: given["PREFECT_API_AUTH_STRING"]
        }),
        get_client(sync_client=True) as client,
    ):  # fmt: skip
        yield client


@contextmanager
def worker(team: TeamServers, recipes: Path, home: Path, given: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A worker on a machine of the team, as docs/guides/team.md says."""
    environment = {
        **clean_environment(), **team.environment, **given, "BURNISH_HOME": str(home), "BURNISH_ROOTS": str(recipes)
    }  # fmt: skip
    command = [sys.executable, "-m", "flows", "worker", "--name", home.name, "--limit", "1"]
    with (home.parent / f"worker-{home.name}.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=log, stderr=log)
    try:
        yield process
    finally:
        kill_tree(process)


def held_below(process: int) -> bool:
    """Whether a process that this one started is held."""
    return any(is_held(child.pid) for child in psutil.Process(process).children(recursive=True))


def test_provisioning_installs_deployments_and_automations(team: TeamServers, prefect: Any) -> None:
    import yaml

    named = {entry["name"] for entry in yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]}

    assert prefect.read_work_pool("burnish").type == "burnish"
    assert {each.name for each in prefect.read_deployments()} == named
    assert len(prefect.read_automations()) == 4


def test_a_pool_that_runs_any_command_is_refused(team: TeamServers, prefect: Any) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate

    from tasks.servers.prefect_deployments import ensure_pool

    prefect.create_work_pool(WorkPoolCreate(name="shell", type="process"))

    with pytest.raises(ServerError, match=r"must be of type 'burnish', got 'process'"):
        ensure_pool(team.environment["PREFECT_API_URL"], "shell")


def test_two_workers_run_three_recipes_though_one_is_killed_mid_trial(
    team: TeamServers, recipes: Path, machine: Callable[[str], Installation], prefect: Any
) -> None:
    deployment = prefect.read_deployment_by_name("finetune/finetune").id

    def submit(recipe: str) -> UUID:
        asked = {"request": {"recipe": recipe}}
        return UUID(str(prefect.create_flow_run_from_deployment(deployment, parameters=asked, name=recipe).id))

    def state(run: UUID) -> str:
        return str(prefect.read_flow_run(run).state.name)

    # forms offer the recipes that whoever provisions has at hand
    provision({
        **clean_environment(), **team.environment, "MLFLOW_AUTH_ADMIN_PASSWORD": SECRETS["mlflow admin"],
        "BURNISH_HOME": str(team.folder / "admin"), "BURNISH_ROOTS": str(recipes),
    })  # fmt: skip
    submitted = {name: submit(name) for name in ("one", "two", "three")}
    c, d = (machine(name).home for name in ("c", "d"))
    with ExitStack() as stack:
        first = stack.enter_context(worker(team, recipes, c, HELD_MID_TRIAL))
        stack.enter_context(worker(team, recipes, d, {}))
        wait_for(lambda: held_below(first.pid), what="the middle of a trial on the first worker's machine")
        assert list(c.glob("checkpoints/*/*/step-*/manifest.json"))
        kill_tree(first)  # with the flow run that it started: the machine is gone

        wait_for(lambda: [state(run) for run in submitted.values()].count("Completed") == 2, what="the other runs")
        [lost] = [name for name in submitted if state(submitted[name]) != "Completed"]
        again = submit(lost)
        wait_for(lambda: state(again) in ("Completed", "Failed", "Crashed"), what="the run that goes on elsewhere")

    assert state(again) == "Completed", (team.folder / "worker-d.log").read_text()[-3000:]
    for name in submitted:
        Recorded(team, name).assert_whole()
    assert "resumed" in _trial_reasons(team, lost)
    looks = (team.folder / "worker-d.log").read_text().count("trial/0 step 4: validation")
    assert looks == 2, "the lost trial goes on from the checkpoint of the machine that is gone, after its first look"


def _trial_reasons(team: TeamServers, recipe: str) -> str:
    """Why trials of a recipe ended that did not end by themselves, as Optuna has it."""
    import optuna

    url = databases_on(team.postgres.url).optuna
    studies = [name for name in optuna.study.get_all_study_names(url) if name.startswith(f"{recipe}-")]
    trials = [trial for name in studies for trial in optuna.load_study(study_name=name, storage=url).trials]
    assert all(trial.state.is_finished() for trial in trials)
    return " ".join(str(trial.user_attrs.get("reason", "")) for trial in trials)


def test_no_log_speaks_of_locks(team: TeamServers) -> None:
    logs = {*team.logs, *team.folder.rglob("*.log")}
    expected = {"mlflow.log", "prefect.log", "a.log", "b.log", "worker-c.log", "worker-d.log", team.postgres.log.name}

    found = [(log.name, error) for log in logs for error in LOCK_ERRORS if error in log.read_text(errors="replace")]

    assert {log.name for log in logs if log.stat().st_size > 0} >= expected, "a log that is empty shows nothing"
    assert found == []


def test_no_secret_is_stored_anywhere_and_private_rows_only_with_the_rows(team: TeamServers, recipes: Path) -> None:
    stored: dict[str, bytes] = {"postgres": _dump(team)}
    stored |= {f"s3 {key}": content for key, content in team.store.objects().items()}
    stored |= {str(path): path.read_bytes() for path in team.folder.rglob("*") if path.is_file()}
    stored |= {str(path): path.read_bytes() for path in team.logs}

    secrets = [(place, secret) for place, content in stored.items() for secret in _found(content, SECRETS.values())]
    private = [place for place, content in stored.items() if _found(content, [PRIVATE]) and not _holds_rows(place)]

    assert len(stored) > 100
    assert any(_found(content, [PRIVATE]) for content in stored.values()), "the search finds nothing at all"
    assert secrets == []
    assert private == []


def _found(content: bytes, texts: Any) -> list[str]:
    return [text for text in texts if text.encode() in content]


def _holds_rows(place: str) -> bool:
    """The source itself, snapshots, quarantine, answers, per-row artifacts and the report, which shows some rows."""
    rows = ("/snapshots/", "/quarantine/", "/answers/", "/outputs.json", "/rows.jsonl", "/reports/")
    is_report = place.startswith("s3 mlflow/") and any(place.endswith(f"/artifacts/{name}.html") for name in NAMES)
    return is_report or any(part in place for part in rows)


def _dump(team: TeamServers) -> bytes:
    """All that the three databases hold, as text."""
    return b"".join(
        subprocess.run(
            [binary("pg_dump"), "--inserts", url.replace("+psycopg", "").replace("+asyncpg", "")],
            check=True, capture_output=True,
        ).stdout
        for url in databases_on(team.postgres.url)
    )  # fmt: skip
