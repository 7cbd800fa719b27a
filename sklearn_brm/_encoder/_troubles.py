"""What may go wrong with units: powers that overflow, and units that diverge, stay open or die."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from .._base import parameter_error

# A layer with fewer units in trouble than these shares is not worth a warning: the paper calls it converged.
_TOLERATED_OPEN = 0.1
_TOLERATED_DEAD = 0.2
_TOLERATED_DIVERGED = 0.01
# Columns whose standard deviations differ by more from the median one are not scaled alike.
_TOLERATED_SPREAD = 10
_ROWS_PER_UNIT = 2
_SAMPLED_ROWS = 10_000


def check_radius(
    owner: object, dtype: Any, *, norm: float, radius: float, power: float | None, normalize: str | bool
) -> None:
    """Raise ValueError where powers of the radius overflow or vanish in `dtype`, in learning or in features.

    Learning computes with radius^norm; where rows are normalised, a row that is a unit has the feature
    radius^((norm - 1) power). Rounding is kept away from both ends, for sums over rows. `owner` is the name
    of the estimator, for the message.
    """
    limits, p = np.finfo(dtype), float(norm)
    exponent = max(p, (p - 1) * (float(power) if normalize and power is not None else 1.0))
    low, high = (float(end) ** (1 / exponent) for end in (limits.tiny / limits.eps, limits.max * limits.eps))
    if not low <= float(radius) <= high:
        rule = (
            f"in [{low:.3g}, {high:.3g}], where radius ** norm and the features, "
            "radius ** ((norm - 1) * power), neither overflow nor vanish in "
            f"{np.dtype(dtype)} with norm={norm} and power={power}"
        )
        raise parameter_error(owner, "radius", rule, radius, ValueError)


def check_features(owner: object, features: Tensor, dtype: Any, **parameters: Any) -> None:
    """Raise ValueError where one of the `features` is too large for `dtype`; name the `parameters` of it."""
    # A sum is quick, and finite if all are; only a sum that is not asks each of them.
    if features.sum().isfinite() or features.isfinite().all():
        return
    *most, last = (f"{name}={value}" for name, value in parameters.items())
    raise ValueError(
        f"The features of {owner} overflow {dtype} with {', '.join(most)} and {last}. Lower power or radius, "
        "use normalize=True, divide X by its largest value, or give X in float64."
    )


def warn_of_diverged(diverged: NDArray[np.bool_]) -> None:
    """Warn if more than a few units are `diverged`."""
    n_units = len(diverged)
    if diverged.sum() > _TOLERATED_DIVERGED * n_units:
        _warn(
            f"{diverged.sum()} of {n_units} units went to the wrong attractor: their mean weight is "
            "below -radius / 2. Lower inhibition or learning_rate, use init='rows', or try another "
            "random_state."
        )


def warn_of_open(still_open: NDArray[np.bool_], n_updates: int, tol: float) -> None:
    """Warn if more than a few units are `still_open`: neither converged nor in another trouble."""
    n_units = len(still_open)
    if still_open.sum() > _TOLERATED_OPEN * n_units:
        _warn(
            f"{still_open.sum()} of {n_units} units have not converged: after {n_updates} updates their "
            f"norm is not within tol={tol} of the radius. Increase max_iter, decrease batch_size "
            "or lower inhibition."
        )


def warn_of_dead(dead: NDArray[np.bool_], X: np.ndarray, rows: np.ndarray) -> None:
    """Warn if more than a few units are `dead` after training on `X`, of which they saw `rows`."""
    n_dead, n_units = dead.sum(), len(dead)
    if n_dead <= _TOLERATED_DEAD * n_units:
        return
    ratio = _spread_of_columns(X)
    # With few rows per unit some win nothing however well they are placed, but most do in scaled columns.
    if len(X) < _ROWS_PER_UNIT * n_units and ratio <= _TOLERATED_SPREAD:
        return
    # No row is left for units beyond the number of directions in the data.
    if n_dead - (n_units - _count_directions(rows, n_units)) <= _TOLERATED_DEAD * n_units:
        return
    cure = "Decrease n_components, use revive=True and init='rows', or lower inhibition."
    if ratio > _TOLERATED_SPREAD:
        cure = (
            f"The largest standard deviation of a column of X is {ratio:.0f} times the median one, so that "
            "few columns decide who wins: scale the columns alike first, with a StandardScaler."
        )
    _warn(f"{n_dead} of {n_units} units are dead: they won no row in the last epoch. {cure}")


def _count_directions(rows: np.ndarray, at_most: int) -> int:
    """Return the number of different directions among the rows, or `at_most` if there are more."""
    seen = set()
    for row in rows:
        largest = np.abs(row).max()
        direction = row / (largest or 1)
        length = np.linalg.norm(direction)
        if length > 0:
            seen.add((np.round(direction / length, 6) + 0.0).tobytes())
        if len(seen) == at_most:
            break
    return len(seen)


def _spread_of_columns(X: np.ndarray) -> float:
    """Return the largest standard deviation of a column in units of the median one of those that vary."""
    sample = X[:: max(1, len(X) // _SAMPLED_ROWS)].astype(np.float64)
    sample /= np.abs(sample).max() or 1
    spreads = sample.std(axis=0)[np.ptp(sample, axis=0) > 0]
    # The lower median: of two columns the smaller one.
    return spreads.max() / np.quantile(spreads, 0.5, method="lower") if len(spreads) else 1.0


def _warn(message: str) -> None:
    # Up past the warning, what calls it, fit and the decorator around fit.
    warnings.warn(message, ConvergenceWarning, stacklevel=6)
