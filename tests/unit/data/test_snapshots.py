from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import DataError, StorageError
from tasks.data.records import SPLITS, Record, SplitName, Turn
from tasks.data.snapshots import RECORDS_FILE, read_snapshot, resolve_labels, write_snapshot


def record(number: int, split: SplitName, **fields: Any) -> Record:
    turns = (Turn("system", "be brief"), Turn("user", f"prompt {number}"))
    whole = Record(f"id-{number}", split, f"group {number}", turns, f"label {number % 2}", {"code": f"c{number}"})
    return dataclasses.replace(whole, **fields)


def records() -> list[Record]:
    return [record(number, SPLITS[number % 3]) for number in range(9)]


def written(snapshots: Path, items: list[Record], **fields: Any) -> str:
    return write_snapshot(items, snapshots=snapshots, **{"source_digest": "s", "parent": None, **fields})


def test_a_snapshot_reads_back_as_it_was_written(tmp_path: Path) -> None:
    digest = written(tmp_path, records(), parent="p", labels=("label 1", "label 0"))

    snapshot = read_snapshot(tmp_path, digest)

    assert snapshot.records == tuple(records())
    assert (snapshot.digest, snapshot.parent, snapshot.source_digest) == (digest, "p", "s")
    assert snapshot.labels == ("label 1", "label 0")
    assert snapshot.counts == {"train": 3, "validation": 3, "test": 3}


def test_a_split_keeps_the_source_order(tmp_path: Path) -> None:
    snapshot = read_snapshot(tmp_path, written(tmp_path, records()))

    assert [item.record_id for item in snapshot.split("test")] == ["id-2", "id-5", "id-8"]


@settings(max_examples=30)
@given(text=st.text())
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    snapshots = tmp_path_factory.mktemp("snapshots")
    items = [*records(), record(9, "train", turns=(Turn("user", text),), completion=text, metadata={text: text})]

    snapshot = read_snapshot(snapshots, written(snapshots, items))

    assert snapshot.records == tuple(items)


def test_the_same_content_has_the_same_digest_and_is_stored_once(tmp_path: Path) -> None:
    first = written(tmp_path, records())
    stored = (tmp_path / first / RECORDS_FILE).stat().st_mtime_ns

    second = written(tmp_path, records(), source_digest="another source")

    assert first == second
    assert (tmp_path / first / RECORDS_FILE).stat().st_mtime_ns == stored


CHANGES: dict[str, list[Record]] = {
    "one letter": [record(0, "train", completion="Label 0"), *records()[1:]],
    "the split": [record(0, "test"), *records()[1:]],
    "the group": [record(0, "train", group="other"), *records()[1:]],
    "a role": [record(0, "train", turns=(Turn("user", "be brief"), Turn("user", "prompt 0"))), *records()[1:]],
    "metadata": [record(0, "train", metadata={}), *records()[1:]],
    "the order": [*records()[1:], records()[0]],
    "one record less": records()[1:],
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES.keys())
def test_any_change_of_content_is_another_digest(tmp_path: Path, changed: list[Record]) -> None:
    assert written(tmp_path, records()) != written(tmp_path, changed)


def test_another_label_set_is_another_digest(tmp_path: Path) -> None:
    assert written(tmp_path, records()) != written(tmp_path, records(), labels="infer")


def test_the_digest_of_a_content_never_changes(tmp_path: Path) -> None:
    digest = written(tmp_path, records())

    assert digest == "911c5a251fb1ac5f7289f6dc9cf85118483e4c8f48be9d6d4db1441e84133499"


@pytest.mark.parametrize("missing", SPLITS)
def test_a_split_without_records_is_refused_with_what_to_do(tmp_path: Path, missing: SplitName) -> None:
    left = [item for item in records() if item.split != missing]

    with pytest.raises(DataError, match=rf"no records are left for {missing} .*add records"):
        written(tmp_path, left)

    assert list(tmp_path.iterdir()) == []


def test_nothing_left_after_dropping_points_to_the_quarantine(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train and validation and test .*quarantine"):
        written(tmp_path, [], parent="p")


def test_a_missing_snapshot_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="manifest"):
        read_snapshot(tmp_path, "0" * 64)


def test_a_file_with_other_content_is_told(tmp_path: Path) -> None:
    digest, other = written(tmp_path, records()), written(tmp_path, records()[3:])
    shutil.copy(tmp_path / other / RECORDS_FILE, tmp_path / digest / RECORDS_FILE)

    with pytest.raises(StorageError, match=r"damaged.*does not have its digest.*delete it and run again"):
        read_snapshot(tmp_path, digest)


def test_a_truncated_file_is_told(tmp_path: Path) -> None:
    digest = written(tmp_path, records())
    file = tmp_path / digest / RECORDS_FILE
    file.write_bytes(file.read_bytes()[:-40])

    with pytest.raises(StorageError, match="damaged"):
        read_snapshot(tmp_path, digest)


def test_a_damaged_snapshot_is_written_anew(tmp_path: Path) -> None:
    digest = written(tmp_path, records())
    (tmp_path / digest / RECORDS_FILE).write_bytes(b"")

    assert written(tmp_path, records()) == digest

    assert read_snapshot(tmp_path, digest).records == tuple(records())


def test_the_manifest_says_what_the_snapshot_is(tmp_path: Path) -> None:
    digest = written(tmp_path, records(), labels="infer")

    manifest = json.loads((tmp_path / digest / "manifest.json").read_text())

    assert manifest["counts"] == {"train": 3, "validation": 3, "test": 3}
    assert manifest["labels"] == ["label 0", "label 1"]
    assert manifest["parent"] is None


def test_a_snapshot_is_private(tmp_path: Path) -> None:
    directory = tmp_path / written(tmp_path, records())

    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / RECORDS_FILE).stat().st_mode & 0o777 == 0o600


def test_labels_are_inferred_from_training_records_alone() -> None:
    items = [record(0, "train"), record(1, "train"), record(2, "test", completion="unseen")]

    assert resolve_labels("infer", items) == ("label 0", "label 1")


def test_given_labels_keep_their_order_and_open_generation_has_none() -> None:
    assert resolve_labels(("b", "a"), []) == ("b", "a")
    assert resolve_labels(None, records()) is None


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("only",), "data.labels lists 1 label"),
        (("a", "b", "a"), "data.labels lists 'a' more than once"),
        ("infer", "data.labels: infer, in 2 training records, found 1 label"),
    ],
)
def test_a_label_set_needs_two_different_labels(labels: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        resolve_labels(labels, [record(0, "train"), record(2, "train")])
