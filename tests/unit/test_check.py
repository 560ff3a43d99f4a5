"""Cheap mistakes are met before a server starts, and commands that only read make nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import BurnishError, RecipeError
from configs.loading import load_recipe
from configs.settings import check_home, settings_from
from flows.__main__ import main
from flows.check import check
from tasks.servers import down
from tasks.storage.lease import training_slot

GOOD = "name: mine\nbase: {kind: tiny}\ndata: {source: {kind: file, path: data.jsonl}}\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "data.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    return path


def test_a_recipe_without_cheap_mistakes_passes(recipe: Path) -> None:
    check(load_recipe(recipe), recipe.parent)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.source.path=nowhere.jsonl", "data.source.path: there is no file"),
        ("data.source.path=mine.yaml", "data.source.path: the ending of mine.yaml tells no format"),
        ("data.source={kind: entry_point, name: nothing}", "data.source.name 'nothing' is not an installed"),
        ("base={kind: folder, path: nowhere}", "nowhere does not exist"),
        ("template.prompt='{{ promt }}'", "template.prompt"),
        ("template.prompt='{{ prompt'", "template.prompt"),
        ("baseline.templates={other: {prompt: '{{ promt }}'}}", "baseline.templates.other.prompt"),
        ("evaluation.metric=entry_point:nothing", "'nothing' is not an installed entry point of the group burnish.met"),
        ("evaluation.also=[entry_point:nothing]", "evaluation.metric/also 'nothing' is not an installed"),
        ("data.json_schema={type: text}", "data.json_schema is no JSON Schema: 'text' is not valid"),
        ("data.json_schema=nowhere.json", "data.json_schema: can't read"),
        ("validation.suite=strict", "validation.suite names 'strict'"),
        ("validation.overrides={email_adresses: off}", "did you mean email_addresses?"),
    ],
)
def test_a_cheap_mistake_is_named_without_any_server(recipe: Path, override: str, expected: str) -> None:
    with pytest.raises(BurnishError, match=expected):
        check(load_recipe(recipe, [override]), recipe.parent)


def burnish(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows", *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_bare_command_shows_its_help() -> None:
    done = burnish()

    assert done.returncode == 0
    assert done.stdout.startswith("usage: burnish")


def test_the_command_says_its_version() -> None:
    assert burnish("--version").stdout.startswith("burnish 0.")


def test_finetune_meets_a_missing_file_before_prefect_is_imported(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").unlink()
    poison = tmp_path / "poison"
    poison.mkdir()
    (poison / "prefect.py").write_text("raise SystemExit('prefect was imported')\n")

    done = burnish(
        "finetune", "--recipe", str(recipe), BURNISH_HOME=str(tmp_path / "home"), PYTHONPATH=f"{poison}:{Path.cwd()}"
    )

    assert done.returncode == 2
    assert "there is no file" in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("arguments", [("show",), ("history", "x"), ("predict", "--model", "x", "text")])
def test_a_mistyped_home_is_named_and_not_made(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = burnish(*arguments, BURNISH_HOME=str(tmp_path / "hoome"))

    assert done.returncode == 2
    assert "no Burnish home at" in done.stderr
    assert not (tmp_path / "hoome").exists()


def test_looking_at_a_home_that_is_not_there_makes_none(tmp_path: Path) -> None:
    burnish("status", BURNISH_HOME=str(tmp_path / "hoome"))
    burnish("down", BURNISH_HOME=str(tmp_path / "hoome"))

    assert not (tmp_path / "hoome").exists()


def test_stopping_the_servers_names_a_command_that_still_fine_tunes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BURNISH_HOME", str(tmp_path))
    monkeypatch.setattr(down, "bring_down", lambda home: 4)

    with training_slot(tmp_path, "tickets", slots=1):
        assert main(["down"]) == 0

    stopped, still = capsys.readouterr().out.splitlines()
    assert stopped == "stopped, 4 processes ended"
    assert f"process {os.getpid()} on" in still and "(tickets) since" in still


def test_a_server_elsewhere_needs_no_home(tmp_path: Path) -> None:
    elsewhere = {"BURNISH_HOME": str(tmp_path / "none"), "MLFLOW_TRACKING_URI": "https://mlflow.example"}

    check_home(settings_from(elsewhere, project_root=tmp_path))
    with pytest.raises(RecipeError, match="correct BURNISH_HOME"):
        check_home(settings_from({"BURNISH_HOME": str(tmp_path / "none")}, project_root=tmp_path))


def test_an_empty_text_is_not_answered(tmp_path: Path) -> None:
    done = burnish("predict", "--model", "x@champion", " ", BURNISH_HOME=str(tmp_path))

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "empty" in done.stderr
