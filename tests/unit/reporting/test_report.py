import json
import re
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from configs.schema import Economics, FolderBase, TinyBase
from tasks.metrics.intervals import PairedDifference
from tasks.reporting.details import (
    assumptions,
    base_in_words,
    base_warnings,
    cost_note,
    money_warnings,
    seed_note,
    trial_rows,
    validation_warnings,
)
from tasks.reporting.html_report import render_report
from tasks.reporting.markdown import summary_as_markdown
from tasks.reporting.next_steps import next_commands, next_step
from tasks.reporting.plots import gains_plot
from tasks.reporting.risk import risk
from tasks.reporting.summary import OptionRow, RunSummary, StageRow, summary_from_json
from tasks.reporting.terminal_summary import print_summary, render_summary
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
        verdict={
            "kind": "pays", "sentence": f"Fine-tuning pays {name}.", "rule": "a rule", "best_cheaper": name,
            "gain": {"difference": 0.2, "low": 0.1, "high": 0.3, "confidence": 0.95},
            "net_value_low": 100.0, "net_value_high": 300.0,
        },
        decision={"promote": True, "alias": "champion", "reasons": [f"gain: {name}"], "look": 1},
        model={"name": "icd10", "version": "3", "aliases": list(aliases)},
        cost={"currency": "EUR", "training": 0.1, "per_1000_requests": 0.2, "break_even_requests_per_month": 1000},
        peak_rss_mb=1000.0,
        run_id="r",
        details={
            "data": {"records": name},
            "validation": [
                {
                    "rule": name, "column": "prompt", "on_failure": "drop", "failed": True, "count": 3,
                    "detail": name, "why": name,
                }
            ],
            "trials": [
                {
                    "number": 0, "value": 0.7, "seconds": 3.0, "reason": name, "state": "COMPLETE",
                    "parameters": "lora_rank=16", "curve": [(1, 0.2), (2, 0.7)],
                }
            ],
            "seed_note": "one seed",
            "option_costs": [
                {
                    "name": name, "kind": "classical", "value": 0.5, "low": 0.4, "high": 0.6, "latency_p50": None,
                    "latency_p95": 0.1, "records_per_second": 5.0, "machines": 1, "cost_per_1000_requests": 0.1,
                }
            ],
            "interval_method": "Wilson",
            "cost_note": name,
            "comparisons": [
                {
                    "option": name, "difference": 0.2, "low": 0.1, "high": 0.3, "p_value": 0.01, "confidence": 0.95,
                    "method": "Newcombe", "n": 100, "test": "exact McNemar",
                }
            ],
            "gates": [{"name": "parity", "passed": True, "reason": name}],
            "slice_reference": name,
            "slices": [{"slice": name, "n": 10, "groups": 2, "value": 0.5, "low": 0.4, "high": 0.6, "reference": None}],
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


def test_a_gate_that_was_not_checked_has_no_tick() -> None:
    shown = summary()
    shown.details["gates"] = [
        {"name": "cost", "passed": True, "reason": "no limit set", "checked": False},
        {"name": "parity", "passed": True, "reason": "logits agree", "checked": True},
    ]

    html = render_report(shown)

    assert '<td class="unchecked">cost' in html
    assert '<td class="pass">parity' in html


def test_what_the_money_rests_on_is_shown_and_which_of_it_is_a_default_though_written_down() -> None:
    shown = summary()
    shown.details["assumptions"] = assumptions(Economics(value_per_correct_answer=2.5, requests_per_month=100_000))

    html = render_report(shown)

    assert re.search(r"value per correct answer</td><td class=\"n\">2\.50?</td><td></td>", html)
    assert re.search(r"requests per month</td><td class=\"n\">[\d,]+</td><td>the default: check it</td>", html)


def test_a_base_that_knows_no_language_is_called_out_and_a_real_one_is_not() -> None:
    assert "tiny random model" in base_warnings(TinyBase())[0]
    assert base_warnings(FolderBase(path="models/real")) == ()
    assert next_step(replace(summary(), base=base_in_words(TinyBase()))).startswith("Name a real base model")


def test_prices_that_nobody_set_are_called_out() -> None:
    mine = {
        "requests_per_month": 5,
        "value_per_correct_answer": 1,
        "training_price_per_hour": 2,
        "hosting_price_per_hour": 3,
    }

    assert money_warnings(Economics(**mine)) == ()
    assert money_warnings(Economics(currency="USD")) == money_warnings(Economics())
    (told,) = money_warnings(Economics(**{**mine, "hosting_price_per_hour": 0.1}))
    assert "defaults of hosting_price_per_hour:" in told


def test_dropped_records_are_told_with_the_rules_that_dropped_them() -> None:
    rules = [
        {"rule": "exact_duplicates", "on_failure": "drop", "failed": True},
        {"rule": "email_addresses", "on_failure": "drop", "failed": False},
        {"rule": "label_imbalance", "on_failure": "warn", "failed": True},
    ]

    told = validation_warnings({"dropped_ids": ["a", "b"], "records": 2300, "outcomes": rules})

    assert told[0] == "validation dropped 2 of 2,300 records (exact duplicates)"
    assert validation_warnings({"dropped_ids": [], "records": 2300, "outcomes": rules[1:2]}) == ()


def test_what_validation_warns_of_stands_beside_the_verdict() -> None:
    rules = [
        {"rule": "label_imbalance", "on_failure": "warn", "failed": True},
        {"rule": "refusals", "on_failure": "warn", "failed": False},
    ]

    told = validation_warnings({"dropped_ids": [], "records": 2300, "outcomes": rules})

    assert told == ("validation warns of label imbalance: the report says of how many records",)


def test_the_next_command_keeps_what_differed_from_the_recipe() -> None:
    overrides = ("training.epochs=2", "data.max_test_records=100")
    run = replace(
        summary(),
        verdict={**summary().verdict, "kind": "cannot_tell", "more_test_records": 50},
        max_test_records=100,
        overrides=overrides,
    )

    assert any(line.endswith(" training.epochs=2 data.max_test_records=150") for line in next_commands(run))


def test_the_summary_says_what_the_run_was_trained_with() -> None:
    output = StringIO()
    run = replace(summary(), overrides=("training.epochs=2",), chosen={"learning_rate": 0.0123456, "lora_rank": 16})

    print_summary(run, Console(file=output, width=100))

    assert "Trained    " in output.getvalue()
    assert "learning_rate=0.0123, lora_rank=16" in output.getvalue()
    assert "training.epochs=2" in output.getvalue()
    assert "Differs from the recipe's file: training.epochs=2" in summary_as_markdown(run)
    html = render_report(run)
    assert "<td>training.epochs=2</td>" in html
    assert "<td>learning_rate=0.0123, lora_rank=16</td>" in html


@pytest.mark.parametrize("looks_worse", ["", "label 'eye', 40 points below classical"])
def test_the_reports_place_stands_below_the_other_facts(looks_worse: str) -> None:
    output = StringIO()
    run = replace(summary(), report="/r.html", decision={**summary().decision, "looks_worse": looks_worse})

    print_summary(run, Console(file=output, width=100))

    lines = output.getvalue().splitlines()
    [verdict] = [line for line in lines if line.startswith("Verdict")]
    [report] = [line for line in lines if line.startswith("Report")]
    assert report.index("/r.html") == verdict.index("Fine-tuning")


def test_a_summary_of_before_these_facts_were_kept_can_be_read() -> None:
    values = json.loads(json.dumps(summary().as_json()))
    for key in ("overrides", "chosen", "warnings"):
        del values[key]

    read = summary_from_json(values)

    assert (read.overrides, read.chosen, read.warnings) == ((), {}, ())


def test_a_refused_fine_tune_is_not_offered_as_the_thing_to_use() -> None:
    commands = next_commands(replace(summary(), decision={"promote": False, "reasons": []}))

    assert commands[0] == "burnish show icd10 --json"
    assert commands[-1].endswith("# the refused fine-tune, for a look")


def test_the_recommended_cheaper_option_is_asked_by_a_command() -> None:
    found = {"kind": "does_not_pay", "sentence": "s", "best_cheaper": "nearest-8", "recommended": "nearest-8"}
    refused = replace(summary(), verdict=found, decision={"promote": False, "reasons": []}, recipe="my recipe")

    assert next_commands(refused)[0] == "burnish predict --recipe 'my recipe' \"your text\"   # nearest-8"
    assert "`burnish predict --recipe 'my recipe' \"your text\"` answers with it" in next_step(refused)


def test_the_report_starts_with_the_verdict() -> None:
    html = render_report(summary())

    places = [html.index(text) for text in ("Fine-tuning pays", "Risk.", "Next step.", "<svg", "Decision")]
    assert places == sorted(places)


def verdict(kind: str, low: float, high: float) -> dict[str, object]:
    gain = {"difference": (low + high) / 2, "low": low, "high": high, "confidence": 0.95}
    money = {"net_value_low": 1000 * low, "net_value": 500 * (low + high), "net_value_high": 1000 * high}
    return {"kind": kind, "sentence": "s", "rule": "r", "best_cheaper": "classical", "gain": gain, **money}


def test_the_risk_of_a_yes_is_one_end_of_one_interval() -> None:
    text = risk(replace(summary(), verdict=verdict("pays", 0.1, 0.3)))

    assert "no better than classical" in text
    assert "at this look with a chance of at most 2.5%" in text
    assert "as little as +10.0 points, worth 100 EUR" in text


def test_the_risk_of_a_no_adds_up_over_the_cheaper_options() -> None:
    shown = replace(summary(), verdict=verdict("does_not_pay", -0.3, -0.1))
    another = replace(shown.options[0], name="few-shot", kind="prompt")

    assert "nominally 2.5% or less" in risk(shown)
    assert "nominally 5% or less" in risk(replace(shown, options=(*shown.options, another)))
    assert "chance" not in risk(replace(shown, options=(another,) * 11))


@pytest.mark.parametrize(
    ("kind", "low", "high", "told"),
    [
        ("does_not_pay", -0.3, 0.02, "a larger base or more records"),
        ("does_not_pay", -0.3, 0.03, "The money decided"),
        (
            "cannot_tell",
            -0.1,
            0.3,
            "better or worse: -10.0 points to +30.0 points against classical, worth -100 EUR to 300",
        ),
        ("cannot_tell", 0.01, 0.3, "not sure to be above promotion.min_gain, +2.0 points"),
    ],
)
def test_the_risk_names_what_is_open(kind: str, low: float, high: float, told: str) -> None:
    assert told in risk(replace(summary(), verdict=verdict(kind, low, high), min_gain=0.02))


def test_a_gain_that_may_not_pay_is_no_risk_for_the_answers() -> None:
    found = {**verdict("cannot_tell", 0.05, 0.3), "net_value_low": -10.0}

    text = risk(replace(summary(), verdict=found))

    assert "perhaps not by enough to pay" in text
    assert "worse" not in text


def test_where_nothing_was_compared_there_is_no_risk_to_tell() -> None:
    alone = replace(summary(), verdict={**verdict("cannot_tell", 0, 0), "gain": None})

    assert risk(alone) == ""
    assert "Risk." not in render_report(alone)


@pytest.mark.parametrize(
    ("low", "high", "colour"), [(0.03, 0.3, "#2f7040"), (0.01, 0.3, "#9a6a00"), (-0.3, 0.02, "#a83a1f")]
)
def test_a_gain_is_coloured_by_what_is_sure_of_it(low: float, high: float, colour: str) -> None:
    gain = PairedDifference((low + high) / 2, low, high, 0.01, 100, "t", "score", 0.95)

    assert colour in gains_plot([{"option": "classical", **asdict(gain)}], min_gain=0.02)


def test_a_gain_that_the_test_does_not_confirm_is_not_green() -> None:
    gain = PairedDifference(0.1, 0.03, 0.2, 0.06, 100, "t", "score", 0.95)

    assert "#2f7040" not in gains_plot([{"option": "classical", **asdict(gain)}], min_gain=0.02)


def test_the_gain_that_is_wanted_comes_from_the_recipe() -> None:
    plots = [re.findall(r"<svg.*?</svg>", render_report(replace(summary(), min_gain=m)), re.S)[0] for m in (0.0, 0.05)]

    assert plots[0] != plots[1]


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
    console.print(render_summary(summary(HOSTILE), 120))

    text = console.export_text()
    assert "\x1b[2J" not in text
    assert "\\x1b[2J" in text
    assert printable("a\x00b\u200b") == "a\\x00b\\x200b"


def test_the_summary_survives_json() -> None:
    before = summary()

    after = summary_from_json(before.as_json())

    assert after.options == before.options
    assert after.stages == before.stages


def test_a_promoted_version_is_used_by_its_alias() -> None:
    after = summary(aliases=("champion",))

    assert next_step(after).startswith("Use it: icd10@champion")
    assert 'burnish predict --model icd10@champion "your text"' in next_commands(after)
    assert "burnish history icd10" in next_commands(after)


def unsure(**changes: object) -> RunSummary:
    verdict = {"kind": "cannot_tell", "sentence": "s", "best_cheaper": "classical", "more_test_records": 18013}
    refused = {"promote": False, "alias": None, "reasons": [], "refused_by": ["pays", "slices"], "looks_worse": ""}
    return replace(summary(), verdict=verdict, decision=refused, **changes)  # type: ignore[arg-type]


def test_a_verdict_that_cannot_be_told_asks_for_more_test_records(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    limited = unsure(max_test_records=512, recipe_file=str(tmp_path / "my recipes" / "t.yaml"))

    assert "About 18,000 more test records would tell: raise data.max_test_records, now 512." in next_step(limited)
    assert next_commands(limited)[0] == "burnish finetune --recipe 'my recipes/t.yaml' data.max_test_records=18512"
    assert "bring more records" in next_step(unsure())
    assert not any("max_test_records" in command for command in next_commands(unsure()))


@pytest.mark.parametrize(
    ("found", "advice", "limit"),
    [
        (18_512, "raise data.max_test_records, now 512.", "18512"),
        (18_511, "18,511 of the source's records are test records: take all of them", "null"),
        (513, "513 of the source's records are test records: take all of them", "null"),
        (512, "bring more records, and raise data.max_test_records, now 512.", None),
    ],
)
def test_no_more_test_records_are_asked_for_than_the_source_has(found: int, advice: str, limit: str | None) -> None:
    limited = unsure(max_test_records=512, test_records_found=found)

    assert advice in next_step(limited)
    asked = [command.partition("max_test_records=")[2] for command in next_commands(limited)]
    assert [each for each in asked if each] == ([limit] if limit else [])


def test_a_recipe_elsewhere_is_named_by_its_whole_path(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert "--recipe /srv/t.yaml " in next_commands(unsure(max_test_records=512, recipe_file="/srv/t.yaml"))[0]
    assert "--recipe icd10 " in next_commands(unsure(max_test_records=512, recipe_file="icd10"))[0]


def test_what_does_not_pay_names_the_option_to_use() -> None:
    verdict = {"kind": "does_not_pay", "sentence": "s", "best_cheaper": "classical"}

    text = next_step(replace(unsure(), verdict=verdict))

    assert text.startswith("Use classical. It needs no language model")


def test_what_pays_but_was_refused_names_the_gates() -> None:
    refused = replace(unsure(), verdict={"kind": "pays", "sentence": "s"})

    assert "refused by: pays, slices" in next_step(refused)


def terminal_text(shown: RunSummary, width: int = 80) -> str:
    console = Console(width=width, record=True, file=StringIO())
    print_summary(shown, console)
    return console.export_text()


def test_the_summary_fits_80_columns_with_its_points() -> None:
    high = OptionRow("nearest-8 (label scoring) of a long name", "prompt", "normalised_match", 0.985, 0.97, 0.99, 100)

    lines = terminal_text(replace(summary(), options=(high,))).splitlines()

    assert lines[1].startswith("option") and lines[1].endswith(" 1")
    assert lines[2].rstrip().endswith("●")
    assert max(map(len, lines)) <= 80


def test_a_command_is_one_line_however_narrow_the_terminal() -> None:
    shown = unsure(max_test_records=512, recipe_file="/srv/" + "x" * 80 + ".yaml")

    assert next_commands(shown)[0] in terminal_text(shown)


def test_the_verdict_stands_once_on_the_terminal_and_in_the_report() -> None:
    assert " ".join(terminal_text(summary(), 200).split()).count("Fine-tuning pays classical.") == 1
    assert render_report(summary()).count("Fine-tuning pays classical.") == 1


def test_a_refused_version_that_a_person_promoted_is_not_the_first_to_try() -> None:
    moved = replace(
        summary(aliases=("champion",)),
        verdict={**summary().verdict, "kind": "does_not_pay", "recommended": "classical"},
        decision={"promote": False, "reasons": []},
    )

    cheaper, by_hand, history = next_commands(moved)

    assert cheaper == 'burnish predict --recipe icd10 "your text"   # classical'
    assert by_hand.startswith("burnish predict --model icd10@champion")
    assert by_hand.endswith("the gates refused it")
    assert history == "burnish history icd10"


def test_a_refused_version_that_was_promoted_by_hand_says_so() -> None:
    text = terminal_text(unsure(model={"name": "icd10", "version": "3", "aliases": ["champion"]}), 200)

    assert "icd10/3 was refused, but was made champion by hand since" in text
    assert "icd10@champion" in text


def test_a_slice_that_looks_worse_stands_at_the_top() -> None:
    risky = replace(summary(), decision={**summary().decision, "looks_worse": "label 'x', 51.6 points below"})

    html = render_report(risky)

    assert html.index("51.6 points below") < html.index("Decision:")
    assert "51.6 points below" in terminal_text(risky, 200)


def test_a_warning_stands_at_the_top_of_every_form() -> None:
    warned = replace(summary(), warnings=("candidate says one thing",))

    html = render_report(warned)

    assert html.index("candidate says one thing") < html.index("Decision:")
    assert "candidate says one thing" in terminal_text(warned, 200)
    assert "Beware: candidate says one thing" in summary_as_markdown(warned)
    assert "Beware" not in render_report(summary()) + terminal_text(summary(), 200) + summary_as_markdown(summary())
    assert summary_from_json(json.loads(json.dumps(warned.as_json()))).warnings == warned.warnings


def test_the_report_names_date_base_and_description_and_speaks_in_words() -> None:
    html = render_report(replace(unsure(), description="Terms.", base="gemma", finished_at="2026-01-02T03:04:05+00:00"))

    assert "<title>icd10: can&#39;t tell yet</title>" in html
    assert "icd10: Terms." in html
    assert "2026-01-02 03:04:05 UTC · base model gemma" in html
    assert '<body class="cannot_tell">' in html


def test_rules_that_were_met_are_folded_below_those_that_failed() -> None:
    same = {"column": "c", "on_failure": "warn", "count": 0, "detail": ""}
    rules = [{**same, "rule": name, "failed": name == "bad", "why": f"For {name}."} for name in ("fine", "bad")]

    html = render_report(replace(summary(), details={**summary().details, "validation": rules}))

    assert "For bad." in html
    assert html.index(">bad<") < html.index("1 rules were met") < html.index(">fine<")


def test_equal_costs_are_explained() -> None:
    equal = cost_note([{"machines": 1}, {"machines": 1}], 100_000)

    assert "every option here needs one machine" in equal
    assert "need more machines cost more" in cost_note([{"machines": 1}, {"machines": 3}], 100_000)


def test_states_are_called_as_optuna_calls_them() -> None:
    trial = {"name": "trial/0", "number": 0, "value": 0.5, "seconds": 1.0, "reason": None, "state": "pruned"}

    row = trial_rows({"trials": [{**trial, "parameters": {"learning_rate": 0.00123456}}]}, {"trial/0": [(1, 0.5)]})[0]

    assert row["state"] == "PRUNED"
    assert row["parameters"] == "learning_rate=0.00123"
    assert row["curve"] == [(1, 0.5)]


def test_one_seed_says_that_the_spread_is_unknown() -> None:
    one = {"spread": {"values": [0.5], "range": None, "standard_deviation": None}}
    two = {"spread": {"values": [0.5, 0.54], "range": 0.04, "standard_deviation": 0.028}}

    assert "not known" in seed_note(one)
    assert "4.0 points" in seed_note(two)
