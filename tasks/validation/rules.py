"""The kinds of rules that a suite may hold: one class for each expectation, as checked data.

This module knows no Great Expectations, so that a suite can be read, checked and hashed in milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from configs.schema import Fraction, Section
from expectations.findings import Finding

OnFailure = Literal["stop", "drop", "warn"]

TextColumn = Literal["prompt", "last_turn", "completion", "metadata"]
"""`prompt`: all turns before the completion; `last_turn`: the newest of them; `metadata`: its values, one a line."""

KeyColumn = Literal["group", "input"]
"""`input`: what the template shows of the record, apart from case, width and spacing."""


class RuleBase(Section):
    """What every rule says."""

    evaluates: ClassVar[Literal["cells", "rows", "table"]] = "cells"
    """`cells`: one expectation for each column; `rows`: one for all columns together; `table`: no row is at fault."""
    can_drop: ClassVar[bool] = True

    why: Annotated[str, StringConstraints(min_length=10)]
    """One sentence for people: what goes wrong in training without this rule."""
    when: Literal["always", "closed_labels", "open_completions", "json_schema"] = "always"
    """Whether the rule is for recipes with a closed label set, without one, with `data.json_schema`, or for all."""
    on_failure: OnFailure
    """`stop` ends the flow; `drop` goes on without the rows, in a new snapshot; `warn` reports."""

    def arguments(self) -> dict[str, Any]:
        """Return the expectation's own arguments, columns apart."""
        return self.model_dump(mode="json", exclude={"expectation", "columns", "why", "when", "on_failure"})


class TextFreeOf(RuleBase):
    """No cell holds the finding."""

    expectation: Literal["expect_text_to_be_free_of"]
    columns: tuple[TextColumn, ...] = Field(min_length=1)
    finding: Finding


class TextWithoutTokens(RuleBase):
    """No cell spells a special token: those listed here and those of the base model's tokenizer."""

    expectation: Literal["expect_text_to_be_without_tokens"]
    columns: tuple[TextColumn, ...] = Field(min_length=1)
    tokens: tuple[str, ...]


class NotNull(RuleBase):
    """No cell is null."""

    expectation: Literal["expect_column_values_to_not_be_null"]
    columns: tuple[TextColumn | Literal["id", "split", "group"], ...] = Field(min_length=1)


class Unique(RuleBase):
    """No value stands twice."""

    expectation: Literal["expect_column_values_to_be_unique"]
    columns: tuple[Literal["id"], ...] = Field(min_length=1)


class KnownSplit(RuleBase):
    """Every value is one of those listed."""

    expectation: Literal["expect_column_values_to_be_in_set"]
    columns: tuple[Literal["split"], ...] = Field(min_length=1)
    value_set: tuple[str, ...] = Field(min_length=1)


class KnownLabel(RuleBase):
    """Every completion is in the recipe's closed label set (given at run time)."""

    expectation: Literal["expect_completion_to_be_a_label"]
    columns: tuple[Literal["completion"], ...] = Field(min_length=1, max_length=1)


class JsonCompletion(RuleBase):
    """Every completion is JSON by the recipe's schema (given at run time)."""

    expectation: Literal["expect_completion_to_be_json"]
    columns: tuple[Literal["completion"], ...] = Field(min_length=1, max_length=1)


class TokensWithinLimit(RuleBase):
    """No record has more tokens than `template.max_tokens` (given at run time)."""

    expectation: Literal["expect_tokens_within_limit"]
    columns: tuple[Literal["tokens"], ...] = Field(min_length=1, max_length=1)


class TableColumns(RuleBase):
    """The table has the columns listed."""

    evaluates = "table"
    can_drop = False
    expectation: Literal["expect_table_columns_to_match_set"]
    column_set: tuple[str, ...] = Field(min_length=1)

    columns: ClassVar[tuple[str, ...]] = ("*",)


class FirstOfTheirKind(RuleBase):
    """No record repeats an earlier one of its split."""

    evaluates = "rows"
    expectation: Literal["expect_rows_to_be_first_of_their_kind"]
    columns: tuple[Literal["split"], Literal["input"], Literal["completion"]]


class OneValuePerKey(RuleBase):
    """Equal inputs have equal completions."""

    evaluates = "rows"
    expectation: Literal["expect_one_value_per_key"]
    columns: tuple[Literal["input"], Literal["completion"]]


class KeyOnOneSideOfSplit(RuleBase):
    """A key is found in one split only; the rows on the less protected side are at fault."""

    evaluates = "rows"
    expectation: Literal["expect_key_on_one_side_of_split"]
    columns: tuple[Literal["split"], KeyColumn]


class NoNearCopyAcrossSplits(RuleBase):
    """No input has a near copy in a more protected split."""

    evaluates = "rows"
    expectation: Literal["expect_no_near_copy_across_splits"]
    columns: tuple[Literal["split"], Literal["input"]]
    similarity: float = Field(gt=0.5, le=1)
    """Smallest share of word triples in common (Jaccard) for texts of more than 40 words."""


class ValueNotDominant(RuleBase):
    """No completion has more than a share of the training records."""

    evaluates = "rows"
    can_drop = False
    expectation: Literal["expect_value_not_to_dominate"]
    columns: tuple[Literal["split"], Literal["completion"]]
    max_share: Fraction
    """Largest share of the training records."""
    min_rows: int = Field(ge=1)
    """A completion with fewer training records is never dominant."""


class ValueNotRespelled(RuleBase):
    """No completion is a respelling of a much more common one."""

    expectation: Literal["expect_value_not_to_be_respelled"]
    columns: tuple[Literal["completion"], ...] = Field(min_length=1, max_length=1)
    times: int = Field(ge=2)
    """So many times as often must the common one stand."""


class ValueCommonEnough(RuleBase):
    """Every completion has a number of training records."""

    evaluates = "rows"
    can_drop = False
    expectation: Literal["expect_value_to_be_common_enough"]
    columns: tuple[Literal["split"], Literal["completion"]]
    min_rows: int = Field(ge=2)
    """Fewest training records."""


Rule = Annotated[
    TextFreeOf
    | TextWithoutTokens
    | NotNull
    | Unique
    | KnownSplit
    | KnownLabel
    | JsonCompletion
    | TokensWithinLimit
    | TableColumns
    | FirstOfTheirKind
    | OneValuePerKey
    | KeyOnOneSideOfSplit
    | NoNearCopyAcrossSplits
    | ValueNotDominant
    | ValueNotRespelled
    | ValueCommonEnough,
    Field(discriminator="expectation"),
]
