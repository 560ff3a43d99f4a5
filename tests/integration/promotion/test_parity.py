from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from configs.errors import RegistryError
from configs.schema import PARITY_TOLERANCES, Precision, Template, TinyBase, Training
from tasks.data.records import Record
from tasks.promotion.parity import LabelMargins, ParityResult, check_parity
from tasks.promotion.parity_process import answer, main
from tasks.registry.mlflow_versions import register_version
from tasks.registry.packaging import AdapterPackage
from tasks.tracking.mlflow_runs import Tracker
from tests.trained_home import LABELS, TrainedHome, make_adapter, make_records, trainer_margins, trainer_reference

RECORDS = [record for record in make_records() if record.split == "test"]


@pytest.fixture(scope="session")
def reference(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trainer_reference(
        trained_home, trained_home.package(), RECORDS, references=tmp_path_factory.mktemp("references")
    )


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load versions here: a fresh process for each case would import torch and peft each time."""
    import mlflow

    def run(folder: Path, tracking_uri: str) -> None:
        tracking, registry = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
        answer(folder / "job.json", tracking_uri)
        mlflow.set_tracking_uri(tracking)
        mlflow.set_registry_uri(registry)

    monkeypatch.setattr("tasks.promotion.parity._run", run)


def register(tracker: Tracker, package: AdapterPackage) -> str:
    run_id = tracker.open_parent(tracker.experiment("icd10"), recipe_digest="a", params={})
    return register_version(tracker, "icd10", run_id=run_id, package=package, tags={})


def parity(
    tracker: Tracker,
    version: str,
    reference: Path,
    *,
    records: Sequence[Record] = RECORDS,
    labels: Sequence[str] | None = None,
    label_margins: LabelMargins | None = None,
    precision: Precision = "fp32",
    tolerance: float = PARITY_TOLERANCES["fp32"],
) -> ParityResult:
    return check_parity(
        tracker, "icd10",
        version=version, records=records, reference=reference, labels=labels,
        label_margins=label_margins or _not_asked, precision=precision, tolerance=tolerance, batch_size=4,
    )  # fmt: skip


def test_a_faithful_version_passes(tracker: Tracker, trained_home: TrainedHome, reference: Path) -> None:
    version = register(tracker, trained_home.package())

    result = parity(tracker, version, reference)

    assert result.passed, result.sentence()
    assert result.worst_difference is not None
    assert result.worst_difference < 1e-3
    assert list(tracker.home.glob("parity/*")) == []


@pytest.mark.usefixtures("in_this_process")
def test_a_chat_version_passes(tracker: Tracker, trained_home: TrainedHome, tmp_path: Path) -> None:
    package = trained_home.package(
        template=Template(kind="chat", instruction="Name the chapter."), input_column="messages"
    )
    version = register(tracker, package)

    result = parity(tracker, version, trainer_reference(trained_home, package, RECORDS, references=tmp_path))

    assert result.passed, result.sentence()


@pytest.mark.usefixtures("in_this_process")
def test_a_bf16_version_with_cut_prompts_passes(tracker: Tracker, trained_home: TrainedHome, tmp_path: Path) -> None:
    template = Template(instruction="Answer.", prompt="{{ source | upper }}: {{ prompt }}", max_tokens=24)
    package = trained_home.package(precision="bf16", template=template)
    version = register(tracker, package)
    reference = trainer_reference(trained_home, package, RECORDS, references=tmp_path)

    result = parity(tracker, version, reference, tolerance=0.25)

    assert result.passed, result.sentence()


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "training",
    [Training(lora_rank=4, method="dora", rank_scaling="rslora", layers=1), Training(method="full")],
    ids=lambda training: training.method,
)
def test_a_version_of_another_way_to_tune_passes(
    tracker: Tracker, trained_home: TrainedHome, tmp_path: Path, training: Training, precision: str
) -> None:
    trained = TrainedHome(tmp_path / "trained", trained_home.base, trained_home.adapter, trained_home.snapshot)
    shutil.copytree(trained_home.home, trained.home)
    adapter = make_adapter(trained.home, trained.base, seed=1, training=training)
    package = trained.package(adapter=trained.home / "adapters" / adapter, precision=precision)
    version = register(tracker, package)
    reference = trainer_reference(trained, package, RECORDS, references=tmp_path)

    result = parity(tracker, version, reference, tolerance=PARITY_TOLERANCES["fp32"] if precision == "fp32" else 0.25)

    assert result.passed, result.sentence()


@pytest.mark.usefixtures("in_this_process")
def test_a_version_that_scores_labels_passes(tracker: Tracker, trained_home: TrainedHome, tmp_path: Path) -> None:
    package = trained_home.package(decoding="label_scoring")
    version = register(tracker, package)
    reference = trainer_reference(trained_home, package, RECORDS, references=tmp_path)

    result = parity(tracker, version, reference, labels=LABELS)

    assert result.passed, result.sentence()


@pytest.mark.usefixtures("in_this_process")
def test_a_version_that_scores_other_texts_for_the_labels_is_caught_by_its_answers_alone(
    tracker: Tracker, trained_home: TrainedHome, tmp_path: Path
) -> None:
    package = trained_home.package(decoding="label_scoring")
    reference = trainer_reference(trained_home, package, RECORDS, references=tmp_path)
    # a random model prefers the shortest label
    longer = " {{ completion }}{% if completion == 'eye' %} and all that belongs to it{% endif %}"
    changed = package.template.model_copy(update={"completion": longer})
    version = register(tracker, trained_home.package(decoding="label_scoring", template=changed))

    def label_margins(record_ids: Sequence[str], said: Sequence[str]) -> list[float]:
        return trainer_margins(trained_home, package, record_ids, said)

    result = parity(tracker, version, reference, labels=LABELS, label_margins=label_margins)

    assert result.reason.startswith("other answers are chosen")
    assert result.differing


def test_an_adapter_corrupted_after_registration_is_caught(
    tracker: Tracker, trained_home: TrainedHome, reference: Path
) -> None:
    version = register(tracker, trained_home.package())
    [weights] = (tracker.home / "artifacts").rglob("adapter_model.safetensors")
    flip_last_byte(weights)

    result = parity(tracker, version, reference)

    assert not result.passed
    assert "adapter_model.safetensors differs" in result.reason


@pytest.mark.usefixtures("in_this_process")
def test_an_adapter_that_is_not_the_trained_one_is_caught_by_its_logits(
    tracker: Tracker, trained_home: TrainedHome, reference: Path, tmp_path: Path
) -> None:
    copied = copy_of(trained_home, tmp_path)
    other = make_adapter(copied.home, copied.base, seed=2)
    version = register(tracker, copied.package(adapter=copied.home / "adapters" / other))

    result = parity(tracker, version, reference)

    assert not result.passed
    assert result.worst_difference is not None
    assert result.worst_difference > PARITY_TOLERANCES["fp32"]
    assert set(result.differing) == {record.record_id for record in RECORDS}


@pytest.mark.usefixtures("in_this_process")
def test_a_base_swapped_after_registration_is_caught(
    tracker: Tracker, trained_home: TrainedHome, reference: Path, tmp_path: Path
) -> None:
    from tasks.models.base_models import import_base

    copied = copy_of(trained_home, tmp_path)
    version = register(tracker, copied.package())
    other = import_base(
        TinyBase(hidden_size=32, vocabulary=300, seed=5), bases=copied.home / "bases", project_root=tmp_path
    )
    shutil.rmtree(copied.base_directory)
    shutil.copytree(copied.home / "bases" / other, copied.base_directory)

    result = parity(tracker, version, reference)

    assert not result.passed
    assert "model.safetensors differs" in result.reason


@pytest.mark.usefixtures("in_this_process")
def test_a_base_that_is_not_the_trained_one_is_caught_by_its_logits(
    tracker: Tracker, trained_home: TrainedHome, reference: Path, tmp_path: Path
) -> None:
    from tasks.models.base_models import import_base

    other = import_base(TinyBase(hidden_size=32, vocabulary=300, seed=5), bases=tmp_path, project_root=tmp_path)
    version = register(tracker, trained_home.package(base=tmp_path / other))

    result = parity(tracker, version, reference)

    assert not result.passed
    assert len(result.differing) == len(RECORDS)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    "template",
    [
        Template(prompt="Term: {{ prompt }}\nChapter: ", completion="{{ completion }}"),
        Template(prompt="Term: {{ prompt }}\nChapter:", completion=" {{ completion }}", instruction="Answer."),
    ],
    ids=["one space", "an instruction"],
)
def test_a_changed_template_is_caught(
    tracker: Tracker, trained_home: TrainedHome, reference: Path, template: Template
) -> None:
    version = register(tracker, trained_home.package(template=template))

    result = parity(tracker, version, reference)

    assert not result.passed
    assert result.differing


@pytest.mark.usefixtures("in_this_process")
def test_a_missing_base_is_refused_with_what_to_do(
    tracker: Tracker, trained_home: TrainedHome, reference: Path, tmp_path: Path
) -> None:
    copied = copy_of(trained_home, tmp_path)
    version = register(tracker, copied.package())
    shutil.rmtree(copied.base_directory)

    result = parity(tracker, version, reference)

    assert not result.passed
    assert "set BURNISH_BASE_DIRS" in result.reason


def test_a_reference_of_other_records_is_refused(tracker: Tracker, reference: Path) -> None:
    with pytest.raises(RegistryError, match="not those of the trainer's reference"):
        parity(tracker, "1", reference, records=RECORDS[1:])


def test_a_process_that_dies_is_an_error_and_not_a_failed_parity(
    tracker: Tracker, trained_home: TrainedHome, reference: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "dies.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr("tasks.promotion.parity._SCRIPT", script)
    version = register(tracker, trained_home.package())

    with pytest.raises(RegistryError, match="ended with status -9"):
        parity(tracker, version, reference)


def test_the_fresh_process_can_not_import_burnish_even_where_it_is_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"blocked": ["tasks", "json"], "hidden": []}))
    script = Path(main.__code__.co_filename)

    process = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "job.json")],
        env={**os.environ, "PYTHONPATH": str(script.parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )

    # `tasks` was refused though it is on the path; `json`, which the script holds already, shows that a leak is fatal
    assert process.returncode != 0
    assert "can import json" in process.stderr


def test_a_library_that_the_version_does_not_need_counts_as_not_installed(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"blocked": [], "hidden": ["mlflow"]}))

    subprocess.run(
        [sys.executable, "-I", main.__code__.co_filename, str(tmp_path / "job.json")],
        env={**os.environ, "MLFLOW_TRACKING_URI": "sqlite://"},
        check=True,
    )

    assert "import of mlflow halted" in json.loads((tmp_path / "refused.json").read_text())["reason"]


@pytest.mark.parametrize(
    ("precision", "hidden"), [("fp32", ("bitsandbytes",)), ("bf16", ("bitsandbytes",)), ("nf4", ())]
)
def test_which_libraries_are_hidden_is_the_precisions(
    monkeypatch: pytest.MonkeyPatch, tracker: Tracker, reference: Path, precision: Precision, hidden: tuple[str, ...]
) -> None:
    jobs: list[dict[str, Any]] = []

    def refuse(job: dict[str, Any], tracking_uri: str, *, scratch: Path) -> str:
        jobs.append(job)
        return "not asked"

    monkeypatch.setattr("tasks.promotion.parity._ask_in_fresh_process", refuse)

    parity(tracker, "1", reference, precision=precision)

    assert jobs[0]["hidden"] == hidden


def _not_asked(record_ids: Sequence[str], said: Sequence[str]) -> Sequence[float]:
    raise AssertionError("version and trainer choose other labels")


def flip_last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-2] ^= 0x40
    file.write_bytes(bytes(content))


def copy_of(trained: TrainedHome, folder: Path) -> TrainedHome:
    home: Any = shutil.copytree(trained.home, folder / "copy")
    return TrainedHome(Path(home), trained.base, trained.adapter, trained.snapshot)
