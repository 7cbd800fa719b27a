import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_brm.functional.spectra import (
    StreamingCovariance,
    _covariance,
    bootstrap_exponent,
    choose_window,
    compare_laws,
    cv_pca,
    density_to_rank_exponent,
    effective_rank,
    fit_power_law,
    last_trusted_rank,
    participation_ratio,
    rank_to_density_exponent,
    sample_eigenvalues,
)
from sklearn_brm.functional.spectra._resampling import _find_population
from sklearn_brm.functional.spectra._window import _slope_and_turn

RANKS = np.arange(1, 201)


def gaussian(n_samples, n_features, exponent, seed=0):
    scale = np.arange(1, n_features + 1) ** (-exponent / 2)
    return np.random.default_rng(seed).normal(size=(n_samples, n_features)) * scale


def noisy_spectrum(exponent=1.2, seed=0):
    return RANKS**-exponent * np.exp(0.05 * np.random.default_rng(seed).normal(size=len(RANKS)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.int32])
@pytest.mark.parametrize("sizes", [[500], [1] * 500, [3, 0, 496, 1], [100] * 5], ids=str)
def test_a_streamed_covariance_equals_that_of_numpy(dtype, sizes):
    X = (100 * torch.as_tensor(gaussian(500, 6, 0.5)) + 1000).to(dtype)
    covariance = StreamingCovariance(6)
    for chunk in X.split(sizes):
        covariance.update(chunk)
    expected = np.cov(X.numpy().astype(np.float64).T)
    assert covariance.n_samples == 500
    np.testing.assert_allclose(covariance.covariance(), expected, rtol=0, atol=1e-10 * expected.max())
    np.testing.assert_allclose(covariance.variances(), np.diag(expected), rtol=1e-10)
    np.testing.assert_allclose(covariance.mean, X.double().mean(dim=0), rtol=1e-12)
    np.testing.assert_allclose(
        covariance.covariance(correction=0), expected * 499 / 500, rtol=1e-8, atol=1e-6
    )


@pytest.mark.parametrize("processor", [True, False])
def test_integer_weights_are_repetitions_in_a_streamed_covariance(monkeypatch, processor):
    monkeypatch.setattr(_covariance, "_on_processor", lambda tensor: processor)
    X = torch.as_tensor(gaussian(50, 4, 1.0)) + 100
    weight = torch.as_tensor(np.random.default_rng(0).integers(1, 5, 50))
    weighted = StreamingCovariance(4).update(X[:20], weight[:20]).update(X[20:], weight[20:])
    repeated = StreamingCovariance(4).update(X.repeat_interleave(weight, dim=0))
    assert (weighted.n_samples, weighted.total_weight) == (50, repeated.total_weight)
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-13)
    np.testing.assert_allclose(weighted.covariance(), repeated.covariance(), rtol=1e-10)


def test_chunks_with_means_far_apart_add_up():
    X = np.concatenate([gaussian(50, 4, 1.0), gaussian(50, 4, 1.0, seed=1) + 1e5])
    covariance = StreamingCovariance(4).update(torch.as_tensor(X[:50])).update(torch.as_tensor(X[50:]))
    np.testing.assert_allclose(covariance.covariance(), np.cov(X.T), rtol=1e-10)


def test_the_path_of_accelerators_gives_what_the_processor_does(monkeypatch):
    X = torch.as_tensor(gaussian(90, 30, 1.0))
    first, second = X + torch.as_tensor(gaussian(90, 30, 0.0, seed=1)), X
    fit = fit_power_law(sample_eigenvalues(X), (1, 10))

    def everything():
        bootstrap = bootstrap_exponent(X, fit, n_resamples=5, rng=np.random.default_rng(0))
        wide = sample_eigenvalues(X.T.contiguous())
        return [sample_eigenvalues(X), wide[:29], cv_pca(first, second), bootstrap.exponents]

    expected = everything()
    monkeypatch.setattr(_covariance, "_on_processor", lambda tensor: False)
    for actual, desired in zip(everything(), expected):
        np.testing.assert_allclose(actual, desired, rtol=1e-8, atol=1e-12)


def test_repeats_that_run_backwards_are_compared_row_by_row():
    X = gaussian(30, 4, 1.0)
    turned = cv_pca(X[::-1], X[::-1], n_shuffles=1)
    np.testing.assert_allclose(turned, cv_pca(X[::-1].copy(), X[::-1].copy(), n_shuffles=1))


def test_the_rows_given_to_a_covariance_are_not_written_to():
    X = torch.as_tensor(gaussian(50, 4, 1.0))
    before = X.clone()
    StreamingCovariance(4).update(X)
    sample_eigenvalues(X[:3])
    assert torch.equal(X, before)


@pytest.mark.parametrize("shape", [(50, 20), (20, 50)])
def test_sample_eigenvalues_are_the_squared_singular_values(shape):
    X = gaussian(*shape, 1.0)
    expected = np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2 / (shape[0] - 1)
    actual = sample_eigenvalues(torch.as_tensor(X))
    assert len(actual) == min(shape)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12 * expected[0])


def test_eigenvalues_that_are_only_rounding_are_zero():
    X = torch.as_tensor(gaussian(100, 3, 0.0) @ np.random.default_rng(1).normal(size=(3, 10)))
    np.testing.assert_array_equal(sample_eigenvalues(X) > 0, np.arange(10) < 3)


@pytest.mark.parametrize("method", ["ols", "weighted", "robust"])
def test_every_method_finds_an_exact_power_law(method):
    fit = fit_power_law(3.0 * RANKS**-1.5, (11, 100), method=method)
    assert (fit.exponent, fit.r2) == pytest.approx((1.5, 1.0), rel=1e-9)
    assert fit.intercept == pytest.approx(np.log(3.0), rel=1e-9)
    assert fit.stderr == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(fit.predict([1, 4]), [3.0, 3.0 / 8], rtol=1e-9)


def test_the_weighted_fit_is_stringers_formula():
    values = np.abs(noisy_spectrum())
    # Written out as in the paper's methods: solve the normal equations of [-log n, 1] with weights 1/n.
    n = np.arange(11, 151)
    design = np.stack([-np.log(n), np.ones(len(n))], axis=1)
    weights = np.diag(1 / n)
    expected = np.linalg.inv(design.T @ weights @ design) @ design.T @ weights @ np.log(values[n - 1])
    fit = fit_power_law(values, (11, 150), method="weighted")
    assert (fit.exponent, fit.intercept) == pytest.approx(tuple(expected), rel=1e-10)


def test_the_ordinary_fit_and_its_error_are_those_of_linear_regression():
    values = noisy_spectrum()
    oracle = stats.linregress(np.log(RANKS[2:50]), np.log(values[2:50]))
    fit = fit_power_law(values, (3, 50))
    actual = (fit.exponent, fit.stderr, fit.intercept, fit.r2)
    assert actual == pytest.approx(
        (-oracle.slope, oracle.stderr, oracle.intercept, oracle.rvalue**2), rel=1e-9
    )


def test_the_robust_fit_is_the_median_of_pairwise_slopes_and_shrugs_at_outliers():
    values = noisy_spectrum()
    values[[12, 30]] *= 50
    x, y = np.log(RANKS[10:60]), np.log(values[10:60])
    slopes = [(y[i] - y[j]) / (x[i] - x[j]) for i in range(50) for j in range(i)]
    fit = fit_power_law(values, (11, 60), method="robust")
    assert fit.exponent == pytest.approx(-np.median(slopes), rel=1e-12)
    assert abs(fit.exponent - 1.2) < 0.1 < abs(fit_power_law(values, (11, 60)).exponent - 1.2)


def test_eigenvalues_that_are_not_positive_are_left_out_not_folded():
    values = RANKS**-1.0
    values[[20, 30]] = [-5.0, 0.0]
    fit = fit_power_law(values, (11, 50))
    assert fit.exponent == pytest.approx(1.0, rel=1e-9)
    assert (fit.window, fit.n_points) == ((11, 50), 38)


def test_a_window_past_the_end_stops_there_and_one_point_is_no_line():
    assert fit_power_law(RANKS**-1.0, (150, 999)).window == (150, 200)
    nothing = fit_power_law(RANKS**-1.0, (200, 300))
    assert np.isnan(nothing.exponent)
    assert nothing.n_points == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], (1, 2)), r"eigenvalues must be a finite, non-empty 1D array. Got \[\] instead."),
        (([1.0, np.nan], (1, 2)), "eigenvalues must be a finite, non-empty 1D array"),
        (([[1.0, 2.0]], (1, 2)), "eigenvalues must be a finite, non-empty 1D array"),
        (
            ([1.0, 0.5], (0, 2)),
            r"window must be \(first, last\) with 1 <= first <= last. Got \(0, 2\) instead.",
        ),
        (([1.0, 0.5], (2, 1)), r"window must be \(first, last\)"),
    ],
    ids=str,
)
def test_bad_spectra_and_windows_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_power_law(*arguments)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"method must be one of .* Got 'lasso' instead."):
        fit_power_law([1.0, 0.5], (1, 2), method="lasso")


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5])
def test_density_exponents_are_those_of_the_histogram(alpha):
    assert density_to_rank_exponent(rank_to_density_exponent(alpha)) == pytest.approx(alpha)
    # The number of eigenvalues above x is x ** (-1/alpha), and a density is minus the slope of that.
    x = np.geomspace(1e-3, 1e-2, 50)
    density = -np.gradient(x ** (-1 / alpha), x)
    slope = np.polyfit(np.log(x[1:-1]), np.log(density[1:-1]), 1)[0]
    assert -slope == pytest.approx(rank_to_density_exponent(alpha), rel=1e-2)


def test_exponents_without_a_counterpart_are_refused():
    with pytest.raises(ValueError, match=r"alpha must be in \(0, inf\). Got 0 instead."):
        rank_to_density_exponent(0)
    with pytest.raises(ValueError, match=r"gamma must be in \(1, inf\). Got 1.0 instead."):
        density_to_rank_exponent(1.0)


@pytest.mark.parametrize(
    ("law", "spectrum"),
    [
        ("power_law", RANKS**-1.2),
        ("exponential", np.exp(-RANKS / 20)),
        ("broken_power_law", np.where(RANKS < 30, RANKS**-0.5, 30**1.5 * RANKS**-2.0)),
    ],
)
def test_the_information_criterion_picks_the_law_that_made_the_spectrum(law, spectrum):
    noise = np.exp(0.1 * np.random.default_rng(0).normal(size=200))
    comparison = compare_laws(spectrum * noise, (1, 200))
    assert comparison.best == law
    assert set(comparison.criteria) == {"power_law", "exponential", "broken_power_law"}


def test_the_information_criterion_of_a_line_is_the_textbooks():
    values = noisy_spectrum()
    x, y = np.log(RANKS), np.log(values)
    residuals = y - np.polyval(np.polyfit(x, y, 1), x)
    log_likelihood = stats.norm.logpdf(residuals, scale=residuals.std()).sum()
    # The Gaussian likelihood's constant, n (log 2 pi + 1), is common to all laws and left out.
    expected = 3 * np.log(200) - 2 * log_likelihood - 200 * (np.log(2 * np.pi) + 1)
    assert compare_laws(values, (1, 200)).criteria["power_law"] == pytest.approx(expected, rel=1e-9)


def test_laws_with_more_parameters_than_eigenvalues_are_not_best():
    comparison = compare_laws(RANKS**-1.2, (1, 4))
    assert np.isnan(comparison.criteria["broken_power_law"])
    assert comparison.best == "power_law"
    assert compare_laws(RANKS**-1.2, (1, 3)).best is None


def test_effective_rank_and_participation_ratio_count_equal_eigenvalues():
    assert effective_rank([2.0] * 5 + [0.0]) == pytest.approx(5)
    assert participation_ratio([2.0] * 5 + [0.0]) == pytest.approx(5)
    assert effective_rank([3.0, 1.0]) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert participation_ratio([3.0, 1.0]) == pytest.approx(1.6)
    assert effective_rank([0.0, 0.0]) == participation_ratio([0.0]) == 0


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("samples_per_feature", [3, 30])
def test_the_automatic_window_keeps_gaussian_exponents_within_a_twentieth(exponent, samples_per_feature):
    n_features = 200
    n_samples = samples_per_feature * n_features
    values = sample_eigenvalues(torch.as_tensor(gaussian(n_samples, n_features, exponent)))
    fit = fit_power_law(values, n_samples=n_samples, n_features=n_features)
    assert abs(fit.exponent - exponent) < 0.05
    assert fit.window[1] <= last_trusted_rank(n_features, n_samples) <= 0.9 * n_features
    # All ranks together are what it must not be led to by few samples.
    if samples_per_feature == 3:
        assert abs(fit_power_law(values, (1, n_features)).exponent - exponent) > 0.1


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0])
def test_three_samples_for_each_of_200_features_suffice_in_every_one_of_twenty_draws(exponent):
    for seed in range(20):
        values = sample_eigenvalues(torch.as_tensor(gaussian(600, 200, exponent, seed)))
        fit = fit_power_law(values, n_samples=600, n_features=200)
        assert abs(fit.exponent - exponent) < 0.05, f"draw {seed}"


def test_the_automatic_window_stops_at_a_knee_and_starts_after_outliers():
    knee = np.where(RANKS <= 60, RANKS**-1.0, 60**3.0 * RANKS**-4.0)
    first, last = choose_window(knee)
    assert first == 1
    assert 45 <= last <= 90
    outliers = RANKS**-1.0
    outliers[:4] *= 30
    first, last = choose_window(outliers)
    assert 4 <= first <= 6
    assert last == 180
    assert fit_power_law(outliers).exponent == pytest.approx(1.0, abs=0.1)


def test_the_automatic_window_avoids_the_last_tenth_and_eigenvalues_of_zero():
    assert choose_window(RANKS**-1.0) == (1, 180)
    assert choose_window(np.where(RANKS > 50, 0.0, RANKS**-1.0)) == (1, 50)
    assert choose_window([3.0, 2.0, 1.0])[0] == 1
    assert last_trusted_rank(100, 300) == int(0.9 / (1 / 100 + 5 / 300))


def test_cross_validated_eigenvalues_equal_a_loop_over_axes():
    X, Y = gaussian(30, 5, 1.0), gaussian(30, 5, 1.0, seed=1)
    swaps = np.random.default_rng(7).random(30) < 0.5
    train, test = np.where(swaps[:, None], Y, X), np.where(swaps[:, None], X, Y)
    axes = np.linalg.eigh(np.cov(train.T))[1][:, ::-1]
    expected = [np.cov(train @ axes[:, i], test @ axes[:, i])[0, 1] for i in range(5)]
    np.testing.assert_allclose(cv_pca(X, Y, n_shuffles=1, rng=7)[0], expected, atol=1e-12)
    assert min(expected) < 0, "the example must show that negative values are kept"


@pytest.mark.parametrize("shape", [(50, 8), (8, 50)])
def test_without_noise_cross_validated_eigenvalues_are_the_ordinary_ones(shape):
    X = gaussian(*shape, 1.0)
    estimates = cv_pca(X, X, n_shuffles=3)
    assert estimates.shape == (3, 8)
    np.testing.assert_allclose(estimates, np.tile(sample_eigenvalues(torch.as_tensor(X)), (3, 1)), atol=1e-12)


def test_cross_validation_keeps_the_exponent_that_noise_takes_from_plain_pca():
    rng = np.random.default_rng(1)
    signal = gaussian(3000, 60, 1.0)
    first, second = (signal + 0.3 * rng.normal(size=signal.shape) for _ in range(2))
    plain = fit_power_law(sample_eigenvalues(torch.as_tensor(first)), (1, 15)).exponent
    shared = fit_power_law(cv_pca(first, second).mean(axis=0), (1, 15)).exponent
    assert abs(shared - 1.0) < 0.05 < abs(plain - 1.0)


def test_repeats_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"same 2D shape. Got \(4, 3\) and \(4, 2\) instead."):
        cv_pca(np.ones((4, 3)), np.ones((4, 2)))


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0])
def test_the_interval_covers_the_true_exponent_of_gaussian_data(exponent):
    covered = 0
    for seed in range(60):
        X = torch.as_tensor(gaussian(90, 30, exponent, seed))
        fit = fit_power_law(sample_eigenvalues(X), (1, 10))
        bootstrap = bootstrap_exponent(X, fit, n_resamples=60, rng=np.random.default_rng(seed))
        covered += bootstrap.interval[0] <= exponent <= bootstrap.interval[1]
    assert covered >= 54


def test_the_estimated_bias_is_the_bias():
    fits, biases = [], []
    for seed in range(10):
        X = torch.as_tensor(gaussian(180, 60, 0.5, seed))
        fits.append(fit_power_law(sample_eigenvalues(X), (1, 54)))
        biases.append(bootstrap_exponent(X, fits[-1], n_resamples=50, rng=np.random.default_rng(0)).bias)
    actual = np.mean([fit.exponent for fit in fits]) - 0.5
    assert actual > 0.2
    assert np.mean(biases) == pytest.approx(actual, abs=0.05)


def test_too_few_points_have_no_interval():
    X = torch.as_tensor(gaussian(20, 2, 1.0))
    fit = fit_power_law(sample_eigenvalues(X), (1, 2))
    bootstrap = bootstrap_exponent(X, fit, n_resamples=5, rng=np.random.default_rng(0))
    assert np.isnan([*bootstrap.interval, bootstrap.bias, *bootstrap.exponents]).all()


def test_three_points_have_a_standard_error_and_two_have_none():
    values = noisy_spectrum()
    for method in ("ols", "robust"):
        assert np.isfinite(fit_power_law(values, (5, 7), method=method).stderr)
        assert np.isnan(fit_power_law(values, (5, 6), method=method).stderr)
    oracle = stats.linregress(np.log(RANKS[4:7]), np.log(values[4:7]))
    assert fit_power_law(values, (5, 7)).stderr == pytest.approx(oracle.stderr, rel=1e-9)


def test_negative_eigenvalues_do_not_count_for_the_effective_rank():
    assert effective_rank([2.0] * 5 + [-3.0]) == pytest.approx(5)


def test_the_turn_of_a_parabola_is_that_of_its_derivative_and_its_error_that_of_simulations():
    first, last, n_samples = 5, 80, 300
    x = np.log(RANKS)
    _, turn, error = _slope_and_turn(np.exp(2 - 1.1 * x - 0.07 * x**2), first, last, n_samples)
    assert turn == pytest.approx(2 * 0.07 * np.log(last / first), rel=1e-9)
    slope = -1.1 - 2 * 0.07 * np.log(np.sqrt(first * last))
    assert _slope_and_turn(np.exp(-1.1 * x - 0.07 * x**2), first, last, None)[::2] == pytest.approx(
        (slope, 0)
    )
    # Logarithms of variances 2/n about a line: the turn has the sign of chance.
    rng = np.random.default_rng(0)
    line = [np.exp(1 - x + np.sqrt(2 / n_samples) * rng.normal(size=len(x))) for _ in range(2000)]
    turns = [_slope_and_turn(values, first, last, n_samples)[1] for values in line]
    assert np.sqrt(np.mean(np.square(turns))) == pytest.approx(error, rel=0.05)


def test_where_resamples_look_like_the_population_it_is_the_sample_with_a_straight_window():
    rng = np.random.default_rng(0)
    log_sample = np.sort(rng.normal(size=30))[::-1]
    fit = fit_power_law(np.exp(log_sample), (4, 20))
    x = np.log(np.arange(4, 21))

    def refit(log_spectrum, counts):
        return -np.polyfit(x, log_spectrum[3:20], 1)[0], np.zeros(30)

    spectrum, exponent, response = _find_population(log_sample, fit, refit, [None] * 3)
    assert (exponent, response) == pytest.approx((fit.exponent, 1))
    np.testing.assert_array_equal(np.delete(spectrum, range(3, 20)), np.delete(log_sample, range(3, 20)))
    expected = log_sample[3:20].mean() - fit.exponent * (x - x.mean())
    np.testing.assert_allclose(spectrum[3:20], expected, rtol=1e-9)
