import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import LeaseHeld, StorageError
from tasks.storage.durable import (
    MANIFEST,
    digest_of,
    is_valid_directory,
    new_directory,
    read_manifest,
    remove_leftovers,
    write_json,
    write_text,
)
from tasks.storage.lease import recipe_lease
from tasks.storage.locks import FileLocks

WRITER = """
import sys
from pathlib import Path
from tasks.storage.durable import new_directory, write_text
target = Path(sys.argv[1])
if sys.argv[2] == "file":
    write_text(target, "new")
else:
    with new_directory(target, digest="d") as folder:
        (folder / "a.txt").write_text("new")
"""


def run_and_kill_at(point: str, target: Path, kind: str) -> int:
    environment = {**os.environ, "BURNISH_KILL_AT": point}
    return subprocess.run([sys.executable, "-c", WRITER, str(target), kind], env=environment, check=False).returncode


def test_a_directory_is_private_and_valid_once_written(tmp_path: Path) -> None:
    target = tmp_path / "snapshots" / "abc"

    with new_directory(target, digest="abc") as folder:
        (folder / "a.txt").write_text("content")

    assert is_valid_directory(target)
    assert read_manifest(target)["digest"] == "abc"
    assert target.stat().st_mode & 0o777 == 0o700
    assert (target / "a.txt").stat().st_mode & 0o777 == 0o600


def test_a_changed_byte_makes_a_directory_invalid(tmp_path: Path) -> None:
    with new_directory(tmp_path / "d") as folder:
        (folder / "a.txt").write_text("content")

    (tmp_path / "d" / "a.txt").write_text("Content")

    assert not is_valid_directory(tmp_path / "d")


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_directory(tmp_path / "d") as folder:
        (folder / "a.txt").write_text("content")
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


def test_an_invalid_leftover_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "torn").write_text("x")

    with new_directory(tmp_path / "d") as folder:
        (folder / "a.txt").write_text("content")

    assert is_valid_directory(tmp_path / "d")
    assert not (tmp_path / "d" / "torn").exists()


@pytest.mark.parametrize("point", ["write:before-rename", "write:after-rename"])
def test_a_file_is_old_or_new_after_a_kill(tmp_path: Path, point: str) -> None:
    target = tmp_path / "f.txt"
    write_text(target, "old")

    code = run_and_kill_at(point, target, "file")

    assert code == -9
    assert target.read_text() == ("old" if point == "write:before-rename" else "new")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["f.txt"]


@pytest.mark.parametrize(
    ("point", "appears"),
    [
        ("directory:before-manifest", False),
        ("write:before-rename", False),
        ("directory:before-rename", False),
        ("directory:after-rename", True),
    ],
)
def test_a_directory_is_there_whole_or_not_at_all_after_a_kill(tmp_path: Path, point: str, appears: bool) -> None:
    code = run_and_kill_at(point, tmp_path / "d", "directory")

    assert code == -9
    assert (tmp_path / "d").exists() == appears
    assert not appears or is_valid_directory(tmp_path / "d")


def test_an_unwritable_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match="BURNISH_HOME must be a folder") as caught:
        write_json(tmp_path / "file" / "below.json", {})

    assert "space" not in str(caught.value)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(StorageError, match="free some space"):
        write_text(tmp_path / "f.txt", "x")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3}'])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)

    with pytest.raises(StorageError, match=MANIFEST):
        read_manifest(tmp_path)


def test_a_digest_depends_on_content_not_on_order() -> None:
    assert digest_of({"a": 1, "b": [1, 2]}) == digest_of(json.loads('{"b": [1, 2], "a": 1}'))
    assert digest_of({"a": 1}) != digest_of({"a": 2})


HOLDER = """
import sys, time
from pathlib import Path
from tasks.storage.lease import recipe_lease
from tasks.storage.locks import FileLocks
with recipe_lease(FileLocks(Path(sys.argv[1])), "r"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_told_who_holds_the_lease_and_a_dead_holder_frees_it(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()

    with pytest.raises(LeaseHeld, match=str(holder.pid)), recipe_lease(FileLocks(tmp_path), "r"):
        pass
    holder.kill()
    holder.wait()

    with recipe_lease(FileLocks(tmp_path), "r"):
        pass


@pytest.mark.parametrize("name", ["/etc/passwd", "../beside", "a/../../b", "", MANIFEST, "a\\b"])
def test_a_manifest_names_no_file_outside_of_its_directory(tmp_path, name):
    (tmp_path / MANIFEST).write_text(json.dumps({"files": {name: "0" * 64}}))

    with pytest.raises(StorageError, match="which no directory of ours has"):
        read_manifest(tmp_path)
    assert not is_valid_directory(tmp_path)
