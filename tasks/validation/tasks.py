"""Prefect tasks of the validation room."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact

from configs.errors import ValidationStopped
from tasks.data.records import SPLITS
from tasks.storage.shared_directories import share
from tasks.tracking.identity import stage_identity
from tasks.tracking.prefect_artifacts import artifact_key
from tasks.tracking.recipe_run import RecipeRun
from tasks.validation.result import (
    ROW_IDS_OF_A_NOTE,
    RuleOutcome,
    ValidationResult,
    describe,
    failed_first_stops,
    source_columns,
    stop_message,
)

log = logging.getLogger("burnish")


@task(name="identify the validation")
def validate_identity(run: RecipeRun, snapshot: str, base: str) -> str:
    """Hash of what the validation result depends on."""
    from tasks.validation.suites import SUITES_FOLDER, load_suite, suite_digest

    recipe = run.recipe
    suite = load_suite(recipe.validation.suite, recipe.validation.overrides, SUITES_FOLDER)
    inputs = {
        "snapshot": snapshot,
        "suite": suite_digest(suite),
        "template": recipe.template.model_dump(mode="json"),
        "base": base,
        "json_schema": recipe.json_schema,
    }
    libraries = ["great_expectations", "pandas", "transformers", "jsonschema"]
    return stage_identity("validate", inputs, rooms=["tasks.validation"], libraries=libraries)


@task(name="check snapshot")
def check_snapshot(run: RecipeRun, snapshot: str, base: str) -> dict[str, Any]:
    """Apply the suite; show the result in MLflow and Prefect.

    Raises:
        ValidationStopped: a rule with `on_failure: stop` failed.
    """
    from tasks.data.snapshots import read_snapshot
    from tasks.validation.snapshot_checks import validate_snapshot
    from tasks.validation.suites import SUITES_FOLDER, load_suite

    recipe = run.recipe
    suite = load_suite(recipe.validation.suite, recipe.validation.overrides, SUITES_FOLDER)
    result = validate_snapshot(
        run.settings.snapshots,
        snapshot,
        suite=suite,
        template=recipe.template,
        tokenizer_directory=run.settings.bases / base,
        labels=read_snapshot(run.settings.snapshots, snapshot).labels,
        quarantine=run.settings.quarantine,
        json_schema=recipe.json_schema,
    )
    _show(run, result)
    if not result.passed:
        tell_findings(run, result.to_dict())
        raise ValidationStopped(stop_message(result, recipe.name, sources=source_columns(recipe.data)))
    share(run.settings, "snapshots", result.usable_snapshot)
    usable = read_snapshot(run.settings.snapshots, result.usable_snapshot)
    found = {"snapshot": result.usable_snapshot, "counts": usable.counts, "labels": usable.labels}
    return {**result.to_dict(), **found, "judged": snapshot}


def tell_findings(run: RecipeRun, found: Mapping[str, Any]) -> None:
    """Log what the rules found, in this run or in the one whose result is reused; ids and counts, no values.

    `found` is a validation result as JSON.
    """
    from tasks.validation.suites import SUITES_FOLDER, load_suite

    chosen = run.recipe.validation
    suite = load_suite(chosen.suite, chosen.overrides, SUITES_FOLDER)
    failures = failed_first_stops([RuleOutcome(**outcome) for outcome in found["outcomes"]])
    sources = source_columns(run.recipe.data)
    for outcome in failures:
        why = suite.rules[outcome.rule].why
        found_there = describe(outcome, most_row_ids=ROW_IDS_OF_A_NOTE, sources=sources)
        log.info("  %s: %s %s", outcome.on_failure, why, found_there)
    dropped, quarantine = len(found["dropped_ids"]), found["quarantine"]
    where = f"; they are in {quarantine}" if dropped and quarantine else ""
    log.info("  %d rules evaluated, %d rows dropped%s", found["evaluated"], dropped, where)
    if counts := found.get("counts"):
        log.info("  records: %s", ", ".join(f"{counts[split]:,} {split}" for split in SPLITS))
    if any(outcome.row_ids for outcome in failures):
        log.info("  `burnish preview --recipe … --record ID` shows a row by its id")


def _show(run: RecipeRun, result: ValidationResult) -> None:
    """The result as an MLflow artifact and a Prefect artifact; ids and counts, no values."""
    run.tracker.log_text(run.run_id, json.dumps(result.to_dict(), indent=1), "validation.json")
    rows = [
        {
            "rule": outcome.rule,
            "column": outcome.column,
            "on failure": outcome.on_failure,
            "failed": outcome.failed,
            "rows": outcome.count,
            "share": f"{outcome.share:.2%}",
            "detail": outcome.detail,
        }
        for outcome in result.outcomes
    ]
    create_table_artifact(key=artifact_key(run.recipe.name, "validation"), table=rows, description=result.suite)
