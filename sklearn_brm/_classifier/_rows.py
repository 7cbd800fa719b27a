"""The rows of the training data: their weights, which are set aside, and their scale."""

import copy
import numbers
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.class_weight import compute_sample_weight
from torch import Tensor

# Rows, the codes of their classes and their weights, which are None where all count alike.
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray | None]
Tensors = tuple[Tensor, Tensor, Tensor | None]

# Features are taken to have one unit where, in terms of the median deviation, none is larger than the first
# and three quarters are not smaller than the second. Pixels of MNIST, many of them nearly always black, have
# 2 and 0.2.
_LARGEST, _LOWER_QUARTER = 10, 1e-3


def row_weights(sample_weight: Any, class_weight: Any, X: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Return the weight of every row, float64 and not all zero, or None where none is asked for.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, if all are zero, or if there is not one per row.
    """
    if sample_weight is None and class_weight is None:
        return None
    weight = compute_sample_weight(class_weight, y)
    if sample_weight is not None:
        weight = weight * _check_sample_weight(sample_weight, X)
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


def keep_weighted(X: np.ndarray, codes: np.ndarray, weight: np.ndarray, *, normalize: bool) -> Arrays:
    """Return the rows that weigh anything, `normalize`d to a mean weight of one; None stands for all ones."""
    kept = weight > 0
    X, codes, weight = X[kept], codes[kept], weight[kept]
    if normalize:
        weight = weight / weight.mean()
    return X, codes, None if (weight == 1).all() else weight


def _check_sample_weight(sample_weight: Any, X: np.ndarray) -> np.ndarray:
    if isinstance(sample_weight, numbers.Real):
        sample_weight = np.full(len(X), sample_weight)
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weight.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weight.ndim}D array.")
    check_consistent_length(X, weight)
    if (weight < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`.")
    return weight


def split_rows(rows: Arrays, validation_fraction: float, random_state: np.random.RandomState) -> list[Arrays]:
    """Return the rows to train on and those to set aside, each a tuple of X, codes and weights."""
    X, codes, weight = rows
    indices = train_test_split(
        np.arange(len(X)), test_size=validation_fraction, random_state=random_state, stratify=codes
    )
    if len(indices[1]) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    return [(X[i], codes[i], None if weight is None else weight[i]) for i in indices]


def update_scaler(name: str, scaler: Any, X: np.ndarray, weight: np.ndarray | None) -> Any:
    """Return a copy of the scaler after it saw the rows, a new one for None; `name` is for the error."""
    scaler = StandardScaler() if scaler is None else copy.deepcopy(scaler)
    with np.errstate(over="ignore", invalid="ignore"):
        scaler.partial_fit(X, sample_weight=weight)
    if not np.isfinite(scaler.var_).all():
        raise ValueError(
            f"The variance of a column of X overflows float64 in {name}: divide the column "
            "by its largest value first."
        )
    return scaler


def feature_scale(scaler: Any) -> np.ndarray:
    """Return the standard deviation of each feature or the median one, whichever is larger.

    Constant features do not count for the median. Without that floor, a weight on a feature that hardly ever
    varies would be free to grow, and the classifier would be sensitive to it. Features in different units
    have no median to speak of, and are divided by their own deviation.
    """
    # Weighted rows of a constant column may leave a variance of -1e-17.
    deviation = np.sqrt(np.maximum(scaler.var_, 0))
    varies = scaler.scale_ == deviation
    if not varies.any():
        return np.ones_like(deviation)
    quarter, floor = np.quantile(deviation[varies], [0.25, 0.5])
    if deviation.max() > _LARGEST * floor or quarter < _LOWER_QUARTER * floor:
        return np.where(varies, deviation, floor)
    return np.maximum(deviation, floor)
