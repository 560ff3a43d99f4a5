import numpy as np
import pytest
from scipy import stats

from tasks.metrics.proportions import mcnemar_exact, newcombe_paired, normal_quantile, wilson


@pytest.mark.parametrize(("successes", "n"), [(81, 263), (0, 20), (20, 20), (1, 29), (1, 1)])
def test_wilson_equals_the_reference_implementation(successes, n):
    reference = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")

    bounds = wilson(successes / n, n, quantile=normal_quantile(0.95))

    assert (bounds.low, bounds.high) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_newcombe_gives_the_published_interval():
    # Airway hyper-responsiveness before and after transplantation, in Fagerland, Lydersen and Laake,
    # Statistics in Medicine 33 (2014): -0.507 to -0.026.
    bounds = newcombe_paired(1, 1, 7, 12, confidence=0.95)

    assert (bounds.low, bounds.high) == pytest.approx((-0.507, -0.026), abs=1e-3)


def test_newcombe_turns_around_with_the_options():
    one, other = newcombe_paired(50, 9, 4, 20, confidence=0.9), newcombe_paired(50, 4, 9, 20, confidence=0.9)

    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@pytest.mark.parametrize("cells", [(20, 0, 0, 0), (10, 0, 0, 10), (0, 0, 0, 20), (0, 20, 0, 0)])
def test_newcombe_never_has_zero_width(cells):
    bounds = newcombe_paired(*cells, confidence=0.95)

    assert bounds.high - bounds.low > 0.05


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 7), (7, 1), (5, 5), (40, 20), (0, 12)])
def test_mcnemar_is_the_exact_binomial_test(only_first, only_second):
    n = only_first + only_second
    expected = stats.binomtest(only_first, n).pvalue if n else 1.0

    assert mcnemar_exact(only_first, only_second) == pytest.approx(expected)


def test_all_functions_work_elementwise():
    shares = np.array([0.2, 0.9])

    low, _ = wilson(shares, np.array([10, 1000]), quantile=1.96)

    assert low[1] == wilson(0.9, 1000, quantile=1.96).low
