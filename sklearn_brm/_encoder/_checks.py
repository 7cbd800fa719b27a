"""The parameters of the encoder, checked before any work starts, and the troubles told after it."""

import numbers
import warnings
from functools import partial

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._base import check_choice, check_number, parameter_error, resolve_device

# A layer with fewer units in trouble than these shares is not worth a warning: the paper calls it converged.
_TOLERATED_OPEN = 0.1
_TOLERATED_DEAD = 0.2
_TOLERATED_DIVERGED = 0.01
# Columns whose standard deviations differ by more from the median one are not scaled alike.
_TOLERATED_SPREAD = 10
_ROWS_PER_UNIT = 2
_SAMPLED_ROWS = 10_000


def check_parameters(owner, *, rules, schedules, inits, precisions):
    """Raise TypeError or ValueError if a parameter of the encoder `owner` is not what it may be."""
    check, choose = partial(check_number, owner), partial(check_choice, owner)
    check("n_components", owner.n_components, "[1, inf)", kind=numbers.Integral)
    check("norm", owner.norm, "[2, inf)")
    check("rank", owner.rank, "[2, inf)", kind=numbers.Integral)
    check("inhibition", owner.inhibition, "[0, inf)")
    choose("inhibited", owner.inhibited, ("last", "all"))
    check("radius", owner.radius, "(0, inf)")
    check("power", owner.power, "[1, inf)", also=(None,))
    choose("rule", owner.rule, tuple(rules))
    check("learning_rate", owner.learning_rate, "(0, inf)")
    if not callable(owner.schedule):
        choose("schedule", owner.schedule, tuple(schedules))
    check("max_iter", owner.max_iter, "[0, inf)", kind=numbers.Integral, also=(None,))
    check("batch_size", owner.batch_size, "[1, inf)", kind=numbers.Integral)
    if isinstance(owner.init, str):
        choose("init", owner.init, tuple(inits))
    choose("normalize", owner.normalize, ("auto", True, False))
    check("tol", owner.tol, "(0, inf)")
    check("n_iter_no_change", owner.n_iter_no_change, "[1, inf)", kind=numbers.Integral, also=(None,))
    choose("revive", owner.revive, (True, False))
    choose("prune", owner.prune, (False, "mixture"))
    choose("precision", owner.precision, tuple(precisions))
    check("verbose", owner.verbose, "[0, inf)", kind=numbers.Integral, also=(True, False))
    choose("warm_start", owner.warm_start, (True, False))
    resolve_device(owner, owner.device)


def check_radius(owner, dtype):
    """Raise ValueError where powers of the radius overflow or vanish in `dtype`, in learning or in features.

    Learning computes with radius^norm; where rows are normalised, a row that is a unit has the feature
    radius^((norm - 1) power). Rounding is kept away from both ends, for sums over rows.
    """
    limits, norm = np.finfo(dtype), float(owner.norm)
    power = 1.0 if owner.power is None or not owner.normalize else float(owner.power)
    exponent = max(norm, (norm - 1) * power)
    low, high = (float(end) ** (1 / exponent) for end in (limits.tiny / limits.eps, limits.max * limits.eps))
    if not low <= float(owner.radius) <= high:
        rule = (
            f"in [{low:.3g}, {high:.3g}], where radius ** norm and the features, "
            "radius ** ((norm - 1) * power), neither overflow nor vanish in "
            f"{np.dtype(dtype)} with norm={owner.norm} and power={owner.power}"
        )
        raise parameter_error(owner, "radius", rule, owner.radius, ValueError)


def overflow_error(owner, dtype):
    """Build the error of features that are too large for `dtype`."""
    return ValueError(
        f"The features of {type(owner).__name__} overflow {dtype} with norm={owner.norm}, "
        f"radius={owner.radius}, power={owner.power} and normalize={owner.normalize}. Lower power or radius, "
        "use normalize=True, divide X by its largest value, or give X in float64."
    )


def warn_of_trouble(owner, X, rows):
    """Name each of the three troubles of a finished training on `X`, of which units saw `rows`."""
    n_units = len(owner.components_)
    dead, diverged = owner.dead_ & ~owner.pruned_, owner.diverged_ & ~owner.pruned_
    open_ = ~(owner.converged_ | owner.dead_ | owner.diverged_ | owner.pruned_)
    if diverged.sum() > _TOLERATED_DIVERGED * n_units:
        _warn(
            f"{diverged.sum()} of {n_units} units went to the wrong attractor: their mean weight is "
            "below -radius / 2. Lower inhibition or learning_rate, use init='rows', or try another "
            "random_state."
        )
    if open_.sum() > _TOLERATED_OPEN * n_units:
        _warn(
            f"{open_.sum()} of {n_units} units have not converged: after {owner.n_updates_} updates their "
            f"norm is not within tol={owner.tol} of the radius. Increase max_iter, decrease batch_size "
            "or lower inhibition."
        )
    if dead.sum() > _TOLERATED_DEAD * n_units:
        _warn_of_dead(dead.sum(), n_units, X, rows)


def _warn_of_dead(n_dead, n_units, X, rows):
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
    message = f"{n_dead} of {n_units} units are dead: they won no row in the last epoch. {cure}"
    _warn(message, stacklevel=6)


def _count_directions(rows, at_most):
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


def _spread_of_columns(X):
    """Return the largest standard deviation of a column in units of the median one of those that vary."""
    sample = X[:: max(1, len(X) // _SAMPLED_ROWS)].astype(np.float64)
    sample /= np.abs(sample).max() or 1
    spreads = sample.std(axis=0)[np.ptp(sample, axis=0) > 0]
    # The lower median: of two columns the smaller one.
    return spreads.max() / np.quantile(spreads, 0.5, method="lower") if len(spreads) else 1.0


def _warn(message, stacklevel=5):
    warnings.warn(message, ConvergenceWarning, stacklevel=stacklevel)
