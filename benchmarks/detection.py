"""How surely the standard suite finds planted problems, and how often it blames clean rows.

The problems are made by `tests/planted_problems.py`, which knows nothing of the detectors; the clean rows are its own
sentences full of dates, codes and prices, and the real ICD-10-CM inclusion terms. Every rule that can drop rows is
told to, through the whole of `validate_snapshot` with Great Expectations; the quarantine file then says which rule
blamed which row.

Run: python -m benchmarks.detection [problems of each kind] [clean rows]
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from configs.schema import Split, Template
from tasks.data.icd10 import inclusion_terms
from tasks.data.records import Record, Turn
from tasks.data.snapshots import write_snapshot
from tasks.data.splitting import split_of_group
from tasks.validation.snapshot_checks import validate_snapshot
from tasks.validation.suites import SUITES_FOLDER, load_suite
from tests.planted_problems import LABELS, plant


def blamed_rows(records: Sequence[Record], labels: tuple[str, ...] | None, folder: Path) -> dict[str, set[str]]:
    """Return, by rule, the ids of all rows that the standard suite blames."""
    rules = load_suite("standard", {}, SUITES_FOLDER).rules
    overrides = {name: "drop" if rule.can_drop else "off" for name, rule in rules.items()}
    digest = write_snapshot(records, snapshots=folder / "snapshots", source_digest="planted", labels=labels)
    result = validate_snapshot(
        folder / "snapshots",
        digest,
        suite=load_suite("standard", overrides, SUITES_FOLDER),
        template=Template(),
        tokenizer_directory=None,
        labels=labels,
        quarantine=folder / "quarantine",
    )
    blamed: defaultdict[str, set[str]] = defaultdict(set)
    if result.quarantine is not None:
        for line in Path(result.quarantine).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for reason in row["rules"]:
                blamed[reason.partition(":")[0]].add(row["record_id"])
    return blamed


def clinical_records() -> list[Record]:
    """Return the ICD-10-CM inclusion terms as records, split by category as `configs/icd10.yaml` does."""
    return [
        Record(
            record_id=f"term{number}",
            split=split_of_group(row["category"], split=Split()),
            group=row["category"],
            turns=(Turn("user", row["term"]),),
            completion=row["chapter"],
            metadata={"code": row["code"], "description": row["description"]},
        )
        for number, row in enumerate(inclusion_terms())
    ]


def main(each: int, clean: int) -> None:
    """Print recall by rule, and false positives on clean rows and on clinical terms."""
    for closed_labels in (True, False):
        planted = plant(seed=2026, clean=clean, each=each, closed_labels=closed_labels)
        with tempfile.TemporaryDirectory() as folder:
            blamed = blamed_rows(planted.records, LABELS if closed_labels else None, Path(folder))
        print(f"\n{'closed label set' if closed_labels else 'open generation'}: {len(planted.records)} rows")
        print(f"{'rule':28}{'planted':>8}{'found':>8}{'recall':>8}{'clean rows blamed':>19}")
        for rule, ids in planted.faults.items():
            found, wrong = len(ids & blamed[rule]), len(blamed[rule] & planted.clean)
            print(f"{rule:28}{len(ids):8}{found:8}{found / len(ids):8.3f}{wrong:19}")
        clean_rows, wrong = len(planted.clean), len(set().union(*blamed.values()) & planted.clean)
        print(f"false positives over all rules: {wrong} of {clean_rows} clean rows = {wrong / clean_rows:.2%}")

    records = clinical_records()
    with tempfile.TemporaryDirectory() as folder:
        blamed = blamed_rows(records, tuple(sorted({record.completion for record in records})), Path(folder))
    print(f"\nICD-10-CM inclusion terms: {len(records)} rows; rows blamed by rule (the real data has repeated terms):")
    for rule, ids in blamed.items():
        print(f"{rule:28}{len(ids):8}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]) if len(sys.argv) > 2 else (500, 5000))
