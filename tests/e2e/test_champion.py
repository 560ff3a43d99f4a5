"""A fine-tune that wins: it earns the alias, keeps it, is challenged on a counted look, moved by hand, rolled back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installation import Installation
from tests.e2e.servers import wait_for

WINNING = (
    "baseline.classical=false", "training.epochs=6", "training.lora_rank=16", "data.source.options.count=600",
    "search.trials=1", "search.confirmation_seeds=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def crowned_at() -> datetime:
    """Before the champion of this file was made."""
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def crowned(
    tmp_path_factory: pytest.TempPathFactory, prefect_url: str, crowned_at: datetime, first_things: Path
) -> tuple[Installation, dict[str, Any]]:
    """An installation with a champion, and the summary of the run that made it."""
    home = tmp_path_factory.mktemp("crowned") / "home"
    installation = Installation(home, {"PREFECT_API_URL": prefect_url}).with_all_of(first_things)
    done = installation.smoke(*WINNING)
    assert done.returncode == 0, done.stderr
    return installation, installation.summary()


@pytest.mark.slow
def test_a_fine_tune_that_pays_earns_its_alias(crowned: tuple[Installation, dict[str, Any]]) -> None:
    _, summary = crowned

    assert summary["verdict"]["kind"] == "pays"
    assert summary["verdict"]["recommended"] == "candidate"
    assert summary["decision"]["promote"]
    assert summary["decision"]["look"] == 1
    assert summary["model"]["aliases"] == ["champion"]


@pytest.mark.slow
def test_a_champion_and_its_challenger(
    crowned: tuple[Installation, dict[str, Any]], crowned_at: datetime, prefect_url: str
) -> None:
    installation, first = crowned

    # the same command again finds its own decision, not a contest of the champion with itself
    assert installation.smoke(*WINNING).returncode == 0
    again = installation.summary()
    assert all(stage["reused"] for stage in again["stages"])
    assert again["decision"] == first["decision"]

    # an equal fine-tune is compared with the champion on the same records, on a second look, and refused
    assert installation.smoke(*WINNING, "seed=18").returncode == 0
    challenged = installation.summary()
    assert {"champion", "candidate"} <= {option["kind"] for option in challenged["options"]}
    assert not challenged["decision"]["promote"]
    assert challenged["decision"]["champion_version"] == "1"
    assert challenged["decision"]["look"] == 2
    assert challenged["decision"]["alpha_spent"] < first["decision"]["alpha_spent"]
    assert any("champion" in reason for reason in challenged["decision"]["reasons"])

    # a person overrules it, with a reason, and takes it back
    assert installation.burnish("rollback", "smoke", "--reason", "too early").returncode == 2
    assert installation.burnish("promote", "smoke/2", "--reason", "field trial").returncode == 0
    assert installation.burnish("rollback", "smoke", "--reason", "field trial ended").returncode == 0
    history = installation.burnish("history", "smoke").stdout
    assert history.index("cleared every gate") < history.index("field trial") < history.index("field trial ended")
    answer = installation.burnish("predict", "--model", "smoke@champion", "Hello, about my invoice, thanks 3")
    assert answer.stdout.strip() == "billing"

    # the gates', a person's and the rollback's moves are all events
    moves = [("promotion", "1", None), ("promotion", "2", "1"), ("rollback", "1", "2")]
    assert moves_told(prefect_url, since=crowned_at, at_least=len(moves)) == moves


@pytest.mark.slow
def test_an_alias_set_by_hand_in_mlflow_is_respected_and_told(
    crowned: tuple[Installation, dict[str, Any]], tmp_path: Path, prefect_url: str
) -> None:
    from mlflow import MlflowClient

    installation = crowned[0].copy_to(tmp_path / "home")
    url = f"sqlite:///{installation.home / 'mlflow.db'}"
    client = MlflowClient(url, registry_uri=url)
    began = datetime.now(UTC)
    client.set_registered_model_alias("smoke", "champion", "2")
    client.set_registered_model_alias("smoke", "favourite", "1")

    seen = installation.burnish("history", "smoke").stdout
    client.delete_registered_model_alias("smoke", "champion")
    taken_away = installation.burnish("history", "smoke").stdout

    assert seen.count("by hand, seen at") == 1
    assert taken_away.count("by hand, seen at") == 2
    assert "champion" not in client.get_registered_model("smoke").aliases
    assert moves_told(prefect_url, since=began, at_least=1) == [("by hand", "2", "1")]


def moves_told(prefect_url: str, *, since: datetime, at_least: int) -> list[tuple[str, str, str | None]]:
    """Kind, new version and old version of the champions that Prefect was told of, in order.

    Its server stores events in batches, seconds later.
    """
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.filters import EventFilter

    wanted = {"event": {"name": ["burnish.model.promoted"]}, "occurred": {"since": since.isoformat()}, "order": "ASC"}

    def read() -> list[dict[str, Any]]:
        told = client.read_events(EventFilter.model_validate(wanted), limit=50).events
        moves = [event.payload for event in told if event.payload["alias"] == "champion"]
        return moves if len(moves) >= at_least else []

    with SyncPrefectClient(api=prefect_url) as client:
        moves = wait_for(read, what="the moves to be told")
    return [(move["kind"], move["version"], move["before"]) for move in moves]
