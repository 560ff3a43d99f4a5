"""A dataset on a hub: the files that a recipe names, fetched once, read like any files, and only where allowed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from configs.errors import HubError
from configs.schema import Data
from configs.settings import Settings
from tasks.data.hub_source import with_files_here
from tasks.data.sources import LoadedRows, load_rows, source_digest
from tests.fake_hub import COMMIT, FakeHub, fake_hub

FILES = {
    "data/train-0.jsonl": b'{"prompt": "a", "completion": "A"}\n' * 2000,
    "data/train-1.jsonl": b'{"prompt": "b", "completion": "B"}\n',
    "data/deep/train-2.jsonl": b'{"prompt": "other", "completion": "X"}\n',
    "test.csv": b"prompt,completion\nc,C\n",
    "manifest.json": b'{"prompt": "d", "completion": "D"}\n',
    "loader.py": b"raise SystemExit",
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with fake_hub({"datasets/acme/tickets": FILES, "acme/model": {"config.json": b"{}"}}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
        yield running


def settings(tmp_path: Path, *, allowed: bool = True) -> Settings:
    home = tmp_path / "home"
    url = f"sqlite:///{home}/x.db"
    return Settings(home=home, tracking_uri=url, study_url=url, prefect_api_url=None, hub_allowed=allowed)


def data(**source: str) -> Data:
    return Data.model_validate({"source": {"kind": "hub", "id": "acme/tickets", **source}})


SPLIT = data(train="data/train-*.jsonl", validation="manifest.json", test="test.csv")


def read(section: Data, tmp_path: Path, *, allowed: bool = True) -> LoadedRows:
    return load_rows(with_files_here(section, settings(tmp_path, allowed=allowed)), tmp_path)


def test_the_named_files_become_rows_and_no_other_file_is_asked_for(hub: FakeHub, tmp_path: Path) -> None:
    found = read(SPLIT, tmp_path)

    assert [row["prompt"] for row in found.rows] == ["a"] * 2000 + ["b", "d", "c"]
    assert found.splits == ("train",) * 2001 + ("validation", "test")
    assert set(hub.asked) == {"data/train-0.jsonl", "data/train-1.jsonl", "manifest.json", "test.csv"}


def test_what_was_fetched_asks_neither_the_network_nor_for_leave(hub: FakeHub, tmp_path: Path) -> None:
    first = read(SPLIT, tmp_path)
    before = hub.requests

    assert read(SPLIT, tmp_path, allowed=False) == first
    assert hub.requests == before > 0


def test_its_digest_is_that_of_the_bytes(hub: FakeHub, tmp_path: Path) -> None:
    here = with_files_here(data(path="test.csv"), settings(tmp_path))
    (tmp_path / "mine.csv").write_bytes(FILES["test.csv"])

    own = Data.model_validate({"source": {"kind": "file", "path": "mine.csv"}})
    assert source_digest(here, tmp_path) == source_digest(own, tmp_path)


def test_without_leave_nothing_is_asked(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="BURNISH_HUB=1"):
        read(SPLIT, tmp_path, allowed=False)

    assert hub.requests == 0


def test_after_a_broken_connection_the_next_attempt_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut_after = 40_000
    with pytest.raises(HubError, match="the same command goes on"):
        read(data(train="data/train-*.jsonl", validation="manifest.json", test="test.csv"), tmp_path)
    hub.cut_after = None
    first, hub.asked[:] = list(hub.asked), []

    assert len(read(SPLIT, tmp_path).rows) == 2003
    assert not set(hub.asked) & (set(first) - {first[-1]})
    assert list((tmp_path / "home" / "datasets" / "fetching").iterdir()) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"id": "acme/nothing", "path": "x.csv"}, "no such dataset.*correct data.source.id"),
        ({"id": "acme/model", "path": "config.json"}, "no such dataset"),
        ({"revision": "v9", "path": "x.csv"}, "no revision v9; correct data.source.revision"),
        ({"revision": COMMIT, "path": "x-*.csv"}, "none of the files that data.source.path names; it has data/deep/tr"),
        (
            {"train": "data/train-*.jsonl", "validation": "test.csv", "test": "tets.csv"},
            "none of the files that data.source.test names",
        ),
    ],
)
def test_what_can_not_be_had_is_one_clear_error(
    hub: FakeHub, tmp_path: Path, source: dict[str, str], expected: str
) -> None:
    with pytest.raises(HubError, match=expected) as raised:
        read(data(**source), tmp_path)

    assert "Traceback" not in str(raised.value)


def test_an_attempt_at_another_commit_leaves_no_file_behind(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut_after = 40_000
    with pytest.raises(HubError):
        read(SPLIT, tmp_path)
    arriving = next((tmp_path / "home" / "datasets" / "fetching").iterdir())
    old = arriving / ("0" * 40) / "data"
    old.mkdir(parents=True)
    (old / "train-9.jsonl").write_bytes(FILES["data/train-1.jsonl"])
    hub.cut_after = None

    assert len(read(SPLIT, tmp_path).rows) == 2003


def test_one_typing_error_fetches_nothing(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(HubError):
        read(data(train="data/train-*.jsonl", validation="manifest.json", test="tets.csv"), tmp_path)

    assert hub.asked == []


def test_two_processes_fetch_once(hub: FakeHub, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: read(SPLIT, tmp_path), range(2)))

    assert both[0] == both[1]
    assert sorted(hub.asked) == sorted(set(hub.asked))


@pytest.mark.parametrize("name", ["../x.csv", "/etc/x.csv", "a/../../x.csv", "~/x.csv"])
def test_a_name_that_leads_out_of_the_dataset_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name a file in the dataset"):
        data(path=name)


def test_stars_that_would_walk_through_folders_are_refused() -> None:
    with pytest.raises(ValueError, match="stands for any part of one name"):
        data(path="data/**/train.csv")
