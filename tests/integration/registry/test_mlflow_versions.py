from __future__ import annotations

import contextlib
import json
import shutil
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import pytest

from configs.errors import RegistryError
from configs.schema import Template
from tasks.registry.incumbent import find_incumbent
from tasks.registry.mlflow_versions import (
    aliases_of,
    find_version,
    get_version,
    register_version,
    resolve_version,
    restore_adapter,
    set_alias,
    tag_version,
)
from tasks.registry.packaging import AdapterPackage
from tasks.storage.durable import is_valid_directory, read_manifest
from tasks.tracking.mlflow_runs import Tracker
from tests.trained_home import TrainedHome


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def register(tracker: Tracker, package: AdapterPackage, *, digest: str = "a", **tags: str) -> str:
    run_id = tracker.open_parent(tracker.experiment("icd10"), recipe_digest=digest, params={})
    return register_version(tracker, "icd10", run_id=run_id, package=package, tags=tags)


def versions(tracker: Tracker) -> list[Any]:
    return list(tracker.client.search_model_versions("name = 'icd10'"))


def test_a_version_carries_its_tags_and_its_run(tracker: Tracker, trained_home: TrainedHome) -> None:
    version = register(tracker, trained_home.package(), snapshot="s1")

    found = get_version(tracker, "icd10", version=version)

    assert (found.version, found.tags["snapshot"]) == ("1", "s1")
    assert (found.tags["burnish.adapter"], found.tags["burnish.base"]) == (trained_home.adapter, trained_home.base)
    assert tracker.run(found.run_id).info.status == "RUNNING"


def test_a_version_holds_the_adapter_and_no_base_weights(tracker: Tracker, trained_home: TrainedHome) -> None:
    register(tracker, trained_home.package())

    files = [file for file in (tracker.home / "artifacts").rglob("*") if file.is_file()]

    assert [file.name for file in files if file.suffix == ".safetensors"] == ["adapter_model.safetensors"]
    assert (
        sum(file.stat().st_size for file in files) < (trained_home.base_directory / "model.safetensors").stat().st_size
    )


def test_requirements_are_pinned_and_leave_burnish_out(tracker: Tracker, trained_home: TrainedHome) -> None:
    register(tracker, trained_home.package())

    [file] = (tracker.home / "artifacts").rglob("requirements.txt")

    lines = file.read_text().splitlines()
    assert f"peft=={installed('peft')}" in lines
    assert f"torch=={installed('torch').split('+')[0]}" in lines
    assert all("==" in line and "burnish" not in line for line in lines)


def test_the_signature_names_the_columns_and_the_parameters(tracker: Tracker, trained_home: TrainedHome) -> None:
    from mlflow.models import Model

    register(tracker, trained_home.package())
    [file] = (tracker.home / "artifacts").rglob("MLmodel")

    signature = Model.load(str(file.parent)).signature

    assert {column.name: column.required for column in signature.inputs} == {"prompt": True, "source": False}
    params = {parameter.name: parameter.default for parameter in signature.params}
    assert params == {"mode": "answer", "batch_size": 8, "drafts": ""}


def test_the_same_package_is_registered_once_even_from_another_run(tracker: Tracker, trained_home: TrainedHome) -> None:
    first = register(tracker, trained_home.package(), digest="a")

    again = register(tracker, trained_home.package(), digest="b", note="later")

    assert again == first
    assert len(versions(tracker)) == 1
    assert get_version(tracker, "icd10", version=first).tags["note"] == "later"


@pytest.mark.parametrize(
    "changed",
    [
        {"template": Template(prompt="{{ prompt }}")},
        {"labels": ("a", "b")},
        {"decoding": "label_scoring"},
        {"max_new_tokens": 7},
        {"precision": "bf16"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_whatever_decides_the_answers_makes_another_version(trained_home: TrainedHome, changed: dict[str, Any]) -> None:
    assert trained_home.package(**changed).identity != trained_home.package().identity


def test_where_the_base_lies_makes_no_other_version(trained_home: TrainedHome, tmp_path: Path) -> None:
    moved = shutil.copytree(trained_home.base_directory, tmp_path / trained_home.base)

    assert trained_home.package(base=moved).identity == trained_home.package().identity


@pytest.mark.parametrize("point", ["register:before-artifacts", "register:before-version", "register:after-version"])
def test_a_registration_killed_anywhere_ends_with_one_version(
    tracker: Tracker, trained_home: TrainedHome, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def reach(reached: str) -> None:
        if reached == point:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("tasks.registry.mlflow_versions.reach", reach)
        with pytest.raises(Killed):
            register(tracker, trained_home.package())

    version = register(tracker, trained_home.package())

    assert [str(found.version) for found in versions(tracker)] == [version] == ["1"]
    assert find_version(tracker, "icd10", identity=trained_home.package().identity) == version


def test_a_damaged_adapter_is_not_registered(tracker: Tracker, trained_home: TrainedHome, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(trained_home.adapter_directory, tmp_path / trained_home.adapter))
    with (damaged / "adapter_model.safetensors").open("r+b") as file:
        file.truncate(100)

    with pytest.raises(RegistryError, match="is missing or damaged"):
        register(tracker, trained_home.package(adapter=damaged))

    assert versions(tracker) == []


def test_an_adapter_that_is_gone_is_fetched_from_the_registry(
    tracker: Tracker, trained_home: TrainedHome, tmp_path: Path
) -> None:
    version = get_version(tracker, "icd10", version=register(tracker, trained_home.package()))

    restored = restore_adapter(tracker, version, adapters=tmp_path / "adapters")

    assert restored == tmp_path / "adapters" / trained_home.adapter
    assert read_manifest(restored) == read_manifest(trained_home.adapter_directory)
    assert is_valid_directory(restored)
    assert [path.name for path in restored.parent.iterdir()] == [trained_home.adapter]


def test_an_adapter_that_is_damaged_in_the_registry_is_not_fetched(
    tracker: Tracker, trained_home: TrainedHome, tmp_path: Path
) -> None:
    version = get_version(tracker, "icd10", version=register(tracker, trained_home.package()))
    [weights] = (tracker.home / "artifacts").rglob("adapter_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")

    with pytest.raises(RegistryError, match="holds a damaged adapter"):
        restore_adapter(tracker, version, adapters=tmp_path / "adapters")

    assert list((tmp_path / "adapters").iterdir()) == []


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_a_tag_that_is_a_path_deletes_nothing(
    tracker: Tracker, trained_home: TrainedHome, tmp_path: Path, form: str
) -> None:
    number = register(tracker, trained_home.package())
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    tag = str(precious) if form == "absolute" else "../precious"
    tag_version(tracker, "icd10", version=number, tags={"burnish.adapter": tag})

    with pytest.raises(RegistryError, match="must be a digest of 64 hex characters"):
        restore_adapter(tracker, get_version(tracker, "icd10", version=number), adapters=tmp_path / "adapters")

    assert [path.name for path in precious.iterdir()] == ["file"]


@pytest.mark.parametrize("key", ["burnish.adapter", "burnish.base", "burnish.option"])
def test_a_champion_whose_tags_name_a_path_is_not_scored(
    tracker: Tracker, trained_home: TrainedHome, tmp_path: Path, key: str
) -> None:
    option = {"adapter": trained_home.adapter}
    number = register(tracker, trained_home.package(), **{"burnish.option": json.dumps(option)})
    set_alias(tracker, "icd10", alias="champion", version=number)
    changed = json.dumps({"adapter": str(tmp_path)}) if key == "burnish.option" else str(tmp_path)
    tag_version(tracker, "icd10", version=number, tags={key: changed})

    with pytest.raises(RegistryError, match="in the MLflow UI"):
        find_incumbent(tracker, "icd10", candidate_identity="another", adapters=tmp_path / "adapters")


def test_an_adapter_that_is_there_is_not_fetched_again(tracker: Tracker, trained_home: TrainedHome) -> None:
    version = get_version(tracker, "icd10", version=register(tracker, trained_home.package()))
    shutil.rmtree(tracker.home / "artifacts")

    restored = restore_adapter(tracker, version, adapters=trained_home.home / "adapters")

    assert restored == trained_home.adapter_directory


@pytest.mark.parametrize("reference", ["icd10@champion", "icd10", "icd10/1"])
def test_a_version_is_found_by_alias_by_number_or_as_the_champion(tracker: Tracker, reference: str) -> None:
    bare_version(tracker)
    set_alias(tracker, "icd10", alias="champion", version="1")

    found = resolve_version(tracker, reference)

    assert (found.version, found.aliases) == ("1", ("champion",))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("icd10@challenger", r"no alias 'challenger'; it has champion \(version 1\)"),
        ("icd10/7", r"no version '7'; it has version 1 \(champion\)"),
        ("nothing@champion", "no registered model 'nothing'; .*; registered: icd10$"),
        ("icd_10@champion", r"no registered model 'icd_10'; .*; did you mean icd10\?$"),
        ("nothing/1", "no registered model 'nothing'"),
        ("../etc@champion", "given as name@alias or name/version"),
        ("icd10' or '1'='1", "given as name@alias or name/version"),
    ],
)
def test_a_reference_to_nothing_is_refused(tracker: Tracker, reference: str, message: str) -> None:
    bare_version(tracker)
    set_alias(tracker, "icd10", alias="champion", version="1")

    with pytest.raises(RegistryError, match=message):
        resolve_version(tracker, reference)


def test_an_alias_moves_and_is_taken_away(tracker: Tracker) -> None:
    bare_version(tracker)
    bare_version(tracker)

    set_alias(tracker, "icd10", alias="challenger", version="1")
    set_alias(tracker, "icd10", alias="challenger", version="2")
    moved = aliases_of(tracker, "icd10")
    set_alias(tracker, "icd10", alias="challenger", version=None)

    assert (moved, aliases_of(tracker, "icd10")) == ({"challenger": "2"}, {})


def test_tags_of_a_version_are_replaced(tracker: Tracker) -> None:
    bare_version(tracker)

    tag_version(tracker, "icd10", version="1", tags={"verdict": "cannot tell"})
    tag_version(tracker, "icd10", version="1", tags={"verdict": "pays"})

    assert get_version(tracker, "icd10", version="1").tags["verdict"] == "pays"


def bare_version(tracker: Tracker) -> None:
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):
        tracker.client.create_registered_model("icd10")
    tracker.client.create_model_version("icd10", (tracker.home / "artifacts").as_uri())


def test_a_version_that_a_server_created_twice_is_there_once(
    tracker: Tracker, trained_home: TrainedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tracker.client.create_model_version
    tracker.experiment("icd10")  # whose artifacts lie in the home, since there is no server
    monkeypatch.setattr(Tracker, "is_server", True)
    monkeypatch.setattr(
        tracker.client,
        "create_model_version",
        lambda *given, **named: [real(*given, **named) for _ in range(2)][1],  # the client asks again
    )

    version = register(tracker, trained_home.package())

    assert version == "1"
    assert [str(found.version) for found in versions(tracker)] == ["1"]
