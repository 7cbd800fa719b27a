"""Every parameter is checked before any work starts."""

import numbers

import numpy as np

from .._base import as_numbers, check_number, parameter_error
from ._attacks import ATTACKS, Attack
from ._evaluation import Evaluation
from ._table import Table
from ._threat import resolve_threat


def make_evaluation(owner, estimator, X, y, *, threat, **effort):
    """Check every parameter and return the `Evaluation` that answers all questions about these rows."""
    check_attack(owner, effort["attack"])
    for name in ("n_steps", "n_restarts", "max_queries", "batch_size"):
        effort[name] = int(check_number(owner, name, effort[name], "[1, inf)", kind=numbers.Integral))
    verbose = effort.get("verbose", 0)
    check_number(owner, "verbose", verbose, "[0, inf)", kind=numbers.Integral, also=(True, False))
    table = Table(owner, X)
    return Evaluation(owner, estimator, table, y, resolve_threat(owner, threat, table), **effort)


def check_attack(owner, attack):
    """Check the parameter `attack`: a name, an `Attack`, a callable, or several of them."""
    wanted = [attack] if isinstance(attack, str | Attack) or callable(attack) else attack
    rule = f"a callable, an Attack, one of {', '.join(map(repr, ATTACKS))}, or a list of such"
    if not isinstance(wanted, (list, tuple)) or len(wanted) == 0:
        raise parameter_error(owner, "attack", rule, attack)
    for item in wanted:
        ours = isinstance(item, Attack) or (isinstance(item, str) and item in ATTACKS)
        # Calling a class would build an attack, not run it.
        if not ours and (isinstance(item, type) or not callable(item)):
            raise parameter_error(owner, "attack", rule, item)


def check_weight(sample_weight, table, owner="scoring"):
    """Return weights of the rows as an array, or None."""
    if sample_weight is None:
        return None
    weight = as_numbers(owner, "sample_weight", sample_weight, f"{len(table)} numbers")
    if weight.shape != (len(table),) or not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(
            f"sample_weight must be {len(table)} finite numbers, none negative. "
            f"Got an array of shape {weight.shape}."
        )
    if weight.sum() == 0:
        raise ValueError("sample_weight must not be all zero.")
    return weight


def check_grid(owner, eps):
    """Return radii as a rising array."""
    rule = "a rising sequence of numbers in (0, inf)"
    grid = as_numbers(owner, "eps", eps, rule)
    if (
        grid.ndim != 1
        or len(grid) == 0
        or not np.isfinite(grid).all()
        or grid[0] <= 0
        or (np.diff(grid) <= 0).any()
    ):
        raise parameter_error(owner, "eps", rule, eps, ValueError)
    return grid
