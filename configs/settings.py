"""Where state lives and which servers are used: read once from the environment, then passed along."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.errors import RecipeError


@dataclass(frozen=True)
class Settings:
    """The places of one installation. `home` holds private data: mode 0700, files 0600."""

    home: Path
    tracking_uri: str
    """MLflow tracking and registry."""
    study_url: str
    """SQLAlchemy URL of the Optuna database."""
    prefect_api_url: str | None
    """A running Prefect server; None starts a temporary one."""
    training_slots: int = 1
    """How many fine-tunes may run at once in this home: one for each GPU, or they fight for one."""

    @property
    def snapshots(self) -> Path:
        """`<digest>/`: records.parquet and manifest."""
        return self.home / "snapshots"

    @property
    def bases(self) -> Path:
        """`<digest>/`: base models in Hugging Face layout."""
        return self.home / "bases"

    @property
    def adapters(self) -> Path:
        """`<digest>/`: adapter_model.safetensors and adapter_config.json."""
        return self.home / "adapters"

    @property
    def checkpoints(self) -> Path:
        """`<training key>/step-<n>/`: resumable training state."""
        return self.home / "checkpoints"

    @property
    def answers(self) -> Path:
        """`<digest>/`: answers.parquet of one option on one split."""
        return self.home / "answers"

    @property
    def references(self) -> Path:
        """`<digest>/`: what the trainer's own model says to the records of a parity check."""
        return self.home / "references"

    @property
    def quarantine(self) -> Path:
        """`<snapshot digest>-<suite>/`: rows that a rule stopped or dropped."""
        return self.home / "quarantine"

    @property
    def watched(self) -> Path:
        """`<recipe>.json`: what the watcher saw of a recipe's source when it last looked."""
        return self.home / "watch"

    @property
    def file_digests(self) -> Path:
        """Digests of source files, remembered by size and times so that an untouched file is not read again."""
        return self.home / "file-digests"

    @property
    def reports(self) -> Path:
        """`<recipe>.html`: the latest report of each recipe."""
        return self.home / "reports"


def settings_from(environment: Mapping[str, str] | None = None, *, project_root: Path) -> Settings:
    """Read the settings; `BURNISH_HOME` defaults to `.burnish/` in the recipe's project root."""
    environment = os.environ if environment is None else environment
    home = Path(environment.get("BURNISH_HOME") or project_root / ".burnish").expanduser().absolute()
    return Settings(
        home=home,
        tracking_uri=environment.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}",
        study_url=environment.get("BURNISH_STUDY_URL") or f"sqlite:///{home / 'optuna.db'}",
        prefect_api_url=environment.get("PREFECT_API_URL") or None,
        training_slots=_training_slots(environment.get("BURNISH_TRAINING_SLOTS") or "1"),
    )


def check_home(settings: Settings) -> None:
    """Refuse a home that isn't there, for commands that only read; a server elsewhere needs none.

    Raises:
        RecipeError: it isn't there, so its path is mistyped, or nothing was run in it yet.
    """
    if settings.tracking_uri.startswith("sqlite:") and not settings.home.is_dir():
        raise RecipeError(
            f"no Burnish home at {settings.home}; correct BURNISH_HOME, or run `burnish finetune --recipe FILE` first"
        )


def _training_slots(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 64:
        raise RecipeError(f"BURNISH_TRAINING_SLOTS must be a whole number from 1 to 64, got {text!r}")
    return int(text)


def nearest_project_root(folder: Path, *, must_exist: bool) -> Path:
    """The folder at or above `folder` that holds `.burnish/`; BURNISH_HOME makes the answer unimportant.

    Raises:
        RecipeError: there is none, and one must exist.
    """
    for candidate in (folder, *folder.parents):
        if (candidate / ".burnish").is_dir():
            return candidate
    if must_exist and not os.environ.get("BURNISH_HOME"):
        raise RecipeError(
            f"no .burnish folder in {folder} or above; go to the project of the recipe, or set BURNISH_HOME"
        )
    return folder
