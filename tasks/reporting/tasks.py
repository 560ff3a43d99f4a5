"""Prefect tasks of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from configs.requests import RecipeRequest
from configs.roots import recipe_argument
from tasks.baselines.asking import OPTIONS_FILE, options_text
from tasks.data.snapshots import read_snapshot
from tasks.inference.answers import select_records
from tasks.metrics.metric_identity import metric_identity
from tasks.models.tasks import precision_of
from tasks.reporting.details import (
    assumptions,
    base_in_words,
    base_warnings,
    card_figures,
    money_warnings,
    report_details,
    validation_warnings,
)
from tasks.reporting.html_report import render_report
from tasks.reporting.markdown import links_as_markdown, summary_as_markdown
from tasks.reporting.row_scores import SCORES_FILE, RowScores, row_scores, row_scores_as_text
from tasks.reporting.summary import SUMMARY_FILE, OptionRow, RunSummary, StageRow
from tasks.search.importance import parameter_importance
from tasks.storage.durable import write_text
from tasks.tracking.mlflow_pages import outputs_page, run_page, trials_page
from tasks.tracking.prefect_artifacts import artifact_key, link_to_page
from tasks.tracking.recipe_run import RecipeRun
from tasks.tracking.shown_text import escaped
from tasks.tracking.stage_ledger import StageRecord
from tasks.validation.suites import SUITES_FOLDER, load_suite


@task(name="write report")
def write_report(run: RecipeRun, base: str, stages: Sequence[StageRecord], request: RecipeRequest) -> RunSummary:
    """Sum up the run: the HTML report in MLflow and in `home/reports`, the summary, the verdict on the run's page."""
    from tasks.tracking.mlflow_runs import MetricRow

    outputs = {stage.name: stage.outputs for stage in stages}
    path = run.settings.reports / f"{run.recipe.name}.html"
    summary = RunSummary(
        recipe=run.recipe.name,
        snapshot=outputs["validate"]["snapshot"],
        stages=tuple(StageRow(stage.name, round(stage.seconds, 2), stage.reused) for stage in stages),
        options=tuple(_option_row(card) for card in outputs["evaluate"]["scorecards"]),
        verdict=dict(outputs["promote"]["verdict"]),
        decision=_decision(outputs["promote"]["decision"]),
        model=_model(run, outputs["promote"]["version"]),
        cost=_cost(run, outputs),
        peak_rss_mb=round(max(stage.peak_rss_mb for stage in stages), 1),
        run_id=run.run_id,
        report=str(path),
        recipe_file=recipe_argument(request.recipe),
        overrides=request.resolved_overrides(),
        chosen=dict(outputs["search"]["study"]["best"]["parameters"]),
        description=run.recipe.description,
        base=base_in_words(run.recipe.base),
        max_test_records=run.recipe.data.max_test_records,
        test_records_found=outputs["prepare"]["test_records_found"],
        min_gain=run.recipe.promotion.min_gain,
        warnings=(
            *base_warnings(run.recipe.base),
            *money_warnings(run.recipe.economics),
            *validation_warnings(outputs["validate"]),
            *outputs["evaluate"]["warnings"],
        ),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        details=_details(run, outputs),
    )
    write_text(path, render_report(summary))
    tracker = run.tracker
    tracker.log_file(run.run_id, path, None)
    asked = options_text(run, outputs["baseline"], snapshot=summary.snapshot, base=base, precision=precision_of(run))
    tracker.log_text(run.run_id, asked, OPTIONS_FILE)
    tracker.log_text(run.run_id, row_scores_as_text(_row_scores(run, outputs)), SCORES_FILE)
    # last of them: a run that has it has reached its end
    tracker.log_text(run.run_id, json.dumps(summary.as_json(), indent=1, ensure_ascii=False), SUMMARY_FILE)
    study = str(outputs["search"]["study"]["study_name"])
    pages = _pages(run, outputs, study=study, report=path.name)
    tracker.describe(run.run_id, f"{summary_as_markdown(summary)}\n{links_as_markdown(pages)}")
    tracker.set_tags(run.run_id, {"burnish.verdict": str(summary.verdict["kind"]), "burnish.study": study})
    tracker.log_metrics_batch(run.run_id, [MetricRow(key, value, 0) for key, value in _headline(summary).items()])
    name = run.recipe.name
    create_markdown_artifact(
        key=artifact_key(name, "report"), markdown=summary_as_markdown(summary), description=path.name
    )
    create_table_artifact(
        key=artifact_key(name, "options"),
        table=[_table_row(row) for row in summary.options],
        description=escaped(str(summary.verdict["sentence"])),
    )
    for what, page in {"run": run_page(run.experiment, run.run_id), **pages}.items():
        link_to_page(tracker.tracking_uri, page, text=f"the {what} in MLflow", key=artifact_key(name, "mlflow", what))
    return summary


def _row_scores(run: RecipeRun, outputs: Mapping[str, Mapping[str, Any]]) -> RowScores:
    snapshot, evaluation = outputs["validate"]["snapshot"], run.recipe.evaluation
    return row_scores(
        outputs["evaluate"]["scorecards"],
        select_records(read_snapshot(run.settings.snapshots, snapshot).split("test"), None),
        metric_identity=metric_identity(evaluation.metric, run.recipe.json_schema),
        confidence=evaluation.confidence,
    )


def _pages(run: RecipeRun, outputs: Mapping[str, Mapping[str, Any]], *, study: str, report: str) -> dict[str, str]:
    """What one looks at in the MLflow UI, by what it is called."""
    scored = run.tracker.run(outputs["evaluate"]["evaluation_run"]).data.tags["mlflow.parentRunId"]
    metric = run.recipe.evaluation.metric
    return {
        "report": run_page(run.experiment, run.run_id, artifact=report),
        "trials": trials_page(run.experiment, study=study),
        "outputs": outputs_page(run.experiment, parent=scored, metric=metric),
    }


def _headline(summary: RunSummary) -> dict[str, float]:
    """The figures by which runs of a recipe are compared in the MLflow UI."""
    values: dict[str, Any] = {
        f"{row.kind}_{row.metric}": row.value for row in sorted(summary.options, key=lambda row: row.value)
    }
    gain = summary.verdict["gain"] or {}
    values |= {f"gain{end}": gain.get(key) for end, key in (("", "difference"), ("_low", "low"), ("_high", "high"))}
    values |= {"net_value": summary.verdict["net_value"], "training_cost": summary.cost["training"]}
    return {key: float(value) for key, value in values.items() if value is not None}


def _option_row(card: Mapping[str, Any]) -> OptionRow:
    estimate = card["estimate"]
    return OptionRow(
        card["name"], card["kind"], card["metric"],
        estimate["value"], estimate["low"], estimate["high"], card["n"], card["groups"], card_figures(card),
    )  # fmt: skip


def _table_row(row: OptionRow) -> dict[str, Any]:
    values = asdict(row)
    return {**values, **values.pop("figures"), "name": escaped(row.name)}


def _decision(decision: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("promote", "alias", "reasons", "champion_version", "look", "alpha_spent", "looks_worse")
    refused_by = dict.fromkeys(gate["name"] for gate in decision["gates"] if not gate["passed"])
    return {**{key: decision[key] for key in keys}, "refused_by": list(refused_by)}


def _model(run: RecipeRun, version: str) -> dict[str, Any]:
    from tasks.registry.mlflow_versions import get_version

    found = get_version(run.tracker, run.recipe.name, version=version)
    return {"name": found.name, "version": found.version, "aliases": list(found.aliases)}


def _cost(run: RecipeRun, outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    card = next(card for card in outputs["evaluate"]["scorecards"] if card["kind"] == "candidate")
    verdict = outputs["promote"]["verdict"]
    return {
        "currency": run.recipe.economics.currency,
        "training": card["training_cost"],
        "saved_by_pruning": card["pruning_saved_cost"],
        "per_1000_requests": card["cost_per_1000_requests"],
        "hosting_per_month": card["hosting_cost_per_month"],
        "machines": card["machines"],
        "net_value": verdict["net_value"],
        "break_even_requests_per_month": verdict["break_even_requests_per_month"],
    }


def _details(run: RecipeRun, outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    decision, chosen = outputs["promote"]["decision"], run.recipe.validation
    suite = load_suite(chosen.suite, chosen.overrides, SUITES_FOLDER)
    lineage = {
        "recipe run": run.run_id,
        "model version": f"{run.recipe.name}/{outputs['promote']['version']}",
        "snapshot": outputs["validate"]["snapshot"],
        "adapter": outputs["search"]["candidate"],
        "suite": outputs["validate"]["suite"],
        "look at this test set": f"{decision['look']}, one-sided alpha spent {decision['alpha_spent']:.4g}",
        "parity": outputs["register"]["parity"]["sentence"],
    }
    study = outputs["search"]["study"]
    importance = parameter_importance(study["trials"], run.recipe.search.space, seed=run.recipe.seed)
    details = report_details(
        outputs,
        comparisons=outputs["promote"]["comparisons"],
        curves=_curves(run, outputs["search"]["study"]),
        table=_table(run, outputs["evaluate"]["evaluation_run"]),
        lineage=lineage,
        requests_per_month=run.recipe.economics.requests_per_month,
        why={name: rule.why for name, rule in suite.rules.items()},
    )
    times = _times(run, study)
    for row, trial in zip(details["trials"], study["trials"], strict=True):
        row["began"], row["ended"] = times.get(trial["name"], (None, None))
    return {
        **details,
        "importance": asdict(importance),
        "ended": study.get("ended", ""),
        "assumptions": assumptions(run.recipe.economics),
    }


def _times(run: RecipeRun, study: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """When each trial of a study that was trained began and ended, in seconds."""
    found = run.tracker.runs(run.experiment, tags={"burnish.study": study["study_name"]})
    return {
        each.data.tags["mlflow.runName"]: (each.info.start_time / 1000, each.info.end_time / 1000)
        for each in found
        if each.info.end_time is not None
    }


def _table(run: RecipeRun, evaluation_run: str) -> dict[str, Any]:
    """Per-row outputs; of a reused evaluation they stand on the run that did it."""
    text = run.tracker.read_text(evaluation_run, "outputs.json")
    table: dict[str, Any] = json.loads(text) if text else {"columns": [], "data": []}
    return table


def _curves(run: RecipeRun, study: Mapping[str, Any]) -> dict[str, list[tuple[int, float]]]:
    metric = f"validation_{run.recipe.evaluation.metric}"
    curves = {}
    for trial in study["trials"]:
        for child in _children(run, trial["name"], study["study_name"])[:1]:
            history = run.tracker.client.get_metric_history(child, metric)
            curves[trial["name"]] = sorted({(point.step, point.value) for point in history})
    return curves


def _children(run: RecipeRun, name: str, identity: str) -> list[str]:
    """Ids of the recipe's child runs of this name and identity, newest first."""
    found = run.tracker.runs(run.experiment, tags={"mlflow.runName": name, "burnish.identity": identity})
    return [each.info.run_id for each in found]
