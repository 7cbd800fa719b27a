"""Scalers and normalisers: each feature on its own, or each row by its norm."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn import preprocessing
from sklearn.base import BaseEstimator
from torch import Tensor

from ..._device import compute_dtype
from ...functional.interpolation import interpolate
from ...functional.layers import Clamp, Monotone, Rescale, RowNorm, Stretch, sequence
from .._registry import converts

if TYPE_CHECKING:
    from .._registry import Target

# How near to the outer quantiles scikit-learn takes a row for one of them, under a normal distribution.
_QUANTILE_MARGIN = 1e-7


class YeoJohnson(Monotone):
    """Yeo and Johnson's power of each column (2000, Biometrika 87, equation 2.1), by the buffer `powers`."""

    def forward(self, X: Tensor) -> Tensor:
        """Return the powers."""
        # Each side is computed on inputs of its own, since a NaN from the other would poison the gradient.
        upper = _scaled_expm1(X.clamp(min=0).log1p(), self.powers)
        lower = -_scaled_expm1((-X.clamp(max=0)).log1p(), 2 - self.powers)
        return torch.where(X >= 0, upper, lower)


class BoxCox(Monotone):
    """Box and Cox's power of each column, by the buffer `powers`.

    scikit-learn raises an error where X is not positive.
    """

    def forward(self, X: Tensor) -> Tensor:
        """Return the powers."""
        return _scaled_expm1(X.clamp_min(torch.finfo(X.dtype).tiny).log(), self.powers)


class Quantiles(Monotone):
    """The level of each value among the quantiles of its column, or what has this level in a normal one.

    Parameters
    ----------
    knots : Tensor of shape (n_columns, n_quantiles)
    levels : Tensor of shape (n_quantiles,)
    is_normal : bool
    """

    def __init__(self, knots: Tensor, levels: Tensor, *, is_normal: bool) -> None:
        super().__init__(knots=knots, levels=levels)
        self.is_normal = is_normal

    def forward(self, X: Tensor) -> Tensor:
        """Return the levels."""
        levels = self._uniform(X.T.to(self.knots.dtype))
        if self.is_normal:
            edge = _QUANTILE_MARGIN - np.spacing(1)
            levels = torch.special.ndtri(levels.clamp(edge, 1 - edge))
        return levels.T.to(X.dtype)

    def _uniform(self, x: Tensor) -> Tensor:
        low, high = self.knots[:, :1], self.knots[:, -1:]
        # The mean of both directions puts repeated quantiles in the middle of their levels.
        up = interpolate(x, self.knots, self.levels)
        down = -interpolate(-x, -self.knots.flip(1), -self.levels.flip(0))
        margin = _QUANTILE_MARGIN
        middle = torch.where(x + margin > high if self.is_normal else x == high, 1.0, (up + down) / 2)
        return torch.where(x - margin < low if self.is_normal else x == low, 0.0, middle)


@converts(preprocessing.StandardScaler)
def convert_standard_scaler(scaler: BaseEstimator, target: Target) -> torch.nn.Module:
    """Subtract the mean, divide by the standard deviation."""
    return Rescale(
        target.tensor(scaler.mean_) if scaler.with_mean else None,
        target.tensor(scaler.scale_) if scaler.with_std else None,
    )


@converts(preprocessing.RobustScaler)
def convert_robust_scaler(scaler: BaseEstimator, target: Target) -> torch.nn.Module:
    """Subtract the median, divide by the interquantile range."""
    return Rescale(
        target.tensor(scaler.center_) if scaler.with_centering else None,
        target.tensor(scaler.scale_) if scaler.with_scaling else None,
    )


@converts(preprocessing.MinMaxScaler)
def convert_min_max_scaler(scaler: BaseEstimator, target: Target) -> torch.nn.Module:
    """Stretch to the feature range; outside it the gradient is zero where `clip` is on."""
    stretch = Stretch(target.tensor(scaler.scale_), target.tensor(scaler.min_))
    return sequence(stretch, Clamp(*scaler.feature_range) if scaler.clip else None)


@converts(preprocessing.MaxAbsScaler)
def convert_max_abs_scaler(scaler: BaseEstimator, target: Target) -> torch.nn.Module:
    """Divide by the largest absolute value."""
    # The parameter is younger than the oldest supported scikit-learn.
    clip = getattr(scaler, "clip", False)
    return sequence(Rescale(None, target.tensor(scaler.scale_)), Clamp(-1, 1) if clip else None)


@converts(preprocessing.Normalizer)
def convert_normalizer(normalizer: BaseEstimator, target: Target) -> torch.nn.Module:
    """Divide each row by its norm; zero rows stay, with the gradient of the identity."""
    return RowNorm({"l1": 1, "l2": 2, "max": torch.inf}[normalizer.norm])


@converts(preprocessing.PowerTransformer)
def convert_power_transformer(transformer: BaseEstimator, target: Target) -> torch.nn.Module:
    """Box-Cox or Yeo-Johnson power of each feature, standardised where asked for."""
    layer = {"box-cox": BoxCox, "yeo-johnson": YeoJohnson}[transformer.method]
    # The scaler inside has no public name.
    scaler = convert_standard_scaler(transformer._scaler, target) if transformer.standardize else None
    return sequence(layer(powers=target.tensor(transformer.lambdas_)), scaler)


@converts(preprocessing.QuantileTransformer)
def convert_quantile_transformer(transformer: BaseEstimator, target: Target) -> torch.nn.Module:
    """Piecewise linear in each feature, with the slope of the piece; flat beyond the data seen in fit."""
    # In float64 where the device has it: the tails of the normal distribution need its digits close to 1.
    precise = compute_dtype(torch.float64, target.device)
    target = dataclasses.replace(target, dtype=precise)
    knots, levels = target.tensor(transformer.quantiles_.T), target.tensor(transformer.references_)
    return Quantiles(knots, levels, is_normal=transformer.output_distribution == "normal")


@converts(preprocessing.Binarizer, preprocessing.KBinsDiscretizer)
def refuse_steps(transformer: BaseEstimator, target: Target) -> None:
    """Decline: no attack finds its way along a flat function."""
    raise target.refuse(transformer, "its output is a step function, whose gradient is zero")


@converts(preprocessing.OneHotEncoder, preprocessing.OrdinalEncoder, preprocessing.TargetEncoder)
def refuse_categories(transformer: BaseEstimator, target: Target) -> None:
    """Decline: categories have no direction."""
    raise target.refuse(transformer, "it encodes categories, between which there is no gradient")


def _scaled_expm1(logarithm: Tensor, power: Any) -> Tensor:
    """``(exp(power * logarithm) - 1) / power``, and its limit at power 0."""
    is_zero = power == 0
    return torch.where(is_zero, logarithm, torch.expm1(power * logarithm) / power.masked_fill(is_zero, 1.0))
