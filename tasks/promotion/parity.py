"""Parity: the registered version, loaded in a fresh process without Burnish, says what the trainer's model says."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import RegistryError
from configs.schema import Precision
from tasks.data.chat_messages import message_of
from tasks.data.records import Record
from tasks.models.hardware import detect_hardware, threads_per_slot, unused_libraries
from tasks.promotion.parity_process import NO_TOKEN
from tasks.storage.child_process import child_environment
from tasks.storage.durable import make_private_directory
from tasks.storage.processes import run_to_end

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker

Arrays = Mapping[str, NDArray[Any]]
LabelMargins = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""Takes record ids and a label for each; returns how far below its best label the trainer scores it."""
_SCRIPT = Path(__file__).with_name("parity_process.py")
_BURNISH = ("flows", "tasks", "configs", "expectations", "serving")
_RUNS = ("1", "n")
_SHOWN_RECORDS = 20


@dataclass(frozen=True)
class ParityResult:
    """What the comparison found."""

    passed: bool
    tolerance: float
    """Largest allowed difference of a logit."""
    worst_difference: float | None
    """Largest difference found; None where the version couldn't be asked, or said something that isn't a number."""
    differing: tuple[str, ...]
    """Ids of the records that differ."""
    reason: str
    """Why the version failed, or what was compared."""

    def sentence(self) -> str:
        """Say the result in one line for a tag or a person."""
        shown = ", ".join(self.differing[:_SHOWN_RECORDS])
        more = f" and {len(self.differing) - _SHOWN_RECORDS} more" if len(self.differing) > _SHOWN_RECORDS else ""
        return f"parity {'passed' if self.passed else 'failed'}: {self.reason}" + (
            f"; records {shown}{more}" if self.differing else ""
        )


def check_parity(
    tracker: Tracker,
    name: str,
    *,
    version: str,
    records: Sequence[Record],
    reference: Path,
    labels: Sequence[str] | None,
    label_margins: LabelMargins,
    precision: Precision,
    tolerance: float,
    batch_size: int,
) -> ParityResult:
    """Ask a registered version for the records' logits and answers, and compare them with the trainer's.

    Args:
        tracker: the door to MLflow.
        name: registered model.
        version: which of its versions.
        records: those of the reference, in its order.
        reference: the file that the worker job `tasks.inference.reference:logits` left.
        labels: the closed set that the version chooses from by label scoring; None: it generates.
        label_margins: asked only about records for which version and trainer choose another label.
        precision: of the version's base; libraries that it has no use for count as not installed.
        tolerance: largest allowed difference of a logit.
        batch_size: rows at once in the second of the two runs; the first takes one row at a time.

    Raises:
        RegistryError: the process died, or the reference is about other records.
    """
    with np.load(reference, allow_pickle=False) as stored:
        expected = {key: stored[key] for key in stored.files}
    ids = [record.record_id for record in records]
    if ids != [str(record_id) for record_id in expected["record_ids"]]:
        raise RegistryError("the parity check's records are not those of the trainer's reference; make it anew")
    job = {
        "name": name,
        "version": version,
        "rows": [_row(record) for record in records],
        "batch_size": batch_size,
        "labels": list(labels) if labels else None,
        "blocked": _BURNISH,
        "hidden": unused_libraries(precision),
    }
    said = _ask_in_fresh_process(job, tracker.tracking_uri, scratch=tracker.home / "parity")
    if isinstance(said, str):
        return ParityResult(False, tolerance, None, (), f"the version can't be loaded or run: {said}")
    margins = np.zeros(len(ids))
    if labels:
        others = np.flatnonzero(said["labels"] != expected["labels"])
        if others.size:
            margins[others] = label_margins(
                [ids[row] for row in others], [labels[said["labels"][row]] for row in others]
            )
    return compare(expected, said, ids=ids, margins=margins, tolerance=tolerance)


def compare(
    expected: Arrays, said: Arrays, *, ids: Sequence[str], margins: NDArray[np.float64], tolerance: float
) -> ParityResult:
    """Compare first-step logits and greedy tokens, of batch 1 and of batch n, and the labels chosen.

    A record differs when a logit is off by more than the tolerance, when its first differing token comes where the
    trainer's two best tokens are not closer to each other than the tolerance, or when another label is chosen that the
    trainer scores lower than its best by the tolerance or more.

    Args:
        expected: `tokens`, `best_two`, `top_ids` and `top_logits` of both runs, as the trainer's reference has them.
        said: `tokens` and `logits` (of the whole vocabulary) of both runs.
        ids: the records.
        margins: [records] how far below its best label the trainer scores the label that the version chose.
        tolerance: see above.
    """
    differences = np.max([_logit_differences(expected, said, run) for run in _RUNS], axis=0)
    tokens_differ = np.any([_tokens_differ(expected, said, run, tolerance=tolerance) for run in _RUNS], axis=0)
    far_off = ~(differences <= tolerance)
    bad = far_off | tokens_differ | (margins >= tolerance)
    differing = tuple(record_id for record_id, differs in zip(ids, bad, strict=True) if differs)
    worst = float(differences.max())
    reason = f"{len(ids)} records, one at a time and in batches, logits within {worst:.4g} (allowed {tolerance:g})"
    if far_off.any():
        reason = f"logits differ by up to {worst:.4g} (allowed {tolerance:g})"
    elif differing:
        reason = f"other answers are chosen, though logits differ by {worst:.4g} at most (allowed {tolerance:g})"
    return ParityResult(not differing, tolerance, worst if np.isfinite(worst) else None, differing, reason)


def _logit_differences(expected: Arrays, said: Arrays, run: str) -> NDArray[np.float64]:
    """Return each record's largest difference over the trainer's kept logits; infinite where a token isn't there."""
    ids, logits = expected[f"top_ids_{run}"], said[f"logits_{run}"]
    if ids.max() >= logits.shape[1]:
        return np.full(len(ids), np.inf)
    found = np.take_along_axis(logits, ids, axis=1)
    difference = np.abs(found.astype(np.float64) - expected[f"top_logits_{run}"]).max(axis=1)
    return np.asarray(np.where(np.isnan(difference), np.inf, difference))


def _tokens_differ(expected: Arrays, said: Arrays, run: str, *, tolerance: float) -> NDArray[np.bool_]:
    """Return for each record whether another token was chosen where the trainer's choice was clear."""
    wanted, chosen = expected[f"tokens_{run}"], said[f"tokens_{run}"]
    steps = max(wanted.shape[1], chosen.shape[1])
    unequal = _widened(wanted, steps) != _widened(chosen, steps)
    best_two = expected[f"best_two_{run}"]
    margins = np.full((len(wanted), steps), np.inf)
    margins[:, : best_two.shape[1]] = np.nan_to_num(best_two[:, :, 0] - best_two[:, :, 1], nan=np.inf)
    first = unequal.argmax(axis=1)
    clear = margins[np.arange(len(first)), first] >= tolerance
    return np.asarray(unequal.any(axis=1) & clear)


def _widened(tokens: NDArray[Any], steps: int) -> NDArray[Any]:
    return np.pad(tokens, ((0, 0), (0, steps - tokens.shape[1])), constant_values=NO_TOKEN)


def _row(record: Record) -> dict[str, str]:
    turns = [message_of(turn) for turn in record.turns]
    row = {**record.metadata, "prompt": record.prompt, "messages": json.dumps(turns, ensure_ascii=False)}
    return row if record.tools is None else {**row, "tools": record.tools}


def _ask_in_fresh_process(job: Mapping[str, Any], tracking_uri: str, *, scratch: Path) -> Arrays | str:
    """Run the script in an empty folder with `python -I`; return what it said, or why the version was refused."""
    make_private_directory(scratch)
    with tempfile.TemporaryDirectory(prefix=".tmp-parity-", dir=scratch) as name:
        folder = Path(name)
        shutil.copyfile(_SCRIPT, folder / _SCRIPT.name)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        _run(folder, tracking_uri)
        if (folder / "refused.json").is_file():
            return str(json.loads((folder / "refused.json").read_text(encoding="utf-8"))["reason"])
        with np.load(folder / "answers.npz", allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}


def _environment(tracking_uri: str) -> dict[str, str]:
    """The environment of a worker, with MLflow's address, which may hold a password; `-I` ignores the search path."""
    return {**child_environment(threads_per_slot(detect_hardware(), 1)), "MLFLOW_TRACKING_URI": tracking_uri}


def _run(folder: Path, tracking_uri: str) -> None:
    command = [sys.executable, "-I", _SCRIPT.name, str(folder / "job.json")]
    exit_code, said = run_to_end(command, environment=_environment(tracking_uri), cwd=str(folder))
    if exit_code:
        raise RegistryError(
            f"the parity check's process ended with status {exit_code} ({said}); "
            "status -9 means too little memory: free some and run the same command again"
        )
