"""What an attacker may do to a row, said once for every function: `ThreatModel`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._base import DocLinkMixin
from ._table import Table
from ._units import LearnedUnits, resolve_norm, spread_of, unit_words

if TYPE_CHECKING:
    from ._description import ThreatDescription

# Floating columns of no more whole numbers than this hold a choice, not a quantity.
_FEW_VALUES = 2


class ThreatModel(DocLinkMixin, BaseEstimator):
    """What an attacker may do to a row: how far, in which units, and what must stay true.

    Numbers move inside a ball of radius `eps`, which is given to the scorer or function beside the threat.
    Booleans and categories change to other values that were seen, at most `max_changes` of a row. Everything
    that comes back obeys every rule exactly.

    Columns are named by position, by a mask over all columns, by one of scikit-learn's column selectors or,
    where `X` is a DataFrame, by name. What is given per column, as a dict or a Series by name, is aligned
    with the columns of `X` in any order; arrays follow positions.

    Parameters
    ----------
    norm : {inf, 2, 1}, default=inf
        Norm of the ball; "linf", "l2" and "l1" are words for them.
    scale : None, "std", "range", "iqr", float, dict or array-like of shape (n_features,), default=None
        What one unit of `eps` is in each column of numbers: 1, its standard deviation, range or interquartile
        range in `reference_X`, or the numbers given. Columns with scale 0 are held fixed.
    reference_X : array-like or DataFrame of shape (n_reference, n_features), default=None
        Data, such as the training rows, from which scale, bounds and the values of categories are learned.
        The rows under attack do not tell them.
    bounds : None, "data", tuple (low, high) or dict, default=None
        Smallest and largest values: those in `reference_X`, two numbers or arrays or Series over the columns,
        or a dict from column to (low, high). Infinite ends are no bounds. A clean row outside the bounds of
        the data keeps its own value as a bound; one outside bounds that are given is an error.
    mutable : array-like or selector, default=None
        The columns an attacker may change; None for all.
    fixed : array-like or selector, default=None
        Columns that stay as they are, mutable or not.
    integer : "auto" or array-like, default="auto"
        Columns that stay whole numbers: "auto" takes those whose type says so. Named columns come on top.
    categorical : "auto", array-like or dict, default="auto"
        Columns whose values change among those seen in `reference_X` and in the rows under attack, and are
        not numbers to be moved a little. "auto" takes words, booleans and pandas' categories. Named columns
        of numbers are added to them. A dict gives the values allowed by column; one that neither the data
        hold nor the estimator takes is an error.
    transitions : dict, default=None
        By column of categories, which value may become which: a dict from value to a list of values, or a
        list of values in order, of which one may become the one before or after it.
    max_changes : int, default=1
        How many booleans, categories and missing values of a row may change. 0 holds them fixed. With
        `change_costs` a float: what the changes of a row may cost together.
    change_costs : dict, default=None
        What a change of a column counts in `max_changes` instead of 1: a dict from column to a number in
        [0, inf), or to a dict from pairs ``(value, other value)`` to such numbers, where other pairs cost 1
        and None stands for a missing value. What it costs to go from the clean values of a row to those it
        comes back with is summed over its columns, and is at most `max_changes`.
    one_hot : list of array-like, default=None
        Groups of columns of which exactly one is 1 and the others are 0; or at most one, where some rows have
        none (``OneHotEncoder(drop="first")``). Another category moves numbers by 1, which counts for `eps`.
    increasing, decreasing : array-like, default=None
        Columns of numbers that may only grow, or only fall.
    missing : {"fixed", "may_appear", "may_be_filled", "any"}, default="fixed"
        Whether a missing value stays missing and no other appears, or which of the two counts as a change:
        a value may be lost, or a missing one filled with the middle or most frequent value in `reference_X`.
    relations : list of str or callable, default=None
        What must be true of a row: expressions of column names that `DataFrame.eval` takes, such as
        ``"start <= end"``, or functions of rows, in the form of `X`, that return a boolean for each.
    project : callable, default=None
        ``project(X, X_clean) -> X`` on arrays of numbers of shape (n_rows, n_features), in which categories
        are codes: any further rule, applied last. Rows that leave the ball or break another rule afterwards
        are thrown away.

    See Also
    --------
    AdversarialScorer : Scores an estimator under attack.
    adversarial_examples : Returns the adversarial rows.

    Notes
    -----
    Gradient attacks walk through the box that the rules leave, and ask the model at the nearest row with
    whole numbers and whole groups. Clean rows that break a rule themselves are an error: there would be
    nothing to hold an attack to.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> from sklearn_brm import ThreatModel, adversarial_examples
    >>> X = pd.DataFrame({"age": [25, 32, 47, 51, 62, 23], "city": ["Oslo", "Bergen"] * 3})
    >>> y = [0, 0, 1, 1, 1, 0]
    >>> encode = make_column_transformer((OneHotEncoder(), ["city"]), remainder=StandardScaler())
    >>> model = make_pipeline(encode, LogisticRegression()).fit(X, y)
    >>> threat = ThreatModel.from_data(X)
    >>> found = adversarial_examples(model, X, y, eps=0.5, threat=threat, random_state=0)
    >>> found.X.dtypes.equals(X.dtypes)
    True
    """

    def __init__(
        self,
        norm: float = np.inf,
        *,
        scale: str | float | Mapping[Any, float] | ArrayLike | None = None,
        reference_X: ArrayLike | None = None,
        bounds: str | tuple[Any, Any] | Mapping[Any, Any] | None = None,
        mutable: Sequence[Any] | ArrayLike | None = None,
        fixed: Sequence[Any] | ArrayLike | None = None,
        integer: str | Sequence[Any] | ArrayLike | None = "auto",
        categorical: str | Sequence[Any] | Mapping[Any, Any] | ArrayLike | None = "auto",
        transitions: Mapping[Any, Any] | None = None,
        max_changes: int | None = 1,
        change_costs: Mapping[Any, Any] | None = None,
        one_hot: Sequence[Any] | None = None,
        increasing: Sequence[Any] | ArrayLike | None = None,
        decreasing: Sequence[Any] | ArrayLike | None = None,
        missing: str = "fixed",
        relations: Sequence[str | Callable[..., Any]] | None = None,
        project: Callable[[np.ndarray, np.ndarray], ArrayLike] | None = None,
    ) -> None:
        self.norm = norm
        self.scale = scale
        self.reference_X = reference_X
        self.bounds = bounds
        self.mutable = mutable
        self.fixed = fixed
        self.integer = integer
        self.categorical = categorical
        self.transitions = transitions
        self.max_changes = max_changes
        self.change_costs = change_costs
        self.one_hot = one_hot
        self.increasing = increasing
        self.decreasing = decreasing
        self.missing = missing
        self.relations = relations
        self.project = project

    @classmethod
    def from_data(
        cls,
        X: ArrayLike,
        *,
        norm: float = np.inf,
        scale: str | float | Mapping[Any, float] | ArrayLike | None = "std",
        bounds: str | tuple[Any, Any] | Mapping[Any, Any] | None = "data",
        **rules: Any,
    ) -> Self:
        """Infer from data what each column is, and learn its scale and its bounds.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Data, such as the training rows. A few rows are made of it for `reference_X`: the smallest, a
            typical and the largest value of each column, and behind them the other values of categories.
        norm : {inf, 2, 1}, default=inf
            Norm of the ball.
        scale : "std", "range", "iqr", None, float, dict or array-like, default="std"
            As in `ThreatModel`.
        bounds : "data", None, tuple or dict, default="data"
            As in `ThreatModel`.
        **rules : dict
            Further parameters of `ThreatModel`, which go before what is inferred.

        Returns
        -------
        threat : ThreatModel
            With arrays or dicts for `scale`, `bounds`, `integer` and `categorical`. Floating columns of whole
            numbers stay whole; those of two whole numbers are categories, and so are words, booleans and
            pandas' categories. Constant columns are held fixed. In groups given as `one_hot` the unit is 1.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_brm import ThreatModel
        >>> X = np.array([[0.5, 1, 3], [1.5, 0, 3], [4.0, 1, 3]])
        >>> print(ThreatModel.from_data(X).describe())
        column  kind      unit   from  to  note
        0       number    1.472  0.5   4
        1       category                   2 values
        2       integer   fixed  3     3   constant
        """
        table = Table(cls.__name__, X)
        key = table.keys()
        groups = [table.features(cls.__name__, "one_hot", group) for group in rules.get("one_hot") or ()]
        members = [int(member) for group in groups for member in group]
        numbers = np.setdiff1d(np.flatnonzero(table.is_number), members)
        whole = [j for j in numbers if _is_whole(table.present(j))]
        two = [j for j in whole if len(np.unique(table.present(j))) == _FEW_VALUES]
        coded = np.setdiff1d(np.flatnonzero(np.isin(table.kinds, ["category", "boolean"])), members)
        values = {key[j]: np.unique(table.present(j)).tolist() for j in two}
        values |= {key[j]: table.columns[j].values.tolist() for j in coded}
        inferred = {
            "integer": [key[j] for j in whole if j not in two],
            "categorical": values,
            "scale": scale,
            # Bounds and typical values need no more than three rows, categories each of their values.
            "reference_X": table.summary(groups, coded={*coded.tolist(), *_named(cls, table, rules)}),
            "bounds": bounds,
        }
        if isinstance(scale, str):
            unit = spread_of(cls.__name__, table, scale)
            units = {key[j]: float(unit[j]) for j in np.flatnonzero(table.is_number)}
            # A category of a group costs one unit, however frequent it is.
            inferred["scale"] = LearnedUnits(units | {key[j]: 1.0 for j in members}, scale)
        return cls(norm, **(inferred | rules))

    def size_words(self) -> str:
        """Return what `eps` measures, in words: the norm and the unit."""
        words = {np.inf: "largest change of a feature", 2: "Euclidean length", 1: "sum of changes"}
        unit = unit_words(self.scale)
        preposition = "" if self.scale is None else "in "
        return f"{words[resolve_norm(self, self.norm)]}, {preposition}{unit}"

    def limit_words(self, eps: float) -> str:
        """Return in a line what an attacker may do within `eps`: norm, size and unit, and which rules hold.

        Parameters
        ----------
        eps : float
            Radius of the ball.

        Returns
        -------
        words : str
        """
        words = {np.inf: "each feature", 2: "Euclidean length", 1: "sum of changes"}
        size = f"{words[resolve_norm(self, self.norm)]} up to {eps:.3g} {unit_words(self.scale)}"
        return "; ".join([size, *self._rule_words()])

    def _rule_words(self) -> list[str]:
        """Return the names of the rules that were set, in the order of the parameters."""
        words = [] if self.bounds is None else [f"bounds {_short(self.bounds)}"]
        if isinstance(self.categorical, dict) and self.categorical:
            words.append(f"max_changes {self.max_changes}")
        names = (
            "mutable",
            "fixed",
            "transitions",
            "one_hot",
            "increasing",
            "decreasing",
            "relations",
            "project",
        )
        words += [name for name in names if getattr(self, name) is not None]
        return words if self.missing == "fixed" else [*words, f"missing {self.missing}"]

    def describe(self, X: ArrayLike | None = None) -> ThreatDescription:
        """Return the table of what an attacker may do to each column.

        Parameters
        ----------
        X : array-like or DataFrame, default=None
            Rows to describe the threat for; None takes `reference_X`, or the names that the parameters hold.

        Returns
        -------
        description : ThreatDescription
            One row per column; it prints as a table, and has an HTML representation.
        """
        from ._description import describe

        return describe(self, X)


def _named(owner: type, table: Table, rules: dict[str, Any]) -> list[Any]:
    """Return the columns of numbers that `rules` call categories."""
    named = rules.get("categorical")
    if named is None or isinstance(named, str):
        return []
    named = list(named) if isinstance(named, Mapping) else named
    return [int(j) for j in table.features(owner.__name__, "categorical", named) if table.is_number[j]]


def _is_whole(values: np.ndarray) -> bool:
    return len(values) > 0 and bool((values % 1 == 0).all())


def _short(bounds: Any) -> str:
    """Return two numbers as they are, and a word for bounds by column."""
    if isinstance(bounds, str):
        return f"of the {bounds}"
    pair = isinstance(bounds, (tuple, list)) and all(np.ndim(end) == 0 for end in bounds)
    return f"{bounds[0]:.4g} to {bounds[1]:.4g}" if pair else "by column"
