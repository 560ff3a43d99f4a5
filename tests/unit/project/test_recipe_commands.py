from __future__ import annotations

import pytest

from flows.__main__ import main


@pytest.mark.parametrize("arguments", [["nowhere.yaml", "training.epochs=2"], ["--recipe", "nowhere.yaml"]])
def test_a_recipe_may_be_given_alone(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", *arguments]) == 2

    assert "nowhere.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["training.epochs=2"]])
def test_a_command_without_a_recipe_asks_for_one(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", *arguments]) == 2

    assert "say which recipe: --recipe FILE" in capsys.readouterr().err


def test_a_second_recipe_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "--recipe", "smoke", "icd10"]) == 2

    assert "icd10" in capsys.readouterr().err
