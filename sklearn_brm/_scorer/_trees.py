"""Where trees split: only just past these values can the answer change, so a black box looks there."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

_COLUMNWISE = (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)
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

    points: list
    blur: np.ndarray

    @classmethod
    def exact(cls, points):
        """Return splits of the features themselves."""
        return cls(points, np.zeros(len(points)))


def split_draw(splits, n_features):
    """Return how the black box should draw values for trees with these `Splits`; None for None.

    The returned function picks, for every coordinate, a value just past one of the splits inside the
    ball, or the clean value where there is none.
    """
    if splits is None or len(splits.points) != n_features:
        return None
    edges = [_edges(points, blur) for points, blur in zip(splits.points, splits.blur)]
    width = max(len(values) for values in edges)
    if width == 0:
        return None
    table = torch.full((n_features, width), torch.inf, dtype=torch.float64)
    for j, values in enumerate(edges):
        table[j, : len(values)] = torch.from_numpy(values)

    def draw(ball, u):
        reach = ball.unit_to_raw(ball.eps[:, None].expand_as(u))
        low, high = ball.clip(ball.centre - reach), ball.clip(ball.centre + reach)
        first = torch.searchsorted(table, low.T.contiguous())
        n_inside = torch.searchsorted(table, high.T.contiguous(), right=True) - first
        chosen = first + (u.T * n_inside).long().minimum((n_inside - 1).clamp(min=0))
        values = table.gather(1, chosen.clamp(max=width - 1)).T
        return torch.where(n_inside.T > 0, values, ball.centre)

    return draw


def split_points(estimator):
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


def _by_feature(features, thresholds, n_features):
    return Splits.exact([np.unique(thresholds[features == j]) for j in range(n_features)])


def _of_members(ensemble):
    members = np.ravel(np.asarray(ensemble.estimators_, dtype=object))
    columns = getattr(ensemble, "estimators_features_", [None] * len(members))
    together, blur = [[] for _ in range(ensemble.n_features_in_)], np.zeros(ensemble.n_features_in_)
    for member, chosen in zip(members, columns):
        splits = None if isinstance(member, str) else split_points(member)
        if splits is None:
            return None
        chosen = np.arange(len(blur)) if chosen is None else chosen
        np.maximum.at(blur, chosen, splits.blur)
        for j, values in zip(chosen, splits.points):
            together[j].append(values)
    return Splits([np.unique(np.concatenate(values)) if values else np.empty(0) for values in together], blur)


def _through_pipeline(pipeline):
    splits = split_points(pipeline.steps[-1][1])
    for _, step in reversed(pipeline.steps[:-1]):
        if splits is None or step is None or step == "passthrough":
            continue
        if not isinstance(step, _COLUMNWISE):
            return None
        splits = _before(step, splits)
    return splits


def _before(scaler, splits):
    """Return the splits of what goes into a scaler, given those of what comes out."""
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


def _edges(points, blur):
    """Return the nearest values on both sides of each split, in float32 since most trees compare in it."""
    points = np.unique(np.asarray(points, dtype=float)[np.isfinite(points)])
    if len(points) > _MOST_EDGES // 2:
        points = points[np.linspace(0, len(points) - 1, _MOST_EDGES // 2).astype(int)]
    upper, lower = (points + blur).astype(np.float32), (points - blur).astype(np.float32)
    above = np.where(upper > points + blur, upper, np.nextafter(upper, np.float32(np.inf)))
    below = np.where(lower <= points - blur, lower, np.nextafter(lower, np.float32(-np.inf)))
    return np.unique(np.concatenate([below, above]).astype(float))
