import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.errors import RecipeError
from configs.loading import load_recipe, parse_recipe, project_root_of, shipped_recipes

SMALLEST = "name: tickets\nbase: {kind: tiny}\ndata: {source: {kind: file, path: tickets.jsonl}}\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("path", shipped_recipes(), ids=lambda path: path.name)
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    recipe = load_recipe(path)

    assert recipe.name == path.stem


def test_yaml_says_only_what_differs(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, SMALLEST))

    assert recipe.training.lora_rank == 16
    assert recipe.data.group_by is None


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("epochs", "did you mean training.epochs?"),
        ("epoch", "did you mean training.epochs?"),
        ("traning", "did you mean training?"),
        ("prompt", "did you mean data.columns.prompt or template.prompt?"),
        ("training.lernrate", "did you mean training.learning_rate?"),
        ("training.alpha", "did you mean training.lora_alpha?"),
        ("training.patience", "did you mean training.early_stopping_patience?"),
        ("training.shots", "did you mean baseline.shots?"),
        ("training.seed", "did you mean seed (at the top of the recipe)?"),
        ("evaluation.max_tokens", "did you mean evaluation.max_new_tokens?"),
        ("promotion.confidence", "did you mean promotion.slice_confidence?"),
        ("search.learning_rate", "did you mean search.space.learning_rate?"),
        ("data.prompt", "did you mean data.columns.prompt?"),
        ("data.path", "did you mean data.source.path?"),
        ("data.source.pth", "did you mean data.source.path?"),
        ("data.split.validation", "did you mean data.split.validation_fraction?"),
        ("data.split.seed", "allowed: column, salt, test_fraction, validation_fraction"),
        ("base.name", "allowed: "),
    ],
)
def test_an_unknown_key_is_answered_with_the_one_that_was_meant(tmp_path: Path, key: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, SMALLEST), [f"{key}=3"])

    assert f"  {key}: unknown key; {hint}" in str(caught.value)


@pytest.mark.parametrize(
    ("base", "key", "hint"),
    [
        ("{kind: package, sha265: a}", "base.sha265", "did you mean base.sha256?"),
        ("{kind: folder, pth: a}", "base.pth", "did you mean base.path?"),
        ("{kind: hub, rev: a}", "base.rev", "allowed: digest, id, kind, revision"),
    ],
)
def test_a_key_of_each_kind_of_base_is_known(tmp_path: Path, base: str, key: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, SMALLEST.replace("{kind: tiny}", base)))

    assert f"  {key}: unknown key; {hint}" in str(caught.value)


def test_a_data_file_in_place_of_a_recipe_is_told_of_init(tmp_path: Path) -> None:
    path = tmp_path / "my tickets.csv"
    with pytest.raises(RecipeError, match="no recipe at"):
        load_recipe(path)
    path.write_text("prompt,completion\n", encoding="utf-8")

    with pytest.raises(RecipeError, match=re.escape(f"`burnish init '{path}'` looks at it and writes a recipe")):
        load_recipe(path)


def test_overrides_go_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, SMALLEST + "training: {epochs: 3}\n")

    recipe = load_recipe(path, ["training.epochs=5", "search.space={lora_rank: {choices: [4, 8]}}"])

    assert recipe.training.epochs == 5
    assert "lora_rank" in recipe.search.space


def test_all_errors_are_reported_at_once_with_dotted_keys(tmp_path: Path) -> None:
    text = SMALLEST + "training: {epochs: 0, lora_dropout: 1.5, lernrate: 1}\npromotion: {min_gain: 1.5}\n"

    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, text))

    message = str(caught.value)
    assert "4 problems" in message
    for expected in (
        "training.epochs: input should be greater than or equal to 1, got 0",
        "training.lora_dropout",
        "training.lernrate: unknown key; did you mean training.learning_rate?",
        "promotion.min_gain",
        "recipe.yaml",
    ):
        assert expected in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("- a\n- b\n", "mapping of keys"),
        ("name: [", "line "),
        ("name: a\nname: b\n", "stands twice"),
        ("a: &x [1]\nb: *x\n", "aliases (*x) are not allowed"),
        (b"name: \xff\xfe", "not UTF-8 at byte 6"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: " + "[" * 60 + "]" * 60, "nests deeper"),
        ("a: " + "[" * 5000 + "]" * 5000, "nest"),
        ("a: " + "x" * 1_000_001, "at most"),
        (SMALLEST.replace("tickets\n", "../etc\n", 1), "name: a name has lower-case letters, digits, - and _"),
        (
            SMALLEST.replace("kind: tiny", "kind: huge"),
            "base.kind: unknown 'huge'; allowed: tiny, folder, ",
        ),
        (SMALLEST.replace("kind: tiny", "kind: tinny"), "base.kind: unknown 'tinny'; did you mean tiny?"),
        (SMALLEST.replace("{kind: tiny}", "{seed: 1}"), "base.kind: required, but not given"),
        (SMALLEST + "seed: .nan\n", "seed"),
        (SMALLEST + "evaluation: {slice_by: [region]}\n", "data.columns.metadata"),
        (SMALLEST + "training: {batch_size: 16, micro_batch_size: 5}\n", "micro_batch_size must divide"),
        (SMALLEST + "training: {method: full, precision: nf4}\n", "full can't train weights of precision: nf4"),
        (SMALLEST + "search: {space: {learnrate: {low: 1, high: 2}}}\n", "space.learnrate is not a training field"),
        (SMALLEST + "search: {space: {lora_rnk: {low: 1, high: 2}}}\n", "did you mean lora_rank?"),
        (SMALLEST + "search: {space: {lora_rank: {low: 8, high: 4}}}\n", "low must be below high"),
        (SMALLEST + "search: {space: {epochs: {low: 0, high: 4}}}\n", "epochs"),
        (SMALLEST.replace("path: tickets.jsonl", "path: a, train: b"), "give either `path`, or all of"),
        (SMALLEST + "training: {learning_rate: 3e-4}\n", None),
    ],
)
def test_a_bad_recipe_gets_one_clear_error(tmp_path: Path, text: str | bytes, expected: str | None) -> None:
    path = write(tmp_path, text)

    if expected is None:
        assert load_recipe(path).training.learning_rate == 3e-4
        return
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)

    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "override", ["template.prompt={{ prompt }}", "training.epochs", "=3", "training..epochs=2", "name.x=2", "a=[1"]
)
def test_a_bad_override_is_named(tmp_path: Path, override: str) -> None:
    with pytest.raises(RecipeError, match="override"):
        load_recipe(write(tmp_path, SMALLEST), [override])


def test_a_missing_recipe_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"shipped, by name: icd10,.* smoke,"):
        load_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("recip.yaml", "did you mean recipe.yaml?"),
        ("recipe", "did you mean recipe.yaml?"),
        ("smokee", "did you mean smoke?"),
        ("other", "folder: recipe.yaml;"),
    ],
)
def test_a_missing_recipe_names_what_was_probably_meant_and_what_lies_beside(
    tmp_path: Path, asked: str, said: str
) -> None:
    write(tmp_path, SMALLEST)

    with pytest.raises(RecipeError, match=re.escape(said)):
        load_recipe(tmp_path / asked)


def test_a_recipe_survives_json(tmp_path: Path) -> None:
    for path in shipped_recipes():
        recipe = load_recipe(path)

        assert parse_recipe(recipe.model_dump(mode="json"), source="json") == recipe


def test_the_project_root_is_above_configs() -> None:
    assert project_root_of(Path("/a/configs/x.yaml")) == Path("/a")
    assert project_root_of(Path("/a/b/x.yaml")) == Path("/a/b")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=6), below, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["name", "seed", "base", "data", "template", "training", "search", "promotion", "evaluation"])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_document_is_a_recipe_or_one_recipe_error(document: dict[str, object]) -> None:
    good = {"name": "a", "base": {"kind": "tiny"}, "data": {"source": {"kind": "file", "path": "x"}}}

    try:
        parse_recipe({**good, **document}, source="fuzz")
    except RecipeError as error:
        assert str(error).startswith("fuzz: ")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(alphabet="name: {}[]-*&!|>\n'\"#%@,ab1", max_size=80).map(str.encode))
def test_any_bytes_are_a_recipe_or_one_recipe_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RecipeError):
        load_recipe(write(tmp_path, content))
