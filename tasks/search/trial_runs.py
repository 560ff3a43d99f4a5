"""Each trial and confirmation as a child run in MLflow: parameters, curves by step, how it ended; in Prefect, a bar."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from tasks.search.budget import trial_budget
from tasks.search.results import TrialRequest, TrialRow
from tasks.search.space import shown_parameters
from tasks.search.study_runner import TrialCallbacks
from tasks.storage.lease import check_lease
from tasks.tracking.mlflow_runs import CHILD_IDENTITY, MetricRow
from tasks.tracking.prefect_artifacts import ProgressBar, artifact_key
from tasks.tracking.recipe_run import RecipeRun
from tasks.tracking.shown_text import escaped

log = logging.getLogger("burnish")

_LOG_EVERY_SECONDS = 10.0


class TrialRuns:
    """Puts what a study does on record; called from the slots' threads, each with fine-tunes of its own."""

    def __init__(self, run: RecipeRun, snapshot: str, study_name: str) -> None:
        self._run, self._snapshot, self._study_name = run, snapshot, study_name
        self._metric = run.recipe.evaluation.metric
        self._validation = f"validation_{self._metric}"
        self._budget = trial_budget(run.recipe.search)
        self._bar = ProgressBar(artifact_key(run.recipe.name, "search"), f"search: {self._budget} trials")
        self._ended: dict[str, TrialRow] = {}
        self._children: dict[str, str] = {}
        self._last_line: dict[str, float] = {}
        self._on_record: dict[tuple[str, str], int] = {}

    def callbacks(self) -> TrialCallbacks:
        """What the study calls."""
        return TrialCallbacks(on_trial_started=self._start, on_step=self._step, on_trial_ended=self._end)

    def _start(self, request: TrialRequest) -> None:
        check_lease(self._run.recipe.name)
        tracker, child = self._run.tracker, self._child_of(request.name)
        tracker.log_params(child, {**request.training.model_dump(mode="json"), "seed": request.seed})
        for key in ("loss", self._validation):
            self._on_record[request.name, key] = tracker.last_step(child, key)
        log.info("  %s starts: %s", request.name, shown_parameters(request.parameters) or "the recipe's own values")

    def _step(self, request: TrialRequest, report: Mapping[str, Any]) -> None:
        step = report["step"]
        if report["kind"] == "memory":
            if step > 0:
                log.info("  %s goes on from step %d", request.name, step)
            self._note_memory(request, report)
            return
        if report["kind"] == "validation":
            check_lease(self._run.recipe.name)
            rows = [MetricRow(self._validation, report["value"], step)]
        else:
            rows = [MetricRow(key, report[key], step) for key in ("loss", "learning_rate", "records_per_second")]
        # a fine-tune that was interrupted does some steps again, and replays its looks: each is put on record once
        if step > self._on_record[request.name, rows[0].key]:
            self._run.tracker.log_metrics_batch(self._child_of(request.name), rows)
            self._on_record[request.name, rows[0].key] = step
        if not report.get("replayed"):
            self._tell(request, report)

    def _note_memory(self, request: TrialRequest, report: Mapping[str, Any]) -> None:
        """Put the predicted peak and the micro-batch on record, and warn where memory is short.

        As tags: as metrics they would stand among the curves by which trials are compared.
        """
        keys = ("memory_predicted_mb", "micro_batch_size")
        tags = {f"burnish.{key}": f"{report[key]:.0f}" for key in keys}
        self._run.tracker.set_tags(self._child_of(request.name), tags)
        if report["advice"]:
            log.warning("  %s", report["advice"])

    def _tell(self, request: TrialRequest, report: Mapping[str, Any]) -> None:
        if report["kind"] == "validation":
            log.info("  %s step %d: validation %.3f", request.name, report["step"], report["value"])
        elif time.monotonic() - self._last_line.get(request.name, 0.0) > _LOG_EVERY_SECONDS:
            self._last_line[request.name] = time.monotonic()
            log.info(
                "  %s step %d/%d: loss %.3f nats a token, %.1f records/s, %.0f s left",
                request.name, report["step"], report["steps"], report["loss"],
                report["records_per_second"], report["seconds_left"],
            )  # fmt: skip

    def _end(self, row: TrialRow) -> None:
        if row.name in self._children or not self._is_on_record(row):
            self._put_on_record(row)
        value = "no value" if row.value is None else f"{row.value:.3f}"
        log.info("  %s %s: %s", row.name, row.state, row.reason or value)
        self._ended[row.name] = row
        best = max((each.value for each in self._ended.values() if each.value is not None), default=None)
        count = len(self._ended)
        self._bar.show(count / self._budget, f"{count} fine-tunes ended, {self._budget} trials planned, best {best}")

    def _put_on_record(self, row: TrialRow) -> None:
        tracker, child = self._run.tracker, self._child_of(row.name)
        values = {"validation_best": row.value, "training_seconds": row.seconds}
        rows = [MetricRow(key, value, row.steps) for key, value in values.items() if value is not None]
        tracker.log_metrics_batch(child, rows)
        tags = {
            "burnish.state": row.state,
            "burnish.adapter": row.adapter or "",
            "burnish.machine_seconds": f"{row.machine_seconds:.1f}",  # a metric would be a chart before the curves
        }
        if row.memory_peak_mb is not None:
            tags["burnish.memory_peak_mb"] = f"{row.memory_peak_mb:.0f}"
        tracker.set_tags(child, tags)
        tracker.describe(child, _outcome(row, self._metric))
        tracker.finish(child, "FAILED" if row.state in ("failed", "refused") else "FINISHED")

    def _is_on_record(self, row: TrialRow) -> bool:
        wanted = {"mlflow.runName": row.name, CHILD_IDENTITY: self._study_name, "burnish.state": row.state}
        found = self._run.tracker.runs(self._run.experiment, tags=wanted)
        return any(each.info.status in ("FINISHED", "FAILED") for each in found)

    def _child_of(self, name: str) -> str:
        if name not in self._children:
            self._children[name] = self._run.child(
                name, kind="trial" if name.startswith("trial/") else "confirmation", snapshot=self._snapshot,
                identity=self._study_name, tags={"burnish.study": self._study_name}, of_any_parent=True,
            )  # fmt: skip
        return self._children[name]


def _outcome(row: TrialRow, metric: str) -> str:
    """How a fine-tune ended, as Markdown."""
    best = f", best validation {escaped(metric)} {row.value:.3f}" if row.value is not None else ""
    reason = f": {escaped(row.reason)}" if row.reason else ""
    return f"**{row.state}**{reason}{best}, {row.steps} steps in {row.seconds:.0f} s"
