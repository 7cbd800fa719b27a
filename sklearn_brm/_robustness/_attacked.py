"""The estimator under attack: asked in batches, turned into a torch function where it can be."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .._base import parameter_error
from .._bridge import CodedInputs, convert_coded, mismatch, one_column_per_class, split_points, tree_ensemble
from .._device import compute_dtype
from ..functional.attacks import noise, rounding_share
from ..functional.layers import Select, sequence
from ..functional.leaves import TreeEnsemble

if TYPE_CHECKING:
    from ._table import Table

# Share of rows whose label the estimator never saw, as of a rare class in cross-validation, that may be.
_FEW_STRANGE = 0.1
# Rows on which an estimator is tested for answers that change.
_N_ASKED_TWICE = 200


class AttackedEstimator:
    """A fitted classifier and the rows it is asked about.

    Parameters
    ----------
    owner : object or str
        Who attacks, for messages.
    estimator : classifier
    table : Table
    y : array-like of shape (n_samples,)
    free : ndarray of int
        Positions of the features that may take any value.
    values : dict
        By position, the codes or numbers that columns of categories can take.
    batch_size : int
        Largest number of rows in one call.
    """

    def __init__(
        self,
        owner: object,
        estimator: BaseEstimator,
        table: Table,
        y: Any,
        *,
        free: np.ndarray,
        values: dict[int, np.ndarray],
        batch_size: int,
    ) -> None:
        self.estimator, self.table, self.batch_size = estimator, table, batch_size
        self.free, self.values = free, values
        _check_classifier(owner, estimator)
        self.y = column_or_1d(np.asarray(y))
        if len(self.y) != len(table):
            raise ValueError(
                f"Found input variables with inconsistent numbers of samples: {[len(table), len(self.y)]}"
            )
        check_classification_targets(self.y)
        self.strange = _strange_labels(estimator, self.y)
        self.everyone = np.arange(len(table))
        self.predicted = self.predict(table.matrix, self.everyone)
        self.right = self.predicted == self.y
        self.classes = np.asarray(getattr(estimator, "classes_", np.unique(self.predicted)))
        self.target = self._encode(self.y)
        self.response, self._clean_scores = self._response()

    @cached_property
    def splits(self) -> Any:
        """Where trees split each feature, None where the estimator is more than trees."""
        # Trees compare and add up: their answers depend on no rounding that a batch could change.
        return split_points(self.estimator)

    @cached_property
    def trees(self) -> TreeEnsemble | None:
        """The estimator as a sum of trees that answers like it, None where it is none."""
        trees = tree_ensemble(self.estimator)
        if trees is None:
            return None
        answers = self.classes[trees.predict(self.table.matrix.astype(float))]
        trees = trees if self.table.matrix.dtype == np.float32 else trees.as_float64()
        return trees if (answers == self.predicted).all() else None

    def predict(self, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the labels that the estimator gives to changed copies `matrix` of the rows `rows`."""
        return self._ask(self.estimator.predict, matrix, rows)

    def wrong(self, matrix: np.ndarray, rows: np.ndarray) -> NDArray[np.bool_]:
        """Tell which changed copies are answered wrongly when asked in this form and order."""
        return self.predict(matrix, rows) != self.y[rows]

    def broken(self, matrix: np.ndarray, rows: np.ndarray) -> NDArray[np.bool_]:
        """Tell which changed copies are answered wrongly however they are asked: the only judge of success.

        Products depend on the batch, the processor's kernels and the precision of the input. So what is wrong
        is asked about again in other batches, in the other precision, and shaken by a few roundings.
        """
        broken = self.wrong(matrix, rows)
        for sign, dtype in ((1, self.table.other_precision), (-1, None)):
            if self.splits is not None and dtype is None:
                continue
            left = np.flatnonzero(broken)[::sign]
            with np.errstate(over="ignore"):
                again = self._shaken(matrix[left], rows[left], sign).astype(dtype or matrix.dtype)
            # What float32 cannot hold need not be wrong in it.
            held = ~np.isinf(again).any(axis=1)
            if held.any():
                broken[left[held]] = self.wrong(again[held], rows[left[held]])
        return broken

    def _shaken(self, matrix: np.ndarray, rows: np.ndarray, sign: int) -> np.ndarray:
        """Return copies with each free feature a few roundings up or down, by chance."""
        if self.splits is not None:
            return matrix
        up = noise.uniform(0, torch.from_numpy(rows), 0, len(self.free)).numpy() < 0.5
        shaken = matrix.astype(float)
        share = rounding_share(self.table.n_features, self.table.roundoff)
        shaken[:, self.free] *= 1 + sign * share * np.where(up, 1, -1)
        return shaken.astype(matrix.dtype)

    def accepts(self, matrix: np.ndarray) -> NDArray[np.bool_]:
        """Tell which copies of the first row the estimator takes; it may not know some categories."""
        zeros = np.zeros(len(matrix), dtype=int)
        try:
            self.predict(matrix, zeros)
            return np.ones(len(matrix), dtype=bool)
        except ValueError:
            if len(matrix) == 1:
                return np.array([False])
        return np.concatenate([self.accepts(row[None]) for row in matrix])

    def lead(self, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return by how much the best wrong class leads the true one; without scores, 1 or -1."""
        if self.response is None:
            return np.where(self.wrong(matrix, rows), 1.0, -1.0)
        scores = self._scores(matrix, rows)
        true = np.take_along_axis(scores, self.target[rows][:, None], axis=1)[:, 0]
        np.put_along_axis(scores, self.target[rows][:, None], -np.inf, axis=1)
        return scores.max(axis=1) - true

    def n_changed_minds(self) -> tuple[int, int]:
        """Return how many rows, of how many, the estimator answers differently when asked a second time."""
        rows = self.everyone[:_N_ASKED_TWICE]
        return int((self.predict(self.table.matrix[rows], rows) != self.predicted[rows]).sum()), len(rows)

    def differentiable(self, *, device: torch.device, dtype: torch.dtype) -> tuple[torch.nn.Module, int]:
        """Return the estimator as a torch module, and for how many rows it computes something else."""
        function = convert_coded(self.estimator, self._inputs(), device=device, dtype=dtype)
        order = self.order
        if not np.array_equal(order, np.arange(self.table.n_features)):
            function = sequence(Select(torch.as_tensor(order, device=device)), function)
        n_wrong = 0
        for rows in self._batches(self.everyone):
            matrix = self.table.matrix[rows]
            X = self.table.restore(matrix, rows)
            known = {"predict": self.predicted[rows]}
            if self.response is not None:
                known[self.response] = self._clean_scores[rows]
            wrong = mismatch(
                self.estimator, function, X, matrix=matrix, known=known, device=device, dtype=dtype
            )
            n_wrong += int(wrong.sum())
        return function, n_wrong

    def _inputs(self) -> CodedInputs | None:
        """Return which columns are codes, or None where all are numbers that only numbers are made of."""
        if not self.values:
            return None
        words = [j for j, kind in enumerate(self.table.kinds) if kind in ("category", "other")]

        def restore(matrix: np.ndarray) -> Any:
            return self.table.restore(
                matrix.astype(self.table.matrix.dtype), np.zeros(len(matrix), dtype=int)
            )

        row = self.table.matrix[0].astype(float)
        return CodedInputs(self.values, frozenset(words), row, restore, self.order)

    @cached_property
    def order(self) -> np.ndarray:
        """Where the columns that the estimator was fitted on stand in the table."""
        names, table = getattr(self.estimator, "feature_names_in_", None), self.table
        if names is None or table.names is None or not set(names) <= set(table.names):
            return np.arange(table.n_features)
        return np.array([table.names.index(name) for name in names])

    def _ask(self, method: Callable[..., Any], matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        answers = [
            method(self.table.restore(matrix[batch], rows[batch]))
            for batch in self._batches(np.arange(len(rows)))
        ]
        return np.concatenate([np.asarray(answer) for answer in answers])

    def _batches(self, rows: np.ndarray) -> list[np.ndarray]:
        return [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]

    def _encode(self, labels: np.ndarray) -> np.ndarray:
        positions = {label: i for i, label in enumerate(self.classes.tolist())}
        return np.array([positions.get(label, 0) for label in labels.tolist()], dtype=np.int64)

    def _response(self) -> Any:
        """Name the method with one score per class, and return what it says of the clean rows."""
        for name in ("decision_function", "predict_proba"):
            method = getattr(self.estimator, name, None)
            if method is None or len(self.classes) < 2:
                continue
            scores = self._ask(method, self.table.matrix, self.everyone)
            if one_column_per_class(scores).shape == (len(scores), len(self.classes)):
                return name, scores
        return None, None

    def _scores(self, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        scores = self._ask(getattr(self.estimator, self.response), matrix, rows)
        return one_column_per_class(scores.astype(float))


def _check_classifier(owner: object, estimator: BaseEstimator) -> None:
    rule = "a fitted classifier with a predict method"
    if isinstance(estimator, type) or not callable(getattr(estimator, "predict", None)):
        raise parameter_error(owner, "estimator", rule, estimator, TypeError)
    if hasattr(estimator, "fit"):
        check_is_fitted(estimator)
    if hasattr(estimator, "__sklearn_tags__") and get_tags(estimator).estimator_type not in (
        None,
        "classifier",
    ):
        raise parameter_error(owner, "estimator", rule, estimator, ValueError)


def _strange_labels(estimator: BaseEstimator, y: np.ndarray) -> np.ndarray:
    """Return the labels in `y` that the estimator never saw, which must be of few rows."""
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return np.array([])
    # Raises, as scikit-learn does, where numbers meet strings.
    unique_labels(classes, y)
    strange = np.setdiff1d(y, classes)
    n_strange = int(np.isin(y, strange).sum())
    if n_strange > _FEW_STRANGE * len(y):
        raise ValueError(
            f"y contains labels that the estimator never saw, in {n_strange} of {len(y)} rows: "
            f"{strange.tolist()}. Its classes are {np.asarray(classes).tolist()}."
        )
    return strange


def model_dtypes(matrix: np.ndarray, device: torch.device) -> list[torch.dtype]:
    """Return the precisions to try for gradients: that of the data, then float64 if there is one."""
    return list(dict.fromkeys(compute_dtype(dtype, device) for dtype in (matrix.dtype, np.float64)))
