"""Prefect tasks of the registry room."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect import task

from configs.schema import Precision, Template
from tasks.tracking.identity import stage_identity
from tasks.tracking.recipe_run import RecipeRun

if TYPE_CHECKING:
    from tasks.registry.packaging import AdapterPackage

log = logging.getLogger("burnish")


def candidate_package(
    run: RecipeRun, *, option: dict[str, Any], base: str, labels: Sequence[str] | None, precision: Precision
) -> AdapterPackage:
    """What the version of an option (JSON form) holds."""
    from tasks.registry.packaging import AdapterPackage

    columns = run.recipe.data.columns
    return AdapterPackage(
        adapter=run.settings.adapters / option["adapter"],
        base=run.settings.bases / base,
        template=Template.model_validate(option["template"]),
        labels=tuple(labels) if labels else None,
        decoding=option["decoding"],
        max_new_tokens=run.recipe.evaluation.max_new_tokens,
        precision=precision,
        input_column="messages" if columns.messages else "prompt",
        metadata=columns.metadata,
        takes_tools=columns.tools is not None,
    )


def register_identity(run: RecipeRun, package: AdapterPackage, snapshot: str) -> str:
    """Hash of what the version and its parity check depend on."""
    policy = run.recipe.promotion
    inputs = {
        "package": package.identity,
        "snapshot": snapshot,
        "parity": [policy.parity_records, policy.parity_tolerance, policy.parity_batch_size],
        "batch_tokens": run.recipe.evaluation.batch_tokens,
    }
    rooms = ["tasks.registry", "tasks.promotion", "tasks.inference"]
    return stage_identity("register", inputs, rooms=rooms, libraries=["mlflow", "torch", "transformers", "peft"])


def version_is_there(run: RecipeRun, outputs: Mapping[str, Any]) -> bool:
    """Whether the version that a stage left is still in the registry."""
    from tasks.registry.mlflow_versions import version_exists

    return version_exists(run.tracker, run.recipe.name, version=str(outputs["version"]))


@task(name="register version")
def register_candidate(run: RecipeRun, package: AdapterPackage, option: dict[str, Any], snapshot: str) -> str:
    """Register the candidate once; its tags name snapshot, option and the run it came from."""
    from tasks.registry.incumbent import OPTION
    from tasks.registry.mlflow_versions import MADE_BY_BURNISH, SNAPSHOT, register_version

    tags = {SNAPSHOT: snapshot, MADE_BY_BURNISH: run.recipe.name, OPTION: json.dumps(option)}
    version = register_version(run.tracker, run.recipe.name, run_id=run.run_id, package=package, tags=tags)
    log.info("  version %s of %s", version, run.recipe.name)
    return version
