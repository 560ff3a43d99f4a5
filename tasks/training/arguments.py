"""What the worker job `train` is asked to do, as a value that travels as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from configs.metric_names import Metric
from configs.schema import DIGEST_PATTERN, Section, Template, Training

Digest = Annotated[str, Field(pattern=DIGEST_PATTERN)]


class TrainArguments(Section):
    """One fine-tune. The parent builds it and sends `model_dump(mode="json")`."""

    training: Training
    """The resolved section, search parameters included."""
    template: Template
    """The template to train with."""
    snapshots: Path
    """Directory of the snapshots."""
    snapshot: Digest
    """Which snapshot."""
    labels: tuple[str, ...] | None
    """The closed label set; None: open generation."""
    metric: Metric
    """What the validation looks measure."""
    json_schema: dict[str, Any] | None = None
    """What `json_valid` holds answers against; None: any JSON."""
    decoding: Literal["generate", "label_scoring"]
    """How the validation looks answer."""
    seed: int = Field(ge=0)
    """Of the adapter's first weights, the order of the batches and the dropout."""
    checkpoints: Path
    """Directory of all checkpoints; this run's stand below its key."""
    training_key: Digest
    """From `tasks.training.identity.training_key`."""
    adapters: Path
    """Directory of the finished adapters."""
    max_new_tokens: int = Field(gt=0)
    """Longest answer in a validation look."""
    token_budget: int = Field(gt=0)
    """Tokens answered at once in a validation look."""
    micro_batches: Path | None = None
    """Directory of the micro-batches that fitted; None: nothing is remembered."""
    fine_tunes_on_device: int = Field(default=1, ge=1)
    """How many share its memory, this one included."""
    micro_batch_limit: int | None = Field(default=None, ge=1)
    """Set after an out-of-memory: no larger micro-batch."""

    @model_validator(mode="after")
    def _label_scoring_has_labels(self) -> Self:
        if self.decoding == "label_scoring" and not self.labels:
            raise ValueError("decoding label_scoring needs labels")
        return self

    @property
    def checkpoint_directory(self) -> Path:
        """Where this run's checkpoints stand."""
        return self.checkpoints / self.training_key
