"""ROUGE-L against rouge-score; chrF and BLEU against figures from sacrebleu's own documentation and test suite."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.metrics.text_overlap import bleu, chrf, rouge_l

WORDS = ("the", "left", "kidney", "is", "not", "enlarged", "5", "mm", "a", "b2")
HOSTILE = (
    "", " ", "\ud800", "\x00", "\u202eשלום עולם", "…", "--", "a\u0301", "👩\u200d⚕️", "日本語のテキスト",
    "Ωμέγα και άλφα", "<skipped>", "&quot;",
)  # fmt: skip


def test_rouge_l_is_that_of_the_library():
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    draw = random.Random(7)
    pairs = [[" ".join(draw.choices(WORDS, k=draw.randint(0, 90))) for _ in range(2)] for _ in range(200)]

    for said, wanted in pairs:
        expected = scorer.score(wanted, said)["rougeL"].fmeasure if said or wanted else 1.0
        assert rouge_l(said, wanted) == pytest.approx(expected), (said, wanted)


@pytest.mark.parametrize(
    ("said", "wanted", "score"),
    [
        ("police killed the gunman", "police kill the gunman", 0.75),  # Lin 2004, section 3
        ("the gunman kill police", "police kill the gunman", 0.5),
        ("Ωμέγα και άλφα", "ωμέγα άλφα", 0.8),
        ("日本語", "日本", 0.8),
        ("שלום, עולם!", "שלום עולם", 1),
        ("?", "!", 0),
    ],
)
def test_rouge_l_counts_words_of_any_script(said, wanted, score):
    assert rouge_l(said, wanted) == pytest.approx(score)


@pytest.mark.parametrize(
    ("said", "wanted", "percent"),
    [
        # from sacrebleu's own test/test_chrf.py; its first three with ε for orders not found, 0.0004 less
        ("Co nás nejvíc trápí, protože lékaři si vybírají, kdo bude žít a kdo zemře.",
         "Nejvíce smutní jsme z toho, že musíme rozhodovat o tom, kdo bude žít a kdo zemře.", 39.14078509),
        ("Nebo prostě nemají vybavení, které by jim pomohlo, uvedli lékaři.",
         "A někdy nemáme ani potřebný materiál, abychom jim pomohli, popsali lékaři.", 31.22557079),
        ("Lapali po dechu, jejich životy skončily dřív, než skutečně začaly.",
         "Lapali po dechu a pak jejich život skončil - dřív, než skutečně mohl začít, připomněli.", 57.15704367),
        ("a", "a", 100), ("a b c", "abc", 100), ("", "reference", 0), ("aa", "ab", 25), ("abcdefg", "hijklmnop", 0),
    ],
)  # fmt: skip
def test_chrf_is_as_published(said, wanted, percent):
    assert 100 * chrf(said, wanted) == pytest.approx(percent, abs=5e-4)


@pytest.mark.parametrize(
    ("said", "wanted", "percent"),
    [
        # from sacrebleu's own test/test_bleu.py
        ("test", "a test", 36.78794411714425),
        ("a test", "a test", 100),
        ("The dog bit the man.", "The dog bit the man.", 100),
        # by hand: 3/4, 2/3 and 1/2 match, and the smoothed 1/2 stands for none of one
        ("this is a fest", "this is a test", 100 * 0.125**0.25),
    ],
)
def test_bleu_is_as_published(said, wanted, percent):
    from sacrebleu import sentence_bleu

    assert 100 * bleu(said, wanted) == pytest.approx(percent)
    assert 100 * bleu(said, wanted) == pytest.approx(sentence_bleu(said, [wanted]).score)


@pytest.mark.parametrize("metric", [rouge_l, chrf, bleu])
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_like_itself_and_like_nothing_else(metric, text):
    assert metric(text, text) == 1
    assert metric(text, "kidney stones and more") < 0.1


@pytest.mark.parametrize("metric", [rouge_l, chrf, bleu])
@given(said=st.text() | st.sampled_from(HOSTILE), wanted=st.text() | st.sampled_from(HOSTILE))
def test_every_score_is_between_0_and_1(metric, said, wanted):
    assert 0 <= metric(said, wanted) <= 1
    assert metric(said, wanted) == metric(said, wanted)
    assert metric(wanted, wanted) == 1


@pytest.mark.parametrize("metric", [rouge_l, chrf, bleu])
def test_a_huge_answer_is_scored(metric):
    said = " ".join(random.Random(1).choices(WORDS, k=20_000))

    assert 0 < metric(said, said + " more") < 1
