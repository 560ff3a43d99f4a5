from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from configs.errors import RecipeError
from configs.requests import FinetuneRequest, RecipeRequest
from configs.roots import ROOTS, configured_roots, recipe_argument, recipe_names, resolve_recipe, roots_of
from configs.schema import Recipe

OWN = "name: tickets\nbase: {kind: tiny}\ndata: {source: {kind: file, path: tickets.jsonl}}\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured root with one recipe, and a file beside it that is none."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tickets.yaml").write_text(OWN)
    (folder / "compose.yaml").write_text("services: {}\n")
    monkeypatch.setenv(ROOTS, str(folder))
    return folder


def test_the_shipped_recipes_can_always_be_named() -> None:
    assert {"smoke", "icd10"} <= set(recipe_names(configured_roots({})))


@pytest.mark.usefixtures("root")
def test_a_form_offers_the_recipes_below_the_roots_and_nothing_else() -> None:
    offered = TypeAdapter(FinetuneRequest).json_schema()["properties"]["recipe"]["enum"]

    assert "tickets" in offered
    assert "compose" not in offered


def test_a_recipe_below_a_root_is_found_by_name(root: Path) -> None:
    recipe, project_root = resolve_recipe(RecipeRequest(recipe="tickets"), confined=True)

    assert (recipe.name, project_root) == ("tickets", root)


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "nobody"])
@pytest.mark.usefixtures("root")
def test_what_comes_through_prefect_names_no_other_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.yaml").write_text(OWN)

    with pytest.raises(RecipeError, match="below the configured roots"):
        resolve_recipe(RecipeRequest(recipe=name), confined=True)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("data.source.path=/etc/passwd", "data.source.path"),
        ("data.source.path=../secrets.jsonl", "data.source.path"),
        ("base={kind: folder, path: /root/model}", "base.path"),
        ("base={kind: folder, path: ~/model}", "base.path"),
        ("data.json_schema=/etc/hostname", "data.json_schema"),
    ],
)
def test_what_comes_through_prefect_reads_no_data_or_model_outside(root: Path, override: str, key: str) -> None:
    with pytest.raises(RecipeError, match=f"{key} is outside the configured roots"):
        resolve_recipe(RecipeRequest(recipe="tickets", overrides=(override,)), confined=True)


@pytest.mark.parametrize(
    "override",
    [
        "name=icd10",
        "promotion.alpha=0.49",
        "promotion.max_slice_loss=1",
        "promotion.parity_tolerance=1e6",
        "promotion={min_gain: 0}",
        "economics.value_per_correct_answer=9",
        "evaluation.metric=token_f1",
        "evaluation.slice_by=[]",
        "evaluation={confidence: 0.6}",
        "evaluation.batch_tokens_of_another_kind=1",
        "data.split.salt=lucky",
        "data.split={test_fraction: 0.01}",
        "data.max_test_records=20",
        "data.source.path=easy.jsonl",
        "data={source: {kind: file, path: easy.jsonl}}",
        "data.columns.completion=prompt",
        "data.group_by=prompt",
        "baseline.classical=false",
        "baseline.shots=[]",
        "template.prompt=x",
        "validation.overrides={test_records_in_train: off}",
    ],
)
@pytest.mark.usefixtures("root")
def test_what_comes_through_prefect_is_judged_by_the_recipes_own_measure(override: str) -> None:
    request = RecipeRequest(recipe="tickets", overrides=("training.epochs=2", override))

    with pytest.raises(RecipeError) as refused:
        resolve_recipe(request, confined=True)

    if "another_kind" not in override:  # that is no key at all
        key = override.partition("=")[0]
        assert str(refused.value).startswith(f"{key}: not changed through Prefect, since the model is judged by it")
        assert "write it into tickets.yaml" in str(refused.value)


@pytest.mark.parametrize(
    "override",
    [
        "training.epochs=2",
        "search.trials=3",
        "search={trials: 3}",
        "seed=5",
        "base.seed=1",
        "evaluation.batch_tokens=4096",
        "retraining.cool_down_hours=0",
    ],
)
@pytest.mark.usefixtures("root")
def test_what_comes_through_prefect_may_change_how_a_model_is_made(override: str) -> None:
    resolve_recipe(RecipeRequest(recipe="tickets", overrides=(override,)), confined=True)


def test_the_command_line_changes_whatever_it_likes(root: Path) -> None:
    request = RecipeRequest(recipe=str(root / "tickets.yaml"), overrides=("promotion.alpha=0.1",))

    assert resolve_recipe(request, confined=False)[0].promotion.alpha == 0.1


def test_a_link_out_of_a_root_is_outside(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.jsonl").write_text("{}\n")
    (root / "tickets.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")

    with pytest.raises(RecipeError, match="outside the configured roots"):
        resolve_recipe(RecipeRequest(recipe="tickets"), confined=True)


def test_a_name_for_many_files_reaches_none_outside(root: Path, tmp_path: Path) -> None:
    (root / "parts").mkdir()
    recipe = root / "tickets.yaml"
    recipe.write_text(recipe.read_text().replace("tickets.jsonl", "parts/*.jsonl"))
    resolve_recipe(RecipeRequest(recipe="tickets"), confined=True)

    (tmp_path / "elsewhere.jsonl").write_text("{}\n")
    (root / "parts" / "x.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")

    with pytest.raises(RecipeError, match="outside the configured roots"):
        resolve_recipe(RecipeRequest(recipe="tickets"), confined=True)


def test_the_command_line_takes_any_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OWN)

    recipe, project_root = resolve_recipe(
        RecipeRequest(recipe=str(tmp_path / "mine.yaml"), overrides=("seed=3",)), confined=False
    )

    assert (recipe.seed, project_root) == (3, tmp_path)


def test_a_command_names_the_users_own_recipe_by_its_path(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text(OWN)
    monkeypatch.chdir(tmp_path)

    assert recipe_argument("mine.yaml") == str(tmp_path / "mine.yaml")
    assert recipe_argument("tickets") == str(root / "tickets.yaml")
    assert recipe_argument("smoke") == "smoke"


@pytest.mark.parametrize("inline", ["{type: object}", '\'{"type": "object"}\'', "answer.json"])
def test_a_schema_is_the_same_inline_and_from_a_file(root: Path, inline: str) -> None:
    (root / "answer.json").write_text('{"type": "object"}')
    request = RecipeRequest(recipe=str(root / "tickets.yaml"), overrides=(f"data.json_schema={inline}",))

    recipe, _ = resolve_recipe(request, confined=False)

    assert recipe.json_schema == {"type": "object"}
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("content", "path", "expected"),
    [
        (None, "nowhere.json", "data.json_schema: can't read .*nowhere.json"),
        (None, "../answer.json", "data.json_schema must be below the project root"),
        ("[]", "answer.json", "must hold a JSON object"),
        ("{a: 1}", "answer.json", "is not JSON"),
        ("[" * 100_000, "answer.json", "is not JSON"),
    ],
)
def test_a_schema_file_that_is_none_is_refused(root: Path, content: str | None, path: str, expected: str) -> None:
    if content is not None:
        (root / path).write_text(content)
    request = RecipeRequest(recipe=str(root / "tickets.yaml"), overrides=(f"data.json_schema={path}",))

    with pytest.raises(RecipeError, match=expected):
        resolve_recipe(request, confined=False)


@pytest.mark.parametrize("home", ["/somewhere/burnish-home", "/.burnish", "/data"])
def test_a_home_outside_a_project_makes_nothing_a_root_wherever_the_shell_stands(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for folder in ("/", str(tmp_path)):
        monkeypatch.chdir(folder)
        found.append(roots_of(Path(home), ""))

    assert found == ["", ""]
    assert configured_roots({ROOTS: found[0]}) == configured_roots({})


def test_a_homes_own_project_is_a_root(tmp_path: Path) -> None:
    assert roots_of(tmp_path / ".burnish", "") == str(tmp_path)


def test_roots_that_were_given_hold_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert roots_of(Path("/home"), f"recipes{os.pathsep}/data") == f"{tmp_path / 'recipes'}{os.pathsep}/data"
