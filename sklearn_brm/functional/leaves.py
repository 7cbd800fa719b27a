"""What sums of trees can answer in a region: worst leaves, exact search, distances to leaves."""

import heapq
import itertools
import math
import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

__all__ = [
    "Region",
    "TreeEnsemble",
    "Verdicts",
    "breaking_point",
    "leaf_bounds",
    "nearest_wrong_leaf",
    "search",
]

# Entries of the largest temporary matrix.
_CHUNK = 1 << 22
# With more reachable leaves than this a row is left with the sum of its worst leaves: each step of the search
# looks at all pairs.
_MOST_LEAVES = 3000
# Looking at all pairs of leaves is repeated until at least this share of the leaves stays.
_FEW_DROPPED = 0.9
# Below every difference of two sums that are computed without rounding, so that only ties lie within it.
_TIE = float(np.finfo(float).smallest_subnormal)
# Distances are compared with this relative room for their own rounding, per column.
_ROUNDOFF = 4 * float(np.finfo(float).eps)
_MOST32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class TreeEnsemble:
    """A sum of decision trees whose largest score is the predicted class, as flat arrays.

    Every node but the roots is entered from its parent by the values of one feature between two bounds. The
    bounds are doubles and closed, so that nothing is rounded where they are compared.

    Parameters
    ----------
    parent : ndarray of int of shape (n_nodes,)
        Number of each node's parent; -1 for roots.
    feature : ndarray of int of shape (n_nodes,)
        By which feature the node is entered.
    low, high : ndarray of shape (n_nodes,)
        Least and greatest value of float64 rows that enters the node from its parent.
    may_low, may_high : ndarray of shape (n_nodes,)
        The same of float64 or float32 rows. The two part only behind a scaler, which rounds them differently.
    sure_low, sure_high : ndarray of shape (n_nodes,)
        The same of float64 and float32 rows alike.
    takes_missing : ndarray of bool of shape (n_nodes,)
        Whether a missing value enters it.
    leaf : ndarray of int of shape (n_leaves,)
        The nodes that are leaves, tree by tree.
    tree : ndarray of int of shape (n_leaves,)
        The tree of each leaf, counted from 0, rising.
    values : ndarray of shape (n_leaves, n_classes)
        What each leaf adds to the score of each class.
    constant : ndarray of shape (n_classes,)
        What is added to all of them.
    divisor : float
        What sums are divided by in the end, where the trees are averaged.
    exact : bool
        Whether the sums have no rounding error, so that ties are known.
    ties_to_last : bool
        Whether the last of several classes with the largest score is predicted, not the first.
    n_features : int
    """

    parent: np.ndarray
    feature: np.ndarray
    low: np.ndarray
    high: np.ndarray
    may_low: np.ndarray
    may_high: np.ndarray
    sure_low: np.ndarray
    sure_high: np.ndarray
    takes_missing: np.ndarray
    leaf: np.ndarray
    tree: np.ndarray
    values: np.ndarray
    constant: np.ndarray
    n_features: int
    divisor: float = 1.0
    exact: bool = False
    ties_to_last: bool = False

    @cached_property
    def starts(self) -> np.ndarray:
        """Number of the first leaf of each tree."""
        return _starts(self.tree)

    @cached_property
    def slack(self) -> float:
        """How far the sum of one score, before the division, can be off: Higham (2002), section 4.2."""
        if self.exact:
            return 0.0
        sizes = np.maximum.reduceat(np.abs(self.values).max(axis=1), self.starts)
        total = sizes.sum() + np.abs(self.constant).max()
        return 8 * (len(sizes) + 4) * float(np.finfo(float).eps) * total

    @cached_property
    def _levels(self) -> list[np.ndarray]:
        """Nodes by depth, without the roots."""
        depth = np.zeros(len(self.parent), dtype=int)
        above = self.parent
        while (inner := above >= 0).any():
            depth += inner
            above = np.where(inner, self.parent[above], -1)
        return [np.flatnonzero(depth == level) for level in range(1, depth.max(initial=0) + 1)]

    def reached(self, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """Return which leaves some point of each box may reach, as float64 or as float32.

        Parameters
        ----------
        lower, upper : ndarray of shape (n, n_features)
            The boxes; NaN in both where a value is missing.

        Returns
        -------
        reached : ndarray of bool of shape (n, n_leaves)
        """
        return self._reached(lower, upper, self.may_low, self.may_high)

    def _reached(self, lower: np.ndarray, upper: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        out = np.empty((len(lower), len(self.leaf)), dtype=bool)
        missing = np.isnan(lower).any()
        for rows in _chunks(len(lower), len(self.parent)):
            below, above = lower[rows][:, self.feature], upper[rows][:, self.feature]
            enters = (below <= high) & (above >= low)
            if missing:
                enters |= np.isnan(below) & self.takes_missing
            enters[:, self.parent < 0] = True
            for nodes in self._levels:
                enters[:, nodes] &= enters[:, self.parent[nodes]]
            out[rows] = enters[:, self.leaf]
        return out

    def boxes(self, leaves: np.ndarray, *, sure: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and greatest values of each feature that reach the leaves of these numbers.

        Parameters
        ----------
        leaves : ndarray of int of shape (m,)
        sure : bool
            Only values that reach them as float64 and as float32.

        Returns
        -------
        lower, upper : ndarray of shape (m, n_features)
        """
        if len(self.leaf) * self.n_features > _CHUNK:
            return self._boxes(leaves, sure)
        lower, upper = self._all_boxes[sure]
        return lower[leaves], upper[leaves]

    @cached_property
    def _all_boxes(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [self._boxes(np.arange(len(self.leaf)), sure) for sure in (False, True)]

    def _boxes(self, leaves: np.ndarray, sure: bool) -> tuple[np.ndarray, np.ndarray]:
        low, high = (self.sure_low, self.sure_high) if sure else (self.may_low, self.may_high)
        lower = np.full((len(leaves), self.n_features), -np.inf)
        upper = np.full((len(leaves), self.n_features), np.inf)
        rows, nodes = np.arange(len(leaves)), self.leaf[leaves]
        while True:
            inner = self.parent[nodes] >= 0
            rows, nodes = rows[inner], nodes[inner]
            if not len(rows):
                return lower, upper
            columns = self.feature[nodes]
            lower[rows, columns] = np.maximum(lower[rows, columns], low[nodes])
            upper[rows, columns] = np.minimum(upper[rows, columns], high[nodes])
            nodes = self.parent[nodes]

    def of_columns(self, columns: np.ndarray) -> "TreeEnsemble":
        """Return the same trees of some columns, rising, among which are all that they look at."""
        return replace(self, feature=np.searchsorted(columns, self.feature), n_features=len(columns))

    def as_float64(self) -> "TreeEnsemble":
        """Return the same trees for what is promised of float64 rows alone.

        Behind a scaler this leaves fewer rows open: what may happen in either precision mixes both.
        """
        low, high = self.low, self.high
        return replace(self, may_low=low, may_high=high, sure_low=low, sure_high=high)

    def scores(self, X: np.ndarray) -> np.ndarray:
        """Return the scores of float64 rows, of shape (n, n_classes)."""
        X = np.asarray(X, dtype=float)
        reached, total = self._reached(X, X, self.low, self.high), np.tile(self.constant, (len(X), 1))
        for first, behind in itertools.pairwise([*self.starts, len(self.leaf)]):
            total += self.values[first + reached[:, first:behind].argmax(axis=1)]
        return total / self.divisor

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the number of the class of the largest score of each row."""
        return self._largest(self.scores(X))

    def _largest(self, scores: np.ndarray) -> np.ndarray:
        if self.ties_to_last:
            return scores.shape[1] - 1 - scores[:, ::-1].argmax(axis=1)
        return scores.argmax(axis=1)

    def _edges(self, y: int, j: int) -> tuple[float, float]:
        """Return above and below which difference of two undivided scores class y surely wins and loses."""
        if not self.exact:
            return self.slack, -self.slack
        edge = -_TIE if (y > j) == self.ties_to_last else _TIE
        return edge, edge


@dataclass(frozen=True)
class Region:
    """Where the attacker may go: a box around each row, and inside it a ball where the norm is not inf.

    Parameters
    ----------
    lower, upper : ndarray of shape (n, d)
        The box: the smallest one around the ball, cut by all other bounds. A feature that can't move has both
        at its value, a missing one has NaN in both.
    centre : ndarray of shape (n, d) or None
        The rows. Needed where `norm` is not inf.
    eps : ndarray of shape (n,) or float or None
        Radii, in units of `scale`. Needed where `norm` is not inf.
    norm : float
        inf, 2 or 1.
    scale : ndarray of shape (d,) or None
        What one unit is in each feature; 0 where it can't move. None means 1 everywhere.
    whole : ndarray of bool of shape (d,) or None
        Features that take whole numbers only. None means none.
    """

    lower: np.ndarray
    upper: np.ndarray
    centre: np.ndarray | None = None
    eps: np.ndarray | float | None = None
    norm: float = math.inf
    scale: np.ndarray | None = None
    whole: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not math.isinf(self.norm) and (self.centre is None or self.eps is None):
            raise ValueError(f"norm={self.norm} needs 'centre' and 'eps': a box says nothing about the ball.")

    def of_columns(self, columns: np.ndarray) -> "Region":
        """Return the region in some columns."""
        centre = None if self.centre is None else self.centre[:, columns]
        scale = None if self.scale is None else np.asarray(self.scale)[columns]
        whole = None if self.whole is None else np.asarray(self.whole)[columns]
        lower, upper = self.lower[:, columns], self.upper[:, columns]
        return replace(self, lower=lower, upper=upper, centre=centre, scale=scale, whole=whole)

    def radius(self, row: int) -> float:
        """Return eps of one row with room for the rounding of distances; inf where the region is a box."""
        if math.isinf(self.norm):
            return math.inf
        eps = np.broadcast_to(np.asarray(self.eps, dtype=float), len(self.lower))[row]
        return float(eps) * (1 + _ROUNDOFF * (4 + self.lower.shape[1]))

    def cut(self, row: int, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what boxes have in common with the box of one row; missing features are 0."""
        missing = np.isnan(self.lower[row])
        lower, upper = np.maximum(lower, self.lower[row]), np.minimum(upper, self.upper[row])
        if self.whole is not None:
            lower, upper = (
                np.where(self.whole, np.ceil(lower), lower),
                np.where(self.whole, np.floor(upper), upper),
            )
        return np.where(missing, 0.0, lower), np.where(missing, 0.0, upper)

    def gaps(self, row: int, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """Return how far boxes in the box of one row are from the row in each feature, in units of scale."""
        centre = np.nan_to_num(np.asarray(self.centre)[row])
        return np.maximum(np.maximum(lower - centre, centre - upper), 0) * _units(self.scale)

    def distances(self, row: int, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """Return how far boxes inside the box of one row are from the row."""
        return np.linalg.norm(self.gaps(row, lower, upper), self.norm, axis=-1)


@dataclass(frozen=True)
class Verdicts:
    """What is proven of each row.

    Attributes
    ----------
    margin_lower : ndarray of shape (n,)
        Proven least difference of the score of the row's class to the largest other one, in the region.
    certified : ndarray of bool of shape (n,)
        No point of the region is classified wrongly.
    broken : ndarray of bool of shape (n,)
        Some point of it is. What is neither certified nor broken was left open by the time limit, has too
        many leaves, or lies within rounding of a tie or of a split.
    lower, upper : ndarray of shape (n, d)
        Where a row is broken, a box that meets the region and whose points inside the region are classified
        wrongly. NaN elsewhere, and where a value is missing.
    """

    margin_lower: np.ndarray
    certified: np.ndarray
    broken: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @property
    def complete(self) -> np.ndarray:
        """Rows of which the exact answer is known."""
        return self.certified | self.broken


def leaf_bounds(ensemble: TreeEnsemble, region: Region, y: np.ndarray) -> np.ndarray:
    """Return lower bounds of the score of each row's class minus each other class': sums of the worst leaves.

    Parameters
    ----------
    ensemble : TreeEnsemble
    region : Region
        Of n rows. Of a ball it is only used that leaves outside of it are not reachable.
    y : ndarray of int of shape (n,)
        Number of each row's class.

    Returns
    -------
    bounds : ndarray of shape (n, n_classes)
        inf in the column of the row's own class.

    References
    ----------
    M. Andriushchenko and M. Hein, Provably robust boosted decision stumps and trees against adversarial
    attacks, NeurIPS 2019.
    """
    return _sums_of_worst_leaves(ensemble, _reachable(ensemble, region), np.asarray(y)) / ensemble.divisor


def search(
    ensemble: TreeEnsemble,
    region: Region,
    y: np.ndarray,
    *,
    time_limit: float = 1.0,
    most_states: float = math.inf,
) -> Verdicts:
    """Return the exact answer per row: whether any combination of leaves that meet in the region is wrong.

    Boxes that overlap pairwise overlap all together, so that a wrong answer is a clique with one leaf of each
    tree. The search goes best first; a state is the set of leaves that are still possible. Each leaf is tried
    in turn: the sum of the worst leaves compatible with it is a bound for all combinations that hold it, and
    leaves whose bound is above 0 are dropped. In balls of other norms than inf boxes must also meet inside
    the ball.

    Parameters
    ----------
    ensemble : TreeEnsemble
    region : Region
    y : ndarray of int of shape (n,)
        Number of each row's class.
    time_limit : float
        Seconds per row. Where it ends the bound reached so far is given. 0 gives the sums of worst leaves
        alone. Nothing else is random or depends on the machine.
    most_states : int or inf
        Sets of leaves that are looked at per row, another limit, which is the same on every machine.

    Returns
    -------
    Verdicts

    References
    ----------
    H. Chen, H. Zhang, S. Si, Y. Li, D. Boning and C.-J. Hsieh, Robustness verification of tree-based models,
    NeurIPS 2019. L. Devos, W. Meert and J. Davis, Versatile verification of tree ensembles, ICML 2021.
    """
    y, columns = np.asarray(y), np.unique(ensemble.feature)
    lower, upper = region.lower.astype(float), region.upper.astype(float)
    ensemble, region = ensemble.of_columns(columns), region.of_columns(columns)
    reachable = _reachable(ensemble, region)
    bounds = _sums_of_worst_leaves(ensemble, reachable, y)
    certified, boxes = np.zeros(len(y), dtype=bool), {}
    for i, label in enumerate(y):
        above = {j: ensemble._edges(label, j)[0] for j in range(bounds.shape[1]) if j != label}
        rivals = [j for j in np.argsort(bounds[i]) if j != label and bounds[i, j] <= above[j]]
        if rivals and time_limit > 0:
            budget = _Budget(time_limit, most_states)
            leaves = np.flatnonzero(reachable[i])
            box = _search_row(ensemble, region, i, leaves, label, rivals, bounds[i], budget)
            if box is not None:
                boxes[i] = box
        certified[i] = i not in boxes and all(bounds[i, j] > edge for j, edge in above.items())
    broken = np.isin(np.arange(len(y)), list(boxes))
    lower[~broken], upper[~broken] = np.nan, np.nan
    for i, box in boxes.items():
        lower[i, columns], upper[i, columns] = box
    return Verdicts(bounds.min(axis=1) / ensemble.divisor, certified, broken, lower, upper)


def breaking_point(verdicts: Verdicts, centre: np.ndarray, blur: np.ndarray | float = 0.0) -> np.ndarray:
    """Return a point of each row's wrong box next to the row; NaN where a row isn't broken.

    Parameters
    ----------
    verdicts : Verdicts
        Of `search`.
    centre : ndarray of shape (n, d)
        The rows.
    blur : ndarray of shape (d,) or float
        How much farther features that had to move shall go, where the box has room, as behind a scaler that
        rounds.

    Returns
    -------
    points : ndarray of shape (n, d)
        Features that had to move stand at values that float32 holds too, where the box has one, so that
        rounding does not carry them back.
    """
    points = np.clip(centre, verdicts.lower, verdicts.upper)
    points = np.clip(points + blur * np.sign(points - centre), verdicts.lower, verdicts.upper)
    rounded = np.clip(points, -_MOST32, _MOST32).astype(np.float32)
    up = np.nextafter(rounded, np.float32(np.inf)).astype(float)
    down = np.nextafter(rounded, np.float32(-np.inf)).astype(float)
    rounded = rounded.astype(float)
    inward = np.where(
        points > centre, np.where(rounded >= points, rounded, up), np.where(rounded <= points, rounded, down)
    )
    fits = (points != centre) & (inward >= verdicts.lower) & (inward <= verdicts.upper)
    return np.where(fits, inward, points)


def nearest_wrong_leaf(
    ensemble: TreeEnsemble,
    X: np.ndarray,
    y: np.ndarray,
    *,
    norm: float = math.inf,
    scale: np.ndarray | None = None,
    lower: np.ndarray | float = -math.inf,
    upper: np.ndarray | float = math.inf,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact distance of each row to the nearest leaf of another class, of one tree.

    Parameters
    ----------
    ensemble : TreeEnsemble
        Of one tree.
    X : ndarray of shape (n, d)
        Rows; missing values are NaN and stay.
    y : ndarray of int of shape (n,)
        Number of each row's class.
    norm : float
        inf, 2 or 1.
    scale : ndarray of shape (d,) or None
        What one unit is in each feature; 0 where it can't move.
    lower, upper : ndarray of shape (d,) or (n, d), or float
        Bounds of the features.

    Returns
    -------
    radii : ndarray of shape (n,)
        Rounded down; 0 where a row is wrong already, inf where no leaf of another class can be reached.
    points : ndarray of shape (n, d)
        The nearest point of that leaf; NaN where there is none.

    Raises
    ------
    ValueError
        If there is more than one tree.
    """
    if len(ensemble.starts) != 1:
        raise ValueError(f"Distances to leaves need one tree. Got {len(ensemble.starts)} instead.")
    X, y = np.asarray(X, dtype=float), np.asarray(y)
    fixed = np.isnan(X) if scale is None else np.isnan(X) | (np.asarray(scale) == 0)
    region = Region(np.where(fixed, X, lower), np.where(fixed, X, upper), X, math.inf, norm, scale)
    answers = ensemble._largest(ensemble.values + ensemble.constant)
    radii, points = np.full(len(X), np.inf), np.full(X.shape, np.nan)
    for i, reached in enumerate(ensemble.reached(region.lower, region.upper)):
        leaves = np.flatnonzero(reached & (answers != y[i]))
        low, high = region.cut(i, *ensemble.boxes(leaves))
        low, high = (box[(low <= high).all(axis=1)] for box in (low, high))
        if len(low):
            distances = region.distances(i, low, high)
            best = distances.argmin()
            radii[i] = distances[best] / (1 + _ROUNDOFF * (4 + X.shape[1]))
            points[i] = np.where(np.isnan(X[i]), np.nan, np.clip(X[i], low[best], high[best]))
    return radii, points


def _starts(groups: np.ndarray) -> np.ndarray:
    """Return where each of several rising numbers begins."""
    begins = np.ones(len(groups), dtype=bool)
    np.not_equal(groups[1:], groups[:-1], out=begins[1:])
    return np.flatnonzero(begins)


def _sizes(starts: np.ndarray, n: int) -> np.ndarray:
    """Return how long groups with these beginnings are among n."""
    return np.append(starts[1:], n)[: len(starts)] - starts


def _chunks(n_rows: int, width: int) -> list[slice]:
    size = max(1, _CHUNK // max(1, width))
    return [slice(start, start + size) for start in range(0, n_rows, size)]


def _units(scale: np.ndarray | None) -> np.ndarray | float:
    """Return by what a way in each feature is multiplied; 0 where there is none to go."""
    if scale is None:
        return 1.0
    scale = np.asarray(scale, dtype=float)
    return np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)


def _reachable(ensemble: TreeEnsemble, region: Region) -> np.ndarray:
    """Return the leaves that the region of each row may reach, of shape (n, n_leaves)."""
    reached = ensemble.reached(region.lower, region.upper)
    is_box = math.isinf(region.norm)
    if is_box and region.whole is None:
        return reached
    for i in range(len(reached)):
        leaves = np.flatnonzero(reached[i])
        low, high = region.cut(i, *ensemble.boxes(leaves))
        is_inside = (low <= high).all(axis=1)
        reached[i, leaves] = is_inside & (is_box or region.distances(i, low, high) <= region.radius(i))
    return reached


def _sums_of_worst_leaves(ensemble: TreeEnsemble, reachable: np.ndarray, y: np.ndarray) -> np.ndarray:
    n_classes = ensemble.values.shape[1]
    out = np.full((len(y), n_classes), np.inf)
    for label, j in itertools.permutations(range(n_classes), 2):
        rows = np.flatnonzero(y == label)
        gains, constant = _gains(ensemble, label, j)
        for part in _chunks(len(rows), len(gains)):
            worst = np.where(reachable[rows[part]], gains, np.inf)
            out[rows[part], j] = constant + np.minimum.reduceat(worst, ensemble.starts, axis=1).sum(axis=1)
    return out


def _gains(ensemble: TreeEnsemble, label: int, j: int) -> tuple[np.ndarray, float]:
    """Return what each leaf adds to the difference of the scores of two classes, and the constant."""
    gains = ensemble.values[:, label] - ensemble.values[:, j]
    return gains, ensemble.constant[label] - ensemble.constant[j]


def _search_row(
    ensemble: TreeEnsemble,
    region: Region,
    row: int,
    leaves: np.ndarray,
    label: int,
    rivals: list[int],
    bounds: np.ndarray,
    budget: "_Budget",
) -> tuple[np.ndarray, np.ndarray] | None:
    """Raise the bounds of one row in place; return a wrong box if there is one, else None."""
    problems = {}
    for j in rivals:
        gains, constant = _gains(ensemble, label, j)
        chosen, rest = _telling_leaves(ensemble, leaves, gains)
        if chosen.tobytes() not in problems:
            problems[chosen.tobytes()] = _Cliques.of_row(ensemble, region, row, chosen)
        cliques, edges = problems[chosen.tobytes()], ensemble._edges(label, j)
        if cliques is None:
            continue
        if not cliques.n_trees:
            bound, wrong = constant + rest, chosen if constant + rest < edges[1] else None
        else:
            bound, wrong = cliques.least_sum(gains[cliques.leaves], constant + rest, edges, budget)
        bounds[j] = max(bounds[j], bound)
        box = None if wrong is None else _sure_box(ensemble, region, row, cliques.leaves[wrong])
        if box is not None:
            return box
    return None


def _telling_leaves(
    ensemble: TreeEnsemble, leaves: np.ndarray, gains: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the leaves of trees whose reachable leaves gain different amounts, and the gains of other trees.

    Every point of the region reaches a leaf of each tree, so that trees whose leaves all gain the same forbid
    nothing.
    """
    tree, gains = ensemble.tree[leaves], gains[leaves]
    starts = _starts(tree)
    least = np.minimum.reduceat(gains, starts)
    tells = least < np.maximum.reduceat(gains, starts)
    return leaves[np.repeat(tells, _sizes(starts, len(leaves)))], least[~tells].sum()


def _sure_box(
    ensemble: TreeEnsemble, region: Region, row: int, leaves: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what the leaves have in common in every precision inside the region, or None."""
    low, high = ensemble.boxes(leaves, sure=True)
    low, high = region.cut(row, low.max(axis=0, initial=-np.inf), high.min(axis=0, initial=np.inf))
    if (low > high).any():
        return None
    if not math.isinf(region.norm) and region.distances(row, low, high) > region.radius(row):
        return None
    missing = np.isnan(region.lower[row])
    return np.where(missing, np.nan, low), np.where(missing, np.nan, high)


class _Budget:
    """How long the search for one row may go on."""

    def __init__(self, seconds: float, states: float) -> None:
        self.deadline, self.states = time.perf_counter() + seconds, states

    def is_spent(self) -> bool:
        """Count one state more."""
        self.states -= 1
        return self.states < 0 or time.perf_counter() > self.deadline


class _Cliques:
    """The leaves that one row may reach, and which of them meet inside its region."""

    def __init__(
        self,
        leaves: np.ndarray,
        tree: np.ndarray,
        compatible: np.ndarray,
        gaps: np.ndarray | None = None,
        norm: float = math.inf,
        radius: float = math.inf,
    ) -> None:
        self.leaves, self.tree = leaves, tree
        self.compatible = compatible
        self.gaps, self.norm, self.radius = gaps, norm, radius
        self.n_trees = len(_starts(tree))

    @classmethod
    def of_row(
        cls, ensemble: TreeEnsemble, region: Region, row: int, leaves: np.ndarray
    ) -> "_Cliques | None":
        """Return the problem of one row, or None if it has too many leaves."""
        low, high = region.cut(row, *ensemble.boxes(leaves))
        filled = (low <= high).all(axis=1)
        leaves, low, high = leaves[filled], low[filled], high[filled]
        if len(leaves) > _MOST_LEAVES:
            return None
        tree = ensemble.tree[leaves]
        compatible = (tree[:, None] != tree) | np.eye(len(leaves), dtype=bool)
        # Leaves that have a whole side of the row's box meet all others in that feature.
        for feature in np.flatnonzero(
            (low > region.lower[row]).any(axis=0) & (high < region.upper[row]).any(axis=0)
        ):
            before = low[:, feature][:, None] <= high[:, feature]
            compatible &= before & before.T
        if math.isinf(region.norm):
            return cls(leaves, tree, compatible)
        gaps, radius = region.gaps(row, low, high), region.radius(row)
        return cls(
            leaves, tree, compatible & (_joint_norms(gaps, region.norm) <= radius), gaps, region.norm, radius
        )

    def least_sum(
        self, gains: np.ndarray, constant: float, edges: tuple[float, float], budget: "_Budget"
    ) -> tuple[float, np.ndarray | None]:
        """Search for a combination whose sum is below `edges[1]`, dropping all that are above `edges[0]`.

        Returns
        -------
        bound : float
            No combination has a lower sum.
        combination : ndarray of int or None
            One leaf per tree whose sum is below the edge, if there is one.
        """
        above, below = edges
        floor, count, heap = math.inf, itertools.count(1), [(-math.inf, 0, np.arange(len(self.leaves)))]
        while heap and heap[0][0] < floor:
            bound, _, state = heapq.heappop(heap)
            is_new = True
            # The best of what a state branches into is looked at next: going deep finds wrong answers early.
            while len(state):
                if budget.is_spent():
                    return min(floor, bound, *(entry[0] for entry in heap[:1])), None
                state, sums, dropped = self._look_ahead(state, gains, constant, above)
                floor = min(floor, dropped)
                if not len(state):
                    break
                relaxed, greedy = self._combinations(state, sums, gains, is_new)
                for combination in (relaxed, greedy):
                    if combination is not None and constant + gains[combination].sum() < below:
                        return min(floor, bound, *(entry[0] for entry in heap[:1])), combination
                if relaxed is not None:
                    # Nothing in this state is lower, and it is within rounding of the edge.
                    floor = min(floor, constant + gains[relaxed].sum())
                    break
                is_new = False
                (best_bound, state), *others = self._branch(state, sums)
                for other_bound, other in others:
                    heapq.heappush(heap, (max(bound, other_bound), next(count), other))
                bound = max(bound, best_bound)
        return floor, None

    def _look_ahead(
        self, state: np.ndarray, gains: np.ndarray, constant: float, above: float
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Drop leaves that no low sum can hold, as long as many are dropped.

        Returns the remaining leaves, the least sum of worst leaves with each of them, and the least of what
        was dropped; no leaves where a tree has lost all.
        """
        dropped = math.inf
        while True:
            state = self._inside_ball(state)
            starts = _starts(self.tree[state])
            if len(starts) < self.n_trees:
                return state[:0], gains[:0], dropped
            together = self.compatible[state[:, None], state]
            worst = np.minimum.reduceat(np.where(together, gains[state], np.inf), starts, axis=1)
            sums = constant + worst.sum(axis=1)
            keep = sums <= above
            n_before, state, dropped = (
                len(state),
                state[keep],
                min(dropped, sums[~keep].min(initial=math.inf)),
            )
            if len(np.unique(self.tree[state])) < self.n_trees:
                return state[:0], gains[:0], dropped
            if len(state) > _FEW_DROPPED * n_before:
                return state, sums[keep], dropped

    def _combinations(
        self, state: np.ndarray, sums: np.ndarray, gains: np.ndarray, with_greedy: bool
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the worst leaf of each tree, if they meet, and what a greedy choice finds, else None."""
        starts = _starts(self.tree[state])
        relaxed = state[_argmin_per_group(gains[state], starts)]
        if self._meet(relaxed):
            return relaxed, None
        return None, self._greedy(state, sums, starts) if with_greedy else None

    def _greedy(self, state: np.ndarray, sums: np.ndarray, starts: np.ndarray) -> np.ndarray | None:
        """Return leaves that meet, those with the lowest sums chosen first, or None."""
        alive, is_open = np.ones(len(state), dtype=bool), np.ones(len(state), dtype=bool)
        sizes = _sizes(starts, len(state))
        chosen: list[np.intp] = []
        group = np.repeat(np.arange(len(starts)), sizes)
        while (free := alive & is_open).any():
            best = np.where(free, sums, np.inf).argmin()
            left = alive & self.compatible[state[best], state]
            if not np.logical_or.reduceat(left, starts).all():
                alive[best] = False
                continue
            alive, chosen = left, [*chosen, best]
            is_open[starts[group[best]] : starts[group[best]] + sizes[group[best]]] = False
        leaves = state[np.sort(chosen)] if len(chosen) == len(starts) else None
        return leaves if leaves is not None and self._meet(leaves) else None

    def _inside_ball(self, state: np.ndarray) -> np.ndarray:
        """Drop leaves that do not meet the decided trees inside the ball."""
        if self.gaps is None or not len(state):
            return state
        starts = _starts(self.tree[state])
        decided = state[starts[_sizes(starts, len(state)) == 1]]
        together = np.maximum(self.gaps[state], self.gaps[decided].max(axis=0, initial=0))
        return state[np.linalg.norm(together, self.norm, axis=1) <= self.radius]

    def _meet(self, leaves: np.ndarray) -> bool:
        """Return whether leaves have a point of the region in common."""
        if not self.compatible[leaves[:, None], leaves].all():
            return False
        if self.gaps is None:
            return True
        return bool(np.linalg.norm(self.gaps[leaves].max(axis=0), self.norm) <= self.radius)

    def _branch(self, state: np.ndarray, sums: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Return (bound, state) for every leaf of the tree whose best has the highest bound, lowest first."""
        starts = _starts(self.tree[state])
        sizes = _sizes(starts, len(state))
        best = np.where(sizes > 1, np.minimum.reduceat(sums, starts), -np.inf)
        tree = np.flatnonzero(best == best.max())
        tree = tree[sizes[tree].argmin()]
        leaves = np.arange(starts[tree], starts[tree] + sizes[tree])
        leaves = leaves[np.argsort(sums[leaves], kind="stable")]
        return [(sums[leaf], state[self.compatible[state[leaf], state]]) for leaf in leaves]


def _argmin_per_group(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the position of the least value of each group."""
    order = np.lexsort((values, np.repeat(np.arange(len(starts)), _sizes(starts, len(values)))))
    return order[starts]


def _joint_norms(gaps: np.ndarray, norm: float) -> np.ndarray:
    """Return how far from a row what each two boxes have in common is, if anything.

    In one feature it is as far as the farther of both.
    """
    total = np.zeros((len(gaps), len(gaps)))
    for column in gaps.T[gaps.any(axis=0)]:
        total += np.maximum.outer(column, column) ** norm
    return total ** (1 / norm)
