"""What a model version holds: the adapter, how to use it, and what it must find on the machine that runs it."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from configs.errors import RegistryError
from configs.schema import Precision, Template
from tasks.storage.durable import (
    digest_of,
    file_digest,
    is_valid_directory,
    make_private_directory,
    read_manifest,
    write_json,
)

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_CODE = Path(__file__).with_name("adapter_model.py")
_REQUIREMENTS = ("mlflow", "torch", "transformers", "peft", "safetensors", "jinja2", "pandas", "numpy")


@dataclass(frozen=True)
class AdapterPackage:
    """Everything that decides what a version answers."""

    adapter: Path
    """`home/adapters/<digest>`."""
    base: Path
    """`home/bases/<digest>`."""
    template: Template
    labels: tuple[str, ...] | None
    """The closed label set; None: open generation."""
    decoding: Literal["generate", "label_scoring"]
    max_new_tokens: int
    """Longest answer, in tokens."""
    precision: Precision
    """Of the frozen base while training."""
    input_column: Literal["prompt", "messages"]
    """What the rows of a request bring; `messages` is a JSON list of {role, content}."""
    metadata: tuple[str, ...]
    """Columns that the template may use besides."""
    takes_tools: bool = False
    """Whether rows may bring `tools`, a JSON list of schemas, for the chat template."""

    @property
    def identity(self) -> str:
        """Digest of all that decides the answers, the code of the model included."""
        return digest_of({"spec": self._spec() | {"directory": None}, "code": file_digest(_CODE)})

    def spec(self) -> dict[str, Any]:
        """Return `spec.json`: what the model reads when it is loaded."""
        return self._spec() | {"directory": str(self.base)}

    def _spec(self) -> dict[str, Any]:
        return {
            "base": self.base.name,
            "base_files": _files(self.base, what="base model"),
            "adapter": self.adapter.name,
            "adapter_files": _files(self.adapter, what="adapter"),
            "template": self.template.model_dump(mode="json"),
            "labels": list(self.labels) if self.labels else None,
            "decoding": self.decoding,
            "max_new_tokens": self.max_new_tokens,
            "precision": self.precision,
            "input_column": self.input_column,
            "metadata": list(self.metadata),
            "takes_tools": self.takes_tools,
        }


@contextmanager
def written_package(package: AdapterPackage, *, scratch: Path) -> Iterator[Path]:
    """Write the version's files into a temporary folder below `scratch`, for the block."""
    import mlflow

    if not is_valid_directory(package.adapter):
        raise RegistryError(f"the adapter {package.adapter} is missing or damaged; delete it and run again")
    make_private_directory(scratch)
    with tempfile.TemporaryDirectory(prefix=".tmp-model-", dir=scratch) as folder:
        spec = Path(folder) / "spec.json"
        write_json(spec, package.spec())
        adapter = Path(folder) / "adapter"
        shutil.copytree(package.adapter, adapter)
        with warnings.catch_warnings():
            # an input example would make MLflow load the model here, and the parity check does so anyway
            warnings.filterwarnings("ignore", message=".*input example was not provided")
            mlflow.pyfunc.save_model(
                Path(folder) / "model",
                python_model=str(_CODE),
                artifacts={"spec": str(spec), "adapter": str(adapter)},
                signature=_signature(package),
                model_config={"base_directory": ""},  # only keys that stand here can be given when loading
                pip_requirements=pinned_requirements(package.precision),
                metadata={"base": package.base.name, "adapter": package.adapter.name, "identity": package.identity},
            )
        yield Path(folder) / "model"


def pinned_requirements(precision: Precision) -> list[str]:
    """Return the installed version of each library that a version needs, without local build tags such as `+cpu`."""
    libraries = (*_REQUIREMENTS, "bitsandbytes") if precision == "nf4" else _REQUIREMENTS
    return [f"{library}=={version(library).partition('+')[0]}" for library in libraries]


def _signature(package: AdapterPackage) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    columns = [ColSpec(DataType.string, package.input_column)]
    columns += [ColSpec(DataType.string, name, required=False) for name in package.metadata]
    columns += [ColSpec(DataType.string, "tools", required=False)] if package.takes_tools else []
    return ModelSignature(
        inputs=Schema(columns),
        outputs=Schema([ColSpec(DataType.string)]),
        params=ParamSchema(
            [
                ParamSpec("mode", DataType.string, "answer"),
                ParamSpec("batch_size", DataType.integer, 8),
                ParamSpec("drafts", DataType.string, ""),
            ]
        ),
    )


def _files(directory: Path, *, what: str) -> Mapping[str, str]:
    """Return the SHA-256 of each file of a base or an adapter, as its manifest has them."""
    files: Mapping[str, str] = read_manifest(directory)["files"]
    if not files:
        raise RegistryError(f"the {what} in {directory} is empty; delete it and run again")
    return files
