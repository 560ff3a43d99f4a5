"""Prefect tasks of the data room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import task

from configs.errors import DataError
from configs.schema import HubSource
from tasks.storage.shared_directories import at_hand, share
from tasks.tracking.identity import stage_identity
from tasks.tracking.recipe_run import RecipeRun


@task(name="check templates")
def check_templates(run: RecipeRun) -> None:
    """Refuse a template that names what the records don't have, before any work.

    Raises:
        RecipeError: names the template and what is allowed.
    """
    from tasks.data import templates

    templates.check_templates(run.recipe)


@task(name="identify the source")
def prepare_identity(run: RecipeRun) -> str:
    """Hash of the source's content and the recipe's data section."""
    from tasks.data.hub_source import with_files_here
    from tasks.data.sources import source_digest

    inputs = {
        "source": source_digest(with_files_here(run.recipe.data, run.settings), run.project_root),
        "data": run.recipe.data.model_dump(mode="json", exclude={"json_schema"}),
    }
    return stage_identity("prepare", inputs, rooms=["tasks.data"], libraries=["datasets", "pyarrow"])


@task(name="prepare snapshot")
def prepare_snapshot(run: RecipeRun) -> dict[str, Any]:
    """Load, map, split and store the records.

    Returns:
        `snapshot`, `counts`, `labels`, `calls_tools` of what is kept; `source` and `dataset`, what it was made from;
        `test_records_found`, before `data.max_test_records`.

    Raises:
        DataError: the source is damaged, or changed while it was read.
    """
    from tasks.data.hub_source import dataset_key, with_files_here
    from tasks.data.mapping import to_records
    from tasks.data.snapshots import read_snapshot, write_snapshot
    from tasks.data.sources import load_rows, source_digest
    from tasks.data.splitting import assign_splits, within_limits

    data = with_files_here(run.recipe.data, run.settings)
    source = source_digest(data, run.project_root)
    found = assign_splits(to_records(load_rows(data, run.project_root), data), data)
    if source_digest(data, run.project_root) != source:
        raise DataError("the source changed while it was being read; run the same command again when it is complete")
    records = within_limits(found, data)
    digest = write_snapshot(records, snapshots=run.settings.snapshots, source_digest=source, labels=data.labels)
    share(run.settings, "snapshots", digest)
    snapshot = read_snapshot(run.settings.snapshots, digest)
    run.tracker.log_snapshot_input(run.run_id, digest, name=run.recipe.name)
    return {
        "snapshot": digest,
        "counts": snapshot.counts,
        "test_records_found": sum(record.split == "test" for record in found),
        "labels": snapshot.labels,
        "source": source,
        "dataset": dataset_key(run.recipe.data.source) if isinstance(run.recipe.data.source, HubSource) else None,
        "calls_tools": any(record.answer is not None for record in records),
    }


@task(name="check the metric")
def check_metric(run: RecipeRun, outputs: Mapping[str, Any]) -> None:
    """Refuse a metric that can't compare what the completions are.

    Raises:
        RecipeError: names the metric and the one to use.
    """
    from tasks.data.mapping import check_calls_can_be_compared

    check_calls_can_be_compared(
        calls_tools=outputs["calls_tools"], metric=run.recipe.evaluation.metric, labels=run.recipe.data.labels
    )


def snapshot_is_there(run: RecipeRun, outputs: Mapping[str, Any]) -> bool:
    """Whether the snapshot that a stage left can be resolved here."""
    return at_hand(run.settings, "snapshots", outputs["snapshot"])
