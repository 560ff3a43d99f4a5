"""The fine-tune's own loop: steps, validation looks, checkpoints, early stopping, resume. One path for CPU and GPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from configs.schema import Training
from tasks.models.loading import LoadedBase
from tasks.storage.faults import run_out_of_memory
from tasks.training.activation_checkpointing import activations_recomputed
from tasks.training.adapters import adapter_weights, restore_adapter_weights, trainable_parameters
from tasks.training.batches import Example, batches_per_epoch, epoch_batches
from tasks.training.checkpoints import Checkpoint, newest_checkpoint, save_checkpoint
from tasks.training.divergence import diverged, divergence_reason
from tasks.training.dropout import dropout_active
from tasks.training.embedding_noise import embedding_noise
from tasks.training.optimizer import accumulate_gradients, clip_gradients, make_optimizer, take_step
from tasks.training.progress import Progress
from tasks.training.schedule import learning_rate_factor, look_steps

if TYPE_CHECKING:
    from peft import PeftModel

Report = Callable[[dict[str, Any]], bool]
"""Sends values to the parent process; False after a validation look says that this trial shall end."""

_CURVE_POINTS = 200
"""Step reports of one fine-tune, at most about this many."""


@dataclass(frozen=True)
class Plan:
    """What stays the same during one fine-tune."""

    training: Training
    examples: Sequence[Example]
    validate: Callable[[], float]
    """Returns the metric of the model as it is now, on the validation records."""
    validation_records: int
    seed: int
    pad_id: int
    checkpoints: Path
    """This run's own directory."""
    micro_batch_size: int | None
    """Records per forward pass; None: the whole batch."""
    row_tokens: int
    """Width of the rows that records of a pass share; 0: each has its own."""
    checkpoint_seconds: float
    """Write a checkpoint between two looks when the last one is older."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the training records."""
        return batches_per_epoch(len(self.examples), self.training.batch_size)

    @property
    def steps(self) -> int:
        """All optimizer steps."""
        return self.steps_per_epoch * self.training.epochs


@dataclass(frozen=True)
class Outcome:
    """How a fine-tune ended."""

    state: Literal["finished", "pruned"]
    progress: Progress
    stopped_early: bool


class FineTune:
    """One fine-tune of an adapted model, from the start or from its newest valid checkpoint."""

    def __init__(self, loaded: LoadedBase, adapted: PeftModel, *, plan: Plan, report: Report) -> None:
        self._loaded, self._adapted, self._plan, self._report = loaded, adapted, plan, report
        self._parameters = trainable_parameters(adapted)
        self._optimizer = make_optimizer(self._parameters, plan.training)
        self._looks = frozenset(look_steps(plan.steps, evaluations=plan.training.evaluations))
        self._guessing_loss = math.log(loaded.model.get_output_embeddings().weight.shape[0])
        self._progress = Progress()
        self._clock = _Clock(self._progress)
        self._batches: tuple[int, list[list[int]]] = (-1, [])

    def run(self) -> Outcome:
        """Train to the end, to early stopping or to pruning.

        Raises:
            TrainingDiverged: a loss or a gradient is not finite, or the loss has grown out of bounds.
        """
        self._resume()
        self._progress.micro_batch_size = self._plan.micro_batch_size
        pruned = not self._replay_looks()
        while not (pruned or self._is_done()):
            pruned = not self._advance()
        self._clock.stop(self._progress)
        stopped_early = not pruned and self._progress.step < self._plan.steps
        return Outcome("pruned" if pruned else "finished", self._progress, stopped_early)

    def _resume(self) -> None:
        checkpoint = newest_checkpoint(self._plan.checkpoints)
        if checkpoint is None:
            return
        restore_adapter_weights(self._adapted, checkpoint.weights)
        self._optimizer.load_state_dict(checkpoint.optimizer)
        self._progress = checkpoint.progress
        self._clock = _Clock(self._progress)

    def _replay_looks(self) -> bool:
        """Report the looks of an interrupted attempt again: the parent may follow this run under a new number."""
        return all(self._report({"kind": "validation", **look, "replayed": True}) for look in self._progress.looks)

    def _is_done(self) -> bool:
        out_of_patience = self._progress.looks_without_better >= self._plan.training.early_stopping_patience
        return out_of_patience or self._progress.step >= self._plan.steps

    def _advance(self) -> bool:
        """Take one step, with the look, the reports and the checkpoint that fall due; False when pruned."""
        learning_rate = self._step()
        step = self._progress.step
        look_due = step in self._looks
        if look_due or step % max(1, self._plan.steps // _CURVE_POINTS) == 0:
            self._report_step(self._progress.add_curve_point(learning_rate=learning_rate))
        if look_due:
            return self._look()
        if self._clock.seconds_since_checkpoint >= self._plan.checkpoint_seconds:
            self._save()
        return True

    def _step(self) -> float:
        """Take one optimizer step and return its learning rate."""
        training, step = self._plan.training, self._progress.step
        learning_rate = training.learning_rate * learning_rate_factor(
            step, steps=self._plan.steps, schedule=training.schedule, warmup_fraction=training.warmup_fraction
        )
        batch = [self._plan.examples[index] for index in self._batch(step)]
        run_out_of_memory(step, micro_batch_size=self._plan.micro_batch_size or len(batch))
        with training_mode(self._loaded, self._adapted, training, batch=batch, seed=_step_seed(self._plan.seed, step)):
            loss = accumulate_gradients(
                self._loaded,
                batch,
                micro_batch_size=self._plan.micro_batch_size,
                pad_id=self._plan.pad_id,
                row_tokens=self._plan.row_tokens,
                label_smoothing=training.label_smoothing,
            )
        norm = clip_gradients(self._parameters, training.max_gradient_norm)
        self._progress.note_loss(loss, records=len(batch))
        self._check_divergence(norm, learning_rate=learning_rate)
        take_step(self._optimizer, learning_rate=learning_rate)
        return learning_rate

    def _batch(self, step: int) -> list[int]:
        epoch, position = divmod(step, self._plan.steps_per_epoch)
        if self._batches[0] != epoch:
            lengths = [example.length for example in self._plan.examples]
            batches = epoch_batches(
                lengths, batch_size=self._plan.training.batch_size, seed=self._plan.seed, epoch=epoch
            )
            self._batches = (epoch, batches)
        return self._batches[1][position]

    def _check_divergence(self, gradient_norm: float, *, learning_rate: float) -> None:
        progress = self._progress
        reason = divergence_reason(
            first_loss=progress.recent_losses[0] if progress.first_loss is None else progress.first_loss,
            recent_losses=progress.recent_losses,
            gradient_norm=gradient_norm,
            guessing_loss=self._guessing_loss,
        )
        if reason is not None:
            raise diverged(reason, step=progress.step, learning_rate=learning_rate)

    def _look(self) -> bool:
        value = self._plan.validate()
        look = self._progress.note_look(value, steps=self._plan.steps, records=self._plan.validation_records)
        self._save()
        return self._report({"kind": "validation", **look, "replayed": False})

    def _save(self) -> None:
        self._clock.stop(self._progress)
        weights = adapter_weights(self._adapted)
        save_checkpoint(
            self._plan.checkpoints, Checkpoint(weights, self._optimizer.state_dict(), progress=self._progress)
        )
        self._clock.note_checkpoint()

    def _report_step(self, point: dict[str, float]) -> None:
        done, left = self._progress.step, self._plan.steps - self._progress.step
        seconds_per_step = self._clock.seconds / max(1, done - self._clock.first_step)
        rate = (self._progress.trained_records - self._clock.first_record) / max(self._clock.seconds, 1e-9)
        self._report(
            {
                "kind": "step",
                **point,
                "steps": self._plan.steps,
                "records_per_second": rate,
                "seconds_left": left * seconds_per_step,
            }
        )


@contextmanager
def training_mode(
    loaded: LoadedBase, adapted: PeftModel, training: Training, *, batch: Sequence[Example], seed: int
) -> Iterator[None]:
    """What is so in a step and not in a look, for the block: dropout, noise, activations that are not kept."""
    lengths = [example.length - 1 for example in batch]  # the last token is only a label
    with (
        dropout_active(adapted, seed=seed),
        embedding_noise(loaded.model, alpha=training.neftune_alpha, lengths=lengths, seed=seed),
        activations_recomputed(loaded.model, enabled=training.activation_checkpointing),
    ):
        yield


class _Clock:
    """Time of this attempt; earlier attempts' time stands in the progress."""

    def __init__(self, progress: Progress) -> None:
        self._earlier_seconds = progress.seconds
        self.first_step, self.first_record = progress.step, progress.trained_records
        self._start = self._checkpoint = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since this attempt began, validation looks included."""
        return time.monotonic() - self._start

    @property
    def seconds_since_checkpoint(self) -> float:
        """Since the last checkpoint, or since this attempt began."""
        return time.monotonic() - self._checkpoint

    def note_checkpoint(self) -> None:
        """A checkpoint was written just now."""
        self._checkpoint = time.monotonic()

    def stop(self, progress: Progress) -> None:
        """Write the time spent so far into the progress."""
        progress.seconds = self._earlier_seconds + self.seconds


def _step_seed(seed: int, step: int) -> int:
    """Of the dropout and the noise of one step: with it, a resumed run does what an unbroken one does."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])
