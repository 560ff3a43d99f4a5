"""Judge a snapshot by a suite: drop first, then stop and warn about what is left."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import DataError
from configs.schema import Template
from tasks.data.records import SPLITS, Record
from tasks.data.snapshots import Snapshot, read_snapshot, write_snapshot
from tasks.data.tokens import special_tokens
from tasks.models.tokenizer import load_tokenizer
from tasks.validation.frame import snapshot_frame
from tasks.validation.quarantine import write_quarantine
from tasks.validation.result import MOST_ROW_IDS, RuleOutcome, ValidationResult
from tasks.validation.rules import JsonCompletion, KnownLabel, Rule, TableColumns, TextWithoutTokens, TokensWithinLimit
from tasks.validation.suites import Suite, suite_digest

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from tasks.validation.gx_checkpoint import Check, Checked


@dataclass(frozen=True)
class _Setting:
    """What rules need to know of the recipe."""

    labels: tuple[str, ...] | None
    json_schema: Mapping[str, Any] | None
    max_tokens: int
    special_tokens: tuple[str, ...]
    has_tokenizer: bool


def validate_snapshot(
    snapshots: Path,
    digest: str,
    *,
    suite: Suite,
    template: Template,
    tokenizer_directory: Path | None,
    labels: tuple[str, ...] | None,
    quarantine: Path,
    json_schema: Mapping[str, Any] | None = None,
) -> ValidationResult:
    """Judge a snapshot; rows that a rule drops are left out of a new snapshot, which names this one as its parent.

    Args:
        snapshots: `Settings.snapshots`.
        digest: the snapshot to judge.
        suite: what to judge it by.
        template: how a record is rendered; says what the model is shown, and how many tokens are allowed.
        tokenizer_directory: the base model's folder; None leaves token counts out.
        labels: the closed label set; None for open generation.
        quarantine: `Settings.quarantine`.
        json_schema: what completions must be by `data.json_schema`; None: they need not be JSON.

    Raises:
        BaseModelError: the tokenizer can't be loaded.
        DataError: dropping leaves a split without records; the dropped rows are in the quarantine.
        RecipeError: the template can't be rendered.
        ValidationStopped: a rule could not be evaluated. A rule that failed is told by the result instead.
    """
    snapshot = read_snapshot(snapshots, digest)
    tokenizer = None if tokenizer_directory is None else load_tokenizer(tokenizer_directory)
    setting = _Setting(labels, json_schema, template.max_tokens, _special_tokens(tokenizer), tokenizer is not None)
    applicable = {name: rule for name, rule in suite.rules.items() if _applies(rule, setting)}
    frame = snapshot_frame(snapshot.records, template, tokenizer)
    dropping, dropped = _drop(frame, applicable, setting)
    kept = [record for record in snapshot.records if record.record_id not in dropped]
    judging = _judge(frame.drop(index=list(dropped)), applicable, setting) if kept else []

    results = [*dropping, *judging]
    passed = not any(result.failed and result.check.on_failure == "stop" for result in results)
    path = _quarantine(quarantine, snapshot, suite, results)
    _refuse_empty_splits(kept, dropping, path)
    return ValidationResult(
        snapshot=digest,
        suite=suite.name,
        suite_digest=suite_digest(suite),
        passed=passed,
        outcomes=tuple(_outcome(result, frame, template) for result in results),
        not_applicable=tuple(name for name in suite.rules if name not in applicable),
        dropped_ids=tuple(record.record_id for record in snapshot.records if record.record_id in dropped),
        new_snapshot=_store(snapshots, snapshot, kept) if passed and dropped else None,
        records=len(snapshot.records),
        evaluated=len(results),
        quarantine=None if path is None else str(path),
    )


def _special_tokens(tokenizer: PreTrainedTokenizerBase | None) -> tuple[str, ...]:
    """Return the spellings to look for; those that are ordinary words or white space would be found everywhere."""
    if tokenizer is None:
        return ()
    return tuple(token for token in special_tokens(tokenizer) if token.strip() and not token.strip().isalnum())


def _applies(rule: Rule, setting: _Setting) -> bool:
    if isinstance(rule, TokensWithinLimit) and not setting.has_tokenizer:
        return False
    if rule.when == "json_schema":
        return setting.json_schema is not None
    return rule.when == "always" or (rule.when == "closed_labels") == (setting.labels is not None)


def _drop(frame: pd.DataFrame, rules: dict[str, Rule], setting: _Setting) -> tuple[list[Checked], set[str]]:
    dropping = {name: rule for name, rule in rules.items() if rule.on_failure == "drop"}
    checked = _evaluate(frame, dropping, setting) if dropping else []
    return checked, {row_id for result in checked for row_id in result.row_ids}


def _judge(frame: pd.DataFrame, rules: dict[str, Rule], setting: _Setting) -> list[Checked]:
    judging = {name: rule for name, rule in rules.items() if rule.on_failure != "drop"}
    return _evaluate(frame, judging, setting) if judging else []


def _evaluate(frame: pd.DataFrame, rules: dict[str, Rule], setting: _Setting) -> list[Checked]:
    from tasks.validation.gx_checkpoint import evaluate

    return evaluate(frame, [check for name, rule in rules.items() for check in _checks(name, rule, setting)])


def _checks(name: str, rule: Rule, setting: _Setting) -> Iterator[Check]:
    """Yield what Great Expectations shall evaluate for a rule; the run-time arguments are filled in."""
    from tasks.validation.gx_checkpoint import Check

    expectation, arguments = _expectation(rule, setting)
    if isinstance(rule, TableColumns):
        yield Check(name, "*", rule.on_failure, expectation, arguments)
    elif rule.evaluates == "rows":
        together = {"column_list": list(rule.columns), "ignore_row_if": "never"}
        yield Check(name, "+".join(rule.columns), rule.on_failure, expectation, {**together, **arguments})
    else:
        for column in rule.columns:
            yield Check(name, column, rule.on_failure, expectation, {"column": column, **arguments})


def _expectation(rule: Rule, setting: _Setting) -> tuple[str, dict[str, Any]]:
    """Return the type and the arguments by which Great Expectations knows the rule."""
    if isinstance(rule, KnownLabel):
        return "expect_column_values_to_be_in_set", {"value_set": list(setting.labels or ())}
    if isinstance(rule, JsonCompletion):
        # as text, since Great Expectations reads some keys that begin with $ as its own
        return rule.expectation, {"json_schema": json.dumps(setting.json_schema)}
    if isinstance(rule, TokensWithinLimit):
        return "expect_column_values_to_be_between", {"max_value": setting.max_tokens}
    if isinstance(rule, TextWithoutTokens):
        return rule.expectation, {"tokens": sorted({*rule.tokens, *setting.special_tokens})}
    return rule.expectation, rule.arguments()


def _quarantine(folder: Path, snapshot: Snapshot, suite: Suite, results: Sequence[Checked]) -> Path | None:
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for result in results:
        if result.check.on_failure != "warn":
            for row_id in result.row_ids:
                reasons[row_id].append(f"{result.check.rule}:{result.check.column}")
    if not reasons:
        return None
    return write_quarantine(folder, snapshot.records, reasons=reasons, name=f"{snapshot.digest}-{suite.name}")


def _refuse_empty_splits(kept: Sequence[Record], dropping: Sequence[Checked], path: Path | None) -> None:
    left = {record.split for record in kept}
    empty = [split for split in SPLITS if split not in left]
    if not empty:
        return
    counts = ", ".join(
        f"{result.check.rule} ({result.check.column}) {len(result.row_ids)}" for result in dropping if result.failed
    )
    raise DataError(
        f"validation leaves no records for {' and '.join(empty)}; rows dropped by rule: {counts}; the rows are in "
        f"{path}; mend the data, or set validation.overrides for these rules to warn"
    )


def _outcome(result: Checked, frame: pd.DataFrame, template: Template) -> RuleOutcome:
    detail = result.detail
    if result.failed and result.check.column == "tokens":
        detail = (
            f"the share that is cut to template.max_tokens {template.max_tokens}; the longest has "
            f"{int(frame.loc[list(result.row_ids), 'tokens'].max())} tokens"
        )
    return RuleOutcome(
        rule=result.check.rule,
        column=result.check.column,
        on_failure=result.check.on_failure,
        failed=result.failed,
        count=len(result.row_ids),
        checked=result.checked,
        row_ids=result.row_ids[:MOST_ROW_IDS],
        detail=detail,
    )


def _store(snapshots: Path, snapshot: Snapshot, kept: Sequence[Record]) -> str:
    return write_snapshot(
        kept,
        snapshots=snapshots,
        source_digest=snapshot.source_digest,
        parent=snapshot.digest,
        labels=snapshot.labels,
    )
