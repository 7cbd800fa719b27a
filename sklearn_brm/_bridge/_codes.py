"""Columns of the input that are codes of categories: what a step makes of them is looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from torch import Tensor

from ..functional.layers import Layer

if TYPE_CHECKING:
    from ._registry import Target


class Lookup(Layer):
    """What a transformer makes of columns of codes, each on its own, looked up in tables.

    Parameters
    ----------
    base : Tensor of shape (n_outputs,)
        Its output for one row.
    codes : list of Tensors of shape (n_codes,)
        The rising codes of each column.
    changes : list of Tensors of shape (n_codes + 1, n_outputs)
        What each code adds to `base`, and after them what a missing value adds.
    """

    # Codes do not move inside a box.
    constant_in_a_box = True

    def __init__(self, base: Tensor, codes: list[Tensor], changes: tuple[Any, ...]) -> None:
        super().__init__(base=base, codes=codes, changes=changes)

    def forward(self, X: Tensor) -> Tensor:
        """Return the outputs, of shape (n, n_outputs)."""
        found = self.base.expand(len(X), -1)
        for k, (codes, changes) in enumerate(zip(self.codes, self.changes)):
            place = torch.searchsorted(codes, X[:, k].detach().contiguous())
            found = found + changes[place.masked_fill(X[:, k].isnan(), len(codes))]
        return found

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs twice."""
        output = self(lower)
        return output, output

    def extra_repr(self) -> Any:
        """Return the numbers of columns."""
        return f"{len(self.codes)} -> {len(self.base)}"


@dataclass(frozen=True)
class CodedInputs:
    """Which columns of the input are codes, and rows in the form that the estimator takes.

    Attributes
    ----------
    values : mapping from int to ndarray
        By position, the rising codes or numbers that a column can hold. Missing values are NaN.
    words : frozenset of int
        Positions whose codes are not the values themselves.
    row : ndarray of shape (n_features,)
        Some row, in codes.
    restore : callable
        ``restore(matrix) -> rows``, shape (n, n_features), in the form that the estimator takes.
    positions : ndarray of int
        The columns of the input at hand among those of `row`.
    """

    values: Mapping[Any, Any]
    words: frozenset[Any]
    row: np.ndarray
    restore: Callable[..., Any]
    positions: np.ndarray

    def select(self, columns: np.ndarray) -> CodedInputs:
        """Return the inputs of a step that gets some of the columns."""
        return CodedInputs(self.values, self.words, self.row, self.restore, self.positions[columns])

    @property
    def all_coded(self) -> bool:
        """Whether every column is coded."""
        return len(self.positions) > 0 and all(int(j) in self.values for j in self.positions)

    @property
    def has_words(self) -> bool:
        """Whether some column is not a number."""
        return any(int(j) in self.words for j in self.positions)

    def look_up(self, transformer: BaseEstimator, target: Target) -> torch.nn.Module:
        """Return the layer from codes to what a transformer makes of each column on its own.

        A transformer that mixes columns gives something else; the whole is verified before it is used.
        """
        values = [self.values[int(j)] for j in self.positions]
        base = np.array([column[0] if len(column) else np.nan for column in values])
        ways = [(k, value) for k, column in enumerate(values) for value in [*column, np.nan]]
        rows = np.tile(base, (len(ways) + 1, 1))
        for i, (k, value) in enumerate(ways):
            rows[i + 1, k] = value
        output = target.tensor(self._outputs(transformer, rows))
        changes = (output[1:] - output[0]).nan_to_num()
        tables = changes.split([len(column) + 1 for column in values])
        return Lookup(output[0], [target.tensor(column) for column in values], tables)

    def _outputs(self, transformer: BaseEstimator, rows: np.ndarray) -> np.ndarray:
        """Return the dense output for each of the rows; NaN for those that the transformer refuses."""
        try:
            return self._transform(transformer, rows)
        except ValueError:
            first = self._transform(transformer, rows[:1])
        outputs = np.full((len(rows), first.shape[1]), np.nan)
        for i, row in enumerate(rows):
            try:
                outputs[i] = self._transform(transformer, row[None])
            except ValueError:
                continue
        return outputs

    def _transform(self, transformer: BaseEstimator, rows: np.ndarray) -> np.ndarray:
        matrix = np.tile(self.row, (len(rows), 1))
        matrix[:, self.positions] = rows
        restored = self.restore(matrix)
        chosen = (
            restored.iloc[:, self.positions] if hasattr(restored, "iloc") else restored[:, self.positions]
        )
        output = transformer.transform(chosen)
        return np.asarray(output.toarray() if sparse.issparse(output) else output, dtype=float)
