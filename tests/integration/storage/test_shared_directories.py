"""What one machine makes, another one finds: two homes with an S3 store between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import ServerError, StorageError
from configs.settings import Settings, settings_from
from tasks.storage.boto3_directories import S3Directories, ensure_bucket
from tasks.storage.durable import MANIFEST, is_valid_directory, new_directory, read_manifest
from tasks.storage.shared_directories import (
    at_hand,
    fetch_checkpoints,
    remove_shared_checkpoints,
    share,
    share_checkpoints,
)
from tests.object_store import BUCKET, ObjectStore, object_store

DIGEST = "d" * 64


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as started:
        yield started


@pytest.fixture
def homes(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, Settings]:
    """Two machines of one team."""
    from tasks.storage import shared_directories

    for key, value in store.environment.items():
        monkeypatch.setenv(key, value)
    root = f"s3://{BUCKET}/{tmp_path.name}"
    monkeypatch.setattr(shared_directories, "_store", S3Directories)
    settings = settings_from(
        {"BURNISH_ARTIFACT_ROOT": root, "BURNISH_HOME": str(tmp_path / "a")}, project_root=tmp_path
    )
    return settings, replace(settings, home=tmp_path / "b")


def make(directory: Path, content: str = "content") -> Path:
    with new_directory(directory, kind="test") as folder:
        (folder / "sub").mkdir()
        (folder / "a.txt").write_text(content)
        (folder / "sub" / "b.txt").write_text("more")
    return directory


def test_what_one_home_shares_another_has_at_hand(homes: tuple[Settings, Settings]) -> None:
    mine, theirs = homes
    made = make(mine.snapshots / DIGEST)

    assert not at_hand(theirs, "snapshots", DIGEST)
    share(mine, "snapshots", DIGEST)

    assert at_hand(theirs, "snapshots", DIGEST)
    assert read_manifest(theirs.snapshots / DIGEST) == read_manifest(made)
    assert (theirs.snapshots / DIGEST).stat().st_mode & 0o777 == 0o700


def test_nothing_is_shared_without_a_store(homes: tuple[Settings, Settings], store: ObjectStore) -> None:
    alone = replace(homes[0], artifact_root=None)
    make(alone.snapshots / DIGEST)

    share(alone, "snapshots", DIGEST)

    assert at_hand(alone, "snapshots", DIGEST)
    assert not at_hand(homes[1], "snapshots", DIGEST)


def test_a_directory_whose_push_was_cut_off_is_not_there_and_is_pushed_again(
    homes: tuple[Settings, Settings], store: ObjectStore, tmp_path: Path
) -> None:
    mine, theirs = homes
    make(mine.snapshots / DIGEST)
    half = f"{tmp_path.name}/snapshots/{DIGEST}/a.txt"
    store.client().put_object(Bucket=BUCKET, Key=half, Body=b"torn")

    assert not at_hand(theirs, "snapshots", DIGEST)
    share(mine, "snapshots", DIGEST)

    assert at_hand(theirs, "snapshots", DIGEST)
    assert (theirs.snapshots / DIGEST / "a.txt").read_text() == "content"


def test_a_file_that_changed_in_the_store_is_refused(
    homes: tuple[Settings, Settings], store: ObjectStore, tmp_path: Path
) -> None:
    mine, theirs = homes
    make(mine.snapshots / DIGEST)
    share(mine, "snapshots", DIGEST)
    store.client().put_object(Bucket=BUCKET, Key=f"{tmp_path.name}/snapshots/{DIGEST}/a.txt", Body=b"Content")

    with pytest.raises(StorageError, match="hash of its manifest"):
        at_hand(theirs, "snapshots", DIGEST)

    assert not (theirs.snapshots / DIGEST).exists()


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../evil", ""])
def test_a_manifest_can_not_write_outside_its_directory(
    homes: tuple[Settings, Settings], store: ObjectStore, tmp_path: Path, name: str
) -> None:
    key = f"{tmp_path.name}/snapshots/{DIGEST}"
    manifest = json.dumps({"files": {name: "0" * 64}}).encode()
    store.client().put_object(Bucket=BUCKET, Key=f"{key}/{MANIFEST}", Body=manifest)

    with pytest.raises(StorageError, match="names the file"):
        at_hand(homes[1], "snapshots", DIGEST)

    assert list(tmp_path.rglob("evil")) == []


def test_a_damaged_directory_is_fetched_again(homes: tuple[Settings, Settings]) -> None:
    mine, _ = homes
    make(mine.adapters / DIGEST)
    share(mine, "adapters", DIGEST)
    (mine.adapters / DIGEST / "a.txt").write_text("damaged")

    assert at_hand(mine, "adapters", DIGEST)
    assert is_valid_directory(mine.adapters / DIGEST)


def test_a_fine_tune_goes_on_from_the_checkpoints_of_another_machine(homes: tuple[Settings, Settings]) -> None:
    mine, theirs = homes
    for step in (3, 6):
        make(mine.checkpoints / "study" / "key" / f"step-{step:08d}", content=str(step))

    share_checkpoints(mine, mine.checkpoints / "study" / "key")
    fetch_checkpoints(theirs, theirs.checkpoints / "study" / "key")

    found = sorted((theirs.checkpoints / "study" / "key").iterdir())
    assert [path.name for path in found] == ["step-00000003", "step-00000006"]
    assert all(is_valid_directory(path) for path in found)
    remove_shared_checkpoints(mine, mine.checkpoints / "study")
    fetch_checkpoints(replace(theirs, home=theirs.home / "c"), theirs.home / "c" / "checkpoints" / "study" / "key")
    assert not (theirs.home / "c").exists()


def test_a_store_that_is_not_there_is_one_clear_error_without_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.storage import boto3_directories

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setattr(boto3_directories, "_ATTEMPTS", 1)

    with pytest.raises(ServerError, match="AWS_ENDPOINT_URL") as error:
        S3Directories("s3://team/x").fetch("snapshots/a", tmp_path / "a")

    assert "hush-hush" not in str(error.value)


def test_the_bucket_is_made_once(homes: tuple[Settings, Settings], store: ObjectStore) -> None:
    assert [ensure_bucket("s3://another-team/x"), ensure_bucket("s3://another-team/y")] == [True, False]
