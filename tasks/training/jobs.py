"""The worker job `train`: one fine-tune on the base that the worker holds."""

from __future__ import annotations

from typing import Any

from tasks.data.records import Record
from tasks.data.snapshots import read_snapshot
from tasks.data.templates import render
from tasks.data.tokens import encode
from tasks.inference.answering import pad_token_id
from tasks.inference.answers import select_records
from tasks.models.loading import LoadedBase
from tasks.storage.processes import peak_rss_mb
from tasks.training.adapters import fresh_adapter, write_adapter
from tasks.training.arguments import TrainArguments
from tasks.training.batches import Example
from tasks.training.checkpoints import WEIGHTS, step_directory
from tasks.training.device_memory import peak_mb, reset_peak
from tasks.training.engine import FineTune, Outcome, Plan, Report
from tasks.training.label_loss import check_label_logits
from tasks.training.memory_plan import settle_memory
from tasks.training.packing import row_tokens
from tasks.training.validation_look import make_look

_CHECKPOINT_SECONDS = 120.0
"""At most this much work is lost to a kill when validation looks are far apart."""


def train(loaded: LoadedBase, arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Fine-tune an adapter, or go on with an interrupted one, and write the best of it to the adapters.

    Reports `{"kind": "memory", step, micro_batch_size, memory_predicted_mb, memory_free_mb, advice}` before the first
    step that it takes (`step` of them were taken before an interruption), `{"kind": "step", step, steps, loss,
    learning_rate, records_per_second, seconds_left}` and `{"kind": "validation", step, fraction, value, records,
    replayed}`; when the latter is answered with False, the run ends as pruned.

    Args:
        loaded: the base; it is plain again afterwards.
        arguments: `TrainArguments` as JSON.
        report: sends values to the parent.

    Returns:
        state (`finished` or `pruned`), adapter (digest; None when pruned), best_value, best_step, steps,
        trained_records, seconds, stopped_early, curve, looks, memory_peak_mb (of this job,
        on its device) and peak_rss_mb (of the process).

    Raises:
        TrainingDiverged: a loss or a gradient is not finite, or the loss has grown out of bounds.
    """
    wanted = TrainArguments.model_validate(arguments)
    reset_peak(loaded.device)
    snapshot = read_snapshot(wanted.snapshots, wanted.snapshot)
    examples = [_example(loaded, record, wanted) for record in snapshot.split("train")]
    chosen = select_records(snapshot.split("validation"), wanted.training.max_validation_records)
    pad_id = pad_token_id(loaded)
    check_label_logits(loaded.model, examples[0], pad_id=pad_id, device=loaded.device)
    width = row_tokens(loaded, wanted.training, examples, pad_id=pad_id)
    with fresh_adapter(loaded, wanted.training, seed=wanted.seed) as adapted:
        micro_batch_size = settle_memory(
            loaded, adapted, wanted, examples=examples, look=chosen, row_tokens=width, report=report
        )
        plan = Plan(
            training=wanted.training,
            examples=examples,
            validate=make_look(loaded, chosen, wanted),
            validation_records=len(chosen),
            seed=wanted.seed,
            pad_id=pad_id,
            checkpoints=wanted.checkpoint_directory,
            micro_batch_size=micro_batch_size,
            row_tokens=width,
            checkpoint_seconds=_CHECKPOINT_SECONDS,
        )
        outcome = FineTune(loaded, adapted, plan=plan, report=report).run()
        progress = outcome.progress
        adapter = None
        if outcome.state == "finished":
            adapter = write_adapter(
                wanted.adapters,
                adapted,
                weights_file=step_directory(plan.checkpoints, progress.best_step) / WEIGHTS,
                base_digest=loaded.digest,
                about={"metrics": {wanted.metric: progress.best_value}},
            )
    return {**_result(outcome, adapter=adapter), "memory_peak_mb": peak_mb(loaded.device)}


def _example(loaded: LoadedBase, record: Record, arguments: TrainArguments) -> Example:
    rendered = render(arguments.template, record, tokenizer=loaded.tokenizer)
    encoded = encode(loaded.tokenizer, rendered, arguments.template.max_tokens)
    return Example(tuple(encoded.prompt_ids), tuple(encoded.completion_ids), encoded.trained)


def _result(outcome: Outcome, *, adapter: str | None) -> dict[str, Any]:
    progress = outcome.progress
    return {
        "state": outcome.state,
        "adapter": adapter,
        "best_value": progress.best_value,
        "best_step": progress.best_step,
        "steps": progress.step,
        "trained_records": progress.trained_records,
        "seconds": progress.seconds,
        "stopped_early": outcome.stopped_early,
        "curve": progress.curve,
        "looks": progress.looks,
        "peak_rss_mb": peak_rss_mb(),
    }
