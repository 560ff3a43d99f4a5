"""Every move of an alias reaches a real Prefect server as one event, whoever makes it and whatever dies meanwhile."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.settings import Settings, settings_from
from tests.e2e.servers import wait_for
from tests.promotion_stages import Stages, make_stages

pytestmark = pytest.mark.slow


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture
def stages(prefect_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stages]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tasks.tracking.mlflow_database import prepare_store
    from tasks.tracking.mlflow_runs import Tracker

    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("BURNISH_HOME", str(home))
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("tasks.promotion.tasks.check_lease", lambda name: None)
    prepare_store(f"sqlite:///{home / 'mlflow.db'}", home)
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        yield make_stages(Tracker(f"sqlite:///{home / 'mlflow.db'}", home), f"m-{uuid.uuid4().hex[:12]}", root=tmp_path)


@pytest.fixture
def settings(stages: Stages) -> Settings:
    return settings_from(project_root=stages.run.project_root)


def promoted(stages: Stages, *, count: int) -> list[tuple[str, str]]:
    """Kind and version of each burnish.model.promoted that the server has of the model, oldest first."""
    from prefect.client.orchestration import get_client
    from prefect.events.filters import EventFilter

    resource = f"burnish.model.{stages.run.recipe.name}"
    wanted = {"event": {"name": ["burnish.model.promoted"]}, "resource": {"id": [resource]}, "order": "ASC"}

    def found() -> list[tuple[str, str]]:
        with get_client(sync_client=True) as client:
            page = client.read_events(EventFilter.model_validate(wanted), limit=50)
        return [(event.payload["kind"], event.payload["version"]) for event in page.events]

    wait_for(lambda: len(found()) >= count, what=f"{count} events")
    return found()


def test_moves_by_gates_by_hand_and_back_are_one_event_each(stages: Stages, settings: Settings) -> None:
    from tasks.promotion.by_hand import notice_moves, promote_by_hand, rollback_by_hand

    name = stages.run.recipe.name
    assert stages.decide()["promote"]
    rollback_by_hand(settings, name, reason="harmful answers", actor="ada")
    promote_by_hand(settings, f"{name}/2", reason="harmless after all", actor="ada")
    stages.run.tracker.client.set_registered_model_alias(name, "champion", "1")
    notice_moves(settings)
    notice_moves(settings)

    gates = [("promotion", "1"), ("promotion", "2")]
    assert promoted(stages, count=5) == [*gates, ("rollback", "1"), ("promotion", "2"), ("by hand", "1")]


def test_a_move_that_nobody_heard_of_is_announced_by_whoever_looks_next(
    stages: Stages, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.promotion.by_hand import history_lines, notice_moves, rollback_by_hand

    def killed(*_: object) -> None:
        raise Killed

    name = stages.run.recipe.name
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("tasks.promotion.tasks.announce_moves", killed)
        stages.decide()
    with monkeypatch.context() as patched:
        patched.delenv("PREFECT_API_URL")
        stages.run.tracker.client.set_registered_model_alias(name, "champion", "1")
        assert "by hand" in history_lines(settings, name)[-1]  # on record now, and no server to hear of it
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("tasks.promotion.announcements.record_announcement", killed)
        rollback_by_hand(settings, name, reason="that was a slip", actor="ada")

    assert notice_moves(settings) == []
    assert promoted(stages, count=4) == [("promotion", "1"), ("promotion", "2"), ("by hand", "1"), ("rollback", "2")]
