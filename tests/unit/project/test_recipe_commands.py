from __future__ import annotations

import pytest

from flows.__main__ import main


@pytest.mark.parametrize(
    "arguments",
    [["nowhere.yaml", "training.epochs=2"], ["training.epochs=2", "nowhere.yaml"], ["--recipe", "nowhere.yaml"]],
)
def test_a_recipe_may_be_given_alone(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", *arguments]) == 2

    assert "nowhere.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["training.epochs=2"], [""], ["--recipe", ""]])
def test_a_command_without_a_recipe_asks_for_one(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", *arguments]) == 2

    assert "say which recipe: --recipe FILE" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--recipe", "smoke", "icd10"], ["smoke", "icd10"], ["icd10", "icd10"]])
def test_a_second_recipe_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNISH_HOME", "/proc/nowhere")  # nothing can be trained there

    assert main(["finetune", *arguments]) == 2

    assert "an override is key=value, such as training.epochs=2; got 'icd10'" in capsys.readouterr().err
