"""Where trees split: only just past these values can the answer change, so a black box looks there."""

from collections import UserList
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from torch import Tensor

from ..functional.attacks import Ball

_ENCODERS = (OneHotEncoder, OrdinalEncoder)
_SCALERS = (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)
# How many roundings a scaler and the comparison behind it may add up to.
_ROUNDINGS = 2
# More values than this per feature are thinned out.
_MOST_EDGES = 4096


@dataclass(frozen=True)
class Splits:
    """The values at which trees split each input feature.

    Attributes
    ----------
    points : list of ndarray
        One array of values per feature, rising.
    blur : ndarray of shape (n_features,)
        How far past a value one must be to be past the split in float32 and float64 alike: 0 where the trees
        see the feature as it is, more behind a scaler, which rounds.
    """

    points: list[Any]
    blur: np.ndarray

    @classmethod
    def exact(cls, points: list[np.ndarray]) -> "Splits":
        """Return splits of the features themselves."""
        return cls(points, np.zeros(len(points)))

    @classmethod
    def nowhere(cls, n_features: int) -> "Splits":
        """Return the splits of features at which nothing splits."""
        return cls.exact([np.empty(0)] * n_features)

    def __len__(self) -> int:
        return len(self.points)

    def at(self, features: Any) -> "Splits":
        """Return the splits of some of the features, by a slice or positions."""
        chosen = np.arange(len(self))[features]
        return Splits([self.points[j] for j in chosen], self.blur[chosen])

    def put(self, features: np.ndarray, splits: "Splits") -> None:
        """Add what is known of the features at these positions."""
        for j, values, blur in zip(features, splits.points, splits.blur):
            self.points[j] = np.union1d(self.points[j], values)
            self.blur[j] = max(self.blur[j], blur)


def split_draw(splits: Any, order: np.ndarray, n_features: int) -> Any:
    """Return how the black box should draw values for trees with these `Splits`; None for None.

    What the estimator calls feature k stands in column ``order[k]`` of the rows. The returned function picks,
    for every coordinate, a value just past one of the splits inside the ball, or the clean value where there
    is none.
    """
    if splits is None or len(splits) != len(order):
        return None
    placed = Splits.nowhere(n_features)
    placed.put(order, splits)
    edges = [_edges(points, blur) for points, blur in zip(placed.points, placed.blur)]
    width = max(len(values) for values in edges)
    if width == 0:
        return None
    table = torch.full((n_features, width), torch.inf, dtype=torch.float64)
    for j, values in enumerate(edges):
        table[j, : len(values)] = torch.from_numpy(values)

    def draw(ball: Ball, u: Tensor) -> Tensor:
        low, high = ball.extent()
        first = torch.searchsorted(table, low.T.contiguous())
        n_inside = torch.searchsorted(table, high.T.contiguous(), right=True) - first
        chosen = first + (u.T * n_inside).long().minimum((n_inside - 1).clamp(min=0))
        values = table.gather(1, chosen.clamp(max=width - 1)).T
        return torch.where(n_inside.T > 0, values, ball.centre)

    return draw


def split_points(estimator: BaseEstimator) -> Any:
    """Return the `Splits` of a fitted estimator of trees, or None."""
    if isinstance(estimator, Pipeline):
        return _through_pipeline(estimator)
    if hasattr(estimator, "best_estimator_"):
        return split_points(estimator.best_estimator_)
    if hasattr(estimator, "tree_"):
        tree = estimator.tree_
        inner = tree.children_left != tree.children_right
        return _by_feature(tree.feature[inner], tree.threshold[inner], tree.n_features)
    # Histogram boosting has no public view of its trees; without this one the search still works.
    if hasattr(estimator, "_predictors"):
        nodes = np.concatenate([tree.nodes for stage in estimator._predictors for tree in stage])
        nodes = nodes[nodes["is_leaf"] == 0]
        return _by_feature(nodes["feature_idx"], nodes["num_threshold"], estimator.n_features_in_)
    if hasattr(estimator, "estimators_"):
        return _of_members(estimator)
    return None


def _by_feature(features: np.ndarray, thresholds: np.ndarray, n_features: int) -> Splits:
    return Splits.exact([np.unique(thresholds[features == j]) for j in range(n_features)])


def _of_members(ensemble: BaseEstimator) -> Splits | None:
    members = np.ravel(np.asarray(ensemble.estimators_, dtype=object))
    columns = getattr(ensemble, "estimators_features_", [None] * len(members))
    together = Splits.nowhere(ensemble.n_features_in_)
    for member, chosen in zip(members, columns):
        splits = None if isinstance(member, str) else split_points(member)
        if splits is None:
            return None
        together.put(np.arange(len(together)) if chosen is None else chosen, splits)
    return together


def _through_pipeline(pipeline: BaseEstimator) -> Splits:
    return _before_all(pipeline.steps[:-1], split_points(pipeline.steps[-1][1]))


def _before_all(steps: list[tuple[str, BaseEstimator]], splits: Splits | None) -> Any:
    for _, step in reversed(steps):
        splits = None if splits is None else _before(step, splits)
    return splits


def _before(step: BaseEstimator, splits: Splits) -> Any:
    """Return the splits of what goes into a step, given those of what comes out; None if it mixes them."""
    if step is None or step == "passthrough" or (isinstance(step, FunctionTransformer) and step.func is None):
        return splits
    if isinstance(step, ColumnTransformer):
        return _before_columns(step, splits)
    if isinstance(step, Pipeline):
        return _before_all(step.steps, splits)
    if isinstance(step, _ENCODERS):
        # What is encoded does not move.
        return Splits.nowhere(step.n_features_in_)
    if isinstance(step, SimpleImputer):
        return splits if len(splits) == step.n_features_in_ else None
    return _before_scaler(step, splits) if isinstance(step, _SCALERS) else None


def _before_columns(transformer: BaseEstimator, splits: Splits) -> Splits | None:
    if transformer.transformer_weights:
        return None
    together = Splits.nowhere(transformer.n_features_in_)
    for name, step, columns in transformer.transformers_:
        outputs = transformer.output_indices_[name]
        columns = _positions(transformer, columns)
        if step == "drop" or outputs.start == outputs.stop:
            continue
        before = None if columns is None else _before(step, splits.at(outputs))
        if before is None or len(before) != len(columns):
            return None
        together.put(columns, before)
    return together


def _positions(transformer: BaseEstimator, columns: Any) -> Any:
    """Return where the columns stand that were given to one step; None for a slice of names."""
    names = getattr(transformer, "feature_names_in_", np.arange(transformer.n_features_in_)).tolist()
    if isinstance(columns, slice):
        if any(isinstance(end, str) for end in (columns.start, columns.stop)):
            return None
        return np.arange(len(names))[columns]
    # Before scikit-learn 1.7 the columns of the remainder warn when they are looked at, but not as a list.
    columns = np.atleast_1d(np.asarray(columns.data if isinstance(columns, UserList) else columns))
    if columns.dtype.kind in "OU":
        return np.array([names.index(column) for column in columns.tolist()], dtype=int)
    return np.arange(len(names))[columns] if columns.size else np.empty(0, dtype=int)


def _before_scaler(scaler: BaseEstimator, splits: Splits) -> Splits:
    n_most = max(map(len, splits.points), default=0)
    padded = np.full((n_most + 1, len(splits.points)), np.nan)
    padded[0] = 0
    for j, values in enumerate(splits.points):
        padded[1 : len(values) + 1, j] = values
    zero, *points = scaler.inverse_transform(padded)
    points = [column[~np.isnan(column)] for column in np.reshape(points, (n_most, len(zero))).T]
    # float32 rounds what is subtracted, what comes out of it, and the split.
    sizes = [np.abs(values).max(initial=0) for values in points]
    return Splits(points, splits.blur + _ROUNDINGS * np.finfo(np.float32).eps * (np.abs(zero) + sizes))


def _edges(points: np.ndarray, blur: np.float64) -> np.ndarray:
    """Return the nearest values on both sides of each split, in float32 since most trees compare in it."""
    points = np.unique(np.asarray(points, dtype=float)[np.isfinite(points)])
    if len(points) > _MOST_EDGES // 2:
        points = points[np.linspace(0, len(points) - 1, _MOST_EDGES // 2).astype(int)]
    upper, lower = (points + blur).astype(np.float32), (points - blur).astype(np.float32)
    above = np.where(upper > points + blur, upper, np.nextafter(upper, np.float32(np.inf)))
    below = np.where(lower <= points - blur, lower, np.nextafter(lower, np.float32(-np.inf)))
    return np.unique(np.concatenate([below, above]).astype(float))
