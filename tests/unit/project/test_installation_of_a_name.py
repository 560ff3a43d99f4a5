from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import RecipeError
from flows.commands.installation import existing_of
from flows.commands.models import _run_of

RECIPE = "name: tickets\nbase: {kind: tiny}\ndata: {source: {kind: file, path: tickets.jsonl}}\n"


@pytest.fixture(autouse=True)
def two_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folders with an installation each; the commands run in `b`."""
    for key in ("BURNISH_HOME", "PREFECT_HOME", "MPLCONFIGDIR", "HF_HOME"):
        monkeypatch.setenv(key, "")
        monkeypatch.delenv(key)
    for name in ("a", "b"):
        (tmp_path / name / ".burnish").mkdir(parents=True)
        (tmp_path / name / "mine.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path / "b")


def test_a_name_is_looked_for_in_the_installation_at_hand(tmp_path: Path) -> None:
    name, settings = existing_of("tickets")

    assert (name, settings.home) == ("tickets", tmp_path / "b" / ".burnish")


def test_a_file_is_looked_for_in_its_own_installation(tmp_path: Path) -> None:
    name, settings = existing_of(str(tmp_path / "a" / "mine.yaml"))

    assert (name, settings.home) == ("tickets", tmp_path / "a" / ".burnish")


def test_the_users_home_goes_over_that_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path / "own"))

    assert existing_of(str(tmp_path / "a" / "mine.yaml"))[1].home == tmp_path / "own"


def test_a_file_with_nothing_run_beside_it_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.yaml").write_text(RECIPE)

    with pytest.raises(RecipeError, match="no Burnish home at"):
        existing_of(str(tmp_path / "new" / "mine.yaml"))


@pytest.mark.parametrize(("option", "run"), [("", "tickets"), (":few-shot: short", "tickets:few-shot: short")])
def test_a_file_may_name_an_option_of_its_newest_run(tmp_path: Path, option: str, run: str) -> None:
    name, settings = _run_of(f"{tmp_path / 'a' / 'mine.yaml'}{option}")

    assert (name, settings.home) == (run, tmp_path / "a" / ".burnish")
