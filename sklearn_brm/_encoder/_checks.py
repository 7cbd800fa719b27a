"""The parameters of the encoder, checked before any work starts, and the troubles told after it."""

import numbers
import warnings
from functools import partial

from sklearn.exceptions import ConvergenceWarning

from .._base import check_choice, check_number, resolve_device

# A layer with fewer units in trouble than these shares is not worth a warning: the paper calls it converged.
_TOLERATED_OPEN = 0.1
_TOLERATED_DEAD = 0.2
_TOLERATED_DIVERGED = 0.01
_ROWS_PER_UNIT = 2


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


def warn_of_trouble(owner, n_samples):
    """Name each of the three troubles of a finished training and what to change."""
    n_units = owner.n_components
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
    # With few rows per unit some win nothing however well they are placed.
    if dead.sum() > _TOLERATED_DEAD * n_units and n_samples >= _ROWS_PER_UNIT * n_units:
        _warn(
            f"{dead.sum()} of {n_units} units are dead: they won no row in the last epoch. Decrease "
            "n_components, scale the columns of X alike, use revive=True and init='rows', or lower "
            "inhibition."
        )


def _warn(message):
    warnings.warn(message, ConvergenceWarning, stacklevel=5)
