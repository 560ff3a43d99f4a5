"""The one door to MLflow runs: experiments, parents and children, always by explicit run id."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    Metric,
    Param,
    Run,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.utils.mlflow_tags import (
    MLFLOW_LOGGED_ARTIFACTS,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
)
from mlflow.utils.validation import MAX_EXPERIMENT_TAG_VAL_LENGTH, MAX_PARAM_VAL_LENGTH

from configs.errors import ServerError
from tasks.storage.durable import digest_of
from tasks.storage.faults import reach
from tasks.storage.locks import FileLocks, Locks
from tasks.tracking.mlflow_database import artifact_root, prepare_store, shown

KIND = "burnish.kind"
RunKind = Literal["recipe", "option", "trial", "confirmation", "evaluation", "scorecard"]
"""What a run holds, as the tag `burnish.kind`: the whole recipe, a cheaper option on validation, a fine-tune of the
study, one with a fresh seed, the outputs of all options on test, what was found for one option on test."""
RECIPE_DIGEST = "burnish.recipe_digest"
CHILD_IDENTITY = "burnish.identity"
_REQUEST = "burnish.request"
INSTALLATION = "burnish.installation"
"""Tag of a parent run, and of an experiment, on a server that others may use too: whose it is."""
_UI_SHOWS_RUNS_FIRST = {"mlflow.experimentKind": "custom_model_development"}
"""Without it, MLflow's UI guesses what an experiment is for, and may open it at traces, of which there are none."""
_DATASET_DIGEST_LENGTH = 36


class MetricRow(NamedTuple):
    """One value of one metric at one step."""

    key: str
    value: float
    step: int


class Tracker:
    """MLflow runs of one installation. Runs are named by id, never by an active run of the thread."""

    def __init__(
        self,
        tracking_uri: str,
        home: Path,
        *,
        locks: Locks | None = None,
        artifacts: str | None = None,
        installation: str = "",
    ) -> None:
        """Reach the server, or create and check the database.

        Args:
            tracking_uri: of MLflow's server or database.
            home: where this process may write.
            locks: those of the installation; None: files in `home`.
            artifacts: URI below which artifacts lie where there is no server; None: in `home`.
            installation: whose runs these are, as `Settings.installation` has it.

        Raises:
            ServerError: see `prepare_store`.
        """
        self.locks: Locks = locks or FileLocks(home)
        self.artifacts = artifacts or artifact_root(home)
        prepare_store(tracking_uri, home, locks=self.locks)
        # both would write over the terminal's own output
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
        self.tracking_uri = tracking_uri
        self.home = home
        self.installation = installation
        self.client = MlflowClient(tracking_uri, registry_uri=tracking_uri)

    @property
    def is_server(self) -> bool:
        """Whether MLflow is a server, so that requests may be lost on their way and made again."""
        return self.tracking_uri.startswith(("http://", "https://"))

    @property
    def is_local(self) -> bool:
        """Whether MLflow's database is a file, which one machine has."""
        return self.tracking_uri.startswith("sqlite:")

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Turn what MLflow raises within the block into a `ServerError` that says what was being done."""
        try:
            yield
        except MlflowException as error:
            raise ServerError(_message(self.tracking_uri, doing, error)) from error

    def experiment(self, recipe_name: str) -> str:
        """Return the id of the recipe's experiment, creating it if need be."""
        with self.explained(f"open the experiment {recipe_name!r}"):
            found = self.client.get_experiment_by_name(recipe_name)
            if found is None:
                return self._create_experiment(recipe_name)
        if found.lifecycle_stage != "active":
            raise ServerError(
                f"the experiment {recipe_name!r} was deleted in MLflow; bring it back with "
                f"`mlflow experiments restore -x {found.experiment_id}`, or give the recipe another name"
            )
        return str(found.experiment_id)

    def tag_experiment(self, experiment: str, tags: Mapping[str, str]) -> None:
        """Set tags of an experiment, replacing those of the same key."""
        with self.explained("tag the experiment"):
            for key, value in tags.items():
                self.client.set_experiment_tag(experiment, key, value[:MAX_EXPERIMENT_TAG_VAL_LENGTH])

    def experiments(self) -> list[Experiment]:
        """Return every experiment that is not deleted."""
        with self.explained("list the experiments"):
            return list(self.client.search_experiments())

    def _create_experiment(self, recipe_name: str) -> str:
        location = None if self.is_server else f"{self.artifacts}/{recipe_name}"
        try:
            return str(
                self.client.create_experiment(recipe_name, artifact_location=location, tags=_UI_SHOWS_RUNS_FIRST)
            )
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
            return str(self.client.get_experiment_by_name(recipe_name).experiment_id)

    def open_parent(
        self, experiment: str, *, recipe_digest: str, params: Mapping[str, Any], run_name: str | None = None
    ) -> str:
        """Return the run of a recipe: the newest unfinished one of the same recipe, else a new one.

        Unfinished are those that run, failed or were killed: the same command goes on with them.

        Args:
            experiment: experiment id.
            recipe_digest: identity of the resolved recipe.
            params: the resolved recipe; nested values are logged by dotted key.
            run_name: shown in the MLflow UI; None lets MLflow choose.
        """
        wanted = {KIND: "recipe", RECIPE_DIGEST: recipe_digest}
        for run in self.runs(experiment, tags=wanted):
            if run.info.status != "FINISHED" and self._is_ours(run):
                self._reopen(run)
                self.log_params(run.info.run_id, params)
                return str(run.info.run_id)
        if self.installation:
            wanted[INSTALLATION] = self.installation
        run = self._create_run(experiment, tags=wanted, run_name=run_name)
        reach("run:parent-created")
        self.log_params(run.info.run_id, params)
        return str(run.info.run_id)

    def child(
        self,
        parent: str,
        name: str,
        *,
        kind: RunKind,
        tags: Mapping[str, str],
        identity: str = "",
        of_any_parent: bool = False,
    ) -> str:
        """Return the child run `name` of `parent`, continued if it is there already, so that it is there once.

        Args:
            parent: run id.
            name: of the child.
            kind: what it holds.
            tags: set on it.
            identity: of the stage or study that it belongs to; one of another identity is another child, since a
                parent goes on after its data changed, and MLflow refuses to change a logged param.
            of_any_parent: whether one that an earlier parent began is continued where it stands: a study may go on
                under several parents, and has each of its trials once.
        """
        experiment = self.run(parent).info.experiment_id
        tags = {**tags, KIND: kind, CHILD_IDENTITY: identity}
        wanted = {MLFLOW_RUN_NAME: name, CHILD_IDENTITY: identity}
        wanted |= {} if of_any_parent else {MLFLOW_PARENT_RUN_ID: parent}
        for run in self.runs(experiment, tags=wanted):
            if of_any_parent and not self._is_ours(run):
                continue
            self._reopen(run)
            self.set_tags(run.info.run_id, tags)
            return str(run.info.run_id)
        run = self._create_run(experiment, tags={MLFLOW_PARENT_RUN_ID: parent, **tags}, run_name=name)
        reach("run:child-created")
        return str(run.info.run_id)

    def _create_run(self, experiment: str, *, tags: Mapping[str, str], run_name: str | None) -> Run:
        """Create a run once, though a server may carry a request out, go away, and be asked again by MLflow's client.

        The request has a name of its own: nothing but what was made of this very request is deleted.
        """
        request = {_REQUEST: uuid.uuid4().hex}
        with self.explained(f"create the run {run_name!r}"):
            created = self.client.create_run(experiment, run_name=run_name, tags={**tags, **request})
        if self.is_server:
            for run in self.runs(experiment, tags=request):
                if run.info.run_id != created.info.run_id:
                    with self.explained("delete a run that was created twice"):
                        self.client.delete_run(run.info.run_id)
        return created

    def run(self, run_id: str) -> Run:
        """Return MLflow's own record of a run."""
        with self.explained(f"read the run {run_id}"):
            return self.client.get_run(run_id)

    def runs(self, experiment: str, *, tags: Mapping[str, str | None], status: str | None = None) -> list[Run]:
        """Return the runs with all these tags (None: of any value) and this status, newest first, not deleted."""
        clauses = [
            f"tags.`{key}` != ''" if value is None else f"tags.`{key}` = {_quoted(value)}"
            for key, value in tags.items()
        ]
        clauses += [f"attributes.status = '{status}'"] if status else []
        found: list[Run] = []
        token: str | None = None
        with self.explained("search runs"):
            while True:
                page = self.client.search_runs(
                    [experiment], " and ".join(clauses), ViewType.ACTIVE_ONLY,
                    order_by=["attributes.start_time DESC"], page_token=token,
                )  # fmt: skip
                found.extend(page)
                token = page.token
                if not token:
                    return found

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log (nested) values as params by dotted key; texts beyond MLflow's limit are cut."""
        rows = [Param(key, _param_text(value)) for key, value in _flat(params)]
        with self.explained("log params"):
            self.client.log_batch(run_id, params=rows)

    def log_metrics_batch(self, run_id: str, rows: Sequence[MetricRow]) -> None:
        """Log many metric values in one go; MLflow takes 1,000 so in the time of a handful one by one."""
        now = int(time.time() * 1000)
        with self.explained("log metrics"):
            self.client.log_batch(run_id, metrics=[Metric(row.key, row.value, now, row.step) for row in rows])

    def last_step(self, run_id: str, key: str) -> int:
        """Return the largest step at which a metric is on record; -1 where it isn't."""
        with self.explained(f"read the metric {key!r}"):
            return max((metric.step for metric in self.client.get_metric_history(run_id, key)), default=-1)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, replacing those of the same key."""
        if tags:
            with self.explained("set tags"):
                self.client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def rename(self, run_id: str, name: str) -> None:
        """Give a run another name."""
        with self.explained("name a run"):
            self.client.update_run(run_id, name=name)

    def describe(self, run_id: str, markdown: str) -> None:
        """Set what the MLflow UI shows as the run's description; texts out of data must be escaped in it."""
        self.set_tags(run_id, {MLFLOW_RUN_NOTE: markdown})

    def log_text(self, run_id: str, text: str, artifact_path: str) -> None:
        """Store a text as an artifact, replacing one of the same path."""
        with self.explained(f"store {artifact_path}"):
            self.client.log_text(run_id, text, artifact_path)

    def log_file(self, run_id: str, file: Path, artifact_folder: str | None) -> None:
        """Store a local file in an artifact folder (None: the top), replacing one of the same name."""
        with self.explained(f"store {file.name}"):
            self.client.log_artifact(run_id, str(file), artifact_folder)

    def log_table(self, run_id: str, columns: Mapping[str, Sequence[Any]], artifact_path: str) -> None:
        """Store columns as a table that the MLflow UI shows side by side across runs, replacing an earlier one.

        MLflow's own `log_table` appends, which would double the rows when a killed stage is done again.
        """
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        self.log_text(run_id, json.dumps({"columns": list(columns), "data": rows}), artifact_path)
        known = json.loads(self.run(run_id).data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
        entry = {"path": artifact_path, "type": "table"}
        if entry not in known:
            self.set_tags(run_id, {MLFLOW_LOGGED_ARTIFACTS: json.dumps([*known, entry])})

    def read_text(self, run_id: str, artifact_path: str) -> str | None:
        """Return the text of an artifact, or None where there is none."""
        folder = artifact_path.rpartition("/")[0] or None
        with self.explained(f"read {artifact_path}"), tempfile.TemporaryDirectory() as scratch:
            if artifact_path not in {file.path for file in self.client.list_artifacts(run_id, folder)}:
                return None
            return Path(self.client.download_artifacts(run_id, artifact_path, scratch)).read_text(encoding="utf-8")

    def log_snapshot_input(self, run_id: str, digest: str, *, name: str) -> None:
        """Name the snapshot as the run's dataset; MLflow keeps 36 characters of the digest, the source the rest."""
        dataset = Dataset(
            name=name,
            digest=digest[:_DATASET_DIGEST_LENGTH],
            source_type="burnish-snapshot",
            source=json.dumps({"snapshot": digest}),
        )
        with self.explained("log the snapshot"):
            self.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "recipe")])])

    def finish(self, run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """End a run."""
        with self.explained(f"end the run {run_id}"):
            self.client.set_terminated(run_id, status)
        reach("run:finished")

    def close_leftovers(self, experiment: str, *, keep: str | None) -> list[str]:
        """End as KILLED what dead processes left RUNNING, but the parent `keep`; return the ids.

        Only the holder of the recipe's lease may call this. Runs that people made by hand are left alone, and so are
        those of another installation, whose locks are not seen from here.
        """
        running = self.runs(experiment, tags={KIND: None}, status="RUNNING")
        left = [run.info.run_id for run in running if self._is_ours(run)]
        closed = [str(run_id) for run_id in left if run_id != keep]
        for run_id in closed:
            self.finish(run_id, "KILLED")
        return closed

    def _is_ours(self, run: Run) -> bool:
        """Whether this installation opened a run or its parent; of an unmarked one a local database says so."""
        parent = run.data.tags.get(MLFLOW_PARENT_RUN_ID)
        marked = (self.run(parent) if parent else run).data.tags.get(INSTALLATION)
        return self.is_local if marked is None else marked == self.installation

    def _reopen(self, run: Run) -> None:
        if run.info.status != RunStatus.to_string(RunStatus.RUNNING):
            with self.explained(f"continue the run {run.info.run_id}"):
                self.client.update_run(run.info.run_id, status="RUNNING")


def recipe_digest(recipe: Mapping[str, Any]) -> str:
    """Identity of a resolved recipe (`Recipe.model_dump(mode="json")`)."""
    return digest_of(recipe)


def _quoted(value: str) -> str:
    """Quote a value for MLflow's filters, which know no escape."""
    quote = "'" if "'" not in value else '"'
    if quote in value:
        raise ValueError(f"MLflow can't search for a value with both kinds of quotes, got {value!r}")
    return f"{quote}{value}{quote}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _param_text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_PARAM_VAL_LENGTH else f"{text[: MAX_PARAM_VAL_LENGTH - 1]}…"


def _message(tracking_uri: str, doing: str, error: MlflowException) -> str:
    reason = str(error).strip().splitlines()[0][:300]
    if "locked" in reason:
        return (
            f"can't {doing}: the MLflow database {shown(tracking_uri)} is locked by another program; "
            "close that program and run the same command again"
        )
    return f"can't {doing} in MLflow at {shown(tracking_uri)}: {reason}; if that passes, run the same command again"
