"""The rows a user gives, as the matrix of numbers under attack, and back."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_array

from .._base import as_numbers, owner_name, parameter_error
from ._polars import is_polars, to_pandas, to_polars

# What float32 may do to a value, as a share of the range of its column, and still hold the rows.
_BLUR = 1e-5


@dataclass(frozen=True)
class Column:
    """What a column of a table is.

    Attributes
    ----------
    kind : {"number", "integer", "boolean", "category", "other"}
        ``"other"`` is what no attack changes, such as dates.
    values : ndarray or None
        What its numbers in the matrix stand for: the values that were seen of a column of words, booleans or
        dates, in the order of their codes. None where they are the values themselves.
    """

    kind: str
    values: np.ndarray | None = None


class Table:
    """Rows of an array or a DataFrame as a matrix of numbers, in which words and booleans are codes.

    Parameters
    ----------
    owner : object or str
        Who asks, for messages.
    X : array-like or DataFrame of shape (n_samples, n_features)
    known : Table, default=None
        Another table, such as the training rows, whose values get the first codes in columns of the same
        place or name.
    name : str, default="X"
        What the owner calls it.

    Attributes
    ----------
    matrix : ndarray of shape (n_samples, n_features), float32 or float64
        Numbers as they are, values of other columns by their code; NaN is a missing value. Never written to.
    columns : list of Column
    names : list or None
        Names of the columns of a DataFrame.
    """

    def __init__(self, owner: object, X: Any, *, known: Any = None, name: str = "X") -> None:
        if sparse.issparse(X):
            rule = "a dense array or a DataFrame; use X.toarray()"
            raise parameter_error(owner, name, rule, type(X).__name__, TypeError)
        self._polars = X if is_polars(X) else None
        X = X if self._polars is None else to_pandas(X)
        self.frame: Any = X if _is_frame(X) else None
        self.names: Any = None if self.frame is None else list(X.columns)
        self._array: Any = None
        if self.frame is None:
            self._read_array(X, known, name)
        else:
            self._read_frame(X, known, name)

    def _read_array(self, X: Any, known: Any, name: str) -> None:
        if not isinstance(getattr(X, "dtype", None), np.dtype):
            X = np.asarray(X)
        if np.ndim(X) == 2 and X.dtype.kind in "OUS":
            self._array = np.asarray(X, dtype=object)
            self._read_columns([self._array[:, j] for j in range(X.shape[1])], known, name)
            return
        self.matrix = check_array(
            X, dtype=[np.float64, np.float32], input_name=name, ensure_all_finite="allow-nan"
        )
        kind = {"b": "boolean", "i": "integer", "u": "integer"}.get(X.dtype.kind, "number")
        if kind != "number":
            self._array = np.asarray(X)
        values = np.array([False, True]) if kind == "boolean" else None
        self.columns = [Column(kind, values) for _ in range(self.matrix.shape[1])]

    def _read_frame(self, X: Any, known: Any, name: str) -> None:
        if len(X.columns) == 0 or len(X) == 0:
            check_array(X, input_name=name)
        self._read_columns([X.iloc[:, j] for j in range(X.shape[1])], known, name)

    def _read_columns(self, columns: list[Any], known: Any, name: str) -> None:
        before = [None] * len(columns) if known is None else known.values_for(self)
        read = [_read(column, values) for column, values in zip(columns, before)]
        self.columns = [column for column, _ in read]
        single = all(numbers.dtype == np.float32 for _, numbers in read)
        matrix = np.column_stack([numbers for _, numbers in read])
        self.matrix = check_array(
            matrix.astype(np.float32 if single else np.float64),
            input_name=name,
            ensure_all_finite="allow-nan",
        )

    def values_for(self, other: "Table") -> list[np.ndarray | None]:
        """Return the values of coded columns for those columns of `other` that are in this table."""
        by_name = self.names is not None and other.names is not None
        keys = other.names if by_name else range(len(self.columns))
        mine = dict(zip(self.names if by_name else range(len(self.columns)), self.columns))
        return [mine[key].values if key in mine else None for key in keys]

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def takes_expressions(self) -> bool:
        """Whether the user's rows answer expressions of column names."""
        return self._polars is None and hasattr(self.frame, "eval")

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.matrix.shape[1]

    @cached_property
    def kinds(self) -> np.ndarray:
        """The kind of each column, as an array."""
        return np.array([column.kind for column in self.columns], dtype=object)

    @cached_property
    def is_number(self) -> NDArray[np.bool_]:
        """Which columns hold numbers, that can be moved a little."""
        return np.isin(self.kinds, ["number", "integer"])

    @cached_property
    def spread(self) -> np.ndarray:
        """The range of each column of numbers, missing values aside; 0 for others."""
        return self._over_numbers(np.max) - self._over_numbers(np.min)

    def deviation(self) -> np.ndarray:
        """Return the standard deviation of each column of numbers; 0 for constant ones."""
        deviation = self._over_numbers(lambda values: values.std(dtype=float))
        # Rounding gives a constant column a tiny spread.
        return np.where(self.spread == 0, 0, deviation)

    def quartile_range(self) -> np.ndarray:
        """Return the distance between the quartiles of each column of numbers."""
        return self._over_numbers(lambda values: np.subtract(*np.quantile(values, [0.75, 0.25])))

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and the largest value of each column of numbers; infinite for others."""
        low, high = self._over_numbers(np.min), self._over_numbers(np.max)
        empty = ~self.is_number | np.isnan(self.matrix).all(axis=0)
        return np.where(empty, -np.inf, low), np.where(empty, np.inf, high)

    def _over_numbers(self, function: Any) -> np.ndarray:
        columns = enumerate(self.is_number)
        found = [function(self.present(j)) if n and len(self.present(j)) else 0 for j, n in columns]
        return np.asarray(found, dtype=float)

    def present(self, j: Any) -> np.ndarray:
        """Return the numbers or codes of a column that are not missing."""
        column = self.matrix[:, j]
        return column[~np.isnan(column)]

    def may_miss(self, j: int) -> bool:
        """Tell whether the type of a column can hold missing values; NumPy's integers and booleans cannot."""
        dtype = self.frame.dtypes.iloc[j] if self.frame is not None else getattr(self._array, "dtype", None)
        return not (isinstance(dtype, np.dtype) and dtype.kind in "biu")

    def typical(self) -> np.ndarray:
        """Return a typical value of each column: the middle one of numbers, else the most frequent one."""
        return np.array([_typical(self.present(j), number) for j, number in enumerate(self.is_number)])

    def summary(self, groups: Sequence[Any] = (), coded: Collection[Any] = ()) -> Any:
        """Return rows in the form of the table: smallest, typical and largest value of each column.

        Columns of one of the `groups` come from the same rows: one without any 1, if there is such, and one
        with. Behind these three stand typical rows, but for the other values of the columns `coded`.
        """
        low, high = self.limits()
        wanted = np.where(self.is_number, [low, self.typical(), high], self.typical())
        rows = [[_first(self.matrix[:, j], value) for value in wanted[:, j]] for j in range(self.n_features)]
        for group in groups:
            empty = (self.matrix[:, group] == 0).all(axis=1)
            for j in group:
                rows[j] = [int(empty.argmax()), int(empty.argmin()), int(empty.argmin())]
        more = {j: _firsts(self.matrix[:, j], but=wanted[:, j]) for j in coded}
        n_rows = 3 + max(map(len, more.values()), default=0)
        rows = [three + more.get(j, []) for j, three in enumerate(rows)]
        rows = [some + [some[1]] * (n_rows - len(some)) for some in rows]
        if self.frame is None:
            X = self.matrix if self._array is None else self._array
            return np.column_stack([X[row, j] for j, row in enumerate(rows)])
        parts = [self.frame.iloc[row, j].reset_index(drop=True) for j, row in enumerate(rows)]
        summary = type(self.frame)(dict(enumerate(parts)))
        summary.columns = self.frame.columns
        return summary

    @cached_property
    def other_precision(self) -> Any:
        """The other float type in which the rows may be asked about; None where float32 cannot hold them."""
        if self.matrix.dtype == np.float32:
            return np.dtype(np.float64)
        if not (self.kinds == "number").any():
            return None
        matrix = np.nan_to_num(self.matrix)
        with np.errstate(over="ignore"):
            blur = np.abs(matrix.astype(np.float32) - matrix).max(axis=0)
        holds = (blur <= _BLUR * self.spread) | ((self.spread == 0) & np.isfinite(blur)) | ~self.is_number
        return np.dtype(np.float32) if holds.all() else None

    @property
    def roundoff(self) -> float:
        """Relative error of a rounding in the least precise of the types in which rows may be asked about."""
        return np.finfo(self.matrix.dtype if self.other_precision is None else np.float32).eps / 2

    def restore(self, matrix: np.ndarray, rows: np.ndarray) -> Any:
        """Return `matrix`, changed copies of the rows `rows`, in the form and the types the user gave.

        Numbers of floating columns are given in the type of `matrix`, whole numbers in columns of whole
        numbers in the type of the column.
        """
        if self._polars is not None:
            return to_polars(self._restore_frame(matrix, rows), self._polars, rows)
        if self.frame is not None:
            return self._restore_frame(matrix, rows)
        if self._array is None:
            return matrix
        if self._array.dtype == object:
            decoded = self._array[rows].copy()
            for j, column in enumerate(self.columns):
                changed = _differs(matrix[:, j], self.matrix[rows, j])
                decoded[changed, j] = _decode(matrix[changed, j], column.values)
            return decoded
        return _as_integers(matrix, self._array.dtype)

    def _restore_frame(self, matrix: Any, rows: Any) -> Any:
        index = self.frame.index[rows]
        if all(dtype.kind == "f" and isinstance(dtype, np.dtype) for dtype in self.frame.dtypes):
            return type(self.frame)(matrix, columns=self.frame.columns, index=index)
        parts = {}
        for j, column in enumerate(self.columns):
            clean, values = self.frame.iloc[:, j].iloc[rows], matrix[:, j]
            parts[j] = _restore_column(clean, values, _differs(values, self.matrix[rows, j]), column)
        frame = type(self.frame)(parts, index=index)
        frame.columns = self.frame.columns
        return frame

    def aligned(self, owner: object, name: str, other: Any) -> "Table":
        """Return another table with the columns of this one, by name where both have names.

        The same names in another order are the same table; another set of names is an error.
        """
        other = to_pandas(other) if is_polars(other) else other
        if np.ndim(other) != 2:
            rule = f"data with the {self.n_features} features of X"
            raise parameter_error(owner, name, rule, f"data of {np.ndim(other)} dimensions", ValueError)
        names = list(other.columns) if _is_frame(other) else None
        if self.names is not None and names is not None:
            self.check_names(owner, name, names, all_of=self.names)
            other = other[self.names]
        elif np.shape(other)[1] != self.n_features:
            rule = f"data with the {self.n_features} features of X"
            raise parameter_error(owner, name, rule, f"{np.shape(other)[1]} features", ValueError)
        table = Table(owner, other, known=self, name=name)
        strange = [self.keys()[j] for j in np.flatnonzero(table.is_number != self.is_number)]
        if strange:
            rule = "numbers where X has numbers, and words or booleans where X has these"
            raise parameter_error(owner, name, rule, strange, ValueError)
        for j, column in enumerate(table.columns):
            self.learn(j, column.values)
        return table

    def weights(self, owner: object, sample_weight: Any) -> Any:
        """Return the weights of the rows as an array, or None."""
        if sample_weight is None:
            return None
        weight = as_numbers(owner, "sample_weight", sample_weight, f"{len(self)} numbers")
        if weight.shape != (len(self),) or not np.isfinite(weight).all() or (weight < 0).any():
            raise ValueError(
                f"sample_weight must be {len(self)} finite numbers, none negative. "
                f"Got an array of shape {weight.shape}."
            )
        if weight.sum() == 0:
            raise ValueError("sample_weight must not be all zero.")
        return weight

    def learn(self, j: int, values: Any) -> None:
        """Let values of a coded column that were not seen here be known behind those that were."""
        column = self.columns[j]
        if values is not None and column.values is not None:
            values = _extended(column.values, np.asarray(values, dtype=object))
            self.columns[j] = replace(column, values=values)

    def check_names(self, owner: object, name: str, names: list[int], *, all_of: Sequence[Any] = ()) -> None:
        """Refuse names that X does not have, names that occur twice, and a set without all of `all_of`."""
        strange = [column for column in names if column not in self.keys()]
        missing = [column for column in all_of if column not in names]
        twice = [column for column in dict.fromkeys(names) if list(names).count(column) > 1]
        wrong = {"unknown": strange, "missing": missing, "given twice": twice}
        found = "; ".join(f"{what}: {columns}" for what, columns in wrong.items() if columns)
        if found:
            raise ValueError(
                f"The {name!r} parameter of {owner_name(owner)} must name the columns of X, in any order. "
                f"Got columns {found} instead."
            )

    def by_name(self, owner: object, name: str, value: Any) -> float | np.ndarray:
        """Return a Series or dict by column as an array over the features, all else as it is.

        Every column of numbers must have its value.
        """
        if not isinstance(value, Mapping) and not (hasattr(value, "index") and hasattr(value, "items")):
            return value
        value, keys = dict(value.items()), self.keys()
        if self.names is None and not set(value) <= set(keys):
            raise parameter_error(owner, name, "an array, since X has no column names", value, ValueError)
        needed = [key for key, is_number in zip(keys, self.is_number) if is_number]
        self.check_names(owner, name, list(value), all_of=needed)
        # pandas counts booleans among the numbers whose standard deviation it takes.
        may_have = [key for key, kind in zip(keys, self.kinds) if kind in ("number", "integer", "boolean")]
        words = [key for key in value if key not in may_have and value[key] != 0]
        if words:
            rule = "about columns of numbers alone; leave the others out"
            raise parameter_error(owner, name, rule, words, ValueError)
        return np.array([value.get(key, 0) for key in keys])

    def keys(self) -> list[Any]:
        """Return how the columns are named in dicts: by name, or by position where they have none."""
        return list(range(self.n_features)) if self.names is None else self.names

    def label(self, feature: Any) -> int | str:
        """Return how a column is called in messages."""
        return int(feature) if self.names is None else repr(self.names[feature])

    def features(self, owner: object, name: str, value: Any) -> np.ndarray:
        """Return the positions of the features named by mask, index, column name or a column selector."""
        if callable(value) and self.frame is not None:
            value = value(self.frame)
        value = np.atleast_1d(np.asarray(value))
        if value.dtype == bool:
            if value.shape != (self.n_features,):
                rule = f"a mask over the {self.n_features} features"
                raise parameter_error(owner, name, rule, f"a mask of shape {value.shape}", ValueError)
            return np.flatnonzero(value)
        if value.size == 0:
            return np.empty(0, dtype=int)
        positions = value
        if value.dtype.kind not in "iu" or (
            self.names is not None and set(value.tolist()) <= set(self.names)
        ):
            positions = np.array([self.position(owner, name, column) for column in value.tolist()])
        if value.ndim != 1 or positions.min() < 0 or positions.max() >= self.n_features:
            rule = f"indices of features in [0, {self.n_features})"
            raise parameter_error(owner, name, rule, value.tolist(), ValueError)
        return positions

    def position(self, owner: object, name: str, column: Any) -> int:
        """Return the position of a column by its name, or by its index."""
        if self.names is not None and column in self.names:
            if self.names.count(column) > 1:
                rule = "columns whose names are unique in X; rename one, or give positions"
                raise parameter_error(owner, name, rule, column, ValueError)
            return self.names.index(column)
        if isinstance(column, (int, np.integer)) and not isinstance(column, bool):
            if 0 <= column < self.n_features:
                return int(column)
            rule = f"indices of features in [0, {self.n_features})"
            raise parameter_error(owner, name, rule, column, ValueError)
        known = "X has no column names" if self.names is None else f"X has {self.names}"
        raise parameter_error(owner, name, f"features of X; {known}", column, ValueError)


def _is_frame(X: Any) -> bool:
    return hasattr(X, "iloc") and hasattr(X, "columns")


def _read(column: Any, known: Any) -> tuple[Column, np.ndarray]:
    """Return what a column is, and its numbers or codes."""
    kind = getattr(column.dtype, "kind", "O")
    if kind in "iuf":
        # Types that know missing values of their own become NaN.
        whole = "integer" if kind in "iu" else "number"
        if isinstance(column.dtype, np.dtype):
            return Column(whole), np.asarray(column)
        return Column(whole), column.to_numpy(dtype=float, na_value=np.nan)
    objects = np.asarray(column, dtype=object)
    missing = np.array([_is_missing(value) for value in objects], dtype=bool)
    present = objects[~missing]
    is_closed = hasattr(column.dtype, "categories")
    if kind == "O" and known is None and not is_closed and len(present) and _all_numbers(present):
        numbers = np.full(len(objects), np.nan)
        numbers[~missing] = present.astype(float)
        are_whole = all(isinstance(value, (int, np.integer)) for value in present)
        return Column("integer" if are_whole else "number"), numbers
    is_boolean = kind == "b" or (
        len(present) and all(isinstance(value, (bool, np.bool_)) for value in present)
    )
    values = np.array([False, True], dtype=object) if is_boolean else known
    values = _extended(values, present)
    codes = np.full(len(objects), np.nan)
    place = {value: code for code, value in enumerate(values.tolist())}
    codes[~missing] = [place[value] for value in present.tolist()]
    coded = "boolean" if is_boolean else "other" if kind in "mM" else "category"
    return Column(coded, values), codes


def _is_missing(value: Any) -> bool:
    # pandas' own missing values answer no comparison.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and value != value


def _all_numbers(values: np.ndarray) -> bool:
    return all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in values)


def _extended(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return known values, and behind them those that are new, in the order of their appearance."""
    order = dict.fromkeys([] if values is None else values.tolist())
    order.update(dict.fromkeys(present.tolist()))
    extended = np.empty(len(order), dtype=object)
    extended[:] = list(order)
    return extended


def _typical(values: np.ndarray, is_number: bool) -> Any:
    if len(values) == 0:
        return np.nan
    if is_number:
        return np.quantile(values, 0.5, method="inverted_cdf")
    found, counts = np.unique(values, return_counts=True)
    return found[counts.argmax()]


def _first(column: Any, value: Any) -> int:
    """Return the first row that has a value, the first of all where none has."""
    return int((column == value).argmax())


def _firsts(column: Any, *, but: np.ndarray) -> list[int]:
    """Return the first row of each value of a column that is none of those."""
    values, first = np.unique(column, return_index=True)
    return first[~np.isnan(values) & ~np.isin(values, but)].tolist()


def _differs(values: np.ndarray, clean: np.ndarray) -> NDArray[np.bool_]:
    return (values != clean) & ~(np.isnan(values) & np.isnan(clean))


def _decode(codes: np.ndarray, values: np.ndarray | None) -> np.ndarray:
    """Return the values that codes stand for, None for missing ones."""
    if values is None:
        return codes
    decoded = np.full(len(codes), None, dtype=object)
    present = ~np.isnan(codes)
    decoded[present] = values[codes[present].astype(int)]
    return decoded


def _restore_column(clean: Any, values: np.ndarray, changed: NDArray[np.bool_], column: Any) -> Any:
    if column.kind == "number" or (column.kind == "integer" and isinstance(clean.dtype, np.dtype)):
        numbers = values if column.kind == "number" else _as_integers(values, clean.dtype)
        if clean.dtype.kind in "iuf":
            return type(clean)(numbers, index=clean.index)
    if not changed.any():
        return clean
    decoded = np.asarray(clean, dtype=object).copy()
    decoded[changed] = _decode(values[changed], column.values)
    return type(clean)(decoded, index=clean.index, dtype=clean.dtype)


def _as_integers(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Return whole numbers in the type of their column, others as they are."""
    if dtype.kind not in "iub" or not np.isfinite(values).all() or (values != np.round(values)).any():
        return values
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return values.astype(dtype) if limits[0] <= values.min() and values.max() <= limits[1] else values
