"""The threat model: how far a row may be moved, in which units, and what must stay true of it."""

import numbers
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from .._base import as_tensor, parameter_error
from ..functional.attacks import Ball
from ._constraints import Rules, obeys_discrete, resolve_bounds, resolve_constraints

# What rounding may add to the length that is computed of a perturbation, relative to it.
_SLACK = 1e-12
# What a point may be outside its ball before it is no use to try one with other whole numbers.
_NEARLY = 1e-6
_NORM_WORDS = {"inf": np.inf, "linf": np.inf, "l2": 2.0, "l1": 1.0}


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
    roundoff : float
        Relative error of a rounding in the least precise arithmetic that rows are asked about in.
    scaled : bool
        Whether the user said what a unit is in each feature.
    """

    norm: float
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rules: Rules
    reach: float
    roundoff: float
    scaled: bool

    @cached_property
    def fixed(self):
        """Positions of the features that stay as they are."""
        return np.union1d(self.rules.fixed, np.flatnonzero(self.scale == 0))

    @cached_property
    def free(self):
        """Positions of the features that may take any value in between."""
        groups = [np.asarray(group, dtype=int) for group in self.rules.one_hot]
        bound = np.concatenate([self.fixed, self.rules.integer, *groups]).astype(int)
        return np.setdiff1d(np.arange(len(self.scale)), bound)

    @cached_property
    def unit(self):
        """`scale`, with 1 for the features that have none."""
        return np.where(self.scale == 0, 1, self.scale)

    def box(self, X):
        """Return the smallest and largest values each entry of the clean rows `X` may take."""
        low, high = _round_up(self.low, X.dtype), -_round_up(-self.high, X.dtype)
        low, high = np.minimum(low, X), np.maximum(high, X)
        low[:, self.fixed] = high[:, self.fixed] = X[:, self.fixed]
        low[:, self.rules.increasing] = X[:, self.rules.increasing]
        return low, high

    def ball(self, X, eps, rows, *, device, dtype):
        """Return the `Ball` of each clean row in `X`, as tensors."""

        def tensor(array):
            return as_tensor(np.ascontiguousarray(array), device=device, dtype=dtype)

        bounded = np.isfinite(self.low).any() or np.isfinite(self.high).any()
        held = len(self.fixed) or len(self.rules.increasing)
        low, high = self.box(X) if bounded or held else (None, None)
        return Ball(
            centre=tensor(X),
            eps=tensor(eps),
            norm=self.norm,
            scale=None if (self.unit == 1).all() else tensor(self.unit),
            lower=None if low is None else tensor(low),
            upper=None if high is None else tensor(high),
            snap=self.snap if self.rules.discrete else None,
            rows=torch.as_tensor(rows, device=device),
            roundoff=self.roundoff,
        )

    def distance(self, X, X_clean):
        """Return the length of each row's perturbation in the norm, in units of `scale`."""
        moved = (X.astype(float) - X_clean) / self.unit
        return np.linalg.norm(moved, ord=self.norm, axis=1)

    def settle(self, X, X_clean, eps):
        """Return `X` as rows that obey everything, and which of them do.

        Ball and bounds are enforced once more, in the precision of the data; the rest is verified.
        """
        low, high = self.box(X_clean)
        X = self._inside(np.clip(X, low, high), X_clean, np.broadcast_to(eps, len(X)))
        if self.rules.project is not None:
            X = np.asarray(self.rules.project(X.copy(), X_clean.copy()), dtype=X_clean.dtype)
            if X.shape != X_clean.shape:
                rule = f"a callable that returns rows of shape {X_clean.shape}"
                raise parameter_error("FeatureConstraints", "project", rule, X.shape, ValueError)
        inside = np.isfinite(X).all(axis=1) & (np.clip(X, low, high) == X).all(axis=1)
        near = self.distance(X, X_clean) <= eps * (1 + _SLACK)
        return X, inside & near & obeys_discrete(self.rules, X)

    def _inside(self, X, X_clean, eps):
        """Return points pulled into their balls, each entry rounded towards the clean one."""
        moved = X.astype(float) - X_clean
        if self.norm == np.inf:
            reach = eps[:, None] * self.unit[self.free]
            moved[:, self.free] = np.clip(moved[:, self.free], -reach, reach)
            return _move(X_clean, moved)
        X = _move(X_clean, moved)
        over = np.flatnonzero(self.distance(X, X_clean) > eps * (1 + _SLACK))
        # Only where needed: what lies just past the split of a tree would not any more.
        moved = moved[over]
        moved[:, self.free] *= self._share_inside(moved / self.unit, eps[over])[:, None]
        X[over] = _move(X_clean[over], moved)
        return X

    def _share_inside(self, moved, eps):
        """Return the share of the moves of free features that fits into the ball beside all others."""
        others = np.delete(moved, self.free, axis=1)
        spent = np.linalg.norm(others, ord=self.norm, axis=1) ** self.norm
        left = np.clip(eps**self.norm - spent, 0, None) ** (1 / self.norm)
        length = np.linalg.norm(moved[:, self.free], ord=self.norm, axis=1)
        return np.divide(left * (1 - _SLACK), length, out=np.ones(len(moved)), where=length > left)

    def snap(self, x, ball):
        """Return the nearest rows with whole numbers and categories that are still in the ball."""
        moved = self._rounded(x, ball, torch.round, switch=True)
        for rounding, switch in ((torch.round, False), (torch.trunc, False)):
            outside = ball.distance(moved) > ball.eps * (1 + _NEARLY)
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
    norm = resolve_norm(owner, norm)
    rules = resolve_constraints(owner, constraints, table)
    reference = None if reference_X is None else table.aligned(owner, "reference_X", reference_X)
    scaled = scale is not None
    scale = _resolve_scale(owner, table.by_name(owner, "scale", scale), reference, table.matrix.shape[1])
    low, high = _resolve_limits(owner, bounds, reference, table)
    low, high = np.maximum(low, rules.low), np.minimum(high, rules.high)
    spread = np.ptp(table.matrix if reference is None else reference, axis=0).astype(float)
    spread = np.minimum(spread, high - low)
    with np.errstate(over="ignore"):
        reach = np.linalg.norm((spread / np.where(scale == 0, 1, scale))[scale > 0], ord=norm)
    if not np.isfinite(reach):
        raise ValueError(
            "Input X is too large: the distance across the data is not finite. Divide the columns by a "
            "constant, or give a larger scale."
        )
    return Threat(norm, scale, low, high, rules, float(reach), table.roundoff, scaled)


def _move(X, moved):
    """Return ``X + moved`` in the precision of `X`, each entry rounded towards `X`."""
    there = (X + moved).astype(X.dtype)
    too_far = np.abs(there.astype(float) - X) > np.abs(moved)
    return np.where(too_far, np.nextafter(there, X), there)


def _round_up(values, dtype):
    """Return `values` in a type that may hold fewer digits, none of them smaller than it was."""
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    return np.where(rounded < values, np.nextafter(rounded, dtype.type(np.inf)), rounded)


def resolve_norm(owner, norm):
    """Return inf, 2 or 1 for a number or the usual word for it."""
    if isinstance(norm, str) and norm.lower() in _NORM_WORDS:
        return _NORM_WORDS[norm.lower()]
    if not isinstance(norm, numbers.Real) or isinstance(norm, (bool, np.bool_)) or norm not in (np.inf, 2, 1):
        raise parameter_error(owner, "norm", "inf, 2 or 1, or 'linf', 'l2' or 'l1'", norm, ValueError)
    return float(norm)


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
