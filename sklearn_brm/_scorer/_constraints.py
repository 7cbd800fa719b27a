"""What an attacker may not do to a row: fixed, integer, one-hot and one-way features."""

import numbers
from dataclasses import dataclass, field

import numpy as np
from sklearn.base import BaseEstimator

from .._base import parameter_error


class FeatureConstraints(BaseEstimator):
    """Rules that every adversarial row obeys exactly.

    Features are named by position, by a mask over all features, or, where `X` is a DataFrame, by column
    name. Columns of a DataFrame that are not numeric are always held fixed.

    Parameters
    ----------
    mutable : array-like, default=None
        The features an attacker may change; None for all.
    bounds : tuple (low, high) or dict, default=None
        Smallest and largest value: two numbers, two arrays over all features, or a dict from feature to
        (low, high). Infinite ends are no bounds.
    integer : array-like, default=None
        Features that stay whole numbers.
    one_hot : list of array-like, default=None
        Groups of features of which exactly one is 1 and the others are 0. Changing the category moves two
        features by 1, which counts against eps like any change.
    increasing : array-like, default=None
        Features that may only grow.
    project : callable, default=None
        ``project(X, X_clean) -> X`` on arrays of shape (n_rows, n_features): any further rule, applied
        last. Rows that leave the ball or break another rule afterwards are thrown away.

    See Also
    --------
    AdversarialScorer : Scores an estimator under attack.
    adversarial_examples : Returns the adversarial rows.

    Notes
    -----
    Gradient attacks walk through the box that `mutable`, `bounds` and `increasing` leave, and ask the
    model at the nearest row with whole numbers and whole categories. Clean rows that break a rule
    themselves are an error: there would be nothing to hold an attack to.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_brm import FeatureConstraints, adversarial_examples
    >>> X = np.array([[0.0, 20.0], [1.0, 30.0], [2.0, 40.0], [3.0, 50.0]])
    >>> y = np.array([0, 0, 1, 1])
    >>> model = LogisticRegression().fit(X, y)
    >>> rules = FeatureConstraints(mutable=[1], integer=[1])
    >>> found = adversarial_examples(model, X, y, eps=6, constraints=rules, random_state=0)
    >>> found.X[found.outcome == "broken"]
    array([[ 1., 36.],
           [ 2., 34.]])
    """

    def __init__(
        self, *, mutable=None, bounds=None, integer=None, one_hot=None, increasing=None, project=None
    ):
        self.mutable = mutable
        self.bounds = bounds
        self.integer = integer
        self.one_hot = one_hot
        self.increasing = increasing
        self.project = project


@dataclass(frozen=True)
class Rules:
    """`FeatureConstraints` resolved for one table: positions of features, bounds as arrays."""

    fixed: np.ndarray
    increasing: np.ndarray
    integer: np.ndarray
    low: np.ndarray
    high: np.ndarray
    one_hot: list = field(default_factory=list)
    project: object = None

    @property
    def discrete(self):
        """Whether some rule has no gradient."""
        return len(self.integer) > 0 or len(self.one_hot) > 0


def resolve_constraints(owner, constraints, table):
    """Return the `Rules` that `constraints` (or None) means for `table`."""
    n_features = table.matrix.shape[1]
    constraints = FeatureConstraints() if constraints is None else constraints
    if not isinstance(constraints, FeatureConstraints):
        raise parameter_error(owner, "constraints", "a FeatureConstraints or None", constraints)

    def features(name):
        value = getattr(constraints, name)
        return np.empty(0, dtype=int) if value is None else table.features(constraints, name, value)

    fixed = np.empty(0, dtype=int)
    if constraints.mutable is not None:
        fixed = np.setdiff1d(np.arange(n_features), features("mutable"))
    if constraints.project is not None and not callable(constraints.project):
        raise parameter_error(constraints, "project", "a callable or None", constraints.project)
    low, high = resolve_bounds(constraints, constraints.bounds, table)
    groups = _groups(constraints, table)
    for group in groups:
        low[group], high[group] = np.maximum(low[group], 0), np.minimum(high[group], 1)
    rules = Rules(
        fixed, features("increasing"), features("integer"), low, high, groups, project=constraints.project
    )
    _check_clean_rows(constraints, rules, table)
    return rules


def _groups(constraints, table):
    """Return the positions of the features of each one-hot group."""
    given = [] if constraints.one_hot is None else list(constraints.one_hot)
    rule = "a list of groups of two features or more, none in two groups"
    if any(isinstance(group, (str, numbers.Number)) for group in given):
        raise parameter_error(constraints, "one_hot", rule, constraints.one_hot, ValueError)
    groups = [table.features(constraints, "one_hot", group) for group in given]
    members = [member for group in groups for member in group]
    if any(len(group) < 2 for group in groups) or len(set(members)) < len(members):
        raise parameter_error(constraints, "one_hot", rule, constraints.one_hot, ValueError)
    return groups


def resolve_bounds(owner, bounds, table):
    """Return two float64 arrays (n_features,) of smallest and largest values, infinite where unbounded."""
    n_features = table.matrix.shape[1]
    low, high = np.full(n_features, -np.inf), np.full(n_features, np.inf)
    if bounds is None:
        return low, high
    if isinstance(bounds, dict):
        for feature, ends in bounds.items():
            j = table.features(owner, "bounds", [feature])
            low[j], high[j] = _ends(owner, ends, 1)
        return low, high
    if isinstance(bounds, (tuple, list)):
        bounds = tuple(table.by_name(owner, "bounds", end) for end in bounds)
    ends = _ends(owner, bounds, n_features)
    return np.array(np.broadcast_to(ends[0], n_features)), np.array(np.broadcast_to(ends[1], n_features))


def _ends(owner, bounds, n_features):
    rule = f"None, or a pair (low, high) of numbers or arrays of shape ({n_features},) with low <= high"
    try:
        low, high = (np.asarray(end, dtype=float) for end in bounds)
    except (TypeError, ValueError):
        raise parameter_error(owner, "bounds", rule, bounds, TypeError) from None
    if any(end.shape not in [(), (n_features,)] for end in (low, high)) or not np.all(low <= high):
        raise parameter_error(owner, "bounds", rule, bounds, ValueError)
    return low, high


def _check_clean_rows(owner, rules, table):
    X = table.matrix
    for group in rules.one_hot:
        mixed = np.zeros(X.shape, dtype=bool)
        mixed[:, group] = ~_is_one_hot(X[:, group])[:, None]
        _refuse(owner, "one_hot", mixed, "exactly one feature of each group is 1, the others are 0", table)
    fractional = np.zeros(X.shape, dtype=bool)
    fractional[:, rules.integer] = X[:, rules.integer] != np.round(X[:, rules.integer])
    _refuse(owner, "integer", fractional, "the features are whole numbers", table)
    low, high = rules.low.astype(X.dtype), rules.high.astype(X.dtype)
    outside = np.clip(X, low, high) != X
    _refuse(owner, "bounds", outside, "the values lie between them", table)


def _refuse(owner, name, wrong, rule, table):
    if not wrong.any():
        return
    row, feature = np.argwhere(wrong)[0]
    label = feature if table.columns is None else repr(table.columns[table.numeric[feature]])
    n_rows = wrong.any(axis=1).sum()
    value = f"{table.matrix[row, feature]} in row {row}, feature {label}"
    got = f"{value} ({n_rows} of {len(wrong)} rows are wrong)"
    owner = type(owner).__name__
    raise ValueError(
        f"The {name!r} parameter of {owner} must hold for every clean row: {rule}. Got {got} instead."
    )


def _is_one_hot(block):
    return ((block == 0) | (block == 1)).all(axis=1) & (block.sum(axis=1) == 1)


def obeys_discrete(rules, X):
    """Tell which rows have whole numbers and whole categories where they must."""
    whole = X[:, rules.integer]
    good = (whole == np.round(whole)).all(axis=1)
    for group in rules.one_hot:
        good &= _is_one_hot(X[:, group])
    return good
