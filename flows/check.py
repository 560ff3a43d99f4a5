"""What is wrong with a recipe and is seen in milliseconds, before a server starts. Not a flow, nothing is stored."""

from __future__ import annotations

from pathlib import Path

from configs.json_schema_file import with_schema_read
from configs.schema import Recipe


def check(recipe: Recipe, project_root: Path) -> None:
    """Check that data, base model, suite, schema and metrics are there, and that the templates can be rendered.

    Raises:
        BurnishError: the same message as from the stage that would meet it.
    """
    from tasks.data.sources import check_source
    from tasks.data.templates import check_templates
    from tasks.metrics.metric_identity import check_metrics
    from tasks.models.base_models import check_source_exists
    from tasks.validation.suites import SUITES_FOLDER, load_suite

    check_source(recipe.data, project_root)
    check_source_exists(recipe.base, project_root=project_root)
    check_templates(recipe)
    load_suite(recipe.validation.suite, recipe.validation.overrides, SUITES_FOLDER)
    schema = with_schema_read(recipe, project_root).json_schema
    check_metrics((recipe.evaluation.metric, *(recipe.evaluation.also or ())), schema)
