"""From the outputs of a run's stages to what the report shows: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.schema import BaseSource, Economics, FolderBase, HubBase, PackageBase, TinyBase
from tasks.reporting.summary import TINY_BASE
from tasks.search.space import shown_parameters

Outputs = Mapping[str, Mapping[str, Any]]
"""Outputs of each stage, by name."""

_OUTPUT_ROWS = 25
_PRICES_AND_LOAD = (
    "requests_per_month", "value_per_correct_answer", "training_price_per_hour", "hosting_price_per_hour",
)  # fmt: skip


def report_details(
    outputs: Outputs,
    *,
    comparisons: Sequence[Mapping[str, Any]],
    curves: Mapping[str, Sequence[tuple[int, float]]],
    table: Mapping[str, Any],
    lineage: Mapping[str, Any],
    requests_per_month: int,
    why: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that only the report shows.

    Args:
        outputs: of the stages.
        comparisons: the candidate against each other option, as rows.
        curves: validation values by step, by trial name.
        table: the per-row outputs of all options: `columns` and `data`.
        lineage: names and digests, as rows.
        requests_per_month: the recipe's load.
        why: what each rule of the suite is for.
    """
    cards = outputs["evaluate"]["scorecards"]
    candidate = next(card for card in cards if card["kind"] == "candidate")
    verdict = outputs["promote"]["verdict"]
    reference = next((card for card in cards if card["kind"] == "champion"), None) or next(
        (card for card in cards if card["name"] == verdict["best_cheaper"]), candidate
    )
    return {
        "data": _data_rows(outputs),
        "validation": [{**row, "why": why.get(row["rule"], "")} for row in outputs["validate"]["outcomes"]],
        "trials": trial_rows(outputs["search"]["study"], curves),
        "seed_note": seed_note(outputs["search"]["study"]),
        "option_costs": [_option_row(card) for card in cards],
        "figure_names": list(dict.fromkeys(name for card in cards for name in card_figures(card))),
        "cost_note": cost_note(cards, requests_per_month),
        "interval_method": candidate["estimate"]["method"],
        "comparisons": list(comparisons),
        "gates": outputs["promote"]["decision"]["gates"],
        "slice_reference": reference["name"],
        "slices": _slice_rows(candidate, reference),
        "outputs": {"columns": table["columns"], "rows": table["data"][:_OUTPUT_ROWS]},
        "lineage": dict(lineage),
    }


def trial_rows(study: Mapping[str, Any], curves: Mapping[str, Sequence[tuple[int, float]]]) -> list[dict[str, Any]]:
    """Each trial with its curve, by number."""
    states = {"finished": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "refused": "FAIL"}
    return [
        {
            **{key: trial[key] for key in ("number", "value", "seconds", "reason")},
            "state": states[trial["state"]],
            "values": dict(trial["parameters"]),
            "parameters": shown_parameters(trial["parameters"]),
            "curve": list(curves.get(trial["name"], ())),
        }
        for trial in study["trials"]
    ]


def seed_note(study: Mapping[str, Any]) -> str:
    """How far the seed alone moves the result, in one sentence."""
    spread = study["spread"]
    values = ", ".join(f"{value:.3f}" for value in spread["values"])
    if spread["range"] is None:
        return f"The named trial was trained with one seed ({values}), so the seed spread is not known."
    return (
        f"The named trial, with {len(spread['values'])} seeds, reached {values} on validation: "
        f"a seed spread of {100 * spread['range']:.1f} points "
        f"(standard deviation {100 * spread['standard_deviation']:.1f})."
    )


def cost_note(cards: Sequence[Mapping[str, Any]], requests_per_month: int) -> str:
    """What the cost per 1,000 requests is made of, and why a fast option need not be the cheaper one."""
    text = (
        f"Per 1,000: training, and the machines that {requests_per_month:,} requests a month need. "
        "A machine is paid by the hour whether it is busy or not"
    )
    counts = {card["machines"] for card in cards}
    if len(counts) > 1:
        return f"{text}, so slow options that need more machines cost more."
    (count,) = counts
    needed = "one machine" if count == 1 else f"{count} machines"
    return f"{text}: every option here needs {needed}, so a faster one is not cheaper at this load."


def assumptions(economics: Economics) -> list[dict[str, Any]]:
    """What the costs and the net value rest on, and which of it is Burnish's default, written down or not."""
    defaults = type(economics)().model_dump(mode="json")
    return [
        {"name": name, "value": value, "is_default": value == defaults[name]}
        for name, value in economics.model_dump(mode="json").items()
    ]


def base_in_words(base: BaseSource) -> str:
    """The base model as a person would name it."""
    if isinstance(base, FolderBase):
        return Path(base.path).name
    if isinstance(base, HubBase):
        return base.id
    return base.package if isinstance(base, PackageBase) else TINY_BASE


def money_warnings(economics: Economics) -> tuple[str, ...]:
    """What is to be said of net values that rest on nobody's prices; horizon and currency are no prices."""
    assumed = [row["name"] for row in assumptions(economics) if row["is_default"] and row["name"] in _PRICES_AND_LOAD]
    if not assumed:
        return ()
    return (f"costs and net value rest on Burnish's defaults of {', '.join(assumed)}: set yours in economics",)


def validation_warnings(checked: Mapping[str, Any]) -> tuple[str, ...]:
    """What is to be said of records that validation took out, and of what it found and left in."""
    dropped = len(checked["dropped_ids"])
    taken_out = f"validation dropped {dropped:,} of {checked['records']:,} records ({_failed_rules(checked, 'drop')})"
    warned = _failed_rules(checked, "warn")
    left_in = f"validation warns of {warned}: the report says of how many records"
    return (*([taken_out] if dropped else []), *([left_in] if warned else []))


def _failed_rules(checked: Mapping[str, Any], on_failure: str) -> str:
    failed = (each for each in checked["outcomes"] if each["on_failure"] == on_failure and each["failed"])
    return ", ".join(dict.fromkeys(each["rule"].replace("_", " ") for each in failed))


def base_warnings(base: BaseSource) -> tuple[str, ...]:
    """What to know of the base before the figures are believed."""
    if not isinstance(base, TinyBase):
        return ()
    return (
        "the base is a tiny random model that knows no language: the run shows that every stage works on these data; "
        "its figures and verdict say nothing about a real model",
    )


def card_figures(card: Mapping[str, Any]) -> dict[str, float]:
    """What a scorecard says beside its deciding metric: the other metrics, and the figures of free text."""
    others = {metric: estimate["value"] for metric, estimate in card["secondary"].items()}
    macro = {} if card["macro_f1"] is None else {"macro_f1": card["macro_f1"]}
    return {**others, **macro, **card["figures"]}


def _data_rows(outputs: Outputs) -> dict[str, Any]:
    counts, checked = outputs["validate"]["counts"], outputs["validate"]
    labels = checked["labels"]
    return {
        "records": ", ".join(f"{count} {name}" for name, count in counts.items()),
        "labels": f"a closed set of {len(labels)}" if labels else "open generation",
        "dropped by validation": len(checked["dropped_ids"]),
        "snapshot": checked["snapshot"],
        "made from": outputs["prepare"]["snapshot"],
    }


def _option_row(card: Mapping[str, Any]) -> dict[str, Any]:
    estimate = card["estimate"]
    return {
        "figures": card_figures(card),
        **{key: card[key] for key in ("name", "kind", "records_per_second", "machines", "cost_per_1000_requests")},
        **{key: estimate[key] for key in ("value", "low", "high")},
        "latency_p50": card["latency_p50_seconds"],
        "latency_p95": card["latency_p95_seconds"],
    }


def _slice_rows(candidate: Mapping[str, Any], reference: Mapping[str, Any]) -> list[dict[str, Any]]:
    beside = {(row["slice"], row["value"]): row["estimate"]["value"] for row in reference["slices"]}
    return [
        {
            "slice": f"{row['slice']}: {row['value']}",
            "n": row["n"],
            "groups": row["groups"],
            **{key: row["estimate"][key] for key in ("value", "low", "high")},
            "reference": beside.get((row["slice"], row["value"])),
        }
        for row in candidate["slices"]
    ]
