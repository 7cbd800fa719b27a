"""The threat model: how far a row may be moved, in which units, and what must stay true of it."""

from dataclasses import dataclass

import numpy as np
import torch

from .._base import as_tensor, parameter_error
from ..functional.attacks import Ball
from ._constraints import Rules, obeys_discrete, resolve_bounds, resolve_constraints
from ._table import Table

# What rounding may add to the length of a perturbation.
_SLACK = 1e-6


@dataclass(frozen=True)
class Threat:
    """What an attacker of one table may do.

    Attributes
    ----------
    norm : float
        inf, 2 or 1.
    scale : ndarray of shape (n_features,)
        What one unit of eps is in each feature; features with 0 are held fixed.
    low, high : ndarray of shape (n_features,)
        Bounds on values; a clean row outside keeps its own value as a bound.
    rules : Rules
        The user's constraints.
    reach : float
        Distance, in units of `scale`, across the whole data: no attacker needs more.
    """

    norm: float
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rules: Rules
    reach: float

    def box(self, X):
        """Return the smallest and largest values each entry of the clean rows `X` may take."""
        low, high = np.minimum(self.low.astype(X.dtype), X), np.maximum(self.high.astype(X.dtype), X)
        fixed = np.union1d(self.rules.fixed, np.flatnonzero(self.scale == 0))
        low[:, fixed] = high[:, fixed] = X[:, fixed]
        low[:, self.rules.increasing] = X[:, self.rules.increasing]
        return low, high

    def ball(self, X, eps, rows, *, device, dtype):
        """Return the `Ball` of each clean row in `X`, as tensors."""

        def tensor(array):
            return as_tensor(np.ascontiguousarray(array), device=device, dtype=dtype)

        bounded = np.isfinite(self.low).any() or np.isfinite(self.high).any()
        fixed = len(self.rules.fixed) or len(self.rules.increasing) or (self.scale == 0).any()
        low, high = self.box(X) if bounded or fixed else (None, None)
        scale = np.where(self.scale == 0, 1, self.scale)
        return Ball(
            centre=tensor(X),
            eps=tensor(eps),
            norm=self.norm,
            scale=None if (scale == 1).all() else tensor(scale),
            lower=None if low is None else tensor(low),
            upper=None if high is None else tensor(high),
            snap=self.snap if self.rules.discrete else None,
            rows=torch.as_tensor(rows, device=device),
        )

    def distance(self, X, X_clean):
        """Return the length of each row's perturbation in the norm, in units of `scale`."""
        moved = (X.astype(float) - X_clean) / np.where(self.scale == 0, 1, self.scale)
        return np.linalg.norm(moved, ord=self.norm, axis=1)

    def _rounding(self, X_clean):
        ulp = np.spacing(np.abs(X_clean)).astype(float)
        return np.linalg.norm(ulp / np.where(self.scale == 0, 1, self.scale), ord=self.norm, axis=1)

    def settle(self, X, X_clean, eps):
        """Return `X` as rows that obey everything, and which of them do.

        Bounds are clipped to once more, in the precision of the data; the rest is verified.
        """
        low, high = self.box(X_clean)
        X = np.clip(X, low, high).astype(X_clean.dtype)
        if self.rules.project is not None:
            X = np.asarray(self.rules.project(X.copy(), X_clean.copy()), dtype=X_clean.dtype)
            if X.shape != X_clean.shape:
                rule = f"a callable that returns rows of shape {X_clean.shape}"
                raise parameter_error("FeatureConstraints", "project", rule, X.shape, ValueError)
        inside = np.isfinite(X).all(axis=1) & (np.clip(X, low, high) == X).all(axis=1)
        near = self.distance(X, X_clean) <= eps * (1 + _SLACK) + self._rounding(X_clean)
        return X, inside & near & obeys_discrete(self.rules, X)

    def snap(self, x, ball):
        """Return the nearest rows with whole numbers and categories that are still in the ball."""
        moved = self._rounded(x, ball, torch.round, switch=True)
        for rounding, switch in ((torch.round, False), (torch.trunc, False)):
            outside = ball.distance(moved) > ball.eps * (1 + _SLACK)
            if not outside.any():
                break
            moved = torch.where(outside[:, None], self._rounded(x, ball, rounding, switch=switch), moved)
        return moved

    def _rounded(self, x, ball, rounding, *, switch):
        x = x.clone()
        integer = torch.as_tensor(self.rules.integer, device=x.device)
        centre = ball.centre[:, integer]
        x[:, integer] = centre + rounding(x[:, integer] - centre)
        for group in self.rules.one_hot:
            values = (x if switch else ball.centre)[:, group]
            x[:, group] = torch.nn.functional.one_hot(values.argmax(dim=1), len(group)).to(x)
        inside = ball.clip(x)
        # Bounds that are no whole numbers would undo the rounding: go back to the clean value there.
        undone = torch.zeros_like(x, dtype=torch.bool)
        undone[:, integer] = (inside != x)[:, integer]
        return torch.where(undone, ball.centre, inside)


def resolve_threat(owner, table, *, norm, scale, reference_X, bounds, constraints):
    """Check the parameters of the threat model and return the `Threat` they mean for `table`."""
    if isinstance(norm, bool) or norm not in (np.inf, 2, 1):
        raise parameter_error(owner, "norm", "inf, 2 or 1", norm, ValueError)
    rules = resolve_constraints(owner, constraints, table)
    reference = None if reference_X is None else Table(owner, reference_X).matrix
    if reference is not None and reference.shape[1] != table.matrix.shape[1]:
        rule = f"data with the {table.matrix.shape[1]} features of X"
        raise parameter_error(owner, "reference_X", rule, f"{reference.shape[1]} features", ValueError)
    scale = _resolve_scale(owner, scale, reference, table.matrix.shape[1])
    low, high = _resolve_limits(owner, bounds, reference, table)
    low, high = np.maximum(low, rules.low), np.minimum(high, rules.high)
    spread = np.ptp(table.matrix if reference is None else reference, axis=0).astype(float)
    spread = np.minimum(spread, high - low)
    reach = np.linalg.norm((spread / np.where(scale == 0, 1, scale))[scale > 0], ord=norm)
    return Threat(float(norm), scale, low, high, rules, float(reach))


def _resolve_scale(owner, scale, reference, n_features):
    if scale is None:
        return np.ones(n_features)
    rule = f"None, 'std', 'range' or an array of shape ({n_features},) of finite numbers, none negative"
    if isinstance(scale, str):
        if scale not in ("std", "range"):
            raise parameter_error(owner, "scale", rule, scale)
        return _spread_of(_needed(owner, "scale", scale, reference), scale)
    try:
        scale = np.asarray(scale, dtype=float)
    except (TypeError, ValueError):
        raise parameter_error(owner, "scale", rule, scale, TypeError) from None
    if scale.shape != (n_features,) or not np.isfinite(scale).all() or (scale < 0).any():
        raise parameter_error(owner, "scale", rule, scale, ValueError)
    return scale


def _spread_of(reference, kind):
    spread = np.ptp(reference, axis=0) if kind == "range" else reference.std(axis=0, dtype=float)
    # Rounding gives a constant column a tiny spread; it has no scale and is held fixed.
    return np.where(np.ptp(reference, axis=0) == 0, 0, spread).astype(float)


def _resolve_limits(owner, bounds, reference, table):
    if isinstance(bounds, str):
        if bounds != "data":
            raise parameter_error(owner, "bounds", "None, 'data' or a pair (low, high)", bounds)
        reference = _needed(owner, "bounds", bounds, reference)
        return reference.min(axis=0).astype(float), reference.max(axis=0).astype(float)
    low, high = resolve_bounds(owner, bounds, table)
    dtype = table.matrix.dtype
    outside = (table.matrix < low.astype(dtype)) | (table.matrix > high.astype(dtype))
    if outside.any():
        row, feature = np.argwhere(outside)[0]
        raise ValueError(
            "The 'bounds' parameter must hold the clean rows. "
            f"Got {table.matrix[row, feature]} in row {row}, feature {feature}, "
            f"outside [{low[feature]}, {high[feature]}] "
            f"({outside.any(axis=1).sum()} of {len(table)} rows are outside)."
        )
    return low, high


def _needed(owner, name, value, reference):
    if reference is None:
        owner = owner if isinstance(owner, str) else type(owner).__name__
        raise ValueError(
            f"{name}={value!r} needs the 'reference_X' parameter of {owner}: data to learn it from, such as "
            "the training rows. The rows being scored do not tell it."
        )
    return reference
