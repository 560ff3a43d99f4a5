"""Two homes and one MLflow server that is neither's, with files as locks: one recipe is worked on by one of them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.promotion.alias_moves import move_alias
from tasks.storage.processes import stop
from tasks.tracking.mlflow_runs import Tracker
from tasks.tracking.ownership import NotOurs, claim_recipe
from tasks.tracking.running_servers import RunningServers, answers, note_servers


@pytest.fixture(scope="module")
def server(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(migrated_database, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
         "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 600
        while not answers(f"{url}/health"):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        yield url
    finally:
        stop(process, grace_seconds=5)


def at(server: str, home: Path, installation: str) -> Tracker:
    home.mkdir(exist_ok=True)
    return Tracker(server, home, installation=installation)


def test_the_second_home_neither_ends_nor_takes_over_the_runs_of_the_first(server: str, tmp_path: Path) -> None:
    ours, theirs = at(server, tmp_path / "a", "a" * 12), at(server, tmp_path / "b", "b" * 12)
    experiment = ours.experiment("runs")
    unmarked = Tracker(server, tmp_path / "a").open_parent(experiment, recipe_digest="d", params={})
    parent = ours.open_parent(experiment, recipe_digest="d", params={})
    trial = ours.child(parent, "trial/0", kind="trial", tags={}, of_any_parent=True)
    option = ours.child(parent, "option", kind="option", tags={})

    other = theirs.open_parent(experiment, recipe_digest="d", params={})
    theirs.child(other, "trial/0", kind="trial", tags={}, of_any_parent=True)
    theirs.close_leftovers(experiment, keep=None)

    for run_id in (unmarked, parent, trial, option):
        info = ours.run(run_id).info
        assert (info.status, info.lifecycle_stage) == ("RUNNING", "active")
    assert theirs.run(other).info.status == "KILLED"
    assert set(ours.close_leftovers(experiment, keep=parent)) == {trial, option}


def test_the_second_home_moves_no_alias_and_is_told_what_to_do(server: str, tmp_path: Path) -> None:
    ours, theirs = at(server, tmp_path / "a", "a" * 12), at(server, tmp_path / "b", "b" * 12)
    run_id = ours.open_parent(ours.experiment("aliases"), recipe_digest="d", params={})
    ours.client.create_registered_model("aliases")
    ours.client.create_model_version(
        "aliases", f"{ours.run(run_id).info.artifact_uri}/model", run_id, await_creation_for=0
    )
    moved = {"alias": "champion", "version": "1", "beaten_champion": None, "reason": "better", "decision": "d"}
    claim_recipe(ours, "aliases")

    with pytest.raises(NotOurs, match="set BURNISH_POSTGRES_URL on every machine"):
        move_alias(theirs, "aliases", actor="bo", **moved)  # type: ignore[arg-type]

    move_alias(ours, "aliases", actor="ada", **moved)  # type: ignore[arg-type]
    assert ours.client.get_registered_model("aliases").aliases == {"champion": "1"}


def test_a_home_that_was_moved_keeps_its_recipes_on_its_own_server(server: str, tmp_path: Path) -> None:
    import psutil

    before, after = at(server, tmp_path / "a", "a" * 12), at(server, tmp_path / "b", "b" * 12)
    before.experiment("moved")
    claim_recipe(before, "moved")
    me = psutil.Process()
    note_servers(tmp_path / "b", RunningServers(server, "", me.pid, me.create_time(), {}))

    claim_recipe(after, "moved")

    with pytest.raises(NotOurs):
        claim_recipe(before, "moved")
