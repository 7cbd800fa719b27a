"""A `ThreatModel` resolved for the rows of one table: balls, boxes, and rows that obey everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._base import as_tensor, parameter_error
from ..functional.attacks import Ball
from ._choices import Choices, category_values, resolve_choices
from ._rules import Rules, related, resolve_groups, resolve_rules
from ._table import Table
from ._threat_model import ThreatModel
from ._units import resolve_norm, resolve_scale

if TYPE_CHECKING:
    from ._rules import Group

# What rounding may add to the length that is computed of a perturbation, relative to it.
_SLACK = 1e-12
# What a point may be outside its ball before it is no use to try one with other whole numbers.
_NEARLY = 1e-6


@dataclass(frozen=True)
class Threat:
    """What an attacker of one table may do.

    Attributes
    ----------
    model : ThreatModel
        Who said so, for messages.
    table : Table
        The clean rows.
    norm : float
        inf, 2 or 1.
    scale : ndarray of shape (n_features,)
        What one unit of eps is in each feature; features with 0 are not moved.
    rules : Rules
        What must stay true.
    choices : Choices
        Which categories may change.
    values : dict
        By position, the codes or numbers that columns of categories can take, rising.
    reach : float
        Distance, in units of `scale`, across the whole data: no attacker needs more.
    room : float
        The same over the features that may move alone, 0 where there is none.
    """

    model: ThreatModel
    table: Table
    norm: float
    scale: np.ndarray
    rules: Rules
    choices: Choices
    values: dict[Any, Any]
    reach: float
    room: float

    @cached_property
    def fixed(self) -> np.ndarray:
        """Positions of the features that no ball moves: those without a unit, and those that are fixed."""
        return np.union1d(self.rules.fixed, np.flatnonzero(self.scale == 0))

    @cached_property
    def free(self) -> np.ndarray:
        """Positions of the features that may take any value in between."""
        groups = [group.members for group in self.rules.one_hot]
        bound = np.concatenate([self.fixed, self.rules.integer, *groups]).astype(int)
        return np.setdiff1d(np.arange(len(self.scale)), bound)

    @cached_property
    def unit(self) -> np.ndarray:
        """`scale`, with 1 for the features that have none."""
        return np.where(self.scale == 0, 1, self.scale)

    @property
    def moves_numbers(self) -> bool:
        """Whether some number may move."""
        return len(self.fixed) < len(self.scale)

    @property
    def scaled(self) -> bool:
        """Whether the user said what a unit is in each feature."""
        return self.model.scale is not None

    @property
    def roundoff(self) -> float:
        """Relative error of a rounding in the least precise arithmetic that rows are asked about in."""
        return self.table.roundoff

    def box(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and largest values each entry of the clean rows `X` may take."""
        low, high = _round_up(self.rules.low, X.dtype), -_round_up(-self.rules.high, X.dtype)
        low, high = np.minimum(low, X), np.maximum(high, X)
        low[:, self.fixed] = high[:, self.fixed] = X[:, self.fixed]
        low[:, self.rules.increasing] = X[:, self.rules.increasing]
        high[:, self.rules.decreasing] = X[:, self.rules.decreasing]
        return low, high

    @cached_property
    def _has_box(self) -> bool:
        bounded = np.isfinite(self.rules.low).any() or np.isfinite(self.rules.high).any()
        return bounded or any(map(len, (self.fixed, self.rules.increasing, self.rules.decreasing)))

    def ball(
        self, X: np.ndarray, eps: np.ndarray, rows: np.ndarray, *, device: Any, dtype: torch.dtype
    ) -> Ball:
        """Return the `Ball` around each row in `X`, as tensors."""

        def tensor(array: np.ndarray) -> Tensor:
            return as_tensor(np.ascontiguousarray(array), device=device, dtype=dtype)

        low, high = self.box(X) if self._has_box or np.isnan(X).any() else (None, None)
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
            missing=torch.as_tensor(np.isnan(X), device=device) if np.isnan(X).any() else None,
        )

    def distance(self, X: np.ndarray, X_clean: np.ndarray) -> np.ndarray:
        """Return the length of each row's perturbation in the norm, in units of `scale`, categories aside."""
        with np.errstate(over="ignore"):
            return np.linalg.norm(self._moved(X, X_clean) / self.unit, ord=self.norm, axis=1)

    def l2_norm(self, X: np.ndarray, X_clean: np.ndarray) -> np.ndarray:
        """Return the Euclidean length of each row's perturbation, categories aside."""
        with np.errstate(over="ignore"):
            return np.linalg.norm(self._moved(X, X_clean), axis=1)

    def n_changes(self, X: np.ndarray, X_clean: np.ndarray) -> np.ndarray:
        """Return how many categories, booleans and missing values of each row are others."""
        return self._changed(X, X_clean).sum(axis=1)

    def moves(self, X: np.ndarray, X_clean: np.ndarray) -> np.ndarray:
        """Return by how much each number moved, in units of `scale`, and inf for categories that changed."""
        moves = self._moved(X, X_clean) / self.unit
        moves[self._changed(X, X_clean)] = np.inf
        return moves

    def _changed(self, X: np.ndarray, X_clean: np.ndarray) -> NDArray[np.bool_]:
        differs = (X_clean != X) & ~(np.isnan(X) & np.isnan(X_clean))
        is_change = np.isnan(X) | np.isnan(X_clean)
        is_change[:, self._coded] = True
        return differs & is_change

    @cached_property
    def _coded(self) -> np.ndarray:
        return np.flatnonzero(self.scale == 0)

    def _moved(self, X: np.ndarray, X_clean: np.ndarray) -> np.ndarray:
        moved = np.nan_to_num(X.astype(float) - X_clean, nan=0.0, posinf=np.inf, neginf=-np.inf)
        moved[:, self._coded] = 0
        return moved

    def settle(
        self, X: np.ndarray, base: np.ndarray, eps: float | np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, NDArray[np.bool_]]:
        """Return `X` as rows that obey everything, and which of them do.

        Ball and bounds are enforced once more, in the precision of the data; the rest is verified.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            Points of the balls around `base`.
        base : ndarray of shape (n, n_features)
            The clean rows, some of their categories changed.
        eps : float or ndarray of shape (n,)
        rows : ndarray of int of shape (n,)
            Their numbers in the table.
        """
        low, high = self.box(base)
        X = self._inside(np.clip(X, low, high), base, np.broadcast_to(eps, len(X)))
        # What went back into the ball may be a rounding past a bound at which it stood.
        X = np.clip(X, low, high)
        if self.rules.project is not None:
            X = self._projected(self.rules.project(X.copy(), base.copy()), base)
        same = (np.clip(X, low, high) == X) | (np.isnan(X) & np.isnan(base))
        near = self.distance(X, base) <= eps * (1 + _SLACK)
        good = same.all(axis=1) & ~np.isinf(X).any(axis=1) & near & self.rules.obeyed(X)
        return X, good & self._related(X, rows, good)

    def _projected(self, answer: Any, base: np.ndarray) -> np.ndarray:
        projected = np.asarray(answer, dtype=base.dtype)
        if projected.shape != base.shape:
            rule = f"a callable that returns rows of shape {base.shape}"
            raise parameter_error(self.model, "project", rule, projected.shape, ValueError)
        return projected

    def _related(self, X: np.ndarray, rows: np.ndarray, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell for which of the `good` rows the user's relations hold."""
        if not self.rules.relations or not good.any():
            return good
        holds = np.zeros(len(X), dtype=bool)
        restored = self.table.restore(X[good], rows[good])
        holds[good] = related(self.model, self.rules.relations, restored, int(good.sum()))
        return holds

    def _inside(self, X: np.ndarray, base: np.ndarray, eps: np.ndarray) -> np.ndarray:
        """Return points pulled into their balls, each entry rounded towards that of `base`."""
        moved = X.astype(float) - base
        if self.norm == np.inf:
            reach = eps[:, None] * self.unit[self.free]
            moved[:, self.free] = np.clip(moved[:, self.free], -reach, reach)
            return _move(base, moved)
        X = _move(base, moved)
        over = np.flatnonzero(self.distance(X, base) > eps * (1 + _SLACK))
        # Only where needed: what lies just past the split of a tree would not any more.
        moved = moved[over]
        moved[:, self.free] *= self._share_inside(np.nan_to_num(moved) / self.unit, eps[over])[:, None]
        X[over] = _move(base[over], moved)
        return X

    def _share_inside(self, moved: np.ndarray, eps: np.ndarray) -> np.ndarray:
        """Return the share of the moves of free features that fits into the ball beside all others."""
        others = np.delete(moved, self.free, axis=1)
        spent = np.linalg.norm(others, ord=self.norm, axis=1) ** self.norm
        left = np.clip(eps**self.norm - spent, 0, None) ** (1 / self.norm)
        length = np.linalg.norm(moved[:, self.free], ord=self.norm, axis=1)
        return np.divide(left * (1 - _SLACK), length, out=np.ones(len(moved)), where=length > left)

    def whole_steps(self, eps: float, at_most: int) -> np.ndarray | None:
        """Return all moves within `eps` where numbers are whole, (n_moves, n_features), nearest first.

        None where some number may take any value, or where there would be more than `at_most`.
        """
        if len(self.free) or self.rules.one_hot:
            return None
        moves = np.setdiff1d(self.rules.integer, self.fixed)
        reach = np.floor(eps / (1 / self.unit[moves]) * (1 + _SLACK))
        if not np.isfinite(reach).all() or np.prod(2 * reach + 1) > at_most:
            return None
        grids = np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij")
        steps = np.zeros((grids[0].size if grids else 1, len(self.scale)))
        for j, grid in zip(moves, grids):
            steps[:, j] = grid.ravel()
        length = np.linalg.norm(steps / self.unit, ord=self.norm, axis=1)
        order = np.argsort(length, kind="stable")
        return steps[order[length[order] <= eps * (1 + _SLACK)]]

    def snap(self, x: Tensor, ball: Ball) -> Tensor:
        """Return the nearest rows with whole numbers and groups that are still in the ball."""
        moved = self._rounded(x, ball, torch.round, switch=True)
        for rounding, switch in ((torch.round, False), (torch.trunc, False)):
            outside = ball.distance(moved) > ball.eps * (1 + _NEARLY)
            if not outside.any():
                break
            moved = torch.where(outside[:, None], self._rounded(x, ball, rounding, switch=switch), moved)
        return moved

    def _rounded(self, x: Tensor, ball: Ball, rounding: Callable[..., Any], *, switch: bool) -> Tensor:
        x = x.clone()
        integer = torch.as_tensor(self.rules.integer, device=x.device)
        centre = ball.centre[:, integer]
        x[:, integer] = centre + rounding(x[:, integer] - centre)
        for group in self.rules.one_hot:
            x[:, group.members] = _one_hot((x if switch else ball.centre)[:, group.members], group)
        inside = ball.clip(x)
        # Bounds that are no whole numbers would undo the rounding: go back to the clean value there.
        undone = torch.zeros_like(x, dtype=torch.bool)
        undone[:, integer] = (inside != x)[:, integer]
        return torch.where(undone, ball.centre, inside)


def _one_hot(values: Tensor, group: Group) -> Tensor:
    """Return the nearest one-hot rows, or rows of zeros where these are allowed and nearer."""
    nearest = torch.nn.functional.one_hot(values.argmax(dim=1), len(group.members)).to(values)
    if group.may_be_empty:
        nearest = nearest * (values.amax(dim=1, keepdim=True) > 0.5)
    return nearest


def resolve_threat(
    owner: object, model: ThreatModel | None, table: Table, *, check_rows: bool = True
) -> Threat:
    """Check a `ThreatModel`, or None, and return the `Threat` that it means for `table`."""
    model = ThreatModel() if model is None else model
    if not isinstance(model, ThreatModel):
        raise parameter_error(owner, "threat", "a ThreatModel or None", model)
    norm = resolve_norm(model, model.norm)
    reference = None if model.reference_X is None else table.aligned(model, "reference_X", model.reference_X)
    groups = resolve_groups(model, table, reference)
    members = [int(member) for group in groups for member in group.members]
    values = category_values(model, table, reference)
    values = {j: found for j, found in values.items() if j not in members}
    coded = np.setdiff1d(np.union1d(np.flatnonzero(~table.is_number), list(values)), members).astype(int)
    scale = resolve_scale(model, model.scale, reference, table)
    scale[coded] = 0
    rules = resolve_rules(model, table, reference, coded, groups, check_rows=check_rows)
    choices = resolve_choices(model, table, reference, rules, values)
    for j in np.setdiff1d(np.flatnonzero(~table.is_number), members):
        values.setdefault(int(j), np.arange(len(table.columns[j].values), dtype=float))
    values = {j: np.union1d(found, table.present(j)) for j, found in values.items()}
    spread = np.minimum((table if reference is None else reference).spread, rules.high - rules.low)
    with np.errstate(over="ignore"):
        across = np.divide(spread, scale, out=np.zeros(len(scale)), where=scale > 0)
        reach = np.linalg.norm(across, ord=norm)
        across[rules.fixed] = 0
        room = np.linalg.norm(across, ord=norm)
    if not np.isfinite(reach):
        raise ValueError(
            "Input X is too large: the distance across the data is not finite. Divide the columns by a "
            "constant, or give a larger scale."
        )
    return Threat(model, table, norm, scale, rules, choices, values, float(reach), float(room))


def _move(X: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return ``X + moved`` in the precision of `X`, each entry rounded towards `X`."""
    there = (X + moved).astype(X.dtype)
    too_far = np.abs(there.astype(float) - X) > np.abs(moved)
    return np.where(too_far, np.nextafter(there, X), there)


def _round_up(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Return `values` in a type that may hold fewer digits, none of them smaller than it was."""
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    return np.where(rounded < values, np.nextafter(rounded, dtype.type(np.inf)), rounded)
