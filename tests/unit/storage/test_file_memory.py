from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tasks.storage import file_memory
from tasks.storage.durable import file_digest
from tasks.storage.file_memory import remembering


class Readings:
    """Counts how often a file is read."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, path: Path) -> str:
        self.count += 1
        return file_digest(path)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    counted = Readings()
    monkeypatch.setattr(file_memory, "file_digest", counted)
    monkeypatch.setattr(file_memory, "_COARSEST_CLOCK_SECONDS", -1.0)  # a file just written counts as settled
    return counted


def test_an_untouched_file_is_read_once(tmp_path: Path, readings: Readings) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("one")
    digest = remembering(tmp_path / "memory")

    assert digest(path) == digest(path) == file_digest(path)
    assert readings.count == 1


def test_a_file_of_the_same_size_and_time_but_other_content_is_read_again(tmp_path: Path, readings: Readings) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("one")
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    digest = remembering(tmp_path / "memory")
    before = digest(path)

    time.sleep(0.02)  # the kernel's clock for change times is that coarse
    path.write_text("two")
    os.utime(path, ns=times)

    assert digest(path) == file_digest(path) != before


def test_a_touched_file_is_read_again_and_keeps_its_digest(tmp_path: Path, readings: Readings) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("one")
    digest = remembering(tmp_path / "memory")
    before = digest(path)

    os.utime(path, (1.0, 1.0))

    assert digest(path) == before
    assert readings.count == 2


def test_a_file_changed_a_moment_ago_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("one")

    remembering(tmp_path / "memory")(path)

    assert not (tmp_path / "memory").exists()


def test_a_damaged_memory_costs_one_reading(tmp_path: Path, readings: Readings) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("one")
    digest = remembering(tmp_path / "memory")
    digest(path)
    next((tmp_path / "memory").iterdir()).write_text("{")

    assert digest(path) == file_digest(path)
    assert readings.count == 2
