from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from configs.errors import DataError
from configs.schema import Data
from tasks.data.chest_reports import reports
from tasks.data.icd10 import inclusion_terms
from tasks.data.mapping import to_records
from tasks.data.snapshots import read_snapshot, write_snapshot
from tasks.data.sources import load_rows
from tasks.data.splitting import assign_splits, within_limits

pytest.importorskip("simple_icd_10_cm", reason="needs the extra `demo`")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return list(inclusion_terms())


def test_there_are_as_many_terms_as_the_release_has(rows: list[dict[str, str]]) -> None:
    assert len(rows) == 12_554
    assert rows[0] == {
        "term": "Classical cholera",
        "code": "A00.0",
        "category": "A00",
        "chapter": "Certain infectious and parasitic diseases",
        "description": "Cholera due to Vibrio cholerae 01, biovar cholerae",
    }


def test_a_chapter_is_that_of_the_codes_topmost_ancestor(rows: list[dict[str, str]]) -> None:
    import simple_icd_10_cm as icd

    for row in rows[::97]:
        title = icd.get_description(icd.get_ancestors(row["code"])[-1])
        assert title.startswith(f"{row['chapter']} (")


def test_a_chapter_is_a_title_without_codes(rows: list[dict[str, str]]) -> None:
    chapters = {row["chapter"] for row in rows}

    assert len(chapters) == 22
    assert not any("(" in chapter or chapter != chapter.strip() for chapter in chapters)


def test_the_terms_are_the_same_each_time(rows: list[dict[str, str]]) -> None:
    assert list(inclusion_terms()) == rows


def test_test_terms_are_of_unseen_categories(tmp_path: Path) -> None:
    data = Data.model_validate(
        {
            "source": {"kind": "entry_point", "name": "icd10_inclusion_terms"},
            "columns": {"prompt": "term", "completion": "chapter", "metadata": ["code"]},
            "group_by": "category",
            "labels": "infer",
            "max_train_records": 2000,
            "max_test_records": 512,
        }
    )
    records = within_limits(assign_splits(to_records(load_rows(data, tmp_path), data), data), data)

    snapshot = read_snapshot(
        tmp_path, write_snapshot(records, snapshots=tmp_path, source_digest="s", labels=data.labels)
    )

    sides = defaultdict(set)
    for record in snapshot.records:
        sides[record.metadata["code"][:3]].add(record.split)
    assert all(len(side) == 1 for side in sides.values())
    assert snapshot.counts["train"] == 2000
    assert snapshot.counts["test"] == 512
    assert snapshot.labels is not None
    assert len(snapshot.labels) == 22


@pytest.mark.parametrize("source", [inclusion_terms, reports])
def test_without_the_package_the_message_says_what_to_install(
    source: Callable[[], Iterator[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without_package(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "simple_icd_10_cm":
            raise ImportError("not there")
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_package)

    with pytest.raises(DataError, match=r"needs the package simple-icd-10-cm.*install the extra"):
        next(source())
