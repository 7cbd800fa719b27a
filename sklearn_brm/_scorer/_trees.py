"""Where trees split: only just past these values can the answer change, so a black box looks there."""

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

_COLUMNWISE = (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)
# More values than this per feature are thinned out.
_MOST_EDGES = 4096


def split_draw(estimator, n_features):
    """Return how the black box should draw values for an estimator made of trees; None for any other.

    The returned function picks, for every coordinate, a value just past one of the splits inside the
    ball, or the clean value where there is none.
    """
    points = split_points(estimator)
    if points is None or len(points) != n_features:
        return None
    edges = [_edges(np.asarray(values, dtype=float)) for values in points]
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
    """Return the split values of each input feature of a fitted estimator of trees, or None."""
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
    return [np.unique(thresholds[features == j]) for j in range(n_features)]


def _of_members(ensemble):
    members = np.ravel(np.asarray(ensemble.estimators_, dtype=object))
    columns = getattr(ensemble, "estimators_features_", [None] * len(members))
    together = [[] for _ in range(ensemble.n_features_in_)]
    for member, chosen in zip(members, columns):
        points = None if isinstance(member, str) else split_points(member)
        if points is None:
            return None
        for j, values in zip(range(len(points)) if chosen is None else chosen, points):
            together[j].append(values)
    return [np.unique(np.concatenate(values)) if values else np.empty(0) for values in together]


def _through_pipeline(pipeline):
    points = split_points(pipeline.steps[-1][1])
    for _, step in reversed(pipeline.steps[:-1]):
        if points is None or step is None or step == "passthrough":
            continue
        if not isinstance(step, _COLUMNWISE):
            return None
        padded = np.full((max(map(len, points)), len(points)), np.nan)
        for j, values in enumerate(points):
            padded[: len(values), j] = values
        points = [column[~np.isnan(column)] for column in step.inverse_transform(padded).T]
    return points


def _edges(points):
    """Return the nearest values on both sides of each split, in float32 since most trees compare in it."""
    points = np.unique(points[np.isfinite(points)])
    if len(points) > _MOST_EDGES // 2:
        points = points[np.linspace(0, len(points) - 1, _MOST_EDGES // 2).astype(int)]
    nearest = points.astype(np.float32)
    above = np.where(nearest > points, nearest, np.nextafter(nearest, np.float32(np.inf)))
    below = np.where(nearest <= points, nearest, np.nextafter(nearest, np.float32(-np.inf)))
    return np.unique(np.concatenate([below, above]).astype(float))
