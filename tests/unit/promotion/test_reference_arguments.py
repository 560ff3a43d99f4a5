from pathlib import Path

from configs.schema import Recipe
from tasks.promotion.tasks import reference_arguments
from tasks.tracking.recipe_run import RecipeRun


def test_the_parity_check_keeps_to_the_recipes_batch_tokens(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "icd10", "base": {"kind": "tiny"},
            "data": {"source": {"kind": "entry_point", "name": "smoke_records"}},
            "template": {"prompt": "{{ prompt }}\n"},
            "evaluation": {"batch_tokens": 256},
        }
    )  # fmt: skip
    run = RecipeRun(recipe, tmp_path, "0", "0")

    assert reference_arguments(run, "s", {}, ["r"], None)["batch_token_budget"] == 256
