import copy
import io
import pickle
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_brm import (
    PowerLawSpectrum,
    RegularizedClassifier,
    SpectrumWarning,
    WTAEncoder,
    pipeline_spectra,
)
from sklearn_brm.functional.spectra import compare_laws, cv_pca, fit_power_law

LARGEST = 1e-10  # of the largest eigenvalue


def power_law_data(n_samples, n_features, exponent, seed=0, mean=0.0):
    """Gaussian rows whose covariance has eigenvalues n ** -exponent, in rotated axes."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    scale = np.arange(1, n_features + 1) ** (-exponent / 2)
    return rng.normal(size=(n_samples, n_features)) * scale @ axes + mean


def assert_same_eigenvalues(actual, desired, tolerance=LARGEST):
    np.testing.assert_allclose(actual, desired, rtol=0, atol=tolerance * desired[0])


@pytest.mark.filterwarnings("ignore::sklearn_brm.SpectrumWarning")
@parametrize_with_checks([PowerLawSpectrum(), PowerLawSpectrum(method="robust", n_bootstrap=2)])
def test_scikit_learn_compatible(estimator, check):
    check(estimator)


@pytest.mark.parametrize("n_samples", [40, 400])
def test_eigenvalues_equal_those_of_pca(n_samples):
    X = power_law_data(n_samples, 60, 1.0)
    expected = PCA(svd_solver="full").fit(X).explained_variance_
    spectrum = PowerLawSpectrum(window=(1, 10))
    if n_samples < 180:
        with pytest.warns(SpectrumWarning, match="40 samples for 60 features are fewer than 3 per feature"):
            spectrum.fit(X)
    else:
        spectrum.fit(X)
    assert_same_eigenvalues(spectrum.eigenvalues_, expected)


@pytest.mark.parametrize("n_chunks", [1, 7, 1000, 2000], ids="{} chunks".format)
def test_a_stream_gives_the_eigenvalues_of_pca_whatever_its_chunks(n_chunks):
    X = power_law_data(2000, 30, 1.0)
    X -= X.mean(axis=0)
    spectrum = PowerLawSpectrum()
    for chunk in np.array_split(X, n_chunks):
        spectrum.partial_fit(chunk)
    assert spectrum.n_samples_seen_ == 2000
    assert_same_eigenvalues(
        spectrum.measure().eigenvalues_, PCA(svd_solver="full").fit(X).explained_variance_
    )


@pytest.mark.parametrize("n_chunks", [1, 7, 1000, 2000], ids="{} chunks".format)
def test_a_mean_of_a_million_standard_deviations_does_not_hurt(n_chunks):
    X = power_law_data(2000, 30, 0.5, mean=1e6)
    spectrum = PowerLawSpectrum()
    for chunk in np.array_split(X, n_chunks):
        spectrum.partial_fit(chunk)
    expected = PCA(svd_solver="full").fit(X).explained_variance_
    assert_same_eigenvalues(spectrum.measure().eigenvalues_, expected, 1e-6)
    assert_same_eigenvalues(PowerLawSpectrum().fit(X).eigenvalues_, expected, 1e-6)


def test_the_exponent_is_the_slope_of_polyfit_and_its_error_that_of_polyfit():
    spectrum = PowerLawSpectrum(window=(3, 20)).fit(power_law_data(400, 60, 1.0))
    x, y = np.log(np.arange(3, 21)), np.log(spectrum.eigenvalues_[2:20])
    (slope, intercept), covariance = np.polyfit(x, y, 1, cov=True)
    assert spectrum.exponent_ == pytest.approx(-slope, rel=1e-12)
    assert spectrum.intercept_ == pytest.approx(intercept, rel=1e-12)
    assert spectrum.exponent_stderr_ == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-9)
    assert spectrum.r2_ == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, rel=1e-9)
    assert (spectrum.window_, spectrum.n_window_) == ((3, 20), 18)


def test_transform_is_the_identity_and_keeps_dtype_and_names():
    X = power_law_data(300, 12, 1.0).astype(np.float32)
    spectrum = PowerLawSpectrum(window=(1, 10)).fit(X)
    out = spectrum.transform(X)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, X)
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(12)])
    spectrum.set_output(transform="pandas").fit(frame)
    pd.testing.assert_frame_equal(spectrum.transform(frame), frame)


def test_a_probe_in_a_pipeline_changes_nothing_and_runs_in_a_parallel_grid_search():
    X = power_law_data(300, 12, 1.0)
    y = (X[:, 0] > 0).astype(int)
    plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    probe = PowerLawSpectrum(window=(1, 10))
    probed = make_pipeline(StandardScaler(), probe, LogisticRegression()).fit(X, y)
    np.testing.assert_array_equal(probed.predict_proba(X), plain.predict_proba(X))
    assert 0 < probed[1].exponent_ < 1
    search = GridSearchCV(probed, {"powerlawspectrum__method": ["ols", "weighted"]}, cv=2, n_jobs=2).fit(X, y)
    assert search.best_score_ > 0.9


def test_the_torch_form_is_the_identity_with_a_gradient():
    spectrum = PowerLawSpectrum(window=(1, 10)).fit(power_law_data(300, 12, 1.0))
    X = torch.randn(3, 12, dtype=torch.float64, requires_grad=True)
    spectrum._as_torch(device="cpu", dtype=torch.float64)(X).sum().backward()
    np.testing.assert_array_equal(X.grad, np.ones((3, 12)))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"window": "all"},
            ValueError,
            "The 'window' parameter of PowerLawSpectrum must be 'auto' or .* Got 'all'",
        ),
        ({"window": 5}, TypeError, "The 'window' parameter .* Got 5 instead."),
        ({"window": (0, 5)}, ValueError, r"ints 1 <= first < last, counted from 1. Got \(0, 5\) instead."),
        ({"window": (5, 5)}, ValueError, "The 'window' parameter"),
        ({"window": (1.0, 5)}, ValueError, "The 'window' parameter"),
        ({"window": (1, 2, 3)}, ValueError, "The 'window' parameter"),
        (
            {"window": (12, 20)},
            ValueError,
            "first below the number of eigenvalues .n_samples=60, n_features=12.",
        ),
        (
            {"method": "lasso"},
            ValueError,
            "The 'method' parameter of PowerLawSpectrum must be 'ols', 'weighted' or",
        ),
        ({"n_components": 0}, ValueError, r"'n_components' parameter .* an int in \[1, inf\) or None. Got 0"),
        (
            {"n_components": 13},
            ValueError,
            "at most the number of eigenvalues, 12 .n_samples=60, n_features=12.*13",
        ),
        ({"n_components": 2.0}, TypeError, "The 'n_components' parameter"),
        ({"confidence": 1}, ValueError, r"The 'confidence' parameter .* a float in \(0, 1\). Got 1 instead."),
        (
            {"n_bootstrap": -1},
            ValueError,
            r"The 'n_bootstrap' parameter .* an int in \[0, inf\). Got -1 instead.",
        ),
        ({"n_shuffles": 0}, ValueError, "The 'n_shuffles' parameter"),
        (
            {"device": "abacus"},
            ValueError,
            "The 'device' parameter of PowerLawSpectrum .* Got 'abacus' instead.",
        ),
        ({"random_state": "dice"}, ValueError, "The 'random_state' parameter of PowerLawSpectrum"),
        ({"verbose": -1}, ValueError, "The 'verbose' parameter"),
    ],
    ids=str,
)
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_bad_parameters_are_refused_before_any_work(parameters, error, message, call):
    X = power_law_data(60, 12, 1.0)
    streamed = PowerLawSpectrum().partial_fit(X).set_params(**parameters)
    with pytest.raises(error, match=message):
        streamed.measure()
    spectrum = PowerLawSpectrum(**parameters)
    if call == "partial_fit":
        message = message.replace("n_samples=60, ", "")
    with pytest.raises(error, match=message):
        getattr(spectrum, call)(X)
    assert not hasattr(spectrum, "n_samples_seen_")


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([[1.0, np.nan], [0.0, 1.0]], ValueError, "contains NaN"),
        ([[1.0, np.inf], [0.0, 1.0]], ValueError, "contains infinity"),
        (np.empty((0, 3)), ValueError, "0 sample"),
        (np.ones((1, 3)), ValueError, "1 sample"),
        ([["a", "b"], ["c", "d"]], ValueError, "could not convert string"),
        (np.ones(3), ValueError, "Expected 2D array"),
    ],
    ids=["NaN", "infinity", "no rows", "one row", "strings", "one dimension"],
)
def test_bad_data_are_refused(X, error, message):
    with pytest.raises(error, match=message):
        PowerLawSpectrum().fit(X)


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.int64])
def test_other_numbers_are_measured_in_float64(dtype):
    X = (power_law_data(300, 12, 1.0) * 50).astype(dtype)
    expected = PCA(svd_solver="full").fit(X.astype(np.float64)).explained_variance_
    assert_same_eigenvalues(PowerLawSpectrum(window=(1, 10)).fit(X).eigenvalues_, expected)


@pytest.mark.parametrize(
    ("spectrum", "X", "message"),
    [
        (
            PowerLawSpectrum((1, 10)),
            power_law_data(40, 20, 1.0),
            "40 samples for 20 features are fewer than 3 per",
        ),
        (
            PowerLawSpectrum((1, 20)),
            power_law_data(200, 20, 1.0),
            "reaches rank 20 of 20, .*end it at rank 11",
        ),
        (PowerLawSpectrum((1, 99)), power_law_data(200, 20, 1.0), "the window reaches rank 20 of 20"),
        (
            PowerLawSpectrum((1, 5)),
            power_law_data(200, 20, 1.0),
            "the window holds 5 eigenvalues where 10 are few",
        ),
        (
            PowerLawSpectrum((1, 15)),
            np.hstack([power_law_data(200, 20, 1.0), np.full((200, 3), 0.1)]),
            r"3 of 23 features are constant and only add zero eigenvalues \(drop them\)",
        ),
        (
            PowerLawSpectrum((1, 15)),
            np.hstack([power_law_data(200, 12, 1.0), np.zeros((200, 8))]),
            "3 eigenvalues in the window are not positive and were left out",
        ),
    ],
)
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_doubtful_exponent_is_said_to_be_one(spectrum, X, message, call):
    spectrum = copy.copy(spectrum)
    with pytest.warns(SpectrumWarning, match=message):
        spectrum.fit(X) if call == "fit" else spectrum.partial_fit(X).measure()


def test_one_warning_names_all_doubts():
    with pytest.warns(SpectrumWarning) as caught:
        PowerLawSpectrum().fit(np.hstack([power_law_data(5, 3, 1.0), np.ones((5, 1))]))
    assert len(caught) == 1
    assert str(caught[0].message).count(";") >= 2


def test_measure_gives_every_result_of_fit():
    X = power_law_data(300, 12, 1.0)
    fitted = PowerLawSpectrum(window=(1, 10)).fit(X)
    streamed = PowerLawSpectrum(window=(1, 10)).partial_fit(X[:1]).partial_fit(X[1:]).measure()
    results = {name for name in vars(fitted) if name.endswith("_")}
    assert {"r2_", "exponent_stderr_", "effective_rank_", "window_"} < results
    assert results == {name for name in vars(streamed) if name.endswith("_")}
    for name in results:
        np.testing.assert_allclose(getattr(streamed, name), getattr(fitted, name), rtol=1e-9)


def test_asking_a_stream_for_its_results_computes_nothing():
    # Measuring this would warn, and warnings are errors here.
    spectrum = PowerLawSpectrum().partial_fit(power_law_data(20, 12, 1.0))
    before = set(vars(spectrum))
    for name in ("r2_", "eigenvalues_", "exponent_"):
        assert not hasattr(spectrum, name)
        with pytest.raises(
            AttributeError, match=rf"no attribute '{name}': call measure\(\) after partial_fit"
        ):
            getattr(spectrum, name)
    with pytest.raises(AttributeError, match=r"call measure\(\) after partial_fit"):
        spectrum.compare_laws()
    assert "PowerLawSpectrum" in spectrum._repr_html_()
    np.testing.assert_array_equal(spectrum.transform(np.ones((2, 12))), np.ones((2, 12)))
    assert set(vars(spectrum)) == before


def test_more_rows_remove_results_and_measure_brings_them_back_without_an_interval():
    X = power_law_data(400, 12, 1.0)
    spectrum = PowerLawSpectrum((1, 10), n_bootstrap=3, random_state=0).fit(X[:200])
    assert hasattr(spectrum, "exponent_interval_")
    spectrum.partial_fit(X[200:])
    assert not hasattr(spectrum, "exponent_")
    spectrum.measure()
    assert spectrum.exponent_ == pytest.approx(PowerLawSpectrum((1, 10)).fit(X).exponent_, rel=1e-10)
    with pytest.raises(AttributeError, match=r"no attribute 'exponent_interval_'$"):
        spectrum.exponent_interval_  # noqa: B018


def test_measure_takes_another_window_for_the_same_rows():
    X = power_law_data(400, 12, 1.0)
    spectrum = PowerLawSpectrum((1, 10), n_bootstrap=3, random_state=0).fit(X)
    spectrum.set_params(window=(1, 9), method="weighted")
    expected = PowerLawSpectrum((1, 9), method="weighted")
    for measured in (spectrum.measure, lambda: expected.fit(X)):
        with pytest.warns(SpectrumWarning, match="the window holds 9 eigenvalues"):
            measured()
    assert spectrum.exponent_ == expected.exponent_
    assert not hasattr(spectrum, "exponent_interval_"), "it was that of the other window"


def test_partial_fit_goes_on_from_fit_and_fit_starts_anew():
    X = power_law_data(400, 12, 1.0)
    spectrum = PowerLawSpectrum(window=(1, 10)).fit(X[:200])
    half = spectrum.eigenvalues_
    spectrum.partial_fit(X[200:]).measure()
    assert_same_eigenvalues(spectrum.eigenvalues_, PCA(svd_solver="full").fit(X).explained_variance_)
    np.testing.assert_array_equal(spectrum.fit(X[:200]).eigenvalues_, half)


@pytest.mark.parametrize("call", ["partial_fit", "measure"])
def test_neither_goes_on_from_a_fit_that_kept_no_covariance(call):
    X = power_law_data(10, 12, 1.0)
    with pytest.warns(SpectrumWarning):
        spectrum = PowerLawSpectrum(window=(1, 5)).fit(X)
    with pytest.raises(ValueError, match=rf"{call} cannot go on from a fit on .* fewer rows than features"):
        spectrum.measure() if call == "measure" else spectrum.partial_fit(X)
    assert hasattr(spectrum, "exponent_"), "what was measured stays"


@pytest.mark.parametrize("copied", [lambda spectrum: pickle.loads(pickle.dumps(spectrum)), copy.deepcopy])
@pytest.mark.parametrize("state", ["fitted", "streaming"])
def test_a_pickle_measures_and_streams_on(state, copied):
    X = power_law_data(400, 12, 1.0)
    spectrum = PowerLawSpectrum(window=(1, 10))
    spectrum.fit(X[:200]) if state == "fitted" else spectrum.partial_fit(X[:200])
    assert b"torch" not in pickle.dumps(spectrum), "a machine without the device of the fit could not read it"
    loaded = copied(spectrum)
    assert loaded.measure().exponent_ == spectrum.measure().exponent_
    loaded.partial_fit(X[200:])
    assert loaded.n_samples_seen_ == 400
    assert spectrum.n_samples_seen_ == 200


def test_nothing_is_known_before_fit():
    spectrum = PowerLawSpectrum()
    with pytest.raises(AttributeError, match=r"'PowerLawSpectrum' object has no attribute 'exponent_'"):
        spectrum.exponent_  # noqa: B018
    with pytest.raises(NotFittedError):
        spectrum.transform([[1.0, 2.0]])
    with pytest.raises(NotFittedError):
        spectrum.compare_laws()
    with pytest.raises(NotFittedError):
        spectrum.measure()


def test_n_components_keeps_the_leading_eigenvalues():
    X = power_law_data(400, 30, 1.0)
    everything = PowerLawSpectrum(window=(1, 10)).fit(X)
    leading = PowerLawSpectrum(window=(1, 10), n_components=12).fit(X)
    np.testing.assert_array_equal(leading.eigenvalues_, everything.eigenvalues_[:12])
    assert leading.exponent_ == everything.exponent_
    assert leading.effective_rank_ == everything.effective_rank_


def test_the_best_law_is_that_of_the_data_in_the_window():
    spectrum = PowerLawSpectrum(window=(1, 20)).fit(power_law_data(4000, 60, 1.0))
    assert spectrum.compare_laws().best == "power_law"
    assert spectrum.compare_laws() == compare_laws(spectrum.eigenvalues_, (1, 20))
    rows = np.random.default_rng(0).normal(size=(400, 30)) * np.exp(-np.arange(30) / 8)
    assert PowerLawSpectrum(window=(2, 20)).fit(rows).compare_laws().best == "exponential"


def test_the_interval_repeats_with_the_seed_and_covers_the_truth():
    X = power_law_data(300, 30, 1.0)
    spectra = [PowerLawSpectrum((1, 10), n_bootstrap=50, random_state=0).fit(X) for _ in range(2)]
    assert spectra[0].exponent_interval_ == spectra[1].exponent_interval_
    low, high = spectra[0].exponent_interval_
    assert low < 1.0 < high
    assert low < spectra[0].exponent_ - spectra[0].exponent_bias_ < high
    wider = PowerLawSpectrum((1, 10), n_bootstrap=50, confidence=0.99, random_state=0).fit(X)
    assert wider.exponent_interval_[0] < low < high < wider.exponent_interval_[1]
    assert not hasattr(PowerLawSpectrum((1, 10)).fit(X), "exponent_interval_")


@pytest.mark.usefixtures("global_state_unchanged")
def test_global_state_is_left_alone_and_nothing_is_printed(capsys):
    X = power_law_data(120, 12, 1.0)
    PowerLawSpectrum((1, 10), n_bootstrap=3, random_state=0, device="cpu").fit(X)
    assert capsys.readouterr() == ("", "")
    PowerLawSpectrum((1, 10), n_bootstrap=3, random_state=0, verbose=1).fit(X)
    assert "bootstrap" in capsys.readouterr().err


def test_the_spectrum_of_repeats_is_the_cross_validated_one():
    rng = np.random.default_rng(1)
    signal = power_law_data(600, 30, 1.0)
    X, Y = (signal + 0.2 * rng.normal(size=signal.shape) for _ in range(2))
    spectrum = PowerLawSpectrum((1, 10), n_bootstrap=40, random_state=0).fit(X, X_repeat=Y)
    expected = cv_pca(X, Y, n_shuffles=5, rng=np.random.RandomState(0)).mean(axis=0)
    np.testing.assert_allclose(spectrum.eigenvalues_, expected, rtol=1e-12)
    assert spectrum.exponent_ == fit_power_law(expected, (1, 10)).exponent
    assert spectrum.exponent_interval_[0] < 1.0 < spectrum.exponent_interval_[1]
    assert abs(spectrum.exponent_ - 1) < abs(PowerLawSpectrum((1, 10)).fit(X).exponent_ - 1)


def test_negative_cross_validated_eigenvalues_are_reported():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, 200, 12))
    with pytest.warns(SpectrumWarning, match="eigenvalues in the window are not positive and were left out"):
        spectrum = PowerLawSpectrum((1, 11), random_state=0).fit(X, X_repeat=Y)
    assert spectrum.eigenvalues_.min() < 0
    assert spectrum.n_window_ == (spectrum.eigenvalues_[:11] > 0).sum()


def test_repeats_must_match():
    X = power_law_data(60, 12, 1.0)
    with pytest.raises(
        ValueError, match=r"X and X_repeat must have the same rows\. Got 60 and 59 samples instead."
    ):
        PowerLawSpectrum().fit(X, X_repeat=X[:-1])
    with pytest.raises(ValueError, match="X has 11 features, but PowerLawSpectrum is expecting 12 features"):
        PowerLawSpectrum().fit(X, X_repeat=X[:, :-1])


@pytest.fixture(scope="module")
def digits_pipeline():
    X, y = load_digits(return_X_y=True)
    model = make_pipeline(
        StandardScaler(),
        WTAEncoder(40, max_iter=2, random_state=0),
        PowerLawSpectrum(window=(1, 20)),
        RegularizedClassifier(hidden_layer_sizes=(20, 15), max_iter=2, random_state=0),
    )
    with warnings.catch_warnings():
        # Two epochs are enough to be measured, and too few to converge.
        warnings.simplefilter("ignore")
        return model.fit(X[:900], y[:900]), X


def column(table, name, **where):
    keep = [all(table[key][i] == value for key, value in where.items()) for i in range(len(table[name]))]
    return [value for value, kept in zip(table[name], keep) if kept]


def test_every_layer_of_a_pipeline_is_measured_at_every_width(digits_pipeline):
    model, X = digits_pipeline
    table = pipeline_spectra(model, X, widths=[10, 30, 50], window=(2, 20), random_state=0)
    assert len({len(values) for values in table.values()}) == 1
    layers = dict.fromkeys(zip(table["step"], table["layer"]))
    assert list(layers) == [
        ("input", "input"),
        ("standardscaler", "output"),
        ("wtaencoder", "pre-activation"),
        ("wtaencoder", "activation"),
        ("regularizedclassifier", "pre-activation 1"),
        ("regularizedclassifier", "activation 1"),
        ("regularizedclassifier", "pre-activation 2"),
        ("regularizedclassifier", "activation 2"),
    ]
    encoder = {"step": "wtaencoder", "layer": "activation", "source": "data"}
    assert column(table, "width", **encoder) == [10, 30, 40]
    codes = model[:2].transform(X)
    for width, values in zip([10, 30, 40], column(table, "eigenvalues", **encoder)):
        expected = PCA(svd_solver="full").fit(codes[:, :width]).explained_variance_
        assert_same_eigenvalues(values, expected, 1e-6)
    bare = column(table, "eigenvalues", step="wtaencoder", layer="pre-activation", source="data", width=40)
    linear = copy.deepcopy(model[1]).set_params(power=None)
    expected = PCA(svd_solver="full").fit(linear.transform(model[0].transform(X))).explained_variance_
    assert_same_eigenvalues(bare[0], expected, 1e-6)
    assert model[1].power == "auto", "the user's encoder must stay as it was"


def test_hidden_layers_and_white_noise_are_those_of_the_model(digits_pipeline):
    model, X = digits_pipeline
    table = pipeline_spectra(model, X[:500], window=(2, 14), noise_window=(3, 12), random_state=0)
    hidden = model[-1].hidden(model[:3].transform(X[:500]), layer=1, activation=False)
    values = column(table, "eigenvalues", layer="pre-activation 2", source="data")
    assert_same_eigenvalues(values[0], PCA(svd_solver="full").fit(hidden).explained_variance_, 1e-6)
    noise = column(table, "eigenvalues", step="input", source="white noise")[0]
    expected = np.random.RandomState(0).standard_normal((500, 64))
    assert_same_eigenvalues(noise, PCA(svd_solver="full").fit(expected).explained_variance_)
    assert set(column(table, "window_first", source="white noise")) == {3}
    assert set(column(table, "window_first", source="data")) == {2}
    assert set(column(table, "n_samples")) == {500}


def test_the_table_becomes_a_frame_and_repeats_with_the_seed(digits_pipeline):
    model, X = digits_pipeline
    frames = [pd.DataFrame(pipeline_spectra(model, X[:300], random_state=3)) for _ in range(2)]
    pd.testing.assert_frame_equal(*frames)
    assert {"step", "layer", "source", "width", "exponent", "r2", "participation_ratio"} <= set(frames[0])


def test_frames_lone_estimators_and_plain_classifiers_are_measured():
    X, y = load_digits(return_X_y=True, as_frame=True)
    X = X.loc[:, X.std() > 0]
    scaler = StandardScaler().set_output(transform="pandas").fit(X)
    table = pipeline_spectra(scaler, X, white_noise=False)
    assert list(zip(table["step"], table["width"])) == [("input", 61), ("standardscaler", 61)]
    model = make_pipeline("passthrough", StandardScaler(), LogisticRegression()).fit(X, y)
    assert pipeline_spectra(model, X)["step"] == ["input", "standardscaler"] * 2


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"widths": [0]},
            ValueError,
            r"The 'widths' parameter of pipeline_spectra must be an int in \[1, inf\)",
        ),
        ({"widths": [1.5]}, TypeError, "The 'widths' parameter of pipeline_spectra"),
        ({"window": (3, 2)}, ValueError, "The 'window' parameter of pipeline_spectra"),
        (
            {"noise_window": "all"},
            ValueError,
            "The 'noise_window' parameter of pipeline_spectra must be 'auto', None or .* Got 'all'",
        ),
        ({"method": None}, TypeError, "The 'method' parameter of pipeline_spectra"),
        ({"white_noise": None}, TypeError, "The 'white_noise' parameter of pipeline_spectra"),
        ({"random_state": "dice"}, ValueError, "The 'random_state' parameter of pipeline_spectra"),
        ({"verbose": -1}, ValueError, "The 'verbose' parameter of pipeline_spectra"),
        ({"device": "abacus"}, ValueError, "The 'device' parameter of pipeline_spectra"),
    ],
    ids=str,
)
def test_bad_parameters_of_pipeline_spectra_are_refused(parameters, error, message):
    X = power_law_data(60, 12, 1.0)
    with pytest.raises(error, match=message):
        pipeline_spectra(StandardScaler().fit(X), X, **parameters)


def test_an_unfitted_pipeline_is_refused():
    with pytest.raises(NotFittedError):
        pipeline_spectra(make_pipeline(StandardScaler()), power_law_data(60, 12, 1.0))


def test_raw_pixels_of_cifar10_have_the_published_exponent(image_folder):
    Image = pytest.importorskip("PIL.Image")
    with np.load(image_folder / "cifar10_jpeg_test.npz") as archive:
        jpeg, offsets = archive["jpeg"], archive["offsets"]
    images = [jpeg[start:end].tobytes() for start, end in pairwise(offsets)]
    X = np.array([np.asarray(Image.open(io.BytesIO(image))).ravel() for image in images]) / 255
    X /= np.linalg.norm(X, ord=3, axis=1, keepdims=True)
    # 1.47 on the original images, 1.49 on their JPEG copy.
    assert PowerLawSpectrum(window=(11, 500)).fit(X).exponent_ == pytest.approx(1.49, abs=0.03)
    noise = np.random.default_rng(0).normal(size=X.shape)
    assert PowerLawSpectrum(window=(11, 100)).fit(noise).exponent_ == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("n_samples", [3, 30])
def test_data_whose_squares_overflow_are_refused_in_words(n_samples):
    X = np.random.default_rng(0).normal(size=(n_samples, 10)) * 1e300
    with pytest.raises(ValueError, match="The covariance overflows float64: divide the data"):
        PowerLawSpectrum(window=(1, 2)).fit(X)


@pytest.mark.filterwarnings("ignore::sklearn_brm.SpectrumWarning")
@pytest.mark.parametrize("turn", [np.s_[::-1], np.s_[:, ::-1]])
def test_arrays_that_run_backwards_are_measured_like_their_copies(turn):
    X = np.random.default_rng(0).normal(size=(40, 5))[turn]
    copy = X.copy()
    for fit in (
        lambda rows: PowerLawSpectrum().fit(rows),
        lambda rows: PowerLawSpectrum().fit(rows[:4]),
        lambda rows: PowerLawSpectrum(random_state=0).fit(rows, X_repeat=rows),
        lambda rows: PowerLawSpectrum().partial_fit(rows).measure(),
    ):
        np.testing.assert_allclose(fit(X).eigenvalues_, fit(copy).eigenvalues_, rtol=1e-12)
    pca = PCA(3).fit(copy)
    tables = [pipeline_spectra(pca, rows, white_noise=False) for rows in (X, copy)]
    for found, expected in zip(*(table["eigenvalues"] for table in tables)):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::sklearn_brm.SpectrumWarning")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", np.int64(4)),
        ("window", (np.uint8(1), np.int32(4))),
        ("n_bootstrap", np.uint8(5)),
        ("n_shuffles", np.int32(2)),
        ("confidence", np.float16(0.9)),
        ("random_state", np.int64(3)),
        ("verbose", np.int64(0)),
    ],
)
def test_numbers_of_numpy_do_what_those_of_python_do(name, value):
    X = np.random.default_rng(0).normal(size=(60, 12))
    plain = tuple(map(int, value)) if isinstance(value, tuple) else value.item()
    options = {"window": (1, 8), "random_state": 0, "n_bootstrap": 4}
    for data in ({"X": X}, {"X": X, "X_repeat": X + 1}):
        found = PowerLawSpectrum(**(options | {name: value})).fit(**data)
        expected = PowerLawSpectrum(**(options | {name: plain})).fit(**data)
        np.testing.assert_array_equal(found.eigenvalues_, expected.eigenvalues_)
        np.testing.assert_array_equal(found.exponent_interval_, expected.exponent_interval_)
        assert np.isfinite(found.exponent_)


def test_data_too_small_for_their_squares_are_refused():
    X = np.random.default_rng(0).normal(size=(40, 5)) * 1e-160
    with pytest.raises(
        ValueError, match="covariance underflows float64: divide the data by its largest value"
    ):
        PowerLawSpectrum().fit(X)


def test_one_row_has_no_spectrum_yet():
    spectrum = PowerLawSpectrum().partial_fit(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"A spectrum takes 2 rows or more\. Got 1 row in all calls"):
        spectrum.measure()
    assert not hasattr(spectrum, "exponent_")
