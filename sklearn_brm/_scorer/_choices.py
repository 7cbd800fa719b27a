"""Which booleans, categories and missing values of a row may change, and to what."""

import numbers
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .._base import check_number, parameter_error
from ._rules import check_missing

# Up to so many rows that a row may become, all are tried; beyond, so many of each number of changes.
_MOST_TRIED, _BEAM = 64, 8


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
    max_changes : int
        How many changes a row may make.
    """

    feature: np.ndarray
    target: np.ndarray
    allowed: list
    max_changes: int

    def __len__(self):
        return len(self.feature)

    def those_that(self, accepts, row):
        """Return the changes of `row` that leave it a row which the estimator takes."""
        if not len(self):
            return self
        changed = np.tile(row, (len(self), 1))
        changed[np.arange(len(self)), self.feature] = self.target
        kept = np.flatnonzero(accepts(changed))
        allowed = [self.allowed[k] for k in kept]
        return replace(self, feature=self.feature[kept], target=self.target[kept], allowed=allowed)

    def bases(self, attacked, X, rows):
        """Yield changed copies of the rows of `X` from which to attack numbers, with their indices.

        Where all that a row may become is a few dozen rows, all are tried; otherwise a beam search keeps
        those in which the true class leads least, before any number is moved. The most promising come first.

        Yields
        ------
        base : ndarray of shape (n, n_features)
        index : ndarray of int of shape (n,)
            Which rows of `X` they are copies of; each occurs once.
        """
        (index, copies), found = (np.arange(len(X)), X), []
        width = _MOST_TRIED if len(self) ** self.max_changes <= _MOST_TRIED else _BEAM
        for _ in range(min(self.max_changes, len(np.unique(self.feature)))):
            index, copies = self._extended(X, index, copies)
            if len(index) == 0:
                break
            lead = attacked.lead(copies, rows[index])
            order, rank = _by_rank(index, lead)
            kept = order[rank < width]
            index, copies = index[kept], copies[kept]
            found.append((index, copies, lead[kept]))
        if not found:
            return
        index, copies, lead = (np.concatenate(parts) for parts in zip(*found))
        order, rank = _by_rank(index, lead)
        for r in range(rank.max() + 1):
            chosen = order[rank == r]
            yield copies[chosen], index[chosen]

    def _extended(self, X, index, copies):
        """Return all copies with one change more, of a column that is as it was; each once."""
        changed = (copies != X[index]) & ~(np.isnan(copies) & np.isnan(X[index]))
        rows, moves = np.nonzero(self.legal(copies) & ~changed[:, self.feature])
        extended = copies[rows].copy()
        extended[np.arange(len(rows)), self.feature[moves]] = self.target[moves]
        keyed = np.column_stack([index[rows], np.nan_to_num(extended, nan=np.inf)])
        _, first = np.unique(keyed, axis=0, return_index=True)
        return index[rows][first], extended[first]

    def legal(self, X):
        """Tell which changes each row of `X` may make, (n, n_moves)."""
        legal = np.zeros((len(X), len(self)), dtype=bool)
        for k, (j, target, start) in enumerate(zip(self.feature, self.target, self.allowed)):
            missing = np.isnan(X[:, j])
            legal[:, k] = ~missing & (X[:, j] != target) if start is None else _is_in(X[:, j], start)
        return legal


def resolve_choices(model, table, reference, rules, values):
    """Return the `Choices` that a `ThreatModel` allows in `table`, whose categories may take `values`."""
    check_number(model, "max_changes", model.max_changes, "[0, inf)", kind=numbers.Integral)
    transitions = _transitions(model, table, values)
    may_appear, may_be_filled = check_missing(model)
    typical = (table if reference is None else reference).typical() if may_be_filled else None
    moves = []
    for j in np.setdiff1d(np.arange(table.n_features), rules.fixed):
        if j in values:
            moves += [(j, value, transitions.get((j, value))) for value in values[j].tolist()]
        if may_appear and table.may_miss(j):
            moves.append((j, np.nan, None))
        if may_be_filled:
            moves += [] if np.isnan(typical[j]) else [(j, typical[j], np.array([np.nan]))]
    moves = moves if model.max_changes else []
    feature, target, allowed = zip(*moves) if moves else ((), (), ())
    return Choices(
        np.array(feature, dtype=int), np.array(target, dtype=float), list(allowed), int(model.max_changes)
    )


def category_values(model, table):
    """Return the numbers or codes that each column of categories may take, by its position."""
    coded = np.flatnonzero(np.isin(table.kinds, ["category", "boolean"]))
    found = {int(j): _held(table, j, np.arange(len(table.columns[j].values), dtype=float)) for j in coded}
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
        return found | {int(j): np.unique(table.present(j)) for j in named if table.is_number[j]}
    for column, allowed in wanted.items():
        j = table.position(model, "categorical", column)
        _check_list(model, "categorical", column, allowed, "a list of values for each column")
        if table.kinds[j] == "category":
            table.learn(j, allowed)
        found[j] = np.array([_code(model, "categorical", table, j, value) for value in allowed], dtype=float)
    return {j: _held(table, j, codes) for j, codes in found.items()}


def _held(table, j, codes):
    """Return the codes whose values the type of the column can hold; pandas' categories are a closed list."""
    categories = None if table.frame is None else getattr(table.frame.dtypes.iloc[j], "categories", None)
    if categories is None:
        return codes
    return codes[[table.columns[j].values[int(code)] in categories for code in codes]]


def _by_rank(groups, lead):
    """Return the order by falling lead within each group, and each entry's place in its group."""
    order = np.lexsort([-lead, groups])
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(groups)))
    return order, np.arange(len(groups)) - np.repeat(starts, lengths)


def _transitions(model, table, values):
    """Return, by column and target, the numbers or codes from which a category may become it."""
    given, found = model.transitions, {}
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
        starts = {float(value): [] for value in values[j]}
        for start, target in pairs:
            start, target = (_code(model, "transitions", table, j, value) for value in (start, target))
            starts.setdefault(target, []).append(start)
        found |= {(j, target): np.array(codes, dtype=float) for target, codes in starts.items()}
    return found


def _check_list(model, name, column, values, rule):
    """Refuse one value in place of several: a word would be taken for its letters."""
    if isinstance(values, str) or not np.iterable(values):
        raise parameter_error(model, name, rule, {column: values}, TypeError)


def _pairs(rule):
    """Return which value may become which, from a dict of lists or a list in order."""
    if isinstance(rule, Mapping):
        return [(start, target) for start, targets in rule.items() for target in targets]
    steps = list(zip(list(rule)[:-1], list(rule)[1:]))
    return steps + [(b, a) for a, b in steps]


def _code(model, name, table, j, value):
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


def _is_in(column, starts):
    found = np.isin(column, starts[~np.isnan(starts)])
    return found | np.isnan(column) if np.isnan(starts).any() else found
