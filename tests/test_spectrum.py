import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_brm import PowerLawSpectrum, SpectrumWarning

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
    assert_same_eigenvalues(spectrum.eigenvalues_, PCA(svd_solver="full").fit(X).explained_variance_)


@pytest.mark.parametrize("n_chunks", [1, 7, 1000, 2000], ids="{} chunks".format)
def test_a_mean_of_a_million_standard_deviations_does_not_hurt(n_chunks):
    X = power_law_data(2000, 30, 0.5, mean=1e6)
    spectrum = PowerLawSpectrum()
    for chunk in np.array_split(X, n_chunks):
        spectrum.partial_fit(chunk)
    expected = PCA(svd_solver="full").fit(X).explained_variance_
    assert_same_eigenvalues(spectrum.eigenvalues_, expected, 1e-6)
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
