"""One fine-tune by TRL's SFTTrainer on the CPU, timed: the other side of `benchmarks.training_speed`, which starts it.

`python -m benchmarks.trl_trainer REQUEST` reads a `TrlRequest` as JSON and prints what came of it as JSON on its last
line. The trainer gets the tokens, the adapter's shape and the learning rates of Burnish's own fine-tune; all else is
TRL's, its optimizer, dropout, loss and batches included.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import save_file
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from benchmarks.training_speed import TrlRequest, TrlSettings
from configs.schema import Training
from tasks.data.snapshots import read_snapshot
from tasks.data.templates import render
from tasks.data.tokens import encode
from tasks.models.loading import LoadedBase, load_base
from tasks.training.adapters import adapter_weights, target_modules, write_adapter
from tasks.training.arguments import TrainArguments
from tasks.training.batches import epoch_batches
from tasks.training.schedule import learning_rate_factor

_NO_LABEL = -100


class SameSchedule(SFTTrainer):  # type: ignore[misc]  # mypy is told not to follow trl
    """The trainer with Burnish's learning rates: its own begins at 0, which would waste the first step."""

    training: Training

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return the schedule over so many steps."""

        def factor(step: int) -> float:
            return learning_rate_factor(
                min(step, num_training_steps - 1),  # it is asked for once more after the last step
                steps=num_training_steps,
                schedule=self.training.schedule,
                warmup_fraction=self.training.warmup_fraction,
            )

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)
        return self.lr_scheduler


class Clock(TrainerCallback):  # type: ignore[misc]  # nor transformers
    """When each optimizer step ended."""

    def __init__(self) -> None:
        self.step_ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self.step_ends.append(time.perf_counter())


def fine_tune(request: TrlRequest) -> dict[str, Any]:
    """Train, write the adapter as Burnish reads it, and return the result.

    Returns:
        `records_per_second` without the first step, `seconds` of the whole training, `loss` (mean of all steps),
        `adapter` (digest) and `losses` (of each step, where the request is for batches in Burnish's order).
    """
    wanted = TrainArguments.model_validate(request.arguments)
    torch.set_num_threads(request.threads)
    loaded = load_base(Path(request.base_directory), precision=request.settings.precision, device="cpu")
    loaded.model.set_attn_implementation(request.settings.attention)
    rows = _rows(loaded, wanted, limit=request.limit)
    if request.in_order:
        rows = rows.select(_order(rows, wanted))
    clock = Clock()
    torch.manual_seed(wanted.seed)  # the adapter's first weights
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SameSchedule(
            loaded.model,
            args=_config(wanted, request.settings, Path(scratch), in_order=request.in_order),
            train_dataset=rows,
            processing_class=loaded.tokenizer,
            peft_config=_lora(loaded, wanted.training),
            callbacks=[clock],
        )
        trainer.training = wanted.training
        metrics = trainer.train().metrics
        weights_file = Path(scratch) / "weights.safetensors"
        save_file(adapter_weights(trainer.model), weights_file, metadata={"format": "pt"})
        adapter = write_adapter(
            wanted.adapters, trainer.model, weights_file=weights_file, base_digest=loaded.digest, about={}
        )
    timed = len(rows) - wanted.training.batch_size
    return {
        "records_per_second": timed / (clock.step_ends[-1] - clock.step_ends[0]),
        "seconds": metrics["train_runtime"],
        "loss": metrics["train_loss"],
        "adapter": adapter,
        "losses": [point["loss"] for point in trainer.state.log_history if "loss" in point],
    }


def _order(rows: Dataset, wanted: TrainArguments) -> list[int]:
    """Return the rows as Burnish takes them in its first epoch."""
    lengths = [len(row) for row in rows["input_ids"]]
    batches = epoch_batches(lengths, batch_size=wanted.training.batch_size, seed=wanted.seed, epoch=0)
    return [index for batch in batches for index in batch]


def _rows(loaded: LoadedBase, wanted: TrainArguments, *, limit: int | None) -> Dataset:
    """The training records as tokens, labels on the completions alone."""
    rows = []
    for record in read_snapshot(wanted.snapshots, wanted.snapshot).split("train")[:limit]:
        rendered = render(wanted.template, record, tokenizer=loaded.tokenizer)
        encoded = encode(loaded.tokenizer, rendered, wanted.template.max_tokens)
        labels = [_NO_LABEL] * len(encoded.prompt_ids) + encoded.completion_ids
        rows.append({"input_ids": encoded.prompt_ids + encoded.completion_ids, "labels": labels})
    return Dataset.from_list(rows)


def _lora(loaded: LoadedBase, training: Training) -> LoraConfig:
    return LoraConfig(
        r=training.lora_rank,
        lora_alpha=training.lora_alpha,
        lora_dropout=training.lora_dropout,
        target_modules=target_modules(loaded.model, training.target_modules, layers=training.layers),
        bias="none",
        task_type="CAUSAL_LM",
    )


def _config(wanted: TrainArguments, settings: TrlSettings, scratch: Path, *, in_order: bool) -> SFTConfig:
    training = wanted.training
    sampling = "group_by_length" if settings.batches == "by length" else "random"
    return SFTConfig(
        str(scratch),
        per_device_train_batch_size=training.batch_size // settings.accumulation,
        gradient_accumulation_steps=settings.accumulation,
        num_train_epochs=training.epochs,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_gradient_norm,
        seed=wanted.seed,
        bf16=settings.precision == "bf16",
        train_sampling_strategy="sequential" if in_order else sampling,
        padding_free=settings.batches == "padding-free",
        torch_compile=settings.compiled,
        gradient_checkpointing=False,  # TRL's default saves memory and costs time
        max_length=None,  # the records are cut already
        use_cpu=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="steps" if in_order else "no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
    )


def main() -> None:
    """Run the request."""
    values = json.loads(sys.argv[1])
    result = fine_tune(TrlRequest(**{**values, "settings": TrlSettings(**values["settings"])}))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
