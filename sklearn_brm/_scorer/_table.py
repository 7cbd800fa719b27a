"""The rows a user gives, as the numeric matrix under attack, and back."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from .._base import parameter_error

# What float32 may do to a value, as a share of the spread of its column, and still hold the rows.
_BLUR = 1e-5


class Table:
    """Rows of an array or a DataFrame; only numeric columns can be attacked.

    Parameters
    ----------
    owner : object or str
        Who asks, for messages.
    X : array-like or DataFrame of shape (n_samples, n_columns)

    Attributes
    ----------
    matrix : ndarray of shape (n_samples, n_features), float32 or float64
        The numeric columns. Never written to.
    columns : list or None
        Names of all columns of a DataFrame.
    numeric : ndarray of int of shape (n_features,)
        Positions of the numeric columns among all columns.
    """

    def __init__(self, owner, X):
        if sparse.issparse(X):
            rule = "a dense array or a DataFrame; use X.toarray()"
            raise parameter_error(owner, "X", rule, type(X).__name__, TypeError)
        self.frame = X if hasattr(X, "iloc") and hasattr(X, "columns") else None
        self.columns = None if self.frame is None else list(X.columns)
        if self.frame is None:
            self.matrix = check_array(X, dtype=[np.float64, np.float32], input_name="X")
            self.numeric = np.arange(self.matrix.shape[1])
        else:
            names = X.select_dtypes("number", exclude="timedelta").columns
            self.numeric = np.flatnonzero([column in set(names) for column in X.columns])
            if len(names) == 0:
                raise parameter_error(
                    owner, "X", "a DataFrame with numeric columns to attack", list(X.columns), ValueError
                )
            self.matrix = check_array(X[names], dtype=[np.float64, np.float32], input_name="X")

    def __len__(self):
        return len(self.matrix)

    @cached_property
    def other_precision(self):
        """The other float type in which the rows may be asked about; None where float32 cannot hold them."""
        if self.matrix.dtype == np.float32:
            return np.dtype(np.float64)
        with np.errstate(over="ignore"):
            blur = np.abs(self.matrix.astype(np.float32) - self.matrix).max(axis=0)
            spread = np.ptp(self.matrix, axis=0)
        holds = (blur <= _BLUR * spread) | ((spread == 0) & np.isfinite(blur))
        return np.dtype(np.float32) if holds.all() else None

    @property
    def roundoff(self):
        """Relative error of a rounding in the least precise of the types in which rows may be asked about."""
        return np.finfo(self.matrix.dtype if self.other_precision is None else np.float32).eps / 2

    @property
    def n_columns(self):
        """Number of columns, numeric or not."""
        return len(self.numeric) if self.columns is None else len(self.columns)

    @property
    def all_numeric(self):
        """Whether every column can be attacked."""
        return len(self.numeric) == self.n_columns

    def restore(self, matrix, rows):
        """Return `matrix`, changed copies of the rows `rows`, in the form the user gave."""
        if self.frame is None:
            return matrix
        if self.all_numeric:
            return type(self.frame)(matrix, columns=self.frame.columns, index=self.frame.index[rows])
        frame = self.frame.iloc[rows].copy()
        for position, values in zip(self.numeric, matrix.T):
            frame[self.columns[position]] = values
        return frame

    def aligned(self, owner, name, other):
        """Return the values of another table in the columns of this one, by name where both have names.

        The same names in another order are the same table; another set of names is an error.
        """
        other = Table(owner, other)
        if self.columns is None or other.columns is None:
            if other.n_columns != self.n_columns:
                rule = f"data with the {self.n_columns} features of X"
                raise parameter_error(owner, name, rule, f"{other.n_columns} features", ValueError)
            return other.matrix
        self.check_names(owner, name, other.columns, all_of=self.columns)
        names = [other.columns[i] for i in other.numeric]
        fixed = [column for column in self.numeric_names if column not in names]
        if fixed:
            raise parameter_error(
                owner, name, "numeric in the columns that are numeric in X", fixed, ValueError
            )
        return other.matrix[:, [names.index(column) for column in self.numeric_names]]

    @property
    def numeric_names(self):
        """Names of the columns that can be attacked."""
        return [self.columns[i] for i in self.numeric]

    def check_names(self, owner, name, names, *, all_of):
        """Refuse names that X does not have, names that occur twice, and a set without all of `all_of`."""
        strange = [column for column in names if column not in self.columns]
        missing = [column for column in all_of if column not in names]
        twice = [column for column in dict.fromkeys(names) if list(names).count(column) > 1]
        wrong = {"unknown": strange, "missing": missing, "given twice": twice}
        found = "; ".join(f"{what}: {columns}" for what, columns in wrong.items() if columns)
        if found:
            owner = owner if isinstance(owner, str) else type(owner).__name__
            raise ValueError(
                f"The {name!r} parameter of {owner} must name the columns of X, in any order. Got columns "
                f"{found} instead."
            )

    def by_name(self, owner, name, value):
        """Return a Series or dict by column name as an array over the features, all else as it is."""
        if not isinstance(value, Mapping) and not (hasattr(value, "index") and hasattr(value, "items")):
            return value
        value = dict(value.items())
        if self.columns is None:
            rule = "an array, since X has no column names"
            if list(value) == list(range(self.n_columns)):
                return np.array(list(value.values()))
            raise parameter_error(owner, name, rule, value, ValueError)
        self.check_names(owner, name, list(value), all_of=self.numeric_names)
        return np.array([value[column] for column in self.numeric_names])

    def features(self, owner, name, value):
        """Return the positions in `matrix` of the features named by mask, index or column name."""
        value = np.atleast_1d(np.asarray(value))
        if value.dtype == bool:
            if value.shape != (self.n_columns,):
                rule = f"a mask over the {self.n_columns} features"
                raise parameter_error(owner, name, rule, f"a mask of shape {value.shape}", ValueError)
            return np.flatnonzero(np.isin(self.numeric, np.flatnonzero(value)))
        if value.size == 0:
            return np.empty(0, dtype=int)
        if value.dtype.kind in "iu":
            positions = value
        else:
            positions = np.array([self._column(owner, name, column) for column in value.tolist()])
        if value.ndim != 1 or positions.min() < 0 or positions.max() >= self.n_columns:
            rule = f"indices of features in [0, {self.n_columns})"
            raise parameter_error(owner, name, rule, value.tolist(), ValueError)
        fixed = np.setdiff1d(positions, self.numeric)
        if len(fixed):
            rule = "numeric columns; the others are always held fixed"
            raise parameter_error(owner, name, rule, [self.columns[i] for i in fixed], ValueError)
        return np.flatnonzero(np.isin(self.numeric, positions))

    def _column(self, owner, name, column):
        if self.columns is None or column not in self.columns:
            known = "X has no column names" if self.columns is None else f"X has {self.columns}"
            raise parameter_error(owner, name, f"features of X; {known}", column, ValueError)
        return self.columns.index(column)
