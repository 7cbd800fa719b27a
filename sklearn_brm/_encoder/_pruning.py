"""The cut between units that learned and units that stayed noise."""

import warnings
from itertools import pairwise

import numpy as np
from scipy.stats import chi2
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

_LARGEST_ORDER = 4


def noise_cut(variances: np.ndarray, random_state: np.random.RandomState) -> float:
    """Return the variance above which units are noise, infinity where all units are of one kind.

    Gaussian mixtures of 1 to 4 components are fitted to the logarithms of `variances`; the cut is the
    midpoint of the two highest means of the mixture that likelihood ratio tests choose.
    """
    points = np.log(variances[variances > 0])[:, None]
    if len(points) < 2 * _LARGEST_ORDER or np.ptp(points) == 0:
        return np.inf
    mixtures = [_fit_mixture(points, order, random_state) for order in range(1, _LARGEST_ORDER + 1)]
    order = mixture_order([mixture.score(points) * len(points) for mixture in mixtures])
    if order == 1:
        return np.inf
    return float(np.exp(np.sort(mixtures[order - 1].means_.ravel())[-2:].mean()))


def mixture_order(log_likelihoods: list[float], *, extra_parameters: int = 3, level: float = 0.01) -> int:
    """Return how many components a mixture needs, by likelihood ratio tests of each order against the next.

    Parameters
    ----------
    log_likelihoods : list of float
        Total log-likelihood of the mixtures of 1, 2, ... components.
    extra_parameters : int
        Degrees of freedom that one more component brings.
    level : float
        An order is accepted where chance explains its gain with a smaller probability.
    """
    order = 1
    for smaller, larger in pairwise(log_likelihoods):
        if chi2.sf(2 * (larger - smaller), extra_parameters) >= level:
            break
        order += 1
    return order


def _fit_mixture(points: np.ndarray, order: int, random_state: np.random.RandomState) -> BaseEstimator:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(order, random_state=random_state).fit(points)
