"""Scalers and normalisers: each feature on its own, or each row by its norm."""

import dataclasses

import numpy as np
import torch
from sklearn import preprocessing

from ._interpolation import interpolate
from ._registry import compose, converts

# How near to the outer quantiles scikit-learn takes a row for one of them, under a normal distribution.
_QUANTILE_MARGIN = 1e-7


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


@converts(preprocessing.PowerTransformer)
def convert_power_transformer(transformer, target):
    """Box-Cox or Yeo-Johnson power of each feature, standardised where asked for."""
    power = {"box-cox": _box_cox, "yeo-johnson": _yeo_johnson}[transformer.method]
    lambdas = target.tensor(transformer.lambdas_)
    functions = [lambda X: power(X, lambdas)]
    if transformer.standardize:
        # The scaler inside has no public name.
        functions.append(convert_standard_scaler(transformer._scaler, target))
    return compose(functions)


@converts(preprocessing.QuantileTransformer)
def convert_quantile_transformer(transformer, target):
    """Piecewise linear in each feature, with the slope of the piece; flat beyond the data seen in fit."""
    # In float64 where the device has it: the tails of the normal distribution need its digits close to 1.
    precise = target.dtype if target.device.type == "mps" else torch.float64
    target = dataclasses.replace(target, dtype=precise)
    knots, levels = target.tensor(transformer.quantiles_.T), target.tensor(transformer.references_)
    low, high = knots[:, :1], knots[:, -1:]
    is_normal = transformer.output_distribution == "normal"
    margin = _QUANTILE_MARGIN if is_normal else 0.0

    def uniform(x):
        # The mean of both directions puts repeated quantiles in the middle of their levels.
        up = interpolate(x, knots, levels)
        down = -interpolate(-x, -knots.flip(1), -levels.flip(0))
        middle = torch.where(x + margin > high if is_normal else x == high, 1.0, (up + down) / 2)
        return torch.where(x - margin < low if is_normal else x == low, 0.0, middle)

    def transform(X):
        levels_of_rows = uniform(X.T.to(precise))
        if is_normal:
            edge = _QUANTILE_MARGIN - np.spacing(1)
            levels_of_rows = torch.special.ndtri(levels_of_rows.clamp(edge, 1 - edge))
        return levels_of_rows.T.to(X.dtype)

    return transform


@converts(preprocessing.Binarizer, preprocessing.KBinsDiscretizer)
def refuse_steps(transformer, target):
    """Decline: no attack finds its way along a flat function."""
    raise target.refuse(transformer, "its output is a step function, whose gradient is zero")


@converts(preprocessing.OneHotEncoder, preprocessing.OrdinalEncoder, preprocessing.TargetEncoder)
def refuse_categories(transformer, target):
    """Decline: categories have no direction."""
    raise target.refuse(transformer, "it encodes categories, between which there is no gradient")


def _yeo_johnson(X, lambdas):
    """Yeo and Johnson's power (2000, Biometrika 87, equation 2.1)."""
    # Each side is computed on inputs of its own, since a NaN from the other would poison the gradient.
    upper = _scaled_expm1(X.clamp(min=0).log1p(), lambdas)
    lower = -_scaled_expm1((-X.clamp(max=0)).log1p(), 2 - lambdas)
    return torch.where(X >= 0, upper, lower)


def _box_cox(X, lambdas):
    """Box and Cox's power; scikit-learn raises an error where X is not positive."""
    return _scaled_expm1(X.clamp_min(torch.finfo(X.dtype).tiny).log(), lambdas)


def _scaled_expm1(logarithm, power):
    """``(exp(power * logarithm) - 1) / power``, and its limit at power 0."""
    is_zero = power == 0
    return torch.where(is_zero, logarithm, torch.expm1(power * logarithm) / power.masked_fill(is_zero, 1.0))


def _shift_and_divide(shift, scale):
    def function(X):
        X = X if shift is None else X - shift
        return X if scale is None else X / scale

    return function
