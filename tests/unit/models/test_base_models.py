import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.errors import BaseModelError, StorageError
from configs.schema import FolderBase, Recipe
from tasks.models.base_models import base_directory, import_base, verify_base
from tasks.models.tasks import open_worker
from tasks.storage import file_memory
from tasks.storage.durable import digest_of, file_digest, read_manifest
from tasks.tracking.recipe_run import RecipeRun

Import = Callable[..., str]


@pytest.fixture
def bases(tmp_path: Path) -> Path:
    return tmp_path / "home" / "bases"


@pytest.fixture
def import_folder(model_folder: Path, bases: Path) -> Import:
    def import_it(**settings: str) -> str:
        source = FolderBase(path=model_folder.name, **settings)
        return import_base(source, bases=bases, project_root=model_folder.parent)

    return import_it


def overwrite_one_byte(path: Path, position: int) -> None:
    """Change a byte and nothing that a directory listing shows."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_the_digest_is_the_hash_of_all_file_hashes(import_folder: Import, model_folder: Path, bases: Path) -> None:
    digest = import_folder()

    hashes = {path.name: file_digest(path) for path in model_folder.iterdir()}
    assert digest == digest_of(hashes)
    assert read_manifest(base_directory(bases, digest))["files"] == hashes


def test_only_model_files_are_imported(import_folder: Import, model_folder: Path, bases: Path) -> None:
    (model_folder / "modeling.py").write_text("raise SystemExit")
    (model_folder / "README.md").write_text("hello")

    directory = base_directory(bases, import_folder())

    names = {path.name for path in directory.iterdir()}
    assert names == {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "manifest.json"}


def test_an_imported_base_is_reused(import_folder: Import, bases: Path) -> None:
    weights = base_directory(bases, import_folder()) / "model.safetensors"
    inode = weights.stat().st_ino

    import_folder()

    assert weights.stat().st_ino == inode


def test_a_touched_source_gives_the_same_digest(import_folder: Import, model_folder: Path) -> None:
    digest = import_folder()

    os.utime(model_folder / "model.safetensors")

    assert import_folder() == digest


def test_a_changed_weight_gives_another_digest(import_folder: Import, model_folder: Path) -> None:
    digest = import_folder()
    weights = model_folder / "model.safetensors"

    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")

    assert import_folder() != digest


def test_a_damaged_import_is_made_again(import_folder: Import, bases: Path) -> None:
    digest = import_folder()
    weights = base_directory(bases, digest) / "model.safetensors"
    weights.write_bytes(b"short")

    assert import_folder() == digest

    verify_base(bases, digest)


def test_a_deleted_import_is_made_again(import_folder: Import, bases: Path) -> None:
    digest = import_folder()
    (base_directory(bases, digest) / "config.json").unlink()

    import_folder()

    verify_base(bases, digest)


def test_a_damaged_index_is_made_again(import_folder: Import, bases: Path) -> None:
    digest = import_folder()
    for index in (bases / "index").iterdir():
        index.write_text('{"digest": 1}')

    assert import_folder() == digest


def test_verification_sees_one_changed_bit(import_folder: Import, bases: Path) -> None:
    digest = import_folder()
    overwrite_one_byte(base_directory(bases, digest) / "model.safetensors", -1)

    with pytest.raises(BaseModelError, match="damaged"):
        verify_base(bases, digest)


def test_verification_sees_files_and_manifest_swapped_together(
    import_folder: Import, model_folder: Path, bases: Path
) -> None:
    digest = import_folder()
    (model_folder / "model.safetensors").write_bytes((model_folder / "model.safetensors").read_bytes()[:-1] + b"\x01")
    other = base_directory(bases, import_folder())
    base_directory(bases, digest).rename(bases / "away")
    other.rename(bases / digest)

    with pytest.raises(BaseModelError, match="damaged"):
        verify_base(bases, digest)


def test_a_pinned_digest_must_match(import_folder: Import) -> None:
    digest = import_folder()

    assert import_folder(digest=digest) == digest
    with pytest.raises(BaseModelError, match=f"base.digest pins {'0' * 64}, but model holds {digest}"):
        import_folder(digest="0" * 64)


def test_a_refused_folder_leaves_nothing_behind(import_folder: Import, model_folder: Path, bases: Path) -> None:
    (model_folder / "weights.bin").write_bytes(b"\x80")

    with pytest.raises(BaseModelError):
        import_folder()

    assert list(bases.iterdir()) == []


def test_an_absent_base_is_named(bases: Path) -> None:
    with pytest.raises(BaseModelError, match="is not under"):
        base_directory(bases, "0" * 64)


IMPORT = """
import sys
from pathlib import Path
from configs.schema import FolderBase
from tasks.models.base_models import import_base
import_base(FolderBase(path=sys.argv[1]), bases=Path(sys.argv[2]), project_root=Path.cwd())
"""


@pytest.mark.parametrize(
    "point",
    ["directory:before-manifest", "directory:before-rename", "directory:after-rename", "write:before-rename:2"],
)
def test_an_import_killed_anywhere_is_finished_by_the_next(
    import_folder: Import, model_folder: Path, bases: Path, point: str
) -> None:
    command = [sys.executable, "-c", IMPORT, str(model_folder), str(bases)]
    killed = subprocess.run(command, env={**os.environ, "BURNISH_KILL_AT": point}, check=False)
    assert killed.returncode == -signal.SIGKILL

    digest = import_folder()

    verify_base(bases, digest)
    assert {path.name for path in bases.iterdir() if not path.name.startswith(".tmp-")} == {digest, "index"}


def test_a_home_that_cannot_be_written_is_a_clear_error(import_folder: Import, bases: Path) -> None:
    bases.parent.mkdir()
    bases.write_text("in the way")

    with pytest.raises(StorageError, match="BURNISH_HOME must be a folder"):
        import_folder()


def test_the_parents_modules_never_load_torch() -> None:
    code = """
import sys
import tasks.models.base_models, tasks.models.hardware, tasks.models.worker
tasks.models.hardware.detect_hardware()
print(sorted({"torch", "transformers", "peft", "prefect"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_a_worker_is_not_opened_on_a_damaged_base(
    import_folder: Import, bases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = import_folder()
    monkeypatch.setenv("BURNISH_HOME", str(bases.parent))
    recipe = Recipe.model_validate(
        {
            "name": "x", "base": {"kind": "folder", "path": "model"}, "template": {"prompt": "{{ prompt }}"},
            "data": {"source": {"kind": "entry_point", "name": "smoke_records"}},
        }
    )  # fmt: skip
    run = RecipeRun(recipe, tmp_path, "0", "0")
    with open_worker(run, digest, slot=0, slots=1):
        pass
    overwrite_one_byte(base_directory(bases, digest) / "model.safetensors", -1)

    refused = f"{bases / digest} is damaged; delete that folder and run again"
    with pytest.raises(BaseModelError, match=refused), open_worker(run, digest, slot=0, slots=1):
        pass
    shutil.rmtree(bases / digest)
    assert import_folder() == digest
    with open_worker(run, digest, slot=0, slots=1):
        pass


def test_an_untouched_base_is_read_once(import_folder: Import, bases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = import_folder()
    monkeypatch.setattr(file_memory, "_COARSEST_CLOCK_SECONDS", -1.0)  # a file just written counts as settled
    verify_base(bases, digest, digest_file=file_memory.remembering(bases.parent / "memory"))
    monkeypatch.setattr(file_memory, "file_digest", lambda path: pytest.fail(f"{path} is read again"))

    verify_base(bases, digest, digest_file=file_memory.remembering(bases.parent / "memory"))
