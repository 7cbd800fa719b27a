"""Which ranks of a spectrum to fit a power law to."""

import numpy as np
from numpy.typing import ArrayLike

from ._covariance import negligible

# Candidate ends of a window, evenly spaced in log rank.
_N_EDGES = 24
_MIN_POINTS = 10
# The slope may change from one end of a window to the other by this much, or by this share of itself.
_SLOPE_TOLERANCE = 0.25
_RELATIVE_TOLERANCE = 0.15


def choose_window(
    eigenvalues: ArrayLike, *, n_samples: int | None = None, n_features: int | None = None
) -> tuple[int, int]:
    """Choose the widest window of ranks with a stable log-log slope where finite samples do little harm.

    Windows end at or before `last_trusted_rank`. Among those with ends on a grid of 24 ranks evenly spaced in
    log rank and at least 10 ranks inside, a window is stable when the parabola fitted to log eigenvalue
    against log rank (weights 1/n, every octave alike) turns from end to end by less than 0.25, or 15% of the
    slope if that is more, beyond two standard errors of sampling. The stable window with the largest
    last/first is taken, of equals the earliest; if none is stable, the straightest of those that span a
    factor of three.

    Parameters
    ----------
    eigenvalues : array-like of shape (n_eigenvalues,)
        In falling order.
    n_samples : int, optional
        Rows behind the covariance; without it only the last 10% of ranks are kept away from.
    n_features : int, optional
        Columns behind it, if more than there are eigenvalues.

    Returns
    -------
    (first, last) : tuple of int
        1-based, inclusive.
    """
    values = check_spectrum(eigenvalues)
    positive = int(np.argmin(np.append(values > negligible(values), False)))
    last = min(positive, last_trusted_rank(n_features or len(values), n_samples))
    if last < _MIN_POINTS:
        return 1, max(last, 1)
    edges = np.unique(np.geomspace(1, last, _N_EDGES).round().astype(int))
    windows = [(int(a), int(b)) for a in edges for b in edges if b - a + 1 >= _MIN_POINTS and b >= 3 * a]
    # Rounded, so that of equally wide windows the first is found first whatever the processor.
    windows.sort(key=lambda window: (-round(window[1] / window[0], 9), window[0]))
    straightest, least = windows[0], np.inf
    for window in windows:
        slope, turn, error = _slope_and_turn(values, *window, n_samples)
        allowed = max(_SLOPE_TOLERANCE, _RELATIVE_TOLERANCE * abs(slope)) + 2 * error
        if turn <= allowed:
            return window
        if turn / allowed < least:
            straightest, least = window, turn / allowed
    return straightest


def last_trusted_rank(n_features: int, n_samples: int | None = None) -> int:
    """Return the last rank r at which a sample eigenvalue still follows the population's power law.

    ``r = 0.9 / (1 / n_features + 5 / n_samples)``: all but the last 10% of ranks when samples abound, a third
    of the ranks at three samples per feature. There an ordinary fit from rank 1 on Gaussian data of exponents
    0.5 to 3 is off by at most 0.03 on average; towards the last ranks the sample spectrum drops below the
    population's (Marchenko and Pastur 1967), and a fit over 90% of the ranks is off by 0.09 to 0.25.
    """
    share = 1 / n_features + (5 / n_samples if n_samples else 0)
    return max(int(0.9 / share), 1)


def check_spectrum(eigenvalues: ArrayLike) -> np.ndarray:
    """Return the eigenvalues as a finite, non-empty one-dimensional float64 array, or raise ValueError."""
    values = np.asarray(eigenvalues, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"eigenvalues must be a finite, non-empty 1D array. Got {eigenvalues!r} instead.")
    return values


def _slope_and_turn(
    values: np.ndarray, first: int, last: int, n_samples: int | None
) -> tuple[float, float, float]:
    """Return the slope in the middle of a window, its change from end to end, and the error of that."""
    ranks = np.arange(first, last + 1)
    x = np.log(ranks / np.sqrt(first * last))
    root_weights = ranks**-0.5
    design = np.stack([np.ones(len(x)), x, x**2], axis=1)
    solve = np.linalg.pinv(design * root_weights[:, None]) * root_weights
    _, slope, curvature = solve @ np.log(values[first - 1 : last])
    span = 2 * np.log(last / first)
    # The logarithm of a sample eigenvalue of Gaussian data has variance 2/n.
    error = span * np.sqrt(2 / n_samples * (solve[2] ** 2).sum()) if n_samples else 0.0
    return slope, abs(curvature) * span, error
