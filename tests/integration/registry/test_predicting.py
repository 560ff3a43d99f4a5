"""Texts answered by a registered version, with the metadata that its template uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import RegistryError
from configs.schema import Template
from configs.settings import Settings
from tasks.data.records import records_of_texts
from tasks.inference.answering import Answerer, Request, option_active
from tasks.inference.options import Option
from tasks.models.loading import load_base
from tasks.registry.mlflow_versions import register_version
from tasks.registry.packaging import AdapterPackage
from tasks.registry.predicting import predict
from tasks.tracking.mlflow_runs import Tracker
from tests.trained_home import TrainedHome

TEXTS = ("Kinking of ureter", "Ulcer of heel")


@pytest.fixture
def package(tracker: Tracker, trained_home: TrainedHome) -> AdapterPackage:
    package = trained_home.package(
        template=Template(prompt="{{ source }}: {{ prompt }}", completion=" {{ completion }}")
    )
    run_id = tracker.open_parent(tracker.experiment("icd10"), recipe_digest="a", params={})
    register_version(tracker, "icd10", run_id=run_id, package=package, tags={})
    return package


@pytest.fixture
def settings(tracker: Tracker, mlflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("mlflow.tracking._model_registry.utils._registry_uri", None)  # of tests before, in this process
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    return Settings(home=mlflow_home, tracking_uri=tracker.tracking_uri, study_url="sqlite://", prefect_api_url=None)


def trainer_says(package: AdapterPackage, source: str) -> list[str]:
    option = Option("candidate", "candidate", package.template, adapter=package.adapter.name)
    loaded = load_base(package.base, precision=package.precision, device="cpu")
    with option_active(loaded, option, adapters=package.adapter.parent):
        answerer = Answerer(loaded, option, labels=None, max_new_tokens=package.max_new_tokens)
        requests = [Request(record, ()) for record in records_of_texts(TEXTS, {"source": source})]
        return [answer.output for answer in answerer.answer(requests, token_budget=400)]


def test_a_column_of_the_template_is_given_with_the_texts(settings: Settings, package: AdapterPackage) -> None:
    answers = {
        source: predict(settings, "icd10/1", TEXTS, columns={"source": source}) for source in ("clinic", "zzzzzzzzzzzz")
    }

    assert answers == {source: trainer_says(package, source) for source in answers}
    assert answers["clinic"] != answers["zzzzzzzzzzzz"]


@pytest.mark.usefixtures("package")
def test_a_column_that_the_version_does_not_take_is_refused(settings: Settings) -> None:
    with pytest.raises(RegistryError, match="takes no column region; it takes source"):
        predict(settings, "icd10/1", TEXTS, columns={"region": "north"})


@pytest.mark.usefixtures("package")
def test_a_column_that_the_template_needs_is_asked_for(settings: Settings) -> None:
    with pytest.raises(RegistryError, match=r"'source' is undefined; give it as --column NAME=VALUE; it takes source"):
        predict(settings, "icd10/1", TEXTS, columns={})
