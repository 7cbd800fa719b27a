"""How sure a share of rows is: Clopper and Pearson's interval, also for weighted rows."""

from typing import Any

import numpy as np
from scipy.stats import beta

CONFIDENCE = 0.95


def share_interval(
    share: float | np.ndarray, weight: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[Any, ...]:
    """Return the interval of Clopper and Pearson (1934) for shares of rows, for the rows of the population.

    Parameters
    ----------
    share : float or ndarray
        Share of the rows of which something is true.
    weight : ndarray of shape (n,)
        Weights of the rows. Unequal ones count as Kish's effective number of rows.
    confidence : float
        Coverage, at least.

    Returns
    -------
    low, high : float or ndarray
        NaN where no row has weight.
    """
    share, total = np.asarray(share, dtype=float), weight.sum()
    n = total**2 / np.square(weight).sum() if total > 0 else 0.0
    if n == 0:
        return share * np.nan, share * np.nan
    hits, tail = share * n, (1 - confidence) / 2
    low = lowest_share(hits, n, tail)
    with np.errstate(invalid="ignore"):
        high = np.where(hits >= n, 1.0, beta.ppf(1 - tail, hits + 1, n - hits))
    return low[()], high[()]


def lowest_share(hits: np.float64 | np.ndarray, n: Any, tail: float) -> np.ndarray:
    """Return the bound below which the true share lies with probability `tail` at most, given the hits."""
    with np.errstate(invalid="ignore"):
        return np.where(hits <= 0, 0.0, beta.ppf(tail, hits, n - hits + 1))
