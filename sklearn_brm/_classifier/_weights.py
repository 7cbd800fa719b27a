"""Weights of the rows: what the user gave times those of the classes, or none."""

import numbers

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.class_weight import compute_sample_weight


def row_weights(sample_weight, class_weight, X, y):
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


def keep_weighted(X, codes, weight, *, normalize):
    """Return the rows that weigh anything, `normalize`d to a mean weight of one; None stands for all ones."""
    kept = weight > 0
    X, codes, weight = X[kept], codes[kept], weight[kept]
    if normalize:
        weight = weight / weight.mean()
    return X, codes, None if (weight == 1).all() else weight


def _check_sample_weight(sample_weight, X):
    if isinstance(sample_weight, numbers.Real):
        sample_weight = np.full(len(X), sample_weight)
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weight.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weight.ndim}D array.")
    check_consistent_length(X, weight)
    if (weight < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`.")
    return weight
