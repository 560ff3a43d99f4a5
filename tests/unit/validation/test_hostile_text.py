"""Data comes from outside: no text may make a detector fail, whatever its signs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import RecipeError
from expectations.findings import FINDINGS, has_finding
from expectations.near_copies import near_copies
from tasks.validation.suites import load_suite

NUMBERLIKE = st.text(alphabet="0123456789٣४ .:-/()+@xDEabv[]=\u00a0", max_size=60)


@pytest.mark.parametrize("finding", FINDINGS)
@settings(max_examples=60, deadline=None)
@given(text=st.one_of(st.text(max_size=80), NUMBERLIKE))
def test_any_text_can_be_judged(finding, text):
    assert has_finding(text, finding) in (True, False)


@pytest.mark.parametrize("finding", FINDINGS)
@pytest.mark.parametrize("value", [None, 3, 2.5, ["text"], b"text"])
def test_only_the_rule_about_types_judges_what_is_not_text(finding, value):
    assert has_finding(value, finding) == (finding == "other_types")


@pytest.mark.parametrize("text", ["१०.१०.१०.१०", "٠٤١١١١١١١١١١١١١١", "\ud800", "\x00" * 50])
def test_other_digits_and_half_characters_can_be_judged(text):
    assert [has_finding(text, finding) for finding in FINDINGS]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=60), max_size=8))
def test_near_copies_are_pairs_of_different_texts(texts):
    for first, second in near_copies(texts, 0.85):
        assert texts[first] != texts[second]


@settings(max_examples=60, deadline=None)
@given(content=st.one_of(st.text(max_size=80), st.binary(max_size=80).map(lambda raw: raw.decode("latin-1"))))
def test_any_suite_file_is_read_or_refused_with_a_reason(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("suites")
    (folder / "own.yaml").write_text(f"rules:\n  {content}", encoding="utf-8", errors="replace")

    with pytest.raises(RecipeError):
        load_suite("own", {}, folder)
