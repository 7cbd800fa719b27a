"""Fitted trees of scikit-learn and sums of them as flat arrays, split at the very value that parts rows."""

import copy
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from ..functional.leaves import TreeEnsemble
from ._registry import NotConvertibleError

__all__ = ["read_trees", "tree_ensemble"]

# What these compute grows with each column, whatever is rounded on the way. No subclasses: they may not.
_COLUMNWISE = (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)
_TREES = (DecisionTreeClassifier, ExtraTreeClassifier)
_FORESTS = (RandomForestClassifier, ExtraTreesClassifier)
_DTYPES: tuple[type[np.floating], ...] = (np.float64, np.float32)
_INTEGERS = {np.float64: np.int64, np.float32: np.int32}
_LOWS, _HIGHS = ("low", "may_low", "sure_low"), ("high", "may_high", "sure_high")
# Sums of few enough multiples of this have no rounding error.
_GRAIN, _MOST_EXACT = 2.0**-20, 2.0**20


def tree_ensemble(estimator: BaseEstimator) -> TreeEnsemble | None:
    """Return a fitted estimator as a `TreeEnsemble`, or None if it isn't one; `read_trees` says why."""
    try:
        return read_trees(estimator)
    except NotConvertibleError:
        return None


def read_trees(estimator: BaseEstimator) -> TreeEnsemble:
    """Return a fitted estimator of trees as flat arrays.

    Parameters
    ----------
    estimator : estimator
        A fitted decision tree, forest, gradient boosting with either kind of trees, `BaggingClassifier` or
        soft `VotingClassifier` of trees and forests, a search over one of them, or a Pipeline with scalers
        before it.

    Returns
    -------
    TreeEnsemble
        Of the columns that go into the estimator. Its scores are `predict_proba`, of gradient boosting the
        `decision_function`, with two classes (0, value).

    Raises
    ------
    NotConvertibleError
        If the estimator, or a step of it, is none of these, with the reason.
    """
    if hasattr(estimator, "best_estimator_"):
        return read_trees(estimator.best_estimator_)
    for kinds, read in _READERS.items():
        if type(estimator) in kinds:
            return read(estimator)
    raise _refusal(estimator, "it is no tree, no forest, no boosted trees, and no average of these")


def _refusal(estimator: BaseEstimator, reason: str) -> NotConvertibleError:
    return NotConvertibleError(f"{type(estimator).__name__} can't be read as a sum of trees: {reason}.")


def _of_tree(estimator: BaseEstimator) -> TreeEnsemble:
    if estimator.n_outputs_ != 1:
        raise _refusal(estimator, f"it has {estimator.n_outputs_} outputs")
    return dataclasses.replace(_nodes_of(estimator.tree_, estimator.tree_.value[:, 0]), exact=True)


def _of_forest(forest: BaseEstimator) -> TreeEnsemble:
    if forest.n_outputs_ != 1:
        raise _refusal(forest, f"it has {forest.n_outputs_} outputs")
    return _average([_of_tree(tree) for tree in forest.estimators_])


def _of_bagging(bagging: BaseEstimator) -> Any:
    members = []
    for member, columns in zip(bagging.estimators_, bagging.estimators_features_):
        trees = _probabilities(bagging, member)
        trees = dataclasses.replace(
            trees, feature=np.asarray(columns)[trees.feature], n_features=bagging.n_features_in_
        )
        members.append(_spread(trees, np.asarray(member.classes_), bagging.n_classes_))
    return _average(members)


def _of_voting(voting: BaseEstimator) -> Any:
    if voting.voting != "soft":
        raise _refusal(voting, "hard votes aren't a sum of what trees say; use voting='soft'")
    weights = np.ones(len(voting.estimators)) if voting.weights is None else voting.weights
    weights = [w for w, (_, member) in zip(weights, voting.estimators) if not isinstance(member, str)]
    members = []
    for weight, member in zip(weights, voting.estimators_):
        trees = _probabilities(voting, member)
        trees = _spread(trees, np.asarray(member.classes_), len(voting.classes_))
        share = weight / (np.sum(weights) * trees.divisor)
        members.append(_scaled(trees, share))
    return _joined(members)


def _of_boosting(boosting: BaseEstimator) -> TreeEnsemble:
    if not (boosting.init is None or isinstance(boosting.init, str)):
        raise _refusal(boosting, f"it starts from a {type(boosting.init).__name__} of its own")
    trees = [
        _in_class(_nodes_of(tree.tree_, boosting.learning_rate * tree.tree_.value[:, :, 0]), k, stage)
        for stage in boosting.estimators_
        for k, tree in enumerate(stage)
    ]
    return dataclasses.replace(
        _with_constant(_joined(trees), boosting), ties_to_last=len(boosting.classes_) == 2
    )


def _of_histogram_boosting(boosting: BaseEstimator) -> TreeEnsemble:
    # Private, and there is no public view of these trees.
    stages = getattr(boosting, "_predictors", None)
    if stages is None or not all(hasattr(tree, "nodes") for stage in stages for tree in stage):
        raise _refusal(boosting, "this version of scikit-learn keeps its trees elsewhere")
    if np.any(getattr(boosting, "is_categorical_", None)):
        raise _refusal(boosting, "it splits categories")
    trees = [
        _in_class(_histogram_nodes(tree.nodes, boosting.n_features_in_), k, stage)
        for stage in stages
        for k, tree in enumerate(stage)
    ]
    return _with_constant(_joined(trees), boosting)


def _of_pipeline(pipeline: BaseEstimator) -> Any:
    scalers = []
    for name, step in pipeline.steps[:-1]:
        if step is None or step == "passthrough":
            continue
        if type(step) not in _COLUMNWISE:
            raise _refusal(
                pipeline, f"its step '{name}', a {type(step).__name__}, does not scale single columns"
            )
        scalers.append(_nameless(step))
    trees = read_trees(pipeline.steps[-1][1])
    return _before(scalers, trees) if scalers else trees


_READERS = {
    _TREES: _of_tree,
    _FORESTS: _of_forest,
    (BaggingClassifier,): _of_bagging,
    (VotingClassifier,): _of_voting,
    (GradientBoostingClassifier,): _of_boosting,
    (HistGradientBoostingClassifier,): _of_histogram_boosting,
    (Pipeline,): _of_pipeline,
}


def _nodes_of(tree: BaseEstimator, values: np.ndarray) -> TreeEnsemble:
    """Return a `sklearn.tree` tree, which rounds rows to float32 and compares them with float64."""
    inner = tree.children_left != tree.children_right
    return _one_tree(
        tree.children_left,
        tree.children_right,
        inner,
        tree.feature,
        _last_rounded_to_most(tree.threshold),
        tree.missing_go_to_left.astype(bool),
        values,
        tree.n_features,
    )


def _histogram_nodes(nodes: np.ndarray, n_features: int) -> TreeEnsemble:
    """Return a tree of histogram boosting, which compares float64."""
    return _one_tree(
        nodes["left"],
        nodes["right"],
        nodes["is_leaf"] == 0,
        nodes["feature_idx"],
        nodes["num_threshold"].astype(float),
        nodes["missing_go_to_left"].astype(bool),
        nodes["value"][:, None].astype(float),
        n_features,
    )


def _one_tree(
    left: np.ndarray,
    right: np.ndarray,
    inner: Any,
    feature: np.ndarray,
    last_left: np.ndarray,
    missing_left: NDArray[np.bool_],
    values: np.ndarray,
    n_features: int,
) -> TreeEnsemble:
    n_nodes, inner = len(left), np.flatnonzero(inner)
    children = {True: left[inner].astype(int), False: right[inner].astype(int)}
    nodes: dict[str, Any] = {
        "parent": np.full(n_nodes, -1),
        "feature": np.zeros(n_nodes, dtype=int),
        "low": np.full(n_nodes, -np.inf),
        "high": np.full(n_nodes, np.inf),
        "takes_missing": np.ones(n_nodes, dtype=bool),
    }
    for is_left, child in children.items():
        nodes["parent"][child] = inner
        nodes["feature"][child] = feature[inner]
        nodes["takes_missing"][child] = missing_left[inner] == is_left
    nodes["high"][children[True]] = last_left[inner]
    nodes["low"][children[False]] = np.nextafter(last_left[inner], np.inf)
    leaf = np.setdiff1d(np.arange(n_nodes), inner)
    return TreeEnsemble(
        **nodes,
        may_low=nodes["low"],
        may_high=nodes["high"],
        sure_low=nodes["low"],
        sure_high=nodes["high"],
        leaf=leaf,
        tree=np.zeros(len(leaf), dtype=int),
        values=np.ascontiguousarray(values[leaf], dtype=float),
        constant=np.zeros(values.shape[1]),
        n_features=n_features,
    )


def _last_rounded_to_most(threshold: np.ndarray) -> np.ndarray:
    """Return the last float64 that float32 rounds to at most a threshold; halves are rounded to even."""
    with np.errstate(over="ignore"):
        most = threshold.astype(np.float32)
        most = np.where(most > threshold, np.nextafter(most, np.float32(-np.inf)), most)
        above = np.nextafter(most, np.float32(np.inf))
    bounded = np.isfinite(most) & np.isfinite(above)
    half = most.astype(float) + np.where(bounded, above.astype(float) - np.where(bounded, most, 0), 0) / 2
    last = np.where(most.view(np.int32) % 2 == 0, half, np.nextafter(half, -np.inf))
    return np.where(bounded, last, np.where(most > 0, np.inf, -np.inf))


def _probabilities(owner: object, member: Any) -> Any:
    """Return the trees of a member that is asked for probabilities."""
    trees = read_trees(member)
    inner = member
    while not isinstance(inner, (*_TREES, *_FORESTS, BaggingClassifier, VotingClassifier)):
        if isinstance(inner, (GradientBoostingClassifier, HistGradientBoostingClassifier)):
            raise _refusal(owner, f"probabilities of its {type(inner).__name__} aren't a sum over trees")
        inner = inner.best_estimator_ if hasattr(inner, "best_estimator_") else inner.steps[-1][1]
    return trees


def _spread(trees: TreeEnsemble, classes: Any, n_classes: int) -> TreeEnsemble:
    """Return trees that know only the classes of these numbers, with a column for every class."""
    wide = {name: getattr(trees, name) for name in ("values", "constant")}
    for name, values in wide.items():
        wide[name] = np.zeros((*values.shape[:-1], n_classes))
        wide[name][..., classes] = values
    return dataclasses.replace(trees, **wide)


def _in_class(trees: TreeEnsemble, k: int, stage: list[BaseEstimator] | np.ndarray) -> TreeEnsemble:
    """Return a tree that adds to the score of one class; of two classes to that of the second."""
    n_classes = max(2, len(stage))
    return _spread(trees, [k if len(stage) > 1 else 1], n_classes)


def _scaled(trees: Any, factor: Any) -> Any:
    values, constant = factor * trees.values, factor * trees.constant
    return dataclasses.replace(trees, values=values, constant=constant, divisor=1.0, exact=False)


def _average(members: list[TreeEnsemble]) -> TreeEnsemble:
    """Return the average of trees; exact where the sums have no rounding error."""
    divisors = {trees.divisor for trees in members}
    if len(divisors) > 1 or not all(trees.exact for trees in members):
        return _joined([_scaled(trees, 1 / (trees.divisor * len(members))) for trees in members])
    joined = _joined(members)
    grains = joined.values / _GRAIN
    exact = np.all(grains == np.round(grains)) and len(members) * divisors.pop() < _MOST_EXACT
    exact = bool(exact and all(trees.divisor == 1 for trees in members))
    return dataclasses.replace(joined, divisor=len(members) * members[0].divisor, exact=exact)


def _joined(members: list[TreeEnsemble]) -> TreeEnsemble:
    """Return the sum of trees over the same columns and classes."""
    n_nodes = np.cumsum([0, *(len(trees.parent) for trees in members)])
    n_trees = np.cumsum([0, *(len(trees.starts) for trees in members)])
    parents = [np.where(trees.parent < 0, -1, trees.parent + shift) for trees, shift in zip(members, n_nodes)]
    alike = ("feature", *_LOWS, *_HIGHS, "takes_missing", "values")
    put_together: dict[str, Any] = {
        name: np.concatenate([getattr(trees, name) for trees in members]) for name in alike
    }
    return TreeEnsemble(
        **put_together,
        parent=np.concatenate(parents),
        leaf=np.concatenate([trees.leaf + shift for trees, shift in zip(members, n_nodes)]),
        tree=np.concatenate([trees.tree + shift for trees, shift in zip(members, n_trees)]),
        constant=np.sum([trees.constant for trees in members], axis=0),
        n_features=members[0].n_features,
    )


def _with_constant(trees: TreeEnsemble, boosting: BaseEstimator) -> TreeEnsemble:
    """Return boosted trees with the score that they start from, seen on a row of zeros."""
    zeros = np.zeros((1, trees.n_features))
    scores = np.atleast_2d(_nameless(boosting).decision_function(zeros))
    scores = np.hstack([np.zeros((1, 1)), scores]) if scores.shape[1] == 1 else scores
    return dataclasses.replace(trees, constant=(scores - trees.scores(zeros))[0])


def _nameless(estimator: BaseEstimator) -> BaseEstimator:
    """Return an estimator that takes and returns arrays without a word about names of columns."""
    bare = copy.copy(estimator)
    vars(bare).pop("feature_names_in_", None)
    vars(bare).pop("_sklearn_output_config", None)
    return bare


def _before(scalers: list[BaseEstimator], trees: TreeEnsemble) -> TreeEnsemble:
    """Return trees of what goes into scalers, given those of what comes out.

    What scalers compute grows with the value, also in floating point, so that bisection over all float64 and
    all float32 numbers finds where each split stands. The two differ by rounding: values in between may go
    either way, and values outside are sure.
    """
    # What enters on the right is what comes after the last that enters on the left.
    goals = [np.nextafter(getattr(trees, name), -np.inf) for name in _LOWS]
    goals += [getattr(trees, name) for name in _HIGHS]
    last = _last_carried_to(scalers, np.tile(trees.feature, len(goals)), np.concatenate(goals))
    *lows, high, may_high, sure_high = np.split(last, len(goals), axis=1)
    low, may_low, sure_low = (_after(values) for values in lows)
    return dataclasses.replace(
        trees,
        low=low[0],
        high=high[0],
        may_low=may_low.min(axis=0),
        may_high=may_high.max(axis=0),
        sure_low=sure_low.max(axis=0),
        sure_high=sure_high.min(axis=0),
    )


def _after(values: Any) -> np.ndarray:
    """Return the next numbers, in the first row among float64, in the second among float32; -inf stays."""
    with np.errstate(over="ignore"):
        next_ones = [np.nextafter(row.astype(dtype), dtype(np.inf)) for row, dtype in zip(values, _DTYPES)]
    return np.where(np.isneginf(values), values, np.stack(next_ones).astype(float))


def _last_carried_to(scalers: list[BaseEstimator], features: Any, goals: np.ndarray) -> np.ndarray:
    """Return the last numbers that scalers carry to at most each goal, among float64 and among float32.

    Parameters
    ----------
    scalers : list of transformer
    features : ndarray of int of shape (m,)
        Column of each goal.
    goals : ndarray of shape (m,)
        Infinite ones stay.

    Returns
    -------
    last : ndarray of shape (2, m)
        -inf where there is none.
    """
    out = np.tile(goals, (2, 1))
    finite = np.isfinite(goals)
    pairs, back = np.unique(np.stack([features[finite], goals[finite]]), axis=1, return_inverse=True)
    if pairs.size:
        for i, dtype in enumerate(_DTYPES):
            out[i, finite] = _bisect(scalers, pairs[0].astype(int), pairs[1], dtype)[back.ravel()]
    return out


def _bisect(scalers: list[BaseEstimator], columns: np.ndarray, goals: np.ndarray, dtype: Any) -> np.ndarray:
    """Return the last number of a type that scalers carry to at most each goal; columns rise."""
    most = int(np.finfo(dtype).max.view(_INTEGERS[dtype]))
    below, above = np.full(len(goals), -most - 1), np.full(len(goals), most + 1)
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    places = np.arange(len(columns)) - np.repeat(starts, np.diff([*starts, len(columns)]))
    while (is_open := above - 1 > below).any():
        middle = np.where(is_open, (below >> 1) + (above >> 1) + (below & above & 1), 0)
        scaled = np.zeros((places.max() + 1, scalers[0].n_features_in_), dtype=dtype)
        scaled[places, columns] = _number(middle, dtype)
        with np.errstate(over="ignore"):
            for scaler in scalers:
                scaled = np.asarray(scaler.transform(scaled))
        is_below = scaled[places, columns].astype(float) <= goals
        below = np.where(is_open & is_below, middle, below)
        above = np.where(is_open & ~is_below, middle, above)
    return np.where(below < -most, -np.inf, _number(np.maximum(below, -most), dtype).astype(float))


def _number(order: np.ndarray, dtype: Any) -> np.ndarray:
    """Return the floating point numbers of these places on the line, counted from 0."""
    return np.copysign(np.abs(order).astype(_INTEGERS[dtype]).view(dtype), order).astype(dtype)
