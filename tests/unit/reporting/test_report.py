import re

import pytest
from rich.console import Console

from tasks.reporting.details import seed_note, trial_rows
from tasks.reporting.html_report import render_report
from tasks.reporting.markdown import summary_as_markdown
from tasks.reporting.summary import OptionRow, RunSummary, StageRow, summary_from_json
from tasks.reporting.terminal_summary import next_commands, render_summary
from tasks.tracking.shown_text import escaped, printable

HOSTILE = '<script>alert(1)</script>[x](http://x) \x1b[2J\u202e=cmd() $\\frac$ "'


def summary(name: str = "classical", aliases: tuple[str, ...] = ()) -> RunSummary:
    return RunSummary(
        recipe="icd10",
        snapshot="d" * 64,
        stages=(StageRow("prepare", 1.0, False), StageRow("validate", 2.0, True)),
        options=(
            OptionRow(name, "classical", "exact_match", 0.5, 0.4, 0.6, 100),
            OptionRow("candidate", "candidate", "exact_match", 0.7, 0.6, 0.8, 100),
        ),
        verdict={"kind": "pays", "sentence": f"Fine-tuning pays {name}.", "rule": "a rule"},
        decision={"promote": True, "alias": "champion", "reasons": [f"gain: {name}"], "look": 1},
        model={"name": "icd10", "version": "3", "aliases": list(aliases)},
        cost={"currency": "EUR", "training": 0.1, "per_1000_requests": 0.2, "break_even_requests_per_month": 1000},
        peak_rss_mb=1000.0,
        run_id="r",
        details={
            "data": {"records": name},
            "validation": [
                {"rule": name, "column": "prompt", "on_failure": "drop", "failed": True, "count": 3, "detail": name}
            ],
            "trials": [
                {
                    "number": 0, "value": 0.7, "seconds": 3.0, "reason": name, "state": "COMPLETE",
                    "parameters": "lora_rank = 16", "curve": [(1, 0.2), (2, 0.7)],
                }
            ],
            "seed_note": "one seed",
            "option_costs": [
                {
                    "name": name, "kind": "classical", "value": 0.5, "low": 0.4, "high": 0.6, "latency_p50": None,
                    "latency_p95": 0.1, "records_per_second": 5.0, "cost_per_1000_requests": 0.1,
                }
            ],
            "interval_method": "Wilson",
            "comparisons": [
                {"option": name, "difference": 0.2, "low": 0.1, "high": 0.3, "p_value": 0.01, "method": "Newcombe"}
            ],
            "gates": [{"name": "parity", "passed": True, "reason": name}],
            "slice_reference": name,
            "slices": [{"slice": name, "n": 10, "value": 0.5, "low": 0.4, "high": 0.6, "reference": None}],
            "outputs": {"columns": ["record_id", name], "rows": [["1", name]]},
            "lineage": {"snapshot": name},
        },
    )  # fmt: skip


def test_nothing_out_of_the_data_is_markup_in_the_report() -> None:
    html = render_report(summary(HOSTILE))

    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_the_report_starts_with_the_verdict() -> None:
    html = render_report(summary())

    assert html.index("Fine-tuning pays") < html.index("Decision") < html.index("<svg")


def test_nothing_out_of_the_data_is_markup_in_markdown() -> None:
    text = summary_as_markdown(summary(HOSTILE))

    assert re.findall(r"(?<!\\)[<>\[\]]|://", text) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b\n# c", "a\\|b # c"),
        ("# c", "\\# c"),
        ("1. first", "1\\. first"),
        ("- item", "\\- item"),
        ("-75.0 points", "-75.0 points"),
        ("25.0%", "25.0%"),
        ("1234) x", "1234\\) x"),
        ("see http://x.org and www.x.org", "see http&#58;//x.org and www&#46;x.org"),
        ("a@b.org", "a&#64;b.org"),
        ("&lt;b&gt; <i>", "&#38;lt;b&#38;gt; &#60;i&#62;"),
        ("![x](y)", "!\\[x\\](y)"),
        ("Fine-tuning pays: 25.0% (36 records)", "Fine-tuning pays: 25.0% (36 records)"),
    ],
)
def test_markdown_is_escaped_where_it_means_something(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_nothing_out_of_the_data_drives_the_terminal() -> None:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(render_summary(summary(HOSTILE)))

    text = console.export_text()
    assert "\x1b[2J" not in text
    assert "\\x1b[2J" in text
    assert printable("a\x00b\u200b") == "a\\x00b\\x200b"


def test_the_summary_survives_json() -> None:
    before = summary()

    after = summary_from_json(before.as_json())

    assert after.options == before.options
    assert after.stages == before.stages


def test_the_commands_to_try_fit_what_happened() -> None:
    assert "icd10@champion" in next_commands(summary(aliases=("champion",)))[0]
    assert "icd10/3" in next_commands(summary())[0]
    assert len(next_commands(summary())) == 3


def test_states_are_called_as_optuna_calls_them() -> None:
    trial = {"name": "trial/0", "number": 0, "value": 0.5, "seconds": 1.0, "reason": None, "state": "pruned"}

    row = trial_rows({"trials": [{**trial, "parameters": {"learning_rate": 0.00123456}}]}, {"trial/0": [(1, 0.5)]})[0]

    assert row["state"] == "PRUNED"
    assert row["parameters"] == "learning_rate = 0.00123"
    assert row["curve"] == [(1, 0.5)]


def test_one_seed_says_that_the_spread_is_unknown() -> None:
    one = {"spread": {"values": [0.5], "range": None, "standard_deviation": None}}
    two = {"spread": {"values": [0.5, 0.54], "range": 0.04, "standard_deviation": 0.028}}

    assert "not known" in seed_note(one)
    assert "4.0 points" in seed_note(two)
