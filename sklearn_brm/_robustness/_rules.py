"""The rules of a `ThreatModel` resolved for one table: positions of columns, bounds as arrays."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._base import check_choice, owner_name, parameter_error
from ._units import needed

if TYPE_CHECKING:
    from ._table import Table
    from ._threat_model import ThreatModel


@dataclass(frozen=True)
class Group:
    """Positions of one-hot columns, and whether all of them may be 0."""

    members: np.ndarray
    may_be_empty: bool

    def holds(self, X: np.ndarray) -> NDArray[np.bool_]:
        """Tell which rows have exactly one 1, or none where that is allowed, and zeros beside it."""
        block = X[:, self.members]
        n_ones = block.sum(axis=1)
        return ((block == 0) | (block == 1)).all(axis=1) & (
            (n_ones == 1) | (self.may_be_empty & (n_ones == 0))
        )


@dataclass(frozen=True)
class Rules:
    """What must stay true of every row.

    Attributes
    ----------
    fixed, increasing, decreasing, integer : ndarray of int
        Positions of columns.
    low, high : ndarray of shape (n_features,)
        Bounds, infinite where there are none.
    strict : bool
        Whether clean rows must lie inside the bounds.
    one_hot : list of Group
    relations : list
        Expressions of column names, and functions of rows.
    project : callable or None
    """

    fixed: np.ndarray
    increasing: np.ndarray
    decreasing: np.ndarray
    integer: np.ndarray
    low: np.ndarray
    high: np.ndarray
    strict: bool
    one_hot: list[Any] = field(default_factory=list[Any])
    relations: list[Any] = field(default_factory=list[Any])
    project: Callable[[np.ndarray, np.ndarray], Any] | None = None

    @property
    def discrete(self) -> bool:
        """Whether some rule has no gradient."""
        return len(self.integer) > 0 or len(self.one_hot) > 0

    def obeyed(self, X: np.ndarray) -> NDArray[np.bool_]:
        """Tell which rows have whole numbers and whole groups where they must."""
        whole = X[:, self.integer]
        good = (np.isnan(whole) | (whole == np.round(whole))).all(axis=1)
        for group in self.one_hot:
            good &= group.holds(X)
        return good


def resolve_rules(
    model: ThreatModel,
    table: Table,
    reference: Table | None,
    coded: np.ndarray,
    groups: list[Any],
    *,
    check_rows: bool = True,
) -> Rules:
    """Return the `Rules` that a `ThreatModel` means for `table`, whose columns `coded` are categories.

    The rows of the table must obey them, unless they are no rows but the ends of columns.
    """

    def features(name: str) -> np.ndarray:
        value = getattr(model, name)
        return np.empty(0, dtype=int) if value is None else table.features(model, name, value)

    low, high, strict = _limits(model, table, reference, coded)
    for group in groups:
        # Bounds that were learned know the categories of few rows.
        low[group.members] = np.maximum(low[group.members], 0) if strict else 0
        high[group.members] = np.minimum(high[group.members], 1) if strict else 1
    rules = Rules(
        fixed=_fixed(model, table, features),
        increasing=features("increasing"),
        decreasing=features("decreasing"),
        integer=np.setdiff1d(_integers(model, table), coded),
        low=low,
        high=high,
        strict=strict,
        one_hot=groups,
        relations=_relations(model, table),
        project=_callable(model, "project", model.project),
    )
    _check_directions(model, table, rules, coded)
    if check_rows:
        _check_clean_rows(model, rules, table)
    return rules


def _fixed(model: ThreatModel, table: Table, features: Callable[..., Any]) -> np.ndarray:
    fixed = [features("fixed"), np.flatnonzero(table.kinds == "other")]
    if model.mutable is not None:
        fixed.append(np.setdiff1d(np.arange(table.n_features), features("mutable")))
    return np.unique(np.concatenate(fixed))


def _integers(model: ThreatModel, table: Table) -> np.ndarray:
    by_type = np.flatnonzero(table.kinds == "integer")
    if isinstance(model.integer, str) and model.integer == "auto":
        return by_type
    named = [] if model.integer is None else model.integer
    if isinstance(named, str):
        raise parameter_error(model, "integer", "'auto' or columns of numbers", named)
    named = table.features(model, "integer", named)
    _check_numbers(model, "integer", table, named)
    return np.union1d(by_type, named)


def _check_numbers(
    model: ThreatModel,
    name: str,
    table: Table,
    features: list[Any] | np.ndarray,
    coded: Sequence[Any] | np.ndarray = (),
) -> None:
    others = [table.keys()[j] for j in features if not table.is_number[j] or j in coded]
    if others:
        rule = "columns of numbers; what categories may become is said by 'categorical' and 'transitions'"
        raise parameter_error(model, name, rule, others, ValueError)


def _check_directions(model: ThreatModel, table: Table, rules: Rules, coded: np.ndarray) -> None:
    for name in ("increasing", "decreasing"):
        _check_numbers(model, name, table, getattr(rules, name), coded)
    both = np.intersect1d(rules.increasing, rules.decreasing)
    if len(both):
        names = [table.keys()[j] for j in both]
        raise parameter_error(
            model, "decreasing", "columns that are not in 'increasing'; use 'fixed'", names, ValueError
        )


def resolve_groups(model: ThreatModel, table: Table, reference: Table | None) -> list[Any]:
    """Return the one-hot groups; all zeros are allowed where a row of the table or the reference has them."""
    given = [] if model.one_hot is None else model.one_hot
    rule = "a list of groups of two features or more, none in two groups"
    if not np.iterable(given):
        raise parameter_error(model, "one_hot", rule, given)
    given = list(given)
    if any(isinstance(group, (str, numbers.Number)) for group in given):
        raise parameter_error(model, "one_hot", rule, model.one_hot, ValueError)
    groups = [table.features(model, "one_hot", group) for group in given]
    members = [member for group in groups for member in group]
    if any(len(group) < 2 for group in groups) or len(set(members)) < len(members):
        raise parameter_error(model, "one_hot", rule, model.one_hot, ValueError)
    _check_numbers(model, "one_hot", table, [j for j in members if table.kinds[j] != "boolean"])
    seen = [table.matrix] if reference is None else [table.matrix, reference.matrix]
    return [Group(g, any((rows[:, g] == 0).all(axis=1).any() for rows in seen)) for g in groups]


def _limits(
    model: ThreatModel, table: Table, reference: Table | None, coded: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the bounds, and whether clean rows must lie inside."""
    low, high = np.full(table.n_features, -np.inf), np.full(table.n_features, np.inf)
    bounds, rule = model.bounds, "None, 'data', a pair (low, high) or a dict from column to such a pair"
    if bounds is None:
        return low, high, True
    if isinstance(bounds, str):
        if bounds != "data":
            raise parameter_error(model, "bounds", rule, bounds)
        return *needed(model, "bounds", bounds, reference).limits(), False
    if isinstance(bounds, dict):
        for column, ends in bounds.items():
            j = table.position(model, "bounds", column)
            _check_numbers(model, "bounds", table, [j], coded)
            low[j], high[j] = _ends(model, ends, 1, given={column: ends})
        return low, high, True
    given: Any = bounds
    if isinstance(bounds, (tuple, list)):
        given = tuple(table.by_name(model, "bounds", end) for end in bounds)
    ends = _ends(model, given, table.n_features)
    ends = [np.broadcast_to(end, table.n_features) for end in ends]
    return np.where(table.is_number, ends[0], low), np.where(table.is_number, ends[1], high), True


def _ends(
    model: ThreatModel,
    bounds: Any,
    n_features: int,
    given: dict[int, tuple[float, float]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    rule = (
        f"None, 'data', or a pair (low, high) of numbers or arrays of shape ({n_features},) with "
        "low <= high, or a dict from column to such a pair"
    )
    try:
        low, high = (np.asarray(end, dtype=float) for end in bounds)
    except (TypeError, ValueError):
        raise parameter_error(model, "bounds", rule, given or bounds, TypeError) from None
    if any(end.shape not in [(), (n_features,)] for end in (low, high)) or not np.all(low <= high):
        raise parameter_error(model, "bounds", rule, given or bounds, ValueError)
    return low, high


def _relations(model: ThreatModel, table: Table) -> list[Any]:
    relations = model.relations
    if relations is None:
        return []
    rule = "a list of expressions of column names, or of functions of rows"
    if isinstance(relations, str) or callable(relations) or not hasattr(relations, "__iter__"):
        raise parameter_error(model, "relations", rule, relations, TypeError)
    for relation in relations:
        if not callable(relation) and not isinstance(relation, str):
            raise parameter_error(model, "relations", rule, relation, TypeError)
        if isinstance(relation, str) and not table.takes_expressions:
            raise parameter_error(
                model,
                "relations",
                "functions where X is not a DataFrame of pandas, which alone takes expressions of names",
                relation,
                ValueError,
            )
    return list(relations)


def _callable(model: ThreatModel, name: str, value: Any) -> Any:
    if value is not None and not callable(value):
        raise parameter_error(model, name, "a callable or None", value)
    return value


def related(
    model: ThreatModel, relations: list[Callable[..., Any]], rows: Any, n_rows: int
) -> NDArray[np.bool_]:
    """Tell for which `rows`, in the user's form, all relations hold."""
    good = np.ones(n_rows, dtype=bool)
    for relation in relations:
        try:
            holds = relation(rows) if callable(relation) else rows.eval(relation)
        except Exception as error:
            if callable(relation):
                raise
            raise parameter_error(
                model, "relations", f"expressions of columns ({error})", relation, ValueError
            ) from error
        holds = np.asarray(holds)
        if holds.shape != (n_rows,) or holds.dtype != bool:
            rule = f"relations that say True or False for each of {n_rows} rows"
            raise parameter_error(model, "relations", rule, relation, ValueError)
        good &= holds
    return good


def _check_clean_rows(model: ThreatModel, rules: Rules, table: Table) -> None:
    X = table.matrix
    for group in rules.one_hot:
        mixed = np.zeros(X.shape, dtype=bool)
        mixed[:, group.members] = ~group.holds(X)[:, None]
        _refuse(model, "one_hot", mixed, "exactly one feature of each group is 1, the others are 0", table)
    fractional = np.zeros(X.shape, dtype=bool)
    whole = X[:, rules.integer]
    fractional[:, rules.integer] = (whole != np.round(whole)) & ~np.isnan(whole)
    _refuse(model, "integer", fractional, "the features are whole numbers", table)
    if rules.strict:
        outside = (rules.low.astype(X.dtype) > X) | (rules.high.astype(X.dtype) < X)
        _refuse(model, "bounds", outside, "the values lie between them", table)
    _check_relations(model, rules, table)


def _check_relations(model: ThreatModel, rules: Rules, table: Table) -> None:
    everyone = np.arange(len(table))
    for relation in rules.relations:
        wrong = ~related(model, [relation], table.restore(table.matrix, everyone), len(table))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            got = f"{relation!r} is false in row {row} ({wrong.sum()} of {len(table)} rows are wrong)"
            _raise_for_clean_rows(model, "relations", "it is true", got)


def _refuse(model: ThreatModel, name: str, wrong: NDArray[np.bool_], rule: str, table: Table) -> None:
    if not wrong.any():
        return
    row, feature = np.argwhere(wrong)[0]
    value = f"{table.matrix[row, feature]} in row {row}, feature {table.label(feature)}"
    got = f"{value} ({wrong.any(axis=1).sum()} of {len(wrong)} rows are wrong)"
    _raise_for_clean_rows(model, name, rule, got)


def _raise_for_clean_rows(model: ThreatModel, name: str, rule: str, got: str) -> None:
    raise ValueError(
        f"The {name!r} parameter of {owner_name(model)} must hold for every clean row: {rule}. "
        f"Got {got} instead."
    )


def check_missing(model: ThreatModel) -> tuple[bool, bool]:
    """Return what may happen to missing values: whether they may appear, and whether they may be filled."""
    check_choice(model, "missing", model.missing, ("fixed", "may_appear", "may_be_filled", "any"))
    return model.missing in ("may_appear", "any"), model.missing in ("may_be_filled", "any")
