"""How far a fine-tune has come: what a checkpoint remembers besides weights and optimizer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tasks.training.divergence import RECENT_STEPS


@dataclass
class Progress:
    """Position, best look so far and history. The data position and all randomness follow from `step` and the seed."""

    step: int = 0
    """Optimizer steps done."""
    best_step: int = 0
    """Step of the best validation look; 0 before the first one."""
    best_value: float = 0.0
    """The metric there."""
    looks_without_better: int = 0
    """Validation looks since the best one."""
    first_loss: float | None = None
    recent_losses: list[float] = field(default_factory=list)
    """Of the last `RECENT_STEPS` steps."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """Points `{step, loss, learning_rate}`, the loss averaged since the point before."""
    unreported_losses: list[float] = field(default_factory=list)
    """Losses since the last point of the curve."""
    looks: list[dict[str, float]] = field(default_factory=list)
    """Points `{step, fraction, value, records}`, one for each validation look."""
    trained_records: int = 0
    """Records seen, each pass counted."""
    micro_batch_size: int | None = None
    """Records per forward pass in the newest step; a run goes on with it, so that it goes on bit by bit."""
    seconds: float = 0.0
    """Time spent, that of interrupted attempts up to their last checkpoint included."""

    def note_loss(self, loss: float, *, records: int) -> None:
        """Count one optimizer step."""
        self.step += 1
        self.trained_records += records
        self.first_loss = loss if self.first_loss is None else self.first_loss
        self.recent_losses = [*self.recent_losses, loss][-RECENT_STEPS:]
        self.unreported_losses.append(loss)

    def add_curve_point(self, *, learning_rate: float) -> dict[str, float]:
        """Close a stretch of the curve at this step and return its point."""
        loss = sum(self.unreported_losses) / len(self.unreported_losses)
        self.unreported_losses = []
        self.curve.append({"step": self.step, "loss": loss, "learning_rate": learning_rate})
        return self.curve[-1]

    def note_look(self, value: float, *, steps: int, records: int) -> dict[str, float]:
        """Count one validation look and return its point.

        A metric that is still 0 has no best to defend: the later look counts as better, so that an exact metric
        which starts late doesn't end the training early.
        """
        if self.best_step == 0 or value > self.best_value or value == self.best_value == 0:
            self.best_step, self.best_value, self.looks_without_better = self.step, value, 0
        else:
            self.looks_without_better += 1
        self.looks.append({"step": self.step, "fraction": self.step / steps, "value": value, "records": records})
        return self.looks[-1]

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable copy; Python's floats survive JSON exactly."""
        return asdict(self)
