"""Intervals for an exponent by resampling rows, with the bias of finite samples taken out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._covariance import (
    centre,
    lower_product,
    negligible,
    scatter_eigenvalues,
)
from ._cross_validation import cv_pca
from ._power_law import PowerLawFit, fit_power_law

# More rounds recover the tail of the population's spectrum more sharply and more noisily; four balance.
_N_ROUNDS = 4
_N_CALIBRATION = 20
_TILT = 0.1
# Below this the window hardly tells exponents apart, and dividing by less would only multiply noise.
_MIN_RESPONSE = 0.2


@dataclass(frozen=True)
class ExponentBootstrap:
    """What resampling the rows says about a fitted exponent.

    Attributes
    ----------
    interval : tuple of two float
        Confidence interval for the exponent of the population.
    bias : float
        By how much the fitted exponent exceeds the population's, as estimated; NaN where it is not.
    exponents : ndarray of shape (n_resamples,)
        Draws of the population's exponent.
    """

    interval: tuple[float, float]
    bias: float
    exponents: np.ndarray


def bootstrap_exponent(
    X: Tensor,
    fit: PowerLawFit,
    *,
    method: str = "ols",
    confidence: float = 0.95,
    n_resamples: int = 200,
    rng: np.random.Generator | np.random.RandomState,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> ExponentBootstrap:
    """Return a confidence interval for the population's exponent behind `fit`, by resampling the rows of `X`.

    Resampling rows as they are measures the bias twice: eigenvalues of a resample spread around those of the
    sample as these already spread around the population's. So the rows are first whitened and given a
    spectrum whose resamples look on average like the sample: inside the window an exact power law, outside it
    the sample's eigenvalues corrected rank by rank. Its exponent is the estimate for the population, the
    scatter of the resamples' fits divided by their response to a change of that exponent is its distribution.

    Parameters
    ----------
    X : tensor of shape (n, d)
    fit : PowerLawFit
        The fit to the eigenvalues of the covariance of `X`; its window is kept.
    method : {"ols", "weighted", "robust"}
        How `fit` was made.
    confidence : float
        Nominal coverage.
    n_resamples : int
    rng : numpy Generator or RandomState
    progress : callable
        Wraps the resamples, for a progress bar.

    Returns
    -------
    bootstrap : ExponentBootstrap
        All NaN where `fit` has fewer than three points.

    Notes
    -----
    Whitened rows resampled n times from n have the limiting spectrum of new rows up to the third free
    cumulant, and keep the kurtosis of the data. That resampling rows as they are fails is shown in [2]_;
    finding the population's spectrum by resampling is the idea of [1]_. Costs `n_resamples` + 160 eigenvalue
    problems.

    References
    ----------
    .. [1] A. Hendrikse, L. Spreeuwers, R. Veldhuis, "A bootstrap approach to eigenvalue correction", ICDM
       2009.
    .. [2] N. El Karoui, E. Purdom, "The bootstrap, covariance matrices and PCA in moderate and
       high-dimensions", arXiv 1608.00948, 2016.
    """
    if fit.n_points < 3:
        return ExponentBootstrap((np.nan, np.nan), np.nan, np.full(n_resamples, np.nan))
    rows, eigenvalues = whiten(X)
    n = len(rows)

    def refit(log_spectrum: np.ndarray, counts: np.ndarray) -> tuple[float, np.ndarray]:
        resampled = _resampled_eigenvalues(rows, log_spectrum, counts)
        # A dimension that the resample has lost says nothing of its eigenvalue, which then stays as it is.
        growth = np.log(resampled, out=log_spectrum.copy(), where=resampled > 0) - log_spectrum
        return fit_power_law(resampled, fit.window, method=method).exponent, growth

    def draw_counts() -> np.ndarray:
        return rng.multinomial(n, np.full(n, 1 / n))

    calibration = [draw_counts() for _ in range(_N_CALIBRATION)]
    population, exponent, response = _find_population(np.log(eigenvalues), fit, refit, calibration)
    draws = np.array([refit(population, draw_counts())[0] for _ in progress(range(n_resamples))])
    estimate = exponent + (fit.exponent - draws.mean()) / response
    exponents = estimate + (draws.mean() - draws) / response
    return ExponentBootstrap(_interval(exponents, confidence), float(fit.exponent - estimate), exponents)


def bootstrap_cv_exponent(
    X: Tensor,
    X_repeat: Tensor,
    fit: PowerLawFit,
    *,
    method: str = "ols",
    confidence: float = 0.95,
    n_resamples: int = 200,
    rng: np.random.Generator | np.random.RandomState,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> ExponentBootstrap:
    """Return an interval for a `fit` to cross-validated eigenvalues, by resampling the rows of both repeats.

    The interval is the scatter of the resamples' exponents about `fit`; no bias is estimated. Parameters and
    result are those of `bootstrap_exponent`.
    """
    draws = np.full(n_resamples, np.nan)
    for i in progress(range(n_resamples)):
        drawn = torch.as_tensor(rng.choice(len(X), len(X)), device=X.device)
        values = cv_pca(X[drawn], X_repeat[drawn], n_shuffles=1, rng=rng)[0]
        draws[i] = fit_power_law(values, fit.window, method=method).exponent
    exponents = fit.exponent + draws.mean() - draws
    return ExponentBootstrap(_interval(exponents, confidence), np.nan, exponents)


def _interval(exponents: np.ndarray, confidence: float) -> tuple[float, float]:
    # Quantile p of B draws is order statistic p (B + 1), which keeps the coverage at small B.
    ends = np.quantile(exponents, [(1 - confidence) / 2, (1 + confidence) / 2], method="weibull")
    return float(ends[0]), float(ends[1])


def whiten(X: Tensor) -> tuple[Tensor, np.ndarray]:
    """Return rows Z, shape (n, r), with Z.T @ Z = n I in the principal axes of `X`, and r eigenvalues."""
    centred = centre(X)
    n, d = centred.shape
    matrix = lower_product(centred.T if n >= d else centred)
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(matrix / (n - 1)))
    kept = values > negligible(values.cpu().numpy())
    values, vectors = values[kept], vectors[:, kept]
    rows = centred @ (vectors / values.sqrt()) * (n / (n - 1)) ** 0.5 if n >= d else vectors * n**0.5
    return rows, values.cpu().numpy()


def _find_population(
    log_sample: np.ndarray,
    fit: PowerLawFit,
    refit: Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]],
    calibration: list[np.ndarray],
) -> tuple[np.ndarray, float, float]:
    """Return the log spectrum whose resamples average to the sample's, its exponent, and their response."""
    first, last = fit.window
    window = slice(first - 1, min(last, len(log_sample)))
    x = np.log(np.arange(len(log_sample)) + 1)
    x = x[window] - x[window].mean()
    spectrum, exponent = log_sample.copy(), fit.exponent
    for _ in range(_N_ROUNDS):
        level = spectrum[window].mean()
        spectrum[window] = level - exponent * x
        refits, growths = zip(*(refit(spectrum, counts) for counts in calibration))
        tilted = spectrum.copy()
        tilted[window] -= _TILT * x
        # The same resamples on both sides: their noise cancels in the difference.
        tilted_refits = [refit(tilted, counts)[0] for counts in calibration]
        response = max(float(np.mean(tilted_refits) - np.mean(refits)) / _TILT, _MIN_RESPONSE)
        exponent += float(fit.exponent - np.mean(refits)) / response
        spectrum = np.sort(log_sample - np.mean(growths, axis=0))[::-1]
    spectrum[window] = spectrum[window].mean() - exponent * x
    return spectrum, exponent, response


def _resampled_eigenvalues(rows: Tensor, log_spectrum: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of the covariance of rows drawn `counts` times and scaled to a spectrum."""
    drawn = torch.as_tensor(np.flatnonzero(counts), device=rows.device)
    weights = torch.as_tensor(counts[counts > 0], dtype=rows.dtype, device=rows.device)[:, None]
    n = len(rows)
    scaled = rows[drawn] * torch.as_tensor(np.exp(log_spectrum / 2), device=rows.device)
    mean = (weights * scaled).sum(dim=0) / n
    scaled = (scaled - mean) * weights.sqrt()
    return scatter_eigenvalues(lower_product(scaled.T)) / (n - 1)
