"""Scalers and normalisers: each feature on its own, or each row by its norm."""

import torch
from sklearn import preprocessing

from ._registry import converts


@converts(preprocessing.StandardScaler)
def convert_standard_scaler(scaler, target):
    """Subtract the mean, divide by the standard deviation."""
    return _shift_and_divide(
        target.tensor(scaler.mean_) if scaler.with_mean else None,
        target.tensor(scaler.scale_) if scaler.with_std else None,
    )


@converts(preprocessing.RobustScaler)
def convert_robust_scaler(scaler, target):
    """Subtract the median, divide by the interquantile range."""
    return _shift_and_divide(
        target.tensor(scaler.center_) if scaler.with_centering else None,
        target.tensor(scaler.scale_) if scaler.with_scaling else None,
    )


@converts(preprocessing.MinMaxScaler)
def convert_min_max_scaler(scaler, target):
    """Stretch to the feature range; outside it the gradient is zero where `clip` is on."""
    scale, offset = target.tensor(scaler.scale_), target.tensor(scaler.min_)
    low, high = scaler.feature_range if scaler.clip else (None, None)
    if not scaler.clip:
        return lambda X: X * scale + offset
    return lambda X: (X * scale + offset).clamp(low, high)


@converts(preprocessing.MaxAbsScaler)
def convert_max_abs_scaler(scaler, target):
    """Divide by the largest absolute value."""
    scale = target.tensor(scaler.scale_)
    # The parameter is younger than the oldest supported scikit-learn.
    if getattr(scaler, "clip", False):
        return lambda X: (X / scale).clamp(-1, 1)
    return lambda X: X / scale


@converts(preprocessing.Normalizer)
def convert_normalizer(normalizer, target):
    """Divide each row by its norm; zero rows stay, with the gradient of the identity."""
    order = {"l1": 1, "l2": 2, "max": torch.inf}[normalizer.norm]

    def normalize(X):
        is_zero = (X == 0).all(dim=1, keepdim=True)
        # The norm has no gradient at zero, and would hand on NaN even where it is not used.
        norms = torch.linalg.vector_norm(X.masked_fill(is_zero, 1.0), ord=order, dim=1, keepdim=True)
        return X / norms.masked_fill(is_zero, 1.0)

    return normalize


def _shift_and_divide(shift, scale):
    def function(X):
        X = X if shift is None else X - shift
        return X if scale is None else X / scale

    return function
