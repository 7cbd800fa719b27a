"""Power laws fitted to a spectrum: eigenvalue n falls as exp(intercept) * n ** -exponent."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from ._window import check_spectrum, choose_window


@dataclass(frozen=True)
class PowerLawFit:
    """A straight line through log eigenvalue against log rank.

    Attributes
    ----------
    exponent : float
        Minus the slope; NaN with fewer than two points.
    stderr : float
        Standard error of the slope from the scatter about the line. Neighbouring eigenvalues are not
        independent and carry a common bias: read it as a measure of straightness, and take a bootstrap for an
        interval.
    intercept : float
        Natural logarithm of the fitted eigenvalue of rank 1.
    r2 : float
        Share of the variance of the logarithms that the line explains, with the weights of the fit.
    window : tuple of two int
        First and last rank, 1-based, inclusive.
    n_points : int
        Ranks in the window with a positive eigenvalue, which are the ones fitted.
    """

    exponent: float
    stderr: float
    intercept: float
    r2: float
    window: tuple[int, int]
    n_points: int

    def predict(self, ranks: ArrayLike) -> np.ndarray:
        """Return the fitted eigenvalues at 1-based `ranks`."""
        return np.exp(self.intercept - self.exponent * np.log(np.asarray(ranks, dtype=np.float64)))


@dataclass(frozen=True)
class LawComparison:
    """How well laws describe the same eigenvalues.

    Attributes
    ----------
    best : str or None
        Name of the law with the smallest criterion; None where the window has too few positive eigenvalues
        for any.
    criteria : dict of str to float
        Bayesian information criterion of "power_law", "exponential" and "broken_power_law"; NaN where the
        window has too few positive eigenvalues for the law.
    """

    best: str | None
    criteria: dict[str, float]


def fit_power_law(
    eigenvalues: ArrayLike,
    window: tuple[int, int] | str = "auto",
    *,
    method: str = "ols",
    n_samples: int | None = None,
    n_features: int | None = None,
) -> PowerLawFit:
    """Fit a power law to the eigenvalues in a window of ranks.

    Parameters
    ----------
    eigenvalues : array-like of shape (n_eigenvalues,)
        In falling order. Eigenvalues that are not positive have no logarithm and are left out, never folded.
    window : (first, last) or "auto"
        Ranks to fit, 1-based and inclusive; a window that reaches past the last eigenvalue ends there. "auto"
        calls `choose_window`.
    method : {"ols", "weighted", "robust"}
        Ordinary least squares; least squares weighted by 1/n, as in Stringer et al. (2019), which gives every
        octave of ranks the same say; or the Theil-Sen median of pairwise slopes.

    n_samples, n_features : int, optional
        Shape of the data behind the eigenvalues, for "auto".

    Returns
    -------
    fit : PowerLawFit

    Raises
    ------
    ValueError
        If the eigenvalues are not a finite one-dimensional array, or the window or method is not one of the
        above.

    References
    ----------
    Stringer, Pachitariu, Steinmetz, Carandini, Harris, "High-dimensional geometry of population responses in
    visual cortex", Nature 571, 2019, Methods.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_brm.functional.spectra import fit_power_law
    >>> fit = fit_power_law(3.0 * np.arange(1, 101) ** -1.5, window=(11, 50))
    >>> round(fit.exponent, 6), fit.n_points
    (1.5, 40)
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {sorted(_METHODS)}. Got {method!r} instead.")
    values = check_spectrum(eigenvalues)
    if isinstance(window, str) and window == "auto":
        window = choose_window(values, n_samples=n_samples, n_features=n_features)
    first, last = _check_window(window)
    last = max(first, min(last, len(values)))
    ranks = _positive_ranks(values, first, last)
    if len(ranks) < 2:
        return PowerLawFit(np.nan, np.nan, np.nan, np.nan, (first, last), len(ranks))
    line = _METHODS[method](np.log(ranks), np.log(values[ranks - 1]), ranks)
    slope, stderr, intercept, r2 = (float(number) for number in line)
    return PowerLawFit(-slope, stderr, intercept, r2, (first, last), len(ranks))


def compare_laws(eigenvalues: ArrayLike, window: tuple[int, int]) -> LawComparison:
    """Compare three laws for the eigenvalues in a window by their Bayesian information criterion.

    All are least-squares fits of log eigenvalue with independent Gaussian residuals: a straight line in log
    rank ("power_law"), a straight line in rank ("exponential"), and two straight lines in log rank that meet
    at a fitted rank ("broken_power_law"). Neighbouring eigenvalues are not independent, so that small
    differences mean little, and finite samples bend the eigenvalues of a power law towards a broken one.

    Parameters
    ----------
    eigenvalues : array-like of shape (n_eigenvalues,)
    window : (first, last)
        1-based, inclusive.

    Returns
    -------
    comparison : LawComparison
        Which law is best, and the criteria.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_brm.functional.spectra import compare_laws
    >>> compare_laws(np.exp(-np.arange(100) / 20), window=(1, 100)).best
    'exponential'
    """
    values = check_spectrum(eigenvalues)
    ranks = _positive_ranks(values, *_check_window(window))
    x, y, one = np.log(ranks), np.log(values[ranks - 1]), np.ones(len(ranks))
    # Both pieces of a broken law need three points to be more than a link between two eigenvalues.
    joints = np.unique(np.geomspace(1, max(len(ranks), 1), 50).astype(int))
    joints = x[joints[(joints >= 3) & (joints <= len(ranks) - 4)]]
    broken = [_bic([one, x, (x - joint).clip(min=0)], y, n_extra=1) for joint in joints]
    criteria = {
        "power_law": _bic([one, x], y),
        "exponential": _bic([one, ranks], y),
        "broken_power_law": min(broken, default=np.nan),
    }
    known = [law for law in criteria if not np.isnan(criteria[law])]
    return LawComparison(min(known, key=criteria.__getitem__, default=None), criteria)


def rank_to_density_exponent(alpha: float) -> float:
    """Exponent gamma = 1 + 1/alpha of the density p(eigenvalue) ~ eigenvalue ** -gamma.

    `alpha` is the exponent of the eigenvalue against its rank; ValueError unless it is positive.
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be in (0, inf). Got {alpha!r} instead.")
    return 1 + 1 / alpha


def density_to_rank_exponent(gamma: float) -> float:
    """Exponent alpha = 1/(gamma - 1) of the eigenvalue against its rank, from the exponent of their density.

    ValueError unless `gamma` is above 1.
    """
    if not gamma > 1:
        raise ValueError(f"gamma must be in (1, inf). Got {gamma!r} instead.")
    return 1 / (gamma - 1)


def _check_window(window: tuple[int, int] | str) -> tuple[int, int]:
    if isinstance(window, str) or len(window) != 2 or not 1 <= window[0] <= window[1]:
        raise ValueError(f"window must be (first, last) with 1 <= first <= last. Got {window!r} instead.")
    return int(window[0]), int(window[1])


def _positive_ranks(values: np.ndarray, first: int, last: int) -> np.ndarray:
    ranks = np.arange(first, min(last, len(values)) + 1)
    return ranks[values[ranks - 1] > 0]


def _ols(x: np.ndarray, y: np.ndarray, ranks: np.ndarray) -> tuple[float, float, float, float]:
    return _weighted_line(x, y, np.ones(len(x)))


def _weighted(x: np.ndarray, y: np.ndarray, ranks: np.ndarray) -> tuple[float, float, float, float]:
    return _weighted_line(x, y, 1 / ranks)


def _robust(x: np.ndarray, y: np.ndarray, ranks: np.ndarray) -> tuple[float, float, float, float]:
    slope, intercept, low, high = stats.theilslopes(y, x, alpha=0.95)
    # Half of a 95% interval of a normal distribution is 1.96 standard errors.
    stderr = (high - low) / (2 * stats.norm.ppf(0.975)) if len(x) > 2 else np.nan
    return slope, stderr, intercept, _r2(y, intercept + slope * x, np.ones(len(x)))


_METHODS = {"ols": _ols, "weighted": _weighted, "robust": _robust}


def _weighted_line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, float, float, float]:
    """Return slope, its standard error, intercept and R2 of weighted least squares."""
    x_mean, y_mean = np.average(x, weights=weights), np.average(y, weights=weights)
    spread = (weights * (x - x_mean) ** 2).sum()
    slope = (weights * (x - x_mean) * (y - y_mean)).sum() / spread
    intercept = y_mean - slope * x_mean
    residual = (weights * (y - intercept - slope * x) ** 2).sum()
    stderr = np.sqrt(residual / (len(x) - 2) / spread) if len(x) > 2 else np.nan
    return slope, stderr, intercept, _r2(y, intercept + slope * x, weights)


def _r2(y: np.ndarray, fitted: np.ndarray, weights: np.ndarray) -> float:
    total = (weights * (y - np.average(y, weights=weights)) ** 2).sum()
    return 1 - (weights * (y - fitted) ** 2).sum() / total if total > 0 else np.nan


def _bic(columns: list[np.ndarray], y: np.ndarray, *, n_extra: int = 0) -> float:
    n_parameters = len(columns) + 1 + n_extra  # the residual variance is one more
    if len(y) <= n_parameters:
        return np.nan
    design = np.stack(columns, axis=1)
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    # A floor at rounding: on an exact law the logarithm of nothing says nothing.
    variance = max((residual**2).mean(), np.finfo(np.float64).eps ** 2)
    return float(len(y) * np.log(variance) + n_parameters * np.log(len(y)))
