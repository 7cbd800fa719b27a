"""Which booleans, categories and missing values of a row may change, and to what."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from .._base import as_numbers, check_number, parameter_error
from ._rules import check_missing

if TYPE_CHECKING:
    from ._attacked import AttackedEstimator
    from ._rules import Rules
    from ._table import Table
    from ._threat_model import ThreatModel

# Up to so many rows that a row may become, all are tried; beyond, so many of each number of changes.
_MOST_TRIED, _BEAM = 64, 8
# What rounding may add to a sum of costs, relative to what it may be: three times 0.1 are 0.3.
_SLACK = 1e-12
# What a change costs, and what it costs instead between some pairs of values.
_Costs = tuple[float, dict[Any, Any]]


@dataclass(frozen=True)
class Choices:
    """All single changes that some row may make.

    Attributes
    ----------
    feature : ndarray of int of shape (n_moves,)
        The column that a change is about.
    target : ndarray of shape (n_moves,)
        What it becomes: a code, a number, or NaN.
    allowed : list of ndarray or None, of length n_moves
        The values a change may start from; None for all but missing ones.
    cost : ndarray of shape (n_moves,)
        What a change spends of `budget`.
    budget : float
        What all changes of a row may cost together.
    unseen : frozenset of (int, float)
        Columns and values that the user listed and neither the rows nor the reference hold.
    """

    feature: np.ndarray
    target: np.ndarray
    allowed: list[Any]
    cost: np.ndarray
    budget: float
    unseen: frozenset[Any]

    def __len__(self) -> int:
        return len(self.feature)

    def those_that(self, accepts: Callable[..., Any], model: ThreatModel, table: Table) -> Choices:
        """Return the changes that leave the first row of `table` a row which the estimator takes.

        A value that is refused and nobody has seen is a mistake of whoever wrote the `ThreatModel`.
        """
        if not len(self):
            return self
        changed = np.tile(table.matrix[0], (len(self), 1))
        changed[np.arange(len(self)), self.feature] = self.target
        accepted = accepts(changed)
        for k in np.flatnonzero(~accepted):
            if (self.feature[k], self.target[k]) in self.unseen:
                raise _nobody_knows(model, table, self.feature[k], self.target[k])
        kept = np.flatnonzero(accepted)
        return replace(
            self,
            feature=self.feature[kept],
            target=self.target[kept],
            allowed=[self.allowed[k] for k in kept],
            cost=self.cost[kept],
        )

    def bases(
        self, attacked: AttackedEstimator, X: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return changed copies of the rows of `X` from which to attack numbers.

        Where all that a row may become is a few dozen rows, all are tried; otherwise a beam search keeps
        those in which the true class leads least, before any number is moved.

        Returns
        -------
        base : ndarray of shape (n, n_features)
        index : ndarray of int of shape (n,)
            Which rows of `X` they are copies of, rising.
        rank : ndarray of int of shape (n,)
            The place among the copies of the same row, rising: the most promising come first.
        """
        (index, copies, spent), found = (np.arange(len(X)), X, np.zeros(len(X))), []
        width = np.where(self._n_reachable(X, _MOST_TRIED) <= _MOST_TRIED, _MOST_TRIED, _BEAM)
        for _ in np.unique(self.feature):
            index, copies, spent = self._extended(X, index, copies, spent)
            if len(index) == 0:
                break
            lead = attacked.lead(copies, rows[index])
            order, rank = _by_rank(index, lead)
            kept = order[rank < width[index[order]]]
            index, copies, spent = index[kept], copies[kept], spent[kept]
            found.append((index, copies, lead[kept]))
        found = found or [(index, copies, np.zeros(0))]
        index, copies, lead = (np.concatenate(parts) for parts in zip(*found))
        order, rank = _by_rank(index, lead)
        return copies[order], index[order], rank

    def all_bases(self, X: np.ndarray, at_most: int) -> Any:
        """Return all that each row of `X` may become, itself included, and which rows may be too much.

        Returns
        -------
        base : ndarray of shape (n, n_features)
        index : ndarray of int of shape (n,)
            Which rows of `X` they are copies of.
        too_many : ndarray of bool of shape (len(X),)
            Rows that may become more than `at_most` others, of which no copy is made.
        """
        too_many = self._n_reachable(X, at_most) > at_most
        index = np.flatnonzero(~too_many)
        copies, spent, found = X[index], np.zeros(len(index)), [(X, np.arange(len(X)))]
        for _ in np.unique(self.feature):
            index, copies, spent = self._extended(X, index, copies, spent)
            found.append((copies, index))
        return *(np.concatenate(parts) for parts in zip(*found)), too_many

    def _n_reachable(self, X: np.ndarray, at_most: int) -> np.ndarray:
        """Return how many rows each row of `X` may become, at most: costs are taken for the smallest ones.

        Beyond `at_most` they are not counted.
        """
        legal, columns = self.legal(X), np.unique(self.feature)
        cheapest = np.sort([self.cost[self.feature == j].min() for j in columns])
        n_changes = int((cheapest.cumsum() <= self.budget * (1 + _SLACK)).sum())
        # Coefficients of the product of (1 + n x), in which n rows differ by one change in one column.
        by_changes = np.zeros((len(X), n_changes + 1))
        by_changes[:, 0] = 1
        for j in columns:
            n_values = legal[:, self.feature == j].sum(axis=1, keepdims=True)
            by_changes[:, 1:] += by_changes[:, :-1] * n_values
            np.minimum(by_changes, at_most + 1, out=by_changes)
        return by_changes[:, 1:].sum(axis=1)

    def _extended(
        self, X: np.ndarray, index: np.ndarray, copies: np.ndarray, spent: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return copies with one change more, of a column that is as it was, with their costs; each once."""
        changed = (copies != X[index]) & ~(np.isnan(copies) & np.isnan(X[index]))
        affordable = spent[:, None] + self.cost <= self.budget * (1 + _SLACK)
        rows, moves = np.nonzero(self.legal(copies) & ~changed[:, self.feature] & affordable)
        extended = copies[rows].copy()
        extended[np.arange(len(rows)), self.feature[moves]] = self.target[moves]
        keyed = np.column_stack([index[rows], np.nan_to_num(extended, nan=np.inf)])
        _, first = np.unique(keyed, axis=0, return_index=True)
        return index[rows][first], extended[first], (spent[rows] + self.cost[moves])[first]

    def legal(self, X: np.ndarray) -> NDArray[np.bool_]:
        """Tell which changes each row of `X` may make, (n, n_moves)."""
        legal = np.zeros((len(X), len(self)), dtype=bool)
        for k, (j, target, start) in enumerate(zip(self.feature, self.target, self.allowed)):
            missing = np.isnan(X[:, j])
            legal[:, k] = ~missing & (X[:, j] != target) if start is None else _is_in(X[:, j], start)
        return legal


def resolve_choices(
    model: ThreatModel, table: Table, reference: Table | None, rules: Rules, values: dict[int, np.ndarray]
) -> Choices:
    """Return the `Choices` that a `ThreatModel` allows in `table`, whose categories may take `values`."""
    rows = [table] if reference is None else [table, reference]
    kind = numbers.Integral if model.change_costs is None else numbers.Real
    budget = float(check_number(model, "max_changes", model.max_changes, "[0, inf)", kind=kind))
    transitions, costs = _transitions(model, table, values), _costs(model, table, values)
    may_appear, may_be_filled = check_missing(model)
    typical = (table if reference is None else reference).typical() if may_be_filled else None
    moves: list[tuple[Any, Any, Any]] = []
    for j in np.setdiff1d(np.arange(table.n_features), rules.fixed):
        if j in values:
            moves += [(j, value, transitions.get((j, value))) for value in values[j].tolist()]
        if may_appear and table.may_miss(j):
            moves.append((j, np.nan, None))
        if typical is not None:
            moves += [] if np.isnan(typical[j]) else [(j, typical[j], np.array([np.nan]))]
    priced = [one for move in moves for one in _priced(*move, *costs.get(move[0], (1.0, {})), table)]
    priced = priced if budget else []
    feature, target, allowed, cost = zip(*priced) if priced else ((), (), (), ())
    return Choices(
        feature=np.array(feature, dtype=int),
        target=np.array(target, dtype=float),
        allowed=list(allowed),
        cost=np.array(cost, dtype=float),
        budget=budget,
        unseen=frozenset((int(j), value) for j in values for value in _unseen(values[j], j, rows)),
    )


def _priced(
    j: Any, target: float, starts: Any, cost: float, by_pair: dict[Any, Any], table: Table
) -> Iterator[tuple[Any, float, Any, float]]:
    """Yield a change once for each cost that it has, with the values from which it costs so much."""
    special = {start: price for (start, end), price in by_pair.items() if _same(end, target)}
    if starts is None and special:
        starts = np.union1d(table.present(j), list(special))
        starts = starts[(starts != target) & ~np.isnan(starts)]
    for start, price in special.items():
        if _is_in(np.array([start]), starts)[0]:
            yield j, target, np.array([start]), price
    if special:
        starts = starts[[not any(_same(start, value) for value in special) for start in starts]]
    yield j, target, starts, cost


def _same(a: float, b: float) -> bool:
    return a == b or (np.isnan(a) and np.isnan(b))


def _costs(model: ThreatModel, table: Table, values: dict[int, np.ndarray]) -> dict[int, _Costs]:
    """Return, by column, what a change costs, and what the changes between pairs of values cost instead."""
    given = model.change_costs
    found: dict[int, _Costs] = {}
    if given is None:
        return found
    rule = "a dict from column to a number, or to a dict from pairs (value, other value) to numbers"
    if not isinstance(given, Mapping):
        raise parameter_error(model, "change_costs", rule, given, TypeError)
    for column, cost in given.items():
        j = table.position(model, "change_costs", column)
        if not isinstance(cost, Mapping):
            found[j] = _cost(model, column, cost), {}
            continue
        if j not in values:
            rule = "a number for columns that hold no categories"
            raise parameter_error(model, "change_costs", rule, {column: cost}, TypeError)
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in cost):
            raise parameter_error(model, "change_costs", rule, {column: cost}, TypeError)
        found[j] = 1.0, {}
        for pair, price in cost.items():
            start, target = (_code_or_missing(model, "change_costs", table, j, value) for value in pair)
            found[j][1][start, target] = _cost(model, column, price)
    return found


def _cost(model: ThreatModel, column: str, cost: float) -> float:
    """Return what a change costs as a float: none is negative."""
    rule = "about numbers in [0, inf)"
    number = as_numbers(model, "change_costs", cost, rule)
    if number.ndim or isinstance(cost, (str, bool, np.bool_)) or not 0 <= number < np.inf:
        raise parameter_error(model, "change_costs", rule, {column: cost}, ValueError)
    return float(number)


def _unseen(values: Any, j: int, tables: Any) -> list[Any]:
    """Return those of `values` that no row of the tables holds in column `j`."""
    return np.setdiff1d(values, np.concatenate([table.present(j) for table in tables])).tolist()


def _nobody_knows(model: Any, table: Any, j: Any, value: Any) -> Any:
    known = table.columns[j].values
    rule = f"values of column {table.label(j)} that reference_X, X or the estimator knows"
    value = value if known is None else known[int(value)]
    return parameter_error(model, "categorical", rule, value, ValueError)


def category_values(model: ThreatModel, table: Table, reference: Table | None) -> dict[int, np.ndarray]:
    """Return the numbers or codes that each column of categories may take, by its position."""
    rows = [table] if reference is None else [table, reference]
    coded = np.flatnonzero(np.isin(table.kinds, ["category", "boolean"]))
    found = {}
    for j in coded.tolist():
        n_codes = len(cast(np.ndarray, table.columns[j].values))
        found[j] = _held(table, j, np.arange(n_codes, dtype=float))
    wanted = model.categorical
    if isinstance(wanted, str):
        if wanted != "auto":
            raise parameter_error(
                model, "categorical", "'auto', columns, or a dict from column to values", wanted
            )
        return found
    if wanted is None:
        return {}
    if not isinstance(wanted, Mapping):
        named = table.features(model, "categorical", wanted)
        chosen = [int(j) for j in named if table.is_number[j]]
        return found | {j: np.unique(np.concatenate([one.present(j) for one in rows])) for j in chosen}
    for column, allowed in wanted.items():
        j = table.position(model, "categorical", column)
        _check_list(model, "categorical", column, allowed, "a list of values for each column")
        if table.kinds[j] == "category":
            table.learn(j, allowed)
        found[j] = np.array([_code(model, "categorical", table, j, value) for value in allowed], dtype=float)
    held = {j: _held(table, j, codes) for j, codes in found.items()}
    for j, codes in found.items():
        for value in np.intersect1d(np.setdiff1d(codes, held[j]), _unseen(codes, j, rows)):
            raise _nobody_knows(model, table, j, value)
    return held


def _held(table: Table, j: Any, codes: Any) -> np.ndarray:
    """Return the codes whose values the type of the column can hold; pandas' categories are a closed list."""
    categories = None if table.frame is None else getattr(table.frame.dtypes.iloc[j], "categories", None)
    if categories is None:
        return codes
    return codes[[table.columns[j].values[int(code)] in categories for code in codes]]


def _by_rank(groups: np.ndarray, lead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order by falling lead within each group, and each entry's place in its group."""
    order = np.lexsort([-lead, groups])
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(groups)))
    return order, np.arange(len(groups)) - np.repeat(starts, lengths)


def _transitions(model: ThreatModel, table: Table, values: dict[int, np.ndarray]) -> dict[Any, Any]:
    """Return, by column and target, the numbers or codes from which a category may become it."""
    given = model.transitions
    found: dict[Any, Any] = {}
    if given is None:
        return found
    if not isinstance(given, Mapping):
        rule = "a dict from column to a dict from value to values, or to a list of values in order"
        raise parameter_error(model, "transitions", rule, given, TypeError)
    for column, rule in given.items():
        j = table.position(model, "transitions", column)
        if j not in values:
            raise parameter_error(model, "transitions", "about columns of categories", column, ValueError)
        wanted = "a dict from value to a list of values, or a list of values in order, for each column"
        _check_list(model, "transitions", column, rule, wanted)
        for targets in rule.values() if isinstance(rule, Mapping) else ():
            _check_list(model, "transitions", column, targets, wanted)
        pairs = _pairs(rule)
        starts: dict[float, list[float]] = {float(value): [] for value in values[j]}
        for pair in pairs:
            start, target = (_code(model, "transitions", table, j, value) for value in pair)
            starts.setdefault(target, []).append(start)
        found |= {(j, target): np.array(codes, dtype=float) for target, codes in starts.items()}
    return found


def _check_list(
    model: ThreatModel, name: str, column: int | str, values: dict[int, np.ndarray], rule: str
) -> None:
    """Refuse one value in place of several: a word would be taken for its letters."""
    if isinstance(values, str) or not np.iterable(values):
        raise parameter_error(model, name, rule, {column: values}, TypeError)


def _pairs(rule: dict[str, list[str]] | list[str]) -> list[tuple[str, str]]:
    """Return which value may become which, from a dict of lists or a list in order."""
    if isinstance(rule, Mapping):
        return [(start, target) for start, targets in rule.items() for target in targets]
    steps = list(zip(list(rule)[:-1], list(rule)[1:]))
    return steps + [(b, a) for a, b in steps]


def _code(model: ThreatModel, name: str, table: Table, j: int, value: bool | float | str) -> float:
    """Return the number or code of a value that the user named."""
    values = table.columns[j].values
    if values is None:
        if isinstance(value, numbers.Real):
            return float(value)
    else:
        for code, known in enumerate(values.tolist()):
            if known == value and isinstance(known, bool) == isinstance(value, (bool, np.bool_)):
                return float(code)
    known = "numbers" if values is None else f"values of column {table.label(j)}, which has {values.tolist()}"
    raise parameter_error(model, name, known, value, ValueError)


def _code_or_missing(model: ThreatModel, name: str, table: Table, j: int, value: str) -> float:
    return np.nan if value is None else _code(model, name, table, j, value)


def _is_in(column: np.ndarray, starts: np.ndarray) -> NDArray[np.bool_]:
    found = np.isin(column, starts[~np.isnan(starts)])
    return found | np.isnan(column) if np.isnan(starts).any() else found
